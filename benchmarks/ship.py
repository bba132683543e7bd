"""Make the detector of a finished run the one that comes with the package.

    python benchmarks/ship.py runs/sdss

Copies runs/sdss/detector/mixed to discovery/detector/weights: weights in half precision, the card
with what the run's report says of it, and the list of the cutouts that taught it. The README there
is written by hand; what it needs is printed.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from discovery.candidates import left_out_of
from discovery.config import load_config
from discovery.cutouts.store import load_pixels
from discovery.detector.checkpoint import CARD, WEIGHTS, load_detector
from discovery.detector.field import field_of_view
from discovery.detector.shipped import SHIPPED, TRAINED_ON, write_list
from discovery.detector.train import score_pixels
from discovery.evidence import words
from discovery.files import read_json, sha256_file, write_json, writing
from discovery.release import judge_search
from discovery.run import MIXED, Run

COMPARED = 512  # cutouts


def main(folder: Path) -> None:
    run = Run(load_config(folder / "run.toml"), folder, folder / "run.toml")
    folder = run.detectors(MIXED)[0]  # of a cross-fitted run the first fold's
    before = load_detector(folder, "cpu")
    _copy_weights(folder, SHIPPED)
    write_json(SHIPPED / CARD, before.card | _said(run) | {"weights_sha256": _sha(WEIGHTS)})
    write_list(run.store(), SHIPPED, left_out_of(run, 0))
    _compare(run, before)


def _copy_weights(source: Path, out: Path) -> None:
    """Kernels as float16; what normalises stays as it is, for variances may be large."""
    weights = load_file(source / WEIGHTS)
    halved = {k: v.to(torch.float16) if v.ndim > 1 else v for k, v in weights.items()}
    with writing(out / WEIGHTS) as temporary:
        save_file(halved, temporary)


def _said(run: Run) -> dict:
    quarry = run.config.catalogue.quarry
    judged = words.verdict(judge_search(run, MIXED), quarry)
    if run.folds > 1:
        twins = (
            f"Of all {run.folds} detectors of a cross-fitted search, of which this is the first:"
        )
        judged = [f"{twins} {judged[0]}", *judged[1:]]
    return {
        "field": field_of_view(run.store()),
        "quarry": quarry,
        "judged": judged,
    }


def _sha(name: str) -> str:
    return sha256_file(SHIPPED / name)


def _compare(run: Run, before) -> None:
    """Print what the README says, and what half precision changes."""
    searched = run.store().table(["object_id"], split="search")["object_id"]
    pixels = load_pixels(run.store(), list(searched[:COMPARED]), before.size)
    one, other = (score_pixels(d, pixels) for d in (before, load_detector(SHIPPED, "cpu")))
    print(f"{(SHIPPED / WEIGHTS).stat().st_size / 1e6:.1f} MB, SHA-256 {_sha(WEIGHTS)}")
    listed = SHIPPED / TRAINED_ON
    print(f"{TRAINED_ON}: {pq.read_metadata(listed).num_rows:,} cutouts, "
          f"{listed.stat().st_size / 1e6:.1f} MB")  # fmt: skip
    print(f"scores of {len(one)} cutouts differ by at most {np.abs(one - other).max():.2g}, "
          f"their σ is {one.std():.2g}")  # fmt: skip
    print(*read_json(SHIPPED / CARD)["judged"], sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
