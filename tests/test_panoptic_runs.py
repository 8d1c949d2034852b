"""Panoptic runs: the same bits by every executor, and every later question answered from what was stored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import segbench
from segbench import cli
from segbench.comparison.shards import slice_result
from segbench.conversion import convert
from segbench.errors import ConfigError
from segbench.metrics.panoptic.analysis import by_size
from segbench.results import Result
from tests.panoptic_sets import DATASET, SETS, write_coco


def bits(result):
    """Everything but time and environment."""
    document = json.loads(result.to_json())
    kept = {key: document[key] for key in ("dataset", "predictions", "tasks", "images", "warnings")}
    arrays = result.evidences["panoptic"].arrays()
    return json.dumps(kept).encode() + b"".join(arrays[name].tobytes() for name in sorted(arrays))


@pytest.fixture(scope="module")
def random_run(tmp_path_factory):
    """Forty images, predictions with a fifth of the pixels changed: their two files."""
    rng = np.random.default_rng(5)
    images = []
    for _ in range(40):
        base = np.repeat(np.repeat(rng.integers(0, 7, (4, 5)), 5, 0), 6, 1)
        sides = []
        for side in range(2):
            rows = np.where(rng.random(base.shape) < 0.2 * side, rng.integers(0, 7, base.shape), base)
            sides += [
                rows.tolist(),
                {int(key): (int(key) % 4, side == 0 and int(key) == 6, int((rows == key).sum())) for key in np.unique(rows) if key},
            ]
        images.append(tuple(sides))
    gt, pred = write_coco(tmp_path_factory.mktemp("random"), images)
    return pred, gt


@pytest.mark.parametrize(
    "options",
    [{"executor": kind, "workers": workers} for kind in ("threads", "processes") for workers in (1, 2)],
    ids=lambda options: f"{options['executor']}-{options['workers']}",
)
def test_executors_give_the_same_bits(random_run, options):
    metrics = ["boundary_pq"]
    serial = segbench.evaluate(*random_run, metrics=metrics, executor="serial")
    assert bits(segbench.evaluate(*random_run, metrics=metrics, **options)) == bits(serial)
    assert 0 < serial.value("panoptic/boundary_pq") < serial.value("panoptic/pq") < 1


def test_a_stored_run_answers_for_any_part(random_run, tmp_path):
    """Slices, single images, sizes, covering and the other tasks: as if only that had been evaluated."""
    pred, gt = random_run
    segbench.evaluate(pred, gt, task="all").save(tmp_path / "run")
    stored = Result.load(tmp_path / "run")
    parts = slice_result(tmp_path / "run", r"(\d)$")
    assert len(parts) == 10
    for label, part in parts.items():
        alone = evaluated(pred, gt, tmp_path, lambda key, label=label: str(key).endswith(label))
        for task in ("panoptic", "semantic", "instance"):
            values = {name: entry.value for name, entry in part.tasks[task].metrics.items()}
            assert values == {name: entry.value for name, entry in alone.tasks[task].metrics.items()}
        assert values
        assert part.value("panoptic/parsing_covering") > 0
    rows = stored.per_image
    for at in (0, 17, 39):
        one = evaluated(pred, gt, tmp_path, lambda key, at=at: key == at)
        assert [rows[name][at] for name in ("pq", "sq", "rq")] == [one.value(f"panoptic/{name}") for name in ("pq", "sq", "rq")]
    sizes = by_size(stored.evidences["panoptic"], stored.dataset_spec, stored.rules("panoptic"), {"little": (0, 90), "big": (90, 1 << 40)})
    totals = {name: sum(row[name] for row in stored.tasks["panoptic"].per_class) for name in ("tp", "fp", "fn")}
    assert {name: sizes["little"][name] + sizes["big"][name] for name in totals} == totals
    assert 0 < sizes["little"]["pq"] < sizes["big"]["pq"]


def evaluated(pred, gt, folder, wanted):
    """The images that are wanted, alone."""
    files = []
    for path in (pred, gt):
        document = json.loads(path.read_text())
        document["annotations"] = [row for row in document["annotations"] if wanted(row["image_id"])]
        files.append(folder / path.name)
        files[-1].write_text(json.dumps(document))
    return segbench.evaluate(*files, task="all", maps=str(pred.with_suffix("")), gt_maps=str(gt.with_suffix("")))


def test_every_task_has_its_own_protocol(random_run):
    result = segbench.evaluate(*random_run, task="all", protocol="panoptic=pq-dagger,semantic=detectron2,instance=coco-corrected")
    assert {name: task.protocol["name"] for name, task in result.tasks.items()} == {
        "panoptic": "pq-dagger",
        "semantic": "detectron2",
        "instance": "coco-corrected",
    }
    assert result.value("panoptic/pq") == result.value("panoptic/pq_dagger")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SETS)
def test_converted_sets_keep_every_score(tmp_path, images):
    gt, pred = write_coco(tmp_path, images)
    if not images:
        return
    (tmp_path / "out").mkdir(exist_ok=True)
    written = [convert(path, tmp_path / "out" / path.name, dataset=DATASET) for path in (pred, gt)]
    before, after = segbench.evaluate(pred, gt, dataset=DATASET), segbench.evaluate(*written, dataset=DATASET)
    assert before.tasks["panoptic"].per_class == after.tasks["panoptic"].per_class
    assert {name: entry.value for name, entry in before.tasks["panoptic"].metrics.items()} == {
        name: entry.value for name, entry in after.tasks["panoptic"].metrics.items()
    }


def test_where_quality_is_lost_is_told_of_a_stored_run(random_run, tmp_path, capsys):
    result = segbench.evaluate(*random_run)
    run = str(result.save(tmp_path / "run"))
    capsys.readouterr()
    assert cli.run(["explain", "panoptic/pq", "--run", run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "segbench.losses/1"
    assert [row["pq"] for row in told["classes"]] == [row["pq"] for row in result.per_class if row["pq"] is not None]
    for row in told["classes"]:
        causes = sum(value for name, value in row.items() if name.startswith(("miss_", "false_")))
        assert causes + row["segmentation"] == pytest.approx(row["loss"], abs=1e-12)
    assert sum(size["tp"] for size in told["sizes"].values()) == sum(row["tp"] for row in result.per_class)
    lost = {
        name.partition("_")[2] for row in told["classes"] for name, value in row.items() if value and name.startswith(("miss_", "false_"))
    }
    assert cli.run(["explain", "panoptic/pq", "--run", run]) == 0
    shown = capsys.readouterr().out
    pq = result.value("panoptic/pq")
    assert f"mean {100 * pq:.2f} {100 * (1 - pq):.2f}" in " ".join(shown.split())
    assert {cause.replace("hallucinated", "invented") for cause in lost} <= set(shown.replace("wrong class", "wrong_class").split())
    assert "large, from 9216 px" in shown
    assert cli.run(["explain", "panoptic/sq", "--run", run]) == 2
    assert "--protocol NAME" in capsys.readouterr().err


def test_what_instances_have_is_not_promised(random_run):
    with pytest.raises(ConfigError, match="--analysis is for instances") as caught:
        segbench.evaluate(*random_run, analysis=True)
    assert "segbench explain panoptic/pq --run" in str(caught.value)
