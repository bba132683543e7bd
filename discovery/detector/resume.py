"""What a training that was cut short needs to go on to the same bytes."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from discovery.files import writing


@dataclass(frozen=True)
class State:
    """Where the state of one network's training is kept, and which training it belongs to."""

    path: Path
    trained_on: str

    def save(
        self, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, step: int
    ) -> None:
        """Write everything that step `step` starts from."""
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
        about = {"step": str(step), "trained_on": self.trained_on}
        with writing(self.path) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, about)

    def restore(
        self, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
    ) -> int:
        """Put the saved state back and return the step to go on with; 0 where there is none.

        A state of other data or another configuration is left alone.
        """
        if not self.path.exists():
            return 0
        with safe_open(self.path, "pt") as file:
            about = file.metadata()
            if about["trained_on"] != self.trained_on:
                return 0
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        network.load_state_dict(_below("network.", tensors))
        average.load_state_dict(_below("average.", tensors))
        _restore_optimizer(optimizer, _below("optimizer.", tensors))
        return int(about["step"])


def _restore_optimizer(optimizer, tensors):
    values = {}
    for key, tensor in tensors.items():
        index, name = key.split(".")
        values.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def _below(prefix, tensors):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
