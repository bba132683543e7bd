"""Files of networks in diffusers' folder layout; safetensors and nothing else."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from discovery.errors import BadInput
from discovery.files import writing

UNET = Path("unet/diffusion_pytorch_model.safetensors")
TEXT = Path("text_encoder/model.safetensors")
VAE = Path("vae/diffusion_pytorch_model.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def save_weights(network: nn.Module, path: Path, precision: torch.dtype) -> None:
    """Write a network's floating-point tensors, whole or not at all."""
    save_tensors(network.state_dict(), path, precision)


def save_tensors(state: dict[str, torch.Tensor], path: Path, precision: torch.dtype) -> None:
    """Write the floating-point tensors of a state, whole or not at all."""
    kept = {
        name: tensor.detach().to("cpu", precision).contiguous()
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }
    with writing(path) as temporary:
        save_file(kept, temporary, metadata={"format": "pt"})


def load_weights(network: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote.

    Raises:
        BadInput: the file is no safetensors, or its tensors are not those of the network.
    """
    try:
        state = load_file(path)
        lacking, unknown = network.load_state_dict(state, strict=False)
    except Exception as error:  # safetensors and torch raise classes of their own
        raise BadInput(f"{path} cannot be read ({error}); restore it or train anew.") from None
    whole = network.state_dict()
    lacking = [name for name in lacking if whole[name].is_floating_point()]
    if lacking or unknown:
        raise BadInput(
            f"{path} does not belong to the network beside it: it lacks {len(lacking)} tensors "
            f"and has {len(unknown)} others, {(lacking + unknown)[0]!r} first. Restore the folder."
        )
