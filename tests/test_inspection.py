"""inspect(): what a path holds, which presets fit, what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench import datasets
from segbench.errors import FormatError, LabelError
from segbench.inspection import fitting_preset, inspect

STREET = Path(__file__).parent.parent / "fixtures" / "street"


def write(path: Path, array: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(palette)
    image.save(path)


def test_fixture_is_in_order():
    found = inspect(STREET / "gt")
    assert (found.files, found.read, found.problems) == (12, 12, [])
    assert found.fits == [{"dataset": "street", "space": "label", "why": "every value means something"}]
    assert sum(found.values.values()) == sum(np.asarray(Image.open(path)).size for path in (STREET / "gt").glob("*.png"))


def test_presets_that_fit(tmp_path):
    write(tmp_path / "a.png", np.array([[0, 20, 255]], np.uint8))
    names = [fit["dataset"] for fit in inspect(tmp_path).fits]
    assert "pascal_voc" in names
    assert "camvid_11" not in names
    write(tmp_path / "b.png", np.arange(21, dtype=np.uint8)[None])
    assert inspect(tmp_path).fits[0] == {"dataset": "pascal_voc", "space": "label", "why": "21 of its 21 classes, and void"}


def test_problems(tmp_path):
    write(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff")
    write(tmp_path / "a_pred.png", np.array([[0, 255]], np.uint8))
    codes = {problem.code for problem in inspect(tmp_path).problems}
    assert codes == {"SB112", "SB160", "SB161", "SB120"}


def test_values_unknown_to_a_data_set(tmp_path):
    write(tmp_path / "a.png", np.array([[0, 200]], np.uint8))
    problem = inspect(tmp_path, datasets.load("pascal_voc")).problems[0]
    assert problem.code == "SB110"
    assert "200 (1 px)" in problem.message


def test_colours(tmp_path):
    voc = datasets.load("pascal_voc")
    write(tmp_path / "a.png", np.array([[row.color for row in voc.evaluated]], np.uint8))
    found = inspect(tmp_path)
    assert "#800000" in found.values
    assert {"pascal_voc"} <= {fit["dataset"] for fit in found.fits}


def test_scores_are_called_scores(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3, dtype=np.float32)[np.arange(20).reshape(4, 5) % 3])
    assert "NumPy arrays of scores" in inspect(tmp_path).what


def test_limit_and_single_file():
    assert inspect(STREET / "gt", limit=2).read == 2
    assert inspect(next((STREET / "gt").glob("*.png"))).files == 1


def test_nothing_here(tmp_path):
    assert inspect(tmp_path).files == 0
    with pytest.raises(FormatError):
        inspect(tmp_path / "nowhere")


def test_fitting_preset(tmp_path):
    voc = datasets.load("pascal_voc")
    palette = [channel for index in range(256) for channel in (voc.evaluated[index].color if index < 21 else (0, 0, 0))]
    write(tmp_path / "voc" / "a.png", np.array([[0, 20]], np.uint8), palette)
    write(tmp_path / "grey" / "a.png", np.array([[0, 20]], np.uint8))
    write(tmp_path / "city" / "ulm_000001_000019_gtFine_labelIds.png", np.array([[7]], np.uint8))
    write(tmp_path / "ade" / "ADE_val_00000001.png", np.array([[7]], np.uint8))
    told = {name: fitting_preset(tmp_path / name)[0] for name in ("voc", "grey", "city", "ade")}
    assert {name: preset.name if preset else None for name, preset in told.items()} == {
        "voc": "pascal_voc",
        "grey": None,
        "city": "cityscapes",
        "ade": "ade20k_150",
    }
    assert fitting_preset(tmp_path / "nowhere") == (None, "")


def test_panoptic_files(tmp_path):
    ids = np.repeat(np.array([[0, 1, 1, 2]], np.uint8), 6, 0)
    (tmp_path / "gt").mkdir()
    for name in ("1.png", "2.png"):
        Image.fromarray(np.stack([ids, ids * 0, ids * 0], -1)).save(tmp_path / "gt" / name)
    segments = [{"id": 1, "category_id": 3, "area": 12, "iscrowd": 1}, {"id": 2, "category_id": 8, "area": 6}]
    document = {
        "annotations": [{"image_id": key, "file_name": f"{key}.png", "segments_info": segments} for key in (1, 2)],
        "categories": [{"id": 3, "name": "car", "isthing": 1}, {"id": 8, "name": "road", "isthing": 0}],
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(document))
    for given in (path, tmp_path / "gt"):
        found = inspect(given)
        assert found.what.startswith("2 images: panoptic JSON and RGB maps in ")
        assert found.what.endswith("4 segments of 2 classes, 2 crowds")
        assert (found.files, found.read, found.sizes, found.values) == (2, 2, {"6x4": 2}, {"car": 24, "road": 12})
        assert not found.problems
    away = tmp_path / "far" / "away"
    away.parent.mkdir()
    (tmp_path / "gt").rename(away)
    (lost,) = inspect(path).problems
    assert "--maps DIR" in lost.hint
    assert inspect(path, maps=str(away)).read == 2
    away.rename(tmp_path / "gt")
    document["annotations"][0] = {
        "image_id": 1,
        "file_name": "1.png",
        "segments_info": [segments[0] | {"area": 9, "isthing": 0}, segments[1]],
    }
    document["annotations"][1] = {"image_id": 2, "file_name": "2.png", "segments_info": segments[:1]}
    path.write_text(json.dumps(document))
    found = inspect(path)
    assert found.read == 1
    assert [problem.code for problem in found.problems] == ["SB150", "SB155", "SB111"]
    assert found.problems[0].files[0].endswith("1 segment in the map and not in the table beside it: 2")
    assert found.problems[1].files == ["image 1, segment 1: 9 stated, 12 pixels"]
    assert len(inspect(path, limit=1).problems) == 2
    (tmp_path / "gt" / "1.png").unlink()
    assert [problem.code for problem in inspect(path).problems] == ["SB156"]
    del document["categories"]
    path.write_text(json.dumps(document))
    with pytest.raises(LabelError, match="lists no categories"):
        inspect(path)


def test_instance_files(tmp_path):
    square = [[1, 1, 4, 1, 4, 4, 1, 4]]
    truth = {
        "images": [{"id": 7, "height": 6, "width": 8}, {"id": 9, "height": 6, "width": 8}],
        "categories": [{"id": 3, "name": "car"}, {"id": 8, "name": "bus"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": square, "area": 9, "iscrowd": 0, "bbox": [1, 1, 3, 3]},
            {"id": 2, "image_id": 9, "category_id": 3, "segmentation": square, "area": 9, "iscrowd": 0, "bbox": [1, 1, 3, 3]},
        ],
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(truth))
    found = inspect(path)
    assert found.what == "2 images: COCO or LVIS ground truth JSON, 2 instances of 1 class, 0 crowds"
    assert (found.format, found.files, found.read, found.sizes, found.values) == ("coco", 2, 2, {"6x8": 2}, {"car": 18})
    assert not found.problems
    assert inspect(path, limit=1).values == {"car": 9}
    truth["annotations"][0]["iscrowd"] = None
    path.write_text(json.dumps(truth))
    assert inspect(path).what.endswith("0 crowds; annotations without iscrowd count as no crowd")
    truth["annotations"][1] |= {"segmentation": {"size": [6, 8], "counts": "zzz"}}
    path.write_text(json.dumps(truth))
    found = inspect(path)
    assert [problem.code for problem in found.problems] == ["SB102"]

    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"image_id": 7, "category_id": 3, "score": 0.5, "bbox": [0, 0, 4, 2]}]))
    with pytest.raises(LabelError, match="nothing here says what its categories are"):
        inspect(results)
    found = inspect(results, "coco_things")
    assert found.what.startswith("1 image: COCO results JSON, 1 instance of 1 class")
    assert found.values == {"car": 8}
    results.write_text(json.dumps([{"image_id": 7, "category_id": 12, "score": 0.5, "bbox": [0, 0, 4, 2]}]))
    found = inspect(results, "coco_things")
    assert found.what == "COCO results JSON that cannot be read"
    assert [problem.code for problem in found.problems] == ["SB111"]
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(FormatError, match="neither instances nor panoptic segments"):
        inspect(tmp_path / "other.json")
