"""Results of parts of a data set: putting them together, and taking parts out; exact, from the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np

from segbench.errors import ComparabilityError, ConfigError
from segbench.evidence import merge
from segbench.results import Result, dataset_digest, score
from segbench.samples import ImageId
from segbench.significance.units import labels_of

Labels = Mapping[str, Mapping[str, str]]


def merge_results(runs: Iterable[Result | str | PathLike], name: str | None = None) -> Result:
    """One result of all images of several, equal to one evaluation of them together.

    An image that is in two of them counts once where its counts are equal.

    Raises:
        ComparabilityError: other classes, tasks or protocols.
        InputError: SB120: an image is in two of them with different counts.
        ConfigError: no result.
    """
    results = [run if isinstance(run, Result) else Result.load(run) for run in runs]
    if not results:
        raise ConfigError("there is nothing to merge", hint="segbench merge RUN RUN -o RUN_DIR")
    first = results[0]
    for result in results[1:]:
        if result.dataset["classes"] != first.dataset["classes"] or result.dataset_spec.payload() != first.dataset_spec.payload():
            raise ComparabilityError(f"{result.dataset['name']} and {first.dataset['name']} have different classes or ignore rules")
        protocols = [{task: scored.protocol["digest"] for task, scored in side.tasks.items()} for side in (first, result)]
        if protocols[0] != protocols[1]:
            told = [", ".join(f"{task} by {scored.protocol['name']}" for task, scored in side.tasks.items()) for side in (first, result)]
            raise ComparabilityError(
                f"the results were scored differently: {told[0]}; {told[1]}", hint="evaluate all parts by one --protocol"
            )
    evidences = {task: merge([result.evidences[task] for result in results]) for task in first.tasks}
    tasks = {task: score(task, evidences[task], first.dataset_spec, first.rules(task)) for task in first.tasks}
    evidence = next(iter(evidences.values()))
    repeated = evidence.repeated
    warnings = list(dict.fromkeys(warning for result in results for warning in result.warnings))
    if repeated:
        warnings.append(f"{repeated} images were given more than once with equal contents and counted once")
    count = len(evidence.images)
    formats = dict.fromkeys(result.predictions["format"] for result in results)
    return replace(
        first,
        tasks=tasks,
        evidences=evidences,
        dataset=first.dataset | {"digest": dataset_digest(first.dataset_spec, evidence), "num_images": count},
        predictions={
            "format": " and ".join(formats),
            "count": sum(result.predictions["count"] for result in results) - repeated,
            "digest": None,
            "said": f"merged from {len(results)} results",
        },
        images={
            "count": count,
            "missing": [image for result in results for image in result.images["missing"]],
            "extra": [image for result in results for image in result.images["extra"]],
        },
        model={"name": name or first.model["name"]},
        warnings=warnings,
        command="segbench merge",
        timing={},
    )


def slice_result(result: Result | str | PathLike, by: str, labels: Labels | None = None) -> dict[str, Result]:
    """The result on each slice: value -> result, values ascending.

    Args:
        by: A column of `labels`, or a regular expression on the image ids.
        labels: `{image id: {column: value}}`.

    Raises:
        ConfigError: images without a label.
    """
    whole = result if isinstance(result, Result) else Result.load(result)
    ids = next(iter(whole.evidences.values())).images.ids
    values = np.array(labels_of(ids, by, labels))
    return {value: _part(whole, [ids[row] for row in np.flatnonzero(values == value)]) for value in sorted(set(values.tolist()))}


def _part(whole: Result, chosen: Sequence[ImageId]) -> Result:
    """The result of some of its images, which keep their place in the ground truth's order."""
    wanted = set(chosen)
    evidences = {
        task: evidence.select(np.array([image_id in wanted for image_id in evidence.images.ids], bool))
        for task, evidence in whole.evidences.items()
    }
    count = len(chosen)
    return replace(
        whole,
        tasks={task: score(task, evidences[task], whole.dataset_spec, whole.rules(task)) for task in whole.tasks},
        evidences=evidences,
        dataset=whole.dataset | {"digest": dataset_digest(whole.dataset_spec, next(iter(evidences.values()))), "num_images": count},
        predictions=whole.predictions | {"digest": None, "count": count},
        images={"count": count, "missing": [], "extra": []},
        timing={},
    )
