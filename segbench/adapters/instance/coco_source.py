"""Instances of one file as a source of batches: columns sorted by image, masks decoded when a shard asks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance.coco_masks import Segmentations, decode
from segbench.errors import FormatError
from segbench.evidence import id_order
from segbench.instances import ImageCategories, InstanceBatch, Masks
from segbench.samples import ImageId

ROW_MAJOR_SAMPLE = 20


@dataclass(frozen=True, eq=False)
class CocoInstances:
    """The instances of one file, as columns sorted by image. Threads share it; what travels to another process is a `part`.

    Attributes:
        format, said, keys: See `Source`.
        path: The file.
        role: `pred` or `gt`.
        dims: int32[N, 2], height and width of each image; -1 where the file does not say.
        order: int64[N], position in the canonical order.
        starts: int64[N + 1]: the rows of image i are `starts[i]:starts[i + 1]`.
        category: int32[M]. ids: int64[M], annotation ids, or positions in the file. scores, areas: float64[M]. boxes: float64[M, 4].
        flags: uint8[M].
        segmentations: The masks, not yet decoded; None where the file has none.
        known: LVIS: (image, category, kind) rows.
        notes: What the user should know about the file.
        file_names: That of each image, where the file says; empty where not.
    """

    format: str
    said: str
    keys: tuple[ImageId, ...]
    path: str
    role: str
    dims: NDArray[np.int32]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    category: NDArray[np.int32]
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    boxes: NDArray[np.float64]
    flags: NDArray[np.uint8]
    segmentations: Segmentations | None
    known: ImageCategories | None = None
    notes: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    places: dict[ImageId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.places) != len(self.keys):
            self.places.clear()
            self.places.update({key: place for place, key in enumerate(self.keys)})

    @property
    def has_masks(self) -> bool:
        """Whether masks can be compared, not boxes alone."""
        return "segm" in self.families

    def read(self, keys: Sequence[ImageId], sizes: NDArray[np.int32] | None = None, masks: bool = True) -> InstanceBatch:
        """The instances of some images, decoded.

        Args:
            keys: Which images, in the order of the batch.
            sizes: int32[N, 2], height and width that the masks must have, such as those of the ground truth; -1 where not known.
            masks: False where only boxes are compared: masks are then not decoded, unless a box or an area must come from one.

        Raises:
            ShapeError, FormatError: see `segbench.adapters.instance.coco_masks.decode`.
        """
        images = np.array([self.places[key] for key in keys], np.int64)
        rows, counts = _rows_of(self.starts, images)
        image = np.repeat(np.arange(len(images), dtype=np.int32), counts)

        def name(row: int) -> str:
            return self._name(int(rows.start + row if isinstance(rows, slice) else rows[row]))

        dims = self.dims[images]
        if sizes is not None:
            dims = np.where(sizes < 0, dims, sizes).astype(np.int32)
        decoded = None
        if self.segmentations is not None and (masks or not np.isfinite(self.boxes[rows]).all() or np.isnan(self.areas[rows]).any()):
            chosen = self.segmentations.take(rows)
            full = dims[image]
            if (full < 0).any():
                full = _stated(chosen, image, full)
                dims[image] = full
            decoded = decode(chosen, full, self.boxes[rows], name, self.path)
            row = row_major(decoded, self.boxes[rows], full)
            if row is not None:
                raise FormatError(
                    f"the mask of {name(row)} does not fill its box, but does when its runs are read along the rows",
                    files=[self.path],
                    hint="runs go down the columns: pycocotools.mask.encode(np.asfortranarray(mask))",
                    code="SB103",
                )
        return InstanceBatch(
            tuple(keys),
            self.order[images],
            dims,
            image,
            self.category[rows],
            self.ids[rows],
            self.scores[rows],
            self.areas[rows],
            self.boxes[rows],
            self.flags[rows],
            decoded,
            self.path,
            self._known_of(images),
        )

    def _known_of(self, images: NDArray[np.int64]) -> ImageCategories | None:
        """What is known of the categories of some images, by their place among these."""
        if self.known is None:
            return None
        place = np.full(len(self.keys), -1, np.int32)
        place[images] = np.arange(len(images))
        kept = place[self.known.image] >= 0
        return ImageCategories(place[self.known.image[kept]], self.known.category[kept], self.known.kind[kept])

    @property
    def families(self) -> tuple[str, ...]:
        """What these instances can be compared by: masks give boxes too."""
        return ("bbox",) if self.segmentations is None and len(self.category) else ("segm", "bbox", "boundary")

    def part(self, keys: Sequence[ImageId]) -> CocoInstances:
        """The columns of only these images; the text of their masks is shared until it is pickled."""
        images = np.array([self.places[key] for key in keys], np.int64)
        rows, counts = _rows_of(self.starts, images)
        return replace(
            self,
            keys=tuple(keys),
            dims=self.dims[images],
            order=self.order[images],
            starts=np.concatenate(([0], np.cumsum(counts))),
            category=self.category[rows],
            ids=self.ids[rows],
            scores=self.scores[rows],
            areas=self.areas[rows],
            boxes=self.boxes[rows],
            flags=self.flags[rows],
            segmentations=None if self.segmentations is None else self.segmentations.take(rows),
            known=self._known_of(images),
            file_names=tuple(self.file_names[index] for index in images) if self.file_names else (),
            places={},
        )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.segmentations is not None:
            state["segmentations"] = self.segmentations.packed()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def file(self, key: ImageId) -> str:
        """Where an image's instances come from, for messages."""
        return f"{self.path} (image {key})"

    def sizes(self) -> list[tuple[int, int] | None]:
        """Height and width of each image, where the file says."""
        return [(int(height), int(width)) if height >= 0 else None for height, width in self.dims]

    def fingerprint(self, key: ImageId) -> bytes:
        """sha256 of everything the file says about one image."""
        place = self.places[key]
        rows = slice(int(self.starts[place]), int(self.starts[place + 1]))
        parts = [repr(key).encode(), *(column[rows].tobytes() for column in (self.category, self.scores, self.boxes))]
        if self.segmentations is None:
            return hashlib.sha256(b"".join(parts)).digest()
        text, starts, stops = self.segmentations.text, self.segmentations.starts[rows], self.segmentations.stops[rows]
        digest = hashlib.sha256(b"".join((*parts, self.segmentations.sizes[rows].tobytes(), (stops - starts).tobytes())))
        if len(starts) and (starts[1:] == stops[:-1]).all():  # one image's masks mostly stand together
            digest.update(text[starts[0] : stops[-1]].data)
        else:
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                digest.update(text[start:stop].data)
        return digest.digest()

    def _name(self, row: int) -> str:
        image = self.keys[int(np.searchsorted(self.starts, row, "right")) - 1]
        noun = "annotation" if self.role == "gt" else "detection"
        return f"{noun} {self.ids[row]} (image {image})"


def _rows_of(starts: NDArray[np.int64], images: NDArray[np.int64]) -> tuple[NDArray[np.int64] | slice, NDArray[np.int64]]:
    """The rows of images, and how many each has. Those of images that follow one another are a slice, which copies nothing."""
    counts = np.diff(starts)[images]
    if len(images) and (images[1:] == images[:-1] + 1).all():
        return slice(int(starts[images[0]]), int(starts[images[-1] + 1])), counts
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts[:-1][images] - (ends - counts), counts), counts


def _stated(segmentations: Segmentations, image: NDArray[np.int32], sizes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sizes of rows, those of images that are not known taken from the first mask of the image that states one."""
    count = int(image.max()) + 1 if len(image) else 0
    first = np.full((count, 2), -1, np.int32)
    stated = np.flatnonzero(segmentations.sizes[:, 0] >= 0)[::-1]
    first[image[stated]] = segmentations.sizes[stated]
    return np.where(sizes < 0, first[image], sizes).astype(np.int32)


def row_major(masks: Masks, boxes: NDArray[np.float64], sizes: NDArray[np.int32]) -> int | None:
    """A mask whose runs were written along the rows, if most masks tell so: their boxes are not those stated, unless read that way."""
    ious = _box_iou(masks.boxes, boxes)  # NaN where no box is stated
    wrong = np.flatnonzero((ious < 0.5) & (masks.areas > 0))
    if 2 * len(wrong) <= np.count_nonzero((ious >= 0) & (masks.areas > 0)):
        return None
    wrong = wrong[:ROW_MAJOR_SAMPLE]
    turned = np.array([_row_major_box(masks.spans[masks.offsets[row] : masks.offsets[row + 1]], int(sizes[row, 1])) for row in wrong])
    fits = _box_iou(turned, boxes[wrong]) > 0.8
    return int(wrong[np.argmax(fits)]) if fits.mean() > 0.8 else None


def _row_major_box(spans: NDArray[np.int32], width: int) -> list[float]:
    ends = np.stack((spans[:, 0], spans[:, 1] - 1), 1).astype(np.int64)
    rows, columns = ends // width, ends % width
    wide = (rows[:, 0] != rows[:, 1]).any()
    left, right = (0, width - 1) if wide else (int(columns.min()), int(columns.max()))
    return [left, int(rows.min()), right - left + 1, int(rows.max() - rows.min()) + 1]


def _box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    # by columns: NumPy reduces along an axis of length two twenty times slower
    sides = [
        np.minimum(first[:, at] + first[:, at + 2], second[:, at] + second[:, at + 2]) - np.maximum(first[:, at], second[:, at])
        for at in (0, 1)
    ]
    inner = np.maximum(sides[0], 0) * np.maximum(sides[1], 0)
    return inner / np.maximum(first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3] - inner, 1e-9)


def canonical(ids: Sequence[ImageId]) -> tuple[ImageId, ...]:
    """Image ids in canonical order: numbers by value, text behind them."""
    if all(type(image) is int for image in ids):
        return tuple(sorted(ids))
    return tuple(sorted(ids, key=id_order))


def by_image_name(pred: CocoInstances, gt: CocoInstances) -> CocoInstances:
    """The predictions, their image ids replaced by the ground truth's where they are those in another form.

    "42" and "000000000042" stand for the id 42, and a file name or its stem for the image of that name. Only where no id fits as it is, and
    every id stands for exactly one image.
    """
    if not pred.keys or any(key in gt.places for key in pred.keys):
        return pred
    names: dict[str, set[ImageId]] = {}
    for index, key in enumerate(gt.keys):
        for name in {str(key), PurePath(gt.file_names[index]).stem if gt.file_names else str(key)} - {""}:
            names.setdefault(name, set()).add(key)
    found: list[ImageId] = []
    for key in pred.keys:
        text = str(key)
        plain = str(int(text)) if text.isdecimal() else text
        fitting = set().union(*(names.get(name, set()) for name in (text, plain, PurePath(text).stem)))
        if len(fitting) != 1:
            return pred
        found.append(fitting.pop())
    if len(set(found)) != len(found):
        return pred
    order = sorted(range(len(found)), key=lambda index: gt.places[found[index]])
    moved = pred.part([pred.keys[index] for index in order])
    note = f"image ids such as {pred.keys[0]!r} were read as those of the ground truth, such as {found[0]!r} [SB122]"
    return replace(moved, keys=tuple(found[index] for index in order), notes=(*pred.notes, note), places={})
