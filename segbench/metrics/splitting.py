"""Why two protocols give different numbers: the difference, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.metrics import tasks
from segbench.protocols import RuleSet


@dataclass(frozen=True)
class RuleStep:
    """One rule changed, all rules before it in their struct already changed.

    Attributes:
        rule: The rule's name.
        old: Its value before.
        new: Its value after.
        before: Metric values before the change.
        after: Metric values after it; the next step's `before`.
        delta: after - before, None where either is undefined or not scored.
    """

    rule: str
    old: Any
    new: Any
    before: dict[str, float | None]
    after: dict[str, float | None]
    delta: dict[str, float | None]

    def document(self) -> dict[str, Any]:
        """The step as plain values."""
        return msgspec.to_builtins(self)


def split(evidence: Evidence, dataset: Dataset, first: RuleSet, second: RuleSet) -> list[RuleStep]:
    """Why two protocols differ: their differing rules are changed one by one, in the order of their struct.

    The steps telescope: each starts where the one before ended, the first at `first` and the last at `second`.
    """
    rules: Any = first.rules
    steps: list[RuleStep] = []
    before = tasks.scores(evidence.task, evidence, dataset, first).metrics
    for rule in type(rules).__struct_fields__:
        old, new = getattr(first.rules, rule), getattr(second.rules, rule)
        if old == new:
            continue
        rules = msgspec.structs.replace(rules, **{rule: new})
        after = tasks.scores(evidence.task, evidence, dataset, msgspec.structs.replace(first, rules=rules)).metrics
        delta = {name: _difference(after.get(name), value) for name, value in before.items()}
        steps.append(RuleStep(rule, old, new, before, after, delta))
        before = after
    return steps


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
