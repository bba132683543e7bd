"""After vetting: against hand calculation, simulated surveys and other people's software."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import cohen_kappa_score

from discovery.errors import BadInput
from discovery.evidence import vetted
from discovery.evidence.config import VettedConfig
from discovery.evidence.vetted import Cell, chapman, completeness, kappa, purity, read_vetted


def test_horvitz_thompson_by_hand():
    # 30 of 100 in the top 300, all looked at in thirds; 2 of 50 among 5,000 below.
    above, below = [Cell(30, 100, 300)], [Cell(2, 50, 5000)]
    assert vetted.total(above) == 90
    assert vetted.total(below) == 200
    assert purity(above).value == pytest.approx(0.3)
    assert completeness(above, below).value == pytest.approx(90 / 290)


def test_what_was_looked_at_whole_is_certain():
    measured = purity([Cell(6, 9, 9)])
    assert (measured.low, measured.value, measured.high) == pytest.approx((2 / 3,) * 3)


def test_no_true_one_below_the_cut_leaves_room_for_many():
    measured = completeness([Cell(20, 30, 30)], [Cell(0, 100, 9970)])
    assert measured.value == measured.high == 1.0
    # Half a true one in 101 of 9,970: as many as 200 may be missed.
    assert 0.02 < measured.low < 0.25


def test_intervals_hold_the_truth_as_often_as_promised():
    rng, held = np.random.default_rng(5), np.zeros(2)
    for trial in range(150):
        above, below = rng.random(200) < 0.4, rng.random(3000) < 0.02
        cells = [
            Cell(int(rng.choice(part, n, replace=False).sum()), n, len(part))
            for part, n in ((above, 60), (below, 200))
        ]
        for i, (measured, truth) in enumerate((
            (purity(cells[:1], trial), above.mean()),
            (completeness(cells[:1], cells[1:], trial), above.sum() / (above.sum() + below.sum())),
        )):  # fmt: skip
            held[i] += measured.low <= truth <= measured.high
    assert (held / 150 > 0.89).all(), held / 150


def test_kappa_is_scikit_learns():
    rng = np.random.default_rng(0)
    one = rng.choice(list("ABCX"), 300)
    two = np.where(rng.random(300) < 0.7, one, rng.choice(list("ABC"), 300))
    assert kappa(one, two).value == pytest.approx(cohen_kappa_score(one, two))


def test_the_variance_of_kappa_is_that_of_the_delta_method():
    table = np.array([[44, 5, 1], [7, 20, 3], [9, 5, 6]], float)
    one, two = (np.repeat(x.ravel(), table.astype(int).ravel()) for x in np.indices((3, 3)))
    measured = kappa(one, two)

    def value(shares):
        chance = shares.sum(1) @ shares.sum(0)
        return (np.trace(shares) - chance) / (1 - chance)

    shares, step = table / table.sum(), 1e-6
    slopes = np.array([
        (value(shares + step * at) - value(shares - step * at)) / (2 * step)
        for at in np.eye(9).reshape(9, 3, 3)
    ])  # fmt: skip
    p = shares.ravel()
    sigma = np.sqrt(slopes @ (np.diag(p) - np.outer(p, p)) @ slopes / table.sum())
    assert (measured.high - measured.low) / 2 == pytest.approx(1.959964 * sigma, rel=1e-4)


def test_kappa_of_one_grade_is_not_defined():
    assert kappa("AAA", "AAA").value is None
    assert kappa("AABB", "AABB").value == 1


def test_chapman_by_hand():
    # 200 marked, 150 caught, 50 of them marked: 201 × 151 / 51 − 1.
    measured = chapman(200, 150, 50)
    assert measured.value == pytest.approx(594.1, abs=0.05)
    assert measured.low < 594 < measured.high
    assert measured.low > 300  # as many were seen


def test_chapman_is_unbiased_and_its_interval_holds_where_finders_are_independent():
    both = hypergeom(400, 120, 90).rvs(400, random_state=1)
    found = [chapman(120, 90, int(m)) for m in both]
    assert np.mean([e.value for e in found]) == pytest.approx(400, rel=0.03)
    assert 0.92 <= np.mean([e.low <= 400 <= e.high for e in found]) <= 0.985


def test_finders_that_like_the_same_give_a_lower_bound():
    rng = np.random.default_rng(2)
    easy = rng.random(1000) < 0.3  # both find the easy ones
    one, two = (rng.random(1000) < np.where(easy, 0.9, 0.1) for _ in "ab")
    assert chapman(one.sum(), two.sum(), (one & two).sum()).high < 1000


def test_chapman_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="9 are in both finders, of 8 and 12"):
        chapman(8, 12, 9)


GOOD = """object_id,grade,stratum,stratum_size,grade_2,found_a,found_b
1,A,top,4,A,1,1
2,X,top,4,B,1,0
587722981742084144,B,rest,100,,0,1
4,X,rest,100,X,0,0
"""


def config(tmp_path, text=GOOD, **more):
    (tmp_path / "vetted.csv").write_text(text)
    return VettedConfig(table=tmp_path / "vetted.csv", **more)


def test_a_row_stands_for_the_part_of_its_stratum(tmp_path):
    rows = read_vetted(config(tmp_path, finders=("found_a", "found_b")))
    assert rows["object_id"].tolist()[2] == "587722981742084144"  # every digit
    assert rows["objects_each"].tolist() == [2, 2, 50, 50]
    assert rows["is_true"].tolist() == [True, False, True, False]
    assert rows["found_b"].tolist() == [True, False, True, False]
    assert sorted((c.true, c.vetted, c.objects) for c in vetted.cells_of(rows, 104)) == [
        (1, 2, 4), (1, 2, 100)
    ]  # fmt: skip


def test_blanks_around_a_grade_are_no_part_of_it(tmp_path):
    rows = read_vetted(config(tmp_path, GOOD.replace("1,A,", " 1, A ,").replace(",B,1", ", ,1")))
    assert rows["object_id"].iloc[0] == "1"
    assert rows["is_true"].iloc[0]
    assert rows["grade_2"].iloc[1] == ""


def test_a_probability_of_being_drawn_serves_as_well(tmp_path):
    rows = read_vetted(config(tmp_path, "object_id,grade,drawn\n1,A,1\n2,C,0.02\n"))
    assert rows["objects_each"].tolist() == [1, 50]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("grade,", "mark,", "lacks grade; it has object_id, mark, stratum"),
        ("4,X,rest", "1,X,rest", "vetted.csv twice; a second pass is a column, grade_2"),
        ("4,X,rest", "4,,rest", "vetted.csv; leave out what nobody has looked at"),
        ("4,X,rest", "4,Q,rest", "evidence.vetted: grade of 4 is 'Q' in"),
        ("rest,100,X", "rest,100,b", "grade_2 of 4 is 'b' in"),
        ("rest,100,X", "rest,90,X", "stratum_size is how many objects a stratum holds, the same"),
        ("rest,100", "rest,1", "not less than were vetted"),
        ("top,4", "top,four", "stratum_size is 'four' in row 1; it has to be a number"),
        ("X,0,0", "X,0,no", "found_b is 'no' in row 4; valid: 0, 1"),
        (",stratum_size", ",size", "lacks stratum_size; it has object_id, grade"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, old, new, said):
    with pytest.raises(BadInput) as refused:
        read_vetted(config(tmp_path, GOOD.replace(old, new), finders=("found_a", "found_b")))
    assert said in str(refused.value)


@pytest.mark.parametrize("drawn", ["0", "1.5", "-1"])
def test_a_probability_that_is_none_is_refused(tmp_path, drawn):
    with pytest.raises(BadInput, match="drawn is a probability, above 0 and up to 1"):
        read_vetted(config(tmp_path, f"object_id,grade,drawn\n1,A,{drawn}\n"))


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"no table .*none\.csv; give the path of a CSV"):
        read_vetted(VettedConfig(table=tmp_path / "none.csv"))


def test_an_object_that_was_drawn_by_two_chances_is_of_two_cells():
    rows = pd.DataFrame({"stratum": "all", "objects_each": [1.0, 1.0, 50.0], "is_true": True})
    assert [(c.vetted, c.objects) for c in vetted.cells_of(rows, 52)] == [(2, 2), (1, 50)]


def looked_at(whole, drawn, each):
    """Rows of which (true, vetted) were looked at whole and (true, vetted) drawn."""
    parts = [("first", 1.0, *whole), ("others", each, *drawn)]
    return pd.DataFrame(
        [(s, e, i < true) for s, e, true, n in parts for i in range(n)],
        columns=["stratum", "objects_each", "is_true"],
    )


def test_drawn_rows_stand_for_what_is_left_of_a_side():
    # one of the hundred drawn of 11,800 lies above the cut, where there are 18 beside the first 300
    cells = vetted.cells_of(looked_at((120, 300), (0, 1), 118.0), 318)
    assert cells == [Cell(120, 300, 300), Cell(0, 1, 18)]


def test_candidates_that_nobody_looked_at_widen_the_purity():
    cells = vetted.cells_of(looked_at((120, 300), (0, 0), 118.0), 400)
    assert cells == [Cell(120, 300, 300), Cell(0, 0, 100)]
    measured = purity(cells)
    assert measured.value == pytest.approx(0.4)
    assert measured.low < 0.32
    assert measured.high > 0.53


def test_completeness_is_not_known_where_nobody_looked_below_the_cut():
    measured = completeness([Cell(12, 30, 30)], [Cell(0, 0, 9970)])
    assert measured.value is None
    assert measured.low < 0.01
    everywhere = vetted.in_all([Cell(12, 30, 30)], [Cell(0, 0, 9970)])
    assert everywhere.value is None  # and not the share of the candidates times all
    assert everywhere.high > 9000
    assert purity([Cell(0, 0, 30)]).value is None
