"""Which counts of a result belong together: the families that the release gate audits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from cohort.features.covariate import KNOWN, MISSING
from cohort.results.cells import Ledger
from cohort.results.estimates import ALL, CURVES, RATIOS, RESPONSES
from cohort.results.pathways import LINK

ROW = "row"
"""Number of a row of estimates while it is at the gate."""
PREVALENCES = ("prevalence", "standardised_prevalence")
"""The estimands that count persons whom Table 1 counts too."""
_OTHERS = ("analysis", "estimand", "outcome", "term", "category", "time")
_MISSING, _KNOWN = "(missing)", "(known)"
_Rows = dict[str, list[int]]
_Row = dict[str, Any]


def family_ledger(frame: pl.DataFrame) -> Ledger:
    """Return the counts of all results with the sums that join them.

    Parameters
    ----------
    frame
        Rows of `Estimates` with a column ``row`` (Int64) that numbers them.
    """
    ledger = Ledger()
    described = _enter_table_one(ledger, frame.filter(pl.col("analysis") == 0))
    rest = frame.filter(pl.col("analysis") > 0, pl.col("n").is_not_null())
    for part in _parts(rest, CURVES, "analysis", "estimand"):
        _enter_curves(ledger, part)
    for part in _parts(rest, RATIOS, "analysis", "outcome", "term"):
        _enter_model_term(ledger, part)
    for part in _parts(rest, [LINK], "analysis"):
        _enter_pathways(ledger, part)
    for part in _parts(rest, RESPONSES, "analysis"):
        _enter_responses(ledger, part)
    others = set(rest["estimand"]) - {*CURVES, *RATIOS, LINK, *RESPONSES}
    for part in _parts(rest, others, *_OTHERS):
        events = _enter_groups(ledger, part, "group", _place(*part.select(_OTHERS).row(0)))
        if part["estimand"][0] in PREVALENCES:
            _enter_prevalence(ledger, events, described.get(part["outcome"][0], {}))
    return ledger


def _parts(rows: pl.DataFrame, estimands: Collection[str], *keys: str) -> list[pl.DataFrame]:
    """Return the rows of some estimands by key, in the order in which these come up."""
    if not set(estimands) & set(rows["estimand"]):
        return []
    return rows.filter(pl.col("estimand").is_in(list(estimands))).partition_by(keys, maintain_order=True)


def _enter_pathways(ledger: Ledger, part: pl.DataFrame) -> None:
    """Enter the persons between levels: what arrives at a level leaves it, and every step adds up to all of them."""
    number = part["analysis"][0]
    nodes: dict[str, list[str]] = {}
    for row in part.iter_rows(named=True):
        step = int(row["term"])
        ends = [f"level|{number}|{step}|{row['category']}", f"level|{number}|{step + 1}|{row['group']}"]
        key = _place("link", *ends)
        link = ledger.cell(key, row["n"], shown=[row[ROW]], place=key)
        nodes.setdefault(f"{ends[0]}|out", []).append(link)
        nodes.setdefault(f"{ends[1]}|in", []).append(link)
    levels: dict[str, list[str]] = {}
    for side, links in nodes.items():
        level = side.rpartition("|")[0]
        ledger.add_up(ledger.cell(level, sum(ledger.values[link] for link in links)), links)
        levels.setdefault(level.split("|")[2], []).append(level)
    for of_step in levels.values():
        unique = list(dict.fromkeys(of_step))
        total = sum(ledger.values[level] for level in unique)
        ledger.add_up(ledger.cell(f"persons|{total}", total), unique)


def _enter_prevalence(ledger: Ledger, events: Mapping[str, str], cells: Mapping[str, Mapping[str, str]]) -> None:
    """Enter that the persons with a covariate are those whom Table 1 counts: together, and in the same groups."""
    groups = [group for group in events if group != ALL]
    if (whole := cells.get(ALL, {}).get("true")) is not None:
        ledger.add_up(whole, [events[group] for group in groups] or [events[ALL]])
    if all(group in cells for group in groups):
        for group in groups:
            if "true" in cells[group]:
                ledger.add_up(cells[group]["true"], [events[group]])


def _enter_table_one(ledger: Ledger, table: pl.DataFrame) -> dict[str, dict[str, dict[str, str]]]:
    """Enter group sizes, and levels with missing values within each group and over groups.

    Returns the keys of its cells by term, group and level.
    """
    columns = table.filter(pl.col("estimand") != "standardised_difference")
    sizes = {
        row["group"]: int(row["value"])
        for row in columns.filter(_is("count"), pl.col("term").is_null()).iter_rows(named=True)
    }
    keys = _split(ledger, "persons", sizes)
    for group, part in _by(columns, "group").items():
        if group in keys:  # no row of a column stands when its size is withheld
            ledger.cell(keys[group], sizes[group], shown=part[ROW], place=_place(0, "persons", group))
    variables = _by(table.filter(pl.col("term").is_not_null()), "term").items()
    cells = {term: _enter_variable(ledger, term, part, sizes, keys) for term, part in variables}
    for term, columns_of_term in cells.items():
        _enter_reasons(ledger, columns_of_term, cells.get(f"{term}{MISSING}", {}))
    return cells


def _enter_variable(
    ledger: Ledger, term: str, part: pl.DataFrame, sizes: Mapping[str, int], keys: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Enter one variable of Table 1: its levels, or known values of a number, and its missing values, by group.

    Returns the keys of its cells by group and level.
    """
    rows = part.select(ROW, "group", "category", "estimand", "value").rows(named=True)
    incomplete = any(row["estimand"] == "missing" and row["value"] for row in rows)
    counts = {
        group: _level_counts([row for row in rows if row["group"] == group], sizes[group], incomplete=incomplete)
        for group in dict.fromkeys(row["group"] for row in rows)
        if group in sizes
    }
    contrasts = {group: _contrasts(rows, group) for group in counts}
    overall = counts.get(ALL, {})
    whole = ledger.partition("persons", {name: n for name, (n, _, _) in overall.items()}) if overall else {}
    cells: dict[str, list[str]] = {}
    keys_of_group: dict[str, dict[str, str]] = {group: {} for group in counts}
    for group, levels in sorted(counts.items(), key=lambda item: item[0] != ALL):  # all persons first: the total
        for name, (n, shown, needed) in levels.items():
            key = whole.get(name) if group == ALL else None
            place = _place(0, term, name, group)
            cell = ledger.cell(key or f"{term}|{name}|{group}", n, shown, [*needed, *contrasts[group]], place)
            cells.setdefault(name, []).append(cell)
            keys_of_group[group][name] = cell
        if group != ALL:
            ledger.add_up(keys[group], [keys_of[-1] for keys_of in cells.values()])
    for name in overall:  # without a column of all persons there is nothing to add up to
        if len(cells[name]) > 1:
            ledger.add_up(cells[name][0], cells[name][1:])
    return keys_of_group


def _enter_reasons(ledger: Ledger, cells: dict[str, dict[str, str]], reasons: dict[str, dict[str, str]]) -> None:
    """Enter that a variable's missing values are those of the reasons shown beside it, group by group."""
    for group, of_reason in reasons.items():
        if _MISSING in cells.get(group, {}):
            why = [key for name, key in of_reason.items() if name not in {KNOWN, _MISSING}]
            ledger.add_up(cells[group][_MISSING], why)


def _level_counts(rows: list[_Row], size: int, *, incomplete: bool) -> dict[str, tuple[int, list[int], list[int]]]:
    """Return, by level, the count, the rows that show it, and the rows that need it.

    That nobody at all lacks a value is a property of the data's source, not a 0 to be hidden.
    """
    levels: dict[str, list[_Row]] = {}
    for row in rows:
        if row["category"] is not None:
            levels.setdefault(row["category"], []).append(row)
    found: dict[str, tuple[int, list[int], list[int]]] = {
        level: (next(int(row["value"]) for row in part if row["estimand"] == "count"), [row[ROW] for row in part], [])
        for level, part in levels.items()
    }
    missing = [row for row in rows if row["estimand"] == "missing"]
    absent = int(missing[0]["value"]) if missing else 0
    if not found:
        found[_KNOWN] = (size - absent, [], [row[ROW] for row in rows if row["estimand"] != "missing"])
    if incomplete:
        found[_MISSING] = (absent, [row[ROW] for row in missing], [])
    return found


def _contrasts(rows: list[_Row], group: str) -> list[int]:
    """Return the standardised differences that compare a group: its own, and all of them for the first group."""
    contrasts = [row for row in rows if row["estimand"] == "standardised_difference"]
    own = [row[ROW] for row in contrasts if row["group"] == group]
    return [row[ROW] for row in contrasts] if group != ALL and not own else own


def _enter_curves(ledger: Ledger, part: pl.DataFrame) -> None:
    """Enter persons, events by cause and censorings of the curves of one analysis."""
    start = part.group_by("outcome", "group", maintain_order=True).agg(
        pl.col("n").first(), pl.col("events", "censored").sum(), pl.col(ROW)
    )
    place = _place(*part.select("analysis", "estimand").row(0))
    together: dict[str, list[str]] = {}
    for curves in start.partition_by("outcome", maintain_order=True):
        for group, key in _enter_groups(
            ledger, curves.explode(ROW), "group", _place(place, curves["outcome"][0])
        ).items():
            together.setdefault(group, []).append(key)
    for group, curves in _by(start, "group").items():
        n, censored, rows = curves["n"][0], curves["censored"][0], _rows_that_print_censorings(curves, start)
        key = ledger.cell(f"censored|{place}|{group}", censored, rows, place=_place(place, "censored", group))
        other = n - censored - sum(ledger.values[event] for event in together.get(group, []))
        if other >= 0:
            elsewhere = ledger.cell(f"other|{key}", other, place=_place(place, "other", group))
            ledger.add_up(
                _split(ledger, "persons", dict(zip(start["group"], start["n"], strict=True)))[group],
                [*together.get(group, []), key, elsewhere],
            )


def _rows_that_print_censorings(curves: pl.DataFrame, start: pl.DataFrame) -> pl.Series:
    """Return the rows of a group's curves that may print censorings apart from other causes.

    The commonest outcome does so only at points where every other cause may be seen as well (`coarsen`): when a rare
    competing cause is withheld, its events are among those who left otherwise, and the curve can stand.
    """
    if curves.height == 1:
        return curves[ROW].explode()
    leading = _commonest(curves)
    if _commonest(start) != leading:
        return curves[ROW].explode()
    return curves.filter(pl.col("outcome") != leading)[ROW].explode()


def _commonest(curves: pl.DataFrame) -> str:
    """Return the outcome with the most events, the last by name of several."""
    events: dict[str, int] = {}
    for outcome, happened in curves.select("outcome", "events").iter_rows():
        events[outcome] = events.get(outcome, 0) + happened
    return max(events, key=lambda outcome: (events[outcome], outcome))


def _enter_model_term(ledger: Ledger, part: pl.DataFrame) -> None:
    """Enter the levels of one term of a model; without its reference level no ratio of the term stands."""
    named = part.with_columns(pl.col("category").fill_null(ALL))
    events = _enter_groups(ledger, named, "category", _place(*part.select("analysis", "outcome", "term").row(0)))
    reference = named.filter(pl.col("value") == 1, pl.col("std_error").is_null())
    for level in reference["category"]:
        if level in events:
            ledger.cell(events[level], ledger.values[events[level]], needed=named[ROW])


def _enter_responses(ledger: Ledger, part: pl.DataFrame) -> None:
    """Enter who responded, who did not, and who was not measured: the versions of a share tell all three apart."""
    n, measured, responded = part["n"].max(), part["n"].min(), part["events"].max()
    if not (isinstance(n, int) and isinstance(measured, int) and isinstance(responded, int)):
        return
    whole = _split(ledger, "persons", {ALL: n})[ALL]
    ledger.cell(whole, n, shown=part[ROW])
    counts = {"responded": responded, "did not": measured - responded, "not measured": n - measured}
    key = _place(part["analysis"][0], "response")
    parts = [
        ledger.cell(f"response|{key}|{name}", count, shown=part[ROW], place=_place(key, name))
        for name, count in counts.items()
    ]
    ledger.add_up(whole, parts)


def _enter_groups(ledger: Ledger, part: pl.DataFrame, by: str, place: str) -> dict[str, str]:
    """Enter persons, events and persons without the event of each group; return the keys of the events."""
    first = part.group_by(by, maintain_order=True).agg(pl.col("n", "events").first(), pl.col(ROW))
    rows: _Rows = dict(zip(first[by], first[ROW].to_list(), strict=True))
    sizes = dict(zip(first[by], first["n"], strict=True))
    persons = _split(ledger, "persons", sizes)
    for name, key in persons.items():
        ledger.cell(key, sizes[name], shown=rows[name], place=_place(place, "persons", name))
    happened = {name: events for name, events in zip(first[by], first["events"], strict=True) if events is not None}
    kind = f"events of {part['outcome'][0]}"
    events = _split(ledger, kind, happened)
    others = []
    for name, key in events.items():
        ledger.cell(key, happened[name], shown=rows[name], place=_place(place, "events", name))
        others.append(_enter_others(ledger, persons[name], key))
        ledger.places[_place(place, "without", name)] = others[-1]
    if ALL not in persons and len(others) == len(persons):
        whole = _enter_others(ledger, f"persons|{sum(sizes.values())}", f"{kind}|{sum(happened.values())}")
        ledger.add_up(whole, others)
    return events


def _enter_others(ledger: Ledger, persons: str, events: str) -> str:
    """Enter those of the persons who had no event; recurrent events can outnumber persons and say nothing of them."""
    left = ledger.values[persons] - ledger.values[events]
    key = ledger.cell(f"without|{events}|{persons}", max(left, 0))
    if left >= 0:
        ledger.add_up(persons, [events, key])
    return key


def _place(*parts: object) -> str:
    """Return where in a study a count stands: the same words in each release of the study."""
    return "|".join("" if part is None else str(part) for part in parts)


def _split(ledger: Ledger, kind: str, counts: Mapping[str, int]) -> dict[str, str]:
    """Enter groups as one partition and the column of all persons, where there is one, as its total."""
    groups = {name: count for name, count in counts.items() if name != ALL}
    keys = ledger.partition(kind, groups) if groups else {}
    return {**keys, **ledger.partition(kind, {ALL: counts[ALL]})} if ALL in counts else dict(keys)


def _by(frame: pl.DataFrame, column: str) -> dict[Any, pl.DataFrame]:
    return {key[0]: part for key, part in frame.partition_by(column, maintain_order=True, as_dict=True).items()}


def _is(estimand: str) -> pl.Expr:
    return pl.col("estimand") == estimand
