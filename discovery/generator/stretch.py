"""Images stretched to other shapes, so that a feature is seen on more of them than it occurs on.

A dust lane is known from thin discs alone. Shown drawn out across their disc, the same lanes lie on
shapes as round as early types, and the caption names the roundness that the image now has. It also
says 'stretched', which keeps such images from leaking: a generator that is asked without that word
draws none (Karras et al. 2022, arXiv 2206.00364, appendix F.2).
"""

import math

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

STRETCHED = "stretched"
ROUNDED = 0.6  # share of stretches that go along the minor axis; the others go anywhere
STRETCH_RANGE = (1.5, 4.0)  # an edge-on disc of axis ratio 0.25 becomes anything up to round
# From an axis ratio up, of moments within a circle, a galaxy is as round as the tag says.
ROUNDNESS = (
    (0.8, "completely round galaxy"),
    (0.45, "in-between round galaxy"),
    (0.0, "cigar-shaped galaxy"),
)
SHAPES = frozenset(
    {
        *(tag for _, tag in ROUNDNESS),
        "edge-on galaxy",
        "with rounded edge-on bulge",
        "with boxy edge-on bulge",
        "without edge-on bulge",
    }
)
ZOOM_RANGE = (1.0, 1.4)  # beyond 1.4 no corner of a turned square is empty


def stretch(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image drawn out along one direction, zoomed and turned by any angle; same shape.

    Six times in ten the direction is that of the galaxy's minor axis: a thin disc becomes as
    round as an early type, and what lies on it is seen on such a shape.
    """
    angle = measure_shape(image)[0] if rng.random() < ROUNDED else rng.uniform(0, math.pi)
    zoom = rng.uniform(*ZOOM_RANGE)
    factor = math.exp(rng.uniform(*np.log(STRETCH_RANGE)))
    # From a place in the result to the one in `image` that it shows, both from the middle.
    shrink = _rotation(angle) @ np.diag([1 / (zoom * factor), 1 / zoom]) @ _rotation(-angle)
    return _resample(image, shrink @ _rotation(rng.uniform(0, 2 * math.pi)))


def _resample(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    # torch counts the last axis first
    columns_first = np.ascontiguousarray(matrix[::-1, ::-1])
    theta = F.pad(torch.from_numpy(columns_first).float(), (0, 1))[None]
    bands = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()[None]
    grid = F.affine_grid(theta, bands.shape, align_corners=False)
    shown = F.grid_sample(bands, grid, "bicubic", "reflection", align_corners=False)[0]
    return shown.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def reshaped(caption: str, axis_ratio: float) -> str:
    """The caption of a stretched image: the roundness it now has instead of the shape it had.

    Captions that name no such shape, of spirals for example, stay as they are.
    """
    tags = caption.split(", ")
    others = [tag for tag in tags if tag not in SHAPES]
    if len(others) == len(tags):
        return caption
    return ", ".join([*others, next(tag for low, tag in ROUNDNESS if axis_ratio >= low)])


def measure_shape(image: np.ndarray) -> tuple[float, float]:
    """Direction of the minor axis (radians, from the first axis of the array to the second) and
    axis ratio, of the galaxy in uint8 (S, S, 3).

    From the second moments of the light within 0.4 of the side from the middle, sky taken off.
    """
    grey = gaussian_filter(image.mean(axis=-1, dtype=np.float32), 1)
    row, column = np.indices(grey.shape) - (len(grey) - 1) / 2
    light = np.clip(grey - np.median(grey) - 4, 0, None)
    light = np.where(np.hypot(row, column) < 0.4 * len(grey), light, 0)
    total = light.sum() + 1e-6
    row, column = row - (light * row).sum() / total, column - (light * column).sum() / total
    rr, cc, rc = (
        (light * a * b).sum() / total for a, b in ((row, row), (column, column), (row, column))
    )
    half, spread = (rr + cc) / 2, math.hypot((rr - cc) / 2, rc)
    ratio = math.sqrt(max(half - spread, 0.0) / (half + spread + 1e-6))
    return 0.5 * math.atan2(2 * rc, rr - cc) + math.pi / 2, ratio


def _rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
