"""What the detectors of an ablation are judged on: the run's own search split, and further skies.

    evidence/cutouts/<survey>/…      the rows of the search split, as they were ingested
    evidence/skies/sky-<seed>-…/     cutouts and truth of a further mock sky

An object is a galaxy, scored by its best cutout; one that could not be read is an object without a
score. What taught the detectors is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.candidates import read_known
from discovery.cutouts.store import CutoutStore, write_table
from discovery.detector.checkpoint import Detector
from discovery.detector.folds import CrossFitted, galaxies
from discovery.detector.score import score_store
from discovery.errors import BadInput
from discovery.evidence.config import Sky
from discovery.evidence.tables import once
from discovery.files import digest, sha256_file
from discovery.morphology.captions import CaptionRules
from discovery.processes import cores
from discovery.run import Run, remove
from discovery.surveys.ingest import ingest, read_failures
from discovery.surveys.mock import STANDS_OUT, MockSurvey

OWN = "own"
_FROM = b"made_from"
SHOWN = ["object_id", "image", "crop", "width", "pixscale_arcsec", "survey", "caption", "galaxy"]


@dataclass(frozen=True)
class Sample:
    """Objects with their truth, and the cutouts that show them.

    Attributes:
        objects: is_true and stands_out (bool; NA where nobody knows the contrast), a row each.
        cutouts: sky, object_id, and the `object`, a row number of `objects`.
        stores: the cutouts of each sky.
        knows_truth: false where only published objects are known to be true.
    """

    objects: pd.DataFrame
    cutouts: pd.DataFrame
    stores: Mapping[str, CutoutStore]
    knows_truth: bool

    @cached_property
    def digest(self) -> str:
        """Of everything that is scored."""
        return digest([sha256_file(shard) for s in self.stores.values() for shard in s.shards])

    def scores(self, detector: Detector | CrossFitted, folder: Path) -> pd.DataFrame:
        """score and probability (float32, NaN: unreadable) of each object by `detector`.

        Kept in `folder`/scores.parquet; scoring that was cut short goes on with the next shard.
        """
        made_from = digest([detector.digest, self.digest])
        scored = once(folder / "scores.parquet", made_from, lambda: self._scored(detector, folder))
        remove(folder / "parts")
        return self._of_objects(scored)

    def _scored(self, detector: Detector | CrossFitted, folder: Path) -> pd.DataFrame:
        columns, tables = ["object_id", "score", "probability"], []
        for sky, store in self.stores.items():
            files = score_store(detector, store, folder / "parts", sky)
            tables += [pq.read_table(f, columns=columns).to_pandas().assign(sky=sky) for f in files]
        return pd.concat(tables, ignore_index=True)

    def _of_objects(self, scored: pd.DataFrame) -> pd.DataFrame:
        placed = self.cutouts.merge(scored, how="left", on=["sky", "object_id"])
        # Both rise together, so the best of one is the best of the other.
        best = placed.groupby("object")[["score", "probability"]].max()
        return best.reindex(self.objects.index)


def open_sample(run: Run) -> Sample:
    """Everything to judge on; what is there already is not made again.

    Raises:
        BadInput: nothing of it is known to be true, or nothing not to be.
    """
    folder = run.folder / "evidence"
    parts = [_own(run, folder / "cutouts")]
    parts += [_of_sky(sky, folder / "skies") for sky in run.config.evidence.sky]
    rows = pd.concat([rows for rows, _ in parts], ignore_index=True)
    stores = {sky: store for (rows, store), sky in zip(parts, rows["sky"].unique(), strict=True)}
    rows["object"] = rows.groupby(["sky", "galaxy"], sort=False).ngroup()
    whole = rows.groupby("object")
    objects = whole[["is_true", "stands_out"]].max()
    objects = objects[~whole["was_seen"].max()]
    _refuse_one_kind(objects["is_true"])
    kept = rows[rows["object"].isin(objects.index)]
    known = run.truth.exists()
    return Sample(objects, kept[["sky", "object_id", "object"]], stores, known)


def _refuse_one_kind(is_true: pd.Series) -> None:
    if is_true.all() or not is_true.any():
        raise BadInput(
            f"of {len(is_true):,} objects to judge on {int(is_true.sum()):,} are known to be of "
            "the quarry, and a ranking needs true ones and others. Give a search split that holds "
            "published objects with in_training = false; of a mock sky, more by [[evidence.sky]]."
        )


def _own(run: Run, out: Path) -> tuple[pd.DataFrame, CutoutStore]:
    """One row per cutout of the search split, also of those that were lost in ingest."""
    store = _search_split(run.store(), out)
    lost = read_failures(run.cutouts).query("split == 'search'")
    rows = pd.concat([store.table(["object_id", "galaxy"]), lost[["object_id", "galaxy"]]])
    rows = rows.drop_duplicates("object_id", ignore_index=True)
    known = read_known(run)
    rows["galaxy"] = galaxies(rows, known)
    trained = known["in_training"].astype(bool)
    rows["was_seen"] = rows["object_id"].isin(known.loc[trained, "object_id"].dropna())
    rows["sky"] = OWN
    if run.truth.exists():
        return _with_truth(rows, pq.read_table(run.truth).to_pandas()), store
    rows["is_true"] = rows["object_id"].isin(known.loc[~trained, "object_id"].dropna())
    return rows.assign(stands_out=pd.array([pd.NA] * len(rows), "boolean")), store


def _with_truth(rows: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    nature = truth.set_index("object_id").reindex(rows["object_id"])
    contrast = nature["lane_contrast"].to_numpy(float)
    clear = pd.array(contrast >= STANDS_OUT, "boolean")
    return rows.assign(is_true=nature["is_quarry"].to_numpy(bool), stands_out=clear)


def _search_split(store: CutoutStore, out: Path) -> CutoutStore:
    """The rows to be searched, shard by shard, in a store of their own."""
    copies = {out / shard.relative_to(store.folder): shard for shard in store.shards}
    for path in set(out.rglob("[!.]*.parquet")) - set(copies):
        path.unlink()
    for path, shard in copies.items():
        made_from = sha256_file(shard).encode()
        if not path.exists() or (pq.read_schema(path).metadata or {}).get(_FROM) != made_from:
            rows = pq.read_table(shard)
            rows = rows.filter(pc.equal(rows["split"], "search"))
            rows = rows.select([name for name in SHOWN if name in rows.column_names])
            remove(path)
            if len(rows):
                write_table(rows.replace_schema_metadata({_FROM: made_from}), path)
    return CutoutStore(out)


def _of_sky(sky: Sky, out: Path) -> tuple[pd.DataFrame, CutoutStore]:
    survey = MockSurvey(name=sky.name, train=0, validation=0, **sky.model_dump())
    folder = out / f"{sky.name}-{digest(sky.model_dump())[:8]}"
    store = ingest([survey], CaptionRules(), folder / "cutouts", 0, cores())
    truth = once(folder / "truth.parquet", digest(sky.model_dump()), survey.truth)
    rows = store.table(["object_id", "galaxy"]).assign(sky=sky.name, was_seen=False)
    return _with_truth(rows, truth), store
