"""No file loads silently wrong: what the loader accepts is what an independent strict CSV parser reads."""

import csv
import io
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cohort.errors import InputRefusedError
from cohort.ingest.engine import translated
from cohort.ingest.guard import Dialect, inspect
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import Source, SourceColumn
from cohort.ingest.staging import Delivery

sys.path.insert(0, str(Path(__file__).resolve().parent))
from malformed import rows_of

SOURCE = Source(files=["t.csv"], columns={name: SourceColumn(type="text") for name in "abc"})
LAYOUT = Layout("t", None, Dialect(), (), (), {"t": SOURCE}, {}, {}, {}, "")

bodies = st.text(alphabet='a1 ,,""\n\n\r-', max_size=40).map(lambda body: "a,b,c\n" + body)
cells = st.text(alphabet='ab1 ,"\n\r\t;é', max_size=6)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def read(connection, path):
    """Return the records as the loader reads them: cells and the two flags."""
    seen = inspect(path, Dialect())
    delivery = Delivery.match("t", SOURCE, seen)
    with translated("t.csv"):
        rows = rows_of(delivery.read(connection, LAYOUT))
    if len(rows) != seen.records:
        raise InputRefusedError("the account does not add up")  # as staging asserts on every load
    return rows


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content="a,b,c\n1,,2,\n")
@example(content='a,b,c\n1,"x"y,2\n')
@example(content='a,b,c\n"1\n2",3,4\n\n')
@given(content=bodies)
def test_any_text_is_refused_or_read_as_the_strict_parser_reads_it(connection, tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    try:
        rows = read(connection, path)
    except InputRefusedError:
        return
    _, *expected = (row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row)
    assert len(rows) == len(expected)
    for (*values, short, long), record in zip(rows, expected, strict=True):
        assert (short, long) == (len(record) < 3, len(record) > 3)
        if len(record) == 3:
            assert values == record


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_correct_writer_writes_is_read_back(connection, tmp_path, records, quoting, line_end):
    # a carriage return of its own is refused even inside quotes, so it must come with its line feed
    records = [tuple(cell.replace("\r", "\r\n") for cell in record) for record in records]
    path = tmp_path / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, quoting=quoting, lineterminator=line_end)
        writer.writerows([("a", "b", "c"), *records])
    rows = read(connection, path)
    assert [tuple(values) for *values, _, _ in rows] == records
    assert not any(short or long for *_, short, long in rows)
