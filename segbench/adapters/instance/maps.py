"""Maps of instances: one image per image, each value one instance. Cityscapes `instanceIds`, 16-bit label maps, nuclei and cell labels.

With a label divisor a value is `class * divisor + number`; a value below it is a region of the class without instances, which counts as a
crowd. Without one the data set must have one class, and each value above 0 is an instance of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Format, Request
from segbench.adapters.images import read_labels
from segbench.adapters.instance.files import InstanceFiles, Size, first_file, open_folder
from segbench.adapters.png import header
from segbench.errors import ConfigError, FormatError, LabelError
from segbench.samples import INVALID

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
NAME = "instance-maps"


def runs_of(values: NDArray) -> tuple[NDArray[np.int64], list[list[int]]]:
    """Distinct values of a map, ascending, and the run lengths of each one's mask: down the columns, background first."""
    flat = values.T.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1)) if flat.size else np.zeros(0, np.int64)
    stops = np.append(starts[1:], flat.size)[: len(starts)]
    labels = flat[starts].astype(np.int64)
    order = np.argsort(labels, kind="stable")
    distinct, first = np.unique(labels[order], return_index=True)
    runs = []
    for part in np.split(order, first[1:]) if len(distinct) else []:
        edges = np.stack((starts[part], stops[part]), 1).reshape(-1)
        runs.append(np.diff(edges, prepend=0, append=flat.size).tolist())
    return distinct, runs


def load(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """The instances of one map."""
    values = read_labels(path, trust_pickle=request.trust_pickle)
    if values.ndim != 2:
        raise FormatError(f"a map of instances has one value per pixel, not shape {values.shape}", files=[path], code="SB162")
    distinct, runs = runs_of(values)
    classes, crowd, void = _meaning(distinct, values, path, request)
    rows = np.flatnonzero(classes >= 0)
    nothing = np.isin(values, distinct[void]) if void.any() else None
    return sample_of([runs[row] for row in rows], classes[rows], crowd[rows], values.shape, nothing)


def sample_of(
    runs: Sequence[list[int]],
    classes: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    size: tuple[int, ...],
    void: NDArray[np.bool_] | None,
) -> Mapping[str, Any]:
    """The instances of a map as a dict: the runs of each one's mask, its class index, whether it is a crowd; and what is void."""
    masks = [{"size": list(size), "counts": _trimmed(run)} for run in runs]
    sample = {"masks": masks, "labels": classes, "iscrowd": crowd, "space": "contiguous", "size": size}
    return sample | ({} if void is None else {"void": void})


def _trimmed(runs: list[int]) -> list[int]:
    return runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs


def _meaning(
    distinct: NDArray[np.int64], values: NDArray, path: str, request: Request
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Class index of each value, -1 where it is no instance; whether it is a crowd; whether it is void."""
    dataset = request.dataset
    divisor = dataset.label_divisor
    if divisor is None:
        if dataset.num_classes != 1:
            raise ConfigError(
                f"{dataset.name} has {dataset.num_classes} classes and no label_divisor, so the values of these maps tell no class",
                hint="give a data set file with label_divisor, or one with a single class",
            )
        nowhere = np.zeros(len(distinct), bool)
        return np.where(distinct > 0, 0, -1), nowhere, nowhere
    if values.dtype == np.uint8 and divisor > 255:
        raise FormatError(
            f"8-bit values cannot hold class * {divisor} + number",
            files=[path],
            hint="save instance maps with 16 bits; *_labelIds files hold classes, *_instanceIds instances",
            code="SB163",
        )
    region = distinct < divisor
    labels = np.where(region, distinct, distinct // divisor)
    classes = dataset.value_map(request.id_space or "label").classes(labels).astype(np.int64)
    unknown = labels[(classes == INVALID) & (labels != 0)]
    if len(unknown):
        raise LabelError(
            f"class {int(unknown[0])} of value {int(distinct[labels == unknown[0]][-1])} is none of {dataset.name}",
            files=[path],
            code="SB110",
        )
    things = np.array([label.isthing is not False for label in dataset.evaluated] + [False])
    # numbered instances of an ignored class are no void to the scripts of Cityscapes, only its regions are
    return np.where((classes >= 0) & things[classes], classes, -1), region, region & (classes == dataset.num_classes)


def open_maps(path: Path, request: Request) -> InstanceFiles:
    """Opens a folder of maps; of Cityscapes the `instanceIds`."""
    named = path.is_dir() and any(path.rglob("*_instanceIds.png"))
    keep = (lambda name: name.endswith("_instanceIds.png")) if named else (lambda name: True)
    source = open_folder(path, request, NAME, "maps of instances", SUFFIXES, load, keep=keep)
    if request.role == "pred":
        raise FormatError(
            "maps of instances have no scores, by which instances are ranked",
            files=[str(path)],
            hint="use them as ground truth; as predictions give COCO results, or .npz files with masks, labels and scores",
            code="SB140",
        )
    return source


def sniff(path: Path) -> tuple[float, str]:
    """How sure it is that a path holds maps of instances."""
    file = first_file(path, SUFFIXES)
    if file is None:
        return 0.0, ""
    if file.suffix.lower() == ".png" and header(file).bit_depth == 16:
        return 0.5, "16-bit PNG files"
    return 0.3, f"files such as {file.name}"


MAPS = Format(
    NAME,
    "maps of instances",
    "one file per image; values are class * label_divisor + number",
    ("instance",),
    SUFFIXES,
    sniff,
    open_maps,  # type: ignore[arg-type]
)
