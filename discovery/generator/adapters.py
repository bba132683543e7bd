"""Low-rank adapters (LoRA; Hu et al., arXiv 2106.09685): W + B A is used, only A and B learn."""

from pathlib import Path

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from torch import nn

from discovery.generator.layout import save_tensors

FILE = "pytorch_lora_weights.safetensors"
_NAME = "default"
_ATTENTION = {
    "unet": ["to_q", "to_k", "to_v", "to_out.0"],
    "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"],
}


def add(modules: nn.ModuleDict, rank: int, seed: int) -> None:
    """Give the attention of each network an adapter; nothing else learns. B begins as 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, network in modules.items():
            network.add_adapter(
                LoraConfig(
                    r=rank,
                    lora_alpha=rank,
                    init_lora_weights="gaussian",
                    target_modules=_ATTENTION[part],
                )
            )


def merged(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's tensors under their plain names, W + B A in place of W."""
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in network.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in network.named_modules():
        if isinstance(layer, LoraLayer):
            state[f"{name}.weight"] = layer.get_base_layer().weight + layer.get_delta_weight(_NAME)
    return state


def save(modules: nn.ModuleDict, folder: Path) -> None:
    """Write the adapters alone, as `StableDiffusionPipeline.load_lora_weights` reads them."""
    state = {}
    for part, network in modules.items():
        own = convert_state_dict_to_diffusers(get_peft_model_state_dict(network))
        state |= {f"{part}.{name}": tensor for name, tensor in own.items()}
    save_tensors(state, folder / FILE, torch.float32)
