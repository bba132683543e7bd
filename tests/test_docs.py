"""Documentation and code say the same."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from discovery.cli import main
from discovery.config import RunConfig, load_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README, RUNNING = (path.read_text() for path in (ROOT / "README.md", ROOT / "docs/running.md"))


def test_the_readme_names_every_verb_and_only_verbs():
    table = set(re.findall(r"^\| `([a-z-]+)` \|", README, re.M))
    assert table | {"run", "settings"} == set(main.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documentation_exist(page):
    said = re.findall(r"(?:`|^ *|/bin/)discovery ([a-z][a-z-]*)", page.read_text(), re.M)
    assert set(said) <= set(main.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_the_documentation_are_there(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_every_verb_explains_itself(verb):
    shown = CliRunner().invoke(main, [verb, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output) > 300


def test_the_run_file_of_the_readme_is_the_template_with_other_columns(tmp_path):
    said = re.search(r"```toml\n(.*?)```", README, re.S).group(1)
    template = (ROOT / "runs/folder.toml").read_text()
    path = tmp_path / "my.toml"
    path.write_text(said + template[template.index("\n[survey.captions]") :])
    (survey,) = load_config(path).survey
    assert (survey.kind, survey.caption_column) == ("folder", "class")
    written, shipped = (tomllib.loads(text)["survey"][0] for text in (said, template))
    assert written.keys() <= shipped.keys()
    assert [survey.split_fractions[s] for s in ("train", "validation", "search")] == [
        shipped[s] for s in ("train", "validation", "search")
    ]


def test_the_story_quotes_the_run_file_of_the_demo():
    story = (ROOT / "docs/story.md").read_text()
    said = tomllib.loads(re.search(r"```toml\n(.*?)```", story, re.S).group(1))
    run = tomllib.loads((ROOT / "runs/demo.toml").read_text())
    (survey,), (prompt,) = said["survey"], said["synthesis"]["prompts"]
    assert survey.items() <= run["survey"][0].items()
    assert said["detector"].items() <= run["detector"].items()
    assert any(prompt.items() <= one.items() for one in run["synthesis"]["prompts"])


def test_the_guide_names_every_section_of_a_run_file():
    sections = set(re.findall(r"`\[+([a-z]+)\]+", RUNNING))
    assert sections == set(RunConfig.model_fields) - {"name", "seed"}


def test_the_classes_that_the_guide_names_exist():
    for name in re.findall(r"`(discovery\.[\w.]+\.\w+)`", RUNNING):
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs/running.md"], ids=str)
def test_files_and_folders_of_the_package_that_are_named_exist(path):
    for name in re.findall(r"`((?:discovery|catalogs)/[\w/.]+)`", path.read_text()):
        assert (ROOT / name).exists(), name


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (\w+)", README, re.M)) <= targets


def test_settings_tell_every_key_that_a_run_file_may_hold():
    told = CliRunner().invoke(main, ["settings"]).output
    paragraphs = dict(part.split("\n", 1) for part in told.rstrip().split("\n\n"))
    assert "  views = 4" in paragraphs["[detector]"]
    assert "  count, to be given" in paragraphs["[[synthesis.prompts]]"]
    for path in (ROOT / "runs").glob("*.toml"):
        for section, keys in tomllib.loads(path.read_text()).items():
            values = keys[0] if section == "survey" else keys
            if not isinstance(values, dict):
                continue
            kind = values.get("kind", "pixel")
            titles = [f"[{section}]", f'[[{section}]] with kind = "{kind}"',
                      f'[{section}] with kind = "{kind}"']  # fmt: skip
            here = "\n".join(paragraphs.get(title, "") for title in titles)
            for key in values:
                inner = (f"[{section}.{key}]", f"[[{section}.{key}]]")
                known = f"  {key} = " in here or f"  {key}, " in here
                assert known or set(inner) & set(paragraphs), (titles, key)
    assert max(map(len, told.splitlines())) <= 100
