"""In-memory samples: NumPy arrays, and tensors of any framework without importing it."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Format, Layout, Request
from segbench.adapters.label_arrays import channels, labels_from_array
from segbench.datasets import Dataset
from segbench.errors import ConfigError, FormatError, PairingError, SegbenchError, ShapeError
from segbench.samples import ImageId, LabelMap, ValueMap

NAME = "array"

INTERRUPTIONS = (KeyboardInterrupt, GeneratorExit, MemoryError)
"""What passes through code of the user: it is not its failure."""


def as_numpy(value: Any, what: str = "an array") -> NDArray:
    """A NumPy view or copy of an array-like: NumPy, anything with `detach`/`cpu` (torch), `__dlpack__` (JAX, CuPy on CPU) or `__array__`.

    Raises:
        FormatError: not an array.
    """
    if isinstance(value, np.ndarray):
        return value
    for method in ("detach", "cpu"):
        if hasattr(value, method):
            try:
                value = getattr(value, method)()
            except Exception as error:  # code of a framework, or of the user
                raise FormatError(f"{what} cannot be read: {method}() fails with {type(error).__name__}: {error}") from error
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception:
            pass  # a dtype or a device that DLPack does not carry: `__array__` says it better
    if hasattr(value, "__array__") or isinstance(value, list | tuple):
        try:
            array = np.asarray(value)
        except Exception as error:  # code of a framework, or of the user
            raise FormatError(f"{what} cannot be read as an array: {error}", hint="pass a NumPy array or a CPU tensor") from error
        if array.dtype != object:
            return array
    raise FormatError(f"{what} is a {type(value).__name__}, not an array", hint="pass a NumPy array or a CPU tensor")


def is_memory(value: Any) -> bool:
    """Whether a value is samples in memory, not a path."""
    return isinstance(value, Mapping | list | tuple) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


@dataclass(frozen=True, eq=False)
class ArrayLabels:
    """Label maps or scores held in memory."""

    items: Mapping[int | str, Any]
    meaning: ValueMap
    layout: Layout | None = None
    threshold: float | None = None
    role: str = "pred"
    format: str = NAME

    @property
    def keys(self) -> Sequence[int | str]:
        return tuple(self.items)

    @property
    def said(self) -> str:
        return f"{len(self.items)} arrays in memory, {self.meaning.space} ids"

    def item(self, key: int | str) -> NDArray:
        """The array of an image as it was given; a mapping may make it only now."""
        try:
            value = self.items[key]
        except SegbenchError:
            raise
        except INTERRUPTIONS:
            raise
        except BaseException as error:  # code of the user: also one that exits
            raise FormatError(
                f"{'the adapter' if self.role == 'pred' else 'the mapping'} failed for image {key!r}: {type(error).__name__}: {error}",
                hint="it is asked for one image at a time, by the keys it lists",
            ) from error
        if value is None:
            raise FormatError(f"{self.file(key)} is None", hint="give one (height, width) array of class ids per image")
        return as_numpy(value, self.file(key))

    def array(self, key: int | str) -> NDArray:
        array, count = self.item(key), channels(self.meaning)
        if self.role == "gt" and array.dtype.kind == "f" and array.ndim > 2:
            raise FormatError(
                f"{self.file(key)} holds scores of shape {array.shape}; ground truth is labels",
                hint="give one (height, width) array of class ids per image",
                code="SB180",
            )
        return labels_from_array(array, layout=self.layout, num_classes=count, threshold=self.threshold, file=self.file(key))

    def read(self, keys: Sequence[int | str]) -> Iterator[LabelMap]:
        for key in keys:
            yield LabelMap(key, self.array(key), self.meaning, self.file(key))

    def part(self, keys: Sequence[int | str]) -> ArrayLabels:
        # mappings are read lazily here, arrays and tensors become NumPy: both can travel
        items = {key: self.item(key) for key in keys}
        return ArrayLabels(items, self.meaning, self.layout, self.threshold, self.role)

    def file(self, key: int | str) -> str:
        return f"{self.role} array {key!r}"

    def sizes(self) -> list[tuple[int, int] | None]:
        return [None] * len(self.items)

    def fingerprint(self, key: int | str) -> bytes:
        array = np.ascontiguousarray(self.item(key))
        return hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode() + array.tobytes()).digest()


def open_arrays(value: Any, request: Request) -> ArrayLabels:
    """Samples in memory as a source.

    Args:
        value: `{id: array}`, a sequence of arrays (ids 0, 1, ...), or one array: (H, W) is one image, an integer (N, H, W) is N.
    """
    if isinstance(value, str | PathLike):
        raise ConfigError(f"format {NAME} is for values in memory", hint="leave it out: the formats of files are recognised")
    if isinstance(value, Mapping):
        items: Mapping = by_plain_ids(value, request.role)
    elif isinstance(value, list | tuple) and not (value and np.isscalar(value[0])):
        items = dict(enumerate(value))
    else:
        array = as_numpy(value, f"the {request.role} value")
        if array.ndim < 2:
            raise ShapeError(f"an array of shape {array.shape} is no image: (height, width) is needed", files=[f"{request.role} value"])
        whole = array.ndim == 2 or (array.ndim == 3 and array.dtype.kind == "f")
        items = {0: array} if whole else dict(enumerate(array))
    meaning = array_meaning(request.dataset, request.id_space)
    return ArrayLabels(items, meaning, request.layout, request.threshold, request.role)


def plain_id(image_id: Any) -> ImageId:
    """An image id as it is kept: a whole number or text.

    Raises:
        ConfigError: neither.
    """
    if isinstance(image_id, str):
        return str.__str__(image_id)
    try:
        if isinstance(image_id, bool | np.bool_):
            raise TypeError
        return operator.index(image_id)
    except TypeError:
        raise ConfigError(f"an image id is a whole number or text, not {image_id!r}", hint="such as the name of its file") from None


@dataclass(frozen=True, eq=False)
class Renamed(Mapping):
    """A mapping under other keys; its values are still made when they are asked for."""

    values_of: Mapping
    names: Mapping[ImageId, Any]

    def __getitem__(self, key: ImageId) -> Any:
        return self.values_of[self.names[key]]

    def __iter__(self) -> Iterator[ImageId]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def by_plain_ids(samples: Mapping, role: str) -> Mapping[ImageId, Any]:
    """Samples in memory by their image ids as those are kept.

    Raises:
        ConfigError: a key that is no image id.
        PairingError: SB120, two keys that are one id.
    """
    names: dict[ImageId, Any] = {}
    for key in samples:
        plain = plain_id(key)
        if plain in names:
            raise PairingError(f"two image ids in memory are one, {plain!r}", files=[(role, repr(key))], code="SB120")
        names[plain] = key
    return samples if all(type(key) in (int, str) for key in names.values()) else Renamed(samples, names)


def array_meaning(dataset: Dataset, id_space: str | None) -> ValueMap:
    """Arrays hold model outputs: class indices, unless another id space is asked for."""
    if id_space:
        return dataset.value_map(id_space)
    spaces = dataset.spaces
    return dataset.value_map(next((name for name in ("contiguous", "train") if name in spaces), spaces[0]))


ARRAYS = Format(
    NAME,
    "arrays and tensors in memory",
    "{id: array}, a sequence of arrays, or one array; NumPy, torch, JAX, anything with __dlpack__",
    ("semantic",),
    (),
    lambda path: (0.0, ""),
    open_arrays,
)
