"""What every panoptic metric is: title, formula, when it is undefined, and which tools give another number and why."""

from __future__ import annotations

from segbench.metrics.catalogue import MetricInfo

_PQ = "Kirillov et al., Panoptic Segmentation, CVPR 2019; panopticapi"
_PORZI = "Porzi et al., Seamless Scene Segmentation, CVPR 2019, section 3.3"
_COVERING = "Yang et al., DeeperLab: Single-Shot Image Parser, 2019, section 4"
_BOUNDARY = "Cheng et al., Boundary IoU, CVPR 2021; boundary-iou-api"

_TOOLS = (
    "torchmetrics takes void predictions out of the union and forgives the misses under them, knows no crowds and merges stuff: a segment "
    "of which 60 % is predicted as void scores 1 there and 0 here. semantic-kitti-api counts absent classes as 0 and leaves out small "
    "segments. MONAI knows no void. deeplab2 averages in float32. panopticapi's own last digits depend on the number of CPU cores, and it "
    "believes the segment areas in the ground truth's JSON, which can give more than 100. boundary-iou-api's own numbers are wrong where a "
    "segment has the id that it marks insides with: see panoptic/boundary_pq."
)
_MEANS = {
    "pq": (
        "panoptic quality",
        "mean over classes of (sum of the IoU of matched pairs) / (TP + FP/2 + FN/2); a pair matches when its IoU is above 0.5",
        _TOOLS,
    ),
    "sq": (
        "segmentation quality",
        "mean over classes of (sum of the IoU of matched pairs) / TP, 0 for a class without TP",
        "PQ = SQ * RQ holds for a class, not for these means. " + _TOOLS,
    ),
    "rq": ("recognition quality", "mean over classes of TP / (TP + FP/2 + FN/2), an F1 score", _TOOLS),
}
_GROUPS = {
    "": ("", "no class has TP, FP or FN"),
    "_things": (
        " of things",
        "no thing class has TP, FP or FN (panopticapi stops with ZeroDivisionError), or a class is neither thing nor stuff",
    ),
    "_stuff": (
        " of stuff",
        "no stuff class has TP, FP or FN (panopticapi stops with ZeroDivisionError), or a class is neither thing nor stuff",
    ),
}


def _higher(name: str, title: str, formula: str, undefined: str, differs: str, source: str, table: str, asked: bool = False) -> MetricInfo:
    return MetricInfo(f"panoptic/{name}", title, formula, "higher", undefined, differs, source, table, asked)


_PANOPTIC = (
    *(
        _higher(name + suffix, title + of, formula, undefined, differs, _PQ, "overlaps")
        for suffix, (of, undefined) in _GROUPS.items()
        for name, (title, formula, differs) in _MEANS.items()
    ),
    _higher(
        "pq_dagger",
        "PQ dagger",
        "mean over classes; things as PQ, stuff: (sum of the IoU of its region in prediction and ground truth) / images whose ground "
        "truth has it",
        "no class has ground truth, or a thing class TP, FP or FN",
        "torchmetrics.ModifiedPanopticQuality has its own void rules. Some papers average only classes with ground truth.",
        _PORZI,
        "overlaps",
    ),
    _higher(
        "parsing_covering",
        "parsing covering",
        "mean over classes of (sum over ground-truth segments of area * best IoU with a prediction of the class) / (sum of areas)",
        "no class has ground truth",
        "deeplab's evaluator is equal by definition; crowds are left out here.",
        _COVERING,
        "overlaps",
    ),
    _higher(
        "boundary_pq",
        "Boundary PQ",
        "PQ with the smaller one of mask IoU and boundary IoU; boundaries are d = max(1, round(0.02 * diagonal)) pixels wide, inside "
        "the segment",
        "no class has TP, FP or FN",
        "boundary-iou-api marks the insides with (highest category id + 1) in the map of segment ids; where a segment has that id "
        "too, its numbers "
        "are wrong. Here nothing collides.",
        _BOUNDARY,
        "boundary_overlaps",
        asked=True,
    ),
)

METRICS: dict[str, MetricInfo] = {info.id: info for info in _PANOPTIC}
"""Every panoptic metric by id."""
