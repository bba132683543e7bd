"""Large files: resumed where they broke off, checked by size and digest, whole or not there."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from discovery.errors import BadInput
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.files import read_json, write_json
from discovery.progress import say, track

PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Remote:
    """A file to be fetched.

    size_bytes, md5    as its publisher says; None where it says nothing
    most_bytes         longest file that is taken where no size is known
    source             what to tell a person whom the address fails: a DOI, or a page
    """

    name: str
    url: str
    source: str
    size_bytes: int | None = None
    md5: str | None = None
    most_bytes: int = 2**32


def download(remote: Remote, folder: Path, session: PoliteSession) -> Path:
    """Fetch a file into `folder`; a broken one goes on where it was, a finished one is kept.

    What has come so far lies in `<name>.partial`, and in `<name>.partial.json` which version of the
    file it is of (RFC 9110, sect. 13.1.5, If-Range): if that has changed, all of it comes anew.

    Raises:
        BadInput: the file cannot be had, is not what its publisher says, or finds no room.
    """
    path = folder / remote.name
    if path.exists():
        _check(remote, path)
        say(f"  {path} is there")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{remote.name}.partial"
    while (broken := _attempt(remote, partial, session)) is not None:
        have, error = broken
        # A long file may break off more often than an answer is asked for, as long as more comes.
        if not error.again or _size(partial) <= have:
            raise BadInput(
                f"{remote.url}: {error}. What has come is kept, and the same command goes on "
                f"there. If the address is dead, look for {remote.name} at {remote.source} and put "
                f"it into {folder}."
            )
    _check(remote, partial)
    os.replace(partial, path)
    _version_file(partial).unlink(missing_ok=True)
    return path


def _attempt(remote: Remote, partial: Path, session: PoliteSession) -> tuple | None:
    """None when the partial file is complete, else the bytes there were before, and the reason."""
    have = _size(partial)
    try:
        session.ask(_complete, remote, partial, session)
    except Unanswered as error:
        return have, error
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _complete(remote: Remote, partial: Path, session: PoliteSession) -> None:
    """Bring the partial file to its end; raises whatever breaks it off."""
    have = _size(partial)
    if remote.size_bytes is not None and have >= remote.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"} | _resume_headers(remote, partial, have)
    try:
        with session.get(remote.url, headers=headers, stream=True) as response:
            _receive(response, remote, partial, have)
    except Unanswered as error:
        if error.status != requests.codes.requested_range_not_satisfiable:
            raise
        partial.unlink(missing_ok=True)  # more than there is: of another file
        raise Unanswered("what had come was of another file and is removed", again=True) from None


def _resume_headers(remote: Remote, partial: Path, have: int) -> dict[str, str]:
    if not have:
        return {}
    wanted, version = {"Range": f"bytes={have}-"}, _version_file(partial)
    if version.exists():
        return wanted | {"If-Range": read_json(version)["version"]}
    # Without a version the digest of the whole is what tells two files apart.
    return wanted if remote.md5 else {}


def _receive(response: requests.Response, remote: Remote, partial: Path, have: int) -> None:
    goes_on = response.status_code == requests.codes.partial_content
    if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise Unanswered(f"sent {response.headers.get('Content-Range')}, not what was asked for")
    have = have if goes_on else 0
    total = _total(response, have)
    _refuse_other_size(remote, total)
    _need_room(partial, (total or 0) - have)
    if not goes_on:
        partial.unlink(missing_ok=True)
        _remember_version(response, partial)
    if have:
        say(f"  {remote.name}: goes on after {have / 2**20:,.0f} MiB")
    pieces = _bounded(response.iter_content(PIECE_BYTES), remote, have)
    left = -(-(total - have) // PIECE_BYTES) if total else None
    with open(partial, "ab", buffering=0) as file:
        for _ in track(_written(pieces, file), remote.name, left, "MiB"):
            pass


def _written(pieces: Iterator[bytes], file) -> Iterator[None]:
    """Write pieces as they come; yields after each MiB, and at the end."""
    waiting = 0
    for piece in pieces:
        file.write(piece)
        waiting += len(piece)
        if waiting >= PIECE_BYTES:
            waiting -= PIECE_BYTES
            yield
    if waiting:
        yield


def _total(response: requests.Response, have: int) -> int | None:
    coming = response.headers.get("Content-Length", "")
    return have + int(coming) if coming.isdecimal() else None


def _bounded(pieces: Iterator[bytes], remote: Remote, have: int) -> Iterator[bytes]:
    for piece in pieces:
        have += len(piece)
        _refuse_other_size(remote, have, so_far=True)
        yield piece


def _refuse_other_size(remote: Remote, total: int | None, so_far: bool = False) -> None:
    if total is None:
        return
    known, most = remote.size_bytes, remote.size_bytes or remote.most_bytes
    if total > most or (known is not None and total != known and not so_far):
        expected = f"{known:,} as published" if known else f"at most {most:,}"
        raise Unanswered(f"is {total:,} bytes long, not {expected}")


def _need_room(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise BadInput(
            f"{partial.parent} has {free / 2**30:,.1f} GiB free and {needed / 2**30:,.1f} GiB are "
            "to come; free some space or give another --out."
        )


def _remember_version(response: requests.Response, partial: Path) -> None:
    """A strong ETag or a date; without either a broken file cannot be told from a changed one."""
    _version_file(partial).unlink(missing_ok=True)
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    if version:
        write_json(_version_file(partial), {"version": version})


def _check(remote: Remote, path: Path) -> None:
    """Refuse a file that is not as published; a partial one is removed, a finished one left."""
    wrong = _wrong(remote, path)
    if not wrong:
        return
    if path.name != remote.name:
        path.unlink()
        raise BadInput(
            f"{remote.url} has {wrong}. It was removed; type the same command again, and if that "
            f"ends alike, look at {remote.source}."
        )
    raise BadInput(
        f"{path} has {wrong}. Remove or rename it and type the same command again; it is published "
        f"at {remote.source}."
    )


def _wrong(remote: Remote, path: Path) -> str:
    size = path.stat().st_size
    if remote.size_bytes is not None and size != remote.size_bytes:
        return f"{size:,} bytes, and the published file {remote.size_bytes:,}"
    if remote.md5 is None:
        return ""
    say(f"  {remote.name}: comparing its MD5 with the published one")
    with open(path, "rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    return "" if md5 == remote.md5 else f"the MD5 {md5}, and the published file {remote.md5}"
