"""Outcomes of registries, from scores at visits: chronic pain between two visits, and response to treatment."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.outcomes.base import Event, in_follow_up
from cohort.spec import Number, Whole
from cohort.time import Window

Instrument = Annotated[str, Field(min_length=1, description="instrument, as the store spells it")]


class _Score(Event):
    """What outcomes of a pain score share. The highest score of a day counts."""

    instrument: Instrument = "NRS"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return none: measurements carry no codes."""
        return ()

    def _scores(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, ``day`` and ``value`` of the scores of each entry, not after its follow-up."""
        rows = tables["measurement"].filter(pl.col("instrument") == self.instrument)
        return in_follow_up(rows, entries).group_by(*KEY, "day").agg(pl.col("value").max())


class RegistryPain(_Score):
    """A pain score of ``at_least`` or more at a visit ``after_days`` days or more after index.

    Dated at the visit; between visits nobody knows, so ``lower`` and ``upper`` stand beside the time: the last visit
    seen free (a lower score; not before risk starts) and the first seen chronic. The event lies in (lower, upper].
    After surgery the usual threshold is 3 at 12 months.

    References
    ----------
    Dworkin RH et al. Interpreting the clinical importance of treatment outcomes in chronic pain clinical trials:
    IMMPACT recommendations. J Pain 2008;9:105-121. doi:10.1016/j.jpain.2007.09.005.
    Fletcher D et al. Chronic postsurgical pain in Europe. Eur J Anaesthesiol 2015;32:725-734.
    doi:10.1097/EJA.0000000000000319 (threshold 3).
    """

    kind: Literal["registry_pain"] = "registry_pain"
    at_least: Annotated[Number, Field(description="score that is chronic pain")] = 4.0
    after_days: Annotated[Whole, Field(ge=1, description="earliest day of the visit")] = 90

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.instrument} of {self.at_least:g} or more from day {self.after_days} after index"

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.after_days - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` of a visit with chronic pain, of any entry."""
        visits = self._visits(tables, entries)
        return visits.filter(pl.col("value") >= self.at_least).select(*KEY, "day")

    def seen_free(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` of a visit that could have shown chronic pain and did not."""
        visits = self._visits(tables, entries)
        return visits.filter(pl.col("value") < self.at_least).select(*KEY, "day")

    def _visits(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        return self._scores(tables, entries).filter(pl.col("day") >= self.after_days)


class RegistryResponse(_Score):
    """A fall of the pain score by ``fall_percent`` % or more at the visit nearest to day ``target_day``.

    The baseline is the last score in a window up to index; entries with one below ``minimum_baseline``, or none, are
    removed. The response is dated at the visit, the earlier of two equally near.
    Visits count up to ``tolerance_days`` days before or after that day. The estimand is "``missing``". Under
    "observed" an entry without a visit cannot be judged and leaves before risk starts, unless it died in the window:
    the share who respond is among those seen. Under "non_response" it stays at risk: the share is among all, and only
    censoring stays censoring. The weighted version is a share, not a time: the analysis ``response_shares``. A
    fall of 30 % is moderately important, of 50 % substantial.

    References
    ----------
    Dworkin RH et al. Interpreting the clinical importance of treatment outcomes in chronic pain clinical trials:
    IMMPACT recommendations. J Pain 2008;9:105-121. doi:10.1016/j.jpain.2007.09.005.
    Farrar JT et al. Clinical importance of changes in chronic pain intensity measured on an 11-point numerical pain
    rating scale. Pain 2001;94:149-158. doi:10.1016/S0304-3959(01)00349-9.
    """

    kind: Literal["registry_response"] = "registry_response"
    missing: Annotated[Literal["observed", "non_response"], Field(description="what an entry without a visit is")]
    fall_percent: Annotated[Whole, Field(ge=1, le=100, description="least fall from baseline, in percent")] = 30
    minimum_baseline: Annotated[Number, Field(description="least score at baseline")] = 4.0
    baseline: Annotated[Window, Field(description="days relative to index of the baseline score")] = Window(-30, 0)
    target_day: Annotated[Whole, Field(ge=1, description="day that the visit should be on")] = 84
    tolerance_days: Annotated[Whole, Field(ge=0, description="most days before or after it")] = 42

    @model_validator(mode="after")
    def _after_baseline(self) -> RegistryResponse:
        if self.baseline.last is None or self.baseline.last > 0:
            raise ValueError("the baseline reaches past the index date; end its window at day 0 or sooner")
        if self.tolerance_days >= self.target_day:
            raise ValueError("the window of the visit opens on or before the index date; lower tolerance_days")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"fall of {self.instrument} by {self.fall_percent} % or more from baseline ({self.baseline}) at the visit "
            f"nearest to day {self.target_day}, at most {self.tolerance_days} days away; estimand: {self.missing}"
        )

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the window of the visit opens on the next."""
        return self.target_day - self.tolerance_days - 1

    @property
    def judged_later(self) -> bool:
        """Return whether an entry can be lost because follow-up ends before the rule can be judged."""
        return self.missing == "observed"

    @property
    def prevalent_text(self) -> str:
        """Return what the flow diagram says of the entries that `prevalent` removes."""
        return f"{self.instrument} of {self.minimum_baseline:g} or more at baseline ({self.baseline})"

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries whose baseline is too low or not known."""
        high = self._baselines(tables, entries).filter(pl.col("before") >= self.minimum_baseline)
        return entries.select(KEY).join(high, on=KEY, how="anti")

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, the ``day`` of response or of leaving unseen, and the ``known_day``, of any entry."""
        visits = self._visit(tables, entries)
        fell = (pl.col("value") * 100).round(6) <= (pl.col("before") * (100 - self.fall_percent)).round(6)
        responded = visits.join(self._baselines(tables, entries), on=KEY).filter(fell)
        response = responded.select(*KEY, "day", known_day="day")
        return response if self.missing == "non_response" else pl.concat([response, self._unseen(entries, visits)])

    def judged(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, ``baseline`` and ``responded`` (null = not measured) of the entries with a baseline.

        Who died by the end of the window without a visit has not responded: that is known, not missing.

        Parameters
        ----------
        entries
            The key, ``time`` and ``cause`` of follow-up (2 = death).
        """
        followed = entries.select(*KEY, "cause", stop="time")
        baselines = self._baselines(tables, followed).filter(pl.col("before") >= self.minimum_baseline)
        fell = (pl.col("value") * 100).round(6) <= (pl.col("before") * (100 - self.fall_percent)).round(6)
        dead = (pl.col("cause") == 2) & (pl.col("stop") <= self.target_day + self.tolerance_days)
        visits = followed.join(baselines, on=KEY).join(self._visit(tables, followed), on=KEY, how="left")
        responded = pl.when(pl.col("value").is_not_null()).then(fell).when(dead).then(pl.lit(value=False))
        return visits.select(*KEY, baseline="before", responded=responded).sort(KEY)

    def _baselines(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the last score of the baseline window."""
        scores = self._scores(tables, entries).filter(self.baseline.contains(pl.col("day")))
        return scores.group_by(KEY).agg(before=pl.col("value").sort_by("day").last())

    def _visit(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, ``day`` and ``value`` of the visit nearest to the target day."""
        away = (pl.col("day") - self.target_day).abs()
        near = self._scores(tables, entries).filter(away <= self.tolerance_days).with_columns(_away=away)
        chosen = pl.col("day", "value").sort_by("_away", "day").first()
        return near.group_by(KEY).agg(chosen)

    def _unseen(self, entries: pl.LazyFrame, visits: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries without a visit, alive when its window ends, as leaving before risk starts."""
        alive = entries
        if "death_day" in entries.collect_schema().names():
            dead = pl.col("death_day") <= pl.min_horizontal("censor_day", self.target_day + self.tolerance_days)
            alive = entries.filter(~dead.fill_null(value=False))
        leave = {"day": pl.lit(self.landmark, dtype=pl.Int64), "known_day": pl.lit(None, dtype=pl.Int64)}
        return alive.select(KEY).join(visits, on=KEY, how="anti").select(*KEY, **leave)
