"""Which segments match: from the rows of the evidence, under any rules, to one IoU per matched pair and the counts per image and class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import SHOWN, InputError, counted
from segbench.evidence import Evidence
from segbench.metrics.panoptic.segments import INTERIOR, UNLISTED, VOID
from segbench.protocols.panoptic import PanopticRules

NONE = -1
"""In place of a segment's row: void."""

LOST = -2
"""In place of a segment's row: an id that is not listed."""

INSIDE = -3
"""In place of a segment's row: of boundaries, the inside of any segment."""


@dataclass(frozen=True, eq=False)
class Side:
    """The segments of one side, by image, then as the table listed them.

    Attributes:
        image: int64[S].
        segment: int64[S], ids.
        label: int64[S], class indices.
        area: int64[S], pixels.
        crowd: bool[S].
        stated: int64[S], the area the table states; -1 none, -2 one that is no number of pixels.
    """

    image: NDArray[np.int64]
    segment: NDArray[np.int64]
    label: NDArray[np.int64]
    area: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    stated: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image)

    def select(self, keep: NDArray) -> Side:
        """Some of the segments."""
        return Side(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Segments that meet: rows of both sides (or NONE, LOST, INSIDE), and how many pixels they share."""

    gt: NDArray[np.int64]
    pred: NDArray[np.int64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scene:
    """The segments of both sides of all images, and the pairs that meet."""

    num_images: int
    gt: Side
    pred: Side
    pairs: Pairs
    boundaries: Pairs | None = None


@dataclass(frozen=True, eq=False)
class Matches:
    """What matched, in the order in which IoUs are added.

    Attributes:
        gt, pred: int64[M], rows of the matched segments.
        iou: float[M].
        counted: int64[], rows of the ground-truth segments that count as true positives: those of `gt`, or, of stuff that scores by any
            IoU, all of them.
        missed: bool[G], ground-truth segments that count as false negatives.
        false: bool[P], predicted segments that count as false positives.
    """

    gt: NDArray[np.int64]
    pred: NDArray[np.int64]
    iou: NDArray[np.floating]
    counted: NDArray[np.int64]
    missed: NDArray[np.bool_]
    false: NDArray[np.bool_]


def scene(evidence: Evidence) -> Scene:
    """The evidence with every overlap referring to rows of segments."""
    table = evidence.rows("segments")
    sides, starts = [], []
    for side in (0, 1):
        rows = table["side"] == side
        column = {name: values[rows].astype(np.int64) for name, values in table.items()}
        sides.append(
            Side(column["image"], column["segment"], column["class"], column["area"], column["crowd"].astype(bool), column["stated"])
        )
        starts.append(np.searchsorted(column["image"], np.arange(len(evidence.images))))
    found = {}
    for name in ("overlaps", "boundary_overlaps"):
        if name in evidence.tables:
            rows = evidence.tables[name]
            gt, pred = (_rows(rows[key], rows["image"], first) for key, first in zip(("gt", "pred"), starts, strict=True))
            found[name] = Pairs(gt, pred, rows["pixels"].astype(np.int64))
    return Scene(len(evidence.images), sides[0], sides[1], found["overlaps"], found.get("boundary_overlaps"))


def _rows(local: NDArray, image: NDArray, first: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = first[image] + local - 1
    for code, special in ((VOID, NONE), (UNLISTED, LOST), (INTERIOR, INSIDE)):
        rows[local == code] = special
    return rows


def check_areas(scene: Scene, evidence: Evidence) -> None:
    """Refuses ground truth whose table states areas that the pixels contradict.

    Raises:
        InputError: SB155, with the first ones and how many there are.
    """
    gt = scene.gt
    rows = np.flatnonzero(wrongly_stated(gt))
    if not len(rows):
        return
    shown = []
    for row in rows[:SHOWN]:
        said = str(gt.stated[row]) if gt.stated[row] >= 0 else "no whole number"
        shown.append(("image", f"{evidence.images.ids[gt.image[row]]}, segment {gt.segment[row]}: {said} stated, {gt.area[row]} pixels"))
    raise InputError(
        f"the ground truth states a wrong area for {len(rows)} of {counted(len(gt), 'segment')}",
        files=shown,
        count=len(rows),
        hint="--protocol coco-panoptic-corrected counts the pixels; --protocol panopticapi believes the file, as panopticapi does, and can "
        "print a PQ above 100",
        code="SB155",
    )


def wrongly_stated(gt: Side) -> NDArray[np.bool_]:
    """Which segments state an area that the pixels contradict."""
    return (gt.stated != -1) & (gt.stated != gt.area)


def chosen_areas(gt: Side, rules: PanopticRules) -> NDArray[np.int64]:
    """int64[G], the areas that the rules take the ground-truth segments to have.

    Raises:
        InputError: SB155, areas that are no numbers of pixels and are to be believed.
    """
    if rules.stated_areas == "trust" and (broken := int((gt.stated < -1).sum())):
        raise InputError(
            f"the ground truth states an area that is no whole number for {broken} of {counted(len(gt), 'segment')}",
            count=broken,
            hint="it cannot be believed; --protocol coco-panoptic-corrected counts the pixels",
            code="SB155",
        )
    return np.where(gt.stated >= 0, gt.stated, gt.area) if rules.stated_areas == "trust" else gt.area


def merged_stuff(scene: Scene, dataset: Dataset) -> Scene:
    """All segments of a stuff class in an image made one, on either side. Crowds stay apart; boundaries are dropped."""
    isstuff = np.array([thing is False for thing in dataset.isthing], bool)
    (gt, gt_rows), (pred, pred_rows) = (_merged(side, isstuff) for side in (scene.gt, scene.pred))
    pairs = scene.pairs
    kept = (pairs.gt >= 0) | (pairs.pred >= 0)  # void on void belongs to no segment
    g, p = _moved(pairs.gt[kept], gt_rows), _moved(pairs.pred[kept], pred_rows)
    width = len(pred) - INSIDE
    keys, at = np.unique((g - INSIDE) * width + p - INSIDE, return_inverse=True)
    pixels = np.zeros(len(keys), np.int64)
    np.add.at(pixels, at, pairs.pixels[kept])
    return Scene(scene.num_images, gt, pred, Pairs(keys // width + INSIDE, keys % width + INSIDE, pixels))


def _moved(rows: NDArray[np.int64], new_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(rows >= 0, new_rows[np.maximum(rows, 0)], rows) if len(new_rows) else rows


def _merged(side: Side, isstuff: NDArray[np.bool_]) -> tuple[Side, NDArray[np.int64]]:
    """The side with stuff merged, and the new row of every old one."""
    apart = ~isstuff[side.label] | side.crowd
    keys = np.where(apart, np.arange(len(side)), len(side) + side.image * len(isstuff) + side.label)
    _, first, at = np.unique(keys, return_index=True, return_inverse=True)
    area, stated = np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
    np.add.at(area, at, side.area)
    np.add.at(stated, at, np.where(side.stated >= 0, side.stated, side.area))
    return replace(side.select(first), area=area, stated=stated), at


def match(scene: Scene, areas: NDArray[np.int64], rules: PanopticRules, dataset: Dataset) -> Matches:
    """Matched pairs, misses and false positives of all images.

    A pair matches when its classes are equal and its IoU is above one half. The union leaves out the predicted pixels on void. A segment
    without a match is a miss unless it is a crowd; a prediction without one is false unless more than half of it is void or crowd of its
    class. With boundaries, the IoU is the smaller one of mask and boundary.

    Args:
        areas: int64[G], areas of the ground-truth segments, as `chosen_areas` gives.
    """
    gt, pred, pairs = scene.gt, scene.pred, scene.pairs
    crowd = gt.crowd if rules.crowd != "none" else np.zeros(len(gt), bool)
    void_in_pred = _sums(pairs, pairs.pred, pairs.gt == NONE, len(pred))
    void_in_gt = _sums(pairs, pairs.gt, pairs.pred == NONE, len(gt))
    both = (pairs.gt >= 0) & (pairs.pred >= 0)
    g, p, pixels = pairs.gt[both], pairs.pred[both], pairs.pixels[both]
    same = (gt.label[g] == pred.label[p]) & ~crowd[g]
    g, p, pixels = g[same], p[same], pixels[same]
    union = pred.area[p] + areas[g] - pixels - void_in_pred[p]
    if rules.void_prediction == "excluded":
        union = union - void_in_gt[g]
    iou = _ratio(pixels, union, rules)
    if scene.boundaries is not None:
        iou = np.minimum(iou, _boundary_iou(scene, g, p))
    any_iou = np.zeros(len(dataset.isthing), bool)
    if rules.stuff_score == "any":
        any_iou = np.array([thing is False for thing in dataset.isthing], bool)
    matched = np.where(any_iou[gt.label[g]], iou > 0, iou > 0.5)
    g, p, iou = g[matched], p[matched], iou[matched]
    by = (pred.segment[p], gt.segment[g]) if rules.summation == "pairs" else (pred.segment[p], gt.label[g])
    order = np.lexsort((*by, gt.image[g]))
    g, p, iou = g[order], p[order], iou[order]

    missed = ~crowd
    missed[g] = False
    if rules.void_prediction == "excluded":
        missed &= ~(2 * void_in_gt > gt.area)
    false = np.ones(len(pred), bool)
    false[p] = False
    forgiven = void_in_pred + _crowd_pixels(scene, crowd, rules)
    false &= ~(2 * forgiven > pred.area)
    missed &= ~any_iou[gt.label]
    false &= ~any_iou[pred.label]
    counted = np.concatenate((g[~any_iou[gt.label[g]]], np.flatnonzero(any_iou[gt.label] & ~crowd)))
    return Matches(g, p, iou, counted, missed, false)


def _sums(pairs: Pairs, rows: NDArray[np.int64], chosen: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Pixels of the chosen pairs, summed by row."""
    chosen = chosen & (rows >= 0)
    sums = np.zeros(size, np.int64)
    np.add.at(sums, rows[chosen], pairs.pixels[chosen])
    return sums


def _ratio(pixels: NDArray[np.int64], union: NDArray[np.int64], rules: PanopticRules) -> NDArray[np.floating]:
    dtype = np.float32 if rules.arithmetic == "float32" else np.float64
    with np.errstate(divide="ignore", invalid="ignore"):  # stated areas that are wrong can make a union of nothing
        return pixels.astype(dtype) / union.astype(dtype)


def _crowd_pixels(scene: Scene, crowd: NDArray[np.bool_], rules: PanopticRules) -> NDArray[np.int64]:
    """Pixels of each prediction on the crowds of its class."""
    gt, pred, pairs = scene.gt, scene.pred, scene.pairs
    rows = np.flatnonzero(crowd)
    if not len(rows):
        return np.zeros(len(pred), np.int64)
    if rules.crowd == "last":
        keys = np.stack((gt.image[rows], gt.label[rows]), 1)
        _, last = np.unique(keys[::-1], axis=0, return_index=True)
        rows = rows[::-1][last]
    forgiving = np.zeros(len(gt), bool)
    forgiving[rows] = True
    both = (pairs.gt >= 0) & (pairs.pred >= 0)
    both[both] = forgiving[pairs.gt[both]] & (gt.label[pairs.gt[both]] == pred.label[pairs.pred[both]])
    return _sums(pairs, pairs.pred, both, len(pred))


def _boundary_iou(scene: Scene, g: NDArray[np.int64], p: NDArray[np.int64]) -> NDArray[np.float64]:
    """Boundary IoU of pairs of rows."""
    pairs = scene.boundaries
    assert pairs is not None
    gt_area = _sums(pairs, pairs.gt, pairs.gt >= 0, len(scene.gt))
    pred_area = _sums(pairs, pairs.pred, pairs.pred >= 0, len(scene.pred))
    void = _sums(pairs, pairs.pred, pairs.gt == NONE, len(scene.pred))
    both = (pairs.gt >= 0) & (pairs.pred >= 0)
    width = len(scene.pred) + 1
    keys = pairs.gt[both] * width + pairs.pred[both]
    order = np.argsort(keys)
    keys, pixels = keys[order], pairs.pixels[both][order]
    wanted = g * width + p
    shared = np.zeros(len(wanted), np.int64)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        shared = np.where(keys[at] == wanted, pixels[at], 0)
    return shared / (pred_area[p] + gt_area[g] - shared - void[p])
