"""Polygons to spans of pixels, on the grid of fifths of a pixel on which pycocotools draws; sorting lies between the two kernels."""

from __future__ import annotations

from segbench.kernels._jit import F8, I4, I8, U1, kernel, ro, rw

PART_BITS, PIXEL_BITS = 10, 31


@kernel(I8(ro(F8), ro(I8), ro(I8), ro(I8), ro(I4, 2), rw(I8)))
def cross_columns(points, starts, masks, parts, sizes, keys):
    """Every crossing of an outline with the middle of a column, as pixel positions at which inside and outside change.

    Corners are rounded to fifths of a pixel, edges are walked on that grid, the step from 5 c + 2 to 5 c + 3 is the middle of column c,
    and the row is that of the upper of the two points.

    Args:
        points: float64[N], x and y in turn. starts: int64[P + 1], in numbers: polygon p is `points[starts[p]:starts[p + 1]]`.
        masks: int64[P], the mask it is a part of. parts: int64[P], which part, below 2^PART_BITS.
        sizes: int32[M, 2], height and width of each mask.
        keys: int64[K], out: mask, pixel and part in one number, in the order of the outlines; K at least the sum of |dx|
            in pixels, and two per edge.

    Returns:
        How many crossings there are.
    """
    used = 0
    for polygon in range(len(starts) - 1):
        mask = masks[polygon]
        height = I8(sizes[mask, 0])
        width = I8(sizes[mask, 1])
        base = mask << (PART_BITS + PIXEL_BITS) | parts[polygon]
        first = starts[polygon]
        count = (starts[polygon + 1] - first) >> 1
        for corner in range(count):
            a = first + 2 * corner
            b = first + 2 * ((corner + 1) % count)
            x0 = I8(5.0 * points[a] + 0.5)
            y0 = I8(5.0 * points[a + 1] + 0.5)
            x1 = I8(5.0 * points[b] + 0.5)
            y1 = I8(5.0 * points[b + 1] + 0.5)
            dx = abs(x1 - x0)
            dy = abs(y1 - y0)
            if dx == 0:
                continue
            at = max(min(x0, x1), 2)
            at += (7 - at % 5) % 5
            crossed = (min(max(x0, x1), 5 * width) - at + 4) // 5
            stride = 5
            if x0 > x1:  # in the direction of the outline, so that the keys come in long sorted runs
                stride = -5
                at += 5 * (crossed - 1)
            if (dx >= dy and x0 > x1) or (dx < dy and y0 > y1):
                x0, y0, x1, y1 = x1, y1, x0, y0
            slope = (y1 - y0) / dx if dx >= dy else (x1 - x0) / dy
            for _ in range(crossed):
                if dx >= dy:
                    step = at - x0
                    row = min(I8(y0 + slope * step + 0.5), I8(y0 + slope * (step + 1) + 0.5))
                else:
                    # the step at which x leaves `at`, upwards or downwards: estimated, then exact
                    step = I8((at + 0.5 - x0) / slope)
                    while (I8(x0 + slope * step + 0.5) > at) == (slope > 0):
                        step -= 1
                    while (I8(x0 + slope * (step + 1) + 0.5) > at) != (slope > 0):
                        step += 1
                    row = y0 + step
                column = (at - 2) // 5
                keys[used] = base | (column * height + min((max(row, 0) + 2) // 5, height)) << PART_BITS
                used += 1
                at += stride
    return used


@kernel(I8(ro(I8), ro(I4, 2), rw(U1), rw(I4, 2), rw(I8), rw(I8), rw(F8, 2)))
def fill_spans(keys, sizes, inside, spans, offsets, areas, boxes):
    """From sorted crossings to the spans of masks: pixels inside an odd number of times of any part.

    Args:
        keys: int64[K], of `cross_columns`, ascending.
        sizes: int32[M, 2], height and width.
        inside: uint8[2^PART_BITS], scratch, zeros.
        spans: int32[R, 2], out; R at least half the crossings plus one per mask. offsets: int64[M + 1], areas: int64[M], out.
        boxes: float64[M, 4], out: a span that runs over a column's end reaches from top to bottom.

    Returns:
        How many spans were written.
    """
    used = 0
    at = 0
    offsets[0] = 0
    for mask in range(len(sizes)):
        height = I8(sizes[mask, 0])
        total = height * I8(sizes[mask, 1])
        left = I8(sizes[mask, 1])
        top = height
        right = -1
        bottom = -1
        area = 0
        depth = 0
        start = 0
        first = at
        while True:
            more = at < len(keys) and keys[at] >> (PART_BITS + PIXEL_BITS) == mask
            if not more and depth == 0:
                break
            pixel = total
            before = depth
            if more:
                place = keys[at] >> PART_BITS
                pixel = place & ((1 << PIXEL_BITS) - 1)
                while at < len(keys) and keys[at] >> PART_BITS == place:
                    part = keys[at] & ((1 << PART_BITS) - 1)
                    inside[part] ^= 1
                    depth += 1 if inside[part] else -1
                    at += 1
            else:
                depth = 0
            if before == 0:
                start = pixel
            elif depth == 0 and start < pixel:
                spans[used, 0] = start
                spans[used, 1] = pixel
                used += 1
                area += pixel - start
                column = start // height
                last = (pixel - 1) // height
                left = min(left, column)
                right = max(right, last)
                if column == last:
                    top = min(top, start - column * height)
                    bottom = max(bottom, pixel - 1 - column * height)
                else:
                    top = 0
                    bottom = height - 1
        for key in range(first, at):
            inside[keys[key] & ((1 << PART_BITS) - 1)] = 0
        boxes[mask, 0] = left if area else 0
        boxes[mask, 1] = top if area else 0
        boxes[mask, 2] = right - left + 1 if area else 0
        boxes[mask, 3] = bottom - top + 1 if area else 0
        areas[mask] = area
        offsets[mask + 1] = used
    return used
