"""Data sets by name or file, checked; from a number of classes; and which id space some label values are in.

    load             a preset by name, or a JSON file of schema `segbench.dataset/1`
    simple           a data set from a number of classes
    spaces_holding   which id spaces a set of values fits, so that label ids are never taken for train ids

What a description holds is `Dataset` of `segbench.dataset_schema`, also importable from here.
"""

from __future__ import annotations

import difflib
import json
import operator
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from segbench.dataset_schema import MAX_CLASSES, Dataset, LabelClass, Matching, Reference, ShiftedSpace
from segbench.errors import ConfigError, FormatError
from segbench.files import MAX_TEXT, read
from segbench.samples import INVALID

__all__ = [
    "Dataset",
    "Holding",
    "LabelClass",
    "Matching",
    "Reference",
    "ShiftedSpace",
    "available",
    "find",
    "load",
    "simple",
    "spaces_holding",
    "to_json",
]

PRESETS = Path(__file__).parent / "presets"


class Holding(NamedTuple):
    """Id spaces that a set of values fits. Spaces that read all of the values alike count once, under the first name.

    Attributes:
        known: Every value means something there: an evaluated class, an ignored class or void.
        evaluated: Every value is an evaluated class or the void number.
        classes: Every value is an evaluated class: what most models write.
    """

    known: tuple[str, ...]
    evaluated: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def of_ground_truth(self) -> str | None:
        """The one space that knows all values, else None: ask, do not guess."""
        return self.known[0] if len(self.known) == 1 else None

    @property
    def of_predictions(self) -> str | None:
        """The one space in which a model could have written them, else None. Few models predict void or a class that is not evaluated."""
        fitting = self.classes or self.evaluated or self.known
        return fitting[0] if len(fitting) == 1 else None


def spaces_holding(dataset: Dataset, values: Iterable[int]) -> Holding:
    """Which id spaces of a data set a set of label values fits.

    Args:
        dataset: The data set.
        values: The distinct values of all files together, not of one.

    Returns:
        Names of the spaces; several mean that the values alone cannot tell, none that the data set is another one.
    """
    distinct = sorted({int(value) for value in values})
    known: dict[str, list[int]] = {}
    evaluated: dict[str, list[int]] = {}
    predicted: dict[str, list[int]] = {}
    for space in dataset.spaces:
        value_map = dataset.value_map(space)
        classes = value_map.classes(distinct).tolist()  # type: ignore[arg-type]
        if INVALID in classes:
            continue
        if classes not in known.values():
            known[space] = classes
        void_numbers = dataset.void_numbers(space)
        written = all(index < dataset.num_classes or value in void_numbers for value, index in zip(distinct, classes, strict=True))
        if written and classes not in evaluated.values():
            evaluated[space] = classes
        if max(classes, default=0) < dataset.num_classes and classes not in predicted.values():
            predicted[space] = classes
    return Holding(tuple(known), tuple(evaluated), tuple(predicted))


def available() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.json")))


def load(name_or_path: str | os.PathLike[str]) -> Dataset:
    """A preset by name, or a JSON file of schema `segbench.dataset/1` by path.

    Args:
        name_or_path: What contains a path separator or ends in `.json` is a path.

    Raises:
        ConfigError: no preset of that name.
        FormatError: the file is not a data set description; says where in it and what to do.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ConfigError(f"a data set is a name or a path, not {name_or_path!r}", hint="segbench datasets lists the names")
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, os.PathLike) or text.endswith(".json") or "/" in text or os.sep in text:
        return _described(Path(text))
    return _preset(text)


def find(path: str | os.PathLike[str]) -> Path | None:
    """The `dataset.json` that describes a folder or file: in the folder itself, else in its parent."""
    folder = Path(path) if os.path.isdir(path) else Path(path).parent
    candidates = (folder / "dataset.json", folder.absolute().parent / "dataset.json")
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def simple(num_classes: int, ignore_index: int | None = 255, names: Sequence[str] | None = None) -> Dataset:
    """A data set of label maps that hold class indices `0..num_classes-1`.

    Args:
        num_classes: 1 to 65535.
        ignore_index: The value of void pixels; None for no void.
        names: One per class; `class_0`, `class_1`, ... where not given.

    Raises:
        ConfigError: the numbers contradict one another.
    """
    for what, number in (("number of classes", num_classes), ("ignore index", ignore_index)):
        if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__")):
            raise ConfigError(f"the {what} is a whole number, not {number!r}")
    num_classes = operator.index(num_classes)
    ignore_index = None if ignore_index is None else operator.index(ignore_index)
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ConfigError(f"the number of classes must be 1 to {MAX_CLASSES}, not {num_classes}", hint="pass --num-classes N")
    if ignore_index is not None and 0 <= ignore_index < num_classes:
        raise ConfigError(
            f"ignore index {ignore_index} is also a class id: {num_classes} classes have the ids 0 to {num_classes - 1}",
            hint="pass another --ignore-index, such as 65535; if the files hold 1 to N with 0 for void, describe them in a dataset.json",
        )
    if ignore_index is not None and not -(2**31) <= ignore_index < 2**31:
        raise ConfigError(f"ignore index {ignore_index} does not fit a label map", hint="pass an --ignore-index within int32")
    if names is not None and len(names) != num_classes:
        raise ConfigError(f"{len(names)} names for {num_classes} classes", hint="give one name per class")
    chosen = [f"class_{index}" for index in range(num_classes)] if names is None else [str(name) for name in names]
    name, count = Counter(chosen).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{count} classes are named {name!r}", hint="give every class its own name")
    return Dataset(
        name=f"simple_{num_classes}",
        title=f"{num_classes} classes, ids 0 to {num_classes - 1}",
        void_ids=() if ignore_index is None else (ignore_index,),
        train_ignore_index=ignore_index,
        classes=tuple(LabelClass(id=index, name=name) for index, name in enumerate(chosen)),
    )


def to_json(dataset: Dataset) -> str:
    """The JSON text of a data set, one class per line: a start for a `dataset.json` of one's own."""
    fields = msgspec.to_builtins(dataset)
    parts = []
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            rows = [f"{json.dumps(name)}: {json.dumps(item, ensure_ascii=False)}" for name, item in value.items()]
            text = "{\n  " + ",\n  ".join(rows) + "\n }"
        elif key in ("notes", "sources", "classes") and value:
            text = "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n ]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


@lru_cache(maxsize=64)
def _preset(name: str) -> Dataset:
    path = PRESETS / f"{name}.json"
    if name and path.is_file():
        return _read(path)
    names = available()
    close = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=3, cutoff=0.5)
    close += [other for other in names if other.split("_")[0] == name.lower() and other not in close]
    hint = f"did you mean {' or '.join(close)}?" if close else "segbench datasets lists them; a file of your own is given by its path"
    raise ConfigError(f"there is no data set {name!r}", hint=hint)


def _read(path: Path) -> Dataset:
    content = read(path, MAX_TEXT).removeprefix(BOM)
    other = {b"": "is empty", b"n": "holds null", b"[": "holds a list"}.get(content.strip()[:1])
    if other:
        hint = "docs/datasets.md shows an example; or name a preset with --dataset, or pass --num-classes"
        raise FormatError(f"not a data set description: it {other}, not an object", files=[str(path)], hint=hint)
    try:
        dataset = msgspec.json.decode(content, type=Dataset)
    except (ValueError, RecursionError) as error:  # msgspec's errors and broken UTF-8 are ValueErrors
        what, hint = _explain(str(error), content)
        raise FormatError(f"not a data set description: {what}", files=[str(path)], hint=hint) from error
    problem = _problem(dataset)
    if problem:
        raise FormatError(f"the data set description contradicts itself: {problem[0]}", files=[str(path)], hint=problem[1])
    return dataset


BOM = b"\xef\xbb\xbf"
"""What some editors write before UTF-8."""


def _described(path: Path) -> Dataset:
    """A file of the user's: unlike a preset it may lack its schema or name protocols that do not exist.

    Raises:
        FormatError: it does.
    """
    dataset = _read(path)
    if "schema" not in msgspec.json.decode(read(path, MAX_TEXT).removeprefix(BOM)):
        what, hint = _explain("", b"")
        raise FormatError(f"not a data set description: {what}", files=[str(path)], hint=hint)
    if not dataset.tasks:
        raise FormatError(
            "the data set description lists no task", files=[str(path)], hint='such as "tasks": ["semantic"], or leave it out'
        )
    for task, name in dataset.default_protocol.items():
        from segbench import protocols

        if name not in protocols.available(task):
            known = ", ".join(protocols.available(task))
            raise FormatError(
                f"default_protocol.{task} says {name!r}, which is no {task} protocol", files=[str(path)], hint=f"one of {known}"
            )
    return dataset


FIELDS = sorted({name for struct in (Dataset, LabelClass, ShiftedSpace, Matching, Reference) for name in struct.__struct_fields__})


def _explain(message: str, content: bytes) -> tuple[str, str]:
    """Says a decoding error as place, problem and remedy."""
    what, _, place = message.partition(" - at `$.")
    if place.startswith("classes[...]"):
        place = place.replace("...", str(_row_at_fault(content)), 1)
    where = f" at {place.rstrip('`')}" if place else ""
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown and b"segbench.dataset/" in content:
        close = difflib.get_close_matches(unknown[1], FIELDS, n=1)
        return f"unknown field {unknown[1]!r}{where}", f"did you mean {close[0]!r}?" if close else "docs/datasets.md lists the fields"
    byte = re.search(r"\(byte (\d+)\)", what)
    if byte:
        line = content.count(b"\n", 0, int(byte[1])) + 1
        return f"{what[: byte.start()].strip()} in line {line}", "repair the JSON"
    if b"segbench.dataset/" not in content:
        return (
            'it does not say "schema": "segbench.dataset/1"',
            "docs/datasets.md shows an example; or name a preset with --dataset, or pass --num-classes",
        )
    if place == "schema`":
        return "a schema that this segbench does not know", 'write "schema": "segbench.dataset/1", or upgrade segbench'
    return f"{what[0].lower()}{what[1:]}{where}".replace("`", "'"), "docs/datasets.md describes the fields"


def _row_at_fault(content: bytes) -> int:
    """Position of the first class that does not decode; the decoder itself does not tell."""
    rows = msgspec.json.decode(content)["classes"]
    for at, row in enumerate(rows):
        try:
            msgspec.convert(row, LabelClass)
        except msgspec.ValidationError:
            return at
    return len(rows)


def _problem(dataset: Dataset) -> tuple[str, str] | None:
    """The first contradiction within a data set and its remedy."""
    rows = dataset.classes
    for field in ("id", "name"):
        seen: dict[Any, int] = {}
        for at, row in enumerate(rows):
            value = getattr(row, field)
            if value in seen:
                return f"classes[{seen[value]}] and classes[{at}] have the same {field} {value!r}", f"give every class its own {field}"
            seen[value] = at
    kept = [(at, row) for at, row in enumerate(rows) if not row.ignore]
    if not kept:
        return "no class is evaluated", 'list at least one class without "ignore": true'
    lacking = [f"classes[{at}] ({row.name})" for at, row in kept if dataset.has_train_ids and row.train_id is None]
    if lacking:
        return f"{lacking[0]} has no train_id, others have", "give train_id to every evaluated class or to none"
    for at, row in kept:
        if row.id in dataset.void_ids:
            return f"classes[{at}] ({row.name}) has id {row.id}, which void_ids also lists", 'remove it there, or add "ignore": true'
        if dataset.has_train_ids and row.train_id == dataset.train_void:
            return (
                f"classes[{at}] ({row.name}) has train_id {row.train_id}, which is the train_ignore_index",
                'change one of them, or add "ignore": true',
            )
        if row.isthing != dataset.isthing[dataset.indices[row.id]]:
            return (
                f"classes[{at}] ({row.name}) shares its train_id but not isthing",
                "rows of one train_id are one class: make isthing equal",
            )
    if dataset.num_classes > MAX_CLASSES:
        return f"{dataset.num_classes} evaluated classes", f"at most {MAX_CLASSES} are possible"
    for name, space in dataset.other_spaces.items():
        if name in ("label", "train", "contiguous"):
            return f"other_spaces.{name} has the name of a built-in id space", "rename it"
        base = dataset.indices if space.of == "id" else range(dataset.num_classes)
        clash = {value + space.offset for value in base} & set(space.void_ids)
        if clash:
            return f"other_spaces.{name} lists {min(clash)} as void, which is a class there", "correct void_ids or offset"
    return _matching_problem(dataset)


def _matching_problem(dataset: Dataset) -> tuple[str, str] | None:
    try:
        re.compile(dataset.matching.key_pattern or "")
    except (re.error, RecursionError, OverflowError) as error:
        return f"matching.key_pattern is no regular expression: {error}", "correct the pattern"
    for suffix, space in dataset.matching.suffix_spaces.items():
        if space not in ("label", "train", "contiguous", *dataset.other_spaces):
            return (
                f"matching.suffix_spaces says {suffix!r} holds {space!r}, which is no id space",
                "label, train, contiguous or one of other_spaces",
            )
    return None
