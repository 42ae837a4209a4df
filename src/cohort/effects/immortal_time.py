"""The immortal-time error beside the right answers, from one frame: what "ever treated" makes of waiting alive.

Whoever is to be treated on day 200 cannot have died on day 100; counting those days as treated makes any treatment
look protective. A landmark, a time-varying exposure and clones each give the days before treatment to whom they belong.

References
----------
Suissa S (2008), Am J Epidemiol 167:492–499, doi:10.1093/aje/kwm324. Anderson JR, Cain KC, Gelber RD (1983), J Clin
Oncol 1:710–719, doi:10.1200/JCO.1983.1.11.710 (landmark). Mi X et al. (2016), doi:10.1002/sim.7019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cohort.effects.emulation import clone_censor_weight
from cohort.effects.exposed_time import split_at_start
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, like, require_columns
from cohort.survival.cox import fit_cox
from cohort.survival.observations import observe

ANALYSES = ("ever treated", "landmark", "time-varying exposure", "clone–censor–weight")
_SCHEMA = {
    "analysis": pl.String,
    "persons": pl.Int64,
    "hazard_ratio": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "not_estimable": pl.String,
}


def at_landmark(frame: Any, day: int, *, time: str = "time", treatment_time: str, treated: str = "treated") -> Any:
    """Return those still under observation after a landmark, time counted from it, with who was treated by then.

    Column ``treated`` is added; a start after the landmark does not count, and who left on or before it is gone. The
    answer is about those who reach the landmark.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, {"time": time, "treatment_time": treatment_time})
    if treated in lazy.collect_schema().names():
        raise StudyError(f"the frame has a column {treated!r} already; give another name for who was treated")
    started = (pl.col(treatment_time) <= day).fill_null(value=False)
    return like(frame, lazy.filter(pl.col(time) > day).with_columns(pl.col(time) - day, started.alias(treated)))


def exposure_spells(frame: Any, *, time: str = "time", cause: str = "cause", treatment_time: str) -> pl.DataFrame:
    """Return rows ``(start, stop]`` before and after the start of treatment, with ``treated`` and the event at the end.

    A person who starts on day 0 has no row before; one who starts on or after the day of exit is never treated at
    risk: what happens on a day happens before a treatment of that day. A follow-up of 0 days has no person-time.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, {"time": time, "cause": cause, "treatment_time": treatment_time})
    rows = lazy.with_columns(start=pl.lit(0.0), stop=pl.col(time).cast(pl.Float64))
    split = split_at_start(rows, treatment_time, entry="start", time="stop", event=cause, into="treated")
    return split.filter(pl.col("stop") > pl.col("start")).drop("last").collect()


def immortal_time_comparison(
    frame: Any,
    *,
    time: str = "time",
    cause: str = "cause",
    treatment_time: str,
    grace_days: int,
    horizon: float,
    terms: str,
    cause_of_interest: int = 1,
    replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> pl.DataFrame:
    """Return the hazard ratio of treatment by four analyses of the same persons, the wrong one first.

    "Ever treated" takes a start at any later time for a property at time 0. The landmark is the end of the grace
    period; clones compare starting within it with not starting. The first three adjust for ``terms``, clones are
    weighted by them. The four answer different questions where the effect is not nil, but only the first is wrong
    where it is.

    Returns
    -------
    Columns ``analysis, persons, hazard_ratio, lower, upper, not_estimable`` (the reason, where there is no estimate;
    clones have limits with at least 2 ``replicates``).
    """
    persons = as_lazy(frame).collect()
    observe(persons, time, cause)
    if wrong := int((persons[treatment_time].cast(pl.Float64) < 0).sum()):
        raise InputRefusedError(f"column {treatment_time!r} is negative in {wrong} rows; null means never")
    arguments = {"time": time, "treatment_time": treatment_time}
    ever = persons.with_columns(treated=(pl.col(treatment_time) <= pl.col(time)).fill_null(value=False))
    spells = exposure_spells(persons, cause=cause, **arguments)
    reached = at_landmark(persons, grace_days, **arguments)
    rows = [
        _cox(ANALYSES[0], ever, time, None, cause, cause_of_interest, terms, level, ever.height),
        _cox(ANALYSES[1], reached, time, None, cause, cause_of_interest, terms, level, reached.height),
        _cox(ANALYSES[2], spells, "stop", "start", cause, cause_of_interest, terms, level, persons.height),
    ]
    asked = {"cause": cause, "cause_of_interest": cause_of_interest, "grace_days": grace_days, "terms": terms}
    asked |= {"horizon": horizon, "replicates": replicates, "seed": seed, "level": level}
    rows.append(_clones(persons, arguments | asked))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _cox(
    name: str, rows: pl.DataFrame, time: str, entry: str | None, cause: str, code: int, terms: str, level: float, n: int
) -> tuple[Any, ...]:
    """Return the line of a Cox model of ``treated`` and covariates."""
    marked = rows.with_columns((pl.col(cause).cast(pl.Int64) == code).alias("__event"))
    formula = " + ".join(["treated", terms] if terms else ["treated"])
    try:
        if marked["treated"].n_unique() < 2:
            raise NotEstimableError("single_arm")
        fit = fit_cox(marked, time, "__event", entry, terms=formula, level=level)
    except NotEstimableError as error:
        return name, n, None, None, None, error.reason
    with np.errstate(over="ignore"):  # of other columns
        limits = [float(side[0]) for side in (fit.hazard_ratio, fit.lower, fit.upper)]
    return name, n, *limits, None


def _clones(persons: pl.DataFrame, asked: dict[str, Any]) -> tuple[Any, ...]:
    try:
        table = clone_censor_weight(persons, **asked).table
    except NotEstimableError as error:
        return ANALYSES[3], persons.height, None, None, None, error.reason
    row = table.filter(pl.col("measure") == "hazard_ratio").row(0, named=True)
    return ANALYSES[3], persons.height, row["estimate"], row["lower"], row["upper"], None
