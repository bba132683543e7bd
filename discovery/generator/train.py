"""Train the generator on cutouts and their captions."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from discovery.cutouts import CutoutStore, load_pixels
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, writing
from discovery.generator import model
from discovery.generator.config import GeneratorConfig
from discovery.generator.model import Generator
from discovery.generator.sample import no_words
from discovery.generator.vocabulary import collect_words
from discovery.morphology.captions import count_tags, require_tags, tags_of
from discovery.morphology.prompts import WeightedTokens
from discovery.progress import say, track

_STATE = "training.safetensors"


def run(store: CutoutStore, config: GeneratorConfig, out: Path, device: str = "auto") -> Path:
    """Train on every captioned cutout of the store's `train` split.

    Raises:
        BadInput: none of its cutouts has a caption.
    """
    rows = store.table(["object_id", "caption"], split="train").dropna(subset=["caption"])
    if rows.empty:
        raise BadInput(
            f"no cutout in {store.folder} has a caption and the split 'train'; a generator learns "
            "from captions. Ingest a survey with votes, or name the labels of a folder survey with "
            "caption_column and what they say with captions, in its [[survey]] of the run file."
        )
    start = _load_start(config)
    size = start.config.size if start else config.size
    pixels = load_pixels(store, list(rows["object_id"]), size)
    return train_generator(pixels, list(rows["caption"]), config, out, device)


def train_generator(
    pixels: np.ndarray,
    captions: Sequence[str],
    config: GeneratorConfig,
    out: Path,
    device: str = "auto",
) -> Path:
    """Flow matching (Lipman et al., arXiv 2210.02747) on image-caption pairs.

    Killed at any moment and given again, it goes on from the last state and ends with the same
    weights, bit for bit on one CPU. A finished training of the same data is not repeated.

    Args:
        pixels: uint8 (N, S, S, 3), S = the generator's image size.
        captions: N captions; the first tag is the survey.
        config: a `start` other than 'scratch' brings its own network settings.
        out: folder of the generator.

    Returns:
        `out`.

    Raises:
        BadInput: captions and pixels do not match in number or size; `start` is no generator.
    """
    start = _load_start(config)
    training = _training_digest(pixels, captions, config, start)
    if _is_finished(out, training):
        return out
    generator = _begin(pixels, captions, config, start).to_device(pick_device(device))
    _check(pixels, captions, generator)
    learner = _Learner(generator, config, pixels, captions)
    first = learner.restore(out / _STATE, training)
    for step in track(range(first, config.steps), "generator", unit="images", each=config.batch):
        learner.learn(step)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            learner.store(out / _STATE, training, step + 1)
    learner.use_average()
    model.save(
        generator,
        out,
        {"training": training, "images": len(captions), "steps": config.steps,
         "started_from": start.digest if start else None},
    )  # fmt: skip
    (out / _STATE).unlink(missing_ok=True)
    return out


def _load_start(config: GeneratorConfig) -> Generator | None:
    if config.start == "scratch":
        return None
    return model.load_generator(config.start, "cpu")


def _training_digest(pixels, captions, config, start: Generator | None) -> str:
    seen = hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()
    settings = config.model_dump(mode="json", exclude={"start", "checkpoint_every"})
    return digest([seen, list(captions), settings, start.digest if start else None])


def _is_finished(out: Path, training: str) -> bool:
    described = out / "generator.json"
    return described.exists() and read_json(described).get("training") == training


def _begin(pixels, captions, config: GeneratorConfig, start: Generator | None) -> Generator:
    """What is trained: the start, or a new network scaled to these images."""
    counts = count_tags(captions)
    if start is None:
        flat = pixels.reshape(-1, 3)
        mean, std = flat.mean(0) / 255, flat.std(0) / 255
        made = model.build(config, collect_words(captions), mean.tolist(), std.tolist())
        return replace(made, tags=counts)
    network = {"size", "patch", "channels", "layers", "text_width", "text_layers"}
    kept = {name: getattr(start.config, name) for name in network}
    both = {tag: start.tags.get(tag, 0) + counts.get(tag, 0) for tag in {**start.tags, **counts}}
    grown = model.learn_words(start, collect_words(captions))
    return replace(grown, tags=both, config=config.model_copy(update=kept))


def _check(pixels, captions, generator: Generator) -> None:
    size = generator.config.size
    if pixels.shape != (len(captions), size, size, 3):
        raise BadInput(
            f"{len(captions)} captions came with pixels of shape {pixels.shape}; the generator "
            f"needs ({len(captions)}, {size}, {size}, 3). Set size = {size}."
        )


def learning_rate(config: GeneratorConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


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


def vary_caption(caption: str, config: GeneratorConfig, rng: np.random.Generator) -> str:
    """The survey's tag, then some of the others in any order; sometimes nothing."""
    if rng.random() < config.caption_dropout:
        return ""
    survey, *tags = caption.split(", ")
    kept = [tag for tag in tags if rng.random() >= config.tag_dropout]
    return ", ".join([survey, *rng.permutation(kept).tolist()])


def turn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight ways to look at a square: a galaxy has no up."""
    turned = np.rot90(image, rng.integers(4))
    return turned[:, ::-1] if rng.random() < 0.5 else turned


class _Learner:
    """The networks, their averages and the optimiser, moving in step.

    What happens in a step follows from (seed, step) and the weights alone, so a state needs no
    random number generators.
    """

    def __init__(self, generator: Generator, config: GeneratorConfig, pixels, captions):
        self.generator, self.config = generator, config
        self.pixels, self.captions = pixels, captions
        self.weights = draw_weights(captions, config.balance, config.emphasis)
        self.modules = generator.modules().train()
        self.parameters = list(self.modules.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )

    def learn(self, step: int) -> None:
        images, tokens, sigma, noise = self._batch(step)
        noised = torch.lerp(images, noise, sigma[:, None, None, None])
        with self.generator.autocast():
            told = model.condition(self.generator, tokens)
            predicted = model.velocity(self.generator, noised, sigma, told)
        loss = nn.functional.mse_loss(predicted, noise - images)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        # A short memory at first, or the average would remember the untrained weights.
        decay = min(self.config.ema_decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    def _batch(self, step: int):
        rng = np.random.default_rng([self.config.seed, step])
        rows = rng.choice(len(self.captions), self.config.batch, p=self.weights)
        images = np.stack([turn(self.pixels[row], rng) for row in rows])
        tokens = self._tokenise([vary_caption(self.captions[r], self.config, rng) for r in rows])
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # Logit-normal (Esser et al., arXiv 2403.03206, eq. 19), then up to where shapes form
        sigma = torch.sigmoid(torch.randn(len(rows), generator=draws))
        sigma = model.shift_noise(sigma, self.config.noise_shift)
        noise = torch.randn(len(rows), *images.shape[3:], *images.shape[1:3], generator=draws)
        scaled = _to_model(self.generator, images)
        device = self.generator.device
        return scaled.to(device), tokens, sigma.to(device), noise.to(device)

    def _tokenise(self, captions: list[str]) -> list[WeightedTokens]:
        empty = no_words(self.generator)
        encoded = self.generator.tokenizer(captions, padding="max_length")
        return [
            WeightedTokens(np.array(ids), np.array(mask, bool), empty.weights)
            for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"], strict=True)
        ]

    def use_average(self) -> None:
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.data.copy_(average)

    def store(self, path: Path, training: str, step: int) -> None:
        tensors = {name: t.detach().contiguous() for name, t in self._tensors().items()}
        with writing(path) as temporary:
            save_file(tensors, temporary, metadata={"training": training, "step": str(step)})

    def restore(self, path: Path, training: str) -> int:
        """Take up a state of this very training, if there is one; returns the next step."""
        if not path.exists():
            return 0
        with safe_open(path, "pt") as state:
            if state.metadata()["training"] != training:
                return 0
            for parameter in self.parameters:
                self.optimizer.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            for name, tensor in self._tensors().items():
                tensor.data.copy_(state.get_tensor(name))
            step = int(state.metadata()["step"])
        say(f"  generator: goes on at step {step:,} of {self.config.steps:,}")
        return step

    def _tensors(self) -> dict[str, torch.Tensor]:
        named = {}
        for i, (parameter, average) in enumerate(zip(self.parameters, self.average, strict=True)):
            named |= {f"{i}.weight": parameter, f"{i}.average": average}
            moments = self.optimizer.state[parameter]
            named |= {f"{i}.{moment}": tensor for moment, tensor in moments.items()}
        return named


def _to_model(generator: Generator, pixels: np.ndarray) -> torch.Tensor:
    """uint8 (B, S, S, 3) to float (B, 3, S, S) of zero mean and unit variance."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (generator.mean, generator.std))
    return (x - mean) / std
