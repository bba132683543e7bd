import numpy as np
import pytest
from scipy.ndimage import affine_transform

from discovery.generator.examples import TurnedPixels
from discovery.generator.stretch import _resample, _rotation, measure_shape, reshaped, stretch


def bar(angle, side=64, long=18.0, wide=4.0):
    """uint8 (side, side, 3): a Gaussian bar, its major axis at `angle` from that of the rows."""
    row, column = np.indices((side, side)) - (side - 1) / 2
    along = row * np.cos(angle) + column * np.sin(angle)
    across = column * np.cos(angle) - row * np.sin(angle)
    light = 200 * np.exp(-0.5 * ((along / long) ** 2 + (across / wide) ** 2))
    return np.repeat(light[..., None], 3, -1).round().astype(np.uint8)


def axis_ratio(image):
    """From the eigenvalues of the second moments."""
    light = image.mean(-1)
    place = np.indices(light.shape).reshape(2, -1) - (len(light) - 1) / 2
    low, high = np.linalg.eigvalsh(np.cov(place, aweights=light.ravel()))
    return np.sqrt(low / high)


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.3, 2.4])
def test_the_minor_axis_is_across_a_bar(angle):
    found, ratio = measure_shape(bar(angle))
    assert ratio == pytest.approx(axis_ratio(bar(angle)), abs=0.1)
    assert np.sin(found - (angle + np.pi / 2)) == pytest.approx(0, abs=0.05)


def test_an_image_is_resampled_as_scipy_does():
    image, middle = bar(0.7), np.full(2, 31.5)
    matrix = _rotation(0.4) @ np.diag([0.5, 1.0]) @ _rotation(-0.4)
    expected = affine_transform(image[..., 0].astype(float), matrix, middle - matrix @ middle)
    shown = _resample(image, matrix)[..., 0]
    assert np.abs(shown - expected)[8:-8, 8:-8].max() < 6  # cubic here, spline there


def test_stretches_make_thin_discs_rounder():
    rng = np.random.default_rng(1)
    ratios = [axis_ratio(stretch(bar(rng.uniform(0, 3)), rng)) for _ in range(60)]
    assert axis_ratio(bar(0.3)) < 0.3
    assert np.median(ratios) > 0.4
    assert max(ratios) > 0.8


def test_stretched_images_come_with_their_axis_ratio_and_the_others_without():
    pixels = np.stack([bar(0.2), bar(1.2)])
    examples = TurnedPixels(pixels, lambda images: images, turns=False, stretched=0.5)
    shown, shapes = examples.batch([0, 1] * 20, np.random.default_rng(3))
    changed = [not np.array_equal(x, pixels[i % 2]) for i, x in enumerate(shown(slice(None)))]
    assert changed == [ratio is not None for ratio in shapes]
    assert 8 < sum(changed) < 32


def test_the_caption_of_a_stretched_disc_says_how_round_it_now_is():
    edge_on = "mock, edge-on galaxy, with rounded edge-on bulge, dust lane"
    assert reshaped(edge_on, 0.9) == "mock, dust lane, completely round galaxy"
    assert reshaped(edge_on, 0.6) == "mock, dust lane, in-between round galaxy"
    spiral = "mock, spiral galaxy, 2 spiral arms"
    assert reshaped(spiral, 0.6) == spiral
