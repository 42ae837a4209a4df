"""What a study does with one bucket: candidates, requirements, follow-up, outcome, covariates.

Everything here is a pure function of one bucket's tables, so that it can run anywhere. The bucket's answer is its
rows of the analysis table and its attrition; both are merged by `cohort.study`.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from cohort.codes.bucket_tables import BucketTables
from cohort.codes.codelist import Codelist
from cohort.codes.records import KEY, Tables, needed_codes, needed_rows
from cohort.errors import StudyError
from cohort.features.covariates import Covariate
from cohort.features.exposure import Exposure
from cohort.features.time_varying import TimeVarying
from cohort.outcomes.base import Event
from cohort.outcomes.course import Course
from cohort.outcomes.dating import UNJUDGED, bounded, dated
from cohort.outcomes.recurrent import EndOfFollowUp
from cohort.population.attrition import Attrition, Step
from cohort.population.cohort import Cohort
from cohort.population.criteria import Rule
from cohort.population.entry import ARM, Entry, apart
from cohort.population.follow_up import RiskStart
from cohort.population.matching import Matching
from cohort.possible import ROW, SMALL, Flags, Possible, Rows
from cohort.results.analysis_table import FOLLOW_UP, control_column

OUTCOME, COMPETING, CENSORED = 1, 2, 0
"""Codes of the analysis table's ``cause``; death that does not compete is a censoring."""

LOST = "_lost"
"""Which of the steps before risk starts loses an entry, counted from 1; 0 = none."""


@dataclass(frozen=True, slots=True)
class BucketPart:
    """One bucket's rows of the analysis table, and what each step kept and removed there."""

    rows: pl.DataFrame
    attrition: Attrition


@dataclass(slots=True)
class _Flow:
    """The entries still in, and the steps so far."""

    possible: Possible
    rows: Rows
    steps: list[Step] = field(default_factory=list)
    trail: list[Rows] = field(default_factory=list)  # what each step kept, if it is traced
    traced: bool = False

    def keep(self, reason: str, kept: Flags) -> None:
        """Go on with the entries that are kept, one flag for each still in, and record what went."""
        before, size = self.steps[-1].persons_kept, self.rows.size
        if not kept.all():
            self.rows = self.rows[kept]
        persons = before if self.rows.size == size else self.possible.count_persons(self.rows)
        self.steps.append(Step(reason, persons, before - persons, self.rows.size, size - self.rows.size))
        if self.traced:
            self.trail.append(self.rows)

    def copy(self) -> _Flow:
        """Return a flow that goes on from here by itself."""
        return replace(self, steps=list(self.steps), trail=list(self.trail))


@dataclass(frozen=True, slots=True)
class Selection:
    """One study's choice among a bucket's possible entries: what `BucketPart` is made from, at a fraction of its size.

    Many studies on one bucket share what is known of its entries, so their rows are put together one study at a time.
    """

    possible: Possible
    rows: Rows
    exits: tuple[int, ...]
    covariates: tuple[int | tuple[int, ...], ...]
    attrition: Attrition
    trail: tuple[Rows, ...] = ()
    """What each step from the candidates on kept, of a bucket that is traced."""
    controls: tuple[pl.DataFrame, ...] = ()
    """The follow-up of each entry until each of the study's negative-control outcomes."""

    def part(self) -> BucketPart:
        """Return the rows of the analysis table and the attrition."""
        rows = self.possible.answers(self.exits, self.rows).drop(LOST)
        if ARM in self.possible.days.columns:
            rows = rows.with_columns(self.possible.days[ARM][self.rows])
        known = [self.possible.answers(key, self.rows).drop(KEY) for key in self.covariates]
        return BucketPart(pl.concat([rows, *known, *self.controls], how="horizontal"), self.attrition)


def join_buckets(chosen: Sequence[Sequence[Selection]]) -> list[Selection]:
    """Return each study's choice among the entries of all buckets, from every bucket's choices in the same order."""
    whole: dict[int, Possible] = {}
    joined = []
    for selections in zip(*chosen, strict=True):
        first = selections[0]
        possibles = [selection.possible for selection in selections]
        if id(first.possible) not in whole:
            whole[id(first.possible)] = Possible.together(possibles)
        starts = np.cumsum([0, *(possible.days.height for possible in possibles)])
        rows = np.concatenate([part.rows + start for part, start in zip(selections, starts, strict=False)])
        attrition = functools.reduce(operator.add, (part.attrition for part in selections))
        joined.append(Selection(whole[id(first.possible)], rows, first.exits, first.covariates, attrition))
    return joined


@dataclass(slots=True)
class BucketRows:
    """One bucket's needed rows, and what studies on them have in common."""

    tables: BucketTables
    data_end: dt.date
    traced: bool = False
    _possible: dict[tuple[int, ...], Possible] = field(default_factory=dict)
    _flows: dict[tuple[int, ...], _Flow] = field(default_factory=dict)
    _cut: dict[int, tuple[Flags, BucketTables]] = field(default_factory=dict, repr=False)
    _asked: dict[int, tuple[Rows, BucketTables]] = field(default_factory=dict, repr=False)
    _prevalent: dict[int, bool] = field(default_factory=dict)

    def entered(self, cohort: Cohort) -> _Flow:
        """Return the flow after entry: everybody, those with a record, those with a clean washout."""
        entry = _entry_of(cohort)
        key = (id(entry),)
        if key not in self._flows:
            possible = self._days(entry)
            everybody = self.tables["person"].select(pl.len()).collect().item()
            persons = possible.count_persons(possible.everything)
            steps = [
                Step("Persons in the store", everybody, 0, None, None),
                Step(f"With {entry.record_text()}", persons, everybody - persons, possible.days.height, None),
            ]
            flow = _Flow(possible, possible.everything, steps, traced=self.traced)
            candidate = possible.kept(key, entry, flow.rows, lambda days: entry.candidates(days.lazy()))
            flow.keep(entry.candidate_text(), candidate)
            if entry.arms:
                flow.keep("By one arm only", possible.days[ARM].is_not_null().to_numpy()[flow.rows])
            self._flows[key] = flow
        return self._flows[key].copy()

    def _days(self, entry: Entry) -> Possible:
        """Return the possible entries: the days with what persons enter by."""
        key = (*map(id, entry.occurrences), *map(id, entry.arms))
        if key not in self._possible:
            self._possible[key] = Possible.of(entry.record_days(self.tables).collect())
        return self._possible[key]

    def qualified(self, cohort: Cohort) -> _Flow:
        """Return the flow after entry and every rule."""
        key = (id(cohort.entry), *map(id, cohort.rules))
        if key not in self._flows:
            flow = self.entered(cohort)
            for rule in cohort.rules:
                flow.keep(rule.reason, self._kept_by(rule, flow))
            self._flows[key] = flow
        return self._flows[key].copy()

    def _kept_by(self, rule: Rule, flow: _Flow) -> Flags:
        def keep(days: pl.DataFrame) -> pl.LazyFrame:
            return rule.keep(self._tables_of(flow.possible, days), days.lazy())

        return flow.possible.kept(id(rule), rule, flow.rows, keep)

    def free_of(self, outcome: Event, flow: _Flow) -> Flags | None:
        """Return which entries still in do not have the outcome already; none if it has no such rule."""
        if id(outcome) not in self._prevalent:
            nobody = flow.possible.days.clear().lazy()
            self._prevalent[id(outcome)] = outcome.prevalent(self.tables, nobody) is not None
        if not self._prevalent[id(outcome)]:
            return None

        def free(days: pl.DataFrame) -> pl.LazyFrame:
            entries = days.lazy()
            found = outcome.prevalent(self._tables_of(flow.possible, days), entries)
            return entries if found is None else entries.join(found, on=KEY, how="anti")

        return flow.possible.kept(id(outcome), outcome, flow.rows, free)

    def exits(self, cohort: Cohort, outcome: Event, flow: _Flow) -> tuple[int, ...]:
        """Find the exit of every entry still in; return the name of the answer."""
        start, end = cohort.start, cohort.end
        key = (id(outcome), id(start), id(end))

        def ends(days: pl.DataFrame) -> pl.LazyFrame:
            tables, entries = self._tables_of(flow.possible, days), days.lazy()
            starts = start.days(tables, entries, end.bridge_days)
            stops = end.ends(tables, entries, self.data_end, start)
            stops = stops.with_columns(stop=pl.min_horizontal("censor_day", "death_day"))
            return stops.join(starts, on=KEY, how="left", maintain_order="left")

        def exits(days: pl.DataFrame) -> pl.LazyFrame:
            rows = days[ROW].to_numpy()
            flow.possible.ask(key[1:], (start, end), rows, ends)
            known = flow.possible.answers(key[1:], rows).lazy()
            return _followed(self._entries_of(flow.possible, days), known, outcome, start)

        flow.possible.ask(key, (outcome, start, end), flow.rows, exits)
        return key

    def covariate(self, covariate: Covariate | Exposure | TimeVarying | Matching, flow: _Flow) -> int:
        """Find a covariate of every entry still in, and why it is null where it is; return the name of the answer."""

        def column(days: pl.DataFrame) -> pl.DataFrame:
            entries = days.lazy()
            found = covariate.column(self._tables_of(flow.possible, days), entries)
            return entries.select(KEY).join(found, on=KEY, how="left", validate="1:1").collect()

        flow.possible.ask(id(covariate), covariate, flow.rows, column)
        return id(covariate)

    def course(self, course: Course, cohort: Cohort, flow: _Flow) -> tuple[int, ...]:
        """Find a course of every entry still in, whose exits are known; return the name of the answer."""
        ends = id(cohort.start), id(cohort.end)

        def columns(days: pl.DataFrame) -> pl.DataFrame:
            tables, known = self._tables_of(flow.possible, days), flow.possible.answers(ends, days[ROW].to_numpy())
            followed = _followed(tables, known.lazy(), EndOfFollowUp(), cohort.start).select(
                *KEY, "entry", "time", "cause"
            )
            found = course.column(tables, followed)
            return days.lazy().select(KEY).join(found, on=KEY, how="left", validate="1:1").collect()

        flow.possible.ask((id(course), *ends), course, flow.rows, columns)
        return id(course), *ends

    def _tables_of(self, possible: Possible, days: pl.DataFrame) -> BucketTables:
        """Return the rows of some entries' persons: nothing more is asked of the others."""
        rows = days[ROW].to_numpy()
        inside, tables = self._cut.get(id(possible), (None, self.tables))
        if inside is None or not inside[rows].all():
            inside = possible.persons_of(rows)
            tables = self.tables.of_persons(possible.days.filter(inside).select("person_id").unique())
            self._cut[id(possible)] = inside, tables
        return tables

    def _entries_of(self, possible: Possible, days: pl.DataFrame) -> BucketTables:
        """Return the rows of some entries' persons for asking about these entries, as many outcomes do in turn."""
        rows = days[ROW].to_numpy()
        asked, tables = self._asked.get(id(possible), (None, self.tables))
        if asked is None or not np.array_equal(asked, rows):
            tables = self._tables_of(possible, days).of_entries()
            self._asked[id(possible)] = rows, tables
        return tables


def _entry_of(cohort: Cohort) -> Entry:
    if cohort.entry is None:
        raise StudyError(f"cohort {cohort.name!r}: nobody can enter; say how with enter_at_first(…)")
    return cohort.entry


def codes_needed(cohort: Cohort, outcome: Event, others: Iterable[Any]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that the study asks for; none = every row."""
    return codes_of((*cohort.parts, outcome, *others))


def codes_of(parts: Iterable[Any]) -> dict[str, Codelist | None]:
    """Return, for each coded table, every code that some parts of studies ask for; none = every row."""
    parts = [part for part in parts if part is not None]
    records = {(record.table, id(record.codes.codelist)): record for part in parts for record in part.records}
    return needed_codes(records.values(), (table for part in parts for table in getattr(part, "whole", ())))


def run_bucket(
    tables: Tables,
    cohort: Cohort,
    outcome: Event,
    covariates: Iterable[Covariate | Exposure | TimeVarying | Course],
    codes: Mapping[str, Codelist | None],
    data_end: dt.date,
    controls: Iterable[Event] = (),
) -> BucketPart:
    """Return one bucket's part of the analysis table and of the attrition; ``codes`` is what `codes_needed` gives."""
    rows = BucketRows(needed_rows(tables, codes), data_end)
    return select(rows, cohort, outcome, covariates, controls).part()


def select(
    rows: BucketRows,
    cohort: Cohort,
    outcome: Event,
    covariates: Iterable[Covariate | Exposure | TimeVarying | Course],
    controls: Iterable[Event] = (),
) -> Selection:
    """Return one study's choice among the entries of a bucket whose needed rows are read."""
    entry, flow = _entry_of(cohort), rows.qualified(cohort)
    if (free := rows.free_of(outcome, flow)) is not None:
        flow.keep(outcome.prevalent_text, free)
    if not entry.repeats:
        flow.keep("First such entry of each person", flow.possible.first_per_person(flow.rows))
    exits = rows.exits(cohort, outcome, flow)
    if entry.repeats and entry.overlap == "skip":
        flow.keep("Not in the follow-up of an earlier entry", apart(flow.possible.answers(exits, flow.rows)))
    lost = flow.possible.answer(exits, LOST, flow.rows)
    for number, reason in enumerate(_losses(outcome, cohort.start), start=1):
        flow.keep(reason, lost != number)
        lost = lost[lost != number]
    matched_on = () if cohort.matching is None else (cohort.matching,)
    known = tuple(
        rows.course(part, cohort, flow) if isinstance(part, Course) else rows.covariate(part, flow)
        for part in (*covariates, *matched_on)
    )
    controlled = tuple(_controlled(rows, cohort, control, flow, n) for n, control in enumerate(controls, start=1))
    attrition, trail = Attrition(tuple(flow.steps)), tuple(flow.trail)
    return Selection(flow.possible, flow.rows, exits, known, attrition, trail, controlled)


def _controlled(rows: BucketRows, cohort: Cohort, control: Event, flow: _Flow, number: int) -> pl.DataFrame:
    """Return the follow-up of each entry still in until a negative-control outcome; null of those never at risk of it.

    It goes on past the study's own outcome: what cannot be affected is seen for as long as persons are.
    """
    free = rows.free_of(control, flow)
    exits = flow.possible.answers(rows.exits(cohort, control, flow), flow.rows)
    at_risk = pl.Series(exits[LOST] == 0 if free is None else (exits[LOST] == 0) & pl.Series(free))
    named = {name: control_column(number, name) for name in FOLLOW_UP}
    return exits.select(pl.when(at_risk).then(pl.col(name)).alias(column) for name, column in named.items())


def select_each(
    rows: BucketRows, studies: Iterable[tuple[Cohort, Event, tuple[Covariate | Exposure | TimeVarying | Course, ...]]]
) -> list[Selection]:
    """Return every study's choice among the entries of one bucket: what they share is asked once, for all at a time."""
    studies = list(studies)
    for stage in (rows.entered, rows.qualified):
        flows = {id(flow.rows): flow for flow in [stage(cohort) for cohort, _, _ in studies]}.values()
        for possible in {id(flow.possible): flow.possible for flow in flows}.values():
            possible.expect([flow.rows for flow in flows if flow.possible is possible])
    return [select(rows, *study) for study in studies]


def _followed(tables: Tables, ends: pl.LazyFrame, outcome: Event, start: RiskStart) -> pl.LazyFrame:
    """Add ``entry`` (null = never at risk), ``time`` (Int64 days after index), ``cause``, ``exit_reason`` and `LOST`.

    The earliest of outcome, death and censoring decides; on one day the outcome precedes death, and death precedes
    censoring. An entry whose outcome can no longer be judged is censored (`cohort.outcomes.dating`). Outcomes that are
    seen at visits add ``lower`` and ``upper``. Of ``ends``, ``stop`` is the earlier of death and censoring.
    """
    met = dated(outcome.days(tables, ends), ends).collect(engine=SMALL).lazy()
    followed = _exits(ends.join(met, on=KEY, how="left", maintain_order="left"), outcome)
    free = outcome.seen_free(tables, ends)
    exits = followed if free is None else bounded(followed, free)
    number = pl.coalesce(pl.when(lost).then(n) for n, lost in enumerate(_losses(outcome, start).values(), start=1))
    return exits.with_columns(number.fill_null(0).cast(pl.Int8).alias(LOST))


def _exits(ends: pl.LazyFrame, outcome: Event) -> pl.LazyFrame:
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


def _losses(outcome: Event, start: RiskStart) -> dict[str, pl.Expr]:
    """Return, for each way of being lost before risk starts, the step that keeps the others and who is lost by it.

    Without a landmark or delayed entry a follow-up of 0 days stays: it counts in n and has no person-time.
    """
    landmark, late = outcome.landmark, outcome.landmark > 0 or start.delayed
    over = pl.col("time") <= pl.col("entry") if late else pl.col("time") < 0
    by = "before risk starts" if start.delayed else f"by day {landmark}" if late else "before the index date"
    lost = {f"Without the outcome {by}": pl.col("cause") == OUTCOME, f"Not dead {by}": pl.col("exit_reason") == "death"}
    if late and outcome.judged_later:
        lost[f"Outcome can be judged {by}"] = pl.col("exit_reason") == UNJUDGED
    still = (
        "Followed beyond the start of risk" if start.delayed else f"Followed beyond day {landmark}, when risk starts"
    )
    lost[still if late else "Followed on the index date"] = pl.lit(True)
    never = {f"At risk {start.text}": pl.col("entry").is_null()} if start.delayed else {}
    return never | {reason: over & why for reason, why in lost.items()}
