"""Beyond AP, at one IoU threshold: best F1, precision and recall at given scores, oLRP, calibration. All from evidence."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.evidence import Evidence
from segbench.metrics.instance.matching import Matches, match
from segbench.metrics.instance.pairs import pair_table
from segbench.protocols.instance import InstanceRules

IOU = 0.5
BINS = 10


@dataclass(frozen=True, eq=False)
class Ranked:
    """Detections that count at one IoU threshold, in the first area range and within the most detections per image and class.

    Attributes:
        category: int32[D], class; within a class best score first, of equal scores the earlier.
        scores: float64[D].
        hits: bool[D], true positives.
        ious: float64[D], IoU with the matched ground truth; 0 without.
        rows: int64[D], rows of the evidence's detections.
        num_gt: int64[K], ground truths that count.
    """

    category: NDArray[np.int32]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    ious: NDArray[np.float64]
    rows: NDArray[np.int64]
    num_gt: NDArray[np.int64]


def at_one_threshold(rules: InstanceRules, iou: float = IOU) -> InstanceRules:
    """The rules with one IoU threshold and the first area range."""
    return msgspec.structs.replace(rules, iou_thresholds=(iou,), area_ranges=rules.area_ranges[:1])


def ranked(evidence: Evidence, family: str, rules: InstanceRules, iou: float = IOU) -> Ranked:
    """Matches at one IoU threshold, ignored detections left out."""
    single = at_one_threshold(rules, iou)
    found = match(evidence, family, single, partners=True)
    return ranked_of(evidence, family, single, found)


def ranked_of(evidence: Evidence, family: str, rules: InstanceRules, found: Matches) -> Ranked:
    """The same from matches made with `partners`."""
    rows = found.order[found.ranks[found.order] < rules.most]
    entries = found.rows[rows]
    has = entries >= 0
    hits, hidden = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    hits[has] = found.matched[entries[has], 0] & np.uint64(1) > 0
    hidden[has] = found.ignored[entries[has], 0] & np.uint64(1) > 0
    hidden |= ~hits & (found.outside[rows, 0] > 0)
    ious = np.zeros(len(rows))
    partner = np.full(len(rows), -1, np.int64)
    partner[has] = found.det_gt[entries[has], 0, 0]
    matched = np.flatnonzero(partner >= 0)
    ious[matched] = iou_of(evidence, family, rows[matched], partner[matched])
    kept = np.flatnonzero(~hidden)
    labels = np.repeat(np.arange(len(found.starts) - 1, dtype=np.int32), np.diff(found.starts))
    place = np.empty(len(found.ranks), np.int32)
    place[found.order] = labels
    rows = rows[kept]
    return Ranked(place[rows], evidence.rows("detections")["score"][rows], hits[kept], ious[kept], rows, found.num_gt[:, 0])


def iou_of(evidence: Evidence, family: str, detections: NDArray[np.int64], truths: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of pairs of rows that the evidence holds."""
    table = evidence.rows(pair_table(family))
    size = len(evidence.rows("ground_truths")["image"])
    det = evidence.starts("detections")[table["image"]] + table["detection"]
    gt = evidence.starts("ground_truths")[table["image"]] + table["gt"]
    keys = det * size + gt
    at = np.searchsorted(keys, detections * size + truths)
    return (table["intersection"] / table["union"])[at]


@dataclass(frozen=True)
class BestF1:
    """The score threshold with the largest F1: `score >= threshold` counts."""

    f1: float
    threshold: float
    precision: float
    recall: float


def best_f1(found: Ranked, label: int | None = None) -> BestF1 | None:
    """F1 = 2 TP / (2 TP + FP + FN) at its best score threshold; None without ground truth.

    Of equal values the highest threshold.

    Args:
        label: One class; None: all classes pooled.
    """
    chosen = slice(None) if label is None else found.category == label
    truths = int(found.num_gt.sum() if label is None else found.num_gt[label])
    scores, hits = found.scores[chosen], found.hits[chosen]
    if not truths:
        return None
    order = np.argsort(-scores, kind="stable")
    scores, true = scores[order], np.cumsum(hits[order])
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, len(scores) > 0))
    if not len(ends):
        return BestF1(0.0, float("inf"), float("nan"), 0.0)
    f1 = 2 * true[ends] / (ends + 1 + truths)
    best = int(np.argmax(f1))
    at = ends[best]
    return BestF1(float(f1[best]), float(scores[at]), float(true[at] / (at + 1)), float(true[at] / truths))


def at_scores(found: Ranked, thresholds: float | NDArray[np.float64]) -> dict[str, NDArray]:
    """TP, FP, FN, precision, recall and F1 of each class where only detections with `score >= threshold` count.

    Args:
        thresholds: One number, or one per class.
    """
    count = len(found.num_gt)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), count)
    kept = found.scores >= limits[found.category]
    true = np.bincount(found.category[kept & found.hits], minlength=count)
    false = np.bincount(found.category[kept & ~found.hits], minlength=count)
    missed = found.num_gt - true
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = true / (true + false), true / found.num_gt, 2 * true / (2 * true + false + missed)
    return {"tp": true, "fp": false, "fn": missed, "precision": precision, "recall": recall, "f1": f1}


def olrp(found: Ranked, iou: float = IOU) -> NDArray[np.float64]:
    """Optimal localisation-recall-precision error of each class, in [0, 1], lower is better; NaN without ground truth.

    LRP(s) = (sum over TP of (1 - IoU) / (1 - iou) + FP + FN) / (TP + FP + FN) over detections with score >= s; the least of all s.

    Source: Oksuz et al., ECCV 2018.
    """
    values = np.full(len(found.num_gt), np.nan)
    for label in np.flatnonzero(found.num_gt).tolist():
        chosen = found.category == label
        scores, hits, ious = found.scores[chosen], found.hits[chosen], found.ious[chosen]
        error = np.cumsum(np.where(hits, (1 - ious) / (1 - iou), 1.0))
        true, count = np.cumsum(hits), np.arange(1, len(hits) + 1)
        missed = found.num_gt[label] - true
        lrp = (error + missed) / (count + missed)
        ends = np.append(np.diff(scores) != 0, True)[: len(scores)]
        values[label] = min(1.0, float(lrp[ends].min(initial=1.0)))
    return values


@dataclass(frozen=True, eq=False)
class Calibration:
    """Reliability of scores.

    Attributes:
        edges: float64[B + 1], bins of the score; a bin holds its upper edge.
        count: int64[B], detections. score: float64[B], their mean score, NaN without any. precision: float64[B], their share of TP.
        ece: Sum over bins of share * |mean score - precision|; NaN without detections.
        mce: The largest of these differences.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    score: NDArray[np.float64]
    precision: NDArray[np.float64]
    ece: float
    mce: float


def calibration(found: Ranked, bins: int = BINS) -> Calibration:
    """How far scores are from precision. Scores outside [0, 1] fall into the outer bins.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, found.scores, "left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        score = np.bincount(place, found.scores, bins) / count
        precision = np.bincount(place, found.hits, bins) / count
    gap = np.abs(score - precision)
    filled = count > 0
    ece = float((gap[filled] * count[filled]).sum() / count.sum()) if filled.any() else float("nan")
    return Calibration(edges, count, score, precision, ece, float(gap[filled].max()) if filled.any() else float("nan"))


def summary(evidence: Evidence, family: str, rules: InstanceRules) -> dict[str, float]:
    """best_f1, olrp and ece of a family, by metric id; NaN where undefined."""
    found = ranked(evidence, family, rules)
    best = best_f1(found)
    errors = olrp(found)
    return {
        f"{family}/best_f1": best.f1 if best else np.nan,
        f"{family}/olrp": float(np.nanmean(errors)) if np.isfinite(errors).any() else np.nan,
        f"{family}/ece": calibration(found).ece,
    }
