import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from astropy.table import Table

from catalogs import (
    CatalogError,
    Provenance,
    conform,
    read_ecsv,
    read_fits,
    read_mrt,
    read_parquet,
    read_votable,
    write_mrt,
    write_release,
)
from catalogs.release import Attachment, require_version
from tests.catalogs.catalogue_samples import hostile, provenance, table
from tests.catalogs.test_formats import assert_same


def run_python(code, *arguments, check=True, **environment):
    here = Path(__file__).parent
    path = {"PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)])}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=check, capture_output=True, text=True, env=os.environ | path | environment,
    )  # fmt: skip


def readme_of(paths):
    return next(path for path in paths if path.name == "README.md").read_text()


def test_the_folder_is_complete_and_reads_back(tmp_path):
    folder = tmp_path / "new" / "release"
    (tmp_path / "a.png").write_bytes(b"picture")
    picture = Attachment("figures/b.png", tmp_path / "a.png", "a picture of it")
    paths = write_release(
        hostile(), provenance(moc="6/4-5 9"), folder, "detg",
        false_positives=hostile().iloc[:2].assign(contaminant="merger"), attachments=[picture],
    )  # fmt: skip
    forms = ["fits", "vot", "ecsv", "parquet"]
    assert [p.relative_to(folder).as_posix() for p in paths] == [
        *(f"detg.{form}" for form in forms), "detg.dat", "ReadMe", "detg.reg", "detg.moc.fits",
        *(f"detg-false-positives.{form}" for form in forms),
        "figures/b.png", "README.md", "CITATION.cff", "SHA256SUMS",
    ]  # fmt: skip
    assert {p for p in folder.rglob("*") if p.is_file()} == set(paths)
    for read, path in zip((read_fits, read_votable, read_ecsv, read_parquet), paths, strict=False):
        assert_same(read(path), conform(hostile()))
    wrong = read_fits(folder / "detg-false-positives.fits")
    assert wrong["object_id"].tolist() == hostile()["object_id"][:2].tolist()
    assert wrong["contaminant"].tolist() == ["merger", "merger"]
    readme = (folder / "README.md").read_text()
    assert "- `figures/b.png` – a picture of it" in readme
    told = "- `detg-false-positives.fits` – 2 candidates that are known not to be of the quarry"
    assert told in readme


def test_what_is_not_known_is_not_written(tmp_path):
    names = {p.name for p in write_release(table(), provenance(), tmp_path, "detg")}
    assert not [name for name in names if "moc" in name or "false-positives" in name]


@pytest.mark.parametrize("version", ["1.0", "2026.1.3", "0.1rc2"])
def test_a_version(version):
    require_version(version)


@pytest.mark.parametrize(
    "version", ["", "1", "v1.0", "1.0-final", "1.0.0.0", "../1.0", "1.0\n", "draft", "١.٠"]
)
def test_no_version(version):
    with pytest.raises(CatalogError) as refused:
        require_version(version)
    assert str(refused.value).startswith(f"version {version!r}; valid: two or three numbers with")


def test_the_citation_file_says_who_what_and_when(tmp_path):
    said = provenance(title='Dusty: a "first" look', release="1.0", created="2026-11-21T10:00:00",
                      authors=("Doe, Jane", "The Söné Collaboration"))  # fmt: skip
    write_release(table(), said, tmp_path, "detg")
    read = yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    assert read == {
        "cff-version": "1.2.0",
        "type": "dataset",
        "message": "If you use this catalogue, please cite it.",
        "title": 'Dusty: a "first" look',
        "version": "1.0",
        "abstract": "3 candidates of 10000 objects searched, and 3 rows of other splits "
        "(in_training).",
        "license": "CC-BY-4.0",
        "authors": [
            {"family-names": "Doe", "given-names": "Jane"},
            {"name": "The Söné Collaboration"},
        ],
    }
    assert '# Dusty: a "first" look, version 1.0\n' in (tmp_path / "README.md").read_text()


def test_the_readme_of_the_cds_says_whose_it_is(tmp_path):
    said = provenance(title="Dusty", authors=("Doe, Jane", "The Söné Collaboration"))
    *_, path = write_mrt(conform(table()), said, tmp_path / "detg.dat")
    lines = path.read_text("ascii").splitlines()
    assert lines[0] == "Dusty (Doe+, 2026)"
    assert lines[3] == "    Doe, Jane; The Sone Collaboration"
    assert (
        "  README.md names the other files of the release, SHA256SUMS their checksums."
        in path.read_text()
    )
    assert read_mrt(tmp_path / "detg.dat").meta["provenance"].authors == said.authors
    *_, path = write_mrt(
        conform(table()), provenance(title="Dusty", authors=()), tmp_path / "detg.dat"
    )
    assert path.read_text("ascii").startswith("Dusty (2026)\n")


def test_a_catalogue_that_names_no_author_is_cited_too(tmp_path):
    write_release(table(), provenance(authors=()), tmp_path, "detg")
    read = yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    assert read["authors"] == [{"name": "The makers of this catalogue"}]


@pytest.mark.parametrize("name", ["detg.fits", "detg.vot"])
def test_the_readme_command_opens_both_files(tmp_path, name):
    write_release(table(), provenance(), tmp_path, "detg")
    assert f'"{name}"' in (tmp_path / "README.md").read_text()
    read = Table.read(tmp_path / name)
    assert read["object_id"].tolist() == table()["object_id"].tolist()


def test_checksums_are_those_of_the_files(tmp_path):
    picture = Attachment("figures/b.png", Path(__file__), "a picture")
    *files, sums = write_release(table(), provenance(), tmp_path, "detg", attachments=[picture])
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", sums.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = [str(path.relative_to(tmp_path)) for path in files]
    assert done.stdout.splitlines() == [f"{name}: OK" for name in names]


def test_the_readme_tells_every_column_and_all_provenance(tmp_path):
    known = [None, "", "NGC 4370", None, None, None]
    said = provenance(release="1.0", citation="Someone 2026", moc="6/4-5 9 7/3000",
                      measured_on="the mock sky's truth",
                      completeness=0.7, completeness_lo=0.6, completeness_hi=0.8,
                      clear_completeness=0.9, clear_completeness_lo=0.85,
                      clear_completeness_hi=0.95)  # fmt: skip
    rows = table(known_name=known)
    readme = readme_of(write_release(rows, said, tmp_path, "detg"))
    for column in conform(rows).itercols():
        assert f"| {column.name} |" in readme
        assert column.description in readme
    spelt = {
        "threshold": "0.3",
        "natural_prevalence": "Natural prevalence (assumed): 0.001235 %",
        "calibration_prevalence": "Prevalence that `probability` is calibrated at: 0.17 %",
        "moc": "order-6 cells (0.84 deg²) that hold a searched object, in `detg.moc.fits`; no area",
        "created": "- Searched: 2026-11-21 UTC",
        "purity": "Purity in the search set: 0.610 (95 % interval 0.450 to 0.750)",
        "natural_purity": "at the natural prevalence: 0.340 (95 % interval 0.200 to 0.550)",
    }
    for field in fields(Provenance):
        value = getattr(said, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            shown = spelt.get(field.name, f"{part:.3f}" if isinstance(part, float) else str(part))
            assert shown in readme, field.name
    assert "10000 objects were searched, 3 of which could not be read." in readme
    assert "3 rows with their rank" in readme
    assert "Another 3 rows are of the training and validation splits" in readme
    assert "1 rows carry the name" in readme


def test_candidates_are_counted_without_the_rows_of_other_splits(tmp_path):
    write_release(table(), provenance(), tmp_path, "detg")
    counted = "3 candidates of 10000 objects searched, and 3 rows of other splits (in_training)"
    assert counted in (tmp_path / "README.md").read_text()
    assert counted in re.sub(r"\s+", " ", (tmp_path / "ReadMe").read_text())
    assert "the candidates: " not in (tmp_path / "README.md").read_text()


def test_the_readme_explains_found_by_and_seeds(tmp_path):
    said = readme_of(write_release(table(found_by="mixed"), provenance(), tmp_path, "detg"))
    assert "`real-only`, its comparison, trained without the synthetic ones." in said
    assert f"- Seeds (run, generator, synthesis, detector): 1, {2**62}" in said


def test_where_all_is_known_nothing_may_be_new(tmp_path):
    said = readme_of(write_release(table(), provenance(), tmp_path / "sky", "detg"))
    assert "what is left may be new" in said
    wrong = table(2, contaminant="merger")
    paths = write_release(table(), provenance(), tmp_path / "mock", "detg", false_positives=wrong)
    assert "may be new" not in readme_of(paths)
    assert "the false ones are in `detg-false-positives.*`" in readme_of(paths)
    assert "| contaminant | str |" in readme_of(paths)
    assert "not of the quarry; in the false positives alone |" in readme_of(paths)


def test_the_readme_does_not_claim_what_was_not_measured(tmp_path):
    measured = [name + end for name in ("purity", "natural_purity") for end in ("", "_lo", "_hi")]
    said = provenance(natural_prevalence=None, **dict.fromkeys(measured))
    readme = readme_of(write_release(table(), said, tmp_path, "detg"))
    assert "Purity in the search set: not measured" in readme
    assert "Purity at the natural prevalence: not measured" in readme
    assert "Completeness, of all there were to find: not measured" in readme
    assert "To cite: not stated" in readme


def test_same_bytes_in_another_process_and_place(tmp_path):
    code = (
        "from catalogue_samples import hostile, provenance; from catalogs import write_release; "
        "import sys; rows = hostile(); write_release(rows, provenance(moc='6/4-5 9'), sys.argv[1], "
        "'detg', false_positives=rows.iloc[:1])"
    )
    run_python(code, tmp_path / "there", PYTHONHASHSEED="1", TZ="UTC9")
    rows = hostile()
    said = provenance(moc="6/4-5 9")
    write_release(rows, said, tmp_path / "here", "detg", false_positives=rows.iloc[:1])
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / s).iterdir()} for s in ("here", "there")
    )
    assert one == two


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CatalogError, match=r"file/release/detg\.fits: cannot be written"):
        write_release(table(), provenance(), tmp_path / "file" / "release", "detg")


def test_a_failed_write_leaves_the_old_files_and_no_other(tmp_path):
    """The system refuses files beyond 4 kB, as a full disk would."""
    write_release(table(), provenance(), tmp_path, "detg")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    code = (
        "import resource, sys; from catalogue_samples import provenance, table; "
        "from catalogs import write_release; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "write_release(table(3), provenance(), sys.argv[1], 'detg')"
    )
    done = run_python(code, tmp_path, check=False)
    assert f"CatalogError: {tmp_path}/detg.fits: cannot be written (File too large)" in done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_catalogs_needs_neither_torch_nor_the_pipeline():
    code = "import catalogs, sys; assert not {'torch', 'discovery'} & set(sys.modules)"
    run_python(code)
