"""COCO's JSON from its bytes straight into columns: rows of a results file, numbers of polygons. No object is made of any of them.

The rows of a file are written by one line of code, so what stands between their values is the same in each. A template says what that is,
and what values there are; a row that does not fit it ends the scan.
"""

from __future__ import annotations

import numpy as np
from numba import types

from segbench.kernels._jit import F8, I8, U1, U8, kernel, ro, rw

MAX_PARTS_BITS = 10
"""Polygons of one mask, as a power of two."""

MORE, DONE, UNUSUAL, FULL = 0, 1, 2, 3
"""Why a scan ended: at the end of the bytes, at the end of the array, at something that is not the plain form, with full columns."""

INTEGER, NUMBER, TEXT, STRING, NESTED = range(5)
"""Values of a template: a whole number, any number, a counts string, another string, a list or an object of any form."""

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
_ONE = np.uint64(1)
"""Step of byte positions, which are unsigned: a signed index costs a test for being negative at every byte."""
_TENS = 10.0 ** np.arange(23)
"""Powers that are exact floats: the quotient of an exact float and one of them is the float next to the number."""


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


@kernel(types.void(ro(U1), I8, ro(U1), ro(I8), ro(I8), ro(I8), ro(I8), rw(I8), rw(U1), rw(I8), rw(I8)))
def scan_rows(data, stop, words, word_ends, kinds, bases, steps, values, text, ends, state):
    """Reads rows of an array of objects that fit a template.

    Args:
        data: uint8[B]; `data[stop:]` begins with two zeros, or the array ends before it and is valid JSON.
        words: uint8[W], what stands before each value and behind the last one; no zeros. word_ends: int64[F + 2], from 0 on.
        kinds: int64[F], of `INTEGER` to `NESTED`.
        bases, steps: int64[F]: value f of row r goes to `values[bases[f] + r * steps[f]]`: the integer, the bits of the float64, or where
            what is nested starts, and behind it where it stops.
        values: int64[V], out.
        text: uint8[B'], out: all counts strings; as long as the file.
        ends: int64[M], out: where the row's counts string ends in `text`; M rows fit.
        state: int64[4]: rows and bytes of `text` so far, where to begin, 1 behind a row, else 0; out: also where to go on, and why the scan
            ended.
    """
    row = state[0]
    used = state[1]
    at = U8(state[2])
    behind = state[3] != 0
    limit = U8(stop)
    state[3] = MORE
    good = True
    while good:
        state[0] = row
        state[1] = used
        state[2] = I8(at)
        while at < limit and data[at] <= 32:
            at += _ONE
        if behind:
            if at < limit and data[at] == 93:
                state[2] = I8(at)
                state[3] = DONE
                return
            if at >= limit or data[at] != 44:
                break
            at += _ONE
            while at < limit and data[at] <= 32:
                at += _ONE
        if row >= len(ends):
            state[3] = FULL
            return
        fill = U8(used)
        for value in range(len(word_ends) - 1):
            for place in range(word_ends[value], word_ends[value + 1]):
                if data[at] != words[place]:
                    good = False
                    break
                at += _ONE
            if not good or value == len(kinds):
                break
            kind = kinds[value]
            target = bases[value] + row * steps[value]
            byte = data[at]
            if kind == TEXT:
                while byte >= 48 or byte == 92:
                    if byte == 92:
                        at += _ONE  # the only escape a counts string needs is that of the backslash itself
                        if data[at] != 92:
                            break
                    text[fill] = byte
                    fill += _ONE
                    at += _ONE
                    byte = data[at]
            elif kind >= STRING:
                values[target] = I8(at)
                depth = 0 if kind == NESTED else 1
                quoted = kind == STRING
                while at < limit:
                    byte = data[at]
                    if byte == 34:
                        if quoted and kind == STRING:
                            break
                        quoted = not quoted
                    elif quoted:
                        if byte == 92:
                            at += _ONE
                        elif byte < 32:
                            break
                    elif byte == 91 or byte == 123:
                        depth += 1
                    elif byte == 93 or byte == 125:
                        depth -= 1
                    at += _ONE
                    if depth == 0 and not quoted:
                        break
                values[target + 1] = I8(at)
            else:
                negative = byte == 45
                if negative:
                    at += _ONE
                digits = U8(0)
                significant = 0
                exponent = 0
                first = at
                good = data[at] != 48 or data[at + _ONE] < 48 or data[at + _ONE] > 57
                while data[at] >= 48 and data[at] <= 57:
                    digits = digits * U8(10) + U8(data[at] - 48)
                    significant += digits > 0
                    at += _ONE
                good &= at > first
                if kind == NUMBER:
                    if data[at] == 46:
                        at += _ONE
                        first = at
                        while data[at] >= 48 and data[at] <= 57:
                            digits = digits * U8(10) + U8(data[at] - 48)
                            significant += digits > 0
                            at += _ONE
                        exponent = I8(first) - I8(at)
                        good &= exponent < 0
                    if data[at] == 101 or data[at] == 69:
                        at += _ONE
                        minus = data[at] == 45
                        if minus or data[at] == 43:
                            at += _ONE
                        first = at
                        power = 0
                        while data[at] >= 48 and data[at] <= 57 and power < 10000:
                            power = power * 10 + I8(data[at]) - 48
                            at += _ONE
                        good &= at > first
                        exponent += -power if minus else power
                    good &= significant <= 19
                    if digits <= U8(1 << 53) and exponent <= 0 and exponent >= -22:
                        bits = np.float64(F8(I8(digits)) / _TENS[-exponent]).view(np.int64)
                    else:
                        bits = float_bits(digits, exponent)
                        good &= bits >= 0
                    if negative:
                        bits |= -9223372036854775808
                    values[target] = bits
                else:
                    good &= significant <= 18
                    values[target] = -I8(digits) if negative else I8(digits)
        if good:
            used = I8(fill)
            ends[row] = used
            row += 1
            behind = True
    if at < limit:
        state[3] = UNUSUAL


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
                if digits <= U8(1 << 53) and fraction <= U8(22):
                    bits = np.float64(F8(I8(digits)) / _TENS[fraction]).view(np.int64)
                else:
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
