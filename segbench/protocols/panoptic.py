"""Where panoptic evaluators differ, and the protocols that name their choices."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from segbench.protocols import RuleSet


class PanopticRules(msgspec.Struct, frozen=True, kw_only=True):
    """Where panoptic evaluators differ. The defaults are those of `coco-panoptic`.

    Attributes:
        stated_areas: Segment areas in the ground truth's table that the pixels contradict are `refuse`d, `recount`ed, or `trust`ed (which
            can give a PQ above 1).
        crowd: What forgives an unmatched prediction beside void: the `last` crowd segment of its class in the image's table, or `all`
            of them. `none`: there are no crowds, such a segment is one like any other.
        void_prediction: Void predictions on a ground-truth segment are `counted`, or `excluded`: taken out of the union, and an unmatched
            segment that is more than half void prediction is no miss.
        stuff: Segments of one stuff class in an image are `separate`, or `merged` into one on either side first.
        stuff_score: A stuff segment scores by `match`, as a thing does, or by `any`: every IoU counts, divided by the segments of the
            ground truth, and nothing is false.
        arithmetic: `float64`; or `float32`: IoU and RQ are float32 and PQ is SQ * RQ.
        summation: The order in which the IoUs of a class are added, which decides the last bits. `pairs`: one after the other, by image,
            ground-truth id and predicted id. `images`: per image by class index and predicted id first, then the images.
    """

    stated_areas: Literal["refuse", "recount", "trust"] = "refuse"
    crowd: Literal["last", "all", "none"] = "last"
    void_prediction: Literal["counted", "excluded"] = "counted"
    stuff: Literal["separate", "merged"] = "separate"
    stuff_score: Literal["match", "any"] = "match"
    arithmetic: Literal["float64", "float32"] = "float64"
    summation: Literal["pairs", "images"] = "pairs"


RULE_TITLES = {
    "stated_areas": "segment areas that the pixels contradict",
    "crowd": "crowd segments that forgive a false positive",
    "void_prediction": "void predictions on a segment",
    "stuff": "several segments of one stuff class",
    "stuff_score": "how stuff segments score",
    "arithmetic": "arithmetic of IoU and RQ",
    "summation": "order in which IoUs are added",
}
"""One line per rule."""


def _panoptic(name: str, reference: str, note: str, **chosen: Any) -> RuleSet:
    rules: Any = PanopticRules(**chosen)
    return RuleSet(name=name, task="panoptic", rules=rules, reference=reference, note=note)


PANOPTIC = (
    _panoptic(
        "coco-panoptic",
        "panopticapi, evaluation.py",
        "Equal bit for bit to panopticapi run on one core. panopticapi adds the IoUs of one part of the images per CPU core, so its "
        "own last "
        "digits change with the number of cores. It believes the areas in the ground truth's JSON; here areas that the pixels contradict "
        "are an error. Of several crowd segments of one class in an image it uses only the last. A class without TP, FP and FN is left "
        "out of the means, and has no value here where panopticapi prints 0; where all things or all stuff are absent it stops with "
        "ZeroDivisionError.",
    ),
    _panoptic(
        "panopticapi",
        "panopticapi, evaluation.py, wrong areas included",
        "As coco-panoptic, but believes the segment areas in the ground truth's JSON, as panopticapi does: where they are too small, PQ "
        "goes beyond 1.",
        stated_areas="trust",
    ),
    _panoptic(
        "coco-panoptic-corrected",
        "the definition: Kirillov et al., Panoptic Segmentation, CVPR 2019",
        "As coco-panoptic, with areas counted from the pixels whatever the JSON says, and every crowd segment of a class forgiving.",
        stated_areas="recount",
        crowd="all",
    ),
    _panoptic(
        "cityscapes-panoptic",
        "cityscapesScripts, evalPanopticSemanticLabeling.py",
        "The rules of panopticapi, whose code cityscapesScripts holds a copy of. Thing ids below 1000 are crowds (groups).",
    ),
    _panoptic(
        "pq-dagger",
        "Porzi et al., Seamless Scene Segmentation, CVPR 2019",
        "Stuff scores by its IoU, whether above 0.5 or not: one stuff region per class and image, and no threshold. Things as in "
        "coco-panoptic.",
        stuff="merged",
        stuff_score="any",
    ),
    _panoptic(
        "torchmetrics",
        "torchmetrics.detection.PanopticQuality",
        "Another metric under the same name: void predictions are taken out of the union and forgive misses, so a segment of which 60 % "
        "is predicted as void can score 1. It has no crowds, merges stuff, and divides in float32. The order of torch's last mean depends "
        "on the CPU; here classes are added in order.",
        stated_areas="recount",
        crowd="none",
        void_prediction="excluded",
        stuff="merged",
        arithmetic="float32",
        summation="images",
    ),
)
"""The panoptic protocols, the default first."""
