"""Parametric models: closed forms, equivalences between them, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

from cohort import survival as sv
from cohort.errors import InputRefusedError, NotEstimableError, StudyError


def people(n: int = 400, seed: int = 4) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, n), rng.integers(0, 2, n)
    event = np.ceil(30 * np.exp(0.3 * x - 0.4 * y) * rng.weibull(1.5, n)).astype(int)
    censoring = rng.integers(5, 80, n)
    time = np.minimum(event, censoring)
    entry = (time * rng.random(n) * 0.6).astype(int)
    return pl.DataFrame({"time": time, "event": event <= censoring, "entry": entry, "x": x, "y": y})


FAMILIES = ("weibull", "exponential", "log_normal", "log_logistic")


def test_the_exponential_rate_is_events_over_person_time() -> None:
    frame = people()
    days = float((frame["time"] - frame["entry"]).sum())
    events = float(frame["event"].sum())
    fit = sv.fit_parametric(frame, entry="entry", model="exponential")
    np.testing.assert_allclose(np.exp(-fit.coef), [events / days], rtol=1e-12)
    np.testing.assert_allclose(fit.std_error, [1 / np.sqrt(events)], rtol=1e-12)
    np.testing.assert_allclose(fit.log_likelihood, events * np.log(events / days) - events, rtol=1e-12)
    piece = sv.fit_piecewise_exponential(frame, entry="entry", cuts=[])
    np.testing.assert_allclose(piece.coef, -fit.coef, rtol=1e-12)
    np.testing.assert_allclose(piece.log_likelihood, fit.log_likelihood, rtol=1e-12)


def test_rates_by_piece_are_events_over_person_time_in_it() -> None:
    # three persons: (0, 5] event, (0, 12] event, (3, 20] censored; cut at 10
    # first piece: 1 event in 5 + 10 + 7 = 22 days; second: 1 event in 2 + 10 = 12 days
    frame = pl.DataFrame({"time": [5, 12, 20], "event": [1, 1, 0], "entry": [0, 0, 3]})
    fit = sv.fit_piecewise_exponential(frame, entry="entry", cuts=[10])
    np.testing.assert_allclose(np.exp(fit.coef), [1 / 22, 1 / 12], rtol=1e-12)
    np.testing.assert_allclose(fit.std_error, [1, 1], rtol=1e-12)
    assert fit.parameters == ("log rate from 0", "log rate from 10")
    survival = fit.survival(pl.DataFrame({"none": [0]}), [0, 10, 15])
    np.testing.assert_allclose(survival["estimate"], np.exp([0, -10 / 22, -10 / 22 - 5 / 12]), rtol=1e-12)


def test_weibull_is_a_spline_without_inner_knots() -> None:
    # log H = (log t - x'beta) / sigma: hazard ratios are -beta / sigma, the slope of the spline 1 / sigma
    frame = people()
    life = sv.fit_parametric(frame, entry="entry", terms="x + y")
    hazard = sv.fit_spline(frame, entry="entry", terms="x + y", knots=0)
    sigma = np.exp(life.coef[-1])
    np.testing.assert_allclose(hazard.coef, np.array([-life.coef[0], 1, *-life.coef[1:3]]) / sigma, rtol=1e-9)
    np.testing.assert_allclose(hazard.log_likelihood, life.log_likelihood, rtol=1e-13)
    new = pl.DataFrame({"x": [0, 2], "y": [1, 0]})
    for column in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(
            hazard.survival(new, [0, 10, 40])[column], life.survival(new, [0, 10, 40])[column], rtol=1e-6
        )


def negative_log_likelihood(theta: np.ndarray, frame: pl.DataFrame, error) -> float:
    """The textbook's sum: log f for events, log S for the censored, minus log S at a late entry."""
    time, entry = frame["time"].to_numpy().astype(float), frame["entry"].to_numpy().astype(float)
    eta = theta[0] + frame.select("x", "y").to_numpy() @ theta[1:3]
    scale = np.exp(theta[3])
    z = (np.log(time) - eta) / scale
    each = np.where(frame["event"], error.logpdf(z) - theta[3] - np.log(time), error.logsf(z))
    late = entry > 0
    return float(-each.sum() + error.logsf((np.log(entry[late]) - eta[late]) / scale).sum())


@pytest.mark.parametrize(
    ("model", "error"),
    [("weibull", stats.gumbel_l), ("log_normal", stats.norm), ("log_logistic", stats.logistic)],
)
def test_delayed_entry_against_the_sum_written_out(model, error) -> None:
    frame = people(150)
    fit = sv.fit_parametric(frame, entry="entry", terms="x + y", model=model)
    np.testing.assert_allclose(negative_log_likelihood(fit.coef, frame, error), -fit.log_likelihood, rtol=1e-12)
    slope = optimize.approx_fprime(fit.coef, negative_log_likelihood, 1e-6, frame, error)
    np.testing.assert_allclose(slope * fit.std_error, 0, atol=1e-3)  # forward differences: 1e-6 × curvature
    nearby = optimize.minimize(negative_log_likelihood, fit.coef + 0.1 * fit.std_error, (frame, error), tol=1e-12)
    np.testing.assert_allclose(nearby.fun, -fit.log_likelihood, rtol=1e-9)
    assert nearby.fun >= -fit.log_likelihood - 1e-9


class LogGamma:
    """The generalised gamma's error by scipy: q e + log k is the log of a gamma variate of shape k = 1 / q²."""

    def __init__(self, q: float) -> None:
        self.q, self.k = q, q**-2

    def logpdf(self, z: np.ndarray) -> np.ndarray:
        return stats.loggamma.logpdf(self.q * z + np.log(self.k), self.k) + np.log(abs(self.q))

    def logsf(self, z: np.ndarray) -> np.ndarray:
        tail = stats.loggamma.logsf if self.q > 0 else stats.loggamma.logcdf
        return tail(self.q * z + np.log(self.k), self.k)


def test_the_generalised_gamma_against_the_sum_written_out() -> None:
    frame = people(300)
    fit = sv.fit_parametric(frame, entry="entry", terms="x + y", model="generalised_gamma")
    assert fit.parameters == ("intercept", "x", "y", "log(scale)", "shape")

    def negative(theta: np.ndarray) -> float:
        return negative_log_likelihood(theta[:-1], frame, LogGamma(float(theta[-1])))

    np.testing.assert_allclose(negative(fit.coef), -fit.log_likelihood, rtol=1e-11)
    unit = fit.std_error
    for j in range(5):
        step = 1e-3 * unit * (np.arange(5) == j)
        assert abs(negative(fit.coef + step) - negative(fit.coef - step)) / 2e-3 < 1e-4  # the slope per standard error
        # its curvature is that of the information
        bend = (negative(fit.coef + 100 * step) - 2 * negative(fit.coef) + negative(fit.coef - 100 * step)) / 0.01
        np.testing.assert_allclose(bend, np.linalg.inv(fit.covariance)[j, j] * unit[j] ** 2, rtol=0.02)
    for special in ("weibull", "log_normal"):
        assert fit.log_likelihood > sv.fit_parametric(frame, entry="entry", terms="x + y", model=special).log_likelihood


def test_the_generalised_gamma_of_inverse_times_has_the_opposite_shape() -> None:
    frame = people(500).select("time", "x", event=pl.lit(value=True))
    turned_frame = frame.with_columns(time=1 / pl.col("time"))
    fit, inverse = (sv.fit_parametric(f, terms="x", model="generalised_gamma") for f in (frame, turned_frame))
    np.testing.assert_allclose(inverse.coef, fit.coef * [-1, -1, 1, -1], rtol=1e-6)
    np.testing.assert_allclose(inverse.std_error, fit.std_error, rtol=1e-6)
    shown = fit.survival(pl.DataFrame({"x": [1]}), [10, 30]).select("estimate").to_series()
    turned = inverse.survival(pl.DataFrame({"x": [1]}), [1 / 10, 1 / 30]).select("estimate").to_series()
    np.testing.assert_allclose(shown + turned, 1, rtol=1e-8)


def test_the_spline_against_its_likelihood_written_out() -> None:
    frame = people(200)
    fit = sv.fit_spline(frame, entry="entry", terms="x", knots=2)
    spline = fit.log_hazard.keywords["spline"]
    time, entry = (frame[name].to_numpy().astype(float) for name in ("time", "entry"))
    x, event = frame["x"].to_numpy(), frame["event"].to_numpy()

    def log_hazard(theta: np.ndarray, at: np.ndarray) -> np.ndarray:
        # by hand: gamma0 + gamma1 s + sum gamma_k v_k(s) + beta x, s = log t
        low, *inner, high = spline.knots
        s, value = np.log(at), theta[0] + theta[1] * np.log(at)
        for gamma, knot in zip(theta[2:4], inner, strict=True):
            share = (high - knot) / (high - low)
            cubes = [np.maximum(s - k, 0) ** 3 for k in (knot, low, high)]
            value = value + gamma * (cubes[0] - share * cubes[1] - (1 - share) * cubes[2])
        return value

    def negative(theta: np.ndarray) -> float:
        step = 1e-5  # of log t; the slope of log H by log t, so that h = H dlogH/dlog t / t
        upper, lower = (log_hazard(theta, time * np.exp(side * step)) for side in (1, -1))
        cumulative = np.exp(log_hazard(theta, time) + theta[4] * x)
        with np.errstate(invalid="ignore"):
            density = np.log(cumulative) + np.log((upper - lower) / (2 * step)) - np.log(time)
        late = entry > 0
        before = np.exp(log_hazard(theta, entry[late]) + theta[4] * x[late])
        return float(-(density[event].sum() - cumulative.sum() + before.sum()))

    np.testing.assert_allclose(-negative(fit.coef), fit.log_likelihood, rtol=1e-9)
    for j in range(5):
        step = np.zeros(5)
        step[j] = 1e-4 * fit.std_error[j]
        slope = (negative(fit.coef + step) - negative(fit.coef - step)) / 2e-4
        assert abs(slope) < 1e-5  # per standard error
    # knots lie at thirds of the log event times, the boundaries at their ends
    np.testing.assert_allclose(spline.knots, np.quantile(np.log(time[event]), [0, 1 / 3, 2 / 3, 1]), rtol=1e-14)


def test_more_knots_come_closer_to_kaplan_meier() -> None:
    # a hazard that rises and falls: log-logistic times with median 50
    share = (np.arange(2000) + 0.5) / 2000
    time = np.ceil(50 * (share / (1 - share)) ** 0.4).astype(int)
    frame = pl.DataFrame({"time": np.minimum(time, 300), "event": time <= 300})
    curve = sv.kaplan_meier(frame, "time", "event").to_polars()
    none = pl.DataFrame({"n": [0]})
    gaps = [
        float(
            (sv.fit_spline(frame, knots=k).survival(none, curve["time"].to_list())["estimate"] - curve["estimate"])
            .abs()
            .max()
        )
        for k in (0, 1, 4)
    ]
    assert gaps[0] > 0.05 > gaps[1] > gaps[2]
    assert gaps[2] < 0.01


def test_a_spline_that_would_let_survival_rise_is_refused() -> None:
    # two waves of events with nothing in between: lifelines returns such curves (#1339)
    rng = np.random.default_rng(1)
    time = np.ceil(np.concatenate([rng.normal(30, 5, 500), rng.normal(200, 20, 500)])).astype(int)
    with pytest.raises(NotEstimableError, match="falling_cumulative_hazard"):
        sv.fit_spline(pl.DataFrame({"time": np.maximum(time, 1), "event": 1}), knots=2)


@pytest.mark.parametrize("kind", [*FAMILIES, "spline", "pieces", "interval"])
def test_rows_with_counts_are_the_same_likelihood(kind: str) -> None:
    frame = people().with_columns(lower=pl.max_horizontal("entry", pl.lit(1)), upper=pl.col("time") + 1)
    keys = ["time", "event", "x", "y", "lower", "upper"]
    counted = frame.group_by(keys).agg(w=pl.len()).sort(keys)
    fits = []
    for rows, weights in ((frame.sample(fraction=1, shuffle=True, seed=2), None), (counted, "w")):
        if kind == "interval":
            fits.append(sv.fit_interval_censored(rows, terms="x + y", weights=weights))
        elif kind == "spline":
            fits.append(sv.fit_spline(rows, terms="x + y", knots=0, weights=weights))
        elif kind == "pieces":
            fits.append(sv.fit_piecewise_exponential(rows, cuts=[10, 30], terms="x + y", weights=weights))
        else:
            fits.append(sv.fit_parametric(rows, terms="x + y", model=kind, weights=weights))
    np.testing.assert_array_equal(fits[0].coef, fits[1].coef)
    np.testing.assert_array_equal(fits[0].covariance, fits[1].covariance)
    assert fits[0].n_rows == fits[1].n_rows < fits[0].n


def test_interval_censoring_narrows_down_to_right_censoring() -> None:
    frame = people()
    tight = frame.with_columns(
        lower=pl.col("time").cast(pl.Float64),
        upper=pl.when("event").then(pl.col("time").cast(pl.Float64)).otherwise(None),
    )
    for model in FAMILIES:
        exact = sv.fit_parametric(frame, terms="x + y", model=model)
        same = sv.fit_interval_censored(tight, terms="x + y", model=model)
        np.testing.assert_allclose(same.coef, exact.coef, rtol=1e-10)
        # a day's width: the probability of the interval is about the density times its width
        width = 1e-4
        narrow = tight.with_columns(
            upper=pl.col("upper") + width / 2, lower=pl.col("lower") - width / 2 * (pl.col("event"))
        )
        close = sv.fit_interval_censored(narrow, terms="x + y", model=model)
        np.testing.assert_allclose(close.coef, exact.coef, rtol=1e-5, atol=1e-6)
        events = float(frame["event"].sum())
        np.testing.assert_allclose(close.log_likelihood - events * np.log(width), exact.log_likelihood, rtol=1e-6)


def test_prediction_limits_are_those_of_the_log_cumulative_hazard() -> None:
    # exponential: log H = log t - intercept, whose variance is that of the intercept
    frame = people()
    fit = sv.fit_parametric(frame, model="exponential", level=0.9)
    shown = fit.survival(pl.DataFrame({"none": [0]}), [20]).row(0, named=True)
    log_hazard = np.log(20) - fit.coef[0]
    reach = stats.norm.isf(0.05) * fit.std_error[0]
    for name, value in (("estimate", 0), ("lower", reach), ("upper", -reach)):
        np.testing.assert_allclose(shown[name], np.exp(-np.exp(log_hazard + value)), rtol=1e-9)


def test_a_shift_and_a_scale_of_a_covariate_change_nothing_else() -> None:
    frame = people()
    moved = frame.with_columns(x=pl.col("x") * 1e-6 + 1e3)
    for fit, other in (
        (sv.fit_parametric(f, terms="x + y") for f in (frame, moved)),
        (sv.fit_spline(f, terms="x + y") for f in (frame, moved)),
        (sv.fit_piecewise_exponential(f, cuts=[20], terms="x + y") for f in (frame, moved)),
    ):
        place = fit.parameters.index("x")
        np.testing.assert_allclose(other.coef[place] * 1e-6, fit.coef[place], rtol=1e-6)
        np.testing.assert_allclose(other.coef[place + 1], fit.coef[place + 1], rtol=1e-8)
        np.testing.assert_allclose(other.log_likelihood, fit.log_likelihood, rtol=1e-12)


def test_day_0() -> None:
    frame = people(60)
    idle = pl.concat(
        [
            frame,
            frame.head(2).with_columns(time=pl.lit(0, pl.Int64), event=pl.lit(value=False), entry=pl.lit(0, pl.Int64)),
        ]
    )
    fit, with_them = (sv.fit_parametric(f, terms="x") for f in (frame, idle))
    np.testing.assert_array_equal(fit.coef, with_them.coef)
    assert (with_them.n, with_them.n_missing) == (fit.n + 2, 0)
    died = idle.with_columns(event=pl.col("event") | (pl.col("time") == 0))
    with pytest.raises(InputRefusedError, match="an event on day 0 has no logarithm in 2 rows"):
        sv.fit_parametric(died, terms="x")
    # a piecewise rate can count them: two more events, not a day more
    before, after = (sv.fit_piecewise_exponential(f, cuts=[]) for f in (idle, died))
    np.testing.assert_allclose(np.exp(after.coef - before.coef), [1 + 2 / frame["event"].sum()], rtol=1e-12)


@pytest.mark.parametrize(
    "fitted",
    [
        lambda f, t: sv.fit_parametric(f, terms=t),
        lambda f, t: sv.fit_parametric(f, terms=t, model="log_normal"),
        lambda f, t: sv.fit_spline(f, terms=t, knots=1),
        lambda f, t: sv.fit_piecewise_exponential(f, cuts=[20], terms=t),
    ],
)
def test_what_cannot_be_estimated_is_named(fitted) -> None:
    frame = people(80).drop("entry")
    cases = {
        r"constant\(c\)": (frame.with_columns(c=pl.lit(3)), "x + c"),
        r"collinear\(x, c\)": (frame.with_columns(c=2 * pl.col("x") - 1), "x + y + c"),
        "no_events": (frame.with_columns(event=pl.lit(value=False)), "x"),
        # nobody with c has an event: their coefficient has no bound
        r"monotone_likelihood\(c\)": (
            frame.with_columns(c=(~pl.col("event")) & (pl.col("time") > 30)),
            "y + c",
        ),
    }
    for message, (rows, terms) in cases.items():
        with pytest.raises(NotEstimableError, match=message):
            fitted(rows, terms)
    with pytest.raises(NotEstimableError):
        fitted(frame.head(0), "x")


def test_refusals() -> None:
    frame = people(40)
    with pytest.raises(NotEstimableError, match=r"no_events\(piece from 1000\)"):
        sv.fit_piecewise_exponential(frame, cuts=[1000])
    with pytest.raises(NotEstimableError, match="knots_coincide"):
        sv.fit_spline(pl.DataFrame({"time": [3, 3, 3, 5], "event": [1, 1, 1, 0]}), knots=2)
    with pytest.raises(StudyError, match="model must be one of"):
        sv.fit_parametric(frame, model="gompertz")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="knots"):
        sv.fit_spline(frame, knots=-1)
    for lower, upper in (([3.0], [2.0]), ([-1.0], [2.0]), ([0.0], [0.0]), ([float("nan")], [2.0])):
        with pytest.raises(InputRefusedError, match="in 1 rows"):
            sv.fit_interval_censored(pl.DataFrame({"lower": lower, "upper": upper}))
    with pytest.raises(NotEstimableError, match="no_events"):
        sv.fit_interval_censored(pl.DataFrame({"lower": [3.0, 4.0], "upper": [None, None]}))


def test_a_fit_can_be_sent_to_another_process() -> None:
    fit = pickle.loads(pickle.dumps(sv.fit_spline(people(50), terms="x")))  # noqa: S301 -- its own bytes
    assert fit.survival(pl.DataFrame({"x": [1]}), [10]).height == 1
