"""Hard negatives: the training cutouts that the network so far takes for the quarry.

Among them are the quarry that nobody has listed. That is why they are never more than half of the
real negatives of a batch, and why those that score highest of all are left out.
"""

import numpy as np
import torch
from torch import nn

from discovery.detector.config import DetectorConfig, HardNegativesConfig
from discovery.detector.examples import REAL, Examples
from discovery.detector.network import logits_and_embeddings, to_input

SCORE_BATCH = 256


def rounds_at(config: DetectorConfig) -> set[int]:
    """The steps before which the negatives are scored: evenly spread, none at the very start."""
    rounds = config.hard_negatives.rounds
    return {config.steps * r // (rounds + 1) for r in range(1, rounds + 1)} - {0}


def how_many(train: Examples, config: HardNegativesConfig) -> int:
    """Number of negatives that are called hard; 0 without rounds."""
    negatives = len(train.where(0, REAL))
    return max(1, round(negatives * config.fraction)) if config.rounds else 0


@torch.no_grad()
def hardest(
    network: nn.Module,
    train: Examples,
    config: HardNegativesConfig,
    statistics: tuple[list[float], list[float]],
    device: torch.device,
) -> np.ndarray:
    """Row numbers int64 (`how_many`,) of the real negatives that score highest, but for those at
    the very top (`leave_out`)."""
    rows = train.where(0, REAL)
    network.eval()
    scores = [
        logits_and_embeddings(network, to_input(torch.from_numpy(part), *statistics, device))[0]
        for part in _parts(train.pixels, rows)
    ]
    order = np.argsort(-torch.cat(scores).cpu().numpy(), kind="stable")
    count = how_many(train, config)
    first = min(round(len(rows) * config.leave_out), len(rows) - count)
    return rows[order[first : first + count]]


def _parts(pixels, rows):
    for start in range(0, len(rows), SCORE_BATCH):
        yield pixels[rows[start : start + SCORE_BATCH]]
