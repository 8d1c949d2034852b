"""PNG decoding against its slow twin, against Pillow and against the arrays that were encoded."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.adapters import png
from segbench.adapters.images import read_labels
from segbench.adapters.label_arrays import labels_from_array
from segbench.errors import FormatError, InputError, LabelError, ShapeError
from segbench.kernels.png import unfilter_rows

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
FORMATS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]


# A small encoder, and the obvious decoder of its rows.


def paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    distances = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
    return (left, up, corner)[distances.index(min(distances))]


def predictor(kind: int, left: int, up: int, corner: int) -> int:
    return (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]


def neighbours(row: bytes, above: bytes, at: int, step: int) -> tuple[int, int, int]:
    return (row[at - step], above[at], above[at - step]) if at >= step else (0, above[at], 0)


def filter_rows(rows: list[bytes], kinds: list[int], step: int) -> bytes:
    above, out = bytes(len(rows[0])), bytearray()
    for row, kind in zip(rows, kinds, strict=True):
        out.append(kind)
        out += bytes((value - predictor(kind, *neighbours(row, above, at, step))) & 255 for at, value in enumerate(row))
        above = row
    return bytes(out)


def unfilter_rows_naive(data: bytes, height: int, row_bytes: int, step: int) -> bytes:
    above, out = bytes(row_bytes), bytearray()
    for y in range(height):
        kind, residuals = data[y * (row_bytes + 1)], data[y * (row_bytes + 1) + 1 : (y + 1) * (row_bytes + 1)]
        row = bytearray()
        for at, value in enumerate(residuals):
            row.append((value + predictor(kind, *neighbours(row, above, at, step))) & 255)
        out += row
        above = bytes(row)
    return bytes(out)


def pack_rows(image: np.ndarray, depth: int) -> list[bytes]:
    flat = image.reshape(len(image), -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in flat]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in flat]
    bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    return [row.tobytes() for row in np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)]


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encode(
    image: np.ndarray, color_type: int, depth: int, kinds: list[int], *, interlace: bool = False, parts: int = 1, extra: bytes = b""
) -> bytes:
    """A PNG of the given samples, with these filters on its rows (repeated as needed)."""
    height, width = image.shape[:2]
    step = max(1, CHANNELS[color_type] * depth // 8)
    passes = [image] if not interlace else [image[row::down, column::right] for row, column, down, right in png.ADAM7]
    raw = b""
    for part in passes:
        if part.size:
            raw += filter_rows(pack_rows(part, depth), (kinds * (len(part) // len(kinds) + 1))[: len(part)], step)
    packed = zlib.compress(raw)
    cuts = [len(packed) * index // parts for index in range(parts + 1)]
    out = png.SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, color_type, 0, 0, interlace))
    out += chunk(b"PLTE", bytes(range(256)) * 3) if color_type == 3 else b""
    out += extra
    for first, last in pairwise(cuts):
        out += chunk(b"IDAT", packed[first:last])
    return out + chunk(b"IEND")


def image_of(seed: int, height: int, width: int, color_type: int, depth: int, texture: str) -> np.ndarray:
    """Noise, or blobs of constant colour with ragged edges, as label maps have them."""
    rng = np.random.default_rng(seed)
    shape = (height, width) if CHANNELS[color_type] == 1 else (height, width, CHANNELS[color_type])
    dtype = np.uint16 if depth == 16 else np.uint8
    if texture == "noise":
        return rng.integers(0, 1 << depth, shape, dtype=dtype)
    image = np.zeros(shape, dtype)
    for _ in range(rng.integers(1, 8)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        slope, value = rng.integers(-2, 3), rng.integers(0, 1 << depth, shape[2:], dtype=dtype)
        for y in range(top, min(height, top + int(rng.integers(1, height + 1)))):
            start = max(0, left + slope * (y - top))
            image[y, start : start + int(width * 0.6) + 1] = value
    if texture == "specks":
        spots = rng.random((height, width)) < 0.02
        image[spots] = (1 << depth) - 1
    return image


images = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 31, 33, 34, 40]),
    st.sampled_from([1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 96, 97, 130, 200]),
    st.sampled_from(FORMATS),
    st.sampled_from(["noise", "blobs", "specks"]),
)


@settings(max_examples=150, deadline=None)
@given(images, st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 4), st.booleans())
def test_decode_gives_the_samples_that_were_encoded(drawn, kinds, parts, interlace):
    seed, height, width, (color_type, depth), texture = drawn
    image = image_of(seed, height, width, color_type, depth, texture)
    decoded = png.decode(encode(image, color_type, depth, kinds, parts=parts, interlace=interlace))
    assert decoded.dtype == image.dtype
    assert decoded.dtype.isnative
    assert decoded.flags.c_contiguous
    assert np.array_equal(decoded, image)


@settings(max_examples=100, deadline=None)
@given(images, st.lists(st.integers(0, 4), min_size=1, max_size=9), st.booleans())
def test_decode_equals_pillow_where_pillow_keeps_the_samples(drawn, kinds, interlace):
    seed, height, width, (color_type, depth), texture = drawn
    if depth == 16 and color_type != 0:
        depth = 8  # Pillow keeps 8 of the 16 bits of colours
    if color_type == 0 and depth in (2, 4):
        depth = 8  # and stretches these to 0..255
    data = encode(image_of(seed, height, width, color_type, depth, texture), color_type, depth, kinds, interlace=interlace)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(png.decode(data), np.asarray(image))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 36),
    st.integers(1, 130),
    st.sampled_from([1, 2, 3, 4, 6, 8]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.01, 0.2, 1.0]),
)
def test_unfilter_equals_its_naive_twin_on_any_residuals(height, pixels, step, seed, density):
    rng = np.random.default_rng(seed)
    row_bytes = pixels * step
    data = rng.integers(0, 256, (height, row_bytes + 1), dtype=np.uint8)
    data[rng.random(data.shape) >= density] = 0
    data[:, 0] = rng.integers(0, 5, height)
    expected = unfilter_rows_naive(data.tobytes(), height, row_bytes, step)
    buffer = data.ravel().copy()
    assert unfilter_rows(buffer, height, row_bytes, step) == 0
    assert buffer[: height * row_bytes].tobytes() == expected


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("step", [1, 3])
def test_long_constant_stretches(kind, step):
    image = np.zeros((70, 700, step) if step > 1 else (70, 700), np.uint8)
    image[20:50, 100:600] = 7
    image[30:, 333:334] = 9
    color_type = 0 if step == 1 else 2
    assert np.array_equal(png.decode(encode(image, color_type, 8, [kind])), image)


def test_the_plain_python_body_gives_the_same():
    code = (
        "import numpy as np; from segbench.kernels.png import unfilter_rows as f; r = np.random.default_rng(1);"
        "d = r.integers(0, 256, (40, 131), dtype=np.uint8); d[r.random(d.shape) > .02] = 0; d[:, 0] = r.integers(0, 5, 40);"
        "b = d.ravel().copy(); np.seterr(over='ignore'); assert f(b, 40, 130, 1) == 0; print(b[:5200].tobytes().hex(), d.tobytes().hex())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=True
    )
    samples, data = (bytes.fromhex(text) for text in run.stdout.split())
    assert samples == unfilter_rows_naive(data, 40, 130, 1)


def test_an_unknown_filter_is_named():
    data = encode(np.zeros((5, 4), np.uint8), 0, 8, [0])
    raw = bytearray(25)
    raw[15] = 9
    start = data.index(b"IDAT") - 4
    broken = data[:start] + chunk(b"IDAT", zlib.compress(bytes(raw))) + chunk(b"IEND")
    with pytest.raises(FormatError, match="row 3 has an unknown filter") as caught:
        png.decode(broken, "labels.png")
    assert caught.value.code == "SB160"
    assert caught.value.files == [("file", "labels.png")]


def test_palette_indices_stay_indices_with_transparency():
    image = image_of(3, 40, 50, 3, 8, "blobs")
    data = encode(image, 3, 8, [4], extra=chunk(b"tRNS", bytes(range(256))))
    assert np.array_equal(png.decode(data), image)
    with Image.open(io.BytesIO(data)) as other:
        assert np.array_equal(np.asarray(other), image)


def test_grey_with_a_transparent_value_keeps_it():
    image = image_of(4, 20, 50, 0, 8, "blobs")
    data = encode(image, 0, 8, [1], extra=chunk(b"tRNS", b"\0\0"))
    assert np.array_equal(png.decode(data), image)


def test_sixteen_bit_colours_lose_nothing():
    image = image_of(5, 9, 33, 2, 16, "noise")
    assert np.array_equal(png.decode(encode(image, 2, 16, [2, 4])), image)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_are_sample_values_not_shades(depth):
    image = np.arange(1 << depth, dtype=np.uint8)[None, :]
    assert png.decode(encode(image, 0, depth, [0])).tolist() == image.tolist()


def test_header_and_headers(tmp_path):
    paths = []
    for index, (color_type, depth) in enumerate(FORMATS):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(encode(image_of(0, 5, 7, color_type, depth, "noise"), color_type, depth, [0], interlace=index % 2 == 1))
    assert [tuple(head) for head in png.headers(paths)] == [
        (7, 5, depth, color_type, index % 2 == 1) for index, (color_type, depth) in enumerate(FORMATS)
    ]


def test_what_follows_the_end_is_ignored():
    image = image_of(6, 5, 5, 0, 8, "noise")
    assert np.array_equal(png.decode(encode(image, 0, 8, [0]) + b"anything"), image)


# Other files, and arrays.


def test_read_labels_recognises_by_content(tmp_path):
    image = image_of(7, 33, 65, 0, 8, "blobs")
    wide = image.astype(np.int32) * 100_000
    for name, values, kind in [
        ("a", image, "PNG"),
        ("b", image, "TIFF"),
        ("c", image.astype(np.uint16) * 257, "TIFF"),
        ("d", wide, "TIFF"),
    ]:
        path = tmp_path / f"{name}.labels"
        Image.fromarray(values).save(path, format=kind)
        read = read_labels(path)
        assert read.dtype == values.dtype
        assert np.array_equal(read, values)
    for dtype in (np.uint8, np.int64, np.float32, ">u2", bool):
        path = tmp_path / "array.npy"
        np.save(path, np.asfortranarray(image.astype(dtype)))
        assert np.array_equal(read_labels(path), image.astype(dtype))
        assert read_labels(path).dtype.isnative
    np.savez_compressed(tmp_path / "one.npz", anything=image)
    assert np.array_equal(read_labels(tmp_path / "one.npz"), image)
    np.savez(tmp_path / "two.npz", logits=image, boxes=image[0])
    assert np.array_equal(read_labels(tmp_path / "two.npz"), image)
    assert np.array_equal(read_labels(tmp_path / "two.npz", key="boxes"), image[0])


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f4"])
def test_tiff_values_are_the_file_s_own(tmp_path, dtype, photometric):
    tifffile = pytest.importorskip("tifffile")
    values = np.array([[0, 1, 100], [3, 4, 5]], dtype)
    if dtype[0] == "i":
        values[0, 0] = -3
    if dtype == "u4":
        values[0, 0] = 3_000_000_000
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric)
    assert read_labels(tmp_path / "a.tif").tolist() == values.tolist()


def test_lossy_pickled_and_ambiguous_files_are_refused(tmp_path):
    image = image_of(8, 16, 16, 0, 8, "blobs")
    Image.fromarray(image).save(tmp_path / "a.png", format="JPEG")
    Image.fromarray(image).save(tmp_path / "b.png", format="WEBP")
    np.save(tmp_path / "c.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "d.npz", first=image, second=image)
    np.savez(tmp_path / "e.npz", pred=image, labels=image)
    (tmp_path / "f.png").write_bytes(b"")
    (tmp_path / "g.pkl").write_bytes(b"\x80\x04.")
    expected = {
        "a.png": "SB161",
        "b.png": "SB161",
        "c.npy": "SB191",
        "d.npz": "SB182",
        "e.npz": "SB182",
        "f.png": "SB160",
        "g.pkl": "SB191",
    }
    for name, code in expected.items():
        with pytest.raises(FormatError) as caught:
            read_labels(tmp_path / name)
        assert (name, caught.value.code) == (name, code)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(FormatError, match="No such file"):
        read_labels(tmp_path / "missing.png")


def test_labels_from_labels():
    for dtype, expected in [("u1", "u1"), ("u2", "u2"), ("i4", "i4"), ("i8", "i4"), ("i2", "i4"), ("u4", "i4"), (">u2", "u2"), ("?", "u1")]:
        values = np.array([[0, 1], [1, 0]], dtype)
        for shaped in (values, values[None], values[..., None], values[None, None]):
            labels = labels_from_array(shaped)
            assert labels.dtype == np.dtype(expected)
            assert labels.tolist() == [[0, 1], [1, 0]]
            assert labels.flags.c_contiguous
    assert labels_from_array(np.arange(6).reshape(2, 3).T).tolist() == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(LabelError):
        labels_from_array(np.array([[2**31]]))
    with pytest.raises(LabelError):
        labels_from_array(np.array([[2**63]], np.uint64))
    for bad in (np.zeros((2, 3, 4), int), np.zeros((0, 3), int), np.zeros((3, 4, 4), bool), np.zeros((2, 2, 2, 2))):
        with pytest.raises(ShapeError):
            labels_from_array(bad)
    with pytest.raises(FormatError):
        labels_from_array(np.array([["a"]]))


def test_labels_from_scores():
    scores = np.random.default_rng(0).random((3, 8, 9)).astype(np.float32)
    scores[:, 0, 0] = 0.5
    expected = scores.argmax(0)
    assert expected[0, 0] == 0
    for given_scores, options in [(scores, {}), (scores[None], {}), (scores.transpose(1, 2, 0), {}), (scores, {"layout": "CHW"})]:
        labels = labels_from_array(given_scores, **options)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, expected)
    square = np.zeros((4, 9, 4))
    for options in ({}, {"num_classes": 4}):
        with pytest.raises(FormatError) as caught:
            labels_from_array(square, **options)
        assert caught.value.code == "SB181"
    assert labels_from_array(square, layout="HWC").shape == (4, 9)
    assert labels_from_array(np.zeros((150, 9, 7)), num_classes=150).shape == (9, 7)
    assert labels_from_array(np.zeros((300, 2, 3)), layout="CHW").dtype == np.uint16


def test_one_map_of_scores_needs_a_threshold():
    scores = np.array([[0.2, 0.5, 0.7]])
    assert labels_from_array(scores, threshold=0.5).tolist() == [[0, 1, 1]]
    assert labels_from_array(scores, threshold=0.5, op=">").tolist() == [[0, 0, 1]]
    assert labels_from_array(scores[None], threshold=0.5, layout="CHW").tolist() == [[0, 1, 1]]
    for bad in (scores, np.rint(scores), np.array([[np.nan]])):
        with pytest.raises(InputError) as caught:
            labels_from_array(bad)
        assert caught.value.code == "SB180"
