"""The analysis table cut down to its matched sets, and how alike the arms were before."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from cohort.codes.records import KEY
from cohort.population.attrition import Attrition, Step
from cohort.population.cohort import Cohort
from cohort.population.entry import ARM
from cohort.population.matching import CASE, SET, RiskSets
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import OK, Estimates

BEFORE = "standardised_difference_before_matching"
"""Estimand of the differences of Table 1 between the arms before they were matched."""


def match(table: AnalysisTable, cohort: Cohort) -> tuple[AnalysisTable, Step]:
    """Return the members of matched sets, and the attrition step that matching is.

    The sets are made from one table of all candidates, and each bucket's part keeps its own members, once for each set
    that they are in. In risk sets everybody leaves on the day of the set's case, which is the one event.
    """
    matching, entry = cohort.matching, cohort.entry
    assert matching is not None and entry is not None  # noqa: S101 -- a study without them asks for no sets
    columns = [*KEY, "entry", "time", "cause", *([ARM] if entry.arms else []), *matching.columns]
    candidates = pl.concat([part.select(columns) for part in table.parts], how="vertical")
    sets = matching.sets(candidates, tuple(arm.name for arm in entry.arms))
    step = _step(matching.reason, candidates, sets)
    if isinstance(matching, RiskSets):
        days = sets.filter(CASE).join(candidates, on=KEY).select(SET, _day="time")
        sets = sets.join(days, on=SET)
    rows = [part.drop(matching.columns).join(sets, on=KEY).sort(*KEY, SET) for part in table.parts]
    if isinstance(matching, RiskSets):
        return replace(table, parts=tuple(map(_at_the_case, rows)), strata=SET), step
    return replace(table, parts=tuple(part.drop(CASE) for part in rows), strata=SET), step


def _at_the_case(part: pl.DataFrame) -> pl.DataFrame:
    """Return members of risk sets as they are on the day of the set's case."""
    reason = pl.when(CASE).then(pl.lit("case")).otherwise(pl.lit("control"))
    return part.with_columns(time="_day", cause=pl.col(CASE).cast(pl.Int8), exit_reason=reason).drop("_day")


def _step(reason: str, candidates: pl.DataFrame, sets: pl.DataFrame) -> Step:
    kept = sets.select(KEY).unique()
    persons, everybody = kept["person_id"].n_unique(), candidates["person_id"].n_unique()
    return Step(reason, persons, everybody - persons, kept.height, candidates.height - kept.height)


def differences_before(table_one: Estimates, attrition: Attrition, rule: DisclosureRule, most_rows: int) -> Estimates:
    """Return the standardised differences of a Table 1 of unmatched arms, as far as that table might leave itself."""
    released = release(table_one, attrition, rule, most_rows).estimates.select(estimand="standardised_difference")
    shown = released.filter(pl.col("status") == OK)
    return Estimates.from_rows(shown.with_columns(estimand=pl.lit(BEFORE)))
