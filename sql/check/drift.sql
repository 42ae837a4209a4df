-- what:   what changed since the last snapshot: rows lost and gained, persons vanished or altered, codes never seen
-- grain:  one row per rule; nothing is examined in a first snapshot, whose `previous` tables are empty
-- reads:  every table, and the same tables of the last snapshot in the schema `previous`
-- params: none
-- source: a snapshot replaces the last one; what an extract no longer holds was corrected, or got lost on the way
with size as (
    select 'person' as name, (select count(*) from person) as now, (select count(*) from previous.person) as before
    union all
    select 'enrolment', (select count(*) from enrolment), (select count(*) from previous.enrolment)
    union all
    select 'diagnosis', (select count(*) from diagnosis), (select count(*) from previous.diagnosis)
    union all
    select 'procedure', (select count(*) from procedure), (select count(*) from previous.procedure)
    union all
    select 'dispensing', (select count(*) from dispensing), (select count(*) from previous.dispensing)
    union all
    select 'measurement', (select count(*) from measurement), (select count(*) from previous.measurement)
), life as (
    select person_id, any_value(birth_date) as birth_date, any_value(sex) as sex from person group by person_id
), code_now as (
    select 'diagnosis' as name, system, code from diagnosis group by all
    union all
    select 'procedure', system, code from procedure group by all
    union all
    select 'dispensing', system, code from dispensing group by all
), code_before as (
    select 'diagnosis' as name, system, code from previous.diagnosis group by all
    union all
    select 'procedure', system, code from previous.procedure group by all
    union all
    select 'dispensing', system, code from previous.dispensing group by all
), new as (
    select name, count(*) filter (where code_before.code is null) as offending, count(*) as examined
    from code_now
    left join code_before using (name, system, code)
    where name in (select name from size where before > 0)
    group by name
)
select name || '_rows_lost' as rule, null::varchar as part, greatest(before - now, 0) as offending, before as examined
from size
union all
select name || '_rows_grown', null, case when before > 0 then greatest(now - before, 0) else 0 end, before
from size
union all
select 'person_vanished', null, count(*) filter (where life.person_id is null), count(*)
from previous.person
left join life using (person_id)
union all
select 'person_altered', null,
    count(*) filter (where life.birth_date is distinct from earlier.birth_date
        or life.sex is distinct from earlier.sex),
    count(*)
from previous.person earlier
inner join life using (person_id)
union all
select name || '_codes_new', null, coalesce(offending, 0), coalesce(examined, 0)
from (values ('diagnosis'), ('procedure'), ('dispensing')) tables(name)
left join new using (name)
