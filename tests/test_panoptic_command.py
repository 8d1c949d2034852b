"""Bad panoptic input from the command: named, counted, exit 3; never a traceback, never a silent number."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segbench import cli
from segbench.conversion import convert
from segbench.errors import InputError
from tests.panoptic_sets import as_pixels, save

IDS = np.zeros((6, 8), np.int64)
IDS[1:], IDS[2:4, 1:3], IDS[2:4, 5:7] = 3, 1, 2


@pytest.fixture
def files(tmp_path):
    """Two images with two cars and a road as COCO panoptic files: their documents by side, and a function that runs the command on them."""
    segments = [{"id": key, "category_id": label, "area": int((key == IDS).sum()), "iscrowd": 0} for key, label in ((1, 1), (2, 1), (3, 2))]
    document = {
        "annotations": [{"image_id": key, "file_name": f"{key}.png", "segments_info": segments} for key in (1, 2)],
        "categories": [{"id": 1, "name": "car", "isthing": 1}, {"id": 2, "name": "road", "isthing": 0}],
    }
    sides = {side: json.loads(json.dumps(document)) for side in ("pred", "gt")}
    for side in sides:
        for key in (1, 2):
            save(as_pixels(IDS), tmp_path / side / f"{key}.png")

    def run(*options):
        for side, content in sides.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{side}.json").write_text(text)
        return cli.run(["evaluate", str(tmp_path / "pred.json"), str(tmp_path / "gt.json"), "--json", "-q", *options])

    return tmp_path, sides, run


def segment(sides, side, image=0, at=0):
    return sides[side]["annotations"][image]["segments_info"][at]


def listed(side, images, *rows):
    """Adds rows to the tables of some images."""

    def change(folder, sides):
        for image in images:
            sides[side]["annotations"][image]["segments_info"] += rows

    return change


def unlisted(side, images):
    """Leaves the first row out of the tables of some images."""

    def change(folder, sides):
        for image in images:
            sides[side]["annotations"][image]["segments_info"].pop(0)

    return change


def changed(side, **fields):
    return lambda folder, sides: segment(sides, side).update(fields)


def annotation(side, **fields):
    return lambda folder, sides: sides[side]["annotations"][0].update(fields)


def drawn(side, values):
    return lambda folder, sides: save(values, folder / side / "1.png")


def outside(folder, sides):
    (folder / "elsewhere").mkdir()
    sides["pred"]["annotations"][0]["file_name"] = str(folder / "elsewhere" / "1.png")


def piped(folder, sides):
    (folder / "pred/1.png").unlink()
    os.mkfifo(folder / "pred/1.png")


BAD = {
    "in the map, not in the table": (unlisted("pred", (0, 1)), "SB150", 2, "1 segment in the map and not in the table beside it: 1"),
    "the same of ground truth": (unlisted("gt", (0,)), "SB150", 1, "ground truth: 1 segment in the map and not in the table"),
    "in the table, not in the map": (
        listed("pred", (0, 1), {"id": 9, "category_id": 1}),
        "SB150",
        2,
        "1 segment in the table and not in the map: 9",
    ),
    "the same in ground truth": (listed("gt", (1,), {"id": 9, "category_id": 1}), "SB150", 1, "ground truth: 1 segment in the table"),
    "one id, two classes": (listed("pred", (0, 1), {"id": 1, "category_id": 2}), "SB152", 2, "2 segments listed with two categories"),
    "an unknown category": (changed("pred", category_id=7), "SB110", 1, "does not have"),
    "an unknown category in ground truth": (changed("gt", category_id=7), "SB110", 1, "does not have"),
    "category 0": (changed("pred", category_id=0), "SB110", 1, "does not have"),
    "category 0 in ground truth": (changed("gt", category_id=0), "SB110", 1, "does not have"),
    "no category": (changed("pred", category_id=None), "SB150", 1, "segment 1 has no category_id"),
    "the void id": (changed("pred", id=0), "SB153", 1, "0 means void"),
    "an id beyond 24 bits": (changed("pred", id=2**24), "SB153", 1, "ids end at 16777215"),
    "an id beyond 64 bits": (changed("pred", id=2**70), "SB153", 1, "impossible id"),
    "a wrong area": (changed("gt", area=2), "SB155", 1, "the ground truth states a wrong area for 1 of 6 segments"),
    "a grey map": (drawn("pred", np.zeros((6, 8), np.uint8)), "SB154", 1, "must be an RGB image"),
    "another size": (drawn("pred", as_pixels(np.zeros((5, 8), np.int64))), "SB101", 1, "differ in size: 5x8 vs 6x8"),
    "an image listed twice": (
        lambda folder, sides: sides["pred"]["annotations"].append(sides["pred"]["annotations"][0]),
        "SB120",
        1,
        "listed more than once",
    ),
    "a missing image": (lambda folder, sides: sides["pred"]["annotations"].pop(), "SB130", 1, "no prediction for 1 of 2 ground truths"),
    "no image in common": (
        lambda folder, sides: [row.update(image_id=row["image_id"] + 10) for row in sides["pred"]["annotations"]],
        "SB132",
        2,
        "no prediction has the name",
    ),
    "a map that is not there": (lambda folder, sides: (folder / "gt/2.png").unlink(), "SB156", 1, "1 of 2 panoptic maps"),
    "no folder of maps": (lambda folder, sides: shutil.rmtree(folder / "gt"), "SB156", 1, "--gt-maps"),
    "a name that leads up": (annotation("pred", file_name="../gt/1.png"), "SB192", 1, "leads outside"),
    "an absolute name": (outside, "SB192", 1, "leads outside"),
    "a map cut short": (
        lambda folder, sides: (folder / "pred/1.png").write_bytes((folder / "pred/1.png").read_bytes()[:-30]),
        "SB160",
        1,
        "1.png",
    ),
    "a map that is a pipe": (
        lambda folder, sides: ((folder / "pred/1.png").unlink(), os.mkfifo(folder / "pred/1.png")),
        "SB160",
        1,
        "1.png",
    ),
    "one map for two images": (annotation("pred", file_name="2.png"), "SB120", 1, "the map of more than one image: 1 file"),
    "a name without an end": (annotation("pred", file_name="a" * 5000), "SB156", 1, "1 of 2 panoptic maps"),
    "no name": (annotation("pred", file_name="."), "SB192", 1, "leads outside"),
    "nothing predicted": (lambda folder, sides: sides["pred"].update(annotations=[]), "SB130", 2, "no prediction for 2 of 2"),
    "half a pixel": (changed("gt", area=4.5), "SB155", 1, "segment 1: no whole number stated, 4 pixels"),
    "an area below 0": (changed("gt", area=-4), "SB155", 1, "wrong area for 1 of 6"),
    "red and blue swapped": (drawn("pred", as_pixels(IDS)[..., ::-1].copy()), "SB150", 1, "OpenCV writes B, G, R"),
    "half a JSON": (lambda folder, sides: sides.update(pred=json.dumps(sides["pred"])[:-40]), None, 1, "not a panoptic JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_counted(case, files, capsys):
    folder, sides, run = files
    change, code, count, message = BAD[case]
    change(folder, sides)
    assert run() == 3
    found = json.loads(capsys.readouterr().out)
    assert message in f"{found['message']} {found['hint']} {' '.join(found['files'])}"
    assert (found["code"], found["count"], found["exit_code"]) == (code, count, 3)
    assert found["hint"] or "pipe" in found["message"]
    assert found["files"]


def test_extra_images_are_said_and_refused_where_asked(files, capsys):
    _, sides, run = files
    sides["gt"]["annotations"].pop()
    assert run() == 0
    assert "no ground truth for 1 prediction: not used" in json.loads(capsys.readouterr().out)["warnings"][0]
    assert run("--strict") == 3
    assert json.loads(capsys.readouterr().out)["code"] == "SB131"


def test_wrong_areas_are_recounted_or_believed_where_told(files, capsys):
    _, sides, run = files
    for image in (0, 1):
        segment(sides, "gt", image, 2)["area"] //= 3
    found = {}
    for protocol in ("coco-panoptic-corrected", "panopticapi"):
        assert run("--protocol", protocol) == 0
        document = json.loads(capsys.readouterr().out)
        found[protocol] = document["tasks"]["panoptic"]["metrics"]["panoptic/pq"]["value"]
        assert any("states a wrong area for 2 of 6 segments" in warning for warning in document["warnings"])
    assert found["coco-panoptic-corrected"] == 1.0
    assert found["panopticapi"] > 1.0


def test_things_or_stuff_may_be_absent(files, capsys):
    _, sides, run = files
    for side in ("gt", "pred"):
        sides[side]["categories"][1]["isthing"] = 1
    assert run() == 0
    task = json.loads(capsys.readouterr().out)["tasks"]["panoptic"]
    assert task["metrics"]["panoptic/pq_stuff"]["value"] is None
    assert task["undefined"]["panoptic/pq_stuff"] == "the data set has no stuff class"
    assert task["metrics"]["panoptic/pq_things"]["value"] == 1.0


def test_the_same_maps_on_both_sides_are_said(files, capsys):
    folder, _, run = files
    assert run("--maps", str(folder / "gt")) == 0
    assert any("from the same maps" in warning for warning in json.loads(capsys.readouterr().out)["warnings"])


TRIES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@TRIES
@given(st.data())
def test_mutated_files_end_in_a_number_or_a_message(files, capsys, data):
    folder, sides, _ = files
    original = {path: path.read_bytes() for path in folder.rglob("*.png")}
    try:
        documents = {side: json.dumps(content).encode() for side, content in sides.items()}
        side = data.draw(st.sampled_from(("pred", "gt")))
        target = data.draw(st.sampled_from((documents[side], original[folder / side / "1.png"])))
        at, cut = data.draw(st.integers(0, len(target))), data.draw(st.integers(0, 12))
        broken = (
            target[:at] + data.draw(st.binary(max_size=6) | st.sampled_from((b"-1", b"1e9", b'""', b"null", b"[]"))) + target[at + cut :]
        )
        for name, content in documents.items():
            (folder / f"{name}.json").write_bytes(broken if target is content and name == side else content)
        if target not in documents.values():
            (folder / side / "1.png").write_bytes(broken)
        capsys.readouterr()
        code = cli.run(["evaluate", str(folder / "pred.json"), str(folder / "gt.json"), "--json", "-q"])
        found = json.loads(capsys.readouterr().out)
        assert code == found.get("exit_code", 0)
        assert code in (0, 3)
    finally:
        for path, content in original.items():
            path.write_bytes(content)


def test_converting_refuses_what_evaluating_refuses(files):
    folder, sides, run = files
    unlisted("pred", (1,))(folder, sides)
    run()
    with pytest.raises(InputError, match="in the map and not in the table") as caught:
        convert(folder / "pred.json", folder / "out.json")
    assert caught.value.code == "SB150"
    assert not (folder / "out.json").exists()


def test_links_in_the_folder_are_followed(files):
    """Who put them there meant them: data managers keep files behind links. What a JSON says never leads out."""
    folder, _, run = files
    (folder / "store").mkdir()
    (folder / "pred/1.png").rename(folder / "store/1.png")
    (folder / "pred/1.png").symlink_to(folder / "store/1.png")
    assert run() == 0


def test_segments_of_another_kind_than_their_class_are_said(files, capsys):
    _, sides, run = files
    segment(sides, "pred")["isthing"] = False
    assert run() == 0
    assert json.loads(capsys.readouterr().out)["warnings"][0].startswith(
        "1 segment of the prediction whose isthing is not that of the class"
    )


def test_another_task_is_named(files, capsys):
    _, _, run = files
    assert run("--task", "semantic") == 3
    told = json.loads(capsys.readouterr().out)
    assert told["message"] == "this is COCO panoptic JSON and RGB PNG maps, for the task panoptic and not for semantic"
    assert "--task all" in told["hint"]


def test_tables_of_a_narrow_terminal_cut_no_number_and_no_id(files, capsys, monkeypatch):
    folder, _, run = files
    monkeypatch.setattr("segbench.cli.console.stdout.__defaults__", (True, 80))
    sides = str(folder / "pred.json"), str(folder / "gt.json")
    assert run("-o", str(folder / "run")) == 0
    capsys.readouterr()
    assert cli.run(["evaluate", *sides, "-q"]) == 0
    assert cli.run(["explain", "panoptic/pq", "--run", str(folder / "run")]) == 0
    shown = capsys.readouterr().out
    assert "panoptic/parsing_covering" in shown
    assert "\u2026" not in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80
