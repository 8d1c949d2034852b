"""Painting a scene: a backdrop of surfaces, objects from back to front, and void on top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOID = 255
INSTANCE_DIVISOR = 1000
"""An instance id is `class id * 1000 + number`; below 1000 it is a class id, of a surface or of void."""


@dataclass(frozen=True, slots=True)
class SceneClass:
    """A class of the scenes."""

    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]


CLASSES = (
    SceneClass(0, "road", False, (110, 90, 130)),
    SceneClass(1, "sidewalk", False, (215, 120, 190)),
    SceneClass(2, "building", False, (125, 125, 115)),
    SceneClass(3, "vegetation", False, (85, 140, 60)),
    SceneClass(4, "sky", False, (105, 165, 215)),
    SceneClass(5, "pole", False, (60, 60, 60)),
    SceneClass(6, "traffic sign", False, (235, 200, 40)),
    SceneClass(7, "person", True, (210, 50, 70)),
    SceneClass(8, "car", True, (30, 60, 160)),
    SceneClass(9, "bus", True, (20, 130, 140)),
    SceneClass(10, "train", True, (120, 60, 30)),
)
ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, POLE, SIGN, PERSON, CAR, BUS, TRAIN = range(len(CLASSES))
VOID_COLOR = (0, 0, 0)


class Dice:
    """Integers from a seed, the same on every machine and with every NumPy.

    Only `PCG64.random_raw` is used: NumPy promises its stream, but not that of the distributions built on it.
    """

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def between(self, low: int, high: int) -> int:
        """An integer in `[low, high]`; `low` where the range is empty."""
        return low + int(self._bits.random_raw()) % (max(low, high) - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 throws."""
        return self.between(0, 99) < percent

    def grid(self, shape: tuple[int, int], low: int, high: int) -> NDArray[np.int64]:
        """int64 array of integers in `[low, high]`."""
        raw = self._bits.random_raw(shape[0] * shape[1])
        return (raw % np.uint64(high - low + 1)).astype(np.int64).reshape(shape) + low


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Something painted on the backdrop.

    Attributes:
        class_id: Its class.
        number: The instance's number within its class and image, from 1; 0 for surfaces and thin objects.
        top, left: Where the mask's corner lies; may be outside the image.
        mask: bool (h, w).
        score: Confidence in thousandths; 1000 in ground truth.
    """

    class_id: int
    number: int
    top: int
    left: int
    mask: NDArray[np.bool_]
    score: int = 1000

    @property
    def instance_id(self) -> int:
        """What is written to an instance map."""
        return self.class_id * INSTANCE_DIVISOR + self.number if self.number else self.class_id


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A labelled scene.

    Attributes:
        labels: uint8 (H, W) class ids, 255 for void.
        instances: int32 (H, W): `class id * 1000 + number` for things, the class id elsewhere, 255 for void.
        classes: All classes a scene may hold.
        backdrop: uint8 (H, W): sky, buildings, vegetation, sidewalk and road alone.
        shapes: What was painted on it, from back to front.
    """

    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]
    classes: tuple[SceneClass, ...]
    backdrop: NDArray[np.uint8]
    shapes: tuple[Shape, ...]


def render(seed: int, height: int = 128, width: int = 256, *, bus: bool | None = None, void: bool = True) -> Scene:
    """Draws a scene.

    Args:
        seed: Which scene; equal seeds and sizes give equal scenes.
        height, width: Size in pixels, at least 32.
        bus: Whether a bus, the rare class, drives by; by default in one scene of ten. There is never a train.
        void: Whether the own bonnet, an image border and an unlabelled region are void.
    """
    dice = Dice(seed, height, width)
    horizon = height * dice.between(38, 48) // 100
    backdrop = _backdrop(dice, height, width, horizon)
    has_bus = dice.chance(10) if bus is None else bus
    shapes = _traffic(dice, height, width, horizon, has_bus) + _street_furniture(dice, height, width, horizon)
    shapes = [*shapes, *_persons(dice, height, width, horizon)]
    labels, instances = paint(backdrop, shapes)
    if void:
        unlabelled = _void(dice, height, width)
        labels[unlabelled] = VOID
        instances[unlabelled] = VOID
    return Scene(labels, instances, CLASSES, backdrop, tuple(shapes))


def paint(backdrop: NDArray[np.uint8], shapes: Iterable[Shape]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Labels and instances of shapes painted one over the other."""
    labels = backdrop.copy()
    instances = backdrop.astype(np.int32)
    height, width = backdrop.shape
    for shape in shapes:
        top, left = max(shape.top, 0), max(shape.left, 0)
        bottom, right = min(shape.top + shape.mask.shape[0], height), min(shape.left + shape.mask.shape[1], width)
        if top >= bottom or left >= right:
            continue
        mask = shape.mask[top - shape.top : bottom - shape.top, left - shape.left : right - shape.left]
        labels[top:bottom, left:right][mask] = shape.class_id
        instances[top:bottom, left:right][mask] = shape.instance_id
    return labels, instances


def ellipse(height: int, width: int) -> NDArray[np.bool_]:
    """The ellipse that fills a box; decided by integers alone."""
    y = 2 * np.arange(height, dtype=np.int64)[:, None] - (height - 1)
    x = 2 * np.arange(width, dtype=np.int64)[None, :] - (width - 1)
    return (y * width) ** 2 + (x * height) ** 2 <= (height * width) ** 2


def ellipse_somewhere(dice: Dice, height: int, width: int, low: int, high: int) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """An ellipse with axes of `low` to `high` percent of the image, wholly inside, and where it lies."""
    tall = max(1, height * dice.between(2 * low, 2 * high) // 100)
    wide = max(1, width * dice.between(low, high) // 100)
    top, left = dice.between(0, height - tall), dice.between(0, width - wide)
    return ellipse(tall, wide), (slice(top, top + tall), slice(left, left + wide))


def _backdrop(dice: Dice, height: int, width: int, horizon: int) -> NDArray[np.uint8]:
    labels = np.full((height, width), SKY, np.uint8)
    left = 0
    while left < width:  # a row of houses, with gaps
        wide = max(4, width * dice.between(8, 22) // 100)
        if not dice.chance(18):
            roof = height * dice.between(4, 26) // 100
            labels[roof:horizon, left : left + wide] = BUILDING
        left += wide
    for _ in range(dice.between(3, 7)):  # trees: a few overlapping crowns each
        middle, foot = dice.between(0, width - 1), horizon + height * dice.between(-4, 6) // 100
        for _ in range(dice.between(2, 5)):
            crown = ellipse(height * dice.between(8, 22) // 100, width * dice.between(5, 12) // 100)
            top = foot - crown.shape[0] - height * dice.between(0, 10) // 100
            at = middle + width * dice.between(-5, 5) // 100
            labels, _ = paint(labels, [Shape(VEGETATION, 0, top, at - crown.shape[1] // 2, crown)])
    labels[horizon:] = SIDEWALK
    vanishing = width * dice.between(40, 60) // 100
    near_left, near_right = width * dice.between(-40, -5) // 100, width * dice.between(105, 140) // 100
    columns = np.arange(width)
    for row in range(horizon, height):  # the road widens linearly from the vanishing point
        down, deep = row - horizon, height - horizon
        start = vanishing + (near_left - vanishing) * down // deep - 1
        stop = vanishing + (near_right - vanishing) * down // deep + 1
        labels[row, (columns >= start) & (columns < stop)] = ROAD
    return labels


def _traffic(dice: Dice, height: int, width: int, horizon: int, has_bus: bool) -> list[Shape]:
    """Cars from far to near, some behind one another; a bus among them where asked for."""
    feet = sorted(horizon + (height - horizon) * dice.between(8, 75) // 100 for _ in range(dice.between(3, 7)))
    shapes = []
    for number, foot in enumerate(feet, start=1):
        tall = max(4, (foot - horizon) * dice.between(45, 60) // 100 + height * 3 // 100)
        wide = tall * dice.between(15, 22) // 10
        left = dice.between(-wide // 3, width - wide * 2 // 3)
        shapes.append(Shape(CAR, number, foot - tall, left, _car(tall, wide)))
    if has_bus:
        tall = height * dice.between(22, 30) // 100
        wide = tall * dice.between(14, 20) // 10
        body = np.ones((tall, wide), bool)
        body[0, [0, -1]] = False
        foot = horizon + height * dice.between(6, 12) // 100
        shapes.insert(dice.between(0, len(shapes) // 2), Shape(BUS, 1, foot - tall, dice.between(0, width - wide), body))
    return shapes


def _car(tall: int, wide: int) -> NDArray[np.bool_]:
    mask = np.zeros((tall, wide), bool)
    belt = tall * 45 // 100
    mask[belt : tall - tall // 6] = True
    for row in range(belt):  # the cabin narrows towards the roof
        inset = wide * (12 + 18 * (belt - row) // max(1, belt)) // 100
        mask[row, inset : wide - inset] = True
    wheel = ellipse(max(2, tall * 2 // 5), max(2, tall * 2 // 5))
    for left in (wide // 8, wide - wide // 8 - wheel.shape[1]):
        mask[tall - wheel.shape[0] :, left : left + wheel.shape[1]] |= wheel
    return mask


def _street_furniture(dice: Dice, height: int, width: int, horizon: int) -> list[Shape]:
    """Poles of one to a few pixels, some of which carry a sign."""
    shapes = []
    for _ in range(dice.between(3, 7)):
        thick = max(1, width * dice.between(3, 9) // 1000)
        foot = horizon + height * dice.between(2, 20) // 100
        tall = height * dice.between(25, 45) // 100
        left = dice.between(0, width - thick)
        shapes.append(Shape(POLE, 0, foot - tall, left, np.ones((tall, thick), bool)))
        if dice.chance(55):
            side = max(3, height * dice.between(4, 8) // 100)
            sign = ellipse(side, side) if dice.chance(50) else np.ones((side, side), bool)
            shapes.append(Shape(SIGN, 0, foot - tall, left + thick // 2 - side // 2, sign))
    return shapes


def _persons(dice: Dice, height: int, width: int, horizon: int) -> list[Shape]:
    """Persons from far to near, alone and in groups that touch."""
    feet = sorted(horizon + (height - horizon) * dice.between(10, 60) // 100 for _ in range(dice.between(2, 8)))
    shapes: list[Shape] = []
    for number, foot in enumerate(feet, start=1):
        tall = max(6, (foot - horizon) * dice.between(70, 90) // 100 + height * 5 // 100)
        wide = max(3, tall * dice.between(30, 40) // 100)
        mask = np.zeros((tall, wide), bool)
        head = max(2, tall // 6)
        mask[head:] = ellipse(2 * (tall - head), wide)[: tall - head]
        mask[:head, wide // 2 - head // 2 : wide // 2 - head // 2 + head] |= ellipse(head, head)
        beside = bool(shapes) and dice.chance(40)
        left = shapes[-1].left + shapes[-1].mask.shape[1] * 2 // 3 if beside else dice.between(0, width - wide)
        shapes.append(Shape(PERSON, number, foot - tall, left, mask))
    return shapes


def _void(dice: Dice, height: int, width: int) -> NDArray[np.bool_]:
    void = np.zeros((height, width), bool)
    bonnet = ellipse(2 * (height * dice.between(9, 13) // 100), width * 110 // 100)
    rows = bonnet.shape[0] // 2
    aside = (bonnet.shape[1] - width) // 2
    void[height - rows :] = bonnet[:rows, aside : aside + width]
    border = max(1, width // 128)
    void[:, :border] = True
    if dice.chance(60):
        patch, area = ellipse_somewhere(dice, height, width, 3, 8)
        void[area] |= patch
    return void
