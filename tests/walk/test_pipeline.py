"""What is done anew, what is kept, and what is refused, without a whole walk."""

from pathlib import Path

import pytest

import discovery
from discovery import pipeline, release
from discovery.config import load_config
from discovery.errors import BadInput
from discovery.files import write_json
from discovery.pipeline import Step
from discovery.run import Manifest, Run
from discovery.surveys import FolderSurvey

RUN_FILE = Path(__file__).parent / "tiny.toml"


@pytest.fixture
def run(tmp_path):
    return Run(load_config(RUN_FILE), tmp_path / "tiny", RUN_FILE)


def with_config(run, **changes):
    return Run(run.config.model_copy(update=changes), run.folder, run.source)


def chain(made):
    """Two steps: `first` writes a, `second` needs it and writes b."""

    def step(name, *needs):
        def act(run):
            made.append(name)
            (run.folder / name).write_text(name)

        return Step(name, act, lambda run: run.config.seed, needs, lambda run: [run.folder / name])

    return [step("first"), step("second", "first")]


def test_a_step_begun_anew_forgets_its_followers_first(run, monkeypatch):
    made = []
    plan = chain(made)
    monkeypatch.setattr(pipeline, "steps", lambda run: plan)
    pipeline.walk(run)
    # `first` anew with another seed, killed before `second`; then the old seed again.
    pipeline.walk(with_config(run, seed=4), only=["first"])
    assert list(Manifest(run.folder / "manifest.json").steps) == ["first"]
    pipeline.walk(run)
    assert made == ["first", "second", "first", "first", "second"]
    pipeline.walk(run)
    assert len(made) == 5


def test_release_and_report_need_every_score_and_metrics_are_the_reports(run):
    steps = {step.name: step for step in pipeline.steps(run)}
    for name in ("release", "report"):
        assert {"score mixed", "score real-only"} <= set(steps[name].needs)
    assert run.folder / "metrics.json" in steps["report"].outputs(run)


def test_a_verb_without_a_step_is_refused(run):
    alone = with_config(run, synthesis=None, catalogue=None)
    assert pipeline.steps_of(run, "train") == ["train mixed", "train real-only"]
    assert pipeline.steps_of(alone, "train-generator") == ["train-generator"]
    with pytest.raises(BadInput, match=r"no step 'train'; its steps: ingest, train-generator\."):
        pipeline.steps_of(alone, "train")


def test_another_generator_to_start_from_trains_anew(run, tmp_path):
    start = tmp_path / "start"
    generator = run.config.generator.model_copy(update={"start": str(start)})
    tuned = with_config(run, generator=generator)
    seen = []
    for stated in (None, "one", "other", "other"):
        if stated:
            write_json(start / "generator.json", {"digest": stated})
        seen.append(pipeline.digests(pipeline.steps(tuned), tuned)["train-generator"])
    assert len(set(seen)) == 3
    assert seen[2] == seen[3]


def test_changed_files_of_a_survey_are_ingested_anew(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"one")
    survey = FolderSurvey(name="folder", path=images)
    changed = with_config(run, survey=(survey,))
    before, same = (pipeline.digests(pipeline.steps(changed), changed) for _ in range(2))
    (images / "b.png").write_bytes(b"another")
    after = pipeline.digests(pipeline.steps(changed), changed)
    assert before == same
    assert all(before[step] != after[step] for step in before)


def test_the_commit_is_that_of_the_packages_own_repository(tmp_path, monkeypatch):
    assert release._commit() != ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert release._commit() == "released"
    monkeypatch.undo()
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(discovery, "__file__", str(tmp_path / "site/discovery/__init__.py"))
    assert release._commit() == "released"
