"""The course of pain, day by day."""

from __future__ import annotations

import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import InputRefusedError

FOLLOW_UP = pl.DataFrame({"person_id": [1, 2, 3, 4], "exit": [400, 100, 60, 50], "died": [True, False, True, False]})
EPISODES = pl.DataFrame(
    {
        "person_id": [1, 1, 2, 3, 3],
        #        an acute and a chronic one; from before index; two that touch, the second to the end
        "start": [10, 200, -100, 5, 20],
        "end": [19, 299, 30, 19, 80],
    }
)


def test_spells_by_hand() -> None:
    spells = sv.pain_spells(EPISODES, FOLLOW_UP)
    assert spells.rows() == [
        # pain on days 10–19 lasts to the end of day 19; chronic from the 91st day (day 290) of the second episode
        (1, 0, 10, "pain_free", "acute"),
        (1, 10, 20, "acute", "remission"),
        (1, 20, 200, "remission", "acute"),
        (1, 200, 290, "acute", "chronic"),
        (1, 290, 300, "chronic", "remission"),
        (1, 300, 400, "remission", "dead"),
        # at index already in pain for 100 days: chronic from day 0
        (2, 0, 31, "chronic", "remission"),
        (2, 31, 100, "remission", None),
        (3, 0, 5, "pain_free", "acute"),
        (3, 5, 20, "acute", "acute"),
        (3, 20, 60, "acute", "dead"),
        (4, 0, 50, "pain_free", None),
    ]


def test_the_model_takes_them() -> None:
    model = sv.multistate(
        sv.pain_spells(EPISODES, FOLLOW_UP), "person_id", "start", "stop", "from_state", "to_state",
        states=sv.PAIN_STATES,
    )  # fmt: skip
    start = model.occupation([0]).select("state", "estimate").rows()
    assert start == [("pain_free", 0.75), ("acute", 0.0), ("chronic", 0.25), ("remission", 0.0), ("dead", 0.0)]
    stay = model.length_of_stay(400)
    assert stay["estimate"].sum() == pytest.approx(400)


def test_rows_of_one_transition() -> None:
    spells = sv.pain_spells(EPISODES, FOLLOW_UP)
    rows = sv.transition_rows(spells, "acute", "chronic")
    assert rows.select("person_id", "start", "stop", "event").rows() == [
        (1, 10, 20, 0), (1, 200, 290, 1), (3, 5, 20, 0), (3, 20, 60, 0),
    ]  # fmt: skip


def test_a_lazy_frame_stays_lazy() -> None:
    assert isinstance(sv.pain_spells(EPISODES, FOLLOW_UP.lazy()), pl.LazyFrame)


@pytest.mark.parametrize(
    ("episodes", "follow_up"),
    [
        ({"person_id": [1, 1], "start": [0, 5], "end": [5, 9]}, {"person_id": [1], "exit": [50], "died": [False]}),
        ({"person_id": [1], "start": [9], "end": [5]}, {"person_id": [1], "exit": [50], "died": [False]}),
        ({"person_id": [1], "start": [1], "end": [5]}, {"person_id": [1], "exit": [0], "died": [False]}),
        ({"person_id": [1], "start": [1], "end": [5]}, {"person_id": [1, 1], "exit": [9, 9], "died": [False] * 2}),
    ],
)
def test_impossible_input_is_refused(episodes, follow_up) -> None:
    with pytest.raises(InputRefusedError, match="pain spells refused"):
        sv.pain_spells(pl.DataFrame(episodes), pl.DataFrame(follow_up))
