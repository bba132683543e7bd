"""Classes of galaxies, each a combination of tags: what a generator without words is told."""

from collections.abc import Mapping, Sequence

import numpy as np

from discovery.errors import BadInput
from discovery.morphology.captions import tags_of
from discovery.morphology.prompts import parse, plain_text


def check_classes(classes: Mapping[str, str]) -> None:
    """Refuse classes that could not be told apart.

    Raises:
        BadInput: a class has no tags, or two have the same.
    """
    seen: dict[frozenset[str], str] = {}
    for name, text in classes.items():
        tags = frozenset(tags_of(text))
        if not tags:
            raise BadInput(
                f"the class {name!r} has no tags; write those its captions hold, for example "
                "cigar = 'smooth, cigar-shaped galaxy'"
            )
        if tags in seen:
            raise BadInput(
                f"the classes {seen[tags]!r} and {name!r} have the same tags ({text!r}); "
                "leave one out"
            )
        seen[tags] = name


def labels_of(captions: Sequence[str], classes: Mapping[str, str]) -> np.ndarray:
    """The class of every caption: the one with the most tags among those it holds all.

    Returns:
        int64 (N,), the place of the class in `classes`, -1 where a caption belongs to none.

    Raises:
        BadInput: a caption belongs to two classes of equally many tags, or a class has none.
    """
    wanted = [tags_of(text) for text in classes.values()]
    known = {caption: _label(caption, wanted, list(classes)) for caption in dict.fromkeys(captions)}
    labels = np.array([known[caption] for caption in captions], dtype=np.int64)
    for place, (name, text) in enumerate(classes.items()):
        if not (labels == place).any():
            raise BadInput(
                f"no caption holds all the tags of the class {name!r} ({text!r}); write tags as "
                "the captions have them, or leave the class out."
            )
    return labels


def _label(caption: str, wanted: list[set[str]], names: list[str]) -> int:
    have = tags_of(caption)
    sizes = [len(tags) if tags <= have else 0 for tags in wanted]
    best = [place for place, size in enumerate(sizes) if size and size == max(sizes)]
    if len(best) > 1:
        raise BadInput(
            f"the caption {caption!r} belongs to the classes {names[best[0]]!r} and "
            f"{names[best[1]]!r} alike; give one of them more tags."
        )
    return best[0] if best else -1


def class_of_prompt(prompt: str, classes: Mapping[str, str]) -> int:
    """The place in `classes` of the class whose tags the prompt is, in any order.

    Raises:
        BadInput: its words carry weights, or its tags are not those of a class.
    """
    if weighed := [span for span in parse(prompt) if span.weight != 1]:
        raise BadInput(
            f"the prompt {prompt!r} gives {weighed[0].text.strip(' ,')!r} a weight, and a "
            "generator of classes has no text encoder whose rows could be weighed; write the "
            "prompt without braces."
        )
    asked = tags_of(plain_text(prompt))
    for place, text in enumerate(classes.values()):
        if tags_of(text) == asked:
            return place
    listed = "; ".join(f"{text!r} ({name})" for name, text in classes.items())
    raise BadInput(
        f"the prompt {prompt!r} is no class of this generator; write the tags of one: {listed}."
    )
