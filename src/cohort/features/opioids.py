"""Opioid dose: morphine milligram equivalents (MME) per day, the published ways to average them, and tapers.

Doses are summed as integers, in units of 2^-30 mg, so that a day's dose does not depend on the order of the rows.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy, like, require_kinds, whole
from cohort.time import days_between

FORMS = ("oral", "patch", "buccal_tablet", "film", "nasal")
"""Dosage forms with a factor. Strength is mg per unit; patches mcg per hour; other fentanyl forms mcg per unit."""

_UNITS = 2**30  # per mg; a power of two, because polars divides by a number by multiplying with its rounded inverse
_SYNONYMS = {"pethidine": "meperidine"}


def daily_mme(
    frame: Any,
    person: str = "id",
    start: str = "date",
    days_supply: str = "days_supply",
    quantity: str = "quantity",
    strength: str = "strength",
    drug: str = "drug",
    form: str | None = None,
    version: str = "cdc2022",
) -> Any:
    """Return the morphine milligram equivalents of each person and day with opioid supply.

    A day's dose is the sum over all dispensings whose supply includes the day: strength × quantity / days' supply ×
    factor. Methadone's factor under ``cdc2016`` goes by the day's total methadone dose, bins (lo, hi].

    Parameters
    ----------
    frame
        Any tabular object, one row per dispensing.
    person, start, days_supply, quantity, strength, drug
        Columns: identifier; date; whole days; units dispensed; strength per unit (see `FORMS`); ingredient's name.
    form
        Column with one of `FORMS`; without it all rows are oral.
    version
        ``cdc2022`` or ``cdc2016``: the factors differ (hydromorphone, tramadol, methadone).

    Returns
    -------
    frame
        ``person, date, mme`` (Float64; null where nothing could be converted), ``dispensings`` (converted, active that
        day) and ``unconverted`` (active, without factor, strength, quantity or supply; buprenorphine has no factor).
        Sorted; lazy if the input was.

    References
    ----------
    Dowell D, et al. (2022). CDC clinical practice guideline for prescribing opioids for pain. MMWR Recomm Rep
    71(3):1-95. doi:10.15585/mmwr.rr7103a1.
    """
    rows = as_lazy(frame)
    kinds = {"person": (person, "any"), "start": (start, "date"), "drug": (drug, "text")}
    numbers = {"days_supply": days_supply, "quantity": quantity, "strength": strength}
    kinds |= {parameter: (column, "number") for parameter, column in numbers.items()}
    require_kinds(rows, kinds | ({} if form is None else {"form": (form, "text")}))
    dispensings = rows.drop_nulls([person, start]).select(
        person=pl.col(person),
        date=pl.col(start).cast(pl.Date),
        days=whole(pl.col(days_supply)),
        per_day=pl.col(strength).cast(pl.Float64) * pl.col(quantity).cast(pl.Float64) / whole(pl.col(days_supply)),
        drug=pl.col(drug).cast(pl.String).str.strip_chars().str.to_lowercase().replace(_SYNONYMS),
        form=pl.lit("oral") if form is None else pl.col(form).cast(pl.String),
    )
    return like(frame, _sum_days(dispensings, mme_factors(version)))


@cache
def mme_factors(version: str) -> pl.DataFrame:
    """Return the factors of one version: ``drug, form, dose_gt, dose_le`` (bin of the daily dose), ``factor``.

    Raises
    ------
    StudyError
        If there is no such version.
    """
    file = resources.files(__package__) / "data" / "mme_factors.csv"
    rows = pl.read_csv(file.read_bytes(), schema_overrides={"dose_gt": pl.Float64, "dose_le": pl.Float64})
    if version not in rows["version"]:
        raise StudyError(f"no MME factors {version!r}; there are {', '.join(rows['version'].unique().sort())}")
    own = rows.filter(pl.col("version") == version)
    return own.select("drug", "form", pl.col("dose_gt").fill_null(0), "dose_le", pl.col("factor").cast(pl.Float64))


def _sum_days(dispensings: pl.LazyFrame, factors: pl.DataFrame) -> pl.LazyFrame:
    """Return MME per person and day from ``person, date, days, per_day, drug, form``."""
    key = ["person", "date", "drug", "form"]
    known = (pl.col("days") > 0) & (pl.col("per_day") > 0) & pl.col("per_day").is_finite()
    doses = (
        dispensings.with_columns(known=known.fill_null(value=False), days=pl.col("days").fill_null(1).clip(1))
        .with_columns(units=pl.when("known").then((pl.col("per_day") * _UNITS).round().cast(pl.Int64)).otherwise(0))
        .with_columns(date=pl.date_ranges("date", pl.col("date") + pl.duration(days=pl.col("days") - 1)))
        .explode("date")
        .group_by(key)
        .agg(pl.col("units").sum(), known=pl.col("known").sum().cast(pl.Int64), rows=pl.len().cast(pl.Int64))
    )
    return (
        _convert(doses, factors, key)
        .with_columns(converted=pl.when(pl.col("mme").is_not_null()).then("known").otherwise(0))
        .group_by("person", "date")
        .agg(
            mme=pl.when(pl.col("mme").is_not_null().any()).then(pl.col("mme").sum()),
            dispensings=pl.col("converted").sum(),
            unconverted=(pl.col("rows") - pl.col("converted")).sum(),
        )
        .with_columns(pl.col("mme") / _UNITS)
        .sort("person", "date")
    )


def _convert(doses: pl.LazyFrame, factors: pl.DataFrame, key: list[str]) -> pl.LazyFrame:
    """Add ``mme`` in whole units by the factor whose bin (lo, hi] holds the day's dose; null without one."""
    dose = pl.col("units") / _UNITS
    in_bin = (dose > pl.col("dose_gt")) & ((dose <= pl.col("dose_le")) | pl.col("dose_le").is_null())
    converted = (
        doses.filter(pl.col("known") > 0)
        .join(factors.lazy(), on=["drug", "form"])
        .filter(in_bin)
        .select(*key, mme=(pl.col("units") * pl.col("factor")).round().cast(pl.Int64))
    )
    return doses.join(converted, on=key, how="left", nulls_equal=True)


def with_products(dispensings: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``drug``, ``form`` and ``strength`` per unit to dispensings by NDC, from CDC's table of 2016.

    Parameters
    ----------
    dispensings
        Columns ``system`` and ``code`` (eleven digits), and any others; other systems and unlisted products get nulls.
    """
    file = resources.files(__package__) / "data" / "opioid_products.csv.gz"
    products = pl.read_csv(file.read_bytes(), schema_overrides={"code": pl.String, "strength": pl.Float64})
    return dispensings.join(products.lazy().with_columns(system=pl.lit("ndc")), on=["system", "code"], how="left")


def dose_definitions(daily: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the four published averages of MME per day; they differ several-fold on the same dispensings.

    Parameters
    ----------
    daily
        As from `daily_mme`, with ``person_id`` for ``person``.
    windows
        ``person_id, start_date, end_date``: the window of each person, both ends included.

    Returns
    -------
    LazyFrame
        ``person_id`` and Float64 ``per_supply_day`` (total over summed days' supply), ``per_covered_day`` (over
        distinct days with supply), ``per_window_day`` (over all days), ``maximum``; null without opioids; sorted.

    References
    ----------
    Dasgupta N, et al. (2021). Inches, centimeters, and yards: overlooked definition choices inhibit interpretation of
    morphine equivalence. Clin J Pain 37(8):565-574. doi:10.1097/AJP.0000000000000948.
    """
    days = days_between(pl.col("start_date"), pl.col("end_date")) + 1
    inside = (
        daily.filter(pl.col("mme").is_not_null())
        .join(windows, on="person_id")
        .filter(pl.col("date").is_between("start_date", "end_date"))
        .group_by("person_id")
        .agg(
            total=_units("mme").sum(),
            supply=pl.col("dispensings").sum(),
            covered=pl.len().cast(pl.Int64),
            maximum=pl.col("mme").max(),
        )
        .with_columns(pl.col("total") / _UNITS)
    )
    return (
        windows.join(inside, on="person_id", how="left")
        .select(
            "person_id",
            per_supply_day=pl.col("total") / pl.col("supply"),
            per_covered_day=pl.col("total") / pl.col("covered"),
            per_window_day=pl.col("total") / days,
            maximum="maximum",
        )
        .sort("person_id")
    )


def taper(
    daily: pl.LazyFrame,
    index: pl.LazyFrame,
    *,
    window_days: int = 60,
    fall_percent: int = 15,
    minimum: float = 50.0,
) -> pl.LazyFrame:
    """Return whether the mean daily MME falls by ``fall_percent`` or more in both of two windows from the index date.

    Requiring both windows guards against chance: a rule "any of k windows" fires on noise alone.

    Parameters
    ----------
    daily
        As from `daily_mme`, with ``person_id`` for ``person``. Days without supply count as 0.
    index
        ``person_id, index_date``: the baseline window ends the day before, the two windows start on it.

    Returns
    -------
    LazyFrame
        ``person_id``, ``baseline`` (mean daily MME) and ``taper`` (Boolean; null where the baseline is below
        ``minimum``); sorted. The rule is met when the second window ends, 2 × ``window_days`` − 1 days after index.

    References
    ----------
    Agnoli A, et al. (2021). Association of dose tapering with overdose or mental health crisis among patients
    prescribed long-term opioids. JAMA 326(5):411-419. doi:10.1001/jama.2021.11013.
    """
    offset = days_between(pl.col("index_date"), pl.col("date"))
    windows = {
        "before": (-window_days, -1),
        "first": (0, window_days - 1),
        "second": (window_days, 2 * window_days - 1),
    }
    totals = (
        daily.join(index, on="person_id")
        .group_by("person_id")
        .agg(_units("mme").filter(offset.is_between(*ends)).sum().alias(name) for name, ends in windows.items())
    )
    fell = [pl.col(name) * 100 <= pl.col("before") * (100 - fall_percent) for name in ("first", "second")]
    high = pl.col("before") >= minimum * window_days * _UNITS
    return (
        index.select("person_id")
        .join(totals, on="person_id", how="left")
        .with_columns(pl.col(list(windows)).fill_null(0))
        .select(
            "person_id", baseline=pl.col("before") / (_UNITS * window_days), taper=pl.when(high).then(fell[0] & fell[1])
        )
        .sort("person_id")
    )


def rapid_taper(
    daily: pl.LazyFrame,
    index: pl.LazyFrame,
    *,
    window_days: int = 30,
    fall_percent: int = 30,
    minimum: float = 50.0,
) -> pl.LazyFrame:
    """Return whether the mean daily MME falls by more than ``fall_percent`` in a month: a sign of harm.

    The ``window_days`` days before the index date are compared with those from it, once: a rule "any month of many"
    fires on noise alone. For a course over months give one index row per month.

    Parameters
    ----------
    daily
        As from `daily_mme`, with ``person_id`` for ``person``. Days without supply count as 0.
    index
        ``person_id, index_date``: one row per person.

    Returns
    -------
    LazyFrame
        ``person_id``, ``baseline`` (mean daily MME), ``fall`` (percent of it, negative for a rise; null without a
        baseline) and ``rapid_taper`` (Boolean; null where the baseline is below ``minimum``); sorted. Known on the last
        day of the second window, ``window_days`` - 1 days after index.

    References
    ----------
    Fenton JJ, et al. (2019). Trends and rapidity of dose tapering among patients prescribed long-term opioid therapy,
    2008-2017. JAMA Netw Open 2(11):e1916271. doi:10.1001/jamanetworkopen.2019.16271.
    """
    offset = days_between(pl.col("index_date"), pl.col("date"))
    before, after = pl.col("before"), pl.col("after")
    totals = (
        daily.join(index, on="person_id")
        .group_by("person_id")
        .agg(
            before=_units("mme").filter(offset.is_between(-window_days, -1)).sum(),
            after=_units("mme").filter(offset.is_between(0, window_days - 1)).sum(),
        )
    )
    high = before >= minimum * window_days * _UNITS
    return (
        index.select("person_id")
        .join(totals, on="person_id", how="left")
        .with_columns(pl.col("before", "after").fill_null(0))
        .select(
            "person_id",
            baseline=before / (_UNITS * window_days),
            fall=pl.when(before > 0).then((before - after) * 100 / before),
            rapid_taper=pl.when(high).then(after * 100 < before * (100 - fall_percent)),
        )
        .sort("person_id")
    )


def _units(column: str) -> pl.Expr:
    """Return a dose in whole units, so that sums are exact in any order."""
    return (pl.col(column) * _UNITS).round().cast(pl.Int64)
