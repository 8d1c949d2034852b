"""The benchmarks' generators are deterministic, and what compares scores refuses scores that differ."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import generate
import make_instance
import make_panoptic
import make_semantic
import peers
import peers_semantic
import run
import stages
from peer import VALUES, VOID, load_segbench

import segbench

MAPS = {name: replace(workload, height=48, width=64) for name, workload in make_semantic.WORKLOADS.items()}
PANOPTIC = replace(make_panoptic.WORKLOADS["panoptic"], height=48, width=64)


@pytest.mark.parametrize(
    ("maker", "workload"),
    [
        *((make_semantic, workload) for workload in MAPS.values()),
        *((make_instance, replace(workload, detections=7)) for workload in make_instance.WORKLOADS.values()),
        (make_panoptic, PANOPTIC),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_generated_workloads_are_the_same_every_time(maker, workload, tmp_path):
    facts = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        facts.append(maker.generate(workload, tmp_path / folder, 2))
    assert facts[0] == facts[1]
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(files) == {"city": 8, "coco": 3, "lvis": 3, "panoptic": 6}.get(workload.name, 4)
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_workload_is_made_once_for_the_same_recipe(tmp_path, monkeypatch):
    monkeypatch.setitem(make_semantic.WORKLOADS, "ade", MAPS["ade"])
    first = generate.prepared("ade", tmp_path, 2)
    marker = Path(first["gt"]) / "000000.png"
    marker.write_bytes(b"")
    assert generate.prepared("ade", tmp_path, 2) == first
    assert marker.read_bytes() == b""
    monkeypatch.setitem(make_semantic.WORKLOADS, "ade", replace(MAPS["ade"], clutter=1))
    generate.prepared("ade", tmp_path, 2)
    assert marker.read_bytes() != b""


def test_a_workload_of_real_data_is_left_out_without_them(tmp_path):
    assert generate.prepared("yolact", tmp_path, 2, data=tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", sorted(name for name, entry in generate.ENTRIES.items() if entry.real))
def test_workloads_of_real_data_repeat_them(name, tmp_path):
    if not (generate.DATA / generate.ENTRIES[name].maker).is_dir():
        pytest.skip("no real data here")
    work = generate.prepared(name, tmp_path, 103)
    if work["task"] == "instance":
        images = json.loads(Path(work["gt"]).read_text())["images"]
        assert (images[100]["file_name"], images[100]["id"]) == (images[0]["file_name"], 101)
    else:
        assert (Path(work["gt"]) / "000079.png").read_bytes() == (Path(work["gt"]) / "000000.png").read_bytes()


def test_semantic_pairs_hold_class_indices_and_void():
    for workload in MAPS.values():
        pred, gt = make_semantic.pair(workload, 3)
        assert pred.shape == gt.shape == (48, 64)
        assert set(np.unique(pred)) <= set(range(workload.num_classes))
        assert set(np.unique(gt)) - {VOID} <= set(range(workload.num_classes))
        assert (gt == VOID).any()


@pytest.mark.parametrize("name", ["ade", "coco", "boxes", "lvis", "panoptic"])
def test_segbench_reads_every_generated_workload_and_gives_what_is_compared(name, tmp_path):
    work = generate.prepared(name, tmp_path, 2)
    version, evaluate = load_segbench()
    found = evaluate(work)["values"]
    assert version == segbench.__version__
    assert len(found) == len(VALUES[work["task"]](work))
    assert 0.05 < found[0] < 1


def test_the_numpy_peer_gives_the_value_of_a_loop(tmp_path):
    workload = MAPS["small"]
    make_semantic.generate(workload, tmp_path, 2)
    counts = np.zeros((workload.num_classes, workload.num_classes), int)
    for index in range(2):
        for pred, gt in zip(*(labels.ravel().tolist() for labels in make_semantic.pair(workload, index)), strict=True):
            if gt != VOID:
                counts[gt, pred] += 1
    _, evaluate = peers_semantic.load_numpy()
    work = {"gt": str(tmp_path / "gt"), "preds": str(tmp_path / "preds"), "options": {"classes": workload.num_classes}}
    assert evaluate(work)["counts"] == counts.tolist()


@pytest.mark.parametrize(
    ("task", "outcomes", "off"),
    [
        ("semantic", {"segbench": [{"values": [0.5]}], "numpy": [{"values": [0.5]}]}, 0),
        ("semantic", {"segbench": [{"values": [0.5]}], "numpy": [{"values": [0.5001]}]}, None),
        ("semantic", {"segbench": [{"values": [0.5]}], "mmseg": [{"values": [0.500001]}]}, 1e-6),
        ("semantic", {"segbench": [{"values": [0.5]}, {"values": [0.6]}]}, None),
        (
            "semantic",
            {"segbench": [{"values": [0.5]}], "numpy": [{"values": [0.5], "counts": [[1]]}], "vernier": [{"counts": [[2]]}]},
            None,
        ),
        ("semantic", {"segbench": [{"values": [0.5]}], "numpy": [{"values": [float("nan")]}]}, None),
        ("instance", {"segbench": [{"values": [0.1, 0.3]}], "pycocotools": [{"values": [0.1, 0.1 + 0.2]}]}, None),
        ("instance", {"segbench": [{"values": [0.1, 0.3]}], "faster-coco-eval": [{"values": [0.1, 0.1 + 0.2]}]}, 6e-17),
        ("instance", {"segbench": [{"values": [0.1, 0.3]}], "hotcoco": [{"values": [0.1]}]}, None),
    ],
)
def test_differing_scores_stop_a_benchmark(task, outcomes, off):
    known = peers.peers_of(task)
    if off is None:
        with pytest.raises((SystemExit, ValueError)):
            run.verify("w", outcomes, known)
    else:
        assert max(run.verify("w", outcomes, known).values()) == pytest.approx(off, rel=0.1)


def test_stages_name_functions_that_exist(tmp_path):
    """In a process of its own, because functions are wrapped for good."""
    work = generate.prepared("small-instance", tmp_path, 2)
    command = [Path(sys.executable), Path(stages.__file__), json.dumps(work), json.dumps(work)]
    seconds = run.measured([str(word) for word in command], {}).output
    assert seconds["overlaps (IoU)"] > 0
    assert set(seconds) <= {*stages.STAGES, stages.REST}
