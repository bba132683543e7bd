"""SAGAN (Zhang et al. 2019, arXiv 1805.08318), the GAN that Zhao, Wang & Lv (2025) compare with.

It is here for that comparison and nothing else.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

_LATENT = 128  # of the authors' code


class SelfAttention(nn.Module):
    """Every place takes in what resembles it anywhere else (eq. 1 to 3).

    y = gamma o + x with gamma 0 at first. Keys and values lie on maps of half the side, as in
    the authors' code.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.query = spectral_norm(nn.Conv2d(channels, narrow, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, narrow, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, half, 1, bias=False))
        self.out = spectral_norm(nn.Conv2d(half, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = _places(self.query(x))  # (B, S², C/8)
        key = _places(F.max_pool2d(self.key(x), 2))  # (B, S²/4, C/8)
        value = _places(F.max_pool2d(self.value(x), 2))  # (B, S²/4, C/2)
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        seen = seen.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)


def _places(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, S, S) to (B, S², C)


class ClassNorm(nn.Module):
    """Batch norm with a gain and a bias for each class (de Vries et al., arXiv 1707.00683)."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding.from_pretrained(torch.ones(classes, channels), freeze=False)
        self.bias = nn.Embedding.from_pretrained(torch.zeros(classes, channels), freeze=False)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        gain, bias = (e(label)[..., None, None] for e in (self.gain, self.bias))
        return self.norm(x) * gain + bias


class _Up(nn.Module):
    """A residual block that doubles the side."""

    def __init__(self, channels: int, out: int, classes: int):
        super().__init__()
        self.norms = nn.ModuleList([ClassNorm(channels, classes), ClassNorm(out, classes)])
        self.first = spectral_norm(nn.Conv2d(channels, out, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(out, out, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(channels, out, 1))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        y = F.interpolate(F.relu(self.norms[0](x, label)), scale_factor=2)
        y = F.relu(self.norms[1](self.first(y), label))
        return self.second(y) + self.skip(F.interpolate(x, scale_factor=2))


class _Down(nn.Module):
    """A residual block that halves the side."""

    def __init__(self, channels: int, out: int, is_first: bool):
        super().__init__()
        self.is_first = is_first  # an image is no activation: no ReLU on it
        self.first = spectral_norm(nn.Conv2d(channels, out, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(out, out, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(channels, out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x if self.is_first else F.relu(x))
        y = self.second(F.relu(y))
        return F.avg_pool2d(y + self.skip(x), 2)


class GeneratorNetwork(nn.Module):
    """The generator's network: z (B, 128) and labels int64 (B,) to images (B, 3, S, S) in -1..1.

    `channels` are its widths from the coarsest maps to the finest; each block doubles the side.
    Self-attention stands where the side is a quarter of the image's (32 of 128 px in the paper).
    """

    def __init__(self, size: int, channels: tuple[int, ...], classes: int):
        super().__init__()
        self.side = size // 2 ** len(channels)
        self.start = spectral_norm(nn.Linear(_LATENT, channels[0] * self.side**2))
        wide = [channels[0], *channels]
        self.blocks = nn.ModuleList(_Up(a, b, classes) for a, b in pairwise(wide))
        self.attention = SelfAttention(wide[-3])
        self.norm = ClassNorm(channels[-1], classes)
        self.last = spectral_norm(nn.Conv2d(channels[-1], 3, 3, padding=1))

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        x = self.start(z).unflatten(1, (-1, self.side, self.side))
        for place, block in enumerate(self.blocks):
            if place == len(self.blocks) - 2:
                x = self.attention(x)
            x = block(x, label)
        return torch.tanh(self.last(F.relu(self.norm(x, label))))


class Discriminator(nn.Module):
    """The discriminator: images (B, 3, S, S) and labels int64 (B,) to a verdict (B,).

    With several classes it is a projection discriminator (Miyato & Koyama 2018, arXiv
    1802.05637, eq. 3): the verdict is linear in the features, plus their product with a row of
    the class's own.
    """

    def __init__(self, channels: tuple[int, ...], classes: int):
        super().__init__()
        wide = [3, *reversed(channels)]
        self.blocks = nn.ModuleList(_Down(a, b, a == 3) for a, b in pairwise(wide))
        self.attention = SelfAttention(wide[2])
        self.verdict = spectral_norm(nn.Linear(wide[-1], 1))
        self.of_class = spectral_norm(nn.Embedding(classes, wide[-1])) if classes > 1 else None

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        for place, block in enumerate(self.blocks):
            if place == 2:
                x = self.attention(x)
            x = block(x)
        features = F.relu(x).sum((2, 3))
        verdict = self.verdict(features)[:, 0]
        if self.of_class is None:
            return verdict
        return verdict + (self.of_class(label) * features).sum(1)


def discriminator_loss(of_real: torch.Tensor, of_fake: torch.Tensor) -> torch.Tensor:
    """Hinge loss of the discriminator (eq. 4): real verdicts up to 1, others down to -1."""
    return F.relu(1 - of_real).mean() + F.relu(1 + of_fake).mean()


def generator_loss(of_fake: torch.Tensor) -> torch.Tensor:
    """Hinge loss of the generator (eq. 4): its images are to be judged real."""
    return -of_fake.mean()
