"""The pass over raw bytes: what it counts, and what it refuses with file and line but without a value."""

import gzip

import pyarrow as pa
import pytest

from cohort.errors import InputRefusedError
from cohort.ingest import guard
from cohort.ingest.guard import Dialect, inspect, record_blocks


def looked_at(tmp_path, content, dialect=Dialect(), name="t.csv"):  # noqa: B008 -- a frozen dataclass
    path = tmp_path / name
    path.write_bytes(content)
    return inspect(path, dialect)


@pytest.mark.parametrize(
    ("content", "lines", "blank", "continuation"),
    [
        (b"a,b\n1,2\n", 2, 0, 0),
        (b"a,b\r\n1,2\r\n", 2, 0, 0),
        (b"\xef\xbb\xbfa,b\n1,2\n", 2, 0, 0),
        (b"a,b\n\n1,2\n\n\n", 5, 3, 0),
        (b"a,b\r\n\r\n1,2\r\n", 3, 1, 0),
        (b'a,b\n1,"x\ny"\n', 3, 0, 1),
        (b'a,b\n1,"x\n\n\ny"\n2,3\n', 6, 0, 3),  # blank lines inside quotes are continuation lines
        (b'a,b\r\n1,"x\ny"\r\n2,3\r\n', 4, 0, 1),  # a lone line feed inside quotes belongs to the field
        (b'"a","b"\n"1","say ""hi"""\n"",""\n', 3, 0, 0),
        (b"a,b\n", 1, 0, 0),
    ],
)
def test_lines_are_counted_by_kind(tmp_path, content, lines, blank, continuation):
    seen = looked_at(tmp_path, content)
    assert seen.columns == ("a", "b")
    assert (seen.lines, seen.blank, seen.continuation) == (lines, blank, continuation)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b\n1,2", "does not end with a line end"),
        (b'a,"b\n1,2\n', "line 1: an unbalanced quote in the header"),
        (b'a,b"c"\n1,2\n', "line 1: a quote inside an unquoted field"),
        (b'a,b\n1,2\n1,5" pipe\n', "line 3: a quote inside an unquoted field"),
        (b'a,b\n1,$78.07"All-Weather, 48"\n', "line 2: a quote inside an unquoted field"),
        (b'a,b\n1,"x"y\n', "line 2: a quote inside an unquoted field, or text after a closing quote"),
        (b'a,b\n1, "x"\n', "line 2: a quote inside an unquoted field"),
        (b'a,b\n1,"x\n2,y\n3,"z"\n', "line 4: a quote inside an unquoted field"),  # swallowed rows end at line 4
        (b'a,b\n1,"x\n2,y\n', "ends inside a quoted field"),
        (b"a,b\n1,\x00\n", "line 2: a NUL byte"),
        (b"a,b\n1,\xe9\n", "line 2: a byte that is not UTF-8"),
        (b"a,b\n1,2\n1,2\r\n", "line 3: a line end of another kind"),
        (b"a,b\r\n1,2\n", "line 2: a line end of another kind"),
        (b"a,b\r1,2\r", "line 1: a carriage return without a line feed"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00", "UTF-16"),
        (b"a\n" + b"x" * 2_000_001 + b"\n", "line 2: more than 2,000,000 bytes"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused(tmp_path, content, words):
    with pytest.raises(InputRefusedError, match=r"t\.csv") as refused:
        looked_at(tmp_path, content)
    assert words in str(refused.value)


def test_blocks_of_any_size_give_the_same_account(tmp_path, monkeypatch):
    content = b'a,b\r\n1,"x\r\n\r\ny, ""z"""\r\n\r\n"2",3\r\n' * 20

    def account():
        seen = looked_at(tmp_path, content)
        return seen.sha256, seen.lines, seen.blank, seen.continuation

    whole = account()
    for block in (1, 2, 3, 5, 7, 64):
        monkeypatch.setattr(guard, "BLOCK", block)
        assert account() == whole


def test_latin_1_is_read_where_it_is_declared(tmp_path):
    assert looked_at(tmp_path, b"a,b\n1,\xe9\n", Dialect(encoding="latin-1")).records == 1


def test_a_count_file_proves_a_file_without_final_line_end_whole(tmp_path):
    (tmp_path / "t.csv.count").write_text("2\n")
    assert looked_at(tmp_path, b"a,b\n1,2\n3,4").records == 2
    (tmp_path / "t.csv.count").write_text("3\n")
    with pytest.raises(InputRefusedError, match="has 2 records, its count file says 3"):
        looked_at(tmp_path, b"a,b\n1,2\n3,4")


def test_gzip_is_seen_by_content_and_refused_when_truncated(tmp_path):
    plain = b"a,b\n" + b"1,2\n" * 5000
    packed = gzip.compress(plain)
    seen = looked_at(tmp_path, packed, name="t.csv.gz")
    assert seen.records == 5000
    assert seen.sha256 == looked_at(tmp_path, plain).sha256, "the hash is of the content, however it is packed"
    assert looked_at(tmp_path, packed + gzip.compress(b"5,6\n"), name="two.gz").records == 5001
    for damaged in (packed[:-20], packed + b"garbage"):
        with pytest.raises(InputRefusedError, match="damaged or truncated gzip"):
            looked_at(tmp_path, damaged, name="t.csv.gz")


def test_zstd_is_seen_by_content_and_refused_when_truncated(tmp_path):
    plain = b"a,b\n" + b"".join(b"%d,%d\n" % (number, number * 7919) for number in range(5000))
    packed = pa.compress(plain, codec="zstd", asbytes=True)
    seen = looked_at(tmp_path, packed, name="t.csv.zst")
    assert seen.records == 5000
    assert seen.sha256 == looked_at(tmp_path, plain).sha256
    for damaged in (packed[:-1], packed[: len(packed) // 2], packed + b"garbage"):
        with pytest.raises(InputRefusedError, match="damaged or truncated zstd"):
            looked_at(tmp_path, damaged, name="t.csv")


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_blocks_hold_whole_records_and_say_on_which_lines_they_start(tmp_path, size):
    # line 1 header, 2 blank, 3 and 4 record 0, 5 record 1, 6 blank, 7 record 2
    for content, lines in ((b'a,b\n\n1,"x\ny"\n2,3\n\n4,5\n', [3, 5, 7]), (b"a,b\n1,2\n3,4\n", [2, 3])):
        blocks = list(record_blocks(looked_at(tmp_path, content), Dialect(), size))
        assert b"".join(block.content for block in blocks) == content.removeprefix(b"a,b\n")
        assert [line for block in blocks for line in block.lines] == lines
        assert [block.first for block in blocks] == [
            sum(len(one.lines) for one in blocks[:at]) for at in range(len(blocks))
        ]
        assert all(block.content.count(b'"') % 2 == 0 for block in blocks)


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputRefusedError, match="not a regular file"):
        inspect(tmp_path / "folder.csv", Dialect())
