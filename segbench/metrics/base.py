"""What every metric family gives: named values, their undefined reasons, and tables per class and per image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Scores:
    """The numbers of one task under one protocol. No NaN: what is undefined is `None` and has its reason.

    Attributes:
        metrics: Metric id -> value in [0, 1] (kappa in [-1, 1]), or None.
        undefined: Metric id -> why it has no value; of one class, `semantic/iou/road`.
        per_class: One row per class, in index order.
        per_image: Columns of equal length, in canonical order of the images; the first is `id`.
    """

    metrics: dict[str, float | None]
    undefined: dict[str, str] = field(default_factory=dict)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    per_image: dict[str, list] = field(default_factory=dict)


def defined(value: float) -> float | None:
    """A Python float, or None for NaN."""
    value = float(value)
    return None if math.isnan(value) else value


def defined_list(values: Iterable[float]) -> list[float | None]:
    """Python floats, None for NaN."""
    return [defined(value) for value in values]
