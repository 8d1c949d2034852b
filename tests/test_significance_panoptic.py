"""Panoptic metrics under weights: against real copies of images and swapped evidence, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import protocols
from segbench.metrics.panoptic.scoring import COLUMNS, PanopticAccumulator, scores
from segbench.significance.intervals import Resampling
from segbench.significance.measure import measure
from segbench.significance.paired import class_contributions, differences
from tests.panoptic_sets import DATASET, panoptic_image, sample
from tests.simulations import deduplicated, simulate
from tests.studies import populations

FAMILIES = ("panoptic/pq", "panoptic/sq", "panoptic/rq")
IMAGES = st.lists(panoptic_image(), min_size=2, max_size=5)


def accumulate(images, swap=False):
    accumulator = PanopticAccumulator(DATASET, tuple(COLUMNS))
    for index, (gt, gt_table, pred, pred_table) in enumerate(images):
        if swap and len(pred_table) > 1:
            pred_table = dict(list(pred_table.items())[::-1])
            first, second = list(pred_table)[:2]
            pred = [[second if value == first else first if value == second else value for value in row] for row in pred]
            pred_table[first], pred_table[second] = (
                (*pred_table[first][:2], pred_table[second][2]),
                (*pred_table[second][:2], pred_table[first][2]),
            )
        accumulator.update([sample(index, pred, pred_table, order=index)], [sample(index, gt, gt_table, order=index)])
    return accumulator.evidence()


def expected(value):
    return np.nan if value is None else value


def same(values, found, row, tolerance=1e-12):
    for metric, value in found.metrics.items():
        assert values[metric][row] == pytest.approx(expected(value), abs=tolerance, nan_ok=True), metric
    for label in found.per_class:
        for family in FAMILIES:
            value = expected(label[family.partition("/")[2]])
            assert values[f"{family}/{label['name']}"][row] == pytest.approx(value, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("name", protocols.available("panoptic"))
@given(IMAGES, st.integers(0, 2**16))
@settings(max_examples=12)
def test_a_weight_is_that_many_copies(name, images, seed):
    evidence, rules = accumulate(images), protocols.load(name, "panoptic")
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(images))).astype(np.uint8)
    weights[0] = 1
    values = measure("panoptic", evidence, DATASET, rules).values(weights, FAMILIES)
    for row, counts in enumerate(weights):
        copies = populations.drawn(evidence, np.repeat(np.arange(len(images)), counts))
        same(values, scores(copies, DATASET, rules), row, 1e-6 if name == "torchmetrics" else 1e-12)


@given(IMAGES, st.integers(0, 2**16))
@settings(max_examples=20)
def test_swapping_images_is_swapping_their_evidence(images, seed):
    rules = protocols.load("coco-panoptic", "panoptic")
    first, second = accumulate(images), accumulate(images, swap=True)
    flips = np.random.default_rng(seed).integers(0, 2, (3, len(images))).astype(np.uint8)
    mine, theirs = (measure("panoptic", side, DATASET, rules) for side in (first, second))
    swapped = mine.swapped(theirs, flips, FAMILIES)
    for row, flip in enumerate(flips.astype(bool)):
        for values, kept, taken in ((swapped[0], first, second), (swapped[1], second, first)):
            mixed = kept.select(np.flatnonzero(~flip)).merge(taken.select(np.flatnonzero(flip)))
            same(values, scores(mixed, DATASET, rules), row)


def population(num_images, seed, skill=1.0):
    """Panoptic evidence of a made-up model: six segments per image, some missed and false, the rest matched."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(7).normal(0, 1.0, num_images)
    label = np.random.default_rng(8).choice(4, (num_images, 6), p=[0.45, 0.3, 0.15, 0.1])
    area = np.random.default_rng(9).integers(400, 4000, (num_images, 6))
    found = rng.random((num_images, 6)) < 1 / (1 + np.exp(-(skill - hard[:, None])))
    shared = (area * rng.uniform(0.75, 1.0, area.shape)).astype(np.int64)
    return label, area, found, shared


def as_evidence(parts):
    from segbench.evidence import Evidence, Images

    label, area, found, shared = parts
    count, width = label.shape
    side = np.repeat([0, 1], width)
    local = np.arange(1, width + 1)
    classes = np.concatenate((label, np.where(found, label, (label + 1) % 4)), 1)
    segments = {
        "image": np.repeat(np.arange(count, dtype=np.int32), 2 * width),
        "side": np.tile(side, count),
        "segment": np.tile(np.concatenate((local, local)), count),
        "class": classes.ravel().astype(np.int32),
        "area": np.concatenate((area, shared), 1).ravel(),
        "crowd": np.zeros(count * 2 * width, np.int64),
        "stated": np.full(count * 2 * width, -1),
    }
    overlaps = {
        "image": np.repeat(np.arange(count, dtype=np.int32), width),
        "gt": np.tile(local, count).astype(np.int32),
        "pred": np.tile(local, count).astype(np.int32),
        "pixels": shared.ravel(),
    }
    images = Images(tuple(range(count)), np.arange(count), np.full((count, 2), 256, np.int32))
    return Evidence("panoptic", 4, images, {"segments": segments, "overlaps": overlaps})


RULES = protocols.load("coco-panoptic", "panoptic")


def simulated():
    whole = as_evidence(population(4000, 1))
    truth = scores(whole, DATASET, RULES).metrics["panoptic/pq"]
    assert 0.2 < truth < 0.8
    return simulate(whole, DATASET, RULES, "panoptic/pq", truth, images=100, simulations=200)


def test_intervals_of_pq_cover():
    covered, ratio = simulated()
    assert 0.91 <= covered <= 0.99
    assert 0.9 <= ratio <= 1.12


def test_intervals_of_pq_from_deduplicated_draws_do_not_cover():
    with deduplicated():
        covered, ratio = simulated()
    assert covered < 0.91
    assert ratio < 0.85


def test_a_better_model_is_found():
    first, second = (as_evidence(population(300, seed, skill)) for seed, skill in ((1, 1.0), (2, 1.6)))
    a, b = (measure("panoptic", side, DATASET, RULES) for side in (first, second))
    found = differences(a, b, Resampling(500), 500, ("panoptic/pq",))
    assert found["panoptic/pq"].low > 0
    assert found["panoptic/pq"].p < 0.01
    assert class_contributions(a, b, "panoptic/pq").sum() == pytest.approx(found["panoptic/pq"].delta, abs=1e-14)
