-- what:   persons listed more than once, and rows of persons who are not listed
-- grain:  one row per rule; without any person, which tables.sql reports, nobody is examined for being listed
-- reads:  person, enrolment, diagnosis, procedure, dispensing, measurement
-- params: none
-- source: the data dictionary (person: one row per person; every other table refers to it)
with owned as (
    select 'enrolment' as name, person_id, count(*) as rows from enrolment group by person_id
    union all
    select 'diagnosis', person_id, count(*) from diagnosis group by person_id
    union all
    select 'procedure', person_id, count(*) from procedure group by person_id
    union all
    select 'dispensing', person_id, count(*) from dispensing group by person_id
    union all
    select 'measurement', person_id, count(*) from measurement group by person_id
), listed as (
    select distinct person_id from person
), counted as (
    select
        name,
        sum(rows) as examined,
        sum(rows) filter (where listed.person_id is null) as offending
    from owned
    left join listed using (person_id)
    where exists (from person)
    group by name
)
select 'person_duplicate' as rule, null::varchar as part,
    count(person_id) - count(distinct person_id) as offending, count(person_id) as examined
from person
union all
select name || '_unlisted_person', null, coalesce(offending, 0)::bigint, coalesce(examined, 0)::bigint
from (values ('enrolment'), ('diagnosis'), ('procedure'), ('dispensing'), ('measurement')) tables(name)
left join counted using (name)
