"""Ranks of published objects, and what became of those that were not searched."""

import numpy as np
import pandas as pd
import pytest

from discovery.evidence.calibration import reliability
from discovery.evidence.known import published_ranks, summary


def searched():
    score = np.linspace(4, -4, 200)
    table = pd.DataFrame({"object_id": [f"o{i}" for i in range(200)], "score": score})
    table["probability"] = 1 / (1 + np.exp(-score))
    table["rank"] = np.arange(1.0, 201)
    table["status"], table["judged"] = "ok", True
    table["candidate"] = table["probability"] >= 0.9
    table["published"] = table["object_id"].isin(["o3", "o100", "o199"])
    table.loc[199, ["score", "probability", "rank"]] = np.nan
    table.loc[199, "status"] = "unreadable: empty file"
    return table.assign(galaxy="g" + table["object_id"].str[1:])


PUBLISHED = pd.DataFrame(
    {
        "name": ["deep", "top", "nowhere", "lost", "trained beside"],
        "bibcode": "2012MNRAS.423...49K",
        "galaxy": ["g100", "g3", None, "g199", "g777"],
    }
)


def test_every_published_object_has_its_rank_or_a_reason():
    table = published_ranks(PUBLISHED, searched()).set_index("name")
    assert table.index.tolist()[:2] == ["top", "deep"]
    assert table.loc["top", ["rank", "top_share", "outcome"]].tolist() == [4, 0.02, "candidate"]
    assert table.loc["deep", ["rank", "outcome"]].tolist() == [101, "below the threshold"]
    assert table.loc["nowhere", "outcome"] == "not searched: no cutout of it"
    assert table.loc["trained beside", "outcome"] == (
        "not searched: its cutouts are of another split"
    )
    assert table.loc["lost", "outcome"] == "unreadable: empty file"


def test_one_without_a_name_is_called_by_its_id():
    nameless = PUBLISHED.assign(name=None)
    table = published_ranks(nameless, searched())
    assert table["name"].tolist()[:2] == ["o3", "o100"]
    assert table["name"].tolist()[-1] == "without a name"


def test_the_summary_counts_and_its_area_is_that_of_the_ranks():
    everything = searched()
    found = summary(published_ranks(PUBLISHED, everything), everything)
    assert (found["published"], found["searched"], found["candidates"]) == (5, 3, 1)
    assert (found["in_top_0.01"], found["in_top_0.05"]) == (0, 1)
    assert found["worst_top_share"] == 101 / 200
    # Mann–Whitney by hand: 194 and 98 of 197 others are below; the unread one is below them all.
    assert found["auroc"] == pytest.approx((194 + 98 + 0) / (3 * 197))


def test_reliability_of_an_enriched_sample_is_that_of_the_sky():
    rng = np.random.default_rng(0)
    is_true = rng.random(60_000) < 0.5
    score = rng.normal(size=60_000) + 2 * is_true
    ratio = np.exp(2 * score - 2)  # of the two densities
    promised = 0.02 * ratio / (0.02 * ratio + 0.98)
    bins = reliability(is_true, promised, 0.02)
    assert sum(b.fraction.n for b in bins) == 60_000
    inside = [b.fraction.low <= b.mean <= b.fraction.high for b in bins]
    assert np.mean(inside) >= 0.8
    assert bins[-1].fraction.estimate == pytest.approx(bins[-1].mean, abs=0.1)
