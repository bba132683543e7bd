"""The columns of a catalogue, in one place: every writer and the README come from this table."""

import re
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from astropy.table import MaskedColumn, Table

from catalogs.errors import CatalogError

FRACTION = (0.0, 1.0)


@dataclass(frozen=True)
class Column:
    """What one column is. `null`: a row may lack it; `limits`: inclusive, in `unit`."""

    name: str
    dtype: str  # 'float64' | 'float32' | 'int32' | 'bool' | 'str' | 'id' (int64 or str)
    ucd: str
    description: str  # at most 68 characters, so that it fits one FITS card
    unit: str | None = None  # VOUnit
    required: bool = False
    null: bool = True
    decimals: int | None = None  # digits to show after the point
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None


def _key(name, dtype, ucd, description, **more):
    return Column(name, dtype, ucd, description, required=True, null=False, **more)


def _fraction(name, description, ucd="stat.value;src.morph.type"):
    return Column(name, "float32", ucd, description, decimals=3, limits=FRACTION)


COLUMNS = (
    _key("object_id", "id", "meta.id;meta.main", "Identifier in the survey"),
    Column("name", "str", "meta.id", "IAU designation, truncated from ra and dec", required=True),
    Column("ra", "float64", "pos.eq.ra;meta.main", "Right ascension (ICRS)", unit="deg",
           required=True, decimals=6, limits=(0, 360)),
    Column("dec", "float64", "pos.eq.dec;meta.main", "Declination (ICRS)", unit="deg",
           required=True, decimals=6, limits=(-90, 90)),
    _key("survey", "str", "meta.dataset", "Survey that the cutout comes from"),
    Column("split", "str", "meta.code", "Split of origin: train, validation or search"),
    _key("in_training", "bool", "meta.code",
         "True if its split trained or calibrated what scored it"),
    Column("redshift", "float32", "src.redshift", "Redshift", decimals=5),
    Column("redshift_err", "float32", "stat.error;src.redshift", "1-sigma error of redshift",
           decimals=5, limits=(0, np.inf)),
    Column("r_mag", "float32", "phot.mag;em.opt.r", "r-band apparent magnitude", unit="mag",
           decimals=3),
    Column("r_mag_err", "float32", "stat.error;phot.mag;em.opt.r", "1-sigma error of r_mag",
           unit="mag", decimals=3, limits=(0, np.inf)),
    Column("size_arcsec", "float32", "phys.angSize;src", "Petrosian R90 in the r band",
           unit="arcsec", decimals=2, limits=(0, np.inf)),
    Column("size_err_arcsec", "float32", "stat.error;phys.angSize;src",
           "1-sigma error of size_arcsec", unit="arcsec", decimals=2, limits=(0, np.inf)),
    Column("n_volunteers", "int32", "meta.number", "Volunteers who classified the galaxy",
           limits=(0, np.inf)),
    _fraction("smooth_fraction", "Galaxy Zoo vote fraction: smooth"),
    _fraction("odd_fraction", "Galaxy Zoo vote fraction: anything odd"),
    _fraction("dust_lane_fraction", "Galaxy Zoo vote fraction: dust lane, of those who saw odd"),
    Column("fold", "int32", "meta.code",
           "Fold whose detector scored it, one that it did not train", limits=(0, np.inf)),
    _key("score", "float32", "stat.value",
         "Detector score: logit, or log-odds of probability with folds", decimals=4),
    Column("score_spread", "float32", "stat.stdev", "Standard deviation of score in the ensemble",
           decimals=4, limits=(0, np.inf)),
    _key("probability", "float32", "stat.probability",
         "Probability of the quarry, calibrated at calibration_prevalence",
         decimals=4, limits=FRACTION),
    Column("probability_lo", "float32", "stat.probability;stat.min",
           "Lower end of the 95 % interval of probability", decimals=4, limits=FRACTION),
    Column("probability_hi", "float32", "stat.probability;stat.max",
           "Upper end of the 95 % interval of probability", decimals=4, limits=FRACTION),
    Column("rank", "int32", "stat.rank", "Rank in the search, 1 most probable; null if in_training",
           required=True, limits=(1, np.inf)),
    Column("n_cutouts", "int32", "meta.number", "Cutouts of the object; the best one stands here",
           limits=(1, np.inf)),
    Column("cluster", "int32", "meta.code.class", "Cluster of the embedding"),
    Column("nearest_known_distance", "float32", "stat.value",
           "Embedding distance to the nearest known member", decimals=4, limits=(0, np.inf)),
    Column("known_name", "str", "meta.id.cross", "Name of the known object at this position"),
    Column("known_bibcode", "str", "meta.bib.bibcode", "Bibcode of the list that names it"),
    Column("known_separation_arcsec", "float32", "pos.angDistance",
           "Separation from the known object", unit="arcsec", decimals=3, limits=(0, np.inf)),
    Column("found_by", "str", "meta.code", "Detectors that found it: mixed, or mixed+real-only"),
    _key("image_sha256", "str", "meta.checksum", "SHA-256 of the image as delivered"),
    Column("n_votes", "int32", "meta.number", "Grades given by the people who vetted it",
           limits=(0, np.inf)),
    Column("n_positive_votes", "int32", "meta.number", "Those of them that say it is of the quarry",
           limits=(0, np.inf)),
    Column("grade", "str", "meta.code.qual", "A sure, B probable, C possible, X not of the quarry",
           choices=("A", "B", "C", "X")),
    Column("contaminant", "str", "meta.code.class", "What it is, where it is not of the quarry"),
    Column("sampling_weight", "float32", "stat.weight",
           "Objects it stands for: inverse of its chance to be sampled", limits=(1, np.inf)),
    Column("note", "str", "meta.note", "Remark"),
)  # fmt: skip

BY_NAME = {column.name: column for column in COLUMNS}

# Neither FITS nor XML can hold these.
UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def _refuse(column, row, value, valid):
    value = value.item() if isinstance(value, np.generic) else value
    raise CatalogError(f"column {column.name!r}, row {row}: {value!r}; valid: {valid}")


def _plain(values):
    """(N,) array and (N,) mask of nulls from a pandas or astropy column."""
    if not isinstance(values, pd.Series):
        data = np.ma.asarray(values)
        return data.data, np.ma.getmaskarray(data) | pd.isna(data.data)
    null = values.isna().to_numpy(dtype=bool)
    if isinstance(values.dtype, np.dtype):
        return values.to_numpy(), null
    if values.dtype.kind in "iub":  # nullable: Int64 is more than a float holds
        return values.to_numpy(dtype=values.dtype.numpy_dtype, na_value=0), null
    return values.to_numpy(dtype=object), null


def _first(flags):
    return int(np.flatnonzero(flags)[0])


def _integers(column, values, null, dtype):
    info = np.iinfo(dtype)
    valid = f"a whole number from {info.min + 1} to {info.max}"
    if values.dtype.kind not in "iuf":
        for i in np.flatnonzero(~null):
            whole = isinstance(values[i], Integral) and not isinstance(values[i], bool | np.bool_)
            if not whole and not (isinstance(values[i], float) and values[i].is_integer()):
                _refuse(column, i, values[i], valid)
    # the minimum stands for null in FITS; pandas turns integers with gaps into floats
    known = np.where(null, 0, values)
    bad = ~((known > info.min) & (known <= info.max) & (known % 1 == 0))
    if bad.any():
        _refuse(column, _first(bad), values[_first(bad)], valid)
    return known.astype(dtype)


def _floats(column, values, null, dtype):
    out = np.full(len(values), np.nan, dtype=np.float64)
    try:
        out[~null] = values[~null].astype(np.float64)
    except (TypeError, ValueError):
        bad = next(i for i in np.flatnonzero(~null) if not isinstance(values[i], int | float))
        _refuse(column, bad, values[bad], "a number")
    with np.errstate(over="ignore"):
        narrow = out.astype(dtype)
    lost = np.isinf(narrow) & np.isfinite(out)
    if lost.any():
        _refuse(column, _first(lost), out[_first(lost)], f"a number that fits {dtype}")
    return narrow


def _booleans(column, values, null):
    if values.dtype.kind != "b":
        for i in np.flatnonzero(~null):
            if not isinstance(values[i], bool | np.bool_):
                _refuse(column, i, values[i], "True or False")
    return np.where(null, False, values).astype(bool)


def _strings(column, values, null):
    """Text without trailing spaces, which FITS does not keep."""
    texts = np.where(null, "", values.astype(object)).tolist()
    for row in [i for i, text in enumerate(texts) if not isinstance(text, str)][:1]:
        _refuse(column, row, texts[row], "text")
    if UNWRITABLE.search("".join(texts)):
        row = next(i for i, text in enumerate(texts) if UNWRITABLE.search(text))
        _refuse(column, row, texts[row], "text without control characters")
    data = np.array(texts, dtype=str) if texts else np.empty(0, dtype="U1")
    return np.strings.rstrip(data, " ") if any(t.endswith(" ") for t in texts) else data


def _as_int64(value):
    """The integer that a text id spells, or None ('007' and '1e3' stay text)."""
    try:
        number = int(value)
    except ValueError:
        return None
    same = isinstance(value, Integral) or str(number) == value
    return number if same and -(2**63) < number < 2**63 else None


def _identifiers(column, values, null):
    """int64 where every id is an integer, else text; never float, which ends at 2^53."""
    if values.dtype.kind == "f" or any(isinstance(v, float) for v in values[~null]):
        _refuse(
            column,
            0,
            values[0] if len(values) else values.dtype,
            "int64 or text, never float: read the table with dtype={'object_id': str}",
        )
    if values.dtype.kind in "iu" and not len(values):
        return values.astype(np.int64)
    numbers = [_as_int64(v) for v in values] if not null.any() else [None]
    if numbers and None not in numbers:
        return np.array(numbers, dtype=np.int64)
    as_text = np.array([str(v) if isinstance(v, Integral) else v for v in values], dtype=object)
    return _strings(column, as_text, null)


def _typed(column, values, null):
    if column.dtype == "id":
        return _identifiers(column, values, null)
    if column.dtype == "str":
        return _strings(column, values, null)
    if column.dtype == "bool":
        return _booleans(column, values, null)
    convert = _integers if column.dtype.startswith("int") else _floats
    return convert(column, values, null, column.dtype)


def _check_values(column, data, null):
    if null.any() and not column.null:
        _refuse(column, _first(null), None, "a value in every row")
    if column.limits:
        low, high = column.limits
        outside = ~null & ~((data >= low) & (data <= high))
        if outside.any():
            _refuse(column, _first(outside), data[_first(outside)], f"{low} to {high}")
    if column.choices:
        other = ~null & ~np.isin(data, column.choices)
        if other.any():
            _refuse(column, _first(other), data[_first(other)], ", ".join(column.choices))


def _check_rows(table):
    ids, counts = np.unique(np.asarray(table["object_id"]), return_counts=True)
    if (counts > 1).any():
        raise CatalogError(
            f"object_id {ids[counts > 1][0]} stands in {counts.max()} rows; valid: one row per "
            "object: drop the duplicates"
        )
    lonely = np.ma.getmaskarray(table["ra"]) != np.ma.getmaskarray(table["dec"])
    if lonely.any():
        raise CatalogError(f"row {_first(lonely)} has ra or dec alone; valid: both or neither")
    if {"n_votes", "n_positive_votes"} <= set(table.colnames):
        cast, positive = (table[name].filled(0) for name in ("n_votes", "n_positive_votes"))
        if (positive > cast).any():
            row = _first(positive > cast)
            raise CatalogError(
                f"row {row} has {positive[row]} positive votes of {cast[row]}; valid: at most all"
            )


def _check_names(names):
    missing = [c.name for c in COLUMNS if c.required and c.name not in names]
    unknown = [str(name) for name in names if name not in BY_NAME]
    if missing or unknown:
        told = [f"lacks {', '.join(missing)}"] if missing else []
        told += [f"has unknown {', '.join(unknown)}"] if unknown else []
        raise CatalogError(f"the table {' and '.join(told)}; valid: {', '.join(BY_NAME)}")


def masked_column(column: Column, data, null) -> MaskedColumn:
    """A column of a catalogue in memory, with its unit, description and UCD."""
    shown = None if column.decimals is None else f".{column.decimals}f"
    return MaskedColumn(
        data,
        name=column.name,
        mask=null,
        unit=column.unit,
        format=shown,
        description=column.description,
        meta={"ucd": column.ucd},
    )


def conform(table) -> Table:
    """The table as it is released: declared columns in declared order, dtypes and metadata.

    `table` is a pandas DataFrame or astropy Table of N rows with the columns of COLUMNS;
    optional ones may be missing. A NaN is a null (FITS knows no other null for floats) and
    trailing spaces of text go. All columns come back as MaskedColumn.
    Raises CatalogError for missing or unknown columns, values that do not fit, repeated ids.
    """
    names = list(table.columns) if isinstance(table, pd.DataFrame) else table.colnames
    _check_names(names)
    released = Table(masked=True)
    for column in (c for c in COLUMNS if c.name in names):
        values, null = _plain(table[column.name])
        data = _typed(column, values, null)
        if data.dtype.kind == "f":
            null = np.isnan(data)
        _check_values(column, data, null)
        released[column.name] = masked_column(column, data, null)
    _check_rows(released)
    return released
