-- what:   encounters, as diagnoses show them, with an impossible end or with positions that do not count up from 1
-- grain:  one row per rule; positions are examined by person, day and setting
-- reads:  person, diagnosis
-- params: $death_grace_days; $longest_stay_days
-- source: the data dictionary; CMS claims count diagnoses from 1 without a gap (UB-04 form locators 67 to 67Q)
with life as (
    select person_id, max(death_date) as death_date from person group by person_id
), encounter as (
    select max(position) as last, count(distinct position) filter (where position >= 1) as positions
    from diagnosis
    where position is not null
    group by person_id, date, setting
)
select unnest([
    {'rule': 'diagnosis_end_before_start', 'part': null::varchar,
        'offending': count(*) filter (where end_date < date), 'examined': count(end_date < date)},
    {'rule': 'diagnosis_stay_too_long', 'part': null,
        'offending': count(*) filter (where setting = 'inpatient' and end_date - date + 1 > $longest_stay_days),
        'examined': count(end_date) filter (where setting = 'inpatient')},
    {'rule': 'diagnosis_end_after_death', 'part': null,
        'offending': count(*) filter (where end_date > death_date + $death_grace_days),
        'examined': count(end_date > death_date)},
    {'rule': 'diagnosis_position_below_one', 'part': null,
        'offending': count(*) filter (where position < 1), 'examined': count(position)}
], recursive := true)
from diagnosis
left join life using (person_id)
union all
select 'diagnosis_position_gap', null, count(*) filter (where last > positions), count(*)
from encounter
