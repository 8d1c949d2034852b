"""Reading what somebody else put on a disk: only regular files, and never more of one than a limit.

A pipe would wait for a writer for ever, and a device may never end; so every reader opens files here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from segbench.errors import FormatError

FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe that nobody writes to must not wait."""

MAX_TEXT = 1 << 26
"""The largest description: 64 MiB."""

AHEAD = 1 << 20
"""Bytes that are read ahead."""

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a directory"}


def opened(path: str | os.PathLike[str]) -> tuple[int, int]:
    """A descriptor of a regular file, and its size.

    Raises:
        FormatError: SB160, it cannot be opened, or is no regular file.
    """
    try:
        descriptor = os.open(path, FLAGS)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = KINDS.get(stat.S_IFMT(status.st_mode), "of another kind")
            raise FormatError(f"cannot read the file: not a regular file ({kind})", files=[os.fspath(path)], code="SB160")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def read(path: str | os.PathLike[str], max_bytes: int, first: int | None = None) -> bytes:
    """The bytes of a regular file, or the first of them.

    Raises:
        FormatError: SB160, it cannot be read; SB192, it is larger than `max_bytes`.
    """
    descriptor, size = opened(path)
    try:
        if first is not None:
            return os.read(descriptor, first)
        if size > max_bytes:
            raise FormatError(f"a file of {size} bytes is beyond the limit of {max_bytes}", files=[os.fspath(path)], code="SB192")
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)


def read_ahead(paths: Iterable[str], max_bytes: int) -> Iterator[bytes]:
    """The bytes of files one after the other; small ones are read some at a time.

    Every call to the system lets another thread of the interpreter go on, and wait for. Between two images of work that costs more than
    the call; in a row it costs little.

    Raises:
        FormatError: as `read`, after the files before the bad one.
    """
    waiting: list[bytes] = []
    size = 0
    for path in paths:
        try:
            data = read(path, max_bytes)
        except FormatError:
            yield from waiting
            raise
        waiting.append(data)
        size += len(data)
        if size >= AHEAD:
            yield from waiting
            waiting, size = [], 0
    yield from waiting


def unreadable(path: str | os.PathLike[str], error: Exception, what: str = "the file") -> FormatError:
    """Why a path cannot be read, in words."""
    file = os.fspath(path)
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    if isinstance(error, FileNotFoundError) and os.path.islink(file):
        why = f"a symbolic link that leads nowhere (-> {os.readlink(file)})"
    return FormatError(f"cannot read {what}: {why}", files=[file], code="SB160")


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something at a path.

    Raises:
        FormatError: SB160, the system does not say: no permission, a name that is too long or holds a NUL.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise unreadable(path, error, "the path") from error
    return True
