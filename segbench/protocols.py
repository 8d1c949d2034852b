"""Named rule sets: what each reference evaluator does where definitions leave room.

A protocol is data: one typed struct of orthogonal rules per task. Metric code reads the rules and never a protocol's name, so that any two
protocols can be compared rule by rule (`segbench explain`), and a stored run can be scored under another one from its evidence.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Any, Literal

import msgspec

from segbench.errors import ConfigError


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
"""One line per rule of any task, for tables and `segbench explain`."""


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol.

    Attributes:
        name: What the user types.
        task: `semantic`, ...
        version: Raised when a rule of this name changes.
        rules: The rules; their type belongs to the task.
        reference: The tool or paper whose numbers it gives.
        note: What the reference does beyond the rules, for people.
    """

    name: str
    task: str
    version: int = 1
    rules: SemanticRules
    reference: str
    note: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The rules as plain values, as they stand in `result.json`."""
        return msgspec.to_builtins(self.rules)

    @property
    def digest(self) -> str:
        """`sha256:...` of the task and its rules. Equal digests mean equal rules, whatever the names."""
        canonical = json.dumps({"task": self.task, "rules": self.options}, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _semantic(name: str, reference: str, note: str = "", **rules: str) -> RuleSet:
    return RuleSet(name=name, task="semantic", rules=SemanticRules(**rules), reference=reference, note=note)  # type: ignore[arg-type]


_SEMANTIC = (
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

PROTOCOLS: dict[str, dict[str, RuleSet]] = {"semantic": {rules.name: rules for rules in _SEMANTIC}}


def available(task: str) -> tuple[str, ...]:
    """The protocols of a task, the default first."""
    return tuple(PROTOCOLS.get(task, {}))


def load(name: str, task: str) -> RuleSet:
    """A protocol by name.

    Raises:
        ConfigError: the task has no protocol of that name; the hint names the nearest one.
    """
    protocols = PROTOCOLS.get(task)
    if protocols is None:
        raise ConfigError(f"there is no task {task!r}", hint=f"one of: {', '.join(PROTOCOLS)}")
    if name in protocols:
        return protocols[name]
    close = difflib.get_close_matches(name.lower(), protocols, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"there is no {task} protocol {name!r}", hint=f"{guess}There are: {', '.join(protocols)}")
