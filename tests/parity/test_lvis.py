"""Whole random LVIS data sets through lvis and segbench: the same arrays and the same summary, to the bit."""

from __future__ import annotations

import copy
import json
import logging
import warnings

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segbench import protocols
from segbench.adapters.base import Request
from segbench.adapters.instance import coco, coco_categories, coco_json, coco_truth
from segbench.metrics.instance.scoring import InstanceAccumulator, evaluated, scores
from tests.parity.test_pycocotools import random_dataset

pytestmark = pytest.mark.frameworks
LVIS = protocols.load("lvis", "instance")


@pytest.fixture(scope="module")
def lvis():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)  # it still asks for what NumPy 1.24 took away
        yield pytest.importorskip("lvis")


def federated(seed, ties, from_zero, boxed):
    """A random data set of which not every image is annotated for every category."""
    truth, detections = random_dataset(seed, ties, from_zero, boxed)
    rng = np.random.default_rng(seed + 1)
    categories = [row["id"] for row in truth["categories"]]
    for row in truth["categories"]:
        row["frequency"] = "rcf"[rng.integers(3)]
    for image in truth["images"]:
        present = {row["category_id"] for row in truth["annotations"] if row["image_id"] == image["id"]}
        absent = [label for label in categories if label not in present]
        image["neg_category_ids"] = [label for label in absent if rng.random() < 0.6]
        image["not_exhaustive_category_ids"] = [label for label in categories if rng.random() < 0.3]
    for row in truth["annotations"]:
        if isinstance(row["segmentation"], dict) and isinstance(row["segmentation"]["counts"], list):
            row["iscrowd"] = 0
    return truth, detections


def reference(lvis, folder, truth, detections, family, limit):
    """precision, recall and the summary of lvis."""
    (folder / "gt.json").write_text(json.dumps(truth))
    logging.disable(logging.CRITICAL)
    try:
        ground = lvis.LVIS(str(folder / "gt.json"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it logs with a method of old Python
            found = lvis.LVISResults(ground, copy.deepcopy(detections), max_dets=limit)
        evaluation = lvis.LVISEval(ground, found, family)
        evaluation.params.max_dets = limit
        evaluation.run()
    finally:
        logging.disable(logging.NOTSET)
    return evaluation


def mine(truth, detections, family, rules):
    parsed = coco_truth.truth_of(truth)
    dataset = coco_categories.dataset_of(parsed, "random")
    assert dataset.protocol("instance") == "lvis"
    gt = coco.ground_truth(parsed, Request("gt", dataset), "gt.json")
    pred = coco.predictions(coco_json.results_of(detections), Request("pred", dataset), "pred.json")
    accumulator = InstanceAccumulator(dataset, (family,), rules.rules)
    truths = gt.read(gt.keys)
    accumulator.update(pred.read(pred.keys, truths.sizes[[gt.places[key] for key in pred.keys]]), truths)
    evidence = accumulator.evidence()
    return evaluated(evidence, family, rules.rules)[1], scores(evidence, dataset, rules).metrics


@pytest.mark.parametrize("family", ["segm", "bbox"])
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([2, 5, 300]))
@example(0, True, True, True, 300)
@example(191, True, False, False, 5)  # an annotation of area 0
@example(2047, False, False, True, 2)  # a crowd, which is none here
def test_random_data_sets(lvis, tmp_path_factory, family, seed, ties, from_zero, boxed, limit):
    truth, detections = federated(seed, ties, from_zero, boxed)
    if not detections or not truth["annotations"]:
        return
    rules = msgspec.structs.replace(LVIS, rules=msgspec.structs.replace(LVIS.rules, per_image=limit, max_detections=(limit,)))
    expected = reference(lvis, tmp_path_factory.mktemp("lvis"), truth, detections, family, limit)
    curves, metrics = mine(truth, detections, family, rules)
    np.testing.assert_array_equal(curves.precision[..., 0], expected.eval["precision"], strict=True)
    np.testing.assert_array_equal(curves.recall[..., 0], expected.eval["recall"], strict=True)
    names = {"APs": "ap_small", "APm": "ap_medium", "APl": "ap_large", "APr": "ap_rare", "APc": "ap_common", "APf": "ap_frequent"}
    names |= {"AP": "ap", "AP50": "ap50", "AP75": "ap75", f"AR@{limit}": f"ar{limit}"}
    for theirs, ours in names.items():
        value = expected.results[theirs]
        assert metrics[f"{family}/{ours}"] == (None if value == -1 else value), theirs
