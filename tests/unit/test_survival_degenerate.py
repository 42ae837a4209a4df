"""Input that determines no model: each ends in a typed outcome that names the column or counts the rows."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival import (
    CoxPHFitter,
    CoxTimeVaryingFitter,
    fit_cause_specific,
    fit_cox,
    fit_cox_buckets,
    fit_fine_gray,
    fit_parametric,
    fit_piecewise_exponential,
    kaplan_meier,
)

N = 60
RNG = np.random.default_rng(9)
GOOD: dict[str, Any] = {
    "time": RNG.integers(1, 40, N).tolist(),
    "event": RNG.integers(0, 2, N).tolist(),
    "x": RNG.normal(size=N).tolist(),
    "y": RNG.integers(0, 2, N).tolist(),
}
MODELS = {
    "fit_cox": lambda frame: fit_cox(frame, terms="x + y"),
    "firth": lambda frame: fit_cox(frame, terms="x + y", firth=True),
    "CoxPHFitter": lambda frame: CoxPHFitter().fit(frame, "time", "event"),
    "CoxPHFitter, pandas": lambda frame: CoxPHFitter().fit(
        pd.DataFrame({name: frame[name].to_list() for name in frame.columns}), "time", "event"
    ),
    "CoxTimeVaryingFitter": lambda frame: CoxTimeVaryingFitter().fit(
        frame.with_columns(start=pl.lit(-1.0)), "event", "start", "time"
    ),
    "Fine-Gray": lambda frame: fit_fine_gray(frame, "time", "event", terms="x + y"),
    "cause-specific": lambda frame: fit_cause_specific(frame, "time", "event", terms="x + y"),
}


def shown_first(value: Any, rest: Any) -> list[Any]:
    return [value] + [rest] * (N - 1)


NOT_ESTIMABLE = {
    "constant": ({"x": [3.0] * N}, "constant", ("x",)),
    "constant at 1e15": ({"x": [1e15] * N}, "constant", ("x",)),
    "copied": ({"y": GOOD["x"]}, "collinear", ("x", "y")),
    "twice and one more": ({"y": [2 * v + 1 for v in GOOD["x"]]}, "collinear", ("x", "y")),
    "a copy of 1e15 times": ({"y": [1e15 * v for v in GOOD["x"]]}, "collinear", ("x", "y")),
    "values farther apart than float64 can say": ({"x": [1e308, -1e308] * (N // 2)}, "overflow", ("x",)),
    "no events": ({"event": [0] * N}, "no_events", ()),
    "events when nobody else is at risk": (
        {"time": [1] * (N - 1) + [2], "event": [0] * (N - 1) + [1]},
        "constant",
        ("x", "y"),
    ),
}


@pytest.mark.parametrize("case", NOT_ESTIMABLE)
@pytest.mark.parametrize("model", MODELS)
def test_what_the_data_do_not_determine_names_its_columns(model: str, case: str) -> None:
    columns, reason, named = NOT_ESTIMABLE[case]
    with pytest.raises(NotEstimableError) as caught:
        MODELS[model](pl.DataFrame(GOOD | columns))
    assert (caught.value.reason, caught.value.columns) == (reason, named)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "firth"])
def test_a_combination_that_orders_the_events_is_named(model: str) -> None:
    x, y = np.random.default_rng(1).normal(size=(2, N))
    order = np.argsort(np.argsort(-(x + y)))
    frame = pl.DataFrame({"time": order + 1, "event": [1] * N, "x": x, "y": y})
    with pytest.raises(NotEstimableError, match=r"^not_estimable: monotone_likelihood\(x, y\)$"):
        MODELS[model](frame)


def test_firth_finds_a_maximum_where_a_combination_separates() -> None:
    # the 6 of 60 with the largest x + y have an event, in that order
    x, y = np.random.default_rng(1).normal(size=(2, N))
    order = np.argsort(np.argsort(-(x + y)))
    frame = pl.DataFrame({"time": np.minimum(order + 1, 30), "event": (order < 6).astype(int), "x": x, "y": y})
    with pytest.raises(NotEstimableError, match="monotone_likelihood"):
        fit_cox(frame, terms="x + y")
    fit = fit_cox(frame, terms="x + y", firth=True)
    assert (fit.lower > 1).all()
    assert np.isfinite(fit.upper).all()


REFUSED = {
    "all null": ({"x": pl.Series([None] * N, dtype=pl.Float64)}, r"x.* in 60 rows"),
    "null without a type": ({"x": [None] * N}, r"x"),
    "infinite covariate": ({"x": shown_first(math.inf, 1.0)}, r"x is .*infinite in 1 rows"),
    "date as covariate": ({"x": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 2, 29), eager=True)}, "column x is"),
    "infinite time": ({"time": shown_first(math.inf, 3.0)}, "the time is not a finite number in 1 rows"),
    "NaN time": ({"time": shown_first(math.nan, 3.0)}, "the time is not a finite number in 1 rows"),
    "text time": ({"time": ["3"] * N}, "column time is"),
    "missing time": ({"time": shown_first(None, 3.0)}, "time.* in 1 rows"),
    "event of -1": ({"event": shown_first(-1, 1)}, "in 1 rows"),
    "half an event": ({"event": shown_first(0.5, 1.0)}, "in 1 rows"),
    "text event": ({"event": ["1"] * N}, "column event is"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("model", MODELS)
def test_unusable_columns_are_named_and_rows_counted(model: str, case: str) -> None:
    columns, message = REFUSED[case]
    with pytest.raises(InputRefusedError, match=message):
        MODELS[model](pl.DataFrame(GOOD | columns))


OF_BUCKETS = {"time": "time", "event": "event", "terms": "x + y"}
ELSEWHERE = {
    "buckets": lambda frame: fit_cox_buckets(lambda ask: [ask(frame.with_row_index("person_id"))], **OF_BUCKETS),
    "weibull": lambda frame: fit_parametric(frame, terms="x + y"),
    "piecewise": lambda frame: fit_piecewise_exponential(frame, cuts=[10, 20], terms="x + y"),
}


@pytest.mark.parametrize("case", ["constant", "copied", "values farther apart than float64 can say", "no events"])
@pytest.mark.parametrize("model", ELSEWHERE)
def test_other_models_name_the_same_columns(model: str, case: str) -> None:
    columns, reason, named = NOT_ESTIMABLE[case]
    with pytest.raises(NotEstimableError) as caught:
        ELSEWHERE[model](pl.DataFrame(GOOD | columns))
    assert (caught.value.reason, caught.value.columns) == (reason, named)


@pytest.mark.parametrize("model", ["fit_cox", "firth", "Fine-Gray", "cause-specific", *ELSEWHERE])
def test_numbers_written_as_text_are_refused_and_none_of_them_is_told(model: str) -> None:
    # each would be a level, and so a term, with the value of one person as its name
    with pytest.raises(InputRefusedError, match="column x is text with 60 different values in 60 rows") as caught:
        (MODELS | ELSEWHERE)[model](pl.DataFrame(GOOD | {"x": [str(value) for value in GOOD["x"]]}))
    assert not any(str(value)[1:6] in str(caught.value) for value in GOOD["x"])


def test_nobody_in_spells_of_persons() -> None:
    spells = pl.DataFrame(GOOD | {"start": [0] * N, "id": range(N)}).head(0)
    with pytest.raises(NotEstimableError, match="no_events"):
        CoxTimeVaryingFitter().fit(spells, "event", "start", "time", id_col="id")


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("model", MODELS)
def test_no_row_and_one_row(model: str, rows: int) -> None:
    with pytest.raises(NotEstimableError) as caught:
        MODELS[model](pl.DataFrame(GOOD | {"event": [1] * N}).head(rows))
    assert caught.value.reason == ("no_events" if rows == 0 else "constant")


@pytest.mark.parametrize("model", ["fit_cox", "firth", "Fine-Gray", "cause-specific"])
def test_a_category_with_one_level(model: str) -> None:
    with pytest.raises(NotEstimableError, match=r"single_level\(x\)"):
        MODELS[model](pl.DataFrame(GOOD | {"x": ["a"] * N}))


@pytest.mark.parametrize("model", ["CoxPHFitter", "CoxPHFitter, pandas", "CoxTimeVaryingFitter"])
def test_text_as_a_column_without_a_formula(model: str) -> None:
    with pytest.raises(InputRefusedError, match="column x is String; it must be a number or Boolean"):
        MODELS[model](pl.DataFrame(GOOD | {"x": ["a", "b"] * (N // 2)}))


@pytest.mark.parametrize("scale", [1e15, 1e-15, 1e300, 1e-300])
@pytest.mark.parametrize("model", MODELS)
def test_columns_of_any_size_give_the_same_model(model: str, scale: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        before = MODELS[model](pl.DataFrame(GOOD))
        after = MODELS[model](pl.DataFrame(GOOD | {"x": [v * scale for v in GOOD["x"]]}))
    first, second = ((fit.fits[1] if hasattr(fit, "fits") else fit) for fit in (before, after))
    coef = [np.asarray(getattr(fit, "coef", getattr(fit, "params_", None))) for fit in (first, second)]
    np.testing.assert_allclose(coef[1] * [scale, 1], coef[0], rtol=1e-8)


@pytest.mark.parametrize("time", [[5] * N, [0] * N, [5 if e else 9 for e in GOOD["event"]]])
def test_all_events_at_one_time_are_one_risk_set(time: list[int]) -> None:
    # Breslow: the score is the sum over events of x minus its risk-weighted mean over everybody; it is 0 at the maximum
    frame = pl.DataFrame(GOOD | {"time": time})
    fit = fit_cox(frame, terms="x + y", ties="breslow")
    z, event = frame.select("x", "y").to_numpy(), frame["event"].to_numpy() == 1
    risk = np.exp(z @ fit.coef)
    np.testing.assert_allclose(z[event].mean(axis=0), risk @ z / risk.sum(), rtol=1e-9)


def test_two_columns_of_one_name() -> None:
    frame = pd.DataFrame(GOOD).set_axis(["time", "event", "x", "x"], axis=1)
    calls = [
        lambda: CoxPHFitter().fit(frame, "time", "event"),
        lambda: CoxTimeVaryingFitter().fit(frame.assign(start=0), "event", "start", "time"),
        lambda: fit_cox(frame, terms="x"),
        lambda: kaplan_meier(frame, "time", "event"),
    ]
    for call in calls:
        with pytest.raises(InputRefusedError, match="more than one column is called x"):
            call()


WEIGHTS = {
    "negative": (-1.0, "the weight is negative or not a finite number in 1 rows"),
    "infinite": (math.inf, "the weight is negative or not a finite number in 1 rows"),
    "NaN": (math.nan, "the weight is negative or not a finite number in 1 rows"),
    "too large to square": (1e200, "the weight's square leaves the range of numbers in 1 rows"),
    "too small to square": (1e-200, "the weight's square leaves the range of numbers in 1 rows"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_cannot_be_counted(case: str) -> None:
    value, message = WEIGHTS[case]
    frame = pl.DataFrame(GOOD | {"w": shown_first(value, 1.0)})
    with pytest.raises(InputRefusedError, match=message):
        CoxPHFitter().fit(frame, "time", "event", weights_col="w")


def test_weights_of_0_are_no_rows_and_nothing_but_them_no_events() -> None:
    frame = pl.DataFrame(GOOD | {"w": shown_first(0.0, 1.0)})
    with_it = CoxPHFitter().fit(frame, "time", "event", weights_col="w")
    without = CoxPHFitter().fit(frame.tail(N - 1).drop("w"), "time", "event")
    np.testing.assert_allclose(with_it.params_, without.params_, rtol=1e-12)
    with pytest.raises(NotEstimableError, match="no_events"):
        CoxPHFitter().fit(frame.with_columns(w=pl.lit(0.0)), "time", "event", weights_col="w")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_an_offset_that_is_no_number(value: float) -> None:
    frame = pl.DataFrame(GOOD | {"o": shown_first(value, 0.0)})
    with pytest.raises(InputRefusedError, match="the offset is not a finite number in 1 rows"):
        CoxPHFitter().fit(frame, "time", "event", offset_col="o")


def test_offsets_so_far_apart_that_risks_overflow() -> None:
    frame = pl.DataFrame(GOOD | {"o": (1e6 * RNG.normal(size=N)).tolist()})
    with pytest.raises(NotEstimableError, match="overflow_at_start"):
        CoxPHFitter().fit(frame, "time", "event", offset_col="o")


@pytest.mark.parametrize("fitted", [fit_fine_gray, fit_cause_specific])
def test_causes_other_than_declared(fitted: Any) -> None:
    frame = pl.DataFrame(GOOD | {"event": shown_first(3, 1)})
    with pytest.raises(InputRefusedError, match="column event has a cause other than those declared in 1 rows"):
        fitted(frame, "time", "event", terms="x", causes=[1, 2])
    assert fitted(pl.DataFrame(GOOD), "time", "event", terms="x", causes=[1, 2]).to_polars().height == 1
