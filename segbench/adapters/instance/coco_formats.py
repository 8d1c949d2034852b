"""Recognising COCO files. Apart from reading them, so that a look at a JSON of another kind loads no kernel."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from segbench.adapters.base import Format, Request
from segbench.datasets import Dataset
from segbench.errors import SHOWN, FormatError

HEAD = 65536
"""Bytes that recognising a file reads."""


def json_in(path: Path) -> Path:
    """The file itself, or the only JSON file of a folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.json"))
    fitting = [file for file in found if sniff_results(file)[0] or sniff_truth(file)[0]]
    if len(fitting) != 1:
        raise FormatError(
            f"{len(fitting)} files of this folder could be meant",
            files=[str(file) for file in (fitting or found)[:SHOWN]] or [str(path)],
            hint="name the file itself",
        )
    return fitting[0]


def _head(path: Path) -> bytes:
    if not path.is_file() or path.suffix.lower() != ".json":
        return b""
    with open(path, "rb") as file:
        return file.read(HEAD).removeprefix(codecs.BOM_UTF8).lstrip()


def sniff_results(path: Path) -> tuple[float, str]:
    """How sure it is that a file holds detections."""
    head = _head(path)
    if head.rstrip() == b"[]":
        return 0.9, "an empty list of detections"
    if b'"image_id"' in head and b'"category_id"' in head and b'"segments_info"' not in head:
        if head.startswith(b"[") and (b'"score"' in head or b'"segmentation"' in head or b'"bbox"' in head):
            return 0.95, "an array of detections"
        if head.startswith(b"{") and b'"score"' in head and b'"categories"' not in head and b'"images"' not in head:
            return 0.8, "detections under annotations"
    return 0.0, ""


def sniff_truth(path: Path) -> tuple[float, str]:
    """How sure it is that a file is a COCO ground truth."""
    head = _head(path)
    if not head.startswith(b"{") or b'"segments_info"' in head:
        return 0.0, ""
    if b'"annotations"' in head or b'"images"' in head or b'"categories"' in head or b'"licenses"' in head:
        return 0.7, "images, annotations and categories"
    return 0.0, ""


def _open_results(path: Path, request: Request) -> Any:
    from segbench.adapters.instance import coco

    return coco.open_results(path, request)


def _open_truth(path: Path, request: Request) -> Any:
    from segbench.adapters.instance import coco

    return coco.open_truth(path, request)


def _truth_dataset(path: Path) -> Dataset:
    from segbench.adapters.instance import coco

    return coco.truth_dataset(path)


COCO_RESULTS = Format(
    "coco-results",
    "COCO results JSON",
    "one file: [{image_id, category_id, score, segmentation and/or bbox}], also under `annotations`",
    ("instance",),
    (".json",),
    sniff_results,
    _open_results,
)
COCO_TRUTH = Format(
    "coco",
    "COCO or LVIS ground truth JSON",
    "one file: {images, annotations, categories}; polygons, run-length masks, crowds",
    ("instance",),
    (".json",),
    sniff_truth,
    _open_truth,
    _truth_dataset,
)
