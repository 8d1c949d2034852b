"""Rendered scenes: deterministic, and labels, instances and scores that agree."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench import scenes

QUALITIES = {"good": scenes.GOOD, "poor": scenes.POOR}


def agree(labels: np.ndarray, instances: np.ndarray) -> bool:
    divisor = scenes.INSTANCE_DIVISOR
    return np.array_equal(np.where(instances >= divisor, instances // divisor, instances), labels)


def test_pixels_are_the_same_on_every_machine():
    scene = scenes.render(1, 64, 96)
    prediction = scenes.degrade(scene, scenes.POOR, 2)
    digest = hashlib.sha256(b"".join(map(np.ndarray.tobytes, (scene.labels, prediction.labels)))).hexdigest()
    assert digest == "f22538629d1f80e3806bb01e95953b0a4b4473b562409a595efa444cee34e38b"


def test_equal_seeds_give_equal_scenes_and_others_differ():
    first, again, other = (scenes.render(seed, 64, 96) for seed in (5, 5, 6))
    assert np.array_equal(first.instances, again.instances)
    assert not np.array_equal(first.labels, other.labels)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(32, 90), st.integers(32, 140), st.sampled_from(sorted(QUALITIES)))
def test_labels_instances_and_scores_agree(seed, height, width, quality):
    scene = scenes.render(seed, height, width)
    prediction = scenes.degrade(scene, QUALITIES[quality], seed + 1)
    for sample in (scene, prediction):
        assert sample.labels.shape == sample.instances.shape == (height, width)
        assert sample.labels.dtype == np.uint8
        assert sample.labels.flags.c_contiguous
        assert agree(sample.labels, sample.instances)
    things = {int(value) for value in np.unique(prediction.instances) if value >= scenes.INSTANCE_DIVISOR}
    assert set(prediction.scores) == things
    assert all(0 < score <= 1 for score in prediction.scores.values())


def test_a_scene_without_void_is_all_classes():
    scene = scenes.render(3, 64, 128, void=False, bus=True)
    assert scene.labels.max() == scenes.BUS
    assert (scenes.render(3, 64, 128, void=True, bus=True).labels == scenes.VOID).any()


def test_a_good_model_is_better_than_a_poor_one():
    scene = scenes.render(11)
    valid = scene.labels != scenes.VOID
    good, poor = ((scenes.degrade(scene, quality, 1).labels == scene.labels)[valid].mean() for quality in (scenes.GOOD, scenes.POOR))
    assert 1 > good > poor + 0.02


def test_a_model_labels_what_lies_under_void_unless_it_abstains():
    scene = scenes.render(4)
    assert not (scenes.degrade(scene, scenes.GOOD, 1).labels == scenes.VOID).any()
    assert (scenes.degrade(scene, scenes.POOR, 1).labels == scenes.VOID).any()


@pytest.mark.parametrize(("dtype", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), (np.int32, "I;16")])
def test_written_files_hold_the_values(tmp_path, dtype, mode):
    values = np.arange(12, dtype=dtype).reshape(3, 4) * 20
    scenes.write_png(tmp_path / "a.png", values)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image), values)


def test_indexed_files_hold_indices_and_colors(tmp_path):
    values = scenes.render(1, 40, 60).labels
    scenes.write_png(tmp_path / "a.png", values, scenes.palette())
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), values)
        assert image.getpalette() == scenes.palette()


def test_values_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="65535"):
        scenes.write_png(tmp_path / "a.png", np.array([[70_000]]))
    with pytest.raises(ValueError, match="255"):
        scenes.write_png(tmp_path / "a.png", np.array([[300]]), scenes.palette())
    assert not list(tmp_path.iterdir())
