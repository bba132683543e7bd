"""Images read by name straight from a zip archive; nothing is ever unpacked to disk."""

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath

from discovery.errors import BadInput
from discovery.surveys.base import IMAGE_SUFFIXES, MAX_IMAGE_BYTES

ENCRYPTED = 0x1  # bit 0 of the general purpose flags; APPNOTE.TXT 4.4.4
NOT_OURS = "__MACOSX"  # resource forks that one kind of computer adds
# NotImplementedError: of zipfile, for a compression that it does not know.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def image_names(path: Path) -> frozenset[str]:
    """The file names, without folders, of all images in the archive.

    Raises:
        BadInput: no zip archive, or one with a name that leads outside or is there twice.
    """
    return frozenset(_opened(path)[1])


def read_member(path: Path, name: str) -> dict:
    """{"image": bytes} of the member called `name` in whatever folder, else {"failure": reason}."""
    archive, members = _opened(path)
    member = members.get(name)
    if member is None:
        # Without the name: what is the same for many rows is counted as one.
        return {"failure": f"no image of its asset_id in {path.name}"}
    if member.flag_bits & ENCRYPTED:
        return {"failure": f"encrypted in {path.name}"}
    if member.file_size > MAX_IMAGE_BYTES:
        limit = f"{MAX_IMAGE_BYTES / 2**20:.0f} MiB"
        size = f"{member.file_size / 2**20:,.0f} MiB"
        return {"failure": f"{size} in {path.name} is more than {limit}, too large a file"}
    try:
        # It reads as many bytes as are declared and no more, and then compares the CRC: an archive
        # that lies about sizes gives a damaged image and not a full memory.
        return {"image": archive.read(member)}
    except BROKEN as error:
        return {"failure": f"damaged in {path.name}: {error}"}


def _opened(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    try:
        stat = path.stat()
        return _open(path, stat.st_size, stat.st_mtime_ns)
    except BROKEN as error:
        raise BadInput(
            f"{path} is no zip archive that can be read ({error}); remove it and type: discovery "
            f"fetch gz2 --out {path.parent}"
        ) from None


@lru_cache(maxsize=2)
def _open(path: Path, size: int, modified_ns: int):
    # Kept open: the list of a quarter of a million members takes seconds to read.
    archive = zipfile.ZipFile(path)
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        place = PurePosixPath(member.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts:
            raise BadInput(_refused(path, member.filename, "leads outside of the archive"))
        if place.suffix.lower() not in IMAGE_SUFFIXES or NOT_OURS in place.parts:
            continue
        if place.name in members:
            raise BadInput(_refused(path, place.name, "is there twice"))
        members[place.name] = member
    return archive, members


def _refused(path: Path, name: str, problem: str) -> str:
    return (
        f"{path}: its member {name!r} {problem}; that is not the released archive. Fetch it anew: "
        f"discovery fetch gz2 --out {path.parent}"
    )
