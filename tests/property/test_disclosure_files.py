"""Released files are a function of what may be known: change only what is withheld, and no byte of any file moves."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from cohort.errors import CohortError
from cohort.population.attrition import Attrition, Step
from cohort.report.document import ReportContent, write_report
from cohort.results.disclosure import DisclosureRule, Released, release
from cohort.results.estimates import Estimates
from cohort.results.provenance import Provenance
from cohort.results.publication import write_released
from cohort.results.table_one import count_table_one
from cohort.survival import kaplan_meier

NAMES = {"n_risk": "n", "n_event": "events", "n_censored": "censored", "estimate": "value"}
FILES = ("attrition.csv", "estimates.csv", "estimates.parquet", "report.html", "run.json")


def results(*, other: bool) -> Estimates:
    """Return Table 1, rates, a model and curves of 200 persons; ``other`` changes what the rule protects, only that.

    Persons move inside the block of four that hides 3 of them, events between two groups of which one has 4, the one
    in a rare level to another hazard ratio, and events and censorings within the days between two released points.
    """
    one = int(other)
    cells = {("a", "p"): 3 + one, ("a", "q"): 40 - one, ("a", "r"): 57}
    cells |= {("b", "p"): 30 - one, ("b", "q"): 30 + one, ("b", "r"): 40}
    people = pl.DataFrame([key for key, count in cells.items() for _ in range(count)], ["group", "x"], orient="row")
    rates = pl.DataFrame({"group": ["a", "b", "all"], "n": [100, 100, 200], "events": [4 + one, 60 - one, 64]})
    ratios = {"category": ["a", "b"], "n": [100, 100], "events": [4 + one, 60 - one], "value": [1.0, 2.5 + one]}
    follow = {
        "t": [6 + one] * 20 + [13 + one] * 30 + [18 + one] * 50 + [40] * 100,
        "e": [1] * 50 + [0] * 50 + [1] * 100,
    }
    small = {"t": [3 + one, 9, 12, 14 - 2 * one], "e": [1, 0, 1, one]}
    curves = [kaplan_meier(pl.DataFrame(frame), "t", "e").to_polars() for frame in (follow, small)]
    return Estimates.concat(
        [
            count_table_one(people.lazy(), {"x": "categorical"}, by="group").finish(),
            Estimates.from_rows(
                rates.with_columns(value=pl.col("events") / 7, lower=pl.col("events") / 9, upper=pl.col("events") / 5),
                analysis=1,
                estimand="incidence_rate",
                outcome="pain",
            ),
            Estimates.from_rows(
                pl.DataFrame(ratios),
                analysis=2,
                estimand="hazard_ratio",
                outcome="pain",
                term="group",
                level=0.95,
                method=f"Cox model; {3 + one} persons with a missing covariate left out",
            ),
            *(
                Estimates.from_rows(
                    frame.rename(NAMES).drop("group"),
                    analysis=3,
                    estimand="survival",
                    outcome="pain",
                    level=0.95,
                    group=name,
                )
                for name, frame in zip(("big", "small"), curves, strict=True)
            ),
        ]
    )


def published(folder: Path, *, other: bool) -> Released:
    flow = Attrition((Step("in the store", 500, 0, 500, 0), Step("criteria", 200, 300, 200, 300)))
    released = release(results(other=other), flow, DisclosureRule())
    provenance = Provenance("0" * 64, "1" * 64, (), (), {"cohort": "0"})
    write_report(ReportContent("Study", (), released, provenance), folder)
    return released


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    for folder, other in zip(made, (False, True), strict=True):
        published(folder, other=other)
    return made


def test_the_two_differ_before_the_gate_in_every_kind_of_result():
    one, other = (results(other=other).frame for other in (False, True))
    changed = one.join(other, on=one.columns, how="anti", nulls_equal=True)
    assert set(changed["analysis"]) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", FILES)
def test_no_byte_tells_of_what_is_withheld(folders, name):
    """Path coordinates, alternative text, Parquet footers, order of rows and size of files: all of it is bytes."""
    one, other = (folder.joinpath(name).read_bytes() for folder in folders)
    assert one == other


def test_no_file_beside_them_tells_of_it_either(folders):
    """Tables and figures with their data, and the report as Markdown: as many files, and the same bytes."""
    one, other = ({path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in folders)
    assert one == other
    assert {str(path) for path in one} > set(FILES)
    assert [str(path) for path in sorted(one) if len({(f / path).read_bytes() for f in folders}) > 1] == []


def test_the_page_draws_the_curve_that_may_be_seen(folders):
    page = (folders[0] / "report.html").read_text()
    assert "<path" in page
    assert "[c]" in page


def test_a_withheld_number_is_a_token_and_a_missing_one_is_empty(folders):
    csv = pl.read_csv(folders[0] / "estimates.csv", infer_schema=False)
    rate = csv.filter(pl.col("estimand") == "incidence_rate", pl.col("group") == "a").row(0, named=True)
    assert {name: rate[name] for name in ("value", "lower", "n", "events", "std_error", "person_days")} == {
        "value": "[c]", "lower": "[c]", "n": "[c]", "events": "[c]", "std_error": None, "person_days": None
    }  # fmt: skip
    shown = csv.filter(pl.col("estimand") == "incidence_rate", pl.col("group") == "all")
    assert shown["events"].to_list() == ["64"]


def test_parquet_names_what_is_withheld_and_keeps_no_statistics(folders):
    path = folders[0] / "estimates.parquet"
    frame = pl.read_parquet(path)
    rate = frame.filter(pl.col("estimand") == "incidence_rate", pl.col("group") == "a")
    assert rate["withheld"].to_list() == ["value lower upper n events"]
    assert rate.select("value", "n").row(0) == (None, None)
    assert frame.filter(pl.col("status") == "ok", pl.col("estimand") == "count")["withheld"].null_count() > 0
    groups = pq.ParquetFile(path).metadata
    columns = [groups.row_group(g).column(c) for g in range(groups.num_row_groups) for c in range(groups.num_columns)]
    assert not any(column.is_stats_set for column in columns)


def test_only_released_results_are_written(tmp_path):
    with pytest.raises(CohortError, match="only released results"):
        write_released(results(other=False), {}, tmp_path)
