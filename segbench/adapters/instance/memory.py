"""Instances in memory: one dict per image, as training loops and torchvision have them, to batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.arrays import by_plain_ids
from segbench.adapters.base import Format, Request
from segbench.adapters.instance.coco_categories import class_indices, ids_of_names
from segbench.adapters.instance.coco_masks import COUNTS, counts_of_array, counts_of_polygons, counts_of_runs, decode, packed_counts
from segbench.datasets import Dataset
from segbench.errors import FormatError, PairingError
from segbench.instances import BOXED, CROWD, IGNORE, NO_ID, InstanceBatch, Masks
from segbench.samples import ImageId

KEYS = {
    "masks": ("masks", "segmentation", "segmentations", "pred_masks"),
    "boxes": ("boxes", "pred_boxes", "bbox", "bboxes"),
    "labels": ("labels", "categories", "category_ids", "classes", "pred_classes", "class_id"),
    "scores": ("scores", "score", "confidence"),
    "crowd": ("iscrowd", "crowd"),
    "ignore": ("ignore",),
    "areas": ("area", "areas"),
    "ids": ("ids", "id"),
    "size": ("size", "image_size", "orig_size", "ori_shape"),
    "void": ("void",),
}
"""Names under which a dict may hold each thing."""


def batch_of(
    image_ids: Sequence[ImageId],
    samples: Sequence[Mapping[str, Any]],
    dataset: Dataset,
    role: str,
    *,
    space: str | None = None,
    box_format: str = "xyxy",
    sizes: Sequence[tuple[int, int] | None] | None = None,
    order: Sequence[int] | None = None,
    drop_masks: bool = False,
) -> InstanceBatch:
    """A batch of some images.

    Args:
        image_ids: Their ids.
        samples: One dict per image: `masks` (N, H, W) bool or 0/1 integers, or a list of run-length masks or of polygon lists; `boxes`
            (N, 4); `labels` (N,); predictions also `scores` (N,), ground truth `iscrowd`, `ignore`, `area`, `ids` where it has them. Arrays
            are NumPy's, torch's or anything that has `__array__`. A `size` (H, W) is needed for polygons alone. Ground truth may say with
            `void` (H, W), or a run-length mask, which pixels are nothing.
        role: `pred` or `gt`.
        space: Id space of the labels; the data set's own ids where None.
        box_format: `xyxy` (left, top, right, bottom) or `xywh`.
        sizes: (H, W) of each image, where known.
        order: Position of each image in the canonical order; as given where None.
        drop_masks: Read boxes alone, unless one must come from its mask.

    Raises:
        FormatError: arrays whose lengths or types do not fit.
        LabelError: labels that the data set does not have.
    """
    if len(image_ids) != len(samples):
        raise PairingError(f"{len(samples)} samples for {len(image_ids)} image ids")
    if box_format not in ("xyxy", "xywh"):
        raise FormatError(f"boxes are xyxy or xywh, not {box_format!r}")
    parts = [_columns(image, sample, role, box_format) for image, sample in zip(image_ids, samples, strict=True)]
    counts = [len(part["labels"]) for part in parts]
    image = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    labels = np.concatenate([part["labels"] for part in parts]) if parts else np.zeros(0, np.int64)
    if labels.dtype == object:
        labels = ids_of_names(labels, dataset, space, role)
    category = class_indices(labels, dataset, space, lambda row: f"image {image_ids[image[row]]}", role, "id_space")
    dims = np.full((len(parts), 2), -1, np.int32)
    for index, part in enumerate(parts):
        stated = part["size"] if sizes is None or sizes[index] is None else sizes[index]
        if stated is not None:
            dims[index] = stated
    boxless = any(not np.isfinite(part["boxes"]).all() for part in parts)
    masks = None if drop_masks and not boxless else _masks(parts, dims, image, image_ids, role)
    joined = {
        name: np.concatenate([part[name] for part in parts]) if parts else None for name in ("scores", "areas", "boxes", "flags", "ids")
    }
    kept = np.flatnonzero(category < dataset.num_classes)
    columns = {name: np.zeros(0) if column is None else column[kept] for name, column in joined.items()}
    return InstanceBatch(
        tuple(image_ids),
        np.arange(len(parts), dtype=np.int64) if order is None else np.asarray(order, np.int64),
        dims,
        image[kept],
        category[kept],
        columns["ids"].astype(np.int64, copy=False),
        columns["scores"],
        columns["areas"],
        columns["boxes"].reshape(-1, 4),
        columns["flags"].astype(np.uint8),
        masks if masks is None or len(kept) == len(category) else masks.take(kept),
        role,
        void=None if drop_masks else _void(parts, dims, image_ids, role),
    )


def _columns(image: ImageId, sample: Mapping[str, Any], role: str, box_format: str) -> dict[str, Any]:
    given = {name: next((sample[key] for key in keys if key in sample and sample[key] is not None), None) for name, keys in KEYS.items()}
    if given["labels"] is None:
        raise FormatError(f"the {role} of image {image} has no labels", hint="labels: class ids, one per instance")
    labels = _labels(given["labels"], image)
    count = len(labels)
    if role == "pred" and given["scores"] is None:
        raise FormatError(
            f"the prediction of image {image} has no scores", hint="give every instance a score: they are ranked by it", code="SB140"
        )
    scores = _numbers(given["scores"], count, np.nan, image, "scores")
    if role == "pred" and not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise FormatError(f"the score of detection {row} of image {image} is {scores[row]}", code="SB140")
    boxes = np.full((count, 4), np.nan)
    if given["boxes"] is not None:
        stated = _floats(given["boxes"], image, "boxes")
        if stated.size % 4 or (stated.ndim > 1 and stated.shape[-1] != 4):
            raise FormatError(f"the boxes of image {image} are of shape {stated.shape}", hint="boxes are (N, 4)", code="SB172")
        boxes = np.array(stated).reshape(-1, 4)
        if len(boxes) != count:
            raise FormatError(f"image {image} has {count} labels and {len(boxes)} boxes")
        if box_format == "xyxy":
            boxes[:, 2:] -= boxes[:, :2]
    masks = given["masks"]
    if masks is not None and not isinstance(masks, list | tuple):
        masks = _array(masks)
        if masks.ndim == 4 and masks.shape[1] == 1:
            masks = masks[:, 0]
        if masks.ndim != 3 or (masks.dtype.kind not in "bui" and masks.size):
            raise FormatError(
                f"masks of image {image} are {masks.dtype} {masks.shape}",
                hint="masks are bool or integers of shape (N, H, W); compare probabilities with a threshold first",
                code="SB180",
            )
    if masks is not None and len(masks) != count:
        raise FormatError(f"image {image} has {count} labels and {len(masks)} masks")
    flags = CROWD * (_numbers(given["crowd"], count, 0, image, "iscrowd") > 0) | IGNORE * (
        _numbers(given["ignore"], count, 0, image, "ignore") > 0
    )
    size = given["size"]
    if size is None and isinstance(masks, np.ndarray):
        size = masks.shape[1:]
    # the first row decides whether the file has boxes; without masks they are all there is
    flags = flags | (BOXED if role == "pred" and given["boxes"] is not None else 0)
    return {
        "labels": labels,
        "scores": scores,
        "boxes": boxes,
        "masks": masks,
        "flags": flags,
        "areas": _numbers(given["areas"], count, -1, image, "area"),
        "ids": _ids(given["ids"], count, role, image),
        "size": None if size is None else (int(size[0]), int(size[1])),
        "void": given["void"],
    }


def _numbers(value: Any, count: int, missing: float, image: ImageId, name: str) -> NDArray[np.float64]:
    if value is None:
        return np.full(count, missing, np.float64)
    array = _floats(value, image, name).reshape(-1)
    if len(array) != count:
        raise FormatError(f"image {image} has {count} labels and {len(array)} {name}")
    return array


def _floats(value: Any, image: ImageId, name: str) -> NDArray[np.float64]:
    array = _array(value)
    if array.dtype.kind not in "biuf" and array.size:
        raise FormatError(f"the {name} of image {image} are no numbers: {array.dtype}", code="SB140" if name == "scores" else None)
    return array.astype(np.float64, copy=False)


def _whole(value: Any, image: ImageId, name: str) -> NDArray[np.int64]:
    """Whole numbers within 64 bits, also where they are written as floats."""
    array = _array(value).reshape(-1)
    numbers = array.astype(np.int64) if array.dtype.kind in "biu" or not array.size else None
    if array.dtype.kind == "f" and (np.abs(array) < 2**53).all() and (array == np.floor(array)).all():
        numbers = array.astype(np.int64)
    if numbers is None or (array.dtype.kind == "u" and (numbers < 0).any()):
        raise FormatError(f"the {name} of image {image} are no whole numbers within 64 bits", code="SB110" if name == "labels" else None)
    return numbers


def _labels(value: Any, image: ImageId) -> NDArray:
    """int64[N] class ids, or names in object[N]."""
    array = _array(value).reshape(-1)
    named = array.dtype.kind in "US" or (array.dtype == object and array.size and all(isinstance(label, str) for label in array.tolist()))
    return np.array([str(label) for label in array.tolist()], object) if named else _whole(array, image, "labels")


def _ids(value: Any, count: int, role: str, image: ImageId) -> NDArray[np.int64]:
    if value is None:
        return np.arange(count) if role == "pred" else np.full(count, NO_ID, np.int64)
    ids = _whole(value, image, "ids")
    if len(ids) != count:
        raise FormatError(f"image {image} has {count} labels and {len(ids)} ids")
    return ids


def _array(value: Any) -> NDArray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _masks(parts: list[dict[str, Any]], dims: NDArray[np.int32], image: NDArray[np.int32], image_ids: Sequence[ImageId], role: str):
    if not parts or all(part["masks"] is None for part in parts if len(part["labels"])):
        return None
    texts: list[bytes] = []
    sizes: list[tuple[int, int]] = []
    for index, part in enumerate(parts):
        if part["masks"] is None and len(part["labels"]):
            raise FormatError(f"the {role} of image {image_ids[index]} has no masks, others have", code="SB172")
        for mask in part["masks"] if part["masks"] is not None else ():
            try:
                text, size = _text(mask, tuple(dims[index].tolist()))
            except FormatError as error:
                said = f"instance {len(texts)} (image {image_ids[index]}): {error.message}"
                raise FormatError(said, hint=error.hint, code=error.code) from None
            texts.append(text)
            sizes.append(size)
    stated = np.array(sizes, np.int32).reshape(-1, 2)
    for row in np.flatnonzero(dims[image, 0] < 0)[::-1]:
        dims[image[row]] = stated[row]
    rows = packed_counts(texts, stated)
    assert (rows.kinds == COUNTS).all()
    none = np.full((len(texts), 4), np.nan)
    return decode(rows, dims[image], none, lambda row: f"instance {row} (image {image_ids[image[row]]})", role)


def _void(parts: list[dict[str, Any]], dims: NDArray[np.int32], image_ids: Sequence[ImageId], role: str) -> Masks | None:
    """One mask per image of what is void in it; None where no image says."""
    if all(part["void"] is None for part in parts):
        return None
    texts: list[bytes] = []
    sizes = np.maximum(dims, 0)  # of an image of unknown size nothing is void
    for index, part in enumerate(parts):
        if part["void"] is None:
            height, width = sizes[index].tolist()
            texts.append(counts_of_runs([height * width], (height, width)))
            continue
        text, sizes[index] = _text(part["void"], tuple(dims[index].tolist()))
        texts.append(text)
    full = np.where(dims < 0, sizes, dims)
    none = np.full((len(texts), 4), np.nan)
    return decode(packed_counts(texts, sizes), full, none, lambda row: f"void of image {image_ids[row]}", role)


def _text(mask: Any, size: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """One mask of any form as a counts string, and its size."""
    if isinstance(mask, Mapping):
        height, width = _size_of(mask)
        counts = mask.get("counts")
        if isinstance(counts, bytes):
            return counts, (height, width)
        if isinstance(counts, str):
            return counts.encode("ascii", "replace"), (height, width)
        if not isinstance(counts, list | tuple | np.ndarray) or not all(hasattr(run, "__index__") for run in counts):
            raise FormatError(f"the counts of a mask are {type(counts).__name__}, not whole numbers or text", code="SB102")
        return counts_of_runs([int(run) for run in counts], (height, width)), (height, width)
    if isinstance(mask, list | tuple):
        if min(size) < 0:
            raise FormatError("polygons need the size of their image", hint="add size: (height, width)", code="SB170")
        return counts_of_polygons([[float(number) for number in np.asarray(part).reshape(-1)] for part in mask], size), size
    return counts_of_array(_array(mask))


def _size_of(mask: Mapping[str, Any]) -> tuple[int, int]:
    size = mask.get("size")
    plain = list(size) if isinstance(size, list | tuple | np.ndarray) else []
    if len(plain) != 2 or not all(hasattr(number, "__index__") and -1 < number < 2**31 for number in plain):
        raise FormatError(f"the size of a mask is {size!r}", hint="size is [height, width]", code="SB102")
    return int(plain[0]), int(plain[1])


@dataclass(frozen=True, eq=False)
class MemoryInstances:
    """Dicts of instances in memory, one per image, as a source.

    Attributes:
        format, said, keys: See `Source`.
        samples: The dict of each key.
        dataset, role, space: As `batch_of` takes them.
        places: Position of each key in the whole, also in a part of it.
    """

    format: str
    said: str
    keys: tuple[ImageId, ...]
    samples: Mapping[ImageId, Mapping[str, Any]]
    dataset: Dataset
    role: str
    space: str | None
    notes: tuple[str, ...] = ()
    places: Mapping[ImageId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", {key: place for place, key in enumerate(self.keys)})

    @property
    def families(self) -> tuple[str, ...]:
        """What these instances can be compared by: masks give boxes too."""
        masks = any(any(sample.get(key) is not None for key in KEYS["masks"]) for sample in self.samples.values())
        return ("segm", "bbox", "boundary") if masks or not self.samples else ("bbox",)

    @property
    def has_masks(self) -> bool:
        """Whether masks can be compared, not boxes alone."""
        return "segm" in self.families

    def read(self, keys: Sequence[ImageId], sizes: NDArray[np.int32] | None = None, masks: bool = True) -> InstanceBatch:
        """The instances of some images."""
        known = None if sizes is None else [None if size[0] < 0 else (int(size[0]), int(size[1])) for size in sizes]
        chosen = [self.samples[key] for key in keys]
        return batch_of(
            keys,
            chosen,
            self.dataset,
            self.role,
            space=self.space,
            sizes=known,
            order=[self.places[key] for key in keys],
            drop_masks=not masks,
        )

    def part(self, keys: Sequence[ImageId]) -> MemoryInstances:
        """Only these images."""
        parts = {key: self.samples[key] for key in keys}, {key: self.places[key] for key in keys}
        return replace(self, keys=tuple(keys), samples=parts[0], places=parts[1])

    def file(self, key: ImageId) -> str:
        """What an image is called in messages."""
        return f"{self.role} {key!r}"

    def sizes(self) -> list[tuple[int, int] | None]:
        """Not told before reading."""
        return [None] * len(self.keys)

    def fingerprint(self, key: ImageId) -> bytes:
        """sha256 of what the image's dict gives."""
        batch = self.read((key,))
        digest = hashlib.sha256(repr(key).encode())
        spans = () if batch.masks is None else (batch.masks.spans, batch.masks.offsets)
        for column in (batch.category, batch.scores, batch.boxes, *spans):
            digest.update(np.ascontiguousarray(column).data)
        return digest.digest()


def open_instances(value: Any, request: Request) -> Any:
    """Instances in memory: `{image id: dict}`, or what `json.load` gives of COCO results or COCO ground truth."""
    from segbench.adapters.instance.coco import open_memory
    from segbench.adapters.instance.coco_source import canonical

    if not isinstance(value, Mapping) or {"images", "annotations"} <= value.keys():
        return open_memory(value, request, request.role)
    samples = by_plain_ids(value, request.role)
    keys = canonical(list(samples))
    said = f"{len(keys)} images of instances in memory, {request.id_space or 'label'} ids of {request.dataset.name}"
    return MemoryInstances(ARRAYS.name, said, keys, samples, request.dataset, request.role, request.id_space)


ARRAYS = Format(
    "instance-array",
    "instances in memory",
    "{image id: {masks, boxes, labels, scores}}, or COCO dicts",
    ("instance",),
    (),
    lambda path: (0.0, ""),
    open_instances,
)
