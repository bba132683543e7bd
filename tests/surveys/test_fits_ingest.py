"""A sky of FITS cutouts from file to store: the mock sky's own frames, with what real ones have."""

import hashlib
import io
from functools import cache

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from discovery.morphology.captions import CaptionRules
from discovery.surveys import FolderSurvey, MockSurvey
from discovery.surveys.ingest import Part, ingest, read_failures, read_part
from discovery.surveys.mock import compose, render

GALAXIES = 3
MOCK = MockSurvey(seed=3, train=GALAXIES, validation=0, search=0)


@cache
def observed(index: int) -> np.ndarray:
    """(3, n, n) nanomaggies per SDSS pixel in g, r, i, north at the end."""
    scene = MOCK.drawn(index).scene
    return render.observe(scene, render.noiseless(scene), np.random.default_rng(index))


def as_fits(frame: np.ndarray, index: int, order: str) -> bytes:
    """The frame as a cube with a WCS, its bands in any order."""
    cards = {
        "BANDS": order, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0 + index,
        "CRVAL2": 5.0, "CRPIX1": frame.shape[2] / 2 + 0.5, "CRPIX2": frame.shape[1] / 2 + 0.5,
        "CD1_1": -render.PIXEL_ARCSEC / 3600, "CD2_2": render.PIXEL_ARCSEC / 3600,
    }  # fmt: skip
    stack = np.stack([frame["gri".index(band)] for band in order])
    out = io.BytesIO()
    fits.PrimaryHDU(stack.astype("f4"), fits.Header(list(cards.items()))).writeto(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sky")
    for index in range(GALAXIES):
        content = as_fits(observed(index), index, ("gri", "irg", "rig")[index % 3])
        (folder / f"g{index}.fits").write_bytes(content)
    cut_off = as_fits(observed(0), 20, "gri")
    (folder / "cut-off.fits").write_bytes(cut_off[: len(cut_off) // 2])
    return folder


@pytest.fixture(scope="module")
def store(sky):
    survey = FolderSurvey(name="mine", path=sky, crop=0.7, train=0, validation=0, search=1)
    out = sky.parent / "store"
    path = out / "parts/mine/part-00000.parquet"
    read_part(Part(survey, CaptionRules(), 0, len(survey), path))  # here: a process takes seconds
    return ingest([survey], CaptionRules(), out, seed=1, workers=1)


def test_the_store_shows_the_sky_as_the_mock_composes_it(sky, store):
    images = dict(
        zip(*(c.to_pylist() for c in next(store.iter_shards(["object_id", "image"]))[1].columns),
            strict=True)
    )  # fmt: skip
    for index in range(GALAXIES):
        ours = np.asarray(Image.open(io.BytesIO(images[f"g{index}"])))
        theirs = compose.lupton_rgb(observed(index))[::-1] * 255
        np.testing.assert_allclose(ours, theirs, atol=1.01)  # rounded down
        assert ours.max() > 100


def test_every_row_says_where_it_lies_and_what_it_was_made_of(sky, store):
    rows = store.table().set_index("object_id").sort_index()
    assert list(rows.index) == [f"g{index}" for index in range(GALAXIES)]
    np.testing.assert_allclose(rows["ra"], 10.0 + np.arange(GALAXIES), atol=1e-8)
    np.testing.assert_allclose(rows["dec"], 5.0, atol=1e-8)
    np.testing.assert_allclose(rows["pixscale_arcsec"], render.PIXEL_ARCSEC, rtol=1e-4)
    assert set(rows["bands"]) == {"i,r,g"}
    assert rows["crop"].eq(0.7).all()
    digest = hashlib.sha256((sky / "g2.fits").read_bytes()).hexdigest()
    assert rows.loc["g2", "file_sha256"] == digest != rows.loc["g2", "sha256"]


def test_what_is_cut_off_is_a_failure_with_its_reason(store):
    (lost,) = read_failures(store.folder).to_dict("records")
    assert lost["object_id"] == "cut-off"
    assert lost["reason"].startswith("truncated: its header promises")
