"""Care as the scenario asks for it: flares, doses, tapers, stockpiling, slips, lags, leaving after a visit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort.simulate import load_scenario, simulate
from cohort.simulate.dispensings import LONG_TERM_SUPPLY, SLIPS, draw_dispensings
from cohort.simulate.encounters import SETTINGS, draw_encounters
from cohort.simulate.enrolment import RECENT_DAYS
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World, draw_world

EVERYBODY = np.ones(BLOCK, dtype=np.bool_)


def world(section: str, base: str = "low_back_pain", **fields: object) -> World:
    scenario = load_scenario(base)
    changed = getattr(scenario, section).model_copy(update=fields)
    return draw_world(scenario.model_copy(update={section: changed}), Block(5, 0))


def opioids(made: World):
    whole = draw_dispensings(made)
    return whole.take(whole.drug == vocabulary().number("early_opioid"))


def test_flares_come_at_their_rate_while_pain_is_chronic_and_last_their_mean():
    made = world("flares", per_year_in_chronic_pain=4.0, mean_days=10.0)
    flares, course, bounds = made.flares, made.course, made.enrolment.bounds
    at = (flares.person, flares.episode)
    happened = (flares.since < course.lasts[at]) & (course.onset[at] + flares.since < bounds[-1])
    assert flares.since.min() >= made.scenario.states.chronic_after_days
    chronic = np.clip(np.minimum(course.onset + course.lasts, bounds[-1]) - course.onset - 90, 0, None)
    expected = 4.0 * chronic.sum() / 365.25
    assert happened.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert flares.lasts.mean() == pytest.approx(10.0, rel=4 / np.sqrt(len(flares.lasts)))


def test_a_seen_flare_is_a_visit_on_its_day_half_of_them_in_the_emergency_department():
    made = world("flares", per_year_in_chronic_pain=4.0, seeks_care=1.0)
    visits = made.visits.take(made.visits.flare)
    assert len(visits.person) == made.flares.seen.sum()
    assert sorted(visits.since) == sorted(made.flares.since[made.flares.seen])
    assert made.plan.returns[visits.person, visits.episode].all()
    with_flares, without = (
        (draw_encounters(w, EVERYBODY).setting == SETTINGS.index("emergency")).sum()
        for w in (made, world("flares", per_year_in_chronic_pain=0.0))
    )
    happened = made.happened
    seen = happened.take(happened.flare & made.enrolment.observes(happened.person, happened.day(made.course)))
    # a half of them, less the rare stays; binomial, and the others' settings are drawn anew
    assert with_flares - without == pytest.approx(0.5 * len(seen.person), rel=0.25)


def test_doses_are_those_of_the_scenario_and_do_not_change_without_a_taper():
    use = opioids(world("dispensing", taper_per_year=0.0))
    assert set(np.unique(use.tablets // use.supply)) == {2, 4, 6}
    first = np.r_[True, np.diff(use.person) != 0]
    share = np.mean(use.tablets[first] == 4 * use.supply[first])
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(first.sum()))
    assert not use.tapering.any()


def test_a_taper_lowers_the_dose_by_its_step_at_each_fill_until_nothing_is_left():
    made = world("dispensing", taper_per_year=1.0, taper_step=0.25, tablets_per_day=(4,), tablets_shares=(1.0,))
    use = opioids(made)
    doses = use.tablets / use.supply
    assert use.tapering.sum() > 50
    # 4 tablets a day, then 3, 2, 1, and no more
    assert set(doses[use.tapering]) <= {1.0, 2.0, 3.0, 4.0}
    assert set(doses[~use.tapering]) == {4.0}
    assert (use.supply[use.tapering] == LONG_TERM_SUPPLY).mean() > 0.9  # a few begin with the first fill
    treated = made.course.treated.sum(axis=1) == 1
    for person in np.unique(use.person[use.tapering & treated[use.person]])[:20]:
        steps = np.diff(doses[(use.person == person) & use.tapering])
        assert (steps == -1.0).all()


def test_stockpiling_refills_before_the_supply_ends():
    def overlaps(share):
        made = world("dispensing", refilled_early=share, early_days=5)
        use = opioids(made)
        use = use.take((made.course.treated.sum(axis=1) == 1)[use.person])
        same = np.diff(use.person) == 0
        return (use.day[:-1] + use.supply[:-1] - use.day[1:])[same]

    assert set(overlaps(0.0)) == {0}
    assert set(overlaps(1.0)) == {1, 2, 3, 4, 5}


def test_written_days_of_supply_are_mistaken_as_often_as_the_scenario_says():
    made = draw_dispensings(world("dispensing", supply_mistaken=0.3))
    wrong = made.written != made.supply
    assert set(made.written[wrong]) <= set(SLIPS)
    # a slip to 30 days is none where 30 is right: a little below 0.3
    assert 0.2 < wrong.mean() < 0.3
    exact = draw_dispensings(world("dispensing", supply_mistaken=0.0))
    assert (exact.written == exact.supply).all()


def test_conditions_are_coded_after_a_lag():
    code = vocabulary().number("diab")

    def first_coded(lag: float):
        made = world("care", condition_lag_days=lag, condition_visits_per_year=50.0)
        found = draw_encounters(made, EVERYBODY)
        rows = (found.diagnoses[:, 0] == code).nonzero()[0]
        place = [condition.concept for condition in made.scenario.comorbidity].index("diab")
        start = made.persons.comorbidity[:, place]
        incident = (start > made.enrolment.bounds[0]) & made.enrolment.enrolled.all(axis=1)
        day = np.full(BLOCK, np.inf)
        np.minimum.at(day, found.person[rows], found.day[rows])
        return (day - start)[incident & np.isfinite(day)]

    # visits every week: the first comes 7 days after recognition
    assert np.mean(first_coded(0.0)) == pytest.approx(7.3, abs=5)
    assert np.mean(first_coded(100.0)) == pytest.approx(107.3, abs=60)


def test_recent_visits_make_people_leave():
    made = world("enrolment", exit_per_month=0.02, exit_in_december=0.02, log_odds_comorbidity=0.0,
                 log_odds_recent_visit=2.3)  # fmt: skip
    enrolled, bounds = made.enrolment.enrolled, made.enrolment.bounds
    happened = made.happened
    day = happened.day(made.course)
    for month in (10, 40, 70):
        end = bounds[month + 1] - 1
        recent = np.zeros(BLOCK, dtype=bool)
        recent[happened.person[(day <= end) & (day > end - RECENT_DAYS)]] = True
        leaves = enrolled[:, month] & ~enrolled[:, month + 1]
        rates = [leaves[enrolled[:, month] & group].mean() for group in (recent, ~recent)]
        # odds 0.0204 * e^2.3 = 0.2036, a share of 0.169, against 0.020
        if (month + 1) % 12:
            assert rates[0] == pytest.approx(0.169, abs=0.10)
            assert rates[1] == pytest.approx(0.020, abs=0.012)
        assert rates[0] > rates[1] or (month + 1) % 12 == 0


def test_a_treatment_is_filled_whether_or_not_the_pain_lasts():
    made = world("opioid", base="immortal_time_trap")
    after = made.course.treated & (made.plan.opioid > made.course.lasts)
    filled = opioids(made)
    person, episode = np.nonzero(after)
    day = np.floor(made.course.onset + made.plan.opioid)[person, episode]
    inside = day < made.enrolment.bounds[-1]
    both = set(zip(filled.person.tolist(), filled.day.tolist(), strict=True))
    assert inside.sum() > 100
    assert set(zip(person[inside].tolist(), day[inside].astype(int).tolist(), strict=True)) <= both


def test_truth_holds_true_and_written_supply_and_every_flare(tmp_path):
    run = simulate(persons=1500, out=tmp_path)
    read = {name: pl.read_parquet(run.truth / f"{name}.parquet") for name in ("dispensings", "flares", "episodes")}
    seen = pl.read_csv(tmp_path / "pharmacy_claim.csv", infer_schema=False)
    true = read["dispensings"].select("person_id", pl.col("date", "written_days_supply", "tablets").cast(pl.String))
    renamed = seen.select("person_id", date="dispensing_date", written_days_supply="days_supply", tablets="quantity")
    assert renamed.join(true, on=renamed.columns, how="anti").height == 0
    assert (read["dispensings"]["days_supply"] != read["dispensings"]["written_days_supply"]).any()
    both = read["flares"].join(read["episodes"], on=["person_id", "episode"], validate="m:1")
    assert both.height == read["flares"].height > 100
    assert (both["start_date"] >= both["chronification_date"]).all()
    assert (both["start_date"] <= both["remission_date"]).drop_nulls().all()
