"""Fine–Gray regression against written-out definitions on small sets with ties, and its failures."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.cox import fit_cox
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.fine_gray import FineGrayFitter, fit_fine_gray

Floats = NDArray[np.float64]


def people(n: int, seed: int, last_day: int = 25) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.integers(0, 2, n)
    when = np.ceil(rng.exponential(12 / np.exp(0.4 * x), n)).astype(int)
    which = 1 + (rng.random(n) < 0.4)
    out = rng.integers(1, last_day, n)
    return pl.DataFrame({"time": np.minimum(when, out), "cause": np.where(when <= out, which, 0), "x": x, "y": y})


def censoring_curve(time: Any, cause: Any, *, events_leave_first: bool) -> Any:
    """Return G(t-) as a function of t, straight from its definition."""

    def before(t: float) -> float:
        product = 1.0
        for u in np.unique(time[(cause == 0) & (time < t)]):
            exposed = (time >= u).sum() - (((time == u) & (cause != 0)).sum() if events_leave_first else 0)
            product *= 1 - ((time == u) & (cause == 0)).sum() / exposed
        return product

    return before


@pytest.mark.parametrize("seed", range(5))
def test_efron_is_the_weighted_cox_model_of_expanded_rows(seed: int) -> None:
    # one row (t_k-1, t_k] for each event time after a competing event, weighted G(t_k-) / G(T-), scores by person
    frame = people(60, seed)
    time, cause = frame["time"].to_numpy(), frame["cause"].to_numpy()
    covariates = frame.select("x", "y").to_numpy().astype(float)
    free = censoring_curve(time, cause, events_leave_first=True)
    events = np.unique(time[cause == 1])
    rows = [(0.0, t, float(c == 1), 1.0, i) for i, (t, c) in enumerate(zip(time, cause, strict=True))]
    for i in np.flatnonzero(cause == 2):
        edges = np.concatenate([[time[i]], events[events > time[i]]])
        rows += [(low, high, 0.0, free(high) / free(time[i]), i) for low, high in pairwise(edges)]
    entry, stop, event, weight, person = (np.array(column) for column in zip(*rows, strict=True))
    expanded = estimate(
        covariates[person], Follow(stop, event, entry, weight=weight), ("x", "y"), cluster=person.astype(np.int64)
    )
    fit = fit_fine_gray(frame, terms="x + y", ties="efron")
    np.testing.assert_allclose(fit.coef, expanded.coef, rtol=1e-10)
    np.testing.assert_allclose(fit.std_error, expanded.std_error, rtol=1e-10)
    np.testing.assert_allclose(fit.log_likelihood, expanded.point.log_likelihood, rtol=1e-12)


def written_out_sandwich(frame: pl.DataFrame, coef: Floats) -> Floats:
    """Return Fine and Gray's (1999) variance from eta and psi as printed there, by loops over persons and times."""
    time, cause = frame["time"].to_numpy(), frame["cause"].to_numpy()
    z = frame.select("x", "y").to_numpy().astype(float)
    n, p = z.shape
    free = censoring_curve(time, cause, events_leave_first=False)
    risk = np.exp(z @ coef)

    def weight(i: int, t: float) -> float:
        if time[i] >= t:
            return 1.0
        return free(t) / free(time[i]) if cause[i] == 2 else 0.0

    times = np.unique(time[cause == 1])
    w = np.array([[weight(i, t) for t in times] for i in range(n)])
    s0 = (w * risk[:, None]).sum(0)
    mean = (w * risk[:, None]).T @ z / s0[:, None]
    hazard = np.array([((time == t) & (cause == 1)).sum() for t in times]) / s0
    information = np.zeros((p, p))
    for k, t in enumerate(times):
        centred = z - mean[k]
        spread = (centred * (w[:, k] * risk)[:, None]).T @ centred / s0[k]
        information += ((time == t) & (cause == 1)).sum() * spread
    jump = np.array(
        [
            [(time[i] == t) * (cause[i] == 1) - w[i, k] * risk[i] * hazard[k] for k, t in enumerate(times)]
            for i in range(n)
        ]
    )
    eta = np.einsum("ik,ikp->ip", jump, z[:, None, :] - mean[None])
    psi = np.zeros((n, p))
    for u in np.unique(time[cause == 0]):
        late = time < u
        q = -np.einsum("ik,ikp->p", jump[late][:, times >= u], z[late][:, None, :] - mean[times >= u][None])
        at_risk = (time >= u).sum()
        rate = ((time == u) & (cause == 0)).sum() / at_risk
        for i in range(n):
            psi[i] += q / at_risk * ((time[i] == u) * (cause[i] == 0) - (time[i] >= u) * rate)
    bread = np.linalg.inv(information)
    return bread @ (eta + psi).T @ (eta + psi) @ bread


@pytest.mark.parametrize("seed", range(5))
def test_breslow_sandwich_counts_the_estimation_of_censoring(seed: int) -> None:
    frame = people(50, seed)
    fit = fit_fine_gray(frame, terms="x + y", ties="breslow")
    np.testing.assert_allclose(fit.covariance, written_out_sandwich(frame, fit.coef), rtol=1e-9)


def test_without_competing_events_it_is_a_cox_model() -> None:
    frame = people(200, 9).with_columns(cause=(pl.col("cause") > 0).cast(pl.Int64))
    for ties in ("efron", "breslow"):
        fit = fit_fine_gray(frame, terms="x + y", ties=ties)  # type: ignore[arg-type]  # of Literal
        cox = fit_cox(frame, event="cause", terms="x + y", ties=ties)  # type: ignore[arg-type]  # of Literal
        np.testing.assert_allclose(fit.coef, cox.coef, rtol=1e-12)


def test_without_censoring_a_competing_event_lasts_for_ever() -> None:
    # weights are 1: a Cox model in which competing events are moved beyond the last day
    frame = people(150, 10, last_day=10**5).with_columns(cause=pl.col("cause").replace(0, 2))
    moved = frame.with_columns(
        time=pl.when(pl.col("cause") == 2).then(10**5).otherwise("time"), event=pl.col("cause") == 1
    )
    fit = fit_fine_gray(frame, terms="x + y", ties="breslow")
    cox = fit_cox(moved, terms="x + y", ties="breslow")
    np.testing.assert_allclose(fit.coef, cox.coef, rtol=1e-10)


def test_row_order_changes_no_bit_and_names_of_other_causes_nothing() -> None:
    frame = people(300, 11)
    fit = fit_fine_gray(frame, terms="x + y")
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    assert fit_fine_gray(mixed, terms="x + y").covariance.tobytes() == fit.covariance.tobytes()
    renamed = fit_fine_gray(mixed.with_columns(cause=pl.col("cause").replace(2, 7)), terms="x + y")
    np.testing.assert_allclose(renamed.covariance, fit.covariance, rtol=1e-10)


def test_predicted_incidence_of_a_person_at_the_means_is_the_baseline() -> None:
    frame = people(300, 12)
    fitter = FineGrayFitter().fit(frame, "time", "cause", 1, "x + y")
    fit = fitter.fit_
    centre = pl.DataFrame({"x": [fit.means[0]], "y": [fit.means[1]]})
    curve = fitter.predict_cumulative_incidence(centre)
    np.testing.assert_allclose(curve["0"], 1 - np.exp(-np.cumsum(fit.hazard)), rtol=1e-12)
    assert fitter.predict_cumulative_incidence(centre, [0.0])["0"].to_list() == [0.0]
    assert curve["0"].is_sorted()


def test_failures_are_named() -> None:
    frame = people(100, 13)
    with pytest.raises(NotEstimableError, match="no_events"):
        fit_fine_gray(frame, cause_of_interest=3, terms="x")
    with pytest.raises(StudyError, match="0 means censored"):
        fit_fine_gray(frame, cause_of_interest=0, terms="x")
    with pytest.raises(NotEstimableError, match=r"constant\(c\)"):
        fit_fine_gray(frame.with_columns(c=1), terms="x + c")
    with pytest.raises(NotEstimableError, match=r"monotone_likelihood\(only\)"):
        fit_fine_gray(frame.with_columns(only=pl.col("cause") == 1), terms="x + only")
    with pytest.raises(InputRefusedError, match="is not a cause"):
        fit_fine_gray(frame.with_columns(cause=pl.col("cause") - 0.5), terms="x")
    with pytest.raises(AttributeError, match="call fit first"):
        _ = FineGrayFitter().params_
