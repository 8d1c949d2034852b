"""What every metric is: title, formula, when it is undefined, and which tools give another number and why."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from segbench.errors import ConfigError


@dataclass(frozen=True)
class MetricInfo:
    """One metric, for `segbench explain` and the documentation.

    Attributes:
        id: `task/name`.
        title: For tables.
        formula: In plain text, classes c, n[g, p] pixels of ground truth g predicted as p.
        better: Which way is better.
        undefined: When it has no value.
        differs: Which tools give another number, and why.
        source: Paper or tool.
        table: The evidence it needs.
        asked: Whether it is computed only where asked for, because it costs another pass over the pixels.
    """

    id: str
    title: str
    formula: str
    better: Literal["higher", "lower"]
    undefined: str
    differs: str
    source: str
    table: str = "pixels"
    asked: bool = False


def _higher(name: str, title: str, formula: str, undefined: str, differs: str, source: str, **more) -> MetricInfo:
    return MetricInfo(f"semantic/{name}", title, formula, "higher", undefined, differs, source, **more)


_FCN = "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 5"
_FINE = "Wang et al., Revisiting Evaluation Metrics for Semantic Segmentation, NeurIPS 2023"
_CITY = "Cordts et al., The Cityscapes Dataset, CVPR 2016, section 4; cityscapesScripts"
_NOWHERE = "no class has ground truth or prediction"

_SEMANTIC = (
    _higher(
        "pixel_accuracy",
        "pixel accuracy",
        "sum_c n[c, c] / labelled pixels",
        "no pixel is labelled",
        "detectron2 leaves out pixels predicted as void. mmseg divides float32 sums. cityscapesScripts' per-image counts are of the "
        "ignored pixels. Tools without an ignore rule count void pixels.",
        _FCN,
    ),
    _higher(
        "mean_accuracy",
        "mean accuracy",
        "mean over classes with ground truth of n[c, c] / sum_p n[c, p]",
        "no pixel is labelled",
        "This is mean recall: mmseg calls it mAcc, scikit-learn balanced accuracy. It is not mean IoU, though some tools print one for "
        "the other.",
        _FCN,
    ),
    _higher(
        "miou",
        "mIoU",
        "mean over classes of TP / (TP + FP + FN), counted over the whole set",
        _NOWHERE + "; under voc as soon as one class has neither",
        "ade20k averages over all classes, one that is nowhere with 0. detectron2 leaves out classes that are only predicted. voc is "
        "undefined when a class is nowhere. torchmetrics.MeanIoU averages the IoUs of single images: 68.5 against 79.7 on the same 20 "
        "generated street scenes. mmseg sums in float32, which moves the 7th digit.",
        "Everingham et al., The PASCAL Visual Object Classes Challenge; " + _FCN,
    ),
    _higher(
        "fwiou",
        "frequency-weighted IoU",
        "sum over classes of IoU_c * (ground-truth pixels of c / labelled pixels)",
        "no pixel is labelled",
        "detectron2's weights leave out pixels predicted as void.",
        _FCN,
    ),
    _higher(
        "mdice",
        "mean Dice",
        "mean over classes of 2 TP / (2 TP + FP + FN), counted over the whole set",
        _NOWHERE,
        "Medical tools average the Dice of single cases, and disagree about empty masks: nnU-Net leaves them out, MONAI drops cases with "
        "empty ground truth even where something is predicted, MetricsReloaded counts 1. mmseg divides in float32.",
        "Dice, Measures of the Amount of Ecologic Association Between Species, 1945",
    ),
    _higher(
        "kappa",
        "Cohen's kappa",
        "(N * sum_c n[c, c] - sum_c gt_c * pred_c) / (N^2 - sum_c gt_c * pred_c), N labelled pixels",
        "no pixel is labelled, or one class fills both sides",
        "scikit-learn computes it in floats; the last digits differ. Here it is one division of exact integers under every protocol.",
        "Cohen, A Coefficient of Agreement for Nominal Scales, 1960",
    ),
    _higher(
        "miou_image",
        "mIoU over images (mIoU^I)",
        "mean over images of the mean IoU over the classes in that image's ground truth",
        "no image has a labelled pixel",
        "torchmetrics.MeanIoU also counts classes that are only predicted, and averages all (image, class) pairs at once. JDTLosses has "
        "float32 and a special rule for binary tasks.",
        _FINE,
    ),
    _higher(
        "miou_class",
        "mIoU over classes of images (mIoU^C)",
        "mean over classes of the mean IoU over the images whose ground truth has the class",
        "no image has a labelled pixel",
        "JDTLosses is undefined when a class is in no image; here that class is left out.",
        _FINE,
    ),
    _higher(
        "miou_worst10",
        "mIoU of the worst 10 % of images",
        "mIoU^I over the max(1, floor(0.1 * images)) images with the lowest mean IoU",
        "no image has a labelled pixel",
        "JDTLosses has float32, and takes q = 1 % unless told.",
        _FINE,
    ),
    _higher(
        "boundary_iou",
        "mean Boundary IoU",
        "mean over classes of TP / (TP + FP + FN) over boundary pixels; a pixel is one where another class or the image edge lies within "
        "d = max(1, round(0.02 * diagonal)) pixels (Chebyshev)",
        _NOWHERE,
        "detectron2 erodes class numbers as grey levels, so that interiors become class 0 and boundaries other classes; its per-class "
        "values are wrong for more than two classes. MetricsReloaded measures Euclidean distance, one pixel wide unless told.",
        "Cheng et al., Boundary IoU, CVPR 2021; per class equal to boundary-iou-api where nothing is void",
        table="boundary",
        asked=True,
    ),
    _higher(
        "category_iou",
        "category IoU",
        "mean over categories of IoU, classes of one category counting as right for one another",
        "the data set has no categories, or none has ground truth or prediction",
        "cityscapesScripts is equal.",
        _CITY,
    ),
    _higher(
        "iiou",
        "instance-level IoU (iIoU)",
        "mean over classes with instances of iTP / (iTP + FP + iFN); pixels of an instance weigh average size / its size",
        "no instance sizes in the data set, no instance ids with the ground truth, or no instance and no false positive",
        "cityscapesScripts is equal; its average sizes are those of 2048x1024 images, so values at other sizes mean little.",
        _CITY,
        table="instances",
        asked=True,
    ),
    _higher(
        "category_iiou",
        "category iIoU",
        "iIoU of the categories whose classes all have instances, any of their classes counting as right",
        "as iiou",
        "cityscapesScripts is equal where only evaluated ids are predicted; it also counts caravan and trailer as vehicle.",
        _CITY,
        table="instances",
        asked=True,
    ),
    _higher(
        "iou",
        "IoU of a class",
        "TP / (TP + FP + FN)",
        "neither ground truth nor prediction",
        "ade20k gives 0 instead. detectron2 gives none where the class is only predicted. torchmetrics gives -1, and averages images.",
        "Jaccard, 1901",
    ),
    _higher("recall", "recall of a class (Acc)", "TP / (TP + FN)", "no ground truth", "mmseg and detectron2 call it Acc.", _FCN),
    _higher("precision", "precision of a class", "TP / (TP + FP)", "never predicted on a labelled pixel", "none", _FCN),
    _higher("dice", "Dice of a class", "2 TP / (2 TP + FP + FN)", "neither ground truth nor prediction", "see mdice", "Dice, 1945"),
)

METRICS: dict[str, MetricInfo] = {info.id: info for info in _SEMANTIC}
"""Every metric by id."""


def chosen_of(infos: Mapping[str, MetricInfo], patterns: Iterable[str] | None) -> tuple[str, ...]:
    """The ids that `--metrics` patterns fit, with or without the task, in the order of `infos`; None: all but those that must be asked for.

    Raises:
        ConfigError: a pattern fits no metric.
    """
    if patterns is None:
        return tuple(name for name, info in infos.items() if not info.asked)
    chosen: set[str] = set()
    for pattern in patterns:
        found = [name for name in infos if fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[2], pattern)]
        if not found:
            raise ConfigError(f"no metric fits {pattern!r}", hint=f"there are: {', '.join(infos)}")
        chosen.update(found)
    return tuple(name for name in infos if name in chosen)


def every() -> dict[str, MetricInfo]:
    """The metrics of every task, by id."""
    from segbench.metrics.instance import catalogue as instance_catalogue
    from segbench.metrics.panoptic import catalogue as panoptic_catalogue

    return {**METRICS, **instance_catalogue.METRICS, **panoptic_catalogue.METRICS}


def find(name: str) -> MetricInfo:
    """A metric by id, or by the name after the slash.

    Raises:
        ConfigError: no such metric; the hint names close ones.
    """
    known_metrics = every()
    full = next((known for known in known_metrics if known == name or known.partition("/")[2] == name), None)
    if full is None:
        close = difflib.get_close_matches(name, [*known_metrics, *(known.partition("/")[2] for known in known_metrics)], 3, 0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "segbench explain lists all"
        raise ConfigError(f"no metric is called {name!r}", hint=hint)
    return known_metrics[full]
