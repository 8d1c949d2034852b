"""From evidence to matches and curves under a rule set: a pure function of overlaps, areas and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.errors import ComparabilityError, ConfigError, InputError
from segbench.evidence import Evidence, Table
from segbench.instances import BOXED, CROWD, IGNORE, NEGATIVE, NO_ID, NOT_EXHAUSTIVE
from segbench.kernels import matching
from segbench.metrics.instance.pairs import pair_table
from segbench.protocols.instance import InstanceRules

RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detections matched, for every area range and IoU threshold.

    Attributes:
        order: int64[D']: detections that count, by class, best score first; of equal scores the earlier image, then the earlier row.
        starts: int64[K + 1]: those of class k are `order[starts[k]:starts[k + 1]]`.
        ranks: int32[D], place among those of the same image and class; a detection that does not count has the largest int32.
        rows: int32[D], row in `matched` and `ignored`, ascending along `order`; -1 where the detection overlaps no ground truth enough.
        matched, ignored: uint64[S, A], bit t is threshold t.
        outside: uint8[D, A], whether the detection is ignored where it matches nothing.
        gt_ignored: uint8[G, A].
        num_gt: int64[K, A], ground truths that count.
        det_gt: int64[S, A, T], the matched ground truth's row, -1 without; or of no size where not asked for.
        gt_det: int64[G, A, T], the detection that matched it last, -1 without; or of no size.
        detections: int64[S], the detection of each row of `matched`.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    ranks: NDArray[np.int32]
    rows: NDArray[np.int32]
    matched: NDArray[np.uint64]
    ignored: NDArray[np.uint64]
    outside: NDArray[np.uint8]
    gt_ignored: NDArray[np.uint8]
    num_gt: NDArray[np.int64]
    det_gt: NDArray[np.int64]
    gt_det: NDArray[np.int64]
    detections: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curves:
    """What COCOeval calls `eval`: -1 where a class has no ground truth in an area range.

    Attributes:
        precision: float64[T, R, K, A, M], interpolated: IoU threshold, recall threshold, class, area range, number of detections.
        recall: float64[T, K, A, M], the recall reached.
        scores: float64[T, R, K, A, M], the score at which each recall is reached.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    scores: NDArray[np.float64]


def classes_of(evidence: Evidence, rules: InstanceRules) -> int:
    """Number of classes that are scored by themselves."""
    return 1 if rules.categories == "together" else evidence.num_classes


def detection_areas(table: Table, family: str, rules: InstanceRules) -> NDArray[np.float64]:
    """float64[D]: the area that decides whether an unmatched detection is ignored."""
    box = table["box"]
    box_area = box[:, 2] * box[:, 3]
    mask_area = table["mask_area"]
    if rules.detection_area == "mask":
        return np.where(mask_area >= 0, mask_area, box_area)
    drawn = np.where((mask_area < 0) | ((table["flags"] & BOXED) > 0), box_area, mask_area)
    return np.where(table["area"] >= 0, table["area"], drawn)


def truth_areas(table: Table, rules: InstanceRules) -> NDArray[np.float64]:
    """float64[G]: the area that decides a ground truth's range: the stated one, else the mask's, else the box's."""
    box = table["box"]
    drawn = np.where(table["mask_area"] >= 0, table["mask_area"], box[:, 2] * box[:, 3])
    return np.where(table["area"] >= 0, table["area"], drawn) if rules.truth_area == "stated" else drawn


def match(evidence: Evidence, family: str, rules: InstanceRules, partners: bool = False) -> Matches:
    """Matches the detections of every image and class.

    Args:
        partners: Also say which ground truth each detection matched.

    Raises:
        ComparabilityError: the evidence was collected for higher thresholds, or for each class by itself.
        InputError: SB120: two annotations share an id, where the rules refuse that.
    """
    _check_rules(rules)
    _check(evidence, family, rules)
    detections, truths = evidence.rows("detections"), evidence.rows("ground_truths")
    together = rules.categories == "together"
    category = np.zeros_like(detections["category"]) if together else detections["category"]
    gt_category = np.zeros_like(truths["category"]) if together else truths["category"]
    num_classes = classes_of(evidence, rules)
    low, high = (np.array([getattr(area, end) for area in rules.area_ranges]) for end in ("low", "high"))

    areas = detection_areas(detections, family, rules)[:, None]
    outside = (areas < low) | (areas > high)
    gt_areas = truth_areas(truths, rules)[:, None]
    left_out = rules.empty == "left_out"
    counted, there = (side[:, 0] > 0 if left_out else np.ones(len(side), bool) for side in (areas, gt_areas))
    if rules.federated:
        absent_or_annotated, not_exhaustive = _federated(evidence, num_classes, there)
        counted &= absent_or_annotated
        outside |= not_exhaustive[:, None]
    if rules.per_image is not None:
        counted &= _best_of_image(detections, len(evidence.images), rules.per_image)
    flags = truths["flags"]
    hidden = {"crowd": CROWD, "crowd_or_flag": CROWD | IGNORE, "flag": IGNORE}[rules.ignored]
    gt_ignored = ((flags & hidden) > 0)[:, None] | (gt_areas < low) | (gt_areas > high) | ~there[:, None]
    num_gt = np.stack([np.bincount(gt_category[~gt_ignored[:, area]], minlength=num_classes) for area in range(len(low))], 1)

    order, starts = _by_class_and_score(detections, category, counted, num_classes, together)
    ranks = np.full(len(category), np.iinfo(np.int32).max, np.int32)
    scratch = np.full(len(evidence.images), -1, np.int64), np.zeros(len(evidence.images), np.int64)
    matching.rank_in_groups(order, category, detections["image"], *scratch, ranks)

    entries, pair_starts, pair_stops, pair_gt, pair_iou = _pairs(evidence, family, order, ranks, rules, there)
    keep = len(entries) if partners else 0
    shape = len(low), len(rules.iou_thresholds) if partners else 0
    matched, ignored = (np.empty((len(entries), len(low)), np.uint64) for _ in range(2))
    det_gt = np.full((keep, *shape), -1, np.int64)
    gt_det = np.full((len(flags) if partners else 0, *shape), -1, np.int64)
    matching.match_pairs(
        *(entries, pair_starts, pair_stops, pair_gt, pair_iou),
        np.minimum(np.array(rules.iou_thresholds), 1 - 1e-10),
        gt_ignored.astype(np.uint8),
        (flags & CROWD if rules.crowds == "many" else np.zeros_like(flags)).astype(np.uint8),
        ((truths["id"] == 0) & (rules.id_zero == "unmatched")).astype(np.uint8),
        int(partners),
        np.zeros((len(flags), len(low)), np.uint64),
        *(matched, ignored, det_gt, gt_det),
    )
    if partners:
        gt_det = np.where(gt_det >= 0, entries[np.maximum(gt_det, 0)] if len(entries) else -1, -1)
    rows = np.full(len(category), -1, np.int32)
    rows[entries] = np.arange(len(entries))
    return Matches(
        *(order, starts, ranks, rows, matched, ignored, outside.astype(np.uint8), gt_ignored.astype(np.uint8), num_gt, det_gt, gt_det),
        entries,
    )


def curves(matches: Matches, scores: NDArray[np.float64], rules: InstanceRules, recall_thresholds: NDArray = RECALL_THRESHOLDS) -> Curves:
    """Precision over recall of every class, area range, IoU threshold and number of detections; equal to the bit to COCOeval.

    Source: `COCOeval.accumulate` of pycocotools.
    """
    num_thresholds, num_recalls = len(rules.iou_thresholds), len(recall_thresholds)
    num_classes, num_areas = matches.num_gt.shape
    limits = np.array(rules.max_detections or (rules.most,), np.int64)
    shape = num_classes, num_areas, len(limits)
    precision = np.full((num_thresholds, num_recalls, *shape), -1.0)
    recall = np.full((num_thresholds, *shape), -1.0)
    at_scores = np.full((num_thresholds, num_recalls, *shape), -1.0)
    near = np.flatnonzero(matches.rows[matches.order] >= 0)
    near_starts = np.searchsorted(near, matches.starts)
    scratch = num_thresholds, int(np.diff(near_starts).max(initial=0)) + 1
    matching.accumulate_curves(
        *(matches.starts, matches.order, near, near_starts, matches.ranks[matches.detections], matches.ranks, scores),
        *(matches.matched, matches.ignored, matches.outside[matches.detections], matches.outside, matches.num_gt, limits),
        np.ascontiguousarray(recall_thresholds, np.float64),
        *(np.empty((num_areas, len(limits), scratch[1]), np.int64), *np.empty((2, num_thresholds), np.int64)),
        *(np.empty(scratch), np.empty(scratch, np.int64)),
        *(precision, recall, at_scores),
    )
    return Curves(precision, recall, at_scores)


def _check_rules(rules: InstanceRules) -> None:
    if rules.matching != "by_score":
        raise ConfigError(
            "these rules match by overlap alone, and have no single partner of each detection",
            hint="score the run by coco: result.rescore('coco')",
        )


def _check(evidence: Evidence, family: str, rules: InstanceRules) -> None:
    if pair_table(family) not in evidence.tables:
        raise InputError(f"this run did not compare {family}", hint=f"evaluate again with --metrics '{family}/*'")
    collected = evidence.rows("collected")
    lowest = min(rules.iou_thresholds)
    if len(collected["floor"]) and collected["floor"].max() > lowest:
        raise ComparabilityError(
            f"the evidence holds overlaps of IoU {collected['floor'].max():g} and more; a threshold of {lowest:g} needs lower ones",
            hint="evaluate again with --iou-thresholds",
        )
    if rules.categories == "together" and not collected["cross"].all():
        raise ComparabilityError(
            "the evidence holds no overlaps between categories, which these rules need",
            hint="evaluate again with --protocol class-agnostic",
        )
    if rules.repeated_ids == "refused":
        ids = np.sort(evidence.rows("ground_truths")["id"])
        ids = ids[ids != NO_ID]
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            raise InputError(
                f"two annotations of the ground truth have the id {repeated[0]}; pycocotools then scores one of them twice",
                count=len(repeated),
                hint="give every annotation its own id, or pass --protocol coco-corrected",
                code="SB120",
            )


def _by_class_and_score(
    detections: Table, category: NDArray, counted: NDArray[np.bool_], num_classes: int, together: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Detections that count by class, then score; stable, as the order of ties decides."""
    if together:
        # the reference lists an image's detections by category before it sorts them by score
        rows = np.lexsort((detections["category"], detections["image"]))
    else:
        small = category.astype(np.int16) if num_classes < 2**15 else category
        rows = np.argsort(small, kind="stable")
    rows = rows[counted[rows]]
    starts = np.searchsorted(category[rows], np.arange(num_classes + 1)).astype(np.int64)
    scores = -detections["score"][rows]
    order = np.empty(len(rows), np.int64)
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if stop > start:
            order[start:stop] = rows[start:stop][np.argsort(scores[start:stop], kind="stable")]
    return order, starts


def _pairs(
    evidence: Evidence, family: str, order: NDArray[np.int64], ranks: NDArray[np.int32], rules: InstanceRules, there: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Detections that have pairs with ground truth that is there, in `order`; where they start and stop; ground truth and IoU of each."""
    table = evidence.rows(pair_table(family))
    image = table["image"]
    detection = evidence.starts("detections")[image] + table["detection"]
    truth = evidence.starts("ground_truths")[image] + table["gt"]
    union = table["union"] if rules.crowds == "many" else _plain_unions(evidence, family, detection, truth)
    iou = table["intersection"] / union
    gt_category = evidence.rows("ground_truths")["category"]
    if not there.all():
        detection, truth, iou = (column[there[truth]] for column in (detection, truth, iou))
    if rules.categories == "together":
        by_category = np.lexsort((truth, gt_category[truth], detection))
        detection, truth, iou = detection[by_category], truth[by_category], iou[by_category]
    elif evidence.rows("collected")["cross"].any():
        same = evidence.rows("detections")["category"][detection] == gt_category[truth]
        detection, truth, iou = detection[same], truth[same], iou[same]
    first = np.searchsorted(detection, np.arange(len(ranks) + 1))
    has = np.zeros(len(ranks), bool)
    has[detection] = True
    has &= ranks < rules.most
    entries = order[has[order]]
    return entries, first[entries].astype(np.int64), first[entries + 1].astype(np.int64), truth.astype(np.int64), iou


def _plain_unions(evidence: Evidence, family: str, detection: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray:
    """Unions of pairs where crowds are as any other; those of the evidence are the detection's area."""
    table, detections, truths = (evidence.rows(name) for name in (pair_table(family), "detections", "ground_truths"))
    crowd = (truths["flags"][truth] & CROWD) > 0
    if family == "bbox":
        areas = [side["box"][:, 2] * side["box"][:, 3] for side in (detections, truths)]
    else:
        areas = [side["mask_area"] for side in (detections, truths)]
    return np.where(crowd, areas[0][detection] + areas[1][truth] - table["intersection"], table["union"])


def _best_of_image(detections: Table, num_images: int, most: int) -> NDArray[np.bool_]:
    """The best-scored detections of each image; of equal scores the earlier row."""
    image = detections["image"]
    if np.bincount(image, minlength=1).max(initial=0) <= most:
        return np.ones(len(image), bool)
    order = np.lexsort((-detections["score"], image))
    place = np.empty(len(image), np.int64)
    place[order] = np.arange(len(image)) - np.searchsorted(image, image[order])
    return place < most


def _federated(evidence: Evidence, num_classes: int, there: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per detection: whether its category is annotated in the image or known to be absent; whether not all its instances are annotated."""
    detections, truths, known = (evidence.rows(name) for name in ("detections", "ground_truths", "image_categories"))

    def keys(table: Table) -> NDArray[np.int64]:
        return table["image"].astype(np.int64) * num_classes + table["category"]

    mine = keys(detections)
    listed = keys(known)
    verified = np.concatenate((keys(truths)[there], listed[known["kind"] == NEGATIVE]))
    return np.isin(mine, verified), np.isin(mine, listed[known["kind"] == NOT_EXHAUSTIVE])
