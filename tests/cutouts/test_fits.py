"""FITS images: bands by name, north up, holes filled and said, and nothing hostile believed."""

import gzip
import hashlib
import io

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.visualization import make_lupton_rgb
from astropy.wcs import WCS
from PIL import Image
from pydantic import ValidationError

from discovery.cutouts.config import FitsImages
from discovery.cutouts.decode import UnreadableImage
from discovery.cutouts.fits import picture_of
from discovery.cutouts.lupton import fill

SIDE = 48


def light(seed=1, shape=(SIDE, SIDE)) -> dict[str, np.ndarray]:
    """A galaxy in g, r, i and z: nanomaggies per SDSS pixel, with noise, nowhere zero."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    blob = np.exp(-np.hypot(x - shape[1] / 2, y - shape[0] / 2) / 6)
    colours = {"g": 0.4, "r": 0.9, "i": 1.2, "z": 1.5}
    return {b: (c * blob + rng.normal(0, 0.02, shape)).astype("f4") for b, c in colours.items()}


def header(**cards) -> fits.Header:
    made = fits.Header()
    for name, value in cards.items():
        made[name] = value
    return made


def saved(*hdus) -> bytes:
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out)
    return out.getvalue()


def cube(bands="gri", planes=None, **cards) -> bytes:
    planes = light() if planes is None else planes
    stack = np.stack([planes[band] for band in bands])
    return saved(fits.PrimaryHDU(stack, header(**{"BANDS": bands} | cards)))


def read(content: bytes, **settings) -> dict:
    return picture_of({"a.fits": content}, FitsImages(**settings))


def pixels(row: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["image"])))


def refusal(content: bytes, **settings) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read(content, **settings)
    return str(caught.value)


def test_the_picture_is_that_of_lupton_et_al_with_north_at_the_top():
    bands = light()
    r, g, b = bands["i"] * 0.84, bands["r"], bands["g"] * 1.5
    theirs = make_lupton_rgb(r, g, b, minimum=-0.006, stretch=0.85, Q=6)[::-1]
    row = read(cube("gri"))
    np.testing.assert_allclose(pixels(row).astype(int), theirs, atol=1)  # rounded down twice
    assert pixels(row).max() > 120
    assert row["bands"] == "i,r,g"
    assert row["missing_pixels"] == 0
    assert row["file_sha256"] == hashlib.sha256(cube("gri")).hexdigest()
    assert "ra" not in row
    assert row["pixscale_arcsec"] is None


@pytest.mark.parametrize("order", ["irg", "rgi", "zgir"])
def test_bands_go_by_their_names_and_never_by_their_order(order):
    assert read(cube(order))["image"] == read(cube("gri"))["image"]


def planes_apart(names, cards=None, **kind) -> bytes:
    made = kind.pop("make", fits.ImageHDU)
    hdus = [
        made(light()[band], header(**(cards or {}).get(band, {})), name=name, **kind)
        for band, name in zip("gri", names, strict=True)
    ]
    return saved(fits.PrimaryHDU(), *hdus)


STACK = np.stack([light()[band] for band in "gri"])
FILTERS = {band: {"FILTER": f"DECam {band}"} for band in "gri"}
NAMED = {
    "separators": saved(fits.PrimaryHDU(STACK, header(BANDS="g, r, i"))),
    "words": saved(fits.PrimaryHDU(STACK, header(FILTERS="sdss_g sdss_r sdss_i"))),
    "from 0": saved(fits.PrimaryHDU(STACK, header(BAND0="g", BAND1="r", BAND2="i"))),
    "from 1": saved(fits.PrimaryHDU(STACK, header(FILTER1="g.MP", FILTER2="r.MP", FILTER3="i.MP"))),
    "an axis more": saved(fits.PrimaryHDU(STACK[None], header(BANDS="gri"))),
    "extensions": planes_apart("gri"),
    "filters": planes_apart(["A", "B", "C"], FILTERS),
    "packed": planes_apart(
        "gri", make=fits.CompImageHDU, quantize_level=0, compression_type="GZIP_2"
    ),
    "gzip": gzip.compress(cube("gri")),
    "double": saved(fits.PrimaryHDU(STACK.astype("f8"), header(BANDS="gri"))),
    "little axes first": saved(fits.PrimaryHDU(), fits.ImageHDU(STACK, header(BANDS="gri"))),
}


@pytest.mark.parametrize("kind", NAMED)
def test_every_way_to_name_bands_gives_the_same_picture(kind):
    assert read(NAMED[kind])["image"] == read(cube("gri"))["image"]


def test_the_run_file_names_what_the_header_does_not():
    nameless = saved(fits.PrimaryHDU(STACK))
    assert read(nameless, planes=["g", "r", "i"])["image"] == read(cube("gri"))["image"]
    assert 'type planes = ["g", "r", "z"], first to last, under [survey.fits]' in refusal(nameless)
    assert "3 planes, and planes under [survey.fits] names 2: g, r" in refusal(
        nameless, planes=["g", "r"]
    )
    assert "its header calls the bands g, r, i, and planes under [survey.fits] i, r, g" in refusal(
        cube("gri"), planes=["i", "r", "g"]
    )
    lone = saved(fits.PrimaryHDU(light()["r"]))
    assert "its band cannot be named" in refusal(lone)
    grey = pixels(read(lone, planes=["r"], bands=["r"]))
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(fits.PrimaryHDU(STACK, header(CTYPE3="WAVE"))), "(its third axis is 'WAVE')"),
        (cube("gri", BAND1="r", BAND2="g", BAND3="i"), "calls the bands both g, r, i and r, g, i"),
        (saved(fits.PrimaryHDU(STACK, header(BANDS="grr"))), "names a band twice: g, r, r"),
        (cube("gr"), 'its bands are g, r, neither i, r, g nor z, r, g; say which to show as red, '
         'green and blue, or one for grey: bands = ["g"] under [survey.fits]'),
        (planes_apart(["SCI", "ERR", "DQ"]), "3 images (SCI, ERR, DQ) that are not one a band; "
         "say which to take: extension = 1, or its name, under [survey.fits]"),
        (saved(fits.PrimaryHDU(), fits.table_to_hdu(Table({"a": [1]}))),
         "no image in it: no HDU has two axes or more"),
        (cube("gri", {b: v[:8] for b, v in light().items()}), "48 x 8 px is less than 16 px"),
    ],
)  # fmt: skip
def test_what_cannot_be_named_or_shown_is_told_with_what_to_type(content, reason):
    assert reason in refusal(content)


def test_an_extension_is_taken_by_number_or_name():
    both = saved(
        fits.PrimaryHDU(),
        fits.ImageHDU(STACK, header(BANDS="gri"), name="SCI"),
        fits.ImageHDU(STACK, name="ERR"),
    )
    for extension in (1, "sci"):
        assert read(both, extension=extension)["image"] == read(cube("gri"))["image"]
    assert "no HDU 'DQ', which extension under [survey.fits] asks for" in refusal(
        both, extension="DQ"
    )
    assert "HDU 0 holds no image" in refusal(both, extension=0)


def test_bands_light_and_weights_are_those_of_the_run_file():
    bright = {band: 2.28 * plane for band, plane in light().items()}
    row = read(cube("grz"), light=2.28)
    assert row["bands"] == "z,r,g"
    assert row["image"] == read(cube("grz", bright))["image"]
    odd = {"A": bright["i"], "r": bright["r"], "g": bright["g"]}
    content = saved(fits.PrimaryHDU(np.stack(list(odd.values())), header(BANDS="HSC-A,r,g")))
    asked = {"bands": ["HSC-A", "r", "g"]}
    assert "band 'HSC-A' has no brightness; type weights" in refusal(content, **asked)
    known = read(content, weights={"HSC-A": 0.84}, **asked)
    assert known["image"] == read(cube("gri", bright))["image"]
    assert "no band y, which bands under [survey.fits] asks for; there: g, r, z" in refusal(
        cube("grz"), bands=["y"]
    )


def sky_at(angle_deg: float, mirrored: bool, frame="RA---TAN DEC--TAN", scale=0.4) -> dict:
    """Cards of a WCS whose north lies `angle_deg` counter-clockwise of +y, the middle at (50, 30).

    Not mirrored, east is to the left of north.
    """
    turn = np.radians(angle_deg)
    # columns: what a step along x and along y is in (east, north)
    east = np.array([-np.cos(turn), -np.sin(turn)])
    north = np.array([-np.sin(turn), np.cos(turn)])
    if mirrored:
        east[0], north[0] = -east[0], -north[0]
    cd = np.array([east, north]) * scale / 3600
    ctype = frame.split()
    return {"CTYPE1": ctype[0], "CTYPE2": ctype[1], "CRVAL1": 50.0, "CRVAL2": 30.0,
            "CRPIX1": 32.5, "CRPIX2": 24.5, "CD1_1": cd[0, 0], "CD1_2": cd[0, 1],
            "CD2_1": cd[1, 0], "CD2_2": cd[1, 1]}  # fmt: skip


def starred(cards: dict, angle_deg: float, arcsec: float) -> bytes:
    """48 x 64 px with one star at a position angle and distance from (50, 30) of the frame."""
    wcs = WCS(header(**cards), naxis=2)
    middle = SkyCoord(50, 30, unit="deg")
    there = middle.directional_offset_by(angle_deg * u.deg, arcsec * u.arcsec)
    star_x, star_y = wcs.world_to_pixel(there)
    y, x = np.mgrid[:48, :64]
    star = 3 * np.exp(-(np.hypot(x - star_x, y - star_y) ** 2) / 4) + 1e-5
    return cube("gri", dict.fromkeys("gri", star.astype("f4")), **cards)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 20, 90, 130, 180, -75, -160])
def test_north_is_up_east_is_left_and_the_rest_is_told(angle, mirrored):
    cards = sky_at(angle, mirrored)
    for position_angle in (0, 90):  # a star to the north, one to the east
        row = read(starred(cards, position_angle, 6.0))
        assert -45 <= row["north_deg"] <= 45
        assert row["north_deg"] == pytest.approx((angle + 45) % 90 - 45, abs=0.01)
        assert row["pixscale_arcsec"] == pytest.approx(0.4, rel=1e-5)
        assert (row["ra"], row["dec"]) == pytest.approx((50, 30), abs=1e-7)
        picture = pixels(row).sum(axis=2).astype(float)
        found = np.array(np.unravel_index(picture.argmax(), picture.shape))
        middle = (np.array(picture.shape) - 1) / 2
        turn = np.radians(row["north_deg"] + position_angle)
        expected = middle - 15 * np.array([np.cos(turn), np.sin(turn)])  # row, column
        np.testing.assert_allclose(found, expected, atol=1.0)


def test_other_frames_and_cubes_with_a_wcs_of_three_axes_are_placed_in_icrs():
    cards = sky_at(0, False, "GLON-CAR GLAT-CAR") | {"CTYPE3": "BAND", "CRVAL2": 0.0}
    row = read(cube("gri", light(shape=(48, 64)), **cards))
    middle = SkyCoord(l=50, b=0, unit="deg", frame="galactic").icrs
    assert (row["ra"], row["dec"]) == pytest.approx((middle.ra.deg, middle.dec.deg), abs=1e-6)


def test_a_wcs_that_cannot_be_used_is_none_and_oblong_pixels_are_refused():
    useless = [{"CD1_1": 0.0, "CD2_2": 0.0}, {"CRVAL2": 500.0}, {"CTYPE1": "RA---XXX"},
               {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 999}]  # fmt: skip
    for cards in useless:
        row = read(cube("gri", **sky_at(0, False) | cards))
        assert row["image"] == read(cube("gri"))["image"]
        assert row["pixscale_arcsec"] is None
    oblong = cube("gri", **sky_at(0, False) | {"CD2_2": 0.8 / 3600})
    assert "pixels are 0.4 x 0.8 arcsec or not at right angles" in refusal(oblong)


@pytest.mark.parametrize("hole", [np.nan, 0.0, np.inf])
def test_a_dead_column_is_filled_from_beside_it_and_never_a_dark_lane(hole):
    planes = light()
    planes["r"][:, 21] = planes["r"][:, 19]  # of two as near as each other either may be taken
    planes["r"][:, 20] = hole
    row = read(cube("gri", planes))
    assert row["missing_pixels"] == pytest.approx(1 / SIDE)
    planes["r"][:, 20] = planes["r"][:, 19]
    assert row["image"] == read(cube("gri", planes))["image"]


def test_holes_take_the_nearest_value():
    plane = np.arange(25.0).reshape(5, 5)
    holes = np.zeros((5, 5), bool)
    holes[:, 0] = holes[4, 4] = True
    filled = fill(plane, holes)
    np.testing.assert_array_equal(filled[:, 0], plane[:, 1])
    assert filled[4, 4] in (plane[3, 4], plane[4, 3])
    np.testing.assert_array_equal(filled[~holes], plane[~holes])


def test_zeros_of_whole_numbers_and_of_rounding_are_light():
    counts = np.random.default_rng(1).poisson(0.5, (3, SIDE, SIDE)).astype("i2")
    counts[:, 20:30, 20:30] += 5
    assert (counts == 0).mean() > 0.5
    whole = saved(fits.PrimaryHDU(counts, header(BANDS="gri")))
    assert read(whole)["missing_pixels"] == 0
    for blank in (0, 1):
        told = saved(fits.PrimaryHDU(counts, header(BANDS="gri", BLANK=blank)))
        share = (counts == blank).any(axis=0).mean()
        assert read(told, missing_allowed=0.99)["missing_pixels"] == pytest.approx(share)
    noise = np.random.default_rng(1).normal(0, 0.02, (3, SIDE, SIDE)).astype("f4")
    noise[0, :2, :40] = 0
    noise[1, 5:9, 5:9] = 0
    packed = fits.CompImageHDU(noise, header(BANDS="gri"), compression_type="RICE_1",
                               quantize_level=4)  # fmt: skip
    content = saved(fits.PrimaryHDU(), packed)
    with fits.open(io.BytesIO(content)) as hdus:
        assert (hdus[1].data[2] == 0).sum() > 50
    assert read(content)["missing_pixels"] == pytest.approx(16 / SIDE**2)


def test_scaled_whole_numbers_show_what_the_floats_do():
    hdu = fits.PrimaryHDU(STACK.astype("f8"), header(BANDS="gri"))
    hdu.scale("int16", bscale=1e-4, bzero=1.0)
    floats = pixels(read(cube("gri"))).astype(int)
    np.testing.assert_allclose(pixels(read(saved(hdu))).astype(int), floats, atol=2)


def test_too_many_holes_are_a_reason_and_no_picture():
    planes = light()
    planes["g"][:6] = 0
    assert refusal(cube("gri", planes)) == (
        "12% of the image is without data, most in band g; up to 5% is filled in "
        "(missing_allowed under [survey.fits])"
    )
    assert read(cube("gri", planes), missing_allowed=0.2)["missing_pixels"] == 6 / SIDE
    assert read(cube("gri", planes), no_data=[-99.0])["missing_pixels"] == 0
    planes = light()
    planes["i"][20:28, 20:28] = np.nan  # 3 % of all, 64 of the 24 x 24 px in the middle
    assert "11% of the middle quarter of the image is without data, most in band i" in refusal(
        cube("gri", planes)
    )


GOOD = cube("gri")
PACKED = saved(fits.PrimaryHDU(), fits.CompImageHDU(STACK, header(BANDS="gri")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"\xff\xd8\xff\xe0", "not FITS"),
        (GOOD[:1000], "damaged FITS: "),
        (GOOD[:-9000], "truncated: its header promises 27,648 bytes of data, and 19,800 are there"),
        (GOOD.replace(b"NAXIS1  =                   48", b"NAXIS1  =         999999999999"),
         "999999999999 x 48 px is more than 4096 px on a side"),
        (GOOD.replace(b"NAXIS1  =                   48", b"NAXIS1  =                 4000"),
         "truncated: its header promises 2,304,000 bytes"),
        (GOOD.replace(b"NAXIS3  =                    3", b"NAXIS3  =               100000"),
         "100,000 planes of 48 x 48 px are too much to read"),
        (GOOD.replace(b"BITPIX  =                  -32", b"BITPIX  = 'x                 '"),
         "damaged FITS: "),
        (GOOD.replace(b"'gri     '", b"'g\x1b[31m  '"), "damaged FITS: Unparsable card (BANDS)"),
        (PACKED.replace(b"ZNAXIS1 =                   48", b"ZNAXIS1 =              4000000"),
         "4000000 x 48 px is more than 4096 px on a side"),
        (PACKED[:-5760], "damaged FITS: "),
        (gzip.compress(GOOD)[:900], "damaged: the gzip file cannot be unpacked"),
        (gzip.compress(b"SIMPLE  =" + bytes(2**26), 1), "more than 64 MiB, too large a file"),
        (saved(fits.PrimaryHDU(np.zeros((2, 2, 3, 48, 48), "f4"))), "5 axes; an image has two"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_damaged_or_lies_is_a_reason(content, reason):
    assert refusal(content).startswith(reason)


def test_messages_hold_no_more_of_a_header_than_can_be_read():
    long = refusal(cube("gri", BAND1="x" * 60, BAND2="y" * 60, BAND3="z" * 60))
    assert len(long) < 160
    assert long.isprintable()


def each(bands=None, **cards) -> dict[str, bytes]:
    bands = light() if bands is None else bands
    return {b: saved(fits.PrimaryHDU(bands[b], header(FILTER=b, **cards))) for b in "irg"}


PER_BAND = FitsImages(file_per_band="{id}_{band}.fits", bands=["i", "r", "g"])


def test_one_file_a_band_is_the_picture_of_the_cube():
    files = each()
    row = picture_of(files, PER_BAND)
    assert row["image"] == read(cube("gri"))["image"]
    digests = [hashlib.sha256(files[band]).hexdigest() for band in "irg"]
    assert row["file_sha256"].split() == digests


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"r": cube("gri")}, "3 planes in a file that is to hold band r alone"),
        ({"r": saved(fits.PrimaryHDU(light()["g"], header(FILTER="g")))},
         "its header calls the bands g, and its file's name r"),
        ({"r": saved(fits.PrimaryHDU(light()["r"][:40]))},
         "band i is 48 x 48 px, and r is 48 x 40 px"),
        ({"g": each(**sky_at(0, False))["g"]}, "one of the bands i and g has a WCS, the other"),
    ],
)  # fmt: skip
def test_files_of_bands_that_do_not_belong_together_are_refused(changed, reason):
    with pytest.raises(UnreadableImage) as caught:
        picture_of(each() | changed, PER_BAND)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("moved", "apart"),
    [
        ({"CRPIX1": 35.5}, "3.0"),
        ({"CRVAL1": 49.999}, "7.8"),  # 3.6 arcsec cos 30° of 0.4 arcsec
        (sky_at(90, False), "53.3"),  # a quarter turn, π/2 times the 33.9 px to a corner
        (sky_at(0, True), "67.9"),  # twice as far
        (sky_at(0, False, scale=0.5), "8.5"),  # a quarter of it
    ],
)
def test_bands_that_do_not_lie_upon_each_other_are_refused(moved, apart):
    cards = sky_at(0, False) | {"CRPIX1": 24.5}
    files = each(**cards)
    files["g"] = each(**cards | moved | {"CRPIX1": moved.get("CRPIX1", 32.5) - 8})["g"]
    with pytest.raises(UnreadableImage, match=rf"bands i and g lie {apart} px apart on the sky"):
        picture_of(files, PER_BAND)


def test_bands_within_half_a_pixel_lie_upon_each_other():
    cards = sky_at(0, False)
    assert picture_of(each(**cards) | {"g": each(**cards | {"CRPIX1": 32.9})["g"]}, PER_BAND)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": ["r", "g"]}, "bands has 2 names; give red, green, blue, or one"),
        ({"bands": ["r", "g", "g"]}, "bands has g twice"),
        ({"planes": ["r", "r"]}, "planes has r twice"),
        ({"weights": {"g": -1}}, "weights: that of g has to be above 0"),
        ({"file_per_band": "{id}.fits", "bands": ["r"]}, "it needs {id} and {band} once each"),
        ({"file_per_band": "../{id}_{band}.fits", "bands": ["r"]}, "a .fits inside images"),
        ({"file_per_band": "{id}_{band}.jpg", "bands": ["r"]}, "a .fits inside images"),
        ({"file_per_band": "{id}_{band}.fits"}, 'give bands too, e.g. bands = ["i", "r", "g"]'),
        ({"stretch": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_picture_are_refused(settings, message):
    with pytest.raises(ValidationError) as caught:
        FitsImages(**settings)
    assert message in str(caught.value)
