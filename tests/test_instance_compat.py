"""The drop-in for pycocotools' COCOeval: every array, match and printed line is that of the original."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval as Original

from segbench.compat.pycocotools import COCOeval, installed
from segbench.errors import ConfigError, FormatError, ShapeError
from tests.parity.test_pycocotools import random_dataset


def sides(truth, detections):
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = copy.deepcopy(truth)
        ground.createIndex()
        return ground, ground.loadRes(copy.deepcopy(detections))


def run(kind, truth, detections, family, change=lambda params: None):
    """An evaluation and what it printed in its summary."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = kind(*sides(truth, detections), family)
        change(evaluation.params)
        evaluation.evaluate()
        evaluation.accumulate()
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        evaluation.summarize()
    return evaluation, text.getvalue()


def equal(one, other):
    """Equal values of equal types, through dicts and lists."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if one is None or other is None:
        return one is other
    return np.array_equal(np.asarray(one), np.asarray(other)) and np.shape(one) == np.shape(other)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.sampled_from(["segm", "bbox"]), st.booleans())
def test_equals_the_original(seed, ties, boxed, family, agnostic):
    truth, detections = random_dataset(seed, ties, ties, boxed)
    if not detections:
        return

    def change(params):
        params.useCats = int(not agnostic)
        params.imgIds = params.imgIds[: 1 + seed % 4]

    mine, said = run(COCOeval, truth, detections, family, change)
    original, expected = run(Original, truth, detections, family, change)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(mine.eval[name], original.eval[name], strict=True)
    np.testing.assert_array_equal(mine.stats, original.stats)
    assert said == expected
    assert mine.eval["counts"] == original.eval["counts"]
    assert len(mine.evalImgs) == len(original.evalImgs)
    for one, other in zip(mine.evalImgs, original.evalImgs, strict=True):
        assert equal(one, other), (one, other)
    assert mine.ious.keys() == original.ious.keys()
    assert all(equal(mine.ious[key], original.ious[key]) for key in original.ious)


def test_changed_parameters():
    truth, detections = random_dataset(5, True, False, False)

    def change(params):
        params.iouThrs = np.array([0.3, 0.5])
        params.recThrs = np.linspace(0, 1, 11)
        params.areaRng = [[0, 1e10], [0, 30]]
        params.areaRngLbl = ["all", "tiny"]
        params.maxDets = [1, 2, 300]

    mine, said = run(COCOeval, truth, detections, "segm", change)
    with contextlib.redirect_stdout(io.StringIO()):
        original = Original(*sides(truth, detections), "segm")
        change(original.params)
        original.evaluate()
        original.accumulate()
    np.testing.assert_array_equal(mine.eval["precision"], original.eval["precision"], strict=True)
    assert "maxDets=300" in said
    assert "area=  tiny" in said
    assert mine.stats[0] >= 0


def test_accumulate_with_other_parameters():
    truth, detections = random_dataset(9, False, False, False)
    mine, _ = run(COCOeval, truth, detections, "segm")
    params = copy.deepcopy(mine.params)
    params.imgIds = params.imgIds[:1]
    mine.accumulate(params)
    alone, _ = run(COCOeval, truth, detections, "segm", lambda params: setattr(params, "imgIds", params.imgIds[:1]))
    np.testing.assert_array_equal(mine.eval["precision"], alone.eval["precision"])


def test_in_the_place_of_the_original():
    from pycocotools import cocoeval

    with installed():
        assert cocoeval.COCOeval is COCOeval
    assert cocoeval.COCOeval is Original


def test_order_of_calls_and_unknown_types():
    evaluation = COCOeval()
    for call in (evaluation.accumulate, evaluation.summarize):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(ConfigError, match="keypoints"):
        COCOeval(iouType="keypoints")


def test_traps_of_the_original_are_errors():
    truth, detections = random_dataset(3, False, False, False)
    detections = [row for row in detections if row["segmentation"]["size"] != [0, 0]][:2]
    wrong = copy.deepcopy(detections)
    wrong[0]["segmentation"]["size"] = [size + 1 for size in wrong[0]["segmentation"]["size"]]
    ground, _ = sides(truth, detections)
    found = COCO()
    found.dataset = {**truth, "annotations": [row | {"id": at + 1, "area": 1.0} for at, row in enumerate(wrong)]}
    found.createIndex()
    with pytest.raises(ShapeError, match="detection 1 "):
        COCOeval(ground, found, "segm").evaluate()
    found.dataset["annotations"][0]["score"] = float("nan")
    with pytest.raises(FormatError, match="is nan"):
        COCOeval(ground, found, "bbox").evaluate()
