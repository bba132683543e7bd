"""The page of a judgement: judge.json for people, with its figures and tables beside it.

Everything it says is read from judge.json; what was not measured says so, and why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.evidence.page import Cell, Picture, Section, Table, open_picture, write_page
from discovery.files import read_json
from discovery.generator.judge import words
from discovery.generator.judge.figures import sheet_name
from discovery.generator.judge.words import Found, auc, estimate, number, of, share

JUDGED = "judge.json"
WIDE = ("trajectory", "structure", "dose-response", "pareto-fronts")


@dataclass(frozen=True)
class Judged:
    """What lies in the folder of a judgement."""

    folder: Path
    found: Found

    def pictures(self, *names: str) -> tuple[Picture, ...]:
        """The figures of these names that were drawn, with the captions of CAPTIONS."""
        return tuple(self.picture(name, *CAPTIONS[name]) for name in names if self._drawn(name))

    def picture(self, name: str, title: str, caption: str) -> Picture:
        return open_picture(self._png(name), title, caption, alt=f"{title}. {caption}")

    def sheets(self, asked: Sequence[tuple[int, str, float]]) -> tuple[Picture, ...]:
        """The sheets of these (number of the caption, caption, weight) that were drawn."""
        seed = self.found["case"]["sampling"]["seed"]
        named = [(sheet_name(i, weight, seed), caption, weight) for i, caption, weight in asked]
        return tuple(self.picture(n, *_of_sheet(*said)) for n, *said in named if self._drawn(n))

    def table(
        self, name: str, label: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]
    ) -> Table:
        there = (self.folder / "tables" / f"{name}.csv").exists()
        return Table(name, label, tuple(headings), tuple(map(tuple, rows)), there)

    def _png(self, name: str) -> Path:
        return self.folder / "figures" / f"{name}.png"

    def _drawn(self, name: str) -> bool:
        return self._png(name).exists()


def write_judgement(folder: Path, run: str) -> Path:
    """Write the page of the judgement in `folder` beside its judge.json.

    Args:
        run: name of the run, to show.

    Returns:
        `folder`/index.html.

    Raises:
        BadInput: there is no judge.json, or the disk is full.
    """
    judged = Judged(Path(folder), read_json(Path(folder) / JUDGED))
    return write_page(
        judged.folder / "index.html",
        "generator.html",
        title=words.headline(judged.found),
        run=run,
        made=judged.found["case"]["kind"],
        verdict=words.verdict(judged.found),
        tiles=words.tiles(judged.found),
        sections=[tell(judged) for tell in SECTIONS],
        wide=WIDE,
    )


def _samples(judged: Judged) -> Section:
    return Section(
        "samples", "What it draws", pictures=judged.pictures("real-beside-synthetic", "trajectory")
    )


# measure -> what it is; in the order of the table
MEANINGS = {
    "realism": "share of synthetic cutouts among real ones; 100 % is best",
    "realism score": "how deep inside; above 1 among real ones",
    "recall": "share of real cutouts among synthetic ones; 100 % is best",
    "density": "how crowded with real cutouts the places of synthetic ones are; about 1",
    "coverage": "share of real cutouts with a synthetic one near; 100 % is best",
    "diversity": "spread within a caption, over that of real ones; 1 is best",
    "consistency": "how sure a network of our own is of what was asked; as high as real",
    "FID": "distance of all features; as low as real",
    "KID": "the same by another kernel; as low as real",
}
SHARES = ("realism", "recall", "coverage")


def _likeness(judged: Judged) -> Section:
    measures = judged.found["measures"]
    rows = [
        (_text(name), *_both(measures[name], name), _text(meaning))
        for name, meaning in MEANINGS.items()
        if name in measures
    ]
    headings = ("Measure", "Synthetic", "Real beside it", "How to read it")
    return Section(
        "likeness",
        "How like the real ones",
        ("A good generator has in the second column what the third has. Brackets are 95 %.",),
        (judged.table("measures", "Likeness, synthetic and real", headings, rows),),
    )


def _both(measured: Found, name: str) -> tuple[Cell, Cell]:
    write = share if name in SHARES else number
    return _measured(measured["synthetic"], write), _measured(measured["real"], write)


TOLD = {
    "pixels": "a small network on the pixels: the hardest judge, for texture and noise count",
    "features": "logistic regression on features of shape and colour",
    "features, real halves": "the same asked about two real halves: anything but 0.5 is its fault",
}


def _told_apart(judged: Judged) -> Section:
    told = judged.found["told_apart"]
    rows = [
        (_text(name), _measured(told[name], auc), _text(_verdict(told[name])), _text(TOLD[name]))
        for name in TOLD
    ]
    headings = ("Judge", "AUC", "Says", "What it is")
    return Section(
        "told-apart",
        "Told from real",
        ("Classifiers score cutouts that they were not fitted on; an AUC of 0.5 is chance.",),
        (judged.table("told-apart", "Classifiers", headings, rows),),
    )


def _verdict(measured: Found) -> str:
    return "tells them apart" if words.is_told(measured) else "cannot tell them apart"


def _structure(judged: Judged) -> Section:
    structure = judged.found["structure"]
    headings = ("Quantity", "Ratio", f"At most {words.MOST_RATIO}", "Apart (σ of real)")
    rows = [
        (
            _text(words.quantity(row["quantity"])),
            _measured(of(row, "ratio")),
            _text(_within(row["ratio"])),
            _number(row["apart_sigma"]),
        )
        for row in structure["distances"]
    ]
    return Section(
        "structure",
        "Structure",
        (
            "Ratio: how far synthetic cutouts lie from real ones, in units of what two real halves "
            "differ by. It grows with the number of cutouts; the last column does not.",
            _left_out(structure["not_measured"]),
            "Brightness bias: a mean over that of real cutouts, weighted to the same captions, "
            "less one; more images than elsewhere may serve it.",
        ),
        (
            judged.table("structure", "Distances of structure", headings, rows),
            _brightness(judged, structure["brightness"]),
        ),
        judged.pictures("structure"),
    )


def _within(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return "yes" if ratio <= words.MOST_RATIO else "no"


def _left_out(shares: Mapping[str, float]) -> str:
    said = ", ".join(f"{share(shares[name])} of {kind}" for name, kind in SETS.items())
    return f"Left out, because they could not be measured: {said}."


SETS = {
    "synthetic": "the synthetic cutouts",
    "half": "the real half they were drawn for",
    "other half": "the other",
}


def _brightness(judged: Judged, found: Sequence[Found]) -> Table:
    rows = [
        (
            _text(words.BRIGHTNESS[row["brightness"]]),
            _measured(of(row, "bias"), share),
            _count(row["synthetic"]),
            _count(row["real"]),
        )
        for row in found
    ]
    headings = ("Brightness", "Bias", "Synthetic", "Real")
    return judged.table("brightness", "Brightness bias", headings, rows)


def _memory(judged: Judged) -> Section:
    memory, title = judged.found["memory"], "Memory"
    if "features" not in memory:
        return Section("memory", title, (f"Not measured; it {memory['checked']}.",))
    headings = ("Compared by", "Training image nearer", "p, any difference", "p, nearer",
                "Median, synthetic", "Median, held out")  # fmt: skip
    rows = [(_text(space), *_nearest(memory[space])) for space in words.SPACES]
    return Section(
        "memory",
        title,
        (
            f"Compared {memory['checked']}. The second column decides: how often the nearest of as "
            f"many training as held-out cutouts is a training one; {share(0.5)} is chance, more is "
            "memory.",
            "The Kolmogorov–Smirnov tests compare distances to the training set of synthetic and "
            "of held-out cutouts. A small p in the first says that these differ, as they also do "
            "where drawing is bad; in the second, that synthetic ones are nearer, as they also are "
            "where they are smooth. Medians are of these distances.",
        ),
        (judged.table("memory", "Nearest training images", headings, rows),),
        judged.pictures("nearest-training-features", "nearest-training-pixels"),
    )


def _nearest(test: Found) -> tuple[Cell, ...]:
    numbers = ("p_value", "p_nearer", "median_synthetic", "median_held_out")
    nearer = _measured(of(test, "nearer_to_training"), share)
    return nearer, *(_number(test[name]) for name in numbers)


def _extrapolation(judged: Judged) -> Section:
    found, title = judged.found["extrapolation"], "A lane on an early type"
    if "doses" not in found:
        return Section("extrapolation", title, (f"Not measured: {found['checked']}.",))
    rows = found["doses"]
    outer, between = _sheets(rows)
    headings = ("Caption", "Weight", "Images", "Lane seen", "Early type", "Brightness")
    return Section(
        "extrapolation",
        title,
        (
            "Early types are asked for, without a dust lane and with one of each weight. A judge "
            "taught by painted lanes looks at them in grey. Brightness is over that of real "
            "cutouts of the caption; rows of real cutouts have no weight.",
            _lane_settings(judged.found["case"]["lanes"]),
        ),
        (judged.table("dose-response", "Dose and response", headings, [*map(_dose, rows)]),),
        judged.pictures("dose-response") + judged.sheets(outer),
        judged.sheets(between),
    )


def _lane_settings(lanes: Found) -> str:
    said = f"Drawn at guidance {lanes['guidance']:g}"
    above = lanes["outline_above"]
    if above < 1:
        said += f"; above a noise share of {above:g} without guidance and without the lane"
    return f"{said}."


def _dose(row: Found) -> tuple[Cell, ...]:
    weight = row["weight"]
    said = {None: "real cutouts", 0: "not asked"}.get(weight, f"{weight:g}" if weight else "")
    return (
        _text(row["caption"]),
        Cell(said, -1 if weight is None else weight, True),
        _count(row["images"]),
        _measured(of(row, "lane"), share),
        _measured(of(row, "early_type"), share),
        # of real cutouts it is 1 by definition
        _measured(of(row, "brightness")) if weight is not None else Cell("", "", True),
    )


Sheets = list[tuple[int, str, float]]


def _sheets(rows: Sequence[Found]) -> tuple[Sheets, Sheets]:
    """(number of the caption, caption, weight) of the sheets without a lane and of the largest
    weight, and of those between.
    """
    captions = list(dict.fromkeys(row["caption"] for row in rows))
    drawn = [(row["caption"], row["weight"]) for row in rows if row["weight"] is not None]
    sheets = [(captions.index(caption), caption, weight) for caption, weight in drawn]
    outer = {0, max(weight for *_, weight in sheets)}
    return [s for s in sheets if s[2] in outer], [s for s in sheets if s[2] not in outer]


def _of_sheet(caption: str, weight: float) -> tuple[str, str]:
    asked = f"dust lane of weight {weight:g}" if weight else "no lane asked"
    return f"{caption}; {asked}", "The first that were drawn, unpicked."


POINT = ("realism", "diversity", "consistency", "FID")


def _curves(judged: Judged) -> Section:
    curves = judged.found["curves"]
    prose = (
        f"{judged.found['case']['curve_images']:,} images a point. The fewest sampling steps "
        "whose FID lies within the 95 % interval of the best are "
        f"{curves['knee_of_sampling_steps']:,}.",
    )
    names = {"sampling_steps": "sampling-steps"}
    if len(curves["training_steps"]) > 1:
        names["training_steps"] = "training-steps"
    else:
        prose += ("There is no curve against training steps: this training kept no snapshots.",)
    return Section(
        "curves",
        "Quality against steps",
        prose,
        tuple(_curve(judged, name) for name in names),
        judged.pictures(*names.values()),
    )


def _curve(judged: Judged, name: str) -> Table:
    curves, said = judged.found["curves"], name.replace("_", " ")
    rows = [(_count(row[name]), *_point(row)) for row in curves[name]]
    rows += [(Cell("real cutouts", "", True), *_point(row)) for row in curves["real_cutouts"]]
    headings = (said.capitalize(), *map(_capital, POINT))
    table = name.replace("steps", "curve").replace("_", "-")
    return judged.table(table, f"Curve against {said}", headings, rows)


def _point(row: Found, names: Sequence[str] = POINT) -> list[Cell]:
    return [_measured(of(row, name), share if name in SHARES else number) for name in names]


def _fronts(judged: Judged) -> Section:
    rows, title = judged.found["fronts"], "Realism against diversity"
    if not rows:
        said = "Not measured: no caption has enough real cutouts that the generator can be asked."
        return Section("fronts", title, (said,))
    headings = ("Caption", "Guidance", "Weight", *map(_capital, POINT[:3]), "On the front")
    return Section(
        "fronts",
        title,
        ("Guidance, and the weight of a caption's tags, trade one for the other.",),
        (judged.table("fronts", "Pareto fronts", headings, [*map(_front, rows)]),),
        judged.pictures("pareto-fronts"),
    )


def _front(row: Found) -> tuple[Cell, ...]:
    asked = _number(row["guidance"]), _number(row["weight"])
    on_front = _text("yes" if row["on_front"] else "no")
    return _text(row["caption"]), *asked, *_point(row, POINT[:3]), on_front


def _speed(judged: Judged) -> Section:
    speed, asked = judged.found["speed"], judged.found["case"]["sampling"]
    said = (
        f"{number(speed['images_per_second'])} images a second on the device "
        f"{speed['device']}, at {asked['steps']} steps and guidance {asked['guidance']:g}; one "
        "timing, which other work on the machine slows down."
    )
    return Section("speed", "Speed", (said,))


def _worth(judged: Judged) -> Section:
    return Section(
        "judges",
        "What the judges are worth",
        (_features(judged.found["features"]), _of_lanes(judged.found["extrapolation"])),
        _named_well(judged) + _lane_judge(judged),
    )


def _features(card: Found) -> str:
    said = (
        f"Features: a {card['network']} that learnt to name the tags of "
        f"{card['images']:,} real cutouts in {card['steps']:,} steps. "
    )
    if card["mean_auroc"] is None:
        return f"{said}How well it does was not measured: no tag is on enough cutouts."
    return f"{said}On cutouts it never saw its mean AUROC over tags is {auc(card['mean_auroc'])}."


def _named_well(judged: Judged) -> tuple[Table, ...]:
    rows = [
        (_text(row["tag"]), _count(row["images"]), Cell(auc(row["auroc"]), row["auroc"], True))
        for row in judged.found["features"]["tags"]
    ]
    headings = ("Tag", "Cutouts with it", "AUROC")
    return (judged.table("features", "How well tags are named", headings, rows),) if rows else ()


def _of_lanes(found: Found) -> str:
    if not found.get("lane_judge"):
        return "What the judge of lanes is worth was not measured: it had nothing to judge."
    return (
        "Lanes: every share with a lane rests on this judge, on real cutouts that it never saw. "
        "What it misses it undercounts; what it sees where there is none it adds."
    )


def _lane_judge(judged: Judged) -> tuple[Table, ...]:
    rows = [
        (_text(row["images"]), _text(row["measure"]), _worth_of(row), _count(row["n"]))
        for row in judged.found["extrapolation"].get("lane_judge", ())
    ]
    headings = ("Cutouts", "Measure", "Value", "Cutouts judged")
    said = "What the judge of lanes is worth"
    return (judged.table("lane-judge", said, headings, rows),) if rows else ()


def _worth_of(row: Found) -> Cell:
    return _measured(row, auc if row["measure"] == "AUROC" else share)


def _provenance(judged: Judged) -> Section:
    case = judged.found["case"]
    left_out = case["galaxies_left_out_for_captions_the_generator_cannot_read"]
    facts = {
        "Generator": f"{case['digest']} ({case['kind']})",
        "Real cutouts": f"split {case['split']}, two halves of {case['images_per_half']:,}",
        "Left out": f"{left_out:,} galaxies with captions that the generator cannot read",
        "Leak check": judged.found["leak"],
        "Size": f"{case['size']} px",
        **{_capital(k.replace("_", " ")): str(v) for k, v in case["sampling"].items()},
        "Features": f"{judged.found['features']['network']}, training cutouts "
        f"{judged.found['features']['training_digest']}",
    }
    return Section("provenance", "Provenance", facts=tuple(facts.items()))


SECTIONS: tuple[Callable[[Judged], Section], ...] = (
    *(_samples, _likeness, _told_apart, _structure, _memory, _extrapolation),
    *(_curves, _fronts, _speed, _worth, _provenance),
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(text: str) -> Cell:
    return Cell(text, text, False)


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", count, True)


def _number(value: float | None) -> Cell:
    return Cell(number(value), "" if value is None else value, True)


def _measured(measured: Found | None, write: Callable[[float], str] = number) -> Cell:
    known = measured is not None and measured["value"] is not None
    return Cell(estimate(measured, write), measured["value"] if known else "", True)


# figure -> title, and how to read it
CAPTIONS = {
    "real-beside-synthetic": (
        "Real over synthetic",
        "Rows in pairs of one caption: real cutouts, then what the generator drew from the same "
        "words. The first of each, unpicked; nothing but chance makes single ones correspond.",
    ),
    "trajectory": (
        "From noise to a galaxy",
        "One image on its way, left to right: above what the network sees, below what it then "
        "takes that for. Shapes should come first and details last.",
    ),
    "structure": (
        "Distributions of structure",
        "Grey is real, the line synthetic. Where the two do not overlap, a physical quantity is "
        "drawn wrongly; each panel has equal areas, so numbers do not matter.",
    ),
    "nearest-training-features": (
        "Closest pairs in features",
        "Left of each pair a synthetic cutout, right the training image nearest to it; the "
        "closest first. A copy would show the same galaxy twice, not two of a kind.",
    ),
    "nearest-training-pixels": (
        "Closest pairs in pixels",
        "The same, compared pixel by pixel over all turns and mirrors. Faint and smooth cutouts "
        "come first, for they are near to everything.",
    ),
    "dose-response": (
        "Dose and response",
        "Left, the share with a dust lane against the weight in the prompt: it should start at "
        "nothing and rise. Right, the share that is still an early type: it should stay. Bars "
        "are 95 % intervals.",
    ),
    "sampling-steps": (
        "Against sampling steps",
        "Where a curve levels off, more steps only cost time. The dashed line is what as many "
        "real cutouts reach; bars are 95 % intervals. FID should be low, all else near the line.",
    ),
    "training-steps": (
        "Against training steps",
        "Where a curve still moves at its right end, longer training would pay. The dashed line "
        "is what as many real cutouts reach; bars are 95 % intervals.",
    ),
    "pareto-fronts": (
        "Pareto fronts",
        "A panel per caption: up is more diverse, right is more realistic. Points on the line "
        "are beaten by no other in both; the rest have a better setting.",
    ),
}
