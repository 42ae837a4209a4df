"""Multistate models and recurrent events: by hand, against their definitions, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort import survival as sv
from cohort.errors import InputRefusedError, NotEstimableError, StudyError

STATES = ["acute", "chronic", "dead"]


def spells(*rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["id", "start", "stop", "from", "to"], orient="row")


def fit(rows: pl.DataFrame, **options) -> sv.MultiState:
    return sv.multistate(rows, "id", "start", "stop", "from", "to", **options)


HAND = spells(
    (1, 0, 2, "acute", "chronic"),
    (1, 2, 5, "chronic", "dead"),
    (2, 0, 3, "acute", "dead"),
    (3, 0, 6, "acute", None),
    (4, 0, 2, "acute", "chronic"),
    (4, 2, 7, "chronic", "chronic"),  # observation ends without a transition
)


def test_illness_and_death_by_hand() -> None:
    # day 2: 2 of 4 acute become chronic; day 3: 1 of 2 acute dies; day 5: 1 of 2 chronic dies.
    #   after 2: 1/2, 1/2, 0; after 3: 1/4, 1/2, 1/4; after 5: 1/4, 1/4, 1/2
    table = fit(HAND, states=STATES).occupation([1, 2, 3, 5])
    expected = {"acute": [1, 0.5, 0.25, 0.25], "chronic": [0, 0.5, 0.5, 0.25], "dead": [0, 0, 0.25, 0.5]}
    for state, values in expected.items():
        rows = table.filter(pl.col("state") == state)
        assert rows["estimate"].to_list() == pytest.approx(values)
    assert table.filter(pl.col("state") == "acute")["n_risk"].to_list() == [4, 4, 2, 1]
    # days spent up to 6: acute 2 + 1/2 + 3·1/4 = 3.25; chronic 3·1/2 + 1/4 = 1.75; dead 2·1/4 + 1/2 = 1
    stay = fit(HAND, states=STATES).length_of_stay(6)
    assert stay["estimate"].to_list() == pytest.approx([3.25, 1.75, 1.0])
    assert fit(HAND, states=STATES).length_of_stay(8)["estimate"].to_list() == [None] * 3


def test_states_found_are_sorted_and_default_to_those_of_the_data() -> None:
    assert fit(HAND).states == ("acute", "chronic", "dead")


def histories(draw_steps) -> pl.DataFrame:
    rows = []
    for person, (first, steps) in enumerate(draw_steps):
        state, clock = STATES[first], 0
        for length, target in steps:
            to = None if target == 3 else STATES[target]
            rows.append((person, clock, clock + length, state, to))
            clock += length
            if to is not None:
                state = to
            if state == "dead" or to is None:
                break
    return spells(*rows)


HISTORIES = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=4)),
    min_size=1,
    max_size=8,
)


def exact_path(rows: pl.DataFrame, initial: list[Fraction]) -> dict[int, list[Fraction]]:
    """The product integral in rational arithmetic."""
    path, now = {}, list(initial)
    table = rows.rows(named=True)
    for day in sorted({row["stop"] for row in table}):
        after = list(now)
        for j, state in enumerate(STATES):
            at_risk = sum(row["from"] == state and row["start"] < day <= row["stop"] for row in table)
            for k, target in enumerate(STATES):
                moved = sum(row["from"] == state and row["to"] == target and row["stop"] == day for row in table)
                if j != k and moved:
                    after[k] += now[j] * Fraction(moved, at_risk)
                    after[j] -= now[j] * Fraction(moved, at_risk)
        now = path[day] = after
    return path


@settings(max_examples=150, deadline=None)
@given(HISTORIES)
def test_occupation_equals_rational_arithmetic(drawn) -> None:
    rows = histories(drawn)
    persons = [sum(first == k for first, _ in drawn) for k in range(3)]
    path = exact_path(rows, [Fraction(n, len(drawn)) for n in persons])
    table = fit(rows, states=STATES).occupation(sorted(path))
    for k, state in enumerate(STATES):
        ours = table.filter(pl.col("state") == state)["estimate"].to_list()
        assert ours == pytest.approx([float(path[day][k]) for day in sorted(path)], abs=1e-14)
    assert table.filter(pl.col("state") == "dead")["n_risk"].sum() == 0


def cohort_of(n: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    drawn = [
        (int(random.integers(0, 2)), [(int(random.integers(1, 9)), int(random.choice(4, p=[0.35, 0.35, 0.15, 0.15])))
                                      for _ in range(6)])
        for _ in range(n)
    ]  # fmt: skip
    return histories(drawn)


def test_chapman_kolmogorov() -> None:
    model = fit(cohort_of(200, 1), states=STATES)

    def matrix(start: float, day: float) -> np.ndarray:
        return model.transition_probabilities(start, [day])["estimate"].to_numpy().reshape(3, 3)

    np.testing.assert_allclose(matrix(0, 12), matrix(0, 5) @ matrix(5, 12), atol=1e-14)
    np.testing.assert_allclose(matrix(3, 15).sum(axis=1), 1, atol=1e-14)


def test_variances_equal_the_delta_method() -> None:
    # The estimate is a smooth function of independent multinomial shares (one per state and day): its variance is the
    # sum of gradient' covariance gradient, the gradient taken by complex steps.
    rows, tau, start = cohort_of(60, 2), 14.0, np.array([0.6, 0.4, 0.0])
    table = rows.rows(named=True)
    days = sorted({row["stop"] for row in table if row["stop"] <= tau})

    def number(state, day) -> int:
        return sum(row["from"] == state and row["start"] < day <= row["stop"] for row in table)

    def moved(state, target, day) -> int:
        same = state == target
        return 0 if same else sum((row["from"], row["to"], row["stop"]) == (state, target, day) for row in table)

    risk = {(day, j): number(state, day) for day in days for j, state in enumerate(STATES)}
    hazards = {
        (day, j): np.array([moved(state, target, day) / max(risk[day, j], 1) for target in STATES])
        for day in days
        for j, state in enumerate(STATES)
    }

    def finish(shares) -> np.ndarray:
        now, stay, clock = start.astype(complex), np.zeros(3, complex), 0.0
        for day in days:
            stay, clock = stay + now * (day - clock), day
            step = np.eye(3, dtype=complex)
            for j in range(3):
                step[j] += shares[day, j]
                step[j, j] -= shares[day, j].sum()
            now = now @ step
        return np.concatenate([now, stay + now * (tau - clock)])

    variance = np.zeros(6)
    for place, hazard in hazards.items():
        if risk[place] == 0 or not hazard.any():
            continue
        gradient = np.zeros((3, 6))
        for k in range(3):
            moved_shares = {p: h.astype(complex) for p, h in hazards.items()}
            if k != place[1]:
                moved_shares[place][k] += 1e-30j
                gradient[k] = finish(moved_shares).imag / 1e-30
        covariance = (np.diag(hazard) - np.outer(hazard, hazard)) / risk[place]
        variance += np.einsum("ka,kl,la->a", gradient, covariance, gradient)
    model = fit(rows, states=STATES)
    initial = dict(zip(STATES, start, strict=True))
    occupation = model.occupation([tau], initial=initial)["std_error"].to_numpy()
    stay = model.length_of_stay(tau, initial=initial)["std_error"].to_numpy()
    np.testing.assert_allclose(np.concatenate([occupation, stay]), np.sqrt(variance), rtol=1e-10)


def test_counts_of_buckets_add_up() -> None:
    rows = cohort_of(300, 3)
    whole, states = sv.count_transitions(rows, "id", "start", "stop", "from", "to", states=STATES)
    parts = [
        sv.count_transitions(rows.filter(pl.col("id") % 7 == k), "id", "start", "stop", "from", "to", states=STATES)[0]
        for k in range(7)
    ]
    assert whole.cells.equals(sum(parts).cells)
    left, right = (sv.multistate_from(counts, states).to_polars() for counts in (whole, sum(parts)))
    assert left.equals(right)


def test_two_states_are_kaplan_meier() -> None:
    random = np.random.default_rng(4)
    rows = pl.DataFrame({"id": range(200), "t": random.integers(1, 40, 200), "e": random.integers(0, 2, 200)})
    states = rows.select("id", "t", start=0, a=pl.lit("free"), b=pl.when(pl.col("e") == 1).then(pl.lit("event")))
    model = sv.multistate(states, "id", "start", "t", "a", "b", states=["free", "event"])
    curve = sv.kaplan_meier(rows).to_polars()
    free = model.occupation(curve["time"].to_list()).filter(pl.col("state") == "free")
    known = curve["std_error"].is_not_null()
    for name in ("estimate", "std_error", "n_risk"):
        np.testing.assert_allclose(free[name].filter(known), curve[name].filter(known), rtol=1e-11)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([(1, 0, 5, "acute", "chronic"), (1, 4, 9, "chronic", None)], "1 overlapping"),
        ([(1, 0, 5, "acute", "chronic"), (1, 5, 9, "acute", None)], "another state"),
        ([(1, 5, 5, "acute", "chronic")], "entry"),
        ([(1, 0, 5, "limbo", None)], "1 spells"),
        ([(1, 0, 5, "acute", "limbo")], "undeclared"),
        ([(None, 0, 5, "acute", None)], "without an id"),
    ],
)
def test_impossible_histories_are_refused(rows, fault) -> None:
    with pytest.raises(InputRefusedError, match=fault):
        fit(spells(*rows), states=STATES)


def test_a_start_that_nobody_shares_is_not_estimable() -> None:
    late = spells((1, 10, 20, "acute", "dead"))
    with pytest.raises(NotEstimableError, match="nobody_under_observation"):
        fit(late, states=STATES).occupation()
    model = fit(late, states=STATES)
    assert model.occupation([25], initial={"acute": 1.0}).filter(pl.col("state") == "dead")["estimate"].to_list() == [1]
    with pytest.raises(StudyError, match="add up to 1"):
        model.occupation(initial={"acute": 0.5})


# ---- recurrent events -----------------------------------------------------------------------------------------------


def test_mean_cumulative_function_by_hand() -> None:
    # Two persons: events on 2 and 4 for the first (until 6), on 4 for the second (until 5).
    #   day 2: 1/2; day 4: 1/2 + 2/2 = 3/2; nobody leaves the risk set at an event.
    rows = pl.DataFrame({"id": [1, 1, 1, 2, 2], "a": [0, 2, 4, 0, 4], "b": [2, 4, 6, 4, 5], "e": [1, 1, 0, 1, 0]})
    table = sv.mean_cumulative_function(rows, "id", "a", "b", "e").to_polars()
    assert table.select("time", "n_risk", "n_event", "n_censored", "estimate").rows() == [
        (2, 2, 1, 0, 0.5),
        (4, 2, 2, 0, 1.5),
        (5, 2, 0, 1, 1.5),
        (6, 1, 0, 1, 1.5),
    ]
    # influence on day 2: ±1/4 → variance 2/16; day 4 adds 0 to both
    assert table["std_error"].to_list() == pytest.approx([(1 / 8) ** 0.5] * 4)


def test_the_variance_sums_squares_over_persons() -> None:
    rows = cohort_of(80, 6).with_columns(e=(pl.col("to") == "chronic").fill_null(False).cast(pl.Int64))
    table = rows.rows(named=True)
    ours = sv.mean_cumulative_function(rows, "id", "start", "stop", "e").to_polars()
    influence = dict.fromkeys(rows["id"], 0.0)
    for day, std_error in ours.select("time", "std_error").rows():
        here = [row for row in table if row["start"] < day <= row["stop"]]
        events = sum(row["e"] and row["stop"] == day for row in here)
        for row in here:
            influence[row["id"]] += ((row["e"] and row["stop"] == day) - events / len(here)) / len(here)
        assert std_error == pytest.approx(sum(value**2 for value in influence.values()) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_rows_of_one_person_count_together(seed) -> None:
    # Splitting a row changes nothing when its person is named; unnamed, the pieces pass for several persons.
    random = np.random.default_rng(seed)
    entry = random.integers(0, 20, 150)
    rows = pl.DataFrame(
        {"id": np.arange(150), "a": entry, "t": entry + random.integers(1, 60, 150), "c": random.integers(0, 3, 150),
         "w": random.exponential(1, 150) + 0.1}
    ).with_columns(e=pl.col("c") > 0)  # fmt: skip
    cut = sv.split_follow_up(rows.drop("c"), "a", "t", "e", [10, 25, 40])
    pieces = cut.join(sv.split_follow_up(rows.drop("e"), "a", "t", "c", [10, 25, 40]), on=["id", "a", "t"])
    pieces = pieces.sample(fraction=1, shuffle=True, seed=1)
    for estimator, event in ((sv.kaplan_meier, "e"), (sv.nelson_aalen, "e"), (sv.cumulative_incidence, "c")):
        whole = estimator(rows, "t", event, entry="a", weights="w").to_polars()
        split = estimator(pieces, "t", event, entry="a", weights="w", id="id").to_polars()
        split = split.filter(pl.col("time").is_in(whole["time"].implode()))
        for name in ("estimate", "std_error", "lower", "upper"):
            np.testing.assert_allclose(split[name].to_numpy(), whole[name].to_numpy(), rtol=1e-8)
    with pytest.raises(StudyError, match="needs entry"):
        sv.kaplan_meier(rows, "t", "e", id="id")


def test_weights_that_change_within_a_person() -> None:
    # by definition: influence of a person = sum over rows of weight × derivative by that weight, with gaps between rows
    random = np.random.default_rng(11)
    table = []
    for person in range(14):
        clock = 0
        for _ in range(int(random.integers(1, 4))):
            start = clock + int(random.integers(0, 3))
            clock = start + int(random.integers(1, 5))
            table.append((person, start, clock, int(random.choice([0, 0, 1, 2])), float(random.exponential(1) + 0.2)))
    rows = pl.DataFrame(table, schema=["id", "a", "t", "c", "w"], orient="row")
    ours = (
        sv.cumulative_incidence(rows, "t", "c", entry="a", weights="w", id="id")
        .to_polars()
        .filter(pl.col("cause") == 1)
    )

    def incidence(weights, day):
        free, total = 1, 0
        for t in sorted({t for _, _, t, _, _ in table if t <= day}):
            at_risk = sum(w for w, (_, a, b, _, _) in zip(weights, table, strict=True) if a < t <= b)
            own = sum(w for w, (_, _, b, c, _) in zip(weights, table, strict=True) if b == t and c == 1)
            every = sum(w for w, (_, _, b, c, _) in zip(weights, table, strict=True) if b == t and c > 0)
            total, free = total + free * own / at_risk, free * (1 - every / at_risk)
        return total

    for day, estimate, std_error in ours.select("time", "estimate", "std_error").rows():
        influence = dict.fromkeys(range(14), 0.0)
        for k, (person, _, _, _, w) in enumerate(table):
            weights = [complex(v) for *_, v in table]
            weights[k] += 1e-30j
            influence[person] += w * incidence(weights, day).imag / 1e-30
        assert estimate == pytest.approx(incidence([w for *_, w in table], day))
        assert std_error**2 == pytest.approx(sum(value**2 for value in influence.values()), abs=1e-12)


def test_overlapping_spells_of_one_person_are_refused() -> None:
    rows = pl.DataFrame({"id": [1, 1], "a": [0, 1], "b": [3, 4], "e": [1, 0]})
    with pytest.raises(InputRefusedError, match="1 overlapping"):
        sv.mean_cumulative_function(rows, "id", "a", "b", "e")
