"""Panoptic metrics: against slow twins, by hand, and the laws of merging."""

from __future__ import annotations

import math
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import segbench
from segbench import evidence as evidences
from segbench.datasets import Dataset, LabelClass
from segbench.errors import ComparabilityError, ConfigError, InputError, LabelError, PairingError, ShapeError
from segbench.metrics.boundaries import boundary_distance_px
from segbench.metrics.panoptic import matching as panoptic_matching
from segbench.metrics.panoptic.catalogue import METRICS
from segbench.metrics.panoptic.scoring import COMPUTE, PanopticAccumulator, choose, ground_truth, scores, tables_for
from segbench.metrics.panoptic.segments import resized_to, segment_pairs, void_like
from segbench.protocols.panoptic import PANOPTIC, RULE_TITLES, PanopticRules
from segbench.samples import PanopticMap
from tests import naive_panoptic as naive
from tests.panoptic_sets import DATASET, NUM_CLASSES, SETS, flat, panoptic_image, sample

RULES = {rules.name: rules for rules in PANOPTIC}
COCO = RULES["coco-panoptic"]


@pytest.fixture(autouse=True)
def known_tables(monkeypatch):
    for name in ("segments", "overlaps", "boundary_overlaps"):
        monkeypatch.setitem(evidences.TABLE_VERSIONS, name, 1)


def accumulate(images, ids=None, tables=(), kinds=("rgb", "rgb"), dataset=DATASET):
    """An accumulator of (gt rows, gt table, pred rows, pred table)."""
    accumulator = PanopticAccumulator(dataset, tables)
    for order, image in enumerate(images):
        image_id = order if ids is None else ids[order]
        gt_rows, gt_table, pred_rows, pred_table = image
        pred, gt = sample(image_id, pred_rows, pred_table, kinds[1], image_id), sample(image_id, gt_rows, gt_table, kinds[0], image_id)
        accumulator.update([pred], [gt])
    return accumulator


def same_arrays(first, second):
    """Whether two accumulators hold the same evidence bit for bit."""
    first, second = first.arrays(), second.arrays()
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


def same(value, twin):
    return (value is None and math.isnan(twin)) or repr(value) == repr(twin)


@given(SETS)
def test_scores_equal_the_slow_twin_bit_for_bit(images):
    found = accumulate(images).compute(COCO)
    sums = naive.class_sums(flat(images))
    means, rows = naive.qualities(sums, range(NUM_CLASSES))
    for name, value in zip(("pq", "sq", "rq"), means, strict=True):
        assert same(found.metrics[f"panoptic/{name}"], value)
    for suffix, classes in (("things", (0, 1)), ("stuff", (2, 3))):
        for name, value in zip(("pq", "sq", "rq"), naive.qualities(sums, classes)[0], strict=True):
            assert same(found.metrics[f"panoptic/{name}_{suffix}"], value)
    for index, row in enumerate(found.per_class):
        expected = rows.get(index, (math.nan,) * 3)
        assert all(same(row[name], value) for name, value in zip(("pq", "sq", "rq"), expected, strict=True))
        assert [row["tp"], row["fp"], row["fn"]] == list(sums.get(index, (0, 0, 0, 0))[1:])
        assert row["is_thing"] is (index < 2)
    for name, value in found.metrics.items():
        assert (value is None) == (name in found.undefined)


@given(SETS)
def test_dagger_and_covering_equal_their_twins(images):
    found = accumulate(images).compute(COCO).metrics
    for name, rows in (
        ("pq_dagger", naive.dagger(flat(images), DATASET.isthing)),
        ("parsing_covering", naive.covering(flat(images), NUM_CLASSES)),
    ):
        expected = math.fsum(rows.values()) / len(rows) if rows else None
        value = found[f"panoptic/{name}"]
        assert value is None if expected is None else value == pytest.approx(expected, rel=1e-12)
    dagger = accumulate(images).compute(RULES["pq-dagger"])
    assert dagger.metrics["panoptic/pq"] == found["panoptic/pq_dagger"]


@given(st.lists(panoptic_image(crowds=False), max_size=3))
@settings(max_examples=40)
def test_boundary_pq_equals_its_twin(images):
    sizes = {(len(image[0]), len(image[0][0])) for image in images}
    assert all(boundary_distance_px(*size) == 1 for size in sizes)
    found = accumulate(images, tables=("boundary_overlaps",)).compute(COCO)
    means, rows = naive.qualities(naive.boundary_sums(images, 1), range(NUM_CLASSES))
    assert same(found.metrics["panoptic/boundary_pq"], means[0])
    assert all(same(row["boundary_pq"], rows.get(index, (math.nan,))[0]) for index, row in enumerate(found.per_class))


@given(st.lists(panoptic_image(stated=True), max_size=4))
def test_trusted_areas_are_those_of_the_file(images):
    found = accumulate(images).compute(RULES["panopticapi"])
    means, _ = naive.qualities(naive.class_sums(flat(images), stated=True), range(NUM_CLASSES))
    assert same(found.metrics["panoptic/pq"], means[0])


@given(panoptic_image())
def test_every_pixel_type_gives_the_same_table(image):
    gt_rows, gt_table, pred_rows, pred_table = image
    small = max(max(map(max, rows)) for rows in (gt_rows, pred_rows)) < 256
    kinds = ["rgb", "int32", "uint32", "int64", ">i4", *(["uint8", "uint16"] if small else [])]
    counts = segment_pairs(sample(0, pred_rows, pred_table), sample(0, gt_rows, gt_table))
    expected = counts.table
    assert np.array_equal(counts.gt_areas, expected.sum(1))
    assert np.array_equal(counts.pred_areas, expected.sum(0))
    assert counts.whole == all(0 not in areas[1:-1] and areas[-1] == 0 for areas in (counts.gt_areas, counts.pred_areas))
    both = naive.overlaps(*(flat([image])[0][at] for at in (0, 2)))
    for (g, p), pixels in both.items():
        row, column = (0 if key == 0 else 1 + list(table).index(key) for key, table in ((g, gt_table), (p, pred_table)))
        assert expected[row, column] == pixels
    assert expected.sum() == len(flat([image])[0][0])
    for kind in kinds:
        assert np.array_equal(expected, segment_pairs(sample(0, pred_rows, pred_table, kind), sample(0, gt_rows, gt_table, kind)).table)
        assert np.array_equal(expected, segment_pairs(sample(0, pred_rows, pred_table, kind), sample(0, gt_rows, gt_table)).table)


def test_thousands_of_segments_take_the_sorted_path():
    rng = np.random.default_rng(0)
    sides = [rng.integers(0, 2500, (60, 60)) for _ in range(2)]
    tables = [{int(key): (0, False, -1) for key in np.unique(values) if key} for values in sides]
    counts = segment_pairs(*(sample(0, values, rows, "int32") for values, rows in zip(reversed(sides), reversed(tables), strict=True)))
    table = counts.table
    assert counts.whole
    assert np.array_equal(counts.gt_areas, table.sum(1))
    assert np.array_equal(counts.pred_areas, table.sum(0))
    for row, column in zip(*table.nonzero(), strict=True):
        ids = [[0, *rows][at] for rows, at in zip(tables, (row, column), strict=True)]
        assert table[row, column] == ((sides[0] == ids[0]) & (sides[1] == ids[1])).sum()
    assert table.sum() == 3600


def test_many_segments_on_both_sides_need_no_table_of_all_pairs():
    ids = np.arange(1, 20001)
    values = ids.astype(np.int32).reshape(100, 200).repeat(5, 1)
    segments = {int(key): (0, False, 5) for key in ids}
    tracemalloc.start()
    try:
        accumulator = PanopticAccumulator(DATASET)
        accumulator.update([sample(0, values, segments, "int32")], [sample(0, values, segments, "int32")])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert accumulator.compute(COCO).metrics["panoptic/pq"] == 1.0
    assert peak < 1 << 28  # the table of all pairs would be 3 GB


@pytest.mark.parametrize("ids", [np.arange(1, 4001) << 24, np.arange(1, 4001) << 40, -np.arange(1, 4001), np.arange(1, 4001) * 255])
def test_thousands_of_ids_that_share_bits(ids):
    values = ids.repeat(3)
    many = {int(key): (0, False, 3) for key in ids}
    one = {7: (0, False, -1)}
    counts = segment_pairs(sample(0, [np.full(len(values), 7)], one, "int64"), sample(0, [values], many, "int64"))
    assert counts.whole
    assert counts.table[1:-1].tolist() == [[0, 3, 0]] * len(ids)


def in_memory(values, *ids):
    return {0: (values, [{"id": key, "category_id": 1} for key in ids])}


@pytest.mark.parametrize(("kind", "ids"), [("u1", (257, 258)), ("i1", (257, 258)), ("u2", (65537, 65538)), ("i2", (65537, 65538))])
def test_ids_that_no_pixel_can_hold_are_not_cut_off(kind, ids):
    values = np.array([[1, 1, 2, 2]] * 4)
    fits, cast = in_memory(values, 1, 2), in_memory(values.astype(kind), *ids)
    for sides in ((cast, fits), (fits, cast)):
        with pytest.raises(LabelError, match=rf"(?s)beyond {np.iinfo(kind).max}, .*cast to a smaller type"):
            segbench.evaluate(*sides, dataset=DATASET, task="panoptic")


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i2", "i4", "i8"])
def test_where_0_is_a_segment_no_value_of_a_map_without_a_sign_is_void(kind):
    highest = int(min(np.iinfo(kind).max, 2**31 - 1))
    values = np.array([[0, 0, highest, highest]] * 4, kind)
    both = in_memory(values, 0, highest)
    assert segbench.evaluate(both, both, dataset=DATASET, task="panoptic").value("panoptic/pq") == 1.0
    lost = in_memory(values, 0)
    with pytest.raises(LabelError, match=f"not in the table beside it: {highest}"):
        segbench.evaluate(lost, lost, dataset=DATASET, task="panoptic")
    if kind[0] == "i":  # -1 is what a map with a sign says for nothing
        values = np.array([[0, 0, -1, -1]] * 4, kind)
        assert segbench.evaluate(in_memory(values, 0), in_memory(values, 0), dataset=DATASET, task="panoptic").value("panoptic/pq") == 1.0


def test_ids_are_named_as_the_map_has_them():
    with pytest.raises(LabelError, match="not in the table beside it: -5"):
        segbench.evaluate(in_memory(np.array([[1, -5]], np.int32), 1), in_memory(np.array([[1, 1]]), 1), dataset=DATASET, task="panoptic")
    wide = np.array([[1, 2**63 + 5]], np.uint64)
    with pytest.raises(LabelError, match="not in the table beside it: 9223372036854775813"):
        segbench.evaluate(in_memory(wide, 1), in_memory(np.array([[1, 1]]), 1), dataset=DATASET, task="panoptic")


def test_wide_runs_and_long_rows():
    gt = np.zeros((5, 1000), np.int64)
    gt[1:4, 37:901] = 70000
    pred = np.zeros((5, 1000), np.int64)
    pred[2:5, 100:1000] = 9
    table = segment_pairs(sample(0, pred, {9: (0, False, -1)}), sample(0, gt, {70000: (0, False, -1)})).table
    assert table.tolist() == [[5000 - 3 * 864 - 3 * 900 + 2 * 801, 3 * 900 - 2 * 801, 0], [3 * 864 - 2 * 801, 2 * 801, 0], [0, 0, 0]]


def test_by_hand():
    # thing 1 covers 6 pixels, predicted on 5 of them and 1 of void: IoU 5 / (6 + 6 - 5 - 1); thing 2 is missed; 3 is invented
    gt = [[1, 1, 1, 0, 2, 2], [1, 1, 1, 0, 2, 2]]
    pred = [[7, 7, 7, 7, 3, 0], [7, 7, 0, 0, 3, 3]]
    image = (gt, {1: (0, False, 6), 2: (0, False, 4)}, pred, {7: (0, False, -1), 3: (1, False, -1)})
    found = accumulate([image]).compute(COCO)
    assert found.per_class[0]["pq"] == (5 / 6) / 1.5
    assert [found.per_class[0][name] for name in ("tp", "fp", "fn", "sq", "rq")] == [1, 0, 1, 5 / 6, 1 / 1.5]
    assert [found.per_class[1][name] for name in ("tp", "fp", "fn", "pq", "sq")] == [0, 1, 0, 0.0, 0.0]
    assert found.metrics["panoptic/pq"] == ((5 / 6) / 1.5 + 0.0) / 2
    assert found.metrics["panoptic/pq_stuff"] is None
    assert found.undefined["panoptic/pq_stuff"] == "no stuff class has ground truth or a prediction that counts"
    assert found.undefined["panoptic/pq/class2"] == "neither ground truth nor prediction that counts"
    assert found.per_image["pq"] == [found.metrics["panoptic/pq"]]
    assert found.per_image["segments"] == [2]


def test_exactly_half_is_no_match():
    image = ([[1, 1, 0, 0]], {1: (0, False, 2)}, [[5, 0, 0, 0]], {5: (0, False, -1)})
    assert accumulate([image]).compute(COCO).per_class[0]["tp"] == 0


def test_only_the_last_crowd_forgives_unless_corrected():
    # two crowds of one class; the prediction lies in the first of them
    image = ([[1, 1, 2, 2]], {1: (0, True, 2), 2: (0, True, 2)}, [[5, 5, 0, 0]], {5: (0, False, -1)})
    fp = {name: accumulate([image]).compute(rules).per_class[0]["fp"] for name, rules in RULES.items()}
    assert fp["coco-panoptic"] == fp["cityscapes-panoptic"] == 1
    assert fp["coco-panoptic-corrected"] == 0
    reverse = (image[0], dict(reversed(image[1].items())), *image[2:])
    assert accumulate([reverse]).compute(COCO).per_class[0]["fp"] == 0


def test_void_predictions_are_another_metric_in_torchmetrics():
    # 60 % of a segment is predicted as void
    image = ([[1] * 10], {1: (0, False, 10)}, [[7] * 4 + [0] * 6], {7: (0, False, -1)})
    assert accumulate([image]).compute(COCO).metrics["panoptic/pq"] == 0.0
    assert accumulate([image]).compute(RULES["torchmetrics"]).metrics["panoptic/pq"] == 1.0


def test_wrong_areas_are_refused_recounted_or_believed():
    image = ([[1, 1, 1, 0]], {1: (0, False, 1)}, [[7, 7, 7, 0]], {7: (0, False, -1)})
    accumulator = accumulate([image])
    with pytest.raises(InputError, match="wrong area for 1 of 1 segment") as caught:
        accumulator.compute(COCO)
    assert caught.value.code == "SB155"
    assert "0, segment 1: 1 stated, 3 pixels" in str(caught.value)
    assert accumulator.compute(RULES["coco-panoptic-corrected"]).metrics["panoptic/pq"] == 1.0
    assert accumulator.compute(RULES["panopticapi"]).metrics["panoptic/pq"] == 3.0


def test_segments_of_ignored_classes_are_void():
    dataset = Dataset(
        name="city", classes=(LabelClass(id=1, name="car", isthing=True), LabelClass(id=9, name="ego", isthing=False, ignore=True))
    )
    gt = sample(0, [[1, 1, 2, 2]], {1: (0, False, 2), 2: (1, False, 2)})
    pred = sample(0, [[5, 5, 6, 6]], {5: (0, False, -1), 6: (0, False, -1)})
    accumulator = PanopticAccumulator(dataset)
    accumulator.update([pred], [gt])
    assert [accumulator.compute(COCO).per_class[0][name] for name in ("tp", "fp", "fn")] == [1, 0, 0]
    assert accumulator.evidence().tables["overlaps"]["gt"].tolist() == [0, 1]


@given(SETS, st.randoms(use_true_random=False))
def test_any_split_in_any_order_is_one_pass(images, random):
    whole = accumulate(images, tables=("boundary_overlaps",))
    indices = list(range(len(images)))
    random.shuffle(indices)
    cut = random.randint(0, len(indices))
    parts = [accumulate([images[at] for at in part], part, ("boundary_overlaps",)) for part in (indices[:cut], indices[cut:], [])]
    random.shuffle(parts)
    assert same_arrays(parts[0].merge(*parts[1:]), whole)
    assert same_arrays(parts[0].merge(parts[1]).merge(parts[2]), parts[2].merge(parts[1].merge(parts[0])))


@given(SETS)
@settings(max_examples=25)
def test_round_trips(images):
    whole = accumulate(images)
    again = PanopticAccumulator.from_arrays(whole.arrays(), DATASET)
    assert same_arrays(again, whole)
    assert same_arrays(pickle.loads(pickle.dumps(whole)), whole)
    assert same_arrays(again.merge(PanopticAccumulator(DATASET)), whole)
    assert again.compute(COCO) == whole.compute(COCO) or images == [] or again.compute(COCO).metrics == whole.compute(COCO).metrics


def test_a_repeated_image_counts_once_or_is_an_error():
    image = ([[1, 1]], {1: (0, False, 2)}, [[1, 0]], {1: (0, False, -1)})
    other = ([[1, 1]], {1: (0, False, 2)}, [[1, 1]], {1: (0, False, -1)})
    merged = accumulate([image]).merge(accumulate([image])).evidence()
    assert len(merged.images) == 1
    assert merged.repeated == 1
    with pytest.raises(InputError, match="given twice"):
        accumulate([image]).merge(accumulate([other]))


def test_a_pair_that_raises_leaves_nothing_behind():
    accumulator = PanopticAccumulator(DATASET)
    with pytest.raises(ShapeError) as caught:
        accumulator.update([sample(0, [[1]], {1: (0, False, 1)})], [sample(0, [[1, 1]], {1: (0, False, 2)})])
    assert caught.value.code == "SB101"
    assert len(accumulator.evidence().images) == 0


def test_batches_must_agree():
    one = sample(0, [[1]], {1: (0, False, 1)})
    with pytest.raises(PairingError, match="one prediction for every"):
        PanopticAccumulator(DATASET).update([one], [])
    with pytest.raises(PairingError, match="image 0 came with"):
        PanopticAccumulator(DATASET).update([one], [sample(1, [[1]], {1: (0, False, 1)})])


@pytest.mark.parametrize(
    ("pred", "gt", "code", "message"),
    [
        (
            ([[1, 4]], {1: (0, False, 1)}),
            ([[1, 1]], {1: (0, False, 2)}),
            "SB150",
            "image 5, prediction: 1 segment in the map and not in the table beside it: 4",
        ),
        (
            ([[1, 1]], {1: (0, False, 2)}),
            ([[1, 4]], {1: (0, False, 1)}),
            "SB150",
            "image 5, ground truth: 1 segment in the map and not in the table beside it: 4",
        ),
        (
            ([[1, 1]], {1: (0, False, 2), 3: (0, False, 0)}),
            ([[1, 1]], {1: (0, False, 2)}),
            "SB150",
            "image 5, prediction: 1 segment in the table and not in the map: 3",
        ),
        (
            ([[1, 1]], {1: (-1, False, 2)}),
            ([[1, 1]], {1: (0, False, 2)}),
            "SB110",
            "image 5, prediction: 1 segment of a category that the data set does not have: 1",
        ),
    ],
)
def test_map_and_table_must_list_the_same_segments(pred, gt, code, message):
    with pytest.raises(LabelError) as caught:
        PanopticAccumulator(DATASET).update([sample(5, *pred)], [sample(5, *gt)])
    assert caught.value.code == code
    assert message in str(caught.value)
    assert "image 5" in str(caught.value)
    assert "5.png" in str(caught.value)


def test_unlisted_ground_truth_is_neither_void_nor_segment():
    gt, pred = sample(0, [[1, 1, 9, 9, 9]], {1: (0, False, 2)}), sample(0, [[1, 1, 2, 2, 2]], {1: (0, False, 2), 2: (1, False, 3)})
    accumulator = PanopticAccumulator(DATASET, unlisted=True)
    accumulator.update([pred], [gt])
    assert accumulator.evidence().tables["overlaps"]["gt"].tolist() == [1, -1]
    assert accumulator.compute(COCO).per_class[1]["fp"] == 1


def test_points_are_one_row():
    values = np.array([65537, 65537, 2, 2], np.uint32)
    points = PanopticMap(0, values, np.array([2, 65537]), np.array([2, 0], np.int32), np.array([-1, -1]), np.zeros(2, bool))
    accumulator = PanopticAccumulator(DATASET)
    accumulator.update([points], [points])
    assert accumulator.compute(COCO).metrics["panoptic/pq"] == 1.0
    assert accumulator.evidence().images.sizes.tolist() == [[1, 4]]
    with pytest.raises(InputError, match="point clouds"):
        PanopticAccumulator(DATASET, ("boundary_overlaps",)).update([points], [points])


def test_a_prediction_of_nothing_misses_everything():
    gt = sample(0, [[1, 1, 2]], {1: (0, False, 2), 2: (2, False, 1)})
    accumulator = PanopticAccumulator(DATASET)
    accumulator.update([void_like(gt)], [gt])
    found = accumulator.compute(COCO)
    assert [row["fn"] for row in found.per_class] == [1, 0, 1, 0]
    assert [row["fp"] for row in found.per_class] == [0, 0, 0, 0]


@pytest.mark.parametrize("kinds", [("rgb", "rgb"), ("rgb", "uint16"), ("uint16", "rgb")])
def test_resized_predictions_lose_what_vanishes(kinds):
    pred = sample(0, [[300, 300, 7, 7], [300, 300, 0, 7]], {300: (0, False, 4), 7: (1, False, 3)}, kinds[0])
    gt = sample(0, [[1, 1]], {1: (0, False, 2)}, kinds[1])
    found = resized_to(pred, gt, "nearest")
    assert found.segment_ids.tolist() == [300, 7]
    lost = resized_to(pred, sample(0, [[1]], {1: (0, False, 1)}), "nearest")
    assert lost.segment_ids.tolist() == [300]
    assert segment_pairs(lost, sample(0, [[1]], {1: (0, False, 1)})).table.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert resized_to(gt, gt, "nearest") is gt


def test_negative_void():
    values = np.array([[-1, 0, 0]], np.int32)
    found = PanopticMap(0, values, np.array([0]), np.array([0], np.int32), np.array([-1]), np.zeros(1, bool), void=-1)
    accumulator = PanopticAccumulator(DATASET)
    accumulator.update([found], [sample(0, [[0, 3, 3]], {3: (0, False, 2)})])
    assert accumulator.compute(COCO).metrics["panoptic/pq"] == 1.0


def test_nothing_at_all():
    found = PanopticAccumulator(DATASET).compute(COCO)
    assert set(found.metrics.values()) == {None}
    assert {found.undefined[name] for name in found.metrics} == {"no images"}
    empty = accumulate([([[0]], {}, [[0]], {})]).compute(COCO)
    assert empty.metrics["panoptic/pq"] is None
    assert empty.per_image["pq"] == [None]


def test_things_need_to_be_known_for_their_means():
    dataset = Dataset(name="unsaid", classes=(LabelClass(id=1, name="car"),))
    found = accumulate([([[1]], {1: (0, False, 1)}, [[1]], {1: (0, False, 1)})], dataset=dataset).compute(COCO)
    assert found.metrics["panoptic/pq"] == 1.0
    assert found.undefined["panoptic/pq_things"] == "the data set does not say whether car is a thing or stuff"
    stuff = Dataset(name="stuff", classes=(LabelClass(id=1, name="sky", isthing=False),))
    assert PanopticAccumulator(stuff).compute(COCO).undefined["panoptic/pq_things"] == "no images"


def test_the_catalogue_holds_every_metric():
    assert set(METRICS) == set(COMPUTE)
    assert set(RULE_TITLES) == set(PanopticRules.__struct_fields__)
    assert tables_for(choose(None)) == ("segments", "overlaps")
    assert tables_for(choose(["boundary_pq"])) == ("segments", "overlaps", "boundary_overlaps")
    assert choose(["pq*"]) == ("panoptic/pq", "panoptic/pq_things", "panoptic/pq_stuff", "panoptic/pq_dagger")
    with pytest.raises(ConfigError):
        choose(["miou"])
    with pytest.raises(ConfigError):
        PanopticAccumulator(DATASET, ("pixels",))


def test_protocols_differ_in_their_rules():
    assert len({rules.digest for rules in PANOPTIC}) == len(PANOPTIC) - 1  # cityscapes-panoptic is panopticapi's copy
    assert PANOPTIC[0].options == {
        "stated_areas": "refuse",
        "crowd": "last",
        "void_prediction": "counted",
        "stuff": "separate",
        "stuff_score": "match",
        "arithmetic": "float64",
        "summation": "pairs",
    }


def test_evidence_of_another_task_is_refused():
    with pytest.raises(ComparabilityError):
        scores(evidences.empty("semantic", NUM_CLASSES), DATASET, COCO)


def test_the_ground_truth_part_does_not_depend_on_the_prediction():
    gt = ([[1, 1, 2]], {2: (0, False, 1), 1: (1, False, 2)})
    first = accumulate([(*gt, [[1, 1, 1]], {1: (0, False, 3)})]).evidence()
    second = accumulate([(gt[0], dict(reversed(gt[1].items())), [[4, 4, 0]], {4: (2, False, 2)})]).evidence()
    for name, column in ground_truth(first).items():
        assert np.array_equal(column, ground_truth(second)[name])


def test_rows_of_an_image_keep_the_order_of_the_file():
    image = ([[5, 2, 9]], {9: (0, False, 1), 2: (1, False, 1), 5: (2, False, 1)}, [[0, 0, 0]], {})
    table = panoptic_matching.scene(accumulate([image]).evidence()).gt
    assert table.segment.tolist() == [9, 2, 5]
