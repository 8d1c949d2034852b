"""Comparing what models cost: ratios, their intervals, gates, and hardware that may not be compared."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from segbench import cli
from segbench.comparison import Options, compare
from segbench.comparison.profiles import _medians, compare_profiles
from segbench.errors import ComparabilityError, ConfigError
from segbench.gates import Gate, Policy, Tolerance
from segbench.profiling import Profiles
from tests.profiling.test_session import Scripted, measured


def recorded(factor=1.0, count=200, macs=1.0, machine="laptop", seed=0, noisy=False):
    """A profile whose latencies vary by a few percent around `factor` times ten milliseconds."""
    record = measured(Scripted(1.0))
    samples = (np.random.default_rng(seed).gamma(400, 1 / 400, count) * factor * 1e7).astype(int).tolist()
    middle = sorted(samples)[count // 2]
    record.latency = msgspec.structs.replace(record.latency, samples=samples, n=count, p50=middle, noisy=noisy)
    record.compute = msgspec.structs.replace(record.compute, macs=int(record.compute.macs * macs))
    record.hardware = msgspec.structs.replace(record.hardware, key=machine)
    record.id = record.digest()
    return Profiles([record], "test")


def rows(found):
    return {row.metric: row for row in found.rows}


def gated(metric, amount, **more):
    return Policy(gates=(Gate(metric, max_rise=Tolerance.parse(amount, "test"), **more),))


def test_a_slower_model():
    found = compare_profiles(recorded(), recorded(1.3, macs=2, seed=1), gated("perf/*", "10%"))
    latency, macs = rows(found)["perf/latency_p50"], rows(found)["perf/macs"]
    assert (latency.mark, macs.mark) == ("-", "-")
    assert latency.low < 1.3 < latency.high
    assert latency.high - latency.low < 0.06
    assert macs.ratio == pytest.approx(2)
    assert found.exit_code == 1
    assert {outcome.metric: outcome.status for outcome in found.outcomes}["perf/latency_p50"] == "failed"
    assert {outcome.metric: outcome.status for outcome in found.outcomes}["perf/parameters"] == "passed"


def test_the_same_speed_is_within_chance():
    found = compare_profiles(recorded(), recorded(seed=1), gated("perf/latency_p50", "10%"))
    row = rows(found)["perf/latency_p50"]
    assert row.low < 1 < row.high
    assert row.mark == "~"
    assert rows(found)["perf/macs"].mark == "="
    assert found.exit_code == 0


def test_a_faster_model_and_noise():
    found = compare_profiles(recorded(noisy=True), recorded(0.5, seed=1))
    assert rows(found)["perf/latency_p50"].mark == "+"
    assert "busy" in rows(found)["perf/latency_p50"].reason


def test_few_samples_have_no_interval():
    found = compare_profiles(recorded(count=3), recorded(2, count=3, seed=1), gated("perf/latency_p50", "10%"))
    assert rows(found)["perf/latency_p50"].low is None
    assert [outcome.status for outcome in found.outcomes] == ["inconclusive"]


def test_other_hardware_is_refused():
    first, second = recorded(), recorded(machine="server")
    with pytest.raises(ComparabilityError, match="laptop and server"):
        compare_profiles(first, second)
    assert any("laptop" in note for note in compare_profiles(first, second, any_hardware=True).notes)


def test_other_workloads_are_refused():
    second = recorded()
    second[0].workload = msgspec.structs.replace(second[0].workload, post="semantic")
    with pytest.raises(ComparabilityError, match="no workload in common"):
        compare_profiles(recorded(), second)


def test_gates_on_costs_that_do_not_exist():
    with pytest.raises(ConfigError, match="perf/latency"):
        compare_profiles(recorded(), recorded(), gated("perf/latency", "10%"))


def test_one_configuration_for_scores_and_costs():
    from tests.test_comparison import made

    both = Policy(gates=(*gated("perf/latency_p50", "10%").gates, Gate("semantic/miou", min=0.1)), replicates=200, permutations=200)
    assert [outcome.metric for outcome in compare_profiles(recorded(), recorded(), both).outcomes] == ["perf/latency_p50"]
    scores = compare(made(1), made(2), options=Options(both))
    assert [outcome.metric for outcome in scores.outcomes] == ["semantic/miou"]


def test_medians_of_resamples():
    values = np.arange(101.0)
    found = _medians(values, 2000, 0)
    # the standard deviation of the median of n uniform values is about their range / (2 sqrt(n))
    assert found.mean() == pytest.approx(50, abs=0.5)
    assert found.std() == pytest.approx(101 / (2 * np.sqrt(101)), rel=0.1)
    assert np.array_equal(found, _medians(values, 2000, 0))


def test_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, profiles in (("a.json", recorded()), ("b.json", recorded(1.5, seed=1)), ("c.json", recorded(machine="server"))):
        profiles.save(tmp_path / name)
    assert cli.run(["compare", "a.json", "b.json"]) == 0
    assert "median latency" in capsys.readouterr().out
    assert cli.run(["compare", "a.json", "b.json", "--max-rise", "perf/latency_p50=10%", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["status"]) == ("segbench.compare-profiles/1", "failed")
    assert cli.run(["compare", "a.json", "c.json"]) == 4
    assert cli.run(["compare", "a.json", "c.json", "--any-hardware"]) == 0
    assert cli.run(["compare", "a.json", "b.json", "--junit", "gates.xml"]) == 2
    assert "reports and badges are of runs" in capsys.readouterr().err
