"""evaluate(): open both sides, pair them, turn pixels into evidence in shards, merge, score."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from segbench import __version__, datasets, executors, protocols
from segbench.adapters import check_exists, open_source
from segbench.adapters.base import Layout, Request, Source
from segbench.adapters.pairing import MISSING_RULES, Pairing, pair
from segbench.datasets import Dataset
from segbench.errors import SHOWN, ConfigError, LabelError, PairingError, counted
from segbench.evidence import Evidence, merge
from segbench.metrics import tasks
from segbench.results import Result, score
from segbench.samples import LabelMap, ValueMap
from segbench.sizes import RESIZE_RULES, check_sizes, resized

SHARD = 16
"""Images of a job at most: small enough for progress and memory, large enough that hand-over costs nothing."""

LARGE = 1 << 24
"""Bytes of an allocation that is made and freed, untouched; half of what the C library's threshold may grow to."""

Progress = Callable[[int, int], None]


def evaluate(
    predictions: Any,
    ground_truth: Any,
    *,
    task: str = "auto",
    dataset: str | PathLike | Dataset | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = None,
    format: str | None = None,
    gt_format: str | None = None,
    id_space: str | None = None,
    gt_id_space: str | None = None,
    layout: Layout | None = None,
    threshold: float | None = None,
    protocol: str | None = None,
    metrics: Iterable[str] = (),
    missing: str = "auto",
    resize: str | None = None,
    strict: bool = False,
    adapter: str | None = None,
    trust_pickle: bool = False,
    limit: int | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    address: str | None = None,
    name: str | None = None,
    command: str = "segbench.evaluate",
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Result:
    """Evaluates predictions against ground truth.

    Args:
        predictions, ground_truth: A folder, a file, or samples in memory (see docs/formats.md).
        task: `semantic`; `auto` tells from the data.
        dataset: A preset's name, a path to a data set file, or a `Dataset`; else `dataset.json` beside the ground truth, or what
            `num_classes` and `ignore_index` say.
        format, gt_format: Names of formats; recognised where None.
        id_space, gt_id_space: Which ids the values are (`segbench datasets NAME` lists them); told from the files where None.
        layout: Axes of score arrays, `CHW` or `HWC`. threshold: for one-channel scores.
        protocol: A named rule set; the data set's default where None.
        metrics: Globs of metrics that cost extra: `semantic/boundary_iou`, `semantic/iiou`.
        missing: What ground truth without a prediction means: `error`, `skip`, or `empty` (all void); `auto` is `error` for label maps.
        resize: `nearest` or `nearest-exact`: resizes predictions to the ground truth's size.
        strict: Extra predictions are an error.
        adapter: `FILE.py:FUNCTION`, a reader of your own for the predictions.
        limit: Only the first images.
        workers, executor, address: See `segbench.executors`.
        name: The model's name in the result.
        say, progress: Called with a sentence, and with (images done, images in all).

    Returns:
        Scores, provenance and evidence.

    Raises:
        InputError: something is wrong with the data; the message names the files and what to do.
        ConfigError: options that do not exist or contradict one another.
    """
    started = time.perf_counter(), time.process_time()
    if missing not in MISSING_RULES:
        raise ConfigError(f"no rule for missing predictions is called {missing!r}", hint=f"one of {', '.join(MISSING_RULES)}")
    if resize is not None and resize not in RESIZE_RULES:
        raise ConfigError(f"no resize rule is called {resize!r}", hint=f"one of {', '.join(RESIZE_RULES)}")
    chosen_task = "semantic" if task == "auto" else task
    tasks.TASKS.get(chosen_task)
    check_exists(predictions, ground_truth)
    labels = resolved_dataset(ground_truth, dataset, num_classes, ignore_index, say)
    rules = protocols.load(protocol or labels.protocol(chosen_task), chosen_task)
    tables = tasks.tables_for(chosen_task, metrics)

    gt_request = Request("gt", labels, gt_id_space, None, None, trust_pickle, "instances" in tables)
    gt = open_source(ground_truth, gt_request, chosen_task, gt_format)
    say(gt.said)
    pred_request = Request("pred", labels, id_space, layout, threshold, trust_pickle)
    pred = _own_source(adapter, predictions, pred_request) if adapter else open_source(predictions, pred_request, chosen_task, format)
    say(pred.said)

    pairing = pair(pred.keys, gt.keys)
    warnings = check_pairing(pairing, pred, gt, missing, strict)
    pairs: list[tuple[Any, Any]] = list(pairing.pairs)
    if missing == "empty" and pairing.missing:
        partner = {gt_key: pred_key for pred_key, gt_key in pairs}
        pairs = [(partner.get(key), key) for key in gt.keys]
    pairs = pairs[:limit]
    if not resize:
        check_sizes(pred, gt, pairs)

    accumulated, timing = _accumulate(chosen_task, labels, tables, pred, gt, pairs, resize, workers, executor, address, progress)
    evidence = merge([outcome.evidence for outcome in accumulated])
    if num_classes == 2 and ignore_index is None:
        tasks.refuse_binary_masks(evidence)
    if evidence.repeated:
        warnings.append(f"{counted(evidence.repeated, 'image')} given again with equal contents: counted once")
    scored = score(chosen_task, evidence, labels, rules)
    warnings += tasks.suspicions(chosen_task, evidence, labels)
    for warning in warnings:
        say(f"warning: {warning}")
    prints = {key: value for outcome in accumulated for key, value in outcome.fingerprints.items()}
    timing |= {"wall_s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1]}
    return Result(
        tasks={chosen_task: scored},
        dataset={
            "name": labels.name,
            "digest": dataset_digest(labels, evidence),
            "num_images": len(evidence.images),
            "classes": list(labels.names),
        },
        predictions={"format": pred.format, "count": len(pred.keys), "digest": prediction_digest(prints), "said": pred.said},
        images={
            "count": len(evidence.images),
            "missing": [str(key) for key in pairing.missing],
            "extra": [str(key) for key in pairing.extra],
        },
        model={"name": name or _model_name(predictions)},
        warnings=warnings,
        command=command,
        environment=environment(),
        timing=timing,
        dataset_spec=labels,
        evidences={chosen_task: evidence},
    )


def resolved_dataset(
    ground_truth: Any, dataset: Any, num_classes: int | None, ignore_index: int | None, say: Callable[[str], None] = lambda text: None
) -> Dataset:
    """Which classes: as asked for, else `dataset.json` beside the ground truth, else the one preset that the files show.

    Raises:
        ConfigError: contradicting options.
        LabelError: the classes cannot be told.
    """
    from segbench.adapters.arrays import is_memory

    if dataset is not None and (num_classes is not None or ignore_index is not None):
        raise ConfigError("--dataset and --num-classes/--ignore-index contradict one another", hint="give one of them")
    if isinstance(dataset, Dataset):
        return dataset
    if dataset is not None:
        return datasets.load(dataset)
    if num_classes is not None:
        return datasets.simple(num_classes, 255 if ignore_index is None else ignore_index)
    if ignore_index is not None:
        raise ConfigError("--ignore-index needs --num-classes", hint="add --num-classes N")
    if not is_memory(ground_truth):
        beside = datasets.find(ground_truth)
        if beside is not None:
            found = datasets.load(beside)
            say(f"classes of {found.name} from {beside}")
            return found
        from segbench.inspection import fitting_preset

        preset, why = fitting_preset(ground_truth)
        if preset is not None:
            say(f"classes of {preset.name}: {why}")
            return preset
    # the number of classes is never guessed from the labels
    raise LabelError(
        "which classes are these? Nothing beside the ground truth says so",
        hint="--dataset NAME (segbench datasets lists them), --dataset FILE.json, or --num-classes N --ignore-index K",
    )


def check_pairing(pairing: Pairing, pred: Source, gt: Source, missing: str, strict: bool) -> list[str]:
    """What is missing or extra, as errors or warnings by the rules asked for."""
    warnings = []
    if not gt.keys:
        raise PairingError("there is no ground truth", files=[gt.said], code="SB132")
    if pairing.missing:
        if missing in ("auto", "error"):
            raise PairingError(
                f"no prediction for {len(pairing.missing)} of {counted(len(gt.keys), 'ground truth')}",
                files=[("gt", gt.file(key)) for key in pairing.missing[:SHOWN]],
                count=len(pairing.missing),
                hint="predict them too, or pass --missing skip (leaves them out) or --missing empty (counts all their pixels as missed)",
                code="SB130",
            )
        done = "left out" if missing == "skip" else "counted as all missed"
        warnings.append(f"no prediction for {len(pairing.missing)} of {counted(len(gt.keys), 'ground truth')}: {done}")
    if pairing.extra:
        text = f"no ground truth for {counted(len(pairing.extra), 'prediction')}"
        if strict:
            raise PairingError(
                text,
                files=[("pred", pred.file(key)) for key in pairing.extra[:SHOWN]],
                count=len(pairing.extra),
                hint="remove them, or leave --strict out",
                code="SB131",
            )
        warnings.append(f"{text}: not used, such as {pred.file(pairing.extra[0])}")
    return warnings


@dataclass(frozen=True)
class Job:
    """A shard: what one worker turns into evidence. Picklable."""

    task: str
    dataset: Dataset
    tables: tuple[str, ...]
    pred: Source
    gt: Source
    pairs: Sequence[tuple[Any, Any]]
    first: int
    resize: str | None


@dataclass(frozen=True)
class Outcome:
    """The evidence of a shard, what its predictions' bytes hash to, and where the time went."""

    evidence: Evidence
    fingerprints: dict[Any, bytes]
    stages: dict[str, float]
    cpu_s: float


def run_job(job: Job) -> Outcome:
    """Reads, checks and counts the images of a shard."""
    cpu = time.thread_time()
    _keep_freed_memory()
    accumulator = tasks.accumulator(job.task, job.dataset, job.tables)
    keys = [pred_key for pred_key, _ in job.pairs if pred_key is not None]
    preds, gts = job.pred.read(keys), job.gt.read([gt_key for _, gt_key in job.pairs])
    read = count = 0.0
    for offset, (pred_key, gt_key) in enumerate(job.pairs):
        began = time.perf_counter()
        gt = next(gts)
        pred = next(preds) if pred_key is not None else _void_like(gt)
        if job.resize and pred.values.shape != gt.values.shape:
            pred = replace(pred, values=resized(pred.values, gt.values.shape, job.resize))
        middle = time.perf_counter()
        accumulator.update((replace(pred, id=gt_key),), (replace(gt, id=gt_key, order=job.first + offset),))
        read += middle - began
        count += time.perf_counter() - middle
    prints = {gt_key: job.pred.fingerprint(pred_key) for pred_key, gt_key in job.pairs if pred_key is not None}
    return Outcome(accumulator.evidence(), prints, {"read": read, "count": count}, time.thread_time() - cpu)


def _keep_freed_memory() -> None:
    """Makes the allocator keep the memory of freed images for the next ones.

    The C library returns large freed blocks to the system until it has seen one freed that is larger, so every image would pay for fresh
    pages: a tenth of the time on large images, a quarter on small ones.
    """
    np.empty(LARGE, np.uint8)


def _void_like(gt: LabelMap) -> LabelMap:
    """A prediction that says nothing anywhere."""
    classes = gt.meaning.num_classes
    return LabelMap(gt.id, np.zeros(gt.values.shape, np.uint8), ValueMap.of({0: classes}, classes), "(no prediction)")


def _accumulate(
    task: str,
    dataset: Dataset,
    tables: tuple[str, ...],
    pred: Source,
    gt: Source,
    pairs: Sequence[tuple[Any, Any]],
    resize: str | None,
    workers: int | None,
    executor: str | Executor | None,
    address: str | None,
    progress: Progress,
) -> tuple[list[Outcome], dict[str, Any]]:
    with executors.opened(executor, workers, address) as (pool, count):
        size = max(1, min(SHARD, -(-len(pairs) // (4 * count))))
        jobs = [
            Job(task, dataset, tables, pred.part([p for p, _ in part if p is not None]), gt.part([g for _, g in part]), part, first, resize)
            for first in range(0, len(pairs), size)
            for part in [pairs[first : first + size]]
        ]
        done = 0

        def ended(job: Job) -> None:
            nonlocal done
            done += len(job.pairs)
            progress(done, len(pairs))

        progress(0, len(pairs))
        wall, cpu = time.perf_counter(), time.thread_time()
        outcomes = executors.run(pool, run_job, jobs, ended)
        engine_cpu = time.thread_time() - cpu + (sum(outcome.cpu_s for outcome in outcomes) if pool else 0.0)
        timing: dict[str, Any] = {"engine_wall_s": time.perf_counter() - wall, "engine_cpu_s": engine_cpu, "workers": count}
    timing["stages"] = {stage: sum(outcome.stages[stage] for outcome in outcomes) for stage in ("read", "count")}
    return outcomes, timing


def dataset_digest(dataset: Dataset, evidence: Evidence) -> str:
    """sha256 of the class list, the ignore rule and the sorted (id, height, width, ground-truth evidence): the same after re-encoding."""
    total = hashlib.sha256(dataset.payload())
    table = tasks.ground_truth(evidence)
    bounds = np.searchsorted(table["image"], np.arange(len(evidence.images) + 1))
    rest = np.stack([column.astype("<i8") for key, column in table.items() if key != "image"], 1)
    rows = sorted(range(len(evidence.images)), key=lambda row: repr(evidence.images.ids[row]))
    for row in rows:
        height, width = evidence.images.sizes[row].tolist()
        total.update(f"{evidence.images.ids[row]!r} {height} {width}\n".encode())
        total.update(np.ascontiguousarray(rest[bounds[row] : bounds[row + 1]]).tobytes())
    return f"sha256:{total.hexdigest()}"


def prediction_digest(prints: dict[Any, bytes]) -> str:
    """sha256 over the sorted (id, sha256 of the bytes)."""
    total = hashlib.sha256()
    for key in sorted(prints, key=repr):
        total.update(repr(key).encode() + prints[key])
    return f"sha256:{total.hexdigest()}"


def environment() -> dict[str, str]:
    """What may explain a difference between machines; no host name."""
    import numba

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
        "segbench": __version__,
    }


def _model_name(predictions: Any) -> str:
    return str(predictions).rstrip("/").rpartition("/")[2] if isinstance(predictions, str | PathLike) else "model"


def _own_source(adapter: str, predictions: Any, request: Request) -> Source:
    from segbench.adapters.own import open_own

    return open_own(adapter, predictions, request)
