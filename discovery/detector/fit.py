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
from discovery.detector.examples import ARTEFACT, DREAMT, PAINTED, REAL, VETTED, Examples
from discovery.detector.hard import hardest, how_many, rounds_at
from discovery.detector.losses import Loss, loss_of, trusted
from discovery.detector.network import build_network, logits_and_embeddings, to_input
from discovery.detector.resume import State
from discovery.progress import track

SECONDS_BETWEEN_STATES = 15.0
SETTLE_BATCH, SETTLE_BATCHES = 256, 16
BELIEVED_UNTIL = 0.2  # of the steps; before that a network cannot tell whom to doubt


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
    loss, saved = loss_of(config, train.labels), time.monotonic()
    for step in track(range(first, config.steps), "train", unit="images", each=config.batch):
        if step in rounds_at(config):
            rows = hardest(average, train, config.hard_negatives, statistics, device)
            learner.hard.copy_(torch.from_numpy(rows))
        plan = batch_plan(train, config, step, learner.hard_rows())
        batch = draw_batch(train, plan, config, (config.seed, member, step))
        pixels, *targets = (part.to(device) for part in batch)
        set_rate(optimizer, config, step)
        images = to_input(pixels, *statistics, device)
        doubtful = config.doubtful if step >= BELIEVED_UNTIL * config.steps else 0.0
        _descend(learner, optimizer, loss, images, *targets, config.tag_weight, doubtful)
        move_average(average, learner.network, config.ema, step)
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

    def __init__(self, network: nn.Module, tags: int, hard: int = 0):
        super().__init__()
        self.network = network
        self.tags = nn.Linear(network.head_hidden_size, tags) if tags else None
        # Row numbers of the hard negatives, here so that they are saved with the weights that
        # found them.
        self.register_buffer("hard", torch.full((hard,), -1) if hard else None)

    def hard_rows(self) -> np.ndarray:
        """Row numbers of the hard negatives, int64; none before the first round."""
        if self.hard is None or self.hard[0] < 0:
            return np.zeros(0, np.int64)
        return self.hard.cpu().numpy()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits float32 (B,) of the quarry and (B, T) of the tags; None where there are none."""
        logits, features = logits_and_embeddings(self.network, images)
        return logits, None if self.tags is None else self.tags(features)


def _fresh(train, config, member, device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1000 + member)
        network = build_network(config.network, config.stem, config.pretrained)
        tags = train.tags.shape[1] if config.tag_weight else 0
        learner = Learner(network, tags, how_many(train, config.hard_negatives))
    learner = learner.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(learner.network).requires_grad_(False)
    groups = param_groups_weight_decay(learner, config.weight_decay)
    return learner, average, torch.optim.AdamW(groups, lr=config.learning_rate)


def shares_of(config: DetectorConfig, label: int) -> dict[str, float]:
    """The share of each source among the images of a label in the first batch; of real ones that
    nobody has looked at is what is left.
    """
    if label == 1:
        return {
            DREAMT: config.synthetic_share,
            PAINTED: config.painted.share,
            VETTED: config.vetted.share,
        }
    return {
        DREAMT: config.synthetic_negative_share,
        PAINTED: config.painted.control_share,
        ARTEFACT: config.artefacts.share,
        VETTED: config.vetted.negative_share,
    }


def with_a_share(examples: Examples, config: DetectorConfig) -> Examples:
    """Without the kinds that no batch has a share of: those may neither teach nor calibrate."""
    none = [
        (source, label)
        for label in (0, 1)
        for source, share in shares_of(config, label).items()
        if not share
    ]
    kinds = zip(examples.source, examples.labels.tolist(), strict=True)
    return examples.rows(np.array([kind not in none for kind in kinds], bool))


def batch_plan(
    train: Examples, config: DetectorConfig, step: int, hard: np.ndarray = ()
) -> list[tuple[np.ndarray, int, int]]:
    """What a batch is made of: (rows to draw from, how many, label).

    The shares of dreamt and painted ones fall linearly, as long as there is a listed positive;
    those of artefacts and of what people have looked at stay. Where one kind is missing, the others
    take its place. `hard` are rows of real negatives to draw more often.
    """
    positives = max(1, round(config.batch * config.positive_fraction))
    left = dict.fromkeys((DREAMT, PAINTED), _left_of_made(train, config, step))
    of_positives, of_negatives = (
        {source: share * left.get(source, 1.0) for source, share in shares.items()}
        for shares in (shares_of(config, 1), shares_of(config, 0))
    )
    plan = _split(train, 1, positives, of_positives)
    (negatives, count, _), *others = _split(train, 0, config.batch - positives, of_negatives)
    of_hard = round(count * config.hard_negatives.share) if len(hard) else 0
    plan += [(negatives, count - of_hard, 0), *others, (hard, of_hard, 0)]
    return [part for part in plan if part[1]]


def _split(train, label, count, shares):
    """`count` images of one label: the real ones first, then each made kind by its share."""
    rows = {source: train.where(label, source) for source in (REAL, *shares)}
    shares = {source: share for source, share in shares.items() if len(rows[source])}
    whole = 1.0 if len(rows[REAL]) else sum(shares.values()) or 1.0
    counts = {source: round(count * share / whole) for source, share in shares.items()}
    over = count - sum(counts.values())
    # what rounding left over, or took too much, where real ones cannot even it out
    evens_out = REAL if len(rows[REAL]) and over >= 0 else max(counts, key=counts.get)
    counts[evens_out] = counts.get(evens_out, 0) + over
    return [(rows[source], counts.get(source, 0), label) for source in (REAL, *shares)]


def _left_of_made(train, config, step):
    # Made positives beside real negatives alone would teach the brush and not the lane.
    if not len(train.where(1, REAL)):
        return 1.0
    return max(0.0, 1 - step / (config.steps * config.synthetic_until))


def draw_batch(
    train: Examples, plan: list, config: DetectorConfig, seed: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Augmented uint8 (B, S, S, 3), smoothed targets float32 (B,), which are negatives only because
    nobody has listed them, bool (B,), and tags (B, T) of one step.
    """
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(part, count) for part, count, _ in plan])
    labels = np.concatenate([np.full(count, label, np.float32) for _, count, label in plan])
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pixels = augment(torch.from_numpy(train.pixels[rows]), config.augment, torch_rng)
    smoothed = labels * (1 - 2 * config.label_smoothing) + config.label_smoothing
    tags = train.tags.to_numpy(np.float32)[rows]
    unlisted = (labels == 0) & (train.source[rows] == REAL)
    return pixels, *(torch.from_numpy(part) for part in (smoothed, unlisted, tags))


def set_rate(optimizer: torch.optim.Optimizer, config, step: int) -> None:
    """A tenth of `config.steps` to rise to `config.learning_rate`, then a cosine to zero."""
    warm_up = max(1, config.steps // 10)
    rise = min(1.0, (step + 1) / warm_up)
    done = max(0.0, (step - warm_up) / max(1, config.steps - warm_up))
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * done))


def _descend(learner, optimizer, loss: Loss, images, targets, unlisted, tags, tag_weight, doubtful):
    optimizer.zero_grad()
    logits, named = learner(images)
    losses = loss(logits, targets)
    total = (losses * trusted(losses, unlisted, doubtful)).mean() if doubtful else losses.mean()
    if named is not None:
        total = total + tag_weight * tag_loss(named, tags)
    total.backward()
    optimizer.step()


def tag_loss(logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the tags (B, T), averaged over images with a caption; NaN is left
    out.
    """
    known = ~tags.isnan()
    loss = F.binary_cross_entropy_with_logits(logits[known], tags[known], reduction="sum")
    return loss / known.any(1).sum().clamp(min=1)


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards those of `network` after `step` steps."""
    decay = min(decay, (step + 1) / (step + 10))  # the first steps are soon forgotten
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def settle_batch_norm(network, train, config, statistics, device):
    """Settle on real negatives, a random choice."""
    rng = np.random.default_rng((config.seed, config.steps))
    real = rng.permutation(train.where(0, REAL))[: SETTLE_BATCHES * SETTLE_BATCH]
    settle(network, train.pixels, real, statistics, device)


@torch.no_grad()
def settle(network, pixels, rows, statistics, device):
    """Measure the batch statistics anew, with the averaged weights, on real cutouts as they are.

    A training batch is full of positives and of noise that was added; the sky is not. `rows` are
    those of `pixels`, uint8 (N, S, S, 3), to measure on.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    network.train()
    for start in range(0, len(rows) if norms else 0, SETTLE_BATCH):
        batch = torch.from_numpy(pixels[rows[start : start + SETTLE_BATCH]])
        if len(batch) > 1:
            logits_and_embeddings(network, to_input(batch, *statistics, device))
