"""Peers of semantic evaluation: how each evaluates a folder of label PNGs against another.

Labels are class indices 0..N-1 with 255 for void; `cityscapesscripts` is given the same maps as labelIds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer import PILLOW, SEGBENCH, VOID, Peer, Work

CITY_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' labelIds of its 19 trainIds; labelId 0 is void."""


def pairs(work: Work, below: str = "") -> list[tuple[str, str]]:
    """(prediction, ground truth), in the order of their names."""
    folders = (Path(work[side]) for side in ("gt", "preds"))
    gts, predictions = (sorted(str(file) for file in (folder.parent / below / folder.name).iterdir()) for folder in folders)
    if len(gts) != len(predictions):
        raise SystemExit(f"{len(gts)} ground truths and {len(predictions)} predictions")
    return list(zip(predictions, gts, strict=True))


def mean_iou(confusion: list[list[int]]) -> float:
    """mIoU of a square confusion matrix of integers; classes that are nowhere do not count."""
    values = []
    for label, row in enumerate(confusion):
        union = sum(row) + sum(other[label] for other in confusion) - row[label]
        if union:
            values.append(row[label] / union)
    return sum(values) / len(values)


def load_numpy() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """The usual dozen lines: one bincount of N * gt + pred over the labelled pixels of an image."""
    import numpy
    from PIL import Image

    def evaluate(work: Work) -> dict[str, Any]:
        classes = work["options"]["classes"]
        total = numpy.zeros((classes + 1) ** 2, numpy.int64)
        for pred_file, gt_file in pairs(work):
            with Image.open(pred_file) as pred_image, Image.open(gt_file) as gt_image:
                pred, truth = numpy.array(pred_image, dtype=int), numpy.array(gt_image, dtype=int)
            truth[truth == VOID] = classes
            total += numpy.bincount((classes + 1) * truth.ravel() + pred.ravel(), minlength=len(total))
        confusion = total.reshape(classes + 1, classes + 1)[:classes, :classes].tolist()
        return {"values": [mean_iou(confusion)], "counts": confusion}

    return numpy.__version__, evaluate


def load_cityscapesscripts() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """Its own list evaluation with its C extension, without the instance scores."""
    from importlib.metadata import version

    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    if not evaluation.CSUPPORT:
        raise ImportError("cityscapesscripts was built without its C extension; see tests/benchmarks/README.md")

    def evaluate(work: Work) -> dict[str, Any]:
        arguments = evaluation.args
        arguments.evalInstLevelScore, arguments.JSONOutput, arguments.quiet = False, False, True
        files = pairs(work, "label_ids")
        result = evaluation.evaluateImgLists([pred for pred, _ in files], [truth for _, truth in files], arguments)
        matrix = result["confMatrix"]
        return {
            "values": [result["averageScoreClasses"]],
            "counts": [[int(matrix[row][column]) for column in CITY_LABEL_IDS] for row in CITY_LABEL_IDS],
        }

    return version("cityscapesscripts"), evaluate


def load_mmseg() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """mmseg's documented way in plain torch: int64 tensors, void masked out, three float32 histograms per image, summed."""
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    import numpy

    def evaluate(work: Work) -> dict[str, Any]:
        classes = work["options"]["classes"]

        def areas(labels: Any) -> Any:
            return torch.histc(labels.float(), bins=classes, min=0, max=classes - 1)

        sums = [torch.zeros(classes) for _ in range(3)]
        for pred_file, gt_file in pairs(work):
            with Image.open(pred_file) as pred_image, Image.open(gt_file) as gt_image:
                pred, truth = (torch.from_numpy(numpy.array(image)).to(torch.int64) for image in (pred_image, gt_image))
            labelled = truth != VOID
            pred, truth = pred[labelled], truth[labelled]
            for total, part in zip(sums, (areas(pred[pred == truth]), areas(pred), areas(truth)), strict=True):
                total += part
        both, pred_area, gt_area = sums
        return {"values": [float((both / (pred_area + gt_area - both)).nanmean())]}

    return f"torch {torch.__version__}", evaluate


def load_hotcoco() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """Its folder evaluation, which `coco semantic eval` calls."""
    from importlib.metadata import version

    from hotcoco import semantic

    def evaluate(work: Work) -> dict[str, Any]:
        evaluation = semantic.SemanticEval(work["options"]["classes"], ignore_index=VOID)
        evaluation.update_folders(work["gt"], work["preds"])
        miou = dict(zip(semantic.METRIC_NAMES, evaluation.stats, strict=True))["mIoU"]
        return {"values": [miou], "counts": evaluation.confusion().tolist()}

    return version("hotcoco"), evaluate


def hotcoco_command(python: Path, work: Work) -> list[str]:
    """`coco semantic eval`."""
    sides = ["--gt", work["gt"], "--pred", work["preds"]]
    return [str(python.parent / "coco"), "semantic", "eval", "--json", *sides, "--classes", str(work["options"]["classes"])]


def load_vernier() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """Its fused decode-and-count over paths."""
    from importlib.metadata import version

    from vernier.semantic import evaluate_semantic_from_pngs

    def evaluate(work: Work) -> dict[str, Any]:
        files = pairs(work)
        summary = evaluate_semantic_from_pngs(
            {index: truth for index, (_, truth) in enumerate(files)},
            {index: pred for index, (pred, _) in enumerate(files)},
            work["options"]["classes"],
            "corrected",
            ignore_label=VOID,
            num_threads=int(os.environ.get("RAYON_NUM_THREADS", "1")),
        )
        return {"values": [summary.miou], "counts": summary.confusion_matrix.counts().tolist()}

    return version("vernier"), evaluate


PEERS = (
    SEGBENCH,
    PILLOW,
    Peer("numpy", "NumPy bincount + Pillow", load_numpy, tolerance=1e-9),
    Peer(
        "cityscapesscripts",
        "cityscapesScripts, C extension",
        load_cityscapesscripts,
        tolerance=1e-9,
        only=lambda work: bool(work["options"].get("label_ids")),
    ),
    Peer("mmseg", "mmseg's way (torch histc)", load_mmseg, tolerance=1e-5),
    Peer("hotcoco", "hotcoco, `coco semantic eval`", load_hotcoco, tolerance=1e-9, command=hotcoco_command),
    Peer("vernier", "vernier, `evaluate_semantic_from_pngs`", load_vernier, tolerance=1e-9),
)
