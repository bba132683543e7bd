from dataclasses import fields

import pytest
from astropy.io.votable.ucd import check_ucd

from catalogs import CatalogError, Provenance
from tests.catalogs.catalogue_samples import provenance

RESERVED = {"XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "EXTNAME", "RADESYS"}


@pytest.mark.parametrize("field", fields(Provenance), ids=lambda f: f.name)
def test_every_field_has_a_valid_keyword_and_ucd(field):
    room = 5 if "tuple" in str(field.type) else 8  # numbered to 999
    keyword = field.metadata["keyword"]
    assert keyword.isascii()
    assert keyword.isupper()
    assert len(keyword) <= room
    assert keyword not in RESERVED
    assert check_ucd(field.metadata["ucd"], check_controlled_vocabulary=True)


def test_keywords_are_distinct():
    keywords = [f.metadata["keyword"] for f in fields(Provenance)]
    assert len(set(keywords)) == len(keywords)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"purity": 1.2}, "provenance purity = 1.2; valid: a float from 0 to 1"),
        ({"purity": 0.9}, "valid: a value within purity_lo = 0.45 and purity_hi = 0.75"),
        ({"purity": None}, "valid: a value within purity_lo"),
        ({"natural_purity": 0.6}, "valid: a value within natural_purity_lo = 0.2"),
        ({"completeness_lo": 0.1}, "valid: a value within completeness_lo = 0.1"),
        ({"threshold": float("nan")}, "provenance threshold = nan; valid: a float from 0 to 1"),
        ({"commit": None}, "provenance commit = None; valid: a value"),
        ({"title": "two\nlines"}, "valid: text without control characters"),
        ({"licence": " CC0"}, "or surrounding spaces"),
        ({"seeds": (1.5,)}, "provenance seeds = 1.5; valid: an int of 64 bits"),
        ({"n_searched": 2**64}, "valid: an int of 64 bits"),
        ({"created": "yesterday"}, "valid: a date like 2026-11-21"),
    ],
)
def test_what_cannot_be_written_is_refused(changes, message):
    with pytest.raises(CatalogError, match=message):
        provenance(**changes)
