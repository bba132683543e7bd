"""A file appears whole or not at all."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from catalogs.errors import CatalogError


@contextmanager
def writing(path):
    """A binary file that takes the name `path` when the block has ended without an error.

    Raises CatalogError if the disk or folder refuses.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part"
        )
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_bytes(path, data: bytes) -> Path:
    """Write `data` beside `path` and rename; CatalogError if the disk or folder refuses."""
    with writing(path) as file:
        file.write(data)
    return Path(path)
