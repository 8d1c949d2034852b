"""The fixtures are what their script makes, and their expected values are what an independent reading of the files gives."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segbench
from segbench import datasets, scenes

FIXTURES = Path(__file__).parent.parent / "fixtures"
MODELS = [("street", "model_a"), ("street", "model_b"), ("textbook", "all_background")]


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def remade(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixtures")
    make.main(folder)
    return folder


def committed(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(FIXTURES)) for path in FIXTURES.glob(f"*/**/{pattern}") if "__pycache__" not in path.parts)


def expected(folder: str) -> dict:
    return json.loads((FIXTURES / folder / "expected.json").read_text(encoding="utf-8"))


def confusion(folder: str, model: str) -> np.ndarray:
    """The confusion matrix from the files, by another way than `make.py` counts it."""
    num_classes = len(expected(folder)["models"][model]["per_class"])
    total = np.zeros((num_classes + 1) ** 2, np.int64)
    for gt_file in sorted((FIXTURES / folder / "gt").glob("*.png")):
        with Image.open(gt_file) as gt, Image.open(FIXTURES / folder / "preds" / model / gt_file.name) as pred:
            rows, columns = (np.minimum(np.asarray(image), num_classes).astype(np.int64) for image in (gt, pred))
        total += np.bincount((rows * (num_classes + 1) + columns).ravel(), minlength=len(total))
    return total.reshape(num_classes + 1, num_classes + 1)


def test_the_script_makes_every_file_and_no_other(remade):
    assert committed("*.*") == sorted(str(path.relative_to(remade)) for path in remade.rglob("*.*"))


def test_remade_images_have_the_same_pixels_and_kind(remade):
    for name in committed("*.png"):
        with Image.open(FIXTURES / name) as old, Image.open(remade / name) as new:
            assert (old.mode, old.getpalette()) == (new.mode, new.getpalette()), name
            assert np.array_equal(np.asarray(old), np.asarray(new)), name


def test_remade_values_are_the_same(remade):
    for name in committed("*.json"):
        old, new = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (FIXTURES, remade))
        for document in (old, new):
            document.pop("written_by", None)
        assert old == new, name


def test_remade_bytes_are_the_same_with_the_same_encoder(make, remade):
    if expected("street")["written_by"] != make.encoder():
        pytest.skip(f"the committed files were compressed by {expected('street')['written_by']}, this is {make.encoder()}")
    for name in committed("*.*"):
        assert (FIXTURES / name).read_bytes() == (remade / name).read_bytes(), name


@pytest.mark.parametrize(("folder", "model"), MODELS)
def test_expected_values_follow_from_the_files(folder, model):
    matrix = confusion(folder, model)
    values = expected(folder)["models"][model]
    assert matrix.tolist() == values["confusion"]
    counted = matrix[:-1]
    support, correct = counted.sum(1), np.diagonal(counted)
    union = support + counted.sum(0)[:-1] - correct
    with np.errstate(invalid="ignore"):
        iou, recall = correct / union, correct / support
    metrics = values["metrics"]
    assert metrics["semantic/pixel_accuracy"] == pytest.approx(correct.sum() / support.sum(), abs=1e-12)
    assert metrics["semantic/mean_accuracy"] == pytest.approx(np.nanmean(recall), abs=1e-12)
    assert metrics["semantic/miou"] == pytest.approx(np.nanmean(iou), abs=1e-12)
    assert metrics["semantic/fwiou"] == pytest.approx(np.nansum(iou * support) / support.sum(), abs=1e-12)
    assert [row["iou"] for row in values["per_class"]] == [None if np.isnan(value) else pytest.approx(value, abs=1e-12) for value in iou]


@pytest.mark.parametrize(("folder", "model"), MODELS)
def test_an_evaluation_gives_the_expected_values(folder, model):
    result = segbench.evaluate(FIXTURES / folder / "preds" / model, FIXTURES / folder / "gt")
    values = expected(folder)["models"][model]
    for metric, value in values["metrics"].items():
        assert result.value(metric) == pytest.approx(value, abs=1e-12), metric
    assert [row["support"] for row in result.per_class] == [row["support"] for row in values["per_class"]]
    for got, wanted in zip(result.per_class, values["per_class"], strict=True):
        for column in ("iou", "recall", "precision", "dice"):
            assert got[column] == (None if wanted[column] is None else pytest.approx(wanted[column], abs=1e-12)), (got["name"], column)
    pixels = result.evidences["semantic"].rows("pixels")
    counted = np.zeros((len(result.per_class) + 1,) * 2, np.int64)
    np.add.at(counted, (pixels["gt"], pixels["pred"]), pixels["pixels"])
    assert counted[:-1].tolist() == values["confusion"][:-1]


def test_the_textbook_case():
    metrics = expected("textbook")["models"]["all_background"]["metrics"]
    assert metrics["semantic/pixel_accuracy"] == 0.9
    assert metrics["semantic/miou"] == 0.45


def test_the_fixtures_hold_what_makes_evaluation_hard():
    gt = {path.name: np.asarray(Image.open(path)) for path in sorted((FIXTURES / "street/gt").glob("*.png"))}
    holding = {item.name: [name for name, labels in gt.items() if (labels == item.id).any()] for item in scenes.CLASSES}
    assert len(gt) == 12
    assert all((labels == scenes.VOID).any() for labels in gt.values())
    assert len(holding["bus"]) == 1
    assert holding["train"] == []
    assert len(holding["pole"]) > 6
    assert len({labels.shape for labels in gt.values()}) == 3
    a, b = (expected("street")["models"][name]["metrics"]["semantic/miou"] for name in ("model_a", "model_b"))
    assert a > b + 0.1


def test_the_descriptions_of_the_data_sets_load():
    street, textbook = (datasets.load(FIXTURES / folder / "dataset.json") for folder in ("street", "textbook"))
    assert street.names == tuple(item.name for item in scenes.CLASSES)
    assert street.isthing == tuple(item.isthing for item in scenes.CLASSES)
    assert street.value_map().classes(np.array([0, 10, 11, scenes.VOID])).tolist() == [0, 10, -1, 11]
    assert textbook.value_map().classes(np.array([0, 1, 255])).tolist() == [0, 1, -1]


def test_fixtures_stay_small():
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 3_000_000
