"""The cutout store: a folder of Parquet shards that any Parquet reader opens.

One row is one cutout, its image as the survey delivered it and everything known about it:

    object_id       string   the survey's own identifier
    ra, dec         float64  degrees ICRS, null where unknown
    image           binary   JPEG or PNG, the bytes as delivered; of FITS a PNG made of it
    width, height   int32    px
    pixscale_arcsec float64  arcsec per px, null where unknown
    crop            float64  central fraction that holds the usual field, 3 petrosian R90
    survey          string   which survey of the run file it came from
    caption         string   what its votes say, null where nobody voted
    galaxy          string   the same for every cutout of one galaxy
    split           string   'train', 'validation' or 'search'
    sampled         bool     false: it is here because it is published, and no part of a sample
                             of the sky; null counts as true
    sha256          string   of the image bytes

and the votes, labels and measurements under the survey's own names. What was made of FITS also has

    bands           string   those shown as red, green and blue, e.g. 'i,r,g'
    north_deg       float64  direction of north, counter-clockwise from up, null without a WCS
    missing_pixels  float64  share of the pixels that had no data and were filled in
    file_sha256     string   of the files, one a file

Synthetic rows also carry
`prompt`, `seed`, `generator` (digest), `label`, the settings of sampling, how many `attempts` were
made, and whether a critic `kept` the last of them, null where none was asked.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.cutouts.decode import UnreadableImage, decode
from discovery.errors import BadInput
from discovery.files import writing

ROWS_PER_SHARD = 1000
CORE = pa.schema(
    [
        ("object_id", pa.string()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("image", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pixscale_arcsec", pa.float64()),
        ("crop", pa.float64()),
        ("survey", pa.string()),
        ("caption", pa.string()),
        ("galaxy", pa.string()),
        ("split", pa.string()),
        ("sampled", pa.bool_()),
        ("sha256", pa.string()),
    ]
)
SPLITS = ("train", "validation", "search")


def write_shard(rows: Sequence[dict], path: Path) -> None:
    """Write one shard; core columns get their types, the others what their values say."""
    extra = dict.fromkeys(name for row in rows for name in row if name not in CORE.names)
    # Column by column and never through a table of floats: ids of 64 bits keep every digit.
    fields = {field.name: _column(rows, field.name, field.type) for field in CORE}
    fields |= {name: _column(rows, name, None) for name in extra}
    write_table(pa.table(fields), path)


def _column(rows: Sequence[dict], name: str, kind: pa.DataType | None) -> pa.Array:
    return pa.array([row.get(name) for row in rows], type=kind, from_pandas=True)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file whole or not at all."""
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


class CutoutStore:
    """A folder of shards, its own subfolders included; opened for reading.

    Raises:
        BadInput: there is no shard in the folder, or a shard is not Parquet or lacks a core column.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.shards = sorted(
            path for path in self.folder.rglob("[!.]*.parquet") if path.stem.isdigit()
        )
        if not self.shards:
            raise BadInput(
                f"{folder} holds no cutouts (no 00000.parquet, 00001.parquet, …). Make a store "
                "with `discovery ingest`, or name the folder that holds one."
            )

    def __len__(self) -> int:
        return sum(_open(shard).metadata.num_rows for shard in self.shards)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that any of the shards has, in order of appearance."""
        return list(dict.fromkeys(n for s in self.shards for n in _open(s).schema_arrow.names))

    def table(self, columns: Sequence[str] | None = None, split: str | None = None) -> pd.DataFrame:
        """One row per cutout, without the images; a column that a shard lacks is null there."""
        wanted = [n for n in (columns or self.columns) if n != "image"]
        read = [*dict.fromkeys([*wanted, "split"])]
        frames = [_read(shard, read).to_pandas() for shard in self.shards]
        frame = pd.concat([f for f in frames if len(f)] or frames, ignore_index=True)
        if split is not None:
            frame = frame[frame["split"] == split].reset_index(drop=True)
        return frame.reindex(columns=wanted)

    def iter_shards(self, columns: Sequence[str] | None = None) -> Iterator[tuple[Path, pa.Table]]:
        """Yield each shard with the columns it has of those named, one at a time in memory."""
        for shard in self.shards:
            yield shard, _read(shard, columns)

    def iter_rows(self, object_ids: Collection[str], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows named, shard by shard, in the order of the store; of a shard that has none
        of them the ids alone are read.
        """
        wanted = pa.array(list(object_ids), pa.string())
        for shard in self.shards:
            object_id = _read(shard, ["object_id"])["object_id"]
            named = pc.is_in(object_id.cast(pa.string()), wanted)
            if pc.any(named).as_py():
                yield _read(shard, columns).filter(named)


def _open(shard: Path) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(shard)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"{shard} is not a Parquet file ({error}); remove it and make it anew."
        ) from None
    missing = {"object_id", "image", "crop"} - set(opened.schema_arrow.names)
    if missing:
        raise BadInput(f"{shard} is no cutout shard: it lacks {', '.join(sorted(missing))}.")
    kind = opened.schema_arrow.field("object_id").type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadInput(f"{shard} is no cutout shard: object_id is {kind}; write it as string.")
    return opened


def _read(shard: Path, columns: Sequence[str] | None) -> pa.Table:
    opened = _open(shard)
    if columns is None:
        return opened.read()
    return opened.read(columns=[n for n in columns if n in opened.schema_arrow.names])


def load_pixels(store: CutoutStore, object_ids: Sequence[str], size: int) -> np.ndarray:
    """Decode the named cutouts, for training sets that fit in memory.

    Returns:
        uint8 (N, size, size, 3), RGB, in the order of `object_ids`.

    Raises:
        BadInput: an id is not in the store.
        UnreadableImage: a cutout cannot be decoded.
    """
    places: dict[str, list[int]] = {}
    for place, object_id in enumerate(object_ids):
        places.setdefault(object_id, []).append(place)
    pixels = np.empty((len(object_ids), size, size, 3), np.uint8)
    found: set[str] = set()

    def put(object_id: str, image: bytes, crop: float) -> None:
        try:
            pixels[places[object_id]] = decode(image, crop, size)
        except UnreadableImage as error:
            raise UnreadableImage(f"cutout {object_id} of {store.folder}: {error}") from None
        found.add(object_id)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for rows in store.iter_rows(places, ["object_id", "image", "crop"]):
            list(threads.map(put, *(column.to_pylist() for column in rows.columns)))
    if lost := places.keys() - found:
        raise BadInput(f"{store.folder} has no cutout {min(lost)}; was the store made anew?")
    return pixels
