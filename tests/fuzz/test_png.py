"""Damaged label files decode or raise InputError, nothing else, and give the same every time."""

from __future__ import annotations

import io
import struct
import time
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.adapters import png
from segbench.adapters.images import read_labels
from segbench.adapters.label_arrays import labels_from_array
from segbench.errors import FormatError, InputError

LIMIT = 2**24


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def assemble(head: tuple[int, ...], raw: bytes, *, before: bytes = b"", parts: int = 1) -> bytes:
    """A PNG with honest CRCs around any header and any inflated bytes."""
    packed = zlib.compress(raw)
    cuts = [len(packed) * index // parts for index in range(parts + 1)]
    data = b"".join(chunk(b"IDAT", packed[cuts[index] : cuts[index + 1]]) for index in range(parts))
    return png.SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", *head)) + before + data + chunk(b"IEND")


def sample(mode: str, size: tuple[int, int] = (37, 41), kind: str = "PNG") -> bytes:
    rng = np.random.default_rng(0)
    values = np.repeat(np.repeat(rng.integers(0, 250, (size[1] // 4 + 1, size[0] // 4 + 1), np.uint8), 4, 0), 4, 1)[: size[1], : size[0]]
    stream = io.BytesIO()
    image = Image.fromarray(values.astype(np.uint16) * 100) if mode == "I;16" else Image.fromarray(values).convert(mode)
    image.save(stream, format=kind)
    return stream.getvalue()


SAMPLES = {mode: sample(mode) for mode in ("L", "P", "RGB", "RGBA", "1", "I;16")}
INTERLACED = assemble((5, 5, 8, 0, 0, 0, 1), bytes(2 + 2 + 3 + 2 * 2 + 4 + 3 * 3 + 2 * 6))


def outcome(data: bytes):
    """The array of a file, or the message of its InputError."""
    try:
        image = png.decode(data, max_bytes=LIMIT)
    except InputError as error:
        return str(error)
    return image.shape, image.dtype.str, image.tobytes()


def check(data: bytes) -> object:
    start = time.monotonic()
    first = outcome(data)
    np.full(LIMIT // 64, 0xA5, np.uint8)  # dirties the memory that a second decode may get
    assert outcome(data) == first
    assert time.monotonic() - start < 5
    return first


@pytest.mark.parametrize("mode", SAMPLES)
def test_every_truncation_is_refused(mode):
    data = SAMPLES[mode]
    for length in range(len(data)):
        with pytest.raises(FormatError) as caught:
            png.decode(data[:length], "cut.png")
        assert caught.value.code == "SB160"
    assert isinstance(check(data), tuple)


def test_every_flipped_bit_is_refused_or_harmless():
    data = SAMPLES["L"]
    whole = outcome(data)
    for at in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            result = outcome(bytes(broken))
            # The only bits without a check are those that make IEND's neighbours ancillary; they never change the image.
            assert isinstance(result, str) or result == whole


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255), st.sampled_from(["set", "insert", "delete"])), min_size=1, max_size=8),
)
def test_mutations(mode, edits):
    data = bytearray(SAMPLES[mode])
    for at, value, edit in edits:
        at %= len(data)
        data[at : at + (edit != "insert")] = b"" if edit == "delete" else bytes([value])
    check(bytes(data))


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(
        st.sampled_from([0, 1, 2, 5, 32, 33, 255, 4096, 2**31 - 1, 2**32 - 1]),
        st.sampled_from([0, 1, 2, 5, 33, 4096, 2**31 - 1, 2**32 - 1]),
        st.sampled_from([0, 1, 2, 3, 4, 8, 16, 32]),
        st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7]),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([0, 0, 1, 2]),
    ),
    st.binary(max_size=600),
    st.integers(1, 3),
)
def test_headers_that_lie_about_honest_chunks(head, raw, parts):
    check(assemble(head, raw, parts=parts))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(0, 8, 1), (2, 8, 3), (6, 16, 8), (0, 16, 2), (3, 1, 1)]),
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(-3, 3),
    st.integers(0, 6),
    st.binary(min_size=1, max_size=64),
)
def test_any_inflated_bytes(kind, height, width, off, highest, pattern):
    color_type, depth, step = kind
    row_bytes = (width + 7) // 8 if depth == 1 else width * step
    raw = bytearray((pattern * (height * (row_bytes + 1) // len(pattern) + 1))[: height * (row_bytes + 1)])
    for y in range(height):
        raw[y * (row_bytes + 1)] = pattern[y % len(pattern)] % (highest + 1)
    raw = raw[:off] if off < 0 else raw + bytes(off)
    result = check(assemble((width, height, depth, color_type, 0, 0, 0), bytes(raw)))
    assert isinstance(result, str) == (off != 0 or max(raw[:: row_bytes + 1]) > 4)


@pytest.mark.parametrize("missing", [1, 2, 7])
def test_interlaced_data_of_the_wrong_size(missing):
    assert isinstance(check(INTERLACED), tuple)
    raw = bytes(2 + 2 + 3 + 2 * 2 + 4 + 3 * 3 + 2 * 6)
    assert isinstance(check(assemble((5, 5, 8, 0, 0, 0, 1), raw[:-missing])), str)


def test_bombs_are_refused_before_anything_is_allocated():
    small = zlib.compress(bytes(1000))
    for width, height in [(2**31 - 1, 2**31 - 1), (46000, 46000), (60000, 60000), (2**31 - 1, 1)]:
        data = png.SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", small) + chunk(b"IEND")
        with pytest.raises(FormatError) as caught:
            png.decode(data)
        assert caught.value.code in ("SB160", "SB192")
    with pytest.raises(FormatError, match="beyond the limit") as caught:
        png.decode(SAMPLES["L"], max_bytes=100)
    assert caught.value.code == "SB192"


def test_chunks_that_do_not_belong():
    head, raw = (3, 3, 8, 0, 0, 0, 0), bytes(12)
    good = assemble(head, raw)
    with pytest.raises(FormatError, match="critical and unknown"):
        png.decode(assemble(head, raw, before=chunk(b"CgBI", b"\0")))
    assert png.decode(assemble(head, raw, before=chunk(b"teXt", b"anything"))).tolist() == [[0] * 3] * 3
    body = zlib.compress(raw)
    split = chunk(b"IDAT", body[:4]) + chunk(b"tEXt", b"x") + chunk(b"IDAT", body[4:])
    with pytest.raises(FormatError, match="not consecutive"):
        png.decode(good[:33] + split + chunk(b"IEND"))
    with pytest.raises(FormatError, match="no image data"):
        png.decode(good[:33] + chunk(b"IEND"))
    with pytest.raises(FormatError, match="not a PNG"):
        png.decode(b"anything")


# Arrays and TIFF.


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def with_header(text: str, body: bytes = bytes(64), version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode() + body


LABELS = np.arange(35, dtype=np.uint8).reshape(5, 7)
FILES = {
    "npy": npy(LABELS),
    "scores.npy": npy(np.random.default_rng(0).random((3, 5, 7))),
    "npz": npz(labels=LABELS),
    "tif": sample("L", kind="TIFF"),
    "I;16.tif": sample("I;16", kind="TIFF"),
    "bmp": sample("L", kind="BMP"),
    "gif": sample("P", kind="GIF"),
}


def read(path, data: bytes) -> object:
    path.write_bytes(data)
    try:
        array = read_labels(path, max_bytes=LIMIT)
        labels_from_array(array, threshold=0.5, layout="CHW")
    except InputError as error:
        return str(error)
    return array.shape, array.dtype.str, array.tobytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "labels"


@pytest.fixture(autouse=True)
def _quiet():
    # Pillow and tifffile warn about damaged tags before they fail or succeed.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 4000)),
)
def test_other_files(file, name, edits, cut):
    data = bytearray(FILES[name])
    for at, value in edits:
        data[at % len(data)] = value
    data = bytes(data[: None if cut is None else cut % len(data)])
    assert read(file, data) == read(file, data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["tif", "I;16.tif"]), st.integers(0, 7), st.integers(0, 2**16 - 1), st.integers(0, 200))
def test_tiff_tags_that_lie(file, name, at, value, entry):
    data = bytearray(FILES[name])
    (start,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, min(start + 2 + 12 * (entry % 12) + at, len(data) - 2), value)
    read(file, bytes(data))


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 99999999999)}\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4)}\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 99999999999999999999)}\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 4)}\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': " + repr((1,) * 70) + "}\n",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (2, 2)}\n",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (2, 2)}\n",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}\n",
        "{'descr': '<V0', 'fortran_order': False, 'shape': (2, 2)}\n",
        "{'descr': '|u1', 'fortran_order': False}\n",
        "(" * 200 + "\n",
        "{" * 5000 + "\n",
        "'\0\n",
        "",
    ],
)
def test_npy_headers_that_lie(file, text):
    assert isinstance(read(file, with_header(text)), str)
    assert isinstance(read(file, with_header(text, version=b"\3\0")), str)


def test_npz_bombs(file):
    assert "SB192" in str(read(file, npz(labels=np.zeros((5000, 5000), np.uint8))))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("labels.npy", FILES["npy"])
    assert "SB160" in str(read(file, stream.getvalue()))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    assert "no arrays" in str(read(file, stream.getvalue()))
    assert "SB192" in str(read(file, b"\x93NUMPY" + bytes(LIMIT)))


def test_folders_are_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot read"):
        read_labels(tmp_path)
    with pytest.raises(FormatError, match="cannot read"):
        png.header(tmp_path)
