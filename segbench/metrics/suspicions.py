"""Evidence that looks like a mistake: numbers that are right for what was given, but probably not what was meant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import LabelError
from segbench.evidence import Evidence

LOW, HIGH = 0.5, 2.0
"""A shift is suspected where accuracy is below LOW and at least HIGH times as high with ids moved by one."""


def semantic(matrix: NDArray[np.int64], dataset: Dataset) -> list[str]:
    """Sentences about a confusion matrix int64[C + 1, C + 1], rows ground truth."""
    labelled = matrix[:-1]
    total = int(labelled.sum())
    if not total:
        return ["no pixel of the ground truth is labelled: every pixel is void"]
    found = []
    accuracy = np.trace(labelled) / total
    for shift in (1, -1):
        moved = np.trace(labelled[:, :-1], offset=shift) / total
        if accuracy < LOW and moved > HIGH * accuracy and moved > LOW:
            direction = "one too high" if shift > 0 else "one too low"
            found.append(
                f"[SB111] predicted ids look {direction}: pixel accuracy is {100 * accuracy:.1f} %, and would be {100 * moved:.1f} % "
                f"moved by one; "
                f"see --id-space (segbench datasets {dataset.name})"
            )
    predicted = matrix[:, :-1].sum(0)
    if np.count_nonzero(predicted) == 1 and np.count_nonzero(labelled.sum(1)) > 1:
        name = dataset.names[int(np.flatnonzero(predicted)[0])]
        found.append(f"every prediction is {name!r} everywhere")
    missed = labelled[:, -1].sum()
    if missed:
        swapped = "" if matrix[-1].any() else "; the ground truth has no void: is it the first path, which is for predictions?"
        share = f"{100 * missed / total:.2f} % of the labelled pixels"
        found.append(f"{share} are predicted as void, which counts as wrong where the protocol says so{swapped}")
    return found


def like_a_mask(evidence: Evidence) -> bool:
    """Whether, with more than two classes, all predictions together are one class and void: so do masks of 0 and 255 look."""
    seen = np.unique(evidence.rows("pixels")["pred"])
    return evidence.num_classes > 2 and len(seen) == 2 and int(seen[1]) == evidence.num_classes


LOOKED_AT = 64
"""Images among which one with many classes is looked for."""


def most_varied(evidence: Evidence, side: str) -> int | None:
    """The image with the most classes on a side, of the first ones; None where none has three, between which there is something."""
    table = evidence.rows("pixels")
    rows = slice(0, int(np.searchsorted(table["image"], LOOKED_AT)))
    size = evidence.num_classes + 1
    distinct = np.unique(table["image"][rows].astype(np.int64) * size + table[side][rows])
    count = np.bincount(distinct // size, minlength=1)
    return int(count.argmax()) if count.max() > 2 else None


ROWS = 128
"""Rows of an image that are looked at."""

BORDERS = 50
"""Fewer borders than this tell nothing."""

RAMPS = 0.12
"""Drawn and predicted labels have ramps at up to 2 % of their borders, noise at 5 %, interpolated labels at 14 to 50 %."""


def interpolated(values: NDArray) -> bool:
    """Whether many borders of a label map are ramps: values that climb from one class to the next over several pixels.

    A border is a stretch of pixels along a row that all differ from their left neighbours; a ramp one of two pixels or more that only
    climbs or only falls. Interpolation between classes 2 and 9 leaves 4 and 7 on the way, which mean something else.
    """
    if values.ndim != 2 or values.shape[1] < 3:
        return False
    rows = values[:: max(1, len(values) // ROWS)].astype(np.int64)
    steps = np.zeros((len(rows), values.shape[1] + 1), np.int64)
    steps[:, 1:-1] = np.sign(np.diff(rows, axis=1))
    flat = steps.ravel()
    edges = np.flatnonzero(np.diff((flat != 0).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    total = np.concatenate([[0], np.cumsum(flat)])
    lengths = ends - starts
    ramps = (lengths > 1) & (np.abs(total[ends + 1] - total[starts + 1]) == lengths)
    return len(lengths) >= BORDERS and int(ramps.sum()) > RAMPS * len(lengths)


def refuse_binary_masks(evidence: Evidence) -> None:
    """Refuses two classes of which only the first is seen beside void, on either side: masks of 0 and 255.

    Raises:
        LabelError: SB112.
    """
    table = evidence.rows("pixels")
    masks = [noun for noun, side in (("predictions", "pred"), ("ground truth", "gt")) if set(table[side].tolist()) == {0, 2}]
    if masks:
        verb = "hold" if "predictions" in masks else "holds"
        raise LabelError(
            f"{' and '.join(masks)} {verb} only 0 and 255: binary masks, whose foreground would count as void",
            hint="write 0 and 1 (divide by 255); or, where 255 does mean void, say so: --ignore-index 255",
            code="SB112",
        )
