"""Damaged COCO files are read or refused with InputError, nothing else, and never hang."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import protocols
from segbench.adapters.base import Request
from segbench.adapters.instance import coco, coco_categories, coco_json, coco_masks, coco_scan, coco_truth
from segbench.errors import InputError
from segbench.metrics.instance.scoring import InstanceAccumulator, scores
from tests.parity.test_pycocotools import random_dataset

TRUTH, DETECTIONS = random_dataset(12, False, False, True)
DATASET = coco_categories.dataset_of(coco_truth.truth_of(TRUTH), "fuzz")
FILES = {"gt": json.dumps(TRUTH).encode(), "pred": json.dumps(DETECTIONS).encode()}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([0, -1, 1, 2, "counts", "0", "PPTX\\", {"size": [4, 4], "counts": "P"}, [[0, 0, 9, 0, 9, 9]], [0, 0, 3, 3]]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["size", "counts", "id", "x"]), inner, max_size=3),
    max_leaves=6,
)


def evaluated(gt_path, pred_path):
    """Everything a run does with two files."""
    gt = coco.open_truth(gt_path, Request("gt", DATASET))
    pred = coco.open_results(pred_path, Request("pred", DATASET))
    found = [key for key in pred.keys if key in gt.places]
    truths = gt.read(gt.keys)
    families = tuple(family for family in ("segm", "bbox") if family in pred.families and family in gt.families)
    accumulator = InstanceAccumulator(DATASET, families)
    accumulator.update(pred.read(found, truths.sizes[[gt.places[key] for key in found]]), truths)
    return scores(accumulator.evidence(), DATASET, protocols.load("coco", "instance")).metrics


def check(folder, gt: bytes, pred: bytes):
    """Values in range, or a refusal; the same from the kernels of large files as from the decoder of small ones."""
    (folder / "gt.json").write_bytes(gt)
    (folder / "pred.json").write_bytes(pred)
    found = []
    for large in (False, True):
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InputError):
            if large:
                patch.setattr(coco_scan, "SMALL", 0)
                patch.setattr(coco_masks, "FEW", 0)
            metrics = evaluated(folder / "gt.json", folder / "pred.json")
            assert all(value is None or 0 <= value <= 1 for value in metrics.values())
            found.append(metrics)
        assert time.monotonic() - began < 10
    assert found in ([], found[:1] * 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("coco")
    check(path, FILES["gt"], FILES["pred"])
    return path


@settings(max_examples=150)
@given(side=st.sampled_from(["gt", "pred"]), data=st.data())
def test_changed_bytes(folder, side, data):
    text = bytearray(FILES[side])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from(list(b'0159-.eE{}[],:"\\ \xff\x00nP')) | st.integers(0, 255))
    check(folder, *({**FILES, side: bytes(text)}[name] for name in ("gt", "pred")))


@settings(max_examples=60)
@given(side=st.sampled_from(["gt", "pred"]), data=st.data())
def test_truncated_and_repeated(folder, side, data):
    text = FILES[side]
    start, stop = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    changed = text[:start] + text[stop:] if data.draw(st.booleans()) else text[:stop] + text[start:]
    check(folder, *({**FILES, side: changed}[name] for name in ("gt", "pred")))


@settings(max_examples=200)
@given(side=st.sampled_from(["gt", "pred"]), data=st.data())
def test_changed_fields(folder, side, data):
    document = json.loads(FILES[side])
    rows = document if side == "pred" else document[data.draw(st.sampled_from(["annotations", "images", "categories"]))]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        key = data.draw(st.sampled_from([*row, "segmentation", "bbox", "extra"]))
        if data.draw(st.booleans()):
            row[key] = data.draw(values)
        else:
            row.pop(key, None)
    text = json.dumps(document).encode()
    check(folder, *({**FILES, side: text}[name] for name in ("gt", "pred")))


@settings(max_examples=60)
@given(segmentation=values)
def test_any_segmentation_in_memory(segmentation):
    row = {"image_id": TRUTH["images"][0]["id"], "category_id": DATASET.evaluated[0].id, "score": 0.5, "segmentation": segmentation}
    with contextlib.suppress(InputError):
        source = coco.predictions(coco_json.results_of([row]), Request("pred", DATASET), "memory")
        batch = source.read(source.keys, np.array([[4, 4]], np.int32))
        assert batch.masks is None or (batch.masks.areas >= 0).all()
