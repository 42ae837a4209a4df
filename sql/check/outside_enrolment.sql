-- what:   events and deaths on days on which their person was not observed
-- grain:  one row per rule; nothing is examined in a store without enrolment
-- reads:  person, enrolment, diagnosis, procedure, dispensing, measurement
-- params: $death_grace_days
-- source: claims are paid for members only; what lies outside of enrolment cannot be in a denominator
with opened as (
    select person_id, start_date, max(end_date) as end_date from enrolment group by person_id, start_date
), covered as (
    select
        person_id, start_date,
        max(end_date) over (
            partition by person_id order by start_date rows between unbounded preceding and current row
        ) as reached
    from opened
), happened as (
    select 'diagnosis_outside_enrolment' as rule, person_id, date, 0 as grace from diagnosis
    union all
    select 'procedure_outside_enrolment', person_id, date, 0 from procedure
    union all
    select 'dispensing_outside_enrolment', person_id, date, 0 from dispensing
    union all
    select 'measurement_outside_enrolment', person_id, date, 0 from measurement
    union all
    select 'person_death_outside_enrolment', person_id, death_date, $death_grace_days from person
), counted as (
    select
        rule,
        count(*) filter (where covered.reached is null or happened.date > covered.reached + grace) as offending,
        count(*) as examined
    from happened
    asof left join covered on happened.person_id = covered.person_id and happened.date >= covered.start_date
    where happened.date is not null and exists (from enrolment)
    group by rule
)
select rule, null::varchar as part, coalesce(offending, 0) as offending, coalesce(examined, 0) as examined
from (values
    ('diagnosis_outside_enrolment'), ('procedure_outside_enrolment'), ('dispensing_outside_enrolment'),
    ('measurement_outside_enrolment'), ('person_death_outside_enrolment')
) rules(rule)
left join counted using (rule)
