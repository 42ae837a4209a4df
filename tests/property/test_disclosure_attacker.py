"""An attacker who reads a whole released set, or a year of them, and knows the rule cannot work out a withheld count.

A protected count may be pinned neither to one value nor to a range in which every value is small; of the difference of
two months the same holds. 200 reports here; the long form is in `disclosure_attack`.
"""

from __future__ import annotations

import itertools

import disclosure_attack as attack
import numpy as np
import polars as pl
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from cohort.errors import ReleaseRefusedError
from cohort.population.attrition import Attrition, Step
from cohort.results import cells
from cohort.results.cells import Ledger, cells_to_hide
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates

MINIMUM = 11


@pytest.mark.parametrize("block", range(4))
def test_no_small_count_can_be_worked_out_from_a_released_set(block):
    for seed in range(50 * block, 50 * block + 50):
        people = attack.population(np.random.default_rng(seed))
        assert attack.attack_report(people, attack.publish(people, attack.rule_of(seed))) == [], seed


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


def table(random: np.random.Generator) -> Ledger:
    """Return a table of 2 x 3 cells with its margins, each shown in a row of its own; one or two cells are small."""
    ledger, rows = Ledger(), itertools.count()
    values = random.integers(11, 90, (2, 3))
    values.flat[random.choice(6, random.integers(1, 3), replace=False)] = random.integers(1, 11)
    for (i, j), value in np.ndenumerate(values):
        ledger.cell(f"{i}{j}", int(value), [next(rows)])
    for i in range(2):
        ledger.cell(f"{i}+", int(values[i].sum()), [next(rows)])
        ledger.add_up(f"{i}+", [f"{i}{j}" for j in range(3)])
    for j in range(3):
        ledger.cell(f"+{j}", int(values[:, j].sum()), [next(rows)])
        ledger.add_up(f"+{j}", [f"{i}{j}" for i in range(2)])
    ledger.cell("++", int(values.sum()), [next(rows)])
    ledger.add_up("++", ["0+", "1+"])
    return ledger


def protects(ledger: Ledger, hidden: set[str]) -> bool:
    """Return whether every small cell could be one of the minimum or more: by brute force, with no code of ours."""
    keys = sorted(ledger.values)
    sums = np.array([[(key == one.total) - (key in one.parts) for key in keys] for one in ledger.sums], dtype=float)
    low = [1 if key in hidden else ledger.values[key] for key in keys]
    high = [1000 if key in hidden else ledger.values[key] for key in keys]
    for target in (key for key in keys if ledger.values[key] < MINIMUM):
        cost = np.array([-1.0 if key == target else 0.0 for key in keys])
        answer = milp(
            cost, integrality=np.ones(len(keys)), bounds=Bounds(low, high), constraints=LinearConstraint(sums, 0, 0)
        )
        if round(-answer.fun) < MINIMUM:
            return False
    return True


def test_no_more_is_withheld_than_a_fifth_above_the_least_that_protects():
    ours, least = [], []
    for seed in range(12):
        ledger = table(np.random.default_rng(seed))
        small = {key for key, value in ledger.values.items() if value < MINIMUM}
        others = sorted(set(ledger.values) - small)
        choices = (set(more) for size in range(len(others)) for more in itertools.combinations(others, size))
        least.append(next(len(small | more) for more in choices if protects(ledger, small | more)))
        hidden = cells_to_hide(ledger, MINIMUM, show_zero=True)
        assert protects(ledger, hidden)
        ours.append(len(hidden))
    assert max(one / other for one, other in zip(ours, least, strict=True)) <= 1.2, (ours, least)


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
