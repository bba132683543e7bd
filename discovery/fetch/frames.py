"""Cutouts of SDSS's corrected frames: linear, sky-subtracted, in nanomaggies a pixel.

A cutout is a FITS cube (band, y, x) float32 on the pixels of the r frame, 0.396 arcsec. The CCDs of
the other bands saw the sky some pixels aside, so their light is interpolated onto those of r.
"""

import bz2
import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.nddata.utils import NoOverlapError
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel
from scipy.ndimage import map_coordinates

from discovery.errors import BadInput
from discovery.fetch.fields import Field
from discovery.fetch.services import Services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.fetch.targets import Target
from discovery.files import writing

BANDS = "ugriz"
PIXSCALE_ARCSEC = 0.396
SIDES = (16, 1489)  # px: what ingest reads at least, and the shorter side of a frame
MISSING_ALLOWED = 0.05  # share of a cutout that may lie beyond the frame; ingest fills that in
LARGEST_FRAME_BYTES = 2**26  # unpacked; they have 12.5 MB
LARGEST_FRAME_SIDE = 4096
KEPT_BYTES = 2**31  # of frames on disk
BANDS_APART_PX = 32  # what the bands' frames are shifted by, and more
EDGE_PX = 6  # where splines go wrong by more than 0.1 %
SPLINE_REACH_PX = 16  # beyond this a cubic spline feels nothing


@dataclass(frozen=True)
class Frame:
    """One band: `light` (h, w) float32, nanomaggies a pixel."""

    light: np.ndarray
    wcs: WCS


class FrameStore:
    """Frames on disk as they came; where they are too many, those longest unused go.

    Args:
        url: address of the frame of a field in a band.
        most_bytes: of all that is kept.
    """

    def __init__(
        self,
        folder: Path,
        session: PoliteSession,
        url: Callable[[Field, str], str],
        most_bytes: int = KEPT_BYTES,
    ):
        self.folder, self.session, self.url, self.most_bytes = folder, session, url, most_bytes
        self._turns = [threading.Lock() for _ in range(64)]  # a frame is asked for by one at a time
        self._tidying = threading.Lock()

    def get(self, field: Field, band: str) -> Frame:
        """The frame, from disk or else from the archive.

        Raises:
            Unanswered: it cannot be had, or is no frame.
        """
        url = self.url(field, band)
        path = self.folder / f"{field.rerun}-{url.rpartition('/')[2]}"
        with self._turns[hash(path) % len(self._turns)]:
            if (kept := _kept(path)) is not None:
                return kept
            packed = self.session.get(url).content
            frame = read_frame(packed)  # what is no frame is not kept
            with writing(path) as temporary:
                temporary.write_bytes(packed)
        self._make_room()
        return frame

    def strips(self, field: Field, bands: str, target: Target, side: int) -> dict[str, list[Frame]]:
        """Of each band the field's frame, and those before and after it that the cutout needs.

        Raises:
            Unanswered: the field's frame cannot be had; without the others there is an edge.
        """
        strips = {band: [self.get(field, band)] for band in bands}
        for other in neighbours(strips[base_of(strips)][0], field, target, side):
            for band in bands:
                try:
                    strips[band].append(self.get(other, band))
                except Unanswered as error:
                    if error.status != HTTPStatus.NOT_FOUND:
                        raise
        return strips

    def _make_room(self) -> None:
        # Another process may be tidying the same folder.
        with self._tidying, contextlib.suppress(FileNotFoundError):
            kept = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in self.folder.iterdir())
            too_much = sum(size for _, size, _ in kept) - self.most_bytes
            for _, size, path in kept:
                if too_much <= 0:
                    return
                path.unlink(missing_ok=True)
                too_much -= size


def _kept(path: Path) -> Frame | None:
    """The frame on disk, from now on the last used; None where it is not there, or has rotted."""
    try:
        frame, now = read_frame(path.read_bytes()), time.time_ns()
        os.utime(path, ns=(now, now))
    except (FileNotFoundError, Unanswered):
        return None
    return frame


def read_frame(packed: bytes) -> Frame:
    """The image of a frame as the archive has it, FITS in bzip2.

    Raises:
        Unanswered: it is damaged, too large, or has no image with places on the sky.
    """
    content = _unpacked(packed)
    try:
        frame = _frame_of(content)
    except Unanswered:
        raise
    except Exception as error:
        raise Unanswered(f"its frame is no FITS image: {error}") from None
    if not frame.wcs.has_celestial:
        raise Unanswered("its frame does not say where on the sky it lies")
    return frame


def _frame_of(content: bytes) -> Frame:
    with fits.open(io.BytesIO(content), memmap=False) as file:
        shape = file[0].shape
        if len(shape) != 2 or max(shape) > LARGEST_FRAME_SIDE:
            raise Unanswered(f"its frame is of {' x '.join(map(str, shape))} px, which none is")
        return Frame(np.asarray(file[0].data, np.float32), WCS(file[0].header, naxis=2))


def _unpacked(packed: bytes) -> bytes:
    try:
        with bz2.open(io.BytesIO(packed)) as file:
            content = file.read(LARGEST_FRAME_BYTES + 1)
    except (OSError, EOFError) as error:
        raise Unanswered(f"its frame cannot be unpacked ({error})") from None
    if len(content) > LARGEST_FRAME_BYTES:
        raise Unanswered(f"its frame unpacks to more than {LARGEST_FRAME_BYTES / 2**20:.0f} MiB")
    return content


def frame_url(services: Services, release: int) -> Callable[[Field, str], str]:
    """Addresses of frames in SDSS's archive, as a function of field and band."""
    from astroquery.sdss import SDSSClass  # a second to import

    survey = "boss" if release < 13 else "eboss"
    if release > 17:
        survey = "prior-surveys/sdss4-dr17-eboss"

    def url(field: Field, band: str) -> str:
        return SDSSClass.IMAGING_URL_SUFFIX.format(
            base=services.sas, dr=release, instrument=survey, band=band, **vars(field)
        )

    return url


def check_bands(bands: str) -> str:
    """'g,r,i' as 'gri'.

    Raises:
        BadInput: it names no band of SDSS, or one twice.
    """
    letters = bands.replace(",", "")
    if not letters or set(letters) - set(BANDS) or len(set(letters)) < len(letters):
        raise BadInput(f"--bands {bands}: give some of {','.join(BANDS)}, each once.")
    return letters


def grid(target: Target, size: int) -> tuple[float, int | None]:
    """arcsec per px, and px of a cutout that shows as much as `size` px of the target's scale."""
    return PIXSCALE_ARCSEC, None if target.scale is None else side_of(target, size)


def side_of(target: Target, size: int) -> int:
    """px on a side."""
    return round(target.scale * size / PIXSCALE_ARCSEC)


def check_side(side: int) -> None:
    """Refuse what is too small to see or larger than a frame.

    Raises:
        Unanswered: with the limits.
    """
    low, high = SIDES
    if not low <= side <= high:
        raise Unanswered(
            f"its field has {side:,} px of {PIXSCALE_ARCSEC} arcsec; frames give {low} to {high:,}"
        )


def base_of(bands: Collection[str]) -> str:
    """The band whose pixels are left as they are: r, which is deepest and best seen."""
    return "r" if "r" in bands else next(iter(bands))


def neighbours(frame: Frame, field: Field, target: Target, side: int) -> list[Field]:
    """Fields that show what of a cutout lies before or after a frame; rows grow along the run."""
    _, row = frame.wcs.world_to_pixel(_place(target))
    reach = side / 2 + BANDS_APART_PX
    found = []
    if row - reach < 0 and field.field > 1:
        found.append(replace(field, field=field.field - 1))
    if row + reach > frame.light.shape[0]:
        found.append(replace(field, field=field.field + 1))
    return found


def cut_out(strips: dict[str, list[Frame]], target: Target, side: int) -> fits.PrimaryHDU:
    """Cube (band, side, side) float32 around the target, on the pixels of `base_of` the bands.

    Args:
        strips: of each band the frame that shows the target, and others to go on with beyond it.

    Raises:
        Unanswered: more than MISSING_ALLOWED of it lies beyond all of them.
    """
    base = base_of(strips)
    here = _cut_out_of(strips[base][0], target, side)
    planes = []
    for band, (own, *others) in strips.items():
        light = here.data if band == base else interpolated(own, here.wcs, side)
        for other in others:
            light = np.where(np.isnan(light), interpolated(other, here.wcs, side), light)
        planes.append(light)
    _check_missing(planes)
    header = here.wcs.to_header()
    header["BANDS"] = "".join(strips), "bands of the planes, first to last"
    header["BUNIT"] = "nanomaggy"
    if others := ", ".join(band for band in strips if band != base):
        header["HISTORY"] = f"{others} interpolated onto the pixels of {base} by cubic splines"
    return fits.PrimaryHDU(np.stack(planes), header)


def _check_missing(planes: list[np.ndarray]) -> None:
    missing = np.isnan(planes).any(axis=0).mean()
    if missing > MISSING_ALLOWED:
        raise Unanswered(
            f"{missing:.0%} of the cutout lies beyond the edge of the frames; up to "
            f"{MISSING_ALLOWED:.0%} is left without data"
        )


def _place(target: Target) -> SkyCoord:
    return SkyCoord(target.ra, target.dec, unit=u.deg)


def _cut_out_of(frame: Frame, target: Target, side: int) -> Cutout2D:
    light, wcs = frame.light, frame.wcs
    try:
        return Cutout2D(light, _place(target), side, wcs, mode="partial", fill_value=np.nan)
    except (NoOverlapError, ValueError):
        raise Unanswered("its frame shows another part of the sky") from None


def interpolated(frame: Frame, wcs: WCS, side: int) -> np.ndarray:
    """Light of a frame on another grid of (side, side) px, float32; NaN at its edge and beyond."""
    y, x = np.mgrid[:side, :side]
    x, y = pixel_to_pixel(wcs, frame.wcs, x, y)
    height, width = frame.light.shape
    rows, columns = _around(y, height), _around(x, width)
    part = frame.light[rows, columns]
    if not part.size:
        return np.full((side, side), np.nan, np.float32)
    # A spline would carry one missing pixel through all of the cutout.
    order = 3 if np.isfinite(part).all() else 1
    at = [y - rows.start, x - columns.start]
    light = map_coordinates(part, at, order=order, cval=np.nan, output=np.float32)
    light[~(_inside(y, height) & _inside(x, width))] = np.nan
    return light


def _inside(at: np.ndarray, length: int) -> np.ndarray:
    """Where a spline knows enough on both sides."""
    return (at >= EDGE_PX) & (at <= length - 1 - EDGE_PX)


def _around(at: np.ndarray, length: int) -> slice:
    """The part of an axis that positions `at` need."""
    first = max(0, int(np.floor(at.min())) - SPLINE_REACH_PX)
    return slice(first, max(first, min(length, int(np.ceil(at.max())) + SPLINE_REACH_PX)))


def as_fits(cutout: fits.PrimaryHDU, field: Field, release: int) -> bytes:
    """The file, which says where it is from."""
    cutout.header["ORIGIN"] = f"SDSS DR{release}"
    for name, value in vars(field).items():
        cutout.header[name.upper()] = value, "of the frame"
    content = io.BytesIO()
    cutout.writeto(content)
    return content.getvalue()
