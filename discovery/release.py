"""From candidates to the released catalogue: one table, and where it comes from."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

import discovery
from catalogs import Provenance, designation, write_release
from discovery.candidates import (
    find_candidates,
    read_card,
    read_known,
    read_scores,
    threshold_of,
)
from discovery.evidence.judge import Judgement, judge
from discovery.evidence.metrics import Estimate, Proportion
from discovery.files import digest
from discovery.run import MIXED, Run
from discovery.surveys.mock import STANDS_OUT

# Column of the catalogue: the names it has in the surveys' tables.
FROM_SURVEY = {
    "redshift": "z",
    "r_mag": "petro_r_mag",
    "size_arcsec": "petro_r90_arcsec",
    "n_volunteers": "total_classifications",
    "smooth_fraction": "t01_smooth_or_features_a01_smooth_debiased",
    "odd_fraction": "t06_odd_a14_yes_debiased",
    "dust_lane_fraction": "t08_odd_feature_a38_dust_lane_debiased",
}


def release(run: Run) -> list[Path]:
    """Write the catalogue of the run's candidates into its release folder."""
    config = run.config.catalogue
    return write_release(
        catalogue_table(run), provenance(run), run.release, f"{run.config.name}-{config.version}"
    )


def catalogue_table(run: Run) -> pd.DataFrame:
    """One row per candidate, in their order, with what the run can fill of `catalogs.COLUMNS`."""
    table = find_candidates(run).drop(columns=["status"])
    table = table.merge(pq.read_table(run.clusters / "clusters.parquet").to_pandas(), "left")
    table = table.merge(_from_store(run), "left", on="object_id")
    table = table.merge(_known_columns(run), "left", on="object_id")
    table["name"] = designation(run.config.catalogue.acronym, table["ra"], table["dec"])
    # The whole training and validation splits taught or calibrated the detector, as quarry or as
    # not quarry: finding such an object is no evidence.
    table["in_training"] = table["split"] != "search"
    table["found_by"] = _found_by(table, run)
    return table.drop(columns=["galaxy"])


def _from_store(run: Run) -> pd.DataFrame:
    store = run.store()
    there = {name: source for name, source in FROM_SURVEY.items() if source in store.columns}
    rows = store.table(["object_id", "ra", "dec", "sha256", *there.values()])
    names = {source: name for name, source in there.items()} | {"sha256": "image_sha256"}
    return rows.rename(columns=names)


def _known_columns(run: Run) -> pd.DataFrame:
    known = read_known(run).dropna(subset=["object_id"]).drop_duplicates("object_id")
    known = known.rename(
        columns={
            "name": "known_name",
            "bibcode": "known_bibcode",
            "separation_arcsec": "known_separation_arcsec",
        }
    )
    return known[["object_id", "known_name", "known_bibcode", "known_separation_arcsec"]]


def _found_by(table: pd.DataFrame, run: Run) -> pd.Series:
    found = pd.Series(MIXED, index=table.index)
    for variant in run.variants[1:]:
        # This search may have liked another cutout of the galaxy best.
        scores = read_scores(run, variant).set_index(["split", "galaxy"])["probability"]
        mine = pd.MultiIndex.from_frame(table[["split", "galaxy"]])
        too = scores.reindex(mine).to_numpy() >= threshold_of(run, variant)
        found = found.where(~too, found + "+" + variant)
    return found


def judge_search(run: Run, variant: str) -> Judgement:
    """The search of one detector, held against the truth if there is one, else the published."""
    truth = pq.read_table(run.truth).to_pandas() if run.truth.exists() else None
    return judge(
        read_scores(run, variant),
        read_known(run),
        threshold_of(run, variant),
        variant=variant,
        truth=truth,
        stands_out=None if truth is None else STANDS_OUT,
        natural_prevalence=run.config.evidence.natural_prevalence,
    )


def provenance(run: Run) -> Provenance:
    """Everything that made the catalogue, and how good it was measured to be."""
    config, card = run.config.catalogue, read_card(run, MIXED)
    judged = judge_search(run, MIXED)
    return Provenance(
        title=config.title,
        software="discovery",
        version=discovery.__version__,
        commit=_commit(),
        model_sha256=card["weights_sha256"],
        config_digest=digest(run.config.model_dump(mode="json")),
        prompts=tuple(p.prompt for p in run.config.synthesis.prompts if p.label == 1),
        seeds=(
            run.config.seed,
            run.config.generator.seed,
            run.config.synthesis.seed,
            run.config.detector.seed,
        ),
        training_digest=card["training_digest"],
        threshold=card["threshold"],
        threshold_rule=card["threshold_rule"],
        n_searched=judged.searched,
        n_unreadable=judged.unreadable,
        acknowledgements=" ".join(config.acknowledgements),
        licence=config.licence,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        calibration_prevalence=card["calibration"]["prevalence"],
        natural_prevalence=run.config.evidence.natural_prevalence,
        **_measured("purity", judged.purity),
        **_measured("natural_purity", judged.purity_at_natural_prevalence),
        **_measured("completeness", judged.completeness),
        **_measured("clear_completeness", judged.completeness_standing_out),
        measured_on=_measured_on(judged),
    )


def _measured(name: str, measure: Proportion | Estimate | None) -> dict:
    if measure is None:
        return {}
    value = measure.estimate if isinstance(measure, Proportion) else measure.value
    ends = {f"{name}_lo": measure.low, f"{name}_hi": measure.high}
    return {} if value is None else {name: value} | ends


def _measured_on(judged: Judgement) -> str:
    if judged.basis == "truth":
        return f"the truth table of the mock sky, {judged.searched} objects of the search split"
    return (
        "published objects that were searched and not trained on; purity is unknown until the "
        "candidates are vetted"
    )


def _commit() -> str:
    """The commit of the working copy that the package lies in, or 'released' without one."""
    here = Path(discovery.__file__).parents[1]
    # An installed package may lie inside somebody else's working copy, which is not its own.
    if not (here / ".git").exists() or shutil.which("git") is None:
        return "released"
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "released"
