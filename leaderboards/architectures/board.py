"""The measured board as a page: `python leaderboards/architectures/board.py` writes MEASURED.md from records.json."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
RUNTIMES = {"torch": "torch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""Backends of the board, in its order."""


def main() -> None:
    """Writes the page anew."""
    from segbench.profiling import Profiles

    (HERE / "MEASURED.md").write_text(page(Profiles.load(HERE / "records.json")), encoding="utf-8")


def page(profiles) -> str:
    """One section per machine: the head's share side by side, then every runtime's table."""
    lines = [
        "# Measured",
        "",
        "Models of the [zoo](zoo.py) with random weights, one image, float32. From `measure.py`; every sample is in",
        "[records.json](records.json).",
        "",
        "Share: (network - backbone) / network, neck included. Latency: median, with its 95 % interval in brackets. `~`: the machine was",
        "not quiet, or its clock changed. torch's shares are taken in the same run, those of the graph runtimes from the backbone cut out,",
        "by turns with the whole; a negative share says that cutting cost more than the head did",
        "([method](../../docs/profile.md#the-heads-overhead)). Peak memory is what one call needs beyond the loaded model; of graph",
        "runtimes, loading and first call.",
    ]
    for machine in profiles.hardware():
        records = [record for record in profiles.records if record.hardware.key == machine]
        lines += ["", f"## {machine}", "", *machine_words(records), *shares(records), *masks(records)]
        for backend, title in RUNTIMES.items():
            mine = [record for record in records if record.runtime.backend == backend]
            if mine:
                lines += ["", f"### {title} {version(mine)}", "", *table(mine)]
    return "\n".join(lines) + "\n"


def machine_words(records) -> list[str]:
    """Processor, cores in use and system."""
    machine = records[0].hardware
    cores = f"{machine.cpu.affinity} of {machine.cpu.physical} cores"
    where = f"{machine.gpu.model}, driver {machine.gpu.driver}" if machine.gpu else f"{machine.cpu.model}, {cores}"
    virtual = ", virtual machine" if machine.cpu.virtual else ""
    timed = [record for record in records if record.latency is not None]
    noisy = sum(bool(record.noisy) for record in timed)
    return [f"{where}{virtual}, {machine.os.partition('-')[0]}, Python {machine.python}; {len(timed)} measurements, {noisy} of them noisy."]


def version(records) -> str:
    return " and ".join(sorted({record.runtime.version for record in records if record.runtime.version}))


def shares(records) -> list[str]:
    """The head's share of MACs and of every runtime's latency: one row per model."""
    backends = [backend for backend in RUNTIMES if any(record.runtime.backend == backend for record in records)]
    lines = [
        "",
        "### The head's share",
        "",
        f"| model | input | GMACs | parameters, M | of MACs | {' | '.join(RUNTIMES[name] for name in backends)} |",
    ]
    lines.append("|---|---|---|---|---|" + "---|" * len(backends))
    for found in by_model(records).values():
        counted = [found[backend] for backend in RUNTIMES if backend in found and found[backend].compute]
        if not counted:
            continue
        first = counted[0]
        macs = first.overhead.head_share.macs if first.overhead and first.overhead.method != "reference-model" else None
        cells = [first.model.name, size(first), f"{first.compute.macs / 1e9:.3f}", millions(first), percent(macs)]
        lines.append("| " + " | ".join([*cells, *(latency_share(found.get(name)) for name in backends)]) + " |")
    return lines


def by_model(records) -> dict[str, dict]:
    """Model -> backend -> record, cheap models first."""
    costs = {record.model.name: record.compute.macs for record in records if record.compute}
    rows: dict[str, dict] = {}
    for record in sorted(records, key=lambda record: (costs.get(record.model.name, 0), record.model.name)):
        rows.setdefault(record.model.name, {})[record.runtime.backend] = record
    return rows


def masks(records) -> list[str]:
    """What a mask branch adds to the same model without one."""
    found = [(record, reference(record)) for record in records]
    rows = [(record, ratios) for record, ratios in found if ratios is not None]
    if not rows:
        return []
    lines = ["", "### Against a model without masks", "", "| model | MACs | parameters | latency |", "|---|---|---|---|"]
    for record, ratios in rows:
        cells = [record.model.name, signed(ratios.macs), signed(ratios.parameters), signed(ratios.latency)]
        cells[-1] += bracket(ratios.latency_interval, signed)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def reference(record):
    """The ratios over the reference model, where there is one."""
    over = record.overhead
    if over is None:
        return None
    return over.head_over_backbone if over.method == "reference-model" else over.others.get("reference-model")


def table(records) -> list[str]:
    """One runtime: latency, the head's share of it, post-processing, throughput and memory."""
    post = any("post" in record.stages for record in records)
    heads = [
        "model",
        "latency, ms",
        "head, share of latency",
        *(["semantic post-processing, ms"] if post else []),
        "images/s",
        "peak, MiB",
        "runs",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for found in by_model(records).values():
        (record,) = found.values()
        if record.latency is None:
            lines.append(f"| {record.model.name} | {failure(record)} |" + " |" * (len(heads) - 2))
            continue
        latency = record.latency
        cells = [
            record.model.name,
            ("~" if record.noisy else "") + ms(latency.p50) + bracket(latency.p50_interval, ms),
            latency_share(record),
        ]
        if post:
            cells.append(ms(record.stages["post"].p50) if "post" in record.stages else "")
        cells += [f"{record.throughput.images_per_s:.2f}" if record.throughput else "", peak(record), f"{latency.n} ({latency.stopped})"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def failure(record) -> str:
    """Why there is no measurement, in a few words."""
    return {"export": "does not export", "timeout": "no result in time"}.get(
        record.error.kind, f"{record.error.kind}: {record.error.message[:80]}"
    )


def latency_share(record) -> str:
    if record is None:
        return ""
    if record.latency is None:
        return failure(record)
    if record.overhead is None or record.overhead.head_share.latency is None or record.overhead.method == "reference-model":
        return "no split"
    ratios = record.overhead.head_share
    return ("~" if record.noisy else "") + percent(ratios.latency) + bracket(ratios.latency_interval, percent)


def size(record) -> str:
    return "x".join(map(str, record.workload.inputs[0].shape[-2:]))


def millions(record) -> str:
    return f"{record.parameters.total / 1e6:.3f}" if record.parameters else ""


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"


def ms(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:.1f}"


def bracket(interval, shown) -> str:
    return "" if interval is None else f" [{shown(interval[0]).removesuffix(' %')}, {shown(interval[1]).removesuffix(' %')}]"


def peak(record) -> str:
    memory = record.memory
    if memory is None:
        return ""
    if memory.cuda_allocated is not None:
        return f"{(memory.cuda_allocated - (memory.cuda_base or 0)) / 2**20:.0f}"
    if memory.rss_peak is None or memory.rss_base is None:
        return ""
    return f"{(memory.rss_peak - memory.rss_base) / 2**20:.0f}"


if __name__ == "__main__":
    main()
