"""Results files of the plain form, scanned piece by piece into columns; memory beyond the columns does not grow with the file."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.coco_masks import COUNTS, NONE, Segmentations
from segbench.kernels import coco_rows

PIECE = 4 * 2**20
"""Bytes that are read at a time."""
ROWS = 65536
"""Rows that a piece may give before its columns are put aside."""


def scan(
    path: str | os.PathLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], Segmentations] | None:
    """Image ids, category ids, scores, boxes and masks of a results file; None where it is not of the plain form, or damaged."""
    size = os.path.getsize(path)
    text = np.empty(size, np.uint8)
    parts: list[tuple[NDArray, ...]] = []
    state = np.zeros(4, np.int64)
    with open(path, "rb", buffering=0) as file:
        piece = np.empty(min(PIECE, size + 1), np.uint8)
        filled = file.readinto(piece.data) or 0
        start = _opening(piece[:filled])
        if start < 0:
            return None
        columns = _columns()
        while True:
            state[3] = state[0] > 0 or bool(parts)
            coco_rows.scan_rows(piece, start, filled, *columns[:4], text, columns[4], state)
            _, _, at, why = state.tolist()
            if why == coco_rows.UNUSUAL:
                return None
            if why in (coco_rows.FULL, coco_rows.DONE) or state[0] > ROWS // 2:
                parts.append(tuple(column[: state[0]].copy() for column in columns))
                columns[2].fill(_NAN_BITS)
                state[0] = 0
            if why == coco_rows.DONE:
                behind = piece[at + 1 : filled].tobytes() + file.read()
                return None if behind.strip() else _joined(parts, text[: state[1]])
            if why == coco_rows.FULL:
                start = at
                continue
            # the rest of an object that is cut moves to the front
            rest = piece[at:filled].copy()
            if at == 0 and filled == len(piece):
                return None
            piece[: len(rest)] = rest
            more = file.readinto(piece[len(rest) :].data) or 0
            if not more:
                return None
            start, filled = 0, len(rest) + more


_NAN_BITS = np.array(np.nan).view(np.int64)


def _columns() -> tuple[NDArray, ...]:
    return (
        np.empty((ROWS, 2), np.int64),
        np.empty(ROWS, np.int64),
        np.full((ROWS, 4), _NAN_BITS, np.int64),
        np.empty((ROWS, 2), np.int32),
        np.empty(ROWS, np.int64),
    )


def _opening(head: NDArray[np.uint8]) -> int:
    """The byte behind the bracket that opens the array, or -1."""
    text = head[:1024].tobytes()
    body = text.lstrip(b" \t\r\n")
    return len(text) - len(body) + 1 if body.startswith(b"[") else -1


def _joined(
    parts: list[tuple[NDArray, ...]], text: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], Segmentations]:
    ids, scores, boxes, sizes, stops = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    starts = np.concatenate((np.zeros(min(1, len(stops)), np.int64), stops[:-1]))
    kinds = np.where(sizes[:, 0] >= 0, COUNTS, NONE).astype(np.uint8)
    images, categories = np.ascontiguousarray(ids.T)
    return images, categories, scores.view(np.float64), boxes.view(np.float64), Segmentations(text, starts, stops, kinds, sizes)
