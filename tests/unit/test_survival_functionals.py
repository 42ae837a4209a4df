"""Gradients of risks and times lost: against finite differences, and against the variances they add up to."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.survival.counts import count_days
from cohort.survival.functionals import incidence_functional, until, up_to
from cohort.survival.risk import risk_tables

ROWS = pl.DataFrame(
    {
        "t": [3, 3, 5, 7, 7, 7, 9, 12, 12, 15, 20, 20],
        "c": [1, 0, 2, 1, 1, 2, 0, 1, 0, 2, 1, 0],
        "e": [0, 1, 0, 3, 0, 2, 4, 0, 5, 3, 6, 0],
        "w": [1.0, 2.0, 0.5, 1.0, 1.5, 1.0, 3.0, 0.25, 1.0, 2.0, 1.0, 1.0],
    }
)
NUMBERS = {"risk": up_to, "time lost": until}


def number(rows: pl.DataFrame, kind: str, code: int) -> float:
    (risk,) = risk_tables(count_days(rows, "t", "c", None, "e", "w", causes=[1, 2]))
    return incidence_functional(risk, code - 1, NUMBERS[kind](risk, 12)).value


@pytest.mark.parametrize("kind", list(NUMBERS))
@pytest.mark.parametrize("code", [1, 2])
def test_the_gradient_is_the_derivative_by_each_persons_weight(kind: str, code: int) -> None:
    (risk,) = risk_tables(count_days(ROWS, "t", "c", None, "e", "w", causes=[1, 2]))
    functional = incidence_functional(risk, code - 1, NUMBERS[kind](risk, 12))
    rows = [ROWS[name].to_numpy() for name in ("t", "c", "e")]
    gradient = functional.gradient(risk, *rows, code)
    step = 2.0**-17
    for i in range(ROWS.height):
        moved = [
            number(ROWS.with_columns(w=pl.col("w") + s * (pl.int_range(pl.len()) == i)), kind, code)
            for s in (step, -step)
        ]
        # central differences are off by the step squared
        assert gradient[i] == pytest.approx((moved[0] - moved[1]) / 2 / step, abs=1e-8)
    assert float(gradient @ ROWS["w"].to_numpy()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("code", [1, 2])
def test_squared_influences_add_up_to_the_robust_variance_of_the_curve(code: int) -> None:
    rows = [ROWS[name].to_numpy() for name in ("t", "c", "e")]
    (risk,) = risk_tables(count_days(ROWS, "t", "c", None, "e", "w", causes=[1, 2]))
    functional = incidence_functional(risk, code - 1, up_to(risk, 12))
    influence = functional.gradient(risk, *rows, code) * ROWS["w"].to_numpy()
    curve = sv.cumulative_incidence(ROWS, "t", "c", None, "e", "w").at([12]).filter(pl.col("cause") == code)
    assert functional.value == pytest.approx(curve["estimate"].item(), rel=1e-12)
    assert np.sqrt((influence**2).sum()) == pytest.approx(curve["std_error"].item(), rel=1e-12)
