"""Segment ids of two maps, pixel by pixel, as runs: what a panoptic evaluation does with pixels.

Maps are read as bytes, whatever their type: a pixel is `step` bytes, the lowest first, so that the three channels of an RGB id map are read
as they lie. A pixel starts a run where one of its bytes differs from the byte `step` before it; 64 bytes of both maps are compared at once,
and identifiers are looked up only where a run starts.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic, register_jitable

from segbench.kernels._jit import I4, I8, U1, U2, kernel, ro, rw

BLOCK = 64
"""Bytes compared at once: two AVX2 registers, or one of AVX-512."""

SLOTS = 256
"""Entries of the table that remembers where ids were found."""

FEW = 64
"""So many ids are searched one after the other; more must be ascending."""


def _vector_operations():
    """Comparison of `BLOCK` unaligned bytes, which Numba has no spelling for."""
    word = ir.IntType(64)
    vector = ir.VectorType(ir.IntType(8), BLOCK)

    def load(context, builder, array_type, array, at):
        data = context.make_array(array_type)(context, builder, array).data
        value = builder.load(builder.bitcast(builder.gep(data, [at]), vector.as_pointer()))
        value.align = 1
        return value

    @intrinsic
    def changes(typing, values, at, step):
        def generate(context, builder, signature, args):
            kind = signature.args[0]
            here = load(context, builder, kind, args[0], args[1])
            before = load(context, builder, kind, args[0], builder.sub(args[1], args[2]))
            return builder.bitcast(builder.icmp_unsigned("!=", here, before), word)

        return types.int64(values, types.int64, types.int64), generate

    @intrinsic
    def first_bit(typing, bits):
        def generate(context, builder, signature, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate

    @intrinsic
    def eight_bytes(typing, values, at):
        def generate(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            value = builder.load(builder.bitcast(builder.gep(data, [args[1]]), word.as_pointer()))
            value.align = 1
            return value

        return types.int64(values, types.int64), generate

    return changes, first_bit, eight_bytes


def _plain_operations():
    """The same, and what they mean, for runs without the compiler."""

    def changes(values, at, step):
        differing = values[at : at + BLOCK] != values[at - step : at - step + BLOCK]
        return sum(1 << int(bit) for bit in np.flatnonzero(differing))

    def first_bit(bits):
        return (bits & -bits).bit_length() - 1

    def eight_bytes(values, at):
        return int.from_bytes(values[at : at + 8].tobytes(), "little", signed=True)

    return changes, first_bit, eight_bytes


_changes, _first_bit, _eight_bytes = _plain_operations() if config.DISABLE_JIT else _vector_operations()  # type: ignore[attr-defined]


@register_jitable
def _value(values, at, step, mask):
    if at + 8 <= len(values):
        return _eight_bytes(values, at) & mask
    value = I8(values[at])
    for k in range(1, step):
        value |= I8(values[at + k]) << (8 * k)
    return value


@register_jitable
def _mask(step):
    return (I8(1) << (8 * step)) - 1 if step < 8 else I8(-1)


@register_jitable
def _pixel(at, step):
    return at // 3 if step == 3 else at // step  # division by a constant is a multiplication


@register_jitable
def _slot(value):
    return (value ^ (value >> 8) ^ (value >> 16)) & (SLOTS - 1)


@register_jitable
def _find(ids, value):
    """The position of a value among ids, which are ascending where there are more than `FEW`; their number for nothing found."""
    if len(ids) <= FEW:
        for at in range(len(ids)):
            if ids[at] == value:
                return at
        return len(ids)
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) >> 1
        if ids[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ids) and ids[low] == value else len(ids)


@register_jitable
def _run_end(values, at, step):
    """Where the run of equal pixels that begins at a byte ends."""
    at += step
    while at + BLOCK <= len(values):
        bits = _changes(values, at, step)
        if bits != 0:
            return (at + _first_bit(bits)) // step * step
        at += BLOCK
    while at < len(values) and values[at] == values[at - step]:
        at += 1
    return at // step * step


@kernel(types.void(ro(U1), ro(U1), I8, ro(I8), ro(I8), ro(I8), ro(I8), rw(I8, 3), rw(I8, 2)))
def count_segment_pairs(gt, pred, step, gt_ids, pred_ids, gt_rows, pred_rows, seen, table):
    """Counts how many pixels each pair of segments shares.

    Args:
        gt, pred: uint8[N * step], the bytes of both maps.
        step: Bytes per pixel, 1 to 8.
        gt_ids, pred_ids: int64[G] and int64[P]: the ids to count; ascending where there are more than `FEW`.
        gt_rows, pred_rows: int64[G + 1 or more] and int64[P + 1 or more]: the row or column of each id; behind them, that of ids that are
            not in the lists.
        seen: int64[2, SLOTS, 2], zero: where ids of either side were found, so that few are searched.
        table: int64, added to.
    """
    size = len(gt)
    if size == 0:
        return
    mask = _mask(step)
    start, at = 0, step
    g, p = gt_rows[_find(gt_ids, _value(gt, 0, step, mask))], pred_rows[_find(pred_ids, _value(pred, 0, step, mask))]
    while True:
        # the next byte at which either map changes
        bits = I8(0)
        while at + BLOCK <= size:
            bits = _changes(gt, at, step) | _changes(pred, at, step)
            if bits != 0:
                break
            at += BLOCK
        if bits != 0:
            at += _first_bit(bits)
        else:
            while at < size and gt[at] == gt[at - step] and pred[at] == pred[at - step]:
                at += 1
        pixel = _pixel(at, step)
        table[g, p] += pixel - start
        if at >= size:
            return
        start = pixel
        at = pixel * step
        value = _value(gt, at, step, mask)
        slot = _slot(value)
        if seen[0, slot, 1] == 0 or seen[0, slot, 0] != value:
            seen[0, slot, 0], seen[0, slot, 1] = value, 1 + gt_rows[_find(gt_ids, value)]
        g = seen[0, slot, 1] - 1
        value = _value(pred, at, step, mask)
        slot = _slot(value)
        if seen[1, slot, 1] == 0 or seen[1, slot, 0] != value:
            seen[1, slot, 0], seen[1, slot, 1] = value, 1 + pred_rows[_find(pred_ids, value)]
        p = seen[1, slot, 1] - 1
        at += step


@kernel(I8(ro(U1), I8, rw(I8)))
def run_values(values, step, found):
    """The id of every run of equal pixels of one map.

    Args:
        values: uint8[N * step].
        step: Bytes per pixel, 1 to 8.
        found: int64[N], filled from the front.

    Returns:
        How many runs there are.
    """
    size, count, at, mask = len(values), 0, 0, _mask(step)
    while at < size:
        found[count] = _value(values, at, step, mask)
        count += 1
        at = _run_end(values, at, step)
    return count


@kernel(types.void(ro(U1), I8, ro(I8), ro(U2), rw(U2)))
def index_segments(values, step, ids, indices, found):
    """The index of every pixel's segment.

    Args:
        values: uint8[N * step].
        step: Bytes per pixel, 1 to 8.
        ids: int64[S]; ascending where there are more than `FEW`.
        indices: uint16[S + 1]: what to write for each listed id, and behind them for one that is not.
        found: uint16[N], written.
    """
    size, at, mask = len(values), 0, _mask(step)
    while at < size:
        index = indices[_find(ids, _value(values, at, step, mask))]
        end = _run_end(values, at, step)
        for pixel in range(at // step, end // step):
            found[pixel] = index
        at = end


@kernel(types.void(ro(U1), I8, I8, I8, rw(I4)))
def pack_bytes(values, first_shift, second_shift, third_shift, packed):
    """Three bytes per pixel to one integer: `first << first_shift | second << second_shift | third << third_shift`.

    Args:
        values: uint8[3 * N].
        packed: int32[N], written.
    """
    for i in range(len(packed)):
        first, second, third = I4(values[3 * i]), I4(values[3 * i + 1]), I4(values[3 * i + 2])
        packed[i] = (first << first_shift) | (second << second_shift) | (third << third_shift)
