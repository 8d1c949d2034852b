"""Best F1, oLRP, calibration, the TIDE budget, confusion and label errors: values by hand, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import protocols
from segbench.adapters.instance.memory import batch_of
from segbench.errors import ComparabilityError
from segbench.metrics.instance import analysis, extra
from segbench.metrics.instance.checks import suspicions
from segbench.metrics.instance.scoring import scores
from tests.test_instance import TWO, batches, box_mask, evidence_of

COCO = protocols.load("coco", "instance")
RULES = COCO.rules
SIZE = (40, 40)


def evidence(pred, gt, *, tables=("segm", "analysis")):
    """Evidence of one image from (mask, label[, score]) rows."""
    masks = [np.array([row[0] for row in rows]).reshape(-1, *SIZE) for rows in (pred, gt)]
    prediction = {"masks": masks[0], "labels": [row[1] for row in pred], "scores": [row[2] for row in pred]}
    truth = {"masks": masks[1], "labels": [row[1] for row in gt], "iscrowd": [len(row) > 2 for row in gt]}
    return evidence_of(batch_of(["a"], [prediction], TWO, "pred"), batch_of(["a"], [truth], TWO, "gt"), tables)


LEFT, RIGHT = box_mask(SIZE, 0, 0, 10, 10), box_mask(SIZE, 20, 20, 10, 10)
HALF = box_mask(SIZE, 0, 0, 10, 4)  # IoU 0.4 with LEFT
NEAR = box_mask(SIZE, 0, 0, 10, 8)  # IoU 0.8 with LEFT
FAR = box_mask(SIZE, 0, 30, 5, 5)

SITUATIONS = {
    "classification": ([(LEFT, 1, 0.9)], [(LEFT, 0)]),
    "localisation": ([(HALF, 0, 0.9)], [(LEFT, 0)]),
    "both": ([(HALF, 1, 0.9)], [(LEFT, 0)]),
    "duplicate": ([(LEFT, 0, 0.9), (NEAR, 0, 0.8)], [(LEFT, 0)]),
    "background": ([(FAR, 0, 0.9)], [(LEFT, 0)]),
}


@pytest.mark.parametrize("kind", SITUATIONS)
def test_types_of_errors(kind):
    counts = analysis.error_counts(evidence(*SITUATIONS[kind]), "segm", RULES)
    assert counts.pop("missed") == (kind in ("both", "background"))
    assert counts == {name: int(name == kind) for name in analysis.TYPES}


def test_what_repairs_are_worth():
    found = evidence([(LEFT, 0, 0.9), (HALF, 0, 0.8), (RIGHT, 1, 0.7), (FAR, 1, 0.6)], [(LEFT, 0), (RIGHT, 0)])
    budget = analysis.tide(found, "segm", RULES)
    # one of two found at full precision: 51 of 101 recall points
    assert budget["ap"] == pytest.approx(51 / 101)
    # the wrong class repaired: the second is found behind the false HALF, at precision 2/3
    assert budget["classification"] == pytest.approx((51 + 50 * 2 / 3) / 101 - 51 / 101)
    assert budget["localisation"] == 0  # its ground truth is found already
    assert budget["missed"] == 0  # the classification error is about the only missed one
    assert budget["false_negative"] == pytest.approx(1 - 51 / 101)


def test_ap_of_the_budget_is_ap50():
    found = evidence_of(*batches(11), ("segm", "bbox", "analysis"))
    for family in ("segm", "bbox"):
        expected = scores(found, TWO, COCO).metrics[f"{family}/ap50"]
        assert analysis.tide(found, family, RULES)["ap"] == pytest.approx(expected, abs=1e-9)


def test_analysis_needs_its_evidence():
    usual = evidence_of(*batches(0))
    for call in (analysis.tide, analysis.error_counts, analysis.confusion_matrix):
        with pytest.raises(ComparabilityError, match="across categories"):
            call(usual, "segm", RULES)


def test_confusion_matrix():
    pred = [(LEFT, 1, 0.9), (NEAR, 0, 0.8), (RIGHT, 0, 0.7), (FAR, 1, 0.6), (FAR, 0, 0.1)]
    matrix = analysis.confusion_matrix(evidence(pred, [(LEFT, 0), (RIGHT, 0), (box_mask(SIZE, 30, 0, 5, 5), 1)]), "segm", RULES)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_detections_on_crowds_are_left_out_of_the_confusion():
    matrix = analysis.confusion_matrix(evidence([(LEFT, 0, 0.9)], [(box_mask(SIZE, 0, 0, 30, 30), 0, True)]), "segm", RULES)
    assert not matrix.any()


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_confusion_counts_every_ground_truth_once(seed):
    found = evidence_of(*batches(seed), ("segm", "analysis"))
    matrix = analysis.confusion_matrix(found, "segm", RULES, score=0.0)
    truths = found.rows("ground_truths")
    counted = (truths["flags"] & 1) == 0
    assert matrix[:-1].sum(1).tolist() == np.bincount(truths["category"][counted], minlength=2).tolist()
    assert (matrix[:, :-1].sum(0) <= np.bincount(found.rows("detections")["category"], minlength=2)).all()


def test_label_errors():
    pred = [(LEFT, 1, 0.95), (FAR, 0, 0.9), (box_mask(SIZE, 20, 20, 10, 4), 1, 0.85), (box_mask(SIZE, 35, 0, 3, 3), 0, 0.2)]
    rows = analysis.label_errors(evidence(pred, [(LEFT, 0), (RIGHT, 1)]), "segm", RULES, TWO)
    assert [(row["kind"], row["predicted"], row["annotated"]) for row in rows] == [
        ("category", "dog", "cat"),
        ("missing", "cat", None),
        ("outline", "dog", "dog"),
    ]
    assert rows[1]["box"] == [0, 30, 5, 5]


def ranked(pred, gt):
    return extra.ranked(evidence(pred, gt), "segm", RULES)


def test_best_f1_by_hand():
    found = ranked([(LEFT, 0, 0.9), (FAR, 0, 0.8), (RIGHT, 0, 0.7)], [(LEFT, 0), (RIGHT, 0)])
    best = extra.best_f1(found)
    assert (best.f1, best.threshold, best.precision, best.recall) == (pytest.approx(0.8), 0.7, pytest.approx(2 / 3), 1.0)
    assert extra.best_f1(found, 0) == best
    assert extra.best_f1(found, 1) is None
    nothing = extra.best_f1(ranked([], [(LEFT, 0)]))
    assert nothing.f1 == 0.0


def test_values_at_given_scores():
    found = ranked([(LEFT, 0, 0.9), (FAR, 0, 0.8), (RIGHT, 1, 0.7)], [(LEFT, 0), (RIGHT, 1)])
    at = extra.at_scores(found, np.array([0.85, 0.9]))
    assert at["tp"].tolist() == [1, 0]
    assert at["fp"].tolist() == [0, 0]
    assert at["fn"].tolist() == [0, 1]
    assert at["recall"].tolist() == [1.0, 0.0]
    assert np.isnan(at["precision"][1])
    assert extra.at_scores(found, 0.0)["fp"].tolist() == [1, 0]


def test_olrp_by_hand():
    found = ranked([(NEAR, 0, 0.9), (FAR, 0, 0.8)], [(LEFT, 0), (RIGHT, 0)])
    values = extra.olrp(found)
    # the first alone: localisation 0.2 / 0.5, one missed, of two
    assert values[0] == pytest.approx((0.4 + 1) / 2)
    assert np.isnan(values[1])
    assert extra.olrp(ranked([], [(LEFT, 0)]))[0] == 1.0


def test_calibration_by_hand():
    found = ranked([(LEFT, 0, 0.95), (FAR, 0, 0.95), (RIGHT, 0, 0.35)], [(LEFT, 0), (RIGHT, 0)])
    result = extra.calibration(found)
    assert result.count.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert result.precision[9] == 0.5
    assert result.ece == pytest.approx((2 * 0.45 + 0.65) / 3)
    assert result.mce == pytest.approx(0.65)
    assert np.isnan(extra.calibration(ranked([], [(LEFT, 0)])).ece)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_ranges(seed):
    found = evidence_of(*batches(seed), ("segm", "bbox", "analysis"))
    for family in ("segm", "bbox"):
        for value in extra.summary(found, family, RULES).values():
            assert np.isnan(value) or 0 <= value <= 1
        budget = analysis.tide(found, family, RULES)
        assert all(np.isnan(value) or value >= 0 for value in budget.values())


def test_suspicions():
    double = [(LEFT, 0, 0.5), (LEFT, 0, 0.5)]
    assert any("SB141" in text for text in suspicions(evidence(double, [(LEFT, 0)]), TWO, RULES))
    assert any("SB111" in text for text in suspicions(evidence([(LEFT, 1, 0.5)], [(LEFT, 0)], tables=("segm",)), TWO, RULES))
    assert suspicions(evidence([(LEFT, 0, 0.5)], [(LEFT, 0)]), TWO, RULES) == []
    pred = batch_of(["a"], [{"masks": [LEFT], "labels": [0], "scores": [1]}], TWO, "pred")
    gt = batch_of(["a"], [{"masks": [LEFT], "labels": [0], "ids": [0]}], TWO, "gt")
    assert any("SB121" in text for text in suspicions(evidence_of(pred, gt), TWO, RULES))
