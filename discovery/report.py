"""Gather what a run made into its report, its metrics and its closing words."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

import discovery
from discovery.candidates import read_cards, read_scores
from discovery.cutouts.store import CutoutStore, load_pixels
from discovery.evidence import words
from discovery.evidence.figures import SampleRow
from discovery.evidence.judge import Judgement
from discovery.evidence.report import Cluster, Download, ReportInputs, write_report
from discovery.files import digest, read_json, write_json
from discovery.morphology.prompts import plain_text
from discovery.release import (
    DRAFT,
    catalogue_table,
    judge_search,
    of_all,
    threshold_rule,
)
from discovery.run import MIXED, Run
from discovery.surveys.ingest import read_failures

THUMBNAIL_PX = 96
SHOWN_PER_PROMPT = 12


def write(run: Run) -> Path:
    """Write report/index.html, its figures, and metrics.json."""
    judgements = {variant: judge_search(run, variant) for variant in run.variants}
    metrics = {variant: judged.to_json() for variant, judged in judgements.items()}
    write_json(run.folder / "metrics.json", metrics)
    return write_report(_inputs(run, judgements), run.report)


def _inputs(run: Run, judgements: dict[str, Judgement]) -> ReportInputs:
    table = catalogue_table(run)
    return ReportInputs(
        title=run.config.catalogue.title,
        quarry=run.config.catalogue.quarry,
        run=run.config.name,
        created=datetime.now(UTC).date().isoformat(),
        judgement=judgements[MIXED],
        beside=next((j for variant, j in judgements.items() if variant != MIXED), None),
        scores=read_scores(run, MIXED).query("searched"),
        candidates=table,
        thumbnails=_thumbnails(run, table),
        samples=_samples(run),
        prompts=tuple((p.prompt, p.count) for p in run.config.synthesis.prompts),
        clusters=_clusters(table),
        failures=read_failures(run.cutouts),
        provenance=_provenance(run),
        timings=_timings(run),
        downloads=_downloads(run),
    )


def _thumbnails(run: Run, table: pd.DataFrame) -> dict[str, np.ndarray]:
    ids = list(table["object_id"])
    return dict(zip(ids, load_pixels(run.store(), ids, THUMBNAIL_PX), strict=True))


def _samples(run: Run) -> tuple[SampleRow, ...]:
    size, store = run.config.detector.size, run.store()
    captions = store.table(["object_id", "caption"], split="train").dropna()
    said = captions["caption"] + ","
    shown = {tag: said.str.contains(f" {tag},", regex=False) for tag in _hunted_tags(run)}
    real = [
        SampleRow(f"real: {tag}", _first(store, captions[has], size)) for tag, has in shown.items()
    ]
    synthetic = run.synthetic_store()
    prompts = synthetic.table(["object_id", "prompt"])
    dreamt = [
        SampleRow(f"synthetic: {prompt}", _first(synthetic, rows, size))
        for prompt, rows in prompts.groupby("prompt", sort=False)
    ]
    return tuple(row for row in real + dreamt if len(row.images))


def _hunted_tags(run: Run) -> list[str]:
    """What the prompts of the quarry combine, tag by tag, less the survey's name before them."""
    hunted = [plain_text(p.prompt) for p in run.config.synthesis.prompts if p.label == 1]
    return list(dict.fromkeys(tag.strip() for text in hunted for tag in text.split(",")[1:]))


def _first(store: CutoutStore, rows: pd.DataFrame, size: int) -> np.ndarray:
    # The first ones, not the best ones.
    return load_pixels(store, list(rows["object_id"].head(SHOWN_PER_PROMPT)), size)


def _clusters(table: pd.DataFrame) -> tuple[Cluster, ...]:
    return tuple(
        Cluster(
            int(number),
            tuple(members["object_id"]),
            float(members["probability"].mean()),
            f"../clusters/cluster-{number:02d}.png",
        )
        for number, members in table.groupby("cluster")
    )


def _provenance(run: Run) -> dict[str, str]:
    cards, generator = read_cards(run, MIXED), read_json(run.generator / "generator.json")
    thresholds = ", ".join(f"{card['threshold']:.6g}" for card in cards)
    return {
        "software": f"discovery {discovery.__version__}",
        "configuration digest": digest(run.config.model_dump(mode="json")),
        "generator digest": generator["digest"],
        "detector weights, SHA-256": of_all(cards, "weights_sha256"),
        "training set digest": of_all(cards, "training_digest"),
        "threshold": f"{thresholds}; {threshold_rule(cards)}",
        "seeds": f"run {run.config.seed}, generator {run.config.generator.seed}, "
        f"synthesis {run.config.synthesis.seed}, detector {run.config.detector.seed}",
    }


def _timings(run: Run) -> tuple[tuple[str, float], ...]:
    steps = read_json(run.folder / "manifest.json")
    taken = [(step["finished"], name) for name, step in steps.items() if "finished" in step]
    return tuple((name, steps[name]["seconds"]) for _, name in sorted(taken))


def _downloads(run: Run) -> tuple[Download, ...]:
    files = sorted(path for path in run.catalogue.iterdir() if not path.name.startswith("."))
    return tuple(Download(path.name, f"../catalogue/{path.name}") for path in files)


def closing_words(run: Run) -> str:
    """What a finished run prints: its outcome in sentences, then where to look."""
    if not run.config.searches:
        dreams = f"\ndreams     {run.synthetic}" if run.config.synthesis else ""
        return f"generator  {run.generator}{dreams}"
    judged = {variant: judge_search(run, variant) for variant in run.variants}
    beside = next((j for variant, j in judged.items() if variant != MIXED), None)
    lines = words.verdict(judged[MIXED], run.config.catalogue.quarry, beside)
    lines += ["", f"report     {run.report / 'index.html'}"]
    lines += [
        f"catalogue  {path}"
        for suffix in ("fits", "vot")
        for path in [run.catalogue / f"{run.config.name}-{DRAFT}.{suffix}"]
    ]
    lines += [f"to release it, type: discovery release {run.source} --version 1.0"]
    return "\n".join(lines)
