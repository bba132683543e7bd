"""How far a dust lane stands out from the noise (after Rose 1948).

The lane contrast of an object is the signal-to-noise ratio of its lane in the delivered picture,
taken over the beam of the PSF: render the object with and without its dust, before noise; compose
both; the grey difference smoothed over the beam is the signal. The noise is the standard deviation
of the grey picture, smoothed alike, over several exposures of the dusty object: it holds sky, read
noise and the galaxy's own photons, all carried through the stretch. The contrast is the largest
ratio of the two. Rose (1948, Advances in Biology of Vision) found that what stands out has a
ratio of about 5.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from discovery.surveys.mock import compose, render

STANDS_OUT = 5.0
EXPOSURES = 8


def lane_contrast(scene: render.Scene, rng: np.random.Generator) -> float:
    """Signal-to-noise ratio of the lane of `scene`; 0 without dust."""
    if scene.dust is None:
        return 0.0
    frame = render.noiseless(scene)
    beam = _beam_pixels(scene)
    lane = _grey(render.noiseless(scene, dusty=False), beam) - _grey(frame, beam)
    draws = [_grey(render.observe(scene, frame, rng), beam) for _ in range(EXPOSURES)]
    # a few exposures give a ragged σ: its square is averaged over some beams
    variance = gaussian_filter(np.var(draws, axis=0, ddof=1), 2 * beam)
    return float((lane / np.sqrt(variance + 1.0 / 12)).max())


def _beam_pixels(scene):
    """σ of the PSF in pixels of the delivered picture."""
    arcsec_per_pixel = render.FIELD_IN_R90 * scene.r90_arcsec / compose.DELIVERED_PIXELS
    return scene.seeing_arcsec / 2.355 / arcsec_per_pixel


def _grey(frame, beam_pixels):
    return gaussian_filter(compose.deliver(frame).astype(np.float32).mean(axis=-1), beam_pixels)
