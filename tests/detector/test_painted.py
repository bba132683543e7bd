"""Painted examples: what is painted on what, and that no brush is left to be learnt by."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import discovery
from discovery.detector import kept
from discovery.detector import painted as painting
from discovery.detector.config import ArtefactConfig, DetectorConfig, PaintedConfig
from discovery.detector.examples import ARTEFACT, DREAMT, PAINTED, REAL, Examples, join
from discovery.detector.fit import batch_plan
from discovery.errors import BadInput
from discovery.morphology.paint import measure_host
from tests.detector.toy import CONFIG, examples
from tests.morphology.pictures import picture

COUNT = 16


def painted_examples(real, asked, folder=None):
    """Painted anew, unless a folder is given."""
    with tempfile.TemporaryDirectory() as anew:
        return painting.painted_examples(real, asked, Path(folder or anew))


def artefact_examples(real, asked):
    with tempfile.TemporaryDirectory() as anew:
        return painting.artefact_examples(real, asked, Path(anew))


def galaxies(count=18, seed=1):
    """Real negatives: every third no early type, the others of rising redness."""
    rng = np.random.default_rng(seed)
    pixels = np.stack([
        picture(q=rng.uniform(0.5, 0.9), angle=rng.uniform(0, 180), noise=0.01, seed=i,
                red=1 + i / count)
        for i in range(count)
    ])  # fmt: skip
    tags = pd.DataFrame({"smooth": (np.arange(count) % 3 > 0).astype(np.float32)})
    labels, source = np.zeros(count, np.int8), np.full(count, REAL)
    return Examples(pixels, labels, source, tags, np.ones(count, bool))


def config(**painted):
    asked = PaintedConfig(**{"count": COUNT, "contrast": 4.0, "reddest": 0.5, **painted})
    return DetectorConfig(network="test_resnet", size=64, painted=asked)


@pytest.fixture(scope="module")
def painted():
    return painted_examples(galaxies(), config())


def host_of(image, hosts):
    """The number of the host whose outskirts, where no dust is, an image shares."""
    border = np.s_[:, [0, 1, 2, -3, -2, -1]]
    apart = [np.abs(image[border].astype(int) - h[border]).mean() for h in hosts]
    return int(np.argmin(apart))


def test_positives_and_as_many_controls_through_the_same_brush(painted):
    train, held_out = painted
    assert set(train.source) == set(held_out.source) == {PAINTED}
    assert (train.labels == 1).sum() == (train.labels == 0).sum() == COUNT
    assert held_out.labels.tolist() == [1] * (COUNT // 8)
    assert not train.sampled.any()
    assert train.tags.shape[1] == 0


def test_hosts_are_the_redder_half_of_what_the_tag_allows(painted):
    train, held_out = painted
    real = galaxies()
    allowed = set(range(0, 18, 1)) - set(range(0, 18, 3))
    reddest = sorted(allowed, key=lambda i: measure_host(real.pixels[i]).colour)[-6:]
    used = {host_of(image, real.pixels) for image in (*train.pixels, *held_out.pixels)}
    assert used <= set(reddest)
    assert len(used) > 3


def test_without_a_caption_hosts_are_the_calmer_half():
    real = galaxies()
    lopsided, captioned = range(0, 18, 2), range(6)
    for row in lopsided:
        real.pixels[row, 20:30, 34:44] //= 2
    real.tags.loc[6:] = np.nan
    train, held_out = painted_examples(real, config(uncaptioned=0.5, reddest=1.0))
    used = {host_of(image, real.pixels) for image in (*train.pixels, *held_out.pixels)}
    assert used & set(captioned) <= {1, 2, 4, 5}  # called smooth, lopsided or not
    assert used - set(captioned) <= set(range(7, 18, 2))
    assert used - set(captioned)
    assert used & set(captioned)


def test_what_was_held_out_is_on_galaxies_that_taught_nothing(painted):
    train, held_out = painted
    real = galaxies().pixels
    taught = {host_of(image, real) for image in train.pixels}
    assert not taught & {host_of(image, real) for image in held_out.pixels}


def test_a_control_is_the_galaxy_of_its_positive(painted):
    train, _ = painted
    real = galaxies().pixels
    lanes, controls = train.pixels[:COUNT], train.pixels[COUNT:]
    same = [host_of(a, real) == host_of(b, real) for a, b in zip(lanes, controls, strict=True)]
    # a screen or a lane beside the galaxy may change the outskirts it is told by
    assert sum(same) >= COUNT - 2
    clear, _ = painted_examples(galaxies(), config(controls={"clear": 1.0}))
    for lane, control in zip(clear.pixels[:COUNT], clear.pixels[COUNT:], strict=True):
        row = host_of(lane, real)
        assert np.abs(control.astype(int) - real[row]).max() <= 2  # the stretch there and back
        assert np.abs(lane.astype(int) - control).max() > 10


@pytest.mark.parametrize("wrong", [{"sky": 1.0}, {"clear": -1.0}, {"clear": 0.0}, {}])
def test_controls_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(ValidationError, match="control"):
        PaintedConfig(controls=wrong)


def test_a_lane_is_to_be_seen_and_a_control_has_none(painted):
    """The dimming in blue light, less that of the ring it lies in: by hand, not by contrast."""
    train, _ = painted
    real = galaxies().pixels

    def unevenness(image):
        plain = real[host_of(image, real)].astype(float)[..., 2]
        lost = (plain - image[..., 2])[16:48, 16:48]
        return np.abs(lost - np.rot90(lost, 2)).max()

    lanes = [unevenness(image) for image in train.pixels[:COUNT]]
    controls = [unevenness(image) for image in train.pixels[COUNT:]]
    assert np.median(lanes) > 3 * np.median(controls)


def test_the_same_seed_paints_the_same(painted):
    again, other = (
        painted_examples(galaxies(), config().model_copy(update={"seed": seed}))[0]
        for seed in (1, 2)
    )
    np.testing.assert_array_equal(painted[0].pixels, again.pixels)
    assert other.digest() != again.digest() == painted[0].digest()


def test_what_is_painted_is_kept_for_the_next_training(painted, tmp_path, monkeypatch):
    painted_examples(galaxies(), config(), tmp_path)
    folder = next(tmp_path.glob("lanes-*"))
    assert [path.name for path in folder.iterdir()] == ["00000.npz"]
    # shares say how often a lane is shown; and nobody can paint any more
    monkeypatch.setattr(painting.paint, "paint", None)
    again = painted_examples(galaxies(), config(share=0.4, control_share=0.0), tmp_path)
    for one, other in zip(painted, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.source.tolist() == other.source.tolist()


def test_a_kept_file_that_is_not_whole_is_painted_again(painted, tmp_path):
    painted_examples(galaxies(), config(), tmp_path)
    file = next(tmp_path.glob("lanes-*/00000.npz"))
    file.write_bytes(file.read_bytes()[:100])
    again = painted_examples(galaxies(), config(), tmp_path)
    np.testing.assert_array_equal(painted[0].pixels, again[0].pixels)


@pytest.mark.parametrize(
    "other",
    [{"painted": {"contrast": 4.5}}, {"seed": 2}, {"artefacts": {"count": 3}}, {"size": 63}],
)
def test_other_settings_are_other_lanes(other):
    plain = DetectorConfig(size=64, painted={"count": COUNT})
    changed = DetectorConfig.model_validate(plain.model_dump() | other)
    changed, plain = (
        painting._digest(galaxies(3), c, painting._lanes_by(c)) for c in (changed, plain)
    )
    assert changed != plain


def test_other_hosts_and_another_version_are_other_lanes(monkeypatch):
    asked = config()

    def name(real):
        return painting._digest(real, asked, painting._lanes_by(asked))

    first = name(galaxies(3))
    renamed = galaxies(3)
    renamed.tags.columns = ["spiral galaxy"]
    assert name(renamed) != first
    assert name(galaxies(3)) == first != name(galaxies(4))
    monkeypatch.setattr(discovery, "__version__", "99.0")
    assert name(galaxies(3)) != first


def test_painting_that_was_killed_goes_on_with_the_next_part(painted, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "PER_PART", 5)
    monkeypatch.setattr(kept, "cores", lambda: 1)
    painted_examples(galaxies(), config(), tmp_path)
    parts = sorted(next(tmp_path.glob("lanes-*")).glob("*.npz"))
    assert len(parts) == 4  # of 18 numbers, two of them held out
    before = {path: path.read_bytes() for path in parts}
    changed = parts[1].stat().st_mtime_ns
    parts[2].unlink()
    (parts[0].parent / ".00002.npz.1.part").write_bytes(b"half")
    again = painted_examples(galaxies(), config(), tmp_path)
    assert {path: path.read_bytes() for path in parts} == before
    assert parts[1].stat().st_mtime_ns == changed
    np.testing.assert_array_equal(again[0].pixels, painted[0].pixels)
    np.testing.assert_array_equal(again[1].pixels, painted[1].pixels)


def test_several_processes_paint_the_same(painted, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "PER_PART", 9)
    monkeypatch.setattr(kept, "cores", lambda: 2)
    train, held_out = painted_examples(galaxies(), config(), tmp_path)
    np.testing.assert_array_equal(train.pixels, painted[0].pixels)
    np.testing.assert_array_equal(held_out.pixels, painted[1].pixels)
    assert not list(tmp_path.rglob(".pixels*"))


def test_count_zero_paints_nothing():
    assert len(painted_examples(galaxies(3), config(count=0))[0].labels) == 0
    assert len(artefact_examples(galaxies(3), config()).labels) == 0


def test_a_host_that_no_caption_names_is_refused():
    said = r"painted.hosts names 'elliptical', which fewer than 20 captions .*; the tags are smooth"
    with pytest.raises(BadInput, match=said):
        painted_examples(galaxies(6), config(hosts="elliptical"))


def test_lanes_that_nobody_would_see_are_not_painted():
    said = r"of 2 training negatives called 'smooth' none could be painted with a lane of contrast"
    with pytest.raises(BadInput, match=said):
        painted_examples(galaxies(6), config(contrast=1e6, count=1))


def test_an_artefact_lies_on_some_of_the_positives():
    with_none, with_all = (
        config().model_copy(update={"artefacts": ArtefactConfig(count=2, positive_share=share)})
        for share in (0.0, 1.0)
    )
    plain, spoilt = (
        painted_examples(galaxies(), c)[0].pixels[:COUNT] for c in (with_none, with_all)
    )
    changed = (plain != spoilt).any(axis=(1, 2, 3))
    assert changed.mean() > 0.8


def test_artefacts_are_real_negatives_spoilt():
    asked = config().model_copy(update={"artefacts": ArtefactConfig(count=9, kinds={"gap": 1.0})})
    real = galaxies()
    spoilt = artefact_examples(real, asked)
    assert set(spoilt.source) == {ARTEFACT}
    assert spoilt.labels.tolist() == [0] * 9
    lost = [
        (real.pixels[host_of(image, real.pixels)].astype(int) - image).max()
        for image in spoilt.pixels
    ]
    assert min(lost) > 20


def test_batches_hold_painted_ones_controls_and_artefacts():
    train = join(examples(50, 0, REAL, 1), examples(5, 1, REAL, 2))
    for label in (0, 1):
        train = join(train, join(examples(6, label, DREAMT, 3), examples(6, label, PAINTED, 4)))
    train = join(train, examples(4, 0, ARTEFACT, 5))
    asked = CONFIG.model_copy(
        update={"batch": 100, "positive_fraction": 0.4, "synthetic_share": 0.5, "steps": 10,
                "synthetic_negative_share": 0.25, "synthetic_until": 0.8,
                "painted": PaintedConfig(share=0.25, control_share=0.1),
                "artefacts": ArtefactConfig(share=0.2)}
    )  # fmt: skip

    def counts(step, train=train):
        plan = batch_plan(train, asked, step)
        assert sum(count for _, count, _ in plan) == 100
        return {(train.source[rows[0]], label): count for rows, count, label in plan}

    assert counts(0) == {
        (REAL, 1): 10, (DREAMT, 1): 20, (PAINTED, 1): 10,
        (REAL, 0): 27, (DREAMT, 0): 15, (PAINTED, 0): 6, (ARTEFACT, 0): 12,
    }  # fmt: skip
    # real ones have the last word; a gap of the CCD stays a gap
    assert counts(8) == {(REAL, 1): 40, (REAL, 0): 48, (ARTEFACT, 0): 12}
    made_only = join(
        examples(50, 0, REAL, 1), join(examples(6, 1, DREAMT, 3), examples(6, 1, PAINTED, 4))
    )
    assert counts(9, made_only) == {(DREAMT, 1): 27, (PAINTED, 1): 13, (REAL, 0): 60}


def test_rounding_never_takes_more_than_there_is():
    train = join(examples(9, 0, REAL, 1), examples(2, 1, REAL, 2))
    train = join(train, join(examples(2, 1, DREAMT, 3), examples(2, 1, PAINTED, 4)))
    asked = CONFIG.model_copy(
        update={"batch": 70, "positive_fraction": 0.1, "synthetic_share": 0.5,
                "painted": PaintedConfig(share=0.5)}
    )  # fmt: skip
    plan = batch_plan(train, asked, 0)
    assert [count for _, count, _ in plan if count < 0] == []
    assert sum(count for _, count, label in plan if label) == 7


def test_shares_that_leave_no_room_are_refused():
    with pytest.raises(ValidationError, match=r"painted.share \+ vetted.share is 1.1"):
        DetectorConfig(synthetic_share=0.6, painted={"count": 1, "share": 0.5})
    with pytest.raises(ValidationError, match=r"vetted.negative_share is 1 and has to be below 1"):
        DetectorConfig(synthetic_negative_share=0.5, artefacts={"count": 1, "share": 0.5})
    # what is not painted takes no room
    assert DetectorConfig(synthetic_share=1.0).painted.count == 0


@pytest.mark.parametrize(("section", "known"), [("painted", "settled"), ("artefacts", "gap")])
def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(section, known):
    with pytest.raises(ValidationError, match=rf"'spiral'.* {known}"):
        DetectorConfig(**{section: {"kinds": {"spiral": 1.0}}})
    with pytest.raises(ValidationError, match=r"must not be negative.*for example \{ "):
        DetectorConfig(**{section: {"kinds": {known: 0.0}}})
