"""From light to a picture and back, as SDSS composes pictures (Lupton et al. 2004, PASP 116, 133).

The mean intensity I of the three channels goes through an asinh and the channels keep their ratios:

    picture_c = light_c f(I) / I,    f(I) = s asinh(Q I / α),    s = 0.1 / asinh(0.1 Q)

The mean of the picture is therefore f(I), which can be inverted. What was clipped cannot: a channel
that was below black or would have overflowed comes back fainter than it was.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stretch:
    """The constants of the stretch.

    Attributes:
        scale: α, the light at which the stretch turns from linear to logarithmic (per pixel).
        softening: Q; the larger, the fainter is already logarithmic.
        black: the light that is shown as black.
    """

    scale: float
    softening: float
    black: float


# Set by comparing median radial profiles of early types and spirals, and the sky, with those of
# the images of Galaxy Zoo (centre about 200, 160, 110 of 255; sky 4 with a scatter of 5). The
# scale and the black level are in nanomaggies per SDSS pixel.
SDSS = Stretch(scale=0.85, softening=6.0, black=-0.006)
# What the light of a band is multiplied by before: g, r and i were set together with the constants
# above; z shows a galaxy of i − z = 0.3 mag as i would, and Legacy Surveys show it much so (0.65).
BAND_WEIGHT = {"g": 1.5, "r": 1.0, "i": 0.84, "z": 0.64}


def to_picture(light: np.ndarray, stretch: Stretch = SDSS) -> np.ndarray:
    """Picture in [0, 1] of `light`; both float (3, …), channels red, green, blue."""
    rgb = light - np.float32(stretch.black)
    intensity = rgb.mean(axis=0)
    safe = np.maximum(intensity, 1e-6)
    stretched = _slope(stretch) * np.arcsinh(stretch.softening / stretch.scale * safe)
    rgb = rgb * (stretched / safe) * (intensity > 0)
    rgb = np.clip(rgb, 0, None)
    # a channel that would overflow pulls the others down with it: colour is kept
    return rgb / np.maximum(rgb.max(axis=0), 1)


def to_light(picture: np.ndarray, stretch: Stretch = SDSS) -> np.ndarray:
    """Light that `to_picture` shows as `picture`; both float (3, …), the picture in [0, 1]."""
    shown = picture.mean(axis=0)
    intensity = stretch.scale / stretch.softening * np.sinh(shown / _slope(stretch))
    return picture * (intensity / np.maximum(shown, 1e-6)) + np.float32(stretch.black)


def _slope(stretch):
    return 0.1 / np.arcsinh(0.1 * stretch.softening)
