"""Instance files of one per image, damaged anywhere: read or refused with InputError, nothing else, and never a hang."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench import datasets, protocols
from segbench.adapters import FORMATS
from segbench.adapters.base import Request
from segbench.errors import InputError
from segbench.metrics.instance.scoring import InstanceAccumulator, families_for, scores
from tests import naive_instance as naive

SIZE = (40, 60)
CITY = datasets.load("cityscapes")
RULES = protocols.load("cityscapes", "instance")
MASK = np.zeros(SIZE, np.uint8)
MASK[5:25, 5:25] = 1
TRUTH = np.where(MASK, 26001, 7).astype(np.uint16)
TRUTH[30:] = 0
POLYGON = "0.1 0.1 0.4 0.1 0.4 0.6 0.1 0.6"
RLE = {"size": list(SIZE), "counts": naive.string_of(naive.counts_of(MASK))}


def png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A valid file of each format: its name in the folder, and its bytes."""
    folder = tmp_path_factory.mktemp("seeds")
    np.savez(folder / "a.npz", masks=MASK[None] > 0, labels=[26], scores=[0.5])
    return {
        "cityscapes-instances": ("a.txt", b"a.png 26 0.5\nb.png 24 0.25\n"),
        "cityscapes mask": ("a.png", png(folder / "a.png", MASK * 255)),
        "yolo-polygons": ("a.txt", f"5 {POLYGON} 0.5\n5 {POLYGON} 0.25\n".encode()),
        "sam-json": ("a.json", json.dumps({"annotations": [{"segmentation": RLE, "predicted_iou": 0.9}]}).encode()),
        "instance-npz": ("a.npz", (folder / "a.npz").read_bytes()),
        "instance-maps": ("a.png", png(folder / "b.png", TRUTH)),
        "voc-objects": ("SegmentationObject/a.png", png(folder / "c.png", MASK)),
    }


kinds = st.sampled_from(["cut", "set", "insert", "repeat"])
mutations = st.lists(st.tuples(kinds, st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4)
SPLINTERS = [b"nan", b"-1", b"1e999", b"99999999999999999999", b"../", b"\0", b"[", b'"', b"-", b"9"]


def mutated(data: bytes, changes, splinter: bytes) -> bytes:
    for kind, place, new in changes:
        at = int(place * len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + splinter + data[at:]
        else:
            data = data[:at] + data[at:] * 2
    return data


def evaluated(folder, name):
    """Everything a run does with a prediction, or with a ground truth."""
    truth = name in ("instance-maps", "voc-objects")
    dataset = datasets.load("pascal_voc") if name == "voc-objects" else CITY
    entry = FORMATS.get("cityscapes-instances" if name == "cityscapes mask" else name)
    entry.sniff(folder)
    source = entry.open(folder, Request("gt" if truth else "pred", dataset))
    gt = FORMATS.get("instance-maps").open(folder.parent / "gt", Request("gt", CITY)).read(("a",))
    if truth:
        return source.read(("a",)).masks is None
    accumulator = InstanceAccumulator(CITY, families_for((), RULES), RULES.rules)
    accumulator.update(source.read(("a",), gt.sizes) if "a" in source.keys else gt.select([]), gt)
    metrics = scores(accumulator.evidence(), CITY, RULES).metrics
    assert all(value is None or 0 <= value <= 1 for value in metrics.values())
    return metrics


NAMES = (
    "cityscapes-instances",
    "cityscapes mask",
    "yolo-polygons",
    "sam-json",
    "instance-npz",
    "instance-maps",
    "voc-objects",
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=mutations, splinter=st.sampled_from(SPLINTERS))
def test_damaged_files(seeds, tmp_path_factory, name, changes, splinter):
    folder = tmp_path_factory.mktemp("damaged") / "pred"
    png(folder.parent / "gt" / "a.png", TRUTH)
    folder.mkdir()
    file, data = seeds[name]
    if name.startswith("cityscapes"):
        for mask in ("a.png", "b.png"):
            (folder / mask).write_bytes(seeds["cityscapes mask"][1])
        (folder / "a.txt").write_bytes(seeds["cityscapes-instances"][1])
    if name == "voc-objects":
        (folder / "SegmentationObject").mkdir()
        png(folder / "SegmentationClass" / "a.png", MASK * 7)
    (folder / file).write_bytes(data)
    assert evaluated(folder, name) is not None
    (folder / file).write_bytes(mutated(data, changes, splinter))
    began = time.monotonic()
    with contextlib.suppress(InputError):
        evaluated(folder, name)
    assert time.monotonic() - began < 10
