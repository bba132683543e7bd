"""Your own images: a folder of them, and if you have one a table of labels and positions."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from operator import eq
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from discovery.cutouts.config import FITS_COLUMNS, FITS_SUFFIXES, FitsImages
from discovery.cutouts.decode import UnreadableImage
from discovery.cutouts.store import CORE
from discovery.errors import BadInput
from discovery.progress import say
from discovery.surveys.base import IMAGE_SUFFIXES, SurveyOnDisk, read_image
from discovery.surveys.tables import (
    check_ids,
    need_columns,
    numbers,
    python_values,
    read_table,
)

LABELS_SHOWN = 12


class FolderSurvey(SurveyOnDisk):
    """JPEG, PNG and FITS files below a folder, or those that a table lists."""

    kind: Literal["folder"] = "folder"
    images: str = Field("", description="folder inside path that image names start from")
    table: str | None = Field(
        None, description="table inside path, one image a row; without it every file is taken"
    )
    image_column: str = Field(
        "image", description="column of the image's file name; not used with fits.file_per_band"
    )
    id_column: str | None = Field(None, description="column of ids; else the file name's stem")
    ra_column: str | None = Field(None, description="column of right ascensions, deg ICRS")
    dec_column: str | None = Field(None, description="column of declinations, deg ICRS")
    pixscale_column: str | None = Field(None, description="column of pixel scales, arcsec per px")
    pixscale_arcsec: float | None = Field(
        None, gt=0, description="arcsec per px of every image; without it what the WCS of FITS says"
    )
    crop: float = Field(1.0, gt=0, le=1, description="central fraction of the width to use")
    caption_column: str | None = Field(None, description="column of labels, or of captions")
    captions: dict[str, str] = Field(
        {}, description="what each label says; a label that is not here gives no caption"
    )
    keep: tuple[str, ...] = Field((), description="more columns to carry into the store")
    search_where: dict[str, bool | int | float | str] = Field(
        {}, description="column = value: these rows are searched and never trained on"
    )
    fits: FitsImages = Field(FitsImages(), description="how FITS images become pictures")
    has_votes: ClassVar[bool] = False

    @model_validator(mode="after")
    def _columns_fit_together(self):
        if (self.ra_column is None) != (self.dec_column is None):
            raise ValueError("give both ra_column and dec_column, or neither")
        if self.pixscale_column and self.pixscale_arcsec:
            raise ValueError("give pixscale_column or pixscale_arcsec, not both")
        if self.table is None and (columns := self._columns()):
            raise ValueError(f"columns are named ({', '.join(columns)}) but no table")
        if self.captions and self.caption_column is None:
            raise ValueError("captions are given but no caption_column holds the labels")
        if self.fits.file_per_band and self.table and self.id_column is None:
            raise ValueError("a table with fits.file_per_band needs id_column, to name files by")
        if taken := set(self.keep) & {*CORE.names, *FITS_COLUMNS, "failure", "phash"}:
            raise ValueError(f"keep: {min(taken)} is a column that ingest fills itself")
        return self

    def _columns(self) -> list[str]:
        named = (self.id_column, self.ra_column, self.dec_column, self.pixscale_column)
        return [c for c in (*named, self.caption_column, *self.keep, *self.search_where) if c]

    def __len__(self) -> int:
        return len(self._read_table()) if self.table else len(self._files())

    def validate(self) -> None:
        """Read the table, check every row's id, place and position, and look for the images.

        Raises:
            BadInput: a file, folder or column is missing, an id is there twice, an image is
                outside the folder, a value matches no row, or there is no image at all.
        """
        self.check_folder()
        if not self.image_folder.is_dir():
            raise BadInput(f'{self.origin} images = "{self.images}" is no folder in {self.path}.')
        if self.table:
            table = self._read_table()
            self._check_inside(table[self._named_by].to_pylist())
            self._check_values(table)
        ids, images, _ = self._entries(0, len(self))
        files = (name for image in images for name in self._names(image).values())
        if not any(os.path.isfile(self.image_folder / name) for name in files):
            listed = f" listed in {self._place}" if self.table else ""
            raise BadInput(
                f"{self.origin} there is no image{listed} in {self.image_folder}; images are "
                f"{self._valid_names} files. Correct path or images of this [[survey]] in "
                "the run file."
            )
        if self.id_column is None:
            self._check_stems(ids, images)
        check_ids(ids, self.id_column or "file name", self._place)
        self._say_which_light(images)
        self.known()

    def _say_which_light(self, images: list[str]) -> None:
        files = (name for image in images for name in self._names(image).values())
        if "light" not in self.fits.model_fields_set and any(
            name.lower().endswith(FITS_SUFFIXES) for name in files
        ):
            say(
                f"  {self.origin} FITS images are shown with light = {self.fits.light:g}, as if "
                "in nanomaggies per SDSS pixel; those of Legacy Surveys need light = 2.28 under "
                "[survey.fits] (docs/surveys.md)"
            )

    def rows(self, start: int, stop: int) -> Iterator[dict]:
        """Rows [start, stop) of the table or of the sorted files; a missing file is a failure."""
        ids, images, columns = self._entries(start, stop)
        values = zip(*columns.values(), strict=True)
        for object_id, image, row in zip(ids, images, values, strict=True):
            yield self._row(object_id, image, dict(zip(columns, row, strict=True)))

    def _row(self, object_id: str, image: str, row: dict) -> dict:
        read = self._read(image)
        if row.get("split") is None:
            row.pop("split", None)
        # A table or the run file knows better than a header, where it knows at all.
        told = {name: value for name, value in row.items() if value is not None or name not in read}
        return {"object_id": object_id} | read | {"crop": self.crop} | told

    def _read(self, image: str) -> dict:
        """The image and what its file says of it, else {"failure": reason}."""
        files = {}
        for band, name in self._names(image).items():
            absent = f"no file {name} in {self.image_folder}"
            read = read_image(self.image_folder / name, absent)
            if "failure" in read or not name.lower().endswith(FITS_SUFFIXES):
                return read
            files[band] = read["image"]
        from discovery.cutouts.fits import picture_of  # brings astropy, which JPEG need not

        try:
            return picture_of(files, self.fits)
        except UnreadableImage as error:
            return {"failure": str(error)}

    def _names(self, image: str) -> dict[str, str]:
        """Files of an image: by band where every band has one, else the image by its own name."""
        if self.fits.file_per_band is None:
            return {image: image}
        return {band: self.fits.band_file(image, band) for band in self.fits.bands}

    @property
    def _named_by(self) -> str:
        """The column that files are named by."""
        return self.id_column if self.fits.file_per_band else self.image_column

    @property
    def _valid_names(self) -> str:
        return self.fits.file_per_band or ", ".join(IMAGE_SUFFIXES)

    def files(self) -> list[Path]:
        """The table, if there is one, and the folder of images."""
        return [self._place, self.image_folder] if self.table else [self.image_folder]

    @staticmethod
    def _id_of(image: str) -> str:
        """The file's name without its suffix, where no column has ids."""
        path = Path(image)
        return Path(path.stem).stem if path.suffix.lower() in (".gz", ".fz") else path.stem

    @property
    def image_folder(self) -> Path:
        return self.path / self.images

    @property
    def _place(self) -> Path:
        return self.path / self.table if self.table else self.image_folder

    def _files(self) -> list[str]:
        self.check_folder()
        names = _images_below(self.image_folder, self.image_folder.stat().st_mtime_ns)
        return _ids_of(names, self.fits) if self.fits.file_per_band else names

    def _read_table(self) -> pa.Table:
        text = [c for c in (self._named_by, self.id_column, self.caption_column) if c]
        table = read_table(self._place, text, f"{self.origin} table")
        need_columns(table, [self._named_by, *self._columns()], self._place)
        return table

    def _entries(self, start: int, stop: int) -> tuple[list[str], list[str], dict[str, list]]:
        """Ids, image names, and the other columns of the store, for rows [start, stop)."""
        if self.table is None:
            images = self._files()[start:stop]
            scale = [self.pixscale_arcsec] * len(images)
            return list(map(self._id_of, images)), images, {"pixscale_arcsec": scale}
        table = self._read_table()
        columns = {name: python_values(table[name])[start:stop] for name in self.keep}
        table = table[start:stop]
        images = table[self._named_by].to_pylist()
        ids = list(map(self._id_of, images))
        if self.id_column:
            ids = table[self.id_column].to_pylist()
        return ids, images, columns | self._row_columns(table)

    def _row_columns(self, table: pa.Table) -> dict[str, list]:
        columns = {
            name: _nullable(numbers(table, column, self._place, low, high))
            for name, (column, low, high) in self._measured().items()
        }
        if self.pixscale_arcsec:
            columns["pixscale_arcsec"] = [self.pixscale_arcsec] * len(table)
        if self.caption_column:
            columns["caption"] = [self._caption(v) for v in table[self.caption_column].to_pylist()]
        if self.search_where:
            columns["split"] = ["search" if fixed else None for fixed in self._searched(table)]
        return columns

    def _measured(self) -> dict[str, tuple[str | None, float, float]]:
        """Store column -> (the table's column, lowest and highest valid value)."""
        return {
            "ra": (self.ra_column, 0, 360),
            "dec": (self.dec_column, -90, 90),
            "pixscale_arcsec": (self.pixscale_column, 0, 3600),
        }

    def _caption(self, label: str | None) -> str | None:
        said = self.captions.get(label) if self.captions else label
        return f"{self.tag}, {said}" if said else None

    def _searched(self, table: pa.Table) -> list[bool]:
        values = self.search_where.values()
        columns = (table[column].to_pylist() for column in self.search_where)
        return [any(map(eq, row, values)) for row in zip(*columns, strict=True)]

    def _check_values(self, table: pa.Table) -> None:
        for column, low, high in self._measured().values():
            numbers(table, column, self._place, low, high)
        for label in self.captions:
            self._need_value(table, self.caption_column, label, "captions")
        for column, value in self.search_where.items():
            # A value that is never there would let published objects into training unnoticed.
            self._need_value(table, column, value, "search_where")

    def _need_value(self, table: pa.Table, column: str, value, key: str) -> None:
        there = set(table[column].to_pylist())
        if value not in there:
            raise BadInput(
                f"{self.origin} {key} asks for {column} = {value!r}, which no row of {self._place} "
                f"has; there: {_listed(there)}."
            )

    def _check_stems(self, ids: list[str], images: list[str]) -> None:
        first: dict[str, str] = {}
        for object_id, image in zip(ids, images, strict=True):
            if (other := first.setdefault(object_id, image)) != image:
                raise BadInput(
                    f"{self.origin} {other} and {image} in {self.image_folder} would both have "
                    f"the id {object_id}: without id_column a file's name is its id. Rename one, "
                    "or list the images in a table with a column of ids and name it id_column."
                )

    def _check_inside(self, images: list[str | None]) -> None:
        for row, image in enumerate(images, 1):
            if not image:
                raise BadInput(f"{self._place}: {self._named_by} is empty in row {row}.")
            if os.path.isabs(image) or os.path.normpath(image).split(os.sep)[0] == os.pardir:
                raise BadInput(
                    f"{self._place}: {self._named_by} {image} in row {row} is outside "
                    f"{self.image_folder}; image names start from there and stay inside."
                )


@lru_cache(maxsize=8)
def _images_below(folder: Path, modified_ns: int) -> list[str]:
    found = []
    for at, folders, names in os.walk(folder):
        # What is hidden was put there by a program, e.g. .thumbnails, not by a person.
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            (Path(at) / name).relative_to(folder).as_posix()
            for name in names
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def _ids_of(names: list[str], fits: FitsImages) -> list[str]:
    """Ids of the objects of which a file of at least one band is there."""
    pattern = re.escape(fits.file_per_band)
    bands = "|".join(map(re.escape, fits.bands))
    pattern = pattern.replace(re.escape("{band}"), f"(?:{bands})")
    pattern = pattern.replace(re.escape("{id}"), "([^/]+)")
    return sorted({match[1] for name in names if (match := re.fullmatch(pattern, name))})


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _listed(values: set) -> str:
    shown = sorted(map(repr, values))
    more = f" and {len(shown) - LABELS_SHOWN} more" if len(shown) > LABELS_SHOWN else ""
    return ", ".join(shown[:LABELS_SHOWN]) + more
