"""The smallest input that shows each error code. Messages of docs/errors.md come from here; run as a script, this prints them.

A case makes `preds/` and `gt/` in a folder and gives the command line that fails there.
"""

from __future__ import annotations

import io
import os
import shlex
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

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


@case("SB101")
def transposed(folder: Path) -> list[str]:
    return pair(folder, LABELS.T.copy())


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


@case("SB164")
def alpha(folder: Path) -> list[str]:
    black = np.zeros((6, 8, 3), np.uint8)
    pair(folder, np.concatenate([black, LABELS[..., None]], -1), black)
    return ["evaluate", "preds", "gt", "--dataset", "camvid_32"]


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

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = (b"IHDR", struct.pack(">IIBBBBB", 90_000, 90_000, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(90))), (b"IEND", b"")
    for side in ("preds", "gt"):
        (folder / side / "street_01.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
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
