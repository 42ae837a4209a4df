"""Ingestion of small extracts: every line has one fate, and every refusal leaves the store as it was."""

import datetime as dt
import gzip
import stat
from functools import partial

import polars as pl
import pyarrow as pa
import pytest
from ingest_helpers import ENROLMENT, LAYOUT, write_extract, write_layout

import cohort
import cohort.ingest
from cohort.errors import InputRefusedError, LockedError, StudyError
from cohort.ingest.load import ingest
from cohort.store.files import locked
from cohort.store.store import Store
from cohort.store.tables import TABLES, bucket

PEOPLE = b"ID,BORN,SEX\n1,1960-05-17,male\n2,1972-02-29,female\n"


def load(tmp_path, people=PEOPLE, visits=b"", layout=None, **options):
    extract = write_extract(tmp_path / "extract", people, visits)
    return ingest(extract, layout or write_layout(tmp_path / "tiny"), tmp_path / "store", **options)


def fate(store, name):
    """Return (loaded, reasons) of one file."""
    account = next(file for file in store.account.files if file.name == name)
    assert account.adds_up
    return account.loaded, account.reasons


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"P2,,2020-01-02,", "long_row"),  # DuckDB's strict mode shifts this row silently
        (b"P2,2020-01-02,M545,,,,,,,", "long_row"),
        (b"P2,2020-01-02", "short_row"),
        (b"P2", "short_row"),
        (b"   ", "short_row"),
        (b",2020-01-02,M545", "missing:ID"),
        (b"  ,2020-01-02,M545", "missing:ID"),
        (b"P2,,M545", "missing:DAY"),
        (b"P2,2020-01-02,", "missing:CODE"),
        (b"P2,2020-02-30,M545", "unreadable:DAY"),
        (b"P2,2020-1-2,M545", "unreadable:DAY"),
        (b"P2,01/02/2020,M545", "unreadable:DAY"),
        (b"P2,20200102,M545", "unreadable:DAY"),
        (b"P2,43831,M545", "unreadable:DAY"),
        (b"P2,2020-01-02T10:00:00Z,M545", "unreadable:DAY"),
        (b"P2,0000-00-00,M545", "unreadable:DAY"),
        (b"ID,DAY,CODE", "repeated_header"),
        (b"P\xc2\xa02,2020-01-02,M545", "invisible_character:ID"),  # no-break blank
        (b"P\xe2\x80\x8b2,2020-01-02,M545", "invisible_character:ID"),  # zero-width blank
    ],
)
def test_a_bad_record_is_rejected_with_its_reason_and_line(tmp_path, row, reason):
    store = load(tmp_path, visits=b"ID,DAY,CODE\nP1,2020-01-01,M545\n\n" + row + b"\n", max_reject_rate=0.5)
    assert fate(store, "visits.csv") == (1, {reason: 1})
    assert store.scan("diagnosis").collect().height == 1
    (rejects,) = (tmp_path / "store" / "private" / "rejects").rglob("*.parquet")
    written = pl.read_parquet(rejects)
    assert written.select("file", "line", "reason").rows() == [("visits.csv", 4, reason)]
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in (rejects.parent, *rejects.parents[1:3]))


def test_more_rejects_than_allowed_refuse_the_whole_load(tmp_path):
    with pytest.raises(InputRefusedError, match=r"1 of 2 records rejected \(unreadable:DAY 1\)"):
        load(tmp_path, visits=b"ID,DAY,CODE\nP1,2020-01-01,M545\nP2,2020-02-30,M545\n")
    with pytest.raises(InputRefusedError, match="holds no store"):
        Store.open(tmp_path / "store")


@pytest.mark.parametrize(
    "visits",
    [
        b"CODE,ID,extra,DAY\nM545,P1,x,2020-01-01\n",  # permuted, with a column that is not read
        b"id,day,code\nP1,2020-01-01,M545\n",
        b"ID,DAY,CODE\r\nP1,2020-01-01,M545\r\n",
        b"\xef\xbb\xbfID,DAY,CODE\nP1,2020-01-01,M545\n",
        b'"ID","DAY","CODE"\n"P1","2020-01-01","M54.5"\n',
        b"ID,DAY,CODE\n\nP1,2020-01-01,M545\n\n",
        b"ID,DAY,CODE\n P1 ,2020-01-01, m54.5 \n",
        b'note,ID,DAY,CODE\n"two\nlines, ""quoted""",P1,2020-01-01,M545\n',
    ],
)
def test_the_same_record_in_other_dress_is_the_same_row(tmp_path, visits):
    row = load(tmp_path, visits=visits).scan("diagnosis").drop("person_id").collect().row(0)
    day = dt.date(2020, 1, 1)
    assert row == (day, day, "icd10", "M545", "unknown", None)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"ID,DAY\n", "the header lacks CODE"),
        (b"ID,DAY,CODE,day\n", "columns named twice in the header: DAY"),
        (b"P1,2020-01-01,M545\n", "the header lacks ID, DAY, CODE"),  # a file without a header
    ],
)
def test_a_header_that_lacks_a_column_is_refused(tmp_path, header, words):
    with pytest.raises(InputRefusedError, match=words) as refused:
        load(tmp_path, visits=header + b"P1,2020-01-01,M545,x\n")
    assert "P1" not in str(refused.value)
    assert "M545" not in str(refused.value)


@pytest.mark.parametrize("visits", [b"ID,DAY,CODE\n", b"ID,DAY,CODE\n\n\n"])
def test_a_file_without_records_is_refused(tmp_path, visits):
    with pytest.raises(InputRefusedError, match="a header and no records"):
        load(tmp_path, visits=visits)


def test_an_absent_file_is_refused_unless_optional(tmp_path):
    assert load(tmp_path).manifest.tables["diagnosis"] == ()
    (tmp_path / "extract" / "people.csv").unlink()
    with pytest.raises(InputRefusedError, match="lacks files that layout tiny needs"):
        ingest(tmp_path / "extract", tmp_path / "tiny", tmp_path / "other")


def test_a_file_that_leads_out_of_the_extract_or_looks_like_a_pattern_is_refused(tmp_path):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    (tmp_path / "elsewhere.csv").write_bytes(b"ID,DAY,CODE\n1,2020-01-01,A\n")
    (extract / "visits.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(InputRefusedError, match=r"visits\.csv leads out of"):
        load(tmp_path)
    (extract / "visits.csv").unlink()
    (extract / "visits[1].csv").write_bytes(b"ID,DAY,CODE\n1,2020-01-01,A\n")
    with pytest.raises(InputRefusedError, match="pattern character"):
        load(tmp_path)


def test_several_files_of_a_source_need_not_have_the_same_header(tmp_path):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    (extract / "visits_1.csv").write_bytes(b"ID,DAY,CODE\n1,2020-01-01,A\n")
    (extract / "VISITS_2.CSV").write_bytes(b"CODE,note,DAY,ID\nB,x,2020-01-02,1\n")
    assert load(tmp_path).scan("diagnosis").collect()["code"].to_list() == ["A", "B"]


def test_identifiers_are_text_byte_for_byte(tmp_path):
    names = [b"00123", b"123", b"123.0", b"1E10", b"10000000000", b"12345678901234567890", b"NA", b"NULL", b"+44", b"x"]
    people = b"ID,BORN\n" + b"".join(name + b",1960-01-01\n" for name in names)
    assert load(tmp_path, people=people).scan("person").collect().height == len(names)


def test_words_outside_the_dictionary_become_null_and_are_counted(tmp_path):
    store = load(tmp_path, people=b"ID,BORN,SEX\n1,1960-01-01,male\n2,1960-01-01,diverse\n3,1960-01-01,\n")
    assert sorted(store.scan("person").collect()["sex"].to_list(), key=str) == [None, None, "male"]
    assert store.account.tables["person"].repaired == 1


def test_rows_of_a_person_are_settled_by_the_latest_value(tmp_path):
    declaration = LAYOUT.replace('BORN = "date"', 'BORN = "date"\nAS_OF = "date"')
    layout = write_layout(
        tmp_path / "tiny",
        declaration,
        person="select ID as person, BORN as birth_date, SEX as sex, AS_OF as as_of from extract.people",
    )
    people = (
        b"ID,BORN,SEX,AS_OF\n"
        b"1,1960-01-01,male,2020-01-01\n"
        b"1,1961-01-01,female,2021-01-01\n"
        b"1,1961-01-01,female,2021-01-01\n"
        b"1,,other,2021-06-01\n"  # no birth date: the latest that is known stays
    )
    store = load(tmp_path, people=people, layout=layout)
    assert store.scan("person").drop("person_id").collect().row(0)[:2] == (dt.date(1961, 1, 1), "other")
    count = store.account.tables["person"]
    assert (count.supplied, count.stored, count.duplicates, count.superseded) == (4, 1, 1, 2)


def test_spans_that_overlap_or_touch_are_merged_and_gaps_stay(tmp_path):
    declaration = LAYOUT.replace('BORN = "date"', 'BORN = "date"\nEND = "date"')
    layout = write_layout(
        tmp_path / "tiny",
        declaration,
        person="select distinct ID as person from extract.people",
        enrolment='select ID as person, BORN as start_date, "END" as end_date from extract.people',
    )
    people = (
        b"ID,BORN,END\n"
        b"1,2020-03-01,2020-03-31\n"
        b"1,2020-01-01,2020-01-31\n"
        b"1,2020-02-01,2020-02-28\n"  # touches January; 29 February is a gap of one day
        b"1,2020-01-05,2020-01-10\n"  # inside January
        b"1,2020-01-01,2020-01-31\n"  # said twice
        b"1,2020-05-02,2020-05-01\n"  # ends before it starts
        b"1,2020-06-01,2020-06-01\n"
    )
    store = load(tmp_path, people=people, layout=layout)
    assert store.scan("enrolment").drop("person_id").collect().rows() == [
        (dt.date(2020, 1, 1), dt.date(2020, 2, 28)),
        (dt.date(2020, 3, 1), dt.date(2020, 3, 31)),
        (dt.date(2020, 6, 1), dt.date(2020, 6, 1)),
    ]
    count = store.account.tables["enrolment"]
    assert (count.supplied, count.duplicates, count.incomplete, count.superseded) == (7, 1, 1, 2)


def test_of_stays_that_differ_only_in_their_end_the_longest_is_kept(tmp_path):
    diagnosis = (
        "select ID as person, date '2020-01-01' as date, DAY as end_date, 'icd10' as system, CODE as code "
        "from extract.visits"
    )
    visits = b"ID,DAY,CODE\n1,2020-01-05,A\n1,2020-01-09,A\n1,2019-12-30,B\n"
    store = load(tmp_path, visits=visits, layout=write_layout(tmp_path / "tiny", diagnosis=diagnosis))
    ends = store.scan("diagnosis").select("code", "end_date").collect().rows()
    assert ends == [("A", dt.date(2020, 1, 9)), ("B", dt.date(2020, 1, 1))], "an end before the start is the start"
    count = store.account.tables["diagnosis"]
    assert (count.superseded, count.repaired) == (1, 1)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("people.csv.gz", gzip.compress),
        ("people.csv.zst", partial(pa.compress, codec="zstd", asbytes=True)),
        ("people.csv", gzip.compress),  # known by its first bytes, whatever its name says
    ],
)
def test_a_packed_file_gives_the_same_store_and_is_no_new_snapshot(tmp_path, name, pack):
    layout = write_layout(tmp_path / "tiny", LAYOUT.replace('"people.csv.gz"', '"people.csv.gz", "people.csv.zst"'))
    first = load(tmp_path, layout=layout)
    (tmp_path / "extract" / "people.csv").unlink()
    (tmp_path / "extract" / name).write_bytes(pack(PEOPLE))
    again = ingest(tmp_path / "extract", layout, tmp_path / "store")
    assert again.manifest == first.manifest
    other = ingest(tmp_path / "extract", layout, tmp_path / "other")
    assert other.scan("person").collect().height == 2


def test_shuffled_rows_are_no_new_snapshot_and_leave_no_file_behind(tmp_path):
    first = load(tmp_path)
    files = sorted((tmp_path / "store" / "data").rglob("*"))
    header, one, two = PEOPLE.splitlines(keepends=True)
    again = load(tmp_path, people=header + two + one)
    assert again.manifest == first.manifest
    assert sorted((tmp_path / "store" / "data").rglob("*")) == files


def test_another_extract_makes_a_snapshot_and_the_older_stays_readable(tmp_path):
    load(tmp_path)
    newer = load(tmp_path, people=PEOPLE + b"3,1980-01-01,male\n")
    assert newer.manifest.number == 2
    heights = [Store.open(tmp_path / "store", as_of=n).scan("person").collect().height for n in (1, 2, None)]
    assert heights == [2, 3, 3]
    with pytest.raises(InputRefusedError, match=r"has no snapshot 3; it has \[1, 2\]"):
        Store.open(tmp_path / "store", as_of=3)


def test_a_store_keeps_its_bucket_count(tmp_path):
    assert load(tmp_path, buckets=7).buckets == 7
    assert load(tmp_path, people=PEOPLE + b"3,1980-01-01,\n").buckets == 7
    with pytest.raises(StudyError, match="has 7 buckets"):
        load(tmp_path, buckets=8)


def test_every_person_lies_in_the_bucket_that_the_dictionary_says(tmp_path):
    people = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % number for number in range(300))
    store = load(tmp_path, people=people, buckets=7)
    seen = 0
    for number in range(7):
        tables = store.bucket(number)
        assert set(tables) == {"person"}  # nothing else was supplied; who asks all the same gets no rows
        assert tables["cost"].collect().schema == TABLES["cost"].schema
        person = tables["person"].collect()
        seen += person.height
        assert set(person.select(bucket(pl.col("person_id"), 7)).to_series()) <= {number}
        assert person["person_id"].is_sorted()
    assert seen == 300
    with pytest.raises(ValueError, match="buckets 0 to 6"):
        store.bucket(7)


def test_only_the_owner_can_read_what_is_written(tmp_path):
    load(tmp_path)
    for path in (tmp_path / "store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not list((tmp_path / "store" / "private").glob("work-*"))


def test_a_second_writer_is_turned_away(tmp_path):
    load(tmp_path)
    with locked(tmp_path / "store"), pytest.raises(LockedError, match="another run is writing"):
        load(tmp_path, people=PEOPLE + b"3,1980-01-01,\n")


def test_the_store_must_not_share_a_folder_with_anything_else(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("important")
    with pytest.raises(StudyError, match="something else than a store"):
        load(tmp_path)
    extract = write_extract(tmp_path / "extract")
    with pytest.raises(StudyError, match="inside one another"):
        ingest(extract, tmp_path / "tiny", extract / "store")


def test_persons_without_a_person_row_are_counted(tmp_path):
    store = load(tmp_path, visits=b"ID,DAY,CODE\n1,2020-01-01,A\nX,2020-01-02,A\nX,2020-01-03,A\nY,2020-01-03,A\n")
    assert store.manifest.unlisted_persons == 2
    assert store.data_end == dt.date(2020, 1, 3)


def test_the_verb_and_the_room_share_their_name(tmp_path):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    store = cohort.ingest(extract, write_layout(tmp_path / "tiny"), tmp_path / "store", buckets=2)
    assert isinstance(store, Store)
    assert store.buckets == 2


def test_progress_is_told_in_order(tmp_path):
    told = []
    load(tmp_path, progress=lambda *step: told.append(step), buckets=2)
    assert [step for step, _, _ in told] == sorted((step for step, _, _ in told), key=["check", "read", "write"].index)
    assert all(0 <= done <= total for _, done, total in told)
    assert told[-1] == ("write", 4, 4)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"person": "select ID as person, 1 as height from extract.people"}, "has unknown column height"),
        ({"diagnosis": "select ID as person, CODE as code from extract.visits"}, "lacks column date, end_date, system"),
        ({"person": "select NOPE as person from extract.people"}, "NOPE"),
        ({"person": "copy (select 1) to '/tmp/x'"}, "exactly one select"),
        ({"person": "select 1 as person; select 2 as person"}, "exactly one select"),
        ({"enrolment": ENROLMENT.replace("$data_end", "$today")}, "today"),
    ],
)
def test_a_faulty_layout_names_its_file_and_fault(tmp_path, tables, words):
    with pytest.raises(StudyError, match=words) as refused:
        load(tmp_path, visits=b"ID,DAY,CODE\n1,2020-01-01,A\n", layout=write_layout(tmp_path / "tiny", **tables))
    assert f"{next(iter(tables))}.sql" in str(refused.value)


def test_a_layout_sees_nothing_of_the_machine(tmp_path):
    layout = write_layout(tmp_path / "tiny", person="select content as person from read_text('/etc/hostname')")
    with pytest.raises(InputRefusedError, match=r"person\.sql"):
        load(tmp_path, layout=layout)
