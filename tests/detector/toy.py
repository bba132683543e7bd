"""A toy sky: bright discs, the quarry crossed by a dark bar. Small enough to learn in seconds."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from discovery.detector.config import DetectorConfig
from discovery.detector.examples import DREAMT, REAL, Examples, join

SIZE = 32
CONFIG = DetectorConfig(
    network="test_resnet", size=SIZE, steps=40, batch=32, learning_rate=5e-3, prevalence=0.05
)


def discs(count, quarry, seed):
    """uint8 (count, SIZE, SIZE, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
    light = 200 * np.exp(-np.hypot(x, y) / rng.uniform(5, 8, (count, 1, 1)))
    if quarry:
        light[:, 14:18, 6:26] *= 0.3
    noisy = light[..., None] + rng.normal(20, 4, (count, SIZE, SIZE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def examples(count, label, source, seed):
    """Real ones have the tag 'bar' where a bar is."""
    real = source == REAL
    tags = pd.DataFrame({"bar": [label] * count}) if real else pd.DataFrame(index=range(count))
    labels, sources = np.full(count, label, np.int8), np.full(count, source)
    return Examples(discs(count, label, seed), labels, sources, tags, np.full(count, real))


def train_and_validation():
    train = join(examples(200, 0, REAL, 1), examples(4, 1, REAL, 2))
    train = join(train, join(examples(40, 1, DREAMT, 3), examples(40, 0, DREAMT, 4)))
    validation = join(examples(200, 0, REAL, 5), examples(6, 1, REAL, 6))
    return train, join(validation, examples(20, 1, DREAMT, 7))


def png(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()
