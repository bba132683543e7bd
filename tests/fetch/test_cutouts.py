"""Cutouts by position, from services that draw real images and sometimes none."""

import csv
import io
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from PIL import Image

from discovery.cli import main
from discovery.config import load_config
from discovery.errors import BadInput
from discovery.fetch.targets import Target, read_targets
from discovery.surveys import FolderSurvey
from tests.fetch.httpd import Answer

SDSS = "/skyserver/dr17/SkyServerWS/ImgCutout/getjpeg"
ROWS = [(588017703996096547, 160.99, 11.70, 15.0), (588017703996096548, 194.24, 32.44, 5.5)]


def drawn(ask):
    """A galaxy of the asked for size, as the SDSS service answers."""
    width, height = int(ask.query["width"]), int(ask.query["height"])
    made = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(made, "JPEG")
    return Answer(made.getvalue(), Content_Type="image/jpeg")


def blank(ask):
    made = io.BytesIO()
    Image.new("RGB", (64, 64)).save(made, "JPEG")
    return Answer(made.getvalue(), Content_Type="image/jpeg")


@pytest.fixture
def galaxies(tmp_path):
    path = tmp_path / "galaxies.fits"
    columns = np.array(ROWS).T
    ids = np.array([row[0] for row in ROWS], np.int64)
    Table([ids, *columns[1:]], names=["objid", "ra", "dec", "petroR90_r"]).write(path)
    return path


def fetch(table, out, *more):
    words = ["fetch", "cutouts", str(table), "--out", str(out), "--rate", "20", *more]
    return CliRunner().invoke(main, words)


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_the_field_follows_the_petrosian_radius_as_in_galaxy_zoo_2(
    services, server, galaxies, tmp_path
):
    server.answers[SDSS] = drawn
    told = fetch(galaxies, tmp_path / "cutouts")
    assert told.exit_code == 0, told.output
    asked = sorted((ask.query for ask in server.seen[SDSS]), key=lambda query: query["ra"])
    # 0.02 x 15 arcsec and 0.02 x 5.5 arcsec a pixel (Willett et al. 2013)
    assert [float(query["scale"]) for query in asked] == pytest.approx([0.3, 0.11])
    assert [float(query["dec"]) for query in asked] == [11.7, 32.44]
    assert {query["width"] for query in asked} == {"424"}
    listed = rows(tmp_path / "cutouts/table.csv")
    assert [row["object_id"] for row in listed] == [str(row[0]) for row in ROWS]
    assert [float(row["pixscale_arcsec"]) for row in listed] == pytest.approx([0.3, 0.11])


def test_smaller_cutouts_show_the_same_field(galaxies):
    (target, _) = read_targets(galaxies, size=212)
    assert target.scale * 212 == pytest.approx(8.48 * 15)


def test_the_folder_is_a_survey_as_the_printed_lines_say(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    told = fetch(galaxies, tmp_path / "cutouts")
    section = told.output[told.output.index("[[survey]]") :]
    run_file = tmp_path / "run.toml"
    run_file.write_text(f'name = "mine"\n{section}\n[generator]\nstart = "shipped"\nsteps = 1\n')
    (survey,) = load_config(run_file).survey
    survey.validate()
    first, second = survey.rows(0, 2)
    assert first["object_id"] == str(ROWS[0][0])
    assert (second["ra"], second["dec"]) == ROWS[1][1:3]
    assert second["pixscale_arcsec"] == pytest.approx(0.11)
    assert Image.open(io.BytesIO(first["image"])).size == (424, 424)


def test_what_is_there_is_not_fetched_again(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    fetch(galaxies, tmp_path / "cutouts")
    (next((tmp_path / "cutouts/images").iterdir())).unlink()
    server.seen.clear()
    assert fetch(galaxies, tmp_path / "cutouts").exit_code == 0
    assert len(server.seen[SDSS]) == 1


def test_an_object_that_has_moved_is_fetched_again(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    fetch(galaxies, tmp_path / "cutouts", "--scale", "0.4")
    server.seen.clear()
    moved = tmp_path / "moved.csv"
    moved.write_text(f"objid,ra,dec\n{ROWS[0][0]},161,11.7\n{ROWS[1][0]},194.24,32.44\n")
    fetch(moved, tmp_path / "cutouts", "--scale", "0.4", "--yes")
    assert [ask.query["ra"] for ask in server.seen[SDSS]] == ["161.0"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_finished_images_are_not_removed_unasked(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    out = tmp_path / "cutouts"
    fetch(galaxies, out, "--scale", "0.4")
    before = contents(out)
    server.seen.clear()
    told = fetch(galaxies, out, "--scale", "0.2")
    assert told.exit_code == 2
    assert "2 of the 2 objects have an image in" in told.output
    assert "with --yes to remove these images and fetch them anew" in told.output
    told = fetch(galaxies, out, "--scale", "0.2", "--yes", "--offline")
    assert told.exit_code == 2
    assert "--offline removes none" in told.output
    assert contents(out) == before
    assert not server.seen
    assert fetch(galaxies, out, "--scale", "0.4").exit_code == 0
    assert not server.seen


@pytest.mark.parametrize("again", ["object_id,ra,dec\na,10,20\n", "object_id,ra,dec\na,11,20\n"])
def test_images_of_earlier_tables_are_remembered(services, server, tmp_path, again):
    server.answers[SDSS] = drawn
    out, one, other = tmp_path / "cutouts", tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("object_id,ra,dec\na,10,20\n")
    other.write_text("object_id,ra,dec\nb,30,40\n")
    fetch(one, out, "--scale", "0.4")
    fetch(other, out, "--scale", "0.4", "--id-column", "object_id")
    scale = "0.2" if "a,10" in again else "0.4"  # one of the two is another
    one.write_text(again)
    told = fetch(one, out, "--scale", scale)
    assert told.exit_code == 2
    assert "1 of the 1 objects have an image" in told.output
    assert "e.g. a.jpg" in told.output
    server.seen.clear()
    assert fetch(one, out, "--scale", scale, "--yes").exit_code == 0
    assert [ask.query["scale"] for ask in server.seen[SDSS]] == [scale]


def test_a_folder_without_a_list_of_its_images(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    out = tmp_path / "cutouts"
    fetch(galaxies, out)
    (out / "images.parquet").unlink()
    assert fetch(galaxies, out).exit_code == 0
    (out / "images.parquet").unlink()
    (out / "table.csv").unlink()
    told = fetch(galaxies, out)
    assert told.exit_code == 2
    assert "or one of which neither is known" in told.output


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (blank, "the survey has no image of this place"),
        (Answer("<html>Sorry</html>"), "neither JPEG nor PNG"),
        (Answer(b""), "empty file"),
        (Answer("no", 404), "404 Not Found: no"),
        (Answer(b"\xff\xd8\xff"), "damaged: its header is cut off"),
        (Answer(b"x", declared=100 * 2**30), "102,400 MiB or more is longer than the 32 MiB"),
    ],
)
def test_what_is_no_cutout_is_a_row_with_its_reason(
    services, server, galaxies, tmp_path, answer, reason
):
    server.answers[SDSS] = lambda ask: (
        drawn(ask) if ask.query["ra"] == "160.99" else (answer(ask) if callable(answer) else answer)
    )
    told = fetch(galaxies, tmp_path / "cutouts")
    assert told.exit_code == 0, told.output
    assert "1 of 2 cutouts are in" in told.output
    (failure,) = rows(tmp_path / "cutouts/failures.csv")
    assert failure["object_id"] == str(ROWS[1][0])
    assert reason in failure["reason"]
    assert len(list((tmp_path / "cutouts/images").iterdir())) == 1
    survey = FolderSurvey(name="s", path=tmp_path / "cutouts", images="images", table="table.csv")
    assert ["failure" in row for row in survey.rows(0, 2)] == [False, True]


def test_a_truncated_image_is_no_cutout(services, server, galaxies, tmp_path):
    def half(ask):
        whole = drawn(ask).body
        return Answer(whole[: len(whole) // 2])

    server.answers[SDSS] = half
    fetch(galaxies, tmp_path / "cutouts")
    reasons = [row["reason"] for row in rows(tmp_path / "cutouts/failures.csv")]
    assert len(reasons) == 2
    assert all(reason.startswith("damaged: ") for reason in reasons)


def test_a_service_that_is_down_is_not_asked_for_ever(services, server, tmp_path):
    many = tmp_path / "many.csv"
    lines = [f"o{i},{i / 10},{i / 10}" for i in range(400)]
    many.write_text("\n".join(["id,ra,dec", *lines]))
    server.answers[SDSS] = Answer("down for repair", 503)
    told = fetch(many, tmp_path / "cutouts", "--scale", "0.4")
    assert told.exit_code == 2
    assert "did not answer 12 times in a row" in told.output
    assert "503 Service Unavailable: down for repair" in told.output
    assert len(server.seen[SDSS]) <= 64 * 3


def test_a_galaxy_without_a_radius_is_a_row_with_its_reason(services, server, tmp_path):
    server.answers[SDSS] = drawn
    table = tmp_path / "some.csv"
    table.write_text("id,ra,dec,petroR90_r\na,1,2,10\nb,3,4,\nc,5,6,-9999\nd,7,8,1e9\n")
    fetch(table, tmp_path / "cutouts")
    failures = rows(tmp_path / "cutouts/failures.csv")
    assert [row["object_id"] for row in failures] == ["b", "c", "d"]
    assert {row["reason"] for row in failures} == {
        "no petrosian radius that gives 0.015 to 60.0 arcsec/px"
    }


def test_offline_gives_what_is_there(services, server, galaxies, tmp_path):
    server.answers[SDSS] = drawn
    fetch(galaxies, tmp_path / "cutouts")
    (tmp_path / f"cutouts/images/{ROWS[0][0]}.jpg").unlink()
    server.seen.clear()
    told = fetch(galaxies, tmp_path / "cutouts", "--offline")
    assert "1 of 2 cutouts are in" in told.output
    (failure,) = rows(tmp_path / "cutouts/failures.csv")
    assert failure["reason"] == "not in the cache, and --offline was given"
    assert "1 could not be had: not in the cache, and --offline was given." in told.output
    assert "The same command without --offline asks for them again." in told.output
    assert not server.seen


def test_where_nothing_comes_the_reason_is_told_and_the_status(services, galaxies, tmp_path):
    for words in ((), ("--offline",)):
        told = fetch(galaxies, tmp_path / "cutouts", *words)
        assert told.exit_code == 2
        said = "not in the cache, and --offline was given" if words else "404 Not Found"
        assert f"none of 2 cutouts could be had: {said}" in told.output
        assert "[[survey]]" not in told.output
        assert len(rows(tmp_path / "cutouts/failures.csv")) == 2


def test_a_hips_survey_by_its_name(services, server, galaxies, tmp_path):
    server.answers["/hips2fits"] = drawn
    told = fetch(galaxies, tmp_path / "cutouts", "--from", "hips:CDS/P/SDSS9/color")
    assert told.exit_code == 0, told.output
    (asked,) = (ask.query for ask in server.seen["/hips2fits"] if ask.query["ra"] == "160.99")
    assert asked["hips"] == "CDS/P/SDSS9/color"
    assert (asked["projection"], asked["coordsys"], asked["rotation_angle"]) == (
        "TAN", "icrs", "0.0"
    )  # fmt: skip
    assert float(asked["fov"]) == pytest.approx(0.3 * 424 / 3600)  # deg
    assert asked["format"] == "jpg"


def test_a_hips_survey_in_fits(services, server, galaxies, tmp_path):
    def answer(ask):
        made = io.BytesIO()
        pixels = np.arange(64.0 * 64).reshape(64, 64)
        fits.PrimaryHDU(pixels).writeto(made)
        whole = made.getvalue()
        return Answer(whole if ask.query["ra"] == "160.99" else whole[:6000])

    server.answers["/hips2fits"] = answer
    words = ("--from", "hips:CDS/P/DSS2/red", "--format", "fits", "--size", "64")
    told = fetch(galaxies, tmp_path / "cutouts", *words)
    assert told.exit_code == 0, told.output
    assert fits.getdata(tmp_path / f"cutouts/images/{ROWS[0][0]}.fits")[1, 2] == 66
    (failure,) = rows(tmp_path / "cutouts/failures.csv")
    assert "its answer is no FITS image" in failure["reason"]


def test_an_error_of_hips2fits_is_told_in_its_own_words(services, server, galaxies, tmp_path):
    said = {"title": "Bad request", "description": "unknown HiPS"}
    server.answers["/hips2fits"] = Answer(json.dumps(said), 400)
    fetch(galaxies, tmp_path / "cutouts", "--from", "hips:CDS/P/none")
    first, _ = rows(tmp_path / "cutouts/failures.csv")
    assert first["reason"].startswith("400 Bad Request: ")
    assert "unknown HiPS" in first["reason"]


def test_two_sources_do_not_share_a_folder(services, server, galaxies, tmp_path):
    server.answers[SDSS] = server.answers["/hips2fits"] = drawn
    fetch(galaxies, tmp_path / "cutouts")
    told = fetch(galaxies, tmp_path / "cutouts", "--from", "hips:CDS/P/SDSS9/color")
    assert told.exit_code == 2
    assert "'origin': 'SDSS DR17 colour cutouts'" in told.output
    assert "give another --out" in told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "sloan"), "--from sloan is no source; give sdss, sdss-frames, or hips:NAME"),
        (("--from", "hips:a b"), "--from hips:a b names no HiPS"),
        (("--size", "32"), "--size 32: SDSS draws cutouts of 64 to 2048 px"),
        (("--id-column", "nope"), "has no column nope; its columns are: objid, ra"),
        (("--r90-column", "nope"), "has no column nope"),
    ],
)
def test_what_cannot_be_asked_for(services, galaxies, tmp_path, words, said):
    told = fetch(galaxies, tmp_path / "cutouts", *words)
    assert told.exit_code == 2
    assert said in told.output


def test_a_table_that_cannot_be_used_says_what_to_type(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("thing,ra,dec\na,1,2\n")
    with pytest.raises(BadInput, match=r"none of the columns object_id, .* by --id-column: thing"):
        read_targets(table)
    table.write_text("id,ra,dec\na,1,2\n")
    with pytest.raises(BadInput, match=r"--r90-column: id, ra, dec\. Or give --scale"):
        read_targets(table)
    table.write_text("id,ra,dec\na,1,\n")
    with pytest.raises(BadInput, match=r"a in row 1 has no position \(1 such rows\)"):
        read_targets(table, scale=1)
    table.write_text(f"id,ra,dec\n{'a' * 300},1,2\n")
    with pytest.raises(BadInput, match="cannot name a file"):
        read_targets(table, scale=1)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".hidden", "a/b", "SDSS J1+2", "é%"])
def test_an_id_is_the_name_of_a_file_and_of_no_other(name, tmp_path):
    stem = Target(name, 1, 2, 1).file_stem
    assert (tmp_path / f"{stem}.jpg").resolve().parent == tmp_path.resolve()
    assert not stem.startswith(".")
    others = {Target(other, 1, 2, 1).file_stem for other in ["%2E", "%2E.", "a%2Fb", "a", "%"]}
    assert stem not in others
