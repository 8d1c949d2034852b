"""Panoptic input that is not what it should be: in memory and in files, one clear message, never a traceback and never a silent number."""

from __future__ import annotations

import json
import warnings
from enum import IntEnum

import numpy as np
import pytest
from PIL import Image

import segbench
from segbench import cli
from segbench.datasets import Dataset, LabelClass, simple, to_json
from segbench.errors import ConfigError, FormatError, InputError, LabelError, PairingError, SegbenchError, ShapeError

DATASET = Dataset(name="d", tasks=("panoptic",), classes=(LabelClass(id=10, name="a", isthing=True),))
IDS = np.array([[1, 1, 2, 2]] * 4)


def segments(*ids):
    return [{"id": key, "category_id": 10} for key in ids]


TRUTH = (IDS, segments(1, 2))


def evaluated(pred, gt, **options):
    return segbench.evaluate(pred, gt, dataset=DATASET, task="panoptic", **options)


class Number(IntEnum):
    THREE = 3


class Whole:
    """A number that is equal to itself alone."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


LABELS = np.zeros((3, 4), np.uint8)
INSTANCES = {"masks": np.ones((1, 3, 4), bool), "labels": [10], "scores": [0.5]}
SAMPLES = {"semantic": LABELS, "panoptic": TRUTH, "instance": INSTANCES}
THREE_TASKS = Dataset(name="d", classes=DATASET.classes)


def both_doors(task, key):
    """The ids of the evidence by `evaluate` and by the accumulator, or what each of them raises."""

    def evaluate():
        sample = SAMPLES[task]
        return segbench.evaluate({key: sample}, {key: sample}, dataset=THREE_TASKS, task=task).evidences[task].images.ids

    def accumulate():
        accumulation = segbench.accumulator(task, THREE_TASKS)
        accumulation.add(SAMPLES[task], SAMPLES[task], image_id=key)
        return accumulation.evidence().images.ids

    answers = []
    for door in (evaluate, accumulate):
        try:
            answers.append([(type(image), image) for image in door()])
        except SegbenchError as error:
            answers.append((type(error), error.message))
    return answers


@pytest.mark.parametrize("task", SAMPLES)
@pytest.mark.parametrize("key", [np.int64(3), Number.THREE, Whole(3), np.str_("a")], ids=lambda key: type(key).__name__)
def test_image_ids_become_plain(task, key):
    plain = (str, "a") if isinstance(key, str) else (int, 3)
    assert both_doors(task, key) == [[plain], [plain]]


@pytest.mark.parametrize("task", SAMPLES)
@pytest.mark.parametrize("key", [1.5, (1,), b"x", True, np.True_], ids=repr)
def test_image_ids_that_are_none_are_refused_alike(task, key):
    first, second = both_doors(task, key)
    assert first == second == (ConfigError, f"an image id is a whole number or text, not {key!r}")


@pytest.mark.parametrize("task", SAMPLES)
def test_two_image_ids_of_one_number_are_refused(task):
    sample = SAMPLES[task]
    with pytest.raises(PairingError, match="two image ids in memory are one, 3") as caught:
        segbench.evaluate({Whole(3): sample, Whole(3): sample}, {3: sample}, dataset=THREE_TASKS, task=task)
    assert caught.value.code == "SB120"
    with pytest.raises(ConfigError, match="not None"):
        segbench.evaluate({None: sample}, {None: sample}, dataset=THREE_TASKS, task=task)


def test_mappings_that_read_when_asked_are_still_asked_one_by_one():
    class Lazy(dict):
        asked = []

        def __getitem__(self, key):
            self.asked.append(key)
            return LABELS

    lazy = Lazy({np.int64(3): None, np.int64(4): None})
    result = segbench.evaluate(lazy, {3: LABELS}, dataset=simple(1), missing="skip", intervals=False)
    assert result.evidences["semantic"].images.ids == (3,)
    assert set(lazy.asked) == {3}


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (0,), (0, 4, 3), (4, 0, 3)], ids=str)
def test_maps_without_pixels_are_refused(shape):
    empty = (np.zeros(shape, np.uint8), [])
    for pred, gt, role in ((empty, TRUTH, "pred"), (TRUTH, empty, "gt"), (empty, empty, "gt")):
        for options in ({}, {"resize": "nearest"}):
            with pytest.raises(ShapeError, match=r"an empty array, of shape .* holds no segments") as caught:
                evaluated([pred], [gt], **options)
            assert caught.value.files == [("file", f"{role} map 0")]
        with pytest.raises(ShapeError, match="an empty array"):
            segbench.accumulator("panoptic", DATASET).add(pred, gt)


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), ()], ids=str)
def test_array_files_without_pixels_are_refused(tmp_path, shape, capsys):
    dataset = Dataset(name="d", tasks=("panoptic",), label_divisor=1000, classes=DATASET.classes)
    (tmp_path / "d.json").write_text(to_json(dataset))
    for side, values in (("gt", np.full((6, 8), 10001, np.int32)), ("preds", np.zeros(shape, np.int32))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "a.npy", values)
    for sides in (("preds", "gt"), ("gt", "preds")):
        folders = [str(tmp_path / side) for side in sides]
        command = ["evaluate", *folders, "--dataset", str(tmp_path / "d.json"), "--format", "panoptic-divided"]
        assert cli.run([*command, "--gt-format", "panoptic-divided"]) == 3
        said = capsys.readouterr().err
        assert (f"an empty array, of shape {shape}, holds no segments" if shape else "this one is a single number of int32") in said
        assert "a.npy" in said


@pytest.mark.parametrize("ids", [IDS, IDS[..., None] * np.array([1, 0, 0])], ids=["ids", "colours"])
def test_points_and_images_are_not_resized_to_one_another(ids):
    image = (ids.astype(np.uint8), segments(1, 2))
    points = (IDS.reshape(-1), segments(1, 2))
    for pred, gt, sizes in ((points, image, "16 vs 4x4"), (image, points, "4x4 vs 16")):
        with pytest.raises(ShapeError, match=f"differ in size: {sizes}; the prediction is of other axes") as caught:
            evaluated([pred], [gt], resize="nearest")
        assert caught.value.code == "SB101"
        assert "--resize" not in caught.value.hint


@pytest.mark.parametrize("task", ["panoptic", "all", "semantic", "instance"])
def test_skipping_everything_leaves_nothing_to_evaluate(tmp_path, task, capsys):
    (tmp_path / "gt").mkdir()
    Image.fromarray((IDS[..., None] * np.array([1, 0, 0])).astype(np.uint8)).save(tmp_path / "gt" / "1.png")
    document = {"annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments(1, 2)}]}
    categories = [{"id": 10, "name": "a", "isthing": 1}]
    if task in ("panoptic", "all"):
        pred, gt = {"annotations": [], "categories": categories}, document | {"categories": categories}
    else:
        annotation = {"id": 1, "image_id": 1, "category_id": 10, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]}
        annotation["segmentation"] = [[0, 0, 2, 0, 2, 2, 0, 2]]
        pred = []
        gt = {"images": [{"id": 1, "height": 4, "width": 4}], "annotations": [annotation], "categories": categories}
    if task == "semantic":
        with pytest.raises(PairingError, match="no prediction for any of 1 ground truth") as caught:
            segbench.evaluate({}, {1: LABELS}, dataset=simple(2), task="semantic", missing="skip")
        assert caught.value.code == "SB130"
        return
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "pred.json").write_text(json.dumps(pred))
    assert cli.run(["evaluate", str(tmp_path / "pred.json"), str(tmp_path / "gt.json"), "--task", task, "--missing", "skip"]) == 3
    said = capsys.readouterr().err
    assert "no prediction for any of 1 ground truth: nothing is left to evaluate [SB130]" in said
    assert "pred.json" in said
    assert "--missing empty" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 1.7),
        ("id", "1"),
        ("id", True),
        ("id", float("nan")),
        ("category_id", 10.9),
        ("category_id", "10"),
        ("iscrowd", "0"),
        ("iscrowd", 0.5),
        ("isthing", "yes"),
        ("isthing", [1]),
        ("area", "8"),
    ],
)
def test_fields_of_segments_are_numbers(field, value):
    table = [segments(1)[0], {"id": 2, "category_id": 10, field: value}]
    with pytest.raises(LabelError, match=f"the {field} of a segment is no (whole )?number: ") as caught:
        evaluated({"street": (IDS, table)}, {"street": TRUTH})
    assert repr(value)[:8] in caught.value.message
    assert caught.value.code == "SB153"
    assert caught.value.files == [("file", "pred map 'street', segment 2 of its table")]


def test_a_segment_without_its_fields_names_the_image():
    with pytest.raises(LabelError, match="not described by id and category_id") as caught:
        evaluated({"street": (IDS, [{"id": 1}])}, {"street": TRUTH})
    assert (caught.value.code, caught.value.files) == ("SB150", [("file", "pred map 'street', segment 1 of its table")])


def crowded(value):
    """How many crowds a ground truth has whose second segment says this of itself."""
    gt = (IDS, [segments(1)[0], {"id": 2.0, "category_id": np.float32(10), "iscrowd": value, "isthing": np.True_}])
    result = evaluated([TRUTH], [gt], intervals=False)
    table = result.evidences["panoptic"].rows("segments")
    return int(table["crowd"][table["side"] == 0].sum())


@pytest.mark.parametrize(
    ("value", "crowds"), [(1, 1), (True, 1), (np.True_, 1), (np.int8(1), 1), (1.0, 1), (0, 0), (2, 0), (-1, 0), (None, 0), (False, 0)]
)
def test_crowds_in_memory_are_those_of_the_json(value, crowds):
    assert crowded(value) == crowds


def test_half_floats_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluated([(IDS.astype(np.float16), segments(1, 2))], [TRUTH], intervals=False)
    assert result.value("panoptic/pq") == 1.0
    with pytest.raises(FormatError, match="not segment ids"):
        evaluated([(np.full((4, 4), np.inf, np.float16), segments(1, 2))], [TRUTH])


def test_negative_ids_of_files_say_what_to_do(tmp_path):
    dataset = Dataset(name="d", tasks=("panoptic",), label_divisor=1000, classes=DATASET.classes)
    np.save(tmp_path / "a.npy", np.array([[-1, 10001]], np.int32))
    with pytest.raises(LabelError, match="the map holds -1, which is no id") as caught:
        segbench.evaluate(tmp_path / "a.npy", tmp_path / "a.npy", dataset=dataset, format="panoptic-divided", gt_format="panoptic-divided")
    assert caught.value.code == "SB153"
    assert "void" in caught.value.hint


def test_annotations_without_a_file_name_say_so(tmp_path):
    (tmp_path / "gt").mkdir()
    document = {"annotations": [{"image_id": 142238, "segments_info": segments(1)}], "categories": [{"id": 10, "name": "a", "isthing": 1}]}
    (tmp_path / "gt.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="not there: 1 of 1 panoptic map; 1 annotation without a file_name") as caught:
        segbench.evaluate(tmp_path / "gt.json", tmp_path / "gt.json")
    assert caught.value.code == "SB156"
    assert "file_name" in caught.value.hint
