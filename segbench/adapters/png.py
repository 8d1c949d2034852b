"""PNG files to arrays of raw samples: what a label file holds, never what a screen would show.

Palette images give their indices, images of 1, 2 or 4 bits their sample values (0 to 2^n - 1, not stretched to 0 to 255), 16-bit images all
their bits, and transparency (tRNS), gamma and orientation are not applied. Interlaced images and every bit depth and colour type of the
specification are read; every critical chunk's CRC and the Adler-32 are checked. Nothing is allocated before the size is known to be honest.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from struct import unpack_from
from typing import NamedTuple, NoReturn

import deflate
import numpy as np
from numpy.typing import NDArray

from segbench.errors import FormatError
from segbench.files import read

SIGNATURE = b"\x89PNG\r\n\x1a\n"

HEADER_BYTES = 33
"""Signature and IHDR: enough for `header`."""

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6

CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}

BIT_DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}

MAX_BYTES = 2**31
"""The largest image decoded, in bytes of its samples: 46,000 pixels square at 8 bits."""

DEFLATE_RATIO = 1032
"""Deflate cannot expand by more: 258 bytes from two bits."""

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of each pass of an interlaced image."""


class PngHeader(NamedTuple):
    """What IHDR says."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    interlaced: bool


def header(source: bytes | str | os.PathLike[str], file: str = "") -> PngHeader:
    """Size, bit depth and colour type, from the first 33 bytes.

    Args:
        source: A path, or the bytes of a file (at least the first 33).
        file: The name to use in messages; the path where there is one.

    Raises:
        FormatError: SB160; not a PNG, damaged, or a combination that the specification does not have.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source[:HEADER_BYTES])
    else:
        file = file or os.fspath(source)
        data = read(source, MAX_BYTES, HEADER_BYTES)
    if data[:8] != SIGNATURE:
        _refuse("not a PNG file" if data else "the file is empty", file)
    if len(data) < HEADER_BYTES:
        _refuse("the file ends inside its header", file)
    try:
        return _parsed(data)
    except ValueError as error:
        _refuse(str(error), file)


@lru_cache
def _parsed(data: bytes) -> PngHeader:
    """The header from its bytes. Images of one size have the same: a set is thousands of calls."""
    length, kind, width, height, bit_depth, color_type, compression, filters, interlace, crc = unpack_from(">I4s2I5BI", data, 8)
    if length != 13 or kind != b"IHDR":
        raise ValueError("the first chunk is not IHDR")
    if deflate.crc32(data[12:29]) != crc:
        raise ValueError("chunk IHDR has a wrong CRC")
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise ValueError(f"the image has an impossible size, {height}x{width}")
    if bit_depth not in BIT_DEPTHS.get(color_type, ()):
        raise ValueError(f"no PNG has bit depth {bit_depth} and colour type {color_type}")
    if compression or filters or interlace > 1:
        raise ValueError("unknown compression, filter or interlace method")
    return PngHeader(width, height, bit_depth, color_type, bool(interlace))


def peek(path: str | os.PathLike[str]) -> PngHeader | None:
    """The header of a file; None where its first bytes are not those of a PNG, whatever its name says."""
    data = read(path, MAX_BYTES, HEADER_BYTES)
    return header(data, os.fspath(path)) if data[:8] == SIGNATURE else None


def palette(data: bytes, file: str = "") -> list[tuple[int, int, int]]:
    """The colours of the PLTE chunk, in the order of their indices; none where there is no such chunk before the image data.

    Raises:
        FormatError: SB160, damaged before it.
    """
    header(data, file)
    at = HEADER_BYTES
    while at + 12 <= len(data):
        length, kind = unpack_from(">I4s", data, at)
        if kind == b"PLTE" and at + 12 + length <= len(data):
            body = data[at + 8 : at + 8 + length]
            return [(body[start], body[start + 1], body[start + 2]) for start in range(0, length - 2, 3)]
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return []


def headers(paths: Iterable[str | os.PathLike[str]]) -> list[PngHeader]:
    """The headers of many files, in their order; raises at the first bad one."""
    return [header(path) for path in paths]


def decode(data: bytes, file: str = "", *, max_bytes: int = MAX_BYTES) -> NDArray:
    """The samples of an image.

    Args:
        data: The whole file.
        file: Its name, for messages.
        max_bytes: Refuse images whose samples take more.

    Returns:
        uint8 for bit depths up to 8, else uint16; (H, W) for grey and palette (indices), (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4)
        RGBA. C-contiguous and writable.

    Raises:
        FormatError: SB160, the file is truncated or damaged, or contradicts itself; SB192, beyond `max_bytes`.
    """
    head = header(data, file)
    bits = head.bit_depth * CHANNELS[head.color_type]
    passes = [part for part in ADAM7 if part[0] < head.height and part[1] < head.width] if head.interlaced else []
    sizes = [(-(-(head.height - row) // down), -(-(head.width - column) // right)) for row, column, down, right in passes]
    size = sum([rows * ((columns * bits + 7 >> 3) + 1) for rows, columns in sizes or [(head.height, head.width)]])
    if max(size, head.height * head.width * (bits + 7 >> 3)) > max_bytes:
        raise too_large(f"an image of {head.height}x{head.width} pixels", max_bytes, file)
    compressed = _image_data(data, file)
    if len(compressed) * DEFLATE_RATIO < size:
        _refuse(f"{len(compressed)} compressed bytes cannot hold {head.height}x{head.width} pixels", file)
    try:
        inflated = deflate.zlib_decompress(compressed, size)
    except deflate.DeflateError:
        _refuse("the compressed data is damaged, or holds more than the image", file)
    if len(inflated) != size:
        _refuse(f"the compressed data holds {len(inflated)} bytes where the image needs {size}", file)
    buffer = np.frombuffer(inflated, np.uint8)
    if not head.interlaced:
        return _samples(buffer, head.height, head.width, head, file)
    return _interlaced(buffer, passes, sizes, head, file)


def too_large(what: str, max_bytes: int, file: str) -> FormatError:
    """The error for what needs more memory than it may."""
    return FormatError(
        f"{what} is beyond the limit of {max_bytes} bytes",
        files=[file] if file else [],
        hint="is its header damaged? Maps that are this large are cut into tiles, predictions and ground truth alike",
        code="SB192",
    )


def _refuse(why: str, file: str) -> NoReturn:
    raise FormatError(why, files=[file] if file else [], hint="write the file again", code="SB160")


def _image_data(data: bytes, file: str) -> bytes | memoryview:
    """The compressed data: all IDAT chunks joined. Critical chunks are checked, others skipped, and what follows IEND is ignored."""
    parts: list[memoryview] = []
    view, size, at, ended = memoryview(data), len(data), HEADER_BYTES, False
    while True:
        if at + 12 > size:
            _refuse("the file is truncated: it has no IEND", file)
        length, kind = unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > size:
            _refuse(f"the file is truncated inside chunk {_printable(kind)}", file)
        if not kind[0] & 32:
            (crc,) = unpack_from(">I", data, end - 4)
            if deflate.crc32(view[at + 4 : end - 4]) != crc:
                _refuse(f"chunk {_printable(kind)} has a wrong CRC", file)
        if kind == b"IDAT":
            if ended:
                _refuse("its IDAT chunks are not consecutive", file)
            parts.append(view[at + 8 : end - 4])
        elif kind == b"IEND":
            break
        elif not kind[0] & 32 and kind != b"PLTE":
            _refuse(f"chunk {_printable(kind)} is critical and unknown", file)
        else:
            ended = bool(parts)
        at = end
    if not parts:
        _refuse("the file has no image data", file)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _printable(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else repr(kind)


@cache
def _unfilter_rows() -> Callable[..., int]:
    """The kernel, when it is first needed: Numba takes a quarter of a second to import."""
    from segbench.kernels.png import unfilter_rows

    return unfilter_rows.load()


def _samples(buffer: NDArray[np.uint8], height: int, width: int, head: PngHeader, file: str) -> NDArray:
    """Un-filters and unpacks one image or pass; works in place."""
    channels, bits = CHANNELS[head.color_type], head.bit_depth
    row_bytes = width * channels * bits + 7 >> 3
    bad = _unfilter_rows()(buffer, height, row_bytes, max(1, channels * bits >> 3))
    if bad:
        _refuse(f"row {bad - 1} has an unknown filter", file)
    packed = buffer[: height * row_bytes]
    shape = (height, width) if channels == 1 else (height, width, channels)
    if bits == 8:
        return packed.reshape(shape)
    if bits == 16:
        samples = packed.view(np.uint16)
        return (samples.byteswap(inplace=True) if sys.byteorder == "little" else samples).reshape(shape)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    samples = packed.reshape(height, row_bytes, 1) >> shifts & np.uint8((1 << bits) - 1)
    return np.ascontiguousarray(samples.reshape(height, -1)[:, :width])


def _interlaced(
    buffer: NDArray[np.uint8],
    passes: list[tuple[int, int, int, int]],
    sizes: list[tuple[int, int]],
    head: PngHeader,
    file: str,
) -> NDArray:
    channels = CHANNELS[head.color_type]
    shape = (head.height, head.width) if channels == 1 else (head.height, head.width, channels)
    image = np.empty(shape, np.uint16 if head.bit_depth == 16 else np.uint8)
    at = 0
    for (row, column, down, right), (rows, columns) in zip(passes, sizes, strict=True):
        end = at + rows * ((columns * channels * head.bit_depth + 7 >> 3) + 1)
        image[row::down, column::right] = _samples(buffer[at:end], rows, columns, head, file)
        at = end
    return image
