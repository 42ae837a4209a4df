"""Person-time: nested trials beside trials written out, the structural model beside its formula, and no answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from cohort import effects as ef
from cohort import survival as sv
from cohort.errors import InputRefusedError, NotEstimableError, StudyError

PERIOD, PERIODS = 30, 6


def histories(n: int, seed: int = 0, *, effect: float = 0.0) -> pl.DataFrame:
    """Return person-time whose hidden frailty drives a sign, the sign exposure, and frailty and exposure the event.

    Exposure, once started, goes on in nine of ten periods. The sign is all that exposure depends on.
    """
    rng = np.random.default_rng(seed)
    frail, exposed, alive = rng.random(n) < 0.5, np.zeros(n, bool), np.ones(n, bool)
    rows = []
    for period in range(PERIODS):
        sign = rng.random(n) < np.where(frail, 0.7, 0.3) - 0.15 * exposed
        chance = np.where(exposed, 0.9, 0.08 + 0.25 * sign)
        before, exposed = exposed, rng.random(n) < chance
        hazard = 0.003 * np.where(frail, 3.0, 1.0) * np.exp(effect * exposed)
        day = np.ceil(rng.exponential(1 / hazard))
        left = (rng.random(n) < 0.03 + 0.05 * sign) & (day > PERIOD)
        stop = period * PERIOD + np.minimum(day, PERIOD)
        frame = {"person_id": np.arange(n), "start": period * PERIOD, "stop": stop, "sign": sign, "treated": exposed}
        frame |= {"cause": (day <= PERIOD).astype(int), "left": left, "eligible": ~before}
        rows.append(pl.DataFrame(frame).filter(pl.Series(alive)))
        alive = alive & (day > PERIOD) & ~left
    return pl.concat(rows).with_columns(pl.col("start", "stop").cast(pl.Int64)).sort("person_id", "start")


def chances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the chance of what was observed, from a library's logistic regression."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    yes = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000, solver="newton-cholesky").fit(z, y).predict_proba(z)
    return np.where(y, yes[:, 1], yes[:, 0])


def with_chances(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the chance of each row's exposure as assigned in a trial, given the row before, and of not leaving."""
    x = frame.select("sign", "start", square=pl.col("start") ** 2).cast(pl.Float64).to_numpy()
    a, before = frame["treated"].to_numpy(), ~frame["eligible"].to_numpy()
    assigned, going = np.ones(len(a)), np.ones(len(a))
    assigned[~before] = chances(x[~before], a[~before])
    for rows in (before, ~before):
        going[rows] = chances(x[rows], a[rows])
    stays, rows = np.ones(len(a)), frame["cause"].to_numpy() == 0
    stays[rows] = chances(np.column_stack([x, a])[rows], frame["left"].to_numpy()[rows])
    return frame.with_columns(assigned=pl.Series(assigned), going=pl.Series(going), stays=pl.Series(stays))


def written_out(frame: pl.DataFrame, horizon: int, *, per_protocol: bool) -> pl.DataFrame:
    """Return a row per trial and period, as textbooks do it."""
    rows = []
    for _, person in with_chances(frame).group_by("person_id", maintain_order=True):
        part = person.to_dicts()
        for k, first in enumerate(part):
            if not first["eligible"]:
                continue
            weight = 1 / first["assigned"]
            for j in range(k, len(part)):
                row = part[j]
                if row["start"] - first["start"] >= horizon or (per_protocol and row["treated"] != first["treated"]):
                    break
                if j > k:
                    weight /= (row["going"] if per_protocol else 1.0) * part[j - 1]["stays"]
                span = row["start"] - first["start"], row["stop"] - first["start"]
                rows.append((first["treated"], *span, row["cause"], weight))
    return pl.DataFrame(rows, schema=["treated", "start", "stop", "cause", "w"], orient="row")


@pytest.mark.parametrize("protocol", ["intention_to_treat", "per_protocol"])
def test_nested_trials_are_trials_written_out(protocol: str) -> None:
    frame, horizon = histories(400), 120
    found = ef.nested_trials(
        frame,
        exposure="treated",
        eligible="eligible",
        terms="sign",
        horizon=horizon,
        protocol=protocol,
        censored="left",
    )
    rows = written_out(frame, horizon, per_protocol=protocol == "per_protocol")
    for name, exposed in (("treated", True), ("untreated", False)):
        arm = rows.filter(pl.col("treated") == exposed)
        expected = sv.cumulative_incidence(arm, "stop", "cause", None, "start", "w").at([horizon])["estimate"].item()
        risk = found.table.filter(pl.col("measure") == "risk", pl.col("group") == name)["estimate"].item()
        # the library's solver stops at a gradient of 1e-10
        assert risk == pytest.approx(expected, rel=1e-6)
    assert found.arms["trials"].sum() == frame["eligible"].sum()


def test_persons_are_drawn_and_not_their_trials() -> None:
    query = {"exposure": "treated", "eligible": "eligible", "terms": "sign", "horizon": 120}
    found = ef.nested_trials(histories(500), **query, replicates=30)
    again = ef.nested_trials(histories(500).sample(fraction=1, shuffle=True, seed=2), **query, replicates=30)
    assert "30 bootstrap samples of persons" in found.method
    assert found.table.equals(again.table)
    # the same persons twice under new names: half the variance, as if twice as many had been observed
    frame = histories(500)
    twice = pl.concat([frame, frame.with_columns(pl.col("person_id") + 10_000)])
    larger = ef.nested_trials(twice, **query, replicates=30)
    error = [one.table.filter(pl.col("measure") == "hazard_ratio")["std_error"].item() for one in (found, larger)]
    assert error[1] / error[0] == pytest.approx(np.sqrt(0.5), rel=0.35)


def test_without_eligibility_after_the_first_row_the_trial_is_a_single_one() -> None:
    frame = histories(300).with_columns(first=pl.col("start") == 0)
    found = ef.nested_trials(
        frame, exposure="treated", eligible="first", terms="sign", horizon=90, protocol="per_protocol"
    )
    assert found.arms["trials"].sum() == 300
    assert found.arms["departed"].sum() > 0


def test_the_structural_model_is_a_cox_model_under_its_weights() -> None:
    frame = histories(400, 3)
    found = ef.marginal_structural_cox(
        frame, exposure="treated", baseline="", varying="sign", censored="left", truncate=None
    )
    day = frame.select("start", square=pl.col("start") ** 2).cast(pl.Float64).to_numpy()
    full = np.column_stack([frame["sign"].cast(pl.Float64), day])
    a, before, rows = frame["treated"].to_numpy(), ~frame["eligible"].to_numpy(), frame["cause"].to_numpy() == 0
    ratio, stays = np.ones(len(a)), np.ones(len(a))
    for part in (before, ~before):
        ratio[part] = chances(day[part], a[part]) / chances(full[part], a[part])
    left = frame["left"].to_numpy()
    stays[rows] = chances(np.column_stack([day, a])[rows], left[rows]) / chances(
        np.column_stack([full, a])[rows], left[rows]
    )
    weighted = frame.with_columns(ratio=pl.Series(ratio), stays=pl.Series(stays)).with_columns(
        w=pl.col("ratio").cum_prod().over("person_id")
        * pl.col("stays").cum_prod().shift(1).fill_null(1.0).over("person_id")
    )
    # a library's weights agree to its solver's gradient of 1e-10
    assert found.weight == pytest.approx(weighted["w"].to_numpy(), rel=1e-6)
    fit = sv.CoxTimeVaryingFitter().fit(
        weighted.select("person_id", "start", "stop", "cause", "w", pl.col("treated").cast(pl.Float64)),
        "cause", "start", "stop", id_col="person_id", weights_col="w", robust=True,
    )  # fmt: skip
    assert found.table["hazard_ratio"][0] == pytest.approx(np.exp(fit.params_["treated"]), rel=1e-6)
    assert found.table["std_error"][0] == pytest.approx(fit.standard_errors_["treated"], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"treated": pl.lit(value=False)}, "single_arm"),
        ({"treated": pl.lit(value=True)}, "single_arm"),
        ({"treated": pl.col("sign")}, "separation"),
        ({"cause": pl.lit(0)}, "no_events"),
    ],
)
def test_nobody_everybody_and_separation_are_outcomes_of_their_own(change: dict[str, pl.Expr], reason: str) -> None:
    frame = histories(200).with_columns(**change)
    with pytest.raises(NotEstimableError, match=reason):
        ef.nested_trials(frame, exposure="treated", eligible="eligible", terms="sign", horizon=90)
    with pytest.raises(NotEstimableError, match=reason):
        ef.marginal_structural_cox(frame, exposure="treated", baseline="", varying="sign")


def test_trials_without_an_answer_say_why() -> None:
    query = {"exposure": "treated", "terms": "sign", "horizon": 90}
    frame = histories(200).with_columns(never=pl.lit(value=False), first=pl.col("start") == 0)
    with pytest.raises(NotEstimableError, match="nobody_eligible"):
        ef.nested_trials(frame, eligible="never", **query)
    with pytest.raises(NotEstimableError, match="horizon_after_follow_up"):
        ef.nested_trials(frame, eligible="eligible", **(query | {"horizon": 5000}))
    # treatment lasts one period, and all outlive the first
    one_period = frame.with_columns(treated=pl.col("treated") & pl.col("eligible")).filter(
        pl.col("stop").max().over("person_id") > PERIOD
    )
    with pytest.raises(NotEstimableError, match="nobody_follows: every treated"):
        ef.nested_trials(one_period, eligible="first", protocol="per_protocol", **query)
    with pytest.raises(StudyError, match="protocol"):
        ef.nested_trials(frame, eligible="eligible", protocol="as_treated", **query)


def test_weights_that_a_handful_carry_are_an_outcome_of_their_own() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000) * 4
    treated = rng.random(4000) < 1 / (1 + np.exp(-1.5 * x))
    time = np.ceil(rng.exponential(60, 4000)).astype(int)
    frame = pl.DataFrame(
        {"person_id": np.arange(4000), "start": 0, "stop": time, "cause": 1, "x": x, "treated": treated}
    )
    with pytest.raises(NotEstimableError, match="weights_explode"):
        ef.nested_trials(
            frame.with_columns(e=pl.lit(value=True)), exposure="treated", eligible="e", terms="x", horizon=30
        )
    with pytest.raises(NotEstimableError, match="weights_explode"):
        ef.marginal_structural_cox(frame, exposure="treated", baseline="", varying="x", truncate=None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"stop": pl.when(pl.col("start") == 0).then(pl.col("stop") - 1).otherwise("stop")}, "after a gap"),
        ({"cause": pl.lit(1)}, "follow an event"),
        ({"stop": pl.col("stop") + 0.5}, "overlapping|whole days"),
        ({"start": pl.col("start") - 1}, "overlapping|negative"),
    ],
)
def test_broken_person_time_is_refused_by_count(change: dict[str, pl.Expr], fault: str) -> None:
    frame = histories(50).with_columns(**change)
    with pytest.raises(InputRefusedError, match=fault):
        ef.nested_trials(frame, exposure="treated", eligible="eligible", terms="sign", horizon=90)


def test_a_landmark_counts_time_and_treatment_from_itself() -> None:
    frame = pl.DataFrame({"time": [10, 30, 31, 90], "cause": [1, 1, 1, 0], "started": [5, None, 30, 40]})
    kept = ef.at_landmark(frame, 30, treatment_time="started")
    assert kept.to_dict(as_series=False) == {
        "time": [1, 60], "cause": [1, 0], "started": [30, 40], "treated": [True, False]
    }  # fmt: skip


def test_spells_before_and_after_a_start() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "time": [9, 9, 9, 9], "cause": [1, 2, 1, 0], "s": [None, 4, 0, 9]})
    rows = ef.exposure_spells(frame, treatment_time="s").sort("id", "start")
    assert rows.select("id", "start", "stop", "cause", "treated").rows() == [
        (1, 0.0, 9.0, 1, False),
        (2, 0.0, 4.0, 0, False),
        (2, 4.0, 9.0, 2, True),
        (3, 0.0, 9.0, 1, True),
        (4, 0.0, 9.0, 0, False),  # what happens on a day happens before a treatment of that day
    ]


def test_ever_treated_protects_where_nothing_does() -> None:
    rng = np.random.default_rng(4)
    n = 4000
    time, started = np.ceil(rng.exponential(200, n)), np.ceil(rng.exponential(150, n))
    end = np.minimum(time, 365)
    frame = pl.DataFrame(
        {"time": end.astype(int), "cause": (time <= 365).astype(int), "x": rng.integers(0, 2, n), "started": started}
    ).with_columns(pl.when(pl.col("started") <= pl.col("time")).then("started").alias("started"))
    found = ef.immortal_time_comparison(
        frame, treatment_time="started", grace_days=60, horizon=365, terms="x", replicates=40
    )
    ratio = dict(zip(found["analysis"], found["hazard_ratio"], strict=True))
    assert ratio.pop("ever treated") < 0.6
    inside = found[1:].select((pl.col("lower") < 1) & (pl.col("upper") > 1)).to_series()
    assert inside.all()  # the truth is 1
    nobody = ef.immortal_time_comparison(
        frame.with_columns(started=pl.lit(None, pl.Float64)), treatment_time="started", grace_days=60, horizon=365,
        terms="x",
    )  # fmt: skip
    assert nobody["hazard_ratio"].null_count() == 4
    assert nobody["not_estimable"].null_count() == 0
