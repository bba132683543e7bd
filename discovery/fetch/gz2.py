"""Galaxy Zoo 2 as it was released: images, their mapping to galaxies, votes, and photometry.

Images and mapping: Zenodo, doi 10.5281/zenodo.3565489. Votes: Hart et al. 2016, MNRAS 461, 3663.
"""

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from discovery.errors import BadInput
from discovery.fetch.download import Remote, download
from discovery.fetch.services import Services, read_services
from discovery.fetch.session import PoliteSession, Unanswered
from discovery.files import read_json, sha256_file, write_json
from discovery.surveys.gz2 import ARCHIVE, MAPPING, GZ2Survey

RECORD = 3565489
DOI = f"https://doi.org/10.5281/zenodo.{RECORD}"
PAGE = "https://data.galaxyzoo.org"
VOTES = "gz2_hart16.csv.gz"
RECORD_FILE, FETCHED = f"zenodo-{RECORD}.json", "fetched.json"
LARGEST_RECORD_BYTES, LARGEST_TABLE_BYTES = 2**22, 2**31
MD5 = r"^md5:[0-9a-f]{32}$"


class _Link(BaseModel):
    self: str = Field(pattern=r"^https?://")


class _File(BaseModel):
    """A file in a record of Zenodo's API; what else the record says is not asked for."""

    key: str
    size: int = Field(gt=0)
    checksum: str = Field(pattern=MD5)
    links: _Link


class _Record(BaseModel):
    files: list[_File]


def fetch_gz2(out: Path, photometry: bool = False, offline: bool = False) -> str:
    """Fetch the release into `out` in the layout that the survey kind gz2 reads; say what came.

    The archive of images stays an archive: the survey reads from it.

    Raises:
        BadInput: a file cannot be had or is not as published; or it is no such release.
    """
    services = read_services()
    asking = PoliteSession(services, most_bytes=LARGEST_RECORD_BYTES, offline=offline)
    loading = PoliteSession(
        services, most_bytes=2**62, offline=offline
    )  # each file has its own limit
    out.mkdir(parents=True, exist_ok=True)
    remotes = [*_released(asking, services, out), *_tables(services, photometry)]
    files = [download(remote, out, loading) for remote in remotes]
    told = {
        remote.name: {"url": remote.url, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for remote, path in zip(remotes, files, strict=True)
    }
    write_json(out / FETCHED, told)
    return _words(out)


def _tables(services: Services, photometry: bool) -> list[Remote]:
    """The tables that are published without digest; gzip has one of its own inside."""
    limit = {"source": PAGE, "most_bytes": LARGEST_TABLE_BYTES}
    tables = [Remote(VOTES, f"{services.gz2_votes}/{VOTES}", **limit)]
    if photometry:
        sample = "gz2sample.csv.gz"
        tables.append(Remote(sample, f"{services.gz2_photometry}/{sample}", **limit))
    return tables


def _released(session: PoliteSession, services: Services, out: Path) -> list[Remote]:
    """The archive and the mapping, with size and digest from Zenodo's record, which is kept."""
    kept = out / RECORD_FILE
    if not kept.exists():
        write_json(kept, _ask_for_record(session, f"{services.zenodo}/records/{RECORD}"))
    try:
        record = _Record.model_validate(read_json(kept))
    except ValidationError as error:
        kept.unlink()
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise BadInput(
            f"{services.zenodo}/records/{RECORD} answered with no record of files ({place}: "
            f"{problem['msg']}); the release is at {DOI}."
        ) from None
    there = {file.key: file for file in record.files}
    if missing := {ARCHIVE, MAPPING} - set(there):
        raise BadInput(
            f"Zenodo's record {RECORD} has no file {min(missing)} (there: "
            f"{', '.join(sorted(there)) or 'none'}); look at {DOI}."
        )
    return [_remote(there[name]) for name in (MAPPING, ARCHIVE)]


def _remote(file: _File) -> Remote:
    md5 = file.checksum.removeprefix("md5:")
    return Remote(file.key, file.links.self, DOI, size_bytes=file.size, md5=md5)


def _ask_for_record(session: PoliteSession, url: str) -> dict:
    try:
        return session.ask(lambda: session.get(url).json())
    except Unanswered as error:
        raise BadInput(
            f"{url}: {error}. The release is also at {DOI}: put {ARCHIVE} and {MAPPING} into a "
            f"folder, and {VOTES} of {PAGE} beside them, and the survey kind gz2 reads it as it is."
        ) from None


def _words(out: Path) -> str:
    survey = GZ2Survey(name="gz2", path=out)
    survey.validate()
    mapped, imaged = survey.count_images()
    lines = [
        f"{out} holds the Galaxy Zoo 2 release.",
        f"  {mapped:,} galaxies are mapped; {mapped - imaged:,} of them have no image "
        f"({(mapped - imaged) / mapped:.2%}).",
    ]
    voted = GZ2Survey(name="gz2", path=out, galaxies="voted")
    voted_all, voted_imaged = voted.count_images()
    lines += [
        f"  {voted_all:,} galaxies have votes; {voted_all - voted_imaged:,} of them have no image "
        f"({(voted_all - voted_imaged) / voted_all:.2%}).",
        f"Now: GALAXY_ZOO_2={out} discovery run runs/gz2.toml",
    ]
    return "\n".join(lines)
