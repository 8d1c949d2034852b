"""Folders of label maps, one file per image: indexed, grey and palette PNG, RGB by palette, TIFF, NumPy arrays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segbench import files as disk
from segbench.adapters.base import Format, Layout, Request
from segbench.adapters.images import labels_of, read_labels
from segbench.adapters.label_arrays import channels, labels_from_array
from segbench.adapters.pairing import key_of, unique_keys
from segbench.adapters.png import HEADER_BYTES, MAX_BYTES, SIGNATURE, header, peek, too_large
from segbench.datasets import Dataset, Matching, spaces_holding
from segbench.errors import FormatError, InputError, LabelError, counted, raise_first
from segbench.samples import INVALID, LabelMap, ValueMap

PNG, TIFF, ARRAY = (".png",), (".tif", ".tiff"), (".npy", ".npz")
PICKLE = (".pkl", ".pickle")
IMAGE = (*PNG, *TIFF, ".bmp", ".gif")
LOSSY = (".jpg", ".jpeg", ".webp")
JUNK = ("._", ".", "Thumbs.db", "desktop.ini")
RGB_TYPES = (2, 6)
SAMPLED = 4
"""Files whose values are looked at to tell id spaces apart: the first three and the last."""

ItemT = TypeVar("ItemT")

MORE_SAMPLED = 1000
"""Further files that are looked at where the first ones fit more than one id space."""


@dataclass(frozen=True, eq=False)
class LabelFiles:
    """Label maps in files.

    Attributes:
        root: The folder; `files` are relative to it, by key.
        meaning: What the values of index files mean; `colours` what packed RGB values mean.
        instance_files: Instance maps beside the labels, by key, where a metric needs them.
        digested: Whether fingerprints will be asked for: then files are hashed as they are read.
    """

    format: str
    root: str
    files: Mapping[int | str, str]
    meaning: ValueMap
    colours: ValueMap | None = None
    layout: Layout | None = None
    threshold: float | None = None
    instance_files: Mapping[int | str, str] = field(default_factory=dict)
    said: str = ""
    trust_pickle: bool = False
    digested: bool = False
    _prints: dict[int | str, bytes] = field(default_factory=dict, repr=False)

    @property
    def keys(self) -> Sequence[int | str]:
        return tuple(self.files)

    def read(self, keys: Sequence[int | str]) -> Iterator[LabelMap]:
        paths = [self.file(key) for key in keys]
        for key, path, data in zip(keys, paths, disk.read_ahead(paths, MAX_BYTES), strict=True):
            if self.digested:
                self._prints[key] = hashlib.sha256(data).digest()
            values, meaning = self._decoded(data, path)
            instances = None
            if self.instance_files:
                instances = np.ascontiguousarray(read_labels(os.path.join(self.root, self.instance_files[key])), np.int32)
            yield LabelMap(key, values, meaning, path, instances)

    def _decoded(self, data: bytes, path: str) -> tuple[NDArray, ValueMap]:
        array = labels_of(data, path, trust_pickle=self.trust_pickle)
        if array.ndim == 3 and array.shape[-1] in (2, 3, 4) and not path.lower().endswith((*ARRAY, *PICKLE)):
            if self.colours is None and array.shape[-1] > 2:
                raise _colours_unexpected(path)
            return packed_colours(array, path), self.colours or self.meaning
        count = channels(self.meaning) if array.ndim > 2 else None
        labels = labels_from_array(array, layout=self.layout, num_classes=count, threshold=self.threshold, file=path)
        return labels, self.meaning

    def part(self, keys: Sequence[int | str]) -> LabelFiles:
        instances = {key: self.instance_files[key] for key in keys} if self.instance_files else {}
        return replace(self, files={key: self.files[key] for key in keys}, instance_files=instances, _prints={})

    def file(self, key: int | str) -> str:
        return f"{self.root}/{self.files[key]}"

    def overlooked(self, keys: Sequence[int | str]) -> dict[int | str, str]:
        """What stands in the folder under the name of a missing image, such as a JPEG or a folder, and why it is no label file."""
        wanted = set(keys)
        found: dict[int | str, str] = {}
        for name in listed(Path(self.root), (*LOSSY, *IMAGE, *ARRAY, *PICKLE)):
            if (stem := key_of(name)) in wanted:
                found[stem] = f"{name} is there, but {'lossy' if name.lower().endswith(LOSSY) else 'not of this format'}"
        for key in keys:
            for ending in (*PNG, *TIFF, *ARRAY):
                if os.path.isdir(os.path.join(self.root, f"{key}{ending}")):
                    found[key] = f"{key}{ending} is there, but a folder"
        return found

    def sizes(self) -> list[tuple[int, int] | None]:
        """As of every source.

        Raises:
            FormatError: SB160, SB192, of all files whose headers are damaged or lie.
        """
        sizes: list[tuple[int, int] | None] = []
        errors: list[InputError] = []
        for key in self.files:
            try:
                sizes.append(_size(self.file(key)))
            except FormatError as error:
                errors.append(error)
        raise_first(errors)
        return sizes

    def fingerprint(self, key: int | str) -> bytes:
        return self._prints.get(key) or hashlib.sha256(disk.read(self.file(key), MAX_BYTES)).digest()


def packed_colours(array: NDArray, file: str = "") -> NDArray[np.int32]:
    """(H, W, 3) colours of 8 bits as `r << 16 | g << 8 | b`; an alpha channel must be opaque.

    Raises:
        FormatError: SB164, SB165, SB162; an alpha channel with data, 16-bit colours, grey with alpha.
    """
    if array.dtype != np.uint8:
        raise FormatError("16-bit colours name no class", files=[file], hint="export one-channel class ids, or 8-bit colours", code="SB165")
    if array.shape[-1] == 2:
        raise FormatError("a grey image with an alpha channel", files=[file], hint="export labels without transparency", code="SB164")
    if array.shape[-1] == 4 and not (array[..., 3] == 255).all():
        raise FormatError(
            "the alpha channel of a label file carries data",
            files=[file],
            hint="export labels without transparency; BDD100K bitmasks are read as instances or panoptic segments",
            code="SB164",
        )
    from segbench.kernels.panoptic import pack_bytes  # only colours need it

    packed = np.empty(array.shape[:2], np.int32)
    pack_bytes(np.ascontiguousarray(array[..., :3]).reshape(-1), 16, 8, 0, packed.reshape(-1))
    return packed


def colour_meaning(dataset: Dataset) -> ValueMap | None:
    """What packed RGB values mean under the data set's palette; None where it has no palette or an ambiguous one."""
    if not dataset.rgb_decodable or not dataset.colors:
        return None
    mapping = {red << 16 | green << 8 | blue: target for (red, green, blue), target in dataset.colors.items()}
    return ValueMap.of(mapping, dataset.num_classes, "palette")


def listed(root: Path, suffixes: Sequence[str]) -> list[str]:
    """Relative paths with forward slashes of the files with these endings, hidden files left out, sorted.

    Raises:
        FormatError: SB160, a folder cannot be listed: what is missing is not to be taken for nothing.
    """
    try:
        top = os.stat(root)
        visited = {(top.st_dev, top.st_ino)}
        visited |= {(above.st_dev, above.st_ino) for above in map(os.stat, Path(os.path.realpath(root)).parents)}
        found: list[str] = []
        _list_into(found, os.fspath(root), "", tuple(suffixes), visited)
    except OSError as error:
        raise disk.unreadable(error.filename or root, error, "the folder") from error
    return sorted(found)


def _list_into(found: list[str], folder: str, prefix: str, suffixes: tuple[str, ...], visited: set[tuple[int, int]]) -> None:
    """Adds what is below a folder. Links are followed after real folders, and never to where we are or have been."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(JUNK):
                continue
            if _is_folder(entry):
                below.append((entry.is_symlink(), entry.name, entry.path))
            elif entry.name.lower().endswith(suffixes):
                found.append(prefix + entry.name)
    for _, name, path in sorted(below):
        status = os.stat(path)
        if (status.st_dev, status.st_ino) not in visited:
            visited.add((status.st_dev, status.st_ino))
            _list_into(found, path, f"{prefix}{name}/", suffixes, visited)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it will say so
        return False


def chosen(names: Sequence[str], request: Request) -> list[str]:
    """The label files among everything a folder may hold: of Cityscapes the labelIds, not instanceIds or color."""
    skipped = request.dataset.matching.skip
    kept = {name: stem_of(name) for name in names if not any(fnmatch(name.rpartition("/")[2], pattern) for pattern in skipped)}
    kept = {name: stem for name, stem in kept.items() if not stem.endswith(("_instanceIds", "_instanceTrainIds", "_color"))} or kept
    ids = [name for name, stem in kept.items() if stem.endswith("_labelIds")]
    train_ids = [name for name, stem in kept.items() if stem.endswith("_labelTrainIds")]
    if ids and train_ids:
        return train_ids if request.id_space == "train" else ids
    return list(kept)


def stem_of(name: str) -> str:
    """A path without its extension."""
    return os.path.splitext(name)[0]


def open_label_files(path: Path, request: Request) -> LabelFiles:
    """Opens a folder (or one file) of label maps.

    Raises:
        FormatError: no label files, colours without a palette, lossy files.
        LabelError: the id space cannot be told.
    """
    suffixes = SUFFIXES.get(request.asked or "", (*IMAGE, *ARRAY)) + (PICKLE if request.trust_pickle else ())
    root, names = (path.parent, [path.name]) if path.is_file() else (path, listed(path, suffixes))
    names = chosen(names, request)
    if not names:
        _refuse_empty(path, request.asked)
    dataset = request.dataset
    files: dict[int | str, str] = dict(unique_keys(names, str(path), dataset.matching).items())
    sample = [os.path.join(root, name) for name in _sample(list(files.values()))]
    format_name, kind = kind_of([item for item in sample if _sound(item)] or sample)
    if request.asked and request.asked != format_name:
        raise FormatError(
            f"these files are {format_name} ({kind}), not {request.asked}",
            files=[os.path.join(root, names[0])],
            hint=f"--format {format_name}, or leave it out: formats are recognised",
        )
    colours = colour_meaning(dataset)
    if format_name == "rgb-png" and not colours:
        raise _colours_unexpected(os.path.join(root, names[0]), dataset)
    source = LabelFiles(
        format_name,
        str(root),
        files,
        dataset.value_map(dataset.spaces[0]),
        colours,
        request.layout,
        request.threshold,
        trust_pickle=request.trust_pickle,
        digested=request.role == "pred",
    )
    space = "palette" if format_name == "rgb-png" else told_space(source, request)
    meaning = dataset.value_map(space) if space != "palette" else source.meaning
    noun = "prediction" if request.role == "pred" else "ground truth"
    void = sorted(int(value) for value in meaning.values[meaning.targets == meaning.num_classes])
    ids = "colours" if space == "palette" else f"{space} ids"
    shown = f", void {', '.join(map(str, void[:6]))}{', ...' if len(void) > 6 else ''}" if void and space != "palette" else ""
    what = f"{counted(len(files), noun)} read as {kind}, {ids} of {dataset.name}{shown}"
    instances = _instance_files(root, files, dataset.matching) if request.instances and request.role == "gt" else {}
    return replace(source, meaning=meaning, instance_files=instances, said=what)


def means_classes(path: Path, request: Request) -> bool:
    """Whether the values of some label files all mean something."""
    try:
        source = open_label_files(path, request)
        samples = source.read(_sample(list(source.files)))
        return all((sample.meaning.classes(np.unique(sample.values)) != INVALID).all() for sample in samples)
    except InputError:
        return False


def kind_of(paths: Sequence[str]) -> tuple[str, str]:
    """Format name and description of label files, from the header of some of them."""
    found = [head for item in paths if item.lower().endswith(PNG) and (head := peek(item)) is not None]
    if any(head.color_type in RGB_TYPES for head in found):
        return "rgb-png", "RGB PNG by palette"
    path = paths[0].lower()
    if path.endswith((*ARRAY, *PICKLE)):
        return "label-array", "NumPy arrays"
    if path.endswith(TIFF):
        return "label-tiff", "TIFF label maps"
    if not path.endswith(PNG) or not found:
        return "label-image", "label images"
    name = {0: "grey", 3: "indexed"}.get(found[0].color_type, "grey")
    return "label-png", f"{name} {found[0].bit_depth}-bit PNG label maps"


def _sound(path: str) -> bool:
    """Whether a file is no PNG with a damaged header; checking the sizes of all files tells of all of those."""
    start = disk.read(path, MAX_BYTES, HEADER_BYTES)  # what cannot be read at all is refused here
    try:
        return start[:8] != SIGNATURE or header(start, path) is not None
    except FormatError:
        return False


def told_space(source: LabelFiles, request: Request) -> str:
    """The id space of the files: as asked for, the only one, by file name, or the only one that explains the values seen.

    Raises:
        LabelError: SB111, more than one id space explains them differently.
    """
    dataset = request.dataset
    if request.id_space:
        dataset.value_map(request.id_space)
        return request.id_space
    if len(dataset.spaces) == 1:
        return dataset.spaces[0]
    first = source.file(next(iter(source.files)))
    if first.lower().endswith((*ARRAY, *PICKLE)) and read_labels(first, trust_pickle=request.trust_pickle).dtype.kind == "f":
        return "contiguous" if "contiguous" in dataset.spaces else "train" if "train" in dataset.spaces else dataset.spaces[0]
    names = [stem_of(name) for name in source.files.values()]
    for ending, space in {"_labelTrainIds": "train", "_labelIds": "label", **dataset.matching.suffix_spaces}.items():
        if space in dataset.spaces and all(name.endswith(ending) for name in names):
            return space
    seen: set[int] = set()
    sample = _sample(list(source.files))
    # a few files usually tell; where they do not, all of them may
    for keys in (sample, [key for key in source.files if key not in sample][:MORE_SAMPLED]):
        for key in keys:
            seen.update(np.unique(next(source.read([key])).values).tolist())
        holding = spaces_holding(dataset, seen)
        if len(holding.known) <= 1:
            break
    told = holding.of_ground_truth if request.role == "gt" else holding.of_predictions
    if told:
        return told
    option = "--id-space" if request.role == "pred" else "--gt-id-space"
    spaces = holding.known
    if not spaces:  # whatever is chosen, counting will say which values mean nothing, and the likeliest cause
        return dataset.spaces[0]
    shown = ", ".join(str(value) for value in sorted(seen)[:20])
    choices = " or ".join(f"{option} {space}" for space in spaces)
    raise LabelError(
        f"the values of these files fit more than one id space of {dataset.name}: {shown}",
        files=[source.file(key) for key in _sample(list(source.files))[:1]],
        hint=f"say which: {choices}",
        code="SB111",
    )


def sniff(path: Path) -> tuple[float, str]:
    """How sure it is that a path holds label maps."""
    if path.is_file():
        return (0.6, "one label file") if path.suffix.lower() in (*IMAGE, *ARRAY) else (0.0, "")
    names = listed(path, (*IMAGE, *ARRAY, *LOSSY)) if path.is_dir() else []
    return (0.6, f"{len(names)} image or array files") if names else (0.0, "")


def _sample(items: list[ItemT]) -> list[ItemT]:
    return items if len(items) <= SAMPLED else [*items[: SAMPLED - 1], items[-1]]


def _size(path: str) -> tuple[int, int] | None:
    if not path.lower().endswith(PNG):
        return None
    head = peek(path)
    if head is None:
        return None
    if head.height * head.width > MAX_BYTES:
        raise too_large(f"an image of {head.height}x{head.width} pixels", MAX_BYTES, path)
    return head.height, head.width


def _instance_files(root: Path, files: Mapping[int | str, str], matching: Matching) -> dict[int | str, str]:
    found: dict[int | str, str] = {key_of(name, matching): name for name in listed(root, PNG) if stem_of(name).endswith("_instanceIds")}
    missing = [key for key in files if key not in found]
    if missing:
        raise InputError(
            "iIoU needs an instanceIds file beside every labelIds file",
            files=[os.path.join(root, files[key]) for key in missing[:5]],
            count=len(missing),
            hint="add the *_instanceIds.png files, or leave iiou out of --metrics",
            code="SB130",
        )
    return {key: found[key] for key in files}


def _refuse_empty(path: Path, asked: str | None) -> None:
    lossy = listed(path, LOSSY) if path.is_dir() else [path.name] if path.suffix.lower() in LOSSY else []
    if lossy:
        raise FormatError(
            "lossy images cannot hold labels: compression changes ids along every edge",
            files=[str(path / lossy[0]) if path.is_dir() else str(path)],
            count=len(lossy),
            hint="export the label maps as PNG",
            code="SB161",
        )
    what = f"label files of format {asked}" if asked else "label files"
    raise FormatError(
        f"the folder holds no {what}" if path.is_dir() else f"this is no file of the kind {asked or 'that holds labels'}",
        files=[str(path)],
        hint="a folder of PNG, TIFF, NPY or NPZ files; segbench formats lists all",
    )


def _colours_unexpected(path: str, dataset: Dataset | None = None) -> FormatError:
    if dataset is not None and dataset.ambiguous_colors:
        reason = f"the palette of {dataset.name} gives one colour to several classes, so colours cannot be read back"
    elif dataset is not None:
        reason = f"{dataset.name} has no palette to read the colours by"
    else:
        reason = "the other files of the folder are not coloured"
    return FormatError(
        f"an RGB image where class ids are expected; {reason}",
        files=[path],
        hint="export one-channel class ids, or name a data set with an unambiguous palette: --dataset NAME",
        code="SB162",
    )


def _format(name: str, title: str, layout: str, suffixes: tuple[str, ...]) -> Format:
    return Format(name, title, layout, ("semantic",), suffixes, sniff, open_label_files)


SUFFIXES = {"label-png": PNG, "rgb-png": PNG, "label-tiff": TIFF, "label-image": (".bmp", ".gif"), "label-array": ARRAY}
"""Endings of each format's files."""

LABEL_PNG = _format("label-png", "grey or indexed PNG, 1 to 16 bits", "one file per image; values are class ids", PNG)
RGB_PNG = _format("rgb-png", "RGB PNG", "one file per image; colours of the data set's palette", PNG)
LABEL_TIFF = _format("label-tiff", "TIFF", "one file per image; values are class ids", TIFF)
LABEL_IMAGE = _format("label-image", "BMP or GIF", "one file per image; values are class ids", (".bmp", ".gif"))
LABEL_ARRAY = _format("label-array", "NumPy .npy or .npz", "one file per image; integer labels (H, W) or float scores (C, H, W)", ARRAY)
