"""Instance evidence of detectors that do not exist, as large and as uneven as COCO's: for studies and timing."""

from __future__ import annotations

import numpy as np

from segbench.evidence import Evidence, Images
from segbench.metrics.instance.pairs import columns_of, empty_tables


def instances(num_images=5000, num_classes=80, seed=0, difficulty=1.0, skill=1.0, false_ones=10.0):
    """Evidence of one detector: about 7.3 ground truths in an image of 2.9 classes, frequent and rare ones.

    The larger an object and the easier its class and its image, the more often, the better and the surer it is
    found; one in ten is found twice.
    Some false ones are surer than true ones, and half of them are of a class of the image. With the defaults AP is 0.41.

    Args:
        seed: The detector's own; the ground truth is the same for all.
        difficulty: Spread of what images take away from every detector, in logits; 0: all are equally hard.
        skill: Logits that the detector adds.
        false_ones: How many of them in an image.
    """
    truths, found = np.random.default_rng(0), np.random.default_rng(seed + 1)
    share = 1 / np.arange(1, num_classes + 1)
    share /= share.sum()
    hard = truths.normal(0, 1, num_images) * difficulty
    of = np.repeat(np.arange(num_images), 1 + truths.poisson(1.9, num_images))
    label = truths.choice(num_classes, len(of), p=share)
    many = truths.geometric(1 / 2.5, len(of))
    gt_image, gt_class = np.repeat(of, many), np.repeat(label, many)
    gt_area = np.exp(truths.normal(7.5, 1.8, len(gt_image))).astype(np.int64) + 10
    first = np.searchsorted(gt_image, np.arange(num_images + 1))
    easy = skill - hard[gt_image] - truths.normal(0, 0.7, num_classes)[gt_class] + 0.35 * (np.log(gt_area) - 7.5)

    quality = easy + found.normal(0, 1, len(easy))
    once = np.flatnonzero(found.random(len(easy)) < _logistic(quality + 1.5))
    twice = once[found.random(len(once)) < 0.1]
    chosen = np.concatenate((once, twice))
    iou = _logistic(0.8 + 0.5 * quality[chosen] + found.normal(0, 0.6, len(chosen)))
    iou[len(once) :] *= 0.8
    sure = 0.9 * quality[chosen] + found.normal(0, 1, len(chosen))

    where = np.repeat(np.arange(num_images), found.poisson(false_ones * np.exp(0.4 * hard - 0.08)))
    beside = first[where] + (found.random(len(where)) * np.diff(first)[where]).astype(np.int64)
    guessed = np.where(found.random(len(where)) < 0.5, gt_class[beside], found.choice(num_classes, len(where), p=share))

    image = np.concatenate((gt_image[chosen], where))
    category = np.concatenate((gt_class[chosen], guessed))
    score = _logistic(np.concatenate((sure, found.normal(-2, 1.1, len(where)))))
    iou = np.concatenate((iou, np.zeros(len(where))))
    gt = np.concatenate((chosen, beside))
    order = np.argsort(image, kind="stable")
    image, category, score, iou, gt = (values[order] for values in (image, category, score, iou, gt))
    start = np.searchsorted(image, np.arange(num_images + 1))

    tables = empty_tables(("segm",))

    def filled(name, **columns):
        for column, values in tables[name].items():
            length = len(columns["image"])
            given = columns.get(column)
            tables[name][column] = (
                np.zeros((length, *values.shape[1:]), values.dtype) if given is None else np.asarray(given).astype(values.dtype)
            )

    filled("ground_truths", image=gt_image, category=gt_class, area=gt_area, mask_area=gt_area, id=np.arange(1, len(gt_image) + 1))
    filled("detections", image=image, category=category, score=score, mask_area=gt_area[gt])
    filled("collected", image=np.arange(num_images), floor=np.full(num_images, 0.5))
    rows = np.flatnonzero(iou >= 0.5)
    pairs = next(name for name in columns_of(("segm",)) if name not in columns_of(()))
    filled(
        pairs,
        image=image[rows],
        detection=rows - start[image[rows]],
        gt=gt[rows] - first[image[rows]],
        intersection=(1e6 * iou[rows]).astype(np.int64),
        union=np.full(len(rows), 1_000_000),
    )
    images = Images(tuple(range(1, num_images + 1)), np.arange(num_images), np.full((num_images, 2), 512, np.int32))
    return Evidence("instance", num_classes, images, tables)


def _logistic(values):
    return 1 / (1 + np.exp(-values))
