"""Real panoptic files with reference values. The files are not in this repository: SEGBENCH_DATA names their folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segbench.adapters.base import Request
from segbench.adapters.panoptic_json import categories_dataset, open_panoptic_json
from segbench.adapters.panoptic_maps import TWO_CHANNEL
from segbench.metrics.panoptic import PanopticAccumulator, scores
from segbench.metrics.panoptic_segments import segment_table
from segbench.rules_panoptic import PANOPTIC

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SEGBENCH_DATA", ROOT / "../shared/data")).resolve()
GROUPS = {"All": "", "Things": "_things", "Stuff": "_stuff"}


def runs():
    """The panoptic runs of the manifest; one skipped parameter where there is none."""
    manifest = DATA / "manifest.json"
    if not manifest.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {manifest}: set SEGBENCH_DATA"))]
    found = [run for data_set in json.loads(manifest.read_text())["sets"] for run in data_set["runs"] if run["kind"] == "panoptic"]
    return [pytest.param(run, id=run["expected"].replace("/", "-")) for run in found]


def evidence_of(gt, pred, dataset, shard=16):
    """Evidence of two sources, in shards that are merged backwards."""
    parts = []
    for first in range(0, len(gt.keys), shard):
        keys = gt.keys[first : first + shard]
        accumulator = PanopticAccumulator(dataset)
        pairs = zip(pred.part(keys).read(keys), gt.part(keys).read(keys), strict=True)
        for order, (prediction, truth) in enumerate(pairs, first):
            accumulator.update([prediction], [replace(truth, order=order)])
        parts.append(accumulator)
    return parts[-1].merge(*reversed(parts[:-1])).evidence()


@pytest.mark.parametrize("run", runs())
def test_real_panoptic_files_are_bit_equal(run):
    dataset = categories_dataset(DATA / run["gt"])
    gt = open_panoptic_json(DATA / run["gt"], Request("gt", dataset), DATA / run["gt_dir"])
    pred = open_panoptic_json(DATA / run["pred"], Request("pred", dataset), DATA / run["pred_dir"])
    found = scores(evidence_of(gt, pred, dataset), dataset, PANOPTIC[0])
    expected = json.loads((DATA / f"{run['expected']}.json").read_text())
    for group, suffix in GROUPS.items():
        values = expected[group] if isinstance(expected.get(group), dict) else {}  # panopticapi raises where a group is empty
        for name in ("pq", "sq", "rq"):
            assert repr(found.metrics[f"panoptic/{name}{suffix}"]) == repr(values.get(name))
    for row in found.per_class:
        for name, value in expected["per_class"][str(row["id"])].items():
            assert repr(row[name] if row[name] is not None else 0.0) == repr(float(value))
    summary = json.loads((DATA / "expected_summary.json").read_text())[run["expected"]]
    assert found.metrics["panoptic/pq"] == summary["All"]["pq"]


def test_two_channel_maps_hold_the_segments_of_the_json():
    folder = DATA / "coco_panoptic_sample"
    if not folder.exists():
        pytest.skip(f"no {folder}: set SEGBENCH_DATA")
    dataset = categories_dataset(folder / "gt_with_categories.json")
    gt = open_panoptic_json(folder / "gt_with_categories.json", Request("gt", dataset), folder / "gt")
    maps = TWO_CHANNEL.open(folder / "gt_2ch", Request("gt", dataset))
    for sample in gt.read(gt.keys):
        other = next(maps.read([f"{sample.id:012d}"]))
        table = segment_table(other, sample)
        pairs = np.argwhere(table[1:-1, 1:-1])
        assert len(pairs) == len(sample.segment_ids)  # every segment meets one other: both draw the same
        assert np.array_equal(sample.classes[pairs[:, 0]], other.classes[pairs[:, 1]])
        assert np.array_equal(sample.crowd[pairs[:, 0]], other.crowd[pairs[:, 1]])
