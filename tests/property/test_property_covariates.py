"""Every covariate: blind to the future, to row order, to repeated rows and to bucketing; equal to slow oracles."""

from __future__ import annotations

import datetime as dt
import math
import typing
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cohort as co
from cohort.features.covariates import Covariate
from cohort.store.tables import TABLES

DAY0 = dt.date(2020, 1, 1)
INDEX = {1: (200, 320), 2: (260,), 3: (200,)}  # person → index days; person 1 enters twice
PAST = co.Window(-120, -1)
BENZODIAZEPINE = co.Codelist.from_rows("benzodiazepine", [{"system": "atc", "code": "N05BA"}])
ALL = (
    co.age(),
    co.age_group(),
    co.sex(),
    co.region(),
    co.deprivation(),
    co.index_year(),
    co.index_season(),
    co.charlson(PAST),
    co.charlson(PAST, days_apart=30, cancer_free=True, age_adjusted=True, weights="2011", name="strict"),
    co.elixhauser(PAST),
    co.comorbid("diab", PAST),
    co.comorbid("depre", PAST, index="elixhauser"),
    co.pain_sites(PAST),
    co.widespread_pain(PAST),
    co.pain_mechanism("neuropathic", PAST),
    co.pain_condition("fibromyalgia", PAST),
    co.current_pain_days("pain_regions", co.Window(None, -1), gap_days=40),
    co.previous_episodes("pain_regions", co.Window(-180, -1), gap_days=20),
    co.previous_pain_days("pain_regions", PAST, gap_days=20),
    co.visit_intensity("pain_regions", PAST),
    co.unpredictability("pain_regions", PAST),
    co.amplification("pain_regions", PAST),
    co.care_flares("pain_regions", PAST),
    co.symptom("sleep", PAST),
    co.symptom_domains(PAST),
    co.overlapping_conditions(PAST),
    co.sensitization_index(PAST),
    co.exposed("opioid", PAST, name="opioid"),
    co.encounter_days(PAST),
    co.encounter_days(PAST, setting="outpatient", name="outpatient_days"),
    co.emergency_visits(PAST),
    co.admissions(PAST),
    co.inpatient_days(PAST),
    co.procedure_days("treatment_modalities", PAST),
    co.treated("interventional", PAST),
    co.cost_per_month(PAST),
    co.cost_per_month(PAST, "pharmacy", name="drug_cost"),
    co.percent_covered("opioid", PAST),
    co.opioid_dose(PAST),
    co.opioid_dose(PAST, what="maximum", version="cdc2016", name="highest_dose"),
    co.new_use("opioid", PAST, washout_days=60),
    co.concurrent_days("opioid", BENZODIAZEPINE, PAST),
    co.score("NRS", PAST),
    co.score("NRS", PAST, what="trend", name="nrs_trend"),
    co.treatment_line("opioid", PAST, 1),
)
DIAGNOSES = ("M545", "M542", "M797", "G8921", "E119", "E1121", "C780", "F329", "G4700", "K580", "M5416", "I10")
SETTINGS = ("outpatient", "inpatient", "emergency", "laboratory")
PROCEDURES = ("20552", "97110", "62324")
OXYCODONE, UNKNOWN_PRODUCT, PATTERN = "00007031920", "99999999999", "N05BA01"
DRUGS = (("ndc", OXYCODONE), ("atc", PATTERN), ("atc", "N02AA01"))


def date(day):
    return DAY0 + dt.timedelta(day)


def frame(name, rows):
    return pl.DataFrame(sorted(set(rows), key=repr), schema=TABLES[name].schema, orient="row")


persons = st.integers(1, 3)


def diagnoses(first, last):
    row = st.tuples(persons, st.integers(first, last), st.sampled_from((0, 0, 5, 90)), st.sampled_from(DIAGNOSES))
    return st.lists(st.tuples(row, st.sampled_from(SETTINGS)), min_size=12, max_size=25).map(
        lambda rows: [(p, date(d), date(d + n), "icd10cm", code, setting, 1) for (p, d, n, code), setting in rows]
    )


def procedures(first, last):
    row = st.tuples(persons, st.integers(first, last), st.sampled_from(PROCEDURES), st.sampled_from(SETTINGS))
    return st.lists(row, min_size=4, max_size=8).map(
        lambda rows: [(p, date(d), "cpt", code, s) for p, d, code, s in rows]
    )


def dispensings(first, last):
    supply = st.sampled_from((10, 30, 30, 90, None))
    row = st.tuples(persons, st.integers(first, last), st.sampled_from(DRUGS), supply)
    return st.lists(row, min_size=7, max_size=12).map(
        lambda rows: [(p, date(d), *drug, 60.0, days) for p, d, drug, days in rows]
    )


def scores(first, last):
    row = st.tuples(persons, st.integers(first, last), st.integers(0, 20))
    return st.lists(row, max_size=8).map(lambda rows: [(p, date(d), "NRS", v / 2, None) for p, d, v in rows])


def costs(first, last):
    """Generate amounts, of one person, day and service no more than one, as in a store."""
    row = st.tuples(persons, st.integers(first, last), st.sampled_from(("medical", "pharmacy", None)))
    return st.dictionaries(row, st.integers(-500, 90_000), max_size=9).map(
        lambda rows: [(p, date(d), service, amount) for (p, d, service), amount in rows.items()]
    )


def enrolments(first, last):
    """Generate spans of each person: throughout (most often), with a gap of 20 or 40 days, or none."""
    whole = [(first, 900)]
    gaps = [[(first, first + 90), (first + 90 + days, 900)] for days in (21, 41)]
    spans = st.sampled_from((whole, whole, *gaps, []))
    return st.tuples(spans, spans, spans).map(
        lambda of: [(p, date(start), date(end)) for p, own in enumerate(of, start=1) for start, end in own]
    )


def worlds(first, last):
    """Generate the tables of three persons with all records from day ``first`` to ``last``."""
    return st.fixed_dictionaries(
        {
            "enrolment": enrolments(first, last),
            "diagnosis": diagnoses(first, last),
            "procedure": procedures(first, last),
            "dispensing": dispensings(first, last),
            "measurement": scores(first, last),
            "cost": costs(first, last),
        }
    )


def person_table(deaths=(None, None, None)):
    births = (date(-20_000), date(-9_000), None)
    return [(p, births[p - 1], "female", deaths[p - 1], "north", "Q1") for p in (1, 2, 3)]


def tables(world, deaths=(None, None, None)):
    made = {name: frame(name, rows) for name, rows in world.items()}
    return made | {"person": frame("person", person_table(deaths))}


def lazy(made):
    return {name: rows.lazy() for name, rows in made.items()}


def entries(people=(1, 2, 3)):
    rows = [(person, date(day)) for person in people for day in INDEX[person]]
    return pl.LazyFrame(rows, schema={"person_id": pl.Int64, "index_date": pl.Date}, orient="row")


def measured(made, index=None, covariates=ALL):
    """Return name → values in the order of the entries, reasons too."""
    index = entries() if index is None else index
    found = pl.collect_all([covariate.column(lazy(made), index) for covariate in covariates])
    return {
        covariate.name: column.sort("person_id", "index_date").rows()
        for covariate, column in zip(covariates, found, strict=True)
    }


def test_every_kind_of_covariate_is_tried():
    kinds = set(typing.get_args(typing.get_args(Covariate)[0]))
    assert {type(covariate) for covariate in ALL} == kinds


@settings(max_examples=6, deadline=None)
@given(worlds(0, 199), worlds(320, 600))
def test_nothing_from_the_index_date_on_moves_a_covariate(past, future):
    # all index dates but the last of person 1 lie before day 320, so for them everything planted is future
    early = entries().filter(pl.col("index_date") < date(320))
    future["enrolment"] = [(p, max(start, date(321)), end) for p, start, end in future["enrolment"]]
    both = {name: past[name] + future[name] for name in past}
    planted = tables(both, deaths=(date(400), date(321), date(330)))
    longer = planted["diagnosis"].with_columns(
        # an encounter that reaches the index date ends much later: nobody could know
        end_date=pl.when(
            pl.col("end_date") < pl.col("person_id").replace_strict({1: date(200), 2: date(260), 3: date(200)})
        )
        .then(pl.col("end_date"))
        .otherwise(date(900))
    )
    assert measured(planted | {"diagnosis": longer}, early) == measured(tables(past), early)


@settings(max_examples=4, deadline=None)
@given(worlds(0, 330), st.randoms(use_true_random=False))
def test_neither_row_order_nor_repeated_rows_nor_buckets_move_a_covariate(world, random):
    made = tables(world)
    expected = measured(made)
    mixed = {
        name: pl.concat([rows, rows.head(0 if name in {"person", "enrolment"} else 9)]).sample(
            fraction=1.0, shuffle=True, seed=random.randrange(2**32)
        )
        for name, rows in made.items()
    }
    assert measured(mixed) == expected
    buckets = [
        measured({n: rows.filter(pl.col("person_id").is_in(own)) for n, rows in made.items()}, entries(own))
        for own in ((1, 3), (2,))
    ]
    merged = {name: sorted(row for part in buckets for row in part[name]) for name in expected}
    assert merged == expected


def observed(world, person, first, last, known):
    """Oracle: every day from first to last is enrolled once gaps of up to 31 days, closed by ``known``, are bridged."""
    days = {
        day
        for p, start, end in world["enrolment"]
        if p == person
        for day in range((start - DAY0).days, (end - DAY0).days + 1)
        if day <= known
    }
    for day in sorted(days):
        following = [other for other in days if day < other <= day + 32]
        if following:
            days |= set(range(day, min(following)))
    return set(range(first, last + 1)) <= days


def supplied(world, person, codes, last):
    """Oracle: days supplied one dispensing after the other, and the days on which nobody wrote how long."""
    days, silent, free = set(), set(), -1
    rows = {row for row in world["dispensing"] if row[0] == person and row[3] in codes}
    fills = sorted(((row[1] - DAY0).days, row[5] or 0) for row in rows)
    for day, supply in fills:
        if day > last:
            continue
        if not supply:
            silent.add(day)
        start = max(day, free)
        days |= set(range(start, start + supply))
        free = max(free, start + supply)
    return days, silent


@settings(max_examples=15, deadline=None)
@given(worlds(0, 330))
def test_supply_and_encounters_equal_a_slow_oracle(world):
    opioids, benzodiazepines = {OXYCODONE, "N02AA01"}, {PATTERN}
    chosen = (
        co.exposed("opioid", PAST, name="opioid"),
        co.encounter_days(PAST, setting="emergency"),
        co.percent_covered("opioid", PAST),
        co.new_use("opioid", PAST, washout_days=60),
        co.concurrent_days("opioid", BENZODIAZEPINE, PAST),
        co.cost_per_month(PAST, "medical"),
    )
    expected = {covariate.name: [] for covariate in chosen}
    for person, days in INDEX.items():
        for index in days:
            window = range(index - 120, index)
            seen = observed(world, person, index - 120, index - 1, index)
            rows = [row for row in world["dispensing"] if row[0] == person and row[3] in opioids]
            fills = sorted({(row[1] - DAY0).days for row in rows})
            care = [r[1] for r in world["diagnosis"] if r[0] == person and r[5] == "emergency"]
            care += [r[1] for r in world["procedure"] if r[0] == person and r[4] == "emergency"]
            visits = {(day - DAY0).days for day in care} & set(window)
            taken, silent = supplied(world, person, opioids, index - 1)
            calm, silent_calm = supplied(world, person, benzodiazepines, index - 1)
            new = any(day in window and not any(day - 60 <= before < day for before in fills) for day in fills)
            paid = [
                r[3] for r in world["cost"] if r[0] == person and r[2] == "medical" and (r[1] - DAY0).days in window
            ]
            percent = (len(taken & set(window)) * 200 + 120) // 240
            values = (
                True if set(fills) & set(window) else (False if seen else None),
                len(visits) if seen else None,
                percent if seen and not silent & set(window) else None,
                new if observed(world, person, index - 180, index - 1, index) else None,
                len(taken & calm & set(window)) if seen and not (silent | silent_calm) & set(window) else None,
                math.floor(Fraction(sum(paid), 100 * 120) * 30 + Fraction(1, 2)) if seen else None,
            )
            for covariate, value in zip(chosen, values, strict=True):
                expected[covariate.name].append((person, date(index), value))
    found = measured(tables(world), covariates=chosen)
    assert {name: [row[:3] for row in rows] for name, rows in found.items()} == expected


@pytest.mark.parametrize("covariate", ALL, ids=lambda covariate: covariate.name)
def test_a_null_has_a_reason_and_a_value_has_none(covariate):
    rows = measured(tables({name: [] for name in TABLES if name != "person"}), covariates=(covariate,))[covariate.name]
    assert all((value is None) == (reason is not None) for _, _, value, reason in rows)
