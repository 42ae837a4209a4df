"""Cox models that the data do not determine end in a named outcome, never in a number with a warning."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.cox import CoxPHFitter, fit_cox

DAY = [1, 2, 3, 4, 5, 6, 7, 8]
ALTERNATING = [0, 1, 0, 1, 1, 0, 1, 0]


def refusal(frame: dict[str, list[float]], terms: str, **options: object) -> NotEstimableError:
    with pytest.raises(NotEstimableError) as caught:
        fit_cox(pl.DataFrame(frame), terms=terms, **options)  # type: ignore[arg-type]
    return caught.value


def test_no_events() -> None:
    error = refusal({"time": DAY, "event": [0] * 8, "x": ALTERNATING}, "x")
    assert (error.reason, error.columns) == ("no_events", ())


def test_a_constant_column_is_named() -> None:
    error = refusal({"time": DAY, "event": [1] * 8, "x": ALTERNATING, "c": [7] * 8}, "x + c")
    assert (error.reason, error.columns) == ("constant", ("c",))


def test_all_events_at_one_time_with_nobody_else_at_risk_leaves_nothing_to_compare() -> None:
    # the risk set of the only event time is the event itself
    error = refusal({"time": [1, 2, 3], "event": [0, 0, 1], "x": [0, 1, 2]}, "x")
    assert (error.reason, error.columns) == ("constant", ("x",))


def test_one_subject() -> None:
    error = refusal({"time": [5], "event": [1], "x": [1.0]}, "x")
    assert (error.reason, error.columns) == ("constant", ("x",))


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_collinear_columns_are_named_and_the_innocent_are_not(noise: float) -> None:
    rng = np.random.default_rng(5)
    n = 200
    x, y, w = rng.normal(size=(3, n))
    frame = {
        "time": rng.integers(1, 50, n).tolist(),
        "event": rng.integers(0, 2, n).tolist(),
        "x": x.tolist(),
        "y": y.tolist(),
        "innocent": w.tolist(),
        "total": (x + y + noise * rng.normal(size=n)).tolist(),
    }
    error = refusal(frame, "x + innocent + y + total")
    assert (error.reason, error.columns) == ("collinear", ("x", "y", "total"))


def test_more_columns_than_rows() -> None:
    frame = {"time": DAY, "event": [1] * 8} | {
        f"x{j}": np.random.default_rng(j).normal(size=8).tolist() for j in range(9)
    }
    assert refusal(frame, " + ".join(f"x{j}" for j in range(9))).reason == "collinear"


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_every_event_exposed(ties: str) -> None:
    frame = {"time": DAY, "event": [1, 1, 0, 1, 0, 1, 0, 0], "x": [1, 1, 0, 1, 0, 1, 1, 0], "y": ALTERNATING}
    error = refusal(frame, "y + x", ties=ties)
    assert (error.reason, error.columns) == ("monotone_likelihood", ("x",))


def test_r_infcox_two_infinite_coefficients() -> None:
    # R survival's test "infcox": both coefficients run away, log-likelihood -> log(1/6) = -1.7918
    frame = {"time": [1, 2, 3, 4, 5, 6], "event": [1, 1, 1, 1, 1, 1], "x": [6, 5, 4, 3, 2, 1]}
    assert refusal(frame, "x").columns == ("x",)


def test_separation_by_a_combination_of_two_columns() -> None:
    # events have the largest x + y of their risk sets, though neither x nor y alone orders them
    rng = np.random.default_rng(11)
    total = np.linspace(2, 0, 40)
    x = rng.normal(size=40)
    frame = {
        "time": list(range(1, 41)),
        "event": [1] * 40,
        "x": x.tolist(),
        "y": (total - x).tolist(),
        "z": x[::-1].tolist(),
    }
    error = refusal(frame, "x + y + z")
    assert error.reason == "monotone_likelihood"
    assert {"x", "y"} <= set(error.columns)


def test_separation_seen_only_with_delayed_entry() -> None:
    # the unexposed with an event (day 2) has only unexposed beside it: the exposed enter on day 2
    frame = {
        "entry": [0, 0, 2, 2, 2, 0],
        "time": [2, 9, 4, 6, 9, 9],
        "event": [1, 0, 1, 1, 0, 0],
        "x": [0, 0, 1, 1, 1, 0],
        "age": [3, 1, 1, 2, 5, 4],
    }
    error = refusal(frame, "x + age", entry="entry")
    assert (error.reason, error.columns) == ("monotone_likelihood", ("x",))
    # with everyone at risk from day 0 the exposed are in the risk set of day 2, and a maximum exists
    assert np.isfinite(fit_cox(pl.DataFrame(frame), terms="x").coef).all()


def test_a_strong_but_finite_effect_is_not_called_monotone() -> None:
    # one exposed person survives an unexposed event: the maximum is large but exists
    n = 400
    event = [1] * (n // 2) + [0] * (n // 2)
    x = [1] * (n // 2 - 1) + [0] + [0] * (n // 2 - 1) + [1]
    fit = fit_cox({"time": list(range(1, n + 1)), "event": event, "x": x}, terms="x")
    assert 4 < fit.coef[0] < 8


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("time", float("inf"), "the time is not a finite number in 1 rows"),
        ("time", float("nan"), "the time is not a finite number in 1 rows"),
        ("time", -1.0, "the time is negative in 1 rows"),
        ("time", None, r"column time \(time\) is missing in 1 rows"),
        ("event", 2.0, "the event is neither 0 nor 1 in 1 rows"),
        ("event", float("nan"), "the event is neither 0 nor 1 in 1 rows"),
    ],
)
def test_impossible_follow_up_is_refused_by_count(column: str, value: float | None, message: str) -> None:
    frame: dict[str, list[float | None]] = {"time": [1.0, 2.0, 3.0], "event": [1.0, 0.0, 1.0], "x": [1.0, 0.0, 2.0]}
    frame[column][1] = value
    with pytest.raises(InputRefusedError, match=message):
        fit_cox(frame, terms="x")


@pytest.mark.parametrize(
    ("entry", "message"),
    [([0, 3, 0], "the entry is after the exit in 1 rows"), ([0, 0, 3], "an event falls on the day of entry")],
)
def test_impossible_entries_are_refused_by_count(entry: list[int], message: str) -> None:
    with pytest.raises(InputRefusedError, match=message):
        fit_cox({"time": [1, 2, 3], "event": [1, 0, 1], "x": [1, 0, 2], "entry": entry}, entry="entry", terms="x")


def test_separation_within_a_stratum_counts_if_no_other_stratum_contradicts() -> None:
    # through the strata of lifelines' interface; z orders the events of site 1 and is constant, then random, in site 0
    rng = np.random.default_rng(12)
    n = 200
    frame = pl.DataFrame(
        {"time": rng.integers(1, 40, n), "event": rng.integers(0, 2, n), "site": rng.integers(0, 2, n)}
    ).with_columns(z=pl.col("event") * pl.col("site"))
    with pytest.raises(NotEstimableError, match=r"monotone_likelihood\(z\)"):
        CoxPHFitter().fit(frame, "time", "event", strata="site")
    noisy = frame.with_columns(z=pl.when(pl.col("site") == 0).then(pl.Series(rng.integers(0, 2, n))).otherwise("z"))
    assert np.isfinite(CoxPHFitter().fit(noisy, "time", "event", strata="site").params_["z"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [([-1e308, 1e308], "overflow"), ([0.0, 1e-312], "constant"), ([0.0, -0.0], "constant")],
    ids=["wider than float64", "denormal", "signed zero"],
)
def test_columns_at_the_ends_of_float64_are_named(values: list[float], reason: str) -> None:
    frame = {"time": DAY, "event": ALTERNATING, "x": [values[k % 2] for k in range(8)]}
    error = refusal(frame, "x")
    assert (error.reason, error.columns) == (reason, ("x",))


def test_text_as_event_and_unknown_options_are_refused() -> None:
    frame = {"time": [1, 2], "event": ["1", "0"], "x": [0, 1]}
    with pytest.raises(InputRefusedError, match="column event is String"):
        fit_cox(frame, terms="x")
    with pytest.raises(StudyError, match="ties"):
        fit_cox(frame, terms="x", ties="exact")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="level"):
        fit_cox(frame, terms="x", level=95)
