"""Counts: how many rows offend against each rule and how many were examined, taken once per snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import duckdb
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cohort.checks.rules import Rule, Rulebook, sql_of
from cohort.checks.views import opened
from cohort.errors import InputRefusedError
from cohort.ingest.engine import Connection
from cohort.store.store import Store
from cohort.store.tables import SETTINGS, SEXES, SYSTEMS

Progress = Callable[[str, int, int], None]
FORMAT = 1
COLUMNS = ("rule", "part", "offending", "examined")
"""What every SQL file returns; ``part`` is the column, year, month or coding system that a row is about, or null."""

_Number = Annotated[int, Field(ge=0, strict=True)]


class Count(BaseModel):
    """One row of one SQL file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    part: str | None
    offending: _Number
    examined: _Number


class Counts(BaseModel):
    """The counts of one snapshot; ``failures`` says of each rule that could not be counted why not.

    ``counted_by`` is the hash of the SQL and its parameters, ``previous`` the snapshot that drift was measured against.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    snapshot: int
    fingerprint: str
    previous: int | None
    counted_by: str
    definitions: dict[str, str]
    counts: tuple[Count, ...]
    failures: dict[str, str]

    def to_json(self) -> str:
        """Return the counts as JSON text; the same snapshot and rules give the same bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return counts that `to_json` wrote.

        Raises
        ------
        InputRefusedError
            If the file is absent, damaged, or of a format that this version does not know.
        """
        try:
            counts = cls.model_validate_json(Path(path).read_bytes())
        except OSError:
            raise InputRefusedError(
                f"{path} cannot be read; write it with `cohort check STORE --counts {path}`"
            ) from None
        except ValidationError:
            raise InputRefusedError(f"{path} does not hold counts of `cohort check`; count the store again") from None
        if counts.format != FORMAT:
            raise InputRefusedError(f"{path} has format {counts.format}, this version reads {FORMAT}; count again")
        return counts


def count(
    store: Store,
    rulebook: Rulebook,
    *,
    families: Iterable[str] | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Run the SQL of every family, or of those named, over a snapshot.

    Whatever goes wrong with one family (a file that cannot be read, SQL that does not run, a count that is missing or
    makes no sense) is recorded as the failure of its rules; the other families are still counted.
    """
    wanted = tuple(families or rulebook.families)
    counts: list[Count] = []
    failures: dict[str, str] = {}
    parameters = _parameters(store, rulebook)
    with opened(store, memory_limit, threads) as (connection, broken, before):
        for done, family in enumerate(wanted):
            if progress:
                progress("check", done, len(wanted))
            rules = rulebook.family(family)
            try:
                found = _accept(_run(connection, sql_of(family), parameters), rules)
            except _CountError as error:
                reason = f"{error}; cannot be opened: {', '.join(broken)}" if broken else str(error)
                found = [], dict.fromkeys((rule.id for rule in rules), reason)
            counts += found[0]
            failures |= found[1]
    if progress:
        progress("check", len(wanted), len(wanted))
    return Counts(
        snapshot=store.manifest.number,
        fingerprint=store.manifest.fingerprint,
        previous=before,
        counted_by=rulebook.counted_by,
        definitions={name: str(value) for name, value in rulebook.definitions.items()},
        counts=tuple(sorted(counts, key=lambda row: (row.rule, row.part or ""))),
        failures=dict(sorted(failures.items())),
    )


class _CountError(Exception):
    """Why a family could not be counted, in words that quote no data."""


def _parameters(store: Store, rulebook: Rulebook) -> dict[str, Any]:
    manifest = store.manifest
    words = {"sexes": list(SEXES), "settings": list(SETTINGS), "systems": list(SYSTEMS)}
    return {**rulebook.definitions, **words, "created": manifest.created.date(), "data_end": manifest.data_end}


def _run(connection: Connection, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a query; of DuckDB's errors only what is raised before a row is read is quoted."""
    try:
        used = _used_parameters(sql)
        if missing := sorted(used - set(parameters)):
            raise _CountError(f"the SQL asks for unknown parameters {', '.join(missing)}")
        query = connection.execute(sql, {name: parameters[name] for name in used})
        if tuple(column[0] for column in query.description or ()) != COLUMNS:
            raise _CountError(f"the SQL does not return the columns {', '.join(COLUMNS)}")
        return query.fetchall()
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        raise _CountError(f"the SQL does not run: {str(error).splitlines()[0]}") from None
    except duckdb.Error as error:
        raise _CountError(f"the SQL stopped half-way ({type(error).__name__})") from None


def _used_parameters(sql: str) -> set[str]:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _CountError("the SQL is not exactly one select statement")
    return set(statements[0].named_parameters)


def _accept(rows: Sequence[tuple[Any, ...]], rules: Sequence[Rule]) -> tuple[list[Count], dict[str, str]]:
    """Return the counts of a family and what is wrong with those that cannot be used.

    No rule passes by silence: one without a row, or with a null or impossible count, is a failure.
    """
    expected = [rule.id for rule in rules]
    if any(row[0] not in expected for row in rows):
        raise _CountError("the SQL counts a rule that rules.toml does not list")
    counts: list[Count] = []
    failures: dict[str, str] = {}
    for rule in expected:
        own = [row for row in rows if row[0] == rule]
        if not own:
            failures[rule] = "the SQL returned no count"
        elif not all(_makes_sense(offending, examined) for _, _, offending, examined in own):
            failures[rule] = "the SQL returned a count that is null, negative or of nothing examined"
        elif len({part for _, part, _, _ in own}) != len(own):
            failures[rule] = "the SQL returned two counts of one part"
        else:
            counts += [Count(rule=rule, part=part, offending=bad, examined=seen) for _, part, bad, seen in own]
    return counts, failures


def _makes_sense(offending: Any, examined: Any) -> bool:
    whole = all(type(number) is int and number >= 0 for number in (offending, examined))
    return whole and (examined > 0 or offending == 0)
