"""Real panoptic files with reference values. The files are not in this repository: SEGBENCH_DATA names their folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segbench.adapters.base import Request
from segbench.adapters.panoptic.coco import categories_dataset, open_panoptic_json
from segbench.adapters.panoptic.maps import TWO_CHANNEL
from segbench.metrics.panoptic.scoring import PanopticAccumulator, scores
from segbench.metrics.panoptic.segments import segment_pairs
from segbench.protocols.panoptic import PANOPTIC

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SEGBENCH_DATA", ROOT / "../shared/data")).resolve()
BOUNDARY_PQ = {
    "coco_panoptic_sample/expected_panopticapi_simA": 0.5015317200611377,
    "coco_panoptic_sample/expected_panopticapi_simB": 0.24322501651327416,
    "coco_panoptic_sample/expected_panopticapi_identity": 1.0,
    "coco_val2017_mini79/expected_panopticapi_A_dl_mnv2": 0.037613791157489876,
    "coco_val2017_mini79/expected_panopticapi_B_dl_mnv2_dm05": 0.023229738082704045,
    "coco_val2017_mini79/expected_panopticapi_simA": 0.5083225847020549,
    "deeplab2_pq/expected_panopticapi_team": 0.0680605739230463,
    "deeplab2_pq/expected_panopticapi_all3": 0.41662464440472907,
    "yolact_real_A/expected_panopticapi_yrm13_vs_yrm35_crop": 0.23999311411148339,
    "yolact_real_A/expected_panopticapi_yrm21_vs_yrm35_crop": 0.3471709271996121,
    "yolact_real_A/expected_panopticapi_yrm28_2_perfect_vs_yrm35_crop": 0.3955912948274209,
}
"""Of boundary-iou-api 37d2558 with OpenCV 5; runs in which its mark of insides collides with a segment id are left out."""

GROUPS = {"All": "", "Things": "_things", "Stuff": "_stuff"}


def runs():
    """The panoptic runs of the manifest; one skipped parameter where there is none."""
    manifest = DATA / "manifest.json"
    if not manifest.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {manifest}: set SEGBENCH_DATA"))]
    found = [run for data_set in json.loads(manifest.read_text())["sets"] for run in data_set["runs"] if run["kind"] == "panoptic"]
    return [pytest.param(run, id=run["expected"].replace("/", "-")) for run in found]


def opened(run):
    """The data set and the two sources of a run."""
    dataset = categories_dataset(DATA / run["gt"])
    gt = open_panoptic_json(DATA / run["gt"], Request("gt", dataset), DATA / run["gt_dir"])
    return dataset, gt, open_panoptic_json(DATA / run["pred"], Request("pred", dataset), DATA / run["pred_dir"])


def evidence_of(gt, pred, dataset, tables=(), shard=16):
    """Evidence of two sources, in shards that are merged backwards."""
    parts = []
    for first in range(0, len(gt.keys), shard):
        keys = gt.keys[first : first + shard]
        accumulator = PanopticAccumulator(dataset, tables)
        pairs = zip(pred.part(keys).read(keys), gt.part(keys).read(keys), strict=True)
        for order, (prediction, truth) in enumerate(pairs, first):
            accumulator.update([prediction], [replace(truth, order=order)])
        parts.append(accumulator)
    return parts[-1].merge(*reversed(parts[:-1])).evidence()


@pytest.mark.parametrize("run", runs())
def test_real_panoptic_files_are_bit_equal(run):
    dataset, gt, pred = opened(run)
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


@pytest.mark.parametrize("run", runs())
def test_boundary_pq_of_real_files_is_bit_equal(run):
    if run["expected"] not in BOUNDARY_PQ:
        pytest.skip("boundary-iou-api's numbers are wrong here: its mark of insides is also a segment's id")
    dataset, gt, pred = opened(run)
    found = scores(evidence_of(gt, pred, dataset, ("boundary_overlaps",)), dataset, PANOPTIC[0])
    assert found.metrics["panoptic/boundary_pq"] == BOUNDARY_PQ[run["expected"]]


def test_two_channel_maps_hold_the_segments_of_the_json():
    folder = DATA / "coco_panoptic_sample"
    if not folder.exists():
        pytest.skip(f"no {folder}: set SEGBENCH_DATA")
    dataset = categories_dataset(folder / "gt_with_categories.json")
    gt = open_panoptic_json(folder / "gt_with_categories.json", Request("gt", dataset), folder / "gt")
    maps = TWO_CHANNEL.open(folder / "gt_2ch", Request("gt", dataset))
    for sample in gt.read(gt.keys):
        other = next(maps.read([f"{sample.id:012d}"]))
        table = segment_pairs(other, sample).table
        pairs = np.argwhere(table[1:-1, 1:-1])
        assert len(pairs) == len(sample.segment_ids)  # every segment meets one other: both draw the same
        assert np.array_equal(sample.classes[pairs[:, 0]], other.classes[pairs[:, 1]])
        assert np.array_equal(sample.crowd[pairs[:, 0]], other.crowd[pairs[:, 1]])
