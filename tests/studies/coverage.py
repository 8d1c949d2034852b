"""How often intervals hold the truth, tests cry wolf, and differences are found. Prints Markdown tables.

    python -m tests.studies.coverage [SIMULATIONS]

A large made-up population gives the truth; samples of its images give intervals. The binomial spread of a share of 95 % is 1.5 points at
200 simulations. `de-duplicated` counts each drawn image once, as one tool of the field does.
"""

from __future__ import annotations

import sys

import numpy as np

from segbench import datasets, protocols
from segbench.metrics.instance.scoring import scores as instance_scores
from segbench.metrics.semantic import scores
from segbench.significance import instance as instance_module
from segbench.significance.intervals import NORMAL, Resampling, interval, intervals, left_out, observed_values, replicate
from segbench.significance.measure import Measure, measure
from segbench.significance.paired import paired_differences
from segbench.significance.units import bootstrap, units_of
from tests.studies import detections, populations

POOLED, COCO = protocols.load("pooled", "semantic"), protocols.load("coco", "instance")
DRAWS = 400


def ends(subject: Measure, metric: str, methods: tuple[str, ...]) -> dict[str, tuple[float, float, float]]:
    """Low, high and standard error by method."""
    units = units_of(subject.evidence.images.ids)
    value = observed_values(subject, units)[metric]
    drawn = replicate(subject, units, DRAWS, 0)[metric]
    without = left_out(subject, units)[metric] if "bca" in methods else None
    found = {}
    for method in methods:
        values = drawn
        if method == "bias-corrected normal":
            se, middle = drawn.std(ddof=1), 2 * value - drawn.mean()
            found[method] = middle - NORMAL.inv_cdf(0.975) * se, middle + NORMAL.inv_cdf(0.975) * se, se
            continue
        if method == "de-duplicated":
            values = np.concatenate([subject.values((weights > 0).astype(np.uint8))[metric] for weights in bootstrap(units, DRAWS)])
        kind = "percentile" if method == "de-duplicated" else method
        made = interval(value, values, 0.95, kind, without if method == "bca" else None)
        assert made is not None
        found[method] = made.low, made.high, made.se
    return found


def semantic_coverage(simulations: int) -> None:
    print("| classes | images | BCa (used) | percentile | de-duplicated | its standard error | flagged |")
    print("|-:|-:|-:|-:|-:|-:|-:|")
    methods = ("bca", "percentile", "de-duplicated")
    for num_classes, sizes in ((6, (30, 100, 400)), (19, (100, 500)), (60, (100, 500))):
        dataset = datasets.simple(num_classes)
        hard = np.random.default_rng(2).normal(0, 1.0, 8000)
        whole = populations.semantic(populations.labels(8000, num_classes, 1), 3, difficulty=hard)
        truth = scores(whole, dataset, POOLED).metrics["semantic/miou"]
        for size in sizes:
            rng = np.random.default_rng(size)
            inside, ratio, flagged = dict.fromkeys(methods, 0), 0.0, 0
            for _ in range(simulations):
                part = whole.select(np.sort(rng.choice(8000, size, replace=False)))
                found = ends(measure("semantic", part, dataset, POOLED), "semantic/miou", methods)
                for method, (low, high, _) in found.items():
                    inside[method] += low <= truth <= high
                ratio += found["de-duplicated"][2] / found["percentile"][2]
                flagged += not intervals(part, dataset, POOLED, Resampling(100))["semantic/miou"].reliable
            shares = " | ".join(f"{100 * inside[method] / simulations:.1f} %" for method in methods)
            print(f"| {num_classes} | {size} | {shares} | {ratio / simulations:.2f} | {100 * flagged / simulations:.0f} % |", flush=True)


def instance_coverage(simulations: int) -> None:
    instance_module.AFFORDABLE = 0
    methods = ("basic", "bias-corrected normal", "bca", "percentile", "de-duplicated")
    titles = ("classes", "images", "images are", "basic (used)", "bias-corrected normal", "BCa", "percentile", "de-duplicated")
    print("\n| " + " | ".join((*titles, "bias, se", "of it seen", "flagged")) + " |")
    print("|-:|-:|-|" + 8 * "-:|")
    for num_classes, size, difficulty in ((3, 100, 1.0), (20, 500, 1.0), (80, 1000, 1.0), (80, 1000, 0.0)):
        dataset = datasets.simple(num_classes)
        whole = detections.instances(12_000, num_classes, difficulty=difficulty)
        truth = instance_scores(whole, dataset, COCO).metrics["segm/ap"]
        rng = np.random.default_rng(size)
        inside, flagged, off, shown = dict.fromkeys(methods, 0), 0, 0.0, 0.0
        for _ in range(simulations):
            part = whole.select(np.sort(rng.choice(12_000, size, replace=False)))
            subject = measure("instance", part, dataset, COCO)
            for method, (low, high, _) in ends(subject, "segm/ap", methods).items():
                inside[method] += low <= truth <= high
            made = intervals(part, dataset, COCO, Resampling(DRAWS))["segm/ap"]
            value = observed_values(subject, units_of(part.images.ids))["segm/ap"]
            off, shown = off + (value - truth) / made.se, shown + made.bias / made.se
            flagged += not made.reliable
        shares = " | ".join(f"{100 * inside[method] / simulations:.1f} %" for method in methods)
        kind = "easy and hard" if difficulty else "equally hard"
        biases = f"{off / simulations:.1f} | {shown / simulations:.1f}"
        print(f"| {num_classes} | {size} | {kind} | {shares} | {biases} | {100 * flagged / simulations:.0f} % |", flush=True)


def alarms_and_power(simulations: int) -> None:
    """Two models of one population: the candidate is either of both on every image (null), or better on all."""
    print("\n| images | false alarms: permutation (used) | paired bootstrap interval | overlapping | found: permutation | overlapping |")
    print("|-:|-:|-:|-:|-:|-:|")
    dataset = datasets.simple(6)
    pixels = populations.labels(6000, 6, 1)
    hard = np.random.default_rng(2).normal(0, 1.0, 6000)
    models = [populations.semantic(pixels, seed, difficulty=hard) for seed in (3, 4)]
    for size, better in ((50, 0.2), (200, 0.1)):
        stronger = populations.semantic(pixels, 4, difficulty=hard, skill=1.2 + better)
        rng = np.random.default_rng(size)
        counts = dict.fromkeys(("p", "interval", "overlap", "found", "found overlap"), 0)
        for _ in range(simulations):
            rows = np.sort(rng.choice(6000, size, replace=False))
            side = rng.random(size) < 0.5
            mixes = [models[0].select(rows[keep]).merge(models[1].select(rows[~keep])) for keep in (side, ~side)]
            for kind, pair in (("null", mixes), ("real", [models[0].select(rows), stronger.select(rows)])):
                a, b = (measure("semantic", evidence, dataset, POOLED) for evidence in pair)
                units = units_of(a.evidence.images.ids)
                row = paired_differences(a, b, units, units, Resampling(DRAWS), DRAWS, ()).found["semantic/miou"]
                single = [ends(one, "semantic/miou", ("percentile",))["percentile"] for one in (a, b)]
                apart = single[0][1] < single[1][0] or single[1][1] < single[0][0]
                if kind == "null":
                    counts["p"] += row.p <= 0.05
                    counts["interval"] += not row.low <= 0 <= row.high
                    counts["overlap"] += apart
                else:
                    counts["found"] += row.p <= 0.05
                    counts["found overlap"] += apart
        print(f"| {size} | " + " | ".join(f"{100 * value / simulations:.1f} %" for value in counts.values()) + " |", flush=True)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    semantic_coverage(number)
    instance_coverage(max(number // 2, 1))
    alarms_and_power(number)
