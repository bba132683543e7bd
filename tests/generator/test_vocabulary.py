import pytest

from discovery.errors import BadInput
from discovery.generator.vocabulary import (
    LONGEST,
    build_tokenizer,
    collect_words,
    known_words,
    require_known,
)
from discovery.morphology.captions import TAGS, count_tags
from discovery.morphology.prompts import token_weights


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(collect_words(["mock, smooth"]))


def test_every_word_of_every_tag_has_a_token(tokenizer):
    ids = tokenizer(", ".join(TAGS))["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(tokenizer("mock, Dust Lane")["input_ids"], True) == "mock dust lane"


def test_weights_land_on_the_words_in_braces(tokenizer):
    tokens = token_weights(tokenizer, "mock, {dust lane:1.3}, ring")
    words = tokenizer.convert_ids_to_tokens(tokens.ids.tolist())
    weighted = {w for w, weight in zip(words, tokens.weights, strict=True) if weight != 1}
    assert weighted == {"dust", "lane"}
    assert words[:6] == ["<start>", "mock", "dust", "lane", "ring", "<end>"]
    assert tokens.mask.sum() == 6
    assert len(words) == LONGEST


def test_new_words_come_after_the_known_ones(tokenizer):
    words = collect_words(["decals, smooth"], known=known_words(tokenizer))
    assert words[: len(known_words(tokenizer))] == known_words(tokenizer)
    assert words[-1] == "decals"


def test_words_never_seen_are_refused_and_the_tags_listed():
    tags = count_tags(["mock, smooth, in-between round galaxy", "mock, smooth"])
    assert tags == {"mock": 2, "smooth": 2, "in-between round galaxy": 1}
    require_known("mock, {in-between:1.2} galaxy", tags)
    with pytest.raises(BadInput, match=r"never saw 'dusty'.*in-between round galaxy, mock, smooth"):
        require_known("mock, {dusty:1.2} galaxy", tags)
