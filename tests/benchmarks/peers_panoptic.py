"""Peers of panoptic evaluation: how each evaluates a panoptic JSON with its folder of PNGs against another."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peer import PILLOW, SEGBENCH, Peer, Work, maps

Loaded = tuple[str, Callable[[Work], dict[str, Any]]]


def _values(results: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {"values": [float(results[group][name]) for group in ("All", "Things", "Stuff") for name in ("pq", "sq", "rq")]}


def load_panopticapi() -> Loaded:
    """Its loop over the images, in one process; a checkout of its repository must be on PYTHONPATH."""
    from panopticapi import evaluation

    def evaluate(work: Work) -> dict[str, Any]:
        truth, predictions = (json.loads(Path(work[side]).read_text()) for side in ("gt", "preds"))
        categories = {category["id"]: category for category in truth["categories"]}
        of = {row["image_id"]: row for row in predictions["annotations"]}
        matched = [(row, of[row["image_id"]]) for row in truth["annotations"]]
        with contextlib.redirect_stdout(io.StringIO()):
            found = evaluation.pq_compute_single_core(0, matched, maps(work, "gt"), maps(work, "preds"), categories)
        groups = {"All": None, "Things": True, "Stuff": False}
        return _values({name: found.pq_average(categories, isthing=isthing)[0] for name, isthing in groups.items()})

    return "checkout", evaluate


def load_hotcoco() -> Loaded:
    """Its evaluation of two files, which `coco panoptic eval` calls."""
    from hotcoco import panoptic

    def evaluate(work: Work) -> dict[str, Any]:
        evaluation = panoptic.PanopticEval(work["gt"], work["preds"])
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.run()
        return _values(evaluation.results())

    return version("hotcoco"), evaluate


def hotcoco_command(python: Path, work: Work) -> list[str]:
    """`coco panoptic eval`."""
    return [str(python.parent / "coco"), "panoptic", "eval", "--json", "--gt", work["gt"], "--pred", work["preds"]]


PEERS = (
    SEGBENCH,
    Peer("panopticapi", "panopticapi, one process", load_panopticapi, reference=True, slow=True),
    PILLOW,
    Peer("hotcoco", "hotcoco, `coco panoptic eval`", load_hotcoco, tolerance=1e-12, command=hotcoco_command),
)
