"""The walk from a survey to a catalogue: steps in order, and what is done is not done twice."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discovery
from discovery.errors import BadInput
from discovery.estimate import expected_seconds
from discovery.files import digest, remove_leftovers, writing
from discovery.generator.model import stated_digest
from discovery.progress import say
from discovery.run import MIXED, Manifest, Run, alone, remove
from discovery.steps import (
    cluster_step,
    ingest_step,
    release_step,
    report_step,
    score_step,
    synthesize_step,
    train_generator_step,
    train_step,
)


@dataclass(frozen=True)
class Step:
    """One verb of the walk.

    Its digest covers `settings` and the digests of the steps it needs: when one of them changes,
    `outputs` are removed and made anew; while none does, a killed step continues in them.
    """

    name: str
    act: Callable[[Run], None]
    settings: Callable[[Run], Any]
    needs: tuple[str, ...]
    outputs: Callable[[Run], Sequence[Path]]


def steps(run: Run) -> list[Step]:
    """The steps of a run in order; without [synthesis] it ends with the generator."""
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
            lambda run: _settings(run, "generator") | {"start": _start_digest(run)},
            ("ingest",),
            lambda run: [run.generator],
        ),
    ]
    return beginning if run.config.synthesis is None else beginning + _search_and_release(run)


def _search_and_release(run: Run) -> list[Step]:
    scored = tuple(f"score {variant}" for variant in run.variants)
    return [
        Step(
            "synthesize",
            synthesize_step,
            lambda run: _settings(run, "synthesis"),
            ("train-generator",),
            lambda run: [run.synthetic],
        ),
        *(step for variant in run.variants for step in _search(variant)),
        Step(
            "cluster",
            cluster_step,
            lambda run: _settings(run, "cluster"),
            (f"score {MIXED}",),
            lambda run: [run.clusters],
        ),
        Step(
            "release",
            release_step,
            lambda run: _settings(run, "catalogue", "evidence"),
            ("cluster", *scored),
            lambda run: [run.release],
        ),
        Step(
            "report",
            report_step,
            lambda run: _settings(run, "evidence", "name"),
            (*scored, "release"),
            lambda run: [run.report, run.folder / "metrics.json"],
        ),
    ]


def _search(variant: str) -> list[Step]:
    examples = ("ingest", "synthesize") if variant == MIXED else ("ingest",)
    return [
        Step(
            f"train {variant}",
            lambda run: train_step(run, variant),
            lambda run: _settings(run, "detector"),
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


def _settings(run: Run, *sections: str) -> dict:
    values = run.config.model_dump(mode="json")
    return {section: values[section] for section in sections}


def _start_digest(run: Run) -> str | None:
    start = run.config.generator.start
    return None if start == "scratch" else stated_digest(start)


def steps_of(run: Run, verb: str) -> list[str]:
    """The names of the verb's steps: `train` stands for `train mixed` and `train real-only`.

    Raises:
        BadInput: the run has no such step.
    """
    names = [step.name for step in steps(run)]
    chosen = [name for name in names if name.split()[0] == verb]
    if not chosen:
        raise BadInput(
            f"{run.source} has no step {verb!r}; its steps: {', '.join(names)}. For the others "
            "give it [synthesis] and [catalogue]."
        )
    return chosen


def digests(walk: Sequence[Step], run: Run) -> dict[str, str]:
    """The digest of every step: of its settings and of the digests of what it needs."""
    found: dict[str, str] = {}
    for step in walk:
        found[step.name] = digest(
            {
                "step": step.name,
                "settings": step.settings(run),
                "needs": {name: found[name] for name in step.needs},
                "version": discovery.__version__,
            }
        )
    return found


def walk(run: Run, only: Sequence[str] | None = None, redo: Sequence[str] = ()) -> None:
    """Take the steps that are not done, or `only` those named, in the run's folder.

    Raises:
        BadInput: a survey is unusable, a step named does not exist or lacks what it needs.
    """
    plan = steps(run)
    _check_names(plan, [*redo, *(only or ())])
    for survey in run.config.survey:
        survey.validate()
    with alone(run.folder):
        _copy_run_file(run)
        remove_leftovers(run.folder)
        manifest = Manifest(run.folder / "manifest.json")
        manifest.forget(_with_followers(plan, redo))
        current = digests(plan, run)
        for step in plan:
            if only is None or step.name in only:
                _take(step, plan, run, manifest, current)


def _check_names(plan: Sequence[Step], names: Sequence[str]) -> None:
    known = [step.name for step in plan]
    for name in names:
        if name not in known:
            raise BadInput(f"no step {name!r} in this run; its steps: {', '.join(known)}.")


def _with_followers(plan: Sequence[Step], names: Sequence[str]) -> list[str]:
    chosen = list(names)
    for step in plan:
        if step.name not in chosen and any(need in chosen for need in step.needs):
            chosen.append(step.name)
    return chosen


def _copy_run_file(run: Run) -> None:
    with writing(run.folder / "run.toml") as temporary:
        temporary.write_bytes(run.source.read_bytes())


def _take(step: Step, plan: Sequence[Step], run: Run, manifest: Manifest, digests: dict) -> None:
    for need in step.needs:
        if not manifest.is_done(need, digests[need]):
            raise BadInput(
                f"{step.name} needs the step {need!r}, which is not done in {run.folder} or was "
                f"done with other settings. Type: discovery run {run.source}"
            )
    if manifest.is_done(step.name, digests[step.name]):
        say(f"{step.name}: done before")
        return
    if not manifest.is_begun(step.name, digests[step.name]):
        # What follows was made from what is removed now, whatever becomes of this step.
        manifest.forget(_with_followers(plan, [step.name]))
    _act(step, run, manifest, digests[step.name])


def _act(step: Step, run: Run, manifest: Manifest, digest: str) -> None:
    if not manifest.is_begun(step.name, digest):
        for output in step.outputs(run):
            remove(output)
        manifest.record(step.name, digest=digest)
    else:
        say(f"{step.name}: continues")
    say(f"{step.name} …")
    start = time.monotonic()
    step.act(run)
    seconds = round(time.monotonic() - start, 1)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest.record(step.name, digest=digest, seconds=seconds, finished=now)
    say(f"{step.name}: {seconds:,.0f} s")


def plan(run: Run) -> list[tuple[str, str, float]]:
    """What `walk` would do: (step, 'done' | 'to do' | 'to continue', expected seconds).

    Raises:
        BadInput: a survey is unusable.
    """
    for survey in run.config.survey:
        survey.validate()
    manifest = Manifest(run.folder / "manifest.json")
    expected = expected_seconds(run)
    walk = steps(run)
    current = digests(walk, run)
    states = {step.name: _state(step.name, current[step.name], manifest) for step in walk}
    return [
        (name, state, 0.0 if state == "done" else expected[name.split()[0]])
        for name, state in states.items()
    ]


def _state(name: str, digest: str, manifest: Manifest) -> str:
    if manifest.is_done(name, digest):
        return "done"
    return "to continue" if manifest.is_begun(name, digest) else "to do"


def describe_plan(run: Run) -> str:
    """The plan as lines for a person."""
    rows = plan(run)
    lines = [f"{run.source} would work in {run.folder}:"]
    lines += [f"  {name:<16} {state:<12} {_duration(seconds)}" for name, state, seconds in rows]
    total = sum(seconds for _, _, seconds in rows)
    return "\n".join(
        [*lines, f"about {_duration(total).strip()} on two CPU cores; nothing was done"]
    )


def _duration(seconds: float) -> str:
    return f"{seconds:5.0f} s" if seconds < 100 else f"{seconds / 60:5.1f} min"
