"""What the release gate does to rows: withhold them, or withhold their counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import polars as pl

from cohort.population.attrition import Attrition
from cohort.results.coarsen import CURVE_KEY, coarsen
from cohort.results.error_steps import widen_steps
from cohort.results.estimates import COUNTS_SUPPRESSED, CURVES, NUMBERS, OK, RATIOS, SUPPRESSED
from cohort.results.families import ROW
from cohort.results.history import Curve
from cohort.results.sizes import analyses_a_few_off

TAILS = {"minimum": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.25, "maximum": 0.0}
"""Estimands that are the value of one person, and the share of persons beyond it."""


def withhold_rows(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    """Return the frame with all numbers of the given rows taken out: status ``suppressed``."""
    if not (rows := set(rows)):
        return frame
    return _withhold(frame, pl.col(ROW).is_in(list(rows)))


def withhold_unjudged(frame: pl.DataFrame) -> pl.DataFrame:
    """Withhold what comes without the counts to judge it by.

    A rate or a level of a model needs persons and events, a curve persons, events and censorings, anything else
    persons; a model term with levels in Table 1 needs a row for each level.
    """
    counts_events = pl.col("estimand").is_in([*RATIOS, "incidence_rate", *CURVES])
    unknown = (
        pl.col("n").is_null()
        | (counts_events & pl.col("events").is_null())
        | (pl.col("estimand").is_in(CURVES) & (pl.col("censored").is_null() | pl.col("time").is_null()))
    )
    if set(RATIOS) & set(frame["estimand"]):
        unknown |= pl.col("estimand").is_in(RATIOS) & _unlevelled(frame)
    return _withhold(frame, (pl.col("analysis") > 0) & pl.col("value").is_not_null() & unknown)


def _unlevelled(frame: pl.DataFrame) -> pl.Expr:
    """Say which rows of a model are of a term with levels in Table 1, without saying of which level."""
    levels = frame.filter(pl.col("analysis") == 0, pl.col("category").is_not_null())["term"].unique().to_list()
    named = pl.col("term").str.split(":").list.eval(pl.element().is_in(levels)).list.any()
    return (pl.col("category").is_null() & named).fill_null(value=False)


def withhold_scarce_means(frame: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Withhold mean and standard deviation of a whole number that all but a few persons share.

    The sum of squares about the nearest whole number, which both give, counts at least those who differ from it: an
    indicator taken for a number would show its count. The term's standardised differences, made from them, go too.
    """
    keys = ["analysis", "outcome", "term", "category", "group"]
    if "mean" not in set(frame["estimand"]):
        return frame
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
    if scarce.is_empty():
        return frame
    marked = frame.join(scarce, on=keys, how="left", nulls_equal=True, maintain_order="left")
    of_a_scarce_term = (pl.col("estimand") == contrast) & pl.col("term").is_in(scarce["term"].to_list())
    return _withhold(marked, (moments & pl.col("scarce").fill_null(False)) | of_a_scarce_term).drop("scarce")


def withhold_sizes(frame: pl.DataFrame, attrition: Attrition, minimum: int) -> pl.DataFrame:
    """Withhold counts of an analysis whose persons or events differ from others of the study by a few.

    Ten thousand in the cohort and 9,997 in a model are three with a missing covariate. The estimate may stand, its
    counts may not, and its error only in steps that hide so many events; of what is made of the counts, a curve, a
    rate, the persons that weights leave, nothing does.
    """
    few_off = analyses_a_few_off(frame, attrition, minimum)
    if not few_off:
        return frame
    differing = pl.col("analysis").is_in(sorted(few_off))
    made_of_counts = pl.col("estimand").is_in([*CURVES, "incidence_rate", "proportion", "effective_size"])
    stands = differing & ~made_of_counts
    stepped = widen_steps(frame, stands & (pl.col("status") == OK), minimum)
    return _withhold_counts(_withhold(stepped, differing & made_of_counts), stands)


def release_curves(
    frame: pl.DataFrame, minimum: int, days: int, before: Mapping[str, Sequence[Curve]] = MappingProxyType({})
) -> pl.DataFrame:
    """Return the frame with its curves at the points that may be shown, one row saying so for each withheld curve."""
    is_curve = pl.col("estimand").is_in(CURVES)
    frame = frame.drop(ROW)
    curves, others = frame.filter(is_curve), frame.filter(~is_curve)
    if curves.is_empty():
        return frame
    coarse = coarsen(curves.filter(pl.col("status") == OK, pl.col("value").is_not_null()), minimum, days, before)
    refused = curves.filter(pl.col("status") != OK)
    lost = curves.filter(pl.col("status") == OK).join(coarse, on=CURVE_KEY, how="anti", nulls_equal=True)
    if lost.is_empty() and refused.is_empty():
        return pl.concat([others, coarse])
    withheld = pl.concat([lost.with_columns(status=pl.lit(SUPPRESSED)), refused]).with_columns(
        pl.lit(None, frame.schema[name]).alias(name) for name in (*NUMBERS, "time")
    )
    return pl.concat([others, coarse, withheld.unique(CURVE_KEY, maintain_order=True)])


def withhold_extremes(frame: pl.DataFrame, minimum: int, *, show: bool) -> pl.DataFrame:
    """Withhold percentiles with fewer than ``minimum`` persons beyond them; a smallest and a largest value have none.

    Where a study says that extremes may be shown, these two stay: the last persons of a percentile do not.
    """
    if not set(TAILS) & set(frame["estimand"]):
        return frame
    tail = pl.col("estimand").replace_strict(TAILS, default=None, return_dtype=pl.Float64)
    few = (tail * pl.col("n") < minimum).fill_null(value=False)
    return _withhold(frame, few & (pl.lit(not show) | (tail > 0)) & pl.col("value").is_not_null())


def withhold_in_words(frame: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Take counts of persons out of texts: how many were left out of a model, how small a share is out of equipoise.

    A text is no cell, so nobody could audit what it says beside the others.
    """
    told = pl.col("method").str.replace_all(r"\b\d+ persons with a missing", "persons with a missing")
    said = pl.col("status").str.replace_all(r"\b\d+ (rows|persons|events)\b", "some $1")
    if "gate" not in set(frame["estimand"]):
        return frame.with_columns(said, told)
    frame = frame.with_columns(said)
    outside = (pl.col("n") * pl.min_horizontal(pl.col("value"), 1 - pl.col("value"))).fill_null(0)
    gate = (pl.col("estimand") == "gate") & (pl.col("term") == "equipoise")
    small = gate & (outside > 0) & (outside < minimum)
    texts = frame.filter(small)["method"].drop_nulls().unique().to_list()
    if not texts:
        return frame.with_columns(told)
    sealed = pl.col("status").str.replace_many(texts, ["equipoise"] * len(texts))
    unsaid = frame.with_columns(sealed, pl.when(~small).then(told).alias("method"))
    return _withhold(unsaid, small)


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
