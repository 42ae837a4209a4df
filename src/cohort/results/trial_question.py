"""What an emulated trial asks of the room of effects: rows, strategies, and what departing and leaving depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.effects.emulation import Emulation, clone_censor_weight
from cohort.effects.varying import Histories, Leaving
from cohort.features.time_varying import TimeVarying, histories
from cohort.results.terms import split_terms

if TYPE_CHECKING:
    from cohort.results.trial import EmulatedTrial

HAZARD_RATIO, DIFFERENCE = "marginal_hazard_ratio", "risk_difference"
_LEFT = "_left"


def question(
    trial: EmulatedTrial, rows: pl.DataFrame, exposure: str, time_varying: Sequence[TimeVarying]
) -> dict[str, Any]:
    """Return the arguments that `clone_censor_weight` and `check_trial` share."""
    changing = [covariate for covariate in time_varying if covariate.name in trial.uses]
    names = [covariate.name for covariate in changing]
    terms, moving = split_terms(trial.adjust_for, names)
    asked: dict[str, Any] = {"frame": rows.drop(names), "treatment_time": exposure, "terms": terms}
    asked |= {"grace_days": trial.grace_days, "truncate": trial.truncate, "departing": trial.departing}
    if (natural := trial.natural_censoring) is not None:
        asked["frame"] = asked["frame"].with_columns(natural.left.alias(_LEFT))
        asked["leaving"] = Leaving(natural.terms, _LEFT)
    if changing:
        asked["histories"] = Histories(histories(rows, changing), moving)
    return asked


def emulate(trial: EmulatedTrial, asked: dict[str, Any], **changed: Any) -> Emulation:
    """Emulate the trial."""
    options = {"horizon": trial.horizon_days, "replicates": trial.replicates, "seed": trial.seed, "level": trial.level}
    return clone_censor_weight(**(asked | options | changed))


def taken_as_random(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the question with natural censoring taken as random."""
    known = asked.get("histories")
    return asked | {"leaving": None, "histories": known if known is not None and known.terms else None}
