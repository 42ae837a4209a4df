"""Columns mapped to store tables in layout.toml: what may be written, and what becomes of each value."""

import datetime as dt
import re
import stat

import polars as pl
import pytest

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.layouts import Layout, sql_root
from cohort.ingest.load import ingest

HEAD = """
name = "clinic"
description = "mapped columns"
[dialect]
delimiter = ";"
date_format = ["%d.%m.%Y"]
missing = ["k.A."]
"""
VISITS = (
    HEAD
    + """
[tables.diagnosis]
files = ["visits.csv"]
person = "Patient-ID"
[tables.diagnosis.columns]
date = "Day of visit"
system = { constant = "icd10" }
code = "ICD"
setting = { column = "Place", words = { ward = "inpatient", practice = "outpatient" } }
position = "No."
"""
)
VISIT_HEADER = "No.;Place;ICD;Day of visit;Patient-ID\n"
SCORES = (
    HEAD
    + """
[tables.measurement]
files = ["scores.csv"]
person = "id"
[tables.measurement.columns]
{columns}
[tables.measurement.values]
{values}
"""
)
DAY = dt.date


def load(tmp_path, declaration, files, **options):
    layout, extract = tmp_path / "layout", tmp_path / "extract"
    layout.mkdir()
    extract.mkdir()
    (layout / "layout.toml").write_text(declaration)
    for name, text in files.items():
        (extract / name).write_text(text)
    return ingest(extract, layout, tmp_path / "store", **options)


def rows(store, table, *columns):
    return sorted(store.scan(table).select(columns).collect().rows(), key=str)


def test_columns_constants_words_and_headers_that_are_no_plain_names(tmp_path):
    text = VISIT_HEADER + "1;ward;m54.5;01.02.2020;A\n;home;M79.7;02.02.2020;A\n2;k.A.;G43;03.02.2020;B\n"
    store = load(tmp_path, VISITS, {"visits.csv": text})
    assert rows(store, "diagnosis", "date", "end_date", "system", "code", "setting", "position") == [
        (DAY(2020, 2, 1), DAY(2020, 2, 1), "icd10", "M545", "inpatient", 1),
        (
            DAY(2020, 2, 2),
            DAY(2020, 2, 2),
            "icd10",
            "M797",
            "home",
            None,
        ),  # a word that is not listed stands for itself
        (DAY(2020, 2, 3), DAY(2020, 2, 3), "icd10", "G43", "unknown", 2),
    ]


def test_a_bad_cell_is_named_as_the_supplier_names_it(tmp_path):
    text = VISIT_HEADER + "1;ward;M54;01.02.2020;A\n1;ward;M54;31.02.2020;A\n1;ward;M54;01.02.2020;\n"
    store = load(tmp_path, VISITS, {"visits.csv": text}, max_reject_rate=0.9)
    assert store.account.files[0].reasons == {"missing:Patient-ID": 1, "unreadable:Day of visit": 1}


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        ('date = "day"', "nrs = {}", [("NRS", DAY(2020, 1, 31), 3.0)]),
        ('date = "day"\ninstrument = { constant = "NRS" }', "nrs = {}", [("NRS", DAY(2020, 1, 31), 3.0)]),
        (
            "",
            'nrs = { date = "day" }\nmm = { date = "later" }',
            [("NRS", DAY(2020, 1, 31), 3.0), ("mm", DAY(2020, 3, 1), 35.0)],
        ),
        ('date = { origin = "day", unit = "months" }', "nrs = { plus = 1 }", [("NRS", DAY(2020, 2, 29), 3.0)]),
        ('date = { origin = "day", unit = "days" }', 'nrs = { plus = "week" }', [("NRS", DAY(2020, 2, 6), 3.0)]),
        ('date = { origin = "day", unit = "weeks" }', 'nrs = { plus = "week" }', [("NRS", DAY(2020, 3, 13), 3.0)]),
        ('date = { origin = 2020-02-29, unit = "years" }', "nrs = { plus = 1 }", [("NRS", DAY(2021, 2, 28), 3.0)]),
        (
            'date = "day"',
            'mm = { instrument = { constant = "NRS" }, divide_by = 10 }',
            [("NRS", DAY(2020, 1, 31), 3.5)],
        ),
        ('date = "day"', "empty = {}\nnrs = {}", [("NRS", DAY(2020, 1, 31), 3.0)]),
    ],
)
def test_wide_values(tmp_path, columns, values, expected):
    declaration = SCORES.replace("{columns}", columns).replace("{values}", values)
    text = "id;day;later;week;nrs;mm;empty\n1;31.01.2020;01.03.2020;6;3;35;k.A.\n"
    store = load(tmp_path, declaration, {"scores.csv": text})
    assert rows(store, "measurement", "instrument", "date", "value") == expected


def test_a_word_for_a_number_that_is_not_listed_is_rejected(tmp_path):
    declaration = (
        HEAD
        + """
[tables.measurement]
files = ["scores.csv"]
person = "id"
[tables.measurement.columns]
date = "day"
instrument = { constant = "headache" }
value = { column = "pain", words = { yes = "1", no = "0" } }
"""
    )
    text = "id;day;pain\n1;01.01.2020;yes\n1;02.01.2020;no\n1;03.01.2020;maybe\n1;04.01.2020;\n"
    store = load(tmp_path, declaration, {"scores.csv": text}, max_reject_rate=0.3)
    assert rows(store, "measurement", "date", "value") == [(DAY(2020, 1, 1), 1.0), (DAY(2020, 1, 2), 0.0)]
    assert store.account.files[0].reasons == {"unreadable:pain": 1}


NRS = SCORES.replace("{columns}", 'date = "day"').replace(
    "{values}", 'NRS = {}\nvas = { instrument = { constant = "VAS" } }'
)
PAIN = "id;day;NRS;vas\n1;01.01.2020;0;100\n2;01.01.2020;10;101\n3;01.01.2020;10.5;0\n4;01.01.2020;-1;-0.5\n"


def test_values_outside_the_plausible_range_are_rejected_one_by_one_and_counted(tmp_path):
    store = load(tmp_path, NRS, {"scores.csv": PAIN}, max_reject_rate=0.5)
    assert rows(store, "measurement", "instrument", "value") == [
        ("NRS", 0.0),
        ("NRS", 10.0),
        ("VAS", 0.0),
        ("VAS", 100.0),
    ]
    count = store.account.tables["measurement"]
    assert (count.supplied, count.stored, count.rejected) == (8, 4, {"implausible:NRS": 2, "implausible:VAS": 2})
    assert count.adds_up
    (rejects,) = (tmp_path / "store" / "private" / "rejects").rglob("*.parquet")
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert rejects.name == "measurement-0000.parquet"
    assert sorted(pl.read_parquet(rejects).select("reason", "value").rows()) == [
        ("implausible:NRS", -1.0),
        ("implausible:NRS", 10.5),
        ("implausible:VAS", -0.5),
        ("implausible:VAS", 101.0),
    ]
    assert "4 stored + 0 duplicates + 0 superseded + 0 incomplete + 2 implausible:NRS + 2 implausible:VAS" in str(
        store.account
    )


def test_too_many_implausible_values_refuse_the_load(tmp_path):
    with pytest.raises(
        InputRefusedError, match=r"measurement: 4 of 8 rows rejected \(implausible:NRS 2, implausible:VAS 2\)"
    ):
        load(tmp_path, NRS, {"scores.csv": PAIN}, max_reject_rate=0.4)


def test_a_layout_declares_its_own_range_in_place_of_the_shipped_one(tmp_path):
    store = load(tmp_path, NRS + "[plausible]\nnrs = [-1, 11]\n", {"scores.csv": PAIN}, max_reject_rate=0.5)
    assert store.account.tables["measurement"].rejected == {"implausible:VAS": 2}


@pytest.mark.parametrize("change", [("id;day", "other;day"), ("1;01.01.2020", "1;2020-01-01")])
def test_a_file_that_is_not_as_mapped_is_refused(tmp_path, change):
    with pytest.raises(InputRefusedError):
        load(tmp_path, NRS, {"scores.csv": PAIN.replace(*change)})


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        (VISITS.replace("tables.diagnosis", "tables.diagnoses"), "tables.diagnoses is no store table"),
        (VISITS.replace('code = "ICD"', ""), "tables.diagnosis: lacks column code"),
        (VISITS.replace("position", "rank"), "tables.diagnosis: has unknown column rank"),
        (VISITS.replace('"Patient-ID"', "{ record = true, column = 'x' }"), "either a column or `record = true`"),
        (VISITS.replace('"Patient-ID"', "{}"), "either a column or `record = true`"),
        (VISITS + "[tables.diagnosis.values]\nx = {}\n", "only measurement takes `values`"),
        (SCORES.replace("{columns}", "").replace("{values}", "nrs = {}"), "tables.measurement: lacks column date"),
        (HEAD, "maps no store table"),
    ],
)
def test_a_faulty_mapping_is_named(tmp_path, declaration, words):
    (tmp_path / "layout.toml").write_text(declaration)
    with pytest.raises(StudyError, match=words):
        Layout.read(tmp_path)


def test_several_files_fill_one_table(tmp_path):
    declaration = (
        HEAD
        + """
[[tables.measurement]]
files = ["pain.csv"]
person = "id"
columns = { date = "day", instrument = { constant = "NRS" }, value = "nrs" }
[[tables.measurement]]
files = ["mood.csv"]
person = "patient"
columns = { date = "when", instrument = { constant = "BDI" }, value = "score" }
"""
    )
    files = {"pain.csv": "id;day;nrs\n1;01.01.2020;4\n", "mood.csv": "patient;when;score\n1;02.01.2020;17\n"}
    store = load(tmp_path, declaration, files)
    assert rows(store, "measurement", "instrument", "date", "value") == [
        ("BDI", DAY(2020, 1, 2), 17.0),
        ("NRS", DAY(2020, 1, 1), 4.0),
    ]
    assert store.scan("measurement").collect()["person_id"].n_unique() == 1


def test_a_table_is_mapped_or_written_not_both(tmp_path):
    (tmp_path / "layout.toml").write_text(VISITS)
    (tmp_path / "diagnosis.sql").write_text("select 1 as person")
    with pytest.raises(StudyError, match="diagnosis is both mapped"):
        Layout.read(tmp_path)


def test_the_mapping_of_the_readme_runs_as_printed(tmp_path):
    readme = (sql_root() / "README.md").read_text()
    for name, content in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    store = ingest(tmp_path / "diaries", tmp_path / "diary", tmp_path / "store", max_reject_rate=0.3)
    printed = re.findall(r"^```text\n(diary.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    assert [str(store.account)] == [text.strip() for text in printed]
    assert rows(store, "measurement", "date", "value") == [
        (DAY(2020, 1, 31), 7.0),
        (DAY(2020, 2, 14), 8.0),
        (DAY(2020, 2, 29), 6.0),
        (DAY(2020, 3, 13), 3.0),  # six weeks after 31 January of a leap year
    ]
    assert store.scan("measurement").collect()["person_id"].n_unique() == 3
