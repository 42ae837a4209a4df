"""What can be seen of an emulated trial without looking at its answer: who follows, how alike they are, what is left.

References
----------
Hernán MA, Robins JM (2016), Am J Epidemiol 183:758–764, doi:10.1093/aje/kwv254; Austin PC (2009), Stat Med
28:3083–3107, doi:10.1002/sim.3697 (standardised differences).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.effects.clones import Arm, Persons, Staying, clone, model_strategies, require_followers, sum_by_day
from cohort.effects.varying import Histories, Leaving, Rows, read_rows, sum_varying
from cohort.effects.weights import kish
from cohort.errors import NotEstimableError
from cohort.frames import as_lazy
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.cox_zph import proportional_hazards_test
from cohort.survival.design import design_matrix
from cohort.survival.types import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class TrialChecks:
    """What the gates of an emulated trial are judged by.

    ``balance`` has ``column, difference, difference_weighted``: the strategies' followers at the end of the grace
    period, standardised. ``effective`` is the smaller strategy's share of persons that its weights are worth,
    ``departures`` the fewest departures per column of a model of departing, ``events`` the fewest outcome events of a
    strategy, ``proportional_hazards`` the p-value of a hazard ratio that does not change with time, and
    ``effective_size`` each strategy's Kish size at the end of the grace period.
    """

    balance: pl.DataFrame
    effective: float
    departures: float
    events: int
    proportional_hazards: float
    effective_size: tuple[float, float]


def check_trial(
    frame: Any,
    *,
    treatment_time: str,
    grace_days: float,
    terms: str,
    truncate: float | None = None,
    departing: Literal["each", "starting"] = "each",
    histories: Histories | None = None,
    leaving: Leaving | None = None,
) -> TrialChecks:
    """Check a trial as `clone_censor_weight` emulates it; arguments as there, cause 1 being the outcome.

    Balance is that of the end of the grace period: covariates that change as they were then, under the weights of
    departing, which do not change any more.

    Raises
    ------
    NotEstimableError
        ``nobody_follows`` a strategy until the end of the grace period, and what the models of departing raise.
    """
    design = design_matrix(frame, terms or ())
    rows = as_lazy(frame).select("time", "cause", pl.col(treatment_time).cast(pl.Float64).fill_null(np.inf)).collect()
    persons = Persons(
        rows["time"].to_numpy(),
        rows["cause"].to_numpy(),
        rows[treatment_time].to_numpy(),
        np.asfortranarray(design.matrix),
        np.ones(rows.height),
    )
    arms = clone(persons, grace_days)
    require_followers(persons, grace_days)
    known = None if histories is None and leaving is None else read_rows(frame, persons, terms, histories, leaving)
    x, columns = (persons.x, design.names) if known is None else (_as_of(known, grace_days), known.columns)
    if known is None:
        chances = model_strategies(arms, persons, columns, grace_days, by_starting=departing == "starting")
        weights = [_last_weights(arm, persons, chance, truncate) for arm, chance in zip(arms, chances, strict=True)]
        of_departing = weights
    else:
        weights = [_varying_weights(arm, persons, known, truncate) for arm in arms]
        of_departing = [_varying_weights(arm, persons, known._replace(natural=None), truncate) for arm in arms]
    stay = [~arm.departed & (arm.time >= grace_days) for arm in arms]
    sizes = tuple(kish(weight[followed]) for weight, followed in zip(weights, stay, strict=True))
    departed = [arm.n_departed / len(columns) for arm in arms if arm.n_departed]
    if known is not None and known.natural_columns:
        lost = [int((known.lost & ~arm.departed & (arm.cause == 0)).sum()) for arm in arms]
        departed += [n / len(known.natural_columns) for n in lost if n]
    return TrialChecks(
        balance_of(x, columns, [weight[kept] for weight, kept in zip(of_departing, stay, strict=True)], stay),
        min(size / followed.sum() for size, followed in zip(sizes, stay, strict=True)),
        min(departed, default=np.inf),
        min(int((arm.cause == 1).sum()) for arm in arms),
        _proportional_hazards(arms, of_departing),
        (sizes[0], sizes[1]),
    )


def _as_of(known: Rows, day: float) -> Floats:
    """Return the covariates of departing as they stood on a day, (n, p)."""
    reached = np.concatenate([[0], np.cumsum(known.start <= day)])
    last: Ints = known.first[:-1] + np.maximum(reached[known.first[1:]] - reached[known.first[:-1]] - 1, 0)
    return known.x[last]


def _varying_weights(arm: Arm, persons: Persons, known: Rows, truncate: float | None) -> Floats:
    """Return the weight of each clone when it left, (n,), by what was known of it from day to day."""
    return sum_varying(arm, persons, known, np.unique(arm.time), (1,), truncate).last


def _last_weights(arm: Arm, persons: Persons, staying: Staying, truncate: float | None) -> Floats:
    """Return the weight of each clone when it left, (n,)."""
    last = sum_by_day(arm, persons, staying, np.unique(arm.time), (1,)).last
    return last if truncate is None else np.minimum(last, np.quantile(last, truncate))


def balance_of(
    x: Floats, columns: tuple[str, ...], weights: list[Floats], stay: list[NDArray[np.bool_]]
) -> pl.DataFrame:
    """Return standardised differences of two groups of rows of ``x``; null where neither group varies."""
    plain = [x[followed].mean(axis=0) for followed in stay]
    variance = [x[followed].var(axis=0) for followed in stay]
    weighted = [np.average(x[followed], axis=0, weights=weight) for followed, weight in zip(stay, weights, strict=True)]
    spread = np.sqrt((variance[0] + variance[1]) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = {
            "difference": np.where(spread > 0, (plain[0] - plain[1]) / spread, np.nan),
            "difference_weighted": np.where(spread > 0, (weighted[0] - weighted[1]) / spread, np.nan),
        }
    table = pl.DataFrame({"column": pl.Series(columns, dtype=pl.String), **differences})
    return table.with_columns(pl.selectors.float().fill_nan(None))


def _proportional_hazards(arms: tuple[Arm, Arm], weights: list[Floats]) -> float:
    """Return the p-value of a constant ratio; clones have the weight of their last day all the time.

    Weights are scaled to the number that they are worth (Kish), or ten persons who stand for fifty would be tested as
    fifty. The test takes clones for independent, so it closes sooner than it would have to.
    """
    start, abstain = arms
    side = np.repeat([1.0, 0.0], [len(start.time), len(abstain.time)])
    follow = Follow(
        np.concatenate([start.time, abstain.time]),
        np.concatenate([start.cause == 1, abstain.cause == 1]),
        weight=np.concatenate([weight * (weight.sum() / (weight**2).sum()) for weight in weights]),
    )
    return p_value_of_constant_ratio(side, follow)


def p_value_of_constant_ratio(side: Floats, follow: Follow) -> float:
    """Return the p-value of a ratio of one group's hazard to the other's that does not change; NaN without a ratio."""
    try:
        fit = estimate(np.asfortranarray(side[:, None]), follow, ("start",))
    except NotEstimableError:
        return float("nan")
    return float(proportional_hazards_test(fit).p_value[0])
