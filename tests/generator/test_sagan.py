import numpy as np
import pytest
import torch
from torch import nn

from discovery.generator.sagan import (
    ClassNorm,
    Discriminator,
    GeneratorNetwork,
    SelfAttention,
    discriminator_loss,
    generator_loss,
)


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
