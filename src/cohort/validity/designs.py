"""The designs that are graded: the default one, and the naive ones that the scenarios are made to mislead.

All take their eligibility, windows and horizon from the scenario, and read a store that was ingested from dirty CSV.
A naive design is written out here because the package refuses it, or has no word for it.
"""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from importlib import resources
from itertools import starmap

import polars as pl

import cohort as co
from cohort import survival as sv
from cohort.codes.records import KEY, Record, Tables, dispensing, needed_rows, procedure, relative_days
from cohort.errors import NotEstimableError
from cohort.features.covariates import Covariate
from cohort.features.covariates_use import exposed
from cohort.plan import BucketRows, codes_needed, run_bucket
from cohort.results.estimates import Estimates
from cohort.simulate import Scenario
from cohort.simulate.scenario import Condition
from cohort.survival.cox import fit_cox
from cohort.validity.leaving import weighted_spells

TERMS = "early_treatment + moderate + severe + age"


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number of one design: its value, standard error and 95 % limits, and the persons that it is from."""

    design: str
    estimand: str
    value: float
    std_error: float
    lower: float
    upper: float
    n: int


def codes(name: str, *concepts: str) -> co.Codelist:
    """Return the codes in which the simulator writes some concepts."""
    text = (resources.files("cohort.simulate") / "codes.csv").read_text("utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["concept"] in concepts]
    return co.Codelist.from_rows(
        name, [{"system": row["system"].lower(), "code": row["code"], "source": row["source"]} for row in rows]
    )


def index_condition(scenario: Scenario) -> co.Codelist:
    """Return the codes of the index condition: the shipped list for low-back pain, else those of the scenario."""
    if scenario.condition == Condition():
        return co.Codelist.shipped("low_back_pain")
    return codes("index_condition", *scenario.condition.by_severity)


def treatment(scenario: Scenario, window: co.Window, name: str) -> Covariate:
    """Return whether the treatment of the scenario was given in a window."""
    if scenario.opioid.procedure is None:
        return exposed("opioid", window, name=name)
    return exposed(treatment_record(scenario), window, name=name)


def treatment_record(scenario: Scenario) -> Record:
    """Return the records of the treatment of the scenario."""
    if scenario.opioid.procedure is None:
        return dispensing(codes("opioid", "early_opioid"))
    return procedure(codes("procedure", scenario.opioid.procedure))


def default_study(scenario: Scenario) -> co.Study:
    """Return the default design: a washout, risk from the landmark, death competing, severity adjusted for.

    The treatment is looked for in its window, or until the landmark if that is sooner.
    """
    plan = scenario.truth
    early = co.Window(0, min(scenario.opioid.within_days, plan.rule_first_day - 1))
    written = dict(zip(("mild", "moderate", "severe"), scenario.condition.by_severity, strict=True))
    return co.Study(
        _eligible(scenario, washout_days=plan.washout_days),
        outcome=co.chronification(
            index_condition(scenario), after_days=plan.rule_first_day, within_days=plan.rule_last_day
        ),
        covariates=[
            co.age(),
            treatment(scenario, early, "early_treatment"),
            *(
                exposed(co.diagnosis(codes(level, written[level])), co.Window(0, 0), name=level)
                for level in ("moderate", "severe")
            ),
        ],
        analyses=[co.cumulative_incidence(), co.cox(TERMS)],
        disclosure=co.DisclosureRule(minimum=0),
    )


def _eligible(scenario: Scenario, washout_days: int) -> co.Cohort:
    """Return the eligibility of the scenario's truth: enrolment without a gap, the whole horizon in the calendar."""
    plan, days = scenario.truth, max(scenario.truth.horizons)
    first, last = scenario.calendar.first_day, scenario.calendar.last_day
    return (
        co.Cohort("Index condition")
        .enter_at_first(co.diagnosis(index_condition(scenario)), washout_days=washout_days)
        .require_index_between(first, last - dt.timedelta(days=days))
        .require_age(18, 150)
        .require_enrolled(co.Window(-plan.eligible_after_days, 0), bridge_days=0)
        .follow_up(until=last, max_days=days, bridge_days=0)
    )


def default_estimates(scenario: Scenario, store: co.Store) -> list[list[Estimate]]:
    """Return the estimates of each bucket by the default study; a bucket is a random sample of the population.

    Where leaving the plan follows recent care, the risks are weighted for it; without weights they are a naive design.
    """
    study = default_study(scenario)
    of_bucket, causes = study.bucket_function(store), (study.outcome.name, *study.outcome.competing)
    weighs = scenario.enrolment.log_odds_recent_visit != 0
    samples = []
    for number in range(store.buckets):
        part = of_bucket(store.bucket(number)).rows
        alone = co.AnalysisTable((part,), causes, study.outcome.landmark, study.variables)
        risk, model = (analysis.estimate(1, alone) for analysis in study.analyses)
        plain = _risks("leaving taken as random" if weighs else "default", risk, part.height)
        weighted = _weighted_risks(study, store, number, part) if weighs else []
        samples.append([*weighted, *plain, *_hazard_ratio("default", model)])
    return samples


def _weighted_risks(study: co.Study, store: co.Store, number: int, part: pl.DataFrame) -> list[Estimate]:
    """Return the risks of one bucket with weights for leaving, with a variance robust to their repeats."""
    codes = codes_needed(study.cohort, study.outcome, study.covariates)
    rows = BucketRows(needed_rows(store.bucket(number), codes), store.data_end)
    flow = rows.qualified(study.cohort)
    first = flow.rows[flow.possible.first_per_person(flow.rows)]
    entries = flow.possible.days[first].select(KEY).lazy()
    ends = study.cohort.end.ends(rows.tables, entries, store.data_end, study.cohort.start).collect()
    visits = pl.concat([record.days(rows.tables) for record in study.outcome.records]).collect()
    spells = weighted_spells(part, ends, visits)
    curve = sv.cumulative_incidence(
        spells, "time", "cause", entry="entry", weights="weight", id="person_id"
    ).to_polars()
    last = (
        curve.group_by("cause")
        .last()
        .join(pl.DataFrame({"cause": [1, 2], "name": ["chronification", "death"]}), on="cause")
    )
    return [
        Estimate("default", f"risk of {r['name']}", r["estimate"], r["std_error"], r["lower"], r["upper"], part.height)
        for r in last.sort("cause").iter_rows(named=True)
        if r["estimate"]
    ]


def naive_estimates(scenario: Scenario, store: co.Store) -> list[list[Estimate]]:
    """Return the estimates of each bucket by the naive designs, and by a time-varying exposure."""
    plan, record = scenario.truth, treatment_record(scenario)
    default = _naive_parts(scenario, store, plan.washout_days, record)
    prevalent = _naive_parts(scenario, store, 1, record)
    return list(starmap(_naive_sample, zip(default, prevalent, strict=True)))


def _naive_sample(default: pl.DataFrame, prevalent: pl.DataFrame) -> list[Estimate]:
    back = default.with_columns(entry=pl.lit(0), time=pl.when(pl.col("cause") == 1).then(0).otherwise("time"))
    ever = default.with_columns(early_treatment=(pl.col("treated_on") <= pl.col("time")).fill_null(False))
    users = prevalent.with_columns(early_treatment=pl.col("treated_before"))
    return [
        *_naive_cox("crude", default, "early_treatment"),
        *_naive_cox("ever treated as a baseline group", ever, TERMS),
        *_naive_cox("treated from the day on", _from_the_day_on(default), TERMS),
        *_naive_cox("prevalent users", users, TERMS),
        *_naive_risk("prevalent pain", prevalent, competing=True),
        *_naive_risk("1 - Kaplan-Meier, death censored", default, competing=False),
        *_naive_risk("event dated back to index", back, competing=True),
    ]


def _from_the_day_on(table: pl.DataFrame) -> pl.DataFrame:
    """Return rows split on the day of treatment: untreated until then, treated from then on."""
    split = pl.col("treated_on").clip(lower_bound=pl.col("entry"))
    both = table.with_columns(split=split)
    before = both.with_columns(
        early_treatment=pl.lit(False),
        cause=pl.when(pl.col("split") < pl.col("time")).then(0).otherwise("cause"),
        time=pl.min_horizontal("time", "split"),
    )
    after = both.with_columns(early_treatment=pl.lit(True), entry=pl.col("split"))
    return pl.concat([before, after]).filter(pl.col("entry") < pl.col("time"))


def _naive_parts(scenario: Scenario, store: co.Store, washout_days: int, record: Record) -> list[pl.DataFrame]:
    """Return the analysis table of each bucket, with the first treatment after index and whether one came before."""
    study, plan = default_study(scenario), scenario.truth
    cohort = _eligible(scenario, washout_days)
    whenever = exposed(record, co.Window(-plan.washout_days, 0), name="treated_before")
    covariates = (*study.covariates, whenever)
    needed = codes_needed(cohort, study.outcome, covariates)

    def rows(tables: Tables) -> pl.DataFrame:
        found = run_bucket(tables, cohort, study.outcome, covariates, needed, store.data_end).rows
        days = relative_days(record.days(needed_rows(tables, needed)), found.lazy()).filter(pl.col("day") >= 0)
        first = days.group_by(KEY).agg(treated_on=pl.col("day").min()).collect()
        # a naive reader takes what was not observed for untreated
        return found.join(first, on=KEY, how="left").sort(KEY).with_columns(pl.col("treated_before").fill_null(False))

    return [rows(store.bucket(number)) for number in range(store.buckets)]


def _risks(design: str, estimates: Estimates, n: int) -> list[Estimate]:
    """Return the last point of each cause's curve."""
    last = estimates.to_polars().group_by("outcome", maintain_order=True).last().sort("outcome")
    return [
        Estimate(design, f"risk of {row['outcome']}", row["value"], row["std_error"], row["lower"], row["upper"], n)
        for row in last.iter_rows(named=True)
        if row["value"]
    ]


def _hazard_ratio(design: str, estimates: Estimates) -> list[Estimate]:
    rows = estimates.to_polars().filter(pl.col("term") == "early_treatment", pl.col("status") == "ok")
    rows = rows.filter(pl.col("std_error").is_not_null()).with_columns(pl.col("value", "lower", "upper").log())
    return [
        Estimate(design, "log hazard ratio", r["value"], r["std_error"], r["lower"], r["upper"], r["n"])
        for r in rows.iter_rows(named=True)
    ]


def _naive_cox(design: str, table: pl.DataFrame, terms: str) -> list[Estimate]:
    try:
        fit = fit_cox(table.with_columns(event=pl.col("cause") == 1), entry="entry", terms=terms)
    except NotEstimableError:
        return []
    row = fit.to_polars().row(0, named=True)
    value, lower, upper = (pl.Series([row[name]]).log()[0] for name in ("hazard_ratio", "lower", "upper"))
    return [Estimate(design, "log hazard ratio", value, row["std_error"], lower, upper, table.height)]


def _naive_risk(design: str, table: pl.DataFrame, *, competing: bool) -> list[Estimate]:
    entry = "entry" if table["entry"].max() else None
    if competing:
        curve = sv.cumulative_incidence(table, time="time", cause="cause", entry=entry).to_polars().filter(cause=1)
        if curve.is_empty():  # nobody had the outcome
            return []
        row = curve.row(-1, named=True)
        value, lower, upper = row["estimate"], row["lower"], row["upper"]
    else:
        died_apart = table.with_columns(event=pl.col("cause") == 1)
        row = sv.kaplan_meier(died_apart, time="time", event="event", entry=entry).to_polars().row(-1, named=True)
        value, lower, upper = 1 - row["estimate"], 1 - row["upper"], 1 - row["lower"]
    return [Estimate(design, "risk of chronification", value, row["std_error"], lower, upper, table.height)]
