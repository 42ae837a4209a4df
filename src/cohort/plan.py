"""What a study does with one bucket: candidates, requirements, follow-up, outcome, covariates.

Everything here is a pure function of one bucket's tables, so that it can run anywhere. The bucket's answer is its
rows of the analysis table and its attrition; both are merged by `cohort.study`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.records import KEY, Tables, needed_codes, needed_rows
from cohort.errors import StudyError
from cohort.features.covariates import Covariate
from cohort.outcomes.dating import UNJUDGED, bounded, dated
from cohort.outcomes.outcome import Outcome
from cohort.population.attrition import Attrition, Step
from cohort.population.cohort import Cohort
from cohort.population.entry import first_per_person

OUTCOME, COMPETING, CENSORED = 1, 2, 0
"""Codes of the analysis table's ``cause``; death that does not compete is a censoring."""


@dataclass(frozen=True, slots=True)
class BucketPart:
    """One bucket's rows of the analysis table, and what each step kept and removed there."""

    rows: pl.DataFrame
    attrition: Attrition


@dataclass(slots=True)
class _Flow:
    """The entries still in, and the steps so far."""

    entries: pl.DataFrame
    steps: list[Step] = field(default_factory=list)

    def keep(self, reason: str, kept: pl.LazyFrame) -> None:
        """Go on with ``kept``, a subset of the entries, and record what went."""
        before, after = self.entries, kept.sort(KEY).collect()
        persons = after["person_id"].n_unique()
        gone = before["person_id"].n_unique() - persons
        self.steps.append(Step(reason, persons, gone, after.height, before.height - after.height))
        self.entries = after

    @property
    def lazy(self) -> pl.LazyFrame:
        return self.entries.lazy()


def codes_needed(cohort: Cohort, outcome: Outcome, covariates: Iterable[Covariate]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that the study asks for; none = every row."""
    covariates = tuple(covariates)
    parts = (cohort.entry, *cohort.rules, cohort.end, outcome, *covariates)
    records = (record for part in parts if part is not None for record in part.records)
    return needed_codes(records, (table for covariate in covariates for table in covariate.whole))


def run_bucket(
    tables: Tables,
    cohort: Cohort,
    outcome: Outcome,
    covariates: Iterable[Covariate],
    codes: Mapping[str, Codelist | None],
    data_end: dt.date,
) -> BucketPart:
    """Return one bucket's part of the analysis table and of the attrition; ``codes`` is what `codes_needed` gives."""
    tables = needed_rows(tables, codes)
    flow = _candidates(tables, cohort)
    for rule in cohort.rules:
        flow.keep(rule.reason, rule.keep(tables, flow.lazy))
    prevalent = outcome.prevalent(tables, flow.lazy)
    if prevalent is not None:
        free = flow.lazy.join(prevalent, on=KEY, how="anti")
        flow.keep(outcome.prevalent_text, free)
    flow.keep("First such entry of each person", first_per_person(flow.lazy))
    followed = _followed(tables, cohort, outcome, flow.lazy, data_end)
    flow.entries = followed.collect()
    _drop_lost_before_risk(flow, outcome)
    return BucketPart(_with_covariates(tables, covariates, flow.lazy), Attrition(tuple(flow.steps)))


def _candidates(tables: Tables, cohort: Cohort) -> _Flow:
    """Return the flow after entry: everybody, those with a record, those with a clean washout."""
    if cohort.entry is None:
        raise StudyError(f"cohort {cohort.name!r}: nobody can enter; say how with enter_at_first(…)")
    everybody = tables["person"].select(pl.len()).collect().item()
    days = cohort.entry.record_days(tables).collect()
    persons = days["person_id"].n_unique()
    steps = [
        Step("Persons in the store", everybody, 0, None, None),
        Step(f"With a {cohort.entry.record}", persons, everybody - persons, days.height, None),
    ]
    flow = _Flow(days, steps)
    flow.keep(cohort.entry.candidate_text(), cohort.entry.candidates(flow.lazy))
    return flow


def _followed(
    tables: Tables, cohort: Cohort, outcome: Outcome, entries: pl.LazyFrame, data_end: dt.date
) -> pl.LazyFrame:
    """Add ``entry``, ``time`` (Int64 days after index), ``cause`` and ``exit_reason`` to each entry.

    The earliest of outcome, death and censoring decides; on one day the outcome precedes death, and death precedes
    censoring. An entry whose outcome can no longer be judged is censored (`cohort.outcomes.dating`). Outcomes that are
    seen at visits add ``lower`` and ``upper``.
    """
    ends = cohort.end.ends(tables, entries, data_end)
    ends = ends.with_columns(stop=pl.min_horizontal("censor_day", "death_day")).collect().lazy()
    met = dated(outcome.days(tables, ends), ends)
    followed = _exits(ends.join(met, on=KEY, how="left"), outcome)
    free = outcome.seen_free(tables, ends)
    return (followed if free is None else bounded(followed, free)).sort(KEY)


def _exits(ends: pl.LazyFrame, outcome: Outcome) -> pl.LazyFrame:
    """Return the key and the exit of each entry from the days of outcome, death and censoring."""
    stop = pl.min_horizontal("event_day", "death_day", "censor_day", "unjudged_day")
    happened, died = pl.col("event_day") == stop, pl.col("death_day") == stop
    dead = COMPETING if "death" in outcome.competing else CENSORED
    return ends.select(
        *KEY,
        entry=pl.lit(outcome.landmark, dtype=pl.Int64),
        time=stop,
        cause=pl.when(happened).then(OUTCOME).when(died).then(dead).otherwise(CENSORED).cast(pl.Int8),
        exit_reason=pl.when(happened)
        .then(pl.col("event_reason").fill_null(outcome.name))
        .when(died)
        .then(pl.lit("death"))
        .when(pl.col("unjudged_day") < pl.col("censor_day"))
        .then(pl.lit(UNJUDGED))
        .otherwise("censor_reason"),
    )


def _drop_lost_before_risk(flow: _Flow, outcome: Outcome) -> None:
    """Remove, cause by cause, the entries whose follow-up is over before risk starts.

    Without a landmark a follow-up of 0 days stays: it counts in n and has no person-time.
    """
    time, landmark = pl.col("time"), outcome.landmark
    over = time <= landmark if landmark > 0 else time < 0
    by = f"by day {landmark}" if landmark > 0 else "before the index date"
    still = f"Followed beyond day {landmark}, when risk starts" if landmark > 0 else "Followed on the index date"
    kept = {f"Without the outcome {by}": pl.col("cause") == OUTCOME, f"Not dead {by}": pl.col("exit_reason") == "death"}
    if landmark > 0 and outcome.judged_later:
        kept[f"Outcome can be judged {by}"] = pl.col("exit_reason") == UNJUDGED
    kept[still] = pl.lit(True)
    for reason, lost in kept.items():
        flow.keep(reason, flow.lazy.filter(~(over & lost)))


def _with_covariates(tables: Tables, covariates: Iterable[Covariate], entries: pl.LazyFrame) -> pl.DataFrame:
    """Add each covariate, and why it is null where it is."""
    table = entries
    for covariate in covariates:
        table = table.join(covariate.column(tables, entries), on=KEY, how="left", validate="1:1")
    return table.sort(KEY).collect()
