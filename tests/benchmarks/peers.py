"""One table of peers: how each evaluates a folder of label PNGs against another.

Run as a script by the Python that has the peers installed, one peer per process; it prints one line of JSON. Nothing is imported but the
peer itself, so that the figures of the whole process are the peer's own:

    python tests/benchmarks/peers.py numpy --gt GT --preds PREDS --classes 19

Labels are class indices 0..N-1 with 255 for void; `cityscapesscripts` is given the same maps as labelIds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VOID = 255
CITY_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' labelIds of its 19 trainIds; labelId 0 is void."""


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes:
        name: The word on the command line.
        title: What the table of figures shows.
        load: Imports the peer and returns its version and the function that evaluates.
        tolerance: How far its mIoU may be off; float32 sums are.
        label_ids: Wants Cityscapes' labelIds and file names.
        command: Its own command line, where it has one: the figures of the whole process are taken from it.
    """

    name: str
    title: str
    load: Callable[[], tuple[str, Callable]]
    tolerance: float = 1e-9
    label_ids: bool = False
    command: Callable[[Path, Path, Path, int], list[str]] | None = None


def pairs(gt: Path, preds: Path) -> list[tuple[str, str]]:
    """(prediction, ground truth), in the order of their names."""
    gts, predictions = (sorted(str(file) for file in folder.iterdir()) for folder in (gt, preds))
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


def load_pillow() -> tuple[str, Callable]:
    """Decodes and does nothing else: what every peer on Pillow pays."""
    import numpy
    import PIL
    from PIL import Image

    def decode(gt: Path, preds: Path, classes: int) -> dict:
        for files in pairs(gt, preds):
            for file in files:
                with Image.open(file) as image:
                    numpy.asarray(image)
        return {}

    return PIL.__version__, decode


def load_numpy() -> tuple[str, Callable]:
    """The usual dozen lines: one bincount of N * gt + pred over the labelled pixels of an image."""
    import numpy
    from PIL import Image

    def evaluate(gt: Path, preds: Path, classes: int) -> dict:
        total = numpy.zeros((classes + 1) ** 2, numpy.int64)
        for pred_file, gt_file in pairs(gt, preds):
            with Image.open(pred_file) as pred_image, Image.open(gt_file) as gt_image:
                pred, truth = numpy.array(pred_image, dtype=int), numpy.array(gt_image, dtype=int)
            truth[truth == VOID] = classes
            total += numpy.bincount((classes + 1) * truth.ravel() + pred.ravel(), minlength=len(total))
        return {"confusion": total.reshape(classes + 1, classes + 1)[:classes, :classes].tolist()}

    return numpy.__version__, evaluate


def load_cityscapesscripts() -> tuple[str, Callable]:
    """Its own list evaluation with its C extension, without the instance scores."""
    from importlib.metadata import version

    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    if not evaluation.CSUPPORT:
        raise ImportError("cityscapesscripts was built without its C extension; see tests/benchmarks/README.md")

    def evaluate(gt: Path, preds: Path, classes: int) -> dict:
        arguments = evaluation.args
        arguments.evalInstLevelScore, arguments.JSONOutput, arguments.quiet = False, False, True
        files = pairs(gt, preds)
        result = evaluation.evaluateImgLists([pred for pred, _ in files], [truth for _, truth in files], arguments)
        matrix = result["confMatrix"]
        return {
            "miou": result["averageScoreClasses"],
            "confusion": [[int(matrix[row][column]) for column in CITY_LABEL_IDS] for row in CITY_LABEL_IDS],
        }

    return version("cityscapesscripts"), evaluate


def load_mmseg() -> tuple[str, Callable]:
    """mmseg's documented way in plain torch: int64 tensors, void masked out, three float32 histograms per image, summed."""
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    import numpy

    def evaluate(gt: Path, preds: Path, classes: int) -> dict:
        def areas(labels):
            return torch.histc(labels.float(), bins=classes, min=0, max=classes - 1)

        sums = [torch.zeros(classes) for _ in range(3)]
        for pred_file, gt_file in pairs(gt, preds):
            with Image.open(pred_file) as pred_image, Image.open(gt_file) as gt_image:
                pred, truth = (torch.from_numpy(numpy.array(image)).to(torch.int64) for image in (pred_image, gt_image))
            labelled = truth != VOID
            pred, truth = pred[labelled], truth[labelled]
            for total, part in zip(sums, (areas(pred[pred == truth]), areas(pred), areas(truth)), strict=True):
                total += part
        both, pred_area, gt_area = sums
        return {"miou": float((both / (pred_area + gt_area - both)).nanmean())}

    return f"torch {torch.__version__}", evaluate


def load_hotcoco() -> tuple[str, Callable]:
    """Its folder evaluation, which `coco semantic eval` calls."""
    from importlib.metadata import version

    from hotcoco import semantic

    def evaluate(gt: Path, preds: Path, classes: int) -> dict:
        evaluation = semantic.SemanticEval(classes, ignore_index=VOID)
        evaluation.update_folders(str(gt), str(preds))
        miou = dict(zip(semantic.METRIC_NAMES, evaluation.stats, strict=True))["mIoU"]
        return {"miou": miou, "confusion": evaluation.confusion().tolist()}

    return version("hotcoco"), evaluate


def hotcoco_command(python: Path, gt: Path, preds: Path, classes: int) -> list[str]:
    """`coco semantic eval`."""
    return [str(python.parent / "coco"), "semantic", "eval", "--json", "--gt", str(gt), "--pred", str(preds), "--classes", str(classes)]


def load_vernier() -> tuple[str, Callable]:
    """Its fused decode-and-count over paths."""
    from importlib.metadata import version

    from vernier.semantic import evaluate_semantic_from_pngs

    def evaluate(gt: Path, preds: Path, classes: int) -> dict:
        files = pairs(gt, preds)
        summary = evaluate_semantic_from_pngs(
            {index: truth for index, (_, truth) in enumerate(files)},
            {index: pred for index, (pred, _) in enumerate(files)},
            classes,
            "corrected",
            ignore_label=VOID,
            num_threads=int(os.environ.get("RAYON_NUM_THREADS", "1")),
        )
        return {"miou": summary.miou, "confusion": summary.confusion_matrix.counts().tolist()}

    return version("vernier"), evaluate


PEERS = {
    peer.name: peer
    for peer in (
        Peer("pillow", "Pillow, decoding alone", load_pillow),
        Peer("numpy", "NumPy bincount + Pillow", load_numpy),
        Peer("cityscapesscripts", "cityscapesScripts, C extension", load_cityscapesscripts, label_ids=True),
        Peer("mmseg", "mmseg's way (torch histc)", load_mmseg, tolerance=1e-5),
        Peer("hotcoco", "hotcoco, `coco semantic eval`", load_hotcoco, command=hotcoco_command),
        Peer("vernier", "vernier, `evaluate_semantic_from_pngs`", load_vernier),
    )
}


def main() -> int:
    """Evaluates with one peer and prints its figures; exits with 6 where the peer is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument("--preds", type=Path, required=True)
    parser.add_argument("--classes", type=int, required=True)
    arguments = parser.parse_args()
    try:
        version, evaluate = PEERS[arguments.peer].load()
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return 6
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = evaluate(arguments.gt, arguments.preds, arguments.classes)
    outcome |= {"engine_cpu_s": time.process_time() - cpu, "engine_wall_s": time.perf_counter() - wall, "version": version}
    if "confusion" in outcome:
        outcome.setdefault("miou", mean_iou(outcome["confusion"]))
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
