"""COCO files of the plain form, scanned piece by piece into columns; memory beyond the columns does not grow with the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance.coco_masks import COUNTS, NONE, Segmentations
from segbench.adapters.instance.coco_template import Fields, Template, learned
from segbench.kernels import coco_rows
from segbench.kernels.coco_rows import INTEGER, NESTED, NUMBER, TEXT

PIECE = 2**20
"""Bytes that are read at a time."""
ROWS = 4096
"""Rows that fit before it is known how many there are about."""
ROW = 2**16
"""Bytes in which a row is looked for first, so that not the whole file is."""
TEMPLATES = 64
"""Changes of the rows' form within a file, after which it is decoded the slow way."""
SMALL = 2**20
"""Bytes of a file below which decoding is as fast as loading the kernel."""

_BOX = {f"bbox.{place}": (NUMBER, "box", place) for place in range(4)}
RESULTS: Fields = {
    "image_id": (INTEGER, "image", 0),
    "category_id": (INTEGER, "category", 0),
    "score": (NUMBER, "score", 0),
    **_BOX,
    **{f"segmentation.size.{place}": (INTEGER, "size", place) for place in range(2)},
    "segmentation.counts": (TEXT, "counts", 0),
}
RESULT_WIDTHS = {"image": 1, "category": 1, "score": 1, "box": 4, "size": 2}
TRUTHS: Fields = {
    **{path: (INTEGER, name, 0) for path, name in (("image_id", "image"), ("category_id", "category"), ("id", "id"))},
    **{path: (INTEGER, name, 0) for path, name in (("iscrowd", "crowd"), ("ignore", "ignore"))},
    "area": (NUMBER, "area", 0),
    **_BOX,
    "segmentation": (NESTED, "shape", 0),
}
TRUTH_WIDTHS = {"image": 1, "category": 1, "id": 1, "area": 1, "box": 4, "crowd": 1, "ignore": 1, "shape": 2}
_BLANKS = {"box": int(np.array(np.nan).view(np.int64)), "size": -1, "crowd": 0, "ignore": 0}
"""What stands in a column where rows do not state it."""


def _whole_result(found: set[tuple[str, int]]) -> bool:
    box, mask = ({target for target in found if target[0] in names} for names in ({"box"}, {"size", "counts"}))
    return len(found) - len(box) - len(mask) == 3 and len(box) in (0, 4) and len(mask) in (0, 3)


def _whole_truth(found: set[tuple[str, int]]) -> bool:
    return {name for name, _ in found} >= TRUTH_WIDTHS.keys() - _BLANKS.keys() and len([name for name, _ in found if name == "box"]) == 4


class Columns:
    """Columns of numbers that grow, in one array: what rows are written to."""

    def __init__(self, widths: Mapping[str, int], rows: int) -> None:
        self.widths, self.rows = widths, rows
        self.values = np.empty(rows * sum(widths.values()) + 2, np.int64)  # two for what nobody asked for
        self.ends = np.empty(rows, np.int64)

    def base(self, name: str) -> int:
        """Where a column begins."""
        names = list(self.widths)
        return self.rows * sum(self.widths[other] for other in names[: names.index(name)])

    def column(self, name: str) -> NDArray[np.int64]:
        """int64[rows, width], a view."""
        return self.values[self.base(name) :][: self.rows * self.widths[name]].reshape(self.rows, -1)

    def slots(self, template: Template) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the values of a template go: bases and steps."""
        nobody = len(self.values) - 2, 0
        places = [
            (self.base(target[0]) + target[1], self.widths[target[0]]) if target and target[0] in self.widths else nobody
            for target in template.targets
        ]
        table = np.array(places, np.int64).reshape(-1, 2)
        return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])

    def blank(self, template: Template, start: int, stop: int) -> None:
        """Fills in what rows of a form do not state."""
        for name in self.widths.keys() - {name for name, _ in template.found}:
            self.column(name)[start:stop] = _BLANKS[name]

    def grown(self, rows: int, used: int) -> Columns:
        """The same with room for more rows."""
        more = Columns(self.widths, rows)
        for name in self.widths:
            more.column(name)[:used] = self.column(name)[:used]
        more.ends[:used] = self.ends[:used]
        return more


class Scan:
    """A scan under way: the columns so far, and the form of the rows.

    Args:
        fields, widths: What is looked for, and how many numbers a row has in each column.
        fits: Whether rows of a form can be used, from the columns and places that it fills.
        size: Bytes in all.
        text: Where counts strings go.
    """

    def __init__(self, fields: Fields, widths: Mapping[str, int], fits: Callable[[set], bool], size: int, text: NDArray[np.uint8]) -> None:
        self.fields, self.fits, self.size, self.text = fields, fits, size, text
        self.columns = Columns(widths, ROWS)
        self.state = np.zeros(4, np.int64)
        self.template: Template | None = None
        self.templates = 0

    @property
    def rows(self) -> int:
        """Rows so far."""
        return int(self.state[0])

    def go_on(self, data: NDArray[np.uint8], start: int, stop: int, before: int) -> tuple[int, int]:
        """Scans more bytes; `before` bytes were scanned before them.

        Returns:
            Where to go on, and why the scan ended: MORE, DONE or UNUSUAL.
        """
        self.state[2] = start
        while True:
            if self.template is not None:
                first = self.rows
                self.state[3] = first > 0
                form = self.template.words, self.template.word_ends, self.template.kinds
                out = *self.columns.slots(self.template), self.columns.values, self.text, self.columns.ends
                coco_rows.scan_rows(data, stop, *form, *out, self.state)
                self.columns.blank(self.template, first, self.rows)
            _, _, at, why = self.state.tolist()
            if self.template is None or why == coco_rows.UNUSUAL:
                if not self._learn(data[at:stop]):
                    return at, coco_rows.UNUSUAL
            elif why == coco_rows.FULL:
                self.columns = self.columns.grown(max(2 * self.rows, int(1.05 * self.rows * self.size / (before + at))), self.rows)
            else:
                return at, why

    def _learn(self, data: NDArray[np.uint8]) -> bool:
        """Takes the form of the row that begins the data, or stands behind the comma that does."""
        known = self.template
        for part in (data[:ROW], data):
            self.template = learned(part.tobytes().decode("latin-1").lstrip(" \t\r\n,"), self.fields)
            if self.template is not None:
                break
        self.templates += 1
        if self.template is None or self.templates > TEMPLATES or not self.fits(self.template.found):
            return False
        return known is None or not self.template.same(known)


def scan(
    path: str | os.PathLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], Segmentations] | None:
    """Image ids, category ids, scores, boxes and masks of a results file; None where it is not of the plain form, or damaged."""
    size = os.path.getsize(path)
    run = Scan(RESULTS, RESULT_WIDTHS, _whole_result, size, np.empty(size, np.uint8))
    with open(path, "rb", buffering=0) as file:
        piece = np.zeros(min(PIECE, size) + 2, np.uint8)  # two zeros stand behind what was read
        filled = taken = file.readinto(piece[:-2].data) or 0
        start = _opening(piece[:filled])
        while start >= 0:
            at, why = run.go_on(piece, start, filled, taken - filled)
            if why == coco_rows.DONE:
                behind = piece[at + 1 : filled].tobytes() + file.read()
                return None if behind.strip() else _result_columns(run)
            if why == coco_rows.UNUSUAL or (at == 0 and filled == len(piece) - 2):
                return None
            rest = piece[at:filled].copy()  # the rest of a row that is cut moves to the front
            piece[: len(rest)] = rest
            more = file.readinto(piece[len(rest) : min(len(piece) - 2, len(rest) + size - taken)].data) or 0
            if not more:
                return None
            start, filled, taken = 0, len(rest) + more, taken + more
            piece[filled : filled + 2] = 0
    return None


def scan_truth(annotations: memoryview) -> tuple[NDArray, ...] | None:
    """The columns of `Annotations` from the array of them, valid JSON within bytes that go on; None where it is not of the plain form."""
    data = np.frombuffer(annotations, np.uint8)
    run = Scan(TRUTHS, TRUTH_WIDTHS, _whole_truth, len(data), np.empty(0, np.uint8))
    if not len(data) or data[0] != ord("[") or run.go_on(data, 1, len(data), 0)[1] != coco_rows.DONE:
        return None
    of = {name: run.columns.column(name)[: run.rows] for name in TRUTH_WIDTHS}
    images, categories, ids, areas, crowds, ignored = (of[name][:, 0] for name in ("image", "category", "id", "area", "crowd", "ignore"))
    starts, stops = np.ascontiguousarray(of["shape"].T)
    return (
        *(images, categories, ids, areas.view(np.float64), of["box"].view(np.float64)),
        *((crowds != 0).astype(np.int8), ignored != 0, data, starts, stops),
    )


def _opening(head: NDArray[np.uint8]) -> int:
    """The byte behind the bracket that opens the array, or -1."""
    text = head[:1024].tobytes()
    body = text.lstrip(b" \t\r\n")
    return len(text) - len(body) + 1 if body.startswith(b"[") else -1


def _result_columns(
    run: Scan,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], Segmentations] | None:
    of = {name: run.columns.column(name)[: run.rows] for name in RESULT_WIDTHS}
    sizes = of["size"]
    if (sizes > 2**31 - 1).any() or (sizes < -1).any():
        return None
    stops = run.columns.ends[: run.rows]
    starts = np.concatenate((np.zeros(min(1, run.rows), np.int64), stops[:-1]))
    kinds = np.where(sizes[:, 0] >= 0, COUNTS, NONE).astype(np.uint8)
    segmentations = Segmentations(run.text[: run.state[1]], starts, stops, kinds, sizes.astype(np.int32))
    return of["image"][:, 0], of["category"][:, 0], of["score"][:, 0].view(np.float64), of["box"].view(np.float64), segmentations
