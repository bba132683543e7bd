"""Files that are either complete or not there."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discovery.errors import BadInput

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    A reader therefore sees the old file or the whole new one, never a part, also after
    `kill -9`. When the block raises, the temporary file is removed and `path` is untouched.

    Raises:
        BadInput: the disk is full; names the file and what to do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        if _is_disk_full(error):
            raise BadInput(
                f"no room left to write {path}: {error}. Finished work is kept; free some space "
                "or move the run folder to a larger disk, and give the same command again."
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    # pyarrow and safetensors wrap the system's error in exceptions of their own, so the text
    # has to be asked where the number is missing.
    return getattr(error, "errno", None) in _DISK_FULL or any(
        words in str(error) for words in _DISK_FULL_WORDS
    )


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left anywhere under `folder`."""
    for leftover in Path(folder).rglob(".*.part"):
        leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        BadInput: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; is the folder complete?") from None
    except ValueError as error:
        raise BadInput(f"{path} is not valid JSON ({error}); restore it or make it anew.") from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON: the same content gives the same digest."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
