"""What looks like a mistake in the evidence of instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table
from segbench.metrics.instance.pairs import FAMILIES, FLOOR, pair_table
from segbench.protocols.instance import InstanceRules

MARGIN_PX, ODD, LOOKED_AT = 2, 0.05, 20_000
"""How far boxes may reach beyond their image; the share of odd boxes beyond which something is wrong with all; rows that tell the share."""


def suspicions(evidence: Evidence, dataset: Dataset, rules: InstanceRules) -> list[str]:
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
    beyond = _beyond(detections, rules, evidence.num_classes)
    if beyond:
        found.append(
            f"{beyond} detections do not count: there are more than {rules.most} in their image"
            + (" and category" if rules.categories == "each" else "")
            + " [SB141]"
        )
    for noun, table in (("detections", detections), ("annotations", truths)):
        found += _odd_boxes(noun, table, evidence.images.sizes)
    pairs = [evidence.rows(pair_table(family)) for family in FAMILIES if pair_table(family) in evidence.tables]
    if len(detections["image"]) and len(truths["image"]) and pairs and not any(len(table["image"]) for table in pairs):
        found.append(
            "no detection overlaps a ground truth of its category enough: categories may be numbered differently, or masks transposed; "
            "--metrics analysis compares across categories [SB111]"
        )
    return found


def _beyond(detections: Table, rules: InstanceRules, num_classes: int) -> int:
    """Detections behind the best of their image, and of their category where each is by itself."""
    per_image = np.bincount(detections["image"], minlength=1)
    if per_image.max() <= rules.most:
        return 0
    crowded = np.flatnonzero(per_image[detections["image"]] > rules.most)
    key = detections["image"][crowded].astype(np.int64)
    if rules.categories == "each":
        key = key * num_classes + detections["category"][crowded]
    return int(np.maximum(np.unique(key, return_counts=True)[1] - rules.most, 0).sum())


def _odd_boxes(noun: str, table: Table, sizes: NDArray[np.int32]) -> list[str]:
    """Sentences about boxes that reach beyond their image, or are smaller than the mask in them."""
    every = slice(None, None, 1 + len(table["image"]) // LOOKED_AT)
    found = []
    for odd, told in (
        (_beyond_image, "reach beyond their image: COCO's are [x, y, width, height], not [left, top, right, bottom]"),
        (_smaller_than_mask, "are smaller than their mask"),
    ):
        some = odd(table, sizes, every)
        if len(some) and some.mean() > ODD:
            found.append(f"{int(odd(table, sizes, slice(None)).sum())} boxes of {noun} {told} [SB172]")
    return found


def _beyond_image(table: Table, sizes: NDArray[np.int32], rows: slice) -> NDArray[np.bool_]:
    box, size = table["box"][rows], sizes[table["image"][rows]]
    wide, high = box[:, 0] + box[:, 2] > size[:, 1] + MARGIN_PX, box[:, 1] + box[:, 3] > size[:, 0] + MARGIN_PX
    return (size[:, 0] >= 0) & (wide | high)


def _smaller_than_mask(table: Table, sizes: NDArray[np.int32], rows: slice) -> NDArray[np.bool_]:
    # a box of an integer mask may be drawn through the middle of its outermost pixels
    box, area = table["box"][rows], table["mask_area"][rows]
    return (area > 0) & (area > (np.maximum(box[:, 2], 0) + 1) * (np.maximum(box[:, 3], 0) + 1))


def _repeated(detections: Table) -> int:
    """Detections that equal the one before them in all that the evidence holds."""
    if len(detections["image"]) < 2:
        return 0
    same = (detections["box"][1:] == detections["box"][:-1]).all(1)
    for name in ("image", "category", "score", "mask_area"):
        same &= detections[name][1:] == detections[name][:-1]
    return int(same.sum())


FEW, ENOUGH = 0.1, 10
"""Share of ground truths found below which categories may be numbered differently; ground truths and pairs that say anything."""


def hardly_any_found(evidence: Evidence) -> bool:
    """Whether detections of its category reach an IoU of 0.50 with hardly any ground truth."""
    truths = evidence.rows("ground_truths")
    family = next((family for family in FAMILIES if pair_table(family) in evidence.tables), None)
    if family is None or min(len(truths["image"]), len(evidence.rows("detections")["image"])) < ENOUGH:
        return False
    _, _, found, same = _overlapping(evidence, family)
    return len(np.unique(found[same])) < FEW * len(truths["image"])


def best_overlaps(evidence: Evidence, family: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Categories of each detection with an IoU of 0.50 to a ground truth of any category, and of the one of highest IoU."""
    iou, detection, truth, _ = _overlapping(evidence, family)
    order = np.lexsort((-iou, detection))
    first = order[np.diff(detection[order], prepend=-1) != 0]
    return evidence.rows("detections")["category"][detection[first]], evidence.rows("ground_truths")["category"][truth[first]]


def _overlapping(evidence: Evidence, family: str) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """IoU, detection and ground truth of the pairs from an IoU of 0.50 on, and whether both are of one category."""
    table = evidence.rows(pair_table(family))
    iou = table["intersection"] / table["union"]
    near = iou >= FLOOR
    detection = (evidence.starts("detections")[table["image"]] + table["detection"])[near]
    truth = (evidence.starts("ground_truths")[table["image"]] + table["gt"])[near]
    same = evidence.rows("detections")["category"][detection] == evidence.rows("ground_truths")["category"][truth]
    return iou[near], detection, truth, same
