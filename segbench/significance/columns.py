"""Sparse columns of numbers per image, and their sums under weights: what ratios of sums are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segbench.kernels import resampling
from segbench.significance.units import Weights


@dataclass(frozen=True, eq=False)
class Block:
    """Some columns that belong together, such as the true positives of every class.

    Attributes:
        column: int64[E], 0 to `width` - 1. image: int64[E]. value: number[E].
    """

    name: str
    width: int
    column: NDArray
    image: NDArray
    value: NDArray


@dataclass(frozen=True, eq=False)
class Columns:
    """A sparse images x columns table, by column.

    Attributes:
        blocks: Name and number of columns of each block.
        starts: int64[K + 1]. rows: int32[E], images, ascending within a column. values: float64[E].
        num_images: N.
    """

    blocks: tuple[tuple[str, int], ...]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    values: NDArray[np.float64]
    num_images: int

    @classmethod
    def of(cls, blocks: Sequence[Block], num_images: int) -> Columns:
        """Columns from blocks; entries of zero are left out."""
        widths = [block.width for block in blocks]
        offsets = np.cumsum([0, *widths])
        keys = np.concatenate(
            [(block.column.astype(np.int64) + first) * num_images + block.image for block, first in zip(blocks, offsets, strict=False)]
        )
        values = np.concatenate([np.asarray(block.value, np.float64) for block in blocks])
        return cls._sorted(tuple((block.name, block.width) for block in blocks), keys, values, num_images)

    @classmethod
    def _sorted(cls, blocks: tuple[tuple[str, int], ...], keys: NDArray, values: NDArray, num_images: int) -> Columns:
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        if len(keys):
            first = np.flatnonzero(np.diff(keys, prepend=-1))
            keys, values = keys[first], np.add.reduceat(values, first)
        filled = values != 0
        keys, values = keys[filled], np.ascontiguousarray(values[filled])
        width = sum(width for _, width in blocks)
        starts = np.searchsorted(keys, np.arange(width + 1, dtype=np.int64) * num_images).astype(np.int64)
        return cls(blocks, starts, (keys % max(num_images, 1)).astype(np.int32), values, num_images)

    def only(self, names: Collection[str]) -> Columns:
        """Some of the blocks."""
        widths = [width for _, width in self.blocks]
        kept = np.repeat([name in names for name, _ in self.blocks], widths)
        counts = np.diff(self.starts)
        entries = np.repeat(kept, counts)
        starts = np.concatenate(([0], np.cumsum(counts[kept]))).astype(np.int64)
        blocks = tuple(block for block in self.blocks if block[0] in names)
        return Columns(blocks, starts, self.rows[entries], self.values[entries], self.num_images)

    def minus(self, other: Columns) -> Columns:
        """The entry-wise difference; columns that agree vanish."""
        keys, values = zip(*((_keys(part), sign * part.values) for part, sign in ((self, 1.0), (other, -1.0))), strict=True)
        return self._sorted(self.blocks, np.concatenate(keys), np.concatenate(values), self.num_images)

    def sums(self, weights: Weights) -> NDArray[np.float64]:
        """float64[K, B]: the sum of every column under every weighting (uint8[B, N])."""
        sums = np.zeros((len(self.starts) - 1, len(weights)))
        resampling.add_weighted(self.starts, self.rows, self.values, np.ascontiguousarray(weights.T), sums)
        return sums

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """float64[K, 1]: every image once."""
        return self.sums(np.ones((1, self.num_images), np.uint8))

    def split(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Sums by block: `{name: float64[width, B]}`."""
        parts, first = {}, 0
        for name, width in self.blocks:
            parts[name] = sums[first : first + width]
            first += width
        return parts


def _keys(columns: Columns) -> NDArray[np.int64]:
    column = np.repeat(np.arange(len(columns.starts) - 1, dtype=np.int64), np.diff(columns.starts))
    return column * columns.num_images + columns.rows
