"""A reader of the user's own: `--adapter FILE.py:FUNCTION`, where `FUNCTION(path)` gives the predictions.

It returns `{image id: labels}`, or yields `(image id, labels)`. A mapping is asked for one image at a time, by the workers; an iterator is
read to its end first and held in memory. Labels are what `segbench.evaluate` takes in memory.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segbench.adapters.arrays import INTERRUPTIONS, ArrayLabels, open_arrays
from segbench.adapters.base import Request
from segbench.errors import ConfigError, FormatError, PairingError, SegbenchError

RETURNS = "it must return {image id: labels}, or yield (image id, labels)"


def open_own(adapter: str, path: Any, request: Request) -> ArrayLabels:
    """Runs the user's function on a path.

    Raises:
        ConfigError: no such file or function.
        FormatError: the function failed, or gave something else than samples.
    """
    function = load_function(adapter)
    try:
        given = function(str(path))
        if given is not None and not isinstance(given, Mapping):
            given = _once(given)
    except SegbenchError:
        raise
    except INTERRUPTIONS:
        raise
    except BaseException as error:  # code of the user: also one that exits
        raise FormatError(
            f"the adapter {adapter} failed: {type(error).__name__}: {error}",
            files=[str(path)],
            hint=RETURNS,
        ) from error
    if given is None:
        raise FormatError(f"the adapter {adapter} returned None", files=[str(path)], hint=RETURNS)
    return open_arrays(given, request)


def _once(pairs: Iterable[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise PairingError(f"the adapter yields image {key!r} twice", hint="give every image once", code="SB120")
        found[key] = value
    return found


def load_function(adapter: str) -> Any:
    """The function of `FILE.py:FUNCTION`."""
    file, _, name = adapter.rpartition(":")
    if not file or not name:
        raise ConfigError(f"an adapter is FILE.py:FUNCTION, not {adapter!r}")
    if not os.path.isfile(file):
        raise ConfigError(f"no such adapter file: {file}")
    spec = importlib.util.spec_from_file_location(f"segbench_own_{Path(file).stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"an adapter is a Python file, FILE.py:FUNCTION, not {adapter!r}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        raise ConfigError(f"the adapter file {file} fails: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        raise ConfigError(f"{file} has no function {name!r}")
    return getattr(module, name)
