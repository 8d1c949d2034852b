"""What the rows of a COCO file look like, learned from one of them: what stands between their values, and what values there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.kernels.coco_rows import INTEGER, NESTED, NUMBER, STRING, TEXT

MOST_VALUES = 256
"""Values of a row at most."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_LITERAL = re.compile(r"true|false|null")
_JSON = json.JSONDecoder()
_FITTING = {(kind, kind) for kind in range(5)} | {(INTEGER, NUMBER)}
"""Kinds of a value, and of a field that it may stand in."""

Fields = Mapping[str, tuple[int, str, int]]
"""Path of a value in a row -> kind, column, and place in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The form of rows; see `segbench.kernels.coco_rows.scan_rows`.

    Attributes:
        words: uint8[W]. word_ends: int64[F + 2].
        kinds: int64[F].
        targets: The column of each value and its place in it; `None` for a value that nobody asked for.
        length: Bytes of the row from which it was learned.
    """

    words: NDArray[np.uint8]
    word_ends: NDArray[np.int64]
    kinds: NDArray[np.int64]
    targets: tuple[tuple[str, int] | None, ...]
    length: int

    @property
    def found(self) -> set[tuple[str, int]]:
        """Columns and places that its rows fill."""
        return {target for target in self.targets if target}

    def same(self, other: Template) -> bool:
        """Whether the same rows fit both."""
        return np.array_equal(self.words, other.words) and np.array_equal(self.kinds, other.kinds)


def learned(text: str, fields: Fields) -> Template | None:
    """The template of the row at the start of a text; None where it has none, or holds other values than may stand in the fields."""
    learner = _Learner(text, fields)
    try:
        _, length = _JSON.raw_decode(text)
        learner.value("")
    except (ValueError, RecursionError):
        return None
    words = [word.encode("latin-1") for word in learner.words]
    asked = [target for target in learner.targets if target]
    if len(learner.kinds) > MOST_VALUES or len(set(asked)) != len(asked) or b"\0" in b"".join(words):
        return None
    return Template(
        np.frombuffer(b"".join(words), np.uint8),
        np.cumsum([0, *map(len, words)]),
        np.array(learner.kinds, np.int64),
        tuple(learner.targets),
        length,
    )


class _Learner:
    """Walks along one valid object and notes words and values."""

    def __init__(self, text: str, fields: Fields) -> None:
        self.text, self.fields, self.at = text, fields, 0
        self.words, self.kinds, self.targets = [""], list[int](), list[tuple[str, int] | None]()
        self.known = {path[:end] for path in fields for end in (match.start() for match in re.finditer(r"\.", path))}

    def literal(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError
        self.words[-1] += match.group()
        self.at = match.end()
        return match.group()

    def mark(self, count: int = 1) -> None:
        self.words[-1] += self.text[self.at : self.at + count]
        self.at += count

    def slot(self, kind: int, path: str, end: int) -> None:
        field = self.fields.get(path)
        parent = path.rpartition(".")[0]
        fits = parent not in self.known and path not in self.known if field is None else (kind, field[0]) in _FITTING
        if not fits:
            raise ValueError
        self.kinds.append(kind if field is None else field[0])
        self.targets.append(None if field is None else field[1:])
        self.words.append("")
        self.at = end

    def value(self, path: str) -> None:
        """One value, wherever it stands."""
        self.literal(_SPACE)
        mark = self.text[self.at]
        if mark in "[{" and path and path not in self.known:
            self.slot(NESTED, path, _JSON.raw_decode(self.text, self.at)[1])
        elif mark in "[{":
            self.several(path, mark == "{")
        elif mark == '"':
            end = _STRING.match(self.text, self.at).end()  # type: ignore[union-attr]
            self.mark()
            self.slot(TEXT if path in self.fields else STRING, path, end - 1)
            self.mark()
        elif _LITERAL.match(self.text, self.at):
            null = self.literal(_LITERAL) == "null"
            if path in self.fields or (not null if path in self.known else path.rpartition(".")[0] in self.known):
                raise ValueError
        else:
            match = _NUMBER.match(self.text, self.at)
            if match is None:
                raise ValueError
            whole = match.group(1) is None and match.group(2) is None
            kind = INTEGER if path in self.fields and whole else NUMBER
            self.slot(kind, path, match.end())

    def several(self, path: str, named: bool) -> None:
        """The values of an object or a list."""
        self.mark()
        count = 0
        self.literal(_SPACE)
        while self.text[self.at] not in "]}":
            key = str(count)
            if named:
                key = json.loads(self.literal(_STRING))
                self.literal(_SPACE)
                self.mark()
            self.value(f"{path}.{key}" if path else key)
            self.literal(_SPACE)
            if self.text[self.at] == ",":
                self.mark()
                self.literal(_SPACE)
            count += 1
        if path in self.known and not count:
            raise ValueError
        self.mark()
