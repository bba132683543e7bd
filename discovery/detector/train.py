"""Train a detector on real and synthetic cutouts.

Step t of network m draws everything random from (seed, m, t), so training can stop anywhere and
go on with the same bytes of result; what it needs for that is written every few seconds.
"""

import contextlib
import copy
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import average_precision_score, roc_auc_score
from timm.optim import param_groups_weight_decay
from torch import nn

from discovery.cutouts import CutoutStore
from discovery.detector.augment import augment
from discovery.detector.calibrate import fit_calibration, freeze_threshold
from discovery.detector.checkpoint import Detector, pick_device, save_detector
from discovery.detector.config import DetectorConfig
from discovery.detector.examples import Examples, join, real_examples, synthetic_examples
from discovery.detector.network import (
    build_network,
    logits_and_embeddings,
    pixel_statistics,
    to_input,
)
from discovery.errors import BadInput
from discovery.files import digest, writing
from discovery.progress import say, track

SECONDS_BETWEEN_STATES = 15.0
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
    negatives all others; what `known` holds back is neither. With `synthetic` None the detector
    is trained on real cutouts only.
    """
    real = real_examples(stores, known, "train", config.size, config.max_negatives, config.seed)
    checked = real_examples(
        stores, known, "validation", config.size, config.max_negatives, config.seed
    )
    dreamt, held_out = synthetic_examples(synthetic, config.size)
    return train_detector(join(real, dreamt), join(checked, held_out), config, out, device)


def train_detector(
    train: Examples, validation: Examples, config: DetectorConfig, out: Path, device: str = "auto"
) -> Path:
    """Train, calibrate, freeze the threshold, and write the folder `out`.

    The synthetic rows of `validation` are positives that were held out of `train`; they lend the
    threshold their shape where listed positives are few. Returns `out`.

    Raises:
        BadInput: there is no positive, or no real negative, to train or to calibrate on.
    """
    _check(train)
    where = pick_device(device)
    mean, std = pixel_statistics(train.pixels[~train.synthetic.astype(bool)])
    trained_on = digest(
        {"train": train.digest(), "validation": validation.digest(), "config": config.model_dump()}
    )
    states = [Path(out) / f"training-{member}.safetensors" for member in range(config.ensemble)]
    networks = [
        train_network(train, config, member, (mean, std), (state, trained_on), where)
        for member, state in enumerate(states)
    ]
    card = describe(config, mean, std, trained_on)
    card |= calibrate(Detector(tuple(networks), card, where, ""), validation, config)
    save_detector(networks, card | {"trained": _counts(train)}, Path(out))
    for state in states:
        state.unlink(missing_ok=True)
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
            "not in the list of known objects."
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
        "classes": CLASSES,
        "size": config.size,
        "mean": mean,
        "std": std,
        "training_digest": trained_on,
        "config": config.model_dump(mode="json"),
    }


# --- one network ------------------------------------------------------------------------------


def train_network(
    train: Examples,
    config: DetectorConfig,
    member: int,
    statistics: tuple[list[float], list[float]],
    state: tuple[Path, str],
    device: torch.device,
) -> nn.Module:
    """One network of the ensemble, ready to score: the averaged weights of all its steps."""
    network, average, optimizer = _fresh(config, member, device)
    first = _restore(*state, network, average, optimizer)
    plan = batch_plan(train, config)
    saved = time.monotonic()
    for step in track(range(first, config.steps), "train", unit="images", each=config.batch):
        pixels, targets = draw_batch(train, plan, config, (config.seed, member, step))
        _set_rate(optimizer, config, step)
        _descend(network, optimizer, to_input(pixels, *statistics, device), targets.to(device))
        _move_average(average, network, config.ema, step)
        if time.monotonic() - saved > SECONDS_BETWEEN_STATES or step == config.steps - 1:
            _save(*state, network, average, optimizer, step + 1)
            saved = time.monotonic()
    settle_batch_norm(average, train, config, statistics, device)
    return average.eval()


def _fresh(config, member, device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1000 + member)
        network = build_network(config.network, config.stem, config.pretrained)
    network = network.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(network).requires_grad_(False)
    groups = param_groups_weight_decay(network, config.weight_decay)
    return network, average, torch.optim.AdamW(groups, lr=config.learning_rate)


def batch_plan(train: Examples, config: DetectorConfig) -> list[tuple[np.ndarray, int, int]]:
    """What a batch is made of: (rows to draw from, how many, label).

    Where one kind is missing, the other takes its place.
    """
    positives = max(1, round(config.batch * config.positive_fraction))
    plan = []
    for label, count, share in (
        (1, positives, config.synthetic_share),
        (0, config.batch - positives, config.synthetic_negative_share),
    ):
        real, dreamt = train.where(label, False), train.where(label, True)
        of_dreamt = round(count * share) if len(real) and len(dreamt) else count * bool(len(dreamt))
        plan += [(real, count - of_dreamt, label), (dreamt, of_dreamt, label)]
    return [part for part in plan if part[1]]


def draw_batch(
    train: Examples, plan: list, config: DetectorConfig, seed: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented uint8 (B, S, S, 3) and smoothed targets float32 (B,) of one step."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(part, count) for part, count, _ in plan])
    labels = np.concatenate([np.full(count, label, np.float32) for _, count, label in plan])
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pixels = augment(torch.from_numpy(train.pixels[rows]), config.augment, torch_rng)
    smoothed = labels * (1 - 2 * config.label_smoothing) + config.label_smoothing
    return pixels, torch.from_numpy(smoothed)


def _set_rate(optimizer, config, step):
    warm_up = max(1, config.steps // 10)
    rise = min(1.0, (step + 1) / warm_up)
    done = max(0.0, (step - warm_up) / max(1, config.steps - warm_up))
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * done))


def _descend(network, optimizer, images, targets):
    optimizer.zero_grad()
    logits, _ = logits_and_embeddings(network, images)
    F.binary_cross_entropy_with_logits(logits, targets).backward()
    optimizer.step()


@torch.no_grad()
def _move_average(average, network, decay, step):
    decay = min(decay, (step + 1) / (step + 10))  # the first steps are soon forgotten
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def settle_batch_norm(network, train, config, statistics, device):
    """Measure the batch statistics anew, with the averaged weights, on real cutouts as they are.

    A training batch is full of positives and of noise that was added; the sky is not.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    rng = np.random.default_rng((config.seed, config.steps))
    real = rng.permutation(train.where(0, synthetic=False))[: 16 * SCORE_BATCH]
    network.train()
    for start in range(0, len(real) if norms else 0, SCORE_BATCH):
        pixels = torch.from_numpy(train.pixels[real[start : start + SCORE_BATCH]])
        if len(pixels) > 1:
            logits_and_embeddings(network, to_input(pixels, *statistics, device))


# --- what is needed to go on --------------------------------------------------------------------


def _save(path, trained_on, network, average, optimizer, step):
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
    with writing(path) as temporary:
        save_file(
            {k: v.contiguous() for k, v in tensors.items()},
            temporary,
            {"step": str(step), "trained_on": trained_on},
        )


def _restore(path, trained_on, network, average, optimizer):
    """Put the saved state back and return the step to go on with; 0 if it is another training's."""
    with contextlib.ExitStack() as stack:
        if not path.exists():
            return 0
        file = stack.enter_context(safe_open(path, "pt"))
        if file.metadata()["trained_on"] != trained_on:
            return 0
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        step = int(file.metadata()["step"])
    network.load_state_dict(_below("network.", tensors))
    average.load_state_dict(_below("average.", tensors))
    values = {}
    for key, tensor in _below("optimizer.", tensors).items():
        index, name = key.split(".")
        values.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})
    return step


def _below(prefix, tensors):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


# --- calibration --------------------------------------------------------------------------------


def calibrate(detector: Detector, validation: Examples, config: DetectorConfig) -> dict:
    """Score the validation cutouts; the rest of the card."""
    scores = score_pixels(detector, validation.pixels)
    real = ~validation.synthetic.astype(bool)
    labels, dreamt = validation.labels[real], scores[~real & (validation.labels == 1)]
    calibration = fit_calibration(
        scores[real], labels, config.prevalence, config.positive_fraction, dreamt
    )
    cut = freeze_threshold(scores[real], labels, config.prevalence, config.target_purity, dreamt)
    return {
        "calibration": vars(calibration),
        # as float32, like the probabilities that it is compared with
        "threshold": float(calibration.probability(np.float32(cut.score))),
        "threshold_score": cut.score,
        "threshold_rule": cut.rule,
        "validation": {
            "cutouts": int(real.sum()),
            "positives": int((labels == 1).sum()),
            "synthetic_positives": len(dreamt),
            "candidates": int((scores[real] >= cut.score).sum()),
            "expected_purity": cut.expected_purity,
            "expected_completeness": cut.expected_completeness,
            "target_purity_reached": cut.reached,
            **_ranking(scores[real], labels),
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
