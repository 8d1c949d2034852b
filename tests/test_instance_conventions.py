"""Predictions as detectron2, MMDetection and Ultralytics write them, and mistakes in their category ids and image ids."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import segbench
from segbench.errors import FormatError, InputError, LabelError, MissingDependencyError
from tests import naive_instance as naive

IDS = [1, 2, 3, 5, 8, 13, 21, 34]
NAMES = ["person", "bicycle", "car", "traffic light", "bus", "stop sign", "cow", "cup"]
SIZE = (40, 60)
IMAGES = (139, 285, 632)


def found():
    """(image, class index, mask, box, score) of every object, each seen twice as good as can be."""
    rng = np.random.default_rng(3)
    for image in IMAGES:
        for label in range(len(IDS)):
            top, left = rng.integers(0, 25, 2).tolist()
            mask = np.zeros(SIZE, np.uint8)
            mask[top : top + 12, left : left + 20] = 1
            yield image, label, mask, [left, top, 20, 12], round(float(rng.uniform(0.1, 0.9)), 3)


def rle(mask):
    return {"size": list(mask.shape), "counts": naive.string_of(naive.counts_of(mask))}


def truth(ids=IDS):
    annotations = [
        {"id": number, "image_id": image, "category_id": ids[label], "segmentation": rle(mask), "bbox": box, "area": 240, "iscrowd": 0}
        for number, (image, label, mask, box, _) in enumerate(found(), 1)
    ]
    images = [{"id": image, "height": SIZE[0], "width": SIZE[1], "file_name": f"{image:012}.jpg"} for image in IMAGES]
    return {"images": images, "annotations": annotations, "categories": [{"id": i, "name": n} for i, n in zip(ids, NAMES, strict=True)]}


def rows(category=lambda label: IDS[label], image=lambda number: number, **more):
    return [
        {"image_id": image(number), "category_id": category(label), "bbox": box, "score": score, "segmentation": rle(mask)} | more
        for number, label, mask, box, score in found()
    ]


def evaluate(predictions, **options):
    said = []
    result = segbench.evaluate(predictions, options.pop("truth", None) or truth(), task="instance", workers=1, say=said.append, **options)
    return result, said


EXPECTED = evaluate(rows())[0].flat()

CONVENTIONS = {
    "detectron2 JSON": (rows(), None),
    "contiguous ids": (rows(lambda label: label), "contiguous"),
    "Ultralytics, own data": (rows(lambda label: label + 1, file_name="x.jpg"), "one-based"),
    "Ultralytics, COCO": (rows(file_name="x.jpg"), None),
    "YOLOv5, own data": (rows(lambda label: label), "contiguous"),
    "stems": (rows(image=lambda number: f"{number:012}"), None),
    "numbers as text": (rows(image=str), None),
    "file names": (rows(image=lambda number: f"val/{number:012}.jpg"), None),
    "numbers with a point": (rows(image=float), None),
    "names": (rows(lambda label: NAMES[label]), None),
    "names written otherwise": (rows(lambda label: NAMES[label].upper().replace(" ", "_")), None),
    "ids as text": (rows(lambda label: str(IDS[label])), None),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions(tmp_path, name):
    """Every convention gives the same numbers, from a file and from memory; where an option is needed, the error names it."""
    predictions, space = CONVENTIONS[name]
    file, gt = tmp_path / "predictions.json", tmp_path / "gt.json"
    file.write_text(json.dumps(predictions))
    gt.write_text(json.dumps(truth()))
    for source, against in ((predictions, truth()), (file, gt)):
        if space:
            with pytest.raises(LabelError) as error:
                evaluate(source, truth=against)
            assert error.value.code == "SB111"
            assert f"id-space {space}" in error.value.hint or f"id_space {space}" in error.value.hint
        assert evaluate(source, truth=against, id_space=space)[0].flat() == EXPECTED


def test_ids_that_no_space_explains():
    with pytest.raises(LabelError, match="one too low") as error:
        evaluate(rows(lambda label: IDS[label] - 1)[1:])
    assert error.value.code == "SB110"
    with pytest.raises(LabelError, match="did you mean 'traffic light'") as error:
        evaluate(rows(lambda label: "trafic light"))
    assert error.value.code == "SB110"
    with pytest.raises(LabelError, match="no id space") as error:
        evaluate(rows(lambda label: NAMES[label]), id_space="contiguous")
    assert error.value.code == "SB111"
    for value in ("9" * 30, "", "-1"):
        with pytest.raises(LabelError):
            evaluate(rows(lambda label, value=value: value))


def test_valid_ids_that_mean_something_else():
    """All ids are categories, yet hardly anything overlaps its own: another numbering is looked for."""
    wide = truth(list(range(1, 9)))
    _, said = evaluate([row for row in rows(lambda label: label) if row["category_id"]], truth=wide)
    assert any("--id-space contiguous, 100 %" in sentence and "SB111" in sentence for sentence in said)
    dense = truth(list(range(1, 9)))
    dense["categories"] = [{"id": 0, "name": "nothing"}, *dense["categories"]]
    _, said = evaluate(rows(lambda label: label), truth=dense)
    assert any("one higher, 100 %" in sentence for sentence in said)
    _, said = evaluate(rows(lambda label: label + 1), truth=dense)
    assert not any("SB111" in sentence for sentence in said)
    shuffled = np.random.default_rng(0).permutation(8)
    _, said = evaluate(rows(lambda label: int(shuffled[label])), truth=dense)
    assert not any("%" in sentence for sentence in said)


def detectron2():
    parts = {image: [row for row in rows(lambda label: label) if row["image_id"] == image] for image in IMAGES}
    return [{"image_id": image, "instances": part} for image, part in parts.items()]


def mmdetection(array=np.array, text=str.encode):
    """Boxes left, top, right, bottom; class indices; masks as run lengths of bytes."""
    images = []
    for image in IMAGES:
        mine = [row for row in found() if row[0] == image]
        boxes = array([[box[0], box[1], box[0] + box[2], box[1] + box[3]] for *_, box, _ in mine])
        masks = [rle(mask) for _, _, mask, _, _ in mine]
        masks = [mask | {"counts": text(mask["counts"])} for mask in masks]
        instances = {"bboxes": boxes, "scores": array([row[4] for row in mine]), "labels": array([row[1] for row in mine]), "masks": masks}
        images.append({"img_id": image, "img_path": f"{image}.jpg", "ori_shape": SIZE, "pred_instances": instances})
    return images


def pickled(folder, content, name="results.pkl"):
    (folder / "gt.json").write_text(json.dumps(truth()))
    (folder / name).write_bytes(pickle.dumps(content))
    return folder / name, folder / "gt.json"


PICKLES = {"detectron2": detectron2(), "mmdetection": mmdetection(), "text": mmdetection(text=str), "rows": rows()}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_read_where_trusted(tmp_path, name):
    paths = pickled(tmp_path, PICKLES[name])
    with pytest.raises(FormatError, match="can run code") as error:
        segbench.evaluate(*paths)
    assert error.value.code == "SB191"
    assert "--trust-pickle" in error.value.hint
    assert segbench.evaluate(*paths, trust_pickle=True).flat() == EXPECTED


def test_masks_as_arrays_in_a_pickle(tmp_path):
    content = mmdetection()
    for image in content:
        image["pred_instances"]["masks"] = np.array([mask for number, _, mask, _, _ in found() if number == image["img_id"]], bool)
    assert segbench.evaluate(*pickled(tmp_path, content), trust_pickle=True).flat() == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1},
        [(["a"], ["b"])],
        [3],
        "text",
        [{"pred_instances": {}}],
        [{"instances": [{}]}],
        [{"pred_instances": {"labels": 3, "scores": 2}, "img_id": 1}],
    ],
)
def test_pickles_of_something_else(tmp_path, content):
    with pytest.raises(InputError):
        segbench.evaluate(*pickled(tmp_path, content), trust_pickle=True)


def test_damaged_pickles(tmp_path):
    path, gt = pickled(tmp_path, rows())
    for data in (b"", b"\x80", path.read_bytes()[:50], b"PK\x03\x04" + b"0" * 40, b"\x80\x04cnowhere\nnothing\n."):
        path.write_bytes(data)
        with pytest.raises((FormatError, MissingDependencyError)):
            segbench.evaluate(path, gt, trust_pickle=True)


@pytest.mark.frameworks
def test_tensors_in_pickles(tmp_path):
    torch = pytest.importorskip("torch")
    paths = pickled(
        tmp_path, mmdetection(lambda values: torch.tensor(values, dtype=torch.float64 if isinstance(values[0], float) else None))
    )
    assert segbench.evaluate(*paths, trust_pickle=True).flat() == EXPECTED
    torch.save(detectron2(), tmp_path / "instances_predictions.pth")
    assert segbench.evaluate(tmp_path / "instances_predictions.pth", paths[1], trust_pickle=True).flat() == EXPECTED
