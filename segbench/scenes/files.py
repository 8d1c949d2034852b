"""Scenes as files: their data set, its palette, and PNGs whose bytes are the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segbench.scenes.painting import (
    BUS,
    CAR,
    CLASSES,
    INSTANCE_DIVISOR,
    PERSON,
    ROAD,
    SIDEWALK,
    SKY,
    TRAIN,
    VEGETATION,
    VOID,
    VOID_COLOR,
    SceneClass,
)


def street_dataset() -> dict:
    """The description of the scenes as a data set: what `dataset.json` beside the ground truth holds."""
    return {
        "schema": "segbench.dataset/1",
        "name": "street",
        "title": "Rendered street scenes",
        "tasks": ["semantic", "instance", "panoptic"],
        "void_ids": [VOID],
        "void_colors": [list(VOID_COLOR)],
        "train_ignore_index": VOID,
        "label_divisor": INSTANCE_DIVISOR,
        "classes": [
            {"id": item.id, "name": item.name, "isthing": item.isthing, "color": list(item.color), "supercategory": _supercategory(item)}
            for item in CLASSES
        ],
    }


def palette() -> list[int]:
    """768 numbers: the colours of the classes, by id, as an indexed PNG holds them."""
    colors = {item.id: item.color for item in CLASSES}
    return [channel for index in range(256) for channel in colors.get(index, VOID_COLOR)]


def write_png(path: str | Path, array: NDArray, palette: list[int] | None = None) -> None:
    """Writes labels as a PNG: 8 or 16 bits grey, or indexed where a palette is given.

    Args:
        array: (H, W), values of 0 to 255 are written as 8 bits where the type is uint8, else as 16 bits (0 to 65535).
        palette: 768 numbers.

    Raises:
        ValueError: values do not fit.
    """
    from PIL import Image

    values = np.asarray(array)
    if values.dtype != np.uint8:
        if values.size and not 0 <= values.min() <= values.max() <= 0xFFFF:
            raise ValueError("a PNG label map holds values of 0 to 65535")
        values = values.astype(np.uint16)
    image = Image.fromarray(values)
    if palette is not None:
        if values.dtype != np.uint8:
            raise ValueError("an indexed PNG holds values of 0 to 255")
        image.putpalette(palette)
    image.save(path, format="PNG")


def _supercategory(item: SceneClass) -> str:
    groups = {"flat": (ROAD, SIDEWALK), "nature": (VEGETATION, SKY), "human": (PERSON,), "vehicle": (CAR, BUS, TRAIN)}
    return next((name for name, members in groups.items() if item.id in members), "construction")
