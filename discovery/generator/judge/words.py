"""A judgement of a generator in words: `found` is what judge.json holds.

Numbers are rounded for reading; every digit is in judge.json and in the tables.
"""

from collections.abc import Mapping, Sequence

from discovery.evidence.metrics import Proportion, wilson
from discovery.evidence.words import percent, proportion

# What a generator is asked to reach.
MOST_RATIO, MOST_BIAS = 1.5, 0.02
LEAST_LANES, MOST_UNASKED, LEAST_SHAPE = 0.6, 0.05, 0.9

UNKNOWN = "not measured"
SPACES = ("features", "pixels")  # in which images are compared
Found = Mapping


def number(value: float | None) -> str:
    """Three digits that count, '103', '10.6', '0.887'; a true minus sign."""
    if value is None:
        return UNKNOWN
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return shown.replace("-", "−")


def share(value: float | None) -> str:
    """'63 %', '−7 %'."""
    if value is None:
        return UNKNOWN
    return f"−{percent(-value)}" if value < 0 else percent(value)


def auc(value: float | None) -> str:
    """Three decimals, so that a perfect 1.000 is seen to be one."""
    return UNKNOWN if value is None else f"{value:.3f}"


def span(low: float, high: float, write=number) -> str:
    """'6–16.3'; where one of them is negative '−14 % to −0.4 %'."""
    if low < 0 or high < 0:
        return f"{write(low)} to {write(high)}"
    return f"{write(low).removesuffix(' %')}–{write(high)}"


def estimate(measured: Found | None, write=number) -> str:
    """'10.6 (6–16.3)' of a number with `value`, `low` and `high`."""
    if measured is None or measured["value"] is None:
        return UNKNOWN
    return f"{write(measured['value'])} ({span(measured['low'], measured['high'], write)})"


def of(row: Found, name: str) -> dict | None:
    """The number `name` of a table's row, with its interval from `<name>_low` and `<name>_high`."""
    if row.get(name) is None:
        return None
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def headline(found: Found) -> str:
    """'Generator e09ba5d4 beside 600 real cutouts'."""
    return f"Generator {found['case']['digest'][:8]} beside {_real(found):,} real cutouts"


def _real(found: Found) -> int:
    return 2 * found["case"]["images_per_half"]


def verdict(found: Found) -> list[str]:
    """The outcome in a few sentences: in short, then likeness, structure, memory, extrapolation."""
    structure = found["structure"]
    return [
        _in_short(found),
        _who(found),
        _likeness(found["measures"]),
        _told_apart(found["told_apart"]),
        f"{_structure(structure['distances'])} {_brightness(structure['brightness'])}",
        f"{_memory(found['memory'])} {leak(found['leak'])}",
        *_extrapolation(found["extrapolation"]),
    ]


def _in_short(found: Found) -> str:
    apart = "Told" if _is_told_apart(found["told_apart"]) else "Not told"
    within, measured = _within(found["structure"]["distances"])
    said = [f"{apart} from real cutouts"]
    if measured:
        said.append(f"structure as real in {within} of {measured} quantities")
    if "features" in found["memory"]:
        said.append("memory of its training" if _remembers(found["memory"]) else "no memory found")
    if "doses" in found["extrapolation"]:
        told = doses(found["extrapolation"]["doses"])
        best = max(p["lane"].estimate for weight, p in told.items() if weight > 0)
        said.append(f"a dust lane on up to {share(best)} of the early types asked for one")
    return "; ".join(said) + "."


def _who(found: Found) -> str:
    case = found["case"]
    return (
        f"The generator {case['digest'][:8]} (of the kind {case['kind']}) drew "
        f"{case['images_per_half']:,} cutouts from the captions of as many real ones. They are "
        f"held against {_real(found):,} real cutouts of the split {case['split']}, one of each "
        "galaxy; what one half of these reaches against the other stands beside it."
        f"{_chosen(case)}"
    )


def _chosen(case: Found) -> str:
    if not case.get("critic_images"):
        return ""
    return (
        f" The synthetic ones were chosen from {case['attempts']:,} by a critic taught by "
        f"{case['critic_images']:,} other real cutouts and as many drawn; but for "
        f"{case['not_chosen']:,}, of captions that it knows too little of or that it kept nothing "
        "of. It chooses by the very quantities of structure, and the mean level, that are "
        "compared below. Curves, fronts and lanes are as they are drawn."
    )


def _likeness(measures: Found) -> str:
    realism, fid = measures["realism"], measures["FID"]
    return (
        f"Realism {estimate(realism['synthetic'], share)}: that share of the synthetic cutouts "
        f"lies among real ones; of real cutouts {share(realism['real']['value'])} do. FID "
        f"{estimate(fid['synthetic'])}, between two real halves {estimate(fid['real'])}."
    )


def is_told(measured: Found) -> bool:
    """Whether an AUC lies above 0.5 with its whole interval."""
    return measured["low"] > 0.5


def _is_told_apart(found: Found) -> bool:
    return any(is_told(found[space]) for space in SPACES)


def _told_apart(found: Found) -> str:
    told = _is_told_apart(found)
    return (
        f"They {'are' if told else 'could not be'} told from real cutouts: AUC "
        f"{estimate(found['pixels'], auc)} by a network on the pixels, "
        f"{estimate(found['features'], auc)} by features; 0.5 would be chance."
    )


def beyond(distances: Sequence[Found]) -> list[Found]:
    """The quantities whose ratio lies above the aim, the worst first."""
    rows = [r for r in distances if r["ratio"] is not None and r["ratio"] > MOST_RATIO]
    return sorted(rows, key=lambda row: -row["ratio"])


def _structure(distances: Sequence[Found]) -> str:
    measured = [row for row in distances if row["ratio"] is not None]
    if not measured:
        return "Structure was not measured: too few images let themselves be."
    far = ", ".join(f"{quantity(r['quantity'])} ({number(r['ratio'])})" for r in beyond(distances))
    start = f"Of {len(measured)} quantities of structure, "
    aim = f"lie farther from real than {MOST_RATIO} times what real halves differ by"
    return f"{start}{len(beyond(distances))} {aim}: {far}." if far else f"{start}none {aim}."


def quantity(name: str) -> str:
    """'half-light radius (px)' of the column half_light_radius_px."""
    units = {"half_light_radius_px": "half-light radius (px)", "colour_mag": "colour (mag)"}
    return units.get(name, {"gini": "Gini", "m20": "M20"}.get(name, name.replace("_", " ")))


BRIGHTNESS = {"flux": "mean flux", "mean_level": "mean level of the whole image"}


def _brightness(rows: Sequence[Found]) -> str:
    said = [
        f"{BRIGHTNESS[row['brightness']]} {estimate(of(row, 'bias'), share)} by "
        f"{row['synthetic']:,} synthetic and {row['real']:,} real ones"
        for row in rows
    ]
    aim = f"the aim is {share(MOST_BIAS)} either way."
    return f"Brightness bias, weighted to the same captions: {', '.join(said)}; {aim}"


def _remembers(memory: Found) -> bool:
    return any(is_told(of(memory[space], "nearer_to_training")) for space in SPACES)


def _memory(memory: Found) -> str:
    if "features" not in memory:
        return f"Memory {memory['checked']}."
    shares = {space: of(memory[space], "nearer_to_training") for space in SPACES}
    return (
        f"{'It remembers its training set' if _remembers(memory) else 'No memory was found'}: a "
        "training image is nearer than a held-out cutout in "
        f"{estimate(shares['features'], share)} of comparisons by features and "
        f"{estimate(shares['pixels'], share)} by pixels; {share(0.5)} would be chance."
    )


def leak(said: str) -> str:
    """The leak check as a sentence."""
    return f"Leak check: {said}."


def doses(rows: Sequence[Found]) -> dict[float, dict[str, Proportion]]:
    """Weight -> lane and early_type over all captions together, Wilson's intervals; drawn only."""
    weights = sorted({row["weight"] for row in rows if row["weight"] is not None})
    return {weight: _pooled([r for r in rows if r["weight"] == weight]) for weight in weights}


def _pooled(rows: Sequence[Found]) -> dict[str, Proportion]:
    n = sum(row["images"] for row in rows)
    return {
        name: wilson(sum(round(row[name] * row["images"]) for row in rows), n)
        for name in ("lane", "early_type")
    }


def _extrapolation(found: Found) -> list[str]:
    if "doses" not in found:
        return [f"Extrapolation: {found['checked']}."]
    told = doses(found["doses"])
    asked = {weight: of_it for weight, of_it in told.items() if weight > 0}
    return [f"{_unasked(told)} {_asked(asked)} {_shape(told)}"]


def _unasked(told: Mapping[float, dict[str, Proportion]]) -> str:
    return (
        "Asked for early types without a dust lane, it draws one in "
        f"{proportion(told[0]['lane'])}; the aim is {share(MOST_UNASKED)} at most."
    )


def _asked(asked: Mapping[float, dict[str, Proportion]]) -> str:
    best = max(asked, key=lambda weight: asked[weight]["lane"].estimate)
    said = ", ".join(f"{share(p['lane'].estimate)} at {w:g}" for w, p in asked.items())
    reached = asked[best]["lane"].estimate >= LEAST_LANES
    return (
        f"Asked for a lane, by weight: {said}; at best {proportion(asked[best]['lane'])}, "
        f"{'which reaches' if reached else 'short of'} the aim of {share(LEAST_LANES)}."
    )


def _shape(told: Mapping[float, dict[str, Proportion]]) -> str:
    worst = min(told, key=lambda weight: told[weight]["early_type"].estimate)
    kept = told[worst]["early_type"]
    where = f"at the weight {worst:g}" if worst else "without a lane"
    return (
        f"The shape is an early type's in {share(kept.estimate)} or more ({kept.k:,} of {kept.n:,} "
        f"{where}); the aim is {share(LEAST_SHAPE)}."
    )


def tiles(found: Found) -> list[tuple[str, str, str]]:
    """(label, large number, small print) of what a reader looks for first."""
    measures, told, structure = found["measures"], found["told_apart"], found["structure"]
    return [
        _of_measure("realism", measures["realism"], share),
        _of_measure("FID", measures["FID"], number),
        ("told from real, pixels", auc(told["pixels"]["value"]), "AUC; 0.5 would be chance"),
        ("told from real, features", auc(told["features"]["value"]), "AUC; 0.5 would be chance"),
        _structure_tile(structure["distances"]),
        _bias_tile(of(structure["brightness"][0], "bias")),
        _memory_tile(found["memory"]),
        *_lane_tiles(found["extrapolation"]),
    ]


def _of_measure(label: str, both: Found, write) -> tuple[str, str, str]:
    return label, write(both["synthetic"]["value"]), f"real half: {write(both['real']['value'])}"


def _within(distances: Sequence[Found]) -> tuple[int, int]:
    measured = sum(row["ratio"] is not None for row in distances)
    return measured - len(beyond(distances)), measured


def _structure_tile(distances: Sequence[Found]) -> tuple[str, str, str]:
    within, measured = _within(distances)
    if not measured:
        return "structure as real", "–", UNKNOWN
    return "structure as real", f"{within} of {measured}", f"ratio at most {MOST_RATIO}"


def _bias_tile(bias: Found | None) -> tuple[str, str, str]:
    label = "brightness bias"
    if bias is None:
        return label, "–", UNKNOWN
    return label, share(bias["value"]), f"flux; 95 %: {span(bias['low'], bias['high'], share)}"


def _memory_tile(memory: Found) -> tuple[str, str, str]:
    label = "nearer to training"
    if "features" not in memory:
        return label, "–", "cannot be checked"
    value = memory["features"]["nearer_to_training"]
    return label, share(value), f"in features; chance: {share(0.5)}"


def _lane_tiles(found: Found) -> list[tuple[str, str, str]]:
    if "doses" not in found:
        return [("dust lanes", "–", UNKNOWN)]
    told = doses(found["doses"])
    strongest = max(told)
    return [
        _lane_tile("lane, not asked", told[0]["lane"]),
        _lane_tile(f"lane, weight {strongest:g}", told[strongest]["lane"]),
        _lane_tile(f"early type, weight {strongest:g}", told[strongest]["early_type"]),
    ]


def _lane_tile(label: str, p: Proportion) -> tuple[str, str, str]:
    return label, share(p.estimate), f"{p.k:,} of {p.n:,}; 95 %: {span(p.low, p.high, share)}"
