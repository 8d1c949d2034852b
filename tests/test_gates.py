"""Gates: the truth table, tolerances, configurations and their mistakes."""

from __future__ import annotations

from datetime import date

import pytest

from segbench.comparison.rows import mark
from segbench.errors import ConfigError, FormatError
from segbench.gates import Acknowledgement, Gate, Policy, Tolerance, config, judge, status_of
from segbench.gates.rules import braces, level
from segbench.significance.paired import Difference

MIOU = "semantic/miou"
DAY = date(2030, 6, 1)


def pt(text):
    return Tolerance.parse(text, "here")


def row(delta, low, high, baseline=0.8, p=None, detectable=0.001):
    """A difference; its p-value agrees with its interval unless given."""
    chosen = p if p is not None else (0.01 if low > 0 or high < 0 else 0.4)
    return Difference(baseline, baseline + delta, delta, low, high, 0.001, chosen, None, detectable)


def one(gate, difference, higher=True, **more):
    """The only outcome of one gate on one metric."""
    (outcome,) = judge(Policy(gates=(gate,), **more), {gate.metric: difference}, lambda metric: higher, today=DAY)
    return outcome


# oriented so that more is better; tolerance 1 point
TRUTH = [
    # delta, low, high: point, regression, non_inferiority
    ((+0.020, +0.010, +0.030), ("passed", "passed", "passed")),
    ((+0.020, -0.010, +0.050), ("passed", "passed", "passed")),
    ((+0.020, -0.030, +0.070), ("passed", "passed", "inconclusive")),
    ((-0.005, -0.008, -0.002), ("passed", "passed", "passed")),
    ((-0.005, -0.020, +0.010), ("passed", "passed", "inconclusive")),
    ((-0.020, -0.050, +0.010), ("failed", "warned", "inconclusive")),
    ((-0.020, -0.035, -0.005), ("failed", "failed", "inconclusive")),
    ((-0.020, -0.030, -0.012), ("failed", "failed", "failed")),
    ((-0.010, -0.010, -0.010), ("passed", "passed", "passed")),
    ((+0.000, +0.000, +0.000), ("passed", "passed", "passed")),
]


@pytest.mark.parametrize(("numbers", "statuses"), TRUTH)
@pytest.mark.parametrize("mode", ["point", "regression", "non_inferiority"])
def test_the_truth_table(numbers, statuses, mode):
    expected = statuses[("point", "regression", "non_inferiority").index(mode)]
    assert one(Gate(MIOU, max_drop=pt("1pt"), mode=mode), row(*numbers)).status == expected
    delta, low, high = numbers
    mirrored = row(-delta, -high, -low)
    assert one(Gate(MIOU, max_rise=pt("1pt"), mode=mode), mirrored, higher=False).status == expected


@pytest.mark.parametrize(
    ("baseline", "higher", "status", "shown"),
    [(0.5, True, "failed", "!"), (0.0, True, "passed", "x"), (0.0, False, "failed", "!"), (None, True, "skipped", "=")],
)
def test_a_value_that_vanishes(baseline, higher, status, shown):
    # a class of nothing but false alarms has 0 with them and no value without: no loss
    gone = Difference(baseline, None, None, None, None, None, None, None, None)
    rule = {"max_drop" if higher else "max_rise": pt("1pt")}
    assert one(Gate("panoptic/pq/sand", **rule), gone, higher=higher).status == status
    assert mark(gone, higher, 0.95) == shown


def test_a_regression_needs_its_p_value_too():
    narrow = row(-0.02, -0.03, -0.005, p=0.06)
    assert one(Gate(MIOU, max_drop=pt("1pt")), narrow).status == "warned"
    corrected = Difference(0.8, 0.78, -0.02, -0.03, -0.01, 0.001, 0.01, 0.2, 0.001)
    assert one(Gate(MIOU, max_drop=pt("1pt")), corrected).status == "warned"
    assert one(Gate(MIOU, max_drop=pt("1pt"), correction="none"), corrected).status == "failed"


def test_relative_tolerances_are_of_the_baseline():
    gate = Gate(MIOU, max_drop=pt("2%"), mode="point")
    assert one(gate, row(-0.0159, -0.02, -0.01)).status == "passed"  # 2 % of 0.8 is 0.016
    assert one(gate, row(-0.0161, -0.02, -0.01)).status == "failed"


def test_exact_values_decide_and_not_rounded_ones():
    gate = Gate(MIOU, max_drop=pt("0.5pt"), mode="point")
    assert one(gate, row(-0.005000001, -0.01, 0)).status == "failed"
    assert one(gate, row(-0.005, -0.01, 0)).status == "passed"


def test_limits_are_inclusive():
    for value, least, most in ((0.78, "passed", "passed"), (0.7799999, "failed", "passed"), (0.7800001, "passed", "failed")):
        assert one(Gate(MIOU, min=0.78), Difference(None, value)).status == least
        assert one(Gate(MIOU, max=0.78), Difference(None, value)).status == most


def test_values_that_vanish_and_appear():
    gate = Gate(MIOU, max_drop=pt("1pt"))
    assert one(gate, Difference(0.8, None)).status == "failed"
    assert one(gate, Difference(None, 0.8)).status == "passed"
    assert one(gate, Difference(None, None)).status == "skipped"
    assert one(Gate(MIOU, min=0.1), Difference(0.8, None)).status == "failed"
    assert one(gate, Difference(0.8, 0.7, -0.1)).status == "inconclusive"
    everywhere = Policy(gates=(Gate("semantic/*", min=0.1),))
    for baseline, status in ((None, "skipped"), (0.8, "failed")):
        assert judge(everywhere, {MIOU: Difference(baseline, None)}, lambda metric: True)[0].status == status
    assert one(Gate(MIOU, min=0.1), Difference(None, None)).status == "failed"


def test_the_wrong_way_round():
    outcome = one(Gate(MIOU, max_rise=pt("1pt")), row(-0.1, -0.2, -0.05))
    assert outcome.status == "failed"
    assert "max_drop" in outcome.message


@pytest.mark.parametrize(("missing", "status"), [("fail", "failed"), ("warn", "warned"), ("skip", "skipped")])
def test_missing_metrics(missing, status):
    policy = Policy(gates=(Gate("panoptic/pq", min=0.5, if_missing=missing),))
    (outcome,) = judge(policy, {MIOU: row(0, 0, 0)}, lambda metric: True)
    assert outcome.status == status


def test_patterns():
    assert braces("a/{b,c}/{d,e}") == ["a/b/d", "a/b/e", "a/c/d", "a/c/e"]
    gate = Gate("semantic/iou/{person,traffic*}", min=0.1)
    assert gate.fits("semantic/iou/person")
    assert gate.fits("semantic/iou/traffic sign")
    assert not gate.fits("semantic/iou/road")


def classes(*deltas):
    return {f"semantic/iou/{index}": row(delta, delta - 0.01, delta + 0.01) for index, delta in enumerate(deltas)}


def test_some_classes_may_fail():
    rows = classes(-0.05, -0.06, 0.01)
    gate = Gate("semantic/iou/*", max_drop=pt("3pt"))
    statuses = [outcome.status for outcome in judge(Policy(gates=(gate,)), rows, lambda metric: True)]
    assert statuses == ["failed", "failed", "passed"]
    two = Gate("semantic/iou/*", max_drop=pt("3pt"), allow=2)
    assert [outcome.status for outcome in judge(Policy(gates=(two,)), rows, lambda metric: True)] == ["warned", "warned", "passed"]
    single = Gate("semantic/iou/*", max_drop=pt("3pt"), allow=1)
    assert [outcome.status for outcome in judge(Policy(gates=(single,)), rows, lambda metric: True)] == statuses


def test_rare_classes_are_left_out():
    gate = Gate("semantic/iou/*", max_drop=pt("3pt"), min_support=20)
    support = {"semantic/iou/0": 19, "semantic/iou/1": 20}
    outcomes = judge(Policy(gates=(gate,)), classes(-0.5, -0.5), lambda metric: True, support)
    assert [outcome.metric for outcome in outcomes] == ["semantic/iou/1"]


def test_slices():
    gate = Gate(MIOU, max_drop=pt("1pt"), slice="night")
    rows = {MIOU: row(0.01, 0.005, 0.015)}
    sliced = {"night": {MIOU: row(-0.05, -0.06, -0.04)}}
    assert [outcome.status for outcome in judge(Policy(gates=(gate,)), rows, lambda metric: True, {}, sliced)] == ["failed"]
    assert "night" in judge(Policy(gates=(gate,)), rows, lambda metric: True)[0].message


def test_what_a_gate_found_nothing_for():
    def told(gate, sliced=None):
        (outcome,) = judge(
            Policy(gates=(gate,)), classes(0.01, 0.01), lambda metric: True, {"semantic/iou/0": 3, "semantic/iou/1": 4}, sliced or {}
        )
        assert outcome.status == "failed"
        return outcome.message

    assert told(Gate("semantic/iou/*", min=0.1, min_support=20)) == "no class of semantic/iou/* is in 20 images of the ground truth"
    assert "--slice" in told(Gate(MIOU, min=0.1, slice="night"))
    assert told(Gate(MIOU, min=0.1, slice="night"), {"day": {}, "dusk": {}}) == "no slice is called 'night'; there are day, dusk"
    assert told(Gate(MIOU, min=0.1, slice="day"), {"day": {}}) == "these runs have no metric semantic/miou on slice 'day'"


def test_acknowledged_losses():
    gate = Gate(MIOU, max_drop=pt("1pt"))
    lost = row(-0.05, -0.06, -0.04)

    def told(until, max_drop=None):
        known = Acknowledgement(MIOU, until, "labels were drawn again", max_drop)
        return one(gate, lost, acknowledged=(known,))

    assert told(DAY).status == "acknowledged"
    assert "labels were drawn again" in told(DAY).message
    late = told(date(2030, 5, 31))
    assert late.status == "failed"
    assert "ended on 2030-05-31" in late.message
    assert told(DAY, pt("6pt")).status == "acknowledged"
    assert told(DAY, pt("4pt")).status == "failed"


def test_underpowered_gates_are_loud():
    outcome = one(Gate(MIOU, max_drop=pt("0.5pt")), row(-0.002, -0.01, 0.006, detectable=0.012))
    assert outcome.status == "passed"
    assert outcome.underpowered
    assert "underpowered: only changes of 1.2 pt" in outcome.message
    assert status_of([outcome]) == ("inconclusive", 0)
    assert status_of([outcome], "inconclusive") == ("inconclusive", 5)
    assert not one(Gate(MIOU, max_drop=pt("0.5pt"), mode="point"), row(-0.002, -0.01, 0.006, detectable=0.012)).underpowered


def test_statuses_and_exit_codes():
    failed = one(Gate(MIOU, min=0.9), Difference(None, 0.8))
    informational = one(Gate(MIOU, min=0.9, informational=True), Difference(None, 0.8))
    passed = one(Gate(MIOU, min=0.7), Difference(None, 0.8))
    unsure = one(Gate(MIOU, max_drop=pt("1pt"), mode="non_inferiority"), row(-0.005, -0.02, 0.01))
    assert status_of([passed, informational]) == ("passed", 0)
    assert status_of([passed, failed, unsure]) == ("failed", 1)
    assert status_of([failed], "never") == ("failed", 0)
    assert status_of([unsure]) == ("inconclusive", 0)
    assert status_of([unsure], "inconclusive") == ("inconclusive", 5)
    assert status_of([]) == ("passed", 0)


@pytest.mark.parametrize(("text", "amount", "relative"), [("0.5pt", 0.005, False), (" 2 % ", 0.02, True), (".5pt", 0.005, False)])
def test_tolerances(text, amount, relative):
    tolerance = pt(text)
    assert (tolerance.amount, tolerance.relative) == (amount, relative)


@pytest.mark.parametrize("text", ["0.5", 0.5, 5, "pt", "half", "0,5pt", True, None, "-1pt", "1 pts", ""])
def test_tolerances_without_a_meaning(text):
    with pytest.raises(ConfigError):
        pt(text)


def test_a_bare_number_is_told_what_to_write():
    with pytest.raises(ConfigError, match=r"0\.5pt for percentage points, 0\.5% of the baseline"):
        pt(0.5)
    with pytest.raises(ConfigError, match="78pt"):
        level("78%", "here")
    assert level("78pt", "here") == 0.78


COMPLETE = """\
[compare]
confidence = 0.9
replicates = 500
permutations = 700
seed = 3
cluster = "^([a-z]+)_"
slices = ["weather"]
fail_on = "inconclusive"
baseline_missing = "fail"

[[gates]]
metric = "semantic/miou"
max_drop = "0.5pt"
mode = "non_inferiority"

[[gates]]
metric = "semantic/iou/*"
max_drop = "3pt"
min_support = 20
allow = 1
correction = "none"
if_missing = "skip"
slice = "night"
informational = true
min = "10pt"

[[acknowledge]]
metric = "semantic/iou/train"
until = 2030-12-31
reason = "labels were drawn again"
max_drop = "10pt"
"""


def write(tmp_path, text, name="segbench.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_complete_configuration(tmp_path):
    policy = config.load(write(tmp_path, COMPLETE))
    assert (policy.confidence, policy.replicates, policy.permutations, policy.seed) == (0.9, 500, 700, 3)
    assert (policy.cluster, policy.slices, policy.fail_on, policy.baseline_missing) == ("^([a-z]+)_", ("weather",), "inconclusive", "fail")
    first, second = policy.gates
    assert (first.metric, first.max_drop, first.mode) == (MIOU, pt("0.5pt"), "non_inferiority")
    assert (second.allow, second.min_support, second.slice, second.min, second.informational) == (1, 20, "night", 0.1, True)
    assert first.source.endswith("segbench.toml:11")
    assert policy.acknowledged[0].until == date(2030, 12, 31)


def test_a_byte_order_mark_and_the_tables_of_another_file(tmp_path):
    path = tmp_path / "segbench.toml"
    path.write_text("\ufeff[compare]\nconfidence = 0.9\n", encoding="utf-8")
    assert config.load(path).confidence == 0.9
    with pytest.raises(ConfigError, match=r"is for pyproject\.toml"):
        config.load(write(tmp_path, "[tool.segbench.compare]\nconfidence = 0.9\n"))


def test_pyproject(tmp_path):
    text = '[project]\nname = "x"\n[tool.segbench.compare]\nseed = 4\n[[tool.segbench.gates]]\nmetric = "semantic/miou"\nmin = "70pt"\n'
    path = write(tmp_path, text, "pyproject.toml")
    assert config.find(tmp_path) == path
    assert config.load(path).seed == 4
    assert config.load(path).gates[0].source.endswith("pyproject.toml:5")
    own = write(tmp_path, "[compare]\nseed = 5\n")
    assert config.find(tmp_path) == own
    with pytest.raises(ConfigError, match=r"pyproject\.toml:7: there is no key 'mim'"):
        config.load(write(tmp_path, text.replace("min", "mim"), "pyproject.toml"))


def test_no_configuration(tmp_path):
    assert config.find(tmp_path) is None
    write(tmp_path, '[project]\nname = "x"\n', "pyproject.toml")
    assert config.find(tmp_path) is None
    (tmp_path / "pyproject.toml").write_bytes(b'[project]\nname = "\xff"\n')
    assert config.find(tmp_path) is None
    with pytest.raises(FormatError, match="cannot read the file"):
        config.load(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('max_drop = "0.5pt"', "max_drop = 0.005", [":13", "no unit", "pt"]),
        ('max_drop = "0.5pt"', 'max_drops = "0.5pt"', [":13", "max_drops", "did you mean 'max_drop'"]),
        ("non_inferiority", "noninferiority", [":14", "did you mean 'non_inferiority'"]),
        ('[[gates]]\nmetric = "semantic/miou"\n', "[[gates]]\n", [":11", "names no metric"]),
        ("min_support = 20", "min_support = -1", [":19", "whole number"]),
        ("informational = true", "informational = 1", [":24", "true or false"]),
        ("until = 2030-12-31", 'until = "soon"', [":29", "no date"]),
        ('reason = "labels were drawn again"\n', "", [":27", "needs 'reason'"]),
        ("confidence = 0.9", "confidence = 95", [":2", "0.95"]),
        ("seed = 3", "sed = 3", [":5", "did you mean 'seed'"]),
        ("[compare]", "[comparison]", [":1", "did you mean 'compare'"]),
        ('fail_on = "inconclusive"', 'fail_on = "maybe"', [":8", "one of"]),
        ('min = "10pt"', 'min = "10%"', [":25", "10pt"]),
        ("replicates = 500", "replicates = 10", [":3", "100"]),
        ('slices = ["weather"]', "slices = 3", [":7", "columns"]),
    ],
)
def test_mistakes_name_their_line(tmp_path, old, new, words):
    assert old in COMPLETE
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, COMPLETE.replace(old, new, 1)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("text", ["[compare", "a = 1 = 2", "\x00"])
def test_files_that_are_no_toml(tmp_path, text):
    with pytest.raises(FormatError, match="not TOML"):
        config.load(write(tmp_path, text))
    (tmp_path / "segbench.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not TOML"):
        config.load(tmp_path / "segbench.toml")


@pytest.mark.parametrize("text", ["gates = 3", "compare = 3", "[gates]\nmetric = 'a'", "gates = [3]"])
def test_tables_that_are_none(tmp_path, text):
    with pytest.raises(ConfigError, match=r"segbench\.toml"):
        config.load(write(tmp_path, text))


def test_a_gate_without_a_rule(tmp_path):
    with pytest.raises(ConfigError, match="has no rule"):
        config.load(write(tmp_path, '[[gates]]\nmetric = "semantic/miou"\n'))
