"""convert(): what is written scores as what was read, and parts merge as they should."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import segbench
from segbench import cli, datasets
from segbench.conversion import convert
from segbench.errors import ConfigError, InputError

CLASSES = (("sky", False), ("road", False), ("car", True), ("person", True))


@pytest.fixture
def parts(tmp_path):
    """Label maps of two images, instances over them, the ground truth they make, and the data set file."""
    rows = tuple(datasets.LabelClass(id=10 * (n + 1), name=name, isthing=thing) for n, (name, thing) in enumerate(CLASSES))
    dataset = datasets.Dataset(name="mini", tasks=("semantic", "instance", "panoptic"), void_ids=(0,), classes=rows)
    (tmp_path / "mini.json").write_text(datasets.to_json(dataset))
    (tmp_path / "labels").mkdir()
    results = []
    for image in (1, 2):
        labels = np.full((20, 30), 10, np.uint8)
        labels[10:] = 20
        Image.fromarray(labels).save(tmp_path / "labels" / f"{image}.png")
        for category, score, box in (
            (30, 0.9, (2, 3, 12, 9)),
            (40, 0.8, (10, 3, 20, 9)),
            (40, 0.7, (3, 4, 12, 8)),
            (30, 0.2, (20, 12, 29, 19)),
        ):
            mask = np.zeros((20, 30), np.uint8)
            mask[box[1] : box[3], box[0] : box[2]] = 1
            encoded = coco_mask.encode(np.asfortranarray(mask))
            encoded["counts"] = encoded["counts"].decode()
            results.append({"image_id": image, "category_id": category, "score": score, "segmentation": encoded})
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


def test_parts_become_panoptic(parts):
    target = convert(
        parts / "labels",
        parts / "out.json",
        instances=parts / "results.json",
        dataset=parts / "mini.json",
        id_space="label",
        stuff_area_px=1,
    )
    document = json.loads(target.read_text())
    assert [row["name"] for row in document["categories"]] == [name for name, _ in CLASSES]
    first = document["annotations"][0]
    # the third instance is all but covered by the first, the fourth scores too low
    assert [row["category_id"] for row in first["segments_info"]] == [30, 40, 10, 20]
    areas = {row["category_id"]: row["area"] for row in first["segments_info"]}
    assert areas == {30: 60, 40: 48, 10: 300 - 60 - 48, 20: 300}
    values = np.asarray(Image.open(parts / "out" / first["file_name"])).astype(np.int64)
    ids = values[..., 0] + 256 * values[..., 1] + 65536 * values[..., 2]
    assert {row["id"]: row["area"] for row in first["segments_info"]} == dict(zip(*np.unique(ids, return_counts=True), strict=True))


def test_what_is_written_scores_as_what_was_read(parts):
    made = convert(parts / "labels", parts / "a.json", instances=parts / "results.json", dataset=parts / "mini.json", stuff_area_px=1)
    again = convert(made, parts / "b.json")
    assert segbench.evaluate(again, made).value("panoptic/pq") == 1.0
    assert segbench.evaluate(again, made, task="all").value("semantic/miou") == 1.0


def test_command_and_refusals(parts, capsys):
    assert (
        cli.run(
            [
                "convert",
                str(parts / "labels"),
                str(parts / "out.json"),
                "--instances",
                str(parts / "results.json"),
                "--dataset",
                str(parts / "mini.json"),
            ]
        )
        == 0
    )
    assert "wrote" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="must be a JSON file"):
        convert(parts / "labels", parts / "out", instances=parts / "results.json", dataset=parts / "mini.json")
    with pytest.raises(InputError, match="no such file"):
        convert(parts / "labels", parts / "out.json", instances=parts / "nowhere.json", dataset=parts / "mini.json")
    assert not Path(parts / "out2.json").exists()


def test_names_that_are_numbers_are_image_ids(parts):
    for number in (1, 2):
        (parts / "labels" / f"{number}.png").rename(parts / "labels" / f"{number:012d}.png")
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1}
    said = []
    target = convert(parts / "labels", parts / "out.json", say=said.append, **options)
    document = json.loads(target.read_text())
    assert [row["image_id"] for row in document["annotations"]] == [1, 2]
    assert [row["file_name"] for row in document["annotations"]] == ["000000000001.png", "000000000002.png"]
    assert not any("no instances" in line or "no label map" in line for line in said)
    shutil.copy(parts / "labels" / "000000000001.png", parts / "labels" / "01.png")  # two numbers that are one
    document = json.loads(convert(parts / "labels", parts / "again.json", say=said.append, **options).read_text())
    assert [row["image_id"] for row in document["annotations"]] == ["000000000001", "000000000002", "01"]
    assert "no instances for 2 of 3 label maps: only stuff there" in said
    assert "warning: no label map for 1 image with instances: left out, such as 1" in said


def test_images_of_one_name_in_several_folders_stay_apart(parts):
    labels = np.asarray(Image.open(parts / "labels" / "1.png"))
    for folder in ("0001", "0002"):
        (parts / "maps" / folder).mkdir(parents=True)
        ids = np.stack([labels, labels * 0, labels * 0], -1)
        Image.fromarray(ids if folder == "0001" else ids[::-1].copy()).save(parts / "maps" / folder / "000000.png")
    target = convert(parts / "maps", parts / "out.json", dataset=parts / "mini.json", format="panoptic-channels")
    document = json.loads(target.read_text())
    assert [row["file_name"] for row in document["annotations"]] == ["0001_000000.png", "0002_000000.png"]
    assert segbench.evaluate(target, parts / "maps", dataset=parts / "mini.json", gt_format="panoptic-channels").value("panoptic/pq") == 1.0


def test_what_cannot_be_converted(parts):
    with pytest.raises(InputError, match="for the task semantic and not for panoptic") as caught:
        convert(parts / "labels", parts / "out.json", dataset=parts / "mini.json")
    assert "--instances" in str(caught.value)
    made = convert(parts / "labels", parts / "out.json", instances=parts / "results.json", dataset=parts / "mini.json")
    for target in (made, parts / "out" / ".." / "out.json"):
        with pytest.raises(ConfigError, match="the target is the source"):
            convert(made, target)
    (parts / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        convert(made, parts / "taken" / "out.json")


def test_unknown_kinds_stay_unknown(parts):
    rows = tuple(datasets.LabelClass(id=10 * (n + 1), name=name) for n, (name, _) in enumerate(CLASSES))
    dataset = datasets.Dataset(name="kinds", tasks=("panoptic",), classes=rows)
    source = {"a": (np.full((4, 5), 7), [{"id": 7, "category_id": 10}])}
    document = json.loads(convert(source, parts / "kinds.json", dataset=dataset).read_text())
    assert "isthing" not in document["categories"][0]
    assert segbench.evaluate(parts / "kinds.json", source, dataset=dataset).value("panoptic/pq_things") is None


def contents(folder):
    """Every file below a folder, hidden ones too, with its bytes; folders as None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def interrupted(done, total):
    if done == 1:
        raise KeyboardInterrupt


@pytest.mark.parametrize("again", [False, True], ids=["fresh", "existing"])
@pytest.mark.parametrize("how", ["unreadable", "interrupted", "full disk"])
def test_a_target_is_whole_or_as_it_was(parts, how, again, monkeypatch):
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1}
    target, source = parts / "new" / "out.json", parts / "labels"
    if again:
        convert(parts / "labels", target, confidence=0.85, **options)
        (target.parent / "out" / "notes.txt").write_text("mine")
    raised = InputError
    if how == "unreadable":
        source, options = convert(source, parts / "source.json", **options), {}
        second = parts / "source" / "000000000002.png"
        second.write_bytes(second.read_bytes()[:60])
    elif how == "interrupted":
        options["progress"], raised = interrupted, KeyboardInterrupt
    else:
        replace = Path.replace

        def full(self, goal):
            if Path(goal) == target and "tmp" in self.name:
                raise OSError(28, "No space left on device")
            return replace(self, goal)

        monkeypatch.setattr(Path, "replace", full)
    before = contents(parts)
    with pytest.raises(raised):
        convert(source, target, **options)
    assert contents(parts) == before


def test_what_else_lies_in_the_folder_of_the_maps_stays(parts):
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1}
    convert(parts / "labels", parts / "out.json", **options)
    first = contents(parts / "out")
    (parts / "out" / "notes.txt").write_text("mine")
    convert(parts / "labels", parts / "out.json", confidence=0.85, **options)
    second = contents(parts / "out")
    assert second.pop("notes.txt") == b"mine"
    assert first.keys() == second.keys() == {"000000000001.png", "000000000002.png"}
    assert all(first[name] != second[name] for name in first)
    with pytest.raises(ConfigError, match="is a folder"):
        (parts / "b.json").mkdir()
        convert(parts / "labels", parts / "b.json", **options)


def test_a_killed_conversion_leaves_no_json_of_mixed_maps(parts, monkeypatch):
    """At every rename of the last step the JSON is not there, or all that it names is its own."""
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1}
    target = parts / "out.json"
    convert(parts / "labels", target, **options)
    seen = []
    replace = Path.replace

    def watched(self, goal):
        seen.append((Path(goal).name, target.exists()))
        return replace(self, goal)

    monkeypatch.setattr(Path, "replace", watched)
    convert(parts / "labels", target, confidence=0.85, **options)
    assert sorted(seen[:-1]) == [("000000000001.png", False), ("000000000002.png", False)]
    assert seen[-1] == ("out.json", False)
    assert target.exists()
