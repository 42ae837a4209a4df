"""Differences and ratios of estimates between independent groups."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort.errors import StudyError
from cohort.survival.intervals import normal_quantile

CONTRAST = ["estimate", "std_error", "lower", "upper", "p_value"]


def against_reference(table: pl.DataFrame, level: float, reference: str | None = None) -> pl.DataFrame:
    """Return each group's estimates against those of ``reference`` (default: the first group).

    Parameters
    ----------
    table
        Columns ``group, estimate, std_error`` and, where they are there, ``cause`` and ``time``.

    Returns
    -------
    Columns ``group, reference, (cause,) (time,) contrast`` (``difference`` or ``ratio``), ``estimate, std_error, lower,
    upper, p_value``. A ratio has its limits from the log scale and the ``std_error`` of the log; it is missing where
    an estimate is 0.

    Raises
    ------
    StudyError
        If ``reference`` is not a group.
    """
    groups = table["group"].unique().sort().to_list()
    baseline = reference if reference is not None else next(iter(groups), None)
    if baseline is not None and baseline not in groups:
        raise StudyError(f"reference = {baseline!r} is not a group; the groups are {', '.join(groups)}")
    keys = [name for name in ("cause", "time") if name in table.columns]
    base = table.filter(pl.col("group") == baseline)
    base = base.select(*keys, base=pl.col("estimate"), base_error=pl.col("std_error"), reference=pl.col("group"))
    others = table.filter(pl.col("group") != baseline)
    pairs = others.join(base, on=keys) if keys else others.join(base, how="cross")
    both = pl.concat([_contrast(pairs, level, "difference"), _contrast(pairs, level, "ratio")])
    return both.select("group", "reference", *keys, "contrast", *CONTRAST).sort("contrast", "group", *keys)


def _contrast(pairs: pl.DataFrame, level: float, kind: str) -> pl.DataFrame:
    """Return the difference or ratio of ``estimate`` and ``base``, with limits and the normal test of none."""
    columns = ("estimate", "base", "std_error", "base_error")
    value, base, error, base_error = (pairs[name].fill_null(np.nan).to_numpy() for name in columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "ratio":
            effect, spread = np.log(value / base), np.sqrt((error / value) ** 2 + (base_error / base) ** 2)
        else:
            effect, spread = value - base, np.sqrt(error**2 + base_error**2)
        half = normal_quantile(level) * spread
        ends = [effect, effect - half, effect + half]
        estimate, lower, upper = [np.exp(end) for end in ends] if kind == "ratio" else ends
        found = [estimate, spread, lower, upper, 2 * ndtr(-np.abs(effect / spread))]
    known = np.isfinite(effect) & np.isfinite(spread)
    named = {name: pl.Series(np.where(known, values, np.nan)) for name, values in zip(CONTRAST, found, strict=True)}
    contrast = pl.lit(kind).alias("contrast")
    return pairs.with_columns(contrast, *(values.fill_nan(None).alias(name) for name, values in named.items()))
