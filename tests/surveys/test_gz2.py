import csv
import gzip
import io
import pickle
import shutil
import zipfile

import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from discovery.errors import BadInput
from discovery.morphology.captions import CaptionRules
from discovery.surveys import GZ2Survey
from discovery.surveys.ingest import Part, read_part

# Neighbouring ids beyond 2^53: as float64 the first two are the same number.
IDS = [587742615639294556, 587742615639294557, 587722982300516593]
SMOOTH = "t01_smooth_or_features_a01_smooth_debiased"


def jpeg(width=424, colour=(90, 60, 30)):
    made = io.BytesIO()
    Image.new("RGB", (width, width), colour).save(made, "JPEG")
    return made.getvalue()


def write_csv(path, header, rows, opener=open):
    with opener(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def release(tmp_path):
    """Three mapped galaxies: votes for the second and first, an image for the first and third."""
    folder = tmp_path / "gz2"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "11.jpg").write_bytes(jpeg())
    (folder / "images" / "33.jpg").write_bytes(jpeg(299))
    mapped = [[IDS[0], "original", 11], [IDS[1], "original", 22], [IDS[2], "extra", 33]]
    write_csv(folder / "gz2_filename_mapping.csv", ["objid", "sample", "asset_id"], mapped)
    votes = [[IDS[1], "A", 0.25, 41, 248.7, 11.9], [IDS[0], "B", 0.75, 38, 248.6, 11.9]]
    header = ["dr7objid", "gz2class", SMOOTH, "total_classifications", "ra", "dec"]
    write_csv(folder / "gz2_hart16.csv.gz", header, votes, gzip.open)
    return folder


def survey(folder, **settings):
    return GZ2Survey(name="gz2", path=folder, **settings)


def test_votes_are_joined_on_every_digit_of_the_objid(release):
    found = survey(release)
    found.validate()
    rows = list(found.rows(0, 3))
    assert [row["object_id"] for row in rows] == [str(objid) for objid in IDS]
    assert rows[0][SMOOTH] == 0.75
    assert rows[0]["total_classifications"] == 38
    assert (rows[0]["ra"], rows[0]["dec"]) == (248.6, 11.9)
    assert rows[0]["image"] == (release / "images" / "11.jpg").read_bytes()
    assert rows[0]["crop"] == 0.5
    assert "gz2class" not in rows[0]


def test_a_mapped_galaxy_without_image_is_a_failure_with_its_reason(release):
    (row,) = survey(release).rows(1, 2)
    assert "image" not in row
    assert row["failure"] == f"no image of its asset_id in {release / 'images'}"
    assert (row["object_id"], row["ra"], row["dec"]) == (str(IDS[1]), 248.7, 11.9)


def test_an_image_without_votes_is_kept_with_null_votes(release):
    (row,) = survey(release).rows(2, 3)
    assert row["image"] == (release / "images" / "33.jpg").read_bytes()
    assert row[SMOOTH] is None
    assert row["total_classifications"] is None
    assert row["ra"] is None


def test_rows_are_the_same_in_any_slices_and_after_pickling(release):
    found = survey(release)
    found.validate()
    copy = pickle.loads(pickle.dumps(found))
    assert len(found) == 3
    assert list(found.rows(0, 3)) == [*copy.rows(0, 1), *copy.rows(1, 3)]


def test_photometry_beside_the_votes_gives_sizes_and_the_pixel_scale(release):
    header = ["OBJID", "PETROR90_R", "REDSHIFT", "PETROMAG_R"]
    write_csv(release / "gz2sample.csv", header, [[IDS[0], 10, 0.05, 15.5], [IDS[2], 8, "", 16]])
    first, _, third = survey(release).rows(0, 3)
    assert (first["z"], first["petro_r_mag"], first["petro_r90_arcsec"]) == (0.05, 15.5, 10)
    assert first["pixscale_arcsec"] == pytest.approx(0.2)  # 0.02 x 10 arcsec
    assert first["ra"] == 248.6
    assert third["z"] is None
    assert third["pixscale_arcsec"] == pytest.approx(0.02 * 8 * 424 / 299)  # the same field


def test_what_sdss_did_not_measure_is_null_and_said(release, capsys):
    header = ["OBJID", "PETROR90_R", "REDSHIFT", "PETROMAG_R"]
    unmeasured = [[IDS[0], -9999, -9999, -9999.0], [IDS[2], 8, 0.05, 16]]
    write_csv(release / "gz2sample.csv", header, unmeasured)
    found = survey(release)
    found.validate()
    said = capsys.readouterr().err
    assert (
        "gz2sample.csv: REDSHIFT says not measured (e.g. -9999) in 1 rows; z is null there" in said
    )
    first, _, third = found.rows(0, 3)
    assert [first[name] for name in ("z", "petro_r_mag", "petro_r90_arcsec")] == [None] * 3
    assert first["pixscale_arcsec"] is None
    assert (third["z"], third["petro_r_mag"]) == (0.05, 16)
    write_csv(release / "gz2sample.csv", header, [[IDS[0], 10, 0.05, 150]])
    with pytest.raises(BadInput, match=r"PETROMAG_R = 150\.0 in row 1; valid is 0 to 40"):
        survey(release).validate()


def test_the_layout_of_the_published_archive_is_found(release):
    (release / "images").rename(release / "inner")
    (release / "images_gz2").mkdir()
    (release / "inner").rename(release / "images_gz2" / "images")
    survey(release).validate()
    assert "image" in next(survey(release).rows(0, 1))


def test_ids_saved_as_floats_are_refused(release):
    votes = [["5.87742615639294556E17", 0.25]]
    (release / "gz2_hart16.csv.gz").unlink()
    write_csv(release / "gz2_hart16.csv", ["dr7objid", SMOOTH], votes)
    with pytest.raises(BadInput, match=r"gz2_hart16\.csv: dr7objid is not a whole number in every"):
        survey(release).validate()


def test_a_galaxy_with_two_rows_of_votes_is_refused_by_its_id(release):
    write_csv(
        release / "gz2_hart16.csv.gz", ["dr7objid", SMOOTH], [[7, 0], [8, 1], [7, 1]], gzip.open
    )
    with pytest.raises(BadInput, match="dr7objid 7 is there twice"):
        survey(release).validate()


def test_what_is_missing_is_named(release):
    (release / "gz2_hart16.csv.gz").unlink()
    with pytest.raises(
        BadInput, match=r"one vote table gz2_hart16\*\.csv or \.csv\.gz \(there: none"
    ):
        survey(release).validate()
    (release / "gz2_filename_mapping.csv").write_text("id,asset\n1,2\n")
    with pytest.raises(BadInput, match=r"no column objid; its columns are: id, asset\."):
        survey(release).validate()
    (release / "gz2_filename_mapping.csv").unlink()
    with pytest.raises(BadInput, match=r"gz2_filename_mapping\.csv\" is not a file"):
        survey(release).validate()
    (release / "images").rename(release / "pictures")
    with pytest.raises(BadInput, match="looked for images/, images_gz2/images/, images_gz2/"):
        survey(release).validate()


def test_images_that_belong_to_no_mapped_galaxy_are_refused(release):
    for asset in (11, 33):
        (release / "images" / f"{asset}.jpg").rename(release / "images" / f"other{asset}.jpg")
    with pytest.raises(BadInput, match=r"named <asset_id>\.jpg .* e\.g\. 11\.jpg"):
        survey(release).validate()


def test_an_impossible_position_is_refused_by_row(release):
    header = ["dr7objid", SMOOTH, "ra", "dec"]
    write_csv(
        release / "gz2_hart16.csv.gz", header, [[IDS[0], 0, 1, 2], [IDS[1], 0, 1, -999]], gzip.open
    )
    with pytest.raises(BadInput, match=r"dec = -999\.0 in row 2; valid is -90 to 90"):
        survey(release).validate()


def test_fractions_must_make_a_whole(release):
    with pytest.raises(ValidationError, match=r"train \+ validation \+ search is 1\.2"):
        survey(release, train=0.9)
    found = survey(release, train=0.5, validation=0.2, search=0.3)
    assert found.split_fractions == {"train": 0.5, "validation": 0.2, "search": 0.3}


def test_the_real_slice(real_data):
    folder = real_data / "gz2_release_sample"
    found = survey(folder)
    found.validate()
    rows = {row["object_id"]: row for row in found.rows(0, len(found))}
    with open(folder / "gz2_filename_mapping.csv") as file:
        asset = {row["objid"]: row["asset_id"] for row in csv.DictReader(file)}
    with open(folder / "gz2_hart16_sample.csv") as file:
        votes = {row["dr7objid"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(asset)
    assert len(rows) == 791
    for objid, row in rows.items():
        assert row["image"] == (folder / "images" / f"{asset[objid]}.jpg").read_bytes()
        assert row[SMOOTH] == float(votes[objid][SMOOTH])
        assert sum(name.startswith("t") and name[1:3].isdigit() for name in row) == 76
        assert row["ra"] is None


@pytest.fixture
def zipped(release):
    """The same release with its images in the archive, as it is published."""
    with zipfile.ZipFile(release / "images_gz2.zip", "w") as archive:
        for name in (".DS_Store", "images/.DS_Store", "__MACOSX/images/11.jpg"):
            archive.writestr(name, "what a computer leaves behind")
        for image in sorted((release / "images").iterdir()):
            archive.write(image, f"images/{image.name}")
    shutil.rmtree(release / "images")
    return release


def forged(archive, name, change):
    """Rewrite the central directory of a zip: `change` gets the entry of `name` as a bytearray."""
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\x01\x02", at + 4)
    entry = data[at : at + 46]
    change(entry)
    data[at : at + 46] = entry
    archive.write_bytes(data)


def test_images_are_read_straight_from_the_archive(zipped):
    found = survey(zipped)
    found.validate()
    first, second, third = found.rows(0, 3)
    assert first["image"] == jpeg()
    assert third["image"] == jpeg(299)
    assert second["failure"] == "no image of its asset_id in images_gz2.zip"
    assert not (zipped / "images").exists()
    assert found.count_images() == (3, 2)
    assert list(pickle.loads(pickle.dumps(found)).rows(0, 3)) == [first, second, third]


def test_an_archive_that_changed_is_another_survey(zipped):
    before = survey(zipped).fingerprint()
    with zipfile.ZipFile(zipped / "images_gz2.zip", "a") as archive:
        archive.writestr("images/22.jpg", jpeg())
    assert survey(zipped).fingerprint() != before
    assert survey(zipped).count_images() == (3, 3)


@pytest.mark.parametrize("name", ["../22.jpg", "/etc/22.jpg", "images\\..\\..\\22.jpg"])
def test_an_archive_that_leads_outside_is_refused(zipped, name):
    with zipfile.ZipFile(zipped / "images_gz2.zip", "a") as archive:
        archive.writestr(name, jpeg())
    with pytest.raises(BadInput, match=r"leads outside of the archive.*discovery fetch gz2 --out"):
        survey(zipped).validate()


def test_an_archive_with_one_name_twice_is_refused(zipped):
    with zipfile.ZipFile(zipped / "images_gz2.zip", "a") as archive:
        archive.writestr("other/11.jpg", jpeg())
    with pytest.raises(BadInput, match=r"'11\.jpg' is there twice"):
        survey(zipped).validate()


def test_an_encrypted_image_is_a_failure_with_its_reason(zipped):
    def encrypt(entry):
        entry[8] |= 1

    forged(zipped / "images_gz2.zip", "images/11.jpg", encrypt)
    first, _, third = survey(zipped).rows(0, 3)
    assert first["failure"] == "encrypted in images_gz2.zip"
    assert third["image"] == jpeg(299)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [(100, "damaged in images_gz2.zip: "), (2**31, "2,048 MiB in images_gz2.zip is more than 64")],
)
def test_an_image_that_lies_about_its_size_is_a_failure(zipped, declared, reason):
    def lie(entry):
        entry[24:28] = declared.to_bytes(4, "little")

    forged(zipped / "images_gz2.zip", "images/11.jpg", lie)
    first, _, third = survey(zipped).rows(0, 3)
    assert first["failure"].startswith(reason)
    assert third["image"] == jpeg(299)


def test_a_truncated_archive_says_what_to_type(zipped):
    archive = zipped / "images_gz2.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"no zip archive that can be read .*discovery fetch gz2"):
        survey(zipped).validate()


def test_all_that_have_votes_are_searched_also_those_that_the_mapping_lacks(zipped):
    votes = [[IDS[0], 0.75], [587722982300516599, 0.5], [IDS[1], 0.25]]
    write_csv(zipped / "gz2_hart16.csv.gz", ["dr7objid", SMOOTH], votes, gzip.open)
    found = survey(zipped, galaxies="voted")
    found.validate()
    rows = list(found.rows(0, len(found)))
    assert [row["object_id"] for row in rows] == [str(objid) for objid, _ in votes]
    assert [row[SMOOTH] for row in rows] == [0.75, 0.5, 0.25]
    assert rows[0]["image"] == jpeg()
    assert rows[1]["failure"] == "not in gz2_filename_mapping.csv"
    assert rows[2]["failure"] == "no image of its asset_id in images_gz2.zip"
    assert found.count_images() == (3, 1)


def test_galaxies_without_image_have_one_reason_that_ingest_can_count(zipped, tmp_path):
    with open(zipped / "gz2_filename_mapping.csv", "a") as mapping:
        mapping.write("587722982300516594,original,44\n")
    part = Part(survey(zipped), CaptionRules(), 0, 4, tmp_path / "part-00000.parquet")
    read_part(part)
    failures = pq.read_table(part.failures_path).to_pandas()
    reasons = failures["reason"].value_counts()
    assert reasons["no image of its asset_id in images_gz2.zip"] == 2
