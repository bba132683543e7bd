"""A judgement in words: the same sentences on the terminal and in the report."""

from discovery.evidence.judge import Judgement, Target
from discovery.evidence.metrics import Estimate, Paired, Proportion

VARIANT_NAMES = {"mixed": "real and synthetic cutouts", "real-only": "real cutouts only"}


def percent(value: float) -> str:
    """A fraction as a percentage with the digits that a reader can use."""
    shown = 100 * value
    return f"{shown:.2g} %" if 0 < shown < 1 else f"{shown:.0f} %"


def prevalence(value: float) -> str:
    """A share of the sky, to three digits that count: '3.7 %', '0.364 %'."""
    return f"{100 * value:.3g} %"


def probability(value: float) -> str:
    """A probability to three digits, also where only the distance from 1 tells anything."""
    return f"1 − {1 - value:.1g}" if 0.9995 <= value < 1 else f"{value:.3g}"


def thresholds(judgement: Judgement) -> str:
    """The frozen threshold: '0.533'; of cross-fitted detectors '0.39 to 0.45, by fold'."""
    low, high = (probability(end(judgement.thresholds)) for end in (min, max))
    return low if len(judgement.thresholds) == 1 else f"{low} to {high}, by fold"


def proportion(p: Proportion) -> str:
    """'70 % (14 of 20; 95 % interval 48–85 %)'."""
    if p.estimate is None:
        return "undefined (0 of 0)"
    return f"{percent(p.estimate)} ({p.k:,} of {p.n:,}; 95 % interval {interval(p)})"


def interval(p: Proportion | Estimate) -> str:
    """'48–85 %'."""
    low, high = percent(p.low), percent(p.high)
    return f"{low.removesuffix(' %')}–{high}"


def estimate(e: Estimate) -> str:
    """'0.954 (0.91–0.98)', for areas under curves."""
    if e.value is None:
        return "not defined"
    return f"{e.value:.3f} ({e.low:.3f}–{e.high:.3f})"


def percent_estimate(e: Estimate) -> str:
    """'34 % (95 % interval 20–55 %)', for a purity that was not counted."""
    if e.value is None:
        return "not defined"
    return f"{percent(e.value)} (95 % interval {interval(e)})"


def trained_on(variant: str) -> str:
    """What a variant was trained on, for readers."""
    return VARIANT_NAMES.get(variant, variant)


def verdict(judgement: Judgement, quarry: str, beside: Judgement | None = None) -> list[str]:
    """The outcome of a run in a few sentences, most important first.

    Args:
        quarry: what was searched for, in the plural: 'dusty early-type galaxies'.
        beside: the same search by a detector trained without synthetic cutouts.
    """
    sentences = [
        f"{judgement.searched:,} objects were searched for {quarry}; {judgement.candidates:,} are "
        f"candidates at the frozen threshold (probability ≥ {thresholds(judgement)})."
    ]
    if judgement.cross_fitted:
        sentences.append(
            f"{judgement.cross_fitted:,} of those searched are of the training split, and each was "
            "scored by a detector that it had not taught."
        )
    if judgement.unreadable:
        sentences.append(f"{judgement.unreadable:,} of them could not be read and are not found.")
    tell = _with_truth if judgement.basis == "truth" else _with_known
    sentences += tell(judgement, quarry)
    if beside is not None:
        sentences.append(_beside(judgement, beside))
    return sentences


def _with_truth(judgement: Judgement, quarry: str) -> list[str]:
    return [
        f"Purity {proportion(judgement.purity)}: that many of the candidates are true {quarry}."
        + _at_natural_prevalence(judgement),
        f"Completeness {proportion(judgement.completeness_standing_out)} of those whose dust lane "
        f"stands out from the noise (contrast ≥ {judgement.stands_out:g}), and "
        f"{proportion(judgement.completeness)} of all, also those too faint for anyone to see.",
    ]


def _at_natural_prevalence(judgement: Judgement) -> str:
    natural = judgement.purity_at_natural_prevalence
    if natural is None:
        return ""
    share = percent(judgement.natural_prevalence)
    return f" In a sky that holds {share} of them it would be {percent_estimate(natural)}."


def _with_known(judgement: Judgement, quarry: str) -> list[str]:
    sentences = [
        "Purity is unknown until people have looked at the candidates: in a real survey nobody "
        f"knows the nature of every object, only of some published {quarry}. The detector's own "
        f"probabilities promise {judgement.expected_true:.1f} true ones."
    ]
    if not judgement.targets:
        return [*sentences, "None of the published objects is among the searched cutouts."]
    taught_others = "that taught nothing which scored them"
    unseen = taught_others if judgement.cross_fitted else "kept out of training"
    return [
        *sentences,
        f"Of {len(judgement.targets)} published {quarry} {unseen}, "
        f"{judgement.completeness.k} are candidates: completeness "
        f"{proportion(judgement.completeness)}. Their ranks among {judgement.searched:,}: "
        f"{rank_list(judgement)}. AUROC {estimate(judgement.auroc)}, every other object taken "
        "for false.",
    ]


def rank_list(judgement: Judgement) -> str:
    """Names and ranks of the targets, best first: 'NGC 1 at 3, NGC 2 at 17, NGC 3 not read'."""
    if not judgement.targets:
        return "none to rank"
    return ", ".join(
        f"{target.name or target.object_id} "
        + ("not read" if target.rank is None else f"at {target.rank:,}")
        for target in judgement.targets
    )


def _beside(judgement: Judgement, beside: Judgement) -> str:
    trained = trained_on(beside.variant)
    start = f"The same search trained on {trained}: {beside.candidates:,} candidates"
    if judgement.basis != "truth":
        if not beside.targets:
            return f"{start}."
        return (
            f"{start}, completeness {proportion(beside.completeness)}, ranks "
            f"{rank_list(beside)}, AUROC {estimate(beside.auroc)}."
        )
    return (
        f"{start}, purity {proportion(beside.purity)}, completeness "
        f"{proportion(beside.completeness_standing_out)} of those that stand out."
    )


def difference(pair: Paired) -> str:
    """How the search and the one beside it differ, and whether luck could explain it."""
    if pair.difference is None:
        return "There was no object to compare them on."
    return (
        f"Object by object: both found {pair.both}, only the first {pair.only_first}, only the "
        f"second {pair.only_second}, neither {pair.neither}; completeness differs by "
        f"{_points(pair.difference)} points (95 % interval {_points(pair.low)} to "
        f"{_points(pair.high)}, McNemar p = {pair.p_value:.2g})."
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}".replace("-", "−")


def outcome(target: Target, judgement: Judgement) -> str:
    """What became of an object that was to be found, and if it was missed, why."""
    if target.found:
        return "found"
    if target.rank is None:
        return f"missed: {target.status}"
    if target.contrast is None or judgement.stands_out is None:
        return "missed: scored below the threshold"
    if target.contrast < judgement.stands_out:
        return "missed: lane too faint"
    return "missed, though it stands out"
