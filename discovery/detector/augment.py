"""Vary training images: a galaxy has no up, and a survey has good nights and bad ones.

Everything random is drawn from the generator that is passed in, so a training step depends on
its seed alone. Images go in and come out as bytes: whatever the last rounding or JPEG does to
a real cutout, it also does to a synthetic one.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from discovery.detector.config import AugmentConfig


def augment(pixels: torch.Tensor, config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Vary each image on its own. uint8 (B, S, S, 3) in, the same out."""
    turned = turn(pixels, rng).permute(0, 3, 1, 2)  # (B, 3, S, S)
    images = turned.contiguous().float() / 255
    images = _some(images, config.affine_share, rng, lambda x: _affine(x, config, rng))
    images = _gain(images, config, rng)
    images = _some(images, config.blur_share, rng, lambda x: _blur(x, config.blur_px, rng))
    images = _noise(images, config.noise, rng)
    varied = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return _some(varied, config.jpeg_share, rng, lambda x: _jpeg(x, config.jpeg_quality, rng))


def turn(pixels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """One of the eight exact turns and mirrors of the square for each image (B, S, S, C)."""
    turned = pixels.clone()
    for image, kind in zip(turned, torch.randint(8, (len(pixels),), generator=rng), strict=True):
        image.copy_(_turned(image, int(kind)))
    return turned


def _turned(image, kind):
    image = torch.rot90(image, kind % 4, (0, 1))
    return image.flip(1) if kind >= 4 else image.clone()


def _some(images, share, rng, change):
    chosen = torch.rand(len(images), generator=rng) < share
    changed = images.clone()
    if chosen.any():
        changed[chosen] = change(images[chosen])
    return changed


def _uniform(count, low, high, rng):
    return low + (high - low) * torch.rand(count, generator=rng)


def _affine(images, config, rng):
    count, _, size, _ = images.shape
    angle = _uniform(count, -math.pi, math.pi, rng)
    zoom = _uniform(count, 1 - config.zoom, 1 + config.zoom, rng)
    scale = 1 / zoom / _enlarging(count, config, rng)
    # affine_grid measures shifts in half image sides.
    shift = _uniform((count, 2), -config.shift_px, config.shift_px, rng) * 2 / size
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack((cos, -sin, shift[:, 0], sin, cos, shift[:, 1]), 1).view(count, 2, 3)
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _enlarging(count, config, rng):
    if not config.enlarged:
        return 1.0  # nothing is drawn, so that what is drawn afterwards stays as it was
    by = _uniform(count, 0, math.log(config.enlarged_to), rng).exp()
    return torch.where(torch.rand(count, generator=rng) < config.enlarged, by, 1.0)


def _gain(images, config, rng):
    grey = torch.randn((len(images), 1, 1, 1), generator=rng) * config.brightness
    bands = torch.randn((len(images), 3, 1, 1), generator=rng) * config.colour
    return images * (grey + bands).exp()


def _blur(images, blur_px, rng):
    # Mixing in the 3 x 3 mean is a kernel of variance 2/3 of its weight, per axis, in px².
    weight = 1.5 * _uniform((len(images), 1, 1, 1), 0, blur_px, rng) ** 2
    mean = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return images + weight * (mean - images)


def _noise(images, largest, rng):
    sigma = _uniform((len(images), 1, 1, 1), 0, largest, rng)
    return images + sigma * torch.randn(images.shape, generator=rng)


def _jpeg(pixels, quality, rng):
    qualities = torch.randint(quality[0], quality[1] + 1, (len(pixels),), generator=rng).tolist()
    return torch.from_numpy(
        np.stack([_through_jpeg(x, q) for x, q in zip(pixels.numpy(), qualities, strict=True)])
    )


def _through_jpeg(pixels, quality):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded))
