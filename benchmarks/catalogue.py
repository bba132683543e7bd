"""How long does a catalogue take to write and read in every format, and how much memory?

    python benchmarks/catalogue.py [ROWS] [FOLDER]      (a million rows, a temporary folder)

Every format is written and read in a process of its own, forked when the table is made: its peak of
memory is its own and holds the table, and when read that of the table it had written too. Seconds
are those of the clock, and of the processor (all cores together): on a busy machine these tell.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from catalogs import Provenance, conform, ecsv, fits, moc, mrt, parquet, regions, votable

FORMATS = {
    "FITS": ("fits", fits.write_fits, fits.read_fits),
    "VOTable": ("vot", votable.write_votable, votable.read_votable),
    "ECSV": ("ecsv", ecsv.write_ecsv, ecsv.read_ecsv),
    "VOParquet": ("parquet", parquet.write_parquet, parquet.read_parquet),
    "MRT": ("dat", mrt.write_mrt, mrt.read_mrt),
    "DS9 regions": ("reg", regions.write_regions, None),
    "MOC": ("moc.fits", moc.write_moc, None),
}

MADE = []  # table and provenance, made once; the processes that are forked share them


def rows(count: int) -> pd.DataFrame:
    """A made-up catalogue over a quarter of the sky with most of the columns filled."""
    random = np.random.default_rng(5)
    probability = np.sort(random.uniform(size=count))[::-1].astype(np.float32)
    known = np.where(random.uniform(size=count) < 0.01, "NGC 4370", None)
    number = np.char.mod("%08d", np.arange(count))
    return pd.DataFrame({
        "object_id": 587722981736120347 + np.arange(count),
        "name": np.char.add("DETG J", np.char.add(number, "00+0000.0")),
        "ra": random.uniform(110, 260, count), "dec": random.uniform(-10, 70, count),
        "survey": "gz2", "split": "search", "in_training": False,
        "redshift": random.uniform(0, 0.3, count), "r_mag": random.uniform(12, 17.77, count),
        "size_arcsec": random.lognormal(2, 0.4, count),
        "n_volunteers": random.integers(16, 70, count),
        "smooth_fraction": random.uniform(size=count), "odd_fraction": random.uniform(size=count),
        "dust_lane_fraction": random.uniform(size=count), "score": random.normal(size=count),
        "probability": probability, "probability_lo": probability / 2,
        "probability_hi": probability, "rank": np.arange(1, count + 1), "n_cutouts": 1,
        "cluster": random.integers(0, 64, count),
        "nearest_known_distance": random.uniform(size=count), "known_name": known,
        "known_bibcode": np.where(pd.isna(known), None, "2012MNRAS.423...49K"),
        "found_by": "mixed+real", "image_sha256": [f"{i:064x}" for i in range(count)],
        "n_votes": 3, "n_positive_votes": random.integers(0, 4, count),
        "grade": random.choice(["A", "B", "C", "X"], count),
        "sampling_weight": 1.0, "note": np.where(random.uniform(size=count) < 0.001, "façade", ""),
    })  # fmt: skip


def provenance(table) -> Provenance:
    area = moc.selection_area(table["ra"], table["dec"])
    return Provenance(
        title="A catalogue to measure with", software="discovery", version="0", commit="none",
        model_sha256="0" * 64, config_digest="0" * 64, prompts=(), seeds=(1,),
        training_digest="0" * 64, threshold=0.5, threshold_rule="none", n_searched=len(table),
        n_unreadable=0, acknowledgements="", licence="CC0-1.0", created="2026-01-01", moc=area,
    )  # fmt: skip


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, folder: Path) -> tuple:
    """MB of the file; (seconds of the clock, of the processor, peak in GB) to write, to read."""
    suffix, write, read = FORMATS[name]
    path, costs = folder / f"catalogue.{suffix}", []
    for act, given in ((write, [*MADE, path]), (read, [path])):
        if act is not None:
            start, worked = time.perf_counter(), time.process_time()
            act(*given)
            took = time.perf_counter() - start, time.process_time() - worked
            costs.append((*took, peak_gb()))
    return path.stat().st_size / 2**20, costs


def main(count: int, folder: Path) -> None:
    start = time.perf_counter()
    table = conform(rows(count))
    MADE.extend([table, provenance(table)])
    print(f"{count:,} rows made in {time.perf_counter() - start:.1f} s, {peak_gb():.2f} GB at most")
    head = "".join(f"{act + '/s':>10}{'cpu/s':>8}{'peak/GB':>9}" for act in ("write", "read"))
    print(f"{'':<14}{'MB':>7}{head}")
    total = worked = 0.0
    for name in FORMATS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as own:
            size, costs = own.submit(measure, name, folder).result()
        cells = "".join(f"{clock:10.1f}{cpu:8.1f}{peak:9.2f}" for clock, cpu, peak in costs)
        print(f"{name:<14}{size:7.0f}{cells}", flush=True)
        total, worked = total + costs[0][0], worked + costs[0][1]
    print(f"all formats written in {total:.1f} s, {worked:.1f} s of the processor")


if __name__ == "__main__":
    rows_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as temporary:
        main(rows_wanted, Path(sys.argv[2] if len(sys.argv) > 2 else temporary))
