"""Random panoptic images for tests: several crowds of a class, much void, few and many segments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from segbench.datasets import Dataset, LabelClass
from segbench.samples import PanopticMap

NUM_CLASSES = 4
DATASET = Dataset(
    name="shapes",
    classes=tuple(LabelClass(id=10 * (index + 1), name=f"class{index}", isthing=index < 2) for index in range(NUM_CLASSES)),
)


@st.composite
def panoptic_image(draw, crowds=True, stated=False):
    """(gt rows, gt table, pred rows, pred table): lists of rows of ids, tables `{id: (class, crowd, stated area)}`."""
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    highest = draw(st.sampled_from([6, 300, 2**24 - 1]))
    sides = []
    base = None
    for side in ("gt", "pred"):
        count = draw(st.integers(0, 5))
        ids = [0, *rng.choice(np.arange(1, highest + 1) if highest < 1000 else rng.integers(1, highest + 1, 50), count, replace=False)]
        if base is None or rng.random() < 0.2:
            base = rng.integers(0, 6, (height, width))
            if width > 3:
                base = np.repeat(base[:, : -(-width // 3)], 3, 1)[:, :width]
            indices = base
        else:
            noise = rng.random((height, width)) < draw(st.sampled_from([0.0, 0.1, 0.4]))
            indices = np.where(noise, rng.integers(0, 6, (height, width)), base)
        rows = np.array(ids)[indices % len(ids)]
        rows = np.where(rng.random(rows.shape) < draw(st.sampled_from([0.0, 0.0, 0.6])), 0, rows)
        present, areas = np.unique(rows, return_counts=True)
        area_of = dict(zip(present.tolist(), areas.tolist(), strict=True))
        area_of.pop(0, None)
        table = {}
        for segment in rng.permutation(list(area_of)).tolist() if area_of else []:
            crowd = crowds and side == "gt" and bool(rng.random() < 0.4)
            wrong = int(rng.integers(1, 4)) if stated and side == "gt" and rng.random() < 0.3 else 0
            table[int(segment)] = (int(rng.integers(0, draw(st.sampled_from([1, NUM_CLASSES])))), crowd, area_of[segment] + wrong)
        sides += [rows.tolist(), table]
    return tuple(sides)


SETS = st.lists(panoptic_image(), min_size=0, max_size=5)


def flat(images):
    """The same images with flat maps, as the slow twins take them."""
    return [
        ([v for row in gt for v in row], gt_table, [v for row in pred for v in row], pred_table)
        for gt, gt_table, pred, pred_table in images
    ]


def as_pixels(rows, kind="rgb"):
    """A map as colours or as integers."""
    values = np.asarray(rows, np.int64)
    if kind == "rgb":
        return np.stack([values & 255, values >> 8 & 255, values >> 16], -1).astype(np.uint8)
    return values.astype(kind)


def save(values, path: Path) -> None:
    """An array as an image, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def sample(image_id, rows, table, kind="rgb", order=0):
    """A panoptic map of an image."""
    columns = list(table.values())
    return PanopticMap(
        image_id,
        as_pixels(rows, kind),
        np.array(list(table), np.int64),
        np.array([row[0] for row in columns], np.int32),
        np.array([row[2] for row in columns], np.int64),
        np.array([row[1] for row in columns], bool),
        f"{image_id}.png",
        order,
    )


def write_coco(folder: Path, images, repeats: int | None = None) -> tuple[Path, Path]:
    """Random images as COCO panoptic files; the JSON of both sides.

    Args:
        repeats: Seed of segments that are listed twice, the first time with another area and crowd.
    """
    categories = [{"id": row.id, "name": row.name, "isthing": int(bool(row.isthing))} for row in DATASET.classes]
    rng = np.random.default_rng(repeats)
    files = []
    for side, at in (("gt", 0), ("pred", 2)):
        (folder / side).mkdir(exist_ok=True)
        annotations = []
        for key, image in enumerate(images):
            Image.fromarray(as_pixels(image[at])).save(folder / side / f"{key}.png")
            segments = [
                {"id": segment, "category_id": DATASET.classes[label].id, "iscrowd": int(crowd), "area": area}
                for segment, (label, crowd, area) in image[at + 1].items()
            ]
            if repeats is not None:
                segments = [{**row, "iscrowd": 1 - row["iscrowd"], "area": 1} for row in segments if rng.random() < 0.3] + segments
            annotations.append({"image_id": key, "file_name": f"{key}.png", "segments_info": segments})
        files.append(folder / f"{side}.json")
        files[-1].write_text(json.dumps({"annotations": annotations, "categories": categories}))
    return files[0], files[1]
