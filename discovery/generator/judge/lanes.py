"""The judge of one question: is this an early type with a lane of dust?

It sees grey images of equal brightness, so neither reddening nor darkness can decide, and it learns
from lanes painted with the physics of dust on real early types, never from a generated or simulated
dusty early type. One network answers twice: is there a lane, and is the shape an early type's.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save
from timm.optim import param_groups_weight_decay

from discovery.detector.augment import augment
from discovery.detector.config import AugmentConfig
from discovery.detector.fit import Learner
from discovery.detector.network import build_network, views
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file, write_json, writing
from discovery.generator.judge.lane_examples import LaneExamples, denoised, lane_examples, noisier
from discovery.progress import track

WEIGHTS, CARD = "model.safetensors", "lane_judge.json"
CARD_KEYS = ("size", "config", "threshold", "false_positive_rate", "training_digest",
             "weights_sha256")  # fmt: skip
HELD_OUT = 0.25  # of the early types: they fix the threshold and are not trained on
FEWEST = 20
VIEWS = 4
EVEN = 0.5  # early types and others have equal shares of a batch
CHUNK = 256
GAMMA = (0.75, 1.33)
VARIED = AugmentConfig(blur_share=0.5, blur_px=0.8, noise=0.04)


class LaneJudgeConfig(BaseModel):
    """How the judge of lanes is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = Field("resnet10t", description="any timm network")
    steps: int = Field(300, ge=1, description="optimiser steps")
    batch: int = Field(96, ge=8, description="images per step")
    learning_rate: float = Field(2e-3, gt=0, description="peak of a one-cycle schedule")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decoupled weight decay")
    max_false_positive_rate: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="share of held-out early types without a lane that the frozen threshold may "
        "call laned; lower than the 2 % that is promised, since it is fixed on a few hundred",
    )


@dataclass(frozen=True)
class LaneJudge:
    """A trained judge. `card` holds size, configuration, threshold and digests."""

    learner: Learner
    card: dict
    device: torch.device

    @property
    def size(self) -> int:
        """Side of the square input, in px."""
        return self.card["size"]

    @property
    def threshold(self) -> float:
        """Least lane probability that counts as a lane, frozen on held-out early types."""
        return self.card["threshold"]

    @property
    def digest(self) -> str:
        """SHA-256 of the card, which holds that of the weights."""
        return digest(self.card)

    def lane_probability(self, pixels: np.ndarray) -> np.ndarray:
        """Probability of a dust lane, float (N,), of uint8 (N, S, S, 3).

        Raises:
            BadInput: the images are not of the size the judge was made for.
        """
        return self.probabilities(pixels)[:, 0]

    def has_lane(self, pixels: np.ndarray) -> np.ndarray:
        """Whether there is a lane at the frozen threshold, bool (N,); as `lane_probability`."""
        return self.lane_probability(pixels) >= self.threshold

    def early_type_probability(self, pixels: np.ndarray) -> np.ndarray:
        """Probability of an early type's shape, were these as common as others, float (N,).

        Of uint8 (N, S, S, 3); round, in-between and cigar-shaped ones, with or without a lane.

        Raises:
            BadInput: the images are not of the size the judge was made for.
        """
        return self.probabilities(pixels)[:, 1]

    def is_early_type(self, pixels: np.ndarray) -> np.ndarray:
        """Whether its shape is more likely an early type's, bool (N,)."""
        return self.early_type_probability(pixels) >= EVEN

    @torch.inference_mode()
    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Both answers in one pass: `lane_probability`, `early_type_probability`; float (N, 2)."""
        check_images(pixels, self.size)
        chunks = [torch.from_numpy(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
        answers = [self._answers(grey_input(chunk.to(self.device))) for chunk in chunks]
        return torch.cat(answers).cpu().numpy() if answers else np.empty((0, 2), np.float32)

    def _answers(self, images):
        seen = [torch.stack(_flat(*self.learner(view)), 1) for view in views(images, VIEWS)]
        return torch.stack(seen).mean(0).sigmoid()


def check_images(pixels: np.ndarray, size: int) -> None:
    """Refuse what is not uint8 (N, size, size, 3)."""
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3):
        raise BadInput(
            f"the lane judge takes uint8 (N, {size}, {size}, 3), not {pixels.dtype} "
            f"{pixels.shape}; decode or draw the cutouts at {size} px."
        )


def grey_input(pixels: torch.Tensor) -> torch.Tensor:
    """Grey images of equal brightness, float (B, 3, S, S), of uint8 (B, S, S, 3).

    The mean of the channels, its 10th percentile (the sky) shifted to -0.3 and its 98th (the bright
    middle) scaled to 0.7.
    """
    grey = pixels.float().mean(-1)
    low, high = torch.quantile(grey.flatten(1), torch.tensor([0.1, 0.98]).to(grey), dim=1)
    scaled = (grey - low[:, None, None]) / (high - low).clamp(min=5)[:, None, None] - 0.3
    return scaled.clamp(-0.6, 1.4)[:, None].expand(-1, 3, -1, -1)


def train_lane_judge(
    early: np.ndarray,
    others: np.ndarray,
    dusty_discs: np.ndarray | None = None,
    seed: int = 1,
    config: LaneJudgeConfig | None = None,
    device: str = "auto",
) -> LaneJudge:
    """Train on real cutouts, all uint8 (N, S, S, 3), and freeze the threshold.

    It takes a minute or two, so one that was killed starts again; it ends with the same judge.

    Args:
        early: early types without a lane; a quarter is held out to fix the threshold.
        others: galaxies of other shapes without a lane: spirals, mergers, discs from the side.
        dusty_discs: discs seen from the side with a lane: not early, and nothing is learnt of their
            lane.
        seed: everything random follows from it.

    Raises:
        BadInput: too few images, not of one size, or no lane stands out on any.
    """
    config = config or LaneJudgeConfig()
    dusty_discs = others[:0] if dusty_discs is None else dusty_discs
    _check_training(early, others, dusty_discs)
    order = np.random.default_rng(seed).permutation(len(early))
    held, taught = np.split(early[order], [int(HELD_OUT * len(early))])
    pools = _pools(lane_examples(taught, seed), others, dusty_discs)
    where = pick_device(device)
    learner = _fit(pools, seed, config, where)
    card = {
        "size": early.shape[1],
        "config": config.model_dump(mode="json"),
        "training_digest": _training_digest(early, others, dusty_discs, seed),
        "weights_sha256": hashlib.sha256(_weights(learner)).hexdigest(),
    }
    return _freeze_threshold(LaneJudge(learner, card, where), held, seed, config)


def save_lane_judge(judge: LaneJudge, folder: Path) -> Path:
    """Write the folder; the card comes last, so a folder with a card is complete."""
    folder = Path(folder)
    with writing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(_weights(judge.learner))
    write_json(folder / CARD, judge.card)
    return folder


def _weights(learner):
    """The weights as the bytes of a safetensors file."""
    return save({k: v.cpu().contiguous() for k, v in learner.state_dict().items()})


def load_lane_judge(folder: Path, device: str = "auto") -> LaneJudge:
    """Open a folder that `save_lane_judge` wrote.

    Raises:
        BadInput: a file or a key is missing, or the weights are not those of the card.
    """
    folder = Path(folder)
    card = read_json(folder / CARD)
    missing = [key for key in CARD_KEYS if key not in card]
    if missing:
        raise BadInput(f"{folder / CARD} lacks {', '.join(missing)}; train the lane judge anew.")
    if not (folder / WEIGHTS).is_file() or sha256_file(folder / WEIGHTS) != card["weights_sha256"]:
        raise BadInput(
            f"{folder / WEIGHTS} is missing or not the file that {CARD} was written for; copy the "
            "folder whole, or train the lane judge anew."
        )
    where = pick_device(device)
    learner = Learner(build_network(card["config"]["network"]), 1)
    learner.load_state_dict(load_file(folder / WEIGHTS))
    learner = learner.eval().to(where, memory_format=torch.channels_last)
    return LaneJudge(learner, card, where)


def _check_training(early, others, dusty_discs):
    for name, pixels, fewest in (
        ("early types", early, FEWEST),
        ("other galaxies", others, FEWEST),
        ("dusty discs", dusty_discs, 0),
    ):
        if len(pixels) < fewest:
            raise BadInput(
                f"{len(pixels)} {name} are too few to train a lane judge; it needs {fewest}."
            )
        check_images(pixels, early.shape[1])


@dataclass(frozen=True)
class _Pool:
    """Images, their share of a batch, and the answers to learn; NaN: nothing is learnt."""

    pixels: np.ndarray
    share: float
    lane: float
    early: float


def _pools(examples: LaneExamples, others, dusty_discs):
    # half early, half not, so that 0.5 is the fair cut in shape
    of_dusty = 0.15 if len(dusty_discs) else 0.0
    return [
        _Pool(examples.laned, 0.25, 1.0, 1.0),
        _Pool(examples.plain, 0.25, 0.0, 1.0),
        _Pool(others, 0.5 - of_dusty, 0.0, 0.0),
        _Pool(dusty_discs, of_dusty, float("nan"), 0.0),
    ]


def _fit(pools, seed, config, device):
    learner = _fresh(seed, config, device)
    optimizer = torch.optim.AdamW(
        param_groups_weight_decay(learner, config.weight_decay), lr=config.learning_rate
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)
    for step in track(range(config.steps), "lane judge", unit="images", each=config.batch):
        images, targets = _batch(pools, config.batch, (seed, step))
        optimizer.zero_grad()
        loss = _loss(_flat(*learner(images.to(device))), targets.to(device))
        loss.backward()
        optimizer.step()
        schedule.step()
    return learner.eval()


def _fresh(seed, config, device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = Learner(build_network(config.network), 1)
    return learner.to(device, memory_format=torch.channels_last).train()


def _batch(pools, size, seed):
    """Varied grey images (B, 3, S, S) and targets (2, B): lane, early type."""
    rng = np.random.default_rng(seed)
    counts = [round(pool.share * size) for pool in pools]
    drawn = [
        p.pixels[rng.integers(len(p.pixels), size=n)]
        for p, n in zip(pools, counts, strict=True)
        if n
    ]
    targets = np.repeat([(p.lane, p.early) for p in pools], counts, axis=0).T
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**63)))
    images = grey_input(augment(torch.from_numpy(np.concatenate(drawn)), VARIED, torch_rng))
    return _bend(images, torch_rng), torch.from_numpy(targets.astype(np.float32))


def _bend(images, rng):
    """Another stretch for each image: how steeply light falls off must not decide."""
    low, high = np.log(GAMMA)
    gamma = (low + (high - low) * torch.rand((len(images), 1, 1, 1), generator=rng)).exp()
    light = images + 0.3
    bent = light.sign() * light.abs() ** gamma - 0.3
    return bent.contiguous(memory_format=torch.channels_last)


def _flat(lane, early):
    return lane, early[:, 0]


def _loss(answers, targets):
    """Cross-entropy of both questions, each a mean over the images it is asked of."""
    losses = []
    for logits, wanted in zip(answers, targets, strict=True):
        asked = ~wanted.isnan()
        losses.append(F.binary_cross_entropy_with_logits(logits[asked], wanted[asked]))
    return sum(losses)


def _freeze_threshold(judge, held, seed, config):
    """The lowest threshold that keeps to the rate among held-out early types without a lane.

    Denoised and noisier copies count too: generated ones will be one or the other.
    """
    rng = np.random.default_rng((seed, len(held)))
    copies = [np.stack([change(p, rng) for p in held]) for change in (denoised, noisier)]
    probability = judge.lane_probability(np.concatenate([held, *copies]))
    allowed = int(config.max_false_positive_rate * len(probability))
    threshold = float(np.nextafter(np.sort(probability)[-1 - allowed], np.float32(2)))
    frozen = {"threshold": threshold, "false_positive_rate": allowed / len(probability)}
    return LaneJudge(judge.learner, {**judge.card, **frozen}, judge.device)


def _training_digest(early, others, dusty_discs, seed):
    pixels = (early, others, dusty_discs)
    parts = [hashlib.sha256(np.ascontiguousarray(p)).hexdigest() for p in pixels]
    return digest({"pixels": parts, "seed": seed})
