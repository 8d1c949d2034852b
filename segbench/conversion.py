"""convert(): predictions of any panoptic kind, or semantic maps and instances merged, written as COCO panoptic JSON and PNG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from segbench.adapters.base import Request
from segbench.adapters.pairing import pair
from segbench.adapters.panoptic_parts import CONFIDENCE, OVERLAP, STUFF_AREA_PX, merged_parts, write_coco_panoptic
from segbench.datasets import Dataset
from segbench.errors import ConfigError
from segbench.opening import check_exists, open_side, resolved_dataset, told_formats
from segbench.samples import PanopticMap

Progress = Callable[[int, int], None]


def convert(
    source: Any,
    target: str | PathLike,
    *,
    instances: Any = None,
    dataset: str | PathLike | Dataset | None = None,
    format: str | None = None,
    id_space: str | None = None,
    maps: str | None = None,
    overlap: float = OVERLAP,
    stuff_area_px: int = STUFF_AREA_PX,
    confidence: float = CONFIDENCE,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Writes predictions as COCO panoptic: a JSON, and the maps in the folder of its name.

    Args:
        source: Panoptic predictions of any format; with `instances`, semantic label maps.
        target: The JSON to write.
        instances: Scored instances to lay over the labels, such as a COCO results file.
        dataset: The classes; else as `segbench.evaluate` tells them.
        overlap, stuff_area_px, confidence: How parts are merged, see `segbench.adapters.panoptic_parts.merged_parts`.

    Returns:
        The JSON's path.

    Raises:
        InputError: as reading the files does.
        ConfigError: a target that is no `.json`.
    """
    if Path(target).suffix.lower() != ".json":
        raise ConfigError(f"the target must be a JSON file, not {str(target)!r}", hint="name it NAME.json; the maps go to NAME/")
    check_exists(source, *(() if instances is None else (instances,)))
    task = "panoptic" if instances is None else "semantic"
    _, entry, _ = told_formats(source, source, task, format, format)
    labels = resolved_dataset(source, entry, dataset, None, None, say)
    opened = open_side(source, Request("pred", labels, id_space, maps=maps), task, entry)
    say(opened.said)
    if instances is None:
        samples: Iterator[PanopticMap] = opened.read(opened.keys)
        total = len(opened.keys)
    else:
        _, other, _ = told_formats(instances, instances, "instance", None, None)
        things = open_side(instances, Request("pred", labels), "instance", other)
        say(things.said)
        samples = _merged(opened, things, labels, overlap, stuff_area_px, confidence)
        total = len(opened.keys)
    return write_coco_panoptic(_counted(samples, total, progress), labels, target)


def _counted(samples: Iterator[PanopticMap], total: int, progress: Progress) -> Iterator[PanopticMap]:
    for done, sample in enumerate(samples):
        progress(done, total)
        yield sample
    progress(total, total)


def _merged(semantic: Any, things: Any, dataset: Dataset, overlap: float, stuff_area_px: int, confidence: float) -> Iterator[PanopticMap]:
    partner = {label_key: thing_key for thing_key, label_key in pair(things.keys, semantic.keys).pairs}
    for key in semantic.keys:
        labels = next(semantic.read([key]))
        classes = labels.meaning.classes(labels.values)
        masks: list[np.ndarray] = []
        found: Any = None
        if key in partner:
            found = things.read([partner[key]], np.array([classes.shape], np.int32))
            masks = [found.masks.dense(row, classes.shape) for row in range(len(found.category))]
        yield merged_parts(
            key,
            classes,
            masks,
            found.category.tolist() if found is not None else [],
            found.scores.tolist() if found is not None else [],
            dataset,
            overlap=overlap,
            stuff_area_px=stuff_area_px,
            confidence=confidence,
        )
