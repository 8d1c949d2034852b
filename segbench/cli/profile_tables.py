"""What `segbench profile` prints: one table per record, and one of many machines. A number is never cut short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from segbench.cli.console import printable, stdout, table
from segbench.errors import counted
from segbench.profiling import statistics, words
from segbench.profiling.words import in_unit, interval, milliseconds, on_top, significant, unit_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segbench.profiling.profiles import Profiles
    from segbench.profiling.records import Ratios, Record

Scores = dict[str, dict[str, float | None]]
"""Of evaluated models, by model and metric."""

PARTS = ("network", "backbone", "neck", "head", "post")
"""Columns of a record; the network's stands always, the others where something is in them."""

APART = 0.1
"""Share of a network's latency by which its parts may miss it before that is said."""

LATENCY = "latency, ms"
LATENCY_HEAD = "head / backbone\nof latency"
MACS_HEAD = "head /\nbackbone\nof MACs"


def show(record: Record) -> None:
    """One record: columns are the network and its parts. One that failed is a sentence."""
    console = stdout()
    if record.error is not None:
        console.print(f"{words.title(record)}: {words.failure(record)}", markup=False)
        return
    console.print(words.title(record), style="bold", markup=False)
    rows = list(_lines(record))
    shown = [i for i, part in enumerate(PARTS) if i == 0 or any(cells[i].strip("-") for _, *cells in rows)]
    parts = [PARTS[i] for i in shown]
    lines = [[label, *(cells[i] for i in shown)] for label, *cells in rows]
    listing = _table([""], parts, lines)
    if _least(console, listing) > console.width:  # an interval takes two lines
        listing = _table([""], parts, [[label, *(cell.replace(" ", "\n") for cell in cells)] for label, *cells in lines])
    _print(console, listing)
    for line in _heads(record):
        console.print(line, markup=False)
    for line in _remarks(record):
        console.print(line, style="dim", markup=False)


def show_hints(profiles: Profiles) -> None:
    """What to try next, once for every kind of failure."""
    kinds = dict.fromkeys(record.error.kind for record in profiles.records if record.error is not None)
    for kind in kinds:
        if kind in words.HINTS:
            stdout().print(f"  hint: {words.HINTS[kind]}", markup=False)


def show_merged(profiles: Profiles, scores: Scores) -> None:
    """Models by machines: median latency, its interval, and the head over the backbone; a word where it failed.

    Scores and counts stand beside them or, where that is too wide, in a table of their own; so does every machine.
    """
    console = stdout()
    what = f"{counted(len(profiles), 'record')}: median latency in ms with its interval, ~ is noisy"
    wide = _wide(profiles, scores)
    if _least(console, wide) <= console.width:
        console.print(f"{what}; below it head / backbone of latency", style="bold", markup=False)
        _print(console, wide)
        return
    console.print(what, style="bold", markup=False)
    for machine in profiles.hardware():
        console.print(machine, markup=False)
        _print(console, _of_machine(profiles, machine))
    if (shared := _shared(profiles, scores)) is not None:
        console.print("scores and counts" if scores else "counts", markup=False)
        _print(console, shared)


def _table(names: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]], whole: bool = True) -> Table:
    """Columns of names, which fold where they must unless they are to stay whole, and of numbers, which never do."""
    from rich.text import Text

    listing = table()
    cells = [[printable(cell) for cell in row] for row in ((*names, *numbers), *rows)]  # a Text is shown as it is
    for column, (head, *below) in enumerate(zip(*cells, strict=True)):
        is_name = column < len(names)
        longest = max(len(line) for text in (head, *below) for line in text.split("\n"))
        listing.add_column(
            Text(head), justify="left" if is_name else "right", overflow="fold", min_width=None if is_name and not whole else longest
        )
    for row in cells[1:]:
        listing.add_row(*map(Text, row))
    return listing


def _print(console: Console, listing: Table) -> None:
    """On a terminal that is too narrow for its numbers the lines are longer than the terminal, and nothing is lost."""
    console.print(listing, width=max(console.width, _least(console, listing)), crop=False)


def _least(console: Console, listing: Table) -> int:
    """The columns that a table needs."""
    return console.measure(listing, options=console.options.update(width=10_000)).minimum


def _lines(record: Record) -> Iterator[tuple[str, ...]]:
    compute, parameters, latency, memory = record.compute, record.parameters, record.latency, record.memory
    if compute is not None:
        unit = unit_of(compute.macs)
        parts = (compute.macs, compute.macs_backbone, compute.macs_neck or None, compute.macs_head, compute.macs_post or None)
        yield (f"{unit.prefix}MACs", *(in_unit(part, unit) for part in parts))
    if parameters is not None:
        unit = unit_of(parameters.total)
        parts = (parameters.total, parameters.backbone, parameters.neck or None, parameters.head, None)
        yield (f"parameters, {unit.prefix}".removesuffix(", "), *(in_unit(part, unit) for part in parts))
    if latency is not None:
        stages = [record.stages.get(name) for name in ("backbone", "neck", "head", "post")]
        yield ("latency, ms", milliseconds(latency.p50), *(milliseconds(stage.p50) if stage else "-" for stage in stages))
        intervals = [latency.p50_interval, *(stage.interval if stage else None for stage in stages)]
        yield (f"  {100 * latency.confidence:g} % interval", *map(interval, intervals))
        for name, stage in record.stages.items():
            if name.startswith("post "):
                yield (f"  {counted(int(name.removeprefix('post ')), 'detection')}", "", "", "", "", milliseconds(stage.p50))
    if record.throughput is not None:
        rate = record.throughput.images_per_s
        yield ("images/s", f"{rate:.1f}" if rate >= 100 else significant(rate), *["-"] * 4)
    if memory is not None:
        whole = _peak(memory.rss_peak, memory.rss_base, memory.cuda_allocated)
        part = _peak(memory.backbone_peak, memory.backbone_base, memory.backbone_cuda_allocated)
        unit = unit_of(whole, words.BYTES)
        yield (
            f"peak memory, {unit.prefix}",
            *("-" if value is None else significant(value / unit.size) for value in (whole, part)),
            *"---",
        )


def _peak(peak: int | None, base: int | None, device: int | None = None) -> int | None:
    """Bytes that a call needs: of the device where it ran there, else of the process beyond what it had."""
    return device if device is not None else None if peak is None or base is None else peak - base


def _heads(record: Record) -> Iterator[str]:
    """The head's two ratios, each in every currency that was measured, and what other estimators say."""
    over = record.overhead
    if over is None:
        return
    names = ("head / backbone", "head's share of the network")
    if over.method == "reference-model":
        names = ("over the reference model", "share of what the reference lacks")
    lines = [(names[0], over.head_over_backbone, "+"), (names[1], over.head_share, "")]
    for method, ratios in over.others.items():
        lines.append(("over the reference model" if method == "reference-model" else f"head / backbone, {method}", ratios, "+"))
    yield from (f"{name}: {cells}" for name, ratios, sign in lines if (cells := _percents(ratios, sign)))


def _percents(ratios: Ratios, sign: str) -> str:
    found = []
    for label in ("MACs", "parameters", "latency", "memory"):
        value = getattr(ratios, label.lower())
        bounds = ratios.latency_interval if label == "latency" else None
        between = f" [{100 * bounds[0]:{sign}.1f}, {100 * bounds[1]:{sign}.1f}]" if bounds else ""
        if value is not None:
            found.append(f"{label} {100 * value:{sign}.1f} %{between}")
    return ", ".join(found)


def _remarks(record: Record) -> Iterator[str]:
    latency, over = record.latency, record.overhead
    if record.split is not None:
        neck = f", neck {', '.join(record.split.neck)} counted to the {record.split.neck_in}" if record.split.neck else ""
        how = f"; times {over.method}" if over else ""
        yield f"backbone {', '.join(record.split.backbone)}{neck} (by {record.split.decided}){how}"
    if latency is not None:
        yield f"median of {counted(latency.n, 'run')}, stopped by {latency.stopped}{_noise(record)}"
        yield from _disagreement(record)
    if record.roof is not None and record.roof.of_peak is not None and not record.noisy:
        rate = f"{(record.roof.achieved_flops_per_s or 0) / 1e9:.1f} GFLOP/s, {record.roof.of_peak:.0%}"
        yield f"{rate} of what this machine reaches in large products ({record.roof.flops_per_s / 1e9:.0f} GFLOP/s in float32)"
    if record.energy is not None:
        yield f"{significant(record.energy.joules_per_image)} J per image, from {record.energy.source.upper()}'s counter"
    if record.compute is not None:
        flops = words.with_unit(record.compute.flops)
        yield f"MACs of convolutions and matrix products ({record.compute.convention}); FLOPs are twice that: {flops}"
    yield from record.warnings


def _noise(record: Record) -> str:
    if not record.noisy:
        return ""
    waited = record.quality.waited if record.quality is not None else None
    if waited is None or waited <= statistics.NOISY_WAITS:
        return ", noisy: other work on this machine, or a changing clock"
    return f", noisy: it waited {100 * waited:.0f} % of its time for a CPU that did other work"


def _disagreement(record: Record) -> Iterator[str]:
    """The network's time against that of its parts, which comes from other runs; on a device both without the wait for it."""
    parts = [record.stages[name].p50 for name in ("backbone", "neck", "head") if name in record.stages]
    if record.latency is None or not {"backbone", "head"} <= record.stages.keys():
        return
    queued = record.stages["backbone"].method == "in-situ" and record.latency.device_p50
    whole = queued or record.latency.p50
    again = "; measure again on a quiet machine" if record.noisy else ""
    if abs(sum(parts) - whole) > APART * whole:
        yield (
            f"the network took {milliseconds(whole)} ms and its parts {milliseconds(sum(parts))} ms: they were measured at different times "
            f"and disagree; the ratios come from the run of the parts{again}"
        )


def _wide(profiles: Profiles, scores: Scores) -> Table:
    """Everything in one table: what holds everywhere, then a column per machine."""
    machines = profiles.hardware()
    lines = profiles.merged_table()
    rows = [(_names(line), _common(_records(line, machines), scores)) for line in lines]
    cells = [[_cell(line.get(machine)) for machine in machines] for line in lines]
    return _filled(("model", "input", "runtime"), rows, machines, cells)


def _of_machine(profiles: Profiles, machine: str) -> Table:
    """The times of one machine, narrow: what is below one another elsewhere stands beside one another."""
    found = [(_names(line), _times(line[machine])) for line in profiles.merged_table() if machine in line]
    rows = [
        ((f"{model}\n{inputs}", how), {LATENCY: f"{time}\n{bounds}".rstrip()} | ({LATENCY_HEAD: head} if head else {}))
        for (model, inputs, how), (time, bounds, head) in found
    ]
    return _filled(("model\ninput", "runtime"), rows)


def _shared(profiles: Profiles, scores: Scores) -> Table | None:
    """Scores and counts by model and input; None where there are none."""
    machines = profiles.hardware()
    groups: dict[tuple[str, str], list[Record]] = {}
    for line in profiles.merged_table():
        groups.setdefault(_names(line)[:2], []).extend(_records(line, machines))
    rows = [(names, cells) for names, records in groups.items() if (cells := _common(records, scores))]
    return _filled(("model", "input"), rows) if rows else None


Cells = dict[str, str]
"""Of one row, by heading; what is unknown is missing."""


def _filled(
    names: Sequence[str], rows: Sequence[tuple[tuple[str, ...], Cells]], more: Sequence[str] = (), last: Sequence[Sequence[str]] = ()
) -> Table:
    """A table of rows with names and cells, which have the columns that any of them fills, and perhaps more columns after these."""
    heads = list(dict.fromkeys(head for _, cells in rows for head in cells))
    lines = [(*first, *(cells.get(head, "-") for head in heads)) for first, cells in rows]
    return _table(names, [*heads, *more], [[*line, *end] for line, end in zip_longest(lines, last, fillvalue=())], whole=bool(more))


def _names(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["model"], line["workload"], line["runtime"]


def _records(line: dict[str, Any], machines: Iterable[str]) -> list[Record]:
    return [line[machine] for machine in machines if machine in line]


def _common(records: Sequence[Record], scores: Scores) -> Cells:
    """What a model has on every machine: scores, MACs, and the head's over the backbone's."""
    values = scores.get(records[0].model.name, {})
    cells = {metric: f"{100 * value:.2f}" for metric, value in values.items() if value is not None}
    counts = {words.with_unit(record.compute.macs) for record in records if record.compute is not None}
    heads = {on_top(record.overhead.head_over_backbone.macs) for record in records if record.overhead is not None} - {""}
    return cells | {head: " or ".join(sorted(found)) for head, found in (("MACs", counts), (MACS_HEAD, heads)) if found}


def _times(record: Record) -> tuple[str, str, str]:
    """What one machine measured: latency or a word for why not, its interval, and the head's over the backbone's."""
    if record.latency is None:
        return record.error.kind if record.error else "-", "", ""
    bounds = "" if record.latency.p50_interval is None else interval(record.latency.p50_interval)
    head = on_top(record.overhead.head_over_backbone.latency) if record.overhead is not None else ""
    return ("~" if record.noisy else "") + milliseconds(record.latency.p50), bounds, head


def _cell(record: Record | None) -> str:
    """The same in one cell."""
    if record is None:
        return "-"
    time, bounds, head = _times(record)
    return f"{time} {bounds}".rstrip() + (f"\nhead {head}" if head else "")
