"""The summary: sentences a colleague can quote, made from released numbers only."""

from __future__ import annotations

import polars as pl

from cohort.report.labels import Labels
from cohort.report.numbers import count, days, interval, percent, ratios
from cohort.report.tables import confidence, first, is_reference
from cohort.results.disclosure import Released
from cohort.results.estimates import RATIOS


def summary(title: str, released: Released, labels: Labels) -> list[str]:
    """Return who, how many, and the main estimates with their intervals, one sentence each."""
    frame = released.estimates.frame
    shown = frame.filter(pl.col("status").str.starts_with("ok") & pl.col("value").is_not_null())
    sentences = [_who(title, released, shown)]
    sentences += _curves(shown.filter(pl.col("estimand") == "cumulative_incidence"), "cumulative incidence", labels)
    sentences += _curves(shown.filter(pl.col("estimand") == "survival"), "proportion without the event", labels)
    sentences += _ratios(shown.filter(pl.col("estimand").is_in(RATIOS)), labels)
    return sentences


def _who(title: str, released: Released, shown: pl.DataFrame) -> str:
    sizes = shown.filter((pl.col("analysis") == 0) & (pl.col("estimand") == "count") & pl.col("term").is_null())
    total = sizes.filter(pl.col("group") == "all")["value"]
    steps = released.attrition.steps
    if len(total):
        start = f" of {count(steps[0].persons_kept)} in the data" if len(steps) > 1 else ""
        return f"{title}: {count(total[0])} persons{start}."
    if len(steps) and steps[-1].persons_kept == 0:
        return f"{title}: nobody in the data meets the criteria, so there is nothing to estimate."
    return f"{title}: the number of persons is withheld or was not counted."


def _curves(rows: pl.DataFrame, name: str, labels: Labels) -> list[str]:
    """Return one sentence for the first curve analysis: its first outcome, at the last day all groups share."""
    if rows.is_empty():
        return []
    position, outcome = rows.select("analysis", "outcome").row(0)
    part = rows.filter(pl.col("analysis") == position, pl.col("outcome").eq_missing(pl.lit(outcome)))
    ends = part.group_by("group").agg(pl.col("time").max()).sort("group")
    day = int(ends["time"].min())  # type: ignore[arg-type]  # Int64 column: the minimum is an int
    last = part.filter(pl.col("time") <= day).group_by("group").agg(pl.all().sort_by("time").last()).sort("group")
    by = labels.by(position)
    said = [
        f"{percent(row['value'])}{_ends(percent(row['lower']), percent(row['upper']), part)}"
        + (f" for “{labels.level(by, row['group'])}”" if row["group"] != "all" else "")
        for row in last.iter_rows(named=True)
    ]
    of = f" of {labels.term(outcome)}" if outcome else ""
    of += f" by “{labels.term(by)}”" if by and last["group"].to_list() != ["all"] else ""
    return [f"By {days(day)} the {name}{of} was {_listed(said)}."]


def _ratios(rows: pl.DataFrame, labels: Labels) -> list[str]:
    """Return one sentence for the first contrast of the first model, in the order of the labels."""
    contrasts = [row for row in rows.iter_rows(named=True) if not is_reference(row)]
    if not contrasts:
        return []
    position = contrasts[0]["analysis"]
    members = [row for row in contrasts if row["analysis"] == position]
    term = labels.order(list({row["term"] for row in members}))[0]
    by = labels.by(position)
    row = next(row for row in members if row["term"] == (by if by in {m["term"] for m in members} else term))
    level = f" ({labels.level(row['term'], row['category'])})" if row["category"] else ""
    value, lower, upper = ratios(row["value"], row["lower"], row["upper"])
    ends = _ends(lower, upper, rows)
    others = len({member["term"] for member in members}) - 1
    adjusted = f", adjusted for {others} other {'variable' if others == 1 else 'variables'}" if others else ""
    return [f"The hazard ratio for “{labels.term(row['term'])}”{level} was {value}{ends}{adjusted}."]


def _ends(lower: str, upper: str, rows: pl.DataFrame) -> str:
    return f" ({confidence(rows)} {interval(lower, upper)})" if lower and upper and first(rows, "level") else ""


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
