"""Clones whose covariates change and who may be lost: beside a walk by hand, beside the plain case, and refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import effects as ef
from cohort import survival as sv
from cohort.effects.clones import STRATEGIES
from cohort.errors import InputRefusedError, NotEstimableError, StudyError

GRACE, HORIZON = 40, 150
QUERY = {"treatment_time": "started", "grace_days": GRACE, "terms": "x", "horizon": HORIZON}


def persons(n: int, seed: int = 0) -> pl.DataFrame:
    """Return persons no two of whom leave or start on one day, so that no tie has to be broken."""
    rng = np.random.default_rng(seed)
    time, started = rng.permutation(np.arange(1, 4 * n, 4))[:n], rng.permutation(np.arange(2, 4 * n, 4))[:n]
    frame = {"person_id": rng.permutation(n), "time": time, "cause": rng.choice([0, 1], n), "x": rng.integers(0, 3, n)}
    frame |= {"moved": rng.random(n) < 0.7, "started": np.where(started <= time, started, np.nan)}
    return pl.DataFrame(frame).with_columns(pl.col("started").fill_nan(None))


def changing(frame: pl.DataFrame, *, every: int = 10, rows: int = 6, seed: int = 1) -> pl.DataFrame:
    """Return a sign measured every ten days, six times."""
    rng = np.random.default_rng(seed)
    n = frame.height * rows
    start = np.tile(np.arange(rows) * every, frame.height)
    ids = np.repeat(frame["person_id"].to_numpy(), rows)
    return pl.DataFrame({"person_id": ids, "start": start, "stop": start + every, "sign": rng.integers(0, 2, n)})


def departures(frame: pl.DataFrame, *, start: bool) -> list[tuple[int, int, bool]]:
    """Return exit, cause and whether the clone departed, person by person."""
    found = []
    for row in frame.iter_rows(named=True):
        within = row["started"] is not None and row["started"] <= GRACE
        if start and not within and row["time"] > GRACE:
            found.append((GRACE, 0, True))
        elif not start and within:
            found.append((int(row["started"]), 0, True))
        else:
            found.append((row["time"], row["cause"], False))
    return found


def known(history: pl.DataFrame, person: int) -> list[tuple[int, int, int]]:
    mine = history.filter(pl.col("person_id") == person).sort("start")
    return list(mine.select("start", "stop", "sign").iter_rows())


def leaving(rows: pl.DataFrame, terms: str) -> dict[int, tuple[float, np.ndarray]]:
    """Return by day of leaving its hazard for covariates of 0, and the coefficients: Breslow, since nobody ties."""
    fit = sv.fit_cox(rows, "stop", "event", "start", terms=terms)
    names = [name.strip() for name in terms.split("+")]
    found = {}
    for day in sorted(rows.filter(pl.col("event"))["stop"].to_list()):
        there = rows.filter(pl.col("start") < day, pl.col("stop") >= day).select(names).to_numpy().astype(float)
        found[day] = 1 / np.exp(there @ fit.coef).sum(), fit.coef
    return found


def by_hand(frame: pl.DataFrame, history: pl.DataFrame, *, start: bool) -> float:
    """Return the risk of a strategy from clones written out with the weights of every day."""
    exits = departures(frame, start=start)
    people = list(frame.iter_rows(named=True))
    rows = []
    for person, (exit_, cause, departed) in zip(people, exits, strict=True):
        for begin, end, sign in known(history, person["person_id"]):
            final = exit_ <= end or end == 60
            if begin < exit_:
                lost = final and not departed and cause == 0 and person["moved"]
                rows.append((begin, exit_ if final else end, final and departed, lost, person["x"], sign))
    table = pl.DataFrame(rows, schema=["start", "stop", "gone", "lost", "x", "sign"], orient="row")
    models = [(leaving(table.with_columns(event="lost"), "x"), ["x"])]
    if not start:  # everybody departs from starting on one day, which is a tie: that model is left out by the caller
        models.append((leaving(table.with_columns(event="gone"), "x + sign"), ["x", "sign"]))
    weighted = []
    for person, (exit_, cause, _) in zip(people, exits, strict=True):
        weight, since = 1.0, 0
        rows_of = known(history, person["person_id"])
        for day in sorted({day for model, _ in models for day in model if day < exit_} | {exit_}):
            weighted.append((since, day, cause if day == exit_ else 0, weight))
            sign = next(s for b, e, s in rows_of if b < day <= e or e == 60)
            for model, names in models:
                if day in model:
                    hazard, coef = model[day]
                    values = np.array([{"x": person["x"], "sign": sign}[name] for name in names], dtype=float)
                    weight *= np.exp(hazard * np.exp(values @ coef))
            since = day
    clones = pl.DataFrame(weighted, schema=["start", "stop", "cause", "w"], orient="row")
    return sv.cumulative_incidence(clones, "stop", "cause", None, "start", "w").at([HORIZON])["estimate"].item()


def test_clones_are_weighted_by_what_was_known_each_day_and_by_who_is_lost() -> None:
    frame = persons(120)
    history = changing(frame)
    found = ef.clone_censor_weight(
        frame, **QUERY, histories=ef.Histories(history, "sign"), leaving=ef.Leaving("x", "moved")
    )
    abstain = found.curves.filter(pl.col("group") == STRATEGIES[1], pl.col("time") <= HORIZON)["estimate"][-1]
    assert abstain == pytest.approx(by_hand(frame, history, start=False), rel=1e-9)
    assert "sign as they change, and of natural censoring on x" in found.method


def test_histories_that_say_nothing_new_change_nothing() -> None:
    frame = persons(200)
    rows = changing(frame).drop("sign").join(frame.select("person_id", same="x"), on="person_id")
    plain = ef.clone_censor_weight(frame, **QUERY)
    cut = ef.clone_censor_weight(frame, **(QUERY | {"terms": ""}), histories=ef.Histories(rows, "same"))
    assert cut.table["estimate"].to_list() == pytest.approx(plain.table["estimate"].to_list(), rel=1e-9)
    assert cut.arms["effective"].to_list() == pytest.approx(plain.arms["effective"].to_list(), rel=1e-9)


def test_the_order_of_rows_does_not_matter_to_a_bit() -> None:
    frame = persons(150)
    history = changing(frame)
    models = ef.Leaving("x", "moved")
    one = ef.clone_censor_weight(frame, **QUERY, histories=ef.Histories(history, "sign"), leaving=models, replicates=5)
    two = ef.clone_censor_weight(
        frame.sample(fraction=1, shuffle=True, seed=1),
        **QUERY,
        histories=ef.Histories(history.sample(fraction=1, shuffle=True, seed=2), "sign"),
        leaving=models,
        replicates=5,
    )
    assert one.table.equals(two.table)
    assert one.table["std_error"].null_count() == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (pl.col("person_id") > 3, "4 persons have no row"),
        (pl.col("start") > 0, "does not begin on day 0"),
        ((pl.col("start") != 20) | (pl.col("person_id") > 4), "5 rows begin after a gap"),
    ],
)
def test_broken_histories_are_refused_by_count(change: pl.Expr, fault: str) -> None:
    frame = persons(50)
    with pytest.raises(InputRefusedError, match=fault):
        ef.clone_censor_weight(frame, **QUERY, histories=ef.Histories(changing(frame).filter(change), "sign"))


def test_models_without_terms_and_weights_that_explode_say_so() -> None:
    frame = persons(60)
    with pytest.raises(StudyError, match="natural censoring has no terms"):
        ef.clone_censor_weight(frame, **QUERY, leaving=ef.Leaving(""))
    with pytest.raises(StudyError, match="histories name no terms"):
        ef.clone_censor_weight(frame, **QUERY, histories=ef.Histories(changing(frame), ""))
    with pytest.raises(NotEstimableError, match="nobody_follows"):
        ef.clone_censor_weight(
            frame.with_columns(started=pl.lit(None, pl.Float64)).filter(pl.col("time") > GRACE),
            **QUERY,
            histories=ef.Histories(changing(frame), "sign"),
        )
    rng = np.random.default_rng(1)
    x = 1.2 * rng.normal(size=3000)
    late = np.ceil(rng.exponential(GRACE / 2 / np.exp(x)))  # the chance of not starting is exp(-2 exp(x))
    steep = pl.DataFrame({"time": rng.integers(200, 400, 3000), "cause": 1, "x": x, "started": late})
    with pytest.raises(NotEstimableError, match="weights_explode"):
        ef.clone_censor_weight(steep.with_columns(pl.col("started").fill_nan(None)), **QUERY, leaving=ef.Leaving("x"))
