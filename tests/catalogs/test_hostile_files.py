"""Files that want to read other files, grow without end or lie about their size are refused."""

import gzip
import tracemalloc

import numpy as np
import pyarrow as pa
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


@pytest.mark.parametrize("place", ["  19-   1", "       0"])
def test_an_mrt_column_that_ends_before_it_begins(tmp_path, place):
    data, readme = write_mrt(conform(table(3)), provenance(), tmp_path / "c.dat")
    changed(readme, b"   1-  18", place.encode())
    with pytest.raises(CatalogError, match=r"object_id stands in bytes (19|0) to [10]"):
        read_mrt(data)


def parquet(path, rows, **columns):
    """A file with the header of an honest one, `columns`, and nulls in all others."""
    honest = write_parquet(conform(table(3)), provenance(), path)
    schema = pq.read_schema(honest)
    arrays = [columns.get(f.name, pa.nulls(rows, f.type)) for f in schema]
    content = pa.table(arrays, schema.names).replace_schema_metadata(schema.metadata)
    pq.write_table(content, path)
    return path


def same_text(rows, text):
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [text])


@pytest.fixture
def arrow_memory():
    """A pool that knows the most that Arrow had reserved at once."""
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(usual)


def test_a_parquet_bomb_in_bounded_memory(tmp_path, arrow_memory):
    """A million times the same 10 kB: 36 kB of file, 37 GiB of table."""
    path = parquet(tmp_path / "c.parquet", 10**6, name=same_text(10**6, "x" * 10_000))
    assert path.stat().st_size < 100_000
    tracemalloc.start()  # follows numpy
    with pytest.raises(CatalogError, match="would take 37 GiB of memory; valid: up to 4 GiB"):
        read_parquet(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e8
    assert 1e6 < arrow_memory.max_memory() < 2e8


def test_a_parquet_file_of_large_texts_is_refused_before_a_row_is_read(tmp_path, monkeypatch):
    texts = [f"{i}".ljust(10_000, "x") for i in range(200)]
    path = parquet(tmp_path / "c.parquet", 200, name=pa.array(texts))
    assert path.stat().st_size < 200_000
    monkeypatch.setattr("catalogs.reading.MEMORY", 2**20)
    monkeypatch.delattr(pq.ParquetFile, "iter_batches")
    with pytest.raises(CatalogError, match="would take 0 GiB of memory"):
        read_parquet(path)


def test_a_parquet_column_of_another_type(tmp_path):
    path = parquet(tmp_path / "c.parquet", 3, ra=pa.array([[1.0], [2.0], [3.0]]))
    with pytest.raises(CatalogError, match=r"ra is of list<.*>; its header says double"):
        read_parquet(path)


def test_texts_of_a_dictionary_and_beyond_ascii_are_unpacked_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("catalogs.arrow.PART", 64)
    notes = ["", None, "ü🌌", " x", "y" * 40] * 9
    path = write_parquet(conform(table(45, note=notes)), provenance(), tmp_path / "c.parquet")
    assert read_parquet(path)["note"].tolist() == notes


def test_a_parquet_header_with_entities(tmp_path):
    path = write_parquet(conform(table(3)), provenance(), tmp_path / "c.parquet")
    rows = pq.read_table(path)
    header = rows.schema.metadata[CONTENT].replace(b"<VOTABLE", LAUGHS + b"<VOTABLE", 1)
    pq.write_table(rows.replace_schema_metadata({CONTENT: header}), path)
    with pytest.raises(CatalogError, match="not a VOTable of ours: a document type"):
        read_parquet(path)
