"""Error budget, sizes, semantic scores and suspicions of panoptic evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench import protocols
from segbench.metrics import semantic, tasks
from segbench.metrics.panoptic.analysis import by_size, error_budget, semantic_evidence, suspicions
from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.metrics.panoptic.scoring import scores as scores_of
from segbench.metrics.panoptic.views import views
from segbench.metrics.semantic import SemanticAccumulator
from segbench.protocols.panoptic import PANOPTIC
from segbench.samples import LabelMap, ValueMap
from tests.panoptic_sets import DATASET, NUM_CLASSES, SETS, panoptic_image, sample

COCO = PANOPTIC[0]
MEANING = ValueMap.of({index: index for index in range(NUM_CLASSES + 1)}, NUM_CLASSES)


def evidence_of(images):
    accumulator = PanopticAccumulator(DATASET)
    for key, (gt_rows, gt_table, pred_rows, pred_table) in enumerate(images):
        accumulator.update([sample(key, pred_rows, pred_table)], [sample(key, gt_rows, gt_table, order=key)])
    return accumulator.evidence()


def rows_of(gt, pred, gt_classes=None, pred_classes=None):
    """The budget of one image; classes are 0 where not given."""
    tables = [
        {segment: ((classes or {}).get(segment, 0), False, -1) for segment in sorted({v for row in rows for v in row} - {0})}
        for rows, classes in ((gt, gt_classes), (pred, pred_classes))
    ]
    return {row["name"]: row for row in error_budget(evidence_of([(gt, tables[0], pred, tables[1])]), DATASET, COCO)}


def parts(row):
    return {name: value for name, value in row.items() if name.startswith(("miss_", "false_")) and value}


@given(SETS)
def test_the_budget_adds_up(images):
    evidence = evidence_of(images)
    scores = {row["name"]: row for row in scores_of(evidence, DATASET, COCO).per_class}
    for row in error_budget(evidence, DATASET, COCO):
        assert row["pq"] == scores[row["name"]]["pq"]
        assert row["loss"] == pytest.approx(row["recognition"] + row["segmentation"])
        assert row["recognition"] == pytest.approx(sum(parts(row).values()))


def test_each_cause_by_hand():
    missed = rows_of([[1, 1, 0, 0]], [[0, 0, 0, 0]])["class0"]
    assert parts(missed) == {"miss_missed": 1.0}
    confused = rows_of([[1, 1, 1, 0]], [[4, 4, 4, 0]], None, {4: 1})
    assert parts(confused["class0"]) == {"miss_wrong_class": 1.0}
    assert parts(confused["class1"]) == {"false_wrong_class": 1.0}
    split = rows_of([[1] * 10], [[4] * 5 + [5] * 5])["class0"]
    assert parts(split) == {"miss_split": pytest.approx(1 / 3), "false_split": pytest.approx(2 / 3)}
    merged = rows_of([[1] * 5 + [2] * 5], [[4] * 10])["class0"]
    assert parts(merged) == {"miss_merged": pytest.approx(2 / 3), "false_merged": pytest.approx(1 / 3)}
    imprecise = rows_of([[1] * 10], [[4] * 4 + [0] * 6])["class0"]
    assert parts(imprecise) == {"miss_imprecise": 0.5, "false_imprecise": 0.5}
    drawn = rows_of([[1] * 10], [[4] * 8 + [0] * 2])["class0"]
    assert drawn["segmentation"] == pytest.approx(0.2)
    assert parts(drawn) == {}


def test_an_invented_segment_is_hallucinated():
    row = rows_of([[1, 1, 1, 2, 2, 2]], [[1, 1, 1, 7, 8, 8]], {2: 2}, {7: 0, 8: 2})["class0"]
    assert parts(row) == {"false_hallucinated": pytest.approx(1 / 3)}


@given(SETS)
def test_one_range_holds_everything_and_ranges_part_the_errors(images):
    evidence = evidence_of(images)
    scores = scores_of(evidence, DATASET, COCO)
    whole = by_size(evidence, DATASET, COCO, {"all": (0, 1 << 40)})["all"]
    assert whole["pq"] == scores.metrics["panoptic/pq"]
    cut = by_size(evidence, DATASET, COCO, {"small": (0, 6), "large": (6, 1 << 40)})
    for name in ("tp", "fp", "fn"):
        assert cut["small"][name] + cut["large"][name] == whole[name] == sum(row[name] for row in scores.per_class)


def test_sizes_are_those_of_coco():
    ids = np.zeros((100, 200), int)
    ids[:, :100] = 1
    ids[:32, 100:132] = 2
    ids[40:71, 100:131] = 3
    table = dict.fromkeys((1, 2, 3), (0, False, -1))
    found = by_size(evidence_of([(ids, table, ids, table)]), DATASET, COCO)
    assert {name: row["tp"] for name, row in found.items()} == {"small": 1, "medium": 1, "large": 1}
    assert by_size(evidence_of([]), DATASET, COCO)["small"]["pq"] is None


@given(st.lists(panoptic_image(), min_size=1, max_size=3))
def test_semantic_scores_are_those_of_the_label_maps(images):
    accumulator = SemanticAccumulator(DATASET)
    for key, (gt_rows, gt_table, pred_rows, pred_table) in enumerate(images):
        maps = []
        for rows, table in ((pred_rows, pred_table), (gt_rows, gt_table)):
            values = [[table[v][0] if v in table else NUM_CLASSES for v in row] for row in rows]
            maps.append(LabelMap(key, np.array(values, np.uint8), MEANING, order=key))
        accumulator.update([maps[0]], [maps[1]])
    expected, found = accumulator.evidence(), semantic_evidence(evidence_of(images))
    for name, column in expected.tables["pixels"].items():
        assert np.array_equal(column, found.tables["pixels"][name])
        assert column.dtype == found.tables["pixels"][name].dtype
    rules = protocols.load("pooled", "semantic")
    assert semantic.scores(found, DATASET, rules).metrics == accumulator.compute(rules).metrics


def test_suspicions():
    clean = ([[1, 1, 2]], {1: (0, False, 2), 2: (2, False, 1)}, [[1, 1, 2]], {1: (0, False, 2), 2: (2, False, 1)})
    assert suspicions(evidence_of([clean]), DATASET) == []
    assert suspicions(evidence_of([]), DATASET) == []
    image = (
        [[1, 2, 3, 4, 5, 5]],
        {1: (0, True, 1), 2: (0, True, 1), 3: (2, True, 1), 4: (1, False, 9), 5: (1, False, 2)},
        [[7, 8, 0, 0, 0, 0]],
        {7: (3, False, -1), 8: (3, False, -1)},
    )
    found = suspicions(evidence_of([image]), DATASET)
    for text in (
        "1 predicted stuff segment beside",
        "1 crowd beside",
        "wrong area for 1 of 5",
        "1 crowd of stuff",
        "67 %",
    ):
        assert any(text in sentence for sentence in found), text
    assert len(found) == 5


@given(SETS)
def test_things_as_instances_overlap_as_their_masks_do(images):
    found = views(evidence_of(images), DATASET)
    overlaps, void = [], []
    for at, (gt_rows, gt_table, pred_rows, pred_table) in enumerate(images):
        gt, pred = np.array(gt_rows), np.array(pred_rows)
        sides = [[(key, row) for key, row in table.items() if DATASET.isthing[row[0]]] for table in (pred_table, gt_table)]
        for detection, (pred_id, (label, _, _)) in enumerate(sides[0]):
            if nothing := int(((pred == pred_id) & (gt == 0)).sum()):
                void.append((at, detection, nothing))
            for truth, (gt_id, (other, crowd, _)) in enumerate(sides[1]):
                shared = int(((pred == pred_id) & (gt == gt_id)).sum())
                union = int((pred == pred_id).sum()) if crowd else int(((pred == pred_id) | (gt == gt_id)).sum())
                if shared and label == other:
                    overlaps.append((at, detection, truth, shared, union))
    table = found["instance"].rows("segm_pairs")
    columns = [table[name].tolist() for name in ("image", "detection", "gt", "intersection", "union")]
    assert list(zip(*columns, strict=True)) == sorted(overlaps)
    assert set(found) == {"panoptic", "semantic", "instance"}
    table = found["instance"].rows("void_pixels")
    assert list(zip(*(table[name].tolist() for name in ("image", "detection", "pixels")), strict=True)) == void
    for name in ("coco", "cityscapes"):
        rules = protocols.load(name, "instance")
        scored = tasks.scores("instance", found["instance"], DATASET, rules)
        assert "segm/ap" in scored.metrics
        types = tasks.table_types("instance", found["instance"], DATASET, rules)
        assert tasks.types_of({key: found["instance"].rows(key) for key in types}) == types
