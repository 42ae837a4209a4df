"""Covariates of registry scores: level and trend of a pain scale or questionnaire."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import Tables
from cohort.features.at_entry import rows_of
from cohort.features.covariate import Measured, whole_number
from cohort.features.trajectories import score_trajectory
from cohort.time import Window


class Score(Measured):
    """First, last, highest or mean score of an instrument in a window in whole points, or its trend.

    The trend is the least-squares slope in hundredths of a point per 30 days, with scores on three days or more. A
    registry's visits are its observation, so nothing is asked of enrolment: without a score the value is null.
    """

    kind: Literal["score"] = "score"
    instrument: Annotated[str, Field(min_length=1, description="scale or questionnaire, as the store spells it")]
    what: Annotated[
        Literal["first", "last", "highest", "mean", "trend"], Field(description="which figure of the scores")
    ] = "last"
    observed: Literal["assumed"] = "assumed"
    absent: ClassVar[Any] = None
    unknown: ClassVar[str] = "too few scores in the window"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        unit = " (hundredths of a point per 30 days)" if self.what == "trend" else ""
        return f"{self.what} score of {self.instrument}{unit} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the figure."""
        found = score_trajectory(rows_of(tables["measurement"].unique(), numbers, self.window), self.instrument)
        scale = 100 if self.what == "trend" else 1
        return found.select("person_id", value=whole_number(pl.col(self.what) * scale))


def score(instrument: str, window: Window, **choices: Any) -> Score:
    """Return a figure of the scores of an instrument; ``what, name`` as in `Score`."""
    return Score.of(instrument=instrument, window=window, **choices)
