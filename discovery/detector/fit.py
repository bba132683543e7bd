"""Fit one network.

Step t of network m draws everything random from (seed, m, t), so training can stop anywhere and
go on with the same bytes of result; what it needs for that is written every few seconds.
"""

import copy
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import param_groups_weight_decay
from torch import nn

from discovery.detector.augment import augment
from discovery.detector.config import DetectorConfig
from discovery.detector.examples import Examples
from discovery.detector.network import build_network, logits_and_embeddings, to_input
from discovery.detector.resume import State
from discovery.progress import track

SECONDS_BETWEEN_STATES = 15.0
SETTLE_BATCH, SETTLE_BATCHES = 256, 16


def train_network(
    train: Examples,
    config: DetectorConfig,
    member: int,
    statistics: tuple[list[float], list[float]],
    state: State,
    device: torch.device,
) -> nn.Module:
    """One network of the ensemble, ready to score: the averaged weights of all its steps."""
    learner, average, optimizer = _fresh(train, config, member, device)
    first = state.restore(learner, average, optimizer)
    saved = time.monotonic()
    for step in track(range(first, config.steps), "train", unit="images", each=config.batch):
        plan = batch_plan(train, config, step)
        batch = draw_batch(train, plan, config, (config.seed, member, step))
        pixels, *targets = (part.to(device) for part in batch)
        _set_rate(optimizer, config, step)
        _descend(learner, optimizer, to_input(pixels, *statistics, device), *targets, config)
        _move_average(average, learner.network, config.ema, step)
        if time.monotonic() - saved > SECONDS_BETWEEN_STATES or step == config.steps - 1:
            state.save(learner, average, optimizer, step + 1)
            saved = time.monotonic()
    settle_batch_norm(average, train, config, statistics, device)
    return average.eval()


class Learner(nn.Module):
    """The network and, for as long as it trains, a second layer on its features that names tags.

    The quarry is too rare to teach a network what galaxies look like; what volunteers said of
    every galaxy does (Walmsley et al. 2022, MNRAS 513, 1581).
    """

    def __init__(self, network: nn.Module, tags: int):
        super().__init__()
        self.network = network
        self.tags = nn.Linear(network.head_hidden_size, tags) if tags else None

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits float32 (B,) of the quarry and (B, T) of the tags; None where there are none."""
        logits, features = logits_and_embeddings(self.network, images)
        return logits, None if self.tags is None else self.tags(features)


def _fresh(train, config, member, device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1000 + member)
        network = build_network(config.network, config.stem, config.pretrained)
        learner = Learner(network, train.tags.shape[1] if config.tag_weight else 0)
    learner = learner.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(learner.network).requires_grad_(False)
    groups = param_groups_weight_decay(learner, config.weight_decay)
    return learner, average, torch.optim.AdamW(groups, lr=config.learning_rate)


def batch_plan(
    train: Examples, config: DetectorConfig, step: int
) -> list[tuple[np.ndarray, int, int]]:
    """What a batch is made of: (rows to draw from, how many, label).

    The shares of synthetic ones fall linearly, as long as there is a real positive. Where one
    kind is missing, the other takes its place.
    """
    positives = max(1, round(config.batch * config.positive_fraction))
    left = _left_of_synthetic(train, config, step)
    plan = []
    for label, count, share in (
        (1, positives, config.synthetic_share),
        (0, config.batch - positives, config.synthetic_negative_share),
    ):
        real, dreamt = train.where(label, False), train.where(label, True)
        of_dreamt = (
            round(count * share * left) if len(real) and len(dreamt) else count * bool(len(dreamt))
        )
        plan += [(real, count - of_dreamt, label), (dreamt, of_dreamt, label)]
    return [part for part in plan if part[1]]


def _left_of_synthetic(train, config, step):
    # Dreamt positives beside real negatives alone would teach the brush and not the lane.
    if not len(train.where(1, synthetic=False)):
        return 1.0
    return max(0.0, 1 - step / (config.steps * config.synthetic_until))


def draw_batch(
    train: Examples, plan: list, config: DetectorConfig, seed: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Augmented uint8 (B, S, S, 3), smoothed targets float32 (B,) and tags (B, T) of one step."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(part, count) for part, count, _ in plan])
    labels = np.concatenate([np.full(count, label, np.float32) for _, count, label in plan])
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pixels = augment(torch.from_numpy(train.pixels[rows]), config.augment, torch_rng)
    smoothed = labels * (1 - 2 * config.label_smoothing) + config.label_smoothing
    tags = train.tags.to_numpy(np.float32)[rows]
    return pixels, torch.from_numpy(smoothed), torch.from_numpy(tags)


def _set_rate(optimizer, config, step):
    warm_up = max(1, config.steps // 10)
    rise = min(1.0, (step + 1) / warm_up)
    done = max(0.0, (step - warm_up) / max(1, config.steps - warm_up))
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * done))


def _descend(learner, optimizer, images, targets, tags, config):
    optimizer.zero_grad()
    logits, named = learner(images)
    loss = F.binary_cross_entropy_with_logits(logits, targets)
    if named is not None:
        loss = loss + config.tag_weight * tag_loss(named, tags)
    loss.backward()
    optimizer.step()


def tag_loss(logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the tags (B, T), averaged over images with a caption; NaN is left
    out.
    """
    known = ~tags.isnan()
    loss = F.binary_cross_entropy_with_logits(logits[known], tags[known], reduction="sum")
    return loss / known.any(1).sum().clamp(min=1)


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
    real = rng.permutation(train.where(0, synthetic=False))[: SETTLE_BATCHES * SETTLE_BATCH]
    network.train()
    for start in range(0, len(real) if norms else 0, SETTLE_BATCH):
        pixels = torch.from_numpy(train.pixels[real[start : start + SETTLE_BATCH]])
        if len(pixels) > 1:
            logits_and_embeddings(network, to_input(pixels, *statistics, device))
