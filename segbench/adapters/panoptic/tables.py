"""Segment tables: what every segment id of every image is, as columns, with the checks that need no pixel."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Request
from segbench.datasets import Dataset, spaces_holding
from segbench.errors import SHOWN, InputError, LabelError, PairingError, counted
from segbench.samples import INVALID, ImageId, PanopticMap

MAX_RGB_ID = 2**24 - 1
"""The largest id that three bytes hold."""


@dataclass(frozen=True, eq=False)
class SegmentTables:
    """The segments of all images, in the file's order.

    Attributes:
        keys: The images; unique.
        files: The map of each image, relative to a folder.
        starts: int64[N + 1]: the segments of image i are rows `starts[i]:starts[i + 1]`.
        ids: int64[S], segment ids, unique within an image.
        classes: int32[S], class indices; C for a class that is not evaluated, INVALID for an unknown category.
        areas: int64[S], as stated; -1 none, -2 one that is no number of pixels.
        crowd: bool[S].
        notes: What looks like a mistake, for the user.
    """

    keys: tuple[ImageId, ...]
    files: tuple[str, ...]
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    @cached_property
    def at(self) -> dict[ImageId, int]:
        """Index of every image."""
        return {key: index for index, key in enumerate(self.keys)}

    def sample(self, key: ImageId, values: NDArray, file: str, void: int = 0) -> PanopticMap:
        """One image with its map."""
        rows = self.rows(key)
        columns = self.ids[rows], self.classes[rows], self.areas[rows], self.crowd[rows]
        return PanopticMap(key, values, *columns, file, self.at[key], void)

    def rows(self, key: ImageId) -> slice:
        """The segments of one image."""
        index = self.at[key]
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def select(self, keys: Sequence[ImageId]) -> SegmentTables:
        """The tables of some images, in the given order."""
        indices = [self.at[key] for key in keys]
        bounds = [(int(self.starts[index]), int(self.starts[index + 1])) for index in indices]
        rows = np.concatenate([np.arange(*bound) for bound in bounds]) if bounds else np.zeros(0, np.int64)
        starts = np.cumsum([0, *(stop - start for start, stop in bounds)])
        columns = (column[rows] for column in (self.ids, self.classes, self.areas, self.crowd))
        return SegmentTables(tuple(keys), tuple(self.files[index] for index in indices), starts, *columns)


@dataclass
class SegmentRows:
    """The same as lists, while a file is read.

    Attributes:
        keys: The images.
        files: The map of each.
        lengths: How many segments each has.
        ids, categories: Of each segment.
        areas: As `stated_area` gives them.
        crowd: Whether it stands for a group.
        things: Whether it says of itself that it is a thing.
    """

    keys: list[ImageId]
    files: list[str]
    lengths: list[int]
    ids: list[int]
    categories: list[int]
    areas: list[int]
    crowd: list[bool]
    things: list[bool | None]


def tables_of(
    rows: SegmentRows,
    request: Request,
    file: str,
    categories: Mapping[int, str] = {},
    usual: str = "label",
    highest: int = MAX_RGB_ID,
    void: int = 0,
    unknown: bool = False,
) -> tuple[SegmentTables, str]:
    """Columns from rows, checked.

    A segment that is listed twice with one category is one segment: the last one counts, as in panopticapi.

    Args:
        rows: What was read.
        file: Where it comes from, for messages.
        categories: The file's own categories, id to name; they tell the id space.
        usual: The id space that is taken where several fit.
        highest: The largest id that a map can hold.
        void: The id that means no segment.
        unknown: Keep segments of unknown categories.

    Returns:
        The tables, and the id space that the categories are of.

    Raises:
        PairingError: SB120, an image is listed twice.
        LabelError: SB152, one id with two categories; SB153, ids that no map can hold; SB110 or SB111, unknown categories.
    """
    keys = rows.keys
    repeated = [str(key) for key, count in Counter(keys).items() if count > 1] if len(set(keys)) != len(keys) else []
    if repeated:
        raise PairingError(
            f"listed more than once: {counted(len(repeated), 'image')}",
            files=[(request.role, file), *(("image", key) for key in repeated[:SHOWN])],
            count=len(repeated),
            hint="give every image one annotation with all of its segments",
            code="SB120",
        )
    ids, labels, areas = (
        _int64(values, what, file) for what, values in (("id", rows.ids), ("category_id", rows.categories), ("area", rows.areas))
    )
    crowd = np.array(rows.crowd, bool)
    image = np.repeat(np.arange(len(keys)), rows.lengths)
    kept = _without_repeats(image, ids, labels, keys, request, file)
    if kept is not None:
        last = np.array(kept)
        image, ids, labels, areas, crowd = image[last], ids[last], labels[last], areas[last], crowd[last]
    bad = (ids == void) | (ids < (0 if void >= 0 else void + 1)) | (ids > highest)
    if bad.any():
        raise _problem(
            f"{{count}} with an id that no map can hold: {void} means void, and ids end at {highest}",
            np.flatnonzero(bad),
            image,
            ids,
            keys,
            request,
            file,
            "number the segments of an image from 1",
            "SB153",
        )
    classes, space = _classes(labels, request, categories, usual)
    strange = np.flatnonzero(classes == INVALID)
    if len(strange) and not unknown:
        shown = ", ".join(map(str, np.unique(labels[strange])[:8].tolist()))
        raise _problem(
            f"{{count}} of a category that {request.dataset.name} does not have in id space {space!r}: {shown}",
            strange,
            image,
            ids,
            keys,
            request,
            file,
            _other_space(labels, request, space),
            "SB110",
        )
    starts = np.searchsorted(image, np.arange(len(keys) + 1))
    notes = _kinds(rows.things if kept is None else [rows.things[row] for row in kept], classes, request)
    return SegmentTables(tuple(keys), tuple(rows.files), starts, ids, classes, areas, crowd, notes), space


def _kinds(things: list[bool | None], classes: NDArray[np.int32], request: Request) -> tuple[str, ...]:
    """A note where segments say that they are things, or stuff, and their class is not."""
    said = np.array([-1 if thing is None else thing for thing in things], np.int8)
    known = np.array([-1 if thing is None else thing for thing in (*request.dataset.isthing, None, None)], np.int8)[classes]
    wrong = int(((said >= 0) & (known >= 0) & (said != known)).sum())  # the last two: not evaluated, unknown
    if not wrong:
        return ()
    noun = "prediction" if request.role == "pred" else "ground truth"
    return (
        f"{counted(wrong, 'segment')} of the {noun} whose isthing is not that of the class: are the categories those of the data set? "
        "(detectron2 numbers things and stuff apart in memory)",
    )


def _int64(values: list[int], what: str, file: str) -> NDArray[np.int64]:
    try:
        return np.array(values, np.int64)
    except (OverflowError, ValueError, TypeError):
        hint = "ids, categories and areas are whole numbers below 2^63"
        raise LabelError(f"a segment has an impossible {what}", files=[file], hint=hint, code="SB153") from None


def _without_repeats(
    image: NDArray, ids: NDArray[np.int64], labels: NDArray[np.int64], keys: Sequence[ImageId], request: Request, file: str
) -> list[int] | None:
    """Rows to keep where ids repeat within an image: each at its first place, with what its last row says; None where none repeats."""
    order = np.lexsort((ids, image))
    again = (np.diff(image[order]) == 0) & (np.diff(ids[order]) == 0)
    if not again.any():
        return None
    first, second = order[:-1][again], order[1:][again]
    clash = labels[first] != labels[second]
    if clash.any():
        raise _problem(
            "{count} listed with two categories",
            second[clash],
            image,
            ids,
            keys,
            request,
            file,
            "give every segment its own id; transformers' label_ids_to_fuse is known to write such tables: fuse stuff after it instead",
            "SB152",
        )
    last: dict[tuple[int, int], int] = {}
    for row, key in enumerate(zip(image.tolist(), ids.tolist(), strict=True)):
        last[key] = row
    return list(last.values())


def _problem(
    message: str,
    rows: NDArray,
    image: NDArray,
    ids: NDArray,
    keys: Sequence[ImageId],
    request: Request,
    file: str,
    hint: str | None,
    code: str,
) -> InputError:
    shown = [("image", f"{keys[image[row]]}, segment {ids[row]}") for row in rows[:SHOWN]]
    return LabelError(
        message.format(count=counted(len(rows), "segment")), files=[(request.role, file), *shown], count=len(rows), hint=hint, code=code
    )


def _classes(labels: NDArray[np.int64], request: Request, categories: Mapping[int, str], usual: str) -> tuple[NDArray[np.int32], str]:
    """Class indices, and the id space they were read in: as asked for, else the usual one where it fits, else the only one that does."""
    dataset = request.dataset
    if request.id_space:
        return _named(dataset, request.id_space, labels), request.id_space
    spaces = [space for space in dataset.spaces if categories and _named_alike(dataset, space, categories)]
    if not spaces:
        holding = spaces_holding(dataset, np.unique(labels).tolist())
        spaces = list(holding.evaluated if request.role == "pred" and holding.evaluated else holding.known)
    if usual not in dataset.spaces:  # it reads all values as the first one does
        usual = dataset.spaces[0]
    space = spaces[0] if spaces and usual not in spaces else usual
    return _named(dataset, space, labels), space


def _named(dataset: Dataset, space: str, labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """Class indices of categories. A number that only says void in label maps is no category: a segment is of a class, or it is none."""
    numbers = {row.train_id if space == "train" else row.id for row in dataset.classes}
    nothing = sorted(dataset.void_numbers(space) - numbers)
    return np.where(np.isin(labels, nothing), INVALID, dataset.value_map(space).classes(labels))


def _named_alike(dataset: Dataset, space: str, categories: Mapping[int, str]) -> bool:
    """Whether the categories of a file have the ids of this space: all that are evaluated have their class's name."""
    ids = np.array(sorted(categories), np.int64)
    classes = dataset.value_map(space).classes(ids)
    pairs = [
        (index, categories[key]) for key, index in zip(ids.tolist(), classes.tolist(), strict=True) if 0 <= index < dataset.num_classes
    ]
    return len(pairs) * 2 > len(ids) and all(dataset.names[index] == name for index, name in pairs)


def _other_space(labels: NDArray[np.int64], request: Request, space: str) -> str:
    option = "--id-space" if request.role == "pred" else "--gt-id-space"
    for other in request.dataset.spaces:
        if other != space and (request.dataset.value_map(other).classes(labels) != INVALID).all():
            return f"all categories are known in id space {other!r}: pass {option} {other}"
    return f"is {request.dataset.name} the right --dataset?"


def as_bool(value: Any) -> bool | None:
    """True, False, or None for not said."""
    return None if value is None else bool(value)


def stated_area(area: float | None) -> int:
    """An area as a file states it, as a number of pixels: -1 where there is none, -2 where it is a fraction or below 0."""
    if area is None:
        return -1
    return int(area) if area >= 0 and area == int(area) else -2


Row = tuple[int, int, int, bool, bool | None]


def segment_row(row: Any, what: str) -> Row:
    """(id, category, stated area, crowd, thing) of a segment in memory: a mapping with `id` and `category_id` or `label_id`.

    Args:
        what: What it is called in messages.

    Raises:
        LabelError: SB150, no such mapping; SB153, a field that is no whole number.
    """
    try:
        label = "category_id" if "category_id" in row else "label_id"
        needed = {"id": row["id"], label: row[label]}
        area, crowd, thing = row.get("area"), row.get("iscrowd"), row.get("isthing")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LabelError(
            f"a segment is not described by id and category_id: {row!r}"[:200],
            files=[what],
            hint='each one is {"id": 7, "category_id": 3}, and may have area and iscrowd',
            code="SB150",
        ) from error
    key, category = (_whole(value, name, what, flag=False) for name, value in needed.items())
    stated = None if area is None else _number(area, "area", what)
    crowded = crowd is not None and _whole(crowd, "iscrowd", what) == 1
    return key, category, stated_area(stated), crowded, None if thing is None else bool(_whole(thing, "isthing", what))


def _whole(value: Any, name: str, what: str, flag: bool = True) -> int:
    """A field as an integer, of any type that holds a whole number.

    Args:
        flag: Whether it may be True or False.
    """
    if type(value) is int:
        return value
    number = _number(value, name, what)
    if number != int(number) or (isinstance(value, bool | np.bool_) and not flag):
        raise _no_number(value, name, "whole number", what)
    return int(number)


def _number(value: Any, name: str, what: str) -> int | float:
    """A field as a number; text is none."""
    if hasattr(value, "__index__"):
        with suppress(Exception):  # arrays have it and may not mean it; code of a framework, or of the user
            return operator.index(value)
    number = math.nan
    if not isinstance(value, str | bytes | bytearray):
        with suppress(Exception):
            number = float(value)
    if not math.isfinite(number):
        raise _no_number(value, name, "number", what)
    return number


def _no_number(value: Any, name: str, kind: str, what: str) -> LabelError:
    hint = "id and category_id are whole numbers, iscrowd and isthing 0 or 1, area a number of pixels"
    return LabelError(f"the {name} of a segment is no {kind}: {value!r}"[:200], files=[what], hint=hint, code="SB153")
