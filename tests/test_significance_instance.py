"""AP and AR under weights: equal to the bit at weight 1, to real copies of images, to swapped evidence."""

from __future__ import annotations

import numpy as np
import pytest

from segbench import datasets, protocols
from segbench.adapters.instance.memory import batch_of
from segbench.metrics.instance.matching import RECALL_THRESHOLDS, curves, match
from segbench.metrics.instance.scoring import InstanceAccumulator, families_for, scores
from segbench.significance import instance as module
from segbench.significance.intervals import Resampling
from segbench.significance.measure import measure
from segbench.significance.paired import class_contributions, differences
from tests.simulations import deduplicated, simulate
from tests.studies import detections, populations

THREE = datasets.simple(3, names=["cat", "dog", "bird"])
PROTOCOLS = [name for name in protocols.available("instance") if name != "lvis"]


def made(num_images=12, seed=0, truth_seed=0, quality=0.8, size=(24, 24), ties=False):
    """Evidence of random boxes: found, moved, doubled, missed, of another class, crowds."""
    truths, found = np.random.default_rng(truth_seed), np.random.default_rng(seed + 1000)
    gt, pred = [], []
    for _ in range(num_images):
        count = truths.integers(0, 5)
        corners = truths.integers(0, 14, (count, 2))
        extents = truths.integers(3, 10, (count, 2))
        labels = truths.integers(0, 3, count)
        gt.append({"masks": masks(corners, extents, size), "labels": labels, "iscrowd": truths.random(count) < 0.15})
        times = found.choice([0, 1, 2], count, p=[1 - quality, quality * 0.8, quality * 0.2])
        where = np.repeat(np.arange(count), times)
        moved = corners[where] + found.integers(-1, 2, (len(where), 2))
        extra = found.integers(0, 3)
        moved = np.concatenate((moved, found.integers(0, 14, (extra, 2))))
        wide = np.concatenate((extents[where], found.integers(3, 10, (extra, 2))))
        named = np.concatenate(
            (np.where(found.random(len(where)) < 0.9, labels[where], found.integers(0, 3, len(where))), found.integers(0, 3, extra))
        )
        values = found.random(len(named))
        pred.append({"masks": masks(moved, wide, size), "labels": named, "scores": np.round(values, 1) if ties else values})
    keys = list(range(num_images))
    return batch_of(keys, pred, THREE, "pred"), batch_of(keys, gt, THREE, "gt")


def masks(corners, extents, size):
    stack = np.zeros((len(corners), *size), bool)
    for mask, (top, left), (height, width) in zip(stack, corners, extents, strict=True):
        mask[max(top, 0) : top + height, max(left, 0) : left + width] = True
    return stack


def evidence_of(rules, **how):
    accumulator = InstanceAccumulator(THREE, families_for((), rules), rules.rules)
    accumulator.update(*made(**how))
    return accumulator.evidence()


def expected(value):
    return np.nan if value is None else value


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_weight_one_is_the_number_itself_to_the_bit(name, ties):
    rules = protocols.load(name, "instance")
    evidence = evidence_of(rules, ties=ties)
    found = scores(evidence, THREE, rules)
    subject = measure("instance", evidence, THREE, rules)
    values = subject.values(np.ones((1, 12), np.uint8), subject.families)
    assert values.keys() >= found.metrics.keys()
    for metric, value in found.metrics.items():
        assert repr(float(values[metric][0])) == repr(float(expected(value))), metric
    for family in subject.families:
        kind, column = family.split("/")
        for row in found.per_class:
            assert values[f"{family}/{row['name']}"][0] == pytest.approx(expected(row[f"{kind}_{column}"]), abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("family", ["segm", "bbox"])
def test_curves_of_weight_one_are_the_curves_to_the_bit(family):
    rules = protocols.load("coco", "instance")
    evidence = evidence_of(rules, num_images=20)
    whole = curves(match(evidence, family, rules.rules), evidence.rows("detections")["score"], rules.rules)
    subject = measure("instance", evidence, THREE, rules)
    limits = rules.rules.max_detections
    for (compared, area), curve in subject.curves.items():
        if compared == family:
            precision, recall, classes = curve.weighted(np.ones(20, np.uint8), 10, limits)
            assert np.array_equal(precision, whole.precision[:, :, classes, area, -1])
            assert np.array_equal(recall, np.moveaxis(whole.recall[:, classes, area], -1, 0))
            absent = np.setdiff1d(np.arange(3), classes)
            assert (whole.precision[:, :, absent, area] == -1).all()
    assert len(RECALL_THRESHOLDS) == 101


@pytest.mark.parametrize("name", ["coco-corrected", "boundary", "class-agnostic"])
def test_a_weight_is_that_many_copies(name):
    rules = protocols.load(name, "instance")
    if rules.rules.repeated_ids == "refused":
        import msgspec

        rules = msgspec.structs.replace(rules, rules=msgspec.structs.replace(rules.rules, repeated_ids="allowed", id_zero="matched"))
    evidence = evidence_of(rules)
    weights = np.random.default_rng(1).integers(0, 4, (5, 12)).astype(np.uint8)
    subject = measure("instance", evidence, THREE, rules)
    values = subject.values(weights, subject.families)
    for row, counts in enumerate(weights):
        found = scores(populations.drawn(evidence, np.repeat(np.arange(12), counts)), THREE, rules)
        for metric, value in found.metrics.items():
            assert values[metric][row] == pytest.approx(expected(value), abs=1e-12, nan_ok=True), metric
        for family in subject.families:
            kind, column = family.split("/")
            for label in found.per_class:
                value = expected(label[f"{kind}_{column}"])
                assert values[f"{family}/{label['name']}"][row] == pytest.approx(value, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("ties", [False, True])
def test_swapping_images_is_swapping_their_evidence(ties):
    rules = protocols.load("coco", "instance")
    first, second = (evidence_of(rules, seed=seed, quality=quality, ties=ties) for seed, quality in ((1, 0.8), (2, 0.5)))
    a, b = (measure("instance", side, THREE, rules) for side in (first, second))
    flips = np.random.default_rng(0).integers(0, 2, (4, 12)).astype(np.uint8)
    mine, theirs = a.swapped(b, flips)
    for row, flip in enumerate(flips.astype(bool)):
        for values, kept, taken in ((mine, first, second), (theirs, second, first)):
            mixed = kept.select(np.flatnonzero(~flip)).merge(taken.select(np.flatnonzero(flip)))
            for metric, value in scores(mixed, THREE, rules).metrics.items():
                assert values[metric][row] == pytest.approx(expected(value), abs=1e-12, nan_ok=True), metric


def test_effects_of_the_images_that_changed(monkeypatch):
    rules = protocols.load("coco", "instance")
    first, second = (evidence_of(rules, seed=seed) for seed in (1, 2))
    a, b = (measure("instance", side, THREE, rules) for side in (first, second))
    effects = a.effects(b, ["segm/ap"])["segm/ap"]
    base = scores(first, THREE, rules).metrics["segm/ap"]
    image = int(np.argmax(np.abs(effects)))
    mixed = first.select([row for row in range(12) if row != image]).merge(second.select([image]))
    assert effects[image] == pytest.approx(scores(mixed, THREE, rules).metrics["segm/ap"] - base, abs=1e-12)
    monkeypatch.setattr(module, "EFFECTS", 2)
    assert np.count_nonzero(a.effects(b, ["segm/ap"])["segm/ap"]) <= 2


def test_a_worse_model_is_found_and_classes_sum_up():
    rules = protocols.load("coco", "instance")
    first, second = (evidence_of(rules, num_images=60, seed=seed, quality=quality) for seed, quality in ((1, 0.9), (2, 0.5)))
    a, b = (measure("instance", side, THREE, rules) for side in (first, second))
    found = differences(a, b, Resampling(300), 300, ("segm/ap",))
    assert found["segm/ap"].high < 0
    assert found["segm/ap"].p < 0.02
    assert class_contributions(a, b, "segm/ap").sum() == pytest.approx(found["segm/ap"].delta, abs=1e-13)
    same = differences(a, a, Resampling(100), 100)["segm/ap"]
    assert (same.delta, same.p) == (0, 1)


def test_large_sets_get_the_headline_alone(monkeypatch):
    rules = protocols.load("coco", "instance")
    evidence = evidence_of(rules)
    assert "segm/ap_small" in measure("instance", evidence, THREE, rules).values(np.ones((1, 12), np.uint8))
    monkeypatch.setattr(module, "AFFORDABLE", 10)
    values = measure("instance", evidence, THREE, rules).values(np.ones((1, 12), np.uint8))
    assert {"segm/ap", "segm/ap50", "segm/ar100", "bbox/ap"} <= values.keys()
    assert "segm/ap_small" not in values


def simulated(monkeypatch):
    monkeypatch.setattr(module, "AFFORDABLE", 0)
    rules, whole = protocols.load("coco", "instance"), detections.instances(4000, 3)
    truth = scores(whole, THREE, rules).metrics["segm/ap"]
    assert 0.3 < truth < 0.6
    return simulate(whole, THREE, rules, "segm/ap", truth, images=120)


def test_intervals_of_ap_cover(monkeypatch):
    covered, ratio = simulated(monkeypatch)
    assert 0.9 <= covered <= 0.99
    assert 0.9 <= ratio <= 1.12


def test_intervals_of_ap_from_deduplicated_draws_do_not_cover(monkeypatch):
    with deduplicated():
        covered, ratio = simulated(monkeypatch)
    assert covered < 0.9
    assert ratio < 0.85


def test_size_ranges_of_large_sets_stay_affordable():
    """COCO val2017 with masks has intervals of every size range."""
    assert module.AFFORDABLE >= 87_000 * 4


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rules = protocols.load("coco", "instance")
    subject = measure("instance", evidence_of(rules), THREE, rules)
    weights = np.random.default_rng(3).integers(0, 4, (40, 12)).astype(np.uint8)
    monkeypatch.setattr(module, "LEAST", 41)
    alone = subject.values(weights, subject.families)
    monkeypatch.setattr(module, "LEAST", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(7), raising=False)
    spread = subject.values(weights, subject.families)
    assert alone.keys() == spread.keys()
    assert all(np.array_equal(alone[name], spread[name], equal_nan=True) for name in alone)
