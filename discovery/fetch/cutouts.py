"""Cutouts by position, from a table of objects, as a folder that the survey kind `folder` reads.

images/<id>.jpg, or .fits
table.csv       every object asked for, so that ingest counts those whose image is missing
failures.csv    those that could not be had, with the reason
images.parquet  where and on which grid every image is drawn, those of earlier tables too
fetch.json      what was asked for
"""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from astropy.utils.exceptions import AstropyWarning

from discovery.errors import BadInput
from discovery.fetch import sources
from discovery.fetch.cache import default_folder
from discovery.fetch.frames import check_bands
from discovery.fetch.services import read_services
from discovery.fetch.session import PoliteSession, Unanswered, asked_again, commonest
from discovery.fetch.sources import Source, check_cutout
from discovery.fetch.targets import COARSEST, FINEST, Target
from discovery.files import read_json, write_json, writing
from discovery.progress import track
from discovery.surveys.tables import read_table

THREADS = 4  # what a service needs to answer in is not what it may be asked in
BATCH = 64
DOWN_AFTER = 12  # failures of the service itself in a row
ASKED, TABLE, FAILURES = "fetch.json", "table.csv", "failures.csv"
DRAWN = "images.parquet"
DRAWN_COLUMNS = {
    "object_id": pa.string(),
    "ra": pa.float64(),
    "dec": pa.float64(),
    "pixscale_arcsec": pa.float64(),
    "width": pa.int64(),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one target: `reason` is None where its image is there."""

    target: Target
    reason: str | None = None
    again: bool = False  # the service may answer another time


def fetch_cutouts(
    targets: list[Target],
    out: Path,
    origin: str,
    size: int,
    release: int = 17,
    kind: str = "jpg",
    per_second: float = 4,
    offline: bool = False,
    bands: str = "gri",
    cache: Path | None = None,
    yes: bool = False,
) -> str:
    """Fetch a cutout of every target into `out`; say what came and how to ingest it.

    Images that are there are not fetched again; what failed is tried again by the next call.

    Args:
        origin: 'sdss', 'sdss-frames' or 'hips:NAME'.
        size: px on a side; of frames, how many px of a target's scale are shown.
        per_second: requests a second, at most.
        bands: of frames, e.g. 'gri'.
        cache: folder of frames, and of SkyServer's answers.
        yes: images of the targets that show another field may be removed.

    Raises:
        BadInput: no such source, `out` holds other cutouts, not one image can be had, or images
            would be removed and `yes` does not allow it.
    """
    services = read_services()
    session = PoliteSession(services, per_second, sources.LARGEST_CUTOUT_BYTES, offline)
    source = _source(origin, session, services, release, kind, size, bands, cache)
    _remember(out, {"origin": source.origin, "size": size, "kind": source.suffix})
    _write_table(targets, out, source, size, yes)
    place = {target.object_id: row for row, target in enumerate(targets)}
    in_order = source.in_order(targets)
    with warnings.catch_warnings():  # here, for it acts on all threads at once
        warnings.simplefilter("ignore", AstropyWarning)  # of old names of FITS keywords
        outcomes = list(_fetch_all(in_order, out, source, size))
    failed = [outcome for outcome in outcomes if outcome.reason is not None]
    failed.sort(key=lambda outcome: place[outcome.target.object_id])
    reasons = {"reason": [outcome.reason for outcome in failed]}
    _write_csv(out / FAILURES, [outcome.target for outcome in failed], reasons)
    return _words(outcomes, out, offline)


def _source(origin, session, services, release, kind, size, bands, cache) -> Source:
    if origin == "sdss":
        low, high = sources.SDSS_SIDES
        if not low <= size <= high:
            raise BadInput(f"--size {size}: SDSS draws cutouts of {low} to {high} px.")
        return sources.sdss(session, services, release)
    if origin == "sdss-frames":
        folder = cache or default_folder()
        return sources.sdss_frames(session, services, release, check_bands(bands), folder)
    if origin.startswith("hips:"):
        return sources.hips(session, services, origin.removeprefix("hips:"), kind)
    raise BadInput(f"--from {origin} is no source; give {sources.KINDS}.")


def _remember(out: Path, asked: dict) -> None:
    """Cutouts of two sources or sizes do not share a folder: a name says nothing of either."""
    path = out / ASKED
    if path.exists() and (before := read_json(path)) != asked:
        raise BadInput(
            f"{out} holds cutouts of {before}, and asked for are {asked}; give another --out."
        )
    write_json(path, asked)


def _image(target: Target, out: Path, suffix: str) -> Path:
    return out / "images" / f"{target.file_stem}{suffix}"


def _fetch_all(targets: list[Target], out: Path, source: Source, size: int) -> Iterator[Outcome]:
    (out / "images").mkdir(parents=True, exist_ok=True)
    in_a_row = 0
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            results = _in_batches(pool, targets, out, source, size)
            for outcome in track(results, "fetch", len(targets), "cutouts"):
                in_a_row = in_a_row + 1 if outcome.again else 0
                if in_a_row == DOWN_AFTER:
                    _give_up(outcome, out)
                yield outcome
        except BaseException:
            pool.shutdown(cancel_futures=True)  # nobody waits for what was still to be asked
            raise


def _in_batches(pool, targets, out: Path, source: Source, size: int) -> Iterator[Outcome]:
    """In batches, so that a service which is down is asked no thousand times more."""
    for start in range(0, len(targets), BATCH):
        batch = targets[start : start + BATCH]
        yield from pool.map(lambda target: _fetch_one(target, out, source, size), batch)


def _fetch_one(target: Target, out: Path, source: Source, size: int) -> Outcome:
    path = _image(target, out, source.suffix)
    if path.exists():
        return Outcome(target)
    if target.scale is None:
        return Outcome(target, f"no petrosian radius that gives {FINEST} to {COARSEST} arcsec/px")
    try:
        image = source.session.ask(source.fetch, target, size)
        check_cutout(image, source.suffix)
    except Unanswered as error:
        return Outcome(target, str(error), error.again)
    with writing(path) as temporary:
        temporary.write_bytes(image)
    return Outcome(target)


def _give_up(last: Outcome, out: Path) -> None:
    raise BadInput(
        f"the service did not answer {DOWN_AFTER} times in a row, the last time for "
        f"{last.target.object_id}: {last.reason}. What came is kept in {out}, and the same command "
        "goes on there."
    )


def _write_table(targets: list[Target], out: Path, source: Source, size: int, yes: bool) -> None:
    """The tables first: an image of an object that is now asked for elsewhere is of no use."""
    grids = [source.grid(target, size) for target in targets]
    drawn = _drawn(out)
    asked = {t.object_id: (t.ra, t.dec, *grid) for t, grid in zip(targets, grids, strict=True)}
    images = [_image(target, out, source.suffix) for target in targets]
    others = [
        image
        for target, image in zip(targets, images, strict=True)
        if drawn.get(target.object_id) != asked[target.object_id] and image.exists()
    ]
    if others:
        _allow_removal(others, targets, out, source.session.offline, yes)
    for image in others:
        image.unlink()
    _remember_drawn(drawn | asked, out)
    more = {
        "image": pa.array([image.name for image in images], pa.string()),
        "pixscale_arcsec": pa.array([scale for scale, _ in grids], pa.float64()),
        "width": pa.array([width for _, width in grids], pa.int64()),
    }
    _write_csv(out / TABLE, targets, more)


def _drawn(out: Path) -> dict[str, tuple]:
    """(ra, dec, arcsec per px, width in px) of objects by id, as their images are drawn."""
    # A folder from before there was a list of its images has the table alone.
    path = next((p for p in (out / DRAWN, out / TABLE) if p.exists()), None)
    if path is None:
        return {}
    table = read_table(path, ("object_id",))
    if set(DRAWN_COLUMNS) - set(table.column_names):
        return {}  # of another maker
    ids, *fields = table.select(list(DRAWN_COLUMNS)).to_pydict().values()
    return dict(zip(ids, zip(*fields, strict=True), strict=True))


def _remember_drawn(drawn: dict[str, tuple], out: Path) -> None:
    rows = [[object_id, *field] for object_id, field in drawn.items()]
    columns = zip(*rows, strict=True) if rows else [[]] * len(DRAWN_COLUMNS)
    arrays = [pa.array(c, k) for c, k in zip(columns, DRAWN_COLUMNS.values(), strict=True)]
    with writing(out / DRAWN) as temporary:
        pq.write_table(pa.table(arrays, names=list(DRAWN_COLUMNS)), temporary)


def _allow_removal(others: list[Path], targets: list[Target], out: Path, offline, yes) -> None:
    what = (
        f"{len(others):,} of the {len(targets):,} objects have an image in {out} at another "
        f"position or scale than is now asked for, or one of which neither is known, e.g. "
        f"{others[0].name}"
    )
    if offline:
        raise BadInput(
            f"{what}; --offline removes none. Ask as before, give another --out, or leave out "
            "--offline."
        )
    if not yes:
        raise BadInput(
            f"{what}. Type the same command with --yes to remove these images and fetch them anew, "
            "or give another --out."
        )


def _write_csv(path: Path, targets: list[Target], more: dict) -> None:
    columns = {
        "object_id": pa.array([t.object_id for t in targets], pa.string()),
        "ra": pa.array([t.ra for t in targets], pa.float64()),
        "dec": pa.array([t.dec for t in targets], pa.float64()),
    }
    with writing(path) as temporary:
        pv.write_csv(pa.table(columns | more), temporary)


def _words(outcomes: list[Outcome], out: Path, offline: bool) -> str:
    failed = [o for o in outcomes if o.reason is not None]
    if failed and len(failed) == len(outcomes):
        raise BadInput(
            f"none of {len(failed):,} cutouts could be had: {commonest(o.reason for o in failed)}. "
            f"All reasons are in {out / FAILURES}. {asked_again(offline)}"
        )
    lines = [f"{len(outcomes) - len(failed):,} of {len(outcomes):,} cutouts are in {out}."]
    if failed:
        lines.append(
            f"{len(failed):,} could not be had: {commonest(o.reason for o in failed)}. All reasons "
            f"are in {out / FAILURES}. {asked_again(offline)}"
        )
    return "\n".join([*lines, "In a run file:", "", *_section(out)])


def _section(out: Path) -> list[str]:
    return [
        "[[survey]]",
        'kind = "folder"',
        f'name = "{out.name}"',
        f'path = "{out}"',
        'images = "images"',
        f'table = "{TABLE}"',
        'id_column = "object_id"',
        'ra_column = "ra"',
        'dec_column = "dec"',
        'pixscale_column = "pixscale_arcsec"',
    ]
