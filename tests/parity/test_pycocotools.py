"""Whole random data sets through pycocotools and segbench: the same arrays, to the bit."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segbench import protocols
from segbench.adapters.base import Request
from segbench.adapters.instance import coco, coco_categories, coco_json, coco_truth
from segbench.metrics.instance.scoring import InstanceAccumulator, evaluated
from segbench.protocols import instance as instance_rules
from segbench.protocols.instance import AreaRange


def rle_of(pixels, plain=False):
    """A mask as COCO writes it."""
    if plain:
        flat = pixels.reshape(-1, order="F")
        changes = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        runs = np.diff([0, *changes, flat.size]).tolist()
        return {"size": list(pixels.shape), "counts": runs}
    coded = coco_mask.encode(np.asfortranarray(pixels))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def blob(rng, size):
    """A rectangle, a noisy rectangle, or nothing."""
    pixels = np.zeros(size, np.uint8)
    top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
    pixels[top : top + rng.integers(1, size[0] + 1), left : left + rng.integers(1, size[1] + 1)] = 1
    if rng.random() < 0.3:
        pixels &= rng.random(size) < 0.8
    return pixels * (rng.random() < 0.95)


def polygons(rng, size):
    """Polygons inside and outside the image, degenerate ones too."""
    shapes = []
    for _ in range(rng.integers(1, 3)):
        points = rng.uniform(-3, max(size) + 3, (rng.integers(3, 6), 2))
        points = np.round(points) if rng.random() < 0.5 else points
        if rng.random() < 0.2:
            points[:] = points[0]
        shapes.append([float(number) for number in points.ravel()])
    return shapes


def random_dataset(seed, ties, from_zero, boxed):
    """Ground truth and detections of a few tiny images."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(40)[: rng.integers(1, 5)].tolist()
    sizes = {image: (int(rng.integers(2, 14)), int(rng.integers(2, 14))) for image in ids}
    categories = sorted(rng.permutation(9)[: rng.integers(1, 4)].tolist())
    annotations, detections = [], []
    for image in ids:
        size = sizes[image]
        shapes = [blob(rng, size) for _ in range(rng.integers(0, 5))]
        for pixels in shapes:
            crowd = int(rng.random() < 0.2)
            segmentation = polygons(rng, size) if rng.random() < 0.3 and not crowd else rle_of(pixels, plain=crowd and rng.random() < 0.7)
            area = float(pixels.sum()) if rng.random() < 0.8 else float(rng.integers(0, 200))
            box = [float(number) for number in coco_mask.toBbox(coco_mask.encode(np.asfortranarray(pixels)))]
            category = int(rng.choice(categories))
            annotations.append(
                {"image_id": image, "category_id": category, "iscrowd": crowd, "area": area, "bbox": box, "segmentation": segmentation}
            )
        for _ in range(rng.integers(0, 9)):
            pixels = blob(rng, size)
            if shapes and rng.random() < 0.7:
                pixels = np.roll(shapes[rng.integers(len(shapes))], rng.integers(-1, 2, 2), (0, 1))
            score = float(rng.integers(1, 4)) / 4 if ties else float(rng.random())
            detection = {"image_id": image, "category_id": int(rng.choice([*categories])), "score": score, "segmentation": rle_of(pixels)}
            if boxed:
                left, top, width, height = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(pixels)))
                detection["bbox"] = [float(left) + 0.25, float(top), float(width), float(height) + float(rng.random())]
            detections.append(detection)
    rng.shuffle(annotations)
    rng.shuffle(detections)
    for position, annotation in enumerate(annotations):
        annotation["id"] = position + (not from_zero)
    images = [{"id": image, "height": size[0], "width": size[1]} for image, size in sizes.items()]
    return {"images": images, "annotations": annotations, "categories": [{"id": c, "name": f"c{c}"} for c in categories]}, detections


def reference(truth, detections, family, thresholds=None, ranges=None, limits=None, use_categories=1):
    """precision, recall and scores of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = copy.deepcopy(truth)
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(copy.deepcopy(detections)), family)
        if thresholds is not None:
            evaluation.params.iouThrs = np.array(thresholds)
        if ranges is not None:
            evaluation.params.areaRng = [[area.low, area.high] for area in ranges]
            evaluation.params.areaRngLbl = [area.name for area in ranges]
        if limits is not None:
            evaluation.params.maxDets = list(limits)
        evaluation.params.useCats = use_categories
        evaluation.evaluate()
        evaluation.accumulate()
    return [evaluation.eval[name] for name in ("precision", "recall", "scores")]


def mine(truth, detections, family, rules):
    """The same of segbench."""
    parsed = coco_truth.truth_of(truth)
    dataset = coco_categories.dataset_of(parsed, "random")
    gt = coco.ground_truth(parsed, Request("gt", dataset), "gt.json")
    pred = coco.predictions(coco_json.results_of(detections), Request("pred", dataset), "pred.json")
    accumulator = InstanceAccumulator(dataset, (family,), rules)
    truths = gt.read(gt.keys)
    held = [gt.places[key] for key in pred.keys]
    accumulator.update(pred.read(pred.keys, truths.sizes[held]), truths)
    _, curves = evaluated(accumulator.evidence(), family, rules)
    return [curves.precision, curves.recall, curves.scores]


def check(truth, detections, family, rules, **options):
    for found, expected in zip(mine(truth, detections, family, rules), reference(truth, detections, family, **options), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("family", ["segm", "bbox"])
@settings(max_examples=60)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.booleans())
@example(0, True, True, True)
def test_random_data_sets(family, seed, ties, from_zero, boxed):
    truth, detections = random_dataset(seed, ties, from_zero, boxed)
    if detections:  # pycocotools cannot load an empty list
        check(truth, detections, family, protocols.load("coco", "instance").rules)


@settings(max_examples=30)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from([0.05, 0.3, 0.5, 0.75, 0.9, 1.0]), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([1, 2, 3, 10, 100]), min_size=1, max_size=4, unique=True),
    st.sampled_from(["segm", "bbox"]),
)
def test_own_thresholds_ranges_and_limits(seed, thresholds, limits, family):
    truth, detections = random_dataset(seed, ties=True, from_zero=False, boxed=False)
    if not detections:
        return
    ranges = (AreaRange("all", 0, 1e10), AreaRange("tiny", 0, 9), AreaRange("rest", 9, 36))
    rules = instance_rules.customised(protocols.load("coco", "instance"), tuple(thresholds), ranges, tuple(limits)).rules
    check(truth, detections, family, rules, thresholds=sorted(thresholds), ranges=ranges, limits=sorted(limits))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(["segm", "bbox"]))
def test_class_agnostic(seed, ties, family):
    truth, detections = random_dataset(seed, ties, from_zero=False, boxed=False)
    if detections:
        rules = protocols.load("class-agnostic", "instance").rules
        check(truth, detections, family, rules, limits=rules.max_detections, use_categories=0)
