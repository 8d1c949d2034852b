"""The committed counts against published ones, and our own architectures against products worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from segbench.profiling import Profiles, statistics

FOLDER = Path(__file__).parents[2] / "leaderboards" / "architectures"
ROWS = {row["name"]: row for row in json.loads((FOLDER / "counts.json").read_text(encoding="utf-8"))}
COUNTED = {name: row for name, row in ROWS.items() if "failed" not in row}


def giga(name: str, part: str = "macs") -> float:
    return round(ROWS[name][part] / 1e9, 3)


def test_published_counts_to_the_digit():
    # torchvision's weights: 152.717 and 178.722 with the auxiliary head, 2.086 for LRASPP, which has none
    assert giga("fcn_r50_aux") == 152.717
    assert giga("deeplabv3_r50_aux") == 178.722
    assert giga("lraspp_mobilenetv3") == 2.086
    # the auxiliary head: 3x3 from 1024 to 256 channels and 1x1 to 21, on 65x65
    auxiliary = 65 * 65 * (1024 * 256 * 9 + 256 * 21)
    for name in ("fcn_r50", "deeplabv3_r50"):
        assert ROWS[f"{name}_aux"]["macs"] - ROWS[name]["macs"] == auxiliary
    assert ROWS["fcn_r50_aux"]["parameters"] == 35_322_218
    assert ROWS["deeplabv3_r50_aux"]["parameters"] == 42_004_074


def test_every_mask_of_a_detector_costs_the_same():
    one, ten, hundred = (ROWS[f"mask_rcnn_r50_fpn_{count}"]["macs"] for count in (1, 10, 100))
    assert (ten - one) / 9 == (hundred - ten) / 90 == one - ROWS["faster_rcnn_r50_fpn"]["macs"]
    # four 3x3 convolutions of 256 channels on 14x14, one 2x2 to 28x28, one 1x1 to 91 classes
    assert one - ROWS["faster_rcnn_r50_fpn"]["macs"] == 4 * 196 * 256 * 256 * 9 + 196 * 256 * 256 * 4 + 784 * 256 * 91


@pytest.mark.parametrize("name", COUNTED)
def test_parts_make_the_whole(name):
    row = ROWS[name]
    if row["split"]:
        assert row["macs_backbone"] + row["macs_neck"] + row["macs_head"] == row["macs"]
        assert 0 < row["parameters_backbone"] < row["parameters"]
    else:
        assert row["no_split"]
    assert row["suspicious"] == []


@pytest.mark.parametrize("name", [name for name, row in COUNTED.items() if row["onnx"] is not None])
def test_graph_and_operators_count_alike(name):
    row = ROWS[name]
    assert row["onnx"] == row["macs"] or row["onnx_note"]
    if row["split"] and not row["onnx_note"]:
        assert row["onnx_backbone"] == row["macs_backbone"]


def test_the_table_is_that_of_the_counts():
    text = (FOLDER / "COUNTS.md").read_text(encoding="utf-8")
    for name, row in COUNTED.items():
        assert f"| {name} | {'x'.join(map(str, row['input']))} | {row['macs'] / 1e9:.3f} |" in text


RECORDS = Profiles.load(FOLDER / "records.json")


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_zoo", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_board_is_that_of_the_records():
    assert (FOLDER / "MEASURED.md").read_text(encoding="utf-8") == loaded("board").page(RECORDS)
    assert (FOLDER / "records.json").stat().st_size < 1_000_000


def test_which_of_two_records_is_kept():
    better = loaded("measure").better
    failed, quiet = SimpleNamespace(latency=None), SimpleNamespace(latency=1, noisy=False, quality=SimpleNamespace(waited=0.01))
    noisy, noisier = (SimpleNamespace(latency=1, noisy=True, quality=SimpleNamespace(waited=share)) for share in (0.2, 0.5))
    assert better(noisier, failed)
    assert not better(failed, noisier)
    assert better(failed, failed)
    assert better(noisy, noisier)
    assert not better(noisier, noisy)
    assert better(quiet, noisy)
    assert better(quiet, quiet)
    assert not better(noisy, quiet)


def test_one_record_per_model_and_runtime():
    keys = [loaded("measure").key(record) for record in RECORDS.records]
    assert len(set(keys)) == len(keys)
    assert {key[0] for key in keys} <= ROWS.keys()


@pytest.mark.parametrize("record", RECORDS.records, ids=lambda record: f"{record.model.name}-{record.runtime.backend}")
def test_measured_and_counted_agree(record):
    row = ROWS[record.model.name]
    if record.compute is None:
        assert record.error is not None
        return
    graph = record.compute.method == "onnx-graph"
    assert record.compute.macs == row["onnx" if graph else "macs"]
    if row["split"] is not None and record.split is not None:
        assert record.split.backbone == row["split"]["backbone"]
        assert record.compute.macs_backbone == row["onnx_backbone" if graph else "macs_backbone"]
    assert record.runtime.compute_dtype == "float32"


@pytest.mark.parametrize("record", [record for record in RECORDS.records if record.latency is not None], ids=lambda record: record.id[-8:])
def test_what_a_record_says_follows_from_its_samples(record):
    latency = record.latency
    assert latency.n == len(latency.samples)
    assert latency.p50 == round(statistics.median(latency.samples))
    interval = statistics.median_interval(latency.samples, latency.confidence)
    assert latency.p50_interval == (None if interval is None else (interval.low, interval.high))
    assert latency.noisy == statistics.is_noisy(latency.samples)
    assert (latency.p90 is None, latency.p99 is None) == (latency.n < 10, latency.n < 100)


def own():
    pytest.importorskip("torch")
    return loaded("own")


def vgg16(size: int) -> int:
    """The 13 convolutions of VGG16; 15.347 G at 224, as everyone has it."""
    widths = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
    return sum((size >> level) ** 2 * 9 * sum(a * b for a, b in pairwise(row)) for level, row in enumerate(widths))


def layer(tokens: int, width: int) -> int:
    """A transformer layer: four projections, two products of attention, a feed-forward four times as wide."""
    return tokens * width * width * (4 + 8) + 2 * tokens * tokens * width


def count(model, size: int):
    import torch

    from segbench.profiling import macs_torch

    image = torch.randn(1, 3, size, size)
    return macs_torch.count(model.eval(), lambda: model.eval()(image))


@pytest.mark.frameworks
def test_segnet():
    found = count(own().SegNet(19), 32)
    assert round(vgg16(224) / 1e9, 3) == 15.347
    assert found.within(["encoder"]) == vgg16(32)
    # the decoder mirrors it convolution by convolution, but for the last, which gives classes instead of taking 3 channels
    assert found.within(["decoder"]) == vgg16(32) + 32 * 32 * 9 * 64 * (19 - 3)
    assert not found.suspicious


@pytest.mark.frameworks
@pytest.mark.parametrize("mask", [False, True])
def test_segmenter(mask):
    size, width, depth, classes = 64, 96, 3, 10
    patches = (size // 16) ** 2
    found = count(own().Segmenter(size, width, depth, 3, classes, mask), size)
    encoder = patches * 3 * 256 * width + depth * layer(patches + 1, width)
    linear = patches * width * classes
    masks = (
        (patches * width * width) + 2 * layer(patches + classes, width) + (patches + classes) * width * width + patches * width * classes
    )
    assert found.within(["encoder"]) == encoder
    assert found.macs == encoder + (masks if mask else linear)


@pytest.mark.frameworks
def test_joint_pyramid_upsampling():
    torch = pytest.importorskip("torch")

    from segbench.profiling import macs_torch

    head = own().JointPyramidUpsampling((8, 16, 32), 4).eval()
    features = [torch.randn(1, width, side, side) for width, side in ((8, 16), (16, 8), (32, 4))]
    found = macs_torch.count(head, lambda: head(features))
    scales = 9 * 4 * (256 * 8 + 64 * 16 + 16 * 32)
    assert found.macs == scales + 4 * 256 * (12 * 9 + 12 * 4)


@pytest.mark.frameworks
def test_the_semantic_branch_of_panoptic_fpn():
    torch = pytest.importorskip("torch")

    from segbench.profiling import macs_torch

    branch = own().SemanticBranch(8, 32, 5).eval()
    features = [torch.randn(1, 8, side, side) for side in (16, 8, 4, 2)]
    found = macs_torch.count(branch, lambda: branch(features))
    first = 9 * 8 * 32 * (256 + 64 + 16 + 4)  # every level's first convolution
    more = 9 * 32 * 32 * (64 + 16 + 64)  # level 2 once more at 8; level 3 at 4 and at 8
    assert found.macs == first + more + 256 * 32 * 5
    assert branch(features).shape == (1, 5, 64, 64)
