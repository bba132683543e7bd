"""The words a generator knows: a word-level tokenizer over the tags of captions."""

import re
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from discovery.errors import BadInput
from discovery.morphology.captions import TAGS
from discovery.morphology.prompts import plain_text

LONGEST = 32  # tokens; the longest caption that GZ2's tree can make has 26
_SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
_BETWEEN = r"[\s,]+"


def words_of(text: str) -> list[str]:
    """The lower-case words of a caption, commas left out."""
    return [word for word in re.split(_BETWEEN, text.lower()) if word]


def collect_words(captions: Iterable[str], known: Sequence[str] = ()) -> list[str]:
    """`known` words in their order, then GZ2's, then those of the captions."""
    found = dict.fromkeys(known)
    found |= dict.fromkeys(word for tag in TAGS for word in words_of(tag))
    found |= dict.fromkeys(sorted({word for caption in captions for word in words_of(caption)}))
    return list(found)


def build_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word; the ids follow the order of `words`."""
    ids = {word: i for i, word in enumerate([*_SPECIAL, *words])}
    raw = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(_BETWEEN), "removed")
    raw.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=LONGEST,
    )


def known_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The words of a tokenizer made here, in the order of their ids."""
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.get)[len(_SPECIAL) :]


def require_known(prompt: str, tags: Iterable[str]) -> None:
    """Refuse a prompt with words that no tag of the training set holds.

    Raises:
        BadInput: names the words and lists the tags.
    """
    tags = list(tags)
    seen = {word for tag in tags for word in words_of(tag)}
    unseen = [word for word in words_of(plain_text(prompt)) if word not in seen]
    if unseen:
        raise BadInput(
            f"the generator never saw {', '.join(map(repr, unseen))} of the prompt {prompt!r}. "
            f"Tags it knows: {', '.join(sorted(tags))}."
        )
