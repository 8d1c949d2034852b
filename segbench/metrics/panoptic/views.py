"""What a panoptic prediction is worth as a label map and as instances: evidence of the other tasks, from the same counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table
from segbench.instances import CROWD
from segbench.metrics.instance.pairs import VOID, empty_tables, pair_table
from segbench.metrics.panoptic.analysis import semantic_evidence
from segbench.metrics.panoptic.segments import VOID as NOTHING

GT, PRED = 0, 1


def views(evidence: Evidence, dataset: Dataset) -> dict[str, Evidence]:
    """The evidence of a panoptic prediction for every task."""
    return {
        "panoptic": evidence,
        "semantic": semantic_evidence(evidence),
        "instance": instance_evidence(evidence, dataset),
    }


def instance_evidence(evidence: Evidence, dataset: Dataset) -> Evidence:
    """The things of panoptic maps as instances compared by their masks.

    Panoptic segments have no scores: all are 1, so that their order in the file decides between them. Void in the ground truth is no
    part of any mask, as in COCO.
    """
    table = evidence.rows("segments")
    things = np.array([*(thing is True for thing in dataset.isthing), False])[table["class"]]
    sides = [np.flatnonzero(things & (table["side"] == side)) for side in (GT, PRED)]
    tables = empty_tables(("segm",))
    for name, rows in (("ground_truths", sides[GT]), ("detections", sides[PRED])):
        area = table["area"][rows]
        tables[name] |= {
            "image": table["image"][rows].astype(np.int32),
            "category": table["class"][rows].astype(np.int32),
            "id": np.arange(1, len(rows) + 1),  # segment ids repeat from image to image
            "area": area.astype(np.float64),
            "mask_area": area.astype(np.int64),
            "box": np.zeros((len(rows), 4)),
            "flags": np.where((table["crowd"][rows] > 0) & (name == "ground_truths"), CROWD, 0).astype(np.uint8),
        }
    tables["detections"]["score"] = np.ones(len(sides[PRED]))
    images = np.arange(len(evidence.images), dtype=np.int32)
    tables["collected"] = {"image": images, "floor": np.zeros(len(images)), "cross": np.zeros(len(images), np.uint8)}
    gt, pred = (_numbers(evidence, side, sides[side], name) for side, name in ((GT, "gt"), (PRED, "pred")))
    tables[pair_table("segm")] = _pairs(evidence, (gt[0], pred[0]), (gt[1], pred[1]))
    tables[VOID] = _on_void(evidence, pred[1])
    return Evidence("instance", evidence.num_classes, evidence.images, tables)


def _numbers(evidence: Evidence, side: int, things: NDArray[np.int64], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every overlap the row of its segment on a side, and that segment's number among the things of its image; -1 where it is none."""
    table, overlaps = evidence.rows("segments"), evidence.rows("overlaps")
    images = np.arange(len(evidence.images))
    of_side = np.flatnonzero(table["side"] == side)
    starts = np.searchsorted(table["image"][of_side], images)
    at = starts[overlaps["image"]] + overlaps[name].astype(np.int64) - 1
    row = np.where(overlaps[name] > 0, of_side[np.where(overlaps[name] > 0, at, 0)] if len(of_side) else -1, -1)
    number = np.full(len(table["image"]) + 1, -1, np.int64)
    first = np.searchsorted(table["image"][things], images)
    number[things] = np.arange(len(things)) - first[table["image"][things]]
    return row, number[row]


def _on_void(evidence: Evidence, local: NDArray[np.int64]) -> Table:
    """How much of each predicted thing lies on void."""
    overlaps = evidence.rows("overlaps")
    rows = np.flatnonzero((overlaps["gt"] == NOTHING) & (local >= 0))
    rows = rows[np.lexsort((local[rows], overlaps["image"][rows]))]
    columns = overlaps["image"][rows].astype(np.int32), local[rows].astype(np.int32), overlaps["pixels"][rows].astype(np.int64)
    return dict(zip(("image", "detection", "pixels"), columns, strict=True))


def _pairs(evidence: Evidence, rows: Sequence[NDArray[np.int64]], local: Sequence[NDArray[np.int64]]) -> Table:
    """Overlapping things, numbered within their image and side."""
    table, overlaps = evidence.rows("segments"), evidence.rows("overlaps")
    keep = (local[GT] >= 0) & (local[PRED] >= 0)
    keep[keep] = table["class"][rows[GT][keep]] == table["class"][rows[PRED][keep]]
    gt, pred, intersection = rows[GT][keep], rows[PRED][keep], overlaps["pixels"][keep].astype(np.int64)
    area = table["area"].astype(np.int64)
    union = np.where(table["crowd"][gt] > 0, area[pred], area[pred] + area[gt] - intersection)
    order = np.lexsort((local[GT][keep], local[PRED][keep], overlaps["image"][keep]))
    columns: Table = {
        "image": overlaps["image"][keep].astype(np.int32),
        "detection": local[PRED][keep].astype(np.int32),
        "gt": local[GT][keep].astype(np.int32),
        "intersection": intersection,
        "union": union,
    }
    return {name: column[order] for name, column in columns.items()}
