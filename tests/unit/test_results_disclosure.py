"""The release gate, case by case: what each rule of `release` hides, and what it lets stand."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates
from cohort.results.table_one import count_table_one

RULE = DisclosureRule(minimum=11)


def flow(*kept: int) -> Attrition:
    """Return a flow that keeps these persons, one entry each."""
    before = [kept[0], *kept]
    return Attrition(
        tuple(
            Step(f"step {n}", now, was - now, now, was - now)
            for n, (was, now) in enumerate(zip(before, kept, strict=False))
        )
    )


def gate(estimates: Estimates, kept: int, rule: DisclosureRule = RULE) -> pl.DataFrame:
    return release(estimates, flow(kept), rule).estimates.to_polars()


def table_one(counts: dict[tuple[str, str], int]) -> Estimates:
    """Return Table 1 of ``x`` by group from a cross table (group, level) → persons."""
    rows = [key for key, count in counts.items() for _ in range(count)]
    people = pl.DataFrame(rows, schema=["group", "x"], orient="row")
    return count_table_one(people.lazy(), {"x": "categorical"}, by="group").finish()


def shown(frame: pl.DataFrame, estimand: str = "count") -> dict[tuple[str | None, str], float | None]:
    rows = frame.filter(pl.col("estimand") == estimand).select("category", "group", "value").rows()
    return {(category, group): value for category, group, value in rows}


def rates(**groups: tuple[int, int]) -> Estimates:
    rows = pl.DataFrame(
        [(name, n, d) for name, (n, d) in groups.items()], schema=["group", "n", "events"], orient="row"
    )
    return Estimates.from_rows(
        rows.with_columns(value=pl.col("events") / 7, lower=0.1, upper=99.0, person_days=700),
        analysis=1,
        estimand="incidence_rate",
        outcome="pain",
    )


# Counts and shares --------------------------------------------------------------------------------------------------


def test_a_small_count_takes_its_share_and_enough_neighbours_with_it():
    # One group would let it be had from the row total, one level from the group's size: a block of four goes.
    frame = gate(
        table_one({("a", "p"): 3, ("a", "q"): 40, ("a", "r"): 57, ("b", "p"): 30, ("b", "q"): 30, ("b", "r"): 40}), 200
    )
    counts = shown(frame)
    assert counts["p", "a"] is None
    assert [value for (_, group), value in counts.items() if group == "a"].count(None) == 2
    assert [value for (level, _), value in counts.items() if level == "p"].count(None) == 2
    assert counts[None, "a"] == 100  # group sizes stand
    hidden = {key for key, value in counts.items() if value is None}
    assert hidden == {key for key, value in shown(frame, "proportion").items() if value is None}
    assert shown(frame, "standardised_difference")[None, "b"] is None


def test_zero_is_shown_unless_the_rule_says_otherwise():
    estimates = table_one({("a", "p"): 50, ("a", "q"): 50, ("b", "p"): 100, ("b", "q"): 0})
    assert shown(gate(estimates, 200))["q", "b"] == 0
    assert shown(gate(estimates, 200, DisclosureRule(minimum=11, show_zero=False)))["q", "b"] is None


def test_a_cell_that_holds_a_whole_group_is_shown_and_said():
    released = release(table_one({("a", "p"): 50, ("a", "q"): 50, ("b", "p"): 100}), flow(200), RULE)
    assert any("everybody or nobody" in note for note in released.notes)


def test_a_small_group_takes_its_whole_column_and_the_other_group():
    frame = gate(table_one({("a", "p"): 4, ("a", "q"): 3, ("b", "p"): 50, ("b", "q"): 60}), 117)
    assert frame.filter(pl.col("group") != "all")["value"].null_count() == frame.filter(pl.col("group") != "all").height
    assert frame.filter(pl.col("group") == "all")["n"].drop_nulls().unique().to_list() == [117]


def test_the_mean_of_an_indicator_does_not_show_its_count():
    people = pl.DataFrame({"flag": [1] * 4 + [0] * 4996, "age": list(range(20, 70)) * 100})
    frame = gate(count_table_one(people.lazy(), {"flag": "integer", "age": "integer"}).finish(), 5000)
    means = dict(frame.filter(pl.col("estimand") == "mean").select("term", "value").rows())
    assert means == {"flag": None, "age": 44.5}


def test_a_withheld_mean_takes_the_standardised_difference_with_it():
    people = pl.DataFrame({"group": ["a"] * 300 + ["b"] * 300, "score": [0, 1, 2] * 100 + [0] * 296 + [1] * 4})
    frame = gate(count_table_one(people.lazy(), {"score": "integer"}, by="group").finish(), 600)
    assert shown(frame, "mean")[None, "b"] is None
    assert shown(frame, "mean")[None, "a"] == 1.0
    assert shown(frame, "standardised_difference")[None, "b"] is None


def test_means_have_digits_for_no_fewer_persons_than_the_minimum():
    # n = 100: a decimal would tell sums apart that differ by 10, one person's year each; a whole year is 100
    people = pl.DataFrame({"age": [30, 31, 32, 33] * 25})
    frame = gate(count_table_one(people.lazy(), {"age": "integer"}).finish(), 100)
    assert frame.filter(pl.col("estimand") == "mean")["value"].to_list() == [32.0]


# Rates and models ---------------------------------------------------------------------------------------------------


def test_a_rate_of_few_events_goes_with_its_interval_and_with_the_group_that_gives_it_away():
    frame = gate(rates(F=(500, 4), M=(500, 60), all=(1000, 64)), 1000).filter(pl.col("status") == "suppressed")
    assert frame["group"].to_list() == ["F", "M"]
    assert frame.select("value", "lower", "upper", "events", "person_days").null_count().row(0) == (frame.height,) * 5


def test_few_without_the_event_are_as_protected_as_few_with_it():
    assert gate(rates(all=(100, 96)), 100)["value"].to_list() == [None]
    assert gate(rates(all=(100, 100)), 100)["value"].null_count() == 0


def model(levels: dict[str, tuple[int, int]], **columns: object) -> Estimates:
    rows = [
        ("sex", level, n, d, *((1.0, None) if number == 0 else (1.23456789, 0.1)))
        for number, (level, (n, d)) in enumerate(levels.items())
    ]
    frame = pl.DataFrame(rows, schema=["term", "category", "n", "events", "value", "std_error"], orient="row")
    return Estimates.from_rows(frame, analysis=2, estimand="hazard_ratio", outcome="pain", **columns)


def test_without_its_reference_level_no_ratio_of_a_term_stands():
    frame = gate(model({"F": (500, 4), "M": (250, 60), "X": (250, 70)}), 1000)
    assert frame["value"].to_list() == [None, None, None]


def test_a_level_with_few_events_goes_and_the_others_may_stay():
    levels = model({"F": (500, 90), "M": (250, 4), "X": (125, 70), "Y": (125, 80)})
    age = pl.DataFrame({"term": ["age"], "n": [1000], "events": [244], "value": [1.01], "std_error": [0.001]})
    whole = Estimates.from_rows(age, analysis=2, estimand="hazard_ratio", outcome="pain")
    frame = gate(Estimates.concat([levels, whole]), 1000)
    assert dict(frame.select("category", "value").rows())["F"] == 1.0
    assert dict(frame.select("category", "value").rows())["M"] is None
    assert frame["value"].null_count() == 2  # and one more level, or M could be had from the model's events


def test_model_estimates_leave_with_four_digits():
    assert gate(model({"F": (500, 90), "M": (500, 80)}), 1000)["value"].to_list() == [1.0, 1.235]


def test_three_persons_less_than_the_cohort_are_not_shown():
    frame = gate(model({"F": (500, 90), "M": (497, 80)}), 1000)
    assert frame["status"].unique().to_list() == ["ok, counts suppressed"]
    assert frame["n"].null_count() == frame["events"].null_count() == 2
    assert frame["value"].to_list() == [1.0, 1.23]  # in steps of the weight of one event


def test_a_few_events_less_than_in_the_rates_are_not_shown():
    # the model leaves out 100 persons without a covariate, 3 of them with the event
    both = Estimates.concat([rates(all=(1000, 173)), model({"F": (500, 90), "M": (400, 80)})])
    frame = gate(both, 1000)
    assert frame.filter(pl.col("analysis") == 1)["events"].to_list() == [173]
    assert frame.filter(pl.col("analysis") == 2)["events"].null_count() == 2


def test_a_rate_whose_persons_are_three_less_than_the_cohort_goes_whole():
    # its events are the rate times the person-days, whether they are printed or not
    frame = gate(rates(all=(997, 170)), 1000)
    assert frame["status"].to_list() == ["suppressed"]
    assert frame.select("value", "lower", "person_days").null_count().row(0) == (1, 1, 1)


def test_what_comes_without_counts_is_withheld_and_said():
    bare = Estimates.from_rows(pl.DataFrame({"value": [0.7]}), analysis=1, estimand="concordance")
    released = release(bare, flow(1000), RULE)
    assert released.estimates.to_polars()["status"].to_list() == ["suppressed"]
    assert any("without the counts" in note for note in released.notes)


def test_a_term_with_levels_in_table_one_needs_its_levels_in_the_model():
    table = table_one({("a", "p"): 100, ("a", "q"): 100, ("b", "p"): 100, ("b", "q"): 100})
    unlevelled = pl.DataFrame({"term": ["x", "age", "age:x"], "n": 400, "events": 100, "value": 1.5, "std_error": 0.1})
    both = Estimates.concat(
        [table, Estimates.from_rows(unlevelled, analysis=1, estimand="hazard_ratio", outcome="pain")]
    )
    frame = gate(both, 400).filter(pl.col("analysis") == 1)
    assert dict(frame.select("term", "value").rows()) == {"age": 1.5, "age:x": None, "x": None}


# Curves -------------------------------------------------------------------------------------------------------------


def curve(days: list[tuple[int, int, int]], n: int) -> Estimates:
    """Return a Kaplan–Meier curve from (day, events, censored)."""
    rows, left, value = [], n, 1.0
    for day, events, censored in days:
        value *= 1 - events / left
        rows.append((day, left, events, censored, value))
        left -= events + censored
    frame = pl.DataFrame(rows, schema=["time", "n", "events", "censored", "value"], orient="row")
    return Estimates.from_rows(frame, analysis=1, estimand="survival", outcome="pain")


def test_points_stand_for_enough_events_and_enough_censorings():
    #   day 10: 6 events; 20: 7 (13 so far); 23: 12 censored; 40: 20 events; the rest censored on day 50
    frame = gate(curve([(10, 6, 0), (20, 7, 0), (23, 0, 12), (40, 20, 0), (50, 0, 55)], 100), 100)
    assert frame.select("time", "n", "events", "censored").rows() == [
        (20, 100, 13, 0),
        (25, 87, 0, 12),
        (40, 75, 20, 0),
        (50, 55, 0, 55),
    ]
    # 0.94 * (87/94) = 0.87; 0.87 * 55/75 = 0.638, to the decimal nearest to one person of 100
    assert frame["value"].to_list() == [0.87, 0.87, 0.64, 0.64]


def test_a_curve_ends_where_few_remain():
    frame = gate(curve([(10, 50, 0), (20, 42, 0), (30, 8, 0)], 100), 100)  # 8 left after day 20, then none
    assert frame["time"].to_list() == [10]
    assert frame.filter(pl.col("n") < 11).is_empty()


def test_the_curve_of_a_small_group_is_one_row_that_says_so():
    frame = gate(curve([(10, 3, 0), (20, 0, 5)], 8), 1000)
    assert frame.select("time", "n", "events", "value", "status").rows() == [(None, None, None, None, "suppressed")]


# Attrition ----------------------------------------------------------------------------------------------------------


def kept(attrition: Attrition, withheld: Estimates | None = None) -> list[tuple[int, int]]:
    empty = Estimates.concat([]) if withheld is None else withheld
    return [(step.persons_removed, step.persons_kept) for step in release(empty, attrition, RULE).attrition.steps]


def test_a_step_that_removes_few_is_merged_with_the_next():
    assert kept(flow(20_000, 10_003, 10_000, 9_000)) == [(0, 20_000), (9_997, 10_003), (1_003, 9_000)]


def test_a_last_step_that_removes_few_is_merged_with_the_one_before():
    assert kept(flow(20_000, 10_003, 10_000)) == [(0, 20_000), (10_000, 10_000)]


def test_few_removed_from_everybody_are_not_shown_at_all():
    assert kept(flow(10_003, 10_000)) == [(0, 10_000)]


def test_few_kept_at_the_end_are_left_off():
    assert kept(flow(10_000, 500, 6)) == [(0, 10_000), (9_500, 500)]
    assert kept(flow(10_000, 500, 0)) == [(0, 10_000), (9_500, 500), (500, 0)]


def test_a_few_entries_more_than_persons_are_not_shown():
    steps = Attrition((Step("all", 100, 0, 100, 0), Step("entries", 80, 20, 83, 17), Step("first", 80, 0, 80, 3)))
    assert kept(steps) == [(0, 100), (20, 80)]


# The rule itself ----------------------------------------------------------------------------------------------------


def test_minimum_zero_lets_everything_through():
    estimates = Estimates.concat([rates(F=(5, 1), M=(6, 2)), model({"F": (5, 1), "M": (6, 2)})])
    released = release(estimates, flow(14, 11), DisclosureRule(minimum=0))
    assert released.estimates.to_polars().equals(estimates.to_polars())
    assert released.attrition == flow(14, 11)
    assert (released.n_suppressed, released.notes) == (0, ())


def test_an_unknown_key_of_the_rule_is_refused():
    with pytest.raises(ValidationError):
        DisclosureRule(minimun=5)
    with pytest.raises(ValidationError):
        DisclosureRule(minimum=-1)


def test_nobody_at_all_can_be_released():
    empty = count_table_one(pl.DataFrame(schema={"x": pl.String}).lazy(), {"x": "categorical"}).finish()
    assert (
        release(Estimates.concat([empty]), flow(500, 0), RULE).estimates.to_polars().height == empty.to_polars().height
    )


def test_a_rare_competing_cause_does_not_take_the_outcome_with_it():
    """3 of 400 die in one group: their curve goes, but the outcome's curve stands, the 3 among those who left."""
    sizes = {"no": (900, 200, 30), "yes": (400, 100, 3)}
    rows = []
    for group, (persons, ill, dead) in sizes.items():
        for outcome, counts in (("pain", (ill, 0, 0)), ("death", (0, dead, 0))):
            left = persons
            for day, lost in ((10, ill), (20, dead), (30, persons - ill - dead)):
                events = counts[(10, 20, 30).index(day)]
                rows.append((outcome, group, day, 0.1, left, events, lost if day == 30 else 0))
                left -= lost
    frame = pl.DataFrame(rows, schema=["outcome", "group", "time", "value", "n", "events", "censored"], orient="row")
    curves = Estimates.from_rows(frame, analysis=1, estimand="cumulative_incidence")
    flow = Attrition((Step("Everybody", 1300, 0, None, None),))
    status = {
        key: set(part["status"])
        for key, part in release(curves, flow, DisclosureRule()).estimates.frame.partition_by(
            "outcome", "group", as_dict=True
        ).items()
    }  # fmt: skip
    assert status == {
        ("pain", "no"): {"ok"},
        ("pain", "yes"): {"ok"},
        ("death", "no"): {"ok"},
        ("death", "yes"): {"suppressed"},
    }
    told = release(curves, flow, DisclosureRule()).estimates.frame.filter(pl.col("group") == "yes")
    assert told["censored"].to_list() == [None] * told.height
