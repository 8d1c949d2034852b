"""A whole measurement on a scripted model: its head does k times the work of its backbone."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segbench.errors import ConfigError, InputError, MissingDependencyError
from segbench.profiling import backends, costs, macs_onnx, runner_onnx, session, targets
from segbench.profiling.families import Named
from segbench.profiling.macs_torch import Count
from segbench.profiling.meters import Disturbance
from segbench.profiling.overhead import over, share
from segbench.profiling.records import Model, Runtime, Tensor
from segbench.profiling.runner import CallableRunner, Failed, input_sets, require_torch
from segbench.profiling.session import Session
from segbench.profiling.spec import Spec
from segbench.profiling.statistics import median
from segbench.profiling.targets import Loaded
from tests.profiling.fakes import DeviceClock, ScriptedClock

MS = 1_000_000
QUIET = Disturbance(0.1, 5, (0, 1000), (0, 0))


class Scripted:
    """Encoder, neck and decoder that take known times; the machine slows down a little with every call."""

    modules = (Named("", "tests.Net"), Named("encoder", "tests.Encoder"), Named("fpn", "tests.Fpn"), Named("decoder", "tests.Decoder"))

    def __init__(self, k: float, neck: float = 0.0, slowing: float = 0.0, staged: bool = True) -> None:
        self.clock = ScriptedClock()
        self.k, self.neck, self.slowing, self.staged = k, neck, slowing, staged
        self.timer = None
        self.calls = 0
        self.output = None

    def _part(self, stage: str, amount: float) -> None:
        if self.timer is not None and stage != "decoder":
            self.timer.enter(stage)
        self.clock.pass_time(amount * MS * (1 + self.slowing * self.calls))
        if self.timer is not None and stage != "decoder":
            self.timer.leave(stage)

    def run(self):
        self.calls += 1
        self._part("backbone", 10)
        self._part("neck", 10 * self.neck)
        self._part("decoder", 10 * self.k)
        self.output = np.zeros((1, 3, 8, 8))
        return self.output

    def backbone(self, split):
        def alone() -> None:
            self.calls += 1
            self._part("backbone", 10 + (10 * self.neck if split.neck_in == "backbone" else 0))

        return alone

    def follow(self, split, timer):
        self.timer = timer

        def stop() -> None:
            self.timer = None

        return stop

    def describe(self, count):
        return Runtime(backend="scripted", compute_dtype="float32")

    def count(self):
        macs = {"encoder.0": 600, "encoder.1": 400, "fpn": 200, "decoder": 300}
        return Count(macs=1500, by_module=Counter(macs), uncounted=Counter(relu=3), elements=9, bytes_moved=300)

    def parameters(self, split):
        return {"total": 50, "trainable": 50, "buffers": 1, "backbone": 30, "neck": 8}

    def check(self):
        return None

    def transfers(self):
        return {"h2d": lambda: self.clock.pass_time(2 * MS), "d2h": lambda: self.clock.pass_time(3 * MS)}


def measured(runner: Scripted, looks=(QUIET, QUIET), **changes):
    policy = {"min_time_s": 0.0, "max_time_s": 60.0}
    spec = Spec(target="x.py:net", inputs=[Tensor(shape=(1, 3, 8, 8), dtype="float32")], roof=False, policy=policy, **changes)
    run = Session(spec, lambda what, share: None, iter(looks).__next__, model=Model(name="net", target="x.py:net"))
    session._measure(run, runner, spec, None)
    return run.record()


@pytest.mark.parametrize("k", [0.25, 1.0, 3.0])
def test_both_estimators_find_k(k):
    record = measured(Scripted(k), estimator="both")
    assert record.overhead.method == "in-situ"
    assert record.overhead.head_over_backbone.latency == pytest.approx(k, abs=1e-6)
    assert record.overhead.head_share.latency == pytest.approx(k / (1 + k), abs=1e-6)
    assert record.overhead.others["counterfactual"].latency == pytest.approx(k, abs=1e-6)
    assert record.overhead.head_over_backbone.latency_interval == pytest.approx((k, k), abs=1e-6)


@pytest.mark.parametrize("k", [0.25, 1.0, 3.0])
def test_both_estimators_agree_while_the_machine_slows_down(k):
    # 0.2 % slower with every call: without turns, the counterfactual would be off by as much as the calls between its halves
    record = measured(Scripted(k, slowing=0.002), estimator="both")
    inside, outside = record.overhead.head_over_backbone, record.overhead.others["counterfactual"]
    assert inside.latency == pytest.approx(k, rel=1e-6)  # the same run on both sides: drift cancels
    assert outside.latency == pytest.approx(k, rel=0.01, abs=0.005)


def test_a_compiled_model_is_only_compared():
    record = measured(Scripted(2.0, staged=False))
    assert record.overhead.method == "counterfactual"
    assert record.overhead.head_over_backbone.latency == pytest.approx(2.0)
    assert record.stages["head"].p50 == 20 * MS
    with pytest.raises(ConfigError, match="eager"):
        measured(Scripted(2.0, staged=False), estimator="in-situ")


def test_a_backbone_that_takes_longer_alone_is_said():
    record = measured(Scripted(-0.5, staged=False))  # the runtime fuses into the head what the cut must hand over
    assert record.overhead.head_over_backbone.latency == pytest.approx(-0.5)
    assert "head" not in record.stages
    assert any("alone takes longer" in warning for warning in record.warnings)


@pytest.mark.parametrize("estimator", ["in-situ", "counterfactual"])
def test_the_neck_goes_where_it_is_put(estimator):
    runner = Scripted(1.0, neck=0.5)
    in_head = measured(runner, estimator=estimator, backbone="encoder", neck="fpn").overhead
    assert in_head.head_over_backbone.latency == pytest.approx(1.5)
    assert in_head.head_over_backbone.macs == pytest.approx(0.5)
    assert in_head.head_over_backbone.parameters == pytest.approx(20 / 30)
    in_backbone = measured(runner, estimator=estimator, backbone="encoder", neck="fpn", neck_in="backbone").overhead
    assert in_backbone.head_over_backbone.latency == pytest.approx(10 / 15)
    assert in_backbone.head_over_backbone.macs == pytest.approx(300 / 1200)
    assert in_backbone.head_share.macs == pytest.approx(300 / 1500)
    assert in_backbone.neck_over_backbone.macs == pytest.approx(0.2)


def test_everything_else_of_the_record():
    record = measured(Scripted(1.0), threads=1)
    assert record.compute.macs == 1500
    assert record.compute.flops == 3000
    assert record.compute.macs_backbone == 1000
    assert record.compute.macs_neck == 200  # fpn, by name
    assert record.compute.macs_head == 300
    assert record.compute.uncounted_ops == {"relu": 3}
    assert record.parameters.head == 12
    assert record.split.decided == "name"
    assert record.latency.p50 == 20 * MS
    assert record.latency.samples == [20 * MS] * 20
    assert record.latency.p90 == record.latency.p95 == 20 * MS
    assert record.latency.p99 is None  # fewer than 100 runs
    assert record.latency.p90_mlperf is None  # fewer than 64
    assert (record.latency.warmup_runs, record.latency.steady, record.latency.stopped) == (11, True, "interval")
    assert record.throughput.images_per_s == pytest.approx(50)
    assert record.energy is None or record.energy.source == "rapl"
    assert record.overhead.beyond_backbone == pytest.approx(1.0)
    assert record.quality.noisy is False


@pytest.mark.parametrize(("waited", "noisy"), [(20, False), (40, True)])
def test_a_process_that_waits_for_its_cpu_is_noisy_though_its_samples_agree(waited, noisy):
    record = measured(Scripted(1.0), looks=(QUIET, Disturbance(3.0, 9, (100, 2000), (1000 - waited, waited))))
    assert record.quality.waited == waited / 1000
    assert record.quality.stolen == 0.1
    assert (record.quality.load_before, record.quality.load_after, record.quality.involuntary_switches) == (0.1, 3.0, 4)
    assert record.latency.noisy is False
    assert record.noisy is record.quality.noisy is noisy


def test_no_split_is_said_and_nothing_guessed():
    runner = Scripted(1.0)
    runner.modules = (Named("", "tests.Net"), Named("body", "tests.Body"), Named("top", "tests.Top"))
    record = measured(runner)
    assert record.split is None
    assert record.overhead is None
    assert any("--backbone" in warning for warning in record.warnings)
    assert measured(runner, backbone=None).warnings == []
    assert measured(runner, backbone="body").split.decided == "option"
    with pytest.raises(ConfigError, match="no module 'bodi'"):
        measured(runner, backbone="bodi")


def test_a_backbone_by_name_that_never_runs_is_none():
    runner = Scripted(1.0)
    runner.count = lambda: Count(macs=300, by_module=Counter({"decoder": 300}))
    record = measured(runner)
    assert record.split is None
    assert record.latency is not None
    assert any("encoder computed nothing" in warning for warning in record.warnings)
    assert measured(runner, backbone="encoder").split.backbone == ["encoder"]  # who names it is believed


def test_the_type_that_ran_is_what_is_recorded():
    runner = Scripted(1.0)
    runner.describe = lambda count: Runtime(backend="scripted", compute_dtype="bfloat16")
    record = measured(runner)
    assert record.runtime.compute_dtype == "bfloat16"
    assert "asked for float32, computed in bfloat16" in record.warnings


def test_suspicious_operators_make_a_lower_bound():
    runner = Scripted(1.0)
    counted = runner.count()
    counted.suspicious.add("mylib::attention")
    runner.count = lambda: counted
    record = measured(runner)
    assert record.compute.suspicious_ops == ["mylib::attention"]
    assert any("lower bound" in warning for warning in record.warnings)


def test_events_time_the_stages_of_a_device():
    from segbench.profiling.timing import Policy, StageTimer, in_situ

    clock = DeviceClock()
    timer = StageTimer(clock)

    def run() -> None:
        for stage, device in (("backbone", 30), ("head", 60)):
            timer.enter(stage)
            timer.enter(stage)  # nested modules of one stage count once
            clock.submit(MS, device * MS)
            timer.leave(stage)
            timer.leave(stage)

    rows = in_situ(run, timer, "backbone", Policy(min_time_s=0))
    assert clock.syncs == 2 * len(rows)  # nothing waits inside a run
    assert median([row["backbone"] for row in rows]) == 31 * MS
    assert median([row["head"] for row in rows]) == 60 * MS
    assert median([row[""] for row in rows]) == 91 * MS
    with pytest.raises(InputError, match="did not run"):
        in_situ(lambda: clock.submit(MS, MS), timer, "backbone", Policy())


def test_ratios_of_nothing():
    assert over(3, 2) == 0.5
    assert share(3, 2) == pytest.approx(1 / 3)
    assert over(None, 1) is over(1, None) is over(1, 0) is share(0, 0) is None


def spec_of(**changes) -> Spec:
    quick = {"min_runs": 3, "max_runs": 5, "min_time_s": 0.0, "max_time_s": 0.2}
    return Spec(**({"target": "", "backend": "python", "inputs": [Tensor(shape=(3, 8, 8), dtype="float32")], "policy": quick} | changes))


def test_a_plain_callable():
    seen = []

    def model(image, scale):
        seen.append((image.shape, image.dtype, scale.dtype))
        return {"out": image * 2, "name": "x"}

    inputs = [Tensor(shape=(3, 8, 8), dtype="float32"), Tensor(name="scale", shape=(2,), dtype="int64")]
    record = session.run(spec_of(inputs=inputs, batch=2), loaded=Loaded(model, "model"))
    assert seen[0] == ((2, 3, 8, 8), np.dtype("float32"), np.dtype("int64"))
    assert record.runtime.backend == "python"
    assert record.compute is None
    assert record.parameters is None
    assert record.latency.n >= 3
    assert record.workload.scenario == "multi_stream"
    assert [entry.shape for entry in record.workload.inputs] == [(2, 3, 8, 8), (2, 2)]


def test_equal_inputs_for_every_backend():
    first = [CallableRunner(lambda x: x, spec_of()).run() for _ in range(2)]
    assert np.array_equal(*first)
    assert not np.array_equal(first[0], CallableRunner(lambda x: x, spec_of(seed=1)).run())


def test_what_remembers_its_inputs_is_not_timed_by_its_memory():
    remembered = {}

    def model(image):
        return remembered.setdefault(image.tobytes(), image * 2)

    record = session.run(spec_of(), loaded=Loaded(model, "model"))
    assert len(remembered) == record.latency.input_sets == 8
    runner = CallableRunner(lambda x: x, spec_of())
    turns = [runner.run().tobytes() for _ in range(16)]
    assert turns[:8] == turns[8:]
    assert len(set(turns)) == 8


def test_fewer_sets_of_inputs_that_are_large():
    assert [input_sets([Tensor(shape=(batch, 3, 1024, 1024), dtype="float32")]) for batch in (1, 4, 64)] == [8, 5, 1]
    assert input_sets([Tensor(shape=(), dtype="float32")]) == 8


def test_copies_between_host_and_device_are_stages():
    record = measured(Scripted(1.0))
    assert record.stages["h2d"].p50 == 2 * MS
    assert record.stages["d2h"].p50 == 3 * MS
    assert record.stages["h2d"].method == "alone"
    assert record.throughput.scenario == "offline"


@pytest.mark.parametrize("output", [None, [], {}, "text", 3.0])
def test_a_model_that_returns_nothing(output):
    with pytest.raises(InputError, match="returned"):
        session.run(spec_of(), loaded=Loaded(lambda image: output, "model"))


def test_outputs_are_found_wherever_they_are():
    from segbench.profiling.runner import flatten

    array = np.zeros(3)
    assert len(flatten({"a": [array, (array, None)], "b": SimpleNamespace(c=array, d=1)})) == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no more"), "memory"),
        (RuntimeError("CUDA out of memory. Tried"), "memory"),
        (NotImplementedError("conv in half"), "unsupported"),
    ],
)
def test_what_cannot_be_measured_is_a_record(error, kind):
    def model(image):
        raise error

    record = session.run(spec_of(), loaded=Loaded(model, "model"))
    assert record.error.kind == kind
    assert record.error.stage == "warm-up"
    assert record.latency is None
    assert record.workload.inputs[0].shape == (1, 3, 8, 8)


def test_what_the_caller_must_mend_is_raised():
    def model(image):
        raise ValueError("expected 4 channels\nand more")

    with pytest.raises(InputError, match=r"ValueError: expected 4 channels \(in test_session.py:\d+\)$"):
        session.run(spec_of(), loaded=Loaded(model, "model"))
    with pytest.raises(ConfigError, match="which input"):
        session.run(spec_of(inputs=[]), loaded=Loaded(model, "model"))
    with pytest.raises(ConfigError, match="decides itself"):
        session.run(spec_of(dtype="float16"), loaded=Loaded(model, "model"))


def test_a_failed_export_is_a_record(monkeypatch):
    def fail(*args):
        raise Failed("export", "step 2 of 3")

    monkeypatch.setattr(backends, "runner", fail)
    record = session.run(spec_of(), loaded=Loaded(lambda x: x, "model"))
    assert (record.error.kind, record.error.message) == ("export", "step 2 of 3")


@pytest.mark.parametrize(
    ("package", "need", "extra"),
    [
        ("onnx", lambda: macs_onnx.require_onnx(), "segbench[onnx]"),
        ("onnxruntime", lambda: runner_onnx.require_onnxruntime(), "segbench[onnx]"),
        ("openvino", lambda: runner_onnx.OpenVinoRunner(Path("m.onnx"), spec_of(), Path()), "segbench[openvino]"),
        ("torch", lambda: require_torch("this"), "segbench[torch]"),
        ("transformers", lambda: targets.load("hf:SegformerConfig"), "transformers"),
    ],
)
def test_a_missing_package_is_named_with_its_command(monkeypatch, package, need, extra):
    monkeypatch.setitem(sys.modules, package, None)  # what an import finds where nothing is installed
    with pytest.raises(MissingDependencyError) as error:
        need()
    assert package in error.value.message or package == "transformers"
    assert error.value.hint.startswith("pip install")
    assert extra in error.value.hint
    assert error.value.exit_code == 6


def test_providers_that_fell_back_are_said():
    class Session:
        def __init__(self, path, options, providers) -> None:
            self.asked = providers

        def get_providers(self):
            return ["CPUExecutionProvider"]  # as ONNX Runtime does where the other does not start

        def get_inputs(self):
            return []

        def run(self, names, feed):
            return [np.zeros(1)]

    runner = object.__new__(runner_onnx.OnnxRuntimeRunner)
    runner.ort = SimpleNamespace(
        InferenceSession=Session,
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *entry: None),
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    runner.spec = spec_of(device="cuda:0")
    runner.providers = runner_onnx._providers(runner.ort, runner.spec)
    runner.ran_on = []
    runner.session(Path("m.onnx"))
    assert runner.providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert runner.ran_on == ["CPUExecutionProvider"]
    assert runner.fell_back() == "asked for CUDAExecutionProvider, ran on CPUExecutionProvider"


def test_energy_is_read_from_a_counter_or_not_at_all():
    runner = Scripted(1.0)
    latency = measured(runner).latency
    counter = SimpleNamespace(source="scripted", joules=lambda: 3.0 * runner.clock.time / 1e9)  # three watts
    energy = costs.energy_of(runner, spec_of(batch=2), latency, counter)
    assert energy.joules_per_image == pytest.approx(3 * 0.020 / 2)
    assert energy.window_s >= 2.0
    assert costs.energy_of(runner, spec_of(), latency, SimpleNamespace(source="still", joules=lambda: 5.0)) is None


def test_memory_of_a_device_is_what_the_call_needs_beyond_the_weights():
    runner = Scripted(1.0)
    needs = iter([90, 50])
    runner.device_memory = lambda run: {"cuda_base": 10 << 20, "cuda_allocated": next(needs) << 20, "cuda_reserved": 100 << 20}
    record = measured(runner)
    assert record.memory.cuda_allocated == 90 << 20
    assert record.memory.backbone_cuda_allocated == 50 << 20
    assert record.overhead.head_over_backbone.memory == 1.0  # 80 against 40
    assert record.overhead.head_share.memory == 0.5


def test_small_differences_of_memory_are_no_ratio():
    assert measured(Scripted(1.0)).overhead.head_over_backbone.memory is None
