"""Injection and recovery: lanes painted on galaxies that no detector has seen, and which are found.

The lane is dust in front of real light (`morphology.paint`), owes nothing to a generator, and is
drawn from a distribution of its own. It is painted on the delivered pixels and only then brought
to a detector's size, as the telescope would: a detector that was itself taught by painting on
small pixels meets another brush here. Every host goes through that brush a second time without
paint: what is found of these controls is found for the brush and not for the dust.
"""

import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

import discovery
from discovery.candidates import (
    open_detectors,
    read_known,
    read_score_files,
    read_scores,
    thresholds_of,
)
from discovery.cutouts.decode import decode
from discovery.cutouts.store import CutoutStore, load_pixels, write_shard
from discovery.detector.score import score_store
from discovery.detector.vetted import mostly_called_so
from discovery.errors import BadInput
from discovery.evidence import evidence_figures as figures
from discovery.evidence.ablation import recorded
from discovery.evidence.bootstrap import draw, estimate
from discovery.evidence.config import InjectionConfig
from discovery.evidence.figures import SampleRow, sample_sheet
from discovery.evidence.metrics import wilson
from discovery.evidence.ranking import Points, evaluate
from discovery.evidence.tables import write_both
from discovery.files import digest
from discovery.morphology.captions import tags_of
from discovery.morphology.dust import DustDisc
from discovery.morphology.paint import Host, lane_contrast, measure_host, paint, without_depth
from discovery.morphology.paint import seeing_of as seeing_of_grain
from discovery.progress import track
from discovery.run import Manifest, Run
from discovery.surveys.mock import STANDS_OUT

PER_SHARD = 100
SMALLEST_PX, LARGEST_PX = 48, 192  # sides of what is painted; more only costs time
SIGMA_OF_FWHM = 2.3548
OF_HOST = ["object_id", "caption", "galaxy", "width", "height", "crop", "pixscale_arcsec",
           "petro_r_mag"]  # fmt: skip
QUANTILES = 5
SHOWN, SHOWN_PX = 8, 96


def inject(run: Run, out: Path) -> dict:
    """Paint, score and measure; tables and figures in `out`.

    Returns:
        what evidence.json says of it.

    Raises:
        BadInput: fewer than 20 galaxies can be painted on.
    """
    config = run.config.evidence.injection
    hosts = choose_hosts(run, config)
    store, failed = paint_hosts(run, hosts, config, out / "injection")
    rows = store.table()
    said = {
        "hosts": int((rows["label"] == 1).sum()),
        "not_painted": failed,
        "settings": config.model_dump(mode="json"),
        "detectors": {v: _judged(run, v, store, rows, out) for v in run.variants},
    }
    _write_figures(said, store, rows, out)
    return said


def choose_hosts(run: Run, config: InjectionConfig) -> pd.DataFrame:
    """Searched galaxies whose captions ask for it, in an order drawn by the seed.

    Those of the search split and, of a cross-fitted run, of the training split, for their lanes are
    scored by the detector of their fold. What is known to be of the quarry is none: it has a lane.
    """
    store = run.store()
    rows = store.table([name for name in (*OF_HOST, "split", "sampled") if name in store.columns])
    rows = rows[rows["split"].isin(["search", "train"] if run.folds > 1 else ["search"])]
    rows = rows[(rows["split"] == "search") | rows["sampled"].ne(False)]
    said = rows["caption"].fillna("").map(tags_of)
    fits = said.map(lambda tags: tags_of(config.tags) <= tags and config.without not in tags)
    rows = rows[fits & ~rows["object_id"].isin(quarry_of(run))]
    rows = rows.drop_duplicates("galaxy")
    if len(rows) < 20:
        raise BadInput(
            f"{len(rows)} searched galaxies have captions with {config.tags!r} and "
            f"without {config.without!r}; lanes have to be painted on 20 at least. Give other "
            "tags under [evidence.injection], or a larger search split."
        )
    return rows.sample(frac=1, random_state=np.random.default_rng(config.seed)).head(config.hosts)


def quarry_of(run: Run) -> set[str]:
    """What is known to be of the quarry: published, true in a mock sky, or called so by most of
    the passes that looked at it (`[detector.vetted]`, `[evidence.vetted]`)."""
    taught, sample = run.config.detector.vetted, run.config.evidence.vetted
    looks = {path.resolve(): (path, taught, "detector.vetted") for path in taught.tables}
    for path in (sample.table, *sample.earlier) if sample else ():  # no pass has two votes
        looks.setdefault(path.resolve(), (path, sample, "evidence.vetted"))
    seen = mostly_called_so(run.store().table(["object_id", "galaxy"]), [*looks.values()])
    return _listed(run) | seen


def _listed(run):
    """Published, or true in a mock sky."""
    known = set(read_known(run)["object_id"].dropna())
    if run.truth.exists():
        truth = pq.read_table(run.truth).to_pandas()
        known |= set(truth.loc[truth["is_quarry"].astype(bool), "object_id"])
    return known


def paint_hosts(
    run: Run, hosts: pd.DataFrame, config: InjectionConfig, out: Path
) -> tuple[CutoutStore, int]:
    """A store of painted hosts (label 1) and of controls (label 0), shard by shard; and on how
    many hosts nothing could be painted, because no galaxy stands out in their middle.
    """
    cutouts = Manifest(run.folder).steps["ingest"]["digest"]
    chosen = hosts["object_id"].tolist()
    settings = config.model_dump(mode="json", exclude={"reddest"})  # decides only what is counted
    decides = [settings, cutouts, chosen, discovery.__version__]
    folder = out / digest(decides)[:12]
    parts = [hosts.iloc[i : i + PER_SHARD] for i in range(0, len(hosts), PER_SHARD)]
    todo = [(n, part) for n, part in enumerate(parts) if not (folder / f"{n:05d}.parquet").exists()]
    for number, part in track(todo, "paint", unit="galaxies", each=PER_SHARD):
        images = _images(run.store(), set(part["object_id"]))
        rows = [row for host in part.to_dict("records") for row in _painted(host, images, config)]
        write_shard(rows, folder / f"{number:05d}.parquet")
    store = CutoutStore(folder)
    if "host" not in store.columns:
        raise BadInput(
            f"no galaxy stands out in the middle of any of {len(hosts):,} hosts, so no lane can be "
            "painted; see that crop of the surveys keeps the galaxies in the middle."
        )
    painted = set(store.table(["host"])["host"])
    return store, len(set(hosts["object_id"]) - painted)


def _images(store: CutoutStore, wanted: set[str]) -> dict[str, bytes]:
    tables = store.iter_rows(wanted, ["object_id", "image"])
    return {row["object_id"]: row["image"] for rows in tables for row in rows.to_pylist()}


def _painted(host: dict, images: dict[str, bytes], config: InjectionConfig) -> list[dict]:
    """A row with a lane, one with the same brush and no paint; none where that is impossible."""
    side = delivered_side(host)
    try:
        plain = decode(images[host["object_id"]], host["crop"], side)
        shape = measure_host(plain)
    except BadInput:
        return []
    rng = np.random.default_rng((config.seed, int(digest(host["object_id"])[:12], 16)))
    dust, seeing = draw_lane(rng, shape, config), seeing_of(host, side, shape, config)
    pictures = [
        paint(plain, lane, shape, seeing, noise=rng) for lane in (dust, without_depth(dust))
    ]
    told = lane_columns(dust, shape, host, side) | {
        # new noise is no contrast
        "contrast": lane_contrast(plain, paint(plain, dust, shape, seeing), shape, seeing),
        "host": host["object_id"],
        "host_colour": shape.colour,
        "r_mag": host.get("petro_r_mag"),
    }
    return [
        {"object_id": f"{host['object_id']}-{kind}", "image": _png(picture), "crop": 1.0}
        | {"label": label, "survey": "painted", "galaxy": host["galaxy"]}
        | told
        for picture, kind, label in zip(pictures, ("lane", "control"), (1, 0), strict=True)
    ]


def delivered_side(host: dict) -> int:
    """Side (px) of the part that is shown, as delivered, within limits."""
    side = round(min(host["width"], host["height"]) * host["crop"])
    return int(np.clip(side, SMALLEST_PX, LARGEST_PX))


def arcsec_per_px(host: dict, side: int) -> float:
    """Of the picture that is painted on; NaN where the survey does not say."""
    scale = host["pixscale_arcsec"]
    if scale is None or np.isnan(scale):
        return np.nan
    return scale * min(host["width"], host["height"]) * host["crop"] / side


def seeing_of(host: dict, side: int, shape: Host, config: InjectionConfig) -> float:
    """σ of the point-spread function in px of the picture.

    Where no pixel scale is known the noise tells how far a picture was enlarged: no lane is sharper
    than the galaxy that it lies in.
    """
    scale = arcsec_per_px(host, side)
    if np.isnan(scale):
        return config.seeing_px or seeing_of_grain(shape, side)
    return max(config.seeing_arcsec / SIGMA_OF_FWHM / scale, 0.3)


def draw_lane(rng: np.random.Generator, host: Host, config: InjectionConfig) -> DustDisc:
    """A lane from the distribution of `config`, in px, at any angle to the host."""
    radius = _log_uniform(rng, config.radius) * host.half_light
    ends = np.cos(np.radians(config.inclination))
    return DustDisc(
        tau_v=_log_uniform(rng, config.tau_v),
        r_in=float(radius * rng.uniform(0.3, 0.7)) if rng.random() < config.ring_share else 0.0,
        r_out=radius,
        height=_log_uniform(rng, config.width) * radius,
        inclination=float(np.degrees(np.arccos(rng.uniform(*sorted(ends))))),
        angle=float(rng.uniform(0, 180)),
        x0=float(host.x0 + rng.normal(0, 0.04) * host.half_light),
        y0=float(host.y0 + rng.normal(0, 0.04) * host.half_light),
        warp=float(radius * rng.normal(0, 0.08)),
        patchiness=float(rng.uniform(0, 0.4)),
        phases=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
    )


def _log_uniform(rng, ends) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))


def lane_columns(dust: DustDisc, host: Host, row: dict, side: int) -> dict:
    """What is painted and on what, as columns; NaN where the survey does not say."""
    return {
        "tau_v": dust.tau_v,
        "lane_width": dust.height / dust.r_out,
        "radius": dust.r_out / host.half_light,
        "inclination_deg": dust.inclination,
        "angle_to_major_axis_deg": (dust.angle - host.angle + 90) % 180 - 90,
        "half_light_arcsec": host.half_light * arcsec_per_px(row, side),
        "half_light_share": host.half_light / side,
    }


def _png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


# column -> what a reader calls it; in the order of table and figure
PARAMETERS = {
    "tau_v": "optical depth in V",
    "lane_width": "scale height over outer radius",
    "inclination_deg": "inclination (deg)",
    "radius": "outer over half-light radius",
    "half_light_arcsec": "half-light radius (arcsec)",
    "half_light_share": "half-light radius over side",
    "r_mag": "r magnitude of the galaxy",
    "host_colour": "colour of the galaxy (mag)",
    "contrast": "contrast of the lane",
}
LANE_COLUMNS = ["host", *PARAMETERS, "angle_to_major_axis_deg", "score", "probability", "found"]
SURFACES = (("tau_v", "inclination_deg"), ("tau_v", "lane_width"), ("tau_v", "radius"))


def _judged(run: Run, variant: str, store: CutoutStore, rows: pd.DataFrame, out: Path) -> dict:
    """How one detector of the run does on the painted ones."""
    painted = rows.merge(_scores(run, variant, store, out), on="object_id")
    lanes, controls = painted[painted["label"] == 1], painted[painted["label"] == 0]
    searched = read_scores(run, variant).query("searched").rename(columns={"candidate": "found"})
    unlisted = searched[~searched["object_id"].isin(_listed(run))]
    others = unlisted[~unlisted["object_id"].isin(quarry_of(run))]
    write_both(lanes[LANE_COLUMNS], out / "tables" / f"injection-{variant}-lanes")
    bins, surfaces = binned_by_all(lanes), surfaces_of(lanes)
    write_both(pd.DataFrame(bins), out / "tables" / f"injection-{variant}")
    write_both(pd.DataFrame(surfaces), out / "tables" / f"injection-{variant}-surfaces")
    clear = lanes["contrast"] >= STANDS_OUT
    red = _reddest(lanes["host_colour"], run.config.evidence.injection.reddest)
    return {
        "thresholds": [*thresholds_of(run, variant).values()],
        "found": _counted(lanes),
        "found_standing_out": _counted(lanes[clear]),
        "found_on_red": _counted(lanes[clear & red]),
        "controls_found": _counted(controls),
        "others": len(others),
        "others_found": _counted(others),
        "ranking": _ranked(run, lanes, others),
        "ranking_standing_out": _ranked(run, lanes[clear], others),
        "ranking_on_red": _ranked(run, lanes[clear & red], others),
        "seen_true": len(unlisted) - len(others),
        "ranking_standing_out_unlisted": _ranked(run, lanes[clear], unlisted),
        "ranking_on_red_unlisted": _ranked(run, lanes[clear & red], unlisted),
        "bins": bins,
        "surfaces": surfaces,
    }


def _reddest(colours: pd.Series, share: float) -> pd.Series:
    return colours >= colours.quantile(1 - share)


def _scores(run: Run, variant: str, store: CutoutStore, out: Path) -> pd.DataFrame:
    """object_id, score, probability, and whether it is found: at or above the threshold of the
    detector that scored it."""
    detector = open_detectors(run, variant)
    files = score_store(detector, store, out / "injection" / "scores" / variant, store.folder.name)
    scores = read_score_files(files, ["object_id", "score", "probability"])
    found = scores["probability"] >= scores["fold"].map(thresholds_of(run, variant))
    return scores.assign(found=found)


def _counted(rows: pd.DataFrame) -> dict:
    return vars(wilson(int(rows["found"].sum()), len(rows)))


def _ranked(run: Run, lanes: pd.DataFrame, others: pd.DataFrame) -> list[dict]:
    """All measures of lanes among all others, with intervals by the bootstrap."""
    if not len(lanes):
        return []
    asked, both = run.config.evidence, pd.concat([lanes, others])
    is_true = np.arange(len(both)) < len(lanes)
    points = Points(asked.natural_prevalence, asked.quoted_prevalence, 100, len(others))
    score, chosen = both["score"].to_numpy(float), both["found"].to_numpy(bool)

    def measure(weights):
        return evaluate(is_true, score, chosen, weights, points)

    draws = draw(is_true, [[measure]], asked.replicates, asked.injection.seed)
    return [
        {"measure": name} | recorded("", estimate(draws.mean(name)[0]))
        for name in draws.values
        if name != "true_in_top"  # of a sky, not of lanes that were painted
    ]


def edges_of(values: pd.Series) -> np.ndarray:
    """Ends of bins that hold about equally many; none where nothing is known."""
    known = values.dropna().to_numpy(float)
    if not len(known):
        return np.zeros(0)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, QUANTILES + 1)))
    return edges if len(edges) > 1 else np.repeat(edges, 2)  # one value is a bin of its own


def binned_by_all(lanes: pd.DataFrame) -> list[dict]:
    """Completeness in bins of each parameter, with Wilson's interval."""
    rows = []
    for name in PARAMETERS:
        for inside, low, high in _bins(lanes[name]):
            middle = float(lanes.loc[inside, name].mean())
            rows.append({"parameter": name, "low": low, "high": high, "mean": middle}
                        | _share(lanes[inside]))  # fmt: skip
    return rows


def _bins(values: pd.Series) -> list[tuple[pd.Series, float, float]]:
    edges = edges_of(values)
    found = []
    for low, high in itertools.pairwise(edges):
        last = high == edges[-1]
        inside = (values >= low) & ((values <= high) if last else (values < high))
        found.append((inside, float(low), float(high)))
    return found


def _share(rows: pd.DataFrame) -> dict:
    counted = wilson(int(rows["found"].sum()), len(rows))
    return {
        "found": counted.k,
        "painted": counted.n,
        "completeness": counted.estimate,
        "completeness_low": counted.low,
        "completeness_high": counted.high,
    }


def surfaces_of(lanes: pd.DataFrame) -> list[dict]:
    """Completeness in cells of two parameters."""
    rows = []
    for x, y in SURFACES:
        for across, x_low, x_high in _bins(lanes[x]):
            for up, y_low, y_high in _bins(lanes[y]):
                ends = {"x": x, "x_low": x_low, "x_high": x_high}
                ends |= {"y": y, "y_low": y_low, "y_high": y_high}
                rows.append(ends | _share(lanes[across & up]))
    return rows


def _write_figures(said: dict, store: CutoutStore, rows: pd.DataFrame, out: Path) -> None:
    folder, found = out / "figures", said["detectors"]
    figures.save(folder / "injection.png", figures.recovery, found, PARAMETERS, pdf=True)
    for variant, of in found.items():
        path = folder / f"injection-{variant}-surfaces.png"
        figures.save(path, figures.surfaces, of["surfaces"], PARAMETERS, pdf=True)
    figures.save(folder / "injection-lanes.png", sample_sheet, _sheet(store, rows))


def _sheet(store: CutoutStore, rows: pd.DataFrame) -> list[SampleRow]:
    """The first lanes of each bin of optical depth, and the first controls."""
    lanes, sheet = rows[rows["label"] == 1], []
    for inside, low, high in _bins(lanes["tau_v"]):
        ids = list(lanes.loc[inside, "object_id"].head(SHOWN))
        said = f"painted, optical depth {low:.2g} to {high:.2g}"
        sheet.append(SampleRow(said, load_pixels(store, ids, SHOWN_PX)))
    controls = list(rows.loc[rows["label"] == 0, "object_id"].head(SHOWN))
    sheet.append(SampleRow("the same brush, no dust", load_pixels(store, controls, SHOWN_PX)))
    return sheet
