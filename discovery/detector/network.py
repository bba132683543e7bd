"""The network: any of timm's, with one output."""

import difflib
import re
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from discovery.devices import has_bf16
from discovery.errors import BadInput

_HUB = re.compile(r"hf-hub:(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?")
_HUB_FILE = "model.safetensors"  # a hub's other formats are pickles


def build_network(
    name: str,
    stem: str = "standard",
    pretrained: str | bool = False,
    outputs: int = 1,
    size: int | None = None,
) -> nn.Module:
    """A timm network with one logit, or `outputs` of them.

    Args:
        pretrained: a safetensors file, or 'hf-hub:OWNER/NAME' (with '@REVISION' if wanted) of a
            model hub, of which model.safetensors alone is downloaded, once.
        size: side of its input in px, which some networks are built for (Swin); None: their own.

    Raises:
        BadInput: timm does not know the name, the network has no pooling to leave out, the weights
            cannot be had or do not belong to it.
    """
    require_network(name)
    fixed = size is not None and timm.get_pretrained_cfg(name).fixed_input_size
    network = timm.create_model(name, num_classes=outputs, **({"img_size": size} if fixed else {}))
    if stem == "fine":
        _leave_out_pooling(network, name)
    if pretrained:
        _load_pretrained(network, name, pretrained)
    return network


def require_network(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        BadInput: names similar ones.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5) or ["resnet18"]
        raise BadInput(f"timm has no network {name!r}; similar ones are {', '.join(close)}.")


def _leave_out_pooling(network, name):
    if not isinstance(getattr(network, "maxpool", None), nn.Module):
        raise BadInput(
            f'{name} has no first pooling to leave out; set stem = "standard", or take a '
            "network that has one, for example resnet18."
        )
    network.maxpool = nn.Identity()


def weights_file(pretrained: str) -> Path:
    """The safetensors file that `pretrained` names, downloaded where it is on a hub.

    Raises:
        BadInput: there is no such file, or the hub cannot be reached or has no safetensors.
    """
    hub = _HUB.fullmatch(pretrained)
    if hub:
        return _from_hub(pretrained, hub["name"], hub["revision"])
    if not Path(pretrained).is_file():
        raise BadInput(
            f"{pretrained} does not exist; pretrained is false, a safetensors file, or "
            "'hf-hub:OWNER/NAME' of a model hub."
        )
    return Path(pretrained)


def _from_hub(pretrained, name, revision):
    try:
        return Path(hf_hub_download(name, _HUB_FILE, revision=revision))
    except LocalEntryNotFoundError:
        raise BadInput(
            f"{pretrained} is not on this machine and the hub cannot be reached. Connect to the "
            f"network, or get {_HUB_FILE} elsewhere and give its path as pretrained."
        ) from None
    except EntryNotFoundError:
        raise BadInput(
            f"{pretrained} has no {_HUB_FILE}, and pickled weights, which can run any code, are "
            "not opened. Name a repository with safetensors."
        ) from None
    except HfHubHTTPError as error:
        raise BadInput(
            f"{pretrained} cannot be had from the hub ({error.response.status_code}): is the name "
            "right, for example hf-hub:timm/resnet10t.c3_in1k, and is it open to all?"
        ) from None


def _load_pretrained(network, name, pretrained):
    path = weights_file(pretrained)
    head = tuple(f"{part}." for part in _classifier_names(network))
    weights = _as_timm_reads(network, _read_weights(path))
    weights = {k: v for k, v in weights.items() if not k.startswith(head)}
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


def _as_timm_reads(network, weights):
    """Weights as timm's own loader would have them: some networks leave out what they compute
    anew (Swin's masks), or fit tables to another size of input.
    """
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return adapt(weights, network) if adapt else weights


def _read_weights(path):
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput(f"{path} is not a safetensors file ({error}).") from None


def _classifier_names(network):
    names = network.pretrained_cfg["classifier"]
    return names if isinstance(names, (tuple, list)) else (names,)


def logits_and_embeddings(
    network: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass: the first logit float32 (B,) and penultimate features float32 (B, D)."""
    outputs, features = outputs_and_embeddings(network, images)
    return outputs[:, 0], features


def outputs_and_embeddings(
    network: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass: logits float32 (B, K) and penultimate features float32 (B, D).

    `images` is float (B, 3, S, S). bf16 where the device computes it natively; the last layer
    in float32, so that the order of close scores is not decided by rounding.
    """
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=has_bf16(images.device)):
        features = network.forward_head(network.forward_features(images), pre_logits=True)
    features = features.float()
    with torch.autocast(device, enabled=False):
        return network.get_classifier()(features), features


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
