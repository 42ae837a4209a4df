"""The Cox model over buckets: the same bits for any number of buckets, and the same model as on one frame."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival.cox import CoxFit, CoxPHFitter, CoxTimeVaryingFitter, fit_cox
from cohort.survival.cox_buckets import fit_cox_buckets
from cohort.survival.cox_lanes import LANES, merge

TERMS = "age + exposed + region + age:exposed"


def population(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age, exposed = rng.integers(18, 90, n), rng.random(n) < 0.3
    entry = rng.integers(0, 40, n)
    event_day = entry + 1 + rng.exponential(200 / np.exp(0.02 * (age - 50) + 0.5 * exposed)).astype(np.int64)
    last_day = entry + rng.integers(1, 300, n)
    return pl.DataFrame(
        {
            "person_id": rng.permutation(10 * n)[:n],
            "entry": entry,
            "time": np.minimum(event_day, last_day),
            "event": event_day <= last_day,
            "age": age,
            "exposed": exposed,
            "region": np.array(["north", "south", "west"])[rng.integers(0, 3, n)],
        }
    )


def in_buckets(frame: pl.DataFrame, buckets: int, seed: int = 0) -> Callable[[Callable[[Any], Any]], Iterable[Any]]:
    """Return a mapper over buckets of whole lanes, each shuffled, visited in a shuffled order, functions pickled."""
    rng = np.random.default_rng(seed)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    parts = [shuffled.filter(pl.col("person_id") % LANES % buckets == k) for k in range(buckets)]
    order = rng.permutation(buckets)
    return lambda function: [pickle.loads(pickle.dumps(function))(parts[k].lazy()) for k in order]  # noqa: S301 -- our own


def bits(fit: CoxFit) -> tuple[Any, ...]:
    return fit.coef.tobytes(), fit.covariance.tobytes(), fit.log_likelihood, fit.log_likelihood_null, fit.score_test


@pytest.mark.parametrize(("ties", "entry"), [("efron", None), ("breslow", "entry")])
def test_the_number_of_buckets_changes_no_bit(ties: Any, entry: str | None) -> None:
    frame = population(600, 1)
    fits = [
        fit_cox_buckets(in_buckets(frame, buckets, buckets), terms=TERMS, ties=ties, entry=entry)
        for buckets in (1, 7, 64)
    ]
    assert {bits(fit) for fit in fits} == {bits(fits[0])}


@pytest.mark.parametrize("hold_bytes", [1 << 20, 10_000])  # all rows fit, a part of them does
@pytest.mark.parametrize("buckets", [1, 7, 64])
def test_rows_that_are_held_give_the_bits_of_rows_that_are_not(hold_bytes: int, buckets: int) -> None:
    frame = population(600, 1).with_columns(weight=pl.col("person_id") % 3 / 2, ward=pl.col("person_id") % 4)
    asked = {"terms": TERMS, "entry": "entry", "weights": "weight", "strata": "ward", "robust": True}
    fits = [fit_cox_buckets(in_buckets(frame, buckets, buckets), **asked, hold_bytes=held) for held in (0, hold_bytes)]
    assert bits(fits[0]) == bits(fits[1])
    assert fits[0].n_events == fits[1].n_events


def test_rows_that_are_held_are_fetched_once() -> None:
    mapped, visits = in_buckets(population(600, 1), 4), []

    def counted(function: Callable[[Any], Any]) -> Iterable[Any]:
        visits.append(function)
        return mapped(function)

    fit_cox_buckets(counted, terms="age", hold_bytes=1 << 20)
    assert len(visits) == 1


def test_it_is_the_model_of_one_frame() -> None:
    frame = population(1500, 2)
    whole = fit_cox(frame, entry="entry", terms=TERMS)
    parts = fit_cox_buckets(in_buckets(frame, 5), entry="entry", terms=TERMS)
    assert parts.terms == whole.terms
    assert parts.references == whole.references == {"region": "north"}
    assert (parts.n, parts.n_events, parts.n_missing, parts.method) == (1500, whole.n_events, 0, whole.method)
    np.testing.assert_allclose(parts.coef, whole.coef, rtol=1e-12)
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-11)
    np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol=1e-14)


def test_few_persons_leave_lanes_and_buckets_empty() -> None:
    frame = population(40, 3)
    whole = fit_cox(frame, terms="age")
    fits = [fit_cox_buckets(in_buckets(frame, buckets), terms="age") for buckets in (1, 64)]
    assert bits(fits[0]) == bits(fits[1])
    np.testing.assert_allclose(fits[0].coef, whole.coef, rtol=1e-12)


def test_robust_variance_adds_the_rows_of_a_person() -> None:
    frame = population(400, 4)
    middle = ((pl.col("entry") + pl.col("time")) // 2).alias("middle")
    split = pl.concat(
        [
            frame.with_columns(middle).with_columns(time="middle", event=pl.lit(value=False)).drop("middle"),
            frame.with_columns(middle).with_columns(entry="middle").drop("middle"),
        ]
    ).filter(pl.col("time") > pl.col("entry"))
    fits = [
        fit_cox_buckets(in_buckets(rows, 4), entry="entry", terms="age + exposed", robust=True)
        for rows in (frame, split)
    ]
    np.testing.assert_allclose(fits[1].std_error, fits[0].std_error, rtol=1e-9)
    columns = ["person_id", "entry", "time", "event", "age", "exposed"]
    lifelines = CoxTimeVaryingFitter().fit(split[columns], "event", "entry", "time", id_col="person_id", robust=True)
    np.testing.assert_allclose(fits[0].std_error, lifelines.standard_errors_, rtol=1e-9)


@pytest.mark.parametrize("strata", ["region", "site"])
def test_strata_weights_and_sandwich_are_those_of_one_frame(strata: str) -> None:
    # a site with a single person, one without events, and weights of 0 among the rows
    frame = population(900, 9).with_columns(site=pl.col("person_id") % 40, weight=(pl.col("person_id") % 7) * 0.3)
    frame = frame.with_columns(event=pl.col("event") & (pl.col("site") != 3))
    fits = [
        fit_cox_buckets(
            in_buckets(frame, buckets),
            entry="entry",
            strata=strata,
            weights="weight",
            terms="age + exposed",
            robust=True,
        )
        for buckets in (1, 9, 64)
    ]
    assert {bits(fit) for fit in fits} == {bits(fits[0])}
    whole = CoxPHFitter().fit(
        frame.select("entry", "time", "event", "weight", strata, "age", "exposed"),
        "time", "event", entry_col="entry", strata=[strata], weights_col="weight", robust=True,
    )  # fmt: skip
    assert fits[0].n == frame.filter(pl.col("weight") > 0).height == len(whole.durations)
    np.testing.assert_allclose(fits[0].coef, whole.params_, rtol=1e-12)
    np.testing.assert_allclose(fits[0].std_error, whole.standard_errors_, rtol=1e-11)
    np.testing.assert_allclose(fits[0].log_likelihood, whole.log_likelihood_, rtol=1e-13)
    assert fits[0].method.endswith("delayed entry, stratified, case weights, sandwich by person, Wald limits")


@pytest.mark.parametrize("l1_ratio", [0.0, 0.6, 1.0])
def test_the_penalty_is_that_of_one_frame(l1_ratio: float) -> None:
    frame = population(700, 10).select("person_id", "time", "event", "age", "exposed", noise=pl.col("person_id") % 5)
    fits = [
        fit_cox_buckets(in_buckets(frame, k), terms="age + exposed + noise", penalizer=0.05, l1_ratio=l1_ratio)
        for k in (1, 16)
    ]
    assert bits(fits[0]) == bits(fits[1])
    whole = CoxPHFitter(penalizer=0.05, l1_ratio=l1_ratio).fit(frame.drop("person_id"), "time", "event")
    np.testing.assert_allclose(fits[0].coef, whole.params_, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(fits[0].std_error, whole.standard_errors_, rtol=1e-9)


def test_weights_and_strata_that_mean_nothing_are_refused_by_count() -> None:
    frame = population(60, 11).with_columns(weight=pl.lit(-1.0), place=pl.lit(None, dtype=pl.String))
    with pytest.raises(InputRefusedError, match="the weight is negative or not a finite number in 60 rows"):
        fit_cox_buckets(in_buckets(frame, 1), weights="weight", terms="age")
    with pytest.raises(InputRefusedError, match=r"column place \(strata\) is missing in 60 rows"):
        fit_cox_buckets(in_buckets(frame, 1), strata="place", terms="age")


def test_missing_values_are_counted_over_all_buckets() -> None:
    frame = population(400, 5).with_columns(age=pl.when(pl.col("age") > 80).then(None).otherwise("age"))
    gone = frame["age"].null_count()
    fit = fit_cox_buckets(in_buckets(frame, 3), terms="age", missing="leave_out")
    assert (fit.n, fit.n_missing) == (400 - gone, gone)
    with pytest.raises(InputRefusedError, match="values are missing"):
        fit_cox_buckets(in_buckets(frame, 3), terms="age")


def test_separation_is_found_across_buckets() -> None:
    frame = population(400, 6).with_columns(only=pl.col("event"), noise=pl.col("person_id") % 5)
    with pytest.raises(NotEstimableError, match=r"monotone_likelihood\(only\)"):
        fit_cox_buckets(in_buckets(frame, 6), terms="noise + only")
    with pytest.raises(NotEstimableError, match="no_events"):
        fit_cox_buckets(in_buckets(frame.with_columns(event=pl.lit(value=False)), 3), terms="age")


def test_a_lane_in_two_buckets_and_broken_days_are_refused() -> None:
    frame = population(600, 7)
    parts = [frame.head(300), frame.tail(300)]
    with pytest.raises(InputRefusedError, match="lie in more than one bucket"):
        fit_cox_buckets(lambda function: [function(part) for part in parts], terms="age")
    with pytest.raises(InputRefusedError, match="lie in more than one bucket"):
        fit_cox_buckets(lambda function: [function(part) for part in parts], terms="age", hold_bytes=1 << 20)
    with pytest.raises(InputRefusedError, match="absent"):
        fit_cox_buckets(in_buckets(frame, 2), terms="absent", hold_bytes=1 << 20)
    with pytest.raises(InputRefusedError, match="column time is not in whole days"):
        fit_cox_buckets(in_buckets(frame.with_columns(time=pl.col("time") + 0.5), 2), terms="age")


def test_the_tree_of_lanes_is_the_same_however_its_leaves_arrive() -> None:
    # 0.1 in 100 lanes of 256 and 1e16 in one: any other order of addition gives another last digit
    rng = np.random.default_rng(8)
    lanes = rng.permutation(LANES)[:101]
    leaves = {(0, int(lane)): (np.array([0.1 if k else 1e16]),) for k, lane in enumerate(lanes)}
    at_once = merge(dict(leaves), close=True)
    for buckets in (1, 2, 7, 64):
        nodes: Any = {}
        for k in rng.permutation(buckets):
            part = {key: value for key, value in leaves.items() if key[1] % buckets == k}
            nodes = merge({**nodes, **merge(part, close=False)}, close=False)
        assert merge(nodes, close=True) == at_once
