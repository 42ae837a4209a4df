"""The bounds of the rules, to the day: what lies on a bound keeps the rule, what lies one beyond it offends."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from check_stores import write_store

from cohort.checks.counts import count
from cohort.checks.rules import Rulebook
from cohort.store.store import Store
from cohort.store.tables import TABLES

BOOK = Rulebook.read()
FAMILY = {rule.id: rule.family for rule in BOOK.rules}


def day(text):
    return dt.date.fromisoformat(text)


def frame(table, rows):
    """Return rows written as tuples in the order of the table's columns, dates as ISO text."""
    schema = TABLES[table].schema
    columns = zip(*rows, strict=True) if rows else [() for _ in schema]
    return pl.DataFrame(
        [
            pl.Series(name, values, pl.String).str.to_date() if dtype == pl.Date else pl.Series(name, values, dtype)
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
    )


# the data end on 2020-01-02, which is the day of ingestion too; 30 days of grace after death
PERSONS = [
    (1, "2000-02-02", "female", "2015-06-15", "R", None),
    (2, None, "male", None, "R", None),
    (3, "2016-01-01", "female", "2016-01-01", "R", None),  # died at birth
    (4, "2020-01-02", "male", None, "R", None),  # born on the last day
    (5, "1990-05-05", "female", "2020-01-02", "R", None),  # died on the last day
    (6, "1905-01-02", "male", None, "R", None),  # 115 on the last day
    (7, "1900-01-02", "female", "1950-01-03", "R", None),
]
ENROLMENT = [
    (1, "2000-02-02", "2015-07-15"),  # from birth to the last day of grace
    (2, "1900-01-01", "2010-01-01"),
    (2, "2010-01-03", "2021-02-05"),  # one day's gap; ends 400 days after the data
]
DIAGNOSES = [
    (1, "2000-02-02", "2000-02-02", "icd9cm", "7242", "outpatient", 1),  # on the day of birth
    (1, "2015-07-15", "2015-07-15", "icd9cm", "7242", "outpatient", 1),  # on the last day of grace
    (2, "1900-01-01", "1900-01-01", "icd9cm", "7242", "outpatient", 1),
    (2, "2020-01-02", "2020-01-02", "icd10cm", "M545", "outpatient", 1),
    (2, "2015-09-30", "2015-09-30", "icd9cm", "7242", "outpatient", 1),
    (2, "2015-10-01", "2015-10-01", "icd10cm", "M545", "outpatient", 1),
    (2, "2018-01-01", "2018-12-31", "icd10cm", "M545", "inpatient", 1),  # 365 days
    *((2, "2017-03-03", "2017-03-03", "icd10cm", "M545", "outpatient", number) for number in range(1, 201)),
]
PROCEDURES = [
    (2, "2015-09-30", "icd9proc", "8051", "inpatient"),
    (2, "2015-10-01", "icd10pcs", "0SB20ZZ", "inpatient"),
]
DISPENSINGS = [
    (2, "2018-01-01", "ndc", "00054017613", 365_000.0, 365),  # 1000 units a day for 365 days
    (2, "2018-01-01", "ndc", "00054017613", 0.5, 1),
]
WITHIN = {
    "person": PERSONS,
    "enrolment": ENROLMENT,
    "diagnosis": DIAGNOSES,
    "procedure": PROCEDURES,
    "dispensing": DISPENSINGS,
}

BEYOND = [
    # rule, table, row one beyond the bound
    ("person_birth_too_early", "person", (8, "1900-01-01", "male", "1950-01-03", "R", None)),
    ("person_too_old", "person", (8, "1905-01-01", "male", None, "R", None)),
    ("person_too_old", "person", (8, "1901-01-01", "male", "2016-01-02", "R", None)),
    ("person_birth_after_data_end", "person", (8, "2020-01-03", "male", None, "R", None)),
    ("person_death_after_data_end", "person", (8, "1950-03-03", "male", "2020-01-03", "R", None)),
    ("person_death_before_birth", "person", (8, "2016-01-02", "male", "2016-01-01", "R", None)),
    ("enrolment_before_birth", "enrolment", (1, "2000-02-01", "2000-02-01")),
    ("enrolment_after_death", "enrolment", (1, "2015-07-16", "2015-07-16")),
    ("enrolment_touch", "enrolment", (2, "2021-02-06", "2021-02-06")),
    ("enrolment_overlap", "enrolment", (2, "2021-02-05", "2021-02-05")),
    ("enrolment_after_data_end", "enrolment", (4, "2020-01-02", "2021-02-06")),
    ("enrolment_too_early", "enrolment", (4, "1899-12-31", "2020-01-02")),
    ("enrolment_end_before_start", "enrolment", (6, "2000-01-02", "2000-01-01")),
    ("enrolment_one_day", "enrolment", (6, "2000-01-02", "2000-01-02")),
    ("diagnosis_before_birth", "diagnosis", (1, "2000-02-01", "2000-02-01", "icd9cm", "7242", "outpatient", 1)),
    ("diagnosis_after_death", "diagnosis", (1, "2015-07-16", "2015-07-16", "icd9cm", "7242", "outpatient", 1)),
    ("diagnosis_too_early", "diagnosis", (2, "1899-12-31", "1899-12-31", "icd9cm", "7242", "outpatient", 1)),
    ("diagnosis_in_future", "diagnosis", (2, "2020-01-03", "2020-01-03", "icd10cm", "M545", "outpatient", 1)),
    ("diagnosis_end_before_start", "diagnosis", (2, "2018-05-05", "2018-05-04", "icd10cm", "M545", "home", 1)),
    ("diagnosis_end_after_death", "diagnosis", (1, "2015-06-01", "2015-07-16", "icd9cm", "7242", "inpatient", 1)),
    ("diagnosis_stay_too_long", "diagnosis", (2, "2018-01-01", "2019-01-01", "icd10cm", "M545", "inpatient", 1)),
    ("diagnosis_position_below_one", "diagnosis", (2, "2018-05-05", "2018-05-05", "icd10cm", "M545", "home", 0)),
    ("diagnosis_position_gap", "diagnosis", (2, "2018-05-05", "2018-05-05", "icd10cm", "M545", "home", 2)),
    ("diagnosis_crowded_day", "diagnosis", (2, "2017-03-03", "2017-03-03", "icd10cm", "M545", "outpatient", 201)),
    ("icd9cm_after_change", "diagnosis", (2, "2015-10-01", "2015-10-01", "icd9cm", "7242", "outpatient", 1)),
    ("icd10cm_before_change", "diagnosis", (2, "2015-09-30", "2015-09-30", "icd10cm", "M545", "outpatient", 1)),
    ("icd9proc_after_change", "procedure", (2, "2015-10-01", "icd9proc", "8051", "inpatient")),
    ("icd10pcs_before_change", "procedure", (2, "2015-09-30", "icd10pcs", "0SB20ZZ", "inpatient")),
    ("dispensing_days_supply_too_long", "dispensing", (2, "2018-01-01", "ndc", "00054017613", 1.0, 366)),
    ("dispensing_days_supply_below_one", "dispensing", (2, "2018-01-01", "ndc", "00054017613", 1.0, 0)),
    ("dispensing_quantity_not_positive", "dispensing", (2, "2018-01-01", "ndc", "00054017613", 0.0, 1)),
    ("dispensing_units_a_day_too_many", "dispensing", (2, "2018-01-01", "ndc", "00054017613", 1000.5, 1)),
]


def offending(folder, rule, rows):
    tables = {table: frame(table, part) for table, part in rows.items()}
    # the manifest's last date stays that of the rows within the bounds, even where a row is beyond
    store = Store.open(write_store(folder, tables))
    store = Store(store.path, store.manifest.model_copy(update={"data_end": day("2020-01-02")}))
    return offences(count(store, BOOK, families=[FAMILY[rule]]), rule)


def offences(counts, rule):
    assert counts.failures == {}
    return sum(row.offending for row in counts.counts if row.rule == rule)


@pytest.fixture(scope="module")
def within(tmp_path_factory):
    tables = {table: frame(table, part) for table, part in WITHIN.items()}
    return count(Store.open(write_store(tmp_path_factory.mktemp("within") / "store", tables)), BOOK)


@pytest.mark.parametrize("rule", sorted({rule for rule, _, _ in BEYOND}))
def test_what_lies_on_the_bound_keeps_the_rule(within, rule):
    assert offences(within, rule) == 0


@pytest.mark.parametrize(("rule", "table", "row"), BEYOND)
def test_what_lies_one_beyond_offends(tmp_path, rule, table, row):
    assert offending(tmp_path / "store", rule, WITHIN | {table: [*WITHIN[table], row]}) == 1


@pytest.mark.parametrize(
    ("system", "right", "wrong"),
    [
        ("icd9cm", ["724", "7242", "72210", "V700", "E8490"], ["72", "724210", "E84901", "M545"]),
        ("icd10cm", ["M54", "M545", "C7A010", "Z3A10", "S72001A", "U071"], ["M5", "7242", "S72001AA", "MM5"]),
        ("icd10", ["M54", "M545", "M5456"], ["M5", "M54.5", "545"]),
        ("icd11", ["ME842Z", "MG3001", "XS8H", "ME842Z&XS8H"], ["M54", "MEI2", "ME"]),
        ("snomed", ["279039007", "22253000"], ["27903", "0279039007", "2790390071234567890"]),
        ("atc", ["N", "N02", "N02A", "N02AA", "N02AA05"], ["N2", "N02AA5", "E02AA05", "N02AA055"]),
        ("ndc", ["00054017613"], ["0054017613", "000540176130", "0005401761A"]),
        ("rxnorm", ["480", "1049221"], ["0480", "123456789", "N02"]),
        ("hcpcs", ["J1885", "97110", "0001F"], ["J188", "J18855", "9711", "97110GP"]),
        ("cpt", ["97110", "0001F", "0042T", "0001U", "0002M"], ["J1885", "9711", "0001X"]),
        ("icd10pcs", ["0SB20ZZ", "XW033E5"], ["0SB20Z", "OSB20ZZ", "0SB2OZZ"]),
        ("icd9proc", ["80", "805", "8051"], ["8", "80511", "80X"]),
    ],
)
def test_the_form_of_each_coding_system(tmp_path, system, right, wrong):
    rows = [(2, "2018-01-01", system, code, "unknown") for code in (*right, *wrong)]
    assert offending(tmp_path / "store", f"{system}_format", WITHIN | {"procedure": rows, "diagnosis": [],
                                                                       "dispensing": []}) == len(wrong)  # fmt: skip


def test_too_many_rows_per_person_year_break_the_range_too(tmp_path):
    # 7.3 years of enrolment, 1000 rows: 137 per year, beyond 100
    days = [f"2018-01-{1 + number % 28:02}" for number in range(1000)]
    rows = [(2, start, start, "icd10cm", "M545", "home", 1) for start in days]
    enrolment = [(2, "2012-01-01", "2019-04-30")]
    tables = {name: frame(name, part) for name, part in (WITHIN | {"diagnosis": rows, "enrolment": enrolment}).items()}
    counts = count(Store.open(write_store(tmp_path / "store", tables)), BOOK, families=["utilisation"])
    found = next(row for row in counts.counts if row.rule == "diagnosis_per_person_year")
    assert (found.offending, found.examined) == (1000, 7)
    rule = next(rule for rule in BOOK.rules if rule.id == found.rule)
    assert not rule.allows(found.offending, found.examined)
