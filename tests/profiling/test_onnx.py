"""ONNX graphs: counts by hand and against torch, the cut, ONNX Runtime and OpenVINO, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segbench.errors import ConfigError, FormatError, InputError
from segbench.profiling import Policy, macs_onnx, profile
from segbench.profiling.macs_torch import is_within

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.frameworks

QUICK = Policy(min_runs=6, max_runs=8, min_time_s=0.0, max_time_s=0.5, warmup_runs=12, warmup_time_s=0.5)


def graph(nodes: list, inputs: dict[str, list], outputs: list[str], weights: dict[str, np.ndarray], opset: int = 21):
    """A model of a few nodes. `inputs` name -> shape, where a text is an open size."""
    make = onnx.helper
    float32 = onnx.TensorProto.FLOAT
    body = make.make_graph(
        nodes,
        "test",
        [make.make_tensor_value_info(name, float32, shape) for name, shape in inputs.items()],
        [make.make_tensor_value_info(name, float32, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return make.make_model(body, opset_imports=[make.make_opsetid("", opset)], ir_version=10)


def counted(nodes, inputs, weights, **shapes):
    model = graph(nodes, inputs, ["y"], weights)
    return macs_onnx.count(macs_onnx.with_input_shapes(model, {name: tuple(shape) for name, shape in inputs.items()} | shapes))


def weight(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def node(kind: str, *names: str, **attributes):
    return onnx.helper.make_node(kind, list(names), ["y"], **attributes)


CASES = {
    "conv": lambda: ([node("Conv", "x", "w", pads=[1, 1, 1, 1])], {"x": [2, 3, 10, 12]}, {"w": weight(8, 3, 3, 3)}, 2 * 8 * 120 * 27),
    "grouped conv": lambda: ([node("Conv", "x", "w", group=4)], {"x": [1, 8, 10, 10]}, {"w": weight(16, 2, 3, 3)}, 16 * 64 * 18),
    "dilated conv": lambda: ([node("Conv", "x", "w", dilations=[2, 2])], {"x": [1, 4, 10, 10]}, {"w": weight(4, 4, 3, 3)}, 4 * 36 * 36),
    "transposed conv": lambda: (
        [node("ConvTranspose", "x", "w", strides=[2, 2], group=2)],
        {"x": [1, 8, 10, 10]},
        {"w": weight(8, 8, 3, 3)},
        8 * 100 * 8 * 9,
    ),
    "matmul": lambda: ([node("MatMul", "x", "w")], {"x": [2, 3, 4]}, {"w": weight(4, 5)}, 2 * 3 * 4 * 5),
    "broadcast matmul": lambda: ([node("MatMul", "x", "w")], {"x": [2, 1, 4, 5]}, {"w": weight(3, 5, 6)}, 2 * 3 * 4 * 5 * 6),
    "gemm": lambda: ([node("Gemm", "x", "w", transB=1)], {"x": [4, 7]}, {"w": weight(5, 7)}, 4 * 7 * 5),
    "gemm of a transposed": lambda: ([node("Gemm", "x", "w", transA=1)], {"x": [7, 4]}, {"w": weight(7, 5)}, 4 * 7 * 5),
    "einsum": lambda: ([node("Einsum", "x", "w", equation="bij,bkj->bik")], {"x": [2, 3, 4]}, {"w": weight(2, 5, 4)}, 2 * 3 * 5 * 4),
    "lstm": lambda: (
        [onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6)],
        {"x": [5, 2, 8]},
        {"w": weight(1, 24, 8), "r": weight(1, 24, 6)},
        5 * 2 * (24 * 8 + 24 * 6),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name):
    nodes, inputs, weights, expected = CASES[name]()
    found = counted(nodes, inputs, weights)
    assert found.macs == expected
    assert not found.suspicious


def test_what_is_not_counted_is_listed():
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Reshape", ["b", "s"], ["y"]),
    ]
    found = counted(nodes, {"x": [1, 3, 4, 4]}, {"w": weight(2, 3, 1, 1), "s": np.array([1, 32], np.int64)})
    assert (found.macs, dict(found.uncounted), found.elements) == (16 * 6, {"Relu": 1}, 32)


def test_a_product_of_unknown_shape_is_suspicious():
    nodes = [onnx.helper.make_node("NonZero", ["x"], ["n"]), onnx.helper.make_node("Cast", ["n"], ["f"], to=1)]
    nodes += [onnx.helper.make_node("Transpose", ["f"], ["t"]), onnx.helper.make_node("MatMul", ["t", "f"], ["y"])]
    model = macs_onnx.with_input_shapes(graph(nodes, {"x": [3, 4]}, ["y"], {}), {"x": (3, 4)})
    assert "MatMul" in macs_onnx.count(model).suspicious
    assert set(macs_onnx.unknown_shapes(model)) == {"f", "t", "y"}
    assert macs_onnx.count(model, {"t": (12, 2), "f": (2, 12), "y": (12, 12)}).macs == 12 * 12 * 2


def test_shapes_unknown_to_inference_come_from_a_run(tmp_path):
    nodes = [onnx.helper.make_node("NonZero", ["x"], ["n"]), onnx.helper.make_node("Cast", ["n"], ["f"], to=1)]
    nodes += [onnx.helper.make_node("Transpose", ["f"], ["t"]), onnx.helper.make_node("MatMul", ["t", "f"], ["y"])]
    path = tmp_path / "data_dependent.onnx"
    onnx.save(graph(nodes, {"x": [1, 3, 4]}, ["y"], {}), str(path))
    record = profile(str(path), threads=1, policy=QUICK)[0]
    assert record.compute.macs == 12 * 12 * 3  # no input is zero: 12 positions of three indices
    assert not any("lower bound" in warning for warning in record.warnings)


def test_scopes_in_names_of_the_older_exporter():
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["a"], name="/encoder/conv1/Conv")]
    nodes += [
        onnx.helper.make_node("Relu", ["a"], ["b"], name="/encoder/Relu"),
        onnx.helper.make_node("Conv", ["b", "v"], ["y"], name="/decoder/Conv"),
    ]
    model = graph(nodes, {"x": ["n", 3, "h", "w"]}, ["y"], {"w": weight(4, 3, 1, 1), "v": weight(2, 4, 1, 1)})
    shaped = macs_onnx.with_input_shapes(model, {"x": (1, 3, 5, 5)})
    assert [module.path for module in macs_onnx.modules(shaped)] == ["", "encoder.conv1", "encoder", "decoder"] or {
        module.path for module in macs_onnx.modules(shaped)
    } == {"", "encoder.conv1", "encoder", "decoder"}
    assert macs_onnx.count(shaped).within(["encoder"]) == 25 * 12
    assert macs_onnx.cut_tensors(shaped, lambda scope: is_within(scope, ["encoder"])) == ["b"]


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "m.onnx"
    for content in (b"", b"not a model", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            macs_onnx.load(path)
    with pytest.raises(InputError, match="no such model"):
        macs_onnx.load(tmp_path / "none.onnx")


@pytest.fixture
def conv(tmp_path) -> Path:
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], name="/encoder/Conv")]
    path = tmp_path / "conv.onnx"
    onnx.save(graph(nodes, {"x": ["n", 3, "h", "w"]}, ["y"], {"w": weight(4, 3, 3, 3)}), str(path))
    return path


def test_a_file_in_onnx_runtime(conv):
    found = profile(str(conv), input="3x16x16", batch=[1, 2], size=["16", "32"], threads=1, policy=QUICK)
    assert [record.compute.macs for record in found.records] == [256 * 4 * 27, 512 * 4 * 27, 1024 * 4 * 27, 2048 * 4 * 27]
    record = found[0]
    assert record.runtime.backend == "onnxruntime"
    assert record.runtime.providers == ["CPUExecutionProvider"]
    assert record.runtime.compute_dtype == "float32"
    assert record.model.weights.startswith("sha256:")
    assert record.parameters.total == 108
    assert record.compute.method == "onnx-graph"
    assert record.memory.rss_peak > record.memory.rss_base
    assert record.latency.first_call > record.latency.p50


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"input": "4x16x16"}, InputError, r"\?x3x\?x\?"),
        ({"input": "3x16"}, InputError, "input 'x'"),
        ({}, ConfigError, "--input"),
        ({"input": ["3x8x8", "more=3x8x8"]}, InputError, "1 inputs"),
        ({"input": "3x16x16", "backend": "onnxruntime:cuda"}, ConfigError, "no provider 'cuda'"),
        ({"input": "3x16x16", "backend": "torch"}, ConfigError, "does not run ONNX"),
        ({"input": "3x16x16", "backbone": "encodr"}, ConfigError, "encodr"),
    ],
)
def test_bad_requests(conv, options, error, text):
    with pytest.raises(error, match=text):
        profile(str(conv), threads=1, policy=QUICK, **options)


def test_half_precision_on_a_cpu_is_seen_through(tmp_path):
    make = onnx.helper
    half = onnx.TensorProto.FLOAT16
    body = make.make_graph(
        [make.make_node("Conv", ["x", "w"], ["y"])],
        "half",
        [make.make_tensor_value_info("x", half, [1, 3, 8, 8])],
        [make.make_tensor_value_info("y", half, None)],
        [onnx.numpy_helper.from_array(np.zeros((4, 3, 1, 1), np.float16), "w")],
    )
    path = tmp_path / "half.onnx"
    onnx.save(make.make_model(body, opset_imports=[make.make_opsetid("", 21)], ir_version=10), str(path))
    record = profile(str(path), threads=1, policy=QUICK, dtype="fp16")[0]
    if record.error is None:  # the type is asked from the optimised graph, whatever this version of the runtime does
        assert record.runtime.compute_dtype in ("float16", "float32")
        assert (record.runtime.compute_dtype == "float16") == (not any("asked for" in warning for warning in record.warnings))
    else:
        assert record.error.kind == "unsupported"


def exported(backend: str, **options):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from tests.profiling import nets

    return profile(f"{nets.__file__}:net", backend=backend, threads=1, policy=QUICK, **options)[0]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_exported_model_counts_as_torch_does(backend):
    pytest.importorskip(backend)
    record = exported(backend)
    from tests.profiling import nets

    by_hand = nets.macs(32)
    assert record.error is None, record.error
    assert record.compute.macs == sum(by_hand.values())
    assert (record.compute.macs_backbone, record.compute.macs_neck) == (by_hand["encoder"], by_hand["neck"])
    assert record.compute.method == "onnx-graph"
    assert record.overhead.method == "counterfactual"
    assert record.overhead.head_over_backbone.latency is not None
    assert record.check.reference == "torch eager"
    assert record.check.max_abs_error < 1e-3
    assert record.check.argmax_agreement > 0.99
    assert record.runtime.compute_dtype == "float32"
    assert record.runtime.threads == 1


def test_the_cut_out_backbone_gives_the_backbone_s_output(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from segbench.profiling.export import export
    from segbench.profiling.records import Split, Tensor
    from segbench.profiling.runner_onnx import OnnxRuntimeRunner
    from segbench.profiling.runner_torch import TorchRunner
    from segbench.profiling.spec import Spec
    from segbench.profiling.targets import Loaded
    from tests.profiling import nets

    spec = Spec(target="", inputs=[Tensor(shape=(1, 3, 32, 32), dtype="float32")], threads=1)
    source = TorchRunner(Loaded(nets.net()[0], "net"), spec)
    runner = OnnxRuntimeRunner(export(source, tmp_path), spec, tmp_path, source)
    (features,) = runner.backbone(Split(backbone=["encoder"], decided="option"))()
    with torch.inference_mode():
        expected = source.model.encoder(source.args[0]).numpy()
    assert sorted(features.shape) == sorted(expected.shape) or features.size == expected.size
    assert np.allclose(np.sort(features.ravel()), np.sort(expected.ravel()), atol=1e-4)
    kept = macs_onnx.count(macs_onnx.load(tmp_path / "backbone.onnx"))
    assert kept.macs == nets.macs(32)["encoder"]


def test_what_cannot_be_exported_is_a_record():
    pytest.importorskip("onnxscript")
    from tests.profiling import nets

    record = profile(f"{nets.__file__}:untraceable", backend="onnxruntime", threads=1, policy=QUICK)[0]
    assert record.error.kind == "export"
    assert record.error.stage == "export"
    assert record.latency is None


def test_a_model_that_tracing_changes_is_run_before_it():
    pytest.importorskip("onnxscript")
    from tests.profiling import nets

    record = profile(f"{nets.__file__}:changed_by_tracing", backend="onnxruntime", threads=1, policy=QUICK)[0]
    assert record.error is None
    assert record.check.max_abs_error < 1e-5


def test_modules_whose_forward_was_replaced_have_whole_paths():
    pytest.importorskip("onnxscript")
    from tests.profiling import nets

    record = profile(f"{nets.__file__}:forward_replaced", backend="onnxruntime", threads=1, policy=QUICK)[0]
    assert record.error is None
    assert record.compute.by_module == {"encoder.conv": 8 * 8 * 3 * 4, "decoder": 8 * 8 * 4 * 5}
    assert record.compute.macs_backbone == 8 * 8 * 3 * 4
    assert record.split.backbone == ["encoder"]


def test_weights_quantised_by_onnx_runtime(conv):
    shape = (3, 16, 16)
    whole, quantised = (profile(str(conv), input=shape, dtype=dtype, threads=1, policy=QUICK, roof=False)[0] for dtype in ("fp32", "int8"))
    assert quantised.error is None
    assert quantised.runtime.compute_dtype == "int8"
    assert quantised.runtime.options["quantisation"] == "dynamic, weights of 8 bits"
    assert quantised.compute.macs == whole.compute.macs  # of the graph in the file
    assert "quantisation" not in whole.runtime.options
    with pytest.raises(ConfigError, match="where the file is quantised"):
        profile(str(conv), input=shape, dtype="int8", backend="openvino", threads=1, policy=QUICK)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_machine_s_peak_is_measured_in_the_runtime(conv, backend):
    pytest.importorskip(backend)
    record = profile(str(conv), input=(3, 16, 16), backend=backend, threads=1, policy=QUICK)[0]
    assert record.roof.flops_per_s > 1e9
    assert record.roof.of_peak == record.roof.achieved_flops_per_s / record.roof.flops_per_s


def test_weights_of_a_file_go_to_the_stage_that_uses_them():
    made = [("first", "x", "a", "encoder"), ("second", "a", "b", "neck"), ("second", "b", "c", "head"), ("third", "c", "y", "head")]
    nodes = [onnx.helper.make_node("Conv", [source, name], [to], name=f"/{stage}/Conv") for name, source, to, stage in made]
    weights = {"first": weight(4, 3, 1, 1), "second": weight(4, 4, 1, 1), "third": weight(2, 4, 1, 1)}
    model = graph(nodes, {"x": [1, 3, 2, 2]}, ["y"], weights)
    found = macs_onnx.parameters(model, {"backbone": ["encoder"], "neck": ["neck"]})
    assert found == {"total": 12 + 16 + 8, "buffers": 0, "backbone": 12, "neck": 16}


def test_a_file_without_module_names_is_cut_at_tensors(tmp_path):
    made = [("first", "x", "a"), ("second", "a", "b"), ("third", "b", "c"), ("fourth", "a", "d")]
    nodes = [onnx.helper.make_node("Conv", [source, name], [to]) for name, source, to in made]
    nodes.append(onnx.helper.make_node("Add", ["c", "d"], ["y"]))
    weights = {"first": weight(4, 3, 1, 1), "second": weight(4, 4, 1, 1), "third": weight(2, 4, 1, 1), "fourth": weight(2, 4, 1, 1)}
    path = tmp_path / "plain.onnx"
    onnx.save(graph(nodes, {"x": [1, 3, 8, 8]}, ["y"], weights), str(path))
    record = profile(str(path), backbone="tensor:b", threads=1, policy=QUICK, roof=False)[0]
    assert record.split.backbone == ["up to b"]
    assert (record.compute.macs_backbone, record.compute.macs_head) == (64 * (12 + 16), 64 * (8 + 8))
    assert (record.parameters.backbone, record.parameters.head) == (28, 16)
    assert record.overhead.method == "counterfactual"
    assert record.overhead.head_over_backbone.latency is not None
    two = profile(str(path), backbone="tensor:b, d", threads=1, policy=QUICK, roof=False)[0]
    assert two.compute.macs_backbone == 64 * (12 + 16 + 8)
    with pytest.raises(ConfigError, match="no tensor 'e'"):
        profile(str(path), backbone="tensor:e", threads=1, policy=QUICK)


def test_a_torch_module_is_not_cut_at_tensors():
    with pytest.raises(ConfigError, match="split at its modules"):
        exported("onnxruntime", backbone="tensor:relu")
