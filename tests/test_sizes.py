"""What a size mismatch looks like, and the two meanings of nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import segbench
from segbench import executors
from segbench.sizes import looks_like, resized


@pytest.mark.parametrize(
    ("pred", "gt", "words"),
    [
        ((10, 20), (20, 10), "transposed"),
        ((10, 20), (20, 40), "scaled by 1/2"),
        ((40, 80), (20, 40), "scaled by 2"),
        ((640, 640), (480, 640), "letterboxed"),
        ((375, 500), (376, 500), "scaled by about"),
        ((100, 200), (150, 210), "cropped"),
    ],
)
def test_words(pred, gt, words):
    assert words in looks_like(pred, gt)


def test_workers_fit_into_memory(monkeypatch):
    monkeypatch.setattr(executors, "available_workers", lambda: 64)
    monkeypatch.setattr(executors.limits, "memory_bytes", lambda: 2**33)
    assert [executors.workers_in_memory(pixels) for pixels in (0, 2048 * 1024, 2**26, 2**30)] == [64, 64, 4, 1]


def test_a_large_image_takes_fewer_workers(tmp_path, monkeypatch):
    for side in ("preds", "gt"):
        (tmp_path / side).mkdir()
        for name in "ab":
            Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / side / f"{name}.png")
    monkeypatch.setattr(executors, "available_workers", lambda: 2)
    monkeypatch.setattr(executors, "BYTES_PER_PIXEL", 2**50)
    said = []
    result = segbench.evaluate(tmp_path / "preds", tmp_path / "gt", num_classes=2, say=said.append)
    assert result.timing["workers"] == 1
    assert "1 worker, so that images of 600 pixels fit into memory; --workers N overrules" in said
    assert segbench.evaluate(tmp_path / "preds", tmp_path / "gt", num_classes=2, workers=2).timing["workers"] == 2


def test_seven_to_three():
    row = np.arange(7, dtype=np.uint8)[None]
    assert resized(row, (1, 3), "nearest").tolist() == [[0, 2, 4]]
    assert resized(row, (1, 3), "nearest-exact").tolist() == [[1, 3, 5]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_nearest_exact_is_pillows(old_height, old_width, height, width):
    """Equal wherever (i + 0.5) * s is no whole number; there Pillow's floats may fall on either side."""
    labels = np.random.default_rng(0).integers(0, 256, (old_height, old_width)).astype(np.uint8)
    pillows = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    clear = [((2 * np.arange(new) + 1) * old) % (2 * new) != 0 for new, old in ((height, old_height), (width, old_width))]
    ours = resized(labels, (height, width), "nearest-exact")
    assert np.array_equal(ours[np.ix_(*clear)], pillows[np.ix_(*clear)])
