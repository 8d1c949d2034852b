"""Semantic metrics: against slow twins, by hand, and the laws of merging."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import datasets, protocols
from segbench.errors import ComparabilityError, ConfigError, FormatError, InputError, LabelError, PairingError, ShapeError
from segbench.metrics import confusion
from segbench.metrics.boundaries import boundary_counts, boundary_distance_px
from segbench.metrics.catalogue import METRICS
from segbench.metrics.cityscapes import instance_categories
from segbench.metrics.semantic import COMPUTE, SemanticAccumulator, choose, scores, tables_for
from segbench.metrics.splitting import split
from segbench.samples import LabelMap
from tests import naive

NUM_CLASSES = 4
DATASET = datasets.simple(NUM_CLASSES)
MEANING = DATASET.value_map("contiguous")
POOLED = protocols.load("pooled", "semantic")
ALL = [protocols.load(name, "semantic") for name in protocols.available("semantic")]


def sample(image_id, classes, dtype=np.uint8, dataset=DATASET, **more):
    """A label map from class indices; the void class becomes 255."""
    classes = np.asarray(classes)
    values = np.where(classes == dataset.num_classes, 255, classes).astype(dtype)
    return LabelMap(image_id, values, dataset.value_map("contiguous"), file=f"{image_id}.png", **more)


def accumulate(pairs, ids=None, tables=("pixels",), dataset=DATASET):
    """An accumulator of (pred, gt) class maps."""
    accumulator = SemanticAccumulator(dataset, tables)
    for image_id, (pred, gt) in zip(ids if ids is not None else range(len(pairs)), pairs, strict=True):
        accumulator.update([sample(image_id, pred, dataset=dataset)], [sample(image_id, gt, dataset=dataset)])
    return accumulator


def same_arrays(first, second):
    """Whether two evidences are equal bit for bit."""
    first, second = first.arrays(), second.arrays()
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


@st.composite
def class_maps(draw, num_classes=NUM_CLASSES):
    """A (pred, gt) pair of small class maps, void included, with runs of equal pixels."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    present = draw(st.lists(st.integers(0, num_classes), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    gt = rng.choice(present, (height, width))
    pred = np.where(rng.random(gt.shape) < draw(st.sampled_from([0.0, 0.3, 1.0])), rng.integers(0, num_classes + 1, gt.shape), gt)
    return pred, gt


SETS = st.lists(class_maps(), min_size=0, max_size=6)


def close(value, twin):
    """Equal up to the order of additions; None is NaN."""
    return (value is None and math.isnan(twin)) or (value is not None and value == pytest.approx(twin, rel=1e-12, abs=1e-15))


@given(SETS)
def test_every_metric_equals_its_slow_twin(pairs):
    found = accumulate(pairs).compute(POOLED)
    twin = naive.per_class(pairs, NUM_CLASSES)
    for row, values in zip(found.per_class, zip(*twin.values(), strict=True), strict=True):
        for column, value in zip(twin, values, strict=True):
            assert row[column] == value or (row[column] is None and math.isnan(value))
    expected = {
        "pixel_accuracy": naive.pixel_accuracy(pairs, NUM_CLASSES),
        "mean_accuracy": naive.mean(twin["recall"]),
        "miou": naive.mean(twin["iou"]),
        "fwiou": naive.fwiou(pairs, NUM_CLASSES),
        "mdice": naive.mean(twin["dice"]),
        "kappa": naive.kappa(pairs, NUM_CLASSES),
        "miou_image": naive.miou_image(pairs, NUM_CLASSES),
        "miou_class": naive.miou_class(pairs, NUM_CLASSES),
        "miou_worst10": naive.miou_worst(pairs, NUM_CLASSES),
    }
    for name, value in expected.items():
        tolerant = name == "kappa" and found.metrics["semantic/kappa"] is not None
        if tolerant:
            assert found.metrics["semantic/kappa"] == pytest.approx(value, abs=1e-9)
        else:
            assert close(found.metrics[f"semantic/{name}"], value), name


@given(SETS)
def test_the_confusion_is_exact(pairs):
    assert confusion.confusion(accumulate(pairs).evidence()).tolist() == naive.confusion(pairs, NUM_CLASSES)


@given(SETS, st.sampled_from(["wrong", "excluded"]))
def test_sparse_image_counts_equal_dense_ones(pairs, void_prediction):
    counts = confusion.image_classes(accumulate(pairs).evidence(), void_prediction)
    dense = np.zeros((3, len(pairs), NUM_CLASSES), int)
    for image, pair in enumerate(pairs):
        dense[:, image] = naive.class_counts([pair], NUM_CLASSES, void_prediction)
    sparse = np.zeros_like(dense)
    sparse[:, counts.image, counts.label] = counts.tp, counts.gt, counts.pred
    assert np.array_equal(sparse, dense)
    assert np.array_equal(np.argsort(counts.image * NUM_CLASSES + counts.label), np.arange(len(counts.image)))


@given(SETS)
def test_per_image_values_equal_the_metric_of_one_image(pairs):
    columns = accumulate(pairs).compute(POOLED).per_image
    for index, pair in enumerate(pairs):
        assert close(columns["pixel_accuracy"][index], naive.pixel_accuracy([pair], NUM_CLASSES))
        assert close(columns["miou"][index], naive.mean(naive.per_class([pair], NUM_CLASSES)["iou"]))
        assert close(columns["miou_active"][index], naive.miou_image([pair], NUM_CLASSES))
    assert columns["id"] == list(range(len(pairs)))


@given(SETS)
def test_no_nan_leaves_and_every_none_has_a_reason(pairs):
    accumulator = accumulate(pairs, tables=("pixels", "boundary"))
    for rules in ALL:
        found = accumulator.compute(rules)
        for name, value in found.metrics.items():
            assert (value is None) == (name in found.undefined)
            assert value is None or (isinstance(value, float) and -1 <= value <= 1 + 1e-6)
        for row in found.per_class:
            for column, value in row.items():
                assert value is not None or found.undefined[f"semantic/{column}/{row['name']}"]
                assert not (isinstance(value, float) and math.isnan(value))


def test_the_textbook_case():
    """Ninety percent background and a model that says nothing else: accuracy looks good, mIoU does not."""
    gt = np.zeros((10, 10), int)
    gt[0] = 1
    found = accumulate([(np.zeros_like(gt), gt)], dataset=datasets.simple(2)).compute(POOLED)
    assert found.metrics["semantic/pixel_accuracy"] == 0.9
    assert found.metrics["semantic/miou"] == 0.45
    assert found.metrics["semantic/kappa"] == 0.0


def test_by_hand():
    """Two images, three classes and void, every number small enough to check on paper."""
    dataset = datasets.simple(3)
    gt = [[0, 0, 1, 3], [1, 1, 0, 0]]
    pred = [[0, 1, 1, 2], [1, 3, 0, 0]]
    found = accumulate([(pred[:1], gt[:1]), (pred[1:], gt[1:])], dataset=dataset).compute(POOLED)
    # labelled 7, right 1 + 1 + 3 = 5; class 0: tp 3, gt 4, pred 3; class 1: tp 2, gt 3, pred 3; class 2 nowhere on labelled pixels
    assert found.metrics["semantic/pixel_accuracy"] == 5 / 7
    assert [row["iou"] for row in found.per_class] == [3 / 4, 2 / 4, None]
    assert [row["recall"] for row in found.per_class] == [3 / 4, 2 / 3, None]
    assert [row["precision"] for row in found.per_class] == [1.0, 2 / 3, None]
    assert [row["dice"] for row in found.per_class] == [6 / 7, 4 / 6, None]
    assert [row["support"] for row in found.per_class] == [4, 3, 0]
    assert found.metrics["semantic/miou"] == 0.625
    assert found.metrics["semantic/fwiou"] == pytest.approx(3 / 4 * 4 / 7 + 2 / 4 * 3 / 7, rel=1e-15)
    assert found.metrics["semantic/kappa"] == (7 * 5 - (4 * 3 + 3 * 3)) / (49 - (4 * 3 + 3 * 3))
    # image 0: class 0 1/2, class 1 1/2; image 1: class 0 2/2, class 1 1/2
    assert found.per_image["miou"] == [0.5, 0.75]
    assert found.metrics["semantic/miou_image"] == 0.625
    assert found.metrics["semantic/miou_class"] == 0.625
    assert found.metrics["semantic/miou_worst10"] == 0.5
    assert found.undefined["semantic/iou/class_2"] == "neither ground truth nor prediction"


def test_rules_one_by_one_by_hand():
    """Class 2 only predicted, class 3 nowhere, one void prediction: each rule moves mIoU as written."""
    gt, pred = [[0, 0, 0, 1, 1, 1]], [[0, 0, 2, 1, 1, 4]]
    accumulator = accumulate([(pred, gt)])

    def miou(name):
        return accumulator.compute(protocols.load(name, "semantic")).metrics["semantic/miou"]

    assert miou("pooled") == np.mean([2 / 3, 2 / 3, 0])
    assert miou("huggingface") == miou("pooled")
    assert miou("cityscapes") == (2 / 3 + 2 / 3) / 3
    assert miou("detectron2") == (2 / 3 + 1) / 2
    assert miou("ade20k") == np.mean([2 / 3, 2 / 3, 0, 0])
    assert miou("voc") is None
    assert "class_3" in accumulator.compute(protocols.load("voc", "semantic")).undefined["semantic/miou"]
    assert miou("mmseg") == float(np.nanmean(np.float32([2, 2, 0]) / np.float32([3, 3, 1])))
    assert miou("torchmetrics") == pytest.approx(4 / 9, rel=1e-6)


def test_fwiou_is_defined_where_a_class_is_nowhere():
    found = accumulate([([[0, 1, 1]], [[0, 0, 1]])]).compute(protocols.load("voc", "semantic"))
    assert found.metrics["semantic/miou"] is None
    assert found.metrics["semantic/fwiou"] == pytest.approx(1 / 2 * 2 / 3 + 1 / 2 * 1 / 3)


def test_kappa_leaves_void_predictions_out_where_the_rules_do():
    pairs, without = [([[0, 1, 1, 4, 4]], [[0, 0, 1, 1, 0]])], [([[0, 1, 1]], [[0, 0, 1]])]
    rules = protocols.load("detectron2", "semantic")
    assert accumulate(pairs).compute(rules).metrics["semantic/kappa"] == accumulate(without).compute(POOLED).metrics["semantic/kappa"]
    assert accumulate(pairs).compute(POOLED).metrics["semantic/kappa"] == (5 * 2 - (3 * 1 + 2 * 2)) / (25 - (3 * 1 + 2 * 2))


@pytest.mark.parametrize(("images", "worst"), [(9, 1), (19, 1), (20, 2), (29, 2), (30, 3)])
def test_the_worst_tenth_is_rounded_down(images, worst):
    width = 40
    pairs = [(np.arange(width)[None] < wrong, np.zeros((1, width), int)) for wrong in range(images)]
    expected = np.mean(sorted(1 - wrong / width for wrong in range(images))[:worst])
    assert accumulate(pairs).compute(POOLED).metrics["semantic/miou_worst10"] == pytest.approx(expected, rel=1e-12)


def test_images_stand_in_the_order_of_the_ground_truth():
    accumulator = SemanticAccumulator(DATASET)
    for order, image_id in enumerate(["b", "c", "a"]):
        accumulator.update([sample(image_id, [[0]])], [sample(image_id, [[0]], order=order)])
    assert accumulator.evidence().images.ids == ("b", "c", "a")


def test_torchmetrics_rules_average_images():
    pairs = [([[0, 0, 0, 1]], [[0, 0, 1, 1]]), ([[2, 2]], [[2, 3]])]
    found = accumulate(pairs).compute(protocols.load("torchmetrics", "semantic"))
    assert found.metrics["semantic/miou"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 2 + 0) / 4, rel=1e-6)
    assert accumulate(pairs[:1]).compute(protocols.load("torchmetrics", "semantic")).per_class[2]["iou"] is None


def test_float32_totals_lose_what_the_reference_loses():
    dataset = datasets.simple(2)
    sizes = [2**24, 1, 1, 1]
    evidence = accumulate([([[0]], [[0]])] * 4, dataset=dataset).evidence()
    evidence.tables["pixels"]["pixels"][:] = sizes
    evidence.tables["pixels"]["pred"][1:] = 1
    exact, single = (
        scores(evidence, dataset, protocols.load(name, "semantic")).metrics["semantic/pixel_accuracy"] for name in ("pooled", "mmseg")
    )
    assert exact == 2**24 / (2**24 + 3)
    assert single == 1.0


@given(SETS, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=50)
def test_any_split_in_any_order_is_one_pass_bit_for_bit(pairs, random, parts):
    whole = accumulate(pairs, tables=("pixels", "boundary")).evidence()
    shards = [SemanticAccumulator(DATASET, ("pixels", "boundary")) for _ in range(parts)]
    numbers = list(range(len(pairs)))
    random.shuffle(numbers)
    for number in numbers:
        pred, gt = pairs[number]
        random.choice(shards).update([sample(number, pred)], [sample(number, gt)])
    assert same_arrays(shards[0].merge(*shards[1:]).evidence(), whole)
    random.shuffle(shards)
    merged = SemanticAccumulator(DATASET, ("pixels", "boundary"))
    for shard in shards:
        merged = merged.merge(shard)
    assert same_arrays(merged.evidence(), whole)
    for rules in ALL:
        assert merged.compute(rules).metrics == scores(whole, DATASET, rules).metrics


@given(SETS)
@settings(max_examples=30)
def test_round_trips(pairs):
    accumulator = accumulate(pairs, tables=("pixels", "boundary"))
    again = SemanticAccumulator.from_arrays(accumulator.arrays(), DATASET)
    assert same_arrays(again.evidence(), accumulator.evidence())
    assert same_arrays(pickle.loads(pickle.dumps(accumulator)).evidence(), accumulator.evidence())
    empty = SemanticAccumulator(DATASET, ("pixels", "boundary"))
    assert same_arrays(accumulator.merge(empty).evidence(), accumulator.evidence())
    assert same_arrays(empty.merge(accumulator).evidence(), accumulator.evidence())


def test_updates_continue_after_a_merge():
    first, second = accumulate([([[0]], [[0]])], ids=["a"]), accumulate([([[1]], [[1]])], ids=["b"])
    merged = first.merge(second)
    merged.update([sample("c", [[2]])], [sample("c", [[2]])])
    assert merged.evidence().images.ids == ("a", "b", "c")
    assert first.evidence().images.ids == ("a",)


def test_a_repeated_image_counts_once_if_it_is_equal():
    once = accumulate([([[0, 1]], [[0, 0]])], ids=["a"])
    merged = once.merge(accumulate([([[0, 1]], [[0, 0]])], ids=["a"])).evidence()
    assert merged.repeated == 1
    assert scores(merged, DATASET, POOLED).metrics == once.compute(POOLED).metrics
    with pytest.raises(InputError, match="SB120"):
        once.merge(accumulate([([[0, 0]], [[0, 0]])], ids=["a"]))


def test_no_images():
    found = SemanticAccumulator(DATASET).compute(POOLED)
    assert set(found.metrics.values()) == {None}
    assert {found.undefined[name] for name in found.metrics} == {"no images"}
    assert found.per_image["id"] == []


def test_an_image_of_void_alone_counts_nothing():
    pairs = [([[0, 1]], [[0, 0]])]
    with_void = [*pairs, ([[1, 2]], [[4, 4]])]
    first, second = accumulate(pairs).compute(POOLED), accumulate(with_void).compute(POOLED)
    assert first.metrics == second.metrics
    assert second.per_image["miou"] == [0.5 / 2, None]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_number_types_give_the_same_evidence(dtype):
    rng = np.random.default_rng(5)
    pred, gt = rng.integers(0, NUM_CLASSES + 1, (2, 9, 13))
    accumulator = SemanticAccumulator(DATASET, ("pixels", "boundary"))
    accumulator.update([sample(0, pred, dtype)], [sample(0, gt)])
    assert same_arrays(accumulator.evidence(), accumulate([(pred, gt)], tables=("pixels", "boundary")).evidence())


def test_point_clouds():
    accumulator = accumulate([([0, 1, 1], [0, 1, 4])])
    assert accumulator.evidence().images.sizes.tolist() == [[1, 3]]
    assert accumulator.compute(POOLED).metrics["semantic/miou"] == 1.0
    with pytest.raises(InputError, match="rows and columns"):
        accumulate([([0, 1, 1], [0, 1, 4])], tables=("boundary",))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16), st.integers(1, 4))
def test_interior_equals_its_slow_twin_and_erosion_per_class(height, width, seed, distance_px):
    from segbench.kernels.boundary import mark_interior

    rng = np.random.default_rng(seed)
    classes = np.kron(rng.integers(0, 3, (height, width)), np.ones((3, 4), int)).astype(np.uint16)
    interior = np.zeros(classes.shape, np.uint8)
    mark_interior(classes, distance_px, np.zeros(classes.shape[1], np.int32), interior)
    assert np.array_equal(interior, naive.interior(classes, distance_px))
    by_class = np.zeros(classes.shape, bool)
    for c in range(3):
        by_class |= naive.eroded(classes == c, distance_px)
    assert np.array_equal(interior.astype(bool), by_class)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
@settings(max_examples=50)
def test_boundary_counts_equal_masks_one_class_at_a_time(height, width, seed):
    rng = np.random.default_rng(seed)
    gt = np.kron(rng.integers(0, NUM_CLASSES + 1, (height, width)), np.ones((3, 2), int)).astype(np.uint16)
    pred = np.where(rng.random(gt.shape) < 0.05, rng.integers(0, NUM_CLASSES + 1, gt.shape), np.roll(gt, 1, 0)).astype(np.uint16)
    table = boundary_counts(pred, gt, NUM_CLASSES)
    found = {c: row for c, *row in zip(*(table[name].tolist() for name in ("class", "intersection", "gt", "pred")), strict=True)}
    assert found == {c: list(row) for c, row in naive.boundary_counts(pred, gt, NUM_CLASSES).items()}


def test_boundary_iou_of_a_right_prediction_is_one_whatever_it_says_on_void():
    rng = np.random.default_rng(1)
    gt = np.kron(rng.integers(0, NUM_CLASSES + 1, (8, 8)), np.ones((8, 8), int))
    pred = np.where(gt == NUM_CLASSES, rng.integers(0, NUM_CLASSES, gt.shape), gt)
    found = accumulate([(pred, gt)], tables=("boundary",)).compute(POOLED)
    assert found.metrics["semantic/boundary_iou"] == 1.0


def test_boundary_iou_by_hand():
    """A 5x5 image of one class has 16 edge pixels at d = 1; a wrong pixel in the middle makes its 8 neighbours boundary too."""
    gt = np.zeros((5, 5), int)
    pred = gt.copy()
    pred[2, 2] = 1
    found = accumulate([(pred, gt)], tables=("boundary",)).compute(POOLED)
    assert boundary_distance_px(5, 5) == 1
    assert [row["boundary_iou"] for row in found.per_class] == [16 / 24, 0.0, None, None]


@pytest.mark.parametrize(("size", "distance_px"), [((1, 1), 1), ((1024, 2048), 46), ((480, 640), 16), ((75, 100), 2), ((105, 140), 4)])
def test_boundary_distance(size, distance_px):
    assert boundary_distance_px(*size) == distance_px


def test_asked_for_tables_are_missed_by_name():
    found = scores(accumulate([([[0]], [[0]])]).evidence(), DATASET, POOLED, ["boundary_iou", "miou"])
    assert found.metrics == {"semantic/miou": 1.0, "semantic/boundary_iou": None}
    assert "--metrics" in found.undefined["semantic/boundary_iou"]


def test_choosing_metrics():
    assert "semantic/boundary_iou" not in choose(None)
    assert choose(["*"]) == tuple(COMPUTE)
    assert choose(["semantic/miou_*", "iiou"]) == ("semantic/miou_image", "semantic/miou_class", "semantic/miou_worst10", "semantic/iiou")
    assert tables_for(["semantic/miou"]) == ("pixels",)
    assert tables_for(choose(["*"])) == ("pixels", "boundary", "instances")
    with pytest.raises(ConfigError, match="no metric fits 'mIou'"):
        choose(["mIou"])
    assert set(COMPUTE) <= set(METRICS)


CITY = datasets.load("cityscapes")


def city_map(image_id, names, instances=None, dtype=np.uint8):
    """A Cityscapes label map from class names."""
    ids = {row.name: row.id for row in CITY.classes}
    values = np.array([[ids[name] for name in row] for row in names]).astype(dtype)
    instances = None if instances is None else np.array(instances, np.int32)
    return LabelMap(image_id, values, CITY.value_map("label"), file=f"{image_id}_labelIds.png", instances=instances)


def test_category_iou_and_iiou_by_hand():
    gt = city_map("a", [["road", "car", "car", "bus", "person", "unlabeled"]], [[7, 26001, 26001, 28001, 24, 0]])
    pred = city_map("a", [["road", "car", "bus", "bus", "person", "car"]])
    accumulator = SemanticAccumulator(CITY, ("instances",))
    accumulator.update([pred], [gt])
    found = accumulator.compute(protocols.load("cityscapes", "semantic"))
    assert found.metrics["semantic/category_iou"] == 1.0
    assert found.metrics["semantic/category_iiou"] == 1.0
    of = {row["name"]: row for row in found.per_class}
    car, bus = 12794.0202738185, 35732.1511111111
    assert of["car"]["iiou"] == (car / 2) / (car / 2 + 0 + car / 2)
    assert of["bus"]["iiou"] == bus / (bus + 1)
    assert of["person"]["iiou"] is None, "a region without instances has none"
    assert of["road"]["iiou"] is None
    assert found.metrics["semantic/iiou"] == (of["bus"]["iiou"] + of["car"]["iiou"]) / 2


def test_regions_without_instances_and_mixed_groups_have_no_iiou():
    rows = [("ball", True, "toy"), ("cube", True, "toy"), ("sand", None, "place"), ("box", True, "place")]
    classes = tuple(
        datasets.LabelClass(id=index, name=name, isthing=isthing, supercategory=group, average_size_px=2.0)
        for index, (name, isthing, group) in enumerate(rows)
    )
    dataset = datasets.Dataset(name="toys", classes=classes)
    instances = np.array([[0, 1, 1000, 1001, 1001, 3001]], np.int32)
    accumulator = SemanticAccumulator(dataset, ("instances",))
    gt = sample("a", [[0, 0, 1, 1, 1, 3]], dataset=dataset, instances=instances)
    accumulator.update([sample("a", [[0, 0, 1, 1, 0, 3]], dataset=dataset)], [gt])
    table = accumulator.evidence().rows("instances")
    assert {name: column.tolist() for name, column in table.items()} == {
        "image": [0, 0],
        "class": [1, 3],
        "size": [2, 1],
        "tp": [1, 1],
        "category_tp": [2, 1],
    }
    assert list(instance_categories(dataset)) == ["toy"]
    found = accumulator.compute(POOLED)
    assert found.metrics["semantic/category_iiou"] == 1.0
    assert [row["iiou"] for row in found.per_class] == [0.0, 0.5, None, 1.0], "the ball has a false positive and no instance"


def test_iiou_needs_instances_and_sizes():
    with pytest.raises(InputError, match="instance ids"):
        SemanticAccumulator(CITY, ("instances",)).update([city_map("a", [["road"]])], [city_map("a", [["road"]])])
    gt = sample("a", [[0]], instances=np.array([[1001]], np.int32))
    with pytest.raises(InputError, match="average instance sizes"):
        SemanticAccumulator(DATASET, ("instances",)).update([sample("a", [[0]])], [gt])
    gt = city_map("a", [["road"]], [[7001]])
    with pytest.raises(LabelError, match="SB110"):
        SemanticAccumulator(CITY, ("instances",)).update([city_map("a", [["road"]])], [gt])


def failing(pred_values, gt_values, dataset=DATASET, space="contiguous"):
    """The LabelError that a pair of raw value maps raises."""
    maps = [LabelMap("a", np.array([values], np.int32), dataset.value_map(space), file="a.png") for values in (pred_values, gt_values)]
    with pytest.raises(LabelError) as caught:
        SemanticAccumulator(dataset).update(maps[:1], maps[1:])
    return caught.value


def test_unknown_values_are_named_with_their_pixels():
    error = failing([0, 7, 7, 9], [0, 1, 2, 3])
    assert error.code == "SB112"
    assert "the prediction holds 2 values" in str(error)
    assert "7 (2 px), 9 (1 px)" in str(error)
    assert error.files == [("pred", "a.png")]


def test_hints_name_what_to_type():
    assert "--ignore-index 65535" in failing([0, 0], [0, 65535]).hint
    assert "predict a class at every pixel" in failing([0, -1], [0, 0]).hint
    shifted = failing([1, 2, 3, 4], [0, 1, 2, 3])
    assert shifted.code == "SB111"
    assert "minus 1" in shifted.hint
    picture = failing(list(range(200)), [0] * 200)
    assert picture.code == "SB162"
    assert "--num-classes" in failing([0, 12, 77], [0, 0, 0]).hint


def test_other_id_spaces_are_recognised():
    error = failing([0, 18, 255], [7, 7, 7], CITY, "label")
    assert error.code == "SB111"
    assert "--id-space train" in error.hint
    error = failing([0, 1, 2], [33, 7, 26], CITY, "train")
    assert "--gt-id-space label" in error.hint


def test_a_binary_mask_is_recognised():
    dataset = datasets.simple(2, ignore_index=7)
    error = failing([0, 255], [0, 1], dataset)
    assert error.code == "SB112"
    assert "binary mask" in error.hint


def test_pairs_must_fit():
    accumulator = SemanticAccumulator(DATASET)
    with pytest.raises(ShapeError, match="1x2 vs 2x1"):
        accumulator.update([sample("a", [[0, 0]])], [sample("a", [[0], [0]])])
    with pytest.raises(PairingError, match="image b"):
        accumulator.update([sample("a", [[0]])], [sample("b", [[0]])])
    with pytest.raises(PairingError, match="one prediction for every"):
        accumulator.update([sample("a", [[0]])], [])
    assert len(accumulator.evidence().images) == 0


def test_evidence_of_other_classes_is_refused():
    evidence = accumulate([([[0]], [[0]])]).evidence()
    with pytest.raises(ComparabilityError, match="4 classes"):
        scores(evidence, datasets.simple(3), POOLED)
    with pytest.raises(ConfigError, match="no evidence table 'pixel'"):
        SemanticAccumulator(DATASET, ("pixel",))


@pytest.mark.parametrize(("column", "values"), [("gt", [0, 9]), ("pred", [-1, 0]), ("gt", [2, 1])])
def test_damaged_evidence_is_refused(column, values):
    evidence = accumulate([([[0, 1]], [[1, 2]])]).evidence()
    evidence.tables["pixels"][column][:] = values
    with pytest.raises(FormatError, match="damaged"):
        scores(evidence, DATASET, POOLED)


@given(SETS, st.sampled_from(ALL), st.sampled_from(ALL))
@settings(max_examples=60)
def test_the_split_of_a_difference_telescopes(pairs, first, second):
    evidence = accumulate(pairs).evidence()
    start, end = (scores(evidence, DATASET, rules).metrics for rules in (first, second))
    steps = split(evidence, DATASET, first, second)
    changed = [name for name in first.options if first.options[name] != second.options[name]]
    assert [step.rule for step in steps] == changed
    at = start
    for step in steps:
        assert step.before == at
        for name, delta in step.delta.items():
            assert delta is None or delta == step.after[name] - step.before[name]
        at = step.after
    assert at == end


def test_the_split_names_the_rule_that_matters():
    evidence = accumulate([([[0, 0, 2]], [[0, 0, 0]])]).evidence()
    steps = {step.rule: step for step in split(evidence, DATASET, POOLED, protocols.load("detectron2", "semantic"))}
    assert steps["mean_over"].delta["semantic/miou"] == 2 / 3 - 1 / 3
    assert steps["void_prediction"].delta["semantic/miou"] == 0.0


def test_protocols_by_name():
    assert protocols.available("semantic")[0] == DATASET.protocol("semantic") == "pooled"
    assert protocols.load("mmseg", "semantic").options["arithmetic"] == "float32"
    with pytest.raises(ConfigError, match="did you mean 'cityscapes'"):
        protocols.load("cityscape", "semantic")
    with pytest.raises(ConfigError, match="no task"):
        protocols.load("pooled", "depth")
    digests = {rules.name: rules.digest for rules in ALL}
    assert digests["pooled"] == digests["huggingface"], "equal rules, equal digest"
    assert len(set(digests.values())) == len(digests) - 1
    assert all(digest.startswith("sha256:") for digest in digests.values())
    assert set(protocols.rule_titles("semantic")) == set(POOLED.options)
