"""The Galaxy Zoo 2 release, in the layout in which it is published.

images/<asset_id>.jpg        424 px, 0.02 petrosian R90 a pixel (doi 10.5281/zenodo.3565489)
gz2_filename_mapping.csv     objid, sample, asset_id
gz2_hart16*.csv[.gz]         votes by dr7objid (Hart et al. 2016, MNRAS 461, 3663)
gz2sample*.csv[.gz]          positions and photometry by OBJID, if it is there
"""

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
from discovery.surveys.base import SurveyOnDisk, read_image
from discovery.surveys.tables import need_columns, numbers, python_values, read_table

MAPPING = "gz2_filename_mapping.csv"
IMAGE_FOLDERS = ("images", "images_gz2/images", "images_gz2")
ARCSEC_PER_PX_PER_R90 = 0.02  # Willett et al. 2013, MNRAS 435, 2835, sect. 2.1
RELEASED_WIDTH_PX = 424
VOTES = re.compile(r"t(0\d|1[01])_\w+|total_classifications|total_votes")
MEASURED = {  # store column: the names it goes by, lower case, and its valid range
    "ra": (("ra",), 0, 360),
    "dec": (("dec",), -90, 90),
    "z": (("redshift", "z"), -1, 20),
    "petro_r_mag": (("petromag_r", "petro_r_mag"), 0, 40),
    "petro_r90_arcsec": (("petror90_r", "petro_r90_arcsec"), 0, 3600),
}


class GZ2Survey(SurveyOnDisk):
    """Galaxy Zoo 2: every image of the mapping, with its votes where there are any."""

    kind: Literal["gz2"] = "gz2"
    crop: float = Field(
        0.5, gt=0, le=1, description="central fraction of the width to use; 1 is 8.48 petrosian R90"
    )
    has_votes: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self._mapping())

    def validate(self) -> None:
        """Read the tables and look for the images.

        Raises:
            BadInput: a file, folder or column is missing, or no image belongs to the mapping.
        """
        self.check_folder()
        folder = self._image_folder()
        mapping = self._mapping()
        for path in self._tables():
            self._joined(path, mapping["objid"].to_numpy()[:0])
        assets = {f"{asset}.jpg" for asset in mapping["asset_id"].to_pylist()}
        if not any(image.name in assets for image in folder.iterdir()):
            raise BadInput(
                f"{self.origin} no image in {folder} is named <asset_id>.jpg with an asset_id of "
                f"{MAPPING}; the release's images are, e.g. {min(assets)}."
            )
        self.known()

    def rows(self, start: int, stop: int) -> Iterator[dict]:
        """Rows [start, stop) of the mapping; one without an image has its `failure` instead."""
        mapping = self._mapping()[start:stop]
        objids = mapping["objid"].to_numpy()
        joined = [self._joined(path, objids) for path in self._tables()]
        columns = {**_measured(joined), **_votes(joined[0])}
        columns["asset_id"] = mapping["asset_id"].to_pylist()
        folder = self._image_folder()
        for objid, *values in zip(objids, *columns.values(), strict=True):
            yield self._row(str(objid), folder, dict(zip(columns, values, strict=True)))

    def _row(self, objid: str, folder: Path, row: dict) -> dict:
        path = folder / f"{row['asset_id']}.jpg"
        read = read_image(path, f"no image {path.name} in {folder}")
        if "image" in read:
            row["pixscale_arcsec"] = _pixscale_arcsec(read["image"], row["petro_r90_arcsec"])
        return {"object_id": objid} | read | {"crop": self.crop} | row

    def files(self) -> list[Path]:
        """The mapping, the vote table and that of positions, and the folder of images."""
        return [self.path / MAPPING, *self._tables(), self._image_folder()]

    def _image_folder(self) -> Path:
        for name in IMAGE_FOLDERS:
            if (self.path / name).is_dir():
                return self.path / name
        looked = ", ".join(f"{name}/" for name in IMAGE_FOLDERS)
        raise BadInput(f"{self.origin} {self.path} has no folder of images (looked for {looked}).")

    def _mapping(self) -> pa.Table:
        path = self.path / MAPPING
        mapping = read_table(path, origin=self.origin)
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

    def _joined(self, path: Path, objids: np.ndarray) -> pa.Table:
        """The table's rows of `objids` (int64), in their order; nulls where it has none."""
        table = read_table(path, origin=self.origin)
        key = _key(table, path)
        _need_whole_numbers(table, key, path)
        index = pd.Index(table[key].to_numpy())
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise BadInput(f"{path}: {key} {twice} is there twice; keep one row of each galaxy.")
        for column, low, high in _measurements(table).values():
            numbers(table, column, path, low, high)
        place = index.get_indexer(objids)
        return table.take(pa.array(place, mask=place < 0))


def _key(table: pa.Table, path: Path) -> str:
    key = next((n for n in table.column_names if n.lower() in ("dr7objid", "objid")), "dr7objid")
    need_columns(table, [key], path)
    return key


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
