"""Which images a step of training shows, and under which words."""

from collections.abc import Mapping, Sequence

import numpy as np

from discovery.generator.config import Training
from discovery.morphology.captions import count_tags, require_tags, tags_of


def draw_weights(
    captions: Sequence[str], balance: float, emphasis: Mapping[str, float]
) -> np.ndarray:
    """Chance of each image to be drawn, float (N,) of sum 1.

    (Frequency of its rarest tag) ** -balance, times the largest emphasis that applies: one whose
    tags the caption holds all. Frequencies under 1 % count as 1 %, so that a tag seen twice is
    not shown all the time.

    Raises:
        BadInput: an emphasis on a tag that no caption has.
    """
    tags = [tags_of(caption) for caption in captions]
    counts = count_tags(captions)
    rarest = np.array(
        [min((counts[tag] for tag in of_image), default=len(captions)) for of_image in tags]
    )
    weights = np.maximum(rarest / len(captions), 0.01) ** -balance
    weights *= _factors(tags, counts, emphasis)
    return weights / weights.sum()


def _factors(tags: list[set[str]], counts: Mapping[str, int], emphasis: Mapping[str, float]):
    wanted = [(tags_of(text) or {""}, factor) for text, factor in emphasis.items()]
    require_tags(set().union(*(combination for combination, _ in wanted)), counts, "emphasis")
    return np.array(
        [max([f for combination, f in wanted if combination <= have], default=1.0) for have in tags]
    )


def vary_caption(caption: str, config: Training, rng: np.random.Generator) -> str:
    """The survey's tag, then some or one of the others in any order; sometimes nothing."""
    if rng.random() < config.caption_dropout:
        return ""
    survey, *tags = caption.split(", ")
    if tags and config.single_tag and rng.random() < config.single_tag:
        return f"{survey}, {rng.choice(tags)}"
    kept = [tag for tag in tags if rng.random() >= config.tag_dropout]
    return ", ".join([survey, *(rng.permutation(kept).tolist() if config.tag_shuffle else kept)])
