"""Real torch models, small: every estimator, type and mode; no time is judged, only what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from segbench.errors import ConfigError, InputError
from segbench.profiling import Policy, profile
from segbench.profiling.runner_torch import copies

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.frameworks

from tests.profiling import nets  # noqa: E402

QUICK = Policy(min_runs=6, max_runs=8, min_time_s=0.0, max_time_s=0.5, warmup_runs=12, warmup_time_s=0.5)
ZOO = str(Path(nets.__file__))


def quick(model, **options):
    return profile(model, **({"input": (3, 32, 32), "policy": QUICK, "roof": False, "threads": 1} | options))[0]


@pytest.mark.parametrize("batch", [1, 2])
def test_counts_of_the_parts_are_those_by_hand(batch):
    record = quick(nets.Net(), batch=batch)
    by_hand = nets.macs(32)
    assert record.compute.macs == batch * sum(by_hand.values())
    assert record.compute.macs_backbone == batch * by_hand["encoder"]
    assert record.compute.macs_neck == batch * by_hand["neck"]
    assert record.compute.macs_head == batch * by_hand["decoder"]
    assert record.compute.suspicious_ops == []
    assert record.parameters.total == sum(value.numel() for value in nets.Net().parameters())
    assert record.parameters.total == record.parameters.backbone + record.parameters.neck + record.parameters.head
    assert record.runtime.compute_dtype == "float32"
    assert record.split.decided == "name"
    assert record.overhead.method == "in-situ"
    assert record.overhead.head_over_backbone.latency > 0
    assert set(record.stages) == {"backbone", "neck", "head"}


def test_the_counterfactual_runs_only_the_backbone():
    from segbench.profiling.macs_torch import count
    from segbench.profiling.records import Split, Tensor
    from segbench.profiling.runner_torch import TorchRunner
    from segbench.profiling.spec import Spec
    from segbench.profiling.targets import Loaded

    runner = TorchRunner(Loaded(nets.Net(), "net"), Spec(target="", inputs=[Tensor(shape=(1, 3, 32, 32), dtype="float32")]))
    by_hand = nets.macs(32)
    for split, expected in (
        (Split(backbone=["encoder"], neck=["neck"], decided="option"), by_hand["encoder"]),
        (Split(backbone=["encoder"], neck=["neck"], decided="option", neck_in="backbone"), by_hand["encoder"] + by_hand["neck"]),
        (Split(backbone=["encoder.4", "encoder.3"], decided="option"), by_hand["encoder"] - 16 * 16 * 16 * 27),
    ):
        assert count(None, runner.backbone(split)).macs == expected
    assert runner.backbone(Split(backbone=[], decided="option")) is None


def test_replayed_inputs_are_those_before_later_work_in_place():
    from segbench.profiling.records import Split, Tensor
    from segbench.profiling.runner_torch import TorchRunner
    from segbench.profiling.spec import Spec
    from segbench.profiling.targets import Loaded

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Identity()

        def forward(self, image):
            work = image * 1
            out = self.encoder(work) + 0
            work.zero_()
            return out

    runner = TorchRunner(Loaded(InPlace(), "net"), Spec(target="", inputs=[Tensor(shape=(1, 3, 4, 4), dtype="float32")]))
    (again,) = runner.backbone(Split(backbone=["encoder"], decided="option"))()
    assert torch.equal(again, runner.run())
    assert again.abs().sum() > 0


def test_members_of_a_module_list_are_followed():
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.top = nn.Linear(4, 2)

        def forward(self, x):
            for layer in self.layers:  # the list itself is never called
                x = layer(x)
            return self.top(x)

    record = quick(Listed(), input=(4,), backbone="layers", estimator="both")
    assert record.compute.macs_backbone == 32
    assert record.overhead.head_over_backbone.macs == 0.25
    assert record.overhead.others["counterfactual"].latency is not None


def test_half_precision_is_what_ran():
    record = quick(nets.Net(), dtype="bf16")
    assert record.runtime.compute_dtype == "bfloat16"
    assert record.runtime.requested_dtype == "bfloat16"
    assert not any("asked for" in warning for warning in record.warnings)


def test_what_a_cpu_cannot_do():
    with pytest.raises(ConfigError, match="tf32"):
        quick(nets.Net(), dtype="tf32")
    with pytest.raises(ConfigError, match="calibration"):
        quick(nets.Net(), dtype="int8")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="CUDA"):
            quick(nets.Net(), device="cuda:0")


def test_copies_move_the_inputs_there_and_the_output_back():
    image, output = torch.ones(1, 3, 4, 4), {"out": torch.zeros(2), "more": [torch.ones(3)]}
    moved = copies(([image], {"scale": torch.ones(2)}), output, torch.device("cpu"))
    there, back = moved["h2d"](), moved["d2h"]()
    assert [tuple(value.shape) for value in there] == [(1, 3, 4, 4), (2,)]
    assert [value.tolist() for value in back] == [[0, 0], [1, 1, 1]]
    assert there[0].data_ptr() != image.data_ptr()
    assert not {"h2d", "d2h"} & set(quick(nets.Net()).stages)  # on the CPU nothing moves


def test_calls_take_other_inputs_by_turns():
    seen = []

    class Seeing(nets.Net):
        def forward(self, image):
            seen.append(image.sum().item())
            return super().forward(image)

    record = quick(Seeing())
    assert record.latency.input_sets == len(set(seen)) == 8


@pytest.mark.parametrize(
    ("post", "names"), [("semantic", ["post"]), ("instance", ["post 1", "post 7"]), ("panoptic", ["post 1", "post 7"])]
)
def test_post_processing_is_a_stage(post, names):
    options = {} if post == "semantic" else {"detections": [1, 7]}
    record = quick(nets.Net(), post=post, output_size="64x48", **options)
    assert [name for name in record.stages if name.startswith("post")] == names
    assert set(record.overhead.post_over_network) == set(names)
    assert record.workload.output_size == (64, 48)
    assert record.workload.detections == options.get("detections")
    assert record.stages[names[0]].implementation


def test_semantic_post_processing_of_masks_has_products():
    model, _ = nets.masks()
    record = quick(model, post="semantic")
    assert record.compute.macs_post == 5 * 10 * 8 * 8  # classes x queries x pixels
    assert record.overhead.method == "in-situ"


def test_a_reference_model():
    record = quick(nets.Net(), reference=nets.Net().encoder, backbone=None)
    by_hand = nets.macs(32)
    ratios = record.overhead.head_over_backbone
    assert record.overhead.method == "reference-model"
    assert ratios.macs == pytest.approx((sum(by_hand.values()) - by_hand["encoder"]) / by_hand["encoder"])
    assert ratios.latency is not None
    assert quick(nets.Net(), reference=nets.Net().encoder).overhead.others["reference-model"].macs == ratios.macs


def test_a_target_in_its_own_process():
    record = profile(f"{ZOO}:net", policy=QUICK, threads=1)[0]
    assert record.runtime.threads == 1
    assert record.runtime.isolated
    assert record.model.weights == "random"
    assert record.compute.macs == sum(nets.macs(32).values())
    assert record.roof.flops_per_s > 1e9
    assert record.roof.bytes_per_s > 1e8
    assert record.memory.process_peak > record.memory.rss_base > 0


def test_the_input_a_model_does_not_take():
    with pytest.raises(InputError, match="to have 3 channels, but got 4"):
        quick(nets.Net(), input=(4, 32, 32))


def test_a_model_that_takes_indices_is_told_how_to_give_them():
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4, 8)

        def forward(self, ids):
            return self.embed(ids)

    for given, hint in (((7,), "--input 7:int64"), ("ids=5x7", "--input ids=5x7:int64")):
        with pytest.raises(InputError, match=r"\(in test_torch.py:\d+\)") as caught:
            quick(Words(), input=given)
        assert caught.value.hint == f"it takes indices, not floats: {hint}"
    assert quick(Words(), input="7:int64").error is None
    for other in (lambda x: nn.functional.one_hot(x, 3), lambda x: torch.zeros(2)[x]):
        with pytest.raises(InputError) as caught:
            quick(other, input="3x2", backend="torch")
        assert ":int64" in caught.value.hint


def test_functions_of_torch():
    record = quick(lambda image: torch.nn.functional.avg_pool2d(image, 2), backend="torch")
    assert record.compute.macs == 0
    assert record.parameters is None
    assert record.compute.uncounted_ops == {"avg_pool2d": 1}


def test_named_and_integer_inputs():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(2, 4)

        def forward(self, image, *, ids):
            return image.mean() + self.embed(ids)

    record = quick(Named(), input=["3x8x8", "ids=5:int64"])
    assert record.error is None
    assert [entry.name for entry in record.workload.inputs] == [None, "ids"]


def test_reference_post_processing_by_hand():
    from segbench.profiling import postprocess

    scores = torch.zeros(1, 3, 2, 2)
    scores[0, 1, 0, 0] = scores[0, 2, 1, 1] = 5
    labels = postprocess.labels(torch, scores, (2, 2))
    assert labels.tolist() == [[[1, 0], [0, 2]]]
    assert postprocess.labels(torch, scores, (4, 4)).shape == (1, 4, 4)
    masks = -torch.ones(2, 4, 4)
    masks[0, :2, 1:3] = 1
    masks[1, 3:, :] = 1
    full, areas, boxes = postprocess.instances(torch, masks, (4, 4))
    assert areas.tolist() == [4, 4]
    assert boxes.tolist() == [[1, 0, 3, 2], [0, 3, 4, 4]]
    assert full.dtype == torch.bool
    ids, won = postprocess.segments(torch, 10 * masks, torch.tensor([0.9, 0.8]), (4, 4))
    assert won.tolist() == [4, 4]
    assert ids.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [2, 2, 2, 2]]
    hidden = 10 * torch.stack([masks[0], masks[0]])
    ids, _ = postprocess.segments(torch, hidden, torch.tensor([0.9, 0.8]), (4, 4))
    assert sorted(ids.unique().tolist()) == [0, 1]  # the second lost all of its mask


def test_scores_that_are_none():
    from segbench.profiling import postprocess

    with pytest.raises(InputError, match="2x3"):
        postprocess.build("semantic", torch.zeros(2, 3), (4, 4), None)
