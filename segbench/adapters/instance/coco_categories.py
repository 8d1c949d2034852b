"""Category ids of COCO-like files: which class each one is, and what a file that numbers them differently probably means."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance.coco_truth import Annotations, CategoryRow, Truth
from segbench.datasets import Dataset, LabelClass
from segbench.errors import SHOWN, FormatError, LabelError
from segbench.samples import INVALID

ONE_BASED = "one-based"
"""Name of the id space of class indices counted from 1, for files of tools that number the classes 1..C."""


def dataset_of(truth: Truth, name: str) -> Dataset:
    """The data set that a ground-truth file describes: its categories, by ascending id.

    Raises:
        FormatError: SB120, two categories have one id.
    """
    rows = sorted(truth.categories or _named_by_id(truth.annotations), key=lambda row: row.id)
    for first, second in pairwise(rows):
        if first.id == second.id:
            raise FormatError(f"two categories have the id {first.id}: {first.name!r} and {second.name!r}", files=[name], code="SB120")
    if not rows:
        raise FormatError("the ground truth names no category and has no annotation", files=[name], hint="--dataset NAME")
    classes = tuple(
        LabelClass(
            id=row.id,
            name=row.name or str(row.id),
            isthing=True,
            supercategory=row.supercategory or None,
            frequency=row.frequency if row.frequency in ("r", "c", "f") else None,  # type: ignore[arg-type]
        )
        for row in rows
    )
    federated = any(image.neg_category_ids is not None for image in truth.images)
    return Dataset(name=name, tasks=("instance",), classes=classes, default_protocol={"instance": "lvis"} if federated else {})


def _named_by_id(annotations: Annotations) -> list[CategoryRow]:
    return [CategoryRow(id=category, name=str(category)) for category in np.unique(annotations.categories).tolist()]


def unused_root(truth: Truth) -> CategoryRow | None:
    """The category 0 that Roboflow adds above all others and never uses, or None."""
    root = next((row for row in truth.categories if row.id == 0), None)
    if root is None or len(truth.categories) < 2 or (truth.annotations.categories == 0).any():
        return None
    others = [row for row in truth.categories if row.id != 0]
    return root if all(row.supercategory == root.name for row in others) else None


def check_names(truth: Truth, dataset: Dataset, file: str) -> None:
    """The file's categories must be the data set's.

    Raises:
        LabelError: SB111, ids that carry other names than in the data set.
    """
    names = {row.id: row.name for row in dataset.evaluated}
    differing = [row for row in truth.categories if row.id in names and row.name and _plain(row.name) != _plain(names[row.id])]
    if differing:
        row = differing[0]
        raise LabelError(
            f"category {row.id} of the ground truth is {row.name!r}; in {dataset.name} it is {names[row.id]!r}",
            files=[file],
            count=len(differing),
            hint="leave --dataset out: the file describes its own categories",
            code="SB111",
        )


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def class_indices(
    ids: NDArray[np.int64], dataset: Dataset, space: str | None, name: Callable[[int], str], file: str, option: str
) -> NDArray[np.int32]:
    """Class index of each row, C where the data set ignores the category.

    Args:
        ids: int64[M], as the file says.
        space: The id space asked for; None: the data set's own ids.
        name: What a row is called in messages.
        option: The option that names an id space, for hints.

    Raises:
        LabelError: SB110, SB111: an id that is no category, with the id space that would explain all of them.
    """
    indices = meant(ids, dataset, space or "label")
    bad = np.flatnonzero(indices == INVALID)
    if not len(bad):
        return indices
    row = int(bad[0])
    unknown = np.unique(ids[bad])
    shown = ", ".join(map(str, unknown[:SHOWN].tolist())) + (", ..." if len(unknown) > SHOWN else "")
    explaining = [other for other in fitting_spaces(ids, dataset) if other != (space or "label")]
    hint = f"{dataset.name} has the ids {_range(dataset)}; --unknown-class drop leaves such rows out"
    for shift, words in ((1, "one too low"), (-1, "one too high")):
        if (meant(np.unique(ids) + shift, dataset, space or "label") >= 0).all():
            hint = f"every id of the file is {words}: write the ids of {dataset.name}, {_range(dataset)}"
    if explaining:
        hint = f"all ids fit another numbering: {' or '.join(f'{option} {other}' for other in explaining)}"
    raise LabelError(
        f"category ids that {dataset.name} does not have: {shown}; first in {name(row)}",
        files=[file],
        count=len(bad),
        hint=hint,
        code="SB111" if explaining else "SB110",
    )


def ids_of_names(values: NDArray, dataset: Dataset, space: str | None, file: str) -> NDArray[np.int64]:
    """Category ids of rows in which some are names; a name of digits is the number.

    Raises:
        LabelError: SB110, a name that the data set does not have. SB111, names where an id space was asked for.
    """
    ids = {_plain(row.name): row.id for row in dataset.evaluated}
    found: dict[Any, int] = {}
    for value in dict.fromkeys(values.tolist()):
        if not isinstance(value, str):
            found[value] = value
        elif len(value) < 18 and value.isdecimal():
            found[value] = int(value)
        elif space not in (None, "label"):
            raise LabelError(
                f"categories are given by name, such as {value!r}: they are in no id space",
                files=[file],
                hint="leave --id-space out",
                code="SB111",
            )
        elif _plain(value) in ids:
            found[value] = ids[_plain(value)]
        else:
            close = difflib.get_close_matches(value, dataset.names, n=1)
            raise LabelError(
                f"{dataset.name} has no category called {value!r}",
                files=[file],
                hint=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(dataset.names[:SHOWN])}, ...",
                code="SB110",
            )
    return np.array([found[value] for value in values.tolist()], np.int64)


def meant(ids: NDArray[np.int64], dataset: Dataset, space: str) -> NDArray[np.int32]:
    """Class index of ids of an id space, which may be `ONE_BASED`; C for ignored categories, else `INVALID`."""
    return dataset.value_map("contiguous").classes(ids - 1) if space == ONE_BASED else dataset.value_map(space).classes(ids)


def ids_in(dataset: Dataset, space: str) -> NDArray[np.int64] | None:
    """int64[C]: the id of each class in an id space; None where it has none of its own."""
    if space == "label":
        return np.array([row.id for row in dataset.evaluated], np.int64)
    return np.arange(dataset.num_classes) + (space == ONE_BASED) if space in ("contiguous", ONE_BASED) else None


def spaces_of(dataset: Dataset) -> list[str]:
    """Every id space that category ids may be of."""
    return [*dict.fromkeys((*dataset.spaces, "contiguous")), ONE_BASED]


def fitting_spaces(ids: NDArray[np.int64], dataset: Dataset) -> list[str]:
    """Id spaces under which every id is a category."""
    unique = np.unique(ids)
    return [space for space in spaces_of(dataset) if (meant(unique, dataset, space) >= 0).all()]


def _range(dataset: Dataset) -> str:
    ids = [row.id for row in dataset.evaluated]
    if len(ids) <= 8:
        return ", ".join(map(str, ids))
    return f"{min(ids)} to {max(ids)}" + ("" if max(ids) - min(ids) + 1 == len(ids) else ", with gaps")
