"""SAGAN's learner: two networks against each other, inside the loop that all kinds share."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import nn

from discovery.errors import BadInput
from discovery.generator.config import SAGANConfig
from discovery.generator.drawing import draw_weights
from discovery.generator.examples import Examples
from discovery.generator.sagan import (
    LATENT,
    Discriminator,
    SAGANGenerator,
    discriminator_loss,
    generator_loss,
)
from discovery.generator.state import read_state, write_state
from discovery.progress import say

_BETAS = (0.0, 0.9)  # of Adam (Zhang et al., sect. 4)


class Duel:
    """Both networks and their optimisers, moving in step.

    What happens in a step follows from (seed, step) and the weights alone, so a state needs no
    random number generators.
    """

    def __init__(
        self,
        generator: SAGANGenerator,
        config: SAGANConfig,
        examples: Examples,
        captions: Sequence[str],
        processes: PartialState,
    ):
        self.generator, self.config, self.processes = generator, config, processes
        self.examples, self.captions = examples, captions
        self.weights = draw_weights(captions, config.balance, config.emphasis)
        self.networks = {
            "generator": generator.network.train(),
            "discriminator": _opponent(config).to(generator.device),
        }
        rates = config.learning_rate, config.discriminator_learning_rate
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=rate, betas=_BETAS)
            for (name, network), rate in zip(self.networks.items(), rates, strict=True)
        }

    def learn(self, step: int) -> None:
        """One move of the discriminator, then one of the generator, each at its own rate."""
        images, labels, z = self._draw(step)
        generator, discriminator = self.networks.values()
        fake = generator(z, labels)
        verdicts = discriminator(images, labels), discriminator(fake.detach(), labels)
        self._move("discriminator", discriminator_loss(*verdicts))
        discriminator.requires_grad_(False)
        self._move("generator", generator_loss(discriminator(fake, labels)))
        discriminator.requires_grad_(True)

    def _move(self, name: str, loss: torch.Tensor) -> None:
        loss.backward()
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()

    def _draw(self, step: int) -> tuple[torch.Tensor, ...]:
        """Real images, the classes of real and painted ones alike, and z."""
        rng = np.random.default_rng([self.config.seed, step])
        rows = rng.choice(len(self.captions), self.config.batch, p=self.weights)
        images, _ = self.examples.batch(rows, rng)
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        tokens = self.generator.caption_tokens([self.captions[row] for row in rows])
        z = torch.randn(len(rows), LATENT, generator=draws)
        device = self.generator.device
        return images(slice(None)).to(device), self.generator.condition(tokens), z.to(device)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[SAGANGenerator]:
        """The generator as it is: this kind keeps no averaged weights."""
        yield self.generator

    def store(self, path: Path, training: str, step: int) -> None:
        """Write the state after `step` steps, from which a killed training goes on."""
        write_state(path, self._tensors(), training=training, step=str(step))

    def restore(self, path: Path, training: str) -> int:
        """Take up a state of this very training, if there is one; returns the next step."""
        told = read_state(path, training, self.optimizers.values(), self._tensors)
        if told is None:
            return 0
        say(f"  generator: goes on at step {int(told['step']):,} of {self.config.steps:,}")
        return int(told["step"])

    def _tensors(self) -> dict[str, torch.Tensor]:
        # Buffers too: the singular vectors of spectral norm and the means of batch norm move on.
        named = {}
        for name, network in self.networks.items():
            named |= {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}
            for key, parameter in network.named_parameters():
                moments = self.optimizers[name].state[parameter]
                named |= {f"{name}.{key}.{moment}": tensor for moment, tensor in moments.items()}
        return named


def check_alone(config: SAGANConfig, processes: PartialState) -> None:
    """Refuse several processes.

    Raises:
        BadInput: says how many there are.
    """
    if processes.num_processes > 1:
        raise BadInput(
            f"kind = 'sagan' trains in one process, not in {processes.num_processes}; start it "
            "without `accelerate launch`."
        )


def _opponent(config: SAGANConfig) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)  # not with the generator's own numbers
        return Discriminator(config.channels, len(config.classes)).train()
