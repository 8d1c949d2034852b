"""From a spec to a runner: the target is loaded, and the backend that was asked for takes it, exported where it must be."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from segbench.errors import ConfigError
from segbench.profiling import targets
from segbench.profiling.records import Tensor
from segbench.profiling.runner import CallableRunner, Runner
from segbench.profiling.spec import Spec
from segbench.profiling.targets import Loaded


def load(target: str) -> Loaded:
    """What a target names; of an ONNX file its path and digest."""
    if not targets.is_onnx(target):
        return targets.load(target)
    path = Path(target)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else None
    return Loaded(path, path.stem, weights=digest)


def own_inputs(loaded: Loaded) -> list[Tensor]:
    """What a model says it takes, without batch."""
    if isinstance(loaded.model, Path):
        from segbench.profiling import macs_onnx

        return macs_onnx.own_inputs(macs_onnx.load(loaded.model))
    return [Tensor(shape=loaded.input_shape, dtype="float32")] if loaded.input_shape else []


def runner(spec: Spec, loaded: Loaded, stack: ExitStack, enter: Callable[[str], None] = lambda stage: None) -> Runner:
    """The model in its backend.

    Args:
        spec: Inputs with their batch.
        loaded: The model or the path of an ONNX file.
        stack: Holds the folder of exported graphs while they are measured.
        enter: Told that exporting begins.

    Raises:
        ConfigError: the backend does not run such models.
        Failed: it cannot be exported.
    """
    is_file = isinstance(loaded.model, Path)
    if spec.backend in ("onnxruntime", "openvino"):
        from segbench.profiling import runner_onnx

        kind = runner_onnx.OnnxRuntimeRunner if spec.backend == "onnxruntime" else runner_onnx.OpenVinoRunner
        folder = Path(stack.enter_context(runner_onnx.temporary_folder()))
        if is_file:
            return kind(loaded.model, spec, folder)
        if not targets.is_module(loaded.model):
            raise ConfigError(f"{spec.backend} runs ONNX files and torch modules", hint="--backend python")
        from segbench.profiling.export import export
        from segbench.profiling.runner_torch import TorchRunner

        dtype = "float32" if spec.dtype == "int8" else spec.dtype  # quantised is the exported graph
        source = TorchRunner(loaded, msgspec.structs.replace(spec, backend="torch", device="cpu", dtype=dtype))
        source.run()  # what the graph must give: tracing may change what a model keeps between calls
        enter("export")
        path = export(source, folder)
        enter("load")
        return kind(path, spec, folder, source)
    if is_file:
        raise ConfigError(f"{spec.backend} does not run ONNX files", hint="--backend onnxruntime or openvino")
    if spec.backend == "python" or (spec.backend == "torch" and not targets.is_module(loaded.model) and "torch" not in sys.modules):
        return CallableRunner(loaded.model, spec)
    from segbench.profiling.runner_torch import TorchRunner

    return TorchRunner(loaded, spec)
