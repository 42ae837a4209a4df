"""What tools and people do to files, and what becomes of each: loaded exactly, rejected by reason, or refused."""

import datetime as dt
import gzip

import polars as pl
import pyarrow as pa
import pytest
from malformed import Loader

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.guard import Dialect, inspect
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import SourceColumn

COLUMNS = {
    "ID": SourceColumn(type="person"),
    "DAY": SourceColumn(type="date", filled=True),
    "CODE": SourceColumn(type="text", filled=True),
    "AMOUNT": SourceColumn(type="number"),
}
HEADER, DAY = b"ID,DAY,CODE,AMOUNT\n", dt.date(2020, 1, 31)


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    opened = Loader(tmp_path_factory.mktemp("hostile"))
    yield opened
    opened.close()


def load(loader, record):
    """Return the loaded row of a file of one record, None if it was rejected."""
    seen = loader.load(HEADER + record.encode() + b"\n", COLUMNS)
    assert len(seen.rows) + len(seen.rejected) == 1
    return seen.rows[0] if seen.rows else None


@pytest.mark.parametrize(
    "identifier",
    ["00123", "98765432109876543210", "1E10", "12E3", "+44", "1_000", "NaN", "NA", "None", "1.0", "é", "p 1", "'00123"],
)
def test_an_identifier_is_text_letter_for_letter(loader, identifier):
    assert load(loader, f"{identifier},2020-01-31,M545,1") == (identifier, DAY, "M545", 1.0)


@pytest.mark.parametrize(
    "identifier",
    [
        "p1\t", "p1\u00a0", "\u00a0p1", "p1\u1680", "p1\u2003", "p1\u202f", "p1\u205f", "p1\u3000",
        "p1 \u3000",  # blanks
        "p\u200b1", "p\u00ad1", "p\u20661", "\u202ep1", "\ufeffp1", "p1\x7f", "p1\x01",  # that cannot be seen
        "e\u0301",  # é in two parts: another delivery has it in one
    ],
)  # fmt: skip
def test_an_identifier_that_may_be_spelled_differently_is_rejected_and_never_lost(loader, identifier):
    """An engine that trims more than the loader did once joined such a record with nobody: loaded, and in no table."""
    assert load(loader, f"{identifier},2020-01-31,M545,1") is None


@pytest.mark.parametrize("identifier", ["1.2E+11", "1.23457E+11", "1E+11", '"1,2E+11"'])
def test_what_a_spreadsheet_leaves_of_a_long_number_is_nobody(loader, identifier):
    assert load(loader, f"{identifier},2020-01-31,M545,1") is None


@pytest.mark.parametrize(
    "day",
    ["2020-02-30", "2019-02-29", "0000-00-00", "31/01/2020", "20200131", "43831", "2020-W05", "2020-1-31",
     "31-JAN-2020", "2020-01-31 00:00:00", "2020-01-31T00:00:00Z", "infinity", "-infinity", "epoch", "0001-01-01 (BC)",
     "12020-01-31", "2020-01-31\u00a0", "today", "NaT", "NA"],
)  # fmt: skip
def test_what_is_not_a_day_as_declared_is_rejected(loader, day):
    assert load(loader, f"p1,{day},M545,1") is None


@pytest.mark.parametrize(
    "amount",
    ['"1,234.50"', '"1,5"', "(50.00)", "50.00-", "1e3", "1E-3", "0x10", "1_000", "inf", "NaN", "$5", "5 %", "1 000",
     "½", "1\u00a0000", "12345678901234567890", "--1", "#N/A", "NULL"],
)  # fmt: skip
def test_what_is_not_a_plain_number_is_rejected(loader, amount):
    assert load(loader, f"p1,2020-01-31,M545,{amount}") is None


@pytest.mark.parametrize(
    ("amount", "value"), [("-0.50", -0.5), (" 7 ", 7.0), (".5", 0.5), ("5.", 5.0), ("007", 7.0), ("", None)]
)
def test_a_plain_number_is_itself(loader, amount, value):
    assert load(loader, f"p1,2020-01-31,M545,{amount}") == ("p1", DAY, "M545", value)


def test_a_header_in_the_middle_is_rejected_where_a_person_is_a_number_within_a_site(loader):
    columns = {"ID": SourceColumn(type="person", within="SITE"), "SEX": SourceColumn(type="text")}
    seen = loader.load(b"SITE,ID,SEX\nNorth,1,f\nSITE,ID,SEX\nSouth,1,m\n", columns)
    assert sorted(seen.rows) == [("North/1", "f"), ("South/1", "m")]
    assert seen.rejected == [3]


def packed(path, content):
    path.write_bytes(content)
    return inspect(path, Dialect())


PLAIN, MORE = HEADER + b"p1,2020-01-31,M545,1\n", b"p2,2020-01-31,M545,1\n"


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_every_member_of_a_packed_file_is_read_and_a_cut_or_stuffed_one_refused(tmp_path, pack):
    seen = packed(tmp_path / "t.csv", pack(PLAIN) + pack(MORE))
    assert seen.records == 2
    assert seen.sha256 == packed(tmp_path / "u.csv", PLAIN + MORE).sha256
    whole, last = pack(PLAIN), pack(MORE * 100)
    for content in (*(whole + last[:-cut] for cut in (1, 4, 9)), whole + b"garbage"):
        with pytest.raises(InputRefusedError, match="damaged or truncated"):
            packed(tmp_path / "t.csv", content)


def test_a_line_of_any_length_is_refused_before_it_fills_memory(tmp_path):
    path = tmp_path / "t.csv"
    with path.open("wb") as handle:
        handle.write(HEADER)
        handle.truncate(1 << 30)  # a sparse file: one line of NUL bytes, 1 GB long
    with pytest.raises(InputRefusedError, match="a line of more than 2,000,000 bytes"):
        inspect(path, Dialect())


def test_utf_8_under_the_name_of_latin_1_is_refused(tmp_path):
    for text, encoding in (("é", "latin-1"), ("ASCII", "utf-8")):
        seen = inspect_as_latin_1(tmp_path, f"ID\n{text}\n".encode(encoding))
        assert seen.records == 1
    for content in ("ID\né\n".encode(), "\ufeffID\né\n".encode()):
        with pytest.raises(InputRefusedError, match="is UTF-8, although the layout declares latin-1"):
            inspect_as_latin_1(tmp_path, content)
    # one letter that is none in UTF-8 shows that it is Latin-1 after all, in whatever block it stands
    assert inspect_as_latin_1(tmp_path, "ID\nÃ©\né\n".encode("latin-1")).records == 2


def inspect_as_latin_1(folder, content):
    (folder / "t.csv").write_bytes(content)
    return inspect(folder / "t.csv", Dialect(encoding="latin-1"))


@pytest.mark.parametrize(
    ("formats", "fine"),
    [
        (["%Y-%m-%d", "%d.%m.%Y", "%Y%m%d"], True),
        (["%d%b%Y", "%d-%b-%Y"], True),
        (["%d/%m/%Y", "%m/%d/%Y"], False),
        (["%d.%m.%y", "%m.%d.%y"], False),
        (["%y%m%d", "%d%m%y"], False),
    ],
)
def test_two_formats_that_read_one_text_as_two_days_are_refused(tmp_path, formats, fine):
    (tmp_path / "person.sql").write_text("select ID as person from extract.people")
    (tmp_path / "layout.toml").write_text(
        f'name = "x"\ndescription = "x"\n[dialect]\ndate_format = {formats}\n'
        '[sources.people]\nfiles = ["people.csv"]\n[sources.people.columns]\nID = "person"\n'
    )
    if fine:
        assert Layout.read(tmp_path).date_formats == tuple(formats)
    else:
        with pytest.raises(StudyError, match="read the same text as different days"):
            Layout.read(tmp_path)


def test_a_delimiter_is_one_character_of_ascii(tmp_path):
    (tmp_path / "person.sql").write_text("select ID as person from extract.people")
    for delimiter, fine in (
        (";", True),
        ("|", True),
        ("\t", True),
        ("§", False),
        ("a", False),
        ('"', False),
        (" ", False),
    ):
        (tmp_path / "layout.toml").write_text(
            f'name = "x"\ndescription = "x"\n[dialect]\ndelimiter = \'{delimiter}\'\n'
            '[sources.people]\nfiles = ["people.csv"]\n[sources.people.columns]\nID = "person"\n'
        )
        if fine:
            assert Layout.read(tmp_path).dialect.delimiter == delimiter
        else:
            with pytest.raises(StudyError, match=r"dialect\.delimiter"):
                Layout.read(tmp_path)


def test_whole_numbers_of_parquet_up_to_2_to_the_53_are_written_without_a_point(loader, tmp_path):
    from cohort.ingest.parquet import inspect_parquet, read_parquet

    path = loader.folder / "extract" / "t.parquet"
    pl.DataFrame({"ID": [1e15, 9007199254740991.0, 9007199254740992.0]}).write_parquet(path)
    query = read_parquet(inspect_parquet(path), {0}, "%Y-%m-%d", person=0)
    cells = loader.workers.connections[0].execute(query).fetchall()
    assert cells == [("1000000000000000",), ("9007199254740991",), (None,)]
