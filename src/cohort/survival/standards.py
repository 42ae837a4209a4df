"""Standard populations: how many persons of each age a rate is made comparable to.

References
----------
Eurostat (2013), Revision of the European Standard Population, doi:10.2785/11470.
Ahmad OB et al. (2001), Age standardization of rates: a new WHO standard, GPE discussion paper 31, WHO.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal, get_args

import polars as pl

from cohort.errors import StudyError

StandardName = Literal["european_2013", "who_2000_2025"]


def standard_population(name: str) -> pl.DataFrame:
    """Return a shipped standard population: ``from_age`` (Int64, lower bound in years), ``standard`` (Float64).

    Both have five-year groups, the last from 85 years on.

    Raises
    ------
    StudyError
        If there is none of that name.
    """
    if name not in get_args(StandardName):
        raise StudyError(f"standard = {name!r}; one of {', '.join(get_args(StandardName))}")
    return _shipped().filter(pl.col("standard") == name).select("from_age", standard=pl.col("weight").cast(pl.Float64))


@cache
def _shipped() -> pl.DataFrame:
    return pl.read_csv((resources.files(__package__) / "data" / "standard_populations.csv").read_bytes())


def age_band(age: pl.Expr, from_ages: list[int]) -> pl.Expr:
    """Return the lower bound of the group that an age belongs to; null for an unknown age and below the first."""
    bands = pl.lit(None, pl.Int64)
    for lowest in sorted(from_ages):
        bands = pl.when(age >= lowest).then(lowest).otherwise(bands)
    return bands
