import csv
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from PIL import Image
from pydantic import ValidationError

from discovery.config import load_config
from discovery.errors import BadInput
from discovery.surveys import FolderSurvey

IDS = [587742615639294556, 587742615639294557, 587742863676473405]


@pytest.fixture
def folder(tmp_path):
    """Three images under images/ and a table that lists them and one that is not there."""
    (tmp_path / "images").mkdir()
    for number, name in enumerate(("a.jpg", "b.png", "c.JPEG")):
        Image.new("RGB", (32, 32), (40 * number, 9, 9)).save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text(
        "objid,file,ra,dec,kind,published\n"
        f"{IDS[0]},images/a.jpg,10.5,-1.25,elliptical,False\n"
        f"{IDS[1]},images/b.png,11.5,1.25,merger,True\n"
        f"{IDS[2]},images/gone.jpg,,,elliptical,False\n"
        "1,images/c.JPEG,359.9,0,unsure,False\n"
    )
    return tmp_path


def listed(folder, **settings):
    columns = {"table": "labels.csv", "id_column": "objid", "image_column": "file"}
    return FolderSurvey(**{"name": "mine", "path": folder} | columns | settings)


def refusal(survey):
    with pytest.raises(BadInput) as caught:
        survey.validate()
    return str(caught.value)


def test_without_a_table_every_image_below_the_folder_is_a_row(folder):
    (folder / "images" / "notes.txt").write_text("not an image")
    (folder / "images" / ".hidden.jpg").write_text("nor this")
    for hidden in (".thumbnails", "images/.ipynb_checkpoints"):
        (folder / hidden).mkdir()
        (folder / hidden / "a-small.jpg").write_text("nor this, made by a program")
    survey = FolderSurvey(name="mine", path=folder, pixscale_arcsec=0.4, crop=0.5)
    survey.validate()
    rows = list(survey.rows(0, 10))
    assert [row["object_id"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {
        "object_id": "b",
        "image": (folder / "images" / "b.png").read_bytes(),
        "crop": 0.5,
        "pixscale_arcsec": 0.4,
    }
    assert len(survey) == 3


def test_two_files_of_one_name_are_named(folder):
    Image.new("RGB", (32, 32)).save(folder / "a.jpg")
    message = refusal(FolderSurvey(name="mine", path=folder))
    assert f'survey "mine": a.jpg and images/a.jpg in {folder} would both have the id a' in message
    assert "Rename one, or list the images in a table" in message


def test_an_image_that_a_table_lists_twice_is_named_with_its_row(folder):
    (folder / "labels.csv").write_text("image\nimages/a.jpg\nimages/a.jpg\n")
    message = refusal(FolderSurvey(name="mine", path=folder, table="labels.csv"))
    assert "file name a is there twice, again in row 2" in message


def test_a_file_too_large_to_be_a_cutout_is_not_read(folder, monkeypatch):
    with open(folder / "images/a.jpg", "r+b") as file:
        file.truncate(3 * 2**30)  # holes: it takes no room
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: b"read")
    rows = list(FolderSurvey(name="mine", path=folder).rows(0, 3))
    assert rows[0]["failure"] == "3,072 MiB is more than 64 MiB, too large a file"
    assert [row.get("image") for row in rows] == [None, b"read", b"read"]


def test_a_table_gives_ids_positions_captions_and_labels(folder):
    said = {"elliptical": "smooth", "merger": "merger"}
    survey = listed(
        folder,
        ra_column="ra",
        dec_column="dec",
        caption_column="kind",
        captions=said,
        keep=["kind"],
        search_where={"published": True},
    )
    survey.validate()
    first, second, third, fourth = survey.rows(0, 4)
    assert first == {
        "object_id": str(IDS[0]),
        "image": (folder / "images" / "a.jpg").read_bytes(),
        "crop": 1.0,
        "ra": 10.5,
        "dec": -1.25,
        "pixscale_arcsec": None,
        "caption": "sdss, smooth",
        "kind": "elliptical",
    }
    assert (second["caption"], second["split"]) == ("sdss, merger", "search")
    assert "image" not in third
    assert third["failure"] == f"no file images/gone.jpg in {folder}"
    assert (third["object_id"], third["ra"]) == (str(IDS[2]), None)
    assert fourth["caption"] is None
    assert "split" not in fourth
    copy = pickle.loads(pickle.dumps(survey))
    again = [*copy.rows(0, 2), *copy.rows(2, 4)]
    assert again == [first, second, third, fourth]


def test_a_column_of_captions_is_used_as_it_is(folder):
    rows = listed(folder, caption_column="kind", tag="hsc").rows(0, 4)
    said = [row["caption"] for row in rows]
    assert said == ["hsc, elliptical", "hsc, merger", "hsc, elliptical", "hsc, unsure"]


def test_kept_ids_that_a_float_cannot_hold_become_text(folder):
    (folder / "labels.csv").write_text(f"image,other,n\nimages/a.jpg,{IDS[1]},3\nimages/b.png,,4\n")
    survey = FolderSurvey(name="mine", path=folder, table="labels.csv", keep=["other", "n"])
    survey.validate()
    rows = list(survey.rows(0, 2))
    assert [row["other"] for row in rows] == [str(IDS[1]), None]
    assert [row["n"] for row in rows] == [3, 4]


@pytest.mark.parametrize("kind", ["parquet", "fits", "vot", "ecsv"])
def test_every_kind_of_table_gives_the_rows_of_the_csv(folder, kind):
    frame = pd.read_csv(folder / "labels.csv")
    path = folder / f"labels.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        Table.from_pandas(frame).write(
            path, format={"vot": "votable", "ecsv": "ascii.ecsv"}.get(kind, kind)
        )
    settings = {
        "ra_column": "ra",
        "dec_column": "dec",
        "caption_column": "kind",
        "search_where": {"published": True},
    }
    survey = listed(folder, table=path.name, **settings)
    survey.validate()
    assert list(survey.rows(0, 4)) == list(listed(folder, **settings).rows(0, 4))


@pytest.mark.parametrize("name", ["../secret.jpg", "images/../../secret.jpg", "/etc/secret.jpg"])
def test_an_image_outside_the_folder_is_refused(folder, name):
    with open(folder / "labels.csv", "a") as file:
        file.write(f"2,{name},,,merger,False\n")
    message = refusal(listed(folder))
    assert f"file {name} in row 5 is outside {folder}" in message
    assert "stay inside" in message


def test_a_repeated_id_is_named(folder):
    with open(folder / "labels.csv", "a") as file:
        file.write(f"{IDS[1]},images/c.JPEG,,,merger,False\n")
    assert f"objid {IDS[1]} is there twice, again in row 5" in refusal(listed(folder))


@pytest.mark.parametrize("spoilt", ["5.877426156392946e+17", "587742615639294556.0"])
def test_an_id_that_was_a_float_is_refused(folder, spoilt):
    with open(folder / "labels.csv", "a") as file:
        file.write(f"{spoilt},images/c.JPEG,,,merger,False\n")
    assert f"objid {spoilt} in row 5 was saved as a floating-point number" in refusal(
        listed(folder)
    )


def test_a_missing_column_is_answered_with_those_there_are(folder):
    message = refusal(listed(folder, ra_column="RAJ2000", dec_column="dec"))
    assert (
        "has no column RAJ2000; its columns are: objid, file, ra, dec, kind, published." in message
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("10.5", "361", "ra = 361.0 in row 1; valid is 0 to 360"),
        ("-1.25", "-999", "dec = -999.0 in row 1; valid is -90 to 90"),
        ("10.5", "00:42:00", "column ra holds text, not numbers, e.g. 00:42:00"),
        ("images/a.jpg", "", "file is empty in row 1"),
        (str(IDS[0]), "", "objid is empty in row 1"),
    ],
)
def test_an_impossible_value_is_named_with_its_row(folder, old, new, message):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    assert message in refusal(listed(folder, ra_column="ra", dec_column="dec"))


def test_a_value_that_matches_no_row_is_answered_with_those_there_are(folder):
    message = refusal(listed(folder, search_where={"published": "True"}))
    assert "search_where asks for published = 'True'" in message
    assert message.endswith("there: False, True.")
    message = refusal(listed(folder, caption_column="kind", captions={"eliptical": "smooth"}))
    assert "captions asks for kind = 'eliptical'" in message
    assert "'elliptical', 'merger', 'unsure'" in message


def test_an_empty_folder_is_named_with_what_is_valid(tmp_path):
    message = refusal(FolderSurvey(name="mine", path=tmp_path))
    assert f"there is no image in {tmp_path}" in message
    assert ".jpg, .jpeg, .png, .fits" in message


def test_a_table_none_of_whose_images_is_there(folder):
    message = refusal(listed(folder, images="images"))
    assert f"there is no image listed in {folder / 'labels.csv'} in {folder / 'images'}" in message


def test_a_missing_folder_names_the_key_of_the_run_file(tmp_path):
    message = refusal(FolderSurvey(name="mine", path=tmp_path / "gone"))
    assert f'survey "mine": path = "{tmp_path}/gone" is not a folder' in message
    assert "[[survey]]" in message
    message = refusal(FolderSurvey(name="mine", path=tmp_path, images="pictures"))
    assert f'images = "pictures" is no folder in {tmp_path}' in message


def test_a_file_that_the_system_cannot_read_is_a_failure(folder):
    (folder / "labels.csv").write_text(f"image\nimages\nimages/a.jpg\n{'x' * 300}.jpg\n")
    survey = FolderSurvey(name="mine", path=folder, table="labels.csv")
    survey.validate()
    a_folder, good, too_long = survey.rows(0, 3)
    assert a_folder["failure"].endswith("images cannot be read: Is a directory")
    assert too_long["failure"].endswith("cannot be read: File name too long")
    assert "image" in good


def test_the_fingerprint_covers_the_images_and_every_table(folder):
    (folder / "known.csv").write_text(f"objid\n{IDS[0]}\n")
    published = {"table": folder / "known.csv", "id_column": "objid", "bibcode": "x"}
    survey = listed(folder, published=published)
    seen = {survey.fingerprint()}
    (folder / "notes.txt").write_text("not read")
    assert survey.fingerprint() in seen
    for name in ("known.csv", "labels.csv", "images/a.jpg"):
        with open(folder / name, "ab") as file:
            file.write(b" ")
        seen.add(survey.fingerprint())
    (folder / "images" / "d.jpg").symlink_to("nowhere.jpg")
    seen.add(survey.fingerprint())
    assert len(seen) == 5


@pytest.mark.parametrize(
    "name", ["labels.txt", "labels.fits", "labels.parquet", "labels.vot", "gone.csv"]
)
def test_what_is_no_table_is_refused_with_the_kinds_that_are(folder, name):
    if name != "gone.csv":
        (folder / name).write_text("once upon a time\n")
    message = refusal(listed(folder, table=name))
    assert f'survey "mine": table = "{folder / name}"' in message
    assert "CSV (.csv), Parquet (.parquet), FITS (.fits, .fit), VOTable (.vot, .xml)" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ra_column": "ra"}, "both ra_column and dec_column"),
        ({"pixscale_column": "ra", "pixscale_arcsec": 0.2}, "not both"),
        ({"table": None}, r"columns are named \(objid\) but no table"),
        ({"captions": {"merger": "merger"}}, "no caption_column"),
        ({"keep": ["split"]}, "split is a column that ingest fills itself"),
        ({"keep": ["north_deg"]}, "north_deg is a column that ingest fills itself"),
        ({"keep": ["failure"]}, "failure is a column that ingest fills itself"),
        ({"name": ".mine"}, "should match pattern"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(folder, settings, message):
    with pytest.raises(ValidationError, match=message):
        listed(folder, **settings)


def frame(band: str, seed: int = 1, **cards) -> fits.PrimaryHDU:
    """32 x 32 px of noise with a star, half a degree from the pole of the sky, in one band."""
    light = np.random.default_rng(seed).normal(0.1, 0.02, (32, 32)).astype("f4")
    light[14:18, 14:18] += {"g": 1, "r": 2, "i": 3}[band]
    at = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 89.5}
    at |= {"CRPIX1": 16.5, "CRPIX2": 16.5, "CD1_1": -1e-4, "CD2_2": 1e-4, "FILTER": band}
    return fits.PrimaryHDU(light, fits.Header(list((at | cards).items())))


@pytest.fixture
def frames(tmp_path):
    """One file a band of galaxies a and b, of which b lacks one."""
    for name in ("g/a", "r/a", "i/a", "g/b", "i/b"):
        path = tmp_path / "bands" / f"{name}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame(name[0]).writeto(path)
    (tmp_path / "bands/g/notes.txt").write_text("not an image")
    return tmp_path


PER_BAND = {"file_per_band": "{band}/{id}.fits", "bands": ["i", "r", "g"]}


def test_one_file_a_band_is_one_row_an_object(frames):
    survey = FolderSurvey(name="mine", path=frames, images="bands", fits=PER_BAND)
    survey.validate()
    first, second = survey.rows(0, 5)
    assert (first["object_id"], first["bands"], first["north_deg"]) == ("a", "i,r,g", 0)
    assert (first["ra"], first["dec"]) == pytest.approx((10, 89.5), abs=1e-6)
    assert first["pixscale_arcsec"] == pytest.approx(0.36, rel=1e-4)
    assert second == {
        "object_id": "b", "failure": f"no file r/b.fits in {frames / 'bands'}", "crop": 1.0,
        "pixscale_arcsec": None,
    }  # fmt: skip
    before = survey.fingerprint()
    with open(frames / "bands/r/a.fits", "ab") as file:
        file.write(b" ")
    assert survey.fingerprint() != before


def test_a_table_names_the_files_of_bands_by_its_ids(frames):
    (frames / "labels.csv").write_text("id,ra,dec,px\na,,,0.5\nb,20,1,\n")
    columns = {"id_column": "id", "ra_column": "ra", "dec_column": "dec", "pixscale_column": "px"}
    survey = FolderSurvey(
        name="mine", path=frames, images="bands", table="labels.csv", fits=PER_BAND, **columns
    )
    survey.validate()
    first, second = survey.rows(0, 2)
    # What the table knows goes before what the header says.
    assert (first["ra"], first["pixscale_arcsec"]) == (pytest.approx(10), 0.5)
    assert (second["ra"], second["failure"]) == (20, f"no file r/b.fits in {frames / 'bands'}")
    (frames / "labels.csv").write_text("id,ra,dec,px\n../a,,,\n")
    assert "id ../a in row 1 is outside" in refusal(survey)
    with pytest.raises(ValidationError, match="needs id_column, to name files by"):
        FolderSurvey(name="mine", path=frames, table="labels.csv", fits=PER_BAND)


def test_a_folder_without_a_file_of_any_band_says_what_names_are_looked_for(frames):
    named = PER_BAND | {"file_per_band": "{id}_{band}.fits"}
    message = refusal(FolderSurvey(name="mine", path=frames, images="bands", fits=named))
    assert "images are {id}_{band}.fits files" in message


def test_the_light_that_fits_are_taken_to_hold_is_said_unless_it_was_told(frames, folder, capsys):
    survey = FolderSurvey(name="mine", path=frames, images="bands", fits=PER_BAND)
    survey.validate()
    said = capsys.readouterr().err
    assert 'survey "mine": FITS images are shown with light = 1, as if in nanomaggies' in said
    assert "those of Legacy Surveys need light = 2.28 under [survey.fits]" in said
    told = PER_BAND | {"light": 1.0}
    FolderSurvey(name="mine", path=frames, images="bands", fits=told).validate()
    FolderSurvey(name="mine", path=folder, images="images").validate()
    assert capsys.readouterr().err == ""


def test_fits_and_jpeg_may_lie_in_one_folder(folder):
    for name in ("x.fits", "y.fits.gz", "z.v2.FIT"):
        frame("r").writeto(folder / "images" / name)
    (folder / "images/w.fits").write_bytes(b"<html>404</html>")
    survey = FolderSurvey(name="mine", path=folder, fits={"bands": ["r"]})
    survey.validate()
    rows = {row["object_id"]: row for row in survey.rows(0, 10)}
    assert list(rows) == ["a", "b", "c", "w", "x", "y", "z.v2"]
    assert rows["x"]["image"] == rows["y"]["image"] == rows["z.v2"]["image"]
    assert rows["w"]["failure"] == "not FITS"
    assert "bands" not in rows["a"]


def test_published_objects_come_as_known(folder):
    (folder / "known.csv").write_text(f"objid,ra,dec\n{IDS[0]},10.5,-1.25\n{IDS[2]},20.5,2\n")
    published = {
        "table": folder / "known.csv",
        "id_column": "objid",
        "ra_column": "ra",
        "dec_column": "dec",
        "bibcode": "2012MNRAS.423...49K",
    }
    known = listed(folder, published=published).known()
    assert known.to_dict("records")[1] == {
        "object_id": str(IDS[2]),
        "ra": 20.5,
        "dec": 2.0,
        "name": str(IDS[2]),
        "bibcode": "2012MNRAS.423...49K",
        "in_training": False,
    }
    assert listed(folder).known().empty
    assert list(listed(folder).known().columns) == list(known.columns)
    published["ra_column"] = "RA"
    assert "has no column RA; its columns are: objid, ra, dec." in refusal(
        listed(folder, published=published)
    )


def test_a_known_list_must_say_how_to_match(folder):
    table = {"table": folder / "known.csv", "bibcode": "2012MNRAS.423...49K"}
    with pytest.raises(
        ValidationError, match="id_column, or ra_column and dec_column, to match by"
    ):
        listed(folder, published=table)


def test_the_real_positives_are_searched_and_lie_where_they_were_published(real_data):
    published = real_data / "catalogues" / "dlsg_kaviraj2012" / "dlsg_basic.csv"
    survey = FolderSurvey(
        name="radec",
        path=real_data / "sdss_radec",
        table="labels.csv",
        ra_column="ra",
        dec_column="dec",
        pixscale_column="pixscale_arcsec",
        search_where={"in_dlsg": True},
        published={
            "table": published,
            "id_column": "dr7objid",
            "ra_column": "ra",
            "dec_column": "dec",
            "bibcode": "2012MNRAS.423...49K",
        },
    )
    survey.validate()
    rows = list(survey.rows(0, len(survey)))
    assert len(rows) == 7359
    fixed = [row for row in rows if row.get("split") == "search"]
    assert len(fixed) == 7
    known = survey.known()
    with open(published) as file:
        assert list(known["object_id"]) == [row["dr7objid"] for row in csv.DictReader(file)]
    here = SkyCoord([r["ra"] for r in fixed], [r["dec"] for r in fixed], unit="deg")
    there = SkyCoord(known["ra"], known["dec"], unit="deg")
    _, separation, _ = here.match_to_catalog_sky(there)
    assert np.all(separation.arcsec < 3)


def test_the_real_galaxy_zoo_1_galaxies(real_data):
    said = {"elliptical": "smooth", "edge_on": "edge-on galaxy", "merger": "merger"}
    survey = FolderSurvey(
        name="gz1",
        path=real_data / "gz1_objid",
        table="labels.csv",
        id_column="dr7objid",
        caption_column="gz1_class",
        captions=said,
    )
    survey.validate()
    rows = list(survey.rows(0, len(survey)))
    captions = pd.Series([row["caption"] for row in rows]).value_counts().to_dict()
    assert captions == {"sdss, smooth": 1400, "sdss, edge-on galaxy": 289, "sdss, merger": 39}
    assert all((real_data / f"gz1_objid/images/{row['object_id']}.jpg").exists() for row in rows)


def test_the_real_fits_images(real_data):
    """Judged by eye too: what is read are galaxies, what is refused shows none."""
    survey = FolderSurvey(name="fits", path=real_data / "fits_real")
    survey.validate()
    rows = {row["object_id"]: row for row in survey.rows(0, 20)}
    failures = {name: row["failure"] for name, row in rows.items() if "failure" in row}
    assert len(rows) == 10
    assert failures.pop("decals_grz_example_bad_pix").startswith("79% of the image is without data")
    assert failures.pop("decals_grz_example_incomplete") == (
        "truncated: its header promises 2,157,312 bytes of data, and 1,386,164 are there"
    )
    assert all("its bands are r, neither i, r, g nor z, r, g" in text for text in failures.values())
    shown = rows["decals_grz_bcnn_a"]
    assert (shown["bands"], shown["missing_pixels"], shown["north_deg"]) == ("z,r,g", 0, 0)
    assert shown["pixscale_arcsec"] == pytest.approx(0.262, rel=1e-6)  # Legacy Surveys' pixel
    grey = FolderSurvey(name="fits", path=real_data / "fits_real", fits={"bands": ["r"]})
    tilted = {row["object_id"]: row for row in grey.rows(0, 20)}["sdss_r_n3073rss_small"]
    assert tilted["pixscale_arcsec"] == pytest.approx(0.396, rel=1e-4)
    # NGC 3073 lies at 10 00 52.1 +55 37 08 (J2000), beside the middle of the cutout
    here = SkyCoord(tilted["ra"], tilted["dec"], unit="deg")
    assert here.separation(SkyCoord("10h00m52.1s +55d37m08s")).arcsec < 20


def test_the_shortest_run_file_of_the_docs_is_whole(tmp_path):
    docs = Path(__file__).parents[2] / "docs" / "surveys.md"
    snippet = docs.read_text().split("```toml\n")[1].split("```")[0]
    (tmp_path / "shortest.toml").write_text(snippet)
    (survey,) = load_config(tmp_path / "shortest.toml").survey
    assert (survey.kind, survey.name) == ("folder", "mine")
