"""What a bucket is shown: the sources that the tables in turn name, and those without a person read once for all."""

import pyarrow.parquet as pq
import pytest
from ingest_helpers import DIAGNOSIS, LAYOUT, write_extract, write_layout

from cohort.ingest import load as loading
from cohort.ingest.chunks import Chunk
from cohort.ingest.layouts import Layout
from cohort.ingest.load import ingest
from cohort.ingest.views import Shown

PEOPLE = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % number for number in range(20))
VISITS = b"ID,DAY,CODE\n" + b"".join(b"p%d,2020-01-01,low back pain\n" % number for number in range(20))
TERMS = """
[sources.terms]
files = ["terms.csv"]
[sources.terms.columns]
TERM = "text"
ICD = "text"
"""
TRANSLATED = (
    "select ID as person, DAY as date, DAY as end_date, 'icd10' as system, ICD as code "
    "from extract.visits join extract.terms on TERM = CODE"
)


def viewed(folder, **views):
    """Return a layout with these views."""
    names = ", ".join(f'"{name}"' for name in views)
    return Layout.read(write_layout(folder / "viewed", f"views = [{names}]\n{LAYOUT}", **views))


def test_a_statement_shows_what_it_names_and_what_its_views_rest_on(tmp_path):
    layout = viewed(tmp_path, grown='select * from "Extract"."PEOPLE"', elder="select * from extract.grown")
    shown = Shown.by(layout, ["select ID as person from extract.elder"], claims=False)
    assert shown.names == {"elder", "grown", "people"}
    assert Shown.by(layout, [DIAGNOSIS], claims=False).names == {"visits"}


def test_a_source_without_a_person_is_read_once_for_all_buckets(tmp_path, monkeypatch):
    read, part = [], Chunk.part

    def counted(self, number, columns=None):
        read.append(self.person)
        return part(self, number, columns)

    monkeypatch.setattr(Chunk, "part", counted)
    extract = write_extract(tmp_path / "extract", PEOPLE, VISITS)
    (extract / "terms.csv").write_bytes(b"TERM,ICD\nlow back pain,M545\n")
    layout = write_layout(tmp_path / "tiny", LAYOUT + TERMS, diagnosis=TRANSLATED)
    store = ingest(extract, layout, tmp_path / "store", buckets=8)
    assert read.count(None) == 1
    assert store.scan("diagnosis").collect()["code"].to_list() == ["M545"] * 20


def test_only_tables_that_ask_for_the_end_of_the_data_wait_for_it(tmp_path):
    told = []
    extract, layout = write_extract(tmp_path / "extract", PEOPLE, VISITS), write_layout(tmp_path / "tiny")
    ingest(extract, layout, tmp_path / "both", buckets=4, progress=lambda *step: told.append(step))
    assert told[-1] == ("write", 8, 8)  # enrolment ends with the data
    (layout / "enrolment.sql").unlink()
    ingest(extract, layout, tmp_path / "events", buckets=4, progress=lambda *step: told.append(step))
    assert told[-1] == ("write", 4, 4)


@pytest.mark.parametrize(("columns", "buckets"), [(2, 2), (31, 8)])
def test_wide_lines_make_more_buckets(tmp_path, monkeypatch, columns, buckets):
    # 20 lines count for 20 rows, or, with 32 cells each, for 80; visits are not delivered
    monkeypatch.setattr(loading, "ROWS_PER_BUCKET", 10)
    wide = LAYOUT.replace(
        'SEX = { type = "text", optional = true }', f'X = {{ type = "text", repeat = {columns - 1} }}'
    )
    header = ",".join(["ID", "BORN", *(f"X{number}" for number in range(1, columns))])
    lines = [f"p{number},1960-01-01{',' * (columns - 1)}" for number in range(20)]
    extract = write_extract(tmp_path / "extract", "\n".join([header, *lines, ""]).encode())
    layout = write_layout(tmp_path / "wide", wide, person="select ID as person, BORN as birth_date from extract.people")
    assert ingest(extract, layout, tmp_path / "store").buckets == buckets


def test_numbers_and_dates_have_statistics_and_text_has_none(tmp_path):
    extract = write_extract(tmp_path / "extract", PEOPLE, VISITS)
    store = ingest(extract, write_layout(tmp_path / "tiny"), tmp_path / "store", buckets=1)
    (file,) = store.manifest.tables["diagnosis"]
    group = pq.read_metadata(tmp_path / "store" / file.path).row_group(0)
    known = {group.column(at).path_in_schema: group.column(at).is_stats_set for at in range(group.num_columns)}
    text = dict.fromkeys(("system", "code", "setting"), False)
    assert known == dict.fromkeys(("person_id", "date", "end_date", "position"), True) | text
