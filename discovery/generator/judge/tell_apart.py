"""Can a classifier tell synthetic cutouts from real ones? AUC 0.5: it can not.

Held out: every image is scored by a classifier that was fitted without it. Two classifiers, since
each is blind to something: logistic regression on the features of the tag network, to which noise
and texture hardly matter, and a small network on the pixels themselves.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from discovery.detector.augment import turn
from discovery.detector.network import (
    build_network,
    logits_and_embeddings,
    pixel_statistics,
    to_input,
)
from discovery.generator.judge.intervals import REPLICATES, Measured, percentile_interval
from discovery.progress import track

FOLDS = 3
PIXEL_NETWORK, PIXEL_BATCH, PIXEL_RATE = "resnet10t", 64, 1e-3

Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(train, labels int (N,) of it, held out) -> scores float of the held out; more is synthetic."""


def held_out_scores(
    real: np.ndarray, synthetic: np.ndarray, scorer: Scorer, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (1 synthetic), scores and fold of every image, each scored by the other folds."""
    x = np.concatenate((real, synthetic))
    labels = np.repeat([0, 1], (len(real), len(synthetic)))
    scores, folds = np.zeros(len(x)), np.zeros(len(x), int)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, labels)
    for fold, (train, test) in enumerate(split):
        scores[test] = scorer(x[train], labels[train], x[test])
        folds[test] = fold
    return labels, scores, folds


def auc(
    labels: np.ndarray, scores: np.ndarray, folds: np.ndarray, rng: np.random.Generator
) -> Measured:
    """Mean over the folds of the area under each one's ROC curve; images resampled in the fold.

    Scores of different folds come from different classifiers and are not compared.
    """
    parts = [(labels[folds == f], scores[folds == f]) for f in np.unique(folds)]
    made = [np.mean([_auc(*_again(*part, rng)) for part in parts]) for _ in range(REPLICATES)]
    return percentile_interval(np.mean([_auc(*part) for part in parts]), np.array(made))


def _auc(labels, scores) -> float:
    """Mann & Whitney's U over the number of pairs: a tenth of the time of scikit-learn's, and it is
    taken thousands of times.
    """
    is_synthetic = labels == 1
    made, pairs = is_synthetic.sum(), is_synthetic.sum() * (~is_synthetic).sum()
    return float((rankdata(scores)[is_synthetic].sum() - made * (made + 1) / 2) / pairs)


def _again(labels, scores, rng):
    # As many of each kind as there were: an AUC needs both.
    kinds = [np.flatnonzero(labels == kind) for kind in (0, 1)]
    rows = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
    return labels[rows], scores[rows]


def by_features(train: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Logistic regression on standardised features."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return fitted.fit(train, labels).decision_function(held_out)


def by_pixels(steps: int, seed: int, device: torch.device) -> Scorer:
    """A small network from scratch on the pixels, `steps` of PIXEL_BATCH images."""

    def scorer(train: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        statistics = pixel_statistics(train)
        network = _fit(train, labels, statistics, steps, seed, device)
        return _score(network, held_out, statistics, device)

    return scorer


def _fit(train, labels, statistics, steps: int, seed: int, device: torch.device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(PIXEL_NETWORK).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=PIXEL_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in track(range(steps), "real or not", unit="images", each=PIXEL_BATCH):
        rng = np.random.default_rng((seed, step))
        rows = rng.integers(len(train), size=PIXEL_BATCH)
        turns = torch.Generator().manual_seed(int(rng.integers(2**62)))
        images = to_input(turn(torch.from_numpy(train[rows]), turns), *statistics, device)
        logits = logits_and_embeddings(network, images)[0]
        wanted = torch.from_numpy(labels[rows]).float().to(device)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, wanted).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def _score(network, pixels, statistics, device: torch.device) -> np.ndarray:
    batches = [torch.from_numpy(pixels[i : i + 256]) for i in range(0, len(pixels), 256)]
    passes = [logits_and_embeddings(network, to_input(b, *statistics, device)) for b in batches]
    return torch.cat([logits for logits, _ in passes]).cpu().numpy()
