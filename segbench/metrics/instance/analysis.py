"""Where AP is lost: the TIDE error budget, the confusion matrix, and ground truth that looks wrong. From evidence with `analysis`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import ComparabilityError
from segbench.evidence import Evidence
from segbench.metrics.instance.extra import at_one_threshold
from segbench.metrics.instance.matching import RECALL_THRESHOLDS, match
from segbench.metrics.instance.pairs import ANALYSIS_FLOOR, pair_table
from segbench.protocols.instance import InstanceRules

TYPES = ("classification", "localisation", "both", "duplicate", "background")
"""What is wrong with a false positive, by its number in `Errors.kinds`."""

BACKGROUND_IOU = 0.1


@dataclass(frozen=True, eq=False)
class Errors:
    """The detections that count and what each of them is, at one IoU threshold.

    Attributes:
        rows: int64[D], rows of the evidence's detections, by class, best score first.
        category: int32[D]. scores: float64[D]. hits: bool[D].
        kinds: int8[D], index into `TYPES`; -1 for true positives.
        targets: int64[D], the ground truth that a classification or localisation error is about, else -1.
        gt_category: int32[G]. found: bool[G], matched. counted: bool[G], not ignored.
    """

    rows: NDArray[np.int64]
    category: NDArray[np.int32]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    targets: NDArray[np.int64]
    gt_category: NDArray[np.int32]
    found: NDArray[np.bool_]
    counted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """All overlaps: rows of both sides and IoU."""

    detection: NDArray[np.int64]
    gt: NDArray[np.int64]
    iou: NDArray[np.float64]


def _pairs(evidence: Evidence, family: str) -> _Pairs:
    collected = evidence.rows("collected")
    if not collected["cross"].all() or collected["floor"].max(initial=0) > ANALYSIS_FLOOR:
        raise ComparabilityError("this run did not compare across categories", hint="evaluate again with --metrics analysis")
    table = evidence.rows(pair_table(family))
    detection = evidence.starts("detections")[table["image"]] + table["detection"]
    gt = evidence.starts("ground_truths")[table["image"]] + table["gt"]
    return _Pairs(detection, gt, table["intersection"] / table["union"])


def errors(evidence: Evidence, family: str, rules: InstanceRules, iou: float = 0.5) -> Errors:
    """What is wrong with each false positive.

    In this order: `localisation`: IoU from 0.1 up to the threshold with a ground truth of its class; `classification`: IoU at the threshold
    or more with one of another class; `duplicate`: the same with one of its class that another detection has; `background`: no IoU above
    0.1; else `both`.

    Raises:
        ComparabilityError: the evidence holds no overlaps between categories.

    Source: Bolya et al., TIDE, ECCV 2020. Detections that match or lie in ignored regions are left out here, and matching is COCO's.
    """
    pairs = _pairs(evidence, family)
    single = at_one_threshold(rules, iou)
    found = match(evidence, family, single, partners=True)
    det_category = evidence.rows("detections")["category"]
    gt_category = evidence.rows("ground_truths")["category"]
    rows = found.order[found.ranks[found.order] < single.most]
    entries = found.rows[rows]
    has = entries >= 0
    hits, hidden = np.zeros(len(rows), bool), found.outside[rows, 0] > 0
    hits[has] = found.matched[entries[has], 0] > 0
    hidden &= ~hits
    hidden[has] |= found.ignored[entries[has], 0] > 0
    rows, hits = rows[~hidden], hits[~hidden]
    counted = found.gt_ignored[:, 0] == 0
    taken = (found.gt_det[:, 0, 0] >= 0) & counted

    kept = counted[pairs.gt]
    pairs = _Pairs(pairs.detection[kept], pairs.gt[kept], pairs.iou[kept])
    same = det_category[pairs.detection] == gt_category[pairs.gt]
    count = len(det_category)
    best_same, same_gt = _best(pairs, same, count)
    best_other, other_gt = _best(pairs, ~same, count)
    best_used, _ = _best(pairs, same & taken[pairs.gt], count)
    best, _ = _best(pairs, np.ones(len(same), bool), count)
    kinds = np.full(count, TYPES.index("both"), np.int8)
    kinds[best <= BACKGROUND_IOU] = TYPES.index("background")
    kinds[best_used >= iou] = TYPES.index("duplicate")
    kinds[best_other >= iou] = TYPES.index("classification")
    kinds[(best_same >= BACKGROUND_IOU) & (best_same <= iou)] = TYPES.index("localisation")
    targets = np.full(count, -1, np.int64)
    for kind, gt in (("classification", other_gt), ("localisation", same_gt)):
        targets = np.where(kinds == TYPES.index(kind), gt, targets)
    kinds, targets = kinds[rows], targets[rows]
    kinds[hits], targets[hits] = -1, -1
    scores = evidence.rows("detections")["score"][rows]
    return Errors(rows, det_category[rows], scores, hits, kinds, targets, gt_category, taken, counted)


def _best(pairs: _Pairs, chosen: NDArray[np.bool_], count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Largest IoU of each detection among some pairs, and its ground truth: the first of equal ones; 0 and -1 without any."""
    detection, gt, iou = pairs.detection[chosen], pairs.gt[chosen], pairs.iou[chosen]
    order = np.lexsort((-gt, iou, detection))
    best, which = np.zeros(count), np.full(count, -1, np.int64)
    best[detection[order]] = iou[order]  # the last of each detection stays
    which[detection[order]] = gt[order]
    return best, which


def mean_ap(category: NDArray, scores: NDArray[np.float64], hits: NDArray[np.bool_], num_gt: NDArray[np.int64]) -> float:
    """Mean over classes with ground truth of the 101-point interpolated precision; NaN without any."""
    values = []
    for label in np.flatnonzero(num_gt > 0).tolist():
        chosen = np.flatnonzero(category == label)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        true = np.cumsum(hits[chosen])
        precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
        at = np.searchsorted(true / num_gt[label], RECALL_THRESHOLDS, "left")
        values.append(float(np.append(precision, 0.0)[np.minimum(at, len(precision))].mean()))
    return float(np.mean(values)) if values else float("nan")


def tide(evidence: Evidence, family: str, rules: InstanceRules, iou: float = 0.5) -> dict[str, float]:
    """How much AP at one IoU threshold each type of error costs: AP with only that type repaired, minus AP.

    The best-scored classification or localisation error of a ground truth that nothing matches becomes right, all others of the type
    vanish; `missed` ground truth that no error is about leaves the count. `false_positive` and `false_negative` are all false positives, or
    all missed ground truth, repaired. Also `ap` itself.

    Raises:
        ComparabilityError: the evidence holds no overlaps between categories.

    Source: Bolya et al., TIDE, ECCV 2020.
    """
    found = errors(evidence, family, rules, iou)
    count = evidence.num_classes
    num_gt = np.bincount(found.gt_category[found.counted], minlength=count)
    base = mean_ap(found.category, found.scores, found.hits, num_gt)
    repaired: dict[str, float] = {"ap": base}
    usable = np.zeros(len(found.gt_category), bool)
    for kind, name in enumerate(TYPES):
        wrong = found.kinds == kind
        category, hits, keep = found.category.copy(), found.hits.copy(), ~wrong
        if name in ("classification", "localisation"):
            fixed = _first_of_each(found, np.flatnonzero(wrong & ~_taken(found)))
            usable[found.targets[fixed]] = True
            category[fixed] = found.gt_category[found.targets[fixed]]
            hits[fixed] = keep[fixed] = True
        repaired[name] = mean_ap(category[keep], found.scores[keep], hits[keep], num_gt) - base
    missed = found.counted & ~found.found
    fewer = num_gt - np.bincount(found.gt_category[missed & ~usable], minlength=count)
    repaired["missed"] = mean_ap(found.category, found.scores, found.hits, fewer) - base
    scores = np.where(found.hits, 1.0, 0.0)
    repaired["false_positive"] = mean_ap(found.category, scores, found.hits, num_gt) - base
    none_missed = num_gt - np.bincount(found.gt_category[missed], minlength=count)
    repaired["false_negative"] = mean_ap(found.category, found.scores, found.hits, none_missed) - base
    return {name: max(0.0, value) if name != "ap" else value for name, value in repaired.items()}


def _taken(found: Errors) -> NDArray[np.bool_]:
    """Whether the ground truth that a detection's error is about has a match of its own."""
    return np.append(found.found, False)[found.targets]  # no target is -1: the last


def _first_of_each(found: Errors, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of detections that are about the same ground truth the best-scored one, of equal scores the first."""
    order = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    _, first = np.unique(found.targets[order], return_index=True)
    return order[first]


def error_counts(evidence: Evidence, family: str, rules: InstanceRules, iou: float = 0.5) -> dict[str, int]:
    """How many detections have each type of error, and how many ground truths are missed without one."""
    found = errors(evidence, family, rules, iou)
    counts = {name: int((found.kinds == kind).sum()) for kind, name in enumerate(TYPES)}
    explained = np.zeros(len(found.gt_category), bool)
    explained[found.targets[found.targets >= 0]] = True
    return counts | {"missed": int((found.counted & ~found.found & ~explained).sum())}


def confusion_matrix(evidence: Evidence, family: str, rules: InstanceRules, score: float = 0.25, iou: float = 0.5) -> NDArray[np.int64]:
    """int64[C + 1, C + 1]: rows ground truth, columns predictions, the last of both is background.

    Detections with `score` or more are matched to ground truth of any class, best IoU first, one to one; detections that only overlap
    ignored ground truth are left out.

    Raises:
        ComparabilityError: the evidence holds no overlaps between categories.
    """
    pairs = _pairs(evidence, family)
    single = at_one_threshold(rules, iou)
    matches = match(evidence, family, single)
    det_category = evidence.rows("detections")["category"]
    gt_category = evidence.rows("ground_truths")["category"]
    counted = matches.gt_ignored[:, 0] == 0
    used = (evidence.rows("detections")["score"] >= score) & (matches.ranks < single.most)
    near = (pairs.iou >= iou) & used[pairs.detection]
    order = np.flatnonzero(near & counted[pairs.gt])
    order = order[np.lexsort((pairs.gt[order], pairs.detection[order], -pairs.iou[order]))]
    free_det, free_gt = used.copy(), counted.copy()
    size = evidence.num_classes + 1
    matrix = np.zeros((size, size), np.int64)
    for det, gt in zip(pairs.detection[order].tolist(), pairs.gt[order].tolist(), strict=True):
        if free_det[det] and free_gt[gt]:
            free_det[det] = free_gt[gt] = False
            matrix[gt_category[gt], det_category[det]] += 1
    free_det[pairs.detection[near & ~counted[pairs.gt]]] = False
    matrix[-1, :-1] = np.bincount(det_category[free_det], minlength=size - 1)
    matrix[:-1, -1] = np.bincount(gt_category[free_gt], minlength=size - 1)
    return matrix


def label_errors(
    evidence: Evidence, family: str, rules: InstanceRules, dataset: Dataset, score: float = 0.8, iou: float = 0.5
) -> list[dict]:
    """Confident predictions that contradict the ground truth: what a person should look at, most confident first.

    `missing`: nothing is annotated where an object is predicted; `category`: the annotation there has another class; `outline`: it has the
    class and overlaps too little. Each row: image, kind, score, detection's and annotation's id, both classes, the detection's box.

    Raises:
        ComparabilityError: the evidence holds no overlaps between categories.
    """
    found = errors(evidence, family, rules, iou)
    kinds = {TYPES.index("background"): "missing", TYPES.index("classification"): "category", TYPES.index("localisation"): "outline"}
    detections, truths = evidence.rows("detections"), evidence.rows("ground_truths")
    chosen = np.flatnonzero(np.isin(found.kinds, list(kinds)) & (found.scores >= score))
    # an annotation that another detection matches is not in doubt
    chosen = chosen[~_taken(found)[chosen]]
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    rows = []
    for at in chosen.tolist():
        row, target = int(found.rows[at]), int(found.targets[at])
        rows.append(
            {
                "image": evidence.images.ids[int(detections["image"][row])],
                "kind": kinds[int(found.kinds[at])],
                "score": float(found.scores[at]),
                "detection": int(detections["id"][row]),
                "predicted": dataset.names[int(found.category[at])],
                "annotation": int(truths["id"][target]) if target >= 0 else None,
                "annotated": dataset.names[int(truths["category"][target])] if target >= 0 else None,
                "box": detections["box"][row].tolist(),
            }
        )
    return rows
