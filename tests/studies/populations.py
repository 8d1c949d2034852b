"""Evidence of models that do not exist, with known truth: images differ in difficulty and content, as real ones do."""

from __future__ import annotations

import numpy as np

from segbench.evidence import Evidence, Images


def labels(num_images, num_classes, seed=0, classes_per_image=6):
    """Ground-truth pixels int64[N, C]: frequent and rare classes, few per image."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, num_classes + 1)
    scores = rng.random((num_images, num_classes)) ** (1 / share)
    kept = np.argsort(-scores, 1)[:, : min(classes_per_image, num_classes)]
    pixels = np.zeros((num_images, num_classes), np.int64)
    np.put_along_axis(pixels, kept, rng.gamma(1.5, 800, kept.shape).astype(np.int64) + 20, 1)
    return pixels


def semantic(pixels, seed=0, skill=1.2, noise=0.7, difficulty=None, clusters=None):
    """Semantic evidence of a model: a share of the pixels of each class is right, the others go to other classes of the image.

    Args:
        pixels: int64[N, C], see `labels`.
        skill: Logit of the share of right pixels on an image of mean difficulty.
        noise: Spread of the logit between classes of an image; the model's own.
        difficulty: float64[N], logit that images take away from every model.
        clusters: int64[N]; images of a cluster share a part of their difficulty.
    """
    rng = np.random.default_rng(seed)
    num_images, num_classes = pixels.shape
    hard = np.zeros(num_images) if difficulty is None else difficulty
    if clusters is not None:
        hard = hard + np.random.default_rng(99).normal(0, 1.0, clusters.max() + 1)[clusters]
    logit = skill - hard[:, None] + rng.normal(0, noise, pixels.shape)
    right = (pixels / (1 + np.exp(-logit))).astype(np.int64)
    other = np.argmax(rng.random(pixels.shape) * (pixels > 0), 1)
    counts = np.zeros((num_images, num_classes, num_classes + 1), np.int64)
    every = np.arange(num_classes)
    counts[:, every, every] = right
    rows = np.arange(num_images)[:, None]
    np.add.at(counts, (rows, every[None], np.where(other[:, None] == every, num_classes, other[:, None])), pixels - right)
    image, gt, pred = np.nonzero(counts)
    table = {
        "image": image.astype(np.int32),
        "gt": gt.astype(np.int32),
        "pred": pred.astype(np.int32),
        "pixels": counts[image, gt, pred],
    }
    images = Images(tuple(range(num_images)), np.arange(num_images), np.full((num_images, 2), 128, np.int32))
    return Evidence("semantic", num_classes, images, {"pixels": table})


def drawn(evidence, rows):
    """Evidence of some images, each as often as it is named, under new ids."""
    rows = np.asarray(rows)
    starts = {name: evidence.starts(name) for name in evidence.tables}
    tables = {}
    for name, table in evidence.tables.items():
        counts = starts[name][rows + 1] - starts[name][rows]
        index = np.repeat(starts[name][rows] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(counts.sum())
        tables[name] = {column: values[index] for column, values in table.items()}
        tables[name]["image"] = np.repeat(np.arange(len(rows)), counts).astype(np.int32)
    images = Images(tuple(range(len(rows))), np.arange(len(rows)), evidence.images.sizes[rows])
    return Evidence(evidence.task, evidence.num_classes, images, tables)
