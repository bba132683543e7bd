"""Cutouts of SDSS frames, from a sky that is known everywhere."""

import bz2
import csv
import io
import re
from functools import cache

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import center_of_mass

from discovery.cli import main
from discovery.config import load_config
from discovery.fetch import fields as sdss_fields
from discovery.fetch.fields import Field, parse_fields
from discovery.fetch.frames import (
    LARGEST_FRAME_BYTES,
    FrameStore,
    frame_url,
    neighbours,
    read_frame,
)
from discovery.fetch.services import Services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.fetch.targets import Target
from tests.fetch.httpd import Answer

# Of old names of keywords, which SDSS's headers have, and of files that are cut off.
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")

CROSSID = "/skyserver/dr17/en/tools/search/X_Results.aspx"
COLUMNS_OF_TABLES = "/skyserver/dr17/en/tools/search/x_results.aspx"
HEIGHT, WIDTH, OVERLAP = 110, 160, 20  # px; of SDSS 1489, 2048, 128
SCALE = 0.396 / 3600  # deg
RA, DEC = 180.0, 30.0  # of the first frame's middle
SHIFT = {"g": (3.3, -7.4), "r": (0.0, 0.0), "i": (-2.6, 5.2)}  # px that a band lies aside
COLOUR = {"g": 0.5, "r": 1.0, "i": 1.6}
GALAXY = "a galaxy"  # its place, from the middle of the first frame: px along the rows, the run
OFFSETS = {GALAXY: (4.3, 3.8), "between two fields": (-10.2, 45.6), "at the side": (71.0, 2.0)}


def wcs_of(field, band):
    """A drift scan: north 30 degrees aside, and the next field further along the columns."""
    dx, dy = SHIFT[band]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = RA, DEC
    wcs.wcs.crpix = WIDTH / 2 + dx, HEIGHT / 2 + dy - (field - 84) * (HEIGHT - OVERLAP)
    turn = np.radians(30)
    matrix = [[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wcs.wcs.cd = SCALE * np.array(matrix)
    return wcs


@cache
def place(name):
    x, y = OFFSETS[name]
    wcs = wcs_of(84, "r")
    ((ra, dec),) = wcs.wcs_pix2world([[wcs.wcs.crpix[0] + x, wcs.wcs.crpix[1] + y]], 1)
    return float(ra), float(dec)


def light(ra, dec, band):
    """A galaxy 2.5 px wide at every place of OFFSETS, on a sky that brightens to the north."""
    sky = COLOUR[band] * (0.1 + (dec - DEC) * 5)
    for name in OFFSETS:
        there = place(name)
        east = (ra - there[0]) * np.cos(np.radians(there[1]))
        apart_px = np.hypot(east, dec - there[1]) / SCALE
        sky = sky + COLOUR[band] * 10 * np.exp(-0.5 * (apart_px / 2.5) ** 2)
    return sky


@cache
def frame(field, band):
    """As the archive has it: FITS in bzip2, with an image of floats and a table behind."""
    wcs = wcs_of(field, band)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = light(*wcs.wcs_pix2world(x, y, 0), band).astype(np.float32)
    header = wcs.to_header()
    header["FILTER"], header["RADECSYS"] = band, "ICRS"
    made = io.BytesIO()
    columns = [fits.Column("ALLSKY", "4E", array=np.ones((1, 4)))]
    fits.HDUList([fits.PrimaryHDU(pixels, header), fits.BinTableHDU.from_columns(columns)]).writeto(
        made
    )
    return bz2.compress(made.getvalue())


def path_of(field, band):
    """As https://data.sdss.org/sas has it."""
    return f"/sas/dr17/eboss/photoObj/frames/301/3836/4/frame-{band}-003836-4-{field:04d}.fits.bz2"


def crossid(ask):
    """SkyServer's CSV: an object within an arcsec of every position, all in field 84."""
    places = re.findall(rb"^ ?obj_\d+ (\S+) (\S+)", ask.body, re.M)
    found = [f"{float(ra)},{float(dec) + 1 / 3600},3836,301,4,84" for ra, dec in places]
    return Answer("\n".join(["#Table1", "ra,dec,run,rerun,camcol,field", *found, ""]))


@pytest.fixture
def sdss(services, server, monkeypatch):
    """SkyServer and the archive, with three fields of a run; this SkyServer is asked faster."""
    monkeypatch.setattr(sdss_fields, "PER_SECOND", 20)
    server.answers[CROSSID] = crossid
    server.answers[COLUMNS_OF_TABLES] = Answer('[{"Rows": [{"name": "ra"}]}]')
    for field in (83, 84, 85):
        for band in "gri":
            server.answers[path_of(field, band)] = Answer(frame(field, band))
    return server


def fetch(tmp_path, names, *more, scale=0.396, size=40):
    table = tmp_path / "galaxies.csv"
    lines = [f"{name},{place(name)[0]!r},{place(name)[1]!r}" for name in names]
    table.write_text("\n".join(["id,ra,dec", *lines]))
    words = ["--from", "sdss-frames", "--scale", str(scale), "--size", str(size), "--rate", "20"]
    words = ["fetch", "cutouts", str(table), "--out", str(tmp_path / "out"), *words, *more]
    return CliRunner().invoke(main, words)


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def frames_asked(server):
    asked = [path for path in server.seen if path.startswith("/sas/")]
    return {path.rpartition("/")[2]: len(server.seen[path]) for path in asked}


def assert_is_the_sky(file, bands="gri"):
    """Every plane shows, at every pixel, the light of the place that the WCS says it has."""
    with fits.open(file) as hdus:
        cube, header = hdus[0].data, hdus[0].header
    assert header["BANDS"] == bands
    y, x = np.mgrid[: cube.shape[1], : cube.shape[2]]
    ra, dec = WCS(header, naxis=2).wcs_pix2world(x, y, 0)
    for band, plane in zip(bands, cube, strict=True):
        np.testing.assert_allclose(plane, light(ra, dec, band), atol=0.02 * COLOUR[band])
    return cube, WCS(header, naxis=2)


def test_three_bands_on_the_pixels_of_r(sdss, tmp_path):
    told = fetch(tmp_path, [GALAXY])
    assert told.exit_code == 0, told.output
    file = tmp_path / "out/images/a galaxy.fits"
    cube, wcs = assert_is_the_sky(file)
    assert cube.shape == (3, 40, 40)
    x, y = wcs.wcs_world2pix(*place(GALAXY), 0)
    assert np.hypot(x - 19.5, y - 19.5) <= np.hypot(0.5, 0.5) + 1e-6  # to the nearest pixel
    whole = fits.open(io.BytesIO(bz2.decompress(frame(84, "r"))))[0].data
    row, column = np.argwhere(whole == cube[1, 0, 0])[0]
    assert np.array_equal(cube[1], whole[row : row + 40, column : column + 40])  # r as it came
    header = fits.getheader(file)
    assert [header[n] for n in ("RUN", "RERUN", "CAMCOL", "FIELD")] == [3836, 301, 4, 84]
    assert header["BUNIT"] == "nanomaggy"
    assert frames_asked(sdss).keys() == {f"frame-{band}-003836-4-0084.fits.bz2" for band in "gri"}


def test_the_folder_is_a_survey_as_the_printed_lines_say(sdss, tmp_path):
    told = fetch(tmp_path, [GALAXY, "at the side"])
    section = told.output[told.output.index("[[survey]]") :]
    run_file = tmp_path / "run.toml"
    run_file.write_text(f'name = "mine"\n{section}\n[generator]\nstart = "shipped"\nsteps = 1\n')
    (survey,) = load_config(run_file).survey
    survey.validate()
    row, without = survey.rows(0, 2)
    assert without["failure"].startswith("no file at the side.fits in ")
    assert (row["bands"], row["pixscale_arcsec"], row["missing_pixels"]) == ("i,r,g", 0.396, 0)
    assert (row["ra"], row["dec"]) == place(GALAXY)
    picture = np.asarray(Image.open(io.BytesIO(row["image"])))
    assert picture.shape == (40, 40, 3)
    middle = center_of_mass(picture.sum(axis=2) > 400)
    assert np.abs(np.subtract(middle, 19.5)).max() <= 1
    assert np.isclose(abs(row["north_deg"]), 30, atol=0.1)  # as the columns of the frame lie


def test_a_galaxy_between_two_fields_has_light_of_both(sdss, tmp_path):
    told = fetch(tmp_path, ["between two fields"])
    assert told.exit_code == 0, told.output
    cube, _ = assert_is_the_sky(tmp_path / "out/images/between two fields.fits")
    assert np.isfinite(cube).all()
    assert frames_asked(sdss).keys() == {
        f"frame-{band}-003836-4-{field:04d}.fits.bz2" for band in "gri" for field in (84, 85)
    }


def test_where_the_run_ends_the_edge_is_told(sdss, tmp_path):
    for band in "gri":
        del sdss.answers[path_of(85, band)]
    fetch(tmp_path, ["between two fields"])
    (failure,) = rows(tmp_path / "out/failures.csv")
    # The cutout has rows 80 to 119 of r; the frame of i shows its row 103 5.2 rows lower in r.
    assert failure["reason"] == (
        "55% of the cutout lies beyond the edge of the frames; up to 5% is left without data"
    )


def test_a_little_beyond_the_side_is_no_data(sdss, tmp_path):
    fetch(tmp_path, ["at the side"], size=18)
    (failure,) = rows(tmp_path / "out/failures.csv")
    assert "beyond the edge" in failure["reason"]
    told = fetch(tmp_path, ["at the side"], "--bands", "r", "--out", str(tmp_path / "r"), size=18)
    assert "1 of 1 cutouts" in told.output
    (plane,) = fits.getdata(tmp_path / "r/images/at the side.fits")
    # The frame ends 80 - 71 px from the galaxy: 18 columns, of which none or one is beyond.
    beyond = np.isnan(plane).all(axis=0)
    assert np.isnan(plane).sum() == beyond.sum() * 18
    assert beyond.sum() <= 1


def test_the_table_tells_scale_and_width_and_a_new_field_comes_anew(sdss, tmp_path):
    fetch(tmp_path, [GALAXY], scale=0.2, size=100)
    (row,) = rows(tmp_path / "out/table.csv")
    # 0.2 x 100 arcsec are 50.5 px
    assert (row["pixscale_arcsec"], row["width"], row["image"]) == ("0.396", "51", "a galaxy.fits")
    assert fits.getdata(tmp_path / "out/images/a galaxy.fits").shape == (3, 51, 51)
    fetch(tmp_path, [GALAXY], "--yes", scale=0.3, size=100)
    assert fits.getdata(tmp_path / "out/images/a galaxy.fits").shape == (3, 76, 76)


def test_a_frame_is_fetched_once_and_positions_are_asked_once(sdss, tmp_path):
    told = fetch(tmp_path, list(OFFSETS), size=18)
    assert "2 of 3 cutouts" in told.output
    assert set(frames_asked(sdss).values()) == {1}
    assert len(sdss.seen[CROSSID]) == 1
    for file in (tmp_path / "out/images").iterdir():
        file.unlink()
    sdss.seen.clear()
    told = fetch(tmp_path, list(OFFSETS), "--offline", size=18)
    assert "2 of 3 cutouts" in told.output
    assert not sdss.seen


def test_no_answer_comes_from_a_cache_that_is_not_ours(sdss, tmp_path, monkeypatch):
    assert "1 of 1 cutouts" in fetch(tmp_path, [GALAXY]).output
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    sdss.answers[CROSSID] = Answer("#Table1\nNo objects have been found\n")
    told = fetch(tmp_path, [GALAXY], "--out", str(tmp_path / "again"))
    assert "SDSS has no object within 30 arcsec" in told.output
    assert len(sdss.seen[CROSSID]) == 2


def test_offline_without_frames(sdss, tmp_path):
    told = fetch(tmp_path, [GALAXY], "--offline")
    assert told.exit_code == 2
    assert "none of 1 cutouts could be had: which frame shows it: not in the cache" in told.output
    (failure,) = rows(tmp_path / "out/failures.csv")
    assert failure["reason"] == ("which frame shows it: not in the cache, and --offline was given")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("gone", 404), "404 Not Found: gone"),
        (Answer("<html>Sorry</html>"), "its frame cannot be unpacked (Invalid data stream)"),
        (Answer(frame(84, "g")[:-200]), "its frame cannot be unpacked (Compressed file ended"),
        (Answer(bz2.compress(b"SIMPLE  = nothing")), "its frame is no FITS image: "),
        (Answer(b"x", declared=100 * 2**30), "longer than the 32 MiB"),
        (Answer(bz2.compress(bytes(LARGEST_FRAME_BYTES + 1))), "unpacks to more than 64 MiB"),
    ],
)
def test_what_is_no_frame_is_a_reason_and_not_kept(sdss, tmp_path, answer, reason):
    whole = sdss.answers[path_of(84, "g")]
    sdss.answers[path_of(84, "g")] = answer
    told = fetch(tmp_path, [GALAXY])
    assert told.exit_code == 2, told.output
    (failure,) = rows(tmp_path / "out/failures.csv")
    assert reason in failure["reason"]
    sdss.answers[path_of(84, "g")] = whole
    assert "1 of 1 cutouts" in fetch(tmp_path, [GALAXY]).output


def fits_of(**header):
    made = io.BytesIO()
    hdu = fits.PrimaryHDU(np.zeros((20, 20), np.float32))
    hdu.writeto(made)
    content = made.getvalue()
    for name, value in header.items():
        card = re.search(rf"{name:8}= .{{20}}".encode(), content)[0]
        content = content.replace(card, f"{name:8}= {value:>20}".encode())
    return bz2.compress(content)


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (fits_of(), "its frame does not say where on the sky it lies"),
        (fits_of(NAXIS1=100_000, NAXIS2=250_000), "its frame is of 250000 x 100000 px, which none"),
        (fits_of(NAXIS1=4000, NAXIS2=4000), "its frame is no FITS image: "),
    ],
)
def test_headers_are_not_believed(packed, reason):
    with pytest.raises(Unanswered, match=re.escape(reason)):
        read_frame(packed)


def test_a_field_too_large_or_too_small_for_frames(sdss, tmp_path):
    fetch(tmp_path, [GALAXY], scale=10, size=424)
    (failure,) = rows(tmp_path / "out/failures.csv")
    # 10 x 424 / 0.396
    assert failure["reason"] == "its field has 10,707 px of 0.396 arcsec; frames give 16 to 1,489"
    fetch(tmp_path, [GALAXY], "--out", str(tmp_path / "small"), scale=0.1, size=40)
    (failure,) = rows(tmp_path / "small/failures.csv")
    assert failure["reason"].startswith("its field has 10 px")
    assert not frames_asked(sdss)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("#Table1\nra,dec,run,rerun,camcol,field\n"), "SDSS has no object within 30 arcsec"),
        (Answer("#Table1\nNo objects have been found\n"), "SDSS has no object within 30 arcsec"),
        (
            Answer("#Table1\nra,dec,run,rerun,camcol,field\n180,31,3836,301,4,84\n"),
            "SDSS has no object within 30 arcsec",
        ),
        (
            Answer("<html>Sorry</html>"),
            "which frame shows it: answered with a table without camcol",
        ),
        (Answer("/etc/passwd"), "which frame shows it: answered with a table without camcol"),
        (Answer("busy", 503), "which frame shows it: 503 Service Unavailable: busy"),
        (Answer("x", declared=100 * 2**30), "which frame shows it: its answer of 102,400 MiB"),
    ],
)
def test_what_says_no_frame_is_a_row_with_its_reason(sdss, tmp_path, answer, reason):
    sdss.answers[CROSSID] = answer
    told = fetch(tmp_path, [GALAXY])
    assert told.exit_code == 2, told.output
    (failure,) = rows(tmp_path / "out/failures.csv")
    assert failure["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("180,30,../../x,301,4,84", "a run that is none of 1 to 99999"),
        ("180,30,3836,301,7,84", "a camcol that is none of 1 to 6"),
        ("180,30,3836,301,4,-1", "a field that is none of 1 to 9999"),
        ("180,30,3836,301,4,", "a field that is none of 1 to 9999"),
        ("here,30,3836,301,4,84", "a ra that is none of 0 to 360"),
        ("180,nan,3836,301,4,84", "a dec that is none of -90 to 90"),
        (",30,3836,301,4,84", "a ra that is none of 0 to 360"),
    ],
)
def test_a_row_that_names_no_frame_is_refused(row, reason):
    with pytest.raises(Unanswered, match=reason):
        parse_fields(f"#Table1\nra,dec,run,rerun,camcol,field\n{row}\n")


@pytest.mark.parametrize("bands", ["", "x", "rr", "g r"])
def test_bands_that_sdss_has_not(services, tmp_path, bands):
    told = fetch(tmp_path, [GALAXY], "--bands", bands)
    assert told.exit_code == 2
    assert f"--bands {bands}: give some of u,g,r,i,z, each once." in told.output


@pytest.mark.parametrize(
    ("release", "part"),
    [
        (12, "/dr12/boss/photoObj/"),
        (17, "/dr17/eboss/photoObj/"),
        (18, "/dr18/prior-surveys/sdss4-dr17-eboss/photoObj/"),
    ],
)
def test_addresses_are_those_of_astroquery(release, part):
    url = frame_url(Services(), release)(Field(94, 301, 1, 12), "z")
    assert url == f"https://data.sdss.org/sas{part}frames/301/94/1/frame-z-000094-1-0012.fits.bz2"


def test_frames_on_disk_are_bounded_and_the_longest_unused_go(services, server, tmp_path):
    content = frame(84, "r")
    for field in (1, 2, 3):
        server.answers[f"/{field}.fits.bz2"] = Answer(content)
    store = FrameStore(
        tmp_path,
        PoliteSession(services, 20),
        lambda field, band: f"{server.url}/{field.field}.fits.bz2",
        most_bytes=2 * len(content),
    )
    for field in (1, 2, 1, 3):
        store.get(Field(1, 301, 1, field), "r")
    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".bz2"} == {
        "301-1.fits.bz2", "301-3.fits.bz2"
    }  # fmt: skip


def test_a_frame_that_rotted_on_disk_comes_anew(sdss, tmp_path, services):
    url = f"{sdss.url}{path_of(84, 'r')}"
    store = FrameStore(tmp_path / "kept", PoliteSession(services, 20), lambda *_: url)
    first = store.get(Field(3836, 301, 4, 84), "r").light
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert np.array_equal(store.get(Field(3836, 301, 4, 84), "r").light, first)
    assert len(sdss.seen[path_of(84, "r")]) == 2
    assert file.read_bytes() == frame(84, "r")


@pytest.mark.parametrize(("row", "fields"), [(5, [83]), (55, []), (105, [85])])
def test_neighbours_are_those_on_the_side_of_the_edge(row, fields):
    shown = read_frame(frame(84, "r"))
    ((ra, dec),) = wcs_of(84, "r").wcs_pix2world([[80, row]], 0)
    found = neighbours(shown, Field(3836, 301, 4, 84), Target("a", ra, dec, 0.396), 20)
    assert [field.field for field in found] == fields
