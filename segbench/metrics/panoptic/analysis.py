"""Where panoptic quality is lost, by kind of error and by size; and the semantic scores of panoptic maps. All of it from the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import evidence as evidences
from segbench.datasets import Dataset
from segbench.errors import counted
from segbench.evidence import Evidence
from segbench.metrics.base import defined
from segbench.metrics.panoptic import matching as panoptic_matching
from segbench.metrics.panoptic.matching import NONE, Matches, Scene, Side
from segbench.metrics.panoptic.totals import class_totals, mean_of, quality
from segbench.protocols import RuleSet
from segbench.protocols.panoptic import PanopticRules

MISSES = ("missed", "wrong_class", "split", "merged", "imprecise")
"""Kinds of false negatives, the first that fits in the order of `error_budget`."""

FALSE = ("hallucinated", "wrong_class", "split", "merged", "imprecise")
"""Kinds of false positives."""

SIZES: dict[str, tuple[int, int]] = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1 << 62)}
"""COCO's ranges of area in pixels: from, and below."""

SOME = 0.1
"""Less of a segment than this share counts as nothing."""


@dataclass(frozen=True, eq=False)
class _Meetings:
    """Pairs of segments that meet: rows, and which share of either they cover together."""

    gt: NDArray[np.int64]
    pred: NDArray[np.int64]
    of_gt: NDArray[np.float64]
    of_pred: NDArray[np.float64]
    iou: NDArray[np.float64]
    same: NDArray[np.bool_]


def error_budget(evidence: Evidence, dataset: Dataset, rules: RuleSet) -> list[dict[str, Any]]:
    """Where the PQ of each class is lost.

    1 - PQ = (1 - RQ) + RQ * (1 - SQ): what was not found or invented, and how badly the found was drawn. The first part is a sum over false
    negatives and false positives, each of which takes 0.5 / (TP + FP/2 + FN/2); they are sorted by cause:

    - `wrong_class`: it matches a segment of another class, IoU above 0.5.
    - `split`: several predictions of the class lie in one ground-truth segment, each by more than half of itself, and cover more than half
    of
      it together.
    - `merged`: one prediction of the class covers more than half of each of several ground-truth segments of the class.
    - `imprecise`: a segment of the class covers at least a tenth of it, or the other way round.
    - `missed` (ground truth), `hallucinated` (prediction): none of these.

    Returns:
        One row per class that counts, in index order: `id`, `name`, `pq`, `loss` = 1 - PQ, `recognition` = 1 - RQ, `segmentation` = RQ *
        (1 -
        SQ), and for each cause its part of `recognition` as `miss_<cause>` and `false_<cause>`, which sum to it.
    """
    scene, matches, chosen = _matched(evidence, dataset, rules)
    totals = class_totals(scene, matches, dataset.num_classes, chosen)
    values = quality(totals, chosen)
    misses, false = causes(scene, matches)
    weight = totals.tp + 0.5 * totals.fp + 0.5 * totals.fn
    rows = []
    for index in np.flatnonzero(totals.present).tolist():
        label = dataset.evaluated[index]
        row: dict[str, Any] = {"id": label.id, "name": label.name, "pq": float(values.pq[index]), "loss": 1 - float(values.pq[index])}
        row["recognition"] = 1 - float(values.rq[index])
        row["segmentation"] = float(values.rq[index] * (1 - values.sq[index]))
        for prefix, side, wrong, kinds, names in (
            ("miss", scene.gt, matches.missed, misses, MISSES),
            ("false", scene.pred, matches.false, false, FALSE),
        ):
            numbers = np.bincount(kinds[wrong & (side.label == index)], minlength=len(names))
            row |= {f"{prefix}_{name}": float(0.5 * number / weight[index]) for name, number in zip(names, numbers.tolist(), strict=True)}
        rows.append(row)
    return rows


def _matched(evidence: Evidence, dataset: Dataset, rules: RuleSet) -> tuple[Scene, Matches, PanopticRules]:
    chosen: PanopticRules = rules.rules
    scene = replace(panoptic_matching.scene(evidence), boundaries=None)
    if chosen.stuff == "merged":
        scene = panoptic_matching.merged_stuff(scene, dataset)
    return scene, panoptic_matching.match(scene, panoptic_matching.chosen_areas(scene.gt, chosen), chosen, dataset), chosen


def causes(scene: Scene, matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cause of every error: int64[G], positions in MISSES, and int64[P], positions in FALSE; meaningless where nothing is wrong."""
    meet = _meetings(scene)
    gt_size, pred_size = len(scene.gt), len(scene.pred)

    def any_of(rows: NDArray, chosen: NDArray, size: int) -> NDArray[np.bool_]:
        found = np.zeros(size, bool)
        found[rows[chosen]] = True
        return found

    inside = meet.same & (meet.of_pred > 0.5)
    parts = np.bincount(meet.gt[inside], minlength=gt_size)
    covered = np.bincount(meet.gt[inside], meet.of_gt[inside], minlength=gt_size)
    split = (parts > 1) & (covered > 0.5)
    swallowed = meet.same & (meet.of_gt > 0.5)
    merged = np.bincount(meet.pred[swallowed], minlength=pred_size) > 1
    other = ~meet.same & (meet.iou > 0.5)
    near = meet.same & (np.maximum(meet.of_gt, meet.of_pred) >= SOME)
    # the last assignment wins: causes from the weakest to the strongest
    found = []
    for rows, size, is_split, is_merged in (
        (meet.gt, gt_size, split, any_of(meet.gt, swallowed & merged[meet.pred], gt_size)),
        (meet.pred, pred_size, any_of(meet.pred, inside & split[meet.gt], pred_size), merged),
    ):
        cause = np.zeros(size, np.int64)
        cause[any_of(rows, near, size)] = MISSES.index("imprecise")
        cause[is_merged] = MISSES.index("merged")
        cause[is_split] = MISSES.index("split")
        cause[any_of(rows, other, size)] = MISSES.index("wrong_class")
        found.append(cause)
    return found[0], found[1]


def _meetings(scene: Scene) -> _Meetings:
    gt, pred, pairs = scene.gt, scene.pred, scene.pairs
    void = np.zeros(len(pred), np.int64)
    on_void = (pairs.gt == NONE) & (pairs.pred >= 0)
    void[pairs.pred[on_void]] = pairs.pixels[on_void]
    both = (pairs.gt >= 0) & (pairs.pred >= 0)
    g, p, pixels = pairs.gt[both], pairs.pred[both], pairs.pixels[both]
    apart = ~gt.crowd[g]
    g, p, pixels = g[apart], p[apart], pixels[apart]
    union = gt.area[g] + pred.area[p] - pixels - void[p]
    return _Meetings(g, p, pixels / gt.area[g], pixels / pred.area[p], pixels / union, gt.label[g] == pred.label[p])


def by_size(
    evidence: Evidence, dataset: Dataset, rules: RuleSet, ranges: Mapping[str, tuple[int, int]] = SIZES
) -> dict[str, dict[str, float | None]]:
    """PQ, SQ and RQ of segments of some sizes: a match and a miss have the size of the ground truth, a false positive its own.

    Args:
        ranges: Name to (from, below) in pixels of area.

    Returns:
        For each range `pq`, `sq`, `rq`, means over the classes that have such segments (None where there are none), and `tp`, `fp`, `fn`.
    """
    scene, matches, chosen = _matched(evidence, dataset, rules)
    found: dict[str, dict[str, float | None]] = {}
    for name, (low, high) in ranges.items():
        gt, pred = (_between(side, low, high) for side in (scene.gt, scene.pred))
        kept = gt[matches.gt]
        part = Matches(
            matches.gt[kept],
            matches.pred[kept],
            matches.iou[kept],
            matches.counted[gt[matches.counted]],
            matches.missed & gt,
            matches.false & pred,
        )
        totals = class_totals(scene, part, dataset.num_classes, chosen)
        values = quality(totals, chosen)
        everything = np.ones(dataset.num_classes, bool)
        found[name] = {key: defined(mean_of(getattr(values, key), everything)) for key in ("pq", "sq", "rq")}
        found[name] |= {key: int(getattr(totals, key).sum()) for key in ("tp", "fp", "fn")}
    return found


def _between(side: Side, low: int, high: int) -> NDArray[np.bool_]:
    return (side.area >= low) & (side.area < high)


def semantic_evidence(evidence: Evidence) -> Evidence:
    """The `pixels` table of the semantic task: what a panoptic prediction is worth as a label map.

    Every segment gives its class to its pixels, crowds too; void is void. Ids that no table lists are void as well.
    """
    classes = evidence.num_classes
    table, overlaps = evidence.rows("segments"), evidence.rows("overlaps")
    labels = []
    for side, name in ((0, "gt"), (1, "pred")):
        rows = table["side"] == side
        first = np.searchsorted(table["image"][rows], np.arange(len(evidence.images)))
        of_segment = np.append(table["class"][rows].astype(np.int64), classes)
        local = overlaps[name].astype(np.int64)
        labels.append(np.where(local > 0, of_segment[np.where(local > 0, first[overlaps["image"]] + local - 1, -1)], classes))
    size = classes + 1
    keys = (overlaps["image"].astype(np.int64) * size + labels[0]) * size + labels[1]
    distinct, at = np.unique(keys, return_inverse=True)
    pixels = np.zeros(len(distinct), np.int64)
    np.add.at(pixels, at, overlaps["pixels"])
    rows_of: evidences.Table = {
        "image": (distinct // size**2).astype(np.int32),
        "gt": (distinct // size % size).astype(np.int32),
        "pred": (distinct % size).astype(np.int32),
        "pixels": pixels,
    }
    return evidences.Evidence("semantic", classes, evidence.images, {"pixels": rows_of})


def suspicions(evidence: Evidence, dataset: Dataset) -> list[str]:
    """Sentences about evidence that looks like a mistake."""
    scene = panoptic_matching.scene(evidence)
    gt, pred = scene.gt, scene.pred
    found = []
    stuff = np.array([thing is False for thing in dataset.isthing], bool)
    keys = (pred.image * dataset.num_classes + pred.label)[stuff[pred.label]]
    extra = len(keys) - len(np.unique(keys))
    if extra:
        found.append(
            f"{counted(extra, 'predicted stuff segment')} beside another one of the same class and image: each extra one counts as false; "
            "merge stuff before writing"
        )
    crowds = (gt.image * dataset.num_classes + gt.label)[gt.crowd]
    several = len(crowds) - len(np.unique(crowds))
    if several:
        found.append(
            f"{counted(several, 'crowd')} beside another one of the same class and image: only the last one forgives false positives, as "
            "in panopticapi; coco-panoptic-corrected uses all"
        )
    wrong = int(panoptic_matching.wrongly_stated(gt).sum())
    if wrong:
        found.append(f"the ground truth states a wrong area for {wrong} of {counted(len(gt), 'segment')}; panopticapi believes it")
    odd = int(stuff[gt.label[gt.crowd]].sum())
    if odd:
        found.append(f"{counted(odd, 'crowd')} of stuff classes, which have no crowds: is isthing right?")
    labelled = scene.pairs.gt >= 0
    lost, whole = (int(scene.pairs.pixels[rows].sum()) for rows in (labelled & (scene.pairs.pred == NONE), labelled))
    if lost > 0.5 * whole:
        found.append(f"{100 * lost / whole:.0f} % of the labelled pixels are predicted as void: are segments missing?")
    return found
