"""The whole walk on a tiny sky, as a user types it; killed, continued, and read back."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalogs import read_fits, read_votable

RUN_FILE = Path(__file__).parent / "tiny.toml"
STEPS = ["ingest", "train-generator", "synthesize", "train mixed", "score mixed",
         "train real-only", "score real-only", "cluster", "release", "report"]  # fmt: skip


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "discovery", *map(str, arguments)]


def run(folder: Path, *more) -> subprocess.CompletedProcess:
    return subprocess.run(
        command("run", RUN_FILE, "--runs", folder, *more), capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder / "tiny", done


def test_it_says_what_was_found_and_where(finished):
    folder, done = finished
    for said in ("80 cutouts were searched", "candidates", "Purity", "Completeness",
                 "95 % interval", "real cutouts only"):  # fmt: skip
        assert said in done.stdout
    for line in done.stdout.splitlines():
        if line.startswith(("report ", "catalogue ")):
            assert Path(line.split()[1]).exists()
    assert set(json.loads((folder / "metrics.json").read_text())) == {"mixed", "real-only"}


def test_every_step_is_recorded_with_its_digest(finished):
    manifest = json.loads((finished[0] / "manifest.json").read_text())
    assert sorted(manifest) == sorted(STEPS)
    assert all(len(entry["digest"]) == 64 and entry["seconds"] >= 0 for entry in manifest.values())


def test_catalogues_say_the_same(finished):
    (fits,), (votable,) = (list((finished[0] / "release").glob(f"*.{s}")) for s in ("fits", "vot"))
    one, other = read_fits(fits), read_votable(votable)
    assert len(one) > 0
    assert one.colnames == other.colnames
    assert one.meta["provenance"] == other.meta["provenance"]
    for name in one.colnames:
        assert np.array_equal(np.ma.getmaskarray(one[name]), np.ma.getmaskarray(other[name]))
        assert list(one[name].filled()) == list(other[name].filled()) or one[name].dtype.kind == "f"


def test_candidates_are_exactly_those_at_or_above_the_frozen_threshold(finished):
    folder = finished[0]
    threshold = json.loads((folder / "detector/mixed/detector.json").read_text())["threshold"]
    scores = [pq.read_table(f).to_pandas() for f in (folder / "scores/mixed").glob("*.parquet")]
    wanted = {int(i) for s in scores for i in s.object_id[s.probability >= threshold]}
    table = read_fits(next((folder / "release").glob("*.fits")))
    assert set(table["object_id"].tolist()) == wanted
    splits = np.array(table["split"].tolist())
    assert np.array_equal(np.array(table["in_training"].tolist()), splits != "search")


def test_nothing_synthetic_leaves_the_training_set(finished):
    folder = finished[0]
    dreamt = set(pq.read_table(folder / "synthetic/00000.parquet")["object_id"].to_pylist())
    assert dreamt
    scored = [pq.read_table(f)["object_id"].to_pylist() for f in folder.glob("scores/*/*.parquet")]
    assert not dreamt & {object_id for ids in scored for object_id in ids}


def test_a_second_run_does_nothing_and_redo_gives_the_same_rows(finished):
    folder, _ = finished
    before = rows(folder)
    again = run(folder.parent)
    assert again.returncode == 0
    assert [f"{step}: done before" for step in STEPS] == again.stderr.splitlines()
    redone = run(folder.parent, "--redo", "train mixed")
    assert "train-generator: done before" in redone.stderr
    assert "score real-only: done before" in redone.stderr
    assert "cluster: done before" not in redone.stderr
    assert rows(folder) == before


def test_killed_at_any_step_it_ends_with_the_same_rows(finished, tmp_path):
    for step in ("ingest", "train-generator", "train mixed", "score mixed", "report"):
        kill_after(f"{step} …", tmp_path)
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "tiny") == rows(finished[0])
    assert not list((tmp_path / "tiny").rglob(".*.part"))


def kill_after(line: str, folder: Path) -> None:
    """Start the walk and kill -9 all of its processes soon after it says `line`."""
    process = subprocess.Popen(
        command("run", RUN_FILE, "--runs", folder),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    for said in process.stderr:
        if said.strip() == line:
            break
    else:
        pytest.fail(f"the walk never said {line!r}")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


def rows(folder: Path) -> list[tuple]:
    return [tuple(row) for row in read_votable(next((folder / "release").glob("*.vot"))).filled()]


def test_a_dry_run_does_nothing(tmp_path):
    told = run(tmp_path, "--dry-run")
    assert told.returncode == 0
    assert all(step in told.stdout for step in STEPS)
    assert "nothing was done" in told.stdout
    assert not list(tmp_path.iterdir())


def test_a_verb_alone_needs_what_comes_before_it(tmp_path):
    refused = subprocess.run(
        command("train", RUN_FILE, "--runs", tmp_path), capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "needs the step 'ingest'" in refused.stderr
    assert "discovery run" in refused.stderr


def test_a_finished_detector_scores_a_folder(finished, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    shard = pq.read_table(finished[0] / "cutouts/mock/00000.parquet").slice(0, 5).to_pylist()
    for row in shard:
        (images / f"{row['object_id']}.jpg").write_bytes(row["image"])
    (images / "broken.jpg").write_bytes(shard[0]["image"][:400])
    told = subprocess.run(
        command("score", finished[0] / "detector/mixed", images, "--out", tmp_path / "out"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "5 scored" in told.stdout
    failures = pq.read_table(tmp_path / "out/cutouts/failures.parquet").to_pylist()
    assert [failure["object_id"] for failure in failures] == ["broken"]


def test_two_processes_do_not_share_a_run_folder(finished):
    from discovery.errors import BadInput
    from discovery.run import alone

    refused = pytest.raises(BadInput, match="another process is working in")
    with alone(finished[0]), refused, alone(finished[0]):
        pass
