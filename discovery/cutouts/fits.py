"""From FITS files to one picture: bands by their names, place and scale by the WCS.

The picture is stored as PNG in place of the floats that it was made from; digests of the files tie
it to them. It is turned by quarter turns and mirrored until north lies within 45 deg of up and
east to the left of it. The rest of the angle is stored, not taken out: that would mix neighbouring
pixels, and dust lanes are two or three pixels wide.
"""

import gzip
import hashlib
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from scipy.ndimage import binary_opening

from discovery.cutouts.config import FitsImages
from discovery.cutouts.decode import MAX_SIDE, MIN_SIDE, UnreadableImage
from discovery.cutouts.lupton import compose, fill, png

MAX_BYTES = 64 * 2**20  # of a file once it is unpacked
MAX_PIXELS = 2**24  # of all planes together
MAX_HDUS, MAX_PLANES = 64, 64
OF_ONE_LETTER = frozenset("ugrizyY")
SHOWN_WHERE_THERE = (("i", "r", "g"), ("z", "r", "g"))
ALIGNED_WITHIN_PX = 0.5
SQUARE_WITHIN = 0.02
NAMED_BY = ("FILTER", "BAND", "FILTNAM")
LISTED_BY = ("BANDS", "FILTERS", "FILTER")
NUMBERED_BY = ("BAND", "FILTER")


@dataclass(frozen=True)
class Sky:
    """Where the middle of an image lies, and how its pixels lie on the sky.

    ra, dec: deg ICRS. pixscale_arcsec: side of a pixel. north_deg: direction of north, counted
    counter-clockwise from +y, in a view in which east is to the left of north. mirrored: the image
    has to be mirrored to be that view.
    """

    ra: float
    dec: float
    pixscale_arcsec: float
    north_deg: float
    mirrored: bool


@dataclass(frozen=True)
class Plane:
    """One band: `light` (h, w) float32, row 0 at the bottom, NaN where there is no data."""

    light: np.ndarray
    sky: Sky | None


def picture_of(files: Mapping[str, bytes], settings: FitsImages) -> dict:
    """What a row of a store says of the object that `files` show.

    Args:
        files: bytes by band where every band has a file; else one entry, by its file name.

    Returns:
        image (PNG), bands (red, green, blue, e.g. 'i,r,g'), missing_pixels (share that was filled
        in), file_sha256 (hexadecimal, one a file, in the order of `bands`); where there is a WCS
        ra and dec of the middle (deg ICRS), pixscale_arcsec, and north_deg: the direction of north
        in the picture, counter-clockwise from up, -45 to 45.

    Raises:
        UnreadableImage: damaged, too large, without an image, a band that cannot be named or is
            not there, bands that do not lie upon each other, or too much without data.
    """
    planes: dict[str, Plane] = {}
    for name, content in files.items():
        with _damage_told():
            of_band = name if settings.file_per_band else None
            planes |= _planes(_unpacked(content), settings, of_band)
    bands = _shown(planes, settings.bands)
    _check_alignment(planes, bands)
    missing = np.any([np.isnan(planes[band].light) for band in bands], axis=0)
    _check_missing(planes, bands, missing, settings.missing_allowed)
    light = {b: fill(planes[b].light, np.isnan(planes[b].light)) for b in bands}
    picture = compose({b: v * settings.light for b, v in light.items()}, bands, settings.weights)
    sky = planes[bands[0]].sky
    turned, left = _north_up(picture, sky)
    place = {} if sky is None else {"ra": sky.ra, "dec": sky.dec, "north_deg": left}
    return place | {
        "image": png(turned),
        "pixscale_arcsec": sky and sky.pixscale_arcsec,
        "bands": ",".join(bands),
        "missing_pixels": float(missing.mean()),
        "file_sha256": " ".join(hashlib.sha256(content).hexdigest() for content in files.values()),
    }


@contextmanager
def _damage_told() -> Iterator[None]:
    """Nobody can tell what astropy raises for headers and data that somebody has spoilt."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(f"damaged FITS: {_told(str(error))}") from None


def _told(text: str) -> str:
    """Text of a header or about it, fit to be printed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 100 else line[:99] + "…"


def _unpacked(content: bytes) -> bytes:
    """`content`, of a gzip file what is in it.

    Raises:
        UnreadableImage: empty, no FITS, damaged, or larger than a cutout is.
    """
    if not content:
        raise UnreadableImage("empty file")
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise UnreadableImage(f"damaged: the gzip file cannot be unpacked ({error})") from None
    if len(content) > MAX_BYTES:
        raise UnreadableImage(f"more than {MAX_BYTES / 2**20:.0f} MiB, too large a file")
    if not content.startswith(b"SIMPLE  ="):
        raise UnreadableImage("not FITS")
    return content


def _planes(content: bytes, settings: FitsImages, of_band: str | None) -> dict[str, Plane]:
    """The bands of one file; `of_band` is the band that its name says."""
    with fits.open(io.BytesIO(content), memmap=False) as hdus:
        images = _images(hdus, settings.extension)
        if len(images) == 1:
            hdu = images[0]
            _check_size(_shape(hdu))
            names = _names(hdu.header, _depth(hdu), settings.planes, of_band)
            return dict(zip(names, _read(hdu, len(content), settings.no_data), strict=True))
        return {
            name: _read(hdu, len(content), settings.no_data)[0]
            for name, hdu in _by_name(images).items()
        }


def _images(hdus: fits.HDUList, extension: int | str | None) -> list:
    if extension is not None:
        return [_extension(hdus, extension)]
    found = []
    for number in range(MAX_HDUS):
        try:
            hdu = hdus[number]  # the next header is read no sooner
        except IndexError:
            break
        if hdu.is_image and len(hdu.shape) >= 2:
            found.append(hdu)
    if not found:
        raise UnreadableImage("no image in it: no HDU has two axes or more")
    return found


def _extension(hdus: fits.HDUList, extension: int | str):
    try:
        hdu = hdus[extension]
    except (IndexError, KeyError):
        raise UnreadableImage(
            f"no HDU {extension!r}, which extension under [survey.fits] asks for"
        ) from None
    if not hdu.is_image or len(hdu.shape) < 2:
        raise UnreadableImage(f"HDU {extension!r} holds no image")
    return hdu


def _by_name(images: Sequence) -> dict:
    """Images of several HDUs that have a plane and the name of a band each."""
    # Names of extensions are written in capitals.
    names = [_band_of(hdu.header) or _of_one_letter(hdu.name.lower()) for hdu in images]
    if all(names) and len(set(names)) == len(names) and all(_depth(hdu) == 1 for hdu in images):
        for hdu in images:
            _check_size(_shape(hdu))
        return dict(zip(names, images, strict=True))
    told = ", ".join(_told(hdu.name or "without a name") for hdu in images)
    raise UnreadableImage(
        f"{len(images)} images ({_told(told)}) that are not one a band; say which to take: "
        "extension = 1, or its name, under [survey.fits]"
    )


def _shape(hdu) -> tuple[int, ...]:
    """(planes, h, w), or (h, w); axes of length 1 before these are none."""
    shape = tuple(hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _depth(hdu) -> int:
    shape = _shape(hdu)
    return shape[0] if len(shape) > 2 else 1


def _read(hdu, file_bytes: int, no_data: Sequence[float]) -> list[Plane]:
    """The planes of an HDU; the header's promises are held against the file before any is kept."""
    height, width = _shape(hdu)[-2:]
    told = _told_empty(hdu.header, no_data)  # astropy changes the header when it scales
    is_packed = isinstance(hdu, fits.CompImageHDU)
    there = max(file_bytes - hdu.fileinfo()["datLoc"], 0)
    if not is_packed and hdu.size > there:
        raise UnreadableImage(
            f"truncated: its header promises {hdu.size:,} bytes of data, and {there:,} are there"
        )
    values = np.asarray(hdu.data).reshape(-1, height, width)
    sky = _sky(hdu.header, (height, width))
    return [Plane(_light(plane, told, is_packed), sky) for plane in values]


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) > 3:
        raise UnreadableImage(f"{len(shape)} axes; an image has two, and a third for its bands")
    height, width = shape[-2:]
    if max(height, width) > MAX_SIDE:
        raise UnreadableImage(f"{width} x {height} px is more than {MAX_SIDE} px on a side")
    if min(height, width) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} px is less than {MIN_SIDE} px on a side")
    if len(shape) == 3 and (shape[0] > MAX_PLANES or shape[0] * height * width > MAX_PIXELS):
        raise UnreadableImage(f"{shape[0]:,} planes of {width} x {height} px are too much to read")


def _told_empty(header, no_data: Sequence[float]) -> Sequence[float]:
    """Values without data besides NaN, which whole numbers that are BLANK have become."""
    if header["BITPIX"] < 0:
        return no_data
    return [header.get("BZERO", 0)] if header.get("BLANK") == 0 else []  # astropy 8 overlooks a 0


def _light(values: np.ndarray, no_data: Sequence[float], is_packed: bool) -> np.ndarray:
    with np.errstate(over="ignore"):
        light = values.astype(np.float32)
    # Coadds have an exact zero where no exposure is; sky and noise never sum to one.
    empty = np.isin(values, no_data)
    if is_packed:
        # Tile compression rounds faint light to zero here and there, never in whole patches.
        empty = binary_opening(empty, np.ones((3, 3)))
    light[empty | ~np.isfinite(light)] = np.nan
    return light


def _names(header, depth: int, planes: Sequence[str], of_band: str | None) -> list[str]:
    """Names of the bands of `depth` planes.

    Raises:
        UnreadableImage: header and run file do not say them, or say different ones.
    """
    said = _said(header, depth)
    typed = [of_band] if of_band else list(planes)
    if of_band and depth > 1:
        raise UnreadableImage(f"{depth} planes in a file that is to hold band {of_band} alone")
    if typed and len(typed) != depth:
        raise UnreadableImage(
            f"{depth} planes, and planes under [survey.fits] names {len(typed)}: {', '.join(typed)}"
        )
    if typed and said and said != typed:
        source = "its file's name" if of_band else "planes under [survey.fits]"
        raise UnreadableImage(
            f"its header calls the bands {_told(', '.join(said))}, and {source} {', '.join(typed)}"
        )
    names = said or typed
    if not names:
        raise UnreadableImage(_cannot_be_named(header, depth))
    return names


def _cannot_be_named(header, depth: int) -> str:
    what = "its band" if depth == 1 else f"the bands of its {depth} planes"
    example = '"r"' if depth == 1 else '"g", "r", "z"'
    axis = header.get("CTYPE3")
    seen = f" (its third axis is {_told(axis)!r})" if depth > 1 and isinstance(axis, str) else ""
    return (
        f"{what} cannot be named: the header{seen} has neither {', '.join(LISTED_BY)} nor "
        f"{NUMBERED_BY[0]}1, {NUMBERED_BY[0]}2, … that would; type planes = [{example}], first to "
        "last, under [survey.fits]"
    )


def _said(header, depth: int) -> list[str]:
    """What the header calls the bands of its planes; nothing where it does not."""
    if depth == 1:
        band = _band_of(header)
        return [band] if band else []
    told = [_listed(_text(header, card), depth) for card in LISTED_BY]
    told += [_numbered(header, card, first, depth) for card in NUMBERED_BY for first in (0, 1)]
    told = [names for names in told if names]
    for names in told:
        if names != told[0]:
            both = f"{', '.join(told[0])} and {', '.join(names)}"
            raise UnreadableImage(f"its header calls the bands both {_told(both)}")
    names = told[0] if told else []
    if len(set(names)) < len(names):
        raise UnreadableImage(f"its header names a band twice: {_told(', '.join(names))}")
    return names


def _text(header, card: str) -> str:
    value = header.get(card, "")
    return value.strip() if isinstance(value, str) else ""


def _listed(text: str, depth: int) -> list[str]:
    """'g,r,z' or 'grz' as its names, where they are as many as the planes."""
    names = [name for name in re.split(r"[\s,;/]+", text) if name]
    if len(names) == 1 and len(text) == depth and set(text) <= OF_ONE_LETTER:
        names = list(text)
    return [_of_words(name) for name in names] if len(names) == depth else []


def _numbered(header, card: str, first: int, depth: int) -> list[str]:
    names = [_text(header, f"{card}{first + plane}") for plane in range(depth)]
    return [_of_words(name) for name in names] if all(names) else []


def _band_of(header) -> str:
    """The one band of a header; '' where it does not say or says several."""
    said = {_of_words(text) for card in NAMED_BY if (text := _text(header, card))}
    if not said:
        said = {_of_words(text) for text in [_text(header, "BANDS")] if len(text) == 1}
    return said.pop() if len(said) == 1 else ""


def _of_words(text: str) -> str:
    """'SDSS r', 'r.MP9602' and 'DECam_r' are r; 'F814W' is what it is."""
    return _of_one_letter(text) or text


def _of_one_letter(text: str) -> str:
    letters = [word for word in re.split(r"[\s._:/-]+", text) if word in OF_ONE_LETTER]
    return letters[0] if len(letters) == 1 else ""


def _sky(header, shape: tuple[int, int]) -> Sky | None:
    """Place, scale and orientation at the middle; None where the header has no usable WCS.

    Raises:
        UnreadableImage: the pixels are not square on the sky.
    """
    try:
        offsets, middle = _around_the_middle(WCS(header, naxis=2), shape)
    except Exception:
        return None  # a WCS that cannot be read is as good as none: the pixels are still there
    if offsets is None or not np.isfinite(offsets).all():
        return None
    (east_x, east_y), (north_x, north_y) = offsets  # arcsec a pixel along x, along y
    area = east_x * north_y - east_y * north_x
    along_x, along_y = np.hypot(east_x, north_x), np.hypot(east_y, north_y)
    if not area:
        return None
    if abs(along_x / along_y - 1) > SQUARE_WITHIN or abs(area) < (1 - SQUARE_WITHIN) * (
        along_x * along_y
    ):
        raise UnreadableImage(
            f"pixels are {along_x:.3g} x {along_y:.3g} arcsec or not at right angles; resample "
            "them to squares"
        )
    mirrored = bool(area > 0)
    north = -east_y / area, east_x / area  # of the pixels, where dec grows and ra does not
    x = -north[0] if mirrored else north[0]
    angle = np.degrees(np.arctan2(-x, north[1]))
    measured = middle.ra.deg, middle.dec.deg, np.sqrt(abs(area)), angle
    return Sky(*map(float, measured), mirrored)


def _around_the_middle(wcs: WCS, shape: tuple[int, int]):
    """((2, 2) arcsec a pixel: east and north, along x and y; the middle), of a celestial WCS."""
    if not wcs.has_celestial:
        return None, None
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    around = wcs.pixel_to_world([x, x + 1, x], [y, y, y + 1]).icrs
    east, north = around[0].spherical_offsets_to(around[1:])
    return np.array([east.arcsec, north.arcsec]), around[0]


def _shown(planes: Mapping[str, Plane], asked: Sequence[str]) -> tuple[str, ...]:
    there = ", ".join(map(_told, planes))
    for bands in [tuple(asked)] if asked else SHOWN_WHERE_THERE:
        if set(bands) <= planes.keys():
            return bands
    if asked:
        lost = next(band for band in asked if band not in planes)
        raise UnreadableImage(
            f"no band {lost}, which bands under [survey.fits] asks for; there: {there}"
        )
    raise UnreadableImage(
        f"its bands are {there}, neither i, r, g nor z, r, g; say which to show as red, green and "
        f'blue, or one for grey: bands = ["{_told(next(iter(planes)))}"] under [survey.fits]'
    )


def _check_alignment(planes: Mapping[str, Plane], bands: Sequence[str]) -> None:
    first, *others = bands
    here = planes[first]
    for band in others:
        other = planes[band]
        if other.light.shape != here.light.shape:
            sizes = [" x ".join(map(str, p.light.shape[::-1])) for p in (here, other)]
            raise UnreadableImage(f"band {first} is {sizes[0]} px, and {band} is {sizes[1]} px")
        if (here.sky is None) != (other.sky is None):
            raise UnreadableImage(f"one of the bands {first} and {band} has a WCS, the other none")
        if here.sky and (apart := _apart_px(here.sky, other.sky, here.light.shape)):
            raise UnreadableImage(
                f"bands {first} and {band} lie {apart:.1f} px apart on the sky; align them"
            )


def _apart_px(one: Sky, other: Sky, shape: tuple[int, int]) -> float:
    """How far apart middles or corners are, in px; 0 where that is within the tolerance."""
    ra = (one.ra - other.ra + 180) % 360 - 180
    shift = 3600 * np.hypot(ra * np.cos(np.radians(one.dec)), one.dec - other.dec)
    half = np.hypot(*shape) / 2
    angle = (one.north_deg - other.north_deg + 180) % 360 - 180
    turn = half * np.radians(abs(angle)) + (one.mirrored != other.mirrored) * 2 * half
    scale = half * abs(other.pixscale_arcsec / one.pixscale_arcsec - 1)
    apart = shift / one.pixscale_arcsec + turn + scale
    return apart if apart > ALIGNED_WITHIN_PX else 0.0


def _check_missing(
    planes: Mapping[str, Plane], bands: Sequence[str], missing: np.ndarray, allowed: float
) -> None:
    """Refuse what is mostly without data, as a whole or in its middle, where the galaxy is."""
    height, width = missing.shape
    middle = np.s_[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    for part, where in ((np.s_[:], "the image"), (middle, "the middle quarter of the image")):
        if (share := missing[part].mean()) > allowed:
            each = {band: np.isnan(planes[band].light[part]).mean() for band in bands}
            worst = max(each, key=each.get)
            raise UnreadableImage(
                f"{share:.0%} of {where} is without data, most in band {worst}; up to "
                f"{allowed:.0%} is filled in (missing_allowed under [survey.fits])"
            )


def _north_up(picture: np.ndarray, sky: Sky | None) -> tuple[np.ndarray, float | None]:
    """The picture with its first row at the top, and where north lies in it (deg)."""
    upright = picture[::-1]
    if sky is None:
        return upright, None
    quarters = round(sky.north_deg / 90)
    seen = upright[:, ::-1] if sky.mirrored else upright
    return np.rot90(seen, -quarters), sky.north_deg - 90 * quarters
