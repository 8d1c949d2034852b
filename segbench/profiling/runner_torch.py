"""PyTorch, eager or compiled, on the CPU or a CUDA device."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from segbench.errors import ConfigError, InputError
from segbench.profiling import macs_torch, targets
from segbench.profiling.families import Named, kind_of
from segbench.profiling.macs_torch import Count, is_within
from segbench.profiling.records import Check, Runtime, Split, Tensor
from segbench.profiling.runner import Arguments, Failed, Turns, agreement, arguments, flatten, require_torch
from segbench.profiling.spec import Spec
from segbench.profiling.targets import Loaded
from segbench.profiling.timing import Clock, Run, StageTimer, WallClock


class CudaClock:
    """Wall time that waits for the device, and events in its queue."""

    name = "perf_counter_ns+cuda_event"
    queued = True

    def __init__(self, cuda: Any, device: Any) -> None:
        self.cuda = cuda
        self.device = device
        self.wall = WallClock()

    def now(self) -> int:
        return self.wall.now()

    def sync(self) -> None:
        self.cuda.synchronize(self.device)

    def mark(self) -> Any:
        event = self.cuda.Event(enable_timing=True)
        event.record(self.cuda.current_stream(self.device))
        return event

    def between(self, start: Any, end: Any) -> int:
        return round(start.elapsed_time(end) * 1e6)


class TorchRunner:
    """A torch model. Counting, parameters and modules are of the eager model; `run` is compiled where that was asked for."""

    def __init__(self, loaded: Loaded, spec: Spec) -> None:
        torch = require_torch("this model")
        self.torch = torch
        self.spec = spec
        self.loaded = loaded
        self.device = _device(torch, spec.device)
        self.clock: Clock = CudaClock(torch.cuda, self.device) if self.device.type == "cuda" else WallClock()
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self.dtype = _set_precision(torch, spec)
        self.compiled = spec.backend == "torch.compile"
        self.staged = not self.compiled
        self.model = loaded.model
        self.is_module = isinstance(self.model, torch.nn.Module)
        if self.is_module:
            self.model = self.model.eval().to(device=self.device, dtype=self.dtype)
        elif self.dtype is not torch.float32:
            raise ConfigError("a callable decides itself in which type it computes", hint="pass an nn.Module, or leave out the dtype")
        self.modules: Sequence[Named] = (
            [Named(path, kind_of(module)) for path, module in self.model.named_modules()] if self.is_module else []
        )
        self.turns = Turns(spec.inputs, spec.seed, self._arguments)
        self.args, self.kwargs = self.turns.current
        self.function = torch.compile(self.model) if self.compiled else self.model
        self.output: Any = None

    def _arguments(self, arrays: list[NDArray]) -> Arguments:
        return arguments(self.spec.inputs, [self._tensor(array) for array in arrays], self.loaded.input_name)

    def _tensor(self, array: NDArray) -> Any:
        tensor = self.torch.from_numpy(array).to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self) -> Any:
        args, kwargs = self.turns.next()
        with self.torch.inference_mode():
            self.output = self.function(*args, **kwargs)
        return self.output

    def _run_eager(self) -> Any:
        args, kwargs = self.turns.current
        return self.model(*args, **kwargs)

    def describe(self, count: Count | None) -> Runtime:
        torch = self.torch
        cuda = self.device.type == "cuda"
        options: dict[str, Any] = {}
        if cuda:
            options = {
                "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
                "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
        attention = getattr(getattr(self.model, "config", None), "_attn_implementation", None)
        if attention:
            options["attention"] = attention
        return Runtime(
            backend="torch",
            version=str(torch.__version__),
            mode="compile:inductor" if self.compiled else "eager",
            device=str(self.device),
            requested_dtype=self.spec.dtype,
            compute_dtype=self._compute_dtype(count),
            threads=torch.get_num_threads(),
            options=options,
        )

    def _compute_dtype(self, count: Count | None) -> str | None:
        if count is None or not count.dtypes:
            return None
        name = count.dtypes.most_common(1)[0][0]
        tf32 = self.device.type == "cuda" and self.torch.backends.cuda.matmul.allow_tf32
        return "tf32" if name == "float32" and tf32 else name

    def count(self) -> Count:
        return macs_torch.count(self.model if self.is_module else None, self._run_eager)

    def parameters(self, split: Split | None) -> dict[str, int] | None:
        if not self.is_module:
            return None
        return macs_torch.parameters(self.model, {"backbone": split.backbone, "neck": split.neck} if split else None)

    def follow(self, split: Split, timer: StageTimer) -> Callable[[], None]:
        handles: list[Any] = []
        for stage, paths in (("backbone", split.backbone), ("neck", split.neck)):
            for module in self._roots(paths):
                handles.append(module.register_forward_pre_hook(_entering(timer, stage), prepend=True))
                handles.append(module.register_forward_hook(_leaving(timer, stage), always_call=True))

        def stop() -> None:
            for handle in handles:
                handle.remove()

        return stop

    def _roots(self, paths: list[str], calls: list[tuple[Any, Any, Any]] | None = None) -> list[Any]:
        """The modules that begin the work at or below these paths: a module list is never called itself, its members are."""
        begun: list[Any] = []
        depth = [0]

        def enter(module: Any, args: Any, kwargs: Any) -> None:
            if not depth[0]:
                if module not in begun:
                    begun.append(module)
                if calls is not None:
                    calls.append((module, _copied(self.torch, args), _copied(self.torch, kwargs)))
            depth[0] += 1

        def leave(module: Any, args: Any, out: Any) -> None:
            depth[0] -= 1

        handles = []
        for path, module in self.model.named_modules():
            if is_within(path, paths):
                handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            with self.torch.inference_mode():
                self._run_eager()
        finally:
            for handle in handles:
                handle.remove()
        return begun

    def backbone(self, split: Split) -> Run | None:
        """The backbone's modules again, with the inputs they had."""
        calls: list[tuple[Any, Any, Any]] = []
        paths = split.backbone + (split.neck if split.neck_in == "backbone" else [])
        self._roots(paths, calls)
        if not calls:
            return None
        ready = [(self.torch.compile(module) if self.compiled else module, args, kwargs) for module, args, kwargs in calls]

        def run() -> Any:
            with self.torch.inference_mode():
                return [module(*args, **kwargs) for module, args, kwargs in ready]

        return run

    def check(self) -> Check | None:
        if not self.compiled:
            return None
        with self.torch.inference_mode():
            return agreement(self.output, self._run_eager(), "torch eager")

    def transfers(self) -> dict[str, Run]:
        return copies(self.turns.current, self.output, self.device) if self.device.type == "cuda" else {}

    def device_memory(self, run: Run) -> dict[str, int]:
        """Bytes of the allocator: what tensors took before a call and at most during it, and what was reserved for them."""
        if self.device.type != "cuda":
            return {}
        cuda = self.torch.cuda
        cuda.synchronize(self.device)
        cuda.empty_cache()
        self.output = None  # the last output is no part of what the next call needs
        cuda.reset_peak_memory_stats(self.device)
        base = cuda.memory_allocated(self.device)
        run()
        cuda.synchronize(self.device)
        return {
            "cuda_base": base,
            "cuda_allocated": cuda.max_memory_allocated(self.device),
            "cuda_reserved": cuda.max_memory_reserved(self.device),
        }


def copies(inputs: Any, output: Any, device: Any) -> dict[str, Run]:
    """Inputs from the host to a device, and an output back; in pageable memory of the host, as a program has its images."""
    there, here = [value.cpu() for value in flatten(inputs)], flatten(output)
    return {"h2d": lambda: [value.to(device, copy=True) for value in there], "d2h": lambda: [value.to("cpu", copy=True) for value in here]}


def _entering(timer: StageTimer, stage: str) -> Callable[..., None]:
    return lambda module, args: timer.enter(stage)


def _leaving(timer: StageTimer, stage: str) -> Callable[..., None]:
    return lambda module, args, out: timer.leave(stage)


def _copied(torch: Any, value: Any) -> Any:
    """Tensors copied, so that later work in place does not change what is replayed; everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(torch, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_copied(torch, item) for item in value)
    return value


def _device(torch: Any, name: str) -> Any:
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            "there is no CUDA device here" if torch.version.cuda else "this torch was built without CUDA",
            hint="--device cpu, or install torch for CUDA",
        )
    device = torch.device(name)
    if device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        if index >= torch.cuda.device_count():
            raise ConfigError(f"there is no device {name}", hint=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}")
        return torch.device("cuda", index)
    return device


def _set_precision(torch: Any, spec: Spec) -> Any:
    if spec.dtype == "int8":
        raise ConfigError(
            "torch quantises nothing without calibration data", hint="--backend onnxruntime, or profile a model that is quantised already"
        )
    cuda = spec.device.startswith("cuda")
    if spec.dtype == "tf32" and not cuda:
        raise ConfigError("tf32 is a mode of CUDA devices", hint="--dtype fp32 or bf16")
    if cuda:  # fp32 means fp32: convolutions would use TF32 by default
        torch.backends.cuda.matmul.allow_tf32 = spec.dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = spec.dtype == "tf32"
    return torch.float32 if spec.dtype == "tf32" else getattr(torch, spec.dtype)


def failure(error: Exception, who: str = "the model", inputs: Sequence[Tensor] = ()) -> Exception:
    """What an error of torch means: out of memory and unsupported operations are results, a wrong input is the caller's to mend.

    Args:
        error: As a call of the model raised it.
        who: Which model.
        inputs: What it was called with, for a hint.
    """
    text = str(error).strip()
    text = text[max(0, text.find("DefaultCPUAllocator")) :]  # before it stands where in torch's source it happened
    first = (text.splitlines() or [type(error).__name__])[0][:300]
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return Failed("memory", first)
    if isinstance(error, NotImplementedError) or "not implemented for" in text:
        return Failed("unsupported", first)
    if type(error).__module__.startswith("torch._dynamo") or type(error).__module__.startswith("torch._inductor"):
        return Failed("unsupported", f"torch.compile: {first}")
    origin = targets.origin(error)
    where = f" (in {origin.place})" if origin else ""
    hint = None if origin and origin.raised_there else _input_hint(text, inputs)
    return InputError(f"{who} fails on this input: {type(error).__name__}: {first}{where}", hint=hint)


INDICES = re.compile("'indices'.*Long|index tensor|tensors used as indices|scalar type Long")
"""Errors of torch that mean: these are numbers of things, not values."""


def _input_hint(text: str, inputs: Sequence[Tensor]) -> str:
    floats = [entry for entry in inputs if "float" in entry.dtype]
    if not floats or not INDICES.search(text):
        return "check --input against what the model takes"
    shape = "x".join(map(str, floats[0].shape[1:])) or "scalar"
    name = f"{floats[0].name}=" if floats[0].name else ""
    return f"it takes indices, not floats: --input {name}{shape}:int64"
