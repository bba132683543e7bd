"""A Stable Diffusion small enough for a test, of the very classes of the real one."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

TEXT = "sdss, smooth, in-between completely round edge-on galaxy, dust lane, merger, ring"
SIZE = 40  # px: 5 latents on a side, odd as the 53 of 424 px are


def write_tokenizer(folder: Path) -> CLIPTokenizerFast:
    """CLIP's byte-level byte-pair encoding with </w>, trained on a few words."""
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=560, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    raw.train_from_iterator([TEXT] * 4, trainer)
    merges = [tuple(pair) for pair in json.loads(raw.to_str())["model"]["merges"]]
    tokens = [*sorted(letters), *(f"{letter}</w>" for letter in sorted(letters))]
    tokens += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(ids))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    settings |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    settings |= {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizerFast.from_pretrained(folder)


def build(folder: Path) -> Path:
    """Write an untrained pipeline as diffusers publishes one, Stable Diffusion 1.5's scheduler in
    it.
    """
    tokenizer = write_tokenizer(folder / "made" / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(
                block_out_channels=(4, 4, 4, 8), latent_channels=4, norm_num_groups=2,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4, sample_size=SIZE,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32,
                    num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=77,
                    bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            ),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=SIZE // 8, block_out_channels=(8, 16), layers_per_block=1,
                norm_num_groups=4, attention_head_dim=2, cross_attention_dim=16,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            ),
            scheduler=PNDMScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
        for name, parameter in pipeline.text_encoder.named_parameters():
            # Untrained, its rows are centred and have no mean to restore; CLIP's have one.
            if name.endswith("final_layer_norm.bias"):
                torch.nn.init.normal_(parameter, 0.3, 0.1)
    pipeline.save_pretrained(folder / "sd", safe_serialization=True)
    return folder / "sd"
