"""Which field of which run of SDSS shows an object, as SkyServer tells."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from discovery.fetch.cache import TableCache
from discovery.fetch.chunks import ask_in_chunks
from discovery.fetch.services import Services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.fetch.targets import Target

NEAR_ARCSEC = 30  # an object of SDSS within this tells the frame
CHUNK = 100  # positions in one question
PER_SECOND = 1
LIMITS = {
    "ra": (0, 360),
    "dec": (-90, 90),
    "run": (1, 99_999),
    "rerun": (1, 9_999),
    "camcol": (1, 6),
    "field": (1, 9_999),
}
COLUMNS = tuple(LIMITS)
NOTHING_FOUND = "No objects have been found"


@dataclass(frozen=True, order=True)
class Field:
    """The part of an imaging run that a frame shows, once in every band."""

    run: int
    rerun: int
    camcol: int
    field: int


def find_fields(
    targets: list[Target], services: Services, tables: TableCache, release: int
) -> dict[str, Field | str]:
    """By id the field that shows each target, that of the nearest primary object; or why none.

    Raises:
        BadInput: SkyServer does not answer at all.
    """

    def ask(chunk: list[Target]) -> Table:
        places = [[round(t.ra, 7), round(t.dec, 7)] for t in chunk]
        question = {"release": release, "places": places, "radius_arcsec": NEAR_ARCSEC}
        return tables.get(
            "skyserver", question, lambda: _ask_skyserver(places, services, tables.session, release)
        )

    fields = {}
    for chunk, found in ask_in_chunks("skyserver", targets, CHUNK, ask):
        if isinstance(found, Unanswered):
            fields |= {target.object_id: f"which frame shows it: {found}" for target in chunk}
        else:
            fields |= _nearest(chunk, found)
    return fields


def _ask_skyserver(places, services: Services, session: PoliteSession, release: int) -> Table:
    from astroquery import cache_conf
    from astroquery.sdss import SDSSClass, conf

    service = SDSSClass()
    service._session, service.TIMEOUT = session, services.timeout_s
    # Its own cache is of pickles. What is active or not is a switch for the questions about
    # columns, and an argument for this one. Its address is one for all.
    with (
        cache_conf.set_temp("cache_active", False),
        conf.set_temp("skyserver_baseurl", services.skyserver),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        answer = service.query_crossid_async(
            SkyCoord(places, unit=u.deg),
            radius=NEAR_ARCSEC * u.arcsec,
            photoobj_fields=COLUMNS,
            data_release=release,
            timeout=services.timeout_s,
            cache=False,
        )
    return parse_fields(answer.text)


def parse_fields(text: str) -> Table:
    """COLUMNS of SkyServer's CSV: ra, dec (deg) of objects, and the field of each.

    Astroquery's own reader takes an answer of one line for a file's name, or an address to fetch.

    Raises:
        Unanswered: it is another table, or none.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise Unanswered("answered with nothing")
    if len(lines) == 1 and NOTHING_FOUND in lines[0]:
        lines = [",".join(COLUMNS)]
    table = Table.read(lines, format="ascii.csv")
    if missing := set(COLUMNS) - set(table.colnames):
        raise Unanswered(f"answered with a table without {', '.join(sorted(missing))}")
    table = table[list(COLUMNS)]
    if len(table):
        _check_fields(table)
    return table


def _check_fields(table: Table) -> None:
    for name, (low, high) in LIMITS.items():
        column = np.ma.asarray(table[name])
        numbers = "if" if name in ("ra", "dec") else "i"
        if column.dtype.kind not in numbers or not np.all(
            (column >= low).filled(False) & (column <= high).filled(False)
        ):
            raise Unanswered(f"answered with a {name} that is none of {low} to {high}")


def _nearest(chunk: list[Target], found: Table) -> dict[str, Field | str]:
    nothing = f"SDSS has no object within {NEAR_ARCSEC} arcsec, so its frame is not known"
    if not len(found):
        return {target.object_id: nothing for target in chunk}
    here = SkyCoord([t.ra for t in chunk], [t.dec for t in chunk], unit=u.deg)
    there = SkyCoord(np.asarray(found["ra"]), np.asarray(found["dec"]), unit=u.deg)
    rows, apart, _ = here.match_to_catalog_sky(there)
    fields = [Field(*map(int, found[row][COLUMNS[2:]])) for row in rows]
    near = apart.arcsec <= NEAR_ARCSEC
    return {t.object_id: f if n else nothing for t, f, n in zip(chunk, fields, near, strict=True)}
