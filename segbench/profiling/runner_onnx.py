"""ONNX graphs: a file, or what torch's exporter makes of a module, in ONNX Runtime or OpenVINO."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segbench.errors import ConfigError, InputError, MissingDependencyError
from segbench.profiling import macs_onnx, meters
from segbench.profiling.families import Named
from segbench.profiling.macs_torch import Count, is_within
from segbench.profiling.records import Check, Runtime, Split
from segbench.profiling.runner import Failed, Turns, agreement
from segbench.profiling.runner_torch import TorchRunner
from segbench.profiling.spec import Spec, boundary
from segbench.profiling.timing import Clock, Run, StageTimer, WallClock

Feed = dict[str, Any]


class GraphRunner:
    """What does not depend on the runtime: shapes, counts, modules, and the cut between backbone and head.

    Args:
        path: The ONNX file.
        spec: What to measure.
        source: The torch model that the file was exported from, after one run: its modules are the graph's, and its output is what the
            graph must give.
    """

    staged = False

    def __init__(self, path: Path, spec: Spec, folder: Path, source: TorchRunner | None = None) -> None:
        self.spec = spec
        self.path = path
        self.folder = folder
        self.source = source
        self.clock: Clock = WallClock()
        model = macs_onnx.load(path)
        self.turns = Turns(spec.inputs, spec.seed, lambda arrays: _feed(model, spec, arrays))
        self.feed = self.turns.current
        self.graph = macs_onnx.with_input_shapes(model, {name: array.shape for name, array in self.feed.items()})
        if tensors := boundary(spec.backbone):
            if source is not None:
                raise ConfigError("tensors are named in ONNX files; a torch module is split at its modules", hint="--backbone PREFIX")
            macs_onnx.divide(self.graph, tensors)
        self.modules: Sequence[Named] = macs_onnx.modules(self.graph) if source is None else source.modules
        self.output: Any = None

        def load_and_run() -> None:
            self.call = self.session(self.prepared(path))
            self.run()

        began = self.clock.now()
        self.loading_memory = meters.peak_memory(load_and_run)
        self.first_call = self.clock.now() - began
        self.agreed = None if source is None else agreement(self.output, source.output, "torch eager")  # both of the first inputs

    def session(self, path: Path) -> Callable[[Feed], list[NDArray]]:
        """A call of the graph in a file; feeds hold more than it may take."""
        raise NotImplementedError

    def prepared(self, path: Path) -> Path:
        """The file to load for the graph in another; the same, where nothing is to be changed."""
        return path

    def run(self) -> Any:
        self.output = self.call(self.turns.next())
        return self.output

    def count(self) -> Count:
        """Of the graph in the file; what the runtime makes of it later has the same products."""
        missing = macs_onnx.unknown_shapes(self.graph)
        found = macs_onnx.count(self.graph, self._run_shapes(missing) if missing else None)
        found.dtypes.update({_products_dtype(self.graph): max(found.macs, 1)})
        return found

    def _run_shapes(self, names: list[str]) -> Mapping[str, tuple[int, ...]]:
        """Shapes that one run has, where none can be inferred; empty without ONNX Runtime."""
        onnx = macs_onnx.require_onnx()
        try:
            ort = require_onnxruntime()
        except MissingDependencyError:
            return {}
        more = onnx.ModelProto()
        more.CopyFrom(self.graph)
        have = {output.name for output in more.graph.output}
        made = {name for node in more.graph.node for name in node.output}
        wanted = [name for name in names if name in made]
        more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in have)
        session = ort.InferenceSession(more.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = session.run(wanted, {entry.name: self.feed[entry.name] for entry in session.get_inputs()})
        return {name: output.shape for name, output in zip(wanted, outputs, strict=True)}

    def parameters(self, split: Split | None) -> dict[str, int] | None:
        if self.source is not None:
            return self.source.parameters(split)
        return macs_onnx.parameters(self.graph, {"backbone": split.backbone, "neck": split.neck} if split else None)

    def backbone(self, split: Split) -> Run | None:
        paths = split.backbone + (split.neck if split.neck_in == "backbone" else [])
        cut = macs_onnx.cut_tensors(self.graph, lambda scope: is_within(scope, paths))
        if not cut:
            return None
        whole, part = self.folder / "whole.onnx", self.folder / "backbone.onnx"
        macs_onnx.require_onnx().save(self.graph, str(whole))
        macs_onnx.extract(whole, part, [entry.name for entry in self.graph.graph.input], cut)
        call = self.session(self.prepared(part))
        return lambda: call(self.feed)

    def follow(self, split: Split, timer: StageTimer) -> Callable[[], None]:
        raise NotImplementedError

    def large_products(self, side: int) -> list[Run]:
        """A product of matrices and a convolution in this runtime: what the machine reaches in it."""
        calls: list[Run] = []
        for path, feed in macs_onnx.large_products(self.folder, side):
            call = self.session(path)
            calls.append(partial(call, feed))
        return calls

    def check(self) -> Check | None:
        return self.agreed

    def transfers(self) -> dict[str, Run]:
        return {}  # inputs and outputs are on the host: a call holds the copies


class OnnxRuntimeRunner(GraphRunner):
    """ONNX Runtime. Threads do not spin: a spinning pool of another session would steal the cores and the comparison with it."""

    def __init__(self, path: Path, spec: Spec, folder: Path, source: TorchRunner | None = None) -> None:
        self.ort = require_onnxruntime()
        self.providers = _providers(self.ort, spec)
        self.ran_on: list[str] = []
        self.quantised: Path | None = None
        super().__init__(path, spec, folder, source)

    def options(self) -> Any:
        """One pool of the asked size."""
        options = self.ort.SessionOptions()
        options.log_severity_level = 4
        if self.spec.threads:
            options.intra_op_num_threads = self.spec.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def session(self, path: Path) -> Callable[[Feed], list[NDArray]]:
        try:
            session = self.ort.InferenceSession(str(path), self.options(), providers=self.providers)
        except Exception as error:
            raise _runtime_failure("ONNX Runtime", error) from error
        self.ran_on = self.ran_on or list(session.get_providers())
        names = {entry.name for entry in session.get_inputs()}
        return lambda feed: session.run(None, {name: array for name, array in feed.items() if name in names})

    def prepared(self, path: Path) -> Path:
        """The graph with weights of 8 bits and activations quantised as they come, where int8 was asked for and the file is not so already.
        Convolutions get unsigned weights: ONNX Runtime has no others on the CPU."""
        if self.spec.dtype != "int8" or _products_dtype(self.graph) == "int8":
            return path
        from onnxruntime.quantization import QuantType, quantize_dynamic

        target = self.folder / f"{path.stem}-int8.onnx"
        try:
            quantize_dynamic(str(path), str(target), weight_type=QuantType.QUInt8)
        except Exception as error:
            raise _runtime_failure("quantisation by ONNX Runtime", error) from error
        self.quantised = target
        return target

    def describe(self, count: Count | None) -> Runtime:
        quantisation = {"quantisation": "dynamic, weights of 8 bits"} if self.quantised else {}
        return Runtime(
            backend="onnxruntime",
            version=self.ort.__version__,
            mode="graph optimisation: all",
            device="cpu" if self.ran_on[:1] == ["CPUExecutionProvider"] else self.spec.device,
            providers=self.ran_on,
            requested_dtype=self.spec.dtype,
            compute_dtype=self._compute_dtype(),
            threads=self.spec.threads,
            options={"spinning": False, "transfers": "inputs and outputs on the host"} | quantisation,
        )

    def _compute_dtype(self) -> str:
        """What the products run in after optimisation: on the CPU, half precision is computed in float32 between casts."""
        onnx = macs_onnx.require_onnx()
        if self.quantised is not None:
            return _products_dtype(macs_onnx.with_input_shapes(onnx.load(str(self.quantised)), {n: a.shape for n, a in self.feed.items()}))
        asked = _products_dtype(self.graph)
        if asked in ("float32", "int8"):
            return asked
        optimised = self.folder / "optimised.onnx"
        options = self.options()
        options.optimized_model_filepath = str(optimised)
        self.ort.InferenceSession(str(self.path), options, providers=self.providers)
        return _products_dtype(onnx.shape_inference.infer_shapes(onnx.load(str(optimised))))

    def fell_back(self) -> str | None:
        """What was asked for and did not run."""
        if self.ran_on[:1] != self.providers[:1]:
            return f"asked for {self.providers[0]}, ran on {self.ran_on[0]}"
        return None


class OpenVinoRunner(GraphRunner):
    """OpenVINO on the CPU, in the asked precision: left alone it takes bfloat16 where the processor has it."""

    def __init__(self, path: Path, spec: Spec, folder: Path, source: TorchRunner | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingDependencyError("this backend needs the package openvino", hint="pip install 'segbench[openvino]'") from error
        if spec.device != "cpu":
            raise ConfigError("OpenVINO does not run on CUDA devices", hint="--device cpu, or --backend onnxruntime:cuda")
        self.openvino = openvino
        self.core = openvino.Core()
        self.compiled: Any = None
        super().__init__(path, spec, folder, source)

    def session(self, path: Path) -> Callable[[Feed], list[NDArray]]:
        hints = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
        if self.spec.dtype == "int8" and _products_dtype(self.graph) != "int8":
            raise ConfigError("OpenVINO computes in int8 where the file is quantised", hint="quantise it first, or --backend onnxruntime")
        properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hints.get(self.spec.dtype, "f32")}
        if self.spec.threads:
            properties["INFERENCE_NUM_THREADS"] = self.spec.threads
        try:
            model = self.core.read_model(str(path))
            names = [port.any_name for port in model.inputs]
            model.reshape({name: list(self.feed[name].shape) for name in names if name in self.feed})
            compiled = self.core.compile_model(model, "CPU", properties)
        except Exception as error:
            raise _runtime_failure("OpenVINO", error) from error
        self.compiled = self.compiled or compiled
        request = compiled.create_infer_request()
        outputs = list(compiled.outputs)

        def call(feed: Feed) -> list[NDArray]:
            results = request.infer({name: feed[name] for name in names}, share_inputs=True, share_outputs=True)
            return [results[port] for port in outputs]

        return call

    def describe(self, count: Count | None) -> Runtime:
        precision = str(self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        names = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
        ran = "int8" if _products_dtype(self.graph) == "int8" else names.get(precision, precision)
        return Runtime(
            backend="openvino",
            version=self.openvino.__version__.partition("-")[0],
            mode="latency hint",
            device="cpu",
            providers=["CPU"],
            requested_dtype=self.spec.dtype,
            compute_dtype=ran,
            threads=int(self.compiled.get_property("INFERENCE_NUM_THREADS")),
        )


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Where exported and cut graphs live while they are measured."""
    return tempfile.TemporaryDirectory(prefix="segbench-profile-")


def require_onnxruntime() -> Any:
    """The package, or how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("this backend needs the package onnxruntime", hint="pip install 'segbench[onnx]'") from error
    return onnxruntime


def _providers(ort: Any, spec: Spec) -> list[str]:
    available = ort.get_available_providers()
    wanted = spec.provider or ("cuda" if spec.device.startswith("cuda") else "cpu")
    name = next((name for name in available if name.lower() in (wanted.lower(), f"{wanted.lower()}executionprovider")), None)
    if name is None:
        raise ConfigError(
            f"this ONNX Runtime has no provider {wanted!r}",
            hint=f"it has {', '.join(name.removesuffix('ExecutionProvider') for name in available)}",
        )
    return list(dict.fromkeys([name, "CPUExecutionProvider"]))


def _feed(model: Any, spec: Spec, arrays: Sequence[NDArray]) -> Feed:
    """Arrays by the graph's input names, in its order where the spec gives none.

    Raises:
        InputError: more or fewer inputs than the graph has.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in held]
    unknown = [entry.name for entry in spec.inputs if entry.name is not None and entry.name not in names]
    if len(spec.inputs) != len(names) or (unknown and len(names) > 1):
        raise InputError(
            f"the model has {len(names)} inputs ({', '.join(names)}), --input gives {len(spec.inputs)}",
            hint="one --input NAME=SHAPE for each",
        )
    left = [name for name in names if name not in {entry.name for entry in spec.inputs}]
    feed = {}
    for entry, array in zip(spec.inputs, arrays, strict=True):
        name = entry.name if entry.name in names else left.pop(0)
        feed[str(name)] = array.astype(_numpy_type(model, str(name)), copy=False)
    return feed


def _numpy_type(model: Any, name: str) -> Any:
    onnx = macs_onnx.require_onnx()
    entry = next(entry for entry in model.graph.input if entry.name == name)
    return onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)


def _products_dtype(graph: Any) -> str:
    """The type most products of a graph work in; with quantised operands, int8."""
    onnx = macs_onnx.require_onnx()
    kinds = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    kinds |= {entry.name: entry.type.tensor_type.elem_type for entry in (*graph.graph.input, *graph.graph.value_info, *graph.graph.output)}
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    shapes = macs_onnx.known_shapes(graph)
    found: dict[str, int] = {}
    for node in graph.graph.node:
        if node.op_type not in macs_onnx.PRODUCTS:
            continue
        operands = list(node.input[:2])
        whole = "Integer" in node.op_type or node.op_type.startswith("QLinear")
        if whole or all(makers.get(name) == "DequantizeLinear" for name in operands):
            name = "int8"
        else:
            kind = next((kinds[operand] for operand in reversed(operands) if operand in kinds), 1)
            name = _type_name(onnx, kind)
        found[name] = found.get(name, 0) + (macs_onnx.node_macs(node, shapes) or 1)
    return max(found, key=lambda name: found[name]) if found else "float32"


def _type_name(onnx: Any, kind: int) -> str:
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(onnx.TensorProto.DataType.Name(kind), onnx.TensorProto.DataType.Name(kind).lower())


def _runtime_failure(runtime: str, error: Exception) -> Exception:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    first = re.sub(r"Load model from \S+ failed: ?", "", first)[:300]  # a temporary file's name helps nobody
    if isinstance(error, MemoryError) or "allocate" in first.lower() or "out of memory" in first.lower():
        return Failed("memory", f"{runtime}: {first}")
    return Failed("unsupported", f"{runtime}: {first}")
