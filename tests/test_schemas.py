"""What segbench writes is what its JSON Schemas say, and stays what it was; run as a script, this writes the golden file again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "street_model_a.result.json"
STREET = ("fixtures/street/preds/model_a", "fixtures/street/gt")
CHANGING = ("segbench", "command", "environment", "timing")
"""Fields that depend on the version, the machine and the call."""


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and stdout of a command run in the root of the repository."""
    done = subprocess.run(
        [sys.executable, "-m", "segbench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def schema(name: str) -> dict:
    return json.loads((ROOT / "segbench" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))


def validate(document: dict, name: str) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(document)


def stable(document: dict) -> dict:
    return {key: value for key, value in document.items() if key not in CHANGING}


SCHEMAS = sorted(path.name.partition(".")[0] for path in (ROOT / "segbench" / "schemas").iterdir())


def test_every_schema_is_known():
    assert SCHEMAS == ["compare", "error", "profiles", "result"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["title"]


def test_the_result_of_the_fixtures():
    code, printed = command("evaluate", *STREET, "--json")
    assert code == 0
    document = json.loads(printed)
    validate(document, "result")
    assert stable(document) == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "options",
    [("--metrics", "boundary_iou"), ("--protocol", "voc"), ("--limit", "1"), ("--executor", "serial", "--name", "ünï code")],
)
def test_other_results(options, tmp_path):
    code, printed = command("evaluate", *STREET, "--json", "-o", str(tmp_path / "run"), *options)
    assert code == 0
    document = json.loads(printed)
    validate(document, "result")
    saved = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    validate(saved, "result")
    assert saved.pop("evidence_digest").startswith("sha256:")
    assert saved == document


def test_a_result_of_a_training_loop():
    import segbench
    from segbench import datasets

    accumulator = segbench.accumulator("semantic", datasets.simple(3))
    accumulator.add(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    validate(json.loads(accumulator.compute().to_json()), "result")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A panoptic and an instance data set of one image: a car on a road, found three pixels beside its place; no bus."""
    from segbench.adapters.panoptic.parts import merged_parts, write_coco_panoptic
    from segbench.datasets import Dataset, LabelClass

    folder = tmp_path_factory.mktemp("files")
    street = Dataset(
        name="street",
        classes=tuple(LabelClass(id=7 + index, name=name, isthing=index > 0) for index, name in enumerate(("road", "car", "bus"))),
    )
    car = np.zeros((96, 128), bool)
    car[40:60, 30:70] = True
    for name, mask in (("gt", car), ("pred", np.roll(car, 3, axis=1))):
        write_coco_panoptic([merged_parts(1, np.zeros(car.shape, np.uint8), [mask], [1], [1.0], street)], street, folder / f"{name}.json")
    instance = {"image_id": 1, "category_id": 8, "bbox": [30, 40, 40, 20]}
    polygon = [[30, 40, 70, 40, 70, 60, 30, 60]]
    truth = {
        "images": [{"id": 1, "height": 96, "width": 128}],
        "categories": [{"id": 8, "name": "car"}, {"id": 9, "name": "bus"}],
        "annotations": [instance | {"id": 1, "area": 800, "iscrowd": 0, "segmentation": polygon}],
    }
    (folder / "instances.json").write_text(json.dumps(truth))
    (folder / "masks.json").write_text(json.dumps([instance | {"score": 0.9, "segmentation": polygon}]))
    (folder / "boxes.json").write_text(json.dumps([instance | {"score": 0.9}]))
    return folder


@pytest.mark.parametrize(
    ("pred", "gt", "options", "tasks"),
    [
        ("masks", "instances", (), ["instance"]),
        ("boxes", "instances", ("--intervals",), ["instance"]),
        ("masks", "instances", ("--metrics", "*", "--protocol", "boundary"), ["instance"]),
        (
            "masks",
            "instances",
            ("--max-dets", "1,7", "--area-ranges", "all:0-1e10,Tiny-ones:0-99", "--iou-thresholds", "0.5"),
            ["instance"],
        ),
        ("pred", "gt", ("--metrics", "boundary_pq"), ["panoptic"]),
        ("pred", "gt", ("--task", "all", "--intervals"), ["panoptic", "semantic", "instance"]),
    ],
)
def test_results_of_the_other_tasks(files, pred, gt, options, tasks, tmp_path):
    paths = (str(files / f"{pred}.json"), str(files / f"{gt}.json"))
    code, printed = command("evaluate", *paths, "--json", "--quiet", "-o", str(tmp_path / "run"), *options)
    assert code == 0
    document = json.loads(printed)
    validate(document, "result")
    assert list(document["tasks"]) == tasks
    saved = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    validate(saved, "result")
    assert saved.pop("evidence_digest").startswith("sha256:")
    assert saved == document


def test_a_comparison(tmp_path):
    for model in ("model_a", "model_b"):
        code, _ = command("evaluate", f"fixtures/street/preds/{model}", STREET[1], "--quiet", "-o", str(tmp_path / model))
        assert code == 0
    gates = ("--max-drop", "semantic/miou=0.5pt", "--max-drop", "semantic/iou/*=2%", "--slice", "(.)$")
    code, printed = command("compare", str(tmp_path / "model_a"), str(tmp_path / "model_b"), "--json", "--no-ci", *gates)
    document = json.loads(printed)
    validate(document, "compare")
    assert code == document["exit_code"] == 1
    assert document["status"] == "failed"


def test_schemas_are_strict_about_tasks(files):
    code, printed = command("evaluate", str(files / "masks.json"), str(files / "instances.json"), "--json", "--quiet")
    assert code == 0
    document = json.loads(printed)
    row = document["tasks"]["instance"]["per_class"][0]
    for change in ({"segm_ap": 1.5}, {"num_gt": -1}, {"pq": 1.0}):
        document["tasks"]["instance"]["per_class"][0] = row | change
        with pytest.raises(jsonschema.ValidationError):
            validate(document, "result")
    document["tasks"]["instance"]["per_class"][0] = row
    validate(document, "result")
    document["tasks"] = {"panoptic": document["tasks"]["instance"]}
    with pytest.raises(jsonschema.ValidationError):
        validate(document, "result")


@pytest.mark.parametrize(
    "change", [{"extra_field": 1}, {"schema": "segbench.result/2"}, {"tasks": {}}, {"images": {"count": -1}}, {"timing": {"wall": 1}}]
)
def test_the_schema_is_strict(change):
    document = {"segbench": "0.1.0", "command": "", "environment": {}, "timing": {}} | json.loads(GOLDEN.read_text(encoding="utf-8"))
    validate(document, "result")
    with pytest.raises(jsonschema.ValidationError):
        validate(document | change, "result")


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("evaluate", "no/such/folder", STREET[1]), 3),
        (("evaluate", *STREET, "--dataset", "cityscape"), 2),
        (("evaluate", *STREET, "--num-classes", "3"), 3),
        (("evaluate", *STREET, "--no-such-option"), 2),
        (("evaluate", *STREET, "--protocol", "mmsegg"), 2),
        (("explain", "semantic/moiu"), 2),
        (("inspect", "no/such/folder"), 3),
        (("nothing",), 2),
    ],
)
def test_errors(arguments, exit_code):
    code, printed = command(*arguments, "--json")
    assert code == exit_code
    document = json.loads(printed)
    validate(document, "error")
    assert document["exit_code"] == exit_code


def test_an_internal_error(monkeypatch, capsys):
    from segbench import cli, evaluation

    def fail(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(evaluation, "evaluate", fail)
    assert cli.run(["evaluate", "a", "b", "--json"]) == 70
    validate(json.loads(capsys.readouterr().out), "error")


def main() -> None:
    """Writes the golden file."""
    document = stable(json.loads(command("evaluate", *STREET, "--json")[1]))
    GOLDEN.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
