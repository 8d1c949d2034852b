"""What people and machines get wrong: every case here was once a wrong number, a hang, a traceback or a message that did not help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segbench
from segbench import cli, datasets, executors
from segbench.adapters.label_files import listed
from segbench.errors import ComparabilityError, ConfigError, FormatError, InputError, SegbenchError
from segbench.metrics.suspicions import interpolated

posix = pytest.mark.skipif(os.name == "nt", reason="pipes, links and signals of POSIX")

FIVE = {
    "schema": "segbench.dataset/1",
    "name": "five",
    "void_ids": [255],
    "classes": [{"id": at, "name": f"class {at}"} for at in range(5)],
}
LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) // 10
SCORES = np.eye(5, dtype=np.float32)[LABELS].transpose(2, 0, 1)


@pytest.fixture
def sides(tmp_path):
    """Two images on both sides, with a description of five classes."""
    for side in ("preds", "gt"):
        (tmp_path / side).mkdir()
        for name in ("a", "b"):
            Image.fromarray(LABELS).save(tmp_path / side / f"{name}.png")
    (tmp_path / "dataset.json").write_text(json.dumps(FIVE))
    return tmp_path


@pytest.fixture
def run(capfd):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def evaluated(folder: Path, **options) -> segbench.Result:
    return segbench.evaluate(folder / "preds", folder / "gt", **options)


def predict(folder: Path, value, name: str = "a") -> None:
    """A prediction in place of the PNG: bytes, or an array."""
    (folder / "preds" / f"{name}.png").unlink()
    if isinstance(value, bytes):
        (folder / "preds" / f"{name}.png").write_bytes(value)
    else:
        np.save(folder / "preds" / f"{name}.npy", value)


def refused(kind: type[SegbenchError], words: str, code: str | None = None):
    """The exception, with the words, that carries the code."""

    class Refused:
        def __enter__(self):
            self.raises = pytest.raises(kind, match=words)
            self.caught = self.raises.__enter__()

        def __exit__(self, *details):
            done = self.raises.__exit__(*details)
            assert code is None or self.caught.value.code == code
            return done

    return Refused()


# Numbers that were wrong without a word.


def test_masks_of_0_and_255_are_refused_with_many_classes(sides):
    for name in ("a", "b"):
        Image.fromarray(((LABELS > 2) * 255).astype(np.uint8)).save(sides / "preds" / f"{name}.png")
    with refused(InputError, "only 0 and 255", "SB112"):
        evaluated(sides)


def test_one_class_and_other_void_is_no_mask(sides):
    (sides / "dataset.json").write_text(json.dumps(FIVE | {"void_ids": [9]}))
    for name in ("a", "b"):
        Image.fromarray(((LABELS > 2) * 9).astype(np.uint8)).save(sides / "preds" / f"{name}.png")
    assert evaluated(sides).value("semantic/miou") is not None


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_scores_of_another_number_of_classes(sides, channels):
    predict(sides, np.zeros((channels, 6, 8), np.float32))
    with refused(InputError, f"{channels} score channels, but 5 classes", "SB181"):
        evaluated(sides)
    with refused(InputError, f"{channels} score channels", "SB181"):
        segbench.accumulator("semantic", datasets.simple(5)).add(np.zeros((channels, 6, 8)), LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_without_a_best_class(sides, value):
    scores = SCORES.copy()
    scores[:, 2, 3] = value
    predict(sides, scores)
    with refused(InputError, "no best class at 1 pixel", "SB180"):
        evaluated(sides)


def test_one_infinite_score_is_a_clear_answer(sides):
    predict(sides, np.where(SCORES > 0, np.inf, -np.inf))
    assert evaluated(sides).value("semantic/miou") == 1


def test_ground_truth_is_no_scores():
    with refused(InputError, "ground truth is labels", "SB180"):
        segbench.accumulator("semantic", datasets.simple(5)).add(LABELS, SCORES)
    with refused(InputError, "ground truth is labels", "SB180"):
        segbench.evaluate([LABELS], [SCORES], num_classes=5)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "0.5", True])
def test_thresholds_that_nothing_compares_to(sides, threshold):
    with refused(ConfigError, "no finite number"):
        evaluated(sides, threshold=threshold)
    with refused(ConfigError, "no finite number"):
        segbench.accumulator("semantic", datasets.simple(5), threshold=threshold)


def scene() -> np.ndarray:
    """Slanted stripes of five classes with ids apart, large enough to have borders."""
    rows, columns = np.mgrid[:96, :128]
    return ((rows + 2 * columns) // 40 * 7 % 20).astype(np.uint8)


@pytest.mark.parametrize(("rule", "suspected"), [(Image.Resampling.BILINEAR, True), (Image.Resampling.NEAREST, False)])
def test_interpolated_labels(sides, rule, suspected):
    labels = scene()
    resized = np.array(Image.fromarray(labels[::2, ::2].copy()).resize((128, 96), rule))
    assert interpolated(resized) == suspected
    assert not interpolated(labels)
    for side, array in (("preds", resized), ("gt", labels)):
        for name in ("a", "b"):
            Image.fromarray(array).save(sides / side / f"{name}.png")
    warnings = evaluated(sides, num_classes=21).warnings
    assert any("[SB161]" in warning and "predictions look interpolated" in warning for warning in warnings) == suspected
    problems = {problem.code for problem in segbench.inspect(sides / "preds", datasets.simple(21)).problems}
    assert ("SB161" in problems) == suspected
    if suspected:
        for name in ("a", "b"):
            Image.fromarray(labels % 5).save(sides / "gt" / f"{name}.png")
        with refused(InputError, "no class of", "SB161"):
            evaluated(sides)


def test_noise_is_not_interpolated():
    rng = np.random.default_rng(1)
    assert not any(interpolated(rng.integers(0, classes, (64, 64)).astype(np.uint8)) for classes in (2, 3, 4, 20, 200))


@pytest.mark.parametrize("options", [{"limit": -1}, {"limit": 0}, {"limit": 1.5}, {"limit": True}, {"workers": 1.5}, {"workers": 0}])
def test_numbers_that_mean_nothing(sides, options):
    with refused(ConfigError, "whole number"):
        evaluated(sides, **options)


@pytest.mark.parametrize("number", [True, "3", 3.5])
def test_numbers_of_classes(number):
    with refused(ConfigError, "whole number"):
        segbench.evaluate([LABELS], [LABELS], num_classes=number)


@pytest.mark.parametrize("image_id", [1.5, True, (1,), b"a", float("nan")])
def test_image_ids(image_id):
    with refused(ConfigError, "image id"):
        segbench.accumulator("semantic", datasets.simple(5)).add(LABELS, LABELS, image_id=image_id)
    with refused(ConfigError, "image id"):
        segbench.evaluate({image_id: LABELS}, {image_id: LABELS}, num_classes=5)


def test_formats_and_layouts_that_were_asked_for(sides):
    with refused(InputError, "no label files of format label-tiff"):
        evaluated(sides, format="label-tiff")
    with refused(InputError, "not rgb-png"):
        evaluated(sides, format="rgb-png")
    with refused(ConfigError, "values in memory"):
        evaluated(sides, format="array", task="semantic")
    with refused(ConfigError, "no layout"):
        evaluated(sides, layout="XYZ")
    Image.fromarray(LABELS).save(sides / "preds" / "a.tif")
    Image.fromarray(LABELS).save(sides / "preds" / "b.tif")
    assert evaluated(sides, format="label-tiff").predictions["format"] == "label-tiff"


def test_accumulators_of_other_classes_do_not_merge():
    first, second = (segbench.accumulator("semantic", datasets.simple(2, names=names)) for names in (["a", "b"], ["b", "a"]))
    with refused(ComparabilityError, "classes"):
        first.merge(second)


def test_empty_paths(sides, run):
    assert run("evaluate", "", sides / "gt")[0] == 2
    assert run("inspect", "")[0] == 2
    code, out, err = run("evaluate", sides / "preds", sides / "gt", "-o", "")
    assert (code, out) == (2, "")
    assert "empty" in err


# Files that never end, or are none.


@posix
@pytest.mark.parametrize("name", ["a.png", "a.npy", "zzz.png"])
@pytest.mark.parametrize("side", ["preds", "gt"])
def test_pipes_are_not_waited_for(sides, side, name):
    if name != "zzz.png":
        (sides / side / "a.png").unlink()
    os.mkfifo(sides / side / name)
    with refused(InputError, "not a regular file \\(a pipe\\)", "SB160"):
        evaluated(sides)
    assert "pipe" in str(segbench.inspect(sides / side).problems)


@posix
@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null"])
def test_devices_are_not_read(sides, target):
    (sides / "preds" / "a.png").unlink()
    (sides / "preds" / "a.png").symlink_to(target)
    with refused(InputError, "a device", "SB160"):
        evaluated(sides)
    (sides / "d.json").symlink_to(target)
    with refused(FormatError, "a device"):
        datasets.load(sides / "d.json")


@posix
def test_a_pipe_as_a_data_set(sides):
    os.mkfifo(sides / "d.json")
    with refused(FormatError, "a pipe"):
        evaluated(sides, dataset=sides / "d.json")


def test_a_data_set_without_end(sides):
    with open(sides / "d.json", "wb") as file:
        file.truncate(1 << 27)
    with refused(FormatError, "beyond the limit", "SB192"):
        datasets.load(sides / "d.json")


@posix
def test_links_that_lead_in_circles(sides):
    for name, target in (("up", ".."), ("self", "."), ("zz", sides / "more")):
        (sides / "preds" / name).symlink_to(target)
    (sides / "more").mkdir()
    (sides / "more" / "c.png").touch()
    (sides / "more" / "back").symlink_to("../preds")
    assert listed(sides / "preds", (".png",)) == ["a.png", "b.png", "zz/c.png"]


@posix
def test_a_link_that_leads_nowhere(sides):
    (sides / "preds" / "a.png").unlink()
    (sides / "preds" / "a.png").symlink_to("nowhere")
    with refused(InputError, "leads nowhere \\(-> nowhere\\)", "SB160"):
        evaluated(sides)


def test_a_folder_that_cannot_be_listed(sides, monkeypatch):
    original = os.scandir

    def denied(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    (sides / "preds" / "sub").mkdir()
    monkeypatch.setattr(os, "scandir", denied)
    with refused(InputError, "Permission denied", "SB160"):
        evaluated(sides)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"])
def test_paths_that_cannot_be(sides, run, path):
    with refused(InputError, "cannot read the path", "SB160"):
        segbench.evaluate(path, sides / "gt")
    with refused(InputError, "cannot read the path", "SB160"):
        segbench.inspect(path)
    assert run("explain", "miou", "--run", path, "--protocol", "mmseg")[0] == 3


# What is not a PNG although its name says so, and archives larger than they look.


@pytest.mark.parametrize("kind", ["TIFF", "npy"])
def test_other_files_named_png_are_read(sides, kind):
    path = sides / "preds" / "a.png"
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, LABELS)
    else:
        Image.fromarray(LABELS).save(path, format=kind)
    np.save(sides / "preds" / "b.npy", LABELS)
    (sides / "preds" / "b.png").unlink()
    assert evaluated(sides).value("semantic/miou") == 1


def test_a_jpeg_named_png(sides):
    Image.fromarray(LABELS).save(sides / "preds" / "a.png", format="JPEG")
    with refused(InputError, "named .png, but it is a JPEG", "SB161"):
        evaluated(sides)


def test_an_archive_is_looked_at_before_it_is_inflated(sides):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 30000), }\n"
    with zipfile.ZipFile(sides / "preds" / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(1 << 20))
    (sides / "preds" / "a.png").unlink()
    with refused(InputError, "beyond the limit", "SB192"):
        evaluated(sides)


def test_an_impossible_palette_does_not_tell_the_data_set(tmp_path):
    from segbench.inspection import fitting_preset

    image = Image.fromarray(LABELS)
    image.putpalette([1, 2, 3] * 8)
    image.save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.index(b"PLTE")
    data[at - 4 : at] = (1 << 30).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    assert fitting_preset(tmp_path) == (None, "")


# Descriptions of data sets.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": []}, "lists no task"),
        ({"default_protocol": {"semantic": "nope"}}, "'nope'"),
        ({"schema": None}, "does not say"),
        (None, "holds null"),
        ([], "holds a list"),
    ],
)
def test_descriptions_that_say_too_little(sides, change, words):
    described = {**FIVE, **change} if isinstance(change, dict) else change
    if isinstance(change, dict) and change.get("schema", "") is None:
        del described["schema"]
    (sides / "dataset.json").write_text(json.dumps(described))
    with refused(FormatError, words) as _:
        evaluated(sides)


def test_a_byte_order_mark(sides):
    path = sides / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert evaluated(sides).value("semantic/miou") == 1


def test_a_data_set_for_another_task(sides):
    (sides / "dataset.json").write_text(json.dumps(FIVE | {"tasks": ["instance"]}))
    with refused(ConfigError, "not for the semantic task"):
        evaluated(sides)


def test_a_key_pattern_whose_group_is_empty(sides):
    (sides / "dataset.json").write_text(json.dumps(FIVE | {"matching": {"key_pattern": "(?P<key>x)?"}}))
    assert evaluated(sides).images["count"] == 2


# Messages.


def test_class_ids_saved_as_colours(sides):
    described = FIVE | {"classes": [row | {"color": [9 * at, 1, 2]} for at, row in enumerate(FIVE["classes"])]}
    (sides / "dataset.json").write_text(json.dumps(described))
    for name in ("a", "b"):
        Image.fromarray(np.stack([LABELS] * 3, -1)).save(sides / "preds" / f"{name}.png")
    with refused(InputError, "(?s)palette of five does not have: #000000 .*class ids saved as colours", "SB162"):
        evaluated(sides)


def test_values_that_fit_no_id_space_are_shown(sides):
    Image.fromarray(LABELS + 60).save(sides / "gt" / "a.png")
    with refused(InputError, "no class of cityscapes has", "SB112"):
        evaluated(sides, dataset="cityscapes", id_space="train")


@posix
def test_a_link_to_itself(sides):
    (sides / "preds" / "a.png").unlink()
    (sides / "preds" / "a.png").symlink_to("a.png")
    with refused(InputError, "cannot read the file: Too many levels", "SB160"):
        evaluated(sides)


def test_instance_maps(sides):
    for name in ("a", "b"):
        Image.fromarray(LABELS.astype(np.uint16) * 1000 + 3).save(sides / "preds" / f"{name}.png")
    with refused(InputError, "4003 look like instance ids", "SB112"):
        evaluated(sides)


def test_what_stands_where_a_prediction_is_missing(sides):
    (sides / "preds" / "a.png").unlink()
    (sides / "preds" / "a.png").mkdir()
    with refused(InputError, "a.png is there, but a folder", "SB130"):
        evaluated(sides)
    (sides / "preds" / "a.png").rmdir()
    Image.fromarray(LABELS).save(sides / "preds" / "a.jpg")
    with refused(InputError, "a.jpg is there, but lossy", "SB130"):
        evaluated(sides)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.uint8(3), "shape \\(\\) is no image"),
        (LABELS[None, None, None], "too many axes"),
        (LABELS.astype(float), "array.astype\\(np.uint8\\)"),
        (LABELS.T, "transposed"),
    ],
)
def test_arrays_that_are_no_label_maps(sides, value, words):
    predict(sides, value)
    with refused(InputError, words):
        evaluated(sides)
    assert words == "transposed" or segbench.inspect(sides / "preds").problems


def test_empty_folders(sides):
    (sides / "none").mkdir()
    with refused(InputError, "the folder is empty: it holds no label files"):
        segbench.evaluate(sides / "none", sides / "gt")


@pytest.mark.parametrize("value", [None, 3, b"preds", (LABELS for _ in range(1))])
def test_neither_paths_nor_arrays(value):
    with refused(ConfigError, "neither a path nor arrays"):
        segbench.evaluate(value, [LABELS], num_classes=5)


def test_no_arrays_at_all():
    with refused(InputError, "no ground truth", "SB132"):
        segbench.evaluate([], [], num_classes=5)


# Python, misused.


@pytest.mark.parametrize(
    "call",
    [
        lambda: segbench.accumulator("foo", datasets.simple(5)),
        lambda: segbench.accumulator("semantic", 5),
        lambda: segbench.accumulator("semantic", datasets.simple(5), metrics=5),
        lambda: segbench.accumulator("semantic", datasets.simple(5), protocol=5),
        lambda: segbench.accumulator("semantic", datasets.simple(5)).merge(3),
        lambda: segbench.accumulator("semantic", datasets.simple(5)).load_arrays(3),
        lambda: segbench.accumulator("semantic", datasets.simple(5)).update(None, None),
        lambda: segbench.evaluate([LABELS], [LABELS], num_classes=5, protocol=[1]),
        lambda: segbench.evaluate([LABELS], [LABELS], dataset=5),
        lambda: segbench.evaluate(np.uint8(3), np.uint8(3), num_classes=5),
        lambda: segbench.evaluate([LABELS[0]], [LABELS], num_classes=5, resize="nearest"),
        lambda: segbench.inspect(None),
        lambda: segbench.inspect(".", limit=0),
    ],
)
def test_misuse_is_an_error_of_ours(call):
    with pytest.raises(SegbenchError):
        call()


def test_one_metric_and_a_data_set_by_name(sides):
    assert segbench.evaluate([LABELS], [LABELS], num_classes=5, metrics="boundary_iou").value("semantic/boundary_iou") == 1
    assert segbench.evaluate([LABELS], [LABELS], num_classes=5, metrics=None).value("semantic/miou") == 1
    assert segbench.inspect(sides / "gt", "pascal_voc").fits[0]["dataset"] == "pascal_voc"


# Readers of the user's own.

ADAPTERS = {
    "none": ("return None", 3, "returned None"),
    "exits": ("import sys; sys.exit(0)", 3, "SystemExit"),
    "raises": ("raise BaseException('x')", 3, "BaseException"),
    "twice": ("yield 'a', LABELS; yield 'a', LABELS", 3, "SB120"),
    "lazy": ("return Lazy()", 3, "failed for image 'a'"),
    "detach": ("return {'a': Tensor(), 'b': Tensor()}", 3, "detach() fails"),
}
ADAPTER_HEAD = """
import numpy as np
from collections.abc import Mapping
LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) // 10
class Lazy(Mapping):
    def __len__(self): return 2
    def __iter__(self): return iter("ab")
    def __getitem__(self, key): raise KeyError("gone")
class Tensor:
    def detach(self): raise RuntimeError("no")
def read(path):
    print("chatter")
    """


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_that_fail(sides, run, name):
    body, exit_code, words = ADAPTERS[name]
    (sides / "own.py").write_text(ADAPTER_HEAD + body + "\n")
    code, out, err = run("evaluate", sides / "preds", sides / "gt", "--adapter", f"{sides / 'own.py'}:read", "-q")
    assert (code, out) == (exit_code, "")
    assert words in err


def test_an_adapter_that_prints(sides, run):
    (sides / "own.py").write_text(ADAPTER_HEAD + "return {'a': LABELS, 'b': LABELS}\n")
    code, out, err = run("evaluate", sides / "preds", sides / "gt", "--adapter", f"{sides / 'own.py'}:read", "--json")
    assert code == 0
    assert json.loads(out)["schema"] == "segbench.result/1"
    assert "chatter" in err


def test_an_adapter_that_is_no_python_file(sides, run):
    (sides / "own 6").write_text("")
    assert run("evaluate", sides / "preds", sides / "gt", "--adapter", f"{sides / 'own 6'}:read")[0] == 2


# Executors.


def _fail_from_two(job: int) -> int:
    if job >= 2:
        raise InputError(f"job {job}")
    return job


def test_of_several_errors_the_first_image_is_named():
    import time

    def fail(job: int) -> int:
        time.sleep(0.2 if job == 2 else 0)
        return _fail_from_two(job)

    with ThreadPoolExecutor(4) as pool, pytest.raises(InputError, match="job 2"):
        executors.run(pool, fail, range(8))


def test_a_pool_that_was_shut_down():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with refused(ConfigError, "takes no jobs"):
        segbench.evaluate([LABELS], [LABELS], num_classes=5, executor=pool)


def test_processes_without_a_guard(tmp_path):
    (tmp_path / "script.py").write_text(
        "import numpy, segbench\nlabels = [numpy.zeros((4, 4), 'u1')] * 4\n"
        "try:\n    segbench.evaluate(labels, labels, num_classes=2, executor='processes', workers=2)\n"
        "except segbench.SegbenchError as error:\n    print('OURS', error)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "OURS" in done.stdout
    assert "__main__" in done.stdout


# The terminal.


def process(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "segbench", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=120, **{"stdout": subprocess.PIPE, **options})


def on_a_terminal(*arguments: object, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "segbench", *map(str, arguments)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"} | environment) as running:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 1 << 16):
                shown += piece
        except OSError:  # the other end was closed
            pass
        assert running.wait(60) == 0 or b"error:" in shown
    os.close(ours)
    return shown.decode()


@posix
def test_progress_is_shown_on_a_terminal_alone(sides):
    slow = sides / "slow.py"
    slow.write_text(
        "import time, numpy as np\nfrom pathlib import Path\nfrom PIL import Image\n"
        "def read(path):\n    time.sleep(0.8)\n"
        "    return {f.stem: np.asarray(Image.open(f)) for f in sorted(Path(path).glob('*.png'))}\n"
    )
    arguments = ("evaluate", sides / "preds", sides / "gt", "--adapter", f"{slow}:read", "--no-intervals")
    shown = on_a_terminal(*arguments)
    assert "2/2" in shown
    assert "mIoU" in shown
    piped = process(*arguments)
    assert "2/2" not in piped.stdout + piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr


@posix
def test_no_color(sides):
    assert "\x1b[31m" in on_a_terminal("evaluate", "nowhere", "nowhere")
    assert "\x1b[3" not in on_a_terminal("evaluate", "nowhere", "nowhere", NO_COLOR="1")


def test_text_of_others_is_shown_as_it_is(sides, run):
    names = ["car [moving]", "[/red]", ":car:", "\x1b[31mred", "two\nlines"]
    described = FIVE | {"classes": [row | {"name": name} for row, name in zip(FIVE["classes"], names, strict=True)]}
    (sides / "dataset.json").write_text(json.dumps(described))
    for arguments in (("evaluate", sides / "preds", sides / "gt", "--name", "[/bold] \x1b[2J"), ("datasets", sides / "dataset.json")):
        code, out, err = run(*arguments)
        assert code == 0
        assert "\x1b" not in out + err
        for name in ("car [moving]", "[/red]", ":car:", "\\x1b[31mred"):
            assert name in out


@pytest.mark.parametrize("place", ["gt", "preds", "gt/run", "./preds/"])
def test_a_run_is_not_written_into_what_it_evaluates(sides, run, monkeypatch, place):
    monkeypatch.chdir(sides)
    code, out, err = run("evaluate", "preds", "gt", "-o", place)
    assert (code, out) == (2, "")
    assert "whose files are evaluated" in err
    assert not list(sides.glob("**/result.json"))


@posix
def test_a_line_break_in_a_file_name(sides, run):
    (sides / "preds" / "a.png").rename(sides / "preds" / "a\nwarning: b.png")
    for extra in ((), ("--strict",)):
        _, _, err = run("evaluate", sides / "preds", sides / "gt", "--missing", "skip", *extra)
        assert "a\\nwarning: b.png" in err
        assert "\nwarning: b.png" not in err


def test_the_same_files_on_both_sides(sides, run):
    _, _, err = run("evaluate", sides / "gt", sides / "gt")
    assert "warning: predictions and ground truth are the same files" in err


def test_ground_truth_given_first(sides, run):
    Image.fromarray(np.where(LABELS == 0, 255, LABELS).astype(np.uint8)).save(sides / "gt" / "a.png")
    swapped, right = (run("evaluate", sides / one, sides / other)[2] for one, other in (("gt", "preds"), ("preds", "gt")))
    assert "is it the first path, which is for predictions?" in swapped
    assert "first path" not in right


def test_a_damaged_tiff_is_one_message(sides):
    path = sides / "preds" / "a.tif"
    (sides / "preds" / "a.png").unlink()
    Image.fromarray(LABELS).save(path)
    path.write_bytes(path.read_bytes()[:100])
    done = process("evaluate", sides / "preds", sides / "gt", "-q")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")


@posix
def test_file_names_that_are_no_utf8(sides, run):
    odd = b"caf\xe9.png"
    for side in ("preds", "gt"):
        data = (sides / side / "a.png").read_bytes()
        with open(os.path.join(os.fsencode(sides / side), odd), "wb") as file:
            file.write(data)
    with open(os.path.join(os.fsencode(sides / "preds"), b"more \xe9.png"), "wb") as file:
        file.write(data)
    code, out, _ = run("evaluate", sides / "preds", sides / "gt", "--json", "-q", "-o", sides / "run")
    assert code == 0
    assert json.loads(out)["images"]["extra"] == ["more \\udce9"]
    assert segbench.Result.load(sides / "run").images["count"] == 3


def test_a_stdout_that_lacks_characters(sides):
    done = process("inspect", sides / "gt", env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "####" in done.stdout


def test_a_terminal_without_columns(sides, monkeypatch, run):
    monkeypatch.setenv("COLUMNS", "0")
    assert "road" in run("datasets", "cityscapes")[1]


@posix
@pytest.mark.parametrize("command", [("datasets", "lvis_v1"), ("datasets", "lvis_v1", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_failed_gate(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = process(*command, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_full_stdout(sides, extra):
    with open("/dev/full", "w") as full:
        for truth in ("gt", "nowhere"):
            done = process("evaluate", sides / "preds", sides / truth, "-q", *extra, stdout=full)
            assert done.returncode == 3
            assert len(done.stderr.splitlines()) <= 3
            assert "Traceback" not in done.stderr


@posix
def test_closed_streams(sides):
    def shell(redirection: str) -> subprocess.CompletedProcess:
        command = f'"{sys.executable}" -m segbench evaluate "{sides}/preds" "{sides}/gt" {redirection}'
        return subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)

    done = shell("-q >&-")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert shell("2>&-").returncode == 0


@posix
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_an_interruption_says_what_is_true(sides, extra):
    (sides / "slow.py").write_text("import sys, time\ndef read(path):\n    print('reading', flush=True)\n    time.sleep(60)\n")
    command = ("evaluate", sides / "preds", sides / "gt", "--adapter", f"{sides / 'slow.py'}:read", "-q", *extra)
    started = subprocess.Popen(
        [sys.executable, "-m", "segbench", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stderr.readline().strip() == "reading"
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in err
    if extra:
        assert json.loads(out)["exit_code"] == 130
    else:
        assert err.strip() == "interrupted"


# inspect says what evaluate would.


@pytest.mark.parametrize("value", [np.eye(5, dtype=np.uint8)[LABELS], np.uint8(3), np.full((5, 6, 8), np.nan), LABELS * 0.5])
def test_inspect_reports_what_evaluate_refuses(sides, value):
    predict(sides, value)
    assert segbench.inspect(sides / "preds").problems
    with pytest.raises(InputError):
        evaluated(sides)


def test_inspect_reads_scores_as_evaluate_does(sides):
    predict(sides, SCORES)
    found = segbench.inspect(sides / "preds")
    assert (found.problems, found.values["0"]) == ([], 20)


def test_inspect_of_mixed_and_16_bit_colours(sides):
    Image.fromarray(np.stack([LABELS] * 3, -1)).save(sides / "preds" / "a.png")
    assert "SB162" in {problem.code for problem in segbench.inspect(sides / "preds").problems}


def test_inspect_of_a_description(sides, run):
    assert run("inspect", sides / "dataset.json")[0] == 3
