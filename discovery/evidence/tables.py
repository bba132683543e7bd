"""Results on disk: measurements that are made once, and tables for people."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from discovery.cutouts.store import write_table
from discovery.files import writing

_MADE_FROM = b"made_from"


def once(path: Path, made_from: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The Parquet table at `path` if it was made from this; else make it and write it there.

    Args:
        made_from: digest of everything that decides the table.
    """
    if path.exists():
        there = pq.read_table(path)
        if (there.schema.metadata or {}).get(_MADE_FROM) == made_from.encode():
            return there.to_pandas()
    table = pa.Table.from_pandas(make(), preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _MADE_FROM: made_from.encode()}
    write_table(table.replace_schema_metadata(metadata), path)
    return pq.read_table(path).to_pandas()


def digest_of(values: np.ndarray) -> str:
    """SHA-256 of an array's shape and content."""
    sha = hashlib.sha256(str(values.shape).encode())
    sha.update(np.ascontiguousarray(values))
    return sha.hexdigest()


def write_both(frame: pd.DataFrame, path: Path) -> None:
    """The same table as CSV, every digit, and as Markdown, rounded; `path` has no ending."""
    with writing(path.with_suffix(".csv")) as temporary:
        frame.to_csv(temporary, index=False)
    with writing(path.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(frame))


def records(frame: pd.DataFrame) -> list[dict]:
    """The rows for JSON, which knows no NaN: None instead."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; numbers with four digits that count, nothing known as a dash."""
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(_line(row) for row in rows) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(value: object) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
