"""Train a detector on real, synthetic and painted cutouts, calibrate it, freeze its threshold."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.metrics import average_precision_score, roc_auc_score

from discovery.cutouts import CutoutStore
from discovery.cutouts.store import write_table
from discovery.detector.calibrate import SYNTHETIC_WORTH, fit_calibration, freeze_threshold
from discovery.detector.checkpoint import Detector, save_detector
from discovery.detector.config import DetectorConfig
from discovery.detector.examples import (
    ARTEFACT,
    DREAMT,
    PAINTED,
    REAL,
    VETTED,
    Examples,
    examples_of,
    join,
    not_seen_true,
    real_rows,
    synthetic_examples,
)
from discovery.detector.field import field_of_view
from discovery.detector.fit import shares_of, train_network, with_a_share
from discovery.detector.network import pixel_statistics, weights_file
from discovery.detector.painted import artefact_examples, painted_examples
from discovery.detector.reliability import (
    calibration_band,
    calibration_error,
    cross_fitted,
    reliability,
)
from discovery.detector.resume import State
from discovery.detector.vetted import read_verdicts, require_some
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, sha256_file
from discovery.progress import say

CLASSES = ["other", "quarry"]
TRAINED_ON = "trained_on.parquet"
SCORE_BATCH = 256


def run(
    store: CutoutStore,
    synthetic: CutoutStore | None,
    known: pd.DataFrame,
    config: DetectorConfig,
    out: Path,
    painted: Path,
    device: str = "auto",
    left_out: Collection[str] = (),
) -> Path:
    """Train on the 'train' rows of `store`, on `synthetic` and on what is painted on those rows,
    calibrate on 'validation'.

    Real positives are the rows that `known` (object_id, in_training) lists as in training, real
    negatives all others; what `known` holds back is neither, nor in training what volunteers called
    the config's `not_negative`. What people have looked at (`vetted`) teaches what they said; what
    they took for the quarry is left out of validation (`not_seen_true`). With `synthetic` None the
    detector sees no synthetic cutout; what it sees of painted ones the config says. Cutouts whose
    object_id is among `left_out` are neither shown nor painted on. What is painted is kept in
    `painted`, for other trainings with the same. The card's `field` says what the training cutouts
    show, trained_on.parquet in `out` which real ones they are (object_id, survey, label, and
    source: real or vetted).
    """
    verdicts = read_verdicts(config.vetted)
    require_some(config.vetted, set(store.table(["object_id"])["object_id"]))
    rows = real_rows(store, known, "train", config.max_negatives, config.seed,
                     config.not_negative, left_out, verdicts)  # fmt: skip
    drawn = real_rows(store, known, "validation", config.max_negatives, config.seed)
    drawn = not_seen_true(drawn, verdicts)
    real, validation = (examples_of(store, some, config.size) for some in (rows, drawn))
    train = real
    for taught, held_out in (
        synthetic_examples(synthetic, config.size),
        painted_examples(real, config, painted),
    ):
        train, validation = join(train, taught), join(validation, held_out)
    train = with_a_share(join(train, artefact_examples(real, config, painted)), config)
    validation = with_a_share(validation, config)
    write_table(pa.Table.from_pandas(_listed(rows, config)), Path(out) / TRAINED_ON)
    return train_detector(train, validation, config, out, device, field_of_view(store))


def _listed(rows, config):
    listed = rows[["object_id", "survey", "label", "source"]]
    shares = listed["label"].map({label: shares_of(config, label)[VETTED] for label in (0, 1)})
    return listed[(listed["source"] == REAL) | (shares > 0)]


def train_detector(
    train: Examples,
    validation: Examples,
    config: DetectorConfig,
    out: Path,
    device: str = "auto",
    field: dict | None = None,
) -> Path:
    """Train, calibrate, freeze the threshold, and write the folder `out`.

    The dreamt and painted rows of `validation` are positives that were held out of `train`; they
    lend the threshold their shape where listed positives are few, and count as no real one.
    `field` (see `field_of_view`) is noted on the card. Returns `out`.

    Raises:
        BadInput: there is no positive, or no real negative, to train or to calibrate on.
    """
    _check(train)
    where = pick_device(device)
    mean, std = pixel_statistics(train.pixels[train.real])
    settings = _settings(config)
    trained_on = digest(
        {"train": train.digest(), "validation": validation.digest(), "config": settings}
        | _start_weights(config)
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
    card |= {"trained": _counts(train), "field": field, **_start_weights(config)}
    save_detector(networks, card, Path(out))
    for state in states:
        state.path.unlink(missing_ok=True)
    say(f"  threshold {card['threshold']:.4f}: {card['threshold_rule']}")
    return Path(out)


def _settings(config):
    # where a table lies decides nothing, and is nobody's business
    return config.model_dump(mode="json", exclude={"vetted": {"tables"}})


def start_file(config: DetectorConfig) -> dict[str, str]:
    """SHA-256 of the file that a training starts from, if there is one: another may lie there
    tomorrow. Empty for weights of a hub, which may not be here when a finished run is read.
    """
    is_here = config.pretrained and Path(config.pretrained).is_file()
    return _start_weights(config) if is_here else {}


def _start_weights(config):
    if not config.pretrained:
        return {}
    return {"pretrained_sha256": sha256_file(weights_file(config.pretrained))}


def _check(train):
    if not (train.labels == 1).any():
        raise BadInput(
            "there is no positive to train on: no listed object with in_training among the "
            "training cutouts, and no synthetic, painted or vetted one that has a share. Give some "
            "in the survey's list of known objects, make some with 'discovery synthesize', have "
            "some painted: count under [detector.painted], or name those that people have found: "
            "tables under [detector.vetted]."
        )
    if not len(train.where(0, REAL)):
        raise BadInput(
            "there is no real negative to train on; the training split needs cutouts that are "
            "not in the list of known objects and whose captions not_negative does not leave out."
        )


def _counts(train):
    kinds = {"real": REAL, "vetted": VETTED, "synthetic": DREAMT, "painted": PAINTED}
    of_each = {
        f"{name}_{what}": len(train.where(label, source))
        for name, source in kinds.items()
        for what, label in (("positives", 1), ("negatives", 0))
    }
    return of_each | {"artefact_negatives": len(train.where(0, ARTEFACT))}


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
        "config": _settings(config),
    }


def calibrate(detector: Detector, validation: Examples, config: DetectorConfig) -> dict:
    """Score the validation cutouts; the rest of the card."""
    scores = score_pixels(detector, validation.pixels)
    real, prevalence = validation.real, config.prevalence
    made = scores[~real & (validation.labels == 1)]
    labels, sampled = validation.labels[real], validation.sampled[real]
    fit = _fitting(scores[real], labels, made, sampled, config)
    calibration = fit(None)
    cut = freeze_threshold(scores[real], labels, prevalence, config.target_purity, made, sampled,
                           _made_by(validation))  # fmt: skip
    return {
        "calibration": vars(calibration),
        "calibration_band": vars(calibration_band(fit, scores[real], made, config.seed)),
        # as float32, like the probabilities that it is compared with
        "threshold": float(calibration.probability(np.float32(cut.score))),
        "threshold_score": cut.score,
        "threshold_rule": cut.rule,
        "validation": {
            "cutouts": int(sampled.sum()),
            "positives": int((labels == 1).sum()),
            "positives_from_elsewhere": int((~sampled).sum()),
            "synthetic_positives": len(validation.where(1, DREAMT)),
            "painted_positives": len(validation.where(1, PAINTED)),
            "candidates": int((scores[real][sampled] >= cut.score).sum()),
            "expected_purity": cut.expected_purity,
            "expected_completeness": cut.expected_completeness,
            "target_purity_reached": cut.reached,
            **_ranking(scores[real][sampled], labels[sampled]),
            **_reliability(fit, scores[real], labels, made, sampled, config),
        },
    }


def _fitting(scores, labels, made, sampled, config):
    """`fit_calibration` of these very cutouts, with factors on their weights or without."""

    def fit(weights):
        return fit_calibration(scores, labels, config.prevalence, config.positive_fraction, made,
                               sampled, config.calibration, weights)  # fmt: skip

    return fit


def _made_by(validation):
    names = {DREAMT: "synthetic", PAINTED: "painted"}
    held_out = [name for source, name in names.items() if len(validation.where(1, source))]
    return " and ".join(held_out) or "synthetic"


def _reliability(fit, scores, labels, made, sampled, config):
    if not len(made) and not (labels == 1).any():
        return {"expected_calibration_error": None, "reliability": []}
    found, of_made = cross_fitted(fit, scores, made, config.seed)
    bins = reliability(found, labels, of_made, config.prevalence,
                       SYNTHETIC_WORTH if len(made) else 0.0, sampled)  # fmt: skip
    return {
        "expected_calibration_error": calibration_error(bins),
        "reliability": [vars(one) for one in bins],
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
