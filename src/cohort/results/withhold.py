"""What the release gate does to rows: withhold them, withhold their counts, cut their digits."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from cohort.population.attrition import Attrition
from cohort.results.coarsen import CURVE_KEY, CURVES, coarsen
from cohort.results.estimates import COUNTS_SUPPRESSED, NUMBERS, OK, RATIOS, SUPPRESSED
from cohort.results.families import ROW
from cohort.results.sizes import analyses_a_few_off


def withhold_rows(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    """Return the frame with all numbers of the given rows taken out: status ``suppressed``."""
    return _withhold(frame, pl.col(ROW).is_in(list(rows)))


def withhold_unjudged(frame: pl.DataFrame) -> pl.DataFrame:
    """Withhold what comes without the counts to judge it by.

    A rate or a level of a model needs persons and events, a curve persons, events and censorings, anything else
    persons; a model term with levels in Table 1 needs a row for each level.
    """
    levels = frame.filter(pl.col("analysis") == 0, pl.col("category").is_not_null())["term"].unique().to_list()
    unlevelled = (
        pl.col("category").is_null() & pl.col("term").str.split(":").list.eval(pl.element().is_in(levels)).list.any()
    )
    counts_events = pl.col("estimand").is_in([*RATIOS, "incidence_rate", *CURVES])
    unknown = (
        pl.col("n").is_null()
        | (counts_events & pl.col("events").is_null())
        | (pl.col("estimand").is_in(CURVES) & (pl.col("censored").is_null() | pl.col("time").is_null()))
        | (pl.col("estimand").is_in(RATIOS) & unlevelled.fill_null(False))
    )
    return _withhold(frame, (pl.col("analysis") > 0) & pl.col("value").is_not_null() & unknown)


def withhold_scarce_means(frame: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Withhold mean and standard deviation of a whole number that all but a few persons share.

    The sum of squares about the nearest whole number, which both give, counts at least those who differ from it: an
    indicator taken for a number would show its count. The term's standardised differences, made from them, go too.
    """
    keys = ["analysis", "outcome", "term", "category", "group"]
    moments, contrast = pl.col("estimand").is_in(["mean", "std_deviation"]), "standardised_difference"
    if not _holds_anywhere(frame, moments):
        return frame
    mean, spread, n = pl.col("mean"), pl.col("std_deviation").fill_null(0), pl.col("n").cast(pl.Float64)
    apart = spread**2 * (n - 1) + n * (mean - mean.round()) ** 2
    scarce = (
        frame.filter(moments, pl.col("value").is_not_null())
        .pivot("estimand", index=[*keys, "n"], values="value", on_columns=["mean", "std_deviation"])
        .filter(apart > 1e-6, apart < minimum - 0.5)
        .select(*keys, scarce=pl.lit(True))
    )
    marked = frame.join(scarce, on=keys, how="left", nulls_equal=True, maintain_order="left")
    of_a_scarce_term = (pl.col("estimand") == contrast) & pl.col("term").is_in(scarce["term"].to_list())
    return _withhold(marked, (moments & pl.col("scarce").fill_null(False)) | of_a_scarce_term).drop("scarce")


def withhold_sizes(frame: pl.DataFrame, attrition: Attrition, minimum: int) -> pl.DataFrame:
    """Withhold counts of an analysis whose persons or events differ from others of the study by a few.

    Ten thousand in the cohort and 9,997 in a model are three with a missing covariate. The estimate may stand, its
    counts may not; of a curve, which is made of them, nothing does.
    """
    differing = pl.col("analysis").is_in(sorted(analyses_a_few_off(frame, attrition, minimum)))
    is_curve = pl.col("estimand").is_in(CURVES)
    return _withhold_counts(_withhold(frame, differing & is_curve), differing & ~is_curve)


def release_curves(frame: pl.DataFrame, minimum: int, days: int) -> pl.DataFrame:
    """Return the frame with its curves at the points that may be shown, one row saying so for each withheld curve."""
    is_curve = pl.col("estimand").is_in(CURVES)
    curves = frame.filter(is_curve)
    coarse = coarsen(curves.filter(pl.col("status") == OK, pl.col("value").is_not_null()).drop(ROW), minimum, days)
    refused = curves.filter(pl.col("status") != OK).drop(ROW)
    lost = curves.filter(pl.col("status") == OK).drop(ROW).join(coarse, on=CURVE_KEY, how="anti", nulls_equal=True)
    withheld = pl.concat([lost.with_columns(status=pl.lit(SUPPRESSED)), refused]).with_columns(
        pl.lit(None, frame.schema[name]).alias(name) for name in (*NUMBERS, "time")
    )
    return pl.concat([frame.filter(~is_curve).drop(ROW), coarse, withheld.unique(CURVE_KEY, maintain_order=True)])


def round_statistics(frame: pl.DataFrame, minimum: int, significant_digits: int) -> pl.DataFrame:
    """Cut the digits of everything that is not a function of counts shown beside it.

    Mean and standard deviation: the last decimal that is not finer than ``minimum / n``. Curves: the decimal nearest
    to one person of the group, which hides the order of events and censorings between two points. Standardised
    differences: two decimals. Models and the rest: ``significant_digits``. Counts, proportions and rates say no more
    than the counts beside them, and stay as they are.
    """
    persons = pl.col("n").max().over(CURVE_KEY).cast(pl.Float64)
    decimals = (
        pl.when(pl.col("estimand").is_in(CURVES))
        .then((persons.log10() + 0.5).floor())
        .when(pl.col("estimand").is_in(["mean", "std_deviation"]))
        .then((pl.col("n") / minimum).log10().floor())
        .when(pl.col("estimand") == "standardised_difference")
        .then(2.0)
        .clip(0, 12)
    )
    exact = pl.col("estimand").is_in(["count", "missing", "proportion", "incidence_rate"])
    scale = pl.lit(10.0) ** decimals
    return frame.with_columns(
        pl.when(exact)
        .then(pl.col(name))
        .when(decimals.is_not_null())
        .then((pl.col(name) * scale).round() / scale)
        .otherwise(pl.col(name).round_sig_figs(significant_digits))
        .alias(name)
        for name in ("value", "std_error", "lower", "upper")
    )


def _withhold(frame: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    if not _holds_anywhere(frame, where):
        return frame
    return frame.with_columns(
        *(pl.when(~where).then(pl.col(name)).alias(name) for name in NUMBERS),
        pl.when(where).then(pl.lit(SUPPRESSED)).otherwise(pl.col("status")).alias("status"),
    )


def _withhold_counts(frame: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    shown = where & (pl.col("status") == OK)
    if not _holds_anywhere(frame, shown):
        return frame
    return frame.with_columns(
        *(pl.when(~shown).then(pl.col(name)).alias(name) for name in ("n", "events", "censored")),
        pl.when(shown).then(pl.lit(COUNTS_SUPPRESSED)).otherwise(pl.col("status")).alias("status"),
    )


def _holds_anywhere(frame: pl.DataFrame, where: pl.Expr) -> bool:
    """Return whether a row is to be withheld: in most results nothing is, which is cheaper to see than to write."""
    return bool(frame.select(where.any(ignore_nulls=False).fill_null(value=True)).item())
