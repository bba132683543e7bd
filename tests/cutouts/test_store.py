import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from discovery.cutouts import CutoutStore, UnreadableImage, load_pixels, write_shard
from discovery.errors import BadInput


def png(value):
    """A gradient whose first pixel says which one it is."""
    made = io.BytesIO()
    pixels = np.tile(np.array([value, 0, 255 - value], np.uint8), (32, 32, 1))
    pixels[..., 1] = np.arange(32)
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def row(object_id, **more):
    return {"object_id": object_id, "image": png(int(object_id[-1])), "crop": 1.0} | more


@pytest.fixture
def store(tmp_path):
    """Two surveys, three shards; only the last has votes."""
    write_shard([row("1", split="train"), row("2", split="search")], tmp_path / "a/00000.parquet")
    write_shard([row("3", split="train")], tmp_path / "a/00001.parquet")
    voted = [row("4", split="search", vote=0.5, kind="ring"), row("5", split="train", vote=None)]
    write_shard(voted, tmp_path / "b/00000.parquet")
    return CutoutStore(tmp_path)


def test_ids_that_are_numbers_are_refused(tmp_path):
    table = pa.table({"object_id": [1, 2], "image": [png(1), png(2)], "crop": [1.0, 1.0]})
    pq.write_table(table, tmp_path / "00000.parquet")
    with pytest.raises(BadInput, match="object_id is int64; write it as string"):
        load_pixels(CutoutStore(tmp_path), ["1"], 16)


def test_rows_are_found_in_their_shards_and_other_shards_are_left_alone(store, monkeypatch):
    read = []
    monkeypatch.setattr(
        "discovery.cutouts.store._read",
        lambda shard, columns: (
            read.append((shard, columns)) or pq.read_table(shard, columns=columns)
        ),
    )
    rows = [
        r for t in store.iter_rows(["5", "1", "9"], ["object_id", "image"]) for r in t.to_pylist()
    ]
    assert rows == [{"object_id": "1", "image": png(1)}, {"object_id": "5", "image": png(5)}]
    assert [shard.parent.name + shard.stem[-1] for shard, names in read if "image" in names] == [
        "a0", "b0",
    ]  # fmt: skip


def test_what_was_written_is_read_back_by_any_parquet_reader(tmp_path):
    told = {
        "object_id": "587742615639294556",
        "ra": 248.674,
        "dec": 11.9047,
        "image": png(7),
        "width": 32,
        "height": 32,
        "pixscale_arcsec": 0.2,
        "crop": 0.5,
        "survey": "sdss",
        "caption": "sdss, smooth",
        "galaxy": "g",
        "split": "search",
        "sampled": False,
        "sha256": "0" * 64,
        "t01_smooth_or_features_a01_smooth_debiased": 0.875,
        "published": True,
        "asset_id": 58957,
        "gz2class": "Er",
    }
    write_shard([told], tmp_path / "00000.parquet")
    assert pq.read_table(tmp_path / "00000.parquet").to_pylist() == [told]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.parquet"]


def test_core_columns_have_their_types_even_where_all_is_null(tmp_path):
    write_shard([row("1")], tmp_path / "00000.parquet")
    schema = pq.read_schema(tmp_path / "00000.parquet")
    assert schema.field("ra").type == pa.float64()
    assert schema.field("width").type == pa.int32()
    assert schema.field("caption").type == pa.string()
    assert pq.read_table(tmp_path / "00000.parquet")["ra"].to_pylist() == [None]


def test_a_shard_without_rows_is_a_shard(tmp_path):
    write_shard([], tmp_path / "00000.parquet")
    write_shard([row("1", split="train")], tmp_path / "00001.parquet")
    assert len(CutoutStore(tmp_path)) == 1
    assert CutoutStore(tmp_path).table(["object_id", "split"]).to_numpy().tolist() == [
        ["1", "train"]
    ]


def test_an_identifier_beyond_what_a_float_holds_survives_a_null_beside_it(tmp_path):
    rows = [row("1", objid=587742615639294557), row("2", objid=None)]
    write_shard(rows, tmp_path / "00000.parquet")
    assert pq.read_table(tmp_path / "00000.parquet")["objid"].to_pylist() == [
        587742615639294557,
        None,
    ]


def test_shards_of_differing_columns_make_one_table(store):
    assert len(store) == 5
    table = store.table(["object_id", "vote", "kind"])
    assert list(table["object_id"]) == ["1", "2", "3", "4", "5"]
    assert list(table["vote"].isna()) == [True, True, True, False, True]
    assert table["kind"][3] == "ring"
    assert store.columns[-2:] == ["vote", "kind"]
    assert "image" not in store.table()
    assert list(store.table(["object_id"], split="search")["object_id"]) == ["2", "4"]
    assert list(store.table(["object_id"], split="search").columns) == ["object_id"]


def test_shards_are_streamed_with_the_columns_they_have(store):
    streamed = [
        (p.parent.name, p.name, t.column_names) for p, t in store.iter_shards(["image", "vote"])
    ]
    assert streamed == [
        ("a", "00000.parquet", ["image"]),
        ("a", "00001.parquet", ["image"]),
        ("b", "00000.parquet", ["image", "vote"]),
    ]


@pytest.mark.parametrize("ids", [["5", "1", "3", "2", "4"], ["3"], ["4", "1"], ["2", "5", "2"], []])
def test_pixels_come_in_the_order_asked_for(store, ids):
    pixels = load_pixels(store, ids, 16)
    assert (pixels.shape, pixels.dtype) == ((len(ids), 16, 16, 3), np.uint8)
    assert [int(p[0, 0, 0]) for p in pixels] == [int(i) for i in ids]
    assert [int(p[8, 8, 2]) for p in pixels] == [255 - int(i) for i in ids]


def test_an_id_that_is_not_there_is_named(store):
    with pytest.raises(BadInput, match=r"has no cutout 9; was the store made anew\?"):
        load_pixels(store, ["1", "9", "3"], 16)


def test_a_damaged_cutout_is_reported(tmp_path):
    write_shard([row("1"), row("2") | {"image": png(2)[:-30]}], tmp_path / "00000.parquet")
    with pytest.raises(UnreadableImage, match="damaged"):
        load_pixels(CutoutStore(tmp_path), ["1", "2"], 16)
    assert load_pixels(CutoutStore(tmp_path), ["1"], 16).shape == (1, 16, 16, 3)


def test_a_folder_without_shards_is_refused_with_what_to_type(tmp_path):
    (tmp_path / ".00000.parquet.77.part").write_bytes(b"half")
    (tmp_path / "failures.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match=rf"{tmp_path} holds no cutouts .* `discovery ingest`"):
        CutoutStore(tmp_path)


def test_a_shard_that_is_none_is_named(tmp_path):
    shard = tmp_path / "00000.parquet"
    write_shard([row("1")], shard)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(BadInput, match=rf"{shard} is not a Parquet file"):
        CutoutStore(tmp_path).table()
    pq.write_table(pa.table({"object_id": ["1"], "flux": [1.0]}), shard)
    with pytest.raises(BadInput, match=r"no cutout shard: it lacks crop, image\."):
        len(CutoutStore(tmp_path))
