"""Faults of looking back: absence of a record where nobody had to be observed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cohort.audit.finding import Finding
from cohort.population.criteria import Enrolled

if TYPE_CHECKING:
    from cohort.study import Study


def observed_before(study: Study) -> int | None:
    """Return how many days before index everybody is required to be enrolled; none if enrolment is not required."""
    windows = [rule.window for rule in study.cohort.rules if isinstance(rule, Enrolled)]
    # one that ends sooner leaves a hole before index
    days = [-w.first for w in windows if w.first is not None and w.last is not None and w.first <= 0 and w.last >= -1]
    return max(days, default=None)


def washout_unobserved(study: Study) -> Iterator[Finding]:
    """Find a washout that reaches back to before anybody had to be enrolled."""
    observed = observed_before(study)
    days = max((days for days in study.entry.washouts if days is not None), default=None)
    if days is not None and observed is not None and days > observed:
        yield Finding(
            "warning",
            "washout_unobserved",
            f"cohort.entry.washout_days: {days} days without a record are asked for, but enrolment is required for "
            f"{observed} days before index only: no record there may mean nobody was looking. Require enrolment from "
            f"day -{days}, or shorten the washout to {observed} days.",
        )


def enrolment_not_required(study: Study) -> Iterator[Finding]:
    """Find a cohort of persons of whom nobody knows since when they are observed."""
    if observed_before(study) is not None:
        return
    washout = max((days for days in study.entry.washouts if days is not None), default=None)
    parts = [f"the washout of {washout} days" if washout else "the entry"]
    parts += [repr(covariate.name) for covariate in study.covariates if _looks_back(covariate) != 0]
    yield Finding(
        "warning",
        "enrolment_not_required",
        "cohort.rules: no rule requires enrolment up to index, so where no record is found the person may not have "
        f"been there; {_listed(parts)} cannot tell. Add require_enrolled (rule = 'enrolled') as far back as they look. "
        "Where the data have no enrolment periods, say in the report why absence of a record can be believed.",
    )


def covariates_unobserved(study: Study) -> Iterator[Finding]:
    """Find covariates of days on which nobody had to be enrolled: what was not recorded is absent, or missing."""
    observed = observed_before(study)
    for number, covariate in enumerate(study.covariates, start=1):
        back = _looks_back(covariate)
        if observed is None or (back is not None and back <= observed):
            continue
        known = getattr(covariate, "observed", "assumed") == "throughout"
        effect = "has no value and is left out of models" if known else "looks healthier"
        yield Finding(
            "warning",
            "covariate_unobserved",
            f"covariates[{number}].window: {covariate.name!r} looks back "
            f"{'without limit' if back is None else f'{back} days'}, but enrolment is required for {observed} days "
            f"before index only: who was enrolled for less {effect}. Require enrolment over the window, or start it on "
            f"day -{observed}.",
        )


def _looks_back(covariate: Any) -> int | None:
    """Return how many days before index a covariate must see; none = without limit."""
    window = getattr(covariate, "must_observe", getattr(covariate, "window", None))
    if window is None:
        return 0
    return None if window.first is None else max(0, -window.first)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
