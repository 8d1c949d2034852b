"""The drop-in for panopticapi, where panopticapi itself is not at hand; tests/parity holds the two side by side."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from segbench.compat.panopticapi import pq_compute
from segbench.errors import FormatError, InputError, PairingError
from tests import naive_panoptic as naive
from tests.panoptic_sets import as_pixels, flat

CATEGORIES = [{"id": 3, "name": "car", "isthing": 1}, {"id": 8, "name": "road", "isthing": 0}]


def write(folder, name, images, categories=CATEGORIES):
    """`{image id: (rows of ids, {id: (category, crowd, stated area)})}` as panoptic JSON and maps."""
    (folder / name).mkdir()
    annotations = []
    for key, (rows, table) in images.items():
        Image.fromarray(as_pixels(rows)).save(folder / name / f"{key}.png")
        segments = [{"id": s, "category_id": c, "iscrowd": int(crowd), "area": area} for s, (c, crowd, area) in table.items()]
        annotations.append({"image_id": key, "file_name": f"{key}.png", "segments_info": segments})
    document = {"annotations": annotations} | ({"categories": categories} if categories else {})
    (folder / f"{name}.json").write_text(json.dumps(document))
    return str(folder / f"{name}.json")


def test_dict_and_table(tmp_path, capsys):
    gt = {1: ([[1, 1, 1, 2, 2, 0]], {1: (3, False, 2), 2: (8, False, 2)}), 2: ([[5, 5, 5]], {5: (3, False, 3)})}
    pred = {1: ([[7, 7, 0, 9, 9, 9]], {7: (3, False, -1), 9: (8, False, -1)}), 2: ([[4, 4, 4]], {4: (3, False, -1)})}
    found = pq_compute(write(tmp_path, "gt", gt), write(tmp_path, "pred", pred))
    images = flat([(*gt[key], *pred[key]) for key in (1, 2)])
    means, rows = naive.qualities(naive.class_sums(images, stated=True), (3, 8))
    assert found["All"] == dict(zip(("pq", "sq", "rq"), means, strict=True)) | {"n": 2}
    assert found["per_class"] == {key: dict(zip(("pq", "sq", "rq"), row, strict=True)) for key, row in rows.items()}
    assert list(found) == ["All", "per_class", "Things", "Stuff"]
    printed = capsys.readouterr().out
    assert f"All       | {100 * means[0]:5.1f}  {100 * means[1]:5.1f}  {100 * means[2]:5.1f}     2\n" in printed
    assert printed.startswith(f"Evaluation panoptic segmentation metrics:\nGround truth:\n\tSegmentation folder: {tmp_path / 'gt'}\n")


def test_what_panopticapi_tolerates_is_tolerated(tmp_path, capsys):
    # id 6 is in no table, category 99 in no list: neither void nor segment, so that the prediction over them is false
    gt = {1: ([[1, 1, 6, 5]], {1: (3, False, 2), 5: (99, False, 1)})}
    pred = {1: ([[7, 7, 9, 9]], {7: (3, False, -1), 9: (8, False, -1)})}
    found = pq_compute(write(tmp_path, "gt", gt), write(tmp_path, "pred", pred))
    assert found["Things"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 1}
    assert found["Stuff"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0, "n": 1}


def test_groups_without_segments_have_no_number(tmp_path, capsys):
    image = {1: ([[1]], {1: (3, False, 1)})}
    found = pq_compute(write(tmp_path, "gt", image), write(tmp_path, "pred", image))
    assert math.isnan(found["Stuff"]["pq"])
    assert found["Stuff"]["n"] == 0
    assert found["per_class"][8] == {"pq": 0.0, "sq": 0.0, "rq": 0.0}


def test_folders_may_be_given(tmp_path, capsys):
    image = {1: ([[1]], {1: (3, False, 1)})}
    gt, pred = write(tmp_path, "gt", image), write(tmp_path, "pred", image)
    (tmp_path / "gt").rename(tmp_path / "elsewhere")
    assert pq_compute(gt, pred, gt_folder=str(tmp_path / "elsewhere"))["All"]["pq"] == 1.0


def test_bad_files_are_named(tmp_path, capsys):
    image = {1: ([[1]], {1: (3, False, 1)})}
    gt = write(tmp_path, "gt", image)
    with pytest.raises(PairingError, match="no prediction for the image with id: 1"):
        pq_compute(gt, write(tmp_path, "none", {}))
    with pytest.raises(FormatError, match="lists no categories"):
        pq_compute(write(tmp_path, "bare", image, None), gt)
    with pytest.raises(InputError, match="category"):
        pq_compute(gt, write(tmp_path, "unknown", {1: ([[1]], {1: (99, False, 1)})}))
    values = np.array([[2]])
    with pytest.raises(InputError, match="in the map and not in the table"):
        pq_compute(gt, write(tmp_path, "unlisted", {1: (values, {})}))
