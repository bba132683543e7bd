"""Every format of a table: what is written reads back equal, here and in other people's readers."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits, votable
from astropy.table import Table

from catalogs import (
    CatalogError,
    conform,
    read_ecsv,
    read_fits,
    read_mrt,
    read_parquet,
    read_votable,
    write_ecsv,
    write_fits,
    write_mrt,
    write_parquet,
    write_votable,
)
from tests.catalogs.catalogue_samples import hostile, provenance, table

FORMATS = {
    "fits": (write_fits, read_fits),
    "vot": (write_votable, read_votable),
    "ecsv": (write_ecsv, read_ecsv),
    "parquet": (write_parquet, read_parquet),
    "dat": (lambda *given: write_mrt(*given)[0], read_mrt),
}
every_format = pytest.mark.parametrize("form", FORMATS)


def assert_same(read, written):
    assert read.colnames == written.colnames
    for name in written.colnames:
        got, want = read[name], written[name]
        assert got.dtype == want.dtype, name
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(want), name)
        assert got.tolist() == want.tolist(), name
        if want.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got.data), np.signbit(want.data), name)
        assert (got.unit, got.description, got.format, got.meta) == (
            want.unit, want.description, want.format, want.meta)  # fmt: skip


@every_format
@pytest.mark.parametrize("rows", [hostile(), table(0), table(1), table(872)], ids=len)
def test_reads_back_equal(tmp_path, form, rows):
    write, read = FORMATS[form]
    written = conform(rows)
    write(written, provenance(), tmp_path / f"c.{form}")
    back = read(tmp_path / f"c.{form}")
    assert_same(back, written)
    assert back.meta["provenance"] == provenance()


@every_format
@pytest.mark.parametrize(
    "text",
    ["", "x" * 68, "x" * 69, "'" * 200, "x" * 66 + "''" * 9, "x" * 67 + "&", "&", "ends in \\",
     "µ" * 300, ("sixty-seven characters and then a space " * 9).strip(),
     "/ = & '", "<a b='\"'>&lt;"],
    ids=range(12),
)  # fmt: skip
def test_text_of_the_provenance_survives(tmp_path, form, text):
    write, read = FORMATS[form]
    said = provenance(acknowledgements=text, prompts=(text, "sdss"), citation=text)
    write(conform(table(1)), said, tmp_path / "c")
    assert read(tmp_path / "c").meta["provenance"] == said


@every_format
def test_unmeasured_is_none_and_not_zero(tmp_path, form):
    write, read = FORMATS[form]
    said = provenance(purity=None, purity_lo=None, purity_hi=None, prompts=(), seeds=())
    write(conform(table(1)), said, tmp_path / "c")
    assert read(tmp_path / "c").meta["provenance"] == said


@every_format
def test_same_input_same_bytes(tmp_path, form):
    write, _ = FORMATS[form]
    for name in "ab":
        write(conform(hostile()), provenance(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@every_format
def test_a_damaged_file_is_refused(tmp_path, form):
    write, read = FORMATS[form]
    path = write(conform(table(50)), provenance(), tmp_path / "c")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(CatalogError, match=str(path)):
        read(path)
    path.write_bytes(b"not a table")
    with pytest.raises(CatalogError, match=str(path)):
        read(path)
    with pytest.raises(CatalogError, match="nowhere"):
        read(tmp_path / "nowhere")


@every_format
def test_a_table_of_somebody_else_is_refused(tmp_path, form):
    """Fits: its provenance is missing; VOTable: its rows are in another layout."""
    path = tmp_path / f"c.{form}"
    Table({"ra": [1.0], "n": [2]}).write(path, format={"vot": "votable"}.get(form, form))
    with pytest.raises(CatalogError, match=r"not one of our releases|not a VOTable of ours"):
        FORMATS[form][1](path)


def test_an_image_is_no_table(tmp_path):
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)))]).writeto(path)
    with pytest.raises(CatalogError, match="not a whole FITS table of ours"):
        read_fits(path)


def test_a_changed_byte_in_fits_fails_its_checksum(tmp_path):
    path = write_fits(conform(table(50)), provenance(), tmp_path / "c.fits")
    whole = bytearray(path.read_bytes())
    whole[-3000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CatalogError, match=r"(?i)checksum|datasum"):
        read_fits(path)


def test_astropy_reads_the_same_fits(tmp_path):
    written = conform(hostile())
    path = write_fits(written, provenance(), tmp_path / "c.fits")
    with fits.open(path, checksum=True) as hdus:
        assert [hdus[1].header[f"TUCD{n}"] for n in (1, 3, 4)] == [
            "meta.id;meta.main", "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"]  # fmt: skip
        assert hdus[1].header["TCOMM3"] == "Right ascension (ICRS)"
        assert hdus[1].header["THRESH"] == 0.1 + 0.2
        assert hdus[1].header["NATPREV"] == 1.2345678901234567e-05
        assert hdus[1].header["CALPREV"] == 0.0017
        assert [hdus[1].header[k] for k in ("PURITY", "PURNAT")] == [0.61, 0.34]
    read = Table.read(path)
    assert read["object_id"].tolist() == written["object_id"].tolist()
    assert read["cluster"].tolist() == written["cluster"].tolist()
    np.testing.assert_array_equal(np.ma.filled(read["ra"], np.nan), written["ra"].filled(np.nan))
    assert read["known_name"][2] == r"H\u03b1 ring \\ na\xefve \U0001f30c"


@pytest.mark.parametrize("version", ["1.4", "1.5"])
def test_astropy_reads_the_same_votable_without_a_warning(tmp_path, version):
    written = conform(hostile())
    path = write_votable(written, provenance(), tmp_path / "c.vot", version=version)
    document = votable.parse(path, verify="exception")
    assert document.version == version
    assert [c.system for c in document.resources[0].coordinate_systems] == ["ICRS"]
    content = document.get_first_table()
    for field in content.fields:
        want = written[field.name]
        got = content.array[field.name]
        if want.dtype.kind != "U":
            assert got.tolist() == want.tolist(), field.name
        else:  # astropy reads a null text as an empty one
            assert [str(v) for v in got.data] == want.filled("").tolist(), field.name
        assert (field.ucd, field.description) == (want.meta["ucd"], want.description)
        assert field.unit == want.unit
    assert content.get_field_by_id("ra").ref == "icrs"


def test_unknown_votable_version(tmp_path):
    with pytest.raises(CatalogError, match=r"version '1.2'; valid: 1.4, 1.5"):
        write_votable(conform(table(1)), provenance(), tmp_path / "c.vot", version="1.2")


def judge(command, *arguments):
    """Output of a judge that is installed, or a skip that says which is not."""
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("rows", [hostile(), table(0), table(872)], ids=len)
def test_fitsverify_is_content(tmp_path, rows):
    path = write_fits(conform(rows), provenance(), tmp_path / "c.fits")
    code, said = judge("fitsverify", path)
    assert code == 0
    assert "Verification found 0 warning(s) and 0 error(s)" in said


@pytest.mark.parametrize("rows", [hostile(), table(0), table(872)], ids=len)
def test_votlint_is_silent(tmp_path, rows):
    path = write_votable(conform(rows), provenance(), tmp_path / "c.vot")
    assert judge("stilts", "votlint", path) == (0, "")


def test_votlint_minds_nothing_but_the_number_in_version_1_5(tmp_path):
    """STILTS 3.4.7 knows VOTable up to 1.4; a later one that knows 1.5 says nothing."""
    path = write_votable(conform(hostile()), provenance(), tmp_path / "c.vot", version="1.5")
    said = judge("stilts", "votlint", path)[1].splitlines()
    assert [line for line in said if "INFO" not in line and "1.5" not in line] == []


def test_votlint_objects_to_a_broken_file(tmp_path):
    """So that its silence above means something: it exits 0 whatever it finds."""
    path = write_votable(conform(table(3)), provenance(), tmp_path / "c.vot")
    path.write_bytes(path.read_bytes().replace(b'datatype="double"', b'datatype="dubble"'))
    assert "ERROR" in judge("stilts", "votlint", path)[1]


def test_stilts_carries_values_and_meaning_through_fits_and_back(tmp_path):
    """VOTable → FITS → VOTable in STILTS; text is ASCII here, as FITS wants it."""
    rows = hostile().assign(known_name=["M 82", "NGC 4370", "a", "it's", "b", "c"])
    first = write_votable(conform(rows), provenance(), tmp_path / "a.vot")
    judge("stilts", "tpipe", f"in={first}", f"out={tmp_path}/b.fits", "ofmt=fits-basic")
    judge(
        "stilts", "tpipe", f"in={tmp_path}/b.fits", f"out={tmp_path}/c.vot", "ofmt=votable-binary2"
    )
    there, back = (votable.parse(p).get_first_table() for p in (first, tmp_path / "c.vot"))
    assert [f.name for f in there.fields] == [f.name for f in back.fields]
    for one, two in zip(there.fields, back.fields, strict=True):
        assert (one.ucd, one.unit, one.description) == (two.ucd, two.unit, two.description)
        got, want = back.array[two.name], there.array[one.name]
        assert [str(v) for v in got.tolist()] == [str(v) for v in want.tolist()], one.name


def test_stilts_reads_the_same_from_both_formats(tmp_path):
    rows = conform(hostile().assign(known_name="M 82"))
    outputs = []
    for form, (write, _) in FORMATS.items():
        path = write(rows, provenance(), tmp_path / f"c.{form}")
        code, said = judge("stilts", "tpipe", f"in={path}", "omode=out", "ofmt=csv")
        assert code == 0
        outputs.append(said)
    assert outputs[0] == outputs[1]
