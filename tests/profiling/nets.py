"""Small torch models for tests. Imported only where torch is."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253


class Block(nn.Module):
    """Self-attention over pixels, by torch's fused function."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, features):
        batch, width, height, columns = features.shape
        tokens = features.flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens).reshape(batch, -1, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return mixed.transpose(1, 2).reshape(batch, -1, width).transpose(1, 2).reshape(batch, width, height, columns)


class Net(nn.Module):
    """Grouped and dilated convolutions, attention, a transposed convolution and an einsum: encoder, neck, decoder."""

    def __init__(self, classes: int = 5, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 2, dilation=2, groups=4),
            Block(width),
        )
        self.neck = nn.Conv2d(width, width, 1)
        self.decoder = nn.ConvTranspose2d(width, width, 4, 2, 1)
        self.queries = nn.Parameter(torch.randn(classes, width))

    def forward(self, image):
        features = self.decoder(self.neck(self.encoder(image)))
        return torch.einsum("qc,bchw->bqhw", self.queries, features)


def macs(size: int, classes: int = 5, width: int = 16) -> dict[str, int]:
    """The products of `Net`, worked out by hand, for a square image whose side is a multiple of 4."""
    half, quarter = (size // 2) ** 2, (size // 4) ** 2
    convs = half * width * 27 + quarter * width * (width // 4) * 9
    attention = quarter * 3 * width * width + 2 * 2 * quarter * quarter * (width // 2)
    return {
        "encoder": convs + attention,
        "neck": quarter * width * width,
        "decoder": quarter * width * width * 16 + half * classes * width,
    }


def net():
    torch.manual_seed(0)
    return Net(), (3, 32, 32)


def detector():
    """The same without what comes after the encoder."""
    torch.manual_seed(0)
    return Net().encoder, (3, 32, 32)


def masks():
    """Class and mask queries, as mask classification gives them."""

    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 8, 4, 4)
            self.mask_head = nn.Conv2d(8, 10, 1)

        def forward(self, image):
            masks = self.mask_head(self.encoder(image))
            return {"class_queries_logits": masks.mean((2, 3))[..., None].expand(-1, -1, 6), "masks_queries_logits": masks}

    return Masks(), (3, 32, 32)


def untraceable():
    """A model that decides by a value, which no exporter can follow."""

    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, image):
            features = self.conv(image)
            return features if features.mean().item() > 0 else -features

    return Asks(), (3, 8, 8)


def changed_by_tracing():
    """A model that keeps something between calls and, once traced, cannot be called again."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.traced = False

        def forward(self, image):
            if torch.compiler.is_exporting():
                self.traced = True
            elif self.traced:
                raise RuntimeError("what it kept belongs to the tracer")
            return self.conv(image)

    return Keeps(), (3, 8, 8)


def forward_replaced():
    """A block whose `forward` is another of its methods, as libraries do that fuse normalisation away."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def fused(self, image):
            return self.conv(image).relu()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Block()
            self.encoder.forward = self.encoder.fused
            self.decoder = nn.Conv2d(4, 5, 1)

        def forward(self, image):
            return self.decoder(self.encoder(image))

    return Whole(), (3, 8, 8)
