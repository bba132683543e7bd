"""The verb on a finished search: known objects, painted lanes, calibration and vetted ones."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from discovery.candidates import read_scores, thresholds_of
from discovery.cli import main
from discovery.evidence.verb import asked_for
from discovery.run import MIXED
from tests.evidence.conftest import RUN
from tests.pages import Page

WITH_VETTED = RUN.replace("[catalogue]", "[evidence.vetted]\ntable = '{}'\n\n[catalogue]")


def invoke(run, *only):
    given = ["evidence", str(run.source), "--runs", str(run.folder.parent), "--device", "cpu"]
    return CliRunner().invoke(main, [*given, *(w for name in only for w in ("--only", name))])


@pytest.fixture(scope="module")
def proven(searched):
    done = invoke(searched, "known", "injection", "calibration")
    assert done.exit_code == 0, done.output
    folder = searched.folder / "evidence"
    return searched, json.loads((folder / "evidence.json").read_text())


def test_published_objects_of_the_search_split_are_ranked(proven):
    run, found = proven
    scores = read_scores(run, MIXED).query("split == 'search'").reset_index(drop=True)
    known = pd.read_parquet(run.known).query("not in_training")
    objects = {row["object_id"]: row for row in found["known"]["detectors"]["mixed"]["objects"]}
    assert set(objects) == set(known["object_id"]) != set()
    best = np.sort(scores["score"])[::-1]
    for object_id, row in objects.items():
        mine = scores.set_index("object_id").loc[object_id, "score"]
        assert row["rank"] == (best >= mine).sum()
        assert row["top_share"] == pytest.approx(row["rank"] / len(scores))


def test_painted_lanes_are_scored_by_every_detector_beside_their_controls(proven):
    run, found = proven
    of = found["injection"]["detectors"]
    assert set(of) == {"mixed", "real-only"}
    lanes = pd.read_csv(run.folder / "evidence/tables/injection-mixed-lanes.csv")
    threshold = thresholds_of(run, MIXED)[0]
    assert len(lanes) == of["mixed"]["found"]["n"] == found["injection"]["hosts"] > 10
    assert (lanes["probability"] >= threshold).sum() == of["mixed"]["found"]["k"]
    assert of["mixed"]["controls_found"]["n"] == len(lanes)
    truth = pd.read_parquet(run.truth).query("split == 'search' and not is_quarry")
    assert of["mixed"]["others"] == len(set(truth["object_id"]))
    assert of["mixed"]["seen_true"] == 0
    assert lanes["lane_width"].between(0.015, 0.2).all()
    reddest = lanes.nlargest(round(0.6 * len(lanes)), "host_colour")
    clear = reddest["contrast"] >= 5
    assert 0 < clear.sum() < len(reddest)
    assert of["mixed"]["found_on_red"]["n"] == clear.sum()
    assert of["mixed"]["found_on_red"]["k"] == (clear & (reddest["probability"] >= threshold)).sum()


def test_calibration_is_quoted_for_the_natural_prevalence(proven):
    _, found = proven
    measures = {m["measure"]: m for m in found["calibration"]["detectors"]["mixed"]["measures"]}
    assert measures["ece"]["low"] <= measures["ece"]["value"] <= measures["ece"]["high"]
    assert found["calibration"]["natural"] == 0.0036


def test_the_page_shows_every_figure_and_says_what_the_json_says(proven):
    run, found = proven
    folder = run.folder / "evidence"
    page = Page((folder / "index.html").read_text())
    assert all((folder / link).is_file() for link in page.links())
    share = found["injection"]["detectors"]["mixed"]["found"]
    assert f"{share['k']} of {share['n']})" in page.said
    assert "Saying 0 of everything would have a calibration error of 0.0036" in page.said
    for name in ("injection", "injection-lanes", "injection-mixed-surfaces", "calibration-mixed"):
        assert min(Image.open(folder / "figures" / f"{name}.png").size) > 200


def vet(run, path):
    """The first ten and ten of the rest, graded by the truth."""
    scores = read_scores(run, MIXED).query("split == 'search'").reset_index(drop=True)
    truth = pd.read_parquet(run.truth).set_index("object_id")["is_quarry"]
    rows = pd.concat([scores.head(10), scores.iloc[10::7].head(10)])
    top = np.arange(20) < 10
    table = pd.DataFrame({"object_id": rows["object_id"].to_numpy()})
    table["stratum"] = np.where(top, "top", "rest")
    table["stratum_size"] = np.where(top, 10, len(scores) - 10)
    table["grade"] = np.where(table["object_id"].map(truth), "A", "X")
    table["grade_2"] = table["grade"]
    table["rank"] = 1  # a catalogue has such columns
    table.to_csv(path, index=False)
    return table


def test_vetted_objects_are_weighed_by_their_strata(small, searched, tmp_path):
    table = vet(searched, tmp_path / "vetted.csv")
    run = small.with_text(WITH_VETTED.replace("{}", str(tmp_path / "vetted.csv")))
    done = invoke(run, "vetted")
    assert done.exit_code == 0, done.output
    found = json.loads((run.folder / "evidence/evidence.json").read_text())["vetted"]
    true = table["grade"].eq("A").groupby(table["stratum"]).sum()
    assert found["true"]["value"] == pytest.approx(true["top"] + true["rest"] * 7)
    assert found["stands_for"] == pytest.approx(found["searched"]) == 80
    assert found["tops"][0]["purity"] == found["tops"][0]["purity_low"] == true["top"] / 10
    assert found["agreement"]["kappa"] == 1
    assert [row["top"] for row in found["tops"]] == [10]  # deeper, one in seven was looked at
    sheet = np.asarray(Image.open(run.folder / "evidence/figures/vetted-true.png").convert("RGB"))
    assert sheet.std() > 20


def test_a_vetted_object_that_was_not_searched_is_named(small, searched, tmp_path):
    table = vet(searched, tmp_path / "vetted.csv")
    table.loc[3, "object_id"] = "17"
    table.to_csv(tmp_path / "vetted.csv", index=False)
    run = small.with_text(WITH_VETTED.replace("{}", str(tmp_path / "vetted.csv")))
    done = invoke(run, "vetted")
    assert done.exit_code == 2
    assert "1 vetted objects were not searched, the first is 17; valid are" in done.output


def test_what_is_not_asked_for_is_not_made_and_says_what_to_give(small, searched):
    assert asked_for(searched.config) == ["ablation", "injection", "known", "calibration"]
    done = invoke(searched, "vetted")
    assert done.exit_code == 2
    assert "vetted cannot be made: the run file has no section [evidence.vetted]" in done.output
    alone = small.with_text(RUN[: RUN.index("[evidence]")] + RUN[RUN.index("[catalogue]") :])
    assert asked_for(alone.config) == ["known", "calibration"]


def test_a_search_that_is_not_done_is_asked_for(small, tmp_path):
    run = type(small.run)(small.run.config, tmp_path / "small", small.run.source, "cpu")
    done = CliRunner().invoke(
        main, ["evidence", str(run.source), "--runs", str(tmp_path), "--only", "known"]
    )
    assert done.exit_code == 2
    assert "evidence needs the step 'ingest', which is not done" in done.output
