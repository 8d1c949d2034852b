"""Planted regressions: forty ways to break predictions, and how many of them a gate catches. Prints a Markdown table.

    python -m tests.studies.regressions [SIMULATIONS]

Each damage is done to a random share of the images, just large enough that the loss is one and two times what the images can show (the
smallest detectable change). A gate in its default mode judges the result; class and images are named right where those with the largest
loss are the ones that were damaged. False alarms: a second model of the same quality that makes other mistakes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segbench import datasets, protocols, scenes
from segbench.adapters.instance.memory import batch_of
from segbench.evidence import Evidence
from segbench.gates import Gate, Policy, Tolerance, judge
from segbench.metrics.instance.scoring import InstanceAccumulator
from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.metrics.semantic import SemanticAccumulator
from segbench.samples import LabelMap, PanopticMap
from segbench.scenes import BUS, CAR, PERSON, POLE, ROAD, SIDEWALK, SIGN, VEGETATION, VOID, Prediction
from segbench.significance import instance as instance_module
from segbench.significance.intervals import Resampling
from segbench.significance.measure import Measure, measure
from segbench.significance.paired import class_contributions, detectable_factor, differences

DATASET = datasets.load(Path(__file__).parents[2] / "fixtures" / "street" / "dataset.json")
HEADLINES = {"semantic": "semantic/miou", "instance": "segm/ap", "panoptic": "panoptic/pq"}
RULES = {
    "semantic": protocols.load("pooled", "semantic"),
    "panoptic": protocols.load("coco-panoptic", "panoptic"),
    "instance": protocols.load("coco", "instance"),
}
POPULATION, SAMPLE = 360, 200
SIZE = 64, 128
DRAWS = 300

Damage = Callable[[Prediction, np.random.Generator], Prediction]


@dataclass(frozen=True)
class Planted:
    """A way to break a prediction.

    Attributes:
        task: Whose headline metric should notice.
        name: In the table.
        damage: What is done to the predictions of an image.
        classes: Classes of which one should be named; empty where all suffer alike.
    """

    task: str
    name: str
    damage: Damage
    classes: tuple[int, ...] = ()


def both(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """The same to labels and instances."""
    return lambda prediction, rng: replace(prediction, labels=change(prediction.labels), instances=change(prediction.instances))


def shifted(down: int, right: int) -> Damage:
    def change(values: np.ndarray) -> np.ndarray:
        rows = np.clip(np.arange(values.shape[0]) - down, 0, values.shape[0] - 1)
        columns = np.clip(np.arange(values.shape[1]) - right, 0, values.shape[1] - 1)
        return np.ascontiguousarray(values[np.ix_(rows, columns)])

    return both(change)


def coarse(step: int, offset: int = 0) -> Damage:
    """Predicted at a lower resolution and enlarged again."""

    def change(values: np.ndarray) -> np.ndarray:
        rows, columns = (np.minimum(np.arange(length) // step * step + offset, length - 1) for length in values.shape)
        return np.ascontiguousarray(values[np.ix_(rows, columns)])

    return both(change)


def blurred(radius: int) -> Damage:
    """Every pixel becomes the most frequent class around it."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        labels = prediction.labels
        found = np.unique(labels)
        votes = []
        for value in found:
            sums = np.pad((labels == value).astype(np.int32), ((radius + 1, radius), (radius + 1, radius))).cumsum(0).cumsum(1)
            side = 2 * radius + 1
            votes.append(sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side])
        return replace(prediction, labels=found[np.argmax(votes, 0)].astype(np.uint8))

    return change


def renamed(table: dict[int, int]) -> Damage:
    """Classes taken for one another, as labels and as instances."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        labels, instances, scores = prediction.labels.copy(), prediction.instances.copy(), dict(prediction.scores)
        for old, new in table.items():
            labels[prediction.labels == old] = new
        for segment in np.unique(prediction.instances).tolist():
            old, number = divmod(segment, 1000) if segment >= 1000 else (segment, 0)
            if old in table:
                # numbers of both classes must not meet
                moved = table[old] * 1000 + number + 500 if number else table[old]
                instances[prediction.instances == segment] = moved
                if segment in scores:
                    scores[moved] = scores.pop(segment)
        return Prediction(labels, instances, scores)

    return change


def lost(chosen: Callable[[np.ndarray, int, np.random.Generator], bool], fill: int = -1) -> Damage:
    """Objects that are no longer seen; `fill` in their place, or the class above them."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        labels, instances, scores = prediction.labels.copy(), prediction.instances.copy(), dict(prediction.scores)
        for segment in list(scores):
            mask = prediction.instances == segment
            if mask.any() and chosen(mask, segment // 1000, rng):
                value = fill
                if fill < 0:
                    top, left = np.argwhere(mask)[0]
                    value = int(prediction.labels[max(top - 1, 0), left])
                    value = value if value < PERSON else ROAD
                labels[mask], instances[mask] = value, value
                scores.pop(segment)
        return Prediction(labels, instances, scores)

    return change


def surface(old: int, new: int) -> Damage:
    return renamed({old: new})


def void_where(make: Callable[[tuple[int, int], np.random.Generator], np.ndarray]) -> Damage:
    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        mask = make(prediction.labels.shape, rng)
        labels, instances = prediction.labels.copy(), prediction.instances.copy()
        labels[mask], instances[mask] = VOID, VOID
        return replace(prediction, labels=labels, instances=instances)

    return change


def noise(share: float, side: int) -> Damage:
    """Blocks of a random class."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        height, width = prediction.labels.shape
        hit = np.kron(rng.random((-(-height // side), -(-width // side))) < share, np.ones((side, side), bool))[:height, :width]
        labels = prediction.labels.copy()
        labels[hit] = rng.integers(0, 10, int(hit.sum()))
        return replace(prediction, labels=labels)

    return change


def grown(class_id: int, pixels: int) -> Damage:
    """A class that eats into its surroundings."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        mask = prediction.labels == class_id
        for _ in range(pixels):
            wide = mask.copy()
            wide[1:] |= mask[:-1]
            wide[:-1] |= mask[1:]
            wide[:, 1:] |= mask[:, :-1]
            wide[:, :-1] |= mask[:, 1:]
            mask = wide
        return replace(prediction, labels=np.where(mask, class_id, prediction.labels).astype(np.uint8))

    return change


def scored(change: Callable[[float, np.random.Generator], float]) -> Damage:
    return lambda prediction, rng: replace(
        prediction, scores={segment: min(max(change(score, rng), 0.001), 1.0) for segment, score in prediction.scores.items()}
    )


def split(class_id: int | None = None) -> Damage:
    """Every object falls into a left and a right half."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        instances, scores = prediction.instances.copy(), dict(prediction.scores)
        for segment, score in prediction.scores.items():
            if class_id is not None and segment // 1000 != class_id:
                continue
            rows, columns = np.nonzero(prediction.instances == segment)
            right = columns > (columns.min() + columns.max()) / 2 if len(columns) else np.zeros(0, bool)
            if right.any():
                instances[rows[right], columns[right]] = segment + 400
                scores[segment + 400] = score
        return replace(prediction, instances=instances, scores=scores)

    return change


def joined(class_id: int) -> Damage:
    """All objects of a class are one."""

    def change(prediction: Prediction, rng: np.random.Generator) -> Prediction:
        members = [segment for segment in prediction.scores if segment // 1000 == class_id]
        scores = {segment: score for segment, score in prediction.scores.items() if segment not in members[1:]}
        instances = np.where(np.isin(prediction.instances, members), members[0], prediction.instances) if members else prediction.instances
        return replace(prediction, instances=instances, scores=scores)

    return change


def cut(prediction: Prediction, rng: np.random.Generator) -> Prediction:
    """The lower third of every object is missing."""
    labels, instances = prediction.labels.copy(), prediction.instances.copy()
    for segment in prediction.scores:
        rows, columns = np.nonzero(prediction.instances == segment)
        if len(rows):
            low = rows > rows.min() + 0.66 * (rows.max() - rows.min())
            labels[rows[low], columns[low]], instances[rows[low], columns[low]] = ROAD, ROAD
    return replace(prediction, labels=labels, instances=instances)


def border(pixels: int) -> Callable[[tuple[int, int], np.random.Generator], np.ndarray]:
    def make(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        mask = np.ones(shape, bool)
        mask[pixels:-pixels, pixels:-pixels] = False
        return mask

    return make


def stripe(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[:, : shape[1] // 8] = True
    return mask


def small(mask: np.ndarray, label: int, rng: np.random.Generator) -> bool:
    return int(mask.sum()) < 60


def of(*classes: int) -> Callable[[np.ndarray, int, np.random.Generator], bool]:
    return lambda mask, label, rng: label in classes


PLANTED = (
    Planted("semantic", "shifted one pixel right", shifted(0, 1)),
    Planted("semantic", "shifted one pixel down", shifted(1, 0)),
    Planted("semantic", "shifted two pixels both ways", shifted(2, 2)),
    Planted("semantic", "predicted at half size", coarse(2)),
    Planted("semantic", "predicted at a third of the size", coarse(3, 1)),
    Planted("semantic", "predicted at quarter size", coarse(4, 2)),
    Planted("semantic", "edges blurred, 3x3", blurred(1)),
    Planted("semantic", "edges blurred, 7x7", blurred(3)),
    Planted("semantic", "mirrored", both(lambda values: np.ascontiguousarray(values[:, ::-1]))),
    Planted("semantic", "car and bus swapped", renamed({CAR: BUS, BUS: CAR}), (CAR, BUS)),
    Planted("semantic", "sidewalk taken for road", surface(SIDEWALK, ROAD), (SIDEWALK,)),
    Planted("semantic", "vegetation taken for building", surface(VEGETATION, 2), (VEGETATION,)),
    Planted("semantic", "signs taken for poles", surface(SIGN, POLE), (SIGN, POLE)),
    Planted("semantic", "poles dropped", surface(POLE, 2), (POLE,)),
    Planted("semantic", "rare class dropped: bus", renamed({BUS: CAR}), (BUS,)),
    Planted("semantic", "persons dropped", lost(of(PERSON)), (PERSON,)),
    Planted("semantic", "persons two pixels too wide", grown(PERSON, 2), (PERSON,)),
    Planted("semantic", "poles one pixel too wide", grown(POLE, 1), (POLE,)),
    Planted("semantic", "a border of four pixels left empty", void_where(border(4))),
    Planted("semantic", "the left eighth left empty", void_where(stripe)),
    Planted("semantic", "blocks of noise", noise(0.1, 8)),
    Planted("semantic", "single pixels of noise", noise(0.05, 1)),
    Planted("instance", "three of ten detections lost", lost(lambda mask, label, rng: bool(rng.random() < 0.3))),
    Planted(
        "instance",
        "small objects and half of the others lost",
        lost(lambda mask, label, rng: small(mask, label, rng) or rng.random() < 0.5),
    ),
    Planted("instance", "cars not detected", lost(of(CAR)), (CAR,)),
    Planted("instance", "buses not detected", lost(of(BUS)), (BUS,)),
    Planted("instance", "scores noisy", scored(lambda score, rng: score + rng.normal(0, 0.4))),
    Planted("instance", "scores upside down", scored(lambda score, rng: 1 - score)),
    Planted("instance", "scores all equal", scored(lambda score, rng: 0.5)),
    Planted("instance", "masks shifted two pixels", shifted(0, 2)),
    Planted("instance", "masks at half size", coarse(2)),
    Planted("instance", "objects in halves", split()),
    Planted("instance", "cars joined", joined(CAR), (CAR,)),
    Planted("instance", "the lower third cut off", cut),
    Planted("panoptic", "shifted two pixels right", shifted(0, 2)),
    Planted("panoptic", "predicted at quarter size", coarse(4, 2)),
    Planted("panoptic", "cars in halves", split(CAR), (CAR,)),
    Planted("panoptic", "persons joined", joined(PERSON), (PERSON,)),
    Planted("panoptic", "things without small ones", lost(small)),
    Planted("panoptic", "sidewalk taken for road", surface(SIDEWALK, ROAD), (SIDEWALK, ROAD)),
    Planted("panoptic", "a border of four pixels left empty", void_where(border(4))),
    Planted("panoptic", "car taken for bus", renamed({CAR: BUS}), (CAR, BUS)),
)


def evidence_of(task: str, predictions: list[Prediction], truths: list[scenes.Scene]) -> Evidence:
    """The evidence of all images of a task."""
    if task == "semantic":
        meaning = DATASET.value_map("label")
        labels = SemanticAccumulator(DATASET)
        for index, (prediction, scene) in enumerate(zip(predictions, truths, strict=True)):
            labels.update([LabelMap(index, prediction.labels, meaning)], [LabelMap(index, scene.labels, meaning)])
        return labels.evidence()
    if task == "panoptic":
        segments = PanopticAccumulator(DATASET)
        for index, (prediction, scene) in enumerate(zip(predictions, truths, strict=True)):
            segments.update([panoptic_map(index, prediction.instances)], [panoptic_map(index, scene.instances)])
        return segments.evidence()
    masks = InstanceAccumulator(DATASET, ("segm",), RULES["instance"].rules)
    ids = list(range(len(truths)))
    pred = [instance_sample(prediction.instances, prediction.scores) for prediction in predictions]
    masks.update(batch_of(ids, pred, DATASET, "pred"), batch_of(ids, [instance_sample(scene.instances) for scene in truths], DATASET, "gt"))
    return masks.evidence()


def panoptic_map(index: int, instances: np.ndarray) -> PanopticMap:
    # ids of surfaces begin at 0, which means void in a panoptic map
    values = np.where(instances == VOID, 0, instances + 1).astype(np.int32)
    found, areas = np.unique(values[values > 0], return_counts=True)
    raw = found - 1
    classes = np.where(raw >= 1000, raw // 1000, raw).astype(np.int32)
    return PanopticMap(index, values, found.astype(np.int64), classes, areas.astype(np.int64), np.zeros(len(found), bool), "", index)


def instance_sample(instances: np.ndarray, scores: dict[int, float] | None = None) -> dict:
    found = [segment for segment in np.unique(instances).tolist() if segment >= 1000]
    sample = {
        "masks": np.array([instances == segment for segment in found], bool).reshape(-1, *instances.shape),
        "labels": np.array([segment // 1000 for segment in found], np.int64),
    }
    return sample if scores is None else sample | {"scores": np.array([scores[segment] for segment in found])}


def subject(task: str, evidence: Evidence) -> Measure:
    return measure(task, evidence, DATASET, RULES[task])


def mixed(whole: Evidence, damaged: Evidence, rows: np.ndarray, hit: np.ndarray) -> Evidence:
    """Some images of a population, those of `hit` from the damaged predictions."""
    return whole.select(rows[~hit]).merge(damaged.select(rows[hit]))


def share_needed(task: str, whole: Evidence, damaged: Evidence, times: float) -> float:
    """The share of images to damage so that the loss is `times` the smallest detectable change of a sample.

    Effects of single images add up: damaging a share f of n images moves the metric by n f m with variance n (f s - f^2 m^2), m and s being
    the mean and the mean square of the effects.
    """
    effects = subject(task, whole).effects(subject(task, damaged), [HEADLINES[task]])[HEADLINES[task]]
    if np.count_nonzero(effects) == 0 or effects.mean() >= 0:
        return np.nan
    factor = (times * detectable_factor(0.95)) ** 2
    return float(factor * (effects**2).mean() / (effects.mean() ** 2 * (SAMPLE + factor)))


@dataclass
class Tally:
    """What came of the simulations of one damage and size."""

    runs: int = 0
    caught: int = 0
    named_class: int = 0
    named_images: float = 0.0


def judged(task: str, first: Evidence, second: Evidence) -> tuple[bool, Measure, Measure]:
    """Whether the default gate fails, and the two measures."""
    a, b = subject(task, first), subject(task, second)
    found = differences(a, b, Resampling(DRAWS), DRAWS)
    gate = Gate(HEADLINES[task], max_drop=Tolerance.parse("0pt", "study"))
    (outcome,) = judge(Policy(gates=(gate,)), found, lambda metric: True)
    return outcome.status == "failed", a, b


def simulate(planted: Planted, whole: Evidence, damaged: Evidence, times: float, simulations: int, seed: int) -> tuple[float, Tally]:
    """One damage at one size."""
    share = share_needed(planted.task, whole, damaged, times)
    tally = Tally()
    if np.isnan(share) or share > 1:
        return share, tally
    rng = np.random.default_rng(seed)
    metric = HEADLINES[planted.task]
    for _ in range(simulations):
        rows = np.sort(rng.choice(POPULATION, SAMPLE, replace=False))
        hit = rng.random(SAMPLE) < share
        fails, a, b = judged(planted.task, whole.select(rows), mixed(whole, damaged, rows, hit))
        tally.runs += 1
        tally.caught += fails
        parts = class_contributions(a, b, metric)
        tally.named_class += not planted.classes or int(np.argmin(parts)) in {
            DATASET.names.index(scenes.CLASSES[c].name) for c in planted.classes
        }
        effects = a.effects(b, [metric])[metric]
        top = np.argsort(-np.abs(effects), kind="stable")[:5]
        listed = top[effects[top] != 0]
        tally.named_images += float(hit[listed].mean()) if len(listed) else 0.0
    return share, tally


def population(quality: scenes.Quality, seed: int) -> Iterator[Prediction]:
    for index in range(POPULATION):
        yield scenes.degrade(scenes.render(index, *SIZE), quality, seed + index)


def main(simulations: int) -> None:
    """Prints the table."""
    instance_module.AFFORDABLE = 0  # the headline's curve alone
    instance_module.EFFECTS = POPULATION
    truths = [scenes.render(index, *SIZE) for index in range(POPULATION)]
    quality = replace(scenes.GOOD, missed_thin=8)
    baseline = list(population(quality, 10_000))
    whole = {task: evidence_of(task, baseline, truths) for task in HEADLINES}
    print("| task | damage | images damaged | caught | class named | caught at twice | class named at twice |")
    print("|---|---|-:|-:|-:|-:|-:|")
    sums = {1.0: Tally(), 2.0: Tally()}
    with_class = {1.0: [0, 0], 2.0: [0, 0]}
    for number, planted in enumerate(PLANTED):
        rng = np.random.default_rng(number)
        damaged = evidence_of(planted.task, [planted.damage(prediction, rng) for prediction in baseline], truths)
        results = {}
        for times in sums:
            share, tally = simulate(planted, whole[planted.task], damaged, times, simulations, 7 * number + int(times))
            results[times] = share, tally
            for field in ("runs", "caught", "named_images"):
                setattr(sums[times], field, getattr(sums[times], field) + getattr(tally, field))
            if planted.classes:
                with_class[times][0] += tally.named_class
                with_class[times][1] += tally.runs
        (share, once), (_, twice) = results[1.0], results[2.0]
        named = [f"{100 * tally.named_class / tally.runs:.0f} %" if planted.classes and tally.runs else "" for tally in (once, twice)]
        needed = _percent(share, 1) if share <= 1 else "too weak"
        print(
            f"| {planted.task} | {planted.name} | {needed} | {_percent(once.caught, once.runs)} | "
            f"{named[0]} | {_percent(twice.caught, twice.runs)} | {named[1]} |",
            flush=True,
        )
    alarms = {task: false_alarms(task, whole[task], truths, quality, 4 * simulations) for task in HEADLINES}
    for times, tally in sums.items():
        print(f"\n{times:g} times the smallest detectable change: {_percent(tally.caught, tally.runs)} of {tally.runs} caught", end="; ")
        print(f"class named in {_percent(*with_class[times])}, images in {_percent(tally.named_images, tally.runs)}")
    print("\nfalse alarms: " + ", ".join(f"{task} {_percent(*counts)} of {counts[1]}" for task, counts in alarms.items()))


def false_alarms(task: str, whole: Evidence, truths: list[scenes.Scene], quality: scenes.Quality, simulations: int) -> tuple[int, int]:
    """How often the gate fails another model of the same quality: on each image either model may be the candidate."""
    other = evidence_of(task, list(population(quality, 50_000)), truths)
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(simulations):
        rows = np.sort(rng.choice(POPULATION, SAMPLE, replace=False))
        side = rng.random(SAMPLE) < 0.5
        alarms += judged(task, mixed(whole, other, rows, side), mixed(whole, other, rows, ~side))[0]
    return alarms, simulations


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
