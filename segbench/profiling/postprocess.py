"""Reference post-processing, timed as a stage of its own: from what a network gives to what is evaluated.

Bilinear to the output size, then the classes' maximum (`max`, not `argmax`: on a CPU torch's argmax over channels takes ten times as long).
Instance and panoptic work on a fixed number of synthetic detections: how many random weights find says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from segbench.errors import InputError
from segbench.profiling.runner import flatten, require_torch

IMPLEMENTATIONS = {
    "semantic": "bilinear, max over classes",
    "semantic-masks": "class and mask products, bilinear, max over classes",
    "instance": "bilinear of N masks from a quarter of the size, threshold, area and box",
    "panoptic": "bilinear of N masks from a quarter of the size, best segment per pixel, area per segment",
}
STRIDE = 4
"""Masks come at a quarter of the output size, as most networks give them."""


class Post(NamedTuple):
    """A call that post-processes once, and what it is."""

    run: Callable[[], Any]
    implementation: str


def build(kind: str, output: Any, size: tuple[int, int], detections: int | None, device: Any = "cpu", seed: int = 0) -> Post:
    """The post-processing of one stored output.

    Args:
        kind: `semantic`, `instance` or `panoptic`.
        output: What the network gave; the two others need only its place.
        size: Height and width of the result.
        detections: How many, for instance and panoptic.

    Raises:
        InputError: the output holds no scores.
        MissingDependencyError: without torch.
    """
    torch = require_torch("post-processing")
    if kind == "semantic":
        return _semantic(torch, output, size, device)
    masks, scores = _synthetic(torch, detections or 1, size, device, seed)
    if kind == "instance":
        return Post(_inference(torch, lambda: instances(torch, masks, size)), IMPLEMENTATIONS["instance"])
    return Post(_inference(torch, lambda: segments(torch, masks, scores, size)), IMPLEMENTATIONS["panoptic"])


def _inference(torch: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return run()

    return call


def _semantic(torch: Any, output: Any, size: tuple[int, int], device: Any) -> Post:
    leaves = [torch.as_tensor(leaf).to(device) for leaf in flatten(output)]
    if len(leaves) >= 2 and leaves[0].dim() == 3 and leaves[1].dim() == 4 and leaves[0].shape[1] == leaves[1].shape[1]:
        classes, masks = leaves[:2]
        return Post(_inference(torch, lambda: labels_of_masks(torch, classes, masks, size)), IMPLEMENTATIONS["semantic-masks"])
    scores = next((leaf for leaf in leaves if leaf.dim() == 4), None)
    if scores is None:
        shapes = ", ".join("x".join(map(str, leaf.shape)) for leaf in leaves) or "nothing"
        raise InputError(
            f"semantic post-processing needs scores N x classes x height x width; the model gives {shapes}", hint="--post none"
        )
    return Post(_inference(torch, lambda: labels(torch, scores, size)), IMPLEMENTATIONS["semantic"])


def labels(torch: Any, scores: Any, size: tuple[int, int]) -> Any:
    """The best class of every pixel of the output. `scores` float[N, C, h, w]; gives int64[N, H, W]."""
    if tuple(scores.shape[-2:]) != size:
        scores = torch.nn.functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    return scores.max(1).indices


def labels_of_masks(torch: Any, classes: Any, masks: Any, size: tuple[int, int]) -> Any:
    """Labels of mask classification: class probabilities (the last class is none) times mask probabilities."""
    probabilities = classes.softmax(-1)[..., :-1]
    return labels(torch, torch.einsum("nqc,nqhw->nchw", probabilities, masks.sigmoid()), size)


def instances(torch: Any, masks: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Binary masks at the output size, their areas and boxes (x0, y0, x1, y1). `masks` are logits float[N, h, w]."""
    full = torch.nn.functional.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0] > 0
    columns, rows = full.any(1), full.any(2)
    boxes = torch.stack(
        [
            columns.int().argmax(1),
            rows.int().argmax(1),
            size[1] - columns.flip(1).int().argmax(1),
            size[0] - rows.flip(1).int().argmax(1),
        ],
        1,
    )
    return full, full.sum((1, 2)), boxes


def segments(torch: Any, masks: Any, scores: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """The segment of every pixel (0 is none) and the segments' areas; a segment that loses more than half of its mask is dropped."""
    full = torch.nn.functional.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    best = (full * scores[:, None, None]).max(0).indices
    kept = torch.gather(full, 0, best[None])[0] >= 0.5
    count = len(masks)
    won = torch.bincount((best * kept + (~kept) * count).flatten(), minlength=count + 1)[:count]
    areas = (full >= 0.5).sum((1, 2))
    alive = (won > 0) & (2 * won >= areas)
    numbers = torch.cat([torch.arange(1, count + 1, device=masks.device) * alive, torch.zeros(1, dtype=torch.int64, device=masks.device)])
    return numbers[best * kept + (~kept) * count], won


def _synthetic(torch: Any, count: int, size: tuple[int, int], device: Any, seed: int) -> tuple[Any, Any]:
    """Discs of different sizes all over the image, as mask logits, and scores."""
    random = torch.Generator().manual_seed(seed)
    height, width = max(1, size[0] // STRIDE), max(1, size[1] // STRIDE)
    centres = torch.rand(count, 2, generator=random) * torch.tensor([height, width])
    radii = (0.05 + 0.2 * torch.rand(count, generator=random)) * min(height, width)
    rows = torch.arange(height)[None, :, None] - centres[:, 0, None, None]
    columns = torch.arange(width)[None, None, :] - centres[:, 1, None, None]
    masks = radii[:, None, None] - (rows**2 + columns**2).sqrt()
    return masks.to(device), torch.rand(count, generator=random).to(device)
