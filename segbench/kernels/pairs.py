"""Counting of value pairs of two label maps: the whole of a semantic evaluation's pixel work.

Label maps are piecewise constant, so the kernel counts runs: 64 pixels of both maps are compared with their left neighbours at once, and
only the pixels that differ from theirs cost anything more.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from segbench.kernels._jit import I4, I8, U1, kernel, ro, rw

BLOCK = 64
"""Pixels compared at once."""

NOISY = 24
"""Runs in a block from which on counting pixel by pixel is faster."""


def _vector_operations():
    """Comparison of a block with its left neighbours, and bit operations, which Numba has no spelling for."""

    @intrinsic
    def edges(typing, pred, gt, at):
        def generate(context, builder, signature, args):
            differs = None
            for side in (0, 1):
                array = context.make_array(signature.args[side])(context, builder, args[side])
                vector = ir.VectorType(ir.IntType(signature.args[side].dtype.bitwidth), BLOCK)
                here = builder.gep(array.data, [args[2]])
                left = builder.gep(here, [ir.Constant(ir.IntType(64), -1)])
                values = [builder.load(builder.bitcast(place, vector.as_pointer())) for place in (here, left)]
                for value in values:
                    value.align = 1
                changed = builder.icmp_unsigned("!=", *values)
                differs = changed if differs is None else builder.or_(differs, changed)
            return builder.bitcast(differs, ir.IntType(BLOCK))

        return types.int64(pred, gt, types.int64), generate

    @intrinsic
    def first_bit(typing, bits):
        def generate(context, builder, signature, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate

    @intrinsic
    def count_bits(typing, bits):
        def generate(context, builder, signature, args):
            return builder.ctpop(args[0])

        return types.int64(types.int64), generate

    return edges, first_bit, count_bits


def _plain_operations():
    """The same, and what they mean, for runs without the compiler."""

    def edges(pred, gt, at):
        here, left = slice(at, at + BLOCK), slice(at - 1, at + BLOCK - 1)
        differs = (pred[here] != pred[left]) | (gt[here] != gt[left])
        return sum(1 << int(k) for k in np.flatnonzero(differs))

    def first_bit(bits):
        return (int(bits) & -int(bits)).bit_length() - 1

    def count_bits(bits):
        return int(bits).bit_count()

    return edges, first_bit, count_bits


_edges, _first_bit, _count_bits = (
    _plain_operations() if config.DISABLE_JIT else _vector_operations()  # type: ignore[attr-defined]
)


@kernel(I8(ro(U1), ro(U1), rw(I8), rw(I4)))
def count_pairs_u8(pred, gt, counts, touched):
    """Adds to `counts[gt << 8 | pred]` for every pixel, and lists the entries that were zero before.

    Args:
        pred, gt: uint8[N], N > 0.
        counts: int64[65536].
        touched: int32[65536], the entries that became non-zero, in order of appearance.

    Returns:
        How many entries were touched.
    """
    number = 0
    start = 0
    at = 1
    while at < len(pred):
        # the last block overlaps the one before: its pixels up to `at` are masked out
        bits = I8(0)
        if at + BLOCK <= len(pred):
            bits = _edges(pred, gt, at)
        else:
            for k in range(at, len(pred)):
                if pred[k] != pred[k - 1] or gt[k] != gt[k - 1]:
                    bits |= I8(1) << I8(k - at)
        if _count_bits(bits) >= NOISY:
            # pixel by pixel: the run that is open, then all but the last pixel of the block
            end = min(at + BLOCK, len(pred)) - 1
            key = (I8(gt[start]) << 8) | I8(pred[start])
            if counts[key] == 0:
                touched[number] = key
                number += 1
            counts[key] += at - start
            for k in range(at, end):
                key = (I8(gt[k]) << 8) | I8(pred[k])
                if counts[key] == 0:
                    touched[number] = key
                    number += 1
                counts[key] += 1
            start = end
        else:
            while bits != 0:
                edge = at + _first_bit(bits)
                key = (I8(gt[start]) << 8) | I8(pred[start])
                if counts[key] == 0:
                    touched[number] = key
                    number += 1
                counts[key] += edge - start
                start = edge
                bits &= bits - 1
        at += BLOCK
    key = (I8(gt[start]) << 8) | I8(pred[start])
    if counts[key] == 0:
        touched[number] = key
        number += 1
    counts[key] += len(pred) - start
    return number
