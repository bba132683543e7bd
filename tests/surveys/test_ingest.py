"""Ingest: copies of a galaxy on one side, failures with reasons, work that is not lost."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from discovery.cutouts import CutoutStore, decode
from discovery.detector.examples import labels_of
from discovery.errors import BadInput
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.duplicates import group_duplicates, perceptual_hash
from discovery.surveys import FolderSurvey, MockSurvey
from discovery.surveys.ingest import (
    FAILURES,
    Part,
    assign_splits,
    ingest,
    match_known,
    read_part,
)


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


def cutouts(**columns) -> pd.DataFrame:
    """What `assign_splits` is given, null where not said otherwise."""
    blank = dict.fromkeys(["survey", "galaxy", "split", "phash", "reason"])
    table = pd.DataFrame({**blank, "ra": np.nan, "dec": np.nan, **columns})
    return table.astype(dict.fromkeys(["galaxy", "split", "phash"], object))


def hashed(byte: int) -> bytes:
    return bytes([byte]) * 32


def failures_of(folder) -> list[dict]:
    return pq.read_table(folder / "store/failures.parquet").to_pylist()


def folder_survey(path, **settings) -> FolderSurvey:
    return FolderSurvey(name="mine", path=path, **settings)


def ingest_here(surveys: list, folder: Path, seed: int = 1) -> CutoutStore:
    """Ingest without a process more, which takes seconds to start."""
    for survey in surveys:
        path = folder / "store/parts" / survey.name / "part-00000.parquet"
        read_part(Part(survey, CaptionRules(), 0, len(survey), path))
    return ingest(surveys, CaptionRules(), folder / "store", seed, 1)


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
    table = ingest_here([survey], tmp_path).table()
    assert len(table) == 60
    assert table.groupby("galaxy").size().eq(2).all()
    assert table.groupby("galaxy")["split"].nunique().eq(1).all()
    assert set(table["split"]) == {"train", "validation", "search"}


def test_a_fixed_search_object_takes_its_copies_with_it():
    survey = MockSurvey(name="a", train=1)
    rows = cutouts(
        object_id=["1", "2", "3"],
        survey="a",
        galaxy=["g", "g", "h"],
        split=["train", "search", "validation"],
    )
    assert assign_splits(rows, [survey], 1)["split"].tolist() == ["search", "search", "validation"]


def test_a_repeated_id_joins_whole_groups():
    # Two pairs that look alike, linked by an id of both; a galaxy apart.
    one, two, apart = map(hashed, (0x00, 0xFF, 0x0F))
    rows = cutouts(
        object_id=["b", "c", "c", "d", "e"],
        survey="a",
        split=[None, None, None, "search", "train"],
        phash=[one, one, two, two, apart],
    )
    table = assign_splits(rows, [MockSurvey(name="a", train=1)], 1)
    assert table["galaxy"].tolist() == ["b", "b", "b", "b", "e"]
    assert table["split"].tolist() == ["search"] * 4 + ["train"]


def test_one_galaxy_under_two_names_is_told_by_its_position(tmp_path):
    # 2 arcsec from one to the next is a chain of one galaxy; 4 is another one.
    declination = np.array([10, 12, 14, 18]) / 3600
    rows = cutouts(
        object_id=["d", "c", "b", "a"],
        survey=["one", "two", "two", "one"],
        ra=[0.0, 360.0, 0.0, 0.0],
        dec=declination,
        split=[None, "search", None, None],
        phash=[hashed(byte) for byte in (0x00, 0xFF, 0x0F, 0xF0)],
    )
    surveys = [FolderSurvey(name=n, path=tmp_path, train=1, validation=0, search=0)
               for n in ("one", "two")]  # fmt: skip
    table = assign_splits(rows, surveys, 1)
    assert table["galaxy"].tolist() == ["b", "b", "b", "a"]
    assert table["split"].tolist() == ["search", "search", "search", "train"]


def test_positions_do_not_join_what_a_survey_tells_apart():
    # Two of a mock sky lie 3 arcsec apart by chance; its galaxies are numbered.
    rows = cutouts(object_id=["1", "2"], survey="a", galaxy=["1", "2"], ra=10.0, dec=0.0,
                   split=["train", "search"])  # fmt: skip
    table = assign_splits(rows, [MockSurvey(name="a", train=1)], 1)
    assert table["galaxy"].tolist() == ["1", "2"]
    assert table["split"].tolist() == ["train", "search"]


def test_published_objects_to_judge_by_are_searched_and_those_to_teach_are_not(tmp_path):
    lists = {
        "by_id": ("id\nby id\n", {"id_column": "id"}),
        "by_place": ("ra,dec,name\n10,1,A\n40,1,B\n", {"ra_column": "ra", "dec_column": "dec"}),
        "to_teach": ("id\ntaught\n", {"id_column": "id", "in_training": True}),
    }
    surveys = []
    for name, (text, settings) in lists.items():
        (tmp_path / f"{name}.csv").write_text(text)
        names = {"name_column": "name"} if "name" in text else {}
        published = {"table": tmp_path / f"{name}.csv", "bibcode": "x", **settings, **names}
        survey = {"path": tmp_path, "train": 1, "validation": 0, "search": 0}
        surveys.append(FolderSurvey(name=name, published=published, **survey))
    rows = cutouts(
        object_id=["by id", "its twin", "1 arcsec off", "taught", "other"],
        survey="by_id",
        ra=[np.nan, np.nan, 10.0, 20.0, 30.0],
        dec=[np.nan, np.nan, 1 + 1 / 3600, 1.0, 1.0],
        phash=[hashed(byte) for byte in (0x00, 0x00, 0xFF, 0x0F, 0xF0)],
    )
    split = assign_splits(rows, surveys, 1)["split"]
    assert split.tolist() == ["search", "search", "search", "train", "train"]


@pytest.mark.parametrize("sampled", [True, False])
def test_every_cutout_says_whether_it_is_of_a_sample_of_the_sky(tmp_path, sampled):
    save(picture(1), tmp_path / "a.jpg")
    survey = folder_survey(tmp_path, sampled=sampled, train=0.5, validation=0.5, search=0)
    assert ingest_here([survey], tmp_path).table()["sampled"].tolist() == [sampled]


def test_what_is_no_sample_cannot_be_searched(tmp_path):
    with pytest.raises(ValidationError, match="with sampled = false set search = 0"):
        folder_survey(tmp_path, sampled=False)


def test_splits_follow_the_fractions_and_never_move_when_cutouts_are_added(tmp_path):
    survey = folder_survey(tmp_path, train=0.6, validation=0.1, search=0.3)
    ids = [str(number) for number in range(4000)]
    rows = cutouts(object_id=ids, survey="mine", galaxy=ids)
    split = assign_splits(rows, [survey], 5)["split"]
    share = split.value_counts(normalize=True)
    # three standard errors of a binomial share of 4000
    assert share["train"] == pytest.approx(0.6, abs=3 * np.sqrt(0.24 / 4000))
    assert share["search"] == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / 4000))
    assert assign_splits(rows[:100], [survey], 5)["split"].tolist() == split[:100].tolist()
    assert assign_splits(rows, [survey], 6)["split"].tolist() != split.tolist()


def two_folders(tmp_path, first: Image.Image, second: Image.Image) -> list[FolderSurvey]:
    """Two surveys whose only image has the same name."""
    for name, image in {"one": first, "two": second}.items():
        (tmp_path / name).mkdir()
        save(image, tmp_path / name / "7.jpg", quality=90)
    return [FolderSurvey(name=name, path=tmp_path / name) for name in ("one", "two")]


def test_the_commonest_reasons_of_failures_are_said_and_where_the_others_are(tmp_path, capsys):
    save(picture(1), tmp_path / "good.jpg")
    (tmp_path / "cut.jpg").write_bytes(encoded(picture(2))[:100])
    for number, side in enumerate((8, 8, 9, 10)):
        save(Image.new("RGB", (side, side)), tmp_path / f"small{number}.png", format="PNG")
    ingest_here([folder_survey(tmp_path)], tmp_path)
    said = capsys.readouterr().err
    listed = tmp_path / "store" / "failures.parquet"
    assert (
        f"5 of 6 cutouts could not be read and are listed with their reasons in {listed}:" in said
    )
    counts = [line.split(" times: ")[0] for line in said.splitlines() if " times: " in line]
    assert counts == ["    2", "    1", "    1"]
    assert "    other reasons: 1\n" in said


def test_an_object_that_comes_twice_is_kept_once_and_said(tmp_path, capsys):
    galaxy = Image.open(io.BytesIO(next(iter(MockSurvey().rows(0, 1)))["image"]))
    surveys = two_folders(tmp_path, galaxy, galaxy.resize((120, 120)))
    (tmp_path / "one/8.jpg").write_bytes(b"")
    store = ingest_here(surveys, tmp_path)
    assert store.table(["object_id", "survey"]).values.tolist() == [["7", "one"]]
    assert [row["object_id"] for row in failures_of(tmp_path)] == ["8"]
    said = capsys.readouterr().err
    assert "1 cutouts have the object_id of an earlier one of the same galaxy" in said
    assert "the first is 7 of two" in said
    assert "1 of 2 cutouts could not be read" in said


def test_one_id_of_two_galaxies_is_refused_and_not_merged(tmp_path):
    surveys = two_folders(tmp_path, picture(3), picture(4))
    message = (
        r'surveys "one" and "two" both have an object_id 7, but not of one galaxy: .* \(1 such '
        r'ids in all\)\. .* rename the files of "two", or give .* an id_column of other ids\.'
    )
    # The second time from the parts of the first.
    for _ in range(2):
        with pytest.raises(BadInput, match=message):
            ingest_here(surveys, tmp_path)


def test_one_id_at_one_position_is_one_galaxy_whatever_it_looks_like():
    rows = cutouts(object_id="7", survey=["one", "two"], ra=10.0, dec=[1.0, 1 + 2 / 3600],
                   split="train", phash=[hashed(0x00), hashed(0xFF)])  # fmt: skip
    assert assign_splits(rows, [], 1)["repeated"].tolist() == [False, True]
    rows["dec"] = [1.0, 2.0]
    with pytest.raises(BadInput, match=r'"one" and "two" both have an object_id 7'):
        assign_splits(rows, [], 1)


def test_what_could_be_read_elsewhere_is_no_failure(tmp_path):
    surveys = two_folders(tmp_path, picture(3), picture(3))
    (tmp_path / "one/7.jpg").write_bytes(b"")
    store = ingest_here(surveys, tmp_path)
    assert store.table(["object_id", "survey"]).values.tolist() == [["7", "two"]]
    assert failures_of(tmp_path) == []


def test_what_cannot_be_read_has_the_galaxy_and_split_of_its_readable_copy(tmp_path):
    save(picture(1), tmp_path / "good.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"")
    listed = "image,ra,dec,pin,reason\n"
    listed += "good.jpg,10,1,no,x\nbroken.jpg,10,1.0005,no,x\ngone.jpg,20,1,yes,x\n"
    listed += "lost.jpg,30,1,no,x\n"
    (tmp_path / "labels.csv").write_text(listed)
    survey = folder_survey(
        tmp_path, table="labels.csv", ra_column="ra", dec_column="dec", keep=["reason"],
        search_where={"pin": "yes"}, train=0, validation=1, search=0,
    )  # fmt: skip
    store = ingest_here([survey], tmp_path)
    assert store.table(["object_id", "galaxy", "split", "reason"]).values.tolist() == [
        ["good", "broken", "validation", "x"]
    ]
    lost = {row["object_id"]: row for row in failures_of(tmp_path)}
    assert lost["broken"] == {
        "object_id": "broken", "survey": "mine", "galaxy": "broken", "ra": 10.0, "dec": 1.0005,
        "split": "validation", "reason": "empty file",
    }  # fmt: skip
    assert lost["gone"]["split"] == "search"
    assert lost["lost"]["split"] == "validation"
    assert lost["lost"]["reason"] == f"no file lost.jpg in {tmp_path}"


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
    reasons = {row["object_id"]: row["reason"] for row in failures_of(tmp_path)}
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
    monkeypatch.delattr("discovery.processes.ProcessPoolExecutor")
    store = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1)
    assert len(store) == 5
    assert not (tmp_path / "store/parts").exists()


READ_SLOWLY = """
import sys
import time
from pathlib import Path

from discovery.morphology.captions import CaptionRules
from discovery.surveys.ingest import ingest

out = Path(sys.argv[1])


class Slow:
    name, split_fractions = "slow", {}

    def validate(self):
        pass

    def __len__(self):
        return 2000

    def rows(self, start, stop):
        (out / f"reads-{start}").touch()
        time.sleep(300)


if __name__ == "__main__":
    ingest([Slow()], CaptionRules(), out / "store", 0, workers=2)
"""


def _is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait_until(true, seconds: float = 100.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


@pytest.fixture
def reading(tmp_path):
    """A process that ingests, and the pids of multiprocessing's tracker and both its workers."""
    if not Path("/proc/self/task").exists():
        pytest.skip("children are read from /proc")
    script = tmp_path / "read_slowly.py"
    script.write_text(READ_SLOWLY)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=(tmp_path / "said").open("wb"),  # a pipe would stay open for as long as a worker
    )
    try:
        assert _wait_until(lambda: len(list(tmp_path.glob("reads-*"))) == 2)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
        yield parent, [int(pid) for pid in children.split()]
    finally:
        parent.kill()
        parent.wait()


def test_workers_do_not_outlive_a_killed_parent(reading):
    parent, workers = reading
    parent.kill()
    assert len(workers) == 3
    assert _wait_until(lambda: not any(map(_is_running, workers)), 30)


def test_a_killed_worker_is_told_in_words(reading, tmp_path):
    parent, (_, first_worker, *_) = reading
    # A later worker's end is noticed when another has finished its part.
    os.kill(first_worker, signal.SIGKILL)
    parent.wait(timeout=100)
    message = (tmp_path / "said").read_text()
    assert "BadInput: a process that read cutouts was ended from outside" in message
    assert "type the same command again" in message


def test_a_kill_while_parts_are_removed_costs_nothing(tmp_path, monkeypatch):
    survey = MockSurvey(seed=4, train=3, validation=0, search=2)
    first = ingest([survey], CaptionRules(), tmp_path / "store", 1, 1).table()
    (tmp_path / "store/.parts/mock").mkdir(parents=True)
    # Neither reading nor checking the survey is possible now.
    monkeypatch.delattr("discovery.processes.ProcessPoolExecutor")
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
    store = ingest_here([survey], tmp_path)
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


def known_of(tmp_path, listed: dict, there: dict, lost: dict | None = None) -> pd.DataFrame:
    lost = pd.DataFrame(lost or {}).reindex(columns=FAILURES.names).astype({"object_id": object})
    table = pa.Table.from_pandas(lost, FAILURES, preserve_index=False)
    pq.write_table(table, tmp_path / "failures.parquet")

    class Listed:
        def known(self):
            columns = ["object_id", "ra", "dec", "name", "bibcode", "in_training"]
            return pd.DataFrame(listed).reindex(columns=columns)

    class Store:
        folder = tmp_path

        def table(self, columns):
            return pd.DataFrame(there)[columns]

    return match_known([Listed()], Store())


SEEN_TWICE = {
    # by id; its phash twin; 1 arcsec away but hashed as another galaxy; an unrelated galaxy
    "object_id": ["a", "twin", "near", "other"],
    "galaxy": ["a", "a", "near", "other"],
    "ra": [10.0, np.nan, 10.0, 20.0],
    "dec": [0.0, np.nan, 1 / 3600, 0.0],
}


PUBLISHED = {"object_id": ["a"], "ra": 10.0, "dec": 0.0, "name": "A", "in_training": True}


def test_every_cutout_of_a_published_galaxy_is_known_by_its_name(tmp_path):
    known = known_of(tmp_path, PUBLISHED, SEEN_TWICE | {"split": ["train"] * 4})
    assert known["object_id"].tolist() == ["a", "near", "twin"]
    assert (known["name"].eq("A") & known["galaxy"].eq("a") & known["in_training"]).all()
    np.testing.assert_allclose(known["separation_arcsec"], [0, 1, np.nan], atol=1e-6)


def test_what_was_matched_by_id_has_its_true_separation_and_stands_first(tmp_path):
    listed = PUBLISHED | {"dec": 5 / 3600}
    there = SEEN_TWICE | {"dec": [0.0, np.nan, 4 / 3600, 0.0], "split": "train"}
    known = known_of(tmp_path, listed, there)
    assert known["object_id"].tolist() == ["a", "near", "twin"]
    np.testing.assert_allclose(known["separation_arcsec"], [5, 1, np.nan], atol=1e-6)
    unplaced = known_of(tmp_path, PUBLISHED | {"ra": np.nan, "dec": np.nan}, there)
    assert unplaced["object_id"].tolist() == ["a", "twin"]
    assert unplaced["separation_arcsec"].isna().all()


def test_an_object_with_one_searched_cutout_teaches_nothing(tmp_path):
    there = SEEN_TWICE | {"split": ["train", "train", "search", "train"]}
    known = known_of(tmp_path, PUBLISHED, there)
    assert not known["in_training"].any()
    ids = pd.Series(SEEN_TWICE["object_id"])
    assert labels_of(ids, known).tolist() == [-1, -1, -1, 0]


def test_a_published_object_is_known_by_cutouts_that_could_not_be_read(tmp_path):
    lost = {
        "object_id": ["a", "b"], "galaxy": ["a", "b"], "ra": [10.0, 50.0], "dec": 0.0,
        "split": "search", "reason": "empty file",
    }  # fmt: skip
    there = {name: values[2:] for name, values in SEEN_TWICE.items()} | {"split": "search"}
    listed = {
        "object_id": ["a", "b"], "ra": [10.0, 50.0], "dec": 0.0, "name": ["A", "B"],
        "in_training": False,
    }  # fmt: skip
    known = known_of(tmp_path, listed, there, lost)
    # What can be judged stands for the galaxy, then what has the id.
    assert known[["name", "object_id", "galaxy"]].values.tolist() == [
        ["A", "near", "near"], ["A", "a", "near"], ["B", "b", "b"]
    ]  # fmt: skip
