"""What a command waits for before it says anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalogs import CatalogError
from discovery.cli import explained

ROOT = Path(__file__).parents[1]
FOR_TRAINING = {"torch", "torchvision", "timm", "diffusers", "transformers", "accelerate", "peft"}
FOR_SKIES = {"galsim", "dust_extinction", "astropy"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh Python has after `code`, which may end by SystemExit."""
    shown = f"import sys\ntry:\n    {code}\nfinally:\n    print(*sys.modules, sep='\\n')"
    told = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True)
    assert "discovery.cli" in told.stdout or "discovery.config" in told.stdout, told.stderr
    return set(told.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["synthesize", "--help"]])
def test_help_waits_for_nothing(words):
    loaded = loaded_by(f"from discovery.cli import main; main({words})")
    assert not loaded & {*FOR_TRAINING, *FOR_SKIES, "numpy", "pandas", "catalogs"}


@pytest.mark.parametrize("verb", ["run", "train-generator", "judge-generator"])
def test_a_mistake_in_the_run_file_waits_for_no_torch(verb, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text((ROOT / "runs/demo.toml").read_text() + "\n[detector.augmnt]\n")
    loaded = loaded_by(f"from discovery.cli import main; main({[verb, str(wrong)]})")
    assert "discovery.config" in loaded
    assert not loaded & (FOR_TRAINING | FOR_SKIES)


def test_errors_of_the_catalogue_are_told_though_imported_late(capsys):
    @explained
    def verb(error):
        raise error

    with pytest.raises(SystemExit, match="2"):
        verb(CatalogError("no such column"))
    assert capsys.readouterr().err == "discovery: no such column\n"
    with pytest.raises(ValueError, match="a mistake in the code"):
        verb(ValueError("a mistake in the code"))
