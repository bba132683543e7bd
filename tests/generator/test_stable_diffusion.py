import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from discovery.errors import BadInput
from discovery.files import read_json
from discovery.generator import adapters
from discovery.generator.checkpoint import load_generator, load_start
from discovery.generator.config import StableDiffusionConfig, SynthesisConfig
from discovery.generator.sample import draw, require_effect
from discovery.generator.train import train_generator
from discovery.morphology.prompts import token_weights
from tests.generator import tiny_sd
from tests.generator.killed import kill_after

CAPTIONS = ["sdss, smooth, completely round galaxy", "sdss, edge-on galaxy, dust lane"] * 4
PIXELS = np.random.default_rng(0).integers(0, 255, (8, 40, 40, 3), dtype=np.uint8)


def settings(start, **changed):
    return StableDiffusionConfig(
        **{"kind": "stable-diffusion", "start": str(start), "size": tiny_sd.SIZE, "steps": 4,
           "batch": 4, "learning_rate": 1e-3, "warmup_steps": 1, "checkpoint_every": 2,
           "precision": "float32"}
        | changed
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return tiny_sd.build(tmp_path_factory.mktemp("sd"))


def teach(start, out):
    return train_generator(PIXELS, CAPTIONS, settings(start, snapshots=(2,)), out, "cpu")


@pytest.fixture(scope="module")
def trained(published, tmp_path_factory):
    return teach(published, tmp_path_factory.mktemp("trained") / "generator")


def weights_of(folder):
    found = sorted(folder.glob("*/*.safetensors"))
    return {str(p.relative_to(folder)): load_file(p) for p in found if p.parent.name != "latents"}


def in_float32(generator):
    config = generator.config.model_copy(update={"precision": "float32"})
    return replace(generator, config=config)


def by_diffusers(pipeline, prompt, seed, steps, guidance):
    """What diffusers' own pipeline draws from the noise that this seed gives, 0..255."""
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
    made = pipeline(
        prompt, latents=noise, num_inference_steps=steps, guidance_scale=guidance,
        output_type="np", height=40, width=40,
    )  # fmt: skip
    return made.images[0] * 255


@pytest.mark.parametrize("source", ["published", "trained"])
def test_it_draws_what_diffusers_own_pipeline_draws(source, request):
    folder = request.getfixturevalue(source)
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    ours = in_float32(load_generator(folder, "cpu"))
    if source == "published":  # its scheduler is another; the weights are what is compared
        pipeline.scheduler = ours.process.scheduler("ddim")
    theirs = by_diffusers(pipeline, "sdss, smooth", seed=3, steps=3, guidance=2.0)
    drawn = draw(ours, ["sdss, smooth"], [3], 3, 2.0)[0]
    assert theirs.std() > 20
    assert np.abs(drawn - theirs).max() < 1


def test_training_moves_unet_and_text_encoder_and_leaves_the_autoencoder(published, trained):
    before, after = load_generator(published, "cpu"), load_generator(trained, "cpu")
    moved = {
        part: max(
            float((a - b).abs().max())
            for a, b in zip(after.networks()[part].parameters(), network.parameters(), strict=True)
        )
        for part, network in before.networks().items()
    }
    assert moved["unet"] > 5e-4
    assert moved["text_encoder"] > 5e-4
    assert moved["vae"] < 1e-3 * 2  # kept as float16
    assert after.tags == {
        "sdss": 8, "dust lane": 4, "edge-on galaxy": 4, "smooth": 4, "completely round galaxy": 4
    }  # fmt: skip
    assert read_json(trained / "generator.json")["started_from"] == before.digest


def test_a_snapshot_is_a_whole_generator_of_its_step(trained):
    half = load_generator(trained / "snapshots" / "2", "cpu")
    assert read_json(trained / "snapshots/2/generator.json")["steps"] == 2
    assert half.digest != load_generator(trained, "cpu").digest
    assert draw(half, ["sdss, smooth"], [1], 1, 1.0).shape == (1, 40, 40, 3)


def test_killed_and_started_again_it_ends_with_the_same_bits(
    published, trained, tmp_path, steps_taken
):
    kill_after(2, "test_stable_diffusion", published, tmp_path)
    assert not (tmp_path / "generator.json").exists()
    latents = [path.stat().st_mtime_ns for path in (tmp_path / "latents").iterdir()]
    teach(published, tmp_path)
    assert steps_taken == [2, 3]
    assert [path.stat().st_mtime_ns for path in (tmp_path / "latents").iterdir()] == latents
    ended, whole = weights_of(tmp_path), weights_of(trained)
    assert ended.keys() == whole.keys()
    for name, state in whole.items():
        for key, tensor in state.items():
            assert torch.equal(ended[name][key], tensor), (name, key)


def test_an_adapter_is_merged_and_lies_beside(published, tmp_path):
    config = settings(published, lora_rank=2, learning_rate=5e-2)
    out = train_generator(PIXELS, CAPTIONS, config, tmp_path / "out", "cpu")
    pipeline = StableDiffusionPipeline.from_pretrained(out)
    merged = by_diffusers(pipeline, "sdss, smooth", 3, 3, 2.0)
    plain = StableDiffusionPipeline.from_pretrained(published)
    plain.scheduler = pipeline.scheduler
    untouched = by_diffusers(plain, "sdss, smooth", 3, 3, 2.0)
    plain.load_lora_weights(out / "lora")
    adapted = by_diffusers(plain, "sdss, smooth", 3, 3, 2.0)
    assert np.abs(merged - adapted).max() < 2
    assert np.abs(merged - untouched).max() > 10
    before, after = (load_generator(f, "cpu").unet.state_dict() for f in (published, out))
    changed = {k for k in before if (after[k] - before[k]).abs().max() > 2e-3}
    assert changed
    assert all(".to_" in name for name in changed)


def test_activations_computed_twice_teach_the_same(published, tmp_path):
    """Of adapters too, whose gradients the usual way of it loses in the text encoder."""
    kept, twice = (
        train_generator(
            PIXELS, CAPTIONS,
            settings(published, lora_rank=2, gradient_checkpointing=again,
                     steps=2, learning_rate=1e-2, warmup_steps=0),
            tmp_path / str(again), "cpu",
        )
        for again in (False, True)
    )  # fmt: skip
    one, other = (load_file(folder / "lora" / adapters.FILE) for folder in (kept, twice))
    learnt = [name for name in one if "lora_B" in name or ".up." in name]
    assert any(name.startswith("text_encoder.") for name in learnt)
    for name in learnt:  # they begin as 0
        assert one[name].abs().max() > 1e-3, name
        torch.testing.assert_close(other[name], one[name], atol=1e-4, rtol=1e-3)


def test_v_with_zero_terminal_snr_is_learnt_and_written(published, tmp_path):
    config = settings(published, prediction="v", zero_terminal_snr=True, steps=1, turns=True)
    out = train_generator(PIXELS, CAPTIONS, config, tmp_path / "out", "cpu")
    pipeline = StableDiffusionPipeline.from_pretrained(out)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert float(pipeline.scheduler.alphas_cumprod[-1]) == 0
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    again = load_generator(out, "cpu")
    assert again.process.zero_terminal_snr
    theirs = by_diffusers(pipeline, "sdss, smooth", 3, 3, 2.0)
    assert np.abs(draw(again, ["sdss, smooth"], [3], 3, 2.0)[0] - theirs).max() < 1
    latents = load_file(out / "latents/00000.safetensors")
    assert latents["mean"].shape == (8, 8, 4, 5, 5)  # images, orientations, latent
    mirrored = np.ascontiguousarray(PIXELS[2:3, :, ::-1])
    mean, std = again.posterior(mirrored)
    torch.testing.assert_close(latents["mean"][2, 1].float(), mean[0], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(latents["std"][2, 1].float(), std[0], atol=2e-3, rtol=2e-3)


@pytest.fixture(scope="module")
def clip(published):
    return load_generator(published, "cpu").tokenizer


def test_the_tokenizer_splits_words_as_clip_does(clip):
    assert clip.tokenize("smoothly dust lane, x") == [
        "smooth", "l", "y</w>", "dust</w>", "lane</w>", ",</w>", "x</w>"
    ] or clip.tokenize("dust lane, x") == ["dust</w>", "lane</w>", ",</w>", "x</w>"]  # fmt: skip
    assert len(clip.tokenize("smoothly")) > 1
    assert len(clip("sdss")["input_ids"]) == 3


@pytest.mark.parametrize(
    ("prompt", "weighted"),
    [
        ("sdss, {dust lane:1.3}, ring", {"dust</w>": 1.3, "lane</w>": 1.3}),
        ("sdss, {dust lane,:0.5} ring", {"dust</w>": 0.5, "lane</w>": 0.5, ",</w>": 0.5}),
        (r"{\{:2} ring \: {lane}", {"{</w>": 2.0, "lane</w>": 1.1}),
        ("{{merger:1.5} ring:2}", {"merger</w>": 3.0, "ring</w>": 2.0}),
    ],
)
def test_weights_are_exact_to_the_token(clip, prompt, weighted):
    tokens = token_weights(clip, prompt)
    names = clip.convert_ids_to_tokens(tokens.ids.tolist())
    found = [(n, w) for n, w in zip(names, tokens.weights.tolist(), strict=True) if w != 1]
    assert dict(found) == pytest.approx(weighted)
    assert len(found) == len(weighted)
    assert names[0] == "<|startoftext|>"
    assert (tokens.weights[0], len(names)) == (1, 77)


def test_every_token_of_a_split_word_is_weighted_and_none_beside(clip):
    pieces = len(clip.tokenize("smoothly"))
    assert pieces > 1
    tokens = token_weights(clip, "sdss {smoothly:1.7} ring")
    # start, sdss, the pieces, ring, end and padding
    expected = [1, 1, *[1.7] * pieces, *[1] * (75 - pieces)]
    np.testing.assert_allclose(tokens.weights, expected, rtol=1e-6)


def test_rows_of_weighted_tokens_are_multiplied_and_the_mean_restored(published):
    generator = load_generator(published, "cpu")
    plain, weighted = (
        generator.condition([generator.tokens(p)])[0].detach().double().numpy()
        for p in ("sdss, dust lane", "sdss, {dust lane:1.5}")
    )
    by_hand = plain.copy()
    by_hand[3:5] *= 1.5  # after start, sdss and the comma
    by_hand *= plain.mean() / by_hand.mean()
    np.testing.assert_allclose(weighted, by_hand, rtol=2e-4, atol=1e-5)
    ratio = weighted[0] / plain[0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)  # the first row is only rescaled


def test_prompts_and_captions_of_more_than_77_tokens_are_refused(published, tmp_path):
    generator = load_generator(published, "cpu")
    with pytest.raises(BadInput, match="82 tokens; 77 fit"):
        generator.tokens("dust lane " * 40)
    captions = [*CAPTIONS[:7], "sdss, " + "dust lane " * 40]
    with pytest.raises(BadInput, match=r"the caption 'sdss, dust.*77 fit"):
        train_generator(PIXELS, captions, settings(published), tmp_path, "cpu")


def test_words_of_no_caption_are_refused_by_what_was_trained_here(published, trained):
    with pytest.raises(BadInput, match=r"never saw 'quasar'.*dust lane, edge-on galaxy"):
        draw(load_generator(trained, "cpu"), ["sdss, quasar"], [1], 1, 1.0)
    assert draw(load_generator(published, "cpu"), ["quasar"], [1], 1, 1.0).shape[0] == 1


def test_what_is_no_stable_diffusion_is_refused(published, trained, tmp_path):
    pickled, other, broken = (
        shutil.copytree(published, tmp_path / name) for name in ("pickled", "other", "broken")
    )
    (pickled / "unet/diffusion_pytorch_model.safetensors").unlink()
    (pickled / "unet/diffusion_pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(BadInput, match=r"lacks unet/diff.*pickled weights, diffusion_pytorch_mode"):
        load_start(settings(pickled))
    (other / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    with pytest.raises(BadInput, match=r"is a StableDiffusionXLPipeline; only a StableDiffusionP"):
        load_start(settings(other))
    (broken / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(BadInput, match=r"cannot be read as Stable Diffusion 1\.x"):
        load_start(settings(broken))
    with pytest.raises(BadInput, match=r"'shipped' is a generator of the kind 'pixel'.*start of"):
        load_start(settings("shipped"))


def test_settings_that_contradict_each_other_are_refused(published, tmp_path):
    with pytest.raises(ValueError, match=r"set prediction = 'v'"):
        settings(published, prediction="epsilon", zero_terminal_snr=True)
    with pytest.raises(BadInput, match=r"predicts epsilon; set prediction = 'v'"):
        train_generator(
            PIXELS, CAPTIONS, settings(published, zero_terminal_snr=True), tmp_path, "cpu"
        )
    with pytest.raises(BadInput, match=r"batch = 4 cannot be shared evenly.*a multiple of 3"):
        train_generator(PIXELS, CAPTIONS, settings(published, accumulate=3), tmp_path, "cpu")


def test_symmetry_is_not_for_it_and_coherence_is(trained):
    generator, prompt = load_generator(trained), CAPTIONS[0]
    asked = SynthesisConfig(prompts=[{"prompt": prompt, "count": 1}], symmetry=0.05)
    with pytest.raises(BadInput, match=r"of the kind stable-diffusion; leave symmetry out"):
        require_effect(generator, asked)

    def drawn(coherence, guidance):
        return draw(generator, [prompt], [3], 4, guidance, coherence=coherence)

    for guidance in (1.0, 2.0):
        plain = drawn(0.0, guidance)
        assert (drawn(1.0, guidance) != plain).any()
        np.testing.assert_array_equal(drawn(0.0, guidance), plain)  # attention is back
