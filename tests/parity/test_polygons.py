"""Polygons are drawn as pycocotools draws them, to the pixel: degenerate ones, outside the image, of several parts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segbench.adapters.coco_masks import decode, packed_counts
from segbench.adapters.polygons import polygon_masks

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
    found = polygon_masks([parts for parts, *_ in drawn], sizes)
    for name in ("spans", "offsets", "areas", "boxes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
