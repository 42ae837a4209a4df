"""Persons and events that one analysis has and another has not: the difference is a count as well."""

from __future__ import annotations

import polars as pl

from cohort.population.attrition import Attrition
from cohort.results.coarsen import CURVE_KEY
from cohort.results.estimates import ALL, CURVES, OK, RATIOS


def analyses_a_few_off(frame: pl.DataFrame, attrition: Attrition, minimum: int) -> set[int]:
    """Return the analyses whose counts must not stand beside those of the rest of the study.

    Compared are, by subtraction: all persons of an analysis with those of the flow and of Table 1, the persons of a
    model's levels with the same levels in Table 1, and all events of a model with those of rates and curves of the
    same outcome. Analyses are those positions where a difference is neither 0 nor ``minimum`` or more.
    """
    counts = _counts(frame.filter(pl.col("analysis") > 0, pl.col("status") == OK, pl.col("n").is_not_null()))
    keys = ["analysis", "estimand", "outcome", "term", "time", "whole"]
    totals = counts.group_by(keys).agg(pl.col("n", "events").sum())
    table = frame.filter(pl.col("analysis") == 0, pl.col("estimand") == "count", pl.col("group") == ALL)
    end = [count for step in attrition.steps[-1:] for count in (step.persons_kept, step.entries_kept)]
    whole = {int(n) for n in (*end, *table.filter(pl.col("term").is_null())["value"]) if n is not None}

    def few_off(compared: pl.DataFrame, count: str, *others: pl.Expr) -> set[int]:
        apart = [(pl.col(count) - other).abs() for other in others]
        few = pl.any_horizontal(pl.lit(value=False), *((gap > 0) & (gap < minimum) for gap in apart))
        return set(compared.filter(few)["analysis"])

    found = few_off(totals, "n", *map(pl.lit, whole))
    levels = table.filter(pl.col("category").is_not_null())
    if levels.height:
        there = levels.select("term", "category", there=pl.col("value").cast(pl.Int64))
        found |= few_off(counts.join(there, on=["term", "category"]), "n", pl.col("there"))
    is_model = pl.col("estimand").is_in(RATIOS)
    if (models := totals.filter(is_model)).height:
        events = totals.filter(~is_model).select("outcome", there=pl.col("events"))
        found |= few_off(models.join(events, on="outcome"), "events", pl.col("there"))
    return found


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return persons and events of each group, level and day; of a curve its first persons and all its events."""
    columns = [*CURVE_KEY, "term", "category", "time", "n", "events"]
    curve = rows.filter(pl.col("estimand").is_in(CURVES)).group_by(*CURVE_KEY, "term", "category", maintain_order=True)
    collapsed = curve.agg(pl.col("n").first(), pl.col("events").sum()).with_columns(time=pl.lit(None, pl.Int64))
    others = rows.filter(~pl.col("estimand").is_in(CURVES))
    return pl.concat([collapsed.select(columns), others.select(columns)]).with_columns(whole=pl.col("group") == ALL)
