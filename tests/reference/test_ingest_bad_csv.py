"""DuckDB's own corpus of difficult CSV files: what the loader reads is what an independent strict parser reads."""

import gzip
import io
import sys
import tarfile
from pathlib import Path

import duckdb
import pytest

from cohort.errors import InputRefusedError
from cohort.ingest.engine import translated
from cohort.ingest.guard import Dialect, inspect
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import Source, SourceColumn
from cohort.ingest.staging import Delivery

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "property"))
from malformed import MalformedError, parse, rows_of

LARGEST = 100_000
"""The independent parser goes character by character; the larger files repeat what the smaller ones show."""


def corpus(shared):
    """Yield name and content of every file of text, packed ones left out."""
    with tarfile.open(fileobj=io.BytesIO((shared / "data/bad_csv/duckdb_data_csv.tar.xz").read_bytes())) as tar:
        for member in tar:
            if member.isfile() and member.size <= LARGEST and not member.name.endswith((".gz", ".zst", ".md", ".py")):
                yield member.name, tar.extractfile(member).read()
    for path in sorted((shared / "data/bad_csv").rglob("csv*/**/*.csv")):
        yield str(path.name), path.read_bytes()


def loaded(connection, path, delimiter):
    """Return the records as the loader reads them (cells, short, long), every column as text."""
    seen = inspect(path, Dialect(delimiter))
    declared = {f"column{at}": SourceColumn(type="text", named=name) for at, name in enumerate(seen.columns)}
    source = Source(files=["t.csv"], columns=declared)
    delivery = Delivery.match("t", source, seen)
    layout = Layout("t", path, Dialect(delimiter), (), (), {"t": source}, {}, {}, {}, "")
    with translated("t.csv"):
        rows = rows_of(delivery.read(connection, layout))
    if len(rows) != seen.records:
        raise InputRefusedError("the account does not add up")  # as staging asserts on every load
    return seen.columns, rows


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"], ids=["comma", "semicolon", "pipe", "tab"])
def test_no_file_of_the_corpus_loads_silently_wrong(shared, tmp_path, delimiter):
    path, exact, refused = tmp_path / "t.csv", 0, 0
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, content in corpus(shared):
            if delimiter.encode() not in content and delimiter != ",":
                continue
            path.write_bytes(content)
            try:
                header, rows = loaded(connection, path, delimiter)
            except InputRefusedError:
                refused += 1
                continue
            try:
                # packing is known by the first bytes, whatever the name: one file of the corpus is gzip called .gzz
                plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                (_, names), *records = parse(plain, delimiter)
            except MalformedError:
                pytest.fail(f"{name} was read but is malformed")
            assert list(header) == [cell.strip() for cell in names], name
            for (*cells, short, long), (line, record) in zip(rows, records, strict=True):
                assert (short, long) == (len(record) < len(names), len(record) > len(names)), (name, line)
                if not short and not long:
                    assert cells == record, (name, line)
            exact += 1
    assert exact
    assert refused
