"""What every reader asks of a file before it trusts it: that it is there and not too large."""

import os
from pathlib import Path

from catalogs.errors import CatalogError

MEMORY = 4 * 2**30  # bytes that a table may take; a million rows take less than one GiB


def check_memory(path, size: int) -> None:
    """CatalogError if a file asks for more memory than any catalogue of ours."""
    if size > MEMORY:
        raise CatalogError(
            f"{path}: would take {size / 2**30:,.0f} GiB of memory; valid: up to "
            f"{MEMORY / 2**30:.0f} GiB. Read it with STILTS, which reads row by row"
        )


def read_start(path, count: int) -> tuple[bytes, int]:
    """The first `count` bytes and the size of a file; CatalogError as `read_bytes`."""
    try:
        size = os.stat(path).st_size
        check_memory(path, size)
        with open(path, "rb") as file:
            return file.read(count), size
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from error


def read_bytes(path) -> bytes:
    """The whole file; CatalogError if it is not there or too large."""
    path = Path(path)
    try:
        check_memory(path, os.stat(path).st_size)
        return path.read_bytes()
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from error
