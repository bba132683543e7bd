"""Weights by which kinds of something are drawn, as they stand in a run file."""

import math
from collections.abc import Collection, Mapping

from discovery.errors import BadInput


def check_weights(weights: Mapping[str, float], kinds: Collection[str], called: str) -> None:
    """Refuse weights that nothing can be drawn by.

    Args:
        kinds: the valid ones.
        called: what is drawn, in the singular.

    Raises:
        BadInput: a kind is unknown, a weight negative or infinite, or none above 0.
    """
    if unknown := sorted(set(weights) - set(kinds)):
        raise BadInput(f"there is no {called} {unknown[0]!r}; the kinds are {', '.join(kinds)}.")
    if min(weights.values(), default=0) < 0 or not 0 < sum(weights.values()) < math.inf:
        raise BadInput(
            "the weights must not be negative or infinite, and one at least must be above 0, for "
            f"example {{ {next(iter(kinds))} = 1.0 }}."
        )
