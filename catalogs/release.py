"""A release: the catalogue in every format, what explains and supports it, checksums."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalogs.atomic import write_bytes
from catalogs.columns import conform
from catalogs.ecsv import write_ecsv
from catalogs.errors import CatalogError
from catalogs.fits import write_fits
from catalogs.moc import write_moc
from catalogs.mrt import write_mrt
from catalogs.parquet import write_parquet
from catalogs.provenance import Provenance
from catalogs.readme import CHECKSUMS, citation_cff, readme
from catalogs.regions import write_regions
from catalogs.votable import write_votable

VERSION = r"\d+(\.\d+){1,2}(rc\d+)?"
FALSE_POSITIVES = "-false-positives"


@dataclass(frozen=True)
class Form:
    """One way to write a table: `write(table, provenance, path)`; `what` the README says of it."""

    suffix: str
    write: Callable
    what: str


TABLES = (
    Form("fits", write_fits, "FITS binary table"),
    Form("vot", write_votable, "VOTable"),
    Form("ecsv", write_ecsv, "CSV with a header that astropy reads (ECSV)"),
    Form("parquet", write_parquet, "Parquet, its metadata a VOTable"),
)
OTHERS = (
    Form("dat", write_mrt, "fixed columns, described byte by byte in `ReadMe` (CDS)"),
    Form("reg", write_regions, "regions of DS9"),
)
AREA = Form(
    "moc.fits",
    write_moc,
    "coverage map (MOC): order-6 cells (0.84 deg²) that hold a searched object; not an area",
)


@dataclass(frozen=True)
class Attachment:
    """A file that a release carries: its `name` there (with folders), its bytes, what it is."""

    name: str
    source: Path
    what: str


def require_version(version: str) -> None:
    """Refuse what is no version. Raises CatalogError that says what is."""
    if not re.fullmatch(VERSION, version, re.ASCII):
        raise CatalogError(
            f"version {version!r}; valid: two or three numbers with points between, such as 1.0 or "
            "1.0.2, and rc1 behind them for a candidate of a release"
        )


def _planned(table, provenance, folder, basename, false_positives):
    """(table, its form, path, what the README says of it) of everything that is to be written."""
    wholes = [(table, form, basename, "all rows: ") for form in (*TABLES, *OTHERS)]
    if provenance.moc is not None:
        wholes.append((table, AREA, basename, ""))
    if false_positives is not None:
        of = f"{len(false_positives)} candidates that are known not to be of the quarry: "
        wholes += [(false_positives, form, basename + FALSE_POSITIVES, of) for form in TABLES]
    return [
        (rows, form, folder / f"{name}.{form.suffix}", of + form.what)
        for rows, form, name, of in wholes
    ]


def _attach(attachments, folder):
    for attached in attachments:
        yield write_bytes(folder / attached.name, attached.source.read_bytes())


def checksum(path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksums(paths, folder):
    lines = (f"{checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    return "".join(lines).encode()


def write_release(
    table,
    provenance: Provenance,
    folder,
    basename: str,
    *,
    false_positives=None,
    attachments: Sequence[Attachment] = (),
    follow: Callable[[Sequence], Iterable] = iter,
) -> list[Path]:
    """Write the catalogue in every format into `folder`, and what explains it.

    `basename`.* (see TABLES, OTHERS, AREA), README.md, CITATION.cff and SHA256SUMS; ReadMe belongs
    to the `.dat`. The same input gives the same bytes.

    Args:
        table: what `conform` takes: DataFrame or astropy Table of the columns of COLUMNS.
        false_positives: rows of the same kind, for `basename`-false-positives.*; None: not known.
        attachments: files to carry along.
        follow: yields the list of tables to write as given; may show how far it is.

    Returns the paths, SHA256SUMS last. Raises CatalogError.
    """
    released, folder = conform(table), Path(folder)
    false = None if false_positives is None else conform(false_positives)
    paths, files = [], {}
    for rows, form, path, what in follow(_planned(released, provenance, folder, basename, false)):
        written = form.write(rows, provenance, path)
        paths += written if isinstance(written, tuple) else [written]
        files[path.name] = what
    paths += _attach(attachments, folder)
    files |= {attached.name: attached.what for attached in attachments}
    said = {
        "README.md": readme(released, provenance, basename, files, false),
        "CITATION.cff": citation_cff(released, provenance),
    }
    paths += [write_bytes(folder / name, text.encode()) for name, text in said.items()]
    return [*paths, write_bytes(folder / CHECKSUMS, _checksums(paths, folder))]
