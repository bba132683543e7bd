"""Ingest: copies of a galaxy on one side, failures with reasons, work that is not lost."""

import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from discovery.cutouts import CutoutStore, decode
from discovery.detector.examples import labels_of
from discovery.errors import BadInput
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.duplicates import group_duplicates, perceptual_hash
from discovery.surveys import FolderSurvey, MockSurvey
from discovery.surveys.ingest import Part, assign_splits, ingest, match_known, read_part


def picture(seed: int, side: int = 256) -> Image.Image:
    """A round blob in noise: every seed another galaxy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    blob = 150 * np.exp(-np.hypot(x, y) / (side / 8))[..., None] * [1.0, 0.8, 0.6]
    return Image.fromarray(np.clip(blob + rng.normal(20, 6, (side, side, 3)), 0, 255).astype("u1"))


def save(image: Image.Image, path, **options) -> None:
    path.write_bytes(encoded(image, **options))


def encoded(image, format="JPEG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def folder_survey(path, **settings) -> FolderSurvey:
    return FolderSurvey(name="mine", path=path, **settings)


def test_copies_of_one_galaxy_are_one_galaxy():
    galaxies = [picture(seed) for seed in range(6)]
    copies = [
        galaxies[0],
        galaxies[1],
        Image.open(io.BytesIO(encoded(galaxies[0], quality=80))),
        galaxies[2],
        galaxies[1].resize((200, 200)),
    ]
    hashes = [perceptual_hash(decode(encoded(image, "PNG"), 1.0, 64)) for image in copies]
    assert group_duplicates(hashes).tolist() == [0, 1, 0, 2, 1]


def test_nothing_is_grouped_among_many_different_galaxies():
    hashes = [perceptual_hash(np.asarray(picture(seed, 64))) for seed in range(300)]
    assert len(set(group_duplicates(hashes))) == 300
    assert len(group_duplicates([])) == 0


def test_copies_stand_on_one_side_whatever_their_files_are_called(tmp_path):
    galaxies = [Image.open(io.BytesIO(row["image"])) for row in MockSurvey().rows(0, 30)]
    for number, galaxy in enumerate(galaxies):
        save(galaxy, tmp_path / f"a{number:02d}.jpg", quality=95)
        save(galaxy.resize((120, 120)), tmp_path / f"b{number:02d}.jpg", quality=85)
    survey = folder_survey(tmp_path, train=0.5, validation=0.25, search=0.25)
    table = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1).table()
    assert len(table) == 60
    assert table.groupby("galaxy").size().eq(2).all()
    assert table.groupby("galaxy")["split"].nunique().eq(1).all()
    assert set(table["split"]) == {"train", "validation", "search"}


def test_a_fixed_search_object_takes_its_copies_with_it():
    survey = MockSurvey(name="a", train=1)
    rows = pd.DataFrame(
        {
            "object_id": ["1", "2", "3"],
            "survey": "a",
            "galaxy": ["g", "g", "h"],
            "split": ["train", "search", "validation"],
            "phash": None,
        }
    )
    assert assign_splits(rows, [survey], 1)["split"].tolist() == ["search", "search", "validation"]


def test_a_repeated_id_joins_whole_groups():
    # Two pairs that look alike, linked by an id of both; a galaxy apart.
    one, two, apart = (bytes([byte]) * 32 for byte in (0x00, 0xFF, 0x0F))
    rows = pd.DataFrame(
        {
            "object_id": ["b", "c", "c", "d", "e"],
            "survey": "a",
            "galaxy": None,
            "split": [None, None, None, "search", "train"],
            "phash": [one, one, two, two, apart],
        }
    )
    table = assign_splits(rows, [MockSurvey(name="a", train=1)], 1)
    assert table["galaxy"].tolist() == ["b", "b", "b", "b", "e"]
    assert table["split"].tolist() == ["search"] * 4 + ["train"]


def test_splits_follow_the_fractions_and_never_move_when_cutouts_are_added(tmp_path):
    survey = folder_survey(tmp_path, train=0.6, validation=0.1, search=0.3)
    ids = [str(number) for number in range(4000)]
    rows = pd.DataFrame({"object_id": ids, "survey": "mine", "galaxy": ids, "split": None,
                         "phash": None})  # fmt: skip
    split = assign_splits(rows, [survey], 5)["split"]
    share = split.value_counts(normalize=True)
    # three standard errors of a binomial share of 4000
    assert share["train"] == pytest.approx(0.6, abs=3 * np.sqrt(0.24 / 4000))
    assert share["search"] == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / 4000))
    assert assign_splits(rows[:100], [survey], 5)["split"].tolist() == split[:100].tolist()
    assert assign_splits(rows, [survey], 6)["split"].tolist() != split.tolist()


def test_an_object_that_comes_twice_is_kept_once_and_said(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save(picture(3), tmp_path / name / "7.jpg")
    surveys = [FolderSurvey(name=name, path=tmp_path / name) for name in ("one", "two")]
    store = ingest(surveys, CaptionRules(), tmp_path / "store", 1, 1)
    assert store.table(["object_id", "survey"]).values.tolist() == [["7", "one"]]
    failures = pq.read_table(tmp_path / "store/failures.parquet").to_pylist()
    assert failures == [
        {"object_id": "7", "survey": "two",
         "reason": "this object_id was already read; the first is kept"}
    ]  # fmt: skip


def test_what_cannot_be_read_is_a_row_with_its_reason(tmp_path):
    good = encoded(picture(1))
    files = {
        "good.jpg": good,
        "truncated.jpg": good[: len(good) // 2],
        "headless.jpg": good[:100],
        "png-named.jpg": encoded(picture(2), "PNG"),
        "huge.png": encoded(Image.new("L", (10_000, 10_000)), "PNG"),
        "empty.jpg": b"",
        "text.jpg": b"<html>404</html>",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    store = ingest([folder_survey(tmp_path)], CaptionRules(), tmp_path / "store", 1, 1)
    assert sorted(store.table()["object_id"]) == ["good", "png-named"]
    failures = pq.read_table(tmp_path / "store/failures.parquet").to_pandas()
    reasons = failures.set_index("object_id")["reason"]
    assert "truncated" in reasons["truncated"]
    assert reasons["huge"] == "10000 x 10000 px is more than 4096 px on a side"
    assert reasons["headless"] == "damaged: its header is cut off"
    assert reasons["empty"] == "empty file"
    assert reasons["text"] == "neither JPEG nor PNG"


def test_nothing_readable_at_all_is_an_error_that_says_what_is_valid(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"not one cutout of mine could be read.*JPEG or PNG"):
        ingest([folder_survey(tmp_path)], CaptionRules(), tmp_path / "store", 1, 1)


def test_an_empty_folder_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(BadInput, match="there is no image"):
        ingest([folder_survey(tmp_path)], CaptionRules(), tmp_path / "store", 1, 1)
    assert not (tmp_path / "store").exists()


def test_finished_parts_are_not_read_again(tmp_path, monkeypatch):
    survey = MockSurvey(seed=4, train=3, validation=0, search=2)
    part = Part(survey, CaptionRules(), 0, 5, tmp_path / "store/parts/mock/part-00000.parquet")
    read_part(part)
    # Without a process to read with, only what is there can be used.
    monkeypatch.delattr("discovery.surveys.ingest.ProcessPoolExecutor")
    store = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1)
    assert len(store) == 5
    assert not (tmp_path / "store/parts").exists()


def test_a_kill_while_parts_are_removed_costs_nothing(tmp_path, monkeypatch):
    survey = MockSurvey(seed=4, train=3, validation=0, search=2)
    first = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1).table()
    (tmp_path / "store/.parts/mock").mkdir(parents=True)
    # Neither reading nor checking the survey is possible now.
    monkeypatch.delattr("discovery.surveys.ingest.ProcessPoolExecutor")
    monkeypatch.setattr(MockSurvey, "validate", None)
    again = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1).table()
    pd.testing.assert_frame_equal(again, first)


def test_a_part_without_its_failures_is_read_again(tmp_path):
    survey = MockSurvey(seed=4, train=3, validation=0, search=2)
    part = Part(survey, CaptionRules(), 0, 5, tmp_path / "store/parts/mock/part-00000.parquet")
    read_part(part)
    part.failures_path.unlink()
    assert len(ingest([survey], CaptionRules(), tmp_path / "store", 1, 1)) == 5


def test_a_repaired_folder_is_read_anew(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput, match="not one cutout"):
        ingest([folder_survey(tmp_path)], CaptionRules(), tmp_path / "store", 1, 1)
    assert len(pq.read_table(tmp_path / "store/failures.parquet")) == 1
    save(picture(1), tmp_path / "a.jpg")
    assert len(ingest([folder_survey(tmp_path)], CaptionRules(), tmp_path / "store", 1, 1)) == 1


def test_known_objects_are_matched_by_id_then_within_three_arcsec(tmp_path):
    survey = MockSurvey(seed=4, train=4, validation=0, search=0)
    store = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1)
    rows = store.table(["object_id", "ra", "dec"])

    class Listed:
        def known(self):
            return pd.DataFrame(
                {
                    "object_id": [rows.object_id[0], None, None, "unheard of"],
                    "ra": [None, rows.ra[1], rows.ra[2], None],
                    "dec": [None, rows.dec[1] + 2 / 3600, rows.dec[2] + 4 / 3600, None],
                    "name": ["by id", "by position", "too far", "nowhere"],
                    "bibcode": None,
                    "in_training": True,
                }
            )

    known = match_known([Listed()], CutoutStore(tmp_path / "store")).set_index("name")
    assert known.object_id["by id"] == rows.object_id[0]
    assert known.object_id["by position"] == rows.object_id[1]
    assert known.separation_arcsec["by position"] == pytest.approx(2, abs=1e-3)
    assert known.object_id[["too far", "nowhere"]].isna().all()
    assert known.in_training.tolist() == [True, True, False, False]


def known_of(listed: dict, cutouts: dict) -> pd.DataFrame:
    class Listed:
        def known(self):
            columns = ["object_id", "ra", "dec", "name", "bibcode", "in_training"]
            return pd.DataFrame(listed).reindex(columns=columns)

    class Store:
        def table(self, columns):
            return pd.DataFrame(cutouts)[columns]

    return match_known([Listed()], Store())


SEEN_TWICE = {
    # by id; its phash twin; 1 arcsec away but hashed as another galaxy; an unrelated galaxy
    "object_id": ["a", "twin", "near", "other"],
    "galaxy": ["a", "a", "near", "other"],
    "ra": [10.0, np.nan, 10.0, 20.0],
    "dec": [0.0, np.nan, 1 / 3600, 0.0],
}


def test_every_cutout_of_a_published_galaxy_is_known_by_its_name():
    listed = {"object_id": ["a"], "ra": 10.0, "dec": 0.0, "name": "A", "in_training": True}
    known = known_of(listed, SEEN_TWICE | {"split": ["train"] * 4})
    assert known["object_id"].tolist() == ["a", "near", "twin"]
    assert (known["name"].eq("A") & known["galaxy"].eq("a") & known["in_training"]).all()
    np.testing.assert_allclose(known["separation_arcsec"], [0, 1, np.nan], atol=1e-6)


def test_an_object_with_one_searched_cutout_teaches_nothing():
    listed = {"object_id": ["a"], "ra": 10.0, "dec": 0.0, "name": "A", "in_training": True}
    known = known_of(listed, SEEN_TWICE | {"split": ["train", "train", "search", "train"]})
    assert not known["in_training"].any()
    ids = pd.Series(SEEN_TWICE["object_id"])
    assert labels_of(ids, known).tolist() == [-1, -1, -1, 0]
