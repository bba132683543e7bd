"""What changed between two releases: rows, values, columns, provenance and files."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from catalogs.errors import CatalogError
from catalogs.fits import read_fits
from catalogs.provenance import Provenance
from catalogs.reading import read_bytes
from catalogs.readme import CHECKSUMS
from catalogs.release import FALSE_POSITIVES, TABLES, checksum
from catalogs.rows import kind
from catalogs.votable import read_votable

READERS = {".fits": read_fits, ".vot": read_votable}
TEXTS = ("README.md", "ReadMe", "CITATION.cff", CHECKSUMS)  # they only repeat what tables say


@dataclass(frozen=True)
class Change:
    """The values of one column that changed: how many, and the first as (object, from, to)."""

    column: str
    count: int
    examples: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Difference:
    """What the second of two catalogues has otherwise than the first; empty where nothing.

    `added` and `removed` are identifiers of objects; `described` and `provenance` are lines that
    say what of a column or of the provenance is no longer the same.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    described: tuple[str, ...] = ()
    provenance: tuple[str, ...] = ()
    reordered: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True)
class Release:
    """A catalogue that was read, and what lies beside it if it came from a folder.

    `basename` is what the names of its tables begin with; of its files by their names, `repeats`
    only say again what the tables say, `files` are all others.
    """

    table: Table
    basename: str
    false_positives: Table | None = None
    repeats: dict[str, Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def read_release(path) -> Release:
    """Read a release: its folder, or one of its FITS or VOTable files.

    Raises CatalogError for a folder without a catalogue or with several, and as the readers do.
    """
    path = Path(path)
    if not path.is_dir():
        return Release(_read(path), path.stem)
    found = [file for file in sorted(path.glob("*.fits")) if not file.name.endswith(".moc.fits")]
    mains = [file for file in found if not file.stem.endswith(FALSE_POSITIVES)]
    if len(mains) != 1:
        raise CatalogError(
            f"{path} holds {len(mains)} catalogues (NAME.fits); valid: the folder of one release, "
            "or one of its files"
        )
    name = mains[0].stem
    false = mains[0].with_name(f"{name}{FALSE_POSITIVES}.fits")
    return Release(_read(mains[0]), name, _read(false) if false.exists() else None,
                   *_files_of(path, name))  # fmt: skip


def _read(path):
    if path.suffix not in READERS:
        raise CatalogError(
            f"{path}: {path.suffix or 'no suffix'}; valid: {', '.join(READERS)}, or the folder of "
            "a release"
        )
    return READERS[path.suffix](path)


def _by_name(folder):
    """{name in the folder: path} of every file."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


def _files_of(folder, basename):
    """(forms of the tables and texts on them, all other files), by name."""
    ours = {f"{name}.{form.suffix}" for name in (basename, basename + FALSE_POSITIVES)
            for form in TABLES}  # fmt: skip
    ours |= {f"{basename}.{suffix}" for suffix in ("dat", "reg", "moc.fits")} | set(TEXTS)
    found = _by_name(folder)
    return ({name: path for name, path in found.items() if name in ours},
            {name: path for name, path in found.items() if name not in ours})  # fmt: skip


def spoiled(folder: Path) -> list[str]:
    """Lines on the files of a release that are no longer those of its SHA256SUMS."""
    found = _by_name(folder)
    if CHECKSUMS not in found:
        return [f"{folder}: {CHECKSUMS} is missing, so nobody can tell whether its files are whole"]
    lines = read_bytes(found[CHECKSUMS]).decode(errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return [
        f"{folder}: {name} is {'not' if name in found else 'gone, unlike'} what {CHECKSUMS} says"
        for name, digest in sums.items()
        if name not in found or checksum(found[name]) != digest
    ]


def _ids(table):
    ids = np.asarray(table["object_id"]).astype(str)
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise CatalogError(
            f"object_id {names[counts > 1][0]} stands in {counts[counts > 1][0]} rows; valid: a "
            "catalogue that has every object once"
        )
    return ids


def _same(one, other):
    """Which values of two columns of N rows are equal; a null equals a null and nothing else."""
    null, other_null = np.ma.getmaskarray(one), np.ma.getmaskarray(other)
    if (kind(one) == "str") != (kind(other) == "str"):
        one, other = (c.astype(str) for c in (one, other))
    equal = np.asarray(one.data) == np.asarray(other.data)
    return np.where(null | other_null, null & other_null, equal)


def _shown(value):
    return "null" if value is np.ma.masked or value is None else str(value)


def _change(column, one, other, ids, most):
    differs = np.flatnonzero(~_same(one, other))
    first = differs[:most]
    old, new = (list(map(_shown, c[first].tolist())) for c in (one, other))
    examples = tuple(zip(ids[first].tolist(), old, new, strict=True))
    return Change(column, len(differs), examples)


def _described(one, other):
    """Lines on what is said of the columns that both have."""
    said = {
        "type": kind,
        "unit": lambda c: str(c.unit),
        "UCD": lambda c: c.meta["ucd"],
        "meaning": lambda c: c.description,
        "format": lambda c: c.format,
    }
    for name in (name for name in one.colnames if name in other.colnames):
        for what, tell in said.items():
            old, new = tell(one[name]), tell(other[name])
            if old != new:
                yield f"{name}, {what}: {old} -> {new}"


def _provenance(one: Provenance, other: Provenance):
    for f in fields(Provenance):
        old, new = getattr(one, f.name), getattr(other, f.name)
        if old != new:
            yield f"{f.name}: {_shown(old)} -> {_shown(new)}"


def diff(one: Table, other: Table, examples: int = 3) -> Difference:
    """What `other` has otherwise than `one`, both as their reader gives them.

    Rows are of one object where `object_id` is the same. `examples`: so many changed values of
    each column are given. 1,000,000 rows take seconds. Raises CatalogError where an object_id
    stands twice.
    """
    ids, other_ids = _ids(one), _ids(other)
    both, mine, theirs = np.intersect1d(ids, other_ids, assume_unique=True, return_indices=True)
    order = np.argsort(mine)
    mine, theirs = mine[order], theirs[order]
    names = [name for name in one.colnames if name in other.colnames]
    changes = (_change(n, one[n][mine], other[n][theirs], ids[mine], examples) for n in names)
    return Difference(
        added=tuple(other_ids[~np.isin(other_ids, both)].tolist()),
        removed=tuple(ids[~np.isin(ids, both)].tolist()),
        columns_added=tuple(name for name in other.colnames if name not in one.colnames),
        columns_removed=tuple(name for name in one.colnames if name not in other.colnames),
        changed=tuple(change for change in changes if change.count),
        described=tuple(_described(one, other)),
        provenance=tuple(_provenance(one.meta["provenance"], other.meta["provenance"])),
        reordered=bool((np.diff(theirs) < 0).any()),
    )


def _several(label, names, most):
    if not names:
        return []
    more = f", and {len(names) - most:,} more" if len(names) > most else ""
    return [f"{len(names):,} {label}: {', '.join(names[:most])}{more}"]


def _lines(found: Difference, examples):
    lines = [
        *_several("rows added", found.added, examples),
        *_several("rows removed", found.removed, examples),
        *_several("columns added", found.columns_added, len(found.columns_added)),
        *_several("columns removed", found.columns_removed, len(found.columns_removed)),
    ]
    for change in found.changed:
        lines.append(f"{change.count:,} values of {change.column} changed:")
        lines += [f"  {object_id}: {old} -> {new}" for object_id, old, new in change.examples]
        if change.count > len(change.examples):
            lines.append(f"  and {change.count - len(change.examples):,} more")
    lines += [f"column {line}" for line in found.described]
    lines += ["the rows stand in another order"] if found.reordered else []
    return [*lines, *(f"provenance, {line}" for line in found.provenance)]


def _files(one: dict[str, Path], other: dict[str, Path]):
    lines = [f"file added: {name}" for name in other if name not in one]
    lines += [f"file removed: {name}" for name in one if name not in other]
    shared = (name for name in one if name in other)
    return lines + [
        f"file changed: {name}" for name in shared if checksum(one[name]) != checksum(other[name])
    ]


def _false_positives(one: Release, other: Release, examples):
    old, new = one.false_positives, other.false_positives
    if old is None or new is None:
        which = "second" if old is None else "first"
        return [] if old is new else [f"false positives are known in the {which} alone"]
    # Both tables have the provenance of their catalogue, which has been told.
    found = replace(diff(old, new, examples), provenance=())
    return [f"false positives: {line}" for line in _lines(found, examples)]


def describe(one, other, examples: int = 3) -> list[str]:
    """Lines for a person on what the second release has otherwise; none where they are the same.

    `one` and `other` are paths: folders of releases, or FITS or VOTable files of theirs. Only of
    two folders are their false positives and other files compared; where all that is the same,
    also every form of the tables byte by byte. Files that are not what SHA256SUMS says come first.
    Raises CatalogError as `read_release` and `diff`.
    """
    old, new = read_release(one), read_release(other)
    lines = _lines(diff(old.table, new.table, examples), examples)
    if Path(one).is_dir() and Path(other).is_dir():
        lines += _false_positives(old, new, examples) + _files(old.files, new.files)
        if not lines and old.basename == new.basename:  # then these are the same bytes too
            lines = _files(old.repeats, new.repeats)
    folders = dict.fromkeys(path for path in map(Path, (one, other)) if path.is_dir())
    return [line for folder in folders for line in spoiled(folder)] + lines
