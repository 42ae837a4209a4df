"""From the printed standard errors and limits of a model back to events: what the attacker solves besides sums.

The attacker is told the ratio and that the variance is 1/d1 + 1/d0 exactly, and asks of every two counts whether the
gate would have let out the very same error and limits. Where the counts are withheld, it is told as well to within
sixty what they are, and solves for all levels of the model at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from disclosure_worlds import MODELS

from cohort.results.disclosure import Released
from cohort.results.error_steps import widen_steps
from cohort.results.estimates import COUNTS_SUPPRESSED, Estimates
from cohort.results.rounding import round_statistics

REACH, MOST = 60, 5000
Bound = tuple[np.ndarray, int, int]
"""Which atoms, and the fewest and most persons in them."""


def solved_errors(released: Released, atoms: pl.DataFrame, exact: pl.DataFrame) -> Iterator[Bound]:
    """Yield what the errors of each model say of the events of its levels, and of all of them together.

    ``exact`` are the rows before the gate, of which the attacker is told what the module's head says.
    """
    for analysis in MODELS:
        shown = released.estimates.select(analysis=analysis).drop_nulls("value")
        if shown.height > 1:
            yield from _of_a_model(shown, exact.filter(pl.col("analysis") == analysis), released, atoms)


def _of_a_model(shown: pl.DataFrame, exact: pl.DataFrame, released: Released, atoms: pl.DataFrame) -> Iterator[Bound]:
    standing = exact.join(shown.select("category"), on="category")
    reference = exact.filter(pl.col("std_error").is_null(), pl.col("value") == 1)["events"].item()
    hidden = COUNTS_SUPPRESSED in shown["status"].to_list()
    together = pl.DataFrame({"d0": _around(reference, hidden), "least": 0, "most": 0})
    everywhere = np.zeros(atoms.height, dtype=bool)
    for row in shown.drop_nulls("std_error").iter_rows(named=True):
        true = standing.filter(pl.col("category") == row["category"]).row(0, named=True)
        others = standing.filter(pl.col("category") != row["category"], pl.col("std_error").is_not_null())["events"]
        beside = (others.min() or MOST, standing.filter(pl.col("std_error").is_null()).height > 0)
        possible = _possible(row, true, reference, beside, released)
        assert possible.filter(d0=reference, d1=true["events"]).height == 1, "the attacker misreads an error"
        inside = _events_of(row, atoms)
        told = possible.filter(d0=reference)["d1"]
        yield _bound(inside, told.min(), told.max(), true["events"])
        each = possible.group_by("d0").agg(least_here=pl.col("d1").min(), most_here=pl.col("d1").max())
        together = together.join(each, on="d0").select(
            "d0", least=pl.col("least") + pl.col("least_here"), most=pl.col("most") + pl.col("most_here")
        )
        everywhere |= inside
    if hidden and together.height and standing.height == exact.height:
        whole = exact["events"].sum() - reference
        for row in exact.filter(pl.col("value") == 1, pl.col("std_error").is_null()).iter_rows(named=True):
            everywhere |= _events_of(row, atoms)
        sums = together.select(low=pl.col("d0") + pl.col("least"), high=pl.col("d0") + pl.col("most"))
        yield _bound(everywhere, sums["low"].min(), sums["high"].max(), whole + reference)


def _possible(row: dict, true: dict, reference: int, beside: tuple[int, bool], released: Released) -> pl.DataFrame:
    """Return the events of a level and of the one compared with that give this error and these limits: d1, d0.

    ``beside`` are the fewest events of the other levels that are shown, and whether the one compared with is.
    """
    others, whole = beside
    hidden, rule = row["status"] == COUNTS_SUPPRESSED, released.rule
    pairs = pl.DataFrame({"d1": _around(true["events"], True)}).join(
        pl.DataFrame({"d0": _around(reference, hidden)}), how="cross"
    )
    error = (1 / pl.col("d1") + 1 / pl.col("d0")).sqrt()
    made = pairs.select(
        term=pl.format("{} {}", "d1", "d0"),
        value=pl.lit(true["value"]),
        std_error=error,
        lower=true["value"] * (-1.959964 * error).exp(),
        upper=true["value"] * (1.959964 * error).exp(),
        events=pl.min_horizontal("d1", pl.col("d0") if whole else pl.lit(MOST), pl.lit(others)),
    )
    rows = made.with_columns(
        analysis=1, estimand=pl.lit("hazard_ratio"), outcome=pl.lit("pain"), category=pl.lit("level"), level=0.95
    )
    rows = Estimates.from_rows(rows).frame.with_columns(n="events")
    if hidden:
        rows = widen_steps(rows, pl.lit(True), rule.minimum)
    rows = round_statistics(rows, rule.minimum, rule.significant_digits)
    if rule.round_to > 1 and not hidden:
        rows = widen_steps(rows, pl.lit(True), rule.round_to)
    same = [(pl.col(name) - row[name]).abs() <= 1e-9 * abs(row[name]) for name in ("std_error", "lower", "upper")]
    counts = pl.col("term").str.split_exact(" ", 1).struct.rename_fields(["d1", "d0"])
    return rows.filter(*same).select(counts.alias("both")).unnest("both").cast(pl.Int64)


def _around(count: int, hidden: bool) -> list[int]:
    return list(range(max(1, count - REACH), count + REACH + 1)) if hidden else [count]


def _bound(which: np.ndarray, low: int, high: int, true: int) -> Bound:
    """Return a bound; what reaches the end of what was tried is no bound on that side."""
    tried = REACH - 2
    return which, low if low > true - tried else 0, high if high < true + tried else MOST


def _events_of(row: dict, atoms: pl.DataFrame) -> np.ndarray:
    level = (atoms[row["term"]].cast(pl.String) == row["category"]).fill_null(False)
    return (level & (atoms["event"] == 1)).to_numpy()
