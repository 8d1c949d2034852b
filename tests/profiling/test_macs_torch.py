"""The dispatcher's count against products worked out by hand."""

from __future__ import annotations

import pytest

from segbench.profiling import macs_torch
from segbench.profiling.macs_torch import count, parameters

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.frameworks


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def macs(module, *shapes: tuple[int, ...]):
    module = module.eval() if isinstance(module, nn.Module) else Call(module)
    inputs = [torch.randn(shape) for shape in shapes]
    return count(module, lambda: module(*inputs))


CASES = {
    "conv": (nn.Conv2d(3, 8, 3, padding=1), [(2, 3, 10, 12)], 2 * 8 * 10 * 12 * 3 * 9),
    "strided conv": (nn.Conv2d(3, 8, 3, stride=2), [(1, 3, 11, 13)], 8 * 5 * 6 * 3 * 9),
    "grouped conv": (nn.Conv2d(8, 16, 3, padding=1, groups=4), [(1, 8, 10, 10)], 16 * 100 * 2 * 9),
    "depthwise conv": (nn.Conv2d(8, 8, 3, padding=1, groups=8), [(1, 8, 10, 10)], 8 * 100 * 9),
    "dilated conv": (nn.Conv2d(4, 4, 3, padding=2, dilation=2), [(1, 4, 10, 10)], 4 * 100 * 4 * 9),
    "conv 1d": (nn.Conv1d(4, 6, 5), [(2, 4, 20)], 2 * 6 * 16 * 4 * 5),
    "conv 3d": (nn.Conv3d(2, 4, 3, padding=1), [(1, 2, 4, 5, 6)], 4 * 120 * 2 * 27),
    "transposed conv": (nn.ConvTranspose2d(4, 6, 3, stride=2), [(1, 4, 5, 5)], 4 * 25 * 6 * 9),
    "grouped transposed conv": (nn.ConvTranspose2d(8, 16, 3, stride=2, groups=2), [(1, 8, 10, 10)], 8 * 100 * 8 * 9),
    "linear": (nn.Linear(7, 5), [(2, 3, 7)], 2 * 3 * 7 * 5),
    "linear without bias": (nn.Linear(7, 5, bias=False), [(4, 7)], 4 * 7 * 5),
    "matmul": (torch.matmul, [(2, 3, 4, 5), (5, 6)], 2 * 3 * 4 * 5 * 6),
    "broadcast matmul": (torch.matmul, [(2, 1, 4, 5), (3, 5, 6)], 2 * 3 * 4 * 5 * 6),
    "matrix times vector": (torch.matmul, [(4, 5), (5,)], 20),
    "dot": (torch.dot, [(9,), (9,)], 9),
    "baddbmm": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    "addbmm": (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 3, 4), (2, 5, 4)], 2 * 3 * 5 * 4),
    "einsum of masks": (lambda q, m: torch.einsum("bqc,bchw->bqhw", q, m), [(1, 10, 16), (1, 16, 6, 7)], 10 * 16 * 42),
    "cosine distance by hand": (lambda a, b: a @ b.T, [(6, 4), (3, 4)], 6 * 3 * 4),
    "lstm": (nn.LSTM(8, 6), [(5, 2, 8)], 5 * 2 * (4 * 6 * 8 + 4 * 6 * 6)),
    "attention": (F.scaled_dot_product_attention, [(1, 8, 64, 16), (1, 8, 48, 16), (1, 8, 48, 16)], 8 * 64 * 48 * 32),
    "attention, wide values": (F.scaled_dot_product_attention, [(2, 1, 6, 4), (2, 1, 5, 4), (2, 1, 5, 4)], 2 * 6 * 5 * 8),
    "causal attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(1, 2, 6, 4)] * 3,
        2 * 6 * 6 * 8,
    ),
    "multi-head attention": (nn.MultiheadAttention(32, 4, batch_first=True), [(2, 10, 32)] * 3, 2 * (4 * 10 * 32 * 32 + 2 * 100 * 32)),
    "cross attention": (
        nn.MultiheadAttention(32, 4, batch_first=True),
        [(2, 10, 32), (2, 7, 32), (2, 7, 32)],
        2 * (2 * 10 * 32 * 32 + 2 * 7 * 32 * 32 + 2 * 70 * 32),
    ),
    "encoder layer": (
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        [(2, 10, 32)],
        2 * (4 * 10 * 32 * 32 + 2 * 100 * 32 + 2 * 10 * 32 * 64),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name):
    module, shapes, expected = CASES[name]
    found = macs(module, *shapes)
    assert found.macs == expected
    assert sum(found.by_module.values()) == expected
    assert sum(found.dtypes.values()) == expected
    assert not found.suspicious


@pytest.mark.parametrize("backend", ["MATH", "FLASH_ATTENTION"])
def test_every_path_of_attention_counts_alike(backend):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(getattr(SDPBackend, backend)):
        found = macs(F.scaled_dot_product_attention, (2, 4, 32, 8), (2, 4, 24, 8), (2, 4, 24, 8))
    assert found.macs == 2 * 4 * 32 * 24 * 16


def test_the_cpu_s_flash_attention_is_what_ran():
    # torch's own counter gives 0 here; if this path were not taken, the test above would prove nothing
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func._schema.name)
            return func(*args, **(kwargs or {}))

    query = torch.randn(1, 8, 64, 16)
    with torch.inference_mode(), Watch():
        macs_torch.count(None, lambda: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, query, query))
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in seen


def test_fused_encoder_and_attention_operators():
    """The operators of torch's fast path, called as the modules call them when nobody watches."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    source = torch.randn(2, 10, 32)
    found = count(None, lambda: layer(source))
    assert "_transformer_encoder_layer_fwd" not in found.uncounted
    assert found.macs == 2 * (4 * 10 * 32 * 32 + 2 * 100 * 32 + 2 * 10 * 32 * 64)
    assert not any("layer_norm" in name for name in found.uncounted)  # one fused operator did it all
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    found = count(None, lambda: attention(source, source, source))
    assert found.macs == 2 * (4 * 10 * 32 * 32 + 2 * 100 * 32)


def test_grouped_query_attention():
    query, key = torch.randn(1, 8, 6, 4), torch.randn(1, 2, 5, 4)
    found = count(None, lambda: F.scaled_dot_product_attention(query, key, key, enable_gqa=True))
    assert found.macs == 8 * 6 * 5 * 8


def test_sparse_products_count_what_is_stored():
    sparse = torch.eye(6).to_sparse()
    found = count(None, lambda: torch.sparse.mm(sparse, torch.ones(6, 5)))
    assert found.macs == 6 * 5


def test_deformable_convolution():
    formula = macs_torch.OWN["torchvision::deform_conv2d"]
    source, weight, out = torch.empty(1, 8, 10, 10), torch.empty(16, 4, 3, 3), torch.empty(1, 16, 10, 10)
    assert formula(source, weight, None, out=out) == 16 * 100 * 4 * 9


def test_modules_and_functions_between_them():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, image):
            features = self.encoder(image)
            weights = torch.ones(4, 4)
            return self.head(F.conv2d(features, weights[:, :, None, None]))

    found = macs(Net(), (1, 3, 5, 5))
    assert dict(found.by_module) == {"encoder.0": 25 * 12, "encoder.1": 25 * 16, "": 25 * 16, "head": 25 * 8}
    assert found.within(["encoder"]) == 25 * 28
    assert found.within(["enc"]) == 0


def test_a_module_that_runs_three_times_counts_three_times():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Linear(4, 4)
            self.alias = self.shared

        def forward(self, x):
            return self.alias(self.shared(self.shared(x)))

    model = Net()
    found = macs(model, (1, 4))
    assert found.macs == 3 * 16
    assert parameters(model)["total"] == 20


def test_a_failing_module_leaves_nothing_behind():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model = nn.Sequential(nn.Linear(2, 2), Fails())
    with pytest.raises(ValueError, match="no"):
        macs(model, (1, 2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_hooks_do_not_change_the_output():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
    image = torch.randn(4, 2)
    outputs = []
    count(model, lambda: outputs.append(model(image)))
    assert torch.equal(outputs[0], model(image))


def test_what_is_not_counted_is_listed():
    found = macs(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Softmax(1)), (1, 3, 5, 5))
    assert set(found.uncounted) == {"_native_batch_norm_legit_no_training", "relu", "_softmax"}
    assert found.elements >= 3 * 100
    assert not found.suspicious
    assert found.bytes_moved > 4 * (75 + 12 + 4 + 100)


def test_an_unknown_fused_operator_is_suspicious_until_taught():
    with torch.library._scoped_library("segbenchtest", "DEF") as library:
        library.define("fused(Tensor a, Tensor b) -> Tensor")
        library.impl("fused", lambda a, b: a @ b, "CPU")
        left, right = torch.randn(3, 4), torch.randn(4, 5)
        fused = torch.ops.segbenchtest.fused
        found = count(None, lambda: fused(left, right))
        assert (found.macs, found.suspicious) == (0, {"segbenchtest::fused"})
        macs_torch.register_macs("segbenchtest::fused", lambda a, b, out: a.shape[0] * a.shape[1] * b.shape[1])
        try:
            found = count(None, lambda: fused(left, right))
        finally:
            del macs_torch.OWN["segbenchtest::fused"]
        assert (found.macs, found.suspicious) == (60, set())


def test_half_precision_is_seen():
    model = nn.Linear(4, 4).to(torch.bfloat16)
    image = torch.randn(2, 4, dtype=torch.bfloat16)
    assert dict(count(model, lambda: model(image)).dtypes) == {"bfloat16": 32}


def test_tied_weights_are_counted_once_and_in_the_backbone():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 6, bias=False)
            self.embed = nn.Embedding(6, 4)
            self.head.weight = self.embed.weight
            self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
            self.register_buffer("mean", torch.zeros(2))

    found = parameters(Tied(), {"backbone": ["embed"], "head": ["head"]})
    assert found == {"total": 27, "trainable": 24, "buffers": 2, "backbone": 24, "head": 0}


def test_flops_of_torch_s_registry_are_two_per_product():
    from torch.utils.flop_counter import FlopCounterMode

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()
    image = torch.randn(1, 3, 8, 8)
    with FlopCounterMode(display=False) as theirs:
        model(image)
    assert 2 * macs(model, (1, 3, 8, 8)).macs == theirs.get_total_flops()


def test_deformable_convolution_as_it_is_called():
    """Through the dispatcher; where torchvision is not there, an operator of its name and signature stands in for it."""
    if hasattr(torch.ops.torchvision, "deform_conv2d"):
        pytest.skip("torchvision is there; its operator is counted by the zoo")
    arguments = "Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, int stride, int groups"
    with torch.library._scoped_library("torchvision", "FRAGMENT") as library:
        library.define(f"deform_conv2d({arguments}) -> Tensor")
        library.impl("deform_conv2d", lambda x, w, *rest: x.new_zeros(len(x), len(w), *x.shape[2:]), "CPU")
        image, weight = torch.randn(2, 8, 6, 6), torch.randn(16, 4, 3, 3)
        empty = torch.zeros(0)
        found = count(None, lambda: torch.ops.torchvision.deform_conv2d(image, weight, empty, empty, empty, 1, 2))
    assert found.macs == 2 * 16 * 36 * 4 * 9
    assert not found.suspicious
