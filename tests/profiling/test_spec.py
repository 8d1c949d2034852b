"""The small languages of the command line, and targets."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench.errors import ConfigError, FormatError, InputError, MissingDependencyError
from segbench.profiling import spec as specs
from segbench.profiling import targets
from segbench.profiling.records import Tensor
from segbench.profiling.spec import Spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3x512x512", Tensor(shape=(3, 512, 512), dtype="float32")),
        ("pixel_values=3x64x64:fp16", Tensor(name="pixel_values", shape=(3, 64, 64), dtype="float16")),
        ("ids=77:int64", Tensor(name="ids", shape=(77,), dtype="int64")),
        ("flag=scalar:bool", Tensor(name="flag", shape=(), dtype="bool")),
        (" 3x8x8:bf16 ", Tensor(shape=(3, 8, 8), dtype="bfloat16")),
    ],
)
def test_inputs(text, expected):
    assert specs.parse_input(text) == expected


@pytest.mark.parametrize("text", ["", "x", "3x", "3x-1", "3x0x4", "=3x4", "a b=3", "3x4:float31", "3,4", "1.5x2"])
def test_no_inputs(text):
    with pytest.raises(ConfigError):
        specs.parse_input(text)


@given(st.text(max_size=20))
def test_any_text_is_an_input_or_a_config_error(text):
    for parse in (specs.parse_input, specs.parse_size, specs.parse_backend, specs.compute_dtype):
        with suppress(ConfigError):
            parse(text)


def test_sizes_counts_and_types():
    assert specs.parse_size("512") == (512, 512)
    assert specs.parse_size("512x1024") == (512, 1024)
    assert specs.parse_counts("1,2,4", "batch") == [1, 2, 4]
    for wrong in ("", "0", "-1", "a", "1,", "1.5"):
        with pytest.raises(ConfigError):
            specs.parse_counts(wrong, "batch")
    assert [specs.compute_dtype(name) for name in ("fp32", "tf32", "half", "bf16", "int8")] == [
        "float32",
        "tf32",
        "float16",
        "bfloat16",
        "int8",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch", ("torch", None)),
        ("onnxruntime:CUDA", ("onnxruntime", "CUDA")),
        ("tensorrt", ("onnxruntime", "tensorrt")),
        ("python", ("python", None)),
    ],
)
def test_backends(text, expected):
    assert specs.parse_backend(text) == expected


@pytest.mark.parametrize("text", ["tensorflow", "torch:cuda", "", "openvino:GPU"])
def test_no_backends(text):
    with pytest.raises(ConfigError, match="no backend"):
        specs.parse_backend(text)


def test_resolving():
    asked = Spec(
        target="x", inputs=[Tensor(shape=(3, 8, 8), dtype="float32"), Tensor(name="ids", shape=(5,), dtype="int64")], batch=4, size=(16, 32)
    )
    assert [entry.shape for entry in specs.resolve(asked, []).inputs] == [(4, 3, 16, 32), (4, 5)]
    own = [Tensor(shape=(1, 10, 10), dtype="float32")]
    assert [entry.shape for entry in specs.resolve(Spec(target="x"), own).inputs] == [(1, 1, 10, 10)]
    with pytest.raises(ConfigError, match="three axes"):
        specs.resolve(Spec(target="x", size=(2, 2)), [Tensor(shape=(5,), dtype="float32")])


def test_shown_targets_hold_no_folders():
    assert targets.shown("/home/me/models.py:unet") == "models.py:unet"
    assert targets.shown("/home/me/model.onnx") == "model.onnx"
    assert targets.shown("package.module:factory") == "package.module:factory"
    assert targets.shown("hf:SegformerConfig") == "hf:SegformerConfig"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "zoo_of_tests.py").write_text(
        "class Models:\n    @staticmethod\n    def net():\n"
        "        import helper_of_tests\n        return helper_of_tests.double, (3, 4, 4)\n"
    )
    (tmp_path / "helper_of_tests.py").write_text("def double(x): return 2 * x\n")
    (tmp_path / "broken_of_tests.py").write_text("1 / 0\n")
    (tmp_path / "needs_of_tests.py").write_text("import torch_of_nobody\n")
    yield tmp_path
    for name in ("zoo_of_tests", "helper_of_tests", "broken_of_tests", "needs_of_tests"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("target", ["zoo_of_tests.py:Models.net", "zoo_of_tests:Models.net"])
def test_factories(folder, target):
    loaded = targets.load(target)
    assert loaded.model(2) == 4
    assert (loaded.name, loaded.input_shape, loaded.weights) == ("net", (3, 4, 4), None)


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        ("nothing", ConfigError, "not a model"),
        ("zoo_of_tests.py:", ConfigError, "not a model"),
        ("zoo_of_tests.py:no_such", ConfigError, "it has Models"),
        ("no_such_module_here:net", ConfigError, "no module"),
        ("no/such.py:net", InputError, "no such file"),
        ("broken_of_tests.py:net", InputError, "ZeroDivisionError"),
        ("broken_of_tests:net", InputError, "ZeroDivisionError"),
        ("needs_of_tests.py:net", MissingDependencyError, "torch_of_nobody"),
        ("needs_of_tests:net", MissingDependencyError, "torch_of_nobody"),
        ("missing.json", InputError, "cannot be read"),
    ],
)
def test_targets_that_are_none(folder, target, error, text):
    with pytest.raises(error, match=text):
        targets.load(target)


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"hidden_size": 3})])
def test_configurations_that_are_none(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(FormatError):
        targets.load("config.json")
