"""Texts of strangers that a spreadsheet would run."""

import csv

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from discovery.fetch.tables import write_table

HARMLESS = ["NGC 1", "", "+12 34 56.7", "-12:34", "+", "-", "-3.5", "a=1", "[HB89] 1", "−5"]
FORMULAS = [
    "=1+1", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "＝1", "\t=1", "\r=1", "'=1", "'", "-a",
    '=HYPERLINK("http://x")', "-1e5*2",
]  # fmt: skip


def cells(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", [".csv", ".ecsv"])
def test_formulas_are_text(tmp_path, suffix):
    names = [name for name in HARMLESS + FORMULAS if "\r" not in name]  # which CSV has as \n
    own = [name.strip() for name in names]  # no id has a control character
    table = Table({"object_id": own, "name": names})
    write_table(table, tmp_path / f"t{suffix}")
    read = Table.read(tmp_path / f"t{suffix}", format=f"ascii.{suffix[1:]}", fill_values=[])
    texts = [str(text) for text in read["name"]]
    assert texts[: len(HARMLESS)] == HARMLESS
    assert texts[len(HARMLESS) :] == [f"'{n}" for n in names[len(HARMLESS) :]]
    assert [str(text) for text in read["object_id"]] == own


def test_numbers_nulls_and_the_table_itself_stay_as_they_are(tmp_path):
    names = MaskedColumn(["=1", "x"], mask=[False, True])
    table = Table({"name": names, "z": np.array([-0.5, 1.0])})
    write_table(table, tmp_path / "t.csv")
    assert cells(tmp_path / "t.csv") == [{"name": "'=1", "z": "-0.5"}, {"name": "", "z": "1.0"}]
    assert table["name"][0] == "=1"


def test_other_formats_need_no_sign(tmp_path):
    write_table(Table({"name": ["=1"]}), tmp_path / "t.vot")
    assert Table.read(tmp_path / "t.vot", format="votable")["name"][0] == "=1"
