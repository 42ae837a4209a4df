"""Person-time: rows (start, stop] of persons whose exposure and covariates change, and the chances of what they did.

What is known at the start of a row decides the exposure in it; whoever leaves does so at its end.

References
----------
Robins JM, Hernán MA, Brumback B (2000), Epidemiology 11:550–560, doi:10.1097/00001648-200009000-00011. D'Agostino RB et
al. (1990), Stat Med 9:1501–1515, doi:10.1002/sim.4780091214 (pooled logistic regression).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.effects.covariates import refuse_unbounded
from cohort.effects.logistic import maximise_logistic
from cohort.effects.propensity import scores_from_matrix, treatment_of
from cohort.errors import InputRefusedError, NotEstimableError
from cohort.frames import as_lazy, require_columns
from cohort.survival.design import design_matrix, parse_terms
from cohort.survival.observations import observe
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PersonTime:
    """Rows of N persons in order of person and time, arrays (n,).

    ``person`` counts persons from 0, whose rows are ``first[i] … first[i + 1]``; ``cause`` is the event at the end of a
    row (0: none), ``before`` the exposure in the row before (none before the first), ``table`` the frame's columns.
    """

    table: pl.DataFrame
    person: Ints
    first: Ints
    start: Ints
    stop: Ints
    cause: Ints
    exposed: Flags
    before: Flags

    @classmethod
    def read(cls, frame: Any, person: str, start: str, stop: str, cause: str, exposure: str) -> PersonTime:
        """Read and check person-time.

        Raises
        ------
        InputRefusedError
            On times that are not whole days, rows of a person that overlap or leave a gap, a person with an event
            before his last row, or an exposure that is not yes or no; by count.
        """
        lazy = as_lazy(frame)
        require_columns(lazy, {"exposure": exposure})
        check_spells(lazy, person, start, stop)
        table = lazy.collect().sort(person, start)
        seen = observe(table, stop, cause, entry=start).rows
        if seen["time"].dtype.is_float():
            raise InputRefusedError(f"columns {start!r} and {stop!r} must be whole days")
        new = np.concatenate([[True], (table[person] != table[person].shift(1))[1:].to_numpy()])
        first = np.append(np.flatnonzero(new), len(new))
        begin, end, code = (seen[name].cast(pl.Int64).to_numpy() for name in ("entry", "time", "cause"))
        _refuse_broken(begin, end, code, new)
        exposed = treatment_of(table, exposure)
        before = np.where(new, False, np.roll(exposed, 1))
        return cls(table, np.cumsum(new) - 1, first, begin, end, code, exposed, before)

    def flags(self, name: str) -> Flags:
        """Return a Boolean or 0/1 column."""
        return treatment_of(self.table, name)

    def columns(self, terms: str) -> tuple[Floats, tuple[str, ...]]:
        """Return covariates with the day and its square, (n, p), and their names."""
        design = design_matrix(self.table, parse_terms(terms) if terms else ())
        day = self.start.astype(np.float64)
        matrix = np.column_stack([design.matrix, day, day**2])
        return matrix, (*design.names, "start", "start squared")


def _refuse_broken(start: Ints, stop: Ints, cause: Ints, new: Flags) -> None:
    follows = ~new[1:]
    faults = {
        "rows begin after a gap": int((follows & (start[1:] != stop[:-1])).sum()),
        "rows follow an event of the same person": int((follows & (cause[:-1] > 0)).sum()),
        "rows last no day": int((start == stop).sum()),
    }
    if wrong := [f"{n} {name}" for name, n in faults.items() if n]:
        raise InputRefusedError("person-time refused: " + "; ".join(wrong) + "; mend or remove them first")


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """A pooled logistic model of what happened in some rows: columns of unit variance (m, p) and its coefficients.

    ``rows`` are those modelled; in the others nothing else could happen. ``coef`` is None where all of them did alike.
    """

    rows: Ints
    z: Floats
    outcome: Floats
    coef: Floats | None
    names: tuple[str, ...]

    def observed(self, n: int, weight: Floats | None = None) -> Floats:
        """Return the chance of what was observed in each of n rows, under case weights (n,) if given.

        It is 1 in rows of no weight: the model of the others may hold what happened in them for impossible.

        Raises
        ------
        NotEstimableError
            ``separation`` where what happened in a row of some weight has no chance.
        """
        chance = np.ones(n)
        if self.coef is None:
            return chance
        own = None if weight is None else weight[self.rows]
        yes = maximise_logistic(self.z, self.outcome, self.names, own, start=self.coef).score
        happened = np.where(self.outcome > 0, yes, 1 - yes)
        chance[self.rows] = happened if own is None else np.where(own > 0, happened, 1.0)
        if not chance.all():
            raise NotEstimableError("separation", self.names)
        return chance


def model_chances(matrix: Floats, names: tuple[str, ...], outcome: Flags, rows: Flags) -> Chances:
    """Fit a pooled logistic model of an outcome (n,) on covariates (n, p) to some of the rows.

    Columns that do not vary in those rows are left out: the day where all are of one period.

    Raises
    ------
    NotEstimableError
        ``separation``, ``collinear``, ``overflow``, or what else a propensity model raises.
    """
    chosen = np.flatnonzero(rows)
    x, y = matrix[chosen], outcome[chosen]
    if not chosen.size or y.all() or not y.any():
        return Chances(chosen, np.empty((chosen.size, 0)), y.astype(np.float64), None, ())
    with np.errstate(over="ignore", invalid="ignore"):
        spread = x.std(axis=0)
    refuse_unbounded(spread, names)
    varies = spread > 1e-12 * np.maximum(np.abs(x.mean(axis=0)), 1)
    kept = tuple(np.asarray(names)[varies])
    z = np.asfortranarray((x[:, varies] - x[:, varies].mean(axis=0)) / spread[varies])
    if kept:
        scores_from_matrix(x[:, varies], y, kept)  # tells separation from a fit, and names its columns
    found = Chances(chosen, z, y.astype(np.float64), np.zeros(z.shape[1] + 1), kept)
    return replace(found, coef=maximise_logistic(z, found.outcome, kept).coef)


def model_exposure(time: PersonTime, terms: str, rows: Flags | None = None) -> tuple[Chances, Chances]:
    """Model who starts, among those not exposed in the row before, and who goes on, among the exposed."""
    matrix, names = time.columns(terms)
    among = np.ones(len(time.start), dtype=bool) if rows is None else rows
    return (
        model_chances(matrix, names, time.exposed, among & ~time.before),
        model_chances(matrix, names, time.exposed, among & time.before),
    )


def chance_of_exposure(models: tuple[Chances, Chances], n: int, weight: Floats | None = None) -> Floats:
    """Return the chance of the exposure observed in each of n rows, given the row before."""
    return models[0].observed(n, weight) * models[1].observed(n, weight)


def cumulated(time: PersonTime, chance: Floats, *, at_start: bool) -> Floats:
    """Return the logarithm of a person's chances up to each row, (n,): of that row too if it happens at its start."""
    total = np.cumsum(np.log(chance))
    before = np.concatenate([[0.0], total])[:-1]
    base = before[time.first[:-1]][time.person]
    found: Floats = (total if at_start else before) - base
    return found
