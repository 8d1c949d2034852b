"""Named rule sets of instance segmentation: what each reference evaluator does where definitions leave room."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from segbench.errors import ConfigError
from segbench.protocols.base import RuleSet

Family = Literal["segm", "bbox", "boundary"]
IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.50 to 0.95 in steps of 0.05, to the bit as the references make them."""
MAX_THRESHOLDS = 64


class AreaRange(msgspec.Struct, frozen=True):
    """Instances of some sizes; both ends belong to it.

    Attributes:
        name: As in metric ids: `all`, `small`, ...
        low, high: Square pixels.
    """

    name: str
    low: float
    high: float


AREA_RANGES = (
    AreaRange("all", 0.0, 1e10),
    AreaRange("small", 0.0, 1024.0),
    AreaRange("medium", 1024.0, 9216.0),
    AreaRange("large", 9216.0, 1e10),
)


class InstanceRules(msgspec.Struct, frozen=True, kw_only=True):
    """Where instance evaluators differ. The defaults are those of `coco`.

    Attributes:
        families: What may be scored: mask IoU, box IoU, the smaller of mask and Boundary IoU.
        iou_thresholds: A detection matches from this IoU on.
        area_ranges: Each is scored by itself; what lies outside is ignored. The first stands for all.
        max_detections: Best-scored detections per image and category that count, ascending; the last stands in the summary. Empty: all.
        per_image: Best-scored detections per image that count, whatever their category; None: all.
        categories: `each` by itself, or all `together`, as one.
        detection_area: `file`: the area given with it, else width * height of the box where the first row of the file has one, else the
            mask's area. `mask`: the mask's area where there is one.
        truth_area: The area that decides a ground truth's range: as the file states it (`stated`) or of the mask (`mask`).
        id_zero: A match with the annotation of id 0 is none (`unmatched`), or is one (`matched`).
        repeated_ids: Two annotations of one id are an error (`refused`) or are fine (`allowed`).
        ignored: Ground truth that is ignored: crowds (`crowd`), also those flagged `ignore` (`crowd_or_flag`), or only those (`flag`).
        crowds: Whether any number of detections may match a crowd, by intersection over detection (`many`), or it is as any other (`one`).
        federated: Only categories that are annotated or known to be absent count in an image; where not all instances are annotated,
            unmatched detections are ignored.
        empty: Detections and ground truth whose area is 0 are as any other (`counted`), or are not there (`left_out`).
        groups: Class groups with a mean of their own: none, or LVIS `frequency`.
        matching: `by_score`: the best-scored detection takes the ground truth of highest IoU, from the threshold on; the curve is
            interpolated. `by_overlap`: every detection above the threshold overlaps its ground truth, and the best-scored of them is
            right; one that overlaps nothing is left out where more than the threshold's share of it lies on void, crowds and instances
            outside the area range; the curve is summed in steps.
    """

    families: tuple[Family, ...] = ("segm", "bbox")
    iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS
    area_ranges: tuple[AreaRange, ...] = AREA_RANGES
    max_detections: tuple[int, ...] = (1, 10, 100)
    per_image: int | None = None
    categories: Literal["each", "together"] = "each"
    detection_area: Literal["file", "mask"] = "file"
    truth_area: Literal["stated", "mask"] = "stated"
    id_zero: Literal["unmatched", "matched"] = "unmatched"
    repeated_ids: Literal["refused", "allowed"] = "refused"
    ignored: Literal["crowd", "crowd_or_flag", "flag"] = "crowd"
    crowds: Literal["many", "one"] = "many"
    federated: bool = False
    empty: Literal["counted", "left_out"] = "counted"
    groups: Literal["none", "frequency"] = "none"
    matching: Literal["by_score", "by_overlap"] = "by_score"

    @property
    def most(self) -> int:
        """Detections per image and category that count at most."""
        return max(self.max_detections, default=2**31 - 1)


RULE_TITLES = {
    "families": "what may be scored",
    "iou_thresholds": "IoU thresholds",
    "area_ranges": "area ranges, square pixels",
    "max_detections": "detections per image and category",
    "per_image": "detections per image",
    "categories": "categories",
    "detection_area": "area of a detection",
    "truth_area": "area of a ground truth",
    "id_zero": "a match with annotation id 0",
    "repeated_ids": "annotations that share an id",
    "ignored": "ignored ground truth",
    "crowds": "crowds",
    "federated": "federated annotation",
    "empty": "instances of area 0",
    "groups": "class groups",
    "matching": "matching and curve",
}
"""One line per rule, for tables and explanations."""


INSTANCE = (
    RuleSet(
        task="instance",
        name="coco",
        rules=InstanceRules(),
        reference="pycocotools 2.0.11, COCOeval",
        note="Equal to the bit, known defects included: the areas of detections are those of their boxes where the file has boxes, matches "
        "with annotation id 0 do not count, and 1 of 1 right gives a precision of 0.9999999999999998. Where pycocotools raises, reads "
        "uninitialised memory or hangs, there is an error that names the annotation.",
    ),
    RuleSet(
        task="instance",
        name="coco-corrected",
        rules=InstanceRules(detection_area="mask", id_zero="matched", repeated_ids="allowed", ignored="crowd_or_flag"),
        reference="the COCO definition without the defects of its tool",
        note="Deviates from coco: sizes of detections are those of their masks, annotations may have the id 0 or share ids, and the flag "
        "`ignore` is kept.",
    ),
    RuleSet(
        task="instance",
        name="lvis",
        rules=InstanceRules(
            max_detections=(300,),
            per_image=300,
            id_zero="unmatched",
            ignored="flag",
            crowds="one",
            federated=True,
            empty="left_out",
            groups="frequency",
        ),
        reference="lvis 0.5.3, LVISEval",
        note="Means over rare, common and frequent categories need the frequency of each category.",
    ),
    RuleSet(
        task="instance",
        name="boundary",
        rules=InstanceRules(families=("boundary",), ignored="crowd_or_flag"),
        reference="boundary-iou-api, COCOeval with iouType boundary and dilation ratio 0.02",
        note="The IoU of a pair is the smaller of mask IoU and Boundary IoU, of a crowd the mask IoU.",
    ),
    RuleSet(
        task="instance",
        name="class-agnostic",
        rules=InstanceRules(categories="together", max_detections=(1, 10, 100, 1000)),
        reference="pycocotools 2.0.11, COCOeval with useCats = 0",
        note="For proposals and promptable models: all categories are one.",
    ),
    RuleSet(
        task="instance",
        name="cityscapes",
        rules=InstanceRules(
            families=("segm",),
            iou_thresholds=tuple(np.arange(0.5, 1.0, 0.05).tolist()),
            area_ranges=(AreaRange("all", 100.0, 1e10),),
            max_detections=(),
            detection_area="mask",
            truth_area="mask",
            id_zero="matched",
            repeated_ids="allowed",
            matching="by_overlap",
        ),
        reference="cityscapesScripts, evalInstanceLevelSemanticLabeling",
        note="Classes with instances only. Ground truth below 100 pixels and groups are no misses; a prediction that matches nothing is no "
        "error where most of it lies on them or on void. Void are the pixels of ignored labels, but not their numbered instances.",
    ),
)


def customised(
    rules: RuleSet,
    iou_thresholds: tuple[float, ...] | None = None,
    area_ranges: tuple[AreaRange, ...] | None = None,
    max_detections: tuple[int, ...] | None = None,
) -> RuleSet:
    """The same protocol with thresholds, area ranges or numbers of detections of one's own.

    Raises:
        ConfigError: values that mean nothing.
    """
    changes: dict[str, Any] = {}
    if iou_thresholds is not None:
        values = tuple(sorted({float(value) for value in iou_thresholds}))
        if not 0 < len(values) <= MAX_THRESHOLDS or not all(0 < value <= 1 for value in values):
            raise ConfigError(f"IoU thresholds are 1 to {MAX_THRESHOLDS} numbers in (0, 1]", hint="--iou-thresholds 0.5,0.75")
        changes["iou_thresholds"] = values
    if area_ranges is not None:
        names = [entry.name for entry in area_ranges]
        if not area_ranges or len(set(names)) != len(names) or any(entry.low > entry.high for entry in area_ranges):
            raise ConfigError("area ranges have names of their own, and low <= high", hint="--area-ranges all:0-1e10,tiny:0-256")
        changes["area_ranges"] = tuple(area_ranges)
    if max_detections is not None:
        limits = tuple(sorted(set(max_detections)))
        if not limits or limits[0] < 1:
            raise ConfigError("numbers of detections are at least 1", hint="--max-dets 1,10,100")
        changes["max_detections"] = limits
    return msgspec.structs.replace(rules, rules=msgspec.structs.replace(rules.rules, **changes))
