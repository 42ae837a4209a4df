"""Reading a curve: its value and the number at risk on a given day, and the day it reaches a given value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cohort.survival.counts import DayCounts
from cohort.survival.risk import number_at_risk

READ = ["estimate", "std_error", "lower", "upper"]


def read_off(table: pl.DataFrame, counts: DayCounts, at_start: float, times: Sequence[float]) -> pl.DataFrame:
    """Return each curve of ``table`` at ``times``, right-continuous; ``at_start`` before the first exit."""
    asked = np.asarray(times)
    at_risk = number_at_risk(counts, asked)
    curve = ["group"] + (["cause"] if "cause" in table.columns else [])
    read = []
    for key, rows in table.partition_by(curve, as_dict=True, maintain_order=True).items():
        place = np.searchsorted(rows["time"].to_numpy(), asked, side="right")
        start = pl.DataFrame({"estimate": [at_start], "std_error": [0.0], "lower": [at_start], "upper": [at_start]})
        values = pl.concat([start, rows.select(READ)])[place]
        known = [pl.lit(value).alias(name) for name, value in zip(curve, key, strict=True)]
        read.append(values.select(*known, pl.Series("time", asked), pl.Series("n_risk", at_risk[key[0]]), *READ))
    return pl.concat(read) if read else table.select(*curve, "time", "n_risk", *READ)
