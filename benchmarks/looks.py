"""Two searches by the same looks: how many of its first n several vettings call true.

python benchmarks/looks.py runs/sdss.toml runs/*-vetted.csv

A vetting is as strict as its eye, and a search does best by its own. So each first n is counted by
what both passes of *any* of the tables took, and by what *every* pass took that ever looked; beside
them stands how many of it anybody has looked at.
"""

import sys
from pathlib import Path

import pandas as pd

from discovery.candidates import read_scores
from discovery.config import load_config
from discovery.detector.config import VettedLabelsConfig
from discovery.detector.vetted import PASSES, read_grades
from discovery.run import MIXED, Run

TOPS = (10, 30, 100, 200, 300)


def main(run_file: Path, tables: list[Path]) -> None:
    """Print the figures of docs/results.md."""
    looks = pd.concat([_looks(table) for table in tables]).groupby(level="object_id")
    every = looks["true"].sum() == looks["passes"].sum()
    some = looks["both"].any()
    config = load_config(run_file)
    ranked = _ranked(Run(config, run_file.parent / config.name, run_file))
    print(f"called true by both passes of any vetting: {some.sum()}; by every pass: {every.sum()}")
    print("among the first | of any vetting | by every pass | looked at")
    for top in TOPS:
        first = ranked[:top]
        counts = [first.isin(index).sum() for index in (some[some].index, every[every].index)]
        print(f"{top:>15} | {counts[0]:>14} | {counts[1]:>13} | {first.isin(some.index).sum():>9}")


def _looks(table: Path) -> pd.DataFrame:
    """By object_id: how many passes there were, how many called it true, whether both did."""
    config = VettedLabelsConfig()
    rows = read_grades(table, config, "vetted").set_index("object_id")
    passes = rows[[name for name in PASSES if name in rows]]
    true = passes.isin(config.true_grades).sum(axis=1)
    return pd.DataFrame(
        {"passes": passes.ne("").sum(axis=1), "true": true, "both": true == len(PASSES)}
    )


def _ranked(run: Run) -> pd.Series:
    """object_id of what was searched, the first first."""
    scores = read_scores(run, MIXED)
    scores = scores[scores["searched"] & scores["score"].notna()]
    return scores.sort_values(["probability", "score"], ascending=False)["object_id"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
