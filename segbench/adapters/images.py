"""One label file of any supported kind to an array of what it holds, recognised by its first bytes and never by its name."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import files as disk
from segbench.adapters import png
from segbench.adapters.label_arrays import native
from segbench.errors import FormatError, MissingDependencyError

MAX_BYTES = png.MAX_BYTES
"""The largest file read and the largest array made, unless the caller says otherwise."""

NPZ_KEYS = ("labels", "pred", "logits", "probabilities", "softmax", "masks")
"""Names under which an .npz is expected to hold the labels or scores, where it holds more than one array."""

NPY_HEADER = 1 << 17
"""Bytes that hold the header of any array file: 65,535 and what stands before it."""

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_LOSSLESS = {b"BM": "BMP", b"GIF8": "GIF"}
_LOSSY = {b"\xff\xd8\xff": "JPEG", b"\x00\x00\x00\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000"}
_JPEG_IN_TIFF = (6, 7, 34712, 34892, 50001, 50002)


def read_labels(path: str | os.PathLike[str], *, key: str | None = None, max_bytes: int = MAX_BYTES, trust_pickle: bool = False) -> NDArray:
    """The raw values of a label file: labels, palette indices, colours (H, W, 3), or float scores.

    Args:
        path: A PNG, TIFF, BMP, GIF, .npy or .npz file.
        key: Which array of an .npz; else the only one, or the only one with a name of `NPZ_KEYS`.
        max_bytes: Refuse files and arrays beyond this.
        trust_pickle: Unpickle .npy and .pkl files, which can run code: an array, or a mapping with one under a name of `NPZ_KEYS`.

    Returns:
        A C-contiguous array; of an image uint8, uint16, int32 or float32, of .npy and .npz what they hold.

    Raises:
        FormatError: SB160, truncated, damaged or unknown; SB161, JPEG and its kin; SB191, pickled objects; SB192, beyond the limit.
        MissingDependencyError: a TIFF that Pillow cannot read, without tifffile.
    """
    file = os.fspath(path)
    return labels_of(disk.read(file, max_bytes), file, key=key, max_bytes=max_bytes, trust_pickle=trust_pickle)


def labels_of(data: bytes, file: str, *, key: str | None = None, max_bytes: int = MAX_BYTES, trust_pickle: bool = False) -> NDArray:
    """`read_labels` of the bytes of a file; `file` is its name in messages."""
    if data[:8] == png.SIGNATURE:
        return png.decode(data, file, max_bytes=max_bytes)
    if trust_pickle and (data[:1] == b"\x80" or data[:6] == _NPY):
        return _unpickled(data, file)
    if data[:6] == _NPY:
        return _npy(data, file, max_bytes)
    if data[:4] in (_ZIP, b"PK\x05\x06"):
        return _npz(data, file, key, max_bytes)
    if data[:4] in _TIFF:
        return _tiff(data, file, max_bytes)
    for magic, name in _LOSSLESS.items():
        if data.startswith(magic):
            return _pillow(data, file, name, max_bytes)
    for magic, name in _LOSSY.items():
        if data.startswith(magic):
            raise _lossy(name, file)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        raise _lossy("WebP", file)
    if data[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1"):
        raise _lossy("AVIF or HEIC", file)
    if data[:1] == b"\x80":
        raise _pickled(file)
    raise _damaged("the file is empty" if not data else "unknown kind of file", file, "labels are read from PNG, TIFF, .npy and .npz")


def _damaged(why: str, file: str, hint: str = "write the file again") -> FormatError:
    return FormatError(why, files=[file], hint=hint, code="SB160")


def _lossy(name: str, file: str) -> FormatError:
    ending = os.path.splitext(file)[1].lower()
    disguised = f"named {ending}, but it is a {name}: " if ending in (".png", ".npy", ".npz", ".bmp", ".gif") else ""
    return FormatError(
        f"{disguised}{name} changes values when it compresses, so class ids do not survive in it",
        files=[file],
        hint="write the labels again as PNG",
        code="SB161",
    )


def _pickled(file: str) -> FormatError:
    return FormatError(
        "the file holds pickled objects, which can run code when they are read",
        files=[file],
        hint="save the labels as a plain array of numbers, or as PNG; or pass --trust-pickle if you trust where the file comes from",
        code="SB191",
    )


def _unpickled(data: bytes, file: str) -> NDArray:
    try:
        content = np.load(io.BytesIO(data), allow_pickle=True)
    except Exception as error:  # unpickling runs what the file says
        raise _damaged(f"the pickle cannot be read: {type(error).__name__}: {error}", file) from error
    if isinstance(content, np.ndarray) and content.dtype == object and content.ndim == 0:
        content = content.item()
    if isinstance(content, Mapping):
        content = content[_npz_key([str(name) for name in content], None, file)]
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        raise _damaged(f"the pickle holds a {type(content).__name__}, not an array of numbers", file)
    return np.ascontiguousarray(array)


def _too_big(size: int, max_bytes: int, file: str) -> FormatError:
    return png.too_large(f"an array of {size} bytes", max_bytes, file)


def _npy(data: bytes, file: str, max_bytes: int) -> NDArray:
    """An array without pickled objects; its header is checked against the bytes that are there before anything is made of it."""
    shape, fortran_order, dtype, start = _npy_header(data, file, len(data), max_bytes)
    count = math.prod(shape)
    try:
        flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        return np.ascontiguousarray(native(flat.reshape(shape, order="F" if fortran_order else "C"))).reshape(shape)
    except (ValueError, MemoryError) as error:  # more axes than NumPy has, lengths beyond its index type
        raise _damaged(f"an array of shape {shape} is not possible", file) from error


def _npy_header(data: bytes, file: str, size: int, max_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, type and where the values begin; `size` is how many bytes the whole array file has."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read_header(stream)
    except Exception as error:  # the header is a Python literal, and its parser raises anything
        raise _damaged("the header of the .npy array is damaged or of an unknown version", file) from error
    if dtype.hasobject:
        raise _pickled(file)
    if any(type(length) is not int or length < 0 for length in shape) or dtype.kind not in "biuf":
        raise _damaged(f"an array of type {dtype} and shape {shape} holds no labels", file, "save integers, or float scores")
    count = math.prod(shape)
    if count * dtype.itemsize > max_bytes:
        raise _too_big(count * dtype.itemsize, max_bytes, file)
    if count * dtype.itemsize > size - stream.tell():
        raise _damaged("the .npy array is truncated", file)
    return shape, fortran_order, dtype, stream.tell()


def _npz(data: bytes, file: str, key: str | None, max_bytes: int) -> NDArray:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
            info = members[_npz_key(list(members), key, file)]
            if info.file_size > max_bytes or info.file_size > png.DEFLATE_RATIO * max(1, info.compress_size):
                raise _too_big(info.file_size, max_bytes, file)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise _damaged("the archive is encrypted, or compressed in a way that NumPy does not use", file)
            with archive.open(info) as member:
                head = member.read(NPY_HEADER)  # a small file may inflate to gigabytes: what it says it holds comes first
            if head[:6] == _NPY:
                _npy_header(head, file, info.file_size, max_bytes)
            content = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, OSError) as error:
        if isinstance(error, FormatError):
            raise
        raise _damaged("the .npz archive is truncated or damaged", file) from error
    if content[:6] != _NPY:
        raise _damaged("the member of the .npz archive is no array", file)
    return _npy(content, file, max_bytes)


def _npz_key(names: list[str], key: str | None, file: str) -> str:
    if not names:
        raise _damaged("the archive holds no arrays", file)
    known = [key] if key is not None else names if len(names) == 1 else [name for name in NPZ_KEYS if name in names]
    if len(known) == 1 and known[0] in names:
        return known[0]
    shown = ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "")
    raise FormatError(
        f"the archive has no array {key!r}; it holds {shown}" if key is not None else f"which array of the archive? It holds {shown}",
        files=[file],
        hint=f"save the labels or scores alone, or under one of these names: {', '.join(NPZ_KEYS)}",
        code="SB182",
    )


def _tiff(data: bytes, file: str, max_bytes: int) -> NDArray:
    """By Pillow where it gives the file's own values, else by tifffile."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            compression, photometric, bits = tags.get(259, 1), tags.get(262), tags.get(258, (1,))
            pages = getattr(image, "n_frames", 1)
            faithful = image.mode in ("L", "P", "I;16", "I;16B", "I", "F", "RGB", "RGBA") and photometric in (1, 2, 3)
            faithful = faithful and set(bits) <= {8, 16, 32} and not (image.mode in ("RGB", "RGBA") and set(bits) != {8})
            # Pillow reads 32-bit unsigned values as signed, and signed 8-bit values as unsigned.
            faithful = faithful and set(tags.get(339, (1,))) <= ({1, 2} if image.mode == "I" else {3} if image.mode == "F" else {1})
            faithful = faithful and not (image.mode == "I" and set(bits) == {32} and 2 not in tags.get(339, (1,)))
    except Exception as error:
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise _too_big(len(data), max_bytes, file) from error
        faithful, compression, pages = False, 1, 1
    if compression in _JPEG_IN_TIFF:
        raise _lossy("JPEG inside TIFF", file)
    if pages != 1:
        raise _damaged(f"the TIFF has {pages} pages; a label map has one", file)
    return _pillow(data, file, "TIFF", max_bytes) if faithful else _tifffile(data, file, max_bytes)


def _pillow(data: bytes, file: str, kind: str, max_bytes: int) -> NDArray:
    """Palette indices or grey values of an image whose values Pillow does not change."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            if image.width * image.height * 4 > max_bytes:
                raise _too_big(image.width * image.height * 4, max_bytes, file)
            if getattr(image, "n_frames", 1) != 1:
                raise _damaged(f"the {kind} has several images; a label map has one", file)
            values = np.asarray(image)
    except FormatError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_big(len(data), max_bytes, file) from error
    except Exception as error:  # decoders of damaged files raise anything
        raise _damaged(f"the {kind} is truncated or damaged", file) from error
    if not values.size or values.ndim not in (2, 3):
        raise _damaged(f"the {kind} holds no image", file)
    return np.ascontiguousarray(native(values.view(np.uint8) if values.dtype.kind == "b" else values))


def _tifffile(data: bytes, file: str, max_bytes: int) -> NDArray:
    try:
        import tifffile
    except ImportError as error:
        raise MissingDependencyError(
            "this kind of TIFF, or a damaged one, is read by tifffile, which is not installed",
            files=[file],
            hint="pip install segbench[geo]",
        ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            if len(tiff.pages) != 1:
                raise _damaged(f"the TIFF has {len(tiff.pages)} pages; a label map has one", file)
            page: Any = tiff.pages[0]
            if int(page.compression) in _JPEG_IN_TIFF:
                raise _lossy("JPEG inside TIFF", file)
            if page.nbytes > max_bytes:
                raise _too_big(page.nbytes, max_bytes, file)
            values = page.asarray()
    except FormatError:
        raise
    except Exception as error:  # decoders of damaged files raise anything
        raise _damaged("the TIFF is truncated or damaged", file) from error
    if not values.size or values.dtype.kind not in "biuf":
        raise _damaged("the TIFF holds no labels", file)
    return np.ascontiguousarray(native(values))
