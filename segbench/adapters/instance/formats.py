"""Predicted instances in files of frameworks and benchmarks: Cityscapes text and masks, YOLO polygons, SAM JSON, NumPy archives."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segbench import files as disk
from segbench.adapters.base import Format, Request
from segbench.adapters.images import MAX_BYTES, read_labels
from segbench.adapters.instance.files import InstanceFiles, Size, first_file, first_files, head_of, open_folder
from segbench.errors import FormatError

LOOKED_AT = 8
"""Text files whose first lines tell the format."""


def load_cityscapes(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """One text file of Cityscapes: lines of mask file, label id, score. Pixels that are not 0 are the mask."""
    masks: dict[str, Any] = {}
    labels, scores = [], []
    root = os.path.realpath(os.path.dirname(path))
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if len(parts) != 3:
            raise FormatError(f"line {number} has {len(parts)} parts", files=[path], hint="each line is: mask.png label_id score")
        mask = os.path.realpath(os.path.join(root, parts[0]))
        if os.path.commonpath((root, mask)) != root and os.path.commonpath((os.path.dirname(root), mask)) != os.path.dirname(root):
            raise FormatError(f"line {number} leads outside the folder: {parts[0]}", files=[path], code="SB192")
        labels.append(_integer(parts[1], path, number))
        scores.append(_number(parts[2], path, number))
        if mask in masks:
            raise FormatError(
                f"line {number} names the mask of a line before it: {parts[0]}",
                files=[path],
                hint="give every line a mask of its own; cityscapesScripts keeps the last line alone",
                code="SB120",
            )
        masks[mask] = read_labels(mask) != 0
        if masks[mask].ndim != 2:
            raise FormatError("a mask has one value per pixel, not colours", files=[mask], hint="save it as a grey PNG", code="SB162")
    drawn = list(masks.values())
    return {"masks": drawn, "labels": labels, "scores": scores} | ({"size": drawn[0].shape} if drawn else {})


def load_yolo(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """One text file of YOLO: lines of class index, normalised polygon, and the confidence where the number of values is even."""
    if size is None:
        raise FormatError(
            "YOLO polygons are relative to the image's size, which is not known here",
            files=[path],
            hint="evaluate them against a ground truth that states sizes",
        )
    height, width = size
    masks, labels, scores = [], [], []
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if len(parts) in (5, 6):
            raise FormatError(
                f"line {number} is a box, not a polygon", files=[path], hint="save the polygons of the masks, or give boxes as COCO results"
            )
        if len(parts) < 7:
            raise FormatError(
                f"line {number} has {len(parts)} values", files=[path], hint="class x y x y x y ... [confidence]", code="SB170"
            )
        labels.append(_integer(parts[0], path, number))
        values = [_number(part, path, number) for part in parts[1:]]
        if len(values) % 2 == 0 and request.role == "pred":
            raise FormatError(
                f"line {number} has no confidence",
                files=[path],
                hint="save with confidences (save_conf=True): instances are ranked by them",
                code="SB140",
            )
        if len(values) % 2:
            scores.append(values.pop())
        points = np.array(values).reshape(-1, 2)
        if points.min() < -0.01 or points.max() > 1.01:
            raise FormatError(
                f"line {number} has coordinates outside 0 to 1", files=[path], hint="YOLO polygons are normalised", code="SB170"
            )
        masks.append([(points * (width, height)).reshape(-1).tolist()])
    sample: dict[str, Any] = {"masks": masks, "labels": labels, "size": size, "space": request.id_space or "contiguous"}
    return sample | ({"scores": scores} if request.role == "pred" else {})


class _SamMask(msgspec.Struct):
    segmentation: dict[str, Any]
    predicted_iou: float
    bbox: list[float] | None = None


class _SamFile(msgspec.Struct):
    annotations: list[_SamMask]


def load_sam(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """One JSON of Segment Anything: masks without classes, ranked by predicted IoU. Every mask is of the data set's first class."""
    data = Path(path).read_bytes()
    try:
        if data.lstrip().startswith(b"["):
            rows = msgspec.json.decode(data, type=list[_SamMask])
        else:
            rows = msgspec.json.decode(data, type=_SamFile).annotations
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"this is no Segment Anything JSON: {error}", files=[path]) from None
    for row in rows:
        if not {"size", "counts"} <= row.segmentation.keys():
            raise FormatError(
                "a mask without size and counts", files=[path], hint="write masks as run lengths, with their size", code="SB102"
            )
    sample: dict[str, Any] = {"masks": [row.segmentation for row in rows], "labels": np.zeros(len(rows), np.int64), "space": "contiguous"}
    return sample | ({"scores": [row.predicted_iou for row in rows]} if request.role == "pred" else {})


def load_archive(path: str, size: Size, request: Request) -> Mapping[str, Any]:
    """One `.npz`: `masks` (N, H, W) and/or `boxes` (N, 4) xyxy, `labels` (N,), `scores` (N,)."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as members:
            size_of_all = sum(member.file_size for member in members.infolist())
            if size_of_all > MAX_BYTES:
                raise FormatError(f"{size_of_all} bytes in one archive, more than {MAX_BYTES}", files=[path], code="SB192")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except FormatError:
        raise
    except Exception as error:  # zipfile and numpy have many ways to say that a file is damaged
        code = "SB191" if "pickle" in str(error).lower() else None
        raise FormatError(f"this archive cannot be read: {error}", files=[path], code=code) from None


def _lines(path: str) -> list[str]:
    try:
        text = disk.read(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError("this is not text", files=[path]) from None
    if "\0" in text:
        raise FormatError("this is not text", files=[path])
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _number(text: str, path: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise FormatError(f"{text!r} in line {line} is no finite number", files=[path], code="SB140")
    return value


def _integer(text: str, path: str, line: int) -> int:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not value.is_integer() or abs(value) >= 2**53:
        raise FormatError(f"{text!r} in line {line} is no class id", files=[path], code="SB110")
    return int(value)


def _first_lines(path: Path) -> Iterator[list[str]]:
    """The parts of the first line of each of the first text files: some may be a note, or hold nothing."""
    for file in first_files(path, (".txt",), LOOKED_AT):
        lines = head_of(file).decode("utf-8-sig", "replace").splitlines()
        if lines:
            yield lines[0].split()


def _names_a_mask(parts: list[str]) -> bool:
    return len(parts) == 3 and parts[0].lower().endswith(".png")


def _is_a_polygon(parts: list[str]) -> bool:
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return False
    return len(values) >= 7 and values[0].is_integer() and all(-0.01 <= value <= 1.01 for value in values[1:])


def sniff_cityscapes(path: Path) -> tuple[float, str]:
    """Lines of three parts, the first a PNG."""
    return (0.9, "text files that name masks") if any(map(_names_a_mask, _first_lines(path))) else (0.0, "")


def sniff_yolo(path: Path) -> tuple[float, str]:
    """Lines of a class and numbers within 0 to 1."""
    return (0.85, "text files of normalised polygons") if any(map(_is_a_polygon, _first_lines(path))) else (0.0, "")


def sniff_sam(path: Path) -> tuple[float, str]:
    """JSON files with a predicted IoU."""
    return (0.96, "JSON files with predicted_iou") if b'"predicted_iou"' in head_of(first_file(path, (".json",))) else (0.0, "")


def sniff_archive(path: Path) -> tuple[float, str]:
    """Archives with masks or boxes and labels."""
    file = first_file(path, (".npz",))
    if file is None:
        return 0.0, ""
    try:
        with open(file, "rb") as data, zipfile.ZipFile(data) as members:
            names = {name.removesuffix(".npy") for name in members.namelist()}
    except Exception:  # zipfile has many ways to say that a file is damaged
        return 0.0, ""
    return (0.9, "archives with labels and masks or boxes") if "labels" in names and names & {"masks", "boxes"} else (0.0, "")


def _open_cityscapes(path: Path, request: Request) -> InstanceFiles:
    return open_folder(path, request, "cityscapes-instances", "Cityscapes instance results", (".txt",), load_cityscapes)


def _open_yolo(path: Path, request: Request) -> InstanceFiles:
    return open_folder(path, request, "yolo-polygons", "YOLO polygons", (".txt",), load_yolo)


def _open_sam(path: Path, request: Request) -> InstanceFiles:
    return open_folder(path, request, "sam-json", "Segment Anything masks", (".json",), load_sam)


def _open_archive(path: Path, request: Request) -> InstanceFiles:
    source = open_folder(path, request, "instance-npz", "NumPy archives of instances", (".npz",), load_archive, box_format="xyxy")
    first = load_archive(source.file(source.keys[0]), None, request)
    return InstanceFiles(
        source.format, source.said, source.root, source.files, request, load_archive, masks="masks" in first, box_format="xyxy"
    )


CITYSCAPES = Format(
    "cityscapes-instances",
    "Cityscapes instance results",
    "one .txt per image: mask.png label_id score; the masks beside it",
    ("instance",),
    (".txt",),
    sniff_cityscapes,
    _open_cityscapes,  # type: ignore[arg-type]
)
YOLO = Format(
    "yolo-polygons",
    "YOLO polygons",
    "one .txt per image: class x y x y x y ... [confidence], normalised",
    ("instance",),
    (".txt",),
    sniff_yolo,
    _open_yolo,  # type: ignore[arg-type]
)
SAM = Format(
    "sam-json",
    "Segment Anything masks",
    "one .json per image: annotations with segmentation and predicted_iou",
    ("instance",),
    (".json",),
    sniff_sam,
    _open_sam,  # type: ignore[arg-type]
)
ARCHIVE = Format(
    "instance-npz",
    "NumPy archives of instances",
    "one .npz per image: masks (N, H, W) and/or boxes (N, 4) xyxy, labels, scores",
    ("instance",),
    (".npz",),
    sniff_archive,
    _open_archive,  # type: ignore[arg-type]
)
