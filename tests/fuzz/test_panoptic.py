"""Damaged panoptic files load or raise InputError, nothing else."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.adapters.base import Request
from segbench.adapters.panoptic.coco import categories_dataset, open_panoptic_json, sniff
from segbench.adapters.panoptic.maps import BITMASK, CHANNELS, DIVIDED, INSTANCE_IDS, POINT_LABELS, TWO_CHANNEL
from segbench.adapters.panoptic.memory import open_panoptic_arrays
from segbench.datasets import Dataset, LabelClass
from segbench.errors import InputError
from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.protocols.panoptic import PANOPTIC

DATASET = Dataset(
    name="two",
    label_divisor=1000,
    classes=(LabelClass(id=1, name="car", isthing=True), LabelClass(id=2, name="road", isthing=False)),
)
IDS = np.repeat(np.array([[0, 1, 2], [2, 2, 1]]), 4, 1)
GOOD = {
    "annotations": [
        {
            "image_id": 1,
            "file_name": "1.png",
            "segments_info": [{"id": 1, "category_id": 1, "area": 8, "iscrowd": 0}, {"id": 2, "category_id": 2, "area": 12}],
        }
    ],
    "categories": [{"id": 1, "name": "car", "isthing": 1}, {"id": 2, "name": "road", "isthing": 0}],
}
TRIES = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["../1.png", "/1.png", "1.png", "", "\0", "1.jpg"]),
    st.just([]),
    st.just({}),
)


def png_bytes(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


RGB = png_bytes(np.stack([IDS, IDS * 0, IDS * 0], -1).astype(np.uint8))


def evaluate(path):
    """Everything from the file to the scores."""
    dataset = categories_dataset(path) or DATASET
    source = open_panoptic_json(path, Request("gt", dataset))
    accumulator = PanopticAccumulator(dataset)
    for sample in source.read(source.keys):
        accumulator.update([sample], [sample])
    return accumulator.compute(PANOPTIC[0])


def tolerated(action, *arguments):
    with contextlib.suppress(InputError):
        action(*arguments)


@TRIES
@given(st.data())
def test_changed_fields(tmp_path, data):
    document = json.loads(json.dumps(GOOD))
    places = [document, document["annotations"][0], document["annotations"][0]["segments_info"][0], document["categories"][0]]
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        key = data.draw(st.sampled_from(sorted(place) or ["id"]))
        if data.draw(st.booleans()):
            place[key] = data.draw(SCALARS)
        else:
            place.pop(key, None)
    (tmp_path / "gt").mkdir(exist_ok=True)
    (tmp_path / "gt/1.png").write_bytes(RGB)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(document))
    sniff(path)
    tolerated(evaluate, path)


@TRIES
@given(st.binary(max_size=40), st.integers(0, 2**16), st.booleans())
def test_cut_and_spliced_bytes(tmp_path, inserted, at, of_json):
    content = json.dumps(GOOD).encode()
    target = content if of_json else RGB
    cut = at % (len(target) + 1)
    broken = target[:cut] + inserted + (target[cut + len(inserted) :] if at % 3 else b"")
    (tmp_path / "gt").mkdir(exist_ok=True)
    (tmp_path / "gt/1.png").write_bytes(RGB if of_json else broken)
    (tmp_path / "gt.json").write_bytes(broken if of_json else content)
    sniff(tmp_path / "gt")
    tolerated(evaluate, tmp_path / "gt.json")


MAPS = {
    CHANNELS: RGB,
    TWO_CHANNEL: RGB,
    BITMASK: png_bytes(np.stack([IDS, IDS * 0, IDS * 0, IDS], -1).astype(np.uint8)),
    DIVIDED: png_bytes((IDS * 1000).astype(np.uint16)),
    INSTANCE_IDS: png_bytes((IDS * 1000).astype(np.uint16)),
    POINT_LABELS: IDS.astype("<u4").tobytes(),
}


@TRIES
@given(st.sampled_from(sorted(MAPS, key=lambda entry: entry.name)), st.binary(max_size=30), st.integers(0, 2**16))
def test_self_contained_maps(tmp_path, entry, inserted, at):
    content = MAPS[entry]
    cut = at % (len(content) + 1)
    folder = tmp_path / entry.name
    folder.mkdir(exist_ok=True)
    name = "a.label" if entry is POINT_LABELS else "a.png"
    (folder / name).write_bytes(content[:cut] + inserted + (content[cut + len(inserted) :] if at % 2 else b""))

    def read():
        return list(entry.open(folder, Request("pred", DATASET)).read(["a"]))

    entry.sniff(folder)
    tolerated(read)


ITEMS = st.recursive(
    st.one_of(SCALARS, st.just(IDS), st.just(IDS.astype(np.float32)), st.just(np.zeros((2, 2, 3), np.uint8))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from(["segmentation", "segments_info", "id", "category_id", "label_id", "area"]), inner, max_size=4),
    ),
    max_leaves=6,
)


@TRIES
@given(st.lists(ITEMS, max_size=2))
def test_anything_in_memory(items):
    def read():
        source = open_panoptic_arrays(items, Request("pred", DATASET))
        return list(source.read(source.keys))

    tolerated(read)
