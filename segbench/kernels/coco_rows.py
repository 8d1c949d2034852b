"""Detections of a COCO results file from its bytes straight into columns: no object per detection is ever made.

Only the plain form is read: an array of objects with whole-number `image_id` and `category_id`, a number `score`, and a `segmentation`
with a counts string, or none; further keys are skipped. Anything else ends the scan, and the file is decoded the slow way, which also
tells what is wrong with it.
"""

from __future__ import annotations

import numpy as np
from numba import types

from segbench.kernels._jit import I4, I8, U1, U8, kernel, ro, rw

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
_BLOCK = 32


def _word(text: bytes) -> tuple[int, int]:
    """A key of up to 16 bytes as two numbers."""
    first = second = 0
    for at, byte in enumerate(text):
        if at < 8:
            first = first << 8 | byte
        else:
            second = second << 8 | byte
    return first, second


_IMAGE, _IMAGE_REST = _word(b"image_id")
_CATEGORY, _CATEGORY_REST = _word(b"category_id")
_SCORE, _ = _word(b"score")
_BBOX, _ = _word(b"bbox")
_SEGMENTATION, _SEGMENTATION_REST = _word(b"segmentation")
_SIZE, _ = _word(b"size")
_COUNTS, _ = _word(b"counts")


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


@kernel(I8(ro(U1), I8, I8))
def behind_space(data, at, stop):
    """The next byte that is no white space."""
    while at < stop and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@kernel(I8(ro(U1), I8, I8, rw(I8)))
def read_float(data, at, stop, bits):
    """Reads a JSON number into `bits[0]`; the byte behind it, or -1 where it is none, runs into `stop` or cannot be told exactly."""
    negative = at < stop and data[at] == 45
    if negative:
        at += 1
    first = at
    digits = U8(0)
    count = 0
    exponent = 0
    while at < stop and data[at] >= 48 and data[at] <= 57:
        digits = digits * U8(10) + U8(data[at] - 48)
        count += digits > 0
        at += 1
    if at == first or (data[first] == 48 and at > first + 1):
        return -1
    if at < stop and data[at] == 46:
        at += 1
        point = at
        while at < stop and data[at] >= 48 and data[at] <= 57:
            digits = digits * U8(10) + U8(data[at] - 48)
            count += digits > 0
            at += 1
        if at == point:
            return -1
        exponent = point - at
    if at < stop and (data[at] == 101 or data[at] == 69):
        at += 1
        minus = at < stop and data[at] == 45
        if at < stop and (data[at] == 45 or data[at] == 43):
            at += 1
        first = at
        power = 0
        while at < stop and data[at] >= 48 and data[at] <= 57 and power < 10000:
            power = power * 10 + I8(data[at]) - 48
            at += 1
        if at == first:
            return -1
        exponent += -power if minus else power
    if at >= stop or count > 19:
        return -1
    value = float_bits(digits, exponent)
    if value < 0:
        return -1
    bits[0] = value | (-9223372036854775808 if negative else 0)
    return at


@kernel(I8(ro(U1), I8, I8, rw(I8)))
def read_integer(data, at, stop, value):
    """Reads a JSON whole number into `value[0]`; the byte behind it, or -1."""
    negative = at < stop and data[at] == 45
    if negative:
        at += 1
    first = at
    total = 0
    while at < stop and data[at] >= 48 and data[at] <= 57:
        total = total * 10 + I8(data[at]) - 48
        at += 1
    if at == first or at - first > 18 or at >= stop or data[at] == 46 or data[at] == 101 or data[at] == 69:
        return -1
    if data[first] == 48 and at > first + 1:
        return -1
    value[0] = -total if negative else total
    return at


@kernel(I8(ro(U1), I8, I8))
def behind_string(data, at, stop):
    """The byte behind a string whose opening quote is at `at`, or -1."""
    at += 1
    while at < stop and data[at] != 34:
        at += 2 if data[at] == 92 else 1
    return at + 1 if at < stop else -1


@kernel(I8(ro(U1), I8, I8))
def behind_value(data, at, stop):
    """The byte behind any value, or -1; its inside is not checked beyond strings and brackets."""
    depth = 0
    while at < stop:
        byte = data[at]
        if byte == 34:
            at = behind_string(data, at, stop)
            if at < 0:
                return -1
            if depth == 0:
                return at
            continue
        if byte == 123 or byte == 91:
            depth += 1
        elif byte == 125 or byte == 93:
            if depth == 0:
                return at
            depth -= 1
            if depth == 0:
                return at + 1
        elif byte == 44 and depth == 0:
            return at
        at += 1
    return -1


@kernel(I8(ro(U1), I8, I8, rw(I8)))
def read_key(data, at, stop, word):
    """Reads a key and its colon; `word` becomes its two numbers and its length. The byte of the value, or -1."""
    if at >= stop or data[at] != 34:
        return -1
    at += 1
    first = at
    one = 0
    two = 0
    while at < stop and data[at] != 34 and data[at] != 92:
        if at - first < 8:
            one = one << 8 | I8(data[at])
        else:
            two = two << 8 | I8(data[at])
        at += 1
    if at >= stop or data[at] == 92:
        return -1
    word[0] = one
    word[1] = two
    word[2] = at - first
    at = behind_space(data, at + 1, stop)
    if at >= stop or data[at] != 58:
        return -1
    return behind_space(data, at + 1, stop)


@kernel(types.void(ro(U1), I8, I8, rw(I8, 2), rw(I8), rw(I8, 2), rw(I4, 2), rw(U1), rw(I8), rw(I8)))
def scan_rows(data, start, stop, ids, scores, boxes, sizes, text, ends, state):
    """Reads detections from `data[start:stop]`, which begins in an array before an object or behind it.

    Args:
        data: uint8[B].
        ids: int64[M, 2], out: image and category id.
        scores: int64[M], out: the bits of the float64.
        boxes: int64[M, 4], out: likewise; preset to NaN, stays so where there is none.
        sizes: int32[M, 2], out: height and width of the mask; -1 where there is no mask.
        text: uint8[B'], out: all counts strings.
        ends: int64[M], out: where the row's counts string ends in `text`.
        state: int64[8]: rows and bytes of `text` so far (both also in), where the next object begins, why it ended; the rest is scratch.
    """
    row = state[0]
    used = state[1]
    at = behind_space(data, start, stop)
    word = state[4:]
    while True:
        state[0] = row
        state[1] = used
        state[2] = at
        state[3] = MORE
        at = behind_space(data, at, stop)
        if at < stop and data[at] == 44:
            at = behind_space(data, at + 1, stop)
        if at >= stop:
            return
        if data[at] == 93:
            state[3] = DONE
            return
        if row >= len(scores):
            state[3] = FULL
            return
        if data[at] != 123:
            state[3] = UNUSUAL
            return
        seen = 0
        sizes[row, 0] = -1
        sizes[row, 1] = -1
        at += 1
        while True:
            at = behind_space(data, at, stop)
            at = read_key(data, at, stop, word)
            if at < 0 or at >= stop:
                return
            one = word[0]
            two = word[1]
            length = word[2]
            if length == 8 and one == _IMAGE:
                at = read_integer(data, at, stop, word)
                ids[row, 0] = word[0]
                seen |= 1
            elif length == 11 and one == _CATEGORY and two == _CATEGORY_REST:
                at = read_integer(data, at, stop, word)
                ids[row, 1] = word[0]
                seen |= 2
            elif length == 5 and one == _SCORE:
                at = read_float(data, at, stop, word)
                scores[row] = word[0]
                seen |= 4
            elif length == 4 and one == _BBOX:
                if data[at] != 91:
                    return
                for number in range(4):
                    at = behind_space(data, at + 1, stop)
                    at = read_float(data, at, stop, word)
                    if at < 0:
                        return
                    boxes[row, number] = word[0]
                    at = behind_space(data, at, stop)
                    if at >= stop or data[at] != (93 if number == 3 else 44):
                        return
                at += 1
            elif length == 12 and one == _SEGMENTATION and two == _SEGMENTATION_REST:
                if data[at] != 123 or sizes[row, 0] >= 0:
                    return
                at += 1
                parts = 0
                while True:
                    at = behind_space(data, at, stop)
                    at = read_key(data, at, stop, word)
                    if at < 0 or at >= stop:
                        return
                    if word[2] == 4 and word[0] == _SIZE:
                        if data[at] != 91:
                            return
                        for number in range(2):
                            at = behind_space(data, at + 1, stop)
                            at = read_integer(data, at, stop, word)
                            if at < 0 or word[0] < 0 or word[0] > 2147483647:
                                return
                            sizes[row, number] = word[0]
                            at = behind_space(data, at, stop)
                            if at >= stop or data[at] != (93 if number == 1 else 44):
                                return
                        at += 1
                        parts |= 1
                    elif word[2] == 6 and word[0] == _COUNTS:
                        if data[at] != 34 or parts & 2:
                            return
                        at += 1
                        fill = used
                        plain = True
                        while plain and at + _BLOCK <= stop and fill + _BLOCK <= len(text):
                            special = False
                            for byte in range(_BLOCK):  # whole blocks at once; what was copied too much is written over
                                text[fill + byte] = data[at + byte]
                                special |= (data[at + byte] == 34) | (data[at + byte] == 92)
                            plain = not special
                            if plain:
                                at += _BLOCK
                                fill += _BLOCK
                        while at < stop and data[at] != 34:
                            if fill >= len(text):
                                return
                            if data[at] == 92:
                                at += 1  # the only escape a counts string needs is that of the backslash itself
                                if at >= stop or data[at] != 92:
                                    return
                            text[fill] = data[at]
                            fill += 1
                            at += 1
                        if at >= stop:
                            return
                        ends[row] = fill
                        at += 1
                        parts |= 2
                    else:
                        at = behind_value(data, at, stop)
                    if at < 0:
                        return
                    at = behind_space(data, at, stop)
                    if at >= stop:
                        return
                    if data[at] == 125:
                        break
                    if data[at] != 44:
                        return
                    at += 1
                if parts != 3:
                    return
                at += 1
            else:
                at = behind_value(data, at, stop)
            if at < 0:
                return
            at = behind_space(data, at, stop)
            if at >= stop:
                return
            if data[at] == 125:
                break
            if data[at] != 44:
                return
            at += 1
        if seen != 7:
            return
        if sizes[row, 0] >= 0:
            used = ends[row]
        else:
            ends[row] = used
        row += 1
        at += 1
