"""No value of a person reaches a message, a log, or a file that is not private: canary values, success and failure."""

import gzip
import logging

import pytest
from ingest_helpers import write_extract, write_layout

from cohort.errors import CohortError
from cohort.ingest.load import ingest

NAME, CODE, DAY = "CANARYID77", "CANARYCODE", "1977-07-17"
GOOD = f"{NAME},{DAY},{CODE}"
HEADER = "ID,DAY,CODE\n"

FAILURES = {
    "bad date": HEADER + f"{NAME},{DAY[:-2]}99,{CODE}\n",
    "short": HEADER + f"{NAME},{DAY}\n",
    "long": HEADER + f"{GOOD},{CODE}\n",
    "far too long": HEADER + GOOD + f",{CODE}" * 40 + "\n",
    "stray quote": HEADER + f'{NAME}"x,{DAY},{CODE}\n',
    "unterminated quote": HEADER + f'"{NAME},{DAY},{CODE}\n',
    "quote in header": f'"{HEADER}{GOOD}\n',
    "no header": f"{GOOD}\n{GOOD}\n",
    "half header": f"ID,{NAME}\n{GOOD}\n",
    "truncated": HEADER + f"{GOOD}\n{NAME},{DAY}",
    "mixed line ends": HEADER + f"{GOOD}\r\n{GOOD}\n",
    "carriage return": HEADER + f"{GOOD}\r{GOOD}\n",
    "nul": HEADER + f"{NAME}\0,{DAY},{CODE}\n",
    "latin-1": HEADER + f"{NAME}\udce9,{DAY},{CODE}\n",
    "line too long": HEADER + NAME * 210_000 + f",{DAY},{CODE}\n",
    "invisible": HEADER + f"{NAME}\u200b,{DAY},{CODE}\n",
    "repeated header": HEADER + HEADER,
}
FAULTY_SQL = {
    "cast": "select ID as person, CODE::date as birth_date from extract.visits",
    "function": "select ID as person, error(CODE) as sex from extract.visits",
    "division": "select ID as person, (1 / (length(CODE) - length(CODE)))::varchar as sex, CODE::int as birth_date "
    "from extract.visits",
    "column": "select ID as person, CODE as canary from extract.visits",
    "scalar": "select ID as person, (select CODE from extract.visits union all select 'x') as sex from extract.visits",
}


def searched(*texts):
    for text in texts:
        for canary in (NAME, CODE, DAY):
            assert canary not in text
            assert canary.encode().hex() not in text


def run(tmp_path, caplog, capfd, visits, **tables):
    extract = write_extract(tmp_path / "extract", visits=visits)
    with caplog.at_level(logging.DEBUG):
        try:
            ingest(extract, write_layout(tmp_path / "tiny", **tables), tmp_path / "store")
        except CohortError as error:
            assert error.__suppress_context__ or error.__context__ is None, "the library's exception must not show"
            message = str(error)
        else:
            message = None
    searched(caplog.text, *capfd.readouterr(), message or "")
    return message


@pytest.mark.parametrize("case", FAILURES)
def test_a_refusal_quotes_no_cell(tmp_path, caplog, capfd, case):
    visits = FAILURES[case].encode("utf-8", "surrogateescape")
    assert run(tmp_path, caplog, capfd, visits), "the file must be refused"
    public = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and "private" not in path.parts]
    searched(*(path.read_bytes().decode("latin-1") for path in public))


@pytest.mark.parametrize("case", FAULTY_SQL)
def test_faulty_sql_of_a_layout_quotes_no_cell(tmp_path, caplog, capfd, case):
    assert run(tmp_path, caplog, capfd, (HEADER + GOOD + "\n").encode(), person=FAULTY_SQL[case])


def test_a_damaged_gzip_quotes_no_cell(tmp_path, caplog, capfd):
    visits = gzip.compress((HEADER + f"{GOOD}\n" * 99).encode())[:-9]  # known by its first bytes, not by its name
    assert "damaged or truncated gzip" in run(tmp_path, caplog, capfd, visits)


def test_success_leaves_no_identifier_anywhere(tmp_path, caplog, capfd):
    assert run(tmp_path, caplog, capfd, (HEADER + GOOD + "\n").encode()) is None
    written = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(written) > 4
    for path in written:
        assert NAME not in path.read_bytes().decode("latin-1"), path
        assert NAME not in path.name
