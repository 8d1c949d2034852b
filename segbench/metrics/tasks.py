"""The tasks, by name: which module accumulates and scores each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from segbench.datasets import Dataset
from segbench.errors import ConfigError
from segbench.evidence import Evidence, Table
from segbench.metrics.base import Scores
from segbench.protocols import RuleSet
from segbench.registry import Registry
from segbench.sizes import mismatch

TASKS = Registry(
    "task",
    {
        "semantic": "segbench.metrics.semantic:SemanticAccumulator",
        "instance": "segbench.metrics.instance.scoring:InstanceAccumulator",
        "panoptic": "segbench.metrics.panoptic.scoring:PanopticAccumulator",
    },
)

KERNELS = {
    "semantic": ("png.unfilter_rows", "pairs.count_pairs_u8"),
    "panoptic": ("png.unfilter_rows", "panoptic.count_segment_pairs"),
    "instance": ("matching.rank_in_groups", "matching.match_pairs", "matching.accumulate_curves"),
    "segm": ("rle.decode_counts", "iou.overlap_masks"),
    "bbox": ("box_iou.overlap_boxes",),
}
"""What nearly every run of a task, and every run with an evidence table, calls."""

QUICK = ("semantic", "panoptic")
"""Tasks whose intervals cost so little that nobody has to ask for them."""


def _module(task: str) -> Any:
    return import_module(TASKS.get(task).__module__)


def takes_batches(task: str) -> bool:
    """Whether the accumulator of a task takes whole shards as columns; else one sample per image."""
    return task == "instance"


def load_kernels(task: str, tables: Collection[str]) -> None:
    """Loads what the task's inner loops need for some tables, compiling it where it never was: start-up, not work."""
    for name in (kernel for part in (task, *tables) for kernel in KERNELS.get(part, ())):
        file, _, function = name.partition(".")
        getattr(import_module(f"segbench.kernels.{file}"), function).load()


def void_like(task: str, gt: Any) -> Any:
    """A prediction of an image that says nothing anywhere."""
    return _module(task).void_like(gt)


def resized_to(task: str, pred: Any, gt: Any, rule: str) -> Any:
    """A prediction at the size of its ground truth; unchanged where it has that size.

    Raises:
        ShapeError: SB101, points and an image.
    """
    ours, theirs = (sample.values.shape[:2] for sample in (pred, gt))
    if len(ours) != len(theirs):
        raise mismatch([(ours, theirs, pred.file, gt.file)])
    return _module(task).resized_to(pred, gt, rule)


def views(evidence: Evidence, dataset: Dataset) -> dict[str, Evidence]:
    """Panoptic evidence as evidence of every task."""
    from segbench.metrics.panoptic import views as panoptic_views

    return panoptic_views.views(evidence, dataset)


def usual_missing(task: str) -> str:
    """What an image without a prediction means: nothing found, for detectors; an error, for maps."""
    return "empty" if task == "instance" else "error"


def accumulator(task: str, dataset: Dataset, tables: tuple[str, ...], rules: RuleSet) -> Any:
    """An empty accumulator of a task."""
    kind = TASKS.get(task)
    return kind(dataset, tables, rules.rules) if takes_batches(task) else kind(dataset, tables)


def tables_for(task: str, patterns: Iterable[str], rules: RuleSet, masks: bool = True) -> tuple[str, ...]:
    """The evidence tables that a run needs: those of the usual metrics, and those of the metrics asked for.

    Args:
        masks: Whether the predictions hold masks, where the task can do without.

    Raises:
        ConfigError: a pattern that fits no metric.
    """
    module = _module(task)
    if takes_batches(task):
        return module.families_for(list(patterns), rules, masks)
    return module.tables_for(module.choose(list(patterns)))


def customised(
    rules: RuleSet,
    iou_thresholds: Sequence[float] | None,
    area_ranges: Mapping[str, tuple[float, float]] | None,
    max_detections: Sequence[int] | None,
) -> RuleSet:
    """A protocol with thresholds, area ranges or numbers of detections of one's own.

    Raises:
        ConfigError: values that mean nothing, or another task than instance.
    """
    if rules.task != "instance":
        raise ConfigError("IoU thresholds, area ranges and numbers of detections belong to the instance task", hint="leave them out")
    from segbench.protocols.instance import AreaRange
    from segbench.protocols.instance import customised as changed

    ranges = None if area_ranges is None else tuple(AreaRange(name, *ends) for name, ends in area_ranges.items())
    thresholds = None if iou_thresholds is None else tuple(iou_thresholds)
    return changed(rules, thresholds, ranges, None if max_detections is None else tuple(max_detections))


def types_of(tables: Mapping[str, Table]) -> dict[str, dict[str, Any]]:
    """`{table: {column: (type, shape of a row)}}`."""
    return {name: {column: (values.dtype, values.shape[1:]) for column, values in table.items()} for name, table in tables.items()}


def table_types(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> dict[str, dict[str, Any]]:
    """The `types_of` the tables that an accumulator of the same tables makes."""
    names = _module(task).tables_of(evidence) if takes_batches(task) else tuple(evidence.tables)
    tables = accumulator(task, dataset, names, rules).evidence().tables
    return types_of(tables)


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
    from segbench.metrics.catalogue import every

    known = every().get(metric)
    return known is None or known.better == "higher"


def ground_truth(evidence: Evidence) -> Table:
    """The part of an evidence that comes from the ground truth alone, for digests: integer columns, the first is `image`."""
    return _module(evidence.task).ground_truth(evidence)


def suspicions(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> list[str]:
    """Sentences about evidence that looks like a mistake, such as ids that are off by one."""
    check = getattr(_module(task), "suspicions", None)
    if check is None:
        return []
    return check(evidence, dataset, rules.rules) if takes_batches(task) else check(evidence, dataset)


def refuse_binary_masks(evidence: Evidence) -> None:
    """Refuses 0/255 masks read as two classes; see `segbench.metrics.suspicions`."""
    from segbench.metrics import suspicions

    suspicions.refuse_binary_masks(evidence)
