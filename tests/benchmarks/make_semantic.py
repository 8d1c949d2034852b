"""Seeded work for semantic segmentation: pairs of label PNGs as large, and as busy, as those of real data sets; and real ones, repeated.

How fast a label PNG is read depends on how well it compresses, so every workload says the bytes and the edge density of its files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers_semantic import CITY_LABEL_IDS, VOID

from segbench import scenes


@dataclass(frozen=True)
class SemanticWork:
    """A set of pairs to generate.

    Attributes:
        clutter: Small objects added to each scene, so that its PNG has the size of a real one.
        quality: The simulated model.
    """

    name: str
    title: str
    count: int
    height: int
    width: int
    num_classes: int
    clutter: int
    quality: scenes.Quality


WORKLOADS = {
    "city": SemanticWork(
        "city",
        "Cityscapes-like",
        count=200,
        height=1024,
        width=2048,
        num_classes=19,
        clutter=85,
        quality=scenes.Quality(bend=4, missed_thin=20, missed_things=8, confused=10, merged=10, patches=15, made_up=12),
    ),
    "ade": SemanticWork(
        "ade",
        "ADE20K-like",
        count=1000,
        height=512,
        width=683,
        num_classes=150,
        clutter=34,
        quality=scenes.Quality(bend=2, missed_thin=20, missed_things=8, confused=10, merged=10, patches=4, made_up=4),
    ),
    "small": SemanticWork(
        "small",
        "small images",
        count=10,
        height=240,
        width=320,
        num_classes=19,
        clutter=10,
        quality=scenes.GOOD,
    ),
}


def pair(workload: SemanticWork, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Prediction and ground truth of one image, as class indices with 255 for void.

    The scenes have eleven classes; each image takes its own eleven out of the workload's.
    """
    scene = cluttered(scenes.render(index, workload.height, workload.width), workload.clutter, index)
    prediction = scenes.degrade(scene, workload.quality, index)
    dice = scenes.Dice(index, workload.num_classes)
    names = np.full(256, VOID, np.uint8)
    left = list(range(workload.num_classes))
    for label in range(len(scenes.CLASSES)):
        names[label] = left.pop(dice.between(0, len(left) - 1))
    return names[prediction.labels], names[scene.labels]


def cluttered(scene: scenes.Scene, count: int, seed: int) -> scenes.Scene:
    """The scene with small round objects strewn over it."""
    height, width = scene.labels.shape
    dice = scenes.Dice(seed, count)
    shapes = list(scene.shapes)
    for number in range(count):
        tall, wide = (max(2, height * dice.between(8, 60) // 1000) for _ in range(2))
        label = (scenes.VEGETATION, scenes.SIGN, scenes.PERSON, scenes.CAR)[dice.between(0, 3)]
        number = 100 + number if scenes.CLASSES[label].isthing else 0
        shapes.append(scenes.Shape(label, number, dice.between(0, height - 1), dice.between(0, width - 1), scenes.ellipse(tall, wide)))
    labels, instances = scenes.paint(scene.backdrop, shapes)
    void = scene.labels == scenes.VOID
    labels[void], instances[void] = scenes.VOID, scenes.VOID
    return scenes.Scene(labels, instances, scene.classes, scene.backdrop, tuple(shapes))


def generate(workload: SemanticWork, folder: Path, count: int) -> dict[str, Any]:
    """Writes `gt/` and `preds/`, and for the city `label_ids/` with the same maps as labelIds."""
    targets = {"gt": folder / "gt", "preds": folder / "preds"}
    label_ids = None
    if workload.name == "city":
        targets |= {"label_ids/gt": folder / "label_ids/gt", "label_ids/preds": folder / "label_ids/preds"}
        label_ids = np.zeros(256, np.uint8)
        label_ids[: workload.num_classes] = CITY_LABEL_IDS
    for target in targets.values():
        target.mkdir(parents=True, exist_ok=True)
        for old in target.glob("*.png"):
            old.unlink()
    sizes: dict[str, list[int]] = {"gt": [], "preds": []}
    edges: dict[str, list[float]] = {"gt": [], "preds": []}
    for index in range(count):
        for side, labels in zip(("preds", "gt"), pair(workload, index), strict=True):
            file = targets[side] / f"{index:06d}.png"
            scenes.write_png(file, labels)
            sizes[side].append(file.stat().st_size)
            edges[side].append(edge_density(labels))
            if label_ids is not None:
                suffix = "_gtFine_labelIds" if side == "gt" else ""
                scenes.write_png(targets[f"label_ids/{side}"] / f"town_000000_{index:06d}{suffix}.png", label_ids[labels])
    kilobytes, density = ({side: sum(values) / count for side, values in table.items()} for table in (sizes, edges))
    return {
        "facts": f"{count:,} generated pairs of {workload.width}x{workload.height}, {workload.num_classes} classes; mean PNG "
        f"{kilobytes['gt'] / 1000:.1f} kB ground truth, {kilobytes['preds'] / 1000:.1f} kB prediction; "
        f"{density['gt']:.2%} and {density['preds']:.2%} of pixels differ from their right neighbour"
    }


def repeated(source: Path, folder: Path, count: int) -> dict[str, Any]:
    """Links to the 79 real label maps and a real model's predictions, repeated until there are `count`."""
    files = sorted(file.name for file in (source / "gt").glob("*.png"))
    for side, origin in (("gt", source / "gt"), ("preds", source / "pred_A_dl_mnv2")):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            link = folder / side / f"{index:06d}.png"
            link.unlink(missing_ok=True)
            link.symlink_to((origin / files[index % len(files)]).resolve())
    kilobytes = [sum((folder / side / f"{i:06d}.png").stat().st_size for i in range(count)) / count / 1000 for side in ("gt", "preds")]
    return {
        "facts": f"{count:,} pairs: {len(files)} label maps of COCO val2017 in the 21 classes of PASCAL VOC and a real model's "
        f"predictions, repeated; about 640x480; mean PNG {kilobytes[0]:.1f} kB ground truth, {kilobytes[1]:.1f} kB prediction"
    }


def edge_density(labels: NDArray) -> float:
    """Share of pixels whose right neighbour has another label."""
    return float((labels[:, 1:] != labels[:, :-1]).mean())
