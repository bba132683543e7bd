"""Releasable catalogues: columns, names, cross-match, FITS and VOTable. Knows nothing of torch."""

from catalogs.columns import COLUMNS, conform
from catalogs.crossmatch import Match, crossmatch
from catalogs.errors import CatalogError
from catalogs.fits import read_fits, write_fits
from catalogs.names import designation
from catalogs.provenance import Provenance
from catalogs.release import write_release
from catalogs.votable import read_votable, write_votable

__all__ = [
    "COLUMNS",
    "CatalogError",
    "Match",
    "Provenance",
    "conform",
    "crossmatch",
    "designation",
    "read_fits",
    "read_votable",
    "write_fits",
    "write_release",
    "write_votable",
]
