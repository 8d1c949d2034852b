"""COCO's JSON from its bytes straight into columns: detections of a results file, numbers of polygons. No object is made of any of them.

Only the plain form is read: an array of objects with whole-number `image_id` and `category_id`, a number `score`, and a `segmentation`
with a counts string, or none; further keys are skipped. Anything else ends the scan, and the file is decoded the slow way, which also
tells what is wrong with it.
"""

from __future__ import annotations

import numpy as np
from numba import types

from segbench.kernels._jit import I4, I8, U1, U8, kernel, ro, rw

MAX_PARTS_BITS = 10
"""Polygons of one mask, as a power of two."""

MORE, DONE, UNUSUAL, FULL = 0, 1, 2, 3
"""Why a scan ended: at the end of the bytes, at the end of the array, at something that is not the plain form, with full columns."""

_LEAST, _MOST = -60, 38


def _powers() -> np.ndarray:
    """The leading 128 bits of 5^q, as the two halves of each, for the decimal exponents that are converted here."""
    halves = []
    for exponent in range(_LEAST, _MOST + 1):
        power = 5 ** abs(exponent)
        if exponent >= 0:
            value = power << 128 >> power.bit_length()
        else:
            bits = power.bit_length() if power & (power - 1) else power.bit_length() - 1
            value = (1 << (bits + 127 if exponent >= -27 else 2 * bits + 128)) // power + 1
            value >>= max(0, value.bit_length() - 128)
        halves.append((value >> 64, value & (2**64 - 1)))
    return np.array(halves, np.uint64)


_POWERS = _powers()
_LOW = 0xFFFFFFFF
_ONE, _TWO = np.uint64(1), np.uint64(2)
"""Steps of byte positions, which are unsigned: a signed index costs a test for being negative at every byte."""


def _word(text: bytes) -> tuple[int, int]:
    """The last eight bytes of a key as a number, and those before."""
    return int.from_bytes(text[-8:], "big"), int.from_bytes(text[:-8], "big")


OTHER, COUNTS, SEGMENTATION, IMAGE, CATEGORY, SCORE, BBOX, SIZE = range(8)
_IMAGE, _ = _word(b"image_id")
_CATEGORY, _CATEGORY_REST = _word(b"category_id")
_SCORE, _ = _word(b"score")
_BBOX, _ = _word(b"bbox")
_SEGMENTATION, _SEGMENTATION_REST = _word(b"segmentation")
_SIZE, _ = _word(b"size")
_COUNTS, _ = _word(b"counts")
_OBJECT, _KEY, _COLON, _VALUE, _NUMBER, _NUMBERS, _NEXT = range(7)
_ROW = 1 << IMAGE | 1 << CATEGORY | 1 << SCORE
_MASK = 1 << SIZE | 1 << COUNTS


@kernel(U8(U8, U8))
def high_product(a, b):
    """The upper 64 bits of a product."""
    a_low, a_high = a & U8(_LOW), a >> U8(32)
    b_low, b_high = b & U8(_LOW), b >> U8(32)
    middle = a_high * b_low + ((a_low * b_low) >> U8(32))
    cross = a_low * b_high + (middle & U8(_LOW))
    return a_high * b_high + (middle >> U8(32)) + (cross >> U8(32))


@kernel(I8(U8, I8))
def float_bits(digits, exponent):
    """The bits of the float64 next to digits * 10^exponent, or -1 where this does not tell.

    Source: Lemire, Number Parsing at a Gigabyte per Second, 2021.
    """
    if digits == 0:
        return 0
    if exponent < _LEAST or exponent > _MOST:
        return -1
    shift = 0
    while not digits >> U8(63):
        step = 1
        if not digits >> U8(32):
            step = 32
        elif not digits >> U8(48):
            step = 16
        elif not digits >> U8(56):
            step = 8
        digits <<= U8(step)
        shift += step
    upper_power = _POWERS[exponent - _LEAST, 0]
    upper = high_product(digits, upper_power)
    lower = digits * upper_power
    if upper & U8(0x1FF) == U8(0x1FF):
        further = high_product(digits, _POWERS[exponent - _LEAST, 1])
        lower += further
        if further > lower:
            upper += U8(1)
    if lower == U8(0xFFFFFFFFFFFFFFFF) and exponent < -27:
        return -1
    top = upper >> U8(63)
    mantissa = upper >> (top + U8(9))
    power = ((217706 * exponent) >> 16) + 63 + I8(top) - shift + 1023
    if power <= 0 or power >= 2046:
        return -1
    if lower <= U8(1) and exponent >= -4 and exponent <= 23 and mantissa & U8(3) == U8(1) and mantissa << (top + U8(9)) == upper:
        mantissa &= ~U8(1)  # exactly between two floats: to the even one
    mantissa += mantissa & U8(1)
    mantissa >>= U8(1)
    if mantissa >= U8(1 << 53):
        mantissa = U8(1 << 52)
        power += 1
    return I8(mantissa & U8((1 << 52) - 1)) | (power << 52)


@kernel(types.void(ro(U1), I8, I8, rw(I8, 2), rw(I8), rw(I8, 2), rw(I4, 2), rw(U1), rw(I8), rw(I8)))
def scan_rows(data, start, end, ids, scores, boxes, sizes, text, ends, state):
    """Reads detections from `data[start:end]`, which begins in an array before an object or behind it.

    One loop over the tokens of objects and of the masks in them; kernels that take arrays are not called, since each call costs more than
    a token does.

    Args:
        data: uint8[B].
        ids: int64[M, 2], out: image and category id.
        scores: int64[M], out: the bits of the float64.
        boxes: int64[M, 4], out: likewise; preset to NaN, stays so where there is none.
        sizes: int32[M, 2], out: height and width of the mask; -1 where there is no mask.
        text: uint8[B'], out: all counts strings.
        ends: int64[M], out: where the row's counts string ends in `text`.
        state: int64[4]: rows and bytes of `text` so far (also in), where to go on, why the scan ended (in: 1 behind an object, else 0).
    """
    row = state[0]
    used = state[1]
    behind = state[3] != 0
    state[3] = MORE
    at = U8(start)
    stop = U8(end)
    expected = _OBJECT
    key = OTHER
    seen = 0
    in_mask = False
    comma = False
    count = 0
    number = 0
    state[2] = start
    while True:
        while at < stop and data[at] <= 32:
            at += _ONE
        if at >= stop:
            return
        byte = data[at]

        if expected == _OBJECT:
            if byte == 93 and not comma:
                state[2] = I8(at)
                state[3] = DONE
                return
            if behind and byte == 44:
                behind = False
                comma = True
                at += _ONE
                continue
            if behind or byte != 123:
                state[3] = UNUSUAL
                return
            if row >= len(scores):
                state[3] = FULL
                return
            at += _ONE
            comma = False
            seen = 0
            sizes[row, 0] = -1
            sizes[row, 1] = -1
            ends[row] = used
            expected = _KEY

        elif expected == _KEY:
            if byte != 34:
                return
            at += _ONE
            first = at
            one = 0
            two = 0
            while at < stop and data[at] != 34 and data[at] != 92:
                two = (two << 8 | (one >> 56)) & 0xFFFFFFFFFFFFFF
                one = (one & 0xFFFFFFFFFFFFFF) << 8 | I8(data[at])
                at += _ONE
            if at >= stop or data[at] == 92:
                return
            length = I8(at - first)
            at += _ONE
            key = OTHER
            if in_mask:
                if length == 4 and one == _SIZE:
                    key = SIZE
                elif length == 6 and one == _COUNTS:
                    key = COUNTS
            elif length == 8 and one == _IMAGE:
                key = IMAGE
            elif length == 11 and one == _CATEGORY and two == _CATEGORY_REST:
                key = CATEGORY
            elif length == 5 and one == _SCORE:
                key = SCORE
            elif length == 4 and one == _BBOX:
                key = BBOX
            elif length == 12 and one == _SEGMENTATION and two == _SEGMENTATION_REST:
                key = SEGMENTATION
            expected = _COLON

        elif expected == _COLON:
            if byte != 58:
                return
            at += _ONE
            expected = _VALUE

        elif expected == _VALUE:
            if key != OTHER and key != COUNTS and key < IMAGE and byte != 123:
                return
            seen_before = seen & (1 << key)
            seen |= 1 << key
            expected = _NEXT
            if key >= IMAGE:
                count = 4 if key == BBOX else 2 if key == SIZE else 1
                number = 0
                expected = _NUMBER
                if count > 1:
                    if byte != 91:
                        return
                    at += _ONE
            elif key == SEGMENTATION:
                if seen_before:
                    return
                in_mask = True
                at += _ONE
                expected = _KEY
            elif key == COUNTS:
                if byte != 34 or seen_before:
                    return
                at += _ONE
                first = at
                while at < stop and data[at] != 34 and data[at] != 92:
                    at += _ONE
                fill = used
                if I8(at - first) > len(text) - fill:
                    return
                for position in range(first, at):
                    text[U8(fill) + position - first] = data[position]
                fill += I8(at - first)
                while at < stop and data[at] != 34:
                    if fill >= len(text):
                        return
                    if data[at] == 92:
                        at += _ONE  # the only escape a counts string needs is that of the backslash itself
                        if at >= stop or data[at] != 92:
                            return
                    text[fill] = data[at]
                    fill += 1
                    at += _ONE
                if at >= stop:
                    return
                ends[row] = fill
                at += _ONE
            else:
                depth = 0
                while at < stop:
                    byte = data[at]
                    if byte == 34:
                        at += _ONE
                        while at < stop and data[at] != 34:
                            at += _TWO if data[at] == 92 else _ONE
                    elif byte == 123 or byte == 91:
                        depth += 1
                    elif byte == 125 or byte == 93:
                        if depth == 0:
                            break
                        depth -= 1
                    elif byte == 44 and depth == 0:
                        break
                    at += _ONE

        elif expected == _NUMBER:
            negative = byte == 45
            if negative:
                at += _ONE
            digits = U8(0)
            significant = 0
            exponent = 0
            whole = True
            for part in range(2):  # before and behind the point
                first = at
                while at < stop and data[at] >= 48 and data[at] <= 57:
                    digits = digits * U8(10) + U8(data[at] - 48)
                    significant += digits > 0
                    at += _ONE
                if at == first or at >= stop:
                    return
                if part == 0:
                    if data[first] == 48 and at > first + _ONE:
                        return
                    if data[at] != 46:
                        break
                    whole = False
                    at += _ONE
                else:
                    exponent = I8(first) - I8(at)
            if data[at] == 101 or data[at] == 69:
                whole = False
                at += _ONE
                minus = at < stop and data[at] == 45
                if at < stop and (data[at] == 45 or data[at] == 43):
                    at += _ONE
                first = at
                power = 0
                while at < stop and data[at] >= 48 and data[at] <= 57 and power < 10000:
                    power = power * 10 + I8(data[at]) - 48
                    at += _ONE
                if at == first or at >= stop:
                    return
                exponent += -power if minus else power
            if significant > 19:
                return
            if key == SCORE or key == BBOX:  # noqa: SIM109 - "in" compiles another function
                bits = float_bits(digits, exponent)
                if bits < 0:
                    return
                if negative:
                    bits |= -9223372036854775808
                if key == SCORE:
                    scores[row] = bits
                else:
                    boxes[row, number] = bits
            elif not whole or significant > 18:
                return
            elif key == SIZE:
                if negative or digits > U8(2147483647):
                    return
                sizes[row, number] = I8(digits)
            else:
                ids[row, key - IMAGE] = -I8(digits) if negative else I8(digits)
            number += 1
            expected = _NUMBERS if count > 1 else _NEXT

        elif expected == _NUMBERS:
            if byte != (93 if number == count else 44):
                return
            at += _ONE
            expected = _NEXT if number == count else _NUMBER

        elif byte == 44:
            at += _ONE
            expected = _KEY
        elif byte != 125:
            return
        elif in_mask:
            if seen & _MASK != _MASK:
                return
            in_mask = False
            at += _ONE
        else:
            if seen & _ROW != _ROW:
                return
            at += _ONE
            used = ends[row]
            row += 1
            behind = True
            expected = _OBJECT
            state[0] = row
            state[1] = used
            state[2] = I8(at)


@kernel(I8(ro(U1), ro(I8), ro(I8), rw(I8), rw(I8), rw(I8), rw(I8), rw(U1)))
def read_polygons(text, starts, stops, points, ends, masks, parts, status):
    """Numbers of polygons out of JSON that is known to be valid.

    Args:
        text: uint8[B], all pieces of JSON. starts, stops: int64[M], the bytes of each: a list of lists of numbers.
        points: int64[N], out: the bits of the float64; N at least half the bytes plus one per mask.
        ends: int64[P], out: where each polygon ends in `points`; P at least N / 6. masks: int64[P], parts: int64[P], out: which mask
            it is a part of, and which part.
        status: uint8[M], out: 1 where a mask is written in another way, or is none that can be drawn; it then has no polygons here.

    Returns:
        How many polygons there are.
    """
    used = U8(0)
    count = 0
    for row in range(len(starts)):
        at = U8(starts[row])
        stop = U8(stops[row])
        before = used
        polygons = count
        first = used
        depth = 0
        good = False
        while at < stop:
            byte = text[at]
            at += _ONE
            if byte == 44 or byte <= 32:
                continue
            if byte == 91 and depth < 2:
                depth += 1
                first = used
            elif byte == 93 and depth == 2:
                size = used - first
                part = count - polygons
                if size < 6 or size & _ONE or part >> MAX_PARTS_BITS:
                    break
                ends[count] = I8(used)
                masks[count] = row
                parts[count] = part
                count += 1
                depth = 1
            elif byte == 93:
                good = count > polygons
                break
            elif depth < 2:
                break
            else:
                digits = U8(byte - 48) if byte != 45 else U8(0)
                point = U8(0)
                length = at
                while at < stop and (text[at] == 46 or (text[at] >= 48 and text[at] <= 57)):
                    if text[at] == 46:
                        point = at
                    else:
                        digits = digits * U8(10) + U8(text[at] - 48)
                    at += _ONE
                length = at - length
                fraction = at - point - _ONE if point else U8(0)
                bits = float_bits(digits, -I8(fraction))
                # text that is no number, such as null, ends here like a number with too many digits or an exponent
                if length > 18 or bits < 0 or (byte != 45 and (byte < 48 or byte > 57)) or (at < stop and text[at] > 93):
                    break
                if at < stop and text[at] == 69:
                    break
                points[used] = bits | (-9223372036854775808 if byte == 45 else 0)
                used += _ONE
        if not good:
            used = before
            count = polygons
        status[row] = 0 if good else 1
    return count
