"""Group the candidates of a run: embeddings → clusters → a contact sheet of each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from discovery.cutouts.store import CutoutStore, load_pixels, write_table
from discovery.neighbours.cluster import cluster_candidates, order_by_probability
from discovery.neighbours.config import ClusterConfig
from discovery.neighbours.index import nearest_known
from discovery.neighbours.sheets import contact_sheet

SHEET_PX = 96
SHEET_ROWS = 8 * 8


def group(
    candidates: pd.DataFrame,
    embeddings: np.ndarray,
    known_embeddings: np.ndarray,
    store: CutoutStore,
    config: ClusterConfig,
    out: Path,
) -> Path:
    """Write clusters.parquet and cluster-00.png, …, cluster 0 the most probable on average.

    Args:
        candidates: object_id, rank (null: was in training), probability, in the order to show.
        embeddings: float32 (N, D) of the candidates.
        known_embeddings: float32 (K, D) of published objects; K may be zero.

    Returns:
        the table: object_id, cluster, nearest_known_distance (cosine; null without published ones).
    """
    labels, centroids = cluster_candidates(embeddings, config.clusters, config.seed)
    labels, _ = order_by_probability(labels, centroids, candidates["probability"].to_numpy())
    table = pd.DataFrame(
        {
            "object_id": candidates["object_id"],
            "cluster": labels,
            "nearest_known_distance": nearest_known(embeddings, known_embeddings),
        }
    )
    for cluster, members in candidates.groupby(labels):
        _draw(members.head(SHEET_ROWS), store, out / f"cluster-{cluster:02d}.png")
    path = out / "clusters.parquet"
    write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    return path


def _draw(members: pd.DataFrame, store: CutoutStore, path: Path) -> None:
    pixels = load_pixels(store, list(members["object_id"]), SHEET_PX)
    ranks = members["rank"].astype(str).where(members["rank"].notna(), "-")
    captions = [f"{rank}  p {p:.2f}" for rank, p in zip(ranks, members["probability"], strict=True)]
    contact_sheet(pixels, captions, path)
