"""The instance task of Cityscapes, from files to numbers: against a slow twin of its rules, and against cityscapesScripts. Bit for bit."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import segbench
from segbench import cli, datasets
from segbench.errors import ComparabilityError, ConfigError
from segbench.results import Result
from segbench.significance.measure import measure

CITY = datasets.load("cityscapes")
THINGS = [row.id for row in CITY.evaluated if row.isthing]
NAMES = [row.name for row in CITY.evaluated if row.isthing]
VOID = [row.id for row in CITY.classes if row.ignore and row.id >= 0]
THRESHOLDS = np.arange(0.5, 1.0, 0.05)
SIZE = (48, 64)


def rectangle(rng, least=3, most=30):
    height, width = rng.integers(least, most, 2)
    top, left = rng.integers(0, SIZE[0] - least), rng.integers(0, SIZE[1] - least)
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def scene(rng, classes, objects=9):
    """Ground truth with instances of all sizes, groups, void and caravans, and (mask, label, score) of predictions."""
    gt = np.full(SIZE, 7, np.uint16)
    for number in range(objects):
        label = rng.choice(classes)
        value = label if rng.random() < 0.2 else rng.choice([*VOID, 29001]) if rng.random() < 0.25 else label * 1000 + number
        gt[rectangle(rng)] = value
    found = []
    for value in np.unique(gt):
        for _ in range(rng.integers(0, 3)):
            mask = np.roll(gt == value, rng.integers(-2, 3, 2), (0, 1)) & (rng.random(SIZE) < 0.97)
            label = int(value // 1000 if value >= 1000 else value)
            found.append((mask, label if label in THINGS else int(rng.choice(classes)), rng.integers(0, 6) / 5))
    found += [(rectangle(rng), int(rng.choice([*classes, 7])), rng.random()) for _ in range(rng.integers(0, 3))]
    found.append((np.zeros(SIZE, bool), int(classes[0]), 0.5))
    return gt, found


def write(folder, scenes):
    """The files of a benchmark; the paths of both sides."""
    paths = []
    for number, (gt, found) in enumerate(scenes):
        key = f"aachen_{number:06}_000019"
        truth = folder / "gt" / "aachen" / f"{key}_gtFine_instanceIds.png"
        text = folder / "pred" / f"{key}_pred.txt"
        truth.parent.mkdir(parents=True, exist_ok=True)
        (folder / "pred").mkdir(exist_ok=True)
        Image.fromarray(gt).save(truth)
        lines = []
        for index, (mask, label, score) in enumerate(found):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "pred" / f"{key}_{index}.png")
            lines.append(f"{key}_{index}.png {label} {float(score)!r}\n")
        text.write_text("".join(lines))
        paths.append((str(text), str(truth)))
    return paths


def made(folder, seed, images=6, classes=THINGS):
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, classes) for _ in range(images)]
    return scenes, write(folder, scenes)


def evaluate(folder, **options):
    return segbench.evaluate(folder / "pred", folder / "gt", dataset="cityscapes", task="instance", **({"workers": 1} | options))


def twin(scenes, weights=None):
    """float64[classes, thresholds]: the AP matrix, from dense masks and lists."""
    weights = [1] * len(scenes) if weights is None else weights
    return np.array([[average_precision(scenes, weights, label, threshold) for threshold in THRESHOLDS] for label in THINGS])


def average_precision(scenes, weights, label, threshold):
    true, false, missed = [], [], 0
    for (gt, found), weight in zip(scenes, weights, strict=True):
        for _ in range(weight):
            hits, errors, misses = of_image(
                gt, [(mask, score) for mask, kind, score in found if kind == label and mask.any()], label, threshold
            )
            true, false, missed = true + hits, false + errors, missed + misses
    if not true and not missed:
        return math.nan
    precision, recall = [], []
    for score in sorted({*true, *false}):
        right, wrong = sum(value >= score for value in true), sum(value >= score for value in false)
        precision.append(right / (right + wrong))
        recall.append(right / (len(true) + missed))
    precision, recall = [*precision, 1.0], [*recall, 0.0]
    before, after = [recall[0], *recall[:-1]], [*recall[1:], 0.0]
    return float(np.dot(precision, [0.5 * high - 0.5 * low for high, low in zip(before, after, strict=True)]))


def of_image(gt, found, label, threshold):
    """Scores of right and of wrong predictions, and the number of misses."""
    segments = {value: gt == value for value in np.unique(gt) if value in (label, *range(label * 1000, label * 1000 + 1000))}
    counted = {value: mask for value, mask in segments.items() if value >= 1000 and mask.sum() >= 100}
    hits, errors, misses = [], [], 0
    for mask in counted.values():
        scores = sorted(score for pixels, score in found if (pixels & mask).sum() / (pixels | mask).sum() > threshold)
        misses += not scores
        hits += scores[-1:]
        errors += scores[:-1]
    for pixels, score in found:
        if any((pixels & mask).sum() / (pixels | mask).sum() > threshold for mask in segments.values()):
            continue
        hidden = (pixels & np.isin(gt, VOID)).sum()
        for value, mask in segments.items():
            hidden += (pixels & mask).sum() * (int(value < 1000) + int(mask.sum() < 100))
        errors += [score] if hidden / pixels.sum() <= threshold else []
    return hits, errors, misses


def check(result, matrix):
    """The numbers of a result are those of an AP matrix, to the bit."""
    assert result.value("segm/ap") == none_if_nan(np.nanmean(matrix))
    assert result.value("segm/ap50") == none_if_nan(np.nanmean(matrix[:, 0]))
    rows = {row["name"]: row for row in result.per_class}
    for name, row in zip(NAMES, matrix, strict=True):
        assert rows[name]["segm_ap"] == none_if_nan(np.average(row)), name
        assert rows[name]["segm_ap50"] == none_if_nan(row[0]), name
    assert rows["road"]["segm_ap"] is None


def none_if_nan(value):
    return None if math.isnan(value) else float(value)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_twin(tmp_path, seed):
    scenes, _ = made(tmp_path, seed, classes=THINGS[: 2 + 2 * seed])
    result = evaluate(tmp_path)
    assert result.tasks["instance"].protocol["name"] == "cityscapes"
    check(result, twin(scenes))


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_equals_the_twin_on_any_set(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, THINGS[:2], rng.integers(1, 12)) for _ in range(rng.integers(1, 4))]
    folder = tmp_path_factory.mktemp("any")
    write(folder, scenes)
    matrix = twin(scenes)
    if not np.isnan(matrix).all():
        check(evaluate(folder), matrix)


@pytest.mark.frameworks
@pytest.mark.parametrize("seed", range(6))
def test_equals_cityscapesscripts(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path))
    if not hasattr(np, "in1d"):  # it still calls what NumPy 2.4 took away
        monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    monkeypatch.setattr(module, "writeDict2JSON", lambda *_: None)  # its files of matches; it cannot write NumPy's newest integers
    _, paths = made(tmp_path, seed, images=12, classes=THINGS[: [8, 1, 3, 8, 5, 8][seed]])
    module.args.quiet, module.args.JSONOutput, module.args.predictionPath = True, False, str(tmp_path / "pred")
    module.args.gtInstancesFile = str(tmp_path / "gtInstances.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of classes that are nowhere
        expected = module.evaluateImgLists(*map(list, zip(*paths, strict=True)), module.args)
    result = evaluate(tmp_path)
    check(result, np.array(expected["resultApMatrix"])[0])
    assert result.value("segm/ap") == expected["averages"]["allAp"]
    assert result.value("segm/ap50") == expected["averages"]["allAp50%"]
    for row in result.per_class:
        if row["name"] in NAMES:
            theirs = expected["averages"]["classes"][row["name"]]
            assert (row["segm_ap"], row["segm_ap50"]) == (none_if_nan(theirs["ap"]), none_if_nan(theirs["ap50%"])), row["name"]


def test_a_stored_run_is_scored_again(tmp_path):
    scenes, _ = made(tmp_path, 1)
    result = evaluate(tmp_path)
    result.save(tmp_path / "run")
    loaded = Result.load(tmp_path / "run")
    assert loaded.flat() == result.flat()
    coco = loaded.rescore("coco", "instance")
    assert coco.value("segm/ap") == evaluate(tmp_path, protocol="coco").value("segm/ap")
    check(coco.rescore("cityscapes", "instance"), twin(scenes))
    with pytest.raises(ComparabilityError, match="void and on groups"):
        evaluate(tmp_path, protocol="coco").rescore("cityscapes", "instance")


def test_the_same_for_any_number_of_workers(tmp_path):
    made(tmp_path, 2, images=9)
    runs = [evaluate(tmp_path, **options) for options in ({}, {"workers": 2}, {"executor": "processes", "workers": 2})]
    arrays = [run.evidences["instance"].arrays() for run in runs]
    for other in arrays[1:]:
        assert arrays[0].keys() == other.keys()
        assert all(np.array_equal(arrays[0][name], other[name]) for name in other)
    assert runs[0].flat() == runs[1].flat() == runs[2].flat()


def test_thresholds_and_area_ranges_of_ones_own(tmp_path):
    scenes, _ = made(tmp_path, 3)
    whole = evaluate(tmp_path)
    single = evaluate(tmp_path, iou_thresholds=(0.5,), area_ranges={"all": (100, 1e10), "tiny": (0, 99)})
    assert single.value("segm/ap") == whole.value("segm/ap50")
    assert single.value("segm/ap_tiny") is not None
    assert evaluate(tmp_path, iou_thresholds=(0.75,)).value("segm/ap50") is None
    few = evaluate(tmp_path, max_dets=(1,))
    best = []
    for gt, found in scenes:
        of_class = [[row for row in found if row[1] == label and row[0].any()] for label in THINGS]
        best.append((gt, [max(rows, key=lambda row: row[2]) for rows in of_class if rows]))
    check(few, twin(best))


def test_weights_are_copies(tmp_path):
    scenes, _ = made(tmp_path, 5)
    result = evaluate(tmp_path)
    weights = np.random.default_rng(0).integers(0, 4, (5, len(scenes))).astype(np.uint8)
    weights[0] = 1
    found = measure("instance", result.evidences["instance"], CITY, result.rules("instance")).values(weights, ("segm/ap",))
    assert found["segm/ap"][0] == result.value("segm/ap")
    assert found["segm/ap50"][0] == result.value("segm/ap50")
    for row, counts in enumerate(weights):
        matrix = twin(scenes, counts.tolist())
        assert found["segm/ap"][row] == pytest.approx(np.nanmean(matrix), abs=1e-14)
        assert found["segm/ap50"][row] == pytest.approx(np.nanmean(matrix[:, 0]), abs=1e-14)
        for name, values in zip(NAMES, matrix, strict=True):
            assert found[f"segm/ap/{name}"][row] == pytest.approx(np.mean(values), abs=1e-14, nan_ok=True)


def test_intervals_and_comparisons(tmp_path):
    scenes, _ = made(tmp_path / "a", 7, images=12)
    write(tmp_path / "b", [(gt, found[::2]) for gt, found in scenes])
    first, second = (evaluate(tmp_path / name) for name in "ab")
    interval = first.with_intervals(replicates=100).tasks["instance"].metrics["segm/ap"].interval
    assert interval["low"] <= interval["high"]
    comparison = segbench.compare(first, second)
    row = next(row for row in comparison.metrics if row.metric == "segm/ap")
    assert row.difference.delta == second.value("segm/ap") - first.value("segm/ap")
    assert row.difference.low < row.difference.delta < row.difference.high
    assert comparison.images["segm/ap"]


def test_where_ap_is_lost_needs_another_protocol(tmp_path):
    made(tmp_path, 1, images=2)
    with pytest.raises(ConfigError, match="where AP is lost"):
        evaluate(tmp_path, analysis=True)
    assert evaluate(tmp_path, analysis=True, protocol="coco").value("segm/best_f1") is not None


def test_the_difference_to_coco_is_told_rule_by_rule(tmp_path, capsys):
    made(tmp_path, 3)
    for name, protocol in (("city", "cityscapes"), ("coco", "coco")):
        evaluate(tmp_path, protocol=protocol).save(tmp_path / name)
    assert cli.run(["explain", "segm/ap", "--run", str(tmp_path / "city"), "--protocol", "coco", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert steps[-1]["rule"] == "matching"
    assert steps[-1]["after"]["segm/ap"] == evaluate(tmp_path, protocol="coco").value("segm/ap")
    assert cli.run(["explain", "segm/ap", "--run", str(tmp_path / "coco"), "--protocol", "cityscapes"]) == 4
    assert "evaluate again with --protocol cityscapes" in capsys.readouterr().err


def test_recognised_by_the_predictions(tmp_path):
    """Maps of instances look like maps of labels, lists of masks with scores like nothing else."""
    scenes, paths = made(tmp_path, 1)
    found = segbench.evaluate(tmp_path / "pred", tmp_path / "gt", dataset="cityscapes")
    check(found, twin(scenes))
    Path(paths[2][0]).unlink()
    without = evaluate(tmp_path)
    assert any("no prediction for 1 of 6" in warning for warning in without.warnings)
    check(without, twin([*scenes[:2], (scenes[2][0], []), *scenes[3:]]))


def test_by_hand(tmp_path):
    """One car found twice, one missed, one prediction on void: AP by hand at every threshold."""
    gt = np.full(SIZE, 7, np.uint16)
    gt[0:10, 0:20] = 26001
    gt[20:30, 0:20] = 26002
    gt[40:48, 0:20] = 0
    car, void = gt == 26001, gt == 0
    write(tmp_path, [(gt, [(car, 26, 0.9), (car, 26, 0.4), (void, 26, 0.95)])])
    result = evaluate(tmp_path)
    # precision 1 up to recall 1/2 at the score 0.9, 1/2 at the score 0.4: 1 * (1/2 - 0) / 2 + 1 * (1/2) / 2
    assert result.value("segm/ap") == 0.5 * 0.0 + 1.0 * 0.25 + 1.0 * 0.25
    assert result.per_image["segm_tp"] == [1]
    assert result.per_image["segm_fp"] == [1]
    assert result.per_image["segm_fn"] == [1]
    assert json.loads(result.to_json())["tasks"]["instance"]["protocol"]["options"]["matching"] == "by_overlap"
