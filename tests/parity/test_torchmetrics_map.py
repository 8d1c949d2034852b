"""torchmetrics' MeanAveragePrecision on the drop-in COCOeval: every output equals the one on pycocotools, to the bit."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from segbench.compat.pycocotools import COCOeval, installed

pytestmark = pytest.mark.frameworks
SIZE = (60, 80)


@pytest.fixture
def metric(monkeypatch):
    """Makes the metric. Of torchvision it takes the conversion of boxes alone; torchvision loads only beside a torch of its own build."""
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torchmetrics.detection.mean_ap")

    def box_convert(boxes, in_fmt, out_fmt):
        assert (in_fmt, out_fmt) == ("xyxy", "xywh")
        return torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)

    vision, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    ops.box_convert = box_convert
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    monkeypatch.setattr(module, "_TORCHVISION_AVAILABLE", True)
    return module.MeanAveragePrecision


def images(seed, masks, count=12):
    """Predictions and ground truth of some images, as the metric takes them: ties, crowds, stated areas, empty images."""
    import torch

    rng = np.random.default_rng(seed)

    def instances(number):
        corners = rng.integers(0, 50, (number, 2))
        boxes = np.concatenate((corners, corners + rng.integers(2, 40, (number, 2))), 1)
        drawn = np.zeros((number, *SIZE), bool)
        for mask, (left, top, right, bottom) in zip(drawn, boxes, strict=True):
            mask[top:bottom, left:right] = rng.random((bottom - top, right - left))[: SIZE[0] - top, : SIZE[1] - left] < 0.9
        sample = {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": torch.tensor(rng.integers(0, 4, number))}
        return sample | ({"masks": torch.tensor(drawn)} if masks else {}), boxes

    preds, targets = [], []
    for index in range(count):
        target, boxes = instances(0 if index == 3 else rng.integers(1, 7))
        crowd = rng.random(len(boxes)) < 0.15
        pred, _ = instances(0 if index == 5 else rng.integers(1, 4))
        kept = rng.random(len(boxes)) < 0.8
        for name, values in target.items():
            pred[name] = torch.cat((values[torch.tensor(kept)], pred[name]))
        pred["scores"] = torch.tensor(np.round(rng.random(len(pred["labels"])), 1), dtype=torch.float32)
        preds.append(pred)
        targets.append(target | {"iscrowd": torch.tensor(crowd.astype(int))})
    return preds, targets


KINDS = {
    "boxes": ({"iou_type": "bbox"}, False),
    "masks": ({"iou_type": "segm"}, True),
    "both": ({"iou_type": ("bbox", "segm")}, True),
    "own thresholds": ({"iou_type": "segm", "iou_thresholds": [0.3, 0.5, 0.9], "rec_thresholds": [0.0, 0.5, 1.0]}, True),
    "few detections": ({"iou_type": "bbox", "max_detection_thresholds": [1, 3, 100]}, False),
    "all classes together": ({"iou_type": "bbox", "average": "micro"}, False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_output_is_equal(metric, monkeypatch, kind, seed):
    import torch

    options, masks = KINDS[kind]
    preds, targets = images(seed, masks)
    calls = []
    evaluate = COCOeval.evaluate
    monkeypatch.setattr(COCOeval, "evaluate", lambda self: calls.append(1) or evaluate(self))
    outputs = []
    for ours in (False, True):
        made = metric(class_metrics=True, extended_summary=True, **options)
        made.update(preds[:5], targets[:5])
        made.update(preds[5:], targets[5:])
        if ours:
            with installed():
                outputs.append(made.compute())
        else:
            outputs.append(made.compute())
            assert not calls
    assert calls
    assert outputs[0].keys() == outputs[1].keys()
    assert len(outputs[0]) > 15
    for name, expected in outputs[0].items():
        assert same(outputs[1][name], expected), name
    number = "map" if "map" in outputs[0] else "bbox_map"
    assert torch.isfinite(outputs[0][number])
    assert 0 < outputs[0][number] < 1


def same(found, expected):
    """Equal to the bit: numbers, tensors, and dicts of tensors by (image, class)."""
    import torch

    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    return torch.equal(torch.as_tensor(found), torch.as_tensor(expected))
