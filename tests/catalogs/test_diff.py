"""What changed between two releases, on releases that differ in a known way."""

import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import vstack

from catalogs import CatalogError, conform, write_fits, write_release, write_votable
from catalogs.diff import describe, diff, read_release
from tests.catalogs.catalogue_samples import hostile, provenance, table

FIRST = 587732578312454276


def read_back(tmp_path, rows, said=None):
    write_fits(conform(rows), said or provenance(), tmp_path / "c.fits")
    return read_release(tmp_path / "c.fits").table


def test_a_release_does_not_differ_from_itself_in_any_form(tmp_path):
    write_release(hostile(), provenance(), tmp_path / "one", "detg")
    write_release(hostile(), provenance(), tmp_path / "two", "detg")
    assert describe(tmp_path / "one", tmp_path / "two") == []
    assert describe(tmp_path / "one/detg.fits", tmp_path / "two/detg.vot") == []
    assert describe(tmp_path / "one", tmp_path / "two/detg.vot") == []
    found = diff(read_release(tmp_path / "one").table, read_release(tmp_path / "two").table)
    assert not found


def test_rows_that_came_and_went(tmp_path):
    rows = table(6)
    one = read_back(tmp_path, rows.iloc[:5])
    other = read_back(tmp_path, rows.iloc[[5, 1, 2]])
    found = diff(one, other)
    assert found.added == (str(FIRST + 5),)
    assert found.removed == (str(FIRST), str(FIRST + 3), str(FIRST + 4))
    assert (found.changed, found.reordered) == ((), False)
    assert diff(one, read_back(tmp_path, rows.iloc[[4, 3, 2, 1, 0]])).reordered


def test_values_are_compared_object_by_object_and_nulls_with_nulls(tmp_path):
    rows = table(
        6, redshift=[0.1, np.nan, np.nan, 0.4, np.inf, -0.0], known_name=[None, "", *"abcd"]
    )
    one = read_back(tmp_path, rows)
    redshift = [0.1, 0.2, np.nan, np.nan, np.inf, 0.5]
    changed = rows.assign(redshift=redshift, known_name=["", "", *"abcd"]).iloc[::-1]
    found = {change.column: change for change in diff(one, read_back(tmp_path, changed), 2).changed}
    assert set(found) == {"redshift", "known_name"}
    assert found["redshift"].count == 3
    assert found["redshift"].examples == (
        (str(FIRST + 1), "null", "0.20000000298023224"),  # as float32 has it
        (str(FIRST + 3), "0.4000000059604645", "null"),
    )
    assert (found["known_name"].count, found["known_name"].examples) == (
        1, ((str(FIRST), "null", ""),))  # fmt: skip


def test_every_line_says_what_from_and_to(tmp_path):
    rows = table(6)
    wrong = rows.iloc[:2].assign(contaminant="merger")
    write_release(
        rows, provenance(release="1.0"), tmp_path / "one", "detg-1.0", false_positives=wrong
    )
    better = rows.iloc[:5].assign(survey="gz1", note="seen").astype({"object_id": str})
    better.loc[0, "object_id"] = "new"
    said = provenance(release="1.1", threshold=0.25, purity=None, purity_lo=None, purity_hi=None)
    write_release(better, said, tmp_path / "two", "detg-1.1",
                  false_positives=wrong.assign(contaminant="ring"))  # fmt: skip
    (tmp_path / "two/figures").mkdir()
    (tmp_path / "two/figures/a.png").write_bytes(b"a")
    assert describe(tmp_path / "one", tmp_path / "two", 2) == [
        "1 rows added: new",
        f"2 rows removed: {FIRST}, {FIRST + 5}",
        "1 columns added: note",
        "4 values of survey changed:",
        f"  {FIRST + 1}: gz2 -> gz1",
        f"  {FIRST + 2}: gz2 -> gz1",
        "  and 2 more",
        "column object_id, type: int64 -> str",
        "provenance, threshold: 0.30000000000000004 -> 0.25",
        "provenance, release: 1.0 -> 1.1",
        "provenance, purity: 0.61 -> null",
        "provenance, purity_lo: 0.45 -> null",
        "provenance, purity_hi: 0.75 -> null",
        "false positives: 2 values of contaminant changed:",
        f"false positives:   {FIRST}: merger -> ring",
        f"false positives:   {FIRST + 1}: merger -> ring",
        "file added: figures/a.png",
    ]


def test_a_meaning_and_a_unit_that_changed_are_told(tmp_path):
    one, other = (read_back(tmp_path, table(3, r_mag=15.0)) for _ in range(2))
    other["r_mag"].unit = "Jy"
    other["r_mag"].meta["ucd"] = "phot.flux"
    assert diff(one, other).described == (
        "r_mag, unit: mag -> Jy",
        "r_mag, UCD: phot.mag;em.opt.r -> phot.flux",
    )


def test_false_positives_that_one_alone_knows(tmp_path):
    write_release(table(), provenance(), tmp_path / "one", "detg")
    write_release(table(), provenance(), tmp_path / "two", "detg", false_positives=table(2))
    assert describe(tmp_path / "one", tmp_path / "two") == [
        "false positives are known in the second alone"
    ]
    assert describe(tmp_path / "two", tmp_path / "one") == [
        "false positives are known in the first alone"
    ]


@pytest.mark.parametrize("name", ["detg.parquet", "detg.ecsv", "detg.reg", "detg.dat", "README.md"])
def test_a_spoiled_file_is_a_difference(tmp_path, name):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        write_release(table(), provenance(), folder, "detg")
    (two / name).write_text("rubbish")
    lines = [f"{two}: {name} is not what SHA256SUMS says", f"file changed: {name}"]
    assert describe(one, two) == lines
    assert describe(two, two) == lines[:1]
    assert describe(two, one / "detg.fits") == lines[:1]
    (two / name).unlink()
    lines = [f"{two}: {name} is gone, unlike what SHA256SUMS says", f"file removed: {name}"]
    assert describe(one, two) == lines
    (two / "SHA256SUMS").unlink()
    told = f"{two}: SHA256SUMS is missing, so nobody can tell whether its files are whole"
    assert describe(one, two)[0] == told


def test_new_checksums_do_not_hide_that_a_form_differs(tmp_path):
    write_release(table(), provenance(), tmp_path / "one", "detg")
    *_, sums = write_release(table(), provenance(), tmp_path / "two", "detg")
    ecsv = tmp_path / "two/detg.ecsv"
    ecsv.write_text(ecsv.read_text().replace("DETG J", "DETG B"))
    done = subprocess.run(
        "sha256sum $(sed 's/.*  //' SHA256SUMS) > new; mv new SHA256SUMS",
        shell=True, cwd=sums.parent, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert describe(tmp_path / "one", tmp_path / "two") == [
        "file changed: SHA256SUMS",
        "file changed: detg.ecsv",
    ]


def test_an_object_that_stands_twice_is_refused(tmp_path):
    one = read_back(tmp_path, table(3))
    twice = vstack([one, one[1:2]], metadata_conflicts="silent")
    for pair in ((one, twice), (twice, one)):
        with pytest.raises(CatalogError, match=f"object_id {FIRST + 1} stands in 2 rows; valid: a"):
            diff(*pair)


def test_what_is_no_release_is_refused(tmp_path):
    with pytest.raises(
        CatalogError, match=r"holds 0 catalogues \(NAME.fits\); valid: the folder of"
    ):
        read_release(tmp_path)
    (tmp_path / "a.csv").write_text("object_id")
    with pytest.raises(CatalogError, match=r"a.csv: .csv; valid: .fits, .vot, or the folder of a"):
        read_release(tmp_path / "a.csv")
    fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1])]).writeto(tmp_path / "b.fits")
    with pytest.raises(CatalogError, match="does not say title"):
        read_release(tmp_path / "b.fits")


def test_no_row_at_all(tmp_path):
    write_votable(conform(table(0)), provenance(), tmp_path / "none.vot")
    found = diff(read_release(tmp_path / "none.vot").table, read_back(tmp_path, table(3)))
    assert len(found.added) == 3
