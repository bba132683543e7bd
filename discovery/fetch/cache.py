"""Tables that a service has answered with, one file a question, so that none is asked twice."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from astropy.table import Table

from discovery.errors import BadInput
from discovery.fetch.session import PoliteSession
from discovery.files import digest, writing

FORMAT = "ascii.ecsv"  # text: types, units, nulls and 64-bit ids survive, and nothing in it can run


def default_folder() -> Path:
    """~/.cache/discovery, or where XDG_CACHE_HOME says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "discovery"


class TableCache:
    """Answers in a folder, by service and digest of the question."""

    def __init__(self, folder: Path, session: PoliteSession):
        self.folder, self.session = Path(folder), session

    def get(self, service: str, question: dict, ask: Callable[[], Table]) -> Table:
        """The answer to `question` (JSON), from disk or else by `ask`, politely.

        Raises:
            Unanswered: the service gave no usable table.
            BadInput: what is on disk cannot be read.
        """
        path = self.folder / service / f"{digest(question)}.ecsv"
        if path.exists():
            return _read(path)
        table = self.session.ask(ask)
        with writing(path) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units without a standard; they stay as text
            _plain(table).write(temporary, format=FORMAT)
        return _read(path)


def _read(path: Path) -> Table:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Table.read(path, format=FORMAT)
    except Exception as error:
        raise BadInput(f"{path} cannot be read ({error}); remove it and try again.") from None


def _plain(table: Table) -> Table:
    """Without the service's own remarks, and with strings where it has objects."""
    plain = Table(table, masked=True, copy=False)
    plain.meta.clear()
    for name in plain.colnames:
        if plain[name].dtype.kind == "O":
            values = ["" if v is None or v is False else str(v) for v in plain[name].filled("")]
            plain[name] = type(plain[name])(values, mask=[not v for v in values])
    return plain
