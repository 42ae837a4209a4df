"""Layouts: the shipped ones are well-formed, a faulty one names its fault, and the README's example runs as printed."""

import datetime as dt
import re

import duckdb
import polars as pl
import pytest
from ingest_helpers import LAYOUT, write_layout

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.layouts import Layout, sql_root
from cohort.ingest.load import ingest
from cohort.store.tables import SETTINGS, SEXES

SQL = sorted(sql_root().rglob("*.sql"))


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.relative_to(sql_root()).as_posix())
def test_every_sql_file_says_what_it_is_and_is_one_select(path):
    text = path.read_text()
    heads = re.findall(r"^-- (\w+): ", text, flags=re.MULTILINE)
    assert heads == ["what", "grain", "reads", "params", "source"]
    (statement,) = duckdb.extract_statements(text)
    macro = path.name in ("spelled_code.sql", "unusable_identifier.sql")  # called where texts are distinct
    assert statement.type == (duckdb.StatementType.CREATE if macro else duckdb.StatementType.SELECT)
    declared = re.search(r"^-- params: (.*(?:\n--  .*)*)", text, flags=re.MULTILINE)[1]
    assert set(re.findall(r"\$(\w+)", declared)) == set(statement.named_parameters)
    code = re.sub(r"--.*|'[^']*'", "", text)
    keywords = r"\b(SELECT|FROM|WHERE|JOIN|GROUP|ORDER|BY|AS|CASE|WHEN|UNION|WITH|AND|OR|ON)\b"
    assert not re.search(keywords, code), "keywords are lower case"


@pytest.mark.parametrize("path", sorted((sql_root() / "codes").glob("*.csv")), ids=lambda path: path.stem)
def test_code_tables_use_the_dictionary_and_name_their_source(path):
    table = pl.read_csv(path, infer_schema=False)
    assert table["code"].is_unique().all()
    assert table["source"].null_count() == 0
    if "setting" in table.columns:
        assert set(table["setting"]) <= set(SETTINGS)
    if "sex" in table.columns:
        assert set(table["sex"]) <= set(SEXES)


def test_shipped_layouts_are_read_by_name():
    names = [folder.name for folder in (sql_root() / "layouts").iterdir()]
    assert {"synthea", "tuva"} <= set(names)
    for name in names:
        layout = Layout.read(name)
        assert layout.name == name
        assert any(source.person for source in layout.sources.values())


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ("name = 'x'", r"layout\.toml, description"),
        (LAYOUT + "\n[extra]\n", r"layout\.toml, extra"),
        (LAYOUT.replace('"date"', '"day"'), r"sources\.people\.columns\.BORN\.type"),
        (LAYOUT.replace("BORN", '"BO RN"'), r"columns\.BO RN"),
        (LAYOUT + "[dialect]\ndelimiter = ';;'\n", r"dialect\.delimiter"),
        (
            LAYOUT.replace("[sources.people]", "views = ['nowhere']\n[sources.people]", 1),
            r"without a file: nowhere\.sql",
        ),
        (LAYOUT.replace('"person"', '"text"'), "one column of type person"),
        (LAYOUT.replace('BORN = "date"', 'BORN = "person"'), "one column of type person"),
        ("name = ", r"layout\.toml"),
    ],
)
def test_a_faulty_declaration_names_file_and_key(tmp_path, declaration, words):
    with pytest.raises(StudyError, match=words):
        Layout.read(write_layout(tmp_path / "x", declaration))


def test_an_unknown_layout_lists_the_shipped_ones():
    with pytest.raises(StudyError, match=r"shipped are .*synthea, tuva"):
        Layout.read("nowhere")


def test_the_sql_of_an_installed_package_comes_first(tmp_path, monkeypatch):
    installed = tmp_path / "site" / "cohort"
    (installed / "_sql").mkdir(parents=True)
    monkeypatch.setattr("cohort.shipped.resources.files", lambda _: installed)
    assert sql_root() == installed / "_sql"
    (installed / "_sql").rmdir()
    with pytest.raises(InputRefusedError, match="install cohort again"):
        sql_root()


def test_the_example_of_the_readme_runs_as_printed(tmp_path, monkeypatch):
    readme = (sql_root() / "README.md").read_text()
    for name, content in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    store = ingest(tmp_path / "extract", tmp_path / "clinic", tmp_path / "store", max_reject_rate=0.3)
    printed = re.search(r"^```text\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)[1]
    assert str(store.account) == printed.strip()
    by_hand = re.search(r"^```sql\n(create schema.*?)\.read (\S+)\n^```$", readme, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as shell:
        shell.execute(by_hand[1])
        assert len(shell.execute((tmp_path / by_hand[2]).read_text()).fetchall()) == 4
    back_pain = store.scan("diagnosis").drop("person_id").collect()
    assert back_pain.select("date", "code", "setting").sort("date").rows() == [
        (dt.date(2020, 2, 5), "M545", "outpatient"),
        (dt.date(2021, 8, 11), "M545", "inpatient"),
    ]
    assert store.scan("person").collect()["sex"].sort().to_list() == ["female", "male"]
    spans = store.scan("enrolment").select("start_date", "end_date").sort("end_date").collect().rows()
    assert spans == [
        (dt.date(2020, 1, 1), dt.date(2021, 6, 30)),
        (dt.date(2020, 1, 1), dt.date(2021, 8, 11)),  # open end: the last date in the data
    ]
