"""Which ends of follow-up tell something of the person, and what foretells them."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, field_validator

from cohort.outcomes.dating import UNJUDGED
from cohort.population.follow_up import ADMINISTRATIVE, LEFT, OTHER_ARM
from cohort.results.terms import check_terms
from cohort.spec import Spec


class NaturalCensoring(Spec):
    """Ends of follow-up that covariates may foretell, such as leaving the plan: who stays is weighted for who left.

    References
    ----------
    Robins JM, Finkelstein DM. Correcting for noncompliance and dependent censoring in an AIDS clinical trial with
    inverse probability of censoring weighted (IPCW) log-rank tests. Biometrics 2000;56:779-788.
    doi:10.1111/j.0006-341X.2000.00779.x.
    """

    terms: Annotated[str, Field(min_length=1, description="covariates and products of the model of leaving")]
    reasons: Annotated[
        tuple[Literal["disenrolment", "other_arm", "records"], ...],
        Field(min_length=1, description="ends of follow-up that are foretold: as in `cohort.end`"),
    ] = ("disenrolment",)

    _parses = field_validator("terms")(check_terms)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{' or '.join(name.replace('_', ' ') for name in self.reasons)}, foretold by {self.terms}"

    @property
    def left(self) -> pl.Expr:
        """Return who left for such a reason, of rows with ``cause`` and ``exit_reason``."""
        reason = pl.col("exit_reason")
        told = {"disenrolment": reason == LEFT, "other_arm": reason == OTHER_ARM}
        told["records"] = ~reason.is_in([*ADMINISTRATIVE, LEFT, OTHER_ARM, "death", UNJUDGED])
        return (pl.col("cause") == 0) & pl.any_horizontal(told[name] for name in self.reasons)
