"""Multiply-accumulates of an ONNX graph, in the convention of `macs_torch`: equal to the digit where the export folded nothing away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.errors import ConfigError, FormatError, InputError, MissingDependencyError
from segbench.profiling.families import Named
from segbench.profiling.macs_torch import Count, is_within
from segbench.profiling.records import Tensor
from segbench.profiling.spec import up_to

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the module path of every node."""

CLASSES = "pkg.torch.onnx.class_hierarchy"

FREE = {
    *("Constant", "ConstantOfShape", "Shape", "Size", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Split"),
    *("Slice", "Concat", "Expand", "Cast", "CastLike", "Range", "Gather", "Dropout"),
}
"""Operators that move or describe values and compute none; they are not listed as uncounted."""

SUSPICIOUS = ("conv", "matmul", "gemm", "attention", "lstm", "gru", "rnn", "einsum", "linear", "loop", "scan", "if")
"""Parts of the lower-case names of operators that hold products, or sub-graphs that may."""

Shape = tuple[int, ...]


def load(path: str | Path) -> Any:
    """Reads an ONNX file, external weights included.

    Raises:
        FormatError: not an ONNX model.
        MissingDependencyError: without the package onnx.
    """
    onnx = require_onnx()
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise InputError("there is no such model", files=[str(path)]) from error
    except Exception as error:  # protobuf's errors have no common base
        raise FormatError(
            f"not an ONNX model: {str(error).splitlines()[0] if str(error) else type(error).__name__}", files=[str(path)]
        ) from error
    if not model.graph.node:
        raise FormatError("the ONNX model has no operators", files=[str(path)])
    _complete_scopes(model)
    return model


def _complete_scopes(model: Any) -> None:
    """Makes every module path begin at the model. Where a module's `forward` was replaced, the exporter notes the modules that it calls by
    their names in it: `['', 'net', 'net.block', 'conv', ...]`."""
    noted = [(entry, _listed(entry.value)) for node in model.graph.node for entry in node.metadata_props if entry.key == SCOPES]
    first = {names[1].partition(".")[0] for _, names in noted if len(names) > 2}
    for entry, names in noted:
        whole = list(names)
        for place in range(2, len(names) - 1):  # the last is the operator's own name
            if names[place].partition(".")[0] not in first:
                whole[place] = f"{whole[place - 1]}.{names[place]}"
        if whole != names:
            entry.value = str(whole)


def require_onnx() -> Any:
    """The package, or how to get it."""
    try:
        import onnx
        import onnx.inliner
        import onnx.shape_inference
    except ImportError as error:
        raise MissingDependencyError("ONNX models need the package onnx", hint="pip install 'segbench[onnx]'") from error
    return onnx


def own_inputs(model: Any) -> list[Tensor]:
    """The inputs a graph fixes, without batch; none where a size is left open."""
    onnx = require_onnx()
    held = {tensor.name for tensor in model.graph.initializer}
    found = []
    for entry in model.graph.input:
        if entry.name in held:
            continue
        dims = entry.type.tensor_type.shape.dim[1:]
        if not all(dim.HasField("dim_value") for dim in dims):
            return []
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type))
        found.append(Tensor(name=entry.name, shape=tuple(dim.dim_value for dim in dims), dtype=dtype))
    return found


def with_input_shapes(model: Any, shapes: Mapping[str, Shape]) -> Any:
    """A copy whose inputs have these shapes, functions in-lined and all other shapes inferred.

    Raises:
        InputError: a shape contradicts the one the file fixes.
    """
    onnx = require_onnx()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for entry in copy.graph.input:
        shape = shapes.get(entry.name)
        if shape is None:
            continue
        dims = entry.type.tensor_type.shape.dim
        fixed = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
        if len(fixed) != len(shape) or any(old not in (None, new) for old, new in zip(fixed, shape, strict=False)):
            shown = "x".join("?" if value is None else str(value) for value in fixed)
            raise InputError(
                f"input {entry.name!r} of the model is {shown}, not {'x'.join(map(str, shape))}",
                hint="pass --input with the model's shape, or export with dynamic axes",
            )
        for dim, value in zip(dims, shape, strict=True):
            dim.dim_value = value
    if copy.functions:
        copy = onnx.inliner.inline_local_functions(copy)
    del copy.graph.value_info[:]  # shapes of another input size
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except Exception as error:
        raise InputError(f"no shapes follow from these inputs: {str(error).splitlines()[0]}", hint="check --input") from error


def count(model: Any, more_shapes: Mapping[str, Shape] | None = None) -> Count:
    """Counts the products of a graph with known shapes (`with_input_shapes`).

    Args:
        model: The ONNX model.
        more_shapes: Shapes of tensors that cannot be inferred, such as those of one real run.

    Returns:
        As from torch; module paths where the file names them, else '' for all. A product whose shapes are unknown is suspicious.
    """
    shapes = known_shapes(model) | dict(more_shapes or {})
    found = Count()
    for node in model.graph.node:
        macs = node_macs(node, shapes)
        if macs is not None:
            found.macs += macs
            found.by_module[scope(node)] += macs
            continue
        if node.op_type in FREE:
            continue
        found.uncounted[node.op_type] += 1
        found.elements += sum(prod(shapes[name]) for name in node.output if name in shapes)
        if any(part == node.op_type.lower() or (len(part) > 2 and part in node.op_type.lower()) for part in SUSPICIOUS):
            found.suspicious.add(node.op_type)
    return found


def known_shapes(model: Any) -> dict[str, Shape]:
    """Tensor -> shape, of every tensor whose sizes are all known."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        kind = entry.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes.setdefault(entry.name, tuple(dim.dim_value for dim in kind.shape.dim))
    for node in model.graph.node:
        if node.op_type == "Constant":
            shapes.update((node.output[0], tuple(item.t.dims)) for item in node.attribute if item.name == "value")
    return shapes


def unknown_shapes(model: Any) -> list[str]:
    """Tensors that a product needs and no inference knows."""
    shapes = known_shapes(model)
    return sorted(
        {
            name
            for node in model.graph.node
            if node.op_type in PRODUCTS
            for name in (*node.input, *node.output)
            if name and name not in shapes
        }
    )


def scope(node: Any) -> str:
    """The module path of a node: as torch's exporter noted it, or the older one put it into the name (`/encoder/conv1/Conv`); else ''."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            names = _listed(entry.value)  # ['', 'net', 'net.encoder', the operator's own name]
            return names[-2] if len(names) > 1 else ""
    if node.name.startswith("/"):
        return ".".join(node.name.split("/")[1:-1])
    return ""


def modules(model: Any) -> list[Named]:
    """Every module path at or below which nodes lie, with its class where that was noted too. An operator's own name is none."""
    scopes = {scope(node) for node in model.graph.node}
    real = {".".join(path.split(".")[:end]) for path in scopes for end in range(path.count(".") + 2)}
    kinds: dict[str, str] = {"": ""}
    for node in model.graph.node:
        noted = {entry.key: _listed(entry.value) for entry in node.metadata_props if entry.key in (SCOPES, CLASSES)}
        for path, kind in zip(noted.get(SCOPES, []), noted.get(CLASSES, []), strict=False):
            kinds.setdefault(path, "")
            kinds[path] = kinds[path] or f"{kind.partition('.')[0]}.{kind.rpartition('.')[2]}"
        parts = scope(node).split(".")
        for end in range(1, len(parts) + 1):
            kinds.setdefault(".".join(parts[:end]), "")
    return [Named(path, kind) for path, kind in kinds.items() if path in real]


def _listed(text: str) -> list[str]:
    import ast

    try:
        return [str(name) for name in ast.literal_eval(text)]
    except (ValueError, SyntaxError):
        return []


def node_macs(node: Any, shapes: Mapping[str, Shape]) -> int | None:
    """Macs of one node; None where it is no product or its shapes are unknown."""
    formula = PRODUCTS.get(node.op_type)
    if formula is None:
        return None
    try:
        return formula(node, [shapes.get(name, ()) if name else () for name in node.input], [shapes[name] for name in node.output[:1]])
    except (KeyError, IndexError, ValueError):
        return None


def attributes(node: Any) -> dict[str, Any]:
    """Attribute name -> value."""
    onnx = require_onnx()
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _conv(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * prod(inputs[1][1:])


def _quantized_conv(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * prod(inputs[3][1:])


def _transposed_conv(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(inputs[0]) * prod(inputs[1][1:])


def _matmul(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * inputs[0][-1]


def _gemm(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * inputs[0][0 if attributes(node).get("transA") else 1]


def _einsum(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    """The product over all indices: what one loop nest does. Of one operand it is a sum or a transposition."""
    terms = attributes(node)["equation"].decode().replace(" ", "").partition("->")[0].split(",")
    if len(terms) < 2 or any("." in term for term in terms):
        raise ValueError("no product of two")
    sizes = {letter: size for term, shape in zip(terms, inputs, strict=True) for letter, size in zip(term, shape, strict=True)}
    shared = any(set(left) & set(right) for left in terms for right in terms if left is not right)
    return prod(sizes.values()) if shared else prod(outputs[0])


def _attention(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    query, key, value = inputs[:3]
    if len(query) == 4:
        return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    heads = attributes(node)["q_num_heads" if "q_num_heads" in attributes(node) else "num_heads"]
    key_heads = attributes(node).get("kv_num_heads", heads)
    return query[0] * query[1] * key[1] * (query[2] + value[2] * heads // key_heads)


def _recurrent(node: Any, inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(inputs[0][:2]) * (prod(inputs[1]) + prod(inputs[2]))


PRODUCTS: dict[str, Callable[[Any, list[Shape], list[Shape]], int]] = {
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger", "DeformConv"), _conv),
    "QLinearConv": _quantized_conv,
    "ConvTranspose": _transposed_conv,
    **dict.fromkeys(("MatMul", "MatMulInteger", "FusedMatMul"), _matmul),
    "QLinearMatMul": _matmul,
    **dict.fromkeys(("Gemm", "FusedGemm"), _gemm),
    "Einsum": _einsum,
    **dict.fromkeys(("Attention", "MultiHeadAttention"), _attention),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
}


def parameters(model: Any, stages: Mapping[str, list[str]] | None = None) -> dict[str, int]:
    """Numbers of values held by the file: `total` of floating weights, `buffers` of everything else. Equal names are one tensor.

    Args:
        model: The ONNX model.
        stages: Stage -> module paths; each gets the weights that its nodes use. What several use belongs to the first of them.
    """
    onnx = require_onnx()
    floating = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    weights = {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in floating}
    others = sum(prod(tensor.dims) for tensor in model.graph.initializer if tensor.name not in weights)
    counts = {"total": sum(weights.values()), "buffers": others}
    for stage, paths in (stages or {}).items():
        used = {name for node in model.graph.node if is_within(scope(node), paths) for name in node.input}
        counts[stage] = sum(weights.pop(name) for name in used & weights.keys())
    return counts


def divide(model: Any, tensors: Sequence[str]) -> str:
    """Makes everything that leads to some tensors one module, for files that name none: the rest is called `head`.

    Returns:
        The module's path.

    Raises:
        ConfigError: no operator makes such a tensor.
    """
    onnx = require_onnx()
    makers = {name: node for node in model.graph.node for name in node.output if name}
    if unknown := [name for name in tensors if name not in makers]:
        close = get_close_matches(unknown[0], makers, 3, 0.5)
        raise ConfigError(f"the graph makes no tensor {unknown[0]!r}", hint=f"did you mean {' or '.join(close)}?" if close else None)
    needed: set[str] = set()
    ahead = list(tensors)
    while ahead:
        name = ahead.pop()
        if name in makers and name not in needed:
            needed.update(makers[name].output)
            ahead += makers[name].input
    path = up_to(tensors)
    for node in model.graph.node:
        where = path if needed.intersection(node.output) else "head"
        del node.metadata_props[:]
        node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=str(["", where, node.name])))
    return path


def cut_tensors(model: Any, inside: Callable[[str], bool]) -> list[str]:
    """Tensors made inside some modules and used outside, or outputs of the model: what a sub-graph of those modules must give."""
    made = {name for node in model.graph.node if inside(scope(node)) for name in node.output if name}
    used: Iterable[str] = [name for node in model.graph.node if not inside(scope(node)) for name in node.input]
    wanted = {*used, *(output.name for output in model.graph.output)}
    return sorted(made & wanted)


def extract(source: Path, target: Path, inputs: list[str], outputs: list[str]) -> None:
    """Writes the sub-graph between inputs and outputs as a model of its own.

    Raises:
        InputError: there is no such cut.
    """
    onnx = require_onnx()
    from onnx import utils

    try:
        utils.extract_model(str(source), str(target), inputs, outputs, check_model=False, infer_shapes=True)
    except Exception as error:
        raise InputError(f"the graph cannot be cut there: {str(error).splitlines()[0]}", hint="name another --backbone") from error
    _drop_unused_inputs(onnx, target)


def _drop_unused_inputs(onnx: Any, path: Path) -> None:
    model = onnx.load(str(path))
    used = {name for node in model.graph.node for name in node.input}
    kept = [entry for entry in model.graph.input if entry.name in used]
    if len(kept) != len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
        onnx.save(model, str(path))


def large_products(folder: Path, side: int) -> list[tuple[Path, dict[str, NDArray]]]:
    """Graphs of one product each, a square one of matrices and a convolution, with what to feed them."""
    return [
        _one_product(folder, "MatMul", (side, side), (side, side)),
        _one_product(folder, "Conv", (1, 256, 64, 64), (256, 256, 3, 3), pads=[1, 1, 1, 1]),
    ]


def _one_product(folder: Path, operator: str, shape: Shape, weights: Shape, **options: Any) -> tuple[Path, dict[str, NDArray]]:
    onnx = require_onnx()
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = make.make_tensor("weight", kind, weights, np.ones(weights, np.float32).tobytes(), raw=True)
    entry, result = make.make_tensor_value_info("input", kind, shape), make.make_tensor_value_info("product", kind, None)
    node = make.make_node(operator, ["input", "weight"], ["product"], **options)
    graph = make.make_graph([node], operator, [entry], [result], [weight])
    path = folder / f"{operator}.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=10), str(path))
    return path, {"input": np.ones(shape, np.float32)}
