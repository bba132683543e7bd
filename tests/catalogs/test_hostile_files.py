"""Files that want to read other files, grow without end or lie about their size are refused."""

import gzip

import pyarrow.parquet as pq
import pytest
from astropy.io import fits

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
from catalogs.parquet import CONTENT
from tests.catalogs.catalogue_samples import provenance, table

LAUGHS = b"<!DOCTYPE l [<!ENTITY a 'ha'>" + b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12)
) + b"]>"  # fmt: skip


def changed(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


@pytest.fixture
def vot(tmp_path):
    return write_votable(conform(table(3)), provenance(), tmp_path / "c.vot")


@pytest.mark.parametrize(
    "doctype",
    [b'<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
     b'<!DOCTYPE v SYSTEM "http://127.0.0.1:9/x.dtd">', LAUGHS],
    ids=["external entity", "external type", "billion laughs"],
)  # fmt: skip
def test_a_votable_with_a_document_type(vot, doctype):
    changed(vot, b"<VOTABLE", doctype + b"\n<VOTABLE")
    changed(vot, b"Dusty early types", b"&x;&m;")
    with pytest.raises(CatalogError, match="not a VOTable of ours: a document type"):
        read_votable(vot)


def test_a_votable_whose_other_table_names_a_file(vot):
    other = (
        b'<TABLE><FIELD name="a" datatype="int"/><DATA><BINARY2>'
        b'<STREAM href="file:///etc/passwd"/></BINARY2></DATA></TABLE>'
    )
    with pytest.raises(CatalogError, match=r"not a VOTable of ours: .* rows elsewhere"):
        read_votable(changed(vot, b"</RESOURCE>", other + b"</RESOURCE>"))


def test_a_votable_in_another_encoding(vot):
    changed(vot, b'encoding="utf-8"', b'encoding="utf-7"')
    with pytest.raises(CatalogError, match=r"not a VOTable of ours: .* another encoding"):
        read_votable(vot)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'datatype="float"', b'datatype="floatComplex"', "is of floatComplex; valid: long"),
        (b'arraysize="24"', b'arraysize="99999999999"', "not a whole VOTable"),
        (b'arraysize="24"', b'arraysize="999999"', "its rows end early"),
        (b'nrows="3"', b'nrows="300000000"', "its rows end early"),
    ],
)
def test_a_votable_that_lies_about_its_rows(vot, old, new, message):
    with pytest.raises(CatalogError, match=message):
        read_votable(changed(vot, old, new))


@pytest.mark.parametrize("size", ["99999999999999", "-1", "4"])
@pytest.mark.parametrize("keyword", ["NAXIS1", "NAXIS2"])
def test_a_fits_file_with_a_lying_naxis(tmp_path, keyword, size):
    path = write_fits(conform(table(3)), provenance(), tmp_path / "c.fits")
    value = fits.getheader(path, 1)[keyword]
    changed(path, f"{keyword}  = {value:>20}".encode(), f"{keyword}  = {size:>20}".encode())
    with pytest.raises(CatalogError, match=str(path)):
        read_fits(path)


def test_a_fits_file_with_a_lying_tform(tmp_path):
    path = write_fits(conform(table(3)), provenance(), tmp_path / "c.fits")
    with pytest.raises(CatalogError, match=str(path)):
        read_fits(changed(path, b"'24A     '", b"'9999999A'"))


def test_a_gzip_bomb_named_fits(tmp_path):
    (tmp_path / "c.fits").write_bytes(gzip.compress(b"\0" * 2**24))
    with pytest.raises(CatalogError, match="no plain FITS file"):
        read_fits(tmp_path / "c.fits")


def test_an_ecsv_header_with_aliases(tmp_path):
    path = write_ecsv(conform(table(3)), provenance(), tmp_path / "c.ecsv")
    changed(path, b"# delimiter: ','", b"# delimiter: ','\n# a: &a [1]\n# b: [*a, *a]")
    with pytest.raises(CatalogError, match="an alias, which no header of ours has"):
        read_ecsv(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"# delimiter: ','", b"# x: !!python/object/apply:os.getcwd []", "could not determine a"),
        (b"# delimiter: ','", b"# x: " + b"[" * 3000, "not a whole ECSV table of ours"),
        (b"datatype: float64", b"datatype: complex", "not a whole ECSV table of ours"),
        (b"object_id,name", b"name,object_id", "not a whole ECSV table of ours"),
        (b"rows: 3", b"rows: 4", "has 3 rows of 4; fetch the file again"),
    ],
    ids=["object", "deep", "type", "order", "count"],
)
def test_an_ecsv_file_that_lies(tmp_path, old, new, message):
    path = write_ecsv(conform(table(3)), provenance(), tmp_path / "c.ecsv")
    with pytest.raises(CatalogError, match=message):
        read_ecsv(changed(path, old, new))


def test_an_mrt_whose_rows_are_not_as_long_as_said(tmp_path):
    data, readme = write_mrt(conform(table(3)), provenance(), tmp_path / "c.dat")
    data.write_bytes(data.read_bytes()[:-7])
    with pytest.raises(CatalogError, match=r"its rows are not .* bytes long, as .*ReadMe says"):
        read_mrt(data)
    changed(readme, b"object_id                 int64", b"objekt_id                 int64")
    with pytest.raises(CatalogError, match="its columns and its notes on them differ"):
        read_mrt(data)


def test_a_parquet_header_with_entities(tmp_path):
    path = write_parquet(conform(table(3)), provenance(), tmp_path / "c.parquet")
    rows = pq.read_table(path)
    header = rows.schema.metadata[CONTENT].replace(b"<VOTABLE", LAUGHS + b"<VOTABLE", 1)
    pq.write_table(rows.replace_schema_metadata({CONTENT: header}), path)
    with pytest.raises(CatalogError, match="not a VOTable of ours: a document type"):
        read_parquet(path)
