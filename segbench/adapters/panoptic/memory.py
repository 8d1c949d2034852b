"""Panoptic predictions in memory: a map of segment ids and the table of its segments, as models of any framework give them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.arrays import as_numpy, by_plain_ids
from segbench.adapters.base import Format, Request
from segbench.adapters.label_arrays import check_pixels
from segbench.adapters.panoptic.tables import Row, SegmentRows, SegmentTables, segment_row, tables_of
from segbench.datasets import Dataset
from segbench.errors import FormatError, ShapeError, counted
from segbench.samples import ImageId, PanopticMap

NAME = "panoptic-array"
MAP_KEYS = ("segmentation", "panoptic_seg", "map")
HIGHEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class PanopticArrays:
    """Panoptic maps held in memory, with their tables.

    Attributes:
        maps: The map of each image: anything that becomes an array.
        voids: The id that means no segment, by image: 0, or -1 where 0 is a segment.
    """

    maps: Mapping[ImageId, Any]
    tables: SegmentTables
    voids: Mapping[ImageId, int]
    role: str
    space: str
    format: str = NAME

    @property
    def keys(self) -> Sequence[ImageId]:
        return self.tables.keys

    @property
    def notes(self) -> tuple[str, ...]:
        return self.tables.notes

    @property
    def said(self) -> str:
        return f"{counted(len(self.maps), 'panoptic map')} in memory, {self.space} ids"

    def read(self, keys: Sequence[ImageId]) -> Iterator[PanopticMap]:
        for key in keys:
            yield self.tables.sample(key, id_array(self.maps[key], self.file(key)), self.file(key), self.voids[key])

    def part(self, keys: Sequence[ImageId]) -> PanopticArrays:
        maps = {key: id_array(self.maps[key], self.file(key)) for key in keys}
        return PanopticArrays(maps, self.tables.select(keys), {key: self.voids[key] for key in keys}, self.role, self.space)

    def file(self, key: ImageId) -> str:
        return f"{self.role} map {key!r}"

    def sizes(self) -> list[tuple[int, int] | None]:
        return [None] * len(self.maps)

    def fingerprint(self, key: ImageId) -> bytes:
        sample = next(self.read([key]))
        head = f"{sample.values.dtype.str} {sample.values.shape}\n".encode()
        return hashlib.sha256(head + sample.values.tobytes() + sample.segment_ids.tobytes() + sample.classes.tobytes()).digest()


def id_array(value: Any, what: str) -> NDArray:
    """A map of segment ids: integers (H, W) or (N,), or 8-bit colours (H, W, 3) whose bytes are the id.

    Raises:
        FormatError, ShapeError: neither, or no pixel.
    """
    array = as_numpy(value, what)
    check_pixels(array, "segments", [what])
    if array.dtype.kind == "f" and (array == np.floor(array)).all() and float(np.abs(array).max()) < 2**31:
        array = array.astype(np.int32)  # transformers gives a float map of -1 where nothing was found
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise FormatError(f"{what} holds {array.dtype}, not segment ids", hint="give the integer map, not scores", code="SB180")
    colours = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if array.ndim not in (1, 2) and not colours:
        raise ShapeError(f"{what} has shape {array.shape}", hint="give (height, width) segment ids, or (height, width, 3) RGB ids")
    return np.ascontiguousarray(array)


def open_panoptic_arrays(value: Any, request: Request) -> PanopticArrays:
    """Panoptic samples in memory as a source.

    Args:
        value: `{id: item}`, or a sequence of items (ids 0, 1, ...). An item is `(map, segments)`, or a mapping with the map under
            `segmentation` (transformers), `panoptic_seg` or `map`, and the segments under `segments_info` or `segments`. A segment is a
            mapping with `id` and `category_id`, an id of the data set, or `label_id`, a class index. None for the segments: the map holds
            class index * label_divisor + number, as detectron2's Panoptic-DeepLab gives it.

    Raises:
        FormatError: an item that is neither.
        LabelError: as `segment_row` and `tables_of`.
    """
    items = by_plain_ids(value, request.role) if isinstance(value, Mapping) else dict(enumerate(value))
    maps, voids = {}, {}
    lengths: list[int] = []
    listed: list[Row] = []
    contiguous = bool(items)
    for key, item in items.items():
        what = f"{request.role} map {key!r}"
        ids, segments = _halves(item, what)
        if segments is None:
            segments = _divided(id_array(ids, what), request.dataset, what)
        contiguous = contiguous and all("category_id" not in row for row in segments if isinstance(row, Mapping))
        rows = [segment_row(row, f"{what}, segment {number} of its table") for number, row in enumerate(segments, 1)]
        maps[key] = ids
        voids[key] = _void(id_array(ids, what), rows)
        lengths.append(len(rows))
        listed += rows
    indices = "contiguous" if "contiguous" in request.dataset.spaces else "label"
    usual = indices if contiguous and listed else "label"
    columns: Any = ([row[at] for row in listed] for at in range(5))
    table_rows = SegmentRows(list(maps), [""] * len(maps), lengths, *columns)
    tables, space = tables_of(table_rows, request, f"{request.role} segments", usual=usual, highest=HIGHEST, void=-1)
    return PanopticArrays(maps, tables, voids, request.role, space)


def _halves(item: Any, what: str) -> tuple[Any, Sequence[Any] | None]:
    """The map and its segments; None for segments that are said to be None."""
    found, segments = None, ()
    if isinstance(item, Mapping):
        found = next((item[name] for name in MAP_KEYS if name in item), None)
        segments = item.get("segments_info", item.get("segments", ()))
        stated = "segments_info" in item or "segments" in item
        if isinstance(found, tuple | list) and len(found) == 2 and not stated:
            (found, segments), stated = found, True  # detectron2: {"panoptic_seg": (map, segments)}
    else:
        stated = isinstance(item, tuple | list) and len(item) == 2
        if stated:
            found, segments = item
    if found is None or not stated or not isinstance(segments, list | tuple | None):
        raise FormatError(
            f"{what} is no pair of a map and its segments",
            hint='give (map, [{"id": 1, "category_id": 7}, ...]), or {"segmentation": map, "segments_info": [...]}',
        )
    return found, segments


def _divided(values: NDArray, dataset: Dataset, what: str) -> list[dict[str, int]]:
    """The segments of a map of class index * divisor + number, -1 for nothing."""
    if dataset.label_divisor is None:
        raise FormatError(
            f"{what} has no segments, and {dataset.name} no label_divisor to tell them from the map",
            hint='give (map, [{"id": 1, "category_id": 7}, ...]), or "label_divisor": 1000 in its dataset.json',
        )
    return [{"id": key, "label_id": key // dataset.label_divisor} for key in np.unique(values).tolist() if key >= 0]


def _void(values: NDArray, rows: Sequence[Row]) -> int:
    """0, or -1 where 0 is a segment, or where the map says -1 for nothing."""
    negative = values.dtype.kind == "i" and values.min() < 0
    return -1 if negative or any(row[0] == 0 for row in rows) else 0


ARRAYS = Format(
    NAME,
    "panoptic maps in memory",
    "{id: (map, segments)}, or what transformers and detectron2 give",
    ("panoptic",),
    (),
    lambda path: (0.0, ""),
    open_panoptic_arrays,
)
