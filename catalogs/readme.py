"""What a release says in words: README.md and CITATION.cff."""

import json

from astropy.table import Table

from catalogs.provenance import Provenance
from catalogs.rows import kind

CHECKSUMS = "SHA256SUMS"
NOBODY = "The makers of this catalogue"


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


def summary(table: Table, provenance: Provenance) -> str:
    """How many rows are candidates and how many are not, in a line."""
    learned = _count(table, "in_training")
    others = f", and {learned} rows of other splits (in_training)" if learned else ""
    return f"{len(table) - learned} candidates of {provenance.n_searched} objects searched{others}"


FOUND_BY = """
`found_by` says which detectors found it: `mixed`, which this catalogue is of, trained on real and
synthetic cutouts; `real-only`, its comparison, trained without the synthetic ones.
"""
MAY_BE_NEW = "Those with a `known_name` are published; what is left may be new."
ALL_KNOWN = "What each object is, is known: the false ones are in `{}-false-positives.*`."


def _share(value):
    return "not stated" if value is None else f"{100 * value:.4g} %"


FOLDS = """
The search is cross-fitted: galaxies of the training split (`split`) were searched too, each by the
detector of its `fold`, which the galaxies of that fold did not train.
"""


def _selection(table, provenance, advice):
    learned = _count(table, "in_training")
    folds = "fold" in table.colnames
    by_fold = " or more, by `fold`" if folds else ""
    taught = "validation split" if folds else "training and validation splits"
    return f"""\
## How the objects were selected
{provenance.n_searched} objects were searched, {provenance.n_unreadable} of which could not be read.
Candidates are those with a calibrated probability of at least {provenance.threshold:.6g}{by_fold}:
here {len(table) - learned} rows with their rank. An object with several cutouts stands once,
with its most probable one. Threshold: {provenance.threshold_rule}.

Another {learned} rows are of the {taught}, marked: they have `in_training`
true and no rank. Their split trained or calibrated the detector, so finding them is no evidence.
{FOLDS if folds else ""}{FOUND_BY if "found_by" in table.colnames else ""}
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

Look at them by `rank`. {advice}
"""


def _columns(table, false_positives):
    lines = ["## Columns", "| name | type | unit | UCD | meaning |", "|---|---|---|---|---|"]
    columns = {c.name: (c, "") for c in table.itercols()}
    for c in () if false_positives is None else false_positives.itercols():
        columns.setdefault(c.name, (c, "; in the false positives alone"))
    for c, where in columns.values():
        unit = "" if c.unit is None else c.unit.to_string("vounit")
        meaning = f"{c.description}{where}"
        lines.append(f"| {c.name} | {kind(c)} | {unit} | {c.meta['ucd']} | {meaning} |")
    return "\n".join([*lines, ""])


def _reading(basename):
    return f"""\
## Reading it
    from astropy.table import Table
    Table.read("{basename}.vot")        # or "{basename}.ecsv"; "{basename}.fits" without UCDs

or TOPCAT, STILTS, CFITSIO; `catalogs.read_votable` and `catalogs.read_fits` give back every
null and the provenance too. Positions are ICRS degrees. What is not known is null: NaN or TNULL
in FITS, flagged in VOTable, never a number such as -99. FITS holds ASCII alone: other characters
stand there as \\xe9 or \\u03b1 and a backslash as \\\\. Check the files with
`sha256sum -c {CHECKSUMS}`.
"""


def _origin(provenance, basename):
    area = (
        f"order-6 cells (0.84 deg²) that hold a searched object, in `{basename}.moc.fits`; no area"
    )
    seeds = ", ".join(map(str, provenance.seeds)) or "none"
    prompts = [f"  - `{prompt}`" for prompt in provenance.prompts] or ["  - none"]
    return "\n".join([
        "## Where it comes from",
        f"- Software: {provenance.software} {provenance.version}, commit {provenance.commit}",
        f"- Detector weights, SHA-256: {provenance.model_sha256}",
        f"- Configuration digest: {provenance.config_digest}",
        f"- Searched sky: {area if provenance.moc else 'not stated'}",
        f"- Training set digest: {provenance.training_digest}",
        f"- Seeds (run, generator, synthesis, detector): {seeds}",
        "- Prompts of the synthetic positives:",
        *prompts,
        f"- Searched: {provenance.created} UTC",
        f"- Authors: {'; '.join(provenance.authors) or 'not stated'}",
        f"- Licence: {provenance.licence}",
        f"- To cite: {provenance.citation or 'not stated'}",
        f"- Acknowledgements: {provenance.acknowledgements}",
        "",
    ])  # fmt: skip


def _files(files):
    if not files:
        return ""
    lines = [f"- `{name}` – {what}" for name, what in files.items()]
    return "\n".join(["## What is here", *lines, ""])


def readme(
    table: Table,
    provenance: Provenance,
    basename: str,
    files: dict[str, str],
    false_positives: Table | None = None,
) -> str:
    """The README (Markdown) of a table from `conform`; `files`: what each of the others holds."""
    advice = MAY_BE_NEW if false_positives is None else ALL_KNOWN.format(basename)
    release = f", version {provenance.release}" if provenance.release else ""
    what = (
        f"# {provenance.title}{release}\n{summary(table, provenance)}; each with its position, "
        "score and calibrated probability, the candidates with their rank.\n"
    )
    return "\n".join(
        [
            what,
            _files(files),
            _selection(table, provenance, advice),
            _columns(table, false_positives),
            _reading(basename),
            _origin(provenance, basename),
        ]
    )


def _author(name):
    family, comma, given = (part.strip() for part in name.partition(","))
    if not comma:
        return f"  - name: {_quoted(name)}"
    return f"  - family-names: {_quoted(family)}\n    given-names: {_quoted(given)}"


def _quoted(text):
    return json.dumps(text, ensure_ascii=False)  # text of JSON is text of YAML


def citation_cff(table: Table, provenance: Provenance) -> str:
    """CITATION.cff (Citation File Format 1.2.0) of a table from `conform`.

    It has no date-released: a release says when it was searched, not when it will be handed on.
    """
    lines = [
        "cff-version: 1.2.0",
        "type: dataset",
        "message: If you use this catalogue, please cite it.",
        f"title: {_quoted(provenance.title)}",
        f"version: {_quoted(provenance.release or 'draft')}",
        f"abstract: {_quoted(summary(table, provenance) + '.')}",
        f"license: {_quoted(provenance.licence)}",
        "authors:",
        *map(_author, provenance.authors or (NOBODY,)),
    ]
    return "\n".join(lines) + "\n"
