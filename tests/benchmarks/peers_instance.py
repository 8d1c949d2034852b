"""Peers of instance evaluation: how each turns a ground-truth JSON and a results JSON into the published numbers."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peer import SEGBENCH, Peer, Work

Loaded = tuple[str, Callable[[Work], dict[str, Any]]]
LVIS_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300", "ARs@300", "ARm@300", "ARl@300")


def federated(work: Work) -> bool:
    """Whether the work is LVIS-like."""
    return bool(work["options"].get("lvis"))


def _summarised(evaluation: Any) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"values": [float(value) for value in evaluation.stats]}


def load_pycocotools() -> Loaded:
    """The reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def evaluate(work: Work) -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(work["gt"])
            detections = truth.loadRes(work["preds"])
        return _summarised(COCOeval(truth, detections, work["options"]["family"]))

    return version("pycocotools"), evaluate


def load_faster_coco_eval() -> Loaded:
    """Its C++ evaluation."""
    from faster_coco_eval import COCO, COCOeval_faster

    def evaluate(work: Work) -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(work["gt"])
            detections = truth.loadRes(work["preds"])
        return _summarised(COCOeval_faster(truth, detections, work["options"]["family"], print_function=lambda *words: None))

    return version("faster-coco-eval"), evaluate


def load_ultrafast() -> Loaded:
    """Its drop-in."""
    from ultrafast_pycocotools import COCO, COCOeval

    def evaluate(work: Work) -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(work["gt"])
            detections = truth.loadRes(work["preds"])
            evaluation = COCOeval(truth, detections, work["options"]["family"], lvis_style=federated(work))
        return _summarised(evaluation)

    return version("ultrafast-pycocotools"), evaluate


def load_hotcoco() -> Loaded:
    """Its drop-ins, which `coco eval` calls."""
    from hotcoco import COCO, COCOeval, LVISeval, LVISResults

    def evaluate(work: Work) -> dict[str, Any]:
        family = work["options"]["family"]
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(work["gt"])
            if federated(work):
                evaluation = LVISeval(truth, LVISResults(truth, work["preds"]), family)
                evaluation.run()
                return _by_name(evaluation.get_results())
            return _summarised(COCOeval(truth, truth.load_res(work["preds"]), family))

    return version("hotcoco"), evaluate


def hotcoco_command(python: Path, work: Work) -> list[str]:
    """`coco eval`."""
    options = work["options"]
    program = [str(python.parent / "coco"), "eval", "--json", "--gt", work["gt"], "--dt", work["preds"], "--iou-type", options["family"]]
    return program + (["--lvis"] if federated(work) else [])


def load_vernier() -> Loaded:
    """Its evaluation of two JSON texts, in the mode that is to equal pycocotools."""
    from vernier import instance

    def evaluate(work: Work) -> dict[str, Any]:
        summary = {"segm": instance.evaluate_segm_summary, "bbox": instance.evaluate_bbox_summary}[work["options"]["family"]](
            Path(work["gt"]).read_bytes(),
            Path(work["preds"]).read_bytes(),
            parity_mode="strict",
            max_dets=[1, 10, 100],
            use_cats=True,
            num_threads=int(os.environ.get("RAYON_NUM_THREADS", "1")),
        )
        return {"values": [float(value) for value in summary.stats]}

    return version("vernier"), evaluate


def load_lvis() -> Loaded:
    """The reference of LVIS. Its last release uses a name that NumPy no longer has; nothing else is changed."""
    import logging

    import numpy

    vars(numpy)["float"] = float
    import lvis

    def evaluate(work: Work) -> dict[str, Any]:
        logging.disable(logging.WARNING)
        truth = lvis.LVIS(work["gt"])
        evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, work["preds"]), work["options"]["family"])
        evaluation.run()
        return _by_name(evaluation.get_results())

    return version("lvis"), evaluate


def _by_name(results: dict[str, float]) -> dict[str, Any]:
    return {"values": [float(results[name]) for name in LVIS_NAMES]}


def _coco(work: Work) -> bool:
    return not federated(work)


PEERS = (
    SEGBENCH,
    Peer("pycocotools", "pycocotools", load_pycocotools, reference=True, slow=True, only=_coco),
    Peer("lvis", "lvis-api", load_lvis, reference=True, slow=True, only=federated),
    Peer("faster-coco-eval", "faster-coco-eval", load_faster_coco_eval, tolerance=1e-12, slow=True, only=_coco),
    Peer("hotcoco", "hotcoco, `coco eval`", load_hotcoco, command=hotcoco_command),
    Peer("vernier", "vernier", load_vernier, only=_coco),
    Peer("ultrafast", "ultrafast-pycocotools", load_ultrafast),
)
