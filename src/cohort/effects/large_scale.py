"""Thousands of code indicators as one sparse matrix, for propensity scores that no list of confounders was chosen for.

Everything recorded in a window before the index date is a candidate; the lasso chooses. Records arrive as lazy frames,
one or one per bucket, of which only counts by person and code are kept.

References
----------
Tian Y, Schuemie MJ, Suchard MA (2018), Int J Epidemiol 47:2005–2014, doi:10.1093/ije/dyy120. Schneeweiss S et al.
(2009), Epidemiology 20:512–522, doi:10.1097/EDE.0b013e3181a663cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from cohort.effects.balance_table import count_balance
from cohort.effects.propensity import Model, Propensity, require_answerable, scores_from_matrix, treatment_of
from cohort.effects.weights import BalancingWeights
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, require_kinds
from cohort.survival.design import design_matrix
from cohort.time import Window

YEAR = {"year": Window(-365, -1)}
"""The default window: the year before the index date, which is left out itself."""


@dataclass(frozen=True, slots=True, eq=False)
class CodeIndicators:
    """Who has which code: a scipy sparse ``matrix`` of 0 and 1, (n, p), in the order of the persons' frame.

    ``columns`` (p,) are named ``window:system:code`` and sorted; ``dropped`` counts those left out by ``rare`` and
    ``common``.
    """

    matrix: Any
    columns: tuple[str, ...]
    dropped: dict[str, int]


def code_indicators(
    persons: Any,
    records: Any,
    *,
    person: str = "person_id",
    index: str = "index_date",
    date: str = "date",
    code: str = "code",
    system: str | None = "system",
    windows: Mapping[str, Window] = YEAR,
    minimum_days: int = 1,
    characters: int | None = None,
    least: float = 0.001,
    most: float = 0.999,
) -> CodeIndicators:
    """Return which persons have each code in each window.

    Parameters
    ----------
    persons
        One row per person, with the index date (Date); rows of the matrix are in its order.
    records
        A frame with person, date (Date), code and system, or several: one per bucket, or table. Each person's records
        of one code system must be in one of them. Other persons' records are passed over.
    minimum_days
        Distinct days with the code that a person needs.
    characters
        Cut codes to their first characters: 3 for the categories of ICD-10.
    least, most
        Shares of persons between which a column is kept; a code of 0 persons, or of all, tells nothing.

    Raises
    ------
    StudyError, InputRefusedError
        For options out of range, absent columns, and persons or index dates that are missing or doubled, by count.
    """
    if minimum_days < 1 or not 0 <= least < most <= 1 or (characters is not None and characters < 1) or not windows:
        raise StudyError("minimum_days and characters are at least 1, 0 ≤ least < most ≤ 1, and there is a window")
    people = _people(persons, person, index)
    parts = [records] if _is_frame(records) else list(records)
    counted = [
        _count(as_lazy(part), people, (person, date, code, system), windows, minimum_days, characters) for part in parts
    ]
    found = pl.concat(counted) if counted else pl.DataFrame(schema={"place": pl.UInt32, "column": pl.String})
    # a code of two tables (diagnosis lines and claims) is one column
    return _matrix(found.unique().sort("column", "place"), people.height, least, most)


def _is_frame(records: Any) -> bool:
    return isinstance(records, pl.LazyFrame | pl.DataFrame) or not isinstance(records, Iterable)


def _people(persons: Any, person: str, index: str) -> pl.DataFrame:
    lazy = as_lazy(persons)
    require_kinds(lazy, {"person": (person, "any"), "index": (index, "date")})
    people = lazy.select(person=pl.col(person), index=pl.col(index)).with_row_index("place").collect()
    faults = {
        "missing": people.filter(pl.any_horizontal(pl.col("person", "index").is_null())).height,
        "doubled": people.height - people["person"].n_unique(),
    }
    if wrong := [f"{what} in {n} rows" for what, n in faults.items() if n]:
        raise InputRefusedError(f"columns {person!r}, {index!r}: {', '.join(wrong)}; one row per person with its date")
    return people


def _count(
    records: pl.LazyFrame,
    people: pl.DataFrame,
    names: tuple[str, str, str, str | None],
    windows: Mapping[str, Window],
    days: int,
    characters: int | None,
) -> pl.DataFrame:
    """Return the persons' places and columns where a code has enough days in a window."""
    person, date, code, system = names
    kinds = {"person": (person, "any"), "date": (date, "date"), "code": (code, "text")}
    require_kinds(records, kinds | ({"system": (system, "text")} if system else {}))
    written = pl.col(code) if characters is None else pl.col(code).str.slice(0, characters)
    spoken = pl.format("{}:{}", pl.col(system), written) if system else written
    rows = records.select(person=pl.col(person), date=pl.col(date), code=spoken).drop_nulls()
    near = rows.join(people.lazy(), on="person", how="inner").with_columns(
        day=(pl.col("date") - pl.col("index")).dt.total_days()
    )
    each = [
        near.filter(window.contains(pl.col("day")))
        .group_by("place", "code")
        .agg(pl.col("day").n_unique().alias("days"))
        .filter(pl.col("days") >= days)
        .select("place", column=pl.format("{}:{}", pl.lit(name), pl.col("code")))
        for name, window in windows.items()
    ]
    return pl.concat(each).collect()


def _matrix(found: pl.DataFrame, persons: int, least: float, most: float) -> CodeIndicators:
    carried = found.group_by("column").len("persons").with_columns(share=pl.col("persons") / max(persons, 1))
    kept = carried.filter(pl.col("share").is_between(least, most)).sort("column")
    dropped = {
        "rare": carried.filter(pl.col("share") < least).height,
        "common": carried.filter(pl.col("share") > most).height,
    }
    placed = found.join(kept.select("column").with_row_index("j"), on="column", how="inner").sort("place", "j")
    entries = np.ones(placed.height), (placed["place"].to_numpy(), placed["j"].to_numpy())
    matrix = sparse.csr_matrix(entries, shape=(persons, kept.height), dtype=np.float64)
    return CodeIndicators(matrix, tuple(kept["column"].to_list()), dropped)


def balance_of_codes(indicators: CodeIndicators, weights: BalancingWeights) -> pl.DataFrame:
    """Return the balance of every code, one row each, before and after weighting; see `BalanceSums.finish`.

    Raises
    ------
    StudyError
        If the scores are of other persons than the indicators.
    """
    kept = weights.propensity.kept
    if len(kept) != indicators.matrix.shape[0]:
        raise StudyError(f"the scores are of {len(kept)} persons, the indicators of {indicators.matrix.shape[0]}")
    return count_balance(indicators.matrix[kept], indicators.columns, weights).finish()


def large_scale_scores(
    persons: Any,
    treatment: str,
    indicators: CodeIndicators,
    *,
    terms: str = "",
    model: Model = "lasso",
    folds: int = 1,
    seed: int = 0,
) -> Propensity:
    """Estimate propensity scores from code indicators, and terms of the persons' frame such as ``"age + sex"``.

    The penalty holds for the terms as for the codes. Balance of the terms is that of `balance`, of every code, chosen
    or not, that of `balance_of_codes`.

    Raises
    ------
    InputRefusedError, NotEstimableError
        As `propensity_scores`; ``no_covariates`` where no code is left and no term is named.
    """
    design = design_matrix(persons, terms or ())
    treated = treatment_of(persons, treatment)
    if len(treated) != indicators.matrix.shape[0]:
        raise StudyError(f"the frame has {len(treated)} rows, the indicators are of {indicators.matrix.shape[0]}")
    columns: Sequence[str] = (*design.names, *indicators.columns)
    if not columns:
        raise NotEstimableError("no_covariates: no code is carried by enough persons, and no term is named")
    require_answerable(model, treated, folds)
    # columns far from 0 are nearly the intercept, which slows coordinate descent down
    centred = design.matrix - design.matrix.mean(axis=0)
    matrix = sparse.hstack([sparse.csr_matrix(centred), indicators.matrix], format="csr")
    return scores_from_matrix(matrix, treated, tuple(columns), model=model, folds=folds, seed=seed)
