"""A rejected record carries the physical line of the file on which it starts, whatever stands above it."""

import polars as pl
import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.ingest.load import ingest
from cohort.simulate import simulate

NOTED = LAYOUT.replace(
    'CODE = { type = "text", filled = true }', 'CODE = { type = "text", filled = true }\nNOTE = "text"'
)
NOTES = ['"plain"', '"two\nlines"', '"an empty\n\nline, and ""quotes"""']


def rejects(store):
    """Return the rejected records of all files; rejected rows of tables lie beside them, named by bucket."""
    files = (store / "private" / "rejects").rglob(f"*-{'?' * 12}.parquet")
    return pl.concat([pl.read_parquet(path) for path in files])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [0, 2])
def test_the_line_is_counted_over_quoted_and_blank_lines(tmp_path, end, blank):
    """Every seventh of 3,000 records has a day that does not exist; the join with the pseudonyms must not move it."""
    text, expected = "ID,DAY,CODE,NOTE\n", []
    for number in range(3000):
        bad = number % 7 == 3
        expected += [text.count("\n") + 1] if bad else []
        text += f"P{number % 50},{'2020-02-30' if bad else '2020-02-28'},M545,{NOTES[number % 3]}\n"
        text += "\n" * blank if number % 100 == 0 else ""
    layout = write_layout(tmp_path / "tiny", NOTED)
    extract = write_extract(tmp_path / "extract", visits=text.replace("\n", end).encode())
    ingest(extract, layout, tmp_path / "store", max_reject_rate=1)
    written = rejects(tmp_path / "store")
    assert written["line"].to_list() == expected
    assert set(written["reason"]) == {"unreadable:DAY"}
    assert set(written["cells"].list.get(1)) == {"2020-02-30"}


def test_the_lines_are_those_of_the_simulators_ledger(tmp_path):
    simulate("low_back_pain", persons=1500, seed=7, out=tmp_path / "extract", layout="tuva", dirt=1.0)
    ingest(tmp_path / "extract", "tuva", tmp_path / "store", max_reject_rate=1)
    planted = pl.read_csv(tmp_path / "extract" / "truth" / "ledger.csv")
    reason = {"missing_separator": "short_row", "extra_separator": "long_row", "mistyped_date": "unreadable"}
    expected = planted.filter(pl.col("defect").is_in(list(reason))).with_columns(
        reason=pl.col("defect").replace_strict(reason)
    )
    key = ["file", "line", "reason"]
    written = rejects(tmp_path / "store").with_columns(pl.col("reason").str.split(":").list.first())
    assert written.select(key).sort(key).equals(expected.select(key).sort(key))
