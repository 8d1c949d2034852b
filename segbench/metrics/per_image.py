"""Semantic values of single images, and what summarises them: mean, per class, and the worst ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.metrics.confusion import ImageClasses


@dataclass(frozen=True, eq=False)
class ImageValues:
    """float64[N] per image; NaN where the image has no labelled pixel.

    Attributes:
        pixels: int64[N], labelled pixels.
        pixel_accuracy: Right / labelled pixels.
        miou: Mean IoU over the classes in the image's ground truth or prediction.
        miou_active: Mean IoU over the classes in the image's ground truth; what `miou_image` averages.
    """

    pixels: NDArray[np.int64]
    pixel_accuracy: NDArray[np.float64]
    miou: NDArray[np.float64]
    miou_active: NDArray[np.float64]


def image_values(counts: ImageClasses) -> ImageValues:
    """All per-image values in one pass over the sparse counts."""
    active = counts.gt > 0
    ious = counts.tp / counts.union
    pixels = _per_image(counts, counts.gt)
    return ImageValues(
        pixels.astype(np.int64),
        _divide(_per_image(counts, counts.tp), pixels),
        _divide(_per_image(counts, ious), _per_image(counts, np.ones(len(ious)))),
        _divide(_per_image(counts, np.where(active, ious, 0.0)), _per_image(counts, active)),
    )


def miou_image(values: ImageValues) -> float:
    """mIoU^I: mean over images of their mean IoU over active classes.

    A class is active in an image whose ground truth has it. Images without a labelled pixel are left out; NaN where none is left.

    Source: Wang et al., Revisiting Evaluation Metrics for Semantic Segmentation, NeurIPS 2023.
    """
    kept = values.miou_active[~np.isnan(values.miou_active)]
    return float(np.mean(kept)) if len(kept) else np.nan


def miou_worst(values: ImageValues, percent: float = 10) -> float:
    """mIoU^I of the worst images: the lowest max(1, floor(percent% of the images)). NaN where no image has a labelled pixel."""
    kept = np.sort(values.miou_active[~np.isnan(values.miou_active)])
    return float(np.mean(kept[: max(1, int(percent / 100 * len(kept)))])) if len(kept) else np.nan


def miou_class(counts: ImageClasses) -> float:
    """mIoU^C: per class the mean IoU over the images where it is active, then the mean over classes active anywhere. NaN where none is."""
    active = counts.gt > 0
    label, ious = counts.label[active], (counts.tp / counts.union)[active]
    images = np.bincount(label, minlength=counts.num_classes)
    sums = np.bincount(label, ious, minlength=counts.num_classes)
    kept = images > 0
    return float(np.mean(sums[kept] / images[kept])) if kept.any() else np.nan


def class_means(counts: ImageClasses, dtype: type) -> NDArray:
    """IoU of a class as the mean over the images that have it in ground truth or prediction; NaN where none has it. Images in order."""
    ious = counts.tp.astype(dtype) / counts.union.astype(dtype)
    order = np.argsort(counts.label, kind="stable")
    bounds = np.searchsorted(counts.label[order], np.arange(counts.num_classes + 1))
    means: NDArray = np.full(counts.num_classes, np.nan, dtype)
    for c in range(counts.num_classes):
        run = ious[order[bounds[c] : bounds[c + 1]]]
        if len(run):
            means[c] = np.add.accumulate(run)[-1] / dtype(len(run))
    return means


def pair_mean(counts: ImageClasses, dtype: type) -> float:
    """Mean IoU over all (image, class) pairs that have ground truth or prediction; NaN where there is none.

    Each image's classes are added first, then the images; the last step divides and averages once per class, as torchmetrics does: that
    order decides the last bits.
    """
    if not len(counts.tp):
        return np.nan
    ious = counts.tp.astype(dtype) / counts.union.astype(dtype)
    starts = np.flatnonzero(np.diff(counts.image, prepend=-1))
    in_image: NDArray = np.array([np.add.accumulate(part)[-1] for part in np.split(ious, starts[1:])], dtype)
    mean = np.add.accumulate(in_image)[-1] / dtype(len(ious))
    return float(np.add.accumulate(np.full(counts.num_classes, mean, dtype))[-1] / dtype(counts.num_classes))


def _per_image(counts: ImageClasses, weights: NDArray) -> NDArray:
    return np.bincount(counts.image, weights, minlength=counts.num_images)


def _divide(numerator: NDArray, denominator: NDArray) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
