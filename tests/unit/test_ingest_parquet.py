"""Parquet extracts: the footer is the guard, and every value is the one that the same file in CSV would give."""

import datetime as dt

import polars as pl
import pytest
from ingest_helpers import write_layout

from cohort.errors import InputRefusedError
from cohort.ingest.load import ingest

LAYOUT = """
name = "columns"
description = "one file, CSV or Parquet"

[sources.scores]
files = ["scores.csv", "scores.parquet"]
[sources.scores.columns]
ID = "person"
DAY = { type = "date", filled = true }
SCORE = "number"
"""
SQL = "select ID as person, DAY as date, 'x' as instrument, SCORE as value from extract.scores where SCORE is not null"
DAY = dt.date(2020, 3, 5)


def load(tmp_path, frame, write="write_parquet", store="store", **options):
    layout = write_layout(tmp_path / "columns", LAYOUT, measurement=SQL)
    for name in ("person", "diagnosis", "enrolment"):
        (layout / f"{name}.sql").unlink()
    extract = tmp_path / f"extract_{store}"
    extract.mkdir()
    getattr(frame, write)(extract / ("scores.parquet" if write == "write_parquet" else "scores.csv"))
    return ingest(extract, layout, tmp_path / store, keep_ids=True, **options)


def rows(store):
    return store.scan("measurement").collect().sort(pl.all()).rows()


@pytest.mark.parametrize(
    "identifiers",
    [["12", "13", "14", "15"], [12, 13, 14, 15], [12.0, 13.0, 14.0, 15.0]],
    ids=["text", "integer", "float"],
)
@pytest.mark.parametrize(
    "days", [[DAY] * 4, [dt.datetime(2020, 3, 5, 23, 59)] * 4, ["2020-03-05"] * 4], ids=["date", "datetime", "text"]
)
def test_parquet_gives_what_csv_gives(tmp_path, identifiers, days):
    scores = [0.1, 1e-5, 12345.0, None]
    parquet = load(tmp_path, pl.DataFrame({"SCORE": scores, "ID": identifiers, "DAY": days}))
    texts = {"ID": ["12", "13", "14", "15"], "DAY": ["2020-03-05"] * 4, "SCORE": ["0.1", "0.00001", "12345", ""]}
    csv = load(tmp_path, pl.DataFrame(texts), "write_csv", "other")
    assert rows(parquet) == rows(csv)
    assert [row[3] for row in rows(parquet)].count(None) == 0
    assert (parquet.account.files[0].lines, parquet.account.files[0].header, parquet.account.files[0].loaded) == (
        4,
        0,
        4,
    )


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_an_instant_gives_its_day_in_utc_on_every_machine(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    instant = dt.datetime(2020, 3, 5, 23, 59, tzinfo=dt.UTC)
    store = load(tmp_path, pl.DataFrame({"ID": ["1"], "DAY": [instant], "SCORE": [1.0]}))
    assert [row[1] for row in rows(store)] == [DAY]


def test_a_bad_cell_is_rejected_with_its_row(tmp_path):
    frame = pl.DataFrame(
        {"ID": ["1", "2", None], "DAY": ["2020-03-05", "2020-02-30", "2020-03-05"], "SCORE": [1.0, 2.0, 3.0]}
    )
    store = load(tmp_path, frame, max_reject_rate=0.9)
    assert store.account.files[0].reasons == {"missing:ID": 1, "unreadable:DAY": 1}
    (rejects,) = (tmp_path / "store" / "private" / "rejects").rglob("*.parquet")
    assert pl.read_parquet(rejects).select("line", "reason").rows() == [(2, "unreadable:DAY"), (3, "missing:ID")]


def test_infinity_is_no_number_and_nan_is_empty(tmp_path):
    frame = pl.DataFrame({"ID": ["1", "2", "3"], "DAY": [DAY] * 3, "SCORE": [float("inf"), float("nan"), 4.0]})
    store = load(tmp_path, frame, max_reject_rate=0.5)
    assert store.account.files[0].reasons == {"unreadable:SCORE": 1}
    assert [row[3] for row in rows(store)] == [4.0]


def test_a_file_without_rows_is_whole(tmp_path):
    store = load(tmp_path, pl.DataFrame(schema={"ID": pl.String, "DAY": pl.Date, "SCORE": pl.Float64}))
    assert store.scan("measurement").collect().height == 0


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep):
    extract = tmp_path / "extract"
    extract.mkdir()
    pl.DataFrame({"ID": [str(n) for n in range(500)], "DAY": [DAY] * 500, "SCORE": [1.0] * 500}).write_parquet(
        extract / "scores.parquet"
    )
    content = (extract / "scores.parquet").read_bytes()
    (extract / "scores.parquet").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputRefusedError, match="without a whole footer"):
        ingest(extract, write_layout(tmp_path / "columns", LAYOUT, measurement=SQL), tmp_path / "store")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff\xff\xff\x7fPAR1"])
def test_a_file_without_a_footer_or_with_one_longer_than_itself_is_refused(tmp_path, content):
    extract = tmp_path / "extract"
    extract.mkdir()
    (extract / "scores.parquet").write_bytes(content)
    with pytest.raises(InputRefusedError, match=r"scores\.parquet (is empty|.*without a whole footer)"):
        ingest(extract, write_layout(tmp_path / "columns", LAYOUT, measurement=SQL), tmp_path / "store")


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_point_in_time_of_any_unit_gives_its_day(tmp_path, unit):
    noon = pl.Series([dt.datetime(2020, 3, 5, 12)]).cast(pl.Datetime(unit))
    store = load(tmp_path, pl.DataFrame({"ID": ["1"], "DAY": noon, "SCORE": [1.0]}))
    assert [row[1] for row in rows(store)] == [DAY]


def test_a_nested_column_is_refused_by_name(tmp_path):
    with pytest.raises(InputRefusedError, match="column SCORE is nested"):
        load(tmp_path, pl.DataFrame({"ID": ["1"], "DAY": [DAY], "SCORE": [[1.0]]}))
