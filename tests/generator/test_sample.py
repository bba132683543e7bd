import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import uniform_filter

from discovery.cutouts import CutoutStore, decode
from discovery.errors import BadInput
from discovery.generator import sample, synthesize
from discovery.generator.checkpoint import load_generator
from discovery.generator.coherence import self_attention
from discovery.generator.config import PixelConfig, SynthesisConfig
from discovery.generator.train import train_generator

CAPTIONS = ["mock, smooth", "mock, edge-on galaxy, dust lane"] * 4
LATE = {"reference": "real", "strength": 0.07, "steps": 16}  # the last step alone


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
    store = CutoutStore(synthesize.run(folder, config, tmp_path))
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
    one = synthesize._plan(wanted(("mock, smooth", 2)))
    two = synthesize._plan(wanted(("mock, dust lane", 3), ("mock, smooth", 4)))
    assert [image.seed for image in one] == [image.seed for image in two][3:5]


def test_a_lost_shard_is_drawn_again_with_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "ROWS_PER_SHARD", 3)
    config = wanted(("mock, smooth", 7))
    synthesize.run(folder, config, tmp_path)
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) == 3
    kept, lost = shards[0].stat().st_mtime_ns, shards[1].read_bytes()
    shards[1].unlink()
    synthesize.run(folder, config, tmp_path)
    assert shards[0].stat().st_mtime_ns == kept
    assert shards[1].read_bytes() == lost


def test_other_settings_replace_the_store(folder, tmp_path):
    synthesize.run(folder, wanted(("mock, smooth", 3)), tmp_path)
    synthesize.run(folder, wanted(("mock, dust lane", 2)), tmp_path)
    assert list(CutoutStore(tmp_path).table()["prompt"]) == ["mock, dust lane"] * 2


def test_wrong_prompts_are_refused_before_anything_is_drawn(folder, tmp_path):
    with pytest.raises(BadInput, match=r"never saw 'quasar'.*dust lane, edge-on galaxy"):
        synthesize.run(folder, wanted(("mock, smooth", 1), ("mock, quasar", 1)), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInput, match="is no generator"):
        synthesize.run(tmp_path, wanted(("mock, smooth", 1)), tmp_path / "out")


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


def test_an_outline_is_drawn_first_and_without_guidance(folder):
    generator = load_generator(folder)
    plain, full = "mock, smooth", "mock, edge-on galaxy, {dust lane:1.6}"

    def draw(prompt, steps, guidance, **told):
        return sample.draw(generator, [prompt], [3], steps, guidance, sampler="euler", **told)[0]

    only = draw(full, 4, 5.0, outline=[plain], outline_above=1e-6)
    np.testing.assert_array_equal(only, draw(plain, 4, 1.0))
    unguided = draw(full, 4, 5.0, outline_above=1e-6)  # without one: the prompt itself
    np.testing.assert_array_equal(unguided, draw(full, 4, 1.0))
    # Of two steps of Euler, the first at noise of 1 and the second below 0.99.
    scheduler = generator.process.scheduler("euler")
    scheduler.set_timesteps(2)
    (_, second), (first_jump, last_jump) = scheduler.sigmas[:2], scheduler.sigmas.diff()
    with torch.inference_mode(), generator.autocast():
        told = [generator.condition([generator.tokens(t)]) for t in (plain, full, "")]
        x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
        x = x + first_jump * generator.predict(x, torch.ones(1), told[0])
        asked, free = (generator.predict(x, second[None], t) for t in told[1:])
        expected = generator.decode(x + last_jump * (free + 5.0 * (asked - free)))[0]
    drawn = draw(full, 2, 5.0, outline=[plain], outline_above=0.99)
    assert np.abs(drawn.astype(int) - expected).max() <= 4  # bfloat16, batches of one and two
    assert np.abs(drawn.astype(int) - draw(full, 2, 5.0)).max() > 4


def test_what_would_change_nothing_is_refused(folder, diffusion, tmp_path):
    with pytest.raises(BadInput, match=r"strength = 1 leaves nothing of a reference.*0\.6, say"):
        synthesize.run(folder, wanted(("mock, smooth", 1), reference="real"), tmp_path, real=None)
    late = SynthesisConfig(
        prompts=[{"prompt": "mock, smooth", "count": 1}], steps=4, reference="real", strength=0.25,
        outline_above=0.9,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"begins at a share of noise of 0\.\d+, so no outline"):
        synthesize.run(folder, late, tmp_path)
    with pytest.raises(BadInput, match="cannot take 61 steps; give 60 or 62"):
        sample.draw(diffusion, ["mock, smooth"], [1], 61, 1.0)
    assert not list(tmp_path.iterdir())


def test_a_flow_goes_on_from_a_reference_as_from_its_own_noise(folder):
    """Of a reference only its noised image reaches the network: a walk by hand from there."""
    generator = load_generator(folder)
    real = np.random.default_rng(2).integers(40, 200, (1, 16, 16, 3), dtype=np.uint8)
    drawn = sample.draw(
        generator, ["mock, smooth"], [1], 8, 1.0, reference=real, strength=0.5, sampler="euler"
    )
    scheduler = generator.process.scheduler("euler")
    scheduler.set_timesteps(8)
    levels = scheduler.sigmas[4:]
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), generator.autocast():
        told = generator.condition([generator.tokens("mock, smooth")])
        x = (1 - levels[0]) * generator.encode(real) + levels[0] * noise
        for now, after in pairwise(levels):
            x = x + (after - now) * generator.predict(x, now[None], told)
    expected = generator.decode(x)
    assert np.abs(drawn.astype(int) - expected).max() <= 2
    by_dpm = sample.draw(generator, ["mock, smooth"], [1], 64, 1.0, reference=real, strength=0.01)
    assert np.abs(by_dpm.astype(int) - real).mean() < 10


def test_an_outline_without_a_time_is_refused():
    with pytest.raises(ValidationError, match="an outline is drawn above outline_above"):
        SynthesisConfig(prompts=[{"prompt": "mock, smooth", "count": 1, "outline": "mock"}])


def test_channels_fold_into_the_size_and_back(folder):
    generator = load_generator(folder)
    pixels = np.random.default_rng(1).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(generator.decode(generator.encode(pixels)), pixels)


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    """A generator that predicts v; its network knows nothing."""
    pixels = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    config = PixelConfig(
        size=16, channels=(8, 16), text_width=16, steps=1, batch=4, objective="v", noise_shift=1,
        precision="float32",
    )  # fmt: skip
    out = tmp_path_factory.mktemp("v") / "generator"
    return load_generator(train_generator(pixels, CAPTIONS, config, out, "cpu"), "cpu")


def test_a_prompt_that_leads_away_from_itself_leads_nowhere(folder):
    """free + g (asked - free) is `asked` for any g where both are the same."""
    generator = load_generator(folder, "cpu")
    prompt = ["mock, smooth"]
    alone = sample.draw(generator, prompt, [3], 2, 1.0).astype(int)
    led = sample.draw(generator, prompt, [3], 2, 7.0, negative=prompt).astype(int)
    away = sample.draw(generator, prompt, [3], 2, 7.0, negative=["mock, dust lane"]).astype(int)
    assert np.abs(led - alone).max() <= 4  # bf16
    assert np.abs(away - alone).max() > 4


def test_guidance_keeps_the_contrast_that_it_is_told_to():
    """Lin et al., eq. 15 and 16: the standard deviation of the caption's own prediction."""
    rng = torch.Generator().manual_seed(0)
    guided, asked = (torch.randn(2, 3, 8, 8, generator=rng) * s for s in (5.0, 2.0))
    whole = sample._rescaled(guided, asked, 1.0)
    torch.testing.assert_close(whole.flatten(1).std(1), asked.flatten(1).std(1))
    half = sample._rescaled(guided, asked, 0.5)
    torch.testing.assert_close(half, (whole + guided) / 2)
    assert sample._rescaled(guided, asked, 0.0) is guided


@pytest.mark.parametrize("sampler", ["dpm", "ddim", "ddpm", "euler-ancestral"])
def test_a_reference_with_little_noise_stays_what_it_is(diffusion, sampler):
    real = np.random.default_rng(2).integers(40, 200, (2, 16, 16, 3), dtype=np.uint8)
    prompts, seeds = ["mock, smooth"] * 2, [1, 2]

    def drawn(strength):
        made = sample.draw(
            diffusion, prompts, seeds, 50, 1.0, reference=real, strength=strength, sampler=sampler
        )
        return np.abs(made.astype(int) - real).mean()

    assert drawn(0.02) < 10  # one step of 50
    assert drawn(1.0) > 40


def test_all_the_noise_of_zero_terminal_snr_leaves_nothing_of_the_reference(diffusion):
    bright = np.full((1, 16, 16, 3), 250, np.uint8)
    made = [
        sample.draw(diffusion, ["mock, smooth"], [1], 4, 1.0, reference=image, sampler="ddim")
        for image in (bright, None)
    ]
    np.testing.assert_array_equal(*made)


def test_a_row_says_which_real_cutout_it_started_from(folder, tmp_path):
    from discovery.cutouts import write_shard

    encoded = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(encoded, "PNG")
    row = {"image": encoded.getvalue(), "crop": 1.0, "survey": "mock", "split": "train"}
    told = [("a", "mock, smooth", "train"), ("b", None, "train"), ("c", "mock, smooth", "search"),
            ("d", "mock, dust lane", "train")]  # fmt: skip
    rows = [row | {"object_id": i, "caption": c, "split": s} for i, c, s in told]
    write_shard(rows, tmp_path / "real/00000.parquet")
    config = wanted(("mock, smooth", 12), reference="real", strength=0.5, guidance_rescale=0.5)
    store = CutoutStore(
        synthesize.run(folder, config, tmp_path / "out", "cpu", CutoutStore(tmp_path / "real"))
    )
    made = store.table()
    assert set(made["reference"]) == {"a", "d"}
    assert set(made["strength"]) == {0.5}
    assert set(made["sampler"]) == {"dpm"}
    assert set(made["negative"]) == {""}
    assert set(made["guidance_rescale"]) == {0.5}
    with pytest.raises(BadInput, match=r"there are none; take this step in a run"):
        synthesize.run(folder, config, tmp_path / "none", "cpu")


def test_a_trajectory_ends_in_the_image_that_is_drawn(diffusion):
    seen = sample.trajectory(diffusion, "mock, smooth", seed=4, steps=20, every=5)
    assert seen.steps == (20, 15, 10, 5, 1)
    assert seen.clean.shape == seen.noised.shape == (5, 16, 16, 3)
    drawn = sample.draw(diffusion, ["mock, smooth"], [4], 20, 1.0)
    np.testing.assert_array_equal(seen.clean[-1], drawn[0])  # DDIM's last step takes it whole
    noise = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(4))
    np.testing.assert_array_equal(seen.noised[0], diffusion.decode(noise[None])[0])


def test_a_set_of_prompts_comes_with_the_package():
    config = SynthesisConfig(set={"name": "galaxysd", "count": 3, "tag": "mock"})
    prompts = [wanted.prompt for wanted in config.wanted]
    assert len(prompts) == 17  # A to P; of D-ETG's two the second is K
    assert "mock, in-between round galaxy, {dust lane:1.3}" in prompts
    assert {w.prompt for w in config.wanted if w.label} == {
        "mock, in-between round galaxy, {dust lane:1.3}",
        "mock, {completely round:1.3} galaxy, {dust lane:1.3}",
    }
    with pytest.raises(ValidationError, match="no such set of prompts; known: galaxysd"):
        SynthesisConfig(set={"name": "galaxy", "count": 3})
    with pytest.raises(ValidationError, match=r"nothing is asked for; give \[\[synthesis"):
        SynthesisConfig()
    with pytest.raises(ValidationError, match="strength is of a reference"):
        wanted(("mock, smooth", 1), strength=0.5)


def without_attention(generator):
    """What the network says where every layer of self-attention passes on what each place holds."""

    def itself(attn, hidden_states, *_, **__):
        return attn.to_out[1](attn.to_out[0](attn.to_v(hidden_states)))

    layers = self_attention(generator.networks())
    assert layers
    for layer in layers:
        layer.set_processor(itself)
    return generator


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_coherence_leads_away_from_what_is_said_without_attention(folder, guidance):
    generator, alone = load_generator(folder), without_attention(load_generator(folder))
    asked, strength = ["mock, smooth", "mock, dust lane"], 3.0
    x, time = torch.randn(2, 3, 16, 16), torch.full((2,), 0.7)
    with torch.inference_mode():
        known, free = (
            generator.condition([generator.tokens(p) for p in t]) for t in (asked, [""] * 2)
        )
        said, unasked, blind = (
            g.predict(x, time, told)
            for g, told in ((generator, known), (generator, free), (alone, known))
        )
        wanted = unasked + guidance * (said - unasked) + strength * (said - blind)
        course = sample._Course(4, guidance, coherence=strength)
        told = sample._told(generator, asked, None, course)
        got = sample._guided(generator, x, time, told, course)
        again = generator.predict(x, time, known)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    assert (blind - said).abs().max() > 1e-4
    torch.testing.assert_close(again, said)  # attention is back


def test_an_image_drawn_with_new_noise_and_coherence_follows_from_its_own_seed(folder):
    generator = load_generator(folder)
    how = {"sampler": "dpm-sde", "coherence": 1.0, "outline_above": 0.98}
    alone = sample.draw(generator, ["mock, smooth"], [5], 6, 2.0, **how)
    beside = sample.draw(generator, ["mock, dust lane", "mock, smooth"], [4, 5], 6, 2.0, **how)
    assert np.abs(alone[0].astype(int) - beside[1]).max() <= 1
    assert (alone != sample.draw(generator, ["mock, smooth"], [5], 6, 2.0)).any()
    assert (alone != sample.draw(generator, ["mock, smooth"], [6], 6, 2.0, **how)).any()


def test_rows_name_their_coherence_and_symmetry(folder, tmp_path):
    config = wanted(("mock, smooth", 3), coherence=1.5, symmetry=0.1, sampler="dpm-sde")
    rows = CutoutStore(synthesize.run(folder, config, tmp_path)).table()
    assert set(rows["coherence"]) == {1.5}
    assert set(rows["symmetry"]) == {0.1}
    assert set(rows["sampler"]) == {"dpm-sde"}


def test_with_symmetry_what_is_bright_is_like_half_a_turn_but_for_its_texture(folder):
    """A network that knows next to nothing draws noise; what of it half a turn changes is faint
    beside a symmetry of 1 until texture is drawn.
    """
    generator = load_generator(folder)

    def unlike(**how):
        drawn = sample.draw(generator, ["mock, smooth"] * 8, range(8), 12, 1.0, **how).astype(float)
        turned = drawn[:, ::-1, ::-1]
        bright = uniform_filter((drawn + turned).mean(3), (0, 5, 5))
        return np.abs(drawn - turned)[bright > np.quantile(bright, 0.9)].mean()

    assert unlike(symmetry=1.0) < 0.8 * unlike()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sampler": "dpm-sde", "steps": 1}, "takes no step but the last; set sampler = 'dpm', or"),
        ({"sampler": "dpm-sde"} | LATE, "takes no step but the last"),
        ({"symmetry": 0.05} | LATE, r"begins at 0\.\d+, so nothing would be symmetric"),
    ],
)
def test_what_comes_too_late_to_have_an_effect_is_refused(folder, tmp_path, settings, said):
    with pytest.raises(BadInput, match=said):
        synthesize.run(folder, wanted(("mock, smooth", 1), **settings), tmp_path)
    assert not list(tmp_path.iterdir())
