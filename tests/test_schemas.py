"""What segbench writes is what its JSON Schemas say, and stays what it was; run as a script, this writes the golden file again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
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


@pytest.mark.parametrize("name", ["result", "error"])
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))


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
    import numpy as np

    import segbench
    from segbench import datasets

    accumulator = segbench.accumulator("semantic", datasets.simple(3))
    accumulator.add(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    validate(json.loads(accumulator.compute().to_json()), "result")


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
