"""What dreams are worth to a classifier: arms, networks and seeds, on the same test galaxies.

The unit of work is one training: an arm with a network and a seed, in a folder of its own that is
named by everything that decides it. So what is there is never done twice, and a killed training
goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import discovery
from discovery.cutouts.store import load_pixels, write_table
from discovery.detector.network import (
    build_network,
    pixel_statistics,
    require_network,
    weights_file,
)
from discovery.detector.resume import State
from discovery.devices import pick_device
from discovery.evidence import classification_figures as figures
from discovery.evidence.ablation import recorded
from discovery.evidence.bootstrap import Draws, difference, draw, estimate
from discovery.evidence.classification_fit import Labelled, fit, predict
from discovery.evidence.classification_galaxies import (
    Galaxies,
    at_most,
    open_galaxies,
    taught_by,
)
from discovery.evidence.classification_measures import confusion, measure
from discovery.evidence.config import ClassArm, ClassificationConfig
from discovery.evidence.tables import write_both
from discovery.files import digest, read_json, sha256_file, write_json
from discovery.progress import say
from discovery.run import Manifest, Run

CARD, PREDICTIONS, STATE = "classifier.json", "predictions.parquet", "training.safetensors"
ALL_NETWORKS = "mean of all"


@dataclass(frozen=True)
class Training:
    """One arm with one network and one seed, and which cutouts it is taught."""

    arm: ClassArm
    network: str
    start: str | None  # digest of the weights that it starts from
    seed: int
    real: pd.DataFrame
    dreams: pd.DataFrame
    folder: Path

    @cached_property
    def card(self) -> dict:
        """What the finished classifier says of itself."""
        return read_json(self.folder / CARD)

    def said(self, test: pd.DataFrame) -> np.ndarray:
        """The class that each test galaxy was called, int (N,)."""
        found = pq.read_table(self.folder / PREDICTIONS).to_pandas().set_index("object_id")
        return found.loc[test["object_id"]].to_numpy().argmax(1)


def classify(run: Run, out: Path) -> dict:
    """Train, judge and measure every arm with every network and seed; tables and figures in `out`.

    Returns:
        what evidence.json says of it.

    Raises:
        BadInput: a class has too few galaxies or dreams, or a network or its weights are unusable;
            before anything is trained.
    """
    galaxies = open_galaxies(run)
    rows = trainings(run, galaxies)
    train_all(run, galaxies, rows)
    found = _measured(run, galaxies, rows)
    _write(run, galaxies, found, out)
    return found


def trainings(run: Run, galaxies: Galaxies) -> list[list[Training]]:
    """[network and arm][seed], with the folders in which they are or will be.

    Raises:
        BadInput: timm does not know a network, its weights cannot be had, or there are not enough
            dreams of a class.
    """
    asked = run.config.evidence.classification
    starts = {network: _start(network, path) for network, path in asked.networks.items()}
    taught = {
        (arm.name, seed): taught_by(asked.classes, galaxies, arm, seed)
        for arm in asked.arms
        for seed in asked.seeds
    }
    return [
        [
            _training(run, galaxies, arm, network, start, seed, *taught[arm.name, seed])
            for seed in asked.seeds
        ]
        for network, start in starts.items()
        for arm in asked.arms
    ]


def _start(network: str, pretrained: bool | str) -> str | None:
    require_network(network)
    return sha256_file(weights_file(pretrained)) if pretrained else None


def _training(run, galaxies, arm, network, start, seed, real, dreams) -> Training:
    asked, done = run.config.evidence.classification, Manifest(run.folder).steps
    config = arm.config(asked.classifier)
    decides = {
        "network": network,
        "start": start,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "classes": asked.classes,
        "real": list(real["object_id"]),
        "dreams": list(dreams["object_id"]),
        "validation": list(galaxies.validation["object_id"]) if config.looks else None,
        "test": list(galaxies.test["object_id"]),
        "cutouts": done["ingest"]["digest"],
        "synthetic": done["synthesize"]["digest"] if len(dreams) else None,
        "version": discovery.__version__,
    }
    folder = run.folder / "evidence" / "classifiers" / digest(decides)[:12]
    return Training(arm, network, start, seed, real, dreams, folder)


def _in_turn(rows: Sequence[Sequence[Training]]) -> list[Training]:
    # All with the first seed, then with the second: stopped early, it has a bit of each.
    return [training for of_seed in zip(*rows, strict=True) for training in of_seed]


def train_all(run: Run, galaxies: Galaxies, rows: Sequence[Sequence[Training]]) -> None:
    """Every training that is not done."""
    for one in _in_turn(rows):
        if not (one.folder / CARD).exists():
            say(f"arm {one.arm.name!r}, {one.network}, seed {one.seed}: train")
            train(run, galaxies, one)


def train(run: Run, galaxies: Galaxies, one: Training) -> None:
    """Train one classifier and write what it calls the test galaxies; the card comes last."""
    asked = run.config.evidence.classification
    config = one.arm.config(asked.classifier)
    taught, validation, test = _labelled(run, galaxies, one, config)
    statistics = pixel_statistics(taught.pixels[taught.real])
    state = State(one.folder / STATE, one.folder.name)
    network, step = fit(_fresh(asked, one, config.size), taught, validation, config, one.seed,
                        statistics, state, pick_device(run.device))  # fmt: skip
    said = predict(network, test.pixels, statistics)
    columns = {"object_id": galaxies.test["object_id"].tolist()}
    columns |= {called(name): said[:, place] for place, name in enumerate(asked.classes)}
    write_table(pa.table(columns), one.folder / PREDICTIONS)
    write_json(one.folder / CARD, _card(asked, one, config, statistics, step))
    state.path.unlink(missing_ok=True)


def called(name: str) -> str:
    """The column on being called a class, whose name may be anything."""
    return f"called {name}"


def _labelled(run: Run, galaxies: Galaxies, one: Training, config) -> list[Labelled]:
    """What is taught, with dreams; what is looked at in between; what is judged."""
    looked_at = galaxies.validation if config.looks else galaxies.validation[:0]
    tables = [one.real, looked_at, galaxies.test]
    # All at once, for the whole store is read every time.
    ids = pd.concat(tables)["object_id"].tolist()
    pixels = load_pixels(run.store(), ids, config.size)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    taught, *others = [
        Labelled(p, table["label"].to_numpy(np.int64), np.ones(len(p), bool))
        for p, table in zip(np.split(pixels, ends), tables, strict=True)
    ]
    return [_with_dreams(run, taught, one.dreams, config.size), *others]


def _with_dreams(run: Run, taught: Labelled, dreams: pd.DataFrame, size: int) -> Labelled:
    if not len(dreams):
        return taught
    pixels = load_pixels(run.synthetic_store(), dreams["object_id"].tolist(), size)
    return Labelled(
        np.concatenate((taught.pixels, pixels)),
        np.concatenate((taught.labels, dreams["label"].to_numpy(np.int64))),
        np.concatenate((taught.real, np.zeros(len(dreams), bool))),
    )


def _fresh(asked: ClassificationConfig, one: Training, size: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(one.seed)
        start = asked.networks[one.network]
        return build_network(one.network, "standard", start, len(asked.classes), size)


def _card(asked, one: Training, config, statistics, step: int) -> dict:
    counts = {
        kind: np.bincount(rows["label"], minlength=len(asked.classes)).tolist()
        for kind, rows in (("real", one.real), ("synthetic", one.dreams))
    }
    return {
        "network": one.network,
        "pretrained": asked.networks[one.network],
        "pretrained_sha256": one.start,
        "classes": asked.classes,
        "mean": statistics[0],
        "std": statistics[1],
        "config": config.model_dump(mode="json"),
        "seed": one.seed,
        "taught": {kind: dict(zip(asked.classes, n, strict=True)) for kind, n in counts.items()},
        "step": step,
    }


def _measured(run: Run, galaxies: Galaxies, rows: Sequence[Sequence[Training]]) -> dict:
    """All that evidence.json holds."""
    asked, labels = run.config.evidence.classification, galaxies.test["label"].to_numpy()
    names, sky = list(asked.classes), galaxies.search / galaxies.search.sum()
    said = [[one.said(galaxies.test) for one in of_row] for of_row in rows]
    measures = [[partial(_measure, labels, s, names, sky) for s in of_row] for of_row in said]
    draws = draw(labels, measures, run.config.evidence.replicates, run.config.seed)
    pairs = [(of_row[0].network, of_row[0].arm) for of_row in rows]
    return {
        "classes": asked.classes,
        "test": _counts(names, np.bincount(labels, minlength=len(names))),
        "search": _counts(names, galaxies.search),
        "networks": list(asked.networks),
        "arms": [arm.model_dump(mode="json") for arm in asked.arms],
        "varied": varied(asked),
        "trainings": _told(rows),
        "measures": compared(draws, pairs),
        "seeds": _by_seed(draws, pairs, asked.seeds),
        "confusion": _confusion(labels, said, names, pairs),
    }


def _measure(labels, said, names, sky, weights) -> dict:
    return measure(labels, said, weights, names, sky)


def _counts(names: Sequence[str], numbers: np.ndarray) -> dict[str, int]:
    return dict(zip(names, numbers.tolist(), strict=True))


def varied(asked: ClassificationConfig) -> list[str]:
    """The classes that are not taught alike in all arms."""
    taught = {
        name: {(arm.keep.get(name), arm.fill.get(name)) for arm in asked.arms}
        for name in asked.classes
    }
    return [name for name, ways in taught.items() if len(ways) > 1]


def compared(draws: Draws, pairs: Sequence[tuple[str, ClassArm]]) -> list[dict]:
    """A row per network, arm and measure: mean over the seeds, and the difference from the arm that
    it is compared with; of several networks their mean as well, under ALL_NETWORKS.
    """
    networks = list(dict.fromkeys(network for network, _ in pairs))
    arms = list({arm.name: arm for _, arm in pairs}.values())
    places = {arm.name: place for place, arm in enumerate(arms)}
    rows = []
    for what, name in draws.values:
        means = draws.mean((what, name)).reshape(len(networks), len(arms), -1)
        of_each = dict(zip(networks, means, strict=True))
        if len(networks) > 1:
            of_each[ALL_NETWORKS] = means.mean(0)
        for network, of_arms in of_each.items():
            for arm, mine in zip(arms, of_arms, strict=True):
                base = None if arm.against is None else of_arms[places[arm.against]]
                row = {"network": network, "arm": arm.name, "measure": what, "class": name}
                rows.append(row | _recorded(mine, base))
    return rows


def _recorded(mine: np.ndarray, base: np.ndarray | None) -> dict:
    alone = recorded("", estimate(mine))
    if base is None:
        return alone | dict.fromkeys(("difference", "difference_low", "difference_high"))
    return alone | recorded("difference", difference(mine, base))


def _by_seed(draws: Draws, pairs, seeds: Sequence[int]) -> list[dict]:
    return [
        {"network": network, "arm": arm.name, "seed": seed}
        | {" of ".join(filter(None, key)): float(v[i, j, 0]) for key, v in draws.values.items()}
        for i, (network, arm) in enumerate(pairs)
        for j, seed in enumerate(seeds)
    ]


def _confusion(labels, said, names, pairs) -> list[dict]:
    """Share of the test galaxies of one class that is called each, mean over the seeds."""
    one = np.ones((1, len(labels)))
    matrices = [
        np.mean([confusion(labels, s, one, len(names))[0] for s in of_row], axis=0)
        for of_row in said
    ]
    return [
        {"network": network, "arm": arm.name, "class": name}
        | dict(zip(map(called, names), matrix[k].tolist(), strict=True))
        for (network, arm), matrix in zip(pairs, matrices, strict=True)
        for k, name in enumerate(names)
    ]


def _told(rows: Sequence[Sequence[Training]]) -> list[dict]:
    """What each training was."""
    return [
        {
            "network": one.network,
            "arm": one.arm.name,
            "seed": one.seed,
            "settings": one.arm.classifier,
            "folder": one.folder.name,
            "step": one.card["step"],
            **_flat(one.card["taught"]),
        }
        for of_row in rows
        for one in of_row
    ]  # fmt: skip


def _flat(taught: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {f"{kind} {name}": n for kind, of in taught.items() for name, n in of.items()}


def _write(run: Run, galaxies: Galaxies, found: dict, out: Path) -> None:
    trained = pd.DataFrame(found["trainings"])
    tables = {
        "trainings": trained.assign(settings=trained["settings"].map(str)),
        "seeds": pd.DataFrame(found["seeds"]),
        "confusion": pd.DataFrame(found["confusion"]),
    }
    write_both(pd.DataFrame(found["measures"]), out / "tables" / "classification")
    for name, table in tables.items():
        write_both(table, out / "tables" / f"classification-{name}")
    at = out / "figures"
    figures.save(at / "classification.png", figures.arms, found, pdf=True)
    for network in found["networks"]:
        path = at / f"classification-confusion-{network}.png"
        figures.save(path, figures.confusions, found, network, pdf=True)
    sheets = at / "classification-dreams.png"
    if len(galaxies.dreams):
        figures.save(sheets, figures.dreams, _sheets(run, galaxies))
    else:
        figures.remove(sheets)


def _sheets(run: Run, galaxies: Galaxies) -> dict[str, np.ndarray]:
    """A few real galaxies and a few dreams of each class that is dreamt of."""
    asked, shown = run.config.evidence.classification, {}
    filled = {name for arm in asked.arms for name in arm.fill}
    for place, name in enumerate(asked.classes):
        parts = {
            "real": (run.store, galaxies.train),
            "dreamt": (run.synthetic_store, galaxies.dreams),
        }
        for kind, (store, rows) in parts.items() if name in filled else ():
            ids = at_most(rows[rows["label"] == place], figures.COLUMNS, (0,))["object_id"]
            shown[f"{name}, {kind}"] = load_pixels(store(), ids.tolist(), asked.classifier.size)
    return shown
