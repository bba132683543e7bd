"""Classes of galaxies, each a combination of tags: what a generator without words is told."""

from collections.abc import Mapping, Sequence

import numpy as np

from discovery.errors import BadInput
from discovery.morphology.captions import tags_of
from discovery.morphology.prompts import parse, plain_text


def check_classes(classes: dict[str, str]) -> dict[str, str]:
    """The classes of a run file in the order of their names, if they can be told apart.

    A network is told the place of a class, and generator.json keeps no order but this.

    Raises:
        ValueError: a class has no tags, or two have the same; the run file's reader explains it.
    """
    seen: dict[frozenset[str], str] = {}
    for name, text in classes.items():
        tags = frozenset(tags_of(text))
        if not tags:
            raise ValueError(
                f"the class {name!r} has no tags; write those its captions hold, for example "
                "cigar = 'smooth, cigar-shaped galaxy'"
            )
        if tags in seen:
            raise ValueError(
                f"the classes {seen[tags]!r} and {name!r} have the same tags ({text!r}); "
                "leave one out"
            )
        seen[tags] = name
    return dict(sorted(classes.items()))


def label_of(caption: str, classes: Mapping[str, str]) -> int:
    """The place in `classes` of the one with the most tags among those the caption holds all.

    Returns:
        -1 where the caption belongs to none.

    Raises:
        BadInput: it belongs to two classes of equally many tags.
    """
    have = tags_of(caption)
    held = {name: len(tags_of(text)) for name, text in classes.items() if tags_of(text) <= have}
    best = [name for name, size in held.items() if size == max(held.values())]
    if len(best) > 1:
        raise BadInput(
            f"the caption {caption!r} belongs to the classes {best[0]!r} and {best[1]!r} alike; "
            "give one of them more tags."
        )
    return list(classes).index(best[0]) if best else -1


def labels_of(captions: Sequence[str], classes: Mapping[str, str]) -> np.ndarray:
    """The class of every caption of a training set.

    Returns:
        int64 (N,), the place of the class in `classes`, -1 where a caption belongs to none.

    Raises:
        BadInput: as `label_of`, or a class has no galaxy at all.
    """
    known = {caption: label_of(caption, classes) for caption in dict.fromkeys(captions)}
    for place, (name, text) in enumerate(classes.items()):
        if place not in known.values():
            raise BadInput(
                f"no caption holds all the tags of the class {name!r} ({text!r}); write tags as "
                "the captions have them, or leave the class out."
            )
    return np.array([known[caption] for caption in captions], dtype=np.int64)


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
