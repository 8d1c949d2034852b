"""From what the user gave to a plan: which task, which classes, which formats, which prediction belongs to which ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from segbench import datasets, protocols
from segbench.adapters import FORMATS, recognised
from segbench.adapters.arrays import is_memory
from segbench.adapters.base import Format, Request, Source
from segbench.adapters.label_arrays import check_layout, check_threshold
from segbench.adapters.pairing import Pairing
from segbench.datasets import Dataset
from segbench.errors import SHOWN, ConfigError, FormatError, LabelError, PairingError, counted
from segbench.files import exists
from segbench.metrics import tasks
from segbench.protocols import RuleSet

IN_MEMORY = {"semantic": "array", "instance": "instance-array", "panoptic": "panoptic-array"}
"""The format that takes samples in memory, by task."""


def asked_metrics(metrics: Any) -> tuple[str, ...]:
    """Patterns of metrics; one may be given as it is.

    Raises:
        ConfigError: no texts.
    """
    if metrics is None or isinstance(metrics, str):
        return (metrics,) if metrics else ()
    patterns = tuple(metrics) if isinstance(metrics, Iterable) else (metrics,)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError(f"metrics are names or patterns, not {metrics!r}", hint='such as metrics=["boundary_iou"]')
    return patterns


def check_numbers(limit: Any, workers: Any, layout: Any, threshold: Any) -> None:
    """Refuses options that nothing sensible follows from.

    Raises:
        ConfigError: it says which.
    """
    for name, value in (("limit", limit), ("workers", workers)):
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
            raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")
    check_layout(layout)
    check_threshold(threshold)


def check_exists(*values: Any) -> None:
    """Refuses paths that lead nowhere; samples in memory pass.

    Raises:
        FormatError: no such file or folder.
        ConfigError: neither a path nor samples.
    """
    for value in values:
        if not is_memory(value) and not isinstance(value, str | PathLike):
            raise ConfigError(
                f"a {type(value).__name__} is neither a path nor arrays", hint="pass a path, a list of arrays, or {id: array}"
            )
        if isinstance(value, str) and not value:
            raise ConfigError("the path is empty", hint="predictions come first, ground truth second; . is this folder")
    gone = [str(value) for value in values if not is_memory(value) and not exists(value)]
    if gone:
        raise FormatError("no such file or folder", files=gone, hint="check the path; predictions come first, ground truth second")


def check_lengths(predictions: Any, ground_truth: Any, missing: str) -> None:
    """Refuses lists of different lengths: they are paired by position, and where something is missing nobody knows what.

    Args:
        missing: What the user says of missing predictions; where that is said, lists may end early.

    Raises:
        PairingError: SB130, they differ.
    """
    lists = [value for value in (predictions, ground_truth) if isinstance(value, list | tuple)]
    if len(lists) == 2 and (len(lists[0]) > len(lists[1]) or (len(lists[0]) < len(lists[1]) and missing == "auto")):
        raise PairingError(
            f"a list of {counted(len(lists[0]), 'prediction')} for a list of {counted(len(lists[1]), 'ground truth')}",
            hint="lists are paired by position; pass {id: sample} where some are missing",
            code="SB130",
        )


def told_formats(
    predictions: Any, ground_truth: Any, task: str, pred_name: str | None, gt_name: str | None
) -> tuple[str, Format | None, Format | None]:
    """The task and the formats of both sides, as asked for or recognised; None for samples in memory.

    Raises:
        ConfigError: no such task or format, or two that do not go together.
        FormatError: a path that nothing recognises.
    """
    task = "panoptic" if task == "all" else task
    if task != "auto":
        tasks.TASKS.get(task)
    gt = _format(ground_truth, task, gt_name)
    if task != "auto":
        return task, _format(predictions, task, pred_name), gt
    alone = _instances(predictions) if gt and gt.tasks == ("semantic",) and not pred_name else None
    if alone:  # maps of instances look like maps of labels; lists of masks with scores like nothing else
        return "instance", alone, gt if gt_name else _format(ground_truth, "instance", None)
    pred = _pred_format(predictions, gt, pred_name)
    if pred and gt and not gt_name and pred.tasks == ("panoptic",) != gt.tasks:
        gt = _format(ground_truth, "panoptic", None)  # panoptic maps look like label maps, so the predictions decide
    shared = [name for name in (gt.tasks if gt else tasks.TASKS.names()) if pred is None or name in pred.tasks]
    if not shared:
        raise ConfigError(
            f"predictions of format {pred.name if pred else 'array'} and ground truth of format {gt.name if gt else 'array'} share no task",
            hint="give both of one kind, or say the task with --task",
        )
    return (shared[0] if pred or gt else _task_in_memory(ground_truth)), pred, gt


def _pred_format(predictions: Any, gt: Format | None, name: str | None) -> Format | None:
    """The format of predictions: of the ground truth's task, unless they can only be panoptic."""
    try:
        return _format(predictions, gt.tasks[0] if gt and len(gt.tasks) == 1 else "auto", name)
    except FormatError as error:
        try:
            return _format(predictions, "panoptic", None)
        except FormatError:
            raise error from None


def panoptic_after_all(
    predictions: Any, ground_truth: Any, dataset: Dataset, id_space: str | None, gt_id_space: str | None
) -> tuple[Format, Format] | None:
    """The formats of two folders of panoptic maps that look like label maps or colours; None where they are that, or where nothing is sure.

    They are panoptic where the data set is for nothing else; or where the values of one side mean no class as labels or colours, and as
    panoptic maps those of both sides do.
    """
    if "panoptic" not in dataset.tasks or is_memory(predictions) or is_memory(ground_truth):
        return None
    from segbench.adapters import label_files
    from segbench.adapters.panoptic import maps as panoptic_maps  # of data sets that are not panoptic nothing is to be asked

    paths = Path(str(predictions)), Path(str(ground_truth))
    alone = dataset.tasks == ("panoptic",)
    if not alone and not any(panoptic_maps.looks_panoptic(path) for path in paths):
        return None
    try:
        formats = recognised(paths[0], "panoptic"), recognised(paths[1], "panoptic")
    except FormatError:
        if alone:
            raise
        return None
    if not alone:
        sides = tuple(zip(paths, (Request("pred", dataset, id_space), Request("gt", dataset, gt_id_space)), strict=True))
        if all(label_files.means_classes(*side) for side in sides):
            return None
        if not all(panoptic_maps.means_classes(entry, *side) for entry, side in zip(formats, sides, strict=True)):
            return None
    return formats


def _instances(value: Any) -> Format | None:
    """The format of predictions that are surely instances, else None."""
    try:
        found = _format(value, "auto", None)
    except FormatError:
        return None
    return found if found and found.tasks == ("instance",) else None


def _task_in_memory(value: Any) -> str:
    """The task of samples in memory, from how they are built: arrays are labels, tables of segments panoptic, dicts of masks instances."""
    if isinstance(value, Mapping) and {"images", "annotations"} <= value.keys():
        return "instance"
    items = list(value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [])
    first = items[0] if items else None
    if isinstance(first, Mapping):
        return "panoptic" if {"segments_info", "segments", "panoptic_seg"} & first.keys() else "instance"
    return "panoptic" if isinstance(first, tuple) and len(first) == 2 and isinstance(first[1], list | tuple | None) else "semantic"


def _format(value: Any, task: str, name: str | None) -> Format | None:
    if is_memory(value):
        return None
    return FORMATS.get(name) if name else recognised(Path(str(value)), task)


def asked_protocols(asked: str | None, wanted: Sequence[str], dataset: Dataset) -> dict[str, RuleSet]:
    """The protocol of each task: as asked for, `NAME` or `TASK=NAME` with commas between them, else the data set's own.

    Raises:
        ConfigError: no such protocol, or one for a task that is not evaluated.
    """
    named: dict[str, str] = {}
    if asked is not None and not isinstance(asked, str):
        raise ConfigError(
            f"a protocol is a name, not {asked!r}", hint="segbench explain lists the metrics, docs/protocols.md the protocols"
        )
    for part in asked.split(",") if asked else []:
        task, _, name = part.strip().rpartition("=")
        if not task and len(wanted) > 1:
            raise ConfigError(f"protocol {name!r} is of which task?", hint=f"write TASK=NAME, such as {wanted[0]}={name}")
        if task and task not in wanted:
            raise ConfigError(f"a protocol for {task!r}, which is not evaluated", hint=f"one of {', '.join(wanted)}")
        named[task or wanted[0]] = name
    return {task: protocols.load(named.get(task) or dataset.protocol(task), task) for task in wanted}


def open_side(value: Any, request: Request, task: str, entry: Format | None) -> Source:
    """Opens predictions or ground truth: a path by its format, or samples in memory."""
    if entry is not None:
        if entry.name in IN_MEMORY.values():
            raise ConfigError(f"format {entry.name} is for values in memory", hint="leave it out: the formats of files are recognised")
        return entry.open(Path(str(value)), request)
    return FORMATS.get(IN_MEMORY[task]).open(value, request)


def same_maps(predictions: Any, pred: Source, ground_truth: Any, gt: Source) -> list[str]:
    """A warning where both sides are one path; or two panoptic JSON files of the same maps, as where those of one of them are missing."""
    if not is_memory(predictions) and not is_memory(ground_truth) and Path(str(predictions)).samefile(str(ground_truth)):
        return ["predictions and ground truth are the same files, so nothing is evaluated"]
    if {pred.format, gt.format} != {"coco-panoptic"}:
        return []
    roots: set[str] = {source.root for source in (pred, gt)}  # type: ignore[attr-defined]
    return [f"predictions and ground truth are read from the same maps, in {roots.pop()}"] if len(roots) == 1 else []


def known_by_name(task: str, pred: Source, gt: Source) -> Source:
    """Instance predictions whose image ids are those of the ground truth in another form, by the ground truth's ids; else as they are."""
    if task != "instance":
        return pred
    from segbench.adapters.instance.coco_source import CocoInstances, by_image_name

    return by_image_name(pred, gt) if isinstance(pred, CocoInstances) and isinstance(gt, CocoInstances) else pred


def resolved_dataset(
    ground_truth: Any,
    entry: Format | None,
    dataset: Any,
    num_classes: int | None,
    ignore_index: int | None,
    say: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Which classes: as asked for, else `dataset.json` beside the ground truth, else the categories in it, else the one preset that its
    files show.

    Raises:
        ConfigError: contradicting options.
        LabelError: the classes cannot be told.
    """
    if dataset is not None and (num_classes is not None or ignore_index is not None):
        raise ConfigError("--dataset and --num-classes/--ignore-index contradict one another", hint="give one of them")
    if isinstance(dataset, Dataset):
        return dataset
    if dataset is not None:
        return datasets.load(dataset)
    if num_classes is not None:
        return datasets.simple(num_classes, 255 if ignore_index is None else ignore_index)
    if ignore_index is not None:
        raise ConfigError("--ignore-index needs --num-classes", hint="add --num-classes N")
    if isinstance(ground_truth, Mapping) and "categories" in ground_truth:
        from segbench.adapters.instance.coco import memory_dataset

        return memory_dataset(ground_truth)
    if not is_memory(ground_truth):
        beside = datasets.find(ground_truth)
        if beside is not None:
            found = datasets.load(beside)
            say(f"classes of {found.name} from {beside}")
            return found
        stated = entry.classes(Path(str(ground_truth))) if entry and entry.classes else None
        if stated is not None:
            say(f"{stated.num_classes} categories from the ground truth")
            return stated
        from segbench.inspection import fitting_preset

        preset, why = fitting_preset(ground_truth)
        if preset is not None:
            say(f"classes of {preset.name}: {why}")
            return preset
    # the number of classes is never guessed from the labels
    raise LabelError(
        "which classes are these? Nothing beside the ground truth says so",
        hint="--dataset NAME (segbench datasets lists them), --dataset FILE.json, or --num-classes N --ignore-index K",
    )


def check_pairing(pairing: Pairing, pred: Source, gt: Source, missing: str, strict: bool, usual: str) -> list[str]:
    """What is missing or extra, as errors or warnings by the rules asked for.

    Args:
        usual: What a missing prediction usually means for the task; if that is `empty`, it is no news.

    Raises:
        PairingError: SB130, SB131, SB132.
    """
    warnings = []
    if not gt.keys:
        raise PairingError("there is no ground truth", files=[gt.said], code="SB132")
    if pairing.missing and missing == "error":
        raise PairingError(
            f"no prediction for {len(pairing.missing)} of {counted(len(gt.keys), 'ground truth')}{_overlooked(pred, pairing.missing)}",
            files=[("gt", gt.file(key)) for key in pairing.missing[:SHOWN]],
            count=len(pairing.missing),
            hint="predict them too, or pass --missing skip (leaves them out) or --missing empty (counts all their pixels as missed)",
            code="SB130",
        )
    files_each = bool(getattr(pred, "files", None))  # a file may have been forgotten; in one list of all, nothing was found there
    if pairing.missing and (files_each or not missing == usual == "empty"):
        done = "left out" if missing == "skip" else "nothing is predicted there"
        warnings.append(f"no prediction for {len(pairing.missing)} of {counted(len(gt.keys), 'ground truth')}: {done}")
    if pairing.extra:
        text = f"no ground truth for {counted(len(pairing.extra), 'prediction')}"
        if strict:
            raise PairingError(
                text,
                files=[("pred", pred.file(key)) for key in pairing.extra[:SHOWN]],
                count=len(pairing.extra),
                hint="remove them, or leave --strict out",
                code="SB131",
            )
        warnings.append(f"{text}: not used, such as {pred.file(pairing.extra[0])}")
    return warnings


def check_left(pairs: Sequence[Any], predictions: Any, pred: Source, ground_truth: Any, gt: Source) -> None:
    """Refuses to evaluate nothing, where every image without a prediction was to be left out.

    Raises:
        PairingError: SB130.
    """
    if pairs:
        return
    sides = ("pred", predictions, pred), ("gt", ground_truth, gt)
    raise PairingError(
        f"no prediction for any of {counted(len(gt.keys), 'ground truth')}: nothing is left to evaluate",
        files=[(role, source.said if is_memory(value) else str(value)) for role, value, source in sides],
        count=len(gt.keys),
        hint="give predictions, or pass --missing empty (counts all that the ground truth holds as missed)",
        code="SB130",
    )


def _overlooked(pred: Source, missing: Sequence[Any]) -> str:
    """What the folder of predictions holds under the name of a missing one, for a message."""
    look = getattr(pred, "overlooked", None)
    found = look(missing) if look else {}
    return f": {next(iter(found.values()))}" if found else ""


def own_source(adapter: str, predictions: Any, request: Request) -> Source:
    """Predictions through the user's own function."""
    from segbench.adapters.own import open_own

    return open_own(adapter, predictions, request)
