"""Against panopticapi itself: an importable one, or the checkout that SEGBENCH_PANOPTICAPI names. It has no release to depend on."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.adapters.base import Request
from segbench.adapters.panoptic_json import categories_dataset, open_panoptic_json
from segbench.compat.panopticapi import pq_compute
from segbench.metrics.panoptic import PanopticAccumulator
from segbench.protocols.panoptic import PANOPTIC
from tests.panoptic_sets import DATASET, as_pixels, panoptic_image

CATEGORIES = [{"id": row.id, "name": row.name, "isthing": int(bool(row.isthing))} for row in DATASET.classes]


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


def write(folder: Path, images) -> tuple[Path, Path]:
    """Random images as COCO panoptic files; the JSON of both sides."""
    files = []
    for side, at in (("gt", 0), ("pred", 2)):
        (folder / side).mkdir(exist_ok=True)
        annotations = []
        for key, image in enumerate(images):
            Image.fromarray(as_pixels(image[at])).save(folder / side / f"{key}.png")
            segments = [
                {"id": segment, "category_id": DATASET.classes[label].id, "iscrowd": int(crowd), "area": area}
                for segment, (label, crowd, area) in image[at + 1].items()
            ]
            annotations.append({"image_id": key, "file_name": f"{key}.png", "segments_info": segments})
        files.append(folder / f"{side}.json")
        files[-1].write_text(json.dumps({"annotations": annotations, "categories": CATEGORIES}))
    return files[0], files[1]


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
@given(st.lists(panoptic_image(stated=True), min_size=1, max_size=4))
def test_random_sets_are_bit_equal(panopticapi, tmp_path, images):
    gt_file, pred_file = write(tmp_path, images)
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
    gt_file, pred_file = (str(file) for file in write(tmp_path, images))
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
