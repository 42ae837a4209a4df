"""Several sites: what each sends adds up to what their pooled persons give, and holds no small cell."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import cohort as co
from cohort.cli import app
from cohort.errors import InputRefusedError, ReleaseRefusedError, StudyError
from cohort.federated.cells import cells_of, protected, rows_of, widened
from cohort.federated.pooled import combine
from cohort.federated.site import SiteCounts, site_counts
from cohort.results.history import earlier_releases, record_release

SITES = {"aarhus": 11, "bergen": 12}


@pytest.fixture(scope="module")
def study(root):
    whole = co.Study.from_toml(root / "examples" / "low_back_pain.toml")
    return whole.model_copy(update={"disclosure": co.DisclosureRule(minimum=0)})


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    made = {}
    for site, seed in SITES.items():
        co.simulate("low_back_pain", persons=3000, seed=seed, out=folder / site / "extract")
        made[site] = co.ingest(folder / site / "extract", "tuva", folder / site / "store", buckets=2)
    return made


@pytest.fixture(scope="module")
def files(study, stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    return [site_counts(study, store, site).write(folder / f"{site}.counts") for site, store in stores.items()]


def pooled_persons(study, stores, *, strata=None):
    """Return the analysis table of both stores' persons side by side, as if they were one site's."""
    tables = [study.entries(store)[0] for store in stores.values()]
    parts = [part.with_columns(site=pl.lit(number)) for number, table in enumerate(tables) for part in table.parts]
    return replace(tables[0], parts=tuple(parts), strata=strata)


def table(rows, **variables):
    """Return a table of one bucket from (entry, time, cause, value) rows; the covariate is called ``kind``."""
    frame = pl.DataFrame(rows, schema=["entry", "time", "cause", *variables], orient="row")
    return co.AnalysisTable((frame,), ("pain", "death"), 0, variables)


@pytest.mark.parametrize("one_baseline", [False, True])
def test_sites_together_give_what_their_persons_give(study, stores, files, one_baseline):
    found = combine(files, one_baseline=one_baseline)
    persons = pooled_persons(study, stores, strata=None if one_baseline else "site")
    assert_frame_equal(study.estimates(found.table).frame, study.estimates(persons).frame)
    assert found.width == 1


def test_the_order_of_the_files_does_not_matter(files):
    ahead, behind = combine(files), combine(files[::-1])
    assert_frame_equal(ahead.released.estimates.frame, behind.released.estimates.frame)
    assert ahead.provenance.store_sha256 == behind.provenance.store_sha256


def test_flows_are_added_step_by_step(study, stores, files):
    flows = [study.entries(store)[1] for store in stores.values()]
    assert combine(files).released.attrition == flows[0] + flows[1]


def test_a_file_holds_no_identifier_and_no_calendar_date(files):
    for file in files:
        cells = pl.read_parquet(file)
        assert not {"person_id", "index_date"} & set(cells.columns)
        assert not cells.select(pl.col(pl.Date)).columns


# Cells under a rule -------------------------------------------------------------------------------------------------


def test_days_are_put_into_the_shortest_intervals_that_hold_enough():
    # Days 0 … 39, one event a day: 5 days hold 5, 10 hold 10, 30 hold 30 and the last 10.
    one_a_day = table([(0, day, 1, "a") for day in range(40)], kind="categorical")
    cells, width = protected(one_a_day, ["kind"], minimum=10, days=5)
    assert width == 10
    assert cells.select("time", "n", "days").rows() == [(0, 10, 45), (10, 10, 145), (20, 10, 245), (30, 10, 345)]


def test_what_stays_small_is_refused_with_the_covariates_to_change():
    few = table([(0, 10, 1, "a")] * 20 + [(0, 10, 1, "b")] * 3, kind="categorical")
    with pytest.raises(ReleaseRefusedError, match=r"fewer than 11 persons.*kind \(2\)"):
        protected(few, ["kind"], minimum=11, days=5)


def test_intervals_keep_persons_and_person_time_exactly():
    rows = [(entry, entry + 1 + (7 * entry) % 90, entry % 3, "ab"[entry % 2]) for entry in range(60)]
    persons = table(rows, kind="categorical")
    for width in (1, 5, 30):
        again = rows_of(cells_of(persons, ["kind"], width))
        whole = persons.parts[0]
        for column in ("entry", "time"):
            assert again[column].sum() == whole[column].sum()
        assert (again["time"] > again["entry"]).all()  # nobody who was at risk leaves on the day of joining
        same = ["cause", "kind"]
        assert_frame_equal(
            again.group_by(same).len().sort(same), whole.group_by(same).len().sort(same), check_dtypes=False
        )


def test_wider_intervals_are_the_same_from_cells_as_from_persons():
    rows = [(0, 1 + (13 * number) % 97, number % 3, "ab"[number % 2]) for number in range(200)]
    persons = table(rows, kind="categorical")
    assert_frame_equal(widened(cells_of(persons, ["kind"], 5), 30), cells_of(persons, ["kind"], 30))


def test_a_reason_for_a_missing_value_tells_cells_apart():
    frame = pl.DataFrame({"entry": 0, "time": [5, 5], "cause": 0, "kind": [None, "a"], "kind_missing": ["gap", None]})
    cells = cells_of(co.AnalysisTable((frame,), ("pain",), 0, {"kind": "categorical"}), ["kind"], 1)
    assert cells.select("kind", "kind_missing", "n").rows() == [(None, "gap", 1), ("a", None, 1)]


# Refusals -----------------------------------------------------------------------------------------------------------


def test_a_file_given_twice_is_refused(files):
    with pytest.raises(InputRefusedError, match="one file is given twice"):
        combine([files[0], files[0]])


def test_two_files_of_one_site_are_refused(study, stores, files, tmp_path):
    other = site_counts(study, stores["bergen"], "aarhus").write(tmp_path / "again.counts")
    with pytest.raises(InputRefusedError, match="one site is given twice"):
        combine([files[0], other])


def test_sites_must_count_the_same_study(study, stores, files, tmp_path):
    other = study.model_copy(update={"title": "Another"})
    file = site_counts(other, stores["bergen"], "bergen").write(tmp_path / "other.counts")
    with pytest.raises(InputRefusedError, match="2 different studies"):
        combine([files[0], file])


def test_a_damaged_file_is_refused_by_name(files, tmp_path):
    half = tmp_path / "half.counts"
    half.write_bytes(files[0].read_bytes()[:-20])
    with pytest.raises(InputRefusedError, match=r"half\.counts: not a whole file"):
        SiteCounts.read(half)
    with pytest.raises(InputRefusedError, match="no such file"):
        SiteCounts.read(tmp_path / "absent.counts")


def test_no_file_at_all_is_refused():
    with pytest.raises(InputRefusedError, match="no file of counts"):
        combine([])


def test_a_file_with_smaller_cells_than_its_study_allows_is_refused(study, stores, tmp_path):
    strict = study.model_copy(update={"disclosure": co.DisclosureRule(minimum=11)})
    bare = replace(site_counts(study, stores["bergen"], "bergen"), study=strict)
    with pytest.raises(InputRefusedError, match="smaller than its study allows"):
        SiteCounts.read(bare.write(tmp_path / "bare.counts"))


def test_designs_that_counts_cannot_tell_are_refused(study, stores):
    entry = co.Cohort("Each").enter_at_each(co.diagnosis("low_back_pain"), washout_days=90).entry
    again = study.model_copy(update={"cohort": study.cohort.model_copy(update={"entry": entry})})
    with pytest.raises(StudyError, match="enters more than once"):
        site_counts(again, stores["bergen"], "bergen")
    started = study.model_copy(update={"exposures": (co.exposure("opioid", co.dispensing("opioid")),)})
    with pytest.raises(StudyError, match="exposures after index"):
        site_counts(started, stores["bergen"], "bergen")
    zeros = study.model_copy(update={"disclosure": co.DisclosureRule(minimum=11, show_zero=False)})
    with pytest.raises(ReleaseRefusedError, match="shows what is 0"):
        site_counts(zeros, stores["bergen"], "bergen")


# What a site remembers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def protected_study(study):
    """Return the study under a rule that so small a store can keep, with no covariate to tell persons apart."""
    cut = {"disclosure": co.DisclosureRule(minimum=1), "analyses": (co.cumulative_incidence(),), "covariates": ()}
    return study.model_copy(update=cut)


def test_the_same_counts_may_leave_again_and_are_remembered_once(protected_study, stores, tmp_path):
    first, second = (site_counts(protected_study, stores["bergen"], "bergen", history=tmp_path) for _ in range(2))
    assert_frame_equal(first.cells, second.cells)
    assert first.flow == second.flow
    assert len([*tmp_path.glob("*/counts/*.parquet")]) == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*/counts/*"))


def test_a_report_beside_counts_of_the_same_population_is_refused_and_the_other_way_round(
    protected_study, stores, tmp_path
):
    population, store = protected_study.population_sha256, stores["bergen"]
    site_counts(protected_study, store, "bergen", history=tmp_path / "counts first")
    with pytest.raises(ReleaseRefusedError, match="a report beside it could be subtracted"):
        earlier_releases(tmp_path / "counts first", population)
    record_release(tmp_path / "report first", population, protected_study.run(store).released.record)
    with pytest.raises(ReleaseRefusedError, match="a report of this population left before"):
        site_counts(protected_study, store, "bergen", history=tmp_path / "report first")
    other = protected_study.model_copy(update={"title": "Other"})
    with pytest.raises(ReleaseRefusedError, match="counts by another study"):
        site_counts(other, store, "bergen", history=tmp_path / "counts first")


def test_with_the_rule_off_nothing_is_remembered(study, stores, tmp_path):
    site_counts(study, stores["bergen"], "bergen", history=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_intervals_grow_until_no_cell_differs_by_a_few_from_what_left_before():
    # 30 and 30 persons leave in the first and the second 5 days; a month later two more did so on day 7
    then = table([(0, day, 1) for day in (3, 7) for _ in range(30)])
    few = table([(0, day, 1) for day in (3, 7, 7) for _ in range(30)][:62])
    many = table([(0, day, 1) for day in (3, 7, 7) for _ in range(30)])
    past = protected(then, (), 11, 5)
    assert past[1] == 5
    with pytest.raises(ReleaseRefusedError, match="fewer than 11 persons from the last file"):
        protected(few, (), 11, 5, [past])  # at any width, two more are two more
    assert protected(many, (), 11, 5, [past])[1] == 5
    moved = table([(0, day, 1) for day in (3, 7) for _ in range(30)][:-2] + [(0, 3, 1)] * 2)
    with pytest.raises(ReleaseRefusedError):  # as many persons, of whom two left earlier: their days tell
        protected(moved, (), 11, 5, [past])


# Commands -----------------------------------------------------------------------------------------------------------


def test_from_two_stores_to_one_report_by_command(study, stores, tmp_path):
    file = tmp_path / "study.toml"
    study.to_toml(file)
    for site, store in stores.items():
        made = invoke("counts", file, "--store", store.path, "--out", tmp_path / f"{site}.counts")
        assert "every day apart" in made
    said = invoke("combine", *(tmp_path / f"{site}.counts" for site in stores), "--out", tmp_path / "out")
    assert said == f"report: {tmp_path / 'out' / 'report.html'}\n"
    page = (tmp_path / "out" / "report.html").read_text()
    assert study.title in page
    assert "aarhus.counts" in page  # the inputs of its provenance
    estimates = pl.read_parquet(tmp_path / "out" / "estimates.parquet").drop("withheld")
    assert estimates.equals(combine([tmp_path / f"{site}.counts" for site in stores]).released.estimates.frame)


def test_a_folder_is_no_file_of_counts(stores, tmp_path):
    with pytest.raises(StudyError, match="is a folder"):
        invoke("counts", tmp_path / "study.toml", "--store", stores["bergen"].path, "--out", tmp_path)


def invoke(*arguments):
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout
