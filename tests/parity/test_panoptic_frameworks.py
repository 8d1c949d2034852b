"""Panoptic outputs as transformers and detectron2 give them: tensors in dicts and tuples."""

from __future__ import annotations

import numpy as np
import pytest

import segbench
from segbench.datasets import Dataset, LabelClass

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

STREET = Dataset(
    name="street",
    tasks=("panoptic",),
    label_divisor=1000,
    classes=(
        LabelClass(id=7, name="road", isthing=False),
        LabelClass(id=11, name="sky", isthing=False),
        LabelClass(id=26, name="car", isthing=True),
    ),
)
IDS = np.repeat(np.array([[1, 1, 1, 0], [2, 3, 3, 4], [2, 2, 2, 4]]), 5, 1)
INDEX = {1: 1, 2: 0, 3: 2, 4: 2}
TRUTH = {key: (IDS, [{"id": segment, "category_id": STREET.evaluated[index].id} for segment, index in INDEX.items()]) for key in (0, 1)}


def transformers(ids):
    """post_process_panoptic_segmentation: int32 tensors; labels are class indices, and there is a score."""
    segments = [{"id": segment, "label_id": index, "was_fused": False, "score": 0.9} for segment, index in INDEX.items()]
    return {"segmentation": torch.from_numpy(ids).to(torch.int32), "segments_info": segments}


def detectron2(ids):
    """A model's output; semantic and instance results lie beside the panoptic ones."""
    segments = [
        {"id": segment, "isthing": index == 2, "category_id": STREET.evaluated[index].id, "area": torch.tensor(5)}
        for segment, index in INDEX.items()
    ]
    return {"sem_seg": torch.zeros(3, 3, 20), "panoptic_seg": (torch.from_numpy(ids).to(torch.int32), segments)}


def deeplab(ids):
    """Panoptic-DeepLab: no segments, the map holds class index * divisor + number."""
    values = np.full(ids.shape, -1)
    for segment, index in INDEX.items():
        values[ids == segment] = index * 1000 + segment
    return {"panoptic_seg": (torch.from_numpy(values), None)}


@pytest.mark.parametrize("as_given", [transformers, detectron2, deeplab], ids=lambda function: function.__name__)
@pytest.mark.parametrize("keyed", [True, False], ids=["by image", "a list"])
def test_tensors_score_as_arrays_do(as_given, keyed):
    changed = IDS.copy()
    changed[1, 5:8] = 2
    outputs = [as_given(IDS), as_given(changed)]
    result = segbench.evaluate(dict(enumerate(outputs)) if keyed else outputs, TRUTH, dataset=STREET, workers=2)
    expected = segbench.evaluate({0: TRUTH[0], 1: (changed, TRUTH[1][1])}, TRUTH, dataset=STREET)
    assert result.value("panoptic/pq") == expected.value("panoptic/pq") < 1
    assert result.tasks["panoptic"].per_class == expected.tasks["panoptic"].per_class
    assert not result.warnings


def test_stuff_and_things_that_are_numbered_apart_are_said():
    output = detectron2(IDS)
    for row in output["panoptic_seg"][1]:
        row["category_id"] = 7  # the first of the things, in the things' own numbers
    result = segbench.evaluate({0: output}, {0: TRUTH[0]}, dataset=STREET)
    assert "isthing is not that of the class" in result.warnings[0]


def test_nothing_found_is_a_map_of_minus_one():
    nothing = {"segmentation": torch.full(IDS.shape, -1.0), "segments_info": []}
    result = segbench.evaluate([nothing, nothing], TRUTH, dataset=STREET)
    assert [row["fn"] for row in result.tasks["panoptic"].per_class] == [2, 2, 4]
