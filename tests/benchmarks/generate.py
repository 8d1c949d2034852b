"""Seeded workloads for the benchmarks: pairs of label PNGs as large, and as busy, as those of real data sets.

    python tests/benchmarks/generate.py city --count 20 --work /tmp/segbench-bench

How fast a label PNG is read depends on how well it compresses, so every workload writes down the bytes and the edge density of its files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segbench import scenes

sys.path.insert(0, str(Path(__file__).parent))
from peers import CITY_LABEL_IDS, VOID  # a script's neighbour


@dataclass(frozen=True)
class Workload:
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
    "city": Workload(
        "city",
        "Cityscapes-like",
        count=200,
        height=1024,
        width=2048,
        num_classes=19,
        clutter=85,
        quality=scenes.Quality(bend=4, missed_thin=20, missed_things=8, confused=10, merged=10, patches=15, made_up=12),
    ),
    "ade": Workload(
        "ade",
        "ADE20K-like",
        count=1000,
        height=512,
        width=683,
        num_classes=150,
        clutter=34,
        quality=scenes.Quality(bend=2, missed_thin=20, missed_things=8, confused=10, merged=10, patches=4, made_up=4),
    ),
    "small": Workload(
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


def pair(workload: Workload, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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


def generate(workload: Workload, folder: Path, count: int) -> dict:
    """Writes `gt/` and `preds/`, and for the city `label_ids/` with the same maps as labelIds; returns and writes what was measured.

    A folder that holds this workload already is left as it is.
    """
    wanted = asdict(workload) | {"count": count}
    facts_file = folder / "facts.json"
    if facts_file.exists():
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
        if facts["workload"] == json.loads(json.dumps(wanted)):
            return facts
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
    facts = {
        "workload": wanted,
        "bytes_mean": {side: sum(values) / count for side, values in sizes.items()},
        "edge_density": {side: sum(values) / count for side, values in edges.items()},
    }
    facts_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return json.loads(json.dumps(facts))


def edge_density(labels: NDArray) -> float:
    """Share of pixels whose right neighbour has another label."""
    return float((labels[:, 1:] != labels[:, :-1]).mean())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("--count", type=int, help="pairs (default: as many as the real validation set suggests)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segbench-benchmarks", help="cache folder")
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    count = arguments.count or workload.count
    folder = arguments.work / f"{workload.name}-{count}"
    print(json.dumps(generate(workload, folder, count) | {"folder": str(folder)}))


if __name__ == "__main__":
    main()
