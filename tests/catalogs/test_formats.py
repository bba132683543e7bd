"""Every format of a table: what is written reads back equal, here and in other people's readers."""

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
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
@pytest.mark.parametrize("rows", [hostile(), table(0), table(1), hostile(872)], ids=len)
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
    """Its provenance is missing or its rows are in another layout."""
    path = tmp_path / f"c.{form}"
    form_of_astropy = {"vot": "votable", "ecsv": "ascii.ecsv", "dat": "ascii.mrt"}.get(form, form)
    Table({"ra": [1.0], "n": [2]}).write(path, format=form_of_astropy)
    with pytest.raises(CatalogError, match=r"not one of our releases|of ours|ReadMe: cannot be"):
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


@pytest.mark.parametrize("rows", [table(0), table(1), hostile(872)], ids=len)
def test_fitsverify_is_content(tmp_path, rows):
    path = write_fits(conform(rows), provenance(), tmp_path / "c.fits")
    code, said = judge("fitsverify", path)
    assert code == 0
    assert "Verification found 0 warning(s) and 0 error(s)" in said


def votlint(path):
    """What STILTS says, but for the number 1.5, which it knows from 3.5 on."""
    said = judge("stilts", "votlint", path)[1]
    known = ("VOTable version", "Assuming VOTable v1.4", "'1.5'")
    return [line for line in said.splitlines() if not any(words in line for words in known)]


@pytest.mark.parametrize("rows", [table(0), table(1), hostile(872)], ids=len)
def test_votlint_and_the_validator_of_astropy_are_silent(tmp_path, rows):
    path = write_votable(conform(rows), provenance(), tmp_path / "c.vot")
    assert b'version="1.5"' in path.read_bytes()
    assert votlint(path) == []
    report = io.StringIO()
    assert votable.validate(path, output=report)
    assert "found no violations" in report.getvalue()


def test_the_same_bytes_labelled_1_4_pass_every_stilts(tmp_path):
    written = conform(hostile())
    new = write_votable(written, provenance(), tmp_path / "new.vot")
    old = write_votable(written, provenance(), tmp_path / "old.vot", version="1.4")
    head, rest = new.read_bytes().split(b"<RESOURCE", 1)
    assert old.read_bytes() == head.replace(b"1.5", b"1.4") + b"<RESOURCE" + rest
    assert judge("stilts", "votlint", old) == (0, "")


def test_votlint_objects_to_a_broken_file(tmp_path):
    """So that its silence above means something: it exits 0 whatever it finds."""
    path = write_votable(conform(table(3)), provenance(), tmp_path / "c.vot")
    path.write_bytes(path.read_bytes().replace(b'datatype="double"', b'datatype="dubble"'))
    assert "ERROR" in judge("stilts", "votlint", path)[1]


def test_stilts_carries_values_and_meaning_through_fits_and_back(tmp_path):
    """VOTable → FITS → VOTable in STILTS; text is ASCII here, as FITS wants it."""
    rows = hostile(872).replace({"known_name": {hostile()["known_name"][2]: "M 82"}})
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


def test_stilts_reads_the_same_from_three_formats(tmp_path):
    """Debian's reads neither Parquet nor MRT, and takes the inf of ECSV for a null."""
    rows = conform(hostile().assign(known_name="M 82", redshift=0.1))
    outputs = []
    for form in ("fits", "vot", "ecsv"):
        path = FORMATS[form][0](rows, provenance(), tmp_path / f"c.{form}")
        code, said = judge("stilts", "tpipe", f"in={path}", "omode=out", "ofmt=csv")
        assert code == 0
        outputs.append(said)
    assert outputs[0] == outputs[1] == outputs[2]


def test_astropy_reads_the_same_ecsv(tmp_path):
    """But for the two that it reads in its own way: an empty text, and a space before one."""
    written = conform(hostile())
    read = Table.read(write_ecsv(written, provenance(), tmp_path / "c.ecsv"))
    assert read.meta["provenance"]["threshold"] == 0.1 + 0.2
    for name in written.colnames:
        want = written[name]
        assert (read[name].unit, read[name].description) == (want.unit, want.description)
        values = want.tolist()
        if want.dtype.kind == "U":
            values = [value.lstrip() or None if value else None for value in values]
        assert read[name].tolist() == values, name


def test_astropy_and_pandas_read_the_same_parquet(tmp_path):
    """astropy 8 fails on a null text; it reads the header all the same."""
    rows = table(known_name=["M 82", "", "Hα", "it's", "a", "b"], note="ü")
    written = conform(rows)
    path = write_parquet(written, provenance(), tmp_path / "c.parquet")
    read = Table.read(path, format="parquet.votable")
    assert read["known_name"].tolist() == written["known_name"].tolist()
    assert (read["ra"].unit, read["ra"].meta["ucd"]) == (u.deg, "pos.eq.ra;meta.main")
    frame = pd.read_parquet(write_parquet(conform(hostile()), provenance(), path))
    assert frame["object_id"].tolist() == hostile()["object_id"].tolist()
    assert frame["known_name"].isna().tolist() == [False, True, False, False, False, False]


def test_astropy_reads_the_same_mrt_by_its_readme(tmp_path):
    written = conform(hostile())
    data, readme = write_mrt(written, provenance(), tmp_path / "c.dat")
    read = Table.read(data, format="ascii.cds", readme=str(readme))
    for name in written.colnames:
        got, want = read[name], written[name]
        assert got.description == want.description
        assert got.unit == want.unit
        if want.dtype.kind == "f":
            spelt = [float(str(value)) for value in want.filled(np.nan)]
            np.testing.assert_array_equal(np.ma.filled(got, np.nan), spelt)
        elif want.dtype.kind == "i":
            assert got.tolist() == want.tolist()
    assert read["known_name"][2] == r"H\u03b1 ring \\ na\xefve \U0001f30c"
    assert max(map(len, readme.read_text("ascii").splitlines())) <= 80


def test_numbers_of_an_mrt_are_as_short_as_they_can_be(tmp_path):
    rows = table(2, ra=[10.0, 299.41899166666666], dec=[-0.0, 1e-7], redshift=[0.1, None])
    first, second = (
        write_mrt(conform(rows), provenance(), tmp_path / "c.dat")[0].read_text().splitlines()
    )
    assert first.split()[3:5] == ["10.0", "-0.0"]
    assert second.split()[3:5] == ["299.41899166666667", "1.0e-7"]
    assert " 0.1 " in first


def test_the_forms_of_an_mrt_are_wide_enough_for_fortran(tmp_path):
    rows = table(3, ra=[1e-7, 0.123456789, 299.41899166666667], redshift=[1e-7, 0.12345678, None])
    _, readme = write_mrt(conform(rows), provenance(), tmp_path / "c.dat")
    forms = re.findall(r" E(\d+)\.(\d+) ", readme.read_text())
    assert len(forms) == 2
    assert all(int(width) >= int(decimals) + 7 for width, decimals in forms)


def test_a_spreadsheet_sees_no_formula_in_ecsv(tmp_path):
    notes = ["=1+1", "@SUM(A1)", "+1", "-1", "'quoted", "＝1"]
    written = conform(table(note=notes, known_name='a "b", c'))
    path = write_ecsv(written, provenance(), tmp_path / "c.ecsv")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    cells = list(csv.DictReader(lines))
    assert [c["note"] for c in cells] == ["'" + note for note in notes]
    assert cells[0]["known_name"] == 'a "b", c'
    assert read_ecsv(path)["note"].tolist() == notes
