"""What the surveys that lie on disk have in common: splits and published positives."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from discovery.errors import BadInput
from discovery.surveys.tables import check_ids, need_columns, numbers, read_table

KNOWN_COLUMNS = ("object_id", "ra", "dec", "name", "bibcode", "in_training")


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
        False, description="true: teach the detector; false: use only to judge what it found"
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

    name: str = Field(pattern=r"^[\w.-]+$", description="name of the survey and of its folder")
    path: Path = Field(description="the folder; ${NAME:-default} stands for a variable")
    tag: str = Field("sdss", min_length=1, description="first word of every caption")
    train: float = Field(0.7, ge=0, le=1, description="fraction of its galaxies to train on")
    validation: float = Field(0.15, ge=0, le=1, description="fraction to set the threshold on")
    search: float = Field(0.15, ge=0, le=1, description="fraction to search")
    published: KnownList | None = Field(
        None, description="published objects of the kind searched for"
    )

    @model_validator(mode="after")
    def _fractions_make_a_whole(self):
        total = sum(self.split_fractions.values())
        if not np.isclose(total, 1):
            raise ValueError(f"train + validation + search is {total:g}; it has to be 1")
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

    def truth(self) -> None:
        """Nobody knows the truth of a real survey."""
        return None

    def check_folder(self) -> None:
        """Refuse a folder that is not there.

        Raises:
            BadInput: names the key of the run file, and the variable if one is not set.
        """
        if "${" in str(self.path):
            variable = str(self.path).split("${")[1].split("}")[0].split(":-")[0]
            raise BadInput(
                f'{self.origin} path = "{self.path}" needs the variable {variable}, which is not '
                f"set; type: export {variable}=/the/folder, or write the folder itself as path."
            )
        if not self.path.is_dir():
            raise BadInput(
                f'{self.origin} path = "{self.path}" is not a folder (looked in '
                f"{self.path.absolute()}); correct path in the run file's [[survey]] of this name."
            )


def read_image(path: Path) -> bytes | None:
    """The bytes of a file, None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
