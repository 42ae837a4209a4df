"""The link table is private, outside the store, never overwritten; colliding pseudonyms are seen across extracts."""

import os
import stat

import polars as pl
import pytest
from ingest_helpers import write_extract, write_layout
from typer.testing import CliRunner

from cohort.cli import app
from cohort.errors import InputRefusedError, StudyError
from cohort.ingest import pseudonyms
from cohort.ingest.load import ingest
from cohort.store.store import Store
from cohort.store.verify import verify

PEOPLE = b"ID,BORN,SEX\n  p1 ,1960-01-01,male\n00123,1970-01-01,female\n"
VISITS = b"ID,DAY,CODE\np1,2020-01-01,M545\np9,2020-01-02,M545\n"


@pytest.fixture
def layout(tmp_path):
    return write_layout(tmp_path / "tiny")


@pytest.fixture
def private(tmp_path):
    folder = tmp_path / "links"
    folder.mkdir(mode=0o700)
    return folder


def test_it_names_every_person_by_the_normalised_identifier(tmp_path, layout, private):
    extract = write_extract(tmp_path / "extract", PEOPLE, VISITS)
    store = ingest(extract, layout, tmp_path / "store", link_table=private / "links.parquet")
    links = pl.read_parquet(private / "links.parquet")
    assert links.schema == {"person_id": pl.Int64, "identifier": pl.String}
    assert sorted(links["identifier"]) == ["00123", "p1", "p9"]
    assert links["person_id"].is_sorted()
    # the ids are those of the store: p1 and 00123 are in person, p1 and p9 in diagnosis
    by_name = dict(zip(links["identifier"], links["person_id"], strict=True))
    assert set(store.scan("person").collect()["person_id"]) == {by_name["p1"], by_name["00123"]}
    assert set(store.scan("diagnosis").collect()["person_id"]) == {by_name["p1"], by_name["p9"]}


def test_it_is_readable_by_its_owner_alone_and_nothing_of_it_is_in_the_store(tmp_path, layout, private):
    before = os.umask(0o000)
    try:
        extract = write_extract(tmp_path / "extract", PEOPLE, VISITS)
        ingest(extract, layout, tmp_path / "store", link_table=private / "links.parquet")
    finally:
        os.umask(before)
    assert stat.S_IMODE((private / "links.parquet").stat().st_mode) == 0o600
    assert [path.name for path in private.iterdir()] == ["links.parquet"]
    assert not list((tmp_path / "store").rglob("*links*"))


def test_without_being_asked_none_is_written(tmp_path, layout):
    ingest(write_extract(tmp_path / "extract", PEOPLE), layout, tmp_path / "store")
    assert not [path for path in tmp_path.rglob("*") if "link" in path.name]


def test_the_same_again_is_left_and_anything_else_never_overwritten(tmp_path, layout, private):
    extract, path = write_extract(tmp_path / "extract", PEOPLE), private / "links.parquet"
    ingest(extract, layout, tmp_path / "store", link_table=path)
    first = path.stat().st_ino, path.read_bytes()
    ingest(extract, layout, tmp_path / "store", link_table=path)
    assert (path.stat().st_ino, path.read_bytes()) == first
    write_extract(extract, PEOPLE + b"p2,1980-01-01,male\n")
    with pytest.raises(InputRefusedError, match="says something else"):
        ingest(extract, layout, tmp_path / "store", link_table=path)
    assert path.read_bytes() == first[1]
    assert Store.open(tmp_path / "store").manifest.number == 1, "nothing was committed"
    path.write_text("not Parquet")
    with pytest.raises(InputRefusedError, match="says something else"):
        ingest(extract, layout, tmp_path / "store", link_table=path)


def test_it_can_be_asked_for_later_and_completes_after_a_kill(tmp_path, layout, private):
    """A run that dies between its commit and the table is run again: the same content, and now the table."""
    extract = write_extract(tmp_path / "extract", PEOPLE)
    ingest(extract, layout, tmp_path / "store")
    (private / ".links.parquet.4711").write_bytes(b"half")
    store = ingest(extract, layout, tmp_path / "store", link_table=private / "links.parquet")
    assert store.manifest.number == 1
    assert [path.name for path in private.iterdir()] == ["links.parquet"]
    assert pl.read_parquet(private / "links.parquet").height == 2


def test_of_a_further_extract_it_names_the_persons_of_that_extract(tmp_path, layout, private):
    options = {"add": True, "link_table": private / "first.parquet"}
    ingest(write_extract(tmp_path / "first", PEOPLE), layout, tmp_path / "store", **options)
    options["link_table"] = private / "second.parquet"
    second = write_extract(tmp_path / "second", b"ID,BORN,SEX\np7,1980-01-01,male\n", VISITS)
    ingest(second, layout, tmp_path / "store", **options)
    assert sorted(pl.read_parquet(private / "second.parquet")["identifier"]) == ["p1", "p7", "p9"]


def test_identifiers_with_characters_that_cannot_be_seen_are_not_in_it(tmp_path, layout, private):
    people = PEOPLE + "p\u200b2,1980-01-01,male\n".encode()
    extract = write_extract(tmp_path / "extract", people)
    ingest(extract, layout, tmp_path / "store", link_table=private / "links.parquet", max_reject_rate=0.5)
    assert pl.read_parquet(private / "links.parquet").height == 2


@pytest.mark.parametrize("place", ["store/links.parquet", "extract/links.parquet", "absent/links.parquet", "open/l"])
def test_a_place_that_is_not_private_is_refused_before_anything_is_read(tmp_path, layout, place):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(StudyError, match="link table"):
        ingest(extract, layout, tmp_path / "store", link_table=tmp_path / place)
    assert not (tmp_path / "store").exists()


def test_the_command_writes_it(tmp_path, layout, private):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    arguments = ["ingest", str(extract), "--layout", str(layout), "--store", str(tmp_path / "store")]
    answer = CliRunner().invoke(app, [*arguments, "--link-table", str(private / "links.parquet")])
    assert answer.exit_code == 0
    assert pl.read_parquet(private / "links.parquet").height == 2


def coarse(monkeypatch):
    """Let a pseudonym be one bit, so that many identifiers share it."""
    real = pseudonyms.shipped_sql
    monkeypatch.setattr(
        pseudonyms, "shipped_sql", lambda name: real(name).replace("[1:16])::ubigint >> 1", "[1:16])::ubigint >> 63")
    )


def people(*names):
    return b"ID,BORN,SEX\n" + b"".join(b"%s,1960-01-01,male\n" % name.encode() for name in names)


def test_a_collision_with_a_person_of_an_earlier_extract_is_refused(tmp_path, layout, monkeypatch):
    """Eight identifiers share two pseudonyms: one by one, some later one must collide with an earlier one."""
    coarse(monkeypatch)
    accepted, refused = 0, 0
    for number in range(8):
        extract = write_extract(tmp_path / f"extract_{number}", people(f"p{number}"))
        try:
            ingest(extract, layout, tmp_path / "store", add=True, buckets=1, keep_ids=True)
            accepted += 1
        except InputRefusedError as error:
            assert "share a pseudonym" in str(error)
            refused += 1
    assert (accepted, refused) == (2, 6)
    assert Store.open(tmp_path / "store").scan("person").collect().height == 2
    assert not verify(tmp_path / "store").problems


def test_the_same_person_in_two_extracts_is_no_collision(tmp_path, layout):
    for number, names in enumerate([("p1", "p2"), ("p2", "p3")]):
        ingest(write_extract(tmp_path / f"{number}", people(*names)), layout, tmp_path / "store", add=True)
    store = Store.open(tmp_path / "store")
    assert store.scan("person").collect().height == 3
    assert len(store.manifest.persons) == 2


def test_damaged_kept_persons_are_refused_and_found(tmp_path, layout):
    store = ingest(write_extract(tmp_path / "extract", people("p1")), layout, tmp_path / "store", add=True)
    (kept,) = store.manifest.persons
    path = tmp_path / "store" / kept.path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert kept.path in verify(tmp_path / "store").problems[0]
    with pytest.raises(InputRefusedError, match="damaged or gone"):
        ingest(write_extract(tmp_path / "next", people("p2")), layout, tmp_path / "store", add=True)
