"""Where a catalogue comes from and how far it may be trusted; travels inside every file."""

import math
import re
from dataclasses import dataclass, field, fields

from catalogs.columns import UNWRITABLE
from catalogs.errors import CatalogError

MOC_PART = re.compile(r"((?P<order>\d{1,2})/)?(?P<first>\d{1,19})(-(?P<last>\d{1,19}))?", re.ASCII)


def _item(keyword, ucd, description, **more):
    """A field with its FITS keyword, UCD and description."""
    meta = {"keyword": keyword, "ucd": ucd, "description": description}
    return field(metadata=meta, **more)


def _measured(keyword, ucd, description):
    return _item(keyword, ucd, description, default=None)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a release says about itself; None where it was not measured.

    Raises CatalogError for text with control characters or surrounding spaces, fractions
    outside 0 to 1, intervals that miss their value and dates that are not ISO.
    """

    title: str = _item("TITLE", "meta.title", "Title of the catalogue")
    software: str = _item("PROGRAM", "meta.id", "Software that made it")
    version: str = _item("PROGVER", "meta.version", "Version of the software")
    commit: str = _item("COMMIT", "meta.version", "Commit of the software")
    model_sha256: str = _item("MODELSHA", "meta.checksum", "SHA-256 of the detector weights")
    config_digest: str = _item("CONFIG", "meta.checksum", "Digest of the configuration")
    prompts: tuple[str, ...] = _item("PRMPT", "meta.note", "Prompt of synthetic positives")
    seeds: tuple[int, ...] = _item(
        "SEED", "meta.number", "Seed: run, generator, synthesis, detector"
    )
    training_digest: str = _item("TRAINDIG", "meta.checksum", "Digest of the training set")
    threshold: float = _item(
        "THRESH", "stat.value", "Probability threshold of selection, lowest of folds"
    )
    threshold_rule: str = _item("THRRULE", "meta.note", "How the threshold was frozen")
    n_searched: int = _item("NSEARCH", "meta.number", "Number of objects searched")
    n_unreadable: int = _item("NUNREAD", "meta.number", "Those of them that could not be read")
    acknowledgements: str = _item("ACKNOWL", "meta.note", "Acknowledgements")
    licence: str = _item("LICENCE", "meta.note", "Licence")
    authors: tuple[str, ...] = _item(
        "AUTHR", "meta.bib.author", "Author: 'Family, Given' or a collaboration", default=()
    )
    created: str = _item("DATE", "time.creation", "Date of the catalogue, ISO 8601")
    release: str | None = _measured("RELEASE", "meta.version", "Version of the catalogue")
    citation: str | None = _measured("CITATION", "meta.bib", "How to cite it")
    moc: str | None = _measured(
        "MOC", "pos.outline", "MOC of order-6 cells (0.84 deg2) holding a searched object; no area"
    )
    calibration_prevalence: float | None = _measured(
        "CALPREV", "stat.value", "Prevalence that probability assumes"
    )
    natural_prevalence: float | None = _measured(
        "NATPREV", "stat.value", "Assumed natural prevalence"
    )
    purity: float | None = _measured("PURITY", "stat.value", "Purity in the search set")
    purity_lo: float | None = _measured(
        "PURLO", "stat.value;stat.min", "Lower end of the 95 % interval of purity"
    )
    purity_hi: float | None = _measured(
        "PURHI", "stat.value;stat.max", "Upper end of the 95 % interval of purity"
    )
    natural_purity: float | None = _measured(
        "PURNAT", "stat.value", "Purity at the natural prevalence"
    )
    natural_purity_lo: float | None = _measured(
        "PURNATLO", "stat.value;stat.min", "Lower end of the 95 % interval of PURNAT"
    )
    natural_purity_hi: float | None = _measured(
        "PURNATHI", "stat.value;stat.max", "Upper end of the 95 % interval of PURNAT"
    )
    completeness: float | None = _measured(
        "COMPLET", "stat.value", "Completeness at the threshold, of all there were to find"
    )
    completeness_lo: float | None = _measured(
        "COMPLO", "stat.value;stat.min", "Lower end of the 95 % interval of completeness"
    )
    completeness_hi: float | None = _measured(
        "COMPHI", "stat.value;stat.max", "Upper end of the 95 % interval of completeness"
    )
    clear_completeness: float | None = _measured(
        "COMPCLR", "stat.value", "Completeness of those that stand out from the noise"
    )
    clear_completeness_lo: float | None = _measured(
        "COMPCLLO", "stat.value;stat.min", "Lower end of the 95 % interval of COMPCLR"
    )
    clear_completeness_hi: float | None = _measured(
        "COMPCLHI", "stat.value;stat.max", "Upper end of the 95 % interval of COMPCLR"
    )
    measured_on: str | None = _measured(
        "MEASURED", "meta.note", "What purity and completeness were measured on"
    )

    def __post_init__(self):
        for name in ("prompts", "seeds", "authors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for f in fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                _check(f, part)
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?)?", self.created):
            _refuse("created", self.created, "a date like 2026-11-21 or 2026-11-21T10:00:00")
        if self.moc is not None:
            _check_moc(self.moc)
        for name in ("purity", "natural_purity", "completeness", "clear_completeness"):
            _check_interval(self, name)


def _refuse(name, value, valid):
    raise CatalogError(f"provenance {name} = {value!r}; valid: {valid}")


def _check(f, value):
    kind = str(f.type)
    if value is None:
        if "None" not in kind:
            _refuse(f.name, value, "a value")
    elif "str" in kind:
        if not isinstance(value, str) or UNWRITABLE.search(value) or value != value.strip():
            _refuse(f.name, value, "text without control characters or surrounding spaces")
    elif "int" in kind:
        if type(value) is not int or not -(2**63) <= value < 2**63:
            _refuse(f.name, value, "an int of 64 bits")
    elif type(value) is not float or not (math.isfinite(value) and 0 <= value <= 1):
        _refuse(f.name, value, "a float from 0 to 1")


def _check_interval(provenance, name):
    low, value, high = (getattr(provenance, name + end) for end in ("_lo", "", "_hi"))
    if (low, high) != (None, None) and not (
        None not in (low, value, high) and low <= value <= high
    ):
        _refuse(name, value, f"a value within {name}_lo = {low} and {name}_hi = {high}")


def _check_moc(text):
    """MOC ASCII: `order/cell first-last …`, orders 0 to 29, cells below 12 * 4**order."""
    order = None
    for part in text.split():
        cell = MOC_PART.fullmatch(part)
        if not cell or (order is None and cell["order"] is None):
            _refuse("moc", part, "MOC ASCII like '6/4-5 9 7/3000'")
        order = order if cell["order"] is None else int(cell["order"])
        first, last = int(cell["first"]), int(cell["last"] or cell["first"])
        if order > 29 or not first <= last < 12 * 4**order:
            _refuse("moc", part, "orders 0 to 29, cells below 12 * 4**order")


@dataclass(frozen=True)
class Item:
    """One thing to write: a VOTable PARAM name, a FITS keyword, a value."""

    name: str
    keyword: str
    value: str | int | float
    ucd: str
    description: str


def items(provenance: Provenance) -> list[Item]:
    """All that is known, flat: the prompts become prompts1, prompts2, …"""
    flat = []
    for f in fields(provenance):
        value, meta = getattr(provenance, f.name), f.metadata
        many = value if isinstance(value, tuple) else ()
        if len(many) > 999:
            _refuse(f.name, f"{len(many)} of them", "at most 999")
        flat += [
            Item(f"{f.name}{i}", f"{meta['keyword']}{i}", v, meta["ucd"], meta["description"])
            for i, v in enumerate(many, start=1)
        ]
        if value is not None and not isinstance(value, tuple):
            flat.append(Item(f.name, meta["keyword"], value, meta["ucd"], meta["description"]))
    return flat


def from_items(values: dict, key) -> Provenance:
    """Provenance from what a file holds; `key(field)` is the field's name in that file.

    Raises CatalogError naming what the file lacks.
    """
    found = {}
    for f in fields(Provenance):
        if "tuple" in str(f.type):
            numbered = (key(f) + str(i) for i in range(1, 1000))
            found[f.name] = tuple(values[k] for k in numbered if k in values)
        elif key(f) in values:
            found[f.name] = values[key(f)]
    lacking = [f.name for f in fields(Provenance) if f.default is not None and f.name not in found]
    if lacking:
        raise CatalogError(f"the file does not say {', '.join(lacking)}: not one of our releases")
    return Provenance(**found)
