"""Instances in files of frameworks and benchmarks: each format gives the same instances, and says what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import segbench
from segbench import datasets, protocols
from segbench.adapters.base import Request
from segbench.adapters.instance import formats
from segbench.adapters.instance.maps import MAPS, runs_of
from segbench.adapters.instance.memory import batch_of
from segbench.adapters.instance.voc_objects import VOC
from segbench.errors import ConfigError, FormatError, InputError, LabelError
from segbench.instances import CROWD
from segbench.metrics.instance.scoring import InstanceAccumulator, scores
from tests import naive_instance as naive
from tests.test_instance import box_mask

SIZE = (20, 30)
STREET = datasets.Dataset(
    name="street",
    tasks=("instance",),
    label_divisor=1000,
    void_ids=(0,),
    classes=(
        datasets.LabelClass(id=7, name="road", isthing=False),
        datasets.LabelClass(id=24, name="person", isthing=True),
        datasets.LabelClass(id=26, name="car", isthing=True),
    ),
)
FIRST, SECOND = box_mask(SIZE, 2, 3, 6, 5), box_mask(SIZE, 15, 10, 8, 7)
SIZES = np.array([SIZE], np.int32)


def opened(entry, path, role="pred", dataset=STREET, **options):
    return entry.open(path, Request(role, dataset, **options))


def png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def polygon(left, top, width, height):
    points = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    return " ".join(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in points)


@pytest.fixture
def folders(tmp_path):
    """The same two detections in every format, in one folder each."""
    masks = np.array([FIRST, SECOND])
    city = tmp_path / "city"
    for index, mask in enumerate(masks):
        png(city / "masks" / f"a_{index}.png", mask.astype(np.uint8) * 255)
    (city / "a.txt").write_text("masks/a_0.png 24 0.75\n# note\nmasks/a_1.png 26 0.5\n")
    yolo = tmp_path / "yolo"
    yolo.mkdir()
    (yolo / "a.txt").write_text(f"1 {polygon(2, 3, 6, 5)} 0.75\n2 {polygon(15, 10, 8, 7)} 0.5\n")
    archive = tmp_path / "npz"
    archive.mkdir()
    np.savez(archive / "a.npz", masks=masks, labels=[24, 26], scores=[0.75, 0.5])
    sam = tmp_path / "sam"
    sam.mkdir()
    rows = [
        {"segmentation": {"size": list(SIZE), "counts": naive.counts_of(mask.astype(np.uint8))}, "predicted_iou": score, "area": 3}
        for mask, score in zip(masks, (0.75, 0.5), strict=True)
    ]
    (sam / "a.json").write_text(json.dumps({"image": {"height": SIZE[0]}, "annotations": rows}))
    return {"cityscapes-instances": city, "yolo-polygons": yolo, "instance-npz": archive, "sam-json": sam}


FORMATS = {entry.name: entry for entry in (formats.CITYSCAPES, formats.YOLO, formats.SAM, formats.ARCHIVE)}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same(folders, name):
    path = folders[name]
    sure = {other: entry.sniff(path)[0] for other, entry in FORMATS.items()}
    assert max(sure, key=sure.get) == name
    assert sure[name] > 0.5
    source = opened(FORMATS[name], path)
    assert source.keys == ("a",)
    assert source.has_masks
    for one in (source, pickle.loads(pickle.dumps(source.part(("a",))))):
        batch = one.read(("a",), SIZES)
        assert batch.category.tolist() == ([0, 0] if name == "sam-json" else [1, 2])
        assert batch.scores.tolist() == [0.75, 0.5]
        assert batch.masks.areas.tolist() == [30, 56]
        assert batch.masks.boxes.tolist() == [[2, 3, 6, 5], [15, 10, 8, 7]]
    assert len(source.fingerprint("a")) == 32
    assert "1 images" in source.said
    assert source.file("a").endswith(("a.txt", "a.npz", "a.json"))


def test_maps_of_instances(tmp_path):
    values = np.zeros(SIZE, np.uint16)
    values[:] = 7
    values[FIRST] = 24001
    values[SECOND] = 26002
    values[0, :4] = 26  # a group of cars
    png(tmp_path / "a_gtFine_instanceIds.png", values)
    png(tmp_path / "a_gtFine_labelIds.png", values.astype(np.uint8))
    assert MAPS.sniff(tmp_path)[0] > 0
    source = opened(MAPS, tmp_path, "gt")
    assert source.keys == ("a",)
    batch = source.read(("a",))
    assert batch.category.tolist() == [2, 1, 2]
    assert (batch.flags & CROWD).tolist() == [CROWD, 0, 0]
    assert batch.masks.areas.tolist() == [4, 30, 56]
    assert batch.sizes.tolist() == [list(SIZE)]
    with pytest.raises(FormatError, match="no scores") as error:
        opened(MAPS, tmp_path, "pred")
    assert error.value.code == "SB140"


def test_maps_of_one_class(tmp_path):
    values = np.zeros(SIZE, np.uint8)
    values[FIRST], values[SECOND] = 3, 9
    png(tmp_path / "a.png", values)
    batch = opened(MAPS, tmp_path, "gt", datasets.simple(1, names=["nucleus"])).read(("a",))
    assert batch.category.tolist() == [0, 0]
    assert batch.masks.areas.tolist() == [30, 56]
    with pytest.raises(ConfigError, match="label_divisor"):
        opened(MAPS, tmp_path, "gt", datasets.simple(2)).read(("a",))


def test_maps_that_are_wrong(tmp_path):
    png(tmp_path / "narrow" / "a.png", FIRST.astype(np.uint8))
    with pytest.raises(FormatError, match="8-bit") as error:
        opened(MAPS, tmp_path / "narrow", "gt").read(("a",))
    assert error.value.code == "SB163"
    png(tmp_path / "unknown" / "a.png", np.where(FIRST, 50001, 0).astype(np.uint16))
    with pytest.raises(LabelError, match="class 50") as error:
        opened(MAPS, tmp_path / "unknown", "gt").read(("a",))
    assert error.value.code == "SB110"


def voc(folder, objects, classes, name="2007_000001"):
    png(folder / "SegmentationObject" / f"{name}.png", objects)
    png(folder / "SegmentationClass" / f"{name}.png", classes)


def test_objects_of_voc(tmp_path):
    """An object is of the class that most of its pixels have; its border is void."""
    objects, classes = np.zeros((2, *SIZE), np.uint8)
    objects[FIRST], objects[SECOND] = 1, 2
    classes[FIRST], classes[SECOND] = 15, 7
    classes[tuple(np.argwhere(FIRST)[0])] = 7
    objects[0, :5] = classes[0, :5] = 255
    voc(tmp_path, objects, classes)
    dataset = datasets.load("pascal_voc")
    for path in (tmp_path, tmp_path / "SegmentationObject"):
        assert VOC.sniff(path)[0] > MAPS.sniff(path)[0]
        batch = opened(VOC, path, "gt", dataset).read(("2007_000001",))
        assert [dataset.names[index] for index in batch.category] == ["person", "car"]
        assert batch.masks.areas.tolist() == [30, 56]
        assert batch.void.areas.tolist() == [5]
        assert not batch.flags.any()
    assert VOC.sniff(tmp_path / "SegmentationClass")[0] == 0
    with pytest.raises(FormatError, match="no scores"):
        opened(VOC, tmp_path, "pred", dataset)


def test_objects_of_voc_against_coco_results(tmp_path):
    """Found by themselves, paired by the name of the image."""
    objects, classes = np.where(FIRST, 1, 0).astype(np.uint8), np.where(FIRST, 15, 0).astype(np.uint8)
    voc(tmp_path / "gt", objects, classes)
    counts = naive.string_of(naive.counts_of(FIRST.astype(np.uint8)))
    row = {"image_id": "2007_000001", "category_id": 15, "score": 0.5, "segmentation": {"size": list(SIZE), "counts": counts}}
    (tmp_path / "results.json").write_text(json.dumps([row]))
    result = segbench.evaluate(tmp_path / "results.json", tmp_path / "gt", dataset="pascal_voc")
    assert result.value("segm/ar1") == 1
    assert result.tasks["instance"].protocol["name"] == "coco"


def test_objects_of_voc_that_are_wrong(tmp_path):
    dataset = datasets.load("pascal_voc")
    objects = np.where(FIRST, 1, 0).astype(np.uint8)
    for classes, code in (
        (np.where(FIRST, 99, 0), "SB112"),
        (0 * objects, "SB112"),
        (np.zeros((3, 3)), "SB101"),
        (np.zeros((3, 3, 3)), "SB162"),
    ):
        voc(tmp_path, objects, classes.astype(np.uint8))
        with pytest.raises(InputError) as error:
            opened(VOC, tmp_path, "gt", dataset).read(("2007_000001",))
        assert error.value.code == code
    (tmp_path / "SegmentationClass" / "2007_000001.png").unlink()
    with pytest.raises(FormatError):
        opened(VOC, tmp_path, "gt", dataset).read(("2007_000001",))
    (tmp_path / "SegmentationClass").rmdir()
    with pytest.raises(FormatError, match="SegmentationClass"):
        opened(VOC, tmp_path, "gt", dataset)


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3)))
def test_runs_of_every_value(values):
    distinct, runs = runs_of(values)
    assert distinct.tolist() == sorted(set(values.reshape(-1).tolist()))
    for value, found in zip(distinct, runs, strict=True):
        expected = naive.counts_of((values == value).astype(np.uint8))
        assert (found[:-1] if found[-1] == 0 else found) == expected


MISTAKES = {
    "two parts": ("city", "a.png 24\n", "2 parts", None),
    "outside": ("city", "../../../etc/a.png 24 0.5\n", "outside", "SB192"),
    "half a class": ("city", "a.png 24.5 0.5\n", "'24.5'", "SB110"),
    "class name": ("city", "a.png person 0.5\n", "'person'", "SB110"),
    "score": ("city", "a.png 24 nan\n", "'nan'", "SB140"),
    "box": ("yolo", "0 0.5 0.5 0.1 0.1\n", "a box", None),
    "no confidence": ("yolo", f"0 {polygon(2, 3, 6, 5)}\n", "no confidence", "SB140"),
    "not normalised": ("yolo", "0 10 10 20 10 20 20 0.5\n", "outside 0 to 1", "SB170"),
    "short": ("yolo", "0 0.5\n", "2 values", "SB170"),
    "word": ("yolo", "0 0.5 0.5 x 0.5 0.5 0.5 0.5\n", "'x'", "SB140"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_text(tmp_path, mistake):
    kind, text, words, code = MISTAKES[mistake]
    (tmp_path / "a.txt").write_text(text)
    source = opened(formats.CITYSCAPES if kind == "city" else formats.YOLO, tmp_path)
    with pytest.raises(FormatError, match=words) as error:
        source.read(("a",), SIZES)
    assert error.value.code == code
    assert "a.txt" in str(error.value)


def test_masks_of_cityscapes(folders, tmp_path):
    """Class ids may be written as numbers with a point; a mask stands once, and has one value per pixel."""
    png(tmp_path / "a.png", FIRST.astype(np.uint8) * 255)
    (tmp_path / "a.txt").write_text("a.png 24.0 0.5\n")
    assert opened(formats.CITYSCAPES, tmp_path).read(("a",), SIZES).category.tolist() == [1]
    for text, code in (("a.png 24 0.5\na.png 26 0.5\n", "SB120"), ("colours.png 24 0.5\n", "SB162"), ("gone.png 24 0.5\n", "SB160")):
        png(tmp_path / "colours.png", np.stack([FIRST.astype(np.uint8)] * 3, -1))
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(FormatError) as error:
            opened(formats.CITYSCAPES, tmp_path).read(("a",), SIZES)
        assert error.value.code == code


def test_void_of_maps_and_arrays(tmp_path):
    """Pixels of ignored labels are void, their numbered instances are not."""
    values = np.zeros(SIZE, np.uint16)
    values[FIRST], values[SECOND] = 24001, 29001
    values[0, :4] = 29
    png(tmp_path / "a.png", values)
    city = datasets.load("cityscapes")
    void = opened(MAPS, tmp_path, "gt", city).read(("a",)).void
    assert void.areas.tolist() == [int(np.isin(values, (0, 29)).sum())]
    given = batch_of(["a", "b"], [{"labels": [], "void": FIRST}, {"labels": [], "size": SIZE}], city, "gt")
    assert given.void.areas.tolist() == [30, 0]
    assert given.select([1, 0]).void.areas.tolist() == [0, 30]
    png(tmp_path / "a.png", np.where(FIRST, 50, 0).astype(np.uint16))
    with pytest.raises(LabelError, match="class 50 of value 50"):
        opened(MAPS, tmp_path, "gt", city).read(("a",))


def test_recognised_whatever_stands_first(folders, tmp_path):
    """An image without detections, or a note, may come first; text may begin with a byte order mark."""
    for name, entry in (("cityscapes-instances", formats.CITYSCAPES), ("yolo-polygons", formats.YOLO)):
        folder = tmp_path / name
        shutil.copytree(folders[name], folder)
        (folder / "0.txt").write_text("")
        (folder / "README.txt").write_text("Predictions of the model\n")
        assert entry.sniff(folder)[0] > 0.5
        text = next(folder.glob("a*.txt"))
        text.write_bytes(b"\xef\xbb\xbf" + text.read_bytes())
        assert len(opened(entry, folder).read((text.stem,), SIZES)) == 2


ONE = {"masks": [FIRST], "labels": [24], "scores": [0.5]}
ODD_SAMPLES = {
    "halves as labels": (ONE | {"labels": [24.5]}, "SB110"),
    "no number as label": (ONE | {"labels": [np.nan]}, "SB110"),
    "labels beyond 64 bits": (ONE | {"labels": np.array([2**63], np.uint64)}, "SB110"),
    "another name": (ONE | {"labels": ["unicorn"]}, "SB110"),
    "text as scores": (ONE | {"scores": ["a"]}, "SB140"),
    "complex scores": (ONE | {"scores": [1j]}, "SB140"),
    "two scores": (ONE | {"scores": [0.5, 0.5]}, None),
    "boxes of three": (ONE | {"boxes": [[1, 2, 3]]}, "SB172"),
    "text as ids": (ONE | {"ids": ["a"]}, None),
    "size as text": (ONE | {"masks": [{"size": "x", "counts": "0"}]}, "SB102"),
    "one size": (ONE | {"masks": [{"size": [4], "counts": "0"}]}, "SB102"),
    "negative size": (ONE | {"masks": [{"size": [-4, -4], "counts": "0"}]}, "SB102"),
    "endless size": (ONE | {"masks": [{"size": [2**70, 4], "counts": "0"}]}, "SB102"),
    "no counts": (ONE | {"masks": [{"size": list(SIZE)}]}, "SB102"),
    "null counts": (ONE | {"masks": [{"size": list(SIZE), "counts": None}]}, "SB102"),
    "halves of counts": (ONE | {"masks": [{"size": list(SIZE), "counts": [1.5]}]}, "SB102"),
}


@pytest.mark.parametrize("name", ODD_SAMPLES)
def test_odd_samples(name):
    sample, code = ODD_SAMPLES[name]
    with pytest.raises(InputError) as error:
        batch_of(["a"], [sample], datasets.load("cityscapes"), "pred")
    assert error.value.code == code


def test_labels_by_name():
    city = datasets.load("cityscapes")
    found = batch_of(["a"], [{"masks": [FIRST, SECOND], "labels": ["Person", "train"], "scores": [0.5, 0.5]}], city, "pred")
    assert [city.names[index] for index in found.category] == ["person", "train"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"\xff\xfe"])
@pytest.mark.parametrize(("entry", "ending"), [(formats.ARCHIVE, "npz"), (formats.SAM, "json"), (formats.YOLO, "txt")])
def test_damaged_files(tmp_path, data, entry, ending):
    (tmp_path / f"a.{ending}").write_bytes(data)
    entry.sniff(tmp_path)
    try:
        found = opened(entry, tmp_path).read(("a",), SIZES)
    except FormatError:
        return
    assert ending == "txt"
    assert len(found) == 0


def test_an_archive_with_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([object()]), masks=np.zeros((1, 2, 2)))
    with pytest.raises(FormatError) as error:
        opened(formats.ARCHIVE, tmp_path)
    assert error.value.code == "SB191"


def test_an_archive_of_a_later_version_of_zip_is_recognised_as_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", masks=np.zeros((1, 4, 4), bool), labels=[7], scores=[0.5])
    assert formats.sniff_archive(tmp_path)[0] > 0
    data = (tmp_path / "a.npz").read_bytes()
    at = data.index(b"PK\x01\x02") + 6  # the version that is needed, of the first entry of the directory
    (tmp_path / "a.npz").write_bytes(data[:at] + b"@" + data[at + 1 :])
    assert formats.sniff_archive(tmp_path) == (0.0, "")


def test_an_empty_folder(tmp_path):
    for entry in (*FORMATS.values(), MAPS):
        assert entry.sniff(tmp_path)[0] == 0
        with pytest.raises(FormatError, match="here"):
            opened(entry, tmp_path)


def test_files_against_maps_to_scores(folders, tmp_path):
    values = np.zeros(SIZE, np.uint16)
    values[FIRST], values[SECOND] = 24001, 26001
    png(tmp_path / "gt" / "a.png", values)
    truths = opened(MAPS, tmp_path / "gt", "gt").read(("a",))
    for name in ("cityscapes-instances", "yolo-polygons", "instance-npz"):
        accumulator = InstanceAccumulator(STREET)
        accumulator.update(opened(FORMATS[name], folders[name]).read(("a",), truths.sizes), truths)
        assert scores(accumulator.evidence(), STREET, protocols.load("coco", "instance")).metrics["segm/ap"] == pytest.approx(1)
