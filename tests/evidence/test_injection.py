"""Painted lanes: what they are drawn from, what they are painted on, and what is counted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from discovery.cutouts import decode
from discovery.errors import BadInput
from discovery.evidence import injection
from discovery.evidence.config import InjectionConfig
from discovery.evidence.evidence_figures import surfaces
from discovery.evidence.figures import LIGHT
from discovery.morphology.paint import Host
from tests.evidence.conftest import RUN

HOST = Host(x0=1.0, y0=-2.0, angle=30.0, q=0.8, half_light=10.0, sky=0.0, noise=0.01)
CONFIG = InjectionConfig()


@pytest.fixture(scope="module")
def lanes():
    rng = np.random.default_rng(0)
    dusts = [injection.draw_lane(rng, HOST, CONFIG) for _ in range(2000)]
    row = {"width": 100, "height": 120, "crop": 1.0, "pixscale_arcsec": 0.4}
    return pd.DataFrame([injection.lane_columns(dust, HOST, row, 100) for dust in dusts])


@pytest.mark.parametrize(
    ("column", "ends"),
    [("tau_v", (0.2, 8)), ("lane_width", (0.015, 0.2)), ("radius", (0.5, 2.5))],
)
def test_lanes_are_log_uniform_between_the_ends(lanes, column, ends):
    place = np.log(lanes[column] / ends[0]) / np.log(ends[1] / ends[0])
    assert place.between(0, 1).all()
    assert np.histogram(place, 4, (0, 1))[0] == pytest.approx([500] * 4, abs=90)


def test_inclinations_are_those_of_discs_that_lie_anyhow(lanes):
    assert lanes["inclination_deg"].between(45, 90).all()
    # Half of cos i between cos 45° and 0 is beyond 69.3°.
    assert (lanes["inclination_deg"] > 69.3).mean() == pytest.approx(0.5, abs=0.04)


def test_angles_count_from_the_major_axis_and_sizes_are_on_the_sky(lanes):
    assert lanes["angle_to_major_axis_deg"].between(-90, 90).all()
    assert abs(lanes["angle_to_major_axis_deg"].mean()) < 4
    assert set(lanes["half_light_arcsec"]) == {4.0}


@pytest.mark.parametrize(
    ("row", "side", "sigma"),
    [
        # 1.3 arcsec of FWHM are 0.552 arcsec of σ.
        ({"width": 424, "height": 424, "crop": 0.35, "pixscale_arcsec": 0.2}, 148, 0.552 / 0.2),
        ({"width": 424, "height": 424, "crop": 1.0, "pixscale_arcsec": 0.2}, 192, 0.552 / 0.4417),
        # no scale is known: the noise is correlated over 2.5 px, and so is the light
        ({"width": 90, "height": 90, "crop": 1.0, "pixscale_arcsec": None}, 90, 2.5),
    ],
)
def test_the_seeing_is_that_of_the_pixels_painted_on(row, side, sigma):
    assert injection.delivered_side(row) == side
    seeing = injection.seeing_of(row, side, replace(HOST, grain=2.5), CONFIG)
    assert seeing == pytest.approx(sigma, rel=5e-3)


def test_the_seeing_of_pixels_without_a_scale_can_be_given():
    row = {"width": 90, "height": 90, "crop": 1.0, "pixscale_arcsec": None}
    assert injection.seeing_of(row, 90, HOST, InjectionConfig(seeing_px=1.7)) == 1.7


def test_bins_hold_a_fifth_each_and_every_lane_once():
    rows = pd.DataFrame({name: np.arange(100.0) for name in injection.PARAMETERS})
    rows["found"] = np.arange(100) >= 50
    bins = [b for b in injection.binned_by_all(rows) if b["parameter"] == "tau_v"]
    assert [b["painted"] for b in bins] == [20] * 5
    assert [b["found"] for b in bins] == [0, 0, 10, 20, 20]
    cells = [c for c in injection.surfaces_of(rows) if c["y"] == "radius"]
    assert sum(c["painted"] for c in cells) == 100
    assert len(cells) == 25


def test_a_parameter_with_one_value_is_one_bin():
    rows = pd.DataFrame({name: np.arange(100.0) for name in injection.PARAMETERS} | {"found": True})
    rows["tau_v"] = 2.0
    (one,) = [b for b in injection.binned_by_all(rows) if b["parameter"] == "tau_v"]
    assert (one["low"], one["high"], one["painted"]) == (2.0, 2.0, 100)
    cells = injection.surfaces_of(rows)
    assert {c["painted"] for c in cells if c["x"] == "tau_v"} == {20}
    surfaces(LIGHT, cells, injection.PARAMETERS)  # can be drawn


def test_a_parameter_that_nobody_knows_has_no_bins():
    rows = pd.DataFrame({name: [1.0, 2.0] for name in injection.PARAMETERS} | {"found": True})
    rows["r_mag"] = None
    assert not [b for b in injection.binned_by_all(rows) if b["parameter"] == "r_mag"]


def test_hosts_are_smooth_unseen_and_not_of_the_quarry(small):
    hosts = injection.choose_hosts(small.run, CONFIG)
    rows = small.run.store().table().set_index("object_id").loc[hosts["object_id"]]
    truth = pd.read_parquet(small.run.truth).set_index("object_id").loc[hosts["object_id"]]
    assert (rows["split"] == "search").all()
    assert not truth["is_quarry"].any()
    assert rows["caption"].str.contains("smooth").all()
    assert not rows["caption"].str.contains("dust lane").any()


def test_what_most_who_looked_took_for_the_quarry_is_neither_host_nor_false(small, tmp_path):
    first, second, *_ = injection.choose_hosts(small.run, CONFIG)["object_id"]
    (tmp_path / "v.csv").write_text(f"object_id,grade,grade_2\n{first},A,B\n{second},A,D\n")
    path, other = tmp_path / "v.csv", tmp_path / "other.csv"
    other.write_text(f"object_id,grade\n{first},D\n{second},C\n")
    for vetted in (
        f"[detector.vetted]\ntables = ['{path}']\nshare = 0.0\n\n",
        f"[evidence.vetted]\ntable = '{path}'\n\n",
        f"[evidence.vetted]\ntable = '{other}'\nearlier = ['{path}']\n\n",
        f"[evidence.vetted]\ntable = '{path}'\nearlier = ['{other}', '{tmp_path}/./other.csv']\n\n",
    ):
        run = small.with_text(RUN.replace("[catalogue]", vetted + "[catalogue]"))
        hosts = set(injection.choose_hosts(run, CONFIG)["object_id"])
        assert (first in hosts, second in hosts) == (False, True)
        assert injection.quarry_of(run) == injection.quarry_of(small.run) | {first}


def test_too_few_hosts_are_refused_with_what_to_give(small):
    with pytest.raises(
        BadInput, match=r"0 searched galaxies have captions with 'merger, bar'.* Give other tags"
    ):
        injection.choose_hosts(small.run, InjectionConfig(tags="merger, bar"))


def test_a_lane_dims_its_host_and_the_control_is_the_host(small, tmp_path):
    hosts = injection.choose_hosts(small.run, InjectionConfig(hosts=20)).head(6)
    config = InjectionConfig(tau_v=(6, 8), inclination=(80, 85), radius=(1.5, 2.5))
    store, failed = injection.paint_hosts(small.run, hosts, config, tmp_path)
    shards = [table.to_pandas() for _, table in store.iter_shards()]
    rows = pd.concat(shards).set_index(["host", "label"])
    images = injection._images(small.run.store(), set(hosts["object_id"]))
    assert len(rows) == 2 * (6 - failed) > 6
    for host in hosts.to_dict("records"):
        if host["object_id"] not in rows.index:
            continue
        side = injection.delivered_side(host)
        plain = decode(images[host["object_id"]], host["crop"], side).astype(int)
        lane, control = (
            decode(rows.loc[(host["object_id"], label), "image"], 1.0, side).astype(int)
            for label in (1, 0)
        )
        assert np.abs(control - plain).max() <= 2
        assert (plain - lane).max() > 20
        assert lane.sum() < plain.sum()
    assert (rows.xs(1, level="label")["contrast"] > 0).all()


def test_painting_goes_on_where_it_was_and_ends_with_the_same(small, tmp_path, monkeypatch):
    monkeypatch.setattr(injection, "PER_SHARD", 3)
    hosts, config = injection.choose_hosts(small.run, CONFIG).head(6), InjectionConfig()
    store, _ = injection.paint_hosts(small.run, hosts, config, tmp_path / "one")
    before = [shard.read_bytes() for shard in store.shards]
    store.shards[1].unlink()
    again, _ = injection.paint_hosts(small.run, hosts, config, tmp_path / "one")
    assert [shard.read_bytes() for shard in again.shards] == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tau_v": (2, 1)}, r"tau_v = \[2, 1\]; give 0 < low <= high"),
        ({"width": (0, 1)}, r"width = \[0, 1\]"),
        ({"inclination": (60, 95)}, r"inclination = \[60, 95\]; give degrees"),
    ],
)
def test_ranges_that_are_none_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        InjectionConfig(**given)
