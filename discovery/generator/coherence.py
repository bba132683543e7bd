"""A network whose places do not know of each other, to lead away from.

What lies far apart in an image is put together by self-attention. Where every place attends to
itself alone, galaxies come out in pieces that do not fit; the difference shows what fits (Ahn et
al., arXiv 2403.17377).
"""

import contextlib
from collections.abc import Iterator

from diffusers.models.attention_processor import (
    Attention,
    PAGCFGIdentitySelfAttnProcessor2_0,
    PAGIdentitySelfAttnProcessor2_0,
)
from torch import nn

_ALONE = {2: PAGIdentitySelfAttnProcessor2_0, 3: PAGCFGIdentitySelfAttnProcessor2_0}


def self_attention(networks: nn.Module) -> list[Attention]:
    """The layers of diffusers' networks in which places of an image attend to each other."""
    layers = (layer for layer in networks.modules() if isinstance(layer, Attention))
    return [layer for layer in layers if not layer.is_cross_attention]


@contextlib.contextmanager
def last_part_alone(networks: nn.Module, parts: int) -> Iterator[None]:
    """Of a batch of 2 or 3 parts, each place of the last part attends to itself alone."""
    layers = self_attention(networks)
    usual = [layer.processor for layer in layers]
    for layer in layers:
        layer.set_processor(_ALONE[parts]())
    try:
        yield
    finally:
        for layer, processor in zip(layers, usual, strict=True):
            layer.set_processor(processor)
