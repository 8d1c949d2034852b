"""Simulated models: what they leave out, confuse, merge and make up, and how far their outlines are off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segbench.scenes.painting import (
    BUILDING,
    BUS,
    CAR,
    CLASSES,
    PERSON,
    POLE,
    ROAD,
    SIDEWALK,
    SIGN,
    SKY,
    TRAIN,
    VEGETATION,
    VOID,
    Dice,
    Scene,
    Shape,
    ellipse_somewhere,
    paint,
)

CONFUSED_WITH = {
    ROAD: SIDEWALK,
    SIDEWALK: ROAD,
    BUILDING: VEGETATION,
    VEGETATION: BUILDING,
    SKY: BUILDING,
    POLE: BUILDING,
    SIGN: BUILDING,
    PERSON: POLE,
    CAR: BUS,
    BUS: CAR,
    TRAIN: BUS,
}
"""What each class is taken for when a model errs."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a simulated model says about a scene.

    Attributes:
        labels: uint8 (H, W) class ids; 255 where the model abstains.
        instances: int32 (H, W), as in `Scene`.
        scores: Confidence in (0, 1] of every instance id that is visible.
    """

    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]
    scores: dict[int, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a simulated model is; shares are percent, lengths in 1/256 of the image's width.

    Attributes:
        bend: How far outlines are off.
        missed_thin: Poles, signs and small persons that are overlooked.
        missed_things: Other objects that are overlooked.
        confused: Objects that get another class.
        merged: Instances that are joined with the one before of the same class.
        patches: Patches of backdrop with the wrong class, per image.
        made_up: Objects that do not exist, per image.
        abstains: Patches without an answer (255), per image.
    """

    bend: int
    missed_thin: int
    missed_things: int
    confused: int
    merged: int
    patches: int
    made_up: int
    abstains: int = 0


GOOD = Quality(bend=2, missed_thin=20, missed_things=4, confused=4, merged=5, patches=2, made_up=1)
POOR = Quality(bend=5, missed_thin=60, missed_things=18, confused=15, merged=20, patches=6, made_up=4, abstains=1)


def degrade(scene: Scene, quality: Quality, seed: int) -> Prediction:
    """What a model of this quality predicts.

    Void is no class, so the model labels what lies under it; only `abstains` writes 255.
    """
    height, width = scene.labels.shape
    dice = Dice(seed, height, width)
    backdrop = scene.backdrop.copy()
    for _ in range(quality.patches):
        patch, area = ellipse_somewhere(dice, height, width, 3, 12)
        seen = backdrop[area]
        wrong = np.array([CONFUSED_WITH.get(class_id, class_id) for class_id in range(VOID + 1)], np.uint8)
        backdrop[area] = np.where(patch, wrong[seen], seen)
    shapes = _numbered(_misjudged(dice, scene.shapes, quality, height) + _made_up(dice, quality, height, width))
    labels, instances = paint(backdrop, shapes)
    rows, columns = _bent(dice, height, width, quality.bend)
    labels, instances = labels[rows, columns], instances[rows, columns]
    for _ in range(quality.abstains):
        patch, area = ellipse_somewhere(dice, height, width, 2, 5)
        labels[area][patch] = VOID
        instances[area][patch] = VOID
    visible = {int(instance_id) for instance_id in np.unique(instances)}
    scores = {shape.instance_id: shape.score / 1000 for shape in shapes if shape.number and shape.instance_id in visible}
    return Prediction(np.ascontiguousarray(labels), np.ascontiguousarray(instances), scores)


def _misjudged(dice: Dice, shapes: Iterable[Shape], quality: Quality, height: int) -> list[Shape]:
    """The objects as a model takes them: left out, confused, merged."""
    result: list[Shape] = []
    last_of: dict[int, Shape] = {}
    for shape in shapes:
        thin = not shape.number or shape.mask.shape[0] * 8 < height
        missed, confused, merged = (dice.chance(share) for share in (quality.missed_thin, quality.confused, quality.merged))
        score = dice.between(550, 990) - (200 if confused else 0)
        if (thin and missed) or (not thin and dice.chance(quality.missed_things)):
            continue
        if confused:
            class_id = CONFUSED_WITH[shape.class_id]
            shape = replace(shape, class_id=class_id, number=shape.number if CLASSES[class_id].isthing else 0)
        shape = replace(shape, score=score)
        if shape.number and merged and shape.class_id in last_of:
            shape = replace(shape, number=-last_of[shape.class_id].number)  # negative: joins an earlier one
        elif shape.number:
            shape = replace(shape, number=len(result) + 1)
            last_of[shape.class_id] = shape
        result.append(shape)
    return result


def _made_up(dice: Dice, quality: Quality, height: int, width: int) -> list[Shape]:
    """Objects that do not exist, with low scores."""
    shapes = []
    for position in range(quality.made_up):
        class_id = (CAR, PERSON, BUS)[dice.between(0, 2)]
        mask, (rows, columns) = ellipse_somewhere(dice, height, width, 2, 6)
        shapes.append(Shape(class_id, 10_000 + position, rows.start, columns.start, mask, dice.between(80, 620)))
    return shapes


def _numbered(shapes: list[Shape]) -> list[Shape]:
    """Numbers the instances of each class from 1 on; a merged one keeps the number, and the score, of the one it joins."""
    numbers: dict[tuple[int, int], tuple[int, int]] = {}
    counts: dict[int, int] = {}
    result = []
    for shape in shapes:
        if shape.number:
            key = shape.class_id, abs(shape.number)
            if key not in numbers:
                counts[shape.class_id] = counts.get(shape.class_id, 0) + 1
                numbers[key] = counts[shape.class_id], shape.score
            number, score = numbers[key]
            shape = replace(shape, number=number, score=score)
        result.append(shape)
    return result


def _bent(dice: Dice, height: int, width: int, bend: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For every pixel the row and column it is taken from: a smooth field of small displacements, interpolated with integers."""
    cell = max(2, width // 24)
    reach = 256 * max(1, bend * width // 256)  # in 1/256 pixel
    offsets = []
    for _ in range(2):
        grid = dice.grid((height // cell + 2, width // cell + 2), -reach, reach)
        y, x = np.arange(height), np.arange(width)
        down, right = (y % cell)[:, None], (x % cell)[None, :]
        corner = [[grid[(y // cell + a)[:, None], (x // cell + b)[None, :]] for b in (0, 1)] for a in (0, 1)]
        top = corner[0][0] * (cell - right) + corner[0][1] * right
        bottom = corner[1][0] * (cell - right) + corner[1][1] * right
        offsets.append((top * (cell - down) + bottom * down) // (cell * cell * 256))
    rows = np.clip(np.arange(height)[:, None] + offsets[0], 0, height - 1)
    columns = np.clip(np.arange(width)[None, :] + offsets[1], 0, width - 1)
    return rows.astype(np.intp), columns.astype(np.intp)
