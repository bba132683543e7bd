"""What a generator is held against, and that it never saw it."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from discovery.cutouts import CutoutStore, write_shard
from discovery.errors import BadInput
from discovery.evidence.tables import markdown, once, records, write_both
from discovery.generator.judge import features as looking
from discovery.generator.judge.real import halves, join, load_images, refuse_leak, rows_to_judge

SMOOTH, DISC = "mock, smooth", "mock, edge-on galaxy"


def png(seed, caption):
    """A disc where the caption says smooth, a bar where it does not; 16 px, noisy."""
    y, x = np.mgrid[:16, :16] - 7.5
    shape = np.hypot(x, y) < 5 if caption == SMOOTH else abs(y) < 2
    noise = np.random.default_rng(seed).integers(0, 40, (16, 16, 3))
    pixels = (shape[..., None] * np.array([180, 160, 120]) + noise).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def row(number, split, **changed):
    caption = (SMOOTH, DISC)[number % 2]
    return {
        "object_id": f"{split}-{number}",
        "image": png(hash_of(split) + number, caption),
        "crop": 1.0,
        "survey": "mock",
        "caption": caption,
        "galaxy": f"{split}-{number}",
        "split": split,
        "sampled": True,
        "sha256": f"sha-{split}-{number}",
    } | changed


def hash_of(split):
    return {"train": 0, "validation": 1000}[split]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    rows = [row(i, "train") for i in range(60)] + [row(i, "validation") for i in range(50)]
    rows += [
        row(50, "validation", caption=None),
        row(51, "validation", sampled=False),
        row(52, "validation", galaxy="validation-0"),
    ]
    write_shard(rows, folder / "00000.parquet")
    return CutoutStore(folder)


def test_halves_are_disjoint_captioned_sampled_and_of_one_cutout_a_galaxy(store):
    rows = rows_to_judge(store, "validation")
    assert set(rows["object_id"]) == {f"validation-{i}" for i in range(50)}
    one, other, more = halves(rows, 1000, seed=3)
    assert len(one) == len(other) == 25
    assert more.empty
    assert not set(one["galaxy"]) & set(other["galaxy"])
    again, *_ = halves(rows, 1000, seed=3)
    assert list(again["object_id"]) == list(one["object_id"])
    assert len(halves(rows, 10, seed=3)[1]) == 10


def test_galaxies_beyond_the_halves_leave_these_as_they_are(store):
    rows = rows_to_judge(store, "validation")
    few, many = (halves(rows, 10, seed=3, in_all=n) for n in (13, 1000))
    assert [len(part) for part in (*few, *many)] == [10, 10, 0, 10, 10, 30]
    for one, other in zip(few[:2], many[:2], strict=True):
        assert list(one["object_id"]) == list(other["object_id"])
    assert set(pd.concat(many)["object_id"]) == set(rows["object_id"])


def test_the_first_of_each_caption_are_split_from_the_rest(store):
    images = load_images(store, rows_to_judge(store, "validation").head(9), 16)
    first, rest = images.split([DISC, SMOOTH, DISC])
    places = {c: [i for i, have in enumerate(images.captions) if have == c] for c in (SMOOTH, DISC)}
    wanted = sorted(places[SMOOTH][:1] + places[DISC][:2])
    assert first.ids == [images.ids[i] for i in wanted]
    np.testing.assert_array_equal(first.pixels, images.pixels[wanted])
    assert rest.ids == [i for i in images.ids if i not in first.ids]


def test_images_keep_their_captions(store):
    one, other, _ = halves(rows_to_judge(store, "validation"), 5, seed=0)
    both = join(load_images(store, one, 16), load_images(store, other, 16))
    assert len(both) == 10
    discs = both.of(SMOOTH)
    assert set(discs.captions) == {SMOOTH}
    assert discs.pixels[:, 0, 8].mean() < 30 < discs.pixels[:, 8, 8].mean()
    assert both.first(3).ids == both.ids[:3]


def test_a_split_without_enough_galaxies_is_refused(store):
    with pytest.raises(BadInput, match=r"has 0 galaxies with a caption in the split 'search'.*20"):
        rows_to_judge(store, "search")


def seen(**columns):
    return pd.DataFrame({"object_id": ["x"], "galaxy": ["x"], "sha256": ["x"]} | columns)


def test_a_galaxy_that_taught_the_generator_stops_the_judgement(store):
    rows = rows_to_judge(store, "validation")
    assert refuse_leak(rows, seen(), []) == (
        "none of 50 is among the 1 cutouts that taught the generator"
    )
    for leak in ({"galaxy": ["validation-7"]}, {"sha256": ["sha-validation-7"]}):
        with pytest.raises(BadInput, match=r"1 of the 50 galaxies.*example validation-7.*flatter"):
            refuse_leak(rows, seen(**leak), [])


def test_ids_of_a_mock_sky_repeat_but_its_images_do_not(store):
    rows = rows_to_judge(store, "validation")
    refuse_leak(rows, seen(galaxy=["validation-7"]), ["mock"])
    with pytest.raises(BadInput, match="1 of the 50"):
        refuse_leak(rows, seen(sha256=["sha-validation-7"]), ["mock"])


def test_a_generator_without_a_list_cannot_be_checked(store):
    said = refuse_leak(rows_to_judge(store, "validation"), None, [])
    assert said == "cannot be checked: the generator has no trained_on.parquet"


@pytest.fixture(scope="module")
def network(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("features") / "features"
    return looking.train_features(store, 32, 12, 0, out, "cpu"), out


def test_the_network_names_what_it_never_saw(store, network):
    images = load_images(store, rows_to_judge(store, "validation"), 32)
    features, probabilities = network[0].look(images.pixels)
    assert features.shape == (50, looking.WIDTH)
    named = looking.named_well(network[0].tags, probabilities, images.captions)
    assert dict(zip(named["tag"], named["images"], strict=True)) == {
        "edge-on galaxy": 25, "smooth": 25,
    }  # fmt: skip
    assert (named["auroc"] > 0.9).all()


def test_features_do_not_depend_on_a_quarter_turn(store, network):
    pixels = load_images(store, rows_to_judge(store, "validation").head(4), 32).pixels
    turned = np.rot90(pixels, 1, (1, 2)).copy()
    one, other = (network[0].look(p)[0] for p in (pixels, turned))
    assert np.abs(one - other).max() < 0.02 * np.abs(one).max()


def test_a_stopped_training_goes_on_to_the_same_weights(store, network, tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "_STATES_EVERY", 4)
    batch, steps = looking._batch, []

    def stopped(pixels, targets, card, step):
        steps.append(step)
        if len(steps) == 6:
            raise KeyboardInterrupt
        return batch(pixels, targets, card, step)

    monkeypatch.setattr(looking, "_batch", stopped)
    with pytest.raises(KeyboardInterrupt):
        looking.train_features(store, 32, 12, 0, tmp_path, "cpu")
    again = looking.train_features(store, 32, 12, 0, tmp_path, "cpu")
    assert steps == [*range(6), *range(4, 12)]
    assert again.card == network[0].card  # the digest of the weights is in it


def test_weights_of_another_network_are_refused(network, tmp_path):
    import shutil

    copy = shutil.copytree(network[1], tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match=r"is not the file that features\.json was written for"):
        looking.load_features(copy, "cpu")


def test_a_network_without_a_tag_to_learn_is_refused(tmp_path):
    write_shard([row(i, "train") for i in range(6)], tmp_path / "s" / "00000.parquet")
    with pytest.raises(BadInput, match="no tag is in 20 captions of the training split"):
        looking.train_features(CutoutStore(tmp_path / "s"), 16, 3, 0, tmp_path / "out", "cpu")


def test_a_table_is_made_once_for_the_same_input(tmp_path):
    path, made = tmp_path / "t.parquet", []

    def make():
        made.append(1)
        return pd.DataFrame({"value": [len(made)]})

    values = [once(path, key, make)["value"].item() for key in ("a", "a", "b", "b")]
    assert values == [1, 1, 2, 2]


def test_tables_for_people(tmp_path):
    frame = pd.DataFrame({"name": ["a|b"], "value": [0.123456], "count": [3], "none": [np.nan]})
    assert markdown(frame).splitlines() == [
        "| name | value | count | none |",
        "| --- | --- | --- | --- |",
        "| a\\|b | 0.1235 | 3 | – |",
    ]
    write_both(frame, tmp_path / "t")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), frame)
    assert records(frame)[0]["none"] is None
