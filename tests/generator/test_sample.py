import io

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from discovery.cutouts import CutoutStore, decode
from discovery.errors import BadInput
from discovery.generator import sample
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PixelConfig, SynthesisConfig
from discovery.generator.train import train_generator

CAPTIONS = ["mock, smooth", "mock, edge-on galaxy, dust lane"] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    config = PixelConfig(
        size=16, patch=2, channels=(8, 16), text_width=16, steps=3, batch=4, learning_rate=1e-2
    )
    return train_generator(pixels, CAPTIONS, config, tmp_path_factory.mktemp("g") / "generator")


def wanted(*prompts, **settings):
    return SynthesisConfig(
        **{"steps": 2, "batch": 4, "prompts": [{"prompt": p, "count": n} for p, n in prompts]}
        | settings
    )


def test_rows_say_where_they_come_from(folder, tmp_path):
    config = SynthesisConfig(
        steps=2,
        prompts=[
            {"prompt": "mock, smooth, {dust lane:1.3}", "count": 3},
            {"prompt": "mock, smooth", "count": 2, "label": 0},
        ],
    )
    store = CutoutStore(sample.run(folder, config, tmp_path))
    rows = store.table()
    assert list(rows["label"]) == [1, 1, 1, 0, 0]
    assert list(rows["prompt"])[2:4] == ["mock, smooth, {dust lane:1.3}", "mock, smooth"]
    assert set(rows["generator"]) == {load_generator(folder).digest}
    assert set(rows["survey"]) == {"synthetic"}
    assert set(rows["split"]) == {"train"}
    assert rows["seed"].is_unique
    assert rows["object_id"].is_unique
    assert list(rows["crop"]) == [1.0] * 5
    (_, shard), = store.iter_shards(["image"])  # fmt: skip
    image = shard["image"][0].as_py()
    assert Image.open(io.BytesIO(image)).format == "PNG"
    assert decode(image, 1.0, 16).shape == (16, 16, 3)


def test_an_image_depends_on_its_own_seed(folder):
    generator = load_generator(folder)
    prompts = ["mock, smooth", "mock, {dust lane:1.2}", "mock, smooth"]
    together = sample.draw(generator, prompts, [5, 6, 5], 3, 2.0)
    alone = sample.draw(generator, prompts[1:2], [6], 3, 2.0)
    np.testing.assert_array_equal(together[0], together[2])
    assert not np.array_equal(together[0], together[1])
    # bfloat16 sums in another order in another batch; a level or so is all that it may change
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 4


def test_seeds_of_a_prompt_do_not_depend_on_the_others(folder):
    one = sample._plan(wanted(("mock, smooth", 2)))
    two = sample._plan(wanted(("mock, dust lane", 3), ("mock, smooth", 4)))
    assert [image.seed for image in one] == [image.seed for image in two][3:5]


def test_a_lost_shard_is_drawn_again_with_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS_PER_SHARD", 3)
    config = wanted(("mock, smooth", 7))
    sample.run(folder, config, tmp_path)
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) == 3
    kept, lost = shards[0].stat().st_mtime_ns, shards[1].read_bytes()
    shards[1].unlink()
    sample.run(folder, config, tmp_path)
    assert shards[0].stat().st_mtime_ns == kept
    assert shards[1].read_bytes() == lost


def test_other_settings_replace_the_store(folder, tmp_path):
    sample.run(folder, wanted(("mock, smooth", 3)), tmp_path)
    sample.run(folder, wanted(("mock, dust lane", 2)), tmp_path)
    assert list(CutoutStore(tmp_path).table()["prompt"]) == ["mock, dust lane"] * 2


def test_wrong_prompts_are_refused_before_anything_is_drawn(folder, tmp_path):
    with pytest.raises(BadInput, match=r"never saw 'quasar'.*dust lane, edge-on galaxy"):
        sample.run(folder, wanted(("mock, smooth", 1), ("mock, quasar", 1)), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInput, match="is no generator"):
        sample.run(tmp_path, wanted(("mock, smooth", 1)), tmp_path / "out")


@pytest.mark.parametrize("prompt", ["mock, {dust", "mock, {dust:0}"])
def test_wrong_prompts_in_a_run_file_are_found_when_it_is_read(prompt):
    with pytest.raises((BadInput, ValidationError), match=r"brace|weight"):
        wanted((prompt, 1))


def test_guidance_of_one_follows_the_caption_alone(folder):
    """By the formula, guidance 1 is the conditional velocity: one Euler step is x - v."""
    generator = load_generator(folder)
    drawn = sample.draw(generator, ["mock, smooth"], [3], 1, 1.0)
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        told = generator.condition([generator.tokens("mock, smooth")])
        image = noise - generator.predict(noise, torch.ones(1), told)
    levels = [(image[0, c] * generator.std[c] + generator.mean[c]) * 255 for c in range(3)]
    expected = torch.stack(levels, -1).clamp(0, 255).numpy()
    assert np.abs(drawn[0] - expected).max() < 3


def test_channels_fold_into_the_size_and_back(folder):
    generator = load_generator(folder)
    pixels = np.random.default_rng(1).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(generator.decode(generator.encode(pixels)), pixels)
