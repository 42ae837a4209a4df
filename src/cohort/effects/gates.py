"""Gates: what must hold before an effect estimate may be seen.

An estimate whose arms still differ after weighting, or who hardly overlap, invites belief that it has not earned. The
gates are judged without looking at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort.effects.balance_table import worst
from cohort.effects.calibration import FEWEST, SystematicError
from cohort.effects.overlap import positivity
from cohort.effects.trial_checks import TrialChecks
from cohort.effects.weights import BalancingWeights


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the gates close; a bound of None leaves its gate open.

    ``balance``: largest standardised difference after weighting. ``equipoise``: smallest share of an arm with a
    preference score from 0.3 to 0.7. ``effective``: smallest share of an arm's persons that its weights are worth.
    ``per_parameter``: fewest persons of the smaller arm for each column of the propensity model, or fewest departures
    for each column of a model of departing. ``events``: fewest outcome events of a strategy.
    ``proportional_hazards``: smallest p-value of constant hazard ratios; it closes on the hazard ratio alone.
    ``systematic_error``: largest absolute error of a log hazard ratio that negative controls let expect, from those
    with ``control_events`` in either arm.

    References
    ----------
    Austin PC (2009), doi:10.1002/sim.3697 (0.1); Walker AM et al. (2013), doi:10.2147/CER.S40357 (equipoise); Peduzzi P
    et al. (1996), doi:10.1016/s0895-4356(96)00236-3 (10 per parameter); Schuemie MJ et al. (2018), PNAS 115:2571–2577,
    doi:10.1073/pnas.1708282114 (negative controls; 0.25 is the bound of the OHDSI packages).
    """

    balance: float | None = 0.1
    equipoise: float | None = 0.2
    effective: float | None = 0.1
    per_parameter: float | None = 10
    events: float | None = None
    proportional_hazards: float | None = 0.05
    systematic_error: float | None = 0.25
    control_events: float = 10


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what was measured, the bound, whether it was passed, and the whole in words.

    ``measured`` is None of a gate that counts persons or events: its words tell only on which side of the bound they
    are, since a small count must not leave by this door.
    """

    name: str
    measured: float | None
    bound: float | None
    passed: bool
    text: str
    asked: str
    """What was measured and the bound, without the number: it stays where the number is withheld."""


def judge(weights: BalancingWeights, balance: pl.DataFrame, bounds: Bounds) -> tuple[Gate, ...]:
    """Return the gates of a comparison, all but that of proportional hazards.

    Parameters
    ----------
    balance
        As `balance` returns it, of every covariate that has to be alike.
    """
    scores = weights.propensity
    name, difference = worst(balance) or ("no covariate", 0.0)
    sizes = {"treated": int(scores.treated.sum()), "untreated": int((~scores.treated).sum())}
    shares = {arm: effective / sizes[arm] for arm, effective in weights.effective_size.items()}
    equipoise = min(positivity(scores).equipoise.values())
    per_parameter = min(sizes.values()) / max(len(scores.columns), 1)
    return (
        _at_most("balance", difference, bounds.balance, f"largest difference after weighting, of {name}"),
        _at_least("equipoise", equipoise, bounds.equipoise, "share in equipoise in the arm with fewer"),
        _at_least("positivity", min(shares.values()), bounds.effective, "effective share of the arm with fewer"),
        _enough("parameters", per_parameter, bounds.per_parameter, "persons of the smaller arm per parameter"),
    )


def judge_trial(checks: TrialChecks, bounds: Bounds) -> tuple[Gate, ...]:
    """Return the gates of an emulated trial, that of its hazard ratio last."""
    return _judge_weighted(
        checks,
        bounds,
        balance="largest difference of the strategies' followers after weighting, of",
        positivity="effective share of the strategy with fewer",
        parameters="departures from a strategy per parameter",
        events="outcome events of the strategy with fewer",
    )


def judge_nested(checks: TrialChecks, bounds: Bounds) -> tuple[Gate, ...]:
    """Return the gates of nested trials, that of their hazard ratio last."""
    return _judge_weighted(
        checks,
        bounds,
        balance="largest difference of the arms after weighting, of",
        positivity="effective share of the arm with fewer",
        parameters="trials of the smaller arm per parameter",
        events="outcome events of the arm with fewer",
    )


def judge_structural(checks: TrialChecks, bounds: Bounds) -> tuple[Gate, ...]:
    """Return the gates of a marginal structural model, all of which close its hazard ratio."""
    return _judge_weighted(
        checks,
        bounds,
        balance="largest difference of those who start and those who do not, weighted, of",
        positivity="effective share of exposed or unexposed time",
        parameters="starts per parameter of their model",
        events="outcome events while exposed, or while not",
    )


def _judge_weighted(
    checks: TrialChecks, bounds: Bounds, *, balance: str, positivity: str, parameters: str, events: str
) -> tuple[Gate, ...]:
    """Return the gates of a design that weights over time, each with what it looks at in the design's own words."""
    name, difference = worst(checks.balance) or ("no covariate", 0.0)
    return (
        _at_most("balance", difference, bounds.balance, f"{balance} {name}"),
        _at_least("positivity", checks.effective, bounds.effective, positivity),
        _enough("parameters", checks.departures, bounds.per_parameter, parameters),
        _enough("events", checks.events, bounds.events, events),
        judge_proportional_hazards(checks.proportional_hazards, bounds),
    )


def judge_proportional_hazards(p_value: float, bounds: Bounds) -> Gate:
    """Return the gate of the hazard ratio: an average over time of what changes with time is not shown as constant."""
    what = "p-value of a hazard ratio that does not change with time"
    return _at_least("proportional_hazards", p_value, bounds.proportional_hazards, what)


def judge_systematic_error(error: SystematicError | None, bounds: Bounds) -> Gate:
    """Return the gate of negative controls: closed where too few of them can be judged by; it then stays unknown."""
    if error is None:
        text = f"negative controls with {bounds.control_events:g} events in either arm: fewer than the {FEWEST} needed"
        return Gate("negative_controls", None, bounds.systematic_error, passed=False, text=text, asked=text)
    what = f"absolute error of the log hazard ratio that {error.n} negative controls let expect"
    return _at_most("negative_controls", expected_absolute_error(error), bounds.systematic_error, what)


def expected_absolute_error(error: SystematicError) -> float:
    """Return the mean of the absolute systematic error, a folded normal: the EASE of Schuemie et al."""
    if error.spread == 0:
        return abs(error.mean)
    at = error.mean / error.spread
    density = np.sqrt(2 / np.pi) * np.exp(-(at**2) / 2)
    return float(error.spread * density + error.mean * (1 - 2 * ndtr(-at)))


def _at_most(name: str, measured: float, bound: float | None, what: str) -> Gate:
    passed = bound is None or measured <= bound
    return Gate(name, measured, bound, passed, *_words(what, measured, bound, "at most"))


def _at_least(name: str, measured: float, bound: float | None, what: str) -> Gate:
    passed = bound is None or bool(np.greater_equal(measured, bound))
    return Gate(name, measured, bound, passed, *_words(what, measured, bound, "at least"))


def _enough(name: str, counted: float, bound: float | None, what: str) -> Gate:
    passed = bound is None or bool(np.greater_equal(counted, bound))
    asked = "no bound" if bound is None else f"{bound:g} or more" if passed else f"fewer than the {bound:g} asked"
    return Gate(name, None, bound, passed, text=f"{what}: {asked}", asked=f"{what}: {asked}")


def _words(what: str, measured: float, bound: float | None, comparison: str) -> tuple[str, str]:
    """Return what a gate says, with the number that was measured and without."""
    asked = "no bound" if bound is None else f"{comparison} {bound:g} asked"
    return f"{what}: {round(measured, 3):.2g}, {asked}", f"{what}, {asked}"
