"""Mean cumulative function: the expected number of recurrent events per person by each day."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cohort.frames import as_lazy
from cohort.survival.clusters import person_spells
from cohort.survival.counts import count_days
from cohort.survival.curves import Curves
from cohort.survival.hazards import nelson_aalen_from
from cohort.survival.observations import By
from cohort.survival.repeated import place
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.types import Ints


def mean_cumulative_function(
    frame: Any,
    id: str,
    start: str,
    stop: str,
    event: str,
    by: By = None,
    conf_type: str = "log",
    level: float = 0.95,
) -> Curves:
    """Estimate the expected number of events per person over time, with the variance robust to dependence.

    Parameters
    ----------
    id
        Column of persons; a person may have many spells, and an event at the end of each.
    start, stop
        Columns of spells ``(start, stop]``, which must not overlap within a person.
    event
        Column of 0/1 or booleans: the spell ends with an event.

    Raises
    ------
    InputRefusedError
        On overlapping spells, or on anything ``count_days`` refuses.

    References
    ----------
    Lawless JF, Nadeau C (1995), Technometrics 37:158–168, doi:10.1080/00401706.1995.10484300.
    """
    lazy = as_lazy(frame)
    persons = person_spells(lazy, id, start, stop, event, by)
    counts = count_days(lazy, stop, event, by, entry=start, causes=[1])
    curves = nelson_aalen_from(counts, conf_type, level, persons=persons)
    left = [_left(risk, persons[risk.group]) for risk in risk_tables(counts)]
    table = curves.table.with_columns(n_censored=pl.Series(np.concatenate([*left, []]), dtype=pl.Int64))
    return Curves(table, counts, "mean_cumulative_function", 0.0, conf_type, level)


def _left(risk: RiskTable, spells: pl.DataFrame) -> Ints:
    """Return who leaves observation without an event at each time, (T,): no spell goes on from there."""
    goes_on = (pl.col("id") == pl.col("id").shift(-1)) & (pl.col("stop") == pl.col("start").shift(-1))
    last = spells.filter(~goes_on.fill_null(False) & (pl.col("event") == 0))
    return np.bincount(place(risk, last["stop"].to_numpy()), minlength=len(risk.time)).astype(np.int64)
