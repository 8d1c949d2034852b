"""One file of instances per image: a source that reads each into the dict that `memory.batch_of` takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Request
from segbench.adapters.pairing import unique_keys
from segbench.datasets import Dataset
from segbench.errors import FormatError, InputError
from segbench.instances import InstanceBatch
from segbench.samples import ImageId

Size = tuple[int, int] | None
Loader = Callable[[str, Size, Request], Mapping[str, Any]]
"""Reads a file into a dict, given the size of its image where it is known."""

HEAD = 65536


@dataclass(frozen=True, eq=False)
class InstanceFiles:
    """A folder of instance files.

    Attributes:
        format, said, keys: See `Source`.
        root: The folder. files: Path below it of each key.
        request: What was asked for.
        loader: Reads one file.
        masks: Whether the files hold masks, not boxes alone.
        box_format: `xywh` or `xyxy`.
        notes: What the user should know.
        places: Position of each key in the whole folder, also in a part of it.
    """

    format: str
    said: str
    root: str
    files: Mapping[str, str]
    request: Request
    loader: Loader
    masks: bool = True
    box_format: str = "xywh"
    notes: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", {key: place for place, key in enumerate(self.files)})

    @property
    def keys(self) -> tuple[str, ...]:
        """Pairing keys, in the order of the paths."""
        return tuple(self.files)

    @property
    def families(self) -> tuple[str, ...]:
        """What these instances can be compared by: masks give boxes too."""
        return ("segm", "bbox", "boundary") if self.masks else ("bbox",)

    @property
    def has_masks(self) -> bool:
        """Whether masks can be compared, not boxes alone."""
        return self.masks

    @property
    def dataset(self) -> Dataset:
        """The label semantics."""
        return self.request.dataset

    def read(self, keys: Sequence[ImageId], sizes: NDArray[np.int32] | None = None, masks: bool = True) -> InstanceBatch:
        """The instances of some images.

        Raises:
            FormatError: a file that is damaged or of another form.
        """
        from segbench.adapters.instance.memory import batch_of  # recognising files needs none of it

        known: list[Size] = [None] * len(keys)
        if sizes is not None:
            known = [None if size[0] < 0 else (int(size[0]), int(size[1])) for size in sizes]
        samples = [self.loader(self._path(key), size, self.request) for key, size in zip(keys, known, strict=True)]
        try:
            batch = batch_of(
                list(keys),
                samples,
                self.dataset,
                self.request.role,
                space=samples[0].get("space", self.request.id_space) if samples else None,
                box_format=self.box_format,
                sizes=known,
                order=[self.places[str(key)] for key in keys],
                drop_masks=not masks,
            )
        except InputError as error:
            error.files = error.files or [("folder", self.root)]
            raise
        return replace(batch, file=self.root)

    def part(self, keys: Sequence[ImageId]) -> InstanceFiles:
        """Only these images."""
        names = [str(key) for key in keys]
        return replace(self, files={name: self.files[name] for name in names}, places={name: self.places[name] for name in names})

    def file(self, key: ImageId) -> str:
        """The file of an image."""
        return self._path(key)

    def sizes(self) -> list[tuple[int, int] | None]:
        """Not told before reading."""
        return [None] * len(self.files)

    def fingerprint(self, key: ImageId) -> bytes:
        """sha256 of the image's file."""
        return hashlib.sha256(Path(self._path(key)).read_bytes()).digest()

    def _path(self, key: ImageId) -> str:
        return os.path.join(self.root, self.files[str(key)])


def open_folder(
    path: Path,
    request: Request,
    name: str,
    noun: str,
    suffixes: Sequence[str],
    loader: Loader,
    *,
    masks: bool = True,
    box_format: str = "xywh",
    keep: Callable[[str], bool] = lambda name: True,
) -> InstanceFiles:
    """A source of the files with these endings.

    Raises:
        FormatError: there are none.
    """
    root, names = (path.parent, [path.name]) if path.is_file() else (path, listed(path, suffixes))
    names = [item for item in names if keep(item)]
    if not names:
        raise FormatError(f"no {noun} here", files=[str(path)], hint=f"a folder of {', '.join(suffixes)} files; segbench formats lists all")
    files = unique_keys(names, str(path), request.dataset.matching)
    side = "predictions" if request.role == "pred" else "ground truths"
    said = f"{side} of {len(files)} images read as {noun}, {request.id_space or 'label'} ids of {request.dataset.name}"
    return InstanceFiles(name, said, str(root), files, request, loader, masks, box_format)


def listed(root: Path, suffixes: Sequence[str]) -> list[str]:
    """Relative paths with forward slashes of the files with these endings, hidden ones left out, sorted."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        found += [prefix + name for name in names if name.lower().endswith(tuple(suffixes)) and not name.startswith(".")]
    return sorted(found)


def first_file(path: Path, suffixes: Sequence[str]) -> Path | None:
    """The path itself, or the first file of a folder, with one of these endings."""
    return next(iter(first_files(path, suffixes, 1)), None)


def first_files(path: Path, suffixes: Sequence[str], count: int) -> list[Path]:
    """The path itself, or the first files of a folder, with one of these endings."""
    if path.is_file():
        return [path] if path.name.lower().endswith(tuple(suffixes)) else []
    return [path / name for name in listed(path, suffixes)[:count]] if path.is_dir() else []


def head_of(path: Path | None) -> bytes:
    """The first bytes of a file."""
    if path is None:
        return b""
    with open(path, "rb") as file:
        return file.read(HEAD)
