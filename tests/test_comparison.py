"""Comparisons: what may be compared, what is said about it, every format, and the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

import segbench
from segbench import cli, datasets
from segbench.accumulation import accumulator
from segbench.comparison import Comparison, Options, compare
from segbench.comparison.comparing import LARGE_SLICES, first_run
from segbench.comparison.labels import read_table
from segbench.comparison.shards import merge_results
from segbench.errors import ComparabilityError, ConfigError, FormatError, InputError
from segbench.gates import Policy
from segbench.reporting import github, markdown, page, tables, words
from segbench.results import Result
from segbench.significance.units import labels_of

ROOT = Path(__file__).parents[1]
STREET = ROOT / "fixtures" / "street"
SCHEMA = json.loads((ROOT / "segbench" / "schemas" / "compare.schema.json").read_text(encoding="utf-8"))
QUICK = Policy(replicates=200, permutations=200)


def made(seed=0, num_images=40, error=0.2, names=("road", "car", "sky"), ids=None, truth_seed=0, protocol=None, name="model") -> Result:
    """A result of random label maps; images differ in difficulty."""
    dataset = datasets.simple(len(names), names=list(names))
    truths, rng = np.random.default_rng(truth_seed), np.random.default_rng(seed + 50)
    counted = accumulator("semantic", dataset, name=name)
    for image_id in ids if ids is not None else range(num_images):
        gt = truths.integers(0, len(names), (12, 12)).astype(np.uint8)
        wrong = rng.random(gt.shape) < error * truths.uniform(0.2, 1.8)
        counted.add(np.where(wrong, rng.integers(0, len(names), gt.shape), gt).astype(np.uint8), gt, image_id=image_id)
    return counted.compute(protocol)


@pytest.fixture(scope="module")
def pair():
    return made(1, name="before"), made(2, error=0.35, name="after")


@pytest.fixture(scope="module")
def comparison(pair):
    gates = [
        {"metric": "semantic/miou", "max_drop": "1pt"},
        {"metric": "semantic/iou/*", "max_drop": "2pt"},
        {"metric": "semantic/pixel_accuracy", "min": "10pt"},
        {"metric": "semantic/kappa", "max_drop": "1%", "informational": True},
    ]
    return compare(*pair, gates=gates, options=Options(QUICK, slices=("[0-9]$",)))


def test_a_worse_model(comparison):
    miou = next(row for row in comparison.metrics if row.metric == "semantic/miou")
    assert miou.mark == "-"
    assert miou.difference.high < 0
    assert miou.difference.delta == miou.difference.candidate - miou.difference.baseline
    assert not comparison.passed
    assert (comparison.status, comparison.exit_code) == ("failed", 1)
    assert [outcome.status for outcome in comparison.outcomes if outcome.metric == "semantic/kappa"] == ["failed"]
    assert sum(outcome.fails for outcome in comparison.outcomes) == 4


def test_the_parts_sum_to_the_whole(comparison):
    miou = next(row for row in comparison.metrics if row.metric == "semantic/miou")
    assert sum(delta for _, delta in comparison.contributions["semantic/miou"]) == pytest.approx(miou.difference.delta, abs=1e-14)
    effects = [abs(delta) for _, delta in comparison.images["semantic/miou"]]
    assert effects == sorted(effects, reverse=True)
    assert len(effects) == 20


def test_slices_hold_their_images(comparison, pair):
    assert list(comparison.slices) == [str(digit) for digit in range(10)]
    row = next(row for row in comparison.slices["3"] if row.metric == "semantic/miou")
    rows = [3, 13, 23, 33]
    for side, value in zip(pair, (row.difference.baseline, row.difference.candidate), strict=True):
        part = segbench.results.score("semantic", side.evidences["semantic"].select(rows), side.dataset_spec, side.rules("semantic"))
        assert value == pytest.approx(part.metrics["semantic/miou"].value, abs=1e-13)
    assert row.difference.p_adjusted >= row.difference.p


def test_the_same_bits_every_time(pair, comparison):
    again = compare(*pair, options=Options(QUICK, slices=("[0-9]$",)))
    assert again.table == comparison.table
    assert again.slices == comparison.slices


def test_identical_predictions_say_so(pair):
    found = compare(pair[0], pair[0], gates=[{"metric": "semantic/*", "max_drop": "0.001pt"}])
    assert found.identical
    assert found.passed
    assert {row.mark for row in (*found.metrics, *found.classes)} == {"="}
    assert all(row.difference.delta == 0 for row in found.metrics)
    assert "identical" in found.markdown()


def test_the_digest_of_other_predictions_is_not_believed(pair):
    forged = replace(pair[1], predictions=pair[1].predictions | {"digest": "sha256:" + 64 * "a"})
    honest = replace(pair[0], predictions=pair[0].predictions | {"digest": "sha256:" + 64 * "a"})
    found = compare(honest, forged, gates=[{"metric": "semantic/miou", "max_drop": "0.5pt"}], options=Options(QUICK))
    assert not found.identical
    assert found.status == "failed"


def test_one_unit_has_no_interval_and_says_why(pair):
    found = compare(*pair, cluster="^()", options=Options(QUICK))
    row = found.metrics[0]
    assert (row.difference.low, row.difference.p, row.difference.reason) == (None, None, "only 1 cluster")
    assert "in 1 cluster" in words.footnote(found)


def test_other_images():
    first, second = made(1, ids=[1, 2, 3, 4, 5]), made(2, ids=[1, 2, 3])
    with pytest.raises(ComparabilityError, match="3 in both, 2 only in the baseline, 0 only in the candidate") as caught:
        compare(first, second)
    assert "--intersect" in str(caught.value)
    assert caught.value.exit_code == 4
    found = compare(first, second, options=Options(QUICK, intersect=True))
    assert found.method["num_images"] == 3
    assert found.baseline.value("semantic/miou") == made(1, ids=[1, 2, 3]).value("semantic/miou")
    assert any("3 images of both" in note for note in found.notes)
    with pytest.raises(ComparabilityError, match="no image in common"):
        compare(made(1, ids=[1, 2]), made(1, ids=[3, 4]), intersect=True)


def test_the_order_of_the_images_does_not_matter():
    first, second = made(1), made(2)
    evidence = second.evidences["semantic"]
    turned = replace(evidence, images=replace(evidence.images, order=np.arange(39, -1, -1)))
    half = np.arange(20)
    reordered = turned.select(half).merge(turned.select(half + 20))
    assert reordered.images.ids == tuple(range(39, -1, -1))
    other = replace(second, evidences={"semantic": reordered})
    options = Options(QUICK)
    assert compare(first, other, options=options).table == compare(first, second, options=options).table


def test_other_ground_truth_classes_protocol_or_task():
    with pytest.raises(ComparabilityError, match="different ground truth") as caught:
        compare(made(1), made(1, truth_seed=5))
    assert caught.value.count > 30  # by class counts; some images agree by chance
    with pytest.raises(ComparabilityError, match="sea only in the candidate"):
        compare(made(1), made(1, names=("road", "car", "sea")))
    with pytest.raises(ComparabilityError, match=r"mean_over: union and all") as caught:
        compare(made(1), made(1, protocol="voc"))
    assert "--protocol pooled" in str(caught.value)
    renamed = made(1)
    with pytest.raises(ComparabilityError, match="no task in common"):
        compare(renamed, replace(renamed, tasks={"panoptic": renamed.tasks["semantic"]}))


def test_a_metric_that_vanishes():
    first, second = made(1), made(2)
    task = second.tasks["semantic"]
    entry = replace(task.metrics["semantic/kappa"], value=None)
    second = replace(second, tasks={"semantic": replace(task, metrics=task.metrics | {"semantic/kappa": entry})})
    found = compare(first, second, gates=[{"metric": "semantic/kappa", "max_drop": "50pt"}], options=Options(QUICK))
    assert next(row for row in found.metrics if row.metric == "semantic/kappa").mark == "!"
    assert "no value any more" in found.outcomes[0].message
    assert found.exit_code == 1


def test_gates_on_metrics_that_do_not_exist(pair):
    with pytest.raises(ConfigError, match=r"semantic/moiu.*\n.*semantic/miou"):
        compare(*pair, gates=[{"metric": "semantic/moiu", "max_drop": "1pt"}])
    with pytest.raises(ConfigError, match="has no unit"):
        compare(*pair, gates=[{"metric": "semantic/miou", "max_drop": 0.5}])
    skipped = compare(*pair, gates=[{"metric": "other/thing", "min": "1pt", "if_missing": "skip"}], options=Options(QUICK))
    assert [outcome.status for outcome in skipped.outcomes] == ["skipped"]


def test_gates_on_other_metrics_of_classes(pair):
    found = compare(*pair, gates=[{"metric": "semantic/recall/car", "max_drop": "1pt"}], options=Options(QUICK))
    assert [outcome.metric for outcome in found.outcomes] == ["semantic/recall/car"]
    assert {row.metric for row in found.classes} >= {"semantic/recall/car", "semantic/iou/car"}


def test_clusters(pair):
    found = compare(*pair, cluster="^(.)", options=Options(QUICK))
    assert found.method["num_clusters"] == 10
    assert found.metrics[0].difference.reason == "only 10 clusters"
    with pytest.raises(ConfigError, match="40 of 40"):
        compare(*pair, cluster="x")


def test_too_many_slices():
    with pytest.raises(ConfigError, match=f"at most {LARGE_SLICES}"):
        compare(made(1, LARGE_SLICES + 5), made(2, LARGE_SLICES + 5), options=Options(QUICK, slices=(".*",)))


def test_a_first_run(pair):
    policy = Policy(
        gates=compare(*pair, gates=[{"metric": "semantic/miou", "min": "99pt", "max_drop": "1pt"}], options=Options(QUICK)).policy.gates
    )
    found = first_run(pair[0], Options(policy))
    assert [(outcome.rule, outcome.status) for outcome in found.outcomes] == [("min 99 pt", "failed")]
    assert {row.mark for row in found.metrics} == {"x"}
    jsonschema.validate(words.documents([found]), SCHEMA)


def test_the_document_follows_its_schema(comparison, pair):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = words.documents([comparison, compare(pair[0], pair[0], options=Options(QUICK))])
    jsonschema.validate(json.loads(json.dumps(document, allow_nan=False)), SCHEMA)
    assert (document["status"], document["exit_code"], len(document["comparisons"])) == ("failed", 1, 2)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"more": 1}, SCHEMA)


def test_markdown(comparison):
    text = comparison.markdown()
    assert text.startswith("### ❌ segbench: after against before: 4 of 6 gate checks failed")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(line.count("|") - line.count("\\|") == 8 for line in lines)
    assert "semantic/iou/car" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert "smallest detectable change" in text
    short = markdown.comparison_markdown(comparison, 3000)
    assert len(short) <= 3000
    assert short.count("<details>") == short.count("</details>") < 3
    assert short.endswith("</sub>\n")
    assert len(markdown.comparison_markdown(comparison, 800)) <= 800
    assert markdown.marked([comparison], "board").startswith("<!-- segbench:compare:board -->\n")
    assert len(markdown.marked([comparison] * 3, "board")) <= markdown.COMMENT_LIMIT


def test_underpowered_gates_are_told_everywhere(pair):
    found = compare(pair[1], pair[0], gates=[{"metric": "semantic/miou", "max_drop": "0.001pt"}], options=Options(QUICK))
    assert [(outcome.status, outcome.underpowered) for outcome in found.outcomes] == [("passed", True)]
    assert (found.status, found.exit_code) == ("inconclusive", 0)
    told = found.markdown(), page.comparison_page([found]), *github.workflow_commands([found])
    assert len(told) == 3
    assert all("underpowered" in text for text in told)


def test_of_several_gates_the_gravest_is_shown(pair):
    gates = [{"metric": "semantic/miou", "max_drop": "0.5pt"}, {"metric": "semantic/miou", "min": "1pt"}]
    for order in (gates, gates[::-1]):
        found = compare(*pair, gates=order, options=Options(QUICK))
        assert [row.split("|")[-2].strip() for row in found.markdown().splitlines() if "semantic/miou |" in row] == ["❌ max\\_drop 0.5pt"]
        assert "failed: max_drop 0.5pt" in page.comparison_page([found])


def hostile(comparison: Comparison) -> Comparison:
    """The comparison under a name that tries to be markup."""
    name = "<script>alert(1)</script> | `x` [a](http://b) @team ::error::\n%0A"
    return replace(comparison, candidate=replace(comparison.candidate, model={"name": name}))


def test_names_stay_text(comparison):
    found = hostile(comparison)
    assert "<script>" not in found.markdown()
    assert "[a](" not in found.markdown()
    assert "@team" not in found.markdown()
    for text in (page.comparison_page([found]), found._repr_html_()):
        assert "<script" not in text
    ElementTree.fromstring(tables.junit([found]).encode())


class Checker(HTMLParser):
    """Counts what a page must not have, and that its tags close."""

    VOID = {"meta", "br", "wbr"}

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page(comparison):
    text = page.comparison_page([comparison])
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    names = {tag for tag, _ in checker.tags}
    assert {"table", "caption", "title", "main"} <= names
    assert not names & {"script", "img", "link", "iframe"}
    assert not any("src" in attributes or "href" in attributes for _, attributes in checker.tags)
    assert all("scope" in attributes for tag, attributes in checker.tags if tag == "th")
    assert "default-src 'none'" in text
    assert "://" not in text
    assert len(text) < 150_000
    assert text == page.comparison_page([comparison])
    fragment = Checker()
    fragment.feed(comparison._repr_html_())
    assert "html" not in {tag for tag, _ in fragment.tags}


def test_junit(comparison):
    root = ElementTree.fromstring(tables.junit([comparison]).encode())
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("segbench.semantic", "6", "4")
    assert len(suite.findall("testcase")) == 6
    assert len(suite.findall("testcase/failure")) == 4
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped")) == 1


def test_csv(comparison):
    rows = list(csv.DictReader(io.StringIO(tables.comparison_csv([comparison]))))
    miou = next(row for row in rows if row["id"] == "semantic/miou" and not row["slice"])
    found = next(row for row in comparison.metrics if row.metric == "semantic/miou").difference
    assert float(miou["delta"]) == found.delta
    assert float(miou["candidate_value"]) == found.candidate
    assert {row["slice"] for row in rows} == {"", *"0123456789"}


def test_benchmark_json_and_badges(pair, comparison):
    entries = json.loads(tables.benchmark_json([comparison]))
    assert {entry["name"] for entry in entries} >= {"semantic/miou"}
    assert all(entry["unit"] == "%" for entry in entries)
    with_interval = pair[0].with_intervals()
    badge = tables.badge(with_interval, "semantic/miou")
    assert badge["schemaVersion"] == 1
    assert badge["label"] == "mIoU"
    value = with_interval.tasks["semantic"].metrics["semantic/miou"]
    half = 50 * (value.interval["high"] - value.interval["low"])
    assert badge["message"] == f"{100 * value.value:.1f} ± {half:.1f}"
    ElementTree.fromstring(tables.badge_svg(with_interval, "semantic/miou"))


def test_github(comparison, tmp_path):
    environment = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    lines = github.publish([hostile(comparison)], environment)
    assert all(line.startswith(("::error title=", "::warning title=")) and "\n" not in line for line in lines)
    assert sum(line.startswith("::error") for line in lines) == 4
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert outputs["status"] == "failed"
    assert outputs["failed"] == "4"
    assert float(outputs["miou-delta"]) < 0
    assert (tmp_path / "summary").stat().st_size < github.SUMMARY_LIMIT
    many = replace(comparison, outcomes=comparison.outcomes * 20)
    errors = [line for line in github.workflow_commands([many]) if line.startswith("::error")]
    assert len(errors) == 10
    assert "and 71 more" in errors[-1]


def test_words():
    assert words.change(-0.00001) == words.change(0.0) == "0.00"
    assert (words.p_value(0.0004), words.p_value(0.63), words.p_value(1.0), words.p_value(None)) == ("<.001", ".630", "1", "")
    assert words.percent(None) == "-"


def test_images_tables(tmp_path):
    file = tmp_path / "images.csv"
    file.write_text("id,weather,city\n1,rain,bonn\n2,sun,aachen\n", encoding="utf-8")
    assert read_table(file) == {"1": {"weather": "rain", "city": "bonn"}, "2": {"weather": "sun", "city": "aachen"}}
    for text, words_ in (
        ("id\n1\n", "another one"),
        ("id,a\n1,x\n1,y\n", "twice"),
        ("id,a\n1\n", "line 2"),
        ("id,a\n1,2,3\n", "line 2"),
        ("", "another one"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=words_):
            read_table(file)
    with pytest.raises(FormatError, match="cannot read"):
        read_table(tmp_path / "nothing.csv")


def test_images_tables_in_json(tmp_path):
    file = tmp_path / "images.json"
    rows = [{"id": 1, "weather": "rain", "night": True, "tags": ["a"], "speed": None}, {"id": 2, "weather": "sun", "night": False}]
    expected = {"1": {"weather": "rain", "night": "true"}, "2": {"weather": "sun", "night": "false"}}
    by_id = {str(row["id"]): {name: value for name, value in row.items() if name != "id"} for row in rows}
    for document in (rows, {"images": rows, "annotations": []}, by_id):
        file.write_text(json.dumps(document), encoding="utf-8")
        assert read_table(file) == expected
    for text, words_ in (
        ("[1, 2]", "no list of objects"),
        ('[{"weather": "rain"}]', "no list of objects"),
        ('{"images": 3}', "no list of objects"),
        ("{}", "no list of objects"),
        ('[{"id": [1]}]', "neither text nor a number"),
        ('[{"id": 1, "a": 2}, {"id": 1, "a": 3}]', "twice"),
        ('[{"id": 1', "no JSON"),
        ("[" * 100_000, "no JSON"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=words_):
            read_table(file)
    file.write_bytes(b"\xff\xfe[")
    with pytest.raises(FormatError, match="UTF-8"):
        read_table(file)


def test_labels_by_file_name():
    """A table may name images by their files; one that stands for two images stands for none."""
    weather = {"000000000139.jpg": "rain", "val/b.png": "sun", "c.png": "fog", "x/c.png": "dust"}
    table = {name: {"weather": value} for name, value in weather.items()}
    assert labels_of([139, "b"], "weather", table) == ["rain", "sun"]
    with pytest.raises(ConfigError, match="1 of 2 images have no label"):
        labels_of([139, "c"], "weather", table)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("model_a", "model_b"):
        segbench.evaluate(STREET / "preds" / name, STREET / "gt").save(folder / name)
    return folder


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in ("compare", *arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_exit_codes(run, runs):
    a, b = runs / "model_a", runs / "model_b"
    assert run(a, b)[0] == 0
    assert run(a, b, "--max-drop", "semantic/miou=0.5pt")[0] == 1
    assert run(b, a, "--max-drop", "semantic/miou=0.5pt")[0] == 0
    assert run(b, a, "--max-drop", "semantic/miou=0.5pt", "--fail-on", "inconclusive")[0] == 5
    assert run(a, b, "--max-drop", "semantic/miou=0.5pt", "--fail-on", "never")[0] == 0
    assert run(a)[0] == 2
    assert run(a, b, "--max-drop", "semantic/miou=0.5")[0] == 2
    assert run(a, b, "--max-drop", "miou")[0] == 2
    assert run(a, b, "--fail-on", "maybe")[0] == 2
    assert run(a, "nowhere")[0] == 3
    assert run("nowhere", a)[0] == 0
    assert run("nowhere", a, "--baseline-missing", "fail")[0] == 3
    assert run("nowhere", a, "--min", "semantic/miou=99pt")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--replicates", "99999999999"], 2, "1000000"),
        (["--confidence", "0.9999"], 2, "0.999"),
        (["--badge", "semantic/miou"], 2, "METRIC=FILE"),
        (["--badge", "semantic/miou=badge.png"], 2, ".svg or .json"),
        (["--min", "semantic/miou=101pt"], 2, "no value reaches"),
        (["--max-drop", "semantic/miou=101pt"], 2, "never be reached"),
        (["--max-rise", "perf/latncy=1%"], 2, "no cost fits"),
        (["--max-drop", "instance/ap=1pt"], 2, "segm/ap"),
    ],
)
def test_what_means_nothing_is_refused(run, runs, arguments, code, told):
    found, _, err = run(runs / "model_a", runs / "model_b", *arguments)
    assert (found, told in err) == (code, True), err
    assert "Traceback" not in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes to wait for")
def test_pipes_are_not_waited_for(run, runs, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in ([tmp_path / "pipe"], [runs / "model_a", "--config", tmp_path / "pipe"]):
        code, _, err = run(runs / "model_b", *arguments)
        assert (code, "pipe" in err) == (3, True), err


def test_reports_on_stdout_stand_alone(run, runs):
    code, out, _ = run(runs / "model_a", runs / "model_a", "--markdown", "-")
    assert (code, out.startswith("<!-- segbench:compare:"), out.endswith("</sub>\n")) == (0, True, True)
    code, out, err = run(runs / "model_a", runs / "model_a", "--html", "-", "--json")
    assert (code, "name a file" in err + out) == (2, True)


def test_folders_that_are_no_runs(run, runs, tmp_path):
    code, _, err = run(STREET / "preds" / "model_a", runs / "model_b")
    assert (code, "--gt" in err) == (3, True)
    (tmp_path / "profile.json").write_text('{"schema": "segbench.profiles/1"}', encoding="utf-8")
    code, _, err = run(tmp_path / "profile.json", runs / "model_b")
    assert (code, "profiles are compared two at a time" in err) == (2, True)
    code, _, err = run(tmp_path / "profile.json", tmp_path / "nowhere.json")
    assert (code, "no such file" in err, "nowhere.json" in err) == (3, True, True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text("{}", encoding="utf-8")
    for name in ("evidence.npz", "dataset.json"):
        shutil.copy(runs / "model_a" / name, tmp_path / "other" / name)
    code, _, err = run(runs / "model_a", tmp_path / "other")
    assert (code, "no result of segbench" in err) == (3, True)


def test_every_output_at_once(run, runs, tmp_path):
    files = {
        "--markdown": "out/report.md",
        "--html": "report.html",
        "--junit": "junit.xml",
        "--csv": "rows.csv",
        "--benchmark-json": "bench.json",
        "--badge": "badge.svg",
    }
    options = [part for option, file in files.items() for part in (option, f"semantic/miou={file}" if option == "--badge" else file)]
    code, out, _ = run(runs / "model_a", runs / "model_b", "--json", *options)
    assert code == 0
    jsonschema.validate(json.loads(out), SCHEMA)
    for file in files.values():
        assert (tmp_path / file).stat().st_size > 100


def test_predictions_with_ground_truth(run, runs):
    _, stored, _ = run(runs / "model_a", runs / "model_b", "--json")
    code, fresh, _ = run(STREET / "preds" / "model_a", STREET / "preds" / "model_b", "--gt", STREET / "gt", "--json")
    assert code == 0
    assert json.loads(fresh) == json.loads(stored)


def test_another_protocol(run, runs):
    _, out, _ = run(runs / "model_a", runs / "model_b", "--protocol", "ade20k", "--json")
    assert json.loads(out)["baseline"]["protocols"] == {"semantic": "ade20k"}


def test_the_configuration_of_the_folder(run, runs, tmp_path):
    (tmp_path / "segbench.toml").write_text('[[gates]]\nmetric = "semantic/miou"\nmax_drop = "0.5pt"\n')
    code, _, err = run(runs / "model_a", runs / "model_b")
    assert code == 1
    assert "segbench.toml" in err
    (tmp_path / "segbench.toml").write_text('[[gates]]\nmetric = "semantic/miou"\nmaxdrop = "0.5pt"\n')
    code, _, err = run(runs / "model_a", runs / "model_b")
    assert code == 2
    assert "segbench.toml:3: there is no key 'maxdrop'" in err
    assert "max_drop" in err


def test_lint(run, runs, tmp_path):
    (tmp_path / "segbench.toml").write_text(
        '[compare]\nfail_on = "inconclusive"\n[[gates]]\nmetric = "semantic/miou"\nmax_drop = "0.5pt"\n'
        '[[acknowledge]]\nmetric = "semantic/miou"\nuntil = 2020-01-01\nreason = "old"\n'
    )
    code, out, _ = run("--lint")
    assert code == 5
    assert "ended on 2020-01-01" in out
    code, out, _ = run("--lint", runs / "model_a", "--json")
    findings = json.loads(out)["findings"]
    assert any("underpowered" in finding and "segbench.toml:3" in finding for finding in findings)
    (tmp_path / "segbench.toml").unlink()
    patterns = ("semantic/iou/*", "semantic/iou/{person,rider}", "panoptic/pq/person", "segm/ap")
    code, out, err = run("--lint", *(word for pattern in patterns for word in ("--max-drop", f"{pattern}=3pt")))
    assert (code, "4 gates, 0 findings" in out) == (0, True), err
    code, _, err = run("--lint", runs / "model_a", "--max-drop", "semantic/iou/persn=3pt")
    assert (code, "semantic/iou/person" in err) == (2, True)
    (tmp_path / "segbench.toml").write_text('[[gates]]\nmetric = "semantic/moiu"\nmin = "5pt"\n')
    code, _, err = run("--lint")
    assert code == 2
    assert "did you mean semantic/miou" in err


def test_in_a_github_job(run, runs, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    code, out, err = run(runs / "model_a", runs / "model_b", "--max-drop", "semantic/miou=1pt", "--json")
    assert code == 1
    json.loads(out)
    assert "::error title=segbench%3A semantic/miou max_drop 1pt::" in err
    assert "status=failed" in (tmp_path / "output").read_text()
    (tmp_path / "output").unlink()
    run(runs / "model_a", runs / "model_b", "--no-ci")
    assert not (tmp_path / "output").exists()


def test_damaged_runs_are_refused(run, runs, tmp_path):
    import shutil

    for name, damage in (
        ("evidence.npz", lambda data: data[: len(data) // 2]),
        ("result.json", lambda data: data.replace(b"segbench.result/1", b"segbench.result/9")),
        ("result.json", lambda data: data.replace(b'"value": 0.7290190711053144', b'"value": 0.7990190711053144')),
    ):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(runs / "model_a", folder)
        data = (folder / name).read_bytes()
        assert damage(data) != data
        (folder / name).write_bytes(damage(data))
        code, _, err = run(runs / "model_b", folder)
        assert code == 3, err


def test_shards_are_the_whole(capsys, tmp_path, runs):
    whole = Result.load(runs / "model_a")
    assert cli.run(["slice", str(runs / "model_a"), "--by", r"(\d)$", "-o", str(tmp_path / "parts")]) == 0
    shards = sorted(map(str, (tmp_path / "parts").iterdir()), reverse=True)
    assert len(shards) == 10
    assert cli.run(["merge", *shards, "-o", str(tmp_path / "whole"), "--name", "again"]) == 0
    merged = Result.load(tmp_path / "whole")
    assert merged.tasks == whole.tasks
    assert merged.dataset == whole.dataset
    assert merged.model == {"name": "again"}
    assert (tmp_path / "whole" / "evidence.npz").read_bytes() == (runs / "model_a" / "evidence.npz").read_bytes()
    capsys.readouterr()
    assert cli.run(["merge", *shards, shards[0], "--json"]) == 0
    captured = capsys.readouterr()
    assert "given more than once" in captured.out
    assert json.loads(captured.out)["images"]["count"] == 12


def test_shards_that_do_not_fit():
    with pytest.raises(ComparabilityError, match="different classes"):
        merge_results([made(1), made(1, names=("a", "b"))])
    with pytest.raises(ComparabilityError, match="scored differently"):
        merge_results([made(1), made(1, protocol="voc")])
    with pytest.raises(InputError, match="twice with different contents"):
        merge_results([made(1), made(2)])
    with pytest.raises(ConfigError, match="nothing to merge"):
        merge_results([])


def test_slices_on_the_command_line(capsys, tmp_path, runs):
    rows = [f"street_{number:06},{'rain' if number % 2 else 'sun'}" for number in range(1, 13)]
    (tmp_path / "images.csv").write_text("id,weather\n" + "\n".join(rows), encoding="utf-8")
    assert cli.run(["slice", str(runs / "model_a"), "--by", "weather", "--images", str(tmp_path / "images.csv"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(part["slice"], part["num_images"]) for part in document["slices"]] == [("rain", 6), ("sun", 6)]
    assert "semantic/kappa" in document["slices"][0]["metrics"]
    assert cli.run(["slice", str(runs / "model_a"), "--by", "wether", "--images", str(tmp_path / "images.csv")]) == 2


def test_clusters_by_a_column(capsys, runs, tmp_path):
    rows = "".join(f"street_{number:06},{number % 4}\n" for number in range(1, 13))
    (tmp_path / "images.csv").write_text("id,video\n" + rows, encoding="utf-8")
    table = ["--cluster", "video", "--images", str(tmp_path / "images.csv")]
    assert cli.run(["power", str(runs / "model_a"), "--json", *table]) == 0
    assert {(row["count"], row["noun"]) for row in json.loads(capsys.readouterr().out)["metrics"]} == {(4, "clusters")}
    assert cli.run(["evaluate", str(STREET / "preds" / "model_a"), str(STREET / "gt"), "--json", "-q", *table]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]["semantic"]["metrics"]["semantic/miou"]["interval"]
    assert found["reason"] == "only 4 clusters"


def test_power(capsys, runs):
    both = [str(runs / "model_a"), str(runs / "model_b")]
    assert cli.run(["power", *both, "--target", "0.5pt", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    row = next(row for row in document["metrics"] if row["metric"] == "semantic/miou")
    assert row["detectable"] == pytest.approx(2.80 * row["se"], rel=1e-3)
    assert row["needed"] == pytest.approx(12 * (row["detectable"] / 0.005) ** 2, abs=1)
    assert not row["assumed"]
    assert cli.run(["power", both[0], "--target", "2%"]) == 0
    captured = capsys.readouterr()
    assert "half shared" in captured.err
    assert cli.run(["power", both[0], "--target", "0pt"]) == 2
    assert cli.run(["power", both[0], "--target", "1"]) == 2
