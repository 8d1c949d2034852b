"""What a gate is, and the spelling of tolerances."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase

from segbench.errors import ConfigError

MODES = ("regression", "point", "non_inferiority")
MISSING = ("fail", "warn", "skip")
FAIL_ON = ("fail", "inconclusive", "never")
BASELINE_MISSING = ("pass", "fail")
CORRECTIONS = ("maxT", "none")

_AMOUNT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*(pt|%)?\s*")


@dataclass(frozen=True)
class Tolerance:
    """An amount with its unit: `0.5pt` is half a percentage point, `2%` a fiftieth of the baseline."""

    amount: float
    relative: bool
    text: str

    @classmethod
    def parse(cls, text: object, where: str) -> Tolerance:
        """Reads a tolerance.

        Raises:
            ConfigError: no unit, or no amount. A bare number is refused: in [0, 1], 0.5 would never be reached.
        """
        amount, unit = _amount(text, where, "0.5pt or 2%")
        if amount < 0:
            raise ConfigError(f"{where}: {text!r} is negative; a tolerance says how much worse is still fine")
        if unit == "pt" and amount > 100:
            raise ConfigError(f"{where}: {text!r} would never be reached", hint="values are between 0 and 100pt")
        return cls(amount / 100, unit == "%", str(text).strip())

    def of(self, baseline: float) -> float:
        """The tolerance in the metric's own unit."""
        return self.amount * abs(baseline) if self.relative else self.amount


def level(text: object, where: str) -> float:
    """A value to reach, such as `78pt`, as a fraction.

    Raises:
        ConfigError: no unit, or a relative one.
    """
    amount, unit = _amount(text, where, "78pt")
    if unit == "%":
        raise ConfigError(f"{where}: {text!r} is relative, but relative to what?", hint=f"write {amount:g}pt for a value of {amount:g} %")
    if abs(amount) > 100:
        raise ConfigError(f"{where}: no value reaches {text!r}", hint="values are between 0 and 100pt")
    return amount / 100


def _amount(text: object, where: str, example: str) -> tuple[float, str]:
    match = _AMOUNT.fullmatch(str(text)) if isinstance(text, str | int | float) and not isinstance(text, bool) else None
    if match is None:
        raise ConfigError(f"{where}: {text!r} is no amount with a unit", hint=f"such as {example}")
    if match.group(2) is None:
        raise ConfigError(
            f"{where}: {text!r} has no unit",
            hint=f"{match.group(1)}pt for percentage points, {match.group(1)}% of the baseline; a value of 0.5 in [0, 1] is 50pt",
        )
    return float(match.group(1)), match.group(2)


@dataclass(frozen=True)
class Gate:
    """One rule.

    Attributes:
        metric: A metric id, or a pattern of ids: `semantic/iou/*`, `semantic/iou/{person,rider}`.
        max_drop: How much worse a metric that should be high may get. max_rise: the same of one that should be low.
        min, max: The value must be at least, at most this; ends are allowed.
        mode: `regression`: fails where the metric is worse than the tolerance and significantly worse. `point`: where it is worse than the
            tolerance, significant or not. `non_inferiority`: passes only where the interval excludes a loss beyond the tolerance.
        slice: Judge the metric on the images of this slice.
        allow: So many metrics of the pattern may fail.
        min_support: Classes in fewer images of the ground truth are left out.
        correction: `maxT` judges a class by its p-value corrected for the number of classes, `none` by its own.
        if_missing: A metric that these runs do not have: `fail`, `warn` or `skip`.
        informational: Reports, never fails.
        source: Where it is written, for messages.
    """

    metric: str
    max_drop: Tolerance | None = None
    max_rise: Tolerance | None = None
    min: float | None = None
    max: float | None = None
    mode: str = "regression"
    slice: str | None = None
    allow: int = 0
    min_support: int = 0
    correction: str = "maxT"
    if_missing: str = "fail"
    informational: bool = False
    source: str = ""

    def fits(self, metric: str) -> bool:
        """Whether the gate is about this metric."""
        return any(fnmatchcase(metric, pattern) for pattern in braces(self.metric))


@dataclass(frozen=True)
class Acknowledgement:
    """A known loss that is accepted until a day.

    Attributes:
        metric: As in `Gate`.
        until: The last day.
        max_drop: A larger loss still fails; None accepts any.
    """

    metric: str
    until: date
    reason: str
    max_drop: Tolerance | None = None
    source: str = ""

    def fits(self, metric: str) -> bool:
        """Whether it is about this metric."""
        return any(fnmatchcase(metric, pattern) for pattern in braces(self.metric))


@dataclass(frozen=True)
class Policy:
    """Everything a configuration says.

    Attributes:
        confidence, replicates, permutations, seed, cluster: See `segbench.significance`.
        fail_on: What makes the command fail: `fail`; `inconclusive` also where a gate could not tell; `never`.
        baseline_missing: What a first run without a baseline does: `pass` or `fail`.
    """

    gates: tuple[Gate, ...] = ()
    acknowledged: tuple[Acknowledgement, ...] = ()
    confidence: float = 0.95
    replicates: int = 2000
    permutations: int = 5000
    seed: int = 0
    cluster: str | None = None
    slices: tuple[str, ...] = ()
    fail_on: str = "fail"
    baseline_missing: str = "pass"
    source: str = field(default="", compare=False)


def braces(pattern: str) -> list[str]:
    """`a/{b,c}` as `a/b` and `a/c`."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [expanded for part in match.group(1).split(",") for expanded in braces(before + part.strip() + after)]
