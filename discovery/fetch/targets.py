"""A table of positions: which objects to fetch, under which names, at which scale."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from discovery.errors import BadInput
from discovery.surveys.gz2 import ARCSEC_PER_PX_PER_R90, RELEASED_WIDTH_PX
from discovery.surveys.tables import check_ids, need_columns, numbers, read_table

IDS = ("object_id", "id", "objid", "dr7objid", "dr8objid", "name")
R90S = ("petror90", "petror90_r", "petro_r90_arcsec", "size_arcsec")
LONGEST_NAME = 200
FINEST, COARSEST = 0.015, 60.0  # arcsec per px that the SDSS cutout service draws


@dataclass(frozen=True)
class Target:
    """One object. Positions in deg ICRS; scale in arcsec per px, None where it has no radius."""

    object_id: str
    ra: float
    dec: float
    scale: float | None

    @property
    def file_stem(self) -> str:
        """The id as a name of a file: different ids give different names, and none leads away."""
        safe = quote(self.object_id, safe=" +")
        return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def read_targets(
    path: Path,
    id_column: str | None = None,
    ra_column: str = "ra",
    dec_column: str = "dec",
    r90_column: str | None = None,
    scale: float | None = None,
    size: int = RELEASED_WIDTH_PX,
    scaled: bool = True,
) -> list[Target]:
    """Objects of a table (CSV, FITS, VOTable, Parquet, …), in its order.

    The scale is that of Galaxy Zoo 2 (Willett et al. 2013, MNRAS 435, 2835, sect. 2.1), 0.02 R90 a
    pixel of 424, so that `size` pixels show the same 8.48 R90; else `scale` for every object.

    Raises:
        BadInput: a column is missing, an id is empty, repeated or too long, a position is none.
    """
    names = read_table(path).column_names
    id_column = id_column or _known(names, IDS, path, "--id-column")
    table = read_table(path, (id_column,))
    need_columns(table, [id_column, ra_column, dec_column], path)
    ids = table[id_column].to_pylist()
    check_ids(ids, id_column, path)
    _check_lengths(ids, id_column, path)
    ra = numbers(table, ra_column, path, 0, 360)
    dec = numbers(table, dec_column, path, -90, 90)
    _need_positions(ids, ra, dec, path)
    scales = _scales(table, path, r90_column, scale, size) if scaled else np.full(len(ids), np.nan)
    return [
        Target(name, *map(float, place), None if np.isnan(s) else float(s))
        for name, *place, s in zip(ids, ra, dec, scales, strict=True)
    ]


def _known(names: list[str], wanted: tuple[str, ...], path: Path, option: str) -> str:
    there = {name.lower(): name for name in names}
    found = next((there[name] for name in wanted if name in there), None)
    if found is None:
        raise BadInput(
            f"{path} has none of the columns {', '.join(wanted)}; name one of its own by {option}: "
            f"{', '.join(names)}."
        )
    return found


def _scales(table, path: Path, r90_column: str | None, scale: float | None, size: int):
    if scale is not None:
        return np.full(len(table), scale)
    try:
        column = r90_column or _known(table.column_names, R90S, path, "--r90-column")
    except BadInput as error:
        raise BadInput(f"{error} Or give --scale in arcsec per px, one for all.") from None
    need_columns(table, [column], path)
    r90 = numbers(table, column, path, -np.inf, np.inf)
    scales = np.where(r90 > 0, ARCSEC_PER_PX_PER_R90 * r90 * RELEASED_WIDTH_PX / size, np.nan)
    return np.where((scales >= FINEST) & (scales <= COARSEST), scales, np.nan)


def _check_lengths(ids: list[str], column: str, path: Path) -> None:
    for row, name in enumerate(ids, 1):
        if len(quote(name)) > LONGEST_NAME or re.search(r"[\x00-\x1f]", name):
            raise BadInput(
                f"{path}: {column} {name[:40]!r}… in row {row} cannot name a file; an id has at "
                f"most {LONGEST_NAME} letters and no control character. Choose another --id-column."
            )


def _need_positions(ids: list[str], ra: np.ndarray, dec: np.ndarray, path: Path) -> None:
    unknown = np.isnan(ra) | np.isnan(dec)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise BadInput(
            f"{path}: {ids[row]} in row {row + 1} has no position ({unknown.sum():,} such rows); "
            "remove what cannot be looked up."
        )
