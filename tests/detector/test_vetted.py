import numpy as np
import pandas as pd
import pytest

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector.checkpoint import load_detector
from discovery.detector.config import DetectorConfig, VettedLabelsConfig
from discovery.detector.examples import DREAMT, PAINTED, REAL, VETTED, join
from discovery.detector.fit import batch_plan, draw_batch, with_a_share
from discovery.detector.train import run
from discovery.detector.vetted import (
    IN_DOUBT,
    IS,
    IS_NOT,
    fingerprint,
    mostly_called_so,
    read_verdicts,
    require_some,
    verdicts_on,
)
from discovery.errors import BadInput
from tests.detector.toy import CONFIG, discs, examples, png


def table(folder, *texts):
    paths = [folder / f"vetted-{n}.csv" for n, _ in enumerate(texts)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return VettedLabelsConfig(tables=paths)


def test_passes_that_agree_are_believed(tmp_path):
    said = table(tmp_path, "object_id,grade,grade_2\n1,A,B\n2,B,C\n3,D,X\n4,C,A\n5, B,\n6,D,\n")
    assert read_verdicts(said).to_dict() == {
        "1": IS, "2": IN_DOUBT, "3": IS_NOT, "4": IN_DOUBT, "5": IS, "6": IS_NOT,
    }  # fmt: skip


def test_several_looks_have_to_agree_as_passes_do(tmp_path):
    said = table(
        tmp_path,
        "object_id,grade,grade_2\n1,A,A\n2,B,A\n3,D,X\n4,C,C\n",
        "object_id,grade\n2,C\n3,C\n4,A\n5,B\n1,B\n",
    )
    assert read_verdicts(said).to_dict() == {
        "1": IS, "2": IN_DOUBT, "3": IS_NOT, "4": IN_DOUBT, "5": IS,
    }  # fmt: skip


def test_what_was_said_of_one_cutout_holds_for_its_galaxy():
    said = pd.Series({"1": IS, "2": IS_NOT, "3": IS})
    rows = pd.DataFrame(
        {"object_id": list("123456"), "galaxy": ["g", "h", "h", "g", None, None]},
        index=[5, 4, 3, 2, 1, 0],
    )
    verdict = verdicts_on(rows, said)
    assert verdict[:4].tolist() == [IS, IN_DOUBT, IN_DOUBT, IS]
    assert verdict[4:].isna().all()


def test_most_of_the_passes_over_a_galaxy_decide_what_is_held_against_nothing(tmp_path):
    said = table(
        tmp_path,
        "object_id,grade,grade_2\n1,A,C\n2,A,B\n3,A,\n4,D,A\n9,A,A\n",
        "object_id,grade\n1,B\n2,C\n3,D\n5,A\n",
    )
    looks = [(path, said, "detector.vetted") for path in said.tables]
    rows = pd.DataFrame({"object_id": list("123456"), "galaxy": [None, None, None, "g", "g", "g"]})
    # 1, 2 by two of three passes, 3 by one of two; of galaxy g two of three, 6 was not looked at
    assert mostly_called_so(rows, looks) == {"1", "2", "4", "5", "6"}
    assert mostly_called_so(rows, []) == set()


def test_without_a_table_nobody_has_looked():
    assert read_verdicts(VettedLabelsConfig()).empty


def test_what_the_table_says_is_told_apart_from_where_it_lies_and_what_else_it_holds(tmp_path):
    (tmp_path / "other").mkdir()
    one = table(tmp_path, "object_id,grade\n1,A\n2,D\n")
    same = table(tmp_path / "other", "rank,object_id,grade\n7,2,X\n1,1,B\n")
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(table(tmp_path / "other", "object_id,grade\n1,A\n2,A\n")) != fingerprint(one)
    assert fingerprint(VettedLabelsConfig()) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,grade\n1,A\n", "lacks object_id; it has name, grade"),
        ("object_id,grade\n1,A\n1,B\n", "1 stands in .* twice; a second pass is a column, grade_2"),
        ("object_id,grade\n1, \n", "1 has no grade"),
        ("object_id,grade\n1,A\n2,a\n", "grade of 2 is 'a' in .*valid: A, B, C, D, X"),
        ("object_id,grade,grade_2\n1,A,?\n", r"grade_2 of 1 is '\?' in "),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_verdicts(table(tmp_path, text))


def test_a_table_that_is_not_there_or_of_other_galaxies_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"no table .*gone\.csv"):
        read_verdicts(VettedLabelsConfig(tables=[tmp_path / "gone.csv"]))
    both = table(tmp_path, "object_id,grade\ng1,A\n", "object_id,grade\nJ7,A\n")
    with pytest.raises(
        BadInput, match=r"none of the 1 objects of .*vetted-1\.csv .*'g1' and not like 'J7'"
    ):
        require_some(both, ["g1"])
    require_some(both, ["g1", "J7"])


def test_shares_leave_room_for_what_people_found():
    vetted = {"tables": ["v.csv"], "share": 0.3}
    with pytest.raises(ValueError, match=r"vetted\.share is 1\.3 and may be 1"):
        DetectorConfig(synthetic_share=0, painted={"count": 9, "share": 1.0}, vetted=vetted)
    DetectorConfig(synthetic_share=0, painted={"count": 9, "share": 0.7}, vetted=vetted)


def test_their_share_stays_and_they_are_beyond_doubt():
    train = join(examples(40, 0, REAL, 1), examples(8, 1, PAINTED, 2))
    train = join(train, join(examples(3, 1, VETTED, 3), examples(5, 0, VETTED, 4)))
    painted = CONFIG.painted.model_copy(update={"count": 8, "share": 0.75})
    vetted = VettedLabelsConfig(tables=["v.csv"], share=0.25, negative_share=0.25)
    shares = {"positive_fraction": 0.5, "synthetic_share": 0.0}
    config = CONFIG.model_copy(update=shares | {"painted": painted, "vetted": vetted})
    for step in (0, config.steps - 1):
        plan = batch_plan(train, config, step)
        drawn = {(train.source[rows[0]], label): count for rows, count, label in plan}
        assert drawn == {(PAINTED, 1): 12, (VETTED, 1): 4, (REAL, 0): 12, (VETTED, 0): 4}
    _, _, unlisted, _ = draw_batch(train, plan, config, (1, 0, 0))
    assert unlisted.sum() == 12  # the real ones that nobody has looked at


def test_what_has_no_share_neither_teaches_nor_calibrates():
    several = join(examples(4, 0, REAL, 1), examples(3, 1, VETTED, 3))
    several = join(several, join(examples(5, 0, VETTED, 4), examples(2, 1, DREAMT, 4)))
    vetted = VettedLabelsConfig(tables=["v.csv"], negative_share=0)
    asked = {"synthetic_share": 0.0, "vetted": vetted}
    left = with_a_share(several, CONFIG.model_copy(update=asked))
    assert list(zip(left.source, left.labels, strict=True)) == [(REAL, 0)] * 4 + [(VETTED, 1)] * 3
    assert left.tags["bar"].tolist()[:4] == [0] * 4
    np.testing.assert_array_equal(left.pixels[4:], several.pixels[4:7])


def test_what_people_said_teaches_and_does_not_calibrate(tmp_path):
    rows = [
        {"object_id": f"{split}-{label}-{i}", "image": png(p), "crop": 1.0, "split": split,
         "caption": "mine, smooth", "survey": "mine"}
        for split, seed in (("train", 1), ("validation", 2))
        for label, count in ((0, 40), (1, 4))
        for i, p in enumerate(discs(count, label, seed))
    ]  # fmt: skip
    write_shard(rows, tmp_path / "cutouts" / "00000.parquet")
    said = [(r["object_id"], "A" if "-1-" in r["object_id"] else "D") for r in rows]
    looked_at = [one for one in said if one[1] == "A" or one[0].endswith("-7")]
    lines = "".join(f"{name},{grade},{grade}\n" for name, grade in looked_at)
    doubtful = "validation-0-3,A,D\n"  # stays: of the sky, and nobody knows
    vetted = table(tmp_path, "object_id,grade,grade_2\n" + lines + doubtful)
    dreamt = [
        {"object_id": f"s{i}", "image": png(p), "crop": 1.0, "split": "train", "label": 1}
        for i, p in enumerate(discs(16, 1, 4))
    ]
    write_shard(dreamt, tmp_path / "synthetic" / "00000.parquet")
    config = CONFIG.model_copy(update={"vetted": vetted, "steps": 20})
    none = pd.DataFrame({"object_id": [], "in_training": []})
    store, synthetic = CutoutStore(tmp_path / "cutouts"), CutoutStore(tmp_path / "synthetic")
    out = run(store, synthetic, none, config, tmp_path / "d", tmp_path, "cpu")
    card = load_detector(out, "cpu").card
    told = card["trained"]
    assert (told["vetted_positives"], told["vetted_negatives"]) == (4, 1)
    assert (told["real_positives"], told["real_negatives"]) == (0, 39)
    told = card["validation"]
    # the four that people took for the quarry are left out
    assert (told["cutouts"], told["positives"], told["synthetic_positives"]) == (40, 0, 2)
    assert str(tmp_path) not in (out / "detector.json").read_text()
    listed = pd.read_parquet(out / "trained_on.parquet").set_index("object_id")
    assert listed.loc["train-1-0", ["label", "source"]].tolist() == [1, VETTED]
    shares = {"share": 0.0, "negative_share": 0.0}
    asked = config.model_copy(update={"vetted": vetted.model_copy(update=shares)})
    held_out = run(store, synthetic, none, asked, tmp_path / "e", tmp_path, "cpu")
    told = load_detector(held_out, "cpu").card["trained"]
    assert (told["vetted_positives"], told["vetted_negatives"], told["real_negatives"]) == (
        0,
        0,
        39,
    )
    assert set(pd.read_parquet(held_out / "trained_on.parquet")["source"]) == {REAL}
