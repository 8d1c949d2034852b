"""Resampling: weights against real copies of images, laws of the draws, and intervals that cover what they promise."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import datasets, protocols
from segbench.errors import ComparabilityError, ConfigError
from segbench.metrics.semantic import SemanticAccumulator, scores
from segbench.samples import LabelMap
from segbench.significance import draws
from segbench.significance import units as drawing
from segbench.significance.intervals import Resampling, interval, intervals, replicate
from segbench.significance.measure import measure
from segbench.significance.paired import (
    class_contributions,
    detectable_factor,
    differences,
    images_needed,
    null_differences,
    p_value,
    step_down,
)
from segbench.significance.semantic import lowest_mean
from segbench.significance.units import bootstrap, jackknife, labels_of, swaps, units_of
from tests.studies import populations

ROOT = Path(__file__).parents[1]
POOLED = protocols.load("pooled", "semantic")
IOU = ("semantic/iou",)


def subject(evidence, rules=POOLED):
    return measure("semantic", evidence, datasets.simple(evidence.num_classes), rules)


def run(num_images=60, num_classes=5, seed=0, **more):
    return populations.semantic(populations.labels(num_images, num_classes), seed, **more)


def test_the_generator_is_splitmix64():
    state, found = 1234567, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        found.append(int(draws.mix(np.array([state], np.uint64))[0]))
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]  # the published first outputs of seed 1234567


def test_draws_are_the_same_on_every_machine():
    """Golden: stored runs are paired only as long as their images are drawn as they always were."""
    assert np.concatenate(list(bootstrap(units_of(range(8)), 4))).tolist() == [
        [2, 1, 1, 1, 0, 0, 1, 2],
        [0, 1, 1, 1, 0, 3, 2, 0],
        [0, 2, 3, 1, 1, 0, 0, 1],
        [1, 0, 0, 2, 1, 1, 2, 1],
    ]
    assert np.concatenate(list(swaps(units_of(range(13)), 2))).tolist() == [
        [0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1],
        [1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0],
    ]
    assert np.concatenate(list(jackknife(units_of(range(6)), 3))).tolist() == [
        [1, 0, 0, 1, 1, 1],
        [0, 1, 1, 1, 0, 1],
        [1, 1, 1, 0, 1, 0],
    ]

    def digests(units, seed):
        kinds = bootstrap(units, 2500, seed), swaps(units, 2500, seed), jackknife(units, 200, seed)
        return [hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16] for parts in kinds]

    assert digests(units_of(range(500)), 0) == ["780a903bc07f3096", "9b76f7185219b821", "117381888b8810f5"]
    assert digests(units_of(range(4000)), 2**40 + 1) == ["34b6f2a60e11587e", "8a64453c37a25a5c", "5f2848b1e2b3a05d"]


def test_weights_count_draws_with_replacement():
    units = units_of(range(40))
    weights = np.concatenate(list(bootstrap(units, 3000)))
    assert weights.shape == (3000, 40)
    assert (weights.sum(1) == 40).all()
    assert abs(weights.mean() - 1) < 1e-12
    # of draws with replacement each unit is left out with probability (1 - 1/n)^n, and the variance is 1 - 1/n
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.005)
    assert weights.astype(float).var() == pytest.approx(1 - 1 / 40, abs=0.02)
    assert np.abs(np.corrcoef(weights[:, :6].T.astype(float)) - np.eye(6)).max() < 0.1


def test_swaps_are_fair_coins():
    flips = np.concatenate(list(swaps(units_of(range(30)), 2000))).astype(float)
    assert flips.mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(np.corrcoef(flips[:, :6].T) - np.eye(6)).max() < 0.1


def test_few_units_are_enumerated():
    parts = list(swaps(units_of(range(3)), 5000))
    assert sorted(map(tuple, np.concatenate(parts).tolist())) == sorted(itertools.product((0, 1), repeat=3))


def test_draws_do_not_depend_on_how_many_are_held(monkeypatch):
    units = units_of(range(50))
    whole = np.concatenate(list(bootstrap(units, 100, 7)))
    monkeypatch.setattr(drawing, "CHUNK_BYTES", 50 * 17)
    parts = list(bootstrap(units, 100, 7))
    assert len(parts) > 4
    assert np.array_equal(np.concatenate(parts), whole)


def test_draws_follow_the_ids_and_not_their_order():
    ids = [3, 1, 2, 10]
    weights = np.concatenate(list(bootstrap(units_of(ids), 20)))
    ascending = np.concatenate(list(bootstrap(units_of(sorted(ids)), 20)))
    assert np.array_equal(weights[:, [1, 2, 0, 3]], ascending)


def test_other_seeds_draw_otherwise():
    units = units_of(range(50))
    first, second = (np.concatenate(list(bootstrap(units, 20, seed))) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 20


def test_a_cluster_is_drawn_as_one():
    clusters = ["b", "a", "a", "c", "b"]
    units = units_of(range(5), clusters)
    assert units.count == 3
    for weights in (*bootstrap(units, 50), *swaps(units, 50), *jackknife(units)):
        assert (weights[:, 0] == weights[:, 4]).all()
        assert (weights[:, 1] == weights[:, 2]).all()
    assert len({tuple(row) for row in np.concatenate(list(jackknife(units))).tolist()}) == 3


def test_the_jackknife_leaves_each_unit_out_once():
    one_by_one = np.concatenate(list(jackknife(units_of(range(30)))))
    assert np.array_equal(np.sort(one_by_one, 0)[0], np.zeros(30))
    assert (one_by_one.sum(1) == 29).all()
    grouped = np.concatenate(list(jackknife(units_of(range(1000)), 100)))
    assert grouped.shape == (100, 1000)
    assert ((1 - grouped).sum(0) == 1).all()
    assert ((1 - grouped).sum(1) == 10).all()


def test_labels_of_images():
    ids = ["aachen_000001", "bonn_000001"]
    assert labels_of(ids, r"^([a-z]+)_") == ["aachen", "bonn"]
    assert labels_of(ids, r"^[a-z]+") == ["aachen", "bonn"]
    assert labels_of([7, 8], "night", {"7": {"night": "yes"}, "8": {"night": "no"}}) == ["yes", "no"]
    with pytest.raises(ConfigError, match=r"1 of 2 .* bonn_000001"):
        labels_of(ids, "aachen")
    with pytest.raises(ConfigError, match="neither a column"):
        labels_of(ids, "(")
    with pytest.raises(ConfigError, match="1 of 2"):
        labels_of([7, 9], "night", {"7": {"night": "yes"}})


@pytest.mark.parametrize("name", [name for name in protocols.available("semantic") if name not in ("mmseg", "torchmetrics")])
def test_weight_one_is_the_number_itself(name):
    evidence, rules = run(), protocols.load(name, "semantic")
    found = scores(evidence, datasets.simple(5), rules)
    values = subject(evidence, rules).values(
        np.ones((1, 60), np.uint8), ("semantic/iou", "semantic/recall", "semantic/precision", "semantic/dice")
    )
    for metric, value in found.metrics.items():
        assert values[metric][0] == pytest.approx(np.nan if value is None else value, abs=1e-13, nan_ok=True)
    for row in found.per_class:
        for column in ("iou", "recall", "precision", "dice"):
            value = np.nan if row[column] is None else row[column]
            assert values[f"semantic/{column}/{row['name']}"][0] == pytest.approx(value, abs=1e-13, nan_ok=True)


@pytest.mark.parametrize("name", protocols.available("semantic"))
def test_a_weight_is_that_many_copies(name):
    evidence, rules = run(12, 4), protocols.load(name, "semantic")
    weights = np.random.default_rng(3).integers(0, 4, (6, 12)).astype(np.uint8)
    values = subject(evidence, rules).values(weights, IOU)
    for row, counts in enumerate(weights):
        copies = scores(populations.drawn(evidence, np.repeat(np.arange(12), counts)), datasets.simple(4), rules)
        tolerance = 1e-6 if name in ("mmseg", "torchmetrics") else 1e-13  # these two add in float32
        for metric, value in copies.metrics.items():
            expected = np.nan if value is None else value
            assert values[metric][row] == pytest.approx(expected, abs=tolerance, nan_ok=True), metric
        for label in copies.per_class:
            expected = np.nan if label["iou"] is None else label["iou"]
            assert values[f"semantic/iou/{label['name']}"][row] == pytest.approx(expected, abs=tolerance, nan_ok=True)


def test_copies_of_boundaries_categories_and_instances():
    city = datasets.load("cityscapes")
    rng = np.random.default_rng(5)
    accumulator = SemanticAccumulator(city, ("pixels", "boundary", "instances"))
    for image_id in range(6):
        gt = np.repeat(np.repeat(rng.choice([7, 8, 23, 24, 25, 26], (4, 4)), 6, 0), 6, 1).astype(np.uint8)
        pred = np.where(rng.random(gt.shape) < 0.3, rng.choice([7, 24, 26], gt.shape), gt).astype(np.uint8)
        instances = np.where(gt >= 24, gt.astype(np.int32) * 1000 + 1, gt).astype(np.int32)
        meaning = city.value_map("label")
        accumulator.update([LabelMap(image_id, pred, meaning)], [LabelMap(image_id, gt, meaning, instances=instances)])
    evidence = accumulator.evidence()
    rules = protocols.load("cityscapes", "semantic")
    weights = np.array([[1] * 6, [2, 0, 1, 3, 0, 1]], np.uint8)
    built = measure("semantic", evidence, city, rules)
    values = built.values(weights, built.families)
    for row, counts in enumerate(weights):
        copies = scores(populations.drawn(evidence, np.repeat(np.arange(6), counts)), city, rules)
        assert {"semantic/iiou", "semantic/category_iou", "semantic/category_iiou", "semantic/boundary_iou"} <= set(copies.metrics)
        for metric, value in copies.metrics.items():
            assert values[metric][row] == pytest.approx(value, abs=1e-12), metric
        for label in copies.per_class:
            for column in ("boundary_iou", "iiou"):
                expected = np.nan if label[column] is None else label[column]
                assert values[f"semantic/{column}/{label['name']}"][row] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_swapping_images_is_swapping_their_evidence():
    first, second = run(10, 4, 1), run(10, 4, 2, skill=0.8)
    flips = np.random.default_rng(0).integers(0, 2, (5, 10)).astype(np.uint8)
    mine, theirs = subject(first).swapped(subject(second), flips, IOU)
    for row, flip in enumerate(flips.astype(bool)):
        for values, kept, taken in ((mine, first, second), (theirs, second, first)):
            mixed = kept.select(np.flatnonzero(~flip)).merge(taken.select(np.flatnonzero(flip)))
            expected = scores(mixed, datasets.simple(4), POOLED)
            for metric, value in expected.metrics.items():
                assert values[metric][row] == pytest.approx(value, abs=1e-12), metric


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=30), st.sampled_from([1, 10, 25, 100]))
@settings(max_examples=60)
def test_the_lowest_values_that_count_several_times(rows, percent):
    values, weights = np.array([value for value, _ in rows]), np.array([[weight for _, weight in rows]], np.uint8).reshape(1, -1)
    order = np.argsort(values, kind="stable")
    copies = np.sort(np.repeat(values, weights[0]))
    expected = copies[: max(1, int(percent / 100 * len(copies)))].mean() if len(copies) else np.nan
    assert lowest_mean(values, order, weights, percent)[0] == pytest.approx(expected, nan_ok=True)


def test_a_run_that_was_asked_for_more():
    city, rules = datasets.load("cityscapes"), protocols.load("cityscapes", "semantic")
    rng = np.random.default_rng(6)
    sides = []
    for tables in (("pixels",), ("pixels", "boundary")):
        accumulator = SemanticAccumulator(city, tables)
        truths = np.random.default_rng(7)
        for image_id in range(40):
            gt = truths.choice([7, 8, 26], (16, 16)).astype(np.uint8)
            pred = np.where(rng.random(gt.shape) < 0.3, 7, gt).astype(np.uint8)
            accumulator.update([LabelMap(image_id, pred, city.value_map("label"))], [LabelMap(image_id, gt, city.value_map("label"))])
        sides.append(measure("semantic", accumulator.evidence(), city, rules))
    for a, b in (sides, sides[::-1]):
        found = differences(a, b, Resampling(100), 100, IOU)
        assert "semantic/miou" in found
        assert "semantic/boundary_iou" not in found
        assert a.effects(b, ["semantic/miou"])["semantic/miou"].any()


def test_the_lowest_values_that_hardly_count():
    values = np.arange(1000) / 1000
    weights = np.zeros((2, 1000), np.uint8)
    weights[0, 900:] = 1  # those at the front do not count at all
    weights[1] = 1
    weights[1, :3] = 0
    found = lowest_mean(np.append(values, np.nan), np.arange(1000), np.append(weights, [[9], [9]], 1).astype(np.uint8))
    assert found.tolist() == pytest.approx([values[900:910].mean(), values[3:102].mean()])


def test_the_ends_by_hand():
    replicates = np.arange(1001) / 1000 - 0.1
    percentile = interval(0.5, replicates, 0.9, "percentile")
    assert (percentile.low, percentile.high) == pytest.approx((-0.05, 0.85))
    basic = interval(0.5, replicates, 0.9, "basic")
    assert (basic.low, basic.high) == pytest.approx((0.15, 1.05))
    centred = interval(0.4, replicates, 0.9, "bca", np.array([0.39, 0.40, 0.41]))
    assert (centred.low, centred.high) == pytest.approx((-0.05, 0.85), abs=1e-3)
    assert interval(0.5, np.array([np.nan, np.nan, 0.5]), 0.95, "basic") is None


def test_an_interval_holds_its_number():
    biased = 0.5 + np.arange(1, 1001) / 1000
    assert interval(0.5, biased, 0.95, "percentile").low == 0.5
    assert interval(0.5, biased, 0.95, "basic").high == 0.5
    assert interval(0.5, biased, 0.95, "bca").low == 0.5
    assert interval(0.5, biased - 1.2, 0.95, "bca").high == 0.5


def test_bca_against_the_textbook_formula():
    rng = np.random.default_rng(0)
    data = rng.exponential(1, 40)
    replicates = data[rng.integers(0, 40, (2000, 40))].mean(1)
    without = (data.sum() - data) / 39
    found = interval(data.mean(), replicates, 0.95, "bca", without)
    from statistics import NormalDist

    normal = NormalDist()
    z0 = normal.inv_cdf((replicates < data.mean()).mean())
    a = (data - data.mean()).__pow__(3).sum() / (6 * ((data - data.mean()) ** 2).sum() ** 1.5)
    for end, z in ((found.low, -1.959964), (found.high, 1.959964)):
        expected = np.quantile(replicates, normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))))
        assert end == pytest.approx(expected, abs=2e-3)
    plain = interval(data.mean(), replicates, 0.95, "percentile")
    assert found.low > plain.low
    assert found.high > plain.high  # exponential data are skewed: the interval moves to the right


def test_an_interval_is_the_same_bits_every_time():
    evidence = run()
    dataset = datasets.simple(5)
    assert intervals(evidence, dataset, POOLED) == intervals(evidence, dataset, POOLED)
    other = intervals(evidence, dataset, POOLED, Resampling(seed=1))["semantic/miou"]
    assert other.low != intervals(evidence, dataset, POOLED)["semantic/miou"].low


PRINTED = """
import numpy as np
from segbench import datasets, protocols
from segbench.significance.intervals import intervals
from tests.studies import populations
evidence = populations.semantic(populations.labels(60, 5), 0)
found = intervals(evidence, datasets.simple(5), protocols.load("pooled", "semantic"))
print(*(f"{name} {made.low.hex()} {made.high.hex()}" for name, made in found.items()))
"""


def test_an_interval_is_the_same_bits_with_any_number_of_threads():
    outputs = set()
    for threads in ("1", "4"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        import os

        environment = os.environ | dict.fromkeys(names, threads)
        done = subprocess.run([sys.executable, "-c", PRINTED], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_doubtful_intervals_say_why():
    few = intervals(run(12), datasets.simple(5), POOLED)["semantic/miou"]
    assert (few.reliable, few.reason) == (False, "only 12 images")
    assert few.document()["reason"] == "only 12 images"
    enough = intervals(run(200), datasets.simple(5), POOLED)["semantic/miou"]
    assert enough.reliable
    assert "reason" not in enough.document()
    clusters = tuple(str(index // 20) for index in range(200))
    assert intervals(run(200), datasets.simple(5), POOLED, Resampling(clusters=clusters))["semantic/miou"].reason == "only 10 clusters"
    pixels = populations.labels(100, 4)
    pixels[:, 3] = 0
    pixels[5, 3] = 500
    rare = intervals(populations.semantic(pixels), datasets.simple(4), POOLED, Resampling(), IOU)
    assert rare["semantic/iou/class_3"].reason == "the class is in only 1 images"
    assert rare["semantic/miou"].reason == "1 of 4 classes are in fewer than 20 images"
    assert rare["semantic/pixel_accuracy"].reliable
    assert intervals(run(1), datasets.simple(5), POOLED) == {}


def coverage(spoil, simulations=250, images=120, replicates=400, clusters=None):
    """How often the interval of mIoU holds the population's mIoU."""
    pixels = populations.labels(4000, 6, 1)
    difficulty = np.random.default_rng(2).normal(0, 1.0, 4000)
    groups = None if clusters is None else np.arange(4000) // clusters
    population = populations.semantic(pixels, 3, difficulty=difficulty, clusters=groups)
    truth = scores(population, datasets.simple(6), POOLED).metrics["semantic/miou"]
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(simulations):
        if clusters is None:
            rows = np.sort(rng.choice(4000, images, replace=False))
        else:
            rows = (rng.choice(4000 // clusters, images // clusters, replace=False)[:, None] * clusters + np.arange(clusters)).ravel()
        found = spoil(population.select(np.sort(rows)), np.sort(rows), replicates)
        inside += found.low <= truth <= found.high
    return inside / simulations


def ours(evidence, rows, replicates):
    return intervals(evidence, datasets.simple(6), POOLED, Resampling(replicates))["semantic/miou"]


def deduplicated(evidence, rows, replicates):
    """Each drawn image counts once, as one tool of the field does: a subsample, which varies too little."""
    built = subject(evidence)
    drawn = [built.values((weights > 0).astype(np.uint8)) for weights in bootstrap(units_of(evidence.images.ids), replicates)]
    values = np.concatenate([part["semantic/miou"] for part in drawn])
    return interval(built.values(np.ones((1, len(rows)), np.uint8))["semantic/miou"][0], values, 0.95, "percentile")


def test_intervals_cover_and_deduplicated_ones_do_not():
    # the binomial spread at 250 simulations is 1.4 points
    assert 0.91 <= coverage(ours) <= 0.985
    assert coverage(deduplicated) < 0.90


def test_clusters_need_their_own_draws():
    def by_cluster(evidence, rows, replicates):
        how = Resampling(replicates, clusters=tuple(str(row // 4) for row in rows))
        return intervals(evidence, datasets.simple(6), POOLED, how)["semantic/miou"]

    assert coverage(by_cluster, clusters=4) >= 0.90
    assert coverage(ours, clusters=4) < 0.88


def test_p_values_by_hand():
    null = np.array([-0.3, -0.1, 0.1, 0.3])
    assert p_value(0.3, null, complete=True) == 0.5
    assert p_value(0.3, null, complete=False) == 3 / 5
    assert p_value(0.5, null, complete=False) == 1 / 5
    assert p_value(0.0, np.zeros(4), complete=True) == 1
    assert p_value(0.1, np.full(4, np.nan), complete=False) == 1


def test_enumeration_is_exact():
    first, second = run(4, 3, 1), run(4, 3, 2, skill=0.5)
    a, b = subject(first), subject(second)
    null, complete = null_differences(a, b, units_of(range(4)), 5000, 0)
    assert complete
    assert len(null["semantic/miou"]) == 16
    delta = differences(a, b)["semantic/miou"]
    assert delta.p == (np.abs(null["semantic/miou"]) >= abs(delta.delta) - 1e-12).mean()
    assert delta.p >= 2 / 16  # the observed assignment and its mirror image are always as extreme


def test_identical_runs_differ_in_nothing():
    evidence = run()
    for difference in differences(subject(evidence), subject(evidence), families=IOU).values():
        assert difference.delta == difference.low == difference.high == 0
        assert difference.p == 1
        assert difference.p_adjusted in (None, 1)


def test_a_difference_is_found_and_mirrored():
    first, second = run(80, 5, 1), run(80, 5, 2, skill=1.6)
    forth, back = (differences(subject(a), subject(b), families=IOU) for a, b in ((first, second), (second, first)))
    better, worse = forth["semantic/miou"], back["semantic/miou"]
    assert better.low > 0
    assert better.p < 0.01
    assert worse.delta == -better.delta
    assert worse.p == better.p
    assert (worse.low, worse.high) == pytest.approx((-better.high, -better.low), abs=2e-3)
    assert better.detectable == pytest.approx(detectable_factor(0.95) * better.se)
    assert detectable_factor(0.95) == pytest.approx(2.80, abs=0.005)


def test_runs_on_other_images_are_not_compared():
    with pytest.raises(ComparabilityError, match="same images"):
        differences(subject(run(20)), subject(run(21)))


def test_step_down_by_hand():
    null = np.array([[1.0, -1.0, 0.5, -0.5], [0.1, 0.2, -0.1, -0.2]])
    deltas = np.array([2.0, 0.2])
    spread = null.std(1)
    first, second = deltas / spread
    assert first > second
    scaled = np.abs(null) / spread[:, None]
    largest = scaled.max(0)
    expected = (1 + (largest >= first).sum()) / 5, (1 + (scaled[1] >= second).sum()) / 5
    assert step_down(deltas, null).tolist() == pytest.approx([expected[0], max(expected)])


def test_step_down_is_never_below_the_single_p_value():
    rng = np.random.default_rng(0)
    null = rng.normal(0, 1, (8, 500)) * rng.uniform(0.1, 3, (8, 1))
    deltas = rng.normal(0, 2, 8)
    adjusted = step_down(deltas, null)
    single = [p_value(delta, row, complete=False) for delta, row in zip(deltas, null, strict=True)]
    assert (adjusted >= np.array(single) - 1e-12).all()


def test_class_contributions_sum_to_the_difference():
    first, second = run(30, 6, 1), run(30, 6, 2, skill=0.9)
    a, b = subject(first), subject(second)
    delta = differences(a, b, Resampling(replicates=20), 20)
    for metric in ("semantic/miou", "semantic/mdice"):
        assert class_contributions(a, b, metric).sum() == pytest.approx(delta[metric].delta, abs=1e-14)


def test_effects_of_images():
    first, second = run(10, 4, 1), run(10, 4, 2)
    effects = subject(first).effects(subject(second), ["semantic/miou"])["semantic/miou"]
    base = scores(first, datasets.simple(4), POOLED).metrics["semantic/miou"]
    for image in (0, 7):
        mixed = first.select([row for row in range(10) if row != image]).merge(second.select([image]))
        assert effects[image] == pytest.approx(scores(mixed, datasets.simple(4), POOLED).metrics["semantic/miou"] - base, abs=1e-13)


def test_images_needed():
    assert images_needed(500, 0.0025, 0.0025 * detectable_factor(0.95)) == 500
    assert images_needed(500, 0.0025, 0.0025 * detectable_factor(0.95) / 2) == 2000


def test_false_alarms_and_power():
    """Two equally good models differ at the level of the test; one that is better is found."""
    pixels = populations.labels(3000, 5, 1)
    hard = np.random.default_rng(2).normal(0, 1.0, 3000)
    first = populations.semantic(pixels, 3, difficulty=hard)
    second = populations.semantic(pixels, 4, difficulty=hard)
    better = populations.semantic(pixels, 4, difficulty=hard, skill=1.45)
    shift = differences(subject(first), subject(second), Resampling(2), 2)["semantic/miou"].delta
    assert abs(shift) < 0.004  # far below the spread of samples of 60 images
    rng = np.random.default_rng(5)
    alarms = found = 0
    for _ in range(200):
        rows = np.sort(rng.choice(3000, 60, replace=False))
        a, b, c = (subject(evidence.select(rows)) for evidence in (first, second, better))
        for other, add in ((b, 0), (c, 1)):
            null, complete = null_differences(a, other, units_of(range(60)), 199, 0)
            ones = np.ones((1, 60), np.uint8)
            delta = other.values(ones)["semantic/miou"][0] - a.values(ones)["semantic/miou"][0]
            significant = p_value(delta, null["semantic/miou"], complete) <= 0.05
            found, alarms = found + significant * add, alarms + significant * (1 - add)
    assert alarms / 200 <= 0.09
    assert found / 200 >= 0.75


def test_replicates_of_runs_are_paired():
    """Stored apart, drawn alike: the difference of two runs' replicates is far narrower than that of unpaired ones."""
    pixels = populations.labels(150, 5, 1)
    hard = np.random.default_rng(2).normal(0, 1.0, 150)
    first, second = (subject(populations.semantic(pixels, seed, difficulty=hard, noise=0.1)) for seed in (3, 4))
    units = units_of(range(150))
    a, b, c = (replicate(side, units, 300, seed)["semantic/miou"] for side, seed in ((first, 0), (second, 0), (second, 1)))
    assert (a - b).std() < 0.3 * (a - c).std()
