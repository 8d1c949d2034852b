"""Ground-truth JSON of COCO and LVIS to columns, typed, so that a wrong field is an error."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance import coco_scan
from segbench.adapters.instance.coco_json import NOT_JSON, Rle, image_id_of, int64_of, limited, wrong, wrong_field
from segbench.adapters.instance.coco_masks import COUNTS, NONE, POLYGONS, RUNS, Segmentations
from segbench.errors import FormatError
from segbench.samples import ImageId

_ANNOTATIONS = re.compile(rb'"annotations"\s*:')
_COUNTS_LIST = re.compile(rb'"counts"\s*:\s*(\[[^]"{]*\])')


Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Length = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]


class ImageRow(msgspec.Struct, gc=False):
    """One image of a ground-truth file; the id lists are those of LVIS."""

    id: Whole | float | str
    height: Length = -1
    width: Length = -1
    file_name: str = ""
    neg_category_ids: list[Whole] | None = None
    not_exhaustive_category_ids: list[Whole] | None = None


class AnnotationRow(msgspec.Struct, gc=False):
    """One annotation of a ground-truth file."""

    image_id: Whole | float | str
    category_id: Whole | float
    id: Whole | str | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = 0
    ignore: int | bool | None = 0


class CategoryRow(msgspec.Struct, gc=False):
    """One category of a ground-truth file."""

    id: Whole
    name: str = ""
    supercategory: str | None = None
    frequency: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """The annotations of a ground-truth file, in its order.

    Attributes:
        images: The image id of each; int64[G], or a list where some are text.
        categories: int64[G], as the file says.
        ids: int64[G], or a list where some are no whole numbers.
        areas: float64[G], -1 where none is stated. boxes: float64[G, 4], NaN where none is.
        crowds: int8[G], -1 where it is null. ignored: bool[G].
        text: uint8[B]. starts, stops: int64[G], the bytes of each one's segmentation, as JSON; none where it has none.
    """

    images: NDArray[np.int64] | list[ImageId]
    categories: NDArray[np.int64]
    ids: NDArray[np.int64] | list[int | str | None]
    areas: NDArray[np.float64]
    boxes: NDArray[np.float64]
    crowds: NDArray[np.int8]
    ignored: NDArray[np.bool_]
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def segmentations(self, rows: NDArray[np.int64], name: Callable[[int], str], file: str) -> Segmentations:
        """The masks of some annotations, not yet decoded; polygons stay JSON.

        Args:
            name: What the annotation of a row is called in messages.
        """
        starts, stops = self.starts[rows], self.stops[rows]
        lengths = stops - starts
        first = np.zeros(len(rows), np.uint8)
        first[lengths > 0] = self.text[starts[lengths > 0]]
        kinds = np.full(len(rows), POLYGONS, np.uint8)
        kinds[(lengths == 0) | ((lengths == 2) & (first == ord("["))) | ((lengths == 4) & (first == ord("n")))] = NONE
        stated = np.full((len(rows), 2), -1, np.int64)
        decoder = msgspec.json.Decoder(Rle)
        texts = [self.text]
        used = len(self.text)
        for row in np.flatnonzero(first == ord("{")).tolist():
            try:
                mask = decoder.decode(self.text[starts[row] : stops[row]].data)
            except NOT_JSON as error:
                raise FormatError(f"the mask of {name(row)} cannot be read: {error}", files=[file], code="SB102") from None
            stated[row] = mask.size
            kinds[row] = COUNTS if isinstance(mask.counts, str) else RUNS
            written = _COUNTS_LIST.search(self.text[starts[row] : stops[row]].data)
            if written and msgspec.json.decode(written.group(1)) == mask.counts:  # it can stay where it is
                starts[row], stops[row] = starts[row] + written.start(1), starts[row] + written.end(1)
                continue
            text = mask.counts.encode() if isinstance(mask.counts, str) else msgspec.json.encode(mask.counts)
            texts.append(np.frombuffer(text, np.uint8))
            starts[row], stops[row] = used, used + len(texts[-1])
            used = int(stops[row])
        return Segmentations(texts[0] if len(texts) == 1 else np.concatenate(texts), starts, stops, kinds, limited(stated))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A ground-truth file."""

    images: list[ImageRow]
    annotations: Annotations
    categories: list[CategoryRow]


class _File(msgspec.Struct):
    images: list[ImageRow]
    annotations: list[AnnotationRow]
    categories: list[CategoryRow] = []


class _Outline(msgspec.Struct):
    images: list[ImageRow]
    annotations: msgspec.Raw
    categories: list[CategoryRow] = []


@lru_cache(maxsize=1)
def _parsed(path: str, size: int, modified: int) -> Truth:
    buffer = np.zeros(size + 2, np.uint8)  # a large array comes in large pages, and two zeros stand behind the text
    with open(path, "rb", buffering=0) as file:
        filled = 0
        while filled < size and (more := file.readinto(buffer[filled:size].data)):
            filled += more
    start = len(codecs.BOM_UTF8) if buffer[:3].tobytes() == codecs.BOM_UTF8 else 0
    data = buffer[start:filled].data
    try:
        if size >= coco_scan.SMALL and len(_ANNOTATIONS.findall(data)) == 1:  # of two, JSON takes the last, and the first is still checked
            outline = msgspec.json.decode(data, type=_Outline)
            scanned = coco_scan.scan_truth(memoryview(outline.annotations))
            if scanned is not None:
                return Truth(outline.images, Annotations(*scanned), outline.categories)
        found = msgspec.json.decode(data, type=_File)
    except NOT_JSON as error:
        raise wrong(error, bytes(data), path) from None
    return Truth(found.images, _columns(found.annotations, path), found.categories)


def read_truth(path: str | os.PathLike) -> Truth:
    """Reads a ground-truth file; the last one read is kept, because its categories are asked for first.

    Raises:
        FormatError: not JSON, or a field that is missing or of another type than it must be.
    """
    status = os.stat(path)
    return _parsed(str(path), status.st_size, status.st_mtime_ns)


def forget_truth() -> None:
    """Frees the file that `read_truth` keeps."""
    _parsed.cache_clear()


def truth_of(document: Any, file: str = "") -> Truth:
    """A ground truth in memory, as `json.load` gives it."""
    rows = [dict(row) for row in document.get("annotations", ())]
    for row in rows:
        row["segmentation"] = msgspec.Raw(msgspec.json.encode(row["segmentation"], enc_hook=_plain) if row.get("segmentation") else b"")
    try:
        found = msgspec.convert({**document, "annotations": rows}, _File, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_field(error, file) from None
    return Truth(found.images, _columns(found.annotations, file), found.categories)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


def _columns(rows: Sequence[AnnotationRow], path: str) -> Annotations:
    images = [row.image_id if type(row.image_id) is int else image_id_of(row.image_id, path) for row in rows]
    ids = [row.id for row in rows]
    bad = [row for row in rows if row.bbox and len(row.bbox) != 4]
    if bad:
        raise FormatError(
            f"the bbox of annotation {bad[0].id} has {len(bad[0].bbox or ())} numbers",
            files=[path],
            count=len(bad),
            hint="bbox is [x, y, width, height]",
            code="SB172",
        )
    missing = [np.nan] * 4
    texts = [bytes(row.segmentation) for row in rows]
    lengths = np.array([len(text) for text in texts], np.int64)
    stops = np.cumsum(lengths)
    return Annotations(
        np.array(images or np.zeros(0, np.int64), np.int64) if all(type(image) is int for image in images) else images,
        int64_of([row.category_id for row in rows], "category_id", path, lambda row: f"annotation {ids[row]}"),
        np.array(ids or np.zeros(0, np.int64), np.int64) if all(type(number) is int for number in ids) else ids,
        np.array([-1.0 if row.area is None else row.area for row in rows], np.float64),
        np.array([row.bbox or missing for row in rows] or np.zeros((0, 4)), np.float64),
        np.array([-1 if row.iscrowd is None else bool(row.iscrowd) for row in rows], np.int8),
        np.array([bool(row.ignore) for row in rows], bool),
        np.frombuffer(b"".join(texts), np.uint8),
        stops - lengths,
        stops,
    )
