"""Random outlines for the generators, from a raw PCG64 stream, which NumPy keeps unchanged between versions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

HARMONICS = 5
"""Waves that bend a circle into an outline."""


class Stream:
    """Random numbers from a seed. NumPy promises the raw stream, but not the distributions built on it."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1)."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """About normal, of mean 0 and deviation 1, and never beyond 6: the sum of twelve uniform numbers."""
        return self.uniform(*shape, 12).sum(-1) - 6.0

    def below(self, limit: int, count: int) -> NDArray[np.int64]:
        """Integers in [0, limit)."""
        return (self._bits.random_raw(count) % np.uint64(limit)).astype(np.int64)

    def ranked(self, limit: int, count: int) -> NDArray[np.int64]:
        """Integers in [0, limit), each the rarer the larger, as the classes of real data sets are."""
        total = np.cumsum(1.0 / np.arange(1, limit + 1))
        return np.searchsorted(total, self.uniform(count) * total[-1], "right").clip(max=limit - 1)


@dataclass(frozen=True, eq=False)
class Blobs:
    """Closed outlines around a centre, one per row.

    Attributes:
        x, y, radius: float64[N], pixels. stretch: float64[N], width over height, as a square root.
        waves, phases: float64[N, HARMONICS].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    stretch: NDArray[np.float64]
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.int64]) -> Blobs:
        """Some of them."""
        return Blobs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def moved(self, stream: Stream, amount: NDArray[np.float64]) -> Blobs:
        """Each a little elsewhere, larger or smaller, and of another outline, by a share of its radius."""
        count = len(self)
        return replace(
            self,
            x=self.x + amount * self.radius * stream.normal(count),
            y=self.y + amount * self.radius * stream.normal(count),
            radius=self.radius * np.exp(amount * stream.normal(count)),
            waves=self.waves + 0.5 * amount[:, None] * stream.normal(count, HARMONICS),
        )

    def outlines(self, points: int, height: int, width: int) -> NDArray[np.float64]:
        """float64[N, points, 2]: x and y of the vertices, within the image."""
        angle = np.arange(points) * (2 * np.pi / points)
        wave = np.arange(1, HARMONICS + 1)[:, None] * angle
        reach = 1 + (self.waves[:, :, None] * np.cos(wave + self.phases[:, :, None])).sum(1)
        reach = self.radius[:, None] * np.maximum(reach, 0.2)
        x = self.x[:, None] + reach * self.stretch[:, None] * np.cos(angle)
        y = self.y[:, None] + reach / self.stretch[:, None] * np.sin(angle)
        return np.stack([x.clip(0, width), y.clip(0, height)], -1)


def blobs(stream: Stream, count: int, height: int, width: int, middle: float, spread: float, largest: float) -> Blobs:
    """Random outlines within an image.

    Args:
        middle: The radius that half of them do not reach. spread: Deviation of its logarithm.
        largest: No radius is larger.
    """
    radius = np.minimum(middle * np.exp(spread * stream.normal(count)), largest).clip(min=2.5)
    x, y = stream.uniform(count) * width, stream.uniform(count) * height
    stretch = np.exp(0.2 * stream.normal(count))
    waves = 0.12 * stream.normal(count, HARMONICS) / np.arange(1, HARMONICS + 1) ** 0.5
    return Blobs(x, y, radius, stretch, waves, 2 * np.pi * stream.uniform(count, HARMONICS))
