"""evaluate(): open both sides, pair them, turn pixels into evidence in shards, merge, score."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any

import numpy as np

from segbench import __version__, executors, jobs, scrutiny
from segbench.adapters.base import Layout, Request
from segbench.adapters.pairing import MISSING_RULES, pair
from segbench.datasets import Dataset
from segbench.errors import ConfigError, counted
from segbench.evidence import merge
from segbench.jobs import Plan, Progress
from segbench.metrics import tasks
from segbench.opening import (
    asked_metrics,
    asked_protocols,
    check_exists,
    check_left,
    check_lengths,
    check_numbers,
    check_pairing,
    known_by_name,
    open_side,
    own_source,
    panoptic_after_all,
    resolved_dataset,
    same_maps,
    told_formats,
)
from segbench.results import Result, dataset_digest, score
from segbench.sizes import RESIZE_RULES, check_sizes


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
    analysis: bool = False,
    intervals: bool | None = None,
    cluster: str | None = None,
    images: str | PathLike | Mapping[str, Mapping[str, str]] | None = None,
    iou_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    max_dets: Sequence[int] | None = None,
    unknown_class: str = "error",
    maps: str | None = None,
    gt_maps: str | None = None,
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
        task: `semantic`, `instance`, `panoptic`; `auto` tells from the data; `all` scores a panoptic prediction as labels and as
            instances too.
        dataset: A preset's name, a path to a data set file, or a `Dataset`; else `dataset.json` beside the ground truth, or what
            `num_classes` and `ignore_index` say.
        format, gt_format: Names of formats; recognised where None.
        id_space, gt_id_space: Which ids the values are (`segbench datasets NAME` lists them); told from the files where None.
        layout: Axes of score arrays, `CHW` or `HWC`. threshold: for one-channel scores.
        protocol: A named rule set, or with `all` `semantic=NAME,instance=NAME`; the data set's default where None.
        metrics: Globs. Maps: metrics that cost extra and are added, such as `boundary_iou`. Instances: what is compared, such as `segm/*`.
        missing: What ground truth without a prediction means: `error`, `skip`, or `empty` (nothing is predicted there); `auto` is `empty`
            for instances, else `error`.
        resize: `nearest` or `nearest-exact`: resizes predictions to the ground truth's size.
        strict: Extra predictions are an error.
        adapter: `FILE.py:FUNCTION`, a reader of your own for the predictions.
        trust_pickle: Read pickled files, which can run code.
        analysis: Instances: also where AP is lost, best F1, oLRP and calibration; costs a wider search for overlaps.
        intervals: 95 % intervals of every metric: True, False, or None for those that cost little, of semantic and panoptic metrics.
        cluster: Images of one video, patient or city are drawn together: a column of `images`, or a regular expression on the ids. Asks for
            intervals of AP too.
        images: What is known of the images: a CSV or JSON file, or `{image id: {column: value}}`.
        iou_thresholds, area_ranges, max_dets: Instances: other thresholds, `{name: (low, high)}` in square pixels, and numbers of
            detections per image, in place of the protocol's.
        unknown_class: Instances: what a row of a category that the data set does not have means, `error` or `drop`.
        maps, gt_maps: Folder of the PNG maps that a panoptic JSON describes, where they are not beside it.
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
    if cluster is not None and intervals is False:
        raise ConfigError("--cluster is for intervals, and there are to be none", hint="leave --cluster or --no-intervals out")
    known = _known_of_images(images)
    metrics = (*asked_metrics(metrics), *(("analysis",) if analysis else ()))
    check_numbers(limit, workers, layout, threshold)
    check_exists(predictions, ground_truth)
    check_lengths(predictions, ground_truth, missing)
    chosen, pred_format, gt_format_found = told_formats(predictions, ground_truth, task, None if adapter else format, gt_format)
    if analysis and chosen != "instance":
        hint = "segbench explain panoptic/pq --run RUN_DIR, of a run written with -o" if chosen == "panoptic" else "leave it out"
        raise ConfigError("--analysis is for instances", hint=hint)
    labels = resolved_dataset(ground_truth, gt_format_found, dataset, num_classes, ignore_index, say)
    if task == "auto" and chosen == "semantic" and not (format or gt_format or adapter):
        told = panoptic_after_all(predictions, ground_truth, labels, id_space, gt_id_space)
        if told is not None:
            chosen, (pred_format, gt_format_found) = "panoptic", told
            say("read as panoptic maps; --task semantic reads them as labels")
    if chosen == "semantic" and chosen not in labels.tasks:
        raise ConfigError(f"{labels.name} is not for the semantic task, but for {', '.join(labels.tasks)}", hint="name it with --task")
    if chosen == "semantic" and not labels.groups and any(name.rpartition("/")[2].startswith("category_") for name in metrics):
        raise ConfigError(f"{labels.name} has no categories", hint="give its classes a supercategory in a data set file")
    wanted = ("panoptic", "semantic", "instance") if task == "all" else (chosen,)
    every_rules = asked_protocols(protocol, wanted, labels)
    rules = every_rules[chosen]
    if iou_thresholds is not None or area_ranges is not None or max_dets is not None:
        rules = every_rules[chosen] = tasks.customised(rules, iou_thresholds, area_ranges, max_dets)
    tables = tasks.tables_for(chosen, metrics, rules)

    gt = open_side(
        ground_truth,
        Request("gt", labels, gt_id_space, trust_pickle=trust_pickle, instances="instances" in tables, maps=gt_maps, asked=gt_format),
        chosen,
        gt_format_found,
    )
    say(gt.said)
    request = Request("pred", labels, id_space, layout, threshold, trust_pickle, maps=maps, unknown_class=unknown_class, asked=format)
    pred = own_source(adapter, predictions, request) if adapter else open_side(predictions, request, chosen, pred_format)
    say(pred.said)
    if not getattr(pred, "has_masks", True):
        tables = tasks.tables_for(chosen, metrics, rules, masks=False)

    pred = known_by_name(chosen, pred, gt)
    notes = [note for side in (gt, pred) for note in getattr(side, "notes", ())]
    notes += same_maps(predictions, pred, ground_truth, gt)
    pairing = pair(pred.keys, gt.keys)
    missing = tasks.usual_missing(chosen) if missing == "auto" else missing
    warnings = notes + check_pairing(pairing, pred, gt, missing, strict, tasks.usual_missing(chosen))
    pairs: list[tuple[Any, Any]] = list(pairing.pairs)
    if missing == "empty" and pairing.missing:
        partner = {gt_key: pred_key for pred_key, gt_key in pairs}
        pairs = [(partner.get(key), key) for key in gt.keys]
    check_left(pairs, predictions, pred, ground_truth, gt)
    pairs = pairs[:limit]
    if cluster is not None:  # a mistake is better told now than after the work
        from segbench.significance.units import labels_of

        labels_of([key for _, key in pairs], cluster, known)
    largest = 0 if resize else check_sizes(pred, gt, pairs)
    if workers is None and chosen != "instance" and executor in (None, "threads", "processes"):
        workers = executors.workers_in_memory(largest)
        if workers < executors.available_workers():
            say(f"{counted(workers, 'worker')}, so that images of {largest} pixels fit into memory; --workers N overrules")

    plan = Plan(chosen, labels, rules, tables, pred, gt, pairs, resize)
    accumulated, timing = jobs.run(plan, executor, workers, address, progress)
    evidence = merge([outcome.evidence for outcome in accumulated])
    if chosen == "semantic" and num_classes == 2 and ignore_index is None:
        tasks.refuse_binary_masks(evidence)
    if chosen == "semantic":
        warnings += scrutiny.look(plan, evidence)
    if chosen == "instance":
        warnings += scrutiny.look_at_categories(plan, evidence, id_space)
    if evidence.repeated:
        warnings.append(f"{counted(evidence.repeated, 'image')} given again with equal contents: counted once")
    evidences = tasks.views(evidence, labels) if task == "all" else {chosen: evidence}
    scored = {name: score(name, evidences[name], labels, every_rules[name]) for name in wanted}
    warnings += tasks.suspicions(chosen, evidence, labels, rules)
    for warning in warnings:
        say(f"warning: {warning}".replace("\n", "\\n"))  # a file may be named with a line break
    prints = {key: value for outcome in accumulated for key, value in outcome.fingerprints.items()}
    timing |= {"wall_s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1]}
    result = Result(
        tasks=scored,
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
        evidences=evidences,
    )
    if intervals is False:
        return result
    return result.with_intervals(cluster, only=None if intervals or cluster else tasks.QUICK, images=known)


def _known_of_images(images: str | PathLike | Mapping[str, Mapping[str, str]] | None) -> Mapping[str, Mapping[str, str]] | None:
    if not isinstance(images, str | PathLike):
        return images
    from segbench.comparison.labels import read_table

    return read_table(images)


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
