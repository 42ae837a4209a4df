"""What becomes of an opioid's dose: raised or tapered, by mean daily morphine equivalents in equal windows."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, dispensing
from cohort.features.opioids import daily_mme, taper, with_products
from cohort.outcomes.base import Event
from cohort.outcomes.opioid_use import Opioids
from cohort.spec import Number, Whole

_UNITS = 2**30  # doses are summed as whole units of 2^-30 mg, in any order

Version = Annotated[Literal["cdc2022", "cdc2016"], Field(description="version of the conversion factors")]


class _DoseEvent(Event):
    """What definitions of an opioid's dose share."""

    codes: Opioids
    window_days: Annotated[Whole, Field(ge=1, description="length of a window")] = 60
    version: Version = "cdc2022"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def _daily(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return ``person_id`` (the key as one value: an entry is its own person here), ``date`` and ``mme``."""
        rows = with_products(self.records[0].rows(tables))
        daily = daily_mme(rows, person="person_id", form="form", version=self.version)
        keyed = entries.select(KEY).join(daily.rename({"person": "person_id"}), on="person_id")
        return keyed.with_columns(person_id=pl.struct(KEY))


class DoseEscalation(_DoseEvent):
    """Mean daily dose in a later window of ``window_days`` days ``rise_percent`` % or more above the first from index.

    Windows follow one another without overlap and days without supply count as 0; the event is dated on the last day
    of the first window that is high enough. With more than one later window the rule fires more often by chance alone,
    so compare it with doses that do not change. Doses are known for products in CDC's table of 2016.

    References
    ----------
    Dowell D et al. CDC clinical practice guideline for prescribing opioids for pain. MMWR Recomm Rep 2022;71(3):1-95.
    doi:10.15585/mmwr.rr7103a1 (conversion to morphine equivalents; the rule itself is this package's own).
    """

    kind: Literal["dose_escalation"] = "dose_escalation"
    rise_percent: Annotated[Whole, Field(ge=1, description="least rise over the first window, in percent")] = 20
    windows: Annotated[Whole, Field(ge=1, description="later windows that are looked at")] = 1

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"mean daily dose of {self.codes.label} {self.rise_percent} % above that of the first {self.window_days} "
            f"days, in the first such of {self.windows} later window(s)"
        )

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the second window ends on the next."""
        return 2 * self.window_days - 2

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which a high window ends, of any entry."""
        day = (pl.col("date") - pl.col("person_id").struct.field("index_date")).dt.total_days().cast(pl.Int64)
        units = (pl.col("mme") * _UNITS).round().cast(pl.Int64)
        window = day // self.window_days
        totals = (
            self._daily(tables, entries)
            .select("person_id", window=window, units=units)
            .filter(pl.col("window").is_between(0, self.windows))
            .group_by("person_id", "window")
            .agg(pl.col("units").sum())
        )
        first = totals.filter(pl.col("window") == 0, pl.col("units") > 0).select("person_id", first="units")
        high = pl.col("units") * 100 >= pl.col("first") * (100 + self.rise_percent)
        later = totals.filter(pl.col("window") > 0).join(first, on="person_id").filter(high)
        return later.unnest("person_id").select(*KEY, day=(pl.col("window") + 1) * self.window_days - 1)


class Taper(_DoseEvent):
    """Mean daily dose ``fall_percent`` % or more below that of the ``window_days`` days before index, in two windows.

    Entries below ``minimum`` morphine milligram equivalents a day before index cannot taper and are removed. Dated on
    the last day of the second window, before which nobody can be told to have tapered. The source lets any of six
    overlapping windows count, which fires on noise alone; both of two guards against that.

    References
    ----------
    Agnoli A et al. Association of dose tapering with overdose or mental health crisis among patients prescribed
    long-term opioids. JAMA 2021;326:411-419. doi:10.1001/jama.2021.11013.
    """

    kind: Literal["taper"] = "taper"
    fall_percent: Annotated[Whole, Field(ge=1, le=100, description="least fall in both windows, in percent")] = 15
    minimum: Annotated[Number, Field(gt=0, description="least mean daily dose before index, in mg")] = 50.0

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"mean daily dose of {self.codes.label} {self.fall_percent} % below that before index, in both of two "
            f"windows of {self.window_days} days"
        )

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the second window ends on the next."""
        return 2 * self.window_days - 2

    @property
    def prevalent_text(self) -> str:
        """Return what the flow diagram says of the entries that `prevalent` removes."""
        return f"With {self.minimum:g} MME a day or more in the {self.window_days} days before index"

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the ``day`` on which the second window of a taper ends, of any entry."""
        tapered = self._tapers(tables, entries).filter(pl.col("taper"))
        return tapered.select(*KEY, day=pl.lit(2 * self.window_days - 1, dtype=pl.Int64))

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries whose dose before index is too low to taper."""
        return self._tapers(tables, entries).filter(pl.col("taper").is_null()).select(KEY)

    def _tapers(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        index = entries.select(KEY).with_columns(person_id=pl.struct(KEY))
        found = taper(
            self._daily(tables, entries).drop("index_date"),
            index,
            window_days=self.window_days,
            fall_percent=self.fall_percent,
            minimum=self.minimum,
        )
        return found.unnest("person_id")
