"""Why values are missing: shown in Table 1 beside the covariate, and never a way round the release gate."""

from __future__ import annotations

import polars as pl

from cohort.population.attrition import Attrition
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.families import family_ledger
from cohort.results.table_one import count_table_one


def persons(group, missing, reason, known):
    """Return rows of one group: missing values with their reason, and known ones from 1 to 5."""
    rows = [(group, None, reason)] * missing + [(group, n % 5 + 1, None) for n in range(known)]
    schema = {"group": pl.String, "pdc": pl.Int64, "pdc_missing": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def table_of(*parts):
    return AnalysisTable(tuple(parts), ("pain",), 0, {"pdc": "integer", "group": "categorical"})


def released(table):
    described = table.described("group")
    rows = pl.concat([table.with_reasons(part) for part in table.parts])
    one = count_table_one(rows, described, "group").finish()
    return release(one, Attrition(()), DisclosureRule(minimum=11)).estimates.to_polars()


def cell(frame, estimand, term, category, group):
    found = frame.filter(
        pl.col("estimand") == estimand,
        pl.col("term") == term,
        pl.col("category").eq_missing(category),
        pl.col("group") == group,
    )
    return found["value"].item()


def test_reasons_are_a_variable_where_a_value_is_missing_in_any_bucket():
    none, some = persons("a", 0, "not enrolled", 40), persons("b", 20, "not enrolled", 40)
    assert list(table_of(none).described("group")) == ["pdc"]
    assert list(table_of(none, some).described("group")) == ["pdc", "pdc_missing"]


def test_the_reasons_of_missing_values_are_counted_by_group():
    found = released(table_of(persons("a", 30, "not enrolled", 70), persons("b", 20, "no supply", 80)))
    assert cell(found, "count", "pdc_missing", "not enrolled", "a") == 30
    assert cell(found, "count", "pdc_missing", "no supply", "all") == 20
    assert cell(found, "missing", "pdc", None, "a") == 30


def test_reasons_do_not_give_away_a_missing_count_that_is_withheld():
    # 3 are missing in a and 50 in b: whatever is shown, a reader must not be able to subtract to 3
    found = released(table_of(persons("a", 3, "not enrolled", 400), persons("b", 50, "not enrolled", 400)))
    views = {
        group: {
            cell(found, "missing", "pdc", None, group),
            cell(found, "count", "pdc_missing", "not enrolled", group),
            None
            if cell(found, "count", "pdc_missing", "known", group) is None
            else {"a": 403, "b": 450, "all": 853}[group] - cell(found, "count", "pdc_missing", "known", group),
        }
        - {None}
        for group in ("a", "b", "all")
    }
    assert views["a"] == set()
    assert not (views["b"] and views["all"])


def test_the_gate_knows_that_missing_values_are_the_sum_of_their_reasons():
    table = table_of(persons("a", 30, "not enrolled", 70), persons("a", 15, "no supply", 0), persons("b", 20, "-", 80))
    rows = pl.concat([table.with_reasons(part) for part in table.parts])
    one = count_table_one(rows, table.described("group"), "group").finish().to_polars()
    ledger = family_ledger(one.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)))
    sums = {relation.total: set(relation.parts) for relation in ledger.sums if relation.total == "pdc|(missing)|a"}
    reasons = {"pdc_missing|-|a", "pdc_missing|no supply|a", "pdc_missing|not enrolled|a"}
    assert sums == {"pdc|(missing)|a": reasons}
