"""A run: its configuration, its folder, and what in that folder is already done."""

import contextlib
import fcntl
import functools
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import discovery
from discovery.config import RunConfig
from discovery.cutouts.store import CutoutStore
from discovery.errors import BadInput
from discovery.files import read_json, write_json

MIXED, REAL_ONLY = "mixed", "real-only"


@dataclass(frozen=True)
class Run:
    """Where everything of one run lies."""

    config: RunConfig
    folder: Path
    source: Path  # the run file
    device: str = "auto"

    @property
    def cutouts(self) -> Path:
        return self.folder / "cutouts"

    @property
    def generator(self) -> Path:
        return self.folder / "generator"

    @property
    def synthetic(self) -> Path:
        return self.folder / "synthetic"

    def detector(self, variant: str) -> Path:
        return self.folder / "detector" / variant

    @property
    def painted(self) -> Path:
        return self.folder / "painted"

    @property
    def folds(self) -> int:
        return self.config.detector.folds

    @property
    def searched_splits(self) -> tuple[str, ...]:
        """Cross-fitted, the training split is searched too."""
        return ("search",) if self.folds == 1 else ("search", "train")

    def detectors(self, variant: str) -> list[Path]:
        """The detector of each fold; without folds the only one."""
        whole = self.detector(variant)
        if self.folds == 1:
            return [whole]
        return [whole / f"fold-{fold}" for fold in range(self.folds)]

    def scores(self, variant: str) -> Path:
        return self.folder / "scores" / variant

    @property
    def clusters(self) -> Path:
        return self.folder / "clusters"

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def known(self) -> Path:
        return self.folder / "known.parquet"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.parquet"

    @property
    def variants(self) -> tuple[str, ...]:
        both = self.config.evidence.compare_without_synthetic
        return (MIXED, REAL_ONLY) if both else (MIXED,)

    def store(self) -> CutoutStore:
        return CutoutStore(self.cutouts)

    def synthetic_store(self) -> CutoutStore:
        return CutoutStore(self.synthetic)


class Manifest:
    """Which steps of a run are done: the digest of what decided each, and the files it made."""

    def __init__(self, folder: Path):
        self.folder, self.path, self.commit = folder, folder / "manifest.json", commit()
        self.steps: dict[str, dict] = read_json(self.path) if self.path.exists() else {}

    def is_finished(self, step: str) -> bool:
        return "finished" in self.steps.get(step, {})

    def is_done(self, step: str, digest: str) -> bool:
        """Finished under this digest, and every file it made is still there."""
        same = self.steps.get(step, {}).get("digest") == digest
        return same and self.is_finished(step) and not self.lost_file(step)

    def is_underway(self, step: str, digest: str) -> bool:
        """Begun under this digest and stopped before its end."""
        same = self.steps.get(step, {}).get("digest") == digest
        return same and not self.is_finished(step)

    def lost_file(self, step: str) -> str | None:
        """The first file of a finished step that is gone."""
        files = self.steps[step].get("files", ())
        return next((file for file in files if not (self.folder / file).exists()), None)

    def record(self, step: str, **entry) -> None:
        self.steps[step] = entry
        write_json(self.path, self.steps)

    def finish(self, step: str, outputs: Iterable[Path], **entry) -> None:
        """Record a step as finished: when, by which commit, the files now in its outputs."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        files = sorted(str(path.relative_to(self.folder)) for path in _files_in(outputs))
        self.record(step, finished=now, commit=self.commit, files=files, **entry)

    def forget(self, steps: Iterable[str]) -> None:
        if there := self.steps.keys() & set(steps):
            self.steps = {name: e for name, e in self.steps.items() if name not in there}
            write_json(self.path, self.steps)


@functools.cache  # of the code that runs, whatever becomes of its files meanwhile
def commit() -> str:
    """The commit of the working copy that the package lies in, or 'released' without one."""
    here = Path(discovery.__file__).parents[1]
    # An installed package may lie inside somebody else's working copy, which is not its own.
    if not (here / ".git").exists() or shutil.which("git") is None:
        return "released"
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "released"


def _files_in(outputs: Iterable[Path]) -> Iterator[Path]:
    for output in outputs:
        yield from (path for path in [output, *output.rglob("*")] if path.is_file())


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second process out of the run folder; a killed one leaves no lock behind.

    Raises:
        BadInput: another process works in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(
                f"another process is working in {folder}; wait for it, or stop it and try again."
            ) from None
        yield


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
