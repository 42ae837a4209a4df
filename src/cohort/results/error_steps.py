"""Steps of estimates and their standard errors, from which a count could otherwise be solved.

The variance of a log hazard ratio is about 1/d1 + 1/d0, that of a mean or of time lost about 1/n. So a standard error
of four digits counts events to one in a thousand, and limits are a standard error. Where the counts themselves are
withheld or rounded, errors leave in steps that so many persons could hide in.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

FOLLOWING = ("e_value", "e_value_limit", "tipping_point", "tipping_point_limit")
"""Estimands that follow from a ratio and its limits, so that those could be solved from them."""
_TERM = ("analysis", "estimand", "outcome", "term")
_DIGITS = 4  # of what follows from a cell

Floats = npt.NDArray[np.float64]


def widen_steps(frame: pl.DataFrame, where: pl.Expr, persons: int) -> pl.DataFrame:
    """Return rows of `Estimates` with errors and limits that so many persons more or fewer would leave as they are.

    Errors become the middle of a fixed cell (`_of_ratio`, `_of_mean`). Limits are made from the rounded estimate and
    error, or they would tell the error again. The estimate, for which one would need the exact risk sets as well,
    leaves in steps of the weight of one person; what follows from a limit in steps of what ``persons`` move it by.

    Parameters
    ----------
    where
        Which rows; their ``n`` and ``events`` must still be there. Rows without an error or limits stay as they are.
    persons
        How many a reader may not tell apart, 1 or more.
    """
    uncertain = pl.any_horizontal(pl.col("std_error", "lower", "upper").is_not_null())
    uncertain |= pl.col("estimand").is_in(FOLLOWING)
    chosen = frame.select(where & uncertain & pl.col("value").is_not_null()).to_series().fill_null(value=False)
    if not chosen.any():
        return frame
    rows = frame.select(
        pl.col("value", "std_error", "lower", "upper").cast(pl.Float64),
        pl.col("level").fill_null(0.95),
        pl.coalesce("events", "n").min().over(_TERM).cast(pl.Float64).clip(1).alias("fewest"),
        pl.col("estimand").str.ends_with("ratio").alias("ratio"),
        pl.col("estimand").is_in(FOLLOWING).alias("following"),
        (pl.col("term").is_not_null() & pl.col("category").is_null()).alias("per_unit"),
    )
    with np.errstate(all="ignore"):  # of rows that have no error, and stay as they are
        new = _widened({name: rows[name].to_numpy() for name in rows.columns}, persons)
    return frame.with_columns(
        pl.when(chosen & pl.col(name).is_not_null() & pl.Series(np.isfinite(values)))
        .then(pl.Series(name, values))
        .otherwise(name)
        .alias(name)
        for name, values in new.items()
    )


def _widened(rows: Mapping[str, Floats], persons: int) -> dict[str, Floats]:
    """Return estimate, error and limits in their steps; the scale of a ratio is the log."""
    ratio, value = rows["ratio"].astype(bool), rows["value"]
    centre, low, high = (np.where(ratio, np.log(ends), ends) for ends in (value, rows["lower"], rows["upper"]))
    half = (high - low) / 2 / ndtri((1 + rows["level"]) / 2)
    error = np.where(np.isnan(rows["std_error"]), half, rows["std_error"])
    of_levels = ratio & ~rows["per_unit"].astype(bool)  # per year of age the variance is 1 / (d * that of age)
    shown = np.where(of_levels, _of_ratio(error, persons), _of_mean(error, rows["fewest"], persons))
    weight = np.where(of_levels, shown**2, shown / np.sqrt(rows["fewest"]))
    step = np.where(ratio, weight * value, weight)
    # with k events in each of two arms s is sqrt(2 / k), and so many move 1.96 s by 2.8 persons / k ** 1.5 or less; an
    # E-value moves two to three times as much as the limit it follows from
    step = np.where(rows["following"].astype(bool), 8 * persons / rows["fewest"] ** 1.5, step)
    estimate, scale = _nearest(value, step), shown / error
    ends = {
        name: np.where(ratio, estimate * np.exp(away * scale), estimate + away * scale)
        for name, away in (("lower", low - centre), ("upper", high - centre))
    }
    errors = {"std_error": shown, **ends}
    return {"value": estimate, **{name: _digits(numbers, _DIGITS) for name, numbers in errors.items()}}


def _of_ratio(error: Floats, persons: int) -> Floats:
    """Return errors of log ratios of the middle of ``persons`` counts, or of a doubling where there are fewer.

    1 / (1/d1 + 1/d0) rises by at most 1 with each event, so a cell of ``persons`` holds as many counts of events.
    """
    count = 1 / error**2 / persons
    doubling = 2.0 ** np.floor(np.log2(np.fmin(count, 1)))
    low = np.where(count < 1, doubling, np.floor(count))
    return 1 / np.sqrt((low + np.where(count < 1, doubling, 1) / 2) * persons)


def _of_mean(error: Floats, fewest: Floats, persons: int) -> Floats:
    """Return errors of the middle of cells of equal ratio, each of two halves of a cell for fewer persons.

    So many of k persons move an error by a share of about persons / (2 k); half a cell is wider than that.
    """
    halvings = 2.0 ** np.floor(np.log2(np.fmax(fewest / (4 * persons), 1)))
    return 2.0 ** ((np.floor(np.log2(error) * halvings) + 0.5) / halvings)


def _nearest(numbers: Floats, step: Floats) -> Floats:
    """Return multiples of 1, 2 or 5 times a power of ten, the next at or above a step; what is positive stays so."""
    coarse = _digits(step, 1)
    decade = 10.0 ** np.floor(np.log10(coarse))
    nice = decade * np.select([coarse / decade <= 1, coarse / decade <= 2, coarse / decade <= 5], [1, 2, 5], 10)
    rounded = np.round(numbers / nice) * nice
    rounded = np.where((numbers > 0) & (rounded == 0), nice, rounded)
    return np.where(np.isfinite(rounded), _digits(rounded, 12), numbers)  # without the noise of a multiplication


def _digits(numbers: Floats, digits: int) -> Floats:
    """Return numbers with so many significant digits."""
    size = np.where((numbers == 0) | ~np.isfinite(numbers), 1.0, np.abs(numbers))
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(size)))
    return np.where(np.isfinite(numbers), np.round(numbers * scale) / scale, numbers)
