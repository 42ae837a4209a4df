"""The real Tuva extract: every count against a query written by hand over the raw CSV files."""

import hashlib
import hmac

import duckdb
import polars as pl
import pytest

from cohort.ingest.load import ingest
from cohort.ingest.pseudonyms import KEEP_IDS_KEY


@pytest.fixture(scope="module")
def raw(shared):
    """Return the files as DuckDB reads them by itself, everything text."""
    connection = duckdb.connect()
    for name in ("eligibility", "medical_claim", "pharmacy_claim"):
        path = shared / "data" / "claims_tuva" / f"{name}.csv"
        connection.execute(f"create view {name} as from read_csv('{path}', all_varchar = true)")
    return connection


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    return ingest(shared / "data" / "claims_tuva", "tuva", tmp_path_factory.mktemp("tuva"), keep_ids=True)


def test_every_line_is_accounted_for(shared, store):
    for account in store.account.files:
        lines = (shared / "data" / "claims_tuva" / account.name).read_bytes().count(b"\n")
        assert (account.lines, account.loaded, account.rejected) == (lines, lines - 1, 0)
    assert all(count.adds_up for count in store.account.tables.values())
    assert store.manifest.unlisted_persons == 0


def test_persons(raw, store):
    expected = raw.execute("""
        select birth_date::date, gender, state from
        (select distinct person_id, birth_date, gender, state from eligibility) order by all""").fetchall()
    assert store.scan("person").select("birth_date", "sex", "region").sort(pl.all()).collect().rows() == expected


def test_days_enrolled_of_each_person(raw, store):
    # no two spans of a person overlap or touch here (counted below), so days are a plain sum
    touching = raw.execute("""
        select count(*) from eligibility a join eligibility b on a.person_id = b.person_id
        where a.enrollment_start_date < b.enrollment_start_date
          and b.enrollment_start_date::date <= a.enrollment_end_date::date + 1""").fetchone()
    assert touching == (0,)
    expected = raw.execute("""
        select count(*), sum(enrollment_end_date::date - enrollment_start_date::date + 1)::bigint as days
        from eligibility group by person_id order by all""").fetchall()
    days = ((pl.col("end_date") - pl.col("start_date")).dt.total_days() + 1).sum()
    found = store.scan("enrolment").group_by("person_id").agg(pl.len(), days=days).select("len", "days")
    assert found.sort(pl.all()).collect().rows() == expected


def test_diagnoses_by_code(raw, store):
    expected = raw.execute("""
        select code, count(distinct person_id), count(distinct (person_id, day)), min(position) from (
            unpivot (select person_id, coalesce(admission_date, claim_start_date) as day,
                     columns('diagnosis_code_[0-9]+') from medical_claim)
            on columns('diagnosis_code_[0-9]+') into name column_name value code
        ) cross join lateral (select replace(column_name, 'diagnosis_code_', '')::int as position)
        group by code order by code""").fetchall()
    days = pl.struct("person_id", "date").n_unique()
    found = (
        store.scan("diagnosis")
        .group_by("code")
        .agg(pl.col("person_id").n_unique(), days=days, first=pl.col("position").min())
        .sort("code")
        .collect()
    )
    assert found.rows() == expected
    assert store.scan("diagnosis").select("system").unique().collect().rows() == [("icd10cm",)]
    (filled,) = raw.execute("""
        select count(*) from (unpivot medical_claim on columns('diagnosis_code_[0-9]+'))""").fetchone()
    assert store.account.tables["diagnosis"].supplied == filled


def test_settings_of_claim_days(raw, store):
    # written without the code tables: the bill types and places that occur in this extract, one by one
    expected = raw.execute("""
        with er as (select distinct claim_id from medical_claim where revenue_center_code[1:3] = '045')
        select setting, count(*) from (
            select distinct person_id, coalesce(admission_date, claim_start_date) as day, setting from (
                select m.*, case
                    when bill_type_code[1:2] in ('11', '12') then 'inpatient'
                    when bill_type_code[1:2] = '13' and claim_id in (from er) then 'emergency'
                    when bill_type_code[1:2] in ('13', '77') then 'outpatient'
                    when bill_type_code[1:2] = '14' or place_of_service_code = '81' then 'laboratory'
                    when place_of_service_code = '12' then 'home'
                    when place_of_service_code in ('13', '14', '31', '32', '33', '56') then 'facility'
                    when place_of_service_code = '21' then 'inpatient'
                    when place_of_service_code = '23' then 'emergency'
                    when place_of_service_code = '41' then 'ambulance'
                    when place_of_service_code in ('11', '19', '20', '22', '24', '49', '60') then 'outpatient'
                    end as setting
                from medical_claim m
                -- some institutional claims lack the principal diagnosis but have a second one
                where diagnosis_code_1 is not null or diagnosis_code_2 is not null)
        ) group by setting order by setting""").fetchall()
    found = store.scan("diagnosis").select("person_id", "date", "setting").unique().group_by("setting").agg(pl.len())
    assert found.sort("setting").collect().rows() == expected


def test_inpatient_stays_last_from_admission_to_discharge(raw, store):
    expected = raw.execute("""
        select distinct admission_date::date, discharge_date::date from medical_claim
        where bill_type_code[1:2] = '11' and diagnosis_code_1 is not null and admission_date is not null
        order by all""").fetchall()
    stays = store.scan("diagnosis").filter(setting="inpatient").select("date", "end_date").unique().collect().rows()
    assert expected
    assert set(expected) <= set(stays)


def test_procedures_by_code(raw, store):
    expected = raw.execute("""
        select hcpcs_code, count(distinct (person_id, coalesce(claim_line_start_date, claim_start_date)))
        from medical_claim where hcpcs_code is not null group by hcpcs_code order by hcpcs_code""").fetchall()
    days = pl.struct("person_id", "date").n_unique()
    found = store.scan("procedure").filter(system="hcpcs").group_by("code").agg(days=days).sort("code").collect()
    assert found.rows() == expected


def test_dispensings_by_code(raw, store):
    expected = raw.execute("""
        select ndc_code, count(*), sum(quantity::double) from
        (select distinct person_id, dispensing_date, ndc_code, quantity, days_supply from pharmacy_claim)
        group by ndc_code order by ndc_code""").fetchall()
    found = store.scan("dispensing").group_by("code").agg(pl.len(), pl.col("quantity").sum()).sort("code").collect()
    assert found.rows() == expected
    assert set(found["code"].str.len_chars()) == {11}
    (last,) = raw.execute("select max(dispensing_date)::date from pharmacy_claim").fetchone()
    assert store.data_end == last


def test_amounts_by_person_day_and_service(raw, store):
    # no line of this extract takes another back: as many lines stand as are in the files, and no amount is negative
    expected = raw.execute("""
        select count(*), sum(cents)::bigint from (
            select person_id, day, service, sum(round(paid_amount::decimal(18, 2) * 100)) as cents from (
                select person_id, coalesce(claim_line_start_date, claim_start_date) as day, 'm' as service, paid_amount
                from medical_claim
                union all select person_id, dispensing_date, 'p', paid_amount from pharmacy_claim)
            where paid_amount is not null group by all)""").fetchone()
    found = store.scan("cost").select(pl.len(), pl.col("amount").sum()).collect().row(0)
    assert found == expected
    assert store.scan("cost").select("person_id", "date", "service").collect().is_duplicated().sum() == 0


def test_a_person_found_by_hand_is_the_same_person(raw, store):
    """The pseudonym made with Python's own hmac finds the rows of the raw identifier."""
    digest = hmac.digest(KEEP_IDS_KEY, b"10007", hashlib.sha256)
    person_id = int.from_bytes(digest[:8], "big") >> 1
    (expected,) = raw.execute("select count(*) from eligibility where person_id = '10007'").fetchone()
    assert store.scan("enrolment").filter(person_id=person_id).collect().height == expected == 4
