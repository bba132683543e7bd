"""Settings of the generators and of what is asked of them."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)

from discovery.generator.classes import check_classes
from discovery.morphology.prompts import parse

PROMPT_SETS = Path(__file__).parent / "prompt_sets"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Training(_Settings):
    """How a generator is trained, whatever its kind."""

    start: str = Field(
        "scratch",
        description="what to begin with: 'scratch', 'shipped' (in the package, of a mock sky), "
        "'shipped-sdss' (the same, then taught by SDSS) or the folder of a generator",
    )
    steps: int = Field(4000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="images in a step, over all processes")
    learning_rate: float = Field(6e-4, gt=0, description="peak; linear warm-up, cosine to zero")
    turns: bool = Field(
        True, description="show every image in its eight orientations, for a galaxy has no up"
    )
    balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="0 draws galaxies as they come, 1 as if their rarest tag were as common as any",
    )
    emphasis: dict[str, PositiveFloat] = Field(
        {},
        description="tags, and how many times as often the images that have them all are drawn: "
        "{ 'dust lane' = 4.0, 'smooth, dust lane' = 20.0 }; the largest that applies counts",
    )
    seed: int = Field(0, ge=0, description="of weights, order, noise and augmentation")
    checkpoint_every: int = Field(
        250, ge=1, description="steps between states from which a killed training goes on"
    )
    snapshots: tuple[int, ...] = Field(
        (), description="steps after which a whole generator is kept in snapshots/<step>"
    )

    @model_validator(mode="after")
    def _snapshots_are_reached(self):
        if beyond := [step for step in self.snapshots if not 1 <= step <= self.steps]:
            raise ValueError(f"snapshots names step {beyond[0]}; steps go from 1 to {self.steps:,}")
        return self


class Denoising(Training):
    """How a generator learns to take noise away."""

    accumulate: int = Field(
        1, ge=1, description="parts that a step's batch is computed in, to save memory"
    )
    warmup_steps: int = Field(100, ge=0, description="steps of the warm-up")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    caption_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of images trained without caption, for guidance"
    )
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="of the averaged weights that are kept; 0: the last ones are"
    )
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto",
        description="of the networks' arithmetic; auto: bf16 where the device computes it; fp16 "
        "is for training alone",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them: slower, less memory"
    )


class Worded(Denoising):
    """How a generator learns words."""

    tag_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="chance that a tag is left out, so that tags mean something alone",
    )
    single_tag: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of images shown under one of their tags alone, so that it can be asked "
        "for by itself",
    )
    tag_shuffle: bool = Field(True, description="the tags after the survey's come in any order")


class PixelConfig(Worded):
    """A small text-conditioned network on the pixels themselves, from scratch."""

    kind: Literal["pixel"] = Field(
        "pixel", description="a small network on pixels, for any machine"
    )
    objective: Literal["flow", "v", "epsilon"] = Field(
        "flow", description="what is predicted: noise - image, v (zero terminal SNR), or the noise"
    )
    size: int = Field(64, ge=16, le=512, description="side of the images in px")
    patch: int = Field(
        2, ge=1, le=8, description="px folded into channels: 2 makes 12 channels at half the size"
    )
    channels: tuple[int, ...] = Field(
        (64, 96, 128), min_length=2, description="width of the U-Net at each resolution"
    )
    layers: int = Field(1, ge=1, le=4, description="residual blocks at each resolution")
    depth: int = Field(
        1,
        ge=1,
        le=12,
        description="transformer layers in each block of the coarsest resolution, where what "
        "belongs together far apart is put together",
    )
    text_width: int = Field(128, ge=16, description="width of the text encoder")
    text_layers: int = Field(1, ge=1, le=12, description="layers of the text encoder")
    stretch: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of images shown stretched, mostly to a rounder shape, and captioned "
        "so: features are then seen on shapes on which they do not occur",
    )
    opposite: bool = Field(
        False,
        description="show the network, beside every pixel, the one across the centre: a galaxy "
        "turned by half a circle is much the same, which a small network hardly finds out itself",
    )
    odd_spread: float = Field(
        0.0,
        ge=0,
        le=1,
        description="what half a turn changes in an image, as a share of the images' σ: where "
        "there is much noise a second voice then says that part at its own scale, or discs come "
        "out bent; 0: there is none",
    )
    noise_shift: float = Field(
        4.0,
        ge=1,
        le=20,
        description="how far training and sampling lean towards much noise, where a galaxy's shape "
        "is decided; 1: not at all, larger images need more",
    )
    noise_spread: float = Field(
        1.75,
        ge=0.5,
        le=2,
        description="how far apart the noise levels of a flow lie, in training, and in sampling by "
        "dpm; at 1 the little noise in which the sky's texture is decided is hardly ever seen",
    )


class StableDiffusionConfig(Worded):
    """Stable Diffusion in its 1.x layout, fine-tuned in the latent space of its autoencoder."""

    kind: Literal["stable-diffusion"] = Field(description="fine-tunes Stable Diffusion 1.x")
    start: str = Field(
        description="a folder in diffusers' layout, a hub id (owner/name), or a generator's folder"
    )
    size: int = Field(424, ge=16, le=1024, multiple_of=8, description="side of the images in px")
    learning_rate: float = Field(1.6e-6, gt=0, description="peak; linear warm-up, cosine to zero")
    batch: int = Field(16, ge=1, description="images in a step, over all processes")
    lora_rank: int = Field(
        0, ge=0, description="rank of low-rank adapters that are trained instead; 0: every weight"
    )
    train_text_encoder: bool = Field(True, description="teach the text encoder as well")
    prediction: Literal["as started", "epsilon", "v"] = Field(
        "as started", description="what the U-Net predicts: the noise, or v"
    )
    zero_terminal_snr: bool = Field(
        False, description="stretch the schedule until nothing of the image is left; needs v"
    )

    @model_validator(mode="after")
    def _the_last_step_can_be_learnt(self):
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ValueError(
                "zero_terminal_snr leaves nothing but noise at the last step, where epsilon says "
                "nothing about the image; set prediction = 'v'"
            )
        return self


Classes = Annotated[
    dict[str, str],
    Field(
        min_length=1,
        description="names, and the tags that a caption of the class holds: "
        "{ cigar = 'smooth, cigar-shaped galaxy' }; other galaxies are left out",
    ),
    AfterValidator(check_classes),
]


class DDPMConfig(Denoising):
    """A diffusion model of pixels and classes (Ho et al. 2020; Zhao, Wang & Lv 2025)."""

    kind: Literal["ddpm"] = Field(description="pixels and classes, T = 1000, noise predicted")
    start: Literal["scratch"] = Field("scratch", description="such a model starts from nothing")
    size: int = Field(224, ge=16, le=512, description="side of the images in px")
    channels: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(
        (128, 128, 256, 256, 512, 512),
        min_length=2,
        description="width of the U-Net at each resolution",
    )
    layers: int = Field(2, ge=1, le=4, description="residual blocks at each resolution")
    caption_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of images trained without class, for guidance"
    )
    classes: Classes

    @model_validator(mode="after")
    def _there_is_something_to_drop(self):
        if self.caption_dropout and len(self.classes) == 1:
            raise ValueError(
                "one class has nothing that guidance could lead away from; set "
                "caption_dropout = 0 or give more classes"
            )
        return self


class SAGANConfig(Training):
    """A GAN (Zhang et al. 2019), for the comparison of Zhao, Wang & Lv and nothing else."""

    kind: Literal["sagan"] = Field(description="a GAN, for the comparison and nothing else")
    start: Literal["scratch"] = Field("scratch", description="such a model starts from nothing")
    size: int = Field(224, ge=16, le=512, description="side of the images in px")
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1024, 512, 256, 128, 64),
        min_length=2,
        description="width at each resolution, from the coarsest; each doubles the side once",
    )
    learning_rate: float = Field(1e-4, gt=0, description="of the generator, all the time")
    discriminator_learning_rate: float = Field(
        4e-4, gt=0, description="of the discriminator, all the time"
    )
    classes: Classes


KINDS: dict[str, type[Training]] = {
    "pixel": PixelConfig,
    "stable-diffusion": StableDiffusionConfig,
    "ddpm": DDPMConfig,
    "sagan": SAGANConfig,
}
"""The kinds of generator, as `kind` under [generator] names them."""


def _kind_of(value: Any) -> Any:
    return value.get("kind", "pixel") if isinstance(value, dict) else getattr(value, "kind", None)


GeneratorConfig = Annotated[
    Annotated[PixelConfig, Tag("pixel")]
    | Annotated[StableDiffusionConfig, Tag("stable-diffusion")]
    | Annotated[DDPMConfig, Tag("ddpm")]
    | Annotated[SAGANConfig, Tag("sagan")],
    Discriminator(
        _kind_of,
        custom_error_type="unknown_kind",
        custom_error_message=f"no such kind of generator; known: {', '.join(KINDS)}",
    ),
]


def read_config(values: dict) -> Training:
    """The configuration that a generator.json holds.

    What it does not name is as it was before there was such a key: a `pixel` generator, trained at
    a noise_spread of 1.
    """
    if values.get("kind", "pixel") == "pixel":
        values = {"noise_spread": 1.0} | values
    return TypeAdapter(GeneratorConfig).validate_python(values)


class PromptCount(_Settings):
    """One prompt and how many images of it are wanted."""

    prompt: str = Field(description="tags with weights: 'mock, smooth, {dust lane:1.3}'")
    count: int = Field(ge=1, description="images")
    label: int = Field(1, ge=0, le=1, description="1 where the prompt asks for the quarry, else 0")
    negative: str = Field(
        "", description="what guidance leads away from; '': from what no caption is given for"
    )

    outline: str = Field(
        "",
        description="what is asked for above outline_above, where size and brightness are decided: "
        "the prompt without its rare feature, say; '': the prompt itself",
    )

    @field_validator("prompt")
    @classmethod
    def _parses(cls, prompt: str) -> str:
        parse(prompt)
        return prompt

    @field_validator("negative", "outline")
    @classmethod
    def _others_parse(cls, prompt: str) -> str:
        return prompt and cls._parses(prompt)


class PromptSet(_Settings):
    """A list of prompts that comes with the package."""

    name: str = Field(description="of the list; 'galaxysd' holds A to P and D-ETG of the paper")
    count: int = Field(ge=1, description="images of each prompt")
    tag: str = Field("sdss", description="first word of each prompt: the tag of your survey")

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        if not (PROMPT_SETS / f"{name}.toml").is_file():
            known = ", ".join(sorted(path.stem for path in PROMPT_SETS.glob("*.toml")))
            raise ValueError(f"no such set of prompts; known: {known}")
        return name

    @property
    def prompts(self) -> tuple[PromptCount, ...]:
        text = (PROMPT_SETS / f"{self.name}.toml").read_text()
        return tuple(
            PromptCount(
                prompt=f"{self.tag}, {entry['prompt']}", count=self.count, label=entry["label"]
            )
            for entry in tomllib.loads(text)["prompts"]
        )


Sampler = Literal["auto", "dpm", "dpm-sde", "euler", "euler-ancestral", "ddim", "ddpm"]


class SynthesisConfig(_Settings):
    """What is asked of a trained generator."""

    prompts: tuple[PromptCount, ...] = Field((), description="prompts with counts")
    set: PromptSet | None = Field(None, description="prompts that come with the package, as well")
    steps: int = Field(16, ge=1, le=1000, description="steps of the sampler")
    sampler: Sampler = Field(
        "auto",
        description="auto: dpm (DPM-Solver++, second order) for a flow, ddpm for the kind ddpm, "
        "else ddim; dpm-sde (the same with new noise in each step while there is much) and euler "
        "are for a flow only, dpm for both, the others for diffusion",
    )
    guidance: float = Field(
        2.5, ge=1, le=30, description="classifier-free guidance; 1 follows the caption as trained"
    )
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how far guidance keeps the contrast of the caption alone; of what coherence "
        "adds it takes nothing",
    )
    coherence: float = Field(
        0.0,
        ge=0,
        le=10,
        description="how far drawing leads away from what the network says where no part of the "
        "image knows of the others, as discs drawn so are bent and ragged; costs a pass per step",
    )
    symmetry: float = Field(
        0.0,
        ge=0,
        le=1,
        description="what half a turn changes in a galaxy is taken for an error of drawing where "
        "it is fainter than this share of the images' σ, before the sky's texture is drawn; 0: no",
    )
    critic_images: int = Field(
        0,
        ge=0,
        description="real training galaxies, and as many drawn, from which a critic learns which "
        "structure is drawn too often, to keep what is drawn with a chance that makes up for it; "
        "several times the work. Captions that few of these galaxies have are drawn as they come; "
        "0: all is kept",
    )
    outline_above: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of noise down to which outlines are drawn, without guidance, which "
        "would make galaxies brighter than they are; 1: guidance from the first step on",
    )
    reference: Literal["none", "real"] = Field(
        "none", description="start from noise, or from real training cutouts with noise added"
    )
    strength: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the steps, from the noisiest on, that a reference goes through; 1: "
        "all, which leaves something of it only where sampling begins with less than pure noise",
    )
    seed: int = Field(0, ge=0, description="every image's own seed is derived from it")
    batch: int = Field(64, ge=1, description="images drawn at a time")

    @property
    def wanted(self) -> tuple[PromptCount, ...]:
        """All prompts: the run file's own, then those of the set."""
        return self.prompts + (self.set.prompts if self.set else ())

    @model_validator(mode="after")
    def _asks_for_something(self):
        if not self.wanted:
            raise ValueError("nothing is asked for; give [[synthesis.prompts]] or [synthesis.set]")
        # A seed follows from the prompt: two equal ones would draw the same images twice.
        texts = [wanted.prompt for wanted in self.wanted]
        if twice := [text for text in texts if texts.count(text) > 1]:
            raise ValueError(f"the prompt {twice[0]!r} is there twice; give it once, with the sum")
        return self

    @model_validator(mode="after")
    def _outlines_have_a_time(self):
        if self.outline_above == 1 and any(wanted.outline for wanted in self.prompts):
            raise ValueError(
                "an outline is drawn above outline_above, and that is 1: never; set it, to 0.98 say"
            )
        return self

    @model_validator(mode="after")
    def _a_critic_is_taught_by_captions_alone(self):
        if self.critic_images and any(w.negative or w.outline for w in self.wanted):
            raise ValueError(
                "a critic learns from what is drawn under captions alone, without a negative or "
                "an outline; leave those out of the prompts, or set critic_images = 0"
            )
        return self

    @model_validator(mode="after")
    def _strength_has_a_reference(self):
        if self.reference == "none" and self.strength != 1:
            raise ValueError("strength is of a reference; set reference = 'real'")
        return self
