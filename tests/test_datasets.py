"""Data sets: every preset, what label values mean, telling id spaces apart, and what a wrong description is told."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import datasets
from segbench.cli.datasets import datasets as command
from segbench.datasets import Dataset, LabelClass, Matching, ShiftedSpace, simple, spaces_holding
from segbench.errors import ConfigError, FormatError, InputError
from segbench.samples import INVALID

# name: rows, evaluated classes, things, stuff, groups of equal colour, RGB decodable
EXPECTED = {
    "ade20k_150": (150, 150, 100, 50, 1, False),
    "apolloscape": (36, 22, 8, 14, 0, False),
    "apolloscape_lane": (38, 18, 0, 18, 0, True),
    "bdd100k_instance": (8, 8, 8, 0, 0, False),
    "bdd100k_panoptic": (41, 40, 10, 30, 3, False),
    "bdd100k_semantic": (19, 19, 8, 11, 0, True),
    "camvid_11": (12, 11, 0, 0, 0, True),
    "camvid_32": (32, 31, 0, 0, 0, True),
    "cityscapes": (35, 19, 8, 11, 0, True),
    "coco_panoptic": (133, 133, 80, 53, 0, True),
    "coco_stuff": (182, 171, 80, 91, 8, False),
    "coco_things": (80, 80, 80, 0, 0, True),
    "isprs_potsdam": (6, 6, 0, 6, 0, True),
    "isprs_vaihingen": (6, 6, 0, 6, 0, True),
    "kitti_mots": (3, 2, 2, 0, 0, False),
    "kitti_semantic": (35, 19, 8, 11, 0, True),
    "kitti_step": (19, 19, 2, 17, 0, True),
    "loveda": (7, 7, 0, 7, 0, True),
    "lvis_v1": (1203, 1203, 1203, 0, 0, False),
    "mapillary_vistas_v1_2": (66, 65, 37, 28, 0, True),
    "mapillary_vistas_v2_0": (124, 123, 0, 0, 11, False),
    "oxford_pets_trimap": (3, 2, 1, 1, 0, False),
    "pascal_context": (60, 60, 0, 0, 1, False),
    "pascal_context_59": (60, 59, 0, 0, 1, False),
    "pascal_voc": (21, 21, 20, 0, 0, True),
    "sa1b": (1, 1, 1, 0, 0, False),
    "semantic_kitti": (34, 19, 8, 11, 0, True),
}
AMBIGUOUS = {
    "ade20k_150": ((7, 49),),
    "bdd100k_panoptic": ((2, 4), (19, 31), (20, 21)),
    "coco_stuff": ((1, 2), (3, 120), (4, 75), (8, 10, 104), (14, 56), (16, 79), (17, 53), (19, 111)),
    "pascal_context": ((6, 48),),
}


def meaning(name: str, space: str, values: list[int]) -> list[int]:
    return datasets.load(name).value_map(space).classes(values).tolist()


def street(**changes) -> dict:
    """A small valid description, with changes."""
    content = {
        "schema": "segbench.dataset/1",
        "name": "street",
        "void_ids": [255],
        "classes": [
            {"id": 0, "name": "road", "isthing": False, "color": [128, 64, 128]},
            {"id": 1, "name": "car", "isthing": True, "color": [0, 0, 142]},
            {"id": 2, "name": "sky", "isthing": False},
        ],
    }
    return {**content, **changes}


def write(folder: Path, content: object) -> Path:
    path = folder / "dataset.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_every_preset_is_in_the_table():
    assert datasets.available() == tuple(sorted(EXPECTED))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_preset_counts(name):
    dataset = datasets.load(name)
    counts = len(dataset.classes), dataset.num_classes, dataset.isthing.count(True), dataset.isthing.count(False)
    assert (*counts, len(dataset.ambiguous_colors), dataset.rgb_decodable) == EXPECTED[name]
    assert dataset.name == name
    assert dataset.title
    assert dataset.sources
    assert set(dataset.default_protocol) == set(dataset.tasks)
    assert len(set(dataset.names)) == dataset.num_classes


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_preset_round_trip_and_canonical_text(name):
    dataset = datasets.load(name)
    text = (datasets.PRESETS / f"{name}.json").read_text(encoding="utf-8")
    assert datasets.to_json(dataset) == text
    assert msgspec.json.decode(msgspec.json.encode(dataset), type=Dataset) == dataset
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert sum(line.startswith('  {"id": ') for line in text.splitlines()) == len(dataset.classes)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_space_of_every_preset_reaches_every_class(name):
    dataset = datasets.load(name)
    for space in dataset.spaces:
        value_map = dataset.value_map(space)
        assert set(range(dataset.num_classes)) <= set(value_map.targets.tolist()) <= set(range(dataset.num_classes + 1))
        assert value_map.space == space
        assert (np.diff(value_map.values) > 0).all()


@pytest.mark.parametrize("name", sorted(AMBIGUOUS))
def test_ambiguous_colours_of_presets(name):
    dataset = datasets.load(name)
    assert dataset.ambiguous_colors == AMBIGUOUS[name]
    shared = next(row.color for row in dataset.classes if row.id == AMBIGUOUS[name][0][0])
    assert shared not in dataset.colors


@pytest.mark.parametrize(
    ("name", "space", "values", "classes"),
    [
        ("cityscapes", "label", [7, 8, 33, 0, 1, 9, 29, -1, 34, 255], [0, 1, 18, 19, 19, 19, 19, 19, INVALID, INVALID]),
        ("cityscapes", "train", [0, 18, 255, -1, 19], [0, 18, 19, 19, INVALID]),
        ("cityscapes", "contiguous", [0, 18, 255, 19], [0, 18, 19, INVALID]),
        ("ade20k_150", "label", [0, 1, 150, 151, 255], [150, 0, 149, INVALID, INVALID]),
        ("ade20k_150", "contiguous", [0, 149, 255, 150], [0, 149, 150, INVALID]),
        ("ade20k_150", "train", [0, 149, 255], [0, 149, 150]),
        ("coco_stuff", "label", [0, 1, 12, 13, 182, 183], [171, 0, 171, 11, 170, INVALID]),
        ("coco_stuff", "pixelmap", [0, 11, 12, 181, 255, 182], [0, 171, 11, 170, 171, INVALID]),
        ("coco_stuff", "contiguous", [0, 11, 170, 255, 171], [0, 11, 170, 171, INVALID]),
        ("loveda", "label", [0, 1, 7, 8], [7, 0, 6, INVALID]),
        ("loveda", "contiguous", [0, 6, 7, 255], [0, 6, INVALID, 7]),
        ("pascal_voc", "label", [0, 20, 21, 255], [0, 20, INVALID, 21]),
        ("pascal_context", "label", [0, 59, 60, 255], [0, 59, INVALID, INVALID]),
        ("pascal_context_59", "label", [0, 1, 59], [59, 0, 58]),
        ("apolloscape", "label", [17, 33, 161, 98, 255], [0, 1, 1, 22, 22]),
        ("apolloscape_lane", "train", [0, 1, 3, 4, 35, 255], [0, 1, 18, 3, 17, 18]),
        ("apolloscape_lane", "label", [0, 200, 213, 250, 249], [0, 1, 18, 17, 18]),
        ("semantic_kitti", "label", [0, 1, 10, 252, 13, 20, 259, 81], [19, 19, 0, 0, 4, 4, 4, 18]),
        ("semantic_kitti", "train", [0, 1, 19, 20], [19, 0, 18, INVALID]),
        ("semantic_kitti", "contiguous", [0, 18, 255], [0, 18, 19]),
        ("coco_panoptic", "label", [0, 1, 12, 200, 255], [133, 0, INVALID, 132, INVALID]),
        ("lvis_v1", "contiguous", [0, 255, 1202, 65535, 1203], [0, 255, 1202, 1203, INVALID]),
        ("mapillary_vistas_v1_2", "panoptic", [0, 1, 65, 66], [65, 0, 64, INVALID]),
        ("isprs_potsdam", "shifted", [0, 1, 6], [6, 0, 5]),
        ("camvid_11", "label", [0, 10, 11, 255], [0, 10, 11, 11]),
    ],
)
def test_value_maps_by_hand(name, space, values, classes):
    assert meaning(name, space, values) == classes


@pytest.mark.parametrize(
    ("name", "spaces"),
    [
        ("cityscapes", ("label", "train")),
        ("ade20k_150", ("label", "contiguous")),
        ("coco_stuff", ("label", "contiguous", "pixelmap")),
        ("pascal_voc", ("label",)),
        ("bdd100k_semantic", ("label",)),
        ("semantic_kitti", ("label", "train", "contiguous")),
        ("apolloscape_lane", ("label", "train", "contiguous")),
    ],
)
def test_spaces_are_those_that_differ(name, spaces):
    assert datasets.load(name).spaces == spaces


def test_rows_of_one_train_id_are_one_class_named_by_the_first():
    dataset = datasets.load("semantic_kitti")
    assert dataset.names[:5] == ("car", "bicycle", "motorcycle", "truck", "other-vehicle")


def test_cityscapes_facts():
    dataset = datasets.load("cityscapes")
    assert dataset.names[:3] == ("road", "sidewalk", "building")
    assert dataset.names[-1] == "bicycle"
    assert dataset.groups["human"] == (11, 12)
    assert dataset.groups["vehicle"] == (13, 14, 15, 16, 17, 18)
    assert sorted(index for members in dataset.groups.values() for index in members) == list(range(19))
    assert {row.name for row in dataset.classes if row.average_size_px} == {
        *("bicycle", "caravan", "motorcycle", "rider", "bus", "train", "car", "person", "truck", "trailer")
    }
    assert dataset.void_lookalikes == (("pole", "polegroup"), ("car", "license plate"))
    assert dataset.colors[(128, 64, 128)] == 0
    assert dataset.colors[(81, 0, 81)] == 19
    assert dataset.label_divisor == 1000
    assert datasets.load("kitti_semantic").label_divisor == 256
    assert [dataset.protocol(task) for task in dataset.tasks] == ["cityscapes", "cityscapes", "cityscapes-panoptic"]


def test_other_facts():
    assert [row.frequency for row in datasets.load("lvis_v1").classes].count("r") == 337
    assert datasets.load("pascal_voc").colors[(224, 224, 192)] == 21
    assert datasets.load("oxford_pets_trimap").matching.skip == ("._*",)
    assert datasets.load("camvid_32").groups["Bicyclist"] == (2, 13)


def test_semantic_default_protocols_exist():
    from segbench import protocols

    known = protocols.available("semantic")
    assert {datasets.load(name).protocol("semantic") for name in EXPECTED} <= set(known)


def test_import_is_light_and_one_preset_reads_one_file():
    code = (
        "import sys, pathlib; from segbench import datasets\n"
        "read = []; original = datasets.read\n"
        "datasets.read = lambda path, most: read.append(path.name) or original(path, most)\n"
        "datasets.load('loveda'); print(read, [m for m in ('numba', 'pandas', 'rich', 'click', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['loveda.json'] []"


@pytest.mark.parametrize(
    ("typed", "meant"), [("cityscape", "cityscapes"), ("Cityscapes", "cityscapes"), ("ade20k-150", "ade20k_150"), ("lvis", "lvis_v1")]
)
def test_unknown_name_suggests(typed, meant):
    with pytest.raises(ConfigError, match=f"did you mean .*{meant}") as caught:
        datasets.load(typed)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("typed", ["", "zzzzzz", "INDEX"])
def test_unknown_name_points_to_the_list(typed):
    with pytest.raises(ConfigError, match="segbench datasets"):
        datasets.load(typed)


def test_load_and_find_a_file(tmp_path):
    path = write(tmp_path, street())
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "a.png").touch()
    assert datasets.find(tmp_path) == path
    assert datasets.find(masks) == path
    assert datasets.find(masks / "a.png") == path
    dataset = datasets.load(path)
    assert dataset == datasets.load(str(path))
    assert dataset.names == ("road", "car", "sky")
    assert not dataset.rgb_decodable  # sky has no colour
    assert dataset.protocol("panoptic") == "coco-panoptic"
    deep = masks / "deep"
    deep.mkdir()
    assert datasets.find(deep) is None


def test_find_from_inside_the_folder(tmp_path, monkeypatch):
    write(tmp_path, street())
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path / "masks")
    found = datasets.find(".")
    assert found is not None
    assert found.samefile(tmp_path / "dataset.json")


CLASSES = street()["classes"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"null", "it holds null"),
        (b"{}", "does not say"),
        (b'{"schema": "segbench.dataset/1",\n "name": "a",}', "line 2"),
        (b"\xff\xfe", "line 1"),
        (b'{"schema": "segbench.dataset/1", "name": "\xff"}', "utf-8"),
        (b'["segbench.dataset/1"]', "holds a list, not an object"),
        ({"labels": {"background": 0}}, '"schema": "segbench.dataset/1"'),
        (street(schema="segbench.dataset/9"), "upgrade segbench"),
        (street(voidids=[255]), "did you mean 'void_ids'"),
        (
            street(classes=[CLASSES[0], {"id": 1, "name": "car", "isthng": True}]),
            r"(?s)unknown field 'isthng' at classes\[1\].*did you mean 'isthing'",
        ),
        (street(classes=[{"id": "0", "name": "road"}]), r"expected 'int', got 'str' at classes\[0\]\.id"),
        (street(classes=[{"id": 0}]), "missing required field 'name'"),
        (street(classes=[{"id": 0, "name": ""}]), "length >= 1"),
        (street(classes=[{"id": 0, "name": "road", "color": [256, 0, 0]}]), r"<= 255.* at classes\[0\]\.color"),
        (street(classes=[{"id": 0, "name": "road", "color": [0, 0]}]), "length 3"),
        (street(classes=[{"id": 2**40, "name": "road"}]), r"at classes\[0\]\.id"),
        (street(classes=[*CLASSES, {"id": 0, "name": "tree"}]), r"classes\[0\] and classes\[3\] have the same id 0"),
        (street(classes=[*CLASSES, {"id": 3, "name": "sky"}]), r"classes\[2\] and classes\[3\] have the same name 'sky'"),
        (street(classes=[]), "no class is evaluated"),
        (street(classes=[{"id": 0, "name": "road", "ignore": True}]), "no class is evaluated"),
        (street(void_ids=[0]), r"classes\[0\] \(road\) has id 0, which void_ids also lists"),
        (street(classes=[{**CLASSES[0], "train_id": 0}, CLASSES[1]]), r"classes\[1\] \(car\) has no train_id"),
        (street(classes=[{**CLASSES[0], "train_id": 255}]), "which is the train_ignore_index"),
        (street(classes=[{**row, "train_id": 0} for row in CLASSES]), r"classes\[1\] \(car\) shares its train_id but not isthing"),
        (street(tasks=[]), "lists no task"),
        (street(default_protocol={"semantic": "nope"}), "no semantic protocol"),
        (street(tasks=["segmentation"]), r"(?s)'segmentation' at tasks\[0\]"),
        (street(other_spaces={"train": {}}), "built-in id space"),
        (street(other_spaces={"pixelmap": {"offset": 1, "void_ids": [1]}}), "lists 1 as void"),
        (street(matching={"key_pattern": "("}), "no regular expression"),
        (street(matching={"suffix_spaces": {"_x": "nope"}}), "no id space"),
        (b'{"schema": "segbench.dataset/1", "x": ' + b"[" * 100_000, "dataset.json"),
    ],
)
def test_a_wrong_description_says_what_and_where(tmp_path, content, said):
    path = write(tmp_path, content)
    with pytest.raises(FormatError, match=said) as caught:
        datasets.load(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 3


def test_unreadable_paths(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        datasets.load(str(tmp_path / "nowhere.json"))
    with pytest.raises(FormatError, match=r"[Dd]irectory"):
        datasets.load(tmp_path)
    with pytest.raises(FormatError, match="No such file"):
        datasets.load(f"..{os.sep}cityscapes_nowhere")


VALID = json.dumps(street()).encode()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_give_input_errors_only(tmp_path_factory, data):
    cut = bytearray(VALID[: data.draw(st.integers(0, len(VALID)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if cut:
            cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "dataset.json"
    path.write_bytes(bytes(cut))
    try:
        dataset = datasets.load(path)
    except InputError:
        return
    assert dataset.num_classes >= 1
    for space in dataset.spaces:
        dataset.value_map(space)


def test_unknown_space_names_the_spaces():
    with pytest.raises(ConfigError, match="one of: label, train"):
        datasets.load("cityscapes").value_map("dataset")


def test_a_data_set_that_says_nothing_of_void_has_none():
    dataset = Dataset(name="two", classes=(LabelClass(id=0, name="a"), LabelClass(id=1, name="b")))
    assert dataset.spaces == ("label",)
    assert dataset.value_map("contiguous").classes([0, 1, 255]).tolist() == [0, 1, INVALID]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.one_of(st.none(), st.integers(-5, 70_000)))
def test_simple_maps(num_classes, ignore_index):
    if ignore_index is not None and 0 <= ignore_index < num_classes:
        with pytest.raises(ConfigError, match="also a class id"):
            simple(num_classes, ignore_index)
        return
    dataset = simple(num_classes, ignore_index)
    assert dataset.spaces == ("label",)
    for space in ("label", "contiguous", "train"):
        value_map = dataset.value_map(space)
        assert value_map.classes(np.arange(num_classes)).tolist() == list(range(num_classes))
        if ignore_index is None:
            assert value_map.classes([-1, 255 if num_classes <= 255 else 65535, num_classes]).tolist() == [INVALID] * 3
        else:
            assert value_map.classes([ignore_index]).tolist() == [num_classes]
    assert len(dataset.value_map("label").values) == num_classes + (ignore_index is not None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0,), "1 to 65535"),
        ((65536,), "1 to 65535"),
        ((300,), "ignore index 255 is also a class id"),
        ((2, 255, ["a"]), "1 names for 2 classes"),
        ((2, 255, ["a", "a"]), "2 classes are named 'a'"),
        ((2, 2**40), "int32"),
    ],
)
def test_simple_refuses(arguments, said):
    with pytest.raises(ConfigError, match=said):
        simple(*arguments)


def test_simple_at_the_cap():
    dataset = simple(65535, 65535)
    assert dataset.num_classes == 65535
    assert dataset.value_map().classes([65534, 65535]).tolist() == [65534, 65535]
    assert len(json.loads(dataset.payload())["classes"]) == 65535


@pytest.mark.parametrize(
    ("name", "values", "known", "evaluated"),
    [
        ("cityscapes", {7, 8, 11, 33}, ("label",), ("label",)),
        ("cityscapes", {0, 1, 2, 18}, ("label", "train"), ("train",)),  # 1 and 2 are ego vehicle and border, or sidewalk and building
        ("cityscapes", {0, 1, 255}, ("train",), ("train",)),
        ("cityscapes", {7, 8, 11}, ("label", "train"), ("label", "train")),
        ("cityscapes", {0, 7, 8}, ("label", "train"), ("label", "train")),
        ("cityscapes", {0, 1, 7, 33}, ("label",), ()),
        ("cityscapes", {40}, (), ()),
        ("ade20k_150", {0, 150}, ("label",), ("label",)),
        ("ade20k_150", {0, 149}, ("label", "contiguous"), ("label", "contiguous")),
        ("ade20k_150", {149, 255}, ("contiguous",), ("contiguous",)),
        ("mapillary_vistas_v1_2", {1, 2}, ("label", "panoptic"), ("label", "panoptic")),  # contiguous reads them as label does
        ("pascal_voc", {0, 20, 255}, ("label",), ("label",)),
    ],
)
def test_spaces_holding(name, values, known, evaluated):
    holding = spaces_holding(datasets.load(name), values)
    assert (holding.known, holding.evaluated) == (known, evaluated)
    assert holding.of_ground_truth == (known[0] if len(known) == 1 else None)
    assert set(holding.classes) <= set(evaluated)
    fitting = holding.classes or evaluated or known
    assert holding.of_predictions == (fitting[0] if len(fitting) == 1 else None)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("cityscapes", {7, 8, 11}, None),  # evaluated classes of both spaces
        ("cityscapes", {0, 7, 8}, "train"),  # as label ids, 0 would be a prediction of void
        ("ade20k_150", {1, 149}, None),
        ("ade20k_150", {0, 149}, "contiguous"),
        ("ade20k_150", {1, 150}, "label"),
    ],
)
def test_predictions_are_told_by_what_models_write(name, values, told):
    assert spaces_holding(datasets.load(name), values).of_predictions == told


def test_payload_holds_what_changes_numbers_only():
    def payload(**changes) -> bytes:
        return msgspec.json.decode(json.dumps(street(**changes)), type=Dataset).payload()

    base = payload()
    assert payload(title="other", notes=["x"], default_protocol={"semantic": "voc"}) == base
    assert payload(classes=[{**CLASSES[0], "color": [1, 2, 3]}, *CLASSES[1:]]) == base
    different = [
        payload(void_ids=[]),
        payload(classes=CLASSES[:2]),
        payload(classes=[CLASSES[1], CLASSES[0], CLASSES[2]]),
        payload(classes=[{**CLASSES[0], "name": "street"}, *CLASSES[1:]]),
        payload(classes=[{**CLASSES[0], "isthing": True}, *CLASSES[1:]]),
        payload(classes=[{**CLASSES[0], "id": 7}, *CLASSES[1:]]),
    ]
    assert len({base, *different}) == 7
    assert json.loads(base)["void_ids"] == [255]


def test_rows_in_another_order_are_the_same_data_set_where_train_ids_give_the_order():
    rows = tuple(LabelClass(id=label, name=name, train_id=train) for label, name, train in ((7, "road", 0), (8, "walk", 1), (9, "sky", 2)))
    one, other = Dataset(name="a", classes=rows), Dataset(name="b", classes=rows[::-1])
    assert one.payload() == other.payload()
    assert other.names == ("road", "walk", "sky")


def test_shifted_space_by_index():
    rows = (LabelClass(id=3, name="a"), LabelClass(id=9, name="b"), LabelClass(id=5, name="c", ignore=True))
    spaces = {"one": ShiftedSpace(of="index", offset=1, void_ids=(0,)), "minus": ShiftedSpace(offset=-1)}
    dataset = Dataset(name="x", classes=rows, other_spaces=spaces, matching=Matching(suffix_spaces={"_one": "one"}))
    assert dataset.value_map("one").classes([0, 1, 2, 3]).tolist() == [2, 0, 1, INVALID]
    assert dataset.value_map("minus").classes([2, 8, 4, 3]).tolist() == [0, 1, 2, INVALID]


# the command


def test_command_lists_every_preset():
    done = CliRunner().invoke(command, [], env={"COLUMNS": "100"})
    assert done.exit_code == 0
    for name in EXPECTED:
        assert name in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


@pytest.mark.parametrize("width", [80, 100])
def test_command_shows_one(width):
    done = CliRunner().invoke(command, ["cityscapes"], env={"COLUMNS": str(width)})
    assert done.exit_code == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= width
    for text in ("0-18; void -1, 255", "#804080", "license plate", "semantic cityscapes", "class * 1000 + instance", "polegroup"):
        assert text in done.stdout


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_command_shows_every_preset(name):
    done = CliRunner().invoke(command, [name], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.exception
    assert datasets.load(name).names[-1].split()[0] in done.stdout


def test_command_json():
    listed = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert listed["schema"] == "segbench.datasets/1"
    assert [entry["name"] for entry in listed["datasets"]] == sorted(EXPECTED)
    text = CliRunner().invoke(command, ["loveda", "--json"]).stdout
    assert msgspec.json.decode(text, type=Dataset) == datasets.load("loveda")


def test_command_takes_a_file(tmp_path):
    path = write(tmp_path, street())
    done = CliRunner().invoke(command, [str(path)])
    assert done.exit_code == 0
    assert "3 evaluated of 3 listed" in done.stdout


# the page


PAGE = Path(__file__).parent.parent / "docs" / "datasets.md"


def test_page_has_every_preset_and_every_field():
    page = PAGE.read_text(encoding="utf-8")
    for name in EXPECTED:
        dataset = datasets.load(name)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2] == str(dataset.num_classes), row
        assert cells[5] == ", ".join(f"{task} `{dataset.protocol(task)}`" for task in dataset.tasks)
    for field in datasets.FIELDS:
        assert f"`{field}`" in page, field


def test_example_of_the_page_loads(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    dataset = datasets.load(write(tmp_path, example.encode()))
    assert dataset.num_classes >= 3
    assert dataset.spaces
