"""Does what a run found on one sky hold on others? Its frozen detectors on skies of other seeds.

    python benchmarks/skies.py RUN_FOLDER SEED [SEED ...]      (a finished run of a mock sky)

Nothing is trained and no threshold moves: each sky is as large as the run's search, is rendered,
scored and judged as the run's own, and its truth is read by the judge alone. What was rendered and
scored is kept in RUN_FOLDER/skies/ and used again.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from discovery.config import RunConfig, load_config
from discovery.detector.checkpoint import load_detector
from discovery.detector.score import score_store
from discovery.evidence.judge import Judgement, judge
from discovery.evidence.metrics import Proportion, paired, purity_at_prevalence, wilson
from discovery.evidence.words import difference
from discovery.morphology.captions import CaptionRules
from discovery.run import Run
from discovery.surveys import MockSurvey
from discovery.surveys.ingest import ingest
from discovery.surveys.mock import STANDS_OUT


def judge_sky(run: Run, seed: int) -> dict[str, Judgement]:
    """Every detector of the run on the sky of `seed`."""
    own = run.config.survey[0]
    sky = own.model_copy(
        update={"seed": seed, "train": 0, "validation": 0, "published_elsewhere": 0}
    )
    folder = run.folder / "skies" / str(seed)
    store = ingest([sky], CaptionRules(), folder / "cutouts", 0, os.cpu_count() or 1)
    truth = sky.truth()
    return {v: judge_variant(run, v, store, truth, folder / "scores" / v) for v in run.variants}


def judge_variant(run: Run, variant: str, store, truth: pd.DataFrame, out: Path) -> Judgement:
    detector = load_detector(run.detector(variant))
    files = score_store(detector, store, out, "mock")
    columns = ["object_id", "status", "score", "probability"]
    scores = pd.concat([pq.read_table(file, columns=columns).to_pandas() for file in files])
    return judge(
        scores.assign(split="search", searched=True),
        pd.DataFrame(columns=["object_id", "name", "in_training"]),
        detector.card["threshold"],
        variant=variant,
        truth=truth,
        stands_out=STANDS_OUT,
        natural_prevalence=run.config.evidence.natural_prevalence,
    )


def pooled(parts: Sequence[Proportion]) -> Proportion:
    return wilson(sum(p.k for p in parts), sum(p.n for p in parts))


def say(name: str, judged: Sequence[Judgement]) -> None:
    found, rate = (
        pooled([j.completeness for j in judged]),
        pooled([j.false_positive_rate for j in judged]),
    )
    natural = purity_at_prevalence(found, rate, judged[0].natural_prevalence)
    clear = pooled([j.completeness_standing_out for j in judged])
    print(
        f"{name:<20} candidates {sum(j.candidates for j in judged):4d}   "
        f"purity {percent(pooled([j.purity for j in judged]))}, "
        f"at {judged[0].natural_prevalence:.2%} {natural.value:.0%} "
        f"({natural.low:.0%}-{natural.high:.0%})   "
        f"completeness: lane stands out {percent(clear)}, all {percent(found)}"
    )


def percent(p: Proportion) -> str:
    if p.estimate is None:
        return "unknown"
    return f"{p.estimate:.0%} ({p.k} of {p.n}; {p.low:.0%}-{p.high:.0%})"


def say_difference(skies: Sequence[dict[str, Judgement]]) -> None:
    mixed, alone = (
        [t.found for sky in skies for t in sorted(sky[v].targets, key=lambda t: t.object_id)
         if t.contrast >= STANDS_OUT]
        for v in ("mixed", "real-only")
    )  # fmt: skip
    print(f"Lanes that stand out, mixed against real-only: {difference(paired(mixed, alone))}")


def main(folder: Path, seeds: Sequence[int]) -> None:
    config: RunConfig = load_config(folder / "run.toml")
    run = Run(config, folder, folder / "run.toml")
    if not isinstance(config.survey[0], MockSurvey):
        sys.exit(f"{folder} is no run of a mock sky; nobody knows the truth of other skies.")
    if config.survey[0].seed in seeds:
        sys.exit(f"seed {config.survey[0].seed} is the run's own sky; give others.")
    skies = [judge_sky(run, seed) for seed in seeds]
    for variant in run.variants:
        for seed, sky in zip(seeds, skies, strict=True):
            say(f"{variant} {seed}", [sky[variant]])
        say(f"{variant} all {len(skies)}", [sky[variant] for sky in skies])
    if len(run.variants) > 1:
        say_difference(skies)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
