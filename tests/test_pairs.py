"""Counting of value pairs against NumPy, over dtypes, sizes and how busy the maps are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench.metrics.pairs import label_pairs
from segbench.samples import LabelMap, ValueMap

MEANING = ValueMap.of({0: 0}, 1)


def counted(pred: np.ndarray, gt: np.ndarray) -> dict[tuple[int, int], int]:
    columns = label_pairs(LabelMap(0, pred, MEANING), LabelMap(0, gt, MEANING))
    keys = list(zip(columns[0].tolist(), columns[1].tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert (columns[2] > 0).all()
    return dict(zip(keys, columns[2].tolist(), strict=True))


def obvious(pred: np.ndarray, gt: np.ndarray) -> dict[tuple[int, int], int]:
    table: dict[tuple[int, int], int] = {}
    for g, p in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        table[g, p] = table.get((g, p), 0) + 1
    return table


@st.composite
def maps(draw):
    """Two maps of runs: from constant to noise, in every pair of dtypes, with extreme values."""
    pixels = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sides = []
    for _ in range(2):
        dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32]))
        limits = np.iinfo(dtype)
        values = np.array([limits.min, limits.max, 0, 1, 2, 100], dtype)
        mean_run = draw(st.sampled_from([1, 3, 40, 1000]))
        edges = rng.random(pixels) < 1 / mean_run
        sides.append(values[rng.integers(0, len(values), pixels)][np.maximum.accumulate(np.where(edges, np.arange(pixels), 0))])
    return sides


@given(maps())
def test_pairs_equal_the_obvious_count(sides):
    assert counted(*sides) == obvious(*sides)


@pytest.mark.parametrize("pixels", [1, 31, 32, 33, 63, 64, 65, 97])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_block_borders(pixels, dtype):
    for edge in range(pixels):
        pred, gt = np.zeros(pixels, dtype), np.zeros(pixels, dtype)
        pred[edge:] = 7
        gt[: edge // 2] = 3
        assert counted(pred, gt) == obvious(pred, gt)


def test_many_runs_do_not_fit_one_buffer():
    rng = np.random.default_rng(5)
    pred, gt = (rng.integers(-3, 70000, 40000).astype(np.int32) for _ in range(2))
    assert counted(pred, gt) == obvious(pred, gt)


def test_scratch_is_clean_after_every_image():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    flat = np.zeros((4, 4), np.uint8)
    counted(noise, noise)
    assert counted(flat, flat) == {(0, 0): 16}


def test_empty_map():
    assert counted(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8)) == {}
