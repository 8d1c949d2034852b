"""Panoptic files and arrays: every layout gives the same segments, and every bad input says what is wrong and where."""

from __future__ import annotations

import json
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segbench.adapters.base import Request, Source
from segbench.adapters.panoptic import maps as panoptic_maps
from segbench.adapters.panoptic.coco import COCO_PANOPTIC, categories_dataset, open_panoptic_json, sniff
from segbench.adapters.panoptic.maps import BITMASK, CHANNELS, DIVIDED, INSTANCE_IDS, POINT_LABELS, TWO_CHANNEL
from segbench.adapters.panoptic.memory import open_panoptic_arrays
from segbench.adapters.panoptic.parts import merged_parts, write_coco_panoptic
from segbench.datasets import Dataset, LabelClass, load
from segbench.errors import ConfigError, FormatError, InputError, LabelError, PairingError, ShapeError
from segbench.metrics.panoptic.scoring import PanopticAccumulator
from segbench.protocols.panoptic import PANOPTIC

CITY = Dataset(
    name="city",
    label_divisor=1000,
    void_ids=(0,),
    classes=(
        LabelClass(id=3, name="person", isthing=True),
        LabelClass(id=5, name="car", isthing=True),
        LabelClass(id=8, name="road", isthing=False),
        LabelClass(id=9, name="ego", isthing=False, ignore=True),
    ),
)
IDS = np.array([[0, 0, 1, 1, 1, 4], [2, 2, 2, 3, 3, 4]])
CLASS_OF = {1: 3, 2: 5, 3: 8, 4: 9}
SEGMENTS = [{"id": key, "category_id": label} for key, label in CLASS_OF.items()]


def colours(ids):
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)


def write(folder, segments=SEGMENTS, ids=IDS, name="preds", categories=True, **more):
    """One image as panoptic JSON and PNG; the JSON."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours(np.asarray(ids))).save(folder / name / "7.png")
    document = {"annotations": [{"image_id": 7, "file_name": "7.png", "segments_info": segments, **more}]}
    if categories:
        document["categories"] = [{"id": row.id, "name": row.name, "isthing": int(row.isthing)} for row in CITY.classes]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def drawn(source):
    """What a source says: `{key: [(class of each pixel)], areas and crowds of the evidence}`, whatever the ids are."""
    found = {}
    for sample in source.read(source.keys):
        accumulator = PanopticAccumulator(source.dataset if hasattr(source, "dataset") else CITY)
        accumulator.update([sample], [sample])
        table = accumulator.evidence().tables["segments"]
        rows = table["side"] == 0
        found[sample.id] = sorted(zip(*(table[name][rows].tolist() for name in ("class", "area", "crowd")), strict=True))
    return found


EXPECTED = [(0, 3, 0), (1, 3, 0), (2, 2, 0)]


def test_json_and_maps(tmp_path):
    source = open_panoptic_json(write(tmp_path), Request("pred", CITY))
    assert isinstance(source, Source)
    assert drawn(source) == {7: EXPECTED}
    assert list(source.keys) == [7]
    assert source.file(7).endswith("preds/7.png")
    assert source.said == f"1 prediction read as panoptic JSON and RGB maps in {tmp_path / 'preds'}, label ids of city, void 0"
    again = pickle.loads(pickle.dumps(source.part([7])))
    assert drawn(again) == {7: EXPECTED}
    assert (
        again.fingerprint(7) == source.fingerprint(7) == open_panoptic_json(tmp_path / "preds.json", Request("pred", CITY)).fingerprint(7)
    )
    assert sniff(tmp_path / "preds.json")[0] > 0.9
    assert sniff(tmp_path / "preds")[0] > 0.8
    assert COCO_PANOPTIC.open(tmp_path / "preds", Request("pred", CITY)).keys == (7,)


def test_fingerprints_see_the_table_too(tmp_path):
    first = open_panoptic_json(write(tmp_path), Request("pred", CITY)).fingerprint(7)
    other = [dict(row, category_id=3) if row["id"] == 2 else row for row in SEGMENTS]
    assert open_panoptic_json(write(tmp_path, other), Request("pred", CITY)).fingerprint(7) != first


def test_the_maps_may_lie_elsewhere(tmp_path):
    write(tmp_path).rename(tmp_path / "predictions.json")
    assert drawn(open_panoptic_json(tmp_path / "predictions.json", Request("pred", CITY))) == {7: EXPECTED}
    (tmp_path / "predictions.json").rename(tmp_path / "preds" / "predictions.json")
    assert drawn(open_panoptic_json(tmp_path / "preds", Request("pred", CITY))) == {7: EXPECTED}
    (tmp_path / "preds" / "7.png").rename(tmp_path / "7.png")
    with pytest.raises(FormatError, match="folder of the panoptic maps is missing") as caught:
        open_panoptic_json(tmp_path / "preds" / "predictions.json", Request("pred", CITY))
    assert caught.value.code == "SB156"


def test_a_table_that_names_the_photograph_means_its_png(tmp_path):
    assert drawn(open_panoptic_json(write(tmp_path, file_name="7.jpg"), Request("pred", CITY))) == {7: EXPECTED}


def test_alpha_must_be_opaque(tmp_path):
    path = write(tmp_path)
    rgba = np.concatenate((colours(IDS), np.full((*IDS.shape, 1), 255, np.uint8)), 2)
    Image.fromarray(rgba).save(tmp_path / "preds/7.png")
    assert drawn(open_panoptic_json(path, Request("pred", CITY))) == {7: EXPECTED}
    Image.fromarray(rgba - 1).save(tmp_path / "preds/7.png")
    assert refusal(path).code == "SB164"


def refusal(path, role="pred"):
    with pytest.raises(InputError) as caught:
        list((source := open_panoptic_json(path, Request(role, CITY))).read(source.keys))
    assert caught.value.hint
    assert caught.value.files
    return caught.value


@pytest.mark.parametrize("image", [IDS.astype(np.uint8), IDS.astype(np.uint16)], ids=["grey", "16 bits"])
def test_maps_with_one_channel_are_refused(tmp_path, image):
    path = write(tmp_path)
    Image.fromarray(image).save(tmp_path / "preds/7.png")
    assert refusal(path).code == "SB154"


def test_16_bit_colours_are_refused(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    path = write(tmp_path)
    head = chunk(b"IHDR", struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(7)))
    (tmp_path / "preds/7.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b""))
    assert refusal(path).code == "SB165"


@pytest.mark.parametrize(
    ("segments", "code", "count", "message"),
    [
        ([*SEGMENTS, {"id": 2, "category_id": 3}], "SB152", 1, "listed with two categories"),
        ([*SEGMENTS, {"id": 0, "category_id": 3}], "SB153", 1, "1 segment with an id that no map can hold: 0 means void"),
        ([*SEGMENTS, {"id": 2**24, "category_id": 3}, {"id": -4, "category_id": 3}], "SB153", 2, "2 segments with an id that no map"),
        ([*SEGMENTS, {"id": 2**70, "category_id": 3}], "SB153", 1, "impossible id"),
        ([*SEGMENTS, {"id": 6, "category_id": 77}, {"id": 7, "category_id": 78}], "SB110", 2, "'label': 77, 78"),
        ([*SEGMENTS, {"id": 6}], "SB150", 1, "segment 6 has no category_id"),
    ],
)
def test_bad_tables_are_counted_and_named(tmp_path, segments, code, count, message):
    found = refusal(write(tmp_path, segments))
    assert message in found.message
    assert found.count >= count
    assert found.code == code
    assert str(tmp_path / "preds.json") in str(found)


def test_a_segment_listed_twice_alike_is_one(tmp_path):
    source = open_panoptic_json(write(tmp_path, [*SEGMENTS, SEGMENTS[0]]), Request("pred", CITY))
    assert drawn(source) == {7: EXPECTED}
    assert next(source.read([7])).segment_ids.tolist() == [1, 2, 3, 4]


def test_an_image_listed_twice_is_refused(tmp_path):
    path = write(tmp_path)
    document = json.loads(path.read_text())
    document["annotations"] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(PairingError) as caught:
        open_panoptic_json(path, Request("pred", CITY))
    assert caught.value.code == "SB120"


@pytest.mark.parametrize("name", ["../7.png", "/etc/passwd", "a/../../7.png", "..\\7.png", "C:\\7.png", "a\0b.png"])
def test_file_names_stay_in_the_folder(tmp_path, name):
    found = refusal(write(tmp_path, file_name=name))
    assert found.code == "SB192"


def test_missing_maps_are_counted(tmp_path):
    path = write(tmp_path)
    (tmp_path / "preds/7.png").unlink()
    found = refusal(path)
    assert (found.code, found.count) == ("SB156", 1)
    assert "7.png" in str(found)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"annotations": 3}',
        b'{"annotations": [{"segments_info": [{"id": "x"}]}]}',
        b'{"annotations": [{"segments_info": [{"id": 1, "category_id": 3, "area": 1e300}]}]}',
        b"\xff\xfe",
    ],
)
def test_other_json_is_refused(tmp_path, content):
    path = tmp_path / "preds.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not a panoptic JSON"):
        open_panoptic_json(path, Request("pred", CITY))


def test_ground_truth_in_train_ids_is_recognised_by_its_categories(tmp_path):
    city = load("cityscapes")
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 13}]
    path = write(tmp_path, segments, [[1, 2, 2]], categories=False)
    document = json.loads(path.read_text())
    document["categories"] = [{"id": index, "name": name, "isthing": 0} for index, name in enumerate(city.names)]
    path.write_text(json.dumps(document))
    source = open_panoptic_json(path, Request("gt", city))
    assert [city.names[index] for index in next(source.read([7])).classes] == ["road", "car"]
    assert "train ids of cityscapes" in source.said
    asked = open_panoptic_json(path, Request("gt", city, "train"))
    assert asked.said == source.said


def test_categories_make_a_data_set(tmp_path):
    dataset = categories_dataset(write(tmp_path))
    assert dataset.names == ("person", "car", "road", "ego")
    assert dataset.isthing == (True, True, False, False)
    assert categories_dataset(write(tmp_path, categories=False)) is None
    path = write(tmp_path)
    document = json.loads(path.read_text())
    document["categories"].append(document["categories"][0])
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="same id"):
        categories_dataset(path)


def instances(ids):
    """Class and instance of every pixel of IDS: two cars apart, ids of one class counted from 1."""
    labels = np.vectorize(lambda key: CLASS_OF.get(key, 0))(ids)
    return labels, np.where(np.isin(ids, [1, 2]), 1, 0)


def test_self_contained_maps_hold_the_same_segments(tmp_path):
    labels, numbers = instances(IDS)
    zero = np.zeros_like(labels)
    files = {
        CHANNELS: np.stack([labels, numbers, zero], -1).astype(np.uint8),
        TWO_CHANNEL: np.stack([labels, numbers, zero], -1).astype(np.uint8),
        BITMASK: np.stack([labels, zero, zero, numbers], -1).astype(np.uint8),
        INSTANCE_IDS: np.where(numbers, labels * 1000 + numbers, labels).astype(np.uint16),
        DIVIDED: (labels * 1000 + numbers).astype(np.uint16),
    }
    for entry, values in files.items():
        folder = tmp_path / entry.name
        folder.mkdir()
        Image.fromarray(values).save(folder / "a_instanceIds.png")
        source = entry.open(folder, Request("gt", CITY))
        assert isinstance(source, Source)
        assert drawn(source) == {"a": EXPECTED}, entry.name
        assert entry.sniff(folder)[0] > 0
        assert pickle.loads(pickle.dumps(source.part(["a"]))).fingerprint("a") == source.fingerprint("a")
        assert "1 ground truth read" in source.said
    points = tmp_path / "points"
    points.mkdir()
    (labels | numbers << 16).astype("<u4").tofile(points / "a.label")
    assert drawn(POINT_LABELS.open(points, Request("gt", CITY))) == {"a": EXPECTED}
    assert POINT_LABELS.sniff(points)[0] > 0.5


def test_groups_are_crowds_in_ground_truth_only(tmp_path):
    Image.fromarray(np.array([[5, 5, 5001, 8]], np.uint16)).save(tmp_path / "a_gtFine_instanceIds.png")
    assert drawn(INSTANCE_IDS.open(tmp_path, Request("gt", CITY))) == {"a": [(1, 1, 0), (1, 2, 1), (2, 1, 0)]}
    assert drawn(INSTANCE_IDS.open(tmp_path, Request("pred", CITY))) == {"a": [(1, 1, 0), (1, 2, 0), (2, 1, 0)]}
    flags = tmp_path / "flags"
    flags.mkdir()
    Image.fromarray(np.array([[[5, 2, 0, 1], [5, 1, 0, 2], [8, 0, 0, 0]]], np.uint8)).save(flags / "a.png")
    assert drawn(BITMASK.open(flags, Request("gt", CITY))) == {"a": [(1, 1, 1), (2, 1, 0)]}


def test_values_below_the_divisor_are_classes_where_class_0_has_no_instances(tmp_path):
    Image.fromarray(np.array([[0, 8, 5001, 5001]], np.uint16)).save(tmp_path / "a.png")
    source = DIVIDED.open(tmp_path, Request("pred", CITY))
    assert drawn(source) == {"a": [(1, 2, 0), (2, 1, 0)]}
    assert source.said == "1 prediction read as instance-ids panoptic maps, label ids of city"
    birds = Dataset(name="birds", label_divisor=256, classes=(LabelClass(id=0, name="bird", isthing=True),))
    Image.fromarray(np.array([[1, 2, 2]], np.uint16)).save(tmp_path / "a.png")
    found = next(DIVIDED.open(tmp_path, Request("pred", birds)).read(["a"]))
    assert found.segment_ids.tolist() == [1, 2]
    assert found.classes.tolist() == [0, 0]


def test_three_channels_count_beyond_a_byte(tmp_path):
    Image.fromarray(np.array([[[5, 1, 44], [5, 0, 44], [5, 1, 44]]], np.uint8)).save(tmp_path / "a.png")
    assert drawn(CHANNELS.open(tmp_path, Request("pred", CITY))) == {"a": [(1, 1, 0), (1, 2, 0)]}


def test_arrays_of_class_and_instance(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[5, 1], [8, 0]]], np.uint8))
    assert drawn(CHANNELS.open(tmp_path, Request("pred", CITY))) == {"a": [(1, 1, 0), (2, 1, 0)]}


@pytest.mark.parametrize(
    ("entry", "values", "code"),
    [
        (CHANNELS, np.zeros((2, 2), np.uint8), "SB154"),
        (BITMASK, np.zeros((2, 2, 3), np.uint8), "SB154"),
        (DIVIDED, np.zeros((2, 2), np.uint8), "SB163"),
        (DIVIDED, np.zeros((2, 2, 3), np.uint8), "SB154"),
        (DIVIDED, np.full((2, 2), 61000, np.uint16), "SB110"),
    ],
)
def test_maps_of_another_kind_are_refused(tmp_path, entry, values, code):
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(InputError) as caught:
        next(entry.open(tmp_path, Request("pred", CITY)).read(["a"]))
    assert caught.value.code == code
    assert caught.value.hint


def test_damaged_points(tmp_path):
    (tmp_path / "a.label").write_bytes(b"12345")
    with pytest.raises(FormatError, match="4 bytes per point"):
        POINT_LABELS.open(tmp_path, Request("pred", CITY))


def test_a_divisor_is_needed(tmp_path):
    Image.fromarray(np.zeros((1, 1), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="instance ids are divided"):
        DIVIDED.open(tmp_path, Request("pred", load("coco_panoptic")))
    with pytest.raises(FormatError, match="no panoptic maps"):
        POINT_LABELS.open(tmp_path, Request("pred", CITY))


def test_sniffing_gives_up_quietly(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no png")
    assert panoptic_maps.sniff_maps(tmp_path, "channels") == (0.0, "")
    assert panoptic_maps.sniff_maps(tmp_path / "none", "points") == (0.0, "")
    assert sniff(tmp_path) == (0.0, "")
    assert sniff(tmp_path / "none.json") == (0.0, "")


@pytest.mark.parametrize(
    "items",
    [
        {7: (IDS, SEGMENTS)},
        {7: {"segmentation": IDS.astype(np.int32), "segments_info": SEGMENTS}},
        {7: {"panoptic_seg": (IDS, SEGMENTS)}},
        {7: (colours(IDS), SEGMENTS)},
        {7: (IDS.astype(float), SEGMENTS)},
        {7: {"map": np.where(IDS == 0, -1, IDS), "segments": SEGMENTS}},
    ],
)
def test_in_memory(items):
    source = open_panoptic_arrays(items, Request("pred", CITY))
    assert isinstance(source, Source)
    assert drawn(source) == {7: EXPECTED}
    assert drawn(pickle.loads(pickle.dumps(source.part([7])))) == {7: EXPECTED}
    assert source.fingerprint(7) == source.part([7]).fingerprint(7)


def test_transformers_tables_hold_class_indices_and_may_start_at_zero():
    ids = np.where(IDS == 0, -1, IDS - 1)
    segments = [{"id": 0, "label_id": 0, "was_fused": False, "score": 0.9}, {"id": 1, "label_id": 1}, {"id": 2, "label_id": 2}]
    ids[ids == 3] = -1
    source = open_panoptic_arrays([{"segmentation": ids, "segments_info": segments}], Request("pred", CITY))
    assert drawn(source) == {0: EXPECTED}
    assert source.said == "1 panoptic map in memory, contiguous ids"
    nothing = open_panoptic_arrays([{"segmentation": np.full((2, 2), -1.0), "segments_info": []}], Request("pred", CITY))
    assert drawn(nothing) == {0: []}


def test_fused_tables_of_transformers_are_named():
    segments = [{"id": 1, "label_id": 0}, {"id": 2, "label_id": 1}, {"id": 2, "label_id": 2}]
    with pytest.raises(LabelError, match="listed with two categories") as caught:
        open_panoptic_arrays([(IDS, segments)], Request("pred", CITY))
    assert caught.value.code == "SB152"
    assert "label_ids_to_fuse" in str(caught.value)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (IDS, "no pair"),
        ({"segmentation": IDS}, "no pair"),
        ((IDS, [{"id": 1}]), "not described"),
        ((IDS, [3]), "not described"),
        ((IDS + 0.5, []), "not segment ids"),
        ((np.zeros((2, 2, 2, 2), int), []), "shape"),
    ],
)
def test_other_things_in_memory_are_refused(item, message):
    with pytest.raises(InputError, match=message):
        open_panoptic_arrays([item], Request("pred", CITY))


def test_parts_are_merged_by_score_and_stuff_fills_what_is_free():
    semantic = np.array([[2, 2, 2, 0], [2, 2, 2, 2]])
    masks = np.zeros((4, 2, 4), bool)
    masks[0, :, 3] = True  # the best: whole
    masks[1, :, 2:] = True  # half of it is covered: the rest is kept
    masks[2, 0, 3] = True  # all of it is covered: left out
    masks[3, 1, 0] = True  # below the confidence
    found = merged_parts(0, semantic, masks, [0, 1, 0, 1], [0.9, 0.8, 0.7, 0.3], CITY, stuff_area_px=4)
    assert found.values.tolist() == [[3, 3, 2, 1], [3, 3, 2, 1]]
    assert found.classes.tolist() == [0, 1, 2]
    assert merged_parts(0, semantic, masks[:0], [], [], CITY).values.tolist() == [[0] * 4] * 2  # 7 pixels of stuff are too few
    with pytest.raises(LabelError, match="no thing"):
        merged_parts(0, semantic, masks, [2] * 4, [1.0] * 4, CITY)
    with pytest.raises(ShapeError):
        merged_parts(0, semantic[:1], masks, [0] * 4, [1.0] * 4, CITY)


def test_what_is_written_reads_back(tmp_path):
    source = open_panoptic_json(write(tmp_path), Request("gt", CITY))
    path = write_coco_panoptic(source.read([7]), CITY, tmp_path / "out/again.json")
    again = open_panoptic_json(path, Request("gt", categories_dataset(path)))
    assert drawn(again) == {7: EXPECTED}
    assert next(again.read([7])).areas.tolist() == [3, 3, 2]
    memory = open_panoptic_arrays({"a/b": (np.where(IDS == 0, -1, IDS), SEGMENTS)}, Request("pred", CITY))
    path = write_coco_panoptic(memory.read(["a/b"]), CITY, tmp_path / "out/memory.json")
    pred = open_panoptic_json(path, Request("pred", CITY))
    accumulator = PanopticAccumulator(CITY)
    accumulator.update([next(pred.read(["a/b"]))], [next(memory.read(["a/b"]))])
    assert accumulator.compute(PANOPTIC[0]).metrics["panoptic/pq"] == 1.0
    with pytest.raises(ShapeError, match="points"):
        write_coco_panoptic(open_panoptic_arrays([(IDS[0], [])], Request("pred", CITY)).read([0]), CITY, tmp_path / "p.json")


def test_maps_of_class_and_number_without_segments():
    """detectron2's Panoptic-DeepLab: (map, None), class index * label_divisor + number, -1 for nothing."""
    ids = np.array([[-1, 0, 0, 1000, 1001, 1001], [2000, 2000, -1, 1000, 1000, 1000]])
    for item in ((ids, None), {"panoptic_seg": (ids, None)}):
        assert drawn(open_panoptic_arrays([item], Request("pred", CITY))) == {0: [(0, 2, 0), (1, 2, 0), (1, 4, 0), (2, 2, 0)]}
    with pytest.raises(FormatError, match="no label_divisor"):
        open_panoptic_arrays([(ids, None)], Request("pred", load("coco_panoptic")))


def test_areas_that_are_no_numbers_of_pixels():
    for area, expected in ((None, -1), (-1, -2), (4.0, 4), (4.5, -2), (-3, -2), (float("nan"), None), (float("inf"), None)):
        rows = [{"id": 1, "category_id": 3, "area": area}]
        if expected is None:
            with pytest.raises(LabelError, match=r"the area of a segment is no number: (nan|inf)"):
                open_panoptic_arrays([(IDS, rows)], Request("gt", CITY))
        else:
            assert next(open_panoptic_arrays([(IDS, rows)], Request("gt", CITY)).read([0])).areas.tolist() == [expected]
    sample = next(open_panoptic_arrays([(IDS * 0 + 1, [{"id": 1, "category_id": 3, "area": 4.5}])], Request("gt", CITY)).read([0]))
    accumulator = PanopticAccumulator(CITY)
    accumulator.update([sample], [sample])
    for rules in PANOPTIC:
        if rules.rules.stated_areas == "recount":
            assert accumulator.compute(rules).metrics["panoptic/pq"] == 1.0
        else:
            with pytest.raises(InputError, match=r"no whole number|wrong area"):
                accumulator.compute(rules)
