"""Two runs on the same images: intervals and p-values of their differences.

The interval comes from a paired bootstrap, the p-value from swapping the two runs' images: the bootstrap finds a difference a little too
often, swapping does not. Two single intervals that overlap say nothing about a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segbench.errors import ComparabilityError
from segbench.significance.intervals import NORMAL, USUAL, Doubts, Resampling, interval, left_out, observed_values, replicate
from segbench.significance.measure import Measure, Values
from segbench.significance.units import Units, swaps, units_of

PERMUTATIONS = 5000
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """What one metric does from the first run to the second.

    Attributes:
        baseline, candidate: The two numbers; None where undefined.
        delta: candidate - baseline.
        low, high: Interval of the difference.
        se: Its standard error.
        p: Two-sided p-value of no difference, by swapping images.
        p_adjusted: The same, corrected for the number of classes or slices looked at.
        detectable: The smallest difference that would be found in four of five cases, at this number of images.
        reason: Why interval and p-value cannot be trusted, or None.
    """

    baseline: float | None
    candidate: float | None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    detectable: float | None = None
    reason: str | None = None

    @property
    def least_p(self) -> float | None:
        """The p-value to judge by: the adjusted one where there is one."""
        return self.p if self.p_adjusted is None else self.p_adjusted


def paired_units(first: Measure, second: Measure, clusters: Sequence[str] | None = None) -> Units:
    """The units that both runs share.

    Raises:
        ComparabilityError: the runs are not on the same images.
    """
    if first.evidence.images.ids != second.evidence.images.ids:
        raise ComparabilityError("the two runs are not on the same images", hint="--intersect compares the images they share")
    return units_of(first.evidence.images.ids, clusters)


@dataclass(frozen=True, eq=False)
class Paired:
    """Differences of every metric, and what they are when images change sides at random.

    Attributes:
        found: Metric id -> difference.
        null: Metric id -> float64[P].
        complete: Whether every assignment is in `null`.
    """

    found: dict[str, Difference]
    null: Values
    complete: bool


def differences(
    first: Measure, second: Measure, how: Resampling = USUAL, permutations: int = PERMUTATIONS, families: Sequence[str] = ()
) -> dict[str, Difference]:
    """The difference of every metric, and of every class in `families`; p-values of a family are corrected for its classes.

    Raises:
        ComparabilityError: the runs are not on the same images.
    """
    units = paired_units(first, second, how.clusters)
    paired = paired_differences(first, second, units, units, how, permutations, families)
    found = dict(paired.found)
    for family in families:
        found |= corrected(found, paired.null, [f"{family}/{label}" for label in first.names], paired.complete)
    return found


def slice_differences(
    first: Measure,
    second: Measure,
    parts: Mapping[str, tuple[NDArray[np.int64], Measure, Measure]],
    how: Resampling = USUAL,
    permutations: int = PERMUTATIONS,
) -> dict[str, dict[str, Difference]]:
    """The difference of every metric on parts of the images; the p-values of a metric are corrected for the number of parts.

    Args:
        parts: Name -> the images (row numbers), and both runs on them.
    """
    whole = paired_units(first, second, how.clusters)
    found: dict[str, dict[str, Difference]] = {}
    null: Values = {}
    complete = False
    for name, (rows, before, after) in parts.items():
        names = None if how.clusters is None else [how.clusters[row] for row in rows]
        # the coins of a unit are the same in every part it has images in: that makes the correction right for parts that overlap
        paired = paired_differences(
            before, after, paired_units(before, after, names), replace(whole, of=whole.of[rows]), how, permutations, ()
        )
        found[name] = dict(paired.found)
        null |= {f"{metric}@{name}": values for metric, values in paired.null.items()}
        complete = paired.complete
    for metric in {metric for rows in found.values() for metric in rows}:
        joint = {f"{metric}@{name}": rows[metric] for name, rows in found.items() if metric in rows}
        for key, difference in corrected(joint, null, list(joint), complete).items():
            found[key.rpartition("@")[2]][metric] = difference
    return found


def corrected(found: Mapping[str, Difference], null: Values, names: Sequence[str], complete: bool) -> dict[str, Difference]:
    """Those of `names` that have a p-value, with one that is corrected for their number."""
    tested = [name for name in names if found[name].p is not None]
    if not tested:
        return {}
    observed = np.array([found[name].delta for name in tested], np.float64)
    adjusted = step_down(observed, np.stack([null[name] for name in tested]), complete).tolist()
    return {name: replace(found[name], p_adjusted=p) for name, p in zip(tested, adjusted, strict=True)}


def paired_differences(
    first: Measure, second: Measure, units: Units, coins: Units, how: Resampling, permutations: int, families: Sequence[str]
) -> Paired:
    """Differences with intervals and uncorrected p-values.

    Args:
        units: What the bootstrap draws. coins: What changes sides; the same units unless these are a part of the images.
    """
    before, after = observed_values(first, units, families), observed_values(second, units, families)
    found = {name: _plain(before[name], after[name]) for name in before if name in after}
    if units.count < 2:
        alone = f"only 1 {units.noun.removesuffix('s')}"
        return Paired({name: replace(row, reason=None if row.delta is None else alone) for name, row in found.items()}, {}, False)
    drawn = _minus(
        replicate(second, units, how.replicates, how.seed, families), replicate(first, units, how.replicates, how.seed, families)
    )
    method = "bca" if first.interval_method == "bca" else "percentile"
    without: Values = {}
    if method == "bca":
        without = _minus(left_out(second, units, families), left_out(first, units, families))
    null, complete = null_differences(first, second, coins, permutations, how.seed, families)
    doubts = Doubts(first, units)
    wanted = detectable_factor(how.level)
    for name, difference in found.items():
        if difference.delta is None:
            continue
        made = interval(difference.delta, drawn[name], how.level, method, without.get(name))
        if made is None:
            continue
        found[name] = replace(
            difference,
            low=made.low,
            high=made.high,
            se=made.se,
            p=p_value(difference.delta, null[name], complete),
            detectable=wanted * made.se,
            reason=doubts.reason(name, drawn[name]),
        )
    return Paired(found, null, complete)


def null_differences(
    first: Measure, second: Measure, units: Units, permutations: int, seed: int, families: Sequence[str] = ()
) -> tuple[Values, bool]:
    """Differences when images change sides at random, float64[P]; and whether every assignment is among them."""
    parts = []
    total = 0
    for weights in swaps(units, permutations, seed):
        mine, theirs = first.swapped(second, weights, families)
        parts.append(_minus(theirs, mine))
        total += len(weights)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return joined, total == 2**units.count


def p_value(delta: float, null: NDArray[np.float64], complete: bool) -> float:
    """Share of assignments with a difference as large; the observed one counts as one of them.

    p = (1 + #{|null| >= |delta|}) / (1 + P) for a random sample of P; # / P where all assignments are looked at.
    """
    null = null[~np.isnan(null)]
    if not len(null):
        return 1.0
    extreme = int((np.abs(null) >= abs(delta) - _tolerance(delta)).sum())
    return extreme / len(null) if complete and extreme else (1 + extreme) / (1 + len(null))


def step_down(deltas: NDArray[np.float64], null: NDArray[np.float64], complete: bool = False) -> NDArray[np.float64]:
    """p-values of many differences at once: the chance that any of them is a false alarm stays below the level.

    Each difference is divided by its spread under the null; the largest is held against the largest of all, the next against the largest of
    the rest, and so on.

    Args:
        deltas: float64[K]. null: float64[K, P], the same assignments for every row.

    Source: Romano and Wolf, Exact and Approximate Stepdown Methods for Multiple Hypothesis Testing, JASA 2005.
    """
    null = np.where(np.isnan(null), 0.0, null)
    spread = null.std(1)
    spread[spread <= 1e-15] = np.inf
    observed, scaled = np.abs(deltas) / spread, np.abs(null) / spread[:, None]
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(scaled[order][::-1], 0)[::-1]
    extreme = (largest >= observed[order][:, None] - 1e-12).sum(1)
    # all assignments hold the observed one; of a random sample it is added
    ordered = np.where(complete & (extreme > 0), extreme / null.shape[1], (1 + extreme) / (1 + null.shape[1]))
    adjusted = np.empty(len(deltas))
    adjusted[order] = np.maximum.accumulate(ordered)
    return adjusted


def detectable_factor(level: float, power: float = POWER) -> float:
    """Standard errors that a difference must have to be found with this power: 2.80 for 95 % and 80 %."""
    return NORMAL.inv_cdf((1 + level) / 2) + NORMAL.inv_cdf(power)


def images_needed(count: int, se: float, target: float, level: float = 0.95, power: float = POWER) -> int:
    """How many images it takes to find a difference of `target`, given its standard error at `count` images."""
    return math.ceil(count * (detectable_factor(level, power) * se / target) ** 2)


def class_contributions(first: Measure, second: Measure, metric: str) -> NDArray[np.float64]:
    """What each class adds to the difference of a mean over classes, float64[C]; they sum to it.

    A class adds value / (number of defined classes) to a mean; its contribution is what it adds in the second run minus the first.
    """
    family = first.means[metric]
    ones = np.ones((1, len(first.evidence.images)), np.uint8)
    added = []
    for side in (first, second):
        values = side.values(ones, (family,))
        column = np.array([values[f"{family}/{label}"][0] for label in side.names])
        kept = ~np.isnan(column)
        added.append(np.where(kept, column, 0.0) / max(int(kept.sum()), 1))
    return added[1] - added[0]


def _plain(before: float, after: float) -> Difference:
    first, second = (None if math.isnan(value) else value for value in (before, after))
    return Difference(first, second, None if first is None or second is None else second - first)


def _minus(second: Values, first: Values) -> Values:
    return {name: second[name] - first[name] for name in second if name in first}


def _tolerance(delta: float) -> float:
    """Differences a rounding error apart are equal."""
    return 1e-12 * max(1.0, abs(delta))
