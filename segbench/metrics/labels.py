"""From values in files to class indices, and a message that helps where a value means no class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import LabelError, counted
from segbench.metrics.suspicions import interpolated
from segbench.samples import INVALID, LabelMap, ValueMap

SHOWN_VALUES = 8
PALETTE = "palette"
"""The id space of colours: red, green and blue in one number."""

INSTANCES = 1000
"""Instance ids are class times this, plus a number."""

COLOURFUL = 64
"""More distinct unknown values than this look like a picture, not like labels."""


def pair_classes(
    pred: LabelMap, gt: LabelMap, gt_values: NDArray, pred_values: NDArray, pixels: NDArray[np.int64], dataset: Dataset
) -> dict[str, NDArray]:
    """Value pairs of one image as rows of the `pixels` table: class pairs ascending, each once.

    Raises:
        LabelError: a value on either side means no class of the data set.
    """
    gt_classes, pred_classes = gt.meaning.classes(gt_values), pred.meaning.classes(pred_values)
    if len(gt_classes) and min(gt_classes.min(), pred_classes.min()) == INVALID:
        check_values(gt, "gt", gt_values, pixels, dataset)
        check_values(pred, "pred", pred_values, pixels, dataset)
    size = dataset.num_classes + 1
    keys = gt_classes * np.int64(size) + pred_classes
    if (keys[1:] > keys[:-1]).all():  # values stand in the order of their classes in nearly every file
        return {"gt": gt_classes, "pred": pred_classes, "pixels": pixels}
    rows, at = np.unique(keys, return_inverse=True)
    summed = np.zeros(len(rows), np.int64)
    np.add.at(summed, at, pixels)
    return {"gt": (rows // size).astype(np.int32), "pred": (rows % size).astype(np.int32), "pixels": summed}


def check_values(sample: LabelMap, role: str, values: NDArray, pixels: NDArray[np.int64], dataset: Dataset) -> None:
    """Raises LabelError with the histogram of unknown values and the likeliest cause, where a value means no class."""
    distinct, at = np.unique(np.asarray(values, np.int64), return_inverse=True)
    counts = np.zeros(len(distinct), np.int64)
    np.add.at(counts, at, pixels)
    unknown = sample.meaning.classes(distinct) == INVALID
    if not unknown.any():
        return
    coloured = sample.meaning.space == PALETTE
    hint: str | None
    if coloured:
        code, hint = "SB162", _colour_cause(distinct, dataset)
    elif interpolated(sample.values):
        code, hint = (
            "SB161",
            "at many borders the values climb over several pixels: resize labels by nearest neighbour, not by interpolation",
        )
    else:
        code, hint = _likely_cause(distinct, unknown, sample.meaning, role, dataset)
    by_count = np.argsort(-counts[unknown], kind="stable")[:SHOWN_VALUES]
    name = "#{:06x}".format if coloured else str
    shown = ", ".join(f"{name(int(distinct[unknown][i]))} ({counts[unknown][i]} px)" for i in by_count)
    more = f" and {unknown.sum() - len(by_count)} more" if unknown.sum() > len(by_count) else ""
    side = "prediction" if role == "pred" else "ground truth"
    held = counted(int(unknown.sum()), "colour" if coloured else "value")
    where = (
        f"the palette of {dataset.name} does not have"
        if coloured
        else f"no class of {dataset.name} has in id space {sample.meaning.space!r}"
    )
    raise LabelError(
        f"image {sample.id}: the {side} holds {held} that {where}: {shown}{more}",
        files=[(role, sample.file)] if sample.file else [],
        hint=hint,
        code=code,
        count=1,
    )


def _colour_cause(distinct: NDArray[np.int64], dataset: Dataset) -> str:
    red, green, blue = distinct >> 16, distinct >> 8 & 255, distinct & 255
    if (red == green).all() and (green == blue).all():
        return "red, green and blue are equal everywhere: these are class ids saved as colours; save them with one channel"
    return (
        f"save class ids with one channel, or colours of its palette (segbench datasets {dataset.name}); --task panoptic for panoptic maps"
    )


def _likely_cause(
    distinct: NDArray[np.int64], unknown: NDArray[np.bool_], meaning: ValueMap, role: str, dataset: Dataset
) -> tuple[str, str | None]:
    """Code and hint for a set of values of which some mean nothing; the surest explanation first."""
    option = "--id-space" if role == "pred" else "--gt-id-space"
    for space in dataset.spaces:
        if space != meaning.space and (dataset.value_map(space).classes(distinct) != INVALID).all():
            return "SB111", f"all values are known in id space {space!r}: pass {option} {space}"
    if set(distinct.tolist()) <= {0, 255}:
        return "SB112", "this is a 0/255 binary mask: write 0 and 1 (divide by 255)"
    bad = distinct[unknown]
    first = bad.max() if bad.max() >= INSTANCES else 0
    if first and (meaning.classes(np.unique(bad[bad >= INSTANCES] // INSTANCES)) != INVALID).all():
        return "SB112", f"values like {first} look like instance ids (class x 1000 + number): give the labelIds files, or --task panoptic"
    if unknown.sum() > COLOURFUL:
        return "SB162", "so many values look like a grey or colour picture, not like class ids: export the class index of each pixel"
    if len(bad) == 1 and bad[0] in (-1, 255, 65535):
        if role == "gt":
            return "SB110", f"if {bad[0]} means void, pass --ignore-index {bad[0]}"
        return "SB110", f"{bad[0]} is usual for void, but it is not void in {dataset.name}: predict a class at every pixel"
    for shift, said in ((-1, "minus 1"), (1, "plus 1")):
        if len(bad) < len(distinct) and (meaning.classes(distinct + shift) != INVALID).all():
            return "SB111", f"every value {said} is known: the ids look shifted by one against {dataset.name}"
    known = meaning.values[meaning.targets < meaning.num_classes]
    if len(known) and bad.min() > known.max():
        return "SB112", f"the highest class id is {known.max()}: is this the right --dataset or --num-classes?"
    return "SB110", None
