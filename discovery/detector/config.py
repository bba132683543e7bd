"""What a detector is made of and how it is trained."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_SETTINGS = ConfigDict(frozen=True, extra="forbid")


class AugmentConfig(BaseModel):
    """How training images are varied; real and synthetic ones alike."""

    model_config = _SETTINGS

    affine_share: float = Field(
        0.5, ge=0, le=1, description="share of the images that is turned, zoomed and shifted"
    )
    zoom: float = Field(0.12, ge=0, lt=1, description="zoom up to 1 ± this")
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


class DetectorConfig(BaseModel):
    """Every setting of one detector; travels inside its checkpoint."""

    model_config = _SETTINGS

    network: str = Field("resnet10t", description="any timm network")
    stem: Literal["standard", "fine"] = Field(
        "standard",
        description="fine leaves out the first pooling, so that thin lanes survive; costs 4 ×",
    )
    pretrained: Literal[False] | str = Field(
        False, description="false, or the path of a safetensors file with weights to start from"
    )
    size: int = Field(64, ge=16, description="side of the square input, in pixels")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=2, description="images per step")
    learning_rate: float = Field(2e-3, gt=0, description="peak; warm-up, then cosine to zero")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decoupled weight decay")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights per step")
    label_smoothing: float = Field(0.02, ge=0, lt=0.5, description="targets are this and 1 - this")
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
        description="fraction of the steps over which the shares of synthetic ones fall to "
        "nothing, so that real ones have the last word; without real positives they stay",
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
    augment: AugmentConfig = AugmentConfig()
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
    views: Literal[1, 2, 4, 8] = Field(
        4, description="turned and mirrored views over which a score is averaged; each is a pass"
    )
    seed: int = Field(1, ge=0, description="everything random follows from it")
