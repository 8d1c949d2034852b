"""evaluate() on files: what is read, paired, refused, said, and that no executor changes a bit."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segbench
from segbench import datasets
from segbench import files as disk
from segbench.errors import ConfigError, FormatError, InputError, LabelError, MissingDependencyError, PairingError, ShapeError

STREET = Path(__file__).parent.parent / "fixtures" / "street"
PREDS, GT = STREET / "preds" / "model_a", STREET / "gt"


@pytest.fixture
def folders(tmp_path):
    """Two small pairs of three classes, one prediction pixel wrong."""
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        labels = rng.integers(0, 3, (6, 8)).astype(np.uint8)
        write(tmp_path / "gt" / f"{name}.png", labels)
        labels[0, 0] = (labels[0, 0] + 1) % 3
        write(tmp_path / "preds" / f"{name}.png", labels)
    return tmp_path


def write(path: Path, array: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def run(folder: Path, **options):
    return segbench.evaluate(folder / "preds", folder / "gt", **({"num_classes": 3} | options))


def bits(result) -> bytes:
    """Everything but time and environment."""
    document = json.loads(result.to_json())
    kept = {key: document[key] for key in ("dataset", "predictions", "tasks", "images", "warnings")}
    arrays = {name: array.tobytes() for name, array in result.evidences["semantic"].arrays().items()}
    return json.dumps(kept).encode() + b"".join(arrays[name] for name in sorted(arrays))


def test_fixture_values():
    expected = json.loads((STREET / "expected.json").read_text())["models"]["model_a"]
    result = segbench.evaluate(PREDS, GT)
    for name, value in expected["metrics"].items():
        assert result.value(f"semantic/{name.removeprefix('semantic/')}") == pytest.approx(value, abs=1e-12)
    assert result.evidences["semantic"].rows("pixels")["pixels"].sum() == sum(map(sum, expected["confusion"]))
    assert result.value("semantic/iou/train") is None
    assert result.undefined["semantic/iou/train"] == "neither ground truth nor prediction"


@pytest.mark.parametrize(
    "options",
    [
        {"executor": "serial"},
        {"executor": "threads", "workers": 1},
        {"executor": "threads", "workers": 2},
        {"executor": "threads", "workers": 7},
        {"executor": "processes", "workers": 2},
    ],
    ids=str,
)
def test_executors_give_the_same_bits(options):
    metrics = ["boundary_iou"]
    assert bits(segbench.evaluate(PREDS, GT, metrics=metrics, **options)) == bits(segbench.evaluate(PREDS, GT, metrics=metrics))


def test_any_executor_object():
    with ThreadPoolExecutor(2) as pool:
        assert bits(segbench.evaluate(PREDS, GT, executor=pool)) == bits(segbench.evaluate(PREDS, GT))


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_dask_gives_the_same_bits():
    pytest.importorskip("distributed")
    assert bits(segbench.evaluate(PREDS, GT, executor="dask", workers=2)) == bits(segbench.evaluate(PREDS, GT))


def test_dask_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match="distributed") as caught:
        segbench.evaluate(PREDS, GT, executor="dask")
    assert "segbench[dask]" in caught.value.hint


def test_says_what_it_reads():
    said = []
    segbench.evaluate(PREDS, GT, say=said.append)
    assert any("12 ground truths read as" in text and "street" in text for text in said)
    assert any("12 predictions read as" in text for text in said)


def test_progress_reaches_the_end():
    seen = []
    segbench.evaluate(PREDS, GT, progress=lambda done, total: seen.append((done, total)), workers=2)
    assert seen[0] == (0, 12)
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_limit_and_name():
    result = segbench.evaluate(PREDS, GT, limit=3, name="mine")
    assert result.images["count"] == 3
    assert result.model["name"] == "mine"


def test_classes_are_never_guessed(folders):
    with pytest.raises(LabelError, match="which classes") as caught:
        run(folders, num_classes=None)
    assert "--dataset" in caught.value.hint
    assert caught.value.exit_code == 3


def test_contradicting_class_options(folders):
    with pytest.raises(ConfigError, match="contradict"):
        run(folders, dataset="pascal_voc")
    with pytest.raises(ConfigError, match="--num-classes"):
        run(folders, num_classes=None, ignore_index=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "mmsge"}, "mmseg"),
        ({"metrics": ["bondary_iou"]}, "boundary_iou"),
        ({"missing": "maybe"}, "skip"),
        ({"resize": "bilinear"}, "nearest-exact"),
        ({"executor": "thread"}, "threads"),
        ({"workers": 0}, "at least 1"),
        ({"address": "tcp://x:1"}, "dask"),
        ({"executor": "serial", "workers": 2}, "one worker"),
        ({"cluster": "(a)", "intervals": False}, "--no-intervals"),
        ({"cluster": "nowhere"}, "no label by 'nowhere'"),
        ({"metrics": ["category_iou"]}, "no categories"),
        ({"task": "depth"}, "semantic"),
        ({"format": "label-pgn"}, "label-png"),
        ({"id_space": "train ids"}, "label"),
        ({"num_classes": 0}, "--num-classes"),
        ({"ignore_index": 1}, "class id"),
    ],
)
def test_wrong_options_say_what_to_type(folders, options, words):
    with pytest.raises(ConfigError) as caught:
        run(folders, **options)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_predictions(folders):
    (folders / "preds" / "b.png").unlink()
    with pytest.raises(PairingError, match="no prediction for 1 of 2 ground truths") as caught:
        run(folders)
    assert caught.value.code == "SB130"
    assert str(folders / "gt" / "b.png") in str(caught.value)
    skipped = run(folders, missing="skip")
    assert skipped.images == {"count": 1, "missing": ["b"], "extra": []}
    assert skipped.value("semantic/pixel_accuracy") == 47 / 48
    counted = run(folders, missing="empty")
    assert counted.images["count"] == 2
    assert counted.value("semantic/pixel_accuracy") == 47 / 96


def test_missing_panoptic_predictions(tmp_path):
    classes = datasets.Dataset(
        name="two", classes=tuple(datasets.LabelClass(id=n, name=name, isthing=bool(n)) for n, name in enumerate(("sand", "ball")))
    )
    ids = np.array([[1, 1], [2, 0]], np.uint8)
    table = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
    truth = {1: (ids, table), 2: (ids, table)}
    with pytest.raises(PairingError, match="no prediction for 1 of 2"):
        segbench.evaluate({1: (ids, table)}, truth, dataset=classes, task="panoptic")
    counted = segbench.evaluate({1: (ids, table)}, truth, dataset=classes, task="panoptic", missing="empty")
    assert counted.value("panoptic/pq") == 1 / 1.5
    small = {1: (ids, table), 2: (np.array([[1]], np.uint8), table[:1])}
    resized = segbench.evaluate(small, truth, dataset=classes, task="panoptic", resize="nearest")
    assert resized.images["count"] == 2


def test_extra_predictions(folders):
    write(folders / "preds" / "c.png", np.zeros((6, 8), np.uint8))
    assert "no ground truth for 1 prediction" in run(folders).warnings[0]
    with pytest.raises(PairingError) as caught:
        run(folders, strict=True)
    assert caught.value.code == "SB131"


def test_no_match(folders):
    for name in ("a", "b"):
        (folders / "preds" / f"{name}.png").rename(folders / "preds" / f"x{name}.png")
    with pytest.raises(PairingError) as caught:
        run(folders)
    assert caught.value.code == "SB132"


@pytest.mark.parametrize(
    ("shape", "words"),
    [((8, 6), "transposed"), ((3, 4), "scaled by 1/2"), ((12, 16), "scaled by 2")],
)
def test_sizes(folders, shape, words):
    write(folders / "preds" / "b.png", np.zeros(shape, np.uint8))
    with pytest.raises(ShapeError, match=words) as caught:
        run(folders)
    assert caught.value.code == "SB101"
    assert str(folders / "preds" / "b.png") in str(caught.value)
    for rule in ("nearest", "nearest-exact"):
        assert run(folders, resize=rule).images["count"] == 2


def test_unknown_value_names_file_and_values(folders):
    write(folders / "preds" / "b.png", np.full((6, 8), 77, np.uint8))
    with pytest.raises(LabelError, match="77") as caught:
        run(folders)
    assert str(folders / "preds" / "b.png") in str(caught.value)


def test_binary_mask_of_255(folders):
    for name in ("a", "b"):
        mask = np.zeros((6, 8), np.uint8)
        mask[0] = 255
        write(folders / "preds" / f"{name}.png", mask)
        write(folders / "gt" / f"{name}.png", mask // 255)
    with pytest.raises(LabelError) as caught:
        run(folders, num_classes=2, ignore_index=100)
    assert caught.value.code == "SB112"
    assert "0/255" in caught.value.hint


def test_masks_of_0_and_255_on_both_sides(folders):
    for side in ("preds", "gt"):
        for name in ("a", "b"):
            write(folders / side / f"{name}.png", np.eye(6, 8, dtype=np.uint8) * 255)
    with pytest.raises(LabelError, match="predictions and ground truth hold only 0 and 255: binary masks") as caught:
        run(folders, num_classes=2)
    assert caught.value.code == "SB112"
    assert run(folders, num_classes=2, ignore_index=255).images["count"] == 2


@pytest.mark.parametrize(("side", "words"), [("preds", "predictions hold"), ("gt", "ground truth holds")])
def test_masks_of_0_and_255_on_one_side(folders, side, words):
    for folder in ("preds", "gt"):
        for name in ("a", "b"):
            write(folders / folder / f"{name}.png", np.eye(6, 8, dtype=np.uint8) * (255 if folder == side else 1))
    with pytest.raises(LabelError, match=f"^{words} only 0 and 255") as caught:
        run(folders, num_classes=2)
    assert caught.value.code == "SB112"
    assert run(folders, num_classes=2, ignore_index=255).images["count"] == 2


def test_pickles_are_read_only_where_trusted(folders, tmp_path):
    (tmp_path / "pickled").mkdir()
    for path in (folders / "preds").glob("*.png"):
        np.save(tmp_path / "pickled" / f"{path.stem}.npy", {"masks": np.asarray(Image.open(path))}, allow_pickle=True)
    with pytest.raises(FormatError, match="pickled") as caught:
        segbench.evaluate(tmp_path / "pickled", folders / "gt", num_classes=3)
    assert caught.value.code == "SB191"
    trusted = segbench.evaluate(tmp_path / "pickled", folders / "gt", num_classes=3, trust_pickle=True)
    assert trusted.tasks == run(folders).tasks


def test_scores_in_memory_know_the_number_of_classes():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 40, 20), np.float32)  # either axis could be the classes
    gt = rng.integers(0, 40, (40, 20)).astype(np.uint8)
    assert segbench.evaluate({0: scores}, {0: gt}, num_classes=40).images["count"] == 1


@pytest.mark.parametrize(("array", "code"), [(np.zeros((6, 8, 2), np.uint8), "SB164"), (np.full((6, 8, 4), 9, np.uint8), "SB164")])
def test_alpha_channels(folders, array, code):
    voc = folders / "voc"
    write(voc / "a.png", array)
    write(voc / "b.png", array)
    with pytest.raises(FormatError) as caught:
        segbench.evaluate(voc, folders / "gt", dataset="pascal_voc")
    assert caught.value.code == code


def test_grey_with_alpha_needs_no_palette(folders):
    write(folders / "preds" / "a.png", np.zeros((6, 8, 2), np.uint8))
    with pytest.raises(FormatError, match="a grey image with an alpha channel"):
        run(folders)


@pytest.mark.parametrize("workers", [1, 3])
def test_many_broken_files_are_one_message(tmp_path, workers):
    labels = np.zeros((6, 8), np.uint8)
    for number in range(40):
        write(tmp_path / "gt" / f"{number:02}.png", labels)
        write(tmp_path / "preds" / f"{number:02}.png", labels + 9 if number % 2 else labels)
    (tmp_path / "preds" / "30.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(InputError) as caught:
        run(tmp_path, workers=workers, resize="nearest")
    assert caught.value.count == 20
    assert caught.value.files == [("pred", str(tmp_path / "preds" / f"{number:02}.png")) for number in (1, 3, 5, 7, 9)]
    assert "image 01" in caught.value.message
    assert "the first of 20 such images, whose details differ; and 1 image with other problems" in caught.value.message
    assert "20 in all" in str(caught.value)


def test_many_sizes_are_one_message(tmp_path):
    for number in range(8):
        write(tmp_path / "gt" / f"{number}.png", np.zeros((6, 8), np.uint8))
        write(tmp_path / "preds" / f"{number}.png", np.zeros((8, 6), np.uint8))
    with pytest.raises(ShapeError) as caught:
        run(tmp_path)
    text = str(caught.value)
    assert [text.count(f"{role}:") for role in ("pred", "gt")] == [5, 5]
    assert "... 8 in all" in text


def test_many_broken_headers_are_one_message(tmp_path):
    for number in range(9):
        write(tmp_path / "gt" / f"{number}.png", np.zeros((6, 8), np.uint8))
        write(tmp_path / "preds" / f"{number}.png", np.zeros((6, 8), np.uint8))
        if number in (3, 4, 5, 6, 7):
            path = tmp_path / "preds" / f"{number}.png"
            path.write_bytes(path.read_bytes()[: 20 if number == 3 else 30])
    (tmp_path / "preds" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(FormatError, match="the first of 6 such images") as caught:
        run(tmp_path)
    assert (caught.value.code, caught.value.count, len(caught.value.files)) == ("SB160", 6, 5)


def test_damaged_file_is_named(folders):
    path = folders / "preds" / "b.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="truncated") as caught:
        run(folders)
    assert caught.value.code == "SB160"
    assert str(path) in str(caught.value)


def test_lossy_folder(tmp_path, folders):
    write(tmp_path / "jpg" / "a.jpg", np.zeros((6, 8), np.uint8))
    with pytest.raises(FormatError) as caught:
        segbench.evaluate(tmp_path / "jpg", folders / "gt", num_classes=3)
    assert caught.value.code == "SB161"


def test_no_such_path(folders):
    with pytest.raises(FormatError, match="no such file"):
        segbench.evaluate(folders / "nowhere", folders / "gt", num_classes=3)
    with pytest.raises(InputError, match="no such file"):
        segbench.evaluate(folders / "preds", folders / "nowhere", num_classes=3)


def test_every_container_gives_the_same_numbers(folders, tmp_path):
    wanted = run(folders).tasks
    for suffix in ("tif", "npy", "npz"):
        target = tmp_path / suffix
        target.mkdir()
        for path in (folders / "preds").glob("*.png"):
            labels = np.asarray(Image.open(path))
            if suffix == "npz":
                np.savez_compressed(target / f"{path.stem}.npz", labels=labels)
            elif suffix == "npy":
                np.save(target / f"{path.stem}.npy", labels.astype(np.int64))
            else:
                Image.fromarray(labels.astype(np.uint16)).save(target / f"{path.stem}.tif")
        assert segbench.evaluate(target, folders / "gt", num_classes=3).tasks == wanted


def test_palette_png_keeps_its_indices(folders, tmp_path):
    for path in (folders / "preds").glob("*.png"):
        indexed = Image.fromarray(np.asarray(Image.open(path)))
        indexed.putpalette([7, 7, 7] * 256)
        assert indexed.mode == "P"
        (tmp_path / "p").mkdir(exist_ok=True)
        indexed.save(tmp_path / "p" / path.name)
    assert segbench.evaluate(tmp_path / "p", folders / "gt", num_classes=3).tasks == run(folders).tasks


def test_scores_in_files(folders, tmp_path):
    (tmp_path / "scores").mkdir()
    for path in (folders / "preds").glob("*.png"):
        labels = np.asarray(Image.open(path))
        np.save(tmp_path / "scores" / f"{path.stem}.npy", np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1))
    assert segbench.evaluate(tmp_path / "scores", folders / "gt", num_classes=3).tasks == run(folders).tasks


def test_arrays_in_memory(folders):
    preds = {path.stem: np.asarray(Image.open(path)) for path in sorted((folders / "preds").glob("*.png"))}
    gts = {path.stem: np.asarray(Image.open(path)) for path in sorted((folders / "gt").glob("*.png"))}
    wanted = run(folders)
    assert segbench.evaluate(preds, gts, num_classes=3).tasks == wanted.tasks
    assert segbench.evaluate(list(preds.values()), list(gts.values()), num_classes=3).tasks == wanted.tasks
    assert segbench.evaluate(np.stack(list(preds.values())), np.stack(list(gts.values())), num_classes=3).tasks == wanted.tasks
    assert segbench.evaluate(preds, folders / "gt", num_classes=3).dataset["digest"] == wanted.dataset["digest"]


def test_an_adapter_of_ones_own(folders):
    script = folders / "mine.py"
    script.write_text(
        "import numpy as np\nfrom pathlib import Path\nfrom PIL import Image\n"
        "def read(path):\n"
        "    for file in sorted(Path(path).glob('*.png')):\n"
        "        yield file.stem, np.asarray(Image.open(file))\n"
        "def broken(path):\n    raise KeyError('x')\n"
    )
    assert run(folders, adapter=f"{script}:read").tasks == run(folders).tasks
    with pytest.raises(FormatError, match="failed: KeyError"):
        run(folders, adapter=f"{script}:broken")
    with pytest.raises(ConfigError, match="no function"):
        run(folders, adapter=f"{script}:nothing")
    with pytest.raises(ConfigError, match="no such adapter file"):
        run(folders, adapter="nowhere.py:read")


def test_cityscapes_id_spaces_are_told_apart_or_asked_for(tmp_path):
    city = datasets.load("cityscapes")
    label_of = {index: row.id for index, row in enumerate(city.evaluated)}
    rng = np.random.default_rng(0)
    train = rng.integers(0, 19, (16, 16)).astype(np.uint8)
    labels = np.vectorize(label_of.get)(train).astype(np.uint8)
    stem = "munster_000000_000019"
    write(tmp_path / "gt" / f"{stem}_gtFine_labelIds.png", labels)
    write(tmp_path / "gt" / f"{stem}_gtFine_instanceIds.png", labels)
    write(tmp_path / "train" / f"{stem}_leftImg8bit.png", train)
    write(tmp_path / "label" / f"{stem}.png", labels)
    write(tmp_path / "either" / f"{stem}.png", np.full((16, 16), 7, np.uint8))
    for folder in ("train", "label"):
        result = segbench.evaluate(tmp_path / folder, tmp_path / "gt")  # the preset from the file names
        assert result.dataset["name"] == "cityscapes"
        assert result.value("semantic/pixel_accuracy") == 1.0
    with pytest.raises(LabelError, match="more than one id space") as caught:
        segbench.evaluate(tmp_path / "either", tmp_path / "gt")
    assert "--id-space label or --id-space train" in caught.value.hint
    assert segbench.evaluate(tmp_path / "either", tmp_path / "gt", id_space="label").images["count"] == 1


def test_ade20k_plus_one(tmp_path):
    labels = np.arange(0, 151, dtype=np.uint8).repeat(4).reshape(4, 151)
    write(tmp_path / "gt" / "ADE_val_00000001.png", labels)
    write(tmp_path / "shifted" / "ADE_val_00000001.png", np.maximum(labels, 1) - 1)
    write(tmp_path / "same" / "ADE_val_00000001.png", np.maximum(labels, 1))
    for folder in ("shifted", "same"):
        result = segbench.evaluate(tmp_path / folder, tmp_path / "gt")
        assert result.dataset["name"] == "ade20k_150"
        assert result.value("semantic/pixel_accuracy") == 1.0


def test_rgb_by_palette_and_refusal_where_it_is_ambiguous(tmp_path):
    voc = datasets.load("pascal_voc")
    labels = np.arange(21, dtype=np.uint8).repeat(8).reshape(8, 21)
    colours = np.array([row.color for row in voc.evaluated], np.uint8)[labels]
    write(tmp_path / "gt" / "x.png", labels)
    write(tmp_path / "rgb" / "x.png", colours)
    assert segbench.evaluate(tmp_path / "rgb", tmp_path / "gt", dataset="pascal_voc").value("semantic/miou") == 1.0
    with pytest.raises(FormatError, match="one colour to several classes") as caught:
        segbench.evaluate(tmp_path / "rgb", tmp_path / "gt", dataset="ade20k_150", gt_id_space="label")
    assert caught.value.code == "SB162"
    with pytest.raises(FormatError, match="no palette"):
        segbench.evaluate(tmp_path / "rgb", tmp_path / "gt", num_classes=21)
    colours[0, 0] = (1, 2, 3)
    write(tmp_path / "rgb" / "x.png", colours)
    with pytest.raises(InputError):
        segbench.evaluate(tmp_path / "rgb", tmp_path / "gt", dataset="pascal_voc")


def test_ids_off_by_one_are_suspected(tmp_path):
    labels = np.arange(4, dtype=np.uint8).repeat(8).reshape(4, 8)
    write(tmp_path / "gt" / "x.png", labels)
    write(tmp_path / "preds" / "x.png", np.minimum(labels + 1, 3))
    assert any("SB111" in warning for warning in run(tmp_path, num_classes=4).warnings)


def test_digests(folders, tmp_path):
    first = run(folders)
    copied = tmp_path / "copy"
    shutil.copytree(folders, copied)
    write(copied / "gt" / "a.png", np.asarray(Image.open(folders / "gt" / "a.png")), compress_level=0)
    again = run(copied)
    assert again.dataset["digest"] == first.dataset["digest"]  # the same after re-encoding
    assert again.predictions["digest"] == first.predictions["digest"]
    write(copied / "preds" / "a.png", np.asarray(Image.open(folders / "preds" / "a.png")), compress_level=0)
    assert run(copied).predictions["digest"] != first.predictions["digest"]
    changed = np.asarray(Image.open(folders / "gt" / "a.png")).copy()
    changed[3, 3] = (changed[3, 3] + 1) % 3
    write(copied / "gt" / "a.png", changed)
    assert run(copied).dataset["digest"] != first.dataset["digest"]


def test_the_whole_set_is_checked_before_anything_is_decoded(folders, monkeypatch):
    write(folders / "preds" / "b.png", np.zeros((5, 5), np.uint8))
    decoded = []
    monkeypatch.setattr("segbench.adapters.label_files.read_labels", decoded.append)
    with pytest.raises(ShapeError):
        run(folders)
    assert decoded == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a file that this user may not read")
def test_unreadable_file(folders):
    (folders / "preds" / "a.png").chmod(0)
    with pytest.raises(InputError):
        run(folders)


def test_instances_and_panoptic_maps_in_memory_are_told_apart():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    things = datasets.Dataset(name="one", tasks=("instance", "panoptic"), classes=(datasets.LabelClass(id=1, name="ball", isthing=True),))
    truth = {1: {"masks": [mask], "labels": [1]}}
    preds = {1: {"masks": [mask], "labels": [1], "scores": [0.9]}}
    assert segbench.evaluate(preds, truth, dataset=things).value("segm/ap") == pytest.approx(1.0)
    segments = [{"id": 1, "category_id": 1}]
    assert (
        segbench.evaluate({1: (mask.astype(np.uint8), segments)}, {1: (mask.astype(np.uint8), segments)}, dataset=things).value(
            "panoptic/pq"
        )
        == 1.0
    )


def test_files_read_ahead_come_in_order_and_a_bad_one_does_not_hide_those_before_it(tmp_path, monkeypatch):
    paths = []
    for index, size in enumerate((3, 5, 200, 7, 1, 9)):
        paths.append(str(tmp_path / f"{index}.bin"))
        Path(paths[-1]).write_bytes(bytes([index]) * size)
    for ahead in (1, 8, 1 << 20):
        monkeypatch.setattr(disk, "AHEAD", ahead)
        assert list(disk.read_ahead(paths, 1000)) == [Path(path).read_bytes() for path in paths]
        seen = []
        with pytest.raises(FormatError, match="cannot read the file") as caught:
            seen.extend(len(data) for data in disk.read_ahead([*paths[:4], str(tmp_path / "none.bin"), *paths[4:]], 1000))
        assert caught.value.files[0][1].endswith("none.bin")
        assert seen == [3, 5, 200, 7]


def test_lists_of_different_lengths_are_refused():
    maps = [np.zeros((2, 2), np.uint8)] * 2
    for sides in ((maps, maps[:1]), (maps[:1], maps)):
        with pytest.raises(PairingError, match=r"(?s)a list of .*paired by position"):
            segbench.evaluate(*sides, num_classes=2, task="semantic")
    with pytest.raises(PairingError):
        segbench.evaluate(maps, maps[:1], num_classes=2, missing="skip")
    assert segbench.evaluate(maps[:1], maps, num_classes=2, missing="skip").images["count"] == 1
