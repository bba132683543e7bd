import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from discovery.errors import BadInput
from discovery.morphology.prompts import (
    Span,
    literal_tokens,
    parse,
    plain_text,
    token_weights,
    weight_embedding,
)


@pytest.fixture(scope="module")
def byte_pairs() -> PreTrainedTokenizerFast:
    """A small byte-pair tokenizer: words fall into several tokens, as CLIP's do."""
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.BPEDecoder()
    trainer = trainers.BpeTrainer(vocab_size=40, special_tokens=["<unk>", "<s>", "</s>", "<pad>"])
    raw.train_from_iterator(["sdss, smooth galaxy, dust lane, round"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", model_max_length=48,
    )  # fmt: skip
    fast.add_bos_token = fast.add_eos_token = False
    return fast


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("sdss, {dust lane:1.3}", [Span("sdss, ", 1.0), Span("dust lane", 1.3)]),
        ("{ring}", [Span("ring", 1.1)]),
        ("{a {b:2} c:3}", [Span("a ", 3.0), Span("b", 6.0), Span(" c", 3.0)]),
        (r"a \{b\} c\:d", [Span("a {b} c:d", 1.0)]),
        (r"{a\:b:1.5}", [Span("a:b", 1.5)]),
        ("ratio 1:2", [Span("ratio 1:2", 1.0)]),
        ("{a:0.5}{b:.5}", [Span("ab", 0.5)]),
    ],
)
def test_the_grammar(prompt, expected):
    assert parse(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("sdss, {dust lane", "position 6.*never closed"),
        ("sdss, {dust lane:1.3", "position 6.*never closed"),
        ("sdss} dust", "position 4.*closes nothing"),
        ("{dust:0}", "'0' at position 6.*above 0 and up to 10"),
        ("{dust:-1}", "'-1'"),
        ("{dust:1e9}", "'1e9'"),
        ("{dust:nan}", "'nan'"),
        ("{dust:much}", "'much'"),
        ("{{dust:9}:9}", "weight 81"),
        ("", "has no words"),
        (" , {:1.2}", "has no words"),
    ],
)
def test_wrong_prompts_say_what_is_wrong(prompt, message):
    with pytest.raises(BadInput, match=message):
        parse(prompt)


def test_weights_land_on_exactly_the_words_in_braces(byte_pairs):
    prompt = "sdss, smooth, {dust lane:1.3}, round"
    tokens = token_weights(byte_pairs, prompt)
    weighted = [
        byte_pairs.convert_ids_to_tokens(int(token))
        for token, weight in zip(tokens.ids, tokens.weights, strict=True)
        if weight != 1
    ]
    assert "".join(weighted) == "dustlane"
    plain = byte_pairs(plain_text(prompt), padding="max_length")["input_ids"]
    np.testing.assert_array_equal(tokens.ids, plain)
    assert set(tokens.weights.tolist()) == {1.0, np.float32(1.3)}


def test_a_token_across_two_weights_takes_the_mean_of_its_characters(byte_pairs):
    (dust,) = byte_pairs.convert_tokens_to_ids(byte_pairs.tokenize("dust"))
    tokens = token_weights(byte_pairs, "{du:2}st")
    assert tokens.weights[list(tokens.ids).index(dust)] == pytest.approx(1.5)


def test_captions_are_taken_literally(byte_pairs):
    (tokens,) = literal_tokens(byte_pairs, ["smooth {dust:2} lane"])
    plain = byte_pairs("smooth {dust:2} lane", padding="max_length")
    np.testing.assert_array_equal(tokens.ids, plain["input_ids"])
    np.testing.assert_array_equal(tokens.mask, plain["attention_mask"])
    assert set(tokens.weights.tolist()) == {1.0}


def test_too_long_prompts_are_refused(byte_pairs):
    with pytest.raises(BadInput, match="48 fit"):
        token_weights(byte_pairs, "dust lane, " * 40)


def test_rows_are_scaled_and_the_mean_restored():
    embedding = torch.tensor([[[1.0, 3.0], [2.0, 2.0], [4.0, 0.0]]])  # mean 2
    weights = torch.tensor([[1.0, 2.0, 1.0]])
    # by hand: rows (1,3), (4,4), (4,0) have the mean 16/6; times 2 / (16/6) = 0.75
    expected = torch.tensor([[[0.75, 2.25], [3.0, 3.0], [3.0, 0.0]]])
    torch.testing.assert_close(weight_embedding(embedding, weights), expected)


def test_magnitude_restores_the_mean_of_absolute_values_of_centred_rows():
    embedding = torch.tensor([[[1.0, -1.0], [2.0, -2.0]]])
    weighted = weight_embedding(embedding, torch.tensor([[1.0, 3.0]]), mean="magnitude")
    # rows (1,-1), (6,-6): mean |x| 3.5, before 1.5
    torch.testing.assert_close(weighted, torch.tensor([[[1, -1], [6, -6]]]) * (1.5 / 3.5))


def test_weights_of_one_change_nothing():
    embedding = torch.randn(2, 5, 4)
    assert weight_embedding(embedding, torch.ones(2, 5)) is embedding
