"""A Cox model for every transition of a multistate model, and the states they predict together.

References
----------
Putter H, Fiocco M, Geskus RB (2007), Stat Med 26:2389–2430, doi:10.1002/sim.2712; Andersen PK, Keiding N (2002),
Stat Methods Med Res 11:91–115, doi:10.1191/0962280202SM276ra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import NotEstimableError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox import CoxFit, model_arrays, result
from cohort.survival.cox_model import CoxEstimate, estimate
from cohort.survival.cox_newton import Ties
from cohort.survival.cox_residuals import baseline_hazard
from cohort.survival.design import Design, Missing, Term, design_matrix, parse_terms
from cohort.survival.transitions import transition_rows
from cohort.survival.types import Floats


@dataclass(frozen=True, slots=True)
class TransitionFits:
    """The models by (from, to): ``fits`` for coefficients, ``estimates`` and ``designs`` for prediction."""

    states: tuple[str, ...]
    fits: dict[tuple[str, str], CoxFit]
    estimates: dict[tuple[str, str], CoxEstimate]
    designs: dict[tuple[str, str], Design]

    def to_polars(self) -> pl.DataFrame:
        """Return the tables of all transitions below one another, with ``from_state, to_state`` first."""
        tables = [
            fit.to_polars().select(pl.lit(origin).alias("from_state"), pl.lit(target).alias("to_state"), pl.all())
            for (origin, target), fit in self.fits.items()
        ]
        return pl.concat(tables)

    def occupation(
        self, frame: Any, times: Sequence[float], initial: Mapping[str, float], start: float = 0
    ) -> pl.DataFrame:
        """Return the predicted probability of each state for each row of a frame: ``row, state, time, estimate``.

        ``initial`` are the shares of the states at ``start``. At every event time a state is left with probability
        1 - exp(-sum of its hazards), to the others in proportion to their hazards, so that states add up to 1.
        """
        shares = np.array([float(initial.get(state, 0.0)) for state in self.states])
        if set(initial) - set(self.states) or not np.isclose(shares.sum(), 1) or (shares < 0).any():
            raise StudyError(f"initial gives shares that add up to 1 over the states {', '.join(self.states)}")
        clock = np.unique(np.concatenate([fit.rows.cells.time for fit in self.estimates.values()]))
        clock = clock[clock > start]
        hazards = self._hazards(frame, clock)
        place = np.searchsorted(clock, np.asarray(times, dtype=float), side="right")
        paths = np.stack([_path(shares, row) for row in hazards])[:, place]  # (rows, times, states)
        rows, moments, states = paths.shape
        return pl.DataFrame(
            {
                "row": np.repeat(np.arange(rows), moments * states),
                "state": np.tile(np.repeat(list(self.states), moments), rows),
                "time": np.tile(np.asarray(times, dtype=float), rows * states),
                "estimate": paths.transpose(0, 2, 1).ravel(),
            }
        )

    def _hazards(self, frame: Any, clock: Floats) -> Floats:
        """Return the hazards of each row of a frame, shape (rows, times, from, to)."""
        parts = {}
        for pair, fit in self.estimates.items():
            x = design_matrix(frame, self.designs[pair].terms, levels=self.designs[pair].levels).matrix
            risk = np.exp((x - fit.rows.centre) @ fit.coef)
            known = fit.rows.cells.time >= (clock[0] if clock.size else np.inf)
            increments = np.zeros(clock.size)
            increments[np.searchsorted(clock, fit.rows.cells.time[known])] = baseline_hazard(fit, fit.ties)[known]
            parts[pair] = np.outer(risk, increments)
        rows = len(next(iter(parts.values())))
        table = np.zeros((rows, clock.size, len(self.states), len(self.states)))
        for (origin, target), part in parts.items():
            table[:, :, self.states.index(origin), self.states.index(target)] = part
        return table


def _path(shares: Floats, hazards: Floats) -> Floats:
    """Return the probabilities of the states before and after each event time, (times + 1, states)."""
    total = hazards.sum(axis=2)
    per_hazard = np.divide(-np.expm1(-total), total, out=np.ones_like(total), where=total > 0)
    moving = hazards * per_hazard[:, :, None]
    path = [shares]
    for leaving, stay in zip(moving, np.exp(-total), strict=True):
        path.append(path[-1] * stay + path[-1] @ leaving)
    return np.stack(path)


def fit_transitions(
    frame: Any,
    start: str = "start",
    stop: str = "stop",
    from_state: str = "from_state",
    to_state: str = "to_state",
    *,
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
) -> TransitionFits:
    """Fit one Cox model to each transition found in spells ``(start, stop]``, other ways out of the state censored.

    Columns as in :func:`cohort.survival.transitions.count_transitions`, on the clock since time 0; covariates are
    those of the spell.

    Raises
    ------
    InputRefusedError, NotEstimableError
        As :func:`cohort.survival.cox.fit_cox`; the columns of the latter name the transition.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, {"from_state": from_state, "to_state": to_state})
    lazy = lazy.with_columns(pl.col(from_state, to_state).cast(pl.String))
    moved = lazy.filter(pl.col(to_state).is_not_null() & (pl.col(to_state) != pl.col(from_state)))
    pairs = moved.select(from_state, to_state).unique().sort(from_state, to_state).collect().rows()
    if not pairs:
        raise NotEstimableError("no_events")
    parsed = parse_terms(terms) if isinstance(terms, str) else terms
    fits, estimates, designs = {}, {}, {}
    for origin, target in pairs:
        rows = transition_rows(lazy, origin, target, from_state, to_state, _EVENT)
        try:
            design, follow = model_arrays(rows, stop, _EVENT, start, terms=parsed, missing=missing)
            fit = estimate(design.matrix, follow, design.names, ties)
        except NotEstimableError as error:
            named = tuple(f"{origin} to {target}: {column}" for column in error.columns) or (f"{origin} to {target}",)
            raise NotEstimableError(error.reason, named) from None
        fits[origin, target], estimates[origin, target] = result(fit, design, level), fit
        designs[origin, target] = design
    states = tuple(sorted({state for pair in pairs for state in pair}))
    return TransitionFits(states, fits, estimates, designs)


_EVENT = "_moved"
