"""Against torchmetrics' panoptic quality, which is another metric under the same name."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.protocols.panoptic import PANOPTIC
from segbench.samples import PanopticMap
from tests.panoptic_sets import DATASET

RULES = next(rules for rules in PANOPTIC if rules.name == "torchmetrics")
MODIFIED = msgspec.structs.replace(RULES, rules=msgspec.structs.replace(RULES.rules, stuff_score="any"))


def images(seed, count=12):
    """(ids, class of each id) of ground truth and prediction; id 0 is void."""
    rng = np.random.default_rng(seed)
    for key in range(count):
        base = np.repeat(np.repeat(rng.integers(0, 8, (6, 7)), 7, 0), 5, 1)
        classes = rng.integers(0, 4, 8)
        noisy = np.where(rng.random(base.shape) < 0.12, rng.integers(0, 8, base.shape), base)
        pred = np.where(base == 3, 0, noisy) if key % 3 == 0 else noisy
        yield (base, classes), (pred, np.where(rng.random(8) < 0.2, rng.integers(0, 4, 8), classes))


def sample(key, ids, classes):
    present = np.unique(ids)
    present = present[present > 0]
    none = np.full(len(present), -1)
    return PanopticMap(key, ids.astype(np.int32), present.astype(np.int64), classes[present].astype(np.int32), none, none > 0, order=key)


@pytest.mark.frameworks
@pytest.mark.parametrize(("name", "rules"), [("PanopticQuality", RULES), ("ModifiedPanopticQuality", MODIFIED)])
@pytest.mark.parametrize("seed", range(3))
def test_bit_equal(name, rules, seed):
    torch = pytest.importorskip("torch")
    metric = getattr(pytest.importorskip("torchmetrics.detection"), name)(things={0, 1}, stuffs={2, 3}, allow_unknown_preds_category=True)
    accumulator = PanopticAccumulator(DATASET)
    for key, (gt, pred) in enumerate(images(seed)):
        accumulator.update([sample(key, *pred)], [sample(key, *gt)])
        colours = [np.stack([np.where(ids == 0, 9, classes[ids]), ids], -1)[None] for ids, classes in (pred, gt)]
        metric.update(*(torch.from_numpy(values) for values in colours))
    found = accumulator.compute(rules)
    assert found.metrics["panoptic/pq"] == pytest.approx(metric.compute().item(), abs=1e-15)
    if name == "PanopticQuality":
        for row, iou, counts in zip(
            found.per_class,
            metric.iou_sum.tolist(),
            zip(metric.true_positives.tolist(), metric.false_positives.tolist(), metric.false_negatives.tolist(), strict=True),
            strict=True,
        ):
            assert (row["tp"], row["fp"], row["fn"]) == counts
            assert row["sq"] == iou / row["tp"]
