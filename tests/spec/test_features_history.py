"""Time-varying covariates: (start, stop] rows that a Cox model can use, each knowing only what came before it."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from worlds import world

import cohort as co
from cohort.errors import StudyError
from cohort.features.history import history

TABLES = world(
    person="""
        person_id birth_date
        1         1960-01-01
        2         1960-01-01
        3         1960-01-01
    """,
    enrolment="""
        person_id start_date end_date
        1         2015-01-01 2024-12-31
        2         2015-01-01 2024-12-31
        3         2015-01-01 2024-12-31
    """,
    diagnosis="""
        person_id date       code
        1  2019-12-20 M545
        1  2020-01-15 E119
        1  2020-01-31 M542
        1  2020-03-01 I21
        2  2020-01-10 M545
    """,
    dispensing="""
        person_id date       system code        quantity days_supply
        1  2020-01-11 ndc    00007031920 60 10
        2  2020-02-01 ndc    00007031920 30 30
    """,
)
DAY = dt.date(2020, 1, 1)
ENTRIES = pl.LazyFrame(
    {
        "person_id": [1, 2, 3],
        "index_date": [DAY] * 3,
        "entry": [0, 5, 0],
        "time": [75, 40, 0],
        "cause": [1, 0, 1],
    },
    schema_overrides={"cause": pl.Int8},
)
CHARLSON = co.charlson(co.Window(-365, 0))
SITES = co.pain_sites(co.Window(-60, 0))
OPIOID = co.exposed("opioid", co.Window(-29, 0), name="opioid")
DOSE = co.opioid_dose(co.Window(0, 0))
COVARIATES = (CHARLSON, SITES, OPIOID, DOSE)


def days(every_days, covariates=COVARIATES):
    """Return person → day at risk → values: the rows of the history written out day by day."""
    rows = history(TABLES, ENTRIES, covariates, every_days=every_days).collect()
    found = {}
    for person, _, start, stop, _, *values in rows.rows():
        found.setdefault(person, {}).update({day: tuple(values) for day in range(start + 1, stop + 1)})
    return found


def test_every_day_at_risk_has_the_value_known_at_the_end_of_the_day_before():
    # by hand, person 1: E11.9 on day 14 gives Charlson 1, I21 on day 60 another 1; low back on day -12 is a site until
    # 60 days later (day 48), the neck from day 30; opioid dispensed on day 10, recent until day 39;
    # 60 x 5 mg oxycodone over 10 days x 1.5 = 45 MME on days 10 to 19. Day d reads what was known on day d - 1.
    expected = {
        d: (
            (d - 1 >= 14) + (d - 1 >= 60),
            (d - 1 <= 48) + (d - 1 >= 30),
            10 <= d - 1 <= 39,
            45 if 10 <= d - 1 <= 19 else 0,
        )
        for d in range(1, 76)
    }
    found = days(every_days=1)
    assert found[1] == expected
    assert sorted(found[2]) == list(range(6, 41))  # risk starts after day 5
    assert 3 not in found  # followed for no day


def test_a_coarse_history_holds_the_value_of_the_day_its_interval_begins():
    fine, coarse = days(every_days=1), days(every_days=30)
    for person, entry in ((1, 0), (2, 5)):
        for day, values in coarse[person].items():
            assert values == fine[person][entry + (day - 1 - entry) // 30 * 30 + 1]


def test_the_event_stands_in_the_last_row_only():
    rows = history(TABLES, ENTRIES, COVARIATES, every_days=7).collect()
    assert rows.filter(pl.col("cause") > 0).select("person_id", "stop").rows() == [(1, 75)]
    one = rows.filter(pl.col("person_id") == 1)
    assert one["start"].to_list()[1:] == one["stop"].to_list()[:-1]  # no gap and no overlap


def test_a_covariate_of_the_future_is_refused():
    with pytest.raises(StudyError, match="looks beyond the day"):
        history(TABLES, ENTRIES, [co.pain_sites(co.Window(0, 14))])
    with pytest.raises(StudyError, match="a day or more"):
        history(TABLES, ENTRIES, COVARIATES, every_days=0)


def test_a_time_varying_cox_model_takes_the_rows_as_they_are():
    # person 1 is on opioids at the event on day 15, and 2 and 3 are not; 3 has the event on day 35 without opioids,
    # when 1 is gone and 2 is exposed (dispensed on day 31): partial likelihood e^b/(e^b + 2) * 1/(1 + e^b)
    # d/db = 1 - e^b/(e^b + 2) - e^b/(1 + e^b) = 0  =>  2/(e^b + 2) = e^b/(1 + e^b)  =>  e^2b = 2, b = ln(2)/2
    entries = pl.LazyFrame(
        {"person_id": [1, 2, 3], "index_date": [DAY] * 3, "time": [15, 60, 35], "cause": [1, 0, 1]},
    )
    rows = history(TABLES, entries, [OPIOID], every_days=1).collect()
    from cohort import survival as sv

    data = rows.select("person_id", "start", "stop", pl.col("cause").cast(pl.Int64), pl.col("opioid").cast(pl.Int64))
    fitter = sv.CoxTimeVaryingFitter().fit(
        data.to_pandas(), id_col="person_id", event_col="cause", start_col="start", stop_col="stop"
    )
    assert fitter.params_["opioid"] == pytest.approx(0.34657359, abs=1e-6)
