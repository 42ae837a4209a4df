"""What the outcome would be in the weighted persons under either treatment: risk, restricted time, hazard ratio.

Risks and times are read off weighted Aalen–Johansen curves, so a competing event is an event and not a censoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from cohort.effects.stacked import influence_under
from cohort.effects.weights import SMALLEST_SHARE, BalancingWeights
from cohort.errors import NotEstimableError, StudyError
from cohort.survival.counts import count_days
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.cox_residuals import delta_beta
from cohort.survival.functionals import Functional, incidence_functional, until, up_to
from cohort.survival.intervals import normal_quantile
from cohort.survival.observations import observe
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.types import Floats, Numbers

Measure = Literal["risk", "time_lost", "hazard_ratio"]
ARMS = ("treated", "untreated")
_SCHEMA = {
    "measure": pl.String,
    "group": pl.String,
    "estimate": pl.Float64,
    "std_error": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "p_value": pl.Float64,
}


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Estimates of both arms and their contrasts, with what each person changes in them.

    ``table`` has columns ``measure, group, estimate, std_error, lower, upper, p_value``: measures ``risk`` and
    ``time_lost`` by arm; ``risk_difference, risk_ratio, time_lost_difference`` and ``hazard_ratio`` with group
    ``treated``, against the untreated. Ratios have the ``std_error`` of their logarithm. ``influence`` (n, q) holds
    what each person changes in each row, on the scale of ``std_error``.
    """

    table: pl.DataFrame
    influence: Floats
    horizon: float
    level: float
    method: str

    def to_polars(self) -> pl.DataFrame:
        """Return one row per estimate."""
        return self.table


class FollowUp(NamedTuple):
    """The rows of the persons weighted, arrays (n,)."""

    time: Numbers
    cause: Numbers
    entry: Numbers | None


class Estimated(NamedTuple):
    """A number of one group, its gradient or influence (n,), and whether it is a ratio, whose log they are of."""

    measure: str
    group: str
    value: float
    gradient: Floats
    ratio: bool


def weighted_effects(
    frame: Any,
    weights: BalancingWeights,
    *,
    time: str = "time",
    cause: str = "cause",
    entry: str | None = None,
    horizon: float,
    cause_of_interest: int = 1,
    measures: Sequence[Measure] = ("risk", "time_lost", "hazard_ratio"),
    smallest_share: float = SMALLEST_SHARE,
    level: float = 0.95,
) -> Effects:
    """Estimate the effect of treatment in the weighted persons, with robust variance by person.

    Parameters
    ----------
    frame
        The frame that the propensity scores came from, one row per person, in the same order.
    time, cause, entry
        Days of follow-up, event codes (0 = censored), and delayed entry, as everywhere in `cohort.survival`.
    horizon
        Days at which risks are read and up to which lost time is counted.
    measures
        ``risk``, ``time_lost`` (horizon minus restricted mean time free of the cause), ``hazard_ratio`` (weighted Cox
        model of the treatment alone, other causes censored, Efron ties).
    smallest_share
        Share of an arm's persons that its weights must be worth; 0 where a gate judges that.

    Raises
    ------
    NotEstimableError
        ``weights_explode``; ``horizon_after_follow_up`` if nobody of an arm is left under observation at the horizon;
        what the Cox model raises.

    References
    ----------
    Cole SR, Hernán MA (2004), Comput Methods Programs Biomed 75:45–49, doi:10.1016/j.cmpb.2003.10.004 (weighted
    curves). Conner SC et al. (2019), Stat Med 38:3832–3860, doi:10.1002/sim.8206 (weighted restricted means).
    """
    if unknown := set(measures) - set(get_args(Measure)):
        raise StudyError(f"measures: {', '.join(sorted(unknown))}; choose among {', '.join(get_args(Measure))}")
    if not 0 < horizon < np.inf:
        raise StudyError(f"horizon = {horizon}; a positive number of days")
    weights.require_effective(smallest_share)
    follow = follow_up_of(frame, weights.propensity.kept, time, cause, entry)
    found: list[Estimated] = []
    for measure in ("risk", "time_lost"):
        if measure in measures:
            found += _by_arm(follow, weights, measure, horizon, cause_of_interest)
    if "hazard_ratio" in measures:
        found.append(_hazard_ratio(follow, weights, cause_of_interest))
    stacked = weights.propensity.design is not None
    variance = "the propensity model is part of the variance" if stacked else "variance with the weights as if known"
    influence = influence_under(weights, np.column_stack([one.gradient for one in found]))
    return lay_out(found, influence, horizon, level, f"{weights.propensity.text}; {weights.text}; {variance}")


def lay_out(found: Sequence[Estimated], influence: Floats, horizon: float, level: float, method: str) -> Effects:
    """Return estimates with limits from the sum of squared influences, (n, q)."""
    half = normal_quantile(level)
    rows = []
    for one, error in zip(found, np.sqrt((influence**2).sum(axis=0)), strict=True):
        centre = np.log(one.value) if one.ratio else one.value
        limits = centre - half * error, centre + half * error
        lower, upper = np.exp(limits) if one.ratio else limits
        contrast = one.ratio or one.measure.endswith("difference")
        p = float(2 * ndtr(-abs(centre) / error)) if contrast and error > 0 else None
        rows.append((one.measure, one.group, one.value, float(error), float(lower), float(upper), p))
    return Effects(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), influence, horizon, level, method)


def follow_up_of(frame: Any, kept: NDArray[np.bool_], time: str, cause: str, entry: str | None) -> FollowUp:
    """Return the follow-up of the persons kept."""
    rows = observe(frame, time, cause, None, entry).rows
    if len(rows) != len(kept):
        raise StudyError(f"the frame has {len(rows)} rows and the scores came from one of {len(kept)}; pass that frame")
    rows = rows.filter(pl.Series(kept))
    return FollowUp(
        rows["time"].to_numpy(),
        rows["cause"].cast(pl.Int64).to_numpy(),
        rows["entry"].to_numpy() if entry else None,
    )


def _by_arm(follow: FollowUp, weights: BalancingWeights, measure: str, horizon: float, code: int) -> list[Estimated]:
    """Return a measure in either arm and its contrasts."""
    found = {}
    for name, arm in zip(ARMS, (weights.propensity.treated, ~weights.propensity.treated), strict=True):
        value, gradient = curve_number(follow, arm, weights.weight, measure, horizon, code, name)
        spread = np.zeros(len(arm))
        spread[arm] = gradient
        found[name] = Estimated(measure, name, value, spread, False)
    return [*found.values(), *contrasts(found["treated"], found["untreated"])]


def contrasts(one: Estimated, zero: Estimated) -> list[Estimated]:
    """Return the difference of two arms' numbers and, for a risk that is not 0, their ratio."""
    measure, gradient = one.measure, one.gradient - zero.gradient
    found = [Estimated(f"{measure}_difference", one.group, one.value - zero.value, gradient, False)]
    if measure == "risk" and min(one.value, zero.value) > 0:
        gradient = one.gradient / one.value - zero.gradient / zero.value
        found.append(Estimated("risk_ratio", one.group, one.value / zero.value, gradient, True))
    return found


def curve_number(
    follow: FollowUp,
    arm: NDArray[np.bool_],
    weight: Floats | None,
    measure: str,
    horizon: float,
    code: int,
    name: str,
) -> tuple[float, Floats]:
    """Return the risk at, or time lost by, the horizon in one arm, and its gradient over the arm's persons."""
    time, cause = follow.time[arm], follow.cause[arm]
    entry = None if follow.entry is None else follow.entry[arm]
    columns = {"t": time, "c": cause}
    columns |= ({} if entry is None else {"entry": entry}) | ({} if weight is None else {"w": weight[arm]})
    causes = sorted({code, *np.unique(cause[cause > 0]).tolist()})
    roles = (None if entry is None else "entry", None if weight is None else "w")
    counts = count_days(columns, "t", "c", None, *roles, causes=causes)
    (risk,) = risk_tables(counts)
    _require_horizon(risk, horizon, name)
    counted = up_to(risk, horizon) if measure == "risk" else until(risk, horizon)
    number: Functional = incidence_functional(risk, causes.index(code), counted)
    return number.value, number.gradient(risk, time, cause, entry, code)


def _require_horizon(risk: RiskTable, horizon: float, arm: str) -> None:
    """Refuse a horizon that no person of an arm reaches, unless everybody had an event before it."""
    if risk.time[-1] < horizon and risk.n_survivors[-1] + risk.n_censored[-1] > 0:
        raise NotEstimableError(f"horizon_after_follow_up: nobody of the {arm} is under observation at the horizon")


def _hazard_ratio(follow: FollowUp, weights: BalancingWeights, code: int) -> Estimated:
    treated = weights.propensity.treated.astype(np.float64)[:, None]
    seen = Follow(follow.time, follow.cause == code, entry=follow.entry, weight=weights.weight)
    fit = estimate(np.asfortranarray(treated), seen, ("treated",))
    gradient = np.zeros(len(treated))
    gradient[fit.used] = delta_beta(fit)[:, 0]
    return Estimated("hazard_ratio", "treated", float(np.exp(fit.coef[0])), gradient, True)
