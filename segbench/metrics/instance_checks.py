"""What looks like a mistake in the evidence of instances."""

from __future__ import annotations

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table
from segbench.metrics.instance_pairs import FAMILIES, pair_table


def suspicions(evidence: Evidence, dataset: Dataset) -> list[str]:
    """Sentences for the user."""
    truths, detections = evidence.rows("ground_truths"), evidence.rows("detections")
    found = []
    if (truths["id"] == 0).any():
        found.append(
            "an annotation has the id 0: pycocotools, and the protocol coco, do not count matches with it; "
            "--protocol coco-corrected does [SB121]"
        )
    repeated = _repeated(detections)
    if repeated:
        found.append(f"{repeated} detections are the same as the one before them in the file [SB141]")
    pairs = [evidence.rows(pair_table(family)) for family in FAMILIES if pair_table(family) in evidence.tables]
    if len(detections["image"]) and len(truths["image"]) and pairs and not any(len(table["image"]) for table in pairs):
        found.append(
            "no detection overlaps a ground truth of its category enough: categories may be numbered differently, or masks transposed; "
            "--metrics analysis compares across categories [SB111]"
        )
    return found


def _repeated(detections: Table) -> int:
    """Detections that equal the one before them in all that the evidence holds."""
    if len(detections["image"]) < 2:
        return 0
    same = (detections["box"][1:] == detections["box"][:-1]).all(1)
    for name in ("image", "category", "score", "mask_area"):
        same &= detections[name][1:] == detections[name][:-1]
    return int(same.sum())
