"""How realism, diversity, consistency and FID move: with training, with sampling, with asking."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.errors import BadInput
from discovery.evidence.tables import once, write_both
from discovery.files import digest
from discovery.generator import sample
from discovery.generator.base import reads
from discovery.generator.checkpoint import load_generator
from discovery.generator.judge import distances, measures
from discovery.generator.judge.case import Case
from discovery.generator.judge.intervals import columns, set_interval
from discovery.generator.judge.real import LEAST, Images
from discovery.morphology.prompts import plain_text

USUAL_PROMPTS = 3  # for the Pareto fronts, where the run file names none
TIMED_IMAGES = 16
_REPLICATES = 100


def three_measures(case: Case, drawn: Images, real: Images) -> dict[str, float]:
    """Realism, diversity and consistency against `real`, each with `_low` and `_high`."""
    rng, (features, probabilities) = case.rng(6), case.features.look(drawn.pixels)
    known, captions = case.features.look(real.pixels)[0], [plain_text(c) for c in drawn.captions]
    found = {
        "realism": measures.realism(known, features, rng),
        "diversity": measures.diversity(known, real.captions, features, captions, rng),
        "consistency": measures.consistency(probabilities, case.features.tags, captions, rng),
    }
    return {key: value for name in found for key, value in columns(name, found[name]).items()}


def measure_point(case: Case, drawn: Images, real: Images) -> dict[str, float]:
    """`three_measures`, and FID."""
    sets = [case.features.look(images.pixels)[0] for images in (real, drawn)]
    distance = set_interval(distances.frechet, sets, case.rng(6), _REPLICATES)
    return three_measures(case, drawn, real) | columns("FID", distance)


def real_point(case: Case) -> dict[str, float]:
    """`measure_point` of as many real cutouts of the other half: what perfection would reach."""
    return measure_point(case, case.other_half.first(case.config.curve_images), case.half)


def _points(case: Case) -> Mapping[str, int]:
    return Counter(case.half.first(case.config.curve_images).captions)


def training_curve(case: Case) -> pd.DataFrame:
    """A row per snapshot of the training, and one for its end; a start only where there is none."""
    ends = {int(p.name): p for p in _snapshots(case.asking.generator)}
    if "steps" in case.described:
        ends[int(case.described["steps"])] = case.asking.generator
    rows = [
        {"training_steps": steps} | _of_snapshot(case, ends[steps], steps) for steps in sorted(ends)
    ]
    return _written(case, rows, "training-curve")


def _snapshots(generator: Path) -> list[Path]:
    return [p for p in (generator / "snapshots").glob("*") if p.name.isdigit()]


def _of_snapshot(case: Case, folder: Path, steps: int) -> dict[str, float]:
    asking = case.asking.of(folder)
    return measure_point(case, asking.draw(f"trained-{steps:06d}", _points(case)), case.half)


def sampling_curve(case: Case) -> pd.DataFrame:
    """A row per number of sampling steps."""
    rows = []
    for steps in sorted(case.config.sampling_steps):
        drawn = case.asking.sampled(steps=steps).draw(f"steps-{steps:03d}", _points(case))
        rows.append({"sampling_steps": steps} | measure_point(case, drawn, case.half))
    return _written(case, rows, "sampling-curve")


def knee(curve: pd.DataFrame) -> int:
    """The fewest sampling steps whose FID the interval of the best one reaches."""
    best = curve.loc[curve["FID"].idxmin()]
    return int(curve["sampling_steps"][curve["FID"] <= best["FID_high"]].min())


def weighted(caption: str, weight: float) -> str:
    """The caption with this weight on all of its tags but the first, the survey."""
    survey, _, rest = caption.partition(", ")
    return caption if weight == 1 or not rest else f"{survey}, {{{rest}:{weight:g}}}"


def front_captions(case: Case) -> list[str]:
    """The captions whose fronts are drawn.

    Raises:
        BadInput: of one that [judge] names there are fewer than LEAST real cutouts.
    """
    counts = Counter(case.real.captions)
    if few := [caption for caption in case.config.prompts if counts[caption] < LEAST]:
        often = ", ".join(repr(c) for c, n in counts.most_common(8) if n >= LEAST)
        raise BadInput(
            f"[judge] prompts names {few[0]!r}, a caption of {counts[few[0]]} of the real cutouts "
            f"to judge with; {LEAST} are needed. Those of enough are {often or 'none'}."
        )
    usual = [c for c, n in counts.most_common(USUAL_PROMPTS) if n >= LEAST]
    return list(case.config.prompts) or usual


def fronts(case: Case, captions: Sequence[str]) -> pd.DataFrame:
    """A row per caption, guidance and weight, and whether nothing else beats it in both
    realism and diversity (`on_front`); measured against the real cutouts of the same caption.
    """
    asked = {weighted(c, w): (c, w) for c in captions for w in case.config.weights}
    asked = {prompt: of for prompt, of in asked.items() if reads(case.generator, prompt)}
    rows = []
    for guidance in case.config.guidances if asked else ():
        asking = case.asking.sampled(guidance=guidance, outline_above=1.0)
        drawn = asking.draw(f"front-{guidance:g}", dict.fromkeys(asked, case.config.front_images))
        for prompt, (caption, weight) in asked.items():
            found = three_measures(case, drawn.of(prompt), case.real.of(caption))
            rows.append({"caption": caption, "guidance": guidance, "weight": weight} | found)
    table = pd.DataFrame(rows)
    if rows:
        table["on_front"] = _on_front(table)
    write_both(table, case.out / "tables" / "fronts")
    return table


def _on_front(table: pd.DataFrame) -> np.ndarray:
    front = np.zeros(len(table), bool)
    for rows in table.groupby("caption").indices.values():
        front[rows] = nondominated(table[["realism", "diversity"]].to_numpy()[rows])
    return front


def nondominated(points: np.ndarray) -> np.ndarray:
    """Which of the points (N, 2) no other equals or exceeds in both and exceeds in one."""
    at_least = (points[None] >= points[:, None]).all(2)
    more = (points[None] > points[:, None]).any(2)
    return ~(at_least & more).any(1)


def _written(case: Case, rows: list[dict], name: str) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    write_both(table, case.out / "tables" / name)
    return table


def sampling_speed(case: Case) -> dict:
    """Images per second at the steps and guidance of the case, on the device that it uses."""
    folder, asked, device = case.asking.generator, case.asking.settings, case.asking.device
    course = asked.steps, asked.guidance
    sampler = sample.sampler_of(case.generator, asked.sampler)
    how = {"sampler": sampler, "coherence": asked.coherence, "symmetry": asked.symmetry}

    def make() -> pd.DataFrame:
        generator = load_generator(folder, device)
        prompts = (case.half.captions * TIMED_IMAGES)[:TIMED_IMAGES]
        sample.draw(generator, prompts, range(TIMED_IMAGES), *course, **how)  # warms up
        begun = time.perf_counter()
        sample.draw(generator, prompts, range(TIMED_IMAGES), *course, **how)
        rate = TIMED_IMAGES / (time.perf_counter() - begun)
        return pd.DataFrame([{"images_per_second": rate, "device": str(generator.device)}])

    made_from = digest([case.described["digest"], *course, how, device])
    (row,) = once(case.out / "measured" / "speed.parquet", made_from, make).to_dict("records")
    return row
