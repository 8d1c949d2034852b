"""Multiply-accumulates of a torch model, counted at the dispatcher: what really ran, whoever called it.

Hooks on modules miss functional calls and count shared modules again and again; tracing misses what it has no handler for and says so
to nobody. Here every operator passes by once. Products are counted by formula, everything else is listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

Formula = Callable[..., int]
"""The operator's arguments and, as `out`, its result -> multiply-accumulates."""

OWN: dict[str, Formula] = {}
"""Formulas by operator name, `namespace::name`. They come before torch's registry."""

MOVERS = ("cat", "stack", "copy", "index", "gather", "scatter", "grid_sampler", "upsample", "_to_copy", "clone", "where", "norm", "softmax")
"""Parts of names of operators that take several matrices and multiply none."""

METADATA = {"size", "sym_size", "stride", "sym_stride", "numel", "sym_numel", "dim", "is_contiguous", "storage_offset", "device", "layout"}


def register_macs(operator: str, formula: Formula) -> None:
    """Teaches the counter an operator of yours.

    Args:
        operator: Its name, such as `"mylib::fused_attention"`.
        formula: Called with the operator's arguments and `out=`, gives the multiply-accumulates of one call.
    """
    OWN[operator] = formula


@dataclass
class Count:
    """What one run did.

    Attributes:
        by_module: Path of the innermost running module -> macs; '' is the model itself.
        uncounted: Operator -> calls, of everything that computes and is no product.
        suspicious: Uncounted operators that take several matrices and may well multiply them.
        elements: Values written by uncounted operators. bytes_moved: by all, read and written.
        dtypes: Type of the products' operands -> macs.
    """

    macs: int = 0
    by_module: Counter[str] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)
    suspicious: set[str] = field(default_factory=set)
    elements: int = 0
    bytes_moved: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)

    def within(self, prefixes: Iterable[str]) -> int:
        """Macs of all modules at or below these paths."""
        chosen = tuple(prefixes)
        return sum(macs for path, macs in self.by_module.items() if is_within(path, chosen))


def is_within(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a module path is one of these or lies below one."""
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def count(model: Any, call: Callable[[], Any]) -> Count:
    """Counts one call of a model.

    Args:
        model: The `nn.Module`, or None where macs need no module paths.
        call: Runs it once. Runs as it would be measured: on its device, with its fused paths.
    """
    import torch

    found = Count()
    stack: list[str] = [""]
    handles = _follow(model, stack) if model is not None else []
    try:
        with torch.inference_mode(), _mode(found, stack):
            call()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _follow(model: Any, stack: list[str]) -> list[Any]:
    """Keeps the stack of running modules. Hooks return nothing: what a hook returns replaces the module's output."""

    import torch

    def enter(path: str) -> Callable[..., None]:
        return lambda module, args: stack.append(path)

    def leave(module: Any, args: Any, out: Any) -> None:
        stack.pop()

    handles = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no such hooks; its work is its parent's
            continue
        handles.append(module.register_forward_pre_hook(enter(path), prepend=True))
        handles.append(module.register_forward_hook(leave, always_call=True))
    return handles


def _mode(found: Count, stack: list[str]) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    formulas = _formulas()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if isinstance(func, torch._ops.HigherOrderOperator):
                found.suspicious.add(func.name())
                found.uncounted[func.name()] += 1
                return func(*args, **kwargs)
            name = func._schema.name
            formula = formulas.get(name)
            if formula is None and name.partition("::")[2] in METADATA:
                return func(*args, **kwargs)
            if formula is None:
                # inference mode passes composite operators (linear, matmul, einsum, ...) whole: look inside
                with self:
                    inside = func.decompose(*args, **kwargs)
                if inside is not NotImplemented:
                    return inside
            out = func(*args, **kwargs)
            if formula is None:
                _note(found, func, name, args, kwargs, out)
            else:
                macs = int(formula(*args, **kwargs, out=out))
                found.macs += macs
                found.by_module[stack[-1]] += macs
                found.dtypes[_operand_dtype(args)] += macs
            if not func.is_view:
                found.bytes_moved += sum(tensor.numel() * tensor.element_size() for tensor in _tensors((args, kwargs, out)))
            return out

    return Counting()


def _note(found: Count, func: Any, name: str, args: Any, kwargs: Any, out: Any) -> None:
    import torch

    written = sum(tensor.numel() for tensor in _tensors(out))
    if func.is_view or not written:
        return
    inputs = _tensors((args, kwargs))
    short = name.removeprefix("aten::")
    if not inputs and name.startswith("aten::"):  # zeros, arange and the like
        return
    found.uncounted[short] += 1
    found.elements += written
    matrices = [tensor for tensor in inputs if tensor.dim() >= 2 and tensor.is_floating_point()]
    moves = torch.Tag.pointwise in func.tags or any(part in short for part in MOVERS)
    if len(matrices) >= 2 and not (moves and name.startswith("aten::")):
        found.suspicious.add(short)


def _tensors(value: Any) -> list[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in _tensors(item)]


def _operand_dtype(args: Any) -> str:
    found = _tensors(args)[:2]  # of addmm the first is the bias
    return str(found[-1].dtype).removeprefix("torch.") if found else "unknown"


def _formulas() -> dict[str, Formula]:
    """Ours, then torch's own registry (which counts two per product)."""
    from torch.utils.flop_counter import flop_registry

    def halved(flops: Any) -> Formula:
        return lambda *args, out, **kwargs: flops(*args, **kwargs, out_val=out) // 2

    theirs = {packet._qualified_op_name: halved(flops) for packet, flops in flop_registry.items() if hasattr(packet, "_qualified_op_name")}
    return theirs | OWN


def _attention(query: Any, key: Any, value: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    """Scores and weighted values, of every head and position: a mask saves nothing, as in every published count."""
    return prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _multi_head(query: Any, key: Any, value: Any, embed: int, heads: int, qkv: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    batch, queries, _ = query.shape
    keys = key.shape[1]
    projections = embed * embed * (2 * queries + 2 * keys)  # query, output; key, value
    return batch * (projections + 2 * queries * keys * embed)


def _encoder_layer(source: Any, embed: int, *args: Any, out: Any, **kwargs: Any) -> int:
    wide = args[FFN_WEIGHT]
    batch, length, _ = source.shape
    return batch * (4 * length * embed * embed + 2 * length * length * embed + 2 * length * embed * wide.shape[0])


FFN_WEIGHT = 12
"""Place of the first feed-forward weight after `src` and `embed_dim` in `_transformer_encoder_layer_fwd`."""


def _deform_conv(source: Any, weight: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    """As the convolution it replaces; the bilinear reading of its input is no product of matrices."""
    return out.numel() * prod(weight.shape[1:])


def _matrix_vector(matrix: Any, vector: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return matrix.numel()


def _added_matrix_vector(bias: Any, matrix: Any, vector: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return matrix.numel()


def _added_batches(bias: Any, left: Any, right: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return left.numel() * right.shape[-1]


def _sparse(left: Any, right: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return left._nnz() * right.shape[-1]


def _added_sparse(bias: Any, left: Any, right: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return left._nnz() * right.shape[-1]


def _recurrent(source: Any, from_input: Any, from_state: Any, *args: Any, out: Any, **kwargs: Any) -> int:
    return prod(source.shape[:-1]) * (from_input.numel() + from_state.numel())


OWN |= {
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_native_multi_head_attention": _multi_head,
    "aten::_transformer_encoder_layer_fwd": _encoder_layer,
    "aten::mkldnn_rnn_layer": _recurrent,
    "aten::mv": _matrix_vector,
    "aten::addmv": _added_matrix_vector,
    "aten::dot": _matrix_vector,
    "aten::vdot": _matrix_vector,
    "aten::addbmm": _added_batches,
    "aten::_int_mm": lambda left, right, *args, out, **kwargs: left.numel() * right.shape[-1],
    "aten::_sparse_mm": _sparse,
    "aten::_sparse_addmm": _added_sparse,
    "torchvision::deform_conv2d": _deform_conv,
}


def parameters(model: Any, prefixes: dict[str, list[str]] | None = None) -> dict[str, int]:
    """Numbers of values by storage, each once, so that tied weights count once.

    Args:
        model: The `nn.Module`.
        prefixes: Stage -> module paths. A storage that several stages use belongs to the first of them.

    Returns:
        `total`, `trainable`, `buffers`, and the stages.
    """
    seen: set[tuple[int, int]] = set()
    counts = dict.fromkeys(("total", "trainable", "buffers", *(prefixes or {})), 0)
    ordered = sorted(model.named_parameters(remove_duplicate=False), key=lambda item: _stage_rank(item[0], prefixes))
    for name, parameter in ordered:
        where = (parameter.untyped_storage().data_ptr() or id(parameter), parameter.storage_offset())
        if where in seen:
            continue
        seen.add(where)
        counts["total"] += parameter.numel()
        counts["trainable"] += parameter.numel() if parameter.requires_grad else 0
        for stage, paths in (prefixes or {}).items():
            if is_within(name, paths):
                counts[stage] += parameter.numel()
                break
    for _, buffer in model.named_buffers():
        counts["buffers"] += buffer.numel()
    return counts


def _stage_rank(name: str, prefixes: dict[str, list[str]] | None) -> int:
    stages = list(prefixes or {})
    return next((i for i, stage in enumerate(stages) if is_within(name, (prefixes or {})[stage])), len(stages))
