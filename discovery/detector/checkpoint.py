"""A detector on disk: weights, preprocessing, calibration and threshold in one folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from discovery.detector.calibrate import Calibration
from discovery.detector.network import build_network, logits_and_embeddings, to_input, views
from discovery.detector.reliability import Band, interval_of
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file, write_json, writing

WEIGHTS, CARD = "model.safetensors", "detector.json"
CARD_KEYS = ("network", "stem", "members", "views", "classes", "size", "mean", "std", "calibration",
             "calibration_band", "threshold", "threshold_score", "threshold_rule",
             "training_digest", "config", "validation")  # fmt: skip
PREPROCESSING = ("size", "mean", "std")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


@dataclass(frozen=True)
class Seen:
    """What a detector says of B images: `scores` float32 (B,), their `spread` float32 (B,) among
    the members of the ensemble (σ; NaN where there is one alone), `embeddings` float16 (B, D)."""

    scores: np.ndarray
    spread: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True)
class Detector:
    """Networks that are ready to score, and the card that says how."""

    networks: tuple[nn.Module, ...]
    card: dict
    device: torch.device
    digest: str

    @property
    def size(self) -> int:
        """Side of the square input, in px."""
        return self.card["size"]

    def forward(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass over uint8 (B, S, S, 3): scores float32 (B,) and embeddings float16 (B, D)."""
        seen = self.look(pixels)
        return seen.scores, seen.embeddings

    @torch.inference_mode()
    def look(self, pixels: np.ndarray) -> Seen:
        """One pass over uint8 (B, S, S, 3).

        The score is the mean logit of the networks over the card's `views` of each image, the
        embedding the first network's mean over the same views.
        """
        if pixels.shape[1:] != (self.size, self.size, 3):
            raise BadInput(
                f"images of {pixels.shape[2]} × {pixels.shape[1]} px were given to a detector "
                f"made for {self.size} × {self.size}; decode them at that size."
            )
        images = to_input(torch.from_numpy(pixels), self.card["mean"], self.card["std"],
                          self.device)  # fmt: skip
        seen = views(images, self.card["views"])
        passes = [[logits_and_embeddings(net, view) for view in seen] for net in self.networks]
        logits = torch.stack([logits for of_net in passes for logits, _ in of_net])
        embeddings = torch.stack([features for _, features in passes[0]]).mean(0)
        return Seen(
            logits.mean(0).cpu().numpy(),
            _spread(logits.unflatten(0, (len(passes), -1)).mean(1)).cpu().numpy(),
            embeddings.to(torch.float16).cpu().numpy(),
        )

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated probability float32 at the prevalence that the card names."""
        return Calibration(**self.card["calibration"]).probability(scores)

    def interval(self, scores: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95 % interval of each probability, float32 (N,) each; see `interval_of`."""
        calibration = Calibration(**self.card["calibration"])
        return interval_of(calibration, Band(**self.card["calibration_band"]), scores, spread)


def _spread(of_members):
    """σ among the members of an ensemble (M, B), float32 (B,); NaN where there is one alone."""
    if len(of_members) == 1:
        return torch.full_like(of_members[0], torch.nan)
    return of_members.std(0)


def save_detector(networks: list[nn.Module], card: dict, folder: Path) -> Path:
    """Write the folder; the card comes last, so a folder with a card is complete."""
    weights = {
        f"{member}.{name}": tensor.cpu().contiguous()
        for member, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
    with writing(folder / WEIGHTS) as temporary:
        save_file(weights, temporary)
    write_json(folder / CARD, {**card, "weights_sha256": sha256_file(folder / WEIGHTS)})
    return folder


def load_detector(folder: Path, device: str = "auto") -> Detector:
    """Open a detector folder for scoring.

    Raises:
        BadInput: a file is missing, the card lacks its preprocessing or another key, the weights
            are pickled or not those that the card was written for, or the folder holds a detector
            for each fold.
    """
    folder = Path(folder)
    _refuse_pickles(folder)
    _refuse_folds(folder)
    card = read_json(folder / CARD)
    _check_card(card, folder)
    _check_weights(card, folder)
    where = pick_device(device)
    weights = load_file(folder / WEIGHTS)
    networks = tuple(_member(card, weights, i).to(where) for i in range(card["members"]))
    return Detector(networks, card, where, digest(card))


def _refuse_pickles(folder):
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
    if pickles:
        raise BadInput(
            f"{folder} holds {', '.join(pickles)}: pickled weights can run any code and are not "
            f"opened. A detector folder holds {WEIGHTS} and {CARD}; remove the other file."
        )


def _refuse_folds(folder):
    folds = sorted(path.parent.name for path in folder.glob(f"fold-*/{CARD}"))
    if folds:
        raise BadInput(
            f"{folder} holds a detector for each fold of its training galaxies: "
            f"{', '.join(folds)}. Give one of them, as {folder / folds[0]}: each is whole. For "
            "galaxies that it was not taught by, no matter which; trained_on.parquet lists those."
        )


def _check_card(card, folder):
    if any(key not in card for key in PREPROCESSING):
        raise BadInput(
            f"{folder / CARD} lacks its preprocessing ({', '.join(PREPROCESSING)}), and scores "
            "made with another one than the training's mean nothing. Train the detector anew "
            "with 'discovery train'."
        )
    missing = [key for key in (*CARD_KEYS, "weights_sha256") if key not in card]
    if missing:
        raise BadInput(
            f"{folder / CARD} lacks {', '.join(missing)}; train the detector anew with "
            "'discovery train'."
        )


def _check_weights(card, folder):
    if not (folder / WEIGHTS).exists():
        raise BadInput(f"{folder / WEIGHTS} is missing; train the detector with 'discovery train'.")
    if sha256_file(folder / WEIGHTS) != card["weights_sha256"]:
        raise BadInput(
            f"{folder / WEIGHTS} is not the file that {CARD} was written for; copy the folder "
            "whole, or train the detector anew with 'discovery train'."
        )


def _member(card, weights, member):
    network = build_network(card["network"], card["stem"])
    prefix = f"{member}."
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    )
    return network.eval().to(memory_format=torch.channels_last)
