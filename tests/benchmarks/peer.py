"""What a contestant is, and how segbench itself is one. Imports nothing heavy: a child's peak memory starts at its parent's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

Work = dict[str, Any]
"""What `generate.py` prints: task, gt, preds, options and what to say about them."""
VOID = 255


@dataclass(frozen=True)
class Peer:
    """A contestant.

    Attributes:
        name: The word on the command line.
        title: What the table of figures shows.
        load: Imports it and returns its version and the function that evaluates a `Work`: `values` are its scores and `counts`, where it
            has them, the counts that they come from.
        tolerance: How far its values may be off.
        reference: Others are compared with it.
        slow: Runs in the first round only.
        only: Works it takes part in.
        command: Its own command line, where it has one: the figures of the whole process are taken from it.
    """

    name: str
    title: str
    load: Callable[[], tuple[str, Callable[[Work], dict[str, Any]]]]
    tolerance: float = 0.0
    reference: bool = False
    slow: bool = False
    only: Callable[[Work], bool] = lambda work: True
    command: Callable[[Path, Work], list[str]] | None = None


def segbench_arguments(work: Work) -> list[str]:
    """Options of `segbench evaluate` for a work."""
    options = work["options"]
    if work["task"] == "semantic":
        return ["--num-classes", str(options["classes"]), "--ignore-index", str(VOID)]
    if work["task"] == "instance":
        return ["--metrics", f"{options['family']}/*"] + (["--protocol", "lvis"] if options.get("lvis") else [])
    return []


def segbench_command(python: Path, work: Work, *options: str) -> list[str]:
    """`segbench evaluate`, from the environment of a Python."""
    program = [str(python.parent / "segbench"), "evaluate", work["preds"], work["gt"], *segbench_arguments(work)]
    return [*program, "--json", "-q", *(options or ("--workers", "1"))]


def load_segbench() -> tuple[str, Callable[..., dict[str, Any]]]:
    """Its one function."""
    import segbench

    def evaluate(work: Work, workers: int = 1, analysis: bool = False) -> dict[str, Any]:
        options = work["options"]
        asked: dict[str, Any] = {}
        if work["task"] == "semantic":
            asked = {"num_classes": options["classes"], "ignore_index": VOID}
        elif work["task"] == "instance":
            asked = {"metrics": [f"{options['family']}/*"]} | ({"protocol": "lvis"} if options.get("lvis") else {})
        # no peer gives intervals; the whole process, measured from the command line, does
        result = segbench.evaluate(work["preds"], work["gt"], workers=workers, analysis=analysis, intervals=False, **asked)
        metrics = result.tasks[work["task"]].metrics
        found = [metrics[name].value for name in VALUES[work["task"]](work)]
        return {"values": [-1.0 if value is None else value for value in found], "timing": result.timing}

    return segbench.__version__, evaluate


def load_kernels(task: str) -> None:
    """Loads the kernels that only large files need, which a small work therefore does not load."""
    from segbench.kernels._jit import Kernel

    for file in {"instance": ("coco_rows", "polygons")}.get(task, ()):
        for kernel in vars(import_module(f"segbench.kernels.{file}")).values():
            if isinstance(kernel, Kernel):
                kernel.load()


def _instance_values(work: Work) -> list[str]:
    names = [*COCO_STATS[:6], "ap_rare", "ap_common", "ap_frequent", *LVIS_RECALLS] if work["options"].get("lvis") else COCO_STATS
    return [f"{work['options']['family']}/{name}" for name in names]


COCO_STATS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
COCO_STATS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
LVIS_RECALLS = ["ar300", "ar_small", "ar_medium", "ar_large"]
VALUES: dict[str, Callable[[Work], list[str]]] = {
    "semantic": lambda work: ["semantic/miou"],
    "instance": _instance_values,
    "panoptic": lambda work: [f"panoptic/{name}{group}" for group in ("", "_things", "_stuff") for name in ("pq", "sq", "rq")],
}
"""The scores that are compared, in the order in which every peer gives them."""

SEGBENCH = Peer("segbench", "segbench", load_segbench, command=segbench_command)


def maps(work: Work, side: str) -> str:
    """The folder of a side's PNGs: itself, or that beside the JSON."""
    return work[side].removesuffix(".json")


def load_pillow() -> tuple[str, Callable[[Work], dict[str, Any]]]:
    """Decodes and does nothing else: what every peer on Pillow pays."""
    import numpy
    import PIL
    from PIL import Image

    def decode(work: Work) -> dict[str, Any]:
        for side in ("gt", "preds"):
            for file in sorted(Path(maps(work, side)).iterdir()):
                with Image.open(file) as image:
                    numpy.asarray(image)
        return {}

    return PIL.__version__, decode


PILLOW = Peer("pillow", "Pillow, decoding alone", load_pillow)
