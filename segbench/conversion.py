"""convert(): predictions of any panoptic kind, or semantic maps and instances merged, written as COCO panoptic JSON and PNG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from segbench.adapters.arrays import is_memory
from segbench.adapters.base import Request, Role
from segbench.adapters.pairing import pair
from segbench.adapters.panoptic.parts import CONFIDENCE, OVERLAP, STUFF_AREA_PX, merged_parts, write_coco_panoptic
from segbench.datasets import Dataset
from segbench.errors import ConfigError, FormatError, InputError, counted
from segbench.metrics.panoptic.segments import check_segments, segment_pairs
from segbench.opening import check_exists, open_side, resolved_dataset, told_formats
from segbench.samples import ImageId, PanopticMap
from segbench.storage import made_folder, write_all

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
    ground_truth: bool = False,
    overlap: float = OVERLAP,
    stuff_area_px: int = STUFF_AREA_PX,
    confidence: float = CONFIDENCE,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Writes predictions as COCO panoptic: a JSON, and the maps in the folder of its name; whole, or nothing.

    Args:
        source: Panoptic predictions of any format; with `instances`, semantic label maps.
        target: The JSON to write.
        instances: Scored instances to lay over the labels, such as a COCO results file.
        dataset: The classes; else as `segbench.evaluate` tells them.
        ground_truth: The source is ground truth: its groups become crowds.
        overlap, stuff_area_px, confidence: How parts are merged, see `segbench.adapters.panoptic.parts.merged_parts`.

    Returns:
        The JSON's path.

    Raises:
        InputError: as reading the files does; SB150, a map and its table list different segments.
        ConfigError: a target that is no `.json`, or is the source.
    """
    if Path(target).suffix.lower() != ".json":
        raise ConfigError(f"the target must be a JSON file, not {str(target)!r}", hint="name it NAME.json; the maps go to NAME/")
    if Path(target).is_dir():
        raise ConfigError(f"the target {str(target)!r} is a folder", hint="name a file, which is written beside its folder of maps")
    check_exists(source, *(() if instances is None else (instances,)))
    task = "panoptic" if instances is None else "semantic"
    role: Role = "gt" if ground_truth else "pred"
    try:
        _, entry, _ = told_formats(source, source, task, format, format)
    except FormatError as error:
        hint = error.hint if instances else "label maps become panoptic with --instances, a file of scored instances"
        raise FormatError(error.message, files=error.files, hint=hint, code=error.code) from error
    labels = resolved_dataset(source, entry, dataset, None, None, say)
    opened = open_side(source, Request(role, labels, id_space, maps=maps, asked=format), task, entry)
    _check_target(Path(target), source, opened)
    say(opened.said)
    if instances is None:
        samples: Iterator[PanopticMap] = (_checked(sample, role, labels) for sample in opened.read(opened.keys))
    else:
        _, other, _ = told_formats(instances, instances, "instance", None, None)
        things = open_side(instances, Request("pred", labels), "instance", other)
        say(things.said)
        samples = _merged(opened, things, labels, overlap, stuff_area_px, confidence, say)
    try:
        with _whole(Path(target)) as draft:
            write_coco_panoptic(_named(samples, opened.keys, progress), labels, draft)
        return Path(target)
    except OSError as error:
        raise InputError(
            f"the panoptic files cannot be written: {error.strerror or error}", files=[str(target)], hint="choose another TARGET"
        ) from error


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Where to write a JSON and its folder of maps; they take their places when all are written, or none does."""
    folder = target.with_suffix("")
    with made_folder(folder), TemporaryDirectory(prefix=".segbench-", dir=folder) as draft:  # renaming needs the disk of the maps
        path = Path(draft) / target.name
        yield path
        maps: dict[Path, bytes | Path] = {folder / item.name: item for item in path.with_suffix("").iterdir()}
        write_all({**maps, target: path.read_bytes()}, index=target)


def _check_target(target: Path, source: Any, opened: Any) -> None:
    """Refuses to write over what is read."""
    read = {Path(str(path)).resolve() for path in (source, getattr(opened, "root", source)) if not is_memory(path)}
    if read & {target.resolve(), target.with_suffix("").resolve()}:
        raise ConfigError("the target is the source: it would be written over while it is read", hint="name another file")


def _checked(sample: PanopticMap, role: str, dataset: Dataset) -> PanopticMap:
    check_segments(sample, role, segment_pairs(sample, sample).gt_areas, dataset)
    return sample


def _named(samples: Iterator[PanopticMap], keys: Sequence[ImageId], progress: Progress) -> Iterator[PanopticMap]:
    """The samples, and how many are done. Names of files that are numbers become numbers, as the image ids of COCO are."""
    numbers = [int(key) for key in keys if isinstance(key, int) or key.isdecimal()]
    numbered = len(set(numbers)) == len(keys)
    for done, sample in enumerate(samples):
        progress(done, len(keys))
        yield replace(sample, id=int(sample.id)) if numbered else sample
    progress(len(keys), len(keys))


def _merged(
    semantic: Any, things: Any, dataset: Dataset, overlap: float, stuff_area_px: int, confidence: float, say: Callable[[str], None]
) -> Iterator[PanopticMap]:
    pairing = pair(things.keys, semantic.keys)
    if pairing.missing:
        say(f"no instances for {len(pairing.missing)} of {counted(len(semantic.keys), 'label map')}: only stuff there")
    if pairing.extra:
        say(f"warning: no label map for {counted(len(pairing.extra), 'image')} with instances: left out, such as {pairing.extra[0]}")
    partner = {label_key: thing_key for thing_key, label_key in pairing.pairs}
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
