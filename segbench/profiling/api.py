"""`segbench.profile`: what a model costs, for every combination of size, batch and threads that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from segbench.errors import ConfigError, InputError
from segbench.profiling import hardware, isolation, session, targets
from segbench.profiling import spec as specs
from segbench.profiling.profiles import Profiles
from segbench.profiling.records import Record, Tensor
from segbench.profiling.spec import Spec
from segbench.profiling.targets import Loaded
from segbench.profiling.timing import Policy

TIME_LIMIT_S = 600.0
DETECTIONS = (1, 10, 100)
GAIN = 0.05
"""Gain in images per second below which a batch is large enough."""


Progress = Callable[[int, int, str, float], None]
"""Which measurement of how many, what it is doing, and the share of that."""


def profile(
    model: Any,
    *,
    input: str | Sequence[int] | Sequence[str] | None = None,
    batch: int | Iterable[int] | str = 1,
    size: str | Iterable[str] | None = None,
    dtype: str = "fp32",
    device: str = "cpu",
    backend: str | None = None,
    backbone: str | None = "auto",
    neck: str | None = None,
    neck_in: str = "head",
    estimator: str = "auto",
    reference: Any = None,
    post: str = "none",
    detections: Iterable[int] | None = None,
    output_size: str | None = None,
    threads: int | Iterable[int] | None = None,
    name: str | None = None,
    task: str | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    roof: bool = True,
    time_limit: float = TIME_LIMIT_S,
    command: str = "segbench.profile",
    progress: Progress = lambda done, total, what, share: None,
) -> Profiles:
    """Measures what a model costs.

    Args:
        model: A target as on the command line (`file.py:factory`, `model.onnx`, `hf:SegformerConfig`, ...), measured in a process of
            its own; or a torch module or any callable, measured in this process.
        input: Shape without batch, `(3, 512, 512)` or `"3x512x512:float16"`; several as `["pixel_values=3x512x512", ...]`. Left out where
            the model says it.
        batch, size, threads: One or several; every combination is a record. Batch `auto`: 1, 2, 4, ... until throughput gains less than
            5 % or one fails. Threads of a target on the CPU: 1, and all cores.
        dtype: fp32, tf32, fp16 or bf16. The record says what really ran.
        device: `cpu` or `cuda:0`.
        backend: torch, torch.compile, onnxruntime[:provider], openvino, tensorrt, python; left out, what fits the model.
        backbone, neck: Module paths with commas between; `auto` knows families and unmistakable names; None splits nothing.
        neck_in: `head` or `backbone`: where ratios put the neck.
        estimator: How the head's time is found: in-situ, counterfactual, both or auto.
        reference: A second model, such as the detector without masks, that this one is compared with.
        post: Post-processing that is timed too: semantic, instance, panoptic or none.
        detections: Numbers of synthetic detections for it.
        output_size: Its size, such as `"1024x2048"`; the input's where left out.
        policy: When to stop.
        time_limit: Seconds for each measurement of a target.

    Returns:
        The records. Out of memory, a crash, a time-out or a failed export is a record with an `error`.

    Raises:
        ConfigError, InputError: nothing could be measured as it was asked for.
        MissingDependencyError: a package is not installed.
    """
    if not 0 < time_limit < math.inf:
        raise ConfigError("the time limit is a number of seconds above 0")
    if seed < 0:
        raise ConfigError("a seed is not negative")
    isolated = isinstance(model, str)
    base = _base(model, dtype, device, backend, post, estimator, neck_in)
    base.name = name if isolated else name or _name_of(model)
    base.backbone, base.neck, base.task, base.seed, base.roof = backbone, neck, task, seed, roof
    base.inputs = _inputs(input)
    base.output_size = specs.parse_size(output_size) if output_size else None
    base.policy = asdict(policy or Policy())
    if post in ("instance", "panoptic"):
        base.detections = [int(count) for count in (DETECTIONS if detections is None else detections)]
    elif detections is not None:
        raise ConfigError("detections are for instance and panoptic post-processing", hint="add --post instance")
    other = None
    if isinstance(reference, str):
        base.reference = reference
    elif reference is not None:
        other = Loaded(reference, type(reference).__name__)
    if isolated and other is not None:
        raise ConfigError("a target is compared with a target", hint="give the reference as file.py:factory")
    grows = batch == "auto"
    plans = list(_plans(base, 1 if grows else batch, size, threads, isolated))
    records: list[Record] = []
    refused: list[InputError] = []
    doing = "load"
    for index, plan in enumerate(plans):

        def told(what: str, share: float, index: int = index) -> None:
            nonlocal doing
            doing = what or doing
            progress(index, len(plans), what, share)

        def refusal(plan: Spec, error: InputError) -> Record:
            return session.refused(plan, error, doing)

        def one(plan: Spec, told: Callable[[str, float], None] = told) -> Record:
            return isolation.measure(plan, time_limit, told) if isolated else _here(plan, model, other, told)

        try:
            records += growing(plan, one, refusal) if grows else [one(plan)]
        except InputError as error:  # one size of a sweep may not fit the model
            if len(plans) == 1:
                raise
            refused.append(error)
            records.append(refusal(plan, error))
    if refused and all(record.error is not None for record in records):
        raise refused[0]
    progress(len(plans), len(plans), "", 1.0)
    return Profiles(records, command)


def growing(plan: Spec, measure: Callable[[Spec], Record], refusal: Callable[[Spec, InputError], Record] = session.refused) -> list[Record]:
    """Batches of 1, 2, 4, ... until twice as many images at a time bring less than `GAIN` in throughput, or until one fails.

    The batch that brought too little and the one that failed are among the records.
    """
    import msgspec

    records = [measure(plan)]
    while records[-1].throughput is not None:
        batch = 2 * records[-1].workload.batch
        try:
            records.append(measure(msgspec.structs.replace(plan, batch=batch)))
        except InputError as error:  # a graph that was exported for one image
            records.append(refusal(msgspec.structs.replace(plan, batch=batch), error))
        before, after = records[-2].throughput, records[-1].throughput
        if before is None or after is None or after.images_per_s < (1 + GAIN) * before.images_per_s:
            break
    return records


def _here(plan: Spec, model: Any, reference: Loaded | None, told: Callable[[str, float], None]) -> Record:
    loaded = Loaded(model, _name_of(model), None, getattr(model, "main_input_name", None))
    record = session.run(plan, told, loaded, reference)
    record.runtime.isolated = False
    record.id = record.digest()
    return record


def _name_of(model: Any) -> str:
    return type(model).__name__ if targets.is_module(model) else getattr(model, "__name__", type(model).__name__)


def _base(model: Any, dtype: str, device: str, backend: str | None, post: str, estimator: str, neck_in: str) -> Spec:
    if backend is None:
        is_file = isinstance(model, str) and targets.is_onnx(model)
        backend = "onnxruntime" if is_file else "torch" if isinstance(model, str) or targets.is_module(model) else "python"
    kind, provider = specs.parse_backend(backend)
    if not specs.PLACE.fullmatch(device):
        raise ConfigError(f"no device is called {device!r}", hint="cpu or cuda:0")
    if post not in specs.POSTS:
        raise ConfigError(f"no post-processing is called {post!r}", hint=f"one of {', '.join(specs.POSTS)}")
    if estimator not in specs.ESTIMATORS:
        raise ConfigError(f"no estimator is called {estimator!r}", hint=f"one of {', '.join(specs.ESTIMATORS)}")
    if neck_in not in ("head", "backbone"):
        raise ConfigError(f"a neck belongs to head or backbone, not to {neck_in!r}")
    if not isinstance(model, str) and not callable(model):
        raise ConfigError(f"{type(model).__name__} is no model", hint="a target, a torch module or a callable")
    return Spec(
        target=model if isinstance(model, str) else "",
        dtype=specs.compute_dtype(dtype),
        device=device,
        backend=kind,
        provider=provider,
        post=post,
        estimator=estimator,
        neck_in=neck_in,
    )


def _inputs(given: Any) -> list[Tensor]:
    if given is None:
        return []
    if isinstance(given, str):
        return [specs.parse_input(given)]
    items = list(given)
    if items and all(isinstance(item, int) for item in items):
        return [Tensor(shape=tuple(items), dtype="float32")]
    return [specs.parse_input(item) for item in items]


def _plans(base: Spec, batch: Any, size: Any, threads: Any, isolated: bool) -> Iterable[Spec]:
    import msgspec

    sizes = [None] if size is None else [specs.parse_size(one) for one in ([size] if isinstance(size, str) else size)]
    batches = _counts(batch, "batch sizes")
    for one_size, one_batch, count in product(sizes, batches, _threads(threads, base, isolated)):
        yield msgspec.structs.replace(base, size=one_size, batch=one_batch, threads=count)


def _threads(given: Any, base: Spec, isolated: bool) -> list[int | None]:
    if given is not None:
        return list(_counts(given, "threads"))
    if not isolated or base.device != "cpu":
        return [None]
    return list(dict.fromkeys([1, hardware.usable_cores()]))


def _counts(given: Any, what: str) -> list[int]:
    values = [given] if isinstance(given, int) else list(given)
    if not values or any(not isinstance(value, int) or value < 1 for value in values):
        raise ConfigError(f"{what} are positive numbers, not {given!r}")
    return values
