"""From a torch module to an ONNX graph that keeps its module paths."""

from __future__ import annotations

import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from segbench.errors import MissingDependencyError
from segbench.profiling import macs_onnx
from segbench.profiling.runner import Failed
from segbench.profiling.runner_torch import TorchRunner


def export(source: TorchRunner, folder: Path) -> Path:
    """The ONNX graph of a torch module, with its module paths.

    Raises:
        Failed: the exporter cannot; which step failed is in the message.
    """
    macs_onnx.require_onnx()
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("exporting needs the package onnxscript", hint="pip install 'segbench[onnx]'") from error
    path = folder / "model.onnx"
    from torch.nn.attention import SDPBackend, sdpa_kernel

    try:
        _export(source, path)
    except Exception:
        # the exporter expects another layout of what the CPU's fused attention gives; unfused attention exports
        try:
            with sdpa_kernel(SDPBackend.MATH):
                _export(source, path)
        except Exception as error:
            raise Failed("export", _cause(error)) from error
    return path


def _export(source: TorchRunner, path: Path) -> None:
    """Silently: on a failure the exporter prints the whole graph."""
    import io
    import logging
    import warnings

    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), source.torch.no_grad():
            warnings.simplefilter("ignore")
            program = source.torch.onnx.export(
                source.model, tuple(source.args), kwargs=dict(source.kwargs), dynamo=True, verbose=False, optimize=True
            )
            program.save(str(path))
    finally:
        logging.disable(logging.NOTSET)


def _cause(error: BaseException) -> str:
    """The first line of what went wrong at the bottom: the exporter wraps it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return f"{type(error).__name__}: {(text.splitlines() or [''])[0][:200]}"
