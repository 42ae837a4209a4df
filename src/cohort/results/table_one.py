"""Table 1: who is in the cohort, by group, from integer counts that add up over buckets.

``count_table_one(bucket) + count_table_one(next bucket)`` and one ``finish()``: means, standard deviations,
proportions and standardised differences are taken from sums of integers, so they do not depend on how the persons
were cut into buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from cohort.errors import CohortError, InputRefusedError
from cohort.frames import require_columns
from cohort.results.estimates import ALL, Estimates

Kind = Literal["integer", "categorical", "boolean"]

SCHEMA = pl.Schema(
    {
        "group": pl.String(),
        "term": pl.String(),  # null: the group itself
        "category": pl.String(),  # null: missing values of the term, or an integer term
        "known": pl.Boolean(),  # whether the persons counted have a value of the term
        "n": pl.Int64(),
        "sum": pl.Int64(),
        "squares": pl.Int64(),
    }
)
_KEY = ["group", "term", "category", "known"]
UNGROUPED = "(missing)"
"""The group of persons whose grouping variable is missing; they stay in the table."""


@dataclass(frozen=True, slots=True, eq=False)
class TableOneCounts:
    """Counts of Table 1 for any set of persons: one row per group, term and level, all Int64.

    Integer terms carry the sum and the sum of squares of their known values. Groups are disjoint; the column ``all``
    is made from them in `finish`.
    """

    frame: pl.DataFrame
    kinds: Mapping[str, Kind]
    grouped: bool

    def __add__(self, other: TableOneCounts) -> TableOneCounts:
        """Add the counts of other persons of the same cohort."""
        if dict(self.kinds) != dict(other.kinds) or self.grouped != other.grouped:
            raise CohortError("Table 1 counts of different variables cannot be added")
        return TableOneCounts(_total(pl.concat([self.frame, other.frame])), self.kinds, self.grouped)

    def finish(self) -> Estimates:
        """Return Table 1 as estimates of analysis 0: one column ``all`` and, when grouped, one per group.

        Percentages are of all persons of the column, with missing values as a level of their own; means, standard
        deviations (n - 1) and standardised differences are of the known values.
        """
        counts = self.frame
        if self.grouped and ALL in counts["group"]:
            raise InputRefusedError(f"Table 1: a level of the grouping variable is called {ALL!r}; rename it")
        if self.grouped:
            counts = pl.concat([counts, _total(counts.with_columns(pl.lit(ALL).alias("group")))])
        sizes = counts.filter(pl.col("term").is_null()).select("group", size="n")
        rows = [_sizes(sizes)]
        if self.kinds:
            rows += [
                _missing(counts, sizes, list(self.kinds)),
                _levels(counts, sizes),
                _moments(counts, sizes, self.kinds),
            ]
        if self.kinds and self.grouped:
            rows.append(_standardised_differences(self.frame, self.kinds))
        return Estimates.from_rows(pl.concat(rows, how="diagonal"), analysis=0)


def count_table_one(frame: pl.LazyFrame, variables: Mapping[str, Kind], by: str | None = None) -> TableOneCounts:
    """Count Table 1 of some persons, one row each.

    Parameters
    ----------
    frame
        One row per person. ``integer`` columns hold whole numbers (years, days, scores), ``categorical`` ones text,
        ``boolean`` ones true or false; null is missing.
    variables
        Column name to its kind; the order is that of the table.
    by
        Column whose values are the groups; null values form a group of their own, `UNGROUPED`.

    Raises
    ------
    InputRefusedError
        If a column is absent, or an ``integer`` column holds anything but integers.
    """
    require_columns(frame, {name: name for name in [*variables, *([by] if by else [])]})
    schema = frame.collect_schema()
    for name, kind in variables.items():
        if kind == "integer" and not schema[name].is_integer():
            raise InputRefusedError(f"Table 1 variable {name!r} is {schema[name]}, not whole numbers; cast it first")
    group = pl.col(by).cast(pl.String).fill_null(UNGROUPED) if by else pl.lit(ALL)
    parts = [_count_groups(frame, group), *(_count(frame, group, name, kind) for name, kind in variables.items())]
    return TableOneCounts(pl.concat(pl.collect_all(parts)).sort(_KEY), dict(variables), by is not None)


def _count_groups(frame: pl.LazyFrame, group: pl.Expr) -> pl.LazyFrame:
    """Count the persons of each group."""
    counted = frame.with_columns(group=group).group_by("group").agg(n=pl.len())
    same = {"term": None, "category": None, "known": True, "sum": 0, "squares": 0}
    filled = counted.with_columns(pl.lit(value).alias(name) for name, value in same.items())
    return filled.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def _count(frame: pl.LazyFrame, group: pl.Expr, term: str, kind: Kind) -> pl.LazyFrame:
    """Count one term."""
    value = pl.col(term)
    number = value.cast(pl.Int64) if kind == "integer" else pl.lit(None, pl.Int64)
    category = value.cast(pl.String) if kind in {"categorical", "boolean"} else pl.lit(None, pl.String)
    counted = (
        frame.with_columns(group=group, category=category, known=value.is_not_null(), number=number)
        .group_by("group", "category", "known")
        .agg(n=pl.len().cast(pl.Int64), sum=pl.col("number").sum(), squares=(pl.col("number") ** 2).sum())
    )
    return counted.select(pl.lit(term, pl.String).alias("term"), pl.all()).select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )


def _total(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.group_by(_KEY).agg(pl.col("n", "sum", "squares").sum()).sort(_KEY).select(SCHEMA.names())


def _sizes(sizes: pl.DataFrame) -> pl.DataFrame:
    return sizes.select(
        "group", n="size", estimand=pl.lit("count"), value=pl.col("size").cast(pl.Float64), unit=pl.lit("persons")
    )


def _missing(counts: pl.DataFrame, sizes: pl.DataFrame, terms: list[str]) -> pl.DataFrame:
    """Return the missing values of every term in every group, zeros too."""
    every = sizes.join(pl.DataFrame({"term": terms}, schema={"term": pl.String}), how="cross")
    missing = counts.filter(~pl.col("known")).select("group", "term", missing="n")
    return every.join(missing, on=["group", "term"], how="left", maintain_order="left").select(
        "group",
        "term",
        n="size",
        estimand=pl.lit("missing"),
        value=pl.col("missing").fill_null(0).cast(pl.Float64),
        unit=pl.lit("persons"),
    )


def _levels(counts: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """Return count and proportion of every level seen anywhere, in every group."""
    levels = counts.filter(pl.col("category").is_not_null())
    grid = levels.select("term", "category").unique(maintain_order=True).join(sizes, how="cross")
    cells = grid.join(
        levels.select("group", "term", "category", "n"),
        on=["group", "term", "category"],
        how="left",
        maintain_order="left",
    ).with_columns(pl.col("n").fill_null(0).cast(pl.Float64).alias("value"))
    keys = ["group", "term", "category"]
    return pl.concat(
        [
            cells.select(*keys, n="size", estimand=pl.lit("count"), value="value", unit=pl.lit("persons")),
            cells.filter(pl.col("size") > 0).select(
                *keys,
                n="size",
                estimand=pl.lit("proportion"),
                value=pl.col("value") / pl.col("size"),
                method=pl.lit("of all persons of the group, missing values included"),
            ),
        ],
        how="diagonal",
    )


def _moments(counts: pl.DataFrame, sizes: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Return mean and standard deviation of the known values of integer terms."""
    integer = [name for name, kind in kinds.items() if kind == "integer"]
    known = counts.filter(pl.col("term").is_in(integer) & pl.col("known")).join(
        sizes, on="group", maintain_order="left"
    )
    mean = pl.col("sum") / pl.col("n")
    common = [pl.col("group"), pl.col("term"), pl.col("size").alias("n")]
    return pl.concat(
        [
            known.select(*common, estimand=pl.lit("mean"), value=mean, method=pl.lit("of known values")),
            known.filter(pl.col("n") > 1).select(
                *common,
                estimand=pl.lit("std_deviation"),
                value=_variance().sqrt(),
                method=pl.lit("of known values, n - 1"),
            ),
        ],
        how="diagonal",
    )


def _variance() -> pl.Expr:
    """Return the sample variance, (n * squares - sum^2) / (n (n - 1)).

    The numerator is a whole number, taken in 128 bits: 50 million persons aged 100 already pass 2^63.
    """
    n, total, squares = (pl.col(name).cast(pl.Int128) for name in ("n", "sum", "squares"))
    return (n * squares - total * total).cast(pl.Float64) / (n * (n - 1)).cast(pl.Float64)


def _standardised_differences(counts: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Return the standardised difference of every group from the first (by name), for every term.

    References
    ----------
    Austin (2009), doi 10.1002/sim.3697 (means and proportions); Yang & Dalton (2012), SAS Global Forum 335-2012
    (several levels: Mahalanobis distance of the proportions).
    """
    groups = sorted(set(counts.filter(pl.col("term").is_null())["group"]) - {UNGROUPED})
    rows = [
        {"group": group, "term": term, "value": _difference(counts, term, kind, groups[0], group)}
        for group in groups[1:]
        for term, kind in kinds.items()
    ]
    frame = pl.DataFrame(rows, schema={"group": pl.String, "term": pl.String, "value": pl.Float64})
    reason = "not_estimable: no variation in either group, or no known value"
    return frame.select(
        "group",
        "term",
        "value",
        estimand=pl.lit("standardised_difference"),
        method=pl.lit(f"against group {groups[0]!r}; known values") if groups else pl.lit(None, pl.String),
        status=pl.when(pl.col("value").is_null()).then(pl.lit(reason)).otherwise(pl.lit("ok")),
    )


def _difference(counts: pl.DataFrame, term: str, kind: Kind, first: str, group: str) -> float | None:
    known = counts.filter((pl.col("term") == term) & pl.col("known"))
    if kind == "integer":
        return _mean_difference(known.filter(pl.col("group") == first), known.filter(pl.col("group") == group))
    levels = sorted(known["category"].unique().to_list())
    first_counts, group_counts = (
        _level_counts(known.filter(pl.col("group") == name), levels) for name in (first, group)
    )
    return level_difference(first_counts, group_counts)


def _level_counts(known: pl.DataFrame, levels: list[str]) -> np.ndarray:
    found = dict(zip(known["category"], known["n"], strict=True))
    return np.array([found.get(level, 0) for level in levels], dtype=np.int64)


def _mean_difference(first: pl.DataFrame, group: pl.DataFrame) -> float | None:
    """Return (mean of group - mean of first) / sqrt of the mean of the two variances."""
    if min(first["n"].sum(), group["n"].sum()) < 2:
        return None
    sides = pl.concat([first, group]).select(mean=pl.col("sum") / pl.col("n"), variance=_variance())
    spread = float(np.sqrt(sides["variance"].mean()))  # type: ignore[arg-type]  # two floats: the mean is a float
    return float(sides["mean"][1] - sides["mean"][0]) / spread if spread > 0 else None


def level_difference(first: np.ndarray, group: np.ndarray) -> float | None:
    """Return the standardised difference of two distributions over the same levels.

    Two levels give Austin's (p2 - p1) / sqrt of the mean of p(1 - p), signed, for the second level (``true`` of false
    and true); more give the Mahalanobis distance of Yang & Dalton, which has no sign. ``first`` and ``group`` are
    integer counts by level.
    """
    kept = (first + group) > 0
    if min(first.sum(), group.sum()) == 0 or kept.sum() < 2:
        return None
    p1, p2 = first[kept] / first.sum(), group[kept] / group.sum()
    step = (p2 - p1)[1:]
    covariance = (_multinomial_covariance(p1[1:]) + _multinomial_covariance(p2[1:])) / 2
    if np.linalg.matrix_rank(covariance) < len(step):  # each level is held by one group only
        return None
    if len(step) == 1:
        return float(step[0] / np.sqrt(covariance[0, 0]))
    return float(np.sqrt(step @ np.linalg.solve(covariance, step)))


def _multinomial_covariance(p: np.ndarray) -> np.ndarray:
    return np.diag(p) - np.outer(p, p)
