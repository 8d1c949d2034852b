"""What is to be measured, as it travels to the process that measures, and the small languages of the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from segbench.errors import ConfigError
from segbench.profiling.records import Tensor

DTYPES = {
    "fp32": "float32",
    "float32": "float32",
    "tf32": "tf32",
    "fp16": "float16",
    "float16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "int8": "int8",
}
INPUT_DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int8", "uint8", "bool")
BACKENDS = ("torch", "torch.compile", "onnxruntime", "openvino", "tensorrt", "python")
POSTS = ("none", "semantic", "instance", "panoptic")
ESTIMATORS = ("auto", "in-situ", "counterfactual", "both")
PLACE = re.compile(r"(cpu|cuda(:\d+)?)")


class Spec(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One measurement.

    `inputs` have no batch axis until `resolve`; those without a name go to the model by position. Where there are none, the model says
    what it takes. `policy` holds the fields of `timing.Policy`.
    """

    target: str
    inputs: list[Tensor] = []
    batch: int = 1
    size: tuple[int, int] | None = None
    dtype: str = "float32"
    device: str = "cpu"
    backend: str = "torch"
    provider: str | None = None
    backbone: str | None = "auto"
    neck: str | None = None
    neck_in: str = "head"
    estimator: str = "auto"
    reference: str | None = None
    post: str = "none"
    detections: list[int] = []
    output_size: tuple[int, int] | None = None
    threads: int | None = None
    seed: int = 0
    name: str | None = None
    task: str | None = None
    roof: bool = True
    policy: dict[str, Any] = {}


def parse_input(text: str) -> Tensor:
    """`[NAME=]3x512x512[:dtype]`, without the batch.

    Raises:
        ConfigError: anything else.
    """
    found = re.fullmatch(r"(?:([A-Za-z_][\w.]*)=)?(\d+(?:x\d+)*|scalar)(?::(\w+))?", text.strip())
    if not found:
        raise ConfigError(f"not an input: {text!r}", hint="such as --input 3x512x512 or --input pixel_values=3x512x512:float16")
    name, sizes, dtype = found.groups()
    shape = () if sizes == "scalar" else tuple(int(size) for size in sizes.split("x"))
    if 0 in shape:
        raise ConfigError(f"an input without elements: {text!r}")
    return Tensor(name=name, shape=shape, dtype=input_dtype(dtype or "float32"))


def input_dtype(name: str) -> str:
    """The full name of an input's type."""
    full = DTYPES.get(name, name)
    if full not in INPUT_DTYPES:
        raise ConfigError(f"no input type is called {name!r}", hint=f"one of {', '.join(INPUT_DTYPES)}")
    return full


def compute_dtype(name: str) -> str:
    """The full name of a type to compute in."""
    if name not in DTYPES:
        raise ConfigError(f"no compute type is called {name!r}", hint="one of fp32, tf32, fp16, bf16, int8")
    return DTYPES[name]


def parse_size(text: str) -> tuple[int, int]:
    """`512x1024` -> (height, width); `512` is square."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if not found or "0" in (found[1], found[2]):
        raise ConfigError(f"not a size: {text!r}", hint="height x width, such as 512x1024")
    return int(found[1]), int(found[2] or found[1])


def boundary(backbone: str | None) -> list[str]:
    """The tensors of `tensor:a,b`, at which an ONNX file without module names is cut; none of any other split."""
    if backbone is None or not backbone.startswith("tensor:"):
        return []
    return [name.strip() for name in backbone.removeprefix("tensor:").split(",") if name.strip()]


def up_to(tensors: Sequence[str]) -> str:
    """What the part of a graph is called that ends at some tensors."""
    return f"up to {' and '.join(tensors)}"


def parse_counts(text: str, what: str) -> list[int]:
    """`1,2,4` -> positive numbers."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or any(value < 1 for value in values):
        raise ConfigError(f"not a list of {what}: {text!r}", hint="positive numbers with commas between, such as 1,2,4")
    return values


def parse_backend(text: str) -> tuple[str, str | None]:
    """`onnxruntime:cuda` -> backend and provider.

    Raises:
        ConfigError: an unknown backend; `tensorrt` runs as a provider of ONNX Runtime.
    """
    backend, _, provider = text.partition(":")
    if backend not in BACKENDS or (provider and backend != "onnxruntime"):
        raise ConfigError(f"no backend is called {text!r}", hint=f"one of {', '.join(BACKENDS)}, or onnxruntime:PROVIDER")
    return ("onnxruntime", "tensorrt") if backend == "tensorrt" else (backend, provider or None)


def resized(inputs: list[Tensor], size: tuple[int, int] | None) -> list[Tensor]:
    """The inputs at another height and width: the last two axes of everything with at least three."""
    if size is None:
        return inputs
    if not any(len(entry.shape) >= 3 for entry in inputs):
        raise ConfigError("--size needs an input of three axes or more, such as 3x512x512")
    return [msgspec.structs.replace(entry, shape=(*entry.shape[:-2], *size)) if len(entry.shape) >= 3 else entry for entry in inputs]


def resolve(spec: Spec, own: Sequence[Tensor]) -> Spec:
    """The spec with the inputs as the model gets them.

    Args:
        spec: As asked for.
        own: What the model says it takes, without batch; used where the spec names no input.

    Raises:
        ConfigError: neither names one.
    """
    inputs = spec.inputs or list(own)
    if not inputs:
        raise ConfigError("the model does not say which input it takes", hint="pass --input, such as --input 3x512x512")
    inputs = [msgspec.structs.replace(entry, shape=(spec.batch, *entry.shape)) for entry in resized(inputs, spec.size)]
    return msgspec.structs.replace(spec, inputs=inputs)


def resolve_known(spec: Spec) -> Spec:
    """The same of what was asked for, before the model can say anything; where that names no input, none."""
    return resolve(spec, ()) if spec.inputs else spec
