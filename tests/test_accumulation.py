"""The training loop's door: any way of feeding and merging gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import segbench
from segbench import datasets
from segbench.errors import ConfigError, InputError, PairingError

CLASSES = datasets.simple(4, 255)


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    gt = rng.integers(0, 4, (6, 9, 7)).astype(np.uint8)
    gt[:, 0] = 255
    pred = np.where(rng.random(gt.shape) < 0.7, np.where(gt == 255, 0, gt), rng.integers(0, 4, gt.shape)).astype(np.uint8)
    return pred, gt


def fresh(**options):
    return segbench.accumulator("semantic", CLASSES, **options)


def test_feeding_in_any_way(images):
    preds, gts = images
    whole = segbench.evaluate(list(preds), list(gts), dataset=CLASSES, intervals=False).tasks
    one_by_one, batches, workers = fresh(), fresh(), [fresh(), fresh()]
    for row in range(6):
        one_by_one.add(preds[row], gts[row])
        workers[row % 2].add(preds[row], gts[row], image_id=row)
    batches.update(preds[:4], gts[:4])
    batches.update(list(preds[4:]), list(gts[4:]))
    merged = workers[1].merge(workers[0])
    sent = fresh().load_arrays(*(worker.arrays() for worker in workers))
    for accumulation in (one_by_one, batches, merged, sent):
        assert accumulation.compute().tasks == whole


@pytest.mark.parametrize("scores", [False, True])
def test_one_image_is_no_batch(images, scores):
    pred, gt = images[0][0], images[1][0]
    pred = np.eye(4, dtype=np.float32)[pred].transpose(2, 0, 1) if scores else pred
    with pytest.raises(ConfigError, match="one image, not a batch") as caught:
        fresh().update(pred, gt)
    assert "add(pred, gt)" in caught.value.hint
    points = fresh()
    points.update(list(images[0][0]), list(gt))  # point clouds, each with a label per point
    assert points.compute().images["count"] == len(gt)


def test_scores_of_a_model(images):
    preds, gts = images
    logits = np.eye(4, dtype=np.float32)[preds].transpose(0, 3, 1, 2)
    first, second = fresh(), fresh(layout="HWC")
    first.update(logits, gts)
    second.update(np.moveaxis(logits, 1, -1), gts)
    plain = fresh()
    plain.update(preds, gts)
    assert first.compute().tasks == second.compute().tasks == plain.compute().tasks


def test_a_padded_sampler_counts_once(images):
    preds, gts = images
    once, padded = fresh(), fresh()
    once.update(preds, gts, range(6))
    padded.update(preds, gts, range(6))
    padded.add(preds[0], gts[0], image_id=0)
    assert padded.compute().tasks == once.compute().tasks
    padded.add(preds[1], gts[0], image_id=0)
    with pytest.raises(InputError, match="twice with different contents"):
        padded.compute()


def test_protocols_and_metrics(images):
    accumulation = fresh(protocol="mmseg", metrics=["boundary_iou"])
    accumulation.update(*images)
    result = accumulation.compute()
    assert result.tasks["semantic"].protocol["name"] == "mmseg"
    assert result.value("semantic/boundary_iou") is not None
    assert accumulation.compute("pooled").tasks["semantic"].protocol["name"] == "pooled"


def test_what_is_refused(images):
    preds, gts = images
    with pytest.raises(ConfigError, match="nothing was counted"):
        fresh().compute()
    with pytest.raises(PairingError, match="a batch of 5"):
        fresh().update(preds[:5], gts)
    with pytest.raises(InputError, match="differ in size"):
        fresh().add(preds[0][:5], gts[0])
    with pytest.raises(InputError, match="200"):
        fresh().add(np.full_like(preds[0], 200), gts[0])
    with pytest.raises(InputError, match="not an array"):
        fresh().add("mask.png", gts[0])


@pytest.mark.parametrize("tensor", ["cpu", "dlpack", "array"])
def test_tensors_without_the_framework(images, tensor):
    class Tensor:
        """What a framework's tensor offers."""

        def __init__(self, array):
            self.array = array

    class Cpu(Tensor):
        def detach(self):
            return self

        def cpu(self):
            return self

        def __array__(self, dtype=None, copy=None):
            return self.array

    class DLPack(Tensor):
        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    class Array(Tensor):
        def __array__(self, dtype=None, copy=None):
            return self.array

    wrap = {"cpu": Cpu, "dlpack": DLPack, "array": Array}[tensor]
    preds, gts = images
    wrapped, plain = fresh(), fresh()
    wrapped.add(wrap(preds[0].astype(np.int64)), wrap(gts[0].astype(np.int64)))
    plain.add(preds[0], gts[0])
    assert wrapped.compute().tasks == plain.compute().tasks


@pytest.mark.frameworks
def test_torch_tensors(images):
    torch = pytest.importorskip("torch")
    preds, gts = images
    logits = torch.nn.functional.one_hot(torch.from_numpy(preds).long(), 4).permute(0, 3, 1, 2).float().requires_grad_()
    fed, plain = fresh(), fresh()
    fed.update(logits, torch.from_numpy(gts))
    plain.update(preds, gts)
    assert fed.compute().tasks == plain.compute().tasks
    half = fresh()
    half.update(logits.detach().to(torch.bfloat16).float(), torch.from_numpy(gts).long())
    assert half.compute().tasks == plain.compute().tasks


def test_instances_and_panoptic_samples(images):
    """One image at a time, in any order and over workers, equals evaluating them together."""
    things = datasets.Dataset(
        name="things",
        tasks=("instance", "panoptic"),
        classes=tuple(datasets.LabelClass(id=n + 1, name=name, isthing=True) for n, name in enumerate("abc")),
    )
    preds, gts = images
    boxed = {}
    panoptic = {}
    for key, (pred, gt) in enumerate(zip(preds, gts, strict=True)):
        sides = []
        for labels, role in ((pred, "pred"), (gt, "gt")):
            found = [label for label in (1, 2, 3) if (labels == label).any()]
            sample = {"masks": [labels == label for label in found], "labels": found}
            sides.append(sample | ({"scores": [0.3 * label for label in found]} if role == "pred" else {}))
        boxed[key] = tuple(sides)
        panoptic[key] = tuple(
            (np.where(labels > 3, 0, labels), [{"id": label, "category_id": label} for label in (1, 2, 3) if (labels == label).any()])
            for labels in (pred, gt)
        )
    for task, samples in (("instance", boxed), ("panoptic", panoptic)):
        sides = ({k: v[side] for k, v in samples.items()} for side in (0, 1))
        together = segbench.evaluate(*sides, dataset=things, task=task, intervals=False)
        workers = [segbench.accumulator(task, things) for _ in range(2)]
        for key in reversed(samples):
            workers[key % 2].add(*samples[key], image_id=key)
        workers[0].add(*samples[0], image_id=0)  # a sampler that pads
        merged = workers[1].merge(workers[0])
        sent = segbench.accumulator(task, things).load_arrays(*(worker.arrays() for worker in workers))
        for accumulation in (merged, sent):
            assert accumulation.compute().tasks == together.tasks
