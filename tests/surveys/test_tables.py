"""Tables: one table reads the same from every format, and a hostile one fills no memory."""

import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from discovery.errors import BadInput
from discovery.surveys import tables
from discovery.surveys.tables import read_table

IDS = [587742615639294556, None, 8647474690312307154]
COLUMNS = {
    "objid": (pa.int64(), IDS),
    "name": (pa.string(), ["NGC 1", None, "IC 10"]),
    "ra": (pa.float64(), [309.3204, None, -1.1483592]),
    "z": (pa.float64(), [0.1, None, -0.0]),
    "votes": (pa.int64(), [1, 2, None]),
    "odd": (pa.bool_(), [True, None, False]),
}


def trapped() -> Table:
    """The columns of COLUMNS as they come: masked, padded, of few bytes, NaN, big-endian."""
    table = Table()
    table["objid"] = MaskedColumn([IDS[0], -1, IDS[2]], mask=[0, 1, 0], dtype=">i8")
    table["name"] = ["NGC 1   ", "", "IC 10"]
    table["ra"] = np.array([309.3204, np.nan, -1.1483592], ">f4")
    table["z"] = MaskedColumn([0.1, 1e300, -0.0], mask=[0, 1, 0])
    table["votes"] = MaskedColumn(np.array([1, 2, 3], "i2"), mask=[0, 0, 1])
    table["odd"] = MaskedColumn([True, True, False], mask=[0, 1, 0])
    return table


def write_fits(table: Table, path):
    """As FITS, with the null of a logical that astropy does not write: a zero byte."""
    hdu = fits.table_to_hdu(table)
    content = bytearray(saved(hdu))
    with fits.open(io.BytesIO(content)) as hdus:
        first_row = hdus[1].fileinfo()["datLoc"]
    content[first_row + hdu.data.itemsize + hdu.data.dtype.fields["odd"][1]] = 0
    path.write_bytes(content)


def saved(hdu) -> bytes:
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def write_csv(table: Table, path):
    path.write_text(
        "objid,name,ra,z,votes,odd\n"
        f"{IDS[0]},NGC 1,309.3204,0.1,1,True\n"
        ",,nan,,2,\n"
        f"{IDS[2]},IC 10,-1.1483592,-0.0,,False\n"
    )


WRITERS = {
    "a.csv": write_csv,
    "a.fits": write_fits,
    "a.parquet": lambda table, path: table.write(path, format="parquet"),
    "a.ecsv": lambda table, path: table.write(path, format="ascii.ecsv"),
    "a.vot": lambda table, path: table.write(path, format="votable"),
    "b.xml": lambda table, path: table.write(path, format="votable", tabledata_format="binary2"),
}


GZIPPED = [f"{name}.gz" for name in WRITERS if name != "a.parquet"]


@pytest.mark.parametrize("name", [*WRITERS, *GZIPPED])
def test_one_table_reads_the_same_from_every_format(tmp_path, name):
    path = tmp_path / name.removesuffix(".gz")
    WRITERS[path.name](trapped(), path)
    if name in GZIPPED:
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / name
    table = read_table(path)
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == {
        name: kind for name, (kind, _) in COLUMNS.items()
    }
    assert table.to_pydict() == {name: values for name, (_, values) in COLUMNS.items()}
    assert str(table["z"].to_pylist()[2]) == "-0.0"
    as_text = read_table(path, ["objid"])["objid"].to_pylist()
    assert as_text == [str(IDS[0]), None, str(IDS[2])]


def test_whole_numbers_and_times_that_arrow_would_change_stay_as_written(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,when,ra,flux\n"
        "12345678901234567891,2012-01-01T00:00:00,00:42:00,1e20\n"
        "9999999999999999999,2012-01-02,00:43:00,2.5\n"
    )
    assert read_table(tmp_path / "a.csv").to_pydict() == {
        "id": ["12345678901234567891", "9999999999999999999"],
        "when": ["2012-01-01T00:00:00", "2012-01-02"],
        "ra": ["00:42:00", "00:43:00"],
        "flux": [1e20, 2.5],
    }
    Table({"id": np.array([2**63 + 1, 5], "u8")}).write(tmp_path / "a.fits")
    assert read_table(tmp_path / "a.fits")["id"].to_pylist() == [2**63 + 1, 5]


def test_ids_too_long_for_int64_keep_their_digits_beside_short_ones(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,light,mixed\n"
        "5,1e19,9223372036854775809\n"
        "9223372036854775809,100000000000000000000,2.5\n"
        "NA,,1\n"
        "9223372036854775811,3,1\n"
    )
    table = read_table(tmp_path / "a.csv").to_pydict()
    assert table["id"] == ["5", "9223372036854775809", None, "9223372036854775811"]
    assert table["light"] == [1e19, 1e20, None, 3]
    assert table["mixed"] == [2.0**63, 2.5, 1, 1]


def test_words_that_mean_null_among_numbers_stay_words_in_text(tmp_path):
    words = Table({"id": ["NA", "null", "x"], "band": ["N/A", "nan", "g"], "n": [1, 2, 3]})
    kinds = {"a.csv": "ascii.csv", "a.fits": "fits", "a.vot": "votable", "a.ecsv": "ascii.ecsv",
             "a.parquet": "parquet"}  # fmt: skip
    for name, kind in kinds.items():
        words.write(tmp_path / name, format=kind)
        for text in ((), ("id", "band")):
            read = read_table(tmp_path / name, text).to_pydict()
            assert read == {name: list(words[name]) for name in words.colnames}
    (tmp_path / "b.csv").write_text("z,word\n0.5,a\nnull,\nNA,NA\n")
    table = read_table(tmp_path / "b.csv").to_pydict()
    assert table == {"z": [0.5, None, None], "word": ["a", None, "NA"]}


def test_times_are_text_from_ecsv_and_parquet_as_they_are_from_csv(tmp_path):
    written = ["2012-01-01T00:00:00", "2012-01-02T03:04:05.500", None]
    times = Time(["2012-01-01T00:00:00", "2012-01-02T03:04:05.5", "2012-01-01T00:00:00"])
    times[2] = np.ma.masked
    Table({"when": times, "mjd": Time([50000.5, 1, 2], format="mjd")}).write(tmp_path / "a.ecsv")
    table = read_table(tmp_path / "a.ecsv").to_pydict()
    assert table["when"] == ["2012-01-01T00:00:00.000", *written[1:]]
    assert table["mjd"] == [50000.5, 1, 2]
    stamps = pa.array([np.datetime64(t, "ms") if t else None for t in written])
    days = stamps.cast(pa.date32(), safe=False)
    pq.write_table(pa.table({"when": stamps, "day": days}), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet").to_pydict()
    assert table == {"when": written, "day": ["2012-01-01", "2012-01-02", None]}


def test_columns_of_arrays_are_left_out_and_the_others_stay(tmp_path):
    table = Table({"flux": np.zeros((2, 3)), "id": [1, 2]})
    for name, kind in {"a.fits": "fits", "a.vot": "votable", "a.ecsv": "ascii.ecsv"}.items():
        table.write(tmp_path / name, format=kind)
        assert read_table(tmp_path / name).to_pydict() == {"id": [1, 2]}


def test_votable_columns_go_by_their_names_and_not_by_their_ids(tmp_path):
    path = tmp_path / "a.vot"
    path.write_text(votable(fields='<FIELD ID="col1" name="RAJ2000" datatype="double"/>'))
    assert read_table(path).to_pydict() == {"RAJ2000": [1.0]}


def votable(prolog="", attributes="", fields='<FIELD name="a" datatype="int"/>',
            data="<TABLEDATA><TR><TD>1</TD></TR></TABLEDATA>") -> str:  # fmt: skip
    return (
        f'<?xml version="1.0"?>{prolog}<VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
        f"<TABLE {attributes}>{fields}<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
    )


def refusal(path) -> str:
    with pytest.raises(BadInput) as caught:
        read_table(path, origin="table")
    assert str(caught.value).startswith(f'table = "{path}" cannot be read as a table (')
    assert "give CSV (.csv), Parquet (.parquet), FITS" in str(caught.value)
    return str(caught.value)


LAUGHS = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10 if n else "ha"}">' for n in range(12))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (votable('<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "the XML entity x"),
        (votable(f"<!DOCTYPE v [{LAUGHS}]>"), "the XML entity b0, which no table needs"),
        (votable(attributes='nrows="1000000000000"'), "nrows is 1,000,000,000,000, more rows than"),
        (votable(fields='<FIELD name="a" datatype="int" arraysize="99999x99999"/>'), "cells"),
        (votable(data='<BINARY><STREAM href="file:///etc/passwd"/></BINARY>'),
         "its rows are in another file, file:///etc/passwd"),
        (votable()[:-30], "unclosed token"),
        ("<html><body>404</body></html>", "does not appear to be a VOTABLE"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_hostile_votable_is_refused_whatever_its_encoding(tmp_path, document, reason, encoding):
    declared = document.replace('version="1.0"?', f'version="1.0" encoding="{encoding}"?')
    (tmp_path / "a.vot").write_bytes(declared.encode(encoding))
    assert reason in refusal(tmp_path / "a.vot")


def test_a_votable_of_old_that_names_its_dtd_is_read(tmp_path):
    dtd = '<!DOCTYPE VOTABLE SYSTEM "http://127.0.0.1:9/VOTable.dtd">'
    (tmp_path / "a.vot").write_text(votable(dtd))
    assert read_table(tmp_path / "a.vot").to_pydict() == {"a": [1]}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NAXIS2  =                   10", "NAXIS2  =            200000000", "cells"),
        ("NAXIS2  =                   10", "NAXIS2  =              1000000",
         "its header promises 9,000,000 bytes of rows, and 2,880 are there"),
        ("NAXIS1  =                    9", "NAXIS1  =                   90",
         "its rows have 90 bytes, and its columns 9"),
        ("NAXIS1  =                    9", "NAXIS1  =                    0", "its columns 9"),
        ("TFIELDS =                    2", "TFIELDS =                  999", "recformat"),
        ("TTYPE2  = 's       '", "TTYPE2  = 'a       '", "column a is there 2 times"),
        ("BINTABLE", "IMAGE   ", "no HDU of it is a table"),
    ],
)  # fmt: skip
def test_a_fits_header_that_lies_is_refused(tmp_path, old, new, reason):
    good = saved(fits.table_to_hdu(Table({"a": np.arange(10), "s": ["x"] * 10})))
    assert old.encode() in good
    (tmp_path / "a.fits").write_bytes(good.replace(old.encode(), new.encode()))
    assert reason in refusal(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (",".join(f"c{n}" for n in range(10**6)), "its first line is longer than 1 MiB"),
        (",".join(f"c{n}" for n in range(10**5)), "100,000 columns are more than 10,000"),
        ("x" * 2**22, "its first line is longer than 1 MiB"),
        ("a,b\n1," + "x" * 2**22, "straddl"),
        ("a,b,a\n1,2,3\n", "column a is there 2 times; name each column once"),
        ("", "Empty CSV file"),
    ],
    ids=["columns", "fewer columns", "one line", "long line", "twice", "empty"],
)
def test_a_hostile_csv_is_refused(tmp_path, content, reason):
    (tmp_path / "a.csv").write_text(content)
    assert reason in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.fits.gz", "a.vot.gz", "a.ecsv.gz"])
def test_a_bomb_is_unpacked_no_further_than_a_table_may_be_long(tmp_path, monkeypatch, name):
    monkeypatch.setattr(tables, "LARGEST_BYTES", 2**20)
    packed = gzip.compress(b"0\n" * 2**24)
    assert len(packed) < 2**16
    (tmp_path / name).write_bytes(packed)
    assert "more than 0.000976562 GiB" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(packed[:1000])
    monkeypatch.setattr(tables, "LARGEST_BYTES", 2**30)
    assert "ended before the end-of-stream marker" in refusal(tmp_path / name)


def test_more_cells_than_the_memory_is_to_bear_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "LARGEST_CELLS", 100)
    many = Table({"a": np.arange(200)})
    kinds = {"a.csv": "ascii.csv", "a.fits": "fits", "a.parquet": "parquet",
             "a.ecsv": "ascii.ecsv", "a.vot": "votable"}  # fmt: skip
    for name, kind in kinds.items():
        many.write(tmp_path / name, format=kind)
        assert "more than 100 cells" in refusal(tmp_path / name)


@pytest.fixture(scope="module")
def stripe82(real_data):
    return real_data / "catalogues" / "gz2_stripe82_willett2013"


def test_the_real_stripe_82_table_reads_the_same_from_its_three_formats(stripe82, tmp_path):
    as_csv = read_table(stripe82 / "table5.csv.gz")
    assert as_csv.shape == (19_761, 228)
    assert read_table(stripe82 / "table5.fits.gz").equals(as_csv)
    # astropy takes ten seconds for the whole VOTable; its first rows have every column
    with gzip.open(stripe82 / "table5.vot.gz", "rt") as file:
        head, end, tail = file.read().rpartition("</TR>")
    rows = (head + end).split("</TR>")[:1000]
    cut = "</TR>".join([*rows, tail]).replace('nrows="19761"', 'nrows="1000"')
    (tmp_path / "a.vot").write_text(cut)
    assert read_table(tmp_path / "a.vot").equals(as_csv[:1000])
