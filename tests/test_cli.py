"""The command line as a process sees it: streams, JSON, exit codes, interruption, what is left on disk."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segbench import cli

STREET = Path(__file__).parent.parent / "fixtures" / "street"
PREDS, GT = str(STREET / "preds" / "model_a"), str(STREET / "gt")


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_table_on_stdout_and_messages_on_stderr(run):
    code, out, err = run("evaluate", PREDS, GT)
    assert code == 0
    assert "semantic/miou" in out
    assert "72.90" in out
    assert "traffic sign" in out
    assert "12 predictions read as" in err


def test_json_is_one_object(run):
    code, out, err = run("evaluate", PREDS, GT, "--json", "-q")
    assert code == 0
    assert err == ""
    assert json.loads(out)["schema"] == "segbench.result/1"


def test_the_command_that_adds_intervals_of_ap_can_be_pasted(run, tmp_path, monkeypatch):
    categories = [{"id": 1, "name": "cat"}]
    truth = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 4], "area": 16, "iscrowd": 0}
    images = [{"id": 1, "width": 20, "height": 20}, {"id": 2, "width": 20, "height": 20}]
    gt, pred = tmp_path / "the truth.json", tmp_path / "pred.json"
    gt.write_text(json.dumps({"images": images, "categories": categories, "annotations": [truth]}), encoding="utf-8")
    pred.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 4], "score": 0.9}]), encoding="utf-8")
    arguments = ["evaluate", "--", str(pred), str(gt)]
    monkeypatch.setattr("sys.argv", ["segbench", *arguments])
    code, out, err = run(*arguments)
    assert (code, "interval" in out) == (0, False)
    words = shlex.split(err.splitlines()[-1])
    assert words == ["segbench", "evaluate", "--intervals", "--", str(pred), str(gt)]
    code, out, err = run(*words[1:])
    assert (code, "95 % interval" in out) == (0, True)
    assert "--intervals" not in err


def test_run_folder(run, tmp_path):
    code, _, err = run("evaluate", PREDS, GT, "-o", str(tmp_path / "a"))
    assert code == 0
    assert str(tmp_path / "a") in err
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"result.json", "evidence.npz", "dataset.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["evaluate", PREDS, "nowhere"], 3, "no such file"),
        (["evaluate", PREDS, GT, "--dataset", "cityscape"], 2, "cityscapes"),
        (["evaluate", PREDS, GT, "--protocol", "mmse"], 2, "mmseg"),
        (["evaluate", PREDS], 2, "Missing argument"),
        (["evaluate", PREDS, GT, "--nonsense"], 2, "nonsense"),
        (["evaluat"], 2, "evaluate"),
        (["explain", "miuo"], 2, "miou"),
        (["inspect", "nowhere"], 3, "no such file"),
        (["datasets", "cityscape"], 2, "cityscapes"),
    ],
)
def test_errors(run, arguments, code, words):
    got, out, err = run(*arguments)
    assert got == code
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_errors_as_json(run):
    code, out, _ = run("evaluate", PREDS, "nowhere", "--json")
    document = json.loads(out)
    assert (code, document["exit_code"], document["schema"]) == (3, 3, "segbench.error/1")
    assert document["files"] == ["nowhere"]
    code, out, _ = run("evaluate", "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)


def test_internal_errors_are_one_line(run, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr("segbench.evaluation.evaluate", fail)
    code, _, err = run("evaluate", PREDS, GT)
    assert code == 70
    assert "internal error: RuntimeError: boom" in err
    assert "SEGBENCH_DEBUG" in err
    code, out, _ = run("evaluate", PREDS, GT, "--json")
    assert json.loads(out)["exit_code"] == 70


def test_nothing_is_written_on_an_error(run, tmp_path):
    broken = tmp_path / "preds"
    shutil.copytree(PREDS, broken)
    last = sorted(broken.glob("*.png"))[-1]
    last.write_bytes(last.read_bytes()[:-10])
    code, out, _ = run("evaluate", str(broken), GT, "-o", str(tmp_path / "run"))
    assert (code, out) == (3, "")
    assert not (tmp_path / "run").exists()


def test_explain(run):
    code, out, _ = run("explain", "semantic/miou")
    assert code == 0
    for head in ("formula:", "undefined:", "other tools:", "source:"):
        assert head in out
    assert "semantic/boundary_iou" in run("explain")[1]
    assert json.loads(run("explain", "miou", "--json")[1])["id"] == "semantic/miou"


def test_explain_splits_a_difference_into_rules(run, tmp_path):
    run("evaluate", PREDS, GT, "-o", str(tmp_path / "run"))
    code, out, _ = run("explain", "semantic/miou", "--run", str(tmp_path / "run"), "--protocol", "ade20k", "--json")
    document = json.loads(out)
    assert code == 0
    first, last = document["steps"][0], document["steps"][-1]
    rescored = json.loads(run("evaluate", PREDS, GT, "--protocol", "ade20k", "--json", "-q")[1])
    assert last["after"]["semantic/miou"] == rescored["tasks"]["semantic"]["metrics"]["semantic/miou"]["value"]
    assert first["before"]["semantic/miou"] != last["after"]["semantic/miou"]
    assert "under ade20k" in run("explain", "miou", "--run", str(tmp_path / "run"), "--protocol", "ade20k")[1]


def test_inspect_strict(run, tmp_path):
    assert run("inspect", GT, "--strict")[0] == 0
    (tmp_path / "a.png").write_bytes(b"nothing")
    code, out, _ = run("inspect", str(tmp_path), "--strict")
    assert code == 3
    assert "SB160" in out


@pytest.mark.parametrize("command", [["doctor"], ["formats"], ["datasets"], ["inspect", GT], ["explain"]])
def test_commands_print_text_and_json(run, command):
    code, out, _ = run(*command)
    assert code == 0
    assert out.strip()
    assert json.loads(run(*command, "--json")[1])["schema"].startswith("segbench.")


def start(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "segbench", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interruption_writes_nothing(tmp_path):
    adapter = tmp_path / "slow.py"
    adapter.write_text("import time\ndef read(path):\n    print('reading', flush=True)\n    time.sleep(60)\n")
    process = start("evaluate", PREDS, GT, "--adapter", f"{adapter}:read", "-o", str(tmp_path / "run"))
    while "reading" not in process.stderr.readline():
        pass  # what an adapter prints goes to stderr: stdout is the result's
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_reader_that_goes_away(tmp_path):
    process = start("datasets", "lvis_v1")
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
