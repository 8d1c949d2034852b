"""The single costs of a runner, each measured or counted alone: they fill one part of a record and know of no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segbench.profiling import meters, statistics
from segbench.profiling.macs_torch import Count
from segbench.profiling.records import Compute, Energy, Latency, Memory, Parameters, Roof, Split
from segbench.profiling.runner import Runner
from segbench.profiling.spec import Spec
from segbench.profiling.timing import Policy, Series, Warmup, back_to_back, measure, warm_up

ENERGY_S = 2.0
"""Energy counters are read over at least this long: they tick some tens of times a second."""


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


def parameters_of(runner: Runner, split: Split | None) -> Parameters | None:
    """Values of the whole and of its parts."""
    found = runner.parameters(split)
    if found is None:
        return None
    if split is not None and "backbone" in found:
        found["head"] = found["total"] - found["backbone"] - found["neck"]
    return Parameters(**found)


def compute_of(count: Count, split: Split | None, method: str) -> Compute:
    """The count as a record holds it, divided at the split."""
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


def memory_of(runner: Runner, alone: Callable[[], Any] | None, nvml: meters.Nvml | None) -> Memory:
    """Peaks of one call of the whole and of the backbone."""
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


def energy_of(runner: Runner, spec: Spec, latency: Latency, counter: Any) -> Energy | None:
    """Joules per image from a counter; None where it stands still."""
    calls = max(3, round(ENERGY_S * 1e9 / max(1, latency.p50)))
    start = counter.joules()
    took = back_to_back(runner.run, runner.clock, calls)
    end = counter.joules()
    if start is None or end is None or end <= start:
        return None
    return Energy(joules_per_image=(end - start) / (calls * spec.batch), source=counter.source, window_s=took / 1e9)


def roof_of(runner: Runner, latency: Latency, compute: Compute | None) -> Roof:
    """How near the model comes to what the machine reaches."""
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
    """A copy, and products in the runtime that is measured; each with how many bytes or FLOPs it is."""
    torch = getattr(runner, "torch", None)
    matrix, conv = 2 * side**3, 2 * 64 * 64 * 256 * 256 * 9
    if torch is None:
        flat = np.ones(size // 4, np.float32)
        other = np.empty_like(flat)
        square = np.ones((side, side), np.float32)
        products = getattr(runner, "large_products", None)
        calls = products(side) if products is not None else [lambda: square @ square]
        return [(lambda: np.copyto(other, flat), 2 * size), *zip(calls, (matrix, conv), strict=False)]
    device = runner.device  # type: ignore[attr-defined]
    left, block = torch.ones(side, side, device=device), torch.ones(size // 4, device=device)
    target = torch.empty_like(block)
    image, weight = torch.ones(1, 256, 64, 64, device=device), torch.ones(256, 256, 3, 3, device=device)
    return [
        (_quietly(torch, lambda: target.copy_(block)), 2 * size),
        (_quietly(torch, lambda: left @ left), matrix),
        (_quietly(torch, lambda: torch.nn.functional.conv2d(image, weight, padding=1)), conv),
    ]


def _quietly(torch: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return run()

    return call
