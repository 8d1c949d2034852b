"""Bytes of run folders: arrays as an archive, documents as JSON, files that appear whole or not at all."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.errors import FormatError


def pack(arrays: Mapping[str, NDArray]) -> bytes:
    """Arrays as the bytes of a stored `.npz`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def unpack(data: bytes, file: str) -> dict[str, NDArray]:
    """The inverse of `pack`.

    Raises:
        FormatError: not such an archive: damaged, compressed, or with headers that contradict its size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size for member in members):
                raise FormatError("the evidence is compressed; segbench stores it as it is", files=[file], code="SB192")
            arrays = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
            if len(arrays) != len(members):
                raise ValueError("two arrays of one name")
            return arrays
    except FormatError:
        raise
    except Exception as error:  # the parsers of archives and headers raise anything
        raise FormatError(f"damaged evidence: {error}", files=[file]) from error


def _array(data: bytes) -> NDArray:
    """An array file of numbers; its header must agree with its size before anything is made of it."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version than 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    start = stream.tell()
    sound = dtype.kind in "biuf" and not fortran_order and all(type(length) is int and length >= 0 for length in shape)
    if not sound or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of type {dtype} and shape {shape} in {len(data) - start} bytes")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()


def encoded(document: Any) -> bytes:
    """A document as indented JSON; file names that are no UTF-8 with the bytes in question written as \\xNN."""
    try:
        text = msgspec.json.encode(document)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_printable(msgspec.to_builtins(document)))
    return msgspec.json.format(text, indent=1) + b"\n"


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """A folder, made with those above it where they are not there; what was made is removed again on an error."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def write_all(files: Mapping[Path, bytes | Path], index: Path | None = None) -> None:
    """Writes files, all or none: under temporary names first, then renamed. What stood there before comes back on an error.

    Args:
        files: What they are to hold; or a finished file on the same disk, which is moved.
        index: The one that names the others. What stood there goes first, so that even a process that is killed leaves no index of files
            of which some are old and some new.
    """
    hidden = {path: (data if isinstance(data, Path) else _beside(path, "tmp"), _beside(path, "old")) for path, data in files.items()}
    renamed: dict[Path, None] = {}
    try:
        for path, data in files.items():
            if not isinstance(data, Path):
                hidden[path][0].write_bytes(data)
        if index is not None and index.is_file():
            _keep(index, hidden[index][1])
            renamed[index] = None
            index.unlink()
        for path in files:
            if path.is_file():
                _keep(path, hidden[path][1])
            renamed[path] = None
            hidden[path][0].replace(path)
    except BaseException:
        for path in renamed:
            if hidden[path][1].exists():
                hidden[path][1].replace(path)
            else:
                path.unlink(missing_ok=True)
        raise
    finally:
        for names in hidden.values():
            for name in names:
                name.unlink(missing_ok=True)


def _keep(path: Path, name: Path) -> None:
    """A second name for a file; a copy where the file system has no links."""
    try:
        os.link(path, name)
    except OSError:
        name.write_bytes(path.read_bytes())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    write_all({path: data})


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")
