"""The verbs on data outside of a run, as a user types them."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from click.testing import CliRunner
from PIL import Image

from discovery.cli import main
from discovery.cutouts import CutoutStore, load_pixels, write_shard
from discovery.detector.shipped import write_list
from discovery.detector.train import train_detector
from discovery.files import read_json, write_json
from discovery.generator.config import PixelConfig
from discovery.generator.train import train_generator
from tests.detector.test_field import gaussian_galaxy
from tests.detector.toy import CONFIG, discs, png, train_and_validation

RUN_FILE = Path(__file__).parent / "walk/tiny.toml"


def typed(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    config = PixelConfig(size=16, channels=(8, 16), text_width=16, steps=1, batch=2)
    out = tmp_path_factory.mktemp("g") / "generator"
    return train_generator(pixels, ["mock, smooth", "mock, dust lane"] * 2, config, out)


def dream(generator, out, *more):
    return typed(
        "synthesize", generator, "--prompt", "mock, smooth", "--count", 2, "--steps", 1,
        "--out", out, *more,
    )  # fmt: skip


def test_synthesize_takes_the_device_there_is(generator, tmp_path):
    told = dream(generator, tmp_path)
    assert told.exit_code == 0, told.output
    assert "2 synthetic cutouts" in told.output
    assert list(CutoutStore(tmp_path).table()["prompt"]) == ["mock, smooth"] * 2
    assert (tmp_path / "sheet-0.png").exists()


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(generator, tmp_path, device):
    told = dream(generator, tmp_path, "--device", device)
    assert told.exit_code == 2
    assert "auto" in told.output
    assert device in told.output


def test_synthesize_replaces_its_own_store_and_no_other_parquet(generator, tmp_path):
    foreign = tmp_path / "kept.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    told = dream(generator, tmp_path)
    assert told.exit_code == 2
    assert "did not write" in told.output
    assert "give another --out" in told.output
    assert [path.name for path in tmp_path.iterdir()] == ["kept.parquet"]
    for seed in (1, 2):
        assert dream(generator, tmp_path / "own", "--seed", seed).exit_code == 0


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    out = tmp_path_factory.mktemp("d") / "detector"
    config = CONFIG.model_copy(update={"steps": 2, "ensemble": 1})
    return train_detector(*train_and_validation(), config, out, "cpu")


def test_score_refuses_the_out_of_another_source(detector, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(png(discs(1, 0, 1)[0]))
    score = ("score", "--model", detector, "--out", tmp_path / "out", "--device", "cpu")
    assert typed(*score, tmp_path / "missing").exit_code == 2  # claims nothing
    for _ in range(2):
        told = typed(*score, tmp_path / "one")
        assert told.exit_code == 0, told.output
        assert "1 scored" in told.output
    told = typed(*score, tmp_path / "two")
    assert told.exit_code == 2
    assert f"holds the scores of {tmp_path / 'one'}; give another --out" in told.output


def scored(out):
    files = sorted((out / "scores").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {row["object_id"]: row["score"] for row in rows}


def test_a_folder_of_fits_is_scored_and_what_cannot_be_named_is_told(detector, tmp_path):
    folder = tmp_path / "fits"
    folder.mkdir()
    for name, bands in {"a": "gri", "b": "zrg", "c": "uvw"}.items():
        stack = np.moveaxis(discs(1, 0, len(folder.name))[0], -1, 0) / np.float32(100)
        hdu = fits.PrimaryHDU(stack.astype("f4"))
        hdu.header["BANDS"] = ",".join(bands)
        hdu.writeto(folder / f"{name}.fits")
    told = typed("score", folder, "--model", detector, "--out", tmp_path / "out", "--device", "cpu")
    assert told.exit_code == 0, told.output
    assert sorted(scored(tmp_path / "out")) == ["a", "b"]
    assert "its bands are u, v, w, neither i, r, g nor z, r, g" in told.output


def test_score_does_anew_what_changed_in_the_folder(detector, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name, pixels in zip("abc", discs(3, 0, 1), strict=True):
        (images / f"{name}.png").write_bytes(png(pixels))
    score = ("score", images, "--model", detector, "--out", out, "--device", "cpu")
    told = typed(*score)
    assert told.exit_code == 0, told.output
    assert "Scored was the central 100 % of each image's width" in told.output
    before = scored(out)
    assert list(before) == ["a", "b", "c"]
    (images / "a.png").write_bytes(png(discs(1, 1, 2)[0]))
    (images / "c.png").rename(images / "d.png")
    told = typed(*score)
    assert "changed since it was scored" in told.output
    after = scored(out)
    assert list(after) == ["a", "b", "d"]
    assert (after["b"], after["d"]) == (before["b"], before["c"])
    assert after["a"] != before["a"]


def test_crop_shows_the_middle_of_an_image(detector, tmp_path):
    (middle,) = discs(1, 0, 1)
    for folder, pixels in (("wide", np.pad(middle, ((16, 16), (16, 16), (0, 0)))), ("one", middle)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(png(pixels))
    score = ("score", "--model", detector, "--out", tmp_path / "out", "--device", "cpu")
    wide = (*score, tmp_path / "wide")
    typed(*wide)
    whole = scored(tmp_path / "out")["a"]
    told = typed(*wide, "--crop", 0.5)
    assert "Scored was the central 50 % of each image's width" in told.output
    typed(*score[:3], tmp_path / "one", "--out", tmp_path / "other", "--device", "cpu")
    assert scored(tmp_path / "out") == scored(tmp_path / "other")
    assert scored(tmp_path / "out")["a"] != whole
    assert typed(*wide, "--crop", 0).exit_code == 2
    store = tmp_path / "out/cutouts"
    told = typed(*score[:3], store, "--out", tmp_path / "s", "--crop", 0.5)
    assert told.exit_code == 2
    assert "is a cutout store, which says the crop itself; omit --crop" in told.output


def with_field(detector, folder, **field):
    """A copy of the detector whose card says what it learnt from."""
    model = shutil.copytree(detector, folder)
    said = {"field": {"crop": {"gz2": 0.7}, "arcsec": 24.5} | field}
    write_json(model / "detector.json", read_json(model / "detector.json") | said)
    return model


def store_of(images, folder, **columns):
    rows = [
        {"object_id": name, "image": image, "crop": 1.0} | columns for name, image in images.items()
    ]
    write_shard(rows, folder / "00000.parquet")
    return folder


def test_what_was_scored_is_said_beside_what_was_learnt_from(detector, tmp_path):
    store = store_of({"a": png(discs(1, 0, 1)[0])}, tmp_path / "store", crop=0.35)
    score = ("score", store, "--out", tmp_path / "out", "--device", "cpu", "--model")
    assert "the detector's card does not say what it learnt from" in typed(*score, detector).output
    assert (
        "Scored was the central 35 % of each image's width; the detector learnt from the central "
        "70 % of gz2, 24.5 arcsec in the median"
    ) in typed(*score, with_field(detector, tmp_path / "model")).output


def test_images_that_show_more_than_was_learnt_from_are_cropped(detector, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "=a.png").write_bytes(gaussian_galaxy(10))
    (images / "<i>b.png").write_bytes(gaussian_galaxy(11))
    (images / "broken.png").write_bytes(gaussian_galaxy(11)[:300])
    # σ = 10.5 px, half of the light within 1.1774 σ of 192 px: 0.0644 = 0.36 × 0.18
    model = with_field(detector, tmp_path / "model", half_light=0.18)
    score = ("score", images, "--model", model, "--out", out, "--device", "cpu")
    told = typed(*score)
    assert told.exit_code == 0, told.output
    assert (
        "Scored was the central 35 % of each image's width, in which the galaxies are as large as "
        "in training (--crop decides otherwise)"
    ) in told.output
    assert "WARNING" not in told.output
    assert set(CutoutStore(out / "cutouts").table()["crop"]) == {0.35}
    assert "2 scored" in told.output
    assert "1 could not be read; scores.csv has the reason of each." in told.output
    table = pd.read_csv(out / "scores.csv")
    assert list(table["rank"][:2]) == [1, 2]
    assert set(table["object_id"][:2]) == {"'=a", "<i>b"}  # no formula in a spreadsheet
    assert table["probability"][0] >= table["probability"][1]
    assert table.iloc[2]["object_id"] == "broken"
    assert table.iloc[2]["status"].startswith("unreadable: damaged")
    first = table["object_id"][0].removeprefix("'")
    assert scored(out)[first] == pytest.approx(table["score"][0])
    page = (out / "index.html").read_text()
    assert "&lt;i&gt;b" in page
    assert "<i>b" not in page
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert page.count("unreadable: damaged") == 1
    # two cells of 160 px, each with its border, and the caption below
    assert Image.open(out / "top.png").size == (2 * 164 + 4, 164 + 14 + 4)


@pytest.mark.parametrize(("sigma_px", "ratio"), [(10, 0.341), (25, None)])
def test_images_that_show_more_than_was_learnt_from_are_warned_of(
    detector, tmp_path, sigma_px, ratio
):
    store = store_of({"a": gaussian_galaxy(sigma_px)}, tmp_path / "store")
    model = with_field(detector, tmp_path / "model", half_light=0.18)
    told = typed("score", store, "--model", model, "--out", tmp_path / "out", "--device", "cpu")
    warned = re.search(
        r"WARNING: galaxies are ([\d.]+) times as large in it as in training, so scores mean "
        r"little; a crop of ([\d.]+) would",
        told.output,
    )
    assert told.exit_code == 0, told.output
    if ratio is None:
        assert "WARNING" not in told.output
    else:
        assert [float(n) for n in warned.groups()] == pytest.approx([ratio, ratio], rel=0.12)


def test_a_scoring_never_touches_what_it_did_not_write(detector, tmp_path):
    images = store_of({"a": gaussian_galaxy(20)}, tmp_path / "data/cutouts")
    score = ("score", images, "--device", "cpu", "--model", detector, "--out")
    refused = typed(*score, tmp_path / "data")
    assert refused.exit_code == 2
    assert "keep what it makes; give another --out" in refused.output
    (tmp_path / "other/scores").mkdir(parents=True)
    (tmp_path / "other/scores/mine.parquet").write_text("mine")
    refused = typed(*score, tmp_path / "other")
    assert refused.exit_code == 2
    assert "holds what `discovery score` did not write" in refused.output
    assert (tmp_path / "other/scores/mine.parquet").read_text() == "mine"
    assert list(images.glob("*.parquet"))


def test_what_taught_the_detector_is_marked(detector, tmp_path):
    def galaxy(seed, kind="PNG", **how):
        rows = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(rows).resize((96, 96), Image.Resampling.BICUBIC).save(encoded, kind, **how)
        return encoded.getvalue()

    taught = store_of({"t": galaxy(1), "v": galaxy(2)}, tmp_path / "run", split="train")
    write_shard(
        [{"object_id": "s", "image": galaxy(3), "crop": 1.0, "split": "search"}],
        taught / "00001.parquet",
    )
    model = shutil.copytree(detector, tmp_path / "model")
    listed = pd.read_parquet(write_list(CutoutStore(taught), model))
    assert list(listed["object_id"]) == ["t", "v"]
    images = {"copy": galaxy(1, "JPEG", quality=80), "same": galaxy(2), "s": galaxy(3),
              "broken": b"no image"}  # fmt: skip
    store = store_of(images, tmp_path / "store")
    score = ("score", store, "--out", tmp_path / "out", "--device", "cpu", "--model")
    of_a_run = shutil.copytree(detector, tmp_path / "of a run")  # whose list is of ids alone
    pd.DataFrame({"object_id": ["t"], "survey": ["a"], "label": [0]}).to_parquet(
        of_a_run / "trained_on.parquet"
    )
    for unlisted in (detector, of_a_run):
        assert "is not known: it came without a list of images" in typed(*score, unlisted).output
    assert pd.read_csv(tmp_path / "out/scores.csv")["in_training"].isna().all()
    told = typed(*score, model)
    assert "2 show a galaxy that taught the detector; they are marked" in told.output
    table = pd.read_csv(tmp_path / "out/scores.csv", index_col="object_id")
    assert table["in_training"].to_dict() == {"copy": True, "same": True, "s": False,
                                              "broken": False}  # fmt: skip
    assert table["rank"].dropna().to_dict() == {"s": 1}
    assert told.output.count("(in training)") == 2


def test_the_shipped_detector_scores_a_folder_and_says_how_good_it_is(tmp_path):
    store = store_of({"a": gaussian_galaxy(20), "b": gaussian_galaxy(24)}, tmp_path / "store")
    told = typed("score", store, "--out", tmp_path / "out", "--device", "cpu")
    assert told.exit_code == 0, told.output
    assert re.search(
        r"assume that [\d.]+ % of what is scored is dusty early-type galaxies", told.output
    )
    assert "How it was judged: " in told.output
    assert "None is known to have taught the detector." in told.output


def test_scores_do_not_go_into_the_folder_that_is_scored(detector, tmp_path):
    store = store_of({"a": png(discs(1, 0, 1)[0])}, tmp_path / "store")
    for out in (store, store / "scored"):
        told = typed("score", store, "--model", detector, "--out", out)
        assert told.exit_code == 2
        assert f"--out {out} lies inside {store}" in told.output
    assert [path.name for path in store.iterdir()] == ["00000.parquet"]


def test_the_detector_is_no_longer_named_first(detector, tmp_path):
    for two in ((detector, tmp_path), (tmp_path, detector)):
        told = typed("score", *two, "--out", tmp_path / "out")
        assert told.exit_code == 2
        said = " ".join(told.output.split())
        assert f"discovery score {tmp_path} --model {detector} --out DIR" in said


def test_scores_of_a_shard_that_is_gone_go_too(detector, tmp_path):
    for shard, name in enumerate("ab"):
        row = {"object_id": name, "image": png(discs(1, 0, shard)[0]), "crop": 1.0}
        write_shard([row], tmp_path / f"store/0000{shard}.parquet")
    score = ("score", tmp_path / "store", "--model", detector)
    score += ("--out", tmp_path / "out", "--device", "cpu")
    assert "2 scored" in typed(*score).output
    (tmp_path / "store/00001.parquet").unlink()
    assert "1 scored" in typed(*score).output
    assert list(scored(tmp_path / "out")) == ["a"]


@pytest.mark.parametrize(
    ("verb", "needs"), [("synthesize", "train-generator"), ("score", "ingest")]
)
def test_a_run_file_takes_the_runs_step(tmp_path, verb, needs):
    told = typed(verb, RUN_FILE, "--runs", tmp_path, "--device", "cpu")
    assert told.exit_code == 2
    assert f"needs the step '{needs}', which is not done in {tmp_path / 'tiny'}" in told.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("synthesize", RUN_FILE, "--prompt", "mock"), "--prompt does not go with"),
        (("score", RUN_FILE, "--out", "there"), "--out does not go with"),
        (("score", RUN_FILE, "--model", "model"), "--model does not go with"),
        (("score", "images", "--out", "there", "--yes"), "--yes does not go with"),
        (("score", "images"), "Missing --out"),
        (("synthesize", "shipped", "--out", "there"), "Missing --prompt"),
    ],
)
def test_the_two_uses_of_a_verb_are_not_mixed(arguments, said):
    told = typed(*arguments)
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())


@pytest.mark.parametrize("option", [("--count", 0), ("--steps", 0), ("--guidance", 0.5)])
def test_options_of_synthesize_have_limits(generator, tmp_path, option):
    told = dream(generator, tmp_path, *option)
    assert told.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in told.output


def test_two_equal_prompts_are_refused(generator, tmp_path):
    told = dream(generator, tmp_path, "--prompt", "mock, smooth")
    assert told.exit_code == 2
    assert "the prompt 'mock, smooth' is there twice" in told.output
    assert not list(tmp_path.iterdir())


def stripes(upright):
    """uint8 (16, 16, 3): four white stripes on black."""
    rows, columns = np.mgrid[:16, :16] // 2 % 2
    return (255 * (columns if upright else rows))[..., None].repeat(3, 2).astype(np.uint8)


def drawn_like(out):
    """What was drawn, less each pattern it may have started from: mean differences, 0..255."""
    store = CutoutStore(out)
    rows = store.table()
    pixels = load_pixels(store, list(rows["object_id"]), 16).astype(float)
    return rows, [np.abs(pixels - stripes(upright)).mean() for upright in (True, False)]


def nearly(reference):
    """One step of a hundred: next to nothing of the reference is lost."""
    return ("--steps", 100, "--reference", reference, "--strength", 0.01)


def test_synthesize_starts_from_a_folder_of_images(generator, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    wide = np.pad(stripes(True), ((8, 8), (8, 8), (0, 0)))
    (images / "a.png").write_bytes(png(wide))
    told = dream(generator, out, *nearly(images), "--crop", 0.5)
    assert told.exit_code == 0, told.output
    rows, (upright, lying) = drawn_like(out)
    assert list(rows["reference"]) == ["a", "a"]
    assert list(rows["strength"]) == [0.01, 0.01]
    assert upright < 40 < 100 < lying
    (images / "a.png").write_bytes(png(wide.transpose(1, 0, 2)))
    assert dream(generator, out, *nearly(images), "--crop", 0.5).exit_code == 0
    _, (upright, lying) = drawn_like(out)
    assert lying < 40 < 100 < upright


def test_synthesize_starts_from_any_cutout_of_a_store(generator, tmp_path):
    """Of a run it starts from captioned training cutouts alone; this one is none."""
    row = {"object_id": "b", "image": png(stripes(False)), "crop": 1.0, "split": "search"}
    write_shard([row], tmp_path / "store/00000.parquet")
    told = dream(generator, tmp_path / "out", *nearly(tmp_path / "store"))
    assert told.exit_code == 0, told.output
    rows, (upright, lying) = drawn_like(tmp_path / "out")
    assert list(rows["reference"]) == ["b", "b"]
    assert lying < 40 < 100 < upright
    told = dream(generator, tmp_path / "c", *nearly(tmp_path / "store"), "--crop", 0.5)
    assert told.exit_code == 2
    assert "is a cutout store, which says the crop itself; omit --crop" in told.output


def test_a_cutout_says_how_it_was_asked_for(generator, tmp_path):
    asked = ("--negative", "dust lane", "--guidance-rescale", 0.7, "--sampler", "euler",
             "--outline", "smooth", "--outline-above", 0.9)  # fmt: skip
    told = dream(generator, tmp_path, *asked)
    assert told.exit_code == 0, told.output
    row = CutoutStore(tmp_path).table().iloc[0]
    assert (row["negative"], row["guidance_rescale"], row["sampler"]) == ("dust lane", 0.7, "euler")
    assert (row["outline"], row["outline_above"]) == ("smooth", 0.9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--negative", "bananas"), "bananas"),
        (("--negative", "{smooth"), "is never closed"),
        (("--negative", "smooth", "--guidance", 1), "--guidance 1 does not lead"),
        (("--guidance-rescale", 0.5, "--guidance", 1), "--guidance 1 does not lead"),
        (("--guidance-rescale", 2), "Invalid value for '--guidance-rescale'"),
        (
            ("--sampler", "ddim"),
            "a flow. Set sampler = 'dpm', 'dpm-sde' or 'euler'",
        ),
        (("--outline", "bananas", "--outline-above", 0.9), "bananas"),
        (("--outline", "smooth"), "say how long: --outline-above 0.98"),
        (("--outline-above", 0.9, "--guidance", 1), "--guidance 1 is none; give --outline too"),
        (("--sampler", "heun"), "Invalid value for '--sampler'"),
        (("--strength", 0.6), "--strength and --crop are of a reference; give --reference FOLDER"),
        (("--crop", 0.5), "--strength and --crop are of a reference; give --reference FOLDER"),
        (("--reference", "empty", "--strength", 0), "Invalid value for '--strength'"),
        (("--reference", "empty"), "there is no image in empty"),
        (("--reference", "missing"), "missing is not a folder; name a cutout store or a folder"),
    ],
)
def test_what_synthesize_cannot_use_is_refused(generator, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    told = dream(generator, "out", *options)
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())
    assert not Path("out").exists()


def test_an_error_of_the_disk_is_told_in_a_line(generator, tmp_path):
    (tmp_path / "file").write_text("")
    told = dream(generator, tmp_path / "file" / "out")
    assert told.exit_code == 2
    assert "Not a directory" in told.output
    assert "finished work is kept" in told.output
