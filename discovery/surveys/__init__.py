"""Where cutouts come from; each kind of survey answers the same few questions."""

from collections.abc import Iterable
from typing import Protocol

import pandas as pd

from discovery.surveys.folder import FolderSurvey
from discovery.surveys.gz2 import GZ2Survey
from discovery.surveys.mock import MockSurvey


class Survey(Protocol):
    """What ingest asks of a survey.

    A survey is its settings: frozen, cheap to copy to another process, and the same settings on
    the same files give the same rows in any process and any order.

    Attributes:
        name: of the survey in the run file, and of its folder of cutouts.
        tag: first word of its captions.
        has_votes: rows carry Galaxy Zoo 2's vote columns, to make captions from.
        split_fractions: of 'train', 'validation' and 'search', for galaxies that no row fixes.
    """

    name: str
    tag: str
    has_votes: bool
    split_fractions: dict[str, float]

    def validate(self) -> None:
        """Raise BadInput for anything that would make the survey useless, before work starts."""

    def __len__(self) -> int:
        """Number of rows, those that will fail included."""

    def fingerprint(self) -> str:
        """Changes when a file changes that the rows are made of; '' where there is none."""

    def rows(self, start: int, stop: int) -> Iterable[dict]:
        """Rows of the cutout store (see discovery.cutouts.store), [start, stop) of them.

        A row has `object_id`, `image`, `crop`, and `ra`, `dec`, `pixscale_arcsec`, `caption`,
        votes and labels where known; `split` only where the survey fixes it. A row that cannot
        be made has `failure`, the reason, in place of `image`.
        """

    def known(self) -> pd.DataFrame:
        """Published objects of the kind searched for: object_id (null: match by position),
        ra, dec (deg ICRS), name, bibcode, in_training (may the detector learn from it).
        """

    def truth(self) -> pd.DataFrame | None:
        """What every object is, for the judge only; None where nobody knows."""


SURVEYS: dict[str, type[Survey]] = {
    "mock": MockSurvey,
    "gz2": GZ2Survey,
    "folder": FolderSurvey,
}
"""The kinds of survey, as `kind` of a run file's [[survey]] names them."""

__all__ = ["SURVEYS", "FolderSurvey", "GZ2Survey", "MockSurvey", "Survey"]
