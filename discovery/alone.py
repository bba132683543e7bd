"""Verbs on data outside of a run: dream with a generator, score a folder with a detector."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from discovery.cutouts.store import CutoutStore, load_pixels
from discovery.detector.checkpoint import load_detector
from discovery.detector.score import score_store
from discovery.errors import BadInput
from discovery.files import read_json, write_json
from discovery.generator import sample as sampling
from discovery.generator.config import SynthesisConfig
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.sheets import contact_sheet
from discovery.progress import say
from discovery.run import remove
from discovery.surveys import FolderSurvey
from discovery.surveys.ingest import ingest

SHEET_IMAGES = 64
BEST_SHOWN = 20


def synthesize_alone(
    generator: Path,
    asked: SynthesisConfig,
    out: Path,
    device: str,
    reference: Path | None = None,
    crop: float | None = None,
) -> str:
    """Dream what is asked for into the store `out`; returns what to tell the user.

    Args:
        reference: a cutout store or a folder of images to start from, any of them; None where
            `asked` starts from noise.
        crop: central fraction of the width to take of every reference; None: all of it. A store
            says it itself.

    Raises:
        BadInput: `out` holds Parquet that is not a store of this verb, the generator, a prompt or
            the sampler is wrong, or `reference` holds neither cutouts nor images.
    """
    _refuse_foreign(out)
    with _references(reference, crop) as real:
        store = CutoutStore(sampling.run(generator, asked, out, device, real, any_real=True))
    rows = store.table(["object_id", "prompt"])
    for number, (prompt, members) in enumerate(rows.groupby("prompt", sort=False)):
        shown = list(members["object_id"].head(SHEET_IMAGES))
        size = store.table(["width"])["width"].iloc[0]
        sheet = out / f"sheet-{number}.png"
        contact_sheet(load_pixels(store, shown, int(size)), [prompt] * len(shown), sheet)
    return f"{len(rows):,} synthetic cutouts in {out}, a sheet per prompt beside them"


def _refuse_foreign(out: Path) -> None:
    # `sampling.run` replaces the store in its folder; that must be one of its own.
    if not (out / sampling.PLAN).exists() and any(out.glob("*.parquet")):
        raise BadInput(
            f"{out} holds Parquet files that `discovery synthesize` did not write, and it would "
            "replace them; give another --out."
        )


@contextlib.contextmanager
def _references(path: Path | None, crop: float | None) -> Iterator[CutoutStore | None]:
    if path is None:
        yield None
    elif _is_store(path, crop):
        yield CutoutStore(path)
    else:
        # Not inside --out, where they would be taken for synthetic cutouts.
        with tempfile.TemporaryDirectory() as folder:
            survey = _folder(path, crop, train=1, search=0)
            yield ingest([survey], CaptionRules(), Path(folder), 0, workers=2)


def score_alone(model: Path, path: Path, out: Path, device: str, crop: float | None = None) -> str:
    """Score the store or folder of images `path`; returns the most probable ones as text.

    What changed in `path` since an earlier scoring into `out` is scored anew.

    Args:
        crop: central fraction of the width to show of every image; None: all of it. A store
            says it itself.

    Raises:
        BadInput: `path` holds neither cutouts nor images, `out` the scores of another path,
            `model` is no detector, or a `crop` comes with a store.
    """
    detector = load_detector(model, device)
    store = _open_or_ingest(path, out, crop)
    files = score_store(detector, store, out / "scores", "scored")
    for old in set((out / "scores").glob("*.parquet")) - set(files):
        old.unlink()  # of a shard that is no longer there
    columns = ["object_id", "status", "score", "probability"]
    scores = pd.concat([pq.read_table(file, columns=columns).to_pandas() for file in files])
    best = scores.sort_values(["score", "object_id"], ascending=[False, True]).head(BEST_SHOWN)
    candidates = (scores["probability"] >= detector.card["threshold"]).sum()
    return (
        f"{best[['object_id', 'probability']].to_string(index=False)}\n"
        f"{len(scores):,} scored, {candidates:,} at or above the frozen threshold "
        f"{detector.card['threshold']:.4g}; all scores in {out / 'scores'}\n"
        f"{_shown(store, detector.card.get('field'))}"
    )


def _shown(store: CutoutStore, trained: dict | None) -> str:
    """Which part of the images was scored, and what the detector learnt from."""
    crop = store.table(["crop"])["crop"].median()
    line = f"scored was the central {100 * crop:.3g} % of each image's width"
    if not trained or not trained["crop"]:
        return f"{line}; the detector's card does not say what it learnt from"
    parts = [f"{100 * share:.3g} % of {survey}" for survey, share in trained["crop"].items()]
    wide = f", {trained['arcsec']:g} arcsec in the median" if trained["arcsec"] else ""
    return (
        f"{line}; the detector learnt from the central {', '.join(parts)}{wide}, as a rule "
        "3 petrosian R90 of the galaxy (where your images show more, give --crop)"
    )


def _claim(out: Path, path: Path, data: dict) -> None:
    """Write down whose scores `out` holds; refuse it for another source.

    Where `data`, what was made of the source, is no longer the same, its cutouts are removed.
    """
    source, written = {"source": str(path.resolve())} | data, out / "source.json"
    held = read_json(written) if written.exists() else source
    if held["source"] != source["source"]:
        raise BadInput(f"{out} holds the scores of {held['source']}; give another --out.")
    if held != source:
        say(f"  {path} or --crop changed since it was scored into {out}; begins anew")
        remove(out / "cutouts")
    write_json(written, source)


def _open_or_ingest(path: Path, out: Path, crop: float | None) -> CutoutStore:
    if _is_store(path, crop):
        store = CutoutStore(path)
        _claim(out, path, {})
        return store
    survey = _folder(path, crop, train=0, search=1)
    survey.validate()
    _claim(out, path, {"crop": survey.crop, "files": survey.fingerprint()})
    return ingest([survey], CaptionRules(), out / "cutouts", seed=0, workers=2)


def _is_store(path: Path, crop: float | None) -> bool:
    """Whether it is a cutout store, else a folder of images; anything else is refused."""
    if not path.is_dir():
        raise BadInput(f"{path} is not a folder; name a cutout store or a folder of images.")
    is_store = any(p.stem.isdigit() for p in path.rglob("[!.]*.parquet"))
    if is_store and crop is not None:
        raise BadInput(f"{path} is a cutout store, which says the crop itself; omit --crop.")
    return is_store


def _folder(path: Path, crop: float | None, train: float, search: float) -> FolderSurvey:
    crop = 1.0 if crop is None else crop
    return FolderSurvey(
        name="folder", path=path, crop=crop, train=train, validation=0, search=search
    )
