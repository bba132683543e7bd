"""Ingest: every cutout of the surveys, read once, into the run's store.

    survey.rows ─▶ parts (read, checked, hashed, captioned) ─▶ galaxies and splits ─▶ shards

A part is written whole by one process, so a killed ingest goes on with the next part. What cannot
be read becomes a row of `failures.parquet` with its reason, its galaxy and its split: a search that
loses cutouts must not look better for it.
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from catalogs.crossmatch import NO_MATCH, crossmatch, friends_of_friends, separation_arcsec
from discovery.cutouts.decode import UnreadableImage, decode, open_cutout
from discovery.cutouts.store import CORE, ROWS_PER_SHARD, CutoutStore, write_shard, write_table
from discovery.errors import BadInput
from discovery.morphology.captions import CaptionRules, caption
from discovery.neighbours.duplicates import group_duplicates, perceptual_hash
from discovery.processes import each_done
from discovery.progress import say, track
from discovery.surveys.base import KNOWN_COLUMNS

CHECKED_AT_PX = 64
REASONS_SAID = 3
SAME_WITHIN_ARCSEC = 3.0
KNOWN = ["object_id", "galaxy", "ra", "dec", "name", "bibcode", "separation_arcsec", "in_training"]
FAILURES = pa.schema(
    [
        *(CORE.field(n) for n in ("object_id", "survey", "galaxy", "ra", "dec", "split")),
        ("reason", pa.string()),
    ]
)
BY_ID, BY_POSITION, BY_GALAXY = range(3)


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
        BadInput: a survey is unusable as described, two surveys use one id for two galaxies, not
            one cutout could be read, or a process that read them was ended from outside.
    """
    if _is_finished(out):
        return CutoutStore(out)
    for survey in surveys:
        survey.validate()
    parts = [part for survey in surveys for part in _parts(survey, captions, out / "parts")]
    _read_parts([part for part in parts if not part.is_read()], workers)
    table = assign_splits(_read_columns(parts), surveys, seed)
    failures = table[table["reason"].notna() & ~table["repeated"]]
    write_table(pa.Table.from_pandas(failures, FAILURES, preserve_index=False), _failures(out))
    _say_what_is_left_out(table, failures, out)
    if table["reason"].notna().all():
        _remove_parts(out)  # a repaired folder is read anew
        _refuse_empty(surveys, out)
    _write_shards(parts, table, out)
    _remove_parts(out)
    return CutoutStore(out)


def _is_finished(out: Path) -> bool:
    """The parts go last; where nothing was readable, there are failures without shards."""
    return (
        _failures(out).exists()
        and not (out / "parts").exists()
        and any(out.glob("*/[0-9]*.parquet"))
    )


def _failures(out: Path) -> Path:
    return out / "failures.parquet"


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
    done = each_done(read_part, parts, workers, "read cutouts")
    rows = sum(part.stop - part.start for part in parts)
    for _ in track(done, "ingest", rows, "cutouts", each=ROWS_PER_SHARD):
        pass


def read_part(part: Part) -> None:
    """Read, check and write one part; its failures are written first, so no part lacks them."""
    rows, failures = [], []
    for row in part.survey.rows(part.start, part.stop):
        try:
            rows.append(_checked(row, part))
        except UnreadableImage as error:
            told = {name: row.get(name) for name in FAILURES.names}
            failures.append(told | {"survey": part.survey.name, "reason": str(error)})
    write_table(pa.Table.from_pylist(failures, FAILURES), part.failures_path)
    write_shard(rows, part.path)


def _checked(row: dict, part: Part) -> dict:
    if row.get("failure"):
        raise UnreadableImage(row["failure"])
    pixels = decode(row["image"], row["crop"], CHECKED_AT_PX)
    width, height = open_cutout(row["image"]).size
    text = row.get("caption")
    if text is None and getattr(part.survey, "has_votes", False):
        text = caption(row, part.captions, part.survey.tag)
    return (
        {"sampled": part.survey.sampled}
        | row
        | {
            "survey": part.survey.name,
            "width": width,
            "height": height,
            "caption": text,
            "sha256": hashlib.sha256(row["image"]).hexdigest(),
            "phash": None if row.get("galaxy") else perceptual_hash(pixels),
        }
    )


def _read_columns(parts: Sequence[Part]) -> pd.DataFrame:
    """Rows of all parts in order, then the failures, of which alone the `reason` is not null."""
    # A survey may have a column `reason` of its own.
    here = [name for name in FAILURES.names if name != "reason"]
    rows = [_frame(part.path, [*here, "phash"]) for part in parts]
    failures = [_frame(part.failures_path, FAILURES.names) for part in parts]
    table = pd.concat([*rows, *failures], ignore_index=True)
    text = table[["galaxy", "split", "phash", "reason"]].astype(object)
    return table.assign(**text.where(text.notna(), None))


def _frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    # A part without one readable row has no hash column.
    frame = pq.ParquetFile(path).read(columns).to_pandas()
    return frame.reindex(columns=[*columns])


def assign_splits(table: pd.DataFrame, surveys: Sequence, seed: int) -> pd.DataFrame:
    """Give every row its galaxy and split; rows of one galaxy share both.

    A galaxy goes where any of its cutouts is fixed to be ('search' before 'validation' before
    'train'), else where the hash of its name falls among its survey's fractions, so that adding
    other galaxies moves none of those that are there; a new cutout of one of them may. Published
    objects that must not be trained on are fixed to be searched.

    Args:
        table: object_id, survey, ra, dec, galaxy (null: decided by `phash` and position), split
            (null: decided here), phash, reason (null: readable); what is readable comes first.

    Returns:
        the table with galaxy and split filled and `repeated` True where an earlier row has the
        same object_id.

    Raises:
        BadInput: two surveys use one object_id for two galaxies.
    """
    table, galaxy = table.copy(), _galaxies(table)
    _refuse_shared_ids(table, galaxy)
    table["repeated"] = table.duplicated("object_id")
    table["galaxy"] = _names(table).groupby(galaxy).transform("min")
    table.loc[_to_judge_by(table, surveys), "split"] = "search"
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
    """Number the galaxies: a survey names them itself, or they are told by look and position.

    Cutouts that look alike, lie within 3 arcsec, have one id in one survey, or are linked by a
    chain of these, are of one galaxy.
    """
    untold = table["galaxy"].isna()
    # Names hold within a survey: two may number their galaxies 1, 2, 3.
    look = (table["survey"] + "/" + _names(table)).astype(object)
    seen = untold & table["phash"].notna()
    look[seen] = group_duplicates(list(table.loc[seen, "phash"]))
    place = friends_of_friends(
        table["ra"].where(untold), table["dec"].where(untold), SAME_WITHIN_ARCSEC
    )
    same_id = table.groupby(["survey", "object_id"]).ngroup()
    n = len(table)
    looks, places, ids = (pd.factorize(x)[0] + i * n for i, x in enumerate((look, place, same_id)))
    # A graph of looks, places and ids that every cutout links.
    ends = np.concatenate([looks, looks]), np.concatenate([places, ids])
    links = coo_array((np.ones(2 * n), ends), shape=[3 * n] * 2)
    _, group = connected_components(links, directed=False)
    return pd.Series(group[looks], table.index)


def _names(table: pd.DataFrame) -> pd.Series:
    return table["galaxy"].where(table["galaxy"].notna(), table["object_id"])


def _refuse_shared_ids(table: pd.DataFrame, galaxy: pd.Series) -> None:
    first = galaxy.groupby(table["object_id"]).transform("first")
    other = table[(galaxy != first) & table["reason"].isna()]
    if other.empty:
        return
    shared, two = other.iloc[0][["object_id", "survey"]]
    one = table.loc[table["object_id"] == shared, "survey"].iloc[0]
    raise BadInput(
        f'surveys "{one}" and "{two}" both have an object_id {shared}, but not of one galaxy: '
        f"neither pictures nor positions agree ({len(other):,} such ids in all). An id names one "
        f'galaxy in a run; rename the files of "{two}", or give its [[survey]] in the run file a '
        "table with an id_column of other ids."
    )


def _to_judge_by(table: pd.DataFrame, surveys: Sequence) -> pd.Series:
    # A survey without fractions has fixed every split itself.
    known = _published([survey for survey in surveys if survey.split_fractions])
    known = known[~known["in_training"].astype(bool)]
    return table["object_id"].isin(_found(known, table)["object_id"])


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


def _say_what_is_left_out(table: pd.DataFrame, failures: pd.DataFrame, out: Path) -> None:
    repeats = table[table["repeated"]]
    if len(repeats):
        say(
            f"  {len(repeats):,} cutouts have the object_id of an earlier one of the same galaxy "
            f"and are left out, the first is {repeats['object_id'].iloc[0]} of "
            f"{repeats['survey'].iloc[0]}"
        )
    if len(failures):
        say(
            f"  {len(failures):,} of {len(table) - len(repeats):,} cutouts could not be read and "
            f"are listed with their reasons in {_failures(out)}:"
        )
        common = failures["reason"].value_counts()
        for reason, count in common.iloc[:REASONS_SAID].items():
            say(f"    {count:,} times: {reason}")
        if len(common) > REASONS_SAID:
            say(f"    other reasons: {len(common) - REASONS_SAID:,}")


def _refuse_empty(surveys: Sequence, out: Path) -> None:
    names = ", ".join(survey.name for survey in surveys)
    raise BadInput(
        f"not one cutout of {names} could be read; the reasons are in {_failures(out)}. "
        "Valid cutouts are JPEG or PNG, 8 bit, or FITS; 16 to 4096 px on a side."
    )


def match_known(surveys: Sequence, store: CutoutStore) -> pd.DataFrame:
    """Published objects of the kind searched for, with every cutout of each, read or not.

    A cutout is one of a published object when it has its id, lies within 3 arcsec of it, or is of
    the same galaxy as one that does. An object is in training only if no cutout of it is searched.

    Returns:
        object_id (null: no cutout of it), galaxy (one value an object, null: no cutout of it), ra,
        dec, name, bibcode, separation_arcsec (null: a position is unknown), in_training; one row
        a cutout, so ordered that the first of a galaxy is the one to judge: what could be read
        first, then what has the id, then the nearest.
    """
    known = _published(surveys)
    if known.empty:
        return pd.DataFrame(columns=KNOWN)
    columns = ["object_id", "ra", "dec", "galaxy", "split"]
    lost = read_failures(store.folder)[[*columns, "reason"]]
    cutouts = pd.concat([store.table(columns), lost], ignore_index=True)
    here = cutouts.rename(columns={"ra": "cutout_ra", "dec": "cutout_dec"})
    copies = _with_copies(_found(known, cutouts), here)
    listed = known.drop(columns="object_id").join(copies.set_index("known"))
    listed["separation_arcsec"] = separation_arcsec(
        listed["ra"], listed["dec"], listed["cutout_ra"], listed["cutout_dec"]
    )
    listed["is_lost"] = listed["reason"].notna()
    listed = listed.sort_values(["is_lost", "how", "separation_arcsec"])
    listed["galaxy"] = listed.groupby(level=0)["galaxy"].transform("first")
    usable = listed["split"].isin(["train", "validation"]).groupby(level=0).transform("all")
    listed["in_training"] = listed["in_training"].astype(bool) & usable
    listed = listed.reset_index(drop=True)
    return listed.replace({"object_id": {np.nan: None}, "galaxy": {np.nan: None}})[KNOWN]


def _published(surveys: Sequence) -> pd.DataFrame:
    lists = [known for survey in surveys if len(known := survey.known())]
    return pd.concat(lists, ignore_index=True) if lists else pd.DataFrame(columns=KNOWN_COLUMNS)


def _found(known: pd.DataFrame, cutouts: pd.DataFrame) -> pd.DataFrame:
    """Row label of `known`, object_id, and how it was found, once for each cutout of an object."""
    named = known[["object_id"]].dropna().reset_index(names="known")
    named = named.merge(cutouts[["object_id"]]).assign(how=BY_ID)
    # A cutout belongs to the nearest object only; an object may have many cutouts.
    match = crossmatch(cutouts["ra"], cutouts["dec"], known["ra"], known["dec"], SAME_WITHIN_ARCSEC)
    near = match.index != NO_MATCH
    placed = pd.DataFrame(
        {
            "known": known.index[match.index[near]],
            "object_id": cutouts.loc[near, "object_id"],
            "how": BY_POSITION,
        }
    )
    return pd.concat([named, placed]).drop_duplicates(["known", "object_id"])


def _with_copies(found: pd.DataFrame, cutouts: pd.DataFrame) -> pd.DataFrame:
    """Every cutout of the galaxies found."""
    galaxies = found.merge(cutouts[["object_id", "galaxy"]])[["known", "galaxy"]].drop_duplicates()
    copies = galaxies.merge(cutouts).merge(found, how="left")
    return copies.fillna({"how": BY_GALAXY})


def read_failures(out: Path) -> pd.DataFrame:
    """What could not be read: object_id (of no cutout in the store), survey, galaxy, ra, dec,
    split (as a readable one of its galaxy would have) and reason.
    """
    return pq.read_table(_failures(Path(out))).to_pandas()
