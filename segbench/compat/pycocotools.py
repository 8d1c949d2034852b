"""A drop-in for `pycocotools.cocoeval.COCOeval`: the same constructor, parameters, arrays and numbers, computed by segbench.

    from segbench.compat.pycocotools import COCOeval

Equal to the bit for `segm` and `bbox`, and to boundary-iou-api for `boundary`. What it does not copy: a damaged mask is an error instead of
uninitialised memory, a mask of another size than its image is an error instead of an AP of 0, a NaN score is an error, `summarize` works
with any area ranges and numbers of detections, and `accumulate(p)` with other images or categories evaluates those.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance.coco_masks import COUNTS, counts_of_polygons, counts_of_runs, decode, packed_counts
from segbench.errors import ConfigError, FormatError
from segbench.evidence import Evidence
from segbench.instances import CROWD, IGNORE, InstanceBatch
from segbench.metrics.instance.matching import Matches, curves, match
from segbench.metrics.instance.pairs import evidence_of
from segbench.protocols.instance import AREA_RANGES, MAX_THRESHOLDS, AreaRange, Family, InstanceRules

IOU_TYPES = ("segm", "bbox", "boundary")


class Params:
    """The parameters of an evaluation, under the names that pycocotools gives them."""

    def __init__(self, iouType: str = "segm") -> None:
        if iouType not in IOU_TYPES:
            raise ConfigError(f"iouType {iouType!r} is not supported", hint=f"one of {', '.join(IOU_TYPES)}")
        self.iouType = iouType
        self.imgIds: list = []
        self.catIds: list = []
        self.iouThrs = np.linspace(0.5, 0.95, 10)
        self.recThrs = np.linspace(0.0, 1.0, 101)
        self.maxDets = [1, 10, 100]
        self.areaRng = [[area.low, area.high] for area in AREA_RANGES]
        self.areaRngLbl = [area.name for area in AREA_RANGES]
        self.useCats = 1
        self.useSegm: int | None = None

    def _key(self) -> tuple:
        """What `evaluate` depends on."""
        ranges = tuple(tuple(map(float, area)) for area in self.areaRng)
        lists = (tuple(np.asarray(values).tolist()) for values in (self.imgIds, self.catIds, self.iouThrs, self.maxDets))
        return self.iouType, bool(self.useCats), ranges, *lists


class COCOeval:
    """Evaluates detections; see the module.

    Attributes:
        params: `Params`; change them before `evaluate`.
        evalImgs: After `evaluate`, one dict per category, area range and image, or None; made when it is first asked for.
        ious: After `evaluate`, {(image id, category id): IoUs of detections and ground truths}; made when it is first asked for.
        eval: After `accumulate`: `precision`, `recall`, `scores`, `params`, `counts`, `date`.
        stats: After `summarize`: the numbers it printed.
    """

    def __init__(self, cocoGt: Any = None, cocoDt: Any = None, iouType: str = "segm", dilation_ratio: float = 0.02) -> None:
        if dilation_ratio != 0.02:
            raise ConfigError("the dilation ratio of boundaries is 0.02")
        self.cocoGt = cocoGt
        self.cocoDt = cocoDt
        self.params = Params(iouType)
        self.eval: dict[str, Any] = {}
        self.stats: Any = []
        self._evidence: Evidence | None = None
        self._evaluated: tuple = ()
        self._anns: tuple[list[dict], list[dict]] = ([], [])
        self._images: list[dict] | None = None
        self._ious: dict | None = None
        if cocoGt is not None:
            self.params.imgIds = sorted(cocoGt.getImgIds())
            self.params.catIds = sorted(cocoGt.getCatIds())

    def evaluate(self) -> None:
        """Compares detections and ground truth of the chosen images and categories."""
        params = self.params
        if params.useSegm is not None:
            params.iouType = "segm" if params.useSegm == 1 else "bbox"
        if params.iouType not in IOU_TYPES:
            raise ConfigError(f"iouType {params.iouType!r} is not supported", hint=f"one of {', '.join(IOU_TYPES)}")
        thresholds = np.asarray(params.iouThrs, float)
        if not 0 < len(thresholds) <= MAX_THRESHOLDS or thresholds.min() <= 0:
            raise ConfigError(f"iouThrs are 1 to {MAX_THRESHOLDS} numbers above 0")
        params.imgIds = list(np.unique(params.imgIds))
        if params.useCats:
            params.catIds = list(np.unique(params.catIds))
        params.maxDets = sorted(params.maxDets)
        gts, dts = self._loaded()
        gt, pred = self._batch(gts, True), self._batch(dts, False)
        floor = min(float(thresholds.min()), 1 - 1e-10)
        family: Family = params.iouType  # type: ignore[assignment]
        self._evidence = evidence_of(pred, gt, (family,), max(1, len(params.catIds)), floor, not params.useCats)
        self._anns = gts, dts
        self._evaluated = params._key()
        self._images = self._ious = None
        self.eval = {}

    def accumulate(self, p: Params | None = None) -> None:
        """Precision over recall of what was evaluated."""
        if self._evidence is None:
            raise ConfigError("there is nothing to accumulate", hint="call evaluate() first")
        params = self.params if p is None else p
        if params._key() != self._evaluated:
            kept, self.params = self.params, params
            self.evaluate()
            self.params = kept
        rules = _rules(params)
        matches = match(self._evidence, params.iouType, rules)
        found = curves(matches, self._evidence.rows("detections")["score"], rules, np.asarray(params.recThrs, float))
        self.eval = {
            "params": params,
            "counts": list(found.precision.shape),
            "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "precision": found.precision,
            "recall": found.recall,
            "scores": found.scores,
        }

    def summarize(self) -> None:
        """Prints the summary and keeps its numbers in `stats`: -1 where there is no ground truth."""
        if not self.eval:
            raise ConfigError("there is nothing to summarize", hint="call accumulate() first")
        params = self.eval["params"]
        last = len(params.maxDets) - 1
        first = params.areaRngLbl[0]
        rows: list[tuple[bool, float | None, str, int]] = [(True, None, first, last), (True, 0.5, first, last), (True, 0.75, first, last)]
        rows += [(True, None, label, last) for label in params.areaRngLbl[1:]]
        rows += [(False, None, first, index) for index in range(len(params.maxDets))]
        rows += [(False, None, label, last) for label in params.areaRngLbl[1:]]
        self.stats = np.array([self._line(params, *row) for row in rows])

    def __str__(self) -> str:
        self.summarize()
        return ""

    @property
    def evalImgs(self) -> list[dict | None]:
        """Matches of every category, area range and image, in that order of nesting."""
        if self._evidence is None:
            return []
        if self._images is None:
            self._images = self._image_results()  # type: ignore[assignment]
        return self._images  # type: ignore[return-value]

    @property
    def ious(self) -> dict:
        """IoUs of detections, best first, and ground truths, by (image id, category id)."""
        if self._evidence is None:
            return {}
        if self._ious is None:
            self._ious = self._iou_matrices()
        return self._ious

    def _line(self, params: Params, precision: bool, threshold: float | None, label: str, limit: int) -> float:
        area = params.areaRngLbl.index(label)
        values = self.eval["precision" if precision else "recall"]
        if threshold is not None:
            values = values[np.where(threshold == np.asarray(params.iouThrs))[0]]
        values = values[..., area, limit]
        kept = values[values > -1]
        mean = float(np.mean(kept)) if kept.size else -1.0
        title, short = ("Average Precision", "(AP)") if precision else ("Average Recall", "(AR)")
        shown = f"{params.iouThrs[0]:0.2f}:{params.iouThrs[-1]:0.2f}" if threshold is None else f"{threshold:0.2f}"
        print(f" {title:<18} {short} @[ IoU={shown:<9} | area={label:>6s} | maxDets={params.maxDets[limit]:>3d} ] = {mean:0.3f}")
        return mean

    def _loaded(self) -> tuple[list[dict], list[dict]]:
        params = self.params
        chosen = {"imgIds": params.imgIds} | ({"catIds": params.catIds} if params.useCats else {})
        sides = [side.loadAnns(side.getAnnIds(**chosen)) for side in (self.cocoGt, self.cocoDt)]
        known = set(params.catIds)
        gts, dts = ([ann for ann in anns if ann["category_id"] in known] for anns in sides)
        return gts, dts

    def _batch(self, anns: list[dict], truth: bool) -> InstanceBatch:
        params = self.params
        images = np.array([int(image) if isinstance(image, np.integer) else image for image in params.imgIds], object)
        place = {image: index for index, image in enumerate(images.tolist())}
        category = {label: index for index, label in enumerate(params.catIds)}
        image = np.array([place[ann["image_id"]] for ann in anns], np.int32)
        rows = np.argsort(image, kind="stable")
        ordered = [anns[row] for row in rows]
        sizes = np.array([_size(self.cocoGt.imgs[key]) for key in images.tolist()] or np.zeros((0, 2)), np.int32)
        scores = np.array([np.nan if truth else ann["score"] for ann in ordered], float)
        if not truth and not np.isfinite(scores).all():
            bad = ordered[int(np.flatnonzero(~np.isfinite(scores))[0])]
            raise FormatError(f"the score of detection {bad.get('id')} (image {bad['image_id']}) is {bad['score']}", code="SB140")
        boxes = np.array(
            [_NO_BOX if ann.get("bbox") is None or not len(ann["bbox"]) else ann["bbox"] for ann in ordered] or np.zeros((0, 4)), float
        )
        masks = None
        if params.iouType != "bbox":
            texts, stated = [], []
            for ann in ordered:
                text, size = _counts(ann["segmentation"], tuple(sizes[place[ann["image_id"]]].tolist()))
                texts.append(text)
                stated.append(size)
            noun = "annotation" if truth else "detection"
            packed = packed_counts(texts, np.array(stated, np.int32).reshape(-1, 2))
            assert (packed.kinds == COUNTS).all()
            masks = decode(
                packed, sizes[image[rows]], boxes, lambda row: f"{noun} {ordered[row].get('id')} (image {ordered[row]['image_id']})", noun
            )
        return InstanceBatch(
            tuple(images.tolist()),
            np.arange(len(images), dtype=np.int64),
            sizes,
            image[rows],
            np.array([category[ann["category_id"]] for ann in ordered], np.int32),
            np.array([ann["id"] for ann in ordered], np.int64),
            scores,
            np.array([ann["area"] for ann in ordered], float),
            boxes,
            np.array([_flags(ann) if truth else 0 for ann in ordered], np.uint8),
            masks,
        )

    def _matched(self) -> Matches:
        assert self._evidence is not None
        return match(self._evidence, self.params.iouType, _rules(self.params), partners=True)

    def _image_results(self) -> list[dict | None]:
        params, evidence = self.params, self._evidence
        assert evidence is not None
        found = self._matched()
        detections, truths = evidence.rows("detections"), evidence.rows("ground_truths")
        labels = list(params.catIds) if params.useCats else [-1]
        bits = np.arange(len(params.iouThrs), dtype=np.uint64)
        results: list[dict | None] = []
        groups = _groups(detections, found, len(labels)), _groups(truths, None, len(labels), bool(params.useCats))
        for index, label in enumerate(labels):
            for area, limits in enumerate(params.areaRng):
                for image, key in enumerate(params.imgIds):
                    rows, columns = groups[0].get((image, index), _NONE), groups[1].get((image, index), _NONE)
                    if not len(rows) and not len(columns):
                        results.append(None)
                        continue
                    rows = rows[found.ranks[rows] < params.maxDets[-1]]
                    hidden = found.gt_ignored[columns, area]
                    columns = columns[np.argsort(hidden, kind="stable")]
                    entries = found.rows[rows]
                    partner = np.full((len(bits), len(rows)), -1, np.int64)
                    ignored = np.zeros((len(bits), len(rows)), bool)
                    has = entries >= 0
                    partner[:, has] = found.det_gt[entries[has], area].T
                    ignored[:, has] = (found.ignored[entries[has], area][None] >> bits[:, None]) & np.uint64(1)
                    matched = np.where(partner >= 0, truths["id"][np.maximum(partner, 0)] if len(truths["id"]) else 0, 0).astype(float)
                    back = found.gt_det[columns, area].T
                    results.append(
                        {
                            "image_id": key,
                            "category_id": label,
                            "aRng": limits,
                            "maxDet": params.maxDets[-1],
                            "dtIds": detections["id"][rows].tolist(),
                            "gtIds": truths["id"][columns].tolist(),
                            "dtMatches": matched,
                            "gtMatches": np.where(back >= 0, detections["id"][np.maximum(back, 0)] if len(rows) else 0, 0).astype(float),
                            "dtScores": detections["score"][rows].tolist(),
                            "gtIgnore": found.gt_ignored[columns, area].astype(np.int64),
                            "dtIgnore": ignored | ((matched == 0) & (found.outside[rows, area] > 0)),
                        }
                    )
        return results

    def _iou_matrices(self) -> dict:
        from pycocotools import mask

        params = self.params
        labels = list(params.catIds) if params.useCats else [-1]
        found: dict = {}
        sides: list[dict] = [{}, {}]
        for side, anns in zip(sides, self._anns, strict=True):
            for ann in sorted(anns, key=lambda ann: list(params.catIds).index(ann["category_id"])) if not params.useCats else anns:
                side.setdefault((ann["image_id"], ann["category_id"] if params.useCats else -1), []).append(ann)
        for image in params.imgIds:
            size = _size(self.cocoGt.imgs[image])
            for label in labels:
                gts, dts = (side.get((image, label), []) for side in sides)
                order = np.argsort([-ann["score"] for ann in dts], kind="mergesort")[: params.maxDets[-1]]
                shapes = []
                for anns in ([dts[row] for row in order], gts):
                    if params.iouType == "bbox":
                        shapes.append([ann["bbox"] for ann in anns])
                    else:
                        pairs = [_counts(ann["segmentation"], size) for ann in anns]
                        shapes.append([{"size": list(stated), "counts": text} for text, stated in pairs])
                crowd = [int(ann.get("iscrowd") or 0) for ann in gts]
                found[image, label] = mask.iou(*shapes, crowd) if gts or dts else []
        return found


@contextmanager
def installed() -> Iterator[None]:
    """Puts this class in the place of `pycocotools.cocoeval.COCOeval`, for code that imports that inside, such as torchmetrics."""
    from pycocotools import cocoeval

    original = cocoeval.COCOeval
    cocoeval.COCOeval = COCOeval
    try:
        yield
    finally:
        cocoeval.COCOeval = original


_NONE = np.zeros(0, np.int64)
_NO_BOX = [np.nan] * 4


def _groups(table: dict[str, NDArray], found: Matches | None, count: int, each: bool = True) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Rows of each (image, category): detections best first, ground truths as in the file."""
    if found is not None:
        rows = found.order
        labels = np.repeat(np.arange(count), np.diff(found.starts))
    else:
        rows = np.arange(len(table["image"])) if each else np.lexsort((table["category"], table["image"]))
        labels = table["category"][rows] if each else np.zeros(len(rows), np.int64)
    order = np.lexsort((labels, table["image"][rows]))
    rows, labels = rows[order], labels[order]
    images = table["image"][rows]
    edges = np.flatnonzero((np.diff(images) != 0) | (np.diff(labels) != 0)) + 1
    return {(int(images[part[0]]), int(labels[part[0]])): rows[part] for part in np.split(np.arange(len(rows)), edges) if len(part)}


def _rules(params: Params) -> InstanceRules:
    family: Family = params.iouType  # type: ignore[assignment]
    return InstanceRules(
        families=(family,),
        iou_thresholds=tuple(np.asarray(params.iouThrs, float).tolist()),
        area_ranges=tuple(AreaRange(str(index), float(low), float(high)) for index, (low, high) in enumerate(params.areaRng)),
        max_detections=tuple(int(limit) for limit in params.maxDets),
        categories="each" if params.useCats else "together",
        repeated_ids="allowed",
        ignored="crowd_or_flag" if family == "boundary" else "crowd",
    )


def _size(image: dict) -> tuple[int, int]:
    return int(image.get("height", -1)), int(image.get("width", -1))


def _flags(ann: dict) -> int:
    return CROWD * bool(ann.get("iscrowd")) | IGNORE * bool(ann.get("ignore"))


def _counts(segmentation: Any, size: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """A mask as a counts string, and its size."""
    if isinstance(segmentation, list):
        return counts_of_polygons([list(map(float, part)) if not np.isscalar(part) else part for part in segmentation], size), size
    stated = int(segmentation["size"][0]), int(segmentation["size"][1])
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return counts_of_runs(counts, stated), stated
    return counts.encode("ascii", "replace") if isinstance(counts, str) else bytes(counts), stated
