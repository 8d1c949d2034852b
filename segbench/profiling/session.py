"""One measurement from beginning to end: a spec in, a record out. Everything that depends on a framework is behind `Runner`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from segbench import __version__
from segbench.errors import ConfigError, SegbenchError
from segbench.profiling import families, meters, overhead, statistics, targets
from segbench.profiling.hardware import Gpu, fingerprint
from segbench.profiling.macs_torch import Count
from segbench.profiling.meters import Disturbance
from segbench.profiling.records import (
    Compute,
    Energy,
    Failure,
    Latency,
    Memory,
    Model,
    Overhead,
    Parameters,
    Quality,
    Ratios,
    Record,
    Roof,
    Runtime,
    Split,
    Stage,
    Tensor,
    Throughput,
    Workload,
)
from segbench.profiling.runner import CallableRunner, Failed, Runner, require_output
from segbench.profiling.spec import Spec, resolve
from segbench.profiling.targets import Loaded
from segbench.profiling.timing import Policy, Series, StageTimer, Told, Warmup, alternate, back_to_back, in_situ, measure, warm_up

ENERGY_S = 2.0
"""Energy counters are read over at least this long: they tick some tens of times a second."""
THROUGHPUT_S = 1.0


@dataclass
class Session:
    """What a measurement has learned so far; `record` says what is known, also when the rest fails."""

    spec: Spec
    told: Told
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    stage: str = "load"
    runtime: Runtime | None = None
    gpu: Gpu | None = None
    model: Model | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def enter(self, stage: str) -> None:
        self.stage = stage
        self.told(stage, 0.0)

    def record(self, error: Failure | None = None) -> Record:
        spec = self.spec
        return Record(
            started=self.started,
            segbench=__version__,
            model=self.model or Model(name=spec.name or default_name(spec.target), target=targets.shown(spec.target), task=spec.task),
            workload=Workload(
                batch=spec.batch,
                inputs=spec.inputs,
                post=spec.post,
                output_size=spec.output_size,
                detections=spec.detections or None,
                scenario="single_stream" if spec.batch == 1 else "multi_stream",
                seed=spec.seed,
            ),
            runtime=self.runtime or Runtime(backend=spec.backend, device=spec.device, requested_dtype=spec.dtype, threads=spec.threads),
            hardware=fingerprint(self.gpu),
            warnings=list(self.warnings),
            error=error,
            **self.parts,
        )


def default_name(target: str) -> str:
    """What a model is called when nobody says: the factory, the configuration, or the file."""
    shown = targets.shown(target)
    if targets.is_onnx(shown) or shown.endswith(".json"):
        return Path(target).stem if Path(target).stem != "config" else Path(target).resolve().parent.name
    return shown.rpartition(":")[2].rpartition(".")[2].removesuffix("Config")


def run(spec: Spec, told: Told = lambda what, share: None, loaded: Loaded | None = None, reference: Loaded | None = None) -> Record:
    """Measures.

    Args:
        spec: What to measure.
        told: Progress.
        loaded, reference: Models that are already here; otherwise the spec's targets are loaded.

    Returns:
        The record; out of memory, a failed export and an unsupported operation are in its `error`.

    Raises:
        SegbenchError: what the caller must mend: target, input, missing package.
    """
    session = Session(spec, told)
    with ExitStack() as stack:
        try:
            session.enter("load")
            loaded = loaded or _load(spec.target)
            session.spec = spec = resolve(spec, _own_inputs(loaded))
            runner = _runner(spec, stack, session, loaded)
            _measure(session, runner, spec, reference)
        except Failed as error:
            return session.record(Failure(kind=error.kind, message=str(error), stage=session.stage))
        except SegbenchError:
            raise
        except Exception as error:
            from segbench.profiling.runner_torch import failure

            meant = failure(error)
            if isinstance(meant, Failed):
                return session.record(Failure(kind=meant.kind, message=str(meant), stage=session.stage))
            raise meant from error
    return session.record()


def refused(spec: Spec, error: SegbenchError) -> Record:
    """The record of an input that the model does not take, in a sweep where others may fit."""
    known = resolve(spec, ()) if spec.inputs else spec
    return Session(known, lambda what, share: None).record(Failure(kind="input", message=error.message, stage="load"))


def _load(target: str) -> Loaded:
    if targets.is_onnx(target):
        import hashlib

        path = Path(target)
        digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else None
        return Loaded(path, path.stem, weights=digest)
    return targets.load(target)


def _own_inputs(loaded: Loaded) -> list[Tensor]:
    """What a model says it takes, without batch."""
    if isinstance(loaded.model, Path):
        from segbench.profiling import macs_onnx

        return macs_onnx.own_inputs(macs_onnx.load(loaded.model))
    return [Tensor(shape=loaded.input_shape, dtype="float32")] if loaded.input_shape else []


def _runner(spec: Spec, stack: ExitStack, session: Session, loaded: Loaded) -> Runner:
    session.model = Model(
        name=spec.name or (default_name(spec.target) if spec.target else loaded.name),
        target=targets.shown(spec.target),
        task=spec.task,
        weights=loaded.weights,
    )
    is_file = isinstance(loaded.model, Path)
    if spec.backend in ("onnxruntime", "openvino"):
        from segbench.profiling import runner_onnx

        kind = runner_onnx.OnnxRuntimeRunner if spec.backend == "onnxruntime" else runner_onnx.OpenVinoRunner
        folder = Path(stack.enter_context(runner_onnx.temporary_folder()))
        if is_file:
            return kind(loaded.model, spec, folder)
        source = _torch_source(loaded, spec)
        session.enter("export")
        return kind(runner_onnx.export(source, folder), spec, folder, source)
    if is_file:
        raise ConfigError(f"{spec.backend} does not run ONNX files", hint="--backend onnxruntime or openvino")
    if spec.backend == "python" or (spec.backend == "torch" and not targets.is_module(loaded.model) and "torch" not in _imported()):
        return CallableRunner(loaded.model, spec)
    from segbench.profiling.runner_torch import TorchRunner

    return TorchRunner(loaded, spec)


def _imported() -> dict[str, Any]:
    import sys

    return dict(sys.modules)


def _torch_source(loaded: Loaded, spec: Spec) -> Any:
    import msgspec

    from segbench.profiling.runner_torch import TorchRunner

    if not targets.is_module(loaded.model):
        raise ConfigError(f"{spec.backend} runs ONNX files and torch modules", hint="--backend python")
    return TorchRunner(loaded, msgspec.structs.replace(spec, backend="torch", device="cpu"))


def _measure(session: Session, runner: Runner, spec: Spec, reference: Loaded | None) -> None:
    policy = Policy(**spec.policy)
    session.enter("warm-up")
    before = Disturbance.now()
    nvml = _nvml(spec, session)
    gpu_before = nvml.state()._asdict() if nvml else None
    warmup = warm_up(runner.run, runner.clock, policy)
    require_output(runner.output)
    output = runner.output
    session.enter("count")
    count = runner.count()
    split, family = _split(session, runner, spec)
    session.model.family = family  # type: ignore[union-attr]
    session.runtime = runner.describe(count)
    _note_runtime(session, runner, spec)
    parameters = _parameters(runner, split)
    compute = None if count is None else _compute(count, split, "onnx-graph" if spec.backend in ("onnxruntime", "openvino") else "dispatch")
    session.parts |= {"split": split, "parameters": parameters, "compute": compute}
    if count is not None and count.suspicious:
        session.warnings.append(f"not counted, and may hold products: {', '.join(sorted(count.suspicious))}; macs is a lower bound")
    session.parts["check"] = runner.check()

    session.enter("memory")
    alone = runner.backbone(split) if split else None
    session.parts["memory"] = memory = _memory(runner, alone, nvml)

    session.enter("latency")
    series = measure(runner.run, runner.clock, policy, session.told)
    session.parts["latency"] = latency = summarise(series, policy, warmup, runner.clock.name, getattr(runner, "first_call", None))
    stages: dict[str, Stage] = {}
    session.parts["stages"] = stages
    if split is not None:
        session.enter("head and backbone")
        method, ratios, others = _split_latency(session, runner, split, alone, policy, stages)
        if spec.post != "none":
            _post(session, runner, spec, output, policy, stages, compute)
        whole = overhead.assemble(split, method, ratios, compute, parameters, memory, stages, latency.p50)
        whole.others = others
        session.parts["overhead"] = whole
    elif spec.post != "none":
        _post(session, runner, spec, output, policy, stages, compute)
    if spec.reference or reference:
        session.enter("reference model")
        _reference(session, runner, spec, reference, policy)
    _rest(session, runner, spec, latency, compute, nvml)
    after = Disturbance.now()
    session.parts["quality"] = Quality(
        noisy=latency.noisy,
        load_before=before.load,
        load_after=after.load,
        involuntary_switches=None if before.switches is None or after.switches is None else after.switches - before.switches,
        stolen=meters.stolen_share(before, after),
        gpu_before=gpu_before,
        gpu_after=nvml.state()._asdict() if nvml else None,
    )
    if "overhead" not in session.parts and spec.post != "none":
        session.parts["overhead"] = Overhead(
            method="none",
            head_over_backbone=Ratios(),
            head_share=Ratios(),
            post_over_network=overhead.post_over(stages, latency.p50),
        )


def summarise(series: Series, policy: Policy, warmup: Warmup | None, clock: str, first_call: int | None = None) -> Latency:
    """Order statistics of a series, as the record holds them."""
    values = series.samples
    interval = statistics.median_interval(values, policy.confidence)
    given = {
        f"p{round(100 * share)}": statistics.percentile(values, share) for share, least in statistics.PERCENTILES if len(values) >= least
    }
    return Latency(
        n=len(values),
        p50=round(statistics.median(values)),
        p50_interval=None if interval is None else (int(interval.low), int(interval.high)),
        confidence=policy.confidence,
        **given,  # type: ignore[arg-type]
        p90_mlperf=_whole(statistics.early_stopping_percentile(values, 0.90)),
        p99_mlperf=_whole(statistics.early_stopping_percentile(values, 0.99)),
        min=min(values),
        max=max(values),
        mean=sum(values) / len(values),
        variation=statistics.variation(values),
        spread=statistics.spread(values),
        drift=statistics.drift(values),
        slow_outliers=statistics.slow_outliers(values),
        noisy=statistics.is_noisy(values),
        stopped=series.stopped,
        clock=clock,
        samples=values,
        device_p50=round(statistics.median(series.device)) if series.device else None,
        first_call=first_call or (warmup.first_call if warmup else None),
        warmup_runs=warmup.runs if warmup else None,
        steady=warmup.steady if warmup else None,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _split(session: Session, runner: Runner, spec: Spec) -> tuple[Split | None, str | None]:
    if not runner.modules:
        if spec.backbone not in (None, "auto", "none"):
            raise ConfigError("this model names no modules to split at", hint="leave out --backbone")
        return None, None
    found, family = families.split(runner.modules, spec.backbone, spec.neck, spec.neck_in)
    if found is None:
        if spec.backbone == "auto":
            session.warnings.append(f"no split into backbone and head: {family}; name the backbone's modules with --backbone")
        return None, families.family_of(runner.modules)
    return found, family or families.family_of(runner.modules)


def _note_runtime(session: Session, runner: Runner, spec: Spec) -> None:
    ran = session.runtime.compute_dtype if session.runtime else None
    if ran is not None and ran != spec.dtype:
        session.warnings.append(f"asked for {spec.dtype}, computed in {ran}")
    fell_back = getattr(runner, "fell_back", None)
    if fell_back is not None and (message := fell_back()):
        session.warnings.append(message)


def _parameters(runner: Runner, split: Split | None) -> Parameters | None:
    found = runner.parameters(split)
    if found is None:
        return None
    if split is not None and "backbone" in found:
        found["head"] = found["total"] - found["backbone"] - found["neck"]
    return Parameters(**found)


def _compute(count: Count, split: Split | None, method: str) -> Compute:
    parts: dict[str, Any] = {}
    if split is not None:
        parts = {"macs_backbone": count.within(split.backbone), "macs_neck": count.within(split.neck)}
        parts["macs_head"] = count.macs - sum(parts.values())
    return Compute(
        macs=count.macs,
        flops=2 * count.macs,
        method=method,
        uncounted_ops=dict(sorted(count.uncounted.items(), key=lambda item: (-item[1], item[0]))),
        suspicious_ops=sorted(count.suspicious),
        by_module=dict(count.by_module),
        element_ops=count.elements,
        bytes_moved=count.bytes_moved or None,
        **parts,
    )


def _memory(runner: Runner, alone: Callable[[], Any] | None, nvml: meters.Nvml | None) -> Memory:
    loading = getattr(runner, "loading_memory", None)
    if loading is not None:  # these keep what they once needed: only the way there shows it
        base, peak = loading
        return Memory(rss_base=base, rss_peak=peak, process_peak=meters.process_peak(), method="high-water mark of loading and first call")
    found = Memory()
    if (peak := meters.peak_memory(runner.run)) is not None:
        found.rss_base, found.rss_peak = peak
        found.method = "high-water mark of one call"
    if alone is not None:
        alone()  # its first call may compile
        if (peak := meters.peak_memory(alone)) is not None:
            found.backbone_base, found.backbone_peak = peak
    device_memory = getattr(runner, "device_memory", None)
    if device_memory is not None:
        for name, value in device_memory(runner.run).items():
            setattr(found, name, value)
        found.backbone_cuda_allocated = device_memory(alone).get("cuda_allocated") if alone is not None else None
    found.process_peak = meters.process_peak()
    found.device_used = nvml.memory_used() if nvml else None
    return found


def _split_latency(
    session: Session, runner: Runner, split: Split, alone: Callable[[], Any] | None, policy: Policy, stages: dict[str, Stage]
) -> tuple[str, tuple[Ratios, Ratios] | None, dict[str, Ratios]]:
    wanted = session.spec.estimator
    if wanted == "in-situ" and not runner.staged:
        raise ConfigError("in-situ needs eager torch: a compiled graph has no modules left", hint="--estimator counterfactual")
    inside = runner.staged and wanted != "counterfactual"
    method, ratios, others = "none", None, {}
    if inside:
        method, ratios = "in-situ", _in_situ(session, runner, split, policy, stages)
    if (not inside or wanted == "both") and alone is not None:
        compared = _counterfactual(session, runner, alone, policy, {} if inside else stages)
        if inside:
            others["counterfactual"] = compared[0]
        else:
            method, ratios = "counterfactual", compared
    return method, ratios, others


def _in_situ(session: Session, runner: Runner, split: Split, policy: Policy, stages: dict[str, Stage]) -> tuple[Ratios, Ratios]:
    timer = StageTimer(runner.clock)
    stop = runner.follow(split, timer)
    try:
        rows = in_situ(runner.run, timer, "backbone", policy, session.told)
    finally:
        stop()
    whole = [row[""] for row in rows]
    backbone, neck = [row["backbone"] for row in rows], [row.get("neck", 0) for row in rows]
    stages["backbone"] = overhead.stage(backbone, "in-situ", policy.confidence)
    if split.neck and any(neck):
        stages["neck"] = overhead.stage(neck, "in-situ", policy.confidence)
    head = [total - a - b for total, a, b in zip(whole, backbone, neck, strict=True)]
    stages["head"] = overhead.stage(head, "in-situ", policy.confidence, "everything outside backbone and neck")
    part = [a + b for a, b in zip(backbone, neck, strict=True)] if split.neck_in == "backbone" else backbone
    return overhead.paired(whole, part, policy.confidence)


def _counterfactual(
    session: Session, runner: Runner, alone: Callable[[], Any], policy: Policy, stages: dict[str, Stage]
) -> tuple[Ratios, Ratios]:
    warm_up(alone, runner.clock, policy)
    whole, part = alternate(runner.run, alone, runner.clock, policy, session.told)
    stages["backbone"] = overhead.stage(part.samples, "counterfactual", policy.confidence)
    head = [a - b for a, b in zip(whole.samples, part.samples, strict=True)]
    if statistics.median(head) > 0:
        stages["head"] = overhead.stage(head, "counterfactual", policy.confidence, "whole minus backbone")
    else:
        session.warnings.append(
            "the backbone alone takes longer than the whole: cut out, it must hand over what the runtime would have fused"
        )
    return overhead.paired(whole.samples, part.samples, policy.confidence)


def _post(
    session: Session, runner: Runner, spec: Spec, output: Any, policy: Policy, stages: dict[str, Stage], compute: Compute | None
) -> None:
    from segbench.profiling import macs_torch, postprocess

    session.enter("post-processing")
    size = spec.output_size or tuple(next(entry.shape for entry in spec.inputs if len(entry.shape) >= 3)[-2:])
    session.spec.output_size = (int(size[0]), int(size[1]))
    device = getattr(runner, "device", "cpu")
    for detections in spec.detections or (None,):
        post = postprocess.build(spec.post, output, session.spec.output_size, detections, device, spec.seed)
        if compute is not None:
            compute.macs_post = macs_torch.count(None, post.run).macs
        warm_up(post.run, runner.clock, policy)
        series = measure(post.run, runner.clock, policy, session.told)
        name = "post" if detections is None else f"post {detections}"
        stages[name] = overhead.stage(series.samples, "alone", policy.confidence, post.implementation)


def _reference(session: Session, runner: Runner, spec: Spec, reference: Loaded | None, policy: Policy) -> None:
    """Cost over another model, such as the detector without its mask branch."""
    with ExitStack() as stack:
        inner = Session(spec, session.told)
        other = _runner(spec, stack, inner, reference or _load(str(spec.reference)))
        warm_up(other.run, other.clock, policy)
        count, parameters = other.count(), other.parameters(None)
        whole, part = alternate(runner.run, other.run, runner.clock, policy, session.told)
    over, shares = overhead.paired(whole.samples, part.samples, policy.confidence)
    compute, own = session.parts["compute"], session.parts["parameters"]
    if compute is not None and count is not None:
        over.macs, shares.macs = overhead.over(compute.macs, count.macs), overhead.share(compute.macs, count.macs)
    if own is not None and parameters is not None:
        over.parameters, shares.parameters = overhead.over(own.total, parameters["total"]), overhead.share(own.total, parameters["total"])
    if "overhead" in session.parts:
        session.parts["overhead"].others["reference-model"] = over
    else:
        session.parts["overhead"] = Overhead(method="reference-model", head_over_backbone=over, head_share=shares)


def _rest(session: Session, runner: Runner, spec: Spec, latency: Latency, compute: Compute | None, nvml: meters.Nvml | None) -> None:
    session.enter("throughput")
    window = min(THROUGHPUT_S, Policy(**spec.policy).max_time_s)
    calls = max(3, min(1000, round(window * 1e9 / max(1, latency.p50))))
    took = back_to_back(runner.run, runner.clock, calls)
    session.parts["throughput"] = Throughput(images_per_s=spec.batch * calls * 1e9 / took, calls=calls) if took else None
    counter = nvml if nvml is not None else meters.Rapl()
    if counter.joules() is not None:
        session.enter("energy")
        session.parts["energy"] = _energy(runner, spec, latency, counter)
    if spec.roof and spec.backend != "python":
        session.enter("machine's peak")
        session.parts["roof"] = _roof(runner, latency, compute)


def _energy(runner: Runner, spec: Spec, latency: Latency, counter: Any) -> Energy | None:
    calls = max(3, round(ENERGY_S * 1e9 / max(1, latency.p50)))
    start = counter.joules()
    took = back_to_back(runner.run, runner.clock, calls)
    end = counter.joules()
    if start is None or end is None or end <= start:
        return None
    return Energy(joules_per_image=(end - start) / (calls * spec.batch), source=counter.source, window_s=took / 1e9)


def _roof(runner: Runner, latency: Latency, compute: Compute | None) -> Roof:
    flops, bandwidth = machine_peak(runner)
    achieved = compute.flops / latency.p50 * 1e9 if compute is not None and latency.p50 else None
    return Roof(
        flops_per_s=flops,
        bytes_per_s=bandwidth,
        achieved_flops_per_s=achieved,
        of_peak=None if achieved is None else achieved / flops,
        intensity=compute.flops / compute.bytes_moved if compute is not None and compute.bytes_moved else None,
    )


def machine_peak(runner: Runner, side: int = 1024, size: int = 128 << 20, repeats: int = 5) -> tuple[float, float]:
    """FLOP/s in float32 of a matrix product or a convolution, whichever is faster, and bytes/s of a copy; the best of some runs each."""
    policy = Policy(min_runs=repeats, max_runs=repeats, min_time_s=0, warmup_runs=2)
    rates = []
    for work, amount in _peak_work(runner, side, size):
        warm_up(work, runner.clock, policy)
        rates.append(amount / max(1, min(measure(work, runner.clock, policy).samples)) * 1e9)
    return max(rates[1:]), rates[0]


def _peak_work(runner: Runner, side: int, size: int) -> list[tuple[Callable[[], Any], float]]:
    """A copy and products, each with how many bytes or FLOPs it is."""
    source: Any = getattr(runner, "source", None) or runner
    torch = getattr(source, "torch", None)
    if torch is not None:
        device = source.device
        matrix, block = torch.ones(side, side, device=device), torch.ones(size // 4, device=device)
        target = torch.empty_like(block)
        image, weight = torch.ones(1, 256, 64, 64, device=device), torch.ones(256, 256, 3, 3, device=device)
        return [
            (_quietly(torch, lambda: target.copy_(block)), 2 * size),
            (_quietly(torch, lambda: matrix @ matrix), 2 * side**3),
            (_quietly(torch, lambda: torch.nn.functional.conv2d(image, weight, padding=1)), 2 * 64 * 64 * 256 * 256 * 9),
        ]
    square, flat = np.ones((side, side), np.float32), np.ones(size // 4, np.float32)
    other = np.empty_like(flat)
    return [(lambda: np.copyto(other, flat), 2 * size), (lambda: square @ square, 2 * side**3)]


def _quietly(torch: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return run()

    return call


def _nvml(spec: Spec, session: Session) -> meters.Nvml | None:
    if not spec.device.startswith("cuda"):
        return None
    import torch

    index = torch.device(spec.device).index or 0
    properties = torch.cuda.get_device_properties(index)
    try:
        nvml = meters.Nvml(bus_id=f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0")
    except (OSError, AttributeError):
        nvml = None
    session.gpu = Gpu(
        model=properties.name,
        memory=properties.total_memory,
        driver=nvml.driver() if nvml else None,
        capability=f"{properties.major}.{properties.minor}",
        power_limit_w=nvml.power_limit_w() if nvml else None,
    )
    return nvml
