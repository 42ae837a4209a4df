"""Mean cumulative function: the expected number of recurrent events per person by each day."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cohort.frames import as_lazy
from cohort.survival.counts import count_days
from cohort.survival.curves import Curves
from cohort.survival.hazards import nelson_aalen_from
from cohort.survival.intervals import hazard_limits
from cohort.survival.observations import By
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints


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
    check_spells(lazy, id, start, stop)
    counts = count_days(lazy, stop, event, by, entry=start, causes=[1])
    curves = nelson_aalen_from(counts, conf_type, level)
    spells = _spells(lazy, {"id": id, "start": start, "stop": stop, "event": event}, by)
    tables = []
    for risk in risk_tables(counts):
        rows = curves.table.filter(pl.col("group") == risk.group)
        here = spells.filter(pl.col("group") == risk.group)
        std_error = np.sqrt(np.maximum(_person_variance(risk, here), 0.0))
        lower, upper = hazard_limits(rows["estimate"].to_numpy(), std_error, conf_type, level)
        named = {"n_censored": _left(risk, here), "std_error": std_error, "lower": lower, "upper": upper}
        tables.append(rows.with_columns(pl.Series(k, v) for k, v in named.items()).fill_nan(None))
    table = pl.concat(tables) if tables else curves.table
    return Curves(table, counts, "mean_cumulative_function", 0.0, conf_type, level)


def _spells(lazy: pl.LazyFrame, columns: dict[str, str], by: By) -> pl.DataFrame:
    """Return the spells with their group's text, sorted by person and start."""
    names = [by] if isinstance(by, str) else list(by or [])
    group = pl.concat_str([pl.col(name).cast(pl.String) for name in names], separator=", ") if names else pl.lit("all")
    chosen = [pl.col(name).alias(role) for role, name in columns.items()]
    return lazy.select(*chosen, group=group).sort("group", "id", "start").collect()


def _left(risk: RiskTable, spells: pl.DataFrame) -> Ints:
    """Return who leaves observation without an event at each time, (T,): no spell goes on from there."""
    goes_on = (pl.col("id") == pl.col("id").shift(-1)) & (pl.col("stop") == pl.col("start").shift(-1))
    last = spells.filter(~goes_on.fill_null(False) & (pl.col("event").cast(pl.Int64) == 0))
    return np.bincount(_place(risk, last["stop"].to_numpy()), minlength=len(risk.time)).astype(np.int64)


def _place(risk: RiskTable, time: Any) -> Ints:
    """Return the positions of exit times among the group's, near ties being one time."""
    place: Ints = np.searchsorted(risk.time, time, side="right") - 1
    return place


def _person_variance(risk: RiskTable, spells: pl.DataFrame) -> Floats:
    """Return the sum over persons of squared influences, (T,), in linear time.

    A person's influence drifts by -d/Y² while at risk and jumps by 1/Y at each event. The sum of squares changes at
    each time by twice (drift or jump) times the influence so far of those at risk or with an event.
    """
    size, at_risk = len(risk.time), risk.n_risk.astype(np.float64)
    jump = 1 / at_risk
    drift = risk.n_any * jump**2
    total = np.concatenate([[0.0], np.cumsum(drift)])
    stop, joined = _place(risk, spells["stop"].to_numpy()), _place(risk, spells["start"].to_numpy()) + 1
    event = spells["event"].cast(pl.Int64).to_numpy().astype(np.float64)
    change = event * jump[stop] - (total[stop + 1] - total[joined])
    person = spells["id"].rle_id().to_numpy()
    at_start = _sum_before_within(person, change)

    at_event = np.bincount(stop, event * (at_start - (total[stop] - total[joined])), size)
    entered = np.bincount(joined, at_start + total[joined], size + 1)[:size]
    gone = np.bincount(stop, at_start + total[joined], size)
    among_risk = np.cumsum(entered) - np.cumsum(gone) + gone - at_risk * total[:-1]
    own = risk.n_any * (jump**2 - 2 * jump * drift) + at_risk * drift**2
    return np.cumsum(2 * jump * at_event - 2 * drift * among_risk + own)


def _sum_before_within(person: Ints, values: Floats) -> Floats:
    """Return each row's sum of the earlier values of its person; rows are sorted by person."""
    before = np.cumsum(values) - values
    first = np.searchsorted(person, person, side="left")
    return before - before[first]
