"""The Galaxy Zoo 2 release, in the layout in which it is published.

images_gz2.zip               images/<asset_id>.jpg: 424 px, 0.02 petrosian R90 a pixel
                             (doi 10.5281/zenodo.3565489); or the folder of its images, unpacked
gz2_filename_mapping.csv     objid, sample, asset_id
gz2_hart16*.csv[.gz]         votes by dr7objid (Hart et al. 2016, MNRAS 461, 3663)
gz2sample*.csv[.gz]          positions and photometry by OBJID, if it is there
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from discovery.cutouts.decode import UnreadableImage, open_cutout
from discovery.errors import BadInput
from discovery.progress import say
from discovery.surveys.archive import image_names, read_member
from discovery.surveys.base import SurveyOnDisk, read_image
from discovery.surveys.tables import need_columns, numbers, python_values, read_table

MAPPING, ARCHIVE = "gz2_filename_mapping.csv", "images_gz2.zip"
IMAGE_FOLDERS = ("images", "images_gz2/images", "images_gz2")
ARCSEC_PER_PX_PER_R90 = 0.02  # Willett et al. 2013, MNRAS 435, 2835, sect. 2.1
RELEASED_WIDTH_PX = 424
NOT_MEASURED = (-9999, -999, -99)  # SDSS writes one of them where it measured nothing
VOTES = re.compile(r"t(0\d|1[01])_\w+|total_classifications|total_votes")
MEASURED = {  # store column: the names it goes by, lower case, and its valid range
    "ra": (("ra",), 0, 360),
    "dec": (("dec",), -90, 90),
    "z": (("redshift", "z"), -1, 20),
    "petro_r_mag": (("petromag_r", "petro_r_mag"), 0, 40),
    "petro_r90_arcsec": (("petror90_r", "petro_r90_arcsec"), 0, 3600),
}


class GZ2Survey(SurveyOnDisk):
    """Galaxy Zoo 2: images from the archive or a folder, with their votes where there are any."""

    kind: Literal["gz2"] = "gz2"
    galaxies: Literal["mapped", "voted"] = Field(
        "mapped",
        description="mapped: all that the mapping of images lists; voted: all that have a row in "
        "the vote table, 239,695 in that of Hart et al. 2016",
    )
    crop: float = Field(
        0.5, gt=0, le=1, description="central fraction of the width to use; 1 is 8.48 petrosian R90"
    )
    has_votes: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self._galaxies())

    def count_images(self) -> tuple[int, int]:
        """How many galaxies there are, and how many of them have an image."""
        galaxies, there = self._galaxies(), self._images_there()
        return len(galaxies), sum(_name(a) in there for a in galaxies["asset_id"].to_pylist())

    def validate(self) -> None:
        """Read the tables and look for the images.

        Raises:
            BadInput: a file, folder or column is missing, or no image belongs to the mapping.
        """
        self.check_folder()
        images, galaxies = self._images(), self._galaxies()
        for path in self._tables():
            self._joined(path, galaxies["objid"].to_numpy()[:0])
            self._say_what_was_not_measured(path)
        if not self.count_images()[1]:
            first = next(filter(None, galaxies["asset_id"].to_pylist()), 0)
            raise BadInput(
                f"{self.origin} no image in {images} is named <asset_id>.jpg with an "
                f"asset_id of {MAPPING}; the release's images are, e.g. {_name(first)}."
            )
        self.known()

    def rows(self, start: int, stop: int) -> Iterator[dict]:
        """Rows [start, stop) of the galaxies; one without an image has its `failure` instead."""
        galaxies = self._galaxies()[start:stop]
        objids = galaxies["objid"].to_numpy()
        joined = [self._joined(path, objids) for path in self._tables()]
        columns = {**_measured(joined), **_votes(joined[0])}
        columns["asset_id"] = galaxies["asset_id"].to_pylist()
        images = self._images()
        for objid, *values in zip(objids, *columns.values(), strict=True):
            yield self._row(str(objid), images, dict(zip(columns, values, strict=True)))

    def _row(self, objid: str, images: Path, row: dict) -> dict:
        read = _read(images, row["asset_id"])
        if "image" in read:
            row["pixscale_arcsec"] = _pixscale_arcsec(read["image"], row["petro_r90_arcsec"])
        return {"object_id": objid} | read | {"crop": self.crop} | row

    def files(self) -> list[Path]:
        """The mapping, the vote table and that of positions, and the images."""
        return [self.path / MAPPING, *self._tables(), self._images()]

    def _images(self) -> Path:
        """The folder of images, or the archive where it was not unpacked."""
        for name in IMAGE_FOLDERS:
            if (self.path / name).is_dir():
                return self.path / name
        if (self.path / ARCHIVE).is_file():
            return self.path / ARCHIVE
        looked = ", ".join(f"{name}/" for name in IMAGE_FOLDERS)
        raise BadInput(
            f"{self.origin} {self.path} has no images (looked for {looked} and {ARCHIVE}). Type: "
            f"discovery fetch gz2 --out {self.path}"
        )

    def _images_there(self) -> frozenset[str]:
        """Names, without folders, of the files that may be images."""
        images = self._images()
        if images.is_dir():
            return frozenset(os.listdir(images))
        return image_names(images)

    def _galaxies(self) -> pa.Table:
        """objid and asset_id (null: not in the mapping), a row for each galaxy of the survey."""
        mapping = self._mapping().select(["objid", "asset_id"])
        if self.galaxies == "mapped":
            return mapping
        votes = self._tables()[0]
        voted = _keys(read_table(votes, origin=f"{self.origin} {votes.name}"), votes)
        # A galaxy that is mapped twice keeps its first image, as it does in ingest.
        place = _first_places(mapping["objid"].to_numpy(), voted)
        assets = mapping["asset_id"].take(pa.array(place, mask=place < 0))
        return pa.table({"objid": voted, "asset_id": assets})

    def _mapping(self) -> pa.Table:
        path = self.path / MAPPING
        mapping = read_table(path, origin=f"{self.origin} {MAPPING}")
        need_columns(mapping, ["objid", "asset_id"], path)
        _need_whole_numbers(mapping, "objid", path)
        _need_whole_numbers(mapping, "asset_id", path)
        return mapping

    def _tables(self) -> list[Path]:
        """The vote table, then the table of positions and photometry if there is one."""
        votes = sorted(self.path.glob("gz2_hart16*.csv*"))
        if len(votes) != 1:
            there = " and ".join(path.name for path in votes) or "none"
            raise BadInput(
                f"{self.origin} {self.path} has to hold one vote table gz2_hart16*.csv or .csv.gz "
                f"(there: {there})."
            )
        return [*votes, *sorted(self.path.glob("gz2sample*.csv*"))[:1]]

    def _say_what_was_not_measured(self, path: Path) -> None:
        table = read_table(path)
        for name, column in _physical(table).items():
            if count := pc.sum(_not_measured(table[column])).as_py():
                say(
                    f"  {path.name}: {column} says not measured (e.g. {NOT_MEASURED[0]}) in "
                    f"{count:,} rows; {name} is null there"
                )

    def _joined(self, path: Path, objids: np.ndarray) -> pa.Table:
        """The table's rows of `objids` (int64), in their order; nulls where it has none."""
        table = read_table(path, origin=f"{self.origin} {path.name}")
        index = pd.Index(_keys(table, path))
        table = _without_sentinels(table)
        for column, low, high in _measurements(table).values():
            numbers(table, column, path, low, high)
        place = index.get_indexer(objids)
        return table.take(pa.array(place, mask=place < 0))


def _keys(table: pa.Table, path: Path) -> np.ndarray:
    """The DR7 objids of a table, int64, each there once."""
    key = next((n for n in table.column_names if n.lower() in ("dr7objid", "objid")), "dr7objid")
    need_columns(table, [key], path)
    _need_whole_numbers(table, key, path)
    keys = pd.Index(table[key].to_numpy())
    if not keys.is_unique:
        twice = keys[keys.duplicated()][0]
        raise BadInput(f"{path}: {key} {twice} is there twice; keep one row of each galaxy.")
    return keys.to_numpy()


def _first_places(objids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Row of the first of `objids` that equals each of `wanted`; -1 where none does."""
    first = pd.Series(np.arange(len(objids)), objids)
    first = first[~first.index.duplicated()]
    return first.reindex(wanted, fill_value=-1).to_numpy()


def _name(asset_id: int | None) -> str:
    return f"{asset_id}.jpg"


def _read(images: Path, asset_id: int | None) -> dict:
    """The image of a galaxy from a folder or an archive, or the reason why there is none."""
    if asset_id is None:
        return {"failure": f"not in {MAPPING}"}
    if images.is_dir():
        # Without the name: what is the same for many rows is counted as one.
        return read_image(images / _name(asset_id), f"no image of its asset_id in {images}")
    return read_member(images, _name(asset_id))


def _need_whole_numbers(table: pa.Table, column: str, path: Path) -> None:
    if not pa.types.is_integer(table[column].type) or table[column].null_count:
        raise BadInput(
            f"{path}: {column} is not a whole number in every row; identifiers saved as floats "
            "have lost their last digits, so take the table as it was released."
        )


def _measurements(table: pa.Table) -> dict[str, tuple[str, float, float]]:
    """Store column -> (the table's column, lowest, highest) for what the table measures."""
    there = {name.lower(): name for name in table.column_names}
    return {
        column: (there[name], low, high)
        for column, (names, low, high) in MEASURED.items()
        if (name := next((n for n in names if n in there), None))
    }


def _physical(table: pa.Table) -> dict[str, str]:
    """Store column -> the table's column, of numbers that a galaxy may lack: not its position."""
    return {
        name: column
        for name, (column, *_) in _measurements(table).items()
        if name not in ("ra", "dec") and not pa.types.is_string(table[column].type)
    }


def _not_measured(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(pc.cast(column, pa.float64()), pa.array(NOT_MEASURED, pa.float64()))


def _without_sentinels(table: pa.Table) -> pa.Table:
    for column in _physical(table).values():
        known = pc.if_else(_not_measured(table[column]), None, table[column])
        table = table.set_column(table.column_names.index(column), column, known)
    return table


def _measured(tables: list[pa.Table]) -> dict[str, list]:
    columns = {name: [None] * len(tables[0]) for name in MEASURED}
    for table in tables:
        for name, (column, *_) in _measurements(table).items():
            values = pc.cast(table[column], pa.float64())
            columns[name] = [
                new if old is None else old
                for old, new in zip(columns[name], python_values(values), strict=True)
            ]
    return columns


def _votes(table: pa.Table) -> dict[str, list]:
    return {n: python_values(table[n]) for n in table.column_names if VOTES.fullmatch(n)}


def _pixscale_arcsec(image: bytes, r90_arcsec: float | None) -> float | None:
    """Arcsec per px of an image whose field is the released one, whatever its width is."""
    if r90_arcsec is None:
        return None
    try:
        width = open_cutout(image).width
    except UnreadableImage:
        return None
    return ARCSEC_PER_PX_PER_R90 * r90_arcsec * RELEASED_WIDTH_PX / width
