"""Chronic pain from diagnoses: the default definition, and those of others, each dated where its rule is first met."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.bucket_tables import remembered, remembered_of_entries
from cohort.codes.codelist import Codelist
from cohort.codes.match import label
from cohort.codes.records import KEY, Record, Tables, diagnosis, relative_days
from cohort.codes.reference import Codes
from cohort.features.intervals import latest_end, number_runs
from cohort.outcomes.base import Event
from cohort.spec import Whole
from cohort.time import Window

_FAR = 1 << 32  # more days than lie between any two dates

PainCodes = Annotated[Codes, Field(description="pain codes of the region that the cohort enters with")]


class Chronification(Event):
    """Acute pain becomes persistent care for pain: the default definition of this package.

    The event is the first day after index on which either (i) a second encounter of the same region lies
    ``after_days`` to ``within_days`` days after index, or (ii) an explicit chronic-pain code is written. It is dated
    at that encounter, never back at index: dating it at the first code would credit the days in between as risk-free
    (immortal time). Nobody can meet (i) before ``after_days``, so risk starts there and earlier losses are tabulated;
    a trial that is to keep everybody from its time zero on lets risk start at index (``risk_from``).
    An explicit code on the index day marks a prevalent case. It measures persistent *care*: "not seen again" is not
    "recovered".

    References
    ----------
    Treede RD et al. Chronic pain as a symptom or a disease: the IASP classification for ICD-11. Pain 2019;160:19-27.
    doi:10.1097/j.pain.0000000000001384 (pain that lasts or recurs for more than 3 months).
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """

    kind: Literal["chronification"] = "chronification"
    codes: PainCodes
    after_days: Annotated[Whole, Field(ge=1, description="earliest day of the second encounter")] = 90
    within_days: Annotated[Whole, Field(ge=1, description="latest day of the second encounter")] = 365
    explicit: Annotated[Codes | None, Field(description="codes that state chronic pain; absent = rule (i) alone")] = (
        None
    )
    risk_from: Annotated[
        Literal["after_days", "index"],
        Field(description="day from which persons are at risk; index keeps early losses"),
    ] = "after_days"

    @model_validator(mode="after")
    def _in_order(self) -> Chronification:
        if self.within_days < self.after_days:
            raise ValueError("within_days is before after_days, so no second encounter can count")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        explicit = () if self.explicit is None else (diagnosis(self.explicit.codelist),)
        return (diagnosis(self.codes.codelist), *explicit)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        stated = f", or a code of {self.explicit.label}" if self.explicit else ""
        span = f"{self.after_days} to {self.within_days} days"
        return f"a second encounter for {self.codes.label} {span} after index{stated}"

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.after_days - 1 if self.risk_from == "after_days" else 0

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        window = Window(self.after_days, self.within_days)
        second = diagnosis(self.codes.codelist).days_since(tables, entries)
        met = [second.filter(window.contains(pl.col("day")))]
        if self.explicit is not None:
            met.append(self._explicit_days(tables, entries).filter(pl.col("day") > 0))
        return pl.concat([days.select(*KEY, "day") for days in met])

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame | None:
        """Return the entries that have the outcome already on the index day; nothing if no code states it."""
        if self.explicit is None:
            return None
        return self._explicit_days(tables, entries).filter(pl.col("day") == 0).select(KEY).unique()

    def _explicit_days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        assert self.explicit is not None  # noqa: S101 -- both callers have asked
        return diagnosis(self.explicit.codelist).days_since(tables, entries)


class TwoDiagnosesOfOneCategory(Event):
    """Two diagnoses of one pain category, more than ``apart_days`` days and at most ``within_days`` days apart.

    The Medicaid definition of Hoffman and others, dated at the later diagnosis. Categories are the labels of the
    codelist; a diagnosis of another category, or one in the first ``apart_days`` days after the earlier one, does not
    count. Only diagnoses on and after the index date do, so a washout of the entry replaces theirs of six months.
    Their windows of six months start once a month; here one may start on any day, and six months are 182 days.

    References
    ----------
    Hoffman KL et al. Code of the study of disability and chronic pain in Medicaid, github.com/CI-NYC
    (disability-chronic-pain, scripts/04_define_comorbidity_vars/define_chronic_pain.R, 2023).
    """

    kind: Literal["ci_nyc"] = "ci_nyc"
    codes: Annotated[Codes, Field(description="pain codes; each label is a category")]
    apart_days: Annotated[Whole, Field(ge=1, description="the later diagnosis comes more days later than this")] = 90
    within_days: Annotated[Whole, Field(ge=2, description="most days between the two")] = 182

    @model_validator(mode="after")
    def _in_order(self) -> TwoDiagnosesOfOneCategory:
        if self.within_days <= self.apart_days:
            raise ValueError("within_days is not above apart_days, so no two diagnoses can count")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        apart = f"{self.apart_days + 1} to {self.within_days} days apart"
        return f"two diagnoses of one category of {self.codes.label}, {apart}"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the index diagnosis may be the earlier one."""
        return self.apart_days

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        codelist = self.codes.codelist
        placed = remembered_of_entries(
            tables, ("places", id(codelist)), codelist, lambda: _places(tables, entries, codelist)
        )
        # of the days far enough back, the latest is the nearest: no other can be within reach if it is not
        paired = placed.with_columns(_back=pl.col("_place") - self.apart_days - 1).join_asof(
            placed.select(_earlier="_place"), left_on="_back", right_on="_earlier"
        )
        near = pl.col("_place") - pl.col("_earlier") <= self.within_days
        return paired.filter(near.fill_null(value=False)).select(*KEY, "day")


def _places(tables: Tables, entries: pl.LazyFrame, codelist: Codelist) -> pl.LazyFrame:
    """Return the key and every ``day`` from index on with a diagnosis of a category, and ``_place``, ascending.

    A place is one number per key, category and day, so far apart between keys that no pair can reach across.
    """
    rows = remembered(tables, ("labelled days", id(codelist)), codelist, lambda: _labelled_days(tables, codelist))
    by = [*KEY, "category"]
    days = relative_days(rows, entries).filter(pl.col("day") >= 0).select(*by, "day").sort(*by, "day")
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in by)
    run = changed.fill_null(value=True).cast(pl.Int64).cum_sum()
    return days.with_columns(_place=run * _FAR + pl.col("day"))


def _labelled_days(tables: Tables, codelist: Codelist) -> pl.LazyFrame:
    """Return the distinct days on which a person has a diagnosis of each category."""
    return label(tables["diagnosis"], codelist).select("person_id", "date", "category").unique()


class LastingEpisode(Event):
    """An episode of care for pain that lasts longer than ``longer_than_days`` days (ICD-11: more than 3 months).

    Encounters on and after the index date belong to one episode while no gap is longer than ``gap_days`` days. The
    event is the first day on which care is seen to have lasted that long: an encounter beyond it, or the day itself
    during an admission that spans it. How long an episode is depends on the gap rule more than on anything else: vary
    it.

    References
    ----------
    Treede RD et al. Chronic pain as a symptom or a disease: the IASP classification for ICD-11. Pain 2019;160:19-27.
    doi:10.1097/j.pain.0000000000001384.
    de Vet HCW et al. Episodes of low back pain. Spine 2002;27:2409-2416. doi:10.1097/01.BRS.0000030307.34002.BE.
    """

    kind: Literal["icd11_episode"] = "icd11_episode"
    codes: PainCodes
    longer_than_days: Annotated[Whole, Field(ge=1, description="the episode lasts longer, both ends counted")] = 90
    gap_days: Annotated[Whole, Field(ge=0, description="longest gap between encounters of one episode")] = 90

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"an episode of {self.codes.label} longer than {self.longer_than_days} days, "
            f"gaps of up to {self.gap_days} days bridged"
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: an episode that starts at index lasts that long a day later."""
        return self.longer_than_days - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        codelist = self.codes.codelist
        runs = remembered_of_entries(
            tables, ("runs", id(codelist), self.gap_days), codelist, lambda: self._runs(tables, entries)
        )
        met = pl.max_horizontal("date", pl.col("first") + pl.duration(days=self.longer_than_days))
        lasting = runs.with_columns(met=met).filter(pl.col("met") <= pl.col("latest"))
        return lasting.select(*KEY, day=(pl.col("met") - pl.col("index_date")).dt.total_days().cast(pl.Int64))

    def _runs(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and ``date`` of every encounter from index on, its episode's ``first`` and ``latest`` day."""
        codelist = self.codes.codelist
        known = remembered_of_entries(
            tables, ("encounters since", id(codelist)), codelist, lambda: _encounters(tables, entries, codelist)
        )
        runs = number_runs(known, by=KEY, start="date", end="end_date", gap_days=self.gap_days)
        begins = pl.col("run").ne_missing(pl.col("run").shift())
        first = pl.when(begins).then("date").forward_fill()  # rows are sorted by date within a run
        return runs.select(*KEY, "date", first=first, latest=latest_end("run", "end_date"))


def _encounters(tables: Tables, entries: pl.LazyFrame, codelist: Codelist) -> pl.LazyFrame:
    """Return the key, ``date`` and ``end_date`` of every encounter from index on."""
    rows = diagnosis(codelist).rows(tables).select("person_id", "date", "end_date")
    since = relative_days(rows, entries).filter(pl.col("day") >= 0)
    return since.select(*KEY, "date", end_date=pl.max_horizontal("date", "end_date")).sort(*KEY, "date")


class FurtherDiagnoses(Event):
    """Diagnoses of pain on ``further`` more days after the index diagnosis; dated at the last of them.

    The Medicare definition of new-onset pain. It asks for no distance between the days, so it takes in a short course
    of visits. Require 12 months free of pain codes before index with the cohort's washout.

    References
    ----------
    Healthcare utilization and costs associated with new-onset pain in a Medicare population. Pain Physician
    2022;25(9):E1415-E1422.
    """

    kind: Literal["medicare_new_onset"] = "medicare_new_onset"
    codes: PainCodes
    further: Annotated[Whole, Field(ge=1, description="distinct days with a diagnosis after the index day")] = 2

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"diagnosis of {self.codes.label} on {self.further} further days after index"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the last of so many days cannot come sooner."""
        return self.further - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        record, codelist = diagnosis(self.codes.codelist), self.codes.codelist
        after = remembered_of_entries(
            tables,
            ("days after, in order", id(codelist)),
            codelist,
            lambda: record.days_since(tables, entries).filter(pl.col("day") > 0).sort(*KEY, "day"),
        )
        nth = pl.col("person_id").shift(self.further - 1), pl.col("index_date").shift(self.further - 1)
        same = (nth[0] == pl.col("person_id")) & (nth[1] == pl.col("index_date"))
        return after.filter(same)
