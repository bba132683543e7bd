"""What the surveys that lie on disk have in common: splits and published positives."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from discovery.cutouts.config import FITS_SUFFIXES
from discovery.errors import BadInput
from discovery.files import digest
from discovery.surveys.tables import check_ids, need_columns, numbers, read_table

KNOWN_COLUMNS = ("object_id", "ra", "dec", "name", "bibcode", "in_training")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", *FITS_SUFFIXES)
MAX_IMAGE_BYTES = 64 * 2**20  # 4096 x 4096 px of 4 bytes: no cutout that is read needs more
NAME = r"^\w[\w.-]*$"  # of a run, a survey, a version: a name of a file, never hidden


class KnownList(BaseModel):
    """A published list of objects of the kind searched for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: Path = Field(description="CSV, Parquet, FITS or VOTable, one object a row")
    id_column: str | None = Field(None, description="column of ids that the survey uses too")
    ra_column: str | None = Field(None, description="column of right ascensions, deg ICRS")
    dec_column: str | None = Field(None, description="column of declinations, deg ICRS")
    name_column: str | None = Field(None, description="column of names; without it the id is it")
    bibcode: str = Field(min_length=1, description="ADS bibcode of the publication")
    in_training: bool = Field(
        False, description="true: teach the detector; false: search them all, to judge by"
    )

    @model_validator(mode="after")
    def _can_be_matched_and_named(self):
        if (self.ra_column is None) != (self.dec_column is None):
            raise ValueError("give both ra_column and dec_column, or neither")
        if self.id_column is None and self.ra_column is None:
            raise ValueError("give id_column, or ra_column and dec_column, to match by")
        if self.id_column is None and self.name_column is None:
            raise ValueError("give id_column or name_column, to call the objects by")
        return self

    def read(self, origin: str) -> pd.DataFrame:
        """The list as object_id (string or null), ra, dec (deg), name, bibcode, in_training.

        Raises:
            BadInput: the table is missing, lacks a column, or has an id twice.
        """
        text = [c for c in (self.id_column, self.name_column) if c]
        table = read_table(self.table, text, f"{origin} published.table")
        need_columns(table, [*text, *filter(None, (self.ra_column, self.dec_column))], self.table)
        ids = table[self.id_column].to_pylist() if self.id_column else [None] * len(table)
        if self.id_column:
            check_ids(ids, self.id_column, self.table)
        names = table[self.name_column].to_pylist() if self.name_column else ids
        return pd.DataFrame(
            {
                "object_id": pd.Series(ids, dtype=object),
                "ra": numbers(table, self.ra_column, self.table, 0, 360),
                "dec": numbers(table, self.dec_column, self.table, -90, 90),
                "name": pd.Series(names, dtype=object),
                "bibcode": self.bibcode,
                "in_training": self.in_training,
            }
        )


class SurveyOnDisk(BaseModel):
    """Settings that every survey read from a folder has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, description="name of the survey and of its folder")
    path: Path = Field(description="the folder; ${NAME:-default} stands for a variable")
    tag: str = Field("sdss", min_length=1, description="first word of every caption")
    train: float = Field(0.7, ge=0, le=1, description="fraction of its galaxies to train on")
    validation: float = Field(0.15, ge=0, le=1, description="fraction to set the threshold on")
    search: float = Field(0.15, ge=0, le=1, description="fraction to search")
    sampled: bool = Field(
        True,
        description="false: its cutouts are here because they are published, from anywhere in the "
        "sky; they teach, and the threshold does not take them for a sample. Needs search = 0",
    )
    published: KnownList | None = Field(
        None, description="published objects of the kind searched for"
    )

    @model_validator(mode="after")
    def _fractions_make_a_whole(self):
        total = sum(self.split_fractions.values())
        if not np.isclose(total, 1):
            raise ValueError(f"train + validation + search is {total:g}; it has to be 1")
        if self.search and not self.sampled:
            raise ValueError("with sampled = false set search = 0: only a sample can be searched")
        return self

    @property
    def split_fractions(self) -> dict[str, float]:
        """Fraction of the survey's galaxies in each split; they sum to 1."""
        return {"train": self.train, "validation": self.validation, "search": self.search}

    @property
    def origin(self) -> str:
        """How messages name this survey: what a person finds in the run file."""
        return f'survey "{self.name}":'

    def known(self) -> pd.DataFrame:
        """The published objects: object_id (null: match by position), ra, dec (deg), name,
        bibcode, in_training; no row where the survey names no list.
        """
        if self.published is None:
            return pd.DataFrame(columns=KNOWN_COLUMNS)
        return self.published.read(self.origin)

    def files(self) -> list[Path]:
        """The tables and the folder of images that the rows are made of."""
        raise NotImplementedError  # every survey on disk lays its files out in its own way

    def fingerprint(self) -> str:
        """Digest of the names, sizes and times of change of all files read; of a valid survey."""
        published = [self.published.table] if self.published else []
        return digest([sorted(_stamps(path)) for path in [*self.files(), *published]])

    def truth(self) -> None:
        """Nobody knows the truth of a real survey."""
        return None

    def check_folder(self) -> None:
        """Refuse a folder that is not there.

        Raises:
            BadInput: names the key of the run file.
        """
        if not self.path.is_dir():
            raise BadInput(
                f'{self.origin} path = "{self.path}" is not a folder (looked in '
                f"{self.path.absolute()}); correct path in the run file's [[survey]] of this name, "
                "or export the variable that it is made of."
            )


def read_image(path: Path, absent: str) -> dict:
    """{"image": bytes} of a file, else {"failure": reason}: `absent` where there is no file."""
    try:
        # Before it is read: what somebody named .jpg may be larger than the memory.
        if (size := path.stat().st_size) > MAX_IMAGE_BYTES:
            limit = f"{MAX_IMAGE_BYTES / 2**20:.0f} MiB"
            return {"failure": f"{size / 2**20:,.0f} MiB is more than {limit}, too large a file"}
        return {"image": path.read_bytes()}
    except (FileNotFoundError, NotADirectoryError):
        return {"failure": absent}
    except OSError as error:
        return {"failure": f"{path} cannot be read: {error.strerror}"}


def _stamps(path: Path) -> Iterable[list]:
    """[name, size, mtime_ns] of a file, or of every image below a folder."""
    if path.is_file():
        yield _stamp(path.name, path.stat())
        return
    folders = [str(path)]
    while folders:
        # An entry tells a folder from a file without asking the disk once more for each image.
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    stat = entry.stat(follow_symlinks=_leads_somewhere(entry))
                    yield _stamp(entry.path.removeprefix(str(path)), stat)


def _leads_somewhere(entry: os.DirEntry) -> bool:
    return not entry.is_symlink() or os.path.exists(entry.path)


def _stamp(name: str, stat: os.stat_result) -> list:
    return [name, stat.st_size, stat.st_mtime_ns]
