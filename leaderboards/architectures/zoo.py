"""The zoo: real architectures with random weights, and the counts that were published of them.

Every function gives a model and the shape of its input; `segbench profile leaderboards/architectures/zoo.py:unet_r34` measures one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NamedTuple

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("YOLO_OFFLINE", "True")
torch.manual_seed(0)


class Published(NamedTuple):
    """A published count in GMACs (`flops` halved), what it holds that ours does not, and where it stands."""

    gmacs: float
    more: float
    note: str


class Tensors(nn.Module):
    """Calls a model and gives only the tensors that matter, so that every backend has the same outputs."""

    def __init__(self, net: nn.Module, keys: tuple[str, ...], keyword: str | None = "pixel_values") -> None:
        super().__init__()
        self.net = net
        self.keys = keys
        self.keyword = keyword

    def forward(self, image):
        out = self.net(**{self.keyword: image}) if self.keyword else self.net(image)
        found = tuple(out[key] for key in self.keys)
        return found if len(found) > 1 else found[0]


def _transformers() -> Any:
    from torchvision_beside_cpu import prepare

    with suppress(ImportError):  # without torchvision transformers works; with one that does not import, it fails
        prepare()
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


def _swin_tiny(library: Any) -> Any:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    return library.SwinConfig(
        image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_features=stages
    )


def segformer_b0():
    t = _transformers()
    return Tensors(t.SegformerForSemanticSegmentation(t.SegformerConfig(num_labels=150)), ("logits",)), (3, 512, 512)


def segformer_b5():
    t = _transformers()
    config = t.SegformerConfig(num_labels=150, depths=[3, 6, 40, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768)
    return Tensors(t.SegformerForSemanticSegmentation(config), ("logits",)), (3, 640, 640)


def upernet_swin_t():
    t = _transformers()
    config = t.UperNetConfig(backbone_config=_swin_tiny(t), num_labels=150, auxiliary_in_channels=384)
    return Tensors(t.UperNetForSemanticSegmentation(config), ("logits",)), (3, 512, 512)


MASKS = ("class_queries_logits", "masks_queries_logits")


def mask2former_swin_t():
    t = _transformers()
    config = t.Mask2FormerConfig(backbone_config=_swin_tiny(t), num_labels=150)
    return Tensors(t.Mask2FormerForUniversalSegmentation(config), MASKS), (3, 512, 512)


def maskformer_swin_t():
    t = _transformers()
    config = t.MaskFormerConfig(backbone_config=_swin_tiny(t), num_labels=150)
    return Tensors(t.MaskFormerForInstanceSegmentation(config), MASKS), (3, 512, 512)


def dpt_b():
    t = _transformers()
    config = t.DPTConfig(num_labels=150, image_size=512, use_auxiliary_head=False, hidden_size=768, num_hidden_layers=12)
    return Tensors(t.DPTForSemanticSegmentation(config), ("logits",)), (3, 512, 512)


def mobilevit_deeplabv3():
    t = _transformers()
    return Tensors(t.MobileViTForSemanticSegmentation(t.MobileViTConfig(num_labels=21)), ("logits",)), (3, 512, 512)


def eomt_s():
    t = _transformers()
    config = t.EomtConfig(num_labels=150, image_size=512, hidden_size=384, num_hidden_layers=12, num_attention_heads=6)
    return Tensors(t.EomtForUniversalSegmentation(config), MASKS), (3, 512, 512)


class Encoder(nn.Module):
    """EoMT's encoder without queries and predictions: the plain transformer that it would be otherwise."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.embeddings, self.layers, self.layernorm = net.embeddings, net.layers, net.layernorm

    def forward(self, image):
        tokens = self.embeddings(image)
        for layer in self.layers:
            tokens = layer(tokens, None)
        return self.layernorm(tokens)


def eomt_s_encoder():
    model, shape = eomt_s()
    return Encoder(model.net), shape


def _detr_config(library: Any) -> Any:
    backbone = library.ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    return library.DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone)


def detr_segmentation():
    t = _transformers()
    return Tensors(t.DetrForSegmentation(_detr_config(t)), ("logits", "pred_boxes", "pred_masks")), (3, 800, 800)


def detr():
    t = _transformers()
    return Tensors(t.DetrForObjectDetection(_detr_config(t)), ("logits", "pred_boxes")), (3, 800, 800)


class Prompted(nn.Module):
    """A promptable model with one point in the middle."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("point", torch.full((1, 1, 1, 2), 512.0))

    def forward(self, image):
        points = self.point.expand(len(image), -1, -1, -1).to(image.dtype)
        return self.net(pixel_values=image, input_points=points, multimask_output=False).pred_masks


def sam_vit_b():
    t = _transformers()
    return Prompted(t.SamModel(t.SamConfig())), (3, 1024, 1024)


def sam2_hiera_t():
    t = _transformers()
    return Prompted(t.Sam2Model(t.Sam2Config())), (3, 1024, 1024)


def _smp() -> Any:
    from torchvision_beside_cpu import prepare

    prepare()
    import segmentation_models_pytorch

    return segmentation_models_pytorch


def unet_r34():
    return _smp().Unet("resnet34", encoder_weights=None, classes=19), (3, 512, 512)


def deeplabv3plus_r50():
    return _smp().DeepLabV3Plus("resnet50", encoder_weights=None, classes=19), (3, 512, 512)


def fpn_r50():
    return _smp().FPN("resnet50", encoder_weights=None, classes=19), (3, 512, 512)


def pspnet_r50():
    return _smp().PSPNet("resnet50", encoder_weights=None, classes=19), (3, 512, 512)


def _torchvision(name: str, aux: bool = False):
    from torchvision_beside_cpu import prepare

    prepare()
    from torchvision.models import segmentation

    options = {"aux_loss": aux} if name != "lraspp_mobilenet_v3_large" else {}
    net = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=21, **options)
    return Tensors(net, ("out", "aux") if aux else ("out",), None), (3, 520, 520)


def fcn_r50():
    return _torchvision("fcn_resnet50")


def fcn_r50_aux():
    return _torchvision("fcn_resnet50", aux=True)


def deeplabv3_r50():
    return _torchvision("deeplabv3_resnet50")


def deeplabv3_r50_aux():
    return _torchvision("deeplabv3_resnet50", aux=True)


def lraspp_mobilenetv3():
    return _torchvision("lraspp_mobilenet_v3_large")


class Detector(nn.Module):
    """A torchvision detector with 1000 proposals, as trained weights give, and a fixed number of boxes for its mask branch.

    How many random weights let through says nothing.
    """

    proposals = 1000

    def __init__(self, net: nn.Module, detections: int = 0) -> None:
        super().__init__()
        self.net = net
        self.detections = detections

    def forward(self, image):
        images, _ = self.net.transform(list(image))
        features = self.net.backbone(images.tensors)
        proposals, _ = self.net.rpn(images, features)
        proposals = [found[torch.arange(self.proposals, device=found.device) % len(found)] for found in proposals]
        heads = self.net.roi_heads
        pooled = heads.box_roi_pool(features, proposals, images.image_sizes)
        scores, boxes = heads.box_predictor(heads.box_head(pooled))
        if not self.detections:
            return scores, boxes
        height, width = images.image_sizes[0]
        box = torch.tensor([[0.0, 0.0, width / 2, height / 2]], device=image.device, dtype=image.dtype)
        chosen = [box.expand(self.detections, -1)] * len(image)
        masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, chosen, images.image_sizes)))
        return scores, boxes, masks


def _detector(name: str, detections: int):
    from torchvision_beside_cpu import prepare

    prepare()
    from torchvision.models import detection

    return Detector(getattr(detection, name)(weights=None, weights_backbone=None), detections).eval(), (3, 480, 640)


def faster_rcnn_r50_fpn():
    return _detector("fasterrcnn_resnet50_fpn", 0)


def mask_rcnn_r50_fpn_1():
    return _detector("maskrcnn_resnet50_fpn", 1)


def mask_rcnn_r50_fpn_10():
    return _detector("maskrcnn_resnet50_fpn", 10)


def mask_rcnn_r50_fpn_100():
    return _detector("maskrcnn_resnet50_fpn", 100)


class Leaves(nn.Module):
    """The first tensors of whatever a model gives."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net = net
        self.count = count

    def forward(self, image):
        return tuple(self._flat(self.net(image))[: self.count])

    def _flat(self, value):
        if isinstance(value, torch.Tensor):
            return [value]
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return [leaf for item in values for leaf in self._flat(item)]


def _yolo(config: str, kind: str):
    from torchvision_beside_cpu import prepare

    prepare()
    from ultralytics.nn import tasks

    net = getattr(tasks, kind)(config, verbose=False).eval()
    net.fuse(verbose=False)
    return Leaves(net, 2 if kind.startswith("Seg") else 1), (3, 640, 640)


def yolov8n_seg():
    return _yolo("yolov8n-seg.yaml", "SegmentationModel")


def yolov8n():
    return _yolo("yolov8n.yaml", "DetectionModel")


def yolo11n_seg():
    return _yolo("yolo11n-seg.yaml", "SegmentationModel")


def yolo11n():
    return _yolo("yolo11n.yaml", "DetectionModel")


def segnet():
    from own import SegNet

    return SegNet(), (3, 512, 512)


def fastfcn_r50():
    from torchvision_beside_cpu import prepare

    prepare()
    from own import FastFCN

    return FastFCN(), (3, 512, 512)


def segmenter_s_linear():
    from own import Segmenter

    return Segmenter(mask=False), (3, 512, 512)


def segmenter_s_mask():
    from own import Segmenter

    return Segmenter(), (3, 512, 512)


def panoptic_fpn_r50():
    from torchvision_beside_cpu import prepare

    prepare()
    from own import PanopticFPN

    return PanopticFPN(), (3, 512, 512)


NAMES = (
    *(
        "segformer_b0",
        "segformer_b5",
        "upernet_swin_t",
        "mask2former_swin_t",
        "maskformer_swin_t",
        "dpt_b",
        "mobilevit_deeplabv3",
        "eomt_s",
        "eomt_s_encoder",
    ),
    *("detr_segmentation", "detr", "sam_vit_b", "sam2_hiera_t", "unet_r34", "deeplabv3plus_r50", "fpn_r50", "pspnet_r50"),
    *("fcn_r50", "fcn_r50_aux", "deeplabv3_r50", "deeplabv3_r50_aux", "lraspp_mobilenetv3", "faster_rcnn_r50_fpn"),
    *("mask_rcnn_r50_fpn_1", "mask_rcnn_r50_fpn_10", "mask_rcnn_r50_fpn_100", "yolov8n_seg", "yolov8n", "yolo11n_seg", "yolo11n"),
    *("segnet", "fastfcn_r50", "segmenter_s_linear", "segmenter_s_mask", "panoptic_fpn_r50"),
)
"""Every entry, in the order of the board."""

REFERENCES = {
    "eomt_s": "eomt_s_encoder",
    "detr_segmentation": "detr",
    "mask_rcnn_r50_fpn_1": "faster_rcnn_r50_fpn",
    "mask_rcnn_r50_fpn_10": "faster_rcnn_r50_fpn",
    "mask_rcnn_r50_fpn_100": "faster_rcnn_r50_fpn",
    "yolov8n_seg": "yolov8n",
    "yolo11n_seg": "yolo11n",
}
"""Models that are measured against another without their masks, or without their queries."""

COUNTED_ONLY = ("fcn_r50_aux", "deeplabv3_r50_aux", "mask_rcnn_r50_fpn_1", "mask_rcnn_r50_fpn_10")
"""Variants of other entries, whose counts are of interest and whose times are not."""

SEMANTIC = tuple(
    name
    for name in NAMES
    if not name.startswith(("detr", "sam", "faster_rcnn", "mask_rcnn", "yolo", "eomt_s_encoder")) and name not in COUNTED_ONLY
)
"""Entries that give scores of every pixel, or masks with classes."""

BACKBONES = {"yolov8n_seg": 10, "yolov8n": 10, "yolo11n_seg": 11, "yolo11n": 11}
"""YOLO models are one list: the first layers, as their configuration files say, are the backbone."""


def backbone(name: str) -> str:
    """What `--backbone` is for an entry."""
    if name == "eomt_s_encoder":
        return "none"
    return ",".join(f"net.model.{i}" for i in range(BACKBONES[name])) if name in BACKBONES else "auto"


PUBLISHED = {
    "fcn_r50": Published(152.717, 9.991, "torchvision's weights; with the auxiliary head"),
    "fcn_r50_aux": Published(152.717, 0, "torchvision's weights"),
    "deeplabv3_r50": Published(178.722, 9.991, "torchvision's weights; with the auxiliary head"),
    "deeplabv3_r50_aux": Published(178.722, 0, "torchvision's weights"),
    "lraspp_mobilenetv3": Published(2.086, 0, "torchvision's weights"),
}
