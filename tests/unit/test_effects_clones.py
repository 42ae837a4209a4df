"""Clones: who is in which arm, what a day sums to, and every way to have no answer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from cohort import effects as ef
from cohort import survival as sv
from cohort.effects import clone_bootstrap, clones, emulation
from cohort.effects.day_estimates import closed_ties, summed_ties
from cohort.errors import InputRefusedError, NotEstimableError, StudyError

GRACE = 30


def persons(*rows: tuple[int, int, float]) -> clones.Persons:
    """Return persons from (exit, cause, day started)."""
    time, cause, started = (np.array(column) for column in zip(*rows, strict=True))
    return clones.Persons(time, cause, started.astype(float), np.zeros((len(rows), 0)), np.ones(len(rows)))


NEVER = np.inf


@pytest.mark.parametrize(
    ("row", "start", "abstain"),
    [  # (exit, cause, departed) of the clone who is to start, and of the one who is not to
        ((100, 1, 10), (100, 1, False), (10, 0, True)),  # started in time
        ((100, 1, 30), (100, 1, False), (30, 0, True)),  # on the last day of grace
        ((100, 1, 31), (30, 0, True), (100, 1, False)),  # a day late: departs from starting, keeps to not starting
        ((100, 1, NEVER), (30, 0, True), (100, 1, False)),
        ((20, 1, NEVER), (20, 1, False), (20, 1, False)),  # event in grace, untreated: counts in both
        ((20, 0, NEVER), (20, 0, False), (20, 0, False)),
        ((30, 1, NEVER), (30, 1, False), (30, 1, False)),  # event on the last day of grace
        ((20, 1, 25), (20, 1, False), (20, 1, False)),  # a start recorded after the exit did not happen
        ((20, 1, 20), (20, 1, False), (20, 0, True)),  # start and event on one day
        ((0, 1, NEVER), (0, 1, False), (0, 1, False)),  # day 0
        ((50, 2, 0), (50, 2, False), (0, 0, True)),
    ],
)
def test_a_clone_leaves_on_the_day_its_person_departs(
    row: tuple[int, int, float], start: tuple[int, int, bool], abstain: tuple[int, int, bool]
) -> None:
    arms = clones.clone(persons(row), GRACE)
    assert [(arm.time[0], arm.cause[0], arm.departed[0]) for arm in arms] == [start, abstain]


def simulated(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, s = rng.integers(0, 4, n), rng.random(n) < 0.5
    started = np.ceil(rng.exponential(60 * np.exp(-0.3 * x)))
    time = np.ceil(rng.exponential(150 * np.exp(-0.2 * x)))
    end = np.minimum(time, np.ceil(rng.exponential(400, n)))
    cause = np.where(time <= end, 1 + (rng.random(n) < 0.2), 0)
    return pl.DataFrame(
        {"x": x, "s": s, "time": end.astype(int), "cause": cause, "started": np.where(started <= end, started, np.nan)}
    ).with_columns(pl.col("started").fill_nan(None))


def written_out(frame: pl.DataFrame, day: int) -> pl.DataFrame:
    """Return a row per clone and stretch of unchanged weight, as textbooks do it."""
    design = np.asfortranarray(frame.select(pl.col("x", "s").cast(pl.Float64)).to_numpy())
    people = clones.Persons(
        frame["time"].to_numpy(), frame["cause"].to_numpy(), frame["started"].fill_null(np.inf).to_numpy(), design,
        np.ones(frame.height),
    )  # fmt: skip
    rows = []
    for name, arm in zip(clones.STRATEGIES, clones.clone(people, day), strict=True):
        staying = clones.model_staying(arm, people, ("x", "s"))
        edges = [-1.0, *staying.day.tolist(), np.inf]
        for i in range(frame.height):
            for phase, (low, high) in enumerate(pairwise(edges)):
                if arm.time[i] > low:
                    last = arm.time[i] <= high
                    weight = staying.weight(phase)[i]
                    rows.append((i, name, low, min(arm.time[i], high), arm.cause[i] if last else 0, weight))
    return pl.DataFrame(rows, schema=["id", "arm", "start", "stop", "cause", "w"], orient="row")


def test_sums_by_day_are_those_of_clones_written_out() -> None:
    frame = simulated(150)
    found = ef.clone_censor_weight(frame, treatment_time="started", grace_days=GRACE, terms="x + s", horizon=120)
    rows = written_out(frame, GRACE).with_columns(start=pl.col("start") + 1, stop=pl.col("stop") + 1)
    for name in clones.STRATEGIES:
        arm = rows.filter(pl.col("arm") == name)
        expected = sv.cumulative_incidence(arm, "stop", "cause", None, "start", "w").at([121])
        for cause in (1, 2):
            curve = found.curves.filter(pl.col("group") == name, pl.col("cause") == cause, pl.col("time") <= 120)
            at = expected.filter(pl.col("cause") == cause)["estimate"].item()
            assert curve["estimate"][-1] == pytest.approx(at, rel=1e-12)
    fit = sv.CoxPHFitter()
    arms = rows.with_columns(
        e=(pl.col("cause") == 1).cast(pl.Int64), arm=(pl.col("arm") == clones.STRATEGIES[0]).cast(pl.Float64)
    ).select("arm", "start", "stop", "e", "w")
    fit.fit(arms, "stop", "e", entry_col="start", weights_col="w", robust=True)
    ratio = found.table.filter(pl.col("measure") == "hazard_ratio")["estimate"].item()
    assert np.log(ratio) == pytest.approx(fit.params_["arm"], abs=1e-10)


def test_order_of_rows_does_not_matter_to_a_bit() -> None:
    frame = simulated(200)
    query = {"treatment_time": "started", "grace_days": GRACE, "terms": "x + s", "horizon": 120, "truncate": 0.95}
    one = ef.clone_censor_weight(frame, **query)
    two = ef.clone_censor_weight(frame.sample(fraction=1, shuffle=True, seed=1), **query)
    assert one.table.equals(two.table)
    assert one.curves.equals(two.curves)


def test_truncated_weights_stop_at_their_quantile() -> None:
    query = {"treatment_time": "started", "grace_days": GRACE, "terms": "x + s", "horizon": 120}
    whole, cut = (ef.clone_censor_weight(simulated(400), **query, **t) for t in ({}, {"truncate": 0.8}))
    assert cut.arms["largest_weight"][1] < whole.arms["largest_weight"][1]
    assert cut.method != whole.method


@pytest.mark.parametrize("truncate", [None, 0.9])
def test_a_sample_is_the_analysis_of_its_persons_repeated(truncate: float | None) -> None:
    frame, draws = simulated(400), 3
    design = np.asfortranarray(frame.select(pl.col("x", "s").cast(pl.Float64)).to_numpy())
    people = clones.Persons(
        frame["time"].to_numpy(), frame["cause"].to_numpy(), frame["started"].fill_null(np.inf).to_numpy(), design,
        np.ones(frame.height),
    )  # fmt: skip
    question = emulation._Question(GRACE, 120, 1, (1, 2), ("x", "s"), truncate)
    trial = emulation._emulate(people, question)
    samples = emulation._bootstrap(trial, people, question, None, draws, 5)
    for draw in range(draws):
        times = np.empty(400, np.uint8)
        key = np.random.SeedSequence([5, draw]).generate_state(1, np.uint64)[0]
        clones.loops().draw_counts(np.arange(400), key, clone_bootstrap._BELOW, times)
        again = clones.Persons(*(np.repeat(part, times, axis=0) for part in people[:4]), np.ones(times.sum()))
        again = again._replace(x=np.asfortranarray(again.x))
        arms = clones.clone(again, GRACE)
        sums = [
            # a sample is cut where the weights of all persons were
            clones.sum_by_day(arm, again, clones.model_staying(arm, again, ("x", "s")), trial.sums[0].day, (1, 2), cap)
            for arm, cap in zip(arms, trial.caps, strict=True)
        ]
        # steps end at 1e-4 standard errors of the coefficients, and the last one is of second order
        assert samples[draw] == pytest.approx(emulation._numbers(*sums, question), rel=2e-5)


def test_one_model_of_starting_serves_both_strategies() -> None:
    # who starts by day g, weighted by 1 / (1 - exp(-H r)), is like everybody; a model of who is left on day g takes the
    # covariate to act in proportion on another hazard: it gets the mean right, which its own equation asks for, no more
    rng = np.random.default_rng(0)
    n = 20_000
    x = np.clip(rng.standard_normal(n), -2, 2)
    started, time = np.ceil(rng.exponential(80 * np.exp(-x))), rng.integers(200, 300, n)
    people = clones.Persons(time, np.ones(n, int), started, np.asfortranarray(x[:, None]), np.ones(n))
    start, abstain = clones.clone(people, 60)
    starting = clones.started_by(60, clones.model_staying(abstain, people, ("x",)))
    squares = [
        np.average(x[~start.departed] ** 2, weights=model.weight(1)[~start.departed])
        for model in (starting, clones.model_staying(start, people, ("x",)))
    ]
    # weights reach 10 where x is -2: a standard error of about 0.02
    assert abs(squares[0] - (x**2).mean()) < 0.06
    assert abs(squares[1] - (x**2).mean()) > 0.12


def test_one_model_of_starting_goes_with_samples_and_truncation_but_not_with_histories() -> None:
    query = {
        "treatment_time": "started",
        "grace_days": GRACE,
        "terms": "x + s",
        "horizon": 120,
        "departing": "starting",
    }
    found = ef.clone_censor_weight(simulated(300), **query, replicates=5, truncate=0.95)
    assert "Cox models of starting on x + s" in found.method
    assert found.table["std_error"].null_count() == 0
    with pytest.raises(StudyError, match="starting"):
        ef.clone_censor_weight(simulated(50), **query, leaving=ef.Leaving("x"))
    with pytest.raises(StudyError, match="departing"):
        ef.clone_censor_weight(simulated(50), **(query | {"departing": "never"}))


def test_draws_are_poisson_of_mean_1_and_belong_to_the_person() -> None:
    index, times = np.arange(100_000), np.empty(100_000, np.uint8)
    clones.loops().draw_counts(index, np.uint64(77), clone_bootstrap._BELOW, times)
    shares = np.bincount(times, minlength=4)[:4] / len(times)
    assert shares == pytest.approx(np.exp(-1) / np.array([1, 1, 2, 6]), abs=4 * np.sqrt(0.25 / len(times)))
    some = np.array([5, 999, 5])
    few = np.empty(3, np.uint8)
    clones.loops().draw_counts(some, np.uint64(77), clone_bootstrap._BELOW, few)
    assert few.tolist() == times[some].tolist()


def test_tied_events_in_closed_form_are_those_added_up() -> None:
    at_risk, dying = np.array([10.0, 50.0, 7.5]), np.array([3.0, 20.5, 7.5])
    deaths, weight = np.array([3.0, 17.0, 5.0]), np.array([3.5, 18.0, 6.0])
    exact, closed = (ties(at_risk, dying, deaths, weight) for ties in (summed_ties, closed_ties))
    assert closed == pytest.approx(exact, rel=1e-9)


def test_the_bootstrap_draws_persons_and_says_so() -> None:
    found = ef.clone_censor_weight(
        simulated(300), treatment_time="started", grace_days=GRACE, terms="x", horizon=120, replicates=20
    )
    assert "20 bootstrap samples of persons" in found.method
    assert found.table["std_error"].null_count() == 0
    # independent clones would have the variance of a difference of two independent risks; those of one person are not
    risk = found.table.filter(pl.col("measure") == "risk")["std_error"]
    assert 0 < found.table.filter(pl.col("measure") == "risk_difference")["std_error"].item() < risk.sum()


def test_a_strategy_that_nobody_follows_is_an_outcome_of_its_own() -> None:
    frame = simulated(50).with_columns(started=pl.lit(None, pl.Float64), time=pl.col("time") + GRACE)
    with pytest.raises(NotEstimableError, match="nobody_follows"):
        ef.clone_censor_weight(frame, treatment_time="started", grace_days=GRACE, terms="x", horizon=60)


@pytest.mark.parametrize("wrong", [{"grace_days": -1}, {"grace_days": 120}, {"truncate": 1.5}, {"horizon": np.inf}])
def test_impossible_questions_are_refused(wrong: dict[str, float]) -> None:
    query = {"treatment_time": "started", "grace_days": GRACE, "terms": "x", "horizon": 120} | wrong
    with pytest.raises(StudyError):
        ef.clone_censor_weight(simulated(50), **query)


def test_a_start_before_time_0_is_refused_by_count() -> None:
    frame = simulated(50).with_columns(started=pl.when(pl.int_range(50) < 2).then(-1.0).otherwise("started"))
    with pytest.raises(InputRefusedError, match="in 2 rows"):
        ef.clone_censor_weight(frame, treatment_time="started", grace_days=GRACE, terms="x", horizon=120)
