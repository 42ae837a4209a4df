"""No value of a person reaches a message, a log or a file that is not private: 200 canaries, success, 50 failures."""

import gzip
import logging
import os
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.errors import CohortError
from cohort.ingest import pseudonyms
from cohort.ingest.load import ingest
from cohort.store.files import locked
from cohort.store.store import Store
from cohort.store.verify import verify

NAMES = [f"CANARY{number:03}ID" for number in range(200)]
NAME, CODE, DAY = NAMES[77], "CANARYCODE", "1977-07-17"
GOOD = f"{NAME},{DAY},{CODE}"
HEADER = "ID,DAY,CODE\n"
RECORDS = "".join(f"{name},{DAY},{CODE}\n" for name in NAMES) + "p1,2001-01-01,M545\n"  # the end of the data is said
ALL = HEADER + RECORDS
PEOPLE = "ID,BORN,SEX\n" + "".join(f"{name},{DAY},male\n" for name in NAMES)

IDENTIFIER = re.compile("CANARY[0-9]{3}|" + "|".join((b"CANARY%d" % digit).hex() for digit in range(10)))
VALUE = re.compile(f"{IDENTIFIER.pattern}|{CODE}|{CODE.encode().hex()}|{DAY}|{DAY.encode().hex()}|17.07.1977|19770717")

BAD_FILES = {
    "bad date": ALL + f"{NAME},{DAY[:-2]}99,{CODE}\n",
    "infinity": ALL + f"{NAME},infinity,{CODE}\n",
    "no code": ALL + f"{NAME},{DAY},\n",
    "no identifier": ALL + f",{DAY},{CODE}\n",
    "short": ALL + f"{NAME},{DAY}\n",
    "long": ALL + f"{GOOD},{CODE}\n",
    "far too long": ALL + GOOD + f",{CODE}" * 40 + "\n",
    "stray quote": ALL + f'{NAME}"x,{DAY},{CODE}\n',
    "text after a quote": ALL + f'"{NAME}"x,{DAY},{CODE}\n',
    "unterminated quote": ALL + f'"{NAME},{DAY},{CODE}\n',
    "quote in header": f'"{ALL}',
    "no header": RECORDS,
    "half header": f"ID,{NAME}\n{RECORDS}",
    "header twice in a line": f"ID,DAY,CODE,code\n{RECORDS}",
    "preamble": f"of {NAME}\n{ALL}",
    "truncated": ALL + f"{NAME},{DAY}",
    "mixed line ends": ALL + f"{GOOD}\r\n{GOOD}\n",
    "carriage return": ALL + f"{GOOD}\r{GOOD}\n",
    "nul": ALL + f"{NAME}\0,{DAY},{CODE}\n",
    "latin-1": ALL + f"{NAME}\udce9,{DAY},{CODE}\n",
    "line too long": ALL + NAME * 210_000 + f",{DAY},{CODE}\n",
    "record too long": ALL + f'{NAME},{DAY},"' + (f"{CODE * 50}\n" * 9_000) + '"\n',
    "invisible": ALL + f"{NAME}\u200b,{DAY},{CODE}\n",
    "composed": ALL + f"{NAME}e\u0301,{DAY},{CODE}\n",
    "repeated header": ALL + HEADER,
    "header alone": HEADER,
    "future": ALL + f"{NAME},2977-07-17,{CODE}\n",
}
FAULTY_SQL = {
    "cast": "select ID as person, CODE::date as birth_date from extract.visits",
    "function": "select ID as person, error(CODE) as sex from extract.visits",
    "division": "select ID as person, (1 / (length(CODE) - length(CODE)))::varchar as sex, CODE::int as birth_date "
    "from extract.visits",
    "column": "select ID as person, CODE as canary from extract.visits",
    "scalar": "select ID as person, (select CODE from extract.visits union all select 'x') as sex from extract.visits",
    "regexp": "select ID as person, regexp_extract(CODE, CODE || '(') as sex from extract.visits",
    "interval": "select ID as person, DAY + CODE::interval as birth_date from extract.visits",
    "struct": "select ID as person, json(CODE)::varchar as sex from extract.visits",
    "overflow": "select ID as person, make_date(9999999, length(CODE), 1) as birth_date from extract.visits",
}


def contents(path):
    """Return all that a file says, Parquet unpacked."""
    try:
        return (
            pl.read_parquet(path, glob=False)
            .with_columns(pl.col(pl.List).cast(pl.List(pl.String)).list.join(","))
            .write_csv()
        )
    except pl.exceptions.PolarsError:
        return path.read_bytes().decode("latin-1")


def search_everything(folder, *said):
    """Search what was said for any value, and what was written for identifiers; public text also for any value."""
    for text in said:
        assert not VALUE.search(text)
    for path in folder.rglob("*"):
        assert not IDENTIFIER.search(str(path.relative_to(folder)))
        private = "private" in path.parts
        if path.is_file() and not (private and "rejects" in path.parts):
            text = contents(path)
            assert not IDENTIFIER.search(text), path
            assert private or path.suffix == ".parquet" or not VALUE.search(text), path


@pytest.fixture
def run(tmp_path, caplog, capfd):
    """Return a function that ingests into ``tmp_path / "store"``, searches everything, and returns the error's text."""

    def call(layout, **options):
        message = ""
        with caplog.at_level(logging.DEBUG):
            try:
                ingest(tmp_path / "extract", layout, tmp_path / "store", **options)
            except CohortError as error:
                assert error.__suppress_context__ or error.__context__ is None, "the library's exception must not show"
                message = str(error)
        search_everything(tmp_path / "store", caplog.text, *capfd.readouterr(), message)
        return message

    return call


def extract(tmp_path, visits=ALL, people=PEOPLE):
    content = visits.encode("utf-8", "surrogateescape")
    return write_extract(tmp_path / "extract", people.encode(), content)


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_quotes_no_cell(tmp_path, run, case):
    extract(tmp_path, BAD_FILES[case])
    assert run(write_layout(tmp_path / "tiny")), "the file must be refused"


@pytest.mark.parametrize("case", FAULTY_SQL)
def test_faulty_sql_of_a_layout_quotes_no_cell(tmp_path, run, case):
    extract(tmp_path)
    assert run(write_layout(tmp_path / "tiny", person=FAULTY_SQL[case])), "the layout must be refused"


def damaged_gzip(tmp_path):
    (tmp_path / "extract" / "visits.csv").write_bytes(gzip.compress(ALL.encode())[:-9])
    return {}


def damaged_zstd(tmp_path):
    packed = pa.compress(ALL.encode(), codec="zstd", asbytes=True)
    (tmp_path / "extract" / "visits.csv").write_bytes(packed[:-9])
    return {}


def utf_16(tmp_path):
    (tmp_path / "extract" / "visits.csv").write_bytes(ALL.encode("utf-16"))
    return {}


def wrong_count(tmp_path):
    (tmp_path / "extract" / "visits.csv.count").write_text("9")
    return {}


def identifier_for_a_count(tmp_path):
    (tmp_path / "extract" / "visits.csv.count").write_text(NAME)
    return {}


def nested_parquet(tmp_path):
    frame = pl.DataFrame({"ID": NAMES, "DAY": [[DAY]] * 200, "CODE": CODE})
    frame.write_parquet(tmp_path / "extract" / "visits.csv")
    return {}


def binary_parquet(tmp_path):
    frame = pl.DataFrame({"ID": [name.encode() for name in NAMES], "DAY": DAY, "CODE": CODE})
    frame.write_parquet(tmp_path / "extract" / "visits.csv")
    return {}


def cut_parquet(tmp_path):
    path = tmp_path / "extract" / "visits.csv"
    pl.DataFrame({"ID": NAMES, "DAY": DAY, "CODE": CODE}).write_parquet(path, compression="uncompressed")
    path.write_bytes(path.read_bytes()[:-9])
    return {}


def damaged_parquet(tmp_path):
    """The footer is whole, a page is not."""
    path = tmp_path / "extract" / "visits.csv"
    pl.DataFrame({"ID": NAMES, "DAY": DAY, "CODE": CODE}).write_parquet(path)
    path.write_bytes(b"PAR1" + b"\xff" * 400 + path.read_bytes()[404:])
    return {}


def damaged_spss(tmp_path):
    written = pytest.importorskip("pyreadstat").write_sav
    path = tmp_path / "extract" / "visits.csv"
    written(pl.DataFrame({"ID": NAMES, "DAY": DAY, "CODE": CODE}).to_pandas(), path)
    path.write_bytes(path.read_bytes()[:-99])
    return {}


def too_little_memory(tmp_path):
    return {"memory_limit": "64KB"}


def another_link_table(tmp_path):
    links = tmp_path / "links"
    links.mkdir(mode=0o700)
    pl.DataFrame({"identifier": NAMES}).write_parquet(links / "links.parquet")
    return {"link_table": links / "links.parquet"}


def identifier_for_a_key(tmp_path):
    (tmp_path / "key").write_text(NAME)
    (tmp_path / "key").chmod(0o600)
    return {"key_file": tmp_path / "key"}


def colliding_pseudonyms(tmp_path, monkeypatch):
    real = pseudonyms.shipped_sql
    monkeypatch.setattr(pseudonyms, "shipped_sql", lambda name: real(name).replace("::ubigint >> 1", "::ubigint >> 60"))
    return {}


def outside_the_extract(tmp_path):
    (tmp_path / f"{NAME}.csv").write_text(ALL)
    (tmp_path / "extract" / "visits.csv").unlink()
    (tmp_path / "extract" / "visits.csv").symlink_to(tmp_path / f"{NAME}.csv")
    return {}


def pipe(tmp_path):
    (tmp_path / "extract" / "visits.csv").unlink()
    os.mkfifo(tmp_path / "extract" / "visits.csv")
    return {}


def store_without_lines(tmp_path):
    ingest(tmp_path / "extract", tmp_path / "tiny", tmp_path / "store")
    return {"add": True}


def store_of_another_key(tmp_path):
    ingest(tmp_path / "extract", tmp_path / "tiny", tmp_path / "store", add=True)
    return {"add": True, "keep_ids": True}


def damaged_kept_lines(tmp_path):
    ingest(tmp_path / "extract", tmp_path / "tiny", tmp_path / "store", add=True)
    path = next((tmp_path / "store" / "private" / "lines").rglob("people*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    return {"add": True}


OTHERS = [
    damaged_gzip, damaged_zstd, utf_16, wrong_count, identifier_for_a_count, nested_parquet, binary_parquet,
    cut_parquet,
    damaged_parquet, damaged_spss, too_little_memory, another_link_table, identifier_for_a_key, colliding_pseudonyms,
    outside_the_extract, pipe, store_without_lines, store_of_another_key, damaged_kept_lines,
]  # fmt: skip


@pytest.mark.parametrize("prepare", OTHERS, ids=lambda prepare: prepare.__name__)
def test_other_failures_quote_no_cell(tmp_path, run, monkeypatch, prepare):
    extract(tmp_path)
    layout = write_layout(tmp_path / "tiny")
    monkeypatch_too = (monkeypatch,) if prepare is colliding_pseudonyms else ()
    assert run(layout, **prepare(tmp_path, *monkeypatch_too)), "the load must be refused"


def test_an_unknown_claim_action_and_an_implausible_value_quote_no_cell(tmp_path, run):
    extract(tmp_path)
    line = (
        "select ID as person, 'p' as claim_payer, CODE as claim_id, 1 as claim_line, DAY as claim_version, "
        "CODE as claim_action, DAY, CODE from extract.visits"
    )
    declared = LAYOUT.replace("[sources.people]", 'views = ["line"]\nclaims = ["line"]\n\n[sources.people]', 1)
    layout = write_layout(tmp_path / "claims", declared, line=line)
    assert "claim_action that is none of" in run(layout)
    score = "select ID as person, DAY as date, 'NRS' as instrument, 1977.0717 as value from extract.visits"
    assert "implausible:NRS 201" in run(write_layout(tmp_path / "scores", measurement=score))


def test_a_second_writer_is_told_nothing(tmp_path, run):
    extract(tmp_path)
    (tmp_path / "store" / "private").mkdir(parents=True)
    with locked(tmp_path / "store"):
        assert "another run is writing" in run(write_layout(tmp_path / "tiny"))


def test_damage_of_the_store_quotes_no_cell(tmp_path, run):
    extract(tmp_path)
    assert not run(write_layout(tmp_path / "tiny"))
    for path in (tmp_path / "store" / "data").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "store" / "manifest" / "000001.json").write_text(NAME)
    said = "\n".join(verify(tmp_path / "store").problems)
    with pytest.raises(CohortError) as refused:
        Store.open(tmp_path / "store", as_of=1)
    assert said
    assert not VALUE.search(said + str(refused.value))


def test_there_are_50_failures():
    assert len(BAD_FILES) + len(FAULTY_SQL) + len(OTHERS) + 3 >= 50
    assert len(NAMES) == 200


def test_success_leaves_no_identifier_anywhere(tmp_path, run):
    extract(tmp_path)
    assert not run(write_layout(tmp_path / "tiny"), add=True)
    written = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(written) > 4
    assert Store.open(tmp_path / "store").scan("person").collect().height == 200


def test_rejects_are_the_one_place_for_values_and_only_their_owner_reads_them(tmp_path, run):
    extract(tmp_path, BAD_FILES["bad date"])
    assert run(write_layout(tmp_path / "tiny"))
    (rejects,) = (tmp_path / "store").rglob("rejects/*/*.parquet")
    assert NAME in contents(rejects), "or the search above would prove nothing"
    folders = [rejects.parent, *rejects.parent.parents[:2]]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (rejects, *folders)), Path(rejects)
