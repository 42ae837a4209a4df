"""One violation per rule: how the clean store is spoilt, and how many more must offend then, where that is a number.

A violation is a function from the tables to the tables that it changes. The first rows of a table are those of the
lowest pseudonyms, so they say nothing about what is in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

Tables = dict[str, pl.DataFrame]
EVENTS = ("diagnosis", "procedure", "dispensing", "measurement")
CODED = EVENTS[:3]
ALL = pl.lit(True)
DEAD = pl.col("death_date").is_not_null()


@dataclass(frozen=True)
class Violation:
    """How to break a rule; ``more`` offend than in the clean store, over all parts (None: not a number of rows)."""

    spoil: Callable[[Tables], Tables]
    more: int | None = None


def edit(table, rows=None, where=ALL, **values):
    """Give columns other values in the first ``rows`` rows, or all, for which ``where`` holds."""

    def spoil(tables: Tables) -> Tables:
        frame = tables[table]
        every = where & (pl.int_range(pl.len()) >= 0)  # a column, even where `where` is one word for all rows
        chosen = every & (every.cast(pl.Int64).cum_sum() <= (rows or frame.height))
        changes = [
            pl.when(chosen).then(value if isinstance(value, pl.Expr) else pl.lit(value)).otherwise(pl.col(name))
            .cast(frame.schema[name]).alias(name)
            for name, value in values.items()
        ]  # fmt: skip
        return {table: frame.with_columns(changes)}

    return spoil


def add(table, rows=1, times=1, where=ALL, **values):
    """Repeat the first rows, with other values in some columns."""

    def spoil(tables: Tables) -> Tables:
        taken = {table: tables[table].filter(where).head(rows)}
        more = edit(table, **values)(taken)[table] if values else taken[table]
        return {table: pl.concat([tables[table], *[more] * times])}

    return spoil


def keep(table, where):
    """Keep some rows only."""
    return lambda tables: {table: tables[table].filter(where)}


def of_the_dead(table, rows, **values):
    """Edit rows of persons who died before the last half year."""

    def spoil(tables: Tables) -> Tables:
        dead = tables["person"].filter(pl.col("death_date") < dt.date(2019, 6, 1))["person_id"]
        return edit(table, rows, pl.col("person_id").is_in(dead.implode()), **values)(tables)

    return spoil


def without_events_of(share):
    """Drop every event of some persons."""

    def spoil(tables: Tables) -> Tables:
        persons = tables["person"]["person_id"]
        gone = persons.head(int(len(persons) * share))
        return {table: tables[table].filter(~pl.col("person_id").is_in(gone.implode())) for table in EVENTS}

    return spoil


def both(*spoils):
    """Do one after the other."""

    def spoil(tables: Tables) -> Tables:
        changed: Tables = {}
        for part in spoils:
            changed |= part(tables | changed)
        return changed

    return spoil


def year(number):
    return pl.col("date").dt.year() == number


def month(number, of):
    return year(number) & (pl.col("date").dt.month() == of)


def day(year, month=1, day=1):
    return dt.date(year, month, day)


NOBODY = -1
DAY = pl.duration(days=1)
IS = {system: pl.col("system") == system for system in ("icd9cm", "icd10cm", "icd9proc", "icd10pcs", "hcpcs", "ndc")}

VIOLATIONS: dict[str, Violation] = {
    # tables
    "person_table_empty": Violation(keep("person", ~ALL), 1),
    "enrolment_table_empty": Violation(keep("enrolment", ~ALL), 1),
    "event_tables_empty": Violation(both(*(keep(table, ~ALL) for table in EVENTS)), 1),
    # keys
    "person_duplicate": Violation(add("person", 3), 3),
    "enrolment_unlisted_person": Violation(edit("enrolment", 20, person_id=NOBODY), 20),
    **{f"{table}_unlisted_person": Violation(edit(table, 500, person_id=NOBODY), 500) for table in EVENTS},
    # required
    "person_required_null": Violation(edit("person", 1, person_id=None), 1),
    "enrolment_required_null": Violation(edit("enrolment", 2, end_date=None), 2),
    "diagnosis_required_null": Violation(edit("diagnosis", 2, end_date=None, code=None), 4),
    "procedure_required_null": Violation(edit("procedure", 2, system=None), 2),
    "measurement_required_null": Violation(edit("measurement", 2, value=None), 2),
    "dispensing_required_null": Violation(edit("dispensing", 2, date=None), 2),
    # grain: the added rows repeat the grain, whatever else they say
    "enrolment_duplicate": Violation(add("enrolment", 2, end_date=day(2030)), 2),
    "diagnosis_duplicate": Violation(add("diagnosis", 2, end_date=day(2030)), 2),
    "procedure_duplicate": Violation(add("procedure", 2), 2),
    "measurement_duplicate": Violation(add("measurement", 2, unit=None), 2),
    "dispensing_duplicate": Violation(add("dispensing", 2), 2),
    # vocabulary
    "person_sex_unknown_word": Violation(edit("person", 2, sex="F"), 2),
    "diagnosis_setting_unknown_word": Violation(edit("diagnosis", 2, setting="office"), 2),
    "procedure_setting_unknown_word": Violation(edit("procedure", 2, setting="office"), 2),
    **{f"{table}_system_unknown": Violation(edit(table, 2, system="ICD10"), 2) for table in CODED},
    "diagnosis_system_misplaced": Violation(edit("diagnosis", 50, system="ndc"), 50),
    "procedure_system_misplaced": Violation(edit("procedure", 50, system="icd10cm"), 50),
    "dispensing_system_misplaced": Violation(
        edit("dispensing", 50, IS["ndc"], system="icd10cm"), 50
    ),
    # event dates; of the dead, the date is after the last day of grace
    **{f"{table}_before_birth": Violation(edit(table, 200, date=day(1901)), 200) for table in EVENTS},
    **{f"{table}_after_death": Violation(of_the_dead(table, 40, date=day(2019, 12, 31)), 40) for table in EVENTS},
    **{f"{table}_too_early": Violation(edit(table, 1, date=day(1899, 12, 31)), 1) for table in EVENTS},
    **{f"{table}_in_future": Violation(edit(table, 1, date=day(2020, 1, 3)), 1) for table in EVENTS},
    # persons' dates
    "person_birth_too_early": Violation(edit("person", 5, birth_date=day(1900)), 5),
    "person_birth_after_data_end": Violation(edit("person", 5, birth_date=day(2021)), 5),
    "person_birth_january_first": Violation(edit("person", 120, birth_date=day(1980)), None),
    "person_birth_first_of_month": Violation(edit("person", 240, birth_date=day(1980, 5)), None),
    "person_death_before_birth": Violation(edit("person", 1, death_date=day(1901)), 1),
    "person_death_after_data_end": Violation(edit("person", 80, death_date=day(2021)), 80),
    "person_too_old": Violation(edit("person", 10, birth_date=day(1901), death_date=None), 10),
    # spans
    "enrolment_end_before_start": Violation(edit("enrolment", 1, end_date=pl.col("start_date") - DAY), 1),
    "enrolment_one_day": Violation(edit("enrolment", 50, end_date=pl.col("start_date")), 50),
    "enrolment_overlap": Violation(add("enrolment", 1, start_date=pl.col("start_date") + DAY), 1),
    "enrolment_touch": Violation(
        add("enrolment", where=pl.col("end_date") == day(2019, 12, 31), start_date=day(2020), end_date=day(2020, 2)), 1
    ),
    "enrolment_before_birth": Violation(edit("enrolment", 50, start_date=day(1901)), 50),
    "enrolment_after_death": Violation(of_the_dead("enrolment", 20, end_date=day(2020)), 20),
    "enrolment_too_early": Violation(edit("enrolment", 1, start_date=day(1899, 12, 31)), 1),
    "enrolment_after_data_end": Violation(edit("enrolment", 50, end_date=day(9999, 12, 31)), 50),
    # outside of enrolment
    **{f"{table}_outside_enrolment": Violation(edit(table, 2000, date=day(2011, 12, 31)), 2000) for table in EVENTS},
    "person_death_outside_enrolment": Violation(edit("person", where=DEAD, death_date=day(2011, 12, 31)), None),
    # population
    "person_sex_imbalance": Violation(edit("person", sex="male"), None),
    "person_without_record": Violation(without_events_of(0.6), None),
    "person_without_enrolment": Violation(edit("person", 100, person_id=NOBODY - pl.int_range(pl.len())), 100),
    "person_silent": Violation(without_events_of(0.5), None),
    # utilisation: too few, then too many
    **{f"{table}_per_person_year": Violation(keep(table, pl.int_range(pl.len()) < 20)) for table in CODED},
    **{f"{table}_crowded_day": Violation(
        both(edit(table, 3 * 201, date=day(2016, 5, 5), person_id=pl.int_range(pl.len()) % 3)), 3)
       for table in EVENTS},
    # spikes
    **{f"{table}_january_first": Violation(edit(table, 300, year(2016), date=day(2016)), None) for table in EVENTS},
    **{f"{table}_first_of_month": Violation(edit(table, 600, year(2016), date=day(2016, 5)), None) for table in EVENTS},
    # encounters
    "diagnosis_end_before_start": Violation(edit("diagnosis", 1, end_date=day(2011)), 1),
    "diagnosis_stay_too_long": Violation(
        edit("diagnosis", 20, pl.col("setting") == "inpatient", end_date=pl.col("date") + pl.duration(days=365)), 20
    ),
    "diagnosis_end_after_death": Violation(of_the_dead("diagnosis", 40, end_date=day(2020)), 40),
    "diagnosis_position_below_one": Violation(edit("diagnosis", 2, position=0), 2),
    "diagnosis_position_gap": Violation(edit("diagnosis", where=pl.col("position") == 1, position=3), None),
    # amounts
    "dispensing_days_supply_below_one": Violation(edit("dispensing", 300, days_supply=0), 300),
    "dispensing_days_supply_too_long": Violation(edit("dispensing", 30, days_supply=366), 30),
    "dispensing_quantity_not_positive": Violation(edit("dispensing", 300, quantity=float("nan")), 300),
    "dispensing_units_a_day_too_many": Violation(edit("dispensing", 30, quantity=15_001.0), 30),
    # units: from 2017 on in micrograms
    "dispensing_quantity_jump": Violation(
        edit("dispensing", where=pl.col("date") >= day(2017), quantity=pl.col("quantity") * 1000), None
    ),
    "dispensing_days_supply_jump": Violation(
        edit("dispensing", where=pl.col("date") >= day(2017), days_supply=pl.col("days_supply") * 1000), None
    ),
    # measurements; the scale is read in millimetres from 2017 on
    "measurement_not_finite": Violation(edit("measurement", 2, value=float("inf")), 2),
    "measurement_unit_mixed": Violation(edit("measurement", 300, unit="mm"), 300),
    "measurement_constant": Violation(edit("measurement", value=5.0), 1),
    "measurement_jump": Violation(
        edit("measurement", where=pl.col("date") >= day(2017), value=pl.col("value") * 10), 1
    ),
    "measurement_null_rise": Violation(edit("measurement", where=year(2016), unit=None)),
    "measurement_month_volume": Violation(keep("measurement", ~month(2016, 5))),
    # completeness of columns
    "person_null_share": Violation(edit("person", 100, region=None), 100),
    "diagnosis_null_share": Violation(edit("diagnosis", where=year(2016), setting="unknown"), None),
    "procedure_null_share": Violation(edit("procedure", where=year(2016), setting=None), None),
    "dispensing_null_share": Violation(edit("dispensing", where=year(2016), days_supply=None), None),
    "diagnosis_null_rise": Violation(edit("diagnosis", where=year(2016), position=None), None),
    "procedure_null_rise": Violation(edit("procedure", where=year(2016), setting="unknown"), None),
    "dispensing_null_rise": Violation(edit("dispensing", where=year(2016), quantity=None), None),
    "person_column_all_null": Violation(edit("person", death_date=None), 1),
    "diagnosis_column_all_null": Violation(edit("diagnosis", position=None), 1),
    "procedure_column_all_null": Violation(edit("procedure", setting=None), 1),
    "dispensing_column_all_null": Violation(edit("dispensing", quantity=None, days_supply=None), 2),
    # volume
    **{f"{table}_month_missing": Violation(keep(table, ~month(2016, 5) & ~month(2017, 6)), 2) for table in EVENTS},
    "diagnosis_month_volume": Violation(keep("diagnosis", ~month(2016, 5) | (pl.int_range(pl.len()) % 10 == 0))),
    "procedure_month_volume": Violation(add("procedure", 10_000, 2, where=month(2016, 5))),
    "dispensing_month_volume": Violation(keep("dispensing", ~month(2016, 5))),
    **{f"{table}_year_drop": Violation(keep(table, ~year(2017) | (pl.int_range(pl.len()) % 5 < 2)))
       for table in EVENTS},
    # code formats: for each system a code that a neighbouring system, a spreadsheet or a typist makes of one
    **{f"{system}_format": Violation(edit(table, 300, pl.col("system") == system, code=code))
       for table, system, code in (
           ("diagnosis", "icd9cm", "M545"), ("diagnosis", "icd10", "54.5"), ("diagnosis", "icd10cm", "7242"),
           ("diagnosis", "icd11", "M545"), ("diagnosis", "snomed", "2.79039E8"), ("dispensing", "atc", "N02AA5"),
           ("dispensing", "ndc", "4000000001"), ("dispensing", "rxnorm", "N02AA05"), ("procedure", "hcpcs", "9921"),
           ("procedure", "cpt", "J1885"), ("procedure", "icd10pcs", "OSB20ZZ"), ("procedure", "icd9proc", "80.51"),
           ("procedure", "ccam", "LHRP01"), ("dispensing", "cip", "3640464"), ("dispensing", "ucd", "3400892456214"),
       )},
    # spelling
    "diagnosis_code_spelling": Violation(edit("diagnosis", 2, code="m545"), 2),
    "procedure_code_spelling": Violation(edit("procedure", 2, code="97110 "), 2),
    "dispensing_code_spelling": Violation(edit("dispensing", 2, code=""), 2),
    "diagnosis_code_length": Violation(edit("diagnosis", 300, code="M5"), 300),
    "procedure_code_length": Violation(edit("procedure", 300, IS["hcpcs"], code="0099213"), 300),
    "dispensing_code_length": Violation(edit("dispensing", 300, IS["ndc"], code="4054017613"), 300),
    # the change of ICD editions
    "icd9cm_after_change": Violation(edit("diagnosis", 200, year(2016) & IS["icd10cm"], system="icd9cm"), 200),
    "icd10cm_before_change": Violation(edit("diagnosis", 200, year(2014) & IS["icd9cm"], system="icd10cm"), 200),
    "icd9proc_after_change": Violation(edit("procedure", 40, IS["icd10pcs"], system="icd9proc"), 40),
    "icd10pcs_before_change": Violation(edit("procedure", 40, IS["icd9proc"], system="icd10pcs"), 40),
    "icd_mixed_month": Violation(edit("diagnosis", where=month(2015, 11), system="icd9cm")),
    # vocabularies in use
    "diagnosis_distinct_codes": Violation(edit("diagnosis", where=year(2017) & IS["icd10cm"], code="M545")),
    "procedure_distinct_codes": Violation(edit("procedure", where=year(2017) & IS["hcpcs"], code="97110")),
    "dispensing_distinct_codes": Violation(edit("dispensing", where=year(2017) & IS["ndc"], code="40000000001")),
    # drift
    **{f"{table}_rows_lost": Violation(keep(table, pl.int_range(pl.len()) % 2 == 0))
       for table in ("person", "enrolment", *EVENTS)},
    **{f"{table}_rows_grown": Violation(add(table, 100_000)) for table in ("person", "enrolment", *EVENTS)},
    "person_vanished": Violation(edit("person", 50, person_id=NOBODY - pl.int_range(pl.len())), 50),
    "person_altered": Violation(edit("person", 50, birth_date=pl.col("birth_date") + DAY), 50),
    **{f"{table}_codes_new": Violation(edit(table, code=pl.col("code") + "9")) for table in CODED},
}  # fmt: skip
