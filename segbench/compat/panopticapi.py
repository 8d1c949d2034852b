"""A drop-in for `panopticapi.evaluation.pq_compute`: the same arguments, the same table, the same dict, bit for bit as on one core.

    from segbench.compat.panopticapi import pq_compute

It keeps what makes panopticapi's numbers: segment areas in the ground truth's JSON are believed, ground-truth ids that the JSON does not
list
are neither void nor segments, and ground-truth categories that it does not list are never averaged. It differs where panopticapi fails: a
group without any segment gets NaN instead of a ZeroDivisionError, and bad files are named.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from segbench.adapters.base import Request
from segbench.adapters.panoptic.coco import categories_dataset, open_panoptic_json
from segbench.errors import FormatError, PairingError
from segbench.metrics.panoptic.scoring import PanopticAccumulator, scores
from segbench.protocols.panoptic import PANOPTIC

GROUPS = {"All": ("", None), "Things": ("_things", True), "Stuff": ("_stuff", False)}
SHARD = 256


def pq_compute(
    gt_json_file: str, pred_json_file: str, gt_folder: str | None = None, pred_folder: str | None = None
) -> dict[str, dict[Any, Any]]:
    """Panoptic quality of predictions, printed and returned; ground truth comes first, as in panopticapi.

    Args:
        gt_json_file, pred_json_file: COCO panoptic JSON.
        gt_folder, pred_folder: Their PNG maps; beside the JSON under its name where not given.

    Returns:
        `All`, `Things` and `Stuff`: `pq`, `sq`, `rq` in [0, 1] and `n`, the classes that count; `per_class`: the same by category id, 0.0
        for a class that is nowhere.

    Raises:
        InputError: something is wrong with the files.
    """
    started = time.time()
    folders = [folder or file.replace(".json", "") for file, folder in ((gt_json_file, gt_folder), (pred_json_file, pred_folder))]
    print("Evaluation panoptic segmentation metrics:")
    for title, file, folder in (("Ground truth", gt_json_file, folders[0]), ("Prediction", pred_json_file, folders[1])):
        print(f"{title}:\n\tSegmentation folder: {folder}\n\tJSON file: {file}")
    results = _results(Path(gt_json_file), Path(pred_json_file), Path(folders[0]), Path(folders[1]))
    print("{:10s}| {:>5s}  {:>5s}  {:>5s} {:>5s}".format("", "PQ", "SQ", "RQ", "N"))
    print("-" * (10 + 7 * 4))
    for name in GROUPS:
        row = results[name]
        print(f"{name:10s}| {100 * row['pq']:5.1f}  {100 * row['sq']:5.1f}  {100 * row['rq']:5.1f} {row['n']:5d}")
    print(f"Time elapsed: {time.time() - started:0.2f} seconds")
    return results


def _results(gt_json: Path, pred_json: Path, gt_folder: Path, pred_folder: Path) -> dict[str, dict[Any, Any]]:
    dataset = categories_dataset(gt_json)
    if dataset is None:
        raise FormatError("the ground truth lists no categories", files=[str(gt_json)], hint="panopticapi needs them in this file")
    gt = open_panoptic_json(gt_json, Request("gt", dataset), gt_folder, unknown=True)
    pred = open_panoptic_json(pred_json, Request("pred", dataset), pred_folder)
    missing = [key for key in gt.keys if key not in pred.tables.at]
    if missing:
        raise PairingError(
            f"no prediction for the image with id: {missing[0]}",
            files=[str(pred_json)],
            count=len(missing),
            hint="predict every image of the ground truth",
            code="SB130",
        )
    total = PanopticAccumulator(dataset, unlisted=True)
    for first in range(0, len(gt.keys), SHARD):
        keys = gt.keys[first : first + SHARD]
        truths = (replace(truth, order=first + at) for at, truth in enumerate(gt.read(keys)))
        total.update(pred.read(keys), truths)
    rules = next(rules for rules in PANOPTIC if rules.name == "panopticapi")
    found = scores(total.evidence(), dataset, rules)
    nan = float("nan")
    results: dict[str, dict[Any, Any]] = {}
    for name, (suffix, thing) in GROUPS.items():
        counted = [row for row in found.per_class if row["pq"] is not None and thing in (None, bool(row["is_thing"]))]
        means = {key: found.metrics[f"panoptic/{key}{suffix}"] for key in ("pq", "sq", "rq")}
        results[name] = {key: nan if value is None else value for key, value in means.items()} | {"n": len(counted)}
        if name == "All":
            results["per_class"] = {row["id"]: {key: row[key] or 0.0 for key in means} for row in found.per_class}
    return results
