"""Every key that may stand in a run file, with its default and what it means."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from discovery.config import CatalogueConfig, RunConfig
from discovery.cutouts.config import FitsImages
from discovery.detector.config import (
    ArtefactConfig,
    AugmentConfig,
    DetectorConfig,
    HardNegativesConfig,
    PaintedConfig,
    VettedLabelsConfig,
)
from discovery.evidence.config import (
    AblationConfig,
    Arm,
    ClassArm,
    ClassificationConfig,
    ClassifierConfig,
    EvidenceConfig,
    InjectionConfig,
    Sky,
    VettedConfig,
)
from discovery.generator.config import (
    KINDS,
    PromptCount,
    PromptSet,
    SynthesisConfig,
    Training,
)
from discovery.generator.judge.config import JudgeConfig
from discovery.morphology.captions import CaptionRules
from discovery.neighbours.config import ClusterConfig
from discovery.surveys import SURVEYS
from discovery.surveys.base import KnownList

SECTIONS = {
    "before the first section": RunConfig,
    **{f'[[survey]] with kind = "{kind}"': survey for kind, survey in SURVEYS.items()},
    "[survey.published]": KnownList,
    "[survey.fits]": FitsImages,
    "[captions]": CaptionRules,
    "[generator]": Training,
    **{f'[generator] with kind = "{kind}"': settings for kind, settings in KINDS.items()},
    "[synthesis]": SynthesisConfig,
    "[[synthesis.prompts]]": PromptCount,
    "[synthesis.set]": PromptSet,
    "[judge]": JudgeConfig,
    "[detector]": DetectorConfig,
    "[detector.augment]": AugmentConfig,
    "[detector.painted]": PaintedConfig,
    "[detector.vetted]": VettedLabelsConfig,
    "[detector.artefacts]": ArtefactConfig,
    "[detector.hard_negatives]": HardNegativesConfig,
    "[cluster]": ClusterConfig,
    "[evidence]": EvidenceConfig,
    "[[evidence.sky]]": Sky,
    "[evidence.ablation]": AblationConfig,
    "[[evidence.ablation.arms]]": Arm,
    "[evidence.injection]": InjectionConfig,
    "[evidence.vetted]": VettedConfig,
    "[evidence.classification]": ClassificationConfig,
    "[evidence.classification.classifier]": ClassifierConfig,
    "[[evidence.classification.arms]]": ClassArm,
    "[catalogue]": CatalogueConfig,
}
WIDTH, INDENT = 100, 31


def describe() -> str:
    """A paragraph per section, a line or more per key: name, default, meaning."""
    return "\n\n".join("\n".join([title, *_lines(kind)]) for title, kind in SECTIONS.items())


def keys(kind: type) -> Iterator[tuple[str, Any, str]]:
    """(name, default, meaning) of each key of a section that is no section of its own.

    A default of `...` says that the key has to be given.
    """
    if is_dataclass(kind):
        for name, field in kind.__dataclass_fields__.items():
            meaning = "votes needed" if "minimum" in name else "fraction of the votes to reach"
            yield name, ... if field.default is MISSING else field.default, meaning
        return
    for name, field in kind.model_fields.items():
        if name not in _inner_sections(kind) | _told_before(kind):
            default = field.get_default(call_default_factory=True)
            yield name, ... if default is PydanticUndefined else default, field.description or ""


def _inner_sections(kind: type) -> set[str]:
    if kind is RunConfig:
        return set(RunConfig.model_fields) - {"name", "seed"}
    lists = {
        SynthesisConfig: {"prompts", "set"},
        AblationConfig: {"arms"},
        ClassificationConfig: {"arms", "classifier"},
        EvidenceConfig: {"sky", "ablation", "injection", "vetted", "classification"},
    }.get(kind, set())
    parts = {"augment", "painted", "artefacts", "hard_negatives"}
    return {"published", "fits"} | parts | lists


def _told_before(kind: type) -> set[str]:
    """What every kind of generator has, and this one as it is."""
    inherits = issubclass(kind, Training) and kind is not Training
    return set(Training.model_fields) - set(kind.__annotations__) if inherits else set()


def _lines(kind: type) -> list[str]:
    lines = []
    for name, default, meaning in keys(kind):
        start = f"  {name} = {_toml(default)}" if default is not ... else f"  {name}, to be given"
        wrapped = textwrap.wrap(meaning, WIDTH - INDENT)
        if len(start) >= INDENT:
            lines.append(start)
            start = ""
        for text in wrapped or [""] * bool(start):
            lines.append(f"{start:<{INDENT}}{text}".rstrip())
            start = ""
    return lines


def _toml(value: Any) -> str:
    if value is None:
        return "(nothing)"
    if isinstance(value, dict) and value:
        inner = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, (BaseModel, dict)):
        return "{}"
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(list(value) if isinstance(value, tuple) else value)
