"""The pages on the catalogue say what the code does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalogs import (
    conform,
    write_ecsv,
    write_fits,
    write_moc,
    write_mrt,
    write_parquet,
    write_regions,
    write_votable,
)
from catalogs.columns_page import page
from tests.catalogs.catalogue_samples import provenance, table

ROOT = Path(__file__).parents[2]
READING = (ROOT / "docs/reading_a_release.md").read_text()
WRITERS = {"fits": write_fits, "vot": write_votable, "ecsv": write_ecsv, "dat": write_mrt,
           "parquet": write_parquet, "reg": write_regions, "moc.fits": write_moc}  # fmt: skip


def test_the_page_of_columns_is_that_of_the_code():
    said = (ROOT / "docs/columns.md").read_text()
    assert said == page(), "type: python -m catalogs.columns_page > docs/columns.md"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    rows = conform(table(known_name=[None, "", "NGC 4370", None, None, None]))
    for suffix, write in WRITERS.items():
        write(rows, provenance(moc="6/4-5 9"), folder / f"catalogue.{suffix}")
    return folder


def test_every_python_snippet_runs_in_one_session(release):
    code = "\n".join(re.findall(r"```python\n(.*?)```", READING, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=release, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "DETG J000000.00-900000.0" in done.stdout


def test_every_alternative_of_the_first_snippet_runs(release, monkeypatch):
    monkeypatch.chdir(release)
    first = re.search(r"```python\n(.*?)```", READING, re.DOTALL)[1]
    shown, *others = re.findall(r'"(catalogue\.\w+)"', first.splitlines()[2])
    assert others
    for other in others:
        exec(first.replace(shown, other), {})


def test_the_stilts_commands_run(release):
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed")
    (code,) = re.findall(r"```sh\n(.*?)```", READING, re.DOTALL)
    done = subprocess.run(["sh", "-e", "-c", code], cwd=release, capture_output=True, text=True)
    assert done.returncode in (0, 1)  # votlint of 3.4.7 objects to the number 1.5
    assert done.stdout.splitlines()[1].lstrip().startswith('"DETG J000000.00-900000.0"')
