import numpy as np
import pytest

from discovery.errors import BadInput
from discovery.morphology import paint
from discovery.morphology.lanes import KINDS, check_kinds, draw_lane
from tests.morphology.pictures import light_of, picture

HOST = paint.Host(1.0, 2.0, 40.0, 0.7, 8.0, 0.0, 0.01)


def drawn(kind, count=300):
    rng = np.random.default_rng(1)
    return [KINDS[kind](rng, HOST) for _ in range(count)]


def off_axis(dusts):
    """Degrees between each disc and the major axis of its host, 0 to 90."""
    return np.abs((np.array([d.angle for d in dusts]) - HOST.angle + 90) % 180 - 90)


@pytest.mark.parametrize(
    ("kind", "tau", "radii", "inclination"),
    [("settled", (0.4, 3.5), (0.9, 3.0), (66, 86)), ("polar", (0.4, 3.5), (0.5, 1.6), (66, 89)),
     ("lens", (0.4, 1.6), (0.8, 2.5), (80, 90)), ("ring", (0.4, 2.5), (0.7, 2.0), (40, 75)),
     ("patches", (0.8, 4.0), (0.4, 1.2), (45, 85))],
)  # fmt: skip
def test_draws_fill_the_ranges_of_their_kind_and_do_not_leave_them(kind, tau, radii, inclination):
    dusts = drawn(kind)
    for values, (low, high) in (
        ([d.tau_v for d in dusts], tau),
        ([d.r_out / HOST.half_light for d in dusts], radii),
        ([d.inclination for d in dusts], inclination),
    ):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    assert all(0 <= d.r_in < d.r_out for d in dusts)


def test_kinds_lie_as_they_are_called():
    assert np.median(off_axis(drawn("settled"))) < 7
    assert np.median(off_axis(drawn("lens"))) < 4
    assert np.median(off_axis(drawn("polar"))) > 80
    assert min(d.r_in / d.r_out for d in drawn("ring")) >= 0.55
    offsets = [np.hypot(d.x0 - HOST.x0, d.y0 - HOST.y0) for d in drawn("patches")]
    assert np.median(offsets) > 0.25 * HOST.half_light


def test_a_lens_is_fainter_than_a_settled_disc():
    """Red light left in its darkest px, against that of a settled disc."""
    pixels = picture(q=0.6, angle=40.0, x0=0.0, y0=0.0)
    host = paint.measure_host(pixels)
    rng = np.random.default_rng(3)

    def darkest(kind):
        painted = [paint.paint(pixels, KINDS[kind](rng, host), host, 1.2) for _ in range(30)]
        left = [light_of(p)[0, 26:38, 26:38] / light_of(pixels)[0, 26:38, 26:38] for p in painted]
        return np.median([share.min() for share in left])

    assert darkest("lens") > darkest("settled") + 0.1


def test_kinds_are_drawn_by_their_weight():
    rng = np.random.default_rng(1)
    dusts = [draw_lane(rng, HOST, {"polar": 3.0, "settled": 1.0, "ring": 0.0}) for _ in range(400)]
    assert np.mean(off_axis(dusts) > 45) == pytest.approx(0.75, abs=0.07)


def test_a_kind_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(BadInput, match=r"no kind of lane 'spiral'; the kinds are any, settled"):
        check_kinds({"spiral": 1.0})
    with pytest.raises(BadInput, match=r"one at least must be above 0, for example \{ any"):
        check_kinds({"lens": 0.0})
    with pytest.raises(BadInput, match="must not be negative"):
        check_kinds({"lens": -1.0, "ring": 3.0})
    with pytest.raises(BadInput, match="or infinite"):
        check_kinds({"lens": np.inf})
