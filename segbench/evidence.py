"""Evidence: the exact integers per image from which every number is computed.

One structure for every task: a table of images, and named tables of columns whose `image` column refers to it. Laws, tested for every
accumulator: an empty evidence is the identity of `merge`; `merge` is associative and commutative; any split into shards gives the same
arrays bit for bit; `from_arrays(arrays())` round-trips.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.errors import ComparabilityError, FormatError, InputError
from segbench.samples import ImageId

Table = dict[str, NDArray]
Tables = dict[str, Table]

SCHEMA = "segbench.evidence/1"

TABLE_VERSIONS: dict[str, int] = {}
"""Version of each table of `evidence.npz` where it is not 1: raised when a column changes its meaning."""


def id_order(image_id: ImageId) -> tuple[int, int, str]:
    """Sort key of ids: numbers by value, also where they are written as text, so that "10" never stands before "9"."""
    if isinstance(image_id, int):
        return 0, image_id, ""
    if image_id.isdecimal():
        return 1, int(image_id), image_id
    return 2, 0, image_id


@dataclass(frozen=True, eq=False)
class Images:
    """The id table: one row per image, in canonical order.

    Attributes:
        ids: The ids, their types kept; unique.
        order: int64[N], position in the ground truth's own order.
        sizes: int32[N, 2], height and width.
    """

    ids: tuple[ImageId, ...]
    order: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Images and their tables, in canonical order: images by (order, id), rows by image, then as they were made."""

    task: str
    num_classes: int
    images: Images
    tables: Tables
    repeated: int = 0
    """Images that arrived more than once with equal evidence and were counted once."""

    def merge(self, *others: Evidence) -> Evidence:
        """All images of all of them. An image that is in two with equal rows counts once; with different rows it is an error."""
        return merge((self, *others))

    def rows(self, name: str) -> Table:
        """The columns of a table; raises where the run did not collect it."""
        if name not in self.tables:
            raise InputError(
                f"this run holds no {name!r} evidence",
                hint="evaluate again and ask for the metric with --metrics",
            )
        return self.tables[name]

    def starts(self, name: str) -> NDArray[np.int64]:
        """int64[N + 1]: the rows of image i are `starts[i]:starts[i + 1]`."""
        return np.searchsorted(self.rows(name)["image"], np.arange(len(self.images) + 1))

    def select(self, keep: Sequence[int] | NDArray) -> Evidence:
        """The evidence of some images, by index or mask; stays in canonical order."""
        mask = np.zeros(len(self.images), bool)
        mask[np.asarray(keep)] = True
        new_index = np.cumsum(mask) - 1
        tables = {}
        for name, table in self.tables.items():
            rows = mask[table["image"]]
            tables[name] = {key: column[rows] for key, column in table.items()}
            tables[name]["image"] = new_index[tables[name]["image"]].astype(np.int32)
        images = Images(
            tuple(image_id for image_id, kept in zip(self.images.ids, mask, strict=True) if kept),
            self.images.order[mask],
            self.images.sizes[mask],
        )
        return Evidence(self.task, self.num_classes, images, tables)

    def arrays(self) -> dict[str, NDArray]:
        """Everything as named arrays: what is saved, shipped and resampled."""
        header = {
            "schema": SCHEMA,
            "task": self.task,
            "num_classes": self.num_classes,
            "tables": {name: TABLE_VERSIONS.get(name, 1) for name in self.tables},
            "ids": self.images.ids,
        }
        arrays: dict[str, NDArray] = {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            "images/order": self.images.order,
            "images/sizes": self.images.sizes,
        }
        for name, table in self.tables.items():
            arrays |= {f"{name}/{column}": values for column, values in table.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Evidence:
        """The inverse of `arrays`.

        Raises:
            FormatError: arrays that no evidence has.
        """
        try:
            # Python's own reader: ids may be file names that are no UTF-8
            header = msgspec.convert(json.loads(bytes(np.asarray(arrays["header"], np.uint8))), _Header)
            order, sizes = arrays["images/order"], arrays["images/sizes"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"this is not segbench evidence: its header is missing or damaged ({error})") from error
        if header.schema != SCHEMA:
            raise FormatError(f"evidence of schema {header.schema}; this segbench reads {SCHEMA}", hint="upgrade segbench")
        tables: Tables = {name: {} for name in header.tables}
        for key in arrays:
            name, _, column = key.partition("/")
            if name in tables:
                tables[name][column] = np.asarray(arrays[key])
            elif key not in ("header", "images/order", "images/sizes"):
                raise FormatError(f"evidence holds an array {key!r} that belongs to no table")
        images = _checked_images(header.ids, np.asarray(order), np.asarray(sizes))
        for name, version in header.tables.items():
            if version > TABLE_VERSIONS.get(name, 1):
                raise FormatError(
                    f"evidence table {name!r} has version {version}, which this segbench does not know", hint="upgrade segbench"
                )
            image = tables[name].get("image")
            fits = image is not None and len({column.shape[:1] for column in tables[name].values()}) == 1 and image.ndim == 1
            if image is None or not fits or image.dtype.kind != "i" or not _ascending(image, len(images)):
                raise FormatError(f"evidence table {name!r} is damaged: its columns do not fit together")
        return cls(header.task, header.num_classes, images, tables)


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """What `header` of the arrays says."""

    schema: str
    task: str
    num_classes: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
    tables: dict[str, int]
    ids: tuple[int | str, ...]


def _ascending(image: NDArray, count: int) -> bool:
    return not len(image) or (int(image[0]) >= 0 and int(image[-1]) < count and bool((image[1:] >= image[:-1]).all()))


def _checked_images(ids: tuple[ImageId, ...], order: NDArray, sizes: NDArray) -> Images:
    fits = order.shape == (len(ids),) and sizes.shape == (len(ids), 2) and order.dtype.kind == sizes.dtype.kind == "i"
    if not fits or len(set(ids)) != len(ids) or (len(ids) and (sizes.min() < 0 or sizes.max() >= 2**31)):
        raise FormatError("evidence is damaged: its image columns do not fit together")
    images = Images(ids, order.astype(np.int64, copy=False), sizes.astype(np.int32, copy=False))
    ranks = [_rank(ids[row], int(order[row])) for row in range(len(ids))]
    if any(first > second for first, second in pairwise(ranks)):
        raise FormatError("evidence is damaged: its images are not in canonical order")
    return images


def empty(task: str, num_classes: int, columns: Mapping[str, Sequence[str]] = {}) -> Evidence:
    """Evidence of no image: the identity of `merge`."""
    images = Images((), np.zeros(0, np.int64), np.zeros((0, 2), np.int32))
    tables: Tables = {name: {column: np.zeros(0, _dtype(column)) for column in ("image", *rest)} for name, rest in columns.items()}
    return Evidence(task, num_classes, images, tables)


def stacked(parts: Sequence[Mapping[str, NDArray]]) -> Table:
    """One table from the rows of each image.

    Args:
        parts: Equally long columns, at least one such mapping.
    """
    lengths = [len(next(iter(part.values()))) for part in parts]
    columns = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    return {"image": np.repeat(np.arange(len(parts)), lengths), **columns}


def build(
    task: str, num_classes: int, ids: Sequence[ImageId], order: Sequence[int], sizes: Sequence[tuple[int, int]], tables: Mapping[str, Table]
) -> Evidence:
    """Canonical evidence of images.

    Args:
        tables: Their columns; `image` holds places in `ids`, ascending.
    """
    typed: Tables = {
        name: {column: values.astype(_dtype(column), copy=False) for column, values in table.items()} for name, table in tables.items()
    }
    images = Images(tuple(ids), np.asarray(order, np.int64), np.asarray(sizes, np.int32).reshape(-1, 2))
    return _canonical([Evidence(task, num_classes, images, typed)])


def merge(parts: Iterable[Evidence]) -> Evidence:
    """Exact union of evidences of the same task, classes and tables, in any order."""
    parts = list(parts)
    if len({(part.task, part.num_classes, *sorted(part.tables)) for part in parts}) != 1:
        raise ComparabilityError("only evidence of one task, one class list and the same tables can be merged")
    filled = [part for part in parts if len(part.images)]
    if len(filled) <= 1:
        chosen = filled[0] if filled else parts[0]
        repeated = sum(part.repeated for part in parts)
        return Evidence(chosen.task, chosen.num_classes, chosen.images, chosen.tables, repeated)
    return _canonical(filled)


def _rank(image_id: ImageId, order: int) -> tuple:
    return order, id_order(image_id), type(image_id).__name__


def _dtype(column: str) -> type:
    return {"pixels": np.int64, "image": np.int32}.get(column, np.int32 if column in ("gt", "pred", "class") else np.int64)


def _in_order(ids: Sequence[ImageId], order: NDArray[np.int64]) -> bool:
    """Whether images stand in canonical order, each once, as their places alone tell: those of one place are ranked by their ids."""
    return len(set(ids)) == len(ids) and bool((order[1:] > order[:-1]).all())


def _canonical(parts: Sequence[Evidence]) -> Evidence:
    if len(parts) == 1 and _in_order(parts[0].images.ids, parts[0].images.order):
        return parts[0]
    ids = [image_id for part in parts for image_id in part.images.ids]
    order = np.concatenate([part.images.order for part in parts])
    sizes = np.concatenate([part.images.sizes for part in parts])
    offsets = np.cumsum([0, *(len(part.images) for part in parts)])
    tables = {
        name: {column: _end_to_end([part.tables[name][column] for part in parts]) for column in parts[0].tables[name]}
        for name in parts[0].tables
    }
    for name, table in tables.items():
        table["image"] = table["image"] + np.repeat(offsets[:-1], [len(part.tables[name]["image"]) for part in parts]).astype(np.int32)
    repeated = sum(part.repeated for part in parts)
    if _in_order(ids, order):
        return Evidence(parts[0].task, parts[0].num_classes, Images(tuple(ids), order, sizes), tables, repeated)
    ranking = sorted(range(len(ids)), key=lambda row: _rank(ids[row], int(order[row])))
    first_of: dict[ImageId, int] = {}
    keep = [row for row in ranking if first_of.setdefault(ids[row], row) == row]
    if len(keep) != len(ids):
        repeated += len(ids) - len(keep)
        _check_repeats(ids, sizes, tables, first_of)
    rank = np.full(len(ids), -1, np.int64)
    rank[keep] = np.arange(len(keep))
    for table in tables.values():
        new_image = rank[table["image"]]
        if len(keep) == len(ids) and (new_image[1:] >= new_image[:-1]).all():
            table["image"] = new_image.astype(np.int32)
            continue
        by_image = np.argsort(new_image, kind="stable")
        by_image = by_image[np.searchsorted(new_image[by_image], 0) :]
        for column in table:
            table[column] = (new_image if column == "image" else table[column])[by_image]
        table["image"] = table["image"].astype(np.int32)
    images = Images(tuple(ids[row] for row in keep), order[keep], sizes[keep])
    return Evidence(parts[0].task, parts[0].num_classes, images, tables, repeated)


def _end_to_end(columns: Sequence[NDArray]) -> NDArray:
    """All of them in one array: a view where they lie behind one another in another array, as parts of one file do, else a copy."""
    first = columns[0]
    at = first.__array_interface__["data"][0]
    for column in columns:
        interface = column.__array_interface__
        if first.base is None or column.base is not first.base or interface["strides"] is not None or interface["data"][0] != at:
            return np.concatenate(columns)
        at += column.nbytes
    view = np.lib.stride_tricks.as_strided(first, (sum(map(len, columns)), *first.shape[1:]), writeable=False)
    return view if all(column.dtype == first.dtype for column in columns) else np.concatenate(columns)


def _check_repeats(ids: list[ImageId], sizes: NDArray, tables: Tables, first_of: dict[ImageId, int]) -> None:
    """Distributed samplers pad by repeating images: equal repeats are fine, different ones mean that something is wrong."""
    ranges = {}
    for name, table in tables.items():
        by_image = np.argsort(table["image"], kind="stable")
        bounds = np.searchsorted(table["image"][by_image], np.arange(len(ids) + 1))
        ranges[name] = by_image, bounds
    differing = []
    for row, image_id in enumerate(ids):
        first = first_of[image_id]
        if row == first:
            continue
        equal = np.array_equal(sizes[row], sizes[first])
        for name, table in tables.items():
            by_image, bounds = ranges[name]
            mine, theirs = by_image[bounds[row] : bounds[row + 1]], by_image[bounds[first] : bounds[first + 1]]
            equal = equal and all(np.array_equal(values[mine], values[theirs]) for column, values in table.items() if column != "image")
        if not equal:
            differing.append(str(image_id))
    if differing:
        raise InputError(
            "an image was given twice with different contents",
            files=[("image", image_id) for image_id in differing[:5]],
            count=len(differing),
            hint="give every image one id, and each id one prediction and one ground truth",
            code="SB120",
        )
