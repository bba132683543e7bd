import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

from discovery.errors import BadInput
from discovery.files import read_json
from discovery.generator import checkpoint
from discovery.generator.checkpoint import load_generator, trained_on
from discovery.generator.config import PixelConfig
from discovery.generator.drawing import draw_weights, vary_caption
from discovery.generator.examples import turn
from discovery.generator.learner import learning_rate
from discovery.generator.pixel import PixelGenerator
from discovery.generator.process import shift_noise
from discovery.generator.train import train_generator
from tests.generator.killed import kill_after

TINY = PixelConfig(
    size=16, patch=2, channels=(8, 16), text_width=16, steps=6, batch=4, warmup_steps=2,
    checkpoint_every=2,
)  # fmt: skip
CAPTIONS = ["mock, smooth, completely round galaxy", "mock, edge-on galaxy, dust lane"] * 8


def bars_and_discs():
    """uint8 (16, 16, 16, 3): a disc for every smooth galaxy, a bar for every edge-on one."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:16, :16] - 7.5
    shapes = [np.hypot(x, y) < 5, abs(y) < 2]
    clean = np.stack([shapes[i % 2] for i in range(16)])[..., None] * np.array([180, 160, 120])
    return (clean + rng.integers(0, 30, clean.shape)).astype(np.uint8)


def weights_of(folder):
    return {
        name: load_file(folder / name)
        for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
    }


def assert_same_weights(one, other):
    for name, state in weights_of(one).items():
        for key, tensor in weights_of(other)[name].items():
            assert torch.equal(state[key], tensor), key


def teach(out):
    return train_generator(bars_and_discs(), CAPTIONS, TINY, out, "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return teach(tmp_path_factory.mktemp("g") / "out")


def test_the_folder_is_read_by_plain_diffusers_and_transformers(trained):
    unet = UNet2DConditionModel.from_pretrained(trained / "unet")
    encoder = CLIPTextModel.from_pretrained(trained / "text_encoder")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(trained / "scheduler")
    ours = load_generator(trained)
    assert torch.equal(unet.conv_in.weight.float(), ours.unet.conv_in.weight)
    ids = torch.tensor([[2, 7, 8, 3]])
    torch.testing.assert_close(
        encoder.float()(ids).last_hidden_state, ours.text_encoder(ids).last_hidden_state
    )
    assert scheduler.config.num_train_timesteps == 1000


def test_the_folder_says_what_it_was_trained_on(trained):
    described = read_json(trained / "generator.json")
    assert described["tags"] == {
        "mock": 16, "dust lane": 8, "edge-on galaxy": 8, "smooth": 8, "completely round galaxy": 8,
    }  # fmt: skip
    assert described["images"] == 16
    assert described["config"] == TINY.model_dump(mode="json")
    assert described["mean"] == pytest.approx((bars_and_discs() / 255).mean((0, 1, 2)), abs=1e-6)
    assert not (trained / "training.safetensors").exists()


def test_a_folder_of_before_noise_spread_is_sampled_as_it_was_trained(trained, tmp_path):
    old = shutil.copytree(trained, tmp_path / "old")
    described = read_json(old / "generator.json")
    del described["config"]["noise_spread"]
    described["digest"] = checkpoint._digest(old, described, PixelGenerator.weights)
    (old / "generator.json").write_text(json.dumps(described))
    assert load_generator(old).process.spread == 1.0
    assert load_generator(trained).process.spread == TINY.noise_spread != 1.0


def test_a_finished_training_is_not_repeated(trained):
    before = (trained / "generator.json").stat().st_mtime_ns
    train_generator(bars_and_discs(), CAPTIONS, TINY, trained)
    assert (trained / "generator.json").stat().st_mtime_ns == before


def test_killed_and_started_again_it_ends_with_the_same_bits(trained, tmp_path, steps_taken):
    kill_after(4, "test_train", tmp_path)
    assert (tmp_path / "training.safetensors").exists()
    assert not (tmp_path / "generator.json").exists()
    teach(tmp_path)
    assert steps_taken == [4, 5]
    assert_same_weights(trained, tmp_path)


def test_a_state_of_another_training_is_not_taken_up(tmp_path, monkeypatch, steps_taken):
    from discovery.generator import train

    with monkeypatch.context() as patched:
        patched.setattr(
            train.checkpoint, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            train_generator(bars_and_discs(), CAPTIONS, TINY, tmp_path)
    steps_taken.clear()
    other = TINY.model_copy(update={"seed": 9})
    train_generator(bars_and_discs(), CAPTIONS, other, tmp_path)
    assert steps_taken == list(range(6))


def test_it_learns(tmp_path, monkeypatch):
    """The loss falls well below 2, the variance of noise - image: what knowing nothing costs."""
    from discovery.generator import learner

    config = TINY.model_copy(update={"steps": 40, "batch": 8, "learning_rate": 5e-3})
    losses, mse = [], learner.nn.functional.mse_loss

    def noting(predicted, wanted):
        loss = mse(predicted, wanted)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(learner.nn.functional, "mse_loss", noting)
    train_generator(bars_and_discs(), CAPTIONS, config, tmp_path)
    assert np.mean(losses[:3]) == pytest.approx(2, abs=0.4)
    assert np.mean(losses[-10:]) < 1.4


def test_fine_tuning_learns_new_words_and_keeps_the_old(trained, tmp_path):
    start = TINY.model_copy(update={"start": str(trained), "steps": 1})
    captions = ["decals, ring, smooth"] * 16
    train_generator(bars_and_discs(), captions, start, tmp_path)
    tuned, before = load_generator(tmp_path), load_generator(trained)
    assert tuned.tags["decals"] == 16
    assert tuned.tags["smooth"] == 8 + 16
    assert tuned.mean == before.mean
    old = before.tokenizer.get_vocab()
    assert {word: tuned.tokenizer.get_vocab()[word] for word in old} == old
    assert "decals" not in old
    assert read_json(tmp_path / "generator.json")["started_from"] == before.digest


def test_wrong_starts_are_refused(trained, tmp_path):
    pixels = bars_and_discs()
    nothing = TINY.model_copy(update={"start": str(tmp_path / "nothing")})
    with pytest.raises(BadInput, match=r"is no generator: it lacks generator\.json.*'shipped'"):
        train_generator(pixels, CAPTIONS, nothing, tmp_path / "out")
    with pytest.raises(BadInput, match=r"16 captions.*needs \(16, 16, 16, 3\)"):
        train_generator(pixels[:, :8, :8], CAPTIONS, TINY, tmp_path / "out")
    odd = TINY.model_copy(update={"size": 18, "patch": 4})
    with pytest.raises(BadInput, match="size = 18 cannot be halved"):
        train_generator(np.zeros((16, 18, 18, 3), np.uint8), CAPTIONS, odd, tmp_path / "out")


def test_pickles_and_swapped_weights_are_refused(trained, tmp_path):
    import shutil

    pickled, swapped = (shutil.copytree(trained, tmp_path / name) for name in ("a", "b"))
    (pickled / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(BadInput, match=r"pickled weights \(diffusion_pytorch_model\.bin\)"):
        load_generator(pickled)
    path = swapped / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BadInput, match=r"are not those that generator\.json describes"):
        load_generator(swapped)


def test_learning_rate_warms_up_and_falls_to_zero():
    config = PixelConfig(steps=110, warmup_steps=10, learning_rate=1e-3)
    assert learning_rate(config, 0) == pytest.approx(1e-4)
    assert learning_rate(config, 10) == pytest.approx(1e-3)
    assert learning_rate(config, 60) == pytest.approx(1e-3 * (1 + math.cos(math.pi / 2)) / 2)
    assert learning_rate(config, 109) < 1e-6


def test_noise_is_shifted_as_diffusers_does_when_sampling():
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=4.0)
    even = torch.arange(1000, 0, -1) / 1000
    torch.testing.assert_close(shift_noise(even, 4.0), scheduler.sigmas)
    torch.testing.assert_close(shift_noise(even, 1.0), even)


def test_galaxies_with_rare_tags_are_drawn_more_often():
    captions = ["mock, smooth"] * 96 + ["mock, dust lane"] * 4
    assert draw_weights(captions, 0, {}) == pytest.approx(np.full(100, 0.01))
    balanced = draw_weights(captions, 1, {})
    # by hand: chances in the ratio 1/.96 : 1/.04
    assert balanced[-1] / balanced[0] == pytest.approx(0.96 / 0.04)
    assert draw_weights(["mock, a"] * 9999 + ["mock, b"], 1, {})[-1] < 2 * 100 / 9999


def test_emphasis_multiplies_the_chance_of_images_with_all_its_tags():
    captions = ["mock, smooth", "mock, smooth, dust lane", "mock, dust lane", "mock, ring"]
    chances = draw_weights(captions, 0, {"dust lane": 3, "dust lane, smooth": 5, "mock": 1})
    assert chances == pytest.approx(np.array([1, 5, 3, 1]) / 10)


def test_emphasis_on_a_tag_that_nothing_has():
    with pytest.raises(BadInput, match=r"'dust line', which no caption has.*dust lane"):
        draw_weights(["mock, dust lane"], 0.5, {"dust line": 3})


def test_captions_vary_but_keep_the_survey():
    rng = np.random.default_rng(0)
    config = PixelConfig(caption_dropout=0.25, tag_dropout=0.5)
    told = [vary_caption("mock, smooth, dust lane", config, rng) for _ in range(4000)]
    empty = np.mean([text == "" for text in told])
    assert empty == pytest.approx(0.25, abs=0.03)
    assert {text for text in told if text} == {
        "mock", "mock, smooth", "mock, dust lane", "mock, smooth, dust lane",
        "mock, dust lane, smooth",
    }  # fmt: skip
    assert np.mean(["dust lane" in text for text in told]) == pytest.approx(0.375, abs=0.03)


def test_all_eight_orientations_occur():
    image = np.arange(12).reshape(2, 2, 3)
    rng = np.random.default_rng(0)
    seen = {turn(image, rng).tobytes() for _ in range(200)}
    assert len(seen) == 8


def test_an_image_without_caption_is_refused(tmp_path):
    captions = [*CAPTIONS[:15], None]
    with pytest.raises(BadInput, match=r"image 15 has no caption, as 1 of 16 have none.*tags"):
        train_generator(bars_and_discs(), captions, TINY, tmp_path)


def seen(*ids):
    return pd.DataFrame({"object_id": ids, "galaxy": [f"g{i}" for i in ids], "sha256": "0" * 64})


def test_what_taught_it_is_written_down_with_what_taught_its_start(tmp_path):
    one = TINY.model_copy(update={"steps": 1})
    first, second, third = (tmp_path / name for name in "abc")
    train_generator(bars_and_discs(), CAPTIONS, one, first, "cpu", seen("1", "2"))
    then = one.model_copy(update={"start": str(first)})
    train_generator(bars_and_discs(), CAPTIONS, then, second, "cpu", seen("2", "3"))
    assert list(trained_on(second)["object_id"].sort_values()) == ["1", "2", "3"]
    assert list(trained_on(second).columns) == ["object_id", "galaxy", "sha256"]
    train_generator(bars_and_discs(), CAPTIONS, one, third, "cpu")
    assert trained_on(third) is None


def test_without_an_average_the_last_weights_are_kept(tmp_path):
    def ended(decay, name):
        config = TINY.model_copy(update={"ema_decay": decay})
        return train_generator(bars_and_discs(), CAPTIONS, config, tmp_path / name, "cpu")

    last, averaged = (weights_of(ended(decay, str(decay))) for decay in (0.0, 0.9))
    # The first step's decay is (0 + 1) / (0 + 10): an average that forgets at once is the weights.
    forgetful = weights_of(ended(1e-9, "forgetful"))
    for name, state in last.items():
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, forgetful[name][key])
    assert any(
        not torch.equal(last[name][key], averaged[name][key]) for name in last for key in last[name]
    )


@pytest.mark.parametrize("objective", ["v", "epsilon"])
def test_other_objectives_are_learnt_and_kept(tmp_path, objective):
    config = TINY.model_copy(update={"objective": objective, "steps": 1})
    out = train_generator(bars_and_discs(), CAPTIONS, config, tmp_path / "a", "cpu")
    made = load_generator(out, "cpu")
    assert made.process.prediction == objective
    assert made.process.zero_terminal_snr == (objective == "v")
    tuned = TINY.model_copy(update={"start": str(out), "steps": 1})
    again = train_generator(bars_and_discs(), CAPTIONS, tuned, tmp_path / "b", "cpu")
    assert load_generator(again, "cpu").process == made.process


def test_fp16_scales_its_loss_and_goes_on_with_the_scale(tmp_path, monkeypatch):
    """Gradients of half precision vanish unless the loss is scaled."""
    from safetensors import safe_open

    from discovery.generator import train

    half = TINY.model_copy(update={"precision": "fp16", "steps": 2})
    with monkeypatch.context() as patched:
        patched.setattr(
            train.checkpoint, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            train_generator(bars_and_discs(), CAPTIONS, half, tmp_path, "cpu")
    with safe_open(tmp_path / "training.safetensors", "pt") as state:
        told = state.metadata()
        assert all(torch.isfinite(state.get_tensor(name)).all() for name in state.keys())  # noqa: SIM118  # no dictionary
    assert json.loads(told["scaler"])["scale"] >= 1024
    train_generator(bars_and_discs(), CAPTIONS, half, tmp_path, "cpu")
    assert load_generator(tmp_path, "cpu").digest


def test_a_generator_of_another_kind_or_none_is_refused(trained, tmp_path):
    import shutil

    from discovery.generator.config import DDPMConfig

    foreign, detector = shutil.copytree(trained, tmp_path / "foreign"), tmp_path / "detector"
    said = read_json(foreign / "generator.json")
    said["config"]["kind"] = "vae"
    (foreign / "generator.json").write_text(json.dumps(said))
    with pytest.raises(BadInput, match=r"of the kind 'vae'.*one of pixel, stable-diffusion, ddpm"):
        load_generator(foreign)
    detector.mkdir()
    (detector / "detector.json").write_text("{}")
    with pytest.raises(BadInput, match=r"lacks generator\.json\. It is a detector's\. Name"):
        load_generator(detector)
    ddpm = DDPMConfig(
        kind="ddpm", size=16, channels=(8, 16), steps=1, batch=2, classes={"all": "mock"}
    )
    made = train_generator(bars_and_discs(), CAPTIONS, ddpm, tmp_path / "ddpm", "cpu")
    wrong = TINY.model_copy(update={"start": str(made)})
    with pytest.raises(BadInput, match=r"of the kind 'ddpm', and the run file asks .*'pixel'; giv"):
        train_generator(bars_and_discs(), CAPTIONS, wrong, tmp_path / "out", "cpu")


def test_snapshots_beyond_the_last_step_are_refused():
    with pytest.raises(ValueError, match="snapshots names step 9; steps go from 1 to 6"):
        PixelConfig(steps=6, snapshots=(3, 9))
