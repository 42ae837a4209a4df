"""How far to believe an effect, as rows: E-values, the confounder that would tip it, an outcome found with error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.effects.sensitivity import Accuracy, e_value, probabilistic_bias, tipping_point
from cohort.errors import NotEstimableError
from cohort.results.estimates import NOT_ESTIMABLE, OK

if TYPE_CHECKING:
    from cohort.results.treatment import Sensitivity

_Found = tuple[str, dict[str, float], str, str]
"""Estimand, numbers, status and method of one row."""
_CANNOT = f"{NOT_ESTIMABLE}: no confounder of these prevalences would do it"


def sensitivity_rows(shown: pl.DataFrame, effective: Mapping[str, float], asked: Sensitivity) -> pl.DataFrame:
    """Return the sensitivity of a ratio of risks; sealed where the ratio is.

    Parameters
    ----------
    shown
        Rows of the effect, with the ratio of risks and the risks of both groups.
    effective
        Group → effective persons, the treated first: what weighted risks are worth as counts.
    """
    answers = shown if "category" not in shown.columns else shown.filter(pl.col("category").is_null())
    ratios = answers.filter(pl.col("estimand") == "risk_ratio")
    if ratios.is_empty():
        return shown.clear()
    row = ratios.row(0, named=True)
    numbers = (row["value"], row["lower"], row["upper"])
    if row["status"] != OK:
        found: list[_Found] = [("e_value", {}, row["status"], "")]
    elif any(number is None or not 0 < number < math.inf for number in numbers):
        found = [("e_value", {}, f"{NOT_ESTIMABLE}: the ratio of risks has no limits", "")]
    else:
        risks = dict(answers.filter(pl.col("estimand") == "risk").select("group", "value").iter_rows())
        found = [*_confounded(*numbers, asked), *_misclassified(risks, effective, asked)]
    rows = [
        {"estimand": name, "group": row["group"], "status": status, "method": method or None} | values
        for name, values, status, method in found
    ]
    return pl.DataFrame(rows, schema=shown.schema)


def _confounded(ratio: float, lower: float, upper: float, asked: Sensitivity) -> Iterator[_Found]:
    values = e_value(ratio, lower, upper)
    method = "E-value: least ratio of an unmeasured confounder with treatment and with outcome that could explain it"
    yield "e_value", {"value": values.estimate}, OK, method
    yield "e_value_limit", {"value": values.limit}, OK, method
    if asked.confounder is None:
        return
    treated, untreated = asked.confounder
    nearer = lower if ratio > 1 else upper
    method = f"of an unmeasured confounder in {treated:.0%} of the treated and {untreated:.0%} of the untreated"
    for name, start in (("tipping_point", ratio), ("tipping_point_limit", nearer)):
        if name == "tipping_point_limit" and lower <= 1 <= upper:
            yield name, {"value": 1.0}, OK, method
            continue
        point = tipping_point(start, treated, untreated)
        yield name, {} if point is None else {"value": point}, _CANNOT if point is None else OK, method


def _misclassified(risks: Mapping[str, float], effective: Mapping[str, float], asked: Sensitivity) -> Iterator[_Found]:
    if asked.outcome_found is None or asked.outcome_free is None:
        return
    persons = [round(size) for size in effective.values()]
    events = [round(risks[group] * n) for group, n in zip(effective, persons, strict=True)]
    accuracy: Any = Accuracy(asked.outcome_found, asked.outcome_free)
    method = "ratio of risks had the outcome been found without error: median and 95 % of simulated accuracies"
    try:
        found = probabilistic_bias((events[0], events[1]), (persons[0], persons[1]), accuracy)
    except NotEstimableError as error:
        yield "corrected_risk_ratio", {}, str(error), method
        return
    numbers = {"value": found.median, "lower": found.lower, "upper": found.upper}
    yield "corrected_risk_ratio", numbers, OK, method
