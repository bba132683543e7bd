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
from scipy.ndimage import gaussian_filter, label, map_coordinates

from discovery.errors import BadInput
from discovery.morphology.dust import DustDisc, band_ratios, may_dim, transmission
from discovery.morphology.stretch import SDSS, Stretch, to_light, to_picture

OVERSAMPLE = 2  # a lane seen from its side is thinner than a px of a small cutout
CORE = 0.1  # of the half-light radius; the light of a spheroid has no cusp along the line of sight
DETECTED_SIGMA = 3.0
FAINTEST_OF_PEAK = 0.02  # isophotes below this share of the peak run into the neighbours
WEBER_FRACTION = 0.02  # the eye does not see a dip of less
SKY_BEYOND = 3.0  # half-light radii; what is left of the galaxy there is fainter than the noise
LONGEST_LAG = 12  # px
TREND_OF_SIDE = 1 / 12  # what changes over more than this share of the side is light, not noise
# σ of the seeing over the lag at which the noise's autocorrelation falls to one half. SDSS images
# have a native px of 0.396 arcsec and a seeing of 1.3 arcsec (FWHM), so σ is 1.4 native px; on JPEG
# of known scale resampled to 64, 96 and 128 px that lag is 1.4 native px.
SEEING_OF_GRAIN = 1.0
SHARPEST_PX, SOFTEST_OF_SIDE = 0.6, 1 / 20  # limits of a seeing that is read off the grain


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
        grain: lag (px) at which the autocorrelation of the fine noise falls to one half.
        speckle: σ of that fine noise, in which no slope of the sky or of the galaxy counts.
        colour: 2.5 log10 of red over blue light within the half-light radius (mag).
        asymmetry: Σ|I - I'| / Σ I of the grey picture, I' turned by half a turn about the centre,
            within two half-light radii (Conselice et al. 2000, ApJ 529, 886, without the noise's
            part); near 0 for early types, arms and clumps raise it.
    """

    x0: float
    y0: float
    angle: float
    q: float
    half_light: float
    sky: float
    noise: float
    grain: float = 0.5
    speckle: float = 0.0
    colour: float = 0.0
    asymmetry: float = 0.0

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
    light = light_of(pixels, stretch)
    grey = light.mean(axis=0)
    sky, noise = _sky(grey)
    flux = np.where(footprint(grey - sky), grey - sky, 0.0).clip(0)
    if not flux.any():
        raise BadInput(
            "no galaxy stands out from the sky in the middle of this cutout; a lane can be painted "
            "only on a centred galaxy."
        )
    x, y = grid(len(pixels), 1)
    shape = _moments(flux, x, y)
    host = Host(*shape, half_light=1.0, sky=sky, noise=noise)
    radius = host.elliptical_radius(x, y)
    host = replace(host, half_light=_half_light(flux, radius))
    inner, outer = radius < host.half_light, radius > SKY_BEYOND * host.half_light
    grain, speckle = _grain(grey - _mean_of_rings(grey, radius), outer)
    colour, asymmetry = _colour(light, inner, sky), _asymmetry(flux, host, radius)
    return replace(host, grain=grain, speckle=speckle, colour=colour, asymmetry=asymmetry)


def find_host(pixels: np.ndarray, stretch: Stretch = SDSS) -> Host | None:
    """The galaxy in the middle, as `measure_host` gives it; None where nothing stands out there."""
    try:
        return measure_host(pixels, stretch)
    except BadInput:
        return None


def paint(
    pixels: np.ndarray,
    dust: DustDisc,
    host: Host | None = None,
    seeing_px: float = 1.2,
    stretch: Stretch = SDSS,
    noise: np.random.Generator | None = None,
) -> np.ndarray:
    """`pixels` with a disc of dust in its galaxy, uint8 (S, S, 3).

    Args:
        pixels: RGB as delivered, uint8 (S, S, 3); red, green, blue are i, r, g.
        dust: lengths in px; its centre counts from the middle of the picture. See `draw_dust`.
        host: the galaxy, as `measure_host` gives it; measured here if left out.
        seeing_px: σ of the point-spread function (px).
        stretch: how the survey composes its pictures.
        noise: draws the noise of the sky and the detector, which no dust dims; without it the
            picture is dimmed as it is, and is smoother in the lane than beside it.

    Raises:
        BadInput: not such an image, or no galaxy in its middle.
    """
    host = measure_host(pixels, stretch) if host is None else host
    light = light_of(pixels, stretch)
    through = _seen_through(light, dust, host, seeing_px)
    return show(_dimmed(light, through, host, noise), stretch)


def redden(
    pixels: np.ndarray,
    tau_v: float,
    stretch: Stretch = SDSS,
    host: Host | None = None,
    noise: np.random.Generator | None = None,
) -> np.ndarray:
    """`pixels` behind an even screen of optical depth `tau_v`: redder and fainter, no lane.

    With `host` and `noise` the sky and its noise are not dimmed, as in `paint`.
    """
    light = light_of(pixels, stretch)
    through = np.exp(-tau_v * _ratios())[:, None, None]
    return show(_dimmed(light, through, host, noise), stretch)


def _dimmed(light, through, host, noise):
    """Light that gets through; with `noise` only that of the galaxy is lost, and none of the noise.

    What stands in a pixel of the picture is light and noise at once. The dimmed noise is made up
    for by new noise of the variance that was lost.
    """
    if noise is None:
        return light * through
    lost = np.sqrt(1 - np.broadcast_to(through, light.shape) ** 2)
    # the same in all channels: JPEG keeps little noise of colour
    added = lost * host.speckle * _grained(noise, light.shape[1:], host.grain)
    return (host.sky + (light - host.sky) * through + added).astype(np.float32)


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


def seeing_of(host: Host, side: int) -> float:
    """σ of the point-spread function (px) of the picture of `side` px that `host` was measured on.

    How far the noise of an image is smeared tells how far it was enlarged, and with the survey's
    pixel and seeing (SDSS) how wide a point is in it. Between 0.6 px and a twentieth of the side.
    """
    return float(np.clip(SEEING_OF_GRAIN * host.grain, SHARPEST_PX, SOFTEST_OF_SIDE * side))


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
    dimmed = before - after
    mean = _mean_of_rings(dimmed, host.elliptical_radius(*grid(len(plain), 1)))
    noise = np.hypot(_shown_noise(plain, host, seeing_px), WEBER_FRACTION * after)
    return float(((dimmed - mean) / noise).max())


def _mean_of_rings(image, radius):
    """The mean of `image` along its isophotes, one px wide each, in every px of them."""
    ring = radius.astype(int)
    mean = np.bincount(ring.flat, image.flat) / np.maximum(np.bincount(ring.flat), 1)
    return mean[ring]


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


def light_of(pixels: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Light of a picture, float32 (3, S, S): red, green, blue."""
    _check(pixels)
    return to_light(np.moveaxis(pixels, -1, 0).astype(np.float32) / 255, stretch)


def show(light: np.ndarray, stretch: Stretch) -> np.ndarray:
    """The picture of `light` (3, S, S), uint8 (S, S, 3)."""
    shown = to_picture(light.astype(np.float32), stretch)
    return np.rint(np.moveaxis(shown, 0, -1) * 255).astype(np.uint8)


def grid(side: int, over: int) -> tuple[np.ndarray, np.ndarray]:
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


def _grain(light, outer):
    """Lag (px) at which the autocorrelation of the sky's noise falls to one half, and its σ.

    `light` is that of the sky, less the mean along the isophotes.
    """
    fine = light - gaussian_filter(light, len(light) * TREND_OF_SIDE)
    outer = outer if outer.any() else np.ones(outer.shape, bool)
    spread = 1.4826 * np.median(np.abs(fine[outer]))
    quiet = outer & (np.abs(fine) < 4 * spread)  # no star, no neighbour
    noise = np.where(quiet, fine, 0.0)
    if not noise.any():
        return 0.5, 0.0
    lags = [_autocorrelation(noise, quiet, lag) for lag in range(min(LONGEST_LAG, len(light) // 4))]
    below = next((lag for lag, value in enumerate(lags) if value < 0.5), len(lags) - 1)
    part = (0.5 - lags[below]) / max(lags[below - 1] - lags[below], 1e-6)
    return float(below - np.clip(part, 0, 1)), float(spread)


def _autocorrelation(noise, quiet, lag):
    """Along rows and columns, of the px that are `quiet`, over the variance."""
    size = len(noise) - lag
    pairs = ((np.s_[:, :size], np.s_[:, lag:]), (np.s_[:size], np.s_[lag:]))
    products = sum((noise[a] * noise[b]).sum() for a, b in pairs)
    count = sum((quiet[a] & quiet[b]).sum() for a, b in pairs)
    return products / max(count, 1) / (noise[quiet] ** 2).mean()


def _grained(rng, shape, grain):
    """Noise of variance 1 whose autocorrelation falls to one half at a lag of `grain` px."""
    white = rng.normal(size=shape)
    # a Gaussian of σ makes the autocorrelation exp(-lag² / 4 σ²), and of white noise σ² 1 / 4πσ²
    sigma = grain / (2 * np.sqrt(np.log(2)))
    smooth = gaussian_filter(white, sigma, mode="wrap")
    return smooth / smooth.std()


def _asymmetry(flux, host, radius):
    smooth = gaussian_filter(flux, 1.0)  # what is left of the noise is much the same for all
    x, y = grid(len(flux), 1)
    middle = (len(flux) - 1) / 2
    opposite = (2 * host.y0 - y + middle, 2 * host.x0 - x + middle)
    turned = map_coordinates(smooth, opposite, order=1, mode="nearest")
    inside = radius < 2 * host.half_light
    return float(np.abs(smooth - turned)[inside].sum() / smooth[inside].sum())


def _colour(light, inner, sky):
    red, _, blue = (np.maximum((band - sky)[inner].sum(), 1e-6) for band in light)
    return float(2.5 * np.log10(red / blue))


def footprint(light: np.ndarray) -> np.ndarray:
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
    x, y = grid(side, OVERSAMPLE)
    near = may_dim(dust, x, y)
    depth = np.hypot(host.elliptical_radius(x, y), CORE * host.half_light).astype(np.float32)
    fine = np.ones((3, *x.shape), np.float32)
    fine[:, near] = transmission(dust, x[near], y[near], depth[near])
    # g, r, i are blue, green, red
    return fine.reshape(3, side, OVERSAMPLE, side, OVERSAMPLE).mean(axis=(2, 4))[::-1]
