import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

from catalogs import COLUMNS, CatalogError, conform
from tests.catalogs.catalogue_samples import table


@pytest.mark.parametrize("column", COLUMNS, ids=lambda c: c.name)
def test_every_column_speaks_the_virtual_observatory(column):
    assert check_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=False)
    assert 0 < len(column.description) <= 68  # one FITS card
    assert column.description.isascii()
    if column.unit is not None:
        assert u.Unit(column.unit, format="vounit") == u.Unit(column.unit, format="fits")
    assert column.unit is None or not column.name.endswith("_arcsec") or column.unit == "arcsec"


def test_one_main_identifier_and_position():
    main = [c.name for c in COLUMNS if "meta.main" in c.ucd]
    assert main == ["object_id", "ra", "dec"]
    assert len({c.name for c in COLUMNS}) == len(COLUMNS)


def test_missing_and_unknown_columns_are_both_named_with_the_valid_ones():
    given = table().drop(columns=["dec", "score"]).assign(ra_deg=1.0)
    with pytest.raises(CatalogError, match="lacks dec, score and has unknown ra_deg; valid: obj"):
        conform(given)


def test_order_and_types_are_those_of_the_declaration():
    given = table(redshift=0.05, cluster=[1, None, 3, 4, 5, 6])
    released = conform(given[sorted(given.columns)])
    assert released.colnames == [c.name for c in COLUMNS if c.name in given]
    kinds = {c.name: c.dtype.name for c in released.itercols() if c.dtype.kind != "U"}
    assert kinds == {
        "object_id": "int64", "ra": "float64", "dec": "float64", "in_training": "bool",
        "redshift": "float32", "score": "float32", "probability": "float32", "rank": "int32",
        "cluster": "int32",
    }  # fmt: skip
    assert released["cluster"].tolist() == [1, None, 3, 4, 5, 6]


def test_a_dataframe_and_an_astropy_table_give_the_same():
    given = table(known_name=[None, "a", "", "b", "c", "d"], r_mag=[15.0, np.nan, 1, 2, 3, 4])
    names = np.ma.array(["", "a", "", "b", "c", "d"], mask=[1, 0, 0, 0, 0, 0])
    other = Table({name: np.asarray(given[name]) for name in given if name != "known_name"})
    other["name"] = other["name"].astype(str)
    other["known_name"] = names
    one, two = conform(given), conform(other)
    assert one.colnames == two.colnames
    assert [c.tolist() for c in one.itercols()] == [c.tolist() for c in two.itercols()]
    assert one["known_name"].tolist() == [None, "a", "", "b", "c", "d"]


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (["587732578312454276", "9223372036854775807", "-5"], "int64"),
        ([587732578312454276, 1, 2], "int64"),
        (["007", "8", "9"], "str"),  # the zeros are part of the name
        (["9223372036854775808", "1", "2"], "str"),
        (["J1", "2", "3"], "str"),
        (["1e3", "2", "3"], "str"),
    ],
)
def test_identifiers_are_int64_only_where_every_one_is_an_integer(ids, dtype):
    released = conform(table(3, object_id=ids))["object_id"]
    assert ("str" if released.dtype.kind == "U" else released.dtype.name) == dtype
    assert released.tolist() == (ids if dtype == "str" else [int(i) for i in ids])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"object_id": [1.0, 2.0, 3.0]}, "int64 or text, never float"),
        ({"object_id": ["a", None, "b"]}, "'object_id', row 1: None; valid: a value in every row"),
        ({"object_id": [7, 8, 7]}, "object_id 7 stands in 2 rows; valid: one row per object"),
        ({"score": [1.0, None, 2.0]}, "'score', row 1: None; valid: a value in every row"),
        ({"probability": [0.5, 0.1, 1.5]}, "'probability', row 2: .*1.5.*; valid: 0.0 to 1.0"),
        ({"ra": [0.0, 360.5, 1.0]}, "'ra', row 1: .*360.5.*; valid: 0 to 360"),
        ({"ra": [0.0, None, 1.0]}, "row 1 has ra or dec alone"),
        ({"rank": [1, 2.5, 3]}, "'rank', row 1: .*2.5.*; valid: a whole number"),
        ({"cluster": [1, 2**31, 3]}, "'cluster', row 1: 2147483648; valid: a whole number"),
        ({"in_training": [0, 1, 1]}, "'in_training', row 0: .*0.*; valid: True or False"),
        ({"survey": [1, 2, 3]}, "'survey', row 0: 1; valid: text"),
        ({"redshift": [0.1, 1e39, 0.2]}, "'redshift', row 1: 1e.39; valid: a number that fits"),
        ({"note": ["a", "b\nc", "d"]}, r"'note', row 1: 'b\\nc'; valid: text without control"),
        ({"r_mag": ["14", "bright", "15"]}, "'r_mag', row .*valid: a number"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row(columns, message):
    with pytest.raises(CatalogError, match=message):
        conform(table(3, **columns))


def test_nan_is_null_and_trailing_spaces_go():
    released = conform(table(3, redshift=[np.nan, None, 0.1], known_name=["M 82  ", "  x", ""]))
    assert released["redshift"].mask.tolist() == [True, True, False]
    assert released["known_name"].tolist() == ["M 82", "  x", ""]


def test_no_candidate_at_all():
    released = conform(table(0))
    assert len(released) == 0
    assert released["ra"].unit == u.deg


def test_nullable_pandas_integers_keep_every_digit():
    ids = pd.array([2**53 + 1, 2**62, 3], dtype="Int64")
    assert conform(table(3, object_id=ids))["object_id"].tolist() == [2**53 + 1, 2**62, 3]
