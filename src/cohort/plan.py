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
from cohort.population.entry import ARM, Entry, apart, first_per_person
from cohort.population.follow_up import RiskStart

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
    known: dict[tuple[int, ...], pl.DataFrame] = field(default_factory=dict)

    def ends(self, cohort: Cohort, data_end: dt.date) -> pl.LazyFrame:
        """Return the start of risk and the end of follow-up of every entry."""
        start, end = cohort.start, cohort.end
        if (id(start), id(end)) not in self.known:
            ends = end.ends(self.tables, self.flow.lazy, data_end, start)
            starts = start.days(self.tables, self.flow.lazy, end.bridge_days)
            self.known[id(start), id(end)] = ends.join(starts, on=KEY, how="left").collect()
        return self.known[id(start), id(end)].lazy()

    def column(self, covariate: Covariate) -> pl.LazyFrame:
        """Return the key and the covariate of every entry, and why it is null where it is."""
        if (id(covariate),) not in self.known:
            self.known[(id(covariate),)] = covariate.column(self.tables, self.flow.lazy).collect()
        return self.known[(id(covariate),)].lazy()


@dataclass(slots=True)
class BucketRows:
    """One bucket's needed rows, and what studies on them have in common.

    Parts of a study are told apart by identity: variants of a study share what does not vary (`cohort.variants`).
    """

    tables: Tables
    days: dict[tuple[int, ...], pl.DataFrame] = field(default_factory=dict)
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
        entry = _entry_of(cohort)
        days = self._record_days(entry)
        everybody = self.tables["person"].select(pl.len()).collect().item()
        persons = days["person_id"].n_unique()
        steps = [
            Step("Persons in the store", everybody, 0, None, None),
            Step(f"With {entry.record_text()}", persons, everybody - persons, days.height, None),
        ]
        flow = _Flow(days, steps)
        flow.keep(entry.candidate_text(), entry.candidates(flow.lazy))
        if entry.arms:
            flow.keep("By one arm only", flow.lazy.filter(pl.col(ARM).is_not_null()))
        return flow

    def _record_days(self, entry: Entry) -> pl.DataFrame:
        asked = (*map(id, entry.occurrences), *map(id, entry.arms))
        if asked not in self.days:
            self.days[asked] = entry.record_days(self.tables).collect()
        return self.days[asked]


def _entry_of(cohort: Cohort) -> Entry:
    if cohort.entry is None:
        raise StudyError(f"cohort {cohort.name!r}: nobody can enter; say how with enter_at_first(…)")
    return cohort.entry


def codes_needed(cohort: Cohort, outcome: Outcome, covariates: Iterable[Covariate]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that the study asks for; none = every row."""
    return codes_of((*cohort.parts, outcome, *covariates))


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
    entry = _entry_of(cohort)
    if not entry.repeats:
        flow.keep("First such entry of each person", first_per_person(flow.lazy))
    ends = shared.ends(cohort, data_end).join(flow.lazy, on=KEY, how="semi")
    flow.entries = _followed(shared.tables, ends, outcome).collect()
    if entry.repeats and entry.overlap == "skip":
        flow.keep("Not in the follow-up of an earlier entry", apart(flow.entries))
    _drop_lost_before_risk(flow, outcome, cohort.start)
    return BucketPart(_with_covariates(shared, covariates, flow.lazy), Attrition(tuple(flow.steps)))


def _rows_of(tables: Tables, entries: pl.LazyFrame) -> Tables:
    """Return the rows of the persons who are still in: nothing more is asked of the others."""
    persons = entries.select("person_id").unique()
    rows = [table.join(persons, on="person_id", how="semi") for table in tables.values()]
    return {name: frame.lazy() for name, frame in zip(tables, pl.collect_all(rows), strict=True)}


def _followed(tables: Tables, ends: pl.LazyFrame, outcome: Outcome) -> pl.LazyFrame:
    """Add ``entry`` (null = never at risk), ``time`` (Int64 days after index), ``cause`` and ``exit_reason``.

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
        entry=pl.when(pl.col("start_day").is_not_null()).then(pl.max_horizontal("start_day", pl.lit(outcome.landmark))),
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


def _drop_lost_before_risk(flow: _Flow, outcome: Outcome, start: RiskStart) -> None:
    """Remove, cause by cause, the entries whose follow-up is over before risk starts.

    Without a landmark or delayed entry a follow-up of 0 days stays: it counts in n and has no person-time.
    """
    landmark, late = outcome.landmark, outcome.landmark > 0 or start.delayed
    if start.delayed:
        flow.keep(f"At risk {start.text}", flow.entries.filter(pl.col("entry").is_not_null()))
    over = pl.col("time") <= pl.col("entry") if late else pl.col("time") < 0
    by = "before risk starts" if start.delayed else f"by day {landmark}" if late else "before the index date"
    still = (
        "Followed beyond the start of risk" if start.delayed else f"Followed beyond day {landmark}, when risk starts"
    )
    kept = {f"Without the outcome {by}": pl.col("cause") == OUTCOME, f"Not dead {by}": pl.col("exit_reason") == "death"}
    if late and outcome.judged_later:
        kept[f"Outcome can be judged {by}"] = pl.col("exit_reason") == UNJUDGED
    kept[still if late else "Followed on the index date"] = pl.lit(True)
    for reason, lost in kept.items():
        flow.keep(reason, flow.entries.filter(~(over & lost)))


def _with_covariates(shared: Qualified, covariates: Iterable[Covariate], entries: pl.LazyFrame) -> pl.DataFrame:
    """Add the arm, where there are several, each covariate, and why it is null where it is."""
    table, arms = entries, shared.flow.lazy
    if ARM in shared.flow.entries.columns:
        table = table.join(arms.select(*KEY, ARM), on=KEY, how="left", validate="1:1")
    for covariate in covariates:
        table = table.join(shared.column(covariate), on=KEY, how="left", validate="1:1")
    return table.sort(KEY).collect()
