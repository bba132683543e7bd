"""A release: the catalogue in every format, a README that explains it, checksums."""

import hashlib
from pathlib import Path

from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.columns import conform
from catalogs.fits import write_fits
from catalogs.provenance import Provenance
from catalogs.rows import kind
from catalogs.votable import write_votable

CHECKSUMS = "SHA256SUMS"


def _with_interval(provenance, name):
    value, low, high = (getattr(provenance, name + end) for end in ("", "_lo", "_hi"))
    if value is None:
        return "not measured"
    interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
    return f"{value:.3f}{interval}"


def _count(table, name):
    """Rows that have a true or known value in a column; 0 where the column is missing."""
    if name not in table.colnames:
        return 0
    return sum(bool(v) for v in table[name].filled("" if kind(table[name]) == "str" else False))


def _share(value):
    return "not stated" if value is None else f"{100 * value:.4g} %"


def _selection(table, provenance):
    learned = _count(table, "in_training")
    return f"""\
## How the objects were selected
{provenance.n_searched} objects were searched, {provenance.n_unreadable} of which could not be read.
Candidates are those with a calibrated probability of at least {provenance.threshold:.6g}: here
{len(table) - learned} rows with their rank. An object with several cutouts stands once, with its
most probable one. Threshold: {provenance.threshold_rule}.

Another {learned} rows are of the training and validation splits, marked: they have `in_training`
true and no rank. Their split trained or calibrated the detector, so finding them is no evidence.

## How far to trust it
- Purity in the search set: {_with_interval(provenance, "purity")}
- Purity at the natural prevalence: {_with_interval(provenance, "natural_purity")}
- Completeness, of all there were to find: {_with_interval(provenance, "completeness")}
- Completeness, of those that stand out: {_with_interval(provenance, "clear_completeness")}
- Measured on: {provenance.measured_on or "not stated"}
- Natural prevalence (assumed): {_share(provenance.natural_prevalence)}
- Prevalence that `probability` is calibrated at: {_share(provenance.calibration_prevalence)}, of
  objects as recognisable as the listed ones; what nobody could recognise is not in it.
- {_count(table, "known_name")} rows carry the name of an object that was known before.

Look at them by `rank`. Those with a `known_name` are published; what is left may be new.
"""


def _columns(table):
    lines = ["## Columns", "| name | type | unit | UCD | meaning |", "|---|---|---|---|---|"]
    for c in table.itercols():
        unit = "" if c.unit is None else c.unit.to_string("vounit")
        lines.append(f"| {c.name} | {kind(c)} | {unit} | {c.meta['ucd']} | {c.description} |")
    return "\n".join([*lines, ""])


def _reading(basename):
    return f"""\
## Reading it
    from astropy.table import Table
    Table.read("{basename}.vot")        # or "{basename}.fits"

or TOPCAT, STILTS, CFITSIO; `catalogs.read_votable` and `catalogs.read_fits` give back every
null and the provenance too. Positions are ICRS degrees. What is not known is null: NaN or TNULL
in FITS, flagged in VOTable, never a number such as -99. FITS holds ASCII alone: other characters
stand there as \\xe9 or \\u03b1 and a backslash as \\\\. Check the files with
`sha256sum -c {CHECKSUMS}`.
"""


def _origin(provenance):
    prompts = [f"  - `{prompt}`" for prompt in provenance.prompts] or ["  - none"]
    return "\n".join([
        "## Where it comes from",
        f"- Software: {provenance.software} {provenance.version}, commit {provenance.commit}",
        f"- Detector weights, SHA-256: {provenance.model_sha256}",
        f"- Configuration digest: {provenance.config_digest}",
        f"- Searched sky (MOC): {provenance.moc or 'not stated'}",
        f"- Training set digest: {provenance.training_digest}",
        f"- Seeds: {', '.join(map(str, provenance.seeds)) or 'none'}",
        "- Prompts of the synthetic positives:",
        *prompts,
        f"- Made: {provenance.created}",
        f"- Licence: {provenance.licence}",
        f"- To cite: {provenance.citation or 'not stated'}",
        f"- Acknowledgements: {provenance.acknowledgements}",
        "",
    ])  # fmt: skip


def readme(table: Table, provenance: Provenance, basename: str) -> str:
    """The README (Markdown) of a table from `conform`."""
    what = (
        f"# {provenance.title}\n{len(table)} objects, each with its position, score, "
        "calibrated probability and rank.\n"
    )
    return "\n".join(
        [
            what,
            _selection(table, provenance),
            _columns(table),
            _reading(basename),
            _origin(provenance),
        ]
    )


def _checksums(paths):
    lines = (f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in paths)
    return "".join(lines).encode()


def write_release(table, provenance: Provenance, folder, basename: str) -> list[Path]:
    """Write `basename`.fits, `basename`.vot, README.md and SHA256SUMS into `folder`.

    `table` is what `conform` takes: DataFrame or astropy Table of the columns of COLUMNS.
    The same table and provenance give the same bytes. Raises CatalogError.
    """
    released, folder = conform(table), Path(folder)
    paths = [
        write_fits(released, provenance, folder / f"{basename}.fits"),
        write_votable(released, provenance, folder / f"{basename}.vot"),
        write_bytes(folder / "README.md", readme(released, provenance, basename).encode()),
    ]
    return [*paths, write_bytes(folder / CHECKSUMS, _checksums(paths))]
