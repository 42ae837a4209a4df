"""An attacker who reads a whole released set, or a year of them, and knows the rule cannot work out a withheld count.

A protected count may be pinned neither to one value nor to a range in which every value is small; of the difference of
two months the same holds. 200 reports here; the long form is in `disclosure_attack`.
"""

from __future__ import annotations

import disclosure_attack as attack
import disclosure_inverter
import numpy as np
import polars as pl
import pytest

from cohort.errors import ReleaseRefusedError
from cohort.population.attrition import Attrition, Step
from cohort.results import cells, rounding, withhold
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.error_steps import widen_steps
from cohort.results.estimates import Estimates


@pytest.mark.parametrize("block", range(4))
def test_no_small_count_can_be_worked_out_from_a_released_set(block):
    for seed in range(50 * block, 50 * block + 50):
        people = attack.population(np.random.default_rng(seed))
        assert attack.attack_report(people, attack.publish(people, attack.rule_of(seed))) == [], seed


def test_the_attacker_solves_standard_errors_and_limits_that_leave_with_four_digits(monkeypatch):
    def as_it_is(frame, *_):
        return frame

    for module in (withhold, rounding, disclosure_inverter):
        monkeypatch.setattr(module, "widen_steps", as_it_is)
    people = attack.population(np.random.default_rng(141))  # eight events among those who lack a level
    assert attack.attack_report(people, attack.publish(people, attack.rule_of(141))) == ["a count of 8 lies in 8..8"]


def test_a_cell_withheld_in_table_one_is_withheld_in_a_model_that_leaves_some_persons_out():
    people = attack.population(np.random.default_rng(25))
    shown = attack.publish(people, DisclosureRule()).estimates.frame.filter(pl.col("category") == "a")
    assert shown.filter(pl.col("group") == "all")["n"].to_list() == [None] * 3  # count and share of Table 1, and model


def test_the_attacker_finds_what_a_gate_without_neighbours_lets_out(monkeypatch):
    monkeypatch.setattr(cells, "neighbours_to_hide", lambda *_, **__: set())
    everybody = (attack.population(np.random.default_rng(seed)) for seed in range(10))
    assert any(attack.attack_report(people, attack.publish(people, DisclosureRule())) for people in everybody)


@pytest.mark.parametrize("seed", [2, 3, 6])
def test_a_few_persons_more_or_less_cannot_be_worked_out_from_two_releases(seed):
    months = attack.chain(seed, 5, attack.rule_of(seed))
    assert len(months) > 1
    assert attack.attack_chain(months) == []


def test_the_attacker_finds_what_a_gate_without_a_memory_lets_out():
    random = np.random.default_rng(0)
    people = attack.population(random)
    later = attack.month_later(people, random)
    rule = DisclosureRule()
    months = [(one, attack.publish(one, rule)) for one in (people, later)]
    assert attack.attack_chain(months)


def test_where_too_little_changed_the_last_release_stands():
    people = attack.population(np.random.default_rng(0))
    first = attack.publish(people, DisclosureRule())
    with pytest.raises(ReleaseRefusedError, match="no count differs by 11 or more"):
        attack.publish(pl.concat([people, people.head(3)]), DisclosureRule(), (first.record,))
    again = attack.publish(people, DisclosureRule(), (first.record,))  # nothing changed: the same release
    assert again.estimates.frame.equals(first.estimates.frame)
    assert again.record == first.record


# How much is withheld -----------------------------------------------------------------------------------------------


def test_no_more_is_withheld_than_a_fifth_above_the_least_that_protects():
    numbers = [attack.withheld_cells(seed) for seed in range(12)]
    assert max(ours / least for ours, least in numbers) <= 1.2, numbers


@pytest.mark.parametrize("seed", range(8))
def test_released_curves_are_off_by_no_more_than_one_step_of_their_group_and_the_last_decimal(seed):
    people = attack.population(np.random.default_rng(seed))
    assert attack.curve_error(people, attack.publish(people, attack.rule_of(seed))) <= 1


# What printed numbers can be solved for -----------------------------------------------------------------------------


def rates(events: int, n: int) -> Estimates:
    """Return a rate with its exact limits from a true count of events."""
    from cohort.survival.rates import rate_limits

    found = rate_limits(np.array([events]), np.array([36_525]))
    names = {"estimate": "value", "std_error": "std_error", "lower": "lower", "upper": "upper"}
    values = {names[name]: float(number[0]) * 365_250 for name, number in found.items()}
    rows = pl.DataFrame({"n": [n], "events": [events], "person_days": [36_525], **values})
    constants = {"analysis": 1, "estimand": "incidence_rate", "outcome": "pain", "level": 0.95}
    return Estimates.from_rows(rows, method="Garwood limits", **constants)


@pytest.mark.parametrize("preset", ["cms", "nhs", "opensafely"])
def test_rate_interval_and_error_can_be_solved_for_no_withheld_and_no_narrower_count(preset):
    """An inverter: of every possible count of events, which would have given the very same released numbers?"""
    rule = DisclosureRule(preset=preset)
    classes: dict[tuple, list[int]] = {}
    for events in range(1, 60):
        flow = Attrition((Step("", 500, 0, 500, 0),))
        frame = release(rates(events, 500), flow, rule).estimates.frame
        said = frame.select("value", "std_error", "lower", "upper", "events", "status").row(0)
        classes.setdefault(said, []).append(events)
    small = [group for group in classes.values() if min(group) < rule.minimum]
    assert small == [list(range(1, rule.minimum))]
    whole = [group for group in classes.values() if rule.minimum + 5 < min(group) and max(group) < 57]
    assert {len(group) for group in whole} == {rule.round_to}


@pytest.mark.parametrize("reference", [50, 1_000, 100_000])
@pytest.mark.parametrize("persons", [5, 11])
def test_an_error_in_steps_stands_for_as_many_counts_as_may_not_be_told_apart(reference, persons):
    """Told the ratio, the events of the other level and that the variance is 1/d1 + 1/d0: which d1 look the same?"""
    counts = np.arange(11, 3000)
    errors = np.sqrt(1 / counts + 1 / reference)
    ends = {"lower": 1.5 * np.exp(-1.96 * errors), "upper": 1.5 * np.exp(1.96 * errors)}
    rows = pl.DataFrame({"time": counts, "value": 1.5, "std_error": errors, **ends, "events": counts, "n": counts})
    exact = Estimates.from_rows(rows, analysis=1, estimand="hazard_ratio", outcome="pain", level=0.95).frame
    shown = widen_steps(exact, pl.lit(True), persons).group_by("std_error", "lower", "upper", maintain_order=True)
    assert shown.len()["len"][1:-1].min() >= persons
    off = widen_steps(exact, pl.lit(True), persons)["std_error"] / exact["std_error"]
    assert (off - 1).abs().max() < 0.2  # a doubling of the variance at most, told by its middle


def test_limits_of_what_is_no_ratio_follow_the_rounded_error_and_a_missing_error_stays_missing():
    rows = pl.DataFrame(
        {"group": ["a", "b", "c"], "value": [120.0, 80.0, 3.0], "std_error": [4.0, None, None], "n": [900, 900, 900],
         "lower": [112.16, 70.0, None], "upper": [127.84, 95.0, None]}
    )  # fmt: skip
    exact = Estimates.from_rows(rows, analysis=1, estimand="time_lost", level=0.95).frame
    one, two, three = widen_steps(exact, pl.lit(True), 11).rows(named=True)
    # 900 / 44 = 20.5: cells of 1/16 of a doubling; log2(4) = 2 opens one, whose middle is 2 + 1/32
    assert one["std_error"] == pytest.approx(4 * 2 ** (1 / 32), abs=5e-4)
    assert (one["upper"] - one["lower"]) / 2 == pytest.approx(1.96 * one["std_error"], rel=1e-2)
    assert two["std_error"] is None
    assert two["lower"] != 70.0
    assert (two["lower"] - two["value"]) / (two["upper"] - two["value"]) == pytest.approx(-10 / 15, rel=1e-2)
    assert three["value"] == 3.0


def test_the_error_of_a_ratio_per_unit_is_in_steps_of_events_whatever_the_unit():
    # 1920 events, a variance of age of 270; eleven events more would not be seen, whichever of the two it is per
    shown = []
    for unit in (1, 10):
        errors = unit / np.sqrt(270 * np.arange(1920, 1931))
        rows = pl.DataFrame({"term": [str(n) for n in range(11)], "value": 1.02**unit, "std_error": errors, "n": 6000})
        exact = Estimates.from_rows(rows.with_columns(events=1920), analysis=1, estimand="hazard_ratio").frame
        shown.append(widen_steps(exact, pl.lit(True), 11)["std_error"].n_unique())
    assert max(shown) <= 2  # one, or two where a cell ends between them


def test_an_e_value_tells_no_more_of_a_limit_than_the_limit_itself():
    rows = pl.DataFrame({"estimand": ["e_value", "e_value_limit"], "value": [1.493, 1.224], "n": [900] * 2})
    exact = Estimates.from_rows(rows.with_columns(events=100), analysis=1).frame
    # 8 * 11 / 100 ** 1.5 = 0.088, so in steps of 0.1
    assert widen_steps(exact, pl.lit(True), 11)["value"].to_list() == [1.5, 1.2]
