"""Architectures that no package has, each as short as its paper: SegNet, FastFCN's head, Segmenter, Panoptic FPN's semantic branch."""

from __future__ import annotations

from itertools import pairwise

import torch  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253


def conv(inside: int, outside: int, kernel: int = 3, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution of the same size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, padding=padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class SegNetEncoder(nn.Module):
    """The 13 convolutions of VGG16; every pooling keeps where its maxima were."""

    widths = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self) -> None:
        super().__init__()
        sizes = [3, *(width for stage in self.widths for width in stage)]
        pairs = list(pairwise(sizes))
        self.stages = nn.ModuleList()
        for stage in self.widths:
            self.stages.append(nn.Sequential(*(conv(*pairs.pop(0)) for _ in stage)))

    def forward(self, image):
        places, features = [], image
        for stage in self.stages:
            features, indices = F.max_pool2d(stage(features), 2, return_indices=True)
            places.append(indices)
        return features, places


class SegNet(nn.Module):
    """Badrinarayanan et al., SegNet, TPAMI 2017: the decoder puts values back to the maxima's places and convolves."""

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.encoder = SegNetEncoder()
        stages = []
        for i, stage in reversed(list(enumerate(SegNetEncoder.widths))):
            last = SegNetEncoder.widths[i - 1][-1] if i else None
            layers = [conv(a, b) for a, b in pairwise(stage)]
            layers.append(conv(stage[-1], last) if last else nn.Conv2d(stage[-1], classes, 3, padding=1))
            stages.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList(stages)

    def forward(self, image):
        features, places = self.encoder(image)
        for stage, indices in zip(self.decoder, reversed(places), strict=True):
            features = stage(F.max_unpool2d(features, indices, 2))
        return features


class JointPyramidUpsampling(nn.Module):
    """Wu et al., FastFCN, 2019: three scales brought to the finest, four dilated separable convolutions on their concatenation."""

    def __init__(self, widths=(512, 1024, 2048), width: int = 512) -> None:
        super().__init__()
        self.scales = nn.ModuleList(conv(inside, width) for inside in widths)
        self.dilated = nn.ModuleList(
            nn.Sequential(conv_depthwise(3 * width, rate), nn.Conv2d(3 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for rate in (1, 2, 4, 8)
        )

    def forward(self, features):
        scaled = [scale(feature) for scale, feature in zip(self.scales, features, strict=True)]
        size = scaled[0].shape[-2:]
        joined = torch.cat([scaled[0], *(F.interpolate(one, size=size, mode="bilinear", align_corners=True) for one in scaled[1:])], 1)
        return torch.cat([branch(joined) for branch in self.dilated], 1)


def conv_depthwise(width: int, rate: int) -> nn.Sequential:
    """One 3x3 filter per channel, dilated."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=rate, dilation=rate, groups=width, bias=False), nn.BatchNorm2d(width))


class ResNetStages(nn.Module):
    """A torchvision ResNet that gives the outputs of its four stages."""

    def __init__(self, name: str = "resnet50") -> None:
        super().__init__()
        from torchvision import models

        net = getattr(models, name)(weights=None)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])

    def forward(self, image):
        features, outputs = self.stem(image), []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs


class FastFCN(nn.Module):
    """An undilated ResNet-50, joint pyramid upsampling, and the FCN head."""

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.backbone = ResNetStages()
        self.neck = JointPyramidUpsampling()
        self.head = nn.Sequential(conv(2048, 512), nn.Dropout(0.1), nn.Conv2d(512, classes, 1))

    def forward(self, image):
        return self.head(self.neck(self.backbone(image)[1:]))


class Layer(nn.Module):
    """Pre-norm transformer layer with torch's fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens):
        batch, length, width = tokens.shape
        query, key, value = self.qkv(self.norm1(tokens)).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        tokens = tokens + self.out(mixed)
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    """Patches of 16, a class token, learned positions of one size."""

    def __init__(self, size: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + (size // 16) ** 2, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, image):
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(image), -1, -1), tokens], 1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)[:, 1:]


class MaskDecoder(nn.Module):
    """Class tokens beside the patches in two layers; masks are products of both."""

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.classes = nn.Parameter(torch.zeros(1, classes, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(2))
        self.norm, self.mask_norm = nn.LayerNorm(width), nn.LayerNorm(classes)
        self.of_patch, self.of_class = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, tokens):
        count = self.classes.shape[1]
        tokens = torch.cat([self.project(tokens), self.classes.expand(len(tokens), -1, -1)], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        patches, classes = self.of_patch(tokens[:, :-count]), self.of_class(tokens[:, -count:])
        return self.mask_norm(F.normalize(patches, dim=-1) @ F.normalize(classes, dim=-1).transpose(1, 2))


class Segmenter(nn.Module):
    """Strudel et al., Segmenter, ICCV 2021: a vision transformer with a linear or a mask decoder."""

    def __init__(self, size: int = 512, width: int = 384, depth: int = 12, heads: int = 6, classes: int = 150, mask: bool = True) -> None:
        super().__init__()
        self.side = size // 16
        self.encoder = VisionTransformer(size, width, depth, heads)
        self.decoder = MaskDecoder(width, heads, classes) if mask else nn.Linear(width, classes)

    def forward(self, image):
        scores = self.decoder(self.encoder(image))
        return scores.transpose(1, 2).unflatten(2, (self.side, self.side))


class PanopticFPN(nn.Module):
    """Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019: ResNet-50, the pyramid, and the semantic branch.

    The instance branch is Mask R-CNN's, whose cost depends on the detections; it is a zoo entry of its own.
    """

    def __init__(self, classes: int = 54, width: int = 256, branch: int = 128) -> None:
        super().__init__()
        self.backbone = ResNetStages()
        self.neck = Pyramid((256, 512, 1024, 2048), width)
        self.head = SemanticBranch(width, branch, classes)

    def forward(self, image):
        return self.head(self.neck(self.backbone(image)))


class Pyramid(nn.Module):
    """Top-down sums of 1x1 projections, smoothed."""

    def __init__(self, widths, width: int) -> None:
        super().__init__()
        self.across = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in widths)

    def forward(self, features):
        levels = [across(feature) for across, feature in zip(self.across, features, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


class SemanticBranch(nn.Module):
    """Every level by steps of convolution, group norm and doubling to a quarter of the image; summed, one 1x1 convolution, times four."""

    def __init__(self, width: int, branch: int, classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList(self._step(width if i == 0 else branch, branch) for i in range(max(1, doublings))) for doublings in range(4)
        )
        self.predict = nn.Conv2d(branch, classes, 1)

    @staticmethod
    def _step(inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.GroupNorm(32, outside), nn.ReLU())

    def forward(self, features):
        total = 0
        for doublings, (steps, feature) in enumerate(zip(self.levels, features, strict=True)):
            for step in steps:
                feature = step(feature)
                if doublings:
                    feature = F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False)
            total = total + feature
        return F.interpolate(self.predict(total), scale_factor=4, mode="bilinear", align_corners=False)
