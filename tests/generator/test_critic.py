"""The critic on structure whose true ratio of densities is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from discovery.errors import BadInput
from discovery.generator.critic import (
    BRIGHTNESS,
    KNOWS,
    LEAST,
    LEAST_TO_TILT,
    by_caption,
    train_critic,
)
from discovery.morphology.structure import QUANTITIES

ROUND, DISC = "mock, smooth", "mock, disk galaxy"


def measured(seed, captions, **shifts):
    """Independent normal quantities; those named are shifted by so many σ, per caption."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(len(captions), len(KNOWS))), columns=KNOWS)
    for name, shift in shifts.items():
        table[name] += [shift[caption] for caption in captions]
    return table


def kept_of(critic, table, captions, seed=9):
    kept = np.random.default_rng(seed).random(len(table)) < critic.chance(table, captions)
    return table[kept], np.array(captions)[kept]


CAPTIONS = [ROUND, DISC] * 700
SHIFT = {
    "asymmetry": {ROUND: 0.0, DISC: 0.9},
    "gini": {ROUND: -0.5, DISC: 0.0},
    "mean_level": {ROUND: 0.5, DISC: 0.0},
}


@pytest.fixture(scope="module")
def critic():
    real, drawn = measured(1, CAPTIONS), measured(2, CAPTIONS, **SHIFT)
    return train_critic(real, drawn, (CAPTIONS, CAPTIONS))


def test_what_is_kept_has_the_structure_of_real_ones_caption_by_caption(critic):
    table = measured(3, CAPTIONS * 3, **SHIFT)
    kept, captions = kept_of(critic, table, CAPTIONS * 3)
    assert 0.3 < len(kept) / len(table) < 0.8
    for caption in (ROUND, DISC):
        means = kept[captions == caption][list(KNOWS)].mean()
        assert means.abs().max() < 0.3, (caption, means)  # 0.9, -0.5 and 0.5 before
        assert 0.8 < kept[captions == caption]["asymmetry"].std() < 1.15


def test_what_is_drawn_between_two_peaks_is_left_out():
    """No product of two tells a law of two peaks from one of one, with the same mean and spread."""
    real, drawn = measured(11, CAPTIONS), measured(12, CAPTIONS)
    real["colour_mag"] = np.where(np.arange(len(real)) // 2 % 2, 1, -1) + 0.2 * real["colour_mag"]
    drawn["colour_mag"] *= real["colour_mag"].std()
    critic = train_critic(real, drawn, (CAPTIONS, CAPTIONS))
    kept = kept_of(critic, drawn, CAPTIONS)[0]
    between = [(table["colour_mag"].abs() < 0.4).mean() for table in (real, drawn, kept)]
    assert between[0] < 0.01 < 0.25 < between[1]
    assert between[2] < between[1] / 2


def in_light(seed, captions, brighter, failed=50):
    """Flux and mean level with long bright tails, nearly the same; discs are half as bright. One in
    `failed` could not be measured and is bright; of these every other one has no flux.
    """
    table = measured(seed, captions)
    table["flux"] = table["mean_level"] + 0.2 * table["flux"]
    halved = np.where(np.array(captions) == DISC, 0.5, 1.0)
    for name in BRIGHTNESS:
        table[name] = 30 * halved * np.exp(0.6 * table[name] + brighter)
    table.loc[::failed, BRIGHTNESS] *= 1.3
    table.loc[::failed, list(set(QUANTITIES) - {"flux"})] = np.nan
    table.loc[:: 2 * failed, "flux"] = np.nan
    return table


def brighter_by(drawn, real, chances, captions):
    """As choosing makes it: every caption has as many in the end as it had before."""
    shares = chances.copy()
    for caption in set(captions):
        shares[np.array(captions) == caption] /= chances[np.array(captions) == caption].mean()
    has = drawn[BRIGHTNESS].notna().mul(shares, axis=0)
    return ((drawn[BRIGHTNESS] * has).sum() / has.sum() / real[BRIGHTNESS].mean() - 1).to_numpy()


def test_what_is_kept_is_as_bright_as_real_ones_by_both_measures():
    real, drawn = in_light(21, CAPTIONS, 0.0), in_light(22, CAPTIONS, 0.25, failed=30)
    critic = train_critic(real, drawn, (CAPTIONS, CAPTIONS))
    untilted = replace(critic, tilt=np.zeros(2))
    new = in_light(23, CAPTIONS * 20, 0.25, failed=30)
    for table, captions, within in ((drawn, CAPTIONS, 1e-6), (new, CAPTIONS * 20, 0.03)):
        before, after = (
            np.abs(brighter_by(table, real, each.chance(table, captions), captions)).max()
            for each in (untilted, critic)
        )
        assert after < within < before


def test_every_caption_counts_as_before():
    weights = by_caption(np.array([0.1, 0.3, 1.0, 1.0, 0.5]), ["a", "a", "b", "b", "b"])
    assert weights == pytest.approx([0.5, 1.5, 1.2, 1.2, 0.6])


def test_what_has_no_flux_is_not_tilted(critic):
    table = measured(26, CAPTIONS[:2])
    table.loc[:, list(QUANTITIES)] = np.nan
    table["mean_level"] = [-2.0, 2.0]
    assert critic.tilt.any()
    assert np.ptp(critic.chance(table, CAPTIONS[:2])) == 0


def test_a_choice_that_cannot_be_as_bright_says_so(capsys):
    real, drawn = in_light(27, CAPTIONS, 0.0), in_light(28, CAPTIONS, 3.0)
    drawn["mean_level"] *= 3  # twenty times too bright, and three times that
    train_critic(real, drawn, (CAPTIONS, CAPTIONS))
    assert "not as bright as real galaxies, and cannot be: +" in capsys.readouterr().err


def test_few_lessons_do_not_tilt_it():
    few = CAPTIONS[: LEAST_TO_TILT - 1]
    critic = train_critic(in_light(24, few, 0.0), in_light(25, few, 0.25), (few, few))
    assert not critic.tilt.any()


def test_where_nothing_is_wrong_nearly_all_is_kept_alike():
    real, drawn = measured(4, CAPTIONS), measured(5, CAPTIONS)
    chance = train_critic(real, drawn, (CAPTIONS, CAPTIONS)).chance(drawn, CAPTIONS)
    assert chance.mean() > 0.6
    assert chance.std() < 0.25


def test_what_is_drawn_too_often_without_being_measurable_is_left_out():
    real, drawn = measured(6, CAPTIONS), measured(7, CAPTIONS)
    real.loc[:13, "gini"] = np.nan
    drawn.loc[:139, "gini"] = np.nan  # ten times as many
    chance = train_critic(real, drawn, (CAPTIONS, CAPTIONS)).chance(drawn, CAPTIONS)
    assert chance[:140].mean() < 0.2 < 0.6 < chance[140:].mean()


def test_too_few_to_learn_from_are_refused():
    captions = [ROUND] * (LEAST - 1)
    few, enough = measured(1, captions), measured(2, CAPTIONS)
    with pytest.raises(BadInput, match=r"49 real galaxies the structure of 49 could .* 50 or"):
        train_critic(few, enough, (captions, CAPTIONS))
    with pytest.raises(BadInput, match="of 49 drawn galaxies"):
        train_critic(enough, few, (CAPTIONS, captions))
