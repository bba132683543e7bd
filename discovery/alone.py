"""Verbs on data outside of a run: dream with a generator, score a folder with a detector."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from discovery import scored
from discovery.cutouts.store import CutoutStore, load_pixels
from discovery.detector.checkpoint import Detector, load_detector
from discovery.detector.field import FAR, fitting_crop, half_light, half_light_of, spread_out
from discovery.detector.score import score_store
from discovery.detector.shipped import TRAINED_ON, folder_of, has_list, taught_by
from discovery.errors import BadInput
from discovery.evidence.tables import once
from discovery.files import digest, read_json, sha256_file, write_json
from discovery.generator import synthesize
from discovery.generator.config import SynthesisConfig
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.sheets import contact_sheet
from discovery.progress import say
from discovery.run import remove
from discovery.surveys import FolderSurvey
from discovery.surveys.ingest import ingest, read_failures

SHEET_IMAGES = 64
OWN = ("cutouts", "scores")  # folders of a scoring


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
        store = CutoutStore(synthesize.run(generator, asked, out, device, real, any_real=True))
    rows = store.table(["object_id", "prompt"])
    for number, (prompt, members) in enumerate(rows.groupby("prompt", sort=False)):
        shown = list(members["object_id"].head(SHEET_IMAGES))
        size = store.table(["width"])["width"].iloc[0]
        sheet = out / f"sheet-{number}.png"
        contact_sheet(load_pixels(store, shown, int(size)), [prompt] * len(shown), sheet)
    return f"{len(rows):,} synthetic cutouts in {out}, a sheet per prompt beside them"


def _refuse_foreign(out: Path) -> None:
    # `synthesize.run` replaces the store in its folder; that must be one of its own.
    if not (out / synthesize.PLAN).exists() and any(out.glob("*.parquet")):
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


def score_alone(
    path: Path, out: Path, device: str, model: str | Path = "shipped", crop: float | None = None
) -> str:
    """Score the store or folder of images `path`, show the most probable ones in `out`.

    What changed in `path` since an earlier scoring into `out` is scored anew.

    Args:
        model: a detector's folder; 'shipped' is the one in the package.
        crop: central fraction of the width to show of every image; None: where the galaxies fill
            less of the images than of those the detector learnt from, as much as makes up for it,
            else all. A store says it itself.

    Returns:
        what to tell the user: the first of them, how to take them, where all of it lies.

    Raises:
        BadInput: `path` holds neither cutouts nor images, `out` lies inside of it or holds the
            scores of another path, `model` is no detector, or a `crop` comes with a store.
    """
    folder = folder_of(model)
    detector = load_detector(folder, device)
    _refuse_inside(out, path)
    store, lost = _open_or_ingest(path, out, crop, _learnt(detector))
    files = score_store(detector, store, out / "scores", "scored")
    for old in set((out / "scores").glob("scored-*.parquet")) - set(files):
        old.unlink()  # of a shard that is no longer there
    taught = _taught(folder, store, out)
    table = scored.scored_table(files, store, lost, taught, detector.card["threshold"])
    field = _field(store, detector, chosen=crop is None and lost is not None)
    return scored.write(scored.Scored(table, store, detector.card, path, field), out)


def _refuse_inside(out: Path, path: Path) -> None:
    # What is written there would be taken for images, or the whole for a store, the next time.
    if path.resolve() in (out.resolve(), *out.resolve().parents):
        raise BadInput(
            f"--out {out} lies inside {path}, which is to be scored; give another --out."
        )
    # What is made there may be removed again.
    own = {(out / name).resolve() for name in OWN}
    if own & {path.resolve(), *path.resolve().parents}:
        raise BadInput(
            f"{path} lies where --out {out} would keep what it makes; give another --out."
        )


def _learnt(detector: Detector) -> float | None:
    """Half-light radius of the galaxies it learnt from, as a share of the width; None: unknown."""
    return (detector.card.get("field") or {}).get("half_light")


def _taught(folder: Path, store: CutoutStore, out: Path) -> pd.Series | None:
    """`taught_by`, made once."""
    if not has_list(folder):
        return None
    made_from = digest([*map(sha256_file, [folder / TRAINED_ON, *store.shards])])
    told = once(out / "in_training.parquet", made_from, lambda: _told(folder, store))
    return told.set_index("object_id")["in_training"]


def _told(folder: Path, store: CutoutStore) -> pd.DataFrame:
    return taught_by(folder, store).rename_axis("object_id").reset_index(name="in_training")


def _field(store: CutoutStore, detector: Detector, chosen: bool) -> str:
    rows = store.table(["object_id", "crop"])
    shown = half_light_of(store, rows["object_id"].tolist()) if _learnt(detector) else None
    crop = rows["crop"].median()
    return scored.field_in_words(crop, chosen, shown, detector.card.get("field"), FAR)


def _claim(out: Path, path: Path, data: dict) -> None:
    """Write down whose scores `out` holds; refuse it for another source, or of another maker.

    Where `data`, what was made of the source, is no longer the same, its cutouts are removed.
    """
    source, written = {"source": str(path.resolve())} | data, out / "source.json"
    if not written.exists() and any((out / name).exists() for name in OWN):
        raise BadInput(f"{out} holds what `discovery score` did not write; give another --out.")
    held = read_json(written) if written.exists() else source
    if held["source"] != source["source"]:
        raise BadInput(f"{out} holds the scores of {held['source']}; give another --out.")
    if held != source:
        say(f"  {path} or --crop changed since it was scored into {out}; begins anew")
        remove(out / "cutouts")
    write_json(written, source)


def _open_or_ingest(
    path: Path, out: Path, crop: float | None, learnt: float | None
) -> tuple[CutoutStore, pd.DataFrame | None]:
    """The cutouts, and what of a folder could not be read; None of a store."""
    if _is_store(path, crop):
        store = CutoutStore(path)
        _claim(out, path, {})
        return store, None
    survey = _folder(path, crop, train=0, search=1)
    survey.validate()
    if crop is None and learnt:
        survey = _folder(path, fitting_crop(half_light(_some(survey)), learnt), train=0, search=1)
    _claim(out, path, {"crop": survey.crop, "files": survey.fingerprint()})
    store = ingest([survey], CaptionRules(), out / "cutouts", seed=0, workers=2)
    return store, read_failures(out / "cutouts")


def _some(survey: FolderSurvey) -> Iterator[tuple[bytes, float]]:
    for place in spread_out(range(len(survey))):
        for row in survey.rows(place, place + 1):
            if "image" in row:
                yield row["image"], 1.0


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
