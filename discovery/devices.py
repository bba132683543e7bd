"""Where networks are computed, and in which precision."""

import torch

from discovery.errors import BadInput


def pick_device(device: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:N' → the device; auto takes CUDA where it is.

    Raises:
        BadInput: it is none of these, or CUDA was asked for and is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if count else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise BadInput(f"no device {device!r}; --device takes auto, cpu, cuda or cuda:N.")
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise BadInput(
            f"--device {device}, but torch sees {count or 'no'} CUDA devices here; "
            "type --device auto or --device cpu."
        )
    return chosen


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed in hardware there; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Older torch cannot say; float32 is always right, only slower.
    abilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = abilities.get("avx512_bf16") or abilities.get("amx_bf16")
    return device.type == "cpu" and bool(native)
