"""From light to SDSS frames: dust, point-spread function, pixels, sky, noise, blemishes.

Frames are (3, n, n) float32 in nanomaggies per SDSS pixel, sky subtracted, in g, r, i.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from discovery.morphology.dust import DustDisc, transmission
from discovery.surveys.mock.light import Component, Point

PIXEL_ARCSEC = 0.396
FIELD_IN_R90 = 4.24
# Light is laid out at half a pixel where that is affordable; larger galaxies are resolved anyway.
OVERSAMPLED_UP_TO = 110
# Per band g, r, i: electrons per nanomaggy in 53.9 s, sky (mag / arcsec²), read noise and dark
# current (electrons per pixel). Round values typical of SDSS frames, not read off a table; for the
# camera and the frames see Gunn et al. 1998, AJ 116, 3040, and Stoughton et al. 2002, AJ 123, 485.
ELECTRONS_PER_NMGY = np.array([1000.0, 950.0, 710.0])
SKY_MAG_ARCSEC2 = np.array([21.9, 20.9, 20.2])
READ_NOISE_E = np.array([5.0, 5.0, 8.0])
SKY_NMGY = 10 ** (0.4 * (22.5 - SKY_MAG_ARCSEC2)) * PIXEL_ARCSEC**2
# Seeing relative to r: ∝ λ^(-1/5) (Kolmogorov turbulence).
SEEING_RATIO = (1.055, 1.0, 0.96)


@dataclass(frozen=True)
class Blemish:
    """What a telescope, not the sky, puts on an image.

    kind: 'trail' (a satellite, seen in one band only because SDSS exposes its bands one after
    another), 'gap' (a dead line across all bands) or 'missing band'.
    """

    kind: str
    band: int
    offset_arcsec: float
    angle: float
    width_arcsec: float
    strength: float


@dataclass(frozen=True)
class Scene:
    """All that is in one cutout: what is dimmed by the dust, what is not, and the conditions."""

    galaxy: tuple[Component, ...]
    others: tuple[Component, ...]
    dust: DustDisc | None
    blemishes: tuple[Blemish, ...]
    r90_arcsec: float
    seeing_arcsec: float


def frame_pixels(scene: Scene) -> int:
    """Side of the frame in SDSS pixels: 4.24 petrosian R90 wide, rounded up."""
    return int(np.ceil(FIELD_IN_R90 * scene.r90_arcsec / PIXEL_ARCSEC))


def frame_arcsec(scene: Scene) -> float:
    """Side of the frame on the sky; all of it is delivered."""
    return frame_pixels(scene) * PIXEL_ARCSEC


def noiseless(scene: Scene, dusty: bool = True) -> np.ndarray:
    """The sky as the telescope sees it, without noise; `dusty=False` leaves the dust out."""
    n = frame_pixels(scene)
    over = 2 if n <= OVERSAMPLED_UP_TO else 1
    padded = fft.next_fast_len((n + 16) * over, real=True)
    start = (padded - n * over) // 2
    x, y = _grid(padded, start + over * (n - 1) / 2, PIXEL_ARCSEC / over)
    light = np.zeros((3, padded, padded), np.float32)
    for component in scene.galaxy + scene.others:
        dust = scene.dust if dusty and component in scene.galaxy else None
        _add(light, component, dust, x, y)
    blurred = _convolve(light * PIXEL_ARCSEC**2, scene.seeing_arcsec, over)
    seen = slice(start, start + n * over, over)
    return blurred[:, seen, seen]


def observe(scene: Scene, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One exposure of `frame`: photon noise of object and sky, read noise, and the blemishes."""
    per_nmgy = ELECTRONS_PER_NMGY[:, None, None].astype(np.float32)
    variance = (
        np.maximum(frame, 0) * per_nmgy
        + (SKY_NMGY * ELECTRONS_PER_NMGY + READ_NOISE_E**2)[:, None, None]
    )
    noise = rng.standard_normal(frame.shape, dtype=np.float32) * np.sqrt(variance) / per_nmgy
    observed = frame + noise.astype(np.float32)
    for blemish in scene.blemishes:
        _mark(observed, blemish)
    return observed


def _grid(n, centre, step):
    """x and y (arcsec) of an n × n grid whose origin is at index `centre`."""
    axis = (np.arange(n, dtype=np.float32) - np.float32(centre)) * np.float32(step)
    return np.meshgrid(axis, axis)


def _add(light, component, dust, x, y):
    """Add a component's surface brightness (nmgy / arcsec²) to `light` in place."""
    if isinstance(component, Point):
        _add_point(light, component, x, y)
        return
    shape = component.light(x, y)
    _resolve_centre(shape, component, x, y)
    through = 1.0
    if dust is not None:
        through = transmission(dust, x, y, component.depth_scale(x, y))
    light += np.asarray(component.flux, np.float32)[:, None, None] * shape * through


def _resolve_centre(shape, component, x, y):
    """Average the cusp of a profile over its central pixels, in place."""
    if not hasattr(component, "n"):
        return
    step = x[0, 1] - x[0, 0]
    column = round(float((component.x0 - x[0, 0]) / step))
    row = round(float((component.y0 - y[0, 0]) / step))
    if not (4 <= column < len(x) - 4 and 4 <= row < len(x) - 4):
        return
    here = np.s_[row - 3 : row + 4, column - 3 : column + 4]
    sub = (np.arange(9) - 4) / 9 * step
    fine_x = x[here][:, :, None, None] + sub[None, None, None, :]
    fine_y = y[here][:, :, None, None] + sub[None, None, :, None]
    shape[here] = component.light(fine_x, fine_y).mean(axis=(2, 3))


def _add_point(light, star, x, y):
    """Share a star's flux between the four nearest pixels (bilinear), in place."""
    step = x[0, 1] - x[0, 0]
    column, row = (star.x0 - x[0, 0]) / step, (star.y0 - y[0, 0]) / step
    c, r = int(np.floor(column)), int(np.floor(row))
    if not (0 <= c < len(x) - 1 and 0 <= r < len(x) - 1):
        return
    fc, fr = column - c, row - r
    share = np.outer([1 - fr, fr], [1 - fc, fc]) / step**2
    light[:, r : r + 2, c : c + 2] += np.asarray(star.flux)[:, None, None] * share


def transfer(n: int, step_arcsec: float, seeing_arcsec: float) -> np.ndarray:
    """Fourier transform of PSF and pixel on an n × n grid, (n, n // 2 + 1) float32.

    SDSS describes its PSF as two Gaussians (Stoughton et al. 2002); here the wider
    one holds a tenth of the light at three times the width.
    """
    ky = 2 * np.pi * np.fft.fftfreq(n, step_arcsec).astype(np.float32)
    kx = 2 * np.pi * np.fft.rfftfreq(n, step_arcsec).astype(np.float32)
    pixel = [np.sinc(k * PIXEL_ARCSEC / (2 * np.pi)) for k in (ky, kx)]
    sigma = seeing_arcsec / np.sqrt(8 * np.log(2))
    core, wing = ([np.exp(-0.5 * (k * s) ** 2) for k in (ky, kx)] for s in (sigma, 3 * sigma))
    psf = 0.9 * np.outer(*core) + 0.1 * np.outer(*wing)
    return (psf * np.outer(*pixel)).astype(np.float32)


def _convolve(light, seeing_arcsec, over):
    n = light.shape[-1]
    spectrum = fft.rfft2(light)
    for band, ratio in enumerate(SEEING_RATIO):
        spectrum[band] *= transfer(n, PIXEL_ARCSEC / over, seeing_arcsec * ratio)
    return fft.irfft2(spectrum, s=(n, n))


def _mark(frame, blemish):
    n = frame.shape[-1]
    x, y = _grid(n, (n - 1) / 2, PIXEL_ARCSEC)
    a = np.radians(blemish.angle)
    distance = np.cos(a) * y - np.sin(a) * x - blemish.offset_arcsec
    if blemish.kind == "trail":
        profile = np.exp(-0.5 * (distance / blemish.width_arcsec) ** 2)
        frame[blemish.band] += blemish.strength * profile
    elif blemish.kind == "gap":
        frame[:, np.abs(distance) < blemish.width_arcsec / 2] = 0
    else:
        frame[blemish.band] = 0
