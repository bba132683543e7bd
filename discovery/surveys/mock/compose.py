"""Three bands to one picture, as SDSS does it (Lupton et al. 2004, PASP 116, 133)."""

import io

import numpy as np
from PIL import Image

from discovery.morphology.stretch import BAND_WEIGHT, to_picture

DELIVERED_PIXELS = 128
JPEG_QUALITY = 95


def lupton_rgb(frame: np.ndarray) -> np.ndarray:
    """RGB, (n, n, 3) float in [0, 1], of a (3, n, n) frame in g, r, i (nmgy per pixel)."""
    weight = np.array([BAND_WEIGHT[band] for band in "irg"], np.float32)[:, None, None]
    return np.moveaxis(to_picture(frame[::-1] * weight), 0, -1)


def deliver(frame: np.ndarray) -> np.ndarray:
    """The picture a cutout service returns: (128, 128, 3) uint8 RGB.

    SDSS resamples pictures that are already composed (Nieto-Santisteban et al. 2004, ADASS XIII,
    ASP 314, 666), so noise below black is gone before neighbouring pixels are mixed.
    """
    # row 0 of a frame is its southern edge, row 0 of a picture its northern
    picture = (lupton_rgb(frame)[::-1] * 255).astype(np.uint8)
    size = (DELIVERED_PIXELS, DELIVERED_PIXELS)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def jpeg(picture: np.ndarray) -> bytes:
    """`picture` as JPEG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
