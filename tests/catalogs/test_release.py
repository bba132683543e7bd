import hashlib
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from astropy.table import Table

from catalogs import CatalogError, Provenance, conform, read_fits, read_votable, write_release
from tests.catalogs.catalogue_samples import hostile, provenance, table
from tests.catalogs.test_formats import assert_same


def run_python(code, *arguments, check=True, **environment):
    here = Path(__file__).parent
    path = {"PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)])}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=check, capture_output=True, text=True, env=os.environ | path | environment,
    )  # fmt: skip


def test_the_folder_is_complete_and_reads_back(tmp_path):
    paths = write_release(hostile(), provenance(), tmp_path / "new" / "release", "detg")
    assert [p.name for p in paths] == ["detg.fits", "detg.vot", "README.md", "SHA256SUMS"]
    assert sorted(p.name for p in (tmp_path / "new" / "release").iterdir()) == sorted(
        p.name for p in paths
    )
    for read, path in zip((read_fits, read_votable), paths, strict=False):
        assert_same(read(path), conform(hostile()))


@pytest.mark.parametrize("name", ["detg.fits", "detg.vot"])
def test_the_readme_command_opens_both_files(tmp_path, name):
    write_release(table(), provenance(), tmp_path, "detg")
    assert f'"{name}"' in (tmp_path / "README.md").read_text()
    read = Table.read(tmp_path / name)
    assert read["object_id"].tolist() == table()["object_id"].tolist()


def test_checksums_are_those_of_the_files(tmp_path):
    *files, sums = write_release(table(), provenance(), tmp_path, "detg")
    listed = dict(reversed(line.split("  ")) for line in sums.read_text().splitlines())
    assert listed == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_readme_tells_every_column_and_all_provenance(tmp_path):
    known = [None, "", "NGC 4370", None, None, None]
    said = provenance(citation="Someone 2026", measured_on="the mock sky's truth",
                      moc="6/4-5 9 7/3000",
                      completeness=0.7, completeness_lo=0.6, completeness_hi=0.8,
                      clear_completeness=0.9, clear_completeness_lo=0.85,
                      clear_completeness_hi=0.95)  # fmt: skip
    rows = table(known_name=known)
    readme = write_release(rows, said, tmp_path, "detg")[2].read_text()
    for column in conform(rows).itercols():
        assert f"| {column.name} |" in readme
        assert column.description in readme
    spelt = {
        "threshold": "0.3",
        "natural_prevalence": "Natural prevalence (assumed): 0.001235 %",
        "calibration_prevalence": "Prevalence that `probability` is calibrated at: 0.17 %",
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


def test_the_readme_does_not_claim_what_was_not_measured(tmp_path):
    measured = [name + end for name in ("purity", "natural_purity") for end in ("", "_lo", "_hi")]
    said = provenance(natural_prevalence=None, **dict.fromkeys(measured))
    readme = write_release(table(), said, tmp_path, "detg")[2].read_text()
    assert "Purity in the search set: not measured" in readme
    assert "Purity at the natural prevalence: not measured" in readme
    assert "Completeness, of all there were to find: not measured" in readme
    assert "To cite: not stated" in readme


def test_same_bytes_in_another_process_and_place(tmp_path):
    code = (
        "from catalogue_samples import hostile, provenance; from catalogs import write_release; "
        "import sys; write_release(hostile(), provenance(), sys.argv[1], 'detg')"
    )
    run_python(code, tmp_path / "there", PYTHONHASHSEED="1", TZ="UTC9")
    write_release(hostile(), provenance(), tmp_path / "here", "detg")
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
