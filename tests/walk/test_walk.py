"""The whole walk on a tiny sky, as a user types it; killed, continued, and read back."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result

from catalogs import read_fits, read_votable
from discovery.cli import main

RUN_FILE = Path(__file__).parent / "tiny.toml"
STEPS = ["ingest", "train-generator", "synthesize", "train mixed", "score mixed",
         "train real-only", "score real-only", "cluster", "catalogue", "report"]  # fmt: skip
# Seconds into a step at which it is killed; two are over in a blink.
KILLED = dict.fromkeys(
    ["ingest", "train-generator", "synthesize", "train mixed", "score mixed"], 0.1
)
KILLED |= {"cluster": 0.0, "catalogue": 0.0, "report": 0.1}


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
    for said in (
        "80 objects were searched",
        "candidates",
        "Purity",
        "Completeness",
        "In a sky that holds 0.36 % of them",
        "95 % interval",
        "real cutouts only",
    ):
        assert said in done.stdout
    for line in done.stdout.splitlines():
        if line.startswith(("report ", "catalogue ")):
            assert Path(line.split()[1]).exists()
    assert set(json.loads((folder / "metrics.json").read_text())) == {"mixed", "real-only"}


def test_every_step_is_recorded_with_its_digest(finished):
    manifest = json.loads((finished[0] / "manifest.json").read_text())
    assert sorted(manifest) == sorted(STEPS)
    assert all(len(entry["digest"]) == 64 and entry["seconds"] >= 0 for entry in manifest.values())


def test_the_report_lists_the_steps_as_they_were_taken(finished):
    page = (finished[0] / "report/index.html").read_text()
    shown = re.findall(r'<th scope="row">([^<]+)</th><td class="n">\d+:\d\d:\d\d<', page)
    assert sorted(shown) == sorted([*STEPS[:-1], "all"])
    manifest = json.loads((finished[0] / "manifest.json").read_text())
    ends = [manifest[step]["finished"] for step in shown[:-1]]
    assert ends == sorted(ends)


def released(folder: Path, suffix: str) -> Path:
    return next((folder / "catalogue").glob(f"tiny-draft.{suffix}"))


def test_catalogues_say_the_same(finished):
    one, other = (
        read_fits(released(finished[0], "fits")),
        read_votable(released(finished[0], "vot")),
    )
    assert len(one) > 0
    assert one.meta["provenance"] == other.meta["provenance"]
    pd.testing.assert_frame_equal(one.to_pandas(), other.to_pandas(), check_exact=True)


def test_the_catalogue_tells_purity_at_which_prevalence(finished):
    folder = finished[0]
    judged = json.loads((folder / "metrics.json").read_text())["mixed"]
    card = json.loads((folder / "detector/mixed/detector.json").read_text())
    header = fits.getheader(released(folder, "fits"), 1)
    natural = judged["purity_at_natural_prevalence"]
    assert [header[k] for k in ("PURITY", "PURLO", "PURHI")] == [
        judged["purity"][k] for k in ("estimate", "low", "high")
    ]
    assert [header[k] for k in ("PURNAT", "PURNATLO", "PURNATHI")] == [
        natural[k] for k in ("value", "low", "high")
    ]
    assert natural["low"] < judged["purity"]["low"]  # quarry is 20 % of this sky
    assert header["NATPREV"] == 0.0036
    assert header["CALPREV"] == card["calibration"]["prevalence"]
    assert (header["NSEARCH"], header["NUNREAD"]) == (80, 0)


def test_ranks_are_those_of_the_judge(finished):
    folder = finished[0]
    table = read_fits(released(folder, "fits"))
    ranks = dict(zip(map(str, table["object_id"]), table["rank"].tolist(), strict=True))
    judged = json.loads((folder / "metrics.json").read_text())["mixed"]
    found = [t for t in judged["targets"] if t["found"]] + judged["false_positives"]
    assert len(found) == judged["candidates"] > 0
    assert ranks == dict.fromkeys(ranks) | {t["object_id"]: t["rank"] for t in found}


def test_candidates_are_exactly_those_at_or_above_the_frozen_threshold(finished):
    folder = finished[0]
    threshold = json.loads((folder / "detector/mixed/detector.json").read_text())["threshold"]
    scores = [pq.read_table(f).to_pandas() for f in (folder / "scores/mixed").glob("*.parquet")]
    wanted = {int(i) for s in scores for i in s.object_id[s.probability >= threshold]}
    table = read_fits(released(folder, "fits"))
    assert set(table["object_id"].tolist()) == wanted
    splits = np.array(table["split"].tolist())
    assert np.array_equal(np.array(table["in_training"].tolist()), splits != "search")


def test_nothing_synthetic_leaves_the_training_set(finished):
    folder = finished[0]
    dreamt = set(pq.read_table(folder / "synthetic/00000.parquet")["object_id"].to_pylist())
    assert dreamt
    scored = [pq.read_table(f)["object_id"].to_pylist() for f in folder.glob("scores/*/*.parquet")]
    assert not dreamt & {object_id for ids in scored for object_id in ids}


def invoke(*arguments) -> Result:
    """A verb in this process, which has loaded torch already."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def release(folder: Path, *more) -> Result:
    return invoke("release", RUN_FILE, "--runs", folder.parent, *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_release_is_complete_and_the_same_to_the_byte(finished, tmp_path):
    folder = finished[0]
    done = release(folder, "--version", "1.0", "--out", tmp_path / "one")
    assert done.stdout == f"release  {tmp_path / 'one'}\n", done.output
    assert "[catalogue] names no authors, so the release is to be cited as by" in done.stderr
    assert release(folder, "--version", "1.0").exit_code == 0
    one, two = contents(tmp_path / "one"), contents(folder / "releases/1.0")
    assert one == two
    assert {p.name for p in tmp_path.iterdir()} == {"one"}
    forms = ("fits", "vot", "ecsv", "parquet")
    wanted = {f"tiny-1.0{part}.{form}" for part in ("", "-false-positives") for form in forms}
    wanted |= {"tiny-1.0.dat", "tiny-1.0.reg", "tiny-1.0.moc.fits", "ReadMe", "README.md"}
    wanted |= {"CITATION.cff", "SHA256SUMS", "run.toml", "metrics.json", "detector.json"}
    wanted |= {"generator.json", "figures/candidates.png", "figures/precision-recall.pdf"}
    assert wanted <= set(one)
    sheets = {name for name in one if name.startswith("sheets/")}
    assert {"sheets/" + p.name for p in (folder / "clusters").glob("*.png")} == sheets != set()
    assert one["run.toml"] == RUN_FILE.read_bytes()
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "one", check=False)
    assert checked.returncode == 0
    assert one["SHA256SUMS"].count(b"\n") == len(one) - 1


def test_a_release_has_the_rows_of_the_draft_and_says_its_version(finished):
    folder = finished[0]
    assert release(folder, "--version", "1.0").exit_code == 0
    frozen = read_fits(folder / "releases/1.0/tiny-1.0.fits")
    pd.testing.assert_frame_equal(
        frozen.to_pandas(), read_fits(released(folder, "fits")).to_pandas(), check_exact=True
    )
    judged = json.loads((folder / "metrics.json").read_text())["mixed"]
    wrong = read_votable(folder / "releases/1.0/tiny-1.0-false-positives.vot")
    kinds = {f["object_id"]: f["kind"] for f in judged["false_positives"]}
    assert dict(zip(map(str, wrong["object_id"]), wrong["contaminant"], strict=True)) == kinds != {}
    said = frozen.meta["provenance"]
    assert said.release == "1.0"
    assert said.citation.endswith("): Candidates of a tiny sky, version 1.0")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cluster"]["finished"].startswith(said.created)
    cells = {cell.split("/")[0] for cell in said.moc.split() if "/" in cell}
    assert cells
    readme = (folder / "releases/1.0/README.md").read_text()
    assert "Candidates of a tiny sky, version 1.0" in readme
    assert f"Purity in the search set: {judged['purity']['estimate']:.3f} (95 % interval" in readme


def test_a_release_names_the_commit_that_searched_not_the_one_that_releases(finished, tmp_path):
    run_folder = tmp_path / "tiny"
    shutil.copytree(finished[0], run_folder)
    manifest = json.loads((run_folder / "manifest.json").read_text())
    here = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12"], cwd=RUN_FILE.parent, check=False,
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert manifest["cluster"]["commit"].removesuffix("-dirty") == (here or "released")
    assert len({entry["commit"] for entry in manifest.values()}) == 1
    manifest["cluster"]["commit"] = "0123456789ab"
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    done = release(run_folder, "--version", "1.0", "--out", tmp_path / "1.0")
    assert done.exit_code == 0, done.output
    said = read_fits(tmp_path / "1.0/tiny-1.0.fits").meta["provenance"]
    assert said.commit == "0123456789ab"
    del manifest["cluster"]["commit"]
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    done = release(run_folder, "--version", "1.1", "--out", tmp_path / "1.1")
    assert done.exit_code == 0, done.output
    said = read_fits(tmp_path / "1.1/tiny-1.1.fits").meta["provenance"]
    assert said.commit == "not recorded"


def test_a_release_is_never_overwritten(finished, tmp_path):
    out = tmp_path / "out"
    assert release(finished[0], "--version", "1.0", "--out", out).exit_code == 0
    before = contents(out)
    again = release(finished[0], "--version", "1.0", "--out", out)
    assert "released before, the same to the last byte" in again.stderr
    other = release(finished[0], "--version", "1.1", "--out", out)
    assert other.exit_code == 2
    assert f"{out} is there and is not this release: " in other.stderr
    assert "give another --version, or another folder with --out." in other.stderr
    assert contents(out) == before
    (out / "README.md").write_text("mine")
    changed = release(finished[0], "--version", "1.0", "--out", out)
    assert f"{out} is there and is not this release: README.md differs." in changed.stderr
    assert (out / "README.md").read_text() == "mine"


def test_a_wrong_version_and_an_unfinished_run_are_refused(finished, tmp_path):
    wrong = release(finished[0], "--version", "final")
    assert wrong.exit_code == 2
    assert "version 'final'; valid: two or three numbers with points" in wrong.stderr
    unfinished = release(tmp_path / "tiny", "--version", "1.0")
    assert unfinished.exit_code == 2
    assert "release needs the step 'ingest', which is not done" in unfinished.stderr


def test_diff_tells_two_releases_apart(finished, tmp_path):
    for version in ("1.0", "1.1"):
        release(finished[0], "--version", version, "--out", tmp_path / version)
    differ = invoke("diff", tmp_path / "1.0", tmp_path / "1.1")
    assert differ.exit_code == 1
    lines = differ.stdout.splitlines()
    assert lines[0] == "provenance, release: 1.0 -> 1.1"
    assert lines[1].startswith("provenance, citation: ")
    assert len(lines) == 2
    tables = [tmp_path / "1.0/tiny-1.0.fits", tmp_path / "1.0/tiny-1.0.vot"]
    same = invoke("diff", *tables)
    assert (same.exit_code, same.stdout) == (0, "no difference\n")
    lost = invoke("diff", tables[0], "none.fits")
    assert lost.exit_code == 2


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
    pd.testing.assert_frame_equal(rows(folder), before, check_exact=True)


def test_killed_at_any_step_it_ends_with_the_same_rows(finished, tmp_path):
    for step, seconds in KILLED.items():
        kill_in(step, seconds, tmp_path)
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "catalogue: done before" in ended.stderr
    pd.testing.assert_frame_equal(rows(tmp_path / "tiny"), rows(finished[0]), check_exact=True)
    assert not list((tmp_path / "tiny").rglob(".*.part"))


def kill_in(step: str, seconds: float, folder: Path) -> None:
    """Start the walk and kill -9 all of its processes so long after it begins `step`."""
    process = subprocess.Popen(
        command("run", RUN_FILE, "--runs", folder),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    said = ""
    for line in process.stderr:
        said += line
        if line.strip() == f"{step} …":
            break
    else:
        pytest.fail(f"the walk never began {step}:\n{said}")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    manifest = json.loads((folder / "tiny/manifest.json").read_text())
    assert step in manifest
    assert "finished" not in manifest[step]


def rows(folder: Path) -> pd.DataFrame:
    return read_votable(released(folder, "vot")).to_pandas()


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


def test_the_code_of_the_story_runs(finished, capsys):
    """On this run instead of the demo's; each prints something."""
    story = (Path(__file__).parents[2] / "docs/story.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", story, re.S)
    assert len(blocks) == 4
    for block in blocks:
        here = block.replace("runs/demo/", f"{finished[0]}/").replace("demo-draft", "tiny-draft")
        exec(here, {})
        assert capsys.readouterr().out.strip(), block


def test_a_finished_detector_scores_a_folder(finished, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    shard = pq.read_table(finished[0] / "cutouts/mock/00000.parquet").slice(0, 5).to_pylist()
    for row in shard:
        (images / f"{row['object_id']}.jpg").write_bytes(row["image"])
    (images / "broken.jpg").write_bytes(shard[0]["image"][:400])
    told = subprocess.run(
        command(
            "score", images, "--out", tmp_path / "out", "--model", finished[0] / "detector/mixed"
        ),
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
