"""Covariates of pain as care shows it: where, of which kind, how long, how often, how widely, how unevenly."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.codelist import Codelist
from cohort.codes.records import Record, Tables, diagnosis, procedure
from cohort.codes.reference import Codes
from cohort.features.at_entry import alive_spans, rows_of
from cohort.features.blocks import BLOCK_DAYS
from cohort.features.covariate import Flag, Measured, counted, flagged, whole_number
from cohort.features.flares import INJECTIONS
from cohort.features.flares import care_flares as flares_of
from cohort.features.pain import pain_sites as count_pain_sites
from cohort.features.pain_course import amplification as trends
from cohort.features.pain_course import gap_variation, pain_history, pain_spread
from cohort.features.pain_course import visit_intensity as intensity
from cohort.spec import Whole, nearest
from cohort.time import Window

_PainCodes = Annotated[Codes, Field(description="codes of the pain whose care is followed")]
_Gap = Annotated[Whole, Field(ge=0, description="longest gap, in days, inside an episode")]


class PainSites(Measured):
    """Number of distinct body regions with a pain code in a window; codes without a region do not count."""

    kind: Literal["pain_sites"] = "pain_sites"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis("pain_regions"),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"distinct body regions with a pain code from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of regions."""
        return counted(count_pain_sites(rows_of(tables["diagnosis"], numbers, self.window)), "pain_sites")


class WidespreadPain(Flag):
    """Pain in three body regions or more in a window, or a code that says it is widespread, such as fibromyalgia.

    References
    ----------
    Kindler LL et al. J Pain 2010;11:1320-1328. doi:10.1016/j.jpain.2010.03.007.
    """

    kind: Literal["widespread_pain"] = "widespread_pain"
    regions: Annotated[Whole, Field(ge=2, description="least body regions")] = 3

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis("pain_regions"),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.regions} body regions with a pain code, or a widespread-pain code, from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries with widespread pain."""
        spread = pain_spread(tables["diagnosis"], numbers, window=self.window, widespread_regions=self.regions)
        wide = spread.filter("widespread").join(numbers, on=["person_id", "index_date"])
        return wide.select(person_id="entry", value="widespread")


class _Labelled(Flag):
    """A code with one label of a shipped list of pain codes."""

    category: Annotated[str, Field(description="label in the shipped list")]
    codelist: ClassVar[str]
    named_after: ClassVar[str] = "category"

    @model_validator(mode="after")
    def _known(self) -> _Labelled:
        known = Codelist.shipped(self.codelist).categories
        if self.category not in known:
            raise ValueError(f"{self.codelist} has no category {self.category!r}; {nearest(self.category, known)}")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(Codelist.shipped(self.codelist).only(category=self.category)),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"any code of {self.category.replace('_', ' ')} ({self.codelist.replace('_', ' ')}) from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries with such a code."""
        return flagged(rows_of(self.records[0].rows(tables), numbers, self.window))


class PainMechanism(_Labelled):
    """A pain code of one mechanism in a window: nociceptive, neuropathic, inflammatory, nociplastic, mixed."""

    kind: Literal["pain_mechanism"] = "pain_mechanism"
    codelist: ClassVar[str] = "pain_mechanisms"


class PainCondition(_Labelled):
    """A code of one pain condition in a window, such as fibromyalgia, CRPS type I or migraine."""

    kind: Literal["pain_condition"] = "pain_condition"
    codelist: ClassVar[str] = "pain_conditions"


class PainHistory(Measured):
    """Duration of the current episode of care for pain, or number or days of the episodes before it, as known at index.

    An episode joins encounters at most ``gap_days`` apart; it is current when its last encounter lies no further back.

    References
    ----------
    de Vet HCW et al. Spine 2002;27:2409-2416. doi:10.1097/01.BRS.0000030307.34002.BE.
    """

    kind: Literal["pain_history"] = "pain_history"
    codes: _PainCodes
    what: Annotated[Literal["current_days", "previous_episodes", "previous_days"], Field(description="what is counted")]
    gap_days: _Gap = 90
    named_after: ClassVar[str] = "what"

    @model_validator(mode="after")
    def _of_the_past(self) -> PainHistory:
        if self.window.last is None or self.window.last > 0:
            raise ValueError("a history ends on the index date at the latest")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        what = self.what.replace("_", " ")
        return f"{what} of care for {self.codes.name}, gaps of up to {self.gap_days} days, from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number."""
        history = pain_history(
            tables["diagnosis"], numbers, self.codes.codelist, window=self.window, gap_days=self.gap_days
        )
        return history.join(numbers, on=["person_id", "index_date"]).select(person_id="entry", value=self.what)


class _OfCare(Measured):
    """A measure of the encounters for one kind of pain."""

    codes: _PainCodes

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    def encounters(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the pain rows of each entry's window."""
        return rows_of(self.records[0].rows(tables), numbers, self.window)


class VisitIntensity(_OfCare):
    """Encounter days for pain per 3,000 days at risk of one in a window: a hundred times the number per 30 days.

    At risk is who is enrolled, alive and not in hospital for the pain studied: days of such stays that begin in the
    window are no outpatient time. Stays for other reasons are not looked at.
    """

    kind: Literal["visit_intensity"] = "visit_intensity"
    absent: ClassVar[Any] = None
    unknown: ClassVar[str] = "no day at risk of a visit"

    @model_validator(mode="after")
    def _closed(self) -> VisitIntensity:
        if self.window.first is None or self.window.last is None:
            raise ValueError("a rate needs a window with both ends")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        days = f"per 3,000 enrolled days outside hospital stays for it, from {self.window}"
        return f"encounter days for {self.codes.name} {days}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rate."""
        alive = alive_spans(tables, numbers, self.window, enrolled=self.observed == "throughout")
        found = intensity(self.encounters(tables, numbers), alive)
        rate = pl.col("encounter_days") * 3000 / pl.when(pl.col("days_at_risk") > 0).then("days_at_risk")
        return found.select("person_id", value=whole_number(rate))


class Unpredictability(_OfCare):
    """Coefficient of variation, in percent, of the gaps between encounter days for pain; null with under 5 days."""

    kind: Literal["unpredictability"] = "unpredictability"
    absent: ClassVar[Any] = None
    unknown: ClassVar[str] = "fewer than 5 encounter days"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"coefficient of variation (percent) of gaps between encounter days for {self.codes.name}, {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the coefficient."""
        found = gap_variation(self.encounters(tables, numbers))
        return found.select("person_id", value=whole_number(pl.col("gap_cv") * 100))


class Amplification(_OfCare):
    """Trend of care within the latest episode in a window, in hundredths of an encounter day per 28-day block.

    The least-squares slope of encounter days per block since the episode began; null with fewer than three blocks.
    """

    kind: Literal["amplification"] = "amplification"
    gap_days: _Gap = 90
    absent: ClassVar[Any] = None
    unknown: ClassVar[str] = f"no episode of {3 * BLOCK_DAYS} days or so"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"slope of encounter days for {self.codes.name} per 28 days (hundredths), latest episode, {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the slope."""
        found = trends(self.encounters(tables, numbers), gap_days=self.gap_days)
        latest = found.filter(pl.col("start") == pl.col("start").max().over("person_id"))
        return latest.select("person_id", value=whole_number(pl.col("trend") * 100))


class CareFlares(_OfCare):
    """Number of care flares in a window: clusters of emergency visits, injections or bursts of visits in an episode.

    A proxy of this package: claims do not say what the patient feels.

    References
    ----------
    Costa N et al. J Pain 2019;20:1267-1275. doi:10.1016/j.jpain.2019.03.009.
    """

    kind: Literal["care_flares"] = "care_flares"
    gap_days: _Gap = 90

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist), procedure(_injections()))

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"care flares of {self.codes.name}, gaps of up to {self.gap_days} days, from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of flares."""
        shots = rows_of(tables["procedure"], numbers, self.window)
        found = flares_of(self.encounters(tables, numbers), shots, gap_days=self.gap_days, injections=_injections())
        return found.group_by("person_id").agg(value=pl.len().cast(pl.Int64))


def _injections() -> Codelist:
    return Codelist.shipped("treatment_classes").only(category=INJECTIONS)


def pain_sites(window: Window, **choices: Any) -> PainSites:
    """Return the number of body regions with a pain code in a window."""
    return PainSites.of(window=window, **choices)


def widespread_pain(window: Window, **choices: Any) -> WidespreadPain:
    """Return whether pain is widespread in a window; ``regions, name`` as in `WidespreadPain`."""
    return WidespreadPain.of(window=window, **choices)


def pain_mechanism(category: str, window: Window, **choices: Any) -> PainMechanism:
    """Return whether a pain code of one mechanism lies in a window."""
    return PainMechanism.of(category=category, window=window, **choices)


def pain_condition(category: str, window: Window, **choices: Any) -> PainCondition:
    """Return whether a code of one pain condition lies in a window."""
    return PainCondition.of(category=category, window=window, **choices)


def previous_episodes(codes: Any, window: Window, **choices: Any) -> PainHistory:
    """Return the number of episodes of care for pain before the current one; ``gap_days, name`` may be given."""
    return PainHistory.of(what="previous_episodes", codes=codes, window=window, **choices)


def previous_pain_days(codes: Any, window: Window, **choices: Any) -> PainHistory:
    """Return the days in episodes of care for pain before the current one; ``gap_days, name`` may be given."""
    return PainHistory.of(what="previous_days", codes=codes, window=window, **choices)


def current_pain_days(codes: Any, window: Window, **choices: Any) -> PainHistory:
    """Return the days since the current episode of care for pain began; ``gap_days, name`` may be given."""
    return PainHistory.of(what="current_days", codes=codes, window=window, **choices)


def visit_intensity(codes: Any, window: Window, **choices: Any) -> VisitIntensity:
    """Return encounter days for pain per 3,000 days at risk."""
    return VisitIntensity.of(codes=codes, window=window, **choices)


def unpredictability(codes: Any, window: Window, **choices: Any) -> Unpredictability:
    """Return the coefficient of variation of the gaps between encounter days for pain, in percent."""
    return Unpredictability.of(codes=codes, window=window, **choices)


def amplification(codes: Any, window: Window, **choices: Any) -> Amplification:
    """Return the trend of care within the latest episode; ``gap_days, name`` may be given."""
    return Amplification.of(codes=codes, window=window, **choices)


def care_flares(codes: Any, window: Window, **choices: Any) -> CareFlares:
    """Return the number of care flares; ``gap_days, name`` may be given."""
    return CareFlares.of(codes=codes, window=window, **choices)
