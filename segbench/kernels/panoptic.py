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


MANY_SLOTS = 256
"""Hash tables beyond this size mix the bits well; with few ids, a bad hash costs less than a good one."""


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
def _slot(value, slots):
    """Where a value is in a hash table of values and rows, or could be put: an entry whose row is 0 is empty."""
    last = len(slots) - 1
    at = value ^ (value >> 8) ^ (value >> 16)
    if last >= MANY_SLOTS:
        at = ((at ^ (at >> 31)) & 0x7FFFFFFF) * 0x2C1B3C6D
        at ^= at >> 29
    at &= last
    while slots[at, 1] != 0 and slots[at, 0] != value:
        at = (at + 1) & last
    return at


@register_jitable
def _put(value, row, slots):
    """Remembers the row of a value, unless there is one."""
    at = _slot(value, slots)
    if slots[at, 1] == 0:
        slots[at, 0], slots[at, 1] = value, row


@register_jitable
def _as_read(value, mask):
    """An id as its bytes are read: without a sign. One that the bytes cannot hold stays as it is, and no pixel has it."""
    return value & mask if value < 0 else value


@register_jitable
def _put_listed(void, ids, mask, slots):
    _put(_as_read(void, mask), 1, slots)
    for i in range(len(ids)):
        _put(_as_read(ids[i], mask), i + 2, slots)


@register_jitable
def _row(value, slots, unlisted):
    row = slots[_slot(value, slots), 1]
    return row - 1 if row != 0 else unlisted


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


@kernel(types.boolean(ro(U1), ro(U1), I8, I8, I8, ro(I8), ro(I8), rw(I8, 3), rw(I8, 2), rw(I8), rw(I8)))
def count_segment_pairs(gt, pred, step, gt_void, pred_void, gt_ids, pred_ids, slots, table, gt_areas, pred_areas):
    """Counts how many pixels each pair of segments shares.

    Args:
        gt, pred: uint8[N * step], the bytes of both maps.
        step: Bytes per pixel, 1 to 8. Negative ids are those that so many bytes read as.
        gt_void, pred_void: What means no segment.
        gt_ids, pred_ids: int64[G] and int64[P], the segments.
        slots: int64[2, M, 2], zero; M a power of two, larger than the number of ids of either side.
        table: int64[G + 2, P + 2], zero. Row 0 is void, 1 to G are the segments, the last is for ids that are not listed; columns likewise.
        gt_areas, pred_areas: int64[G + 2] and int64[P + 2], zero: the sums of the rows and of the columns.

    Returns:
        Whether both maps hold every segment and no other id.
    """
    mask, unlisted, unlisted_pred = _mask(step), table.shape[0] - 1, table.shape[1] - 1
    _put_listed(gt_void, gt_ids, mask, slots[0])
    _put_listed(pred_void, pred_ids, mask, slots[1])
    size, at, pixel = len(gt), 0, 0
    while at < size:
        start = pixel
        g, p = _row(_value(gt, at, step, mask), slots[0], unlisted), _row(_value(pred, at, step, mask), slots[1], unlisted_pred)
        at += step  # to the next byte at which either map changes
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
        at = pixel * step
        table[g, p] += pixel - start
    for g in range(unlisted + 1):
        for p in range(unlisted_pred + 1):
            gt_areas[g] += table[g, p]
            pred_areas[p] += table[g, p]
    whole = gt_areas[unlisted] == 0 and pred_areas[unlisted_pred] == 0
    for g in range(1, unlisted):
        whole = whole and gt_areas[g] != 0
    for p in range(1, unlisted_pred):
        whole = whole and pred_areas[p] != 0
    return whole


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


@kernel(types.void(ro(U1), I8, I8, ro(I8), rw(I8, 2), ro(U2), rw(U2)))
def index_segments(values, step, void, ids, slots, indices, found):
    """The index of every pixel's segment.

    Args:
        values: uint8[N * step].
        step: Bytes per pixel, 1 to 8. Negative ids are those that so many bytes read as.
        void: What means no segment.
        ids: int64[S], the segments.
        slots: int64[M, 2], zero; M a power of two, larger than the number of ids.
        indices: uint16[S + 2]: what to write for void, for each segment, and for an id that is not listed.
        found: uint16[N], written.
    """
    size, at, mask = len(values), 0, _mask(step)
    _put_listed(void, ids, mask, slots)
    while at < size:
        index = indices[_row(_value(values, at, step, mask), slots, len(ids) + 1)]
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
