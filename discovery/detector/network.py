"""The network: any of timm's, with one output."""

import difflib
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from discovery.devices import has_bf16
from discovery.errors import BadInput


def build_network(name: str, stem: str = "standard", pretrained: str | bool = False) -> nn.Module:
    """A timm network with one logit.

    Raises:
        BadInput: timm does not know the name, the network has no pooling to leave out, or the
            file of weights does not belong to it.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5) or ["resnet18"]
        raise BadInput(f"timm has no network {name!r}; similar ones are {', '.join(close)}.")
    network = timm.create_model(name, num_classes=1)
    if stem == "fine":
        _leave_out_pooling(network, name)
    if pretrained:
        _load_pretrained(network, name, pretrained)
    return network


def _leave_out_pooling(network, name):
    if not isinstance(getattr(network, "maxpool", None), nn.Module):
        raise BadInput(
            f'{name} has no first pooling to leave out; set stem = "standard", or take a '
            "network that has one, for example resnet18."
        )
    network.maxpool = nn.Identity()


def _load_pretrained(network, name, path):
    if not Path(path).is_file():
        raise BadInput(f"{path} does not exist; pretrained is false or a safetensors file.")
    head = tuple(f"{part}." for part in _classifier_names(network))
    weights = {key: value for key, value in load_file(path).items() if not key.startswith(head)}
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise BadInput(f"the weights in {path} are not those of a {name}: {error}") from None
    missing = [key for key in missing if not key.startswith(head)]
    if missing or unexpected:
        raise BadInput(
            f"the weights in {path} are not those of a {name}: missing {missing[:3]}, "
            f"unexpected {unexpected[:3]}. Name the network they were made with."
        )


def _classifier_names(network):
    names = network.pretrained_cfg["classifier"]
    return names if isinstance(names, (tuple, list)) else (names,)


def logits_and_embeddings(
    network: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass: logits float32 (B,) and penultimate features float32 (B, D).

    `images` is float (B, 3, S, S). bf16 where the device computes it natively; the last layer
    in float32, so that the order of close scores is not decided by rounding.
    """
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=has_bf16(images.device)):
        features = network.forward_head(network.forward_features(images), pre_logits=True)
    features = features.float()
    with torch.autocast(device, enabled=False):
        return network.get_classifier()(features)[:, 0], features


def to_input(
    pixels: torch.Tensor, mean: list[float], std: list[float], device: torch.device
) -> torch.Tensor:
    """uint8 (B, S, S, 3) → normalised float32 (B, 3, S, S), channels last in memory.

    A view of the permuted bytes is channels last already, which is also the fast layout.
    """
    images = pixels.to(device).permute(0, 3, 1, 2).float() / 255
    shape = (1, 3, 1, 1)
    mean_, std_ = (torch.tensor(x, device=device).view(shape) for x in (mean, std))
    return ((images - mean_) / std_).contiguous(memory_format=torch.channels_last)


def views(images: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The first `count` of the eight ways to look at square images (B, 3, S, S), as they are first.

    A galaxy has no up, so their mean says more than any one: two are an image and its half turn,
    four its quarter turns, eight those mirrored too.
    """
    turns = [(0, False), (2, False), (1, False), (3, False)] + [(k, True) for k in range(4)]
    seen = [torch.rot90(images.flip(3) if m else images, k, (2, 3)) for k, m in turns[:count]]
    return [view.contiguous(memory_format=torch.channels_last) for view in seen]


def pixel_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and σ per band of uint8 (N, S, S, 3), on a scale where 1 is full."""
    chunks = [pixels[i : i + 1000] for i in range(0, len(pixels), 1000)]  # float64 is 8 × larger
    count = pixels[..., 0].size
    mean = sum(c.sum((0, 1, 2), dtype=np.float64) for c in chunks) / count
    square = sum((c.astype(np.float64) ** 2).sum((0, 1, 2)) for c in chunks) / count
    std = np.sqrt(square - mean**2).clip(1)  # a band without any contrast stays finite
    return (mean / 255).round(6).tolist(), (std / 255).round(6).tolist()
