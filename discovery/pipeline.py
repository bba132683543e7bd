"""The walk from a survey to a catalogue: steps in order, and what is done is not done twice."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discovery
from discovery.detector import vetted
from discovery.detector.network import build_network
from discovery.detector.train import start_file
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.estimate import expected_seconds
from discovery.files import digest, remove_leftovers, writing
from discovery.generator.checkpoint import require_start, start_digest
from discovery.progress import say
from discovery.run import MIXED, Manifest, Run, alone, remove
from discovery.steps import (
    catalogue_step,
    cluster_step,
    ingest_step,
    refuse_unknown_words,
    report_step,
    score_step,
    synthesize_step,
    train_generator_step,
    train_step,
)

# What the parts of a step's settings are called where they are no section of the run file.
CALLED = {
    "data": "the files of a survey",
    "start": "the generator to start from",
    "version": "the version of discovery",
    "vetted": "what people have said of galaxies",
}


@dataclass(frozen=True)
class Step:
    """One verb of the walk.

    Its digest covers `settings` and the digests of the steps it needs: when one of them changes,
    `outputs` are removed and made anew; while none does, a killed step continues in them.
    """

    name: str
    act: Callable[[Run], None]
    settings: Callable[[Run], dict[str, Any]]
    needs: tuple[str, ...]
    outputs: Callable[[Run], Sequence[Path]]


def steps(run: Run) -> list[Step]:
    """The steps of a run in order.

    Without [synthesis] it ends with the generator, without [catalogue] with the dreams.
    """
    beginning = [
        Step(
            "ingest",
            ingest_step,
            lambda run: (
                _settings(run, "survey", "captions", "seed")
                | {"data": [survey.fingerprint() for survey in run.config.survey]}
            ),
            (),
            lambda run: [run.cutouts, run.known, run.truth],
        ),
        Step(
            "train-generator",
            train_generator_step,
            lambda run: _settings(run, "generator") | {"start": start_digest(run.config.generator)},
            ("ingest",),
            lambda run: [run.generator],
        ),
    ]
    if run.config.synthesis is None:
        return beginning
    dreams = Step(
        "synthesize",
        synthesize_step,
        lambda run: _settings(run, "synthesis"),
        ("train-generator",),
        lambda run: [run.synthetic],
    )
    rest = _search_and_release(run) if run.config.searches else []
    return [*beginning, dreams, *rest]


def _search_and_release(run: Run) -> list[Step]:
    scored = tuple(f"score {variant}" for variant in run.variants)
    return [
        *(step for variant in run.variants for step in _search(variant)),
        Step(
            "cluster",
            cluster_step,
            lambda run: _settings(run, "cluster"),
            (f"score {MIXED}",),
            lambda run: [run.clusters],
        ),
        Step(
            "catalogue",
            catalogue_step,
            lambda run: _settings(run, "catalogue", "evidence"),
            ("cluster", *scored),
            lambda run: [run.catalogue],
        ),
        Step(
            "report",
            report_step,
            lambda run: _settings(run, "evidence", "name"),
            (*scored, "catalogue"),
            lambda run: [run.report, run.folder / "metrics.json"],
        ),
    ]


def _search(variant: str) -> list[Step]:
    examples = ("ingest", "synthesize") if variant == MIXED else ("ingest",)
    return [
        Step(
            f"train {variant}",
            lambda run: train_step(run, variant),
            lambda run: (
                _settings(run, "detector") | _looked_at(run) | start_file(run.config.detector)
            ),
            examples,
            lambda run: [run.detector(variant)],
        ),
        Step(
            f"score {variant}",
            lambda run: score_step(run, variant),
            lambda run: {},
            ("ingest", f"train {variant}"),
            lambda run: [run.scores(variant)],
        ),
    ]


def _looked_at(run: Run) -> dict:
    said = vetted.fingerprint(run.config.detector.vetted)
    return {} if said is None else {"vetted": said}


def _settings(run: Run, *sections: str) -> dict:
    # Where the files lie decides nothing; what they are is in the surveys' fingerprints.
    places = {
        "survey": {"__all__": {"path": True, "published": {"table": True}}},
        "detector": {"vetted": {"tables": True}},
    }
    # `discovery evidence` is no step: what it is asked decides nothing that the walk makes.
    asked = {"sky", "ablation", "injection", "vetted", "classification", "quoted_prevalence",
             "replicates"}  # fmt: skip
    values = run.config.model_dump(mode="json", exclude=places | {"evidence": asked})
    return {section: values[section] for section in sections}


def steps_of(run: Run, verb: str) -> list[str]:
    """The names of the verb's steps: `train` stands for `train mixed` and `train real-only`.

    Raises:
        BadInput: the run has no such step.
    """
    names = [step.name for step in steps(run)]
    chosen = [name for name in names if verb in (name, name.split()[0])]
    if not chosen:
        raise BadInput(
            f"{run.source} has no step {verb!r}; its steps: {', '.join(names)}. For the others "
            "give it [synthesis] and [catalogue]."
        )
    return chosen


def entries(walk: Sequence[Step], run: Run) -> dict[str, dict]:
    """What decides every step, as the manifest records it.

    `inputs` holds the digest of each part of its settings, `digest` that of all of them and of
    the digests of the steps it needs.
    """
    found: dict[str, dict] = {}
    version = {"version": discovery.__version__}
    for step in walk:
        settings = step.settings(run)
        needs = {name: found[name]["digest"] for name in step.needs}
        whole = {"step": step.name, "settings": settings, "needs": needs} | version
        parts = {part: digest(value) for part, value in settings.items()}
        found[step.name] = {"digest": digest(whole), "inputs": parts | version}
    return found


def validate(run: Run) -> None:
    """Refuse what could not succeed, before anything is computed.

    Raises:
        BadInput: a survey, the device, the generator to start from or the network is unusable.
    """
    for survey in run.config.survey:
        survey.validate()
    pick_device(run.device)
    require_start(run.config.generator)
    detector = run.config.detector
    if run.config.searches:
        for config in (detector, *_arms(run)):
            vetted.read_verdicts(config.vetted)
        build_network(detector.network, detector.stem, detector.pretrained)


def _arms(run):
    asked = run.config.evidence.ablation
    return [arm.config(run.config.detector, seed=0) for arm in (asked.expanded if asked else ())]


def walk(
    run: Run, only: Sequence[str] | None = None, redo: Sequence[str] = (), yes: bool = False
) -> None:
    """Take the steps that are not done, or `only` those named, in the run's folder.

    Args:
        redo: steps or verbs to do anew, with all that follows from them.
        yes: finished steps may be done anew where their settings changed or a file is gone.

    Raises:
        BadInput: the run could not succeed, a step named does not exist or lacks what it needs,
            or finished work would be removed and neither `redo` nor `yes` allows it.
    """
    plan = steps(run)
    chosen = [step for step in plan if only is None or step.name in only]
    redone = _redone(plan, run, redo)
    validate(run)
    with alone(run.folder):
        manifest = Manifest(run.folder)
        current = entries(plan, run)
        _check_needs(chosen, run, manifest, current)
        _check_words(run, manifest, current)
        if not yes:
            reasons = _outdated(plan, chosen, manifest, current)
            kept = {name: why for name, why in reasons.items() if name not in redone}
            _refuse_to_remove(kept, run, manifest, only)
        _copy_run_file(run)
        remove_leftovers(run.folder)
        manifest.forget(redone)
        for step in chosen:
            _take(step, plan, run, manifest, current[step.name])


def assist(run: Run, name: str) -> None:
    """Help another process, which walks, with a step that several can share.

    `accelerate launch` starts as many processes as there are GPUs; the first one walks, and the
    others compute with it and write nothing.

    Raises:
        BadInput: the run could not succeed, or lacks what the step needs.
    """
    plan = steps(run)
    (step,) = (step for step in plan if step.name == name)
    validate(run)
    manifest, current = Manifest(run.folder), entries(plan, run)
    _check_needs([step], run, manifest, current)
    if not manifest.is_done(name, current[name]["digest"]):
        step.act(run)


def _redone(plan: Sequence[Step], run: Run, redo: Sequence[str]) -> list[str]:
    return _with_followers(plan, [name for verb in redo for name in steps_of(run, verb)])


def _with_followers(plan: Sequence[Step], names: Iterable[str]) -> list[str]:
    chosen = set(names)
    for step in plan:
        if chosen & set(step.needs):
            chosen.add(step.name)
    return [step.name for step in plan if step.name in chosen]


def _check_needs(chosen: Sequence[Step], run: Run, manifest: Manifest, current: dict) -> None:
    names = [step.name for step in chosen]
    for step in chosen:
        for need in step.needs:
            if need not in names:
                _require(need, step.name, run, manifest, current)


def _require(need: str, name: str, run: Run, manifest: Manifest, current: dict) -> None:
    if not manifest.is_done(need, current[need]["digest"]):
        raise BadInput(
            f"{name} needs the step {need!r}, which is not done in {run.folder} or "
            f"was done with other settings. Type: discovery run {run.source}"
        )


def require(run: Run, needs: Sequence[str], verb: str) -> None:
    """Refuse a verb that is no step of the walk while a step that it needs is not done.

    Raises:
        BadInput: names the step and what to type; also as `validate`.
    """
    validate(run)
    manifest, current = Manifest(run.folder), entries(steps(run), run)
    for need in needs:
        _require(need, verb, run, manifest, current)


def _check_words(run: Run, manifest: Manifest, current: dict) -> None:
    # Before finished work makes room. Without captions the generator's step looks.
    if run.cutouts.exists() and manifest.is_done("ingest", current["ingest"]["digest"]):
        refuse_unknown_words(run)


def _outdated(
    plan: Sequence[Step], chosen: Sequence[Step], manifest: Manifest, current: dict
) -> dict[str, str]:
    """Finished steps that would be removed and done anew, each with the reason."""
    whys = {step.name: _why_anew(step.name, manifest, current[step.name]) for step in chosen}
    own = {name: why for name, why in whys.items() if why}
    return {
        name: own.get(name, "what it was made from is made anew")
        for name in _with_followers(plan, own)
        if manifest.is_finished(name)
    }


def _why_anew(name: str, manifest: Manifest, entry: dict) -> str | None:
    """Why a finished step cannot stay; None where it can, or is not finished."""
    if not manifest.is_finished(name) or manifest.is_done(name, entry["digest"]):
        return None
    if lost := manifest.lost_file(name):
        return f"{lost} is gone"
    before = manifest.steps[name].get("inputs", {})
    changed = [p for p, value in entry["inputs"].items() if before.get(p, value) != value]
    called = [CALLED.get(part, f"[{part}]") for part in changed]
    return f"{', '.join(called) or 'what it was made from'} changed"


def _refuse_to_remove(
    reasons: dict[str, str], run: Run, manifest: Manifest, only: Sequence[str] | None
) -> None:
    if not reasons:
        return
    lines = [
        f"  {name} (took {_duration(manifest.steps[name]['seconds']).strip()}): {why}"
        for name, why in reasons.items()
    ]
    verb = only[0].split()[0] if only else "run"
    raise BadInput(
        f"{run.folder} holds finished work that would be removed and done anew:\n"
        + "\n".join(lines)
        + f"\nTo do that, type: discovery {verb} {run.source} --yes\n"
        f"To keep it, give {run.source} another name = …; every name is a folder of its own."
    )


def _copy_run_file(run: Run) -> None:
    with writing(run.folder / "run.toml") as temporary:
        temporary.write_bytes(run.source.read_bytes())


def _take(step: Step, plan: Sequence[Step], run: Run, manifest: Manifest, entry: dict) -> None:
    if manifest.is_done(step.name, entry["digest"]):
        say(f"{step.name}: done before")
        return
    if manifest.is_underway(step.name, entry["digest"]):
        say(f"{step.name}: continues")
    else:
        # What follows was made from what is removed now, whatever becomes of this step.
        manifest.forget(_with_followers(plan, [step.name]))
        for output in step.outputs(run):
            remove(output)
        manifest.record(step.name, **entry)
    _act(step, run, manifest, entry)


def _act(step: Step, run: Run, manifest: Manifest, entry: dict) -> None:
    say(f"{step.name} …")
    start = time.monotonic()
    step.act(run)
    seconds = round(time.monotonic() - start, 1)
    manifest.finish(step.name, step.outputs(run), seconds=seconds, **entry)
    say(f"{step.name}: {seconds:,.0f} s")


def plan(run: Run, redo: Sequence[str] = ()) -> list[tuple[str, str, float]]:
    """What `walk` would do: (step, 'done' | 'to do' | 'to continue' | 'to do anew: why', seconds).

    Raises:
        BadInput: the run could not succeed, or has no step of that name.
    """
    walk = steps(run)
    redone = _redone(walk, run, redo)
    validate(run)
    manifest, current = Manifest(run.folder), entries(walk, run)
    _check_words(run, manifest, current)
    reasons = _outdated(walk, walk, manifest, current) | dict.fromkeys(redone, "--redo")
    states = {
        name: f"to do anew: {reasons[name]}" if name in reasons else _state(name, entry, manifest)
        for name, entry in current.items()
    }
    expected = expected_seconds(run)
    return [
        (name, state, 0.0 if state == "done" else expected.get(name, expected[name.split()[0]]))
        for name, state in states.items()
    ]


def _state(name: str, entry: dict, manifest: Manifest) -> str:
    if manifest.is_done(name, entry["digest"]):
        return "done"
    return "to continue" if manifest.is_underway(name, entry["digest"]) else "to do"


def describe_plan(run: Run, redo: Sequence[str] = ()) -> str:
    """The plan as lines for a person."""
    rows = plan(run, redo)
    lines = [f"{run.source} would work in {run.folder}:"]
    lines += [f"  {name:<16} {_duration(seconds)}  {state}" for name, state, seconds in rows]
    total = sum(seconds for _, _, seconds in rows)
    return "\n".join(
        [*lines, f"about {_duration(total).strip()} on two CPU cores; nothing was done"]
    )


def _duration(seconds: float) -> str:
    return f"{seconds:5.0f} s" if seconds < 100 else f"{seconds / 60:5.1f} min"
