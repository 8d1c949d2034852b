"""Canonical instances: what instance adapters give and instance metrics take.

A batch holds whole images, as columns over all of their instances. Masks are never dense: each is a list of foreground spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.samples import ImageId

CROWD, IGNORE, BOXED = 1, 2, 4
"""Bits of `InstanceBatch.flags`: a crowd region; marked as ignored; the file states boxes, of which some references take the area."""

NEGATIVE, NOT_EXHAUSTIVE = 0, 1
"""Kinds of `ImageCategories`: the category is known to be absent from the image; its instances are not all annotated."""

NO_ID = -(2**63)
"""The id of an annotation that has none; any number of them may have it."""

MAX_PIXELS = 2**31 - 1
"""Pixels of an image at most: spans are int32."""


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Run-length masks, in CSR columns.

    Attributes:
        spans: int32[R, 2], foreground pixels `start <= p < stop`, counted down the columns (x * height + y); ascending within a mask.
        offsets: int64[M + 1]: the spans of mask i are `spans[offsets[i]:offsets[i + 1]]`.
        areas: int64[M], in pixels.
        boxes: float64[M, 4], x, y, width, height; zeros where the mask is empty.
    """

    spans: NDArray[np.int32]
    offsets: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.areas)

    def take(self, rows: NDArray[np.int64]) -> Masks:
        """The masks of some rows, in that order."""
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate(([0], np.cumsum(counts)))
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        return Masks(self.spans[index], offsets, self.areas[rows], self.boxes[rows])

    def dense(self, row: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """One mask as bool[H, W]."""
        pixels = np.zeros(size[0] * size[1], bool)
        for start, stop in self.spans[self.offsets[row] : self.offsets[row + 1]].tolist():
            pixels[start:stop] = True
        return pixels.reshape(size[::-1]).T


def no_masks() -> Masks:
    """Masks of no instance."""
    return Masks(np.zeros((0, 2), np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))


@dataclass(frozen=True, slots=True, eq=False)
class ImageCategories:
    """What is known about categories of images beyond their instances (LVIS); one row per image and category.

    Attributes:
        image: int32[L], index into the batch's images.
        category: int32[L], class index.
        kind: uint8[L], `NEGATIVE` or `NOT_EXHAUSTIVE`.
    """

    image: NDArray[np.int32]
    category: NDArray[np.int32]
    kind: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class InstanceBatch:
    """The instances of some images, as columns.

    Attributes:
        images: Ids of the images, also of those without instances.
        order: int64[N], position of each image in the canonical order.
        sizes: int32[N, 2], height and width; -1 where not known.
        image: int32[M], index into `images`, ascending; within an image the order of the file, on which ties depend.
        category: int32[M], class index.
        ids: int64[M], the annotation's id, or `NO_ID`; of a prediction the position in the file.
        scores: float64[M]; NaN for ground truth.
        areas: float64[M], the area the file states, in pixels; -1 where it states none.
        boxes: float64[M, 4], x, y, width, height from the top left corner of the first pixel; NaN where there is none.
        flags: uint8[M], `CROWD`, `IGNORE`, `BOXED`.
        masks: The masks, or None where the file holds boxes only.
        file: Where they came from, for messages.
        categories: Further knowledge about categories of images, or None.
        void: Of ground truth: one mask per image of the pixels that are nothing, or None.
    """

    images: tuple[ImageId, ...]
    order: NDArray[np.int64]
    sizes: NDArray[np.int32]
    image: NDArray[np.int32]
    category: NDArray[np.int32]
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    boxes: NDArray[np.float64]
    flags: NDArray[np.uint8]
    masks: Masks | None
    file: str = ""
    categories: ImageCategories | None = None
    void: Masks | None = None

    def __len__(self) -> int:
        return len(self.image)

    def select(self, images: Sequence[int]) -> InstanceBatch:
        """The images of these indices, in that order."""
        wanted = np.asarray(images, np.int64)
        place = np.full(len(self.images), -1, np.int64)
        place[wanted] = np.arange(len(wanted))
        target = place[self.image]
        rows = np.flatnonzero(target >= 0)
        rows = rows[np.argsort(target[rows], kind="stable")]
        known = self.categories
        if known is not None:
            kept = place[known.image] >= 0
            known = ImageCategories(place[known.image[kept]].astype(np.int32), known.category[kept], known.kind[kept])
        return InstanceBatch(
            tuple(self.images[index] for index in wanted),
            self.order[wanted],
            self.sizes[wanted],
            target[rows].astype(np.int32),
            self.category[rows],
            self.ids[rows],
            self.scores[rows],
            self.areas[rows],
            self.boxes[rows],
            self.flags[rows],
            None if self.masks is None else self.masks.take(rows),
            self.file,
            known,
            None if self.void is None else self.void.take(wanted),
        )
