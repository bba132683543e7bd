"""How noise is put on images and what a network learns to say of it.

A process is one of two: `Flow`, straight lines between image and noise, or `Diffusion`, a chain of
small noisings. Times are float in [0, 1] for a flow and whole steps for diffusion; a network is
told `time * process.time_scale`, which is the `timesteps` of diffusers' schedulers.
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
)
from torch.nn import functional

from discovery.errors import BadInput

_DIFFUSION_SAMPLERS = {
    "dpm": DPMSolverMultistepScheduler,
    "euler-ancestral": EulerAncestralDiscreteScheduler,
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
}
_UNBOUNDED = ("dpm", "euler-ancestral")  # without diffusers' clip_sample
RENEWED_ABOVE = 0.5  # noise share; below, new noise would be left in the image as grain

_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}  # diffusers' word and ours


def _over_images(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.to(x.device)[:, None, None, None]  # (B,) → (B, 1, 1, 1)


@dataclass(frozen=True)
class Flow:
    """Rectified flow: x_σ = (1 - σ) x + σ ε (Liu et al., arXiv 2209.03003; Lipman et al.,
    arXiv 2210.02747, eq. 22).

    `shift` moves the noise levels of training and sampling up, see `shift_noise`; `spread` says
    how far they lie apart, in sampling by dpm alone: 1 is as in Esser et al., more goes closer to
    both ends. Beyond 2, levels of a thousand steps would be too close to 1 to be told from it.
    """

    shift: float = 1.0
    spread: float = 1.0
    time_scale = 1000.0
    default_sampler = "dpm"

    def draw_times(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Noise levels to train on, float (count,): logit-normal (Esser et al., arXiv 2403.03206,
        eq. 19), then shifted up to where shapes form.
        """
        logits = self.spread * torch.randn(count, generator=rng)
        return shift_noise(torch.sigmoid(logits), self.shift)

    def noised(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(1 - σ) x + σ ε, float (B, C, H, W); `time` is σ, (B,)."""
        return torch.lerp(x, noise, _over_images(time, x))

    def target(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The velocity ε - x (Lipman et al., eq. 23 with σ_min = 0 and time reversed)."""
        return noise - x

    def noise_share(self, time: torch.Tensor) -> torch.Tensor:
        """σ: what part of an image is noise at these times, 0 to 1."""
        return time

    def clean(self, noised: torch.Tensor, said: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The image that a prediction means: x_σ - σ v."""
        return noised - _over_images(time, noised) * said

    def saying(self, noised: torch.Tensor, clean: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The prediction that means this image: the inverse of `clean`."""
        return (noised - clean) / _over_images(time, noised)

    def scheduler(self, sampler: str = "auto") -> SchedulerMixin:
        """diffusers' sampler.

        Raises:
            BadInput: a sampler of diffusion was asked for.
        """
        if sampler == "euler":
            return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=self.shift)
        if sampler not in ("auto", "dpm", "dpm-sde"):
            raise BadInput(
                f"sampler = {sampler!r} is for diffusion; this generator is a flow. "
                "Set sampler = 'dpm', 'dpm-sde' or 'euler', or leave it out."
            )
        renewed_above = RENEWED_ABOVE if sampler == "dpm-sde" else math.inf
        return FlowSolver(self.shift, self.spread, renewed_above)


class FlowSolver(DPMSolverMultistepScheduler):
    """DPM-Solver++ (2M) (Lu et al., arXiv 2211.01095, algorithm 2), on noise levels of our own.

    Evenly spaced ones would leave the last tenth of the noise, in which the texture of the sky is
    decided, to a single step. These come closer to both ends: `spread_noise`, then `shift_noise`.

    Above a noise share of `renewed_above` a step puts new noise in the place of old, 1 - exp(-2h)
    of its variance where h is the step in λ (SDE-DPM-Solver++ 2M, their appendix): all in the
    first, the less the more steps there are. So what the network got wrong once does not stay.
    """

    def __init__(self, shift: float, spread: float, renewed_above: float = math.inf):
        super().__init__(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
        self.spread, self.renewed_above = spread, renewed_above

    def set_timesteps(self, num_inference_steps: int, device: torch.device | None = None) -> None:
        super().set_timesteps(num_inference_steps, device)
        even = torch.linspace(1, 1 / num_inference_steps, num_inference_steps)
        levels = shift_noise(spread_noise(even, self.spread), self.config.flow_shift)
        levels = levels.clamp(max=1)  # the shift's rounding can lead beyond
        self.sigmas = functional.pad(levels, (0, 1))
        self.timesteps = (levels * self.config.num_train_timesteps).to(device)

    def step(self, model_output, timestep, sample, generator=None, **options):
        if self.step_index is None:
            self._init_step_index(timestep)
        renews = self.sigmas[self.step_index] > self.renewed_above
        self.register_to_config(algorithm_type="sde-dpmsolver++" if renews else "dpmsolver++")
        return super().step(model_output, timestep, sample, generator=generator, **options)


@dataclass(frozen=True)
class Diffusion:
    """Denoising diffusion: x_t = √ᾱ_t x + √(1 - ᾱ_t) ε (Ho et al., arXiv 2006.11239, eq. 4).

    `shift` multiplies the noise-to-signal ratio √((1 - ᾱ) / ᾱ) of every step, as `shift_noise`
    does to that of a flow. `clip` bounds the image that samplers predict.
    """

    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: Literal["linear", "scaled_linear"] = "linear"
    steps: int = 1000
    prediction: Literal["epsilon", "v"] = "epsilon"
    zero_terminal_snr: bool = False
    shift: float = 1.0
    clip: float | None = None
    default_sampler: str = "ddim"
    time_scale = 1.0

    @classmethod
    def from_diffusers(cls, config: dict[str, Any]) -> "Diffusion":
        """The process that a scheduler_config.json of diffusers describes.

        Raises:
            BadInput: it describes another kind of schedule or prediction.
        """
        schedule, said = config.get("beta_schedule"), config.get("prediction_type", "epsilon")
        if schedule not in ("linear", "scaled_linear") or said not in _PREDICTIONS:
            raise BadInput(
                f"the scheduler has beta_schedule = {schedule!r} and prediction_type = {said!r}; "
                "a generator can have 'linear' or 'scaled_linear', and "
                f"{' or '.join(map(repr, _PREDICTIONS))}."
            )
        return cls(
            beta_start=config["beta_start"],
            beta_end=config["beta_end"],
            beta_schedule=schedule,
            steps=config["num_train_timesteps"],
            prediction=_PREDICTIONS[said],
            zero_terminal_snr=bool(config.get("rescale_betas_zero_snr")),
        )

    @cached_property
    def betas(self) -> np.ndarray:
        """Variance added in each step, float64 (steps,)."""
        betas = _shift_betas(_scheduled(self), self.shift)
        return zero_terminal(betas) if self.zero_terminal_snr else betas

    @cached_property
    def alphas_bar(self) -> torch.Tensor:
        """ᾱ_t, the share of the image's variance that is left after each step; float (steps,)."""
        return torch.from_numpy(np.cumprod(1 - self.betas)).float()

    def draw_times(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Steps to train on, int64 (count,), all equally likely (Ho et al., algorithm 1)."""
        return torch.randint(self.steps, (count,), generator=rng)

    def noised(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """√ᾱ_t x + √(1 - ᾱ_t) ε, float (B, C, H, W); `time` is t, (B,)."""
        signal, rest = self._shares(x, time)
        return signal * x + rest * noise

    def target(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """ε (Ho et al., eq. 14) or v = √ᾱ_t ε - √(1 - ᾱ_t) x (Salimans & Ho, arXiv 2202.00512,
        sect. 4 and appendix D).
        """
        if self.prediction == "epsilon":
            return noise
        signal, rest = self._shares(x, time)
        return signal * noise - rest * x

    def noise_share(self, time: torch.Tensor) -> torch.Tensor:
        """1 / (1 + √(ᾱ_t / (1 - ᾱ_t))): σ of the flow that has as much noise to signal."""
        left = self.alphas_bar.to(time.device)[time.long()]
        return 1 / (1 + (left / (1 - left)).sqrt())

    def clean(self, noised: torch.Tensor, said: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The image that a prediction means: (x_t - √(1 - ᾱ_t) ε) / √ᾱ_t (Ho et al., eq. 15) or
        √ᾱ_t x_t - √(1 - ᾱ_t) v (Salimans & Ho).
        """
        signal, rest = self._shares(noised, time)
        if self.prediction == "epsilon":
            return (noised - rest * said) / signal
        return signal * noised - rest * said

    def saying(self, noised: torch.Tensor, clean: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The prediction that means this image: the inverse of `clean`."""
        signal, rest = self._shares(noised, time)
        if self.prediction == "epsilon":
            return (noised - signal * clean) / rest
        return (signal * noised - clean) / rest

    def _shares(self, x: torch.Tensor, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left = self.alphas_bar.to(time.device)[time.long()]
        return _over_images(left.sqrt(), x), _over_images((1 - left).sqrt(), x)

    def scheduler(self, sampler: str = "auto"):
        """diffusers' sampler, its steps trailing (Lin et al., arXiv 2305.08891, sect. 3.3): the
        first is the last of training, where there is nothing but noise.

        Raises:
            BadInput: the sampler of a flow was asked for.
        """
        name = self.default_sampler if sampler == "auto" else sampler
        if name not in _DIFFUSION_SAMPLERS:
            raise BadInput(
                f"sampler = {sampler!r} is for a flow; this generator is a diffusion model. "
                f"Set one of {', '.join(_DIFFUSION_SAMPLERS)}, or leave it out."
            )
        bounds = {} if name in _UNBOUNDED else self._bounds()
        return _DIFFUSION_SAMPLERS[name](**self._schedule(), **bounds)

    def _bounds(self) -> dict[str, Any]:
        return {"clip_sample": self.clip is not None, "clip_sample_range": self.clip or 1.0}

    def _schedule(self) -> dict[str, Any]:
        shifted = {"trained_betas": _shift_betas(_scheduled(self), self.shift).tolist()}
        known = {key: asdict(self)[key] for key in ("beta_start", "beta_end", "beta_schedule")}
        return {
            **(known if self.shift == 1 else shifted),
            "num_train_timesteps": self.steps,
            "prediction_type": {v: k for k, v in _PREDICTIONS.items()}[self.prediction],
            "rescale_betas_zero_snr": self.zero_terminal_snr,
            "timestep_spacing": "trailing",
            "steps_offset": 1,  # read by other spacings only, but plain diffusers wants it said
        }


Process = Flow | Diffusion


def shift_noise(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    """Move noise levels in [0, 1] up (Esser et al., arXiv 2403.03206, eq. 23).

    A galaxy fills many pixels, so it is still seen where every single pixel is drowned: its
    shape is decided at sigma of 0.9 and more.
    """
    return shift * sigma / (1 + (shift - 1) * sigma)


def spread_noise(sigma: torch.Tensor, spread: float) -> torch.Tensor:
    """Move noise levels in [0, 1] apart, towards both ends: log(σ / (1 - σ)) times `spread`."""
    return sigma**spread / (sigma**spread + (1 - sigma) ** spread)


def _scheduled(process: Diffusion) -> np.ndarray:
    """Betas that grow evenly (Ho et al., sect. 4), or whose roots do (Stable Diffusion)."""
    first, last, steps = process.beta_start, process.beta_end, process.steps
    if process.beta_schedule == "linear":
        return np.linspace(first, last, steps)
    return np.linspace(first**0.5, last**0.5, steps) ** 2


def _shift_betas(betas: np.ndarray, shift: float) -> np.ndarray:
    if shift == 1:
        return betas
    left = np.cumprod(1 - betas)
    return _betas_of(1 / (1 + shift**2 * (1 - left) / left))


def zero_terminal(betas: np.ndarray) -> np.ndarray:
    """Betas after which nothing of the image is left (Lin et al., arXiv 2305.08891, algorithm 1).

    √ᾱ is moved down until its last is 0 and stretched until its first is what it was.
    """
    root = np.sqrt(np.cumprod(1 - betas))
    moved = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return _betas_of(moved**2)


def _betas_of(alphas_bar: np.ndarray) -> np.ndarray:
    return 1 - alphas_bar / np.concatenate([[1.0], alphas_bar[:-1]])
