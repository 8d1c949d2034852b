"""Small labelled street scenes, and simulated models that get them wrong.

Fixtures, the demo and tests need label maps whose contents are known, with what makes evaluation hard: regions of void, thin objects,
touching instances, a class in one image only, a class in none. Everything is drawn with integers from a raw PCG64 stream, which NumPy keeps
unchanged between versions, so a seed gives the same pixels on every machine.

A scene is kept as it was painted: a backdrop of surfaces, objects from back to front, and void on top. A simulated model paints the same
list again with objects left out, confused, merged or made up, and then bends the outlines; so its labels, instances and scores agree.
"""

from __future__ import annotations

from segbench.scenes.files import palette, street_dataset, write_png
from segbench.scenes.models import GOOD, POOR, Prediction, Quality, degrade
from segbench.scenes.painting import (
    BUILDING,
    BUS,
    CAR,
    CLASSES,
    INSTANCE_DIVISOR,
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
    SceneClass,
    Shape,
    ellipse,
    paint,
    render,
)

__all__ = [
    "BUILDING",
    "BUS",
    "CAR",
    "CLASSES",
    "GOOD",
    "INSTANCE_DIVISOR",
    "PERSON",
    "POLE",
    "POOR",
    "ROAD",
    "SIDEWALK",
    "SIGN",
    "SKY",
    "TRAIN",
    "VEGETATION",
    "VOID",
    "Dice",
    "Prediction",
    "Quality",
    "Scene",
    "SceneClass",
    "Shape",
    "degrade",
    "ellipse",
    "paint",
    "palette",
    "render",
    "street_dataset",
    "write_png",
]
