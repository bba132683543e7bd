"""`discovery evidence`: what is to be proven, as tables, figures and one page.

evidence/evidence.json, index.html, tables/ (CSV and Markdown), figures/ (PNG and PDF)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.config import RunConfig
from discovery.errors import BadInput
from discovery.evidence import (
    ablation,
    calibration,
    classification,
    classification_galaxies,
    injection,
    known,
    vetted,
)
from discovery.evidence.evidence_page import FOUND, write_evidence
from discovery.evidence.sample import open_sample
from discovery.files import digest, read_json, sha256_file, write_json
from discovery.progress import say
from discovery.run import Manifest, Run

Found = dict


LAYOUT = 3  # of what a part of evidence.json holds and means; the page cannot show another
FOR_ALL = ("natural_prevalence", "quoted_prevalence", "replicates", "sky")
LOOKED_AT = ("ablation", "injection", "vetted")


@dataclass(frozen=True)
class Part:
    """A section of the evidence: how it is made, and what it needs of the walk."""

    make: Callable[[Run, Path], Found]
    needs_scores: bool = True


PARTS = {
    "ablation": Part(lambda run, out: ablation.ablate(run, open_sample(run), out), False),
    "injection": Part(injection.inject),
    "known": Part(known.rank_known),
    "vetted": Part(vetted.judge_vetted),
    "calibration": Part(lambda run, out: calibration.judge_calibration(run, open_sample(run), out)),
    "classification": Part(classification.classify, False),
}


def asked_for(config: RunConfig, only: Sequence[str] = ()) -> list[str]:
    """The parts to make: `only` those named, or all that this run can have.

    Raises:
        BadInput: the run makes no search, or cannot have a part that is named.
    """
    if not config.searches and config.evidence.classification is None:
        raise BadInput(
            "this run makes no search to prove anything of; give its run file [synthesis] and "
            "[catalogue]."
        )
    possible = [name for name in PARTS if _is_possible(config, name)]
    for name in only:
        if name not in possible:
            raise BadInput(f"{name} cannot be made: {_why_not(config, name)}.")
    return [name for name in possible if not only or name in only]


def _is_possible(config: RunConfig, name: str) -> bool:
    if not config.searches and name != "classification":
        return False
    if name == "calibration":
        return config.survey[0].kind == "mock"
    return name == "known" or getattr(config.evidence, name) is not None


def _why_not(config: RunConfig, name: str) -> str:
    if not config.searches and name != "classification":
        return "the run makes no search; give its run file [synthesis] and [catalogue]"
    if name == "calibration":
        return "it needs the truth of every object, which a mock sky alone has"
    return (
        f"the run file has no section [evidence.{name}]; `discovery settings` prints its keys, and "
        "docs/evidence.md explains them"
    )


def needs(run: Run, names: Sequence[str]) -> list[str]:
    """The steps of the walk that have to be done before."""
    steps = {"ingest"}
    if "ablation" in names:
        steps |= set(ablation.needs(run.config.evidence.ablation))
    if "classification" in names:
        steps |= set(classification_galaxies.needs(run.config.evidence.classification))
    if any(PARTS[name].needs_scores for name in names):
        steps |= {f"score {variant}" for variant in run.variants}
    return sorted(steps)


def prove(run: Run, names: Sequence[str]) -> str:
    """Make the parts named; what others have found in this run before stays on the page.

    Returns:
        what to tell the user.
    """
    folder = run.folder / "evidence"
    for name in names:
        say(f"evidence: {name} …")
        made = PARTS[name].make(run, folder) | {"made_from": _made_from(run, name)}
        found = _kept(run) | {name: made}
        write_json(folder / FOUND, found)
    page = write_evidence(folder, run.config)
    return f"proven: {', '.join(names)}; read {page}"


def _kept(run: Run) -> Found:
    """What was found before of the same cutouts, dreams and detectors."""
    path = run.folder / "evidence" / FOUND
    found = read_json(path) if path.exists() else {}
    possible = asked_for(run.config)
    return {
        name: part
        for name, part in found.items()
        if name in possible and part["made_from"] == _made_from(run, name)
    }


def _made_from(run: Run, name: str) -> str:
    """Digest of what decides a part: steps of the walk, settings, what people said."""
    done, config = Manifest(run.folder).steps, run.config
    decides = {
        "layout": LAYOUT,
        "steps": {step: done.get(step, {}).get("digest") for step in needs(run, [name])},
    }
    settings, sample = {name, *FOR_ALL}, config.evidence.vetted
    if name == "ablation":
        decides["detector"] = config.detector.model_dump(mode="json")
    if name in LOOKED_AT:
        settings.add("vetted")
        tables = [*config.detector.vetted.tables]
        tables += [sample.table, *sample.earlier] if sample else []
        decides["looked_at"] = [sha256_file(path) for path in tables if path.exists()]
    decides["settings"] = config.evidence.model_dump(mode="json", include=settings)
    return digest(decides)
