"""Covariates of comorbidity: Charlson and Elixhauser scores, and their categories one by one."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import Record, Tables, diagnosis
from cohort.features.at_entry import rows_of
from cohort.features.comorbidity import Index, age_points, flags, load_index, score
from cohort.features.covariate import Flag, Measured, counted, flagged
from cohort.features.demographics import age_at
from cohort.spec import Whole, nearest
from cohort.time import Window

CANCER = ("canc", "metacanc")
"""Charlson categories of cancer: in a cohort free of cancer they are constant, and named apart."""

_Apart = Annotated[
    Whole | None,
    Field(ge=1, description="evidence rule: one inpatient code, or two others so many days apart; absent = any code"),
]


class _FromIndex(Measured):
    """Something made of the flags of a comorbidity index."""

    def flags(self, tables: Tables, numbers: pl.LazyFrame, index: Index, days_apart: int | None) -> pl.LazyFrame:
        """Return the flags of every entry with a diagnosis in the window."""
        return flags(rows_of(tables["diagnosis"], numbers, self.window), index, days_apart=days_apart)

    def says(self, days_apart: int | None) -> str:
        """Return the evidence and the window in words."""
        rule = "" if days_apart is None else f" (one inpatient code, or two others {days_apart} days apart)"
        return f"of diagnoses{rule} from {self.window}"


class Charlson(_FromIndex):
    """Charlson comorbidity score of the diagnoses in a window, with the weights of 1987 or of 2011.

    Codes by Quan 2005. The severe form of a disease replaces the mild one. ``cancer_free`` gives tumours and metastases
    no weight; ``age_adjusted`` adds one point per decade from 50, at most four (null without a birth date).

    References
    ----------
    Charlson ME et al. J Chronic Dis 1987;40:373-383. doi:10.1016/0021-9681(87)90171-8.
    Quan H et al. Med Care 2005;43:1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    Quan H et al. Am J Epidemiol 2011;173:676-682. doi:10.1093/aje/kwq433.
    Charlson M et al. J Clin Epidemiol 1994;47:1245-1251. doi:10.1016/0895-4356(94)90129-5.
    """

    kind: Literal["charlson"] = "charlson"
    weights: Annotated[Literal["1987", "2011"], Field(description="published weights")] = "1987"
    cancer_free: Annotated[bool, Field(description="whether cancer weighs nothing")] = False
    age_adjusted: Annotated[bool, Field(description="whether points for age are added")] = False
    days_apart: _Apart = None
    unknown: ClassVar[str] = "no birth date"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(load_index("charlson").codelist),)

    @property
    def label(self) -> str:
        """Return what tables and figures call it."""
        forms = [", cancer-free" if self.cancer_free else "", ", age-adjusted" if self.age_adjusted else ""]
        return f"Charlson score{''.join(forms)}" if self.name == "charlson" else super().label

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        free = ", cancer weighing nothing" if self.cancer_free else ""
        aged = ", plus points for age" if self.age_adjusted else ""
        return f"Charlson score, weights of {self.weights}{free}{aged}, {self.says(self.days_apart)}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the score."""
        index = load_index("charlson").without(*CANCER) if self.cancer_free else load_index("charlson")
        found = score(self.flags(tables, numbers, index, self.days_apart), index)
        scores = counted(found, f"score_{self.weights}")
        if not self.age_adjusted:
            return scores
        ages = numbers.join(age_at(tables, numbers), on=["person_id", "index_date"])
        points = ages.select(person_id="entry", _points=age_points(pl.col("age")))
        both = points.join(scores, on="person_id", how="left")
        return both.select("person_id", value=pl.col("value").fill_null(0) + pl.col("_points"))


class Elixhauser(_FromIndex):
    """Van Walraven's score of Elixhauser's categories (Quan 2005 codes), negative sums kept.

    References
    ----------
    Quan H et al. Med Care 2005;43:1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    van Walraven C et al. Med Care 2009;47:626-633. doi:10.1097/MLR.0b013e31819432e5.
    """

    kind: Literal["elixhauser"] = "elixhauser"
    days_apart: _Apart = None

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(load_index("elixhauser").codelist),)

    @property
    def label(self) -> str:
        """Return what tables and figures call it."""
        return "Elixhauser score (van Walraven)" if self.name == "elixhauser" else super().label

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"Elixhauser score, weights of van Walraven, {self.says(self.days_apart)}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the score."""
        index = load_index("elixhauser")
        return counted(score(self.flags(tables, numbers, index, self.days_apart), index), "score_van_walraven")


class Comorbid(_FromIndex, Flag):
    """One category of the Charlson or Elixhauser index, after its hierarchy.

    References
    ----------
    Quan H et al. Med Care 2005;43:1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    """

    kind: Literal["comorbid"] = "comorbid"
    category: Annotated[str, Field(description="category of the index")]
    index: Annotated[Literal["charlson", "elixhauser"], Field(description="comorbidity index")] = "charlson"
    days_apart: _Apart = None
    named_after: ClassVar[str] = "category"

    @model_validator(mode="after")
    def _known(self) -> Comorbid:
        known = load_index(self.index).categories
        if self.category not in known:
            raise ValueError(f"{self.index} has no category {self.category!r}; {nearest(self.category, known)}")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads: of the whole index, whose severe categories replace mild ones."""
        return (diagnosis(load_index(self.index).codelist),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.index.capitalize()} category {self.category}, {self.says(self.days_apart)}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries that have it."""
        found = self.flags(tables, numbers, load_index(self.index), self.days_apart)
        return flagged(found.filter(pl.col(self.category) == 1))


def charlson(window: Window, **choices: Any) -> Charlson:
    """Return the Charlson score; ``weights, cancer_free, age_adjusted, days_apart, name`` as in `Charlson`."""
    return Charlson.of(window=window, **choices)


def elixhauser(window: Window, **choices: Any) -> Elixhauser:
    """Return van Walraven's Elixhauser score; ``days_apart, name`` as in `Elixhauser`."""
    return Elixhauser.of(window=window, **choices)


def comorbid(category: str, window: Window, **choices: Any) -> Comorbid:
    """Return whether an entry has a category; ``index, days_apart, name`` as in `Comorbid`."""
    return Comorbid.of(category=category, window=window, **choices)
