"""What a generator is judged on."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from discovery.generator.config import Sampler
from discovery.morphology.prompts import parse

Guidance = Annotated[float, Field(ge=1, le=30)]


class JudgeConfig(BaseModel):
    """Numbers of images, and the settings over which curves are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Literal["validation", "search"] = Field(
        "validation", description="the real cutouts to compare with; never those trained on"
    )
    images: int = Field(
        1000,
        ge=20,
        description="images in each of two disjoint real halves and of synthetic ones; fewer where "
        "the split holds fewer",
    )
    brightness_images: int = Field(
        0,
        ge=0,
        description="synthetic and real images for the brightness bias alone, those of `images` "
        "among them: galaxies differ so much that 800 against 1,600 tell it to 4 %, 3,200 against "
        "3,000 to 2.4 %. Real ones are fewer where the split holds fewer. 0: those of `images`",
    )
    size: PositiveInt | None = Field(
        None, description="side in px at which all is judged; left out, that of the generator"
    )
    steps: PositiveInt | None = Field(
        None, description="sampling steps; left out, those of [synthesis]"
    )
    guidance: Guidance | None = Field(None, description="guidance; left out, that of [synthesis]")
    sampler: Sampler | None = Field(None, description="sampler; left out, that of [synthesis]")
    coherence: float | None = Field(
        None, ge=0, le=10, description="coherence; left out, that of [synthesis]"
    )
    symmetry: float | None = Field(
        None, ge=0, le=1, description="symmetry; left out, that of [synthesis]"
    )
    critic_images: int | None = Field(
        None,
        ge=0,
        description="critic_images; left out, that of [synthesis]. Of the images that are held "
        "against real ones alone: curves, fronts and lanes are shown as they are drawn",
    )
    seed: int = Field(0, ge=0, description="decides the halves, every image and every interval")
    network_steps: int = Field(
        600,
        ge=3,
        description="training steps of the network whose features are compared; the judge of dust "
        "lanes takes half as many, the network that is to tell real from synthetic a third",
    )
    early_types: tuple[str, ...] = Field(
        (),
        description="captions of early types that a dust lane is asked of; left out, the two most "
        "frequent smooth captions",
    )
    lane_weights: tuple[PositiveFloat, ...] = Field(
        (0.5, 0.75, 1.0, 1.3, 1.6),
        min_length=1,
        description="weights of the lane, for the dose-response curve",
    )
    lane_guidance: float | None = Field(
        None, ge=1, le=30, description="guidance where a lane is asked for; left out, as elsewhere"
    )
    lane_outline_above: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of noise down to which early types are drawn as outlines, without a "
        "lane and without guidance, 1: not at all; left out, that of [synthesis]",
    )
    lane_images: int = Field(
        128, ge=1, description="images of each early type at each weight of the lane, and without"
    )
    sampling_steps: tuple[PositiveInt, ...] = Field(
        (4, 6, 8, 12, 20, 35, 50),
        min_length=1,
        description="numbers of steps to compare, for the knee",
    )
    curve_images: int = Field(256, ge=20, description="images at each point of a curve")
    trajectory_steps: int = Field(
        1000, ge=10, description="steps of the way from noise, shown at every tenth of them"
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="captions for the Pareto fronts, of 20 real cutouts at least; left out, the "
        "three most frequent",
    )
    guidances: tuple[Guidance, ...] = Field(
        (1.0, 2.5, 5.0, 8.0), min_length=1, description="guidances to compare on the Pareto fronts"
    )
    weights: tuple[PositiveFloat, ...] = Field(
        (0.75, 1.0, 1.6),
        min_length=1,
        description="weights of a prompt's tags to compare on the Pareto fronts",
    )
    front_images: int = Field(
        64, ge=8, description="images of each prompt at each point of a Pareto front"
    )

    @model_validator(mode="after")
    def _more_than_the_rest(self) -> "JudgeConfig":
        if 0 < self.brightness_images <= self.images:
            raise ValueError(
                f"brightness_images = {self.brightness_images} is not above images = "
                f"{self.images}, which are all counted for the brightness; set it higher, or to 0"
            )
        return self

    @field_validator("early_types", "prompts")
    @classmethod
    def _parse(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            parse(prompt)
        return prompts
