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
        found.append(
            f"{100 * missed / total:.2f} % of the labelled pixels are predicted as void, which counts as wrong where the protocol says so"
        )
    return found


def refuse_binary_masks(evidence: Evidence) -> None:
    """Refuses two classes of which only the first is seen beside void on both sides: masks of 0 and 255.

    Raises:
        LabelError: SB112.
    """
    table = evidence.rows("pixels")
    sides = [set(table[side].tolist()) for side in ("gt", "pred")]
    if all(1 not in side for side in sides) and all(2 in side for side in sides):
        raise LabelError(
            "predictions and ground truth hold only 0 and 255: binary masks, whose foreground would count as void",
            hint="write 0 and 1 (divide by 255); or, where 255 does mean void, say so: --ignore-index 255",
            code="SB112",
        )
