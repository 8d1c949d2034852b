"""What is known of images beyond their pixels: a CSV file with a column `id`, or a JSON of the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from segbench import files as disk
from segbench.errors import FormatError

MAX_BYTES = 1 << 29
"""The largest table: the ground truth of a large set may serve as one."""

IDS = ("id", "image_id")
HINT = 'CSV with a header, such as id,weather; or JSON: [{"id": 1, "weather": "rain"}], also under "images"'


def read_table(file: str | PathLike) -> dict[str, dict[str, str]]:
    """`{image id: {column: value}}`; the id column is `id`, `image_id` or the first one.

    A JSON file is a list of objects with an id, such a list under `images` (as in COCO), or an object of objects by image id. Of its values
    only texts, numbers and true or false are kept.

    Raises:
        FormatError: no such file, not UTF-8, no header, or an id that is there twice.
    """
    path = str(file)
    try:
        text = disk.read(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"the images' table is not UTF-8: {error}", files=[path]) from error
    return _of_json(text, path) if text.lstrip()[:1] in ("[", "{") else _of_csv(text, path)


def _of_csv(text: str, path: str) -> dict[str, dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = list(reader.fieldnames or ())
        rows = list(reader)
    except csv.Error as error:
        raise FormatError(f"the images' table is no CSV: {error}", files=[path]) from error
    if len(columns) < 2:
        raise FormatError("the images' table needs an id column and another one", files=[path], hint=HINT)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise FormatError(f"line {number} of the images' table has another number of cells than its header", files=[path])
    return _by_id(rows, next((column for column in IDS if column in columns), columns[0]), path)


def _of_json(text: str, path: str) -> dict[str, dict[str, str]]:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the images' table is no JSON: {error}", files=[path], hint=HINT) from error
    if isinstance(document, Mapping):
        document = document["images"] if "images" in document else [{"id": key, **row} for key, row in document.items() if _is_row(row)]
    rows = [row for row in document if _is_row(row)] if isinstance(document, list) else []
    key = next((name for name in IDS if rows and all(name in row for row in rows)), None)
    if key is None or len(rows) != len(document):
        raise FormatError("the images' table is no list of objects with an id", files=[path], hint=HINT)
    shown = [{name: _text(value) for name, value in row.items() if isinstance(value, str | int | float)} for row in rows]
    if any(key not in row for row in shown):
        raise FormatError("an id of the images' table is neither text nor a number", files=[path], hint=HINT)
    return _by_id(shown, key, path)


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _by_id(rows: Sequence[Mapping[str, str]], key: str, path: str) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[key] in table:
            raise FormatError(f"the images' table lists {row[key]!r} twice", files=[path], code="SB120")
        table[row[key]] = {column: value for column, value in row.items() if column != key}
    return table
