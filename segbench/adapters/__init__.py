"""Adapters: files and framework objects to canonical samples. One format or framework per file."""

from __future__ import annotations

from pathlib import Path

from segbench.adapters.base import Format, Request, Source
from segbench.errors import FormatError
from segbench.registry import Registry

_LABEL_FILES = "segbench.adapters.label_files"
FORMATS = Registry(
    "format",
    {
        "label-png": f"{_LABEL_FILES}:LABEL_PNG",
        "rgb-png": f"{_LABEL_FILES}:RGB_PNG",
        "label-tiff": f"{_LABEL_FILES}:LABEL_TIFF",
        "label-array": f"{_LABEL_FILES}:LABEL_ARRAY",
        "label-image": f"{_LABEL_FILES}:LABEL_IMAGE",
        "array": "segbench.adapters.arrays:ARRAYS",
    },
    "segbench.adapters",
)


def recognised(path: Path, task: str) -> Format:
    """The format of a path: the built-in that is surest, else a plug-in.

    Raises:
        FormatError: no format recognises it.
    """
    formats = [FORMATS.get(name) for name in FORMATS.names()]
    scored = [(entry.sniff(path)[0], -position, entry) for position, entry in enumerate(formats) if task in entry.tasks]
    best = max(scored, key=lambda item: item[:2], default=None)
    if best and best[0] > 0:
        return best[2]
    for name in FORMATS.plugins():
        plugin = FORMATS.get(name)
        if task in plugin.tasks and plugin.sniff(path)[0] > 0:
            return plugin
    raise FormatError(
        f"nothing here is recognised as {task} labels",
        files=[str(path)],
        hint="segbench formats lists what can be read; --format NAME says which it is",
    )


def open_source(value: object, request: Request, task: str, name: str | None = None) -> Source:
    """Opens predictions or ground truth: a path, or samples in memory.

    Args:
        value: A path, or arrays (see `segbench.adapters.arrays`).
        name: The format; recognised where None.
    """
    from segbench.adapters.arrays import is_memory, open_arrays

    if is_memory(value):
        return open_arrays(value, request)
    path = Path(str(value))
    entry = FORMATS.get(name) if name else recognised(path, task)
    return entry.open(path, request)


def check_exists(*values: object) -> None:
    """Refuses paths that lead nowhere; samples in memory pass.

    Raises:
        FormatError: no such file or folder.
    """
    from segbench.adapters.arrays import is_memory

    gone = [str(value) for value in values if not is_memory(value) and not Path(str(value)).exists()]
    if gone:
        raise FormatError("no such file or folder", files=gone, hint="check the path; predictions come first, ground truth second")
