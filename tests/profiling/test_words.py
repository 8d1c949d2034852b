"""What `segbench profile` and `print(profiles)` say: numbers with their units, tables of any width, failures in words."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import segbench
from segbench import cli
from segbench.cli import profile_tables
from segbench.cli.terminal import Terminal
from segbench.errors import InputError
from segbench.profiling import Policy, Profiles, profile, session, words
from segbench.profiling.meters import Disturbance
from segbench.profiling.records import Failure, Memory, Record, Tensor
from segbench.profiling.runner import Failed
from segbench.profiling.spec import DTYPES, INPUT_DTYPES, Spec
from segbench.profiling.targets import origin
from tests.profiling.test_session import MS, QUIET, Scripted, measured

QUICK = Policy(min_runs=3, max_runs=5, min_time_s=0.0, max_time_s=0.2)
LONG = "amd-epyc-x64-avx512-vnni+nvidia-h100-80gb"


def on(machine: str, name: str = "net", **parts) -> Record:
    """A record of some machine and model."""
    record = measured(Scripted(0.981), backbone="encoder")
    changed = msgspec.structs.replace(
        record,
        hardware=msgspec.structs.replace(record.hardware, key=machine),
        model=msgspec.structs.replace(record.model, name=name),
        **parts,
    )
    changed.id = changed.digest()
    return changed


def failed(kind: str, message: str, stage: str | None = "load", **spec) -> Record:
    """A record of a measurement that failed, as it was made before the model was there."""
    run = session.Session(Spec(target="net.py:net", **spec), lambda what, share: None)
    return run.record(Failure(kind=kind, message=message, stage=stage))


@pytest.fixture
def printed(monkeypatch, capsys):
    def call(show, *arguments, width: int = 120) -> str:
        monkeypatch.setattr(profile_tables, "stdout", lambda: Terminal(width=width, highlight=False, emoji=False))
        show(*arguments)
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1, "1"),
        (999, "999"),
        (41_000, "41.000 k"),
        (2_820_000, "2.820 M"),
        (134_380_000_000, "134.380 G"),
        (10**13, "10000.000 G"),
    ],
)
def test_counts_have_the_unit_of_their_size(value, shown):
    assert words.with_unit(value) == shown
    assert words.with_unit(value, "MACs") == f"{shown}{'' if ' ' in shown else ' '}MACs"


def test_parts_have_the_unit_of_the_whole():
    unit = words.unit_of(2_820_000)
    assert [words.in_unit(value, unit) for value in (2_820_000, 41_000, 41, 0, None)] == ["2.820", "0.0410", "0.0000410", "0", "-"]


@given(st.floats(1e-12, 1e12), st.integers(1, 6))
def test_digits_are_kept_and_never_an_exponent(value, digits):
    shown = words.significant(value, digits)
    assert set(shown) <= set("0123456789.")
    assert len(shown.replace(".", "").lstrip("0")) >= digits
    assert float(shown) == pytest.approx(value, rel=0.5 * 10 ** (1 - digits))


@pytest.mark.parametrize(("value", "shown"), [(999.96, "1000"), (0.0021434, "0.002143"), (6.414, "6.414"), (-0.5, "-0.5000"), (0, "0")])
def test_four_digits(value, shown):
    assert words.milliseconds(value * MS) == shown


def rows_of(text: str) -> dict[str, list[str]]:
    """Lines of a table: label -> cells."""
    return {line[:18].strip(): line[18:].split() for line in text.splitlines()}


def test_a_small_model_has_small_units(printed):
    record = on("here", memory=Memory(rss_base=0, rss_peak=200 << 10, backbone_base=0, backbone_peak=4 << 10))
    text = printed(profile_tables.show, record)
    assert text.splitlines()[0] == "net, 1x3x8x8, scripted float32 on here"
    rows = rows_of(text)
    assert rows["kMACs"] == ["1.500", "1.000", "-", "0.500"]
    assert rows["parameters"] == ["50", "30", "8", "12"]
    assert rows["peak memory, KiB"] == ["200", "4.00", "-", "-"]
    assert "FLOPs are twice that: 3.000 k" in text
    record.memory = Memory(rss_base=0, rss_peak=300 << 20, backbone_base=0, backbone_peak=100 << 10)
    assert rows_of(printed(profile_tables.show, record))["peak memory, MiB"] == ["300", "0.0977", "-", "-"]
    record.memory = Memory(rss_base=0, rss_peak=0)
    assert rows_of(printed(profile_tables.show, record))["peak memory, KiB"] == ["0", "-", "-", "-"]


@pytest.mark.parametrize("width", [20, 50, 80, 100, 120, 200])
@pytest.mark.parametrize("machines", [["here"], [LONG, "amd-epyc-x8"], [LONG + "x8", LONG]], ids=["one", "two", "long"])
def test_a_merged_table_cuts_no_number(printed, width, machines):
    models = ("a", "a_model_with_a_rather_long_name_of_its_own")
    profiles = Profiles([on(machine, model) for machine in machines for model in models])
    scores: dict[str, dict[str, float | None]] = {"a": {"semantic/miou": 0.7290, "panoptic/pq": 0.4123}}
    text = printed(profile_tables.show_merged, profiles, scores, width=width)
    assert "…" not in text
    for number in ("1.500 k", "+50.0 %", "72.90", "41.23"):
        assert number in text
    for number in ("19.81", "[19.81, 19.81]", "+98.1 %"):
        assert text.count(number) >= len(profiles)
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width
        assert all(machine in text for machine in machines)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_of_one_record_cuts_no_number(printed, width):
    record = measured(Scripted(0.3, neck=0.2), neck="fpn", backbone="encoder")
    text = printed(profile_tables.show, record, width=width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for number in ("15.00", "10.00", "2.000", "3.000", "kMACs"):
        assert number in text


@pytest.mark.parametrize(("width", "names"), [(60, 5), (120, 4)])
def test_names_of_others_move_no_cursor(printed, width, names):
    profiles = Profiles([on("a\x1b[2J", "b\x1b[2J")])
    text = printed(profile_tables.show_merged, profiles, {}, width=width) + printed(profile_tables.show, profiles[0])
    assert "\x1b" not in text
    assert text.count("\\x1b[2J") == names


def test_ratios_say_what_they_are_of(printed):
    wide = printed(profile_tables.show_merged, Profiles([on("here")]), {})
    assert wide.startswith("1 record: median latency in ms with its interval, ~ is noisy; below it head / backbone of latency\n")
    assert "of MACs" in wide
    assert "head +98.1 %" in wide
    narrow = printed(profile_tables.show_merged, Profiles([on(LONG), on("b")]), {}, width=60)
    assert narrow.startswith("2 records: median latency")
    assert narrow.count("of latency") == 2
    assert narrow.count("of MACs") == 1
    assert narrow.count("1.500 k") == 1  # on every machine the same


def test_a_run_that_joins_no_record_is_named(tmp_path, capsys):
    street = Path(__file__).parents[2] / "fixtures" / "street"
    run, other = tmp_path / "run", tmp_path / "other"
    for folder, name in ((run, "net"), (other, "model_a")):
        segbench.evaluate(street / "preds" / "model_a", street / "gt", name=name, intervals=False).save(folder)
    records = Profiles([on("here")]).save(tmp_path / "net.json")
    assert cli.run(["profile", "--merge", str(records), str(other)]) == 0
    told = capsys.readouterr()
    assert told.err == (
        f"{other}: no record is of its model 'model_a'; the records are of net\n"
        "  hint: segbench evaluate --name net names the model as its record does\n"
    )
    assert "miou" not in told.out  # no column of dashes
    assert cli.run(["profile", "--merge", str(records), str(run), str(other), "-q"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "semantic/miou" in told.out
    assert cli.run(["profile", "--merge", str(records), str(run)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "stage", "said"),
    [
        ("input", "load", "failed while loading: too many"),
        ("export", "export", "failed while exporting it to ONNX: too many"),
        ("memory", "warm-up", "out of memory while warming up: too many"),
        ("timeout", "latency", "given up while measuring its latency: too many"),
        ("crash", "start", "crashed while starting: too many"),
        ("unsupported", "something new", "not supported while something new: too many"),
        ("input", None, "failed: too many"),
    ],
)
def test_failures_are_sentences(printed, kind, stage, said):
    record = failed(kind, "too many", stage, batch=2, backend="onnxruntime", threads=1)
    line = f"net, batch 2, onnxruntime float32 1t on {record.hardware.key}: {said}"
    assert printed(profile_tables.show, record, width=200) == line + "\n"
    assert repr(Profiles([record])) == line


def test_every_stage_has_words():
    stages = []
    run = session.Session(
        Spec(target="x.py:net", inputs=[Tensor(shape=(1, 3, 8, 8), dtype="float32")]), lambda what, share: stages.append(what)
    )
    run.model = on("here").model
    session._measure(run, Scripted(1.0), run.spec, None)
    assert set(stages) <= words.DOING.keys()


def test_hints_stand_once(printed):
    export = failed("export", "no")
    assert printed(profile_tables.show_hints, Profiles([export, export])) == f"  hint: {words.HINTS['export']}\n"
    assert "--backend torch" in words.HINTS["export"]
    assert printed(profile_tables.show_hints, Profiles([on("here"), failed("crash", "no")])) == ""


def test_a_model_that_fails_to_load_says_the_inputs_that_were_asked_for(monkeypatch):
    def load(target):
        raise Failed("memory", "no more")

    monkeypatch.setattr(session.backends, "load", load)
    record = session.run(Spec(target="x.py:net", inputs=[Tensor(shape=(3, 8, 8), dtype="float32")], batch=4))
    assert words.line(record).startswith("net, 4x3x8x8, ")
    assert record.error.stage == "load"


def test_a_sweep_says_which_model_failed_and_where():
    def picky(image):
        if image.shape[-1] % 16:
            raise ValueError("not a multiple of 16")
        return image

    record = profile(picky, input="3x8x8", size=["16", "24"], policy=QUICK)[1]
    line = picky.__code__.co_firstlineno + 2
    assert record.model.name == "picky"
    assert words.failure(record) == (
        f"failed while warming up: the model fails on this input: ValueError: not a multiple of 16 (in test_words.py:{line})"
    )


def test_what_the_model_raises_itself_needs_no_advice():
    def own(image):
        assert image.ndim == 9, "nine axes"
        return image

    def library(image):
        return image.reshape(7, 7)

    for model, hint in ((own, None), (library, "check --input against what the model takes")):
        with pytest.raises(InputError) as caught:
            profile(model, input="3x8x8", policy=QUICK)
        assert f"(in test_words.py:{model.__code__.co_firstlineno + 1})" in caught.value.message
        assert caught.value.hint == hint


def test_the_origin_of_an_error_is_the_last_line_of_ones_own():
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert origin(caught.value).place.startswith("test_words.py:")
    assert not origin(caught.value).raised_there
    assert origin(ValueError("never raised")) is None


def test_a_factory_that_raises_is_located(tmp_path):
    file = tmp_path / "models.py"
    file.write_text("def net():\n    depth = 3\n    raise RuntimeError('no weights')\n")
    with pytest.raises(InputError, match=r"the factory raises RuntimeError: no weights \(in models.py:3\)"):
        session.run(Spec(target=f"{file}:net", backend="python"))


def test_parts_that_miss_the_whole_are_said(printed):
    record = on("here")
    assert "measured at different times" not in printed(profile_tables.show, record)
    record.stages["head"].p50 = 7 * MS  # 17 of 19.81 ms
    text = " ".join(printed(profile_tables.show, record).split())
    sentence = (
        "the network took 19.81 ms and its parts 17.00 ms: they were measured at different times and disagree; "
        "the ratios come from the run of the parts"
    )
    assert sentence in text
    assert "quiet machine" not in text
    record.latency.noisy = True
    assert f"{sentence}; measure again on a quiet machine" in " ".join(printed(profile_tables.show, record).split())
    record.latency.device_p50 = 17 * MS  # the parts' times are the device's own
    assert "measured at different times" not in printed(profile_tables.show, record)


def test_noise_says_how_long_the_process_waited(printed):
    busy = measured(Scripted(1.0), looks=(QUIET, Disturbance(3.0, 9, (100, 2000), (880, 120))))
    assert "noisy: it waited 12 % of its time for a CPU that did other work" in printed(profile_tables.show, busy)
    uneven = measured(Scripted(1.0), looks=(QUIET, Disturbance(3.0, 9, (100, 2000), (980, 20))))
    uneven.latency.noisy = True
    assert "noisy: other work on this machine, or a changing clock" in printed(profile_tables.show, uneven)


def test_profiles_print_one_line_per_record():
    noisy = on("there")
    noisy.latency.noisy = True
    profiles = Profiles([on("here"), noisy, failed("export", "no")])
    cost = "19.81 ms [19.81, 19.81]{}, 1.500 kMACs, head / backbone of latency +98.1 %"
    assert str(profiles).splitlines() == [
        f"net, 1x3x8x8, scripted float32 on here: {cost.format('')}",
        f"net, 1x3x8x8, scripted float32 on there: {cost.format(' (noisy)')}",
        f"net, batch 1, torch float32 on {profiles[2].hardware.key}: failed while loading: no",
    ]
    assert str(Profiles([])) == "no records"
    fast = on("here")
    fast.latency.p50 = 41
    assert "<td>0.00004100</td>" in Profiles([fast])._repr_html_()


def documented(heading: str) -> dict[str, str]:
    """A table of the page: the names in its first column, each with the row's second one."""
    page = (Path(__file__).parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")
    rows = page.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows, heading
    return {name: row.split(" | ")[1] for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_keywords_policies_and_input_types_are_documented():
    keywords = {name for name, entry in inspect.signature(profile).parameters.items() if entry.kind is entry.KEYWORD_ONLY}
    assert documented("keyword").keys() == keywords
    types = {*INPUT_DTYPES, *(name for name, full in DTYPES.items() if full in INPUT_DTYPES)}
    assert documented("TYPE").keys() == types
    defaults = documented("field of `Policy`")
    assert defaults.keys() == {entry.name for entry in fields(Policy)}
    assert all(str(entry.default) in defaults[entry.name].split(", ") for entry in fields(Policy))
