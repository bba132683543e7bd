"""The mock survey as a survey: rows, splits, prevalence, determinism."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from discovery.errors import BadInput
from discovery.surveys.mock import MockSurvey, compose, render
from discovery.surveys.mock.light import Point

SMALL = MockSurvey(train=8, validation=4, search=8, seed=3)


def test_rows_do_not_depend_on_how_they_are_asked_for():
    assert SMALL.rows(0, 10) == SMALL.rows(0, 5) + SMALL.rows(5, 10)


def test_a_row_holds_a_128_pixel_jpeg_of_the_usual_field():
    row = SMALL.rows(2, 3)[0]
    image = Image.open(io.BytesIO(row["image"]))
    assert (image.format, image.size, image.mode) == ("JPEG", (128, 128), "RGB")
    # The field is rounded up to whole pixels of SDSS.
    assert 0 <= row["pixscale_arcsec"] * 128 - 4.24 * row["petro_r90_arcsec"] < 0.396


def test_splits_have_the_sizes_asked_for_and_ids_are_unique():
    rows = SMALL.rows(0, len(SMALL))
    assert [row["split"] for row in rows] == ["train"] * 8 + ["validation"] * 4 + ["search"] * 8
    assert len({row["object_id"] for row in rows}) == 20
    assert all(int(row["object_id"]) > 2**53 for row in rows)


def test_quarry_has_the_prevalence_asked_for():
    survey = MockSurvey(train=2000, validation=0, search=0, quarry_fraction=0.02)
    found = sum(survey.drawn(i).kind == "dusty early type" for i in range(2000))
    assert binomtest(found, 2000, 0.02).pvalue > 0.001


def test_known_quarry_is_true_quarry_that_stands_out():
    survey = MockSurvey(train=6, validation=3, search=6, quarry_fraction=0.6)
    known, truth = survey.known(), survey.truth().set_index("object_id")
    assert len(known) > 0
    assert (truth.loc[known.object_id, "lane_contrast"] >= 5).all()
    in_search = truth.loc[known.object_id, "split"].to_numpy() == "search"
    np.testing.assert_array_equal(known.in_training, ~in_search)


def test_quarry_published_elsewhere_stands_out_teaches_and_changes_nothing_else():
    survey = MockSurvey(
        train=4, validation=2, search=4, published_elsewhere=6, quarry_fraction=0.4, seed=5
    )
    alone = survey.model_copy(update={"published_elsewhere": 0})
    assert (len(survey), len(alone)) == (16, 10)
    rows = survey.rows(0, 16)
    assert rows[:10] == alone.rows(0, 10)
    assert [row["sampled"] for row in rows] == [True] * 10 + [False] * 6
    truth, known = survey.truth().iloc[10:], survey.known()
    assert truth.is_quarry.all()
    assert (truth.lane_contrast >= 5).all()
    assert list(truth.split) == ["train", "train", "validation"] * 2
    assert list(known.object_id[-6:]) == list(truth.object_id)
    assert known.in_training[-6:].all()
    assert known[:-6].equals(alone.known())
    assert truth.object_id.is_unique


def test_a_sky_without_objects_is_refused():
    with pytest.raises(BadInput, match="train, validation and search are all 0; set at least one"):
        MockSurvey(train=0, validation=0, search=0).validate()


def test_the_pixel_scale_is_that_of_the_picture():
    # R90 just beyond 42 whole pixels, so that a frame of 43 is drawn: 2 % more than asked for.
    r90_arcsec = 42.1 * 0.396 / 4.24
    flux = (10.0, 10.0, 10.0)
    stars = tuple(Point(flux, x, 0.0, 1, 0) for x in (-5.0, 5.0))
    scene = render.Scene((), stars, None, (), r90_arcsec, 1.0)
    light = compose.deliver(render.noiseless(scene))[..., 1].astype(float).sum(axis=0)
    core = np.clip(light - light.max() / 2, 0, None)
    west, east = (
        np.average(part, weights=core[part]) for part in (np.arange(64), np.arange(64, 128))
    )
    assert (east - west) * render.frame_arcsec(scene) / 128 == pytest.approx(10.0, rel=0.003)
