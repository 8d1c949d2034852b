"""Polygons are drawn as pycocotools draws them, to the pixel: degenerate ones, outside the image, of several parts."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segbench.adapters.instance import polygons
from segbench.adapters.instance.coco_masks import decode, packed_counts
from segbench.adapters.instance.polygons import MAX_COORDINATE, outlines_of, polygon_masks, read_outlines
from segbench.errors import FormatError
from segbench.kernels import polygons as kernels

coordinates = st.one_of(
    st.floats(-20, 60, width=32),
    st.integers(-5, 45).map(float),
    st.integers(-25, 225).map(lambda fifths: fifths / 5),
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 2.5, 39.5, 40.0, -0.1, 3e3, -3e3]),
)
polygon = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8).map(lambda points: [x for point in points for x in point])
shapes = st.tuples(st.lists(polygon, min_size=1, max_size=3), st.integers(0, 40), st.integers(0, 40))


@settings(max_examples=300)
@given(st.lists(shapes, min_size=1, max_size=6))
def test_drawn_as_pycocotools_draws(drawn):
    sizes = np.array([size for _, *size in drawn], np.int32)
    texts = [
        coco_mask.merge(coco_mask.frPyObjects(parts, height, width))["counts"] if height and width else b""
        for parts, height, width in drawn
    ]
    expected = decode(packed_counts(texts, sizes), sizes, np.zeros((len(texts), 4)), str, "")
    found = polygon_masks(outlines_of([parts for parts, *_ in drawn]), sizes)
    for name in ("spans", "offsets", "areas", "boxes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)


SPELLINGS = st.one_of(
    st.floats(-1e5, 1e5).map(repr),
    st.integers(-MAX_COORDINATE - 1, MAX_COORDINATE + 1).map(str),
    st.decimals(-1000, 1000, places=2).map(str),
    st.sampled_from(["0", "-0", "-0.0", "0.00", "1e3", "1E+2", "5.0e-1", "0.1234567890123456789", "99999.5", "123456789.5"]),
)
MOST_CHARACTERS = 19
"""Numbers that are longer are left to the usual reader."""

NO_POLYGONS = [
    "null",
    '"text"',
    "{}",
    "[]",
    "[[]]",
    "[1, 2, 3, 4, 5, 6]",
    "[[1, 2, 3, 4]]",
    "[[1, 2, 3, 4, 5, 6, 7]]",
    "[[[1, 2]]]",
    "[[null]]",
]
written = st.lists(st.lists(SPELLINGS, min_size=3, max_size=6).map(lambda half: half + half), min_size=1, max_size=3)


@settings(max_examples=300)
@given(st.lists(st.one_of(written, st.sampled_from(NO_POLYGONS)), min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\n "]))
def test_read_as_json_is_read(rows, comma):
    texts = [row if isinstance(row, str) else f"[{comma.join(f'[{comma.join(polygon)}]' for polygon in row)}]" for row in rows]
    stops = np.cumsum([len(text) for text in texts])
    joined = np.frombuffer("".join(texts).encode(), np.uint8)
    found, unread = read_outlines(joined, np.concatenate(([0], stops[:-1])), stops)
    usual = [row for row in range(len(texts)) if row not in unread]
    beyond = any(abs(float(number)) > MAX_COORDINATE for row in rows if not isinstance(row, str) for polygon in row for number in polygon)
    for row, text in enumerate(texts):
        rare = "e" in text.lower() or any(len(number) > MOST_CHARACTERS for number in re.findall(r"[-.\d]+", text))
        if not beyond and (rows[row] in NO_POLYGONS or not rare):
            assert (row in unread) == (text in NO_POLYGONS)
    expected = outlines_of([json.loads(texts[row]) for row in usual])
    assert found.points.tolist() == expected.points.tolist()
    assert found.starts.tolist() == expected.starts.tolist()
    assert found.masks.tolist() == [usual[row] for row in expected.masks]
    assert found.parts.tolist() == expected.parts.tolist()


def test_more_masks_than_a_key_has_room_for_are_refused(monkeypatch):
    assert (polygons.AT_ONCE - 1) << (kernels.PART_BITS + kernels.PIXEL_BITS) < 2**63
    monkeypatch.setattr(polygons, "AT_ONCE", 2)
    square = [[1.0, 1.0, 4.0, 1.0, 4.0, 4.0, 1.0, 4.0]]
    sizes = np.full((3, 2), 8, np.int32)
    assert polygon_masks(outlines_of([square] * 2), sizes[:2]).areas.tolist() == [9, 9]
    with pytest.raises(FormatError, match="3 masks at once are beyond the limit of 2"):
        polygon_masks(outlines_of([square] * 3), sizes)
