"""Every figure of a judgement, from what the other parts found; PNG and PDF."""

from collections import Counter
from collections.abc import Mapping
from textwrap import shorten

import numpy as np
import pandas as pd

from discovery.cutouts import load_pixels
from discovery.evidence.figures import SampleRow, sample_sheet, save
from discovery.evidence.tables import once
from discovery.files import digest
from discovery.generator.checkpoint import load_generator
from discovery.generator.judge import figures
from discovery.generator.judge.case import Case
from discovery.generator.judge.memory import Nearest
from discovery.generator.judge.real import Images
from discovery.generator.sample import sampler_of, trajectory
from discovery.morphology.structure import QUANTITIES

PROMPTS_SHOWN, ABREAST = 5, 8
SHEET_IMAGES = 64
PAIRS_SHOWN = 16


def show_samples(case: Case) -> None:
    """Real cutouts over synthetic ones of the same caption, the first of each, unpicked."""
    usual = Counter(case.half.captions).most_common(PROMPTS_SHOWN)
    rows = [
        SampleRow(_cut(f"{kind}: {caption}"), images.of(caption).pixels[:ABREAST])
        for caption, _ in usual
        for kind, images in (("real", case.half), ("synthetic", case.synthetic))
    ]
    _save(case, "real-beside-synthetic", sample_sheet, rows)


def show_structure(case: Case, measured: Mapping[str, pd.DataFrame]) -> None:
    """Histograms of what statmorph measured."""
    good = {name: table[table["reason"] == ""] for name, table in measured.items()}
    real = pd.concat((good["half"], good["other half"]))
    _save(case, "structure", figures.histograms, real, good["synthetic"], QUANTITIES)


def show_nearest(case: Case, nearest: Mapping[str, tuple[Nearest, Nearest]], ids: list[str]):
    """The synthetic cutouts nearest to a training image, each beside that one."""
    for space, (synthetic, _) in nearest.items():
        closest = np.argsort(synthetic.distance)[:PAIRS_SHOWN]
        there = load_pixels(
            case.store, [ids[row] for row in synthetic.row[closest]], case.asking.size
        )
        pairs = np.stack((case.synthetic.pixels[closest], there), 1)  # (P, 2, S, S, 3)
        title = (
            f"the {len(closest)} closest pairs in {space} of {len(synthetic.distance):,} synthetic "
            "cutouts,\nright of each its nearest training image"
        )
        flat = pairs.reshape(-1, *pairs.shape[2:])
        _save(case, f"nearest-training-{space}", figures.sheet, title, flat)


def show_lanes(case: Case, drawn: Mapping[tuple[str, float], Images], rows: list[dict]) -> None:
    """The dose-response curve, and a sheet of each caption and weight: the first 64, unpicked."""
    _save(case, "dose-response", figures.dose_response, rows)
    captions = list(dict.fromkeys(caption for caption, _ in drawn))
    seed = case.config.seed
    for (caption, weight), images in drawn.items():
        asked = f"{{dust lane:{weight:g}}}" if weight else "no lane asked"
        shown = images.pixels[:SHEET_IMAGES]
        title = f"{_cut(caption)}\n{asked}; seed {seed}, the first {len(shown)}, unpicked"
        name = figures.sheet_name(captions.index(caption), weight, seed)
        _save(case, name, figures.sheet, title, shown)


def show_curves(case: Case, curves: Mapping[str, pd.DataFrame], real: dict[str, float]) -> None:
    """Measures against training and sampling steps, beside what as many `real` ones reach."""
    for x, table in curves.items():
        if len(table):
            _save(case, x.replace("_", "-"), figures.curve, table, x, real)


def show_fronts(case: Case, table: pd.DataFrame) -> None:
    """A Pareto front per caption."""
    if len(table):
        _save(case, "pareto-fronts", figures.pareto, table)


def show_trajectory(case: Case, prompt: str) -> None:
    """One image on its way from noise: what the network sees, over what it then means."""
    if case.generator.kind == "sagan":
        return  # there is no way: it draws in one pass
    way = _trajectory(case, prompt)
    size = case.generator.config.size
    images = {
        name: np.stack([np.frombuffer(row, np.uint8).reshape(size, size, 3) for row in way[name]])
        for name in ("noised", "clean")
    }
    title = f"{prompt}; seed {case.config.seed}"
    _save(case, "trajectory", figures.trajectory, title, list(way["left"]), images)


def _trajectory(case: Case, prompt: str) -> pd.DataFrame:
    settings, steps, seed = case.asking.settings, case.config.trajectory_steps, case.config.seed

    def make() -> pd.DataFrame:
        seen = trajectory(
            load_generator(case.asking.generator, case.asking.device),
            *(prompt, seed, steps, steps // 10, settings.guidance, settings.sampler),
            *(settings.coherence, settings.symmetry),
        )
        rows = zip(seen.steps, seen.noised, seen.clean, strict=True)
        return pd.DataFrame(
            [{"left": n, "noised": x.tobytes(), "clean": c.tobytes()} for n, x, c in rows]
        )

    sampler = sampler_of(case.generator, settings.sampler)
    asked = [settings.guidance, sampler, settings.coherence, settings.symmetry]
    made_from = digest([case.described["digest"], prompt, seed, steps, asked])
    return once(case.out / "measured" / "trajectory.parquet", made_from, make)


def _cut(label: str) -> str:
    return shorten(label, 78, placeholder=" …")


def _save(case: Case, name: str, draw, *data) -> None:
    save(case.out / "figures" / f"{name}.png", draw, *data, pdf=True)
