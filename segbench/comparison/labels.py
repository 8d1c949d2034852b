"""What is known of images beyond their pixels: a CSV file with a column `id`."""

from __future__ import annotations

import csv
from os import PathLike
from pathlib import Path

from segbench.errors import FormatError


def read_table(file: str | PathLike) -> dict[str, dict[str, str]]:
    """`{image id: {column: value}}`; the id column is `id`, `image_id` or the first one.

    Raises:
        FormatError: no such file, not UTF-8, no header, or an id that is there twice.
    """
    path = Path(file)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except OSError as error:
        raise FormatError(f"the images' table cannot be read: {error.strerror}", files=[str(path)]) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"the images' table is no CSV: {error}", files=[str(path)]) from error
    if len(columns) < 2:
        raise FormatError("the images' table needs an id column and another one", files=[str(path)], hint="id,weather")
    key = next((column for column in ("id", "image_id") if column in columns), columns[0])
    table: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise FormatError(f"line {number} of the images' table has another number of cells than its header", files=[str(path)])
        if row[key] in table:
            raise FormatError(f"the images' table lists {row[key]!r} twice", files=[str(path)], code="SB120")
        table[row[key]] = {column: value for column, value in row.items() if column != key}
    return table
