"""Where cutouts come from: each source gives the bytes of one cutout, and says on which grid."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, Latitude, Longitude
from astropy.io import fits

from discovery.cutouts.decode import UnreadableImage, decode
from discovery.errors import BadInput
from discovery.fetch import fields, frames
from discovery.fetch.cache import TableCache
from discovery.fetch.services import Services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.fetch.targets import Target

CHECKED_AT_PX = 64
LARGEST_CUTOUT_BYTES = 2**25
SDSS_SIDES = (64, 2048)  # px that its service draws
HIPS_NAME = re.compile(r"[\w+./-]+")
KINDS = "sdss, sdss-frames, or hips:NAME, e.g. hips:CDS/P/SDSS9/color"


def as_asked(target: Target, size: int) -> tuple[float | None, int]:
    """The grid of services that draw any."""
    return target.scale, size


def as_they_come(targets: list[Target]) -> list[Target]:
    """The order of services that do not mind."""
    return targets


@dataclass(frozen=True)
class Source:
    """How to fetch a cutout.

    session   that it asks through
    suffix    of the files, '.jpg' or '.fits'
    origin    what is recorded: two folders of one origin and size may be mixed
    fetch     the bytes of a target's cutout, that shows what `size` px of the target's scale do
    grid      arcsec per px and px on a side that it will have; None where the scale is not known
    in_order  all targets, in the order in which they are best fetched
    """

    session: PoliteSession
    suffix: str
    origin: str
    fetch: Callable[[Target, int], bytes]
    grid: Callable[[Target, int], tuple[float | None, int | None]] = as_asked
    in_order: Callable[[list[Target]], list[Target]] = as_they_come


def sdss(session: PoliteSession, services: Services, release: int) -> Source:
    """Colour JPEG of SDSS's cutout service, as Galaxy Zoo shows them."""
    url = f"{services.skyserver}/dr{release}/SkyServerWS/ImgCutout/getjpeg"

    def fetch(target: Target, size: int) -> bytes:
        asked = {"ra": target.ra, "dec": target.dec, "scale": target.scale}
        return session.get(url, params=asked | {"width": size, "height": size}).content

    return Source(session, ".jpg", f"SDSS DR{release} colour cutouts", fetch)


def hips(session: PoliteSession, services: Services, name: str, kind: str) -> Source:
    """Any survey in HiPS, by CDS's hips2fits service; `kind` is 'jpg' or 'fits'.

    Raises:
        BadInput: the name cannot be that of a HiPS.
    """
    if not HIPS_NAME.fullmatch(name):
        raise BadInput(f"--from hips:{name} names no HiPS; they are named like CDS/P/SDSS9/color.")
    from astroquery.hips2fits import hips2fitsClass  # a second to import

    service = hips2fitsClass()
    service.server, service.timeout, service._session = services.hips2fits, None, session

    def fetch(target: Target, size: int) -> bytes:
        return service.query_async(
            hips=name,
            width=size,
            height=size,
            projection="TAN",
            ra=Longitude(target.ra * u.deg),
            dec=Latitude(target.dec * u.deg),
            fov=Angle(target.scale * size * u.arcsec),
            coordsys="icrs",
            rotation_angle=Angle(0 * u.deg),
            format=kind,
            min_cut=0.5,
            max_cut=99.5,
            stretch="linear",
            cmap="Greys_r",
        ).content

    return Source(session, f".{kind}", f"HiPS {name}", fetch)


def sdss_frames(
    session: PoliteSession, services: Services, release: int, bands: str, cache: Path
) -> Source:
    """Corrected frames of SDSS, cut out in FITS: one cube of `bands` (e.g. 'gri') an object.

    Args:
        session: for the archive; SkyServer has one of its own.
        cache: folder of answers and of frames.
    """
    skyserver = PoliteSession(services, fields.PER_SECOND, offline=session.offline)
    tables = TableCache(cache, skyserver)
    folder = cache / f"sdss-dr{release}"
    store = frames.FrameStore(folder, session, frames.frame_url(services, release))
    shown_by: dict[str, fields.Field | str] = {}

    def in_order(targets: list[Target]) -> list[Target]:
        """Those of a frame after each other, so that it comes once."""
        sized = [target for target in targets if target.scale is not None]
        shown_by.update(fields.find_fields(sized, services, tables, release))
        found = [t for t in targets if isinstance(shown_by.get(t.object_id), fields.Field)]
        others = [t for t in targets if not isinstance(shown_by.get(t.object_id), fields.Field)]
        return others + sorted(found, key=lambda target: shown_by[target.object_id])

    def fetch(target: Target, size: int) -> bytes:
        side, field = frames.side_of(target, size), shown_by[target.object_id]
        frames.check_side(side)
        if isinstance(field, str):
            raise Unanswered(field)
        cutout = frames.cut_out(store.strips(field, bands, target, side), target, side)
        return frames.as_fits(cutout, field, release)

    origin = f"SDSS DR{release} frames in {','.join(bands)}"
    return Source(session, ".fits", origin, fetch, frames.grid, in_order)


def check_cutout(image: bytes, suffix: str) -> None:
    """Refuse what is no cutout: a page of text, half an image, sky without data.

    Raises:
        Unanswered: with the reason.
    """
    if suffix == ".fits":
        _check_fits(image)
        return
    try:
        decode(image, 1.0, CHECKED_AT_PX)
    except UnreadableImage as error:
        reason = str(error)
        if reason.startswith("blank"):
            reason = "the survey has no image of this place: every pixel has the same value"
        raise Unanswered(reason) from None


def _check_fits(image: bytes) -> None:
    try:
        with fits.open(io.BytesIO(image), memmap=False) as file:
            pixels = np.asarray(file[0].data, float)
    except Exception as error:
        raise Unanswered(f"its answer is no FITS image: {error}") from None
    known = pixels[np.isfinite(pixels)]
    if not known.size or known.min() == known.max():
        raise Unanswered("the survey has no image of this place: no pixel has a value of its own")
