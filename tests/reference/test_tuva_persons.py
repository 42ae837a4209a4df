"""Ten persons of US claims against hand-written queries: days enrolled, Charlson score, pain episodes by region.

The queries read the raw CSV files and the raw fact tables; nothing of this package takes part in them. Persons are
compared by what was found of them, since pseudonyms are not in the extract.
"""

from __future__ import annotations

import importlib.util

import duckdb
import polars as pl
import pytest

import cohort as co
from cohort.features.comorbidity import flags, load_index, score
from cohort.features.pain import pain_episodes

ENROLMENT = """
    select person_id, sum(enrollment_end_date::date - enrollment_start_date::date + 1)::bigint as days,
           max(enrollment_end_date::date) as until
    from read_csv('{claims}/eligibility.csv', all_varchar = true) group by person_id
"""  # the spans of this extract are disjoint, so their days may be added

CLAIMS = """
    with line as (
        select *, claim_start_date::date as starts, coalesce(claim_end_date, claim_start_date)::date as ends,
            bill_type_code[1:2] in ('11', '12', '41') as inpatient
        from read_csv('{claims}/medical_claim.csv', all_varchar = true)
    )
    select distinct person_id, code,
        case when inpatient then coalesce(admission_date::date, starts) else starts end as first_day,
        case when inpatient then coalesce(discharge_date::date, ends) else ends end as last_day
    from (select *, unnest([{columns}]) as code from line) where code is not null
""".replace("{columns}", ", ".join(f"diagnosis_code_{n}" for n in range(1, 26)))

EPISODES = """
    with labelled as (
        select claims.*, body_region as region,
            row_number() over (partition by person_id, code, first_day, last_day order by length(code_prefix) desc) as longest
        from claims join read_csv('{facts}/pain_codes.csv', all_varchar = true) on starts_with(code, code_prefix)
        where code_system = 'ICD10CM'
    ), encounters as (
        select distinct person_id, region, first_day, last_day
        from labelled join enrolment using (person_id) where longest = 1 and first_day <= until
    ), reached as (
        select *, max(last_day) over (partition by person_id, region order by first_day, last_day
                                      rows between unbounded preceding and 1 preceding) as so_far
        from encounters
    ), numbered as (
        select *, count(*) filter (where so_far is null or first_day - so_far > 90)
            over (partition by person_id, region order by first_day, last_day) as episode
        from reached
    )
    select person_id, region, min(first_day), max(last_day), max(last_day) - min(first_day) + 1
    from numbered group by person_id, region, episode
"""

CHARLSON = """
    with category as (
        select distinct person_id, category
        from claims join enrolment using (person_id)
        join read_csv('{facts}/charlson_icd10.csv', all_varchar = true) on starts_with(code, code_prefix)
        where code_system = 'ICD10CM' and index = 'charlson_quan2005' and first_day <= until
    ), weighed as (
        select person_id, category, value::int as weight
        from category join read_csv('{facts}/weights.csv', all_varchar = true) using (category)
        where row_type = 'weight' and weight_set = 'charlson1987' and applies_to_index = 'charlson_quan2005'
    )
    select person_id, sum(weight)::bigint from weighed
    where not (category = 'mld' and exists (select 1 from category c where c.person_id = weighed.person_id and c.category = 'msld'))
    and not (category = 'diab' and exists (select 1 from category c where c.person_id = weighed.person_id and c.category = 'diabwc'))
    and not (category = 'canc' and exists (select 1 from category c where c.person_id = weighed.person_id and c.category = 'metacanc'))
    group by person_id
"""


@pytest.fixture(scope="module")
def expected(shared):
    """Return per person: days enrolled, Charlson score, episodes (region, start, end, days), from the raw files."""
    connection = duckdb.connect()
    paths = {"claims": shared / "data" / "claims_tuva", "facts": shared / "facts"}
    connection.execute("create table enrolment as " + ENROLMENT.format(**paths))
    connection.execute("create table claims as " + CLAIMS.format(**paths))
    episodes, scores = (connection.execute(query.format(**paths)).fetchall() for query in (EPISODES, CHARLSON))
    persons = connection.execute("select person_id, days from enrolment").fetchall()
    connection.close()
    score_of = dict(scores)
    return sorted(
        (days, score_of.get(person, 0), sorted(tuple(row[1:]) for row in episodes if row[0] == person))
        for person, days in persons
    )


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    return co.ingest(
        shared / "data" / "claims_tuva", layout="tuva", into=tmp_path_factory.mktemp("tuva") / "store", buckets=7
    )


def persons_of(tables):
    """Return person → (days enrolled, Charlson score, episodes) of one bucket."""
    spans = tables["enrolment"].with_columns(days=(pl.col("end_date") - pl.col("start_date")).dt.total_days() + 1)
    enrolled = spans.group_by("person_id").agg(pl.col("days").sum(), until=pl.col("end_date").max()).collect()
    in_time = tables["diagnosis"].join(enrolled.lazy(), on="person_id").filter(pl.col("date") <= pl.col("until"))
    index = load_index("charlson")
    scores = dict(score(flags(in_time, index), index).select("person_id", "score_1987").collect().iter_rows())
    episodes = pain_episodes(in_time, gap_days=90).select("person_id", "region", "start", "end", "days").collect()
    return [
        (days, scores.get(person, 0), sorted(row[1:] for row in episodes.iter_rows() if row[0] == person))
        for person, days in enrolled.select("person_id", "days").iter_rows()
    ]


def test_every_person_is_found_as_in_the_raw_claims(store, expected):
    found = sorted(person for bucket in range(store.buckets) for person in persons_of(store.bucket(bucket)))
    assert found == expected
    assert len(found) == 10


def test_the_example_script_says_the_same(store, root, expected):
    spec = importlib.util.spec_from_file_location("persons", root / "examples" / "persons.py")
    persons = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(persons)
    table = pl.concat([persons.describe(store.bucket(number)).collect() for number in range(store.buckets)])
    assert sorted(table.select("days", "score_1987").rows()) == sorted(row[:2] for row in expected)
    regions = table["pain"].str.split("; ").list.len().sum()
    assert regions == sum(len({episode[0] for episode in row[2]}) for row in expected)
