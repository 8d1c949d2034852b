"""Seeded work for instance segmentation: COCO and LVIS ground truth with results files, and real results, repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as masks
from shapes import Blobs, Stream, blobs

SIZES = ((480, 640), (427, 640), (640, 480), (640, 427))
MIDDLE, SPREAD, LARGEST = 22.0, 1.15, 260.0
"""Radii of objects such that small, medium and large ones are as frequent as in COCO."""
POINTS = 64
"""Vertices of the outline of a detection, which becomes a run-length mask; many, so that masks are as ragged as those of a model."""


@dataclass(frozen=True)
class InstanceWork:
    """A ground truth and detections.

    Attributes:
        categories: How many.
        objects: Objects per image, on average.
        detections: Per image.
        lvis: Whether annotations are federated.
    """

    name: str
    title: str
    count: int
    categories: int
    objects: float
    detections: int
    lvis: bool = False


COCO = InstanceWork("coco", "COCO-like", 5000, categories=80, objects=7.65, detections=100)
LVIS = InstanceWork("lvis", "LVIS-like", 500, categories=1203, objects=12.0, detections=300, lvis=True)
WORKLOADS = {work.name: work for work in (COCO, LVIS)}


def generate(work: InstanceWork, folder: Path, count: int) -> dict[str, Any]:
    """Writes `gt.json`, `preds.json` and `boxes.json`, the same detections without masks."""
    truth: dict[str, list] = {"images": [], "annotations": [], "categories": _categories(work)}
    areas: list[float] = []
    lengths: list[int] = []
    rows_written = 0
    with open(folder / "preds.json", "w", encoding="ascii") as preds, open(folder / "boxes.json", "w", encoding="ascii") as boxes:
        for index in range(count):
            stream = Stream(index, work.categories)
            image, annotations, objects, categories = _image(work, stream, index, len(truth["annotations"]))
            truth["images"].append(image)
            truth["annotations"] += annotations
            areas += [row["area"] for row in annotations]
            for row in _detections(work, stream, image, objects, categories):
                lead = ", " if rows_written else "["
                lengths.append(len(row["segmentation"]["counts"]))
                preds.write(lead + json.dumps(row))
                boxes.write(lead + json.dumps({key: value for key, value in row.items() if key != "segmentation"}))
                rows_written += 1
        preds.write("]")
        boxes.write("]")
    (folder / "gt.json").write_text(json.dumps(truth), encoding="ascii")
    small, large = (np.array(areas) < 32**2).mean(), (np.array(areas) > 96**2).mean()
    return {
        "facts": f"{count:,} generated images, {work.categories:,} categories, {len(areas):,} ground truths ({small:.0%} small, "
        f"{large:.0%} large), {rows_written:,} detections",
        "masks": f"counts strings of {np.mean(lengths):.0f} characters (median {np.median(lengths):.0f})",
    }


def repeated(source: Path, folder: Path, count: int) -> dict[str, Any]:
    """Writes the detections of four real models on 100 images, repeated until there are `count` images, with other scores each time."""
    truth = json.loads((source / "pseudo_gt_yrm35_crop.json").read_text())
    detections = [
        row
        for model in ("yrm13", "yrm21", "yrm28_2_perfect", "yrm35_retina")
        for row in json.loads((source / f"results_{model}.json").read_text())
    ]
    images = [image["id"] for image in truth["images"]]
    of: dict[int, list] = {image: [] for image in images}  # the best 100 of an image, as real files hold
    for row in sorted(detections, key=lambda row: -row["score"]):
        if len(of[row["image_id"]]) < 100:
            of[row["image_id"]].append(row)
    annotations: dict[int, list] = {image: [] for image in images}
    for row in truth["annotations"]:
        annotations[row["image_id"]].append(row)
    new: dict[str, list] = {"images": [], "annotations": [], "categories": truth["categories"]}
    rows_written = 0
    with open(folder / "preds.json", "w", encoding="ascii") as preds:
        for index in range(count):
            source_image = truth["images"][index % len(images)]
            new["images"].append(source_image | {"id": index + 1})
            for row in annotations[source_image["id"]]:
                new["annotations"].append(row | {"image_id": index + 1, "id": len(new["annotations"]) + 1})
            rows = of[source_image["id"]]
            for row, factor in zip(rows, 0.9 + 0.1 * Stream(index).uniform(len(rows)), strict=True):
                preds.write(
                    (", " if rows_written else "[") + json.dumps(row | {"image_id": index + 1, "score": row["score"] * float(factor)})
                )
                rows_written += 1
        preds.write("]")
    (folder / "gt.json").write_text(json.dumps(new), encoding="ascii")
    lengths = [len(row["segmentation"]["counts"]) for rows in of.values() for row in rows]
    return {
        "facts": f"{count:,} images with {len(new['annotations']):,} ground truths, which are confident detections of a YOLACT model on "
        f"100 images of COCO, and {rows_written:,} detections of four others, all repeated",
        "masks": f"counts strings of {np.mean(lengths):.0f} characters (median {np.median(lengths):.0f})",
    }


def _categories(work: InstanceWork) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"id": index + 1, "name": f"class {index + 1}"} for index in range(work.categories)]
    if work.lvis:  # as many frequent, common and rare ones as in LVIS 1.0
        for index, row in enumerate(rows):
            row |= {"frequency": "f" if index < 405 else "c" if index < 866 else "r", "image_count": 1, "instance_count": 1}
    return rows


def _image(work: InstanceWork, stream: Stream, index: int, annotation: int) -> tuple[dict, list[dict], Blobs, NDArray[np.int64]]:
    """One image with its annotations, and what they were drawn from."""
    height, width = SIZES[int(stream.below(len(SIZES), 1)[0])]
    image: dict[str, Any] = {"id": index + 1, "height": height, "width": width, "file_name": f"{index + 1:012d}.jpg"}
    count = int(2 * work.objects * stream.uniform(1)[0] + 0.5)
    objects = blobs(stream, count, height, width, MIDDLE, SPREAD, LARGEST)
    categories = stream.ranked(work.categories, count) + 1
    again = stream.uniform(count) < 0.5  # objects of a class come together
    categories[again] = categories[:1].repeat(again.sum())
    parts = objects.moved(stream, np.full(count, 0.6))
    luck = stream.uniform(count)
    rows = []
    for row in range(count):
        one = np.array([row])
        polygons = [_polygon(objects.take(one), height, width)]
        if luck[row] > 0.85:  # something stands before it
            polygons.append(_polygon(parts.take(one), height, width))
        rle = masks.merge(masks.frPyObjects(polygons, height, width))
        if not masks.area(rle):
            continue
        crowd = not work.lvis and luck[row] < 0.012
        segmentation: Any = {"size": [height, width], "counts": _runs(rle)} if crowd else polygons
        rows.append(
            {
                "id": annotation + len(rows) + 1,
                "image_id": index + 1,
                "category_id": int(categories[row]),
                "segmentation": segmentation,
                "area": float(masks.area(rle)),
                "bbox": [float(value) for value in masks.toBbox(rle)],
            }
            | ({} if work.lvis else {"iscrowd": int(crowd)})
        )
    if work.lvis:
        present = sorted({row["category_id"] for row in rows})
        absent = set((stream.ranked(work.categories, 12) + 1).tolist()) - set(present)
        image |= {"neg_category_ids": sorted(absent), "not_exhaustive_category_ids": present[:1] if luck[:1].sum() < 0.3 else []}
    return image, rows, objects, categories


def _polygon(one: Blobs, height: int, width: int) -> list[float]:
    points = int(np.clip(2 * np.pi * one.radius[0] / 6, 6, 60))
    return one.outlines(points, height, width)[0].round(2).ravel().tolist()


def _runs(rle: dict) -> list[int]:
    """The runs of a mask as numbers."""
    flat = masks.decode(rle).reshape(-1, order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff(changes, prepend=0, append=len(flat)).tolist()


def _detections(work: InstanceWork, stream: Stream, image: dict, objects: Blobs, categories: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """What a model finds: each object several times and more or less well, and what is not there, with lower scores."""
    height, width, count = image["height"], image["width"], work.detections
    strangers = blobs(stream, count, height, width, 1.5 * MIDDLE, SPREAD, LARGEST)
    found = stream.uniform(count) < 0.65 if len(objects) else np.zeros(count, bool)
    which = stream.below(max(1, len(objects)), count)
    amount = np.array([0.02, 0.05, 0.1, 0.25])[stream.below(4, count)]
    guessed = np.where(stream.uniform(count) < 0.8, 0, 1)
    category = stream.ranked(work.categories, count) + 1
    score = stream.uniform(count) ** 3 * 0.5
    rows = np.flatnonzero(found)
    shapes = {name: getattr(strangers, name).copy() for name in strangers.__dataclass_fields__}
    if len(rows):
        near = objects.take(which[rows]).moved(stream, amount[rows])
        for name, values in shapes.items():
            values[rows] = getattr(near, name)
        category[rows] = np.where(guessed[rows] == 0, categories[which[rows]], category[rows])
        score[rows] = (score[rows] + (0.5 - amount[rows]) * stream.uniform(len(rows))).clip(0.001, 0.999)
    outlines = Blobs(**shapes).outlines(POINTS, height, width)
    outlines += 0.9 * stream.normal(count, POINTS, 2)
    np.clip(outlines, 0, [width, height], out=outlines)
    low, high = outlines.min(1), outlines.max(1)
    boxes = np.concatenate([low, high - low], 1).astype(np.float32).astype(np.float64).tolist()
    scores = score.astype(np.float32).astype(np.float64).tolist()
    rles = masks.frPyObjects(outlines.reshape(count, -1).tolist(), height, width)
    for row in np.argsort(-score, kind="stable").tolist():
        yield {
            "image_id": image["id"],
            "category_id": int(category[row]),
            "bbox": boxes[row],
            "score": scores[row],
            "segmentation": {"size": [height, width], "counts": rles[row]["counts"].decode()},
        }
