"""AP under weights of images against pycocotools on data in which the images were really copied."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from segbench import protocols
from segbench.adapters.instance.memory import batch_of
from segbench.datasets import simple
from segbench.metrics.instance.scoring import InstanceAccumulator
from segbench.significance.measure import measure

pycocotools = pytest.importorskip("pycocotools.coco")
CLASSES = 3
IMAGES = 15


def boxes(rng, count):
    corner = rng.integers(0, 60, (count, 2))
    return np.concatenate((corner, rng.integers(5, 40, (count, 2))), 1).astype(float)


def made():
    """Ground truth and detections of every image, as (boxes xywh, labels, scores)."""
    rng = np.random.default_rng(4)
    truths, found = [], []
    for _ in range(IMAGES):
        gt, labels = boxes(rng, rng.integers(1, 6)), None
        labels = rng.integers(0, CLASSES, len(gt))
        times = rng.choice([0, 1, 2], len(gt), p=[0.2, 0.6, 0.2])
        where = np.repeat(np.arange(len(gt)), times)
        moved = gt[where] + rng.integers(-4, 5, (len(where), 4)) * [1, 1, 0.5, 0.5]
        extra = boxes(rng, rng.integers(0, 3))
        detections = np.maximum(np.concatenate((moved, extra)), [0, 0, 1, 1])
        named = np.concatenate((labels[where], rng.integers(0, CLASSES, len(extra))))
        truths.append((gt, labels))
        found.append((detections, named, rng.random(len(named))))
    return truths, found


def reference(truths, found, counts):
    """pycocotools' summary, each image as often as its count."""
    from pycocotools.cocoeval import COCOeval

    annotations, results, images = [], [], []
    for row in np.repeat(np.arange(IMAGES), counts).tolist():
        image = len(images) + 1
        images.append({"id": image, "width": 128, "height": 128})
        for box, label in zip(*truths[row], strict=True):
            identity = len(annotations) + 1
            annotation = {"id": identity, "image_id": image, "category_id": int(label) + 1, "bbox": box.tolist(), "iscrowd": 0}
            annotations.append(annotation | {"area": float(box[2] * box[3])})
        for box, label, score in zip(*found[row], strict=True):
            results.append({"image_id": image, "category_id": int(label) + 1, "bbox": box.tolist(), "score": float(score)})
    categories = [{"id": index + 1, "name": str(index)} for index in range(CLASSES)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_weights_are_copies():
    truths, found = made()
    dataset, rules = simple(CLASSES), protocols.load("coco", "instance")
    gt = [{"boxes": box, "labels": label, "area": box[:, 2] * box[:, 3]} for box, label in truths]
    pred = [{"boxes": box, "labels": label, "scores": score} for box, label, score in found]
    accumulator = InstanceAccumulator(dataset, ("bbox",), rules.rules)
    ids = list(range(IMAGES))
    how = {"box_format": "xywh", "sizes": [(128, 128)] * IMAGES}
    accumulator.update(batch_of(ids, pred, dataset, "pred", **how), batch_of(ids, gt, dataset, "gt", **how))
    weights = np.random.default_rng(1).integers(0, 4, (6, IMAGES)).astype(np.uint8)
    weights[0] = 1
    values = measure("instance", accumulator.evidence(), dataset, rules).values(weights)
    names = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
    for row, counts in enumerate(weights):
        for name, expected in zip(names, reference(truths, found, counts), strict=True):
            value = values[f"bbox/{name}"][row]
            if row == 0:
                assert (np.isnan(value) and expected == -1) or value == expected, name
            assert value == pytest.approx(expected if expected > -1 else np.nan, abs=1e-14, nan_ok=True), name
