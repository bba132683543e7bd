"""Score cutouts: one shard in, one file out.

Probability and embedding come from the same forward pass. A cutout that cannot be read is a row
with its reason, never a black image with a score.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from discovery.cutouts import CutoutStore, UnreadableImage, decode, load_pixels
from discovery.detector.calibrate import Calibration
from discovery.detector.checkpoint import Detector
from discovery.detector.folds import CrossFitted
from discovery.files import sha256_file, writing
from discovery.progress import say, track

BATCH = 256
DECODERS = 2  # threads; Pillow lets go of the interpreter's lock while it decodes
DETECTOR_KEY, SHARD_KEY = b"detector", b"shard"


def score_store(
    detector: Detector | CrossFitted, store: CutoutStore, out: Path, survey: str
) -> list[Path]:
    """Write `out`/<survey>-00000.parquet, … one per shard; scores of this detector and these
    very cutouts are kept.

    A shard in a subfolder of the store has the subfolder's name in its file's: no two collide.
    Returns the files, in the order of the shards.
    """
    names = ["-".join(s.relative_to(store.folder).parts) for s in store.shards]
    files = [Path(out) / f"{survey}-{name}" for name in names]
    pairs = list(zip(store.shards, files, strict=True))
    todo = [(shard, file) for shard, file in pairs if not is_fresh(file, detector, shard)]
    if len(todo) < len(pairs):
        say(f"  {len(pairs) - len(todo)} of {len(pairs)} shards are scored already")
    rows = pq.ParquetFile(store.shards[0]).metadata.num_rows
    for shard, file in track(todo, f"score {survey}", unit="cutouts", each=rows):
        score_shard(detector, shard, file)
    return files


def is_fresh(file: Path, detector: Detector | CrossFitted, shard: Path) -> bool:
    """Whether a score file is there, made by this very detector from this very shard."""
    if not file.exists():
        return False
    metadata = pq.read_schema(file).metadata or {}
    return _made_from(detector, shard).items() <= metadata.items()


def _made_from(detector: Detector | CrossFitted, shard: Path) -> dict[bytes, bytes]:
    return {DETECTOR_KEY: detector.digest.encode(), SHARD_KEY: sha256_file(shard).encode()}


def score_shard(detector: Detector | CrossFitted, shard_path: Path, out_path: Path) -> Path:
    """Score the rows of one shard into one file, in their order; columns as of `score_rows`."""
    rows = pq.ParquetFile(shard_path).read(["object_id", "galaxy", "image", "crop"])
    table = score_rows(detector, rows)
    table = table.replace_schema_metadata(_made_from(detector, shard_path))
    with writing(out_path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return out_path


def score_rows(detector: Detector | CrossFitted, rows: pa.Table) -> pa.Table:
    """Score rows with object_id, image and crop.

    Columns: object_id string; status 'ok' or 'unreadable: <reason>'; score float32 (logit);
    score_spread float32, its σ among the members of the ensemble, null where there is one alone;
    probability float32 and its 95 % interval probability_lo, probability_hi; embedding
    list<float16>[D]. All but the first two are null where unreadable.

    Cross-fitted, `fold` int8 says whose detector scored a row, score is the log-odds of its
    probability, for logits of different networks are no one scale, and embeddings can be compared
    within a fold.
    """
    if isinstance(detector, CrossFitted):
        return _by_fold(detector, rows)
    with ThreadPoolExecutor(DECODERS) as threads:
        results = [_forward(detector, *batch) for batch in _batches(rows, detector.size, threads)]
    return _table(rows["object_id"], results, detector)


def _by_fold(crossed: CrossFitted, rows: pa.Table) -> pa.Table:
    """Each row by the detector of its galaxy's fold, in the order of the rows."""
    named = rows.select([n for n in ("object_id", "galaxy") if n in rows.column_names])
    fold = crossed.folds.of(named.to_pandas().reindex(columns=["object_id", "galaxy"]))
    parts = [
        _on_one_scale(score_rows(detector, rows.filter(pa.array(fold == number))), detector, number)
        for number, detector in enumerate(crossed.detectors)
    ]
    return pa.concat_tables(parts).take(np.argsort(np.argsort(fold, kind="stable")))


def _on_one_scale(table: pa.Table, detector: Detector, fold: int) -> pa.Table:
    calibration = Calibration(**detector.card["calibration"])
    score, spread = (table[name].to_numpy().astype(float) for name in ("score", "score_spread"))
    low, high = calibration.log_odds(score - spread), calibration.log_odds(score + spread)
    values = {"score": calibration.log_odds(score), "score_spread": (high - low) / 2}
    for name, found in values.items():
        column = pa.array(found, pa.float32(), mask=np.isnan(found))
        table = table.set_column(table.column_names.index(name), name, column)
    return table.append_column("fold", pa.array(np.full(len(table), fold), pa.int8()))


def embed(detector: Detector, store: CutoutStore, object_ids: Sequence[str]) -> np.ndarray:
    """Embeddings float32 (N, D) of the named cutouts by one detector, in their order."""
    pixels = load_pixels(store, object_ids, detector.size)
    parts = [np.zeros((0, detector.networks[0].head_hidden_size), np.float16)]
    for start in range(0, len(pixels), BATCH):
        parts.append(detector.look(pixels[start : start + BATCH]).embeddings)
    return np.concatenate(parts).astype(np.float32)


def _batches(rows: pa.Table, size: int, threads: ThreadPoolExecutor) -> Iterator[tuple]:
    """Yield (pixels uint8 (BATCH, S, S, 3), statuses); the next batch decodes meanwhile."""
    pending = None
    for start in range(0, len(rows), BATCH):
        part = rows.slice(start, BATCH)
        images, crops = part["image"].to_pylist(), part["crop"].to_pylist()
        ahead = [threads.submit(_decoded, *row, size) for row in zip(images, crops, strict=True)]
        if pending:
            yield _gathered(pending, size)
        pending = ahead
    if pending:
        yield _gathered(pending, size)


def _decoded(image, crop, size):
    try:
        return decode(image, crop, size), "ok"
    except UnreadableImage as reason:
        return np.zeros((), np.uint8), f"unreadable: {reason}"


def _gathered(pending, size):
    # Every forward pass has the same shape, so that a cutout's score does not depend on how many
    # others came with it.
    pixels = np.zeros((BATCH, size, size, 3), np.uint8)
    statuses = []
    for place, future in enumerate(pending):
        pixels[place], status = future.result()
        statuses.append(status)
    return pixels, statuses


def _forward(detector, pixels, statuses):
    seen, count = detector.look(pixels), len(statuses)
    return statuses, seen.scores[:count], seen.spread[:count], seen.embeddings[:count]


def _table(object_ids, results, detector):
    statuses = [status for batch in results for status in batch[0]]
    width = detector.networks[0].head_hidden_size
    scores = np.concatenate([np.zeros(0, np.float32)] + [r[1] for r in results])
    spread = np.concatenate([np.zeros(0, np.float32)] + [r[2] for r in results])
    embeddings = np.concatenate([np.zeros((0, width), np.float16)] + [r[3] for r in results])
    unreadable = np.array([status != "ok" for status in statuses], bool)
    low, high = detector.interval(scores, spread)
    numbers = {
        "score": scores,
        "score_spread": spread,
        "probability": detector.probability(scores),
        "probability_lo": low,
        "probability_hi": high,
    }
    fields = {
        "object_id": object_ids.combine_chunks(),
        "status": pa.array(statuses, pa.string()),
        **{
            name: pa.array(values, pa.float32(), mask=unreadable | np.isnan(values))
            for name, values in numbers.items()
        },
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(embeddings.ravel()), width, mask=pa.array(unreadable)
        ),
    }
    return pa.table(fields)
