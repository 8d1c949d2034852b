"""Gates from `segbench.toml`, or `[tool.segbench]` of `pyproject.toml`; every complaint names the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

from segbench import files as disk
from segbench.errors import ConfigError, FormatError
from segbench.gates.rules import (
    BASELINE_MISSING,
    CORRECTIONS,
    FAIL_ON,
    MISSING,
    MODES,
    Acknowledgement,
    Gate,
    Policy,
    Tolerance,
    level,
)

FILES = ("segbench.toml", "pyproject.toml")

MOST_DRAWS = 1_000_000
"""Replicates and permutations at most: more would say nothing that these do not."""

MAX_BYTES = 1 << 24
"""The largest configuration."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*[\"']?([\w.-]+)[\"']?\s*=")

_WORDS: dict[str, tuple[str, ...]] = {
    "mode": MODES,
    "if_missing": MISSING,
    "correction": CORRECTIONS,
    "fail_on": FAIL_ON,
    "baseline_missing": BASELINE_MISSING,
}
_TABLES = ("compare", "gates", "acknowledge")
_COMPARE = ("confidence", "replicates", "permutations", "seed", "cluster", "slices", "fail_on", "baseline_missing")
_GATE = (
    *("metric", "max_drop", "max_rise", "min", "max", "mode", "slice", "allow", "min_support", "correction", "if_missing"),
    "informational",
)
_ACKNOWLEDGE = ("metric", "until", "reason", "max_drop")


def find(folder: str | PathLike = ".") -> Path | None:
    """The configuration of a folder: `segbench.toml`, else a `pyproject.toml` that has `[tool.segbench]`."""
    for name in FILES:
        path = Path(folder) / name
        if path.is_file() and (name != "pyproject.toml" or b"tool.segbench" in path.read_bytes()):
            return path
    return None


def load(path: str | PathLike) -> Policy:
    """Reads a configuration.

    Raises:
        FormatError: not TOML, or no such file.
        ConfigError: an unknown key, or a value that means nothing.
    """
    file = Path(path)
    written = disk.read(file, MAX_BYTES)
    try:
        text = written.decode("utf-8-sig").replace("\r\n", "\n")
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"the configuration is not TOML: {error}", files=[str(file)]) from error
    prefix = ""
    if file.name == "pyproject.toml":
        document, prefix = document.get("tool", {}).get("segbench", {}), "tool.segbench."
    return parse(document, Lines(text, str(file), prefix))


class Lines:
    """Where the keys of a TOML file stand."""

    def __init__(self, text: str, file: str, prefix: str = "") -> None:
        self.file, self.prefix = file, prefix
        self.places: dict[tuple[str, int, str], int] = {}
        table, seen = "", dict[str, int]()
        for number, line in enumerate(text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                table = header.group(2).replace('"', "").replace(" ", "")
                index = seen[table] = seen.get(table, -1) + 1
                self.places.setdefault((table, index, ""), number)
                continue
            key = _KEY.match(line)
            if key:
                self.places.setdefault((table, seen.get(table, 0), key.group(1)), number)

    def where(self, table: str, index: int = 0, key: str = "") -> str:
        """`file:line`, as near as can be told."""
        name = (self.prefix + table).rstrip(".")
        number = self.places.get((name, index, key)) or self.places.get((name, index, ""))
        return f"{self.file}:{number}" if number else self.file


def parse(document: Mapping[str, Any], lines: Lines) -> Policy:
    """A policy from the tables of a configuration.

    Raises:
        ConfigError: an unknown key, or a value that means nothing.
    """
    for key in document:
        if key == "tool" and not lines.prefix:
            hint = "here the tables are [compare], [[gates]], [[acknowledge]]"
            raise ConfigError(f"{lines.where('')}: [tool.segbench] is for pyproject.toml", hint=hint)
        if key not in _TABLES:
            raise _unknown(key, _TABLES, lines.where(key) if (lines.prefix + key, 0, "") in lines.places else lines.where("", 0, key))
    settings = _table(document.get("compare", {}), lines.where("compare"))
    for key in settings:
        if key not in _COMPARE:
            raise _unknown(key, _COMPARE, lines.where("compare", 0, key))
    chosen: dict[str, Any] = {}
    for key, value in settings.items():
        chosen[key] = parse_setting(key, value, lines.where("compare", 0, key))
    gates = [gate(_table(row, lines.where("gates", index)), lines, index) for index, row in enumerate(_rows(document, "gates", lines))]
    known = [
        _acknowledgement(_table(row, lines.where("acknowledge", index)), lines, index)
        for index, row in enumerate(_rows(document, "acknowledge", lines))
    ]
    return Policy(gates=tuple(gates), acknowledged=tuple(known), source=lines.file, **chosen)


def gate(row: Mapping[str, Any], lines: Lines, index: int) -> Gate:
    """One gate from its table.

    Raises:
        ConfigError: see `parse`.
    """

    def where(key: str) -> str:
        return lines.where("gates", index, key)

    chosen: dict[str, Any] = {}
    for key, value in row.items():
        if key not in _GATE:
            raise _unknown(key, _GATE, where(key))
        if key in ("max_drop", "max_rise"):
            chosen[key] = Tolerance.parse(value, f"{where(key)}: {key}")
        elif key in ("min", "max"):
            chosen[key] = level(value, f"{where(key)}: {key}")
        elif key in _WORDS:
            chosen[key] = _word(key, value, where(key))
        elif key in ("allow", "min_support"):
            chosen[key] = _whole(key, value, 0, where(key))
        elif key == "informational":
            chosen[key] = _typed(key, value, bool, "true or false", where(key))
        else:
            chosen[key] = _typed(key, value, str, "text", where(key))
    if "metric" not in chosen:
        raise ConfigError(f"{where('')}: a gate names no metric", hint='metric = "semantic/miou"')
    if not {"max_drop", "max_rise", "min", "max"} & chosen.keys():
        raise ConfigError(f"{where('')}: the gate on {chosen['metric']} has no rule", hint='max_drop = "0.5pt" or min = "78pt"')
    return Gate(source=where(""), **chosen)


def _acknowledgement(row: Mapping[str, Any], lines: Lines, index: int) -> Acknowledgement:
    def where(key: str) -> str:
        return lines.where("acknowledge", index, key)

    for key in row:
        if key not in _ACKNOWLEDGE:
            raise _unknown(key, _ACKNOWLEDGE, where(key))
    for key, example in (("metric", '"semantic/iou/train"'), ("until", "2030-12-31"), ("reason", '"labels were drawn again"')):
        if key not in row:
            raise ConfigError(f"{where('')}: an acknowledgement needs {key!r}", hint=f"{key} = {example}")
    until = row["until"]
    if not isinstance(until, date):
        try:
            until = date.fromisoformat(str(until))
        except ValueError as error:
            raise ConfigError(f"{where('until')}: {row['until']!r} is no date", hint="until = 2030-12-31") from error
    until = until if type(until) is date else date(until.year, until.month, until.day)
    tolerance = Tolerance.parse(row["max_drop"], f"{where('max_drop')}: max_drop") if "max_drop" in row else None
    return Acknowledgement(str(row["metric"]), until, str(row["reason"]), tolerance, where(""))


def parse_setting(key: str, value: Any, where: str) -> Any:
    """A setting of `[compare]`, checked.

    Raises:
        ConfigError: it means nothing.
    """
    if key in _WORDS:
        return _word(key, value, where)
    if key == "confidence":
        if not isinstance(value, float) or not 0.5 <= value <= 0.999:
            raise ConfigError(f"{where}: confidence is {value!r}", hint="a number from 0.5 to 0.999, such as 0.95")
        return value
    if key in ("replicates", "permutations"):
        return _whole(key, value, 100, where, MOST_DRAWS)
    if key == "seed":
        return _whole(key, value, 0, where)
    if key == "slices":
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise ConfigError(f"{where}: slices are columns or regular expressions", hint='slices = ["weather", "^([a-z]+)_"]')
        return tuple(entries)
    return _typed(key, value, str, "a column or a regular expression", where)


def _rows(document: Mapping[str, Any], name: str, lines: Lines) -> list[Any]:
    rows = document.get(name, [])
    if not isinstance(rows, list):
        raise ConfigError(f"{lines.where(name)}: {name} is a list of tables", hint=f"write [[{lines.prefix}{name}]]")
    return rows


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {value!r} is no table of keys and values")
    return value


def _word(key: str, value: Any, where: str) -> str:
    words = _WORDS[key]
    if value not in words:
        close = get_close_matches(str(value), words, 1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"{where}: {key} is {value!r}", hint=f"{guess}one of: {', '.join(words)}")
    return value


def _whole(key: str, value: Any, least: int, where: str, most: int | None = None) -> int:
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ConfigError(f"{where}: {key} is {value!r}", hint=f"a whole number from {least} {'on' if most is None else f'to {most}'}")
    return value


def _typed(key: str, value: Any, kind: type, word: str, where: str) -> Any:
    if type(value) is not kind:
        raise ConfigError(f"{where}: {key} is {value!r}", hint=f"{key} is {word}")
    return value


def _unknown(key: str, known: tuple[str, ...], where: str) -> ConfigError:
    close = get_close_matches(key, known, 1, 0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return ConfigError(f"{where}: there is no key {key!r}", hint=f"{guess}There are: {', '.join(known)}")
