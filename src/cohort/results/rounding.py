"""Rounding at the gate: digits that tell no more than the counts beside them, and counts in steps.

Rounding comes after withholding. What cannot be worked out from exact numbers cannot be worked out from a function of
them, so no rounding can undo what was withheld; and the same number is rounded to the same number wherever it stands.
"""

from __future__ import annotations

import polars as pl

from cohort.results.coarsen import CURVE_KEY
from cohort.results.disclosure_rule import DisclosureRule
from cohort.results.error_steps import widen_steps
from cohort.results.estimates import CURVES, OK, RESPONSES
from cohort.survival.rates import rate_limits

COUNTED = ("count", "missing", "effective_size")
"""Estimands whose value is a number of persons."""
SHARES = (*CURVES, *RESPONSES, "risk", "risk_difference")
"""Estimands that are probabilities, as a share of ``n`` persons."""
EXACT = ("count", "missing", "proportion", "incidence_rate")
"""Estimands that say no more than the counts beside them."""
_COUNTS = ("n", "events", "censored")
_ENDS = ("value", "std_error", "lower", "upper")


def to_multiple(count: pl.Expr, base: int) -> pl.Expr:
    """Return whole numbers to the nearest multiple of a base, halves up, in integer arithmetic."""
    return (count + base // 2) // base * base


def to_midpoint(count: pl.Expr, width: int) -> pl.Expr:
    """Return the middle of the ``width`` whole numbers that a count is one of (1 to 6 → 3, 7 to 12 → 9); 0 stays 0."""
    return pl.when(count > 0).then((count + width - 1) // width * width - width // 2).otherwise(count)


def round_statistics(frame: pl.DataFrame, minimum: int, significant_digits: int) -> pl.DataFrame:
    """Cut the digits of everything that is not a function of counts shown beside it.

    Mean and standard deviation: the last decimal that is not finer than ``minimum / n``. Curves: the decimal nearest
    to one person of the group, which hides the order of events and censorings between two points. Standardised
    differences: two decimals. Models and the rest: ``significant_digits``. Counts, proportions and rates say no more
    than the counts beside them, and stay as they are.
    """
    exact = pl.col("estimand").is_in(EXACT)
    scaled = frame.with_columns(_exact=exact, _scale=pl.lit(10.0) ** _decimals(minimum))
    scale, rest = pl.col("_scale"), ~pl.col("_exact")
    return scaled.with_columns(
        pl.when(rest & scale.is_null())
        .then(pl.col(name).round_sig_figs(significant_digits))
        .when(rest)
        .then((pl.col(name) * scale).round() / scale)
        .otherwise(name)
        .alias(name)
        for name in _ENDS
    ).drop("_exact", "_scale")


def _decimals(minimum: int) -> pl.Expr:
    """Return the decimals that a row's numbers may have; null where significant digits are counted instead."""
    persons = pl.col("n").max().over(CURVE_KEY).cast(pl.Float64)
    return (
        pl.when(pl.col("estimand").is_in(CURVES))
        .then((persons.log10() + 0.5).floor())
        .when(pl.col("estimand").is_in(["mean", "std_deviation"]))
        .then((pl.col("n") / minimum).log10().floor())
        .when(pl.col("estimand") == "standardised_difference")
        .then(2.0)
        .clip(0, 12)
    )


def round_counts(frame: pl.DataFrame, rule: DisclosureRule) -> pl.DataFrame:
    """Return the frame with counts in steps of the rule, and with what can be solved for a count made from those.

    Proportions and rates, with their exact limits, are made again from the rounded counts. Probabilities leave as
    multiples of one step of their group, standard errors with two digits. What a model estimates leaves in steps that
    hide the rounding (`widen_steps`).
    """
    if rule.base <= 1:
        return frame
    is_curve, made_again = pl.col("estimand").is_in(CURVES), pl.col("estimand").is_in([*EXACT, *SHARES])
    curves = _round_curves(frame.filter(is_curve), rule)
    stepped = widen_steps(frame.filter(~is_curve), ~made_again & (pl.col("status") == OK), rule.round_to)
    others = _round_others(stepped, rule.round_to)
    return pl.concat([_round_rates(others, rule.significant_digits), curves])


def _round_curves(curves: pl.DataFrame, rule: DisclosureRule) -> pl.DataFrame:
    """Round running counts, so that a curve stays monotone and no error adds up; at risk is the same in every curve."""

    def stepped(count: pl.Expr) -> pl.Expr:
        midpoint = rule.curve_midpoint
        return to_midpoint(count, midpoint) if midpoint else to_multiple(count, rule.round_to)

    def since(count: pl.Expr) -> pl.Expr:
        running = stepped(count.cum_sum())
        return (running - running.shift(1, fill_value=0)).over(CURVE_KEY, order_by="time")

    unit = pl.lit(float(rule.base)) / stepped(pl.col("n").max()).over(CURVE_KEY)
    return curves.with_columns(
        stepped(pl.col("n")),
        pl.min_horizontal(since(pl.col("events")), stepped(pl.col("n"))).alias("events"),
        since(pl.col("censored")),
        *_in_steps(unit),
    )


def _round_others(rows: pl.DataFrame, base: int) -> pl.DataFrame:
    share = (pl.col("value") * pl.col("n")).round().cast(pl.Int64)
    counted = pl.col("estimand").is_in(COUNTED)
    is_share = pl.col("estimand").is_in(SHARES)
    unit = pl.lit(float(base)) / to_multiple(pl.col("n"), base)
    value, *rest = (
        pl.when(is_share).then(stepped).otherwise(name) for name, stepped in zip(_ENDS, _in_steps(unit), strict=True)
    )
    whole = pl.col("value").round().cast(pl.Int64)
    return rows.with_columns(
        pl.when(counted)
        .then(to_multiple(whole, base).cast(pl.Float64))
        .when(pl.col("estimand") == "proportion")
        .then(to_multiple(share, base) / to_multiple(pl.col("n"), base))
        .otherwise(value)
        .alias("value"),
        *(part.alias(name) for name, part in zip(_ENDS[1:], rest, strict=True)),
        *(to_multiple(pl.col(name), base).alias(name) for name in _COUNTS),
        exactly=pl.col("events"),
    )


def _in_steps(unit: pl.Expr) -> list[pl.Expr]:
    """Return value and limits as multiples of a unit, and the standard error with two digits."""
    steps = {name: ((pl.col(name) / unit).round() * unit).alias(name) for name in ("value", "lower", "upper")}
    return [steps["value"], pl.col("std_error").round_sig_figs(2), steps["lower"], steps["upper"]]


def _round_rates(rows: pl.DataFrame, digits: int) -> pl.DataFrame:
    """Make rates again from rounded events and person-days of few digits: exact limits tell the exact events."""
    is_rate = (pl.col("estimand") == "incidence_rate") & pl.col("value").is_not_null() & (pl.col("exactly") > 0)
    parts = rows.filter(is_rate).partition_by("level", maintain_order=True)
    return pl.concat([rows.filter(~is_rate), *(_rates_again(part, digits) for part in parts)]).drop("exactly")


def _rates_again(rates: pl.DataFrame, digits: int) -> pl.DataFrame:
    """Return rates of one level of confidence from their rounded counts.

    Limits that are robust to several entries of a person keep their ratio to the rate, which no count follows from.
    """
    days = rates["person_days"].round_sig_figs(digits)
    made = rate_limits(rates["events"].to_numpy(), days.to_numpy(), rates["level"][0] or 0.95)
    scale = (
        (rates["value"] * rates["person_days"] / rates["exactly"]).round_sig_figs(9).to_numpy()
    )  # noise tells events
    again = {name: pl.Series(name, values * scale) for name, values in zip(_ENDS, made.values(), strict=True)}
    robust = rates["method"].str.contains("robust").fill_null(value=False)
    ratio = again["value"] / rates["value"]
    ends = [(rates[name] * ratio).round_sig_figs(digits).zip_with(robust, again[name]) for name in _ENDS[1:]]
    return rates.with_columns(days, again["value"], *ends)
