"""Reading run-length masks: counts strings to foreground spans, areas and boxes, with every check that keeps a bad string from harm."""

from __future__ import annotations

import numpy as np

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw

OK, BAD_CHARACTER, TRUNCATED, NEGATIVE_RUN, WRONG_TOTAL = 0, 1, 2, 3, 4
_WRAP = 4294967296
_ONE, _TWO = np.uint64(1), np.uint64(2)
"""Positions are unsigned: a signed index costs a test for being negative at every access."""


@kernel(I8(ro(U1), ro(I8), ro(I8), ro(I4, 2), rw(I4), rw(I8), rw(I8), rw(F8, 2), rw(U1)))
def decode_counts(text, starts, stops, sizes, spans, offsets, areas, boxes, status):
    """Compressed counts strings to spans.

    A string holds the lengths of runs down the columns, background first: groups of five bits in characters 48 to 111, the sixth bit means
    that more follow, the last group's top bit is the sign; from the fourth run on the value is the difference to the run before the last.

    Args:
        text: uint8[B], all strings.
        starts, stops: int64[M], the bytes of each.
        sizes: int32[M, 2], height and width.
        spans: int32[2 R], out, start and stop in turn; R at least half the characters plus one per mask.
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
        bad = OK
        while at < stop:
            while run > 2 and run & 1 == 0 and at + _ONE < stop:
                # two runs of one character each, the fifth bit of which is the sign: the usual case
                group = I8(text[at]) - 48
                value = I8(text[at + _ONE]) - 48
                if (group | value) & ~31:
                    break
                group = before_last + (group ^ 16) - 16
                value = before + (value ^ 16) - 16
                start = position + group
                if group < 0 or value <= 0 or value > total - start:
                    break
                before_last = group
                before = value
                at += _TWO
                run += 2
                position = start + value
                spans[used] = start
                spans[used + _ONE] = position
                used += _TWO
            if at >= stop:
                break
            group = I8(text[at]) - 48
            at += _ONE
            value = (group ^ 16) - 16
            if group & ~31:
                value = 0
                shift = 0
                while True:
                    if group & ~63:
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
            if U8(value) > U8(total - position):  # a negative one is the largest of all
                bad = NEGATIVE_RUN if value < 0 else WRONG_TOTAL
                break
            start = position
            position += value
            if run & 1 or value == 0:
                continue
            spans[used] = start
            spans[used + _ONE] = position
            used += _TWO
        if bad == OK and position != total:
            bad = WRONG_TOTAL
        if bad:
            used = first
            run = 0
        area = 0
        base = 0
        top = height
        bottom = 0
        for span in range(first, used, _TWO):
            start = I8(spans[span])
            end = I8(spans[span + _ONE])
            area += end - start
            if start - base >= height:
                base += height  # the next column: the usual case, without a division
                if start - base >= height:
                    base = start // height * height
            if end - base <= height:
                top = min(top, start - base)
                bottom = max(bottom, end - 1 - base)
            else:
                top = 0
                bottom = height - 1
        left = I8(sizes[mask, 1])
        right = 0
        if used > first:
            left = spans[first] // height
            right = (spans[used - _ONE] - 1) // height
        if run < 2:
            left = 0
            top = 0
            right = -1
            bottom = -1
        boxes[mask, 0] = left
        boxes[mask, 1] = top
        boxes[mask, 2] = (right - left + 1) % _WRAP
        boxes[mask, 3] = (bottom - top + 1) % _WRAP
        areas[mask] = area
        status[mask] = bad
        offsets[mask + 1] = I8(used >> _ONE)
    return I8(used >> _ONE)
