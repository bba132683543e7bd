"""Published lists, from a server that answers as VizieR and Galaxy Zoo do."""

import io
import tomllib

import numpy as np
import pytest
from astropy.io.votable import from_table, writeto
from astropy.table import Column, MaskedColumn, Table
from click.testing import CliRunner

from discovery.cli import main
from discovery.fetch.known import LISTS
from discovery.surveys.base import KnownList
from discovery.surveys.tables import read_table
from tests.fetch.httpd import Answer

VIZIER = "/vizier/viz-bin/votable"
DUST = "/galaxyzoo/dustlanes/Basic_Information.txt"
OBJID = 587722982300516593


def votable(*tables):
    """An answer of VizieR: a resource with a table for each (name, table)."""
    file = from_table(tables[0][1])
    for name, table in tables:
        made = from_table(table).get_first_table()
        made.name = name
        if name != tables[0][0]:
            file.resources[0].tables.append(made)
        else:
            file.resources[0].tables[0] = made
    text = io.BytesIO()
    writeto(file, text)
    return Answer(text.getvalue(), Content_Type="text/xml")


def table5():
    return Table(
        [
            Column([233.79, 0.0], name="_RAJ2000", unit="deg"),
            Column([-0.66, -89.9], name="_DEJ2000", unit="deg"),
            Column(np.array([OBJID, OBJID + 1]), name="objID", description="SDSS DR7 identifier"),
            MaskedColumn([0.066, -1], name="z", mask=[False, True], description="Redshift"),
            Column(["Hélène", ""], name="Note"),
            Column([1.0, 2.0], name="RA"),
        ]
    )


def fetch(tmp_path, *words, out="known.csv"):
    path = tmp_path / out
    return CliRunner().invoke(main, ["fetch", "known", "--out", str(path), *words]), path


def published(told):
    """[survey.published] as the output says it."""
    section = told.output[told.output.index("[survey.published]") :]
    return KnownList.model_validate(tomllib.loads(section)["survey"]["published"])


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".fits", ".vot"])
def test_a_catalogue_of_vizier_becomes_a_list_that_a_run_file_reads(
    services, server, tmp_path, ending
):
    table = table5()
    if ending == ".fits":
        table["Note"][0] = "Helene"
    server.answers[VIZIER] = votable(("J/MNRAS/435/2835/table5", table))
    words = ("--catalogue", "J/MNRAS/435/2835/table5", "--bibcode", "2013MNRAS.435.2835W")
    told, path = fetch(tmp_path, *words, out=f"known{ending}")
    assert told.exit_code == 0, told.output
    asked = server.seen[VIZIER][0].body.decode()
    assert "-source=J/MNRAS/435/2835/table5" in asked
    assert "-out.max=unlimited" in asked
    assert "-out.add=_RAJ2000,_DEJ2000" in asked
    if ending != ".ecsv":  # which [survey.published] does not read
        known = published(told).read("")
        assert list(known["object_id"]) == [str(OBJID), str(OBJID + 1)]
        assert list(known["ra"]) == [233.79, 0.0]
        assert list(known["dec"]) == [-0.66, -89.9]
        assert set(known["bibcode"]) == {"2013MNRAS.435.2835W"}
    read = Table.read(path) if ending != ".vot" else Table.read(path, format="votable")
    assert read["z"][0] == 0.066
    assert np.ma.is_masked(read["z"][1])
    assert read["RA_published"][1] == 2.0
    assert str(read["Note"][0]) == table["Note"][0]


def test_fits_holds_ascii_alone(services, server, tmp_path):
    server.answers[VIZIER] = votable(("t", table5()))
    told, path = fetch(tmp_path, "--catalogue", "J/x/1", out="known.fits")
    assert told.exit_code == 2
    assert "FITS tables hold ASCII alone, and here is 'Hélène'; give" in told.output
    assert not path.exists()


def test_what_was_asked_once_is_not_asked_again_and_offline_is_enough(services, server, tmp_path):
    server.answers[VIZIER] = votable(("J/x/1/t", table5()))
    _, path = fetch(tmp_path, "--catalogue", "J/x/1/t")
    first = path.read_bytes()
    server.seen.clear()
    told, path = fetch(tmp_path, "--catalogue", "J/x/1/t", "--offline", out="again.csv")
    assert told.exit_code == 0, told.output
    assert path.read_bytes() == first
    assert not server.seen


def test_offline_without_it_says_so(services, server, tmp_path):
    told, path = fetch(tmp_path, "--catalogue", "J/x/1/t", "--offline")
    assert told.exit_code == 2
    assert "VizieR's J/x/1/t: not in the cache, and --offline was given" in told.output
    assert not path.exists()
    assert not server.seen


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("<html>Bad gateway</html>"), "something that is no table"),
        (Answer("<?xml version='1.0'?><html>no</html>"), "its answer cannot be read"),
        (Answer(votable(("t", table5())).body[:900]), "its answer cannot be read"),
        (Answer("down", 503), "503 Service Unavailable: down"),
        (Answer("slow down", 429, Retry_After="999"), "asks not to be asked again for 999 s"),
        (Answer("x", declared=100 * 2**30), "102,400 MiB or more is longer than the 256 MiB"),
        (Answer("<?xml", declared=4000), "connection broke before the answer was complete"),
    ],
)
def test_what_is_no_catalogue_is_told_and_not_kept(services, server, tmp_path, answer, said):
    server.answers[VIZIER] = answer
    told, path = fetch(tmp_path, "--catalogue", "J/x/1/t")
    assert told.exit_code == 2, told.output
    assert said in told.output
    assert "https://vizier.cds.unistra.fr/viz-bin/VizieR?-source=J/x/1/t" in told.output
    assert not path.exists()
    server.answers[VIZIER] = votable(("J/x/1/t", table5()))
    assert fetch(tmp_path, "--catalogue", "J/x/1/t")[0].exit_code == 0


def test_an_empty_or_several_or_unplaced_catalogue(services, server, tmp_path):
    server.answers[VIZIER] = votable(("t", table5()[:0]))
    assert "there is no such catalogue, or it is empty" in fetch(
        tmp_path, "--catalogue", "J/x/1"
    )[0].output  # fmt: skip
    server.answers[VIZIER] = votable(("J/x/1/a", table5()), ("J/x/1/b", table5()))
    told, _ = fetch(tmp_path, "--catalogue", "J/x/1")
    assert "has several tables, name one of them: J/x/1/a, J/x/1/b" in told.output
    unplaced = table5()
    unplaced.remove_column("_RAJ2000")
    server.answers[VIZIER] = votable(("J/x/1/a", unplaced))
    assert "has no positions" in fetch(tmp_path, "--catalogue", "J/x/1")[0].output


def test_external_entities_and_laughs_do_no_harm(services, server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret words")
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>'
    body = votable(("t", table5())).body.decode()
    body = body.replace("Hélène", "&e;").replace('<?xml version="1.0" encoding="utf-8"?>', head)
    assert "&e;" in body
    server.answers[VIZIER] = Answer(body)
    told, path = fetch(tmp_path, "--catalogue", "J/x/1")
    assert "secret words" not in told.output
    assert not path.exists() or "secret words" not in path.read_text()
    laughs = "".join(
        f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' if i else '<!ENTITY l0 "lol">' for i in range(12)
    )
    body = body.replace("&e;", "&l11;").replace(
        head, f'<?xml version="1.0"?><!DOCTYPE x [{laughs}]>'
    )
    server.answers[VIZIER] = Answer(body)
    told, _ = fetch(tmp_path, "--catalogue", "J/x/2")
    assert told.exit_code == 2
    assert "its answer cannot be read" in told.output


def test_the_list_of_kaviraj(services, server, tmp_path, real_data):
    real = (real_data / "catalogues/dlsg_kaviraj2012/dlsg_basic.csv").read_text()
    for separator in (" ", "\t", ","):
        text = "Basic information\n# see the paper\n" + real.replace(",", separator)
        server.answers[DUST] = Answer(text)
        cache = str(tmp_path / f"cache{ord(separator)}")
        told, _ = fetch(tmp_path, "--list", "kaviraj2012", "--cache", cache)
        assert told.exit_code == 0, told.output
        known = published(told).read("")
        assert len(known) == 356
        assert set(known["bibcode"]) == {"2012MNRAS.423...49K"}
        shared = KnownList(
            table=real_data / "catalogues/dlsg_kaviraj2012/dlsg_basic.csv",
            id_column="dr7objid", ra_column="ra", dec_column="dec", bibcode="x",
        ).read("")  # fmt: skip
        for column in ("object_id", "ra", "dec"):
            assert list(known[column]) == list(shared[column])


def test_a_list_that_is_gone_or_a_page(services, server, tmp_path):
    told, _ = fetch(tmp_path, "--list", "kaviraj2012")
    assert told.exit_code == 2
    assert "404 Not Found" in told.output
    assert f"published at {LISTS['kaviraj2012'].page}" in told.output
    for text in ("<html>moved</html>", f"{OBJID} x y", f"{OBJID} 400 0"):
        server.answers[DUST] = Answer(text)
        told, path = fetch(tmp_path, "--list", "kaviraj2012")
        assert told.exit_code == 2
        assert not path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either --catalogue VIZIER_NAME or --list NAME"),
        (("--list", "a", "--catalogue", "b/c"), "give either --catalogue"),
        (("--list", "kaviraj"), "--list kaviraj is not known; known are kaviraj2012"),
        (("--catalogue", "../etc"), "names no catalogue of VizieR; they are named like J/MNRAS"),
        (("--catalogue", "J/x\n-out=1"), "names no catalogue of VizieR"),
    ],
)
def test_what_cannot_be_asked_for(services, server, tmp_path, words, said):
    told, _ = fetch(tmp_path, *words)
    assert told.exit_code == 2
    assert said in told.output
    assert not server.seen


def test_an_unknown_ending_is_refused_before_anything_is_asked(services, server, tmp_path):
    told, _ = fetch(tmp_path, "--list", "kaviraj2012", out="known.xls")
    assert told.exit_code == 2
    assert "give a name that ends in .csv, .ecsv, .fits, .vot" in told.output
    assert not server.seen


def test_ids_keep_every_digit(services, server, tmp_path):
    server.answers[VIZIER] = votable(("t", table5()))
    _, path = fetch(tmp_path, "--catalogue", "J/x/1")
    assert read_table(path)["objID"].to_pylist() == [OBJID, OBJID + 1]
