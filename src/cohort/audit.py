"""Design faults that can be seen in the plan, before a row is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cohort.study import Study


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: ``error`` stops the run, ``warning`` stands in the report."""

    severity: Literal["error", "warning"]
    code: str
    message: str


def audit(study: Study) -> tuple[Finding, ...]:
    """Return what is wrong with the design of a study.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """
    return tuple(_future_covariates(study))


def _future_covariates(study: Study) -> Iterator[Finding]:
    """Find covariates that are known only after risk has started: whoever has them has survived until then."""
    landmark = study.outcome.landmark
    for covariate in study.covariates:
        window = getattr(covariate, "window", None)
        if window is None or (window.last is not None and window.last <= landmark):
            continue
        last = "without end" if window.last is None else f"to day {window.last}"
        yield Finding(
            "error",
            "immortal_time",
            f"covariate {covariate.name!r} looks {last}, but risk starts after day {landmark}: persons must stay at "
            "risk to have it. Start risk later (from_day or after_days of the outcome), or end the window sooner.",
        )
