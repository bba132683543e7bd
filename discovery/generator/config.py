"""Settings of the generator and of what is asked of it."""

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator

from discovery.morphology.prompts import parse


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorConfig(_Settings):
    """How the generator is built and trained; a `start` brings its own network settings."""

    start: str = Field(
        "scratch",
        description="what to begin with: 'scratch', 'shipped' (the weights in the package) or the "
        "folder of a generator",
    )
    size: int = Field(64, ge=16, le=512, description="side of the images in px")
    patch: int = Field(
        2, ge=1, le=8, description="px folded into channels: 2 makes 12 channels at half the size"
    )
    channels: tuple[int, ...] = Field(
        (64, 96, 128), min_length=2, description="width of the U-Net at each resolution"
    )
    layers: int = Field(1, ge=1, le=4, description="residual blocks at each resolution")
    text_width: int = Field(128, ge=16, description="width of the text encoder")
    text_layers: int = Field(1, ge=1, le=12, description="layers of the text encoder")
    steps: int = Field(4000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="images in a step")
    learning_rate: float = Field(6e-4, gt=0, description="peak; linear warm-up, cosine to zero")
    warmup_steps: int = Field(100, ge=0, description="steps of the warm-up")
    caption_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of images trained without caption, for guidance"
    )
    tag_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="chance that a tag is left out, so that tags mean something alone",
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
    noise_shift: float = Field(
        4.0,
        ge=1,
        le=20,
        description="how far training and sampling lean towards much noise, where a galaxy's shape "
        "is decided; 1: not at all, larger images need more",
    )
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights that are kept")
    seed: int = Field(0, ge=0, description="of weights, order, noise and augmentation")
    checkpoint_every: int = Field(
        250, ge=1, description="steps between states from which a killed training goes on"
    )


class PromptCount(_Settings):
    """One prompt and how many images of it are wanted."""

    prompt: str = Field(description="tags with weights: 'mock, smooth, {dust lane:1.3}'")
    count: int = Field(ge=1, description="images")
    label: int = Field(1, ge=0, le=1, description="1 where the prompt asks for the quarry, else 0")

    @field_validator("prompt")
    @classmethod
    def _parses(cls, prompt: str) -> str:
        parse(prompt)
        return prompt


class SynthesisConfig(_Settings):
    """What is asked of a trained generator."""

    prompts: tuple[PromptCount, ...] = Field(min_length=1, description="prompts with counts")
    steps: int = Field(12, ge=1, le=1000, description="steps of the Euler sampler")
    guidance: float = Field(
        2.5, ge=1, le=30, description="classifier-free guidance; 1 follows the caption as trained"
    )
    seed: int = Field(0, ge=0, description="every image's own seed is derived from it")
    batch: int = Field(64, ge=1, description="images drawn at a time")

    @field_validator("prompts")
    @classmethod
    def _differ(cls, prompts: tuple[PromptCount, ...]) -> tuple[PromptCount, ...]:
        # A seed follows from the prompt: two equal ones would draw the same images twice.
        texts = [wanted.prompt for wanted in prompts]
        if twice := [text for text in texts if texts.count(text) > 1]:
            raise ValueError(f"the prompt {twice[0]!r} is there twice; give it once, with the sum")
        return prompts
