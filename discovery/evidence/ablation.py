"""Is it worth it: detectors that differ in one thing each, trained with several seeds, compared.

The unit of work is one training: an arm with one of the seeds, in a folder of its own that is named
by everything that decides it. So what is there is never done twice, whatever else the run file
says now, and a killed training goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import discovery
from discovery.candidates import read_known
from discovery.detector import train as training
from discovery.detector.checkpoint import CARD, load_detector
from discovery.detector.vetted import fingerprint
from discovery.evidence import evidence_figures as figures
from discovery.evidence import ranking
from discovery.evidence.bootstrap import Draws, difference, draw, estimate, ratio
from discovery.evidence.config import AblationConfig, Arm
from discovery.evidence.metrics import Estimate
from discovery.evidence.ranking import Points
from discovery.evidence.sample import Sample
from discovery.evidence.tables import write_both
from discovery.files import digest, read_json
from discovery.progress import say
from discovery.run import Manifest, Run

ALL, CLEAR = "all", "lane stands out"
_LIST = 7  # stream of random numbers by which a list is shortened


@dataclass(frozen=True)
class Training:
    """One arm with one seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def detector(self) -> Path:
        return self.folder / "detector"

    @property
    def card(self) -> dict:
        """What the finished detector says of itself."""
        return read_json(self.detector / CARD)


def trainings(run: Run) -> list[list[Training]]:
    """[arm][seed], with the folders in which they are or will be."""
    asked = run.config.evidence.ablation
    return [[_training(run, arm, seed) for seed in asked.seeds] for arm in asked.expanded]


def _training(run: Run, arm: Arm, seed: int) -> Training:
    done = Manifest(run.folder).steps
    config = arm.config(run.config.detector, seed)
    decides = {
        "config": config.model_dump(mode="json", exclude={"vetted": {"tables"}}),
        "cutouts": done["ingest"]["digest"],
        "synthetic": done["synthesize"]["digest"] if arm.synthetic else None,
        "positives": arm.positives,
        "version": discovery.__version__,
        **training.start_file(config),
    }
    if looked_at := fingerprint(config.vetted):
        decides["vetted"] = looked_at
    return Training(arm, seed, run.folder / "evidence" / "detectors" / digest(decides)[:12])


def needs(config: AblationConfig) -> tuple[str, ...]:
    """Steps of the walk that have to be done before."""
    dreams = any(arm.synthetic for arm in config.arms)
    return ("ingest", "synthesize") if dreams else ("ingest",)


def ablate(run: Run, sample: Sample, out: Path) -> dict:
    """Train, score and measure every arm with every seed; tables and figures in `out`.

    Returns:
        what evidence.json says of it.
    """
    arms = trainings(run)
    scores = {one.folder: _scored(run, sample, one) for one in _in_turn(arms)}
    found = {
        target: measure(run, sample, scores, arms, rows) for target, rows in targets(sample).items()
    }
    base = run.config.evidence.ablation.base
    said = {"base": base, "arms": _told(arms), "targets": found, "truth": sample.knows_truth}
    _write(said, out)
    return said


def _in_turn(arms: Sequence[Sequence[Training]]) -> list[Training]:
    # Every arm with the first seed, then with the second: stopped early, it has a bit of each.
    return [training for of_seed in zip(*arms, strict=True) for training in of_seed]


def _scored(run: Run, sample: Sample, one: Training) -> pd.DataFrame:
    if not (one.detector / CARD).exists():
        say(f"arm {one.arm.name!r}, seed {one.seed}: train")
        train(run, one)
    return sample.scores(load_detector(one.detector, run.device), one.folder)


def train(run: Run, one: Training) -> None:
    """As the walk trains its detectors, with the arm's settings and its part of the list."""
    config = one.arm.config(run.config.detector, one.seed)
    synthetic = run.synthetic_store() if one.arm.synthetic else None
    rows = run.store().table(["object_id", "split"]).set_index("object_id")
    known = shortened(read_known(run), rows["split"], one.arm.positives, one.seed)
    training.run(run.store(), synthetic, known, config, one.detector, run.painted, run.device)


def shortened(
    known: pd.DataFrame, split: Mapping[str, str], positives: int | None, seed: int
) -> pd.DataFrame:
    """The list of published objects with at most `positives` galaxies in training, drawn by `seed`.

    Those to train on and those for the threshold keep their proportion. The others are held back:
    neither positive nor negative. Of one seed, a shorter list is part of a longer one.

    Args:
        split: of every object_id.
    """
    if positives is None:
        return known
    listed = known[known["in_training"].astype(bool)].drop_duplicates("galaxy")
    rng = np.random.default_rng((_LIST, seed))
    listed = listed.sort_values("galaxy").sample(frac=1, random_state=rng)
    of_split = listed.groupby(listed["object_id"].map(split))["galaxy"]
    turn = (of_split.cumcount() + 0.5) / of_split.transform("size")
    drawn = listed["galaxy"][turn.sort_values(kind="stable").index][:positives]
    return known.assign(in_training=known["in_training"] & known["galaxy"].isin(drawn))


def targets(sample: Sample) -> dict[str, np.ndarray]:
    """What is to be found, with the objects that count: all of the quarry; and, where contrasts
    are known, the quarry whose lane stands out, the fainter ones being neither true nor false.
    """
    objects = sample.objects
    found = {ALL: np.ones(len(objects), bool)}
    if sample.knows_truth:
        clear = objects["is_true"] & objects["stands_out"].fillna(False).astype(bool)
        if clear.any():
            found[CLEAR] = (clear | ~objects["is_true"]).to_numpy(bool)
    return found


def points_of(run: Run, sample: Sample, rows: np.ndarray) -> Points:
    """Of lanes that stand out, the sky is taken to hold the share that the sample has of them."""
    asked, is_true = run.config.evidence, sample.objects["is_true"].to_numpy(bool)
    natural = asked.natural_prevalence * (is_true & rows).sum() / is_true.sum()
    return Points(
        natural=float(natural),
        quoted=asked.quoted_prevalence,
        top=asked.ablation.top,
        sky=len(sample.objects),
    )


def measure(
    run: Run,
    sample: Sample,
    scores: Mapping[Path, pd.DataFrame],
    arms: Sequence[Sequence[Training]],
    rows: np.ndarray,
) -> dict:
    """All measures of all arms on the objects `rows`, and their differences from the base arm."""
    asked, points = run.config.evidence.ablation, points_of(run, sample, rows)
    is_true = sample.objects["is_true"].to_numpy(bool)[rows]
    measures = [
        [partial(_measures, is_true, scores[one.folder][rows], one.card, points) for one in of_arm]
        for of_arm in arms
    ]
    against = {arm.name: arm.against or asked.base for arm in asked.expanded}
    draws = draw(is_true, measures, run.config.evidence.replicates, run.config.seed)
    return {
        "true": int(is_true.sum()),
        "others": int((~is_true).sum()),
        **{name: getattr(points, name) for name in ("natural", "quoted", "top", "sky")},
        "measures": compared(draws, against, points.natural),
        "seeds": _by_seed(draws, list(against), asked.seeds),
    }


def _measures(
    is_true: np.ndarray, scores: pd.DataFrame, card: dict, points: Points, weights: np.ndarray
) -> dict[str, np.ndarray]:
    probability = scores["probability"].to_numpy(float)
    chosen = probability >= card["threshold"]  # NaN is never >=
    promised = ranking.moved(probability, card["calibration"]["prevalence"], points.natural)
    return ranking.evaluate(
        is_true, scores["score"].to_numpy(float), chosen, weights, points
    ) | ranking.calibration(is_true, promised, weights, points.natural)


def compared(draws: Draws, against: Mapping[str, str], prevalence: float) -> list[dict]:
    """A row per arm and measure: mean over the seeds, and how it differs from another arm's.

    Args:
        against: of each arm, in order, the arm that it is compared with.
    """
    rows = []
    for measure in draws.values:
        means = dict(zip(against, _mean(draws, measure, prevalence), strict=True))
        for arm, other in against.items():
            row = {"arm": arm, "measure": measure, "against": other}
            row |= recorded("", estimate(means[arm]))
            row |= recorded("difference", difference(means[arm], means[other]))
            rows.append(row | recorded("ratio", ratio(means[arm], means[other])))
    return rows


def _mean(draws: Draws, measure: str, prevalence: float) -> np.ndarray:
    if measure != "purity_frozen":
        return draws.mean(measure)
    # Of the candidates of all seeds together: one that has none has no purity of its own.
    frozen = (draws.mean(f"{rate}_frozen") for rate in ("completeness", "false_rate"))
    return ranking.purity(*frozen, prevalence)


def recorded(name: str, e: Estimate) -> dict[str, float | None]:
    """`name`, `name_low`, `name_high` for JSON; without a name `value`, `low`, `high`."""
    before = f"{name}_" if name else ""
    ends = (e.value, e.low, e.high)
    # JSON knows neither NaN nor infinity; an end that is not there is null.
    known = [None if x is None or not np.isfinite(x) else x for x in ends]
    return dict(zip((name or "value", f"{before}low", f"{before}high"), known, strict=True))


def _by_seed(draws: Draws, names: Sequence[str], seeds: Sequence[int]) -> list[dict]:
    measured = {name: values[:, :, 0] for name, values in draws.values.items()}
    return [
        {"arm": arm, "seed": seed}
        | {m: None if np.isnan(v[i, j]) else float(v[i, j]) for m, v in measured.items()}
        for i, arm in enumerate(names)
        for j, seed in enumerate(seeds)
    ]


def _told(arms: Sequence[Sequence[Training]]) -> list[dict]:
    """What each training was, and what came of it."""
    return [
        {
            "arm": one.arm.name,
            "seed": one.seed,
            "synthetic": one.arm.synthetic,
            "settings": one.arm.detector,
            "folder": one.folder.name,
            "threshold": one.card["threshold"],
            **one.card["trained"],
            "validation_positives": one.card["validation"]["positives"],
        }
        for of_arm in arms
        for one in of_arm
    ]


def _write(said: dict, out: Path) -> None:
    trained = pd.DataFrame(said["arms"])
    write_both(trained.assign(settings=trained["settings"].map(str)), out / "tables" / "trainings")
    for target, found in said["targets"].items():
        name = "ablation-" + target.replace(" ", "-")
        write_both(pd.DataFrame(found["measures"]), out / "tables" / name)
        write_both(pd.DataFrame(found["seeds"]), out / "tables" / f"{name}-seeds")
        figures.save(out / "figures" / f"{name}.png", figures.arms, found, pdf=True)
        ratios = out / "figures" / f"{name}-ratio.png"
        if found["others"] >= 1000:
            figures.save(ratios, figures.ratios, found, pdf=True)
        else:
            figures.remove(ratios)
