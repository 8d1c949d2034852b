"""Against panopticapi itself: an importable one, or the checkout that SEGBENCH_PANOPTICAPI names. It has no release to depend on."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from segbench.adapters.base import Request
from segbench.adapters.panoptic.coco import categories_dataset, open_panoptic_json
from segbench.adapters.panoptic.parts import merged_parts
from segbench.compat.panopticapi import pq_compute
from segbench.conversion import convert
from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.protocols.panoptic import PANOPTIC
from tests.panoptic_sets import DATASET, panoptic_image, write_coco


@pytest.fixture(scope="module")
def panopticapi():
    """The reference's evaluation module."""
    checkout = os.environ.get("SEGBENCH_PANOPTICAPI")
    if checkout:
        sys.path.insert(0, checkout)
    try:
        return importlib.import_module("panopticapi.evaluation")
    except ImportError:
        pytest.skip("no panopticapi: set SEGBENCH_PANOPTICAPI to a checkout of cocodataset/panopticapi")
    finally:
        if checkout:
            sys.path.remove(checkout)


def reference(module, gt_file, pred_file):
    """Averages per group, None where it divides by zero, and per class: in one process, as one core."""
    gt, pred = (json.loads(file.read_text()) for file in (gt_file, pred_file))
    categories = {row["id"]: row for row in gt["categories"]}
    pairs = copy.deepcopy(list(zip(gt["annotations"], pred["annotations"], strict=True)))
    with contextlib.redirect_stdout(io.StringIO()):
        stat = module.pq_compute_single_core(0, pairs, gt_file.with_suffix(""), pred_file.with_suffix(""), categories)
    averages = {}
    for name, isthing in (("", None), ("_things", True), ("_stuff", False)):
        try:
            averages[name], rows = stat.pq_average(categories, isthing)
        except ZeroDivisionError:
            averages[name] = None
            continue
        if not name:
            averages["rows"] = rows
    return averages, stat


SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(st.lists(panoptic_image(stated=True), min_size=1, max_size=4), st.none() | st.integers(0, 99))
def test_random_sets_are_bit_equal(panopticapi, tmp_path, images, repeats):
    gt_file, pred_file = write_coco(tmp_path, images, repeats)
    expected, stat = reference(panopticapi, gt_file, pred_file)
    dataset = categories_dataset(gt_file)
    gt, pred = (open_panoptic_json(file, Request(role, dataset)) for file, role in ((gt_file, "gt"), (pred_file, "pred")))
    accumulator = PanopticAccumulator(dataset)
    accumulator.update(pred.read(pred.keys), gt.read(gt.keys))
    found = accumulator.compute(next(rules for rules in PANOPTIC if rules.name == "panopticapi"))
    for suffix in ("", "_things", "_stuff"):
        for name in ("pq", "sq", "rq"):
            value = found.metrics[f"panoptic/{name}{suffix}"]
            assert value is None if expected[suffix] is None else repr(value) == repr(float(expected[suffix][name]))
    for row in found.per_class:
        counts = stat[row["id"]]
        assert [row["tp"], row["fp"], row["fn"]] == [counts.tp, counts.fp, counts.fn]
        if "rows" in expected:
            for name, value in expected["rows"][row["id"]].items():
                assert repr(row[name] if row[name] is not None else 0.0) == repr(float(value))


@SETTINGS
@given(st.lists(panoptic_image(), min_size=1, max_size=3), st.none() | st.integers(0, 99))
def test_what_convert_writes_scores_as_what_it_read(panopticapi, tmp_path, images, repeats):
    read = write_coco(tmp_path, images, repeats)
    (tmp_path / "out").mkdir(exist_ok=True)
    written = [convert(file, tmp_path / "out" / file.name, ground_truth=file == read[0], dataset=DATASET) for file in read]
    before, after = (reference(panopticapi, *files) for files in (read, written))
    assert repr(before[0]) == repr(after[0])
    assert [vars(before[1][row.id]) for row in DATASET.classes] == [vars(after[1][row.id]) for row in DATASET.classes]


@pytest.fixture(scope="module")
def combination(panopticapi):
    """The reference's script that merges semantic segments and instances."""
    return importlib.import_module("panopticapi.combine_semantic_and_instance_predictions")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")  # pycocotools' decode
@SETTINGS
@given(st.integers(0, 2**20), st.integers(0, 8), st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.sampled_from([1, 12, 40]))
def test_parts_merge_to_the_same_segments(combination, tmp_path, seed, count, overlap, stuff_area_px):
    rng = np.random.default_rng(seed)
    shape = (12, 16)
    semantic = np.repeat(np.repeat(rng.integers(0, 5, (4, 4)), 3, 0), 4, 1)  # 4 is void
    masks = np.zeros((count, *shape), bool)
    for mask in masks:
        top, left = rng.integers(0, 10, 2)
        mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = True
    labels, scores = rng.integers(0, 2, count), np.round(rng.random(count), 1)
    ids = [row.id for row in DATASET.classes]

    def encoded(mask):
        return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))

    rows = [
        {"category_id": ids[label], "score": score, "segmentation": encoded(mask)}
        for label, score, mask in zip(labels.tolist(), scores.tolist(), masks, strict=True)
    ]
    kept = sorted((row for row in rows if row["score"] >= 0.5), key=lambda row: -row["score"])
    stuff = [{"category_id": ids[index], "segmentation": encoded(semantic == index)} for index in (2, 3)]
    image = {"height": shape[0], "width": shape[1], "file_name": "1.jpg"}
    categories = {row.id: {"id": row.id, "isthing": int(bool(row.isthing)), "color": [1, 2, row.id]} for row in DATASET.classes}
    with contextlib.redirect_stdout(io.StringIO()):
        expected = combination.combine_to_panoptic_single_core(
            0, [1], {1: image}, {1: kept}, {1: stuff}, tmp_path, overlap, stuff_area_px, categories
        )[0]["segments_info"]
    found = merged_parts(1, semantic, masks, labels, scores, DATASET, overlap=overlap, stuff_area_px=stuff_area_px)
    assert [ids[index] for index in found.classes] == [row["category_id"] for row in expected]
    colours = np.asarray(Image.open(tmp_path / "1.png")).astype(np.int64)
    drawn = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    numbers = np.zeros(shape, np.int64)
    for number, row in enumerate(expected, 1):
        numbers[drawn == row["id"]] = number
    assert np.array_equal(found.values, numbers)


@pytest.fixture
def one_core(monkeypatch):
    """panopticapi's sums depend on the number of cores; with one, it has one order. Its pool is never closed, so it gets none."""

    class Inline:
        def __init__(self, processes):
            assert processes == 1

        def apply_async(self, function, arguments):
            value = function(*arguments)
            return SimpleNamespace(get=lambda: value)

    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 1)
    monkeypatch.setattr("multiprocessing.Pool", Inline)


def test_the_drop_in_gives_the_same_dict_and_table(panopticapi, tmp_path, capsys, one_core):
    rng = np.random.default_rng(7)
    images = []
    for _ in range(6):
        sides = []
        base = np.repeat(np.repeat(rng.integers(0, 6, (4, 5)), 4, 0), 4, 1)
        for side in range(2):
            rows = np.where(rng.random(base.shape) < 0.15 * side, rng.integers(0, 6, base.shape), base)
            table = {int(key): (int(key) % 4, side == 0 and bool(key == 5), int((rows == key).sum())) for key in np.unique(rows) if key}
            sides += [rows.tolist(), table]
        images.append(tuple(sides))
    gt_file, pred_file = (str(file) for file in write_coco(tmp_path, images))
    expected = panopticapi.pq_compute(gt_file, pred_file)
    reference_lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(("Time", "Core", "Number"))]
    found = pq_compute(gt_file, pred_file)
    assert repr(found) == repr({name: plain(value) for name, value in expected.items()})
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("Time")]
    assert lines == reference_lines
    assert 0 < found["All"]["pq"] < 1


def plain(value):
    """NumPy numbers as Python's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value
