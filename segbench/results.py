"""What an evaluation gives: scores with provenance, and the evidence behind them.

`result.json` (schema `segbench.result/1`, segbench/schemas/result.schema.json), `evidence.npz` and `dataset.json` make a run folder. A run
that is loaded is checked: the evidence against its digest, every metric by computing it again.
"""

from __future__ import annotations

import hashlib
import html
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench import __version__, datasets, protocols
from segbench import files as disk
from segbench.datasets import Dataset
from segbench.errors import ConfigError, FormatError, InputError, SegbenchError, counted
from segbench.evidence import Evidence
from segbench.metrics import references, tasks
from segbench.protocols import RuleSet
from segbench.result_schema import ResultDocument
from segbench.storage import encoded, made_folder, pack, unpack, write_all

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


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        lines = [f"{self.model['name']} on {self.dataset['name']}: {counted(self.images['count'], 'image')}"]
        for name, task in self.tasks.items():
            values = (f"{metric.partition('/')[2]} {percent(entry.value)}" for metric, entry in task.metrics.items())
            lines.append(f"{name}, protocol {task.protocol['name']}, %: {', '.join(values)}")
        return "\n".join(lines)

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
        images: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Result:
        """The same result with an interval on every metric that is defined, from the evidence alone.

        Args:
            only: These tasks; None: all.
            cluster: A column of `images`, or a regular expression on the ids: images of one cluster (a video, a patient, a city) are drawn
                together.
            images: What is known of the images: `{image id: {column: value}}`.
            seed: Equal seeds draw the same images, so that results on one data set are paired.
        """
        if only is not None and not set(only) & set(self.tasks):
            return self
        from segbench.significance.intervals import Resampling, intervals
        from segbench.significance.units import labels_of

        found = dict(self.tasks)
        for name, task in self.tasks.items():
            if only is not None and name not in only:
                continue
            evidence = self.evidences[name]
            clusters = None if cluster is None else tuple(labels_of(evidence.images.ids, cluster, images))
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
            rows = [
                {"metric": name, "value": entry.value} | {key: (entry.interval or {}).get(key) for key in ("low", "high", "reliable")}
                for task in self.tasks.values()
                for name, entry in task.metrics.items()
            ]
            return pandas.DataFrame(rows)
        if what not in ("per_class", "per_image"):
            raise ConfigError(f"no frame is called {what!r}", hint="metrics, per_class or per_image")
        return pandas.DataFrame(getattr(self, what))

    def _repr_html_(self) -> str:
        parts = []
        for name, task in self.tasks.items():
            rows = "".join(
                f"<tr><td>{html.escape(metric)}</td><td style='text-align:right'>{percent(entry.value)}</td>"
                f"<td style='text-align:right'>{shown_interval(entry.interval)}</td></tr>"
                for metric, entry in task.metrics.items()
            )
            title = f"{name}, protocol {task.protocol['name']}, {self.images['count']} images of {self.dataset['name']}"
            parts.append(f"<table><caption>{html.escape(title)}</caption><tr><th>metric</th><th>%</th><th>interval</th></tr>{rows}</table>")
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
        target = check_run_folder(folder)
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
            raise _unwritable(target, error.strerror) from error
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


def check_run_folder(folder: str | os.PathLike, *inputs: Any) -> Path:
    """Where a run may be written, as far as that can be told before it is made.

    Args:
        inputs: What is evaluated; below it a run would be read as predictions or ground truth the next time.

    Raises:
        ConfigError: no folder is named, or one of the inputs.
        InputError: it cannot be written, or holds the description of a data set that no run wrote.
    """
    if not os.fspath(folder):
        raise ConfigError("the path of the run folder is empty", hint="name a folder, such as runs/a")
    target = Path(folder)
    place = os.path.realpath(target)
    for item in inputs:
        root = os.path.realpath(item) if isinstance(item, str | os.PathLike) else None
        if root is not None and os.path.isdir(root) and (place + os.sep).startswith(root + os.sep):
            raise ConfigError(
                f"the run folder {target} is in {item}, whose files are evaluated", hint="write runs beside it, such as -o runs/a"
            )
    try:
        if target.exists() and not target.is_dir():
            raise _unwritable(target, "it is a file")
        if (target / "dataset.json").exists() and not (target / "result.json").exists():
            raise _unwritable(target, "it holds a dataset.json of yours, which would be replaced")
    except OSError as error:
        raise _unwritable(target, error.strerror) from error
    return target


def _unwritable(folder: Path, why: str | None) -> InputError:
    return InputError(f"the run folder cannot be written: {why}", files=[str(folder)], hint="choose another -o")


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


def shown_interval(found: dict[str, Any] | None) -> str:
    """`70.10 to 74.25`, with ` ?` where it is not reliable; nothing without one."""
    return f"{percent(found['low'])} to {percent(found['high'])}{'' if found['reliable'] else ' ?'}" if found else ""


def _loaded(written: bytes, packed: bytes, dataset: Dataset, path: Path) -> Result:
    document = msgspec.json.decode(written)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = str(document.get("schema") if isinstance(document, dict) else None)
        files = [str(path / "result.json")]
        if not found.startswith("segbench.result/"):
            raise FormatError("this is no result of segbench", files=files, hint="segbench evaluate ... -o FOLDER writes one")
        raise FormatError(f"schema {found!r}; this segbench reads {SCHEMA}", files=files, hint="upgrade segbench")
    msgspec.convert(document, ResultDocument)
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
