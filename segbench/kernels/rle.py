"""Reading run-length masks: counts strings to foreground spans, areas and boxes, with every check that keeps a bad string from harm."""

from __future__ import annotations

import numpy as np

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw

OK, BAD_CHARACTER, TRUNCATED, NEGATIVE_RUN, WRONG_TOTAL = 0, 1, 2, 3, 4
_WRAP = 4294967296
_ZERO, _ONE = np.uint64(0), np.uint64(1)
"""Positions are unsigned: a signed index costs a test for being negative at every access."""


@kernel(I8(ro(U1), ro(I8), ro(I8), ro(I4, 2), rw(I4, 2), rw(I8), rw(I8), rw(F8, 2), rw(U1)))
def decode_counts(text, starts, stops, sizes, spans, offsets, areas, boxes, status):
    """Compressed counts strings to spans.

    A string holds the lengths of runs down the columns, background first: groups of five bits in characters 48 to 111, the sixth bit means
    that more follow, the last group's top bit is the sign; from the fourth run on the value is the difference to the run before the last.

    Args:
        text: uint8[B], all strings.
        starts, stops: int64[M], the bytes of each.
        sizes: int32[M, 2], height and width.
        spans: int32[R, 2], out; R at least half the characters plus one per mask.
        offsets: int64[M + 1], out.
        areas: int64[M], boxes: float64[M, 4], out; the box of an empty mask that spells out an empty run is odd as in the reference.
        status: uint8[M], out: OK or what is wrong; a bad mask has no spans.

    Returns:
        How many spans were written.
    """
    used = U8(0)
    offsets[0] = 0
    for mask in range(len(starts)):
        height = I8(sizes[mask, 0])
        total = height * I8(sizes[mask, 1])
        first = used
        at = U8(starts[mask])
        stop = U8(stops[mask])
        position = 0
        run = 0
        before = 0
        before_last = 0
        area = 0
        base = 0
        column = 0
        left = I8(sizes[mask, 1])
        top = height
        right = 0
        bottom = 0
        bad = OK
        while at < stop:
            group = I8(text[at]) - 48
            at += _ONE
            value = (group ^ 16) - 16  # the usual case: one character, its fifth bit the sign
            if group < 0 or group > 31:
                value = 0
                shift = 0
                while True:
                    if group < 0 or group > 63:
                        bad = BAD_CHARACTER
                        break
                    value |= (group & 31) << shift
                    shift += 5
                    if group < 32:
                        value |= -(group >> 4) << shift
                        break
                    if at >= stop:
                        bad = TRUNCATED
                        break
                    if shift > 35:
                        bad = WRONG_TOTAL
                        break
                    group = I8(text[at]) - 48
                    at += _ONE
                if bad:
                    break
            if run > 2:
                value += before_last
            before_last = before
            before = value
            run += 1
            if value < 0 or value > total - position:
                bad = NEGATIVE_RUN if value < 0 else WRONG_TOTAL
                break
            end = position + value
            if run & 1 or value == 0:
                position = end
                continue
            spans[used, _ZERO] = position
            spans[used, _ONE] = end
            used += _ONE
            area += value
            if position - base >= height:
                if position - base < 2 * height:  # the next column: the usual case, without a division
                    base += height
                    column += 1
                else:
                    column = position // height
                    base = column * height
            left = min(left, column)
            if end - base <= height:
                right = max(right, column)
                top = min(top, position - base)
                bottom = max(bottom, end - 1 - base)
            else:
                right = max(right, (end - 1) // height)
                top = 0
                bottom = height - 1
            position = end
        if bad == OK and position != total:
            bad = WRONG_TOTAL
        if bad:
            used = first
            area = 0
            run = 0
        if run < 2:
            boxes[mask, 0] = 0
            boxes[mask, 1] = 0
            boxes[mask, 2] = 0
            boxes[mask, 3] = 0
        else:
            boxes[mask, 0] = left
            boxes[mask, 1] = top
            boxes[mask, 2] = (right - left + 1) % _WRAP
            boxes[mask, 3] = (bottom - top + 1) % _WRAP
        areas[mask] = area
        status[mask] = bad
        offsets[mask + 1] = I8(used)
    return I8(used)
