"""Panoptic maps that need no table: class and instance stand in every pixel. One file per image.

channels      R the class, G and B the instance: deeplab2's two- and three-channel PNG, KITTI-STEP
bitmask       RGBA: R the class, G flags, B and A the instance: BDD100K
instance-ids  below the divisor the class alone, from there class * divisor + instance: Cityscapes instanceIds
divided       class * divisor + instance everywhere: Mapillary Vistas, KITTI, detectron2
points        32 bits per point, the low 16 the class, the high 16 the instance: SemanticKITTI .label
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segbench import files as disk
from segbench.adapters import png
from segbench.adapters.base import Format, Request
from segbench.adapters.images import read_labels
from segbench.adapters.label_arrays import check_pixels
from segbench.adapters.label_files import ARRAY, PNG, TIFF, listed, stem_of
from segbench.adapters.pairing import unique_keys
from segbench.datasets import Dataset, spaces_holding
from segbench.errors import ConfigError, FormatError, InputError, LabelError, counted
from segbench.samples import INVALID, ImageId, PanopticMap, ValueMap

CROWD_FLAG, IGNORE_FLAG = 2, 1
"""Bits of BDD100K's second channel."""

POINTS = (".label",)
SAMPLED = 4

CHANNEL_MAPS = ("channels", "two-channel")
GROUP = 255
"""The instance of a group in two-channel maps."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What the distinct ids of a map mean: class values, and which ids stand for a group of objects, or for nothing."""

    labels: NDArray[np.int64]
    group: NDArray[np.bool_]
    nothing: NDArray[np.bool_]


def parts_of(ids: NDArray[np.int64], encoding: str, divisor: int, isthing: Callable[[NDArray], NDArray[np.bool_]]) -> Parts:
    """Class values of segment ids.

    A thing of instance 0, or in two-channel maps of 255, is a group: a region of several objects that nobody told apart.

    Args:
        ids: int64[S], as the map's bytes hold them, the lowest first.
        isthing: Tells of class values whether they are things.
    """
    nothing = np.zeros(len(ids), bool)
    if encoding in CHANNEL_MAPS:
        labels, instances = ids & 0xFF, ids >> 8
        if encoding == "two-channel":
            instances = np.where(instances == GROUP, 0, 1)
    elif encoding == "points":
        labels, instances = ids & 0xFFFF, ids >> 16
    elif encoding == "bitmask":
        labels, instances, flags = ids & 0xFF, ids >> 16, ids >> 8 & 0xFF
        return Parts(labels, flags & CROWD_FLAG > 0, flags & IGNORE_FLAG > 0)
    elif encoding == "divided":
        labels, instances = ids // divisor, ids % divisor
    else:
        labels, instances = np.where(ids < divisor, ids, ids // divisor), np.where(ids < divisor, 0, 1)
    return Parts(labels, isthing(labels) & (instances == 0), nothing)


@dataclass(frozen=True, eq=False)
class PanopticMaps:
    """Self-contained panoptic maps in files.

    Attributes:
        root: The folder; `files` are relative to it, by key.
        meaning: What class values mean.
        crowds: Whether groups are crowds: in ground truth they are, in predictions they are segments.
        undecided: Whether nobody said, and no pixel tells, which instance is a group: 0, or 255 as in two-channel maps.
    """

    format: str
    root: str
    files: Mapping[str, str]
    encoding: str
    divisor: int
    dataset: Dataset
    meaning: ValueMap
    crowds: bool
    undecided: bool = False
    what: str = ""
    _prints: dict[ImageId, bytes] = field(default_factory=dict, repr=False)

    @property
    def keys(self) -> Sequence[str]:
        return tuple(self.files)

    @property
    def said(self) -> str:
        return self.what

    def read(self, keys: Sequence[ImageId]) -> Iterator[PanopticMap]:
        for key in keys:
            path = self.file(key)
            values = map_values(path, self.encoding)
            self._prints[key] = _digest(path)
            yield self._sample(key, values, path)

    def _sample(self, key: ImageId, values: NDArray, path: str) -> PanopticMap:
        ids = distinct_ids(values)
        parts = parts_of(ids, self.encoding, self.divisor, self._isthing)
        if self.undecided:
            self._refuse_undecided(ids, parts, path)
        classes = self.meaning.classes(parts.labels)
        unknown = np.unique(parts.labels[(classes == INVALID) & ~parts.nothing])
        if len(unknown):
            raise LabelError(
                f"the map holds {counted(len(unknown), 'class value')} that {self.dataset.name} does not have in id space "
                f"{self.meaning.space!r}: {', '.join(map(str, unknown[:8].tolist()))}",
                files=[path],
                hint=f"it was read as {self.encoding}; --format and --id-space say what it is",
                code="SB110",
            )
        classes = np.where(parts.nothing, self.meaning.num_classes, classes).astype(np.int32)
        # an id that cannot stand in the map is void: void pixels are segments of a class that is not evaluated
        void = int(np.setdiff1d(np.arange(len(ids) + 1), ids, assume_unique=True)[0])
        crowd = parts.group if self.crowds else np.zeros(len(ids), bool)
        return PanopticMap(key, values, ids, classes, np.full(len(ids), -1, np.int64), crowd, path, void=void)

    def _refuse_undecided(self, ids: NDArray[np.int64], parts: Parts, path: str) -> None:
        other = parts_of(ids, "two-channel", self.divisor, self._isthing)
        if (differing := ids[parts.group != other.group]).size and not (ids >> 16).any():
            label, instance = int(differing[0]) & 0xFF, int(differing[0]) >> 8
            raise FormatError(
                f"instance {instance} of class {label} is a group or one object, by the kind of map, and nothing tells which kind this is",
                files=[path],
                hint="--gt-format panoptic-channels: 0 is a group (deeplab2, KITTI-STEP); panoptic-two-channel: 255 is (panopticapi)",
                code="SB154",
            )

    def _isthing(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        things = np.array([thing is True for thing in (*self.dataset.isthing, False)], bool)
        classes = self.meaning.classes(labels)
        return (classes >= 0) & things[np.maximum(classes, 0)]

    def part(self, keys: Sequence[ImageId]) -> PanopticMaps:
        return replace(self, files={str(key): self.files[str(key)] for key in keys}, _prints={})

    def file(self, key: ImageId) -> str:
        return os.path.join(self.root, self.files[str(key)])

    def sizes(self) -> list[tuple[int, int] | None]:
        return [None] * len(self.files)

    def fingerprint(self, key: ImageId) -> bytes:
        return self._prints.get(key) or _digest(self.file(key))


def _digest(path: str) -> bytes:
    return hashlib.sha256(disk.read(path, png.MAX_BYTES)).digest()


def distinct_ids(values: NDArray) -> NDArray[np.int64]:
    """The distinct ids of a map, ascending; without a sign, as its bytes hold them."""
    from segbench.kernels.panoptic import run_values

    step = values.shape[2] if values.ndim == 3 else values.dtype.itemsize
    little = values if values.ndim == 3 else values.astype(values.dtype.newbyteorder("<"), copy=False)
    flat = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
    found = np.empty(len(flat) // step, np.int64)
    return np.unique(found[: run_values(flat, step, found)])


def map_values(path: str, encoding: str) -> NDArray:
    """The pixels of a map, of the type that its encoding needs.

    Raises:
        FormatError: SB154, another kind of image than the encoding; SB160, damaged.
        ShapeError: no pixel.
        LabelError: SB153, a negative id.
    """
    if encoding == "points":
        return _points(path)
    values = read_labels(path)
    check_pixels(values, "segments", [path])
    if values.ndim == 3 and values.dtype == np.uint8 and values.shape[2] == 2:
        values = np.concatenate((values, np.zeros((*values.shape[:2], 1), np.uint8)), 2)  # .npy of class and instance
    if encoding in CHANNEL_MAPS and values.ndim == 3 and values.shape[2] == 4 and (values[..., 3] == 255).all():
        values = np.ascontiguousarray(values[..., :3])
    channels = {"channels": 3, "two-channel": 3, "bitmask": 4}.get(encoding)
    right = values.ndim == 3 and values.shape[2] == channels and values.dtype == np.uint8 if channels else values.ndim == 2
    if not right or values.dtype.kind not in "iu":
        shape = "x".join(map(str, values.shape)) or "a single number"
        needed = f"8-bit image with {channels} channels" if channels else "image with one channel"
        raise FormatError(
            f"a {encoding} map must be an {needed}; this one is {shape} of {values.dtype}",
            files=[path],
            hint="segbench formats lists the kinds of panoptic maps; --format NAME says which it is",
            code="SB154",
        )
    if not channels and values.dtype == np.uint8:
        raise FormatError(
            "an 8-bit image cannot hold class * divisor + instance", files=[path], hint="save 16 or 32 bits per pixel", code="SB163"
        )
    if values.dtype.kind == "i" and values.min() < 0:
        raise LabelError(
            f"the map holds {values.min()}, which is no id",
            files=[path],
            hint="ids begin at 0; draw pixels of no segment with a value that means void in the data set",
            code="SB153",
        )
    return values


def _points(path: str) -> NDArray[np.uint32]:
    data = disk.read(path, png.MAX_BYTES)
    if not data or len(data) % 4:
        raise FormatError(
            f"a .label file holds 4 bytes per point; this one has {len(data)} bytes",
            files=[path],
            hint="write the file again",
            code="SB160",
        )
    return np.frombuffer(data, "<u4").astype(np.uint32, copy=False)


def opener(format_name: str, encoding: str) -> Callable[[Path, Request], PanopticMaps]:
    """The `open` of a format."""

    def open_maps(path: Path, request: Request) -> PanopticMaps:
        return open_panoptic_maps(path, request, encoding, format_name)

    return open_maps


def open_panoptic_maps(path: Path, request: Request, encoding: str, format_name: str) -> PanopticMaps:
    """Opens a folder (or one file) of self-contained panoptic maps.

    Raises:
        FormatError: no maps.
        ConfigError: the data set has no divisor and the encoding needs one.
    """
    dataset = request.dataset
    suffixes = POINTS if encoding == "points" else (*PNG, *TIFF, *ARRAY)
    root, names = (path.parent, [path.name]) if path.is_file() else (path, listed(path, suffixes))
    if encoding == "instance-ids":
        names = [name for name in names if stem_of(name).endswith("_instanceIds")] or names
    if not names:
        raise FormatError("no panoptic maps here", files=[str(path)], hint=f"a folder of {', '.join(suffixes)} files")
    if encoding in ("instance-ids", "divided") and dataset.label_divisor is None:
        raise ConfigError(
            f"{dataset.name} does not say by what instance ids are divided", hint='write "label_divisor": 1000 into its dataset.json'
        )
    files = unique_keys(names, str(path), dataset.matching)
    space = request.id_space or dataset.spaces[0]
    source = PanopticMaps(
        format_name, str(root), files, encoding, dataset.label_divisor or 0, dataset, dataset.value_map(space), request.role == "gt"
    )
    if encoding == "channels" and request.role == "gt" and not request.asked:
        source = replace(source, undecided=not _third_channel(source))
    if encoding in ("instance-ids", "divided") or (not request.id_space and len(dataset.spaces) > 1):
        source = _told(source, request)
    noun = "prediction" if request.role == "pred" else "ground truth"
    what = f"{counted(len(files), noun)} read as {source.encoding} panoptic maps, {source.meaning.space} ids of {dataset.name}"
    return replace(source, what=what)


def _sampled_ids(source: PanopticMaps) -> NDArray[np.int64]:
    """The distinct ids of some maps: the first ones and the last."""
    keys = list(source.files)
    sampled = keys if len(keys) <= SAMPLED else [*keys[: SAMPLED - 1], keys[-1]]
    return np.unique(np.concatenate([distinct_ids(map_values(source.file(key), source.encoding)) for key in sampled]))


def _third_channel(source: PanopticMaps) -> bool:
    """Whether maps of channels say by themselves that they have three, or lie in arrays of class and instance."""
    return all(name.lower().endswith(ARRAY) for name in source.files.values()) or bool((_sampled_ids(source) >> 16).any())


def _told(source: PanopticMaps, request: Request) -> PanopticMaps:
    """The source with what some of its maps tell: the id space that their class values fit, and how values below the divisor are meant."""
    ids = _sampled_ids(source)
    if source.encoding == "divided" and ((ids > 0) & (ids < source.divisor)).any() and not source._isthing(np.zeros(1, np.int64))[0]:
        source = replace(source, encoding="instance-ids")  # class 0 has no instances, so these values are classes
    if request.id_space:
        return source
    parts = parts_of(ids, source.encoding, source.divisor, lambda labels: np.zeros(len(labels), bool))
    holding = spaces_holding(source.dataset, parts.labels[~parts.nothing].tolist())
    fitting = holding.evaluated if request.role == "pred" and holding.evaluated else holding.known
    return replace(source, meaning=source.dataset.value_map(fitting[0] if fitting else source.dataset.spaces[0]))


def looks_panoptic(path: Path) -> bool:
    """Whether the first PNG of a folder is of a kind that panoptic maps are, and label maps seldom: colours, or 16 bits."""
    found = _names(path, PNG)
    head = png.peek(os.path.join(_root(path), found[0])) if found else None
    return head is not None and ((head.color_type in (2, 6) and head.bit_depth == 8) or (head.color_type == 0 and head.bit_depth == 16))


def means_classes(entry: Format, path: Path, request: Request) -> bool:
    """Whether the class values of some maps all mean something, read as this format."""
    try:
        source = entry.open(path, replace(request, role="pred"))
        return all(True for _ in source.read([*source.keys[: SAMPLED - 1], source.keys[-1]]))
    except (InputError, ConfigError):
        return False


def _root(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _names(path: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files of these endings: one, or those in a folder."""
    if path.is_file():
        return [path.name] if path.name.lower().endswith(suffixes) else []
    return listed(path, suffixes) if path.is_dir() else []


def sniff_maps(path: Path, encoding: str) -> tuple[float, str]:
    """How sure it is that a path holds maps of this encoding."""
    names = _names(path, POINTS if encoding == "points" else PNG)
    if not names:
        return 0.0, ""
    if encoding == "points":
        return 0.8, f"{len(names)} .label files"
    if encoding == "instance-ids":
        named = [name for name in names if stem_of(name).endswith("_instanceIds")]
        return (0.7, f"{len(named)} instanceIds files") if named else (0.0, "")
    try:
        head = png.header(os.path.join(_root(path), names[0]))
    except FormatError:
        return 0.0, ""
    kinds = {"channels": ((2,), 8, 0.4), "two-channel": ((2,), 8, 0.3), "bitmask": ((6,), 8, 0.5), "divided": ((0,), 16, 0.4)}
    colours, bits, sure = kinds[encoding]
    if head.color_type in colours and head.bit_depth == bits:
        return sure, f"{len(names)} PNG files of the form of {encoding} maps"
    return 0.0, ""


def _format(name: str, title: str, layout: str, encoding: str, suffixes: tuple[str, ...] = (*PNG, *TIFF, *ARRAY)) -> Format:
    return Format(name, title, layout, ("panoptic",), suffixes, lambda path: sniff_maps(path, encoding), opener(name, encoding))


CHANNELS = _format(
    "panoptic-channels",
    "two- and three-channel panoptic PNG",
    "one file per image; R is the class, G and B the instance, 0 of a thing a group: deeplab2, KITTI-STEP",
    "channels",
)
TWO_CHANNEL = _format(
    "panoptic-two-channel",
    "panopticapi's two-channel PNG",
    "one file per image; R is the class, G the instance from 0, 255 of a thing a group",
    "two-channel",
)
BITMASK = _format(
    "bdd-bitmask", "BDD100K bitmasks", "one RGBA PNG per image; R is the class, G flags, B and A the instance", "bitmask", PNG
)
INSTANCE_IDS = _format(
    "instance-ids",
    "Cityscapes instanceIds",
    "one file per image; values below the divisor are a class, others class * divisor + instance",
    "instance-ids",
)
DIVIDED = _format(
    "panoptic-divided", "class * divisor + instance", "one 16- or 32-bit file per image: Mapillary Vistas, KITTI, detectron2", "divided"
)
POINT_LABELS = _format(
    "point-labels",
    "SemanticKITTI .label",
    "one file per scan; 32 bits per point, low half the class, high half the instance",
    "points",
    POINTS,
)
