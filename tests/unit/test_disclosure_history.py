"""What the gate remembers of earlier releases, where, and what follows for the next one."""

from __future__ import annotations

import stat

import polars as pl
import pytest

from cohort.errors import InputRefusedError, ReleaseRefusedError
from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, Released, release
from cohort.results.estimates import Estimates
from cohort.results.history import (
    PastRelease,
    aligned,
    compatible,
    earlier_releases,
    history_folder,
    record_release,
)
from cohort.results.table_one import count_table_one

RULE = DisclosureRule()


def flow(*kept: int) -> Attrition:
    before = [kept[0], *kept]
    steps = (
        Step(f"step {n}", now, was - now, now, was - now)
        for n, (was, now) in enumerate(zip(before, kept, strict=False))
    )
    return Attrition(tuple(steps))


def levels(counts: dict[str, int], *history: Released, rule: DisclosureRule = RULE) -> Released:
    """Release a Table 1 of one variable."""
    people = pl.DataFrame({"x": [level for level, count in counts.items() for _ in range(count)]})
    table = count_table_one(people.lazy(), {"x": "categorical"}).finish()
    return release(table, flow(5000, people.height), rule, history=[one.record for one in history])


def shown(released: Released) -> dict[str | None, float | None]:
    rows = released.estimates.frame.filter(pl.col("estimand") == "count")
    return dict(rows.select("category", "value").rows())


# What differs by a few ----------------------------------------------------------------------------------------------


def test_a_count_that_grew_by_a_few_is_withheld_with_a_neighbour():
    first = levels({"p": 100, "q": 200, "r": 300})
    # q + 3, r + 50: q is withheld, and p or r with it, or the total would tell
    found = shown(levels({"p": 100, "q": 203, "r": 350}, first))
    assert found[None] == 653
    assert found["q"] is None
    assert [found["p"], found["r"]].count(None) == 1


def test_a_count_that_changed_enough_or_not_at_all_is_shown():
    first = levels({"p": 100, "q": 200, "r": 300})
    assert shown(levels({"p": 100, "q": 211, "r": 350}, first)) == {None: 661, "p": 100, "q": 211, "r": 350}


def test_what_was_withheld_stays_so_until_it_has_changed_enough():
    first = levels({"p": 9, "q": 20, "r": 300})
    assert shown(first)["p"] is None
    second = levels({"p": 12, "q": 20, "r": 320}, first)  # 12 alone may be shown; that 3 came may not
    assert shown(second)["p"] is None
    third = levels({"p": 31, "q": 60, "r": 380}, first, second)
    assert shown(third) == {None: 471, "p": 31, "q": 60, "r": 380}


def test_every_earlier_release_counts_not_only_the_last():
    first = levels({"p": 100, "q": 300})
    second = levels({"p": 140, "q": 300}, first)
    third = levels({"p": 103, "q": 330}, first, second)  # 3 more than in the first
    assert shown(third)["p"] is None


def test_another_rule_does_not_show_what_the_last_one_hid():
    first = levels({"p": 9, "q": 20, "r": 300})
    loose = levels({"p": 9, "q": 20, "r": 300}, first, rule=DisclosureRule(minimum=5))
    assert shown(loose)["p"] is None


def test_too_little_change_refuses_and_the_last_release_stands():
    first = levels({"p": 100, "q": 200})
    with pytest.raises(ReleaseRefusedError, match="last release of this population, which therefore stands"):
        levels({"p": 103, "q": 200}, first)


def test_the_same_data_are_the_same_release():
    first = levels({"p": 9, "q": 20, "r": 300})
    again = levels({"p": 9, "q": 20, "r": 300}, first)
    assert again.estimates.frame.equals(first.estimates.frame)


def test_an_older_release_is_repeated_as_it_was():
    first = levels({"p": 100, "q": 200, "r": 300})
    second = levels({"p": 100, "q": 203, "r": 350}, first)
    again = levels({"p": 100, "q": 200, "r": 300}, first, second)
    assert again.estimates.frame.equals(first.estimates.frame)
    assert again.record == first.record


def test_without_a_rule_nothing_is_remembered():
    assert levels({"p": 9}, rule=DisclosureRule(preset="none")).record is None


# Flow and curves ----------------------------------------------------------------------------------------------------


def test_a_step_whose_count_changed_by_a_few_is_merged_with_the_next():
    empty = Estimates.concat([])
    first = release(empty, flow(5000, 3000, 1000), RULE)
    second = release(empty, flow(5100, 3004, 1050), RULE, history=[first.record])
    assert [(s.persons_removed, s.persons_kept) for s in second.attrition.steps] == [(0, 5100), (4050, 1050)]


def test_two_steps_that_moved_together_but_for_a_few_are_not_both_shown():
    # kept +100 and +103: each enough, but 3 fewer were removed between them
    empty = Estimates.concat([])
    first = release(empty, flow(5000, 3000, 1000), RULE)
    second = release(empty, flow(5200, 3100, 1103), RULE, history=[first.record])
    assert [s.persons_kept for s in second.attrition.steps] == [5200, 3100]


def curve(days: list[tuple[int, int, int]], n: int) -> Estimates:
    rows, left = [], n
    for day, events, censored in days:
        rows.append((day, left, events, censored, 0.5))
        left -= events + censored
    frame = pl.DataFrame(rows, schema=["time", "n", "events", "censored", "value"], orient="row")
    return Estimates.from_rows(frame, analysis=1, estimand="survival", outcome="pain")


def test_a_point_at_which_a_few_more_had_the_event_than_last_time_is_left_out():
    # 20 more persons; by day 10 there are 3 more events than last time, by day 20 and in all 20
    first = release(curve([(10, 20, 0), (20, 20, 0), (30, 60, 0)], 100), flow(5000, 100), RULE)
    later = curve([(10, 23, 0), (20, 37, 0), (30, 60, 0)], 120)
    points = [
        release(later, flow(5000, 120), RULE, history=history).estimates.frame["time"].to_list()
        for history in ([], [first.record])
    ]
    assert points == [[10, 20, 30], [20, 30]]


def test_between_any_two_points_no_change_is_small_even_if_neighbours_do_not_tell():
    import numpy as np

    # +12, then -10 (from 12 to 2): each step is no small one, the sum of both is
    change = np.array([[0], [12], [1], [30]])
    assert compatible(change, [0, 3], 11) == [0, 1, 3]


# What is asked changes ------------------------------------------------------------------------------------------------


def test_an_analysis_that_moved_is_still_compared():
    past = PastRelease(
        "", {"1|rate|persons|F": (500, False), "2|curve|events|all": (90, True)}, analyses=("t", "A", "B")
    )
    (now,) = aligned([past], ("t", "new", "A"))
    assert now.counts == {"2|rate|persons|F": (500, False)}  # A is second now, B is no longer asked


def test_of_a_table_by_another_variable_only_everybody_is_compared():
    counts = {"0|persons|all": (100, False), "0|sex|F|all": (60, False), "0|sex|F|true": (20, False)}
    (now,) = aligned([PastRelease("", counts, analyses=("Table 1 by opioid",))], ("Table 1 by arm",))
    assert set(now.counts) == {"0|persons|all", "0|sex|F|all"}


# Where it is kept ---------------------------------------------------------------------------------------------------


def test_the_history_lies_in_the_private_part_of_the_store_for_its_owner_only(tmp_path):
    folder = history_folder(tmp_path / "store")
    record = levels({"p": 9, "q": 20, "r": 300}).record
    record_release(folder, "a" * 64, record)
    (file,) = folder.rglob("*.json")
    assert file.is_relative_to(tmp_path / "store" / "private")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert earlier_releases(folder, "a" * 64) == (record,)
    assert earlier_releases(folder, "b" * 64) == ()


def test_recording_the_same_release_twice_adds_nothing(tmp_path):
    record = levels({"p": 100, "q": 20}).record
    for _ in range(2):
        record_release(tmp_path, "a" * 64, record)
    record_release(tmp_path, "a" * 64, levels({"p": 150, "q": 20}).record)
    record_release(tmp_path, "a" * 64, record)
    assert [file.name for file in sorted(tmp_path.rglob("*.json"))] == ["000001.json", "000002.json"]


def test_a_history_that_cannot_be_read_refuses_the_run(tmp_path):
    record_release(tmp_path, "a" * 64, PastRelease("", {"0|persons|all": (100, False)}))
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{")
    with pytest.raises(InputRefusedError, match="earlier release cannot be read"):
        earlier_releases(tmp_path, "a" * 64)


def test_a_record_reads_back_as_it_was():
    released = release(curve([(10, 20, 0), (20, 20, 0), (30, 60, 0)], 100), flow(5000, 100), RULE)
    assert PastRelease.from_json(released.record.to_json()) == released.record
