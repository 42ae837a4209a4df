"""Cause-specific Cox models of competing events as one set, and the cumulative incidence they predict together.

Each cause has its own model in which the others are censored. The probability of having had an event of cause k by
t needs all of them: it adds up survival just before each event time times the hazard of k there.

References
----------
Prentice RL et al. (1978), doi:10.2307/2530374; Cheng SC, Fine JP, Wei LJ (1998), doi:10.2307/2534006.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.cause_limits import Cause, incidence_variance
from cohort.survival.cox import CoxFit, model_arrays, require_causes, result
from cohort.survival.cox_model import CoxEstimate, estimate
from cohort.survival.cox_newton import Ties
from cohort.survival.cox_residuals import baseline_hazard
from cohort.survival.design import Design, Missing, Term, design_matrix
from cohort.survival.intervals import probability_limits

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CauseSpecificFit:
    """The models by cause: ``fits`` for the table of coefficients, ``estimates`` for prediction."""

    fits: dict[int, CoxFit]
    estimates: dict[int, CoxEstimate]
    design: Design

    def to_polars(self) -> pl.DataFrame:
        """Return the tables of all causes below one another, with the column ``cause`` first."""
        tables = [fit.to_polars().select(pl.lit(cause).alias("cause"), pl.all()) for cause, fit in self.fits.items()]
        return pl.concat(tables)

    def cumulative_incidence(self, frame: Any, times: Sequence[float]) -> tuple[Floats, Floats]:
        """Return the predicted incidence of each cause, shape (causes, times, rows), and survival, (times, rows).

        At every event time, survival falls by the factor exp(-sum of the causes' hazards), and what it loses goes to
        the causes in proportion to their hazards; so incidences and survival add up to 1.
        """
        x = design_matrix(frame, self.design.terms, levels=self.design.levels).matrix
        clock = self._clock()
        hazards = np.stack([_hazards(fit, clock, x) for fit in self.estimates.values()])
        total = hazards.sum(axis=0)
        survival = np.vstack([np.ones(len(x)), np.exp(-np.cumsum(total, axis=0))])
        share = np.divide(hazards, total, out=np.zeros_like(hazards), where=total > 0)
        lost = survival[:-1] * -np.expm1(-total)
        incidence = np.concatenate([np.zeros((len(hazards), 1, len(x))), np.cumsum(share * lost, axis=1)], axis=1)
        at = np.searchsorted(clock, np.asarray(times, dtype=float), side="right")
        return incidence[:, at], survival[at]

    def predict(self, frame: Any, times: Sequence[float], level: float = 0.95) -> pl.DataFrame:
        """Return predicted incidence with limits: ``cause, row, time, estimate, std_error, lower, upper``.

        Standard errors count the coefficients and baselines of all causes; limits are those of log(-log(1 - F)). Every
        row and time costs one pass over the persons fitted.
        """
        x = design_matrix(frame, self.design.terms, levels=self.design.levels).matrix
        clock = self._clock()
        hazards = np.stack([_hazards(fit, clock, x) for fit in self.estimates.values()])
        at = np.searchsorted(clock, np.asarray(times, dtype=float), side="right")
        estimate, _ = self.cumulative_incidence(frame, times)
        causes = [Cause.of(fit, clock) for fit in self.estimates.values()]
        variance = np.empty_like(estimate)
        for m, position in enumerate(at):
            for row, values in enumerate(x):
                variance[:, m, row] = incidence_variance(causes, values, hazards[:, :, row], int(position))
        tables = [_tidy(code, estimate[k], np.sqrt(variance[k]), times, level) for k, code in enumerate(self.estimates)]
        return pl.concat(tables)

    def _clock(self) -> Floats:
        """Return the event times of all causes."""
        times: Floats = np.unique(np.concatenate([fit.rows.cells.time for fit in self.estimates.values()]))
        return times


def _tidy(cause: int, estimate: Floats, spread: Floats, times: Sequence[float], level: float) -> pl.DataFrame:
    """Return one cause's incidence (times, rows) and its limits as one line for each row and time."""
    lower, upper = probability_limits(1 - estimate.T.ravel(), spread.T.ravel(), "log-log", level)
    rows = estimate.shape[1]
    return pl.DataFrame(
        {
            "cause": [cause] * estimate.size,
            "row": np.repeat(np.arange(rows), len(times)),
            "time": np.tile(np.asarray(times, dtype=float), rows),
            "estimate": estimate.T.ravel(),
            "std_error": spread.T.ravel(),
            "lower": 1 - upper,
            "upper": 1 - lower,
        }
    )


def fit_cause_specific(
    frame: Any,
    time: str = "time",
    cause: str = "cause",
    entry: str | None = None,
    *,
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
    causes: Sequence[int] | None = None,
) -> CauseSpecificFit:
    """Fit one Cox model to each cause found (0 = censored), the other causes censored.

    Parameters as :func:`cohort.survival.cox.fit_cox`; ``cause`` is a whole number, of those declared as ``causes`` if
    given.

    Raises
    ------
    InputRefusedError, NotEstimableError
        As there; ``no_events`` if every row is censored.
    """
    if not 0 < level < 1:
        raise StudyError("level must lie between 0 and 1")
    design, follow = model_arrays(frame, time, cause, entry, terms=terms, missing=missing)
    codes = follow.event
    require_causes(codes, cause, causes)
    found = [int(code) for code in np.unique(codes) if code > 0]
    if not found:
        raise NotEstimableError("no_events")
    estimates = {
        code: estimate(design.matrix, replace(follow, event=codes == code), design.names, ties) for code in found
    }
    return CauseSpecificFit({code: result(fit, design, level) for code, fit in estimates.items()}, estimates, design)


def _hazards(fit: CoxEstimate, clock: Floats, x: Floats) -> Floats:
    """Return the hazard at each time of the clock for each row of covariates, shape (times, rows)."""
    increments = np.zeros(clock.size)
    increments[np.searchsorted(clock, fit.rows.cells.time)] = baseline_hazard(fit, fit.ties)
    hazards: Floats = np.outer(increments, np.exp((x - fit.rows.centre) @ fit.coef))
    return hazards
