"""convert(): predictions of any panoptic kind, or semantic maps and instances merged, written as COCO panoptic JSON and PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.arrays import is_memory
from segbench.adapters.base import Request, Role
from segbench.adapters.pairing import pair
from segbench.adapters.panoptic.parts import CONFIDENCE, OVERLAP, STUFF_AREA_PX, merged_parts, write_coco_panoptic
from segbench.datasets import Dataset, find
from segbench.errors import ConfigError, FormatError, InputError, PairingError, counted
from segbench.metrics.panoptic.segments import check_segments, segment_pairs
from segbench.opening import check_exists, open_side, resolved_dataset, told_formats
from segbench.samples import INVALID, ImageId, PanopticMap
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
        InputError: as reading the files does; SB132, no instances of any label map; SB150, a map and its table list different segments.
        ConfigError: a target that is no `.json`, or is read.
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
    say(opened.said)
    things = None
    if instances is not None:
        _, other, _ = told_formats(instances, instances, "instance", None, None)
        things = open_side(instances, Request("pred", labels), "instance", other)
        say(things.said)
    _check_target(
        Path(target), {"source": source, "file of instances": instances, "data set file": _described(source, dataset)}, opened, things
    )
    left_out = _LeftOut(labels, confidence, max(1, stuff_area_px))
    if things is None:
        samples: Iterator[PanopticMap] = (_checked(sample, role, labels) for sample in opened.read(opened.keys))
    else:
        samples = _merged(opened, things, _partners(opened, things, say), left_out, overlap)
    try:
        with _whole(Path(target)) as draft:
            write_coco_panoptic(_named(samples, opened.keys, progress), labels, draft)
    except OSError as error:
        raise InputError(
            f"the panoptic files cannot be written: {error.strerror or error}", files=[str(target)], hint="choose another TARGET"
        ) from error
    for sentence in left_out.sentences():
        say(sentence)
    return Path(target)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Where to write a JSON and its folder of maps; they take their places when all are written, or none does."""
    folder = target.with_suffix("")
    with made_folder(folder), TemporaryDirectory(prefix=".segbench-", dir=folder) as draft:  # renaming needs the disk of the maps
        path = Path(draft) / target.name
        yield path
        maps: dict[Path, bytes | Path] = {folder / item.name: item for item in path.with_suffix("").iterdir()}
        write_all({**maps, target: path.read_bytes()}, index=target)


def _check_target(target: Path, given: Mapping[str, Any], *sources: Any) -> None:
    """Refuses to write over what is read."""
    folder = target.with_suffix("")
    for what, path in given.items():
        if path is not None and not is_memory(path) and (_same(path, target) or _same(path, folder)):
            raise ConfigError(f"the target is the {what}: it would be written over while it is read", hint="name another file")
    roots = {(source.root, source.file(key)) for source in sources if hasattr(source, "root") for key in source.keys}
    read = {root for root, _ in roots} | {os.path.dirname(file) for _, file in roots}
    if any(_same(path, folder) for path in read) or any(os.path.basename(file) == target.name and _same(file, target) for _, file in roots):
        raise ConfigError(
            f"the target's folder of maps, {folder}, holds files that are read: they would be written over", hint="name another file"
        )


def _same(one: str | PathLike, other: Path) -> bool:
    return os.path.exists(one) and other.exists() and os.path.samefile(one, other)


def _described(source: Any, dataset: Any) -> Path | None:
    """The data set file that is read, where one is."""
    if dataset is None:
        return None if is_memory(source) else find(source)
    return Path(dataset) if isinstance(dataset, str | PathLike) and os.path.isfile(dataset) else None


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


def _partners(semantic: Any, things: Any, say: Callable[[str], None]) -> dict[ImageId, ImageId]:
    """The image of the instances that belongs to each label map.

    Raises:
        PairingError: SB132, none does.
    """
    try:
        pairing = pair(things.keys, semantic.keys)
    except PairingError as error:
        names = {"pred": "instances", "gt": "label map"}
        raise PairingError(
            "no label map has the name or the number of an image with instances",
            files=[(names[role], name) for role, name in error.files],
            count=len(semantic.keys),
            hint='image_id 139 belongs to 139.png or 000000000139.png, image_id "street_01" to street_01.png; rename one side',
            code="SB132",
        ) from None
    if pairing.missing:
        say(f"no instances for {len(pairing.missing)} of {counted(len(semantic.keys), 'label map')}: only stuff there")
    if pairing.extra:
        say(f"warning: no label map for {counted(len(pairing.extra), 'image')} with instances: left out, such as {pairing.extra[0]}")
    return {label_key: thing_key for thing_key, label_key in pairing.pairs}


def _merged(semantic: Any, things: Any, partner: Mapping[ImageId, ImageId], left_out: _LeftOut, overlap: float) -> Iterator[PanopticMap]:
    for key in semantic.keys:
        labels = next(semantic.read([key]))
        classes = labels.meaning.classes(labels.values)
        masks: list[NDArray] = []
        categories, scores = np.zeros(0, np.int32), np.zeros(0)
        if key in partner:
            found = things.read([partner[key]], np.array([classes.shape], np.int32))
            masks = [found.masks.dense(row, classes.shape) for row in range(len(found.category))]
            categories, scores = found.category, found.scores
        try:
            merged = merged_parts(
                key,
                classes,
                masks,
                categories.tolist(),
                scores.tolist(),
                left_out.dataset,
                overlap=overlap,
                stuff_area_px=left_out.stuff_area_px,
                confidence=left_out.confidence,
            )
        except InputError as error:
            error.files = [("instances", things.file(partner[key])), ("label map", semantic.file(key))]
            raise
        left_out.count(classes, categories, scores, merged)
        yield merged


class _LeftOut:
    """What merging leaves out, over all images.

    Attributes:
        instances, below, covered: Instances; those whose score is too low; those of which too little was free.
        regions, small: Stuff classes by image; those of which too little was free.
        present, drawn: bool[C], classes in the parts, and classes of segments.
    """

    def __init__(self, dataset: Dataset, confidence: float, stuff_area_px: int) -> None:
        self.dataset, self.confidence, self.stuff_area_px = dataset, confidence, stuff_area_px
        self.instances = self.below = self.covered = self.regions = self.small = 0
        self.present, self.drawn = np.zeros((2, dataset.num_classes), bool)
        self._stuff = np.array([thing is False for thing in dataset.isthing], bool)

    def count(self, classes: NDArray, categories: NDArray, scores: NDArray, merged: PanopticMap) -> None:
        """Counts one image: the classes of its labels, its instances, and what became of them."""
        labelled = np.bincount(classes.reshape(-1) - INVALID, minlength=self.dataset.num_classes + 2)[1:-1] > 0
        below = int((scores < self.confidence).sum())
        regions, stuff = (int(self._stuff[found].sum()) for found in (labelled, merged.classes))
        self.instances += len(categories)
        self.below += below
        self.covered += len(categories) - below - (len(merged.classes) - stuff)
        self.regions += regions
        self.small += regions - stuff
        self.present[labelled] = self.present[categories] = self.drawn[merged.classes] = True

    def sentences(self) -> Iterator[str]:
        """What the person is told."""
        of = f"of {counted(self.instances, 'instance')}"
        said = []
        if self.below:
            said.append(f"{self.below} {of} below {self.confidence:g}" + (f", {self.covered} covered" if self.covered else ""))
        elif self.covered:
            said.append(f"{self.covered} {of} covered")
        if self.small:
            said.append(f"{self.small} of {counted(self.regions, 'stuff region')} under {self.stuff_area_px} px")
        if said:
            yield f"left out: {'; '.join(said)}"
        gone = [name for name, lost in zip(self.dataset.names, self.present & ~self.drawn, strict=True) if lost]
        if gone:
            yield f"warning: in the parts, and in no segment: {', '.join(gone)}"
