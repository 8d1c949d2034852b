"""What a panoptic prediction is worth as a label map and as instances: evidence of the other tasks, from the same counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table
from segbench.instances import CROWD
from segbench.metrics.instance_pairs import empty_tables, pair_table
from segbench.metrics.panoptic_analysis import semantic_evidence

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
    tables[pair_table("segm")] = _pairs(evidence, sides, table)
    return Evidence("instance", evidence.num_classes, evidence.images, tables)


def _pairs(evidence: Evidence, sides: list[NDArray[np.int64]], table: Table) -> Table:
    """Overlapping things, numbered within their image and side."""
    overlaps = evidence.rows("overlaps")
    rows: list[NDArray[np.int64]] = []
    local: list[NDArray[np.int64]] = []
    for side, name in ((GT, "gt"), (PRED, "pred")):
        of_side = np.flatnonzero(table["side"] == side)
        starts = np.searchsorted(table["image"][of_side], np.arange(len(evidence.images)))
        at = starts[overlaps["image"]] + overlaps[name].astype(np.int64) - 1
        row = np.where(overlaps[name] > 0, of_side[np.where(overlaps[name] > 0, at, 0)] if len(of_side) else -1, -1)
        number = np.full(len(table["image"]) + 1, -1, np.int64)
        first = np.searchsorted(table["image"][sides[side]], np.arange(len(evidence.images)))
        number[sides[side]] = np.arange(len(sides[side])) - first[table["image"][sides[side]]]
        rows.append(row)
        local.append(number[row])
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
