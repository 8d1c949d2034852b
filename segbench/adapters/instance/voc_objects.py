"""Ground truth of PASCAL VOC: a map of objects in `SegmentationObject`, and the map of classes of the same name in `SegmentationClass`.

Values of the first are objects, 0 is background and 255 void; an object is of the class that most of its pixels have in the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Format, Request
from segbench.adapters.images import read_labels
from segbench.adapters.instance.files import InstanceFiles, Size, open_folder
from segbench.adapters.instance.maps import runs_of, sample_of
from segbench.errors import FormatError, LabelError, ShapeError

OBJECTS, CLASSES = "SegmentationObject", "SegmentationClass"
BACKGROUND, VOID = 0, 255


def folder_of(path: Path) -> Path | None:
    """The folder of object maps, where the folder of class maps lies beside it."""
    found = path if path.name == OBJECTS else path / OBJECTS
    return found if found.is_dir() and found.with_name(CLASSES).is_dir() else None


def load(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """The objects of one image."""
    file = Path(path)
    other = file.parent.with_name(CLASSES) / file.name
    objects, classes = read_labels(path), read_labels(other)
    for values, name in ((objects, path), (classes, str(other))):
        if values.ndim != 2:
            raise FormatError("the maps of VOC have one value per pixel, not colours", files=[name], code="SB162")
    if objects.shape != classes.shape:
        sizes = ["x".join(map(str, values.shape)) for values in (objects, classes)]
        raise ShapeError(
            f"the maps of objects and of classes differ in size: {sizes[0]} vs {sizes[1]}", files=[path, str(other)], code="SB101"
        )
    numbers, runs = runs_of(objects)
    rows = np.flatnonzero((numbers != BACKGROUND) & (numbers != VOID))
    labels = [_class_of(int(number), classes[objects == number], path, request) for number in numbers[rows]]
    nowhere = np.zeros(len(rows), bool)
    return sample_of([runs[row] for row in rows], np.array(labels, np.int64), nowhere, objects.shape, objects == VOID)


def _class_of(number: int, values: NDArray, path: str, request: Request) -> int:
    meaning = request.dataset.value_map(request.id_space or "label")
    distinct, counts = np.unique(values[values != BACKGROUND], return_counts=True)
    indices = meaning.classes(distinct.astype(np.int64))
    known = (indices >= 0) & (indices < request.dataset.num_classes)
    if not known.any():
        found = ", ".join(map(str, np.unique(values)[:5].tolist()))
        raise LabelError(
            f"object {number} has no class of {request.dataset.name}: its pixels have the values {found} in {CLASSES}",
            files=[path],
            code="SB112",
        )
    return int(indices[np.argmax(np.where(known, counts, 0))])


def sniff(path: Path) -> tuple[float, str]:
    """How sure it is that a path holds objects of VOC."""
    return (0.9, f"{OBJECTS} beside {CLASSES}") if path.is_dir() and folder_of(path) else (0.0, "")


def open_objects(path: Path, request: Request) -> InstanceFiles:
    """Opens `SegmentationObject`, or the folder that holds it."""
    if request.role == "pred":
        raise FormatError("maps of objects have no scores, by which instances are ranked", files=[str(path)], code="SB140")
    folder = folder_of(path)
    if folder is None:
        raise FormatError(f"{OBJECTS} needs {CLASSES} beside it", files=[str(path)], hint="the classes of the objects are in the latter")
    return open_folder(folder, request, VOC.name, "objects of PASCAL VOC", (".png",), load)


VOC = Format(
    "voc-objects",
    "objects of PASCAL VOC",
    f"ground truth: {OBJECTS}/*.png, and the classes in {CLASSES}/*.png beside it",
    ("instance",),
    (".png",),
    sniff,
    open_objects,  # type: ignore[arg-type]
)
