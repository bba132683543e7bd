import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from discovery.cutouts import CutoutStore
from discovery.errors import BadInput
from discovery.files import read_json
from discovery.generator import sample, synthesize
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import SAGANConfig, SynthesisConfig
from discovery.generator.sagan import (
    ClassNorm,
    Discriminator,
    GeneratorNetwork,
    SAGANGenerator,
    SelfAttention,
    discriminator_loss,
    generator_loss,
)
from discovery.generator.train import train_generator
from tests.generator.killed import kill_after

CLASSES = {"bright": "smooth, dominant bulge", "faint": "smooth, no bulge"}
CAPTIONS = [f"sdss, {tags}" for tags in CLASSES.values()] * 8
TINY = SAGANConfig(
    kind="sagan", size=16, channels=(16, 8), classes=CLASSES, steps=6, batch=4, checkpoint_every=2
)


def bright_and_faint():
    """uint8 (16, 16, 16, 3): bright discs and faint ones, in turn."""
    rng = np.random.default_rng(5)
    disc = np.hypot(*(np.mgrid[:16, :16] - 7.5)) < 6
    levels = np.resize([200, 40], 16)[:, None, None, None]
    return (disc[..., None] * levels + rng.integers(0, 30, (16, 16, 16, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = TINY.model_copy(update={"steps": 60, "batch": 16, "learning_rate": 2e-3,
                                       "discriminator_learning_rate": 4e-3})  # fmt: skip
    out = tmp_path_factory.mktemp("g") / "out"
    return train_generator(bright_and_faint(), CAPTIONS, settings, out, "cpu")


def test_hinge_losses_are_those_of_the_paper():
    """Eq. 4 as printed: -E[min(0, -1 + D(x))] - E[min(0, -1 - D(G(z)))] and -E[D(G(z))]."""
    real, fake = np.array([-0.5, 0.5, 3.0]), np.array([-2.0, 0.0, 1.0])
    expected = -np.minimum(0, -1 + real).mean() - np.minimum(0, -1 - fake).mean()
    both = torch.tensor(real), torch.tensor(fake)
    assert discriminator_loss(*both).item() == pytest.approx(expected)
    assert generator_loss(both[1]).item() == pytest.approx(1 / 3)


def test_attention_is_that_of_the_paper():
    """Eq. 1 to 3, sum by sum; gamma is 0 at first and nothing is attended to."""
    torch.manual_seed(0)
    layer, x = SelfAttention(8).eval(), torch.randn(1, 8, 4, 4)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.gamma, 0.7)
    f, g, h = (part(x)[0].detach().numpy() for part in (layer.query, layer.key, layer.value))
    g, h = (m.reshape(-1, 2, 2, 2, 2).max((2, 4)).reshape(len(m), 4) for m in (g, h))
    likeness = np.exp(np.einsum("cyx,ck->yxk", f, g))
    shares = likeness / likeness.sum(2, keepdims=True)
    seen = np.einsum("yxk,ck->cyx", shares, h)
    v = layer.out.weight.detach().numpy()[:, :, 0, 0]
    expected = x[0].numpy() + 0.7 * np.einsum("oc,cyx->oyx", v, seen)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, atol=1e-5)


def test_every_matrix_has_a_largest_singular_value_of_one():
    torch.manual_seed(0)
    networks = [GeneratorNetwork(16, (16, 8), 2), Discriminator((16, 8), 2)]
    for parameter in (p for network in networks for p in network.parameters()):
        parameter.data *= 3
    label = torch.tensor([0, 1])
    for _ in range(30):  # every pass is a step of the power iteration
        networks[1](networks[0](torch.randn(2, 128), label), label)
    layers = [
        (name, layer)
        for network in networks
        for name, layer in network.eval().named_modules()
        if hasattr(layer, "parametrizations")
    ]
    assert len(layers) == 1 + 2 * 3 + 4 + 1 + 2 * 3 + 4 + 2
    for name, layer in layers:
        values = np.linalg.svd(layer.weight.detach().flatten(1).numpy(), compute_uv=False)
        assert values[0] == pytest.approx(1, abs=0.05), name
        raw = layer.parametrizations.weight.original.detach().flatten(1).numpy()
        assert np.linalg.svd(raw, compute_uv=False)[0] > 1.2, name


def test_batch_norm_has_a_gain_and_a_bias_for_each_class():
    norm, x = ClassNorm(2, 2), torch.randn(6, 2, 3, 3)
    nn.init.constant_(norm.gain.weight[1], 3.0)
    nn.init.constant_(norm.bias.weight[1], -1.0)
    label = torch.tensor([0, 1] * 3)
    made, image = norm(x, label).detach().numpy(), x.numpy()
    mean, std = image.mean((0, 2, 3), keepdims=True), image.std((0, 2, 3), keepdims=True)
    plain = (image - mean) / std
    np.testing.assert_allclose(made[::2], plain[::2], atol=1e-4)
    np.testing.assert_allclose(made[1::2], plain[1::2] * 3 - 1, atol=1e-4)


def test_a_discriminator_of_one_class_projects_nothing():
    assert Discriminator((16, 8), 1).of_class is None
    several, image = Discriminator((16, 8), 3).eval(), torch.randn(1, 3, 16, 16)
    verdicts = [several(image, torch.tensor([c])).item() for c in range(3)]
    assert len({round(v, 6) for v in verdicts}) == 3


def test_the_class_changes_the_image_as_it_should(trained):
    generator = load_generator(trained, "cpu")
    bright, faint = (
        sample.draw(generator, [tags] * 8, range(8), 1, 1.0).astype(float)
        for tags in CLASSES.values()
    )
    assert bright.mean() > faint.mean() + 20


def test_an_image_depends_on_its_own_seed_alone(trained):
    generator, prompts = load_generator(trained, "cpu"), list(CLASSES.values())
    together = sample.draw(generator, [*prompts, prompts[0]], [5, 6, 7], 1, 1.0)
    alone = sample.draw(generator, prompts[1:], [6], 1, 1.0)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1  # sums in another order
    assert not np.array_equal(together[0], together[2])


def test_the_folder_describes_it(trained):
    described = read_json(trained / "generator.json")
    assert described["config"]["kind"] == "sagan"
    assert described["tags"] == {"sdss": 16, "smooth": 16, "dominant bulge": 8, "no bulge": 8}
    assert load_generator(trained, "cpu").digest == described["digest"]
    path = trained / "generator" / "model.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + b"\x01")
    with pytest.raises(BadInput, match=r"are not those that generator\.json describes"):
        load_generator(trained)
    path.write_bytes(kept)


def teach(out):
    return train_generator(bright_and_faint(), CAPTIONS, TINY, out, "cpu")


def test_killed_and_started_again_it_ends_with_the_same_bits(tmp_path, steps_taken):
    whole, parts = teach(tmp_path / "whole"), tmp_path / "parts"
    kill_after(4, "test_sagan", parts)
    assert (parts / "training.safetensors").exists()
    steps_taken.clear()
    teach(parts)
    assert steps_taken == [4, 5]
    one, other = (load_file(p / "generator" / "model.safetensors") for p in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    begun = SAGANGenerator.build(TINY).network.state_dict()
    assert not torch.equal(one["last.parametrizations.weight.original"],
                           begun["last.parametrizations.weight.original"])  # fmt: skip


def asked(**settings):
    prompts = [{"prompt": CLASSES["faint"], "count": 3}]
    return SynthesisConfig(**{"steps": 1, "guidance": 1, "prompts": prompts} | settings)


def test_it_fills_a_store_as_the_other_kinds_do(trained, tmp_path):
    rows = CutoutStore(synthesize.run(trained, asked(), tmp_path, "cpu")).table()
    assert list(rows["prompt"]) == ["smooth, no bulge"] * 3
    assert set(rows["generator"]) == {read_json(trained / "generator.json")["digest"]}
    assert set(rows["sampler"]) == {"one-pass"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 12}, "steps = 12, .* set steps = 1"),
        ({"guidance": 2.5}, "knows no guidance.* set guidance = 1"),
        ({"sampler": "ddim"}, "sampler = 'ddim' .* Leave sampler out"),
        ({"outline_above": 0.9}, "leave outline_above, reference and strength out"),
        ({"prompts": [{"prompt": "smooth", "count": 1}]}, "no class .*'smooth, no bulge' .faint."),
        ({"prompts": [{"prompt": "smooth, {no bulge:2}", "count": 1}]}, "gives 'no bulge' a weig"),
    ],
)
def test_what_it_cannot_do_is_refused_and_nothing_is_lost(trained, tmp_path, settings, message):
    synthesize.run(trained, asked(), tmp_path, "cpu")
    with pytest.raises(BadInput, match=message):
        synthesize.run(trained, asked(**settings), tmp_path, "cpu")
    assert len(CutoutStore(tmp_path).table()) == 3


def test_it_starts_from_no_reference(trained):
    generator, pixels = load_generator(trained, "cpu"), bright_and_faint()[:1]
    with pytest.raises(BadInput, match="starts from noise alone"):
        sample.draw(generator, [CLASSES["faint"]], [1], 1, 1.0, reference=pixels, strength=0.5)


def test_it_has_no_trajectory():
    with pytest.raises(BadInput, match=r"steps = 100, but .* draws in one pass; set steps = 1"):
        sample.trajectory(SAGANGenerator.build(TINY), CLASSES["faint"], 1, 100, every=1)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(BadInput, match="size = 18 cannot be halved 2 times"):
        SAGANGenerator.build(TINY.model_copy(update={"size": 18}))
    with pytest.raises(ValidationError, match="weight_decay"):
        SAGANConfig(**TINY.model_dump() | {"weight_decay": 0.1})


def test_what_it_has_no_use_for_is_refused(trained):
    asked = {"prompts": [{"prompt": CAPTIONS[0], "count": 1}], "steps": 1}
    generator = load_generator(trained)
    with pytest.raises(BadInput, match=r"has no self-attention .* Leave coherence out"):
        sample.require_effect(generator, SynthesisConfig(**asked, coherence=1.0))
    with pytest.raises(BadInput, match=r"this generator is of the kind sagan; leave symmetry out"):
        sample.require_effect(generator, SynthesisConfig(**asked, symmetry=0.05))
