"""What a data set description holds, and what follows from it: class indices, id spaces, void, colours.

    LabelClass   one row: an id of the label files, its name, and whether it is evaluated
    Dataset      the rows and everything said about them; `value_map(space)` tells what a value in a file means

The schema is `segbench.dataset/1`, described field by field in docs/datasets.md. Reading and checking files is `segbench.datasets`.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

from segbench.errors import ConfigError
from segbench.samples import ValueMap

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
        return self.default_protocol.get(task) or USUAL_PROTOCOLS.get(task, "")  # type: ignore[call-overload]

    @cached_property
    def colors(self) -> dict[tuple[int, int, int], int]:
        """Class index of a colour, C for void colours. Ambiguous colours are not in it; evaluated classes come before ignored ones."""
        ambiguous = {row.color for row in self.classes if any(row.id in group for group in self.ambiguous_colors)}
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
        ids: list[list[int]] = [[] for _ in self.evaluated]
        for label, index in sorted(self.indices.items()):
            ids[index].append(label)
        rows = [
            [labels, row.name, row.isthing, row.supercategory, row.frequency, row.average_size_px]
            for labels, row in zip(ids, self.evaluated, strict=True)
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
            return dict.fromkeys((self.train_void, *named), void) | used
        if space in self.other_spaces:
            shifted = self.other_spaces[space]
            base = self.indices if shifted.of == "id" else contiguous
            named = (row.id + shifted.offset for row in ignored if shifted.of == "id")
            return dict.fromkeys((*named, *shifted.void_ids), void) | {value + shifted.offset: index for value, index in base.items()}
        if not self.void_ids and self.train_ignore_index is None and contiguous == self._mapping("label"):
            return contiguous  # nothing is said to be void, so nothing is
        stated = self.train_void
        usual = 255 if void <= 255 else MAX_CLASSES
        return contiguous | {usual if 0 <= stated < void else stated: void}

    @property
    def train_void(self) -> int:
        """The void value of train ids and class indices: as stated, else the usual one."""
        usual = 255 if self.num_classes <= 255 else MAX_CLASSES
        return usual if self.train_ignore_index is None else self.train_ignore_index

    def void_numbers(self, space: str) -> set[int]:
        """Values of an id space that say void, as against ids of named classes that are not evaluated."""
        if space == "label":
            return set(self.void_ids)
        if space in self.other_spaces:
            return set(self.other_spaces[space].void_ids)
        return {self.train_void, MAX_CLASSES if self.num_classes > 255 else 255}
