"""Reading a curve: its value and the number at risk on a given day, and the day it reaches a given value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cohort.errors import StudyError
from cohort.survival.counts import DayCounts
from cohort.survival.risk import TIME_TOLERANCE, number_at_risk
from cohort.survival.types import Floats, Ints

READ = ["estimate", "std_error", "lower", "upper"]


def read_off(table: pl.DataFrame, counts: DayCounts, at_start: float, times: Sequence[float]) -> pl.DataFrame:
    """Return each curve of ``table`` at ``times``, right-continuous; ``at_start`` before the first exit."""
    asked = np.asarray(times)
    at_risk = number_at_risk(counts, asked)
    curve = ["group"] + (["cause"] if "cause" in table.columns else [])
    read = []
    for key, rows in table.partition_by(curve, as_dict=True, maintain_order=True).items():
        place = np.searchsorted(rows["time"].to_numpy(), asked, side="right")
        known = {name: pl.Series([value]).new_from_index(0, len(asked)) for name, value in zip(curve, key, strict=True)}
        values = {name: _step(rows[name], 0.0 if name == "std_error" else at_start, place) for name in READ}
        read.append(pl.DataFrame(known | {"time": asked, "n_risk": at_risk[key[0]]} | values))
    return pl.concat(read) if read else table.select(*curve, "time", "n_risk", *READ)


def _step(values: pl.Series, at_start: float, place: Ints) -> pl.Series:
    """Return the value after ``place`` (P,) steps, the first of them being ``at_start``."""
    return pl.concat([pl.Series(values.name, [at_start]), values]).gather(place)


def curve_quantiles(
    table: pl.DataFrame, probabilities: Sequence[float], start: float, *, falling: bool
) -> pl.DataFrame:
    """Return when each curve of ``table``, and each of its limits, reaches the given shares.

    A share that the curve meets exactly is taken in the middle of the flat stretch, as R's ``quantile.survfit`` does
    (the median of an even number of persons); the limits are where the confidence band first reaches it. A band may
    turn back (few at risk, or late entries); R then takes the day of its closest value, not the first.

    References
    ----------
    Brookmeyer R, Crowley J (1982), Biometrics 38:29–41, doi:10.2307/2530286.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    if not ((shares > 0) & (shares < 1)).all():
        raise StudyError("quantiles are asked for as shares between 0 and 1")
    curve = ["group"] + (["cause"] if "cause" in table.columns else [])
    bands = {"estimate": "estimate", "lower": "lower" if falling else "upper", "upper": "upper" if falling else "lower"}
    found = []
    for key, rows in table.partition_by(curve, as_dict=True, maintain_order=True).items():
        time = np.concatenate([[start], rows["time"].to_numpy()])
        known = [pl.lit(value).alias(name) for name, value in zip(curve, key, strict=True)]
        reached = {"probability": shares}
        for name, band in bands.items():
            values = rows[band].cast(pl.Float64).fill_null(np.nan).to_numpy()
            share = np.concatenate([[0.0], 1 - values if falling else values])
            reached[name] = _when(time, share, shares)
        found.append(pl.DataFrame(reached).fill_nan(None).select(*known, *reached))
    return pl.concat(found) if found else table.select(*curve, pl.col("estimate").alias("probability"), *bands)


def _when(time: Floats, share: Floats, asked: Floats) -> Floats:
    """Return the times, (P,), at which a step curve first reaches each share; NaN when it never does."""
    last = time[-1]
    rising = np.concatenate([[True], np.diff(np.fmax.accumulate(share)) > 0]) & ~np.isnan(share)
    time, share = time[rising], np.fmax.accumulate(share)[rising]
    steps = np.concatenate([time, [np.nan]])
    first = np.searchsorted(share + TIME_TOLERANCE, asked, side="left")
    after = np.searchsorted(share - TIME_TOLERANCE, asked, side="left")
    ends = np.concatenate([time, [last]])  # level with the last value: until the end of follow-up
    middle = (steps[first] + np.where(first < len(time), ends[after], np.nan)) / 2
    return np.where(after == first, steps[first], middle)
