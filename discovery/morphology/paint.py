"""Paint a physical dust lane on a picture of a galaxy without one.

A picture is turned back into light (`stretch`), each band is dimmed by a disc of dust (`dust`) that
lies in the galaxy as measured from the picture itself, the loss is blurred to the picture's seeing,
and the light is composed again. The lane is real physics on a real galaxy, so it is independent of
every simulated sky and of every generator.

Lengths are in px of the picture, x to the right and y down, the origin in the middle of it, angles
in degrees from +x towards +y.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, label

from discovery.errors import BadInput
from discovery.morphology.dust import DustDisc, band_ratios, may_dim, transmission
from discovery.morphology.stretch import SDSS, Stretch, to_light, to_picture

OVERSAMPLE = 2  # a lane seen from its side is thinner than a px of a small cutout
CORE = 0.1  # of the half-light radius; the light of a spheroid has no cusp along the line of sight
DETECTED_SIGMA = 3.0
FAINTEST_OF_PEAK = 0.02  # isophotes below this share of the peak run into the neighbours
WEBER_FRACTION = 0.02  # the eye does not see a dip of less


@dataclass(frozen=True)
class Host:
    """The galaxy in the middle of a picture.

    Attributes:
        x0, y0: its centre (px from the middle of the picture).
        angle: of its major axis (degrees, 0 to 180).
        q: axis ratio of its isophotes.
        half_light: half-light radius along the major axis (px).
        sky: light of the empty sky, mean of the channels, in the units of the stretch.
        noise: σ of that light.
    """

    x0: float
    y0: float
    angle: float
    q: float
    half_light: float
    sky: float
    noise: float

    def elliptical_radius(self, x, y) -> np.ndarray:
        """Semi-major axis (px) of the isophote through (x, y)."""
        c, s = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        dx, dy = x - self.x0, y - self.y0
        return np.hypot(c * dx + s * dy, (c * dy - s * dx) / self.q)


def measure_host(pixels: np.ndarray, stretch: Stretch = SDSS) -> Host:
    """Centre, shape and size of the galaxy in the middle of `pixels`, uint8 (S, S, 3).

    Centre, axis ratio and angle are the moments of the light (Bertin & Arnouts 1996, A&AS 117, 393,
    section 10.1), the half-light radius is read off the curve of growth in ellipses.

    Raises:
        BadInput: not such an image, or nothing stands out from the sky in its middle.
    """
    light = _light(pixels, stretch).mean(axis=0)
    sky, noise = _sky(light)
    flux = np.where(_footprint(light - sky), light - sky, 0.0).clip(0)
    if not flux.any():
        raise BadInput(
            "no galaxy stands out from the sky in the middle of this cutout; a lane can be painted "
            "only on a centred galaxy."
        )
    x, y = _grid(len(pixels), 1)
    shape = _moments(flux, x, y)
    host = Host(*shape, half_light=1.0, sky=sky, noise=noise)
    return replace(host, half_light=_half_light(flux, host.elliptical_radius(x, y)))


def paint(
    pixels: np.ndarray,
    dust: DustDisc,
    host: Host | None = None,
    seeing_px: float = 1.2,
    stretch: Stretch = SDSS,
) -> np.ndarray:
    """`pixels` with a disc of dust in its galaxy, uint8 (S, S, 3).

    Args:
        pixels: RGB as delivered, uint8 (S, S, 3); red, green, blue are i, r, g.
        dust: lengths in px; its centre counts from the middle of the picture. See `draw_dust`.
        host: the galaxy, as `measure_host` gives it; measured here if left out.
        seeing_px: σ of the point-spread function (px).
        stretch: how the survey composes its pictures.

    Raises:
        BadInput: not such an image, or no galaxy in its middle.
    """
    host = measure_host(pixels, stretch) if host is None else host
    light = _light(pixels, stretch)
    return _show(light * _seen_through(light, dust, host, seeing_px), stretch)


def redden(pixels: np.ndarray, tau_v: float, stretch: Stretch = SDSS) -> np.ndarray:
    """`pixels` behind an even screen of optical depth `tau_v`: redder and fainter, no lane."""
    light = _light(pixels, stretch)
    return _show(light * np.exp(-tau_v * _ratios())[:, None, None], stretch)


def draw_dust(rng: np.random.Generator, host: Host) -> DustDisc:
    """A disc of dust as dusty early types have them, in `host`, in px.

    The ranges are wider than what is known of them (Hawarden et al. 1981, MNRAS 196, 747; Kaviraj
    et al. 2012, MNRAS 423, 49): optical depth 0.3 to 12 (log-uniform), outer radius 0.6 to 3
    half-light radii (log-uniform), a ring in two of three, seen from within 25° of its side in
    four of five, along the major axis in four of ten, along the minor in two, anywhere else in the
    rest; warp, patches and an offset of some per cent.
    """
    r_out = host.half_light * np.exp(rng.uniform(np.log(0.6), np.log(3.0)))
    inclination = rng.uniform(65, 90) if rng.random() < 0.8 else rng.uniform(35, 65)
    turned = rng.choice([rng.normal(0, 6), 90 + rng.normal(0, 6), rng.uniform(0, 180)],
                        p=[0.4, 0.2, 0.4])  # fmt: skip
    return DustDisc(
        tau_v=float(np.exp(rng.uniform(np.log(0.3), np.log(12.0)))),
        r_in=float(r_out * max(rng.uniform(-0.4, 0.8), 0)),
        r_out=float(r_out),
        height=float(r_out * np.exp(rng.uniform(np.log(0.02), np.log(0.15)))),
        inclination=float(inclination),
        angle=float(host.angle + turned),
        x0=float(host.x0 + rng.normal(0, 0.06) * host.half_light),
        y0=float(host.y0 + rng.normal(0, 0.06) * host.half_light),
        warp=float(r_out * rng.normal(0, 0.12)),
        patchiness=float(rng.uniform(0, 0.5)),
        phases=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
    )


def draw_seeing(rng: np.random.Generator, side: int) -> float:
    """σ of a point-spread function (px) on a cutout of `side` px that is filled by its galaxy.

    Seeing of 1.3 arcsec on galaxies with a petrosian R90 of 4 to 15 arcsec; 3 R90 fill the side.
    """
    return float(side / 64 * np.exp(rng.uniform(np.log(0.8), np.log(2.4))))


def without_depth(dust: DustDisc) -> DustDisc:
    """A control: the same brush without paint."""
    return replace(dust, tau_v=0.0)


def off_galaxy(rng: np.random.Generator, dust: DustDisc, host: Host) -> DustDisc:
    """A control: the same lane beside the galaxy, 3 to 4.5 half-light radii from its centre."""
    where, far = rng.uniform(0, 2 * np.pi), rng.uniform(3.0, 4.5) * host.half_light
    # small enough not to reach back into the galaxy
    shrink = min(1.0, host.half_light / dust.r_out)
    return replace(
        dust,
        r_in=dust.r_in * shrink,
        r_out=dust.r_out * shrink,
        height=dust.height * shrink,
        warp=dust.warp * shrink,
        x0=float(host.x0 + far * np.cos(where)),
        y0=float(host.y0 + far * np.sin(where)),
    )


def lane_contrast(
    plain: np.ndarray, painted: np.ndarray, host: Host, seeing_px: float, stretch: Stretch = SDSS
) -> float:
    """How far a painted lane stands out: its largest signal-to-noise ratio over the beam.

    As the mock sky defines it (`surveys.mock.contrast`): the dimming in grey, less its mean along
    the isophotes, over the noise of the sky as shown and 2 % of the local brightness.
    """
    before, after = (gaussian_filter(p.mean(axis=-1), seeing_px) for p in (plain, painted))
    ring = host.elliptical_radius(*_grid(len(plain), 1)).astype(int)
    dimmed = before - after
    mean = np.bincount(ring.flat, dimmed.flat) / np.maximum(np.bincount(ring.flat), 1)
    noise = np.hypot(_shown_noise(plain, host, seeing_px), WEBER_FRACTION * after)
    return float(((dimmed - mean[ring]) / noise).max())


def _shown_noise(plain, host, seeing_px):
    """σ of the grey picture over the beam, from its border; half a level where it is flat."""
    border = _border(gaussian_filter(plain.mean(axis=-1), seeing_px))
    return max(0.5, 1.4826 * np.median(np.abs(border - np.median(border))))


def _check(pixels):
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != pixels.shape[1]:
        raise BadInput(
            f"a cutout is a square RGB picture, uint8 (S, S, 3), not {pixels.dtype} "
            f"{pixels.shape}; decode it with discovery.cutouts.decode."
        )


def _light(pixels, stretch):
    """(3, S, S) float32."""
    _check(pixels)
    return to_light(np.moveaxis(pixels, -1, 0).astype(np.float32) / 255, stretch)


def _show(light, stretch):
    shown = to_picture(light.astype(np.float32), stretch)
    return np.rint(np.moveaxis(shown, 0, -1) * 255).astype(np.uint8)


def _grid(side, over):
    """x and y (px) from the middle of the picture, at `over` points per px."""
    axis = (np.arange(side * over, dtype=np.float32) + 0.5) / over - side / 2
    return np.meshgrid(axis, axis)


def _border(image):
    edge = max(2, len(image) // 12)
    inner = np.zeros(image.shape, bool)
    inner[edge:-edge, edge:-edge] = True
    return image[~inner]


def _sky(light):
    border = _border(light)
    sky = float(np.median(border))
    return sky, float(1.4826 * np.median(np.abs(border - sky)))


def _footprint(light):
    """The connected px of the galaxy in the middle that are brighter than noise and neighbours."""
    smooth = gaussian_filter(light, 1.0)
    third = slice(len(light) // 3, -(len(light) // 3))
    peak = smooth[third, third].max()
    _, noise = _sky(smooth)
    parts, _ = label(smooth > max(DETECTED_SIGMA * noise, FAINTEST_OF_PEAK * peak))
    middle = np.where(smooth[third, third] == peak, parts[third, third], 0).max()
    return (parts == middle) & (middle > 0)


def _moments(flux, x, y):
    """Centre, angle of the major axis (degrees) and axis ratio, from the moments of the light."""
    total = flux.sum()
    x0, y0 = (flux * x).sum() / total, (flux * y).sum() / total
    xx, yy, xy = (
        (flux * a * b).sum() / total
        for a, b in ((x - x0, x - x0), (y - y0, y - y0), (x - x0, y - y0))
    )
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
    half, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    q = np.sqrt(max(half - spread, 1e-3) / max(half + spread, 1e-3))
    return float(x0), float(y0), float(angle), float(np.clip(q, 0.15, 1.0))


def _half_light(flux, radius):
    order = np.argsort(radius, axis=None)
    growth = np.cumsum(flux.flat[order])
    return float(max(radius.flat[order][np.searchsorted(growth, growth[-1] / 2)], 1.0))


def _ratios():
    """A_λ / A_V of red, green, blue."""
    return np.array(band_ratios()[::-1], np.float32)


def _seen_through(light, dust, host, seeing_px):
    """Fraction of the light of each px that gets out, (3, S, S), after the seeing."""
    through = _transmission(dust, host, light.shape[-1])
    # seeing mixes light, not transmission: bright px count for more
    weight = np.maximum(gaussian_filter(light.mean(axis=0), 0.7) - host.sky, host.noise + 1e-4)
    blur = [gaussian_filter(weight * band, seeing_px, mode="nearest") for band in through]
    return np.array(blur) / gaussian_filter(weight, seeing_px, mode="nearest")


def _transmission(dust, host, side):
    """As `dust.transmission`, but red, green, blue and averaged over each px, (3, side, side)."""
    x, y = _grid(side, OVERSAMPLE)
    near = may_dim(dust, x, y)
    depth = np.hypot(host.elliptical_radius(x, y), CORE * host.half_light).astype(np.float32)
    fine = np.ones((3, *x.shape), np.float32)
    fine[:, near] = transmission(dust, x[near], y[near], depth[near])
    # g, r, i are blue, green, red
    return fine.reshape(3, side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(2, 4))[::-1]
