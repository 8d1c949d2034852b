"""What an evaluation gives: scores with provenance, and the evidence behind them.

`result.json` (schema `segbench.result/1`, segbench/schemas/result.schema.json), `evidence.npz` and `dataset.json` make a run folder. A run
that is loaded is checked: the evidence against its digest, every metric by computing it again.
"""

from __future__ import annotations

import hashlib
import html
import io
import math
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench import __version__, datasets, protocols
from segbench import files as disk
from segbench.datasets import Dataset
from segbench.errors import ConfigError, FormatError, InputError, SegbenchError
from segbench.evidence import Evidence
from segbench.metrics import references, tasks
from segbench.protocols import RuleSet

if TYPE_CHECKING:
    import pandas

SCHEMA = "segbench.result/1"
EVIDENCE_LIMIT = 1 << 34
"""Bytes of the largest evidence: it is read as a whole, and holds what its size says."""


@dataclass(frozen=True)
class Metric:
    """One number. `value` is in [0, 1] at full precision; None is undefined, with a reason under `undefined`."""

    value: float | None
    higher_is_better: bool = True
    interval: dict[str, Any] | None = None


@dataclass(frozen=True)
class TaskResult:
    """The scores of one task under one protocol."""

    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    per_class: list[dict[str, Any]]
    undefined: dict[str, str]


@dataclass(frozen=True)
class Result:
    """Scores, provenance and evidence of one model on one data set.

    Attributes are the fields of `result.json`; `dataset_spec` and `evidences` are what the run folder's other two files hold.
    """

    tasks: dict[str, TaskResult]
    dataset: dict[str, Any]
    predictions: dict[str, Any]
    images: dict[str, Any]
    model: dict[str, Any]
    warnings: list[str]
    command: str
    environment: dict[str, Any]
    timing: dict[str, Any]
    dataset_spec: Dataset = field(repr=False)
    evidences: dict[str, Evidence] = field(repr=False)
    schema: str = SCHEMA
    segbench: str = __version__

    def value(self, metric: str) -> float | None:
        """The value of a metric, such as `semantic/miou` or, of one class, `semantic/iou/road`; None where undefined.

        Raises:
            ConfigError: no such metric in this result.
        """
        values = self.flat()
        if metric not in values:
            from difflib import get_close_matches

            close = get_close_matches(metric, values, 3, 0.4)
            raise ConfigError(f"this result holds no metric {metric!r}", hint=f"did you mean {' or '.join(close)}?" if close else None)
        return values[metric]

    def flat(self, prefix: str = "") -> dict[str, float | None]:
        """`{metric id: value}` of everything, classes included: what trackers take."""
        values: dict[str, float | None] = {}
        for name, task in self.tasks.items():
            values |= {prefix + metric: entry.value for metric, entry in task.metrics.items()}
            columns = tasks.per_class_metrics(name)
            values |= {
                f"{prefix}{metric}/{row['name']}": row[column]
                for row in task.per_class
                for column, metric in columns.items()
                if column in row
            }
        return values

    @property
    def undefined(self) -> dict[str, str]:
        """`{metric id: reason}` of everything that is None."""
        return {metric: reason for task in self.tasks.values() for metric, reason in task.undefined.items()}

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """Per-class rows of the only task, or of the first."""
        return next(iter(self.tasks.values())).per_class

    @property
    def per_image(self) -> dict[str, Any]:
        """`{column: values}`, one entry per image, computed from the evidence of the only task, or of the first."""
        name = next(iter(self.tasks))
        return tasks.per_image(name, self.evidences[name], self.dataset_spec, self.rules(name))

    def rules(self, task: str) -> RuleSet:
        """The protocol a task was scored under."""
        stored = self.tasks[task].protocol
        rules = protocols.load(stored["name"], task)
        return msgspec.structs.replace(rules, rules=msgspec.convert(stored["options"], type(rules.rules)))

    def rescore(self, protocol: str, task: str | None = None) -> Result:
        """The same evidence under another protocol; no pixel is read."""
        name = task or next(iter(self.tasks))
        scored = score(name, self.evidences[name], self.dataset_spec, protocols.load(protocol, name))
        return replace(self, tasks=self.tasks | {name: scored})

    def with_intervals(
        self,
        cluster: str | None = None,
        level: float = 0.95,
        replicates: int = 1000,
        seed: int = 0,
        only: Collection[str] | None = None,
    ) -> Result:
        """The same result with an interval on every metric that is defined, from the evidence alone.

        Args:
            only: These tasks; None: all.
            cluster: A regular expression on the image ids: images of one cluster (a video, a patient, a city) are drawn together.
            seed: Equal seeds draw the same images, so that results on one data set are paired.
        """
        from segbench.significance.intervals import Resampling, intervals
        from segbench.significance.units import labels_of

        found = dict(self.tasks)
        for name, task in self.tasks.items():
            if only is not None and name not in only:
                continue
            evidence = self.evidences[name]
            clusters = None if cluster is None else tuple(labels_of(evidence.images.ids, cluster))
            made = intervals(evidence, self.dataset_spec, self.rules(name), Resampling(replicates, level, seed, clusters))
            metrics = {
                metric: replace(entry, interval=made[metric].document() if metric in made else None)
                for metric, entry in task.metrics.items()
            }
            found[name] = replace(task, metrics=metrics)
        return replace(self, tasks=found)

    def to_frame(self, what: str = "per_class") -> pandas.DataFrame:
        """`metrics`, `per_class` or `per_image` as a pandas frame."""
        import pandas

        if what == "metrics":
            rows = [{"metric": name, "value": entry.value} for task in self.tasks.values() for name, entry in task.metrics.items()]
            return pandas.DataFrame(rows)
        if what not in ("per_class", "per_image"):
            raise ConfigError(f"no frame is called {what!r}", hint="metrics, per_class or per_image")
        return pandas.DataFrame(getattr(self, what))

    def _repr_html_(self) -> str:
        parts = []
        for name, task in self.tasks.items():
            rows = "".join(
                f"<tr><td>{html.escape(metric)}</td><td style='text-align:right'>{percent(entry.value)}</td></tr>"
                for metric, entry in task.metrics.items()
            )
            title = f"{name}, protocol {task.protocol['name']}, {self.images['count']} images of {self.dataset['name']}"
            parts.append(f"<table><caption>{html.escape(title)}</caption><tr><th>metric</th><th>%</th></tr>{rows}</table>")
        return "".join(parts)

    def to_json(self) -> bytes:
        """`result.json`, indented, one trailing newline."""
        document = {
            "schema": self.schema,
            "segbench": self.segbench,
            "command": self.command,
            "model": self.model,
            "dataset": self.dataset,
            "predictions": self.predictions,
            "tasks": self.tasks,
            "images": self.images,
            "environment": self.environment,
            "warnings": self.warnings,
            "evidence": "evidence.npz",
            "timing": self.timing,
        }
        return encoded(document)

    def save(self, folder: str | os.PathLike) -> Path:
        """Writes the run folder: all of its files or none, also where this is interrupted.

        Raises:
            ConfigError: no folder is named.
            InputError: it cannot be written.
        """
        if not os.fspath(folder):
            raise ConfigError("the path of the run folder is empty", hint="name a folder, such as runs/a")
        target = Path(folder)
        try:
            evidence = pack({f"{task}/{name}": array for task, ev in self.evidences.items() for name, array in ev.arrays().items()})
            document = msgspec.json.decode(self.to_json())
            document["evidence_digest"] = f"sha256:{hashlib.sha256(evidence).hexdigest()}"
            with made_folder(target):
                write_all(
                    {
                        target / "evidence.npz": evidence,
                        target / "dataset.json": datasets.to_json(self.dataset_spec).encode(),
                        target / "result.json": encoded(document),
                    }
                )
        except OSError as error:
            raise InputError(
                f"the run folder cannot be written: {error.strerror}", files=[str(target)], hint="choose another -o"
            ) from error
        return target

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Result:
        """Reads a run folder (or its `result.json`) and checks it.

        Raises:
            FormatError: a file is missing, damaged, of a newer schema, or was changed after it was written.
        """
        path = Path(folder)
        path = path.parent if path.name == "result.json" else path
        file = str(path / "result.json")
        if not disk.exists(file):
            raise FormatError("not a run folder", files=[file], hint="segbench evaluate ... -o FOLDER writes one")
        written = disk.read(file, disk.MAX_TEXT)
        packed = disk.read(path / "evidence.npz", EVIDENCE_LIMIT)
        dataset = datasets.load(path / "dataset.json")
        try:
            return _loaded(written, packed, dataset, path)
        except FormatError:
            raise
        except (SegbenchError, msgspec.DecodeError, msgspec.ValidationError) as error:
            message = error.message if isinstance(error, SegbenchError) else str(error)
            raise FormatError(f"damaged result: {message}", files=[file]) from error
        except Exception as error:  # scores of integers that nobody counted fail in any way
            raise FormatError(f"damaged result: {type(error).__name__}: {error}", files=[str(path)]) from error


def score(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> TaskResult:
    """Scores of an evidence under a protocol."""
    scores = tasks.scores(task, evidence, dataset, rules)
    protocol = {"name": rules.name, "version": rules.version, "options": rules.options, "digest": rules.digest}
    metrics = {metric: Metric(value, tasks.higher_is_better(metric)) for metric, value in scores.metrics.items()}
    return TaskResult(protocol, metrics, scores.per_class, scores.undefined)


def dataset_digest(dataset: Dataset, evidence: Evidence) -> str:
    """sha256 of the class list, the ignore rule and the sorted (id, height, width, ground-truth evidence): the same after re-encoding."""
    total = hashlib.sha256(dataset.payload())
    table = tasks.ground_truth(evidence)
    bounds = np.searchsorted(table["image"], np.arange(len(evidence.images) + 1))
    rest = np.stack([table[key].astype("<i8") for key in sorted(table) if key != "image"], 1)
    rows = sorted(range(len(evidence.images)), key=lambda row: repr(evidence.images.ids[row]))
    for row in rows:
        height, width = evidence.images.sizes[row].tolist()
        total.update(f"{evidence.images.ids[row]!r} {height} {width}\n".encode())
        total.update(np.ascontiguousarray(rest[bounds[row] : bounds[row + 1]]).tobytes())
    return f"sha256:{total.hexdigest()}"


def percent(value: float | None) -> str:
    """For people: two decimals of a percentage, a dash where undefined."""
    return "-" if value is None else f"{100 * value:.2f}"


def pack(arrays: Mapping[str, NDArray]) -> bytes:
    """Arrays as the bytes of a stored `.npz`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def unpack(data: bytes, file: str) -> dict[str, NDArray]:
    """The inverse of `pack`.

    Raises:
        FormatError: not such an archive: damaged, compressed, or with headers that contradict its size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size for member in members):
                raise FormatError("the evidence is compressed; segbench stores it as it is", files=[file], code="SB192")
            arrays = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
            if len(arrays) != len(members):
                raise ValueError("two arrays of one name")
            return arrays
    except FormatError:
        raise
    except Exception as error:  # the parsers of archives and headers raise anything
        raise FormatError(f"damaged evidence: {error}", files=[file]) from error


def _array(data: bytes) -> NDArray:
    """An array file of numbers; its header must agree with its size before anything is made of it."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version than 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    start = stream.tell()
    sound = dtype.kind in "biuf" and not fortran_order and all(type(length) is int and length >= 0 for length in shape)
    if not sound or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of type {dtype} and shape {shape} in {len(data) - start} bytes")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()


def encoded(document: Any) -> bytes:
    """A document as indented JSON; file names that are no UTF-8 with the bytes in question written as \\xNN."""
    try:
        text = msgspec.json.encode(document)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_printable(msgspec.to_builtins(document)))
    return msgspec.json.format(text, indent=1) + b"\n"


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """A folder, made with those above it where they are not there; what was made is removed again on an error."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def write_all(files: Mapping[Path, bytes]) -> None:
    """Writes files, all or none: under temporary names first, then renamed. What stood there before comes back on an error."""
    hidden = {path: (_beside(path, "tmp"), _beside(path, "old")) for path in files}
    renamed: list[Path] = []
    try:
        for path, data in files.items():
            hidden[path][0].write_bytes(data)
        for path in files:
            if path.is_file():
                _keep(path, hidden[path][1])
            renamed.append(path)
            hidden[path][0].replace(path)
    except BaseException:
        for path in renamed:
            if hidden[path][1].exists():
                hidden[path][1].replace(path)
            else:
                path.unlink(missing_ok=True)
        raise
    finally:
        for names in hidden.values():
            for name in names:
                name.unlink(missing_ok=True)


def _keep(path: Path, name: Path) -> None:
    """A second name for a file; a copy where the file system has no links."""
    try:
        os.link(path, name)
    except OSError:
        name.write_bytes(path.read_bytes())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    write_all({path: data})


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A part of `result.json`: the fields it has, and no others."""


class _Model(_Strict):
    name: str


class _DatasetFields(_Strict):
    name: str
    digest: Digest
    num_images: Count
    classes: list[str]


class _Predictions(_Strict):
    format: str
    count: Count
    digest: Digest | None
    said: str


class _Images(_Strict):
    count: Count
    missing: list[str]
    extra: list[str]


class _Timing(_Strict):
    wall_s: Seconds = 0
    cpu_s: Seconds = 0
    engine_wall_s: Seconds = 0
    engine_cpu_s: Seconds = 0
    workers: Annotated[int, msgspec.Meta(ge=1)] = 1
    stages: dict[str, Seconds] = {}


class _Protocol(_Strict):
    name: str
    version: int
    options: dict[str, Any]
    digest: Digest


class _Interval(_Strict):
    low: float
    high: float
    level: float
    method: str
    reliable: bool
    se: float | None = None
    reason: str | None = None


class _Metric(_Strict):
    value: float | None
    higher_is_better: bool
    interval: _Interval | None


class _Task(_Strict):
    protocol: _Protocol
    metrics: dict[str, _Metric]
    per_class: list[dict[str, Any]]
    undefined: dict[str, str]


class _Document(_Strict):
    """`result.json` of a run folder, as its schema says it."""

    schema: Literal["segbench.result/1"]
    segbench: str
    command: str
    model: _Model
    dataset: _DatasetFields
    predictions: _Predictions
    tasks: Annotated[dict[str, _Task], msgspec.Meta(min_length=1)]
    images: _Images
    environment: dict[str, str]
    warnings: list[str]
    evidence: Literal["evidence.npz"]
    timing: _Timing
    evidence_digest: Digest


def _loaded(written: bytes, packed: bytes, dataset: Dataset, path: Path) -> Result:
    document = msgspec.json.decode(written)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise FormatError(f"schema {found!r}; this segbench reads {SCHEMA}", files=[str(path / "result.json")], hint="upgrade segbench")
    msgspec.convert(document, _Document)
    if f"sha256:{hashlib.sha256(packed).hexdigest()}" != document["evidence_digest"]:
        raise FormatError("the evidence is not the one the result was computed from", files=[str(path / "evidence.npz")])
    arrays = unpack(packed, str(path / "evidence.npz"))
    parts: dict[str, dict[str, NDArray]] = {task: {} for task in document["tasks"]}
    for name, array in arrays.items():
        task, _, rest = name.partition("/")
        parts[task][rest] = array
    kept = ("dataset", "predictions", "images", "model", "warnings", "command", "environment", "timing", "segbench")
    result = Result(
        tasks=msgspec.convert(document["tasks"], dict[str, TaskResult]),
        dataset_spec=dataset,
        evidences={task: Evidence.from_arrays(part) for task, part in parts.items()},
        **{key: document[key] for key in kept},
    )
    _verify(result, str(path))
    return result


def _verify(result: Result, path: str) -> None:
    """Computes everything again that follows from the evidence.

    Raises:
        FormatError: it is not what the result says.
    """
    first = next(iter(result.tasks))  # the data set's digest is that of the first task's ground truth
    for name, task in result.tasks.items():
        evidence, rules = result.evidences[name], result.rules(name)
        if evidence.task != name or tasks.types_of(evidence.tables) != tasks.table_types(name, evidence, result.dataset_spec, rules):
            raise FormatError("the evidence has other tables or columns than its task", files=[path])
        references.check(evidence)
        again = msgspec.json.decode(msgspec.json.encode(score(name, evidence, result.dataset_spec, rules)))
        stored = msgspec.to_builtins(task)
        stored["metrics"] = {metric: entry | {"interval": None} for metric, entry in stored["metrics"].items()}
        dataset = {
            "name": result.dataset_spec.name,
            "digest": dataset_digest(result.dataset_spec, result.evidences[first]) if name == first else result.dataset["digest"],
            "num_images": len(evidence.images),
            "classes": list(result.dataset_spec.names),
        }
        known, made = stored.pop("metrics"), again.pop("metrics")
        wrong = [metric for metric in (*known, *made) if known.get(metric) != made.get(metric)]
        wrong += [part for part, value in stored.items() if again[part] != value]
        wrong += [f"dataset.{key}" for key, value in dataset.items() if result.dataset[key] != value]
        named = protocols.load(task.protocol["name"], name)
        if not tasks.takes_batches(name) and named.digest != task.protocol["digest"]:  # only those may have options of one's own
            wrong.append("protocol")
        wrong += ["images.count"] if result.images["count"] != len(evidence.images) else []
        if wrong:
            raise FormatError(
                f"the stored scores do not follow from the evidence ({', '.join(dict.fromkeys(wrong[:3]))})",
                files=[path],
                hint="the result was edited, or written by another version; evaluate again",
            )
