"""Intervals from replicates, and whether they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.protocols import RuleSet
from segbench.significance.measure import Measure, Values, joined, measure
from segbench.significance.units import Units, bootstrap, jackknife, units_of

NORMAL = NormalDist()
REPLICATES = 1000
LEVEL = 0.95

FEW_IMAGES = 30
FEW_CLUSTERS = 20
FEW_OF_CLASS = 20
"""Fewer units than this and intervals are measurably too short (docs/intervals.md)."""

RARE_SHARE = 0.1
"""Share of the classes that may be rare before the mean over classes is no longer trusted."""

LARGE_BIAS = 0.5
"""Bias in standard errors: more, and few ground truths per class pull the replicates away from the number, as they do with AP."""

LOST_SHARE = 0.05
"""Share of replicates in which a class may vanish."""


@dataclass(frozen=True)
class Interval:
    """An interval of one number.

    Attributes:
        low, high: Its ends, ends included.
        level: Such as 0.95.
        method: `bca`, `basic` or `percentile`.
        se: Standard deviation of the replicates.
        bias: Mean of the replicates minus the number.
        reliable: Whether its coverage can be expected to be near the level.
        reason: Why not.
    """

    low: float
    high: float
    level: float
    method: str
    se: float
    bias: float
    reliable: bool = True
    reason: str | None = None

    def document(self) -> dict[str, Any]:
        """As it stands in `result.json`."""
        fields = {"low": self.low, "high": self.high, "level": self.level, "method": self.method, "se": self.se}
        return fields | {"reliable": self.reliable} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: what an interval may depend on beyond the evidence.

    Attributes:
        replicates: Bootstrap replicates.
        level: Of the intervals.
        seed: Equal seeds draw equal images, so that runs on the same images are paired.
        clusters: A cluster's name per image; None: images are drawn one by one.
    """

    replicates: int = REPLICATES
    level: float = LEVEL
    seed: int = 0
    clusters: tuple[str, ...] | None = None


USUAL = Resampling()


def intervals(
    evidence: Evidence, dataset: Dataset, rules: RuleSet, how: Resampling = USUAL, families: Sequence[str] = ()
) -> dict[str, Interval]:
    """An interval for every metric of a run that is defined; no pixel is read.

    Args:
        families: Also these metrics of every class, such as `semantic/iou`.
    """
    subject = measure(evidence.task, evidence, dataset, rules)
    units = units_of(evidence.images.ids, how.clusters)
    if units.count < 2:
        return {}
    observed = observed_values(subject, units, families)
    drawn = replicate(subject, units, how.replicates, how.seed, families)
    without = left_out(subject, units, families) if subject.interval_method == "bca" else {}
    doubts = Doubts(subject, units)
    found = {}
    for name, value in observed.items():
        if math.isnan(value):
            continue
        made = interval(value, drawn[name], how.level, subject.interval_method, without.get(name))
        if made is not None:
            found[name] = doubts.mark(name, made, drawn[name])
    return found


def observed_values(subject: Measure, units: Units, families: Sequence[str] = ()) -> dict[str, float]:
    """The numbers themselves: every image once."""
    ones = np.ones((1, len(units.of)), np.uint8)
    return {name: float(values[0]) for name, values in subject.values(ones, families).items()}


def replicate(subject: Measure, units: Units, replicates: int, seed: int, families: Sequence[str] = ()) -> Values:
    """Bootstrap replicates of every metric, float64[B]."""
    return joined([subject.values(weights, families) for weights in bootstrap(units, replicates, seed)])


def left_out(subject: Measure, units: Units, families: Sequence[str] = ()) -> Values:
    """Every metric without one unit, or one group of units, at a time."""
    return joined([subject.values(weights, families) for weights in jackknife(units)])


def interval(value: float, replicates: NDArray[np.float64], level: float, method: str, without: NDArray | None = None) -> Interval | None:
    """The interval of one number from its replicates; None where fewer than half of them are defined.

    `percentile`: the quantiles of the replicates. `basic`: their distances from the number, reflected. `bca`: percentiles shifted for
    bias and skewness. Where the replicates are so biased that the number itself lies outside, the interval reaches to it.

    Args:
        without: float64[G], the number without each unit or group of units, for `bca`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 14.
    """
    kept = np.sort(replicates[~np.isnan(replicates)])
    if 2 * len(kept) < len(replicates) or not len(kept):
        return None
    se = float(kept.std(ddof=1)) if len(kept) > 1 else 0.0
    bias = float(kept.mean()) - value
    tails = (1 - level) / 2, (1 + level) / 2
    if method == "bca":
        tails = _bca_tails(value, kept, tails, without)
    low, high = (float(np.quantile(kept, tail)) for tail in tails)
    if method == "basic":
        low, high = 2 * value - high, 2 * value - low
    return Interval(min(low, value), max(high, value), level, method, se, bias)


def _bca_tails(value: float, kept: NDArray[np.float64], tails: tuple[float, float], without: NDArray | None) -> tuple[float, float]:
    # values a rounding error apart are equal: sums of fractions are added in another order than the number itself
    near = 1e-12 * max(1.0, abs(value))
    share = float((kept < value - near).mean() + (np.abs(kept - value) <= near).mean() / 2)
    share = min(max(share, 0.5 / len(kept)), 1 - 0.5 / len(kept))
    shift = NORMAL.inv_cdf(share)
    acceleration = 0.0
    if without is not None:
        spread = without[~np.isnan(without)]
        spread = spread.mean() - spread if len(spread) else spread
        square = float((spread**2).sum())
        acceleration = float((spread**3).sum()) / (6 * square**1.5) if square > 0 else 0.0
    ends = []
    for tail in tails:
        z = shift + NORMAL.inv_cdf(tail)
        ends.append(NORMAL.cdf(shift + z / (1 - acceleration * z)))
    return ends[0], ends[1]


class Doubts:
    """Why intervals of a run may be too short."""

    def __init__(self, subject: Measure, units: Units) -> None:
        self.noun = units.noun
        self.per_class = set(subject.families)
        self.averages = subject.averages
        support = subject.support(units)
        self.support = dict(zip(subject.names, support.tolist(), strict=True))
        present = support[support > 0]
        self.rare = int((present < FEW_OF_CLASS).sum())
        self.present = len(present)
        few = FEW_CLUSTERS if units.clustered else FEW_IMAGES
        self.few = f"only {units.count} {units.noun}" if units.count < few else None

    def mark(self, name: str, made: Interval, replicates: NDArray[np.float64]) -> Interval:
        """The interval with the reason not to trust it, if there is one."""
        reason = self.reason(name, replicates)
        if reason is None and abs(made.bias) > LARGE_BIAS * made.se + 1e-9:
            reason = f"the resamples are biased by {abs(made.bias) / made.se:.1f} standard errors, as few instances per class make them"
        if reason is None:
            return made
        return Interval(made.low, made.high, made.level, made.method, made.se, made.bias, False, reason)

    def reason(self, name: str, replicates: NDArray[np.float64]) -> str | None:
        """Why an interval of this metric cannot be trusted, or None."""
        if self.few:
            return self.few
        family, _, label = name.rpartition("/")
        if family in self.per_class and self.support.get(label, FEW_OF_CLASS) < FEW_OF_CLASS:
            return f"the class is in only {self.support[label]} {self.noun}"
        if family not in self.per_class and self.averages(name) and self.rare > RARE_SHARE * self.present:
            return f"{self.rare} of {self.present} classes are in fewer than {FEW_OF_CLASS} {self.noun}"
        lost = float(np.isnan(replicates).mean())
        if lost > LOST_SHARE:
            return f"undefined in {100 * lost:.0f} % of the resamples"
        return None
