"""Train a detector on real and synthetic cutouts, calibrate it, freeze its threshold."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from discovery.cutouts import CutoutStore
from discovery.detector.calibrate import fit_calibration, freeze_threshold
from discovery.detector.checkpoint import Detector, save_detector
from discovery.detector.config import DetectorConfig
from discovery.detector.examples import Examples, join, real_examples, synthetic_examples
from discovery.detector.fit import train_network
from discovery.detector.network import pixel_statistics
from discovery.detector.resume import State
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest
from discovery.progress import say

CLASSES = ["other", "quarry"]
SCORE_BATCH = 256


def run(
    stores: list[CutoutStore],
    synthetic: CutoutStore | None,
    known: pd.DataFrame,
    config: DetectorConfig,
    out: Path,
    device: str = "auto",
) -> Path:
    """Train on the 'train' rows of `stores` and on `synthetic`, calibrate on 'validation'.

    Real positives are the rows that `known` (object_id, in_training) lists as in training, real
    negatives all others; what `known` holds back is neither, nor in training what volunteers called
    the config's `not_negative`. With `synthetic` None the detector
    is trained on real cutouts only. The card's `field` says what those cutouts show.
    """
    real = real_examples(stores, known, "train", config.size, config.max_negatives, config.seed,
                         config.not_negative)  # fmt: skip
    checked = real_examples(
        stores, known, "validation", config.size, config.max_negatives, config.seed
    )
    dreamt, held_out = synthetic_examples(synthetic, config.size)
    train, validation, field = join(real, dreamt), join(checked, held_out), field_of_view(stores)
    return train_detector(train, validation, config, out, device, field)


def field_of_view(stores: list[CutoutStore]) -> dict:
    """What the training cutouts show: `crop`, the central fraction of the width, in the median of
    each survey, and `arcsec`, the median width of that part; null where no pixel scale is known.
    """
    columns = ["survey", "crop", "width", "pixscale_arcsec"]
    rows = pd.concat([store.table(columns, split="train") for store in stores])
    arcsec = (rows["crop"] * rows["width"] * rows["pixscale_arcsec"]).astype(float).median()
    return {
        "crop": rows.groupby("survey")["crop"].median().to_dict(),
        "arcsec": None if np.isnan(arcsec) else round(float(arcsec), 1),
    }


def train_detector(
    train: Examples,
    validation: Examples,
    config: DetectorConfig,
    out: Path,
    device: str = "auto",
    field: dict | None = None,
) -> Path:
    """Train, calibrate, freeze the threshold, and write the folder `out`.

    The synthetic rows of `validation` are positives that were held out of `train`; they lend the
    threshold their shape where listed positives are few. `field` (see `field_of_view`) is noted
    on the card. Returns `out`.

    Raises:
        BadInput: there is no positive, or no real negative, to train or to calibrate on.
    """
    _check(train)
    where = pick_device(device)
    mean, std = pixel_statistics(train.pixels[~train.synthetic.astype(bool)])
    trained_on = digest(
        {"train": train.digest(), "validation": validation.digest(), "config": config.model_dump()}
    )
    states = [
        State(Path(out) / f"training-{member}.safetensors", trained_on)
        for member in range(config.ensemble)
    ]
    networks = [
        train_network(train, config, member, (mean, std), state, where)
        for member, state in enumerate(states)
    ]
    card = describe(config, mean, std, trained_on)
    card |= calibrate(Detector(tuple(networks), card, where, ""), validation, config)
    save_detector(networks, card | {"trained": _counts(train), "field": field}, Path(out))
    for state in states:
        state.path.unlink(missing_ok=True)
    say(f"  threshold {card['threshold']:.4f}: {card['threshold_rule']}")
    return Path(out)


def _check(train):
    if not (train.labels == 1).any():
        raise BadInput(
            "there is no positive to train on: no listed object with in_training among the "
            "training cutouts, and no synthetic cutout with label 1. Give some in the survey's "
            "list of known objects, or make some with 'discovery synthesize'."
        )
    if not len(train.where(0, synthetic=False)):
        raise BadInput(
            "there is no real negative to train on; the training split needs cutouts that are "
            "not in the list of known objects and whose captions not_negative does not leave out."
        )


def _counts(train):
    return {
        f"{kind}_{what}": len(train.where(label, synthetic))
        for kind, synthetic in (("real", False), ("synthetic", True))
        for what, label in (("positives", 1), ("negatives", 0))
    }


def describe(config: DetectorConfig, mean: list, std: list, trained_on: str) -> dict:
    """The part of the card that is known before calibration."""
    return {
        "network": config.network,
        "stem": config.stem,
        "members": config.ensemble,
        "views": config.views,
        "classes": CLASSES,
        "size": config.size,
        "mean": mean,
        "std": std,
        "training_digest": trained_on,
        "config": config.model_dump(mode="json"),
    }


def calibrate(detector: Detector, validation: Examples, config: DetectorConfig) -> dict:
    """Score the validation cutouts; the rest of the card."""
    scores = score_pixels(detector, validation.pixels)
    real = ~validation.synthetic.astype(bool)
    labels, dreamt = validation.labels[real], scores[~real & (validation.labels == 1)]
    sampled, prevalence = validation.sampled[real], config.prevalence
    calibration = fit_calibration(
        scores[real], labels, prevalence, config.positive_fraction, dreamt, sampled
    )
    cut = freeze_threshold(scores[real], labels, prevalence, config.target_purity, dreamt, sampled)
    return {
        "calibration": vars(calibration),
        # as float32, like the probabilities that it is compared with
        "threshold": float(calibration.probability(np.float32(cut.score))),
        "threshold_score": cut.score,
        "threshold_rule": cut.rule,
        "validation": {
            "cutouts": int(sampled.sum()),
            "positives": int((labels == 1).sum()),
            "positives_from_elsewhere": int((~sampled).sum()),
            "synthetic_positives": len(dreamt),
            "candidates": int((scores[real][sampled] >= cut.score).sum()),
            "expected_purity": cut.expected_purity,
            "expected_completeness": cut.expected_completeness,
            "target_purity_reached": cut.reached,
            **_ranking(scores[real][sampled], labels[sampled]),
        },
    }


def score_pixels(detector: Detector, pixels: np.ndarray) -> np.ndarray:
    """Scores float32 (N,) of uint8 (N, S, S, 3)."""
    parts = [
        detector.forward(pixels[i : i + SCORE_BATCH])[0] for i in range(0, len(pixels), SCORE_BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _ranking(scores, labels):
    if not (labels == 1).any():
        return {"auroc": None, "average_precision": None}
    return {
        "auroc": float(roc_auc_score(labels == 1, scores)),
        "average_precision": float(average_precision_score(labels == 1, scores)),
    }
