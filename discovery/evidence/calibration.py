"""Whether probabilities keep their promise at natural prevalence; of a mock sky, with its truth."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.candidates import open_detectors
from discovery.evidence import figures, ranking
from discovery.evidence.ablation import recorded
from discovery.evidence.bootstrap import draw, estimate
from discovery.evidence.metrics import (
    RELIABILITY_EDGES,
    Bin,
    Proportion,
    purity_at_prevalence,
    wilson,
)
from discovery.evidence.sample import Sample
from discovery.evidence.tables import write_both
from discovery.run import Run


def judge_calibration(run: Run, sample: Sample, out: Path) -> dict:
    """Each detector of the run on its own search split and all further skies.

    Returns:
        what evidence.json says of it.
    """
    return {
        "natural": run.config.evidence.natural_prevalence,
        "true": int(sample.objects["is_true"].sum()),
        "objects": len(sample.objects),
        "detectors": {variant: _judged(run, sample, variant, out) for variant in run.variants},
    }


def _judged(run: Run, sample: Sample, variant: str, out: Path) -> dict:
    asked = run.config.evidence
    scores = sample.scores(
        open_detectors(run, variant), run.folder / "evidence" / "scored" / variant
    )
    stated = run.config.detector.prevalence
    promised = ranking.moved(scores["probability"].to_numpy(), stated, asked.natural_prevalence)
    is_true = sample.objects["is_true"].to_numpy(bool)
    measure = partial(
        _measured, is_true=is_true, probability=promised, prevalence=asked.natural_prevalence
    )
    draws = draw(is_true, [[measure]], asked.replicates, run.config.seed)
    bins = reliability(is_true, promised, asked.natural_prevalence)
    write_both(_table(bins), out / "tables" / f"calibration-{variant}")
    path = out / "figures" / f"calibration-{variant}.png"
    figures.save(path, figures.reliability, bins, pdf=True)
    measures = [
        {"measure": name} | recorded("", estimate(draws.mean(name)[0])) for name in draws.values
    ]
    return {"stated_for": stated, "measures": measures}


def _measured(weights, is_true, probability, prevalence):
    return ranking.calibration(is_true, probability, weights, prevalence)


def reliability(is_true: np.ndarray, probability: np.ndarray, prevalence: float) -> list[Bin]:
    """Share of true objects in bins of the probability, as in a sky of this prevalence.

    Each `fraction` counts the objects that are there; its estimate and interval are of the sky.
    """
    bins, edges = [], (*RELIABILITY_EDGES[:-1], np.inf)
    for low, high in itertools.pairwise(edges):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            mean = _mean(probability, is_true, inside, prevalence)
            fraction = _in_the_sky(is_true, inside, prevalence)
            bins.append(Bin(float(low), None if high == np.inf else float(high), mean, fraction))
    return bins


def _in_the_sky(is_true: np.ndarray, inside: np.ndarray, prevalence: float) -> Proportion:
    true, other = (
        wilson(int((inside & kind).sum()), int(kind.sum())) for kind in (is_true, ~is_true)
    )
    sky = purity_at_prevalence(true, other, prevalence)
    return Proportion(true.k, true.k + other.k, sky.value, sky.low, sky.high)


def _mean(probability, is_true, inside, prevalence) -> float:
    weights = np.where(is_true, prevalence / is_true.sum(), (1 - prevalence) / (~is_true).sum())
    return float(np.average(probability[inside], weights=weights[inside]))


def _table(bins: list[Bin]) -> pd.DataFrame:
    rows = [
        {
            "low": b.low,
            "high": b.high,
            "promised": b.mean,
            "true": b.fraction.k,
            "objects": b.fraction.n,
            "fraction": b.fraction.estimate,
            "fraction_low": b.fraction.low,
            "fraction_high": b.fraction.high,
        }
        for b in bins
    ]
    return pd.DataFrame(rows)
