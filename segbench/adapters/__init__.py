"""Adapters: files and framework objects to canonical samples. One format or framework per file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segbench.adapters.base import Format
from segbench.errors import FormatError
from segbench.registry import Registry

JSON = (".json",)


@dataclass(frozen=True)
class Builtin:
    """What is known of a built-in format without importing it.

    Attributes:
        target: `module:attribute`.
        tasks: The tasks it serves.
        suffixes: Where given, only a file of such an ending is looked at, or a folder that holds one; a JSON may also lie beside it.
        alone: Whether its files tell it apart from the others; else its task or name must be given.
    """

    target: str
    tasks: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    alone: bool = True


def _labels(attribute: str) -> Builtin:
    return Builtin(f"segbench.adapters.label_files:{attribute}", ("semantic",))


def _panoptic(target: str, suffixes: tuple[str, ...] = (), alone: bool = False) -> Builtin:
    return Builtin(f"segbench.adapters.panoptic.{target}", ("panoptic",), suffixes, alone)


BUILTINS = {
    "label-png": _labels("LABEL_PNG"),
    "rgb-png": _labels("RGB_PNG"),
    "label-tiff": _labels("LABEL_TIFF"),
    "label-array": _labels("LABEL_ARRAY"),
    "label-image": _labels("LABEL_IMAGE"),
    "coco-results": Builtin("segbench.adapters.instance.coco_formats:COCO_RESULTS", ("instance",), JSON),
    "coco": Builtin("segbench.adapters.instance.coco_formats:COCO_TRUTH", ("instance",), JSON),
    "sam-json": Builtin("segbench.adapters.instance.formats:SAM", ("instance",), JSON),
    "cityscapes-instances": Builtin("segbench.adapters.instance.formats:CITYSCAPES", ("instance",), (".txt",)),
    "yolo-polygons": Builtin("segbench.adapters.instance.formats:YOLO", ("instance",), (".txt",)),
    "instance-npz": Builtin("segbench.adapters.instance.formats:ARCHIVE", ("instance",), (".npz",), alone=False),
    "instance-pickle": Builtin("segbench.adapters.instance.pickles:PICKLE", ("instance",), alone=False),
    "voc-objects": Builtin("segbench.adapters.instance.voc_objects:VOC", ("instance",), alone=False),
    "instance-maps": Builtin("segbench.adapters.instance.maps:MAPS", ("instance",), alone=False),
    "instance-array": Builtin("segbench.adapters.instance.memory:ARRAYS", ("instance",), alone=False),
    "array": Builtin("segbench.adapters.arrays:ARRAYS", ("semantic",), alone=False),
    "coco-panoptic": _panoptic("coco:COCO_PANOPTIC", JSON, alone=True),
    "panoptic-channels": _panoptic("maps:CHANNELS"),
    "panoptic-two-channel": _panoptic("maps:TWO_CHANNEL"),
    "bdd-bitmask": _panoptic("maps:BITMASK"),
    "instance-ids": _panoptic("maps:INSTANCE_IDS"),
    "panoptic-divided": _panoptic("maps:DIVIDED"),
    "point-labels": _panoptic("maps:POINT_LABELS", alone=True),
    "panoptic-array": _panoptic("memory:ARRAYS"),
}
FORMATS = Registry("format", {name: entry.target for name, entry in BUILTINS.items()}, "segbench.adapters")


def recognised(path: Path, task: str = "auto") -> Format:
    """The format of a path: the built-in that is surest, else a plug-in.

    Args:
        task: Only formats of this task; `auto`: of any, if their files tell them apart.

    Raises:
        FormatError: no format recognises it.
    """
    best: tuple[float, Format] | None = None
    looked_at: dict[object, float] = {}
    for name in _candidates(path, task):
        entry = FORMATS.get(name)
        sure = looked_at.setdefault(entry.sniff, -1.0)
        if sure < 0:
            sure = looked_at[entry.sniff] = entry.sniff(path)[0]
        if sure > (best[0] if best else 0.0):
            best = sure, entry
    if best:
        return best[1]
    for name in FORMATS.plugins():
        plugin = FORMATS.get(name)
        if task in ("auto", *plugin.tasks) and plugin.sniff(path)[0] > 0:
            return plugin
    other = _other_task(path, task)
    if other is not None:
        more = "; --task all scores panoptic predictions as labels and instances too" if "panoptic" in other.tasks else ""
        raise FormatError(
            f"this is {other.title}, for the task {other.tasks[0]} and not for {task}",
            files=[str(path)],
            hint=f"give both sides of one task, or leave --task out{more}",
        )
    what = "labels" if task == "auto" else f"{task} labels"
    empty = path.is_dir() and not any(path.iterdir())
    raise FormatError(
        "the folder is empty: it holds no label files" if empty else f"nothing here is recognised as {what}",
        files=[str(path)],
        hint="segbench formats lists what can be read; --format NAME says which it is",
    )


def _other_task(path: Path, task: str) -> Format | None:
    """The format of files that are of another task than asked for, and of no other format."""
    if task == "auto":
        return None
    try:
        found = recognised(path)
    except FormatError:
        return None
    return found if task not in found.tasks else None


def _candidates(path: Path, task: str) -> Iterable[str]:
    own = path.suffix.lower() if path.is_file() else None
    special = {suffix for entry in BUILTINS.values() for suffix in entry.suffixes if suffix != ".npz"}
    for name, entry in BUILTINS.items():
        fits = task in entry.tasks if task != "auto" else entry.alone
        if fits and (any(_holds(path, own, suffix) for suffix in entry.suffixes) if entry.suffixes else own not in special):
            yield name


def _holds(path: Path, own: str | None, suffix: str) -> bool:
    """Whether a path is a file of this ending, or a folder that has one."""
    if own is not None:
        return own == suffix
    return any(path.glob(f"*{suffix}")) or (suffix in JSON and path.with_name(path.name + suffix).is_file())
