"""The MOC of the searched sky, and DS9 regions, read by other people's packages."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from mocpy import MOC
from regions import Regions

from catalogs import CatalogError, conform, read_moc, selection_area, write_moc, write_regions
from tests.catalogs.catalogue_samples import hostile, provenance, table


def test_the_selection_area_holds_the_positions_and_little_else():
    ra, dec = [0.0, 360.0, 180.0, np.nan], [-90.0, 45.0, 90.0, np.nan]
    text = selection_area(ra, dec)
    moc = MOC.from_string(text)
    assert moc.contains_lonlat([0.0, 180.0, 0.0] * u.deg, [-90.0, 90.0, 45.0] * u.deg).all()
    assert not moc.contains_lonlat([100.0] * u.deg, [0.0] * u.deg).any()
    assert moc.sky_fraction == pytest.approx(3 / (12 * 4**6))
    assert provenance(moc=text).moc == text


def test_a_moc_reads_back_and_passes_fitsverify(tmp_path):
    path = write_moc(conform(table()), provenance(moc="5/0 6/4-5 9 7/3000"), tmp_path / "c.fits")
    assert read_moc(path) == "5/0 6/4-5 9 7/3000"
    assert (
        path.read_bytes()
        == write_moc(table(), provenance(moc="5/0 6/4-5 9 7/3000"), path).read_bytes()
    )
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    said = subprocess.run(["fitsverify", "-q", path], capture_output=True, text=True).stdout
    assert said.startswith("verification OK")


def test_no_selection_area_no_moc(tmp_path):
    with pytest.raises(CatalogError, match="has no selection area; give its moc"):
        write_moc(conform(table()), provenance(), tmp_path / "c.fits")
    with pytest.raises(CatalogError, match="no row has a position"):
        selection_area([np.nan], [np.nan])
    (tmp_path / "c.fits").write_bytes(b"SIMPLE")
    with pytest.raises(CatalogError, match="not a whole FITS MOC"):
        read_moc(tmp_path / "c.fits")


@pytest.mark.parametrize(
    ("moc", "message"),
    [
        ("5", "moc = '5'; valid: MOC ASCII like '6/4-5 9 7/3000'"),
        ("6/4-", "moc = '6/4-'; valid: MOC ASCII"),
        ("6/5-4", "valid: orders 0 to 29, cells below"),
        ("0/12", "valid: orders 0 to 29, cells below"),
        ("30/1", "valid: orders 0 to 29, cells below"),
    ],
)
def test_what_is_no_moc_is_refused(moc, message):
    with pytest.raises(CatalogError, match=message):
        provenance(moc=moc)


def test_every_object_with_a_position_is_a_region(tmp_path):
    rows = conform(hostile().assign(size_arcsec=[7.5, None, 1, 2, 3, 4]))
    regions = Regions.read(write_regions(rows, provenance(), tmp_path / "c.reg"), format="ds9")
    placed = rows[~rows["ra"].mask]
    assert [r.meta["text"] for r in regions] == placed["name"].tolist()
    assert [r.radius.to_value("arcsec") for r in regions][:2] == pytest.approx([7.5, 10])
    np.testing.assert_array_equal([r.center.ra.deg for r in regions], placed["ra"] % 360)
    np.testing.assert_array_equal([r.center.dec.deg for r in regions], placed["dec"])
    assert {r.center.frame.name for r in regions} == {"icrs"}


def test_regions_tell_candidates_from_what_taught_the_detector(tmp_path):
    path = write_regions(conform(table(4)), provenance(moc="6/4-5 9"), tmp_path / "c.reg")
    regions = Regions.read(path, format="ds9")
    assert [r.meta["tag"] for r in regions] == [["in_training"], ["candidate"]] * 2
    assert [r.visual["facecolor"] for r in regions] == ["orange", "green"] * 2
    assert "# moc: see c.moc.fits\n" in path.read_text()


def test_braces_do_not_end_the_name_of_a_region(tmp_path):
    rows = conform(table(2, name=["a} # color={red", "b"]))
    regions = Regions.read(write_regions(rows, provenance(), tmp_path / "c.reg"), format="ds9")
    assert [r.meta["text"] for r in regions] == ["a) # color=(red", "b"]
