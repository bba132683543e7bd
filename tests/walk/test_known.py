"""A search of real cutouts recognises the published objects among them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from catalogs import crossmatch, read_fits
from discovery.config import load_config
from discovery.detector.checkpoint import CARD
from discovery.detector.train import train_detector
from discovery.files import read_json, write_json
from discovery.release import write_draft
from discovery.run import MIXED, Manifest, Run
from discovery.steps import cluster_step, ingest_step, score_step
from tests.detector.toy import CONFIG, train_and_validation

TINY = (Path(__file__).parent / "tiny.toml").read_text()
LIST = "catalogues/dlsg_kaviraj2012/dlsg_basic.csv"
BIBCODE = "2012MNRAS.423...49K"
OTHERS = 40  # of the 7,352 cutouts of no published object
SURVEY = """
compare_without_synthetic = false

[[survey]]
kind = "folder"
name = "sdss_radec"
path = "{path}"
table = "labels.csv"
ra_column = "ra"
dec_column = "dec"
search_where = {{ in_dlsg = true }}
train = 0.2
validation = 0.2
search = 0.6

[survey.published]
table = "{published}"
id_column = "dr7objid"
ra_column = "ra"
dec_column = "dec"
bibcode = "{bibcode}"
"""


@pytest.fixture
def labels(real_data):
    ids = {"dlsg_dr7objid": str}  # beyond 2^53
    return pd.read_csv(real_data / "sdss_radec/labels.csv", dtype=ids)


@pytest.fixture
def run(real_data, labels, tmp_path):
    """A run that ends with scores, by a detector of one step that takes all for candidates."""
    some = pd.concat([labels[labels["in_dlsg"]], labels[~labels["in_dlsg"]].head(OTHERS)])
    (tmp_path / "data/images").mkdir(parents=True)
    for image in some["image"]:
        shutil.copy(real_data / "sdss_radec" / image, tmp_path / "data" / image)
    some.to_csv(tmp_path / "data/labels.csv", index=False)
    survey = SURVEY.format(path=tmp_path / "data", published=real_data / LIST, bibcode=BIBCODE)
    first, rest = TINY[: TINY.index("[[survey]]")], TINY[TINY.index("[generator]") :]
    source = tmp_path / "radec.toml"
    source.write_text(first + survey.replace("compare", "[evidence]\ncompare", 1) + rest)
    run = Run(load_config(source), tmp_path / "run", source, "cpu")
    ingest_step(run)
    config = CONFIG.model_copy(update={"steps": 1})
    train_detector(*train_and_validation(), config, run.detector(MIXED), "cpu")
    card = run.detector(MIXED) / CARD
    write_json(card, read_json(card) | {"threshold": 0.0})
    score_step(run, MIXED)
    cluster_step(run)
    Manifest(run.folder).finish("cluster", [run.clusters])
    return run


def test_all_seven_published_ones_are_recognised_in_the_catalogue(run, labels, real_data):
    write_draft(run)
    table = read_fits(run.catalogue / "tiny-draft.fits").to_pandas()
    assert len(table) == OTHERS + 7
    known = table[table["known_name"].notna()].set_index("known_name")
    truly = labels[labels["in_dlsg"]].set_index("dlsg_dr7objid")
    assert set(known.index) == set(truly.index)
    assert len(known) == 7
    assert set(known["known_bibcode"]) == {BIBCODE}
    published = pd.read_csv(real_data / LIST, dtype={"dr7objid": str}).set_index("dr7objid")
    for name, row in known.iterrows():
        here, there = (
            SkyCoord(frame.loc[name, "ra"], frame.loc[name, "dec"], unit="deg")
            for frame in (truly, published)
        )
        expected = here.separation(there).arcsec
        np.testing.assert_allclose(row["known_separation_arcsec"], expected, rtol=1e-5, atol=1e-6)
        assert Path(truly.loc[name, "image"]).stem == row["object_id"]
        assert row["split"] == "search"


def test_of_all_cutouts_seven_are_within_three_arcsec_of_a_published_object(labels, real_data):
    published = pd.read_csv(real_data / LIST, dtype={"dr7objid": str})
    match = crossmatch(labels["ra"], labels["dec"], published["ra"], published["dec"], 3.0)
    found = match.index >= 0
    np.testing.assert_array_equal(found, labels["in_dlsg"])
    names = published["dr7objid"].to_numpy()[match.index[found]]
    assert list(names) == list(labels.loc[labels["in_dlsg"], "dlsg_dr7objid"])
    assert match.best[found].all()
    assert np.nanmax(match.separation_arcsec) * u.arcsec < 3 * u.arcsec
