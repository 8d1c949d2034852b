"""What a path holds, which data set it fits, and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segbench import datasets
from segbench.adapters import recognised
from segbench.adapters.base import Format, Request
from segbench.adapters.images import read_labels
from segbench.adapters.label_arrays import labels_from_array
from segbench.adapters.label_files import ARRAY, IMAGE, LOSSY, chosen, kind_of, listed, packed_colours, stem_of
from segbench.adapters.pairing import unique_keys
from segbench.adapters.png import MAX_BYTES, palette, peek
from segbench.datasets import Dataset
from segbench.errors import SHOWN, ConfigError, FormatError, InputError, counted
from segbench.files import exists, read
from segbench.metrics.suspicions import interpolated
from segbench.opening import check_numbers
from segbench.samples import INVALID

NAMES = {
    "cityscapes": re.compile(r"[^_/]+_\d{6}_\d{6}_gt(Fine|Coarse)_label(Train)?Ids$"),
    "ade20k_150": re.compile(r"ADE_(train|val)_\d{8}$"),
}
"""File names that only one data set has."""

INSTANCES = 1000
"""Instance ids are class times this, plus a number."""

MANY_VALUES = 256
"""More distinct values in one image than this are no class labels of the usual kind."""


@dataclass(frozen=True)
class Problem:
    """Something wrong, with the files it concerns."""

    code: str
    message: str
    files: list[str]
    count: int
    hint: str | None = None


@dataclass
class Inspection:
    """What was found.

    Attributes:
        what: One sentence.
        files: Number of label files; read: how many of them were decoded.
        sizes: `{"HxW": files}`, most frequent first.
        dtypes: `{"uint8": files}`.
        values: `{value: pixels}`, ascending; colours as `#rrggbb`; of panoptic files by class name.
        fits: Data sets in which all values mean something, the tightest first: `{"dataset", "space", "why"}`.
        problems: What is wrong.
    """

    path: str
    what: str = ""
    format: str | None = None
    files: int = 0
    read: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    fits: list[dict[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def inspect(
    path: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset | None = None,
    limit: int | None = None,
    maps: str | None = None,
) -> Inspection:
    """Reads every label file below a path (the first `limit`) and reports; damaged files are problems of the report, not errors.

    Args:
        path: A folder or a file of label maps; a panoptic JSON, or the folder of its maps; or a file or folder of instances.
        dataset: A name, a file or a `Dataset` to check the values against; else every preset, or the `dataset.json` beside the path.
        limit: Read only so many files.
        maps: The folder of the maps that a panoptic JSON describes, where they are not beside it.

    Raises:
        FormatError: the path does not exist, or is no place of label files.
        ConfigError: no path, or a limit that is none.
    """
    check_numbers(limit, None, None, None)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigError("the path is empty" if path == "" else f"a path is wanted, not a {type(path).__name__}", hint=". is this folder")
    root = Path(path)
    if not exists(root):
        raise FormatError("no such file or folder", files=[str(path)], hint="check the path")
    found = Inspection(str(path))
    beside = datasets.find(root)
    dataset = dataset if dataset is None or isinstance(dataset, Dataset) else datasets.load(dataset)
    described = dataset or (datasets.load(beside) if beside else None)
    from segbench.adapters.panoptic.coco import sniff  # fitting_preset does without

    if sniff(root)[0] > 0.5:
        from segbench.panoptic_inspection import inspect_panoptic  # what panoptic files need, they alone load

        return inspect_panoptic(found, root, described, limit, maps)
    instances = _instance_format(root)
    if instances is not None:
        from segbench.instance_inspection import inspect_instances

        return inspect_instances(found, root, instances, described, limit)
    if root.suffix.lower() == ".json" and root.is_file():
        raise FormatError(
            "this JSON file holds neither instances nor panoptic segments",
            files=[str(path)],
            hint="segbench formats lists what is read; give a folder of label files, or a JSON of instances or segments",
        )
    names = [root.name] if root.is_file() else listed(root, (*IMAGE, *ARRAY, *LOSSY))
    folder = root.parent if root.is_file() else root
    lossy = [name for name in names if name.lower().endswith(LOSSY)]
    if lossy:
        add(found, "SB161", "lossy images cannot hold labels", [str(folder / name) for name in lossy], "export the label maps as PNG")
    names = chosen([name for name in names if name not in lossy], Request("gt", described or datasets.simple(1)))
    found.files = len(names)
    if not names:
        found.what = "no label files"
        return found
    try:
        unique_keys(names, str(folder), described.matching if described else None)
    except InputError as error:
        add(found, error.code or "SB120", error.message, [file for _, file in error.files], error.hint)
    _read_all(found, folder, names[:limit], described)
    _describe(found, [str(folder / name) for name in names])
    colours = any(value.startswith("#") for value in found.values)
    if not colours and found.values:
        _suspect_instances(found, str(folder / names[0]), described)
    if described is not None and found.values:
        _check_values(found, described, colours)
    elif found.values:
        found.fits = fitting(set(found.values), colours)
    return found


def _instance_format(root: Path) -> Format | None:
    """The format of instances that a path is of, where its files tell it apart from label maps."""
    try:
        entry = recognised(root)
    except InputError:
        return None
    return entry if entry.tasks == ("instance",) else None


def _read_all(found: Inspection, folder: Path, names: Sequence[str], described: Dataset | None) -> None:
    sizes: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    values: Counter[int] = Counter()
    coloured: Counter[int] = Counter()
    broken: dict[tuple[str, str], list[str]] = {}
    ramps: list[str] = []
    score_channels = None if described is None else described.num_classes
    for name in names:
        path = str(folder / name)
        try:
            array = read_labels(path)
            colour = array.ndim == 3 and not path.lower().endswith(ARRAY)
            dtype = "colour" if colour else str(array.dtype)
            array = packed_colours(array, path) if colour else labels_from_array(array, num_classes=score_channels, file=path)
        except InputError as error:
            broken.setdefault((error.code or "SB160", error.hint or ""), []).append(f"{path}: {error.message}")
            continue
        found.read += 1
        sizes["x".join(map(str, array.shape))] += 1
        dtypes[dtype] += 1
        if not colour and interpolated(array):
            ramps.append(path)
        distinct, counts = np.unique(array, return_counts=True)
        (coloured if colour else values).update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
    found.sizes, found.dtypes = dict(sizes.most_common()), dict(dtypes.most_common())
    found.values = {str(value): values[value] for value in sorted(values)}
    found.values |= {f"#{value:06x}": count for value, count in coloured.most_common()}
    if ramps:
        add(
            found,
            "SB161",
            "labels that look interpolated: at many borders the values climb over several pixels",
            ramps,
            "resize labels by nearest neighbour",
        )
    if coloured and values:
        add(found, "SB162", f"{dtypes['colour']} of {found.read} files are coloured, the others are not", [], "save all of them one way")
    for (code, hint), files in broken.items():
        add(found, code, f"{counted(len(files), 'file')} cannot be read", files, hint or None)


def _describe(found: Inspection, paths: list[str]) -> None:
    try:
        found.format, kind = kind_of(paths[:1])
    except InputError as error:
        found.what = f"{counted(found.files, 'file')}; the first cannot be read: {error.message}"
        return
    if any(dtype.startswith("float") for dtype in found.dtypes):
        kind += " of scores, each pixel the class of the highest"
    noun = "colour" if "colour" in found.dtypes else "value"
    found.what = f"{counted(found.files, 'file')}: {kind}, {counted(len(found.values), f'distinct {noun}')}"
    if set(found.values) == {"0", "255"}:
        add(found, "SB112", "only the values 0 and 255: a binary mask, not class ids", paths[:1], "write 0 and 1 (divide by 255)")
    elif "colour" not in found.dtypes and len(found.values) > MANY_VALUES and "uint8" not in found.dtypes:
        add(found, "SB112", f"{len(found.values)} distinct values: instance or panoptic ids, not class ids?", paths[:1], None)


def _suspect_instances(found: Inspection, path: str, described: Dataset | None) -> None:
    most, values = list(found.values)[-1], set(found.values)
    known = _spaces_of(described, values, False) if described else fitting(values, False)
    if int(most) >= INSTANCES and not known:
        add(found, "SB112", f"values like {most} look like instance ids (class x {INSTANCES} + number)", [path], "give the semantic files")


def _check_values(found: Inspection, dataset: Dataset, colours: bool) -> None:
    spaces = _spaces_of(dataset, set(found.values), colours)
    if spaces:
        found.fits = [{"dataset": dataset.name, "space": space, "why": "every value means something"} for space in spaces]
        return
    if colours:
        unknown = [value for value in found.values if _rgb(value) not in dataset.colors]
    else:
        numbers = np.array([int(value) for value in found.values if value[0] != "#"], np.int64)
        unknown = [str(value) for value in numbers[dataset.value_map(dataset.spaces[0]).classes(numbers) == INVALID]]
    shown = ", ".join(f"{value} ({found.values[value]} px)" for value in unknown[:8])
    what = "colours" if colours else "values"
    add(
        found,
        "SB162" if colours else "SB110",
        f"{len(unknown)} {what} mean nothing in {dataset.name}: {shown}",
        [],
        f"segbench datasets {dataset.name} lists what it knows",
    )


def fitting(values: set[str], colours: bool) -> list[dict[str, str]]:
    """Presets in which every value means something: first those of whose classes the fewest are missing, with the fewest void values."""
    found = []
    for name in datasets.available() if values else ():
        preset = datasets.load(name)
        for space in _spaces_of(preset, values, colours):
            if colours:
                classes = [preset.colors[_rgb(value)] for value in values]
            else:
                classes = preset.value_map(space).classes(np.array([int(value) for value in values])).tolist()
            voids = classes.count(preset.num_classes)
            seen = len(set(classes) - {preset.num_classes})
            why = f"{seen} of its {preset.num_classes} classes{', and void' if voids else ''}"
            found.append((preset.num_classes - seen + voids, name, space, why))
    return [{"dataset": name, "space": space, "why": why} for _, name, space, why in sorted(found)]


def _spaces_of(dataset: Dataset, values: set[str], colours: bool) -> tuple[str, ...]:
    if colours:
        return ("palette",) if dataset.rgb_decodable and all(_rgb(value) in dataset.colors for value in values) else ()
    return datasets.spaces_holding(dataset, [int(value) for value in values]).known


def _rgb(value: str) -> tuple[int, int, int]:
    number = int(value.removeprefix("#"), 16)
    return number >> 16, number >> 8 & 255, number & 255


def fitting_preset(ground_truth: Any) -> tuple[Dataset | None, str]:
    """The one preset that file names, an embedded palette or colours show, with the reason; None where none or several do.

    Label values alone never decide: small numbers fit every data set.
    """
    root = Path(str(ground_truth))
    if not exists(root):
        return None, ""
    names = [root.name] if root.is_file() else listed(root, IMAGE)
    folder = root.parent if root.is_file() else root
    for preset, pattern in NAMES.items():
        if names and all(pattern.search(stem_of(name)) for name in chosen(names, Request("gt", datasets.simple(1)))):
            return datasets.load(preset), "the file names are its own"
    pngs = [str(folder / name) for name in names if name.lower().endswith(".png")]
    sample = [*pngs[:3], *pngs[3:][-1:]]
    head = peek(sample[0]) if sample else None
    if head is None or head.color_type not in (2, 3):
        return None, ""
    if head.color_type == 3:
        wanted = palette(read(sample[0], MAX_BYTES), sample[0])
        fits = [name for name in datasets.available() if _has_palette(datasets.load(name), wanted)]
        reason = "the palette in the files is its own"
    else:
        seen = {f"#{value:06x}" for path in sample for value in np.unique(packed_colours(read_labels(path), path)).tolist()}
        fits = [entry["dataset"] for entry in fitting(seen, True)] if len(seen) > 2 else []
        reason = "the colours of the files are its own"
    return (datasets.load(fits[0]), reason) if len(fits) == 1 else (None, "")


def _has_palette(dataset: Dataset, colours: Sequence[tuple[int, ...]]) -> bool:
    rows = [row for row in dataset.evaluated if row.color is not None]
    return len(rows) == dataset.num_classes > 1 and all(0 <= row.id < len(colours) and colours[row.id] == row.color for row in rows)


def add(found: Inspection, code: str, message: str, files: list[str], hint: str | None, count: int = 1) -> None:
    """Adds a problem, with the first of its files."""
    found.problems.append(Problem(code, message, files[:SHOWN], max(count, len(files)), hint))
