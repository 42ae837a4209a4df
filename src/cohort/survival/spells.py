"""Rows of one person as spells ``(start, stop]``: they must not overlap, and one must end where the next begins.

References: ``survcheck`` of R's survival package names the same faults (overlap, jump, duplicate).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, require_columns
from cohort.survival.risk import TIME_TOLERANCE


def check_spells(
    frame: Any, person: str, start: str, stop: str, from_state: str | None = None, to_state: str | None = None
) -> None:
    """Refuse spells of one person that overlap or, with states, that continue in another state than they led to.

    Times that are no whole numbers may differ by rounding and still meet, as in ``risk.merge_near_ties``.

    Raises
    ------
    InputRefusedError
        Naming the fault and the number of spells, never a person.
    """
    named = {"id": person, "start": start, "stop": stop, "from_state": from_state, "to_state": to_state}
    columns = {role: name for role, name in named.items() if name is not None}
    lazy = as_lazy(frame)
    require_columns(lazy, columns)
    spells = lazy.select(pl.col(name).alias(role) for role, name in columns.items()).sort("id", "start", "stop")
    previous = pl.all().shift(1).name.prefix("previous_")
    same = pl.col("id") == pl.col("previous_id")
    begins, ends = pl.col("start"), pl.col("previous_stop")
    before, meets = begins < ends, begins == ends
    schema = spells.collect_schema()
    if schema["start"].is_float() or schema["stop"].is_float():
        rounding = TIME_TOLERANCE * pl.max_horizontal(pl.lit(1.0), pl.col("stop").abs().mean())
        before, meets = ends - begins > rounding, (ends - begins).abs() <= rounding
    faults = {"without an id": pl.col("id").is_null(), "overlapping": same & before}
    if from_state is not None:
        led_to = pl.coalesce("previous_to_state", "previous_from_state")  # no transition: the state goes on
        faults["starting in another state than the last one led to"] = same & meets & (pl.col("from_state") != led_to)
    found = spells.with_columns(previous).select(rule.sum().alias(name) for name, rule in faults.items()).collect()
    wrong = [f"{n} {name}" for name, n in found.row(0, named=True).items() if n]
    if wrong:
        raise InputRefusedError("spells refused: " + "; ".join(wrong) + "; repair or exclude them first")
