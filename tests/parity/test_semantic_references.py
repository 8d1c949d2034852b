"""Every semantic protocol against its reference: the tool itself where it is installed, and a slow twin of its rules. Bit for bit."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench import datasets, protocols
from segbench.metrics.boundaries import boundary_counts
from segbench.metrics.semantic import SemanticAccumulator
from segbench.samples import LabelMap
from tests.parity import twins

TWINS = {
    "mmseg": twins.mmsegmentation,
    "huggingface": twins.huggingface,
    "pooled": twins.huggingface,
    "detectron2": twins.detectron2,
    "ade20k": twins.sceneparsing,
    "voc": twins.voc_devkit,
    "cityscapes": twins.cityscapes,
}


def evaluate(pairs, dataset, protocol, space="contiguous"):
    """Scores of (pred, gt) value maps."""
    accumulator, meaning = SemanticAccumulator(dataset), dataset.value_map(space)
    for image_id, (pred, gt) in enumerate(pairs):
        accumulator.update([LabelMap(image_id, pred, meaning)], [LabelMap(image_id, gt, meaning)])
    return accumulator.compute(protocols.load(protocol, "semantic"))


def scenes(seed, num_classes, num_images, size=(24, 40), void=True, void_in_pred=True):
    """Blocky class maps with rare classes, and predictions of them with errors."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, num_classes + 1) ** 2
    pairs = []
    for _ in range(num_images):
        blocks = rng.choice(num_classes, (size[0] // 4, size[1] // 4), p=weights / weights.sum())
        gt = np.kron(blocks, np.ones((4, 4), int)).astype(np.uint8)
        pred = np.where(rng.random(gt.shape) < 0.2, rng.integers(0, num_classes, gt.shape), np.roll(gt, 1, 1)).astype(np.uint8)
        if void:
            gt[rng.random(gt.shape) < 0.1] = 255
        if void_in_pred:
            pred[rng.random(gt.shape) < 0.02] = 255
        pairs.append((pred, gt))
    return pairs


def check(found, expected):
    """Equal to the last bit; NaN is None."""
    for name, value in expected.items():
        if name == "classes":
            for column, values in value.items():
                ours = [row[column] for row in found.per_class]
                assert ours == [None if math.isnan(v) else float(v) for v in values], column
        else:
            assert found.metrics[f"semantic/{name}"] == (None if math.isnan(value) else float(value)), name


@pytest.mark.parametrize("protocol", TWINS)
@pytest.mark.parametrize(("num_classes", "num_images"), [(1, 2), (2, 5), (19, 30), (150, 40)])
def test_equals_the_twin_of_the_reference(protocol, num_classes, num_images):
    pairs = scenes(num_classes, num_classes, num_images)
    check(evaluate(pairs, datasets.simple(num_classes), protocol), TWINS[protocol](pairs, num_classes))


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_equals_the_twins_on_any_small_set(seed, num_classes, num_images):
    pairs = scenes(seed, num_classes, num_images, (4, 8))
    if not any((gt != 255).any() for _, gt in pairs):
        return
    for protocol, twin in TWINS.items():
        if protocol == "detectron2" and not any(((gt != 255) & (pred != 255)).any() for pred, gt in pairs):
            continue
        check(evaluate(pairs, datasets.simple(num_classes), protocol), twin(pairs, num_classes))


def test_ade20k_adds_its_epsilon_for_images_without_the_class_too():
    """600 epsilons before a union of one pixel reach the last bits of the sum."""
    gt = np.zeros((600, 2, 2), np.uint8)
    gt[-1, 0, 0] = 1
    pairs = [(image, image) for image in gt]
    found = evaluate(pairs, datasets.simple(2), "ade20k")
    check(found, twins.sceneparsing(pairs, 2))
    assert found.per_class[1]["iou"] < 1


def test_mmseg_in_float32_past_its_precision():
    """Sums beyond 2**24 pixels of a class: running float32 sums are off, and ours are off by the same bits."""
    rng = np.random.default_rng(0)
    gt = (rng.random((1024, 2048)) < 0.01).astype(np.uint8)
    pred = np.where(rng.random(gt.shape) < 0.1, 1 - gt, gt).astype(np.uint8)
    gt[:3, :7] = 255
    pairs = [(pred, np.roll(gt, shift)) for shift in range(12)]
    found, exact = (evaluate(pairs, datasets.simple(2), name) for name in ("mmseg", "pooled"))
    check(found, twins.mmsegmentation(pairs, 2))
    assert found.metrics["semantic/miou"] != exact.metrics["semantic/miou"]


def test_mmseg_rounding_is_reproducible_from_the_value():
    pairs = scenes(3, 19, 20)
    value = evaluate(pairs, datasets.simple(19), "mmseg").metrics["semantic/miou"]
    assert np.round(np.float32(value) * 100, 2) == np.round(twins.mmsegmentation(pairs, 19)["miou"] * 100, 2)


@pytest.mark.frameworks
@pytest.mark.parametrize(("num_classes", "tolerance"), [(2, 0.0), (5, 0.0), (7, 0.0), (19, 3e-7), (150, 3e-7)])
def test_equals_torchmetrics(num_classes, tolerance):
    torch = pytest.importorskip("torch", reason="torchmetrics runs in its own environment")
    segmentation = pytest.importorskip("torchmetrics.segmentation", reason="torchmetrics runs in its own environment")
    pairs = scenes(num_classes, num_classes, 12, void=False, void_in_pred=False)
    metrics = [segmentation.MeanIoU(num_classes=num_classes, per_class=per_class, input_format="index") for per_class in (False, True)]
    for pred, gt in pairs:
        for metric in metrics:
            metric.update(torch.from_numpy(pred[None].astype(np.int64)), torch.from_numpy(gt[None].astype(np.int64)))
    overall, classes = (metric.compute().tolist() for metric in metrics)
    found = evaluate(pairs, datasets.simple(num_classes), "torchmetrics")
    ours = [-1.0 if row["iou"] is None else row["iou"] for row in found.per_class]
    assert ours == classes
    assert abs(found.metrics["semantic/miou"] - overall) <= tolerance


def city_scenes(tmp_path, seed, num_images=6):
    """Cityscapes-like files: label ids with ignored ones, instance ids, and predictions of evaluated ids."""
    rng = np.random.default_rng(seed)
    dataset = datasets.load("cityscapes")
    evaluated = np.array([row.id for row in dataset.evaluated])
    things = [row.id for row in dataset.evaluated if row.isthing]
    every = np.array([row.id for row in dataset.classes if row.id >= 0])
    rows = []
    for number in range(num_images):
        blocks = rng.choice(every, (12, 16))
        gt = np.kron(blocks, np.ones((6, 6), int))
        numbers = np.kron(rng.integers(0, 4, blocks.shape), np.ones((6, 6), int))
        is_thing = np.isin(gt, [*things, 29, 30])
        instances = np.where(is_thing & (numbers > 0), gt * 1000 + numbers, gt)
        pred = np.where(rng.random(gt.shape) < 0.3, rng.choice(evaluated, gt.shape), np.where(np.isin(gt, evaluated), gt, 7))
        paths = [tmp_path / f"{number}_{kind}.png" for kind in ("pred", "gtFine_labelIds", "gtFine_instanceIds")]
        Image.fromarray(pred.astype(np.uint8)).save(paths[0])
        Image.fromarray(gt.astype(np.uint8)).save(paths[1])
        Image.fromarray(instances.astype(np.uint16)).save(paths[2])
        rows.append((pred.astype(np.uint8), gt.astype(np.uint8), instances.astype(np.int32), paths))
    return dataset, rows


@pytest.mark.frameworks
def test_equals_cityscapesscripts(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path))
    if not hasattr(np, "in1d"):  # it still calls what NumPy 2.4 took away
        monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    dataset, rows = city_scenes(tmp_path, 4)
    module.args.quiet, module.args.JSONOutput = True, False
    expected = module.evaluateImgLists([str(row[3][0]) for row in rows], [str(row[3][1]) for row in rows], module.args)

    accumulator, meaning = SemanticAccumulator(dataset, ("instances",)), dataset.value_map("label")
    for number, (pred, gt, instances, _) in enumerate(rows):
        accumulator.update([LabelMap(number, pred, meaning)], [LabelMap(number, gt, meaning, instances=instances)])
    found = accumulator.compute(protocols.load("cityscapes", "semantic"))
    names = {"miou": "Classes", "iiou": "InstClasses", "category_iou": "Categories", "category_iiou": "InstCategories"}
    for ours, theirs in names.items():
        assert found.metrics[f"semantic/{ours}"] == expected[f"averageScore{theirs}"], ours
    for row in found.per_class:
        assert row["iou"] == expected["classScores"][row["name"]]
        instance_score = expected["classInstScores"][row["name"]]
        assert row["iiou"] == (None if math.isnan(instance_score) else instance_score)


@pytest.mark.frameworks
@pytest.mark.parametrize(("size", "num_classes"), [((240, 320), 5), ((37, 512), 3), ((1, 9), 2)])
def test_boundaries_equal_opencv_erosion(size, num_classes):
    """boundary-iou-api's way: pad by one pixel of nothing, erode d times by 3x3, subtract; one class after the other."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV runs in its own environment")
    rng = np.random.default_rng(size[1])
    blocks = rng.integers(0, num_classes, (size[0] // 20 + 1, size[1] // 20 + 1))
    gt = np.kron(blocks, np.ones((20, 20), int))[: size[0], : size[1]].astype(np.uint16)
    pred = np.where(rng.random(size) < 0.001, 0, np.roll(gt, 3, 1)).astype(np.uint16)
    distance_px = max(1, round(0.02 * np.sqrt(size[0] ** 2 + size[1] ** 2)))
    edges = []
    for c in range(num_classes):
        for side in (gt, pred):
            mask = (side == c).astype(np.uint8)
            padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            edges.append((mask - cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance_px)[1:-1, 1:-1]).astype(bool))
    table = boundary_counts(pred, gt, num_classes)
    expected = [((a & b).sum(), a.sum(), b.sum()) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    found = dict(zip(table["class"].tolist(), zip(table["intersection"], table["gt"], table["pred"], strict=True), strict=True))
    assert [found.get(c, (0, 0, 0)) for c in range(num_classes)] == expected
