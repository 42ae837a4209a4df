"""Pathways: how persons go from the level of one categorical covariate to that of the next."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.spec import Spec

LINK = "pathway"
"""The estimand: of a step (``term``, from 1) the persons (``n``) who go from a level (``category``) to a ``group``."""


class Pathways(Spec):
    """Persons who go from each level of a covariate to each of the next: lines of treatment, states at landmarks.

    Persons of whom some step is not known are in no count. Every step counts the same persons, so what arrives at a
    level is what leaves it.

    References
    ----------
    Markus AF et al. Comput Methods Programs Biomed 2022;225:107081. doi:10.1016/j.cmpb.2022.107081.
    """

    title: ClassVar[str] = "Pathways"
    by: ClassVar[None] = None
    contrast: ClassVar[None] = None
    kind: Literal["pathways"] = "pathways"
    steps: Annotated[tuple[str, ...], Field(min_length=2, description="categorical covariates, in order")]

    @model_validator(mode="after")
    def _different(self) -> Pathways:
        if len(set(self.steps)) < len(self.steps):
            raise ValueError("steps name a covariate twice")
        return self

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return self.steps

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return " → ".join(step.replace("_", " ") for step in self.steps)

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per step and pair of levels."""
        counted = [self._count(part) for part in table.parts]
        keys = ["term", "category", "group"]
        links = pl.concat(counted).group_by(keys).agg(pl.col("n").sum())
        share = pl.col("n") / pl.col("n").sum().over("term")
        return Estimates.from_rows(
            links.sort(keys).with_columns(value=share),
            analysis=number,
            estimand=LINK,
            outcome=", ".join(self.steps),
            unit="proportion of persons",
            method="persons with every step known",
        )

    def _count(self, part: pl.DataFrame) -> pl.DataFrame:
        known = part.lazy().select(pl.col(self.steps).cast(pl.String)).drop_nulls()
        links = [
            known.group_by(category=source, group=target)
            .agg(n=pl.len().cast(pl.Int64))
            .with_columns(term=pl.lit(str(step)))
            for step, (source, target) in enumerate(pairwise(self.steps), start=1)
        ]
        return pl.concat(links).collect()


def pathways(*steps: str) -> Pathways:
    """Return how persons go from the levels of each covariate to those of the next."""
    return Pathways.of(steps=steps)
