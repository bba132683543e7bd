"""Draw galaxies that a prompt asks for."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from discovery.errors import BadInput
from discovery.generator.base import Generator
from discovery.generator.coherence import last_part_alone, self_attention
from discovery.generator.config import SynthesisConfig
from discovery.generator.halves import without_faint_changes
from discovery.generator.process import RENEWED_ABOVE

TEXTURE_BELOW = 0.25  # noise share below which the sky's texture is drawn, which has no symmetry


def draw(
    generator: Generator,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    *,
    negative: Sequence[str] | None = None,
    outline: Sequence[str] | None = None,
    outline_above: float = 1.0,
    reference: np.ndarray | None = None,
    strength: float = 1.0,
    guidance_rescale: float = 0.0,
    sampler: str = "auto",
    coherence: float = 0.0,
    symmetry: float = 0.0,
) -> np.ndarray:
    """Sample one image per prompt and seed.

    All that is random in an image comes from its own seed alone.

    Args:
        guidance: 1 follows the caption as trained.
        negative: what guidance leads away from, one per prompt; '' or None: from no caption.
        outline: what is asked for at first, one per prompt; '' or None: the prompt itself.
        outline_above: share of noise, 0..1, down to which the outline is drawn, without guidance.
            Size and brightness are decided there, and guidance makes galaxies brighter than they
            are (limited intervals of guidance: Kynkäänniemi et al., arXiv 2404.07724).
        reference: uint8 (N, S, S, 3) to start from, with noise added; None: from noise alone.
        strength: share of the steps, 0..1, from the noisiest on, that a reference goes through; 1
            gives it all the noise there is, which leaves nothing of it in a flow.
        guidance_rescale: 0..1, how far `_guided` keeps the contrast.
        sampler: 'dpm' of both; 'dpm-sde' or 'euler' of a flow; 'ddim', 'ddpm' or
            'euler-ancestral' of diffusion; 'auto': the generator's own.
        coherence: how far to lead away from what the network says without self-attention.
        symmetry: σ of what half a turn changes, up to which it is taken for an error; of images.

    Returns:
        uint8 (N, S, S, 3), RGB.

    Raises:
        BadInput: a prompt or sampler that is not this generator's.
    """
    course = _Course(
        steps, guidance, guidance_rescale, sampler, strength, outline_above, coherence, symmetry
    )
    walk = _walk(generator, prompts, seeds, course, negative, outline, reference)
    return generator.decode(deque(walk, maxlen=1).pop().after)


@dataclass(frozen=True)
class Trajectory:
    """An image coming out of noise: step of the schedule, and what is seen at that step.

    `steps` (K,) count the noisings that are left, `clean` and `noised` are uint8 (K, S, S, 3):
    the image that the network then predicts, and the one it looks at.
    """

    steps: tuple[int, ...]
    clean: np.ndarray
    noised: np.ndarray


def trajectory(
    generator: Generator,
    prompt: str,
    seed: int,
    steps: int,
    every: int,
    guidance: float = 1.0,
    sampler: str = "auto",
    coherence: float = 0.0,
    symmetry: float = 0.0,
) -> Trajectory:
    """One image on its way, at every `every`-th of `steps` steps and at the last."""
    seen = []
    course = _Course(steps, guidance, sampler=sampler, coherence=coherence, symmetry=symmetry)
    walk = _walk(generator, [prompt], [seed], course)
    for number, moment in enumerate(walk):
        if number % every == 0 or number == steps - 1:
            seen.append(
                (steps - number, generator.decode(moment.clean), generator.decode(moment.x))
            )
    left, clean, noised = zip(*seen, strict=True)
    return Trajectory(left, np.concatenate(clean), np.concatenate(noised))


@dataclass(frozen=True)
class _Course:
    """How samples are taken."""

    steps: int
    guidance: float
    guidance_rescale: float = 0.0
    sampler: str = "auto"
    strength: float = 1.0
    outline_above: float = 1.0
    coherence: float = 0.0
    symmetry: float = 0.0


@dataclass(frozen=True)
class _Moment:
    """A step of sampling: what the network saw, the image it meant, and what came next."""

    x: torch.Tensor
    clean: torch.Tensor
    after: torch.Tensor


@torch.inference_mode()
def _walk(
    generator: Generator,
    prompts,
    seeds,
    course: _Course,
    negative=None,
    outline=None,
    reference=None,
) -> Iterator[_Moment]:
    process, scheduler = generator.process, _scheduler(generator, course.sampler, course.steps)
    rngs = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    noise = torch.stack([torch.randn(*generator.shape, generator=rng) for rng in rngs])
    with generator.autocast():
        told = _told(generator, prompts, negative, course)
        first = _told_first(generator, prompts, outline, course)
    x, times = _begin(generator, scheduler, noise.to(generator.device), reference, course)
    for time in times:
        seen = _as_noised(scheduler, x, time)
        moment = (time / process.time_scale).expand(len(x))
        with generator.autocast():
            at_first = first is not None and process.noise_share(moment[0]) > course.outline_above
            asked = (first, replace(course, guidance=1.0)) if at_first else (told, course)
            said = _guided(generator, seen, moment, *asked)
        if course.symmetry and process.noise_share(moment[0]) > TEXTURE_BELOW:
            clean = process.clean(seen, said, moment)
            said = process.saying(seen, without_faint_changes(clean, course.symmetry), moment)
        x = scheduler.step(said, time, x, generator=rngs).prev_sample
        yield _Moment(seen, process.clean(seen, said, moment), x)


def _begin(generator: Generator, scheduler, noise, reference, course: _Course):
    """Where sampling starts, and the times that it goes through."""
    times = scheduler.timesteps
    if reference is None:
        # Euler's scheduler for diffusion counts noise in units of the image.
        return noise * getattr(scheduler, "init_noise_sigma", 1.0), times
    skipped = _skipped(course.steps, course.strength)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    clean, first = generator.encode(reference), times[skipped].expand(len(noise))
    if hasattr(scheduler, "scale_noise"):  # a flow's word for it
        return scheduler.scale_noise(clean, first, noise), times[skipped:]
    return scheduler.add_noise(clean, noise, first), times[skipped:]


def _scheduler(generator: Generator, sampler: str, steps: int) -> Any:
    """The sampler, with so many steps before it.

    Raises:
        BadInput: it is not this generator's, or cannot take this number of steps.
    """
    scheduler = generator.process.scheduler(sampler)
    scheduler.set_timesteps(steps, device=generator.device)
    if len(scheduler.timesteps) != steps:  # diffusers' trailing steps, by a rounding
        raise BadInput(f"the sampler cannot take {steps} steps; give {steps - 1} or {steps + 1}.")
    return scheduler


def _skipped(steps: int, strength: float) -> int:
    """Steps that a reference does not go through, the noisiest."""
    return steps - max(1, round(steps * strength))


def _as_noised(scheduler, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    scale = getattr(scheduler, "scale_model_input", None)  # a flow's needs none
    return scale(x, time) if scale else x


def _told(generator: Generator, prompts: Sequence[str], negative, course: _Course) -> Any:
    away = list(negative or [""] * len(prompts)) if course.guidance != 1 else []
    again = prompts if course.coherence else []
    return _condition(generator, [*prompts, *away, *again])


def _told_first(generator: Generator, prompts: Sequence[str], outline, course: _Course) -> Any:
    """What outlines are drawn by; None where there are none."""
    if course.outline_above == 1:
        return None
    outlines = outline or [""] * len(prompts)
    wanted = [o or p for o, p in zip(outlines, prompts, strict=True)]
    return _condition(generator, wanted * (2 if course.coherence else 1))


def _condition(generator: Generator, texts: Sequence[str]) -> Any:
    known = {text: generator.tokens(text) for text in dict.fromkeys(texts)}
    return generator.condition([known[text] for text in texts])


def _guided(generator: Generator, x, time, told, course: _Course) -> torch.Tensor:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598, eq. 6 with w = guidance - 1),
    and that of `_coherent` beside it.
    """
    if course.guidance == 1:
        return _coherent(generator, x, time, told, course)
    if not course.coherence:
        asked, free = generator.predict(x.repeat(2, 1, 1, 1), time.repeat(2), told).chunk(2)
        apart = torch.zeros_like(asked)
    else:
        asked, free, alone = _say_last_alone(generator, x, time, told, 3)
        apart = course.coherence * (asked - alone)
    said = free + course.guidance * (asked - free)
    return _rescaled(said, asked, course.guidance_rescale) + apart


def _coherent(generator: Generator, x, time, told, course: _Course) -> torch.Tensor:
    """Perturbed-attention guidance: away from what the network says where every place attends to
    itself alone (Ahn et al., arXiv 2403.17377, eq. 16).
    """
    if not course.coherence:
        return generator.predict(x, time, told)
    asked, alone = _say_last_alone(generator, x, time, told, 2)
    return asked + course.coherence * (asked - alone)


def _say_last_alone(generator: Generator, x, time, told, parts: int) -> tuple[torch.Tensor, ...]:
    """What the network says of each part of `told`, in one pass; of the last without knowing, at
    any place, of the others.
    """
    with last_part_alone(generator.networks(), parts):
        return generator.predict(x.repeat(parts, 1, 1, 1), time.repeat(parts), told).chunk(parts)


def _rescaled(guided: torch.Tensor, asked: torch.Tensor, share: float) -> torch.Tensor:
    """Give a guided prediction back the contrast of the caption's own, by `share`.

    Guidance makes predictions too large, and images over-exposed (Lin et al., arXiv 2305.08891,
    eq. 15 and 16).
    """
    if share == 0:
        return guided
    contrast = asked.std((1, 2, 3), keepdim=True) / guided.std((1, 2, 3), keepdim=True)
    return share * guided * contrast + (1 - share) * guided


def require_effect(generator: Generator, sampling: SynthesisConfig) -> None:
    """Refuse what would be written down beside every image and yet change none.

    Raises:
        BadInput: the sampler is not this generator's, nothing is left of a reference, sampling
            begins with too little noise for `outline_above`, `symmetry` or new noise, there is no
            self-attention for `coherence` to take away, or nothing for `symmetry` to hold for.
    """
    if sampling.coherence and not self_attention(generator.networks()):
        raise BadInput(
            f"coherence = {sampling.coherence:g} leads away from what the network says where no "
            "part of the image knows of the others; this generator's network has no "
            "self-attention that could be taken away. Leave coherence out."
        )
    if sampling.symmetry and not generator.standard_pixels:
        raise BadInput(
            f"symmetry = {sampling.symmetry:g} is a share of the spread of images drawn by the "
            f"kind pixel, and this generator is of the kind {generator.kind}; leave symmetry out."
        )
    times = _scheduler(generator, sampling.sampler, sampling.steps).timesteps
    of_noise = (sampling.symmetry, sampling.reference != "none", sampling.outline_above < 1)
    if any(of_noise) or sampling.sampler == "dpm-sde":
        _require_noise(_noise_shares(generator, sampling, times), sampling)


def _noise_shares(generator: Generator, sampling: SynthesisConfig, times) -> list[float]:
    """How much of the image is noise before each step that is taken."""
    if sampling.reference != "none":
        times = times[_skipped(sampling.steps, sampling.strength) :]
    return generator.process.noise_share(times / generator.process.time_scale).tolist()


def _require_noise(shares: list[float], sampling: SynthesisConfig) -> None:
    first = shares[0]
    if sampling.reference != "none" and first == 1:
        raise BadInput(
            f"strength = {sampling.strength:g} leaves nothing of a reference: this generator's "
            "sampling begins with noise alone; set strength = 0.6, say."
        )
    if first <= sampling.outline_above < 1:
        raise BadInput(
            f"outline_above = {sampling.outline_above:g}, but the sampling begins at a share of "
            f"noise of {first:.3g}, so no outline would be drawn; set it lower, or leave it out."
        )
    if sampling.symmetry and first <= TEXTURE_BELOW:
        raise BadInput(
            f"symmetry holds above a share of noise of {TEXTURE_BELOW:g}, and the sampling begins "
            f"at {first:.3g}, so nothing would be symmetric; leave it out, or raise strength."
        )
    if sampling.sampler == "dpm-sde" and not any(s > RENEWED_ABOVE for s in shares[:-1]):
        raise BadInput(
            f"dpm-sde puts new noise on above a share of noise of {RENEWED_ABOVE:g}, where this "
            f"sampling takes no step but the last; set sampler = 'dpm', or more steps."
        )


def sampler_of(generator: Generator, sampler: str) -> str:
    """The sampler that is meant, also by 'auto'."""
    return generator.process.default_sampler if sampler == "auto" else sampler
