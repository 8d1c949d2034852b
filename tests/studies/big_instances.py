"""Instance evidence of the size of COCO val2017, made from random numbers: for timing."""

from __future__ import annotations

import numpy as np

from segbench.evidence import Evidence, Images
from segbench.metrics.instance_pairs import columns_of, empty_tables


def instances(num_images=5000, num_classes=80, num_truths=37_000, num_detections=87_000, seed=0, families=("segm",), truth_seed=0):
    """Evidence with as many images, classes, ground truths and detections; seven of ten detections overlap a ground truth."""
    truths, rng = np.random.default_rng(truth_seed), np.random.default_rng(seed + 1)
    share = 1 / np.arange(1, num_classes + 1)
    gt_image = np.sort(truths.integers(0, num_images, num_truths)).astype(np.int32)
    gt_category = truths.choice(num_classes, num_truths, p=share / share.sum()).astype(np.int32)
    gt_area = np.exp(truths.normal(7.5, 1.8, num_truths)).astype(np.int64) + 10
    first = np.searchsorted(gt_image, np.arange(num_images + 1))

    chosen = rng.integers(0, num_truths, num_detections)
    near = rng.random(num_detections) < 0.7
    image = np.where(near, gt_image[chosen], rng.integers(0, num_images, num_detections)).astype(np.int32)
    category = np.where(near, gt_category[chosen], rng.choice(num_classes, num_detections, p=share / share.sum())).astype(np.int32)
    iou = np.clip(rng.beta(4, 2, num_detections), 0.02, 0.99)
    score = np.clip(np.where(near, iou, 0.2) + rng.normal(0, 0.2, num_detections), 0, 1)
    order = np.argsort(image, kind="stable")
    image, category, iou, score, chosen, near = (values[order] for values in (image, category, iou, score, chosen, near))
    start = np.searchsorted(image, np.arange(num_images + 1))

    tables = empty_tables(families)

    def filled(name, **columns):
        for column, values in tables[name].items():
            length = len(columns["image"])
            given = columns.get(column)
            tables[name][column] = (
                np.zeros((length, *values.shape[1:]), values.dtype) if given is None else np.asarray(given).astype(values.dtype)
            )

    filled("ground_truths", image=gt_image, category=gt_category, area=gt_area, mask_area=gt_area, id=np.arange(1, num_truths + 1))
    filled("detections", image=image, category=category, score=score, mask_area=gt_area[chosen])
    filled("collected", image=np.arange(num_images), floor=np.full(num_images, 0.5))
    rows = np.flatnonzero(near & (iou >= 0.5))
    for family in families:
        name = next(name for name in columns_of((family,)) if name not in columns_of(()))
        filled(
            name,
            image=image[rows],
            detection=rows - start[image[rows]],
            gt=chosen[rows] - first[gt_image[chosen[rows]]],
            intersection=(1e6 * iou[rows]).astype(np.int64),
            union=np.full(len(rows), 1_000_000),
        )
    images = Images(tuple(range(1, num_images + 1)), np.arange(num_images), np.full((num_images, 2), 512, np.int32))
    return Evidence("instance", num_classes, images, tables)
