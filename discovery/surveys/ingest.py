"""Ingest: every cutout of the surveys, read once, into the run's store.

    survey.rows ─▶ parts (read, checked, hashed, captioned) ─▶ galaxies and splits ─▶ shards

A part is written whole by one process, so a killed ingest goes on with the next part. What cannot
be read becomes a row of `failures.parquet` with its reason.
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from catalogs.crossmatch import NO_MATCH, crossmatch
from discovery.cutouts.decode import UnreadableImage, decode, open_cutout
from discovery.cutouts.store import ROWS_PER_SHARD, CutoutStore, write_shard, write_table
from discovery.errors import BadInput
from discovery.morphology.captions import CaptionRules, caption
from discovery.neighbours.duplicates import group_duplicates, perceptual_hash
from discovery.progress import say, track

CHECKED_AT_PX = 64
KNOWN_WITHIN_ARCSEC = 3.0
KNOWN = ["object_id", "galaxy", "ra", "dec", "name", "bibcode", "separation_arcsec", "in_training"]
FAILURES = pa.schema([("object_id", pa.string()), ("survey", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Part:
    """The unit of work: rows [start, stop) of one survey into one file."""

    survey: object
    captions: CaptionRules
    start: int
    stop: int
    path: Path

    @property
    def failures_path(self) -> Path:
        return self.path.with_name(self.path.name.replace("part-", "failures-"))

    def is_read(self) -> bool:
        """Both of its files are there."""
        return self.path.exists() and self.failures_path.exists()


def ingest(
    surveys: Sequence, captions: CaptionRules, out: Path, seed: int, workers: int
) -> CutoutStore:
    """Read all surveys into `out`, decide galaxies and splits, and report what failed.

    Raises:
        BadInput: a survey is unusable as described, or not one cutout could be read.
    """
    if _is_finished(out):
        return CutoutStore(out)
    for survey in surveys:
        survey.validate()
    parts = [part for survey in surveys for part in _parts(survey, captions, out / "parts")]
    _read_parts([part for part in parts if not part.is_read()], workers)
    table = assign_splits(_read_columns(parts), surveys, seed)
    failures = _write_failures(parts, table, out)
    if table.empty:
        _remove_parts(out)  # a repaired folder is read anew
    _refuse_empty(table, failures, surveys)
    _write_shards(parts, table, out)
    _remove_parts(out)
    return CutoutStore(out)


def _is_finished(out: Path) -> bool:
    """The parts go last; where nothing was readable, there are failures without shards."""
    return (
        (out / "failures.parquet").exists()
        and not (out / "parts").exists()
        and any(out.glob("*/[0-9]*.parquet"))
    )


def _remove_parts(out: Path) -> None:
    # Renamed at once and then removed: kill -9 leaves all parts or none under their name.
    hidden = out / ".parts"
    shutil.rmtree(hidden, ignore_errors=True)
    (out / "parts").rename(hidden)
    shutil.rmtree(hidden)


def _parts(survey, captions: CaptionRules, folder: Path) -> Iterable[Part]:
    for number, start in enumerate(range(0, len(survey), ROWS_PER_SHARD)):
        path = folder / survey.name / f"part-{number:05d}.parquet"
        yield Part(survey, captions, start, min(start + ROWS_PER_SHARD, len(survey)), path)


def _read_parts(parts: Sequence[Part], workers: int) -> None:
    if not parts:
        return
    # Processes of their own, started clean: threads of a parent do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(read_part, part) for part in parts]
        try:
            done = as_completed(futures)
            for future in track(done, "ingest", len(parts), "cutouts", each=ROWS_PER_SHARD):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_part(part: Part) -> None:
    """Read, check and write one part; its failures are written first, so no part lacks them."""
    rows, failures = [], []
    for row in part.survey.rows(part.start, part.stop):
        try:
            rows.append(_checked(row, part))
        except UnreadableImage as error:
            failures.append(_failure(row["object_id"], part.survey.name, str(error)))
    write_table(pa.Table.from_pylist(failures, FAILURES), part.failures_path)
    write_shard(rows, part.path)


def _failure(object_id: str, survey: str, reason: str) -> dict:
    return {"object_id": object_id, "survey": survey, "reason": reason}


def _checked(row: dict, part: Part) -> dict:
    if row.get("failure"):
        raise UnreadableImage(row["failure"])
    pixels = decode(row["image"], row["crop"], CHECKED_AT_PX)
    width, height = open_cutout(row["image"]).size
    text = row.get("caption")
    if text is None and getattr(part.survey, "has_votes", False):
        text = caption(row, part.captions, part.survey.tag)
    return row | {
        "survey": part.survey.name,
        "width": width,
        "height": height,
        "caption": text,
        "sha256": hashlib.sha256(row["image"]).hexdigest(),
        "phash": None if row.get("galaxy") else perceptual_hash(pixels),
    }


def _read_columns(parts: Sequence[Part]) -> pd.DataFrame:
    columns = ["object_id", "survey", "galaxy", "split", "phash"]
    # A part without one readable row has no hash column.
    frames = [
        pq.ParquetFile(part.path).read(columns).to_pandas().reindex(columns=columns)
        for part in parts
    ]
    table = pd.concat(frames, ignore_index=True)
    return table.astype({"galaxy": object, "split": object}).replace({np.nan: None})


def assign_splits(table: pd.DataFrame, surveys: Sequence, seed: int) -> pd.DataFrame:
    """Give every row its galaxy and split; rows of one galaxy share both.

    A galaxy goes where any of its cutouts is fixed to be ('search' before 'validation' before
    'train'), else where the hash of its name falls among its survey's fractions, so that adding
    other galaxies moves none of those that are there; a new cutout of one of them may.

    Args:
        table: object_id, survey, galaxy (null: decided by `phash`), split (null: decided here).

    Returns:
        the table with galaxy and split filled and `repeated` True where an earlier row has the
        same object_id.
    """
    table = table.copy()
    table["repeated"] = table.duplicated("object_id")
    table["galaxy"] = _galaxies(table)
    fractions = {survey.name: survey.split_fractions for survey in surveys}
    fixed = {galaxy: _strongest(splits) for galaxy, splits in table.groupby("galaxy")["split"]}
    first = table.drop_duplicates("galaxy").set_index("galaxy")["survey"]
    split = {
        galaxy: fixed.get(galaxy) or _drawn(galaxy, fractions[survey], seed)
        for galaxy, survey in first.items()
    }
    table["split"] = table["galaxy"].map(split)
    return table


def _galaxies(table: pd.DataFrame) -> pd.Series:
    """Cutouts that look alike, have one id, or are linked by a chain of both, are one galaxy."""
    unknown = table["galaxy"].isna()
    look = table["galaxy"].copy()
    look[unknown] = group_duplicates(list(table.loc[unknown, "phash"]))
    looks, _ = pd.factorize(look)
    ids, _ = pd.factorize(table["object_id"])
    # A graph of looks and ids in which every cutout is an edge.
    edges = coo_array((np.ones(len(table)), (looks, len(table) + ids)), shape=[2 * len(table)] * 2)
    _, group = connected_components(edges, directed=False)
    names = table["galaxy"].where(~unknown, table["object_id"])
    return names.groupby(group[looks]).transform("min")


def _strongest(splits: pd.Series) -> str | None:
    return next((s for s in ("search", "validation", "train") if (splits == s).any()), None)


def _drawn(galaxy: str, fractions: dict[str, float], seed: int) -> str:
    number = int.from_bytes(hashlib.sha256(f"{seed}:{galaxy}".encode()).digest()[:8], "big")
    place = number / 2**64 * sum(fractions.values())
    for split, fraction in fractions.items():
        place -= fraction
        if place < 0:
            return split
    return split


def _write_shards(parts: Sequence[Part], table: pd.DataFrame, out: Path) -> None:
    place = 0
    for part in parts:
        rows = pq.read_table(part.path)
        mine = table.iloc[place : place + len(rows)]
        place += len(rows)
        for name in ("galaxy", "split"):
            column = pa.array(mine[name], pa.string(), from_pandas=True)
            rows = rows.set_column(rows.column_names.index(name), name, column)
        delivered = [name for name in rows.column_names if name != "phash"]
        kept = rows.select(delivered).filter(pa.array(~mine["repeated"].to_numpy()))
        name = part.path.name.replace("part-", "")
        write_table(kept, out / part.survey.name / name)


def _write_failures(parts: Sequence[Part], table: pd.DataFrame, out: Path) -> pd.DataFrame:
    repeated = table[table["repeated"]]
    doubles = [
        _failure(row.object_id, row.survey, "this object_id was already read; the first is kept")
        for row in repeated.itertuples()
    ]
    tables = [pq.read_table(part.failures_path) for part in parts]
    failures = pa.concat_tables([*tables, pa.Table.from_pylist(doubles, FAILURES)])
    write_table(failures, out / "failures.parquet")
    return failures.to_pandas()


def _refuse_empty(table: pd.DataFrame, failures: pd.DataFrame, surveys: Sequence) -> None:
    if len(failures):
        common = failures["reason"].value_counts()
        say(
            f"  {len(failures):,} of {len(table) + len(failures):,} cutouts could not be read and "
            f"are listed with their reasons in failures.parquet; most often ({common.iloc[0]:,} "
            f"times): {common.index[0]}"
        )
    if table.empty:
        names = ", ".join(survey.name for survey in surveys)
        raise BadInput(
            f"not one cutout of {names} could be read; the reasons are in failures.parquet. "
            "Valid cutouts are JPEG or PNG, 8 bit, 16 to 4096 px on a side."
        )


def match_known(surveys: Sequence, store: CutoutStore) -> pd.DataFrame:
    """Published objects of the kind searched for, with every cutout of each.

    A cutout is one of a published object when it has its id, lies within 3 arcsec of it, or is of
    the same galaxy as one that does. An object is in training only if no cutout of it is searched.

    Returns:
        object_id (null: no cutout of it), galaxy (one value an object, null: no cutout of it), ra,
        dec, name, bibcode, separation_arcsec (0: by id, null: by its galaxy), in_training; one row
        a cutout, the nearest cutouts first, so that the first of a galaxy is the one to judge.
    """
    tables = [known for survey in surveys if len(known := survey.known())]
    if not tables:
        return pd.DataFrame(columns=KNOWN)
    known = pd.concat(tables, ignore_index=True)
    cutouts = store.table(["object_id", "ra", "dec", "galaxy", "split"])
    found = pd.concat([_same_id(known, cutouts), _near(known, cutouts)])
    found = _with_copies(found, cutouts)
    listed = known.drop(columns="object_id").join(found.set_index("known"))
    usable = listed["split"].isin(["train", "validation"]).groupby(level=0).transform("all")
    listed["in_training"] = listed["in_training"].astype(bool) & usable
    listed = listed.sort_values("separation_arcsec", kind="stable", ignore_index=True)
    return listed.replace({"object_id": {np.nan: None}, "galaxy": {np.nan: None}})[KNOWN]


def _same_id(known: pd.DataFrame, cutouts: pd.DataFrame) -> pd.DataFrame:
    named = known[["object_id"]].dropna().reset_index(names="known")
    return named.merge(cutouts[["object_id"]]).assign(separation_arcsec=0.0)


def _near(known: pd.DataFrame, cutouts: pd.DataFrame) -> pd.DataFrame:
    """The cutouts to which a published object is the nearest within reach."""
    match = crossmatch(
        cutouts["ra"], cutouts["dec"], known["ra"], known["dec"], KNOWN_WITHIN_ARCSEC
    )
    near = cutouts.assign(known=match.index, separation_arcsec=match.separation_arcsec)
    near = near[near["known"] != NO_MATCH]
    return near[["known", "object_id", "separation_arcsec"]]


def _with_copies(found: pd.DataFrame, cutouts: pd.DataFrame) -> pd.DataFrame:
    """Every cutout of the galaxies found; `galaxy` becomes that of the object's nearest cutout."""
    found = found.sort_values("separation_arcsec", kind="stable")
    found = found.drop_duplicates(["known", "object_id"])
    sides = cutouts[["object_id", "galaxy", "split"]]
    galaxies = found.merge(sides)[["known", "galaxy"]].drop_duplicates()
    copies = galaxies.merge(sides).merge(found, how="left")
    copies["galaxy"] = copies["known"].map(galaxies.groupby("known")["galaxy"].first())
    return copies


def read_failures(out: Path) -> pd.DataFrame:
    """The failures table of an ingested folder: object_id, survey, reason."""
    return pq.read_table(Path(out) / "failures.parquet").to_pandas()
