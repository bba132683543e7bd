"""A run file (TOML) becomes one typed, frozen configuration; what it does not know, it refuses."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from discovery.detector.config import DetectorConfig
from discovery.errors import BadInput
from discovery.evidence.config import Arm, ClassArm, EvidenceConfig
from discovery.generator.classes import label_of
from discovery.generator.config import KINDS, GeneratorConfig, SynthesisConfig
from discovery.generator.judge.config import JudgeConfig
from discovery.morphology.captions import CaptionRules
from discovery.morphology.prompts import plain_text
from discovery.neighbours.config import ClusterConfig
from discovery.surveys import SURVEYS, FolderSurvey, GZ2Survey, MockSurvey
from discovery.surveys.base import NAME

Survey = Annotated[GZ2Survey | FolderSurvey | MockSurvey, Field(discriminator="kind")]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class CatalogueConfig(BaseModel):
    """What the released catalogue says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="one line: what the objects are")
    quarry: str = Field(
        "dusty early-type galaxies", description="what is searched for, in the plural"
    )
    acronym: str = Field(
        pattern=r"^[A-Z][A-Za-z0-9-]*$", description="first word of every object's IAU designation"
    )
    authors: tuple[str, ...] = Field(
        (), description="who made it, each 'Family, Given' or the name of a collaboration"
    )
    licence: str = Field("CC-BY-4.0", description="licence of the catalogue")
    acknowledgements: tuple[str, ...] = Field((), description="sentences, one a string")


class RunConfig(BaseModel):
    """Everything that decides the outcome of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, description="name of the run and of its folder")
    seed: int = Field(1, ge=0, description="decides the splits and, with its own, every step")
    survey: tuple[Survey, ...] = Field(min_length=1, description="where the cutouts come from")
    captions: CaptionRules = Field(CaptionRules(), description="when a vote becomes a word")
    generator: GeneratorConfig = Field(description="the diffusion model")
    synthesis: SynthesisConfig | None = Field(
        None, description="what the generator is asked to dream; without it the run ends before"
    )
    judge: JudgeConfig = Field(JudgeConfig(), description="what judge-generator looks at")
    detector: DetectorConfig = Field(DetectorConfig(), description="the binary detector")
    cluster: ClusterConfig = Field(ClusterConfig(), description="grouping of the candidates")
    evidence: EvidenceConfig = Field(EvidenceConfig(), description="comparisons to make")
    catalogue: CatalogueConfig | None = Field(None, description="the catalogue; needs synthesis")

    @model_validator(mode="after")
    def _names_of_surveys_differ(self):
        names = [survey.name for survey in self.survey]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two surveys are named {min(twice)!r}; every name is a folder")
        if "parts" in names:
            raise ValueError("a survey may not be named 'parts', the folder that ingest works in")
        return self

    @model_validator(mode="after")
    def _a_mock_stands_alone(self):
        mocks = [survey.name for survey in self.survey if survey.kind == "mock"]
        if mocks and len(self.survey) > 1:
            raise ValueError(
                f"the mock survey {mocks[0]!r} stands beside others; the judge needs the truth of "
                "every object searched, so give a mock a run file of its own"
            )
        return self

    @property
    def searches(self) -> bool:
        """Whether the walk goes on to a catalogue, or ends with the generator or its dreams."""
        return self.catalogue is not None

    @model_validator(mode="after")
    def _whole_walk_or_generator_alone(self):
        dreams_to_classify = self.synthesis and self.evidence.classification and not self.searches
        if (self.synthesis is not None) != self.searches and not dreams_to_classify:
            raise ValueError("give both [synthesis] and [catalogue] to search, or neither")
        return self

    @model_validator(mode="after")
    def _class_arms_can_be_taught(self):
        asked = self.evidence.classification
        for arm in asked.arms if asked else ():
            self._check_class_arm(arm)
        return self

    def _check_class_arm(self, arm: ClassArm) -> None:
        try:
            arm.config(self.evidence.classification.classifier)
        except ValidationError as error:
            told = _told(error, "evidence", "classification", "classifier")
            raise ValueError(f"arm {arm.name!r}: {told}") from None
        for name in arm.fill:
            self._check_fill(arm, name)

    def _check_fill(self, arm: ClassArm, name: str) -> None:
        classes = self.evidence.classification.classes
        dreamt = [p.prompt for p in self.synthesis.wanted] if self.synthesis else []
        if list(classes).index(name) not in {label_of(plain_text(p), classes) for p in dreamt}:
            raise ValueError(
                f"arm {arm.name!r} fills {name!r}, and no prompt under [[synthesis.prompts]] has "
                f"its tags; add one: prompt = {classes[name]!r}"
            )

    @model_validator(mode="after")
    def _has_cutouts_to_learn_from(self):
        needed = {"train": "to train on"}
        if self.searches:
            needed["validation"] = "to set the threshold on"
        if asked := self.evidence.classification:
            needed["search"] = "to judge classifiers on"
            if any(arm.config(asked.classifier).looks for arm in asked.arms):
                needed["validation"] = "to look at in between (looks)"
        for split, why in needed.items():
            if not any(getattr(survey, split) for survey in self.survey):
                raise ValueError(
                    f"{split} is 0 in every [[survey]]; give at least one some cutouts {why}"
                )
        return self

    @model_validator(mode="after")
    def _evidence_can_be_had(self):
        asked = self.evidence
        if not self.searches and (asked.ablation or asked.injection or asked.vetted):
            raise ValueError("[evidence] needs a search; give [synthesis] and [catalogue] too")
        if asked.sky and self.survey[0].kind != "mock":
            raise ValueError(
                "[[evidence.sky]] is a further mock sky, and this run's survey is no mock; real "
                "cutouts to judge on are a [[survey]] with train = 0, validation = 0, search = 1"
            )
        seeds = [sky.seed for sky in (*asked.sky, *self.survey) if asked.sky]
        if twice := {seed for seed in seeds if seeds.count(seed) > 1}:
            raise ValueError(
                f"[[evidence.sky]]: two skies have the seed {min(twice)}, the run's own counted; "
                "the same objects are no further ones"
            )
        return self

    @model_validator(mode="after")
    def _arms_are_detectors(self):
        for arm in self.evidence.ablation.expanded if self.evidence.ablation else ():
            self._check_arm(arm)
        return self

    def _check_arm(self, arm: Arm) -> None:
        if "seed" in arm.detector:
            raise ValueError(f"arm {arm.name!r}: seed is not an arm's; give seeds under ablation")
        if "folds" in arm.detector:
            raise ValueError(
                f"arm {arm.name!r}: folds is not an arm's; arms are compared on the search split, "
                "which teaches none of them"
            )
        try:
            arm.config(self.detector, seed=0)
        except ValidationError as error:
            raise ValueError(f"arm {arm.name!r}: {_told(error, 'detector')}") from None

    @model_validator(mode="after")
    def _has_positives_to_compare_with(self):
        compared = self.searches and self.evidence.compare_without_synthetic
        taught = self.detector.painted.count or self.detector.vetted.tables
        taught = taught or any(map(_may_teach, self.survey))
        if compared and not taught:
            raise ValueError(
                "a detector without synthetic cutouts has no positive to learn from: no survey has "
                "published objects with in_training = true; set compare_without_synthetic = false "
                "under [evidence]"
            )
        return self


def _may_teach(survey: Survey) -> bool:
    return survey.kind == "mock" or bool(survey.published and survey.published.in_training)


def load_config(path: Path) -> RunConfig:
    """Read a run file; `${NAME:-default}` in a string stands for an environment variable.

    Raises:
        BadInput: the file is missing or not TOML, a key is unknown, missing or of a wrong value.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput(
            f"no run file {path}; shipped ones are in runs/, e.g. runs/demo.toml."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise BadInput(f"{path} is not a run file in TOML: {error}") from None
    try:
        return RunConfig.model_validate(_expand(values, path))
    except ValidationError as error:
        raise BadInput(f"{path}:\n" + "\n".join(_explain(error))) from None


def _expand(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path) for item in value]
    return _VARIABLE.sub(lambda m: _variable(m, path), value) if isinstance(value, str) else value


def _variable(match: re.Match, path: Path) -> str:
    name, default = match.groups()
    value = os.environ.get(name) or default
    if value is None:
        raise BadInput(f"{path} uses ${{{name}}}, which is not set; type: export {name}=…")
    return value


def _explain(error: ValidationError) -> list[str]:
    problems = error.errors()
    # A list is called too short after its only entry was refused: that is no second problem.
    echoes = [p for p in problems if p["type"] == "too_short" and _has_inner(p["loc"], problems)]
    return [f"  {_place(p)}: {_reason(p)}" for p in problems if p not in echoes]


def _told(error: ValidationError, *section: str) -> str:
    """What is wrong with the settings of an arm, which stand in no section of their own."""
    wrong = [problem | {"loc": (*section, *problem["loc"])} for problem in error.errors()]
    return "; ".join(f"{_place(problem)}: {_reason(problem)}" for problem in wrong)


def _has_inner(place: tuple, problems: list[dict]) -> bool:
    return any(p["loc"][: len(place)] == place != p["loc"] for p in problems)


def _place(problem: dict) -> str:
    # Which class a kind has is pydantic's affair; the reader wrote [[survey]] or [generator].
    parts = [str(p) for p in _without_kind(problem["loc"])]
    return ".".join(parts) or "run file"


def _without_kind(place: tuple) -> tuple:
    """('survey', 0, 'mock', key) → ('survey', 0, key), and so for ('generator', 'pixel', key)."""
    at, kinds = {"survey": (2, SURVEYS), "generator": (1, KINDS)}.get(
        place[:1] and place[0], (0, ())
    )
    return place[:at] + place[at + 1 :] if len(place) > at and place[at] in kinds else place


def _reason(problem: dict) -> str:
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key; known here: {', '.join(_known_keys(problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return "missing; it has to be given"
    if problem["type"] == "unknown_kind":
        return f"{problem['msg']} (given: {problem['input']['kind']!r})"
    said, given = problem["msg"].removeprefix("Value error, "), problem["input"]
    # What concerns several keys was given the whole section or file; it says itself what is wrong.
    return said if isinstance(given, (dict, BaseModel)) else f"{said} (given: {given!r})"


def _known_keys(place: tuple) -> list[str]:
    kind: Any = RunConfig
    for part in place:
        if isinstance(part, str):
            kind = _of_kind(part) or _inner_model(_fields(kind)[part])
    return sorted(_fields(kind))


def _of_kind(part: str) -> Any:
    return SURVEYS.get(part) or KINDS.get(part)


def _fields(kind: Any) -> dict:
    return getattr(kind, "model_fields", None) or kind.__dataclass_fields__


def _inner_model(field: Any) -> Any:
    kind = getattr(field, "annotation", None) or field.type
    inner = [a for a in getattr(kind, "__args__", ()) if hasattr(a, "model_fields")]
    return inner[0] if inner else kind
