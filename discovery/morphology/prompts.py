"""Weighted prompts, as GalaxySD writes them (Ma et al. 2026, arXiv 2506.16233).

`{dust lane:1.3}` multiplies the weight of its words by 1.3, `{dust lane}` by 1.1, and nested
braces multiply each other. A brace or colon that is meant as itself is written `\\{`, `\\}`, `\\:`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from discovery.errors import BadInput

if TYPE_CHECKING:  # a run file is read with this module, and is not to wait for torch
    import torch

PLAIN_BRACES = 1.1
LARGEST_WEIGHT = 10.0
_ESCAPED = "{}:\\"


@dataclass(frozen=True)
class Span:
    """A stretch of prompt text, braces and escapes removed, and the weight it carries."""

    text: str
    weight: float


@dataclass(frozen=True)
class WeightedTokens:
    """One tokenised prompt: `ids` int64 (L,), `mask` bool (L,), `weights` float32 (L,)."""

    ids: np.ndarray
    mask: np.ndarray
    weights: np.ndarray


def parse(prompt: str) -> list[Span]:
    """Split a prompt into spans of equal weight, in the order of the text.

    Raises:
        BadInput: no words, braces that do not pair (with the position), or a weight that is not
            a number above 0 and up to 10 (nested ones multiplied).
    """
    merged = _merge(_parse_group(prompt, 0, None)[0])
    if not any(span.text.strip(" ,") for span in merged):
        raise BadInput(
            f"the prompt {prompt!r} has no words; write tags, for example 'mock, smooth, "
            "in-between round galaxy, {dust lane:1.3}'."
        )
    for span in merged:
        if span.weight > LARGEST_WEIGHT:
            raise BadInput(
                f"nested braces give {span.text!r} the weight {span.weight:g} in the prompt "
                f"{prompt!r}; up to {LARGEST_WEIGHT:g} is valid. Write smaller weights."
            )
    return merged


def plain_text(prompt: str) -> str:
    """The prompt's words without braces, weights and escapes."""
    return "".join(span.text for span in parse(prompt))


def _parse_group(prompt: str, start: int, opened: int | None) -> tuple[list[Span], int, float]:
    """Read from `start` to the brace that closes the one at `opened` (None: to the end).

    Returns its spans, the position after it and the weight written in it.
    """
    spans: list[Span] = []
    position = start
    while position < len(prompt):
        sign = prompt[position]
        if sign == "\\" and prompt[position + 1 : position + 2] in tuple(_ESCAPED):
            spans.append(Span(prompt[position + 1], 1.0))
            position += 2
        elif sign == "{":
            inner, position, weight = _parse_group(prompt, position + 1, position)
            spans += [Span(span.text, span.weight * weight) for span in inner]
        elif sign == "}":
            if opened is None:
                raise _unbalanced(prompt, position, "closes nothing")
            return spans, position + 1, PLAIN_BRACES
        elif sign == ":" and opened is not None:
            weight, end = _read_weight(prompt, position, opened)
            return spans, end, weight
        else:
            spans.append(Span(sign, 1.0))
            position += 1
    if opened is not None:
        raise _unbalanced(prompt, opened, "is never closed")
    return spans, position, 1.0


def _read_weight(prompt: str, colon: int, opened: int) -> tuple[float, int]:
    end = prompt.find("}", colon)
    if end < 0:
        raise _unbalanced(prompt, opened, "is never closed")
    written = prompt[colon + 1 : end]
    try:
        weight = float(written)
    except ValueError:
        weight = float("nan")
    if not 0 < weight <= LARGEST_WEIGHT:
        raise BadInput(
            f"the weight {written.strip()!r} at position {colon + 1} of the prompt {prompt!r} is "
            f"not a number above 0 and up to {LARGEST_WEIGHT:g}; write {{dust lane:1.3}}, or "
            "\\: for a colon that is meant as itself."
        )
    return weight, end + 1


def _unbalanced(prompt: str, position: int, what: str) -> BadInput:
    return BadInput(
        f"the brace at position {position} of the prompt {prompt!r} {what}; braces come in pairs, "
        "{dust lane:1.3}, and \\{ or \\} is a brace meant as itself."
    )


def _merge(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].weight == span.weight:
            merged[-1] = Span(merged[-1].text + span.text, span.weight)
        else:
            merged.append(span)
    return merged


def token_weights(tokenizer, prompt: str) -> WeightedTokens:
    """Tokenise a prompt and give every token the weight of the characters it stands for.

    The text without braces is tokenised once and each token is placed by its character offsets,
    so a weight lands on exactly the words it was written around. Special tokens and padding
    weigh 1; a token that spans two weights takes the mean over its characters.

    Args:
        tokenizer: a fast tokenizer of transformers (it knows offsets); pads to its
            `model_max_length`, L.

    Raises:
        BadInput: as `parse`, or the prompt has more tokens than fit.
    """
    spans = parse(prompt)
    text = "".join(span.text for span in spans)
    by_character = np.concatenate([np.full(len(span.text), span.weight) for span in spans])
    encoded = tokenizer(text, padding="max_length", return_offsets_mapping=True)
    longest = tokenizer.model_max_length
    if len(encoded["input_ids"]) > longest:
        raise BadInput(
            f"the prompt {prompt!r} has {len(encoded['input_ids'])} tokens; {longest} fit. "
            "Leave out some tags."
        )
    weights = [by_character[a:b].mean() if b > a else 1.0 for a, b in encoded["offset_mapping"]]
    return WeightedTokens(
        np.array(encoded["input_ids"], dtype=np.int64),
        np.array(encoded["attention_mask"], dtype=bool),
        np.array(weights, dtype=np.float32),
    )


def literal_tokens(tokenizer, texts: Sequence[str]) -> list[WeightedTokens]:
    """Tokenise texts as they are: braces and colons mean nothing, every weight is 1."""
    encoded = tokenizer(list(texts), padding="max_length")
    return [
        WeightedTokens(np.array(ids), np.array(mask, bool), np.ones(len(ids), np.float32))
        for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"], strict=True)
    ]


def weight_embedding(
    embedding: "torch.Tensor", weights: "torch.Tensor", mean: str = "signed"
) -> "torch.Tensor":
    """Multiply a text encoder's output rows by their tokens' weights and restore the mean.

    GalaxySD: row i of the output becomes w_i times itself, then the whole embedding is
    multiplied by (mean before) / (mean after). An encoder whose rows are centred by its last
    layer norm has a mean of about 0, and that ratio would be noise; with `mean="magnitude"` the
    mean of absolute values is restored instead.

    Args:
        embedding: (B, L, D) float.
        weights: (B, L) float, 1 for the first (BOS) token.
        mean: "signed" (CLIP, as GalaxySD) or "magnitude".
    """
    if bool((weights == 1).all()):
        return embedding
    weighted = embedding * weights[..., None].to(embedding.dtype)
    measured = (x.float() if mean == "signed" else x.float().abs() for x in (embedding, weighted))
    before, after = (x.mean((-2, -1), keepdim=True) for x in measured)
    return (weighted * (before / after)).to(embedding.dtype)
