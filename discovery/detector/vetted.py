"""What people said who looked at earlier candidates: real images of the quarry, and of what is
taken for it and is none.

A search, its vetting and the next search make a circle: lanes that a network was taught by a brush
are how it begins, galaxies that people have looked at are how it goes on.
"""

from pathlib import Path

import pandas as pd

from discovery.detector.config import VettedLabelsConfig
from discovery.errors import BadInput
from discovery.files import sha256_file

IS, IS_NOT, IN_DOUBT = 1, 0, -1
PASSES = ("grade", "grade_2")


def read_verdicts(config: VettedLabelsConfig) -> pd.DataFrame:
    """object_id, survey (where the table has it) and verdict int64: IS, IS_NOT or IN_DOUBT.

    The quarry is what every pass over it called so, and what none did is not; where two differ,
    nobody knows. No row where no table is named.

    Raises:
        BadInput: the table or a column is missing, a row has no grade or stands twice.
    """
    if config.table is None:
        return pd.DataFrame({"object_id": [], "verdict": []})
    table = _read(config.table)
    named = [name for name in ("survey", "object_id") if name in table]
    if missing := {"object_id", "grade"} - set(table):
        raise BadInput(
            f"detector.vetted: {config.table} lacks {', '.join(sorted(missing))}; it has "
            f"{', '.join(table)}. Needed: object_id and grade; grade_2 is a second pass."
        )
    if (twice := table[named].duplicated()).any():
        raise BadInput(
            f"detector.vetted: {config.table} has {table['object_id'][twice].iloc[0]} twice; a "
            "second pass is a column, grade_2."
        )
    if (blank := table["grade"] == "").any():
        raise BadInput(
            f"detector.vetted: {table['object_id'][blank].iloc[0]} has no grade in {config.table}; "
            "leave out what nobody has looked at."
        )
    return table[named].assign(verdict=_verdicts(table, config.true_grades))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise BadInput(
            f"detector.vetted: no table {path}; give the path of a CSV with object_id and grade, "
            "or leave [detector.vetted] out."
        ) from None
    except (ValueError, OSError) as error:
        raise BadInput(f"detector.vetted: {path} is not a CSV: {error}") from None


def _verdicts(table, true_grades):
    passes = table[[name for name in PASSES if name in table]]
    said = passes.isin(true_grades).where(passes != "")  # a second pass may have skipped a row
    verdict = pd.Series(IN_DOUBT, table.index)
    return verdict.mask(said.eq(True).sum(axis=1) == said.notna().sum(axis=1), IS).mask(
        said.eq(True).sum(axis=1) == 0, IS_NOT
    )


def verdicts_on(rows: pd.DataFrame, verdicts: pd.DataFrame) -> pd.Series:
    """The verdict on each row with object_id and survey, float64: NaN where nobody has looked."""
    named = [name for name in ("survey", "object_id") if name in verdicts]
    return rows.merge(verdicts, on=named, how="left")["verdict"].set_axis(rows.index).astype(float)


def fingerprint(config: VettedLabelsConfig) -> str | None:
    """Digest of what the table says, wherever it lies; None without one."""
    return None if config.table is None else sha256_file(config.table)
