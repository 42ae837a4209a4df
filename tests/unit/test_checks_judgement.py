"""What becomes of counts: thresholds and their changes, failures that are never passes, and results without values."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import time

import polars as pl
import pytest
from check_stores import commit, write_store, write_tables
from rich.console import Console

from cohort.checks import counts as counting
from cohort.checks.catalogue import catalogue
from cohort.checks.check import check, recheck
from cohort.checks.counts import Count, Counts, count
from cohort.checks.document import page, section, show
from cohort.checks.judge import SCHEMA, Status, judge
from cohort.checks.rules import Rule, Rulebook
from cohort.errors import InputRefusedError, StudyError
from cohort.store.manifest import path_of
from cohort.store.store import Store
from cohort.store.tables import TABLES

BOOK = Rulebook.read()


def small_tables():
    """Return two persons with one day of everything, none of it wrong."""
    day = dt.date(2020, 1, 1)
    rows = {
        "person": [
            {"person_id": 1, "birth_date": dt.date(1980, 2, 2), "sex": "female", "death_date": None, "region": "R"},
            {"person_id": 2, "birth_date": dt.date(1980, 3, 3), "sex": "male", "death_date": None, "region": "R"},
        ],
        "enrolment": [
            {"person_id": person, "start_date": dt.date(2018, 1, 1), "end_date": dt.date(2020, 1, 31)}
            for person in (1, 2)
        ],
        "diagnosis": [
            {"person_id": 1, "date": day, "end_date": day, "system": "icd10cm", "code": "M545", "setting": "outpatient",
             "position": 1}
        ],
        "procedure": [{"person_id": 1, "date": day, "system": "hcpcs", "code": "97110", "setting": "outpatient"}],
        "dispensing": [
            {"person_id": 2, "date": day, "system": "ndc", "code": "00054017613", "quantity": 30.0, "days_supply": 15}
        ],
    }  # fmt: skip
    return {name: pl.DataFrame(part, schema=TABLES[name].schema) for name, part in rows.items()}


@pytest.fixture
def store(tmp_path):
    return Store.open(write_store(tmp_path / "store", small_tables()))


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    return count(Store.open(write_store(tmp_path_factory.mktemp("small") / "store", small_tables())), BOOK)


def status(result, rule):
    return next(one.status for one in result.judgements if one.rule.id == rule)


def reason(result, rule):
    return next(one.reason for one in result.judgements if one.rule.id == rule)


# --------------------------------------------------------------------------------------------- thresholds


def rule(**threshold):
    return Rule(id="r", family="f", table="t", what="w", severity="error", repair="p", source="s", **threshold)


@pytest.mark.parametrize(
    ("threshold", "offending", "examined", "kept"),
    [
        ({"max_count": 0}, 0, 5, True),
        ({"max_count": 0}, 1, 5, False),
        ({"max_count": 2}, 2, 5, True),
        ({"max_share": 0.3}, 3, 10, True),  # exactly the threshold is within it; 0.1 * 3 would not be
        ({"max_share": 0.3}, 31, 100, False),
        ({"max_share": 0.0}, 1, 10**12, False),
        ({"between": (0.5, 2.0)}, 1, 2, True),
        ({"between": (0.5, 2.0)}, 49, 100, False),
        ({"between": (0.5, 2.0)}, 201, 100, False),
    ],
)
def test_a_threshold_allows_its_own_value(threshold, offending, examined, kept):
    assert rule(**threshold).allows(offending, examined) is kept


@pytest.mark.parametrize(
    "threshold", [{}, {"max_count": 1, "max_share": 0.1}, {"max_count": -1}, {"max_share": float("nan")},
                  {"between": (2.0, 1.0)}, {"max_count": 1.5}],
)  # fmt: skip
def test_a_rule_has_exactly_one_sensible_threshold(threshold):
    with pytest.raises(ValueError, match=r"exactly one|greater than|finite|between|valid integer"):
        rule(**threshold)


def with_thresholds(tmp_path, text):
    path = tmp_path / "thresholds.toml"
    path.write_text(text)
    return path


def test_thresholds_are_tried_on_saved_counts_without_the_store(taken, tmp_path):
    saved = tmp_path / "counts.json"
    saved.write_text(taken.to_json())
    assert Counts.read(saved) == taken
    # one of two persons has a diagnosis on the only day: 0.25 diagnoses per person-year are within 0.2 to 100
    assert status(recheck(saved), "diagnosis_per_person_year") is Status.PASSED
    stricter = with_thresholds(tmp_path, "[utilisation.rules]\ndiagnosis_per_person_year = { between = [1, 9] }")
    assert status(recheck(saved, stricter), "diagnosis_per_person_year") is Status.WARNED
    error = with_thresholds(
        tmp_path, '[utilisation.rules]\ndiagnosis_per_person_year = { between = [1, 9], severity = "error" }'
    )
    assert status(recheck(saved, error), "diagnosis_per_person_year") is Status.FAILED


def test_a_threshold_of_another_kind_replaces_the_shipped_one(tmp_path):
    changed = Rulebook.read(with_thresholds(tmp_path, "[keys.rules]\nperson_duplicate = { max_share = 0.5 }"))
    duplicate = next(rule for rule in changed.rules if rule.id == "person_duplicate")
    assert (duplicate.max_count, duplicate.max_share) == (None, 0.5)


def test_a_silenced_rule_is_off_and_not_passed(taken, tmp_path):
    off = with_thresholds(tmp_path, '[keys.rules]\nperson_duplicate = { severity = "off" }')
    result = recheck(taken, off)
    assert status(result, "person_duplicate") is Status.OFF
    assert "1 off" in str(result)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[keys.rules]\nperson_duplicat = { max_count = 1 }", "did you mean 'person_duplicate'"),
        ("[keyz.rules]\nperson_duplicate = { max_count = 1 }", "did you mean 'keys'"),
        ("[keys]\nperson_duplicate = { max_count = 1 }", "keys.person_duplicate: unknown"),
        ("[keys.rules]\nperson_duplicate = { max_counts = 1 }", "did you mean 'max_count'"),
        ("[keys.rules]\nperson_duplicate = { max_count = -1 }", "person_duplicate.max_count"),
        ('[keys.rules]\nperson_duplicate = { severity = "mild" }', "person_duplicate.severity"),
        ("[keys.rules]\nperson_duplicate = 3", "give tables"),
        ("keys = 3", "give tables"),
        ("[definitions]\noldest_ages = 100", "did you mean 'oldest_age'"),
        ('[definitions]\noldest_age = "100"', "give a value like 115"),
        ("[definitions]\noldest_age = true", "give a value like 115"),
        ("[definitions]\noldest_age = 110.5", "give a value like 115"),
        ("[definitions]\nearliest_date = 1900", "give a value like 1900-01-01"),
        ("[keys.rules", "is not valid TOML"),
    ],
)
def test_a_fault_in_the_thresholds_names_the_key_and_the_repair(tmp_path, text, told):
    with pytest.raises(StudyError, match=re.escape(told)):
        Rulebook.read(with_thresholds(tmp_path, text))


def test_a_definition_changes_what_is_counted_and_needs_the_store(store, taken, tmp_path):
    older = with_thresholds(tmp_path, "[definitions]\noldest_age = 30")
    # both persons are 39 at the end of the data
    assert status(check(store, older), "person_too_old") is Status.FAILED
    with pytest.raises(StudyError, match="oldest_age"):
        recheck(taken, older)


# ---------------------------------------------------------------------------------- never a pass by silence


def with_sql(monkeypatch, family, sql):
    real = counting.sql_of
    monkeypatch.setattr(counting, "sql_of", lambda name: sql if name == family else real(name))


NO_VALUES = "select rule, null::varchar as part, {} as offending, {} as examined from (values {}) t(rule)"
TABLE_RULES = "('person_table_empty'), ('enrolment_table_empty'), ('event_tables_empty')"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("selec 1", "does not run"),
        ("select * from no_such_table", "does not run"),
        ("select no_such_column from person", "does not run"),
        ("select $no_such_parameter", "unknown parameters"),
        ("select 1; select 2", "not exactly one select"),
        ("drop view person", "not exactly one select"),
        ("select 'person_table_empty' as rule, 0 as offending, 1 as examined", "does not return the columns"),
        (NO_VALUES.format("0", "1", "('person_table_empty')"), "no count"),
        (NO_VALUES.format("0", "1", "('person_duplicate')"), "does not list"),
        (NO_VALUES.format("null", "1", TABLE_RULES), "null"),
        (NO_VALUES.format("0", "null", TABLE_RULES), "null"),
        (NO_VALUES.format("-1", "1", TABLE_RULES), "negative"),
        (NO_VALUES.format("0.5::double", "1", TABLE_RULES), "null"),
        (NO_VALUES.format("1", "0", TABLE_RULES), "nothing examined"),
        (NO_VALUES.format("0", "1", f"{TABLE_RULES}, ('event_tables_empty')"), "two counts"),
        (NO_VALUES.format("'CANARY'::bigint", "1", TABLE_RULES), "stopped half-way"),
        ("select * from read_text('/etc/hostname')", "stopped half-way"),
        ("select rule, part, offending, examined from 'https://example.org/x.parquet'", ""),
    ],
)
def test_a_rule_whose_sql_breaks_has_failed(store, monkeypatch, sql, told):
    with_sql(monkeypatch, "tables", sql)
    result = judge(count(store, BOOK, families=["tables", "keys"]), BOOK)
    assert status(result, "event_tables_empty") is Status.NOT_RUN
    assert told in reason(result, "event_tables_empty")
    assert not result.passed
    assert result.exit_code == 3
    assert status(result, "person_duplicate") is Status.PASSED  # the other families are counted all the same
    assert "CANARY" not in result.to_json()


def test_a_rule_of_severity_warning_that_cannot_run_is_a_failure_too(store, monkeypatch):
    with_sql(monkeypatch, "population", "selec")
    result = check(store)
    assert {one.rule.severity for one in result.having(Status.NOT_RUN)} == {"warning"}
    assert result.exit_code == 3


def test_counts_without_a_rule_do_not_pass_it(taken):
    fewer = taken.model_copy(update={"counts": tuple(row for row in taken.counts if row.rule != "person_duplicate")})
    assert status(recheck(fewer), "person_duplicate") is Status.NOT_RUN


@pytest.mark.parametrize("damage", ["missing", "truncated", "not_parquet"])
def test_a_file_that_cannot_be_read_fails_every_rule_that_reads_it(store, damage):
    path = store.path / store.manifest.tables["dispensing"][0].path
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"CANARY" * 100)
    result = check(store)
    assert status(result, "dispensing_quantity_not_positive") is Status.NOT_RUN
    assert "main.dispensing" in reason(result, "dispensing_quantity_not_positive")
    assert status(result, "person_birth_too_early") is Status.PASSED
    assert "CANARY" not in result.to_json()


def test_a_table_that_was_not_supplied_is_not_applicable(tmp_path):
    store = Store.open(write_store(tmp_path / "store", small_tables()))
    supplied = {name: files for name, files in store.manifest.tables.items() if name != "dispensing"}
    result = check(Store(store.path, store.manifest.model_copy(update={"tables": supplied})))
    assert status(result, "dispensing_quantity_not_positive") is Status.NOT_APPLICABLE
    assert result.passed


def test_a_store_without_persons_is_told_so_once(tmp_path):
    result = check(write_store(tmp_path / "store", small_tables() | {"person": small_tables()["person"].clear()}))
    assert [one.rule.id for one in result.having(Status.FAILED)] == ["person_table_empty"]


def test_a_handful_of_persons_is_no_population(tmp_path):
    # both are women, all of whose 300 diagnoses are from one January: chance, or a demo, and no feed that stopped
    tables = small_tables()
    day = [dt.date(2019, 1, 1)] * 300
    tables["diagnosis"] = pl.concat([tables["diagnosis"]] * 300).with_columns(date=pl.Series(day))
    tables["person"] = tables["person"].with_columns(sex=pl.lit("female"))
    result = check(write_store(tmp_path / "store", tables))
    for rule in ("person_sex_imbalance", "diagnosis_month_missing", "diagnosis_january_first"):
        assert status(result, rule) is Status.NOT_APPLICABLE


def test_a_first_snapshot_has_no_drift_and_a_second_one_has(store):
    first = check(store)
    assert status(first, "diagnosis_rows_lost") is Status.NOT_APPLICABLE
    assert first.counts.previous is None
    files = write_tables(small_tables() | {"diagnosis": small_tables()["diagnosis"].clear()}, store.path, 2)
    commit(store.path, 2, files, dt.date(2020, 1, 1))
    second = check(store.path)
    assert second.counts.previous == 1
    assert status(second, "diagnosis_rows_lost") is Status.FAILED


def test_a_damaged_previous_manifest_fails_the_drift_rules(store):
    commit(store.path, 2, write_tables(small_tables(), store.path, 2), dt.date(2020, 1, 1))
    path_of(store.path, 1).write_text("{}")
    result = check(store.path)
    assert status(result, "diagnosis_rows_lost") is Status.NOT_RUN
    assert "previous" in reason(result, "diagnosis_rows_lost")
    assert status(result, "person_duplicate") is Status.PASSED


@pytest.mark.parametrize("text", ["", "{}", '{"format": 9}', "not json"])
def test_a_file_without_counts_is_refused(tmp_path, text):
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(InputRefusedError, match=r"counts\.json"):
        recheck(tmp_path / "counts.json")


def test_counts_taken_by_other_sql_are_not_judged(taken):
    with pytest.raises(StudyError, match="another version"):
        recheck(taken.model_copy(update={"counted_by": "0" * 64}))


def test_counts_of_another_format_are_refused(taken, tmp_path):
    (tmp_path / "counts.json").write_text(taken.model_copy(update={"format": 2}).to_json())
    with pytest.raises(InputRefusedError, match="format 2"):
        recheck(tmp_path / "counts.json")


# --------------------------------------------------------------------------------------------------- results


def test_the_worst_part_is_shown_and_all_broken_parts_are_counted(taken):
    parts = tuple(
        Count(rule="diagnosis_null_share", part=part, offending=empty, examined=1000)
        for part, empty in (("position 2016", 300), ("position 2017", 900), ("setting 2016", 100))
    )
    others = tuple(row for row in taken.counts if row.rule != "diagnosis_null_share")
    found = next(
        one for one in recheck(taken.model_copy(update={"counts": others + parts})).judgements
        if one.rule.id == "diagnosis_null_share"
    )  # fmt: skip
    assert (found.part, found.offending, found.parts_examined, found.parts_broken) == ("position 2017", 900, 3, 2)


def test_warnings_alone_pass(taken):
    rows = tuple(row for row in taken.counts if row.rule != "person_silent")
    silent = (Count(rule="person_silent", part=None, offending=9, examined=10),)
    result = recheck(taken.model_copy(update={"counts": rows + silent}))
    assert status(result, "person_silent") is Status.WARNED
    assert (result.passed, result.exit_code) == (True, 0)


def test_counts_do_not_depend_on_buckets_or_the_order_of_rows(tmp_path, monkeypatch):
    tables = {name: pl.concat([frame, frame]) for name, frame in small_tables().items()}
    two = count(Store.open(write_store(tmp_path / "two", tables)), BOOK)
    monkeypatch.setattr("check_stores.BUCKETS", 1)
    reversed_rows = {name: part.reverse() for name, part in tables.items()}
    one = count(Store.open(write_store(tmp_path / "one", reversed_rows)), BOOK)
    assert one == two


def test_the_table_has_one_row_per_rule_and_the_same_counts_give_the_same_bytes(taken):
    result, again = judge(taken, BOOK), judge(taken, BOOK)
    frame = result.to_polars()
    assert frame.schema == SCHEMA
    assert frame["rule"].to_list() == [rule.id for rule in BOOK.rules]
    assert result.to_json() == again.to_json()
    assert page(result) == page(again)


def test_the_section_is_inside_the_page_and_loads_nothing(taken):
    result = judge(taken, BOOK)
    assert str(section(result)) in page(result)
    assert not re.search(r"(src|href)=", page(result))


def test_files_are_written_whole_and_only_for_the_owner(store, tmp_path):
    os.umask(0o077)
    check(store, out=tmp_path / "out")
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["check.csv", "check.html", "check.json", "counts.json"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in written)
    assert json.loads((tmp_path / "out/check.json").read_text())["passed"] is True


def test_nothing_is_left_in_the_store_and_what_a_dead_run_left_is_swept_by_age(store):
    private = store.path / "private"
    (private / "check-old").mkdir()
    os.utime(private / "check-old", (0, time.time() - 90_000))
    (private / "check-running").mkdir()
    check(store)
    assert [path.name for path in private.iterdir()] == ["check-running"]


# ------------------------------------------------------------------------------------------ canaries and docs

CANARIES = [f"KANARIE{number:03d}" for number in range(200)]


def canary_tables():
    """Return persons all of whose texts, numbers and dates are found nowhere else, every rule broken that they can."""
    ids = [987_650_000_000 + number for number in range(200)]
    day = dt.date(1777, 7, 17)
    person = pl.DataFrame(
        {
            "person_id": ids, "birth_date": day, "sex": CANARIES, "death_date": dt.date(1776, 6, 16),
            "region": CANARIES, "deprivation": CANARIES,
        }
    )  # fmt: skip
    events = pl.DataFrame(
        {
            "person_id": ids, "date": day, "end_date": dt.date(1775, 5, 15), "system": CANARIES, "code": CANARIES,
            "setting": CANARIES, "position": -31_234, "quantity": -98_765.4321, "days_supply": -87_654_321,
            "start_date": day,
        }
    )  # fmt: skip
    known = {"enrolment", "diagnosis", "procedure", "dispensing"}
    # 3 × so that years have enough rows to be named
    frames = dict.fromkeys(known, pl.concat([events] * 3)) | {"person": person}
    return {
        name: frames[name].select(list(table.columns)).cast(dict(table.schema)) if name in frames
        else pl.DataFrame(schema=table.schema)
        for name, table in TABLES.items()
    }  # fmt: skip


FORBIDDEN = re.compile(r"KANARIE|98765\d{7}|1777-0?7|1776-0?6|1775-0?5|31234|98765\.4|87654321")


@pytest.mark.parametrize("fault", [None, "missing", "sql"])
def test_no_value_of_a_person_is_in_anything_written_or_printed(tmp_path, monkeypatch, capfd, caplog, fault):
    store = write_store(tmp_path / "store", canary_tables())
    if fault == "missing":
        (store / Store.open(store).manifest.tables["person"][0].path).write_bytes(b"KANARIE000")
    if fault == "sql":
        with_sql(monkeypatch, "tables", "select code::bigint, system, 1, 1 from diagnosis")
        with_sql(monkeypatch, "keys", "select error(code), system, 1, 1 from diagnosis")
    result = check(store, out=tmp_path / "out")
    show(result, Console(width=250), every=True)
    assert not result.passed
    texts = [path.read_text() for path in (tmp_path / "out").iterdir()]
    printed = capfd.readouterr()
    for text in [*texts, printed.out, printed.err, caplog.text, repr(result)]:
        assert not FORBIDDEN.search(text)


def test_the_documentation_lists_every_rule_as_it_is(root):
    assert (root / "docs" / "data_quality.md").read_text() == catalogue()


def command(*arguments, cwd):
    call = [sys.executable, "-m", "cohort.cli", *map(str, arguments)]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_commands_of_the_documentation_run_as_printed(store, root, tmp_path):
    text = (root / "docs" / "data_quality.md").read_text()
    (tmp_path / "thresholds.toml").write_text(re.search(r"```toml\n(.*?)```", text, flags=re.DOTALL).group(1))
    commands = re.findall(r"^    cohort (.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 3
    for line in commands:
        done = command(*line.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"{len(BOOK.rules)} rules" in done.stdout
    assert "1 off" in done.stdout
    assert (tmp_path / "quality" / "check.html").is_file()


def test_a_store_that_does_not_pass_ends_with_3_and_says_where(tmp_path):
    tables = small_tables()
    tables["person"] = pl.concat([tables["person"], tables["person"]])
    write_store(tmp_path / "store", tables)
    done = command("check", "store", cwd=tmp_path)
    assert done.returncode == 3
    assert re.search(r"person_duplicate +failed +2 of 4 \(50\.00 %\) +none", done.stdout.replace("\u202f", " "))


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("nothing",), 3), (("--counts", "nothing.json"), 3)])
def test_without_a_store_or_counts_it_says_so(tmp_path, arguments, code):
    done = command("check", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
