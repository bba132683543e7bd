"""Verbs on data outside of a run: dream with a generator, score a folder with a detector."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from discovery.cutouts.store import CutoutStore, load_pixels
from discovery.detector.checkpoint import load_detector
from discovery.detector.score import score_store
from discovery.errors import BadInput
from discovery.generator import sample as sampling
from discovery.generator.config import PromptCount, SynthesisConfig
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.sheets import contact_sheet
from discovery.surveys import FolderSurvey
from discovery.surveys.ingest import ingest

SHEET_IMAGES = 64
BEST_SHOWN = 20


def synthesize_alone(
    generator: Path,
    prompts: tuple[str, ...],
    count: int,
    steps: int,
    guidance: float,
    seed: int,
    out: Path,
    device: str,
) -> str:
    """Dream `count` cutouts per prompt into the store `out`; returns what to tell the user."""
    wanted = tuple(PromptCount(prompt=prompt, count=count) for prompt in prompts)
    asked = SynthesisConfig(prompts=wanted, steps=steps, guidance=guidance, seed=seed)
    store = CutoutStore(sampling.run(generator, asked, out, device))
    rows = store.table(["object_id", "prompt"])
    for number, (prompt, members) in enumerate(rows.groupby("prompt", sort=False)):
        shown = list(members["object_id"].head(SHEET_IMAGES))
        size = store.table(["width"])["width"].iloc[0]
        sheet = out / f"sheet-{number}.png"
        contact_sheet(load_pixels(store, shown, int(size)), [prompt] * len(shown), sheet)
    return f"{len(rows):,} synthetic cutouts in {out}, a sheet per prompt beside them"


def score_alone(model: Path, path: Path, out: Path, device: str) -> str:
    """Score the store or folder of images `path`; returns the most probable ones as text.

    Raises:
        BadInput: `path` holds neither cutouts nor images, or `model` is no detector.
    """
    detector = load_detector(model, device)
    store = _open_or_ingest(path, out)
    files = score_store(detector, store, out / "scores", "scored")
    columns = ["object_id", "status", "score", "probability"]
    scores = pd.concat([pq.read_table(file, columns=columns).to_pandas() for file in files])
    best = scores.sort_values(["score", "object_id"], ascending=[False, True]).head(BEST_SHOWN)
    candidates = (scores["probability"] >= detector.card["threshold"]).sum()
    return (
        f"{best[['object_id', 'probability']].to_string(index=False)}\n"
        f"{len(scores):,} scored, {candidates:,} at or above the frozen threshold "
        f"{detector.card['threshold']:.4g}; all scores in {out / 'scores'}"
    )


def _open_or_ingest(path: Path, out: Path) -> CutoutStore:
    if not path.is_dir():
        raise BadInput(f"{path} is not a folder; name a cutout store or a folder of JPEG or PNG.")
    if any(p.stem.isdigit() for p in path.rglob("[!.]*.parquet")):
        return CutoutStore(path)
    finished = out / "cutouts"
    if (finished / "failures.parquet").exists() and not (finished / "parts").exists():
        return CutoutStore(finished)
    survey = FolderSurvey(name="folder", path=path, train=0, validation=0, search=1)
    return ingest([survey], CaptionRules(), finished, seed=0, workers=2)
