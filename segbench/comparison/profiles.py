"""Two profiles: what the candidate costs relative to the baseline, on the same hardware and workload."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.comparison.rows import NO_GATES, mark, outcome_document
from segbench.errors import SHOWN, ComparabilityError, ConfigError
from segbench.gates import Gate, Outcome, Policy, judge, status_of
from segbench.profiling.profiles import Profiles, runtime, workload
from segbench.profiling.records import Record
from segbench.significance import draws
from segbench.significance.paired import Difference, detectable_factor

METRICS = {
    "perf/latency_p50": "median latency, ms",
    "perf/macs": "multiply-accumulates",
    "perf/parameters": "parameters",
    "perf/memory": "memory at the peak, bytes",
}
"""Lower is better for all of them."""


@dataclass(frozen=True)
class CostRow:
    """One cost of one workload.

    Attributes:
        where: Workload and runtime, in words.
        baseline, candidate: The two costs.
        ratio: candidate / baseline. low, high: its interval; of latency alone, what is counted has none.
        p: p-value of no difference.
        reason: Why interval and p cannot be trusted.
        mark: As in a comparison of scores.
    """

    where: str
    metric: str
    baseline: float
    candidate: float
    ratio: float
    low: float | None
    high: float | None
    p: float | None
    reason: str | None
    mark: str


@dataclass(frozen=True)
class ProfileComparison:
    """What comparing two profiles gives."""

    rows: list[CostRow]
    outcomes: list[Outcome]
    notes: list[str]
    policy: Policy

    @property
    def status(self) -> str:
        """`passed`, `failed` or `inconclusive`."""
        return status_of(self.outcomes, self.policy.fail_on)[0]

    @property
    def exit_code(self) -> int:
        """0 ok, 1 a gate failed, 5 inconclusive where asked for."""
        return status_of(self.outcomes, self.policy.fail_on)[1]

    def document(self) -> dict[str, Any]:
        """As `segbench compare --json` prints it."""
        fields = CostRow.__dataclass_fields__
        return {
            "schema": "segbench.compare-profiles/1",
            "status": self.status,
            "exit_code": self.exit_code,
            "notes": self.notes,
            "rows": [{field: getattr(row, field) for field in fields} for row in self.rows],
            "gates": [outcome_document(outcome) for outcome in self.outcomes],
        }


def compare_profiles(
    baseline: Profiles | str | PathLike,
    candidate: Profiles | str | PathLike,
    policy: Policy = NO_GATES,
    any_hardware: bool = False,
    today: date | None = None,
) -> ProfileComparison:
    """Costs of the candidate relative to the baseline, for every workload that both measured.

    Args:
        policy: Gates on `perf/...` with `max_rise`: `10%` is of the baseline.
        any_hardware: Compare measurements of different machines, which say little about the models.

    Raises:
        ComparabilityError: no workload in common, or different hardware.
        ConfigError: a gate on a cost that does not exist.
    """
    first, second = (side if isinstance(side, Profiles) else Profiles.load(side) for side in (baseline, candidate))
    gates = tuple(gate for gate in policy.gates if gate.metric.startswith("perf/"))
    for gate in gates:
        check_cost(gate)
    pairs, notes = _pairs(first, second, any_hardware)
    rows: list[CostRow] = []
    outcomes: list[Outcome] = []
    for where, (old, new) in pairs.items():
        found = _differences(old, new, policy)
        relative = {metric: difference for metric, (difference, _, _) in found.items()}
        for outcome in judge(replace(policy, gates=gates), relative, lambda metric: False, today=today):
            told = outcome.message.replace(" pt", " %")
            outcomes.append(replace(outcome, message=f"{where}: {told}" if len(pairs) > 1 else told))
        for metric, (row, before, after) in found.items():
            change = None if row.delta is None else 1 + row.delta
            low, high = (None if end is None else 1 + end for end in (row.low, row.high))
            rows.append(
                CostRow(where, metric, before, after, change or 0.0, low, high, row.p, row.reason, mark(row, False, policy.confidence))
            )
    return ProfileComparison(rows, outcomes, notes, policy)


def check_cost(gate: Gate) -> None:
    """Refuses a gate on a cost that does not exist.

    Raises:
        ConfigError: the hint names those that do.
    """
    if not any(gate.fits(metric) for metric in METRICS):
        raise ConfigError(f"{gate.source}: no cost fits {gate.metric!r}".removeprefix(": "), hint=f"one of: {', '.join(METRICS)}")


def _pairs(first: Profiles, second: Profiles, any_hardware: bool) -> tuple[dict[str, tuple[Record, Record]], list[str]]:
    sides = [{_place(record): record for record in side.records if record.error is None} for side in (first, second)]
    shared = [place for place in sides[0] if place in sides[1]]
    if not shared:
        raise ComparabilityError(
            "the profiles measured no workload in common",
            files=[(role, place) for role, side in zip(("baseline", "candidate"), sides, strict=True) for place in list(side)[:SHOWN]],
            hint="profile both with the same --input, --batch, --post, --device, --backend and --threads",
        )
    notes = [
        f"only in the {role}: {place}"
        for role, side in zip(("baseline", "candidate"), sides, strict=True)
        for place in side
        if place not in shared
    ]
    for place in shared:
        keys = [side[place].hardware.key for side in sides]
        if keys[0] == keys[1]:
            continue
        if not any_hardware:
            raise ComparabilityError(
                f"the profiles are of different hardware: {keys[0]} and {keys[1]}",
                hint="measure both on one machine, or pass --any-hardware",
            )
        notes.append(f"different hardware, {keys[0]} and {keys[1]}: latencies say little about the models")
    return {place: (sides[0][place], sides[1][place]) for place in shared}, list(dict.fromkeys(notes))


def _place(record: Record) -> str:
    """Workload and runtime in words, without the versions of the runtime."""
    return f"{workload(record)}, {runtime(record)}"


def _differences(old: Record, new: Record, policy: Policy) -> dict[str, tuple[Difference, float, float]]:
    """Relative differences (the baseline is 1), and the two costs."""
    found: dict[str, tuple[Difference, float, float]] = {}
    if old.latency is not None and new.latency is not None:
        samples = [np.sort(np.asarray(side.latency.samples, np.float64)) for side in (old, new) if side.latency is not None]
        noisy = bool(old.noisy or new.noisy)
        found["perf/latency_p50"] = _latency(samples[0], samples[1], old.latency.p50, new.latency.p50, noisy, policy)
    for metric, read in _COUNTED.items():
        before, after = read(old), read(new)
        if before and after is not None:
            delta = after / before - 1
            # what is counted does not vary: any difference is one
            exact = Difference(1.0, 1 + delta, delta, delta, delta, 0.0, 0.0 if delta else 1.0, None, 0.0)
            found[metric] = exact, before, after
    return found


_COUNTED = {
    "perf/macs": lambda record: record.compute and record.compute.macs,
    "perf/parameters": lambda record: record.parameters and record.parameters.total,
    "perf/memory": lambda record: record.memory and (record.memory.cuda_allocated or record.memory.rss_peak),
}


def _latency(old: NDArray, new: NDArray, before: float, after: float, noisy: bool, policy: Policy) -> tuple[Difference, float, float]:
    ratio = after / before - 1
    milliseconds = before / 1e6, after / 1e6
    if min(len(old), len(new)) < 6:
        return Difference(1.0, 1 + ratio, ratio, reason="fewer than 6 samples"), *milliseconds
    medians = [_medians(values, policy.replicates, policy.seed + side) for side, values in enumerate((old, new))]
    drawn = medians[1] / medians[0] - 1
    tails = (1 - policy.confidence) / 2, (1 + policy.confidence) / 2
    low, high = (float(np.quantile(drawn, tail)) for tail in tails)
    p = min(1.0, 2 * (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (1 + len(drawn)))
    se = float(drawn.std(ddof=1))
    reason = "the machine was busy while one of them was measured" if noisy else None
    found = Difference(1.0, 1 + ratio, ratio, low, high, se, p, None, detectable_factor(policy.confidence) * se, reason)
    return found, *milliseconds


def _medians(values: NDArray[np.float64], replicates: int, seed: int) -> NDArray[np.float64]:
    """Medians of resamples of sorted values: the lower one of an even number."""
    found = []
    for first in range(0, replicates, 256):
        weights = draws.counts(seed, first, min(256, replicates - first), len(values))
        below = np.cumsum(weights, 1, dtype=np.int64)
        found.append(values[np.argmax(2 * below >= len(values), 1)])
    return np.concatenate(found)


def is_profile(path: str | PathLike) -> bool:
    """Whether a path is a file of profiles, told from its first bytes."""
    if not Path(path).is_file():  # a pipe would be waited for
        return False
    try:
        with open(path, "rb") as file:
            return b'"segbench.profiles/' in file.read(200)
    except OSError:
        return False
