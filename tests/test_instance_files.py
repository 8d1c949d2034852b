"""COCO files: what is read from them, and every mistake that is told, with its code, the annotation and the image."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench import datasets
from segbench.adapters.base import Request
from segbench.adapters.instance import coco, coco_formats, coco_json, coco_scan, coco_truth
from segbench.adapters.instance.coco_source import by_image_name
from segbench.adapters.instance.memory import open_instances
from segbench.errors import FormatError, InputError, LabelError, PairingError, ShapeError
from segbench.instances import BOXED, CROWD, NO_ID
from segbench.kernels import coco_rows
from tests import naive_instance as naive

SIZE = (6, 8)
ANIMALS = datasets.Dataset(
    name="animals",
    tasks=("instance",),
    classes=tuple(datasets.LabelClass(id=number, name=name) for number, name in ((2, "cat"), (5, "dog"), (9, "cow"))),
)


def mask(left, top, width, height, size=SIZE):
    pixels = np.zeros(size, np.uint8)
    pixels[top : top + height, left : left + width] = 1
    return pixels


def rle(pixels):
    return {"size": list(pixels.shape), "counts": naive.string_of(naive.counts_of(pixels))}


def row(image=1, category=2, score=0.5, **more):
    return {"image_id": image, "category_id": category, "score": score, "segmentation": rle(mask(1, 1, 3, 2))} | more


def annotation(number=1, image=1, category=2, **more):
    return {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "area": 6, "bbox": [1, 1, 3, 2]} | {
        "segmentation": [[1, 1, 1, 3, 4, 3, 4, 1]],
        **more,
    }


def truth(*annotations, images=(1, 2), **more):
    return {
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1], "file_name": f"set/{image:06}.jpg"} for image in images],
        "annotations": list(annotations) or [annotation()],
        "categories": [{"id": label.id, "name": label.name} for label in ANIMALS.classes],
    } | more


def written(path: Path, document) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def results(tmp_path, *rows, **options):
    path = written(tmp_path / "results.json", list(rows))
    return coco.predictions(coco_json.read_results(path), Request("pred", ANIMALS, **options), str(path))


def ground_truth(tmp_path, document, dataset=ANIMALS):
    return coco.open_truth(written(tmp_path / "gt.json", document), Request("gt", dataset))


def test_what_a_results_file_gives(tmp_path):
    source = results(tmp_path, row(7, 5, 0.25), row(3, 2, 1), row(7, 9, 0.5, bbox=[0, 0, 2, 2]))
    assert source.keys == (3, 7)
    batch = source.read((7, 3), np.array([SIZE, SIZE], np.int32))
    assert batch.images == (7, 3)
    assert batch.image.tolist() == [0, 0, 1]
    assert batch.category.tolist() == [1, 2, 0]
    assert batch.scores.tolist() == [0.25, 0.5, 1.0]
    assert batch.ids.tolist() == [0, 2, 1]
    assert batch.masks.areas.tolist() == [6, 6, 6]
    assert batch.masks.boxes[0].tolist() == [1, 1, 3, 2]
    assert np.isnan(batch.boxes[0]).all()
    assert batch.boxes[1].tolist() == [0, 0, 2, 2]
    assert not batch.flags.any()  # the first row of the file has no box
    assert "3 detections in 2 images" in source.said
    assert source.families == ("segm", "bbox", "boundary")


def test_what_a_ground_truth_gives(tmp_path):
    plain = {"size": list(SIZE), "counts": naive.counts_of(mask(0, 0, 2, 2))}
    source = ground_truth(
        tmp_path,
        truth(annotation(4), annotation(2, iscrowd=1, segmentation=plain, category=9), annotation(3, segmentation=rle(mask(5, 5, 1, 1)))),
    )
    batch = source.read((2, 1))
    assert batch.images == (2, 1)
    assert batch.sizes.tolist() == [list(SIZE)] * 2
    assert batch.ids.tolist() == [4, 2, 3]
    assert batch.flags.tolist() == [0, CROWD, 0]
    assert batch.masks.areas.tolist() == [6, 4, 1]
    assert batch.areas.tolist() == [6, 6, 6]
    assert source.sizes() == [SIZE, SIZE]


def test_classes_from_the_ground_truth(tmp_path):
    found = coco.truth_dataset(written(tmp_path / "gt.json", truth()))
    assert found.names == ("cat", "dog", "cow")
    assert [label.id for label in found.evaluated] == [2, 5, 9]
    assert found.protocol("instance") == "coco"
    document = truth()
    document["images"][0] |= {"neg_category_ids": [5], "not_exhaustive_category_ids": [9]}
    document["images"][1] |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    assert coco.truth_dataset(written(tmp_path / "lvis.json", document)).protocol("instance") == "lvis"
    known = ground_truth(tmp_path, document).read((2, 1)).categories
    assert (known.image.tolist(), known.category.tolist(), known.kind.tolist()) == ([1, 1], [1, 2], [0, 1])


def test_parts_read_alike_here_and_in_another_process(tmp_path):
    source = results(tmp_path, row(1), row(2, segmentation=rle(mask(0, 0, 8, 6))), row(1, 9, bbox=[1, 1, 3, 2]))
    whole = source.read((2,))
    for part in (source.part((2,)), pickle.loads(pickle.dumps(source.part((2,))))):
        assert part.keys == (2,)
        batch = part.read((2,))
        for name in ("image", "category", "ids", "scores", "boxes", "flags"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(whole, name))
        np.testing.assert_array_equal(batch.masks.spans, whole.masks.spans)
        assert part.fingerprint(2) == source.fingerprint(2)
    assert len(pickle.loads(pickle.dumps(source.part((2,)))).segmentations.text) < len(source.segmentations.text)
    assert source.fingerprint(1) != source.fingerprint(2)


def test_boxes_alone(tmp_path):
    source = results(tmp_path, {"image_id": 1, "category_id": 2, "score": 0.5, "bbox": [0, 0, 2, 2]})
    assert source.families == ("bbox",)
    assert source.read((1,)).masks is None
    assert source.flags.tolist() == [BOXED]
    path = tmp_path / "results.json"
    filled = coco.predictions(coco_json.read_results(path), Request("pred", ANIMALS), "r", boxes_are_masks=True)
    assert filled.read((1,), np.array([SIZE], np.int32)).masks.areas.tolist() == [4]
    assert "boxes count as masks" in filled.notes[0]


def test_an_empty_results_file(tmp_path):
    source = results(tmp_path)
    assert source.keys == ()
    assert len(source.read(())) == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_results_under_annotations_and_other_layouts(tmp_path, wrapped):
    rows = [row(1, extra={"nested": [1, {"a": "}],"}]}), row(2, caption='say "\\\\hi"')]
    text = json.dumps({"annotations": rows} if wrapped else rows, indent=2)
    source = coco.predictions(coco_json.read_results(written(tmp_path / "r.json", text)), Request("pred", ANIMALS), "r")
    assert source.keys == (1, 2)
    assert source.read((2,)).masks.areas.tolist() == [6]


numbers = st.one_of(st.floats(1e-30, 1), st.floats(2**-60, 1, width=32), st.integers(0, 1), st.floats(1e-30, 1e20))
rows_of_results = st.lists(
    st.builds(
        lambda image, category, score, box, shape, order: [
            ("image_id", image),
            ("category_id", category),
            ("score", score),
            *([("bbox", box)] if box else []),
            *([("segmentation", rle(mask(*shape)))] if shape else []),
            ("note", 'x"\\}{,'),
        ][::order],
        st.integers(-5, 10**12),
        st.integers(0, 99),
        numbers,
        st.none() | st.lists(numbers, min_size=4, max_size=4),
        st.none() | st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)),
        st.sampled_from([1, -1]),
    ),
    max_size=8,
)


@settings(max_examples=80)
@given(rows_of_results, st.sampled_from([64, 200, 5000]), st.sampled_from([2, 3, 100]), st.sampled_from([None, 1]))
def test_scanning_is_decoding(tmp_path_factory, rows, piece, limit, indent):
    path = written(tmp_path_factory.mktemp("scan") / "r.json", json.dumps([dict(items) for items in rows], indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_scan, "PIECE", piece)
        patch.setattr(coco_scan, "ROWS", limit)
        scanned = coco_scan.scan(path)
    builder = coco_json._Builder(str(path))
    builder.add(coco_json._whole(path))
    expected = builder.columns()
    if scanned is None:  # an object longer than a piece, or none
        assert piece < 5000 or not rows
        return
    images, categories, scores, boxes, segmentations = scanned
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(categories, expected.categories)
    np.testing.assert_array_equal(scores.view(np.int64), expected.scores.view(np.int64))
    np.testing.assert_array_equal(boxes, expected.boxes)
    for name in ("text", "starts", "stops", "kinds", "sizes"):
        np.testing.assert_array_equal(getattr(segmentations, name), getattr(expected.segmentations, name))


annotations_of_files = st.lists(
    st.builds(
        lambda number, image, area, crowd, box, shape: (
            {"id": number, "image_id": image, "category_id": 2, "area": area, "bbox": box, "segmentation": shape} | crowd
        ),
        st.integers(-5, 10**12),
        st.integers(1, 2),
        numbers,
        st.sampled_from([{}, {"iscrowd": 0}, {"iscrowd": 1, "ignore": 0}, {"ignore": 1}]),
        st.lists(numbers, min_size=4, max_size=4),
        st.sampled_from(
            [[], [[1, 1, 1, 3, 4.5, 3]], rle(mask(1, 1, 3, 2)), {"counts": [40, 2, 6], "size": list(SIZE)}, {"counts": '"]}[{'}]
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=80)
@given(annotations_of_files, st.sampled_from([1, 3, 100]), st.sampled_from([None, 1]))
def test_scanning_ground_truth_is_decoding(tmp_path_factory, annotations, limit, indent):
    document = {"images": [{"id": 1}, {"id": 2}], "annotations": annotations, "categories": [{"id": 2}]}
    path = written(tmp_path_factory.mktemp("truth") / "gt.json", json.dumps(document, indent=indent))
    expected = coco_truth.read_truth(path).annotations
    coco_truth.forget_truth()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_scan, "SMALL", 0)
        patch.setattr(coco_scan, "ROWS", limit)
        patch.setattr(coco_truth, "_columns", None)  # not the slow way
        found = coco_truth.read_truth(path).annotations
    coco_truth.forget_truth()
    for name in ("images", "categories", "ids", "areas", "boxes", "crowds", "ignored"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    for row in range(len(annotations)):
        texts = [side.text[side.starts[row] : side.stops[row]].tobytes() for side in (found, expected)]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("change", [{"iscrowd": True}, {"iscrowd": None}, {"area": None}, {"bbox": [1, 2, 3]}, {"id": "a"}, {"id": 1.5}])
def test_unusual_annotations_are_decoded_the_slow_way(change):
    text = json.dumps([annotation(), annotation() | change]).encode()
    assert coco_scan.scan_truth(memoryview(text)) is None


@settings(max_examples=300)
@given(st.integers(1, 2**64 - 1), st.integers(-30, 30))
def test_numbers_are_read_to_the_bit(digits, exponent):
    bits = coco_rows.float_bits(np.uint64(digits), exponent)
    assert bits in (-1, np.float64(f"{digits}e{exponent}").view(np.int64))
    assert bits != -1 or digits > 2**53


@pytest.mark.parametrize(
    "text", ["[,]", "[{}]", '[{"image_id":1,"category_id":2,"score":1},]', '[{"image_id":1,"category_id":2,"score":01}]']
)
def test_what_is_no_json_is_not_scanned(tmp_path, text):
    assert coco_scan.scan(written(tmp_path / "r.json", text)) is None


@settings(max_examples=40)
@given(rows_of_results, st.sampled_from([40, 300]))
def test_chunks_are_the_whole(tmp_path_factory, rows, size):
    path = written(tmp_path_factory.mktemp("chunks") / "r.json", json.dumps([dict(items) for items in rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_json, "CHUNK", size)
        found = [item for part in coco_json._chunks(path) for item in part]
    assert found == coco_json._whole(path)


RESULT_MISTAKES = {
    "no score": ([row(score=None)], FormatError, "SB140", "detection 0 has no score"),
    "score as text": ([row(score="high")], FormatError, "SB140", "score"),
    "unknown category": ([row(category=77)], LabelError, "SB110", "77; first in detection 0 (image 1)"),
    "contiguous categories": ([row(category=0), row(category=1), row(category=2)], LabelError, "SB111", "--id-space contiguous"),
    "one-based categories": ([row(category=1), row(category=3)], LabelError, "SB111", "--id-space one-based"),
    "category as another name": ([row(category="horse")], LabelError, "SB110", "horse"),
    "category as a list": ([row(category=[2])], FormatError, "SB110", "category_id"),
    "image id with a fraction": ([row(image=1.5)], FormatError, "SB122", "1.5"),
    "three box numbers": ([row(bbox=[1, 2, 3])], FormatError, "SB172", "3 numbers"),
    "neither mask nor box": ([{"image_id": 1, "category_id": 2, "score": 1}], FormatError, "SB172", "neither mask nor box"),
    "no image": ([{"category_id": 2, "score": 1}], FormatError, "SB122", "image_id"),
    "no object": ([3], FormatError, None, "Expected `object`"),
}


@pytest.mark.parametrize("mistake", RESULT_MISTAKES)
def test_mistakes_in_results(tmp_path, mistake):
    rows, error, code, words = RESULT_MISTAKES[mistake]
    with pytest.raises(error) as caught:
        results(tmp_path, *rows)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "results.json" in str(caught.value)


@pytest.mark.parametrize(("space", "categories"), [("contiguous", [0, 1, 2]), ("one-based", [1, 2, 3]), ("label", [2, 5, 9])])
def test_the_flag_that_the_hint_names_repairs(tmp_path, space, categories):
    source = results(tmp_path, *(row(category=category) for category in categories), id_space=space)
    assert source.category.tolist() == [0, 1, 2]


def test_unknown_categories_can_be_dropped(tmp_path):
    path = written(tmp_path / "r.json", [row(category=77), row(category=5)])
    source = coco.predictions(coco_json.read_results(path), Request("pred", ANIMALS), "r", unknown="drop")
    assert source.category.tolist() == [1]
    assert source.ids.tolist() == [1]
    assert any("1 detections" in note for note in source.notes)


MASK_MISTAKES = {
    "too short": ({"size": list(SIZE), "counts": "0"}, FormatError, "SB102", "do not add up"),
    "bad character": ({"size": list(SIZE), "counts": "1 2"}, FormatError, "SB102", "character"),
    "transposed": ({"size": list(SIZE[::-1]), "counts": rle(mask(0, 0, 1, 1))["counts"]}, ShapeError, "SB104", "[height, width]"),
    "half size": (rle(mask(0, 0, 1, 1, (3, 4))), ShapeError, "SB101", "3x4"),
    "flat polygon": ([1, 1, 1, 3, 4, 3], FormatError, "SB170", "[[x, y, x, y, ...]]"),
    "two points": ([[1, 1, 2, 2]], FormatError, "SB170", "4 numbers"),
    "odd polygon": ([[1, 1, 2, 2, 3, 3, 4]], FormatError, "SB170", "7 numbers"),
    "huge polygon": ([[1, 1, 2, 2, 3, 1e12]], FormatError, "SB170", "100000"),
    "list that is too long": ({"size": list(SIZE), "counts": [40, 9]}, FormatError, "SB102", "49"),
    "negative list": ({"size": list(SIZE), "counts": [50, -2]}, FormatError, "SB102", ">= 0"),
}


@pytest.mark.parametrize("mistake", MASK_MISTAKES)
@pytest.mark.parametrize("side", ["pred", "gt"])
def test_mistakes_in_masks(tmp_path, mistake, side):
    segmentation, error, code, words = MASK_MISTAKES[mistake]
    if side == "pred":
        source = results(tmp_path, row(1), row(2), row(2, segmentation=segmentation))
    else:
        source = ground_truth(tmp_path, truth(annotation(5), annotation(8, 2, segmentation=segmentation)))
    with pytest.raises(error) as caught:
        source.read((2,), np.array([SIZE], np.int32))
    assert caught.value.code == code
    assert words in str(caught.value)
    assert ("detection 2 (image 2)" if side == "pred" else "annotation 8 (image 2)") in str(caught.value)


TRUTH_MISTAKES = {
    "image twice": (truth(images=(1, 1)), PairingError, "SB120", "image 1 is listed twice"),
    "stray annotation": (truth(annotation(3, image=9)), PairingError, "SB132", "annotation 3 belongs to image 9"),
    "unknown category": (truth(annotation(3, category=4)), LabelError, "SB110", "4"),
    "other names": (truth(categories=[{"id": 2, "name": "sheep"}]), LabelError, "SB111", "leave --dataset out"),
    "no images": ({"annotations": []}, FormatError, None, "images"),
    "three box numbers": (truth(annotation(bbox=[1, 2, 3])), FormatError, "SB172", "annotation 1 has 3 numbers"),
    "neither": (truth(annotation(bbox=None, segmentation=[])), FormatError, "SB172", "neither masks nor boxes"),
}


@pytest.mark.parametrize("mistake", TRUTH_MISTAKES)
def test_mistakes_in_ground_truth(tmp_path, mistake):
    document, error, code, words = TRUTH_MISTAKES[mistake]
    with pytest.raises(error) as caught:
        ground_truth(tmp_path, document)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "gt.json" in str(caught.value)


def test_two_categories_of_one_id(tmp_path):
    document = truth(categories=[{"id": 2, "name": "cat"}, {"id": 2, "name": "lynx"}])
    with pytest.raises(FormatError, match=r"cat.*lynx"):
        coco.truth_dataset(written(tmp_path / "gt.json", document))


def test_some_annotations_without_a_mask(tmp_path):
    source = ground_truth(tmp_path, truth(annotation(5), annotation(8, segmentation=[])))
    with pytest.raises(FormatError, match=r"annotation 8 .image 1.*no mask") as caught:
        source.read((1,))
    assert "bbox/*" in caught.value.hint
    assert source.read((1,), masks=False).masks is None


def test_fields_that_may_be_missing(tmp_path):
    bare = annotation()
    for name in ("iscrowd", "area", "id", "bbox"):
        del bare[name]
    source = ground_truth(tmp_path, truth(bare))
    batch = source.read((1,))
    assert batch.areas.tolist() == [-1]
    assert batch.ids.tolist() == [NO_ID]
    assert batch.flags.tolist() == [0]
    assert any("area" in note for note in source.notes)


@pytest.mark.parametrize("text", ["", "[", '[{"image_id": 1,', "{}", '{"annotations": 3}', '[{"image_id": 1}] x', "null", "3"])
def test_files_that_are_no_results(tmp_path, text):
    with pytest.raises(FormatError):
        coco_json.read_results(written(tmp_path / "r.json", text))


def test_nan_in_json(tmp_path):
    text = json.dumps([row(score=float("nan"))])
    with pytest.raises(FormatError, match="NaN") as caught:
        coco_json.read_results(written(tmp_path / "r.json", text))
    assert caught.value.code == "SB140"


def test_scores_that_hardly_rank(tmp_path):
    assert any("SB140" in note for note in results(tmp_path, row(score=60), row(score=70)).notes)
    assert any("SB141" in note for note in results(tmp_path, row(), row()).notes)
    assert results(tmp_path, row(score=0.1), row(score=0.2)).notes == ()


def test_masks_written_along_the_rows(tmp_path):
    rows = []
    for left in range(4):
        pixels = mask(left, 1, 4, 2)
        wrong = {"size": list(SIZE), "counts": naive.string_of(naive.counts_of(pixels.T))}
        rows.append(row(1, segmentation=wrong, bbox=[left, 1, 4, 2]))
    with pytest.raises(FormatError, match="along the rows") as caught:
        results(tmp_path, *rows).read((1,), np.array([SIZE], np.int32))
    assert caught.value.code == "SB103"


@pytest.mark.parametrize("ids", [["1", "2"], ["000001", "000002"], ["000001.jpg", "000002.jpg"], ["set/000002.jpg", "set/000001.jpg"]])
def test_image_ids_in_another_form(tmp_path, ids):
    gt = ground_truth(tmp_path, truth())
    pred = by_image_name(results(tmp_path, *(row(image, score=int(image.strip("set/.jpg")[-1]) / 4) for image in ids)), gt)
    assert pred.keys == (1, 2)
    assert pred.read((2,)).scores.tolist() == [0.5]
    assert any("SB122" in note for note in pred.notes)


def test_image_ids_that_mean_nothing_stay(tmp_path):
    gt = ground_truth(tmp_path, truth())
    for ids in (["7", "8"], ["1", "000001"], ["1", "x"]):
        pred = results(tmp_path, *(row(image) for image in ids))
        assert by_image_name(pred, gt) is pred
    usual = results(tmp_path, row(1), row(3))
    assert by_image_name(usual, gt) is usual


def test_the_root_category_of_roboflow(tmp_path):
    categories = [{"id": 0, "name": "zoo", "supercategory": "none"}]
    categories += [{"id": number, "name": f"c{number}", "supercategory": "zoo"} for number in (1, 2)]
    path = written(tmp_path / "gt.json", truth(annotation(category=1), categories=categories))
    source = coco.open_truth(path, Request("gt", coco.truth_dataset(path)))
    assert any("SB113" in note for note in source.notes)


def test_the_same_in_memory(tmp_path):
    rows, document = [row(1), row(2, 5, bbox=[1, 1, 3, 2])], truth()
    for value, role, source in (
        (rows, "pred", results(tmp_path, *rows)),
        (document, "gt", ground_truth(tmp_path, document)),
    ):
        memory = open_instances(value, Request(role, ANIMALS))
        assert memory.keys == source.keys
        one, other = memory.read(memory.keys), source.read(source.keys)
        for name in ("image", "category", "ids", "scores", "areas", "boxes", "flags"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.masks.spans, other.masks.spans)


def test_dicts_by_image_id():
    value = {
        2: {"masks": np.array([mask(0, 0, 2, 2)]), "labels": [5], "scores": [0.5]},
        1: {"boxes": np.zeros((0, 4)), "labels": [], "scores": []},
    }
    source = open_instances(value, Request("pred", ANIMALS))
    assert source.keys == (1, 2)
    batch = pickle.loads(pickle.dumps(source.part((2,)))).read((2,), np.array([SIZE], np.int32))
    assert batch.category.tolist() == [1]
    assert batch.masks.areas.tolist() == [4]
    assert source.families == ("segm", "bbox", "boundary")
    assert source.fingerprint(1) != source.fingerprint(2)


def test_what_a_path_looks_like(tmp_path):
    documents = {
        "results.json": ([row()], "sniff_results"),
        "empty.json": ([], "sniff_results"),
        "wrapped.json": ({"annotations": [row()]}, "sniff_results"),
        "gt.json": (truth(), "sniff_truth"),
    }
    for name, (document, sniffer) in documents.items():
        path = written(tmp_path / name, document)
        scores = {other: getattr(coco_formats, other)(path)[0] for other in ("sniff_results", "sniff_truth")}
        assert max(scores, key=scores.get) == sniffer
        assert scores[sniffer] > 0.5
    panoptic = written(tmp_path / "panoptic.json", {"images": [], "annotations": [{"image_id": 1, "segments_info": []}]})
    assert coco_formats.sniff_truth(panoptic)[0] == coco_formats.sniff_results(panoptic)[0] == 0


def test_a_folder_with_one_file(tmp_path):
    (tmp_path / "only").mkdir()
    written(tmp_path / "only" / "gt.json", truth())
    assert coco.open_truth(tmp_path / "only", Request("gt", ANIMALS)).keys == (1, 2)
    written(tmp_path / "only" / "other.json", truth())
    with pytest.raises(InputError, match="name the file"):
        coco.open_truth(tmp_path / "only", Request("gt", ANIMALS))
