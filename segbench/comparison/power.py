"""How small a difference these images can show, and how many images it takes to see a given one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segbench.comparison.checks import comparable
from segbench.errors import ConfigError
from segbench.gates import Tolerance
from segbench.results import Result
from segbench.significance.intervals import Resampling, intervals
from segbench.significance.measure import measure
from segbench.significance.paired import detectable_factor, differences, images_needed
from segbench.significance.units import labels_of, units_of


@dataclass(frozen=True)
class Power:
    """What can be seen of one metric.

    Attributes:
        metric: Its id. value: its value in the first run.
        se: Standard error of a difference.
        detectable: The smallest difference that is found in four of five cases.
        count: Images, or clusters where they were given. noun: which of the two.
        needed: How many of them it takes to see the target; None without a target.
        assumed: No second run was given: the error of a difference is taken to be that of one run, as of two models whose errors are half
            shared. Two versions of one model usually need fewer images.
    """

    metric: str
    value: float
    se: float
    detectable: float
    count: int
    noun: str
    needed: int | None
    assumed: bool


def power(
    first: Result,
    second: Result | None = None,
    target: Tolerance | None = None,
    cluster: str | None = None,
    level: float = 0.95,
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Power]:
    """What can be seen of every metric that has an interval.

    Args:
        cluster: A column of `labels` (`{image id: {column: value}}`), or a regular expression on the ids.

    Raises:
        ComparabilityError: the runs are not on the same images.
        ConfigError: a target of nothing.
    """
    if target is not None and target.amount <= 0:
        raise ConfigError("the target is a difference of nothing", hint="--target 0.5pt")
    if second is not None:
        first, second, _ = comparable(first, second)
    found = []
    for task, evidence in first.evidences.items():
        clusters = None if cluster is None else tuple(labels_of(evidence.images.ids, cluster, labels))
        units, how = units_of(evidence.images.ids, clusters), Resampling(1000, level, 0, clusters)
        if second is None:
            made = intervals(evidence, first.dataset_spec, first.rules(task), how)
            errors = {metric: entry.se for metric, entry in made.items()}
        else:
            sides = [measure(task, side.evidences[task], side.dataset_spec, side.rules(task)) for side in (first, second)]
            paired = differences(sides[0], sides[1], how, permutations=1)
            errors = {metric: row.se for metric, row in paired.items() if row.se is not None}
        for metric, se in errors.items():
            value = first.tasks[task].metrics[metric].value if metric in first.tasks[task].metrics else None
            if value is None:
                continue
            wanted = None if target is None else target.of(value)
            needed = None if not wanted else images_needed(units.count, se, wanted, level)
            found.append(Power(metric, value, se, detectable_factor(level) * se, units.count, units.noun, needed, second is None))
    return found
