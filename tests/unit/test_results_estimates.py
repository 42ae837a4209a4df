"""Estimates: one schema, one order, the same bytes for the same content."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.errors import CohortError
from cohort.results.estimates import KEY, SCHEMA, Estimates


def rows() -> pl.DataFrame:
    return pl.DataFrame({"group": ["b", None, "a"], "time": [3, 1, 2], "value": [1 / 3, float("nan"), 1e-7]})


def test_absent_columns_become_null_and_constants_fill_a_column():
    table = Estimates.from_rows(rows(), analysis=2, estimand="survival").to_polars()
    assert table.schema == SCHEMA
    assert table.select("group", "value", "status", "events").rows() == [
        ("a", 1e-7, "ok", None),
        ("all", None, "ok", None),  # a group that is not named is everybody; NaN is no number
        ("b", 1 / 3, "ok", None),
    ]


def test_a_column_that_estimates_do_not_have_is_refused():
    with pytest.raises(CohortError, match="no column hazard"):
        Estimates.from_rows(rows().rename({"value": "hazard"}), analysis=1, estimand="survival")


def test_two_rows_that_say_the_same_thing_are_refused():
    one = Estimates.from_rows(rows(), analysis=1, estimand="survival")
    with pytest.raises(CohortError, match="same key"):
        Estimates.concat([one, one])


def test_the_order_of_parts_does_not_show_in_the_files(tmp_path):
    one, two = (Estimates.from_rows(rows(), analysis=number, estimand="survival") for number in (1, 2))
    for name, parts in (("forth", [one, two]), ("back", [two, one])):
        (tmp_path / name).mkdir()
        Estimates.concat(parts).write(tmp_path / name)
    for name in ("estimates.csv", "estimates.parquet"):
        assert (tmp_path / "forth" / name).read_bytes() == (tmp_path / "back" / name).read_bytes()


def test_files_read_back_as_they_were(tmp_path):
    table = Estimates.from_rows(rows(), analysis=1, estimand="survival")
    csv, parquet = table.write(tmp_path)
    assert pl.read_parquet(parquet).drop("withheld").equals(table.to_polars())
    assert pl.read_csv(csv, schema=SCHEMA).sort(KEY).equals(table.to_polars())


def test_a_text_cell_cannot_start_a_spreadsheet_formula(tmp_path):
    table = Estimates.from_rows(rows(), analysis=1, estimand="survival", outcome='=HYPERLINK("x")')
    csv, _ = table.write(tmp_path)
    assert "'=HYPERLINK" in csv.read_text()
    assert ",=HYPERLINK" not in csv.read_text().replace('"', "")


def test_select_by_analysis_and_estimand():
    table = Estimates.concat(
        Estimates.from_rows(rows(), analysis=n, estimand=e) for n, e in ((1, "survival"), (2, "mean"))
    )
    assert table.select(analysis=2).height == 3
    assert table.select(estimand="survival")["analysis"].unique().to_list() == [1]
    assert table.select().height == 6
