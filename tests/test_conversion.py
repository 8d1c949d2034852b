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
from segbench.errors import ConfigError, FormatError, InputError, LabelError, PairingError

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
    (parts / "b.json").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
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


def test_no_input_is_written_over(parts):
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1}
    maps = convert(parts / "labels", parts / "made.json", **options).with_suffix("")
    (parts / "LABELS").symlink_to(parts / "labels")
    shutil.copytree(parts / "labels", parts / "nested" / "deep")
    shutil.copy(parts / "mini.json", parts / "nested" / "dataset.json")
    before = contents(parts)
    for source, target, more, what in (
        ("labels", "results.json", {}, "the target is the file of instances"),
        ("labels", "mini.json", {}, "the target is the data set file"),
        ("labels", "labels.json", {}, "the target is the source"),
        ("labels", "LABELS.json", {}, "the target is the source"),
        ("nested/deep", "nested/dataset.json", {"dataset": None}, "the target is the data set file"),
        ("nested", "nested/deep.json", {}, "holds files that are read"),
        ("made.json", "made.json", {"instances": None}, "the target is the source"),
        ("other.json", "made.json", {"instances": None, "maps": maps}, "holds files that are read"),
    ):
        if source == "other.json":
            shutil.copy(parts / "made.json", parts / source)
            (parts / "made.json").unlink()
            before = contents(parts)
        with pytest.raises(ConfigError, match=what):
            convert(parts / source, parts / target, **options | more)
        assert contents(parts) == before


def heard(parts, **options):
    """What a conversion of the parts says after its first sentences."""
    said = []
    options = {"instances": parts / "results.json", "dataset": parts / "mini.json", "stuff_area_px": 1} | options
    convert(parts / "labels", parts / "out.json", say=said.append, **options)
    return [line for line in said if "left out" in line or "warning" in line]


def test_what_is_left_out_is_said(parts):
    # of each image's four instances one scores 0.2 and one is covered; sky has 192 free pixels, road 300
    assert heard(parts) == ["left out: 2 of 8 instances below 0.5, 2 covered"]
    assert heard(parts, confidence=0) == ["left out: 2 of 8 instances covered"]
    assert heard(parts, confidence=0, overlap=1) == ["left out: 2 of 8 instances covered"]  # nothing of them is free
    assert heard(parts, stuff_area_px=193) == [
        "left out: 2 of 8 instances below 0.5, 2 covered; 2 of 4 stuff regions under 193 px",
        "warning: in the parts, and in no segment: sky",
    ]
    assert heard(parts, confidence=2, stuff_area_px=1000) == [
        "left out: 8 of 8 instances below 2; 4 of 4 stuff regions under 1000 px",
        "warning: in the parts, and in no segment: sky, road, car, person",
    ]
    (parts / "results.json").write_text("[]")
    assert heard(parts, stuff_area_px=0) == []
    labels = np.full((20, 30), 30, np.uint8)  # a thing in the labels alone
    Image.fromarray(labels).save(parts / "labels" / "3.png")
    assert heard(parts) == ["warning: in the parts, and in no segment: car"]
    said = []
    convert(parts / "out.json", parts / "again.json", say=said.append)
    assert not any("left out" in line or "warning" in line for line in said)


def test_the_command_says_what_is_left_out_unless_it_is_to_be_quiet(parts, capsys):
    command = ["convert", str(parts / "labels"), str(parts / "out.json"), "--instances", str(parts / "results.json")]
    command += ["--dataset", str(parts / "mini.json")]
    assert cli.run(command) == 0
    printed = capsys.readouterr()
    assert "left out: 2 of 8 instances below 0.5, 2 covered; 4 of 4 stuff regions under 4096 px\n" in printed.err
    assert "warning: in the parts, and in no segment: sky, road\n" in printed.err
    for quiet in ("-q", "--quiet"):
        assert cli.run([*command, quiet]) == 0
        assert capsys.readouterr() == ("", "")


def test_parts_that_do_not_pair_are_named_in_their_own_words(parts):
    for number in (1, 2):
        (parts / "labels" / f"{number}.png").rename(parts / "labels" / f"street_{number:06d}.png")
    with pytest.raises(PairingError, match="no label map has the name or the number of an image with instances") as caught:
        heard(parts)
    assert caught.value.code == "SB132"
    assert caught.value.files == [("instances", "1"), ("instances", "2"), ("label map", "street_000001"), ("label map", "street_000002")]
    assert "prediction" not in str(caught.value)
    assert not (parts / "out").exists()


def changed(parts, **fields):
    """The results with another first row."""
    rows = json.loads((parts / "results.json").read_text())
    rows[0] = {key: value for key, value in (rows[0] | fields).items() if value is not None}
    (parts / "results.json").write_text(json.dumps(rows))


def test_instances_without_a_score_or_of_stuff_say_what_to_do(parts):
    changed(parts, score=None)
    with pytest.raises(FormatError, match="detection 0 has no score") as caught:
        heard(parts)
    assert caught.value.hint == "give every instance a score: they are ranked by it"
    changed(parts, score=0.9, category_id=20)
    with pytest.raises(LabelError, match="instance 0 is of class road, which is no thing of mini") as caught:
        heard(parts)
    assert caught.value.code == "SB110"
    assert caught.value.hint == "give instances of things alone; stuff is taken from the labels"
    assert [role for role, _ in caught.value.files] == ["instances", "label map"]
    assert "results.json" in caught.value.files[0][1]
    assert caught.value.files[1][1].endswith("labels/1.png")
