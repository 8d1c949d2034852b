"""Runs of value pairs of two wide label maps. Apart from the byte maps' kernel, so that these pay nothing for it at start-up."""

from __future__ import annotations

from segbench.kernels._jit import I4, I8, kernel, ro, rw


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
