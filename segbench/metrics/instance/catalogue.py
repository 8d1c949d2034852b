"""What every instance metric is: title, formula, when it is undefined, and which tools give another number and why."""

from __future__ import annotations

from typing import Literal

from segbench.metrics.catalogue import MetricInfo

_COCO = "Lin et al., Microsoft COCO, ECCV 2014; pycocotools 2.0.11, COCOeval"
_LVIS = "Gupta et al., LVIS, CVPR 2019; lvis 0.5.3"
_BOUNDARY = "Cheng et al., Boundary IoU, CVPR 2021; boundary-iou-api"

_FAMILIES = {
    "segm": ("mask", "IoU of masks"),
    "bbox": ("box", "IoU of boxes"),
    "boundary": ("boundary", "the smaller of mask IoU and Boundary IoU"),
}
_AP = (
    "mean over IoU thresholds and classes of precision at 101 recall levels, each the highest precision at that recall or beyond; a "
    "detection matches the ground truth of highest {iou}, best scores first"
)
_AR = "mean over IoU thresholds and classes of the highest recall with at most {limit} detections per image and category; matches by {iou}"
_NO_TRUTH = "no ground truth that counts"
_TOOLS = (
    "pycocotools takes sizes of detections from their boxes where the file has boxes, ignores matches with annotation id 0, and prints -1 "
    "where undefined. faster-coco-eval differs in the last bits. torchmetrics gives what its backend gives. cityscapesScripts integrates "
    "the curve at every score and matches above, not from, the threshold. A limit of 100 detections is per image and category."
)

_NAMES = {
    "ap": ("AP", _AP, _COCO, ""),
    "ap50": ("AP at IoU 0.50", _AP, _COCO, "; the threshold 0.50 alone"),
    "ap75": ("AP at IoU 0.75", _AP, _COCO, "; the threshold 0.75 alone"),
    "ap_small": ("AP of small objects", _AP, _COCO, "; ground truth below 32^2 px, others ignored"),
    "ap_medium": ("AP of medium objects", _AP, _COCO, "; ground truth of 32^2 to 96^2 px, others ignored"),
    "ap_large": ("AP of large objects", _AP, _COCO, "; ground truth above 96^2 px, others ignored"),
    "ap_rare": ("AP of rare classes", _AP, _LVIS, "; classes in at most 10 training images"),
    "ap_common": ("AP of common classes", _AP, _LVIS, "; classes in 11 to 100 training images"),
    "ap_frequent": ("AP of frequent classes", _AP, _LVIS, "; classes in more than 100 training images"),
    **{f"ar{limit}": (f"AR with {limit} detections", _AR.replace("{limit}", str(limit)), _COCO, "") for limit in (1, 10, 100, 300, 1000)},
    "ar_small": ("AR of small objects", _AR.replace("{limit}", "the most"), _COCO, "; ground truth below 32^2 px"),
    "ar_medium": ("AR of medium objects", _AR.replace("{limit}", "the most"), _COCO, "; ground truth of 32^2 to 96^2 px"),
    "ar_large": ("AR of large objects", _AR.replace("{limit}", "the most"), _COCO, "; ground truth above 96^2 px"),
}


def _info(family: str, name: str) -> MetricInfo:
    kind, iou = _FAMILIES[family]
    title, formula, source, more = _NAMES[name]
    undefined = "no class of this frequency has ground truth" if source is _LVIS else _NO_TRUTH
    return MetricInfo(
        f"{family}/{name}",
        f"{kind} {title}",
        formula.replace("{iou}", iou) + more,
        "higher",
        undefined,
        _TOOLS,
        _BOUNDARY if family == "boundary" else source,
        table=f"{family}_pairs",
        asked=family == "boundary",
    )


_TIDE = "Bolya et al., TIDE, ECCV 2020"
_LOST = "AP at IoU 0.50 with only these errors repaired, minus AP at IoU 0.50"
_ANALYSIS: dict[str, tuple[str, str, Literal["higher", "lower"], str]] = {
    "best_f1": (
        "best F1",
        "largest 2 TP / (2 TP + FP + FN) over score thresholds, classes pooled, IoU 0.50",
        "higher",
        "van Rijsbergen, 1979",
    ),
    "olrp": (
        "oLRP error",
        "mean over classes of the least (sum over TP of 2 * (1 - IoU) + FP + FN) / (TP + FP + FN) over score thresholds, IoU 0.50",
        "lower",
        "Oksuz et al., Localization Recall Precision, ECCV 2018",
    ),
    "ece": (
        "calibration error",
        "sum over ten score bins of share * |mean score - precision|, IoU 0.50",
        "lower",
        "Guo et al., On Calibration of Modern Neural Networks, ICML 2017",
    ),
    "tide_classification": ("AP lost to wrong classes", _LOST, "lower", _TIDE),
    "tide_localisation": ("AP lost to poor outlines", _LOST, "lower", _TIDE),
    "tide_both": ("AP lost to wrong class and outline", _LOST, "lower", _TIDE),
    "tide_duplicate": ("AP lost to duplicates", _LOST, "lower", _TIDE),
    "tide_background": ("AP lost to false objects", _LOST, "lower", _TIDE),
    "tide_missed": ("AP lost to missed objects", _LOST, "lower", _TIDE),
    "tide_false_positive": ("AP lost to all false positives", _LOST, "lower", _TIDE),
    "tide_false_negative": ("AP lost to all misses", _LOST, "lower", _TIDE),
}
_OTHERS = (
    "hotcoco and vernier have bins, thresholds and matching of their own. tidecv also counts classes without ground truth, as AP 0, and "
    "takes 100 detections per image; its numbers of errors are the same."
)


def _analysis(family: str, name: str) -> MetricInfo:
    kind, iou = _FAMILIES[family]
    title, formula, better, source = _ANALYSIS[name]
    return MetricInfo(
        f"{family}/{name}", f"{kind} {title}", f"{formula}; {iou}", better, _NO_TRUTH, _OTHERS, source, table="analysis", asked=True
    )


ANALYSIS = {f"{family}/{name}": _analysis(family, name) for family in _FAMILIES for name in _ANALYSIS}
"""Metrics of where AP is lost: they need overlaps across categories and below the thresholds."""

METRICS = {f"{family}/{name}": _info(family, name) for family in _FAMILIES for name in _NAMES} | ANALYSIS
"""Every metric of the instance protocols, by id."""
