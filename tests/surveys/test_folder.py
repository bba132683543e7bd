import csv
import pickle

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from PIL import Image
from pydantic import ValidationError

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
        ({"keep": ["failure"]}, "failure is a column that ingest fills itself"),
        ({"name": ".mine"}, "should match pattern"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(folder, settings, message):
    with pytest.raises(ValidationError, match=message):
        listed(folder, **settings)


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
