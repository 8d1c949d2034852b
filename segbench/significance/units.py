"""What is drawn: images, or clusters of images; and the weights that drawing gives them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.errors import ConfigError
from segbench.evidence import id_order
from segbench.samples import ImageId
from segbench.significance import draws

CHUNK_BYTES = 1 << 25
"""Weights that are held at a time."""

ENUMERATED = 12
"""With so many units or fewer all 2^n assignments are looked at instead of a random sample of them."""

Weights = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Units:
    """The units of resampling, numbered by ascending id or cluster name, so that every run on these images draws the same.

    Attributes:
        of: int64[N], the unit of each image.
        count: How many units there are.
        clustered: Whether a unit is a cluster.
    """

    of: NDArray[np.int64]
    count: int
    clustered: bool = False

    @property
    def noun(self) -> str:
        """What a unit is called in a sentence."""
        return "clusters" if self.clustered else "images"


def units_of(ids: Sequence[ImageId], clusters: Sequence[str] | None = None) -> Units:
    """The images themselves, or the clusters they belong to."""
    if clusters is None:
        of = np.empty(len(ids), np.int64)
        of[sorted(range(len(ids)), key=lambda row: (id_order(ids[row]), type(ids[row]).__name__))] = np.arange(len(ids))
        return Units(of, len(ids))
    names = sorted(set(clusters), key=id_order)
    number = {name: index for index, name in enumerate(names)}
    return Units(np.array([number[name] for name in clusters], np.int64), len(names), True)


def labels_of(ids: Sequence[ImageId], spec: str, table: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    """A label per image: a column of a table about the images, or what a regular expression finds in the id.

    Args:
        spec: A column of `table`, else a regular expression; its first group is the label, the whole match without groups.
        table: `{image id: {column: value}}`.

    Raises:
        ConfigError: no such column, not an expression, or images without a label.
    """
    if table is not None and any(spec in row for row in table.values()):
        names = _by_plain_name(table)
        found = [(table.get(str(image_id)) or table.get(names.get(_plain(str(image_id)), ""), {})).get(spec) for image_id in ids]
    else:
        try:
            expression = re.compile(spec)
        except re.error as error:
            raise ConfigError(f"{spec!r} is neither a column of the images' table nor a regular expression: {error}") from error
        matches = [expression.search(str(image_id)) for image_id in ids]
        found = [match and (match.group(1) if expression.groups else match.group()) for match in matches]
    lacking = [str(image_id) for image_id, label in zip(ids, found, strict=True) if label is None]
    if lacking:
        raise ConfigError(
            f"{len(lacking)} of {len(ids)} images have no label by {spec!r}, such as {lacking[0]}",
            hint="a column of the images' table, or an expression such as '^([a-z]+)_' that fits every id",
        )
    return [str(label) for label in found]


def _by_plain_name(table: Mapping[str, Any]) -> dict[str, str]:
    """The only row of each plain name."""
    names = [_plain(name) for name in table]
    count = Counter(names)
    return {plain: name for plain, name in zip(names, table, strict=True) if count[plain] == 1}


def _plain(name: str) -> str:
    """A file name without folder, ending and leading zeros, so that 000000000139.jpg is image 139."""
    stem = PurePath(name).stem
    return str(int(stem)) if stem.isdecimal() else stem


def bootstrap(units: Units, replicates: int, seed: int = 0) -> Iterator[Weights]:
    """Weights of images, uint8[B, N] at a time: how often each one's unit was drawn."""
    for first, stop in _chunks(replicates, len(units.of)):
        yield draws.counts(seed, first, stop - first, units.count)[:, units.of]


def swaps(units: Units, permutations: int, seed: int = 0) -> Iterator[Weights]:
    """Which images change sides, uint8[P, N] at a time; all assignments where there are few units."""
    if units.count <= ENUMERATED:
        yield np.array(list(itertools.product((0, 1), repeat=units.count)), np.uint8).reshape(-1, units.count)[:, units.of]
        return
    for first, stop in _chunks(permutations, len(units.of)):
        yield draws.coins(seed, first, stop - first, units.count)[:, units.of]


def jackknife(units: Units, groups: int = 200, seed: int = 0) -> Iterator[Weights]:
    """All images but those of one unit, or but one random group of units where there are many."""
    count = min(units.count, groups)
    group = np.empty(units.count, np.int64)
    group[draws.shuffled(units.count, seed)] = np.arange(units.count) % max(count, 1)
    of = group[units.of]
    for first, stop in _chunks(count, len(units.of)):
        yield (np.arange(first, stop)[:, None] != of).astype(np.uint8)


def _chunks(number: int, images: int) -> Iterator[tuple[int, int]]:
    size = max(16, min(1024, CHUNK_BYTES // max(images, 1)))
    for first in range(0, number, size):
        yield first, min(first + size, number)
