"""Shards of an evaluation: what one worker turns into evidence, and running all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from segbench import executors
from segbench.adapters.base import Source
from segbench.datasets import Dataset
from segbench.errors import InputError, raise_first
from segbench.evidence import Evidence
from segbench.metrics import tasks
from segbench.protocols import RuleSet

SHARD = 32
"""Images of a job at most: small enough for progress and memory, large enough that hand-over costs nothing."""

BATCH_SHARD = 128
"""The same for tasks that take a whole shard at once."""

LARGE = 1 << 24
"""Bytes of an allocation that is made and freed, untouched; half of what the C library's threshold may grow to."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to evaluate, all questions answered.

    Attributes:
        pairs: (prediction key or None, ground-truth key), in canonical order.
        tables: The evidence tables to collect.
        resize: How predictions of another size are resized; None: not at all.
    """

    task: str
    dataset: Dataset
    rules: RuleSet
    tables: tuple[str, ...]
    pred: Source
    gt: Source
    pairs: Sequence[tuple[Any, Any]]
    resize: str | None = None


@dataclass(frozen=True)
class Job:
    """A shard of a plan. Picklable; `first` is the position of its first pair."""

    plan: Plan
    first: int


@dataclass(frozen=True)
class Outcome:
    """The evidence of a shard, what its predictions' bytes hash to, where the time went, and the images that could not be counted."""

    evidence: Evidence
    fingerprints: dict[Any, bytes]
    stages: dict[str, float]
    cpu_s: float
    errors: list[InputError] = field(default_factory=list)


def shards(plan: Plan, workers: int) -> list[Job]:
    """Contiguous parts of a plan. Of several workers' they get smaller towards the end, so that none waits long for another."""
    most = BATCH_SHARD if tasks.takes_batches(plan.task) else SHARD
    jobs, first = [], 0
    while left := len(plan.pairs) - first:
        size = min(left, most if workers == 1 else max(most // 8, min(most, left // (2 * workers))))
        jobs.append(Job(_part(plan, plan.pairs[first : first + size]), first))
        first += size
    return jobs


def _part(plan: Plan, pairs: Sequence[tuple[Any, Any]]) -> Plan:
    pred = plan.pred.part([pred_key for pred_key, _ in pairs if pred_key is not None])
    return replace(plan, pred=pred, gt=plan.gt.part([gt_key for _, gt_key in pairs]), pairs=pairs)


def run_job(job: Job) -> Outcome:
    """Reads, checks and counts the images of a shard."""
    cpu = time.thread_time()
    _keep_freed_memory()
    plan = job.plan
    accumulator = tasks.accumulator(plan.task, plan.dataset, plan.tables, plan.rules)
    if tasks.takes_batches(plan.task):
        stages = _count_batch(plan, accumulator)
        errors: list[InputError] = []
    else:
        stages, errors = _count_images(plan, job.first, accumulator)
    prints = {}
    if not errors:
        prints = {gt_key: plan.pred.fingerprint(pred_key) for pred_key, gt_key in plan.pairs if pred_key is not None}
    return Outcome(accumulator.evidence(), prints, stages, time.thread_time() - cpu, errors)


def _count_images(plan: Plan, first: int, accumulator: Any) -> tuple[dict[str, float], list[InputError]]:
    """Counts image by image; one that cannot be counted does not hide the others that cannot."""
    errors: list[InputError] = []
    stages = {"read": 0.0, "count": 0.0}
    at = 0
    while at < len(plan.pairs):
        try:
            for counted_image in _counted(plan, first, at, accumulator, stages):
                at = counted_image + 1
        except InputError as error:
            errors.append(error)
            at += 1  # a reader that raised reads no more: a new one goes on behind the image
    return stages, errors


def _counted(plan: Plan, first: int, start: int, accumulator: Any, stages: dict[str, float]) -> Iterator[int]:
    pairs = plan.pairs[start:]
    preds = plan.pred.read([pred_key for pred_key, _ in pairs if pred_key is not None])
    gts = plan.gt.read([gt_key for _, gt_key in pairs])
    for offset, (pred_key, gt_key) in enumerate(pairs, start):
        began = time.perf_counter()
        gt = next(gts)
        pred = next(preds) if pred_key is not None else tasks.void_like(plan.task, gt)
        if plan.resize:
            pred = tasks.resized_to(plan.task, pred, gt, plan.resize)
        middle = time.perf_counter()
        pred = pred if pred.id == gt_key else pred.placed(gt_key, first + offset)
        accumulator.update((pred,), (gt.placed(gt_key, first + offset),))
        stages["read"] += middle - began
        stages["count"] += time.perf_counter() - middle
        yield offset


def _count_batch(plan: Plan, accumulator: Any) -> dict[str, float]:
    began = time.perf_counter()
    masks = not {"segm", "boundary"}.isdisjoint(plan.tables)  # boxes alone need no mask decoded
    gts: Any = plan.gt.read([gt_key for _, gt_key in plan.pairs], masks=masks)  # type: ignore[call-arg]
    sizes = dict(zip(gts.images, gts.sizes, strict=True))
    found = [(pred_key, gt_key) for pred_key, gt_key in plan.pairs if pred_key is not None]
    wanted = np.array([sizes[gt_key] for _, gt_key in found], np.int32).reshape(-1, 2)
    preds: Any = plan.pred.read([pred_key for pred_key, _ in found], wanted, masks)  # type: ignore[call-arg]
    preds = replace(preds, images=tuple(gt_key for _, gt_key in found))
    middle = time.perf_counter()
    accumulator.update(preds, gts)
    return {"read": middle - began, "count": time.perf_counter() - middle}


def _keep_freed_memory() -> None:
    """Makes the allocator keep the memory of freed images for the next ones.

    The C library returns large freed blocks to the system until it has seen one freed that is larger, so every image would pay for fresh
    pages: a tenth of the time on large images, a quarter on small ones.
    """
    np.empty(LARGE, np.uint8)


def run(
    plan: Plan, executor: str | Executor | None, workers: int | None, address: str | None, progress: Progress
) -> tuple[list[Outcome], dict[str, Any]]:
    """All shards of a plan on an executor.

    Returns:
        The outcomes in the plan's order, and the timing of the engine: without start-up and compiling.

    Raises:
        InputError: images that cannot be counted: the first one's message, five examples and how many there are.
    """
    tasks.load_kernels(plan.task, plan.tables)
    with executors.opened(executor, workers, address) as (pool, count):
        jobs = shards(plan, count)
        done = 0

        def ended(job: Job) -> None:
            nonlocal done
            done += len(job.plan.pairs)
            progress(done, len(plan.pairs))

        progress(0, len(plan.pairs))
        wall, cpu = time.perf_counter(), time.thread_time()
        outcomes = executors.run(pool, run_job, jobs, ended)
        engine_cpu = time.thread_time() - cpu + (sum(outcome.cpu_s for outcome in outcomes) if pool else 0.0)
        timing: dict[str, Any] = {"engine_wall_s": time.perf_counter() - wall, "engine_cpu_s": engine_cpu, "workers": count}
    raise_first([error for outcome in outcomes for error in outcome.errors])
    timing["stages"] = {stage: sum(outcome.stages[stage] for outcome in outcomes) for stage in ("read", "count")}
    return outcomes, timing
