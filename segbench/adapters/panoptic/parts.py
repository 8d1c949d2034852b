"""From parts to panoptic: semantic labels and scored instances merged into one map, and maps written as COCO panoptic files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import LabelError, ShapeError
from segbench.samples import ImageId, PanopticMap

OVERLAP = 0.5
STUFF_AREA_PX = 4096
CONFIDENCE = 0.5


def merged_parts(
    image_id: ImageId,
    semantic: NDArray,
    masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_],
    classes: Sequence[int],
    scores: Sequence[float],
    dataset: Dataset,
    *,
    overlap: float = OVERLAP,
    stuff_area_px: int = STUFF_AREA_PX,
    confidence: float = CONFIDENCE,
    order: int = 0,
) -> PanopticMap:
    """One panoptic map from the semantic labels and the instances of an image.

    Instances are laid down by descending score. One below `confidence` is left out, and one of which more than the share `overlap` is
    already covered; what is left of the others becomes a segment. Then every stuff class takes the pixels that are still free, where it
    has at least `stuff_area_px` of them. Semantic labels of things are not used.

    Args:
        semantic: (H, W) class indices; others are void.
        masks: N masks of (H, W).
        classes: N class indices, of things.
        scores: N scores; equal scores keep their order.

    Raises:
        ShapeError: a mask of another size than the labels.
        LabelError: an instance of a class that is no thing.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3; the same segments as panopticapi's
    combine_semantic_and_instance_predictions (tests/parity) and detectron2, whose defaults these are.
    """
    panoptic = np.zeros(semantic.shape, np.int32)
    found: list[int] = []
    for at in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        mask, label = np.asarray(masks[at], bool), int(classes[at])
        if mask.shape != semantic.shape:
            raise ShapeError(f"image {image_id}: a mask of {mask.shape} for labels of {semantic.shape}", code="SB101")
        if not 0 <= label < dataset.num_classes or dataset.isthing[label] is False:
            name = dataset.names[label] if 0 <= label < dataset.num_classes else label
            raise LabelError(
                f"image {image_id}: instance {at} is of class {name}, which is no thing of {dataset.name}",
                hint="give instances of things alone; stuff is taken from the labels",
                code="SB110",
            )
        if scores[at] < confidence:
            break
        free = mask & (panoptic == 0)
        area, left = int(mask.sum()), int(free.sum())
        if not left or (area - left) / area > overlap:
            continue
        found.append(label)
        panoptic[free] = len(found)
    for label in np.unique(semantic).tolist():
        if not 0 <= label < dataset.num_classes or dataset.isthing[label] is not False:
            continue
        free = (semantic == label) & (panoptic == 0)
        if free.sum() >= max(1, stuff_area_px):
            found.append(label)
            panoptic[free] = len(found)
    count = len(found)
    return PanopticMap(
        image_id,
        panoptic,
        np.arange(1, count + 1, dtype=np.int64),
        np.array(found, np.int32),
        np.full(count, -1, np.int64),
        np.zeros(count, bool),
        order=order,
    )


def write_coco_panoptic(samples: Iterable[PanopticMap], dataset: Dataset, path: str | os.PathLike) -> Path:
    """Writes maps as COCO panoptic: `path`, a JSON, and the PNG maps in the folder of its name.

    Segments keep the order of their table, and are numbered from 1 in the order of their ids, so that no sum over them changes; segments of
    classes that are not evaluated become void. Categories get their ids in the data set's label files.

    Returns:
        The JSON's path.

    Raises:
        ShapeError: points instead of an image.
    """
    from PIL import Image

    target = Path(path)
    folder = target.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    taken: set[str] = set()
    for sample in samples:
        shape = sample.values.shape[:2]
        if len(shape) != 2:
            raise ShapeError(f"image {sample.id} is a list of points; PNG holds images", hint="keep .label files for points")
        name = _file_name(sample.id, taken)
        kept = np.flatnonzero((sample.classes >= 0) & (sample.classes < dataset.num_classes))
        number_of = dict(zip(np.sort(sample.segment_ids[kept]).tolist(), range(1, len(kept) + 1), strict=True))
        values = _ids(sample.values)
        numbers = np.zeros(shape, np.int64)
        infos: list[dict[str, Any]] = []
        for at in kept.tolist():
            mask = values == sample.segment_ids[at]
            rows, columns = np.nonzero(mask)
            number = number_of[int(sample.segment_ids[at])]
            numbers[mask] = number
            infos.append(
                {
                    "id": number,
                    "category_id": dataset.evaluated[int(sample.classes[at])].id,
                    "area": len(rows),
                    "bbox": [int(v) for v in (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)],
                    "iscrowd": int(sample.crowd[at]),
                }
            )
        colours = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], -1).astype(np.uint8)
        Image.fromarray(colours).save(folder / name)
        images.append({"id": sample.id, "file_name": name, "height": shape[0], "width": shape[1]})
        annotations.append({"image_id": sample.id, "file_name": name, "segments_info": infos})
    categories = [
        {"id": row.id, "name": row.name, "supercategory": row.supercategory or ""}
        | ({} if row.isthing is None else {"isthing": int(row.isthing)})
        for row in dataset.evaluated
    ]
    target.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return target


def _file_name(image_id: ImageId, taken: set[str]) -> str:
    """A name of a map that no other image has, in no other folder; added to those taken."""
    stem = f"{image_id:012d}" if isinstance(image_id, int) else re.sub(r"[/\\:\0]", "_", image_id)
    names = (f"{stem}{more}.png" for more in ("", *(f"-{number}" for number in range(2, len(taken) + 3))))
    name = next(name for name in names if name.lower() not in taken)  # some disks do not tell A from a
    taken.add(name.lower())
    return name


def _ids(values: NDArray) -> NDArray[np.int64]:
    """The id of every pixel, of colours too."""
    if values.ndim < 3:
        return values.astype(np.int64)
    return sum(values[..., channel].astype(np.int64) << 8 * channel for channel in range(values.shape[2]))  # type: ignore[return-value]
