"""The smallest input that shows each error code. Messages of docs/errors.md come from here; run as a script, this prints them.

A case makes `preds/` and `gt/` in a folder and gives the command line that fails there.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CASES: dict[str, Callable[[Path], list[str]]] = {}
LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) // 16  # classes 0, 1, 2


def case(code: str) -> Callable:
    def register(function: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
        CASES[code] = function
        return function

    return register


def pair(folder: Path, pred: np.ndarray | None = None, gt: np.ndarray = LABELS) -> list[str]:
    """One image on both sides; the command that evaluates it."""
    for side, labels in (("preds", LABELS if pred is None else pred), ("gt", gt)):
        (folder / side).mkdir(exist_ok=True)
        Image.fromarray(labels).save(folder / side / "street_01.png")
    return ["evaluate", "preds", "gt", "--num-classes", "3"]


def instead(folder: Path, name: str) -> Path:
    """Takes the prediction away; where another file is to stand."""
    (folder / "preds" / "street_01.png").unlink()
    return folder / "preds" / name


MASK = {"size": [6, 8], "counts": [13, 3, 3, 3, 3, 3, 3, 3, 14]}  # rows 1 to 3, columns 2 to 5
SEGMENT = {"id": 5, "category_id": 1, "area": 16, "iscrowd": 0}


def instances(folder: Path, pred: dict[str, Any] | None = None, gt: dict[str, Any] | None = None) -> list[str]:
    """A detection and an annotation of one image, with fields of one's own."""
    one = {"image_id": 1, "category_id": 1, "bbox": [2, 1, 4, 3], "segmentation": MASK}
    truth = {
        "images": [{"id": 1, "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}],
        "annotations": [one | {"id": 1, "area": 12, "iscrowd": 0} | (gt or {})],
    }
    (folder / "instances.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps([one | {"score": 0.9} | (pred or {})]))
    return ["evaluate", "results.json", "instances.json"]


def panoptic(folder: Path, pred: list[dict[str, Any]] | None = None, gt: list[dict[str, Any]] | None = None) -> list[str]:
    """One segment in a panoptic map, on both sides; with tables of one's own."""
    ids = np.zeros((6, 8, 3), np.uint8)
    ids[1:5, 2:6, 0] = SEGMENT["id"]
    for side, table in (("preds", pred), ("gt", gt)):
        (folder / side).mkdir()
        Image.fromarray(ids).save(folder / side / "street_01.png")
        document = {
            "images": [{"id": 1, "file_name": "street_01.jpg", "height": 6, "width": 8}],
            "categories": [{"id": 1, "name": "car", "isthing": 1}, {"id": 2, "name": "bus", "isthing": 1}],
            "annotations": [{"image_id": 1, "file_name": "street_01.png", "segments_info": table or [SEGMENT]}],
        }
        (folder / f"{side}.json").write_text(json.dumps(document))
    return ["evaluate", "preds.json", "gt.json"]


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG that says what it likes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@case("SB101")
def transposed(folder: Path) -> list[str]:
    return pair(folder, LABELS.T.copy())


@case("SB102")
def short_runs(folder: Path) -> list[str]:
    return instances(folder, {"segmentation": {"size": [6, 8], "counts": [13, 3, 3]}})


@case("SB103")
def runs_along_rows(folder: Path) -> list[str]:
    return instances(folder, {"segmentation": {"size": [6, 8], "counts": [10, 4, 4, 4, 4, 4, 18]}})


@case("SB104")
def width_first(folder: Path) -> list[str]:
    return instances(folder, {"segmentation": MASK | {"size": [8, 6]}})


@case("SB110")
def unknown_value(folder: Path) -> list[str]:
    return [*pair(folder, np.where(LABELS == 2, 255, LABELS).astype(np.uint8)), "--ignore-index", "254"]


@case("SB111")
def two_id_spaces(folder: Path) -> list[str]:
    pair(folder, (LABELS % 2 + 7).astype(np.uint8), (LABELS % 2 + 7).astype(np.uint8))
    return ["evaluate", "preds", "gt", "--dataset", "cityscapes"]


@case("SB112")
def beyond_the_classes(folder: Path) -> list[str]:
    return pair(folder, (LABELS * 10).astype(np.uint8))


@case("SB120")
def two_files(folder: Path) -> list[str]:
    arguments = pair(folder)
    np.save(folder / "preds" / "street_01.npy", LABELS)
    return arguments


@case("SB122")
def no_image_id(folder: Path) -> list[str]:
    return instances(folder, {"image_id": None})


@case("SB130")
def missing(folder: Path) -> list[str]:
    arguments = pair(folder)
    Image.fromarray(LABELS).save(folder / "gt" / "street_02.png")
    return arguments


@case("SB131")
def extra(folder: Path) -> list[str]:
    arguments = pair(folder)
    Image.fromarray(LABELS).save(folder / "preds" / "street_02.png")
    return [*arguments, "--strict"]


@case("SB132")
def nothing_in_common(folder: Path) -> list[str]:
    arguments = pair(folder)
    (folder / "preds" / "street_01.png").rename(folder / "preds" / "frame_0001.png")
    return arguments


@case("SB140")
def no_score(folder: Path) -> list[str]:
    return instances(folder, {"score": None})


@case("SB150")
def not_in_the_map(folder: Path) -> list[str]:
    return panoptic(folder, [SEGMENT, SEGMENT | {"id": 6}])


@case("SB152")
def two_categories(folder: Path) -> list[str]:
    return panoptic(folder, [SEGMENT, SEGMENT | {"category_id": 2}])


@case("SB153")
def impossible_id(folder: Path) -> list[str]:
    return panoptic(folder, [SEGMENT | {"id": -5}])


@case("SB154")
def one_channel(folder: Path) -> list[str]:
    arguments = panoptic(folder)
    Image.fromarray(LABELS).save(folder / "preds" / "street_01.png")
    return arguments


@case("SB155")
def wrong_area(folder: Path) -> list[str]:
    return panoptic(folder, gt=[SEGMENT | {"area": 4}])


@case("SB156")
def no_map(folder: Path) -> list[str]:
    arguments = panoptic(folder)
    (folder / "preds" / "street_01.png").unlink()
    return arguments


@case("SB160")
def truncated(folder: Path) -> list[str]:
    arguments = pair(folder)
    path = folder / "preds" / "street_01.png"
    path.write_bytes(path.read_bytes()[:-20])
    return arguments


@case("SB161")
def jpeg(folder: Path) -> list[str]:
    arguments = pair(folder)
    Image.fromarray(LABELS).save(instead(folder, "street_01.jpg"))
    return arguments


@case("SB162")
def colours(folder: Path) -> list[str]:
    return pair(folder, np.stack([LABELS * 60] * 3, -1))


@case("SB163")
def eight_bits(folder: Path) -> list[str]:
    pair(folder)
    return ["evaluate", "preds", "gt", "--dataset", "cityscapes", "--format", "instance-ids", "--gt-format", "instance-ids"]


@case("SB164")
def alpha(folder: Path) -> list[str]:
    black = np.zeros((6, 8, 3), np.uint8)
    pair(folder, np.concatenate([black, LABELS[..., None]], -1), black)
    return ["evaluate", "preds", "gt", "--dataset", "camvid_32"]


@case("SB165")
def sixteen_bit_colours(folder: Path) -> list[str]:
    arguments = panoptic(folder)
    (folder / "preds" / "street_01.png").write_bytes(png(8, 6, 16, 2, bytes(6 * (1 + 8 * 6))))
    return arguments


@case("SB170")
def two_points(folder: Path) -> list[str]:
    return instances(folder, gt={"segmentation": [[1, 1, 2, 2]]})


@case("SB171")
def negative_area(folder: Path) -> list[str]:
    return instances(folder, gt={"area": -5})


@case("SB172")
def no_box(folder: Path) -> list[str]:
    return [*instances(folder, {"bbox": [2, 1, 4]}), "--metrics", "bbox/*"]


@case("SB180")
def float_labels(folder: Path) -> list[str]:
    arguments = pair(folder)
    np.save(instead(folder, "street_01.npy"), LABELS.astype(np.float32))
    return arguments


@case("SB181")
def ambiguous_axes(folder: Path) -> list[str]:
    arguments = pair(folder)
    np.save(instead(folder, "street_01.npy"), np.zeros((8, 6, 8), np.float32))
    return arguments


@case("SB182")
def several_arrays(folder: Path) -> list[str]:
    arguments = pair(folder)
    np.savez(instead(folder, "street_01.npz"), first=LABELS, second=LABELS)
    return arguments


@case("SB191")
def pickled(folder: Path) -> list[str]:
    arguments = pair(folder)
    np.save(instead(folder, "street_01.npy"), np.array([{}], object), allow_pickle=True)
    return arguments


@case("SB192")
def too_large(folder: Path) -> list[str]:
    """A PNG that says it is 90,000 pixels square."""
    arguments = pair(folder)
    for side in ("preds", "gt"):
        (folder / side / "street_01.png").write_bytes(png(90_000, 90_000, 8, 0, bytes(90)))
    return arguments


def shown(code: str, folder: Path) -> tuple[int, str]:
    """Exit code, and what a person sees: the command and the message."""
    from segbench.cli import run

    before = Path.cwd()
    os.chdir(folder)
    try:
        arguments = CASES[code](Path())
        stderr = io.StringIO()
        with redirect_stderr(stderr), redirect_stdout(io.StringIO()):
            exit_code = run([*arguments, "--quiet"])
    finally:
        os.chdir(before)
    return exit_code, f"$ segbench {shlex.join(arguments)}\n{stderr.getvalue().rstrip()}"


if __name__ == "__main__":
    for code in CASES:
        with tempfile.TemporaryDirectory() as temporary:
            print(*shown(code, Path(temporary)), sep="\n", end="\n\n")
