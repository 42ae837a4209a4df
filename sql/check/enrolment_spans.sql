-- what:   spans of observation that contradict one another, themselves, or the person's life
-- grain:  one row per rule
-- reads:  person, enrolment
-- params: $earliest_date; $data_end = last date of an event; $death_grace_days; $open_end_days
-- source: the data dictionary (spans of a person are disjoint and do not touch; both ends are included, so a span of
--         one day starts and ends on the same date)
with life as (
    select person_id, min(birth_date) as birth_date, max(death_date) as death_date from person group by person_id
), ordered as (
    select
        *,
        max(end_date) over (
            partition by person_id order by start_date, end_date
            rows between unbounded preceding and 1 preceding
        ) as reached
    from enrolment
)
select unnest([
    {'rule': 'enrolment_end_before_start', 'part': null::varchar,
        'offending': count(*) filter (where end_date < start_date), 'examined': count(end_date < start_date)},
    {'rule': 'enrolment_one_day', 'part': null,
        'offending': count(*) filter (where end_date = start_date), 'examined': count(end_date = start_date)},
    {'rule': 'enrolment_overlap', 'part': null,
        'offending': count(*) filter (where start_date <= reached), 'examined': count(*)},
    {'rule': 'enrolment_touch', 'part': null,
        'offending': count(*) filter (where start_date = reached + 1), 'examined': count(*)},
    {'rule': 'enrolment_before_birth', 'part': null,
        'offending': count(*) filter (where start_date < birth_date), 'examined': count(start_date < birth_date)},
    {'rule': 'enrolment_after_death', 'part': null,
        'offending': count(*) filter (where end_date > death_date + $death_grace_days),
        'examined': count(end_date > death_date)},
    {'rule': 'enrolment_too_early', 'part': null,
        'offending': count(*) filter (where start_date < $earliest_date), 'examined': count(start_date)},
    {'rule': 'enrolment_after_data_end', 'part': null,
        'offending': count(*) filter (where end_date > $data_end::date + $open_end_days),
        'examined': count(end_date > $data_end::date)}
], recursive := true)
from ordered
left join life using (person_id)
