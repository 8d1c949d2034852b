"""segbench: evaluation and benchmarking of segmentation models.

import segbench

result = segbench.evaluate("preds/", "gt/", dataset="cityscapes")
result.value("semantic/miou")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Accumulation",
    "Comparison",
    "Dataset",
    "InputError",
    "Result",
    "SegbenchError",
    "__version__",
    "accumulator",
    "compare",
    "evaluate",
    "inspect",
    "profile",
]

_EXPORTS = {
    "evaluate": "segbench.evaluation",
    "accumulator": "segbench.accumulation",
    "Accumulation": "segbench.accumulation",
    "Result": "segbench.results",
    "Dataset": "segbench.datasets",
    "inspect": "segbench.inspection",
    "profile": "segbench.profiling",
    "compare": "segbench.comparison",
    "Comparison": "segbench.comparison",
    "SegbenchError": "segbench.errors",
    "InputError": "segbench.errors",
}
"""Public names and where they live; a module is imported when one of its names is first used."""

if TYPE_CHECKING:
    from segbench.accumulation import Accumulation, accumulator
    from segbench.comparison import Comparison, compare
    from segbench.datasets import Dataset
    from segbench.errors import InputError, SegbenchError
    from segbench.evaluation import evaluate
    from segbench.inspection import inspect
    from segbench.profiling import profile
    from segbench.results import Result


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("datasets", "protocols", "errors"):
        return import_module(f"segbench.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'segbench' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
