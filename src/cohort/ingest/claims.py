"""Claims logic: of the versions of a claim that a supplier sends, what stands and what was taken back.

The rules are one select, `sql/ingest/claims/settled.sql`, laid over the views that a layout lists under ``claims``; a
table is then written from what stands, and the account says what became of the rest.
"""

from __future__ import annotations

from cohort.errors import StudyError
from cohort.ingest.engine import Connection, quoted, translated
from cohort.ingest.layouts import Layout, shipped_sql
from cohort.store.manifest import ClaimCount

ACTIONS = ("original", "replacement", "void", "denied", "not_final")
"""What a claim line may say of itself; null is `original`."""

_COLUMNS = ("person", "claim_payer", "claim_id", "claim_line", "claim_version", "claim_action")


def create_view(connection: Connection, layout: Layout, name: str) -> None:
    """Create ``extract.<name>``: a view of the layout, of claim views only the lines that stand.

    What the layout keeps is worked out now, once for all statements that read it.
    """
    sql = _settled(layout, name) if name in layout.claims else layout.views[name]
    if name in layout.kept:
        connection.execute(f"create table kept.{quoted(name)} as {sql}")
        sql = f"from kept.{quoted(name)}"
    if name in layout.claims:
        _check_columns(connection, layout, name)
        sql = f"select * exclude (claim_fate) from ({sql}) where claim_fate is null"
    connection.execute(f"create or replace view extract.{quoted(name)} as {sql}")


def count_lines(connection: Connection, layout: Layout) -> dict[str, ClaimCount]:
    """Return for each claim view how many lines it has in this bucket, and what became of them.

    Raises
    ------
    StudyError
        If a line says of itself what is none of ``ACTIONS``.
    """
    return {name: _count(connection, layout, name) for name in layout.claims}


def _settled(layout: Layout, name: str) -> str:
    return f"with claim_event as (({layout.views[name]}\n)) from ({shipped_sql('ingest/claims/settled.sql')})"


def _check_columns(connection: Connection, layout: Layout, name: str) -> None:
    described = connection.execute(f"select * from ({layout.views[name]}\n) limit 0").description or []
    if absent := [column for column in _COLUMNS if column not in {entry[0].lower() for entry in described}]:
        raise StudyError(f"layout {layout.name}, {name}.sql: lacks column {', '.join(absent)} of a claim view")


def _count(connection: Connection, layout: Layout, name: str) -> ClaimCount:
    lines = f"from kept.{quoted(name)}" if name in layout.kept else _settled(layout, name)
    with translated(f"layout {layout.name}, {name}.sql"):
        rows = connection.execute(
            "select claim_fate, count(*), count(*) filter (where claim_action not in "
            f"(select unnest($actions))) from ({lines}) group by claim_fate order by claim_fate",
            {"actions": list(ACTIONS)},
        ).fetchall()
    if unknown := sum(strange for _, _, strange in rows):
        raise StudyError(
            f"layout {layout.name}, {name}.sql: {unknown:,} lines have a claim_action that is none of "
            f"{', '.join(ACTIONS)}; translate it"
        )
    superseded = {fate: lines for fate, lines, _ in rows if fate}
    every = sum(lines for _, lines, _ in rows)
    return ClaimCount(lines=every, standing=every - sum(superseded.values()), superseded=superseded)
