"""One measurement from beginning to end: a spec in, a record out. Everything that depends on a framework is behind `Runner`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segbench import __version__
from segbench.errors import ConfigError, SegbenchError
from segbench.profiling import backends, costs, families, meters, overhead, statistics, targets
from segbench.profiling.hardware import Gpu, fingerprint
from segbench.profiling.macs_torch import Count
from segbench.profiling.meters import Disturbance
from segbench.profiling.records import (
    Compute,
    Failure,
    Latency,
    Model,
    Overhead,
    Quality,
    Ratios,
    Record,
    Runtime,
    Split,
    Stage,
    Throughput,
    Workload,
)
from segbench.profiling.runner import Failed, Runner, input_sets, require_output
from segbench.profiling.spec import Spec, boundary, resolve, resolve_known, up_to
from segbench.profiling.targets import Loaded
from segbench.profiling.timing import Policy, StageTimer, Told, alternate, back_to_back, in_situ, measure, warm_up

THROUGHPUT_S = 1.0
REFERENCE = "reference model"


@dataclass
class Session:
    """What a measurement has learned so far; `record` says what is known, also when the rest fails."""

    spec: Spec
    told: Told
    look: Callable[[], Disturbance] = Disturbance.now
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
    session = Session(resolve_known(spec), told)
    with ExitStack() as stack:
        try:
            session.enter("load")
            loaded = loaded or backends.load(spec.target)
            session.spec = spec = resolve(spec, backends.own_inputs(loaded))
            session.model = Model(
                name=spec.name or (default_name(spec.target) if spec.target else loaded.name),
                target=targets.shown(spec.target),
                task=spec.task,
                weights=loaded.weights,
            )
            runner = backends.runner(spec, loaded, stack, session.enter)
            _measure(session, runner, spec, reference)
        except Failed as error:
            return session.record(Failure(kind=error.kind, message=str(error), stage=session.stage))
        except SegbenchError:
            raise
        except Exception as error:
            from segbench.profiling.runner_torch import failure

            meant = failure(error, "the reference model" if session.stage == REFERENCE else "the model", spec.inputs)
            if isinstance(meant, Failed):
                return session.record(Failure(kind=meant.kind, message=str(meant), stage=session.stage))
            raise meant from error
    return session.record()


def refused(spec: Spec, error: SegbenchError, stage: str = "load") -> Record:
    """The record of an input that the model does not take, in a sweep where others may fit."""
    return Session(resolve_known(spec), lambda what, share: None).record(Failure(kind="input", message=error.message, stage=stage))


def _measure(session: Session, runner: Runner, spec: Spec, reference: Loaded | None) -> None:
    policy = Policy(**spec.policy)
    session.enter("warm-up")
    before = session.look()
    nvml = _nvml(spec, session)
    gpu_before = nvml.state()._asdict() if nvml else None
    warmup = warm_up(runner.run, runner.clock, policy)
    require_output(runner.output)
    output = runner.output
    session.enter("count")
    count = runner.count()
    split, family = _split(session, runner, spec, count)
    session.model.family = family  # type: ignore[union-attr]
    session.runtime = runner.describe(count)
    _note_runtime(session, runner, spec)
    parameters = costs.parameters_of(runner, split)
    compute = (
        None
        if count is None
        else costs.compute_of(count, split, "onnx-graph" if spec.backend in ("onnxruntime", "openvino") else "dispatch")
    )
    session.parts |= {"split": split, "parameters": parameters, "compute": compute}
    if count is not None and count.suspicious:
        session.warnings.append(f"not counted, and may hold products: {', '.join(sorted(count.suspicious))}; macs is a lower bound")
    session.parts["check"] = runner.check()

    session.enter("memory")
    alone = runner.backbone(split) if split else None
    session.parts["memory"] = memory = costs.memory_of(runner, alone, nvml)

    session.enter("latency")
    series = measure(runner.run, runner.clock, policy, session.told)
    session.parts["latency"] = latency = costs.summarise(series, policy, warmup, runner.clock.name, getattr(runner, "first_call", None))
    latency.input_sets = input_sets(spec.inputs)
    stages: dict[str, Stage] = {}
    session.parts["stages"] = stages
    for name, copy in runner.transfers().items():
        session.enter(name)
        warm_up(copy, runner.clock, policy)
        stages[name] = overhead.stage(measure(copy, runner.clock, policy, session.told).samples, "alone", policy.confidence)
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
        session.enter(REFERENCE)
        _reference(session, runner, spec, reference, policy)
    _rest(session, runner, spec, latency, compute, nvml)
    after = session.look()
    waited = meters.waited_share(before, after)
    session.parts["quality"] = Quality(
        noisy=latency.noisy or (waited or 0) > statistics.NOISY_WAITS,
        waited=waited,
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


def _split(session: Session, runner: Runner, spec: Spec, count: Count | None) -> tuple[Split | None, str | None]:
    if not runner.modules:
        if spec.backbone not in (None, "auto", "none"):
            raise ConfigError("this model names no modules to split at", hint="leave out --backbone")
        return None, None
    tensors = boundary(spec.backbone)
    found, family = families.split(runner.modules, up_to(tensors) if tensors else spec.backbone, spec.neck, spec.neck_in)
    if found is None:
        if spec.backbone == "auto":
            session.warnings.append(f"no split into backbone and head: {family}")
        return None, families.family_of(runner.modules)
    if found.decided != "option" and count is not None and count.macs and not count.within(found.backbone):
        idle = ", ".join(found.backbone)
        session.warnings.append(f"no split into backbone and head: {idle} computed nothing; name the backbone's modules with --backbone")
        return None, family
    return found, family or families.family_of(runner.modules)


def _note_runtime(session: Session, runner: Runner, spec: Spec) -> None:
    ran = session.runtime.compute_dtype if session.runtime else None
    if ran is not None and ran != spec.dtype:
        session.warnings.append(f"asked for {spec.dtype}, computed in {ran}")
    fell_back = getattr(runner, "fell_back", None)
    if fell_back is not None and (message := fell_back()):
        session.warnings.append(message)


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
        other = backends.runner(spec, reference or backends.load(str(spec.reference)), stack)
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
    calls = max(1, min(1000, round(window * 1e9 / max(1, latency.p50))))
    took = back_to_back(runner.run, runner.clock, calls)
    session.parts["throughput"] = Throughput(images_per_s=spec.batch * calls * 1e9 / took, calls=calls) if took else None
    counter = nvml if nvml is not None else meters.Rapl()
    if counter.joules() is not None:
        session.enter("energy")
        session.parts["energy"] = costs.energy_of(runner, spec, latency, counter)
    if spec.roof and spec.backend != "python":
        session.enter("machine's peak")
        session.parts["roof"] = costs.roof_of(runner, latency, compute)


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
