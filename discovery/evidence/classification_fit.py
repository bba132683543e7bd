"""Fit one classifier: any timm network, with a logit for every class.

Step t draws everything random from (seed, t), so training can stop anywhere and go on with the same
bytes of result; what it needs for that is written every few seconds.
"""

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import param_groups_weight_decay
from torch import nn

from discovery.detector.augment import augment
from discovery.detector.fit import (
    SECONDS_BETWEEN_STATES,
    SETTLE_BATCH,
    SETTLE_BATCHES,
    move_average,
    set_rate,
    settle,
)
from discovery.detector.network import outputs_and_embeddings, to_input
from discovery.detector.resume import State
from discovery.evidence.classification_measures import macro_f1
from discovery.evidence.config import ClassifierConfig
from discovery.progress import track

Statistics = tuple[list[float], list[float]]  # mean and σ per band


@dataclass(frozen=True)
class Labelled:
    """`pixels` uint8 (N, S, S, 3), `labels` int64 (N,), places of classes, `real` bool (N,)."""

    pixels: np.ndarray
    labels: np.ndarray
    real: np.ndarray


class Averages(nn.Module):
    """The averaged weights and, where one looks in between, those that did best so far."""

    def __init__(self, network: nn.Module, looks: bool):
        super().__init__()
        self.now = copy.deepcopy(network).requires_grad_(False)
        self.best = copy.deepcopy(self.now) if looks else None
        self.register_buffer("f1", torch.tensor(-1.0))
        self.register_buffer("step", torch.tensor(0))

    def look(self, validation: Labelled, statistics: Statistics, step: int) -> None:
        """Keep the weights of now if they do better on the validation split."""
        said = predict(self.now, validation.pixels, statistics).argmax(1)
        f1 = macro_f1(validation.labels, said)
        if f1 > float(self.f1):
            self.best.load_state_dict(self.now.state_dict())
            self.f1.fill_(f1)
            self.step.fill_(step)

    @property
    def chosen(self) -> nn.Module:
        """The weights to judge by."""
        return self.now if self.best is None else self.best


def fit(
    network: nn.Module,
    train: Labelled,
    validation: Labelled,
    config: ClassifierConfig,
    seed: int,
    statistics: Statistics,
    state: State,
    device: torch.device,
) -> tuple[nn.Module, int]:
    """Train `network` and return it with averaged weights, and the step that these are of.

    Args:
        validation: what is looked at in between; unused where `config.looks` is 0.
    """
    network = network.to(device, memory_format=torch.channels_last).train()
    averages = Averages(network, config.looks > 0)
    groups = param_groups_weight_decay(network, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    first, saved = state.restore(network, averages, optimizer), time.monotonic()
    for step in track(range(first, config.steps), "train", unit="images", each=config.batch):
        images, labels = draw_batch(train, config, (seed, step), statistics, device)
        set_rate(optimizer, config, step)
        optimizer.zero_grad()
        losses_of(outputs_and_embeddings(network, images)[0], labels, config).mean().backward()
        optimizer.step()
        move_average(averages.now, network, config.ema, step)
        if step + 1 in looks_at(config):
            averages.look(validation, statistics, step + 1)
        if time.monotonic() - saved > SECONDS_BETWEEN_STATES or step == config.steps - 1:
            state.save(network, averages, optimizer, step + 1)
            saved = time.monotonic()
    settle(averages.chosen, train.pixels, settling_rows(train, seed), statistics, device)
    return averages.chosen.eval(), int(averages.step) or config.steps


def looks_at(config: ClassifierConfig) -> set[int]:
    """The steps after which the validation split is looked at; the last is one of them."""
    return {round(config.steps * k / config.looks) for k in range(1, config.looks + 1)}


def settling_rows(train: Labelled, seed: int) -> np.ndarray:
    """Real images to measure the batch statistics on: dreams are not what is judged."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.flatnonzero(train.real))[: SETTLE_BATCH * SETTLE_BATCHES]


def draw_batch(
    train: Labelled,
    config: ClassifierConfig,
    seed: tuple[int, int],
    statistics: Statistics,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented input float32 (B, 3, S, S) and labels int64 (B,) of one step."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(train.labels), config.batch, p=chances(train.labels, config.balance))
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pixels = augment(torch.from_numpy(train.pixels[rows]), config.augment, torch_rng)
    labels = torch.from_numpy(train.labels[rows]).to(device)
    return to_input(pixels, *statistics, device), labels


def chances(labels: np.ndarray, balance: float) -> np.ndarray:
    """With which chance each image is drawn, float (N,): 1 over its class's number to `balance`."""
    weights = np.bincount(labels)[labels].astype(float) ** -balance
    return weights / weights.sum()


def losses_of(logits: torch.Tensor, labels: torch.Tensor, config: ClassifierConfig) -> torch.Tensor:
    """The configured loss of each image (B,), from logits (B, K) and labels (B,).

    Focal loss is that of Lin et al. (2017, arXiv 1708.02002, eq. 4) with the softmax's chance of
    the true class.
    """
    losses = F.cross_entropy(
        logits, labels, reduction="none", label_smoothing=config.label_smoothing
    )
    if config.loss == "cross_entropy":
        return losses
    chance = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    return (1 - chance) ** config.focal_gamma * losses


@torch.no_grad()
def predict(network: nn.Module, pixels: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Probabilities float32 (N, K) of images uint8 (N, S, S, 3), by the weights as they are."""
    device = next(network.parameters()).device
    network.eval()
    parts = [
        outputs_and_embeddings(network, to_input(torch.from_numpy(part), *statistics, device))[0]
        for part in (pixels[i : i + SETTLE_BATCH] for i in range(0, len(pixels), SETTLE_BATCH))
    ]
    return torch.cat(parts).softmax(1).cpu().numpy()
