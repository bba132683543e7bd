"""A network of our own that names what volunteers saw; its features are what images differ in.

No download and no photographs of dogs: it learns the tags of the training split's captions, from
galaxies alone. It is no part of the generator and shares no weights with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import nn

from discovery.cutouts import CutoutStore, load_pixels
from discovery.detector.augment import turn
from discovery.detector.examples import tag_targets
from discovery.detector.fit import tag_loss
from discovery.detector.network import (
    build_network,
    logits_and_embeddings,
    pixel_statistics,
    to_input,
    views,
)
from discovery.detector.resume import State
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file, write_json, writing
from discovery.morphology.captions import tags_of
from discovery.progress import track

NETWORK = "resnet10t"
# Fewer than the network's own 512: a covariance of 512 needs thousands of images, one of 64 some
# hundreds. What naming tags does not use of them stays a random projection, which keeps distances.
WIDTH = 64
BATCH, RATE, VIEWS = 64, 2e-3, 4
MOST_TO_SCALE_BY = 2000  # training images
LEAST_TO_JUDGE = 5  # held-out images with and without a tag, to say how well it is named
_WEIGHTS, _CARD, _STATE = "model.safetensors", "features.json", "training.safetensors"
_STATES_EVERY = 50  # steps


class TagNetwork(nn.Module):
    """Features float32 (B, WIDTH) and logits float32 (B, T) of T tags.

    `centre` and `spread` (WIDTH,) scale features as they leave: without them FID would be counted
    in units of the network's last initialisation.
    """

    def __init__(self, tags: int):
        super().__init__()
        self.network = build_network(NETWORK)
        self.narrow = nn.Linear(self.network.head_hidden_size, WIDTH)
        self.tags = nn.Linear(WIDTH, tags)
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.register_buffer("spread", torch.ones(WIDTH))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.narrow(logits_and_embeddings(self.network, images)[1])
        return (features - self.centre) / self.spread, self.tags(features)


@dataclass(frozen=True)
class Features:
    """The trained network with its preprocessing; `card` is what features.json says."""

    network: TagNetwork
    card: dict
    device: torch.device

    @property
    def tags(self) -> list[str]:
        return self.card["tags"]

    @torch.inference_mode()
    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 (N, WIDTH) and tag probabilities float32 (N, T) of uint8 (N, S, S, 3).

        Means over an image and its quarter turns: a galaxy has no up.
        """
        seen = [self._look(pixels[i : i + 256]) for i in range(0, len(pixels), 256)]
        return tuple(np.concatenate(part) for part in zip(*seen, strict=True))

    def _look(self, pixels):
        images = to_input(
            torch.from_numpy(pixels), self.card["mean"], self.card["std"], self.device
        )
        passes = [self.network(view) for view in views(images, VIEWS)]
        features = torch.stack([f for f, _ in passes]).mean(0)
        probabilities = torch.stack([logits.sigmoid() for _, logits in passes]).mean(0)
        return features.cpu().numpy(), probabilities.cpu().numpy()


def train_features(
    store: CutoutStore, size: int, steps: int, seed: int, out: Path, device: str = "auto"
) -> Features:
    """Learn the tags of the training split; killed and given again, it goes on where it was.

    Raises:
        BadInput: no tag is held by enough captions of the training split.
    """
    rows = store.table(["object_id", "caption", "survey", "sha256"], split="train")
    rows = rows.dropna(subset=["caption"]).reset_index(drop=True)
    settings = {"network": NETWORK, "width": WIDTH, "size": size, "steps": steps, "seed": seed}
    seen = [settings, list(rows["sha256"]), list(rows["caption"])]
    card = {**settings, "images": len(rows), "training_digest": digest(seen)}
    if not _is_finished(out, card["training_digest"]):
        _train(store, rows, card, out, pick_device(device))
    return load_features(out, device)


def _is_finished(out: Path, training: str) -> bool:
    card = out / _CARD
    return card.exists() and read_json(card)["training_digest"] == training


def _train(store, rows, card: dict, out: Path, device: torch.device) -> None:
    targets = tag_targets(rows["caption"], rows["survey"])
    if not len(targets.columns):
        raise BadInput(
            f"no tag is in 20 captions of the training split of {store.folder}; the network that "
            "judges learns from them. Ingest more cutouts with captions."
        )
    pixels = load_pixels(store, list(rows["object_id"]), card["size"])
    mean, std = pixel_statistics(pixels)
    card = card | {"tags": list(targets.columns), "mean": mean, "std": std}
    state = State(out / _STATE, card["training_digest"])
    network = _fit(pixels, targets.to_numpy(np.float32), card, state, device)
    _standardise(Features(network.eval(), card, device), pixels[:MOST_TO_SCALE_BY])
    with writing(out / _WEIGHTS) as temporary:
        save_file({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, temporary)
    write_json(out / _CARD, card | {"weights_sha256": sha256_file(out / _WEIGHTS)})
    (out / _STATE).unlink(missing_ok=True)


def _fit(pixels, targets, card: dict, state: State, device: torch.device) -> TagNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card["seed"])
        network = TagNetwork(targets.shape[1])
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    no_average = nn.Identity()
    first = state.restore(network, no_average, optimizer)
    steps = card["steps"]
    for step in track(range(first, steps), "judge's network", unit="images", each=BATCH):
        _set_rate(optimizer, step, steps)
        images, wanted = _batch(pixels, targets, card, step)
        loss = tag_loss(network(to_input(images, card["mean"], card["std"], device))[1],
                        wanted.to(device))  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % _STATES_EVERY == 0:
            state.save(network, no_average, optimizer, step + 1)
    return network


def _standardise(features: Features, pixels: np.ndarray) -> None:
    """Mean 0 and variance 1 of every feature over these training images."""
    seen = features.look(pixels)[0]
    features.network.centre.copy_(torch.from_numpy(seen.mean(0)))
    features.network.spread.copy_(torch.from_numpy(seen.std(0).clip(1e-6)))


def _set_rate(optimizer, step: int, steps: int) -> None:
    # A short rise, then half a cosine down to zero.
    rise = min(1.0, (step + 1) / max(1, steps // 10))
    for group in optimizer.param_groups:
        group["lr"] = RATE * rise * 0.5 * (1 + np.cos(np.pi * step / steps))


def _batch(pixels, targets, card: dict, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng((card["seed"], step))
    rows = rng.integers(len(pixels), size=BATCH)
    turns = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return turn(torch.from_numpy(pixels[rows]), turns), torch.from_numpy(targets[rows])


def load_features(folder: Path, device: str = "auto") -> Features:
    """Open a folder that `train_features` wrote.

    Raises:
        BadInput: a file is missing, or the weights are not those that the card was written for.
    """
    card = read_json(folder / _CARD)
    if not (folder / _WEIGHTS).exists() or sha256_file(folder / _WEIGHTS) != card["weights_sha256"]:
        raise BadInput(
            f"{folder / _WEIGHTS} is not the file that {_CARD} was written for; remove {folder} "
            "and type the same command again."
        )
    network = TagNetwork(len(card["tags"]))
    network.load_state_dict(load_file(folder / _WEIGHTS))
    where = pick_device(device)
    network = network.to(where, memory_format=torch.channels_last).eval()
    return Features(network, card, where)


def named_well(
    tags: Sequence[str], probabilities: np.ndarray, captions: Sequence[str]
) -> pd.DataFrame:
    """How well each tag is named on held-out cutouts: tag, images that hold it, AUROC.

    A judge has to be judged. Tags that fewer than LEAST_TO_JUDGE hold, or lack, are left out.
    """
    rows = []
    for tag, column in zip(tags, probabilities.T, strict=True):
        held = np.array([tag in tags_of(caption) for caption in captions])
        if min(held.sum(), (~held).sum()) >= LEAST_TO_JUDGE:
            rows.append((tag, int(held.sum()), float(roc_auc_score(held, column))))
    return pd.DataFrame(rows, columns=["tag", "images", "auroc"])
