"""Covariates of disease, pain, care and scores, each equal to a slow oracle that loops over rows and days.

| property | where |
|---|---|
| value equals an oracle | here; medication, encounters and cost in `test_property_covariates` |
| nothing from the index date on moves it | `test_property_covariates`, every kind |
| row order, repeated rows, buckets do not move it | `test_property_covariates`, every kind |
| neither does the engine that collects | here, every kind |
| null has a reason, a value has none | `test_property_covariates`, every kind |
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from statistics import mean, stdev

import polars as pl
from hypothesis import given, settings
from test_property_covariates import ALL, DAY0, INDEX, date, entries, lazy, measured, observed, tables, worlds

import cohort as co

FIRST, LAST = -120, -1
PAST = co.Window(FIRST, LAST)
GAP = 20
REGION = {"M545": "low_back", "M5416": "low_back", "M542": "neck", "M797": "widespread", "K580": "abdomen"}
CONDITION = {"M545": "low back", "M5416": "low back", "M797": "fibromyalgia", "K580": "bowel"}
PAINFUL = {*REGION, "G8921"}
INTERVENTIONS = {"20552", "62324"}


def charlson(codes):
    """Weights of 1987: diabetes 1, with complications 2 in its place, metastasis 6."""
    return max(2 * ("E1121" in codes), 1 * ("E119" in codes)) + 6 * ("C780" in codes)


def van_walraven(codes):
    """Metastasis 12, depression -3; diabetes and hypertension weigh nothing."""
    return 12 * ("C780" in codes) - 3 * ("F329" in codes)


def stays(rows):
    """Return hospital stays as [first, last]: encounters that share a day are one."""
    found = []
    for first, last in sorted((day, end) for day, end, _, setting in rows if setting == "inpatient"):
        if found and first <= found[-1][1]:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return found


def episodes(rows):
    found = []
    for first, last in sorted((day, end) for day, end, code, _ in rows if code in PAINFUL):
        if found and first - found[-1][1] <= GAP:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return found


def half_up(number):
    return None if number is None else math.floor(Fraction(number) + Fraction(1, 2))


def variation(days):
    gaps = [after - before for before, after in pairwise(days)]
    return math.floor(stdev(gaps) / mean(gaps) * 100 + 0.5) if len(gaps) >= 4 else None


def oracle(world, person, index):
    """Return name → value of one entry, as if every day of the window were enrolled."""
    window = range(index + FIRST, index + LAST + 1)
    every = [((r[1] - DAY0).days, (r[2] - DAY0).days, r[4], r[5]) for r in world["diagnosis"] if r[0] == person]
    # no encounter is known to last beyond the window
    every = [(day, min(end, index + LAST), code, setting) for day, end, code, setting in every if day <= index + LAST]
    inside = [row for row in every if row[0] in window]
    codes = {row[2] for row in inside}
    conditions = {CONDITION[code] for code in codes if code in CONDITION}
    regions = {REGION[code] for code in codes if code in REGION}
    acts = {(r[3], (r[1] - DAY0).days) for r in world["procedure"] if r[0] == person}
    acts = {(code, day) for code, day in acts if day in window}
    pain_days = sorted({row[0] for row in inside if row[2] in PAINFUL})
    bouts = episodes(inside)
    before = [bout for bout in bouts if index - bout[1] > GAP]
    now = [bout for bout in bouts if index - bout[1] <= GAP]
    ward = {day for first, last in stays(every) for day in range(first, last + 1)} & set(window)
    scores: dict[int, list[float]] = {}
    for _, day, _, value, _ in {r for r in world["measurement"] if r[0] == person}:
        if (day - DAY0).days in window:
            scores.setdefault((day - DAY0).days, []).append(value)
    return {
        "charlson": charlson(codes),
        "elixhauser": van_walraven(codes),
        "diab": "E119" in codes and "E1121" not in codes,
        "pain_sites": len(regions),
        "widespread_pain": len(regions - {"widespread"}) >= 3 or "widespread" in regions,
        "neuropathic": "M5416" in codes,
        "sleep": "G4700" in codes,
        "symptom_domains": ("G4700" in codes) + ("F329" in codes),
        "overlapping_conditions": len(conditions),
        "sensitization_index": ("M797" in codes) + (len(conditions) >= 2) + ("G4700" in codes) + ("F329" in codes),
        "current_days": index - now[-1][0] + 1 if now else 0,
        "previous_episodes": len(before),
        "previous_days": sum(last - first + 1 for first, last in before),
        "unpredictability": variation(pain_days),
        "admissions": sum(first in window for first, _ in stays(every)),
        "inpatient_days": len(ward),
        "procedure_days": len({day for code, day in acts}),
        "interventional": any(code in INTERVENTIONS for code, _ in acts),
        "score": half_up(mean(map(Fraction, scores[max(scores)]))) if scores else None,
    }


CHOSEN = (
    co.charlson(PAST),
    co.elixhauser(PAST),
    co.comorbid("diab", PAST),
    co.pain_sites(PAST),
    co.widespread_pain(PAST),
    co.pain_mechanism("neuropathic", PAST),
    co.symptom("sleep", PAST),
    co.symptom_domains(PAST),
    co.overlapping_conditions(PAST),
    co.sensitization_index(PAST),
    co.current_pain_days("pain_regions", PAST, gap_days=GAP),
    co.previous_episodes("pain_regions", PAST, gap_days=GAP),
    co.previous_pain_days("pain_regions", PAST, gap_days=GAP),
    co.unpredictability("pain_regions", PAST),
    co.admissions(PAST),
    co.inpatient_days(PAST),
    co.procedure_days("treatment_modalities", PAST),
    co.treated("interventional", PAST),
    co.score("NRS", PAST),
)
STANDS = {"diab", "widespread_pain", "neuropathic", "sleep", "interventional"}  # a yes on record needs no enrolment


@settings(max_examples=15, deadline=None)
@given(worlds(0, 330))
def test_every_value_equals_a_slow_oracle(world):
    found = measured(tables(world), covariates=CHOSEN)
    for covariate in CHOSEN:
        expected = []
        for person, days in INDEX.items():
            for index in days:
                value = oracle(world, person, index)[covariate.name]
                known = observed(world, person, index + FIRST, index + LAST, index) or covariate.name == "score"
                stands = covariate.name in STANDS and value
                expected.append((person, date(index), value if known or stands else None))
        assert [row[:3] for row in found[covariate.name]] == expected, covariate.name


@settings(max_examples=2, deadline=None)
@given(worlds(0, 330))
def test_every_engine_gives_the_same(world):
    made = lazy(tables(world))
    for covariate in ALL:
        plan = covariate.column(made, entries()).sort("person_id", "index_date")
        one, other = plan.collect(engine="in-memory"), plan.collect(engine="streaming")
        assert one.equals(other), covariate.name
        assert one.schema == other.schema == pl.Schema(plan.collect_schema())
