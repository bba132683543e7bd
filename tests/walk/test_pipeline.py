"""What is done anew, what is kept, and what is refused, without a whole walk."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import discovery
from discovery import pipeline, steps
from discovery.cli import main
from discovery.config import load_config
from discovery.cutouts import CutoutStore, write_shard
from discovery.errors import BadInput
from discovery.files import write_json
from discovery.generator.config import PromptCount
from discovery.pipeline import Step
from discovery.report import closing_words
from discovery.run import MIXED, Manifest, Run, commit
from discovery.steps import train_generator_step
from discovery.surveys import FolderSurvey
from discovery.surveys.base import KnownList

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

        settings = (lambda run: {}) if needs else (lambda run: {"seed": run.config.seed})
        return Step(name, act, settings, needs, lambda run: [run.folder / name])

    return [step("first"), step("second", "first")]


@pytest.fixture
def made(monkeypatch):
    """The names of the steps that were taken, of a walk with only two."""
    taken = []
    plan = chain(taken)
    monkeypatch.setattr(pipeline, "steps", lambda run: plan)
    return taken


def test_a_step_begun_anew_forgets_its_followers_first(run, made):
    pipeline.walk(run)
    # `first` anew with another seed, killed before `second`; then the old seed again.
    pipeline.walk(with_config(run, seed=4), only=["first"], yes=True)
    assert list(Manifest(run.folder).steps) == ["first"]
    pipeline.walk(run, yes=True)
    assert made == ["first", "second", "first", "first", "second"]
    pipeline.walk(run)
    assert len(made) == 5


def test_a_process_that_assists_takes_a_step_and_records_nothing(run, made):
    with pytest.raises(BadInput, match="second needs the step 'first', which is not done"):
        pipeline.assist(run, "second")
    pipeline.walk(run, only=["first"])
    pipeline.assist(run, "second")
    assert made == ["first", "second"]
    assert list(Manifest(run.folder).steps) == ["first"]
    pipeline.walk(run)
    pipeline.assist(run, "second")  # done, by the process that walks
    assert made == ["first", "second", "second"]


@pytest.mark.parametrize("verb", ["run", "catalogue"])
def test_processes_share_the_training_of_a_generator_alone(verb, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(main, [verb, str(RUN_FILE)])
    assert result.exit_code == 2
    assert "accelerate launch -m discovery train-generator RUN.toml" in result.output


def test_finished_work_of_other_settings_stays_until_told(run, made):
    pipeline.walk(run)
    changed, before = with_config(run, seed=4), (run.folder / "manifest.json").read_bytes()
    with pytest.raises(BadInput) as refused:
        pipeline.walk(changed)
    told = str(refused.value)
    assert "first (took 0 s): [seed] changed\n" in told
    assert "second (took 0 s): what it was made from changed\n" in told
    assert f"type: discovery run {RUN_FILE} --yes" in told
    assert "another name" in told
    (run.folder / "second").unlink()
    with pytest.raises(BadInput, match=r"type: discovery second .* --yes"):
        pipeline.walk(run, only=["second"])
    (run.folder / "second").write_text("second")
    with pytest.raises(BadInput, match="first"):
        pipeline.walk(changed, redo=["second"])  # does not cover the first
    assert (run.folder / "manifest.json").read_bytes() == before
    assert made == ["first", "second"]
    pipeline.walk(changed, redo=["first"])
    assert made == ["first", "second"] * 2


def test_what_was_never_finished_is_begun_anew_without_a_question(run, made, monkeypatch):
    def killed(run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "steps", lambda run: [replace(s, act=killed) for s in chain([])])
        with pytest.raises(KeyboardInterrupt):
            pipeline.walk(run)
    pipeline.walk(with_config(run, seed=4))
    assert made == ["first", "second"]


def test_another_version_is_named_as_the_reason(run, made, monkeypatch):
    pipeline.walk(run)
    monkeypatch.setattr(discovery, "__version__", "99.0")
    with pytest.raises(BadInput, match=r"first \(took 0 s\): the version of discovery changed"):
        pipeline.walk(run)


def test_a_finished_step_is_not_believed_without_its_files(run, made):
    pipeline.walk(run)
    (run.folder / "first").unlink()
    with pytest.raises(BadInput, match=r"first is gone\n.*second .*made from is made anew\n"):
        pipeline.walk(run)
    assert [state for _, state, _ in plan_of(run)] == [
        "to do anew: first is gone",
        "to do anew: what it was made from is made anew",
    ]
    pipeline.walk(run, yes=True)
    assert made == ["first", "second"] * 2


def plan_of(run, redo=()):
    """`pipeline.plan`, also of steps that no walk has."""
    expected = dict.fromkeys(["first", "second"], 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "expected_seconds", lambda run: expected)
        return pipeline.plan(run, redo)


def test_catalogue_and_report_need_every_score_and_metrics_are_the_reports(run):
    steps = {step.name: step for step in pipeline.steps(run)}
    for name in ("catalogue", "report"):
        assert {"score mixed", "score real-only"} <= set(steps[name].needs)
    assert run.folder / "metrics.json" in steps["report"].outputs(run)


def test_a_verb_without_a_step_is_refused(run):
    alone = with_config(run, synthesis=None, catalogue=None)
    assert pipeline.steps_of(run, "train") == ["train mixed", "train real-only"]
    assert pipeline.steps_of(alone, "train-generator") == ["train-generator"]
    with pytest.raises(BadInput, match=r"no step 'train'; its steps: ingest, train-generator\."):
        pipeline.steps_of(alone, "train")


def digests(run):
    entries = pipeline.entries(pipeline.steps(run), run)
    return {name: entry["digest"] for name, entry in entries.items()}


def test_another_generator_to_start_from_trains_anew(run, tmp_path):
    start = tmp_path / "start"
    generator = run.config.generator.model_copy(update={"start": str(start)})
    tuned = with_config(run, generator=generator)
    seen = []
    for stated in (None, "one", "other", "other"):
        if stated:
            write_json(start / "generator.json", {"digest": stated})
        seen.append(digests(tuned)["train-generator"])
    assert len(set(seen)) == 3
    assert seen[2] == seen[3]


def test_changed_files_of_a_survey_are_ingested_anew(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"one")
    survey = FolderSurvey(name="folder", path=images)
    changed = with_config(run, survey=(survey,))
    before, same = digests(changed), digests(changed)
    (images / "b.png").write_bytes(b"another")
    after = digests(changed)
    assert before == same
    assert all(before[step] != after[step] for step in before)


def test_where_a_survey_lies_is_no_setting(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "images").mkdir(parents=True)
    (here / "images/a.png").write_bytes(b"one")
    (here / "known.csv").write_text("id\na\n")
    shutil.copytree(here, there)  # times of change included

    def at(place, **more):
        known = KnownList(table=place / "known.csv", id_column="id", bibcode="2012MNRAS.423...49K")
        survey = FolderSurvey(name="folder", path=place / "images", published=known, **more)
        return digests(with_config(run, survey=(survey,)))

    assert at(here) == at(there) == at(tmp_path / "there/../here")
    assert at(here)["ingest"] != at(here, crop=0.5)["ingest"]


def test_redo_takes_verbs_and_a_dry_run_shows_it(run, tmp_path):
    assert pipeline.steps_of(run, "train mixed") == ["train mixed"]
    manifest = Manifest(run.folder)
    for name, entry in pipeline.entries(pipeline.steps(run), run).items():
        manifest.finish(name, [], seconds=0.0, **entry)
    typed = ["run", str(RUN_FILE), "--runs", str(tmp_path), "--dry-run"]
    assert "to do" not in CliRunner().invoke(main, typed).output
    told = CliRunner().invoke(main, [*typed, "--redo", "score"]).output
    anew = [line.split("  ")[1] for line in told.splitlines() if "to do anew: --redo" in line]
    assert anew == ["score mixed", "score real-only", "cluster", "catalogue", "report"]
    refused = CliRunner().invoke(main, [*typed, "--redo", "scores"])
    assert refused.exit_code == 2
    assert "no step 'scores'; its steps: ingest, train-generator" in refused.output


def test_help_names_the_steps():
    told = " ".join(CliRunner().invoke(main, ["run", "--help"]).output.split())
    assert all(name in told for name in ("train-generator", "'train mixed'", "'score real-only'"))


@pytest.mark.parametrize(
    ("detector", "device", "match"),
    [
        ({"network": "resnet10tt"}, "auto", r"no network 'resnet10tt'; similar ones are resnet10t"),
        ({"network": "test_vit", "stem": "fine"}, "auto", 'set stem = "standard"'),
        ({"pretrained": "none.safetensors"}, "auto", r"none\.safetensors does not exist"),
        ({}, "gpu", "no device 'gpu'"),
    ],
)
def test_what_could_not_succeed_is_refused_before_anything_is_done(run, detector, device, match):
    wrong = with_config(run, detector=run.config.detector.model_copy(update=detector))
    for refuse in (pipeline.walk, pipeline.plan):
        with pytest.raises(BadInput, match=match):
            refuse(replace(wrong, device=device))
    assert not run.folder.exists()


def test_a_start_that_is_no_generator_is_refused_at_once(run, tmp_path):
    generator = run.config.generator.model_copy(update={"start": str(tmp_path)})
    with pytest.raises(BadInput, match=r"is no generator: it lacks generator\.json"):
        pipeline.walk(with_config(run, generator=generator))
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        (
            "mock, smooth, {dust lain:1.3}",
            "never saw 'lain'.*Tags it knows: dust lane, mock, smooth",
        ),
        (", ".join(["smooth"] * 40), "42 tokens; 32 fit"),
    ],
)
def test_prompts_are_refused_before_the_generator_is_trained(run, prompt, match):
    row = {"object_id": "a", "image": b"", "crop": 1.0, "split": "train"}
    write_shard([row | {"caption": "mock, smooth, dust lane"}], run.cutouts / "00000.parquet")
    prompts = (PromptCount(prompt=prompt, count=1),)
    wrong = with_config(run, synthesis=run.config.synthesis.model_copy(update={"prompts": prompts}))
    with pytest.raises(BadInput, match=match):
        train_generator_step(wrong)


def test_tags_that_no_caption_has_are_refused_before_the_generator_is_trained(run):
    row = {"object_id": "a", "image": b"", "crop": 1.0, "split": "train"}
    write_shard([row | {"caption": "mock, smooth, dust lane"}], run.cutouts / "00000.parquet")
    detector = run.config.detector.model_copy(update={"not_negative": "smooth, dust lain"})
    with pytest.raises(BadInput, match=r"not_negative names 'dust lain'.*dust lane, mock, smooth"):
        train_generator_step(with_config(run, detector=detector))


@pytest.mark.parametrize(
    "wrong",
    [
        {"generator": {"emphasis": {"dust lain": 2.0}}},
        {"detector": {"not_negative": "dust lain"}},
        {"synthesis": {"prompts": (PromptCount(prompt="mock, {dust lain:1.3}", count=1),)}},
    ],
)
def test_a_misspelt_word_removes_nothing_that_is_finished(run, wrong):
    row = {"object_id": "a", "image": b"", "crop": 1.0, "split": "train"}
    write_shard([row | {"caption": "mock, smooth, dust lane"}], run.cutouts / "00000.parquet")
    (run.folder / "run.toml").write_text("as it was run")
    kept = run.detector(MIXED) / "model.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"finished")
    manifest = Manifest(run.folder)
    for name, entry in pipeline.entries(pipeline.steps(run), run).items():
        manifest.finish(name, [kept] if name == "train mixed" else [], seconds=0.0, **entry)
    changed = {
        section: getattr(run.config, section).model_copy(update=keys)
        for section, keys in wrong.items()
    }
    for refuse in (lambda r: pipeline.walk(r, yes=True), pipeline.plan):
        with pytest.raises(BadInput, match="lain'"):
            refuse(with_config(run, **changed))
    assert kept.exists()
    assert (run.folder / "run.toml").read_text() == "as it was run"


def test_words_of_the_generator_to_start_from_are_known(run):
    row = {"object_id": "a", "image": b"", "crop": 1.0, "split": "train", "caption": "own"}
    write_shard([row], run.cutouts / "00000.parquet")
    generator = run.config.generator.model_copy(update={"start": "shipped"})
    with pytest.raises(BadInput, match="cutout a"):  # the prompts pass, the image does not
        train_generator_step(with_config(run, generator=generator))


def test_an_empty_split_is_refused_after_ingest(tmp_path):
    rows = [{"object_id": s, "image": b"", "crop": 1.0, "split": s} for s in ("train", "search")]
    write_shard(rows, tmp_path / "00000.parquet")
    with pytest.raises(BadInput, match="of 2 cutouts none is in the split 'validation'"):
        steps._refuse_empty_splits(CutoutStore(tmp_path))


def test_the_commit_is_that_of_the_packages_own_repository(tmp_path, monkeypatch):
    found = commit.__wrapped__  # what is known for the life of a process is found anew
    assert found() != ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found() == "released"
    monkeypatch.undo()
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(discovery, "__file__", str(tmp_path / "site/discovery/__init__.py"))
    assert found() == "released"


def test_a_run_that_ends_with_the_generator_says_where_it_is(run):
    alone = with_config(run, synthesis=None, catalogue=None)
    assert closing_words(alone) == f"generator  {run.folder}/generator"
