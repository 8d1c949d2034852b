"""Files of records: schema, round trips, merging, damage; the command line without any framework."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import segbench
from segbench import cli
from segbench.errors import ConfigError, FormatError, InputError
from segbench.profiling import Policy, Profiles, profile
from segbench.profiling.api import growing
from segbench.profiling.profiles import accuracy
from segbench.profiling.records import Failure, Model, Record, Tensor, Throughput, json_schema
from segbench.profiling.spec import Spec
from segbench.results import Result
from tests.profiling.test_session import Scripted, measured

SCHEMA = Path(segbench.__file__).parent / "schemas" / "profiles.schema.json"
QUICK = Policy(min_runs=3, max_runs=5, min_time_s=0.0, max_time_s=0.2)


def on(machine: str, k: float = 1.0, **changes) -> Record:
    """A record as another machine would have written it."""
    record = measured(Scripted(k), **changes)
    record.hardware = msgspec.structs.replace(record.hardware, key=machine)
    record.id = record.digest()
    return record


def validate(data: bytes) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes())).validate(json.loads(data))


def test_the_schema_is_that_of_the_types():
    assert SCHEMA.read_bytes() == json_schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema()))


def test_files_round_trip(tmp_path):
    profiles = Profiles([on("a", estimator="both"), on("b", backbone=None)], "a command")
    validate(profiles.to_json())
    again = Profiles.load(profiles.save(tmp_path / "deep" / "p.json"))
    assert again == profiles
    assert again.to_json() == profiles.to_json()
    assert len(again) == 2
    assert again[0].hardware.key == "a"


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Profiles([]).save(tmp_path / "file" / "p.json")


def test_merging_machines(tmp_path):
    one, two = on("laptop", 1.0), on("server", 3.0)
    first = Profiles([one]).save(tmp_path / "1.json")
    second = Profiles([two, one]).save(tmp_path / "2.json")
    merged = Profiles.load(first, second)
    assert len(merged) == 2  # the record both hold counts once
    assert merged.hardware() == ["laptop", "server"]
    (line,) = merged.merged_table()
    assert (line["laptop"], line["server"]) == (one, two)
    assert Profiles.merge([merged, merged]) == merged == Profiles.merge([Profiles([two]), Profiles([one])])
    frame = merged.to_frame()
    assert list(frame["latency_ms"]) == [20.0, 40.0]
    assert list(frame["head_over_backbone_latency"]) == pytest.approx([1.0, 3.0])
    assert "laptop" in merged._repr_html_()
    assert "no records" in Profiles([])._repr_html_()


def test_the_newest_record_fills_the_cell():
    old, new = on("a", 1.0), on("a", 3.0)
    old.started, new.started = "2026-01-01T00:00:00.000+00:00", "2026-02-01T00:00:00.000+00:00"
    (line,) = Profiles([new, old]).merged_table()
    assert line["a"] is new


def test_edited_records_are_refused(tmp_path):
    record = on("a")
    other = msgspec.structs.replace(record, latency=None)
    with pytest.raises(FormatError, match="one identity"):
        Profiles.merge([Profiles([record]), Profiles([other])])
    document = json.loads(Profiles([record]).to_json())
    document["records"][0]["model"]["name"] = "another"
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="not the one that was measured"):
        Profiles.load(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "segbench.profiles/2", "records": []}', '{"schema": "segbench.profiles/1"}', "\xff", "[" * 5000]
)
def test_damaged_files(tmp_path, text):
    path = tmp_path / "p.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FormatError):
        Profiles.load(path)


def test_missing_files(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        Profiles.load(tmp_path / "none.json")
    with pytest.raises(ConfigError):
        Profiles.load()


@pytest.fixture(scope="module")
def whole() -> bytes:
    return Profiles([on("a")]).to_json()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_mutated_files_load_or_are_refused(whole, tmp_path, data):
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:position] + data.draw(st.binary(max_size=3)) + whole[position + data.draw(st.integers(0, 40)) :]
    path = tmp_path / "p.json"
    path.write_bytes(changed)
    with suppress(FormatError):
        Profiles.load(path)


def test_python_gives_records_of_a_callable():
    calls = []

    def model(image):
        calls.append(image.shape)
        return image

    found = profile(model, input=(3, 8, 8), batch=[1, 2], policy=QUICK)
    assert [record.workload.batch for record in found.records] == [1, 2]
    assert {record.runtime.backend for record in found.records} == {"python"}
    assert not found[0].runtime.isolated
    assert {shape[0] for shape in calls} == {1, 2}
    validate(found.to_json())


@pytest.mark.parametrize(
    ("rates", "batches"),
    [((10, 19, 30, 31, 90), [1, 2, 4, 8]), ((10, 9), [1, 2]), ((10, 20, None), [1, 2, 4]), ((None,), [1])],
    ids=["until it gains too little", "never", "until it fails", "not at all"],
)
def test_batches_grow_while_that_pays(rates, batches):
    left = iter(rates)

    def measure(plan: Spec) -> Record:
        rate = next(left)
        record = measured(Scripted(1.0))
        record.workload.batch = plan.batch
        record.throughput = None if rate is None else Throughput(images_per_s=rate, calls=3)
        record.error = Failure(kind="memory", message="no more") if rate is None else None
        return record

    found = growing(Spec(target="x.py:net"), measure)
    assert [record.workload.batch for record in found] == batches


def test_a_graph_for_one_image_ends_the_growing():
    def measure(plan: Spec) -> Record:
        if plan.batch > 1:
            raise InputError("the model is 1x3x8x8, not 2x3x8x8")
        return measured(Scripted(1.0))

    one, two = growing(Spec(target="x.py:net", inputs=[Tensor(shape=(3, 8, 8), dtype="float32")]), measure)
    assert (one.error, two.error.kind, two.workload.batch) == (None, "input", 2)


def test_growing_batches_of_a_callable():
    def model(image):
        time.sleep(0.02 * len(image) ** 2)  # twice as many take four times as long
        return image

    profiles = profile(model, input=(3, 8, 8), batch="auto", policy=QUICK)
    assert [record.workload.batch for record in profiles.records] == [1, 2]


def test_a_size_of_a_sweep_that_does_not_fit_is_a_record():
    def model(image):
        if image.shape[-1] % 16:
            raise ValueError("not a multiple of 16")
        return image

    found = profile(model, input="3x8x8", size=["16", "24"], policy=QUICK)
    assert [record.error.kind if record.error else None for record in found.records] == [None, "input"]
    assert "multiple of 16" in found[1].error.message
    validate(found.to_json())
    with pytest.raises(InputError, match="multiple of 16"):
        profile(model, input="3x8x8", size=["24", "25"], policy=QUICK)
    with pytest.raises(InputError, match="multiple of 16"):
        profile(model, input="3x24x24", policy=QUICK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": "tensorflow"},
        {"device": "gpu"},
        {"post": "semantics"},
        {"estimator": "guess"},
        {"dtype": "fp31"},
        {"batch": 0},
        {"batch": []},
        {"detections": [1]},
        {"neck_in": "tail"},
        {"input": None},
        {"output_size": "big"},
        {"seed": -1},
        {"time_limit": 0},
        {"time_limit": float("nan")},
    ],
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        profile(lambda image: image, **({"input": (3, 8, 8), "policy": QUICK} | wrong))


def test_no_model():
    with pytest.raises(ConfigError, match="no model"):
        profile(3, input=(3, 8, 8))
    with pytest.raises(ConfigError, match="compared with a target"):
        profile("x.py:net", input=(3, 8, 8), reference=lambda x: x)


@pytest.fixture
def models(tmp_path):
    file = tmp_path / "models.py"
    file.write_text(
        "def double():\n    return lambda image: 2 * image\n"
        "def stuck():\n    import time\n    return lambda image: time.sleep(600)\n"
        "def huge():\n    def model(image): raise MemoryError('no more')\n    return model\n"
    )
    return file


FAST = ("--threads", "1", "--max-time", "0.2", "--input", "3x8x8")


def test_the_command(models, tmp_path, capsys):
    output = tmp_path / "out.json"
    assert cli.run(["profile", f"{models}:double", *FAST, "--batch", "1,2", "--json", "-o", str(output)]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    validate(printed.out.encode())
    assert [record["workload"]["batch"] for record in document["records"]] == [1, 2]
    assert document["records"][0]["model"]["name"] == "double"
    assert output.read_bytes() == printed.out.encode()
    assert "wrote" in printed.err
    assert cli.run(["profile", "--merge", str(output), "-q"]) == 0
    table = capsys.readouterr().out
    assert "double" in table
    assert document["records"][0]["hardware"]["key"][:20] in table


def test_the_table(models, capsys):
    assert cli.run(["profile", f"{models}:double", *FAST]) == 0
    shown = capsys.readouterr().out
    assert "latency, ms" in shown
    assert "95 % interval" in shown


def test_exit_codes(models, capsys):
    assert cli.run(["profile", f"{models}:huge", *FAST]) == 0  # out of memory is a result
    assert "memory" in capsys.readouterr().out
    assert cli.run(["profile", f"{models}:stuck", *FAST, "--time-limit", "1.5"]) == 3
    assert "given up while warming up: no result after 1.5 s" in capsys.readouterr().out
    assert cli.run(["profile", f"{models}:nothing", *FAST]) == 2
    assert cli.run(["profile", f"{models}:double", *FAST, "--batch", "none"]) == 2
    assert cli.run(["profile", "a.py:b", "c.py:d"]) == 2
    assert cli.run(["profile", "--merge", "none.json"]) == 3
    assert cli.run(["profile"]) == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder of a model called `double`."""
    street = Path(__file__).parents[2] / "fixtures" / "street"
    folder = tmp_path_factory.mktemp("runs") / "double"
    segbench.evaluate(street / "preds" / "model_a", street / "gt", name="double", intervals=False).save(folder)
    return folder


def test_scores_join_by_the_model_s_name(run, models, tmp_path, capsys):
    output = tmp_path / "out.json"
    assert cli.run(["profile", f"{models}:double", *FAST, "-o", str(output), "-q"]) == 0
    capsys.readouterr()
    assert cli.run(["profile", "--merge", str(output), str(run)]) == 0
    table = capsys.readouterr().out
    result = Result.load(run)
    assert "semantic/miou" in table
    assert f"{100 * result.value('semantic/miou'):.2f}" in table
    profiles = Profiles.load(output)
    assert profiles.to_frame([result])["semantic/miou"].tolist() == [result.value("semantic/miou")]
    other = msgspec.structs.replace(profiles[0], model=Model(name="another", target="x.py:y"))
    assert Profiles([other]).rows([result])[0]["semantic/miou"] is None
    assert "semantic/miou" not in profiles.rows()[0]
    assert cli.run(["profile", "--merge", str(run)]) == 2  # scores of no records


def test_two_scores_of_one_name_are_refused(run):
    result = Result.load(run)
    value = result.tasks["semantic"].metrics["semantic/miou"]
    metrics = result.tasks["semantic"].metrics | {"semantic/miou": replace(value, value=0.5)}
    other = replace(result, tasks={"semantic": replace(result.tasks["semantic"], metrics=metrics)})
    assert accuracy([result, result]) == {"double": {"semantic/miou": value.value}}
    with pytest.raises(ConfigError, match="two results of 'double' hold semantic/miou"):
        accuracy([result, other])
