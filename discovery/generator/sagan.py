"""SAGAN (Zhang et al. 2019, arXiv 1805.08318), the GAN that Zhao, Wang & Lv (2025) compare with.

It is here for that comparison and nothing else.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from discovery.errors import BadInput
from discovery.generator.config import SAGANConfig
from discovery.generator.layout import save_weights
from discovery.generator.of_classes import OfClasses

LATENT = 128  # numbers in z, as in the authors' code
_WEIGHTS = Path("generator/model.safetensors")


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
        self.start = spectral_norm(nn.Linear(LATENT, channels[0] * self.side**2))
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
            x = block(x)
            if place == 1:
                x = self.attention(x)
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


@dataclass(frozen=True)
class OnePass:
    """From noise to the image in one pass: what the sampler takes for a process.

    It is its own scheduler, under the names that diffusers' schedulers have.
    """

    time_scale = 1.0
    default_sampler = "one-pass"
    timesteps = torch.zeros(1)

    def scheduler(self, sampler: str = "auto") -> Self:
        """Itself.

        Raises:
            BadInput: a sampler was asked for.
        """
        if sampler != "auto":
            raise BadInput(
                f"sampler = {sampler!r} is for a flow or for diffusion; a sagan generator draws "
                "in one pass. Leave sampler out."
            )
        return self

    def set_timesteps(self, steps: int, device: torch.device | None = None) -> None:
        """Refuse more than one step.

        Raises:
            BadInput: says so.
        """
        if steps != 1:
            raise BadInput(
                f"steps = {steps}, but a sagan generator draws in one pass; set steps = 1."
            )

    def add_noise(self, clean, noise, time) -> torch.Tensor:
        """Refuse references.

        Raises:
            BadInput: always; a SAGAN can start from nothing but noise.
        """
        raise BadInput(
            "a sagan generator starts from noise alone; leave reference and strength out."
        )

    def noise_share(self, time) -> torch.Tensor:
        """Refuse outlines and references.

        Raises:
            BadInput: always; there is one pass, and nothing comes before it.
        """
        raise BadInput(
            "a sagan generator draws in one pass, from noise alone; leave outline_above, "
            "reference and strength out."
        )

    def step(self, said: torch.Tensor, time, x, generator=None) -> "OnePass.Stepped":
        return OnePass.Stepped(said)

    def clean(self, noised, said: torch.Tensor, time) -> torch.Tensor:
        return said

    @dataclass(frozen=True)
    class Stepped:
        """The image, under the name that diffusers' schedulers give it."""

        prev_sample: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class SAGANGenerator(OfClasses):
    """A network that makes an image in one pass, from z and the place of a class."""

    config: SAGANConfig
    network: GeneratorNetwork

    kind: ClassVar[str] = "sagan"
    weights: ClassVar[tuple[Path, ...]] = (_WEIGHTS,)

    @classmethod
    def build(cls, config: SAGANConfig) -> Self:
        halvings = len(config.channels)
        if config.size % 2**halvings:
            raise BadInput(
                f"size = {config.size} cannot be halved {halvings} times, once for each of "
                "channels; try size = 224 with five channels."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = GeneratorNetwork(config.size, config.channels, len(config.classes))
        return cls(config=config, tags={}, network=network)

    def write(self, folder: Path) -> None:
        save_weights(self.network, folder / _WEIGHTS, torch.float32)

    @property
    def process(self) -> OnePass:
        return OnePass()

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of z."""
        return LATENT, 1, 1

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"generator": self.network})

    def autocast(self) -> torch.autocast:
        """float32: two networks against each other leave no room for rounding."""
        return torch.autocast(self.device.type, enabled=False)

    def no_class(self) -> int:
        raise BadInput(
            "a sagan generator knows no guidance and no negative prompt; set guidance = 1."
        )

    def predict(self, noised: torch.Tensor, time: torch.Tensor, told: torch.Tensor):
        """The image itself; of z alone, whatever else is in the batch, as batch norm is at rest."""
        return self.network.eval()(noised.flatten(1), told)
