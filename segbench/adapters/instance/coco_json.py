"""Results files to columns: scanned, or decoded in pieces of a few megabytes and typed, so that a wrong field is an error."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance import coco_scan
from segbench.adapters.instance.coco_masks import BOX, COUNTS, NONE, POLYGONS, RUNS, Segmentations
from segbench.errors import FormatError
from segbench.samples import ImageId

CHUNK = 8 * 2**20
"""Bytes of a results file that are decoded at a time."""

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_FIELDS = {"score": "SB140", "image_id": "SB122", "category_id": "SB110", "segmentation": "SB102", "bbox": "SB172"}


class Rle(msgspec.Struct, gc=False):
    """A run-length mask."""

    counts: str | list[int]
    size: tuple[int, int]


class ResultRow(msgspec.Struct, gc=False):
    """One detection of a results file."""

    image_id: int | float | str
    category_id: int | float | str
    score: float | None = None
    bbox: list[float] | None = None
    segmentation: Rle | list | None = None


class _ResultFile(msgspec.Struct):
    annotations: list[ResultRow]


@dataclass(frozen=True, slots=True, eq=False)
class ResultColumns:
    """The detections of a results file, in its order.

    Attributes:
        images: The image id of each row; int64[M], or a list where some are text.
        categories: int64[M], as the file says; texts in object[M] where some are names.
        scores: float64[M].
        boxes: float64[M, 4], NaN where a row has none.
        boxed: Whether the first row states a box, on which a reference's areas depend.
        segmentations: The masks, not yet decoded.
    """

    images: NDArray[np.int64] | list[ImageId]
    categories: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    boxed: bool
    segmentations: Segmentations


def read_results(path: str | os.PathLike) -> ResultColumns:
    """Reads a results file: an array of detections, or an object with the array under `annotations`.

    Raises:
        FormatError: not JSON, or a field of another type than it must be.
    """
    scanned = coco_scan.scan(path) if os.path.getsize(path) >= coco_scan.SMALL else None
    if scanned is not None:
        images, categories, scores, boxes, segmentations = scanned
        boxed = bool(len(boxes)) and bool(np.isfinite(boxes[0]).all())
        return ResultColumns(images, categories, scores, boxes, boxed, segmentations)
    builder = _Builder(str(path))
    try:
        for rows in _chunks(path):
            builder.add(rows)
    except NOT_JSON:
        # cut at a wrong place, or really wrong: the whole file tells, with the number of the row
        builder = _Builder(str(path))
        builder.add(_whole(path))
    return builder.columns()


def results_of(rows: Sequence[Any], file: str = "") -> ResultColumns:
    """The columns of detections in memory: dicts as they would stand in a results file."""
    builder = _Builder(file)
    try:
        builder.add([msgspec.convert(row, ResultRow, strict=False) for row in rows])
    except msgspec.ValidationError as error:
        raise wrong_field(error, file) from None
    return builder.columns()


class _Builder:
    """Collects columns piece by piece, so that no object per detection outlives its piece."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.boxed = False
        self.images: list[NDArray | list[ImageId]] = []
        self.columns_of: dict[str, list[NDArray]] = {name: [] for name in ("categories", "scores", "boxes", "kinds", "sizes", "lengths")}
        self.texts: list[bytes] = []

    def add(self, rows: Sequence[ResultRow]) -> None:
        if not rows:
            return
        if not self.count:
            self.boxed = bool(rows[0].bbox)
        scores = [row.score for row in rows]
        if None in scores:
            index = self.count + scores.index(None)
            raise FormatError(
                f"detection {index} has no score",
                files=[self.file],
                hint="give every instance a score: they are ranked by it",
                code="SB140",
            )
        images = [row.image_id for row in rows]
        integers = all(type(image) is int for image in images)
        self.images.append(
            int64_of(images, "image_id", self.file, lambda row: f"detection {self.count + row}")
            if integers
            else [image_id_of(image, self.file) for image in images]
        )
        of = self.columns_of
        of["categories"].append(_categories([row.category_id for row in rows], self.file, self.count))
        of["scores"].append(np.array(scores, np.float64))
        of["boxes"].append(self._boxes([row.bbox for row in rows]))
        segmentations = [row.segmentation for row in rows]
        texts, kinds, sizes = _texts(segmentations)
        joined = "".join(texts)
        if not joined.isascii():
            index = self.count + next(index for index, text in enumerate(texts) if not text.isascii())
            raise FormatError(
                f"the mask of detection {index} is damaged: a character that no counts string has", files=[self.file], code="SB102"
            )
        self.texts.append(joined.encode())
        of["kinds"].append(kinds)
        of["sizes"].append(sizes)
        of["lengths"].append(np.fromiter(map(len, texts), np.int64, len(texts)))
        self.count += len(rows)

    def _boxes(self, boxes: list[list[float] | None]) -> NDArray[np.float64]:
        lengths = {len(box) if box else 0 for box in boxes}
        if lengths == {0}:
            return np.full((len(boxes), 4), np.nan)
        if lengths - {0, 4}:
            index = next(index for index, box in enumerate(boxes) if box and len(box) != 4)
            raise FormatError(
                f"the bbox of detection {self.count + index} has {len(boxes[index] or ())} numbers",
                files=[self.file],
                hint="bbox is [x, y, width, height]",
                code="SB172",
            )
        missing = [np.nan] * 4
        return np.array([box or missing for box in boxes], np.float64)

    def add_none(self) -> None:
        """Columns of no detection."""
        empty: dict[str, NDArray] = {
            "scores": np.zeros(0),
            "boxes": np.zeros((0, 4)),
            "kinds": np.zeros(0, np.uint8),
            "sizes": np.zeros((0, 2), np.int32),
        }
        for name, parts in self.columns_of.items():
            parts.append(empty.get(name, np.zeros(0, np.int64)))
        self.texts.append(b"")

    def columns(self) -> ResultColumns:
        if not self.count:
            self.add_none()
        joined = {name: np.concatenate(parts) for name, parts in self.columns_of.items()}
        text = np.frombuffer(self.texts[0] if len(self.texts) == 1 else b"".join(self.texts), np.uint8)
        self.texts = []
        stops = np.cumsum(joined["lengths"])
        segmentations = Segmentations(text, stops - joined["lengths"], stops, joined["kinds"], joined["sizes"])
        images: NDArray[np.int64] | list[ImageId]
        if all(isinstance(part, np.ndarray) for part in self.images):
            images = np.concatenate([np.zeros(0, np.int64), *self.images])
        else:
            images = [image for part in self.images for image in (part.tolist() if isinstance(part, np.ndarray) else part)]
        return ResultColumns(images, joined["categories"], joined["scores"], joined["boxes"], self.boxed, segmentations)


def _texts(segmentations: Sequence[Rle | list | None]) -> tuple[list[str], NDArray[np.uint8], NDArray[np.int32]]:
    """Text, kind and stated size of each segmentation."""
    count = len(segmentations)
    try:  # the usual case: every row has a counts string
        texts = [item.counts for item in segmentations]  # type: ignore[union-attr]
        if all(type(text) is str for text in texts):
            sizes = np.array([item.size for item in segmentations], np.int64)  # type: ignore[union-attr]
            return texts, np.full(count, COUNTS, np.uint8), limited(sizes)  # type: ignore[return-value]
    except AttributeError:
        pass
    kinds = np.zeros(count, np.uint8)
    stated = np.full((count, 2), -1, np.int64)
    texts = []
    for row, item in enumerate(segmentations):
        if isinstance(item, Rle):
            stated[row] = item.size
            kinds[row] = COUNTS if isinstance(item.counts, str) else RUNS
            texts.append(item.counts if isinstance(item.counts, str) else msgspec.json.encode(item.counts).decode())
        else:
            kinds[row] = POLYGONS if item else NONE
            texts.append(msgspec.json.encode(item).decode() if item else "")
    return texts, kinds, limited(stated)  # type: ignore[return-value]


def limited(sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.clip(sizes, -1, 2**31 - 1).astype(np.int32)


def _whole_number(value: Any) -> bool:
    return abs(value) < (2**63 if isinstance(value, int) else 2**53) and value == int(value)


def int64_of(values: Sequence[Any], field: str, file: str, name: Callable[[int], str]) -> NDArray[np.int64]:
    """Whole numbers, also where they are written with a point.

    Args:
        name: What a row is called in messages.

    Raises:
        FormatError: a number that is not whole, or beyond 64 bits.
    """
    try:
        array = np.array(values or np.zeros(0, np.int64))
    except OverflowError:
        array = np.zeros(1, object)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all() and (abs(array) < 2**53).all():
        array = array.astype(np.int64)
    if array.dtype != np.int64:
        bad = next((row for row, value in enumerate(values) if not _whole_number(value)), 0)
        raise FormatError(f"the {field} of {name(bad)} is no whole number within 64 bits: {values[bad]}", files=[file], code=_FIELDS[field])
    return array


def _categories(values: Sequence[Any], file: str, first: int) -> NDArray:
    """Category ids; as they are where some are names."""
    numbers = [row for row, value in enumerate(values) if type(value) is not str]
    found = int64_of([values[row] for row in numbers], "category_id", file, lambda row: f"detection {first + numbers[row]}")
    if len(numbers) == len(values):
        return found
    mixed = np.array(values, object)
    mixed[numbers] = found
    return mixed


def image_id_of(value: int | float | str, file: str) -> ImageId:
    """An image id as int or text; 42.0 is 42."""
    if isinstance(value, float):
        if not _whole_number(value):
            raise FormatError(f"an image_id that is no whole number: {value}", files=[file], code="SB122")
        return int(value)
    return value


def _chunks(path: str | os.PathLike) -> Iterator[list[ResultRow]]:
    """The rows of an array, piece by piece, cut where one object ends and the next begins."""
    decoder = msgspec.json.Decoder(list[ResultRow])
    with open(path, "rb") as file:
        carry = file.read(CHUNK)
        if not carry.lstrip().startswith(b"["):
            raise msgspec.DecodeError("no array")
        carry = carry.lstrip()[1:]
        while True:
            more = file.read(CHUNK)
            if not more:
                yield decoder.decode(b"[" + carry)
                return
            cut = _last_boundary(carry)
            if cut < 0:
                carry += more
                continue
            yield decoder.decode(b"[" + carry[:cut] + b"]")
            carry = carry[carry.index(b",", cut) + 1 :] + more


def _last_boundary(text: bytes) -> int:
    """Where the last object that is followed by another one ends, or -1; may be fooled by nested objects, which decoding then shows."""
    at = len(text)
    while True:
        at = text.rfind(b"{", 0, at)
        if at < 0:
            return -1
        before = text[max(0, at - 64) : at].rstrip()
        if before.endswith(b","):
            before = before[:-1].rstrip()
            if before.endswith(b"}"):
                return max(0, at - 64) + len(before)


def _whole(path: str | os.PathLike) -> list[ResultRow]:
    with open(path, "rb") as file:
        data = file.read().removeprefix(codecs.BOM_UTF8)
    if re.match(rb"\s*\{[^\n]*\}\s*\n\s*\{", data):
        raise FormatError("one JSON object on each line; results are one array", files=[os.fspath(path)], hint="write [{...}, {...}]")
    try:
        if data.lstrip().startswith(b"{"):
            return msgspec.json.decode(data, type=_ResultFile).annotations
        return msgspec.json.decode(data, type=list[ResultRow])
    except NOT_JSON as error:
        raise wrong(error, data, str(path)) from None


def boxes_as_masks(segmentations: Segmentations, boxes: NDArray[np.float64]) -> Segmentations:
    """Rows with a box and no mask get the box as their mask, as pycocotools does."""
    kinds = segmentations.kinds.copy()
    kinds[(kinds == NONE) & np.isfinite(boxes).all(1)] = BOX
    return Segmentations(segmentations.text, segmentations.starts, segmentations.stops, kinds, segmentations.sizes)


def wrong(error: Exception, data: bytes, file: str) -> FormatError:
    if isinstance(error, msgspec.ValidationError):
        return wrong_field(error, file)
    if re.search(rb"[:,\[]\s*-?(NaN|Infinity)", data):
        return FormatError(
            "NaN or Infinity is no JSON number",
            files=[file],
            hint="write finite scores and boxes; a NaN score is a defect of the model or of its export",
            code="SB140",
        )
    return FormatError(f"this is not valid JSON: {error}", files=[file], hint="check that the file was written to its end")


def wrong_field(error: msgspec.ValidationError, file: str) -> FormatError:
    text = str(error)
    code = next((code for field, code in _FIELDS.items() if f".{field}" in text or f"`{field}`" in text), None)
    return FormatError(f"a field is missing or has the wrong type: {text}", files=[file], hint="$[7] is the eighth entry", code=code)
