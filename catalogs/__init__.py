"""Releasable catalogues: columns, names, cross-match and every format. Knows nothing of torch."""

from catalogs.columns import COLUMNS, conform
from catalogs.crossmatch import Match, crossmatch, merge_duplicates
from catalogs.ecsv import read_ecsv, write_ecsv
from catalogs.errors import CatalogError
from catalogs.fits import read_fits, write_fits
from catalogs.moc import read_moc, selection_area, write_moc
from catalogs.mrt import read_mrt, write_mrt
from catalogs.names import designation
from catalogs.parquet import read_parquet, write_parquet
from catalogs.provenance import Provenance
from catalogs.regions import write_regions
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
    "merge_duplicates",
    "read_ecsv",
    "read_fits",
    "read_moc",
    "read_mrt",
    "read_parquet",
    "read_votable",
    "selection_area",
    "write_ecsv",
    "write_fits",
    "write_moc",
    "write_mrt",
    "write_parquet",
    "write_regions",
    "write_release",
    "write_votable",
]
