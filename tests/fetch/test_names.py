"""Names of objects, from a server that answers as SIMBAD's TAP and NED do."""

import io
import re

import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.io.votable import from_table, writeto
from astropy.io.votable.tree import Info
from astropy.table import MaskedColumn, Table
from click.testing import CliRunner

from discovery.cli import main
from tests.fetch.httpd import Answer

SIMBAD, NED = "/simbad/sync", "/ned/objsearch"
SKY = [  # name, ra, dec, type, redshift
    ("NGC  1", 10.0, 20.0, "G", 0.015),
    ("[VV2006] é", 10.0, 20.0005, "QSO", np.nan),
    ("M 2", 180.0, -89.9999, "GlC", -0.001),
    ("edge", 359.9999, 0.0, "G", 0.02),
]
CIRCLE = re.compile(r"CIRCLE\('ICRS', ([\d.-]+), ([\d.-]+), ([\d.]+)\)")


def near(places):
    """Rows of SKY within radius (deg) of any (ra, dec, radius), by astropy's formula."""
    return [
        row
        for row in SKY
        if any(
            np.rad2deg(angular_separation(*np.deg2rad([row[1], row[2], ra, dec]))) <= radius
            for ra, dec, radius in places
        )
    ]


NOTHING = """<?xml version="1.0"?>
<VOTABLE version="1.1" xmlns="http://www.ivoa.net/xml/VOTable/v1.1">
<DESCRIPTION>NED results</DESCRIPTION>
<PARAM name="QueryStatus" datatype="char" arraysize="*" value="OK"/>
<PARAM name="Error" datatype="char" arraysize="*" value="No object found."/>
</VOTABLE>"""


def votable(table, *infos):
    file = from_table(table)
    file.resources[0].type = "results"
    file.resources[0].infos.extend(Info(name=name, value=value) for name, value in infos)
    text = io.BytesIO()
    writeto(file, text)
    return Answer(text.getvalue(), Content_Type="application/x-votable+xml")


def redshifts(rows):
    values = np.array([row[4] for row in rows], float)
    return MaskedColumn(values, mask=np.isnan(values))


def simbad(ask):
    rows = near([tuple(map(float, found)) for found in CIRCLE.findall(ask.form["QUERY"])])
    table = Table(
        {
            "main_id": np.array([row[0] for row in rows], str),
            "ra": np.array([row[1] for row in rows], float),
            "dec": np.array([row[2] for row in rows], float),
            "otype": np.array([row[3] for row in rows], str),
            "rvz_redshift": redshifts(rows),
            "coo_bibcode": np.array(["2020yCat.1350....0G"] * len(rows), str),
        }
    )
    return votable(table, ("QUERY_STATUS", "OK"))


def ned(ask):
    # A right ascension without unit is in hours, the radius in arcmin.
    place = (float(ask.query["lon"]) * 15, float(ask.query["lat"]), float(ask.query["radius"]) / 60)
    rows = near([place])
    if not rows:
        return Answer(NOTHING)
    table = Table(
        {
            "No.": np.arange(1, len(rows) + 1),
            "Object Name": [row[0].upper() for row in rows],
            "RA": [row[1] for row in rows],
            "DEC": [row[2] for row in rows],
            "Type": [row[3] for row in rows],
            "Redshift": redshifts(rows),
        }
    )
    return votable(table)


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.csv"
    path.write_text("object_id,ra,dec\na,10.0001,20\nb,90,45\nc,5,-89.9999\nd,0.0002,0\n")
    return path


def fetch(table, tmp_path, *more, out="names.csv"):
    path = tmp_path / out
    told = CliRunner().invoke(main, ["fetch", "names", str(table), "--out", str(path), *more])
    return told, path


def failures(path):
    return Table.read(path.with_name(f"{path.stem}-failures.csv"), format="ascii.csv")


def test_matches_of_simbad_the_nearest_first(services, server, candidates, tmp_path):
    server.answers[SIMBAD] = simbad
    told, path = fetch(candidates, tmp_path, "--service", "simbad")
    assert told.exit_code == 0, told.output
    (asked,) = server.seen[SIMBAD]
    assert (asked.form["LANG"], asked.form["REQUEST"]) == ("ADQL", "doQuery")
    found = Table.read(path, format="ascii.csv")
    rows = [(row["object_id"], row["name"]) for row in found]
    # c is 0.7 arcsec from M 2 over the pole, d 1.08 arcsec from `edge` over RA 0
    assert rows == [("a", "NGC  1"), ("a", "[VV2006] é"), ("c", "M 2"), ("d", "edge")]
    expected = np.rad2deg(angular_separation(*np.deg2rad([10.0001, 20, 10, 20]))) * 3600
    assert found["separation_arcsec"][0] == pytest.approx(expected, abs=1e-5)
    assert found["separation_arcsec"][3] == pytest.approx(1.08, abs=1e-5)
    assert np.ma.is_masked(found["redshift"][1])
    assert set(found["bibcode"]) == {"2020yCat.1350....0G"}
    assert "simbad: 3 objects have a name" in told.output
    assert len(failures(path)) == 0


def test_ned_is_asked_for_each_position(services, server, candidates, tmp_path):
    server.answers[NED] = ned
    told, path = fetch(candidates, tmp_path, "--service", "ned")
    assert told.exit_code == 0, told.output
    assert len(server.seen[NED]) == 4
    assert server.seen[NED][0].query["of"] == "xml_main"
    found = Table.read(path, format="ascii.csv")
    assert [(row["object_id"], row["name"]) for row in found] == [
        ("a", "NGC  1"), ("a", "[VV2006] É"), ("c", "M 2"), ("d", "EDGE"),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", [".vot", ".ecsv"])
def test_both_services_in_one_table(services, server, candidates, tmp_path, ending):
    server.answers[SIMBAD], server.answers[NED] = simbad, ned
    told, path = fetch(candidates, tmp_path, out=f"names{ending}")
    assert told.exit_code == 0, told.output
    kind = {".vot": "votable", ".ecsv": "ascii.ecsv"}[ending]
    found = Table.read(path, format=kind)
    assert list(found["service"]) == ["ned", "simbad"] * 4
    assert list(found["object_id"]) == ["a"] * 4 + ["c"] * 2 + ["d"] * 2


def test_answers_are_kept_and_offline_is_enough(services, server, candidates, tmp_path):
    server.answers[SIMBAD], server.answers[NED] = simbad, ned
    _, path = fetch(candidates, tmp_path)
    server.seen.clear()
    told, again = fetch(candidates, tmp_path, "--offline", out="again.csv")
    assert told.exit_code == 0, told.output
    assert again.read_bytes() == path.read_bytes()
    assert not server.seen


def test_without_any_answer_a_table_that_is_there_stays(services, server, candidates, tmp_path):
    server.answers[SIMBAD], server.answers[NED] = simbad, ned
    _, path = fetch(candidates, tmp_path)
    before = path.read_bytes()
    told, _ = fetch(candidates, tmp_path, "--offline", "--radius", "4")
    assert told.exit_code == 2
    assert (
        "none of 8 questions has an answer: not in the cache, and --offline was given. Nothing is "
        "written. The same command without --offline asks for them again."
    ) in told.output
    assert path.read_bytes() == before
    assert len(failures(path)) == 0


def test_offline_lists_what_is_not_there(services, server, candidates, tmp_path):
    server.answers[SIMBAD] = simbad
    fetch(candidates, tmp_path, "--service", "simbad")
    told, path = fetch(candidates, tmp_path, "--offline")
    assert told.exit_code == 0, told.output
    assert "4 questions have no answer: not in the cache, and --offline was given." in told.output
    assert "The same command without --offline asks" in told.output
    assert set(failures(path)["reason"]) == {"not in the cache, and --offline was given"}
    assert set(failures(path)["service"]) == {"ned"}


def test_large_catalogues_are_asked_for_in_chunks(services, server, tmp_path):
    server.answers[SIMBAD] = simbad
    many = tmp_path / "many.csv"
    lines = [f"o{i},{i},{i / 10}" for i in range(250)]
    many.write_text("\n".join(["id,ra,dec", *lines]))
    told, _ = fetch(many, tmp_path, "--service", "simbad")
    assert told.exit_code == 0, told.output
    asked = [len(CIRCLE.findall(ask.form["QUERY"])) for ask in server.seen[SIMBAD]]
    assert asked == [100, 100, 50]
    times = [ask.at for ask in server.seen[SIMBAD]]
    assert times[2] - times[0] > 2 / 8  # at most 8 queries a second


def overflowing(ask):
    answer = simbad(ask)
    answer.body = answer.body.replace(b'value="OK"', b'value="OVERFLOW"')
    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("<html>maintenance</html>"), "its answer cannot be read"),
        (Answer("Incorrect ADQL query", 400), "400 Bad Request: Incorrect ADQL query"),
        (Answer("x", declared=100 * 2**30), "longer than the 256 MiB"),
        (overflowing, "its answer cannot be read (DALOverflowWarning"),
        (votable(Table({"a": [1]}), ("QUERY_STATUS", "OK")), "a table without coo_bibcode, dec"),
        (votable(Table({"a": [1]}), ("QUERY_STATUS", "ERROR")), "its answer cannot be read"),
    ],
)
def test_what_is_no_answer_is_said_and_not_kept(
    services, server, candidates, tmp_path, answer, reason
):
    server.answers[SIMBAD] = answer
    told, path = fetch(candidates, tmp_path, "--service", "simbad")
    assert told.exit_code == 2, told.output
    assert "none of 4 questions has an answer: " in told.output
    assert reason in told.output
    assert not path.exists()
    server.answers[SIMBAD] = simbad
    told, path = fetch(candidates, tmp_path, "--service", "simbad")
    assert len(failures(path)) == 0


def test_ned_with_a_page_in_place_of_a_table(services, server, candidates, tmp_path):
    server.answers[NED] = [Answer("<html><p>Sorry</html>"), ned]
    told, path = fetch(candidates, tmp_path, "--service", "ned")
    assert told.exit_code == 0, told.output
    (failed,) = failures(path)
    assert failed["object_id"] == "a"
    assert "its answer cannot be read" in failed["reason"]


def test_a_service_that_is_down_is_not_asked_for_ever(services, server, candidates, tmp_path):
    server.answers[NED] = Answer("down", 503)
    told, _ = fetch(candidates, tmp_path, "--service", "ned")
    assert told.exit_code == 2
    assert "ned did not answer 3 times in a row, the last time: 503 Service" in told.output
    assert len(server.seen[NED]) == 3 * 3  # each with two retries
