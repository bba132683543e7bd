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
    network, average, optimizer = _fresh(config, member, device)
    first = state.restore(network, average, optimizer)
    plan = batch_plan(train, config)
    saved = time.monotonic()
    for step in track(range(first, config.steps), "train", unit="images", each=config.batch):
        pixels, targets = draw_batch(train, plan, config, (config.seed, member, step))
        _set_rate(optimizer, config, step)
        _descend(network, optimizer, to_input(pixels, *statistics, device), targets.to(device))
        _move_average(average, network, config.ema, step)
        if time.monotonic() - saved > SECONDS_BETWEEN_STATES or step == config.steps - 1:
            state.save(network, average, optimizer, step + 1)
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
    real = rng.permutation(train.where(0, synthetic=False))[: SETTLE_BATCHES * SETTLE_BATCH]
    network.train()
    for start in range(0, len(real) if norms else 0, SETTLE_BATCH):
        pixels = torch.from_numpy(train.pixels[real[start : start + SETTLE_BATCH]])
        if len(pixels) > 1:
            logits_and_embeddings(network, to_input(pixels, *statistics, device))
