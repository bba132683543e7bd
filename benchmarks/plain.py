"""Is a detector better than a ruler? Where plain measures of its cutouts rank the known objects.

    python benchmarks/plain.py RUN_FOLDER        (a finished run with published objects to judge by)

Published objects are bright, near and red. A ranking by redness, or by how much of the frame the
galaxy fills, finds some of them with no idea of what is hunted; a detector has to do better.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.candidates import known_to_judge, read_scores
from discovery.config import load_config
from discovery.cutouts import load_pixels
from discovery.evidence.metrics import auroc
from discovery.morphology.paint import find_host
from discovery.progress import track
from discovery.run import MIXED, Run

SIDE = 96  # px
NAMES = {
    "colour": "redness: red over blue light within the half-light radius",
    "sky": "light at the border of the frame",
    "half_light": "half-light radius in the frame",
    "asymmetry": "asymmetry under half a turn",
    "roundness": "axis ratio, the flat ones first",
}
RULERS = ("colour", "sky")


def main(folder: Path) -> None:
    """A line for the detector and one for each measure, over the same galaxies."""
    run = Run(load_config(folder / "run.toml"), folder, folder / "run.toml")
    scores = read_scores(run, MIXED)
    known = known_to_judge(run, scores)
    searched = scores[scores["searched"] & scores["score"].notna()]
    searched = searched[~searched["object_id"].isin(known.loc[known["in_training"], "object_id"])]
    measured = measure(run, list(searched["object_id"]))
    published = searched["object_id"].isin(known["object_id"].dropna()).to_numpy()
    if not published.any():
        sys.exit(f"no published object was searched in {folder}")
    ranked_by = {"the detector": searched["score"]} | {NAMES[n]: measured[n] for n in NAMES}
    added = sum(measured[name].rank(na_option="top") for name in RULERS)
    ranked_by["the ranks by redness and by border light, added"] = added
    values = {what: np.asarray(by, float) for what, by in ranked_by.items()}
    alike = np.ones(len(searched), bool)
    for name in RULERS:
        alike &= (measured[name] >= measured[name][published].min()).to_numpy()
    surveys = searched["survey"].to_numpy()
    for what, rows in (
        ("searched", np.ones(len(searched), bool)),
        ("of the same samples", np.isin(surveys, np.unique(surveys[published]))),
        ("as red and as bright at the border as the published ones", alike),
    ):
        print(f"{published.sum()} published among the {rows.sum():,} {what}:")
        for ranking, value in values.items():
            _say(ranking, published[rows], value[rows])


def measure(run: Run, object_ids: list[str]) -> pd.DataFrame:
    """A row per cutout, in this order; NaN where no galaxy stands in its middle."""
    rows = []
    for start in track(range(0, len(object_ids), 256), "measure", unit="batches"):
        for pixels in load_pixels(run.store(), object_ids[start : start + 256], SIDE):
            host = find_host(pixels)
            rows.append({} if host is None else vars(host))
    table = pd.DataFrame(rows)
    return table.assign(roundness=-table["q"])


def _say(what, published, value):
    value = np.where(np.isnan(value), -np.inf, value)  # what could not be measured ranks last
    area = auroc(published, value)
    places = np.sort([(value >= own).mean() for own in value[published]])
    shares = ", ".join(f"{place:.1%}" for place in places)
    print(
        f"{what}: AUROC {area.value:.3f} ({area.low:.3f} to {area.high:.3f}); in the top {shares}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
