import io

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from PIL import Image
from pydantic import ValidationError

from discovery.cutouts import CutoutStore, decode, write_shard
from discovery.errors import BadInput
from discovery.files import read_json
from discovery.generator import sample, synthesize
from discovery.generator.checkpoint import load_generator, trained_on
from discovery.generator.config import DDPMConfig, SynthesisConfig
from discovery.generator.ddpm import DDPMGenerator
from discovery.generator.train import run, train_generator

CLASSES = {"round": "smooth, completely round galaxy", "edge-on": "edge-on galaxy"}
CAPTIONS = ["sdss, smooth, completely round galaxy", "sdss, edge-on galaxy, dust lane"] * 16


def config(**settings):
    tiny = {"kind": "ddpm", "size": 16, "channels": (16, 32), "layers": 1, "classes": CLASSES}
    return DDPMConfig(**tiny | {"steps": 2, "batch": 4} | settings)


def bars():
    """uint8 (32, 16, 16, 3): upright bars of the first class, lying ones of the second."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:16, :16] - 7.5
    shapes = [(abs(x) < 3) & (abs(y) < 8), (abs(y) < 3) & (abs(x) < 8)]
    clean = np.stack([shapes[i % 2] for i in range(32)])[..., None] * np.array([225, 215, 205])
    return (clean + rng.integers(0, 30, clean.shape)).astype(np.uint8)


def flattening(images):
    """Ratio of the second moments along and across the image of each galaxy, float (N,)."""
    y, x = np.mgrid[:16, :16] - 7.5
    light = np.clip(images.astype(float).mean(3) - 60, 0, None)
    return [(s * x**2).sum() / (s * y**2).sum() for s in light]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = config(
        steps=250, batch=16, learning_rate=4e-3, warmup_steps=20, ema_decay=0.98, turns=False,
        caption_dropout=0.1, precision="float32",
    )  # fmt: skip
    return train_generator(bars(), CAPTIONS, settings, tmp_path_factory.mktemp("g") / "out")


def test_it_draws_the_class_that_is_asked_for(trained):
    assert max(flattening(bars()[::2])) < 0.3
    assert min(flattening(bars()[1::2])) > 3
    generator = load_generator(trained)
    prompts = [CLASSES["round"]] * 8 + [CLASSES["edge-on"]] * 8
    drawn = flattening(sample.draw(generator, prompts, range(16), 100, 1.0))
    assert np.median(drawn[:8]) < 0.5
    assert np.median(drawn[8:]) > 2


def test_the_right_class_explains_a_noised_image_best(trained):
    """At step 300 39 % of the variance is image; the class says what is under the noise."""
    generator = load_generator(trained, "cpu")
    x, time = generator.encode(bars()), torch.full((32,), 300)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    noised = generator.process.noised(x, noise, time)
    with torch.inference_mode():
        right, wrong = (
            ((generator.predict(noised, time, torch.tensor(told * 16)) - noise) ** 2).mean(
                (1, 2, 3)
            )
            for told in ([1, 0], [0, 1])
        )
    assert (right < wrong).all()
    assert right.mean() < 0.6 * wrong.mean()


def test_the_schedule_is_that_of_ho_et_al():
    process = DDPMGenerator.build(config()).process
    expected = 1e-4 + np.arange(1000) / 999 * (0.02 - 1e-4)
    np.testing.assert_allclose(process.betas, expected, rtol=1e-6)
    scheduler = process.scheduler()
    scheduler.set_timesteps(1000)
    assert list(scheduler.timesteps) == list(range(999, -1, -1))
    assert (type(scheduler).__name__, scheduler.config.variance_type) == (
        "DDPMScheduler",
        "fixed_small",
    )


def test_the_time_rescales_every_channel():
    """Scale and shift take twice as many numbers from the embedding as there are channels."""
    (first, *_) = DDPMGenerator.build(config()).unet.down_blocks[0].resnets
    assert first.time_emb_proj.out_features == 2 * 16
    assert first.time_embedding_norm == "scale_shift"


def test_the_network_for_224_px_attends_at_14_px():
    unet = DDPMGenerator.build(config(size=224, channels=(8, 8, 8, 8, 8, 8))).unet
    sides = [
        224 // 2**i for i, block in enumerate(unet.down_blocks) if hasattr(block, "attentions")
    ]
    assert sides == [14]


def test_the_centre_of_a_424_px_image_is_taken_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 255, (424, 424, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    cut = decode(encoded.getvalue(), 0.5283018867924528, 224)
    np.testing.assert_array_equal(cut, pixels[100:324, 100:324])


def store(folder):
    def encoded(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    captions = [*CAPTIONS[:-2], "sdss, spiral galaxy", None]
    rows = [
        {"object_id": str(i), "galaxy": str(i), "sha256": str(i), "image": encoded(pixels),
         "crop": 1.0, "split": "train", "caption": caption}
        for i, (pixels, caption) in enumerate(zip(bars(), captions, strict=True))
    ]  # fmt: skip
    write_shard(rows, folder / "00000.parquet")
    return CutoutStore(folder)


def test_one_class_makes_an_unconditional_model_of_its_galaxies_alone(tmp_path):
    alone = config(classes={"round": CLASSES["round"]})
    out = run(store(tmp_path / "store"), alone, tmp_path / "out", "cpu")
    assert set(trained_on(out)["object_id"]) == {str(i) for i in range(0, 30, 2)}
    assert read_json(out / "generator.json")["tags"] == {
        "completely round galaxy": 15, "sdss": 15, "smooth": 15,
    }  # fmt: skip
    generator = load_generator(out)
    assert generator.unet.class_embedding is None
    plain = DDPMPipeline.from_pretrained(out)
    plain.set_progress_bar_config(disable=True)
    (image,) = plain(num_inference_steps=2, output_type="np").images
    assert image.shape == (16, 16, 3)


def test_galaxies_of_no_class_teach_nothing(tmp_path):
    out = run(store(tmp_path / "store"), config(), tmp_path / "out", "cpu")
    assert set(trained_on(out)["object_id"]) == {str(i) for i in range(30)}
    with pytest.raises(BadInput, match="'sdss, ring' belongs to no class, as 1 of 32 do"):
        train_generator(bars(), [*CAPTIONS[:-1], "sdss, ring"], config(), tmp_path / "b")


def test_the_class_without_name_stands_for_any(trained):
    generator = load_generator(trained)
    assert generator.unet.class_embedding.num_embeddings == 3
    told = generator.condition(generator.caption_tokens(["", *CAPTIONS[:2]]))
    assert told.tolist() == [2, 1, 0]  # in the order of their names


def test_guidance_needs_images_that_were_trained_without_class():
    generator = DDPMGenerator.build(config())
    with pytest.raises(BadInput, match=r"set guidance = 1, or train .* caption_dropout = 0\.1"):
        sample.draw(generator, [CLASSES["round"]], [1], 2, 2.0)
    with pytest.raises(ValidationError, match="one class has nothing that guidance could lead"):
        config(classes={"round": "smooth"}, caption_dropout=0.1)


def test_prompts_are_classes(trained, tmp_path):
    asked = {"steps": 2, "guidance": 1, "prompts": [{"prompt": CLASSES["edge-on"], "count": 3}]}
    rows = CutoutStore(
        synthesize.run(trained, SynthesisConfig(**asked), tmp_path / "store", "cpu")
    ).table()
    assert list(rows["prompt"]) == ["edge-on galaxy"] * 3
    assert set(rows["sampler"]) == {"ddpm"}
    asked["prompts"] = [{"prompt": "edge-on galaxy, {dust lane:1.3}", "count": 3}]
    with pytest.raises(BadInput, match="gives 'dust lane' a weight"):
        synthesize.run(trained, SynthesisConfig(**asked), tmp_path / "none", "cpu")
    asked["prompts"] = [{"prompt": "spiral galaxy", "count": 3}]
    with pytest.raises(BadInput, match=r"is no class of this generator.*'edge-on galaxy' \(edge"):
        synthesize.run(trained, SynthesisConfig(**asked), tmp_path / "none", "cpu")


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(BadInput, match=r"size = 18 cannot be halved 2 times"):
        DDPMGenerator.build(config(size=18, channels=(8, 8, 8)))
    with pytest.raises(ValidationError, match="have the same tags"):
        config(classes={"a": "smooth, ring", "b": "ring, smooth"})
    with pytest.raises(ValidationError, match="multiple of 8"):
        config(channels=(12, 16))
    with pytest.raises(ValidationError, match="tag_dropout"):
        config(tag_dropout=0.1)


def test_the_weights_follow_from_the_seed():
    one, same, other = (
        DDPMGenerator.build(config(seed=seed)).unet.conv_in.weight for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_symmetry_is_not_for_it_and_coherence_is(trained):
    generator, prompt = load_generator(trained), CLASSES["round"]
    asked = SynthesisConfig(prompts=[{"prompt": prompt, "count": 1}], symmetry=0.05)
    with pytest.raises(BadInput, match=r"this generator is of the kind ddpm; leave symmetry out"):
        sample.require_effect(generator, asked)

    def drawn(coherence):
        return sample.draw(generator, [prompt], [3], 4, 1.0, sampler="ddim", coherence=coherence)

    plain = drawn(0.0)
    assert (drawn(1.0) != plain).any()
    np.testing.assert_array_equal(drawn(0.0), plain)  # attention is back
