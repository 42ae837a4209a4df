"""What a study does with one bucket: candidates, requirements, follow-up, outcome, covariates.

Everything here is a pure function of one bucket's tables, so that it can run anywhere. The bucket's answer is its
rows of the analysis table and its attrition; both are merged by `cohort.study`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from cohort.population.follow_up import FollowUp

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

    def keep(self, reason: str, kept: pl.LazyFrame | pl.DataFrame) -> None:
        """Go on with ``kept``, a subset of the entries (sorted, if it is a DataFrame), and record what went."""
        before, after = self.entries, kept if isinstance(kept, pl.DataFrame) else kept.sort(KEY).collect()
        persons = after["person_id"].n_unique()
        gone = before["person_id"].n_unique() - persons
        self.steps.append(Step(reason, persons, gone, after.height, before.height - after.height))
        self.entries = after

    @property
    def lazy(self) -> pl.LazyFrame:
        return self.entries.lazy()


@dataclass(slots=True)
class Qualified:
    """The entries that pass every requirement, the rows of their persons, and what is known of each such entry.

    An end of follow-up or a covariate of an entry does not depend on which other entries there are, so it is computed
    once for all studies that share the requirements.
    """

    flow: _Flow
    tables: Tables
    known: dict[int, pl.DataFrame] = field(default_factory=dict)

    def ends(self, end: FollowUp, data_end: dt.date) -> pl.LazyFrame:
        """Return the end of follow-up of every entry."""
        if id(end) not in self.known:
            self.known[id(end)] = end.ends(self.tables, self.flow.lazy, data_end).collect()
        return self.known[id(end)].lazy()

    def column(self, covariate: Covariate) -> pl.LazyFrame:
        """Return the key and the covariate of every entry, and why it is null where it is."""
        if id(covariate) not in self.known:
            self.known[id(covariate)] = covariate.column(self.tables, self.flow.lazy).collect()
        return self.known[id(covariate)].lazy()


@dataclass(slots=True)
class BucketRows:
    """One bucket's needed rows, and what studies on them have in common.

    Parts of a study are told apart by identity: variants of a study share what does not vary (`cohort.variants`).
    """

    tables: Tables
    days: dict[int, pl.DataFrame] = field(default_factory=dict)
    qualified: dict[tuple[int, ...], Qualified] = field(default_factory=dict)

    def qualify(self, cohort: Cohort) -> Qualified:
        """Return the flow after entry and every rule, and the rows of the persons still in."""
        key = (id(cohort.entry), *map(id, cohort.rules))
        if key not in self.qualified:
            flow = self._candidates(cohort)
            for rule in cohort.rules:
                flow.keep(rule.reason, rule.keep(self.tables, flow.lazy))
            self.qualified[key] = Qualified(flow, _rows_of(self.tables, flow.lazy))
        return self.qualified[key]

    def _candidates(self, cohort: Cohort) -> _Flow:
        """Return the flow after entry: everybody, those with a record, those with a clean washout."""
        if cohort.entry is None:
            raise StudyError(f"cohort {cohort.name!r}: nobody can enter; say how with enter_at_first(…)")
        record = id(cohort.entry.record)
        if record not in self.days:
            self.days[record] = cohort.entry.record_days(self.tables).collect()
        days = self.days[record]
        everybody = self.tables["person"].select(pl.len()).collect().item()
        persons = days["person_id"].n_unique()
        steps = [
            Step("Persons in the store", everybody, 0, None, None),
            Step(f"With a {cohort.entry.record}", persons, everybody - persons, days.height, None),
        ]
        flow = _Flow(days, steps)
        flow.keep(cohort.entry.candidate_text(), cohort.entry.candidates(flow.lazy))
        return flow


def codes_needed(cohort: Cohort, outcome: Outcome, covariates: Iterable[Covariate]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that the study asks for; none = every row."""
    return codes_of((cohort.entry, *cohort.rules, cohort.end, outcome, *covariates))


def codes_of(parts: Iterable[Any]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that some parts of studies ask for; none = every row."""
    parts = [part for part in parts if part is not None]
    records = {(record.table, id(record.codes.codelist)): record for part in parts for record in part.records}
    return needed_codes(records.values(), (table for part in parts for table in getattr(part, "whole", ())))


def run_bucket(
    tables: Tables,
    cohort: Cohort,
    outcome: Outcome,
    covariates: Iterable[Covariate],
    codes: Mapping[str, Codelist | None],
    data_end: dt.date,
) -> BucketPart:
    """Return one bucket's part of the analysis table and of the attrition; ``codes`` is what `codes_needed` gives."""
    return run_rows(BucketRows(needed_rows(tables, codes)), cohort, outcome, covariates, data_end)


def run_rows(
    rows: BucketRows, cohort: Cohort, outcome: Outcome, covariates: Iterable[Covariate], data_end: dt.date
) -> BucketPart:
    """Return one study's part of a bucket whose needed rows are read."""
    shared = rows.qualify(cohort)
    flow = _Flow(shared.flow.entries, list(shared.flow.steps))
    prevalent = outcome.prevalent(shared.tables, flow.lazy)
    if prevalent is not None:
        free = flow.lazy.join(prevalent, on=KEY, how="anti")
        flow.keep(outcome.prevalent_text, free)
    flow.keep("First such entry of each person", first_per_person(flow.lazy))
    ends = shared.ends(cohort.end, data_end).join(flow.lazy, on=KEY, how="semi")
    flow.entries = _followed(shared.tables, ends, outcome).collect()
    _drop_lost_before_risk(flow, outcome)
    return BucketPart(_with_covariates(shared, covariates, flow.lazy), Attrition(tuple(flow.steps)))


def _rows_of(tables: Tables, entries: pl.LazyFrame) -> Tables:
    """Return the rows of the persons who are still in: nothing more is asked of the others."""
    persons = entries.select("person_id").unique()
    rows = [table.join(persons, on="person_id", how="semi") for table in tables.values()]
    return {name: frame.lazy() for name, frame in zip(tables, pl.collect_all(rows), strict=True)}


def _followed(tables: Tables, ends: pl.LazyFrame, outcome: Outcome) -> pl.LazyFrame:
    """Add ``entry``, ``time`` (Int64 days after index), ``cause`` and ``exit_reason`` to each entry.

    The earliest of outcome, death and censoring decides; on one day the outcome precedes death, and death precedes
    censoring. An entry whose outcome can no longer be judged is censored (`cohort.outcomes.dating`). Outcomes that are
    seen at visits add ``lower`` and ``upper``.
    """
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
        flow.keep(reason, flow.entries.filter(~(over & lost)))


def _with_covariates(shared: Qualified, covariates: Iterable[Covariate], entries: pl.LazyFrame) -> pl.DataFrame:
    """Add each covariate, and why it is null where it is."""
    table = entries
    for covariate in covariates:
        table = table.join(shared.column(covariate), on=KEY, how="left", validate="1:1")
    return table.sort(KEY).collect()
