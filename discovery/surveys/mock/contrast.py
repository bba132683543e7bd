"""How far a dust lane stands out from the noise (after Rose 1948).

The lane contrast of an object is the signal-to-noise ratio of its lane in the delivered picture,
taken over the beam of the PSF.

Signal: the object is rendered with and without its dust, before noise, both are composed, and the
grey difference is smoothed over the beam. What the difference is on average along each isophote of
the galaxy is taken off: dust that dims whole isophotes makes a fainter galaxy, not a lane, and
nobody who sees only the dusty one could tell.

Noise: the standard deviation of the grey picture, smoothed alike, over several exposures of the
dusty object. It holds sky, read noise and the galaxy's own photons, carried through the stretch,
the resampling and the JPEG. To it 2 % of the local brightness is added in quadrature: in the bright
middle of a galaxy photons would show a dip of 1 %, but the eye does not (its Weber fraction), and
no galaxy is that smooth.

The contrast is the largest ratio of the two. Rose (1948, Advances in Electronics 1, 131) found
that what stands out has a ratio of about 5.
"""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from discovery.surveys.mock import compose, render

STANDS_OUT = 5.0
EXPOSURES = 8
WEBER_FRACTION = 0.02


def lane_contrast(scene: render.Scene, rng: np.random.Generator) -> float:
    """Signal-to-noise ratio of the lane of `scene`; 0 without dust."""
    if scene.dust is None:
        return 0.0
    frame = render.noiseless(scene)
    beam = _beam_pixels(scene)
    grey = _grey(frame, beam)
    dimmed = _grey(render.noiseless(scene, dusty=False), beam) - grey
    draws = [_grey(render.observe(scene, frame, rng), beam) for _ in range(EXPOSURES)]
    # a few exposures give a ragged σ: its square is averaged over some beams
    variance = gaussian_filter(np.var(draws, axis=0, ddof=1), 2 * beam)
    lane = dimmed - _isophote_means(dimmed, scene)
    return float((lane / np.sqrt(variance + (WEBER_FRACTION * grey) ** 2)).max())


# Pixels here are of 4.24 R90 sharp, not of the frame rounded up: a beam at most 3 % off.
def _beam_pixels(scene):
    """σ of the PSF in pixels of the delivered picture."""
    arcsec_per_pixel = render.FIELD_IN_R90 * scene.r90_arcsec / compose.DELIVERED_PIXELS
    return scene.seeing_arcsec / 2.355 / arcsec_per_pixel


def _isophote_means(image, scene):
    """`image` with every pixel replaced by the mean along the galaxy's isophote through it."""
    step = render.FIELD_IN_R90 * scene.r90_arcsec / compose.DELIVERED_PIXELS
    axis = (np.arange(compose.DELIVERED_PIXELS) - (compose.DELIVERED_PIXELS - 1) / 2) * step
    # row 0 of a picture is its northern edge
    u, v = scene.galaxy[0].own_axes(*np.meshgrid(axis, -axis))
    ring = (np.hypot(u, v / scene.galaxy[0].q) / step).astype(int)
    return (np.bincount(ring.flat, image.flat) / np.maximum(np.bincount(ring.flat), 1))[ring]


def _grey(frame, beam_pixels):
    picture = np.asarray(Image.open(io.BytesIO(compose.jpeg(compose.deliver(frame)))))
    return gaussian_filter(picture.astype(np.float32).mean(axis=-1), beam_pixels)
