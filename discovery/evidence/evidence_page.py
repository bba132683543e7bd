"""The page of `discovery evidence`: evidence.json for people, with its figures and tables."""

from collections.abc import Callable, Mapping
from pathlib import Path

from discovery.config import RunConfig
from discovery.evidence import classification_page, words
from discovery.evidence.page import (
    Cell,
    Section,
    Table,
    count,
    measured,
    picture,
    plain,
    points,
    table,
    text,
    write_page,
)
from discovery.files import read_json

FOUND = "evidence.json"
Found = Mapping


def write_evidence(folder: Path, config: RunConfig) -> Path:
    """Write the page of what lies in `folder`, beside its evidence.json.

    Returns:
        `folder`/index.html.
    """
    found = read_json(folder / FOUND)
    parts = [part for name, tell in SECTIONS.items() if name in found
             for part in tell(folder, found[name])]  # fmt: skip
    return write_page(
        folder / "index.html",
        "evidence.html",
        title=f"Evidence for {config.catalogue.title if config.searches else config.name}",
        run=config.name,
        verdict=[
            line for name in VERDICTS if name in found for line in VERDICTS[name](found[name])
        ],
        tiles=[],
        sections=parts,
        wide=WIDE,
    )


# measure -> heading, how its mean is written, how its difference
MEASURES = {
    "auroc": ("AUROC", plain, plain),
    "auprc_quoted": ("AUPRC at {quoted}", plain, plain),
    "auprc_natural": ("AUPRC at {natural}", plain, plain),
    "completeness_fpr_1e-2": ("Completeness at FPR 1 %", words.percent, points),
    "completeness_fpr_1e-3": ("Completeness at FPR 0.1 %", words.percent, points),
    "purity_frozen": ("Purity at the frozen threshold", words.percent, points),
    "completeness_frozen": ("Completeness there", words.percent, points),
    "true_in_top": ("True among the first {top}", plain, plain),
    "ece": ("Calibration error", plain, plain),
    "promised": ("Promised over true", plain, plain),
}
ONLY_TRUTH = ("ece", "promised")
COMPARED = ("auprc_quoted", "completeness_fpr_1e-2", "completeness_fpr_1e-3", "purity_frozen")


def ablation(folder: Path, found: Found) -> list[Section]:
    sections = [_ablation_of(folder, found, target) for target in reversed(found["targets"])]
    return [*sections, _trainings(folder, found)]


def _ablation_of(folder: Path, found: Found, target: str) -> Section:
    of = found["targets"][target]
    name = "ablation-" + target.replace(" ", "-")
    shown = [m for m in MEASURES if found["truth"] or m not in ONLY_TRUTH]
    titles = [MEASURES[m][0].format(**_said(of)) for m in shown]
    rows = [
        [text(arm), *(measured(_row(of, arm, m), write=MEASURES[m][1]) for m in shown)]
        for arm in _arms(of)
    ]
    bound = "" if found["truth"] else (
        " What nobody has published counts as not the quarry, so areas and purities are lower "
        "bounds."
    )  # fmt: skip
    return Section(
        name,
        f"Ablation: {target}",
        (
            f"Judged on {of['true']:,} objects of the quarry ({target}) and {of['others']:,} "
            f"others, at a natural prevalence of {_said(of)['natural']}. Means over the seeds; "
            "brackets are 95 % intervals of a paired bootstrap over objects and seeds." + bound,
            "The second table is the difference from another arm on the same draws: areas as they "
            "are, shares in points of a per cent." + _unmeasured(of),
        ),
        (
            table(folder, name, f"Ablation, {target}", ("Arm", *titles), rows),
            _differences(of, name),
        ),
        (
            *picture(folder, name, "Arms side by side", "Points are means over the seeds with "
                     "95 % intervals, ticks the single seeds. Further right is better."),
            *picture(folder, f"{name}-ratio", "Worth over another arm", "Completeness at a false "
                     "positive rate of 0.1 %, divided by that of the arm named below it. Right of "
                     "the dashed line is better; an interval that does not touch it is no luck."),
        ),
    )  # fmt: skip


def _unmeasured(of: Found) -> str:
    if of["others"] >= 1000:
        return ""
    return " Fewer than 1,000 others cannot tell a false positive rate of 0.1 % from none."


def _said(of: Found) -> dict:
    shares = {name: words.prevalence(of[name]) for name in ("natural", "quoted")}
    return shares | {"top": f"{of['top']:,}"}


def _arms(of: Found) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in of["measures"]))


def _row(of: Found, arm: str, measure: str) -> Found:
    return next(r for r in of["measures"] if (r["arm"], r["measure"]) == (arm, measure))


def _differences(of: Found, name: str) -> Table:
    headings = [
        "Arm",
        "Compared with",
        *(MEASURES[m][0].format(**_said(of)) for m in COMPARED),
        "Ratio at FPR 0.1 %",
    ]
    rows = [
        [
            text(arm),
            text(_against(of, arm)),
            *(measured(_row(of, arm, m), "difference", MEASURES[m][2]) for m in COMPARED),
            measured(_row(of, arm, "completeness_fpr_1e-3"), "ratio", plain),
        ]
        for arm in _arms(of)
        if arm != _against(of, arm)
    ]
    return Table(f"{name}-differences", "Differences", headings, tuple(map(tuple, rows)), csv=False)


def _against(of: Found, arm: str) -> str:
    return _row(of, arm, "auroc")["against"]


def _trainings(folder: Path, found: Found) -> Section:
    headings = ("Arm", "Seed", "Real positives", "Synthetic positives", "Settings", "Threshold",
                "Folder")  # fmt: skip
    rows = [
        (
            text(row["arm"]),
            count(row["seed"]),
            count(row["real_positives"]),
            count(row["synthetic_positives"]),
            text(", ".join(f"{k} = {v}" for k, v in row["settings"].items()) or "as [detector]"),
            Cell(words.probability(row["threshold"]), row["threshold"], True),
            text(f"detectors/{row['folder']}"),
        )
        for row in found["arms"]
    ]
    label = "Trainings"
    return Section("trainings", label, (), (table(folder, "trainings", label, headings, rows),))


def ablation_verdict(found: Found) -> list[str]:
    """The largest ratio of completeness at FPR 0.1 %, whether it is one or not."""
    target = list(found["targets"])[-1]
    of = found["targets"][target]
    rows = [_row(of, arm, "completeness_fpr_1e-3") for arm in _arms(of)]
    known = [row for row in rows if row["ratio"] is not None and row["arm"] != row["against"]]
    if not known:
        return []
    best = max(known, key=lambda row: row["ratio"])
    return [
        f"At a false positive rate of 0.1 % “{best['arm']}” finds {words.percent(best['value'])} "
        f"({target}), {measured(best, 'ratio', plain).text} times what “{best['against']}” finds."
    ]


def injection(folder: Path, found: Found) -> list[Section]:
    detectors, settings = found["detectors"], found["settings"]
    first = next(iter(detectors.values()))
    said = (
        f"Lanes were painted on {found['hosts']:,} searched galaxies with captions "
        f"{settings['tags']!r}; {found['not_painted']:,} more had nothing in their middle to paint "
        f"on. Beside them stand {first['others']:,} searched galaxies that are not known to be of "
        f"the quarry; {first['seen_true']:,} more were called so by most of the passes over them. "
        "The control is the same host through the same brush without dust: what is found of it is "
        "found for the brush. A galaxy is called red where it is of the reddest "
        f"{words.percent(settings['reddest'])} of these: early types are."
    )
    rows = [
        (text(words.trained_on(variant)), *(counted(of[name]) for name in INJECTED))
        for variant, of in detectors.items()
    ]
    return [
        Section(
            "injection",
            "Injection and recovery",
            (said,),
            (
                table(folder, "", "Painted lanes at the frozen threshold",
                      ("Detector", *INJECTED.values()), rows),
                _injected_ranking(folder, detectors),
                _bins(folder, *next(iter(detectors.items()))),
            ),
            (
                *picture(folder, "injection-lanes", "What was painted", "The first lanes of each "
                         "range of optical depth, as delivered, and the first controls."),
                *picture(folder, "injection", "Recovery", "Share found at the frozen threshold in "
                         "bins of a fifth of all lanes each; bars are 95 % intervals."),
                *(p for variant in detectors for p in picture(
                    folder, f"injection-{variant}-surfaces",
                    f"Recovery in two dimensions, {words.trained_on(variant)}",
                    "Numbers are found of painted in each cell; brighter is more complete.")),
            ),
        )
    ]  # fmt: skip


INJECTED = {
    "found": "Completeness",
    "found_standing_out": "Where the lane stands out",
    "found_on_red": "And the galaxy is red",
    "controls_found": "Controls found",
    "others_found": "Others found",
}


def counted(share: Found) -> Cell:
    """'48 % (31–66 %; 12 of 25)' of a proportion."""
    if share["estimate"] is None:
        return Cell("–", "", True)
    low, high = words.percent(share["low"]), words.percent(share["high"])
    ends = f"{low} to {high}; {share['k']:,} of {share['n']:,}"
    return Cell(f"{words.percent(share['estimate'])} ({ends})", share["estimate"], True)


RANKED = {
    "auroc": ("AUROC", plain),
    "auprc_quoted": ("AUPRC at the quoted prevalence", plain),
    "completeness_fpr_6.3e-3": ("Completeness at FPR 0.63 %", words.percent),
    "completeness_fpr_1e-3": ("Completeness at FPR 0.1 %", words.percent),
    "purity_at_half": ("Purity at 50 % completeness, natural prevalence", words.percent),
}


RANKED_LANES = {
    "ranking": "all",
    "ranking_standing_out": "lane stands out",
    "ranking_on_red": "and the galaxy is red",
    "ranking_standing_out_unlisted": "lane stands out; false is all that is not published",
    "ranking_on_red_unlisted": "and the galaxy is red; false is all that is not published",
}


def _injected_ranking(folder: Path, detectors: Found) -> Table:
    rows = []
    for variant, of in detectors.items():
        for name, target in RANKED_LANES.items():
            by_name = {row["measure"]: row for row in of[name]}
            if by_name:
                cells = (measured(by_name[m], write=write) for m, (_, write) in RANKED.items())
                rows.append((text(words.trained_on(variant)), text(target), *cells))
    headings = ("Detector", "Lanes", *(title for title, _ in RANKED.values()))
    return table(folder, "", "Painted lanes among all others", headings, rows)


def _bins(folder: Path, variant: str, of: Found) -> Table:
    rows = [
        (
            text(row["parameter"]),
            Cell(f"{plain(row['low'])} to {plain(row['high'])}", row["low"], True),
            measured(row, "completeness"),
            Cell(f"{row['found']:,} of {row['painted']:,}", row["found"], True),
        )
        for row in of["bins"]
    ]
    label = f"Recovery by parameter, {words.trained_on(variant)}"
    headings = ("Parameter", "From, to", "Completeness", "Found")
    return table(folder, f"injection-{variant}", label, headings, rows)


def injection_verdict(found: Found) -> list[str]:
    variant, of = next(iter(found["detectors"].items()))
    return [
        f"Of {found['hosts']:,} lanes painted on unseen galaxies the detector trained on "
        f"{words.trained_on(variant)} finds {counted(of['found']).text}."
    ]


def known(folder: Path, found: Found) -> list[Section]:
    tables = []
    for variant, of in found["detectors"].items():
        rows = [
            (
                text(str(row["name"])),
                text(row["object_id"] or ""),
                Cell(_rank(row["rank"]), "" if row["rank"] is None else row["rank"], True),
                _share_of(row["top_share"]),
                _probability(row["probability"]),
                text(row["outcome"]),
            )
            for row in of["objects"]
        ]
        headings = ("Published as", "Object", "Rank", "Among the first", "Probability", "Outcome")
        label = f"Published objects, {words.trained_on(variant)}"
        if rows:
            tables.append(table(folder, f"known-{variant}", label, headings, rows))
    said = tuple(_known_said(variant, of) for variant, of in found["detectors"].items())
    return [Section("known", "Known objects", said, tuple(tables))]


def _rank(rank: float | None) -> str:
    return "–" if rank is None else f"{rank:,.0f}"


def _share_of(share: float | None) -> Cell:
    return Cell("–", "", True) if share is None else Cell(words.prevalence(share), share, True)


def _probability(value: float | None) -> Cell:
    return Cell("–", "", True) if value is None else Cell(words.probability(value), value, True)


def _known_said(variant: str, of: Found) -> str:
    start = (
        f"Trained on {words.trained_on(variant)}: of {of['published']:,} published objects kept "
        f"out of training {of['searched']:,} were searched, among {of['of']:,} galaxies"
    )
    if of["auroc"] is None or of["median_top_share"] is None:
        return f"{start}; there is nothing to rank."
    return (
        f"{start}. {of['candidates']:,} are candidates; their median is in the first "
        f"{words.prevalence(of['median_top_share'])}, the last in the first "
        f"{words.prevalence(of['worst_top_share'])}; {of['in_top_0.01']:,} in the first 1 %, "
        f"{of['in_top_0.05']:,} in the first 5 %. AUROC {of['auroc']:.3f} "
        f"({of['auroc_low']:.3f} to {of['auroc_high']:.3f}), every other object taken for false."
    )


def known_verdict(found: Found) -> list[str]:
    return [_known_said(*next(iter(found["detectors"].items())))]


CALIBRATED = {
    "ece": "Calibration error",
    "ece_high": "The same, probability of 1 % and more",
    "promised": "Promised over true",
}


def calibration(folder: Path, found: Found) -> list[Section]:
    rows = []
    for variant, of in found["detectors"].items():
        by_name = {row["measure"]: row for row in of["measures"]}
        cells = (measured(by_name[name], write=plain) for name in CALIBRATED)
        rows.append((text(words.trained_on(variant)), *cells))
    said = (
        f"On {found['true']:,} of the quarry among {found['objects']:,} objects, all weighted to a "
        f"prevalence of {words.prevalence(found['natural'])}. Saying 0 of everything would have a "
        f"calibration error of {plain(found['natural'])}: the second column, which leaves out what "
        "is nearly certainly nothing, and the third are what a promise is worth."
    )
    pictures = [
        p
        for variant in found["detectors"]
        for p in picture(folder, f"calibration-{variant}",
                         f"Reliability, {words.trained_on(variant)}",
                         "Points on the dashed line keep their promise. Numbers are objects in "
                         "the bin; triangles are upper limits where none was true.")
    ]  # fmt: skip
    made = table(folder, "", "Calibration", ("Detector", *CALIBRATED.values()), rows)
    return [Section("calibration", "Calibration", (said,), (made,), tuple(pictures))]


def vetted(folder: Path, found: Found) -> list[Section]:
    tops = [(count(row["top"]), measured(row, "purity")) for row in found["tops"]]
    strata = [
        (
            text(row["stratum"]),
            Cell(f"{row['objects']:,.0f}", row["objects"], True),
            count(row["vetted"]),
            count(row["true"]),
            measured(row, "share"),
        )
        for row in found["strata"]
    ]
    headings = ("Stratum", "Objects", "Vetted", "True", "Share")
    return [
        Section(
            "vetted",
            "After vetting",
            (*_vetted_said(found), *_twice(found["agreement"]), *_captured(found["capture"])),
            (
                table(folder, "vetted-strata", "Strata", headings, strata),
                table(folder, "vetted-tops", "Purity of the first", ("First", "Purity"), tops),
            ),
            picture(folder, "vetted-true", "What was found", "Called true by every pass that "
                    "looked, by rank."),
        )
    ]  # fmt: skip


def _vetted_said(found: Found) -> tuple[str, ...]:
    return (
        f"{found['vetted']:,} objects were vetted; they stand for {found['stands_for']:,.0f} of "
        f"{found['searched']:,} searched. True are the grades {', '.join(found['true_grades'])}.",
        f"True in all: {measured(found['true'], write=plain).text}. Of {found['candidates']:,} "
        f"candidates {found['candidates_vetted']:,} were vetted: purity "
        f"{measured(found['purity']).text}, completeness {measured(found['completeness']).text}.",
    )


def _twice(agreement: Found | None) -> tuple[str, ...]:
    if agreement is None:
        return ()
    return (
        f"Two passes over {agreement['objects']:,} objects gave the same grade to "
        f"{counted(agreement['same']).text}; Cohen's kappa "
        f"{measured(agreement, 'kappa', plain).text}, of true or not "
        f"{measured(agreement, 'kappa_true', plain).text}.",
    )


def _captured(capture: Found | None) -> tuple[str, ...]:
    if capture is None:
        return ()
    one, other = capture["finders"]
    return (
        f"{one} has {capture['first']:,} true ones, {other} {capture['second']:,}, both "
        f"{capture['both']:,}: by capture and recapture there are at least about "
        f"{measured(capture, 'number', plain).text}. Finders that like the same objects make "
        "this too small.",
    )


def vetted_verdict(found: Found) -> list[str]:
    return [_vetted_said(found)[1]]


SECTIONS: dict[str, Callable[[Path, Found], list[Section]]] = {
    "ablation": ablation,
    "injection": injection,
    "known": known,
    "vetted": vetted,
    "calibration": calibration,
    "classification": classification_page.classification,
}
VERDICTS: dict[str, Callable[[Found], list[str]]] = {
    "ablation": ablation_verdict,
    "injection": injection_verdict,
    "known": known_verdict,
    "vetted": vetted_verdict,
    "classification": classification_page.verdict,
}
WIDE = ("ablation-all", "ablation-lane-stands-out", "injection", "injection-lanes",
        "injection-mixed-surfaces", "injection-real-only-surfaces", "classification")  # fmt: skip
