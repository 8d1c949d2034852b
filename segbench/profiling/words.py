"""Records in words: numbers with a unit of their size, one line of a measurement, one sentence of a failure."""

from __future__ import annotations

import math
from typing import NamedTuple

from segbench.profiling.records import Record


class Unit(NamedTuple):
    """A prefix and what it stands for."""

    prefix: str
    size: int


THOUSANDS = (Unit("G", 10**9), Unit("M", 10**6), Unit("k", 10**3), Unit("", 1))
BYTES = (Unit("MiB", 2**20), Unit("KiB", 2**10))

DOING = {
    "start": "starting",
    "load": "loading",
    "export": "exporting it to ONNX",
    "warm-up": "warming up",
    "count": "counting",
    "memory": "measuring its memory",
    "latency": "measuring its latency",
    "alternating": "measuring by turns",
    "head and backbone": "measuring head and backbone",
    "post-processing": "measuring post-processing",
    "reference model": "measuring the reference model",
    "throughput": "measuring throughput",
    "energy": "measuring energy",
    "machine's peak": "measuring the machine's peak",
    "h2d": "copying inputs to the device",
    "d2h": "copying the output back",
}
"""The stages of a measurement, as what goes on in them."""

KINDS = {
    "memory": "out of memory",
    "timeout": "given up",
    "crash": "crashed",
    "unsupported": "not supported",
}
"""Failures that have words of their own; the others are `failed`."""

HINTS = {
    "export": "--backend torch and --backend torch.compile measure it without exporting",
    "memory": "a smaller --batch or --size needs less",
    "timeout": "--time-limit S gives it longer",
}
"""What to type next, by kind of failure."""


def significant(value: float, digits: int = 3) -> str:
    """A number to some digits, never with an exponent; whole parts stay whole."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 999.9 to three digits is 1000
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def unit_of(value: int | None, units: tuple[Unit, ...] = THOUSANDS) -> Unit:
    """The largest unit that a number reaches, or the smallest there is."""
    return next((unit for unit in units if value is not None and value >= unit.size), units[-1])


def in_unit(value: int | None, unit: Unit) -> str:
    """A count in a unit, to its third decimal or, of less than 1, to three digits; `-` where unknown."""
    if value is None:
        return "-"
    scaled = value / unit.size
    return str(value) if unit.size == 1 or not value else f"{scaled:.3f}" if scaled >= 1 else significant(scaled)


def with_unit(value: int | None, what: str = "") -> str:
    """A count with its own unit, such as `1.250 GMACs`."""
    unit = unit_of(value)
    return f"{in_unit(value, unit)} {unit.prefix}{what}".rstrip()


def milliseconds(nanoseconds: float) -> str:
    """To four digits."""
    return significant(nanoseconds / 1e6, 4)


def interval(found: tuple[float, float] | None) -> str:
    """Of milliseconds; `-` where there is none."""
    return "-" if found is None else f"[{milliseconds(found[0])}, {milliseconds(found[1])}]"


def on_top(ratio: float | None) -> str:
    """A part over another, such as `+98.1 %`; empty where unknown."""
    return "" if ratio is None else f"{100 * ratio:+.1f} %"


def workload(record: Record) -> str:
    """Inputs and output of a workload in one short text: equal texts are comparable. Where the inputs are unknown, the batch."""
    shapes = " ".join(
        "x".join(map(str, entry.shape)) + ("" if entry.dtype == "float32" else f":{entry.dtype}") for entry in record.workload.inputs
    )
    post = "" if record.workload.post == "none" else f" +{record.workload.post}"
    return f"{shapes or f'batch {record.workload.batch}'}{post}"


def runtime(record: Record) -> str:
    """Backend, mode, what it computed in, and threads."""
    entry = record.runtime
    provider = (entry.providers or [""])[0].removesuffix("ExecutionProvider").lower()
    where = f":{provider}" if provider not in ("", "cpu") else ""
    name = "torch.compile" if (entry.mode or "").startswith("compile") else entry.backend
    threads = f" {entry.threads}t" if entry.threads and entry.device == "cpu" else ""
    return f"{name}{where} {entry.compute_dtype or entry.requested_dtype}{threads}"


def title(record: Record) -> str:
    """What was measured, how and where."""
    return f"{record.model.name}, {workload(record)}, {runtime(record)} on {record.hardware.key}"


def failure(record: Record) -> str:
    """Why there is no measurement, such as `failed while loading: there is no such file`; empty where there is one."""
    if record.error is None:
        return ""
    stage = record.error.stage
    while_it = f" while {DOING.get(stage, stage)}" if stage else ""
    return f"{KINDS.get(record.error.kind, 'failed')}{while_it}: {record.error.message}"


def line(record: Record) -> str:
    """A record in one line."""
    if record.error is not None:
        return f"{title(record)}: {failure(record)}"
    shown = []
    if record.latency is not None:
        bounds = f" {interval(record.latency.p50_interval)}" if record.latency.p50_interval else ""
        shown.append(f"{milliseconds(record.latency.p50)} ms{bounds}{' (noisy)' if record.noisy else ''}")
    if record.compute is not None:
        shown.append(with_unit(record.compute.macs, "MACs"))
    if record.overhead is not None and (over := on_top(record.overhead.head_over_backbone.latency)):
        shown.append(f"head / backbone of latency {over}")
    return f"{title(record)}: {', '.join(shown)}"
