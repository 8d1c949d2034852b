"""Run folders: saved whole, loaded with checks, re-scored without pixels, refused when edited."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import segbench
from segbench import protocols
from segbench.errors import ConfigError, FormatError, InputError
from segbench.results import Result, pack, unpack

STREET = Path(__file__).parent.parent / "fixtures" / "street"


@pytest.fixture(scope="module")
def result():
    return segbench.evaluate(STREET / "preds" / "model_a", STREET / "gt")


@pytest.fixture
def folder(result, tmp_path):
    return result.save(tmp_path / "run")


def edit(folder: Path, change) -> None:
    path = folder / "result.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_round_trip(result, folder):
    loaded = Result.load(folder)
    assert loaded.tasks == result.tasks
    assert loaded.dataset == result.dataset
    assert loaded.per_image == result.per_image
    assert loaded.dataset_spec == result.dataset_spec
    assert Result.load(folder / "result.json").flat() == result.flat()
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "evidence.npz", "result.json"]


def test_saving_twice_gives_the_same_bytes(result, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_evidence_is_a_plain_npz(folder):
    with np.load(folder / "evidence.npz", allow_pickle=False) as archive:
        assert archive["semantic/pixels/pixels"].sum() == sum(height * width for height, width in archive["semantic/images/sizes"].tolist())


@pytest.mark.parametrize("protocol", protocols.available("semantic"))
def test_rescoring_equals_evaluating(result, protocol):
    again = segbench.evaluate(STREET / "preds" / "model_a", STREET / "gt", protocol=protocol)
    assert result.rescore(protocol).tasks == again.tasks


def test_values_by_id(result):
    assert result.value("semantic/miou") == result.flat()["semantic/miou"] == result.flat("val/")["val/semantic/miou"]
    assert result.value("semantic/iou/road") == result.per_class[0]["iou"]
    with pytest.raises(ConfigError, match="semantic/miu") as caught:
        result.value("semantic/miu")
    assert "semantic/miou" in caught.value.hint


def test_frames(result):
    assert result.to_frame("metrics")["metric"].iloc[0] == "semantic/pixel_accuracy"
    assert len(result.to_frame()) == 11
    assert len(result.to_frame("per_image")) == 12
    with pytest.raises(ConfigError):
        result.to_frame("pixels")


def test_notebook_table(result):
    page = result._repr_html_()
    assert "semantic/miou" in page
    assert "72.9" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["tasks"]["semantic"]["metrics"]["semantic/miou"].update(value=0.99), "do not follow from the evidence"),
        (lambda d: d["tasks"]["semantic"]["per_class"][0].update(iou=0.99), "do not follow from the evidence"),
        (lambda d: d.update(schema="segbench.result/9"), "segbench.result/9"),
        (lambda d: d.pop("tasks"), "damaged"),
        (lambda d: d["tasks"].update(depth=d["tasks"].pop("semantic")), "damaged"),
        (lambda d: d.update(evidence_digest="sha256:0"), "not the one"),
    ],
)
def test_edited_results_are_refused(folder, change, words):
    edit(folder, change)
    with pytest.raises(InputError, match=words):
        Result.load(folder)


def test_changed_evidence_is_refused(folder):
    path = folder / "evidence.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="not the one"):
        Result.load(folder)


@pytest.mark.parametrize("name", ["result.json", "evidence.npz", "dataset.json"])
def test_missing_and_empty_files(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(FormatError):
        Result.load(folder)
    (folder / name).unlink()
    with pytest.raises(FormatError):
        Result.load(folder)


def test_unpack_refuses_pickles_and_garbage():
    assert unpack(pack({"a/b": np.arange(3)}), "x")["a/b"].tolist() == [0, 1, 2]
    with pytest.raises(FormatError):
        unpack(b"PK\x03\x04garbage", "x")
    with pytest.raises(ValueError, match="pickle"):
        pack({"a": np.array([object()])})


def test_failed_save_leaves_the_old_run(result, folder, monkeypatch):
    before = (folder / "result.json").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segbench.results.write_whole", fail)
    with pytest.raises(InputError, match="No space left"):
        result.save(folder)
    assert (folder / "result.json").read_bytes() == before


def test_output_that_is_a_file(result, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        result.save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"
