"""Daily MME, its averages and tapers, worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.errors import InputRefusedError, StudyError
from cohort.features.opioids import daily_mme, dose_definitions, mme_factors, taper, with_products


def day(number):
    return dt.date(2020, 1, 1) + dt.timedelta(number)


COLUMNS = ("date", "days_supply", "quantity", "strength", "drug", "form")


def daily(*rows, version="cdc2022"):
    """Return (date, mme, dispensings, unconverted) for dispensings (day, supply, quantity, strength, drug, form)."""
    frame = pl.DataFrame(
        [(1, day(row[0]), *row[1:]) for row in rows],
        schema={"id": pl.Int64, "date": pl.Date, "days_supply": pl.Int32, "quantity": pl.Float64,
                "strength": pl.Float64, "drug": pl.String, "form": pl.String},
        orient="row",
    )  # fmt: skip
    return daily_mme(frame, form="form", version=version).drop("person").rows()


@pytest.mark.parametrize(
    ("row", "cdc2016", "cdc2022"),
    [
        # day, supply, quantity, strength, drug, form
        ((0, 1, 4.0, 10.0, "oxycodone", "oral"), 60, 60),
        ((0, 1, 4.0, 2.0, "Hydromorphone ", "oral"), 32, 40),
        ((0, 1, 4.0, 50.0, "tramadol", "oral"), 20, 40),
        ((0, 1, 1.0, 10.0, "methadone", "oral"), 40, 47),
        ((0, 1, 2.0, 10.0, "methadone", "oral"), 80, 94),  # 20 mg is still in (0, 20]
        ((0, 1, 41.0, 0.5, "methadone", "oral"), 164, 96.35),  # 20.5 mg lies in (20, 40]
        ((0, 1, 4.0, 10.0, "methadone", "oral"), 320, 188),
        ((0, 1, 6.0, 10.0, "methadone", "oral"), 600, 282),
        ((0, 1, 7.0, 10.0, "methadone", "oral"), 840, 329),
        ((0, 1, 10.0 / 30, 25.0, "fentanyl", "patch"), 60, 60),  # ten patches of 25 mcg/h for thirty days
        ((0, 1, 2.0, 1200.0, "fentanyl", "film"), 432, None),  # CDC 2022 names no factor
        ((0, 1, 1.0, 100.0, "pethidine", "oral"), 10, None),
        ((0, 1, 1.0, 8.0, "buprenorphine", "oral"), None, None),  # a partial agonist: no factor in either
        ((0, 1, 1.0, 25.0, "fentanyl", "oral"), None, None),
        ((0, 1, None, 10.0, "oxycodone", "oral"), None, None),
    ],
)
def test_factors_of_both_versions(row, cdc2016, cdc2022):
    for version, expected in (("cdc2016", cdc2016), ("cdc2022", cdc2022)):
        ((_, mme, dispensings, unconverted),) = daily(row, version=version)
        assert mme == (
            None if expected is None else pytest.approx(expected, abs=1e-6)
        )  # doses are whole units of 2^-30 mg
        assert (dispensings, unconverted) == ((0, 1) if expected is None else (1, 0))


def test_overlapping_prescriptions_add_up_day_by_day():
    # 30 tablets of 10 mg oxycodone over ten days from day 0: 45 MME; 10 of morphine 20 mg over five from day 8: 40
    found = daily((0, 10, 30.0, 10.0, "oxycodone", "oral"), (8, 5, 10.0, 20.0, "morphine", "oral"))
    assert found == [
        *((day(number), 45.0, 1, 0) for number in range(8)),
        *((day(number), 85.0, 2, 0) for number in (8, 9)),
        *((day(number), 40.0, 1, 0) for number in (10, 11, 12)),
    ]


def test_methadone_goes_by_the_dose_of_the_day_not_of_the_prescription():
    # two prescriptions of 15 mg a day: 30 mg lies in (20, 40], so 240 and not 2 x 60
    found = daily(*[(0, 1, 1.0, 15.0, "methadone", "oral")] * 2, version="cdc2016")
    assert found == [(day(0), 240.0, 2, 0)]  # exactly: these doses are whole units


def test_what_cannot_be_converted_is_counted_beside_the_rest():
    found = daily((0, 2, 2.0, 10.0, "oxycodone", "oral"), (1, 1, 1.0, 8.0, "buprenorphine", "oral"))
    assert found == [(day(0), 15.0, 1, 0), (day(1), 15.0, 1, 1)]
    assert daily((0, None, 2.0, 10.0, "oxycodone", "oral")) == [(day(0), None, 0, 1)]


def test_refusals():
    with pytest.raises(StudyError, match="no MME factors 'cdc2019'; there are cdc2016, cdc2022"):
        mme_factors("cdc2019")
    with pytest.raises(InputRefusedError, match=r"no column for .*quantity='quantity'"):
        daily_mme({"id": [1], "date": [day(0)]})


def test_four_averages_of_the_same_dispensings():
    # days 0 to 9: 45; days 8 to 12: 40 more; total 10 x 45 + 5 x 40 = 650
    doses = daily((0, 10, 30.0, 10.0, "oxycodone", "oral"), (8, 5, 10.0, 20.0, "morphine", "oral"))
    frame = pl.LazyFrame(doses, schema=["date", "mme", "dispensings", "unconverted"], orient="row")
    window = pl.LazyFrame({"person_id": [1, 2], "start_date": [day(0)] * 2, "end_date": [day(19)] * 2})
    found = dose_definitions(frame.with_columns(person_id=pl.lit(1, pl.Int64)), window).collect()
    assert found.rows() == [(1, 650 / 15, 650 / 13, 650 / 20, 85.0), (2, None, None, None, None)]


@pytest.mark.parametrize(
    ("doses", "expected"),
    [
        ((100, 85, 85), True),  # a fall of exactly 15 % in both
        ((100, 85, 86), False),
        ((100, 90, 50), False),  # only the second
        ((50, 40, 40), True),
        ((49, 10, 10), None),  # no high dose to taper
        ((100, 0, 0), True),
        ((0, 0, 0), None),
    ],
)
def test_taper_needs_both_windows(doses, expected):
    dates = [day(number) for number in range(180)]
    mme = [float(dose) for dose in doses for _ in range(60)]
    frame = pl.LazyFrame({"person_id": [1] * 180, "date": dates, "mme": mme}).filter(pl.col("mme") > 0)
    index = pl.LazyFrame({"person_id": [1], "index_date": [day(60)]})
    assert taper(frame, index).collect().select("baseline", "taper").row(0) == (doses[0], expected)


def test_products_are_found_by_their_ndc():
    rows = pl.LazyFrame({"system": ["ndc", "ndc", "rxnorm"], "code": ["00054017613", "99999999999", "00054017613"]})
    assert with_products(rows).select("drug", "form", "strength").collect().rows() == [
        ("buprenorphine", "oral", 2.0),
        (None, None, None),
        (None, None, None),
    ]
