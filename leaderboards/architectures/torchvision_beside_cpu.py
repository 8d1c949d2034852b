"""Lets a CUDA build of torchvision be imported beside a torch without CUDA: its Python part asks for operators only its library defines.

For counting by hand, where no fitting torchvision is at hand. Where torchvision works, this does nothing.
"""

from __future__ import annotations

import torch  # noqa: TID253

ROI = "SymInt pooled_height, SymInt pooled_width, "
SIZES = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
DEFORM = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, "
    "SymInt offset_groups, bool use_mask"
)
POOL = f"Tensor input, Tensor rois, float spatial_scale, {ROI}"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({POOL}int sampling_ratio, bool aligned) -> Tensor",
    f"qroi_align({POOL}int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward({POOL.replace('Tensor input', 'Tensor grad')}{SIZES}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({POOL[:-2]}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, {ROI}{SIZES}) -> Tensor",
    f"ps_roi_align({POOL}int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, {ROI}int sampling_ratio, {SIZES})"
    " -> Tensor",
    f"ps_roi_pool({POOL[:-2]}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, {ROI}{SIZES}) -> Tensor",
    f"deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {DEFORM}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {DEFORM})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "_cuda_version() -> int",
)


def nms(boxes, scores, threshold):
    """Greedy suppression, in the order of scores."""
    kept, order = [], scores.argsort(descending=True)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        overlap = (high - low).clamp(min=0).prod(1)
        order = rest[overlap / (areas[best] + areas[rest] - overlap) <= threshold]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


def prepare() -> None:
    """Imports torchvision, with stand-ins where its library does not fit."""
    if torch.version.cuda:
        return
    try:
        torch.ops.torchvision.nms  # noqa: B018
    except (AttributeError, RuntimeError):
        global library
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        library.impl("nms", nms, "CPU")
    import torchvision.ops.boxes as boxes

    boxes._assert_has_ops = lambda: None
