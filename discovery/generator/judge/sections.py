"""The parts of a judgement: each takes the case and returns what judge.json says of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple

import numpy as np
import pandas as pd
import pyarrow as pa

from discovery.cutouts import load_pixels
from discovery.cutouts.store import write_table
from discovery.devices import pick_device
from discovery.evidence.tables import digest_of, once, records, write_both
from discovery.files import digest
from discovery.generator.judge import distances, manifold, measures, memory, tell_apart
from discovery.generator.judge.case import Case
from discovery.generator.judge.features import named_well
from discovery.generator.judge.intervals import (
    Measured,
    columns,
    mean_interval,
    ratio_interval,
    set_interval,
)
from discovery.generator.judge.memory import Nearest
from discovery.generator.judge.real import Images
from discovery.morphology import structure

SET_REPLICATES = 100  # of distances between sets, which cost more than a mean
REAL_SETS = ("half", "other half", "more real")
MADE_SETS = ("synthetic", "more synthetic")
LEAST_MEASURED = 10  # images, to speak of a distance or a bias
SPACES = {"features": memory.nearest_by_features, "pixels": memory.nearest_by_pixels}
_TRAINING_CHUNK = 1000
Row = tuple[str, Measured | None, Measured | None]


def judge_the_network(case: Case) -> dict:
    """How well the network whose features are used names what it never saw."""
    _, probabilities = case.features.look(case.real.pixels)
    named = named_well(case.features.tags, probabilities, case.real.captions)
    write_both(named, case.out / "tables" / "features")
    known = ("network", "width", "size", "steps", "images", "training_digest")
    mean = float(named["auroc"].mean()) if len(named) else None
    told = {key: case.features.card[key] for key in known}
    return told | {"mean_auroc": mean, "tags": records(named)}


def judge_likeness(case: Case) -> dict:
    """Realism, diversity, consistency, and distances in feature space, synthetic and real."""
    seen = {name: case.features.look(images.pixels) for name, images in _sets(case).items()}
    rows = [*_of_sets(case, seen), *_of_captions(case, seen)]
    told = [{"measure": n} | columns("synthetic", s) | columns("real", r) for n, s, r in rows]
    write_both(pd.DataFrame(told), case.out / "tables" / "measures")
    return {name: {"synthetic": _dict(s), "real": _dict(r)} for name, s, r in rows}


def _sets(case: Case) -> dict[str, Images]:
    return {"half": case.half, "other half": case.other_half, "synthetic": case.synthetic}


def _of_sets(case: Case, seen: dict) -> list[Row]:
    """Each measure of synthetic against `half`, and of the other real half against `half`."""
    half, other, synthetic = (seen[n][0] for n in ("half", "other half", "synthetic"))
    rng = case.rng(1)

    def both(of: Callable[[np.ndarray], Measured]) -> tuple[Measured, Measured]:
        return of(synthetic), of(other)

    return [
        ("realism", *both(lambda x: measures.realism(half, x, rng))),
        ("recall", *both(lambda x: mean_interval(manifold.inside(half, x), rng))),
        ("density", *both(lambda x: mean_interval(manifold.density(x, half), rng))),
        ("coverage", *both(lambda x: mean_interval(manifold.covered(half, x), rng))),
        ("realism score", *both(lambda x: mean_interval(manifold.realism_score(x, half), rng))),
        ("FID", *both(lambda x: set_interval(distances.frechet, (half, x), rng, SET_REPLICATES))),
        ("KID", *both(lambda x: set_interval(distances.kernel, (half, x), rng, SET_REPLICATES))),
    ]


def _of_captions(case: Case, seen: dict) -> list[Row]:
    rng, tags = case.rng(2), case.features.tags
    real = np.concatenate((seen["half"][0], seen["other half"][0]))
    spread = measures.diversity(
        real, case.real.captions, seen["synthetic"][0], case.synthetic.captions, rng
    )
    halves = measures.diversity(
        seen["half"][0], case.half.captions, seen["other half"][0], case.other_half.captions, rng
    )
    sure = measures.consistency(seen["synthetic"][1], tags, case.synthetic.captions, rng)
    truly = np.concatenate((seen["half"][1], seen["other half"][1]))
    benchmark = measures.consistency(truly, tags, case.real.captions, rng)
    return [("diversity", spread, halves), ("consistency", sure, benchmark)]


def judge_by_classifier(case: Case) -> dict:
    """Can real and synthetic be told apart? Beside it, by features, the two real halves."""
    seed = case.config.seed
    looks = {name: case.features.look(images.pixels)[0] for name, images in _sets(case).items()}
    steps = case.config.network_steps // 3
    by_pixels = tell_apart.by_pixels(steps, seed, pick_device(case.asking.device))
    tasks = {
        "features": (looks["half"], looks["synthetic"], tell_apart.by_features),
        "pixels": (case.half.pixels, case.synthetic.pixels, by_pixels),
        "features, real halves": (looks["half"], looks["other half"], tell_apart.by_features),
    }
    found = {name: _auc(case, name, *task) for name, task in tasks.items()}
    rows = [{"classifier": name} | columns("auc", auc) for name, auc in found.items()]
    write_both(pd.DataFrame(rows), case.out / "tables" / "told-apart")
    return {name: _dict(auc) for name, auc in found.items()}


def _auc(case: Case, name: str, one, other, scorer) -> Measured:
    def make() -> pd.DataFrame:
        found = tell_apart.held_out_scores(one, other, scorer, case.config.seed)
        return pd.DataFrame(dict(zip(("label", "score", "fold"), found, strict=True)))

    made_from = digest(
        [digest_of(one), digest_of(other), case.config.network_steps, case.config.seed]
    )
    path = case.out / "measured" / f"told-apart-{name.replace(', ', '-').replace(' ', '-')}.parquet"
    scores = once(path, made_from, make)
    found = (scores[column].to_numpy() for column in ("label", "score", "fold"))
    return tell_apart.auc(*found, case.rng(3))


def _all_sets(case: Case) -> dict[str, Images]:
    more = {"more real": case.more_real, "more synthetic": case.more_synthetic}
    return _sets(case) | {name: images for name, images in more.items() if len(images)}


def measure_structure(case: Case) -> dict[str, pd.DataFrame]:
    """The structure of every image of every set, in its order."""
    folders = {
        "half": case.shared / "measured" / "real-half",
        "other half": case.shared / "measured" / "real-other-half",
        "more real": case.shared / "measured" / "more-real",
        "synthetic": case.out / "measured" / "synthetic",
        "more synthetic": case.out / "measured" / "more-synthetic",
    }
    return {
        name: structure.measure_all(images.pixels, folders[name], 2, f"structure, {name}")
        for name, images in _all_sets(case).items()
    }


def write_images(case: Case, measured: dict[str, pd.DataFrame]) -> None:
    """One table of all images that were compared: id, set, caption, and what was measured."""
    parts = []
    for name, images in _all_sets(case).items():
        probabilities = case.features.look(images.pixels)[1]
        sure = measures.consistency_each(probabilities, case.features.tags, images.captions)
        known = {"object_id": images.ids, "set": name, "caption": images.captions}
        parts.append(pd.DataFrame(known | {"consistency": sure}).join(measured[name]))
    table = pa.Table.from_pandas(pd.concat(parts), preserve_index=False)
    write_table(table, case.out / "measured" / "images.parquet")


def judge_structure(case: Case, measured: dict[str, pd.DataFrame]) -> dict:
    """Distances of each physical quantity, the brightness bias, and what could not be measured."""
    rng = case.rng(4)
    good = {name: table[table["reason"] == ""] for name, table in measured.items()}
    real = pd.concat((good["half"], good["other half"]))
    rows = [
        {"quantity": name} | _distance(real[name], good["synthetic"][name], rng)
        for name in structure.QUANTITIES
    ]
    write_both(pd.DataFrame(rows), case.out / "tables" / "structure")
    shares = {name: float((measured[name]["reason"] != "").mean()) for name in _sets(case)}
    bias = pd.DataFrame(_brightness(case, measured, rng))
    write_both(bias, case.out / "tables" / "brightness")
    return {
        "distances": records(pd.DataFrame(rows)),
        "brightness": records(bias),
        "not_measured": shares,
    }


def _distance(real: pd.Series, synthetic: pd.Series, rng) -> dict:
    if min(len(real), len(synthetic)) < LEAST_MEASURED:  # most of them could not be
        return columns("ratio", None) | {"apart_sigma": np.nan}
    ratio, sigmas = distances.distance_ratio(real.to_numpy(), synthetic.to_numpy(), rng)
    return columns("ratio", ratio) | {"apart_sigma": sigmas}


def _brightness(case: Case, measured: dict[str, pd.DataFrame], rng) -> list[dict]:
    """The bias of flux and of mean level, over all synthetic and all real images, and how many."""
    by = {name: measured[name].set_axis(i.captions) for name, i in _all_sets(case).items()}
    made, real = (
        pd.concat([by[name] for name in names if name in by]) for names in (MADE_SETS, REAL_SETS)
    )
    pairs = {
        "flux": [table["flux"][table["reason"] == ""] for table in (made, real)],
        "mean_level": [made["mean_level"], real["mean_level"]],
    }
    return [{"brightness": name} | _bias(*pair, rng) for name, pair in pairs.items()]


def _bias(synthetic: pd.Series, real: pd.Series, rng) -> dict:
    """Mean over mean - 1 of a brightness, by caption; real ones are weighted so that they have the
    captions of the synthetic ones: one half alone is brighter or fainter by chance.
    """
    synthetic, real = (
        one[one.index.isin(other.index)] for one, other in ((synthetic, real), (real, synthetic))
    )
    counts = {"synthetic": len(synthetic), "real": len(real)}
    if min(counts.values()) < LEAST_MEASURED:
        return columns("bias", None) | counts
    weights = share_as(list(real.index), list(synthetic.index))
    ratio = ratio_interval(synthetic.to_numpy(), real.to_numpy(), rng, weights)
    return columns("bias", Measured(*(x - 1 for x in astuple(ratio)))) | counts


def share_as(captions: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Weights float (N,) under which `captions` are as frequent as among those wanted."""
    have, want = Counter(captions), Counter(wanted)
    return np.array([want[c] / have[c] for c in captions])


def judge_memory(case: Case) -> tuple[dict, dict[str, tuple[Nearest, Nearest]], list[str]]:
    """Nearest training images of synthetic and of held-out real cutouts, as many of each.

    Returns:
        What to report, (synthetic, held out) by space, and the ids of the training images.
    """
    ids = _training_ids(case)
    if not ids:
        said = "cannot be checked: the run's training cutouts did not teach this generator"
        return {"checked": said}, {}, []
    count = min(len(case.synthetic), len(case.half))
    # The other half knows nothing of the captions that the synthetic ones were drawn from.
    sets = (case.synthetic.first(count), case.half.first(count), case.other_half)
    training = _looks(case, ids)
    tests, found = {}, {}
    for space, nearest in SPACES.items():
        synthetic, held_out, other = (look(case, images.pixels)[space] for images in sets)
        found[space] = (nearest(synthetic, training[space]), nearest(held_out, training[space]))
        each = memory.nearer_to_training(synthetic, training[space], other, nearest)
        share = columns("nearer_to_training", mean_interval(each, case.rng(7)))
        tests[space] = memory.compare(*found[space]) | share
    rows = [{"space": space} | test for space, test in tests.items()]
    write_both(pd.DataFrame(rows), case.out / "tables" / "memory")
    return {"checked": f"against {len(ids):,} training images", **tests}, found, ids


def look(case: Case, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What images are compared by, in each of SPACES."""
    return {"features": case.features.look(pixels)[0], "pixels": memory.small_grey(pixels)}


def _training_ids(case: Case) -> list[str]:
    rows = case.store.table(["object_id", "caption", "sha256"], split="train")
    rows = rows.dropna(subset=["caption"])
    if case.seen is not None:
        return list(rows["object_id"][rows["sha256"].isin(case.seen["sha256"])])
    return list(rows["object_id"]) if case.own else []


def _looks(case: Case, ids: list[str]) -> dict[str, np.ndarray]:
    """`look` at the training set, a chunk of it in memory at a time."""
    seen = []
    for start in range(0, len(ids), _TRAINING_CHUNK):
        chunk = ids[start : start + _TRAINING_CHUNK]
        seen.append(look(case, load_pixels(case.store, chunk, case.asking.size)))
    return {space: np.concatenate([part[space] for part in seen]) for space in SPACES}


def _dict(measured: Measured | None) -> dict | None:
    return None if measured is None else asdict(measured)
