"""Small Cox models against 50-digit arithmetic: the partial likelihood written down as it is printed in textbooks."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.errors import NotEstimableError
from cohort.survival.cox import fit_cox

mp = pytest.importorskip("mpmath", reason="needs mpmath for 50-digit arithmetic").mp

PROBLEMS = 280  # some have no maximum; more than 200 are compared
DIGITS = 1e-10


def problem(seed: int) -> pl.DataFrame:
    """Return 8 to 16 rows with few distinct days, so that most event times are tied."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 17))
    entry = rng.integers(0, 4, n) * int(rng.random() < 0.5)
    return pl.DataFrame(
        {
            "entry": entry,
            "time": entry + rng.integers(1, 8, n),
            "event": rng.random(n) < 0.7,
            "x": np.round(rng.normal(size=n), 2),
            "y": rng.integers(0, 2, n),
        }
    )


def derivatives(frame: pl.DataFrame, ties: str, beta: Any) -> tuple[Any, Any, Any]:
    """Return log-likelihood, score and information: for each event time and each of its d events, one risk set."""
    rows = frame.rows(named=True)
    z = [mp.matrix([mp.mpf(repr(row["x"])), mp.mpf(row["y"])]) for row in rows]
    risk = [mp.exp((zi.T * beta)[0]) for zi in z]
    value, score, information = mp.mpf(0), mp.zeros(2, 1), mp.zeros(2, 2)
    for day in sorted({row["time"] for row in rows if row["event"]}):
        present = [i for i, row in enumerate(rows) if row["entry"] < day <= row["time"]]
        dying = [i for i in present if rows[i]["event"] and rows[i]["time"] == day]
        for step, i in enumerate(dying):
            # Efron: the step-th event finds the tied ones thinned by step / d; Breslow: not at all
            part = mp.mpf(step) / len(dying) if ties == "efron" else mp.mpf(0)
            share = {j: risk[j] * (1 - part if j in dying else 1) for j in present}
            total = mp.fsum(share.values())
            mean = sum((share[j] * z[j] for j in present), mp.zeros(2, 1)) / total
            square = sum((share[j] * z[j] * z[j].T for j in present), mp.zeros(2, 2)) / total
            value += mp.log(risk[i]) - mp.log(total)
            score += z[i] - mean
            information += square - mean * mean.T
    return value, score, information


def exact_fit(frame: pl.DataFrame, ties: str, start: Any) -> tuple[Any, Any, Any]:
    """Return the maximum by Newton's method from nearby, its value, and the inverse information."""
    beta = mp.matrix([mp.mpf(float(b)) for b in start])
    for _ in range(2):  # from 1e-10 to 1e-20 and 1e-40
        value, score, information = derivatives(frame, ties, beta)
        beta += mp.lu_solve(information, score)
    return beta, value, information**-1


@pytest.mark.parametrize("block", range(4))
def test_ten_digits_of_200_small_models(block: int) -> None:
    compared = 0
    with mp.workdps(50):
        for seed in range(block * PROBLEMS // 4, (block + 1) * PROBLEMS // 4):
            frame, ties = problem(seed), ("efron", "breslow")[seed % 2]
            try:
                fit = fit_cox(frame, entry="entry", terms="x + y", ties=ties)  # type: ignore[arg-type]  # of Literal
            except NotEstimableError:
                continue
            beta, value, covariance = exact_fit(frame, ties, fit.coef)
            np.testing.assert_allclose(
                fit.coef, [float(b) for b in beta], rtol=DIGITS, atol=DIGITS * fit.std_error.min()
            )
            variance = [[float(covariance[i, j]) for j in range(2)] for i in range(2)]
            np.testing.assert_allclose(fit.covariance, variance, rtol=1e-9, atol=1e-9 * np.diag(variance).min())
            np.testing.assert_allclose(fit.log_likelihood, float(value), rtol=1e-13)
            compared += 1
    assert compared >= 50


def test_what_is_refused_as_monotone_has_no_maximum() -> None:
    # along the score's own path the exact likelihood keeps rising: from far out, still uphill
    refused = 0
    with mp.workdps(50):
        for seed in range(1000, 1060):
            frame = problem(seed).head(7).with_columns(entry=pl.lit(0))
            try:
                fit_cox(frame, entry="entry", terms="x + y")
            except NotEstimableError as error:
                if error.reason != "monotone_likelihood":
                    continue
                refused += 1
                beta = mp.matrix([0, 0])
                values = []
                for _ in range(26):
                    value, score, information = derivatives(frame, "efron", beta)
                    values.append(value)
                    ridge = information + mp.eye(2) * mp.mpf(10) ** -30
                    beta += mp.lu_solve(ridge, score)
                assert max(abs(b) for b in beta) > 8
                assert values[-1] > values[-10]
    assert refused > 5
