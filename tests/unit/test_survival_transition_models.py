"""A Cox model for each transition: what it reduces to with one, two and three states."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import NotEstimableError, StudyError


def spells(n: int = 400, seed: int = 5) -> pl.DataFrame:
    """Return people who are well, fall ill and may recover, and die from either; exposure speeds up falling ill."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(n):
        state, day, end, exposed = "well", 0, int(rng.integers(30, 120)), person % 2
        while day < end and state != "dead":
            ways = {
                "well": [("ill", 0.02 * np.exp(0.8 * exposed)), ("dead", 0.004)],
                "ill": [("well", 0.03), ("dead", 0.01)],
            }
            waits = [(day + 1 + int(rng.exponential(1 / rate)), target) for target, rate in ways[state]]
            stop, target = min(waits)
            if stop > end:
                rows.append((person, day, end, state, None, exposed))
                break
            rows.append((person, day, stop, state, target, exposed))
            day, state = stop, target
    schema = ["person", "start", "stop", "from_state", "to_state", "exposed"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_each_transition_is_the_cox_model_of_its_rows() -> None:
    frame = spells()
    fits = sv.fit_transitions(frame, terms="exposed")
    assert list(fits.fits) == [("ill", "dead"), ("ill", "well"), ("well", "dead"), ("well", "ill")]
    for (origin, target), fit in fits.fits.items():
        alone = sv.fit_cox(sv.transition_rows(frame, origin, target), "stop", "event", "start", terms="exposed")
        np.testing.assert_array_equal(fit.coef, alone.coef)
    falling = fits.fits["well", "ill"]
    assert abs(falling.coef[0] - 0.8) < 3 * falling.std_error[0]
    table = fits.to_polars()
    assert table.columns[:4] == ["from_state", "to_state", "term", "coef"]
    assert table.height == 4


def test_competing_risks_are_one_state_with_several_ways_out() -> None:
    first = spells().unique("person", keep="first", maintain_order=True)
    causes = first.with_columns(
        cause=pl.col("to_state").replace_strict({"ill": 1, "dead": 2}, default=0).cast(pl.Int64)
    )
    competing = sv.fit_cause_specific(causes, "stop", "cause", "start", terms="exposed")
    new, days = pl.DataFrame({"exposed": [0, 1]}), [10, 40, 80]
    incidence, survival = competing.cumulative_incidence(new, days)
    shown = sv.fit_transitions(first, terms="exposed").occupation(new, days, {"well": 1.0})
    for state, expected in (("ill", incidence[0]), ("dead", incidence[1]), ("well", survival)):
        np.testing.assert_allclose(shown.filter(state=state)["estimate"], expected.T.ravel(), rtol=1e-12)


def test_without_an_effect_it_is_nearly_the_aalen_johansen_estimator() -> None:
    # everybody once exposed and once not: coefficients are 0 and the baseline is that of all
    frame = pl.concat([spells().with_columns(exposed=pl.lit(k)) for k in (0, 1)])
    fits = sv.fit_transitions(frame, terms="exposed", ties="breslow")
    for fit in fits.fits.values():
        np.testing.assert_allclose(fit.coef, 0, atol=1e-10)
    days = [10, 40, 80]
    initial = {"well": 1.0}
    shown = fits.occupation(pl.DataFrame({"exposed": [0]}), days, initial)
    model = sv.multistate(spells(), "person", "start", "stop", "from_state", "to_state")
    counted = model.occupation(days, initial=initial).with_columns(pl.col("time").cast(pl.Float64))
    both = shown.join(counted, on=["state", "time"], how="inner", suffix="_counted", maintain_order="left")
    assert both.height == 9
    # exp(-hazard) against 1 - hazard, at days with some 1 % moving
    np.testing.assert_allclose(both["estimate"], both["estimate_counted"], atol=0.01)
    per_day = both.group_by("time").agg(pl.col("estimate").sum())
    np.testing.assert_allclose(per_day["estimate"], 1, rtol=1e-12)


def test_a_later_start_forgets_what_came_before() -> None:
    fits = sv.fit_transitions(spells(), terms="exposed")
    new = pl.DataFrame({"exposed": [1]})
    at_start = fits.occupation(new, [30], {"ill": 1.0}, start=30)
    assert dict(at_start.select("state", "estimate").rows()) == {"dead": 0.0, "ill": 1.0, "well": 0.0}
    # Chapman–Kolmogorov: through day 30
    middle = dict(fits.occupation(new, [30], {"well": 1.0}).select("state", "estimate").rows())
    through = fits.occupation(new, [80], middle, start=30)
    np.testing.assert_allclose(through["estimate"], fits.occupation(new, [80], {"well": 1.0})["estimate"], rtol=1e-12)


def test_what_cannot_be_fitted_names_the_transition() -> None:
    frame = spells(60).with_columns(only_ill=(pl.col("from_state") == "ill").cast(pl.Int64))
    with pytest.raises(NotEstimableError, match=r"constant\(ill to dead: only_ill\)"):
        sv.fit_transitions(frame, terms="only_ill")
    with pytest.raises(NotEstimableError, match="no_events"):
        sv.fit_transitions(frame.with_columns(to_state=pl.lit(None, pl.String)), terms="exposed")
    with pytest.raises(StudyError, match="initial"):
        sv.fit_transitions(frame, terms="exposed").occupation(frame, [5], {"well": 0.5})
