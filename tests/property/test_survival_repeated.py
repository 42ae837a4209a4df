"""Several entries of a person, each timed from its own start: variances by person, against what defines them.

The oracle is the definition: an influence is how an estimate changes when a person's weight does, so the variance is
the sum over persons of squared changes per unit of weight (infinitesimal jackknife), taken by finite differences.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cohort as co
from cohort import survival as sv
from cohort.results.analysis_table import AnalysisTable
from cohort.results.regressions import Cox
from cohort.survival import cumulative_incidence_from, kaplan_meier_from
from cohort.survival.clusters import repeated_rows, spells_of
from cohort.survival.counts import count_days

STEP = 1e-4
"""Change of weight; central differences leave an error of its square, about 1e-8 of influences near 1."""

rows = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 2), st.integers(1, 6), st.integers(0, 2)), min_size=4, max_size=14
)


def frame_of(drawn):
    return pl.DataFrame(
        {
            "id": [person for person, *_ in drawn],
            "entry": [entry for _, entry, *_ in drawn],
            "time": [entry + days for _, entry, days, _ in drawn],
            "cause": [cause for *_, cause in drawn],
        }
    )


def by_person(estimate, frame):
    """Return the sum over persons of squared derivatives of curves with respect to their weight."""
    total = 0.0
    for person in frame["id"].unique():
        moved = [
            estimate(frame.with_columns(w=pl.when(pl.col("id") == person).then(1.0 + sign * STEP).otherwise(1.0)))
            for sign in (1, -1)
        ]
        total = total + ((moved[0] - moved[1]) / (2 * STEP)) ** 2
    return total


def survival(frame):
    return sv.kaplan_meier(frame, "time", "any", entry="entry", weights="w").to_polars()["estimate"].to_numpy()


def incidence(frame):
    curves = sv.cumulative_incidence(frame, "time", "cause", entry="entry", weights="w").to_polars()
    return curves.filter(pl.col("cause") == 1)["estimate"].to_numpy()


@settings(max_examples=60, deadline=None)
@given(drawn=rows)
def test_the_variance_of_an_event_free_curve_is_that_of_its_definition(drawn):
    frame = frame_of(drawn).with_columns(any=(pl.col("cause") > 0).cast(pl.Int64))
    counts = count_days(frame, "time", "any", entry="entry", causes=[1])
    curve = kaplan_meier_from(counts, persons=repeated_rows(frame, "id", "entry", "time", "any")).to_polars()
    expected = np.sqrt(by_person(survival, frame))
    alive = curve["estimate"].to_numpy() > 0  # at 0 nothing is left to vary
    assert curve["std_error"].to_numpy()[alive] == pytest.approx(expected[alive], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(drawn=rows)
def test_the_variance_of_an_incidence_is_that_of_its_definition(drawn):
    frame = frame_of([(9, 0, 1, 0), *drawn, (8, 0, 9, 1)])
    counts = count_days(frame, "time", "cause", entry="entry", causes=[1, 2])
    persons = repeated_rows(frame, "id", "entry", "time", "cause")
    curve = cumulative_incidence_from(counts, persons=persons).to_polars().filter(pl.col("cause") == 1)
    expected = np.sqrt(by_person(incidence, frame))
    certain = curve["std_error"].to_numpy() == 0
    assert curve["std_error"].to_numpy()[~certain] == pytest.approx(expected[~certain], abs=1e-6)


def test_rows_that_do_not_overlap_have_the_variance_of_spells(monkeypatch):
    spells = pl.DataFrame(
        {"id": [1, 1, 2, 2, 3, 4], "entry": [0, 3, 0, 5, 0, 2], "time": [3, 7, 5, 8, 6, 9], "any": [1, 0, 0, 1, 1, 0]}
    )
    counts = count_days(spells, "time", "any", entry="entry", causes=[1])
    as_spells = kaplan_meier_from(counts, persons=spells_of(spells, "id", "entry", "time", "any")).to_polars()
    monkeypatch.setattr("cohort.survival.clusters._overlap", lambda spells: True)
    as_rows = kaplan_meier_from(counts, persons=repeated_rows(spells, "id", "entry", "time", "any")).to_polars()
    assert as_rows["std_error"].to_list() == pytest.approx(as_spells["std_error"].to_list(), abs=1e-15)


def test_persons_with_one_row_each_have_greenwood():
    """The infinitesimal jackknife of an unweighted Kaplan–Meier is Greenwood's formula."""
    frame = pl.DataFrame({"id": range(1, 7), "time": [1, 1, 2, 3, 3, 4], "any": [1, 0, 0, 1, 1, 0]})
    counts = count_days(frame, "time", "any", causes=[1])
    doubled = repeated_rows(frame, "id", None, "time", "any")
    robust, greenwood = kaplan_meier_from(counts, persons=doubled), kaplan_meier_from(counts)
    assert robust.to_polars()["std_error"].to_list() == pytest.approx(
        greenwood.to_polars()["std_error"].to_list(), abs=1e-12
    )


def test_pieces_of_persons_add_up(monkeypatch):
    frame = frame_of([(n % 7, 0, 1 + n % 5, n % 2) for n in range(40)]).with_columns(any="cause")
    counts = count_days(frame, "time", "any", entry="entry", causes=[1])
    persons = repeated_rows(frame, "id", "entry", "time", "any")
    whole = kaplan_meier_from(counts, persons=persons).to_polars()
    monkeypatch.setattr("cohort.survival.repeated._AT_A_TIME", 1)
    pieces = kaplan_meier_from(counts, persons=persons).to_polars()
    assert pieces["std_error"].to_list() == pytest.approx(whole["std_error"].to_list(), rel=1e-13)


# Analyses ---------------------------------------------------------------------------------------------------------


def table(columns, repeats, **variables):
    n = len(columns["person_id"])
    frame = pl.DataFrame(columns).with_columns(
        pl.col("time").cast(pl.Int64),
        pl.col("cause").cast(pl.Int8),
        index_date=pl.Series([dt.date(2020, 1, 1) + dt.timedelta(days=40 * k) for k in range(n)]),
        entry=pl.lit(0, dtype=pl.Int64),
    )
    return AnalysisTable((frame,), ("pain", "death"), 0, variables, repeats=repeats)


TWICE = {"person_id": [1, 1, 2, 3], "time": [10, 10, 20, 40], "cause": [1, 1, 0, 1]}


def test_a_rate_with_limits_by_person():
    """3 events in 80 days, r = 3/80. Person 1: 2 - 20 r = 5/4; 2: -20 r = -3/4; 3: 1 - 40 r = -1/2.

    Squares 25/16 + 9/16 + 4/16 = 38/16; the standard error is the root of it over 80.
    """
    found = co.incidence_rate(per=1).estimate(1, table(TWICE, repeats=True)).frame.row(0, named=True)
    error = np.sqrt(38 / 16) / 80 * 365.25
    assert found["value"] == pytest.approx(3 / 80 * 365.25, rel=1e-15)
    assert found["std_error"] == pytest.approx(error, rel=1e-15)
    assert found["upper"] == pytest.approx(found["value"] * np.exp(1.959963984540054 * error / found["value"]))
    assert "robust to several entries" in found["method"]


def test_without_an_event_the_exact_limits_stand():
    none = TWICE | {"cause": [0, 0, 0, 2]}
    robust, exact = (co.incidence_rate().estimate(1, table(none, repeats=flag)).frame for flag in (True, False))
    assert robust["upper"].to_list() == exact["upper"].to_list()


def test_a_model_is_robust_to_entries_of_one_person():
    """Every person twice, alike: the error is that of one entry each; by row it would be less by the root of 2."""
    rng = np.random.default_rng(7)
    once = {"person_id": list(range(60)), "time": rng.integers(1, 400, 60).tolist(), "cause": [1, 0, 1] * 20,
            "exposed": rng.random(60) < 0.5}  # fmt: skip
    twice = {name: [*values, *values] for name, values in once.items()}
    errors = {
        name: Cox(terms="exposed", ties="breslow")
        .estimate(1, table(columns, repeats=True, exposed="boolean"))
        .frame.filter(pl.col("std_error").is_not_null())
        for name, columns in {"once": once, "twice": twice}.items()
    }
    assert errors["twice"]["value"].item() == pytest.approx(errors["once"]["value"].item(), rel=1e-9)
    assert errors["twice"]["std_error"].item() == pytest.approx(errors["once"]["std_error"].item(), rel=1e-9)
    assert "robust variance by cluster" in errors["once"]["method"].item()


def test_curves_of_repeated_entries_say_so():
    for analysis in (co.kaplan_meier(), co.cumulative_incidence()):
        methods = analysis.estimate(1, table(TWICE, repeats=True)).frame["method"].unique().to_list()
        assert len(methods) == 1
        assert "standard error by person" in methods[0]
