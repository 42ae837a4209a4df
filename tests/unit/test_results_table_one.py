"""Table 1 from integer counts: by hand, and the same from any cut into buckets."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError
from cohort.results.table_one import count_table_one, level_difference

#  group:   u          t
#  age      40 50 60   50 70  (one t without age)
#  site     back,neck,null | back,back,neck
PEOPLE = pl.DataFrame(
    {
        "arm": ["u", "u", "u", "t", "t", "t"],
        "age": [40, 50, 60, 50, 70, None],
        "site": ["back", "neck", None, "back", "back", "neck"],
        "opioid": [True, False, False, True, True, False],
    }
)
KINDS = {"age": "integer", "site": "categorical", "opioid": "boolean"}


def table(people: pl.DataFrame = PEOPLE) -> dict[tuple, float | None]:
    rows = count_table_one(people.lazy(), KINDS, by="arm").finish().to_polars()
    return {
        key: value
        for *key_parts, value in rows.select("estimand", "term", "category", "group", "value").rows()
        for key in [tuple(key_parts)]
    }


def test_means_are_of_known_values_and_missing_values_are_a_level_of_their_own():
    found = table()
    assert found["mean", "age", None, "u"] == 50.0
    assert found["mean", "age", None, "t"] == 60.0
    assert found["std_deviation", "age", None, "u"] == 10.0  # (100 + 0 + 100) / 2
    assert found["std_deviation", "age", None, "t"] == math.sqrt(200.0)  # (100 + 100) / 1
    assert found["mean", "age", None, "all"] == 54.0  # 270 / 5
    assert found["missing", "age", None, "t"] == 1.0
    assert found["missing", "age", None, "u"] == 0.0
    assert found["count", "site", "back", "u"] == 1.0
    assert found["proportion", "site", "back", "u"] == 1 / 3  # of all persons of the group
    assert found["missing", "site", None, "all"] == 1.0
    assert found["count", None, None, "all"] == 6.0


def test_standardised_differences_by_hand():
    found = table()
    # against the first group by name, t: (50 - 60) / sqrt((100 + 200) / 2)
    assert found["standardised_difference", "age", None, "u"] == pytest.approx(-10 / math.sqrt(150), rel=1e-15)
    # p(true) 1/3 against 2/3, each with p(1-p) = 2/9
    assert found["standardised_difference", "opioid", None, "u"] == pytest.approx(
        (-1 / 3) / math.sqrt(2 / 9), rel=1e-15
    )


def test_three_levels_give_the_mahalanobis_distance():
    # p1 = (.5, .3, .2), p2 = (.2, .3, .5): T = (0, .3) on levels 2, 3; S = [[.21, -.105], [-.105, .205]]
    # (means of .21,.21; -.06,-.15; .16,.25); S^-1[1,1] = .21 / (.21 * .205 - .105^2) = .21 / .032025
    expected = math.sqrt(0.3**2 * 0.21 / 0.032025)
    assert level_difference(np.array([5, 3, 2]), np.array([2, 3, 5])) == pytest.approx(expected, rel=1e-12)


def test_without_variation_a_difference_is_not_estimable():
    people = PEOPLE.with_columns(opioid=pl.col("arm") == "t")
    rows = count_table_one(people.lazy(), KINDS, by="arm").finish().to_polars()
    row = rows.filter(pl.col("estimand") == "standardised_difference", pl.col("term") == "opioid").row(0, named=True)
    assert row["value"] is None
    assert row["status"].startswith("not_estimable")


def test_counts_add_up_over_any_cut_of_the_persons():
    whole = count_table_one(PEOPLE.lazy(), KINDS, by="arm")
    cut = [PEOPLE[:1], PEOPLE[1:1], PEOPLE[1:4].reverse(), PEOPLE[4:]]
    first, *others = (count_table_one(part.lazy(), KINDS, by="arm") for part in cut)
    added = sum(others, start=first)
    assert added.finish().to_polars().equals(whole.finish().to_polars())


def test_persons_without_a_group_stay_in_the_table_but_are_not_the_reference():
    people = PEOPLE.with_columns(arm=pl.when(pl.col("age") != 40).then(pl.col("arm")))
    found = table(people)
    assert found["count", None, None, "(missing)"] == 2.0  # the one aged 40, the one without an age
    assert not [key for key in found if key[0] == "standardised_difference" and key[3] == "(missing)"]


def test_an_empty_cohort_has_a_table_of_nobody():
    rows = count_table_one(PEOPLE.clear().lazy(), KINDS).finish().to_polars()
    assert rows.filter(pl.col("estimand") == "mean").is_empty()


def test_a_number_that_is_not_whole_is_refused():
    with pytest.raises(InputRefusedError, match="'age' is Float64"):
        count_table_one(PEOPLE.cast({"age": pl.Float64}).lazy(), KINDS)


def test_a_group_may_be_called_like_an_internal_column_but_not_all():
    people = PEOPLE.rename({"arm": "group"})
    assert (
        count_table_one(people.lazy(), {**KINDS, "group": "categorical"}, by="group").finish().to_polars().height > 10
    )
    with pytest.raises(InputRefusedError, match="rename"):
        count_table_one(people.with_columns(group=pl.lit("all")).lazy(), KINDS, by="group").finish()
