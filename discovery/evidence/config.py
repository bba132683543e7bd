"""What a run has to prove besides finding candidates."""

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from discovery.detector.config import AugmentConfig, DetectorConfig
from discovery.generator.config import Classes

_SETTINGS = ConfigDict(frozen=True, extra="forbid")


class Sky(BaseModel):
    """A further mock sky to judge on; nothing is trained or calibrated on it."""

    model_config = _SETTINGS

    seed: int = Field(ge=0, description="decides every object; not that of the run's own sky")
    search: int = Field(10000, ge=1, description="objects to judge on")
    quarry_fraction: float = Field(
        0.0036, ge=0, le=1, description="share of the quarry; measures are quoted at natural ones"
    )

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"sky-{self.seed}"


class Arm(BaseModel):
    """One way to train a detector; of a sweep, one for each value."""

    model_config = _SETTINGS

    name: str = Field(min_length=1, max_length=60, description="what readers call it")
    synthetic: bool = Field(True, description="whether synthetic cutouts teach it too")
    positives: int | None = Field(
        None,
        ge=1,
        description="most listed positives to use, for training and threshold together, drawn by "
        "seed; all if left out",
    )
    against: str | None = Field(
        None, description="name of the arm that it is compared with; ablation.base if left out"
    )
    detector: dict[str, Any] = Field({}, description="keys of [detector] that it has otherwise")
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        {}, description="a key of [detector] with a list of values: an arm for each of them"
    )

    def expanded(self) -> list["Arm"]:
        """The arms that it stands for, itself without a sweep."""
        arms = []
        for values in product(*self.sweep.values()):
            chosen = dict(zip(self.sweep, values, strict=True))
            said = [self.name, *(f"{key} {value}" for key, value in chosen.items())]
            changed = {"name": ", ".join(said), "detector": self.detector | chosen, "sweep": {}}
            arms.append(self.model_copy(update=changed))
        return arms

    def config(self, base: DetectorConfig, seed: int) -> DetectorConfig:
        """The settings of its detector; a section such as `augment` changes key by key, a table of
        shares such as `painted.kinds` as a whole."""
        return DetectorConfig.model_validate(
            # judged on the search split, which teaches none of them
            _merged(base, self.detector | {"seed": seed, "folds": 1})
        )


def _merged(base: BaseModel, changes: dict) -> dict:
    sections = {k for k, v in base if isinstance(v, BaseModel) and isinstance(changes.get(k), dict)}
    changes = {k: _merged(getattr(base, k), v) if k in sections else v for k, v in changes.items()}
    return base.model_dump() | changes


class AblationConfig(BaseModel):
    """Detectors that differ in one thing each, trained with several seeds, on the same objects."""

    model_config = _SETTINGS

    seeds: tuple[NonNegativeInt, ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="of the trainings of every arm; five or more"
    )
    base: str = Field(description="name of the arm that others are compared with")
    arms: tuple[Arm, ...] = Field(min_length=2, description="the arms, in order")
    top: int = Field(100, ge=1, description="how many of the first people would look at")

    @property
    def expanded(self) -> tuple[Arm, ...]:
        """All arms, those of sweeps one by one."""
        return tuple(one for arm in self.arms for one in arm.expanded())

    @model_validator(mode="after")
    def _arms_can_be_told_apart(self):
        names = [arm.name for arm in self.expanded]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two arms are named {min(twice)!r}; give every arm its own name")
        for key, name in [("base", self.base), *(("against", a.against) for a in self.arms)]:
            if name is not None and name not in names:
                raise ValueError(f"{key} = {name!r} is no arm; the arms: {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice in seeds; the same training is no second one")
        return self


class InjectionConfig(BaseModel):
    """Lanes painted on real galaxies that no detector has seen, to see which are found."""

    model_config = _SETTINGS

    hosts: int = Field(600, ge=20, description="galaxies to paint a lane on; fewer where fewer are")
    tags: str = Field("smooth", description="tags that the caption of a host has to have")
    without: str = Field("dust lane", description="a tag that it must not have")
    reddest: float = Field(
        0.6, gt=0, le=1, description="share of the hosts, the reddest, whose lanes are counted "
        "apart as well: early types are red, and volunteers call blue discs smooth, too",
    )  # fmt: skip
    tau_v: tuple[float, float] = Field(
        (0.2, 8.0), description="optical depth in V, ends of a log-uniform distribution"
    )
    width: tuple[float, float] = Field(
        (0.015, 0.2), description="scale height over outer radius, log-uniform"
    )
    radius: tuple[float, float] = Field(
        (0.5, 2.5), description="outer radius over the host's half-light radius, log-uniform"
    )
    inclination: tuple[float, float] = Field(
        (45.0, 90.0), description="degrees, 90 is edge-on; uniform in its cosine"
    )
    ring_share: float = Field(0.5, ge=0, le=1, description="share of rings; the rest are discs")
    seeing_arcsec: float = Field(
        1.3, gt=0, description="full width at half maximum, where the pixel scale is known"
    )
    seeing_px: float | None = Field(
        None, gt=0, description="σ on the delivered pixels, where no pixel scale is known; without "
        "it it is read off the grain of the noise (SDSS)",
    )  # fmt: skip
    seed: int = Field(1, ge=0, description="decides hosts and lanes")

    @model_validator(mode="after")
    def _ranges_are_ranges(self):
        for name in ("tau_v", "width", "radius"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} = [{low:g}, {high:g}]; give 0 < low <= high")
        low, high = self.inclination
        if not 0 <= low <= high <= 90:
            raise ValueError(
                f"inclination = [{low:g}, {high:g}]; give degrees, 0 <= low <= high <= 90"
            )
        return self


class VettedConfig(BaseModel):
    """A sample of the searched objects that people have looked at."""

    model_config = _SETTINGS

    table: Path = Field(
        description="CSV: object_id, grade, and stratum with stratum_size or drawn (the "
        "probability with which the row was drawn); grade_2 is a second pass"
    )
    earlier: tuple[Path, ...] = Field(
        (), description="CSVs of looks at other searches of these surveys, which taught nothing; "
        "they help to say what a painted lane is not to be held against",
    )  # fmt: skip
    true_grades: tuple[str, ...] = Field(
        ("A", "B"), min_length=1, description="grades that count as true"
    )
    false_grades: tuple[str, ...] = Field(("C", "D", "X"), description="the other grades")
    finders: tuple[str, ...] = Field(
        (), max_length=2, description="two columns of 0 and 1: which of two finders had the object"
    )

    @model_validator(mode="after")
    def _finders_are_two(self):
        if len(self.finders) == 1:
            raise ValueError("finders names one column; capture–recapture needs two, or none")
        return self


class ClassifierConfig(BaseModel):
    """How a classifier is trained, whatever its network."""

    model_config = _SETTINGS

    size: int = Field(64, ge=16, le=512, description="side of the square input, in px")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(64, ge=2, description="images per step")
    learning_rate: float = Field(1e-3, gt=0, description="peak; warm-up, then cosine to zero")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decoupled weight decay")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights per step")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a target that is spread over all classes"
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="focal: easy images count less (Lin et al. 2017)"
    )
    focal_gamma: float = Field(2.0, ge=0, description="focal loss: how much less; 0: not at all")
    balance: float = Field(
        0.0, ge=0, le=1, description="0 draws images as they come, 1 every class equally often"
    )
    looks: int = Field(
        0, ge=0, description="times, evenly over the steps, that the averaged weights are judged "
        "on the validation split; the best are kept. 0: the last ones are",
    )  # fmt: skip
    augment: AugmentConfig = Field(AugmentConfig(), description="variation of training images")


class ClassArm(BaseModel):
    """One way to teach the classes."""

    model_config = _SETTINGS

    name: str = Field(min_length=1, max_length=60, description="what readers call it")
    against: str | None = Field(
        None, description="name of the arm that it is compared with, network by network"
    )
    keep: dict[str, PositiveInt] = Field(
        {},
        description="classes, and the most real galaxies of each to teach, drawn by seed: "
        "{ cigar = 20 }; of the others all",
    )
    fill: dict[str, PositiveInt] = Field(
        {},
        description="classes, and the number to fill each to with synthetic cutouts whose prompt "
        "has its tags: { cigar = 5642 }",
    )
    classifier: dict[str, Any] = Field(
        {}, description="keys of [evidence.classification.classifier] that it has otherwise"
    )

    def config(self, base: ClassifierConfig) -> ClassifierConfig:
        """The settings of its classifiers."""
        return ClassifierConfig.model_validate(_merged(base, self.classifier))


class ClassificationConfig(BaseModel):
    """Classifiers of a few classes that differ in what taught them, on the same test galaxies."""

    model_config = _SETTINGS

    classes: Classes
    test: int = Field(
        100, ge=2, description="galaxies of each class to judge on, at most, of the search split"
    )
    networks: dict[str, Literal[False] | str] = Field(
        {"resnet10t": False},
        min_length=1,
        description="timm networks, each with the weights it starts from: false, a safetensors "
        "file, or 'hf-hub:OWNER/NAME'",
    )
    seeds: tuple[NonNegativeInt, ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="of the trainings of every arm and network"
    )
    classifier: ClassifierConfig = Field(
        ClassifierConfig(), description="what the trainings of all arms have in common"
    )
    arms: tuple[ClassArm, ...] = Field(min_length=1, description="the arms, in order")

    @field_validator("arms")
    @classmethod
    def _classes_exist(cls, arms, info: ValidationInfo):
        known = info.data.get("classes", {})
        for arm in arms:
            if unknown := sorted({*arm.keep, *arm.fill} - set(known)):
                raise ValueError(
                    f"arm {arm.name!r}: {unknown[0]!r} is no class; the classes: {', '.join(known)}"
                )
        return arms

    @field_validator("arms")
    @classmethod
    def _arms_can_be_told_apart(cls, arms):
        names = [arm.name for arm in arms]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two arms are named {min(twice)!r}; give every arm its own name")
        for arm in arms:
            if arm.against is not None and (arm.against == arm.name or arm.against not in names):
                others = ", ".join(name for name in names if name != arm.name) or "none"
                raise ValueError(
                    f"arm {arm.name!r}: against = {arm.against!r} is no other arm; the others: "
                    f"{others}"
                )
        return arms

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds):
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice in seeds; the same training is no second one")
        return seeds


class EvidenceConfig(BaseModel):
    """What the run has to prove besides finding candidates."""

    model_config = _SETTINGS

    compare_without_synthetic: bool = Field(
        True, description="also search with a detector that saw no synthetic cutout"
    )
    natural_prevalence: float = Field(
        0.0036, gt=0, lt=1, description="share of the quarry in the sky, to quote purity at"
    )
    quoted_prevalence: float = Field(
        0.037, gt=0, lt=1, description="at which others quote the area under precision–recall"
    )
    replicates: int = Field(1000, ge=100, description="of every bootstrap")
    sky: tuple[Sky, ...] = Field(
        (), description="[[evidence.sky]]: of a mock run, further skies to judge on"
    )
    ablation: AblationConfig | None = Field(None, description="which arms to train and compare")
    injection: InjectionConfig | None = Field(None, description="which lanes to paint and find")
    vetted: VettedConfig | None = Field(None, description="what people have looked at")
    classification: ClassificationConfig | None = Field(
        None, description="which classes to tell apart, and what dreams of them are worth"
    )
