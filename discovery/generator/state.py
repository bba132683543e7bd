"""The file from which a killed training goes on."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from discovery.files import writing


def write_state(path: Path, tensors: dict[str, torch.Tensor], **told: str) -> None:
    """Write the tensors of a training, and what else it has to tell, whole or not at all."""
    kept = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with writing(path) as temporary:
        save_file(kept, temporary, metadata=told)


def read_state(
    path: Path,
    training: str,
    optimizers: Iterable[torch.optim.Optimizer],
    tensors: Callable[[], dict[str, torch.Tensor]],
) -> dict[str, str] | None:
    """Fill what `tensors` gives from a state, if there is one and it tells of this `training`.

    Args:
        optimizers: Adam or AdamW; they have moments when `tensors` is called.

    Returns:
        What the state tells, or None.
    """
    if not path.exists():
        return None
    with safe_open(path, "pt") as state:
        told = state.metadata()
        if told["training"] != training:
            return None
        for optimizer in optimizers:
            _begin_moments(optimizer)
        for name, tensor in tensors().items():
            tensor.data.copy_(state.get_tensor(name))
    return told


def _begin_moments(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # Where the update is one kernel, it reads the step on the device itself.
            counted_on = parameter.device if group["fused"] else "cpu"
            optimizer.state[parameter] = {
                "step": torch.zeros((), device=counted_on),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
