"""The multiverse: all combinations of a study's alternatives, checked like the study, equal to their own runs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest

import cohort as co
from cohort.errors import StudyError
from cohort.multiverse import _counts
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import DisclosureRule
from cohort.results.history import record_release


@pytest.fixture(scope="module")
def study(root):
    return co.Study.from_toml(root / "examples" / "low_back_pain.toml")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multiverse")
    co.simulate("low_back_pain", persons=3000, seed=5, layout="tuva", out=folder / "extract")
    return co.ingest(folder / "extract", "tuva", folder / "store", buckets=3)


GRIDS = {
    "washout and outcome, of a model": (
        {"cohort.entry.washout_days": [90, 180, 365], "outcome.after_days": [90, 120]},
        {"analysis": 3},
    ),
    "two keys of one part, of a curve": (
        {"cohort.rules[2].minimum": [18, 40], "cohort.rules[2].maximum": [64, 100], "outcome.within_days": [200, 365]},
        {"analysis": 1, "pick": {"group": "false", "time": 300}},
    ),
    "covariate, end of follow-up, codes and whole outcomes, of a rate": (
        {
            "cohort.end.max_days": [180, 365],
            "outcome": [
                co.chronification("low_back_pain"),
                co.first_record(co.diagnosis("chronic_pain_explicit"), from_day=91),
            ],
        },
        {"analysis": 2, "pick": {"group": "female"}},
    ),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_every_combination_equals_its_own_run_bit_for_bit(study, store, grid):
    axes, chosen = GRIDS[grid]
    multiverse = study.over(axes, **chosen)
    ran = multiverse.run(store)
    assert ran.table.height == len(multiverse.studies) == len(ran.released) > 1
    for variant, released in zip(multiverse.studies, ran.released, strict=True):
        own = variant.run(store)
        assert own.estimates.frame.equals(released.estimates.frame, null_equal=True)
        assert own.attrition == released.attrition
    withheld = ran.table.select(pl.col("value").is_null() != (pl.col("status") == "suppressed")).to_series()
    assert not withheld.any()
    assert ran.table["value"].drop_nulls().n_unique() > 1  # the alternatives do something


def test_a_variant_is_the_study_that_its_file_would_be(study, root, tmp_path):
    """Varying a key is editing the file: same hash, once narrowed to the analysis compared."""
    text = (root / "examples" / "low_back_pain.toml").read_text()
    (tmp_path / "edited.toml").write_text(text.replace("washout_days = 180", "washout_days = 90"))
    (edited,) = co.Study.from_toml(tmp_path / "edited.toml").over(analysis=3).studies
    (varied,) = study.over(washout_days=[90], analysis=3).studies
    assert varied.sha256 == edited.sha256


def test_the_table_names_combinations_and_the_estimate(study, store):
    axes, chosen = GRIDS["washout and outcome, of a model"]
    table = study.over(axes, **chosen).run(store).table
    assert table.select("combination", *axes).rows() == [
        (1, "90", "90"),
        (2, "90", "120"),
        (3, "180", "90"),
        (4, "180", "120"),
        (5, "365", "90"),
        (6, "365", "120"),
    ]
    assert table.select("estimand", "term", "category").unique().rows() == [("hazard_ratio", "early_opioid", "true")]
    assert table.select((pl.col("lower") < pl.col("value")) & (pl.col("value") < pl.col("upper"))).to_series().all()


def test_a_curve_is_read_at_the_last_released_point_by_the_day(study, store):
    released = study.over(analysis=1, pick={"group": "false", "time": 300}).run(store)
    row = released.table.row(0, named=True)
    curve = released.released[0].estimates.frame.filter(
        pl.col("outcome") == "chronification", pl.col("group") == "false", pl.col("time") <= 300
    )
    assert (row["time"], row["value"]) == curve.sort("time").select("time", "value").row(-1)


def test_a_curve_of_everybody_needs_nothing_picked_but_a_day(study, store):
    """Its estimates have no term; comparing with none would be a warning, and warnings are errors here."""
    whole = study.model_copy(update={"analyses": (co.cumulative_incidence(),), "covariates": ()})
    table = whole.over(washout_days=[90, 365], pick={"time": 300}).run(store).table
    assert table["value"].n_unique() == 2


def table(n, events):
    frame = pl.DataFrame({"person_id": range(n), "cause": [1] * events + [0] * (n - events)})
    frame = frame.with_columns(pl.lit(dt.date(2020, 1, 1)).alias("index_date"))
    return AnalysisTable((frame,), ("pain", "death"), 0, {})


@pytest.mark.parametrize(
    ("n", "events", "minimum", "shown"),
    [
        (104, 50, 11, (99, 55)),  # 104 / 11 = 9.45, 50 / 11 = 4.5454: nearest multiples of 11
        (104, 50, 0, (104, 50)),  # no rule, exact
        (104, 10, 11, (99, None)),  # fewer than 11 events
        (104, 94, 11, (99, None)),  # fewer than 11 without
        (104, 0, 11, (99, 0)),
        (10, 5, 11, (None, None)),
    ],
)
def test_counts_of_combinations_cannot_be_subtracted(n, events, minimum, shown):
    cells = pl.select(*_counts(table(n, events), DisclosureRule(minimum=minimum)))
    assert cells.row(0) == shown


def test_a_zero_is_hidden_where_the_rule_hides_it():
    assert pl.select(*_counts(table(104, 0), DisclosureRule(show_zero=False))).row(0) == (99, None)


def test_an_exact_rate_would_give_its_counts_back(study, store):
    value = study.over(analysis=2, pick={"group": "female"}).run(store).table["value"].item()
    assert value == pytest.approx(float(f"{value:.4g}"), rel=1e-15)


def test_a_combination_with_nobody_at_risk_has_a_row_that_says_so(study, store):
    axes, chosen = {"cohort.rules[2].minimum": [18, 100]}, {"analysis": 2, "pick": {"group": "male"}}
    table = study.over(axes, **chosen).run(store).table
    assert table.select("value", "status").row(1) == (None, "suppressed")  # under the rule, few and none look alike
    openly = study.model_copy(update={"disclosure": DisclosureRule(minimum=0)})
    table = openly.over(axes, **chosen).run(store).table
    assert table.select("n", "value", "status").row(1) == (0, None, "not_estimable: nobody at risk")


@pytest.mark.parametrize("name", ["cohort.entry.washout_days", "entry.washout_days", "washout_days"])
def test_a_key_may_be_shortened(study, name):
    (variant,) = study.over({name: [91]}, analysis=3).studies
    assert variant.cohort.entry.washout_days == 91


FAULTS = {
    "unknown key": ({"washout": [90]}, {}, "'washout' is no key of the study; did you mean 'washout_days'?"),
    "ambiguous key": ({"bridge_days": [0]}, {}, "stands for several keys of the study: cohort.rules[3].bridge_days, cohort.end.bridge_days"),
    "impossible value": ({"washout_days": [180, -1]}, {}, "cohort.entry.washout_days = -1: -1 cannot stand there: Entry: washout_days: input should be greater than or equal to 0"),
    "text for a number": ({"washout_days": ["90"]}, {}, "input should be a valid integer"),
    "values that do not go together": ({"after_days": [90, 150], "outcome.within_days": [120, 365]}, {}, "outcome.after_days = 150, outcome.within_days = 120"),
    "faulty design": ({"after_days": [10, 90]}, {}, "outcome.after_days = 10: covariates[5].window: 'early_opioid'"),
    "no values": ({"washout_days": []}, {}, "washout_days: give a list of at least one alternative value"),
    "one value, not a list": ({"washout_days": "90"}, {}, "washout_days: give a list"),
    "one key twice": ({"washout_days": [90], "entry.washout_days": [180]}, {}, "vary the same key"),
    "too many": ({"washout_days": list(range(1, 201)), "after_days": list(range(90, 190))}, {}, "20000 combinations"),
    "no such analysis": ({}, {"analysis": 4}, "analysis 4: the study has 3"),
    "a group to pick": ({}, {"analysis": 1}, "one estimate per level of 'early_opioid'"),
    "no such column": ({}, {"pick": {"groop": "x"}}, "'groop' is no column of the estimates; did you mean 'group'?"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_before_a_row_is_read(study, fault):
    axes, chosen, message = FAULTS[fault]
    with pytest.raises(StudyError) as refused:
        study.over(axes, **{"analysis": 3} | chosen)
    assert message in str(refused.value)


def test_combinations_share_what_does_not_vary_and_what_varies_alike(study):
    first, second, third, fourth = study.over(after_days=[90, 120], washout_days=[90, 180], analysis=3).studies
    assert first.cohort.entry is third.cohort.entry
    assert second.cohort.entry is fourth.cohort.entry
    assert first.cohort.entry is not second.cohort.entry
    assert first.cohort.rules[0] is fourth.cohort.rules[0]
    assert first.outcome is second.outcome


def test_of_an_effect_the_difference_of_risks_is_compared_unless_another_estimate_is_picked(study, store) -> None:
    trial = co.emulated_trial("opioid", 60, "age + sex", 364, replicates=20, unsealed="a test of what is picked")
    exposures = [co.exposure("opioid", co.dispensing("opioid"))]
    plan = co.Study(
        study.cohort, outcome=study.outcome, covariates=study.covariates, exposures=exposures, analyses=[trial]
    )
    for pick, estimand in (({}, "risk_difference"), ({"estimand": "marginal_hazard_ratio"}, "marginal_hazard_ratio")):
        found = plan.over({"cohort.entry.washout_days": [90, 180]}, pick=pick).run(store).table
        assert found.select("estimand", "category", "time").unique().rows() == [(estimand, None, 364)]
        assert found["value"].null_count() == 0


# What earlier releases forbid ---------------------------------------------------------------------------------------


def test_the_same_combinations_may_be_released_again_and_each_is_remembered_once(study, store, tmp_path):
    multiverse = study.over(washout_days=[90, 180], analysis=2, pick={"group": "female"})
    first, again = (multiverse.run(store, history=tmp_path) for _ in range(2))
    assert first.table.equals(again.table)
    assert len([*(tmp_path / "variants").glob("*/000001.json")]) == 2
    assert not [*(tmp_path / "variants").glob("*/000002.json")]


def test_a_combination_that_changed_by_a_few_since_its_last_release_is_withheld(study, store, tmp_path):
    multiverse = study.over(washout_days=[90, 180], analysis=2, pick={"group": "female"})
    shown = multiverse.run(store).table.drop_nulls("value")
    assert shown.height == 2
    for variant in multiverse.studies:
        record = variant.run(store).released.record
        counts = {place: (count + 3, hidden) for place, (count, hidden) in record.counts.items()}
        record_release(tmp_path / "variants", variant.sha256, replace(record, counts=counts))
    table = multiverse.run(store, history=tmp_path).table
    assert table["value"].null_count() == table["n"].null_count() == 2
    assert set(table["status"]) == {"suppressed"}


def test_a_combination_is_held_against_the_reports_of_its_population(study, store, tmp_path):
    (variant,) = study.over(analysis=2, pick={"group": "female"}).studies
    record = variant.run(store).released.record
    counts = {place: (count + 3, hidden) for place, (count, hidden) in record.counts.items()}
    record_release(tmp_path, study.population_sha256, replace(record, counts=counts))
    table = study.over(analysis=2, pick={"group": "female"}).run(store, history=tmp_path).table
    assert set(table["status"]) == {"suppressed"}
