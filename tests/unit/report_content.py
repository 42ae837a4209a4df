"""A made-up but consistent study of 4,000 persons: the content that the tests of the report print."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from cohort.population.attrition import Attrition, Step
from cohort.report.document import Definition, ReportContent
from cohort.report.labels import AnalysisTitle
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates
from cohort.results.provenance import CodelistUsed, InputFile, Provenance
from cohort.results.table_one import count_table_one


def persons(n: int = 4000, seed: int = 7) -> pl.DataFrame:
    """Return one row per person: covariates, days of follow-up, cause of its end (0 censored, 1 pain, 2 death)."""
    rng = np.random.default_rng(seed)
    opioid = rng.random(n) < 0.22
    age = rng.integers(18, 95, n)
    pain = rng.exponential(np.where(opioid, 700, 1300))
    death = rng.exponential(9000 * np.exp(-(age - 60) / 25))
    leave = np.minimum(rng.exponential(1500, n), 365)
    time = np.ceil(np.minimum(np.minimum(pain, death), leave)).astype(int)
    cause = np.where(leave <= np.minimum(pain, death), 0, np.where(pain <= death, 1, 2))
    return pl.DataFrame(
        {
            "early_opioid": opioid,
            "age": age,
            "sex": rng.choice(["F", "M"], n, p=[0.58, 0.42]),
            "region": rng.choice(["north", "east", "south", "west", None], n, p=[0.4, 0.3, 0.2, 0.0975, 0.0025]),
            "charlson": rng.poisson(0.7, n),
            "time": time,
            "cause": cause,
        }
    )


def curve(people: pl.DataFrame, cause: int, outcome: str) -> Estimates:
    """Return Aalen–Johansen cumulative incidence of one cause by early opioid, with made-up standard errors."""
    parts = []
    for (group,), part in people.group_by("early_opioid"):
        days = (
            part.group_by("time")
            .agg(
                events=(pl.col("cause") == cause).sum(),
                other=(~pl.col("cause").is_in([0, cause])).sum(),
                censored=(pl.col("cause") == 0).sum(),
            )
            .sort("time")
        )
        left = part.height - (days["events"] + days["other"] + days["censored"]).cum_sum().shift(1, fill_value=0)
        surviving = (1 - (days["events"] + days["other"]) / left).cum_prod().shift(1, fill_value=1.0)
        value = (surviving * days["events"] / left).cum_sum()
        error = (value * (1 - value) / part.height).sqrt()
        parts.append(
            days.select("time", "events", "censored").with_columns(
                group=pl.lit(str(group).lower()),
                n=left,
                value=value,
                std_error=error,
                lower=(value - 1.96 * error).clip(0),
                upper=value + 1.96 * error,
            )
        )
    return Estimates.from_rows(
        pl.concat(parts),
        analysis=1,
        estimand="cumulative_incidence",
        outcome=outcome,
        level=0.95,
        method="Aalen–Johansen; standard error of Aalen 1978",
    )


def rates(people: pl.DataFrame) -> Estimates:
    """Return incidence rates of pain by sex, with made-up intervals."""
    rows = people.group_by(group="sex").agg(
        n=pl.len(), events=(pl.col("cause") == 1).sum(), person_days=pl.col("time").sum()
    )
    rate = pl.col("events") / pl.col("person_days") * 365_250
    return Estimates.from_rows(
        rows.with_columns(value=rate, lower=rate * 0.9, upper=rate * 1.1),
        analysis=2,
        estimand="incidence_rate",
        outcome="chronic_pain",
        level=0.95,
        unit="per 1,000 person-years",
        method="exact Poisson interval",
    )


def model(people: pl.DataFrame) -> Estimates:
    """Return made-up hazard ratios with the true counts of their levels."""
    rows = []
    for term in ("early_opioid", "sex"):
        levels = people.group_by(term).agg(n=pl.len(), events=(pl.col("cause") == 1).sum()).sort(term)
        for number, (level, n, events) in enumerate(levels.rows()):
            estimate = (
                (1.0, None, None, None)
                if number == 0
                else (1.72 - 0.8 * (term == "sex"), 0.07, 1.5 - 0.7 * (term == "sex"), 1.97 - 0.91 * (term == "sex"))
            )
            rows.append((term, str(level).lower() if isinstance(level, bool) else level, n, events, *estimate))
    total, events = people.height, int((people["cause"] == 1).sum())
    rows.append(("age", None, total, events, 1.012, 0.002, 1.008, 1.016))
    rows.append(("charlson", None, total, events, 1.08, 0.03, 1.02, 1.14))
    frame = pl.DataFrame(
        rows, schema=["term", "category", "n", "events", "value", "std_error", "lower", "upper"], orient="row"
    )
    return Estimates.from_rows(
        frame,
        analysis=3,
        estimand="hazard_ratio",
        outcome="chronic_pain",
        level=0.95,
        method="cause-specific Cox model, Efron ties",
    )


KINDS = {
    "age": "integer",
    "sex": "categorical",
    "region": "categorical",
    "charlson": "integer",
    "early_opioid": "boolean",
}
LABELS = {
    "age": "Age, years",
    "sex": "Sex",
    "sex=F": "Female",
    "sex=M": "Male",
    "region": "Region",
    "charlson": "Charlson index",
    "early_opioid": "Opioid in the first 14 days",
    "chronic_pain": "chronic pain",
    "death": "death",
}


def attrition(final: int) -> Attrition:
    """Return a flow that ends at ``final`` persons."""
    removed = [
        ("had a first low back pain diagnosis", 61_210, 0),
        ("no such diagnosis in the 180 days before", 3, 0),
        ("aged 18 to 100 at index", 1_950, 0),
        ("enrolled in the 365 days before, gaps of up to 31 days bridged", 14_007, 2_411),
        ("no active cancer in the year before", 804, 0),
    ]
    kept = final + sum(persons for _, persons, _ in removed)
    steps = [Step("in the store", kept, 0, kept, 0)]
    for reason, persons_removed, _ in removed:
        kept -= persons_removed
        steps.append(Step(reason, kept, persons_removed, kept, persons_removed))
    return Attrition(tuple(steps))


def estimates(people: pl.DataFrame) -> Estimates:
    """Return everything the study estimates."""
    table = count_table_one(people.lazy(), KINDS, by="early_opioid").finish()
    return Estimates.concat(
        [table, curve(people, 1, "chronic_pain"), curve(people, 2, "death"), rates(people), model(people)]
    )


def content(
    rule: DisclosureRule | None = None,
    people: pl.DataFrame | None = None,
    title: str = "Incident low back pain: who becomes a chronic-pain patient",
) -> ReportContent:
    """Return the whole content of a report."""
    people = persons() if people is None else people
    return ReportContent(
        title=title,
        protocol=(
            ("Population", "Entry", "first low back pain diagnosis, no such diagnosis in the 180 days before"),
            ("Population", "Index date", "between 2018-01-01 and 2023-12-31"),
            ("Population", "Enrolment", "day -365 to day 0, gaps of up to 31 days bridged"),
            ("Outcome", "Event", "chronic pain: pain diagnoses at least 90 days apart within 365 days"),
            ("Outcome", "Competing", "death"),
            ("Follow-up", "Ends", "365 days after index, disenrolment, death, 2024-12-31"),
            ("Analysis", "1", "cumulative incidence by opioid in the first 14 days"),
            ("Analysis", "2", "incidence rate by sex, per 1,000 person-years"),
            ("Analysis", "3", "cause-specific Cox model: early_opioid + age + sex + charlson"),
        ),
        released=release(estimates(people), attrition(people.height), rule or DisclosureRule()),
        provenance=Provenance(
            study_sha256="3f" * 32,
            store_sha256="a7" * 32,
            inputs=(
                InputFile("medical_claim.csv", "0c" * 32, 18_230_113),
                InputFile("eligibility.csv", "9e" * 32, 402_991),
            ),
            codelists=(CodelistUsed("low_back_pain", "2026-01", 42, "51" * 32, "own list after Cherkin 1992"),),
            versions={"python": "3.11.7", "cohort": "0.1.0", "polars": "2.1.0"},
            seeds={"simulation": 7},
            started=dt.datetime(2026, 11, 20, 16, 0, tzinfo=dt.UTC),
            finished=dt.datetime(2026, 11, 20, 16, 2, tzinfo=dt.UTC),
        ),
        definitions=(
            Definition(
                "Chronic pain",
                "Pain in the same region on at least two days 90 or more days apart.",
                "Treede 2019, doi 10.1097/j.pain.0000000000001384",
            ),
        ),
        labels=LABELS,
        analyses=(
            AnalysisTitle(0, "Table 1. Who is in the cohort", "early_opioid"),
            AnalysisTitle(1, "Cumulative incidence by early opioid", "early_opioid"),
            AnalysisTitle(2, "Incidence rate by sex", "sex"),
            AnalysisTitle(3, "Cause-specific hazard ratios", "early_opioid"),
        ),
    )
