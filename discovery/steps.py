"""The steps of a run: each hands the run's folders and settings to one verb."""

import pandas as pd
import pyarrow as pa

from discovery import report
from discovery.candidates import (
    find_candidates,
    left_out_of,
    open_detectors,
    read_embeddings,
    read_known,
)
from discovery.cutouts.store import SPLITS, CutoutStore, write_table
from discovery.detector import score as scoring
from discovery.detector import train as training
from discovery.detector.checkpoint import CARD
from discovery.errors import BadInput
from discovery.generator import synthesize
from discovery.generator import train as generator_training
from discovery.generator.checkpoint import GENERATORS, known_tags
from discovery.morphology.captions import count_tags, require_tags, tags_of
from discovery.neighbours.group import group
from discovery.processes import cores
from discovery.progress import say
from discovery.release import write_draft
from discovery.run import MIXED, Run
from discovery.surveys import ingest as ingesting


def ingest_step(run: Run) -> None:
    """Surveys into one store; published objects and, for the judge alone, the truth."""
    surveys = run.config.survey
    store = ingesting.ingest(surveys, run.config.captions, run.cutouts, run.config.seed, cores())
    if run.config.searches:
        _refuse_empty_splits(store)
    known = ingesting.match_known(surveys, store)
    write_table(pa.Table.from_pandas(known, preserve_index=False), run.known)
    truths = [truth for survey in surveys if (truth := survey.truth()) is not None]
    if truths:
        truth = pd.concat(truths, ignore_index=True)
        write_table(pa.Table.from_pandas(truth, preserve_index=False), run.truth)


def _refuse_empty_splits(store: CutoutStore) -> None:
    filled = set(store.table(["split"])["split"])
    if empty := [split for split in SPLITS if split not in filled]:
        raise BadInput(
            f"of {len(store):,} cutouts none is in the split {empty[0]!r}, and a search needs all "
            f"of {', '.join(SPLITS)}. Give more cutouts, or more of them to that split in the "
            "[[survey]] of the run file."
        )


def train_generator_step(run: Run) -> None:
    """The diffusion model, on every captioned cutout of the training split."""
    refuse_unknown_words(run)
    generator_training.run(run.store(), run.config.generator, run.generator, run.device)


def refuse_unknown_words(run: Run) -> None:
    """Before hours of training: what it cannot teach the generator, no prompt may ask for.

    Raises:
        BadInput: emphasis, not_negative or a prompt names what no caption says, or there is not
            enough to teach the critic that is asked for.
    """
    config = run.config.generator
    captions = run.store().table(["caption"], split="train")["caption"].dropna()
    voted = count_tags(captions)
    for text in config.emphasis:
        require_tags(tags_of(text), voted, "emphasis")
    if run.config.synthesis is None:
        return
    synthesize.lessons_for(run.config.synthesis, run.store())
    require_tags(tags_of(run.config.detector.not_negative), voted, "not_negative")
    asked = [
        text for w in run.config.synthesis.wanted for text in (w.prompt, w.negative, w.outline)
    ]
    GENERATORS[config.kind].refuse(config, asked, {**known_tags(config), **voted})


def synthesize_step(run: Run) -> None:
    """The rare combination, dreamt from the prompts of the run file."""
    asked = run.config.synthesis
    synthesize.run(run.generator, asked, run.synthetic, run.device, run.store())


def train_step(run: Run, variant: str) -> None:
    """The detector of each fold on real and synthetic cutouts, or on real ones alone."""
    synthetic = run.synthetic_store() if variant == MIXED else None
    known = read_known(run)
    for fold, out in enumerate(run.detectors(variant)):
        if (out / CARD).exists():  # of a walk that was cut short: a card is written last
            continue
        if run.folds > 1:
            say(f"  fold {fold}, of {run.folds}")
        config, left_out = run.config.detector, left_out_of(run, fold)
        training.run(run.store(), synthetic, known, config, out, run.painted, run.device, left_out)


def score_step(run: Run, variant: str) -> None:
    """Every cutout of every survey, shard by shard."""
    detector = open_detectors(run, variant)
    for survey in run.config.survey:
        store = CutoutStore(run.cutouts / survey.name)
        scoring.score_store(detector, store, run.scores(variant), survey.name)


def cluster_step(run: Run) -> None:
    """The candidates in groups that look alike, each with its contact sheet."""
    candidates, known = find_candidates(run), read_known(run)["object_id"].dropna()
    group(
        candidates,
        read_embeddings(run, candidates["object_id"]),
        read_embeddings(run, known.drop_duplicates()),
        run.store(),
        run.config.cluster,
        run.clusters,
    )


def catalogue_step(run: Run) -> None:
    """The catalogue in every format, a draft until it is released."""
    write_draft(run)


def report_step(run: Run) -> None:
    """The page, its figures, and metrics.json."""
    report.write(run)
