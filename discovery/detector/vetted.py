"""What people said who looked at earlier candidates: real images of the quarry, and of what is
taken for it and is none.

A search, its vetting and the next search make a circle: lanes that a network was taught by a brush
are how it begins, galaxies that people have looked at are how it goes on.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from discovery.detector.config import VettedLabelsConfig
from discovery.errors import BadInput
from discovery.files import digest

IS, IS_NOT, IN_DOUBT = 1, 0, -1
PASSES = ("grade", "grade_2")


class Graded(Protocol):
    """Which grades are of the quarry and which are not: a section of the run file."""

    true_grades: tuple[str, ...]
    false_grades: tuple[str, ...]


def read_verdicts(config: VettedLabelsConfig) -> pd.Series:
    """IS, IS_NOT or IN_DOUBT by object_id, sorted; empty where no table is named.

    The quarry is what every pass over it called so, and what none did is not; where two differ,
    of one table or of two, nobody knows.

    Raises:
        BadInput: the table is missing or lacks a column, a row has no or no valid grade, or an
            object stands in it twice.
    """
    return _agreed([_called_so(path, config, "detector.vetted") for path in config.tables])


def mostly_called_so(rows: pd.DataFrame, looks: Sequence[tuple[Path, Graded, str]]) -> set[str]:
    """object_id of those `rows` (object_id, galaxy) that most passes over their galaxy, of all
    tables together, called the quarry.

    To judge by, as votes of Galaxy Zoo are. What every pass agrees on, as of `read_verdicts`,
    shrinks with each further look, and in the end one strict eye decides.

    Args:
        looks: a table, the grades in it, and the key of the run file that names it.

    Raises:
        BadInput: a table cannot be used, see `read_grades`.
    """
    if not looks:
        return set()
    called_so = pd.concat([_called_so(*look) for look in looks])
    galaxy = rows["galaxy"].fillna(rows["object_id"])
    galaxy_of = pd.Series(galaxy.to_numpy(), rows["object_id"])
    share = called_so.groupby(called_so.index.map(galaxy_of)).mean()
    return set(rows["object_id"][galaxy.map(share) > 0.5])


def _agreed(called_so):
    """Verdicts by what every pass of every table said, bool by object_id."""
    if not called_so:
        return pd.Series(dtype=int, name="verdict")
    called_so = pd.concat(called_so).groupby(level="object_id")
    every, some = called_so.all(), called_so.any()
    return pd.Series(IN_DOUBT, every.index, name="verdict").mask(every, IS).mask(~some, IS_NOT)


def _called_so(path, graded, key):
    """Whether a pass called it so, bool by object_id; a second pass may have left out a row."""
    table = read_grades(path, graded, key).set_index("object_id")
    passes = table[[name for name in PASSES if name in table]].stack()
    return passes[passes != ""].droplevel(1).isin(graded.true_grades)


def read_grades(path: Path, graded: Graded, key: str) -> pd.DataFrame:
    """A CSV of what people have looked at, every column as text, with object_id and grade.

    Args:
        graded: the grades that there are.
        key: of the run file, to name in messages.

    Raises:
        BadInput: no such CSV, a column is missing, an object stands twice, has no grade or one
            that there is not.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise BadInput(
            f"{key}: no table {path}; give the path of a CSV with object_id and grade."
        ) from None
    except (ValueError, OSError) as error:
        raise BadInput(f"{key}: {path} is not a CSV: {error}") from None
    if missing := [name for name in ("object_id", "grade") if name not in table]:
        raise BadInput(
            f"{key}: {path} lacks {', '.join(missing)}; it has {', '.join(table)}. Needed: "
            "object_id and grade; grade_2 is a second pass."
        )
    texts = [name for name in ("object_id", *PASSES) if name in table]
    table[texts] = table[texts].apply(lambda column: column.str.strip())
    if (twice := table["object_id"].duplicated()).any():
        raise BadInput(
            f"{key}: {table['object_id'][twice].iloc[0]} stands in {path} twice; a second pass is "
            "a column, grade_2."
        )
    if (blank := table["grade"] == "").any():
        raise BadInput(
            f"{key}: {table['object_id'][blank].iloc[0]} has no grade in {path}; leave out what "
            "nobody has looked at."
        )
    _refuse_unknown(table, graded, path, key)
    return table


def _refuse_unknown(table, graded, path, key):
    valid = [*graded.true_grades, *graded.false_grades]
    for name in (name for name in PASSES if name in table):
        wrong = table[~table[name].isin([*valid, ""])]
        if len(wrong):
            raise BadInput(
                f"{key}: {name} of {wrong['object_id'].iloc[0]} is {wrong[name].iloc[0]!r} in "
                f"{path}; valid: {', '.join(valid)} (true_grades, false_grades)."
            )


def verdicts_on(rows: pd.DataFrame, verdicts: pd.Series) -> pd.Series:
    """The verdict on each row with object_id and galaxy, float64: NaN where nobody has looked.

    What was said of one cutout holds for all of its galaxy; IN_DOUBT where two are told apart.
    """
    said = rows["object_id"].map(verdicts).astype(float)
    galaxy = rows["galaxy"].fillna(rows["object_id"])
    lowest, highest = (said.groupby(galaxy).transform(end) for end in ("min", "max"))
    return lowest.where(lowest.isna() | (lowest == highest), IN_DOUBT)


def require_some(config: VettedLabelsConfig, object_ids: Collection[str]) -> None:
    """Refuse a table of which no object is there.

    Raises:
        BadInput: names the first of it, and one that is there.
    """
    for path in config.tables:
        looked_at = read_grades(path, config, "detector.vetted")["object_id"]
        if not looked_at.isin(object_ids).any():
            raise BadInput(
                f"detector.vetted: none of the {len(looked_at):,} objects of {path} is among the "
                f"cutouts, which are called like {next(iter(object_ids), '–')!r} and not like "
                f"{next(iter(looked_at), '–')!r}; give tables of a search of these surveys."
            )


def fingerprint(config: VettedLabelsConfig) -> str | None:
    """Digest of what the tables say, wherever they lie; None without one."""
    return None if not config.tables else digest(read_verdicts(config).to_dict())
