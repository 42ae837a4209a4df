"""What the claims of Tuva and Medicare say of themselves, in the words of the claims logic."""

import csv
import datetime as dt

import duckdb
import pytest

from cohort.ingest.layouts import sql_root

TUVA = [  # bill type, amount, paid; the last two lines are of one claim and line
    (("professional", None, "50.00", "1"), "original", "1"),
    (("professional", None, "-50.00", "1"), "void", "1"),
    (("professional", None, "(50.00)", "1"), "void", "1"),
    (("professional", None, "50.00-", "1"), "void", "1"),
    (("professional", None, "-0.00", "1"), "void", "1"),
    (("professional", None, None, None), "original", None),
    (("institutional", "111", "50.00", "1"), "original", "1"),
    (("institutional", "0117", "50.00", "2"), "replacement", "2"),
    (("institutional", "118", "50.00", "2"), "void", None),  # the claim as a whole
    (("institutional", "11I", "50.00", "2"), "replacement", "2"),
    (("institutional", "111", "-50.00", "1"), "original", "1"),  # the deductible was more than the payment
    (("professional", "118", "50.00", "1"), "original", "1"),  # a type of bill has no place on such a claim
]
COLUMNS = "claim_id, claim_type, bill_type_code, paid_amount, claim_line_number, person_id, payer, paid_date"


@pytest.fixture
def connection():
    found = duckdb.connect()
    found.execute("create schema extract")
    found.execute("create schema codes")
    with (sql_root() / "codes" / "claim_action.csv").open(encoding="utf-8", newline="") as handle:
        (_, *rows) = csv.reader(handle)
    found.execute("create table codes.claim_action (kind text, code text, action text, description text, source text)")
    found.executemany("insert into codes.claim_action values (?, ?, ?, ?, ?)", rows)
    return found


def tuva(connection, lines):
    types = (
        COLUMNS.replace(",", " text,").replace("paid_date", "paid_date date").replace("person_id text", "person_id int")
    )
    connection.execute(f"create table extract.medical_claim ({types})")
    for claim, line in lines:
        connection.execute("insert into extract.medical_claim values (?, ?, ?, ?, ?, 7, 'P', null)", [claim, *line])
    sql = (sql_root() / "layouts" / "tuva" / "medical_line.sql").read_text()
    return connection.sql(sql).order("claim_id, claim_action").project("claim_action, claim_line").fetchall()


@pytest.mark.parametrize(("line", "action", "number"), TUVA)
def test_tuva_lines_of_different_claims(connection, line, action, number):
    assert tuva(connection, [("A", line)]) == [(action, number)]


def test_a_negative_amount_takes_back_an_institutional_line_that_was_paid(connection):
    paid, negative, other = (
        ("institutional", "111", amount, line) for amount, line in (("9", "1"), ("-9", "1"), ("-9", "2"))
    )
    assert tuva(connection, [("A", paid), ("A", negative)]) == [("original", "1"), ("void", "1")]
    connection.execute("drop table extract.medical_claim")
    assert tuva(connection, [("A", paid), ("A", other)]) == [("original", "1"), ("original", "2")]


@pytest.mark.parametrize(
    ("final_action", "frequency", "entry", "expected"),
    [
        ("F", "1", None, ("original", "3")),
        ("N", "1", None, ("not_final", "3")),
        ("F", "7", None, ("replacement", "3")),
        (None, "8", None, ("void", None)),
        (None, None, "1", ("original", "3")),
        (None, None, "3", ("void", None)),
        (None, None, "5", ("replacement", "3")),
    ],
)
def test_medicare_lines(connection, final_action, frequency, entry, expected):
    columns = """1 as BENE_ID, 'C' as CLM_ID, 'G' as CLM_GRP_ID, '40' as NCH_CLM_TYPE_CD, date '2020-01-01' as
    NCH_WKLY_PROC_DT, ? as FINAL_ACTION, ? as CLM_FREQ_CD, ? as CARR_CLM_ENTRY_CD, '3' as CLM_LINE_NUM,
    null as LINE_NUM"""
    connection.execute(f"create table extract.inpatient as select {columns}", [final_action, frequency, entry])
    for name in ("outpatient", "carrier", "dme", "hha", "hospice", "snf"):
        connection.execute(f"create table extract.{name} as from extract.inpatient limit 0")
    sql = (sql_root() / "layouts" / "cms_rif" / "billed_line.sql").read_text()
    assert connection.sql(sql).project("claim_action, claim_line").fetchall() == [expected]


def test_tuva_knows_of_deaths_from_claims(connection):
    connection.execute("""create table extract.eligibility as select 1 as person_id, date '1950-01-01' as birth_date,
        'female' as gender, null::date as death_date, 'NJ' as state, date '2019-01-01' as enrollment_start_date""")
    connection.execute("""create table extract.claim_line as select 1 as person_id, date '2020-03-01' as discharge_date,
        date '2020-03-02' as claim_end_date, date '2020-02-01' as claim_start_date, '20' as discharge_disposition_code
        union all select 1, null, date '2020-02-03', date '2020-02-01', '1'""")
    connection.execute("create table codes.gender as select 'F' as code, 'female' as sex")
    connection.execute("create table codes.discharge_status as select '20' as code, 'yes' as died")
    sql = (sql_root() / "layouts" / "tuva" / "person.sql").read_text()
    rows = connection.sql(sql).order("as_of nulls last").project("birth_date, death_date, as_of").fetchall()
    day = dt.date
    assert rows == [(day(1950, 1, 1), None, day(2019, 1, 1)), (None, day(2020, 3, 1), None)]
