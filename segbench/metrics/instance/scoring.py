"""Instance segmentation: exact overlaps per image, and every score from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import evidence as evidences
from segbench.datasets import Dataset
from segbench.errors import ComparabilityError, ConfigError
from segbench.evidence import Evidence, Images, Table
from segbench.instances import InstanceBatch
from segbench.metrics.base import Scores, defined, defined_list
from segbench.metrics.instance import analysis as instance_analysis
from segbench.metrics.instance import extra as instance_extra
from segbench.metrics.instance import overlap as instance_overlap
from segbench.metrics.instance.catalogue import ANALYSIS, METRICS
from segbench.metrics.instance.checks import suspicions as suspicions
from segbench.metrics.instance.matching import Curves, Matches, curves, match
from segbench.metrics.instance.pairs import ANALYSIS_FLOOR, ANY, FAMILIES, FLOOR, VOID, empty_tables, evidence_of, pair_table
from segbench.metrics.instance.summary import NO_TRUTH, class_columns, frequency_groups, reason, summary
from segbench.protocols.instance import InstanceRules, RuleSet


class InstanceAccumulator:
    """Exact evidence of instance predictions: feed it batches, merge it with others, ask it for scores.

    Empty is the identity of `merge`; merging is associative and commutative, and any split of the images gives the same evidence bit for
    bit.

    Args:
        dataset: What the categories mean.
        tables: Families to compare: `segm`, `bbox`, `boundary`; with `analysis` also overlaps down to IoU 0.1 and across categories.
        rules: Where given, overlaps are kept down to its lowest IoU threshold, and across categories where it needs them.
    """

    def __init__(self, dataset: Dataset, tables: Sequence[str] = ("segm", "bbox"), rules: InstanceRules | None = None) -> None:
        unknown = set(tables) - {*FAMILIES, "analysis", VOID}
        if unknown:
            raise ConfigError(f"instances cannot be compared by {min(unknown)!r}", hint=f"one of: {', '.join(FAMILIES)}, analysis")
        self.dataset = dataset
        self.families = tuple(family for family in FAMILIES if family in tables)
        self.tables = (*self.families, *((VOID,) if VOID in tables else ()))
        analysis = "analysis" in tables
        usual = ANY if VOID in tables else ANALYSIS_FLOOR if analysis else FLOOR
        self.floor = min(usual, *(rules.iou_thresholds if rules else ()), 1 - 1e-10)
        self.cross = analysis or (rules is not None and rules.categories == "together")
        self._parts: list[Evidence] = []

    def update(self, pred: InstanceBatch, gt: InstanceBatch) -> None:
        """Compares the predictions with the ground truth of some images. Images that `pred` does not hold have no detections.

        Raises:
            PairingError, ShapeError, InputError: see `segbench.metrics.instance.pairs.evidence_of`.
        """
        self._parts.append(evidence_of(pred, gt, self.tables, self.dataset.num_classes, self.floor, self.cross))

    def merge(self, *others: InstanceAccumulator) -> InstanceAccumulator:
        """An accumulator of all images of this and the others. An image in several of them counts once if its evidence is equal."""
        merged = InstanceAccumulator(self.dataset, self.tables)
        merged.floor = max(part.floor for part in (self, *others))
        merged.cross = all(part.cross for part in (self, *others))
        merged._parts = [evidences.merge([part.evidence() for part in (self, *others)])]
        return merged

    def evidence(self) -> Evidence:
        """Everything compared so far, in canonical order."""
        if not self._parts:
            images = Images((), np.zeros(0, np.int64), np.zeros((0, 2), np.int32))
            return Evidence("instance", self.dataset.num_classes, images, empty_tables(self.tables))
        if len(self._parts) > 1:
            self._parts = [evidences.merge(self._parts)]
        return self._parts[0]

    def compute(self, rules: RuleSet) -> Scores:
        """Scores of what was compared so far."""
        return scores(self.evidence(), self.dataset, rules)

    def arrays(self) -> dict[str, NDArray]:
        """The evidence as named arrays."""
        return self.evidence().arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], dataset: Dataset) -> InstanceAccumulator:
        """The inverse of `arrays`."""
        evidence = Evidence.from_arrays(arrays)
        _check(evidence, dataset)
        accumulator = cls(dataset, tables_of(evidence))
        collected = evidence.rows("collected")
        accumulator.floor = float(collected["floor"].max(initial=0.0)) or FLOOR
        accumulator.cross = bool(collected["cross"].all())
        accumulator._parts = [evidence]
        return accumulator


PER_CLASS = {f"{family}_{name}": f"{family}/{name}" for family in FAMILIES for name in ("ap", "ap50", "ap75", "ar100")}
"""Columns of the per-class rows that are metrics of a class, where the family was compared."""


def families_for(patterns: Sequence[str], rules: RuleSet, masks: bool = True) -> tuple[str, ...]:
    """What to compare instances by, for `--metrics` patterns such as `segm/*` or `bbox/ap`; without any: masks and boxes side by side.

    `analysis`, or a metric that needs it, adds the overlaps from which it is told where AP is lost.

    Args:
        masks: Whether the predictions hold masks; boxes alone are compared as boxes.

    Raises:
        ConfigError: a pattern that fits nothing of this protocol.
    """
    allowed = rules.rules.families
    chosen: set[str] = set()
    analysis = False
    for pattern in patterns:
        names = [name for name in METRICS if fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[2], pattern)]
        found = {family for family in allowed if pattern == family or any(name.startswith(f"{family}/") for name in names)}
        found |= {family for family in allowed if pattern.startswith(f"{family}/a")}  # sizes and numbers of detections of one's own
        if not found and pattern != "analysis":
            raise ConfigError(
                f"no metric of protocol {rules.name} fits {pattern!r}",
                hint=f"one of {', '.join(f'{name}/*' for name in allowed)}, analysis",
            )
        chosen |= found
        analysis |= pattern == "analysis" or (bool(names) and all(name in ANALYSIS for name in names))
    usual = {"segm", "bbox"} if masks else {"bbox"}
    families = [family for family in FAMILIES if family in allowed and family in (chosen or usual)] or list(allowed)
    if rules.rules.matching == "by_overlap":
        if analysis:
            raise ConfigError(f"protocol {rules.name} does not tell where AP is lost", hint="add --protocol coco to --analysis")
        return (*families, VOID)
    return (*families, "analysis") if analysis else tuple(families)


def ground_truth(evidence: Evidence) -> Table:
    """The part of an evidence that comes from the ground truth alone, for digests: its instances, in the file's order."""
    table = evidence.rows("ground_truths")
    return {name: values for name, values in table.items() if values.dtype.kind in "iu"}


def families_of(evidence: Evidence) -> tuple[str, ...]:
    """What the evidence compares: `segm`, `bbox`, `boundary`."""
    return tuple(family for family in FAMILIES if pair_table(family) in evidence.tables)


def tables_of(evidence: Evidence) -> tuple[str, ...]:
    """What an accumulator is asked for to collect the same: the families, and `VOID`."""
    return (*families_of(evidence), *((VOID,) if VOID in evidence.tables else ()))


def evaluated(evidence: Evidence, family: str, rules: InstanceRules, partners: bool = False) -> tuple[Matches, Curves]:
    """Matches and curves of one family."""
    matches = match(evidence, family, rules, partners)
    return matches, curves(matches, evidence.rows("detections")["score"], rules)


def scores(evidence: Evidence, dataset: Dataset, rules: RuleSet, families: Sequence[str] | None = None) -> Scores:
    """Every score that the evidence allows, under a rule set.

    Args:
        families: Which of `segm`, `bbox`, `boundary`; None: all that the evidence and the rules have.

    Raises:
        ComparabilityError: the evidence has another number of classes than the data set.
    """
    _check(evidence, dataset)
    allowed = [family for family in families_of(evidence) if family in (families or rules.rules.families)]
    if not allowed:
        raise ConfigError(
            f"protocol {rules.name} scores {' and '.join(rules.rules.families)}; this run compared {' and '.join(families_of(evidence))}"
        )
    metrics: dict[str, float] = {}
    columns: dict[str, NDArray[np.float64]] = {}
    images: dict[str, list] = {"id": list(evidence.images.ids)}
    view = _by_overlap if rules.rules.matching == "by_overlap" else _by_score
    for family in allowed:
        whole, by_class, by_image = view(evidence, dataset, family, rules.rules)
        metrics |= whole
        columns |= {f"{family}_{name}": values for name, values in by_class.items()}
        images |= {f"{family}_{name}": values for name, values in by_image.items()}
    values = {name: defined(value) for name, value in metrics.items()}
    rows = {name: defined_list(column) for name, column in columns.items()}
    undefined = {name: NO_TRUTH if name in ANALYSIS else reason(name, rules.rules) for name, value in values.items() if value is None}
    undefined |= {
        f"{name.replace('_', '/', 1)}/{label}": NO_TRUTH
        for name, column in rows.items()
        for label, value in zip(dataset.names, column, strict=True)
        if value is None
    }
    return Scores(values, undefined, _class_rows(evidence, dataset, rows), images)


View = tuple[dict[str, float], dict[str, NDArray[np.float64]], dict[str, list]]
"""Of one family: its numbers by metric id, its columns of the classes and of the images."""


def _by_score(evidence: Evidence, dataset: Dataset, family: str, rules: InstanceRules) -> View:
    matches, found = evaluated(evidence, family, rules)
    groups = frequency_groups(dataset) if rules.groups == "frequency" else None
    whole = summary(found, rules, family, groups)
    if analysed(evidence, rules):
        whole |= analysis_summary(evidence, family, rules)
    by_class = class_columns(found, rules) if rules.categories == "each" else {}
    return whole, by_class, per_image(evidence, matches, rules)


def _by_overlap(evidence: Evidence, dataset: Dataset, family: str, rules: InstanceRules) -> View:
    found = instance_overlap.overlaps(evidence, family, dataset, rules)
    once = instance_overlap.unweighted(evidence)
    whole: dict[str, float] = {}
    by_class: dict[str, NDArray[np.float64]] = {}
    for area, of_range in enumerate(found.ranges):
        values = instance_overlap.precisions(of_range, once)[0]
        whole |= {f"{family}/{name}": value for name, value in instance_overlap.means(values, area, rules).items()}
        if area == 0:
            for name, column in instance_overlap.of_classes(values, rules).items():
                by_class[name] = np.full(dataset.num_classes, np.nan)
                by_class[name][found.classes] = column
    return whole, by_class, outcome_columns(**instance_overlap.outcomes(evidence, found))


def analysed(evidence: Evidence, rules: InstanceRules) -> bool:
    """Whether the evidence tells where AP is lost."""
    collected = evidence.rows("collected")
    enough = len(collected["floor"]) > 0 and collected["floor"].max() <= ANALYSIS_FLOOR and bool(collected["cross"].all())
    return enough and rules.categories == "each"


def analysis_summary(evidence: Evidence, family: str, rules: InstanceRules) -> dict[str, float]:
    """Best F1, oLRP, calibration and the TIDE budget, by metric id."""
    budget = instance_analysis.tide(evidence, family, rules)
    lost = {f"{family}/tide_{name}": value for name, value in budget.items() if name != "ap"}
    return instance_extra.summary(evidence, family, rules) | lost


def per_image(evidence: Evidence, matches: Matches, rules: InstanceRules) -> dict[str, list]:
    """Right, wrong and missed of each image at the first IoU threshold and in the first area range.

    Only detections within the largest number per image and class count; a detection is right or wrong whatever its score.
    """
    image = evidence.rows("detections")["image"]
    within = matches.ranks < rules.most
    rows = matches.rows
    hit = np.zeros(len(rows), bool)
    hidden = matches.outside[:, 0] > 0
    has = rows >= 0
    one = np.uint64(1)
    hit[has] = (matches.matched[rows[has], 0] & one) > 0
    hidden = np.where(hit, False, hidden)
    hidden[has] |= (matches.ignored[rows[has], 0] & one) > 0
    right, wrong = within & hit & ~hidden, within & ~hit & ~hidden
    count = len(evidence.images)
    gt_image = evidence.rows("ground_truths")["image"]
    truths = np.bincount(gt_image[matches.gt_ignored[:, 0] == 0], minlength=count)
    true, false = (np.bincount(image[chosen], minlength=count) for chosen in (right, wrong))
    return outcome_columns(true, false, truths - true)


def outcome_columns(tp: NDArray[np.int64], fp: NDArray[np.int64], fn: NDArray[np.int64]) -> dict[str, list]:
    """Columns of the images: right, wrong, missed, and their F1; None where there is nothing."""
    total = 2 * tp + fp + fn
    f1 = np.divide(2 * tp, total, out=np.full(len(total), np.nan), where=total > 0)
    return {"tp": tp.tolist(), "fp": fp.tolist(), "fn": fn.tolist(), "f1": defined_list(f1)}


def _class_rows(evidence: Evidence, dataset: Dataset, columns: dict[str, list]) -> list[dict[str, Any]]:
    truths = evidence.rows("ground_truths")
    counts = {
        "num_gt": np.bincount(truths["category"], minlength=dataset.num_classes).tolist(),
        "num_pred": np.bincount(evidence.rows("detections")["category"], minlength=dataset.num_classes).tolist(),
    }
    return [
        {"id": label.id, "name": label.name} | {name: values[index] for name, values in (columns | counts).items()}
        for index, label in enumerate(dataset.evaluated)
    ]


def _check(evidence: Evidence, dataset: Dataset) -> None:
    if evidence.task != "instance" or evidence.num_classes != dataset.num_classes:
        raise ComparabilityError(
            f"the evidence is of task {evidence.task} with {evidence.num_classes} classes; {dataset.name} has {dataset.num_classes}"
        )
