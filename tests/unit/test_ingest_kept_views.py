"""Views that are worked out once per bucket, repeated columns as lists, and columns that some files lack."""

import threading

import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.errors import ResourceError, StudyError
from cohort.ingest.layouts import Layout
from cohort.ingest.load import ingest

REPEATED = """
[sources.codes]
files = ["codes*.csv"]
[sources.codes.columns]
ID = "person"
DAY = { type = "date", filled = true }
C = { type = "text", repeat = 4, optional = true, listed = true }
D = { type = "date", repeat = 4, optional = true, listed = true }
NOTE = { type = "text", optional = true }
"""
LISTED = """
with one as (
    select ID as person, DAY, NOTE, unnest(C) as code, unnest(range(1, len(C) + 1)) as position, unnest(D) as own
    from extract.codes
)
select person, coalesce(own, DAY) as date, coalesce(own, DAY) as end_date, 'icd10' as system, code, NOTE as setting,
    position
from one where code is not null
"""


def load(folder, files, **options):
    """Return what became of files with up to four codes and days side by side: (person, day, code, setting, place)."""
    extract = write_extract(folder / "extract", b"ID,BORN,SEX\n1,1960-05-17,male\n")
    for name, text in files.items():
        (extract / name).write_text(text)
    layout = write_layout(folder / "listed", LAYOUT + REPEATED, diagnosis=LISTED)
    store = ingest(extract, layout, folder / "store", keep_ids=True, **options)
    rows = store.scan("diagnosis").collect().sort("date", "position")
    return rows.select("date", "code", "setting", "position").rows(), store


def days(rows):
    return [(f"{day:%m-%d}", *rest) for day, *rest in rows]


def test_a_place_in_a_list_is_the_number_of_the_column(tmp_path):
    # the empty second column stays a place, those after the last filled one are none; the third code has its own day
    rows, _ = load(tmp_path, {"codes.csv": "ID,DAY,C1,C2,C3,C4,D3,D4\n1,2020-01-01,A1,,C3,,2020-02-02,2020-03-03\n"})
    assert days(rows) == [("01-01", "A1", "unknown", 1), ("02-02", "C3", "unknown", 3)]


def test_a_column_that_a_file_lacks_is_null_there(tmp_path):
    files = {
        "codes_a.csv": "ID,DAY,C1,C3,NOTE\n1,2020-01-01,A1,C3,home\n",  # no second column: the third is still the third
        "codes_b.csv": "ID,DAY,C1,C2\n1,2020-01-02,A1,B2\n",
        "codes_c.csv": "ID,DAY,NOTE\n1,2020-01-03,home\n",  # no code at all
    }
    rows, store = load(tmp_path, files, add=True)
    expected = [
        ("01-01", "A1", "home", 1),
        ("01-01", "C3", "home", 3),
        ("01-02", "A1", "unknown", 1),
        ("01-02", "B2", "unknown", 2),
    ]
    assert days(rows) == expected
    # what an earlier ingestion kept of such files is settled with the new ones
    (tmp_path / "extract" / "codes_d.csv").write_text("ID,DAY,C4,D4\n1,2020-01-04,D4,2020-01-05\n")
    again = ingest(tmp_path / "extract", tmp_path / "listed", store.path, keep_ids=True, add=True)
    rows = again.scan("diagnosis").collect().sort("date", "position").select("date", "code", "setting", "position")
    assert days(rows.rows()) == [*expected, ("01-05", "D4", "unknown", 4)]


@pytest.mark.parametrize(
    "files", [{"codes.csv": "ID,DAY\n1,2020-01-01\n"}, {"codes.csv": "ID,DAY,C1\n1,2020-01-01,\n"}]
)
def test_no_column_and_no_code_give_no_row(tmp_path, files):
    assert load(tmp_path, files)[0] == []


def test_only_repeated_columns_are_listed(tmp_path):
    wrong = REPEATED.replace(", repeat = 4, optional", ", optional", 1)
    with pytest.raises(StudyError, match="listed goes with repeat"):
        Layout.read(write_layout(tmp_path / "wrong", LAYOUT + wrong))


def test_only_views_are_kept(tmp_path):
    with pytest.raises(StudyError, match="kept: people is none of its views"):
        Layout.read(write_layout(tmp_path / "wrong", 'kept = ["people"]\n' + LAYOUT))


CLAIMED = """
select ID as person, DAY, CODE, null as claim_payer, CODE[1:1] as claim_id, null as claim_line, DAY as claim_version,
    case when CODE[2:2] = '-' then 'void' else 'original' end as claim_action
from extract.visits
"""


@pytest.mark.parametrize("kept", ["", 'kept = ["line", "later"]\n'])
def test_a_kept_view_says_what_it_said_and_is_worked_out_once_per_bucket(tmp_path, kept):
    # claim A is taken back on the second day, B stands; twenty persons in four buckets
    visits = b"ID,DAY,CODE\n" + b"".join(
        b"p%d,2020-01-0%d,%s\n" % (person, day, code)
        for person in range(20)
        for day, code in ((1, b"A1"), (2, b"A-"), (3, b"B1"))
    )
    people = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % person for person in range(20))
    layout = write_layout(
        tmp_path / "claimed",
        'views = ["line", "later"]\nclaims = ["line"]\n' + kept + LAYOUT,
        line=CLAIMED,
        later="select * from extract.line where DAY > date '2020-01-01'",
        diagnosis="select person, DAY as date, DAY as end_date, 'icd10' as system, CODE as code from extract.later",
        procedure="select person, DAY as date, 'icd10pcs' as system, CODE as code from extract.line",
    )
    store = ingest(write_extract(tmp_path / "extract", people, visits), layout, tmp_path / "store", buckets=4)
    assert store.scan("diagnosis").collect()["code"].to_list() == ["B1"] * 20
    assert store.scan("procedure").collect()["code"].to_list() == ["B1"] * 20
    (count,) = store.account.claims.values()
    assert (count.lines, count.standing, count.superseded) == (60, 20, {"void": 20, "voided": 20})


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_system_without_threads_left_is_said_so(tmp_path, monkeypatch, after):
    started, start = [], threading.Thread.start

    def refused(self):
        started.append(self)
        if len(started) > after:
            raise RuntimeError("can't start new thread")
        start(self)

    extract, layout = write_extract(tmp_path / "extract"), write_layout(tmp_path / "tiny")
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(ResourceError, match="starts no further thread"):
        ingest(extract, layout, tmp_path / "store")
    monkeypatch.undo()
    assert ingest(extract, layout, tmp_path / "store").manifest.number == 1
