"""The steps of a run: each hands the run's folders and settings to one verb."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import discovery
from catalogs import Provenance, designation, write_release
from discovery.cutouts.store import CutoutStore, load_pixels, write_table
from discovery.detector import score as scoring
from discovery.detector import train as training
from discovery.detector.checkpoint import load_detector
from discovery.files import digest, read_json
from discovery.generator import sample as sampling
from discovery.generator import train as generator_training
from discovery.neighbours import cluster as clustering
from discovery.run import MIXED, Run
from discovery.surveys import ingest as ingesting

PHOTOMETRY = {
    "redshift": ("z", "redshift"),
    "r_mag": ("petro_r_mag", "PETROMAG_R"),
    "size_arcsec": ("petro_r90_arcsec", "PETROR90_R"),
    "n_volunteers": ("total_classifications",),
    "smooth_fraction": ("t01_smooth_or_features_a01_smooth_debiased",),
    "odd_fraction": ("t06_odd_a14_yes_debiased",),
    "dust_lane_fraction": ("t08_odd_feature_a38_dust_lane_debiased",),
}


def ingest_step(run: Run) -> None:
    """Surveys into one store; published objects and, for the judge alone, the truth."""
    surveys = run.config.survey
    store = ingesting.ingest(
        surveys, run.config.captions, run.cutouts, run.config.seed, os.cpu_count() or 1
    )
    known = ingesting.match_known(surveys, store)
    write_table(pa.Table.from_pandas(known, preserve_index=False), run.known)
    truths = [truth for survey in surveys if (truth := survey.truth()) is not None]
    if truths:
        truth = pd.concat(truths, ignore_index=True)
        write_table(pa.Table.from_pandas(truth, preserve_index=False), run.truth)


def train_generator_step(run: Run) -> None:
    """The diffusion model, on every captioned cutout of the training split."""
    generator_training.run(run.store(), run.config.generator, run.generator)


def synthesize_step(run: Run) -> None:
    """The rare combination, dreamt from the prompts of the run file."""
    sampling.run(run.generator, run.config.synthesis, run.synthetic)


def train_step(run: Run, variant: str) -> None:
    """A detector on real and synthetic cutouts, or on real ones alone."""
    synthetic = run.synthetic_store() if variant == MIXED else None
    training.run(
        [run.store()], synthetic, read_known(run), run.config.detector, run.detector(variant)
    )


def score_step(run: Run, variant: str) -> None:
    """Every cutout of every survey, shard by shard."""
    detector = load_detector(run.detector(variant))
    for survey in run.config.survey:
        store = CutoutStore(run.cutouts / survey.name)
        scoring.score_store(detector, store, run.scores(variant), survey.name)


def read_known(run: Run) -> pd.DataFrame:
    """Published objects as matched by ingest."""
    return pq.read_table(run.known).to_pandas()


def read_scores(run: Run, variant: str) -> pd.DataFrame:
    """Scores of every cutout, with the split it belongs to; embeddings stay in their files."""
    columns = ["object_id", "status", "score", "probability"]
    files = sorted(run.scores(variant).glob("[!.]*.parquet"))
    scores = pd.concat(
        [pq.read_table(file, columns=columns).to_pandas() for file in files], ignore_index=True
    )
    splits = run.store().table(["object_id", "split", "survey"])
    return scores.merge(splits, on="object_id", validate="one_to_one")


def read_embeddings(run: Run, variant: str, object_ids: pd.Series) -> np.ndarray:
    """float32 (N, D), in the order of `object_ids`."""
    wanted = {object_id: place for place, object_id in enumerate(object_ids)}
    found: dict[int, np.ndarray] = {}
    for file in sorted(run.scores(variant).glob("[!.]*.parquet")):
        table = pq.read_table(file, columns=["object_id", "embedding"])
        ids = table["object_id"].to_pylist()
        rows = [row for row, object_id in enumerate(ids) if object_id in wanted]
        for row in rows:
            found[wanted[ids[row]]] = np.asarray(table["embedding"][row].as_py(), np.float32)
    return np.stack([found[place] for place in range(len(wanted))]) if found else np.zeros((0, 1))


def candidates(run: Run) -> pd.DataFrame:
    """The scored cutouts at or above the frozen threshold, the most probable first."""
    scores = read_scores(run, MIXED)
    threshold = load_detector(run.detector(MIXED), "cpu").card["threshold"]
    above = scores[scores["probability"] >= threshold]
    # Scores break ties of probability, ids ties of scores: the order never depends on a sort.
    order = above.sort_values(["probability", "score", "object_id"], ascending=[False, False, True])
    return order.reset_index(drop=True).assign(rank=lambda table: np.arange(1, len(table) + 1))
