"""What a bucket remembers is what its tables say: matching from memory, and verdicts asked piece by piece."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import cohort as co
from cohort.codes.bucket_tables import BucketTables
from cohort.codes.match import matches
from cohort.codes.records import needed_codes, needed_rows
from cohort.possible import ROW, Possible
from cohort.store.tables import TABLES

text = st.text(alphabet="AB1", min_size=1, max_size=4)
systems = st.sampled_from(["icd10cm", "icd9cm", "snomed"])
listed = st.lists(st.tuples(systems, text, st.sampled_from(["pain", "other", "excluded"])), min_size=1, max_size=8)
written = st.lists(st.tuples(systems, text), max_size=20)


def diagnoses(pairs):
    rows = [(1, dt.date(2020, 1, 1), dt.date(2020, 1, 1), s, c, "outpatient", n) for n, (s, c) in enumerate(pairs)]
    return pl.DataFrame(rows, schema=TABLES["diagnosis"].schema, orient="row")


@given(listed, written)
@settings(max_examples=200, deadline=None)
def test_matching_from_memory_is_matching(rows, pairs):
    codes = co.Codelist.from_rows("x", [{"system": s, "code": c, "category": k} for s, c, k in rows])
    table = diagnoses(pairs)
    remembered = BucketTables({"diagnosis": table}).matches("diagnosis", codes).collect()
    assert remembered.sort("position").equals(matches(table.lazy(), codes).collect().sort("position"))
    assert [codes.contains(s, c) for s, c in pairs] == [n in set(remembered["position"]) for n in range(len(pairs))]


@given(listed, written)
@settings(max_examples=100, deadline=None)
def test_rows_that_a_record_can_qualify_are_never_left_unread(rows, pairs):
    codes = co.Codelist.from_rows("x", [{"system": s, "code": c, "category": k} for s, c, k in rows])
    tables = {name: pl.LazyFrame(schema=table.schema) for name, table in TABLES.items()}
    tables["diagnosis"] = diagnoses(pairs).lazy()
    record = co.diagnosis(codes)
    read = needed_rows(tables, needed_codes([record]))
    found, whole = (record.rows(which).collect().sort("position") for which in (read, tables))
    assert found.equals(whole)


chosen = st.lists(st.integers(0, 19), max_size=12).map(lambda rows: np.array(sorted(set(rows)), dtype=np.int64))


@given(st.lists(chosen, min_size=1, max_size=6), chosen, st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_an_answer_does_not_depend_on_who_asked_before(asked, expected, modulus):
    """Every third entry is a new person; the rule keeps multiples, the answer is the entry's number squared."""
    start = dt.date(2020, 1, 1)
    days = pl.DataFrame(
        [(n // 3, start + dt.timedelta(days=n)) for n in range(20)], schema=["person_id", "index_date"], orient="row"
    )
    possible = Possible.of(days)
    possible.expect([expected])
    for rows in asked:
        kept = possible.kept("rule", None, rows, lambda entries: entries.lazy().filter(pl.col(ROW) % modulus == 0))
        assert kept.tolist() == [row % modulus == 0 for row in rows]
        possible.ask("square", None, rows, lambda entries: entries.lazy().with_columns(square=pl.col(ROW) ** 2))
        assert possible.answers("square", rows)["square"].to_list() == [row**2 for row in rows]
        assert possible.count_persons(rows) == len({row // 3 for row in rows})
