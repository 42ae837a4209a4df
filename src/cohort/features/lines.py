"""Lines of treatment and the paths that patients take through them, ready for a Sankey picture."""

from __future__ import annotations

import polars as pl

from cohort.features.intervals import PERSON
from cohort.features.medication import AGENT, treatment_eras
from cohort.time import days_between

TOGETHER = " + "
"""What joins the agents of a combination, in alphabetical order."""

STOPPED = "none"
"""The step after a person's last line."""

_ONE_DAY = pl.duration(days=1)


def treatment_lines(dispensings: pl.LazyFrame, *, gap_days: int = 60, minimum_days: int = 30) -> pl.LazyFrame:
    """Return each person's lines of treatment: what is taken together, in order.

    Eras of continuous use (`treatment_eras`) are cut wherever an agent starts or stops. A stretch that lasts fewer than
    ``minimum_days`` days is a change-over, no line of its own; neighbouring stretches of the same agents, whatever was
    left out between them, are one line. The rule reads the whole history it is given, so a line is known only once it
    is over: use it to describe, not as a covariate.

    Parameters
    ----------
    dispensings
        ``person_id, agent, date, days_supply``.

    Returns
    -------
    LazyFrame
        ``person_id, line`` (Int64, from 1), ``treatment`` (String), ``start_date, end_date`` (both included) and
        ``days`` (Int64, without what lies between stretches); sorted.

    References
    ----------
    Markus AF, Verhamme KMC, Kors JA, Rijnbeek PR (2022). TreatmentPatterns: an R package to facilitate the standardized
    development and analysis of treatment patterns across disease domains. Comput Methods Programs Biomed 225:107081.
    doi:10.1016/j.cmpb.2022.107081.
    """
    eras = treatment_eras(dispensings, gap_days=gap_days).select(*AGENT, "start_date", "end_date")
    long = _stretches(eras).filter(pl.col("days") >= minimum_days).sort(*PERSON, "start_date")
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("person_id", "treatment"))
    joined = (
        long.with_columns(run=changed.cum_sum())
        .group_by("person_id", "treatment", "run")
        .agg(pl.col("start_date").min(), pl.col("end_date").max(), pl.col("days").sum())
        .sort("person_id", "start_date")
    )
    line = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("person_id")
    return joined.with_columns(line=line).select("person_id", "line", "treatment", "start_date", "end_date", "days")


def pathways(lines: pl.LazyFrame, *, most: int = 4) -> pl.LazyFrame:
    """Return how many persons go from one line to the next: the links of a Sankey picture.

    Counts of persons: they add up over buckets, and pass the disclosure rule before they are shown.

    Parameters
    ----------
    lines
        As from `treatment_lines`.
    most
        Number of lines shown; from the last of them no link leaves.

    Returns
    -------
    LazyFrame
        ``step`` (Int64, from 1), ``source, target`` (String; `STOPPED` where there is no next line) and ``persons``
        (Int64); sorted.
    """
    following = pl.col("treatment").shift(-1).over("person_id").fill_null(STOPPED)
    links = lines.sort("person_id", "line").with_columns(target=following).filter(pl.col("line") < most)
    return (
        links.group_by(step="line", source="treatment", target="target")
        .agg(persons=pl.len().cast(pl.Int64))
        .sort("step", "source", "target")
    )


def _stretches(eras: pl.LazyFrame) -> pl.LazyFrame:
    """Return the maximal stretches of a person with the same agents: ``person_id, treatment, start_date, end_date``."""
    cuts = pl.concat(
        [
            eras.select("person_id", start_date="start_date"),
            eras.select("person_id", start_date=pl.col("end_date") + _ONE_DAY),
        ]
    ).unique()
    until = pl.col("start_date").shift(-1).over("person_id") - _ONE_DAY
    pieces = cuts.sort("person_id", "start_date").with_columns(end_date=until).drop_nulls("end_date")
    taken = pieces.join(eras, on="person_id", suffix="_era").filter(
        pl.col("start_date").is_between("start_date_era", "end_date_era")
    )
    return (
        taken.group_by("person_id", "start_date", "end_date")
        .agg(treatment=pl.col("agent").unique().sort().str.join(TOGETHER))
        .with_columns(days=days_between(pl.col("start_date"), pl.col("end_date")) + 1)
    )
