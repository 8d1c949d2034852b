"""compare(): differences of two results on the same images, their uncertainty, where they come from, and what the gates say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from segbench.comparison.checks import comparable, same_predictions
from segbench.comparison.rows import NO_GATES, Comparison, Row, mark
from segbench.errors import ConfigError
from segbench.gates import Gate, Policy, judge
from segbench.gates.rules import braces
from segbench.metrics import tasks
from segbench.results import Result
from segbench.significance.intervals import Resampling
from segbench.significance.measure import Measure, measure
from segbench.significance.paired import Difference, class_contributions, differences, slice_differences
from segbench.significance.units import labels_of, units_of

TOP_IMAGES = 20
LARGE_SLICES = 40
"""Slices of one column at most; an id column would make one of each image."""

COSTLY_DRAWS = 1000
"""Replicates and permutations at most where one takes milliseconds, as of AP."""

Labels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Options:
    """How a comparison is made beyond its gates.

    Attributes:
        policy: Gates, and the settings of the resampling.
        intersect: Compare the images that both results have.
        labels: What is known of the images: `{image id: {column: value}}`, for clusters and slices.
        slices: Columns of `labels`, or regular expressions on the ids; each value is a slice.
        today: For acknowledgements that end.
    """

    policy: Policy = NO_GATES
    intersect: bool = False
    labels: Labels | None = None
    slices: tuple[str, ...] = ()
    today: date | None = None


def compare(
    baseline: Result | str | PathLike,
    candidate: Result | str | PathLike,
    *,
    gates: Iterable[Gate | Mapping[str, Any]] = (),
    options: Options | None = None,
    cluster: str | None = None,
    intersect: bool = False,
) -> Comparison:
    """Compares a candidate with a baseline on the same images.

    Args:
        baseline, candidate: Results, or run folders.
        gates: Rules, as `Gate` or as the mapping of a configuration: `{"metric": "semantic/miou", "max_drop": "0.5pt"}`.
        options: Everything else; `segbench.gates.config.load` reads a policy from a file.
        cluster: A regular expression on the image ids: images of one cluster (a video, a patient) are drawn together.
        intersect: Compare the images that both have.

    Raises:
        ComparabilityError: other ground truth, classes, protocol or images.
        ConfigError: a gate that means nothing.
    """
    from segbench.gates.config import Lines, gate

    chosen = options or Options()
    extra = [rule if isinstance(rule, Gate) else gate(rule, Lines("", "gates"), index) for index, rule in enumerate(gates)]
    policy = replace(chosen.policy, gates=(*chosen.policy.gates, *extra), cluster=cluster or chosen.policy.cluster)
    chosen = replace(chosen, policy=policy, intersect=intersect or chosen.intersect)
    sides = [side if isinstance(side, Result) else Result.load(side) for side in (baseline, candidate)]
    return _compared(sides[0], sides[1], chosen)


def _compared(baseline: Result, candidate: Result, options: Options) -> Comparison:
    check_gates(options.policy, baseline, candidate)
    policy = _of_scores(options.policy)
    first, second, notes = comparable(baseline, candidate, options.intersect)
    ids = next(iter(first.evidences.values())).images.ids
    clusters = None if policy.cluster is None else tuple(labels_of(ids, policy.cluster, options.labels))
    how = Resampling(policy.replicates, policy.confidence, policy.seed, clusters)
    identical = same_predictions(first, second)
    parts = _slices(ids, (*options.slices, *policy.slices), options.labels)
    work = [_Task(task, first, second, policy, how, identical, parts) for task in first.tasks]
    found = {metric: value for task in work for metric, value in task.whole.items()}
    sliced: dict[str, dict[str, Difference]] = {}
    for task in work:
        for label, values in task.sliced.items():
            sliced.setdefault(label, {}).update(values)
    better = _direction
    support = {metric: count for task in work for metric, count in task.support.items()}
    outcomes = judge(policy, found, better, support, sliced, options.today)
    whole = [metric for task in work for metric in task.metrics]

    def rows(values: Mapping[str, Difference], names: Iterable[str]) -> list[Row]:
        return [Row(name, better(name), values[name], mark(values[name], better(name), policy.confidence)) for name in names]

    units = units_of(ids, clusters)
    return Comparison(
        baseline=first,
        candidate=second,
        metrics=rows(found, whole),
        classes=rows(found, [metric for metric in found if metric not in whole]),
        slices={label: rows(values, values) for label, values in sliced.items()},
        contributions={metric: parts for task in work for metric, parts in task.contributions.items()},
        images={metric: parts for task in work for metric, parts in task.images.items()},
        outcomes=outcomes,
        identical=identical,
        notes=notes,
        method={
            "confidence": policy.confidence,
            "replicates": min(task.how.replicates for task in work),
            "permutations": min(task.permutations for task in work),
            "seed": policy.seed,
            "interval": "paired bootstrap",
            "p_value": "paired permutation",
            "correction": "Romano-Wolf max-T",
            "num_images": len(ids),
            "num_clusters": units.count if units.clustered else None,
        },
        policy=policy,
    )


def first_run(candidate: Result | str | PathLike, options: Options) -> Comparison:
    """A candidate without a baseline: only gates on values say anything."""
    result = candidate if isinstance(candidate, Result) else Result.load(candidate)
    check_gates(options.policy, result)
    policy = _of_scores(options.policy)
    gates = tuple(replace(gate, max_drop=None, max_rise=None) for gate in policy.gates if (gate.min, gate.max) != (None, None))
    values = {metric: Difference(None, value) for metric, value in result.flat().items()}
    whole = [metric for task in result.tasks.values() for metric in task.metrics]
    counts = {
        f"{family}/{label}": count
        for task in result.tasks
        for side in [measure(task, result.evidences[task], result.dataset_spec, result.rules(task))]
        for family in side.families
        for label, count in zip(side.names, side.support(units_of(side.evidence.images.ids)).tolist(), strict=True)
    }
    return Comparison(
        baseline=None,
        candidate=result,
        metrics=[Row(metric, _direction(metric), values[metric], "x") for metric in whole],
        classes=[],
        slices={},
        contributions={},
        images={},
        outcomes=judge(replace(policy, gates=gates), values, _direction, counts, today=options.today),
        identical=False,
        notes=["there is no baseline yet: only gates on values were judged"],
        method={"num_images": result.images["count"], "num_clusters": None},
        policy=policy,
    )


class _Task:
    """Everything about one task; what is not asked for is not computed."""

    def __init__(
        self,
        task: str,
        first: Result,
        second: Result,
        policy: Policy,
        how: Resampling,
        identical: bool,
        parts: Mapping[str, np.ndarray],
    ) -> None:
        self.first, self.second = first, second
        self.task, self.policy, self.how, self.identical = task, policy, how, identical
        self.sides = [measure(task, side.evidences[task], side.dataset_spec, side.rules(task)) for side in (first, second)]
        self.permutations = policy.permutations
        if self.sides[0].costly:
            self.how = replace(how, replicates=min(how.replicates, COSTLY_DRAWS))
            self.permutations = min(policy.permutations, COSTLY_DRAWS)
        headline = next((metric for metric in self.sides[0].means if metric in first.tasks[task].metrics), None)
        self.headline = headline
        self.headline_family = self.sides[0].means[headline] if headline else None
        self.families = tuple(
            family
            for family in self.sides[0].families
            if family in self.sides[1].families and (family == self.headline_family or self._asked(family))
        )
        self.parts = parts

    def _asked(self, family: str) -> bool:
        return any(gate.fits(f"{family}/{label}") for gate in self.policy.gates for label in self.sides[0].names)

    @cached_property
    def metrics(self) -> list[str]:
        """Whole-set metrics of either side, those of the baseline first."""
        return list({**self.first.tasks[self.task].metrics, **self.second.tasks[self.task].metrics})

    @cached_property
    def whole(self) -> dict[str, Difference]:
        """Differences of everything, with the stored numbers in place of the resampled ones, which may differ in their last bits."""
        stored = [side.flat() for side in (self.first, self.second)]
        names = [*self.metrics, *(f"{family}/{label}" for family in self.families for label in self.sides[0].names)]
        if self.identical:
            return {metric: _unchanged(stored[0].get(metric)) for metric in names}
        resampled = differences(self.sides[0], self.sides[1], self.how, self.permutations, self.families)
        return {metric: _stored(resampled.get(metric), stored[0].get(metric), stored[1].get(metric)) for metric in names}

    @property
    def sliced(self) -> dict[str, dict[str, Difference]]:
        """Differences of whole-set metrics on every slice."""
        if not self.parts:
            return {}
        sides = [{label: self._part(side, rows) for label, rows in self.parts.items()} for side in (self.first, self.second)]
        pairs = {label: (rows, sides[0][label], sides[1][label]) for label, rows in self.parts.items()}
        return slice_differences(self.sides[0], self.sides[1], pairs, self.how, self.permutations)

    def _part(self, side: Result, rows: np.ndarray) -> Measure:
        return measure(self.task, side.evidences[self.task].select(rows), side.dataset_spec, side.rules(self.task))

    @cached_property
    def support(self) -> dict[str, int]:
        """Metric id of a class -> images whose ground truth has the class."""
        counts = self.sides[0].support(units_of(self.sides[0].evidence.images.ids)).tolist()
        return {f"{family}/{label}": count for family in self.families for label, count in zip(self.sides[0].names, counts, strict=True)}

    @property
    def contributions(self) -> dict[str, list[tuple[str, float]]]:
        """Parts of the difference by class."""
        if self.headline is None or self.whole[self.headline].delta is None:
            return {}
        parts = class_contributions(self.sides[0], self.sides[1], self.headline).tolist()
        ordered = sorted(zip(self.sides[0].names, parts, strict=True), key=lambda part: (-abs(part[1]), part[0]))
        return {self.headline: ordered}

    @property
    def images(self) -> dict[str, list[tuple[str, float]]]:
        """The images that move the headline metric most."""
        if self.headline is None or self.identical or self.whole[self.headline].delta is None:
            return {}
        effects = self.sides[0].effects(self.sides[1], [self.headline])[self.headline]
        order = sorted(np.flatnonzero(np.nan_to_num(effects)).tolist(), key=lambda row: (-abs(effects[row]), row))[:TOP_IMAGES]
        ids = self.sides[0].evidence.images.ids
        return {self.headline: [(str(ids[row]), float(effects[row])) for row in order]}


def check_gates(policy: Policy, *results: Result) -> None:
    """Refuses gates on metrics that do not exist.

    Raises:
        ConfigError: one; the hint names the nearest metric.
    """
    from difflib import get_close_matches

    from segbench.comparison.profiles import check_cost
    from segbench.metrics.catalogue import every

    held = {metric: None for result in results for metric in result.flat()}
    known = held | dict.fromkeys(every())
    told = {metric.partition("/")[0] for metric in held}

    def fits(gate: Gate) -> bool:
        if any(gate.fits(metric) for metric in known):
            return True
        # classes are known from results alone
        patterns = (pattern.rpartition("/")[0] for pattern in braces(gate.metric))
        return any(family in known and family.partition("/")[0] not in told for family in patterns)

    for gate in policy.gates:
        if gate.metric.startswith("perf/"):
            check_cost(gate)
        elif gate.if_missing == "fail" and not fits(gate):
            named = gate.metric.rpartition("/")[2]
            close = get_close_matches(gate.metric, known, 2, 0.6) or [metric for metric in known if metric.rpartition("/")[2] == named][:3]
            where = f"{gate.source}: " if gate.source else ""
            raise ConfigError(
                f"{where}no metric fits the gate on {gate.metric!r}",
                hint=f"did you mean {' or '.join(close)}?" if close else "segbench explain lists the metrics",
            )


def _of_scores(policy: Policy) -> Policy:
    """The gates on scores: one file may hold those on profiles too."""
    return replace(policy, gates=tuple(gate for gate in policy.gates if not gate.metric.startswith("perf/")))


def _direction(metric: str) -> bool:
    return tasks.higher_is_better(metric)


def _slices(ids: Sequence[Any], specs: Sequence[str], labels: Labels | None) -> dict[str, np.ndarray]:
    """Slice -> rows of its images; with several columns a slice is called `column=value`."""
    parts: dict[str, np.ndarray] = {}
    for spec in dict.fromkeys(specs):
        values = np.array(labels_of(ids, spec, labels))
        found = sorted(set(values.tolist()))
        if len(found) > LARGE_SLICES:
            raise ConfigError(f"{spec!r} gives {len(found)} slices; at most {LARGE_SLICES} make sense")
        for value in found:
            parts[value if value not in parts else f"{spec}={value}"] = np.flatnonzero(values == value)
    return parts


def _unchanged(value: float | None) -> Difference:
    return Difference(value, value, None if value is None else 0.0, *((0.0, 0.0, 0.0, 1.0) if value is not None else ()))


def _stored(resampled: Difference | None, before: float | None, after: float | None) -> Difference:
    delta = None if before is None or after is None else after - before
    if resampled is None or delta is None:
        return Difference(before, after, delta, reason=None if delta is None else "not resampled on a set of this size")
    return replace(resampled, baseline=before, candidate=after, delta=delta)
