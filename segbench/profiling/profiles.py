"""Records together: written, read, merged from many machines, shown as tables."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from segbench import __version__
from segbench.errors import ConfigError, FormatError, InputError
from segbench.profiling.records import SCHEMA, Document, Record
from segbench.profiling.words import line, runtime, significant, workload
from segbench.storage import write_whole

if TYPE_CHECKING:
    import pandas

    from segbench.results import Result


MAIN = "semantic/miou"
"""The metric that stands beside costs where a task does not begin with its own."""


@dataclass(frozen=True, repr=False)
class Profiles:
    """What `segbench.profile` gives: one record per measurement, in order."""

    records: list[Record]
    command: str = ""

    def __repr__(self) -> str:
        return "\n".join(map(line, self.records)) or "no records"

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def to_json(self) -> bytes:
        """The file: one record per line, which keeps hundreds of samples readable as a difference, and a trailing newline."""
        head = msgspec.json.encode(Document(segbench=__version__, command=self.command, records=[])).removesuffix(b"]}")
        lines = b",\n".join(msgspec.json.encode(record) for record in self.records)
        return head + b"\n" + lines + (b"\n" if lines else b"") + b"]}\n"

    def save(self, file: str | os.PathLike) -> Path:
        """Writes the file; it appears whole or not at all."""
        path = Path(file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.to_json())
        except OSError as error:
            raise InputError(f"the profile cannot be written: {error.strerror}", files=[str(path)], hint="choose another -o") from error
        return path

    @classmethod
    def load(cls, *files: str | os.PathLike) -> Profiles:
        """Reads a file, or several and merges them: a record that several hold counts once.

        Raises:
            FormatError: not a profile, damaged, of another schema, or one record with two contents.
        """
        if not files:
            raise ConfigError("no profiles are named")
        parts = [_read(Path(file)) for file in files]
        return parts[0] if len(parts) == 1 else cls.merge(parts)

    @classmethod
    def merge(cls, parts: Iterable[Profiles]) -> Profiles:
        """All records of several, in order of model, workload and hardware."""
        chosen: dict[str, Record] = {}
        for record in (record for part in parts for record in part.records):
            known = chosen.setdefault(record.id, record)
            if known != record:
                raise FormatError(f"two different records have one identity: {record.model.name}", hint="one of them was edited")
        ordered = sorted(chosen.values(), key=lambda r: (r.model.name, workload(r), runtime(r), r.hardware.key, r.started))
        return cls(ordered, "merged")

    def to_frame(self, results: Iterable[Result] = ()) -> pandas.DataFrame:
        """One row per record with the main columns and, of results of the same models, their main metrics."""
        import pandas

        return pandas.DataFrame(self.rows(results))

    def rows(self, results: Iterable[Result] = ()) -> list[dict[str, Any]]:
        """The main columns of every record; None where unknown. Results join by the model's name."""
        scores = accuracy(results)
        metrics = dict.fromkeys(metric for values in scores.values() for metric in values)
        return [row(record) | {metric: scores.get(record.model.name, {}).get(metric) for metric in metrics} for record in self.records]

    def hardware(self) -> list[str]:
        """The machines' names, in order of first appearance."""
        return list(dict.fromkeys(record.hardware.key for record in self.records))

    def merged_table(self) -> list[dict[str, Any]]:
        """Rows are models with workload and runtime, columns machines; a cell is the newest record of its kind."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for record in sorted(self.records, key=lambda r: r.started):
            key = (record.model.name, workload(record), runtime(record))
            rows.setdefault(key, dict(zip(("model", "workload", "runtime"), key, strict=True)))[record.hardware.key] = record
        return [rows[key] for key in sorted(rows)]

    def _repr_html_(self) -> str:
        rows = self.rows()
        if not rows:
            return "<p>no records</p>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
        body = "".join("<tr>" + "".join(f"<td>{html.escape(_plain(value))}</td>" for value in line.values()) + "</tr>" for line in rows)
        return f"<table><tr>{head}</tr>{body}</table>"


def accuracy(results: Iterable[Result]) -> dict[str, dict[str, float | None]]:
    """Model's name -> the main metric of every task of its results, by the metric's id: mIoU, or the task's first.

    Raises:
        ConfigError: two results say different things of one model.
    """
    found: dict[str, dict[str, float | None]] = {}
    for result in results:
        model = found.setdefault(result.model["name"], {})
        for task in result.tasks.values():
            metric = MAIN if MAIN in task.metrics else next(iter(task.metrics))
            value = task.metrics[metric].value
            if model.setdefault(metric, value) != value:
                name = result.model["name"]
                raise ConfigError(f"two results of {name!r} hold {metric}", hint="name them apart: segbench evaluate --name MODEL")
    return found


def row(record: Record) -> dict[str, Any]:
    """The main columns of one record."""
    compute, parameters, latency, over = record.compute, record.parameters, record.latency, record.overhead
    head = over.head_over_backbone if over else None
    memory = record.memory
    peak = None
    if memory is not None and memory.rss_peak is not None and memory.rss_base is not None:
        peak = memory.cuda_allocated if memory.cuda_allocated is not None else memory.rss_peak - memory.rss_base
    return {
        "model": record.model.name,
        "workload": workload(record),
        "runtime": runtime(record),
        "hardware": record.hardware.key,
        "macs": compute.macs if compute else None,
        "macs_backbone": compute.macs_backbone if compute else None,
        "macs_neck": compute.macs_neck if compute else None,
        "macs_head": compute.macs_head if compute else None,
        "parameters": parameters.total if parameters else None,
        "latency_ms": latency.p50 / 1e6 if latency else None,
        "latency_low_ms": latency.p50_interval[0] / 1e6 if latency and latency.p50_interval else None,
        "latency_high_ms": latency.p50_interval[1] / 1e6 if latency and latency.p50_interval else None,
        **{f"{name}_ms".replace(" ", "_"): stage.p50 / 1e6 for name, stage in record.stages.items()},
        "images_per_s": record.throughput.images_per_s if record.throughput else None,
        "peak_memory": peak,
        "head_over_backbone_macs": head.macs if head else None,
        "head_over_backbone_latency": head.latency if head else None,
        "method": over.method if over else None,
        "noisy": record.noisy,
        "error": record.error.kind if record.error else None,
    }


def _plain(value: Any) -> str:
    return "-" if value is None else significant(value, 4) if isinstance(value, float) else str(value)


def _read(path: Path) -> Profiles:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"the profile cannot be read: {error.strerror}", files=[str(path)]) from error
    try:
        header = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"damaged profile: {error}", files=[str(path)]) from error
    found = header.get("schema") if isinstance(header, dict) else None
    if found != SCHEMA:
        raise FormatError(
            f"schema {found!r}; this segbench reads {SCHEMA}", files=[str(path)], hint="segbench profile MODEL -o FILE writes one"
        )
    try:
        document = msgspec.convert(header, Document)
    except (msgspec.ValidationError, OverflowError) as error:
        raise FormatError(f"damaged profile: {error}", files=[str(path)]) from error
    edited: Sequence[Record] = [record for record in document.records if record.id != record.digest()]
    if edited:
        raise FormatError(f"the record of {edited[0].model.name} is not the one that was measured", files=[str(path)], hint="it was edited")
    return Profiles(document.records, document.command)
