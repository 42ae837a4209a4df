"""No file loads silently wrong: each loads exactly, or is refused or quarantined with an account that adds up."""

import collections
from dataclasses import replace

import pytest
from malformed import DEFECTS, Loader, MalformedError, fate, parse

from cohort.ingest.cells import Parser

FILES = 500


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    opened = Loader(tmp_path_factory.mktemp("malformed"))
    yield opened
    opened.close()


def test_500_files_with_every_kind_of_defect(loader):
    fates = collections.defaultdict(collections.Counter)
    for seed in range(FILES):
        kind, ended = fate(loader, seed)
        fates[kind][ended] += 1
    assert fates.keys() == DEFECTS.keys()
    # sound files must not be refused, or the test would prove nothing
    for sound in ("none", "crlf", "byte order mark"):
        assert set(fates[sound]) == {"loaded"}, sound
    for hopeless in ("utf-16", "not utf-8", "nul", "return as line end", "empty"):
        assert set(fates[hopeless]) == {"refused"}, hopeless
    assert fates["separator at the end"]["quarantined"]


def test_a_loader_that_cuts_long_rows_would_be_caught(loader, monkeypatch):
    """Readers that are lenient do, and DuckDB's strict mode does: a row too long loads without its last cells."""
    original = Parser.parse

    def lenient(parser, block):
        lines = [line.split(b",")[: parser.width] for line in block.content.split(b"\n")]
        return original(parser, replace(block, content=b"\n".join(b",".join(line) for line in lines)))

    monkeypatch.setattr(Parser, "parse", lenient)
    with pytest.raises(AssertionError, match=r"rows|rejected lines"):
        for seed in range(FILES):
            fate(loader, seed)


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"a,b\n1,2\n", [(1, ["a", "b"]), (2, ["1", "2"])]),
        (b'a\n"x\n""y"\n\nz\n', [(1, ["a"]), (2, ['x\n"y']), (5, ["z"])]),
        (b'a\r\n""\r\n', [(1, ["a"]), (2, [""])]),
    ],
)
def test_the_independent_parser_reads_as_rfc_4180_has_it(content, records):
    assert parse(content) == records


@pytest.mark.parametrize(
    "content", [b"a", b'a\n"\n', b'a\n"x"y\n', b'a\nx"y"\n', b"a\r\nb\n", b"a\rb\n", b"a\n\0\n", b"\xff\n"]
)
def test_the_independent_parser_refuses(content):
    with pytest.raises(MalformedError):
        parse(content)
