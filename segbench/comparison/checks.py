"""Whether two results may be compared, and bringing them onto the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segbench.errors import SHOWN, ComparabilityError
from segbench.evidence import Evidence, merge
from segbench.results import Result, dataset_digest, score
from segbench.samples import ImageId


def comparable(baseline: Result, candidate: Result, intersect: bool = False) -> tuple[Result, Result, list[str]]:
    """Both results on the same images in the same order, and what was left out to get there.

    Raises:
        ComparabilityError: other classes, ground truth, protocol or images; the message names what differs.
    """
    notes = []
    shared = [task for task in baseline.tasks if task in candidate.tasks]
    if not shared:
        raise ComparabilityError(
            f"the results have no task in common: {', '.join(baseline.tasks)} and {', '.join(candidate.tasks)}",
        )
    for result, other in ((baseline, candidate), (candidate, baseline)):
        notes += [f"only {name(result)} has task {task}" for task in result.tasks if task not in other.tasks]
    _same_classes(baseline, candidate)
    for task in shared:
        _same_protocol(baseline, candidate, task)
    first, second = (_restricted(result, shared) for result in (baseline, candidate))
    if baseline.dataset["digest"] == candidate.dataset["digest"] and all(
        first.evidences[task].images.ids == second.evidences[task].images.ids for task in shared
    ):
        return first, second, notes
    common = _comm_on_images(first, second, shared, intersect)
    count = len(common)
    if count != baseline.images["count"] or count != candidate.images["count"]:
        notes.append(
            f"compared on the {count} images of both; the baseline has {baseline.images['count']}, the candidate "
            f"{candidate.images['count']}"
        )
    first, second = (_on_images(result, common) for result in (first, second))
    if first.dataset["digest"] != second.dataset["digest"]:
        differing = _differing_truth(first, second)
        raise ComparabilityError(
            "the results have different ground truth for the same images",
            files=[("image", str(image_id)) for image_id in differing[:SHOWN]],
            count=len(differing),
            hint="evaluate both against the same ground truth",
        )
    return first, second, notes


def name(result: Result) -> str:
    """What a result is called in a sentence."""
    return str(result.model["name"])


def same_predictions(first: Result, second: Result) -> bool:
    """Whether the predictions are the same, by the evidence of every task: a digest could have been copied from the baseline."""
    return all(_same_evidence(first.evidences[task], second.evidences[task]) for task in first.tasks)


def _same_evidence(first: Evidence, second: Evidence) -> bool:
    one, other = first.arrays(), second.arrays()
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def _same_classes(baseline: Result, candidate: Result) -> None:
    mine, theirs = baseline.dataset["classes"], candidate.dataset["classes"]
    if mine != theirs:
        only = [label for label in mine if label not in theirs], [label for label in theirs if label not in mine]
        told = " and ".join(f"{', '.join(labels[:SHOWN])} only in the {side}" for labels, side in zip(only, SIDES, strict=True) if labels)
        raise ComparabilityError(
            f"the results have different classes: {len(mine)} of {baseline.dataset['name']} and {len(theirs)} of "
            f"{candidate.dataset['name']}" + (f"; {told}" if told else "; their order differs")
        )


SIDES = ("baseline", "candidate")


def _same_protocol(baseline: Result, candidate: Result, task: str) -> None:
    mine, theirs = baseline.tasks[task].protocol, candidate.tasks[task].protocol
    if mine["digest"] == theirs["digest"]:
        return
    options = mine["options"], theirs["options"]
    keys = [key for key in {**options[0], **options[1]} if options[0].get(key) != options[1].get(key)]
    told = ", ".join(f"{key}: {options[0].get(key)} and {options[1].get(key)}" for key in keys)
    raise ComparabilityError(
        f"the results follow different {task} protocols, {mine['name']} and {theirs['name']}" + (f" ({told})" if told else ""),
        hint=f"score both by one: --protocol {mine['name']}",
    )


def _restricted(result: Result, shared: Sequence[str]) -> Result:
    return replace(
        result,
        tasks={task: result.tasks[task] for task in shared},
        evidences={task: result.evidences[task] for task in shared},
    )


def _comm_on_images(first: Result, second: Result, shared: Sequence[str], intersect: bool) -> list[ImageId]:
    ids = [[result.evidences[task].images.ids for task in shared] for result in (first, second)]
    sets = [set.intersection(*map(set, sides)) for sides in ids]
    both = sets[0] & sets[1]
    alone = sorted(sets[0] - both, key=str), sorted(sets[1] - both, key=str)
    if not both:
        raise ComparabilityError(
            "the results have no image in common",
            files=[(side, str(rest[0])) for side, rest in zip(SIDES, alone, strict=True) if rest],
            hint="were both evaluated against the same data set?",
        )
    if (alone[0] or alone[1]) and not intersect:
        raise ComparabilityError(
            f"the results are on different images: {len(both)} in both, {len(alone[0])} only in the baseline, {len(alone[1])} only in the "
            "candidate",
            files=[(side, str(image_id)) for side, rest in zip(SIDES, alone, strict=True) for image_id in rest[:SHOWN]],
            hint="evaluate both on the same images, or pass --intersect to compare the images they share",
        )
    return [image_id for image_id in ids[0][0] if image_id in both]


def _on_images(result: Result, chosen: Sequence[ImageId]) -> Result:
    place = {image_id: index for index, image_id in enumerate(chosen)}
    evidences = {task: _ordered(evidence, place) for task, evidence in result.evidences.items()}
    evidence = next(iter(evidences.values()))
    tasks = {task: score(task, evidences[task], result.dataset_spec, result.rules(task)) for task in result.tasks}
    dataset = result.dataset | {"digest": dataset_digest(result.dataset_spec, evidence), "num_images": len(chosen)}
    return replace(result, tasks=tasks, evidences=evidences, dataset=dataset, images=result.images | {"count": len(chosen)})


def _ordered(evidence: Evidence, place: dict[ImageId, int]) -> Evidence:
    """The images of `place`, in its order."""
    kept = [row for row, image_id in enumerate(evidence.images.ids) if image_id in place]
    part = evidence.select(np.array(kept, np.int64))
    order = np.array([place[image_id] for image_id in part.images.ids], np.int64)
    part = replace(part, images=replace(part.images, order=order))
    if (np.diff(order) > 0).all():
        return part
    # merging two halves puts the rows of every table into the new order
    half = len(order) // 2
    rows = np.arange(len(order))
    return merge([part.select(rows[:half]), part.select(rows[half:])])


def _differing_truth(first: Result, second: Result) -> list[Any]:
    task = next(iter(first.tasks))
    one, other = first.evidences[task], second.evidences[task]
    differing = [
        image_id
        for row, image_id in enumerate(one.images.ids)
        if dataset_digest(first.dataset_spec, one.select([row])) != dataset_digest(second.dataset_spec, other.select([row]))
    ]
    return differing or list(one.images.ids)
