"""Steps of estimates and their standard errors, from which a count could otherwise be solved.

The variance of a log hazard ratio is about 1/d1 + 1/d0, that of a mean or of time lost about 1/n. So a standard error
of four digits counts events to one in a thousand, and limits are a standard error. Where the counts themselves are
withheld or rounded, errors leave in steps that so many persons could hide in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

_TERM = ("analysis", "estimand", "outcome", "term")
_DIGITS = 4  # of limits, which follow from two rounded numbers

Floats = npt.NDArray[np.float64]


def widen_steps(frame: pl.DataFrame, where: pl.Expr, persons: int) -> pl.DataFrame:
    """Return rows of `Estimates` with errors and limits that so many persons more or fewer would leave as they are.

    With k the fewest events (persons, where no events are counted) of a term, ``persons`` of them move a standard
    error s by at most s * persons / (2 k): its step is twice that. Limits are made from the rounded estimate and the
    rounded error, or they would tell the error again. The estimate, for which one would need the exact risk sets as
    well, leaves in steps of the weight of one person, s / sqrt(k).

    Parameters
    ----------
    where
        Which rows; their ``n`` and ``events`` must still be there. Rows without an error or limits stay as they are.
    persons
        How many a reader may not tell apart, 1 or more.
    """
    fewest = pl.coalesce("events", "n").min().over(_TERM).clip(1)
    uncertain = pl.any_horizontal(pl.col("std_error", "lower", "upper").is_not_null())
    chosen = frame.select(where & uncertain & pl.col("value").is_not_null()).to_series().fill_null(value=False)
    if not chosen.any():
        return frame
    rows = frame.select(
        pl.col("value", "std_error", "lower", "upper").cast(pl.Float64),
        pl.col("level").fill_null(0.95),
        (fewest // persons).clip(1) * persons,
        pl.col("estimand").str.ends_with("ratio").alias("ratio"),
    )
    columns = [rows[name].to_numpy() for name in rows.columns]
    with np.errstate(all="ignore"):
        new = _widened(*columns, persons)
    return frame.with_columns(
        pl.when(chosen & pl.col(name).is_not_null()).then(pl.Series(name, values)).otherwise(name).alias(name)
        for name, values in new.items()
    )


def _widened(
    value: Floats,
    error: Floats,
    lower: Floats,
    upper: Floats,
    level: Floats,
    fewest: Floats,
    ratio: Floats,
    persons: int,
) -> dict[str, Floats]:
    """Return estimate, error and limits in their steps; ratios are halved and doubled, so their scale is the log."""
    centre, low, high = (np.where(ratio, np.log(ends), ends) for ends in (value, lower, upper))
    spread = np.where(np.isnan(error), (high - low) / 2, error)
    shown = _nearest(spread, spread * persons / fewest)
    weight = np.fmin((high - low) / 2 / ndtri((1 + level) / 2), np.inf)
    weight = np.where(np.isnan(weight), spread, weight) / np.sqrt(fewest)
    estimate = _nearest(value, np.where(ratio, weight * value, weight))
    scale = shown / spread
    ends = {
        name: np.where(ratio, estimate * np.exp(away * scale), estimate + away * scale)
        for name, away in (("lower", low - centre), ("upper", high - centre))
    }
    return {"value": estimate, "std_error": shown, **{name: _digits(end, _DIGITS) for name, end in ends.items()}}


def _nearest(numbers: Floats, step: Floats) -> Floats:
    """Return multiples of 1, 2 or 5 times a power of ten, the next at or above a step; what is positive stays so.

    The step is taken from one digit, so that it tells no more than the number it rounds.
    """
    coarse = _digits(step, 1)
    decade = 10.0 ** np.floor(np.log10(coarse))
    nice = decade * np.select([coarse / decade <= 1, coarse / decade <= 2, coarse / decade <= 5], [1, 2, 5], 10)
    rounded = np.round(numbers / nice) * nice
    rounded = np.where((numbers > 0) & (rounded == 0), nice, rounded)
    return np.where(np.isfinite(rounded), _digits(rounded, 12), numbers)


def _digits(numbers: Floats, digits: int) -> Floats:
    """Return numbers with so many significant digits; 12 take away the noise of a multiplication."""
    size = np.where((numbers == 0) | ~np.isfinite(numbers), 1.0, np.abs(numbers))
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(size)))
    return np.where(np.isfinite(numbers), np.round(numbers * scale) / scale, numbers)
