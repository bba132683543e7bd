"""From candidates to the catalogue of the run, and from that to a release of it."""

import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

import discovery
from catalogs import Provenance, designation, merge_duplicates, selection_area
from catalogs.readme import NOBODY
from catalogs.release import Attachment, require_version, write_release
from discovery.candidates import (
    find_candidates,
    known_to_judge,
    part_of,
    read_cards,
    read_known,
    read_scores,
    thresholds_of,
)
from discovery.config import CatalogueConfig
from discovery.detector.checkpoint import CARD
from discovery.errors import BadInput
from discovery.evidence.judge import Judgement, judge
from discovery.evidence.metrics import Estimate, Proportion
from discovery.files import digest
from discovery.progress import say, track
from discovery.run import MIXED, Manifest, Run, alone, remove
from discovery.surveys.ingest import SAME_WITHIN_ARCSEC
from discovery.surveys.mock import STANDS_OUT

DRAFT = "draft"

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


# Figures of the report that a release carries, and what they show.
FIGURES = {
    "scores": "how the searched objects scored",
    "precision-recall": "purity against completeness",
    "reliability": "whether probabilities keep their promise",
    "completeness": "completeness against lane contrast",
    "samples": "real and synthetic cutouts",
    "candidates": "the candidates by rank",
}


def write_draft(run: Run) -> list[Path]:
    """Write the catalogue of the run's candidates into its folder, as a draft."""
    return _write(run, run.catalogue, DRAFT, [])


def release(run: Run, version: str, out: Path | None = None) -> Path:
    """Freeze a finished run into a folder that can be handed on as it is.

    The same run gives the same bytes. The folder appears whole; one that is there stays as it is.

    Args:
        out: the folder; by default releases/<version> in the run's.

    Returns the folder.

    Raises:
        BadInput: `out` holds anything else than this release.
        CatalogError: `version` is none.
    """
    require_version(version)
    folder = Path(out) if out else run.folder / "releases" / version
    making = folder.absolute().with_name(f".{folder.absolute().name}.making")
    if not run.config.catalogue.authors:
        say(
            f"{run.source}: [catalogue] names no authors, so the release is to be cited as by "
            f'"{NOBODY}"; valid: authors = ["Family, Given", "Name of a Collaboration"]'
        )
    with alone(run.folder):
        remove(making)  # of a process that was killed
        try:
            _write(run, making, version, list(_attachments(run)))
            _put(making, folder)
        finally:
            remove(making)
    return folder


def _put(made: Path, folder: Path) -> None:
    """Rename `made` to `folder`, unless that holds the same."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        other = _unlike(made, folder)
        if other:
            raise BadInput(
                f"{folder} is there and is not this release: {other}. A release is never "
                "overwritten; give another --version, or another folder with --out."
            )
        say(f"{folder}: released before, the same to the last byte")
        return
    os.replace(made, folder)


def _unlike(made: Path, folder: Path) -> str | None:
    """The first thing that tells two folders apart."""
    if not folder.is_dir():
        return "it is a file"
    mine, theirs = ({p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()}
                    for f in (made, folder))  # fmt: skip
    if lone := sorted(mine ^ theirs):
        return f"{lone[0]} is {'not there' if lone[0] in mine else 'no part of it'}"
    differ = (n for n in sorted(mine) if not filecmp.cmp(made / n, folder / n, shallow=False))
    changed = next(differ, None)
    return changed and f"{changed} differs"


def _write(run: Run, folder: Path, version: str, attachments: list[Attachment]) -> list[Path]:
    judged = judge_search(run, MIXED)
    table = catalogue_table(run)
    return write_release(
        table,
        provenance(run, judged, version),
        folder,
        f"{run.config.name}-{version}",
        false_positives=false_positives(table, judged),
        attachments=attachments,
        follow=lambda tables: track(tables, "catalogue", unit="files"),
    )


def _attachments(run: Run) -> Iterator[Attachment]:
    """What a release carries beside its tables; what the run did not make is left out."""
    said = {
        run.folder / "run.toml": "the run file: every setting, prompt and seed",
        run.folder / "metrics.json": "all that was measured, with 95 % intervals",
        run.generator / "generator.json": "the generator: settings and digests",
    }
    yield from (Attachment(source.name, source, what) for source, what in said.items())
    for fold, folder in enumerate(run.detectors(MIXED)):
        name, whose = (
            (CARD, "") if run.folds == 1 else (f"detector-{fold}.json", f" of fold {fold}")
        )
        what = f"the detector{whose}: preprocessing, calibration, threshold, digests"
        yield Attachment(name, folder / CARD, what)
    for name, what in FIGURES.items():
        for file in (f"{name}.png", f"{name}.pdf"):
            if (source := run.report / "figures" / file).exists():
                yield Attachment(f"figures/{file}", source, what)
    for sheet in sorted(run.clusters.glob("cluster-*.png")):
        number = int(sheet.stem.removeprefix("cluster-"))
        yield Attachment(f"sheets/{sheet.name}", sheet, f"contact sheet of cluster {number}")


def false_positives(table: pd.DataFrame, judged: Judgement) -> pd.DataFrame | None:
    """The candidates that are known not to be of the quarry, with `contaminant`: what they are.

    None where nobody knows the nature of every candidate.
    """
    if judged.basis != "truth":
        return None
    kinds = {false.object_id: false.kind for false in judged.false_positives}
    wrong = table[table["object_id"].isin(kinds)]
    return wrong.assign(contaminant=wrong["object_id"].map(kinds).astype(object))


def catalogue_table(run: Run) -> pd.DataFrame:
    """One row per candidate, in their order, with what the run can fill of `catalogs.COLUMNS`."""
    table = find_candidates(run).drop(columns=["status"])
    table = table.merge(pq.read_table(run.clusters / "clusters.parquet").to_pandas(), "left")
    table = table.merge(_from_store(run), "left", on="object_id")
    table = table.merge(_known_columns(run), "left", on="object_id")
    table["name"] = designation(run.config.catalogue.acronym, table["ra"], table["dec"])
    table["found_by"] = _found_by(table, run)
    # The whole training and validation splits taught or calibrated the detector, as quarry or as
    # not quarry: finding such an object is no evidence. Cross-fitted, those of the training split
    # taught the others.
    table["in_training"] = ~table["searched"]
    unsaid = ["galaxy", "searched", *(["fold"] if run.folds == 1 else [])]
    # Cutouts of one object that two surveys call by galaxies of their own.
    return merge_duplicates(table.drop(columns=unsaid), SAME_WITHIN_ARCSEC)


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
        scores = read_scores(run, variant)
        named = pd.MultiIndex.from_arrays([part_of(scores), scores["galaxy"]])
        mine = pd.MultiIndex.from_arrays([part_of(table), table["galaxy"]])
        found = found.where(~mine.isin(named[scores["candidate"]]), found + "+" + variant)
    return found


def judge_search(run: Run, variant: str) -> Judgement:
    """The search of one detector, held against the truth if there is one, else the published."""
    scores = read_scores(run, variant)
    truth = _truth(run) if run.truth.exists() else None
    return judge(
        scores,
        known_to_judge(run, scores),
        thresholds_of(run, variant),
        variant=variant,
        truth=truth,
        stands_out=None if truth is None else STANDS_OUT,
        natural_prevalence=run.config.evidence.natural_prevalence,
    )


def _truth(run: Run) -> pd.DataFrame:
    truth = pq.read_table(run.truth).to_pandas()
    return truth.assign(searched=truth["split"].isin(run.searched_splits))


def provenance(run: Run, judged: Judgement, version: str) -> Provenance:
    """Everything that made the catalogue, and how good it was measured to be."""
    config, cards, created = run.config.catalogue, read_cards(run, MIXED), _created(run)
    return Provenance(
        title=config.title,
        software="discovery",
        version=discovery.__version__,
        commit=_commit(run),
        model_sha256=of_all(cards, "weights_sha256"),
        config_digest=digest(run.config.model_dump(mode="json")),
        prompts=tuple(p.prompt for p in run.config.synthesis.wanted if p.label == 1),
        seeds=(
            run.config.seed,
            run.config.generator.seed,
            run.config.synthesis.seed,
            run.config.detector.seed,
        ),
        training_digest=of_all(cards, "training_digest"),
        threshold=judged.threshold,
        threshold_rule=threshold_rule(cards),
        n_searched=judged.searched,
        n_unreadable=judged.unreadable,
        acknowledgements=" ".join(config.acknowledgements),
        licence=config.licence,
        authors=config.authors,
        created=created,
        release=version,
        citation=_citation(config, version, created),
        moc=_searched_area(run),
        calibration_prevalence=cards[0]["calibration"]["prevalence"],
        natural_prevalence=run.config.evidence.natural_prevalence,
        **_measured("purity", judged.purity),
        **_measured("natural_purity", judged.purity_at_natural_prevalence),
        **_measured("completeness", judged.completeness),
        **_measured("clear_completeness", judged.completeness_standing_out),
        measured_on=_measured_on(judged),
    )


def of_all(cards: Sequence[dict], name: str) -> str:
    """A checksum of the detector's; of several, the digest of theirs in the order of the folds."""
    return cards[0][name] if len(cards) == 1 else digest([card[name] for card in cards])


def threshold_rule(cards: Sequence[dict]) -> str:
    """How the threshold was frozen, or that of each fold."""
    if len(cards) == 1:
        return cards[0]["threshold_rule"]
    parts = [
        f"{c['threshold']:.6g} in fold {i}: {c['threshold_rule']}" for i, c in enumerate(cards)
    ]
    return "each fold has its own, of the detector that its galaxies did not teach: " + "; ".join(
        parts
    )


def _created(run: Run) -> str:
    # When the candidates were found: writing them down again makes them no younger.
    return Manifest(run.folder).steps["cluster"]["finished"][:19]


def _commit(run: Run) -> str:
    # That which found them; manifests of older versions do not say.
    return Manifest(run.folder).steps["cluster"].get("commit", "not recorded")


def _citation(config: CatalogueConfig, version: str, created: str) -> str:
    authors = "; ".join(config.authors) or NOBODY
    return f"{authors} ({created[:4]}): {config.title}, version {version}"


def _searched_area(run: Run) -> str | None:
    """The part of the sky that the searched cutouts lie in, as MOC; None without positions."""
    parts = [run.store().table(["ra", "dec", "sampled"], split=s) for s in run.searched_splits]
    sky = pd.concat(parts).query("sampled != False")[["ra", "dec"]].astype(float)
    return selection_area(sky["ra"], sky["dec"]) if sky.notna().all(axis=1).any() else None


def _measured(name: str, measure: Proportion | Estimate | None) -> dict:
    if measure is None:
        return {}
    value = measure.estimate if isinstance(measure, Proportion) else measure.value
    ends = {f"{name}_lo": measure.low, f"{name}_hi": measure.high}
    return {} if value is None else {name: value} | ends


def _measured_on(judged: Judgement) -> str:
    if judged.basis == "truth":
        seen = f"; {judged.cross_fitted} of the training split" if judged.cross_fitted else ""
        searched = judged.searched - judged.cross_fitted
        return f"the truth table of the mock sky, {searched} objects of the search split{seen}"
    return (
        "published objects that were searched and not trained on; purity is unknown until the "
        "candidates are vetted"
    )
