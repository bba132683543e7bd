"""What a detector is made of and how it is trained."""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from discovery.errors import BadInput
from discovery.morphology import artefacts, lanes
from discovery.morphology.kinds import check_weights

CLEAR, BESIDE, SCREEN = CONTROLS = ("clear", "beside", "screen")

_SETTINGS = ConfigDict(frozen=True, extra="forbid")


class AugmentConfig(BaseModel):
    """How training images are varied; real and synthetic ones alike."""

    model_config = _SETTINGS

    affine_share: float = Field(
        0.5, ge=0, le=1, description="share of the images that is turned, zoomed and shifted"
    )
    zoom: float = Field(0.12, ge=0, lt=1, description="zoom up to 1 ± this")
    enlarged: float = Field(
        0.0, ge=0, le=1, description="share of those that is enlarged besides: near galaxies "
        "overflow a field of fixed size, and how large it is says not what it is",
    )  # fmt: skip
    enlarged_to: float = Field(2.4, gt=1, le=4, description="by up to this factor")
    shift_px: float = Field(2.0, ge=0, description="shift up to ± this many pixels")
    brightness: float = Field(0.12, ge=0, description="σ of ln(gain), one gain per image")
    colour: float = Field(0.04, ge=0, description="σ of ln(gain), one gain per image and band")
    blur_share: float = Field(0.3, ge=0, le=1, description="share of the images that is blurred")
    blur_px: float = Field(0.7, ge=0, le=0.8, description="largest σ of the blur, in pixels")
    noise: float = Field(0.02, ge=0, description="largest σ of the added noise; 1 is full scale")
    jpeg_share: float = Field(
        0.3, ge=0, le=1, description="share of the images that goes through JPEG once more"
    )
    jpeg_quality: tuple[int, int] = Field((60, 95), description="range of that JPEG's quality")

    @field_validator("jpeg_quality")
    @classmethod
    def _is_a_range(cls, quality):
        low, high = quality
        if not 1 <= low <= high <= 100:
            raise ValueError(
                f"[{low}, {high}] is no range of qualities; give 1 <= low <= high <= 100"
            )
        return quality


class PaintedConfig(BaseModel):
    """Positives that are painted: a physical dust lane on a real galaxy of the training split."""

    model_config = _SETTINGS

    count: int = Field(0, ge=0, description="painted positives, and as many controls; 0: none")
    share: float = Field(
        0.25, ge=0, le=1, description="share of painted ones among the positives of a batch, at "
        "first; without real positives the shares of painted and synthetic ones are in proportion",
    )  # fmt: skip
    control_share: float = Field(
        0.15, ge=0, le=1, description="share of controls among the negatives of a batch, at first: "
        "the same galaxy through the same brush without a lane",
    )  # fmt: skip
    controls: dict[str, float] = Field(
        dict.fromkeys(CONTROLS, 1.0),
        description="kinds of controls and how often each is drawn: clear (no depth), beside (a "
        "lane beside the galaxy), screen (dust in front of all of it: redder, no lane)",
    )
    hosts: str = Field(
        "smooth", description="tags that the caption of a training negative must hold all of to be "
        "painted on; 'smooth' says early type; '' allows any caption",
    )  # fmt: skip
    uncaptioned: float = Field(
        0.0, ge=0, le=1, description="share of the training negatives without a caption, the most "
        "alike after half a turn, that is painted on as well: early types have neither arms nor "
        "clumps; 0: none",
    )  # fmt: skip
    reddest: float = Field(
        0.6, gt=0, le=1, description="share of the hosts with a caption, and of those without, the "
        "reddest, that is painted on: early types are red",
    )  # fmt: skip
    axis_ratio: float = Field(
        0.35, ge=0, le=1, description="least axis ratio of a host; flatter ones may be discs from "
        "their side",
    )  # fmt: skip
    contrast: float = Field(
        3.0, ge=0, description="least contrast of a lane over noise and eye (about 5 is seen by "
        "everybody); a lane that nobody sees is no positive",
    )  # fmt: skip
    kinds: dict[str, float] = Field(
        {"settled": 3.0, "lens": 2.0, "any": 2.0, "polar": 1.0, "ring": 1.0, "patches": 1.0},
        description=f"kinds of lanes and how often each is drawn: {', '.join(lanes.KINDS)}",
    )
    seeing: Literal["measured", "drawn"] = Field(
        "measured", description="how soft a lane is: measured reads the seeing off the grain of "
        "each picture's noise (SDSS), drawn draws it from that of galaxies of 4 to 15 arcsec",
    )  # fmt: skip

    @field_validator("kinds")
    @classmethod
    def _kinds_exist(cls, kinds):
        return _said(lanes.check_kinds, kinds)

    @field_validator("controls")
    @classmethod
    def _controls_exist(cls, controls):
        return _said(partial(check_weights, kinds=CONTROLS, called="control"), controls)


class ArtefactConfig(BaseModel):
    """Negatives that are spoilt on purpose by what is taken for a lane and is none."""

    model_config = _SETTINGS

    count: int = Field(0, ge=0, description="training negatives with an artefact; 0: none")
    share: float = Field(
        0.15, ge=0, le=1, description="share of them among the negatives of a batch, always"
    )
    positive_share: float = Field(
        0.15, ge=0, le=1, description="share of the painted positives that get an artefact as "
        "well, so that a neighbour is no proof of innocence",
    )  # fmt: skip
    kinds: dict[str, float] = Field(
        {"gap": 2.0, "trail": 1.0, "neighbour": 1.0, "pair": 2.0},
        description=f"kinds of artefacts and how often each is drawn: {', '.join(artefacts.KINDS)}",
    )

    @field_validator("kinds")
    @classmethod
    def _kinds_exist(cls, kinds):
        return _said(artefacts.check_kinds, kinds)


class VettedLabelsConfig(BaseModel):
    """Galaxies that people have looked at in an earlier search."""

    model_config = _SETTINGS

    tables: tuple[Path, ...] = Field(
        (), description="CSV files, one of each look: object_id, grade, and of a second pass "
        "grade_2; none: nobody has looked",
    )  # fmt: skip
    true_grades: tuple[str, ...] = Field(
        ("A", "B"), min_length=1, description="grades of the quarry; what every pass of every "
        "table graded so is a positive, what none did a negative beyond doubt, and the rest "
        "teaches nothing",
    )  # fmt: skip
    false_grades: tuple[str, ...] = Field(("C", "D", "X"), description="the other grades")
    share: float = Field(
        0.3, ge=0, le=1, description="share of these positives among those of a batch, always"
    )
    negative_share: float = Field(
        0.1, ge=0, le=1, description="share of these negatives among those of a batch, always: "
        "they were high in an earlier ranking and are none",
    )  # fmt: skip


class HardNegativesConfig(BaseModel):
    """Rounds in which the training negatives are scored, and those high up drawn more often."""

    model_config = _SETTINGS

    rounds: int = Field(0, ge=0, description="times that all are scored, evenly over the steps")
    share: float = Field(
        0.3, ge=0, le=0.5, description="share of hard ones among the real negatives of a batch "
        "after the first round; at most half, since some of them are unlisted quarry",
    )  # fmt: skip
    fraction: float = Field(
        0.02, gt=0, le=0.5, description="fraction of the real training negatives called hard"
    )
    leave_out: float = Field(
        0.002, ge=0, lt=0.5, description="fraction above these that is not called hard: of the "
        "order of the prevalence, since the most quarry-like may be just that",
    )  # fmt: skip


def _said(check, kinds):
    """What a check refuses, in the way that pydantic gathers it."""
    try:
        check(kinds)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return kinds


class DetectorConfig(BaseModel):
    """Every setting of one detector; travels inside its checkpoint."""

    model_config = _SETTINGS

    network: str = Field("resnet10t", description="any timm network")
    stem: Literal["standard", "fine"] = Field(
        "standard",
        description="fine leaves out the first pooling, so that thin lanes survive; costs 4 ×",
    )
    pretrained: Literal[False] | str = Field(
        False,
        description="false, the path of a safetensors file with weights to start from, or "
        "'hf-hub:OWNER/NAME' for those of a model hub, for example "
        "'hf-hub:timm/resnet10t.c3_in1k'",
    )
    size: int = Field(64, ge=16, description="side of the square input, in pixels")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=2, description="images per step")
    learning_rate: float = Field(2e-3, gt=0, description="peak; warm-up, then cosine to zero")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decoupled weight decay")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights per step")
    label_smoothing: float = Field(0.02, ge=0, lt=0.5, description="targets are this and 1 - this")
    loss: Literal["bce", "focal", "class_balanced"] = Field(
        "bce",
        description="bce: cross-entropy; focal: easy images count less (Lin et al. 2017); "
        "class_balanced: cross-entropy over the effective number of each class (Cui et al. 2019)",
    )
    focal_gamma: float = Field(2.0, ge=0, description="focal loss: how much less; 0: not at all")
    focal_alpha: float = Field(
        0.25, gt=0, lt=1, description="focal loss: weight of the positives; that of the others is "
        "1 - this",
    )  # fmt: skip
    balanced_beta: float = Field(
        0.999, ge=0, lt=1, description="class_balanced: n examples count as (1 - βⁿ) / (1 - β); 0: "
        "no balance, near 1: by the inverse of the number",
    )  # fmt: skip
    doubtful: float = Field(
        0.0, ge=0, lt=0.5, description="share of the real negatives of a batch, those with the "
        "highest loss, that teach nothing after the first fifth of the steps: where few of the "
        "quarry are listed, some of it, and much that looks like it, is among them",
    )  # fmt: skip
    positive_fraction: float = Field(
        0.3, gt=0, lt=1, description="share of positives in a batch; in the sky they are rare"
    )
    synthetic_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of synthetic ones among the positives of a batch, at first",
    )
    synthetic_negative_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of synthetic ones among the negatives of a batch, so that the "
        "generator's brush alone says nothing; at first",
    )
    synthetic_until: float = Field(
        0.7,
        gt=0,
        le=1,
        description="fraction of the steps over which the shares of synthetic and painted ones "
        "fall to nothing, so that real ones have the last word; without real positives they stay",
    )
    tag_weight: float = Field(
        0.3,
        ge=0,
        description="weight of the second task that the network shares while it trains: to name "
        "the tags of each real cutout's caption, its loss a sum over them; 0: none",
    )
    not_negative: str = Field(
        "",
        description="tags, as 'smooth, dust lane': a training cutout whose caption holds them all "
        "and that is on no list is taken for neither positive nor negative",
    )
    max_negatives: int = Field(
        100_000, ge=1, description="real negatives to hold in memory; a random choice beyond it"
    )
    augment: AugmentConfig = Field(AugmentConfig(), description="variation of training images")
    painted: PaintedConfig = Field(PaintedConfig(), description="dust lanes on real galaxies")
    artefacts: ArtefactConfig = Field(ArtefactConfig(), description="negatives spoilt on purpose")
    vetted: VettedLabelsConfig = Field(
        VettedLabelsConfig(),
        description="galaxies that people have looked at",
        exclude_if=lambda vetted: not vetted.tables,  # digests of before there were any stay
    )
    hard_negatives: HardNegativesConfig = Field(
        HardNegativesConfig(), description="rounds in which the most quarry-like are found"
    )
    calibration: Literal["platt", "temperature", "isotonic"] = Field(
        "platt",
        description="from score to probability: platt fits slope and shift, temperature the slope "
        "alone, isotonic any rising curve (wants some fifty positives)",
    )
    target_purity: float = Field(
        0.5, gt=0, lt=1, description="expected purity of the candidates at natural prevalence"
    )
    prevalence: float = Field(
        0.0036,
        gt=0,
        lt=0.5,
        description="assumed share of positives in the sky, as recognisable as the known ones",
    )
    ensemble: int = Field(1, ge=1, description="networks whose scores are averaged")
    folds: int = Field(
        1,
        ge=1,
        le=20,
        description="detectors that share the training galaxies: each is taught by those of all "
        "folds but one and scores that one, so that these galaxies are searched too; 1: one "
        "detector, taught by all of them, and the search split alone is searched",
        exclude_if=lambda folds: folds == 1,  # digests of before there were folds stay
    )
    views: Literal[1, 2, 4, 8] = Field(
        4, description="turned and mirrored views over which a score is averaged; each is a pass"
    )
    seed: int = Field(1, ge=0, description="everything random follows from it")

    @model_validator(mode="after")
    def _shares_leave_room_for_real_ones(self):
        painted = self.painted if self.painted.count else PaintedConfig(share=0, control_share=0)
        artefact_share = self.artefacts.share if self.artefacts.count else 0.0
        seen = self.vetted if self.vetted.tables else VettedLabelsConfig(share=0, negative_share=0)
        positives = self.synthetic_share + painted.share + seen.share
        negatives = self.synthetic_negative_share + painted.control_share
        negatives += artefact_share + seen.negative_share
        if positives > 1 or negatives >= 1:
            raise ValueError(
                "the shares are too large: synthetic_share + painted.share + vetted.share is "
                f"{positives:g} and may be 1; synthetic_negative_share + painted.control_share + "
                f"artefacts.share + vetted.negative_share is {negatives:g} and has to be below 1"
            )
        return self
