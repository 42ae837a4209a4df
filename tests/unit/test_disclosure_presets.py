"""The rules of custodians by name, and what rounding does to every kind of released number."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates
from cohort.results.rounding import to_midpoint, to_multiple
from cohort.results.table_one import count_table_one
from cohort.survival import incidence_rate, kaplan_meier

NHS, OPENSAFELY = DisclosureRule(preset="nhs"), DisclosureRule(preset="opensafely")


def flow(*kept: int) -> Attrition:
    before = [kept[0], *kept]
    return Attrition(tuple(Step("", now, was - now, now, was - now) for was, now in zip(before, kept, strict=False)))


def gate(estimates: Estimates, rule: DisclosureRule, kept: int = 1000) -> pl.DataFrame:
    return release(estimates, flow(kept), rule).estimates.to_polars()


def table_one(counts: dict[str, int]) -> Estimates:
    people = pl.DataFrame({"x": [level for level, count in counts.items() for _ in range(count)]})
    return count_table_one(people.lazy(), {"x": "categorical"}).finish()


# The rule as data ---------------------------------------------------------------------------------------------------


def test_the_default_is_the_rule_of_cms():
    assert DisclosureRule() == DisclosureRule(preset="cms")
    assert (DisclosureRule().minimum, DisclosureRule().show_zero, DisclosureRule().round_to) == (11, True, 1)


def test_a_rule_that_says_the_same_as_a_preset_is_that_preset():
    assert DisclosureRule(minimum=8, round_to=5) == NHS
    assert DisclosureRule(minimum=0).preset == "none"
    assert DisclosureRule(**OPENSAFELY.model_dump()) == OPENSAFELY


def test_keys_beside_a_preset_change_parts_of_it():
    rule = DisclosureRule(preset="nhs", minimum=11)
    assert (rule.preset, rule.minimum, rule.round_to) == (None, 11, 5)


def test_an_unknown_custodian_is_refused():
    with pytest.raises(ValidationError, match="preset"):
        DisclosureRule(preset="nsh")


# Whole numbers ------------------------------------------------------------------------------------------------------


def test_halves_go_up_whatever_python_or_sql_would_do():
    # base 4: 2 lies half-way between 0 and 4; Python's round() gives 0, SQL's 4
    frame = pl.select(n=pl.int_range(0, 8, dtype=pl.Int64))
    assert frame.select(to_multiple(pl.col("n"), 4))["n"].to_list() == [0, 0, 4, 4, 4, 4, 8, 8]


def test_midpoints_stand_for_six_numbers_and_zero_for_itself():
    frame = pl.DataFrame({"n": [0, 1, 6, 7, 12, 13]})
    assert frame.select(to_midpoint(pl.col("n"), 6))["n"].to_list() == [0, 3, 3, 9, 9, 15]


# What leaves --------------------------------------------------------------------------------------------------------


def test_nhs_withholds_7_rounds_8_and_takes_percentages_from_rounded_counts():
    # 7 is hidden; 8 could be had from the total, so another goes with 7: the cheapest is 8
    frame = gate(table_one({"p": 7, "q": 8, "r": 33, "s": 53}), NHS, kept=101)
    counts = dict(frame.filter(pl.col("estimand") == "count").select("category", "value").rows())
    assert counts == {None: 100, "p": None, "q": None, "r": 35, "s": 55}
    shares = dict(frame.filter(pl.col("estimand") == "proportion").select("category", "value").rows())
    assert (shares["r"], shares["s"]) == (0.35, 0.55)  # 35/100, not 33/101
    assert frame["n"].drop_nulls().unique().to_list() == [100]


def test_opensafely_hides_a_zero_with_the_small_counts():
    levels = {"group": ["a"] * 60 + ["b"] * 60, "x": (["p"] * 30 + ["q"] * 30) + ["p"] * 60}
    table = count_table_one(pl.DataFrame(levels).lazy(), {"x": "categorical"}, by="group").finish()
    counts = gate(table, OPENSAFELY, kept=120).filter(
        pl.col("estimand") == "count", pl.col("group") == "b", pl.col("category") == "q"
    )
    assert counts["value"].to_list() == [None]


def test_a_rate_is_made_again_from_rounded_counts():
    # 23 events -> 25; 1000 person-years = 365250 days -> 365200 or 365300 with four digits
    row = {"n": [103], "events": [23], "person_days": [365_250]}
    made = incidence_rate(pl.DataFrame({"t": [365_250], "e": [1]}), "t", "e")
    assert made["n_event"].to_list() == [1]  # the scale below is that of this estimator
    rates = pl.DataFrame(row).with_columns(value=23 / 365_250 * 365_250.0, lower=14.6, upper=34.5, std_error=4.8)
    estimates = Estimates.from_rows(
        rates, analysis=1, estimand="incidence_rate", outcome="pain", level=0.95, method="Garwood limits"
    )
    frame = gate(estimates, NHS, kept=103)
    found = frame.select("n", "events", "person_days").row(0)
    assert found == (105, 25, 365_300)
    # Garwood limits of 25 events: 16.18 and 36.90 (chi-square quantiles with 50 and 52 degrees, halved)
    share = 365_250 / 365_300
    assert frame["value"][0] == pytest.approx(25 * share)
    assert frame["lower"][0] == pytest.approx(16.179 * share, abs=1e-2)
    assert frame["upper"][0] == pytest.approx(36.905 * share, abs=1e-2)


def test_the_flow_is_rounded_and_still_adds_up():
    steps = release(Estimates.concat([]), flow(20_003, 9_998, 8_991), NHS).attrition.steps
    assert [(step.persons_kept, step.persons_removed) for step in steps] == [
        (20_005, 0),
        (10_000, 10_005),
        (8_990, 1_010),
    ]


def curve(n: int, seed: int = 1) -> tuple[Estimates, pl.DataFrame]:
    """Return a Kaplan–Meier curve of `n` persons, and its exact days."""
    days = pl.int_range(1, n + 1, eager=True).alias("d")
    people = pl.DataFrame({"t": (days * 7919 * seed) % 360 + 1, "e": (days * 31) % 5 != 0})
    exact = kaplan_meier(people, "t", "e").to_polars()
    names = {"n_risk": "n", "n_event": "events", "n_censored": "censored", "estimate": "value"}
    return Estimates.from_rows(exact.rename(names), analysis=1, estimand="survival", outcome="pain"), exact


@pytest.mark.parametrize("rule", [NHS, OPENSAFELY], ids=["nhs", "opensafely"])
@pytest.mark.parametrize("n", [211, 431, 2000])
def test_rounded_curves_are_monotone_consistent_and_close(rule, n):
    estimates, exact = curve(n)
    frame = gate(estimates, rule, kept=n).sort("time")
    assert frame.height > 1
    assert frame["value"].is_sorted(descending=True)
    assert frame["n"].is_sorted(descending=True)
    assert (frame["events"] <= frame["n"]).all()
    assert (frame["events"] >= 0).all()
    # Released on day t is the exact curve of day t to its decimal (at most 1.6/N, half of the root of 10), then to the
    # nearest multiple of k/N, N rounded: together less than k/N.
    days = exact["time"].to_numpy()
    for day, value in frame.select("time", "value").iter_rows():
        true = exact["estimate"][int(days.searchsorted(day, side="right")) - 1]
        assert abs(value - true) <= rule.base / (n - rule.base)


def test_the_curve_of_cms_is_off_by_no_more_than_half_a_person_and_its_decimal():
    estimates, exact = curve(431)
    frame = gate(estimates, DisclosureRule(), kept=431)
    days = exact["time"].to_numpy()
    for day, value in frame.select("time", "value").iter_rows():
        true = exact["estimate"][int(days.searchsorted(day, side="right")) - 1]
        assert abs(value - true) <= 0.5e-3 + 1e-12  # 431 persons: three decimals


def test_midpoints_are_those_of_running_counts():
    #   day 10: 13 events of 100; 20: 14 more (27); the other 73 leave on day 30
    rows = [(10, 100, 13, 0, 0.87), (20, 87, 14, 0, 0.73), (30, 73, 0, 73, 0.73)]
    frame = pl.DataFrame(rows, schema=["time", "n", "events", "censored", "value"], orient="row")
    shown = gate(
        Estimates.from_rows(frame, analysis=1, estimand="survival", outcome="pain"), OPENSAFELY, kept=100
    ).select("time", "n", "events", "censored")
    # 100 -> 99, 87 -> 87, 73 -> 75; running events 13 -> 15, 27 -> 27; censored 73 -> 75
    assert shown.rows() == [(10, 99, 15, 0), (20, 87, 12, 0), (30, 75, 0, 75)]


# Percentiles and extremes -------------------------------------------------------------------------------------------


def spread(n: int, rule: DisclosureRule) -> dict[str, float | None]:
    values = {"minimum": 18.0, "lower_quartile": 31.0, "median": 44.0, "upper_quartile": 60.0, "maximum": 103.0}
    rows = pl.DataFrame({"estimand": list(values), "value": list(values.values()), "n": n, "term": "age"})
    sizes = pl.DataFrame({"estimand": ["count"], "value": [float(n)], "n": n})
    both = Estimates.concat([Estimates.from_rows(rows, analysis=0), Estimates.from_rows(sizes, analysis=0)])
    frame = gate(both, rule, kept=n).filter(pl.col("term") == "age")
    return dict(frame.select("estimand", "value").rows())


def test_the_oldest_person_is_never_shown():
    assert spread(1000, DisclosureRule())["maximum"] is None
    assert spread(1000, DisclosureRule(show_extremes=True))["maximum"] == 103


def test_a_percentile_needs_enough_persons_beyond_it():
    # 40 persons: 10 beyond a quartile, 20 beyond the median
    found = spread(40, DisclosureRule())
    assert (found["lower_quartile"], found["median"], found["upper_quartile"]) == (None, 44.0, None)
    assert spread(44, DisclosureRule())["upper_quartile"] == 60.0
