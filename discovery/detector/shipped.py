"""The detector that comes with the package, and what taught a detector.

`trained_on.parquet` beside a detector's weights lists the cutouts that trained or calibrated it, so
that a galaxy which taught it is told from one that it found.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from discovery.cutouts.decode import UnreadableImage, decode
from discovery.cutouts.store import ROWS_PER_SHARD, CutoutStore, write_table
from discovery.neighbours.duplicates import among, perceptual_hash
from discovery.progress import track

SHIPPED = Path(__file__).parent / "weights"
TRAINED_ON = "trained_on.parquet"
LISTED = pa.schema(
    [("object_id", pa.string()), ("galaxy", pa.string()), ("sha256", pa.string()),
     ("phash", pa.binary(32))]
)  # fmt: skip
DECODERS = 2  # threads; Pillow lets go of the interpreter's lock while it decodes
LOOKED_AT_PX = 64  # as ingest looks for copies of a galaxy


def folder_of(model: str | Path) -> Path:
    """A detector's folder; `shipped` stands for the one in the package."""
    return SHIPPED if str(model) == "shipped" else Path(model)


def write_list(store: CutoutStore, folder: Path, left_out: Collection[str] = ()) -> Path:
    """List the cutouts of the splits that train and calibrate, no pixels of them.

    Args:
        left_out: object_id of those that taught other folds alone.

    Columns: object_id, galaxy, sha256 of the image as delivered, phash: the perceptual hash of
    what is shown of it (32 bytes).
    """
    looks = _looks(store)
    rows = store.table(["object_id", "galaxy", "sha256", "split"]).assign(phash=looks)
    taught = rows["split"].isin(["train", "validation"]) & ~rows["object_id"].isin(left_out)
    taught = rows[taught].drop(columns="split")
    write_table(pa.Table.from_pandas(taught, LISTED, preserve_index=False), folder / TRAINED_ON)
    return folder / TRAINED_ON


def has_list(folder: Path) -> bool:
    """Whether the list of what taught this detector has digests and hashes to know them by."""
    path = folder / TRAINED_ON
    return path.exists() and set(LISTED.names) <= set(pq.read_schema(path).names)


def taught_by(folder: Path, store: CutoutStore) -> pd.Series | None:
    """Which cutouts of `store`, by object_id, show a galaxy that taught the detector of `folder`.

    It is told by the same file, or by a picture that looks the same; the same galaxy in another
    field or at another scale is not recognised. None where there is no list with digests and
    hashes, which a detector of a run has not: nobody knows.
    """
    if not has_list(folder):
        return None
    listed = pd.read_parquet(folder / TRAINED_ON, columns=["sha256", "phash"])
    rows = store.table(["object_id", "sha256"])
    looks = _looks(store)
    seen = rows["sha256"].isin(listed["sha256"].dropna()).to_numpy(copy=True)
    visible = np.array([look is not None for look in looks], bool)
    seen[visible] |= among([look for look in looks if look], list(listed["phash"].dropna()))
    return pd.Series(seen, rows["object_id"].to_numpy())


def _looks(store: CutoutStore) -> list[bytes | None]:
    """The perceptual hash of every cutout, None of the unreadable, in the order of the store."""
    looks: list[bytes | None] = []
    shards = store.iter_shards(["image", "crop"])
    with ThreadPoolExecutor(DECODERS) as threads:
        for _, shard in track(shards, "seen before", len(store), "cutouts", ROWS_PER_SHARD):
            looks += threads.map(_look, *(column.to_pylist() for column in shard.columns))
    return looks


def _look(image: bytes, crop: float) -> bytes | None:
    try:
        return perceptual_hash(decode(image, crop, LOOKED_AT_PX))
    except UnreadableImage:
        return None
