"""Whether a comparison passes its gates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from segbench.gates.rules import Acknowledgement, Gate, Policy, Tolerance
from segbench.significance.paired import Difference

ORDER = ("failed", "inconclusive", "warned", "acknowledged", "skipped", "passed")
"""Statuses, the gravest first."""


@dataclass(frozen=True)
class Outcome:
    """What one gate says of one metric.

    Attributes:
        gate: The rule.
        metric: The metric.
        rule: The rule in words, such as `max_drop 0.5pt`.
        status: One of `ORDER`.
        message: One sentence.
        underpowered: The smallest detectable difference is larger than the tolerance: a loss beyond it may go unseen.
    """

    gate: Gate
    metric: str
    rule: str
    status: str
    message: str
    underpowered: bool = False

    @property
    def fails(self) -> bool:
        """Whether it makes the comparison fail."""
        return self.status == "failed" and not self.gate.informational

    @property
    def unsure(self) -> bool:
        """Whether it makes the comparison inconclusive: these images cannot tell."""
        return (self.status == "inconclusive" or self.underpowered) and not self.gate.informational


def judge(
    policy: Policy,
    rows: Mapping[str, Difference],
    higher_is_better: Callable[[str], bool],
    support: Mapping[str, int] = {},
    sliced: Mapping[str, Mapping[str, Difference]] = {},
    today: date | None = None,
) -> list[Outcome]:
    """What every gate says.

    Args:
        rows: Metric id -> difference, classes included.
        support: Metric id of a class -> images that have the class.
        sliced: Slice -> the same of its images.
        today: For acknowledgements that end.
    """
    day = today or date.today()
    outcomes: list[Outcome] = []
    for gate in policy.gates:
        found = sliced.get(gate.slice, {}) if gate.slice is not None else rows
        fitting = [metric for metric in found if gate.fits(metric) and support.get(metric, gate.min_support) >= gate.min_support]
        if not fitting:
            outcomes.append(_missing(gate, any(gate.fits(metric) for metric in found), sliced))
            continue
        judged = [
            _acknowledged(outcome, found[metric], policy.acknowledged, higher_is_better(metric), day)
            for metric in fitting
            for outcome in _outcomes(gate, metric, found[metric], policy, higher_is_better(metric))
        ]
        failed = [outcome for outcome in judged if outcome.status == "failed"]
        if 0 < len(failed) <= gate.allow:
            judged = [
                replace(outcome, status="warned", message=f"{outcome.message}; {gate.allow} such allowed") if outcome in failed else outcome
                for outcome in judged
            ]
        outcomes += judged
    return outcomes


def status_of(outcomes: Iterable[Outcome], fail_on: str = "fail") -> tuple[str, int]:
    """The status of them all, and the exit code: 0 ok, 1 a gate failed, 5 inconclusive where that was asked about."""
    outcomes = list(outcomes)
    if any(outcome.fails for outcome in outcomes):
        return "failed", 0 if fail_on == "never" else 1
    if any(outcome.unsure for outcome in outcomes):
        return "inconclusive", 5 if fail_on == "inconclusive" else 0
    return "passed", 0


def significant(difference: Difference, level: float, corrected: bool = True) -> bool:
    """Whether a difference is more than chance, by its p-value."""
    p = difference.least_p if corrected else difference.p
    return p is not None and p <= 1 - level + 1e-12


def _missing(gate: Gate, rare: bool, slices: Collection[str]) -> Outcome:
    if rare:
        told = f"no class of {gate.metric} is in {gate.min_support} images of the ground truth"
    elif gate.slice is not None and gate.slice not in slices:
        known = f"there are {', '.join(slices)}" if slices else 'what gives slices is named by slices = ["COLUMN|REGEX"] or --slice'
        told = f"no slice is called {gate.slice!r}; {known}"
    else:
        told = f"these runs have no metric {gate.metric}" + (f" on slice {gate.slice!r}" if gate.slice is not None else "")
    status = {"fail": "failed", "warn": "warned", "skip": "skipped"}[gate.if_missing]
    return Outcome(gate, gate.metric, _rule(gate), status, told)


def _rule(gate: Gate) -> str:
    named = [("max_drop", gate.max_drop), ("max_rise", gate.max_rise)]
    parts = [f"{name} {value.text}" for name, value in named if value is not None]
    parts += [f"{name} {_points(value)}" for name, value in (("min", gate.min), ("max", gate.max)) if value is not None]
    return ", ".join(parts)


def _outcomes(gate: Gate, metric: str, row: Difference, policy: Policy, higher: bool) -> list[Outcome]:
    tolerance, name = (gate.max_drop, "max_drop") if higher else (gate.max_rise, "max_rise")
    found = []
    other = gate.max_rise if higher else gate.max_drop
    if other is not None:
        way = "higher is better, so the rule is max_drop" if higher else "lower is better, so the rule is max_rise"
        found.append(Outcome(gate, metric, _rule(gate), "failed", f"{metric}: {way}"))
    if tolerance is not None:
        found.append(_change(gate, metric, row, policy, higher, tolerance, f"{name} {tolerance.text}"))
    for limit, least in ((gate.min, True), (gate.max, False)):
        if limit is not None:
            found.append(_limit(gate, metric, row, limit, least))
    return found


def _limit(gate: Gate, metric: str, row: Difference, limit: float, least: bool) -> Outcome:
    rule = f"{'min' if least else 'max'} {_points(limit)}"
    if row.candidate is None:
        # a pattern also fits classes that are nowhere in the data set
        nowhere = row.baseline is None and metric != gate.metric
        return Outcome(gate, metric, rule, "skipped" if nowhere else "failed", f"{metric} has no value")
    fine = row.candidate >= limit if least else row.candidate <= limit
    word = "is" if fine else "is only" if least else "is"
    return Outcome(gate, metric, rule, "passed" if fine else "failed", f"{metric} {word} {_points(row.candidate)}")


def value_lost(row: Difference, higher: bool) -> bool:
    """Whether a metric lost its value. Not a loss: a class of nothing but false alarms is worth 0, and without them has no value."""
    return row.baseline is not None and row.candidate is None and not (higher and row.baseline == 0)


def _change(gate: Gate, metric: str, row: Difference, policy: Policy, higher: bool, tolerance: Tolerance, rule: str) -> Outcome:
    if row.baseline is None:
        told = "has no value in either run" if row.candidate is None else "had no value in the baseline"
        return Outcome(gate, metric, rule, "skipped" if row.candidate is None else "passed", f"{metric} {told}")
    if row.candidate is None or row.delta is None:
        told = f"{metric} has no value any more; it was {_points(row.baseline)}"
        return Outcome(gate, metric, rule, "failed" if value_lost(row, higher) else "passed", told)
    sign = 1 if higher else -1
    gain = sign * row.delta
    allowed = tolerance.of(row.baseline)
    low, high = (row.low, row.high) if higher else (_minus(row.high), _minus(row.low))
    told = f"{metric} changed by {_signed(row.delta)}"
    if row.delta == 0:
        return Outcome(gate, metric, rule, "passed", f"{metric} did not change")
    if gate.mode == "point":
        return Outcome(gate, metric, rule, "failed" if gain < -allowed else "passed", told)
    if low is None or high is None:
        return Outcome(gate, metric, rule, "inconclusive", f"{told}; there are too few images for an interval", True)
    underpowered = row.detectable is not None and row.detectable > allowed
    note = f"; underpowered: only changes of {_points(row.detectable)} are found reliably" if underpowered else ""
    told += f" [{_signed(row.low)}, {_signed(row.high)}]"
    if gate.mode == "non_inferiority":
        status = "failed" if high < -allowed else "passed" if low >= -allowed else "inconclusive"
        return Outcome(gate, metric, rule, status, told + note, underpowered)
    if gain >= -allowed:
        return Outcome(gate, metric, rule, "passed", told + note, underpowered)
    if high < 0 and significant(row, policy.confidence, gate.correction == "maxT"):
        return Outcome(gate, metric, rule, "failed", told, underpowered)
    return Outcome(gate, metric, rule, "warned", f"{told}, which may be chance{note}", underpowered)


def _acknowledged(outcome: Outcome, row: Difference, known: Iterable[Acknowledgement], higher: bool, day: date) -> Outcome:
    if outcome.status != "failed":
        return outcome
    for entry in known:
        if not entry.fits(outcome.metric):
            continue
        if day > entry.until:
            outcome = replace(outcome, message=f"{outcome.message}; its acknowledgement ended on {entry.until}")
            continue
        loss = 0.0 if row.delta is None else (-row.delta if higher else row.delta)
        if entry.max_drop is not None and (row.baseline is None or row.delta is None or loss > entry.max_drop.of(row.baseline)):
            outcome = replace(outcome, message=f"{outcome.message}; more than the {entry.max_drop.text} acknowledged")
            continue
        return replace(outcome, status="acknowledged", message=f"{outcome.message}; accepted until {entry.until}: {entry.reason}")
    return outcome


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.4g} pt"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f} pt"
