"""AP on parts of the images, by size of the instances and by what is known of the images: equal to evaluating the parts alone."""

from __future__ import annotations

import json

import pytest

import segbench
from segbench import cli
from segbench.comparison.labels import read_table
from segbench.comparison.shards import slice_result
from tests.parity.test_pycocotools import random_dataset


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    truth, detections = random_dataset(191, True, False, False)
    for number, image in enumerate(truth["images"]):
        image |= {"weather": "rain" if number % 2 else "sun", "speed": number}
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(detections))
    lines = [f"{image['id']},{image['weather']}" for image in truth["images"]]
    (folder / "images.csv").write_text("\n".join(["id,weather", *lines]))
    return folder, truth, detections


def test_a_slice_is_an_evaluation_of_its_images(files):
    folder, truth, detections = files
    whole = segbench.evaluate(folder / "results.json", folder / "gt.json", analysis=True)
    for table in (folder / "images.csv", folder / "gt.json"):
        parts = slice_result(whole, "weather", read_table(table))
        assert list(parts) == ["rain", "sun"]
        for weather, part in parts.items():
            kept = {image["id"] for image in truth["images"] if image["weather"] == weather}
            smaller = truth | {
                "images": [image for image in truth["images"] if image["id"] in kept],
                "annotations": [row for row in truth["annotations"] if row["image_id"] in kept],
            }
            alone = segbench.evaluate([row for row in detections if row["image_id"] in kept], smaller, task="instance", analysis=True)
            assert part.flat() == alone.flat()
            assert part.value("segm/ap") is not None


def test_the_same_bytes_for_any_number_of_workers(files, tmp_path):
    folder, _, _ = files
    written = set()
    for name, how in {"one": [1], "two": [2], "seven": [7], "processes": [2, "--executor", "processes"]}.items():
        command = ["evaluate", str(folder / "results.json"), str(folder / "gt.json"), "--analysis", "-o", str(tmp_path / name)]
        assert cli.run([*command, "--workers", *map(str, how), "--quiet"]) == 0
        result = json.loads((tmp_path / name / "result.json").read_text())
        for changing in ("timing", "command", "model"):
            result.pop(changing)
        written.add(((tmp_path / name / "evidence.npz").read_bytes(), json.dumps(result)))
    assert len(written) == 1


def test_slices_of_instances_on_the_command_line(files, capsys, tmp_path):
    folder, _, _ = files
    run = str(tmp_path / "run")
    ranges = "all:0-1e10,tiny:0-30,rest:30-1e10"
    command = ["evaluate", str(folder / "results.json"), str(folder / "gt.json"), "--area-ranges", ranges, "-o", run, "--json"]
    assert cli.run(command) == 0
    metrics = json.loads(capsys.readouterr().out)["tasks"]["instance"]["metrics"]
    assert metrics["segm/ap_tiny"]["value"] != metrics["segm/ap_rest"]["value"]
    assert cli.run(["slice", run, "--by", "weather", "--images", str(folder / "gt.json"), "--metrics", "segm/*", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["slices"]
    assert [part["slice"] for part in parts] == ["rain", "sun"]
    assert {"segm/ap", "segm/ap_tiny", "segm/ar_rest"} <= parts[0]["metrics"].keys()
    assert cli.run(["compare", run, run, "--images", str(folder / "images.csv"), "--slice", "weather", "--json"]) == 0
    slices = json.loads(capsys.readouterr().out)["comparisons"][0]["slices"]
    assert {row["slice"] for row in slices} == {"rain", "sun"}
