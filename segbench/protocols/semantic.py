"""Where semantic evaluators differ, and the protocols that name their choices."""

from __future__ import annotations

from typing import Literal

import msgspec

from segbench.protocols.base import RuleSet


class SemanticRules(msgspec.Struct, frozen=True, kw_only=True):
    """Where semantic evaluators differ. The defaults are those of `pooled`.

    Attributes:
        pooling: What one IoU is made of. `set`: the pixel counts of the whole set, per class. `image_class`: one IoU per image and class
            that is in the image's ground truth or prediction; a class is the mean over its images, mIoU the mean over all pairs.
        void_prediction: A void prediction on a labelled pixel is `wrong` (a miss of its class) or the pixel is `excluded`.
        arithmetic: `exact` integers and one float64 division, or `float32` running sums over images in order and float32 afterwards.
        epsilon: Added to each image's union of a class before summing: `none`, or `spacing` = 2^-52.
        absent: The IoU of a class with neither ground truth nor prediction: `undefined` or `zero`.
        mean_over: The classes that enter mIoU, mean Dice and fwIoU. `union`: with ground truth or prediction. `gt`: with ground truth.
            `all`: every class, so that one undefined class makes the mean undefined.
        summation: How class values are added, which decides the last bits. `zero_filled`: NumPy's pairwise sum with zeros in place of
            left-out classes (`np.nanmean`). `present`: the same over the kept classes only. `sequential`: one after the other.
    """

    pooling: Literal["set", "image_class"] = "set"
    void_prediction: Literal["wrong", "excluded"] = "wrong"
    arithmetic: Literal["exact", "float32"] = "exact"
    epsilon: Literal["none", "spacing"] = "none"
    absent: Literal["undefined", "zero"] = "undefined"
    mean_over: Literal["union", "gt", "all"] = "union"
    summation: Literal["zero_filled", "present", "sequential"] = "zero_filled"


RULE_TITLES = {
    "pooling": "what one IoU is made of",
    "void_prediction": "a void prediction on a labelled pixel",
    "arithmetic": "arithmetic of the totals",
    "epsilon": "added to each image's union",
    "absent": "IoU of a class that is nowhere",
    "mean_over": "classes that enter the mean",
    "summation": "order in which classes are added",
}
"""One line per rule."""


def _semantic(name: str, reference: str, note: str = "", **rules: str) -> RuleSet:
    return RuleSet(name=name, task="semantic", rules=SemanticRules(**rules), reference=reference, note=note)  # type: ignore[arg-type]


SEMANTIC = (
    _semantic(
        "pooled",
        "the definition: one confusion matrix over the whole set",
        "Classes with neither ground truth nor prediction are left out of the means.",
    ),
    _semantic(
        "cityscapes",
        "cityscapesScripts, evalPixelLevelSemanticLabeling.py",
        "Predictions of a label that is not evaluated (caravan, trailer, ...) count as void here. cityscapesScripts' per-image pixel "
        "accuracy counts the ignored pixels instead of the others and is not reproduced.",
        summation="sequential",
    ),
    _semantic(
        "mmseg",
        "MMSegmentation 1.x, IoUMetric",
        "mmseg prints np.round(100 * value, 2). Its total accuracy is a torch sum, whose order depends on the CPU; here classes are added "
        "in order. It silently drops predictions beyond the classes; here they are an error.",
        arithmetic="float32",
    ),
    _semantic(
        "detectron2",
        "detectron2, SemSegEvaluator",
        "detectron2 prints 100 * value. Its Boundary IoU erodes the class numbers as grey levels; segbench's boundary_iou does not follow "
        "it.",
        void_prediction="excluded",
        mean_over="gt",
        summation="present",
    ),
    _semantic(
        "ade20k",
        "CSAILVision/sceneparsing, evaluationCode/utils_eval.py",
        "Every class of the data set enters the mean, one that is nowhere with 0. The benchmark's final score is the mean of pixel "
        "accuracy and mIoU.",
        epsilon="spacing",
        absent="zero",
        mean_over="all",
    ),
    _semantic(
        "voc",
        "PASCAL VOC devkit, VOCevalseg.m",
        "The mean is over all classes, so a class that is nowhere makes it undefined (NaN in the devkit). The devkit refuses a void "
        "prediction; here it is a miss.",
        mean_over="all",
        summation="sequential",
    ),
    _semantic(
        "huggingface",
        "Hugging Face evaluate, metric mean_iou",
        "The rules of `pooled`. evaluate's reduce_labels shifts the ground truth only, so numbers differ where the predictions were not "
        "shifted too.",
    ),
    _semantic(
        "torchmetrics",
        "torchmetrics.segmentation.MeanIoU",
        "A mean of IoUs of single images, not of the set. MeanIoU has no ignore index; here void pixels are left out. Beyond seven "
        "classes the order of torch's sums depends on the CPU; here classes are added in order.",
        pooling="image_class",
        arithmetic="float32",
        summation="sequential",
    ),
)
"""The semantic protocols, the default first."""
