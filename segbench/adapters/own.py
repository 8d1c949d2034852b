"""A reader of the user's own: `--adapter FILE.py:FUNCTION`, where `FUNCTION(path)` gives the predictions.

It returns `{image id: labels}`, or yields `(image id, labels)`. A mapping is asked for one image at a time, by the workers; an iterator is
read to its end first and held in memory. Labels are what `segbench.evaluate` takes in memory.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segbench.adapters.arrays import ArrayLabels, open_arrays
from segbench.adapters.base import Request
from segbench.errors import ConfigError, FormatError, SegbenchError


def open_own(adapter: str, path: Any, request: Request) -> ArrayLabels:
    """Runs the user's function on a path.

    Raises:
        ConfigError: no such file or function.
        FormatError: the function failed, or gave something else than samples.
    """
    function = load_function(adapter)
    try:
        given = function(str(path))
        if not isinstance(given, Mapping):
            given = dict(given)
    except SegbenchError:
        raise
    except Exception as error:
        raise FormatError(
            f"the adapter {adapter} failed: {type(error).__name__}: {error}",
            files=[str(path)],
            hint="it must return {image id: labels}, or yield (image id, labels)",
        ) from error
    return open_arrays(given, request)


def load_function(adapter: str) -> Any:
    """The function of `FILE.py:FUNCTION`."""
    file, _, name = adapter.rpartition(":")
    if not file or not name:
        raise ConfigError(f"an adapter is FILE.py:FUNCTION, not {adapter!r}")
    if not Path(file).is_file():
        raise ConfigError(f"no such adapter file: {file}")
    spec = importlib.util.spec_from_file_location(f"segbench_own_{Path(file).stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"the adapter file {file} fails: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        raise ConfigError(f"{file} has no function {name!r}")
    return getattr(module, name)
