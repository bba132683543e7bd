"""After vetting: purity and completeness from a sample of the search that people have looked at.

The sample is drawn in strata, objects below the cut among them: without these, what the search
missed is not known. With n of the N objects of a cell vetted (a cell: one stratum, one side of the
cut) and k of them true, the cell holds N k / n true ones (Horvitz & Thompson 1952, JASA 47, 663).
How many objects lie on each side of the cut the search knows: drawn cells are scaled to that.

Intervals come from drawing the true ones among the N − n that nobody has looked at: their share
from Jeffreys' posterior Beta(k + 1/2, n − k + 1/2), their number from a binomial. Resampling the
vetted rows would call a cell without a single true one certain; a hundred objects below the cut
with none true leave room for many in ten thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from discovery.candidates import read_scores
from discovery.cutouts import load_pixels
from discovery.detector.vetted import read_grades
from discovery.errors import BadInput
from discovery.evidence import figures
from discovery.evidence.config import VettedConfig
from discovery.evidence.metrics import Estimate, ranks, wilson
from discovery.evidence.tables import write_both
from discovery.run import MIXED, Run

DRAWS = 4_000
TOPS = (10, 30, 100, 200, 300)
LOOKS = 10  # of a stratum at least, or what it says of a top is chance
SHOWN, PER_ROW, SHOWN_PX = 48, 8, 96
Z95 = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Cell:
    """`true` of `vetted` out of `objects` objects that were drawn from alike; none vetted: nobody
    can say how many of them are true."""

    true: int
    vetted: int
    objects: int


def total(cells: Sequence[Cell]) -> float:
    """Horvitz–Thompson's estimate of how many true objects the cells hold; what nobody has looked
    at is as the rest, NaN if that is all."""
    seen = [cell for cell in cells if cell.vetted]
    objects, of_seen = (sum(cell.objects for cell in part) for part in (cells, seen))
    true = sum(cell.objects * cell.true / cell.vetted for cell in seen)
    return true * objects / of_seen if of_seen else (np.nan if objects else 0.0)


def draw_totals(cells: Sequence[Cell], rng: np.random.Generator) -> np.ndarray:
    """(DRAWS,) true objects that the cells may hold, given what was vetted."""
    totals = np.zeros(DRAWS)
    for cell in cells:
        share = rng.beta(cell.true + 0.5, cell.vetted - cell.true + 0.5, DRAWS)
        totals += cell.true + rng.binomial(cell.objects - cell.vetted, share)
    return totals


def purity(cells: Sequence[Cell], seed: int = 0) -> Estimate:
    """Share of the cells' objects that is true."""
    objects = sum(cell.objects for cell in cells)
    if not objects:
        return Estimate(None, 0.0, 1.0)
    drawn = draw_totals(cells, np.random.default_rng(seed)) / objects
    return _around(total(cells) / objects, drawn)


def completeness(above: Sequence[Cell], below: Sequence[Cell], seed: int = 0) -> Estimate:
    """Share of all true objects that is above the cut; not defined where none is known, or where
    nobody has looked on one side of it."""
    rng = np.random.default_rng(seed)
    found, missed = draw_totals(above, rng), draw_totals(below, rng)
    everywhere = total(above) + total(below)
    if everywhere == 0:
        return Estimate(None, 0.0, 1.0)
    return _around(total(above) / everywhere, found / np.maximum(found + missed, 1))


def in_all(above: Sequence[Cell], below: Sequence[Cell], seed: int = 0) -> Estimate:
    """True objects on both sides of the cut; not defined where nobody has looked on one."""
    # Side by side: what candidates are says nothing of what lies below the cut.
    drawn = draw_totals([*above, *below], np.random.default_rng(seed))
    return _around(total(above) + total(below), drawn)


def _around(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.percentile(drawn, (2.5, 97.5))
    if np.isnan(value):
        return Estimate(None, float(low), float(high))
    # Where no true one is below the cut the estimate is at the end of what is possible.
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def kappa(first: Sequence, second: Sequence) -> Estimate:
    """Cohen's kappa of two passes over the same objects, −1 to 1.

    The variance is that of Fleiss, Cohen & Everitt (1969, Psychol. Bull. 72, 323, eq. 13). Not
    defined where one grade is all that either pass gave.
    """
    grades = sorted({*first, *second})
    table = pd.crosstab(pd.Series(list(first)), pd.Series(list(second)))
    shares = table.reindex(index=grades, columns=grades, fill_value=0).to_numpy(float)
    n = shares.sum()
    shares = shares / n
    rows, columns = shares.sum(1), shares.sum(0)
    agreed, by_chance = np.trace(shares), float(rows @ columns)
    if by_chance == 1:
        return Estimate(None, -1.0, 1.0)
    value = (agreed - by_chance) / (1 - by_chance)
    of_agreed = (1 - by_chance) - (rows + columns) * (1 - agreed)
    apart = (1 - agreed) * (columns[:, None] + rows[None, :])
    np.fill_diagonal(apart, of_agreed)
    spread = (shares * apart**2).sum() - (agreed * by_chance - 2 * by_chance + agreed) ** 2
    sigma = np.sqrt(max(spread, 0) / n) / (1 - by_chance) ** 2
    low, high = np.clip(value + np.array([-1, 1]) * Z95 * sigma, -1, 1)
    return Estimate(float(value), float(low), float(high))


def chapman(first: int, second: int, both: int) -> Estimate:
    """How many there are, from how many each of two finders has and how many both have.

    Chapman's estimator (1951, Univ. Calif. Publ. Stat. 1, 131) with Seber's variance (1970,
    Biometrika 57, 329); the interval is log-normal about those that neither has (Chao 1987,
    Biometrics 43, 783). Finders that like the same objects make it too small: a lower bound.
    """
    if not 0 <= both <= min(first, second):
        raise ValueError(f"{both} are in both finders, of {first} and {second}")
    n = (first + 1) * (second + 1) / (both + 1) - 1
    variance = (first + 1) * (second + 1) * (first - both) * (second - both)
    variance /= (both + 1) ** 2 * (both + 2)
    seen = first + second - both
    unseen = n - seen
    if unseen <= 0 or variance <= 0:
        return Estimate(float(n), float(seen), float(n))
    factor = np.exp(Z95 * np.sqrt(np.log1p(variance / unseen**2)))
    return Estimate(float(n), float(seen + unseen / factor), float(seen + unseen * factor))


def read_vetted(config: VettedConfig) -> pd.DataFrame:
    """object_id, stratum, objects_each (1 / the probability of being drawn), is_true, grade, and as
    they are grade_2 and the finders.

    Raises:
        BadInput: the table or a column is missing, an object stands twice, a number is none.
    """
    table = read_grades(config.table, config, "evidence.vetted")
    _need(table, config.finders, config.table)
    for name in config.finders:
        _refuse_other(table[name], ("0", "1"), name, config.table)
        table[name] = table[name] == "1"
    table["stratum"] = table.get("stratum", "all")
    table["objects_each"] = _objects_each(table, config.table)
    return table.assign(is_true=table["grade"].isin(config.true_grades))


def _need(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    if missing := [name for name in columns if name not in table]:
        raise BadInput(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(table.columns)}. Needed: "
            f"{', '.join(columns)}, and stratum with stratum_size, or drawn."
        )


def _refuse_other(values: pd.Series, valid: Sequence[str], name: str, path: Path) -> None:
    if (wrong := ~values.isin(valid)).any():
        raise BadInput(
            f"{path}: {name} is {values[wrong].iloc[0]!r} in row {wrong.idxmax() + 1}; valid: "
            f"{', '.join(valid)}."
        )


def _objects_each(table: pd.DataFrame, path: Path) -> pd.Series:
    """How many objects a vetted row stands for."""
    if "drawn" in table:
        drawn = _numbers(table["drawn"], "drawn", path)
        if not drawn.between(0, 1, inclusive="right").all():
            raise BadInput(f"{path}: drawn is a probability, above 0 and up to 1.")
        return 1 / drawn
    _need(table, ["stratum_size"], path)
    sizes = _numbers(table["stratum_size"], "stratum_size", path)
    vetted = table.groupby("stratum")["stratum"].transform("size")
    of_each = sizes.groupby(table["stratum"])
    if (of_each.transform("nunique") > 1).any() or (sizes < vetted).any():
        raise BadInput(
            f"{path}: stratum_size is how many objects a stratum holds, the same in all its rows "
            "and not less than were vetted."
        )
    return sizes / vetted


def _numbers(values: pd.Series, name: str, path: Path) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    if (wrong := ~np.isfinite(numbers)).any():
        raise BadInput(
            f"{path}: {name} is {values[wrong].iloc[0]!r} in row {wrong.idxmax() + 1}; it has to "
            "be a number."
        )
    return numbers


def cells_of(rows: pd.DataFrame, objects: int) -> list[Cell]:
    """Cells of the rows: of one stratum, standing for equally many objects; `objects` together.

    Where a stratum reaches over the cut, or rows were drawn by chance, the sample says only about
    how many objects a cell holds. So those not looked at whole share what is left of `objects`;
    where there are none, what is left is a cell that nobody has looked at.
    """
    parts = [(each, part) for (_, each), part in rows.groupby(["stratum", "objects_each"])]
    stand_for = sum(each * len(part) for each, part in parts if each > 1)
    left = objects - sum(len(part) for each, part in parts if each == 1)
    cells = []
    for each, part in parts:
        holds = len(part) if each == 1 else each * len(part) / stand_for * left
        cells.append(Cell(int(part["is_true"].sum()), len(part), max(round(holds), len(part))))
    return cells if stand_for or left <= 0 else [*cells, Cell(0, 0, left)]


def _sides(rows: pd.DataFrame) -> tuple[list[Cell], list[Cell]]:
    """Cells above the cut, and below."""
    sizes = rows.attrs["candidates"], rows.attrs["searched"] - rows.attrs["candidates"]
    parts = rows[rows["candidate"]], rows[~rows["candidate"]]
    above, below = (cells_of(*side) for side in zip(parts, sizes, strict=True))
    return above, below


def judge_vetted(run: Run, out: Path) -> dict:
    """Purity and completeness of the search by what was vetted; tables in `out`.

    Returns:
        what evidence.json says of it.

    Raises:
        BadInput: see `read_vetted`; also where a vetted object was not searched.
    """
    config = run.config.evidence.vetted
    rows = _with_search(read_vetted(config), run)
    above, below = _sides(rows)
    strata = pd.DataFrame(_strata(rows))
    write_both(strata, out / "tables" / "vetted-strata")
    found = {
        "vetted": len(rows),
        "stands_for": float(rows["objects_each"].sum()),
        "searched": int(rows.attrs["searched"]),
        "true_grades": list(config.true_grades),
        "candidates": int(rows.attrs["candidates"]),
        "candidates_vetted": int(rows["candidate"].sum()),
        "true": _said("", in_all(above, below)),
        "purity": _said("", purity(above)),
        "completeness": _said("", completeness(above, below)),
        "tops": [{"top": top} | _said("purity", _purity_of_top(rows, top)) for top in _tops(rows)],
        "strata": strata.to_dict("records"),
        "agreement": _agreement(rows, config),
        "capture": _capture(rows, config),
    }
    write_both(pd.DataFrame(found["tops"]), out / "tables" / "vetted-tops")
    shown = out / "figures" / "vetted-true.png"
    if sheet := _sheet(run, rows):
        figures.save(shown, figures.sample_sheet, sheet)
    else:
        figures.remove(shown)
    return found


def _sheet(run: Run, rows: pd.DataFrame) -> list[figures.SampleRow]:
    """What every pass called true, in the order of the ranking, the first SHOWN."""
    second = rows.get("grade_2", pd.Series("", rows.index))
    agreed = rows["is_true"] & second.isin(["", *run.config.evidence.vetted.true_grades])
    found = rows[agreed].sort_values("rank").head(SHOWN)
    pixels = load_pixels(run.store(), found["object_id"].tolist(), SHOWN_PX)
    sheet = []
    for start in range(0, len(found), PER_ROW):
        of_row = found["rank"].iloc[start : start + PER_ROW]
        said = "ranks " + ", ".join(f"{rank:,.0f}" for rank in of_row)
        sheet.append(figures.SampleRow(said, pixels[start : start + PER_ROW]))
    return sheet


def _with_search(vetted: pd.DataFrame, run: Run) -> pd.DataFrame:
    searched = read_scores(run, MIXED).query("searched")
    searched = searched.assign(rank=ranks(searched["score"])).set_index("object_id")
    lost = ~vetted["object_id"].isin(searched.index)
    if lost.any():
        raise BadInput(
            f"{run.config.evidence.vetted.table}: {lost.sum():,} vetted objects were not searched, "
            f"the first is {vetted['object_id'][lost].iloc[0]}; valid are object_ids of the search "
            "split, of each galaxy the cutout that scored best."
        )
    found = searched[["probability", "rank", "candidate"]]
    # a table that was exported from a catalogue has columns of the same names
    rows = vetted.drop(columns=list(found), errors="ignore").join(found, on="object_id")
    rows.attrs |= {"searched": len(searched), "candidates": int(searched["candidate"].sum())}
    return rows


def _said(name: str, e: Estimate) -> dict:
    before = f"{name}_" if name else ""
    return {name or "value": e.value, f"{before}low": e.low, f"{before}high": e.high}


def _tops(rows: pd.DataFrame) -> list[int]:
    """Those of which all were looked at, or enough of each stratum to speak for it."""
    there = [top for top in TOPS if top <= rows.attrs["searched"]]
    return [top for top in there if _looked_down_to(top, rows[rows["rank"] <= top])]


def _looked_down_to(top: int, rows: pd.DataFrame) -> bool:
    if len(rows) == top:
        return True
    drawn = rows[rows["objects_each"] > 1]
    looks = drawn.groupby("stratum").size()
    stand_for = rows["objects_each"].sum()
    return len(drawn) > 0 and looks.min() >= LOOKS and abs(stand_for - top) <= 0.25 * top


def _purity_of_top(rows: pd.DataFrame, top: int) -> Estimate:
    return purity(cells_of(rows[rows["rank"] <= top], top))


def _strata(rows: pd.DataFrame) -> list[dict]:
    found = []
    for stratum, part in rows.groupby("stratum", sort=False):
        share = wilson(int(part["is_true"].sum()), len(part))
        found.append(
            {
                "stratum": stratum,
                "objects": float(part["objects_each"].sum()),
                "vetted": share.n,
                "true": share.k,
                "share": share.estimate,
                "share_low": share.low,
                "share_high": share.high,
            }
        )
    return found


def _agreement(rows: pd.DataFrame, config: VettedConfig) -> dict | None:
    """How well two passes agree: on every grade, and on what is true."""
    if "grade_2" not in rows:
        return None
    twice = rows[rows["grade_2"] != ""]
    if twice.empty:
        return None
    same = wilson(int((twice["grade"] == twice["grade_2"]).sum()), len(twice))
    true = (twice[name].isin(config.true_grades) for name in ("grade", "grade_2"))
    return {
        "objects": len(twice),
        "same": vars(same),
        **_said("kappa", kappa(twice["grade"], twice["grade_2"])),
        **_said("kappa_true", kappa(*true)),
    }


def _capture(rows: pd.DataFrame, config: VettedConfig) -> dict | None:
    """True ones that neither of two finders has, by those that one or both have."""
    if not config.finders:
        return None
    one, other = (rows["is_true"] & rows[name] for name in config.finders)
    counts = int(one.sum()), int(other.sum()), int((one & other).sum())
    return {
        "finders": list(config.finders),
        **dict(zip(("first", "second", "both"), counts, strict=True)),
        **_said("number", chapman(*counts)),
    }
