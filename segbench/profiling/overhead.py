"""What the head costs on top of the backbone. Arithmetic only; where the times come from is the runner's business."""

from __future__ import annotations

from collections.abc import Sequence

from segbench.profiling.records import Compute, Memory, Overhead, Parameters, Ratios, Split, Stage
from segbench.profiling.statistics import median, median_interval

LEAST_MEMORY = 4 << 20
"""Bytes below which two peaks are not compared: the kernel counts pages in batches."""


def over(whole: float | None, part: float | None) -> float | None:
    """(whole - part) / part; None where either is unknown or the part is 0."""
    return None if whole is None or not part else (whole - part) / part


def share(whole: float | None, part: float | None) -> float | None:
    """(whole - part) / whole."""
    return None if part is None or not whole else (whole - part) / whole


def paired(whole: Sequence[float], part: Sequence[float], confidence: float) -> tuple[Ratios, Ratios]:
    """Both ratios of latency from pairs of samples, with the median's interval; each pair was measured together.

    A share follows from an overhead pair by pair: s = r / (1 + r), which keeps order, so their medians and intervals agree.
    """
    overheads = [over(a, b) for a, b in zip(whole, part, strict=True) if b]
    shares = [share(a, b) for a, b in zip(whole, part, strict=True) if b]
    return _ratios(overheads, confidence), _ratios(shares, confidence)


def _ratios(values: Sequence[float | None], confidence: float) -> Ratios:
    known = [value for value in values if value is not None]
    if not known:
        return Ratios()
    interval = median_interval(known, confidence)
    return Ratios(latency=median(known), latency_interval=None if interval is None else (interval.low, interval.high))


def stage(samples: Sequence[int], method: str, confidence: float, implementation: str | None = None) -> Stage:
    """Median and interval of one part's times."""
    interval = median_interval(samples, confidence)
    return Stage(
        p50=round(median(samples)),
        interval=None if interval is None else (int(interval.low), int(interval.high)),
        n=len(samples),
        method=method,
        implementation=implementation,
    )


def assemble(
    split: Split,
    method: str,
    latency: tuple[Ratios, Ratios] | None,
    compute: Compute | None,
    parameters: Parameters | None,
    memory: Memory | None,
    stages: dict[str, Stage],
    network_p50: int | None,
) -> Overhead:
    """All ratios of a split. With `neck_in` backbone, the neck's cost counts as the backbone's."""
    with_neck = split.neck_in == "backbone"
    head_over, head_share = latency or (Ratios(), Ratios())
    if compute is not None and compute.macs_backbone is not None:
        part = compute.macs_backbone + ((compute.macs_neck or 0) if with_neck else 0)
        head_over.macs, head_share.macs = over(compute.macs, part), share(compute.macs, part)
    if parameters is not None and parameters.backbone is not None:
        part = parameters.backbone + ((parameters.neck or 0) if with_neck else 0)
        head_over.parameters, head_share.parameters = over(parameters.total, part), share(parameters.total, part)
    needs = None if memory is None else _memory_needs(memory)
    if needs is not None and needs[1] >= LEAST_MEMORY:
        head_over.memory, head_share.memory = over(*needs), share(*needs)
    posts = [stage.p50 for name, stage in stages.items() if name.startswith("post")]
    backbone = stages["backbone"].p50 if "backbone" in stages else None
    return Overhead(
        method=method,
        head_over_backbone=head_over,
        head_share=head_share,
        neck_over_backbone=_neck(split, compute, parameters, stages),
        post_over_network=post_over(stages, network_p50),
        beyond_backbone=(network_p50 - backbone + max(posts, default=0)) / backbone if backbone and network_p50 else None,
    )


def _memory_needs(memory: Memory) -> tuple[int, int] | None:
    """What the whole and the backbone need beyond what was there: on the device where it ran there, else of the process."""
    if memory.cuda_base is not None and memory.cuda_allocated is not None:
        part = memory.backbone_cuda_allocated
        return None if part is None else (memory.cuda_allocated - memory.cuda_base, part - memory.cuda_base)
    if memory.rss_base is None or memory.rss_peak is None or memory.backbone_base is None or memory.backbone_peak is None:
        return None
    return memory.rss_peak - memory.rss_base, memory.backbone_peak - memory.backbone_base


def post_over(stages: dict[str, Stage], network_p50: int | None) -> dict[str, float]:
    """Every post-processing's time over the network's."""
    return {name: stage.p50 / network_p50 for name, stage in stages.items() if name.startswith("post") and network_p50}


def _neck(split: Split, compute: Compute | None, parameters: Parameters | None, stages: dict[str, Stage]) -> Ratios | None:
    if not split.neck:
        return None
    ratios = Ratios()
    if compute is not None and compute.macs_backbone and compute.macs_neck is not None:
        ratios.macs = compute.macs_neck / compute.macs_backbone
    if parameters is not None and parameters.backbone and parameters.neck is not None:
        ratios.parameters = parameters.neck / parameters.backbone
    if "neck" in stages and "backbone" in stages:
        ratios.latency = stages["neck"].p50 / stages["backbone"].p50
    return ratios
