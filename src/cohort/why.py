"""Why one person is in a cohort or not: each step replayed on that person's rows alone, for the data holder.

Everything here shows values of a person. It goes to the terminal of whoever may read the store, never into a report, a
log or an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.codes.records import KEY, Tables, needed_rows
from cohort.errors import InputRefusedError
from cohort.plan import BucketRows, Selection, codes_needed, select
from cohort.population.criteria import AgeBetween, Enrolled, RegionIn, SexIs
from cohort.store.store import Store
from cohort.store.tables import LANES, Supplied
from cohort.time import Window, days_between

if TYPE_CHECKING:
    from cohort.ingest.source_lines import SourceLines
    from cohort.study import Study

_OF_PERSON = (AgeBetween, SexIs, RegionIn)
_NO_ROWS = pl.DataFrame(schema={"table": pl.String, "date": pl.Date})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one step did to the person's entries, and the rows that it looked at: ``table`` and the table's columns."""

    reason: str
    kept: tuple[dt.date, ...] = field(repr=False)
    removed: tuple[dt.date, ...] = field(repr=False)
    rows: pl.DataFrame = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Why:
    """One person's way through a study; ``print`` shows it, ``repr`` does not, since a repr ends up in logs.

    ``entries`` has the person's rows of the analysis table, before any matching.
    """

    title: str
    person_id: int = field(repr=False)
    verdicts: tuple[Verdict, ...] = field(repr=False)
    entries: pl.DataFrame = field(repr=False)
    note: str | None = None

    def __str__(self) -> str:
        """Return the replay as text: step by step, what was kept, what was removed, and the rows."""
        return self.text()

    def text(self, lines: SourceLines | None = None) -> str:
        """Return the replay as text, each row with the lines of the extract that hold it if these are given."""
        said = [f"Person {self.person_id} in {self.title!r}", ""]
        for verdict in self.verdicts:
            said += [verdict.reason]
            said += [f"    kept     {_listed(verdict.kept)}"] * bool(verdict.kept)
            said += [f"    removed  {_listed(verdict.removed)}"] * bool(verdict.removed)
            for row in verdict.rows.iter_rows(named=True):
                said += [f"        {_row(row)}"]
                said += [f"            {line}" for line in (lines.of(row["table"], row) if lines else ())]
        return "\n".join([*said, "", *_conclusion(self), *([self.note] if self.note else [])])


def why(study: Study, store: Store, person: int) -> Why:
    """Replay a study on one person.

    Raises
    ------
    InputRefusedError
        If the store holds nobody of that pseudonym.
    """
    bucket = store.bucket(person % LANES % store.buckets)
    own = {name: table.filter(pl.col("person_id") == person).collect().lazy() for name, table in bucket.items()}
    mine = Supplied(own)
    if mine["person"].collect().is_empty():
        raise InputRefusedError("the store's person table holds nobody of this pseudonym; check the number")
    return replay(study, mine, store.data_end, person)


def replay(study: Study, tables: Tables, data_end: dt.date, person: int) -> Why:
    """Replay a study on tables that hold one person's rows only."""
    cohort, outcome = study.cohort, study.outcome
    rows = BucketRows(needed_rows(tables, codes_needed(cohort, outcome, ())), data_end, traced=True)
    selection = select(rows, cohort, outcome, ())
    matched = "Matched sets are made from all persons, so who was matched is in the analysis table, not here."
    return Why(
        study.title,
        person,
        tuple(_verdicts(study, selection, tables)),
        selection.part().rows,
        None if cohort.matching is None else matched,
    )


def _verdicts(study: Study, selection: Selection, tables: Tables) -> Iterator[Verdict]:
    """Yield every step from the records on, with the entries it judged and the rows it looked at."""
    days = selection.possible.days
    entry, steps = study.entry, selection.attrition.steps
    first = pl.concat([_found(occurrence, tables) for occurrence in entry.occurrences], how="diagonal")
    yield Verdict(steps[1].reason, tuple(days["index_date"]), (), first.sort("date"))
    judges = [None, *([None] if entry.arms else []), *study.cohort.rules]
    before = selection.possible.everything
    for number, (step, after) in enumerate(zip(steps[2:], selection.trail, strict=True)):
        judged, kept = (days[rows].select(KEY) for rows in (before, after))
        removed = judged.join(kept, on=KEY, how="anti")
        judge = study.outcome if step.reason == study.outcome.prevalent_text else dict(enumerate(judges)).get(number)
        rows = _evidence(judge, tables, judged)
        if not judged.is_empty():
            yield Verdict(step.reason, tuple(kept["index_date"]), tuple(removed["index_date"].sort()), rows)
        before = after
    if before.size:
        yield _follow_up(study, tables, days[before].select(KEY))


def _follow_up(study: Study, tables: Tables, entries: pl.DataFrame) -> Verdict:
    """Return the rows from the first index date on that the outcome and the ends of follow-up read."""
    start = study.cohort.start.record
    parts = [*study.outcome.records, *study.cohort.end.censor_records, *([] if start is None else [start])]
    found = [_found(part, tables) for part in parts]
    if not study.outcome.records:  # outcomes of registries read scores
        found.append(_tagged("measurement", tables["measurement"]))
    since = pl.concat([_NO_ROWS, *found], how="diagonal").filter(pl.col("date") >= entries["index_date"].min())
    observed = [_tagged(name, tables[name]) for name in ("enrolment", "person")]
    rows = pl.concat([since.unique(maintain_order=True).sort("date"), *observed], how="diagonal")
    return Verdict("What follow-up and outcome look at", (), (), rows)


def _evidence(judge: Any, tables: Tables, judged: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that a rule looked at, for all entries that it judged."""
    if judge is None:
        return _NO_ROWS
    if isinstance(judge, _OF_PERSON):
        return _tagged("person", tables["person"])
    if isinstance(judge, Enrolled):
        return _tagged("enrolment", tables["enrolment"])
    occurrences = [judge.record] if hasattr(judge, "record") else judge.records
    rows = pl.concat([_NO_ROWS, *(_found(occurrence, tables) for occurrence in occurrences)], how="diagonal")
    window = getattr(judge, "window", Window(None, 0))  # an outcome is prevalent by what is known at index
    far_back = any(occurrence.table == "episode" for occurrence in occurrences)  # they may reach into the window
    seen = Window(None if far_back else window.first, window.last)
    numbered = rows.with_row_index("_row")
    day = days_between(pl.col("index_date"), pl.col("date"))
    near = numbered.join(judged.select("index_date").unique(), how="cross").filter(seen.contains(day))
    return numbered.join(near, on="_row", how="semi").drop("_row").sort("date")


def _found(occurrence: Any, tables: Tables) -> pl.DataFrame:
    table = occurrence.record.table if occurrence.table == "episode" else occurrence.table
    return _tagged(table, occurrence.rows(tables))


def _tagged(name: str, rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.select(pl.lit(name).alias("table"), pl.all().exclude("person_id")).collect()


def _row(row: dict[str, Any]) -> str:
    """Return one row as a line: its table and what is not null."""
    return " ".join(
        f"{name}={value}" if name != "table" else str(value) for name, value in row.items() if value is not None
    )


def _listed(dates: tuple[dt.date, ...]) -> str:
    return ", ".join(str(date) for date in dates)


def _conclusion(found: Why) -> list[str]:
    if found.entries.is_empty():
        last = next((verdict.reason for verdict in found.verdicts if verdict.removed and not verdict.kept), None)
        why_not = "there is no record to enter by" if last is None else f"the last entry was removed at {last!r}"
        return [f"Not in the cohort: {why_not}."]
    rows = found.entries.select("index_date", "entry", "time", "exit_reason").iter_rows()
    return [
        f"In the cohort on {index}: at risk after day {entry}, to day {time}: {reason}"
        for index, entry, time, reason in rows
    ]
