"""A bucket's tables are read once, however many covariates ask for them."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import polars as pl
import pytest
from polars.io.plugins import register_io_source
from worlds import people, world

import cohort as co
from cohort.plan import codes_needed, run_bucket

YEAR = co.Window(-365, -1)
FEW = (co.age(), co.charlson(YEAR), co.exposed("opioid", co.Window(0, 14), name="early_opioid"))
MANY = (
    *FEW,
    co.sex(),
    co.elixhauser(YEAR),
    co.visit_intensity("pain_regions", YEAR),
    co.sensitization_index(YEAR),
    co.encounter_days(YEAR),
    co.admissions(YEAR),
    co.percent_covered("opioid", YEAR),
    co.opioid_dose(YEAR),
    co.treated("interventional", YEAR),
    co.cost_per_month(YEAR),
    co.score("NRS", YEAR),
    co.score("NRS", YEAR, what="trend", name="trend"),
)


def counting(name: str, table: pl.LazyFrame, reads: Counter[str]) -> pl.LazyFrame:
    """Return a table that counts how often it is read."""
    frame = table.collect()

    def source(columns, predicate, rows, batch):
        reads[name] += 1
        read = frame if columns is None else frame.select(columns)
        yield (read if predicate is None else read.filter(predicate)).head(frame.height if rows is None else rows)

    return register_io_source(source, schema=frame.schema)


@pytest.mark.parametrize("covariates", [FEW, MANY])
def test_every_table_is_read_at_most_once(covariates):
    pain = co.diagnosis("low_back_pain")
    cohort = co.Cohort("Back pain").enter_at_first(pain, washout_days=180).require_enrolled(co.Window(-180, 0))
    outcome = co.chronification("low_back_pain")
    tables = world(**people(1, 2), diagnosis="person_id date code\n1 d0 M545\n1 d120 M545\n2 d0 M545")
    reads: Counter[str] = Counter()
    counted = {name: counting(name, table, reads) for name, table in tables.items()}
    codes = codes_needed(cohort, outcome, covariates)
    part = run_bucket(counted, cohort, outcome, covariates, codes, dt.date(2022, 12, 31))
    assert part.rows.height == 2
    assert max(reads.values()) == 1
    assert reads["diagnosis"] == reads["person"] == reads["enrolment"] == 1
    assert ("cost" in reads) == (covariates is MANY)  # what nobody asks for is not read
