"""Rows that trials of two strategies have in common: answers, their seals, curves, and persons beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from cohort.effects.gates import Gate
from cohort.results.analysis_table import AnalysisTable
from cohort.results.treatment_rows import seal
from cohort.results.trial_question import DIFFERENCE, HAZARD_RATIO
from cohort.survival import cumulative_incidence


def answers(table: pl.DataFrame, groups: Mapping[str, str], method: str) -> pl.DataFrame:
    """Return the estimates of both strategies and their contrasts from the table of an emulation."""
    return table.select(
        pl.col("measure").replace({"hazard_ratio": HAZARD_RATIO}).alias("estimand"),
        pl.col("group").replace(groups),
        category=pl.lit(None, pl.String),
        value="estimate",
        std_error="std_error",
        lower="lower",
        upper="upper",
        method=pl.lit(method),
    )


def statuses(gates: Sequence[Gate], *, unsealed: bool) -> pl.DataFrame:
    """Return the status of each estimand: proportional hazards, the last gate, close the hazard ratio alone."""
    estimands = ("risk", "time_lost", DIFFERENCE, "time_lost_difference", "risk_ratio")
    whole = dict.fromkeys(estimands, seal(gates[:-1], unsealed=unsealed))
    whole[HAZARD_RATIO] = seal(gates, unsealed=unsealed)
    return pl.DataFrame({"estimand": list(whole), "status": list(whole.values())})


def persons_and_events(persons: pl.DataFrame) -> pl.DataFrame:
    """Return persons and events by what was done: what the release gate judges everything by."""
    counted = persons.lazy().group_by("group")
    return counted.agg(n=pl.len().cast(pl.Int64), events=(pl.col("cause") == 1).sum().cast(pl.Int64)).collect()


def curves(
    persons: pl.DataFrame,
    table: AnalysisTable,
    weighted: pl.DataFrame,
    groups: Mapping[str, str],
    method: str,
    entry: str | None = None,
) -> pl.DataFrame:
    """Return the weighted risk of every cause by day and strategy, with the persons who did as the strategy says.

    ``persons`` has ``group``, ``time``, ``cause`` and, where it is named, ``entry`` of each person, once.
    """
    counted: pl.DataFrame = cumulative_incidence(persons, "time", "cause", "group", entry).to_polars()
    causes = dict(enumerate(table.causes, start=1))
    name = pl.col("cause").replace_strict(causes, return_dtype=pl.String).alias("outcome")
    key, day = ["group", "outcome"], pl.col("time").cast(pl.Int64)
    drawn = weighted.select(pl.col("group").replace(groups), name, day, value="estimate").sort("time")
    days = counted.select("group", name, day, n="n_risk", events="n_event", censored="n_censored").sort("time")
    return days.join_asof(drawn, on="time", by=key, check_sortedness=False).with_columns(
        pl.col("value").fill_null(0.0),
        estimand=pl.lit("cumulative_incidence"),
        unit=pl.lit("probability"),
        method=pl.lit(f"{method}; persons are those who did as the strategy says"),
        std_error=pl.lit(None, pl.Float64),
        lower=pl.lit(None, pl.Float64),
        upper=pl.lit(None, pl.Float64),
    )
