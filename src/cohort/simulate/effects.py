"""True marginal effects: integer counts of potential outcomes, summed over blocks and finished once.

Both potential outcomes of every eligible person are known, without censoring, so risks and restricted means are plain
averages and the hazard ratio is that of a trial in which everybody is in both arms. Monte Carlo errors come from
leaving out one of 32 groups of persons at a time.

References
----------
Efron B. The efficiency of Cox's likelihood function for censored data. JASA 72 (1977) 557–565.
doi:10.1080/01621459.1977.10480613
Efron B, Stein C. The jackknife estimate of variance. Ann Stat 9 (1981) 586–596. doi:10.1214/aos/1176345462
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cohort.simulate.counts import GROUPS, TruthCounts, count_population
from cohort.simulate.population import Ints
from cohort.simulate.scenario import Scenario
from cohort.simulate.truth import DEATH, OUTCOME

Estimand = Callable[[Ints, int], float]


def true_effects(scenario: Scenario, persons: int, seed: int) -> dict[str, object]:
    """Return the true effects of a scenario from a population of its own, without writing any extract."""
    return finish(scenario, count_population(scenario, persons, seed))


def finish(scenario: Scenario, counts: TruthCounts) -> dict[str, object]:
    """Return true and naive effects as long lists with Monte Carlo errors, ready to be written as JSON.

    ``effects`` are those of the strategies, ``usual_care`` what happened to all, ``naive`` what designs that overlook
    confounding, waiting for treatment, disenrolment or death find in the same persons.
    """
    names = list(scenario.truth.strategies)
    treated = 0 if scenario.truth.strategies[names[0]].opioid else 1
    exits = counts.strategies[:, [treated, 1 - treated]]
    names = [names[treated], names[1 - treated]]
    against = f"{names[0]} against {names[1]}"
    days = scenario.truth.horizons
    return {
        "eligible_persons": int(exits[:, 0].sum()),
        "effects": [
            *_rows({name: exits[:, [arm]] for arm, name in enumerate(names)}, days, _PER_STRATEGY),
            *_rows({against: exits}, days, _CONTRASTS),
        ],
        "usual_care": _rows({"all": counts.usual_care.sum(axis=1, keepdims=True)}, days, _PER_STRATEGY),
        "naive": [
            *_rows({"dispensed against not dispensed": counts.observed}, days, _NAIVE_CONTRASTS),
            *_rows({"all": counts.observed.sum(axis=1, keepdims=True)}, days, _NAIVE_RISKS),
        ],
    }


def _rows(groups: dict[str, Ints], days: Sequence[int], estimands: dict[str, Estimand]) -> list[dict[str, object]]:
    return [
        _row(estimand, name, day, exits, function)
        for day in days
        for name, exits in groups.items()
        for estimand, function in estimands.items()
    ]


def _row(estimand: str, strategy: str, day: int, exits: Ints, function: Estimand) -> dict[str, object]:
    value, error = _with_error(exits, day, function)
    return {"estimand": estimand, "strategy": strategy, "day": day, "value": value, "monte_carlo_error": error}


def _with_error(exits: Ints, day: int, function: Estimand) -> tuple[float | None, float | None]:
    """Return an estimand and its jackknife error over groups of persons; None where it is not defined."""
    whole = exits.sum(axis=0)
    value = function(whole, day)
    left_out = np.array([function(whole - group, day) for group in exits])
    error = float(np.sqrt((GROUPS - 1) / GROUPS * np.sum((left_out - left_out.mean()) ** 2)))
    return (value if np.isfinite(value) else None), (error if np.isfinite(error) else None)


def _risk(exits: Ints, day: int, cause: int, arm: int = 0) -> float:
    """Return the share of an arm that has left by a cause up to a day; nan if nobody is in it."""
    persons = exits[arm].sum()
    return float(exits[arm, : day + 1, cause].sum() / persons) if persons else np.nan


def _risk_ratio(exits: Ints, day: int) -> float:
    """Return the risk of the first arm over that of the second; nan if the second has no outcome."""
    reference = _risk(exits, day, OUTCOME, 1)
    return _risk(exits, day, OUTCOME) / reference if reference > 0 else np.nan


def _restricted_mean(exits: Ints, day: int, arm: int = 0) -> float:
    """Return the mean days up to ``day`` free of the outcome and alive."""
    leaving = exits[arm].sum(axis=1)
    days = np.minimum(np.arange(len(leaving)), day)
    return float((days * leaving).sum() / leaving.sum()) if leaving.any() else np.nan


def log_hazard_ratio(exits: Ints, day: int) -> float:
    """Return the log hazard ratio of the outcome, first arm against second, up to a day; deaths are censored.

    The maximum of Efron's partial likelihood for one 0/1 covariate, by Newton's method from counts per day.

    Parameters
    ----------
    exits
        Int64, shape (2, days, 3): persons by arm, day of exit and cause.
    day
        Last day whose outcomes count.
    """
    at_risk = _at_risk(exits)[:, : day + 1]
    events = exits[:, : day + 1, OUTCOME]
    if (events.sum(axis=1) == 0).any():
        return np.nan
    total = events.sum(axis=0)
    row = np.repeat(np.arange(day + 1), total)
    share = (np.arange(len(row)) - np.repeat(np.cumsum(total) - total, total)) / total[row]
    first, second = at_risk[:, row] - share * events[:, row]
    beta = 0.0
    for _ in range(50):
        expected = first * np.exp(beta) / (first * np.exp(beta) + second)
        step = (events[0].sum() - expected.sum()) / (expected * (1 - expected)).sum()
        beta += float(step)
        if abs(step) < 1e-12:
            break
    return beta


def _one_minus_kaplan_meier(exits: Ints, day: int) -> float:
    """Return 1 − Kaplan–Meier for the outcome with deaths taken as censored, in the first arm."""
    events, at_risk = exits[0, : day + 1, OUTCOME], _at_risk(exits)[0, : day + 1]
    return float(1 - np.prod(1 - events / np.maximum(at_risk, 1))) if at_risk[0] else np.nan


def _aalen_johansen(exits: Ints, day: int) -> float:
    """Return the cumulative incidence of the outcome with death competing, in the first arm, exits taken as random."""
    at_risk = np.maximum(_at_risk(exits)[0, : day + 1], 1)
    leaving = exits[0, : day + 1, OUTCOME] + exits[0, : day + 1, DEATH]
    free = np.concatenate([[1.0], np.cumprod(1 - leaving / at_risk)[:-1]])
    return float(np.sum(free * exits[0, : day + 1, OUTCOME] / at_risk)) if exits[0].any() else np.nan


def _at_risk(exits: Ints) -> Ints:
    """Return the persons who leave on each day or later, shape (arms, days)."""
    return np.asarray(exits.sum(axis=2)[:, ::-1].cumsum(axis=1)[:, ::-1])


_PER_STRATEGY: dict[str, Estimand] = {
    "cumulative_incidence": lambda exits, day: _risk(exits, day, OUTCOME),
    "cumulative_incidence_death": lambda exits, day: _risk(exits, day, DEATH),
    "restricted_mean_days": _restricted_mean,
}
_CONTRASTS: dict[str, Estimand] = {
    "risk_difference": lambda exits, day: _risk(exits, day, OUTCOME) - _risk(exits, day, OUTCOME, 1),
    "risk_ratio": _risk_ratio,
    "restricted_mean_difference_days": lambda exits, day: (
        _restricted_mean(exits, day) - _restricted_mean(exits, day, 1)
    ),
    "log_hazard_ratio": log_hazard_ratio,
}
_NAIVE_CONTRASTS: dict[str, Estimand] = {"log_hazard_ratio": log_hazard_ratio}
_NAIVE_RISKS: dict[str, Estimand] = {
    "one_minus_kaplan_meier": _one_minus_kaplan_meier,
    "aalen_johansen": _aalen_johansen,
}
"""Estimands of one strategy, and of the opioid strategy against the other; both take (arms, days, causes) and a day."""
