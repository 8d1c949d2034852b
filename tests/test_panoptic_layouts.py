"""Panoptic layouts as data sets and frameworks write them: each is read by its preset or by itself, and gives the same numbers."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import segbench
from segbench import cli
from segbench.conversion import convert
from segbench.datasets import load
from segbench.errors import FormatError
from tests.panoptic_sets import as_pixels, save

SHAPE = (64, 96)
BOXES = ((10, 10), (20, 50), (40, 30))


def drawing(stuff, things, shift):
    """Classes and instances of a small scene: two regions of stuff, three boxes of things, moved to the right."""
    labels, numbers = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64)
    labels[:32], labels[32:] = stuff
    for number, (top, left) in enumerate(BOXES, 1):
        box = np.s_[top : top + 14, left + shift : left + 20 + shift]
        labels[box], numbers[box] = things[number % 2], number
    return labels, numbers


def channels(*planes):
    return np.stack(planes, -1).astype(np.uint8)


def cityscapes(folder, side, labels, numbers):
    ending = "gtFine" if side == "gt" else "pred"
    ids = np.where(numbers, labels * 1000 + numbers, labels).astype(np.uint16)
    save(ids, folder / side / "ulm" / f"ulm_000000_000019_{ending}_instanceIds.png")
    if side == "gt":
        save(labels.astype(np.uint8), folder / side / "ulm" / "ulm_000000_000019_gtFine_labelIds.png")


def points(folder, side, labels, numbers):
    path = folder / side / "sequences/08" / ("labels" if side == "gt" else "predictions") / "000000.label"
    path.parent.mkdir(parents=True)
    (labels | numbers << 16).astype("<u4").tofile(path)


LAYOUTS = {
    "cityscapes": ("cityscapes", (7, 23), (26, 24), cityscapes),
    "KITTI-STEP": (
        "kitti_step",
        (0, 10),
        (13, 11),
        lambda folder, side, labels, numbers: save(channels(labels, numbers >> 8, numbers & 255), folder / side / "0002/000000.png"),
    ),
    "Mapillary": (
        "mapillary_vistas_v1_2",
        (13, 27),
        (55, 19),
        lambda folder, side, labels, numbers: save((labels * 256 + numbers).astype(np.uint16), folder / side / "a-B_c.png"),
    ),
    "BDD100K": (
        "bdd100k_panoptic",
        (7, 10),
        (34, 31),
        lambda folder, side, labels, numbers: save(
            channels(labels, labels * 0, numbers >> 8, numbers & 255), folder / side / "b1c66a42-6f7d68ca.png"
        ),
    ),
    "deeplab2, two channels": (
        "coco_panoptic",
        (193, 200),
        (3, 1),
        lambda folder, side, labels, numbers: save(channels(labels, numbers, labels * 0), folder / side / "000000000139.png"),
    ),
    "SemanticKITTI": ("semantic_kitti", (40, 50), (30, 10), points),
}


def qualities(result):
    """PQ of the classes that count, whatever their order is."""
    return sorted(row["pq"] for row in result.tasks["panoptic"].per_class if row["pq"] is not None)


@pytest.fixture(scope="module")
def expected():
    """PQ of the classes of the scene, from memory."""
    classes = load("cityscapes")
    sides = {}
    for side, shift in (("gt", 0), ("pred", 2)):
        labels, numbers = drawing((7, 23), (26, 24), shift)
        ids = labels * 1000 + numbers
        sides[side] = {1: (ids, [{"id": int(key), "category_id": int(key) // 1000} for key in np.unique(ids)])}
    found = qualities(segbench.evaluate(sides["pred"], sides["gt"], dataset=classes, task="panoptic"))
    assert len(found) == 4
    assert 0.8 < found[0] < 1
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read_by_their_preset(layout, tmp_path, expected, capsys):
    preset, stuff, things, write = LAYOUTS[layout]
    for side, shift in (("gt", 0), ("pred", 2)):
        write(tmp_path, side, *drawing(stuff, things, shift))
    assert cli.run(["evaluate", str(tmp_path / "pred"), str(tmp_path / "gt"), "--dataset", preset, "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert list(document["tasks"]) == ["panoptic"]
    assert sorted(row["pq"] for row in document["tasks"]["panoptic"]["per_class"] if row["pq"] is not None) == expected
    assert "points" in told.err or "read as panoptic maps; --task semantic reads them as labels" in told.err
    named = segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset=preset, task="all")
    assert list(named.tasks) == ["panoptic", "semantic", "instance"]
    assert named.value("semantic/pixel_accuracy") > 0.9
    assert 0.5 < named.value("segm/ap") < 1
    assert qualities(named) == expected
    assert named.value("panoptic/pq_stuff") > 0.9
    assert named.dataset["digest"] == document["dataset"]["digest"]


def test_label_maps_stay_label_maps(tmp_path):
    labels, _ = drawing((7, 23), (26, 24), 0)
    for dtype in (np.uint8, np.uint16):
        for side in ("pred", "gt"):
            save(labels.astype(dtype), tmp_path / side / "ulm_000000_000019_gtFine_labelIds.png")
        assert set(segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="cityscapes").tasks) == {"semantic"}
    palette = {row.id: row.color for row in load("cityscapes").classes}
    for side in ("pred", "gt"):
        save(np.array([[palette[value] for value in row] for row in labels.tolist()], np.uint8), tmp_path / side / "a.png")
        os.remove(tmp_path / side / "ulm_000000_000019_gtFine_labelIds.png")
    assert set(segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="cityscapes").tasks) == {"semantic"}


def test_what_is_neither_names_the_task(tmp_path, capsys):
    for side in ("pred", "gt"):
        cityscapes(tmp_path, side, *drawing((7, 23), (26, 24), 0))
    (tmp_path / "gt/ulm/ulm_000000_000019_gtFine_instanceIds.png").unlink()  # left are labels on one side, instances on the other
    assert cli.run(["evaluate", str(tmp_path / "pred"), str(tmp_path / "gt"), "--dataset", "cityscapes"]) == 3
    assert "--task panoptic" in capsys.readouterr().err


def test_either_side_may_be_maps_without_a_json(tmp_path, expected):
    for side, shift in (("gt", 0), ("pred", 2)):
        cityscapes(tmp_path, side, *drawing((7, 23), (26, 24), shift))
    made = {
        side: convert(tmp_path / side, tmp_path / f"made_{side}.json", dataset="cityscapes", ground_truth=side == "gt")
        for side in ("gt", "pred")
    }
    for pred in (tmp_path / "pred", made["pred"]):
        for gt in (tmp_path / "gt", made["gt"]):
            result = segbench.evaluate(pred, gt, dataset="cityscapes")
            assert set(result.tasks) == {"panoptic"}
            assert qualities(result) == expected


@pytest.mark.parametrize("space", ["label", "train"])
def test_cityscapes_panoptic_files_in_ids_and_train_ids(tmp_path, expected, space):
    classes = load("cityscapes")
    index = {row.id: row.train_id if space == "train" else row.id for row in classes.classes}
    for side, shift in (("gt", 0), ("pred", 2)):
        labels, numbers = drawing((7, 23), (26, 24), shift)
        ids = np.where(numbers, labels * 1000 + numbers, labels)
        name = "ulm_000000_000019_gtFine_panoptic.png"
        save(as_pixels(ids), tmp_path / f"cityscapes_panoptic_{side}" / name)
        segments = [{"id": int(key), "category_id": index[int(key // 1000 or key)], "iscrowd": 0} for key in np.unique(ids)]
        document = {"annotations": [{"image_id": "ulm_000000_000019", "file_name": name, "segments_info": segments}]}
        if side == "gt":  # the converter lists categories only there, and names photographs that do not exist
            document["images"] = [{"id": "ulm_000000_000019", "file_name": "ulm_000000_000019_gtFine_leftImg8bit.png"}]
            document["categories"] = [
                {"id": index[row.id], "name": row.name, "isthing": int(bool(row.isthing))} for row in classes.classes if not row.ignore
            ]
        (tmp_path / f"cityscapes_panoptic_{side}.json").write_text(json.dumps(document))
    files = tmp_path / "cityscapes_panoptic_pred.json", tmp_path / "cityscapes_panoptic_gt.json"
    by_preset, by_categories = segbench.evaluate(*files, dataset="cityscapes"), segbench.evaluate(*files)
    assert qualities(by_preset) == qualities(by_categories) == expected
    assert by_preset.tasks["panoptic"].protocol["name"] == "cityscapes-panoptic"
    assert f"{space} ids of cityscapes" in by_preset.predictions["said"]


def test_mmdetection_and_detectron2_files(tmp_path, expected):
    """MMDetection: instance * 1000 + class index, no categories; detectron2: the ground truth's JSON with other annotations."""
    classes = load("coco_panoptic")
    for side, shift, add in (("gt", 0, 7), ("results.panoptic", 2, 0), ("pngs", 2, 1)):
        labels, numbers = drawing((193, 200), (3, 1), shift)
        ids = numbers * 1000 + np.vectorize(lambda label: classes.indices[label])(labels) + add
        save(as_pixels(ids), tmp_path / side / "000000000139.png")
        segments = [{"id": int(key), "category_id": int(labels[ids == key][0]), "isthing": int(key >= 1000)} for key in np.unique(ids)]
        document = {"annotations": [{"image_id": 139, "file_name": "000000000139.png", "segments_info": segments}]}
        if side != "results.panoptic":
            document["categories"] = [{"id": row.id, "name": row.name, "isthing": int(bool(row.isthing))} for row in classes.evaluated]
        (tmp_path / ("predictions.json" if side == "pngs" else f"{side}.json")).write_text(json.dumps(document))
    for pred in ("results.panoptic.json", "predictions.json"):
        options = {"maps": str(tmp_path / "pngs")} if pred == "predictions.json" else {}
        for dataset in (None, "coco_panoptic"):
            assert qualities(segbench.evaluate(tmp_path / pred, tmp_path / "gt.json", dataset=dataset, **options)) == expected


def test_two_channels_of_ground_truth_must_be_told_apart(tmp_path):
    labels, numbers = drawing((193, 200), (3, 1), 0)
    for side in ("gt", "pred"):
        save(channels(labels, np.maximum(numbers - 1, 0), labels * 0), tmp_path / side / "a.png")  # the first object has number 0
    with pytest.raises(FormatError, match="instance 0 of class 1 is a group or one object") as caught:
        segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="coco_panoptic")
    assert "--gt-format panoptic-channels" in str(caught.value)
    counts = []
    for kind in ("panoptic-two-channel", "panoptic-channels"):
        result = segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="coco_panoptic", gt_format=kind)
        counts.append(sum(row["tp"] for row in result.tasks["panoptic"].per_class))
    assert counts == [5, 4]  # one object is a group in the second
    save(channels(labels, labels * 0, numbers), tmp_path / "gt" / "a.png")  # a third channel tells
    assert segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="coco_panoptic").value("panoptic/pq") == 1.0
