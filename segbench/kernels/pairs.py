"""Counting of value pairs of two label maps: the whole of a semantic evaluation's pixel work.

Label maps are piecewise constant, so both kernels look at blocks first: a block in which both maps are constant costs one addition.
"""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import I4, I8, U1, U8, kernel, ro, rw

_BYTES = 0x0101010101010101


@kernel(types.void(ro(U8), ro(U8), ro(U1), ro(U1), rw(I8)))
def count_pairs_u8(pred_words, gt_words, pred_rest, gt_rest, counts):
    """Adds to `counts[gt << 8 | pred]` for every pixel.

    Args:
        pred_words, gt_words: uint64[W], the maps eight pixels at a time; W a multiple of four.
        pred_rest, gt_rest: uint8[R], the pixels behind them.
        counts: int64[65536].
    """
    for block in range(0, len(pred_words), 4):
        p0 = pred_words[block]
        g0 = gt_words[block]
        # a block is constant when all its words equal its first byte, repeated
        p = (p0 & U8(0xFF)) * U8(_BYTES)
        g = (g0 & U8(0xFF)) * U8(_BYTES)
        differs = (p0 ^ p) | (pred_words[block + 1] ^ p) | (pred_words[block + 2] ^ p) | (pred_words[block + 3] ^ p)
        differs |= (g0 ^ g) | (gt_words[block + 1] ^ g) | (gt_words[block + 2] ^ g) | (gt_words[block + 3] ^ g)
        if differs == 0:
            counts[((g & U8(0xFF)) << U8(8)) | (p & U8(0xFF))] += 32
            continue
        for word in range(block, block + 4):
            p = pred_words[word]
            g = gt_words[word]
            if p == (p & U8(0xFF)) * U8(_BYTES) and g == (g & U8(0xFF)) * U8(_BYTES):
                counts[((g & U8(0xFF)) << U8(8)) | (p & U8(0xFF))] += 8
                continue
            for _ in range(8):
                counts[((g & U8(0xFF)) << U8(8)) | (p & U8(0xFF))] += 1
                p >>= U8(8)
                g >>= U8(8)
    for at in range(len(pred_rest)):
        counts[(I8(gt_rest[at]) << 8) | I8(pred_rest[at])] += 1


@kernel(I8(ro(I4), ro(I4), I8, rw(I4, 2), rw(I8), rw(I8)))
def pair_runs_i32(pred, gt, start, pairs, pixels, filled):
    """Runs of equal (gt, pred) pairs, from pixel `start` until the end or until the output is full.

    Args:
        pred, gt: int32[N].
        pairs: int32[M, 2], (gt, pred) of each run; pixels: int64[M], its length.
        filled: int64[1], how many runs were written.

    Returns:
        The pixel at which to go on: N when done.
    """
    count = 0
    at = start
    while at < len(pred) and count < len(pixels):
        p = pred[at]
        g = gt[at]
        end = at + 1
        while end < len(pred) and pred[end] == p and gt[end] == g:
            end += 1
        pairs[count, 0] = g
        pairs[count, 1] = p
        pixels[count] = end - at
        count += 1
        at = end
    filled[0] = count
    return at
