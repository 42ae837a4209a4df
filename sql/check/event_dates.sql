-- what:   events on days on which they cannot have happened
-- grain:  one row per rule
-- reads:  person, diagnosis, procedure, dispensing, measurement
-- params: $earliest_date; $created = day on which the snapshot was made; $death_grace_days
-- source: Kahn et al. 2016, plausibility (temporal); the last date of the data cannot serve as the bound, because a
--         single wrong date would move it
with event as (
    select 'diagnosis' as name, person_id, date from diagnosis
    union all
    select 'procedure', person_id, date from procedure
    union all
    select 'dispensing', person_id, date from dispensing
    union all
    select 'measurement', person_id, date from measurement
), life as (
    select person_id, min(birth_date) as birth_date, max(death_date) as death_date from person group by person_id
), counted as (
    select
        name,
        unnest([
            {'fault': 'before_birth', 'offending': count(*) filter (where date < birth_date),
                'examined': count(date < birth_date)},
            {'fault': 'after_death', 'offending': count(*) filter (where date > death_date + $death_grace_days),
                'examined': count(date > death_date)},
            {'fault': 'too_early', 'offending': count(*) filter (where date < $earliest_date),
                'examined': count(date)},
            {'fault': 'in_future', 'offending': count(*) filter (where date > $created),
                'examined': count(date)}
        ], recursive := true)
    from event
    left join life using (person_id)
    group by name
)
select name || '_' || fault as rule, null::varchar as part,
    coalesce(offending, 0) as offending, coalesce(examined, 0) as examined
from (values ('diagnosis'), ('procedure'), ('dispensing'), ('measurement')) tables(name)
cross join (values ('before_birth'), ('after_death'), ('too_early'), ('in_future')) faults(fault)
left join counted using (name, fault)
