"""Lines of treatment after index: what is taken first, second, third; to describe, never to adjust for."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.match import label
from cohort.codes.records import Record, Tables, dispensing
from cohort.codes.reference import Codes
from cohort.features.at_entry import rows_of
from cohort.features.covariate import Measured, VariableType
from cohort.features.lines import STOPPED, treatment_lines
from cohort.spec import Whole
from cohort.time import Window


class TreatmentLine(Measured):
    """What a person takes in one line of treatment after index, by the labels of a codelist; ``none`` without one.

    Eras of continuous use are cut wherever a label starts or stops; what is taken together for ``minimum_days`` days
    is a line. A line is known only once it is over, so it describes: no model may use it, and Table 1 leaves it out.

    References
    ----------
    Markus AF et al. Comput Methods Programs Biomed 2022;225:107081. doi:10.1016/j.cmpb.2022.107081.
    """

    kind: Literal["treatment_line"] = "treatment_line"
    codes: Annotated[Codes, Field(description="drugs; their labels are what is told apart")]
    line: Annotated[Whole, Field(ge=1, le=9, description="which line, from 1")]
    gap_days: Annotated[Whole, Field(ge=0, description="days without supply that do not end use")] = 60
    minimum_days: Annotated[Whole, Field(ge=1, description="days that make a line, fewer are a change-over")] = 30
    type: ClassVar[VariableType] = "categorical"
    absent: ClassVar[Any] = STOPPED
    describes: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _numbered(cls, values: Any) -> Any:
        """Name the column after the number of its line."""
        if not isinstance(values, dict) or "name" in values or "line" not in values:
            return values
        return values | {"name": f"line_{values['line']}"}

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    @property
    def label(self) -> str:
        """Return what tables and figures call it."""
        return f"Line {self.line}" if self.name == f"line_{self.line}" else super().label

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        rule = f"gaps of up to {self.gap_days} days bridged, at least {self.minimum_days} days"
        return f"line {self.line} of treatment with {self.codes.name} from {self.window}, {rule}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the treatment of the line."""
        rows = label(self.records[0].rows(tables), self.codes.codelist, into="agent")
        taken = rows_of(rows, numbers, self.window).select("person_id", "date", "days_supply", "agent").unique()
        lines = treatment_lines(taken, gap_days=self.gap_days, minimum_days=self.minimum_days)
        return lines.filter(pl.col("line") == self.line).select("person_id", value="treatment")


def treatment_line(codes: Any, window: Window, line: int, **choices: Any) -> TreatmentLine:
    """Return what is taken in a line of treatment; ``gap_days, minimum_days, name`` as in `TreatmentLine`."""
    return TreatmentLine.of(codes=codes, window=window, line=line, **choices)
