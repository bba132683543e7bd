"""`discovery evidence`: what the run file asks to be proven, as tables, figures and one page.

evidence/evidence.json, index.html, tables/ (CSV and Markdown), figures/ (PNG and PDF)
"""

from collections.abc import Callable, Sequence

from discovery.config import RunConfig
from discovery.errors import BadInput
from discovery.evidence import ablation
from discovery.evidence.evidence_page import FOUND, write_evidence
from discovery.evidence.sample import open_sample
from discovery.files import digest, read_json, write_json
from discovery.progress import say
from discovery.run import Manifest, Run

Found = dict


def _ablation(run: Run) -> Found:
    return ablation.ablate(run, open_sample(run), run.folder / "evidence")


SECTIONS: dict[str, Callable[[Run], Found]] = {"ablation": _ablation}


def asked_for(config: RunConfig, only: Sequence[str] = ()) -> list[str]:
    """The sections to make: `only` those named, or all that the run file asks for.

    Raises:
        BadInput: it asks for none, or not for one that is named.
    """
    asked = [name for name in SECTIONS if _is_asked(config, name)]
    if missing := [name for name in only if name not in asked]:
        raise BadInput(
            f"the run file does not ask for {missing[0]}; give it a section "
            f"[evidence.{missing[0]}] (`discovery settings` has its keys)."
        )
    if not asked:
        raise BadInput(
            "the run file asks for no evidence; give it [evidence.ablation], [evidence.injection] "
            "or [evidence.vetted] (`discovery settings` has their keys)."
        )
    return [name for name in asked if not only or name in only]


def _is_asked(config: RunConfig, name: str) -> bool:
    return getattr(config.evidence, name, None) is not None


def needs(config: RunConfig, names: Sequence[str]) -> list[str]:
    """The steps of the walk that have to be done before."""
    return sorted({step for name in names for step in ablation.needs(config.evidence.ablation)})


def prove(run: Run, names: Sequence[str]) -> str:
    """Make the sections named; what others have found in this run before stays on the page.

    Returns:
        what to tell the user.
    """
    folder = run.folder / "evidence"
    for name in names:
        say(f"evidence: {name} …")
        found = _kept(run) | {name: SECTIONS[name](run) | {"made_from": _made_from(run)}}
        write_json(folder / FOUND, found)
    page = write_evidence(folder, run.config)
    return f"proven: {', '.join(names)}; read {page}"


def _kept(run: Run) -> Found:
    """What was found before of the same cutouts, dreams and detectors."""
    path = run.folder / "evidence" / FOUND
    found = read_json(path) if path.exists() else {}
    return {name: part for name, part in found.items() if part["made_from"] == _made_from(run)}


def _made_from(run: Run) -> str:
    steps = Manifest(run.folder).steps
    return digest({name: entry["digest"] for name, entry in steps.items()})
