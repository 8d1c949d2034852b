"""Masks, overlaps, matching and scores of instances: kernels against slow twins, laws of the evidence, values by hand."""

from __future__ import annotations

import contextlib
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segbench import datasets, protocols
from segbench.adapters.instance.coco_masks import decode, packed_counts
from segbench.adapters.instance.memory import batch_of
from segbench.errors import ComparabilityError, ConfigError, FormatError, InputError, LabelError, PairingError, ShapeError
from segbench.instances import InstanceBatch
from segbench.metrics.instance.catalogue import METRICS
from segbench.metrics.instance.pairs import boundaries
from segbench.metrics.instance.scoring import InstanceAccumulator, evaluated, families_for, scores
from segbench.protocols import instance as instance_rules
from segbench.protocols.instance import AreaRange
from tests import naive_instance as naive

COCO = protocols.load("coco", "instance")
TWO = datasets.simple(2, names=["cat", "dog"])

pixels = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1))


def box_mask(size, left, top, width, height):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def samples(seed, images=3, size=(12, 14)):
    """Predictions and ground truth of some images, as dicts."""
    rng = np.random.default_rng(seed)
    pred, gt = [], []
    for _ in range(images):
        truths = [box_mask(size, *rng.integers(0, 8, 2), *rng.integers(1, 8, 2)) for _ in range(rng.integers(0, 5))]
        found = [np.roll(mask, rng.integers(-1, 2), 1) for mask in truths for _ in range(rng.integers(0, 3))]
        found.append(box_mask(size, *rng.integers(0, 8, 2), *rng.integers(1, 8, 2)))
        stack = np.array(truths).reshape(-1, *size)
        gt.append({"masks": stack > 0, "labels": rng.integers(0, 2, len(truths)), "iscrowd": rng.random(len(truths)) < 0.2})
        pred.append({"masks": np.array(found), "labels": rng.integers(0, 2, len(found)), "scores": rng.integers(0, 4, len(found)) / 4})
    return pred, gt


def batches(seed, images=3, ids=None):
    pred, gt = samples(seed, images)
    keys = list(range(images)) if ids is None else ids
    return batch_of(keys, pred, TWO, "pred"), batch_of(keys, gt, TWO, "gt")


def evidence_of(pred, gt, tables=("segm", "bbox"), rules=None, dataset=TWO):
    accumulator = InstanceAccumulator(dataset, tables, rules)
    accumulator.update(pred, gt)
    return accumulator.evidence()


def dense(masks, index, size):
    flat = np.zeros(size[0] * size[1], np.uint8)
    for start, stop in masks.spans[masks.offsets[index] : masks.offsets[index + 1]]:
        flat[start:stop] = 1
    return flat.reshape(size, order="F")


def decoded(texts, sizes):
    sizes = np.array(sizes, np.int32).reshape(-1, 2)
    return decode(packed_counts(texts, sizes), sizes, np.full((len(texts), 4), np.nan), str, "file")


@given(st.lists(pixels, min_size=1, max_size=4))
def test_counts_strings_are_read(arrays):
    masks = decoded([naive.string_of(naive.counts_of(array)).encode() for array in arrays], [array.shape for array in arrays])
    for index, array in enumerate(arrays):
        np.testing.assert_array_equal(dense(masks, index, array.shape), array)
        assert masks.areas[index] == array.sum()
        assert masks.boxes[index].tolist() == naive.box_of(array)


@given(st.binary(max_size=12), st.integers(0, 6), st.integers(0, 6))
def test_any_counts_string_is_read_or_refused(text, height, width):
    with contextlib.suppress(FormatError):
        masks = decoded([text], [(height, width)])
        assert 0 <= masks.areas[0] <= height * width
        assert not len(masks.spans) or (masks.spans.min() >= 0 and masks.spans.max() <= height * width)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"4", "do not add up"),
        (b"5", "do not add up"),
        (b"T", "in the middle of a number"),
        (b"!", "a character"),
        (b"0\xff", "a character"),
        (b"00O4", "negative length"),
        (b"oooooooooo", "do not add up"),
    ],
)
def test_damaged_counts_strings_say_what_is_wrong(text, reason):
    expected = (3, 1) if text == b"4" else (2, 3)
    with pytest.raises(FormatError, match=reason) as error:
        decoded([text], [expected])
    assert error.value.code == "SB102"


def test_masks_of_another_size_than_the_image():
    text = naive.string_of([6]).encode()
    rows = packed_counts([text], [(2, 3)])
    for size, code in (((3, 2), "SB104"), ((4, 6), "SB101")):
        with pytest.raises(ShapeError) as error:
            decode(rows, np.array([size], np.int32), np.full((1, 4), np.nan), lambda row: f"detection {row}", "f")
        assert error.value.code == code
        assert "detection 0" in str(error.value)


@given(pixels, st.sampled_from([0.02, 0.2, 0.4]))
def test_boundaries(array, ratio):
    masks = decoded([naive.string_of(naive.counts_of(array)).encode()], [array.shape])
    thin = boundaries(masks, np.array([array.shape], np.int32), ratio)
    np.testing.assert_array_equal(dense(thin, 0, array.shape), naive.boundary_of(array, ratio))
    assert thin.areas[0] == naive.boundary_of(array, ratio).sum()


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_pairs_are_those_of_dense_masks(seed):
    pred, gt = samples(seed)
    evidence = evidence_of(
        batch_of(range(3), pred, TWO, "pred"), batch_of(range(3), gt, TWO, "gt"), ("segm", "bbox", "boundary", "analysis")
    )
    expected = {"segm": {}, "boundary": {}}
    for image in range(3):
        for row, mask in enumerate(pred[image]["masks"]):
            for column, truth in enumerate(gt[image]["masks"]):
                crowd = bool(gt[image]["iscrowd"][column])
                both, union = naive.mask_iou(mask, truth, crowd)
                if both and both / union >= 0.1:
                    expected["segm"][image, row, column] = both, union
                    if not crowd:
                        thin = naive.mask_iou(naive.boundary_of(mask.astype(np.uint8)), naive.boundary_of(truth.astype(np.uint8)), False)
                        both, union = min((both, union), thin, key=lambda pair: pair[0] / pair[1])
                    if both / union >= 0.1:
                        expected["boundary"][image, row, column] = both, union
    for family, pairs in expected.items():
        table = evidence.rows(f"{family}_pairs")
        keys = zip(*(table[name].tolist() for name in ("image", "detection", "gt")), strict=True)
        values = zip(table["intersection"].tolist(), table["union"].tolist(), strict=True)
        assert dict(zip(keys, values, strict=True)) == pairs


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_matches_are_those_of_the_loops(seed):
    pred, gt = batches(seed)
    evidence = evidence_of(pred, gt)
    found, _ = evaluated(evidence, "segm", COCO.rules, partners=True)
    pairs = evidence.rows("segm_pairs")
    gt_starts, det_starts = evidence.starts("ground_truths"), evidence.starts("detections")
    for image in range(3):
        for label in range(2):
            rows = [row for row in range(det_starts[image], det_starts[image + 1]) if pred.category[row] == label]
            rows.sort(key=lambda row: -pred.scores[row])
            columns = [row for row in range(gt_starts[image], gt_starts[image + 1]) if gt.category[row] == label]
            ious = np.zeros((len(rows), len(columns)))
            for at in np.flatnonzero(pairs["image"] == image):
                row, column = pairs["detection"][at] + det_starts[image], pairs["gt"][at] + gt_starts[image]
                if row in rows and column in columns:
                    ious[rows.index(row), columns.index(column)] = pairs["intersection"][at] / pairs["union"][at]
            crowd = [gt.flags[column] & 1 for column in columns]
            for area in range(4):
                ignored = [found.gt_ignored[column, area] for column in columns]
                for at, threshold in enumerate(COCO.rules.iou_thresholds):
                    expected = naive.matches(ious, ignored, crowd, threshold)
                    for row, (partner, hidden) in zip(rows, expected, strict=True):
                        entry = found.rows[row]
                        mine = found.det_gt[entry, area, at] if entry >= 0 else -1
                        assert mine == (columns[partner] if partner is not None else -1)
                        assert hidden == bool(entry >= 0 and int(found.ignored[entry, area]) >> at & 1)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_average_precision_is_that_of_the_loops(seed):
    pred, gt = batches(seed)
    evidence = evidence_of(pred, gt)
    found, curves = evaluated(evidence, "segm", COCO.rules)
    for label in range(2):
        rows = found.order[found.starts[label] : found.starts[label + 1]].tolist()
        kept = [row for row in rows if found.rows[row] < 0 or not int(found.ignored[found.rows[row], 0]) & 1]
        hits = [found.rows[row] >= 0 and bool(int(found.matched[found.rows[row], 0]) & 1) for row in kept]
        expected = naive.average_precision(hits, [pred.scores[row] for row in kept], found.num_gt[label, 0])
        mine = curves.precision[0, :, label, 0, 2].mean()
        assert math.isnan(expected) if mine == -1 else mine == pytest.approx(expected, abs=1e-12)


def same(first, second):
    one, other = first.arrays(), second.arrays()
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.permutations(range(5)), st.integers(1, 4))
def test_laws_of_the_evidence(seed, order, cut):
    pred, gt = batches(seed, 5)
    whole = InstanceAccumulator(TWO)
    whole.update(pred, gt)
    parts = [InstanceAccumulator(TWO) for _ in range(2)]
    for part, images in zip(parts, (order[:cut], order[cut:]), strict=True):
        for image in images:
            part.update(pred.select([image]), gt.select([image]))
    empty = InstanceAccumulator(TWO)
    assert same(parts[0].merge(parts[1]), whole)
    assert same(parts[1].merge(empty, parts[0]), whole)
    assert same(empty.merge(whole), whole)
    assert same(InstanceAccumulator.from_arrays(whole.arrays(), TWO), whole)
    assert same(pickle.loads(pickle.dumps(whole)), whole)
    again = whole.merge(parts[0])
    assert same(again, whole)
    assert again.evidence().repeated == cut


def test_an_image_twice_with_different_predictions_is_an_error():
    pred, gt = batches(1, 1)
    other, _ = batches(2, 1)
    first, second = InstanceAccumulator(TWO), InstanceAccumulator(TWO)
    first.update(pred, gt)
    second.update(other, gt)
    with pytest.raises(InputError, match="twice"):
        first.merge(second)


def one_image(pred, gt, dataset=TWO, **rules):
    """Scores of one image under changed rules."""
    chosen = instance_rules.customised(COCO, **rules)
    batch = batch_of(["a"], [pred], dataset, "pred"), batch_of(["a"], [gt], dataset, "gt")
    return scores(evidence_of(*batch, rules=chosen.rules, dataset=dataset), dataset, chosen)


def test_values_by_hand():
    size = (100, 100)
    truths = [box_mask(size, 0, 0, 40, 40), box_mask(size, 50, 50, 10, 10)]
    pred = {"masks": [box_mask(size, 0, 0, 40, 40), box_mask(size, 50, 0, 20, 20)], "labels": [0, 0], "scores": [0.9, 0.8]}
    found = one_image({**pred, "masks": np.array(pred["masks"])}, {"masks": np.array(truths), "labels": [0, 1], "area": [1600, 100]})
    # class 0 is found at once, class 1 never
    assert found.metrics["segm/ap50"] == pytest.approx(0.5)
    assert found.metrics["segm/ap_small"] == 0.0
    assert found.metrics["segm/ap_medium"] == pytest.approx(1.0)
    assert found.metrics["segm/ap_large"] is None
    assert "large" in found.undefined["segm/ap_large"]
    assert found.per_class[0]["segm_ap"] == pytest.approx(1.0)
    assert found.per_class[1]["num_gt"] == 1
    assert found.per_image["segm_tp"] == [1]
    assert found.per_image["segm_fp"] == [1]
    assert found.per_image["segm_fn"] == [1]


def test_own_rules_reach_the_summary():
    size = (20, 20)
    gt = {"masks": np.array([box_mask(size, 0, 0, 10, 10)]), "labels": [0]}
    pred = {"masks": np.array([box_mask(size, 0, 0, 10, 4)]), "labels": [0], "scores": [0.5]}
    usual = one_image(pred, gt)
    assert usual.metrics["segm/ap"] == 0.0
    own = one_image(pred, gt, iou_thresholds=(0.3,), max_detections=(7,), area_ranges=(AreaRange("all", 0, 1e9), AreaRange("tiny", 0, 5)))
    assert own.metrics["segm/ap"] == pytest.approx(1.0)
    assert own.metrics["segm/ar7"] == 1.0
    assert own.metrics["segm/ap_tiny"] is None
    assert own.metrics["segm/ap50"] is None
    assert "threshold" in own.undefined["segm/ap50"]


def test_lower_thresholds_need_evidence_for_them():
    evidence = evidence_of(*batches(0))
    with pytest.raises(ComparabilityError, match="evaluate again"):
        scores(evidence, TWO, instance_rules.customised(COCO, iou_thresholds=(0.3,)))
    with pytest.raises(ComparabilityError, match="between categories"):
        scores(evidence, TWO, protocols.load("class-agnostic", "instance"))


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_wider_evidence_scores_the_same(seed):
    pred, gt = batches(seed)
    usual, wide = evidence_of(pred, gt), evidence_of(pred, gt, ("segm", "bbox", "analysis"))
    narrow, full = scores(usual, TWO, COCO), scores(wide, TWO, COCO)
    assert narrow.metrics == {name: full.metrics[name] for name in narrow.metrics}
    assert narrow.per_class == full.per_class
    assert narrow.per_image == full.per_image
    assert "segm/tide_missed" in full.metrics.keys() - narrow.metrics.keys()


def test_what_patterns_ask_for():
    assert families_for((), COCO) == ("segm", "bbox")
    assert families_for((), COCO, masks=False) == ("bbox",)
    assert families_for(("segm/*",), COCO) == ("segm",)
    assert families_for(("ap50",), COCO) == ("segm", "bbox")
    assert families_for(("bbox/best_f1",), COCO) == ("bbox", "analysis")
    assert families_for(("analysis",), COCO) == ("segm", "bbox", "analysis")
    assert families_for(("segm/tide_*", "bbox/ap"), COCO) == ("segm", "bbox", "analysis")
    assert families_for(("segm/ar7",), COCO) == ("segm",)
    assert families_for((), protocols.load("boundary", "instance")) == ("boundary",)
    with pytest.raises(ConfigError, match="boundary"):
        families_for(("boundary/*",), COCO)


def test_every_metric_of_a_score_is_explained():
    found = scores(evidence_of(*batches(3), ("segm", "bbox", "analysis")), TWO, COCO)
    assert found.metrics.keys() <= METRICS.keys()


def test_annotation_ids():
    size = (20, 20)
    masks = np.array([box_mask(size, 0, 0, 5, 5), box_mask(size, 10, 10, 5, 5)])
    pred = {"masks": masks, "labels": [0, 0], "scores": [0.9, 0.8]}
    zero = {"masks": masks, "labels": [0, 0], "ids": [0, 1]}
    twice = {"masks": masks, "labels": [0, 0], "ids": [3, 3]}
    batch = [(batch_of(["a"], [pred], TWO, "pred"), batch_of(["a"], [gt], TWO, "gt")) for gt in (zero, twice)]
    corrected = protocols.load("coco-corrected", "instance")
    assert scores(evidence_of(*batch[0]), TWO, COCO).metrics["segm/ap"] < 0.6
    assert scores(evidence_of(*batch[0]), TWO, corrected).metrics["segm/ap"] == pytest.approx(1)
    with pytest.raises(InputError, match="have the id 3") as error:
        scores(evidence_of(*batch[1]), TWO, COCO)
    assert error.value.code == "SB120"
    assert scores(evidence_of(*batch[1]), TWO, corrected).metrics["segm/ap"] == pytest.approx(1)


def test_no_detections_is_an_ap_of_zero():
    _, gt = batches(3)
    none = batch_of([], [], TWO, "pred")
    found = scores(evidence_of(none, gt, ("bbox",)), TWO, COCO)
    assert found.metrics["bbox/ap"] == 0.0
    assert found.metrics["bbox/ar100"] == 0.0


def test_no_images():
    found = scores(InstanceAccumulator(TWO).evidence(), TWO, COCO)
    assert set(found.metrics.values()) == {None}
    assert found.undefined.keys() >= found.metrics.keys()


def test_predictions_of_a_stray_image():
    pred, gt = batches(0)
    with pytest.raises(PairingError):
        InstanceAccumulator(TWO).update(pred, gt.select([0, 1]))


def test_sizes_that_differ():
    pred, gt = samples(0, 1)
    pred[0]["masks"] = pred[0]["masks"].transpose(0, 2, 1)
    with pytest.raises(ShapeError, match="14x12 vs 12x14") as error:
        evidence_of(batch_of([0], pred, TWO, "pred"), batch_of([0], gt, TWO, "gt"))
    assert error.value.code == "SB104"


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"labels": [5]}, LabelError, "does not have: 5"),
        ({"scores": None}, FormatError, "no scores"),
        ({"scores": [np.nan]}, FormatError, "is nan"),
        ({"scores": [0.1, 0.2]}, FormatError, "2 scores"),
        ({"labels": None}, FormatError, "no labels"),
        ({"masks": np.zeros((1, 4, 4), np.float32)}, FormatError, "threshold"),
        ({"masks": np.zeros((2, 4, 4), bool)}, FormatError, "2 masks"),
        ({"masks": [{"size": [4, 4], "counts": [3, 4]}]}, FormatError, "add up to 7"),
        ({"masks": [[[0, 0, 1, 1]]], "size": (4, 4)}, FormatError, "polygon of 4 numbers"),
        ({"masks": [[[0, 0, 1, 1, 2, 0]]]}, FormatError, "size"),
        ({"boxes": [[0, 0, 1, 1]] * 2}, FormatError, "2 boxes"),
    ],
)
def test_dicts_that_are_wrong(change, error, match):
    sample = {"masks": np.ones((1, 4, 4), bool), "labels": [0], "scores": [0.5]} | change
    with pytest.raises(error, match=match):
        batch_of(["a"], [sample], TWO, "pred")


def test_every_form_of_a_mask_is_the_same():
    mask = box_mask((6, 5), 1, 1, 3, 2)
    runs = naive.counts_of(mask.astype(np.uint8))
    forms = [
        np.array([mask]),
        np.array([mask], np.uint8)[:, None] * 255,
        [mask],
        [{"size": [6, 5], "counts": runs}],
        [{"size": [6, 5], "counts": naive.string_of(runs)}],
        [{"size": [6, 5], "counts": naive.string_of(runs).encode()}],
        [[[1, 1, 1, 3, 4, 3, 4, 1]]],
    ]
    for masks in forms:
        batch = batch_of(["a"], [{"masks": masks, "labels": [1], "scores": [1], "size": (6, 5)}], TWO, "pred")
        np.testing.assert_array_equal(dense(batch.masks, 0, (6, 5)), mask)


def test_boxes_alone():
    pred = {"boxes": [[0, 0, 10, 10]], "labels": [0], "scores": [0.5]}
    gt = {"boxes": [[0, 0, 10, 8]], "labels": [0]}
    batch = batch_of(["a"], [pred], TWO, "pred"), batch_of(["a"], [gt], TWO, "gt")
    assert scores(evidence_of(*batch, ("bbox",)), TWO, COCO).metrics["bbox/ap"] == pytest.approx(0.7)
    with pytest.raises(InputError, match="no mask AP"):
        evidence_of(*batch, ("segm",))


def test_select_keeps_rows_together():
    pred, _ = batches(5, 4)
    chosen = pred.select([2, 0])
    assert chosen.images == (2, 0)
    for index, image in enumerate((2, 0)):
        one, other = chosen.image == index, pred.image == image
        for column in ("category", "scores", "ids"):
            np.testing.assert_array_equal(getattr(chosen, column)[one], getattr(pred, column)[other])
        np.testing.assert_array_equal(chosen.masks.areas[one], pred.masks.areas[other])
    assert isinstance(chosen, InstanceBatch)


def test_protocols_by_name():
    assert protocols.available("instance")[0] == "coco"
    with pytest.raises(ConfigError, match="coco-corrected"):
        protocols.load("coco_corected", "instance")
    digests = {rules.digest for rules in instance_rules.INSTANCE}
    assert len(digests) == len(instance_rules.INSTANCE)
    for bad in ({"iou_thresholds": (0.0,)}, {"iou_thresholds": ()}, {"max_detections": (0,)}, {"area_ranges": (AreaRange("all", 3, 1),)}):
        with pytest.raises(ConfigError):
            instance_rules.customised(COCO, **bad)
