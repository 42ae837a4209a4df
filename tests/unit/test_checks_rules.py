"""Every rule of data quality: passed by clean data, broken by a violation made for it, and known to its files."""

from __future__ import annotations

import datetime as dt
import re

import duckdb
import polars as pl
import pytest
from check_stores import completed, earlier, simulated, with_changes, write_store
from check_violations import VIOLATIONS

from cohort.checks.counts import count
from cohort.checks.judge import Status, judge
from cohort.checks.rules import Rulebook, Severity, rules_folder, sql_of
from cohort.store.store import Store
from cohort.store.tables import TABLES

BOOK = Rulebook.read()
RULES = {rule.id: rule for rule in BOOK.rules}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return completed(simulated(tmp_path_factory.mktemp("simulated")))


@pytest.fixture(scope="module")
def clean(tables, tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("clean") / "store", tables, earlier(tables))


@pytest.fixture(scope="module")
def clean_counts(clean):
    return count(Store.open(clean), BOOK)


def judged(counts, rule):
    return next(one for one in judge(counts, BOOK).judgements if one.rule.id == rule)


def offending(counts, rule):
    return sum(row.offending for row in counts.counts if row.rule == rule)


@pytest.mark.parametrize("rule", RULES)
def test_clean_data_keep_the_rule_and_are_examined(clean_counts, rule):
    found = judged(clean_counts, rule)
    assert (found.status, found.reason) == (Status.PASSED, "")
    assert found.examined > 0


@pytest.mark.parametrize("rule", RULES)
def test_a_violation_breaks_the_rule(tables, clean, clean_counts, tmp_path, rule):
    violation = VIOLATIONS[rule]
    store = with_changes(clean, violation.spoil(tables), tmp_path / "store")
    counts = count(store, BOOK, families=[RULES[rule].family])
    expected = Status.FAILED if RULES[rule].severity is Severity.ERROR else Status.WARNED
    assert judged(counts, rule).status is expected
    if violation.more is not None:
        assert offending(counts, rule) - offending(clean_counts, rule) == violation.more


def test_there_is_one_violation_per_rule_and_no_other():
    assert set(VIOLATIONS) == set(RULES)
    assert len(RULES) >= 60


def test_every_sql_file_is_a_family_and_every_family_a_file():
    assert {path.stem for path in rules_folder().glob("*.sql")} == set(BOOK.families)


def test_every_file_returns_exactly_its_rules(clean_counts):
    # an unlisted rule or a missing one would be a failure
    assert clean_counts.failures == {}
    assert {row.rule for row in clean_counts.counts} == set(RULES)


@pytest.mark.parametrize("family", BOOK.families)
def test_every_file_says_what_it_is_and_its_parameters(family):
    sql = sql_of(family)
    head = [line for line in sql.splitlines() if line.startswith("--")]
    for part in ("what", "grain", "reads", "params", "source"):
        assert any(line.startswith(f"-- {part}:") for line in head), part
    told = " ".join(head)
    for parameter in set(re.findall(r"\$\w+", "\n".join(sql.splitlines()[len(head) :]))):
        assert parameter in told


def test_a_rule_names_a_table_that_its_file_reads():
    for rule in BOOK.rules:
        reads = re.search(r"-- reads:(.*)", sql_of(rule.family)).group(1)
        assert rule.table in reads or "every table" in reads, rule.id


def test_the_files_run_as_they_stand_against_views_named_after_the_tables(clean):
    # as an analyst would in the DuckDB shell, without this package's machinery
    with duckdb.connect() as shell:
        for table in TABLES:
            shell.execute(f"create view {table} as from read_parquet('{clean}/data/000002/{table}/*.parquet')")
        found = shell.execute(
            sql_of("event_dates"),
            {"earliest_date": dt.date(1900, 1, 1), "created": dt.date(2020, 1, 2), "death_grace_days": 30},
        ).fetchall()
    assert len(found) == 16


def test_a_stay_over_the_change_is_coded_by_its_discharge(tables, clean, tmp_path):
    # admitted on 28 September and discharged on 2 October 2015: ICD-10-CM is right, ICD-9-CM is wrong
    stay = (
        tables["diagnosis"]
        .head(1)
        .with_columns(
            date=pl.lit(dt.date(2015, 9, 28)), end_date=pl.lit(dt.date(2015, 10, 2)), setting=pl.lit("inpatient")
        )
    )
    for system, code, wrong in (("icd10cm", "M545", 0), ("icd9cm", "7242", 1)):
        rows = stay.with_columns(system=pl.lit(system), code=pl.lit(code))
        changed = {"diagnosis": pl.concat([tables["diagnosis"], rows])}
        counts = count(with_changes(clean, changed, tmp_path / system), BOOK, families=["coding_change"])
        assert offending(counts, "icd9cm_after_change") + offending(counts, "icd10cm_before_change") == wrong


def test_the_smallest_of_overlapping_spans_does_not_hide_the_longest(tables, clean, tmp_path):
    # 2012 to 2019 and, within it, January 2013: an event in 2015 is inside, although the latest span to start has ended
    person = tables["person"].select("person_id").head(1)
    spans = person.join(
        pl.DataFrame({"start_date": [dt.date(2012, 1, 1), dt.date(2013, 1, 1)],
                      "end_date": [dt.date(2019, 12, 31), dt.date(2013, 1, 31)]}), how="cross")  # fmt: skip
    event = person.with_columns(
        date=pl.lit(dt.date(2015, 5, 5)), system=pl.lit("hcpcs"), code=pl.lit("97110"), setting=pl.lit("outpatient")
    )
    changed = {"enrolment": spans, "procedure": event}
    counts = count(with_changes(clean, changed, tmp_path / "store"), BOOK, families=["outside_enrolment"])
    assert offending(counts, "procedure_outside_enrolment") == 0
    assert judged(counts, "procedure_outside_enrolment").examined == 1


def test_a_stray_date_does_not_make_a_century_of_empty_months(tables, clean, tmp_path):
    first = tables["procedure"].head(1).with_columns(date=pl.lit(dt.date(1905, 1, 1)))
    changed = {"procedure": pl.concat([tables["procedure"], first])}
    counts = count(with_changes(clean, changed, tmp_path / "store"), BOOK, families=["volume"])
    assert offending(counts, "procedure_month_missing") == 0


def test_a_feed_that_stops_early_is_seen(tables, clean, tmp_path):
    # dispensings end with June 2016, the data with December 2019: July 2016 to November 2019 are 41 months
    changed = {"dispensing": tables["dispensing"].filter(pl.col("date") < dt.date(2016, 7, 1))}
    counts = count(with_changes(clean, changed, tmp_path / "store"), BOOK, families=["volume"])
    assert offending(counts, "dispensing_month_missing") == 41


def test_the_last_year_is_compared_when_it_is_whole(tables, clean, tmp_path):
    # the data end in December 2019, so 2019 is whole but for the last month
    thin = tables["procedure"].filter((pl.col("date").dt.year() < 2019) | (pl.int_range(pl.len()) % 5 == 0))
    counts = count(with_changes(clean, {"procedure": thin}, tmp_path / "store"), BOOK, families=["volume"])
    assert judged(counts, "procedure_year_drop").part == "2019"


def test_a_year_that_has_just_begun_is_not(clean):
    # the first snapshot ends with June 2019: half a year, which is no drop
    counts = count(Store.open(clean, as_of=1), BOOK)
    found = judge(counts, BOOK)
    assert found.having(Status.NOT_RUN, Status.FAILED, Status.WARNED) == ()
    years = {row.part for row in counts.counts if row.rule.endswith(("_year_drop", "_distinct_codes"))}
    assert "2018" in years
    assert not any("2019" in part for part in years if part)
