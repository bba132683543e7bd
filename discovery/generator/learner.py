"""The networks, their averages and the optimiser, moving in step; in one process or in several."""

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import nn

from discovery.errors import BadInput
from discovery.generator.base import Generator
from discovery.generator.config import Training
from discovery.generator.drawing import draw_weights
from discovery.generator.examples import Examples
from discovery.generator.state import read_state, write_state
from discovery.generator.stretch import STRETCHED, reshaped
from discovery.progress import say


class Learner:
    """Trains a generator step by step.

    What happens in a step follows from (seed, step) and the weights alone, so a state needs no
    random number generators, and every process knows what the others see: each computes its
    slice of the batch, and gradients are averaged over the processes.
    """

    def __init__(
        self,
        generator: Generator,
        config: Training,
        examples: Examples,
        captions: Sequence[str],
        processes: PartialState,
    ):
        self.generator, self.config, self.processes = generator, config, processes
        self.examples, self.captions = examples, captions
        self.weights = draw_weights(captions, config.balance, config.emphasis)
        self.modules = generator.modules().train()
        if config.gradient_checkpointing:
            _recompute_activations(self.modules)
        self.parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.average = self._begin_average()
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=0.0,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=True,
        )
        # fp16 gradients underflow unless the loss is scaled; for the others this does nothing.
        self.scaler = torch.amp.GradScaler(
            generator.device.type, enabled=config.precision == "fp16"
        )

    def _begin_average(self) -> list[torch.Tensor]:
        if not self.config.ema_decay:
            return self.parameters
        return [p.detach().clone() for p in self.parameters]

    def learn(self, step: int) -> None:
        """One step of the optimiser, on the same batch whatever the number of processes."""
        draw = self._draw(step)
        parts = self._parts()
        for part in parts:
            self.scaler.scale(self._loss(*draw(part)) / len(parts)).backward()
        self._share_gradients()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self._follow(step)

    def _loss(self, x, tokens, time, noise) -> torch.Tensor:
        process = self.generator.process
        with self.generator.autocast(training=True):
            told = self.generator.condition(tokens)
            predicted = self.generator.predict(process.noised(x, noise, time), time, told)
        return self.generator.loss(predicted, process.target(x, noise, time), time)

    def _draw(self, step: int):
        """What the step shows; gives any part of it as (x, tokens, time, noise)."""
        rng = np.random.default_rng([self.config.seed, step])
        rows = rng.choice(len(self.captions), self.config.batch, p=self.weights)
        images, shapes = self.examples.batch(rows, rng)
        said = [self._say(row, ratio, rng) for row, ratio in zip(rows, shapes, strict=True)]
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        time = self.generator.process.draw_times(len(rows), draws)
        noise = torch.randn(len(rows), *self.generator.shape, generator=draws)
        device = self.generator.device
        return lambda part: (
            images(part).to(device),
            self.generator.caption_tokens(said[part]),
            time[part].to(device),
            noise[part].to(device),
        )

    def _say(self, row: int, ratio: float | None, rng: np.random.Generator) -> str:
        if ratio is None:
            return self.generator.vary(self.captions[row], rng)
        said = self.generator.vary(reshaped(self.captions[row], ratio), rng)
        return f"{said}, {STRETCHED}" if said else STRETCHED

    def _parts(self) -> list[slice]:
        """This process's part of the batch, cut into what is computed at a time."""
        pieces = self.processes.num_processes * self.config.accumulate
        size = self.config.batch // pieces
        first = self.processes.process_index * self.config.accumulate
        return [
            slice(i * size, (i + 1) * size) for i in range(first, first + self.config.accumulate)
        ]

    def _share_gradients(self) -> None:
        if self.processes.num_processes > 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.copy_(reduce(parameter.grad, "mean"))

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        if self.average is not self.parameters:
            # A short memory at first, or the average would remember the untrained weights.
            decay = min(self.config.ema_decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Generator]:
        """The generator with its averaged weights; afterwards it has its own again."""
        own = [parameter.data for parameter in self.parameters]
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.data = average.data
        try:
            yield self.generator
        finally:
            for parameter, data in zip(self.parameters, own, strict=True):
                parameter.data = data

    def store(self, path: Path, training: str, step: int) -> None:
        """Write the state after `step` steps, from which a killed training goes on."""
        scaler = json.dumps(self.scaler.state_dict())
        write_state(path, self._tensors(), training=training, step=str(step), scaler=scaler)

    def restore(self, path: Path, training: str) -> int:
        """Take up a state of this very training, if there is one; returns the next step."""
        told = read_state(path, training, [self.optimizer], self._tensors)
        if told is None:
            return 0
        self.scaler.load_state_dict(json.loads(told["scaler"]))
        if self.processes.is_main_process:
            say(f"  generator: goes on at step {int(told['step']):,} of {self.config.steps:,}")
        return int(told["step"])

    def _tensors(self) -> dict[str, torch.Tensor]:
        named = {}
        for i, (parameter, average) in enumerate(zip(self.parameters, self.average, strict=True)):
            named[f"{i}.weight"] = parameter
            if average is not parameter:
                named[f"{i}.average"] = average
            moments = self.optimizer.state[parameter]
            named |= {f"{i}.{moment}": tensor for moment, tensor in moments.items()}
        return named


def check_parts(config: Training, processes: PartialState) -> None:
    """Refuse a batch that cannot be shared out evenly.

    Raises:
        BadInput: it is no multiple of processes times parts.
    """
    pieces = processes.num_processes * config.accumulate
    if config.batch % pieces:
        raise BadInput(
            f"batch = {config.batch} cannot be shared evenly among {processes.num_processes} "
            f"processes with accumulate = {config.accumulate}; give a multiple of {pieces}."
        )


def _recompute_activations(modules: nn.ModuleDict) -> None:
    for network in modules.values():
        if hasattr(network, "enable_gradient_checkpointing"):  # diffusers
            network.enable_gradient_checkpointing()
        else:  # transformers; a reentrant one would lose the gradients of adapters
            network.gradient_checkpointing_enable({"use_reentrant": False})


def learning_rate(config: Training, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
