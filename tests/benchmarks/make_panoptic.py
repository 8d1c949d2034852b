"""Seeded work for panoptic segmentation: COCO panoptic JSON with folders of PNGs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapes import Blobs, Stream, blobs

THINGS, STUFF = 80, 53
UNLABELLED = 255
POINTS = 40


@dataclass(frozen=True)
class PanopticWork:
    """Pairs of panoptic maps."""

    name: str
    title: str
    count: int
    height: int
    width: int


WORKLOADS = {"panoptic": PanopticWork("panoptic", "COCO-panoptic-like", 1000, 480, 640)}


def generate(work: PanopticWork, folder: Path, count: int) -> dict[str, Any]:
    """Writes `gt.json`, `preds.json` and their folders `gt/` and `preds/`."""
    sides: dict[str, list[dict]] = {"gt": [], "preds": []}
    bytes_of = dict.fromkeys(sides, 0)
    for side in sides:
        (folder / side).mkdir(parents=True, exist_ok=True)
        for old in (folder / side).glob("*.png"):
            old.unlink()
    for index in range(count):
        for side, (layers, categories) in _pair(work, index).items():
            ids = _ids(Stream(index, 1 + (side == "gt")), len(categories))
            segments = _segments(layers, categories, ids, side == "gt")
            colors = np.zeros((256, 3), np.uint8)
            colors[: len(ids)] = np.stack([ids % 256, ids // 256 % 256, ids // 65536], 1)
            file = folder / side / f"{index + 1:012d}.png"
            Image.fromarray(colors[layers]).save(file)
            bytes_of[side] += file.stat().st_size
            sides[side].append({"image_id": index + 1, "file_name": file.name, "segments_info": segments})
    categories_json = [
        {"id": index + 1, "name": f"class {index + 1}", "isthing": int(index < THINGS), "supercategory": "all", "color": [0, 0, 0]}
        for index in range(THINGS + STUFF)
    ]
    images = [{"id": index + 1, "height": work.height, "width": work.width, "file_name": f"{index + 1:012d}.jpg"} for index in range(count)]
    (folder / "gt.json").write_text(json.dumps({"images": images, "annotations": sides["gt"], "categories": categories_json}))
    (folder / "preds.json").write_text(json.dumps({"annotations": sides["preds"]}))
    per_image = {side: sum(len(row["segments_info"]) for row in rows) / count for side, rows in sides.items()}
    return {
        "facts": f"{count:,} generated pairs of {work.width}x{work.height}, {THINGS + STUFF} classes, {per_image['gt']:.1f} and "
        f"{per_image['preds']:.1f} segments; mean PNG {bytes_of['gt'] / count / 1000:.1f} kB ground truth, "
        f"{bytes_of['preds'] / count / 1000:.1f} kB prediction",
    }


def _pair(work: PanopticWork, index: int) -> dict[str, tuple[NDArray[np.uint8], list[int]]]:
    """For each side a map of layers and the category of each layer."""
    height, width = work.height, work.width
    stream = Stream(index)
    surfaces, objects = 2 + int(stream.below(4, 1)[0]), 5 + int(stream.below(7, 1)[0])
    kinds = np.argsort(stream.uniform(STUFF))[:surfaces] + THINGS + 1
    edges = np.sort(stream.uniform(surfaces - 1)) * height
    swing, wave, phase = 2 + 20 * stream.uniform(surfaces - 1), 1 + 4 * stream.uniform(surfaces - 1), 6 * stream.uniform(surfaces - 1)
    things = blobs(stream, objects, height, width, 34.0, 0.7, 150.0)
    categories = stream.ranked(THINGS, objects) + 1
    columns = np.arange(width) / width * 2 * np.pi
    result = {}
    for side in ("gt", "preds"):
        predicted = side == "preds"
        layers = np.zeros((height, width), np.uint8)
        for surface in range(surfaces - 1):
            edge = edges[surface] + swing[surface] * np.sin(wave[surface] * columns + phase[surface])
            if predicted:
                edge = edge + 4 * stream.normal(1) + 2 * np.sin(23 * columns)
            layers += (np.arange(height)[:, None] > edge).astype(np.uint8)
        drawn = things.moved(stream, np.full(objects, 0.06)) if predicted else things
        classes = categories.copy()
        kept = np.arange(objects)
        if predicted:
            wrong = stream.uniform(objects) < 0.12
            classes[wrong] = stream.ranked(THINGS, int(wrong.sum())) + 1
            kept = np.flatnonzero(stream.uniform(objects) > 0.15)
        image = Image.fromarray(layers)
        _draw(image, drawn.take(kept), list(range(surfaces, surfaces + len(kept))), 1.0 if predicted else 0.5, stream)
        if not predicted:
            _draw(image, blobs(stream, 2, height, width, 22.0, 0.4, 60.0), [UNLABELLED] * 2, 0.5, stream)
        result[side] = np.asarray(image), [*kinds.tolist(), *classes[kept].tolist()]
    return result


def _draw(image: Image.Image, shapes: Blobs, values: list[int], wobble: float, stream: Stream) -> None:
    pen = ImageDraw.Draw(image)
    outlines = shapes.outlines(POINTS, image.height, image.width)
    outlines = (outlines + wobble * stream.normal(len(shapes), POINTS, 2)).round().astype(int)
    for outline, value in zip(outlines.tolist(), values, strict=True):
        pen.polygon([tuple(point) for point in outline], fill=value)


def _ids(stream: Stream, count: int) -> NDArray[np.int64]:
    """Segment ids as COCO has them: colours, all different and none black."""
    ids = np.unique(stream.below(2**24 - 1, 4 * count) + 1)
    return ids[np.argsort(stream.uniform(len(ids)))][:count]


def _segments(layers: NDArray[np.uint8], categories: list[int], ids: NDArray[np.int64], truth: bool) -> list[dict[str, Any]]:
    areas = np.bincount(layers.ravel(), minlength=256)
    segments = []
    for layer, category in enumerate(categories):
        if not areas[layer]:
            continue
        segment: dict[str, Any] = {"id": int(ids[layer]), "category_id": int(category)}
        if truth:
            rows, columns = np.flatnonzero((layers == layer).any(1)), np.flatnonzero((layers == layer).any(0))
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            crowd = category <= THINGS and int(ids[layer]) % 33 == 0
            segment |= {"area": int(areas[layer]), "iscrowd": int(crowd), "bbox": [int(value) for value in box]}
        segments.append(segment)
    return segments
