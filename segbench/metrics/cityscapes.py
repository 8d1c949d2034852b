"""The two further scores of the Cityscapes benchmark: category IoU, and IoU weighted by instance size (iIoU).

Float order follows cityscapesScripts: images in order, instances by ascending id, one running sum per class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import InputError, LabelError
from segbench.evidence import Evidence
from segbench.samples import LabelMap


def instance_categories(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Class indices of the categories of which every class has instances; only they have an iIoU."""
    return {name: members for name, members in dataset.groups.items() if all(dataset.evaluated[index].isthing for index in members)}


def average_sizes_px(dataset: Dataset) -> NDArray[np.float64]:
    """float64[C]: mean instance size of each class in pixels; NaN where the data set gives none."""
    return np.array([np.nan if row.average_size_px is None else row.average_size_px for row in dataset.evaluated])


def instance_rows(pred: LabelMap, gt: LabelMap, dataset: Dataset) -> dict[str, NDArray]:
    """One row per evaluated ground-truth instance: class, size, pixels predicted as its class, and as its category; ids ascending.

    Instance ids are `label * divisor + number`. Ids up to the divisor stand for regions without instances and are left out, as are classes
    that are not evaluated.

    Raises:
        InputError: the image has no instance ids, or the data set gives no instance sizes.
        LabelError: an instance id whose class the data set lacks or gives no average size for.
    """
    divisor = dataset.label_divisor or 1000
    sizes_px = average_sizes_px(dataset)
    if gt.instances is None or np.isnan(sizes_px).all():
        raise InputError(
            f"image {gt.id}: instance-level IoU needs " + ("instance ids" if gt.instances is None else "average instance sizes"),
            files=[("gt", gt.file)] if gt.file else [],
            hint="put *_instanceIds.png beside *_labelIds.png"
            if gt.instances is None
            else "use --dataset cityscapes, or add average_size_px",
        )
    inside = gt.instances > divisor
    keys = gt.instances[inside].astype(np.int64) << 32 | pred.values[inside].astype(np.int64) & 0xFFFFFFFF
    pairs, pixels = np.unique(keys, return_counts=True)
    instance, value = pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    ids, at = np.unique(instance, return_inverse=True)
    labels = dataset.value_map("label").classes(ids // divisor)
    lacking = (labels < 0) | np.isnan(np.append(sizes_px, 0.0)[labels])
    if lacking.any():
        raise LabelError(
            f"image {gt.id}: instance {ids[lacking][0]} is of label {ids[lacking][0] // divisor}, which {dataset.name} has no instances of",
            files=[("gt", gt.file)] if gt.file else [],
            code="SB110",
            count=int(lacking.sum()),
        )
    guesses = pred.meaning.classes(value)
    group = np.arange(dataset.num_classes + 1) + len(dataset.classes)
    for number, members in enumerate(instance_categories(dataset).values()):
        group[list(members)] = number
    rows = np.zeros((3, len(ids)), np.int64)
    np.add.at(rows[0], at, pixels)
    np.add.at(rows[1], at, np.where(guesses == labels[at], pixels, 0))
    np.add.at(rows[2], at, np.where(group[guesses] == group[labels[at]], pixels, 0))
    kept = labels < dataset.num_classes
    size, tp, category_tp = rows[:, kept]
    return {"class": labels[kept].astype(np.int32), "size": size, "tp": tp, "category_tp": category_tp}


def category_ious(matrix: NDArray[np.int64], dataset: Dataset) -> dict[str, float]:
    """TP / (TP + FP + FN) where any class of the category is right for any other of it. NaN with neither ground truth nor prediction."""
    labelled, scores = matrix[:-1], {}
    for name, members in dataset.groups.items():
        tp = labelled[np.ix_(members, members)].sum()
        union = labelled[list(members)].sum() + labelled[:, members].sum() - tp
        scores[name] = float(tp) / float(union) if union else np.nan
    return scores


def instance_ious(evidence: Evidence, matrix: NDArray[np.int64], dataset: Dataset) -> tuple[NDArray[np.float64], dict[str, float]]:
    """iIoU per class, and per category whose classes all have instances.

    iIoU = weighted TP / (weighted TP + FP + weighted FN); an instance's pixels weigh (average size of its class) / (its own size). False
    positives are counted in pixels. NaN for classes without instances, and with neither instances nor false positives.
    """
    table, sizes_px = evidence.rows("instances"), average_sizes_px(dataset)
    weights = sizes_px[table["class"]] / table["size"].astype(np.float64)
    labelled = matrix[:-1]
    classes = np.full(dataset.num_classes, np.nan)
    for index in np.flatnonzero(~np.isnan(sizes_px)):
        rows = table["class"] == index
        false_positives = labelled[:, index].sum() - labelled[index, index]
        classes[index] = _weighted_iou(table["tp"][rows], table["size"][rows], weights[rows], false_positives)
    groups = {}
    for name, members in instance_categories(dataset).items():
        rows = np.isin(table["class"], members)
        outside = np.delete(labelled, members, axis=0)
        groups[name] = _weighted_iou(table["category_tp"][rows], table["size"][rows], weights[rows], outside[:, members].sum())
    return classes, groups


def _weighted_iou(tp: NDArray, size: NDArray, weights: NDArray, false_positives: np.integer) -> float:
    right = np.add.accumulate(tp * weights)[-1] if len(tp) else 0.0
    missed = np.add.accumulate((size - tp) * weights)[-1] if len(tp) else 0.0
    union = right + false_positives + missed
    return float(right / union) if union else np.nan
