"""Data sets as data: classes, ids, things and stuff, void, colours, how files pair up, and which protocol is the usual one.

    LabelClass   one row: an id of the label files, its name, and whether it is evaluated
    Dataset      the rows and everything said about them; `value_map(space)` tells what a value in a file means
    load         a preset by name, or a JSON file of the same schema; `simple` makes one from a number of classes
    spaces_holding   which id spaces a set of values fits, so that label ids are never taken for train ids

The schema is `segbench.dataset/1`, described field by field in docs/datasets.md.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from segbench.errors import ConfigError, FormatError
from segbench.samples import INVALID, ValueMap

PRESETS = Path(__file__).parent / "presets"
MAX_CLASSES = 65535
USUAL_PROTOCOLS = {"semantic": "pooled", "instance": "coco", "panoptic": "coco-panoptic"}

Task = Literal["semantic", "instance", "panoptic"]
Id = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Channel = Annotated[int, msgspec.Meta(ge=0, le=255)]
Color = tuple[Channel, Channel, Channel]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class LabelClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One id of the label files.

    Attributes:
        id: The value in the data set's own label files.
        name: As the data set spells it.
        train_id: The value in training label files. Rows that share one are one class, named by the first of them.
        isthing: Thing (countable), stuff, or None where not known.
        ignore: Named in the files, not evaluated: its pixels are void.
        group: Stands for several objects drawn as one.
        color: RGB in colour-coded label images.
        supercategory: Larger group, for category IoU.
        frequency: LVIS: rare, common or frequent.
        average_size_px: Mean area of one instance in pixels, the weight of the Cityscapes instance-level IoU.
        ids: The class's id in other data sets, by their names. Information only.
        facts: Anything else known about it. Information only.
    """

    id: Id
    name: Name
    train_id: Id | None = None
    isthing: bool | None = None
    ignore: bool = False
    group: bool = False
    color: Color | None = None
    supercategory: str | None = None
    frequency: Literal["r", "c", "f"] | None = None
    average_size_px: Annotated[float, msgspec.Meta(gt=0)] | None = None
    ids: dict[str, int] = {}
    facts: dict[str, Any] = {}


class ShiftedSpace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A further id space: every value is the class's id, or its index, plus an offset.

    Attributes:
        of: What is shifted.
        offset: What is added.
        void_ids: Values of this space that mean no class.
        note: Where such files come from.
    """

    of: Literal["id", "index"] = "id"
    offset: Id = 0
    void_ids: tuple[Id, ...] = ()
    note: str = ""


class Matching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a prediction finds its ground truth. All of it is about file stems, without folder and extension.

    Attributes:
        gt_suffixes: Endings of ground-truth stems that are not part of the key.
        image_suffixes: Endings of image stems that are not part of the key.
        key_pattern: Regular expression matched at the start of a stem; its group `key`, else the whole match, is the key.
        suffix_spaces: Id space that an ending tells, such as `{"_labelTrainIds": "train"}`.
        skip: File-name globs that are no label files.
        note: Anything a person should know.
    """

    gt_suffixes: tuple[str, ...] = ()
    image_suffixes: tuple[str, ...] = ()
    key_pattern: str | None = None
    suffix_spaces: dict[str, str] = {}
    skip: tuple[str, ...] = ()
    note: str = ""


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where facts of a data set were taken from."""

    repo: str | None = None
    package: str | None = None
    path: str | None = None
    commit: str | None = None
    facts: str | None = None
    note: str | None = None


class Dataset(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    dict=True,
    tag_field="schema",
    tag="segbench.dataset/1",
):
    """What the labels of a data set mean.

    Attributes:
        name: Short name.
        title: For people.
        tasks: What can be evaluated on it.
        classes: All ids of the label files, ignored ones too.
        void_ids: Values of the label files that mean no class. Ignored classes are void without being listed here.
        train_ignore_index: The void value of train ids and class indices; 255, or 65535 with more than 255 classes, where not given.
            Data whose ids are the indices and that say nothing about void have none.
        label_divisor: Instance files hold `class * label_divisor + instance`.
        void_colors: Colours that mean no class.
        other_spaces: Further id spaces, by name.
        space_notes: What to know about an id space, by its name.
        matching: How files pair up.
        default_protocol: Protocol per task.
        protocol_note: Why that one.
        rules: How the data set's own benchmark scores, per task.
        encodings: What its files hold.
        variants: Other class lists people use.
        notes: Traps.
        sources: Where all this was read.
    """

    name: Name
    title: str = ""
    tasks: tuple[Task, ...] = ("semantic",)
    void_ids: tuple[Id, ...] = ()
    train_ignore_index: Id | None = None
    label_divisor: Annotated[int, msgspec.Meta(ge=1)] | None = None
    void_colors: tuple[Color, ...] = ()
    other_spaces: dict[str, ShiftedSpace] = {}
    space_notes: dict[str, str] = {}
    matching: Matching = Matching()
    default_protocol: dict[Task, str] = {}
    protocol_note: str = ""
    rules: dict[str, str] = {}
    encodings: dict[str, str] = {}
    variants: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    sources: tuple[Reference, ...] = ()
    classes: tuple[LabelClass, ...]

    @cached_property
    def evaluated(self) -> tuple[LabelClass, ...]:
        """The classes with an index `0..C-1`, in index order: by train id where there are train ids, else as in the file."""
        rows = [row for row in self.classes if not row.ignore]
        if not self.has_train_ids:
            return tuple(rows)
        first = {row.train_id: row for row in reversed(rows)}
        return tuple(first[train_id] for train_id in sorted(first))  # type: ignore[type-var]

    @cached_property
    def has_train_ids(self) -> bool:
        """Whether the evaluated classes carry train ids."""
        return any(row.train_id is not None for row in self.classes if not row.ignore)

    @cached_property
    def indices(self) -> dict[int, int]:
        """Class index of every evaluated id of the label files; ids that share a train id share the index."""
        if not self.has_train_ids:
            return {row.id: index for index, row in enumerate(self.evaluated)}
        of_train = {row.train_id: index for index, row in enumerate(self.evaluated)}
        return {row.id: of_train[row.train_id] for row in self.classes if not row.ignore}

    @property
    def num_classes(self) -> int:
        """Number of evaluated classes C; void is class C."""
        return len(self.evaluated)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the evaluated classes, by index."""
        return tuple(row.name for row in self.evaluated)

    @cached_property
    def isthing(self) -> tuple[bool | None, ...]:
        """Thing, stuff or unknown, by index."""
        return tuple(row.isthing for row in self.evaluated)

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Class indices of every supercategory of evaluated classes, in order of first appearance."""
        groups: dict[str, tuple[int, ...]] = {}
        for index, row in enumerate(self.evaluated):
            if row.supercategory is not None:
                groups[row.supercategory] = (*groups.get(row.supercategory, ()), index)
        return groups

    @cached_property
    def spaces(self) -> tuple[str, ...]:
        """Id spaces that its label files may use. One that reads all of its values as an earlier one does is left out."""
        names = ["label", *(["train"] if self.has_train_ids else []), "contiguous", *self.other_spaces]
        kept: dict[str, dict[int, int]] = {}
        for name in names:
            mapping = self._mapping(name)
            if not any(mapping.items() <= earlier.items() for earlier in kept.values()):
                kept[name] = mapping
        return tuple(kept)

    def value_map(self, space: str = "label") -> ValueMap:
        """What file values of an id space mean: a class index, or C for void; any other value means nothing.

        Args:
            space: `label` (the ids of the data set), `train` (train ids; class indices where it has none), `contiguous` (class indices),
                or one of `other_spaces`.

        Raises:
            ConfigError: there is no such id space.
        """
        if space not in ("label", "train", "contiguous", *self.other_spaces):
            raise ConfigError(f"{self.name} has no id space {space!r}", hint=f"one of: {', '.join(self.spaces)}")
        return ValueMap.of(self._mapping(space), self.num_classes, space)

    def protocol(self, task: str) -> str:
        """Name of the protocol that is used for a task where the user names none."""
        return self.default_protocol.get(task) or USUAL_PROTOCOLS[task]  # type: ignore[call-overload]

    @cached_property
    def colors(self) -> dict[tuple[int, int, int], int]:
        """Class index of a colour, C for void colours. Ambiguous colours are not in it; evaluated classes come before ignored ones."""
        ambiguous = {self._color_of(group[0]) for group in self.ambiguous_colors}
        colors = {tuple(color): self.num_classes for color in self.void_colors}
        colors |= {row.color: self.num_classes for row in self.classes if row.ignore and row.color is not None}
        colors |= {row.color: self.indices[row.id] for row in self.classes if not row.ignore and row.color is not None}
        return {color: index for color, index in colors.items() if color not in ambiguous}  # type: ignore[misc]

    @cached_property
    def ambiguous_colors(self) -> tuple[tuple[int, ...], ...]:
        """Groups of ids of evaluated classes that have different indices and the same colour."""
        sharing: dict[Color, list[int]] = {}
        for row in self.classes:
            if row.color is not None and not row.ignore:
                sharing.setdefault(row.color, []).append(row.id)
        return tuple(tuple(ids) for ids in sharing.values() if len({self.indices[label] for label in ids}) > 1)

    @cached_property
    def void_lookalikes(self) -> tuple[tuple[str, str], ...]:
        """(evaluated class, ignored class) of the same colour: colour images of ground truth cannot tell them apart."""
        ignored = {row.color: row.name for row in self.classes if row.ignore and row.color is not None}
        return tuple((row.name, ignored[row.color]) for row in self.classes if not row.ignore and row.color in ignored)

    @cached_property
    def rgb_decodable(self) -> bool:
        """Whether every evaluated class has a colour of its own."""
        return not self.ambiguous_colors and all(row.color is not None for row in self.evaluated)

    def payload(self) -> bytes:
        """Canonical bytes of everything that changes a number, for digests: titles, colours and notes may be edited freely."""
        shared = {index: sorted(label for label, at in self.indices.items() if at == index) for index in range(self.num_classes)}
        rows = [
            [shared[index], row.name, row.isthing, row.supercategory, row.frequency, row.average_size_px]
            for index, row in enumerate(self.evaluated)
        ]
        void = sorted(value for value, index in self._mapping("label").items() if index == self.num_classes)
        return json.dumps({"classes": rows, "void_ids": void}, ensure_ascii=True, separators=(",", ":")).encode()

    def _mapping(self, space: str) -> dict[int, int]:
        """`{value: class index, or C for void}` of an id space."""
        void = self.num_classes
        ignored = [row for row in self.classes if row.ignore]
        contiguous = {index: index for index in range(void)}
        if space == "label":
            return dict.fromkeys((*self.void_ids, *(row.id for row in ignored)), void) | self.indices
        if space == "train" and self.has_train_ids:
            named = (row.train_id for row in ignored if row.train_id is not None)
            used = {row.train_id: index for index, row in enumerate(self.evaluated) if row.train_id is not None}
            return dict.fromkeys((self._train_void, *named), void) | used
        if space in self.other_spaces:
            shifted = self.other_spaces[space]
            base = self.indices if shifted.of == "id" else contiguous
            named = (row.id + shifted.offset for row in ignored if shifted.of == "id")
            return dict.fromkeys((*named, *shifted.void_ids), void) | {value + shifted.offset: index for value, index in base.items()}
        if not self.void_ids and self.train_ignore_index is None and contiguous == self._mapping("label"):
            return contiguous  # nothing is said to be void, so nothing is
        stated = self._train_void
        usual = 255 if void <= 255 else MAX_CLASSES
        return contiguous | {usual if 0 <= stated < void else stated: void}

    @property
    def _train_void(self) -> int:
        usual = 255 if self.num_classes <= 255 else MAX_CLASSES
        return usual if self.train_ignore_index is None else self.train_ignore_index

    def _void_numbers(self, space: str) -> set[int]:
        """Values that say void, as against ids of named classes that are not evaluated."""
        if space == "label":
            return set(self.void_ids)
        if space in self.other_spaces:
            return set(self.other_spaces[space].void_ids)
        return {self._train_void, MAX_CLASSES if self.num_classes > 255 else 255}

    def _color_of(self, label: int) -> Color | None:
        return next(row.color for row in self.classes if row.id == label)


class Holding(NamedTuple):
    """Id spaces that a set of values fits. Spaces that read all of the values alike count once, under the first name.

    Attributes:
        known: Every value means something there: an evaluated class, an ignored class or void.
        evaluated: Every value is an evaluated class or the void number: what a model writes.
    """

    known: tuple[str, ...]
    evaluated: tuple[str, ...]

    @property
    def of_ground_truth(self) -> str | None:
        """The one space that knows all values, else None: ask, do not guess."""
        return self.known[0] if len(self.known) == 1 else None

    @property
    def of_predictions(self) -> str | None:
        """The one space in which a model could have written them, else None. A model seldom predicts a class that is not evaluated."""
        fitting = self.evaluated or self.known
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
    for space in dataset.spaces:
        value_map = dataset.value_map(space)
        classes = value_map.classes(distinct).tolist()  # type: ignore[arg-type]
        if INVALID in classes:
            continue
        if classes not in known.values():
            known[space] = classes
        void_numbers = dataset._void_numbers(space)
        written = all(index < dataset.num_classes or value in void_numbers for value, index in zip(distinct, classes, strict=True))
        if written and classes not in evaluated.values():
            evaluated[space] = classes
    return Holding(tuple(known), tuple(evaluated))


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
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, os.PathLike) or text.endswith(".json") or "/" in text or os.sep in text:
        return _read(Path(text))
    return _preset(text)


def find(path: str | os.PathLike[str]) -> Path | None:
    """The `dataset.json` that describes a folder or file: in the folder itself, else in its parent."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    candidates = (folder / "dataset.json", folder.absolute().parent / "dataset.json")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def simple(num_classes: int, ignore_index: int | None = 255, names: Sequence[str] | None = None) -> Dataset:
    """A data set of label maps that hold class indices `0..num_classes-1`.

    Args:
        num_classes: 1 to 65535.
        ignore_index: The value of void pixels; None for no void.
        names: One per class; `class_0`, `class_1`, ... where not given.

    Raises:
        ConfigError: the numbers contradict one another.
    """
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read the data set description: {error.strerror}", files=[str(path)], hint="check the path") from error
    try:
        dataset = msgspec.json.decode(content, type=Dataset)
    except (ValueError, RecursionError) as error:  # msgspec's errors and broken UTF-8 are ValueErrors
        what, hint = _explain(str(error), content)
        raise FormatError(f"not a data set description: {what}", files=[str(path)], hint=hint) from error
    problem = _problem(dataset)
    if problem:
        raise FormatError(f"the data set description contradicts itself: {problem[0]}", files=[str(path)], hint=problem[1])
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
        if dataset.has_train_ids and row.train_id == dataset._train_void:
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
