"""From persons to the rows of a marginal structural model: the ratio or its seal, plain models, balance and gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.effects.gates import Bounds, judge_structural
from cohort.effects.propensity import one_thread
from cohort.effects.structural import StructuralModel, marginal_structural_cox
from cohort.effects.structural_checks import check_structural
from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.nested_rows import exposure_of, known_persons
from cohort.results.periods import NOW, periods
from cohort.results.structural import EXPOSED, UNEXPOSED
from cohort.results.terms import renamed
from cohort.results.treatment_rows import balance_rows, gate_rows, seal, without_sealed_numbers
from cohort.results.trial_question import HAZARD_RATIO
from cohort.results.weighted_rows import persons_and_events
from cohort.survival import fit_cox

if TYPE_CHECKING:
    from cohort.results.structural import StructuralCox

AT_INDEX, ADJUSTED = "given covariates at index alone", "given what changes, as covariates"
"""Plain models of the same periods, named in ``category``: confounded, and adjusted for what the exposure changes."""
_DIFFERENCE = "periods in which the exposure starts minus those in which it does not, in unweighted standard deviations"


def structural_rows(asked: StructuralCox, table: AnalysisTable) -> pl.DataFrame:
    """Return the rows of a marginal structural Cox model.

    Raises
    ------
    NotEstimableError
        What person-time, weights and the model raise; ``nobody_at_risk``.
    """
    persons = known_persons(asked, table)
    beyond = pl.col("time") > asked.horizon_days
    persons = persons.with_columns(
        pl.when(beyond).then(asked.horizon_days).otherwise("time").alias("time"),
        pl.when(beyond).then(0).otherwise("cause").alias("cause"),
    )
    if asked.natural_censoring is not None:
        persons = persons.with_columns(_left=asked.natural_censoring.left & ~beyond)
    with one_thread():  # that, and an order of rows that only persons decide, keep every digit the same
        return _rows(asked, persons, table)


def _rows(asked: StructuralCox, persons: pl.DataFrame, table: AnalysisTable) -> pl.DataFrame:
    changing = [covariate for covariate in table.time_varying if covariate.name in asked.uses]
    rows = periods(persons, asked.period_days, exposure_of(asked.exposure, table), changing)
    leaving: dict[str, Any] = {}
    if asked.natural_censoring is not None:
        now = {covariate.name: f"{covariate.name}{NOW}" for covariate in changing}
        leaving = {"censored": "_left", "leaving": renamed(asked.natural_censoring.terms, now)}
    options: dict[str, Any] = {"exposure": asked.exposure, "first": "given"}
    found = marginal_structural_cox(
        rows,
        baseline=asked.terms,
        varying=asked.varying,
        truncate=asked.truncate,
        level=asked.level,
        **leaving,
        **options,
    )
    checks = check_structural(rows, found, terms=f"{asked.terms} + {asked.varying}", **options)
    gates = judge_structural(checks, Bounds(**asked.gates.model_dump()))
    status = seal(gates, unsealed=asked.unsealed is not None)
    told = pl.DataFrame([_answer(found), *_plain(asked, rows)], schema=_SCHEMA)
    parts = [
        without_sealed_numbers(told.with_columns(status=pl.lit(status))),
        balance_rows(checks.balance, EXPOSED, _DIFFERENCE),
        gate_rows(gates, EXPOSED),
        _sizes(found),
    ]
    counts = persons_and_events(_ended(asked.exposure, rows))
    return pl.concat(parts, how="diagonal").join(counts, on="group", how="left", maintain_order="left")


_TEXTS = ("estimand", "group", "category", "method")
_SCHEMA = dict.fromkeys(_TEXTS, pl.String) | dict.fromkeys(("value", "std_error", "lower", "upper"), pl.Float64)


def _answer(found: StructuralModel) -> dict[str, Any]:
    """Return the hazard ratio of the exposure, the first column of the model."""
    ratio, spread, lower, upper = found.table.select("hazard_ratio", "std_error", "lower", "upper").row(0)
    numbers = {"value": ratio, "std_error": spread, "lower": lower, "upper": upper}
    mean = found.weights.select((pl.col("mean") * pl.col("rows")).sum() / pl.col("rows").sum()).item()
    method = f"{found.method}, of mean {mean:.2f}; standard error of its logarithm robust by person"
    return {"estimand": HAZARD_RATIO, "group": EXPOSED, "category": None, "method": method} | numbers


def _plain(asked: StructuralCox, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the hazard ratio of the exposure in Cox models without weights."""
    marked = rows.with_columns(event=pl.col("cause") == 1)
    for name, further in ((AT_INDEX, ""), (ADJUSTED, f" + {asked.varying}")):
        terms = f"{asked.exposure} + {asked.terms}{further}"
        try:
            fit = fit_cox(marked, "stop", "event", "start", terms=terms, level=asked.level, cluster="person_id")
        except NotEstimableError:
            continue
        at = fit.terms.index(asked.exposure)
        numbers = {"value": fit.hazard_ratio, "std_error": fit.std_error, "lower": fit.lower, "upper": fit.upper}
        row = {"estimand": HAZARD_RATIO, "group": EXPOSED, "category": name, "method": f"Cox model on {terms}"}
        yield row | {key: float(values[at]) for key, values in numbers.items()}


def _ended(exposure: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return each person once, by whether follow-up ended exposed."""
    last = rows.group_by("person_id", maintain_order=True).last()
    side = pl.when(exposure).then(pl.lit(EXPOSED)).otherwise(pl.lit(UNEXPOSED))
    return last.with_columns(side.alias("group"))


def _sizes(found: StructuralModel) -> pl.DataFrame:
    method = "periods that would tell as much without weights (Kish); persons are those whose follow-up ended so"
    return found.weights.select("group", value="effective", estimand=pl.lit("effective_size"), method=pl.lit(method))
