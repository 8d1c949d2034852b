"""Undoing PNG's row filters, in place.

The residuals of a label map are nearly all zero, and a zero residual means "as the neighbour": 32 of them are undone at once. Which
neighbour that is follows exactly from the filter (a = left, b = above, c = above left, all residuals zero):

* Sub repeats the left pixel; Up copies the row above.
* Paeth, where a = c, predicts b; then the next pixel has a = c again, so the row above is copied as long as the residuals are zero.
* Paeth, where b = c, predicts a: over a stretch in which the row above is constant the left pixel is repeated.
* Average, where a = c and the row above is constant over the stretch, copies the row above.

Everything else goes byte by byte. The rows are moved together as they are undone: row y is read y + 1 bytes behind where it is written, so
one buffer does, which halves the memory touched; fresh pages cost more than the work itself.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic, register_jitable

from segbench.kernels._jit import I8, U1, kernel, rw

BLOCK = 32
"""Bytes undone at once: one AVX2 register."""

SPAN = 96
"""A multiple of `BLOCK` and of every pixel size: after so many repeated bytes a repeat is a copy from `SPAN` bytes before."""

CROWD = 8
"""After so many pixels in a row that no block could be undone from, a block is undone byte by byte."""

NONE, SUB, UP, AVERAGE, PAETH = range(5)


def _vector_operations():
    """Loads and stores of `BLOCK` bytes, which Numba has no spelling for."""
    vector = ir.VectorType(ir.IntType(8), BLOCK)

    def pointer(context, builder, signature, args, which):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.bitcast(builder.gep(array.data, [args[which]]), vector.as_pointer())

    def load(context, builder, signature, args, which):
        value = builder.load(pointer(context, builder, signature, args, which))
        value.align = 1
        return value

    def store(context, builder, signature, args, value):
        builder.store(value, pointer(context, builder, signature, args, 1)).align = 1
        return context.get_dummy_value()

    def nonzero_bits(builder, value):
        bits = builder.bitcast(builder.icmp_unsigned("!=", value, ir.Constant(vector, None)), ir.IntType(BLOCK))
        return builder.zext(bits, ir.IntType(64))

    @intrinsic
    def nonzeros(typing, buffer, at):
        def generate(context, builder, signature, args):
            return nonzero_bits(builder, load(context, builder, signature, args, 1))

        return types.int64(buffer, types.int64), generate

    @intrinsic
    def changes(typing, buffer, at, above, corner):
        def generate(context, builder, signature, args):
            residuals, up, before = (load(context, builder, signature, args, which) for which in (1, 2, 3))
            return nonzero_bits(builder, builder.or_(residuals, builder.xor(up, before)))

        return types.int64(buffer, types.int64, types.int64, types.int64), generate

    @intrinsic
    def first_bit(typing, bits):
        def generate(context, builder, signature, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate

    @intrinsic
    def copy(typing, buffer, to, source):
        def generate(context, builder, signature, args):
            return store(context, builder, signature, args, load(context, builder, signature, args, 2))

        return types.none(buffer, types.int64, types.int64), generate

    @intrinsic
    def add(typing, buffer, to, first, second):
        def generate(context, builder, signature, args):
            terms = (load(context, builder, signature, args, which) for which in (2, 3))
            return store(context, builder, signature, args, builder.add(*terms))

        return types.none(buffer, types.int64, types.int64, types.int64), generate

    @intrinsic
    def fill(typing, buffer, to, value):
        def generate(context, builder, signature, args):
            nothing = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(nothing, args[2], ir.Constant(ir.IntType(32), 0))
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
            return store(context, builder, signature, args, builder.shuffle_vector(first, nothing, lanes))

        return types.none(buffer, types.int64, types.uint8), generate

    @intrinsic
    def repeat_three(typing, buffer, to):
        def generate(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            pixel = ir.VectorType(ir.IntType(8), 4)
            place = builder.gep(array.data, [builder.sub(args[1], ir.Constant(ir.IntType(64), 3))])
            value = builder.load(builder.bitcast(place, pixel.as_pointer()))
            value.align = 1
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [lane % 3 for lane in range(BLOCK)])
            return store(context, builder, signature, args, builder.shuffle_vector(value, ir.Constant(pixel, ir.Undefined), lanes))

        return types.none(buffer, types.int64), generate

    return nonzeros, changes, first_bit, copy, add, fill, repeat_three


def _plain_operations():
    """The same, and what they mean, for runs without the compiler."""

    def nonzeros(buffer, at):
        return _bits(buffer[at : at + BLOCK] != 0)

    def changes(buffer, at, above, corner):
        return _bits((buffer[at : at + BLOCK] != 0) | (buffer[above : above + BLOCK] != buffer[corner : corner + BLOCK]))

    def first_bit(bits):
        return (bits & -bits).bit_length() - 1

    def copy(buffer, to, source):
        buffer[to : to + BLOCK] = buffer[source : source + BLOCK].copy()

    def add(buffer, to, first, second):
        buffer[to : to + BLOCK] = buffer[first : first + BLOCK] + buffer[second : second + BLOCK]

    def fill(buffer, to, value):
        buffer[to : to + BLOCK] = value

    def repeat_three(buffer, to):
        buffer[to : to + BLOCK] = np.resize(buffer[to - 3 : to], BLOCK)

    def _bits(flags):
        return sum(1 << int(at) for at in np.flatnonzero(flags))

    return nonzeros, changes, first_bit, copy, add, fill, repeat_three


_nonzeros, _changes, _first_bit, _copy, _add, _fill, _repeat_three = (
    _plain_operations() if config.DISABLE_JIT else _vector_operations()  # type: ignore[attr-defined]
)


@register_jitable
def _byte(value):
    return U1(value & 255)


@register_jitable
def _paeth(left, up, corner):
    if left == corner:
        return up
    if up == corner:
        return left
    by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner


@kernel(I8(rw(U1), I8, I8, I8))
def unfilter_rows(buffer, height, row_bytes, step):
    """Undoes the filters of all rows; the samples end up at the front of the buffer, without the filter bytes.

    Args:
        buffer: uint8[height * (row_bytes + 1)], each row a filter byte and its residuals. The caller has checked the length.
        height: Number of rows.
        row_bytes: Bytes of a row without its filter byte.
        step: Bytes per pixel, 1 to 8.

    Returns:
        0, or 1 + the first row whose filter does not exist; the buffer is then of no use.
    """
    for y in range(height):
        source, to = y * (row_bytes + 1) + 1, y * row_bytes
        above = to - row_bytes
        kind = I8(buffer[source - 1])
        if kind > PAETH:
            return y + 1
        if y == 0:  # the row above is all zero
            kind = NONE if kind == UP else SUB if kind == PAETH else kind
        at = 0
        if kind in (NONE, UP):
            while at + BLOCK <= row_bytes:
                if kind == NONE:
                    _copy(buffer, to + at, source + at)
                else:
                    _add(buffer, to + at, source + at, above + at)
                at += BLOCK
            for k in range(at, row_bytes):
                up = I8(buffer[above + k]) if kind == UP else I8(0)
                buffer[to + k] = _byte(I8(buffer[source + k]) + up)
            continue
        for k in range(step):
            up = I8(buffer[above + k]) if kind != SUB and y > 0 else I8(0)
            buffer[to + k] = _byte(I8(buffer[source + k]) + (up >> 1 if kind == AVERAGE else up))
        at = step
        last = row_bytes - BLOCK
        misses = 0
        while at < row_bytes:
            began = at
            copies = kind != SUB and y > 0
            if copies:
                for k in range(at - step, at):
                    copies = copies and buffer[to + k] == buffer[above + k]
            level = kind == AVERAGE or (kind == PAETH and not copies)
            if copies or kind != AVERAGE:
                start, left, bits = at, buffer[to + at - 1], I8(0)
                # The three loops that label maps spend their time in; the one after them does all cases, and the block that ends a stretch.
                if kind == SUB and step == 1:
                    while at <= last and _nonzeros(buffer, source + at) == 0:
                        _fill(buffer, to + at, left)
                        at += BLOCK
                elif kind == PAETH and copies:
                    while at <= last and _nonzeros(buffer, source + at) == 0:
                        _copy(buffer, to + at, above + at)
                        at += BLOCK
                elif kind == PAETH and step == 1:
                    while at <= last and _changes(buffer, source + at, above + at, above + at - 1) == 0:
                        _fill(buffer, to + at, left)
                        at += BLOCK
                while at <= last and bits == 0:
                    if level:
                        bits = _changes(buffer, source + at, above + at, above + at - step)
                    else:
                        bits = _nonzeros(buffer, source + at)
                    count = BLOCK if bits == 0 else _first_bit(bits)
                    # A block is written whole where that does not reach residuals still to be read, also past the end of the stretch.
                    # An RGB pixel is repeated by a shuffle until there is enough of it to copy: byte by byte each would wait for the last.
                    whole = bits == 0 or y >= BLOCK
                    if whole and copies:
                        _copy(buffer, to + at, above + at)
                    elif whole and step == 1:
                        _fill(buffer, to + at, left)
                    elif whole and at - start >= SPAN:
                        _copy(buffer, to + at, to + at - SPAN)
                    elif whole and step == 3:
                        _repeat_three(buffer, to + at)
                    else:
                        neighbour = row_bytes if copies else step
                        for k in range(to + at, to + at + count):
                            buffer[k] = buffer[k - neighbour]
                    at += count
            # Byte by byte: one pixel, more where residuals crowd, and all that is left of the row.
            misses = 0 if at > began else misses + 1
            end = row_bytes if at > last else at + (step if misses < CROWD else BLOCK)
            value = I8(buffer[to + at - 1])
            for k in range(at, end):
                near = value if step == 1 else I8(buffer[to + k - step])
                if kind == AVERAGE:
                    near = (near + (I8(buffer[above + k]) if y > 0 else I8(0))) >> 1
                elif kind == PAETH:
                    near = _paeth(near, I8(buffer[above + k]), I8(buffer[above + k - step]))
                value = (I8(buffer[source + k]) + near) & 255
                buffer[to + k] = U1(value)
            at = end
    return 0
