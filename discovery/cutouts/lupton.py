"""Bands to one picture, as SDSS composes pictures (Lupton et al. 2004, PASP 116, 133)."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from discovery.cutouts.decode import UnreadableImage
from discovery.morphology.stretch import BAND_WEIGHT, to_picture


def compose(
    light: Mapping[str, np.ndarray], bands: Sequence[str], weights: Mapping[str, float]
) -> np.ndarray:
    """The picture of `bands`, shown as red, green and blue; of one band it is grey.

    Args:
        light: (h, w) float of each band, nanomaggies per SDSS pixel, without NaN.
        weights: of bands that are not in BAND_WEIGHT, or are to look otherwise.

    Returns:
        uint8 (h, w, 3), RGB.

    Raises:
        UnreadableImage: nobody said how bright a band is to be.
    """
    known = BAND_WEIGHT | dict(weights)
    for band in bands:
        if band not in known:
            raise UnreadableImage(
                f'band {band!r} has no brightness; type weights = {{"{band}" = 1.0}} '
                "under [survey.fits]"
            )
    planes = [light[band].astype(np.float32) * np.float32(known[band]) for band in bands]
    channels = np.stack(planes if len(planes) == 3 else planes * 3)
    return (np.moveaxis(to_picture(channels), 0, -1) * 255).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """`picture`, uint8 (h, w, 3), as PNG: what was measured is compressed without loss."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def fill(plane: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`plane` (h, w) with the nearest measured value wherever `missing` (h, w) is true.

    Zeros, or the sky, would cross a galaxy as a dark lane. Nearest values hide a dead column or a
    cosmic ray, and draw no edge that the galaxy has not.
    """
    if not missing.any():
        return plane
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return plane[tuple(nearest)]
