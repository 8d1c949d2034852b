"""Run folders: saved whole, loaded with checks, re-scored without pixels, refused when edited."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import segbench
from segbench import protocols
from segbench.errors import ConfigError, FormatError, InputError
from segbench.results import Result
from segbench.storage import pack, unpack

STREET = Path(__file__).parent.parent / "fixtures" / "street"


@pytest.fixture(scope="module")
def result():
    return segbench.evaluate(STREET / "preds" / "model_a", STREET / "gt")


@pytest.fixture
def folder(result, tmp_path):
    return result.save(tmp_path / "run")


def edit(folder: Path, change) -> None:
    path = folder / "result.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_round_trip(result, folder):
    loaded = Result.load(folder)
    assert loaded.tasks == result.tasks
    assert loaded.dataset == result.dataset
    assert loaded.per_image == result.per_image
    assert loaded.dataset_spec == result.dataset_spec
    assert Result.load(folder / "result.json").flat() == result.flat()
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "evidence.npz", "result.json"]


def test_saving_twice_gives_the_same_bytes(result, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_evidence_is_a_plain_npz(folder):
    with np.load(folder / "evidence.npz", allow_pickle=False) as archive:
        assert archive["semantic/pixels/pixels"].sum() == sum(height * width for height, width in archive["semantic/images/sizes"].tolist())


@pytest.mark.parametrize("protocol", protocols.available("semantic"))
def test_rescoring_equals_evaluating(result, protocol):
    again = segbench.evaluate(STREET / "preds" / "model_a", STREET / "gt", protocol=protocol, intervals=False)
    assert result.rescore(protocol).tasks == again.tasks


def test_intervals_come_with_what_costs_little():
    paths = STREET / "preds" / "model_a", STREET / "gt"
    usual, without = segbench.evaluate(*paths), segbench.evaluate(*paths, intervals=False)
    assert usual.tasks == without.with_intervals().tasks
    assert all(entry.interval is None for entry in without.tasks["semantic"].metrics.values())
    frame = usual.to_frame("metrics").set_index("metric")
    assert frame.loc["semantic/miou", "low"] < frame.loc["semantic/miou", "value"] < frame.loc["semantic/miou", "high"]
    assert not frame.loc["semantic/miou", "reliable"]
    assert " ?</td>" in usual._repr_html_()
    assert " ?</td>" not in without._repr_html_()
    videos = {f"street_{number:06}": {"video": str(number % 10)} for number in range(1, 13)}
    assert segbench.evaluate(*paths, cluster="video", images=videos).tasks == without.with_intervals("(.)$").tasks
    with pytest.raises(ConfigError, match="12 of 12 images have no label"):
        segbench.evaluate(*paths, cluster="vido", images=videos)
    with pytest.raises(ConfigError, match="there are to be none"):
        segbench.evaluate(*paths, cluster="(.)$", intervals=False)
    clustered = segbench.evaluate(*paths, cluster="(.)$")
    assert clustered.tasks == without.with_intervals("(.)$").tasks != usual.tasks


def test_values_by_id(result):
    assert result.value("semantic/miou") == result.flat()["semantic/miou"] == result.flat("val/")["val/semantic/miou"]
    assert result.value("semantic/iou/road") == result.per_class[0]["iou"]
    with pytest.raises(ConfigError, match="semantic/miu") as caught:
        result.value("semantic/miu")
    assert "semantic/miou" in caught.value.hint


def test_frames(result):
    assert result.to_frame("metrics")["metric"].iloc[0] == "semantic/pixel_accuracy"
    assert len(result.to_frame()) == 11
    assert len(result.to_frame("per_image")) == 12
    with pytest.raises(ConfigError):
        result.to_frame("pixels")


def test_shown_in_a_console(result):
    first, second = repr(result).splitlines()
    assert first == "model_a on street: 12 images"
    assert second.startswith("semantic, protocol pooled, %: pixel_accuracy 92.53, mean_accuracy 83.89, miou 72.90")


def test_notebook_table(result):
    page = result._repr_html_()
    assert "semantic/miou" in page
    assert "72.9" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["tasks"]["semantic"]["metrics"]["semantic/miou"].update(value=0.99), "do not follow from the evidence"),
        (lambda d: d["tasks"]["semantic"]["per_class"][0].update(iou=0.99), "do not follow from the evidence"),
        (lambda d: d.update(schema="segbench.result/9"), "segbench.result/9"),
        (lambda d: d.pop("tasks"), "damaged"),
        (lambda d: d["tasks"].update(depth=d["tasks"].pop("semantic")), "damaged"),
        (lambda d: d.update(evidence_digest="sha256:" + 64 * "0"), "not the one"),
        (lambda d: d.update(evidence_digest="sha256:0"), "damaged"),
        (lambda d: d["tasks"]["semantic"]["metrics"].pop("semantic/miou"), "do not follow"),
        (
            lambda d: d["tasks"]["semantic"]["metrics"].update(
                {"semantic/foo": {"value": None, "higher_is_better": True, "interval": None}}
            ),
            "foo",
        ),
        (lambda d: d["tasks"]["semantic"]["metrics"]["semantic/miou"].update(higher_is_better=False), "do not follow"),
        (lambda d: d["tasks"]["semantic"].update(undefined={"semantic/miou": "why"}), "undefined"),
        (lambda d: d["tasks"]["semantic"]["protocol"]["options"].update(x=1), "protocol"),
        (lambda d: d["tasks"]["semantic"].update(protocol={}), "damaged"),
        (lambda d: d["tasks"]["semantic"]["protocol"].update(name="nope"), "nope"),
        (lambda d: d["tasks"]["semantic"]["protocol"].update(name="mmseg"), "do not follow"),
        (lambda d: d["images"].update(count=99), "images.count"),
        (lambda d: d["dataset"].update(num_images=99), "num_images"),
        (lambda d: d["dataset"].update(name="other"), "dataset.name"),
        (lambda d: d["dataset"].update(digest="sha256:" + 64 * "0"), "dataset.digest"),
        (lambda d: d.update(model=5), "damaged"),
        (lambda d: d.update(warnings=5), "damaged"),
        (lambda d: d.update(predictions=None), "damaged"),
        (lambda d: d.update(tasks={}), "damaged"),
        (lambda d: d.update(more=1), "damaged"),
    ],
)
def test_edited_results_are_refused(folder, change, words):
    edit(folder, change)
    with pytest.raises(InputError, match=words):
        Result.load(folder)


def test_changed_evidence_is_refused(folder):
    path = folder / "evidence.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="not the one"):
        Result.load(folder)


@pytest.mark.parametrize("name", ["result.json", "evidence.npz", "dataset.json"])
def test_missing_and_empty_files(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(FormatError):
        Result.load(folder)
    (folder / name).unlink()
    with pytest.raises(FormatError):
        Result.load(folder)


def test_unpack_refuses_pickles_and_garbage():
    assert unpack(pack({"a/b": np.arange(3)}), "x")["a/b"].tolist() == [0, 1, 2]
    with pytest.raises(FormatError):
        unpack(b"PK\x03\x04garbage", "x")
    with pytest.raises(ValueError, match="pickle"):
        pack({"a": np.array([object()])})


@pytest.mark.parametrize(("step", "at"), [("write_bytes", 0), ("write_bytes", 2), ("replace", 0), ("replace", 1), ("replace", 2)])
@pytest.mark.parametrize("reason", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_save_leaves_what_was_there(result, folder, tmp_path, monkeypatch, step, at, reason):
    other = result.rescore("mmseg")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    original = getattr(Path, step)
    for target in (folder, tmp_path / "new" / "run"):
        calls = iter(range(100))

        def fail(self, value, calls=calls):
            if next(calls) == at:
                raise reason
            return original(self, value)

        with monkeypatch.context() as patch:
            patch.setattr(Path, step, fail)
            with pytest.raises((InputError, KeyboardInterrupt)):
                other.save(target)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (tmp_path / "new").exists()


def repacked(folder: Path, change) -> None:
    """Changes the arrays of the evidence and its digest with them, as a forger would."""
    arrays = unpack((folder / "evidence.npz").read_bytes(), "x")
    change(arrays)
    data = pack(arrays)
    (folder / "evidence.npz").write_bytes(data)
    edit(folder, lambda document: document.update(evidence_digest=f"sha256:{hashlib.sha256(data).hexdigest()}"))


def header(**fields):
    def change(arrays):
        known = json.loads(bytes(arrays["semantic/header"]))
        arrays["semantic/header"] = np.frombuffer(json.dumps(known | fields).encode(), np.uint8)

    return change


IDS = [f"street_{number:06}" for number in range(1, 13)]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("semantic/pixels/gt"),
        lambda a: a.update({"semantic/pixels/more": a["semantic/pixels/gt"]}),
        lambda a: a.update({"semantic/pixels/pixels": a["semantic/pixels/pixels"] * 1.0}),
        lambda a: a["semantic/pixels/gt"].__setitem__(0, 10**6),
        lambda a: a["semantic/pixels/pred"].__setitem__(0, -5),
        lambda a: a["semantic/pixels/image"].__setitem__(0, 11),
        lambda a: a["semantic/images/sizes"].__setitem__(0, -1),
        lambda a: a["semantic/images/order"].__setitem__(0, 99),
        lambda a: a.update({"semantic/images/order": a["semantic/images/order"][1:]}),
        lambda a: a.update({"other/array": np.zeros(3)}),
        lambda a: a.update({"semantic/array": np.zeros(3)}),
        lambda a: a.update({"semantic/header": np.frombuffer(b"[" * 100_000, np.uint8)}),
        header(ids=[*IDS[:-1], IDS[0]]),
        header(ids=[*IDS[:-1], None]),
        header(ids=[*IDS[:-1], []]),
        header(ids=[*IDS[:-1], 1.5]),
        header(num_classes=10**12),
        header(num_classes=-1),
        header(tables={"pixels": 2}),
        header(tables=["pixels"]),
        header(tables={}),
        header(task="panoptic"),
        header(schema="segbench.evidence/9"),
    ],
)
def test_forged_evidence_is_refused(folder, change):
    repacked(folder, lambda arrays: None)
    Result.load(folder)
    repacked(folder, change)
    with pytest.raises(FormatError):
        Result.load(folder)


def test_archives_that_lie_about_their_size():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1 << 20))
    with pytest.raises(FormatError, match="compressed") as caught:
        unpack(stream.getvalue(), "x")
    assert caught.value.code == "SB192"
    for shape in ("(10**9,)", "(1000000000000,)", "(-1,)", "(1,)*70", '"x"', "(" * 9000 + ")" * 9000):
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
        with pytest.raises(FormatError, match="damaged evidence"):
            unpack(stream.getvalue(), "x")


def test_a_file_name_that_is_no_utf8(result, tmp_path):
    odd = replace(result, images=result.images | {"extra": ["caf\udce9.png"]}, model={"name": "\udce9"})
    assert json.loads(odd.to_json())["images"]["extra"] == ["caf\\udce9.png"]
    assert Result.load(odd.save(tmp_path / "run")).tasks == result.tasks


def test_output_that_is_a_file(result, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        result.save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_replaces_no_description_of_a_data_set(result, tmp_path):
    (tmp_path / "dataset.json").write_text("mine")
    with pytest.raises(InputError, match=r"a dataset\.json of yours"):
        result.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    again = result.save(tmp_path / "run")
    assert result.save(again) == again  # a run replaces a run


@pytest.fixture
def instances(tmp_path):
    """A run folder of one image with two boxes on each side."""
    boxes = [[0, 0, 4, 4], [10, 10, 5, 5]]
    truth = {
        "images": [{"id": 1, "height": 32, "width": 32}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for number, box in enumerate(boxes, 1)
        ],
    }
    found = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.5} for box in boxes]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    result = segbench.evaluate(tmp_path / "found.json", tmp_path / "gt.json", task="instance", metrics=["bbox/*"])
    return result.save(tmp_path / "run")


def test_instances_come_back_with_their_data_set(instances):
    assert Result.load(instances).value("bbox/ap") == 1


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("bbox_pairs/gt", 10**6),
        ("bbox_pairs/gt", -(2**31)),
        ("bbox_pairs/detection", 2),
        ("detections/category", 10**6),
        ("ground_truths/category", -1),
    ],
)
def test_forged_references_reach_no_kernel(instances, array, value):
    repacked(instances, lambda arrays: arrays[f"instance/{array}"].__setitem__(0, value))
    with pytest.raises(FormatError, match="refers to what is not there"):
        Result.load(instances)
