"""The page on fetching and the code say the same."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from discovery.cli import fetch
from discovery.fetch.known import LISTS
from discovery.fetch.services import Services

PAGE = (Path(__file__).parents[2] / "docs/fetching.md").read_text()


def test_the_page_tells_every_key_of_the_services():
    told = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", PAGE, re.M))
    assert told == {name: field.description for name, field in Services.model_fields.items()}


def test_the_page_tells_every_verb_and_list():
    assert set(re.findall(r"discovery fetch ([a-z0-9]+)", PAGE)) == set(fetch.commands)
    assert set(re.findall(r"--list ([a-z0-9]+)", PAGE)) == set(LISTS)


@pytest.mark.parametrize(
    ("verb", "what"),
    [("gz2", "Folder"), ("cutouts", "Folder"), ("known", "File"), ("names", "File")],
)
def test_the_help_says_what_out_is_and_that_it_is_needed(verb, what):
    told = CliRunner().invoke(fetch, [verb, "--help"]).output
    assert re.search(rf"--out PATH +{what} for [^-]*\[required\]", told)
    missing = CliRunner().invoke(
        fetch, [verb, *(["t.csv"] if verb in ("cutouts", "names") else [])]
    )
    assert missing.exit_code == 2
    assert "--out" in missing.output
