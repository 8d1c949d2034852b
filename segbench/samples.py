"""Canonical samples: what adapters give and metrics take.

A batch of label samples is any iterable of `LabelMap`. Values stay as the file holds them (uint8, uint16 or int32); a `ValueMap` says what
each value means, and is applied to the few distinct values or value pairs of an image, never to its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ImageId = int | str

INVALID = -1
"""What `ValueMap.classes` gives for a value that means nothing."""

TABULATED = 1 << 16
"""Values below this are looked up in a table, others (colours) searched."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueMap:
    """What the values of a label map mean.

    Attributes:
        values: int64[K], ascending: the values that mean something.
        targets: int32[K]: their class index in `[0, num_classes)`, or `num_classes` for void.
        num_classes: Number of evaluated classes C; void is class C.
        space: The name of the id space, said to the user: `label`, `train`, `contiguous`, ...
    """

    values: NDArray[np.int64]
    targets: NDArray[np.int32]
    num_classes: int
    space: str = "contiguous"
    _table: NDArray[np.int32] | None = field(init=False, repr=False)
    """What value v means stands at v + 1; both ends stand for all values beyond them."""

    def __post_init__(self) -> None:
        table = None
        if not len(self.values) or (self.values[0] >= 0 and self.values[-1] < TABULATED):
            table = np.full(int(self.values[-1]) + 3 if len(self.values) else 1, INVALID, np.int32)
            table[self.values + 1] = self.targets
        object.__setattr__(self, "_table", table)

    def classes(self, values: NDArray) -> NDArray[np.int32]:
        """Class index of each value: `[0, C)`, C for void, `INVALID` where the value means nothing."""
        values = np.asarray(values, dtype=np.int64)
        if self._table is not None:
            return self._table.take(values + 1, mode="clip")
        at = np.minimum(np.searchsorted(self.values, values), len(self.values) - 1)
        return np.where(self.values[at] == values, self.targets[at], INVALID).astype(np.int32)

    @classmethod
    def of(cls, mapping: dict[int, int], num_classes: int, space: str = "contiguous") -> ValueMap:
        """From `{value: class index or num_classes}`."""
        values = np.array(sorted(mapping), dtype=np.int64)
        targets = np.array([mapping[int(value)] for value in values], dtype=np.int32)
        return cls(values, targets, num_classes, space)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """One image of class labels, as its file holds them.

    Attributes:
        id: The image's id; keeps its type.
        values: (H, W), or (N,) for point clouds; uint8, uint16 or int32, C-contiguous.
        meaning: What the values mean.
        file: Where it came from, for messages.
        instances: (H, W) int32 instance ids of the same image, where a metric asked for them (Cityscapes `instanceIds`).
        order: Position in the ground truth's canonical order, where there is one.
    """

    id: ImageId
    values: NDArray
    meaning: ValueMap
    file: str = ""
    instances: NDArray[np.int32] | None = None
    order: int = 0

    def placed(self, image_id: ImageId, order: int) -> LabelMap:
        """The same map as the image of another id and place."""
        return LabelMap(image_id, self.values, self.meaning, self.file, self.instances, order)


@dataclass(frozen=True, slots=True, eq=False)
class PanopticMap:
    """One image of panoptic segments.

    Attributes:
        id: The image's id; keeps its type.
        values: The segment id of each pixel, as the file holds it: (H, W), or (N,) for point clouds, integers; or (H, W, 3) or (H, W, 4)
            uint8, the bytes of the id, lowest first. C-contiguous.
        segment_ids: int64[S], the segments of the table beside the map, in its order; unique.
        classes: int32[S], class index in `[0, C)`; `INVALID` for a category that the data set does not have.
        areas: int64[S], the area the table states, or -1 where it states none.
        crowd: bool[S].
        file: Where the map came from, for messages.
        order: Position in the ground truth's canonical order.
        void: The segment id that means no segment.
    """

    id: ImageId
    values: NDArray
    segment_ids: NDArray[np.int64]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    file: str = ""
    order: int = 0
    void: int = 0

    def placed(self, image_id: ImageId, order: int) -> PanopticMap:
        """The same map as the image of another id and place."""
        columns = self.segment_ids, self.classes, self.areas, self.crowd
        return PanopticMap(image_id, self.values, *columns, self.file, order, self.void)
