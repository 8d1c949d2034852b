"""What an adapter is: a format that recognises a path and opens it as a source of canonical samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from segbench.datasets import Dataset

Role = Literal["pred", "gt"]
Layout = Literal["CHW", "HWC"]


@runtime_checkable
class Source(Protocol):
    """Reads samples by key. Picklable: what travels to another process is a `part`.

    Attributes:
        format: The registered name of the format.
        said: One sentence for the user: what was read as what.
        keys: What the samples are called, in canonical order; predictions and ground truth are paired by them.
    """

    @property
    def format(self) -> str: ...

    @property
    def said(self) -> str: ...

    @property
    def keys(self) -> Sequence[int | str]: ...

    def read(self, keys: Sequence[int | str]) -> Iterator[Any]:
        """Yields one sample for each key, in the given order."""

    def part(self, keys: Sequence[int | str]) -> Source:
        """A source of only these keys."""

    def file(self, key: int | str) -> str:
        """Where a sample comes from, for messages."""

    def sizes(self) -> list[tuple[int, int] | None]:
        """Height and width of each sample where a look at its header tells, else None."""

    def fingerprint(self, key: int | str) -> bytes:
        """sha256 of the bytes of one sample."""


@dataclass(frozen=True)
class Request:
    """What is asked of a format when it opens a path.

    Attributes:
        role: Prediction or ground truth.
        dataset: The label semantics.
        id_space: Which ids the file values are; None where the files are to tell.
        layout: Axis order of score arrays, `CHW` or `HWC`.
        threshold: For one-channel scores: foreground is `score >= threshold`.
        trust_pickle: Whether files may be unpickled, which can run code.
        instances: Whether the metrics need the instance ids beside the labels.
        unknown_class: Rows of a category that the data set does not have: `error` or `drop`.
        maps: Folder of the maps that a JSON describes, where it is not beside it.
        asked: The name of the format, where the user gave one and it was not recognised.
    """

    role: Role
    dataset: Dataset
    id_space: str | None = None
    layout: Layout | None = None
    threshold: float | None = None
    trust_pickle: bool = False
    instances: bool = False
    maps: str | None = None
    unknown_class: str = "error"
    asked: str | None = None


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: What `--format` takes.
        title: What it is, a few words.
        layout: How its files lie, one line.
        tasks: The tasks it can serve.
        suffixes: File endings it reads in a folder.
        sniff: Tells from a path whether this is it: a score in [0, 1] and why.
        open: Opens a path as a source.
        classes: The classes that a ground truth of this format brings along, where it does.
    """

    name: str
    title: str
    layout: str
    tasks: tuple[str, ...]
    suffixes: tuple[str, ...]
    sniff: Callable[[Path], tuple[float, str]]
    open: Callable[[Path, Request], Source]
    classes: Callable[[Path], Dataset | None] | None = None
