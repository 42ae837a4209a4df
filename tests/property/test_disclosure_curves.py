"""Released curves: no count that can be had by adding and subtracting their points is a small one."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates

MINIMUM = 11


def curves(people: pl.DataFrame, *, whole: bool) -> Estimates:
    """Return made-up cumulative incidence of causes 1 and 2 by group and, if asked for, of everybody."""
    parts = []
    groups = [(1, name, part) for (name,), part in people.group_by("group", maintain_order=True)]
    for position, name, part in [*groups, *([(2, "all", people)] if whole else [])]:
        days = (
            part.group_by("time")
            .agg(*((pl.col("cause") == cause).sum().alias(str(cause)) for cause in (0, 1, 2)))
            .sort("time")
        )
        left = part.height - days.select(pl.sum_horizontal("0", "1", "2").cum_sum().shift(1, fill_value=0)).to_series()
        parts += [
            Estimates.from_rows(
                days.select("time", events=str(cause), censored="0", n=left, value=pl.lit(0.5)),
                analysis=position,
                group=name,
                estimand="cumulative_incidence",
                outcome=f"cause {cause}",
            )
            for cause in (1, 2)
        ]
    return Estimates.concat(parts)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([5, 14, 40, 150, 600]), min_size=1, max_size=3),
    horizon=st.sampled_from([7, 60, 365]),
    whole=st.booleans(),
)
def test_between_points_and_after_the_last_lie_no_or_enough_persons(seed, sizes, horizon, whole):
    random = np.random.default_rng(seed)
    group = np.repeat([f"g{n}" for n in range(len(sizes))], sizes)
    time = np.minimum(random.geometric(2 / horizon, len(group)), horizon)
    people = pl.DataFrame({"group": group, "time": time, "cause": random.choice(3, len(group), p=[0.4, 0.4, 0.2])})
    flow = Attrition((Step("in the store", len(group), 0, len(group), 0),))
    released = release(curves(people, whole=whole), flow, DisclosureRule(minimum=MINIMUM)).estimates.to_polars()
    points = released.filter(pl.col("time").is_not_null())
    assert (points["n"] >= MINIMUM).all()
    for counts in known_counts(points, people):
        assert all(count == 0 or abs(count) >= MINIMUM for count in counts)


def known_counts(points: pl.DataFrame, people: pl.DataFrame):
    """Yield every count that a reader has, from the persons themselves, not from the code that chose the points.

    Of each group, cause and interval the events; of each group and interval between any two points of any of its
    curves those who left; where both causes have the same two points, the censorings too; and the same for
    everybody less the groups that are shown.
    """
    shown = points.select("group", "outcome", "time").unique().sort("group", "outcome", "time")
    sets = {name: people.filter(pl.col("group") == name) for name in people["group"].unique()} | {"all": people}
    days = {key: [0, *part["time"]] for key, part in shown.partition_by("group", "outcome", as_dict=True).items()}
    for (name, outcome), at in days.items():
        yield from _between(sets[name], at, [int(outcome[-1])])
    for name in {name for name, _ in days}:
        union = sorted({day for (group, _), at in days.items() if group == name for day in at})
        yield from _between(sets[name], union, [])
        causes = [set(at) for (group, _), at in days.items() if group == name]
        if len(causes) == 2:
            yield from _between(sets[name], sorted(set.intersection(*causes)), [0, 1, 2])
    for cause in (1, 2):
        ours = [set(at) for (name, outcome), at in days.items() if outcome[-1] == str(cause) and name != "all"]
        names = [name for name, outcome in days if outcome[-1] == str(cause) and name != "all"]
        whole = days.get(("all", f"cause {cause}"))
        if whole and names:
            rest = people.filter(~pl.col("group").is_in(names))
            yield from _between(rest, sorted(set(whole).intersection(*ours)), [cause])


def _between(people: pl.DataFrame, days: list[int], causes: list[int]):
    """Yield, for each interval (from, to] of consecutive days and what comes after, the persons of each cause."""
    time, cause = people["time"].to_numpy(), people["cause"].to_numpy()
    for start, end in itertools.pairwise([*days, np.inf]):
        inside = (time > start) & (time <= end)
        yield [int((inside & (cause == one)).sum()) for one in causes] or [int(inside.sum())]


def test_what_is_asked_first_has_the_finer_points_not_a_composite_that_is_commoner():
    random = np.random.default_rng(4)
    time, cause = random.integers(1, 366, 3000), random.choice(3, 3000, p=[0.6, 0.38, 0.02])
    people = pl.DataFrame({"group": "g", "time": time, "cause": cause})
    first = curves(people, whole=False).frame
    composite = curves(people.with_columns(cause=pl.col("cause").clip(0, 1)), whole=False).frame
    asked_second = composite.filter(pl.col("outcome") == "cause 1").with_columns(
        analysis=pl.lit(2, pl.Int64), outcome=pl.lit("either")
    )
    flow = Attrition((Step("in the store", 3000, 0, 3000, 0),))
    both = Estimates(pl.concat([first, asked_second]))
    shown = release(both, flow, DisclosureRule(minimum=MINIMUM)).estimates.frame.drop_nulls("time")
    points = dict(shown.group_by("outcome").agg(pl.col("time").n_unique()).iter_rows())
    assert points["cause 1"] > 4 * points["either"]
    assert points["either"] == points["cause 2"]
