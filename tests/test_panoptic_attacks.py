"""Panoptic input that is not what it should be: in memory and in files, one clear message, never a traceback and never a silent number."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import pytest

import segbench
from segbench.datasets import Dataset, LabelClass, simple
from segbench.errors import ConfigError, PairingError, SegbenchError

DATASET = Dataset(name="d", tasks=("panoptic",), classes=(LabelClass(id=10, name="a", isthing=True),))
IDS = np.array([[1, 1, 2, 2]] * 4)


def segments(*ids):
    return [{"id": key, "category_id": 10} for key in ids]


TRUTH = (IDS, segments(1, 2))


def evaluated(pred, gt, **options):
    return segbench.evaluate(pred, gt, dataset=DATASET, task="panoptic", **options)


class Number(IntEnum):
    THREE = 3


class Whole:
    """A number that is equal to itself alone."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


LABELS = np.zeros((3, 4), np.uint8)
INSTANCES = {"masks": np.ones((1, 3, 4), bool), "labels": [10], "scores": [0.5]}
SAMPLES = {"semantic": LABELS, "panoptic": TRUTH, "instance": INSTANCES}
THREE_TASKS = Dataset(name="d", classes=DATASET.classes)


def both_doors(task, key):
    """The ids of the evidence by `evaluate` and by the accumulator, or what each of them raises."""

    def evaluate():
        sample = SAMPLES[task]
        return segbench.evaluate({key: sample}, {key: sample}, dataset=THREE_TASKS, task=task).evidences[task].images.ids

    def accumulate():
        accumulation = segbench.accumulator(task, THREE_TASKS)
        accumulation.add(SAMPLES[task], SAMPLES[task], image_id=key)
        return accumulation.evidence().images.ids

    answers = []
    for door in (evaluate, accumulate):
        try:
            answers.append([(type(image), image) for image in door()])
        except SegbenchError as error:
            answers.append((type(error), error.message))
    return answers


@pytest.mark.parametrize("task", SAMPLES)
@pytest.mark.parametrize("key", [np.int64(3), Number.THREE, Whole(3), np.str_("a")], ids=str)
def test_image_ids_become_plain(task, key):
    plain = (str, "a") if isinstance(key, str) else (int, 3)
    assert both_doors(task, key) == [[plain], [plain]]


@pytest.mark.parametrize("task", SAMPLES)
@pytest.mark.parametrize("key", [1.5, (1,), b"x", True, np.True_], ids=repr)
def test_image_ids_that_are_none_are_refused_alike(task, key):
    first, second = both_doors(task, key)
    assert first == second == (ConfigError, f"an image id is a whole number or text, not {key!r}")


@pytest.mark.parametrize("task", SAMPLES)
def test_two_image_ids_of_one_number_are_refused(task):
    sample = SAMPLES[task]
    with pytest.raises(PairingError, match="two image ids in memory are one, 3") as caught:
        segbench.evaluate({Whole(3): sample, Whole(3): sample}, {3: sample}, dataset=THREE_TASKS, task=task)
    assert caught.value.code == "SB120"
    with pytest.raises(ConfigError, match="not None"):
        segbench.evaluate({None: sample}, {None: sample}, dataset=THREE_TASKS, task=task)


def test_mappings_that_read_when_asked_are_still_asked_one_by_one():
    class Lazy(dict):
        asked = []

        def __getitem__(self, key):
            self.asked.append(key)
            return LABELS

    lazy = Lazy({np.int64(3): None, np.int64(4): None})
    result = segbench.evaluate(lazy, {3: LABELS}, dataset=simple(1), missing="skip", intervals=False)
    assert result.evidences["semantic"].images.ids == (3,)
    assert set(lazy.asked) == {3}
