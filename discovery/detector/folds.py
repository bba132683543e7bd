"""Cross-fitting: no galaxy is scored by a detector that it taught.

The galaxies are parted in folds, and each fold has a detector that was taught by the training
galaxies of all others. It scores the galaxies of its fold, of whatever split. Those of the search
split have taught none, and might be scored by all; but then a cut would find more among them than
among the others, and what is measured on the one would not hold for the other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.detector.checkpoint import Detector, load_detector
from discovery.files import digest


@dataclass(frozen=True)
class Folds:
    """`count` folds of galaxies, by the hash of their names: further galaxies move none.

    `known` are the published objects (object_id, galaxy), whose cutouts stay together.
    """

    count: int
    seed: int
    known: pd.DataFrame

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """The fold of each row, int64 (N,), by its object_id and galaxy (null: its own)."""
        return np.array([self._drawn(name) for name in galaxies(rows, self.known)], np.int64)

    def _drawn(self, galaxy: str) -> int:
        # not the hash that drew the splits, of which every split has one part alone
        drawn = hashlib.sha256(f"fold:{self.seed}:{galaxy}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") % self.count


def galaxies(table: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """What makes rows one object: the published one, else the galaxy, else the cutout."""
    named = known.dropna(subset=["object_id"]).drop_duplicates("object_id")
    published = table["object_id"].map(named.set_index("object_id")["galaxy"])
    return published.fillna(table["galaxy"]).fillna(table["object_id"])


@dataclass(frozen=True)
class CrossFitted:
    """The detector of each fold; see `discovery.detector.score.score_rows`."""

    detectors: tuple[Detector, ...]
    folds: Folds

    @cached_property
    def digest(self) -> str:
        """Of all of them, and of which galaxies each scores."""
        known = self.folds.known[["object_id", "galaxy"]].astype(object)
        drawn = known.where(known.notna(), None).to_numpy().tolist()
        return digest([drawn, *(detector.digest for detector in self.detectors)])


def load_detectors(
    folders: Sequence[Path], folds: Folds, device: str = "auto"
) -> Detector | CrossFitted:
    """The detector in each folder, one a fold, ready to score; a single one for itself.

    Raises:
        BadInput: as `load_detector`.
    """
    detectors = tuple(load_detector(folder, device) for folder in folders)
    return detectors[0] if len(detectors) == 1 else CrossFitted(detectors, folds)
