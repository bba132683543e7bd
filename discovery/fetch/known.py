"""Published lists of objects, as tables that `[survey.published]` of a run file reads.

Any catalogue of VizieR by its name there, or one of LISTS by a short name.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import MaskedColumn, Table

from discovery.errors import BadInput
from discovery.fetch.cache import TableCache, default_folder
from discovery.fetch.services import Services, read_services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.fetch.tables import check_name, write_table

CATALOGUE = re.compile(r"[\w+-]+(/[\w+.-]+){1,5}")  # J/MNRAS/435/2835, VII/118, J/A+A/600/A1/tab2
PER_SECOND = 1
OBJID = re.compile(r"\d{18}$")


@dataclass(frozen=True)
class PublishedList:
    """A list that is not in VizieR: lines that begin with an objid, ra and dec in degrees.

    path        below the address of Galaxy Zoo's tables
    bibcode     of the publication, checked in ADS
    page        what to tell a person whom the address fails
    """

    path: str
    bibcode: str
    page: str


LISTS = {
    "kaviraj2012": PublishedList(
        "dustlanes/Basic_Information.txt",
        "2012MNRAS.423...49K",
        "https://data.galaxyzoo.org (dust-lane spheroidal galaxies)",
    ),
}


def fetch_known(
    out: Path,
    catalogue: str | None = None,
    named: str | None = None,
    bibcode: str | None = None,
    offline: bool = False,
    cache: Path | None = None,
) -> str:
    """Write the catalogue of VizieR, or one of LISTS, to `out` with ra and dec; say how to use it.

    Raises:
        BadInput: no such catalogue, or it has no positions; the service does not answer.
    """
    if (catalogue is None) == (named is None):
        raise BadInput("give either --catalogue VIZIER_NAME or --list NAME.")
    check_name(out)
    services = read_services()
    session = PoliteSession(services, PER_SECOND, offline=offline)
    tables = TableCache(cache or default_folder(), session)
    if named is not None:
        table, bibcode = _from_list(named, services, tables)
    else:
        table, bibcode = _from_vizier(catalogue, services, tables), bibcode
    write_table(table, out)
    return _words(table, out, bibcode)


def _from_list(named: str, services: Services, tables: TableCache) -> tuple[Table, str]:
    if named not in LISTS:
        raise BadInput(
            f"--list {named} is not known; known are {', '.join(LISTS)}. Any catalogue of VizieR "
            "can be had by --catalogue."
        )
    listed = LISTS[named]
    url = f"{services.galaxyzoo}/{listed.path}"
    try:
        table = tables.get(
            "galaxyzoo", {"path": listed.path}, lambda: parse_list(tables.session.get(url).text)
        )
    except Unanswered as error:
        raise BadInput(f"{url}: {error}. The list is published at {listed.page}.") from None
    return table, listed.bibcode


def parse_list(text: str) -> Table:
    """objid (int64), ra, dec (deg), of the lines that begin with an objid of 18 digits.

    Raises:
        Unanswered: there is no such line, or a position is none.
    """
    lines = [re.split(r"[\s,|;]+", line.strip()) for line in text.splitlines()]
    rows = [words[:3] for words in lines if OBJID.match(words[0]) and len(words) >= 3]
    if not rows:
        raise Unanswered("answered with something that is no list of SDSS objids and positions")
    try:
        objid, ra, dec = zip(*((int(i), float(a), float(d)) for i, a, d in rows), strict=True)
    except ValueError as error:
        raise Unanswered(f"has an objid without a position in degrees ({error})") from None
    table = Table({"objid": np.array(objid, np.int64), "ra": ra, "dec": dec})
    _check_positions(table)
    return table


def _from_vizier(catalogue: str, services: Services, tables: TableCache) -> Table:
    if not CATALOGUE.fullmatch(catalogue):
        raise BadInput(
            f"--catalogue {catalogue} names no catalogue of VizieR; they are named like "
            "J/MNRAS/435/2835, or J/MNRAS/435/2835/table5 for one of several tables."
        )
    try:
        return tables.get(
            "vizier", {"catalogue": catalogue}, lambda: _ask_vizier(catalogue, services, tables)
        )
    except Unanswered as error:
        raise BadInput(
            f"VizieR's {catalogue}: {error}. Look for it at "
            f"https://vizier.cds.unistra.fr/viz-bin/VizieR?-source={catalogue}"
        ) from None


def _ask_vizier(catalogue: str, services: Services, tables: TableCache) -> Table:
    from astroquery import cache_conf  # seconds to import
    from astroquery.vizier import VizierClass

    class Vizier(VizierClass):
        """Astroquery's, which takes a host alone, at any address."""

        def _server_to_url(self, return_type="votable"):
            return f"{services.vizier}/viz-bin/{return_type}"

    service = Vizier(columns=["*", "_RAJ2000", "_DEJ2000"], row_limit=-1)
    service._session, service.TIMEOUT = tables.session, None
    # Its own cache is of pickles, and keeps error pages too.
    with cache_conf.set_temp("cache_active", False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # VizieR's units are older than the standard
        found = service.get_catalogs(catalogue)
    if found is None:
        raise Unanswered("answered with something that is no table")
    return _with_positions(_only(found, catalogue))


def _only(found, catalogue: str) -> Table:
    if len(found) == 0:
        raise Unanswered("there is no such catalogue, or it is empty")
    if len(found) > 1:
        raise Unanswered(f"has several tables, name one of them: {', '.join(found.keys())}")
    return found[0]


def _with_positions(table: Table) -> Table:
    """ra, dec first, in degrees: VizieR computes them for whatever a catalogue has positions in."""
    there = table.colnames
    if not {"_RAJ2000", "_DEJ2000"} <= set(there):
        raise Unanswered("has no positions")
    taken = {name for name in there if name.lower() in ("ra", "dec")}
    for name in taken:
        table.rename_column(name, f"{name}_published")
    for position, (name, given) in enumerate((("ra", "_RAJ2000"), ("dec", "_DEJ2000"))):
        values = MaskedColumn(table[given], name=name, dtype=float)
        table.add_column(values, index=position)
    table.remove_columns(["_RAJ2000", "_DEJ2000"])
    _check_positions(table)
    return table


def _check_positions(table: Table) -> None:
    ra, dec = (np.ma.filled(np.ma.asarray(table[n], float), np.nan) for n in ("ra", "dec"))
    if ((ra < 0) | (ra > 360) | (abs(dec) > 90)).any():
        raise Unanswered("has positions that are on no sphere")


def _words(table: Table, out: Path, bibcode: str | None) -> str:
    ids = next((n for n in table.colnames if n.lower() in ("objid", "dr7objid")), None)
    names = next((n for n in table.colnames if n.lower() in ("name", "sdss", "gal")), None)
    lines = [
        f"{len(table):,} objects are in {out}. Below a [[survey]] of a run file:",
        "",
        "[survey.published]",
        f'table = "{out}"',
        *([f'id_column = "{ids}"'] if ids else []),
        *([f'name_column = "{names}"'] if names and not ids else []),
        'ra_column = "ra"',
        'dec_column = "dec"',
        f'bibcode = "{bibcode or "to be given"}"',
        "in_training = false",
    ]
    if not ids and not names:
        lines.insert(3, f"# name one as name_column: {', '.join(table.colnames)}")
    return "\n".join(lines)
