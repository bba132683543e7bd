"""The page of a judgement: its words, and what it does where something was not measured."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from discovery.errors import BadInput
from discovery.generator.judge import words
from discovery.generator.judge.page import CAPTIONS, MEANINGS, write_judgement
from discovery.morphology.structure import QUANTITIES
from tests.pages import Page

HOSTILE = "mock, <script>alert(1)</script>"


def measured(value, low, high):
    return {"value": value, "low": low, "high": high}


def columns(**told):
    return {
        name + ending: value
        for name, values in told.items()
        for ending, value in zip(("", "_low", "_high"), values, strict=True)
    }


POINT = columns(
    realism=(0.9, 0.8, 0.95), diversity=(1.1, 1, 1.2), consistency=(0.6, 0.5, 0.7), FID=(9.5, 5, 16)
)
SPACE = columns(nearer_to_training=(0.49, 0.46, 0.52)) | {
    "p_value": 0.0123,
    "p_nearer": 0.9,
    "median_synthetic": 2.5,
    "median_held_out": 2.25,
}


def dose(caption, weight, images, lane, early):
    shares = columns(lane=(lane, 0.0, 1.0), early_type=(early, 0.0, 1.0))
    bright = {} if weight is None else columns(brightness=(0.52, 0.48, 0.56))
    return {"caption": caption, "weight": weight, "images": images} | shares | bright


def distance(quantity, ratio):
    return {"quantity": quantity, "apart_sigma": 0.25} | columns(ratio=(ratio, 0.5, 3.5))


FOUND = {
    "case": {
        "digest": "e09ba5d4ffff",
        "kind": "pixel",
        "split": "validation",
        "images_per_half": 300,
        "galaxies_left_out_for_captions_the_generator_cannot_read": 4,
        "size": 64,
        "sampling": {"steps": 12, "guidance": 1.0, "seed": 7, "sampler": "auto"},
        "lanes": {"guidance": 3.0, "outline_above": 0.98},
        "curve_images": 150,
    },
    "leak": "none of 600 is among the 16,000 cutouts that taught the generator",
    "features": {
        "network": "resnet10t",
        "images": 16000,
        "steps": 600,
        "mean_auroc": 0.95,
        "tags": [{"tag": "smooth", "images": 250, "auroc": 0.9625}],
        "training_digest": "abc",
    },
    "measures": {
        name: {"synthetic": measured(0.92, 0.89, 0.95), "real": measured(0.99, 0.98, 1.0)}
        for name in MEANINGS
    },
    "told_apart": {
        "pixels": measured(1.0, 0.999, 1.0),
        "features": measured(0.887, 0.857, 0.913),
        "features, real halves": measured(0.539, 0.496, 0.583),
    },
    "structure": {
        "distances": [
            distance(q, r)
            for q, r in zip(QUANTITIES, (1.31, 0.85, 1.46, 2.01, 1.5, 3.12, 2.21, 1.4), strict=True)
        ],
        "brightness": [
            {"brightness": "flux", "synthetic": 3140, "real": 2940}
            | columns(bias=(-0.07, -0.14, -0.004)),
            {"brightness": "mean_level", "synthetic": 3200, "real": 2998}
            | columns(bias=(0.03, 0.01, 0.05)),
        ],
        "not_measured": {"synthetic": 0.25, "half": 0.05, "other half": 0.0},
    },
    "memory": {"checked": "against 16,000 training images", "features": SPACE, "pixels": SPACE},
    "extrapolation": {
        "doses": [
            dose(HOSTILE, 0.0, 128, 0.0, 1.0),
            dose(HOSTILE, 0.5, 128, 2 / 128, 1.0),
            dose(HOSTILE, 1.6, 128, 87 / 128, 125 / 128),
            dose("mock, smooth", 0.0, 128, 0.0, 1.0),
            dose("mock, smooth", 0.5, 128, 0.0, 1.0),
            dose("mock, smooth", 1.6, 128, 74 / 128, 1.0),
            dose("mock, smooth", None, 90, 0.0, 0.9),
        ],
        "lane_judge": [
            {"images": "painted", "measure": "AUROC", "n": 90} | measured(0.986, 0.97, 0.99),
            {"images": "painted", "measure": "completeness", "n": 90} | measured(0.71, 0.62, 0.78),
        ],
    },
    "curves": {
        "sampling_steps": [{"sampling_steps": n} | POINT for n in (4, 12)],
        "training_steps": [{"training_steps": n} | POINT for n in (100, 200)],
        "real_cutouts": [POINT],
        "knee_of_sampling_steps": 12,
    },
    "fronts": [{"caption": HOSTILE, "guidance": 3.0, "weight": 0.75, "on_front": True} | POINT],
    "speed": {"images_per_second": 5.6, "device": "cpu"},
}
SHEETS = [f"sheet-{c}-lane-{w}-seed-7" for c in (0, 1) for w in ("0", "0.5", "1.6")]
TABLES = ("measures", "told-apart", "structure", "memory", "dose-response", "fronts", "lane-judge",
          "features")  # fmt: skip


def without_data():
    """What the verb writes where nothing could be measured."""
    found = copy.deepcopy(FOUND)
    found["memory"] = {"checked": "cannot be checked: the run's training cutouts are others"}
    found["extrapolation"] = {"checked": "the generator cannot be asked for a lane"}
    found["fronts"], found["curves"]["training_steps"] = [], []
    found["measures"]["diversity"] = {"synthetic": None, "real": None}
    found["features"] |= {"mean_auroc": None, "tags": []}
    found["structure"]["brightness"][0] |= columns(bias=(None, None, None))
    for row in found["structure"]["distances"]:
        row |= {"apart_sigma": None} | columns(ratio=(None, None, None))
    return found


def write(folder, found):
    (folder / "judge.json").write_text(json.dumps(found))
    return write_judgement(folder, "a <b>run</b>")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    for name in (*CAPTIONS, *SHEETS):
        path = folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
        for twin in (path.with_name(f"{name}-dark.png"), path.with_suffix(".pdf")):
            shutil.copy(path, twin)
    (folder / "tables").mkdir()
    for name in TABLES:
        (folder / "tables" / f"{name}.csv").touch()
    return write(folder, FOUND)


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text())


def said(found):
    return words.verdict(found)


def test_the_verdict_is_said_in_plain_sentences():
    short, who, likeness, told, structure, memory, lanes = said(FOUND)
    assert short == (
        "Told from real cutouts; structure as real in 5 of 8 quantities; no memory found; a dust "
        "lane on up to 63 % of the early types asked for one."
    )
    assert who.startswith("The generator e09ba5d4 (of the kind pixel) drew 300 cutouts from the")
    assert "against 600 real cutouts of the split validation" in who
    assert "Realism 92 % (89–95 %)" in likeness
    assert told.startswith("They are told from real cutouts: AUC 1.000 (0.999–1.000) by a network")
    assert "3 lie farther" in structure  # 1.5 itself is within
    assert "asymmetry (3.12), Gini (2.21), ellipticity (2.01)." in structure
    assert "mean flux −7 % (−14 % to −0.4 %)" in structure
    assert memory.startswith("No memory was found: ")
    assert memory.endswith("Leak check: none of 600 is among the 16,000 cutouts that taught the "
                           "generator.")  # fmt: skip
    assert "draws one in 0 % (0 of 256;" in lanes
    assert "by weight: 0.78 % at 0.5, 63 % at 1.6; at best 63 % (161 of 256;" in lanes
    assert "which reaches the aim of 60 %" in lanes
    assert "99 % or more (253 of 256 at the weight 1.6)" in lanes


def test_a_choice_by_a_critic_is_told_with_what_it_chose_by():
    found = copy.deepcopy(FOUND)
    assert "critic" not in said(found)[1]
    found["case"] |= {"critic_images": 1600, "attempts": 1234, "not_chosen": 56}
    assert "chosen from 1,234 by a critic taught by 1,600 other real cutouts" in said(found)[1]
    assert "but for 56, of captions" in said(found)[1]
    assert "the very quantities of structure" in said(found)[1]


def test_shares_of_all_captions_together_have_wilsons_interval():
    lane = words.doses(FOUND["extrapolation"]["doses"])[1.6]["lane"]
    expected = binomtest(87 + 74, 256).proportion_ci(method="wilson")
    assert (lane.k, lane.n) == (161, 256)
    assert (lane.low, lane.high) == pytest.approx((expected.low, expected.high))


def test_the_opposite_verdicts():
    found = copy.deepcopy(FOUND)
    for name in ("pixels", "features"):
        found["told_apart"][name] = measured(0.52, 0.48, 0.56)
        found["memory"][name] = SPACE | columns(nearer_to_training=(0.6, 0.55, 0.65))
    for row in found["structure"]["distances"]:
        row["ratio"] = 1.2
    for row in found["extrapolation"]["doses"]:
        row["lane"] /= 2
    short, _, _, told, structure, memory, lanes = said(found)
    assert short.startswith("Not told from real cutouts; structure as real in 8 of 8 quantities; "
                            "memory of its training;")  # fmt: skip
    assert told.startswith("They could not be told from real cutouts: AUC 0.520 (0.480–0.560)")
    assert "quantities of structure, none lie farther" in structure
    assert memory.startswith("It remembers its training set: ")
    assert "short of the aim of 60 %" in lanes


def test_what_was_not_measured_is_said_with_its_reason(tmp_path):
    found = without_data()
    page = Page(write(tmp_path, found).read_text())
    told = page.said.replace("\xa0", " ")
    for reason in (
        "Structure was not measured",
        "mean flux not measured",
        "Memory cannot be checked: the run's training cutouts are others.",
        "Extrapolation: the generator cannot be asked for a lane.",
        "Not measured: the generator cannot be asked for a lane.",
        "this training kept no snapshots",
        "Not measured: no caption has enough real cutouts",
        "no tag is on enough cutouts",
        "it had nothing to judge",
    ):
        assert reason in told, reason
    assert not page.all("img")
    assert not re.search(r"\b(None|nan|0 of 0)\b", told)


def test_every_figure_and_table_is_linked_and_there(page, written):
    links = page.links()
    assert all((written.parent / link).is_file() for link in links)
    for name in (*CAPTIONS, *SHEETS):
        assert f"figures/{name}.png" in links
        assert f"figures/{name}-dark.png" in links
        assert f"figures/{name}.pdf" in links
    for name in TABLES:
        assert f"tables/{name}.csv" in links
    assert "judge.json" in links


def test_captions_are_escaped_and_the_template_is_resolved(page, written):
    assert len(page.all("script")) == 1  # our own
    assert HOSTILE in page.said
    assert "a <b>run</b>" in page.said
    text = written.read_text()
    assert not [mark for mark in ("{{", "}}", "{%", "%}") if mark in text]


def test_cells_sort_by_the_very_numbers_of_judge_json(page):
    sorts = {float(a["data-sort"]) for _, a in page.tags
             if a.get("class") == "n" and a.get("data-sort")}  # fmt: skip
    assert sorts >= {0.0123, 87 / 128, 3.12, -0.07, 0.887, 0.986, 9.5, 0.9625}


def test_a_folder_without_a_judgement(tmp_path):
    with pytest.raises(BadInput, match=r"judge\.json does not exist; is the folder complete\?"):
        write_judgement(tmp_path, "run")
