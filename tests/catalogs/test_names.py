import re
from decimal import ROUND_DOWN, Decimal

import numpy as np
import pytest

from catalogs import CatalogError, designation


def test_vector_is_truncated_where_rounding_would_change_it():
    """The CDS conventions: 19h57m40.558s +33°38′27.96″, whose .558 s and .96″ would round up."""
    ra, dec = 15 * (19 + 57 / 60 + 40.558 / 3600), 33 + 38 / 60 + 27.96 / 3600
    assert designation("DETG", ra, dec) == "DETG J195740.55+333827.9"


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 90.0, "J000000.00+900000.0"),
        (360.0, -90.0, "J000000.00-900000.0"),
        (359.99999999, 0.0, "J235959.99+000000.0"),
        (np.nextafter(360, 0), 0.0, "J000000.00+000000.0"),
        (10.0, -0.00001, "J004000.00-000000.0"),
        (10.0, -0.0, "J004000.00+000000.0"),
        (10.0, -0.5, "J004000.00-003000.0"),
        (10.0, -89.99999999, "J004000.00-895959.9"),
        (15.1, 15.1, "J010024.00+150600.0"),  # 15.1 is stored below 15.1
    ],
)
def test_edges(ra, dec, name):
    assert designation("X", ra, dec) == f"X {name}"


def test_every_tenth_of_an_arcsecond_keeps_its_name():
    """Positions written to the last digit of the name, through float64 degrees and back."""
    rng = np.random.default_rng(0)
    d, m, s = rng.integers(0, 90, 2000), rng.integers(0, 60, 2000), rng.integers(0, 600, 2000)
    h, t = rng.integers(0, 24, 2000), rng.integers(0, 6000, 2000)
    ra, dec = 15 * (h + m / 60 + t / 360_000), -(d + m / 60 + s / 36_000)
    want = [
        f"X J{a:02d}{b:02d}{c // 100:02d}.{c % 100:02d}-{e:02d}{b:02d}{f // 10:02d}.{f % 10}"
        for a, b, c, e, f in zip(h, m, t, d, s, strict=True)
    ]
    assert designation("X", ra, dec).tolist() == want


def _by_decimals(ra, dec):
    """The name from the degrees as they are written, in exact decimal arithmetic."""
    centi = int((Decimal(ra) * 24000).to_integral_value(ROUND_DOWN)) % 8640000
    deci = int((abs(Decimal(dec)) * 36000).to_integral_value(ROUND_DOWN))
    h, m, s = centi // 360000, centi // 6000 % 60, centi % 6000
    d, dm, ds = deci // 36000, deci // 600 % 60, deci % 600
    sign = "-" if Decimal(dec) < 0 else "+"
    return (
        f"X J{h:02d}{m:02d}{s // 100:02d}.{s % 100:02d}"
        f"{sign}{d:02d}{dm:02d}{ds // 10:02d}.{ds % 10}"
    )


def test_equals_exact_decimal_arithmetic_on_six_decimals():
    rng = np.random.default_rng(1)
    ra = [f"{v:.6f}" for v in rng.uniform(0, 360, 3000)]
    dec = [f"{v:.6f}" for v in rng.uniform(-90, 90, 3000)]
    names = designation("X", np.array(ra, float), np.array(dec, float))
    assert names.tolist() == [_by_decimals(*pair) for pair in zip(ra, dec, strict=True)]


def test_unknown_position_has_no_name():
    names = designation("X", [10.0, np.nan], [np.nan, 5.0])
    assert names.tolist() == [None, None]
    assert designation("X", np.nan, np.nan) is None
    assert designation("X", [], []).shape == (0,)


@pytest.mark.parametrize(("ra", "dec"), [(-0.1, 0.0), (360.1, 0.0), (0.0, 90.1), (np.inf, 0.0)])
def test_off_the_sphere(ra, dec):
    with pytest.raises(CatalogError, match=re.escape(f"ra = {ra}, dec = {dec} deg is no position")):
        designation("X", [1.0, ra], [1.0, dec])
