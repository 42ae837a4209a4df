"""What must not change a Cox model: the order of rows, the threads, the unit of time, shifts and scales."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_info

from cohort.survival.cox import CoxFit, fit_cox

TERMS = "age + exposed + region + age:exposed"


def population(n: int, seed: int, entry: bool = False) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age, exposed = rng.integers(18, 90, n), rng.random(n) < 0.3
    start = rng.integers(0, 40, n) if entry else np.zeros(n, dtype=np.int64)
    event_day = start + 1 + rng.exponential(200 / np.exp(0.02 * (age - 50) + 0.5 * exposed)).astype(np.int64)
    last_day = start + rng.integers(1, 300, n)
    return pl.DataFrame(
        {
            "entry": start,
            "time": np.minimum(event_day, last_day),
            "event": event_day <= last_day,
            "age": age,
            "exposed": exposed,
            "region": np.array(["north", "south", "west"])[rng.integers(0, 3, n)],
        }
    )


def bits(fit: CoxFit) -> tuple[Any, ...]:
    return fit.coef.tobytes(), fit.covariance.tobytes(), fit.log_likelihood, fit.score_test


@pytest.mark.parametrize("entry", [None, "entry"])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_row_order_changes_no_bit(entry: str | None, ties: Any) -> None:
    frame = population(5000, 1, entry is not None)
    fits = [
        fit_cox(frame.sample(fraction=1, shuffle=True, seed=seed), entry=entry, terms=TERMS, ties=ties)
        for seed in (1, 2)
    ]
    assert bits(fits[0]) == bits(fits[1])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot hold a process to one core")
def test_threads_change_no_bit() -> None:
    # 200,000 rows are four chunks; the child process may use one core only
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); sys.path.insert(0, sys.argv[1])\n"
        "import test_survival_cox_invariance as t; from cohort.survival.cox import fit_cox\n"
        "print(fit_cox(t.population(200_000, 2), terms=t.TERMS).coef.tobytes().hex())"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120 -- handed to another interpreter as text
    alone = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=True)
    assert alone.stdout.strip() == fit_cox(population(200_000, 2), terms=TERMS).coef.tobytes().hex()


def test_fits_side_by_side_leave_blas_as_it_was() -> None:
    frame = population(3000, 2)
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: bits(fit_cox(frame, terms=TERMS)), range(12)))
    assert set(fits) == {bits(fit_cox(frame, terms=TERMS))}
    assert [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"] == before


def test_the_unit_of_time_changes_nothing_beyond_rounding() -> None:
    # days * (1 / 365.25) and days / 365.25 differ in the last bit: half of the rows take one, half the other
    frame = population(2000, 3, entry=True)
    # (by numpy: polars divides by a constant as it multiplies by its inverse)
    first = np.arange(2000) < 1000
    days_to_years = {
        name: np.where(first, frame[name].to_numpy() * (1 / 365.25), frame[name].to_numpy() / 365.25)
        for name in ("time", "entry")
    }
    years = frame.with_columns(**{name: pl.Series(values) for name, values in days_to_years.items()})
    assert years["time"].n_unique() > frame["time"].n_unique()
    days, other = (fit_cox(f, entry="entry", terms=TERMS) for f in (frame, years))
    np.testing.assert_allclose(other.coef, days.coef, rtol=1e-12)
    np.testing.assert_allclose(other.log_likelihood, days.log_likelihood, rtol=1e-13)


@pytest.mark.parametrize(("shift", "scale"), [(1e9, 1.0), (0.0, 1e9), (0.0, 1e-9), (0.0, 1e200), (0.0, 1e-200)])
def test_shift_and_scale_of_a_covariate(shift: float, scale: float) -> None:
    frame = population(2000, 4)
    moved = frame.with_columns(age=pl.col("age") * scale + shift)
    before, after = (fit_cox(f, terms="age + exposed") for f in (frame, moved))
    np.testing.assert_allclose(after.coef * [scale, 1], before.coef, rtol=1e-9)
    np.testing.assert_allclose(after.std_error * [scale, 1], before.std_error, rtol=1e-9)


def test_microseconds_since_1970_lose_nothing() -> None:
    # 1.7e15 + whole days in microseconds are exact in float64; lifelines moves the coefficient by 1.5 %
    frame = population(2000, 5)
    stamped = frame.with_columns(age=1.7e15 + pl.col("age") * 86_400e6)
    before, after = fit_cox(frame, terms="age"), fit_cox(stamped, terms="age")
    np.testing.assert_allclose(after.coef * 86_400e6, before.coef, rtol=1e-9)


def test_swapping_the_labels_of_the_exposure_turns_the_sign() -> None:
    frame = population(2000, 6)
    before = fit_cox(frame, terms="exposed + age")
    after = fit_cox(frame.with_columns(exposed=~pl.col("exposed")), terms="exposed + age")
    np.testing.assert_allclose(after.coef, before.coef * [-1, 1], rtol=1e-9)


def test_splitting_follow_up_into_episodes_changes_nothing() -> None:
    # a row (entry, exit] is the same information as (entry, m] without an event and (m, exit]
    frame = population(2000, 7, entry=True)
    middle = (pl.col("entry") + (pl.col("time") - pl.col("entry")) // 2).alias("middle")
    long = frame.with_columns(middle).filter(pl.col("middle") > pl.col("entry"))
    split = pl.concat(
        [
            frame.with_columns(middle).filter(pl.col("middle") <= pl.col("entry")).drop("middle"),
            long.with_columns(time="middle", event=pl.lit(value=False)).drop("middle"),
            long.with_columns(entry="middle").drop("middle"),
        ]
    )
    whole, parts = (fit_cox(f, entry="entry", terms=TERMS) for f in (frame, split))
    assert parts.n > whole.n
    np.testing.assert_allclose(parts.coef, whole.coef, rtol=1e-9)
    np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol=1e-12)


def test_a_follow_up_of_no_days_counts_and_changes_nothing() -> None:
    frame = population(500, 8, entry=True)
    nobody = frame.head(3).with_columns(time="entry", event=pl.lit(value=False))
    with_them = fit_cox(pl.concat([frame, nobody]), entry="entry", terms="exposed")
    alone = fit_cox(frame, entry="entry", terms="exposed")
    assert with_them.n == alone.n + 3
    np.testing.assert_allclose(with_them.coef, alone.coef, rtol=1e-12)
