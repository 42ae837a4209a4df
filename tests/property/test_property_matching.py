"""Matched sets of any candidates, against a plain reading of what they promise."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.population.matching import MatchedArms, RiskSets

JANUARY = dt.date(2020, 1, 1)
people = st.lists(
    st.tuples(
        st.integers(1, 12),  # person: some are there more than once
        st.integers(0, 70),  # day of index
        st.sampled_from(["new", "old"]),
        st.sampled_from(["female", "male", None]),
        st.none() | st.integers(1960, 1966),
        st.sampled_from(["north", "south", None]),
        st.integers(0, 3),  # joins after
        st.integers(1, 9),  # days followed
        st.sampled_from([0, 1, 2]),
    ),
    max_size=30,
    unique_by=lambda row: row[:2],
)
ons = st.lists(st.sampled_from(["sex", "birth_year", "region", "index_month"]), min_size=1, max_size=4, unique=True)
apart = st.integers(0, 2)
ratios = st.integers(1, 3)
seeds = st.integers(0, 5)


def table_of(rows):
    return pl.DataFrame(
        [
            (person, JANUARY + dt.timedelta(days=day), arm, sex, year, region, joins, joins + days, cause)
            for person, day, arm, sex, year, region, joins, days, cause in rows
        ],
        schema={
            "person_id": pl.Int64, "index_date": pl.Date, "arm": pl.String, "_sex": pl.String, "_birth_year": pl.Int64,
            "_region": pl.String, "entry": pl.Int64, "time": pl.Int64, "cause": pl.Int64,
        },
        orient="row",
    )  # fmt: skip


def alike(matching, one, other):
    """Return whether two candidates could be in one set."""
    if one["person_id"] == other["person_id"]:
        return False
    for name in matching.on:
        if name == "index_month":
            if (one["index_date"].year, one["index_date"].month) != (
                other["index_date"].year,
                other["index_date"].month,
            ):
                return False
            continue
        mine, theirs = one[f"_{name}"], other[f"_{name}"]
        if mine is None or theirs is None:
            return False
        if mine != theirs and not (name == "birth_year" and abs(mine - theirs) <= matching.birth_years_apart):
            return False
    return True


def sets_of(matching, table):
    """Return pairs of the leader and its members, as rows of the table, in the order of the sets."""
    rows = {(row["person_id"], row["index_date"]): row for row in table.to_dicts()}
    found = {}
    for row in matching.sets(table, ("new", "old")).iter_rows(named=True):
        member = rows[row["person_id"], row["index_date"]]
        leader, members = found.setdefault(row["matched_set"], ([], []))
        (leader if row["case"] else members).append(member)
    assert list(found) == list(range(1, len(found) + 1))
    assert all(len(leader) == 1 for leader, _ in found.values())
    return [(leader[0], members) for leader, members in found.values()]


def key(row):
    return row["person_id"], row["index_date"]


def making(kind, **rule):
    on, years = rule.pop("on"), rule.pop("years")
    return kind(on=tuple(on), birth_years_apart=years if "birth_year" in on else 0, **rule)


@settings(max_examples=150, deadline=None)
@given(rows=people, on=ons, years=apart, ratio=ratios, seed=seeds, replace=st.booleans())
def test_matched_arms(rows, on, years, ratio, seed, replace):
    matching, table = making(MatchedArms, on=on, years=years, ratio=ratio, seed=seed, replace=replace), table_of(rows)
    found = sets_of(matching, table)
    used = [key(member) for _, members in found for member in members]
    for leader, members in found:
        assert leader["arm"] == "new"
        assert 1 <= len(members) <= ratio
        assert len({key(member) for member in members}) == len(members)
        assert all(member["arm"] == "old" and alike(matching, leader, member) for member in members)
    assert replace or len(set(used)) == len(used)
    full = {key(leader): len(members) for leader, members in found}
    for leader in (row for row in table.to_dicts() if row["arm"] == "new"):
        could = [row for row in table.to_dicts() if row["arm"] == "old" and alike(matching, leader, row)]
        free = [row for row in could if replace or key(row) not in used]
        if full.get(key(leader), 0) < min(ratio, len(could)):  # nobody is left over who could have been taken
            assert not replace
            assert not [row for row in free if sole(rows, row)]


def sole(rows, row):
    """Return whether a candidate's person has no other entry, with which it might have been passed over."""
    return sum(person == row["person_id"] for person, *_ in rows) == 1


@settings(max_examples=150, deadline=None)
@given(rows=people, on=ons, years=apart, ratio=ratios, seed=seeds)
def test_risk_sets(rows, on, years, ratio, seed):
    matching, table = making(RiskSets, on=on, years=years, ratio=ratio, seed=seed), table_of(rows)
    found = {key(case): members for case, members in sets_of(matching, table)}
    for case in table.to_dicts():
        at_risk = [
            row
            for row in table.to_dicts()
            if alike(matching, case, row) and row["entry"] < case["time"] <= row["time"] and case["cause"] == 1
        ]
        members = found.get(key(case), [])
        assert len(members) == min(ratio, len(at_risk))
        assert all(member in at_risk for member in members)


@settings(max_examples=60, deadline=None)
@given(rows=people, on=ons, years=apart, seed=seeds, order=st.randoms(use_true_random=False), replace=st.booleans())
def test_the_order_of_rows_and_buckets_decides_nothing(rows, on, years, seed, order, replace):
    shuffled = list(rows)
    order.shuffle(shuffled)
    for matching in (
        making(MatchedArms, on=on, years=years, ratio=2, seed=seed, replace=replace),
        making(RiskSets, on=on, years=years, ratio=2, seed=seed),
    ):
        one, other = (matching.sets(table_of(part), ("new", "old")) for part in (rows, shuffled))
        assert one.equals(other)
