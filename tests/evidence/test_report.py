"""The page: nothing breaks out of it, nothing is missing from it, and it needs no network."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from discovery.errors import BadInput
from discovery.evidence import figures
from discovery.evidence.figures import SampleRow
from discovery.evidence.judge import judge
from discovery.evidence.report import (
    CANDIDATE_COLUMNS,
    CAPTIONS,
    Cluster,
    Download,
    ReportInputs,
    write_report,
)
from tests.pages import Page

HOSTILE = '<script>alert("1")</script>&"\'><img src=x onerror=alert(2)>'


def search(seed=0, n=300):
    rng = np.random.default_rng(seed)
    ids = [f"{9007199254740993 + i}" for i in range(n)]  # beyond 2^53
    quarry = np.arange(n) < 12
    logit = rng.normal(-6, 1.5, n) + np.where(quarry, 8, 0)
    scores = pd.DataFrame(
        {
            "object_id": ids,
            "status": "ok",
            "score": logit,
            "probability": 1 / (1 + np.exp(-logit)),
            "split": "search",
            "searched": True,
        }
    )
    truth = pd.DataFrame(
        {
            "object_id": ids,
            "kind": np.where(quarry, "dusty", HOSTILE),
            "is_quarry": quarry,
            "lane_contrast": np.where(quarry, np.arange(n) + 1.0, np.nan),
        }
    )
    return scores, truth


def known(*rows):
    return pd.DataFrame(rows, columns=["object_id", "name", "in_training"])


def inputs(with_truth=True, threshold=0.5, **changes) -> ReportInputs:
    scores, truth = search()
    published = known((scores["object_id"][0], HOSTILE, False))
    nature = {"truth": truth, "stands_out": 5.0, "natural_prevalence": 0.04} if with_truth else {}
    one, two = (
        judge(search(s)[0], published, threshold, variant=v, **nature)
        for s, v in ((0, "mixed"), (1, "real-only"))
    )
    table = scores[scores["probability"] >= threshold].sort_values("score", ascending=False)
    ids = list(table["object_id"])
    candidates = pd.DataFrame(
        {
            "object_id": ids,
            # the last one was in training
            "rank": pd.array([*range(1, len(ids)), None][: len(ids)], "Int64"),
            "name": HOSTILE,
            "probability": table["probability"].to_numpy(),
            "ra": 10.0,
            "dec": -0.5,
            "redshift": np.nan,
            "known_name": [HOSTILE if i == ids[0] else None for i in ids],
            "in_training": [i == ids[-1] or None for i in ids],
            "left_out": "never on the page",
        }
    )
    pixels = np.random.default_rng(3).integers(0, 255, (8, 16, 16, 3), np.uint8)
    given = {
        "title": HOSTILE,
        "quarry": HOSTILE,
        "run": HOSTILE,
        "created": "2026-01-02",
        "judgement": one,
        "beside": two,
        "scores": scores,
        "candidates": candidates,
        "thumbnails": {i: pixels[0] for i in ids[1:]},
        "samples": (
            SampleRow("Real $\\bad{$", pixels),
            SampleRow("Synthetic", pixels[:3]),
        ),
        "prompts": ((HOSTILE, 5),),
        "clusters": (Cluster(0, tuple(ids), 0.9, f"../clusters/{HOSTILE}.png"),) if ids else (),
        "failures": pd.DataFrame({"object_id": [HOSTILE], "survey": HOSTILE, "reason": HOSTILE}),
        "provenance": {HOSTILE: HOSTILE},
        "timings": (("ingest", 61.4), (HOSTILE, 3600.0)),
        "downloads": (Download(HOSTILE, "../release/a.fits"),),
        "caveats": (HOSTILE,),
    }
    return ReportInputs(**(given | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_report(inputs(), tmp_path_factory.mktemp("run") / "report")


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text())


def test_hostile_text_is_shown_and_never_run(page):
    assert len(page.all("script")) == 1  # our own
    assert not [a for _, a in page.tags if "onerror" in a]
    assert page.said.count('<script>alert("1")</script>') >= 10  # as text, in every table


def test_the_page_needs_no_network(page):
    links = [a[k] for _, a in page.tags for k in ("src", "href", "srcset") if k in a]
    assert links
    assert not [link for link in links if "://" in link or link.startswith("//")]
    assert not page.all("link")


def test_every_picture_is_there_and_has_words_for_those_who_cannot_see_it(page, written):
    pictures = page.all("img")
    assert all(p["alt"] and p["width"] and p["height"] for p in pictures)
    files = [p["src"] for p in pictures if not p["src"].startswith("data:")]
    files += [s["srcset"] for s in page.all("source")]
    assert len(files) == 2 * 5
    assert all((written.parent / f).is_file() for f in files)


def test_identifiers_stay_whole_and_unknown_columns_are_not_shown(page):
    assert "9007199254740993" in page.said
    assert "never on the page" not in page.said
    assert CANDIDATE_COLUMNS["redshift"][0] not in [t.strip() for t in page.text]  # wholly empty


def test_marks_follow_truth_literature_and_training(page):
    classes = [a["class"] for a in page.all("li") if a.get("class", "").startswith("card")]
    assert {"card m-true", "card m-known", "card m-in-training"} <= set(classes)


def test_what_was_in_training_has_no_rank_and_counts_for_nothing(page):
    assert "1 more reached the threshold in the training and validation splits" in page.said
    assert page.said.count("–") > 0
    cards = [t for t in page.text if t.strip() == "–"]
    assert len(cards) == 2  # in the mosaic and in its cluster


def test_purity_is_told_in_the_search_set_and_in_a_natural_sky(page):
    told = page.said.replace("\xa0", " ")
    assert "Purity in this search set" in told
    assert "In a sky that holds 4 % of them it would be" in told


def test_times_add_up(page):
    assert "1:01:01" in page.said


def test_the_same_inputs_give_the_same_files(written, tmp_path):
    again = write_report(inputs(), tmp_path)
    for path in sorted(written.parent.rglob("*.*")):
        assert (tmp_path / path.relative_to(written.parent)).read_bytes() == path.read_bytes()
    assert again.read_text() == written.read_text()


def test_no_candidate(tmp_path):
    page = Page(write_report(inputs(threshold=0.9999999), tmp_path).read_text())
    assert "No object reached the threshold, so there is no candidate." in page.said
    assert "There is no candidate." in page.said
    assert "Purity undefined (0 of 0)" in page.said.replace("\xa0", " ")


def test_without_truth_purity_is_unknown(tmp_path):
    page = Page(write_report(inputs(with_truth=False, clusters=()), tmp_path).read_text())
    assert "Purity is unknown until people have looked at the candidates" in page.said
    assert "Nobody has vetted these candidates." in page.said
    assert "Truth (mock sky)" not in page.said
    assert not (tmp_path / "figures" / "reliability.png").exists()
    assert "card m-unvetted" in [a.get("class") for a in page.all("li")]


def test_only_what_must_be_given(tmp_path):
    scores, _ = search()
    alone = judge(scores, known(), 0.5, variant="mixed")
    bare = ReportInputs(
        title="t",
        quarry="q",
        run="r",
        created="2026-01-02",
        judgement=alone,
        beside=None,
        scores=scores.assign(probability=np.nan),
        thumbnails={},
        candidates=pd.DataFrame({"object_id": [], "rank": [], "probability": []}),
    )
    page = Page(write_report(bare, tmp_path).read_text())
    assert "no published object is in the search set" in page.said
    assert page.all("img") == []


def test_a_missing_column_is_named(tmp_path):
    given = inputs()
    with pytest.raises(BadInput, match="table of candidates lacks rank; it has object_id"):
        write_report(replace(given, candidates=given.candidates.drop(columns="rank")), tmp_path)


def test_figures_are_drawn_for_both_kinds_of_page_and_for_print(written):
    folder = written.parent / "figures"
    corner = {}
    for name in CAPTIONS:
        for suffix in ("", "-dark"):
            with Image.open(folder / f"{name}{suffix}.png") as image:
                corner[suffix] = image.convert("RGB").getpixel((0, 0))
        assert corner == {"": (255, 255, 255), "-dark": (0x16, 0x19, 0x1D)}
    assert {p.stem for p in folder.glob("*.pdf")} == set(CAPTIONS) - {"samples", "candidates"}


def test_histogram_has_an_edge_on_the_threshold():
    edges = figures._histogram_edges(np.array([-9.0, -3.0, 2.5]), -0.4)
    assert np.isclose(edges, -0.4).sum() == 1
    assert edges[0] <= -9 < 2.5 < edges[-1]
    np.testing.assert_allclose(np.diff(edges), np.diff(edges)[0])
