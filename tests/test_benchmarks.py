"""The benchmarks' generators are deterministic, and what compares scores refuses scores that differ."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import generate
import peers
import run

TINY = {name: replace(workload, height=48, width=64) for name, workload in generate.WORKLOADS.items()}


@pytest.mark.parametrize("name", sorted(TINY))
def test_generated_workloads_are_the_same_every_time(name, tmp_path):
    first, second = (generate.generate(TINY[name], tmp_path / folder, 2) for folder in ("first", "second"))
    assert first == second
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.png"))
    assert len(files) == (8 if name == "city" else 4)
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_generated_folder_is_reused_only_for_the_same_workload(tmp_path):
    generate.generate(TINY["ade"], tmp_path, 2)
    marker = tmp_path / "gt" / "000000.png"
    marker.write_bytes(b"")
    generate.generate(TINY["ade"], tmp_path, 2)
    assert marker.read_bytes() == b""
    generate.generate(TINY["ade"], tmp_path, 1)
    assert marker.read_bytes() != b""
    assert len(list((tmp_path / "gt").iterdir())) == 1


def test_pairs_hold_class_indices_and_void():
    for workload in TINY.values():
        pred, gt = generate.pair(workload, 3)
        assert pred.shape == gt.shape == (48, 64)
        assert set(np.unique(pred)) <= set(range(workload.num_classes))
        assert set(np.unique(gt)) - {generate.VOID} <= set(range(workload.num_classes))
        assert (gt == generate.VOID).any()


def test_the_numpy_peer_gives_the_value_of_a_loop(tmp_path):
    workload = TINY["small"]
    generate.generate(workload, tmp_path, 2)
    counts = np.zeros((workload.num_classes, workload.num_classes), int)
    for index in range(2):
        for pred, gt in zip(*(labels.ravel().tolist() for labels in generate.pair(workload, index)), strict=True):
            if gt != generate.VOID:
                counts[gt, pred] += 1
    _, evaluate = peers.load_numpy()
    assert evaluate(tmp_path / "gt", tmp_path / "preds", workload.num_classes)["confusion"] == counts.tolist()


@pytest.mark.parametrize(
    ("outcomes", "differs"),
    [
        ({"segbench": [{"miou": 0.5}], "numpy": [{"miou": 0.5}]}, False),
        ({"segbench": [{"miou": 0.5}], "numpy": [{"miou": 0.5001}]}, True),
        ({"segbench": [{"miou": 0.5}], "mmseg": [{"miou": 0.500001}]}, False),
        ({"segbench": [{"miou": 0.5}, {"miou": 0.6}]}, True),
        ({"segbench": [{"miou": 0.5}], "numpy": [{"confusion": [[1]]}], "vernier": [{"confusion": [[2]]}]}, True),
        ({"segbench": [{"miou": 0.5}], "numpy": [{"miou": float("nan")}]}, True),
    ],
)
def test_differing_scores_stop_a_benchmark(outcomes, differs):
    work = run.Work("w", "w", Path(), Path(), 1, 1, "")
    if differs:
        with pytest.raises(SystemExit):
            run.verify(work, outcomes)
    else:
        run.verify(work, outcomes)
