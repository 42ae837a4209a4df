"""A store that grows by extracts is the store of all extracts at once."""

import datetime as dt
import shutil
from itertools import permutations

import polars as pl
import pytest
from ingest_helpers import LAYOUT, write_layout

from cohort.errors import InputRefusedError
from cohort.ingest.load import ingest
from cohort.store.store import Store
from cohort.store.verify import sweep, verify

CUT = dt.date(2024, 6, 30)
DECLARED = (
    LAYOUT.replace("\n[sources.people]", 'views = ["bill"]\nclaims = ["bill"]\n\n[sources.people]', 1)
    .replace('"people.csv", "people.csv.gz"', '"people*.csv"')
    .replace('SEX = { type = "text", optional = true }', 'SEX = { type = "text", optional = true }\nSAID = "date"')
    .replace('CODE = { type = "text", filled = true }', 'CODE = "text"\nCLAIM = "text"\nPAID = "date"\nDEED = "text"')
)
TABLES = {
    "bill": """select *, ID as person, null::varchar as claim_payer, CLAIM as claim_id, null::varchar as claim_line,
PAID as claim_version, DEED as claim_action from extract.visits""",
    "diagnosis": "select ID as person, DAY as date, DAY as end_date, 'icd10' as system, CODE as code from extract.bill",
    "person": "select ID as person, BORN as birth_date, SEX as sex, SAID as as_of from extract.people",
}
EXTRACTS = {  # of January, February and March
    "1": (
        "1,1960-05-17,male,2024-01-01\n2,1970-01-01,female,2024-01-01\n",
        "1,2024-01-02,A,X,2024-01-10,original\n2,2024-01-03,B,Y,2024-01-10,original\n",
    ),
    "2": (
        "1,1960-05-18,male,2024-02-01\n3,1980-01-01,female,2024-02-01\n",  # a birth date corrected, a new person
        "1,2024-01-02,A,X,2024-02-10,void\n3,2024-02-03,C,Z,2024-02-10,original\n2,2024-01-03,B,Y,2024-01-10,original\n",
    ),
    "void": ("1,1960-05-17,male,2024-01-01\n", "1,2024-01-09,V,W,2024-02-10,void\n"),
    "late": ("1,1960-05-17,male,2024-01-01\n", "1,2024-01-09,V,W,2024-01-10,original\n"),
    "3": ("2,1970-01-01,female,2024-03-01\n", "2,2024-01-04,D,Y,2024-03-10,replacement\n"),
}


def extract(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        people, visits = EXTRACTS[name]
        (folder / f"people_{name}.csv").write_text("ID,BORN,SEX,SAID\n" + people)
        (folder / f"visits_{name}.csv").write_text("ID,DAY,CODE,CLAIM,PAID,DEED\n" + visits)
    return folder


@pytest.fixture
def layout(tmp_path):
    return write_layout(tmp_path / "tiny", DECLARED, **TABLES)


def load(tmp_path, layout, *names, into="store", **options):
    source = tmp_path / "extracts" / f"{into}-{'-'.join(names)}"
    shutil.rmtree(source, ignore_errors=True)
    options = {"add": True, "keep_ids": True, "extracted_on": CUT, "buckets": 4} | options
    return ingest(extract(source, *names), layout, tmp_path / into, **options)


def rows(store):
    return {name: store.scan(name).collect().rows() for name in ("person", "enrolment", "diagnosis")}


def test_increments_in_any_order_give_the_bytes_of_one_extract(tmp_path, layout):
    whole = load(tmp_path, layout, "1", "2", "3", into="whole", add=False)
    assert [row[4] for row in sorted(rows(whole)["diagnosis"], key=lambda row: row[4])] == ["C", "D"]
    for order in permutations("123"):
        into = "store-" + "".join(order)
        for name in order:
            grown = load(tmp_path, layout, name, into=into)
        assert grown.manifest.number == 3
        assert grown.manifest.holds_same_rows(whole.manifest)
        assert grown.account.claims == whole.account.claims
        assert grown.account.tables == whole.account.tables
        assert sum(file.loaded for file in grown.account.files) == sum(file.loaded for file in whole.account.files)


def test_a_reversal_may_arrive_by_an_earlier_increment_than_its_original(tmp_path, layout):
    before = rows(load(tmp_path, layout, "1"))
    assert rows(load(tmp_path, layout, "void")) == before
    assert rows(load(tmp_path, layout, "late")) == before


def test_older_snapshots_stay_as_they_were(tmp_path, layout):
    seen = [rows(load(tmp_path, layout, name)) for name in "123"]
    assert [rows(Store.open(tmp_path / "store", as_of=number)) for number in (1, 2, 3)] == seen
    assert [row[4] for row in seen[0]["diagnosis"]] != [row[4] for row in seen[1]["diagnosis"]]


def test_the_same_content_again_changes_nothing(tmp_path, layout):
    load(tmp_path, layout, "1")
    second = load(tmp_path, layout, "2")
    assert load(tmp_path, layout, "2").manifest == second.manifest
    assert load(tmp_path, layout, "1", "2").manifest == second.manifest


def test_without_add_the_extract_replaces_what_was_there(tmp_path, layout):
    load(tmp_path, layout, "1")
    replaced = load(tmp_path, layout, "2", add=False)
    assert rows(replaced) == rows(load(tmp_path, layout, "2", into="other", add=False))
    assert not replaced.manifest.lines


@pytest.mark.parametrize("problem", ["kept no lines", "another layout", "another key", "damaged or gone"])
def test_a_store_that_cannot_be_added_to_says_why(tmp_path, layout, problem):
    first = load(tmp_path, layout, "1", add=problem != "kept no lines")
    if problem == "another layout":
        (layout / "person.sql").write_text(TABLES["person"] + " where true")
    if problem == "damaged or gone":
        kept = tmp_path / "store" / first.manifest.lines[0].path
        kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(InputRefusedError, match=problem):
        load(tmp_path, layout, "2", keep_ids=problem != "another key")
    assert Store.open(tmp_path / "store").manifest == first.manifest


def test_kept_lines_are_private_and_hold_no_identifier(tmp_path, layout):
    persons = set(load(tmp_path, layout, "1", keep_ids=False).scan("person").collect()["person_id"])
    files = list((tmp_path / "store" / "private" / "lines").rglob("*.parquet"))
    frames = {file.name.split("-")[0]: pl.read_parquet(file) for file in files}
    assert set(frames) == {"people", "visits", "persons.parquet"}
    assert set(frames["people"]["ID"]) == set(frames["visits"]["ID"]) == persons
    assert set(frames["persons.parquet"]["person_id"]) == persons
    assert all(file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0 for file in files)


def test_kept_lines_are_verified_and_swept_like_data(tmp_path, layout):
    store = load(tmp_path, layout, "1")
    orphan = tmp_path / "store" / "private" / "lines" / "of_a_dead_run"
    orphan.mkdir()
    assert sweep(store.path, older_than_days=-1) == [orphan]
    assert verify(store.path).problems == ()
    (kept, *_) = store.manifest.lines
    damaged = bytearray((store.path / kept.path).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (store.path / kept.path).write_bytes(damaged)
    (problem,) = verify(store.path).problems
    assert problem.startswith(kept.path)
