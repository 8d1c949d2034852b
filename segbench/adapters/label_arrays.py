"""Arrays of any origin, scores among them, to canonical label maps."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Layout
from segbench.errors import ConfigError, FormatError, LabelError, ShapeError, counted
from segbench.samples import ValueMap

OPERATORS = {">=": operator.ge, ">": operator.gt}


def labels_from_array(
    array: Any,
    *,
    layout: Layout | None = None,
    num_classes: int | None = None,
    threshold: float | None = None,
    op: str = ">=",
    file: str = "",
) -> NDArray:
    """A canonical label map from labels, class scores or one map of probabilities.

    Integer and bool (H, W), or (N,) for points, are labels. Float scores with a class axis become the class of the highest score, the
    lowest class where several are highest. Float (H, W), or with a class axis of length 1, becomes 0 and 1 by `threshold`. A leading axis
    of length 1 (a batch of one) is dropped.

    Args:
        array: Anything NumPy takes.
        layout: Where the class axis of scores is. Without it, it is told by `num_classes`, or by being shorter than both other axes.
        num_classes: How many channels the scores must have, where they have more than one.
        threshold: Scores that compare `op` to it become 1.
        op: `>=` or `>`.
        file: Where the array comes from, for messages.

    Returns:
        uint8, uint16 or int32, C-contiguous.

    Raises:
        FormatError: SB180, float values without a threshold, or scores without one best class; SB181, axes that could mean either layout,
            or another number of channels; no numbers at all.
        LabelError: SB110, labels that do not fit 32 bits.
        ShapeError: an empty array, or axes that are no label map.
    """
    files = [file] if file else []
    values = np.asarray(array)
    check_pixels(values, "labels", files)
    kind = values.dtype.kind
    if kind not in "biuf":
        raise FormatError(f"an array of type {values.dtype} holds no labels", files=files, hint="give integers, or float scores")
    if kind == "f":
        return _labels_from_scores(native(values), layout, num_classes, threshold, op, files)
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim == 0 or values.ndim > 4:
        raise ShapeError(
            f"an array of shape {values.shape} is no image: {'it has too many axes; ' if values.ndim else ''}(height, width) is needed",
            files=files,
            hint="give one (height, width) array of class ids per image",
        )
    if values.ndim not in (1, 2):
        what = "a stack of masks" if kind == "b" else "colours or one-hot labels"
        raise ShapeError(
            f"an array of shape {values.shape} and type {values.dtype} is no label map; it looks like {what}",
            files=files,
            hint="give one (height, width) array of class ids per image",
        )
    return _canonical_labels(values, files)


def check_pixels(values: NDArray, what: str, files: Sequence[str]) -> None:
    """Refuses an array that holds nothing.

    Raises:
        ShapeError: an axis of length 0.
    """
    if not values.size:
        raise ShapeError(f"an empty array, of shape {values.shape}, holds no {what}", files=files, hint="give one value per pixel")


def _canonical_labels(values: NDArray, files: Sequence[str]) -> NDArray:
    if values.dtype.kind == "b":
        return np.ascontiguousarray(values).view(np.uint8)
    values = native(values)
    if values.dtype.type in (np.uint8, np.uint16, np.int32):
        return np.ascontiguousarray(values)
    limits = np.iinfo(np.int32)
    if values.dtype.itemsize >= 4:
        low, high = int(values.min()), int(values.max())
        if low < limits.min or high > limits.max:
            raise LabelError(f"label {low if low < limits.min else high} does not fit 32 bits", files=files, code="SB110")
    return np.ascontiguousarray(values, dtype=np.int32)


def channels(meaning: ValueMap) -> int:
    """How many score channels there must be: channel k is value k of the id space, up to the last one that is a class."""
    evaluated = meaning.values[meaning.targets < meaning.num_classes]
    return int(evaluated.max()) + 1 if len(evaluated) else meaning.num_classes


def _labels_from_scores(
    scores: NDArray, layout: Layout | None, num_classes: int | None, threshold: float | None, op: str, files: Sequence[str]
) -> NDArray:
    if scores.ndim == 4 and scores.shape[0] == 1:
        scores = scores[0]
    if scores.ndim not in (2, 3):
        raise ShapeError(f"a float array of shape {scores.shape} is no map of scores", files=files, hint="give one image at a time")
    if scores.ndim == 3:
        axis = _class_axis(scores.shape, layout, num_classes, files)
        if scores.shape[axis] > 1:
            _check_best(scores, axis, files)
            classes = scores.argmax(axis=axis)
            return classes.astype(np.uint8 if scores.shape[axis] <= 256 else np.uint16 if scores.shape[axis] <= 65536 else np.int32)
        scores = scores.take(0, axis=axis)
    if np.isnan(scores).any():
        raise FormatError("the scores hold NaN", files=files, code="SB180")
    if threshold is None:
        integral = bool(np.isfinite(scores).all()) and bool((scores == np.rint(scores)).all())
        raise FormatError(
            "float values that are whole numbers: labels, or scores?" if integral else "one map of float scores, and no threshold",
            files=files,
            hint="save labels as integers (array.astype(np.uint8) keeps them); for the scores of one class give a threshold, such as "
            "--threshold 0.5",
            code="SB180",
        )
    if op not in OPERATORS:
        raise FormatError(f"unknown comparison {op!r}", hint="use >= or >", code="SB180")
    return np.ascontiguousarray(OPERATORS[op](scores, threshold)).view(np.uint8)


def _class_axis(shape: tuple[int, ...], layout: Layout | None, num_classes: int | None, files: Sequence[str]) -> int:
    first, middle, last = shape
    axis = None
    if layout is not None:
        check_layout(layout)
        axis = 0 if layout == "CHW" else 2
    elif num_classes is not None and (first == num_classes) != (last == num_classes):
        axis = 0 if first == num_classes else 2
    elif first != last and min(first, last) < middle:
        axis = 0 if first < last else 2
    if axis is None:
        raise FormatError(
            f"scores of shape {shape} may be (classes, height, width) or (height, width, classes)",
            files=files,
            hint="say which with --layout CHW or --layout HWC",
            code="SB181",
        )
    if num_classes is not None and shape[axis] not in (1, num_classes):
        raise FormatError(
            f"{shape[axis]} score channels, but {num_classes} classes: an array of shape {shape}",
            files=files,
            hint="one channel per class, in the order of the data set; --layout CHW or HWC says which axis they are",
            code="SB181",
        )
    return axis


def check_layout(layout: str | None) -> None:
    """Refuses axes that nothing is read by.

    Raises:
        ConfigError: neither None, CHW nor HWC.
    """
    if layout not in (None, "CHW", "HWC"):
        raise ConfigError(f"no layout of score arrays is called {layout!r}", hint="CHW or HWC")


def check_threshold(threshold: float | None) -> None:
    """Refuses a threshold that nothing, or everything, compares to.

    Raises:
        ConfigError: no finite number.
    """
    number = isinstance(threshold, int | float | np.floating | np.integer) and not isinstance(threshold, bool)
    if threshold is not None and not (number and math.isfinite(threshold)):
        raise ConfigError(f"the threshold {threshold!r} is no finite number", hint="such as 0.5")


def _check_best(scores: NDArray, axis: int, files: Sequence[str]) -> None:
    """Every pixel needs one best class: the maximum is NaN where anything is, and tells infinities apart."""
    best = scores.max(axis=axis)
    usable = np.isfinite(best)
    if usable.all():
        return
    wrong = ~usable
    infinite = best == np.inf
    if infinite.any():  # one class at +inf is a clear answer, two are none
        wrong &= ~(infinite & ((scores == np.inf).sum(axis=axis) == 1))
    if wrong.any():
        pixels = int(wrong.sum())
        raise FormatError(
            f"the scores name no best class at {counted(pixels, 'pixel')}: NaN, or infinities",
            files=files,
            hint="write finite scores",
            code="SB180",
        )


def native(values: NDArray) -> NDArray:
    """The same numbers in the byte order of this machine."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
