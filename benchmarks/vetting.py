"""What two blind passes over a ranked sample say: purity of the top, agreement, how many there are.

python benchmarks/vetting.py runs/sdss-vetted.csv
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.evidence.config import VettedConfig
from discovery.evidence.metrics import wilson
from discovery.evidence.vetted import cells_of, draw_totals, kappa, read_vetted, total

TOPS = (10, 30, 100, 200, 300)
TRUE = ("A", "B")


def main(path: Path) -> None:
    """Print the figures of docs/results.md."""
    rows = read_vetted(VettedConfig(table=path, true_grades=TRUE))
    rows["rank"] = pd.to_numeric(rows["rank"])
    passes = {
        "first pass": rows["grade"].isin(TRUE),
        "second pass": rows["grade_2"].isin(TRUE),
    }
    passes["both"] = passes["first pass"] & passes["second pass"]
    # as far down as all were looked at
    tops = [top for top in TOPS if (rows["rank"] <= top).sum() == top]
    rest = rows["rank"] > max(tops, default=0)
    for name, is_true in passes.items():
        print(f"{name}:")
        for top in tops:
            share = wilson(int(is_true[rows["rank"] <= top].sum()), top)
            print(f"  first {top:>3}: {share.k:>2} true, {_percent(share)}")
        share = wilson(int(is_true[rest].sum()), int(rest.sum()))
        print(f"  of {share.n} others: {share.k} true, {_percent(share)}")
        cells = cells_of(rows.assign(is_true=is_true), round(rows["objects_each"].sum()))
        low, high = np.percentile(draw_totals(cells, np.random.default_rng(0)), (2.5, 97.5))
        print(f"  in all: {total(cells):.0f} ({low:.0f} to {high:.0f})")
    for name, pair in (
        ("all grades", (rows["grade"], rows["grade_2"])),
        ("true or not", (passes["first pass"], passes["second pass"])),
    ):
        k = kappa(*pair)
        print(f"kappa, {name}: {k.value:.2f} ({k.low:.2f} to {k.high:.2f})")


def _percent(share) -> str:
    return f"{share.estimate:.0%} ({share.low:.0%} to {share.high:.0%})"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
