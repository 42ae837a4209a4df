"""What must not change a model, for all models that are not in test_survival_cox_invariance: order, units, labels.

To 1e-9: Newton's method ends within 1e-10 standard errors of the maximum, from wherever it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv

FOLLOW_UP = ("time", "event", "entry")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def people(n: int = 600, seed: int = 8) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, exposed = rng.integers(20, 80, n), rng.integers(0, 2, n)
    entry = rng.integers(0, 10, n)
    time = entry + 1 + np.floor(rng.exponential(30 / np.exp(0.01 * (x - 50) + 0.4 * exposed))).astype(int)
    cause = np.where(time > 60 + entry, 0, rng.choice([0, 1, 2], n, p=[0.2, 0.5, 0.3]))
    return pl.DataFrame(
        {"id": np.arange(n), "entry": entry, "time": np.minimum(time, entry + 60), "cause": cause, "x": x, "y": exposed}
    ).with_columns(event=(pl.col("cause") == 1).cast(pl.Int64), w=pl.Series(rng.integers(1, 4, n)))


@dataclass(frozen=True)
class Fitted:
    """Coefficients and standard errors of x and y, and the log-likelihood."""

    coef: np.ndarray
    std_error: np.ndarray
    log_likelihood: float


def of_parameters(fit: Any) -> Fitted:
    places = [fit.parameters.index(name) for name in ("x", "y")]
    return Fitted(fit.coef[places], fit.std_error[places], fit.log_likelihood)


def of_terms(fit: Any) -> Fitted:
    return Fitted(fit.coef, fit.std_error, fit.log_likelihood)


def of_lifelines(fit: Any) -> Fitted:
    return Fitted(fit.params_.to_numpy(), fit.standard_errors_.to_numpy(), fit.log_likelihood_)


MODELS: dict[str, Callable[[pl.DataFrame], Fitted]] = {
    "Cox": lambda f: of_terms(sv.fit_cox(f, entry="entry", terms="x + y")),
    "Cox, robust": lambda f: of_lifelines(
        sv.CoxPHFitter().fit(
            f.select("time", "event", "entry", "x", "y"), "time", "event", entry_col="entry", robust=True
        )
    ),
    "Cox of intervals": lambda f: of_lifelines(
        sv.CoxTimeVaryingFitter().fit(
            f.select("id", "entry", "time", "event", "x", "y"), "event", "entry", "time", id_col="id", robust=True
        )
    ),
    "Firth": lambda f: of_terms(sv.fit_cox(f, entry="entry", terms="x + y", firth=True)),
    "Fine-Gray, Efron": lambda f: of_terms(sv.fit_fine_gray(f, terms="x + y")),
    "Fine-Gray, Breslow": lambda f: of_terms(sv.fit_fine_gray(f, terms="x + y", ties="breslow")),
    "cause-specific": lambda f: of_terms(sv.fit_cause_specific(f, entry="entry", terms="x + y").fits[2]),
    "Weibull": lambda f: of_parameters(sv.fit_parametric(f, entry="entry", terms="x + y")),
    "log-logistic": lambda f: of_parameters(sv.fit_parametric(f, entry="entry", terms="x + y", model="log_logistic")),
    "spline": lambda f: of_parameters(sv.fit_spline(f, entry="entry", terms="x + y", knots=1)),
}
OF_DENSITIES = ("Weibull", "log-logistic", "spline")


def compare(after: Fitted, before: Fitted, scale: Any = 1.0, *, log_likelihood: float = 0.0) -> None:
    np.testing.assert_allclose(after.coef * scale, before.coef, **CLOSE)
    np.testing.assert_allclose(after.std_error * np.abs(scale), before.std_error, **CLOSE)
    np.testing.assert_allclose(after.log_likelihood - log_likelihood, before.log_likelihood, rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_order_of_rows(name: str) -> None:
    frame = people()
    compare(MODELS[name](frame.sample(fraction=1, shuffle=True, seed=3)), MODELS[name](frame))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("shift", "factor"), [(1e9, 1.0), (0.0, 1e9), (0.0, 1e-9), (-17.0, -3.0)])
def test_shift_and_scale_of_a_covariate(name: str, shift: float, factor: float) -> None:
    frame = people()
    moved = frame.with_columns(x=pl.col("x") * factor + shift)
    # Firth's penalty is of the information in the units of the columns
    extra = -np.log(abs(factor)) if name == "Firth" else 0.0
    after, before = MODELS[name](moved), MODELS[name](frame)
    compare(after, before, np.array([factor, 1.0]), log_likelihood=-extra)


@pytest.mark.parametrize("name", MODELS)
def test_labels_of_an_exposure(name: str) -> None:
    frame = people()
    compare(MODELS[name](frame.with_columns(y=1 - pl.col("y"))), MODELS[name](frame), np.array([1.0, -1.0]))


@pytest.mark.parametrize("name", MODELS)
def test_unit_of_time(name: str) -> None:
    # weeks: multiples of 1/7 are not exact in binary, so ties survive only as near ties
    frame = people()
    weeks = frame.with_columns(pl.col("time", "entry") / 7)
    before, after = MODELS[name](frame), MODELS[name](weeks)
    # the density of a time in weeks is 7 times that in days, for each event; a partial likelihood has no density
    events = float(frame["event"].sum()) * np.log(7) if name in OF_DENSITIES else 0.0
    compare(after, before, log_likelihood=events)


@pytest.mark.parametrize("name", ["Cox", "Cox of intervals", "Weibull", "log-logistic", "spline", "cause-specific"])
def test_follow_up_cut_into_episodes(name: str) -> None:
    frame = people()
    middle = ((pl.col("entry") + pl.col("time")) // 2).alias("middle")
    cut = frame.with_columns(middle).filter(pl.col("middle") > pl.col("entry"))
    parts = [
        frame.with_columns(middle).filter(pl.col("middle") <= pl.col("entry")),
        cut.with_columns(time=pl.col("middle"), event=pl.lit(0, pl.Int64), cause=pl.lit(0, pl.Int64)),
        cut.with_columns(entry=pl.col("middle")),
    ]
    compare(MODELS[name](pl.concat(parts, how="vertical_relaxed")), MODELS[name](frame))


def test_weights_are_copies_and_weights_of_0_are_nothing() -> None:
    # Breslow's ties; parametric likelihoods have none
    frame = people(200)
    copies = frame.select(pl.all().repeat_by("w").explode())
    nobody = frame.head(20).with_columns(w=pl.lit(0, pl.Int64))
    weighted = pl.concat([frame, nobody], how="vertical_relaxed")

    def cox(rows: pl.DataFrame, weights: str | None) -> Fitted:
        columns = ["time", "event", "entry", "x", "y", *([weights] if weights else [])]
        return of_lifelines(
            sv.CoxPHFitter(ties="breslow").fit(
                rows.select(columns), "time", "event", entry_col="entry", weights_col=weights
            )
        )

    def life(rows: pl.DataFrame, weights: str | None) -> Fitted:
        return of_parameters(sv.fit_parametric(rows, entry="entry", terms="x + y", weights=weights))

    def flexible(rows: pl.DataFrame, weights: str | None) -> Fitted:
        return of_parameters(sv.fit_spline(rows, entry="entry", terms="x + y", knots=0, weights=weights))

    for model in (cox, life, flexible):
        compare(model(weighted, "w"), model(copies, None))


@pytest.mark.parametrize("copies", [2, 5])
def test_everybody_several_times_is_as_much_information(copies: int) -> None:
    frame = people(300)
    many = pl.concat([frame] * copies)
    for name in ("Fine-Gray, Breslow", "Weibull", "spline"):
        before, after = MODELS[name](frame), MODELS[name](many)
        np.testing.assert_allclose(after.coef, before.coef, **CLOSE)
        np.testing.assert_allclose(after.std_error * np.sqrt(copies), before.std_error, rtol=1e-8)


def test_swapping_the_names_of_two_causes_swaps_their_models() -> None:
    frame = people()
    swapped = frame.with_columns(cause=pl.col("cause").replace({1: 2, 2: 1}))
    for ties in ("efron", "breslow"):
        compare(
            of_terms(sv.fit_fine_gray(swapped, cause_of_interest=2, terms="x + y", ties=ties)),
            of_terms(sv.fit_fine_gray(frame, cause_of_interest=1, terms="x + y", ties=ties)),
        )
