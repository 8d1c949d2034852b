"""The tasks, by name: which module accumulates and scores each of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table
from segbench.metrics.base import Scores
from segbench.protocols import RuleSet
from segbench.registry import Registry

TASKS = Registry("task", {"semantic": "segbench.metrics.semantic:SemanticAccumulator"})


def _module(task: str) -> Any:
    return import_module(TASKS.get(task).__module__)


def accumulator(task: str, dataset: Dataset, tables: tuple[str, ...]) -> Any:
    """An empty accumulator of a task."""
    return TASKS.get(task)(dataset, tables)


def tables_for(task: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """The evidence tables that a run needs: those of the usual metrics, and those of the metrics asked for.

    Raises:
        ConfigError: a pattern that fits no metric.
    """
    module = _module(task)
    return module.tables_for(module.choose(list(patterns)))


def scores(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> Scores:
    """Scores of a task from its evidence."""
    return _module(task).scores(evidence, dataset, rules)


def per_image(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> dict[str, Any]:
    """`{column: values}`, one entry per image."""
    return _module(task).scores(evidence, dataset, rules).per_image


def per_class_metrics(task: str) -> dict[str, str]:
    """`{column of the per-class rows: metric id}`, such as `{"iou": "semantic/iou"}`."""
    return _module(task).PER_CLASS


def higher_is_better(metric: str) -> bool:
    """Whether more is better."""
    from segbench.metrics.catalogue import METRICS

    return METRICS[metric].better == "higher" if metric in METRICS else True


def ground_truth(evidence: Evidence) -> Table:
    """The part of an evidence that comes from the ground truth alone, for digests: `image`, `gt`, `pixels`, one row per class and image."""
    table = evidence.rows("pixels")
    keys = table["image"].astype(np.int64) * (evidence.num_classes + 1) + table["gt"]
    distinct, at = np.unique(keys, return_inverse=True)
    pixels = np.zeros(len(distinct), np.int64)
    np.add.at(pixels, at, table["pixels"])
    size = evidence.num_classes + 1
    return {"image": distinct // size, "gt": distinct % size, "pixels": pixels}


def suspicions(task: str, evidence: Evidence, dataset: Dataset) -> list[str]:
    """Sentences about evidence that looks like a mistake, such as ids that are off by one."""
    from segbench.metrics.suspicions import CHECKS

    return CHECKS[task](evidence, dataset)


def refuse_binary_masks(evidence: Evidence) -> None:
    """Refuses 0/255 masks read as two classes; see `segbench.metrics.suspicions`."""
    from segbench.metrics import suspicions

    suspicions.refuse_binary_masks(evidence)
