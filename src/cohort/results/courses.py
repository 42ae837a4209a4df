"""Analyses of a whole follow-up: recurrent care, days free of care, and the share who respond in a registry."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.errors import InputRefusedError, NotEstimableError
from cohort.outcomes.course import Course
from cohort.outcomes.recurrent import care_of, free_days, separate
from cohort.outcomes.registry import RegistryResponse
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import ALL, NOT_ESTIMABLE, OK, RESPONSES, Estimates
from cohort.results.table_one import UNGROUPED
from cohort.results.terms import check_terms, variables_of
from cohort.spec import Whole
from cohort.survival.censored_means import censored_mean
from cohort.survival.types import Floats, Ints

UNTIL, DEAD, BASELINE = "_until", "_dead", "_baseline"
"""Endings of the columns beside a course's own: last day followed, whether it is that of death, score at baseline."""

_By = Annotated[str | None, Field(description="Boolean or categorical covariate that makes the groups; absent = all")]
_Level = Annotated[float, Field(gt=0, lt=1, description="confidence level")]
_Horizon = Annotated[Whole, Field(ge=1, description="last day after index that counts")]


class _CareWithin(Course):
    """What recurrent care and days free of it share: the care, the horizon and the groups."""

    kind: str
    unit: ClassVar[str]
    method: ClassVar[str]
    log: ClassVar[bool]
    record: Annotated[Record, Field(description="the care")]
    horizon_days: _Horizon
    by: _By = None
    level: _Level = 0.95

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return () if self.by is None else (self.by,)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts."""
        return self.by

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group."""
        group = pl.lit(ALL) if self.by is None else pl.col(self.by).cast(pl.String).fill_null(UNGROUPED)
        rows = table.lazy().with_columns(group=group).collect().sort("group", maintain_order=True)
        found = [self._mean(part) for part in rows.partition_by("group", maintain_order=True)]
        return Estimates.from_rows(
            pl.DataFrame(found, schema=_ROW),
            analysis=number,
            estimand=self.kind,
            outcome=self.name,
            time=self.horizon_days,
            level=self.level,
            unit=self.unit,
            method=self.method,
        )

    def _mean(self, rows: pl.DataFrame) -> dict[str, Any]:
        """Return the row of one group."""
        owner, day, amount = self._amounts(rows)
        row = {"group": rows["group"][0], "n": rows.height, "events": self._happened(rows)}
        until, dead = rows[self.name + UNTIL].to_numpy(), rows[self.name + DEAD].to_numpy()
        try:
            mean = censored_mean(until, dead, owner, day, amount, self.horizon_days, self.level, log=self.log)
        except NotEstimableError as error:
            return row | {"status": f"{NOT_ESTIMABLE}: {error}"}
        return row | asdict(mean) | {"status": OK}

    @abstractmethod
    def _happened(self, rows: pl.DataFrame) -> int:
        """Return how many persons make the mean what it is: by them the release gate judges it."""

    @abstractmethod
    def _amounts(self, rows: pl.DataFrame) -> tuple[Ints, Ints, Floats]:
        """Return whose (row number), when and how much, of everything that counts up to the horizon."""


class MeanCumulativeCount(_CareWithin):
    """Mean number of events of care per person by ``horizon_days``: the mean cumulative function (Lawless–Nadeau).

    Events after index count while risk lasts, one a day at most, and one that comes at most ``apart_days`` days after
    the one before is still that one. The study's outcome ends nothing; death does, so that those who died have no
    further care (a mean of care had, not of care that the living would have). Limits allow for several events of a
    person. The events shown are persons with at least one.

    References
    ----------
    Lawless JF, Nadeau C. Some simple robust methods for the analysis of recurrent events. Technometrics
    1995;37:158-168. doi:10.1080/00401706.1995.10484300.
    Ghosh D, Lin DY. Nonparametric analysis of recurrent events and death. Biometrics 2000;56:554-562.
    doi:10.1111/j.0006-341X.2000.00554.x (with death the curve is that of the living weighted by their survival).
    """

    title: ClassVar[str] = "Recurrent care"
    unit: ClassVar[str] = "events per person"
    method: ClassVar[str] = (
        "events weighted by the inverse probability of not being censored (Ghosh–Lin; without deaths the mean "
        "cumulative function), error robust to several events, log limits; events: persons with at least one"
    )
    log: ClassVar[bool] = True
    kind: Literal["mean_cumulative_count"] = "mean_cumulative_count"
    apart_days: Annotated[Whole, Field(ge=0, description="events at most so many days apart are one")] = 0

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        apart = f", more than {self.apart_days} days apart" if self.apart_days else ""
        grouped = "of all" if self.by is None else f"by {self.by.replace('_', ' ')}"
        return f"days with {self.record}{apart}, per person by day {self.horizon_days}, {grouped}"

    def column(self, tables: Tables, followed: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, the days of events in follow-up (List of Int64, ascending), its last day and death."""
        fresh = separate(relative_days(self.record.days(tables), followed), self.apart_days)
        inside = fresh.join(followed, on=KEY).filter(pl.col("day") > 0, pl.col("day") <= pl.col("time"))
        days = inside.group_by(KEY).agg(pl.col("day").sort().alias(self.name))
        ends = followed.select(*KEY, pl.col("time").alias(self.name + UNTIL), _dead(self.name))
        return ends.join(days, on=KEY, how="left")

    def _happened(self, rows: pl.DataFrame) -> int:
        """Return how many persons had an event."""
        return int(np.unique(self._amounts(rows)[0]).size)

    def _amounts(self, rows: pl.DataFrame) -> tuple[Ints, Ints, Floats]:
        """Return whose, when and how many: every event while at risk, up to the horizon."""
        days = rows.select(pl.row_index().alias("owner"), "entry", day=self.name).explode("day", empty_as_null=True)
        inside = days.filter(pl.col("day") > pl.col("entry"), pl.col("day") <= self.horizon_days)
        return (
            inside["owner"].cast(pl.Int64).to_numpy(),
            inside["day"].to_numpy(),
            np.ones(inside.height),
        )


class CareFreeDays(_CareWithin):
    """Mean days alive and free of a kind of care within ``horizon_days`` days after index.

    Encounters count from their first to their last day, supplies as long as they last; days after death are not free.
    Whoever is censored sooner has an unknown number of them: those who are known stand for them, weighted by the
    inverse probability of being known so long. That takes censoring to be independent of care within a group.

    References
    ----------
    Ariti CA et al. Days alive and out of hospital and the patient journey in patients with heart failure. Am Heart J
    2011;162:900-906. doi:10.1016/j.ahj.2011.08.003.
    Bang H, Tsiatis AA. Estimating medical costs with censored data. Biometrika 2000;87:329-343.
    doi:10.1093/biomet/87.2.329.
    """

    title: ClassVar[str] = "Days free of care"
    unit: ClassVar[str] = "days"
    method: ClassVar[str] = (
        "mean weighted by the inverse probability of not being censored (Bang–Tsiatis), normal limits; events: persons "
        "with a day in care or after death"
    )
    log: ClassVar[bool] = False
    kind: Literal["care_free_days"] = "care_free_days"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        grouped = "of all" if self.by is None else f"by {self.by.replace('_', ' ')}"
        return f"mean days alive without {self.record} of the first {self.horizon_days} days after index, {grouped}"

    def column(self, tables: Tables, followed: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, the days alive and free of care (Int64, null = censored before the horizon), and the end."""
        free = free_days(care_of(self.record, tables), followed, self.horizon_days)
        ends = followed.select(*KEY, pl.col("time").alias(self.name + UNTIL), _dead(self.name))
        return ends.join(free.rename({"free_days": self.name}), on=KEY, how="left")

    def _happened(self, rows: pl.DataFrame) -> int:
        """Return how many persons were in care or dead on a day."""
        return int((rows[self.name] < self.horizon_days).sum())

    def _amounts(self, rows: pl.DataFrame) -> tuple[Ints, Ints, Floats]:
        """Return whose, when and how many: all days of a person, once they are known."""
        end = pl.min_horizontal(self.name + UNTIL, pl.lit(self.horizon_days, pl.Int64)).alias("day")
        known = rows.select(pl.row_index().alias("owner"), end, amount=self.name).drop_nulls()
        return (
            known["owner"].cast(pl.Int64).to_numpy(),
            known["day"].to_numpy(),
            known["amount"].cast(pl.Float64).to_numpy(),
        )


class ResponseShares(Course):
    """Share of a registry's entries who respond, in three versions: observed, non-responder, weighted.

    Who has no visit is left out, counted as not responding, or stood for by those measured who are like them in
    ``terms``. None is right by default; all three are reported beside each other. Who died by the end of the window
    has not responded. Entries without a baseline score are in none of them.

    References
    ----------
    Seaman SR, White IR. Review of inverse probability weighting for dealing with missing data. Stat Methods Med Res
    2013;22:278-295. doi:10.1177/0962280210395740.
    """

    title: ClassVar[str] = "Response in the registry"
    kind: Literal["response_shares"] = "response_shares"
    by: ClassVar[None] = None
    contrast: ClassVar[None] = None
    response: Annotated[RegistryResponse, Field(description="what response is; its `missing` is not read")]
    terms: Annotated[str, Field(min_length=1, description="covariates and products that tell who is measured")]
    level: _Level = 0.95

    _parses = field_validator("terms")(check_terms)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads: none, scores carry no codes."""
        return self.response.records

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return variables_of(self.terms)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        said = self.response.text.rpartition("; estimand")[0]
        return f"share with a {said}: observed, missing as non-response, and weighted by {self.terms}"

    def column(self, tables: Tables, followed: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, whether the entry responded (null = not measured) and its score at baseline (null = none)."""
        judged = self.response.judged(tables, followed)
        return judged.rename({"responded": self.name, "baseline": self.name + BASELINE})

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per version."""
        rows = table.lazy().collect().filter(pl.col(self.name + BASELINE).is_not_null()).drop_nulls(list(self.uses))
        constants = {"analysis": number, "outcome": self.name, "level": self.level, "unit": "probability"}
        constants |= {"time": self.response.target_day}
        try:
            shares, refused = self._shares(rows)
        except InputRefusedError as error:  # nobody was measured
            none = {"estimand": list(RESPONSES), "n": rows.height, "status": f"{NOT_ESTIMABLE}: {error}"}
            return Estimates.from_rows(pl.DataFrame(none), **constants)
        version, responded = pl.col("version"), int(rows[self.name].sum())
        named = shares.select(
            version.replace_strict(SHARES, return_dtype=pl.String).alias("estimand"),
            pl.when(version == "observed").then("measured").otherwise("n").alias("n"),
            pl.lit(responded, pl.Int64).alias("events"),
            "std_error",
            "lower",
            "upper",
            value="estimate",
            method=pl.concat_str(pl.lit("share who respond, "), version.replace_strict(_HOW, return_dtype=pl.String)),
        )
        return Estimates.from_rows(pl.concat([named, refused], how="diagonal_relaxed"), **constants)

    def _shares(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the versions that can be told, and why the weighted one cannot if it cannot."""
        from cohort.effects.propensity import one_thread
        from cohort.effects.response import response_shares, unweighted_shares

        try:
            with one_thread():  # which keeps every digit the same
                return response_shares(rows, self.name, self.terms, self.level), pl.DataFrame()
        except NotEstimableError as error:
            why = {"estimand": [RESPONSES[2]], "n": [rows.height], "status": [f"{NOT_ESTIMABLE}: {error}"]}
            return unweighted_shares(rows, self.name, self.level), pl.DataFrame(why)


SHARES = dict(zip(("observed", "non_response", "weighted"), RESPONSES, strict=True))
"""Estimands of `ResponseShares` by version."""

_HOW = {
    "observed": "of those measured",
    "non_response": "of all, the others as not responding",
    "weighted": "of all, by those measured under inverse-probability weights",
}
_ROW = pl.Schema(
    {
        "group": pl.String(),
        "value": pl.Float64(),
        "std_error": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "n": pl.Int64(),
        "events": pl.Int64(),
        "status": pl.String(),
    }
)


def _dead(name: str) -> pl.Expr:
    return (pl.col("cause") == 2).alias(name + DEAD)


def mean_cumulative_count(
    record: Record,
    horizon_days: int,
    name: str = "recurrent_care",
    apart_days: int = 0,
    by: str | None = None,
    level: float = 0.95,
) -> MeanCumulativeCount:
    """Return the mean number of events of care per person by a day, by group."""
    return MeanCumulativeCount.of(
        name=name, record=record, horizon_days=horizon_days, apart_days=apart_days, by=by, level=level
    )


def mean_care_free_days(
    record: Record, horizon_days: int, name: str = "days_free_of_care", by: str | None = None, level: float = 0.95
) -> CareFreeDays:
    """Return the mean days alive and free of a kind of care within a horizon, by group."""
    return CareFreeDays.of(name=name, record=record, horizon_days=horizon_days, by=by, level=level)


def response_shares(
    response: RegistryResponse, terms: str, name: str = "response", level: float = 0.95
) -> ResponseShares:
    """Return the share who respond in a registry: observed, non-responder and weighted by ``terms``."""
    return ResponseShares.of(name=name, response=response, terms=terms, level=level)
