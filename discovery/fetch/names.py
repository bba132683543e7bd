"""What SIMBAD and NED call the objects of a catalogue, by position."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import MaskedColumn, Table, vstack

from discovery.errors import BadInput
from discovery.fetch.cache import TableCache, default_folder
from discovery.fetch.chunks import ask_in_chunks
from discovery.fetch.services import Services, read_services
from discovery.fetch.session import PoliteSession, Unanswered, asked_again, commonest
from discovery.fetch.tables import check_name, write_table
from discovery.fetch.targets import Target

SIMBAD_PER_SECOND = 4  # it closes the door on who asks more than some 8 times
NED_PER_SECOND = 2
SIMBAD_CHUNK = 100  # positions in one query
MOST_ROWS = 50_000  # of an answer; more is cut off, and said
SIMBAD_COLUMNS = {
    "name": "main_id",
    "ra": "ra",
    "dec": "dec",
    "type": "otype",
    "redshift": "rvz_redshift",
    "bibcode": "coo_bibcode",
}
NED_COLUMNS = {
    "name": "Object Name",
    "ra": "RA",
    "dec": "DEC",
    "type": "Type",
    "redshift": "Redshift",
}
MATCHED = ("object_id", "service", "name", "type", "redshift", "bibcode", "ra", "dec")


@dataclass(frozen=True)
class Service:
    """One service.

    chunk     positions in one question
    ask       a table of MATCHED columns of what lies within arcsec of places [[ra, dec], …] in deg
    """

    name: str
    chunk: int
    tables: TableCache
    ask: Callable[[list, float], Table]

    def near(self, targets: list[Target], radius_arcsec: float) -> Table:
        """name, type, redshift, bibcode (null where unknown), ra, dec (deg) of what is there."""
        places = [[round(t.ra, 7), round(t.dec, 7)] for t in targets]
        question = {"places": places, "radius_arcsec": radius_arcsec}
        found = self.tables.get(self.name, question, lambda: self.ask(places, radius_arcsec))
        return Table({name: _column(found, name) for name in MATCHED[2:]})


def _column(found: Table, name: str) -> MaskedColumn:
    if name in found.colnames:
        return found[name]
    return MaskedColumn([""] * len(found), mask=[True] * len(found), dtype=str)


def fetch_names(
    targets: list[Target],
    out: Path,
    radius_arcsec: float = 3,
    asked: tuple[str, ...] = ("simbad", "ned"),
    offline: bool = False,
    cache: Path | None = None,
) -> str:
    """Write what SIMBAD and NED have within the radius of each target; say how many have a name.

    One row a match, of a target the nearest first: object_id, service, name, type, redshift,
    bibcode (of SIMBAD's position), ra, dec (deg) of the match, separation_arcsec. What could not be
    asked is in `<out>-failures.csv`.

    Raises:
        BadInput: `out` has no known ending, a service does not answer at all, or no question has
            an answer; nothing is written then.
    """
    check_name(out)
    services, folder = read_services(), cache or default_folder()
    made = {"simbad": _simbad, "ned": _ned}
    parts, failures = [], []
    for name in asked:
        service = made[name](services, folder, offline)
        near = partial(service.near, radius_arcsec=radius_arcsec)
        for chunk, found in ask_in_chunks(name, targets, service.chunk, near):
            if isinstance(found, Unanswered):
                failures += [(t.object_id, name, str(found)) for t in chunk]
            else:
                parts.append(_matches(chunk, found, name, radius_arcsec))
    if failures and not parts:
        raise BadInput(
            f"none of {len(failures):,} questions has an answer: "
            f"{commonest(reason for *_, reason in failures)}. Nothing is written. "
            f"{asked_again(offline)}"
        )
    matches = _in_order(parts, targets)
    write_table(matches, out)
    failed = out.with_name(f"{out.stem}-failures.csv")
    columns = zip(*failures, strict=True) if failures else ([], [], [])
    names = ("object_id", "service", "reason")
    write_table(Table(dict(zip(names, map(_strings, columns), strict=True))), failed)
    return _words(matches, targets, failures, out, failed, offline)


def _strings(values) -> np.ndarray:
    return np.array(list(values), dtype=str)


def _matches(chunk: list[Target], found: Table, service: str, radius_arcsec: float) -> Table:
    """Every pair of a target and what lies within the radius of it."""
    here = SkyCoord([t.ra for t in chunk], [t.dec for t in chunk], unit=u.deg)
    placed = found[~_unknown(found["ra"]) & ~_unknown(found["dec"])]
    there = SkyCoord(np.asarray(placed["ra"], float), np.asarray(placed["dec"], float), unit=u.deg)
    one, other, angle, _ = search_around_sky(here, there, radius_arcsec * u.arcsec)
    pairs = placed[other]
    pairs.add_column(_strings([chunk[i].object_id for i in one]), name="object_id", index=0)
    pairs.add_column(_strings([service] * len(one)), name="service", index=1)
    pairs["separation_arcsec"] = angle.arcsec
    return pairs


def _unknown(column) -> np.ndarray:
    return ~np.isfinite(np.ma.filled(np.ma.asarray(column, float), np.nan))


def _in_order(parts: list[Table], targets: list[Target]) -> Table:
    """Targets as they came, of each the nearest first."""
    if not any(len(part) for part in parts):
        empty = {name: np.array([], str) for name in MATCHED[:4]} | {"redshift": np.array([])}
        empty |= {"bibcode": np.array([], str)}
        return Table(empty | {n: np.array([]) for n in ("ra", "dec", "separation_arcsec")})
    matches = vstack([part for part in parts if len(part)], metadata_conflicts="silent")
    place = {target.object_id: i for i, target in enumerate(targets)}
    rows = [place[object_id] for object_id in matches["object_id"]]
    for column in matches.colnames:
        matches[column].unit = None
    return matches[np.lexsort((matches["service"], matches["separation_arcsec"], rows))]


def _simbad(services: Services, folder: Path, offline: bool) -> Service:
    from pyvo.dal import TAPService  # half a second to import
    from pyvo.dal.exceptions import DALOverflowWarning

    session = PoliteSession(services, SIMBAD_PER_SECOND, offline=offline)

    def ask(places: list, radius_arcsec: float) -> Table:
        service = TAPService(services.simbad, session=session)
        query = simbad_query(places, radius_arcsec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DALOverflowWarning)
            answer = service.run_sync(query, maxrec=MOST_ROWS).to_table()
        return _renamed(answer, SIMBAD_COLUMNS)

    return Service("simbad", SIMBAD_CHUNK, TableCache(folder, session), ask)


def simbad_query(places: list, radius_arcsec: float) -> str:
    """ADQL for all objects within a radius of any of the places, [[ra, dec], …] in deg ICRS."""
    columns = ", ".join(SIMBAD_COLUMNS.values())
    circles = " OR ".join(
        f"CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {ra:.7f}, {dec:.7f}, "
        f"{radius_arcsec / 3600:.7f})) = 1"
        for ra, dec in places
    )
    return f"SELECT {columns} FROM basic WHERE {circles}"


def _ned(services: Services, folder: Path, offline: bool) -> Service:
    from astroquery import cache_conf  # a second to import
    from astroquery.exceptions import RemoteServiceError
    from astroquery.ipac.ned import Ned

    session = PoliteSession(services, NED_PER_SECOND, offline=offline)
    service = Ned()
    service._session = session

    def ask(places: list, radius_arcsec: float) -> Table:
        ((ra, dec),) = places
        # Its own cache is of pickles; its address is one for all, and asked for at every query.
        Ned.OBJ_SEARCH_URL, Ned.TIMEOUT = f"{services.ned}/objsearch", services.timeout_s
        try:
            with cache_conf.set_temp("cache_active", False), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                place = SkyCoord(ra, dec, unit=u.deg)
                answer = service.query_region(place, radius=radius_arcsec * u.arcsec)
        except RemoteServiceError as error:
            if "no object" not in str(error).lower():
                raise
            answer = Table({column: [] for column in NED_COLUMNS.values()})
        return _renamed(answer, NED_COLUMNS)

    return Service("ned", 1, TableCache(folder, session), ask)


def _renamed(answer: Table, columns: dict[str, str]) -> Table:
    if missing := set(columns.values()) - set(answer.colnames):
        raise Unanswered(f"answered with a table without {', '.join(sorted(missing))}")
    return Table({name: answer[given] for name, given in columns.items()})


def _words(matches: Table, targets, failures, out: Path, failed: Path, offline) -> str:
    lines = [f"{len(matches):,} matches of {len(targets):,} objects are in {out}."]
    for service in sorted(set(matches["service"])):
        named = set(matches["object_id"][matches["service"] == service])
        lines.append(f"  {service}: {len(named):,} objects have a name")
    if failures:
        lines.append(
            f"{len(failures):,} questions have no answer: "
            f"{commonest(reason for *_, reason in failures)}. All reasons are in {failed}. "
            f"{asked_again(offline)}"
        )
    return "\n".join(lines)
